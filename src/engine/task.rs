//! Tools that answer as tasks (MCP 2025-11-25, basic/utilities/tasks): one logical call all the same.

use std::{sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use super::{
    dispatch::NoopObserver,
    ports::{Reply, Request, RequestObserver, Session},
};
use crate::domain::{
    body::Body,
    bounds,
    call::{Failure, Progress},
    id::CallId,
};

/// The member of `params` that asks for a task. The server may keep the result for ten minutes.
pub const AUGMENTATION: &str = ",\"task\":{\"ttl\":600000}";

/// Waits for the result of task `id`, telling its state as progress. Dropping it cancels the task.
pub async fn result<F: RequestObserver + 'static>(
    session: &Arc<dyn Session>,
    call: CallId,
    id: &str,
    poll: Duration,
    flow: &Arc<F>,
) -> Result<Reply, Failure> {
    let params = Body::json(&serde_json::json!({"taskId": id}));
    let request = |method: &str, call| Request { method: method.to_owned(), params: params.clone(), call, repeatable: true };
    let mut unfinished = Unfinished { session: session.clone(), cancel: Some(request("tasks/cancel", Some(call))) };
    // Blocks until the task is done, and carries the server's questions meanwhile.
    let waiting = session.request(request("tasks/result", Some(call)), flow.clone());
    tokio::pin!(waiting);
    let mut seen = 0.0;
    let mut next = Instant::now() + poll;
    loop {
        tokio::select! {
            biased;
            reply = &mut waiting => {
                unfinished.cancel = None;
                return reply;
            }
            () = sleep_until(next) => {
                let state = session.request(request("tasks/get", Some(call)), Arc::new(NoopObserver)).await;
                if let Ok(reply) = state {
                    seen += 1.0;
                    flow.progress(Progress { progress: seen, total: None, message: Some(describe(&reply.result)) });
                }
                next = Instant::now() + poll;
            }
        }
    }
}

fn describe(state: &Body) -> String {
    let [status, message] = state.fields(["status", "statusMessage"]).unwrap_or_default();
    let text = |field: Option<&RawValue>| field.and_then(|raw| bounds::json_text(raw.get(), bounds::LINE));
    let status = text(status).unwrap_or_else(|| "working".into());
    match text(message) {
        Some(message) => format!("{status}: {message}"),
        None => status,
    }
}

/// A task that nobody waits for any more is cancelled.
struct Unfinished {
    session: Arc<dyn Session>,
    cancel: Option<Request>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let (Some(cancel), Ok(runtime)) = (self.cancel.take(), tokio::runtime::Handle::try_current()) else { return };
        let session = self.session.clone();
        runtime.spawn(async move {
            let _ = tokio::time::timeout(Duration::from_secs(5), session.request(cancel, Arc::new(NoopObserver))).await;
        });
    }
}
