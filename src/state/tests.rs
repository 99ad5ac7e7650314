//! Tests that the read model is bounded in bytes, whatever servers send.

use std::sync::Arc;

use crate::domain::{
    body::Body,
    bounds,
    call::{CallSpec, Failure, FailureKind, Origin, Outcome, RpcError, Timings},
    event::{Event, EventKind, LogLevel, LogMessage, LogSource, Settled},
    frame::{Anomaly, AnomalyKind, Direction, Frame, FrameKind, HttpNote},
    id::{CallId, ServerId, ToolId},
    server::{ServerSpec, Transport},
    time::{Epoch, Stamp},
};
use crate::{domain::retention::Retention, state::ConsoleState};

struct Story {
    read_model: ConsoleState,
    server: ServerId,
}

impl Story {
    fn new() -> Story {
        let mut story = Story { read_model: ConsoleState::new(Epoch::default(), "_", Retention::default()), server: "s".into() };
        let launch = Transport::Http { url: "http://x/mcp".into(), headers: vec![], socket: None };
        story.take(EventKind::ServerAdded { spec: Arc::new(ServerSpec::new("s", launch)) });
        story
    }

    fn take(&mut self, kind: EventKind) {
        let seq = self.read_model.seq + 1;
        self.read_model.apply(&Event { seq, at: Stamp(seq), kind });
    }

    fn frame(&mut self, body: usize, method: Option<usize>, http: Option<HttpNote>) {
        let (seq, server) = (self.read_model.seq, self.server.clone());
        let (body, method, http) = (Body::new(vec![b'x'; body]), method.map(|n| "m".repeat(n).into()), http.map(Arc::new));
        let (direction, kind) = (Direction::In, FrameKind::Notification);
        let frame =
            Frame { seq, at: Stamp(seq), server, direction, kind, body, cut: None, size: 0, call: None, method, rpc_id: None, http };
        self.take(EventKind::Frame { frame: Arc::new(frame) });
    }

    fn fail(&mut self, id: u64, failure: Failure) {
        let tool = ToolId::new(self.server.clone(), "t");
        self.take(EventKind::CallQueued { call: CallId(id), spec: Arc::new(CallSpec::tool(tool, "{}", Origin::Console)) });
        let at = Stamp(self.read_model.seq);
        let timings = Timings { queued: at, sent: None, first_byte: None, last_byte: None, settled: at };
        let outcome = Outcome::Failed { failure: Arc::new(failure) };
        let settled = Settled { outcome, timings, rounds: 1, sent_bytes: 0, received_bytes: 0, attempts: 1, by: None, cached: None };
        self.take(EventKind::CallSettled { call: CallId(id), settled: Arc::new(settled) });
    }
}

#[test]
fn frames_are_weighed_with_headers_ids_and_methods() {
    let mut story = Story::new();
    for _ in 0..100 {
        story.frame(10, Some(1_000_000), None);
    }
    assert_eq!(story.read_model.frames.len(), Retention::default().frame_bytes / 1_000_500, "methods count");
    let mut story = Story::new();
    let id = Some("i".repeat(100_000).into());
    for _ in 0..1000 {
        story.frame(10, None, Some(HttpNote { event_id: id.clone(), ..HttpNote::default() }));
    }
    assert!(story.read_model.frames.len() < 168 && story.read_model.frame_bytes <= Retention::default().frame_bytes, "event ids count");
    let headers = |n: usize| Arc::new(vec![("x".to_owned(), "h".repeat(n))]);
    let (mut shared, mut own) = (Story::new(), Story::new());
    let same = headers(10_000);
    for _ in 0..5_000 {
        shared.frame(10, None, Some(HttpNote { headers: same.clone(), ..HttpNote::default() }));
        own.frame(10, None, Some(HttpNote { headers: headers(10_000), ..HttpNote::default() }));
    }
    assert_eq!(shared.read_model.frames.len(), 5_000, "headers of one stream count once");
    assert!(own.read_model.frames.len() < 1_700, "{}", own.read_model.frames.len());
    for _ in 0..30_000 {
        own.frame(0, None, None);
    }
    assert!(own.read_model.frames.len() <= 20_000 && own.read_model.frame_bytes <= Retention::default().frame_bytes);
}

#[test]
fn logs_and_anomalies_are_bounded_in_bytes() {
    let mut story = Story::new();
    for n in 0..600 {
        let server = story.server.clone();
        let log = LogMessage {
            level: LogLevel::Info,
            source: LogSource::Message,
            logger: None,
            text: format!("{n} {}", "x".repeat(bounds::LOG_TEXT)),
            call: None,
        };
        story.take(EventKind::ServerLog { server: server.clone(), log: Arc::new(log) });
        let anomaly = Anomaly { kind: AnomalyKind::Noise, detail: "x".repeat(10_000), call: None, frame: None };
        story.take(EventKind::ServerAnomaly { server, anomaly: Arc::new(anomaly) });
    }
    let view = &story.read_model.servers[0];
    let logs: usize = view.logs.iter().map(|(_, log)| log.weight()).sum();
    let anomalies: usize = view.anomalies.iter().map(|(_, anomaly)| anomaly.weight()).sum();
    assert_eq!((logs, anomalies), (view.log_bytes, view.anomaly_bytes));
    assert!(logs <= bounds::LOG_BYTES && anomalies <= bounds::LOG_BYTES, "{logs} {anomalies}");
    assert!(view.logs.back().unwrap().1.text.starts_with("599 ") && view.anomaly_total() == 600);
}

#[test]
fn failures_of_many_calls_keep_their_kinds_and_few_keep_their_texts() {
    let mut story = Story::new();
    let text = "no room left ".repeat(20_000);
    for id in 1..=2_000 {
        let rpc = RpcError { code: -32000, message: text.clone(), data: Some(Body::from(text.as_str())) };
        let failure = Failure { rpc: Some(rpc), may_have_run: true, ..Failure::new(FailureKind::Protocol, text.clone()) };
        story.fail(id, failure.bounded());
    }
    let weights = story.read_model.calls.iter().map(|call| call.settled.as_ref().unwrap().weight());
    let all: usize = weights.sum();
    assert!(all < bounds::FAILURES + 2_000 * 1_500, "{all}");
    for id in [1, 2_000] {
        let settled = story.read_model.call(CallId(id)).unwrap().settled.clone().unwrap();
        let Outcome::Failed { failure } = &settled.outcome else { panic!() };
        let rpc = failure.rpc.as_ref().unwrap();
        assert_eq!((failure.kind, failure.may_have_run, rpc.code), (FailureKind::Protocol, true, -32000));
        assert!(failure.message.starts_with("no room left") && failure.message.contains("(cut, "), "{}", failure.message);
        assert_eq!(rpc.data.is_some(), id == 2_000);
        assert!(rpc.data.as_ref().is_none_or(|data| data.len() <= bounds::ERROR_DATA + 100));
    }
}
