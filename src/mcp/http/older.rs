//! The HTTP+SSE transport of 2024-11-05: one event stream for all messages of the server, and a POST for each message to it.
//!
//! Used when a server speaks no Streamable HTTP (MCP 2026-07-28, Streamable HTTP, "HTTP+SSE Transport"). Configured headers go
//! with every request; the endpoint that the server names must be of the same origin, so that credentials go nowhere else.

use std::{sync::Arc, time::Duration};

use reqwest::{Response, Url};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{
    HttpLink,
    answer::{is_stream, note_of, read_body},
    streams::StreamEnd,
};
use crate::{
    domain::{
        body::Body,
        bounds,
        call::{Failure, FailureKind},
        frame::{Anomaly, AnomalyKind},
        id::CallId,
        server::{ConnectFailure, Step},
    },
    protocol::{connection::Arrival, sse},
};

/// How long the server may take to name its endpoint: it is the first event of the stream.
const ENDPOINT: Duration = Duration::from_secs(3);

impl HttpLink {
    /// Opens the event stream and uses the transport from now on, if the server names an endpoint. Returns whether it did.
    pub(super) async fn switch_to_sse(self: Arc<Self>) -> bool {
        if self.sse_endpoint.get().is_some() {
            return true;
        }
        let opening = async {
            let response = self.get_stream(None).await.ok().filter(is_stream)?;
            let mut parser = sse::Parser::new(self.spec.limits.message_bytes);
            let (endpoint, response, rest) = self.read_endpoint(response, &mut parser).await?;
            Some((endpoint, response, parser, rest))
        };
        let Some((endpoint, response, parser, rest)) = timeout(ENDPOINT, opening).await.ok().flatten() else { return false };
        if self.sse_endpoint.set(endpoint).is_err() {
            return true;
        }
        let link = Arc::downgrade(&self);
        let task = tokio::spawn(async move {
            if let Some(link) = link.upgrade() {
                link.read_older(response, parser, rest).await;
            }
        });
        *self.listener.lock() = Some(AbortOnDropHandle::new(task));
        true
    }

    /// Reads the stream up to its `endpoint` event. Returns the events that came with it.
    async fn read_endpoint(&self, mut response: Response, parser: &mut sse::Parser) -> Option<(Url, Response, Vec<sse::Event>)> {
        loop {
            let chunk = response.chunk().await.ok()??;
            let mut events = vec![];
            parser.feed(&chunk, self.handler.now(), |event| events.push(event)).ok()?;
            if events.is_empty() {
                continue;
            }
            let first = events.remove(0);
            if first.kind.as_deref() != Some("endpoint") || first.data.len() > bounds::LINE {
                return None;
            }
            let named = String::from_utf8(first.data).ok()?;
            let endpoint = response.url().join(named.trim()).ok()?;
            if endpoint.origin() != self.url.origin() {
                let detail = format!("the endpoint of the event stream is at another origin, {}: not used", origin_of(&endpoint));
                self.handler.anomaly(Anomaly { kind: AnomalyKind::BadHttp, detail, call: None, frame: None });
                return None;
            }
            return Some((endpoint, response, events));
        }
    }

    /// Reads the messages of the server until the stream ends, which ends the connection.
    async fn read_older(self: Arc<Self>, response: Response, mut parser: sse::Parser, rest: Vec<sse::Event>) {
        let head = note_of(&response);
        for event in rest.into_iter().filter(|event| !event.data.is_empty()) {
            let arrival = Arrival { first: event.first, last: event.first, size: event.size, http: Some(head.clone()), call: None };
            self.connection.take_in(Body::new(event.data), arrival, &self.outbox).await;
        }
        let why = match self.read_stream(response, &mut parser, None, &mut false).await {
            StreamEnd::Ended => "the server ended the event stream".to_owned(),
            StreamEnd::Broken(why) => format!("the event stream broke: {why}"),
            StreamEnd::TooLong => "a message on the event stream is over the limit".to_owned(),
        };
        let mut reason = ConnectFailure::new(Step::Run, why.clone());
        reason.hints.push("check that no proxy closes idle connections; the server may also offer Streamable HTTP".into());
        self.ending.end(reason);
        self.connection.close(&Failure::after_send(FailureKind::Transport, why));
    }

    /// Records the acknowledgement of a message. Some servers answer with the message itself; it is taken in like one of the
    /// stream.
    pub(super) async fn acknowledged(&self, response: Response, call: Option<CallId>) {
        let (first, note) = (self.handler.now(), note_of(&response));
        let Ok((body, false)) = read_body(response, self.spec.limits.message_bytes).await else { return };
        if body.bytes().trim_ascii_start().starts_with(b"{") {
            let arrival = Arrival { first, last: self.handler.now(), size: body.len() as u64, http: Some(note), call };
            self.connection.take_in(body, arrival, &self.outbox).await;
        }
    }
}

fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}
