//! A workflow as a tool of the gateway: its definition, with schemas from its inputs and outputs and with annotations from its steps.
//! Pure.

use serde_json::{Map, Value, json};

use super::{
    catalog_lookup::find_tool,
    expression::Template,
    plan::{Action, Fallback, Plan, PlanStep},
};
use crate::domain::{
    body::Body,
    catalog::{Hints, Tool},
    directory::Directory,
};

/// The member of a result with the id of the run.
pub const RUN: &str = "_run";
/// The member of a result with the output of a workflow without named outputs.
pub const RESULT: &str = "result";

/// Returns the definition of a workflow as a tool of this name, and its annotations. `directory` has the tools that it calls.
pub fn definition(plan: &Plan, name: &str, directory: &impl Directory) -> (Body, Hints) {
    let hints = hints(plan, directory);
    let mut tool = Map::from_iter([("name".to_owned(), json!(name))]);
    if let Some(title) = &plan.title {
        tool.insert("title".into(), json!(title));
    }
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.title.as_deref().unwrap_or(&step.id)).collect();
    let description = plan.description.clone().unwrap_or_else(|| format!("Runs the workflow {}: {}", plan.name, steps.join(", ")));
    tool.insert("description".into(), json!(description));
    tool.insert("inputSchema".into(), plan.input.value().unwrap_or_else(|| json!({"type": "object"})));
    tool.insert("outputSchema".into(), output_schema(plan));
    tool.insert(
        "annotations".into(),
        json!({
            "readOnlyHint": hints.read_only,
            "destructiveHint": hints.destructive,
            "idempotentHint": hints.idempotent,
            "openWorldHint": hints.open_world,
        }),
    );
    (Body::json(&Value::Object(tool)), hints)
}

/// Returns the schema of the structured content of a run that completed.
fn output_schema(plan: &Plan) -> Value {
    let mut properties = Map::new();
    for (name, template) in &plan.output {
        properties.insert(name.clone(), value_schema(template));
    }
    if plan.output.is_empty() {
        properties.insert(RESULT.into(), json!({}));
    }
    let required: Vec<String> = properties.keys().cloned().collect();
    properties.insert(RUN.into(), json!({"type": "string", "description": "The id of the run"}));
    json!({"type": "object", "properties": properties, "required": required})
}

/// Returns the schema of an output: its type, if the text of the workflow determines it.
fn value_schema(template: &Template) -> Value {
    match template.literal().map(|data| data.value()) {
        Some(Value::String(_)) => json!({"type": "string"}),
        Some(Value::Bool(_)) => json!({"type": "boolean"}),
        Some(Value::Number(_)) => json!({"type": "number"}),
        Some(Value::Array(_)) => json!({"type": "array"}),
        Some(Value::Object(_)) => json!({"type": "object"}),
        Some(Value::Null) => json!({"type": "null"}),
        // Expressions may be null, for example after a skipped step.
        None => json!({}),
    }
}

/// The annotations of a workflow: what holds for every tool that it may call. A tool that is unknown, or of a server that is not
/// trusted, may do anything.
fn hints(plan: &Plan, directory: &impl Directory) -> Hints {
    let mut all = Calls { read_only: true, harmless: true, idempotent: true, open_world: false };
    all.add(plan, directory);
    Hints {
        read_only: Some(all.read_only),
        destructive: Some(!all.harmless),
        idempotent: Some(all.idempotent),
        open_world: Some(all.open_world),
    }
}

struct Calls {
    read_only: bool,
    harmless: bool,
    idempotent: bool,
    open_world: bool,
}

impl Calls {
    fn add(&mut self, plan: &Plan, directory: &impl Directory) {
        for step in &plan.steps {
            match &step.action {
                Action::Tool(call) => self.add_tool(step, &call.tool, directory),
                Action::Workflow { plan, .. } => self.add(plan, directory),
                // Another answer may be another effect.
                Action::Approve { .. } | Action::Elicit { .. } => self.idempotent = false,
                Action::Let { .. } | Action::Prompt { .. } | Action::Resource { .. } => {}
            }
            let undone = step.compensate.iter().map(|undo| &*undo.call.tool);
            let fallbacks = step.fallback.iter().flat_map(Fallback::calls).map(|call| &*call.tool);
            for tool in undone.chain(fallbacks) {
                self.add_tool(step, tool, directory);
            }
        }
    }

    fn add_tool(&mut self, step: &PlanStep, name: &str, directory: &impl Directory) {
        let found = find_tool(directory, name);
        let tool: Option<&Tool> = found.as_ref().and_then(|found| directory.tool(&found.tool)).map(|tool| &**tool);
        // A group is trusted if all its members are.
        let trusted = found.as_ref().is_some_and(|found| match directory.entry(&found.tool.server) {
            Some(server) => server.spec.trusted,
            None => directory.member_entries(&found.tool.server).all(|member| member.spec.trusted),
        });
        let hints = tool.filter(|_| trusted).map(|tool| tool.hints).unwrap_or_default();
        let read_only = hints.read_only == Some(true);
        self.read_only &= read_only;
        self.harmless &= read_only || hints.destructive == Some(false);
        self.idempotent &= read_only || hints.idempotent == Some(true) || step.idempotent;
        self.open_world |= hints.open_world != Some(false);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{
        catalog::{RawLists, ServerCatalog},
        directory::{DirectorySnapshot, ServerSnapshot},
        server::{Phase, ServerSpec, Transport},
        workflow::parse::{Source, parse},
    };

    fn plan(text: &str) -> Plan {
        parse(&Source { file: "w.toml".into(), text: text.into() }, &|_| None).expect("a sound workflow")
    }

    fn directory(servers: Vec<ServerSnapshot>) -> DirectorySnapshot {
        let unnamed = DirectorySnapshot { servers: servers.into(), ..DirectorySnapshot::default() };
        DirectorySnapshot { names: Arc::new(unnamed.build_names("_")), ..unnamed }
    }

    fn annotated(id: &str, trusted: bool, annotations: Value) -> ServerSnapshot {
        let tool = json!({"name": "t", "inputSchema": {"type": "object"}, "annotations": annotations});
        let lists = RawLists { tools: vec![Body::json(&tool)], ..RawLists::default() };
        let spec = ServerSpec { trusted, ..ServerSpec::new(id, Transport::unknown()) };
        let (phase, catalog) = (Arc::new(Phase::Ready), Arc::new(ServerCatalog::read(lists, None)));
        ServerSnapshot { spec: Arc::new(spec), phase, info: None, catalog }
    }

    #[test]
    fn a_workflow_only_reads_if_every_tool_of_a_trusted_server_does() {
        let reads = json!({"readOnlyHint": true, "openWorldHint": false});
        let servers = directory(vec![
            annotated("a", true, reads.clone()),
            annotated("b", false, reads),
            annotated("c", true, json!({"destructiveHint": false, "idempotentHint": true})),
            annotated("d", true, json!({})),
        ]);
        let step = |tool: &str| format!("[[step]]\nid = \"s_{}\"\ntool = \"{tool}\"\n", &tool[..1]);
        let all = |tools: &[&str]| {
            let hints = hints(&plan(&format!("name = \"w\"\n{}", tools.iter().map(|tool| step(tool)).collect::<String>())), &servers);
            [hints.read_only, hints.destructive, hints.idempotent, hints.open_world].map(|hint| hint == Some(true))
        };
        // Read-only, destructive, idempotent, open world.
        assert_eq!(all(&["a_t"]), [true, false, true, false]);
        assert_eq!(all(&["a_t", "b_t"]), [false, true, false, true], "a server that is not trusted");
        assert_eq!(all(&["a_t", "c_t"]), [false, false, true, true]);
        assert_eq!(all(&["a_t", "d_t"]), [false, true, false, true], "no annotations");
        assert_eq!(all(&["a_t", "x_t"]), [false, true, false, true], "an unknown tool");
        let undone = plan("name = \"w\"\n[[step]]\nid = \"a\"\ntool = \"a_t\"\ncompensate = { tool = \"d_t\" }\n");
        assert_eq!(hints(&undone, &servers).destructive, Some(true), "the compensation counts");
    }

    #[test]
    fn the_schemas_are_those_of_the_inputs_and_outputs() {
        let text = "name = \"w\"\ntitle = \"T\"\nexpose = true\n[input]\nto = \"string\"\n[output]\nsum = \"{{ steps.a }}\"\nkind = \"mail\"\n\
                    [[step]]\nid = \"a\"\nlet = \"{{ input.to }}\"\n";
        let (tool, _) = definition(&plan(text), "workflow_w", &directory(vec![]));
        let tool = tool.value().expect("JSON");
        assert_eq!((&tool["name"], &tool["title"]), (&json!("workflow_w"), &json!("T")));
        assert_eq!(tool["description"], "Runs the workflow w: a");
        assert_eq!(tool["inputSchema"]["properties"]["to"]["type"], "string");
        assert_eq!(tool["outputSchema"]["properties"]["kind"], json!({"type": "string"}));
        assert_eq!(tool["outputSchema"]["required"], json!(["sum", "kind"]));
        assert_eq!(tool["annotations"]["readOnlyHint"], true);
        let (tool, _) = definition(&plan("name = \"w\"\n[[step]]\nid = \"a\"\nlet = \"1\"\n"), "w", &directory(vec![]));
        assert_eq!(tool.value().expect("JSON")["outputSchema"]["required"], json!([RESULT]));
    }
}
