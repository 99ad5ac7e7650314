//! Configuration faults: the errors that make an entry of the configuration unusable, and the connection failure that they
//! become.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    lossy_path,
    server::{ConnectFailure, ServerSpec, Step},
};

/// An error that makes an entry of the configuration unusable. Its texts hold no configured value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFault {
    /// The file with the error: the configuration, or a file that the entry names.
    #[serde(default, with = "lossy_path::optional")]
    pub file: Option<PathBuf>,
    /// Line in the file, from 1.
    pub line: Option<u32>,
    /// Column in characters, from 1.
    pub column: Option<u32>,
    /// The key, with the tables around it.
    pub key: Option<Box<str>>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<Box<str>>,
}

impl ConfigFault {
    /// Returns the place of the error: `file:line:column`.
    fn place(&self) -> Option<String> {
        let mut place = self.file.as_ref()?.display().to_string();
        for number in [self.line, self.column].into_iter().flatten() {
            place.push_str(&format!(":{number}"));
        }
        Some(place)
    }

    /// Returns key and message.
    fn text(&self) -> String {
        match &self.key {
            Some(key) => format!("`{key}`: {}", self.message),
            None => self.message.clone(),
        }
    }
}

impl ServerSpec {
    /// Returns why the server is never started, if its configuration has errors.
    pub fn config_failure(&self) -> Option<ConnectFailure> {
        let (first, more) = self.config_faults.split_first()?;
        let mut hints: Vec<String> = vec![];
        for hint in self.config_faults.iter().filter_map(|fault| fault.hint.as_deref()) {
            if !hints.iter().any(|known| known == hint) {
                hints.push(hint.to_owned());
            }
        }
        let cause = |fault: &ConfigFault| match fault.place() {
            Some(place) => format!("{place}: {}", fault.text()),
            None => fault.text(),
        };
        let failure = ConnectFailure {
            causes: more.iter().map(cause).collect(),
            target: if self.launch.is_known() { self.summary() } else { String::new() },
            place: first.place(),
            hints,
            retryable: false,
            ..ConnectFailure::new(Step::Configure, first.text())
        };
        Some(failure.bounded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{call::Label, server::Transport};

    #[test]
    fn every_error_of_an_entry_is_reported_with_its_place() {
        let launch = Transport::Http { url: "https://h/mcp?key=s3cret".into(), headers: vec![], socket: None };
        let mut spec = ServerSpec::new("web", launch);
        assert_eq!(spec.config_failure(), None);
        let fault = |line, key: &str, message: &str| ConfigFault {
            file: Some("/c/mcp.json".into()),
            line: Some(line),
            column: Some(3),
            key: Some(key.into()),
            message: message.into(),
            hint: Some("correct it".into()),
        };
        spec.config_faults = vec![fault(2, "headers.X", "is odd"), fault(5, "timeout", "is not a time")];
        let report = spec.config_failure().unwrap().report();
        let wanted = [
            (Label::Error, "`headers.X`: is odd"),
            (Label::Step, "failed while reading its configuration"),
            (Label::Place, "/c/mcp.json:2:3"),
            (Label::Cause, "/c/mcp.json:5:3: `timeout`: is not a time"),
            (Label::Target, "https://h/mcp"),
            (Label::Try, "correct it"),
        ];
        assert_eq!(report, wanted.map(|(label, text)| (label, text.to_owned())));
        // The transport of an entry without command and URL is not shown.
        let failure = ServerSpec { launch: Transport::unknown(), ..spec }.config_failure().unwrap();
        assert_eq!((failure.target.as_str(), failure.retryable), ("", false));
    }
}
