//! `run --dry-run`: prints every call with its arguments as far as they are known, its fallbacks and its compensation.

use serde_json::{Map, Value, json};

use super::{
    exit,
    print::Format,
    session::{Session, Stop},
};
use crate::domain::{
    body::Body,
    call::{Failure, FailureKind},
    read_model::ConsoleState,
    workflow::{
        catalog_lookup::{CatalogView, find_tool},
        check::check_against,
        dry_run::{DryRunStep, Execution, PartialValue, Predicted, PredictedCall, PredictedFallback, dry_run},
        expression::Data,
        plan::{ActionKind, Plan},
    },
};

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
    let mut lines = Lines { read_model: &session.read_model, lines: vec![], unknown: false };
    steps.iter().for_each(|step| lines.step(step, 0));
    let Lines { lines, unknown, .. } = lines;
    for line in lines {
        session.printer.line(&line)?;
    }
    if unknown {
        session.printer.note("values in {{ }} are not known before the run");
    }
    session.printer.note("dry run: no call was made");
    Ok(exit::OK)
}

/// Returns the server that a tool would be called on.
fn server_of(read_model: &ConsoleState, tool: &str) -> Option<String> {
    find_tool(read_model, tool).map(|target| target.tool.server.to_string())
}

fn document(read_model: &ConsoleState, step: &DryRunStep) -> Value {
    let mut shown = Map::new();
    let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    put("step", step.path.as_str().into());
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
    turn.sends.iter().chain(&turn.asks).for_each(&mut fault);
    if let Some(sends) = &turn.sends {
        put("arguments", sends.data.value());
        put("known", sends.known.into());
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

/// Lines of the human-readable output.
struct Lines<'w> {
    read_model: &'w ConsoleState,
    lines: Vec<String>,
    /// Whether a value is unknown before the run.
    unknown: bool,
}

impl Lines<'_> {
    fn line(&mut self, indent: usize, text: &str) {
        self.lines.push(format!("{:indent$}{text}", ""));
    }

    fn step(&mut self, step: &DryRunStep, indent: usize) {
        let mut line = format!("{}  {} {}", step.path, step.kind.word(), step.subject);
        if let Some(server) = (step.kind == ActionKind::Tool).then(|| server_of(self.read_model, &step.subject)).flatten() {
            line.push_str(&format!("  of {server}"));
        }
        match &step.predicted {
            Predicted::Runs => {}
            Predicted::Undecided => line.push_str(&step.when.as_ref().map(|when| format!("  when {when}")).unwrap_or_default()),
            Predicted::Skipped { why } => line.push_str(&format!("  skipped: {why}")),
            Predicted::Fails { why } => line.push_str(&format!("  fails: {why}")),
        }
        if let Some(each) = &step.each {
            self.unknown |= each.total.is_none();
            let of = each.total.map_or_else(|| each.items.data.display(), |total| format!("{total} items"));
            line.push_str(&format!("  for each of {of}"));
        }
        self.line(indent, &line);
        let total = step.each.as_ref().and_then(|each| each.total);
        for turn in &step.executions {
            if total.is_some() {
                self.line(indent + 2, &turn.path);
            }
            self.turn(turn, indent + if total.is_some() { 6 } else { 4 });
        }
        if let Some(more) =
            total.map(|total| total.saturating_sub(step.executions.len())).filter(|more| *more > 0 && step.predicted == Predicted::Runs)
        {
            self.line(indent + 2, &format!("and {more} more items"));
        }
    }

    fn turn(&mut self, turn: &Execution, indent: usize) {
        if let Some(sends) = &turn.sends {
            self.known(indent, "", sends);
        }
        if let Some(asks) = &turn.asks {
            self.known(indent, "asks: ", asks);
        }
        if let Some(form) = &turn.form {
            self.line(indent, &format!("form: {}", form.text()));
        }
        for instead in &turn.fallbacks {
            match instead {
                PredictedFallback::Call(call) => self.call(indent, "fallback: ", call),
                PredictedFallback::Value(value) => self.known(indent, "fallback value: ", value),
            }
        }
        if let Some(undo) = &turn.undo {
            self.call(indent, "compensation: ", undo);
        }
        turn.nested.iter().for_each(|step| self.step(step, indent));
        if turn.truncated {
            self.line(indent, "nested steps are not listed: too many");
        }
    }

    fn call(&mut self, indent: usize, label: &str, call: &PredictedCall) {
        let server = server_of(self.read_model, &call.tool).map(|server| format!(" of {server}")).unwrap_or_default();
        self.known(indent, &format!("{label}{}{server}  ", call.tool), &call.arguments);
    }

    fn known(&mut self, indent: usize, label: &str, known: &PartialValue) {
        self.unknown |= !known.known && known.error.is_none();
        self.line(indent, &format!("{label}{}", known.data.display()));
        if let Some(fault) = &known.error {
            self.line(indent, &format!("fails: {fault}"));
        }
    }
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
