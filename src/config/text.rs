//! Expansion of variables (`${VAR}`) in configured text.
//!
//! `${VAR}` and `${VAR:-default}` (the default is used when the variable is unset or empty, as in a
//! shell), `${env:VAR}` as VS Code and Cursor write it, `${input:ID}` for a value given on the command line, `${file:PATH}`
//! for the content of a file, `${keyring:NAME}` for an entry of the desktop's keyring, `$$` for a dollar sign. A dollar sign before anything else is literal.

use std::{borrow::Cow, collections::HashMap, ffi::OsString, fmt, path::Path, sync::Arc};

use crate::{
    domain::{
        secret::{Secret, rule},
        server::looks_secret,
    },
    files::{self, Allowed},
    keyring::{self, Keyring},
};

/// Largest file of `${file:PATH}`, in bytes.
const LARGEST_VALUE: u64 = 64 << 10;

/// The environment that variables are looked up in, and the values of inputs. Its values are never printed. Cheap to clone.
#[derive(Clone, Default)]
pub struct Env {
    variables: Arc<HashMap<String, Option<String>>>,
    inputs: HashMap<String, String>,
    keyring: Keyring,
}

impl Env {
    /// The environment of this process.
    pub fn process() -> Env {
        Self::from_os(std::env::vars_os()).with_keyring(Keyring::system())
    }

    fn from_os(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Env {
        let variables: HashMap<_, _> =
            vars.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()))).collect();
        Env { variables: Arc::new(variables), ..Env::default() }
    }

    /// Returns the environment with the keyring for `${keyring:NAME}`.
    pub fn with_keyring(self, keyring: Keyring) -> Env {
        Env { keyring, ..self }
    }

    /// Returns the keyring; absent unless this is the environment of the process.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Returns the environment with the inputs of the command line (`--input ID=VALUE`).
    pub fn with_inputs(self, inputs: impl IntoIterator<Item = (String, String)>) -> Env {
        Env { inputs: inputs.into_iter().collect(), ..self }
    }

    /// Returns the environment with the values that the user gave for the inputs of one file. Those of the command line take
    /// precedence.
    pub(super) fn with_answers(&self, answers: Vec<(String, String)>) -> Env {
        let mut inputs: HashMap<String, String> = answers.into_iter().collect();
        inputs.extend(self.inputs.clone());
        Env { variables: self.variables.clone(), inputs, keyring: self.keyring.clone() }
    }

    /// Returns the environment with further variables, which take precedence.
    pub(super) fn with_variables<'v>(&self, variables: impl Iterator<Item = (&'v str, &'v str)>) -> Env {
        let mut added = variables.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).peekable();
        if added.peek().is_none() {
            return self.clone();
        }
        let mut variables = HashMap::clone(&self.variables);
        variables.extend(added);
        Env { variables: Arc::new(variables), inputs: self.inputs.clone(), keyring: self.keyring.clone() }
    }

    /// Returns the value of an input; `None` if it has none.
    pub fn input(&self, id: &str) -> Option<&str> {
        self.inputs.get(id).map(String::as_str)
    }

    /// Returns the value of a variable; `None` when it is unset or not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name)?.as_deref()
    }

    /// Returns the values of variables with secret-sounding names.
    pub fn secrets(&self) -> Vec<Secret> {
        let named = self.variables.iter().filter(|(name, _)| looks_secret(name));
        named.filter_map(|(name, value)| Some(rule::of_value(name, value.as_deref()?))).flatten().collect()
    }

    /// Returns the value of a variable unless it is empty.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(vars: I) -> Self {
        let variables: HashMap<_, _> = vars.into_iter().map(|(n, v)| (n.into(), Some(v.into()))).collect();
        Env { variables: Arc::new(variables), ..Env::default() }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Env({} variables, {} inputs)", self.variables.len(), self.inputs.len())
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
    expand_with(text, env, &[])
}

/// Expands the variables of `text`; those of a server's own environment come first.
pub(super) fn expand_with(text: &str, env: &Env, own: &[(String, Secret)]) -> Result<Expanded, Unexpandable> {
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
                    Some(end) => (lookup(&from[2..end], env, own), &from[end + 1..]),
                    None => (Err(("`${` without `}`".into(), "write $$ for a dollar sign".into())), ""),
                };
                match found {
                    Ok(Found { name, secret_as, value: found }) => {
                        let secrets = rule::of_value(secret_as, &found);
                        variables.extend(secrets.iter().map(|secret| Secret::new(secret.expose(), format!("${{{name}}}"))));
                        value.push_str(&found);
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

/// The value of an expression.
struct Found<'t> {
    name: &'t str,
    /// The name that decides whether the value is secret.
    secret_as: &'t str,
    value: Cow<'t, str>,
}

/// Returns the ids of the inputs that `text` uses.
pub(super) fn inputs_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("${input:").skip(1).filter_map(|rest| rest.split_once('}')).map(|(id, _)| id.split(":-").next().unwrap_or(id))
}

/// Returns the value of the expression between the braces.
fn lookup<'t>(inside: &'t str, env: &'t Env, own: &'t [(String, Secret)]) -> Result<Found<'t>, (String, String)> {
    if let Some(path) = inside.strip_prefix("file:") {
        return file(inside, path, env);
    }
    if let Some(name) = inside.strip_prefix("keyring:") {
        return entry(inside, name, env);
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let found = |value: &'t str| Ok(Found { name, secret_as: name, value: value.into() });
    if let Some(id) = name.strip_prefix("input:") {
        // The client may have asked for it as a password; nothing else marks it as one.
        let found = |value: &'t str| Found { name, secret_as: "secret", value: value.into() };
        let missing = || (format!("the input `{id}` has no value"), format!("pass --input {id}=VALUE, or enter it in the console"));
        return env.input(id).or(default).map(found).ok_or_else(missing);
    }
    let name = name.strip_prefix("env:").unwrap_or(name);
    if let Some((kind @ ("command" | "config"), _)) = name.split_once(':') {
        let message = format!("`${{{kind}:…}}` is a variable of the editor and unknown here");
        return Err((message, "set an environment variable and write ${VAR} instead".into()));
    }
    if !is_name(name) {
        return Err(("`${…}` has no variable name".into(), "write ${VAR}, ${VAR:-default}, or $$ for a dollar sign".into()));
    }
    if default.is_some_and(|d| d.contains("${")) {
        return Err((format!("the default of `${{{name}}}` contains another variable"), "write a default without variables".into()));
    }
    let own = own.iter().rev().find(|(other, _)| other == name).map(|(_, value)| Some(value.expose()));
    match (own.or_else(|| env.variables.get(name).map(Option::as_deref)), default) {
        (Some(Some("")), Some(default)) => found(default),
        (Some(Some(value)), _) => found(value),
        (Some(None), _) => Err((format!("the environment variable `{name}` is not UTF-8 text"), format!("set {name} to UTF-8 text"))),
        (None, Some(default)) => found(default),
        (None, None) => {
            let hint = format!("set {name} before starting, or write ${{{name}:-default}}");
            Err((format!("the environment variable `{name}` is not set"), hint))
        }
    }
}

/// Returns the content of a file without the line end at its end.
fn file<'t>(name: &'t str, path: &str, env: &Env) -> Result<Found<'t>, (String, String)> {
    let home = path.strip_prefix("~/").zip(env.non_empty("HOME")).map(|(rest, home)| Path::new(home).join(rest));
    let full = home.unwrap_or_else(|| Path::new(path).to_owned());
    if !full.is_absolute() {
        return Err((format!("`${{file:{path}}}` is not an absolute path"), "write ${file:/path} or ${file:~/path}".into()));
    }
    match files::read_text(&full, Allowed { bytes: LARGEST_VALUE, within: None }) {
        Ok(text) => Ok(Found { name, secret_as: "secret", value: text.trim_end_matches(['\r', '\n']).to_owned().into() }),
        Err(why) => Err((format!("the file {} of `${{file:…}}` {why}", full.display()), "check the file".into())),
    }
}

/// Returns the value of an entry of the keyring.
fn entry<'t>(inside: &'t str, name: &str, env: &Env) -> Result<Found<'t>, (String, String)> {
    if !keyring::is_name(name) {
        return Err((format!("`${{{inside}}}` has no valid name of an entry"), "use letters, digits and . _ -".into()));
    }
    match env.keyring.get(name) {
        Ok(Some(value)) => Ok(Found { name: inside, secret_as: "secret", value: value.into() }),
        Ok(None) => Err((format!("the keyring has no entry `{name}`"), format!("store it: {}", keyring::store_command(name)))),
        Err(error) => Err((format!("the entry `{name}` of the keyring cannot be read: {error}"), error.hint().into())),
    }
}

pub(super) fn is_name(name: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::{KeyringError, SecretStore, memory::Memory};

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
            ("${input:token}", "the input `token` has no value"),
            ("${config:x}", "variable of the editor"),
            ("${file:relative}", "not an absolute path"),
            ("${keyring:A}", "no support for keyrings"),
            ("${keyring:login/A}", "no valid name"),
            ("${keyring:}", "no valid name"),
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

    #[test]
    fn entries_of_the_keyring_are_secrets() {
        let memory = Arc::new(Memory::default());
        let env = env().with_keyring(Keyring::over(memory.clone()));
        memory.set("GITHUB", "ghp-keyring-0123").unwrap();
        let header = expand("Bearer ${keyring:GITHUB}", &env).unwrap();
        assert_eq!((header.secret.expose(), header.secret.shown()), ("Bearer ghp-keyring-0123", "Bearer ${keyring:GITHUB}"));
        assert_eq!(header.variables[0].expose(), "ghp-keyring-0123");
        let missing = expand("${keyring:OTHER}", &env).unwrap_err();
        assert_eq!(missing.message, "the keyring has no entry `OTHER`");
        assert!(missing.hint.starts_with("store it: ") && missing.hint.contains("OTHER"), "{}", missing.hint);
        *memory.fails.lock() = Some(KeyringError::Locked);
        let locked = expand("${keyring:GITHUB}", &env).unwrap_err();
        assert_eq!(locked.message, "the entry `GITHUB` of the keyring cannot be read: the keyring is locked");
        assert_eq!(locked.hint, "unlock the keyring and try again");
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_no_text_is_an_error_and_not_unset() {
        use std::os::unix::ffi::OsStringExt;
        let env = Env::from_os([("B".into(), OsString::from_vec(vec![0xff]))]);
        assert!(expand("${B:-d}", &env).unwrap_err().message.contains("not UTF-8"));
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
        }
    }
}
