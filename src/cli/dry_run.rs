//! `run --dry-run`: prints every call with its arguments as far as they are known, its fallbacks and its compensation.

use serde_json::{Map, Value, json};

use super::{
    exit,
    print::Format,
    session::{Session, Stop},
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind},
        workflow::{
            catalog_lookup::{CatalogView, server_of},
            check::check_against,
            dry_run::{DryRunStep, Execution, PartialValue, Predicted, PredictedCall, PredictedFallback, dry_run},
            dry_run_view::{Block, DryRunView, FIELD_LEVELS, Heading, Label, NO_CALL, UNKNOWN_VALUES},
            expression::Data,
            plan::{ActionKind, Phase, Plan},
        },
    },
    state::ConsoleState,
};

/// Cells of indentation of a level.
const INDENT: usize = 2;

/// Prints the dry run of a workflow with this input.
pub fn print(session: &mut Session<'_>, plan: &Plan, input: &Body) -> Result<u8, Stop> {
    let problems = check_against(plan, &CatalogView(&session.read_model));
    if let Some(first) = problems.first() {
        let causes = problems.iter().flat_map(|problem| problem.render().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        return Err(Failure { causes, ..Failure::new(FailureKind::InvalidArguments, first.to_string()) }.into());
    }
    let given = Data::parse(&input.text()).unwrap_or_default();
    let steps = dry_run(plan, &given, Some(&|name| std::env::var(name).ok()));
    if session.printer.format() != Format::Human {
        let shown: Vec<Value> = steps.iter().map(|step| document(&session.read_model, step)).collect();
        session.printer.document(&json!({"type": "dry_run", "workflow": plan.name, "steps": shown}))?;
        return Ok(exit::OK);
    }
    let view = DryRunView::new(&steps, &|tool| server_of(&session.read_model, tool));
    for line in view.blocks.iter().flat_map(lines) {
        session.printer.line(&line)?;
    }
    if view.unknown {
        session.printer.note(UNKNOWN_VALUES);
    }
    session.printer.note(&format!("dry run: {NO_CALL}"));
    Ok(exit::OK)
}

fn document(read_model: &ConsoleState, step: &DryRunStep) -> Value {
    let mut shown = Map::new();
    let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    put("step", step.path.as_str().into());
    if step.phase != Phase::Main {
        put("phase", step.phase.key().into());
    }
    put("what", format!("{} {}", step.kind.word(), step.subject).into());
    if step.kind == ActionKind::Tool {
        put("server", server_of(read_model, &step.subject).into());
    }
    if !step.needs.is_empty() {
        put("needs", step.needs.iter().map(|need| need.to_string()).collect::<Vec<_>>().into());
    }
    if let Some(when) = &step.when {
        put("when", when.as_str().into());
    }
    if let Some(of) = &step.else_of {
        put("else", (**of).into());
    }
    if let Some(repeat) = &step.repeat {
        put("repeat", repeat.as_str().into());
    }
    // `null`: decided during the run.
    let (runs, why) = match &step.predicted {
        Predicted::Runs => (Value::from(true), None),
        Predicted::Undecided => (Value::Null, None),
        Predicted::Skipped { why } => (false.into(), Some(("skipped", why))),
        Predicted::Fails { why } => (false.into(), Some(("fails", why))),
    };
    put("runs", runs);
    if let Some((key, why)) = why {
        put(key, why.as_str().into());
    }
    if let Some(each) = &step.each {
        put("for_each", each.items.data.value());
        put("total", each.total.into());
    }
    match (step.each.as_ref().and_then(|each| each.total), step.executions.first()) {
        (Some(_), _) => {
            let items = step.executions.iter().map(|turn| {
                let mut item = Map::from_iter([
                    ("step".to_owned(), turn.path.as_str().into()),
                    ("item".to_owned(), turn.item.as_ref().map(Data::value).unwrap_or_default()),
                ]);
                turn_into(read_model, turn, &mut item);
                Value::Object(item)
            });
            let items: Vec<Value> = items.collect();
            shown.insert("items".into(), items.into());
        }
        (None, Some(turn)) => turn_into(read_model, turn, &mut shown),
        (None, None) => {}
    }
    Value::Object(shown)
}

fn turn_into(read_model: &ConsoleState, turn: &Execution, shown: &mut Map<String, Value>) {
    let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    let mut fault = |known: &PartialValue| {
        if let Some(fault) = &known.error {
            put("error", fault.as_str().into());
        }
    };
    turn.sends.iter().chain(&turn.computes).chain(&turn.asks).for_each(&mut fault);
    if let Some(sends) = &turn.sends {
        put("arguments", sends.data.value());
        put("known", sends.known.into());
    }
    if let Some(value) = &turn.computes {
        put("value", value.data.value());
        put("known", value.known.into());
    }
    if let Some(asks) = &turn.asks {
        put("asks", asks.data.display().into());
        put("known", asks.known.into());
    }
    if let Some(form) = turn.form.as_ref().and_then(Body::value) {
        put("form", form);
    }
    let call = |call: &PredictedCall| {
        let PartialValue { data, known, error: fault } = &call.arguments;
        let mut shown =
            json!({"tool": &*call.tool, "server": server_of(read_model, &call.tool), "arguments": data.value(), "known": known});
        if let Some(fault) = fault {
            shown["error"] = fault.as_str().into();
        }
        shown
    };
    if !turn.fallbacks.is_empty() {
        let instead = |instead: &PredictedFallback| match instead {
            PredictedFallback::Call(other) => call(other),
            PredictedFallback::Value(value) => json!({"value": value.data.value(), "known": value.known}),
        };
        put("fallback", turn.fallbacks.iter().map(instead).collect::<Vec<_>>().into());
    }
    if let Some(undo) = &turn.undo {
        put("compensation", call(undo));
    }
    if !turn.nested.is_empty() {
        put("steps", turn.nested.iter().map(|step| document(read_model, step)).collect::<Vec<_>>().into());
    }
    if turn.truncated {
        put("truncated", true.into());
    }
}

/// Returns the lines of a block, indented by its level.
fn lines(block: &Block) -> Vec<String> {
    let indented = |level: usize, text: &str| format!("{:indent$}{text}", "", indent = level * INDENT);
    let heading = match &block.heading {
        Heading::Step { path, action, notes, .. } => {
            let notes = notes.iter().map(|note| match note.label {
                Label::When | Label::ForEach => format!("  {} {}", note.label.word(), note.text),
                label => format!("  {}: {}", label.word(), note.text),
            });
            format!("{path}  {action}{}", notes.collect::<String>())
        }
        Heading::Item { path, .. } => path.clone(),
        other => other.text(),
    };
    let fields = block.fields.iter().map(|field| match field.label {
        Label::Arguments => field.text.clone(),
        label => format!("{}: {}", label.word(), field.text),
    });
    let fields = fields.map(|line| indented(block.level + FIELD_LEVELS, &line));
    std::iter::once(indented(block.level, &heading)).chain(fields).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workflow::plan::Action;

    #[test]
    fn the_word_for_tools_is_that_of_plans() {
        let text = "name = \"t\"\n[[step]]\nid = \"a\"\ntool = \"t\"\n";
        let source = crate::domain::workflow::parse::Source { file: "t.toml".into(), text: text.into() };
        let plan = crate::domain::workflow::parse::parse(&source, &|_| None).unwrap();
        assert!(matches!(plan.steps[0].action, Action::Tool(_)));
        assert_eq!((plan.steps[0].action.kind(), ActionKind::Tool.word()), (ActionKind::Tool, "tool"));
    }
}
