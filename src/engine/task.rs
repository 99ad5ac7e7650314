//! Tools that respond with a task (MCP 2025-11-25, basic/utilities/tasks): hides the task behind one logical call.

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

/// The member of `params` that requests a task. The server may drop the result after ten minutes.
pub const AUGMENTATION: &str = ",\"task\":{\"ttl\":600000}";

/// Waits for the result of task `id` and reports its state as progress. Dropping the future cancels the task.
pub async fn result<F: RequestObserver + 'static>(
    session: &Arc<dyn Session>,
    call: CallId,
    id: &str,
    poll: Duration,
    observer: &Arc<F>,
) -> Result<Reply, Failure> {
    let params = Body::json(&serde_json::json!({"taskId": id}));
    let request =
        |method: &str, call| Request { method: method.to_owned(), params: params.clone(), call, repeatable: true, ..Request::default() };
    let mut unfinished = Unfinished { session: session.clone(), cancel: Some(request("tasks/cancel", Some(call))) };
    // The server responds when the task is done, and sends its questions meanwhile.
    let waiting = session.request(request("tasks/result", Some(call)), observer.clone());
    tokio::pin!(waiting);
    let mut polls = 0.0;
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
                    polls += 1.0;
                    observer.progress(Progress { progress: polls, total: None, message: Some(describe(&reply.result)) });
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

/// Cancels the task on drop if its result was not received.
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
