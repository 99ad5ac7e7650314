//! Saved calls: a tool with its arguments under a name, as a workflow of one step.
//!
//! Generates the file of a saved call, and finds the saved calls of the workflow library. The arguments are inputs with the
//! saved values as defaults, so that the file also runs as a workflow with other values. Values that may be secret are not
//! written: they become inputs without a default. The console uses this module.

use std::{fmt::Write, sync::Arc};

use super::{
    expression::{Data, RunFacts, Scope, Template},
    history::{key, member, number, quoted, scalar},
    input_values,
    library::WorkflowEntry,
    parse::{Source, parse},
    plan::{Action, Phase, Plan, PlanStep},
};
use crate::domain::{argument_history::public, body::Body, json::Json, secret::MASK};

/// A saved call of the workflow library.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedCall {
    /// The name of its workflow, with `project/` for the project's.
    pub name: Arc<str>,
    /// The title of its workflow, otherwise the name.
    pub label: Arc<str>,
    /// The name of the tool as written in the file.
    pub tool: Arc<str>,
    /// The arguments, an object without those that have no value in the file.
    pub arguments: Body,
    /// The path of the file.
    pub file: String,
}

impl SavedCall {
    /// Returns the saved call in a workflow; `None` if the workflow does anything but call one tool with values that are in
    /// the file.
    pub fn of(entry: &WorkflowEntry) -> Option<SavedCall> {
        let plan = entry.plan.as_ref().ok()?;
        let (tool, arguments) = only_call(plan)?;
        let label = plan.title.as_deref().map_or_else(|| entry.name.clone(), Arc::from);
        Some(SavedCall { name: entry.name.clone(), label, tool, arguments: arguments.body(), file: entry.file.clone() })
    }

    /// Returns the saved calls among workflows, in their order.
    pub fn all(entries: &[WorkflowEntry]) -> Vec<SavedCall> {
        entries.iter().filter_map(SavedCall::of).collect()
    }
}

/// Returns the tool and the arguments of a plan that only calls a tool. An argument without a value is left out.
fn only_call(plan: &Plan) -> Option<(Arc<str>, Data)> {
    let [step] = plan.steps.as_slice() else { return None };
    let Action::Tool(call) = &step.action else { return None };
    if !is_plain(step) {
        return None;
    }
    let input = input_values::defaults(&plan.input, &Data::object::<String>([]));
    let scope = Scope::new(&plan.names, input.clone(), &RunFacts::default(), []);
    let mut arguments = vec![];
    for name in call.arguments.keys()? {
        let template = call.arguments.member(&name)?;
        if known(&template, &input)? {
            arguments.push((name, template.eval(&scope).ok()?));
        }
    }
    // A masked secret is not a value.
    arguments.retain(|(_, value)| !value.json().contains(MASK));
    Some((call.tool.clone(), Data::object(arguments)))
}

/// Returns whether a step is only a call: without conditions, loops, alternatives and compensation.
fn is_plain(step: &PlanStep) -> bool {
    let alone = step.phase == Phase::Main && step.when.is_none() && step.else_of.is_none();
    alone && !step.has_items() && step.fallback.is_empty() && step.compensate.is_none() && step.expect.is_empty()
}

/// Returns whether the inputs that a template uses have values; `None` if it uses anything else.
fn known(template: &Template, input: &Data) -> Option<bool> {
    let (mut foreign, mut known) = (false, true);
    template.each_expr(&mut |expr| {
        for reference in expr.references() {
            foreign |= reference.root() != "input";
            known &= reference.name(1).is_some_and(|name| input.member(name).is_some());
        }
    });
    (!foreign).then_some(known)
}

/// A call to be saved.
#[derive(Clone, Debug)]
pub struct NewSavedCall {
    /// The name of the workflow: `[a-z0-9_-]`.
    pub name: String,
    /// The name as the user wrote it.
    pub label: String,
    /// The exposed name of the tool.
    pub tool: String,
    /// The arguments, an object.
    pub arguments: Body,
    /// The input schema of the tool.
    pub schema: Body,
}

impl NewSavedCall {
    /// Returns the text of the file. Fails if the arguments are not an object that a workflow file can hold.
    pub fn text(&self) -> Result<String, String> {
        let whole = if self.arguments.is_empty() { Body::from("{}") } else { self.arguments.clone() };
        let (written, _) = public(&whole, &self.schema);
        let data = |body: &Body| Data::parse(&body.text()).ok().filter(Data::is_object).ok_or("the arguments are not a JSON object");
        let (all, public_values) = (data(&whole)?, data(&written)?);
        let texts = [Values::AsInputs, Values::InPlace].map(|values| self.write(&all, &public_values, values));
        texts
            .into_iter()
            .find(|text| self.holds(text, &written))
            .ok_or_else(|| "these arguments cannot be written as a workflow".to_owned())
    }

    /// Returns whether a file has exactly these arguments.
    fn holds(&self, text: &str, arguments: &Body) -> bool {
        let source = Source { file: format!("{}.toml", self.name), text: text.to_owned() };
        let Some((_, found)) = parse(&source, &|_| None).ok().as_ref().and_then(only_call) else { return false };
        let both = (Json::parse(&found.json()), Json::parse(&arguments.text()));
        matches!(both, (Ok(found), Ok(wanted)) if found.same(&wanted))
    }

    fn write(&self, all: &Data, public_values: &Data, values: Values) -> String {
        let (mut inputs, mut arguments) = (String::new(), String::new());
        for name in all.keys() {
            let as_input = quoted(&format!("{{{{ input{} }}}}", member(&name)));
            let value = match public_values.member(&name) {
                // A secret: its value is entered for each call.
                None => {
                    let _ = writeln!(inputs, "{} = \"{}\"", key(&name), self.type_of(&name));
                    as_input
                }
                Some(value) => match (values, default(&value)) {
                    (Values::AsInputs, Some((kind, default))) => {
                        let _ = writeln!(inputs, "{} = {{ type = \"{kind}\", default = {default} }}", key(&name));
                        as_input
                    }
                    _ => literal(&value),
                },
            };
            let _ = writeln!(arguments, "{} = {value}", key(&name));
        }
        let mut out = "# A saved call: the form of its tool opens with these values.\n".to_owned();
        let _ = writeln!(out, "name = {}", quoted(&self.name));
        if self.label != self.name {
            let _ = writeln!(out, "title = {}", quoted(&self.label));
        }
        if !inputs.is_empty() {
            let _ = write!(out, "\n[input]\n{inputs}");
        }
        let _ = write!(out, "\n[[step]]\nid = \"call\"\ntool = {}\n", quoted(&self.tool));
        if !arguments.is_empty() {
            let _ = write!(out, "\n[step.arguments]\n{arguments}");
        }
        out
    }

    /// Returns the type of an argument in the tool's schema, as a type of an input.
    fn type_of(&self, name: &str) -> &'static str {
        let schema = Json::parse(&self.schema.text()).unwrap_or(Json::Bool(true));
        let kind = schema.get("properties").and_then(|all| all.get(name)).and_then(|one| one.get("type")).and_then(Json::str);
        ["string", "integer", "number", "boolean"].into_iter().find(|known| kind == Some(known)).unwrap_or("any")
    }
}

/// Where scalar arguments are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    /// As defaults of inputs.
    AsInputs,
    /// In the arguments.
    InPlace,
}

/// Returns type and TOML text of a value as the default of an input; `None` for values that are written in place.
fn default(value: &Data) -> Option<(&'static str, String)> {
    if let Some(text) = value.as_str() {
        return Some(("string", quoted(text)));
    }
    if value.as_bool().is_some() {
        return Some(("boolean", value.json()));
    }
    let json = value.json();
    let plain = value.is_number() && number(&json) == json;
    plain.then(|| (if json.contains(['.', 'e', 'E']) { "number" } else { "integer" }, json))
}

/// Returns a value as TOML that evaluates to itself.
fn literal(value: &Data) -> String {
    if let Some(count) = value.len() {
        let items: Vec<String> = (0..count).filter_map(|index| value.item(index)).map(|item| literal(&item)).collect();
        return format!("[{}]", items.join(", "));
    }
    if !value.is_object() {
        return scalar(value);
    }
    let one = |name: &String| format!("{} = {}", key(name), literal(&value.member(name).unwrap_or_default()));
    let members: Vec<String> = value.keys().iter().map(one).collect();
    if members.is_empty() { "{}".into() } else { format!("{{ {} }}", members.join(", ")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{run::WorkflowText, workflow::library::WorkflowLibrary};

    const SCHEMA: &str = r#"{"type":"object","properties":{"email":{"type":"string"},"password":{"type":"string"},
        "pin":{"type":"integer","writeOnly":true},"login":{"type":"object"}}}"#;

    fn new(arguments: &str) -> NewSavedCall {
        NewSavedCall {
            name: "create_ann".into(),
            label: "Create \"Ann\"".into(),
            tool: "database_create_user".into(),
            arguments: Body::from(arguments),
            schema: Body::from(SCHEMA),
        }
    }

    fn saved(text: &str) -> Vec<SavedCall> {
        let file = WorkflowText { name: "create_ann".into(), file: "w/create_ann.toml".into(), text: text.into() };
        SavedCall::all(&WorkflowLibrary { files: vec![file], ..WorkflowLibrary::default() }.entries())
    }

    #[test]
    fn a_saved_call_is_a_workflow_with_its_arguments_as_inputs() {
        let arguments = r#"{"email":"ann@example.org","seats":3,"active":true,"tags":["a {{ b }}",null],"deep":{"n":1.5,"x y":{}}}"#;
        let text = new(arguments).text().unwrap();
        assert!(text.contains("email = { type = \"string\", default = \"ann@example.org\" }"), "{text}");
        assert!(text.contains("email = \"{{ input.email }}\"") && text.contains("[[step]]"), "{text}");
        let [call] = &saved(&text)[..] else { panic!("{text}") };
        assert_eq!((&*call.name, &*call.label, &*call.tool), ("create_ann", "Create \"Ann\"", "database_create_user"));
        assert_eq!(call.arguments.text(), arguments);
        let plan = parse(&Source { file: "x.toml".into(), text: text.clone() }, &|_| None).unwrap();
        assert!(plan.input.text().contains(r#""seats":{"type":"integer","default":3}"#), "{}", plan.input.text());
    }

    #[test]
    fn secrets_are_not_written_but_asked_for() {
        let arguments = r#"{"email":"ann@example.org","password":"hunter2-secret","pin":4711,"login":{"api_key":"k-secret","user":"ann"}}"#;
        let text = new(arguments).text().unwrap();
        for secret in ["hunter2", "4711", "k-secret"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert!(text.contains("password = \"string\"") && text.contains("pin = \"integer\""), "{text}");
        assert_eq!(saved(&text)[0].arguments.text(), r#"{"email":"ann@example.org","login":{"user":"ann"}}"#);
        // The workspace masks secrets that the configuration knows.
        let masked = text.replace("ann@example.org", MASK);
        assert_eq!(saved(&masked)[0].arguments.text(), r#"{"login":{"user":"ann"}}"#);
    }

    #[test]
    fn workflows_that_do_more_are_no_saved_calls() {
        let step = "name = \"x\"\nenv = [\"HOME\"]\n[input]\ntext = \"string\"\n[[step]]\nid = \"a\"\ntool = \"t\"\n";
        assert_eq!(saved(&format!("{step}arguments = {{ n = 1, text = \"{{{{ input.text }}}}\" }}\n"))[0].arguments.text(), r#"{"n":1}"#);
        for more in [
            "arguments = { n = \"{{ env.HOME }}\" }\n",
            "when = \"input.text == 'x'\"\n",
            "for_each = [1, 2]\n",
            "expect = [\"result\"]\n",
            "compensate = { tool = \"undo\" }\n",
            "[[step]]\nid = \"b\"\ntool = \"t\"\n",
        ] {
            assert_eq!(saved(&format!("{step}{more}")), [], "{more}");
        }
    }

    #[test]
    fn the_example_of_the_documentation_is_a_saved_call() {
        let page = include_str!("../../../docs/calls.md");
        let text = page.split("```toml workflow\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let [call] = &saved(text)[..] else { panic!("{text}") };
        assert_eq!((&*call.label, &*call.arguments.text()), ("Find admins", r#"{"role":"admin","limit":3}"#));
    }

    #[test]
    fn arguments_that_are_not_an_object_are_refused() {
        assert!(new("[1]").text().unwrap_err().contains("not a JSON object"));
        assert!(new("").text().is_ok(), "a tool without arguments");
    }

    proptest! {
        #[test]
        fn any_arguments_are_read_back(value in crate::domain::form::tests::any_json()) {
            let arguments = format!("{{\"value\":{}}}", value.text());
            let (public_values, _) = public(&Body::from(arguments.as_str()), &Body::from(SCHEMA));
            if let Ok(text) = new(&arguments).text() {
                let call = saved(&text);
                let found = Json::parse(&call[0].arguments.text()).unwrap();
                prop_assert!(found.same(&Json::parse(&public_values.text()).unwrap()), "{text}");
            }
        }
    }
}
