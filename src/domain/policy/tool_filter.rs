//! Tool filter of a server: which of its tools may be called. Its configuration sets it; the engine refuses the other tools,
//! and faces show them as filtered.

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;

/// The tools of a server that may be called, by their own names. The default allows all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolFilter {
    /// If set, only tools that match one of these are allowed.
    pub enabled: Option<Vec<Pattern>>,
    /// Tools that match one of these are not allowed, even if `enabled` names them.
    pub disabled: Vec<Pattern>,
}

impl ToolFilter {
    /// Returns whether the tool may be called.
    pub fn allows(&self, tool: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(tool));
        self.enabled.as_deref().is_none_or(any) && !any(&self.disabled)
    }

    /// Returns whether all tools may be called.
    pub fn is_empty(&self) -> bool {
        self.enabled.is_none() && self.disabled.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disabled_patterns_win_over_enabled_ones() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text).unwrap()).collect::<Vec<_>>();
        let filter =
            |enabled: Option<&[&str]>, disabled: &[&str]| ToolFilter { enabled: enabled.map(patterns), disabled: patterns(disabled) };
        assert!(ToolFilter::default().is_empty() && ToolFilter::default().allows("x"));
        for (filter, allowed, refused) in [
            (filter(None, &["drop", "del_*"]), "read", "del_all"),
            (filter(Some(&["read"]), &[]), "read", "write"),
            (filter(Some(&["*"]), &["drop"]), "read", "drop"),
            (filter(Some(&["read", "drop"]), &["drop"]), "read", "drop"),
        ] {
            assert!(filter.allows(allowed) && !filter.allows(refused) && !filter.is_empty(), "{filter:?}");
        }
        assert!(!filter(Some(&[]), &[]).allows("read"), "an empty list allows nothing");
    }
}
