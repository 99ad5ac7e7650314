//! Profiles of the gateway: what a client sees of all servers. Pure.

use std::sync::Arc;

use super::{catalog::Hints, policy::tool_filter::ToolFilter};

/// The name of the profile at `/mcp`, and of `serve` without `--profile`.
pub const DEFAULT: &str = "default";

/// What a client sees. A client selects a profile by its path, never by the name that it gives itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its name, part of its path: letters, digits, `_`, `-` and `.`.
    pub name: Arc<str>,
    /// The servers and groups, by their keys.
    pub servers: ToolFilter,
    /// The tools, by their exposed names.
    pub tools: ToolFilter,
    /// Whether tools are offered that may destroy data according to their annotations, or have none.
    pub destructive: bool,
    /// The instructions before those of the servers.
    pub instructions: Option<String>,
}

impl Default for Profile {
    fn default() -> Profile {
        let all = ToolFilter::default();
        Profile { name: DEFAULT.into(), servers: all.clone(), tools: all, destructive: true, instructions: None }
    }
}

impl Profile {
    /// Returns whether every tool of its servers is offered.
    pub fn offers_all_tools(&self) -> bool {
        self.tools.is_empty() && self.destructive
    }

    /// Returns whether a tool is offered, by its exposed name and its annotations. They are claims of its server; those that deny a
    /// tool are believed of any server (MCP 2025-11-25, schema, `ToolAnnotations`: tools without annotations may destroy data).
    pub fn offers(&self, exposed: &str, hints: &Hints) -> bool {
        let harmless = hints.read_only == Some(true) || hints.destructive == Some(false);
        self.tools.allows(exposed) && (self.destructive || harmless)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::pattern::Pattern;

    #[test]
    fn a_profile_offers_what_its_filters_and_the_annotations_allow() {
        let safe = Hints { read_only: Some(true), ..Hints::default() };
        let tools = ToolFilter { enabled: None, disabled: vec![Pattern::parse("*_delete*").unwrap()] };
        let careful = Profile { tools, destructive: false, ..Profile::default() };
        for (tool, hints, offered) in [
            ("db_query", safe, true),
            ("db_query", Hints::default(), false),
            ("db_delete_user", safe, false),
            ("db_insert", Hints { destructive: Some(false), ..Hints::default() }, true),
            ("db_insert", Hints { destructive: Some(true), ..Hints::default() }, false),
        ] {
            assert_eq!(careful.offers(tool, &hints), offered, "{tool} {hints:?}");
            assert!(Profile::default().offers(tool, &hints));
        }
        assert!(Profile::default().offers_all_tools() && !careful.offers_all_tools());
    }
}
