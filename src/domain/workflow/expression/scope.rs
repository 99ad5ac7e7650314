//! The scope of expressions: `input`, `steps`, `env` and `run`, and where available `item`, `index`, `result` and
//! `text`.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
};

use minijinja::value::{Enumerator, Object, Value};

use super::{data::Data, date, items::Ends};

/// The facts about a run that are known at its start.
#[derive(Clone, Debug, Default)]
pub struct RunFacts {
    /// `run.id`.
    pub id: String,
    /// `run.started` in milliseconds since the Unix epoch; expressions see RFC 3339 in UTC.
    pub started_ms: u64,
    /// `run.attempt`, from 1; above 1 when the run was resumed.
    pub attempt: u32,
}

/// The end of a step, as expressions see it.
#[derive(Clone, Debug, Default)]
pub struct StepEnd {
    /// `steps.ID.outcome`: `ok`, `failed`, `skipped`, `cancelled`.
    pub outcome: &'static str,
    /// `steps.ID.result`. Missing unless the step has one: a value, or for a `for_each` the list of the items'
    /// results (`null` for failed items).
    pub result: Option<Data>,
    /// `steps.ID.text`: the text of the response.
    pub text: Option<String>,
    /// `steps.ID.duration_ms`.
    pub duration_ms: u64,
    /// `steps.ID.error`, if the step failed.
    pub error: Option<StepFault>,
    /// `steps.ID.items`, for a `for_each`: the end of each item.
    pub items: Option<Arc<Ends>>,
}

/// The error of a failed step, as expressions see it.
#[derive(Clone, Debug, Default)]
pub struct StepFault {
    /// `kind`: the name used in the file ([`super::super::plan::RetryOn`]), or that of the failure.
    pub kind: String,
    /// `message`.
    pub message: String,
}

/// The values visible to the expressions of one run. Clones share the settled steps.
#[derive(Clone)]
pub struct Scope {
    base: Arc<Base>,
    /// `item` and `index`.
    item: Option<(Value, usize)>,
    /// `previous`.
    previous: Option<Value>,
    /// `result` and `text`.
    own: Option<(Value, Value)>,
    /// `error` and `attempt`.
    error: Option<(Value, u32)>,
}

struct Base {
    input: Value,
    run: Value,
    env: Value,
    steps: Value,
    settled: Arc<Steps>,
    /// `run` with its outcome and `failure`, once the steps have ended.
    end: OnceLock<(Value, Option<Value>)>,
}

/// The failure of a run, as the expressions of `on_failure` and `finally` steps see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFailure {
    /// `failure.step`: the id of the step; empty if no single step failed.
    pub step: String,
    /// `failure.kind`, as [`StepFault::kind`].
    pub kind: String,
    /// `failure.message`.
    pub message: String,
}

/// The settled steps, by id.
struct Steps {
    names: Arc<HashMap<Arc<str>, usize>>,
    slots: Vec<OnceLock<Value>>,
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} steps", self.slots.len())
    }
}

impl Object for Steps {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.slots.get(*self.names.get(key.as_str()?)?)?.get().cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let settled = self.names.iter().filter(|(_, index)| self.slots.get(**index).is_some_and(|slot| slot.get().is_some()));
        let mut keys: Vec<(usize, Value)> = settled.map(|(name, index)| (*index, Value::from(name.clone()))).collect();
        keys.sort_by_key(|(index, _)| *index);
        Enumerator::Values(keys.into_iter().map(|(_, name)| name).collect())
    }
}

impl Scope {
    /// Creates the scope of a new run. `names` are the plan's ([`super::super::plan::Parts::names`]); `env` holds the
    /// declared variables that are set.
    pub fn new(
        names: &Arc<HashMap<Arc<str>, usize>>,
        input: Data,
        run: &RunFacts,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Scope {
        let settled = Arc::new(Steps { names: names.clone(), slots: names.values().map(|_| OnceLock::new()).collect() });
        let run = [
            ("id", Value::from(run.id.as_str())),
            ("started", Value::from(date::rfc3339(run.started_ms as i64))),
            ("started_ms", Value::from(run.started_ms)),
            ("attempt", Value::from(run.attempt)),
        ];
        let base = Base {
            input: input.0,
            run: Value::from_pairs(run),
            env: Value::from_pairs(env),
            steps: Value::from_dyn_object(settled.clone()),
            settled,
            end: OnceLock::new(),
        };
        Scope { base: Arc::new(base), item: None, previous: None, own: None, error: None }
    }

    /// Records the end of a step. Returns whether it was the first; later ends change nothing.
    pub fn settle(&self, step: usize, end: StepEnd) -> bool {
        let Some(slot) = self.base.settled.slots.get(step) else { return false };
        slot.set(end.into_value()).is_ok()
    }

    /// Sets `run.outcome` and `failure`, once.
    pub fn end(&self, outcome: &str, failure: Option<RunFailure>) {
        let member = |name: &str| (name.to_owned(), self.base.run.get_attr(name).unwrap_or_default());
        let known = ["id", "started", "started_ms", "attempt"].into_iter().map(member);
        let run = Value::from_pairs(known.chain([("outcome".to_owned(), Value::from(outcome))]));
        let failure =
            failure.map(|failure| Value::from_pairs([("step", failure.step), ("kind", failure.kind), ("message", failure.message)]));
        let _ = self.base.end.set((run, failure));
    }

    /// Returns whether the step has settled.
    pub fn settled(&self, step: usize) -> bool {
        self.base.settled.slots.get(step).is_some_and(|slot| slot.get().is_some())
    }

    /// Returns the scope of one item of a `for_each`: `item` and `index` (from 0).
    pub fn with_item(&self, item: Data, index: usize) -> Scope {
        Scope { item: Some((item.0, index)), ..self.clone() }
    }

    /// Returns the scope of one round of a `repeat`: `index` (from 0) and `previous`, the result of the round before or null.
    pub fn with_round(&self, previous: Data, index: usize) -> Scope {
        Scope { item: Some((Value::UNDEFINED, index)), previous: Some(previous.0), ..self.clone() }
    }

    /// Returns the scope with the failure of an attempt, for `retry.when`.
    pub fn with_error(&self, error: StepFault, attempt: u32) -> Scope {
        Scope { error: Some((error.into_value(), attempt)), ..self.clone() }
    }

    /// Returns the scope with the step's own `result` and `text`, for `expect` and `compensate`.
    pub fn with_result(&self, result: Data, text: &str) -> Scope {
        Scope { own: Some((result.0, Value::from(text))), ..self.clone() }
    }

    /// Returns the value of a top-level name.
    pub(super) fn top(&self, name: &str) -> Option<Value> {
        match name {
            "input" => Some(self.base.input.clone()),
            "omit" => Some(Data::omit().0),
            "steps" => Some(self.base.steps.clone()),
            "env" => Some(self.base.env.clone()),
            "run" => Some(self.base.end.get().map_or(&self.base.run, |(run, _)| run).clone()),
            "failure" => self.base.end.get()?.1.clone(),
            "item" => self.item.as_ref().map(|(item, _)| item.clone()),
            "error" => self.error.as_ref().map(|(error, _)| error.clone()),
            "attempt" => self.error.as_ref().map(|(_, attempt)| Value::from(*attempt)),
            "previous" => self.previous.clone(),
            "index" => self.item.as_ref().map(|(_, index)| Value::from(*index)),
            "result" => self.own.as_ref().map(|(result, _)| result.clone()),
            "text" => self.own.as_ref().map(|(_, text)| text.clone()),
            _ => None,
        }
    }
}

impl StepFault {
    pub(super) fn into_value(self) -> Value {
        Value::from_pairs([("kind", self.kind), ("message", self.message)])
    }
}

impl StepEnd {
    fn into_value(self) -> Value {
        let mut members = vec![("outcome", Value::from(self.outcome)), ("duration_ms", Value::from(self.duration_ms))];
        members.extend(self.result.map(|result| ("result", result.0)));
        members.extend(self.text.map(|text| ("text", Value::from(text))));
        members.extend(self.error.map(|error| ("error", error.into_value())));
        members.extend(self.items.map(|items| ("items", Value::from_dyn_object(items))));
        Value::from_pairs(members)
    }
}

/// The scope as the object in which the engine looks up names.
#[derive(Debug)]
pub(super) struct Root(pub Scope);

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.top(key.as_str()?)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({:?})", self.base.settled)
    }
}
