//! The HTTP face over real sockets: who may use it, sessions, streams and their end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::FutureExt;
use hyper::{
    HeaderMap, Method,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::{
    domain::{body::Body, secret::Secret},
    gateway::{
        Settings,
        test_support::{FakeUpstream, ok, with_tools},
        upstream::ServerNotice,
    },
};

/// How long a test waits for what must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn the_listener_matrix_host_origin_token_path() {
    let right = Secret::literal("s3cret-token");
    let access = Access {
        address: Some(address("127.0.0.1:7420")),
        hosts: vec!["box.example.com".into()],
        origins: vec!["https://console.example.com".into()],
        token: Some(right),
        profile_tokens: vec![("own".into(), Secret::literal("other-token"))],
        issued: None,
    };
    let hosts = [
        (Some("127.0.0.1:7420"), true),
        (Some("LOCALHOST:7420"), true),
        (Some("[::1]:7420"), true),
        (Some("box.example.com"), true),
        (Some("box.example.com:443"), true),
        (Some("localhost:80"), false),
        (Some("evil.example.com:7420"), false),
        (Some("127.0.0.1.evil.example.com"), false),
        (Some("localhost.evil:7420"), false),
        (Some(""), false),
        (None, false),
    ];
    let origins = [
        (None, true),
        (Some("http://localhost:6274"), true),
        (Some("https://console.example.com"), true),
        (Some("http://evil.example.com"), false),
        (Some("http://localhost.evil.example.com"), false),
        (Some("http://localhost:1@evil.example.com"), false),
        (Some("null"), false),
    ];
    let tokens = [
        (Some("Bearer s3cret-token"), true),
        (Some("bearer s3cret-token"), true),
        (Some("Bearer s3cret-tokeN"), false),
        (Some("Bearer s3cret-token2"), false),
        (Some("Bearer "), false),
        (Some("Basic s3cret-token"), false),
        (None, false),
    ];
    let paths = [
        ("/mcp", Ok(Target::Message)),
        ("/mcp/x", Ok(Target::Message)),
        ("/mcp/", Err(Refusal::Path)),
        ("/mcp/x/y", Err(Refusal::Path)),
        ("/mcpx", Err(Refusal::Path)),
        ("/", Err(Refusal::Path)),
        ("/healthz", Err(Refusal::Method)),
    ];
    let mut combinations = 0;
    for (host, host_fits) in hosts {
        for (origin, origin_fits) in origins {
            for (token, token_fits) in tokens {
                for (path, found) in paths {
                    let mut headers = HeaderMap::new();
                    let given = [(HOST, host), (ORIGIN, origin), (AUTHORIZATION, token), (CONTENT_TYPE, Some("application/json"))];
                    for (name, value) in given {
                        value.map(|value| headers.insert(name, value.parse().expect("a header")));
                    }
                    let expected = match (host_fits, origin_fits, token_fits) {
                        (false, ..) => Err(Refusal::Host),
                        (_, false, _) => Err(Refusal::Origin),
                        (.., false) => Err(Refusal::Token),
                        _ => found,
                    };
                    let checked = access.check(&Method::POST, path, &headers);
                    assert_eq!(checked, expected, "{host:?} {origin:?} {token:?} {path}");
                    combinations += 1;
                }
            }
        }
    }
    assert!(combinations >= 40, "{combinations}");
    // A profile with a token of its own needs that one.
    for (path, token, allowed) in [
        ("/mcp/own", "other-token", true),
        ("/mcp/own", "s3cret-token", false),
        ("/mcp", "other-token", false),
        ("/mcp/x", "other-token", false),
    ] {
        let mut headers = HeaderMap::new();
        let token = format!("Bearer {token}");
        for (name, value) in [(HOST, "localhost:7420"), (AUTHORIZATION, token.as_str()), (CONTENT_TYPE, "application/json")] {
            headers.insert(name, value.parse().expect("a header"));
        }
        assert_eq!(access.check(&Method::POST, path, &headers).is_ok(), allowed, "{path} {token}");
    }
}

#[test]
fn two_hosts_or_tokens_are_refused_and_only_json_is_read() {
    let access = Access { address: Some(address("127.0.0.1:1")), ..Access::default() };
    let mut headers = HeaderMap::new();
    headers.insert(HOST, "localhost:1".parse().unwrap());
    for (kind, expected) in [
        (Some("application/json"), Ok(Target::Message)),
        (Some("Application/JSON; charset=utf-8"), Ok(Target::Message)),
        // What a form of any page can send.
        (Some("text/plain"), Err(Refusal::ContentType)),
        (None, Err(Refusal::ContentType)),
    ] {
        headers.remove(CONTENT_TYPE);
        kind.map(|kind| headers.insert(CONTENT_TYPE, kind.parse().unwrap()));
        assert_eq!(access.check(&Method::POST, "/mcp", &headers), expected, "{kind:?}");
    }
    headers.append(HOST, "evil.example.com".parse().unwrap());
    assert_eq!(access.check(&Method::POST, "/mcp", &headers), Err(Refusal::Host));
    for (address, token, exposed) in
        [("127.0.0.1:1", None, false), ("[::1]:1", None, false), ("0.0.0.0:1", None, true), ("192.0.2.1:1", Some("x"), false)]
    {
        let access = Access { address: Some(super::tests::address(address)), token: token.map(Secret::literal), ..Access::default() };
        assert_eq!(access.check_exposure().is_err(), exposed, "{address}");
    }
}

/// A listener on a free port.
pub(super) struct Rig {
    pub address: SocketAddr,
    pub service: Arc<Service>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// A response.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: u16,
    head: String,
    body: String,
}

impl Reply {
    /// Returns a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name))).map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the messages of an event stream.
    pub fn events(&self) -> Vec<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| !data.is_empty());
        data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
    }
}

impl Rig {
    pub async fn start(upstream: Arc<FakeUpstream>, limits: SessionLimits) -> Rig {
        Rig::with_access(upstream, limits, Access::default()).await
    }

    /// Starts a listener with this access, except for its address.
    pub async fn with_access(upstream: Arc<FakeUpstream>, limits: SessionLimits, access: Access) -> Rig {
        let gateway = Gateway::new(upstream, Settings { quiet: Duration::from_millis(1), ..Settings::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service::new(gateway, Access { address: Some(address), ..access }, limits).unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(service.clone().serve(Listener::Tcp(listener), stopped.map(drop)));
        Rig { address, service, stop, served }
    }

    fn head(&self, method: &str, headers: &[(&str, &str)], length: usize) -> String {
        let mut head = format!("{method} /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n", self.address);
        head.push_str("accept: application/json, text/event-stream\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{head}content-length: {length}\r\n\r\n")
    }

    /// Sends a request over a new connection, which is not closed.
    pub async fn open(&self, method: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all((self.head(method, headers, body.len()) + body).as_bytes()).await.unwrap();
        stream
    }

    /// Sends a request and reads the whole response.
    pub async fn send(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let stream = self.open(method, &[headers, &[("connection", "close")]].concat(), body).await;
        read_reply(stream).await
    }

    async fn post(&self, headers: &[(&str, &str)], message: Value) -> Reply {
        self.send("POST", headers, &message.to_string()).await
    }

    /// Opens a session. Returns its id.
    pub async fn session(&self, capabilities: Value) -> String {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "c", "version": "1"}});
        let reply = self.post(&[], json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let id = reply.header("mcp-session-id").expect("a session").to_owned();
        let done = self.post(&[("mcp-session-id", &id)], json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        assert_eq!((done.status, done.body.as_str()), (202, ""));
        id
    }

    pub async fn end(self) {
        let _ = self.stop.send(());
        timeout(PATIENCE, self.served).await.expect("it ends in time").unwrap();
    }
}

async fn read_reply(mut stream: TcpStream) -> Reply {
    let mut bytes = vec![];
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("a response in time").unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() };
    Reply { status, head: head.to_owned(), body }
}

fn unchunked(mut text: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = text.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            break;
        }
        whole.push_str(&rest[..length]);
        text = &rest[length + 2..];
    }
    whole
}

/// Reads from a stream until its text contains `part`.
pub(super) async fn until(stream: &mut TcpStream, seen: &mut String, part: &str) {
    while !seen.contains(part) {
        let mut bytes = [0; 4096];
        let count = timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap_or_else(|_| panic!("no {part:?} in {seen:?}")).unwrap();
        assert!(count > 0, "the stream ended without {part:?}: {seen:?}");
        seen.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
}

pub(super) fn tools() -> Vec<crate::domain::directory::ServerSnapshot> {
    vec![with_tools("a", &["t"]), with_tools("b", &[])]
}

pub(super) fn call(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "a_t", "_meta": {"progressToken": id}}})
}

#[tokio::test]
async fn trap_23_a_session_lives_from_initialize_to_delete_and_unknown_ones_are_not_found() {
    let rig = Rig::start(FakeUpstream::echoing(tools()), SessionLimits::default()).await;
    let id = rig.session(json!({})).await;
    assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    let session = [("mcp-session-id", id.as_str()), ("mcp-protocol-version", "2025-11-25")];
    let reply = rig.post(&session, json!({"jsonrpc": "2.0", "id": "x", "method": "tools/list"})).await;
    assert_eq!(
        (reply.status, reply.header("content-type"), reply.header("cache-control")),
        (200, Some("application/json"), Some("no-store"))
    );
    assert_eq!((reply.json()["id"].clone(), reply.json()["result"]["tools"][0]["name"].clone()), (json!("x"), json!("a_t")));
    let ping = || json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    for (headers, status) in [
        (vec![], 400),
        (vec![("mcp-session-id", "0123")], 404),
        (vec![session[0], ("mcp-protocol-version", "2020-01-01")], 400),
        (vec![session[0]], 200),
    ] {
        let reply = rig.post(&headers, ping()).await;
        assert_eq!((reply.status, reply.json()["id"].clone()), (status, json!(1)), "{headers:?}");
    }
    // A batch belongs to another version, and unknown ids open no session.
    assert_eq!(rig.send("POST", &session, "[]").await.status, 400);
    assert_eq!((rig.service.sessions.len(), rig.send("POST", &session, "nonsense").await.status), (1, 400));
    assert_eq!(rig.send("DELETE", &session, "").await.status, 204);
    for method in ["DELETE", "GET", "POST"] {
        assert_eq!(rig.send(method, &session, &ping().to_string()).await.status, 404, "{method}");
    }
    assert_eq!(rig.service.sessions.len(), 0);
    rig.end().await;
}

#[tokio::test]
async fn trap_24_sessions_without_an_end_are_bounded() {
    let rig = Rig::start(FakeUpstream::echoing(tools()), SessionLimits { sessions: 3, ..SessionLimits::default() }).await;
    let first = rig.session(json!({})).await;
    for _ in 0..5 {
        rig.session(json!({})).await;
    }
    assert_eq!(rig.service.sessions.len(), 3);
    let reply = rig.post(&[("mcp-session-id", &first)], json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await;
    assert_eq!(reply.status, 404);
    rig.service.sessions.expire_after(Duration::from_secs(3600));
    assert_eq!(rig.service.sessions.len(), 3);
    // A session whose stream is read is in use.
    let read = rig.session(json!({})).await;
    let mut stream = rig.open("GET", &[("mcp-session-id", &read)], "").await;
    until(&mut stream, &mut String::new(), "id: 0-0").await;
    rig.service.sessions.expire_after(Duration::ZERO);
    assert_eq!(rig.service.sessions.len(), 1);
    drop(stream);
    let ended = async {
        while rig.service.sessions.len() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            rig.service.sessions.expire_after(Duration::ZERO);
        }
    };
    timeout(PATIENCE, ended).await.expect("the session ends when nobody reads its stream");
    assert_eq!(rig.service.gateway.clients().len(), 0);
    rig.end().await;
}

#[tokio::test]
async fn a_call_with_progress_is_a_stream_and_without_a_json_document() {
    let upstream = FakeUpstream::new(tools(), |_, passage| {
        async move {
            for progress in 1..=3 {
                passage.desk.progress(&Body::from(format!(r#"{{"progressToken":1,"progress":{progress}}}"#)));
            }
            ok(r#"{"content":[]}"#)
        }
        .boxed()
    });
    let rig = Rig::start(upstream, SessionLimits::default()).await;
    let id = rig.session(json!({})).await;
    let session = [("mcp-session-id", id.as_str())];
    let reply = rig.post(&session, call(7)).await;
    assert_eq!((reply.header("content-type"), reply.header("x-accel-buffering")), (Some("text/event-stream"), Some("no")));
    // The stream begins with an event that a client can resume from.
    assert!(reply.body.starts_with("id: 2-0\ndata: \n\nid: 2-1\ndata: {"), "{}", reply.body);
    let events = reply.events();
    assert_eq!(
        events.iter().map(|event| event["params"]["progress"].clone()).collect::<Vec<_>>(),
        [json!(1), json!(2), json!(3), json!(null)]
    );
    assert_eq!((&events[0]["params"]["progressToken"], &events[3]["id"]), (&json!(7), &json!(7)));
    rig.end().await;
}

#[tokio::test]
async fn trap_26_a_cut_stream_is_resumed_with_every_message_once() {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (started, finished) = (begun.clone(), finish.clone());
    let upstream = FakeUpstream::new(tools(), move |_, passage| {
        let (begun, finish) = (started.clone(), finished.clone());
        async move {
            passage.desk.progress(&Body::from(r#"{"progress":1}"#));
            begun.notify_one();
            finish.notified().await;
            for progress in 2..=4 {
                passage.desk.progress(&Body::from(format!(r#"{{"progress":{progress}}}"#)));
            }
            ok(r#"{"content":[]}"#)
        }
        .boxed()
    });
    let rig = Rig::start(upstream, SessionLimits::default()).await;
    let id = rig.session(json!({})).await;
    let session = ("mcp-session-id", id.as_str());
    let mut cut = rig.open("POST", &[session], &call(7).to_string()).await;
    begun.notified().await;
    until(&mut cut, &mut String::new(), "\"progress\":1").await;
    drop(cut);
    finish.notify_one();
    for (after, expected) in [("2-0", vec![1, 2, 3, 4]), ("2-1", vec![2, 3, 4]), ("2-4", vec![])] {
        let reply = rig.send("GET", &[session, ("last-event-id", after)], "").await;
        let mut events = reply.events();
        // The call may still run at the first attempt.
        assert_eq!(events.pop().map(|last| last["id"].clone()), Some(json!(7)), "{after}: {reply:?}");
        let progress: Vec<Value> = events.iter().map(|event| event["params"]["progress"].clone()).collect();
        assert_eq!(progress, expected.into_iter().map(Value::from).collect::<Vec<_>>(), "{after}");
    }
    let gone = rig.send("GET", &[session, ("last-event-id", "99-1")], "").await;
    assert_eq!(gone.status, 404);
    rig.end().await;
}

#[tokio::test]
async fn requests_of_a_server_go_over_the_stream_of_the_call_and_the_answer_comes_in_a_post() {
    let upstream = FakeUpstream::new(tools(), |_, passage| {
        async move {
            let answer = passage.desk.ask("elicitation/create", Body::from(r#"{"message":"m"}"#)).await.expect("an answer");
            ok(format!(r#"{{"got":{}}}"#, answer.text()))
        }
        .boxed()
    });
    let rig = Rig::start(upstream, SessionLimits::default()).await;
    let (one, two) = (rig.session(json!({"elicitation": {}})).await, rig.session(json!({"elicitation": {}})).await);
    for (id, other) in [(&one, &two), (&two, &one)] {
        let session = [("mcp-session-id", id.as_str())];
        let mut stream = rig.open("POST", &session, &call(1).to_string()).await;
        let mut seen = String::new();
        until(&mut stream, &mut seen, "elicitation/create").await;
        let asked = seen.split("\"id\":").nth(1).and_then(|rest| rest.split(',').next()).unwrap().to_owned();
        let answer = json!({"jsonrpc": "2.0", "id": asked.parse::<u64>().unwrap(), "result": {"action": "accept", "content": {"s": id}}});
        // The same response in another session is nobody's.
        assert_eq!(rig.post(&[("mcp-session-id", other.as_str())], answer.clone()).await.status, 202);
        assert_eq!(rig.post(&session, answer).await.status, 202);
        until(&mut stream, &mut seen, &format!(r#"{{"got":{{"action":"accept","content":{{"s":"{id}"}}}}}}"#)).await;
    }
    rig.end().await;
}

#[tokio::test]
async fn the_stream_of_a_session_has_notifications_and_ends_with_the_listener() {
    let lists = json!({"resources": [{"uri": "x://1", "name": "1"}]});
    let server = crate::gateway::test_support::ready("a", r#"{"resources":{"subscribe":true}}"#, lists);
    let upstream = FakeUpstream::echoing(vec![server, with_tools("b", &[])]);
    let rig = Rig::start(upstream.clone(), SessionLimits::default()).await;
    let id = rig.session(json!({})).await;
    let session = [("mcp-session-id", id.as_str())];
    let subscribe = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "x://1"}});
    assert_eq!(rig.post(&session, subscribe).await.json()["result"], json!({}));
    // Before the stream is open, the notification waits.
    upstream.report(ServerNotice::Updated { server: "a".into(), uri: "x://1".into() }).await;
    let mut stream = rig.open("GET", &session, "").await;
    let mut seen = String::new();
    until(&mut stream, &mut seen, "notifications/resources/updated").await;
    upstream.report(ServerNotice::Updated { server: "a".into(), uri: "x://1".into() }).await;
    until(&mut stream, &mut seen, "id: 0-2").await;
    rig.end().await;
    let mut rest = vec![];
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the stream ends").unwrap();
}

const MODERN: [(&str, &str); 2] = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call")];

fn modern(id: u64) -> Value {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "a_t", "_meta": meta}})
}

#[tokio::test]
async fn modern_requests_need_no_session_and_headers_that_agree() {
    let rig = Rig::start(FakeUpstream::echoing(tools()), SessionLimits::default()).await;
    let named = [MODERN[0], MODERN[1], ("mcp-name", "a_t")];
    let reply = rig.post(&named, modern(1)).await;
    assert_eq!((reply.status, reply.json()["result"]["resultType"].clone()), (200, json!("complete")), "{reply:?}");
    assert_eq!(reply.header("mcp-session-id"), None);
    for (headers, status, code) in [
        (MODERN.to_vec(), 400, -32020),
        (vec![MODERN[0], MODERN[1], ("mcp-name", "other")], 400, -32020),
        (vec![MODERN[0], ("mcp-method", "tools/list"), named[2]], 400, -32020),
        (vec![MODERN[1], named[2]], 400, -32020),
        (vec![("mcp-protocol-version", "2025-11-25"), MODERN[1], named[2]], 400, -32020),
    ] {
        let reply = rig.post(&headers, modern(1)).await;
        assert_eq!((reply.status, reply.json()["error"]["code"].clone()), (status, json!(code)), "{headers:?}");
    }
    for missing in ["io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"] {
        let mut request = modern(1);
        request["params"]["_meta"].as_object_mut().unwrap().remove(missing);
        let reply = rig.post(&named, request).await;
        assert_eq!((reply.status, reply.json()["error"]["code"].clone()), (400, json!(-32602)), "{missing}");
    }
    let mut unknown = modern(2);
    unknown["method"] = json!("ping");
    let reply = rig.post(&[MODERN[0], ("mcp-method", "ping")], unknown).await;
    assert_eq!((reply.status, reply.json()["error"]["code"].clone()), (404, json!(-32601)), "{reply:?}");
    let mut newer = modern(3);
    newer["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2027-01-01");
    let reply = rig.post(&[("mcp-protocol-version", "2027-01-01"), MODERN[1], named[2]], newer).await;
    assert_eq!((reply.status, reply.json()["error"]["code"].clone()), (400, json!(-32022)), "{reply:?}");
    for method in ["GET", "DELETE"] {
        let reply = rig.send(method, &[MODERN[0]], "").await;
        assert!([400, 405].contains(&reply.status), "{method}: {reply:?}");
    }
    // Equal clients are one, so that servers list once for them.
    assert_eq!(rig.service.gateway.clients().len(), 1);
    rig.end().await;
}

#[tokio::test]
async fn a_modern_client_that_disconnects_cancels_its_call_and_a_legacy_one_does_not() {
    let begun = Arc::new(Notify::new());
    let started = begun.clone();
    let upstream = FakeUpstream::new(tools(), move |_, _| {
        started.notify_one();
        std::future::pending().boxed()
    });
    let rig = Rig::start(upstream.clone(), SessionLimits::default()).await;
    let id = rig.session(json!({})).await;
    let legacy = rig.open("POST", &[("mcp-session-id", id.as_str())], &call(1).to_string()).await;
    begun.notified().await;
    let modern = rig.open("POST", &[MODERN[0], MODERN[1], ("mcp-name", "a_t")], &modern(1).to_string()).await;
    begun.notified().await;
    drop((legacy, modern));
    assert_eq!(upstream.logged(1).await, ["cancel 2"]);
    // The session's call ends with the session.
    assert_eq!(rig.send("DELETE", &[("mcp-session-id", id.as_str())], "").await.status, 204);
    upstream.logged(2).await;
    rig.end().await;
}

#[tokio::test]
async fn trap_21_limits_are_answered_before_anything_is_read() {
    let rig = Rig::start(FakeUpstream::echoing(tools()), SessionLimits::default()).await;
    let mut large = TcpStream::connect(rig.address).await.unwrap();
    large.write_all(rig.head("POST", &[("connection", "close")], MESSAGE_BYTES + 1).as_bytes()).await.unwrap();
    assert_eq!(read_reply(large).await.status, 413);
    let flood = "mcp-param-x: 1\r\n".repeat(10_000);
    let mut headers = TcpStream::connect(rig.address).await.unwrap();
    headers.write_all(format!("POST /mcp HTTP/1.1\r\nhost: {}\r\n{flood}\r\n", rig.address).as_bytes()).await.unwrap();
    assert_eq!(read_reply(headers).await.status, 431);
    assert_eq!(rig.service.gateway.clients().len(), 0);
    rig.end().await;
}

#[tokio::test]
async fn the_end_waits_for_requests_in_progress() {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (started, finished) = (begun.clone(), finish.clone());
    let upstream = FakeUpstream::new(tools(), move |_, _| {
        let (begun, finish) = (started.clone(), finished.clone());
        async move {
            begun.notify_one();
            finish.notified().await;
            ok(r#"{"content":[]}"#)
        }
        .boxed()
    });
    let rig = Rig::start(upstream, SessionLimits::default()).await;
    let id = rig.session(json!({})).await;
    let stream = rig.open("POST", &[("mcp-session-id", id.as_str())], &call(1).to_string()).await;
    begun.notified().await;
    let (address, stopping) = (rig.address, rig.service.stopping.clone());
    let ended = tokio::spawn(rig.end());
    stopping.cancelled().await;
    assert!(TcpStream::connect(address).await.is_err(), "no new connections");
    finish.notify_one();
    let reply = read_reply(stream).await;
    assert_eq!((reply.status, reply.json()["result"].clone()), (200, json!({"content": []})));
    ended.await.unwrap();
}
