//! Profiles of the gateway: what a client sees of all servers. Pure.

use std::sync::Arc;

use super::{
    body::{self, Body},
    catalog::Hints,
    policy::tool_filter::ToolFilter,
    raw_object::RawObject,
};

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
    /// Whether clients get log messages that belong to no call, although there are several clients.
    pub all_logs: bool,
    /// What is changed of single tools.
    pub edits: Vec<Arc<ToolEdit>>,
}

/// What a profile changes of a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolEdit {
    /// The exposed name of the tool.
    pub tool: Arc<str>,
    /// The name for clients of the profile.
    pub rename: Option<Arc<str>>,
    /// The description in place of the server's.
    pub description: Option<String>,
    /// Arguments that every call gets, with their values as JSON. Clients neither see nor set them.
    pub fixed: Vec<(String, Body)>,
    /// Arguments that clients neither see nor set.
    pub hidden: Vec<String>,
    /// Whether the user of the client confirms each call.
    pub confirm: bool,
    /// Maximum number of calls a minute, of all clients of the profile.
    pub per_minute: Option<u32>,
}

impl ToolEdit {
    fn concealed(&self) -> impl Iterator<Item = &str> {
        self.fixed.iter().map(|(name, _)| name).chain(&self.hidden).map(String::as_str)
    }

    /// Returns a tool as clients of the profile see it, under this name. `None` if an argument to conceal is not a property of the
    /// schema: then nothing says that the call can be made without it.
    pub fn tool(&self, raw: &Body, name: &str) -> Option<Body> {
        let mut tool = RawObject::parse(raw)?.with("name", Body::json(name));
        if let Some(description) = &self.description {
            tool.set("description", Body::json(description));
        }
        if self.concealed().next().is_some() {
            let schema = tool.get("inputSchema").and_then(RawObject::parse)?;
            tool.set("inputSchema", self.schema(schema)?.to_body());
        }
        Some(tool.to_body())
    }

    fn schema(&self, mut schema: RawObject) -> Option<RawObject> {
        let mut properties = schema.get("properties").and_then(RawObject::parse)?;
        for name in self.concealed() {
            properties.get(name)?;
            properties = properties.without(name);
        }
        schema.set("properties", properties.to_body());
        if let Some(required) = schema.get("required") {
            let required: Vec<String> = serde_json::from_slice(required.bytes()).ok()?;
            let left: Vec<&String> = required.iter().filter(|name| !self.concealed().any(|concealed| concealed == *name)).collect();
            schema.set("required", Body::json(&left));
        }
        Some(schema)
    }

    /// Returns the arguments of a call with the fixed ones. Fails with the name of an argument that clients may not set.
    pub fn arguments(&self, given: &Body) -> Result<Body, String> {
        let given = if given.is_empty() { Body::from("{}") } else { given.clone() };
        for name in self.concealed() {
            if matches!(body::fields(given.bytes(), [name]), Some([Some(_)])) {
                return Err(name.to_owned());
            }
        }
        if self.fixed.is_empty() {
            return Ok(given);
        }
        let Some(mut arguments) = RawObject::parse(&given) else { return Ok(given) };
        for (name, value) in &self.fixed {
            arguments.set(name.clone(), value.clone());
        }
        Ok(arguments.to_body())
    }
}

impl Default for Profile {
    fn default() -> Profile {
        let all = ToolFilter::default();
        Profile {
            name: DEFAULT.into(),
            servers: all.clone(),
            tools: all,
            destructive: true,
            instructions: None,
            all_logs: false,
            edits: vec![],
        }
    }
}

impl Profile {
    /// Returns whether every tool of its servers is offered as it is.
    pub fn offers_all_tools(&self) -> bool {
        self.tools.is_empty() && self.destructive && self.edits.is_empty()
    }

    /// Returns what is changed of a tool, by its exposed name.
    pub fn edit(&self, exposed: &str) -> Option<&Arc<ToolEdit>> {
        self.edits.iter().find(|edit| &*edit.tool == exposed)
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
    fn an_edited_tool_conceals_arguments_and_its_calls_have_the_fixed_ones() {
        let edit = ToolEdit {
            fixed: vec![("database".into(), Body::from("\"staging\""))],
            hidden: vec!["timeout".into()],
            description: Some("Reads.".into()),
            ..ToolEdit::default()
        };
        let raw = Body::from(
            r#"{"name":"q","x":1.0,"inputSchema":{"type":"object","properties":{"database":{},"sql":{"n":1.0},"timeout":{}},"required":["sql","database"]}}"#,
        );
        let seen = edit.tool(&raw, "sql").unwrap().text().into_owned();
        assert_eq!(
            seen,
            r#"{"x":1.0,"name":"sql","description":"Reads.","inputSchema":{"type":"object","properties":{"sql":{"n":1.0}},"required":["sql"]}}"#
        );
        assert_eq!(edit.arguments(&Body::from(r#"{"sql":1.50}"#)).unwrap().text(), r#"{"sql":1.50,"database":"staging"}"#);
        assert_eq!(edit.arguments(&Body::default()).unwrap().text(), r#"{"database":"staging"}"#);
        for concealed in ["database", "timeout"] {
            assert_eq!(edit.arguments(&Body::from(format!("{{\"{concealed}\":1}}"))), Err(concealed.into()));
        }
        // A property that is declared elsewhere cannot be concealed.
        let composed = Body::from(r#"{"name":"q","inputSchema":{"type":"object","allOf":[{"properties":{"database":{},"timeout":{}}}]}}"#);
        assert_eq!(edit.tool(&composed, "sql"), None);
    }

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
