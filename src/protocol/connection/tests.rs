//! Both ends of a connection, joined in memory.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::*;
use crate::protocol::meta::{self, Meta};

/// A handler that knows a few methods, and records what it observes.
#[derive(Default)]
struct Recorder {
    anomalies: Mutex<Vec<AnomalyKind>>,
    notifications: Mutex<Vec<String>>,
    outbox: OnceLock<Arc<dyn Outbox>>,
    /// Requests whose future is running.
    running: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for Recorder {
    fn frame(&self, _: FrameDraft) -> u64 {
        0
    }

    fn anomaly(&self, anomaly: Anomaly) {
        self.anomalies.lock().push(anomaly.kind);
    }

    fn notification(&self, method: &str, params: &Body, _: Attribution) {
        self.notifications.lock().push(format!("{method} {}", params.text()));
    }

    fn request(&self, request: &Incoming<'_>) -> Decision {
        let params = request.params.detached();
        let call_ended = Err(RpcError { code: -1, message: "the call ended".into(), data: None });
        let answer: Answering = match request.method {
            "echo" => return Decision::Answer(Ok(params)),
            "wait" => {
                self.running.fetch_add(1, Ordering::SeqCst);
                let running = Running(self.running.clone());
                Box::pin(async move {
                    let _running = running;
                    std::future::pending().await
                })
            }
            "report" => {
                let outbox = self.outbox.get().unwrap().clone();
                Box::pin(async move {
                    let [meta] = params.fields(["_meta"]).unwrap();
                    let token =
                        Meta::parse(&Body::from(meta.unwrap().get())).unwrap().get(meta::PROGRESS_TOKEN).unwrap().text().into_owned();
                    for step in 1..=3 {
                        let progress = Body::from(format!(r#"{{"progressToken":{token},"progress":{step}.50,"vendor":{{"n":1.0}}}}"#));
                        outbox.send(Outgoing::notification(PROGRESS, &progress, None)).await.unwrap();
                    }
                    Ok(Body::from("{}"))
                })
            }
            _ => return Decision::MethodNotFound,
        };
        Decision::Run { answer, weight: 100, call_ended }
    }
}

/// Records the progress of a request.
#[derive(Default)]
struct Progressing {
    progress: Mutex<Vec<String>>,
    late: AtomicUsize,
}

impl Observer for Progressing {
    fn sent(&self, _: Stamp, _: u64) {}

    fn progress(&self, params: &Body) {
        self.progress.lock().push(params.text().into_owned());
    }

    fn reason(&self) -> String {
        "enough".into()
    }

    fn late(&self, _: Stamp) {
        self.late.fetch_add(1, Ordering::SeqCst);
    }
}

struct Queue(mpsc::Sender<Outgoing>);

#[async_trait]
impl Outbox for Queue {
    async fn send(&self, message: Outgoing) -> Result<(), Failure> {
        self.0.send(message).await.map_err(|_| Failure::new(FailureKind::Transport, "closed"))
    }

    fn cancel(&self, notification: Outgoing) {
        self.0.try_send(notification).unwrap();
    }
}

/// One end.
struct End {
    connection: Arc<Connection>,
    handler: Arc<Recorder>,
    outbox: Arc<dyn Outbox>,
}

impl End {
    async fn request(&self, method: &str, params: &str) -> Result<Reply, Failure> {
        self.observed(method, params, Arc::default()).await
    }

    async fn observed(&self, method: &str, params: &str, observer: Arc<Progressing>) -> Result<Reply, Failure> {
        let message = |id: u64| {
            let meta = Meta::default().with(meta::PROGRESS_TOKEN, Body::json(&id));
            wire::request(id, method, &Body::from(params), &meta)
        };
        self.connection.request(method, None, observer, &self.outbox, message).await
    }

    async fn runs(&self, count: usize) {
        while self.handler.running.load(Ordering::SeqCst) != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Creates two ends that receive what the other sends.
fn joined(limits: Limits) -> [End; 2] {
    let (to_server, at_server) = mpsc::channel(256);
    let (to_client, at_client) = mpsc::channel(256);
    let end = |remote, queue| {
        let handler = Arc::new(Recorder::default());
        let outbox: Arc<dyn Outbox> = Arc::new(Queue(queue));
        assert!(handler.outbox.set(outbox.clone()).is_ok());
        End { connection: Connection::new(remote, limits, handler.clone()), handler, outbox }
    };
    let (client, server) = (end(Remote::Server, to_server), end(Remote::Client, to_client));
    for (from, to, mut queue) in [(&client, &server, at_server), (&server, &client, at_client)] {
        let (from, to, outbox) = (from.connection.clone(), to.connection.clone(), to.outbox.clone());
        tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                if message.id.is_none_or(|id| from.begin(id, || {})) {
                    to.incoming(message.body, &Arrival::default(), &outbox);
                }
            }
        });
    }
    [client, server]
}

fn code(answer: Result<Reply, Failure>) -> Option<i64> {
    answer.unwrap_err().rpc.map(|rpc| rpc.code)
}

#[tokio::test]
async fn requests_run_in_both_directions_at_the_same_time_and_keep_their_bytes() {
    let [client, server] = joined(Limits::default());
    let texts: Vec<String> = (0..50).map(|n| format!(r#"{{"n":{n}.50,"vendor":12345678901234567890123}}"#)).collect();
    let at_client = join_all(texts.iter().map(|text| client.request("echo", text)));
    let at_server = join_all(texts.iter().map(|text| server.request("echo", text)));
    let (one, two) = tokio::join!(at_client, at_server);
    for answers in [one, two] {
        for (n, (text, answer)) in texts.iter().zip(answers).enumerate() {
            let expected = format!(r#"{},"_meta":{{"progressToken":{}}}}}"#, text.trim_end_matches('}'), n + 1);
            assert_eq!(answer.unwrap().result.text(), expected);
        }
    }
    assert!(client.handler.anomalies.lock().is_empty() && server.handler.anomalies.lock().is_empty());
}

#[tokio::test]
async fn a_dropped_request_is_cancelled_at_the_other_end_and_gets_no_response() {
    let [client, server] = joined(Limits::default());
    for (from, to) in [(&client, &server), (&server, &client)] {
        tokio::select! {
            answer = from.request("wait", "{}") => panic!("{answer:?}"),
            () = to.runs(1) => {}
        }
        to.runs(0).await;
        // Responses are sent in order: if there were one to the cancelled request, it would arrive before this one.
        from.request("echo", "{}").await.unwrap();
        assert_eq!(*from.handler.anomalies.lock(), []);
        assert!(from.connection.idle());
    }
}

#[tokio::test]
async fn progress_reaches_the_request_that_it_belongs_to_as_it_was_sent() {
    let [client, server] = joined(Limits::default());
    let observers: [Arc<Progressing>; 2] = Default::default();
    let (one, two) =
        tokio::join!(client.observed("report", "{}", observers[0].clone()), server.observed("report", "{}", observers[1].clone()));
    assert!(one.is_ok() && two.is_ok());
    let expected: Vec<String> = (1..=3).map(|step| format!(r#"{{"progressToken":1,"progress":{step}.50,"vendor":{{"n":1.0}}}}"#)).collect();
    assert!(observers.iter().all(|observer| *observer.progress.lock() == expected));
    assert!(client.handler.notifications.lock().is_empty() && server.handler.notifications.lock().is_empty());
}

#[tokio::test]
async fn an_unknown_method_is_an_error_and_an_unknown_notification_is_passed_on() {
    let [client, server] = joined(Limits::default());
    for (from, to) in [(&client, &server), (&server, &client)] {
        assert_eq!(code(from.request("vendor/unknown", "{}").await), Some(-32601));
        from.outbox.send(Outgoing::notification("vendor/x", &Body::from(r#"{"n":1.0}"#), None)).await.unwrap();
        from.request("echo", "{}").await.unwrap();
        assert_eq!(*to.handler.notifications.lock(), [r#"vendor/x {"n":1.0}"#]);
    }
}

#[tokio::test]
async fn open_requests_are_limited_at_both_ends() {
    let open = 5;
    let [client, server] = joined(Limits { requests: open + 1, incoming: open, ..Limits::default() });
    for (from, to) in [(&client, &server), (&server, &client)] {
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..open {
            let (connection, outbox) = (from.connection.clone(), from.outbox.clone());
            waiting.spawn(async move {
                let message = |id| wire::request(id, "wait", &Body::default(), &Meta::default());
                connection.request("wait", None, Arc::new(Progressing::default()), &outbox, message).await
            });
        }
        to.runs(open).await;
        assert_eq!(code(from.request("wait", "{}").await), Some(-32603));
        assert_eq!(*to.handler.anomalies.lock(), [AnomalyKind::Flood]);
        // The other limit: one more may be pending here.
        let held = from.connection.register(1000, "wait", None, 0, Arc::new(Progressing::default())).unwrap();
        let refused = from.request("wait", "{}").await.unwrap_err();
        assert_eq!((refused.kind, refused.may_have_run), (FailureKind::Overloaded, false));
        drop((held, waiting));
        to.runs(0).await;
        assert_eq!(to.connection.free_permits(), (open, REFUSALS));
    }
}

#[tokio::test]
async fn a_closed_connection_fails_all_requests_and_drops_those_of_the_other_end() {
    let [client, server] = joined(Limits::default());
    let gone = Failure::after_send(FailureKind::Transport, "gone");
    let close = async {
        server.runs(2).await;
        client.connection.close(&gone);
        server.connection.close(&gone);
    };
    let (one, two, ()) = tokio::join!(client.request("wait", "{}"), client.request("wait", "{}"), close);
    for failure in [one.unwrap_err(), two.unwrap_err()] {
        assert_eq!((&*failure.message, failure.may_have_run), ("gone", true));
    }
    server.runs(0).await;
    let later = client.request("echo", "{}").await.unwrap_err();
    assert_eq!((&*later.message, later.may_have_run), ("gone", false));
}

#[tokio::test]
async fn a_response_after_the_cancellation_is_late_and_a_second_one_is_a_duplicate() {
    let [client, _server] = joined(Limits::default());
    let observer = Arc::new(Progressing::default());
    let ticket = client.connection.register(7, "wait", None, 0, observer.clone()).unwrap();
    drop(ticket);
    let answer = |id: u64| Body::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    client.connection.incoming(answer(7), &Arrival::default(), &client.outbox);
    let ticket = client.connection.register(8, "wait", None, 0, observer.clone()).unwrap();
    client.connection.incoming(answer(8), &Arrival::default(), &client.outbox);
    client.connection.incoming(answer(8), &Arrival::default(), &client.outbox);
    assert!(ticket.wait().await.is_ok());
    assert_eq!(*client.handler.anomalies.lock(), [AnomalyKind::Late, AnomalyKind::Duplicate]);
    assert_eq!(observer.late.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn v09_a_subscription_that_the_server_cancels_has_ended() {
    let [client, _server] = joined(Limits::default());
    let registered = |id: u64, method: &str| client.connection.register(id, method, None, 0, Arc::new(Progressing::default())).unwrap();
    let (listen, other) = (registered(7, LISTEN), registered(8, "wait"));
    for id in [7, 8] {
        let cancelled = format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
        client.connection.incoming(Body::from(cancelled), &Arrival::default(), &client.outbox);
    }
    let failure = listen.wait().await.unwrap_err();
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Transport, "the server ended the subscription"));
    assert!(!client.connection.idle(), "only subscriptions are ended by the server");
    drop(other);
}

#[tokio::test]
async fn v10_notifications_of_a_subscription_name_it() {
    let [client, _server] = joined(Limits::default());
    let _listen = client.connection.register(7, LISTEN, None, 0, Arc::new(Progressing::default())).unwrap();
    let changed = |meta: &str| {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{{{meta}}}}}"#);
        client.connection.incoming(Body::from(text), &Arrival::default(), &client.outbox);
    };
    changed("");
    assert!(client.handler.anomalies.lock().is_empty(), "the legacy era has no subscriptions");
    client.connection.forbid_requests();
    changed(r#""_meta":{"io.modelcontextprotocol/subscriptionId":7}"#);
    assert!(client.handler.anomalies.lock().is_empty());
    changed("");
    changed(r#""_meta":{"io.modelcontextprotocol/subscriptionId":99}"#);
    assert_eq!(*client.handler.anomalies.lock(), [AnomalyKind::Uncorrelated, AnomalyKind::Uncorrelated]);
    assert_eq!(client.handler.notifications.lock().len(), 4, "each says what changed");
}
