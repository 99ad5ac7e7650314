//! Frames: messages and noise on the wire, byte for byte, with metadata.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    body::Body,
    bounds,
    id::{CallId, ServerId},
    time::Stamp,
};

/// A message, or a piece of noise, that crossed the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Order within the engine.
    pub seq: u64,
    /// Time when its last byte was read or handed to the system.
    pub at: Stamp,
    /// The server.
    pub server: ServerId,
    /// The direction.
    pub direction: Direction,
    /// The kind.
    pub kind: FrameKind,
    /// The exact bytes, without the line end that frames a stdio message. If `cut` is set, the first
    /// [`bounds::FRAME`] of them, or [`bounds::CALL_FRAME`] for a call's request or response.
    pub body: Body,
    /// Total size of the body, if `body` is only its beginning.
    #[serde(default)]
    pub cut: Option<u64>,
    /// Number of bytes that crossed the wire.
    pub size: u64,
    /// The call that the frame belongs to.
    pub call: Option<CallId>,
    /// The JSON-RPC method of the message, or of the request that it responds to.
    pub method: Option<Arc<str>>,
    /// The JSON-RPC id as JSON text (`7`, `"abc"`).
    pub rpc_id: Option<Arc<str>>,
    /// HTTP method or status, and headers; secrets masked.
    pub http: Option<Arc<HttpNote>>,
}

impl Frame {
    /// Returns the number of body bytes stored for such a frame.
    pub fn limit(direction: Direction, kind: FrameKind, call: Option<CallId>, rpc_id: Option<&str>) -> usize {
        // Our ids are short. A response with a longer id belongs to no call.
        let ours = call.is_some() && rpc_id.is_some_and(|id| id.len() <= OUR_ID);
        match (direction, kind) {
            (Direction::Out, FrameKind::Request) | (Direction::In, FrameKind::Response) if ours => bounds::CALL_FRAME,
            _ => bounds::FRAME,
        }
    }

    /// Returns the memory of the frame in bytes. It may share its headers with the frame `before`.
    pub fn weight(&self, before: Option<&Frame>) -> usize {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let headers = |frame: &Frame| frame.http.as_ref().map(|http| Arc::as_ptr(&http.headers));
        let shared = before.is_some_and(|before| headers(before) == headers(self));
        let http = self.http.as_ref().map_or(0, |http| {
            let own = if shared { 0 } else { http.headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum() };
            size_of::<HttpNote>() + http.line.len() + text(&http.event_id) + own
        });
        FRAME_OVERHEAD + self.body.len() + text(&self.method) + text(&self.rpc_id) + http
    }
}

/// Maximum length of one of our ids: a number, possibly quoted by a server.
const OUR_ID: usize = 22;

/// Overhead of a frame besides its texts: the frame, its event, and the allocator.
const FRAME_OVERHEAD: usize = size_of::<Frame>() + 128;

/// The direction of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From us to the server.
    Out,
    /// From the server to us.
    In,
}

impl Direction {
    /// Returns `→` for out, `←` for in.
    pub fn arrow(self) -> char {
        match self {
            Direction::Out => '→',
            Direction::In => '←',
        }
    }
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameKind {
    /// A JSON-RPC request.
    Request,
    /// A JSON-RPC result or error.
    Response,
    /// A JSON-RPC notification.
    Notification,
    /// HTTP without a JSON-RPC message: GET, DELETE, 202, an error page.
    Http,
    /// Not a JSON-RPC message.
    Noise,
}

/// A frame as reported by a connection.
#[derive(Clone, Debug)]
pub struct FrameDraft {
    /// When its last byte crossed the wire.
    pub at: Stamp,
    /// The direction.
    pub direction: Direction,
    /// The kind of message.
    pub kind: FrameKind,
    /// The body.
    pub body: Body,
    /// Bytes that crossed the wire.
    pub size: u64,
    /// The call that the frame belongs to.
    pub call: Option<CallId>,
    /// The method of the message, or of the request that it responds to.
    pub method: Option<Arc<str>>,
    /// The JSON-RPC id.
    pub rpc_id: Option<Arc<str>>,
    /// The HTTP metadata.
    pub http: Option<Arc<HttpNote>>,
}

/// The HTTP side of a frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpNote {
    /// Request method and path, or status line.
    pub line: String,
    /// Headers in order, secret values masked, at most [`bounds::HEADERS`]. Shared by all events of a stream.
    pub headers: Arc<Vec<(String, String)>>,
    /// `id` of the SSE event that carried the message, at most [`bounds::ID`].
    pub event_id: Option<Arc<str>>,
}

/// A protocol violation of a server: counted in its row, displayed with its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// The kind of violation.
    pub kind: AnomalyKind,
    /// Details for users.
    pub detail: String,
    /// The call that failed because of it, if known.
    pub call: Option<CallId>,
    /// The frame with its bytes, if any.
    pub frame: Option<u64>,
}

impl Anomaly {
    /// Returns the approximate size in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Anomaly>() + self.detail.len()
    }
}

/// Kinds of protocol violations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyKind {
    /// A line on stdout that is not a JSON-RPC message and names no pending request.
    Noise,
    /// Bytes that are not UTF-8; repaired.
    BadUtf8,
    /// JSON that does not parse (`NaN`, cut off …).
    BadJson,
    /// JSON that is not a JSON-RPC message.
    NotRpc,
    /// A batch array, which the negotiated version does not support.
    Batch,
    /// A message above the size limit.
    TooLarge,
    /// A response to an unknown id.
    UnknownId,
    /// A second response to the same id.
    Duplicate,
    /// A response after the call had ended.
    Late,
    /// An unfinished line.
    Partial,
    /// Broken framing of an HTTP response or event stream.
    BadHttp,
    /// A list that never ends, repeats its cursor or is too long.
    Pagination,
    /// A tool, resource or prompt that cannot be used as listed.
    BadListing,
    /// A flood of requests from the server; some were rejected, and faster ones were not answered.
    Flood,
    /// A result that does not match its method or the negotiated protocol version.
    BadResult,
    /// An id, method, name or question that exceeds its size limit.
    Oversize,
    /// A response to a server request that the server did not read in time.
    Unread,
    /// A request of a server in a version in which servers send none (2026-07-28).
    ForbiddenRequest,
    /// A notification of a subscription that does not name it, or names another one.
    Uncorrelated,
    /// A request of a server that belongs to no call, so that its client cannot be asked.
    Unattributed,
}

impl AnomalyKind {
    /// Returns the name for users.
    pub fn words(self) -> &'static str {
        match self {
            AnomalyKind::Noise => "noise on stdout",
            AnomalyKind::BadUtf8 => "invalid UTF-8",
            AnomalyKind::BadJson => "invalid JSON",
            AnomalyKind::NotRpc => "not a JSON-RPC message",
            AnomalyKind::Batch => "batch array",
            AnomalyKind::TooLarge => "message over the limit",
            AnomalyKind::UnknownId => "answer to an unknown id",
            AnomalyKind::Duplicate => "second answer",
            AnomalyKind::Late => "late answer",
            AnomalyKind::Partial => "unfinished line",
            AnomalyKind::BadHttp => "broken HTTP answer",
            AnomalyKind::Pagination => "endless list",
            AnomalyKind::BadListing => "unusable entry in a list",
            AnomalyKind::Flood => "too many requests from the server",
            AnomalyKind::BadResult => "unexpected result",
            AnomalyKind::Oversize => "oversized field",
            AnomalyKind::Unread => "answer not taken",
            AnomalyKind::ForbiddenRequest => "request of the server, which its version forbids",
            AnomalyKind::Uncorrelated => "notification without its subscription",
            AnomalyKind::Unattributed => "request of the server outside of a call",
        }
    }
}
