//! A link: carries JSON-RPC to one server and back. Stdio and HTTP implement it; sessions use it.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        body::Body,
        call::Failure,
        server::{ConnectFailure, Era, Exit, Step},
        time::Stamp,
    },
    engine::ports::{ProgressRequest, Reply, Request, RequestObserver},
    protocol::meta::{self, Meta},
};

/// Carries JSON-RPC to one server and back.
#[async_trait]
pub trait Link: Send + Sync {
    /// Sends a request whose `params._meta` gets the members of `meta` (see [`request_meta`]), and waits for the response.
    /// Dropping the future cancels the request.
    async fn request(&self, request: Request, meta: &Meta, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure>;
    /// Sends a notification.
    async fn notify(&self, method: &str, params: Body) -> Result<(), Failure>;
    /// Called when the era and the version are agreed on.
    fn agreed(self: Arc<Self>, era: Era, version: &str);
    /// Called when the handshake is done: the server accepted `notifications/initialized`, if the era has it.
    fn opened(self: Arc<Self>) {}
    /// Waits until the server can send requests of its own, for a limited time. To be called before each request that it may ask
    /// something about: servers drop a question if the stream for it is not open yet.
    async fn ready_for_calls(&self) {}
    /// Returns whether anything was received from the server.
    fn heard(&self) -> bool {
        true
    }
    /// Switches to the HTTP+SSE transport of 2024-11-05, if the server speaks it. Returns whether it does.
    async fn older_transport(&self) -> bool {
        false
    }
    /// Returns whether the HTTP+SSE transport is used.
    fn is_older_transport(&self) -> bool {
        false
    }
    /// Treats the connection as lost.
    fn abandon(&self, _reason: ConnectFailure) {}
    /// The process id, if it has one.
    fn pid(&self) -> Option<u32>;
    /// Resolves when the connection is lost.
    async fn closed(&self) -> Arc<ConnectFailure>;
    /// Shuts the connection down.
    async fn close(&self) -> Exit;
}

/// The observer of the engine's own requests; holds the reason of a cancellation.
pub struct Quiet(pub &'static str);

impl RequestObserver for Quiet {
    fn sent(&self, _: Stamp, _: u64) {}
    fn progress(&self, _: &Body) {}
    fn reason(&self) -> String {
        self.0.to_owned()
    }
}

/// The end of a connection: who waits for it, and the reason once known.
pub struct Ending {
    reason: Mutex<Option<Arc<ConnectFailure>>>,
    over: CancellationToken,
}

impl Ending {
    /// Creates the state of an open connection.
    pub fn new() -> Ending {
        Ending { reason: Mutex::new(None), over: CancellationToken::new() }
    }

    /// Records that the connection is lost. The first reason counts.
    pub fn end(&self, reason: ConnectFailure) {
        self.reason.lock().get_or_insert_with(|| Arc::new(reason));
        self.over.cancel();
    }

    /// Resolves when the connection is lost.
    pub async fn wait(&self) -> Arc<ConnectFailure> {
        self.over.cancelled().await;
        let reason = self.reason.lock().clone();
        reason.unwrap_or_else(|| Arc::new(ConnectFailure::new(Step::Run, "the connection ended")))
    }

    /// Returns whether the connection is lost.
    pub fn over(&self) -> bool {
        self.over.is_cancelled()
    }
}

/// Returns the `_meta` of one request: a progress token if it belongs to a call, the members of the session, and those of the
/// request that neither has.
pub fn request_meta(request: &Request, session: &Meta, id: u64) -> Meta {
    let mut all = Meta::default();
    if request.call.is_some() && request.progress == ProgressRequest::Asked {
        all.set(meta::PROGRESS_TOKEN, Body::json(&id));
    }
    let all = all.or(session.clone());
    match request.meta.is_empty() {
        true => all,
        false => all.or(Meta::parse(&request.meta).unwrap_or_default()),
    }
}
