//! Table reader: returns typed values by key and reports every unknown key.

use std::{
    cell::{Cell, RefCell},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    dialect::{Dialect, Input, Use},
    error::ConfigError,
    kinds::effect,
    renamed::renamed_hint,
    source::Source,
    text::{self, Env},
};
use crate::domain::{
    config_fault::ConfigFault,
    config_input::{ConfigInput, InputState},
    document::{Field, Kind, Node},
    policy::{pattern::Pattern, tool_filter::ToolFilter},
    secret::Secret,
    server::looks_secret,
    spelling::edit_distance,
    time::parse_duration,
};

/// Longest duration. A longer one is a mistake, and would overflow the clock.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Hint for a malformed duration.
const DURATION_HINT: &str = "write it as \"500ms\", \"30s\" or \"2m\"";

/// Longest word with a suggestion, in characters.
const LONGEST_WORD: usize = 64;

/// Context and errors of reading one file.
pub(super) struct Report<'a> {
    pub source: &'a Source,
    pub env: &'a Env,
    /// The user's home, for `~/`.
    pub home: Option<&'a Path>,
    /// Base of relative paths in the file.
    pub base: &'a Path,
    /// The canonical folder of the project that the file belongs to, for files of a project.
    pub root: Option<&'a Path>,
    /// The servers that the environment in use enables; `None` without one.
    pub servers: Option<&'a ToolFilter>,
    /// How the file writes variables; `None` for our own files.
    pub dialect: Option<Dialect>,
    /// Errors outside of the tables of servers. Each costs a setting or an entry of our own files, and all of the file of another
    /// client.
    pub errors: RefCell<Vec<ConfigError>>,
    /// Errors that make one server unusable, and warnings.
    pub problems: RefCell<Vec<ConfigError>>,
    /// Further files that were read or are missing, for watching.
    pub files: RefCell<Vec<PathBuf>>,
    server: RefCell<Option<String>>,
    faults: Cell<Faults>,
    variables: RefCell<Vec<Secret>>,
    /// The environment of the current server, which its arguments can refer to.
    own_env: RefCell<Vec<(String, Secret)>>,
    /// Where the texts that are read now are used.
    used: Cell<Use>,
    unused: RefCell<Vec<UnusedKey>>,
    /// Whether the current server is switched off, even if the rest of its table is invalid.
    off: Cell<bool>,
    /// Inputs that servers use: id and server.
    used_inputs: RefCell<Vec<(String, String)>>,
    /// The same with what the file says of them.
    pub inputs: RefCell<Vec<ConfigInput>>,
}

/// A key of another client's file that is not honoured.
struct UnusedKey {
    at: usize,
    key: String,
    effect: &'static str,
    servers: Vec<String>,
}

/// Most servers that a message names.
const NAMED: usize = 3;

/// Kinds of errors found in the current server's table.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    /// The table is invalid.
    pub table: bool,
    /// A variable could not be expanded.
    pub variable: bool,
}

impl<'a> Report<'a> {
    /// Returns a report for one of our own files.
    pub fn new(source: &'a Source, env: &'a Env, home: Option<&'a Path>, base: &'a Path) -> Report<'a> {
        Report {
            source,
            env,
            home,
            base,
            root: None,
            servers: None,
            dialect: None,
            errors: RefCell::default(),
            problems: RefCell::default(),
            files: RefCell::default(),
            server: RefCell::default(),
            faults: Cell::default(),
            variables: RefCell::default(),
            own_env: RefCell::default(),
            used: Cell::default(),
            unused: RefCell::default(),
            off: Cell::default(),
            used_inputs: RefCell::default(),
            inputs: RefCell::default(),
        }
    }

    /// Reads one server; its errors carry the server's name. Also returns the kinds of errors, the errors and the secret
    /// variables.
    pub fn server<T>(&self, name: &str, read: impl FnOnce() -> T) -> (T, Faults, Vec<ConfigFault>, Vec<Secret>) {
        self.server.replace(Some(name.to_owned()));
        self.faults.set(Faults::default());
        self.own_env.take();
        self.used.take();
        self.off.take();
        let before = self.problems.borrow().len();
        let value = read();
        self.server.replace(None);
        let found = self.problems.borrow().iter().skip(before).filter(|problem| problem.unusable).map(ConfigError::fault).collect();
        (value, self.faults.take(), found, self.variables.take())
    }

    /// Records that the current server inherits the whole environment with its secrets.
    pub fn inherits(&self) {
        self.variables.borrow_mut().extend(self.env.secrets());
    }

    /// Reports an error at `at`.
    pub fn error(&self, at: usize, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        let server = self.server.borrow().clone();
        self.faults.set(Faults { table: true, ..self.faults.get() });
        self.push_error(self.describe(at, key, message, hint, server));
    }

    /// Reads an entry outside of the tables of servers. `None` if it has an error: no part of it is used.
    pub fn entry<T>(&self, read: impl FnOnce() -> Option<T>) -> Option<T> {
        let before = self.errors.borrow().len();
        let value = read();
        value.filter(|_| self.errors.borrow().len() == before)
    }

    /// Returns the result of `read`, and whether errors outside of the tables of servers were found meanwhile.
    pub fn checked<T>(&self, read: impl FnOnce() -> T) -> (T, bool) {
        let before = self.errors.borrow().len();
        let value = read();
        (value, self.errors.borrow().len() == before)
    }

    /// Adds an error: of the file, or of the server that it makes unusable.
    fn push_error(&self, error: ConfigError) {
        match error.server {
            Some(_) => self.problems.borrow_mut().push(ConfigError { unusable: true, ..error }),
            None => self.errors.borrow_mut().push(error),
        }
    }

    /// Reports a warning.
    pub fn note(&self, at: usize, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        let server = self.server.borrow().clone();
        self.problems.borrow_mut().push(self.describe(at, key, message, hint, server));
    }

    /// Returns a position in the file, as an error without a message.
    pub fn place(&self, at: usize, key: &str) -> ConfigError {
        self.describe(at, key, "", "", None)
    }

    fn describe(&self, at: usize, key: &str, message: impl Into<String>, hint: impl Into<String>, server: Option<String>) -> ConfigError {
        let mut error = self.source.error(at, message);
        error.key = (!key.is_empty()).then(|| key.into());
        error.hint = Some(hint.into()).filter(|h: &String| !h.is_empty()).map(String::into_boxed_str);
        error.server = server.map(String::into_boxed_str);
        error
    }

    /// Expands the variables of a configured text. Unset ones are reported and left empty: the server is unusable, but its
    /// transport is known.
    pub fn expand(&self, at: usize, key: &str, text: &str) -> Secret {
        let Some(dialect) = &self.dialect else {
            text::inputs_in(text).for_each(|id| self.note_input(id));
            return self.expand_native(at, key, text);
        };
        let translated = {
            let own = self.own_env.borrow();
            let is_set = |name: &str| self.env.get(name).is_some() || own.iter().any(|(other, _)| other == name);
            dialect.native(text, self.used.get(), self.env, &is_set)
        };
        translated.inputs.iter().for_each(|id| self.note_input(id));
        let Some(fault) = translated.fault else { return self.expand_native(at, key, &translated.text) };
        if fault.input {
            self.unexpandable(at, key, fault.message, fault.hint);
        } else {
            // The text would be a value of our own file, so it is not imported.
            self.error(at, key, fault.message, fault.hint);
        }
        match text::expand_with(&translated.text, self.env, &self.own_env.borrow()) {
            Ok(expanded) => expanded.secret,
            Err(fault) => fault.rest,
        }
    }

    /// Records that the current server uses an input.
    fn note_input(&self, id: &str) {
        if let Some(server) = &*self.server.borrow() {
            self.used_inputs.borrow_mut().push((id.to_owned(), server.clone()));
        }
    }

    /// Forgets the inputs of a server that is switched off: nobody has to give them.
    pub fn forget_inputs(&self, server: &str) {
        self.used_inputs.borrow_mut().retain(|(_, user)| user != server);
    }

    /// Completes the inputs that were used so far with their declarations. In our own files they have none.
    pub fn declare_inputs(&self, declared: &[Input]) {
        let mut inputs: Vec<ConfigInput> = vec![];
        for (id, server) in self.used_inputs.take() {
            if let Some(known) = inputs.iter_mut().find(|input| input.id == id) {
                if !known.servers.contains(&server) {
                    known.servers.push(server);
                }
                continue;
            }
            let declared = declared.iter().find(|input| input.id == id).cloned().unwrap_or_default();
            let given = self.env.input(&id).is_some() || self.dialect.as_ref().is_some_and(|dialect| dialect.is_set(&id, self.env));
            inputs.push(ConfigInput {
                file: self.source.path.clone(),
                description: declared.description,
                options: declared.options,
                password: declared.password || looks_secret(&id),
                servers: vec![server],
                state: match (given, &declared.default) {
                    (true, _) => InputState::Given,
                    (false, Some(_)) => InputState::Default,
                    (false, None) => InputState::Missing,
                },
                default: declared.default,
                id,
            });
        }
        self.inputs.borrow_mut().extend(inputs);
    }

    /// Records whether the current server is switched off.
    pub fn set_off(&self, off: bool) {
        self.off.set(off);
    }

    /// Returns whether the last server is switched off.
    pub fn is_off(&self) -> bool {
        self.off.get()
    }

    /// Sets where the texts that follow are used.
    pub fn used_for(&self, used: Use) {
        self.used.set(used);
    }

    /// Sets the environment of the current server, which the texts that follow can refer to.
    pub fn own_env(&self, env: &[(String, Secret)]) {
        self.own_env.replace(env.to_vec());
    }

    /// Records a key that is not honoured, with what it would have done.
    pub fn unused_key(&self, at: usize, key: &str, effect: &'static str, server: Option<&str>) {
        let mut unused = self.unused.borrow_mut();
        let known = unused.iter_mut().find(|other| other.key == key && other.effect == effect);
        let server = server.map(str::to_owned);
        match known {
            Some(known) => known.servers.extend(server),
            None => unused.push(UnusedKey { at, key: key.to_owned(), effect, servers: server.into_iter().collect() }),
        }
    }

    /// Reports the recorded keys: each once, labels together.
    pub fn report_unused_keys(&self) {
        let (labels, others): (Vec<UnusedKey>, Vec<UnusedKey>) =
            self.unused.take().into_iter().partition(|key| key.effect == effect::DISPLAY);
        for UnusedKey { at, key, effect, servers } in others {
            let more = servers.len().saturating_sub(NAMED);
            let named = servers.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let of = match (servers.len(), more) {
                (0, _) => String::new(),
                (1, _) => format!(" (server {named})"),
                (_, 0) => format!(" (servers {named})"),
                _ => format!(" (servers {named} and {more} more)"),
            };
            self.note(at, &key, format!("is not used{of}: it {effect}"), "");
        }
        if let Some(first) = labels.first() {
            let keys: Vec<&str> = labels.iter().map(|label| label.key.as_str()).collect();
            let message =
                if keys.len() == 1 { "is not used: it is a label of the client" } else { "are not used: they are labels of the client" };
            self.note(first.at, &keys.join(", "), message, "");
        }
    }

    fn expand_native(&self, at: usize, key: &str, text: &str) -> Secret {
        let expanded = text::expand_with(text, self.env, &self.own_env.borrow());
        match expanded {
            Ok(expanded) => {
                self.variables.borrow_mut().extend(expanded.variables);
                expanded.secret
            }
            Err(fault) => {
                self.unexpandable(at, key, fault.message, fault.hint);
                fault.rest
            }
        }
    }

    fn unexpandable(&self, at: usize, key: &str, message: String, hint: String) {
        self.faults.set(Faults { variable: true, ..self.faults.get() });
        let server = self.server.borrow().clone();
        self.push_error(self.describe(at, key, message, hint, server));
    }

    /// Reports an error that makes the current server unusable although its transport is known, like an unset variable.
    pub fn unusable(&self, error: ConfigError) {
        self.faults.set(Faults { variable: true, ..self.faults.get() });
        let server = self.server.borrow().clone().map(String::into_boxed_str);
        self.push_error(ConfigError { server, ..error });
    }

    /// Returns whether a variable of the current server's table was unset.
    pub fn unset(&self) -> bool {
        self.faults.get().variable
    }

    /// Returns whether the current server has an error already, so that it is not used.
    pub fn refused(&self) -> bool {
        self.faults.get().table
    }

    /// Returns `before` followed by the value of a variable that the file names without a dollar sign.
    pub fn variable(&self, at: usize, key: &str, before: &str, name: &str) -> Secret {
        self.expand_native(at, key, &format!("{}${{{name}}}", text::escape(before)))
    }

    /// Resolves a path: `~/` is the user's home, a relative path starts at the file's folder.
    pub fn path(&self, text: &str) -> PathBuf {
        match (self.tilde(text), text) {
            (Some(path), _) => path,
            (None, path) => self.base.join(path),
        }
    }

    /// Expands `~` and `~/`; `None` for other texts.
    pub fn tilde(&self, text: &str) -> Option<PathBuf> {
        match (self.home, text.strip_prefix('~')) {
            (Some(home), Some("")) => Some(home.to_owned()),
            (Some(home), Some(rest)) => rest.strip_prefix('/').map(|rest| home.join(rest)),
            _ => None,
        }
    }
}

/// A table being read. [`Fields::finish`] reports the keys that were never read.
pub(super) struct Fields<'r, 'a> {
    pub report: &'r Report<'a>,
    table: &'r [Field],
    /// Dotted name of the table.
    prefix: String,
    known: Vec<&'static str>,
}

impl<'r, 'a> Fields<'r, 'a> {
    /// Starts reading a table. `prefix` is its name in errors, empty for a server's table and the root.
    pub fn new(report: &'r Report<'a>, table: &'r [Field], prefix: impl Into<String>) -> Self {
        Self { report, table, prefix: prefix.into(), known: vec![] }
    }

    /// Returns the full name of a key.
    pub fn name(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    /// Returns the field of a key and marks the key as known.
    pub fn field(&mut self, key: &'static str) -> Option<&'r Field> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.iter().rev().find(|f| f.key == key)
    }

    /// Returns the value of a key. A JSON `null` is the same as a missing key.
    pub fn node(&mut self, key: &'static str) -> Option<&'r Node> {
        self.field(key).map(|f| &f.value).filter(|n| !matches!(n.kind, Kind::Null))
    }

    /// Reports that the value of a key has the wrong type.
    pub fn wrong_type(&self, node: &Node, key: &str, wanted: &str) {
        let message = format!("should be {wanted}, not {}", node.kind_name());
        self.report.error(node.at, &self.name(key), message, "");
    }

    /// Reads a string without expanding variables.
    pub fn text(&mut self, key: &'static str) -> Option<&'r str> {
        let node = self.node(key)?;
        node.text().or_else(|| {
            self.wrong_type(node, key, "a string");
            None
        })
    }

    /// Reads a string and expands its variables.
    pub fn expanded(&mut self, key: &'static str) -> Option<Secret> {
        let text = self.text(key)?;
        let at = self.node(key)?.at;
        Some(self.report.expand(at, &self.name(key), text))
    }

    /// Reads a boolean.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let node = self.node(key)?;
        match node.kind {
            Kind::Bool(value) => Some(value),
            _ => {
                self.wrong_type(node, key, "true or false");
                None
            }
        }
    }

    /// Reads an integer of at least 1.
    pub fn count(&mut self, key: &'static str) -> Option<usize> {
        let node = self.node(key)?;
        match node.integer() {
            Some(n) if n > 0 => usize::try_from(n).ok(),
            Some(_) => {
                self.report.error(node.at, &self.name(key), "should be at least 1", "");
                None
            }
            None => {
                self.wrong_type(node, key, "a number without quotes");
                None
            }
        }
    }

    /// Reads an integer within bounds.
    pub fn integer(&mut self, key: &'static str, least: u32, most: u32) -> Option<u32> {
        let node = self.node(key)?;
        let Some(n) = node.integer() else {
            self.wrong_type(node, key, "an integer without quotes");
            return None;
        };
        let fits = u32::try_from(n).ok().filter(|n| (least..=most).contains(n));
        if fits.is_none() {
            self.report.error(node.at, &self.name(key), format!("should be from {least} to {most}"), "");
        }
        fits
    }

    /// Reads a number within bounds.
    pub fn number(&mut self, key: &'static str, least: f64, most: f64) -> Option<f64> {
        let node = self.node(key)?;
        let Some(number) = node.number() else {
            self.wrong_type(node, key, "a number without quotes");
            return None;
        };
        let fits = (least..=most).contains(&number);
        if !fits {
            self.report.error(node.at, &self.name(key), format!("should be from {least} to {most}"), "");
        }
        fits.then_some(number)
    }

    /// Reads a pattern over exposed names of tools.
    pub fn pattern(&mut self, key: &'static str) -> Option<Pattern> {
        let text = self.text(key)?;
        let at = self.node(key)?.at;
        let parsed = Pattern::parse(text);
        parsed
            .map_err(|why| self.report.error(at, &self.name(key), why, "write a name, a name with * and ?, or /a regular expression/"))
            .ok()
    }

    /// Reads a duration such as `"30s"` that is not zero.
    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let duration = self.duration_or_zero(key)?;
        if duration.is_zero() {
            let at = self.node(key)?.at;
            self.report.error(at, &self.name(key), "should be more than zero", DURATION_HINT);
            return None;
        }
        Some(duration)
    }

    /// Reads a duration such as `"30s"` or `"0s"`.
    pub fn duration_or_zero(&mut self, key: &'static str) -> Option<Duration> {
        let text = self.node(key)?;
        let Some(written) = text.text() else {
            let hint = match &text.kind {
                Kind::Integer(n) => format!("write the unit: \"{n}s\" or \"{n}ms\""),
                _ => DURATION_HINT.into(),
            };
            self.report.error(text.at, &self.name(key), "should be a duration in quotes", hint);
            return None;
        };
        let fault = match parse_duration(written) {
            Some(duration) if duration > LONGEST => "is longer than 30 days",
            Some(duration) => return Some(duration),
            None => "is not a duration",
        };
        self.report.error(text.at, &self.name(key), fault, DURATION_HINT);
        None
    }

    /// Reads one of the words of `choices`.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let at = self.node(key)?.at;
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        self.report.error(
            at,
            &self.name(key),
            format!("should be one of {}", words.join(", ")),
            near_hint(text, choices.iter().map(|c| c.0)),
        );
        None
    }

    /// Reads an array.
    pub fn array(&mut self, key: &'static str) -> Option<&'r [Node]> {
        let node = self.node(key)?;
        match &node.kind {
            Kind::Array(items) => Some(items),
            _ => {
                self.wrong_type(node, key, "an array");
                None
            }
        }
    }

    /// Reads a table.
    pub fn table(&mut self, key: &'static str) -> Option<&'r [Field]> {
        let node = self.node(key)?;
        node.fields().or_else(|| {
            self.wrong_type(node, key, "a table");
            None
        })
    }

    /// Starts reading a table inside this one.
    pub fn inner(&mut self, key: &'static str) -> Option<Fields<'r, 'a>> {
        let table = self.table(key)?;
        Some(Fields::new(self.report, table, self.name(key)))
    }

    /// Returns whether the table has an unknown key that is probably a misspelling of one of `keys`.
    pub fn has_misspelling_of(&self, keys: &[&str]) -> bool {
        let unknown = self.table.iter().filter(|f| !self.known.contains(&f.key.as_str()));
        unknown.into_iter().any(|f| !near_hint(&f.key, keys.iter().copied()).is_empty())
    }

    /// Reports every key that was never read.
    pub fn finish(self) {
        for field in self.table.iter().filter(|f| !self.known.contains(&f.key.as_str())) {
            let hint = renamed_hint(&self.name(&field.key), &field.key, &self.known).unwrap_or_else(|| {
                match near_hint(&field.key, self.known.iter().copied()) {
                    near if near.is_empty() => format!("known keys: {}", self.known.join(", ")),
                    near => near,
                }
            });
            self.report.error(field.at, &self.name(&field.key), "unknown key", hint);
        }
    }
}

/// Formats a duration as in the file.
pub(super) fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".into(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// Returns `did you mean …?` if one of `known` is similar, else an empty string.
pub(super) fn near_hint<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> String {
    let folded = |w: &str| w.to_lowercase().replace(['-', '_'], "");
    let word = folded(word);
    let best = known.map(|k| (edit_distance(&word, &folded(k)), k)).min_by_key(|(d, _)| *d);
    match best {
        Some((d, known)) if word.chars().count() <= LONGEST_WORD && d <= word.chars().count().max(3) / 3 => {
            format!("did you mean `{known}`?")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, ms) in
            [("500ms", 500), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000), ("1.5s", 1500), ("1m30s", 90_000), ("0s", 0), (" 3s ", 3000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5 s", "5sec", "1..5s", "1e400s", "99999999999999999999999h", "5s3", "ms5"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for text in ["500ms", "5s", "2m", "1h", "0s", "90s"] {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn suggests_the_most_similar_key() {
        let keys = ["command", "args", "env", "url", "headers", "message_bytes", "inherit_env"];
        for (word, near) in [
            ("comand", "command"),
            ("agrs", "args"),
            ("Command", "command"),
            ("messageBytes", "message_bytes"),
            ("header", "headers"),
            ("evn", "env"),
        ] {
            assert_eq!(near_hint(word, keys.into_iter()), format!("did you mean `{near}`?"), "{word}");
        }
        for far in ["zzz", "", "workspace", &"x".repeat(1000)] {
            assert_eq!(near_hint(far, keys.into_iter()), "", "{far}");
        }
    }
}
