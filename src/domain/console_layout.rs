//! The layout of a console: what it restores at its next start. Pure; `config` stores it on disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::ServerId;

/// Most servers and groups whose folding is stored.
const MOST_FOLDS: usize = 1_000;
/// Longest filter that is stored, in bytes.
const LONGEST_FILTER: usize = 4 << 10;

/// What a console restores at its next start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsoleLayout {
    /// Columns of the tree, if its divider was moved.
    pub tree_columns: Option<u16>,
    /// Rows of the call pane, if its divider was moved.
    pub call_rows: Option<u16>,
    /// Rows of the list of calls, if its divider was moved.
    pub traffic_rows: Option<u16>,
    /// Whether the activity pane is hidden.
    pub activity_hidden: bool,
    /// The number of the view, from 0.
    pub view: usize,
    /// Whether a server was folded or unfolded by the user: `true` is unfolded.
    pub servers: BTreeMap<ServerId, bool>,
    /// The same for folders of servers.
    pub folders: BTreeMap<String, bool>,
    /// The filter of the traffic.
    pub traffic_filter: String,
    /// The filter of the timeline.
    pub timeline_filter: String,
}

impl ConsoleLayout {
    /// Parses the text of [`ConsoleLayout::to_json`]; any other text gives the default layout.
    pub fn from_json(text: &str) -> ConsoleLayout {
        let mut layout: ConsoleLayout = serde_json::from_str(text).unwrap_or_default();
        layout.bound();
        layout
    }

    /// Returns the text to store on disk.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Drops what is too much to store.
    pub fn bound(&mut self) {
        while self.servers.len() > MOST_FOLDS {
            self.servers.pop_last();
        }
        while self.folders.len() > MOST_FOLDS {
            self.folders.pop_last();
        }
        for filter in [&mut self.traffic_filter, &mut self.timeline_filter] {
            if filter.len() > LONGEST_FILTER {
                filter.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_can_be_read_back_and_any_text_is_harmless() {
        let layout = ConsoleLayout {
            tree_columns: Some(50),
            view: 2,
            servers: [("files".into(), false)].into(),
            traffic_filter: "outcome:failed".into(),
            ..ConsoleLayout::default()
        };
        assert_eq!(ConsoleLayout::from_json(&layout.to_json()), layout);
        for text in ["", "[]", "{\"view\":-1}", "{\"servers\":7}"] {
            assert_eq!(ConsoleLayout::from_json(text), ConsoleLayout::default(), "{text}");
        }
        let newer = "{\"view\":1,\"added_later\":[1]}";
        assert_eq!(ConsoleLayout::from_json(newer).view, 1);
    }

    #[test]
    fn a_layout_is_bounded() {
        let mut layout = ConsoleLayout { traffic_filter: "x".repeat(LONGEST_FILTER + 1), ..ConsoleLayout::default() };
        layout.folders = (0..MOST_FOLDS + 5).map(|n| (n.to_string(), true)).collect();
        layout.bound();
        assert!(layout.traffic_filter.is_empty() && layout.folders.len() == MOST_FOLDS);
    }
}
