//! Checks the arguments of calls: compiled schemas are cached, and work that a server's schema makes long is bounded.
//!
//! A light schema and small arguments are checked where the call runs. Everything else is done on a blocking thread with a
//! deadline, at most [`THREADS`] at a time; a schema that missed it is not tried again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::Semaphore, time::timeout};

use crate::domain::{
    catalog::Tool,
    id::ToolId,
    schema::{Checker, Violation},
};

/// How many are cached; all are dropped when there are more.
const CACHED: usize = 1000;
/// How many threads check at the same time. One that misses its deadline counts until it ends.
const THREADS: usize = 2;
/// How long a call waits for the check of its arguments.
const DEADLINE: Duration = Duration::from_secs(2);

/// A definition, and what is known of it.
#[derive(Clone)]
struct Entry {
    tool: Arc<Tool>,
    /// `None` when compiling or checking took longer than [`DEADLINE`].
    checker: Option<Arc<Checker>>,
    /// Whether it was said that its arguments are not checked.
    said: bool,
}

/// Why arguments were not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// Whether this is the first time for this definition of the tool.
    pub first: bool,
}

/// The checkers of the tools that were called.
pub struct Checkers {
    entries: Mutex<HashMap<ToolId, Entry>>,
    threads: Arc<Semaphore>,
    deadline: Duration,
}

impl Default for Checkers {
    fn default() -> Checkers {
        Checkers { entries: Mutex::default(), threads: Arc::new(Semaphore::new(THREADS)), deadline: DEADLINE }
    }
}

impl Checkers {
    /// Every violation of `arguments`, at most 50, by the schema of `tool` as it is listed now.
    pub async fn check(&self, id: &ToolId, tool: &Arc<Tool>, arguments: Value) -> Result<Vec<Violation>, Unchecked> {
        let known = self.lock().get(id).filter(|known| known.tool.input_schema == tool.input_schema).cloned();
        let checker = match known {
            Some(Entry { checker: None, .. }) => return Err(self.unchecked(id)),
            Some(Entry { checker, .. }) => checker,
            None => {
                let quick = Checker::quick(&tool.input_schema);
                (!quick.heavy()).then(|| self.keep(id, tool, Some(Arc::new(quick)))).flatten()
            }
        };
        if let Some(Ok(found)) = checker.as_ref().map(|checker| checker.glance(&arguments)) {
            return Ok(found);
        }
        let Ok(Ok(permit)) = timeout(self.deadline, self.threads.clone().acquire_owned()).await else {
            return Err(Unchecked { first: true });
        };
        let schema = tool.input_schema.clone();
        let work = tokio::task::spawn_blocking(move || {
            // Held until the thread is free, even if the caller has left.
            let _permit = permit;
            let checker = checker.unwrap_or_else(|| Arc::new(Checker::new(&schema)));
            let found = checker.judge(&arguments);
            (checker, found)
        });
        match timeout(self.deadline, work).await {
            Ok(Ok((checker, found))) => {
                self.keep(id, tool, Some(checker));
                found.map_err(|_| self.unchecked(id))
            }
            _ => {
                self.keep(id, tool, None);
                Err(self.unchecked(id))
            }
        }
    }

    fn unchecked(&self, id: &ToolId) -> Unchecked {
        let said = self.lock().get_mut(id).map(|known| std::mem::replace(&mut known.said, true));
        Unchecked { first: said != Some(true) }
    }

    fn keep(&self, id: &ToolId, tool: &Arc<Tool>, checker: Option<Arc<Checker>>) -> Option<Arc<Checker>> {
        let mut entries = self.lock();
        if entries.len() >= CACHED {
            entries.clear();
        }
        let said = entries.get(id).is_some_and(|known| known.said && known.tool.input_schema == tool.input_schema);
        entries.insert(id.clone(), Entry { tool: tool.clone(), checker: checker.clone(), said });
        checker
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ToolId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::catalog::{RawLists, ServerCatalog};

    fn tool(schema: &Value) -> (ToolId, Arc<Tool>) {
        let tools = vec![crate::domain::body::Body::json(&json!({"name": "t", "inputSchema": schema}))];
        let catalog = ServerCatalog::read(RawLists { tools, ..RawLists::default() }, None);
        (ToolId::new("s".into(), "t"), catalog.tools[0].clone())
    }

    #[tokio::test]
    async fn arguments_are_checked_or_the_caller_learns_that_they_were_not() {
        let checkers = Checkers::default();
        let (id, plain) = tool(&json!({"type": "object", "required": ["a"]}));
        assert_eq!(checkers.check(&id, &plain, json!({})).await.map(|found| found.len()), Ok(1));
        // The same name with another definition.
        let (_, heavy) = tool(&json!({"properties": {"x": {"enum": (0..60_000).map(|at| format!("value {at}")).collect::<Vec<_>>()}}}));
        assert_eq!(checkers.check(&id, &heavy, json!({"x": 1})).await.map(|found| found.len()), Ok(1));
        // A value that this schema visits without end.
        let (_, twice) = tool(&json!({"$defs": {"t": {"type": ["object", "null"], "allOf": [
            {"properties": {"c": {"$ref": "#/$defs/t"}}}, {"properties": {"c": {"$ref": "#/$defs/t"}}}
        ]}}, "$ref": "#/$defs/t"}));
        let deep = (0..100).fold(json!(null), |inner, _| json!({"c": inner}));
        assert_eq!(checkers.check(&id, &twice, deep.clone()).await, Err(Unchecked { first: true }));
        assert_eq!(checkers.check(&id, &twice, deep).await, Err(Unchecked { first: false }));
        assert_eq!(checkers.check(&id, &twice, json!({"c": {}})).await, Ok(vec![]), "what is small is still checked");
    }

    #[tokio::test]
    async fn a_schema_that_missed_its_deadline_is_not_tried_again() {
        let checkers = Checkers { deadline: Duration::ZERO, ..Checkers::default() };
        let (id, heavy) = tool(&json!({"enum": (0..60_000).map(|at| format!("value {at}")).collect::<Vec<_>>()}));
        assert_eq!(checkers.check(&id, &heavy, json!({})).await, Err(Unchecked { first: true }));
        assert_eq!(checkers.check(&id, &heavy, json!({})).await, Err(Unchecked { first: false }));
        let free = timeout(Duration::from_secs(60), checkers.threads.acquire_many(THREADS as u32)).await;
        assert!(free.is_ok(), "the thread that was too late is given back when it ends");
    }
}
