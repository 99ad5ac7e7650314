//! Messages on their way to the other end: what a transport has to send, and the requests of this end.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::oneshot;

use super::Connection;
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind, Reply},
        frame::FrameKind,
        id::CallId,
        time::Stamp,
    },
    protocol::{meta::Meta, wire},
};

/// The notification that cancels a request.
pub const CANCELLED: &str = "notifications/cancelled";

/// Observes one request of this end.
pub trait Observer: Send + Sync {
    /// The last byte of the request was handed to the operating system.
    fn sent(&self, at: Stamp, bytes: u64);
    /// The other end reported progress; `params` of the notification as received.
    fn progress(&self, params: &Body);
    /// Returns why the request was cancelled, for the other end.
    fn reason(&self) -> String;
    /// A response arrived after the request was cancelled.
    fn late(&self, at: Stamp);
}

/// A message for a transport to send.
#[derive(Clone)]
pub struct Outgoing {
    /// The message.
    pub body: Body,
    /// Its kind.
    pub kind: FrameKind,
    /// The method of the message, or of the request that it responds to.
    pub method: Option<Arc<str>>,
    /// The id of a request. A transport with a queue calls [`Connection::begin`] before it writes the request.
    pub id: Option<u64>,
    /// The call that the message belongs to.
    pub call: Option<CallId>,
    /// The observer of a request.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Outgoing {
    /// Wraps a response to a request of a method; `None` if the request could not be read.
    pub fn response(body: Body, method: Option<Arc<str>>) -> Outgoing {
        Outgoing { body, kind: FrameKind::Response, method, id: None, call: None, observer: None }
    }

    /// Makes a notification.
    pub fn notification(method: &str, params: &Body, call: Option<CallId>) -> Outgoing {
        let body = wire::notification(method, params, &Meta::default());
        Outgoing { body, kind: FrameKind::Notification, method: Some(method.into()), id: None, call, observer: None }
    }

    /// Returns the JSON-RPC id as JSON text, if this is a request.
    pub fn rpc_id(&self) -> Option<Arc<str>> {
        self.id.map(|id| id.to_string().into())
    }
}

/// Where a transport takes the messages of this end from.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Sends a message, or queues it; waits while the queue is full. Fails if nothing can be sent any more.
    async fn send(&self, message: Outgoing) -> Result<(), Failure>;

    /// Queues the cancellation of a request without waiting. Called where a future is dropped, also outside of the runtime.
    fn cancel(&self, notification: Outgoing);

    /// Queues a notification without waiting, if the queue has room for it. Returns whether it had.
    fn offer(&self, notification: Outgoing) -> bool {
        self.cancel(notification);
        true
    }
}

/// When a dropped request is cancelled by notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelRule {
    /// Always: the transport sends requests immediately.
    Always,
    /// Only if the transport has begun to write it ([`Connection::begin`]). Before, it is dropped from the queue.
    IfWritten,
}

/// A registered request. Dropping it before the response cancels it.
pub struct Ticket {
    connection: Arc<Connection>,
    /// Its id.
    pub id: u64,
    answer: oneshot::Receiver<Result<Reply, Failure>>,
    cancel: Option<(Arc<dyn Outbox>, CancelRule)>,
    observer: Arc<dyn Observer>,
}

impl Ticket {
    pub(super) fn new(
        connection: Arc<Connection>,
        id: u64,
        answer: oneshot::Receiver<Result<Reply, Failure>>,
        observer: Arc<dyn Observer>,
    ) -> Ticket {
        Ticket { connection, id, answer, cancel: None, observer }
    }

    /// Sends a cancellation through `outbox` when the ticket is dropped.
    pub fn cancel_through(&mut self, outbox: Arc<dyn Outbox>, rule: CancelRule) {
        self.cancel = Some((outbox, rule));
    }

    /// Waits for the response.
    pub async fn wait(mut self) -> Result<Reply, Failure> {
        let answer = (&mut self.answer).await;
        self.cancel = None;
        answer.unwrap_or_else(|_| Err(Failure::after_send(FailureKind::Transport, "the connection was closed")))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(slot) = self.connection.end(self.id, false) else { return };
        if let Some((outbox, rule)) = self.cancel.take()
            && (rule == CancelRule::Always || slot.written > 0)
        {
            let params = Body::json(&json!({"requestId": self.id, "reason": self.observer.reason()}));
            outbox.cancel(Outgoing::notification(CANCELLED, &params, slot.call));
        }
        if let Some(call) = slot.call {
            self.connection.incoming.withdraw(call);
        }
    }
}

impl Connection {
    /// Returns a new request id.
    pub fn fresh_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request through a queue and waits for the response. `message` gets the id and returns the text of the request.
    /// Dropping the future cancels the request, except `initialize`, which cannot be cancelled (MCP 2025-11-25,
    /// basic/utilities/cancellation), and `server/discover`: a legacy server that it is a probe of may know neither.
    pub async fn request(
        self: &Arc<Self>,
        method: &str,
        call: Option<CallId>,
        observer: Arc<dyn Observer>,
        outbox: &Arc<dyn Outbox>,
        message: impl FnOnce(u64) -> Body,
    ) -> Result<Reply, Failure> {
        let (id, method) = (self.fresh_id(), Arc::<str>::from(method));
        let body = message(id);
        let mut ticket = self.register(id, &method, call, body.len() as u64, observer.clone())?;
        if !matches!(&*method, "initialize" | "server/discover") {
            ticket.cancel_through(outbox.clone(), CancelRule::IfWritten);
        }
        let (kind, observer) = (FrameKind::Request, Some(observer));
        outbox.send(Outgoing { body, kind, method: Some(method), id: Some(id), call, observer }).await?;
        ticket.wait().await
    }
}
