//! Sessions of the history: runs of the program that made calls, with their kind, begin and end. Pure.

use serde::{Deserialize, Serialize};

use super::{glob::matches_or_contains, id::InstanceId, time::date};

/// The word of a filter for the session that began last.
pub const LAST: &str = "last";

/// What a run of the program was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A console with an engine of its own.
    Console,
    /// A headless command.
    Headless,
    /// A gateway for other programs.
    Gateway,
    /// An engine in the background.
    Engine,
    /// Of another version of the program.
    #[default]
    Unknown,
}

impl SessionKind {
    /// Every kind.
    pub const ALL: [SessionKind; 5] =
        [SessionKind::Console, SessionKind::Headless, SessionKind::Gateway, SessionKind::Engine, SessionKind::Unknown];

    /// Returns the stored word, which is also shown.
    pub fn word(self) -> &'static str {
        match self {
            SessionKind::Console => "console",
            SessionKind::Headless => "headless",
            SessionKind::Gateway => "gateway",
            SessionKind::Engine => "engine",
            SessionKind::Unknown => "unknown",
        }
    }

    /// Returns the kind with this word. A word of a newer version is an unknown kind.
    pub fn from_word(word: &str) -> SessionKind {
        SessionKind::ALL.into_iter().find(|kind| kind.word() == word).unwrap_or_default()
    }
}

/// The begin of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStart {
    /// Its id: that of the run of the engine.
    pub session: InstanceId,
    /// What it was.
    pub kind: SessionKind,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_ms: u64,
}

impl SessionStart {
    /// Returns the date in UTC on which it began.
    pub fn date(&self) -> String {
        date(self.started_ms / 1_000)
    }

    /// Returns whether a lower-case pattern of the filter language matches: [`LAST`] if it is the `newest` session, a part of its
    /// id or date, or its kind.
    pub fn matches(&self, pattern: &str, newest: bool) -> bool {
        if pattern == LAST {
            return newest;
        }
        [self.session.to_string(), self.date(), self.kind.word().to_owned()].iter().any(|name| matches_or_contains(pattern, name))
    }
}

/// A session with the sums of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSummary {
    /// Its begin.
    pub start: SessionStart,
    /// When its last call began, in milliseconds since the Unix epoch.
    pub last_ms: u64,
    /// When it ended, in milliseconds since the Unix epoch; `None` while it runs, and if it was killed.
    pub ended_ms: Option<u64>,
    /// Number of calls, with those that were deleted from the history.
    pub calls: u64,
    /// Number of failed calls and tool errors among them.
    pub failures: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_id_date_and_kind_and_the_newest_by_last() {
        // 2026-11-29.
        let session = SessionStart { session: InstanceId(0x00ab_1234), kind: SessionKind::Gateway, started_ms: 1_795_910_400_000 };
        assert_eq!(session.date(), "2026-11-29");
        for pattern in ["00ab1234", "ab12", "00ab*", "2026-11-29", "2026-11-*", "11-29", "gateway", "gate"] {
            assert!(session.matches(pattern, false), "{pattern}");
        }
        for pattern in ["last", "console", "2026-11-30", "ffff", "ab*"] {
            assert!(!session.matches(pattern, false), "{pattern}");
        }
        assert!(session.matches("last", true));
        assert_eq!(SessionKind::ALL.map(|kind| SessionKind::from_word(kind.word())), SessionKind::ALL);
        assert_eq!(SessionKind::from_word("of tomorrow"), SessionKind::Unknown);
    }
}
