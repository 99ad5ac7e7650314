//! What a run would do, as far as its input tells before anything is called: what a dry run shows.
//!
//! Nothing is guessed: an expression has a value here only if all that it refers to is known, so that
//! `steps.a.result.n | default(0)` is not taken for 0 before `a` has run.

use std::{cell::Cell, collections::HashSet, sync::Arc};

use super::{
    expression::{Data, Expr, Reference, RunFacts, Scope, StepEnd, Template},
    input_values,
    plan::{Action, ActionKind, Fallback, IfSkipped, MAX_DEPTH, Plan, PlanStep, ToolCall},
};
use crate::domain::{
    body::Body,
    secret::{Redactor, Secret, rule},
};

/// How many items and steps within workflows are listed; what is more is counted.
pub const LISTED: usize = 200;

/// One step before it runs.
#[derive(Clone, Debug)]
pub struct DryRunPlan {
    /// Its path as the journal has it: `outer/inner`, `outer[2]/inner`.
    pub path: String,
    /// What it does.
    pub kind: ActionKind,
    /// What it calls or asks ([`Action::subject`]).
    pub subject: String,
    /// The ids of the steps that it needs.
    pub needs: Vec<Arc<str>>,
    /// Its condition as it is written.
    pub when: Option<String>,
    /// Whether it runs.
    pub fate: Predicted,
    /// What it runs for each of.
    pub each: Option<Each>,
    /// What it does: once, or for each item that is known. Empty where it does nothing.
    pub turns: Vec<Turn>,
}

/// Whether a step runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicted {
    /// It does, if all before it goes well.
    Runs,
    /// That is decided in the run.
    Open,
    /// It does not.
    Skipped {
        /// Why.
        why: String,
    },
    /// It would fail before it sends anything.
    Fails {
        /// Why.
        why: String,
    },
}

/// The items of a step.
#[derive(Clone, Debug)]
pub struct Each {
    /// They, as far as they are known.
    pub items: Known,
    /// How many there are, if that is known. More than there are turns where not all are listed.
    pub total: Option<usize>,
}

/// A step, or one item of it, at work.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Its path; of an item with its number from 0: `send[3]`.
    pub path: String,
    /// Its item.
    pub item: Option<Data>,
    /// What is sent: arguments, the input of a workflow, the address of a resource.
    pub sends: Option<Known>,
    /// What a person is asked.
    pub asks: Option<Known>,
    /// JSON Schema of the form that a person fills.
    pub form: Option<Body>,
    /// What is tried, in order, when it fails.
    pub fallbacks: Vec<Instead>,
    /// What undoes it.
    pub undo: Option<Call>,
    /// The steps of the workflow that it runs.
    pub within: Vec<DryRunPlan>,
    /// Whether there are steps within that are not listed.
    pub cut: bool,
}

/// A value as far as it is known.
#[derive(Clone, Debug)]
pub struct Known {
    /// The value; what is not known stands in it as it is written.
    pub data: Data,
    /// Whether all of it is known.
    pub known: bool,
    /// Why it can have no value, with this input.
    pub fault: Option<String>,
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub struct Call {
    /// The tool's exposed name.
    pub tool: Arc<str>,
    /// Its arguments.
    pub arguments: Known,
}

/// What is done instead of a step that failed.
#[derive(Clone, Debug)]
pub enum Instead {
    /// Another tool is called.
    Call(Call),
    /// A value is taken.
    Value(Known),
}

/// Reads an environment variable.
pub type ReadEnv<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The steps of a plan with this input, in an order in which they can run. `env` reads the environment, of which only
/// what the plan lists is asked for; without it nothing of that is known. Secrets among it are followed and not shown.
pub fn dry_run(plan: &Plan, input: &Data, env: Option<ReadEnv<'_>>) -> Vec<DryRunPlan> {
    let seer = Evaluator { env, left: Cell::new(LISTED) };
    let mut steps = seer.plan(plan, input_values::defaults(&plan.input, input), Hidden::Nothing, "", 0);
    let children = plan.children();
    let names = std::iter::once(plan).chain(children.iter().map(|child| &**child)).flat_map(|plan| &plan.env);
    let secrets: Vec<Secret> = names.filter_map(|name| Some(rule::of_value(name, &env?(name)?))).flatten().collect();
    if !secrets.is_empty() {
        let redactor = Redactor::new(&secrets);
        steps.iter_mut().for_each(|step| step.mask(&redactor));
    }
    steps
}

impl DryRunPlan {
    fn mask(&mut self, redactor: &Redactor) {
        if let Predicted::Skipped { why } | Predicted::Fails { why } = &mut self.fate {
            *why = redactor.redact(why);
        }
        self.each.iter_mut().for_each(|each| each.items.mask(redactor));
        for turn in &mut self.turns {
            turn.item.iter_mut().for_each(|item| *item = masked(item, redactor));
            turn.sends.iter_mut().chain(&mut turn.asks).for_each(|known| known.mask(redactor));
            turn.undo.iter_mut().for_each(|call| call.arguments.mask(redactor));
            for instead in &mut turn.fallbacks {
                let (Instead::Call(Call { arguments: known, .. }) | Instead::Value(known)) = instead;
                known.mask(redactor);
            }
            turn.within.iter_mut().for_each(|step| step.mask(redactor));
        }
    }
}

impl Known {
    fn mask(&mut self, redactor: &Redactor) {
        self.data = masked(&self.data, redactor);
        self.fault = self.fault.take().map(|fault| redactor.redact(&fault));
    }
}

fn masked(data: &Data, redactor: &Redactor) -> Data {
    let text = data.json();
    if !redactor.finds(text.as_bytes()) {
        return data.clone();
    }
    let shown = redactor.redact_json(&text);
    Data::parse(&shown).unwrap_or_else(|_| Data::from(shown.as_str()))
}

/// What of the input is not known.
enum Hidden {
    Nothing,
    Members(HashSet<String>),
    All,
}

/// What is known within one plan, at one place of it.
struct KnownScope<'p> {
    plan: &'p Plan,
    scope: Scope,
    hidden: &'p Hidden,
    env: bool,
    item: bool,
}

impl KnownScope<'_> {
    fn sees(&self, reference: &Reference) -> bool {
        match reference.root() {
            "input" => match (self.hidden, reference.name(1)) {
                (Hidden::Nothing, _) => true,
                (Hidden::Members(hidden), Some(name)) => !hidden.contains(name),
                _ => false,
            },
            "steps" => reference.name(1).and_then(|id| self.plan.index(id)).is_some_and(|step| self.scope.settled(step)),
            "env" => self.env,
            "item" | "index" => self.item,
            // The id and the time of a run are its own; a step's own result comes when it has run.
            _ => false,
        }
    }

    fn sees_all(&self, expr: &Expr) -> bool {
        expr.references().iter().all(|reference| self.sees(reference))
    }

    fn known(&self, template: &Template) -> Known {
        let (data, known) = template.preview(&self.scope, &|expr| self.sees_all(expr));
        let mut fault = None;
        template.each_expr(&mut |expr| {
            if let (None, true, Err(error)) = (&fault, self.sees_all(expr), expr.eval(&self.scope)) {
                fault = Some(error.to_string());
            }
        });
        Known { data, known, fault }
    }

    fn call(&self, call: &ToolCall) -> Call {
        Call { tool: call.tool.clone(), arguments: self.known(&call.arguments) }
    }
}

struct Evaluator<'e> {
    env: Option<ReadEnv<'e>>,
    /// How much more is listed.
    left: Cell<usize>,
}

impl Evaluator<'_> {
    fn plan(&self, plan: &Plan, input: Data, hidden: Hidden, prefix: &str, depth: usize) -> Vec<DryRunPlan> {
        let env = plan.env.iter().filter_map(|name| Some((name.clone(), self.env?(name)?)));
        let scope = Scope::new(&plan.names, input, &RunFacts::default(), env);
        let sight = KnownScope { plan, scope, hidden: &hidden, env: self.env.is_some(), item: false };
        let mut fates: Vec<Predicted> = vec![Predicted::Open; plan.steps.len()];
        let mut steps = vec![];
        for index in plan.order.iter().copied() {
            let Some(step) = plan.steps.get(index) else { continue };
            let foreseen = self.step(&sight, step, &fates, prefix, depth);
            if matches!(foreseen.fate, Predicted::Skipped { .. }) {
                sight.scope.settle(index, StepEnd { outcome: "skipped", ..StepEnd::default() });
            }
            fates[index] = foreseen.fate.clone();
            steps.push(foreseen);
        }
        steps
    }

    fn step(&self, sight: &KnownScope<'_>, step: &PlanStep, fates: &[Predicted], prefix: &str, depth: usize) -> DryRunPlan {
        let path = format!("{prefix}{}", step.id);
        let needs = step.needs.iter().filter_map(|need| sight.plan.steps.get(*need)).map(|need| need.id.clone()).collect();
        let mut foreseen = DryRunPlan {
            path: path.clone(),
            kind: step.action.kind(),
            subject: step.action.subject(),
            needs,
            when: step.when.as_ref().map(|when| when.source().to_owned()),
            fate: fate(sight, step, fates),
            each: None,
            turns: vec![],
        };
        if matches!(foreseen.fate, Predicted::Skipped { .. } | Predicted::Fails { .. }) {
            return foreseen;
        }
        let Some(each) = &step.for_each else {
            foreseen.turns.push(self.turn(sight, step, path, None, depth));
            return foreseen;
        };
        let items = sight.known(&each.items);
        let fault = match (&items.fault, items.known.then(|| items.data.len())) {
            (Some(fault), _) => Some(fault.clone()),
            (None, Some(None)) => Some(format!("for_each is {}, not a list", items.data.kind())),
            _ => None,
        };
        let total = if items.known { items.data.len() } else { None };
        match (fault, total) {
            (Some(why), _) => foreseen.fate = Predicted::Fails { why },
            // What is done for an item is shown once, with the item as it is written.
            (None, None) => foreseen.turns.push(self.turn(sight, step, path, None, depth)),
            (None, Some(total)) => {
                for number in 0..total {
                    if self.left.get() == 0 {
                        break;
                    }
                    self.left.set(self.left.get() - 1);
                    let item = items.data.item(number).unwrap_or_default();
                    let scope = sight.scope.with_item(item.clone(), number);
                    let sight = KnownScope { scope, item: true, ..*sight };
                    foreseen.turns.push(self.turn(&sight, step, format!("{path}[{number}]"), Some(item), depth));
                }
            }
        }
        foreseen.each = Some(Each { items, total });
        foreseen
    }

    fn turn(&self, sight: &KnownScope<'_>, step: &PlanStep, path: String, item: Option<Data>, depth: usize) -> Turn {
        let mut turn = Turn {
            path,
            item,
            sends: None,
            asks: None,
            form: None,
            fallbacks: step.fallback.iter().map(|fallback| instead(sight, fallback)).collect(),
            undo: step.compensate.as_ref().map(|call| sight.call(call)),
            within: vec![],
            cut: false,
        };
        match &step.action {
            Action::Tool(call) => turn.sends = Some(sight.known(&call.arguments)),
            Action::Prompt { arguments, .. } => turn.sends = Some(sight.known(arguments)),
            Action::Resource { uri, .. } => turn.sends = Some(sight.known(uri)),
            Action::Approve { message } => turn.asks = Some(sight.known(message)),
            Action::Elicit { message, schema } => {
                turn.asks = Some(sight.known(message));
                turn.form = Some(schema.clone());
            }
            Action::Workflow { plan, input } => self.within(sight, (plan, input), &mut turn, depth),
        }
        turn
    }

    fn within(&self, sight: &KnownScope<'_>, (plan, input): (&Plan, &Template), turn: &mut Turn, depth: usize) {
        let mut given = sight.known(input);
        let filled = input_values::defaults(&plan.input, &given.data);
        if given.known
            && given.fault.is_none()
            && let Err(wrong) = input_values::prepare(&plan.input, &given.data)
        {
            given.fault = wrong.into_iter().next().map(|first| format!("the input does not fit {}: {first}", plan.name));
        }
        let hidden = match (given.known, input.keys()) {
            (true, _) => Hidden::Nothing,
            (false, Some(keys)) => {
                let open = |key: &String| input.member(key).is_none_or(|member| !sight.known(&member).known);
                Hidden::Members(keys.into_iter().filter(open).collect())
            }
            (false, None) => Hidden::All,
        };
        let left = self.left.get();
        turn.cut = left < plan.steps.len() || depth >= MAX_DEPTH;
        if !turn.cut && given.fault.is_none() {
            self.left.set(left - plan.steps.len());
            turn.within = self.plan(plan, filled, hidden, &format!("{}/", turn.path), depth + 1);
        }
        turn.sends = Some(given);
    }
}

fn instead(sight: &KnownScope<'_>, fallback: &Fallback) -> Instead {
    match fallback {
        Fallback::Tool(call) => Instead::Call(sight.call(call)),
        Fallback::Value(value) => Instead::Value(sight.known(value)),
    }
}

/// What becomes of a step, by those that it needs and by its condition.
fn fate(sight: &KnownScope<'_>, step: &PlanStep, fates: &[Predicted]) -> Predicted {
    let needs = || step.needs.iter().filter_map(|need| Some((sight.plan.steps.get(*need)?, fates.get(*need)?)));
    let follows = step.if_skipped == IfSkipped::Skip;
    if let Some((need, _)) = needs().find(|(_, fate)| follows && matches!(fate, Predicted::Skipped { .. })) {
        return Predicted::Skipped { why: format!("`{}` is skipped", need.id) };
    }
    let open = follows && needs().any(|(_, fate)| *fate == Predicted::Open);
    match &step.when {
        Some(when) if sight.sees_all(when) => match when.test(&sight.scope) {
            Ok(false) => Predicted::Skipped { why: format!("when: {}", when.source()) },
            Ok(true) if open => Predicted::Open,
            Ok(true) => Predicted::Runs,
            Err(error) => Predicted::Fails { why: error.to_string() },
        },
        Some(_) => Predicted::Open,
        None if open => Predicted::Open,
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

    fn look(text: &str, inner: &str, input: &str) -> Vec<DryRunPlan> {
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
    fn nothing_of_steps_that_have_not_run_is_guessed() {
        let steps = look(
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
        assert_eq!(steps.iter().map(|step| step.fate.clone()).collect::<Vec<_>>(), [Predicted::Runs, Predicted::Open, Predicted::Open]);
        let sent = steps[1].turns[0].sends.as_ref().unwrap();
        assert_eq!(
            (sent.known, sent.data.json()),
            (false, r#"{"n":"{{ steps.a.result.n | default(0) }}","run":"{{ run.id }}"}"#.to_owned())
        );
    }

    #[test]
    fn the_environment_is_read_as_far_as_it_is_listed_and_its_secrets_are_not_shown() {
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
        assert_eq!(steps[0].fate, Predicted::Runs);
        let sent = |step: &DryRunPlan| step.turns[0].sends.as_ref().map(|sent| (sent.known, sent.data.json()));
        assert_eq!(sent(&steps[0]), Some((true, r#"{"place":"here","auth":"Bearer •••"}"#.to_owned())));
        assert_eq!(sent(&steps[1].turns[0].within[0]), Some((true, r#"{"who":"•••","how":"softly"}"#.to_owned())));
    }

    #[test]
    fn conditions_and_items_are_followed_where_the_input_tells() {
        let steps = look(
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
            value = { by = "nobody" }
            "#,
            INNER,
            r#"{"loud":false,"to":["a","b"]}"#,
        );
        let why = |step: usize| match &steps[step].fate {
            Predicted::Skipped { why } => why.clone(),
            other => format!("{other:?}"),
        };
        assert_eq!((why(0), why(1), why(2)), ("when: input.loud".into(), "`horn` is skipped".into(), "Runs".into()));
        assert_eq!(steps[2].turns[0].sends.as_ref().unwrap().data.json(), r#"{"horn":"skipped"}"#);
        let sent: Vec<_> = steps[3].turns.iter().map(|turn| (turn.path.as_str(), turn.sends.as_ref().unwrap().data.json())).collect();
        assert_eq!(sent, [("send[0]", r#"{"to":"a","n":0}"#.into()), ("send[1]", r#"{"to":"b","n":1}"#.into())]);
        let second = &steps[3].turns[1];
        let undo = second.undo.as_ref().unwrap();
        assert_eq!((undo.arguments.known, undo.arguments.data.json()), (false, r#"{"id":"{{ result.id }}","to":"b"}"#.into()));
        assert!(
            matches!(&second.fallbacks[0], Instead::Call(call) if call.arguments.known && call.arguments.data.json() == r#"{"to":"b"}"#)
        );
        assert!(matches!(&second.fallbacks[1], Instead::Value(value) if value.known));
    }

    #[test]
    fn workflows_within_are_followed_with_what_is_known_of_their_input() {
        let steps = look(
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
        let inner = &steps[1].turns[1].within[0];
        assert_eq!((inner.path.as_str(), inner.turns[0].path.as_str()), ("all[1]/knock", "all[1]/knock"));
        assert_eq!(inner.turns[0].sends.as_ref().unwrap().data.json(), r#"{"who":"Bob","how":"softly"}"#);
        let open = steps[2].turns[0].within[0].turns[0].sends.as_ref().unwrap();
        assert_eq!((open.known, open.data.json()), (false, r#"{"who":"{{ input.who }}","how":"softly"}"#.into()));
        assert!(steps[3].turns[0].sends.as_ref().unwrap().fault.as_ref().unwrap().contains("does not fit inner"));
        assert_eq!(steps[4].turns[0].asks.as_ref().unwrap().data.display(), "Greet 2?");
    }

    #[test]
    fn what_is_listed_is_bounded() {
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
        assert!(steps[0].turns.len() <= LISTED);
    }
}
