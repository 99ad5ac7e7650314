//! What expressions see: `input`, `steps`, `env`, `run`, and where there are such `item`, `index`, `result`
//! and `text`.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
};

use minijinja::value::{Enumerator, Object, Value};

use super::{data::Data, date, items::Ends};

/// What is known of a run from its start.
#[derive(Clone, Debug, Default)]
pub struct RunFacts {
    /// `run.id`.
    pub id: String,
    /// `run.started` in milliseconds since the Unix epoch; shown to expressions as RFC 3339 in UTC.
    pub started_ms: u64,
    /// `run.attempt`, from 1; above 1 when the run was resumed.
    pub attempt: u32,
}

/// How a step ended, as expressions see it.
#[derive(Clone, Debug, Default)]
pub struct StepEnd {
    /// `steps.ID.outcome`: `ok`, `failed`, `skipped`, `cancelled`.
    pub outcome: &'static str,
    /// `steps.ID.result`. Not there unless the step has one: a value, for a `for_each` the list of the
    /// items' results (`null` for those that failed).
    pub result: Option<Data>,
    /// `steps.ID.text`: the text of the answer.
    pub text: Option<String>,
    /// `steps.ID.duration_ms`.
    pub duration_ms: u64,
    /// `steps.ID.error`, of a step that failed.
    pub error: Option<StepFault>,
    /// `steps.ID.items`, of a `for_each`: how each item ended.
    pub items: Option<Arc<Ends>>,
}

/// Why a step failed, as expressions see it.
#[derive(Clone, Debug, Default)]
pub struct StepFault {
    /// `kind`: the words of the file for it ([`super::super::plan::RetryOn`]) or of the failure.
    pub kind: String,
    /// `message`.
    pub message: String,
}

/// What the expressions of one run see. Clones share what has settled.
#[derive(Clone)]
pub struct Scope {
    base: Arc<Base>,
    /// `item` and `index`.
    item: Option<(Value, usize)>,
    /// `result` and `text`.
    own: Option<(Value, Value)>,
}

struct Base {
    input: Value,
    run: Value,
    env: Value,
    steps: Value,
    settled: Arc<Steps>,
}

/// The steps that have settled, by id.
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
    /// The scope of a run that begins. `names` are the plan's ([`super::super::plan::Parts::names`]), `env`
    /// the variables that the plan asks for, as far as they are set.
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
        };
        Scope { base: Arc::new(base), item: None, own: None }
    }

    /// Tells how the step of that index ended, once. Says whether this was the first time; later ones
    /// change nothing.
    pub fn settle(&self, step: usize, end: StepEnd) -> bool {
        let Some(slot) = self.base.settled.slots.get(step) else { return false };
        slot.set(end.into_value()).is_ok()
    }

    /// Whether the step of that index has been told.
    pub fn settled(&self, step: usize) -> bool {
        self.base.settled.slots.get(step).is_some_and(|slot| slot.get().is_some())
    }

    /// The same for one item of a `for_each`: `item` and `index` (from 0).
    pub fn with_item(&self, item: Data, index: usize) -> Scope {
        Scope { item: Some((item.0, index)), ..self.clone() }
    }

    /// The same with the step's own `result` and `text`, for `expect` and `compensate`.
    pub fn with_result(&self, result: Data, text: &str) -> Scope {
        Scope { own: Some((result.0, Value::from(text))), ..self.clone() }
    }

    /// What a name at the top means.
    pub(super) fn top(&self, name: &str) -> Option<Value> {
        match name {
            "input" => Some(self.base.input.clone()),
            "steps" => Some(self.base.steps.clone()),
            "env" => Some(self.base.env.clone()),
            "run" => Some(self.base.run.clone()),
            "item" => self.item.as_ref().map(|(item, _)| item.clone()),
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

/// The scope as the object that the engine looks names up in.
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
