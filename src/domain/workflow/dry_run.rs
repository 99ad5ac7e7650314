//! Dry run: predicts what a run would do with an input, before anything is called.
//!
//! Never guesses: an expression has a value only if everything that it refers to is known. So `steps.a.result.n |
//! default(0)` is not evaluated to 0 before `a` has run.

use std::{cell::Cell, collections::HashSet, sync::Arc};

use super::{
    expression::{Data, Expr, Reference, RunFacts, Scope, StepEnd, Template},
    input_values,
    plan::{Action, ActionKind, Fallback, IfSkipped, MAX_DEPTH, Phase, Plan, PlanStep, Repeat, ToolCall},
};
use crate::domain::{
    body::Body,
    secret::{Redactor, Secret, rule},
};

/// How many items and nested steps are listed; the rest is counted.
pub const LISTED: usize = 200;

/// The prediction for one step.
#[derive(Clone, Debug)]
pub struct DryRunStep {
    /// Path of the step as in the journal: `outer/inner`, `outer[2]/inner`.
    pub path: String,
    /// The part of the run to which the step belongs.
    pub phase: Phase,
    /// Kind of the action.
    pub kind: ActionKind,
    /// Subject of the action ([`Action::subject`]).
    pub subject: String,
    /// Ids of the steps that the step needs.
    pub needs: Vec<Arc<str>>,
    /// The condition as written.
    pub when: Option<String>,
    /// The id of the step in `else`.
    pub else_of: Option<Arc<str>>,
    /// Whether the step runs.
    pub predicted: Predicted,
    /// The conditions of a `repeat`, for users. The only execution is the first round.
    pub repeat: Option<String>,
    /// The items, for a step with `for_each`.
    pub each: Option<ForEachItems>,
    /// The executions: one, or one per known item. Empty if the step does not run.
    pub executions: Vec<Execution>,
}

/// Whether a step runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicted {
    /// The step runs, if the steps before it succeed.
    Runs,
    /// Decided during the run.
    Undecided,
    /// The step does not run.
    Skipped {
        /// The reason.
        why: String,
    },
    /// The step would fail before sending anything.
    Fails {
        /// The reason.
        why: String,
    },
}

/// The items of a step with `for_each`.
#[derive(Clone, Debug)]
pub struct ForEachItems {
    /// The items, as far as known.
    pub items: PartialValue,
    /// Number of items, if known. Larger than the number of executions if not all are listed.
    pub total: Option<usize>,
}

/// One execution of a step, or of one of its items.
#[derive(Clone, Debug)]
pub struct Execution {
    /// The path; for an item with its number from 0: `send[3]`.
    pub path: String,
    /// The item.
    pub item: Option<Data>,
    /// What is sent: arguments, the input of a workflow, or the URI of a resource.
    pub sends: Option<PartialValue>,
    /// The computed value.
    pub computes: Option<PartialValue>,
    /// The question to the user.
    pub asks: Option<PartialValue>,
    /// JSON Schema of the form for the user.
    pub form: Option<Body>,
    /// The fallbacks, in order.
    pub fallbacks: Vec<PredictedFallback>,
    /// The compensating call.
    pub undo: Option<PredictedCall>,
    /// The steps of the nested workflow.
    pub nested: Vec<DryRunStep>,
    /// Whether nested steps were left out of the list.
    pub truncated: bool,
}

/// A partially known value.
#[derive(Clone, Debug)]
pub struct PartialValue {
    /// The value. Unknown parts appear as written.
    pub data: Data,
    /// Whether the whole value is known.
    pub known: bool,
    /// Why the value cannot be computed with this input.
    pub error: Option<String>,
}

/// A predicted tool call.
#[derive(Clone, Debug)]
pub struct PredictedCall {
    /// The tool's exposed name.
    pub tool: Arc<str>,
    /// Its arguments.
    pub arguments: PartialValue,
}

/// A predicted fallback of a failed step.
#[derive(Clone, Debug)]
pub enum PredictedFallback {
    /// Calls another tool.
    Call(PredictedCall),
    /// Uses a value.
    Value(PartialValue),
}

/// Reads an environment variable.
pub type ReadEnv<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Predicts the steps of a plan for this input, in a possible order of execution. `env` reads the environment
/// variables that the plan declares; without it, none is known. Secret values among them are used and masked.
pub fn dry_run(plan: &Plan, input: &Data, env: Option<ReadEnv<'_>>) -> Vec<DryRunStep> {
    let evaluator = Evaluator { env, left: Cell::new(LISTED) };
    let mut steps = evaluator.plan(plan, input_values::defaults(&plan.input, input), Hidden::Nothing, "", 0);
    let children = plan.children();
    let names = std::iter::once(plan).chain(children.iter().map(|child| &**child)).flat_map(|plan| &plan.env);
    let secrets: Vec<Secret> = names.filter_map(|name| Some(rule::of_value(name, &env?(name)?))).flatten().collect();
    if !secrets.is_empty() {
        let redactor = Redactor::new(&secrets);
        steps.iter_mut().for_each(|step| step.mask(&redactor));
    }
    steps
}

impl DryRunStep {
    fn mask(&mut self, redactor: &Redactor) {
        if let Predicted::Skipped { why } | Predicted::Fails { why } = &mut self.predicted {
            *why = redactor.redact(why);
        }
        self.each.iter_mut().for_each(|each| each.items.mask(redactor));
        for execution in &mut self.executions {
            execution.item.iter_mut().for_each(|item| *item = masked(item, redactor));
            execution.sends.iter_mut().chain(&mut execution.computes).chain(&mut execution.asks).for_each(|known| known.mask(redactor));
            execution.undo.iter_mut().for_each(|call| call.arguments.mask(redactor));
            for predicted_fallback in &mut execution.fallbacks {
                let (PredictedFallback::Call(PredictedCall { arguments: known, .. }) | PredictedFallback::Value(known)) =
                    predicted_fallback;
                known.mask(redactor);
            }
            execution.nested.iter_mut().for_each(|step| step.mask(redactor));
        }
    }
}

impl PartialValue {
    fn mask(&mut self, redactor: &Redactor) {
        self.data = masked(&self.data, redactor);
        self.error = self.error.take().map(|error| redactor.redact(&error));
    }
}

fn masked(data: &Data, redactor: &Redactor) -> Data {
    let text = data.json();
    if !redactor.finds(text.as_bytes()) {
        return data.clone();
    }
    let redacted = redactor.redact_json(&text);
    Data::parse(&redacted).unwrap_or_else(|_| Data::from(redacted.as_str()))
}

/// The unknown part of the input.
enum Hidden {
    Nothing,
    Members(HashSet<String>),
    All,
}

/// What is known at one position of a plan.
struct KnownScope<'p> {
    plan: &'p Plan,
    scope: Scope,
    hidden: &'p Hidden,
    env: bool,
    item: bool,
}

impl KnownScope<'_> {
    fn is_known(&self, reference: &Reference) -> bool {
        match reference.root() {
            "input" => match (self.hidden, reference.name(1)) {
                (Hidden::Nothing, _) => true,
                (Hidden::Members(hidden), Some(name)) => !hidden.contains(name),
                _ => false,
            },
            "steps" => reference.name(1).and_then(|id| self.plan.index(id)).is_some_and(|step| self.scope.settled(step)),
            "env" => self.env,
            "omit" => true,
            "item" | "index" | "previous" => self.item,
            // The id and the time of a run are unknown before it starts; so is the result of a step that has not run.
            _ => false,
        }
    }

    fn all_known(&self, expr: &Expr) -> bool {
        expr.references().iter().all(|reference| self.is_known(reference))
    }

    fn known(&self, template: &Template) -> PartialValue {
        let (data, known) = template.preview(&self.scope, &|expr| self.all_known(expr));
        let mut first_error = None;
        template.each_expr(&mut |expr| {
            if let (None, true, Err(error)) = (&first_error, self.all_known(expr), expr.eval(&self.scope)) {
                first_error = Some(error.to_string());
            }
        });
        PartialValue { data, known, error: first_error }
    }

    fn call(&self, call: &ToolCall) -> PredictedCall {
        PredictedCall { tool: call.tool.clone(), arguments: self.known(&call.arguments) }
    }
}

struct Evaluator<'e> {
    env: Option<ReadEnv<'e>>,
    /// Number of entries that may still be listed.
    left: Cell<usize>,
}

impl Evaluator<'_> {
    fn plan(&self, plan: &Plan, input: Data, hidden: Hidden, prefix: &str, depth: usize) -> Vec<DryRunStep> {
        let env = plan.env.iter().filter_map(|name| Some((name.clone(), self.env?(name)?)));
        let scope = Scope::new(&plan.names, input, &RunFacts::default(), env);
        let view = KnownScope { plan, scope, hidden: &hidden, env: self.env.is_some(), item: false };
        let mut predictions: Vec<Predicted> = vec![Predicted::Undecided; plan.steps.len()];
        let mut steps = vec![];
        for index in plan.order.iter().copied() {
            let Some(step) = plan.steps.get(index) else { continue };
            let entry = self.step(&view, step, &predictions, prefix, depth);
            if matches!(entry.predicted, Predicted::Skipped { .. }) {
                view.scope.settle(index, StepEnd { outcome: "skipped", ..StepEnd::default() });
            }
            if let Some(value) = computed(step, &entry) {
                view.scope.settle(index, StepEnd { outcome: "ok", result: Some(value), text: Some(String::new()), ..StepEnd::default() });
            }
            predictions[index] = entry.predicted.clone();
            steps.push(entry);
        }
        steps
    }

    fn step(&self, view: &KnownScope<'_>, step: &PlanStep, predictions: &[Predicted], prefix: &str, depth: usize) -> DryRunStep {
        let path = format!("{prefix}{}", step.id);
        let needs = step.needs.iter().filter_map(|need| view.plan.steps.get(*need)).map(|need| need.id.clone()).collect();
        let mut entry = DryRunStep {
            path: path.clone(),
            phase: step.phase,
            kind: step.action.kind(),
            subject: step.action.subject(),
            needs,
            when: step.when.as_ref().map(|when| when.source().to_owned()),
            else_of: step.else_of.and_then(|of| view.plan.steps.get(of)).map(|step| step.id.clone()),
            predicted: predict(view, step, predictions),
            repeat: step.repeat.as_ref().map(Repeat::words),
            each: None,
            executions: vec![],
        };
        if matches!(entry.predicted, Predicted::Skipped { .. } | Predicted::Fails { .. }) {
            return entry;
        }
        if step.repeat.is_some() {
            let view = KnownScope { scope: view.scope.with_round(Data::null(), 0), item: true, ..*view };
            entry.executions.push(self.execution(&view, step, path, None, depth));
            return entry;
        }
        let Some(each) = &step.for_each else {
            entry.executions.push(self.execution(view, step, path, None, depth));
            return entry;
        };
        let items = view.known(&each.items);
        let error = match (&items.error, items.known.then(|| items.data.len())) {
            (Some(error), _) => Some(error.clone()),
            (None, Some(None)) => Some(format!("for_each is {}, not a list", items.data.kind())),
            _ => None,
        };
        let total = if items.known { items.data.len() } else { None };
        match (error, total) {
            (Some(why), _) => entry.predicted = Predicted::Fails { why },
            // Without known items, one execution is listed, with the item as written.
            (None, None) => entry.executions.push(self.execution(view, step, path, None, depth)),
            (None, Some(total)) => {
                for number in 0..total {
                    if self.left.get() == 0 {
                        break;
                    }
                    self.left.set(self.left.get() - 1);
                    let item = items.data.item(number).unwrap_or_default();
                    let scope = view.scope.with_item(item.clone(), number);
                    let view = KnownScope { scope, item: true, ..*view };
                    entry.executions.push(self.execution(&view, step, format!("{path}[{number}]"), Some(item), depth));
                }
            }
        }
        entry.each = Some(ForEachItems { items, total });
        entry
    }

    fn execution(&self, view: &KnownScope<'_>, step: &PlanStep, path: String, item: Option<Data>, depth: usize) -> Execution {
        let mut execution = Execution {
            path,
            item,
            sends: None,
            computes: None,
            asks: None,
            form: None,
            fallbacks: step.fallback.iter().map(|fallback| predicted_fallback(view, fallback)).collect(),
            undo: step.compensate.as_ref().map(|call| view.call(call)),
            nested: vec![],
            truncated: false,
        };
        match &step.action {
            Action::Tool(call) => execution.sends = Some(view.known(&call.arguments)),
            Action::Let { value } => execution.computes = Some(view.known(value)),
            Action::Prompt { arguments, .. } => execution.sends = Some(view.known(arguments)),
            Action::Resource { uri, .. } => execution.sends = Some(view.known(uri)),
            Action::Approve { message } => execution.asks = Some(view.known(message)),
            Action::Elicit { message, schema } => {
                execution.asks = Some(view.known(message));
                execution.form = Some(schema.clone());
            }
            Action::Workflow { plan, input } => self.nested_workflow(view, (plan, input), &mut execution, depth),
        }
        execution
    }

    fn nested_workflow(&self, view: &KnownScope<'_>, (plan, input): (&Plan, &Template), execution: &mut Execution, depth: usize) {
        let mut value = view.known(input);
        let filled = input_values::defaults(&plan.input, &value.data);
        if value.known
            && value.error.is_none()
            && let Err(errors) = input_values::prepare(&plan.input, &value.data)
        {
            value.error = errors.into_iter().next().map(|first| format!("invalid input for {}: {first}", plan.name));
        }
        let hidden = match (value.known, input.keys()) {
            (true, _) => Hidden::Nothing,
            (false, Some(keys)) => {
                let open = |key: &String| input.member(key).is_none_or(|member| !view.known(&member).known);
                Hidden::Members(keys.into_iter().filter(open).collect())
            }
            (false, None) => Hidden::All,
        };
        let left = self.left.get();
        execution.truncated = left < plan.steps.len() || depth >= MAX_DEPTH;
        if !execution.truncated && value.error.is_none() {
            self.left.set(left - plan.steps.len());
            execution.nested = self.plan(plan, filled, hidden, &format!("{}/", execution.path), depth + 1);
        }
        execution.sends = Some(value);
    }
}

fn predicted_fallback(view: &KnownScope<'_>, fallback: &Fallback) -> PredictedFallback {
    match fallback {
        Fallback::Tool { call, .. } => PredictedFallback::Call(view.call(call)),
        Fallback::Value(value) => PredictedFallback::Value(view.known(value)),
    }
}

/// Returns the result of a step that computes a value from what is known and cannot fail otherwise.
fn computed(step: &PlanStep, entry: &DryRunStep) -> Option<Data> {
    let [execution] = entry.executions.as_slice() else { return None };
    let certain = entry.predicted == Predicted::Runs && !step.has_items() && step.expect.is_empty();
    let value = execution.computes.as_ref().filter(|value| certain && value.known && value.error.is_none())?;
    Some(value.data.clone())
}

/// Predicts whether a step runs, from the steps it needs and from its condition.
fn predict(view: &KnownScope<'_>, step: &PlanStep, predictions: &[Predicted]) -> Predicted {
    let needs = || step.needs.iter().filter_map(|need| Some((view.plan.steps.get(*need)?, predictions.get(*need)?)));
    let follows = step.if_skipped == IfSkipped::Skip;
    let needs = || needs().filter(|(need, _)| step.else_of.and_then(|of| view.plan.steps.get(of)).is_none_or(|of| of.id != need.id));
    let otherwise = step.else_of.and_then(|of| Some((view.plan.steps.get(of)?, predictions.get(of)?)));
    if let Some((of, Predicted::Runs | Predicted::Fails { .. })) = otherwise {
        return Predicted::Skipped { why: format!("else: `{}` runs", of.id) };
    }
    if let Some((of, Predicted::Skipped { .. })) = otherwise
        && !of.when.as_ref().is_some_and(|when| view.all_known(when) && when.test(&view.scope) == Ok(false))
    {
        return Predicted::Skipped { why: format!("else: `{}` is not skipped by its `when`", of.id) };
    }
    if step.phase == Phase::OnFailure {
        return Predicted::Undecided;
    }
    let undecided = matches!(otherwise, Some((_, Predicted::Undecided)));
    if let Some((need, _)) = needs().find(|(_, predicted)| follows && matches!(predicted, Predicted::Skipped { .. })) {
        return Predicted::Skipped { why: format!("`{}` is skipped", need.id) };
    }
    let open = undecided || (follows && needs().any(|(_, predicted)| *predicted == Predicted::Undecided));
    match &step.when {
        Some(when) if view.all_known(when) => match when.test(&view.scope) {
            Ok(false) => Predicted::Skipped { why: format!("when: {}", when.source()) },
            Ok(true) if open => Predicted::Undecided,
            Ok(true) => Predicted::Runs,
            Err(error) => Predicted::Fails { why: error.to_string() },
        },
        Some(_) => Predicted::Undecided,
        None if open => Predicted::Undecided,
        None => Predicted::Runs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workflow::parse::{Source, parse};

    fn plan(text: &str, inner: &str) -> Plan {
        let source = |file: &str, text: &str| Source { file: file.into(), text: text.into() };
        let library = |name: &str| (name == "inner").then(|| source("inner.toml", inner));
        parse(&source("t.toml", text), &library).unwrap()
    }

    fn predict_text(text: &str, inner: &str, input: &str) -> Vec<DryRunStep> {
        dry_run(&plan(text, inner), &Data::parse(input).unwrap(), None)
    }

    const INNER: &str = r#"
        name = "inner"
        [input]
        who = "string"
        how = { type = "string", default = "softly" }
        [[step]]
        id = "knock"
        tool = "t"
        arguments = { who = "{{ input.who }}", how = "{{ input.how }}" }
    "#;

    #[test]
    fn results_of_steps_that_have_not_run_are_not_guessed() {
        let steps = predict_text(
            r#"
            name = "t"
            [[step]]
            id = "a"
            tool = "a"
            [[step]]
            id = "b"
            tool = "b"
            when = "steps.a.result.n | default(0) > 1"
            arguments = { n = "{{ steps.a.result.n | default(0) }}", run = "{{ run.id }}" }
            [[step]]
            id = "c"
            tool = "c"
            needs = ["b"]
            "#,
            INNER,
            "{}",
        );
        assert_eq!(
            steps.iter().map(|step| step.predicted.clone()).collect::<Vec<_>>(),
            [Predicted::Runs, Predicted::Undecided, Predicted::Undecided]
        );
        let sent = steps[1].executions[0].sends.as_ref().unwrap();
        assert_eq!(
            (sent.known, sent.data.json()),
            (false, r#"{"n":"{{ steps.a.result.n | default(0) }}","run":"{{ run.id }}"}"#.to_owned())
        );
    }

    #[test]
    fn only_declared_environment_variables_are_read_and_secrets_are_masked() {
        let text = r#"
            name = "t"
            env = ["PLACE", "MY_TOKEN"]
            [[step]]
            id = "a"
            tool = "a"
            when = "env.MY_TOKEN == 'hunter2-token'"
            arguments = { place = "{{ env.PLACE }}", auth = "Bearer {{ env.MY_TOKEN }}" }
            [[step]]
            id = "b"
            workflow = "inner"
            arguments = { who = "{{ env.MY_TOKEN }}" }
        "#;
        let env = |name: &str| match name {
            "PLACE" => Some("here".to_owned()),
            "MY_TOKEN" => Some("hunter2-token".to_owned()),
            other => panic!("{other} is not listed"),
        };
        let steps = dry_run(&plan(text, INNER), &Data::parse("{}").unwrap(), Some(&env));
        assert_eq!(steps[0].predicted, Predicted::Runs);
        let sent = |step: &DryRunStep| step.executions[0].sends.as_ref().map(|sent| (sent.known, sent.data.json()));
        assert_eq!(sent(&steps[0]), Some((true, r#"{"place":"here","auth":"Bearer •••"}"#.to_owned())));
        assert_eq!(sent(&steps[1].executions[0].nested[0]), Some((true, r#"{"who":"•••","how":"softly"}"#.to_owned())));
    }

    #[test]
    fn conditions_and_items_are_evaluated_where_the_input_determines_them() {
        let steps = predict_text(
            r#"
            name = "t"
            [input]
            loud = "boolean"
            to = { type = "array", items = { type = "string" } }
            [[step]]
            id = "horn"
            tool = "horn"
            when = "input.loud"
            [[step]]
            id = "echo"
            tool = "echo"
            needs = ["horn"]
            [[step]]
            id = "after"
            tool = "after"
            if_skipped = "run"
            arguments = { horn = "{{ steps.horn.outcome }}" }
            [[step]]
            id = "send"
            tool = "send"
            for_each = "{{ input.to }}"
            arguments = { to = "{{ item }}", n = "{{ index }}" }
            compensate = { tool = "unsend", arguments = { id = "{{ result.id }}", to = "{{ item }}" } }
            [[step.fallback]]
            tool = "post"
            arguments = { to = "{{ item }}" }
            [[step.fallback]]
            value = { by = "none" }
            "#,
            INNER,
            r#"{"loud":false,"to":["a","b"]}"#,
        );
        let why = |step: usize| match &steps[step].predicted {
            Predicted::Skipped { why } => why.clone(),
            other => format!("{other:?}"),
        };
        assert_eq!((why(0), why(1), why(2)), ("when: input.loud".into(), "`horn` is skipped".into(), "Runs".into()));
        assert_eq!(steps[2].executions[0].sends.as_ref().unwrap().data.json(), r#"{"horn":"skipped"}"#);
        let sent: Vec<_> =
            steps[3].executions.iter().map(|execution| (execution.path.as_str(), execution.sends.as_ref().unwrap().data.json())).collect();
        assert_eq!(sent, [("send[0]", r#"{"to":"a","n":0}"#.into()), ("send[1]", r#"{"to":"b","n":1}"#.into())]);
        let second = &steps[3].executions[1];
        let undo = second.undo.as_ref().unwrap();
        assert_eq!((undo.arguments.known, undo.arguments.data.json()), (false, r#"{"id":"{{ result.id }}","to":"b"}"#.into()));
        assert!(
            matches!(&second.fallbacks[0], PredictedFallback::Call(call) if call.arguments.known && call.arguments.data.json() == r#"{"to":"b"}"#)
        );
        assert!(matches!(&second.fallbacks[1], PredictedFallback::Value(value) if value.known));
    }

    #[test]
    fn nested_workflows_are_predicted_from_the_known_part_of_their_input() {
        let steps = predict_text(
            r#"
            name = "t"
            [input]
            names = { type = "array", items = { type = "string" } }
            [[step]]
            id = "a"
            tool = "a"
            [[step]]
            id = "all"
            workflow = "inner"
            for_each = "{{ input.names }}"
            arguments = { who = "{{ item }}" }
            [[step]]
            id = "one"
            workflow = "inner"
            arguments = { who = "{{ steps.a.result }}" }
            [[step]]
            id = "wrong"
            workflow = "inner"
            arguments = { who = "x", how = "{{ input.names | first | length }}" }
            [[step]]
            id = "sure"
            approve = "Greet {{ input.names | length }}?"
            "#,
            INNER,
            r#"{"names":["Ann","Bob"]}"#,
        );
        let inner = &steps[1].executions[1].nested[0];
        assert_eq!((inner.path.as_str(), inner.executions[0].path.as_str()), ("all[1]/knock", "all[1]/knock"));
        assert_eq!(inner.executions[0].sends.as_ref().unwrap().data.json(), r#"{"who":"Bob","how":"softly"}"#);
        let open = steps[2].executions[0].nested[0].executions[0].sends.as_ref().unwrap();
        assert_eq!((open.known, open.data.json()), (false, r#"{"who":"{{ input.who }}","how":"softly"}"#.into()));
        assert!(steps[3].executions[0].sends.as_ref().unwrap().error.as_ref().unwrap().contains("invalid input for inner"));
        assert_eq!(steps[4].executions[0].asks.as_ref().unwrap().data.display(), "Greet 2?");
    }

    #[test]
    fn the_list_is_bounded() {
        let many: Vec<Data> = (0..5_000).map(|number| Data::from(format!("n{number}").as_str())).collect();
        let text = r#"
            name = "t"
            [input]
            names = { type = "array" }
            [[step]]
            id = "all"
            workflow = "inner"
            for_each = "{{ input.names }}"
            arguments = { who = "{{ item }}" }
        "#;
        let steps = dry_run(&plan(text, INNER), &Data::object([("names", Data::list(many))]), None);
        assert_eq!(steps[0].each.as_ref().unwrap().total, Some(5_000));
        assert!(steps[0].executions.len() <= LISTED);
    }
}
