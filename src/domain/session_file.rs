//! Session files: calls with their bodies, and the definitions of the servers that answered, as lines of JSON. Pure.
//!
//! The first line names the format. Each further line is a document with a `type`; readers skip the types that they do not know.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{drift::DefinitionVersion, journal::CallRecord};

/// The version of the format.
const VERSION: u32 = 1;

/// The content of a session file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionFile {
    /// The calls, oldest first.
    pub calls: Vec<CallRecord>,
    /// The definitions of the servers.
    pub definitions: Vec<DefinitionVersion>,
}

/// A line of a session file.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    SwitchboardSession {
        version: u32,
    },
    Definition(Box<DefinitionVersion>),
    Call(Box<CallRecord>),
    #[serde(other, skip_serializing)]
    Other,
}

/// A session file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SessionFileError {
    /// The first line does not name the format.
    #[error("it is not a session file: the first line is not {{\"type\":\"switchboard_session\",…}}")]
    NotASession,
    /// A newer program wrote it.
    #[error("its format is {0}, this version of Switchboard knows {VERSION}")]
    Newer(u32),
    /// A line is not a document.
    #[error("line {line}: {why}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// Why.
        why: String,
    },
}

impl SessionFile {
    /// Returns the file as text.
    pub fn render(&self) -> String {
        let definitions = self.definitions.iter().map(|definition| Line::Definition(Box::new(definition.clone())));
        let calls = self.calls.iter().map(|call| Line::Call(Box::new(call.clone())));
        let lines = std::iter::once(Line::SwitchboardSession { version: VERSION }).chain(definitions).chain(calls);
        // Plain data always has a JSON form.
        lines.filter_map(|line| serde_json::to_string(&line).ok()).map(|line| line + "\n").collect()
    }

    /// Reads a file.
    pub fn parse(text: &str) -> Result<SessionFile, SessionFileError> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        match lines.next().and_then(|(_, line)| serde_json::from_str(line).ok()) {
            Some(Line::SwitchboardSession { version: VERSION }) => {}
            Some(Line::SwitchboardSession { version }) => return Err(SessionFileError::Newer(version)),
            _ => return Err(SessionFileError::NotASession),
        }
        let mut file = SessionFile::default();
        for (at, line) in lines {
            match serde_json::from_str(line) {
                Ok(Line::Definition(definition)) => file.definitions.push(*definition),
                Ok(Line::Call(call)) => file.calls.push(*call),
                Ok(Line::SwitchboardSession { .. } | Line::Other) => {}
                Err(error) => return Err(SessionFileError::Line { line: at + 1, why: error.to_string() }),
            }
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        body::Body,
        call::{CallSpec, Origin},
        drift::DefinitionKind,
        id::{CallId, ToolId},
        test_entries,
    };

    #[test]
    fn a_session_is_read_as_written() {
        let spec = CallSpec::tool(ToolId::new("db".into(), "query"), r#"{"n": 1.50}"#, Origin::Console);
        let definition = DefinitionVersion {
            server: "db".into(),
            kind: DefinitionKind::Tool,
            name: "query".into(),
            definition: Body::from(r#"{"name":"query"}"#),
            first_ms: 1,
            last_ms: 2,
            listed_ms: 2,
            accepted: true,
        };
        let file = SessionFile { calls: vec![test_entries::call_record(CallId(5), 6, spec, "db_query")], definitions: vec![definition] };
        let text = file.render();
        assert_eq!(SessionFile::parse(&text).unwrap(), file);
        let later = text.replace("\"type\":\"definition\"", "\"type\":\"from_a_later_version\"") + "\n\n";
        assert_eq!(SessionFile::parse(&later).unwrap().calls, file.calls);
        assert_eq!(SessionFile::parse(""), Err(SessionFileError::NotASession));
        assert_eq!(SessionFile::parse("{}"), Err(SessionFileError::NotASession));
        assert_eq!(SessionFile::parse(&text.replacen("\"version\":1", "\"version\":9", 1)), Err(SessionFileError::Newer(9)));
        assert!(matches!(SessionFile::parse(&(text + "{")), Err(SessionFileError::Line { line: 4, .. })));
    }
}
