//! What can be told of the type of an expression's value before it is evaluated: that of what it refers to, or of what is done last.

use serde_json::{Map, Value};

use super::{ELSEWHERE, kinds};
use crate::domain::{
    body::Body,
    workflow::{
        expression::{Expr, Reference, Template},
        plan::{Action, Plan, PlanStep, ReadAs},
    },
};

/// Gives the `outputSchema` of a tool, if it is known and has one.
pub(super) type Outputs<'a> = dyn Fn(&str) -> Option<Body> + 'a;

/// What expressions of one step see.
pub(super) struct Types<'a> {
    plan: &'a Plan,
    step: &'a PlanStep,
    outputs: &'a Outputs<'a>,
}

impl<'a> Types<'a> {
    pub fn new(plan: &'a Plan, step: &'a PlanStep, outputs: &'a Outputs<'a>) -> Types<'a> {
        Types { plan, step, outputs }
    }

    /// The JSON types that the value of an expression can have, and what says so; `None` when nothing can be told.
    pub fn of(&self, expr: &Expr) -> Option<(Vec<String>, String)> {
        if let Some(sure) = expr.sure() {
            return Some((vec![sure.word().to_owned()], expr.source().to_owned()));
        }
        let reference = expr.plain()?;
        let schema = self.schema(reference)?;
        let kinds: Vec<String> = kinds(schema.as_object()?).into_iter().map(str::to_owned).collect();
        (!kinds.is_empty()).then(|| (kinds, reference.text()))
    }

    fn schema(&self, reference: &Reference) -> Option<Value> {
        let names: Vec<&str> = (0..reference.path.len()).map_while(|level| reference.name(level)).collect();
        // What is looked up by place in a list says nothing here.
        if names.len() != reference.path.len() {
            return None;
        }
        let kind = |kind: &str| Some(Value::Object(Map::from_iter([("type".to_owned(), kind.into())])));
        match names.as_slice() {
            ["input", keys @ ..] => within(self.plan.input.parse().ok()?, keys),
            ["item", keys @ ..] => {
                let Template::Whole(items) = &self.step.for_each.as_ref()?.items else { return None };
                within(self.schema(items.plain()?)?.get_mut("items")?.take(), keys)
            }
            ["index"] => kind("integer"),
            ["env", _] | ["run", "id" | "started"] | ["steps", _, "text" | "outcome"] => kind("string"),
            ["run", "started_ms" | "attempt"] | ["steps", _, "duration_ms"] => kind("integer"),
            ["steps", _, "items"] => kind("array"),
            ["steps", id, "result", keys @ ..] => {
                let step = self.plan.step(id)?;
                match (&step.for_each, keys) {
                    (None, _) => within(self.result(step)?, keys),
                    (Some(_), []) => kind("array"),
                    (Some(_), _) => None,
                }
            }
            _ => None,
        }
    }

    /// What a step's result is, where nothing else can stand in for it.
    fn result(&self, step: &PlanStep) -> Option<Value> {
        if !step.fallback.is_empty() {
            return None;
        }
        match (&step.action, step.read_as) {
            (_, ReadAs::Text) => Some(serde_json::json!({"type": "string"})),
            (Action::Tool(call), ReadAs::Auto | ReadAs::Structured) => (self.outputs)(&call.tool)?.parse().ok(),
            (Action::Elicit { schema, .. }, ReadAs::Auto) => schema.parse().ok(),
            _ => None,
        }
    }
}

/// The schema of a member, as far as plain `properties` tell.
fn within(mut schema: Value, keys: &[&str]) -> Option<Value> {
    for key in keys {
        let rules = schema.as_object_mut()?;
        if ELSEWHERE.iter().any(|other| rules.contains_key(*other)) {
            return None;
        }
        schema = rules.get_mut("properties")?.get_mut(*key)?.take();
    }
    let rules = schema.as_object()?;
    (!ELSEWHERE.iter().any(|other| rules.contains_key(*other))).then_some(schema)
}

/// Whether a value of one of these types can be one of those that are wanted.
pub(super) fn meet(given: &[String], wanted: &[&str]) -> bool {
    let fits = |given: &str, wanted: &str| given == wanted || matches!((given, wanted), ("integer", "number") | ("number", "integer"));
    given.iter().any(|given| wanted.iter().any(|wanted| fits(given, wanted)))
}
