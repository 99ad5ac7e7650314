//! Catalog of a demo server, read from `assets/demo/*.json`. Used by `handler` and `process`.

use std::sync::{Arc, OnceLock};

use rmcp::model::{Implementation, JsonObject, Prompt, Resource, ResourceTemplate, ServerCapabilities, ServerConfig, Tool};
use serde::Deserialize;
use serde_json::{Value, json};

use super::DemoError;
use crate::domain::{body::Body, schema::Checker};

/// A server's description of itself, its lists and the checks of its tools' arguments.
pub(super) struct Catalog {
    pub info: ServerConfig,
    pub tools: Vec<Entry>,
    pub prompts: Vec<Prompt>,
    pub resources: Vec<Resource>,
    pub templates: Vec<ResourceTemplate>,
}

/// A tool and the validator of its arguments, compiled at the first call so that the start is fast.
pub(super) struct Entry {
    pub tool: Tool,
    checker: OnceLock<Checker>,
}

impl Entry {
    /// Returns the violations of `arguments`, one line each; empty when they are valid.
    pub fn check(&self, arguments: &Value) -> Vec<String> {
        let checker = self.checker.get_or_init(|| Checker::new(&Body::json(&*self.tool.input_schema)));
        checker.check(arguments).iter().map(ToString::to_string).collect()
    }
}

/// The layout of the asset files.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    name: String,
    title: String,
    description: String,
    instructions: String,
    #[serde(default)]
    completions: bool,
    tools: Vec<Tool>,
    #[serde(default)]
    definitions: JsonObject,
    #[serde(default)]
    prompts: Vec<Prompt>,
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    resource_templates: Vec<ResourceTemplate>,
}

impl Catalog {
    /// Reads the catalog of the server `name` from its JSON `text`.
    pub fn parse(name: &'static str, text: &str) -> Result<Catalog, DemoError> {
        let broken = |source| DemoError::Catalog { name, source };
        let file: File = serde_json::from_str(text).map_err(broken)?;
        let info = file.info().map_err(broken)?;
        let definitions = Value::Object(file.definitions);
        let tools = file.tools.into_iter().map(|tool| Entry { tool: with_definitions(tool, &definitions), checker: OnceLock::new() });
        Ok(Catalog { info, tools: tools.collect(), prompts: file.prompts, resources: file.resources, templates: file.resource_templates })
    }

    /// Returns the tool of this name.
    pub fn tool(&self, name: &str) -> Option<&Entry> {
        self.tools.iter().find(|entry| entry.tool.name == name)
    }
}

impl File {
    fn info(&self) -> Result<ServerConfig, serde_json::Error> {
        let mut capabilities = json!({"tools": {}, "logging": {}});
        if !self.prompts.is_empty() {
            capabilities["prompts"] = json!({});
        }
        if !self.resources.is_empty() {
            capabilities["resources"] = json!({});
        }
        if self.completions {
            capabilities["completions"] = json!({});
        }
        let capabilities: ServerCapabilities = serde_json::from_value(capabilities)?;
        let me = Implementation::new(self.name.clone(), env!("CARGO_PKG_VERSION"))
            .with_title(self.title.clone())
            .with_description(self.description.clone());
        Ok(ServerConfig::new(capabilities).with_server_info(me).with_instructions(self.instructions.clone()))
    }
}

/// Copies the file's shared definitions into the output schema that refers to them, because a schema must be
/// self-contained.
fn with_definitions(mut tool: Tool, definitions: &Value) -> Tool {
    if let Some(schema) = &mut tool.output_schema
        && Body::json(&**schema).text().contains("#/$defs/")
    {
        Arc::make_mut(schema).insert("$defs".into(), definitions.clone());
    }
    tool
}
