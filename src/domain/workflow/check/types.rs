//! Static types of expressions in a step, from the schemas that their references lead to or from type inference.

use serde_json::{Map, Value};

use super::{OPEN_KEYWORDS, kinds};
use crate::domain::{
    body::Body,
    workflow::{
        closest_match,
        expression::{Expr, Reference, Template},
        plan::{Action, Plan, PlanStep, ReadAs},
    },
};

/// Returns the `outputSchema` of a tool, if known.
pub(super) type Outputs<'a> = dyn Fn(&str) -> Option<Body> + 'a;

/// The types visible to the expressions of one step.
pub(super) struct Types<'a> {
    plan: &'a Plan,
    step: &'a PlanStep,
    outputs: &'a Outputs<'a>,
}

impl<'a> Types<'a> {
    pub fn new(plan: &'a Plan, step: &'a PlanStep, outputs: &'a Outputs<'a>) -> Types<'a> {
        Types { plan, step, outputs }
    }

    /// Returns the JSON types that the value of an expression may have, and the expression that determines them;
    /// `None` if unknown.
    pub fn types_of(&self, expr: &Expr) -> Option<(Vec<String>, String)> {
        if let Some(inferred) = expr.inferred() {
            return Some((vec![inferred.word().to_owned()], expr.source().to_owned()));
        }
        let reference = expr.single_reference()?;
        let schema = self.schema(reference)?;
        let kinds: Vec<String> = kinds(schema.as_object()?).into_iter().map(str::to_owned).collect();
        (!kinds.is_empty()).then(|| (kinds, reference.text()))
    }

    fn schema(&self, reference: &Reference) -> Option<Value> {
        let names: Vec<&str> = (0..reference.path.len()).map_while(|level| reference.name(level)).collect();
        // An index into a list has no known type.
        if names.len() != reference.path.len() {
            return None;
        }
        let kind = |kind: &str| Some(Value::Object(Map::from_iter([("type".to_owned(), kind.into())])));
        match names.as_slice() {
            ["input", keys @ ..] => member_schema(self.plan.input.parse().ok()?, keys),
            ["item", keys @ ..] => {
                let Template::Whole(items) = &self.step.for_each.as_ref()?.items else { return None };
                member_schema(self.schema(items.single_reference()?)?.get_mut("items")?.take(), keys)
            }
            ["index"] => kind("integer"),
            ["env", _] | ["run", "id" | "started"] | ["steps", _, "text" | "outcome"] => kind("string"),
            ["run", "started_ms" | "attempt"] | ["steps", _, "duration_ms"] => kind("integer"),
            ["steps", _, "items"] => kind("array"),
            ["steps", id, "result", keys @ ..] => {
                let step = self.plan.step(id)?;
                match (step.has_items(), keys) {
                    (false, _) => member_schema(self.result(step)?, keys),
                    (true, []) => kind("array"),
                    (true, _) => None,
                }
            }
            _ => None,
        }
    }

    /// Returns the schema of a step's result, if no fallback can replace the result.
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

/// How sure a missing member is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The schema allows no other members.
    Certain,
    /// The schema allows other members, and one that it lists has a similar name.
    Likely,
}

/// A member that a result does not have.
pub(super) struct MissingMember {
    pub reference: Reference,
    pub message: String,
    pub hint: String,
}

impl Types<'_> {
    /// Returns the member of a result that a reference reads and that the output schema does not list. References that ask
    /// whether a value exists are left out.
    pub fn missing_member(&self, reference: &Reference, which: Missing) -> Option<MissingMember> {
        let names: Vec<&str> = (0..reference.path.len()).map_while(|level| reference.name(level)).collect();
        let (step, keys, level) = match names.as_slice() {
            ["steps", id, "result", keys @ ..] => (self.plan.step(id).filter(|step| !step.has_items())?, keys, 3),
            ["result", keys @ ..] => (self.step, keys, 1),
            _ => return None,
        };
        if reference.optional {
            return None;
        }
        let mut schema = self.result(step)?;
        for (depth, key) in keys.iter().enumerate() {
            let rules = schema.as_object_mut()?;
            if OPEN_KEYWORDS.iter().any(|other| rules.contains_key(*other)) {
                return None;
            }
            let closed = rules.get("additionalProperties") == Some(&Value::Bool(false));
            let properties = rules.get_mut("properties")?.as_object_mut()?;
            if let Some(inner) = properties.get_mut(*key) {
                schema = inner.take();
                continue;
            }
            let known: Vec<&str> = properties.keys().map(String::as_str).collect();
            let near = closest_match(key, known.iter().copied()).or_else(|| known.iter().copied().find(|known| contains_word(known, key)));
            if closed != (which == Missing::Certain) || (!closed && near.is_none()) || known.is_empty() {
                return None;
            }
            let of = Reference { path: reference.path[..level + depth].to_vec(), complete: true, ..reference.clone() };
            let message = format!("`{}` has no `{key}`, as the output schema of the tool says", of.text());
            let hint = near.map_or_else(|| format!("it has {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
            return Some(MissingMember { reference: reference.clone(), message, hint });
        }
        None
    }
}

/// Returns whether one of two names begins or ends with the other, as `date` and `datetime`.
fn contains_word(known: &str, name: &str) -> bool {
    let (long, short) = if known.len() >= name.len() { (known, name) } else { (name, known) };
    short.len() >= 3 && (long.starts_with(short) || long.ends_with(short))
}

/// Returns the schema of a member, as far as plain `properties` define it.
fn member_schema(mut schema: Value, keys: &[&str]) -> Option<Value> {
    for key in keys {
        let rules = schema.as_object_mut()?;
        if OPEN_KEYWORDS.iter().any(|other| rules.contains_key(*other)) {
            return None;
        }
        schema = rules.get_mut("properties")?.get_mut(*key)?.take();
    }
    let rules = schema.as_object()?;
    (!OPEN_KEYWORDS.iter().any(|other| rules.contains_key(*other))).then_some(schema)
}

/// Returns whether a value of one of the `given` types may match one of the `wanted` types.
pub(super) fn may_match(given: &[String], wanted: &[&str]) -> bool {
    let fits = |given: &str, wanted: &str| given == wanted || matches!((given, wanted), ("integer", "number") | ("number", "integer"));
    given.iter().any(|given| wanted.iter().any(|wanted| fits(given, wanted)))
}
