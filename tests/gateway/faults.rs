//! Faults of servers behind the gateway: a client gets a typed answer by its deadline, and no other call or server is affected.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use serde_json::{Value, json};
use switchboard::{
    domain::{capabilities::Answerable, server::ServerSpec},
    mcp::Connections,
};
use tokio::sync::Semaphore;

use crate::{
    client::{Part, Pipe, gateway},
    scripted::{Answer, Asked, Server, Step, event, hello, page, send, stream},
    support::{PATIENCE, Rig, bad, http},
};

/// The deadline of a call.
const CALL: Duration = Duration::from_secs(2);
/// How long an answer may take: the deadline, and what a loaded machine adds.
const ANSWER: Duration = Duration::from_secs(30);

/// Faults that are tried together.
const TOGETHER: usize = 8;

/// An engine as `serve` starts it: nobody answers questions in its own name.
fn behind_gateway(specs: Vec<ServerSpec>) -> Rig {
    let helper = Some(PathBuf::from(env!("CARGO_BIN_EXE_switchboard")));
    Rig::over(Arc::new(Connections::new(helper).answering(Answerable::NONE)), specs)
}

fn bounded(mut spec: ServerSpec) -> ServerSpec {
    (spec.timeouts.call, spec.timeouts.call_max) = (CALL, CALL);
    (spec.timeouts.connect, spec.timeouts.list) = (PATIENCE, PATIENCE);
    spec.policy.retry.attempts = 1;
    spec.policy.breaker.enabled = false;
    spec
}

/// Checks that an answer is a result, an error of the server, or a typed failure of the gateway.
fn check(what: &str, answer: &Part, took: Duration) {
    assert!(took < ANSWER, "{what} took {took:?}");
    let Part::Error(_) = answer else { return };
    let error = answer.value();
    assert!(error["code"].is_i64() && error["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {error}");
    let ours = &error["data"]["switchboard"];
    if !ours.is_null() {
        assert!(ours["class"].is_string() && ours["server"].is_string() && ours["may_have_run"].is_boolean(), "{what}: {error}");
    }
    let text = error.to_string();
    let hidden = ["127.0.0.1", "badserver", "stack at"];
    assert!(ours.is_null() || !hidden.iter().any(|part| text.contains(part)), "{what} shows what is behind the gateway: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_program_has_a_typed_answer_by_the_deadline() {
    let steady = Server::start(|_| None).await;
    let url = steady.url();
    let specs = || vec![bounded(bad("")), http("steady", &url)];
    let rig = behind_gateway(specs());
    rig.ready("bad").await;
    let faults: Vec<String> = rig.server("bad").catalog.tools.iter().map(|tool| tool.name.to_string()).collect();
    assert!(faults.len() > 40, "{faults:?}");
    rig.stop().await;
    let specs = &specs;
    let each = |fault: String| async move {
        let rig = behind_gateway(specs());
        rig.ready("bad").await;
        rig.ready("steady").await;
        let gateway = gateway(&rig);
        let (mut one, mut two) = (Pipe::initialized(&gateway, json!({})).await, Pipe::initialized(&gateway, json!({})).await);
        let begun = Instant::now();
        let name = format!("bad_{fault}");
        let (answer, other) = tokio::join!(one.call(&name, "{}"), two.call("steady_echo", "{}"));
        check(&fault, &answer, begun.elapsed());
        assert_eq!(other.value()["content"][0]["text"], "hello", "{fault}");
        rig.stop().await;
    };
    futures_util::stream::iter(faults).for_each_concurrent(TOGETHER, each).await;
}

type Fault = fn(&Asked) -> Answer;

/// Faults of a server over HTTP.
const FAULTS: [(&str, Fault); 22] = [
    ("closes", |_| vec![Step::Close]),
    ("resets", |_| vec![Step::Reset]),
    ("never responds", |_| vec![Step::Hold]),
    ("400", |_| page("400 Bad Request", &[], "")),
    ("401", |_| page("401 Unauthorized", &[("WWW-Authenticate", "Bearer realm=\"http://127.0.0.1/secret\"")], "")),
    ("403", |_| page("403 Forbidden", &[], "<html>http://127.0.0.1</html>")),
    ("404 with a page", |_| page("404 Not Found", &[("Content-Type", "text/html")], "<html>404</html>")),
    ("429", |_| page("429 Too Many Requests", &[("Retry-After", "7")], "")),
    ("500", |_| page("500 Internal Server Error", &[], "stack at 127.0.0.1")),
    ("502 with a page", |_| page("502 Bad Gateway", &[("Content-Type", "text/html")], "<html>nginx</html>")),
    ("503", |_| page("503 Service Unavailable", &[("Retry-After", "1")], "")),
    ("redirects", |_| page("307 Temporary Redirect", &[("Location", "http://169.254.169.254/")], "")),
    ("202 without a body", |_| page("202 Accepted", &[], "")),
    ("200 without a body", |_| page("200 OK", &[("Content-Type", "application/json")], "")),
    ("no JSON", |_| page("200 OK", &[("Content-Type", "application/json")], "{\"jsonrpc\":")),
    ("a page", |_| page("200 OK", &[("Content-Type", "text/html")], "<html></html>")),
    ("the wrong id", |_| page("200 OK", &[("Content-Type", "application/json")], r#"{"jsonrpc":"2.0","id":424242,"result":{}}"#)),
    ("a result that is a number", |asked| page("200 OK", &[("Content-Type", "application/json")], asked.result(json!(3)))),
    ("a cut body", |_| {
        vec![send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"jsonrpc\""), Step::Close]
    }),
    ("an empty stream", |_| vec![stream(""), Step::Close]),
    ("a stream that stops", |asked| vec![stream(&event(Some("1"), &asked.result(json!({})))[..20]), Step::Close]),
    ("drips", |_| vec![send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"), Step::Drip(b' ')]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_an_address_has_a_typed_answer_by_the_deadline() {
    let steady = Server::start(|_| None).await;
    for (what, fault) in FAULTS {
        let server = Server::start(move |asked| (asked.tool() == "bad").then(|| fault(asked))).await;
        let rig = behind_gateway(vec![bounded(http("web", &server.url())), http("steady", &steady.url())]);
        rig.ready("web").await;
        rig.ready("steady").await;
        let gateway = gateway(&rig);
        let (mut one, mut two) = (Pipe::initialized(&gateway, json!({})).await, Pipe::initialized(&gateway, json!({})).await);
        let begun = Instant::now();
        let (answer, other) = tokio::join!(one.call("web_bad", "{}"), two.call("steady_echo", "{}"));
        check(what, &answer, begun.elapsed());
        assert!(matches!(answer, Part::Error(_)), "{what}: {answer:?}");
        assert_eq!(other.value()["content"][0]["text"], "hello", "{what}");
        // 404 is the answer to a session that the server does not know, so that the call is sent again in another one.
        let sent = if what.starts_with("404") { 2 } else { 1 };
        assert!((1..=sent).contains(&server.calls_of("bad")), "{what}: a tool without annotations runs once");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_22_a_server_restarted_under_sixteen_calls_is_initialised_once_and_runs_each_once() {
    let (restarted, ran, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (restart, run, hold) = (restarted.clone(), ran.clone(), held.clone());
    let server = Server::start(move |asked| {
        let fresh = if restart.load(Ordering::SeqCst) { "session-2" } else { "session-1" };
        let json = ("Content-Type", "application/json");
        match asked.method() {
            "initialize" => Some(page("200 OK", &[json, ("Mcp-Session-Id", fresh)], asked.result(hello()))),
            // Under way when the server restarts; the new process does not know their session.
            "tools/call" if asked.header("mcp-session-id") == Some("session-1") => {
                Some([vec![Step::Limiter(hold.clone())], page("404 Not Found", &[json], "")].concat())
            }
            // The check whether the session is gone, before a call is sent again that may destroy data.
            "ping" if asked.header("mcp-session-id") != Some(fresh) => Some(page("404 Not Found", &[json], "")),
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
    let gateway = gateway(&rig);
    let mut pipe = Pipe::initialized(&gateway, json!({})).await;
    for id in 100..116 {
        // A tool without annotations may destroy data, so that it is not sent again after it may have run.
        pipe.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo"}}}}"#)).await;
    }
    server.saw("sixteen calls", |log| log.requests.iter().filter(|request| request.tool() == "echo").count() == 16).await;
    restarted.store(true, Ordering::SeqCst);
    held.add_permits(1000);
    let mut answered = vec![];
    for _ in 0..16 {
        let response: Value = serde_json::from_str(&pipe.line().await).unwrap();
        assert_eq!(response["result"]["content"][0]["text"], "hello", "{response}");
        answered.push(response["id"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (100..116).collect::<Vec<_>>());
    assert_eq!((server.count("initialize"), ran.load(Ordering::SeqCst)), (2, 16));
    rig.stop().await;
}
