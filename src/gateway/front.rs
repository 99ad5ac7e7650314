//! The gateway's end of the connection to one client: answers its requests through the router.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    Gateway,
    client::Client,
    era,
    failure::{self, INVALID_REQUEST},
    request::Request,
};
use crate::{
    domain::{
        body::Body,
        call::RpcError,
        frame::{Anomaly, AnomalyKind, FrameDraft},
        id::Attribution,
        server::Era,
    },
    protocol::{
        connection::{Connection, Decision, Handler, Incoming, Limits, Remote},
        wire::{Bad, PARSE_ERROR},
    },
};

/// Open requests of one client; further ones are refused.
const REQUESTS: usize = 256;
/// Bytes of `params` that the open requests of one client hold.
const REQUEST_BYTES: usize = 64 << 20;
/// How long a client may take to accept a response: it may be suspended.
const PATIENCE: Duration = Duration::from_secs(600);
/// Maximum size of a message of a client, in bytes.
pub const MESSAGE_BYTES: usize = 16 << 20;
/// What a request holds in addition to its params, in bytes.
const REQUEST_OVERHEAD: usize = 1 << 10;

/// The handler of the connection to a client.
pub struct Front {
    gateway: Arc<Gateway>,
    client: Arc<Client>,
    frames: AtomicU64,
}

impl Front {
    /// Creates the gateway's end of the connection to `client`.
    pub fn connect(gateway: &Arc<Gateway>, client: &Arc<Client>) -> Arc<Connection> {
        let front = Arc::new(Front { gateway: gateway.clone(), client: client.clone(), frames: AtomicU64::new(1) });
        let limits = Limits {
            message_bytes: MESSAGE_BYTES,
            incoming: REQUESTS,
            incoming_bytes: REQUEST_BYTES,
            patience: PATIENCE,
            ..Limits::default()
        };
        let connection = Connection::new(Remote::Client, limits, front);
        client.connect(&connection);
        connection
    }

    /// Returns the error response to input that is not a message.
    pub fn parse_error(bad: &Bad) -> RpcError {
        match bad.kind {
            AnomalyKind::NotRpc => failure::error(INVALID_REQUEST, "not a JSON-RPC 2.0 message"),
            _ => failure::error(PARSE_ERROR, "not valid JSON"),
        }
    }
}

impl Handler for Front {
    fn frame(&self, _: FrameDraft) -> u64 {
        self.frames.fetch_add(1, Ordering::Relaxed)
    }

    fn anomaly(&self, anomaly: Anomaly) {
        tracing::info!(target: "switchboard::gateway", client = %self.client.id, kind = anomaly.kind.words(), "the client violated the protocol");
    }

    fn notification(&self, method: &str, _: &Body, _: Attribution) {
        if method == "notifications/initialized" {
            self.client.set_initialized();
        }
    }

    fn request(&self, incoming: &Incoming<'_>) -> Decision {
        let request = match Request::read(&self.client, incoming) {
            Ok(request) => request,
            Err(error) => return Decision::Answer(Err(error)),
        };
        // A legacy client describes itself in `initialize`.
        if request.era == Era::Modern {
            self.gateway.describe_client(&self.client, request.era, era::MODERN, &request.face.client_info);
        }
        let weight = request.params.len() + REQUEST_OVERHEAD;
        let gateway = self.gateway.clone();
        let call_ended = Err(failure::error(failure::INTERNAL, "the request was cancelled"));
        Decision::Run { answer: Box::pin(async move { gateway.answer(request).await }), weight, call_ended }
    }

    fn malformed(&self, bad: &Bad) -> Option<RpcError> {
        Some(Front::parse_error(bad))
    }
}
