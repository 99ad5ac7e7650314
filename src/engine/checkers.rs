//! Checks the arguments of calls against the tools' input schemas. Owns the compiled schemas and bounds the time that a
//! server's schema can take.
//!
//! Light schemas and small arguments are checked on the thread of the call. All others are checked on one background thread of
//! low priority with a deadline, so that calls of other servers are not slowed down; a schema that missed the deadline is not
//! tried again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::domain::{
    catalog::Tool,
    id::ToolId,
    schema::{Checker, Violation},
};

/// Maximum number of compiled schemas; all are dropped when there are more.
const CACHED: usize = 1000;
/// Maximum estimated memory of the compiled schemas in bytes; all are dropped when they take more.
const MEMORY: usize = 64 << 20;
/// Longest schema in bytes that is compiled on the thread of a call.
const LIGHT: usize = 32 << 10;
/// Number of checking threads. A check that misses its deadline occupies its thread until it ends.
const THREADS: usize = 1;
/// Priority of the checking thread: 0 is normal, 19 the lowest (setpriority(2)).
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
/// How long a call waits for the check of its arguments.
const DEADLINE: Duration = Duration::from_secs(2);

/// A tool definition and its compiled schema.
#[derive(Clone)]
struct CompiledTool {
    tool: Arc<Tool>,
    /// `None` when compiling or checking took longer than [`DEADLINE`].
    checker: Option<Arc<Checker>>,
    /// Whether the user knows that arguments for this tool are not checked.
    reported: bool,
}

/// Why arguments were not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// Whether this is the first unchecked call with this definition of the tool.
    pub first: bool,
}

/// The compiled input schemas of called tools.
pub struct Checkers {
    entries: Mutex<HashMap<ToolId, CompiledTool>>,
    threads: Arc<Semaphore>,
    deadline: Duration,
}

impl Default for Checkers {
    fn default() -> Checkers {
        Checkers { entries: Mutex::default(), threads: Arc::new(Semaphore::new(THREADS)), deadline: DEADLINE }
    }
}

impl Checkers {
    /// Returns every violation of `arguments`, at most 50, against the current schema of `tool`.
    pub async fn check(&self, id: &ToolId, tool: &Arc<Tool>, arguments: Value) -> Result<Vec<Violation>, Unchecked> {
        let known = self.lock().get(id).filter(|known| known.tool.input_schema == tool.input_schema).cloned();
        let checker = match known {
            Some(CompiledTool { checker: None, .. }) => return Err(self.unchecked(id)),
            Some(CompiledTool { checker, .. }) => checker,
            None if tool.input_schema.len() > LIGHT => None,
            None => {
                let quick = Checker::quick(&tool.input_schema);
                (!quick.heavy()).then(|| self.store(id, tool, Some(Arc::new(quick)))).flatten()
            }
        };
        if let Some(Ok(found)) = checker.as_ref().map(|checker| checker.glance(&arguments)) {
            return Ok(found);
        }
        let Ok(Ok(permit)) = timeout(self.deadline, self.threads.clone().acquire_owned()).await else {
            return Err(Unchecked { first: true });
        };
        let schema = tool.input_schema.clone();
        let work = in_background(move || {
            // Held until the thread is free, even if the caller has stopped waiting.
            let _permit = permit;
            let checker = checker.unwrap_or_else(|| Arc::new(Checker::new(&schema)));
            let found = checker.judge(&arguments);
            (checker, found)
        });
        match timeout(self.deadline, work).await {
            Ok(Ok((checker, found))) => {
                self.store(id, tool, Some(checker));
                found.map_err(|_| self.unchecked(id))
            }
            _ => {
                self.store(id, tool, None);
                Err(self.unchecked(id))
            }
        }
    }

    fn unchecked(&self, id: &ToolId) -> Unchecked {
        let reported = self.lock().get_mut(id).map(|known| std::mem::replace(&mut known.reported, true));
        Unchecked { first: reported != Some(true) }
    }

    fn store(&self, id: &ToolId, tool: &Arc<Tool>, checker: Option<Arc<Checker>>) -> Option<Arc<Checker>> {
        let mut entries = self.lock();
        let weigh = |checker: &Option<Arc<Checker>>| checker.as_ref().map_or(0, |checker| checker.weight());
        let taken: usize = entries.values().map(|known| weigh(&known.checker)).sum();
        if entries.len() >= CACHED || taken + weigh(&checker) > MEMORY {
            entries.clear();
        }
        let reported = entries.get(id).is_some_and(|known| known.reported && known.tool.input_schema == tool.input_schema);
        entries.insert(id.clone(), CompiledTool { tool: tool.clone(), checker: checker.clone(), reported });
        checker
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ToolId, CompiledTool>> {
        self.entries.lock()
    }
}

/// Runs `work` on a thread of low priority. The receiver fails if the thread cannot be started.
fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("schemas".into());
    let started = thread.spawn(move || {
        // On Linux the priority is that of the calling thread. If it cannot be lowered, the check runs at the normal one.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, NICENESS);
        let _ = sender.send(work());
    });
    drop(started);
    receiver
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

    /// With a deadline that no check misses, however busy the machine is.
    fn patient() -> Checkers {
        Checkers { deadline: Duration::from_secs(300), ..Checkers::default() }
    }

    #[tokio::test]
    async fn arguments_are_checked_or_reported_as_unchecked() {
        let checkers = patient();
        let (id, light) = tool(&json!({"type": "object", "required": ["a"]}));
        assert_eq!(checkers.check(&id, &light, json!({})).await.map(|found| found.len()), Ok(1));
        // The same name with another definition.
        let (_, heavy) = tool(&json!({"properties": {"x": {"enum": (0..30_000).map(|at| format!("value {at}")).collect::<Vec<_>>()}}}));
        assert_eq!(checkers.check(&id, &heavy, json!({"x": 1})).await.map(|found| found.len()), Ok(1));
        // A value on which this schema recurses without end.
        let checkers = Checkers::default();
        let (_, twice) = tool(&json!({"$defs": {"t": {"type": ["object", "null"], "allOf": [
            {"properties": {"c": {"$ref": "#/$defs/t"}}}, {"properties": {"c": {"$ref": "#/$defs/t"}}}
        ]}}, "$ref": "#/$defs/t"}));
        let deep = (0..100).fold(json!(null), |inner, _| json!({"c": inner}));
        assert_eq!(checkers.check(&id, &twice, deep.clone()).await, Err(Unchecked { first: true }));
        assert_eq!(checkers.check(&id, &twice, deep).await, Err(Unchecked { first: false }));
        assert_eq!(checkers.check(&id, &twice, json!({"c": {}})).await, Ok(vec![]), "small arguments are still checked");
    }

    #[tokio::test]
    async fn compiled_schemas_take_bounded_memory() {
        let checkers = patient();
        for number in 0..40 {
            let names: serde_json::Map<String, Value> =
                (0..5_000).map(|at| (format!("p{number}_{at}"), json!({"type": "string"}))).collect();
            let (_, wide) = tool(&json!({"properties": names}));
            let id = ToolId::new("s".into(), format!("t{number}"));
            assert_eq!(checkers.check(&id, &wide, json!({})).await, Ok(vec![]));
            let taken: usize = checkers.lock().values().filter_map(|known| Some(known.checker.as_ref()?.weight())).sum();
            assert!(taken > 5_000 * 1_000 && taken <= MEMORY, "{taken}");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn large_schemas_are_compiled_on_a_thread_of_low_priority() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let own = priority();
        let (name, found) = in_background(move || (std::thread::current().name().map(str::to_owned), priority())).await.unwrap();
        assert_eq!((name.as_deref(), found >= NICENESS), (Some("schemas"), true), "{found}");
        assert_eq!(priority(), own, "the caller's priority does not change");
    }

    #[tokio::test]
    async fn a_schema_that_missed_its_deadline_is_not_tried_again() {
        let checkers = Checkers { deadline: Duration::ZERO, ..Checkers::default() };
        let (id, heavy) = tool(&json!({"enum": (0..30_000).map(|at| format!("value {at}")).collect::<Vec<_>>()}));
        assert_eq!(checkers.check(&id, &heavy, json!({})).await, Err(Unchecked { first: true }));
        assert_eq!(checkers.check(&id, &heavy, json!({})).await, Err(Unchecked { first: false }));
        let free = timeout(Duration::from_secs(60), checkers.threads.acquire_many(THREADS as u32)).await;
        assert!(free.is_ok(), "the late thread is released when it ends");
    }
}
