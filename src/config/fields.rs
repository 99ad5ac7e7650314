//! Reading tables: typed values by key, and an error for every key that nobody asked for.

use std::{
    cell::{Cell, RefCell},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    error::ConfigError,
    source::{Field, Kind, Node, Source},
    text::{self, Dialect, Env},
};
use crate::domain::{policy::pattern::Pattern, secret::Secret, time::parse_duration};

/// Longest time limit. Longer ones are surely mistakes, and would overflow the clock.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What reading one file is about, and what went wrong in it.
pub(super) struct Report<'a> {
    pub source: &'a Source,
    pub env: &'a Env,
    /// The user's home, for `~/`.
    pub home: Option<&'a Path>,
    /// Folder that relative paths in the file start from.
    pub base: &'a Path,
    /// The canonical folder of the project that the file belongs to, for files of a project.
    pub root: Option<&'a Path>,
    /// How the file treats dollar signs; `None` for our own files.
    pub dialect: Option<Dialect>,
    /// Whether what is wrong in a server's table costs that server only (imported and included files).
    pub lenient: bool,
    /// What makes the whole file unusable.
    pub errors: RefCell<Vec<ConfigError>>,
    /// What costs a server, or is only worth knowing.
    pub problems: RefCell<Vec<ConfigError>>,
    /// Further files that were read or would be, for watching.
    pub files: RefCell<Vec<PathBuf>>,
    server: RefCell<Option<String>>,
    faults: Cell<Faults>,
    variables: RefCell<Vec<Secret>>,
}

/// What was wrong in the server's table now read.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    /// The table itself is wrong.
    pub table: bool,
    /// A variable could not be replaced.
    pub variable: bool,
}

impl<'a> Report<'a> {
    /// A report on one of our own files.
    pub fn new(source: &'a Source, env: &'a Env, home: Option<&'a Path>, base: &'a Path) -> Report<'a> {
        Report {
            source,
            env,
            home,
            base,
            root: None,
            dialect: None,
            lenient: false,
            errors: RefCell::default(),
            problems: RefCell::default(),
            files: RefCell::default(),
            server: RefCell::default(),
            faults: Cell::default(),
            variables: RefCell::default(),
        }
    }

    /// Reads one server: what it reports carries the name. Gives the faults and the secret variables too.
    pub fn server<T>(&self, name: &str, read: impl FnOnce() -> T) -> (T, Faults, Vec<Secret>) {
        self.server.replace(Some(name.to_owned()));
        self.faults.set(Faults::default());
        let value = read();
        self.server.replace(None);
        (value, self.faults.take(), self.variables.take())
    }

    /// Notes that the server now read gets the whole environment, and with it the secrets there.
    pub fn inherits(&self) {
        self.variables.borrow_mut().extend(self.env.secrets());
    }

    /// Reports an error at `at`.
    pub fn error(&self, at: usize, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        let server = self.server.borrow().clone();
        let soft = self.lenient && server.is_some();
        self.faults.set(Faults { table: true, ..self.faults.get() });
        let list = if soft { &self.problems } else { &self.errors };
        list.borrow_mut().push(self.describe(at, key, message, hint, server));
    }

    /// Reports something worth knowing that costs nothing.
    pub fn note(&self, at: usize, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        let server = self.server.borrow().clone();
        self.problems.borrow_mut().push(self.describe(at, key, message, hint, server));
    }

    /// A place in the file: an error that says nothing yet.
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

    /// Replaces the variables of a configured text. Missing ones are reported and left empty: the
    /// server cannot be used, but what would be started is known.
    pub fn expand(&self, at: usize, key: &str, text: &str) -> Secret {
        match &self.dialect {
            Some(dialect) => self.expand_native(at, key, &dialect.native(text)),
            None => self.expand_native(at, key, text),
        }
    }

    fn expand_native(&self, at: usize, key: &str, text: &str) -> Secret {
        match text::expand(text, self.env) {
            Ok(expanded) => {
                self.variables.borrow_mut().extend(expanded.variables);
                expanded.secret
            }
            Err(fault) => {
                self.faults.set(Faults { variable: true, ..self.faults.get() });
                let server = self.server.borrow().clone();
                let error = self.describe(at, key, fault.message, fault.hint, server.clone());
                let list = if server.is_some() { &self.problems } else { &self.errors };
                list.borrow_mut().push(error);
                fault.rest
            }
        }
    }

    /// Reports what keeps the server now read from being used, as a missing variable does: what would be started is known.
    pub fn unusable(&self, error: ConfigError) {
        self.faults.set(Faults { variable: true, ..self.faults.get() });
        let server = self.server.borrow().clone().map(String::into_boxed_str);
        self.problems.borrow_mut().push(ConfigError { server, ..error });
    }

    /// Whether a variable was missing in the server's table now read.
    pub fn unset(&self) -> bool {
        self.faults.get().variable
    }

    /// The value of a variable that a file names without dollar sign, between `before` and the end.
    pub fn variable(&self, at: usize, key: &str, before: &str, name: &str) -> Secret {
        self.expand_native(at, key, &format!("{}${{{name}}}", text::escape(before)))
    }

    /// A path: `~/` is the user's home, a relative one starts at the file's folder.
    pub fn path(&self, text: &str) -> PathBuf {
        match (self.tilde(text), text) {
            (Some(path), _) => path,
            (None, path) => self.base.join(path),
        }
    }

    /// The path that a text beginning with `~/` means.
    pub fn tilde(&self, text: &str) -> Option<PathBuf> {
        match (self.home, text.strip_prefix('~')) {
            (Some(home), Some("")) => Some(home.to_owned()),
            (Some(home), Some(rest)) => rest.strip_prefix('/').map(|rest| home.join(rest)),
            _ => None,
        }
    }
}

/// A table being read. [`Fields::finish`] reports the keys that were never asked for.
pub(super) struct Fields<'r, 'a> {
    pub report: &'r Report<'a>,
    table: &'r [Field],
    /// Keys of the tables around it, with dots.
    prefix: String,
    known: Vec<&'static str>,
}

impl<'r, 'a> Fields<'r, 'a> {
    /// Begins to read a table. `prefix` is its own name for errors, empty for a server's table and the root.
    pub fn new(report: &'r Report<'a>, table: &'r [Field], prefix: impl Into<String>) -> Self {
        Self { report, table, prefix: prefix.into(), known: vec![] }
    }

    /// The full name of a key.
    pub fn name(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    /// The field of a key, which is known from now on.
    pub fn field(&mut self, key: &'static str) -> Option<&'r Field> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.iter().rev().find(|f| f.key == key)
    }

    /// The value of a key. A JSON `null` counts as absent.
    pub fn node(&mut self, key: &'static str) -> Option<&'r Node> {
        self.field(key).map(|f| &f.value).filter(|n| !matches!(n.kind, Kind::Null))
    }

    /// Reports that the value of a key is of the wrong kind.
    pub fn wrong(&self, node: &Node, key: &str, wanted: &str) {
        let message = format!("should be {wanted}, not {}", node.kind_name());
        self.report.error(node.at, &self.name(key), message, "");
    }

    /// A string as it stands.
    pub fn text(&mut self, key: &'static str) -> Option<&'r str> {
        let node = self.node(key)?;
        node.text().or_else(|| {
            self.wrong(node, key, "a string");
            None
        })
    }

    /// A string with its variables replaced.
    pub fn expanded(&mut self, key: &'static str) -> Option<Secret> {
        let text = self.text(key)?;
        let at = self.node(key)?.at;
        Some(self.report.expand(at, &self.name(key), text))
    }

    /// A boolean.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let node = self.node(key)?;
        match node.kind {
            Kind::Bool(value) => Some(value),
            _ => {
                self.wrong(node, key, "true or false");
                None
            }
        }
    }

    /// A number from 1.
    pub fn count(&mut self, key: &'static str) -> Option<usize> {
        let node = self.node(key)?;
        match node.kind {
            Kind::Integer(n) if n > 0 => usize::try_from(n).ok(),
            Kind::Integer(_) => {
                self.report.error(node.at, &self.name(key), "should be at least 1", "");
                None
            }
            _ => {
                self.wrong(node, key, "a number without quotes");
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn whole(&mut self, key: &'static str, least: u32, most: u32) -> Option<u32> {
        let node = self.node(key)?;
        let Kind::Integer(n) = node.kind else {
            self.wrong(node, key, "a whole number without quotes");
            return None;
        };
        let fits = u32::try_from(n).ok().filter(|n| (least..=most).contains(n));
        if fits.is_none() {
            self.report.error(node.at, &self.name(key), format!("should be from {least} to {most}"), "");
        }
        fits
    }

    /// A number within bounds.
    pub fn number(&mut self, key: &'static str, least: f64, most: f64) -> Option<f64> {
        let node = self.node(key)?;
        let number = match &node.kind {
            Kind::Integer(n) => Some(*n as f64),
            Kind::Number(text) => text.replace('_', "").parse::<f64>().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.wrong(node, key, "a number without quotes");
            return None;
        };
        let fits = (least..=most).contains(&number);
        if !fits {
            self.report.error(node.at, &self.name(key), format!("should be from {least} to {most}"), "");
        }
        fits.then_some(number)
    }

    /// A pattern over the exposed names of tools.
    pub fn pattern(&mut self, key: &'static str) -> Option<Pattern> {
        let text = self.text(key)?;
        let at = self.node(key)?.at;
        let parsed = Pattern::parse(text);
        parsed
            .map_err(|why| self.report.error(at, &self.name(key), why, "write a name, a name with * and ?, or /a regular expression/"))
            .ok()
    }

    /// A duration such as `"30s"`. Zero only when `zero`.
    pub fn duration(&mut self, key: &'static str, zero: bool) -> Option<Duration> {
        let text = self.node(key)?;
        let Some(written) = text.text() else {
            let hint = match text.kind {
                Kind::Integer(n) => format!("write the unit: \"{n}s\" or \"{n}ms\""),
                _ => "write it as \"500ms\", \"30s\" or \"2m\"".into(),
            };
            self.report.error(text.at, &self.name(key), "should be a duration in quotes", hint);
            return None;
        };
        let fault = match parse_duration(written) {
            Some(duration) if duration > LONGEST => "is longer than 30 days",
            Some(Duration::ZERO) if !zero => "should be more than zero",
            Some(duration) => return Some(duration),
            None => "is no duration",
        };
        self.report.error(text.at, &self.name(key), fault, "write it as \"500ms\", \"30s\" or \"2m\"");
        None
    }

    /// One of a few words.
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

    /// The entries of an array.
    pub fn array(&mut self, key: &'static str) -> Option<&'r [Node]> {
        let node = self.node(key)?;
        match &node.kind {
            Kind::Array(items) => Some(items),
            _ => {
                self.wrong(node, key, "an array");
                None
            }
        }
    }

    /// The fields of a table.
    pub fn table(&mut self, key: &'static str) -> Option<&'r [Field]> {
        let node = self.node(key)?;
        node.table().or_else(|| {
            self.wrong(node, key, "a table");
            None
        })
    }

    /// A table inside this one, to be read in the same way.
    pub fn inner(&mut self, key: &'static str) -> Option<Fields<'r, 'a>> {
        let table = self.table(key)?;
        Some(Fields::new(self.report, table, self.name(key)))
    }

    /// Whether a key stands in the table that is probably a misspelling of one of `keys`.
    pub fn misspelt(&self, keys: &[&str]) -> bool {
        let unknown = self.table.iter().filter(|f| !self.known.contains(&f.key.as_str()));
        unknown.into_iter().any(|f| !near_hint(&f.key, keys.iter().copied()).is_empty())
    }

    /// Reports every key that was not asked for.
    pub fn finish(self) {
        for field in self.table.iter().filter(|f| !self.known.contains(&f.key.as_str())) {
            let near = near_hint(&field.key, self.known.iter().copied());
            let hint = if near.is_empty() { format!("the keys here are {}", self.known.join(", ")) } else { near };
            self.report.error(field.at, &self.name(&field.key), "unknown key", hint);
        }
    }
}

/// A duration as it is written in the file.
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

/// `did you mean …?` when one of `known` is near.
pub(super) fn near_hint<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> String {
    let folded = |w: &str| w.to_lowercase().replace(['-', '_'], "");
    let word = folded(word);
    let best = known.map(|k| (distance(&word, &folded(k)), k)).min_by_key(|(d, _)| *d);
    match best {
        Some((d, known)) if d <= word.chars().count().max(3) / 3 => format!("did you mean `{known}`?"),
        _ => String::new(),
    }
}

/// Edits (insert, delete, replace, swap neighbours) from one word to the other; words over 64
/// characters are simply far.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
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
    fn the_nearest_key_is_suggested() {
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
