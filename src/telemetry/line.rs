//! A line of the log: collects the fields of an event, and writes them masked and escaped.

use std::{
    fmt::{self, Write},
    time::SystemTime,
};

use chrono::{DateTime, SecondsFormat, Utc};
use tracing::{
    Level, Metadata,
    field::{Field, Visit},
};

use crate::domain::{bounds, secret::Redactor, text::visible};

/// Largest size of a value, in bytes.
const VALUE: usize = 2 << 10;

/// Largest size of a value that is searched for secrets, in bytes. A value that begins before this limit is never in the
/// part that is written.
const SEARCHED: usize = 64 << 10;

/// An event that was not written yet. Its texts may contain secrets.
#[derive(Debug)]
pub struct Line {
    at: SystemTime,
    level: Level,
    target: String,
    message: String,
    fields: Vec<(&'static str, String)>,
}

#[expect(clippy::disallowed_methods, reason = "the time of a log line")]
fn now() -> SystemTime {
    SystemTime::now()
}

impl Line {
    /// Returns a line without message and fields.
    pub fn new(metadata: &Metadata<'_>) -> Line {
        Line { at: now(), level: *metadata.level(), target: metadata.target().to_owned(), message: String::new(), fields: vec![] }
    }

    /// Returns the line about lines that were dropped.
    pub fn dropped(count: u64) -> Line {
        let fields = vec![("count", count.to_string())];
        Line { at: now(), level: Level::WARN, target: "switchboard::log".into(), message: "lines were dropped".into(), fields }
    }

    /// Appends the line to `out`: time (UTC), level, process, target, message and fields. Values with spaces are quoted.
    pub fn write(&self, out: &mut String, process: u32, redactors: &[Redactor]) {
        let time = DateTime::<Utc>::from(self.at).to_rfc3339_opts(SecondsFormat::Millis, true);
        // Writing to a string does not fail.
        let _ = write!(out, "{time} {:5} {process} {}: {}", self.level, self.target, safe(&self.message, redactors));
        for (name, value) in &self.fields {
            let value = safe(value, redactors);
            let plain = !value.is_empty() && !value.contains([' ', '"', '=']);
            let _ = if plain { write!(out, " {name}={value}") } else { write!(out, " {name}=\"{}\"", value.replace('"', "\\\"")) };
        }
        out.push('\n');
    }

    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }
}

/// Returns a text as one line: secrets masked, cut to [`VALUE`], control and hidden characters escaped.
fn safe(text: &str, redactors: &[Redactor]) -> String {
    let mut text = bounds::cut(text, SEARCHED).into_owned();
    redactors.iter().for_each(|redactor| redactor.redact_in(&mut text));
    bounds::shorten(&mut text, VALUE);
    visible(&text).into_owned()
}
