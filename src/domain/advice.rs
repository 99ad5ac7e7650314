//! Advice: what a user can do about a server that does not start. Typed; only [`Advice::lines`] is text.

use std::path::{Path, PathBuf};

use super::server::{ServerSpec, SpecOrigin, Transport, quote};

/// How the entry of a server is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryLanguage {
    /// In TOML: our own files, and those of some clients.
    Toml,
    /// In JSON: the files of most clients.
    Json,
    /// On the command line.
    CommandLine,
}

impl EntryLanguage {
    /// Returns the language of an entry.
    pub fn of(origin: &SpecOrigin) -> EntryLanguage {
        match origin.file.as_deref().map(Path::extension) {
            None => EntryLanguage::CommandLine,
            Some(Some(extension)) if extension == "toml" => EntryLanguage::Toml,
            Some(Some(extension)) if ["json", "jsonc", "code-workspace"].iter().any(|json| extension == *json) => EntryLanguage::Json,
            Some(_) => EntryLanguage::Toml,
        }
    }

    /// Returns the lines that start a program.
    fn program(self, words: &[String]) -> Vec<String> {
        let (command, args) = words.split_first().map_or((String::new(), &[][..]), |(command, args)| (command.clone(), args));
        let texts = |words: &[String]| words.iter().map(|word| json_text(word)).collect::<Vec<_>>().join(", ");
        match self {
            EntryLanguage::Toml => {
                let command = json_text(&command.replace('$', "$$"));
                let args: Vec<String> = args.iter().map(|arg| arg.replace('$', "$$")).collect();
                vec![format!("command = {command}"), format!("args = [{}]", texts(&args))]
            }
            EntryLanguage::Json => vec![format!("\"command\": {},", json_text(&command)), format!("\"args\": [{}]", texts(args))],
            EntryLanguage::CommandLine => vec![format!("-- {}", words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "))],
        }
    }

    /// Returns the words that pass variables of this environment on.
    fn variables(self, names: &[String]) -> String {
        let pairs = |assign: &dyn Fn(&String) -> String| names.iter().map(assign).collect::<Vec<_>>().join(", ");
        match self {
            EntryLanguage::Toml => format!("add env = {{ {} }}", pairs(&|name| format!("{name} = \"${{{name}}}\""))),
            EntryLanguage::Json => format!("add \"env\": {{ {} }}", pairs(&|name| format!("\"{name}\": \"${{{name}}}\""))),
            EntryLanguage::CommandLine => format!("add {}", names.iter().map(|name| format!("--env {name}")).collect::<Vec<_>>().join(" ")),
        }
    }
}

/// Returns a text in quotes, as both TOML and JSON write it.
fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What a user can do about a server that does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// `command` holds a whole command line: write its words as command and arguments.
    SplitCommand {
        /// The words.
        words: Vec<String>,
        /// How the entry is written.
        language: EntryLanguage,
    },
    /// The command starts through the shell of Windows: leave that out.
    LeaveOutWindowsShell {
        /// The words without it.
        words: Vec<String>,
        /// How the entry is written.
        language: EntryLanguage,
    },
    /// The command is a path of Windows.
    ReplaceWindowsPath,
    /// The working directory does not exist.
    CorrectFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// The command is a folder.
    NameProgram {
        /// The folder.
        folder: PathBuf,
    },
    /// The file at the command's path does not exist.
    CorrectPath {
        /// The path.
        file: PathBuf,
    },
    /// The file is not executable.
    MakeExecutable {
        /// The file.
        file: PathBuf,
    },
    /// The first line of a script names an interpreter that does not exist.
    InstallInterpreter {
        /// The script.
        script: PathBuf,
        /// The interpreter as the script names it.
        interpreter: String,
        /// Where it is, outside of the server's `PATH`.
        elsewhere: Option<Elsewhere>,
    },
    /// The file is a program of another system, or a script without a first line that names its interpreter.
    UseProgramOfThisSystem {
        /// The file.
        file: PathBuf,
    },
    /// The program is in a folder outside of the server's `PATH`.
    UseElsewhere {
        /// The command.
        command: String,
        /// Where it is.
        elsewhere: Elsewhere,
        /// How the entry is written.
        language: EntryLanguage,
    },
    /// The program was not found.
    Install {
        /// The command.
        command: String,
    },
    /// The container has no stdin.
    AddInteractive {
        /// `docker` or `podman`.
        program: String,
    },
    /// Variables that the server mentions are set here, but not passed on to it.
    PassVariables {
        /// Their names.
        names: Vec<String>,
        /// How the entry is written.
        language: EntryLanguage,
    },
    /// Variables that the server needs are not set.
    SetVariables {
        /// Their names.
        names: Vec<String>,
    },
    /// Server and client have no version of the protocol in common.
    UpdateForVersion,
}

/// A program in a folder of a version or package manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The program.
    pub file: PathBuf,
    /// The manager that keeps programs there.
    pub manager: &'static str,
}

impl Advice {
    /// Returns the lines for users. They hold no values of variables.
    pub fn lines(&self) -> Vec<String> {
        let one = |line: String| vec![line];
        match self {
            Advice::SplitCommand { words, language } => {
                let first = match language {
                    EntryLanguage::CommandLine => "write each word of the command line as a word of its own:",
                    _ => "write the program as command and the other words as args:",
                };
                [one(first.to_owned()), language.program(words)].concat()
            }
            Advice::LeaveOutWindowsShell { words, language } => {
                [one("leave out `cmd /c`, which only Windows needs:".to_owned()), language.program(words)].concat()
            }
            Advice::ReplaceWindowsPath => one("replace the path, which is one of Windows, with the program on this machine".to_owned()),
            Advice::CorrectFolder { folder } => one(format!("the working directory {} does not exist; correct cwd", folder.display())),
            Advice::NameProgram { folder } => one(format!("name the program as command: {} is a folder", folder.display())),
            Advice::CorrectPath { file } => one(format!("correct command: file {} does not exist", file.display())),
            Advice::MakeExecutable { file } => {
                one(format!("make {0} executable: chmod +x {1}", file.display(), quote(&file.to_string_lossy())))
            }
            Advice::InstallInterpreter { script, interpreter, elsewhere } => {
                let first = format!("install {interpreter}, which the first line of {} names, or correct that line", script.display());
                let second = elsewhere.iter().map(|found| format!("{}; add its folder to PATH in env", found.words(interpreter)));
                std::iter::once(first).chain(second).collect()
            }
            Advice::UseProgramOfThisSystem { file } => {
                let file = file.display();
                one(format!("{file} cannot run on this system: install the program for it, or name its interpreter as command"))
            }
            Advice::UseElsewhere { command, elsewhere, language } => {
                let path = elsewhere.file.to_string_lossy();
                let key = match language {
                    EntryLanguage::Toml => format!("command = {}", json_text(&path)),
                    EntryLanguage::Json => format!("\"command\": {}", json_text(&path)),
                    EntryLanguage::CommandLine => format!("-- {}", quote(&path)),
                };
                let folder = elsewhere.file.parent().unwrap_or(&elsewhere.file).display();
                let first = format!("{}: add that folder to PATH, or give the full path:", elsewhere.words(command));
                vec![first, key, format!("a script that starts other programs of {folder} needs it in PATH")]
            }
            Advice::Install { command } => one(format!("install {command}, or give its full path as command")),
            Advice::AddInteractive { program } => {
                one(format!("add -i after `{program} run`: without it the container has no stdin, on which the server is spoken to"))
            }
            Advice::PassVariables { names, language } => {
                let all = if *language == EntryLanguage::CommandLine { "" } else { "; inherit_env = true in our own file passes all" };
                let is = if names.len() == 1 { "is" } else { "are" };
                one(format!("{} {is} set here, but not passed on to this server: {}{all}", names.join(", "), language.variables(names)))
            }
            Advice::SetVariables { names } => one(format!("set {} for this server in env: the command passes it on", names.join(", "))),
            Advice::UpdateForVersion => one("update the server, or Switchboard if the server is the newer one".to_owned()),
        }
    }
}

impl Elsewhere {
    fn words(&self, command: &str) -> String {
        let folder = self.file.parent().unwrap_or(&self.file).display();
        format!("{command} is in {folder} ({})", self.manager)
    }
}

/// Returns the names of variables that a container command passes on from its own environment: `docker run -e NAME`.
pub fn container_variables(launch: &Transport) -> Vec<&str> {
    let Some((_, args)) = container_run(launch) else { return vec![] };
    let mut names = vec![];
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let name = match *arg {
            "-e" | "--env" => args.next().copied(),
            arg => arg.strip_prefix("--env=").or_else(|| arg.strip_prefix("-e").filter(|rest| !rest.is_empty())),
        };
        names.extend(name.filter(|name| !name.is_empty() && !name.contains('=')));
    }
    names
}

/// Returns the container program of a command without `-i`.
pub fn container_without_stdin(launch: &Transport) -> Option<String> {
    let (program, args) = container_run(launch)?;
    let interactive = |arg: &&str| {
        let short = arg.starts_with('-') && !arg.starts_with("--") && arg[1..].chars().all(|c| c.is_ascii_alphabetic());
        *arg == "--interactive" || arg.starts_with("--interactive=") || (short && arg.contains('i'))
    };
    (!args.iter().any(interactive)).then_some(program)
}

/// Returns the program of `docker run` and the like, and the arguments after `run`.
fn container_run(launch: &Transport) -> Option<(String, Vec<&str>)> {
    let Transport::Stdio { command, args, .. } = launch else { return None };
    let program = command.rsplit('/').next().unwrap_or_default();
    let words: Vec<&str> = args.iter().map(|arg| arg.expose()).collect();
    let run = words.iter().position(|word| *word == "run")?;
    ["docker", "podman", "nerdctl"].contains(&program).then(|| (program.to_owned(), words[run + 1..].to_vec()))
}

/// Variables that a crash report names although they are not its cause.
const OF_CRASH_REPORTS: [&str; 1] = ["RUST_BACKTRACE"];

/// Returns the words in lines of a program that could be names of environment variables, in order, each once.
///
/// A word with an underscore is one. A word of capitals is one in a line that speaks of the environment or of a variable.
pub fn mentioned_variables(lines: &[String]) -> Vec<&str> {
    let mut found: Vec<&str> = vec![];
    for line in lines {
        let lower = line.to_lowercase();
        let about = ["environment", "variable", "env "].iter().any(|word| lower.contains(word));
        for word in line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let named = word.contains('_') || (about && word.len() > 2 && word.chars().all(|c| !c.is_ascii_lowercase()));
            let named = named && word.starts_with(|c: char| c.is_ascii_alphabetic()) && !OF_CRASH_REPORTS.contains(&word);
            if named && !found.contains(&word) {
                found.push(word);
            }
        }
    }
    found
}

/// Returns the words of the command line of a server, the shell of Windows left out; `None` if it has none.
pub fn without_windows_shell(words: &[String]) -> Option<&[String]> {
    let (shell, rest) = words.split_first()?;
    let program = shell.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let (flag, rest) = rest.split_first()?;
    (["cmd", "cmd.exe"].contains(&&*program) && flag.eq_ignore_ascii_case("/c") && !rest.is_empty()).then_some(rest)
}

/// Returns whether a command is a path of Windows.
pub fn is_windows_path(command: &str) -> bool {
    let drive = command.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && command.as_bytes().get(1) == Some(&b':');
    (drive && command[2..].starts_with(['\\', '/'])) || command.starts_with("\\\\")
}

/// Returns how the entry of a server is written.
pub fn language_of(spec: &ServerSpec) -> EntryLanguage {
    EntryLanguage::of(&spec.origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::Secret;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn launch(line: &str) -> Transport {
        let words = words(line);
        let args = words[1..].iter().map(Secret::literal).collect();
        Transport::Stdio { command: words[0].clone(), args, env: vec![], inherit_env: false, cwd: None }
    }

    #[test]
    fn a_command_line_is_printed_as_the_lines_of_its_file() {
        let lines = |language| Advice::SplitCommand { words: words("npx -y @scope/pkg a\"b $x"), language }.lines()[1..].to_vec();
        assert_eq!(lines(EntryLanguage::Toml), ["command = \"npx\"", r#"args = ["-y", "@scope/pkg", "a\"b", "$$x"]"#]);
        assert_eq!(lines(EntryLanguage::Json), ["\"command\": \"npx\",", r#""args": ["-y", "@scope/pkg", "a\"b", "$x"]"#]);
        assert_eq!(lines(EntryLanguage::CommandLine), [r#"-- npx -y @scope/pkg 'a"b' '$x'"#]);
        for (file, language) in [
            (Some("/h/mcp.json"), EntryLanguage::Json),
            (Some("/h/config.toml"), EntryLanguage::Toml),
            (Some("/h/.code-workspace"), EntryLanguage::Toml),
            (None, EntryLanguage::CommandLine),
        ] {
            let origin = SpecOrigin { file: file.map(PathBuf::from), ..SpecOrigin::default() };
            assert_eq!(EntryLanguage::of(&origin), language, "{file:?}");
        }
    }

    #[test]
    fn the_shell_and_the_paths_of_windows_are_recognised() {
        for (line, rest) in [
            ("cmd /c npx -y x", Some("npx -y x")),
            ("C:\\Windows\\cmd.exe /C npx", Some("npx")),
            ("cmd /c", None),
            ("cmdx /c npx", None),
            ("npx /c x", None),
        ] {
            assert_eq!(without_windows_shell(&words(line)).map(|words| words.join(" ")).as_deref(), rest, "{line}");
        }
        for (command, is) in [("C:\\x.exe", true), ("d:/x", true), ("\\\\host\\x", true), ("/c/x", false), ("c:", false), ("a:b", false)] {
            assert_eq!(is_windows_path(command), is, "{command}");
        }
    }

    #[test]
    fn container_commands_are_read() {
        for (line, without, names) in [
            ("docker run --rm -e TOKEN -e A=1 img", true, vec!["TOKEN"]),
            ("docker run -i --rm --env TOKEN img", false, vec!["TOKEN"]),
            ("/usr/bin/podman run -it --env=B -eC img", false, vec!["B", "C"]),
            ("docker run --interactive img", false, vec![]),
            ("docker ps", false, vec![]),
            ("run docker", false, vec![]),
        ] {
            let launch = launch(line);
            assert_eq!((container_without_stdin(&launch).is_some(), container_variables(&launch)), (without, names), "{line}");
        }
    }

    #[test]
    fn names_of_variables_are_found_in_what_a_program_says() {
        let lines = [
            "Error: MY_API_KEY environment variable is required",
            "ERROR starting HTTP server",
            "Missing environment variable TOKEN (see npm_config_registry)",
            "set MY_API_KEY=abc",
            "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
        ];
        assert_eq!(mentioned_variables(&lines.map(str::to_owned)), ["MY_API_KEY", "TOKEN", "npm_config_registry"]);
    }
}
