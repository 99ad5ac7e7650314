//! Parked calls: calls of modern clients whose legacy server asks something. The server expects an answer while the call runs, but a
//! modern client takes no requests; so its own request ends with `input_required`, the call stays open, and the client's next request
//! continues it (MCP 2026-07-28, basic/patterns/mrtr).

use std::{
    collections::HashMap,
    sync::{Arc, Weak, atomic::AtomicBool},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    Gateway,
    desk::RequestDesk,
    failure::{self, INTERNAL, invalid},
    random,
};
use crate::domain::{
    body::{self, Body},
    call::{Operation, RpcError},
    client::Principal,
    event::Settled,
    id::ServerId,
    raw_object::RawObject,
};

/// Maximum number of parked calls, in all and of one principal.
const PARKED: usize = 64;
const PARKED_OF_ONE: usize = 16;
/// How long a client may take to answer.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long further questions are waited for, so that several are one round.
const TOGETHER: Duration = Duration::from_millis(20);
/// The beginning of the state of a parked call, which distinguishes it from that of a server.
pub const STATE: &str = "switchboard:parked:";

/// A question of a server to a client that takes no requests.
pub struct Question {
    /// The method.
    pub method: String,
    /// The params as received.
    pub params: Body,
    /// Takes the answer.
    pub answer: oneshot::Sender<Result<Body, RpcError>>,
}

/// A call in progress, which is cancelled when it is dropped before it has settled.
pub struct Running {
    /// The server that it was sent to.
    pub server: ServerId,
    /// The operation.
    pub operation: Operation,
    /// The desk of its client.
    pub desk: Arc<RequestDesk>,
    /// What the server asks meanwhile.
    pub questions: mpsc::Receiver<Question>,
    /// Whether the client polls the end of the call as a task.
    pub as_task: Arc<AtomicBool>,
    cancel: Option<Box<dyn FnOnce() + Send + Sync>>,
    settled: Option<BoxFuture<'static, Option<Arc<Settled>>>>,
}

/// What happens first in a call.
pub enum Next {
    /// It settled; `None` if the engine has ended.
    Settled(Option<Arc<Settled>>),
    /// Its server asks.
    Asks(Vec<Question>),
}

impl Running {
    /// Wraps a call that was started.
    pub fn new(
        cancel: Box<dyn FnOnce() + Send + Sync>,
        settled: BoxFuture<'static, Option<Arc<Settled>>>,
        operation: Operation,
        desk: Arc<RequestDesk>,
        questions: mpsc::Receiver<Question>,
    ) -> Running {
        let (server, as_task) = (operation.server().clone(), Arc::default());
        Running { server, operation, desk, questions, as_task, cancel: Some(cancel), settled: Some(settled) }
    }

    /// Sets the flag that tells the work behind the call that it is a task now.
    pub fn with_task_switch(self, as_task: Arc<AtomicBool>) -> Running {
        let mut running = self;
        running.as_task = as_task;
        running
    }

    /// Waits until the call settles or its server asks. Dropping the future changes nothing.
    pub async fn next(&mut self) -> Next {
        let Some(settled) = &mut self.settled else { return Next::Settled(None) };
        let first = tokio::select! {
            biased;
            settled = settled => {
                self.settled = None;
                return Next::Settled(settled);
            }
            Some(question) = self.questions.recv() => question,
        };
        // The call continues while its client is asked, so it needs a task of its own.
        self.settled = self.settled.take().map(|settled| {
            let task = tokio::spawn(settled);
            async move { task.await.ok().flatten() }.boxed()
        });
        let mut asked = vec![first];
        while let Ok(Some(question)) = timeout(TOGETHER, self.questions.recv()).await {
            asked.push(question);
        }
        Next::Asks(asked)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take().filter(|_| self.settled.is_some()) {
            cancel();
        }
    }
}

/// A call that waits for its client.
struct Parked {
    running: Running,
    principal: Principal,
    /// Takes the answers, by the keys of the questions.
    answers: Vec<(String, oneshot::Sender<Result<Body, RpcError>>)>,
}

/// The parked calls of a gateway.
#[derive(Default)]
pub struct Parking(Mutex<HashMap<String, Parked>>);

impl Gateway {
    /// Parks a call. Returns the result that asks the client; an error if there are too many parked calls.
    pub(super) fn park(&self, running: Running, principal: Principal, questions: Vec<Question>) -> Result<Body, RpcError> {
        let ticket = random::id().map_err(|_| invalid("no random numbers"))?;
        let mut requests = RawObject::default();
        let mut answers = vec![];
        for (number, question) in (1..).zip(questions) {
            let (key, mut request) = (format!("q{number}"), RawObject::default().with("method", Body::json(&question.method)));
            if !question.params.is_empty() {
                request.set("params", question.params);
            }
            requests.set(key.clone(), request.to_body());
            answers.push((key, question.answer));
        }
        let mut parked = self.parking.0.lock();
        if parked.len() >= PARKED || parked.values().filter(|other| other.principal == principal).count() >= PARKED_OF_ONE {
            // Dropping the call cancels it.
            return Err(failure::error(INTERNAL, "too many calls wait for answers of their clients"));
        }
        running.desk.close();
        parked.insert(ticket.clone(), Parked { running, principal, answers });
        drop(parked);
        tokio::spawn(expire(self.me.clone(), ticket.clone()));
        let result = RawObject::default()
            .with("resultType", Body::from("\"input_required\""))
            .with("inputRequests", requests.to_body())
            .with("requestState", Body::json(&format!("{STATE}{ticket}")));
        Ok(result.to_body())
    }

    /// Returns the parked call that a request continues, with its questions answered; `None` if the request continues none. A call
    /// continues once, and only with the request of its client that began it.
    pub(super) fn unpark(&self, principal: &Principal, operation: &Operation, extra: &Body) -> Result<Option<Running>, RpcError> {
        let [state, responses] = extra.fields(["requestState", "inputResponses"]).unwrap_or_default();
        let state = state.and_then(|state| serde_json::from_str::<String>(state.get()).ok());
        let Some(ticket) = state.as_deref().and_then(|state| state.strip_prefix(STATE)) else { return Ok(None) };
        // Never started again: it may have run.
        let unknown = || invalid("requestState is not known here any more; start the call again");
        let responses = responses.map(|responses| responses.get().as_bytes()).unwrap_or_default();
        let mut parked = self.parking.0.lock();
        let fits = |parked: &Parked| parked.principal == *principal && is_same(&parked.running.operation, operation);
        if !parked.get(ticket).is_some_and(fits) {
            return Err(unknown());
        }
        let Parked { running, answers, .. } = parked.remove(ticket).ok_or_else(unknown)?;
        drop(parked);
        for (key, answer) in answers {
            let [response] = body::fields(responses, [key.as_str()]).unwrap_or_default();
            let response = response.filter(|response| response.get().starts_with('{')).map(|response| Body::from(response.get()));
            // The server may have withdrawn the question.
            let _ = answer.send(response.ok_or_else(|| invalid("the client did not answer")));
        }
        Ok(Some(running))
    }
}

/// Cancels a parked call whose client does not come back.
async fn expire(gateway: Weak<Gateway>, ticket: String) {
    sleep(PATIENCE).await;
    if let Some(gateway) = gateway.upgrade() {
        let expired = gateway.parking.0.lock().remove(&ticket);
        drop(expired);
    }
}

/// Returns whether two operations are the same, whatever the order of members and the white space of their arguments.
fn is_same(one: &Operation, other: &Operation) -> bool {
    match (one, other) {
        (Operation::Tool { tool: a, arguments: x }, Operation::Tool { tool: b, arguments: y }) => a == b && x.value() == y.value(),
        (Operation::Prompt { server: a, name: m, arguments: x }, Operation::Prompt { server: b, name: n, arguments: y }) => {
            (a, m) == (b, n) && x.value() == y.value()
        }
        (one, other) => one == other,
    }
}
