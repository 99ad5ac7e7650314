//! Placeholders of other clients' files: translates a text into the syntax of our own files, by the rules of the client.
//!
//! A placeholder that cannot be replaced is a fault, so that its text is never sent as a value. A client that replaces
//! nothing gives the text to the program, and so does Switchboard; but no placeholder is sent over the network.

use std::path::{Path, PathBuf};

use super::text::{Env, escape, is_name};
use crate::domain::config_input::InputOption;

/// The placeholders that a client replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Syntax {
    /// `${VAR}` and `${VAR:-default}`.
    pub plain: bool,
    /// `${env:VAR}`.
    pub env: bool,
    /// `$VAR`.
    pub bare: bool,
    /// `$env:VAR`.
    pub dollar_env: bool,
    /// `{env:VAR}` and `{file:PATH}`.
    pub curly: bool,
    /// `${file:PATH}`.
    pub file: bool,
    /// `${{ secrets.NAME }}`.
    pub secrets: bool,
    /// `${input:ID}`.
    pub inputs: bool,
    /// `${user_config.ID}`.
    pub user_config: bool,
    /// `${localEnv:VAR}`.
    pub local_env: bool,
    /// `$(COMMAND)`, `${cmd: COMMAND}` and `$: COMMAND`, which Switchboard does not run.
    pub commands: bool,
    /// Whether the client gives text that looks like a placeholder of another client to the program.
    pub literal: bool,
}

impl Syntax {
    /// The client replaces nothing.
    pub const NONE: Syntax = Syntax {
        plain: false,
        env: false,
        bare: false,
        dollar_env: false,
        curly: false,
        file: false,
        secrets: false,
        inputs: false,
        user_config: false,
        local_env: false,
        commands: false,
        literal: true,
    };
    /// `${VAR}`, `${VAR:-default}` and `${env:VAR}`.
    pub const BRACES: Syntax = Syntax { plain: true, env: true, literal: false, ..Syntax::NONE };

    /// Returns the placeholders for the documentation.
    pub fn forms(&self) -> Vec<&'static str> {
        let all = [
            (self.plain, "${VAR}"),
            (self.env, "${env:VAR}"),
            (self.bare, "$VAR"),
            (self.dollar_env, "$env:VAR"),
            (self.curly, "{env:VAR}"),
            (self.curly, "{file:PATH}"),
            (self.file, "${file:PATH}"),
            (self.secrets, "${{ secrets.NAME }}"),
            (self.inputs, "${input:ID}"),
            (self.user_config, "${user_config.ID}"),
            (self.local_env, "${localEnv:VAR}"),
        ];
        all.into_iter().filter_map(|(on, form)| on.then_some(form)).collect()
    }
}

/// Where a text is used, which decides what happens to text that only looks like a placeholder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Use {
    /// Given to the program.
    #[default]
    Local,
    /// Sent over the network: an address or a header.
    Network,
    /// A script of a shell, whose own variables stay as they are.
    Script,
}

/// A value that the client asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Input {
    pub id: String,
    /// What it is, for users.
    pub description: Option<String>,
    pub default: Option<String>,
    /// The values to choose from; any text if empty.
    pub options: Vec<InputOption>,
    /// Whether the value is masked while it is typed.
    pub password: bool,
}

/// The placeholders of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Dialect {
    /// The name of the client.
    pub client: &'static str,
    pub syntax: Syntax,
    /// The client's own variables (`workspaceFolder`, `userHome`) and their values.
    pub known: Vec<(&'static str, String)>,
    /// Variables of the client that have no value here, and why.
    pub absent: Vec<(&'static str, &'static str)>,
    /// The values that the file asks for.
    pub inputs: Vec<Input>,
    /// Base of relative paths in `{file:PATH}`.
    pub base: PathBuf,
    /// The user's home, for `~/`.
    pub home: Option<PathBuf>,
}

/// Why a placeholder cannot be replaced: message and hint.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub message: String,
    pub hint: String,
    /// Whether `--input` can give the value.
    pub input: bool,
}

/// A text in the syntax of our own files.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Translated {
    pub text: String,
    /// The first placeholder that cannot be replaced.
    pub fault: Option<Fault>,
    /// The inputs in it.
    pub inputs: Vec<String>,
}

/// Variables of editors that have no value outside of an editor.
const EDITOR: [&str; 16] = [
    "file",
    "fileBasename",
    "fileBasenameNoExtension",
    "fileDirname",
    "fileExtname",
    "fileWorkspaceFolder",
    "relativeFile",
    "relativeFileDirname",
    "cwd",
    "lineNumber",
    "columnNumber",
    "selectedText",
    "execPath",
    "defaultBuildTask",
    "workspaceRoot",
    "workspaceRootFolderName",
];

/// What a placeholder becomes.
enum Piece {
    /// Text of our own syntax.
    Native(String),
    /// The text itself.
    Literal,
    Fault(Fault),
}

impl Piece {
    fn fault(message: String, hint: impl Into<String>) -> Piece {
        Piece::Fault(Fault { message, hint: hint.into(), input: false })
    }
}

impl Dialect {
    /// Translates a text. `is_set` returns whether a variable has a value.
    pub fn native(&self, text: &str, used: Use, env: &Env, is_set: &dyn Fn(&str) -> bool) -> Translated {
        let mut out = Translated { text: String::with_capacity(text.len()), fault: None, inputs: vec![] };
        if self.syntax.commands && text.starts_with("$: ") {
            out.fault = Some(self.command("$: …"));
        }
        let mut rest = text;
        while let Some(at) = rest.find(['$', '{', '%']) {
            out.text.push_str(&rest[..at]);
            let from = &rest[at..];
            let (piece, length) = self.piece(from, used, env, is_set, &mut out.inputs);
            // A literal moves on by one character, so that a placeholder behind it is found.
            let length = if matches!(piece, Piece::Literal) { 1 } else { length };
            match piece {
                Piece::Native(native) => out.text.push_str(&native),
                Piece::Literal => out.text.push_str(&escape(&from[..length])),
                Piece::Fault(fault) => {
                    // `${input:…}` and `${…}` stay readable in an import.
                    let original = &from[..length];
                    out.text.push_str(&if original.starts_with("${") { original.to_owned() } else { escape(original) });
                    out.fault = out.fault.or(Some(fault));
                }
            }
            rest = &from[length..];
        }
        out.text.push_str(rest);
        out
    }

    /// Translates the placeholder at the start of `from`; also returns its length in bytes, which is at least 1. The id of an input is
    /// added to `inputs`.
    fn piece(&self, from: &str, used: Use, env: &Env, is_set: &dyn Fn(&str) -> bool, inputs: &mut Vec<String>) -> (Piece, usize) {
        let between = |open: &str, close: &str| from.strip_prefix(open).and_then(|rest| rest.split_once(close)).map(|(inside, _)| inside);
        if let Some(inside) = between("${{", "}}") {
            return (self.double(inside.trim(), env, inputs), inside.len() + 5);
        }
        // `{{LIBRECHAT_USER_ID}}` and the like.
        if let Some(inside) = between("{{", "}}").filter(|inside| is_name(inside.trim()) && used == Use::Network) {
            return (self.foreign(&format!("{{{{{}}}}}", inside.trim())), inside.len() + 4);
        }
        if let Some(inside) = between("${", "}") {
            return (self.braced(inside, used, env, is_set, inputs), inside.len() + 3);
        }
        if let Some(inside) = between("$(", ")") {
            let piece = match (self.syntax.commands, used) {
                (_, Use::Script) => Piece::Literal,
                (true, _) => Piece::Fault(self.command("$(…)")),
                (false, Use::Network) => self.foreign("$(…)"),
                (false, Use::Local) => Piece::Literal,
            };
            return (piece, inside.len() + 3);
        }
        if let Some(rest) = from.strip_prefix("$env:") {
            let name = leading_name(rest);
            let piece = match (self.syntax.dollar_env && is_name(name), used) {
                (true, _) => Piece::Native(format!("${{{name}}}")),
                (false, Use::Network) if is_name(name) => self.foreign(&format!("$env:{name}")),
                _ => Piece::Literal,
            };
            return (piece, "$env:".len() + name.len());
        }
        if let Some(rest) = from.strip_prefix('$') {
            let name = leading_name(rest);
            let loud = name.len() > 2 && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            let piece = match used {
                _ if !is_name(name) => Piece::Literal,
                Use::Script if !is_set(name) => Piece::Literal,
                _ if self.syntax.bare => Piece::Native(format!("${{{name}}}")),
                Use::Network if loud => self.foreign(&format!("${name}")),
                _ => Piece::Literal,
            };
            return (piece, 1 + name.len());
        }
        for (open, is_file) in [("{env:", false), ("{file:", true)] {
            let Some(inside) = between(open, "}") else { continue };
            let piece = match self.syntax.curly {
                true if is_file => Piece::Native(self.file(inside)),
                true if is_name(inside) => Piece::Native(format!("${{{inside}}}")),
                true => Piece::fault(format!("`{open}…}}` has no variable name"), "write the name of an environment variable"),
                false if used == Use::Network || !self.syntax.literal && used == Use::Local => self.foreign(&format!("{open}…}}")),
                false => Piece::Literal,
            };
            return (piece, open.len() + inside.len() + 1);
        }
        if let Some(inside) = between("%", "%") {
            let hex = inside.bytes().take(2).all(|b| b.is_ascii_hexdigit());
            let loud = inside.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            let windows = inside.len() > 2 && is_name(inside) && loud && !hex;
            if windows && used != Use::Script && (used == Use::Network || !self.syntax.literal) {
                return (self.foreign(&format!("%{inside}%")), inside.len() + 2);
            }
        }
        (Piece::Literal, from.chars().next().map_or(1, char::len_utf8))
    }

    /// Translates the expression in `${{ … }}`.
    fn double(&self, inside: &str, env: &Env, inputs: &mut Vec<String>) -> Piece {
        let name = inside.strip_prefix("secrets.").filter(|name| is_name(name));
        match (name, inside.strip_prefix("inputs.")) {
            (Some(name), _) if self.syntax.secrets => Piece::Native(format!("${{{name}}}")),
            (_, Some(id)) if self.syntax.secrets => self.input(id, env, inputs),
            _ => self.foreign("${{ … }}"),
        }
    }

    /// Translates the expression in `${…}`.
    fn braced(&self, inside: &str, used: Use, env: &Env, is_set: &dyn Fn(&str) -> bool, inputs: &mut Vec<String>) -> Piece {
        let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
        if let Some((_, value)) = self.known.iter().find(|(known, _)| *known == name) {
            return Piece::Native(escape(value));
        }
        if let Some((name, why)) = self.absent.iter().find(|(absent, _)| *absent == name) {
            return Piece::fault(format!("`${{{name}}}` {why}"), "write the value itself");
        }
        let syntax = &self.syntax;
        let native = |name: &str| match default {
            Some(default) => Piece::Native(format!("${{{name}:-{default}}}")),
            None => Piece::Native(format!("${{{name}}}")),
        };
        if is_name(name) {
            return match used {
                // The variable of an editor, in a file of another client.
                _ if EDITOR.contains(&name) && !syntax.literal && !is_set(name) => self.editor(inside),
                Use::Script if !is_set(name) => Piece::Literal,
                _ if syntax.plain => native(name),
                Use::Network => self.foreign(&format!("${{{name}}}")),
                _ => Piece::Literal,
            };
        }
        let (kind, rest) = name.split_once([':', '.']).unwrap_or((name, ""));
        let dotted = name.as_bytes().get(kind.len()) == Some(&b'.');
        match (kind, dotted) {
            ("env", false) if is_name(rest) && syntax.env => native(&format!("env:{rest}")),
            ("localEnv", false) if is_name(rest) && syntax.local_env => native(rest),
            ("input", false) if syntax.inputs => self.input(rest, env, inputs),
            ("user_config", true) if syntax.user_config => self.input(rest, env, inputs),
            ("file", false) if syntax.file => Piece::Native(self.file(rest)),
            ("cmd", false) if syntax.commands => Piece::Fault(self.command("${cmd: …}")),
            _ if used == Use::Script => Piece::Literal,
            ("command" | "config", false) if !syntax.literal => {
                let message = format!("`${{{kind}:…}}` is a variable of the editor and unknown here");
                Piece::fault(message, "set an environment variable and write ${VAR} instead")
            }
            ("workspaceFolder" | "workspaceFolderBasename", false) if !syntax.literal => self.editor(inside),
            ("env" | "localEnv" | "input" | "user_config" | "file" | "cmd" | "command" | "config" | "containerEnv" | "secret", _)
                if !rest.is_empty() && (!syntax.literal || used == Use::Network) =>
            {
                self.foreign(&format!("${{{kind}{}…}}", if dotted { '.' } else { ':' }))
            }
            _ => Piece::Literal,
        }
    }

    /// The value that the user gives, or the default of the file.
    fn input(&self, id: &str, env: &Env, inputs: &mut Vec<String>) -> Piece {
        inputs.push(id.to_owned());
        let input = self.inputs.iter().find(|input| input.id == id);
        if env.input(id).is_some() {
            return Piece::Native(format!("${{input:{id}}}"));
        }
        if self.is_set(id, env) {
            return Piece::Native(format!("${{{id}}}"));
        }
        let asked = match input {
            Some(Input { default: Some(default), .. }) => return Piece::Native(escape(default)),
            Some(Input { description: Some(description), .. }) => format!(": {description}"),
            _ => String::new(),
        };
        let message = format!("the input `{id}` has no value{asked}");
        Piece::Fault(Fault { message, hint: format!("pass --input {id}=VALUE, or enter it in the console"), input: true })
    }

    /// Returns whether the value of an input is in the environment: a registry names the variables that a package reads.
    pub fn is_set(&self, id: &str, env: &Env) -> bool {
        self.syntax.literal && is_name(id) && env.get(id).is_some()
    }

    fn file(&self, path: &str) -> String {
        let path = path.trim();
        let path = match (&self.home, path.strip_prefix("~/")) {
            (Some(home), Some(rest)) => home.join(rest),
            _ => self.base.join(Path::new(path)),
        };
        format!("${{file:{}}}", path.to_string_lossy())
    }

    fn command(&self, form: &str) -> Fault {
        let message = format!("`{form}` is a command that {} runs for the value; Switchboard does not run it", self.client);
        Fault { message, input: false, hint: "set an environment variable to the command's output, and write ${VAR} instead".into() }
    }

    fn editor(&self, name: &str) -> Piece {
        Piece::fault(format!("`${{{name}}}` is a variable of the editor and unknown here"), "write the value itself")
    }

    /// A placeholder that the client does not replace. The program or the server would get its text.
    fn foreign(&self, form: &str) -> Piece {
        let message = format!("`{form}` is not a placeholder of {}, so it would be sent as text", self.client);
        let hint = match self.syntax.forms().first() {
            Some(own) => format!("write {own}"),
            None => "write the value itself, or configure the server in [servers] with ${VAR}".into(),
        };
        Piece::fault(message, hint)
    }
}

/// Returns the longest name at the start of `text`.
fn leading_name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dialect(syntax: Syntax) -> Dialect {
        let inputs = vec![
            Input { id: "name".into(), default: Some("a$b".into()), ..Input::default() },
            Input { id: "key".into(), description: Some("API key".into()), ..Input::default() },
        ];
        let known = vec![("workspaceFolder", "/w$".to_owned())];
        Dialect { client: "X", syntax, known, inputs, base: "/base".into(), home: Some("/home".into()), ..Dialect::default() }
    }

    fn translated(syntax: Syntax, text: &str, used: Use) -> Translated {
        dialect(syntax).native(text, used, &Env::default(), &|name| name == "SET")
    }

    #[test]
    fn a_client_s_text_means_the_same_in_ours() {
        let vscode = Syntax { inputs: true, ..Syntax::BRACES };
        let gemini = Syntax { bare: true, ..Syntax::BRACES };
        let opencode = Syntax { curly: true, plain: false, env: false, ..Syntax::BRACES };
        let mcporter = Syntax { dollar_env: true, ..Syntax::BRACES };
        let proceed = Syntax { secrets: true, ..Syntax::BRACES };
        let windsurf = Syntax { file: true, ..Syntax::BRACES };
        for (syntax, theirs, ours) in [
            (vscode, "${workspaceFolder}/x", "/w$$/x"),
            (vscode, "${env:A}${A:-b}", "${env:A}${A:-b}"),
            (vscode, "pa$$word$", "pa$$$$word$$"),
            (vscode, "${1} ${x", "$${1} $${x"),
            (vscode, "${input:name}", "a$$b"),
            (vscode, "$A ü${A}ü %41%42 {x} 100%", "$$A ü${A}ü %41%42 {x} 100%"),
            (gemini, "$A-$5 ${A}", "${A}-$$5 ${A}"),
            (opencode, "Bearer {env:A} {file:./t} {file:~/t}", "Bearer ${A} ${file:/base/./t} ${file:/home/t}"),
            (mcporter, "$env:A-x", "${A}-x"),
            (proceed, "Bearer ${{ secrets.A }}", "Bearer ${A}"),
            (windsurf, "${file:/x/t}", "${file:/x/t}"),
            (Syntax::NONE, "${A} $A $${A} {env:A} %APPDATA% ${input:x}", "$${A} $$A $$$${A} {env:A} %APPDATA% $${input:x}"),
        ] {
            let Translated { text, fault, .. } = translated(syntax, theirs, Use::Local);
            assert_eq!((text.as_str(), fault), (ours, None), "{theirs}");
        }
    }

    #[test]
    fn a_placeholder_without_a_value_is_a_fault_and_never_text() {
        let braces = Syntax::BRACES;
        let vscode = Syntax { inputs: true, ..braces };
        let commands = Syntax { commands: true, bare: true, ..braces };
        for (syntax, used, text, message) in [
            (vscode, Use::Local, "${input:key}", "the input `key` has no value: API key"),
            (vscode, Use::Local, "${input:other}", "the input `other` has no value"),
            (vscode, Use::Local, "${command:x}", "variable of the editor"),
            (vscode, Use::Local, "${config:x}", "variable of the editor"),
            (vscode, Use::Local, "${file}", "variable of the editor"),
            (vscode, Use::Local, "${workspaceFolder:api}", "variable of the editor"),
            (braces, Use::Local, "${input:key}", "not a placeholder of X"),
            (braces, Use::Local, "${cmd: echo x}", "not a placeholder of X"),
            (braces, Use::Local, "${file:~/t}", "not a placeholder of X"),
            (braces, Use::Local, "{env:A}", "not a placeholder of X"),
            (braces, Use::Local, "%APPDATA%", "not a placeholder of X"),
            (braces, Use::Local, "${env.A}", "not a placeholder of X"),
            (braces, Use::Local, "${localEnv:A}", "not a placeholder of X"),
            (braces, Use::Local, "${user_config.a}", "not a placeholder of X"),
            (braces, Use::Local, "${{ secrets.A }}", "not a placeholder of X"),
            (braces, Use::Network, "Bearer $TOKEN", "not a placeholder of X"),
            (braces, Use::Network, "$(cat token)", "not a placeholder of X"),
            (braces, Use::Network, "$env:TOKEN", "not a placeholder of X"),
            (commands, Use::Local, "$(cat token)", "does not run it"),
            (commands, Use::Local, "${cmd: cat token}", "does not run it"),
            (commands, Use::Local, "$: cat token", "does not run it"),
            (Syntax::NONE, Use::Network, "Bearer ${A}", "not a placeholder of X"),
            (Syntax::NONE, Use::Network, "{env:A}", "not a placeholder of X"),
            (braces, Use::Network, "{{USER_ID}}", "not a placeholder of X"),
        ] {
            let fault = translated(syntax, text, used).fault.unwrap_or_else(|| panic!("no fault: {text}"));
            assert!(fault.message.contains(message) && !fault.hint.is_empty(), "{text}: {fault:?}");
        }
    }

    #[test]
    fn scripts_of_shells_retain_their_own_variables() {
        let script = "for f in a; do X=${f}1 ${SET} $SET $(x) ${X:-d} ${#a} %APPDATA%; done";
        let ours = "for f in a; do X=$${f}1 ${SET} $$SET $$(x) $${X:-d} $${#a} %APPDATA%; done";
        assert_eq!(translated(Syntax::BRACES, script, Use::Script), Translated { text: ours.into(), ..Translated::default() });
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC*|[${}:%\\-A.()]*") {
            let all = Syntax {
                bare: true, dollar_env: true, curly: true, file: true, secrets: true, inputs: true, user_config: true, local_env: true,
                commands: true, ..Syntax::BRACES
            };
            for syntax in [Syntax::NONE, Syntax::BRACES, all] {
                for used in [Use::Local, Use::Network, Use::Script] {
                    let _ = translated(syntax, &text, used);
                }
            }
        }
    }
}
