//! Tools that respond with a task: hides the task behind one logical call.
//!
//! [`result`] follows a task of MCP 2025-11-25 (basic/utilities/tasks), [`poll`] one of the tasks extension (SEP-2663).

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    dispatch::NoopObserver,
    ports::{Reply, Request, RequestObserver, Session},
    result_kind::{poll_interval, read_requests},
};
use crate::domain::{
    body::{self, Body},
    bounds,
    call::{Failure, FailureKind, RpcError},
    id::CallId,
};

/// Polls without an answer in a row after which a task counts as lost.
const FAILED_POLLS: u32 = 3;

/// The member of `params` that requests a task, with its value. The server may drop the result after ten minutes.
pub const AUGMENTATION: (&str, &str) = ("task", "{\"ttl\":600000}");

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
                    observer.progress(&poll_progress(polls, &reply.result));
                }
                next = Instant::now() + poll;
            }
        }
    }
}

/// Polls the task `id` of the tasks extension until it ends, and returns the result of the call. Answers the questions of the
/// server with `answer`, each once, and reports the state as progress. Dropping the future cancels the task.
pub async fn poll<F, A>(
    session: &Arc<dyn Session>,
    call: CallId,
    id: &str,
    mut interval: Duration,
    observer: &Arc<F>,
    answer: impl Fn(Vec<(String, String, Body)>) -> A,
) -> Result<Reply, Failure>
where
    F: RequestObserver + 'static,
    A: Future<Output = Result<Option<Body>, Failure>>,
{
    let request = |method: &str, params: Body| Request {
        method: method.to_owned(),
        params,
        call: Some(call),
        repeatable: true,
        ..Request::default()
    };
    let params = Body::json(&serde_json::json!({"taskId": id}));
    let mut unfinished = Unfinished { session: session.clone(), cancel: Some(request("tasks/cancel", params.clone())) };
    let (mut answered, mut polls, mut failed) = (HashSet::new(), 0.0, 0);
    loop {
        sleep(interval).await;
        let reply = match session.request(request("tasks/get", params.clone()), Arc::new(NoopObserver)).await {
            Ok(reply) => reply,
            // The task runs on while its server is busy or restarts.
            Err(failure) if failure.rpc.is_none() && failed < FAILED_POLLS => {
                failed += 1;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        failed = 0;
        let [status, next, questions] = reply.result.fields(["status", "pollIntervalMs", "inputRequests"]).unwrap_or_default();
        if next.is_some() {
            interval = poll_interval(next);
        }
        polls += 1.0;
        observer.progress(&poll_progress(polls, &reply.result));
        match status.map(RawValue::get) {
            Some("\"working\"") => {}
            Some("\"input_required\"") => {
                let mut asked = questions.map(|raw| read_requests(&Body::from(raw.get()))).unwrap_or_default();
                asked.retain(|(key, ..)| answered.insert(key.clone()));
                if let Some(answers) = answer(asked).await? {
                    let update =
                        Body::from(format!("{{\"taskId\":{},\"inputResponses\":{}}}", serde_json::Value::from(id), answers.text()));
                    session.request(request("tasks/update", update), Arc::new(NoopObserver)).await?;
                }
            }
            ended => {
                unfinished.cancel = None;
                return outcome(ended, &reply);
            }
        }
    }
}

/// Returns the outcome of a task that does not run any more; `status` is JSON text.
fn outcome(status: Option<&str>, reply: &Reply) -> Result<Reply, Failure> {
    let [result, error] = reply.result.fields(["result", "error"]).unwrap_or_default();
    let failed = |message: String| Failure::after_send(FailureKind::Protocol, message);
    match (status, result, error) {
        (Some("\"completed\""), Some(result), _) => Ok(Reply { result: reply.result.slice_of(result.get().as_bytes()), ..reply.clone() }),
        (Some("\"completed\""), None, _) => Err(failed("the task is completed, but has no result".to_owned())),
        (Some("\"failed\""), _, error) => {
            let [code, message, data] =
                error.and_then(|error| body::fields(error.get().as_bytes(), ["code", "message", "data"])).unwrap_or_default();
            let text =
                message.and_then(|message| bounds::json_text(message.get(), bounds::ERROR_TEXT)).unwrap_or_else(|| describe(&reply.result));
            let rpc = code.and_then(|code| code.get().parse().ok()).map(|code| RpcError {
                code,
                message: text.clone(),
                data: data.map(|data| Body::from(data.get())),
            });
            Err(Failure { rpc, ..failed(format!("the task failed: {text}")) }.bounded())
        }
        (Some("\"cancelled\""), ..) => Err(failed(format!("the server cancelled the task ({})", describe(&reply.result)))),
        (Some(other), ..) => Err(failed(format!("the task has the state {}, which is unknown", bounds::cut(other, 100)))),
        (None, ..) => Err(failed("the task has no state".to_owned())),
    }
}

/// Returns the progress of a task after the `polls`th poll, with its state as the message.
fn poll_progress(polls: f64, state: &Body) -> Body {
    Body::json(&serde_json::json!({"progress": polls, "message": describe(state)}))
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
