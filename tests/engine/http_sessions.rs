//! Sessions over HTTP: lost, opened again once for all, used only when the server knows of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::json;
use switchboard::{
    control::Command,
    domain::{call::FailureKind, id::CallId},
};
use tokio::sync::Semaphore;

use crate::{
    scripted::{Asked, Log, Server, Step, event, hello, page, stream},
    support::{Rig, failure_of, http, text_of},
};

/// A server that drops its session on request, and reports that in one of the two usual ways.
async fn forgetful(status: &'static str, body: &'static str, gate: Option<Arc<Semaphore>>) -> (Server, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (forgot, ran) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (forget, run) = (forgot.clone(), ran.clone());
    let server = Server::start(move |asked| {
        let lost = forget.load(Ordering::SeqCst);
        let fresh = if lost { "session-2" } else { "session-1" };
        match asked.method() {
            "server/discover" => None,
            "initialize" => {
                assert_eq!(asked.header("mcp-session-id"), None, "a new session is asked for without the old one");
                assert_eq!(asked.header("mcp-protocol-version"), None);
                let answer = page("200 OK", &[("Content-Type", "application/json"), ("Mcp-Session-Id", fresh)], asked.result(hello()));
                Some(match gate.clone().filter(|_| lost) {
                    Some(gate) => [vec![Step::Limiter(gate)], answer].concat(),
                    None => answer,
                })
            }
            "tools/call" | "notifications/initialized" | "ping" => {
                assert_eq!(asked.header("mcp-protocol-version"), Some("2025-11-25"));
                if asked.header("mcp-session-id") != Some(fresh) {
                    return Some(page(status, &[("Content-Type", "application/json")], body));
                }
                run.fetch_add(usize::from(asked.method() == "tools/call"), Ordering::SeqCst);
                None
            }
            _ => None,
        }
    })
    .await;
    (server, forgot, ran)
}

const NO_SESSION: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_is_opened_again_once_for_all_calls() {
    for (status, body) in [("404 Not Found", ""), ("400 Bad Request", NO_SESSION)] {
        let (server, forgot, ran) = forgetful(status, body, None).await;
        let rig = Rig::start(vec![http("web", &server.url())]);
        rig.ready("web").await;
        forgot.store(true, Ordering::SeqCst);
        let calls: Vec<CallId> = (0..16).map(|_| rig.submit("web", "echo", "{}")).collect();
        for call in calls {
            assert_eq!(text_of(&*rig.settled(call).await), "hello", "{status}");
        }
        assert_eq!(server.count("initialize"), 2, "{status}: once at the start, once for all");
        assert_eq!(server.count("notifications/initialized"), 2);
        assert_eq!(ran.load(Ordering::SeqCst), 16, "{status}: every call ran once");
        let refreshed = rig.until("the lists read again", |w| w.servers[0].catalog.revision >= 2).await;
        let states: Vec<&str> = refreshed.servers[0].history.iter().map(|(_, p)| p.word()).collect();
        assert!(!states.contains(&"reconnecting"), "the connection was never lost: {states:?}");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_restarted_under_sixteen_calls_in_flight_loses_none() {
    for (status, body) in [("404 Not Found", ""), ("400 Bad Request", NO_SESSION)] {
        let (restarted, ran, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (restart, run, hold) = (restarted.clone(), ran.clone(), held.clone());
        let server = Server::start(move |asked| {
            let fresh = if restart.load(Ordering::SeqCst) { "session-2" } else { "session-1" };
            let json = ("Content-Type", "application/json");
            match asked.method() {
                "initialize" => Some(page("200 OK", &[json, ("Mcp-Session-Id", fresh)], asked.result(hello()))),
                // They are under way when the backend goes; the one that comes up knows nothing of their session.
                "tools/call" if asked.header("mcp-session-id") == Some("session-1") => {
                    Some([vec![Step::Limiter(hold.clone())], page(status, &[json], body)].concat())
                }
                "ping" if asked.header("mcp-session-id") != Some(fresh) => Some(page(status, &[json], body)),
                "tools/call" => {
                    run.fetch_add(1, Ordering::SeqCst);
                    None
                }
                _ => None,
            }
        })
        .await;
        let rig = Rig::start(vec![http("web", &server.url())]);
        rig.ready("web").await;
        let calls: Vec<CallId> = (0..16).map(|_| rig.submit("web", "echo", "{}")).collect();
        server.saw("sixteen calls", |log| log.requests.iter().filter(|r| r.tool() == "echo").count() == 16).await;
        assert!(calls.iter().all(|call| rig.read_model().call(*call).is_some_and(|c| c.settled.is_none())), "all are in flight");
        restarted.store(true, Ordering::SeqCst);
        held.add_permits(1000);
        for call in calls {
            assert_eq!(text_of(&*rig.settled(call).await), "hello", "{status}");
        }
        assert_eq!((server.count("initialize"), server.count("notifications/initialized")), (2, 2), "{status}: once for all");
        assert_eq!(ran.load(Ordering::SeqCst), 16, "{status}: every call ran once");
        assert_eq!(rig.server("web").breaker.consecutive, 0, "{status}: a lost session does not fail the call");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_made_while_a_session_is_opened_again_are_answered_too() {
    let gate = Arc::new(Semaphore::new(0));
    let (server, forgot, ran) = forgetful("400 Bad Request", NO_SESSION, Some(gate.clone())).await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    forgot.store(true, Ordering::SeqCst);
    let first = rig.submit("web", "echo", "{}");
    server.saw("the second initialize", |log| log.requests.iter().filter(|r| r.method() == "initialize").count() == 2).await;
    let second = rig.submit("web", "echo", "{}");
    server.saw("the second call", |log| log.requests.iter().filter(|r| r.tool() == "echo").count() == 2).await;
    // The call that opens the session is cancelled; the others get it nevertheless.
    rig.command(Command::Cancel { call: first, reason: "enough".into() });
    rig.settled(first).await;
    gate.add_permits(100);
    assert_eq!(text_of(&*rig.settled(second).await), "hello");
    assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello");
    assert_eq!((server.count("initialize"), ran.load(Ordering::SeqCst)), (2, 2));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_lost_again_at_once_is_an_error() {
    let forgot = Arc::new(AtomicBool::new(false));
    let (forget, closed) = (forgot.clone(), Arc::new(AtomicBool::new(false)));
    let close = closed.clone();
    let server = Server::start(move |asked| {
        let lost = forget.load(Ordering::SeqCst) && asked.tool() == "bad";
        let shut = close.load(Ordering::SeqCst) && asked.method() == "initialize";
        // The ping with the session that was lost is refused as well.
        let gone = forget.load(Ordering::SeqCst) && asked.method() == "ping" && asked.header("mcp-session-id") == Some("session-1");
        (lost || shut || gone).then(|| page("404 Not Found", &[], "gone"))
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    forgot.store(true, Ordering::SeqCst);
    let (_, settled) = rig.call("web", "bad", "{}").await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.status, failure.may_have_run), (FailureKind::Transport, Some(404), true), "{failure:?}");
    assert_eq!((server.calls_of("bad"), server.count("initialize")), (2, 2));
    closed.store(true, Ordering::SeqCst);
    let (_, settled) = rig.call("web", "bad", "{}").await;
    let failure = failure_of(&settled);
    assert!(failure.message.contains("session was lost and no new one could be opened"), "{failure:?}");
    assert_eq!((failure.status, server.calls_of("bad"), server.count("initialize")), (Some(404), 3, 3));
    // And when the server takes sessions again, so do we.
    forgot.store(false, Ordering::SeqCst);
    closed.store(false, Ordering::SeqCst);
    assert_eq!(text_of(&rig.call("web", "bad", "{}").await.1), "hello");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_is_used_when_the_server_was_told_and_asked_again_for_what_the_old_one_told() {
    let (forgot, gate) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(0)));
    let (forget, opens) = (forgot.clone(), gate.clone());
    let server = Server::start(move |asked| {
        let lost = forget.load(Ordering::SeqCst);
        let fresh = if lost { "session-2" } else { "session-1" };
        let known = asked.header("mcp-session-id") == Some(fresh);
        match asked.method() {
            "server/discover" => None,
            "initialize" => {
                let mut hello = hello();
                hello["capabilities"]["resources"] = json!({"subscribe": true});
                Some(page("200 OK", &[("Content-Type", "application/json"), ("Mcp-Session-Id", fresh)], asked.result(hello)))
            }
            "notifications/initialized" if lost => Some([vec![Step::Limiter(opens.clone())], page("202 Accepted", &[], "")].concat()),
            "tools/call" | "resources/subscribe" | "ping" if !known => Some(page("404 Not Found", &[], "gone")),
            "resources/subscribe" => Some(page("200 OK", &[("Content-Type", "application/json")], asked.result(json!({})))),
            _ => None,
        }
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let uri = "demo://orders";
    rig.command(Command::Subscribe { server: "web".into(), uri: uri.into(), on: true });
    rig.until("the subscription", |w| w.servers[0].subscriptions.contains_key(uri)).await;
    forgot.store(true, Ordering::SeqCst);
    let first = rig.submit("web", "echo", "{}");
    let told = |log: &Log| log.requests.iter().filter(|r| r.method() == "notifications/initialized").count() == 2;
    server.saw("the second session was initialized", told).await;
    // While the server handles that, no request uses the new session.
    let second = rig.submit("web", "echo", "{}");
    server.saw("the second call", |log| log.requests.iter().filter(|r| r.tool() == "echo").count() == 2).await;
    let early = |r: &Asked| r.header("mcp-session-id") == Some("session-2") && r.method() != "notifications/initialized";
    assert_eq!(server.log().requests.iter().filter(|r| early(r)).count(), 0);
    gate.add_permits(100);
    for call in [first, second] {
        assert_eq!(text_of(&*rig.settled(call).await), "hello");
    }
    let again = |r: &Asked| r.method() == "resources/subscribe" && r.header("mcp-session-id") == Some("session-2");
    let log = server.saw("the subscription in the new session", |log| log.requests.iter().any(|r| again(r))).await;
    assert_eq!(log.requests.iter().find(|r| again(r)).unwrap().rpc["params"]["uri"], uri);
    assert_eq!(server.count("initialize"), 2);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_answer_is_fetched_later_where_there_is_no_time_just_now() {
    let (kept, tries) = (Arc::new(std::sync::Mutex::new(String::new())), AtomicUsize::new(0));
    let server = Server::start(move |asked| {
        if asked.tool() == "bad" {
            *kept.lock().unwrap() = asked.text("at last");
            return Some(vec![stream("retry: 1\nid: e-1\ndata: \n\n"), Step::Close]);
        }
        asked.header("last-event-id")?;
        Some(match tries.fetch_add(1, Ordering::SeqCst) {
            0 => page("429 Too Many Requests", &[("Retry-After", "0")], ""),
            1 => page("408 Request Timeout", &[], ""),
            _ => vec![stream(event(None, &kept.lock().unwrap())), Step::Close],
        })
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    assert_eq!(text_of(&rig.call("web", "bad", "{}").await.1), "at last");
    assert_eq!(server.calls_of("bad"), 1, "the call itself is never sent again");
    rig.stop().await;
}
