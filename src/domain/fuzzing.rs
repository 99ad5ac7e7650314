//! The code under test of the fuzz targets `schema`, `workflow` and `expression`. Tests run the seeds through the
//! same functions.

use serde_json::Value;

use super::{
    body::Body,
    form::Form,
    json::Json,
    schema::Checker,
    workflow::{
        case,
        check::{Lookup, ToolFacts, check_against},
        export,
        expression::{Data, RunFacts, Scope},
        graph::{Graph, layout},
        input, input_values,
        parse::{Source, parse},
        plan::Action,
    },
};

/// Compiles a schema (first line), validates the arguments behind it, creates a form, fills it and edits it.
pub fn schema(text: &str) {
    let (schema, arguments) = text.split_once('\n').unwrap_or((text, "{}"));
    let body = Body::from(schema);
    let (checker, quick) = (Checker::new(&body), Checker::quick(&body));
    assert!(quick.heavy() || quick.problem == checker.problem);
    if let Ok(value) = serde_json::from_str::<Value>(arguments) {
        let (judged, glanced) = (checker.judge(&value), quick.glance(&value));
        assert!(glanced.is_err() || glanced == judged, "a glance finds the same or nothing");
    }
    let mut form = Form::new(&body);
    let _ = form.set_json(arguments);
    for _ in 0..3 {
        for path in form.rows().into_iter().map(|row| row.path).take(12).collect::<Vec<_>>() {
            form.fold(&path, false);
            form.cycle(&path, 1);
            form.add_item(&path);
            form.add_member(&path, "a");
            form.set_text(&path, "1");
        }
    }
    let sent = form.json();
    assert!(Json::parse(&sent).is_ok(), "what is sent is JSON");
    input::example(&body);
    if let Ok(data) = Data::parse(arguments) {
        let _ = input_values::prepare(&body, &data);
    }
}

/// Parses a workflow file; checks, lays out and exports the plan.
pub fn workflow(text: &str) {
    let source = Source { file: "fuzz.toml".into(), text: text.into() };
    let library = |name: &str| (name == "fuzz").then(|| source.clone());
    match parse(&source, &library) {
        Ok(plan) => {
            let schema =
                Body::from(r##"{"type":"object","properties":{"x":{"$ref":"#/$defs/x"}},"$defs":{"x":{"type":"integer","maximum":3}}}"##);
            let facts = ToolFacts { schema: schema.clone(), output: Some(schema), repeatable: false, reads_only: false };
            check_against(&plan, &|_: &str| Lookup::Found(facts.clone())).iter().for_each(|problem| drop(problem.render()));
            let layout = layout(&Graph::of(&plan));
            if layout.width * layout.height < 1 << 20 {
                export::text(&layout);
            }
            export::mermaid(&plan);
            export::dot(&plan);
        }
        Err(problems) => problems.iter().for_each(|problem| drop(problem.render())),
    }
    let _ = case::parse(&source);
}

/// Compiles and evaluates an argument of a step.
pub fn expression(text: &str) {
    // Literal TOML strings take everything but their own quotes as is.
    let text = text.replace("'''", "");
    let file = format!("[input]\nx = \"any\"\n[[step]]\nid = \"a\"\ntool = \"t\"\nfor_each = [1]\n[step.arguments]\nx = '''{text}'''\n");
    let Ok(plan) = parse(&Source { file: "fuzz.toml".into(), text: file }, &|_| None) else { return };
    let value = Data::parse(r#"{"x":{"a":[1,2.5,"b",null,{"c":true}],"n":123456789012345678901}}"#).unwrap_or_default();
    let scope = Scope::new(&plan.names, value, &RunFacts::default(), []).with_item(Data::from("item"), 0);
    if let Action::Tool(call) = &plan.steps[0].action {
        if let Ok(data) = call.arguments.eval(&scope) {
            assert!(Data::parse(&data.json()).is_ok(), "what comes out is JSON");
        }
        call.arguments.preview(&scope, &|_| true);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Passes every seed of a target to `run`.
    pub fn seeds(target: &str, run: impl Fn(&[u8])) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 10, "{}", folder.display());
        files.iter().for_each(|file| run(&std::fs::read(file).unwrap()));
    }

    #[test]
    fn every_seed_of_schemas_ends() {
        seeds("schema", |seed| schema(&String::from_utf8_lossy(seed)));
    }

    #[test]
    fn every_seed_of_workflows_ends() {
        seeds("workflow", |seed| workflow(&String::from_utf8_lossy(seed)));
    }

    #[test]
    fn every_seed_of_expressions_ends() {
        seeds("expression", |seed| expression(&String::from_utf8_lossy(seed)));
    }
}
