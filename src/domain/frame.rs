//! Frames: what crossed the wire, byte for byte, with what is known of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    body::Body,
    bounds,
    id::{CallId, ServerId},
    time::Stamp,
};

/// One message, or piece of noise, that crossed the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Order within the engine.
    pub seq: u64,
    /// When its last byte was read or handed to the system.
    pub at: Stamp,
    /// The server at the other end.
    pub server: ServerId,
    /// Which way it went.
    pub direction: Direction,
    /// What it is.
    pub kind: FrameKind,
    /// The exact bytes, without the line end that frames a stdio message. The first [`bounds::FRAME`] of them, or
    /// [`bounds::CALL_FRAME`] of a call's request or answer, where `cut` says so.
    pub body: Body,
    /// How many bytes the body has in all, when `body` is only its front.
    #[serde(default)]
    pub cut: Option<u64>,
    /// The number of bytes that crossed the wire for it.
    pub size: u64,
    /// The call that it belongs to.
    pub call: Option<CallId>,
    /// The JSON-RPC method, where it has one or answers one.
    pub method: Option<Arc<str>>,
    /// The JSON-RPC id as JSON text (`7`, `"abc"`).
    pub rpc_id: Option<Arc<str>>,
    /// HTTP method or status and headers, secrets masked.
    pub http: Option<Arc<HttpNote>>,
}

impl Frame {
    /// The most bytes that are stored of the body of such a frame.
    pub fn limit(direction: Direction, kind: FrameKind, call: Option<CallId>, rpc_id: Option<&str>) -> usize {
        // Ids of ours are short. An answer with another id answers no call.
        let ours = call.is_some() && rpc_id.is_some_and(|id| id.len() <= OUR_ID);
        match (direction, kind) {
            (Direction::Out, FrameKind::Request) | (Direction::In, FrameKind::Response) if ours => bounds::CALL_FRAME,
            _ => bounds::FRAME,
        }
    }

    /// The bytes of memory that the frame takes. The frame `before` it may share its headers.
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

/// Longest text of an id of ours: a number, in quotes where a server makes a string of it.
const OUR_ID: usize = 22;

/// What a frame takes in addition to its texts: itself, the event that brought it, and what the allocator adds.
const FRAME_OVERHEAD: usize = size_of::<Frame>() + 128;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From us to the server.
    Out,
    /// From the server to us.
    In,
}

impl Direction {
    /// `→` out, `←` in.
    pub fn arrow(self) -> char {
        match self {
            Direction::Out => '→',
            Direction::In => '←',
        }
    }
}

/// What a frame is.
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
    /// Something that is no JSON-RPC message.
    Noise,
}

/// The HTTP side of a frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpNote {
    /// Request method and path, or status line.
    pub line: String,
    /// Headers in order, values of secrets masked, at most [`bounds::HEADERS`] of them. Shared by all events of a stream.
    pub headers: Arc<Vec<(String, String)>>,
    /// `id` of the SSE event that carried it, at most [`bounds::ID`] of it.
    pub event_id: Option<Arc<str>>,
}

/// Something a server did against the protocol: counted on its row, visible with its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// What kind of thing.
    pub kind: AnomalyKind,
    /// What exactly, for people.
    pub detail: String,
    /// The call that it was pinned on and failed, if one could be told.
    pub call: Option<CallId>,
    /// The frame with its bytes, if there is one.
    pub frame: Option<u64>,
}

impl Anomaly {
    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        size_of::<Anomaly>() + self.detail.len()
    }
}

/// Kinds of protocol faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyKind {
    /// A line on stdout that is no JSON.
    Noise,
    /// Bytes that are no UTF-8; repaired.
    BadUtf8,
    /// JSON that does not parse (`NaN`, cut off …).
    BadJson,
    /// JSON that is no JSON-RPC message.
    NotRpc,
    /// A batch array, which the negotiated version does not know.
    Batch,
    /// A message longer than the limit.
    TooLarge,
    /// An answer to an id that was never asked.
    UnknownId,
    /// A second answer to the same id.
    Duplicate,
    /// An answer after the call had ended.
    Late,
    /// A line that was never finished.
    Partial,
    /// Broken framing of an HTTP answer or event stream.
    BadHttp,
    /// A list that never ends, repeats its cursor or is too long.
    Pagination,
    /// A tool, resource or prompt that cannot be used as listed.
    BadListing,
    /// A flood of requests from the server; the rest was refused, and what came faster than that was not answered.
    Flood,
    /// A result that does not fit its method or the negotiated protocol version.
    BadResult,
    /// An id, a method, a name or a question that is longer than any use of it.
    Oversize,
    /// An answer to a request of the server that the server did not take in time.
    Unread,
}

impl AnomalyKind {
    /// The words for people.
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
        }
    }
}
