//! The lifecycle recorder: passes the handshake and the list requests of connections to the history, each with its response.
//!
//! Owned by the connection handlers, which observe the frames.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::{
    bus::Bus,
    ports::{FrameDraft, History, SettledCall},
};
use crate::domain::{
    body::Body,
    bounds,
    call::{CallSpec, Failure, FailureKind, Operation, Origin, Outcome, RpcError, Timings},
    event::Settled,
    frame::{Direction, FrameKind},
    id::{CallId, InstanceId, ServerId},
    server::Step,
    time::Stamp,
};

/// Requests of a connection that wait for their responses; further ones are not recorded. A connection sends one list request of
/// each kind at a time.
const WAITING: usize = 16;

/// The methods that are recorded.
const METHODS: [&str; 6] = ["initialize", "server/discover", "tools/list", "resources/list", "resources/templates/list", "prompts/list"];

/// Where the requests of connections are recorded.
#[derive(Clone)]
pub struct LifecycleRecorder {
    history: Arc<dyn History>,
    /// The run of the engine.
    instance: InstanceId,
    /// Counts the requests, which have ids like calls.
    count: Arc<AtomicU64>,
}

impl LifecycleRecorder {
    /// Creates a recorder for an engine.
    pub fn new(history: Arc<dyn History>, instance: InstanceId) -> LifecycleRecorder {
        LifecycleRecorder { history, instance, count: Arc::default() }
    }
}

/// A request without a response.
struct Waiting {
    id: Arc<str>,
    method: Arc<str>,
    params: Body,
    at: Stamp,
    bytes: u64,
}

/// The end of a request.
struct End {
    at: Stamp,
    bytes: u64,
    outcome: Outcome,
}

/// The requests of one connection on their way to the history.
pub struct Lifecycle {
    recorder: LifecycleRecorder,
    server: ServerId,
    waiting: Mutex<Vec<Waiting>>,
}

impl Lifecycle {
    /// Creates the state of a connection.
    pub fn new(recorder: LifecycleRecorder, server: ServerId) -> Lifecycle {
        Lifecycle { recorder, server, waiting: Mutex::default() }
    }

    /// Observes a frame, masked and cut to its limit.
    pub fn observe(&self, frame: &FrameDraft, step: Step, bus: &Bus) {
        let (None, Some(id), Some(method)) = (frame.call, &frame.rpc_id, &frame.method) else { return };
        // The modern era has no ping: a discovery while the server is in use is a health check.
        if !METHODS.contains(&&**method) || step == Step::Run && &**method == "server/discover" {
            return;
        }
        match (frame.direction, frame.kind) {
            (Direction::Out, FrameKind::Request) => {
                let [params] = frame.body.fields(["params"]).unwrap_or_default();
                let params = params.map_or_else(Body::default, |params| Body::from(params.get()));
                let request = Waiting { id: id.clone(), method: method.clone(), params, at: frame.at, bytes: frame.size };
                let mut waiting = self.waiting.lock();
                waiting.retain(|other| other.id != *id);
                if waiting.len() < WAITING {
                    waiting.push(request);
                }
            }
            (Direction::In, FrameKind::Response) => {
                let request = {
                    let mut waiting = self.waiting.lock();
                    let place = waiting.iter().position(|request| request.id == *id && request.method == *method);
                    place.map(|place| waiting.remove(place))
                };
                if let Some(request) = request {
                    self.record(request, End { at: frame.at, bytes: frame.size, outcome: outcome(&frame.body) }, bus);
                }
            }
            _ => {}
        }
    }

    /// Records the requests whose connection ended before their responses.
    pub fn abandon(&self, bus: &Bus) {
        let abandoned = std::mem::take(&mut *self.waiting.lock());
        for request in abandoned {
            let failure = Failure::after_send(FailureKind::Transport, "the connection ended before the response");
            let end = End { at: request.at, bytes: 0, outcome: Outcome::Failed { failure: failure.into() } };
            self.record(request, end, bus);
        }
    }

    fn record(&self, request: Waiting, end: End, bus: &Bus) {
        let Waiting { method, params, at, bytes, .. } = request;
        let unix_ms = bus.epoch().unix_ms(at);
        let operation = Operation::Raw { server: self.server.clone(), method: method.to_string(), params };
        let settled = Settled {
            outcome: end.outcome,
            timings: Timings { queued: at, sent: Some(at), first_byte: None, last_byte: Some(end.at), settled: end.at.max(at) },
            rounds: 1,
            sent_bytes: bytes,
            received_bytes: end.bytes,
            attempts: 1,
            by: None,
            cached: None,
        };
        self.recorder.history.record_lifecycle(SettledCall {
            instance: self.recorder.instance,
            call: CallId::from_parts(unix_ms, self.recorder.count.fetch_add(1, Ordering::Relaxed)),
            unix_ms,
            name: method.to_string(),
            // The engine makes the request, on behalf of nobody.
            spec: CallSpec::new(operation, Origin::Console).into(),
            settled: settled.into(),
            secrets: bus.secrets().clone(),
        });
    }
}

/// Returns the outcome that a response says. A response that was cut has no result here.
fn outcome(body: &Body) -> Outcome {
    let [result, error] = body.fields(["result", "error"]).unwrap_or_default();
    match error {
        Some(error) => Outcome::Failed { failure: failure(error).into() },
        None => Outcome::Ok { result: result.map_or_else(Body::default, |result| Body::from(result.get())) },
    }
}

fn failure(error: &RawValue) -> Failure {
    #[derive(serde::Deserialize)]
    struct Error {
        code: i64,
        message: String,
    }
    let failed = |message: &str| Failure::after_send(FailureKind::Protocol, bounds::cut(message, bounds::ERROR_TEXT));
    match serde_json::from_str::<Error>(error.get()) {
        Ok(Error { code, message }) => Failure { rpc: Some(RpcError { code, message: message.clone(), data: None }), ..failed(&message) },
        Err(_) => failed(error.get()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::time::Epoch, engine::bus::Discard};

    #[derive(Default)]
    struct Recorded(Mutex<Vec<SettledCall>>);

    impl History for Recorded {
        fn record(&self, _: SettledCall) {}

        fn record_lifecycle(&self, request: SettledCall) {
            self.0.lock().push(request);
        }
    }

    fn frame(direction: Direction, ms: u64, (id, method): (&str, &str), body: &str) -> FrameDraft {
        let kind = if direction == Direction::Out { FrameKind::Request } else { FrameKind::Response };
        FrameDraft {
            at: Stamp(ms * 1_000_000),
            direction,
            kind,
            body: Body::from(body),
            size: body.len() as u64,
            call: None,
            method: Some(method.into()),
            rpc_id: Some(id.into()),
            http: None,
        }
    }

    #[tokio::test]
    async fn a_request_is_recorded_with_its_response_and_the_time_between() {
        let bus = Bus::new(Epoch { unix_ms: 1_000, utc_offset_s: 0 }, Arc::new(Discard));
        let history = Arc::new(Recorded::default());
        let lifecycle = Lifecycle::new(LifecycleRecorder::new(history.clone(), InstanceId(7)), "db".into());
        let sent =
            |ms, id: &str, method: &str, body: &str| lifecycle.observe(&frame(Direction::Out, ms, (id, method), body), Step::List, &bus);
        let came =
            |ms, id: &str, method: &str, body: &str| lifecycle.observe(&frame(Direction::In, ms, (id, method), body), Step::List, &bus);
        sent(5, "1", "initialize", r#"{"id":1,"method":"initialize","params":{"a":1.50}}"#);
        sent(6, "2", "tools/list", r#"{"id":2,"method":"tools/list"}"#);
        sent(7, "3", "ping", r#"{"id":3,"method":"ping"}"#);
        came(10, "3", "ping", r#"{"id":3,"result":{}}"#);
        came(16, "2", "tools/list", r#"{"id":2,"error":{"code":-32601,"message":"no tools"}}"#);
        came(25, "1", "initialize", r#"{"id":1,"result":{"x":[ 1 ]}}"#);
        came(26, "1", "initialize", r#"{"id":1,"result":{"again":true}}"#);
        sent(30, "4", "prompts/list", "{}");
        lifecycle.abandon(&bus);
        came(31, "4", "prompts/list", "{}");
        // A health check.
        lifecycle.observe(&frame(Direction::Out, 40, ("5", "server/discover"), "{}"), Step::Run, &bus);
        lifecycle.abandon(&bus);
        let recorded = history.0.lock();
        let facts: Vec<_> = recorded
            .iter()
            .map(|request| (&*request.name, request.unix_ms, request.settled.timings.total().as_millis(), request.settled.outcome.words()))
            .collect();
        assert_eq!(
            facts,
            [("tools/list", 1_006, 10, "protocol"), ("initialize", 1_005, 20, "ok"), ("prompts/list", 1_030, 0, "transport")]
        );
        let initialize = &recorded[1];
        assert_eq!(initialize.settled.outcome.result().unwrap().text(), r#"{"x":[ 1 ]}"#);
        assert!(matches!(&initialize.spec.operation, Operation::Raw { params, .. } if params.text() == r#"{"a":1.50}"#));
        assert!(matches!(&recorded[0].settled.outcome, Outcome::Failed { failure } if failure.rpc.as_ref().unwrap().code == -32601));
        assert_eq!((initialize.instance, initialize.call), (InstanceId(7), CallId::from_parts(1_005, 1)));
    }

    #[tokio::test]
    async fn a_server_that_answers_nothing_takes_no_memory() {
        let bus = Bus::new(Epoch::default(), Arc::new(Discard));
        let lifecycle = Lifecycle::new(LifecycleRecorder::new(Arc::new(Recorded::default()), InstanceId(7)), "db".into());
        for id in 0..1_000 {
            lifecycle.observe(&frame(Direction::Out, id, (&id.to_string(), "tools/list"), "{}"), Step::List, &bus);
        }
        assert_eq!(lifecycle.waiting.lock().len(), WAITING);
    }
}
