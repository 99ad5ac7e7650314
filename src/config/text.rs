//! Expansion of variables (`${VAR}`) in configured text.
//!
//! `${VAR}` and `${VAR:-default}` (the default is used when the variable is unset or empty, as in a
//! shell), `${env:VAR}` as VS Code and Cursor write it, `$$` for a dollar sign. A dollar sign before
//! anything else is literal.

use std::{collections::HashMap, ffi::OsString, fmt};

use crate::domain::{
    secret::{Secret, rule},
    server::looks_secret,
};

/// The environment that variables are looked up in. Its values are never printed.
#[derive(Clone, Default)]
pub struct Env(HashMap<String, Option<String>>);

impl Env {
    /// The environment of this process.
    pub fn process() -> Env {
        Self::from_os(std::env::vars_os())
    }

    fn from_os(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Env {
        Env(vars.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()))).collect())
    }

    /// Returns the value of a variable; `None` when it is unset or not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref()
    }

    /// Returns the values of variables with secret-sounding names.
    pub fn secrets(&self) -> Vec<Secret> {
        let named = self.0.iter().filter(|(name, _)| looks_secret(name));
        named.filter_map(|(name, value)| Some(rule::of_value(name, value.as_deref()?))).flatten().collect()
    }

    /// Returns the value of a variable unless it is empty.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(vars: I) -> Self {
        Env(vars.into_iter().map(|(n, v)| (n.into(), Some(v.into()))).collect())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Env({} variables)", self.0.len())
    }
}

/// A text after expansion.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Expanded {
    /// The value and the text in the file; a literal when the text has no variable.
    pub secret: Secret,
    /// Values of variables that count as secret.
    pub variables: Vec<Secret>,
}

/// Why a text could not be expanded: message and hint.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unexpandable {
    pub message: String,
    pub hint: String,
    /// The text with unset variables left empty.
    pub rest: Secret,
}

/// Expands the variables of `text`.
pub(super) fn expand(text: &str, env: &Env) -> Result<Expanded, Unexpandable> {
    let mut value = String::with_capacity(text.len());
    let mut variables = Vec::new();
    let mut used = false;
    let mut fault = None;
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, from) = rest.split_at(dollar);
        value.push_str(before);
        rest = match from.as_bytes().get(1) {
            Some(b'$') => {
                value.push('$');
                &from[2..]
            }
            Some(b'{') => {
                used = true;
                let (found, tail) = match from.find('}') {
                    Some(end) => (lookup(&from[2..end], env), &from[end + 1..]),
                    None => (Err(("`${` without `}`".into(), "write $$ for a dollar sign".into())), ""),
                };
                match found {
                    Ok((name, found)) => {
                        let secrets = rule::of_value(name, found);
                        variables.extend(secrets.iter().map(|secret| Secret::new(secret.expose(), format!("${{{name}}}"))));
                        value.push_str(found);
                    }
                    Err(why) => fault = fault.or(Some(why)),
                }
                tail
            }
            _ => {
                value.push('$');
                &from[1..]
            }
        };
    }
    value.push_str(rest);
    let secret = if used { Secret::new(value, text) } else { Secret::literal(value) };
    match fault {
        Some((message, hint)) => Err(Unexpandable { message, hint, rest: secret }),
        None => Ok(Expanded { secret, variables }),
    }
}

/// Returns the value of the expression between the braces.
fn lookup<'t>(inside: &'t str, env: &'t Env) -> Result<(&'t str, &'t str), (String, String)> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let name = name.strip_prefix("env:").unwrap_or(name);
    if let Some((kind @ ("input" | "command" | "config"), _)) = name.split_once(':') {
        let message = format!("`${{{kind}:…}}` is a variable of the editor and unknown here");
        return Err((message, "set an environment variable and write ${VAR} instead".into()));
    }
    if !is_name(name) {
        return Err(("`${…}` has no variable name".into(), "write ${VAR}, ${VAR:-default}, or $$ for a dollar sign".into()));
    }
    if default.is_some_and(|d| d.contains("${")) {
        return Err((format!("the default of `${{{name}}}` contains another variable"), "write a default without variables".into()));
    }
    match (env.0.get(name), default) {
        (Some(Some(value)), Some(default)) if value.is_empty() => Ok((name, default)),
        (Some(Some(value)), _) => Ok((name, value)),
        (Some(None), _) => Err((format!("the environment variable `{name}` is not UTF-8 text"), format!("set {name} to UTF-8 text"))),
        (None, Some(default)) => Ok((name, default)),
        (None, None) => {
            let hint = format!("set {name} before starting, or write ${{{name}:-default}}");
            Err((format!("the environment variable `{name}` is not set"), hint))
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Escapes `text` so that expansion returns it unchanged.
pub(super) fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

/// Returns a value as written in our own file.
pub(super) fn written(secret: &Secret) -> String {
    if secret.interpolated() { secret.written().to_owned() } else { escape(secret.expose()) }
}

/// How another client writes variables.
#[derive(Clone, Debug, Default)]
pub(super) struct Dialect {
    /// Whether `${VAR}` is expanded.
    pub braces: bool,
    /// Whether `$VAR` is expanded too (Gemini CLI).
    pub bare: bool,
    /// The editor's own variables (`workspaceFolder`, `userHome`) and their values.
    pub known: Vec<(&'static str, String)>,
}

impl Dialect {
    /// Translates a text into the syntax of our own file.
    pub fn native(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            out.push_str(&rest[..dollar]);
            let from = &rest[dollar..];
            let (piece, length) = self.piece(from);
            out.push_str(&piece);
            rest = &from[length..];
        }
        out + rest
    }

    /// Translates the dollar sign at the start of `from`; returns the translation and the length of `from` that it replaces.
    fn piece(&self, from: &str) -> (String, usize) {
        let literal = ("$$".to_owned(), 1);
        let inside = from.strip_prefix("${").and_then(|r| r.split_once('}')).map(|(inside, _)| inside);
        match inside {
            Some(inside) if self.braces => {
                let length = inside.len() + 3;
                if let Some((_, value)) = self.known.iter().find(|(name, _)| *name == inside) {
                    return (escape(value), length);
                }
                let name = inside.split_once(":-").map_or(inside, |(name, _)| name);
                let name = name.strip_prefix("env:").unwrap_or(name);
                let asked = ["input:", "command:", "config:"].iter().any(|kind| name.starts_with(kind));
                if is_name(name) || asked { (from[..length].to_owned(), length) } else { literal }
            }
            None if self.bare => {
                let end = from[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(from.len() - 1);
                let name = &from[1..1 + end];
                if is_name(name) { (format!("${{{name}}}"), end + 1) } else { literal }
            }
            _ => literal,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env() -> Env {
        Env::from_iter([("A", "alpha"), ("EMPTY", ""), ("MY_TOKEN", "s3cret-value")])
    }

    #[test]
    fn variables_defaults_and_escapes() {
        for (text, value) in [
            ("${A}", "alpha"),
            ("x${A}y${env:A}", "xalphayalpha"),
            ("${NONE:-d}", "d"),
            ("${NONE:-}", ""),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY}", ""),
            ("${env:NONE:-d e}", "d e"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("$$$${A}", "$${A}"),
            ("$$${A}", "$alpha"),
            ("$5 a$ $A", "$5 a$ $A"),
            ("ü${A}ü", "üalphaü"),
        ] {
            assert_eq!(expand(text, &env()).unwrap().secret.expose(), value, "{text}");
        }
    }

    #[test]
    fn faults_name_the_variable_and_never_a_value() {
        for (text, message) in [
            ("${NONE}", "the environment variable `NONE` is not set"),
            ("${A", "`${` without `}`"),
            ("${}", "no variable name"),
            ("${1A}", "no variable name"),
            ("${A:-${EMPTY}}", "contains another variable"),
            ("${input:token}", "variable of the editor"),
        ] {
            let fault = expand(text, &env()).unwrap_err();
            assert!(fault.message.contains(message), "{text}: {fault:?}");
            assert!(!format!("{fault:?}").contains("alpha"));
        }
    }

    #[test]
    fn a_text_without_variables_is_masked_and_one_with_variables_shows_them() {
        assert_eq!(expand("pa$$word", &env()).unwrap().secret.shown(), crate::domain::secret::MASK);
        let token = expand("Bearer ${MY_TOKEN}", &env()).unwrap();
        assert_eq!(token.secret.shown(), "Bearer ${MY_TOKEN}");
        assert_eq!(token.variables[0].expose(), "s3cret-value");
        assert_eq!(expand("${A}", &env()).unwrap().variables, []);
        assert!(!format!("{:?}{token:?}", env()).contains("s3cret"));
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_no_text_is_an_error_and_not_unset() {
        use std::os::unix::ffi::OsStringExt;
        let env = Env::from_os([("B".into(), OsString::from_vec(vec![0xff]))]);
        assert!(expand("${B:-d}", &env).unwrap_err().message.contains("not UTF-8"));
    }

    #[test]
    fn other_clients_text_means_the_same_in_ours() {
        let vscode = Dialect { braces: true, bare: false, known: vec![("workspaceFolder", "/w$".into())] };
        let gemini = Dialect { braces: true, bare: true, known: vec![] };
        let zed = Dialect::default();
        for (dialect, theirs, ours) in [
            (&vscode, "${workspaceFolder}/x", "/w$$/x"),
            (&vscode, "${env:A}${A:-b}", "${env:A}${A:-b}"),
            (&vscode, "pa$$word$", "pa$$$$word$$"),
            (&vscode, "${1} ${x", "$${1} $${x"),
            (&vscode, "${input:key}", "${input:key}"),
            (&vscode, "$A", "$$A"),
            (&gemini, "$A-$5 ${A}", "${A}-$$5 ${A}"),
            (&gemini, "$A", "${A}"),
            (&zed, "${A} $A", "$${A} $$A"),
        ] {
            assert_eq!(dialect.native(theirs), ours);
        }
    }

    proptest! {
        #[test]
        fn text_without_dollar_signs_is_itself(text in "[^$]*") {
            let expanded = expand(&text, &Env::default()).unwrap();
            prop_assert_eq!(expanded.secret.expose(), text.as_str());
            prop_assert!(!expanded.secret.interpolated());
        }

        #[test]
        fn escaped_text_is_itself(text in "[${}A:\\-a-c ü]*") {
            let expanded = expand(&escape(&text), &Env::default()).unwrap();
            prop_assert_eq!(expanded.secret.expose(), text.as_str());
            prop_assert_eq!(written(&expanded.secret), escape(&text));
        }

        #[test]
        fn nothing_panics(text in "\\PC*|[${}:\\-A]*") {
            let _ = expand(&text, &Env::default());
            let dialect = Dialect { braces: true, bare: true, known: vec![] };
            let _ = dialect.native(&text);
        }
    }
}
