//! Patterns over exposed names: exact, with wildcards, or a regular expression.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::domain::glob;

/// A pattern over exposed names.
///
/// `db_query` matches that name, `db_*` all names with that prefix (`*` any characters, `?` one character),
/// `/^(get|list)_/` all names in which the regular expression is found. The default matches nothing.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Arc<str>", into = "Arc<str>")]
pub struct Pattern {
    text: Arc<str>,
    /// The regular expression; unset for an exact name or a glob.
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Parses and validates a pattern.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let pattern = Pattern { text: text.into(), compiled: OnceLock::new() };
        if text.is_empty() {
            return Err("the pattern is empty".into());
        }
        if let Some(source) = pattern.source() {
            let regex = Regex::new(source).map_err(|e| format!("invalid regular expression: {}", last_line(&e.to_string())))?;
            let _ = pattern.compiled.set(Some(regex));
        }
        Ok(pattern)
    }

    /// Returns the pattern as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether the pattern matches `name`. An invalid pattern matches nothing.
    pub fn matches(&self, name: &str) -> bool {
        match self.source() {
            None => !self.text.is_empty() && glob::matches(&self.text, name),
            Some(source) => self.compiled.get_or_init(|| Regex::new(source).ok()).as_ref().is_some_and(|regex| regex.is_match(name)),
        }
    }

    /// Returns the regular expression between slashes; `None` for an exact name or a glob.
    fn source(&self) -> Option<&str> {
        self.text.strip_prefix('/')?.strip_suffix('/')
    }
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

impl From<Arc<str>> for Pattern {
    fn from(text: Arc<str>) -> Self {
        Pattern { text, compiled: OnceLock::new() }
    }
}

impl From<Pattern> for Arc<str> {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_wildcards_and_regular_expressions() {
        let matches = |pattern: &str, name: &str| Pattern::parse(pattern).unwrap().matches(name);
        assert!(matches("db_query", "db_query") && !matches("db_query", "db_query2") && !matches("db.query", "db_query"));
        assert!(matches("db_*", "db_") && matches("*email*", "send_email_now") && !matches("db_*", "mydb_x"));
        assert!(matches("get_?", "get_a") && !matches("get_?", "get_ab") && !matches("a.c*", "abc"));
        assert!(matches("/^(get|list)_/", "list_x") && !matches("/^(get|list)_/", "x_list_"));
        assert!(Pattern::parse("/(/").is_err() && Pattern::parse("").is_err());
        assert!(!Pattern::default().matches(""));
    }
}
