//! Tasks of the gateway: calls of exposed workflows that last, for clients that poll them (the tasks extension, SEP-2663).

use std::{
    collections::HashMap,
    sync::{Weak, atomic::Ordering},
    time::Duration,
};

use chrono::{DateTime, SecondsFormat};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Gateway,
    failure::{self, INTERNAL, invalid},
    park::{Next, Question, Running},
    random,
    request::Request,
};
use crate::domain::{
    body::{self, Body},
    call::{Outcome, RpcError},
    capabilities::TASKS,
    client::Principal,
    raw_object::RawObject,
    server::Era,
};

/// How long the client waits for the response before it gets a task.
pub const TASK_AFTER: Duration = Duration::from_secs(10);
/// How long a task can be polled after it began.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How often a client should poll.
const POLL_MS: u64 = 1000;
/// Maximum number of tasks of one principal, and of all.
const TASKS_OF_ONE: usize = 64;
const ALL_TASKS: usize = 256;

/// Returns whether a client polls tasks.
pub fn takes_tasks(request: &Request) -> bool {
    let extensions = || match request.face.capabilities.fields(["extensions"]) {
        Some([Some(extensions)]) => body::fields(extensions.get().as_bytes(), [TASKS]),
        _ => None,
    };
    request.era == Era::Modern && matches!(extensions(), Some([Some(_)]))
}

/// The tasks by their ids.
#[derive(Default)]
pub struct Tasks(Mutex<HashMap<String, Task>>);

struct Task {
    principal: Principal,
    created_ms: u64,
    updated_ms: u64,
    state: State,
    /// Takes the answers, by the keys of the questions.
    answers: Vec<(String, oneshot::Sender<Result<Body, RpcError>>)>,
    cancelled: CancellationToken,
}

enum State {
    Working,
    /// The questions, an object as in `inputRequests`.
    Asks(Body),
    Completed(Body),
    Failed(RpcError),
    Cancelled,
}

impl State {
    fn word(&self) -> &'static str {
        match self {
            State::Working => "working",
            State::Asks(_) => "input_required",
            State::Completed(_) => "completed",
            State::Failed(_) => "failed",
            State::Cancelled => "cancelled",
        }
    }
}

fn unknown() -> RpcError {
    invalid("the task is unknown here: it has expired, or belongs to another client")
}

impl Gateway {
    /// Makes a task of a call in progress. Returns the result of its request.
    pub(super) fn begin_task(&self, running: Running, principal: Principal) -> Result<Body, RpcError> {
        let id = random::id().map_err(|_| failure::error(INTERNAL, "no random numbers"))?;
        let now_ms = self.upstream.unix_ms();
        let cancelled = CancellationToken::new();
        let mut tasks = self.tasks.0.lock();
        if tasks.len() >= ALL_TASKS || tasks.values().filter(|task| task.principal == principal).count() >= TASKS_OF_ONE {
            // Dropping the call cancels it.
            return Err(failure::error(INTERNAL, "too many tasks are not finished"));
        }
        running.as_task.store(true, Ordering::Relaxed);
        // No response follows to which progress could belong.
        running.desk.close();
        let (state, answers) = (State::Working, vec![]);
        let task = Task { principal, created_ms: now_ms, updated_ms: now_ms, state, answers, cancelled: cancelled.clone() };
        let result = json_of(&id, &task);
        tasks.insert(id.clone(), task);
        drop(tasks);
        tokio::spawn(follow(self.me.clone(), id, running, cancelled));
        Ok(Body::json(&merged(result, json!({"resultType": "task"}))))
    }

    /// `tasks/get`.
    pub(super) fn get_task(&self, request: &Request) -> Result<Body, RpcError> {
        let id = request.text("taskId")?;
        let tasks = self.tasks.0.lock();
        let task = tasks.get(&id).filter(|task| task.principal == request.client.principal).ok_or_else(unknown)?;
        let state = RawObject::parse(&Body::json(&json_of(&id, task))).unwrap_or_default();
        let state = match &task.state {
            State::Asks(questions) => state.with("inputRequests", questions.clone()),
            State::Completed(result) => state.with("result", result.clone()),
            State::Failed(error) => state.with("error", Body::json(error)),
            State::Working | State::Cancelled => state,
        };
        Ok(state.to_body())
    }

    /// `tasks/update`: the answers to the questions of a task.
    pub(super) fn update_task(&self, request: &Request) -> Result<Body, RpcError> {
        let id = request.text("taskId")?;
        let [responses] = request.members(["inputResponses"]);
        let responses = responses.unwrap_or_default();
        let mut tasks = self.tasks.0.lock();
        let task = tasks.get_mut(&id).filter(|task| task.principal == request.client.principal).ok_or_else(unknown)?;
        let mut open = vec![];
        for (key, answer) in task.answers.drain(..) {
            let [response] = responses.fields([key.as_str()]).unwrap_or_default();
            match response.filter(|response| response.get().starts_with('{')) {
                Some(response) => _ = answer.send(Ok(Body::from(response.get()))),
                None => open.push((key, answer)),
            }
        }
        task.answers = open;
        task.updated_ms = self.upstream.unix_ms();
        if task.answers.is_empty() && matches!(task.state, State::Asks(_)) {
            task.state = State::Working;
        }
        Ok(Body::from("{}"))
    }

    /// `tasks/cancel`.
    pub(super) fn cancel_task(&self, request: &Request) -> Result<Body, RpcError> {
        let id = request.text("taskId")?;
        let tasks = self.tasks.0.lock();
        let task = tasks.get(&id).filter(|task| task.principal == request.client.principal).ok_or_else(unknown)?;
        task.cancelled.cancel();
        Ok(Body::from("{}"))
    }

    fn set_task(&self, id: &str, state: State, answers: Vec<(String, oneshot::Sender<Result<Body, RpcError>>)>) {
        if let Some(task) = self.tasks.0.lock().get_mut(id) {
            (task.state, task.answers, task.updated_ms) = (state, answers, self.upstream.unix_ms());
        }
    }

    fn ask_of_task(&self, id: &str, questions: Vec<Question>) {
        let (mut requests, mut answers) = (RawObject::default(), vec![]);
        // Keys of one task differ, so that a client answers each once.
        let round = self.upstream.unix_ms();
        for (number, question) in (1..).zip(questions) {
            let (key, mut request) = (format!("q{round}-{number}"), RawObject::default().with("method", Body::json(&question.method)));
            if !question.params.is_empty() {
                request.set("params", question.params);
            }
            requests.set(key.clone(), request.to_body());
            answers.push((key, question.answer));
        }
        self.set_task(id, State::Asks(requests.to_body()), answers);
    }
}

/// Follows the call of a task to its end, and forgets the task after its lifetime.
async fn follow(gateway: Weak<Gateway>, id: String, mut running: Running, cancelled: CancellationToken) {
    let lifetime = sleep(LIFETIME);
    tokio::pin!(lifetime);
    let state = loop {
        let next = tokio::select! {
            biased;
            next = running.next() => next,
            () = cancelled.cancelled() => break State::Cancelled,
            () = &mut lifetime => break State::Cancelled,
        };
        match next {
            Next::Asks(questions) => match gateway.upgrade() {
                Some(gateway) => gateway.ask_of_task(&id, questions),
                None => return,
            },
            Next::Settled(Some(settled)) => match &settled.outcome {
                Outcome::Ok { result } => break State::Completed(result.clone()),
                _ => break State::Failed(failure::error(INTERNAL, "the run ended without a result")),
            },
            Next::Settled(None) => break State::Failed(failure::error(INTERNAL, "the gateway is stopping")),
        }
    };
    // A cancelled call ends with this.
    drop(running);
    if let Some(gateway) = gateway.upgrade() {
        gateway.set_task(&id, state, vec![]);
    }
    lifetime.await;
    if let Some(gateway) = gateway.upgrade() {
        gateway.tasks.0.lock().remove(&id);
    }
}

/// Returns the members that describe a task.
fn json_of(id: &str, task: &Task) -> Value {
    let time = |unix_ms: u64| {
        let at = i64::try_from(unix_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
        at.to_rfc3339_opts(SecondsFormat::Millis, true)
    };
    json!({
        "taskId": id,
        "status": task.state.word(),
        "createdAt": time(task.created_ms),
        "lastUpdatedAt": time(task.updated_ms),
        "ttlMs": u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX),
        "pollIntervalMs": POLL_MS,
    })
}

fn merged(mut value: Value, other: Value) -> Value {
    if let (Value::Object(value), Value::Object(other)) = (&mut value, other) {
        value.extend(other);
    }
    value
}
