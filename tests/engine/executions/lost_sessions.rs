//! Calls of sessions that are lost, and of sessions that only seem to be.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::json;
use switchboard::domain::{
    call::FailureKind,
    event::Settled,
    id::CallId,
    policy::{
        RetryMode,
        call_event::{CallEvent, Resend},
    },
    server::ServerSpec,
};

use crate::{
    scripted::{Answer, Asked, Server, hello, json_page, page},
    support::{Rig, failure_of, http, text_of},
};

const NOT_FOUND: &str = "404 Not Found";

/// A server that runs tools in the session that it knows, and what it did.
struct Backend {
    server: Server,
    /// Set to have it forget the session that is open.
    forgets: Arc<AtomicBool>,
    ran: Arc<AtomicUsize>,
}

/// Starts a server that asks `first`, and then checks the session of calls and pings.
async fn backend(first: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Backend {
    let (forgets, ran) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (forgot, count) = (forgets.clone(), ran.clone());
    let server = Server::start(move |asked| {
        let known = if forgot.load(Ordering::SeqCst) { "session-2" } else { "session-1" };
        if let Some(answer) = first(asked) {
            count.fetch_add(usize::from(asked.method() == "tools/call"), Ordering::SeqCst);
            return Some(answer);
        }
        match asked.method() {
            "initialize" => Some(page("200 OK", &[("Content-Type", "application/json"), ("Mcp-Session-Id", known)], asked.result(hello()))),
            "tools/list" => Some(json_page(asked.result(json!({"tools": [
                {"name": "bad", "inputSchema": {"type": "object"}, "annotations": {"destructiveHint": true}},
                {"name": "safe", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}},
            ]})))),
            "tools/call" | "ping" if asked.header("mcp-session-id") != Some(known) => Some(page(NOT_FOUND, &[], "who are you")),
            "tools/call" => {
                count.fetch_add(1, Ordering::SeqCst);
                None
            }
            _ => None,
        }
    })
    .await;
    Backend { server, forgets, ran }
}

impl Backend {
    async fn rig(&self, change: impl FnOnce(&mut ServerSpec)) -> Rig {
        let mut spec = http("web", &self.server.url());
        spec.trusted = true;
        change(&mut spec);
        let rig = Rig::start(vec![spec]);
        rig.ready("web").await;
        rig
    }

    fn ran(&self) -> usize {
        self.ran.load(Ordering::SeqCst)
    }
}

/// Makes a call; gives its outcome and why it was sent again, if it was.
async fn call(rig: &Rig, tool: &str) -> (Arc<Settled>, Option<Resend>) {
    let (id, settled) = rig.call("web", tool, "{}").await;
    (settled, resent(rig, id))
}

fn resent(rig: &Rig, call: CallId) -> Option<Resend> {
    rig.read_model().call(call).unwrap().stages().iter().find_map(|(_, stage)| match &**stage {
        CallEvent::Resent { attempt: 1, cause } => Some(*cause),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_call_is_sent_again_when_the_old_session_is_proven_gone() {
    let backend = backend(|_| None).await;
    let rig = backend.rig(|_| {}).await;
    backend.forgets.store(true, Ordering::SeqCst);
    let (settled, cause) = call(&rig, "bad").await;
    assert_eq!((text_of(&settled).as_str(), cause), ("hello", Some(Resend::ProvenGone)), "{settled:?}");
    assert_eq!((backend.ran(), settled.attempts, backend.server.count("initialize")), (1, 1, 2));
    let read_model = rig.read_model();
    let words: Vec<String> = read_model.calls.back().unwrap().stages().iter().map(|(_, stage)| stage.words()).collect();
    assert!(words.iter().any(|line| line.contains("session lost, resent in a new session")), "{words:?}");
    let pings: Vec<Option<String>> = backend
        .server
        .log()
        .requests
        .iter()
        .filter(|r| r.method() == "ping")
        .map(|r| r.header("mcp-session-id").map(str::to_owned))
        .collect();
    assert_eq!(pings, [Some("session-1".to_owned()), Some("session-2".to_owned())], "the old one, and the new one");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_call_that_is_refused_in_a_living_session_may_have_run() {
    let backend = backend(|asked| (asked.tool() == "bad").then(|| page(NOT_FOUND, &[], "no such order"))).await;
    let rig = backend.rig(|_| {}).await;
    let (settled, cause) = call(&rig, "bad").await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.status, failure.may_have_run), (FailureKind::Transport, Some(404), true), "{failure:?}");
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("may have run")), "{failure:?}");
    assert_eq!((backend.ran(), cause), (1, None));
    assert_eq!(text_of(&call(&rig, "safe").await.0), "hello", "the connection lives on");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_that_is_refused_in_every_session_proves_nothing() {
    let backend =
        backend(|asked| matches!((asked.method(), asked.tool()), ("ping", _) | (_, "bad")).then(|| page(NOT_FOUND, &[], ""))).await;
    let rig = backend.rig(|_| {}).await;
    let (settled, cause) = call(&rig, "bad").await;
    assert_eq!((failure_of(&settled).may_have_run, backend.ran(), cause), (true, 1, None), "{settled:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_call_needs_no_proof_unless_repeating_is_switched_off() {
    for (repeat, cause, pings) in [(RetryMode::Safe, Resend::Repeatable, 0), (RetryMode::Never, Resend::ProvenGone, 2)] {
        let backend = backend(|_| None).await;
        let rig = backend.rig(|spec| spec.policy.retry.mode = repeat).await;
        backend.forgets.store(true, Ordering::SeqCst);
        let (settled, why) = call(&rig, "safe").await;
        assert_eq!((text_of(&settled).as_str(), why), ("hello", Some(cause)));
        assert_eq!((backend.ran(), backend.server.count("ping")), (1, pings), "{repeat:?}");
        rig.stop().await;
    }
    let backend = backend(|asked| (asked.tool() == "safe").then(|| page(NOT_FOUND, &[], ""))).await;
    let rig = backend.rig(|spec| spec.policy.retry.mode = RetryMode::Never).await;
    assert!(failure_of(&call(&rig, "safe").await.0).may_have_run);
    assert_eq!(backend.ran(), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_session_cannot_be_replaced_may_have_run() {
    let shut = Arc::new(AtomicBool::new(false));
    let shuts = shut.clone();
    let backend = backend(move |asked| {
        (asked.method() == "initialize" && shuts.load(Ordering::SeqCst)).then(|| page("503 Service Unavailable", &[], ""))
    })
    .await;
    let rig = backend.rig(|_| {}).await;
    shut.store(true, Ordering::SeqCst);
    backend.forgets.store(true, Ordering::SeqCst);
    let (settled, _) = call(&rig, "bad").await;
    let failure = failure_of(&settled);
    assert!(failure.may_have_run && failure.message.contains("no new one could be opened"), "{failure:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_stream_of_its_own_keeps_its_session() {
    let backend = backend(|asked| (asked.verb == "GET").then(|| page(NOT_FOUND, &[], ""))).await;
    let rig = backend.rig(|_| {}).await;
    backend.server.saw("the stream asked for", |log| log.requests.iter().any(|r| r.verb == "GET")).await;
    for _ in 0..20 {
        assert_eq!(text_of(&call(&rig, "bad").await.0), "hello");
    }
    assert_eq!(backend.server.count("initialize"), 1, "a stream that is not offered is not a lost session");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_lost_sessions_by_a_page_is_connected_to_again() {
    let forgets = Arc::new(AtomicBool::new(false));
    let server = Server::start({
        let forgets = forgets.clone();
        let opened = AtomicUsize::new(0);
        move |asked| {
            let session = format!("session-{}", opened.load(Ordering::SeqCst));
            match asked.method() {
                "initialize" => {
                    let next = format!("session-{}", opened.fetch_add(1, Ordering::SeqCst) + 1);
                    forgets.store(false, Ordering::SeqCst);
                    Some(page("200 OK", &[("Content-Type", "application/json"), ("Mcp-Session-Id", &next)], asked.result(hello())))
                }
                "tools/call" | "ping" if forgets.load(Ordering::SeqCst) || asked.header("mcp-session-id") != Some(&session) => {
                    Some(page("400 Bad Request", &[], "Bad Request: No valid session ID provided"))
                }
                _ => None,
            }
        }
    })
    .await;
    let mut spec = http("web", &server.url());
    spec.timeouts.health = std::time::Duration::from_millis(20);
    let rig = Rig::start(vec![spec]);
    rig.ready("web").await;
    server.saw("two checks", |log| log.requests.iter().filter(|r| r.method() == "ping").count() >= 2).await;
    forgets.store(true, Ordering::SeqCst);
    server.saw("another session", |log| log.requests.iter().filter(|r| r.method() == "initialize").count() == 2).await;
    rig.ready("web").await;
    assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello");
    rig.stop().await;
}
