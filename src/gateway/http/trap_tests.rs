//! Traps of the HTTP face in which other gateways were caught.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, future};
use hyper::{HeaderMap, header::AUTHORIZATION};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    Access, SessionLimits, TokenLookup,
    tests::{PATIENCE, Rig, call, tools, until},
};
use crate::{
    domain::{body::Body, secret::Secret},
    gateway::test_support::{FakeUpstream, ok, with_tools},
};

/// Sessions that are opened and not closed.
const ABANDONED: usize = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn trap_24_five_thousand_sessions_without_an_end_leave_a_thousand() {
    let rig = Rig::start(FakeUpstream::echoing(tools()), SessionLimits::default()).await;
    let all = futures_util::stream::iter(0..ABANDONED).map(|_| rig.session(json!({})));
    all.buffer_unordered(16).for_each(|_| future::ready(())).await;
    assert_eq!(rig.service.sessions.len(), 1000);
    assert_eq!(rig.service.gateway.clients().len(), 1000, "no client stays without its session");
    for unknown in ["0".repeat(32), "x".into()] {
        let reply =
            rig.send("POST", &[("mcp-session-id", &unknown)], &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string()).await;
        assert_eq!((reply.status, rig.service.sessions.len()), (404, 1000));
    }
    rig.service.sessions.expire_after(Duration::ZERO);
    assert_eq!((rig.service.sessions.len(), rig.service.gateway.clients().len()), (0, 0));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_names_no_call_goes_over_the_stream_of_a_call_in_progress() {
    let upstream = FakeUpstream::new(tools(), |_, passage| {
        async move {
            let desk = passage.connection_desk.expect("a legacy client");
            let answer = desk.ask("elicitation/create", Body::from(r#"{"message":"m"}"#)).await.expect("an answer");
            ok(format!(r#"{{"got":{}}}"#, answer.text()))
        }
        .boxed()
    });
    let rig = Rig::start(upstream, SessionLimits::default()).await;
    // The client opens no stream for messages outside of requests.
    let id = rig.session(json!({"elicitation": {}})).await;
    let session = [("mcp-session-id", id.as_str())];
    let mut stream = rig.open("POST", &session, &call(1).to_string()).await;
    let mut seen = String::new();
    until(&mut stream, &mut seen, "elicitation/create").await;
    let asked: u64 = seen.split("\"id\":").nth(1).and_then(|rest| rest.split(',').next()).and_then(|id| id.parse().ok()).unwrap();
    let answer = json!({"jsonrpc": "2.0", "id": asked, "result": {"action": "accept"}});
    assert_eq!(rig.send("POST", &session, &answer.to_string()).await.status, 202);
    until(&mut stream, &mut seen, r#"{"got":{"action":"accept"}}"#).await;
    rig.end().await;
}

/// Returns the id of the last whole event in a part of a stream.
fn last_id(text: &str) -> Option<String> {
    let (whole, _) = text.rsplit_once("\n\n")?;
    whole.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().map(str::to_owned)
}

/// Returns the messages of the whole events in a part of a stream. The marks of chunks are between events, never within them.
fn messages(text: &str) -> Vec<Value> {
    let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let data = whole.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| !data.is_empty());
    data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_26_a_stream_that_is_cut_at_any_byte_is_resumed_with_every_message_once() {
    let upstream = FakeUpstream::new(tools(), |_, passage| {
        async move {
            for progress in 1..=4 {
                passage.desk.progress(&Body::from(format!(r#"{{"progress":{progress}}}"#)));
            }
            ok(r#"{"content":[]}"#)
        }
        .boxed()
    });
    let rig = Rig::start(upstream, SessionLimits::default()).await;
    let mut cuts = 0;
    for cut in 1.. {
        let id = rig.session(json!({})).await;
        let session = ("mcp-session-id", id.as_str());
        let mut stream = rig.open("POST", &[session], &call(7).to_string()).await;
        let mut bytes = vec![0; cut];
        let read = timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("the stream in time");
        drop(stream);
        let text = String::from_utf8(bytes).unwrap();
        let ended = read.is_err() || text.ends_with("0\r\n\r\n");
        let Some((_, body)) = text.split_once("\r\n\r\n").filter(|_| !ended) else { if ended { break } else { continue } };
        // Before the first event with its id, the client has nothing to resume from.
        let Some(last) = last_id(body) else { continue };
        let rest = rig.send("GET", &[session, ("last-event-id", &last)], "").await;
        let got: Vec<Value> = messages(body).into_iter().chain(rest.events()).collect();
        let progress: Vec<Value> = got.iter().map(|message| message["params"]["progress"].clone()).collect();
        assert_eq!(progress, [json!(1), json!(2), json!(3), json!(4), json!(null)], "cut after {cut} bytes: {got:?}");
        assert_eq!(got[4]["id"], 7, "cut after {cut} bytes");
        assert_eq!(rig.send("DELETE", &[session], "").await.status, 204);
        cuts += 1;
    }
    assert!(cuts > 200, "{cuts}");
    rig.end().await;
}

/// How long a proxy in front of the gateway waits for bytes of a silent stream.
const IDLE: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn trap_18_a_silent_call_sends_something_before_a_proxy_closes_its_stream() {
    let upstream = FakeUpstream::new(tools(), |_, _| {
        async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            ok(r#"{"content":[]}"#)
        }
        .boxed()
    });
    let rig = Rig::start(upstream, SessionLimits::default()).await;
    let id = rig.session(json!({})).await;
    let mut stream = rig.open("POST", &[("mcp-session-id", id.as_str())], &call(7).to_string()).await;
    let (begun, mut seen) = (Instant::now(), String::new());
    while !seen.contains(r#""result""#) {
        let mut bytes = [0; 4096];
        let count = timeout(IDLE, stream.read(&mut bytes)).await.unwrap_or_else(|_| panic!("{IDLE:?} without a byte after {seen:?}"));
        let count = count.unwrap();
        assert!(count > 0, "the stream ended: {seen:?}");
        seen.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    assert!(begun.elapsed() >= Duration::from_secs(40) && seen.contains(": keep-alive"), "{seen:?}");
    rig.end().await;
}

/// Tokens in memory.
#[derive(Debug, Default)]
struct Issued(Mutex<Option<Tokens>>);

/// Names and tokens.
type Tokens = Vec<(&'static str, &'static [u8])>;

impl TokenLookup for Issued {
    fn required(&self) -> bool {
        self.0.lock().is_some()
    }

    fn principal(&self, token: &[u8]) -> Option<Arc<str>> {
        let tokens = self.0.lock();
        tokens.as_ref()?.iter().find(|(_, known)| *known == token).map(|(name, _)| (*name).into())
    }
}

#[test]
fn issued_tokens_are_principals_and_a_revocation_never_opens_the_listener() {
    let issued = Arc::new(Issued::default());
    let free = Access { address: "127.0.0.1:1".parse().ok(), issued: Some(issued.clone()), ..Access::default() };
    let configured =
        Access { token: Some(Secret::literal("main")), profile_tokens: vec![("own".into(), Secret::literal("of-own"))], ..free.clone() };
    let of = |access: &Access, path: &str, token: Option<&str>| {
        let mut headers = HeaderMap::new();
        token.map(|token| headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap()));
        access.identify(path, &headers).map(|found| found.principal.as_str().to_owned())
    };
    let name = |name: &str| Some(name.to_owned());
    let everybody = Access { address: "0.0.0.0:1".parse().ok(), ..free.clone() };
    assert_eq!((of(&free, "/mcp", None), of(&configured, "/mcp", None)), (name("local"), None));
    assert!(everybody.check_exposure().is_err());
    *issued.0.lock() = Some(vec![("ci", b"ci-token")]);
    assert!(everybody.check_exposure().is_ok());
    assert_eq!((of(&free, "/mcp", None), of(&free, "/mcp", Some("ci-token"))), (None, name("ci")));
    assert_eq!((of(&configured, "/mcp", Some("main")), of(&configured, "/mcp/x", Some("ci-token"))), (name("local"), name("ci")));
    assert_eq!((of(&configured, "/mcp/own", Some("ci-token")), of(&configured, "/mcp/own", Some("of-own"))), (None, name("own")));
    *issued.0.lock() = Some(vec![]);
    assert_eq!((of(&free, "/mcp", None), of(&free, "/mcp", Some("ci-token"))), (None, None));
    assert_eq!(of(&configured, "/mcp", Some("main")), name("local"));
}

#[tokio::test]
async fn a_revoked_token_ends_its_open_streams_requests_and_sessions() {
    let issued = Arc::new(Issued(Mutex::new(Some(vec![("ci", b"ci-token"), ("desk", b"desk-token")]))));
    let calls = Arc::new(watch::Sender::new(0));
    let begun = calls.clone();
    let upstream = FakeUpstream::new(tools(), move |_, _| {
        begun.send_modify(|calls| *calls += 1);
        future::pending().boxed()
    });
    let access = Access { issued: Some(issued.clone()), ..Access::default() };
    let rig = Rig::with_access(upstream.clone(), SessionLimits::default(), access).await;
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"},
    }});
    let listen = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
        "notifications": {"toolsListChanged": true},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "m", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }});
    let mut open = vec![];
    for token in ["Bearer ci-token", "Bearer desk-token"] {
        let token = ("authorization", token);
        let begun = rig.send("POST", &[token], &initialize.to_string()).await;
        let id = begun.header("mcp-session-id").unwrap_or_else(|| panic!("{begun:?}")).to_owned();
        let session = ("mcp-session-id", id.as_str());
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        assert_eq!(rig.send("POST", &[token, session], &ready).await.status, 202);
        let mut streams = [
            rig.open("GET", &[token, session], "").await,
            rig.open("POST", &[token, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", "subscriptions/listen")], &listen.to_string())
                .await,
        ];
        for stream in &mut streams {
            let mut seen = String::new();
            until(stream, &mut seen, "data: ").await;
        }
        let pending = rig.open("POST", &[token, session], &call(7).to_string()).await;
        open.push((streams, pending, id));
        let number = open.len();
        timeout(PATIENCE, calls.subscribe().wait_for(|calls| *calls == number)).await.expect("the call begins").unwrap();
    }
    rig.service.end_revoked();
    assert_eq!(rig.service.sessions.len(), 2, "both tokens are valid");
    *issued.0.lock() = Some(vec![("desk", b"desk-token")]);
    // The clients send nothing more.
    let [(ended, pending, _), (mut others, other_pending, other)] = <[_; 2]>::try_from(open).unwrap_or_else(|_| panic!("two tokens"));
    for mut stream in ended {
        let mut rest = vec![];
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the stream ends").unwrap();
    }
    let mut pending = pending;
    let mut refused = String::new();
    until(&mut pending, &mut refused, "valid bearer token").await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    assert_eq!(rig.service.sessions.len(), 1);
    assert_eq!(upstream.logged(1).await, ["cancel 1"]);
    // The other client notices nothing.
    upstream.set(vec![with_tools("a", &["t", "u"]), with_tools("b", &[])]);
    let mut seen = String::new();
    until(&mut others[1], &mut seen, "notifications/tools/list_changed").await;
    let ping = json!({"jsonrpc": "2.0", "id": 9, "method": "ping"}).to_string();
    let session = [("authorization", "Bearer desk-token"), ("mcp-session-id", other.as_str())];
    assert_eq!(rig.send("POST", &session, &ping).await.status, 200);
    drop((others, other_pending));
    rig.end().await;
}
