//! The desk of a client: the direction from servers to the client. Progress gets the token of the client, requests of the server an
//! id of the gateway's connection.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::{client::Client, failure, park::Question};
use crate::{
    domain::{
        body::Body,
        call::{Failure, RpcError},
        event::LogLevel,
        time::Stamp,
    },
    engine::passage::Desk,
    protocol::{
        connection::{Observer, Outbox, Outgoing, PROGRESS},
        meta::{Meta, PROGRESS_TOKEN},
        splice, wire,
    },
};

/// The notification with a log message.
pub const MESSAGE: &str = "notifications/message";

/// The desk of one request of a client.
pub struct RequestDesk {
    client: Arc<Client>,
    /// Takes the questions to a client that takes no requests.
    asked: Option<mpsc::Sender<Question>>,
    /// The least severe log messages that the client wants.
    level: Option<LogLevel>,
    state: Mutex<State>,
}

struct State {
    /// Where messages that belong to the request go.
    outbox: Arc<dyn Outbox>,
    /// The progress token of the client, JSON text.
    token: Option<Body>,
    /// The largest progress sent.
    progress: Option<f64>,
    /// The request is answered: nothing may follow.
    closed: bool,
}

impl RequestDesk {
    /// Creates the desk of a request with the progress token `token`, if it has one.
    pub fn new(
        client: Arc<Client>,
        outbox: Arc<dyn Outbox>,
        asked: Option<mpsc::Sender<Question>>,
        token: Option<Body>,
        level: Option<LogLevel>,
    ) -> RequestDesk {
        RequestDesk { client, asked, level, state: Mutex::new(State { outbox, token, progress: None, closed: false }) }
    }

    /// Continues the direction for another request of the client, which continues the call.
    pub fn move_to(&self, outbox: Arc<dyn Outbox>, token: Option<Body>) {
        *self.state.lock() = State { outbox, token, progress: None, closed: false };
    }

    /// Ends the direction: the answer is sent next, and clients close connections on which progress follows it.
    pub fn close(&self) {
        self.state.lock().closed = true;
    }
}

#[async_trait]
impl Desk for RequestDesk {
    fn progress(&self, params: &Body) {
        let Some([Some(progress)]) = params.fields(["progress"]) else { return };
        let Ok(progress) = progress.get().parse::<f64>() else { return };
        let mut state = self.state.lock();
        let Some(token) = state.token.clone() else { return };
        // Progress increases (MCP 2025-11-25, basic/utilities/progress); a second attempt begins from the start.
        if state.closed || state.progress.is_some_and(|last| progress <= last) {
            return;
        }
        let params = splice::set(params, PROGRESS_TOKEN, token.bytes());
        // Under the lock, so that the answer follows. Without room for it, progress is dropped.
        if state.outbox.offer(Outgoing::notification(PROGRESS, &params, None)) {
            state.progress = Some(progress);
        }
    }

    fn message(&self, params: &Body) {
        let state = self.state.lock();
        if !state.closed && wanted(self.level.as_ref(), params) {
            state.outbox.offer(Outgoing::notification(MESSAGE, params, None));
        }
    }

    async fn ask(&self, method: &str, params: Body) -> Result<Body, RpcError> {
        let Some(asked) = &self.asked else {
            let outbox = self.state.lock().outbox.clone();
            return ask(&self.client, method, params, &outbox).await;
        };
        let (answer, answered) = oneshot::channel();
        let gone = || failure::error(failure::INTERNAL, "the client is not connected any more");
        asked.send(Question { method: method.to_owned(), params, answer }).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// The desk of a legacy client outside of its requests.
pub struct ConnectionDesk(pub Arc<Client>);

#[async_trait]
impl Desk for ConnectionDesk {
    // Progress belongs to a request.
    fn progress(&self, _: &Body) {}

    fn message(&self, params: &Body) {
        if wanted(Some(&self.0.least_level()), params) {
            self.0.notify(MESSAGE, params);
        }
    }

    async fn ask(&self, method: &str, params: Body) -> Result<Body, RpcError> {
        let stream = self
            .0
            .asking_stream()
            .ok_or_else(|| failure::error(failure::METHOD_NOT_FOUND, "the client has no open stream for requests"))?;
        ask(&self.0, method, params, &stream).await
    }
}

/// Sends a request to a client and returns its response.
async fn ask(client: &Client, method: &str, params: Body, outbox: &Arc<dyn Outbox>) -> Result<Body, RpcError> {
    let gone = || failure::error(failure::INTERNAL, "the client is not connected any more");
    let connection = client.connection().ok_or_else(gone)?;
    let message = |id| wire::request(id, method, &params, &Meta::default());
    let reply = connection.request(method, None, Arc::new(Asking), outbox, message).await;
    reply.map(|reply| reply.result).map_err(|failure: Failure| failure.rpc.unwrap_or_else(gone))
}

/// Observes a request to a client.
struct Asking;

impl Observer for Asking {
    fn sent(&self, _: Stamp, _: u64) {}

    fn progress(&self, _: &Body) {}

    fn reason(&self) -> String {
        "the server withdrew the request".into()
    }

    fn late(&self, _: Stamp) {}
}

/// Returns whether a log message is at least as severe as a client wants. Without a level it gets none; an unknown level passes.
pub fn wanted(level: Option<&LogLevel>, params: &Body) -> bool {
    let Some(least) = level.and_then(LogLevel::severity) else { return level.is_some() };
    let [word] = params.fields(["level"]).unwrap_or_default();
    let word = word.and_then(|word| serde_json::from_str::<String>(word.get()).ok());
    word.is_none_or(|word| LogLevel::from(word).severity().is_none_or(|severity| severity >= least))
}
