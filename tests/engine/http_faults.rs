//! Every fault of an HTTP server ends in a typed error of the right call, and the connection lives on where it can.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use switchboard::{
    domain::{
        ask::Answer as Reply,
        body::Body,
        call::{Failure, FailureKind, Outcome},
        event::Settled,
        frame::AnomalyKind,
        id::CallId,
        policy::{
            Policy,
            breaker::{BreakerPolicy, State as Breaking},
        },
        secret::{MASK, Secret},
        server::{Era, EraChoice, Launch, Phase, ServerSpec, Step as At},
    },
    engine::control::{Command, Control},
};
use tokio::sync::Semaphore;

use crate::{
    scripted::{Answer, Asked, Server, Step, event, hello, json_page, modern, page, send, stream},
    support::{Rig, failure_of, http, text_of},
};

const SHORT: Duration = Duration::from_millis(300);

type Fault = Box<dyn Fn(&Asked) -> Answer + Send>;

/// A server whose tool `bad` does what was said last, and an engine that is connected to it.
struct Bench {
    rig: Rig,
    server: Server,
    fault: Arc<Mutex<Fault>>,
}

impl Bench {
    async fn start(change: impl FnOnce(&mut ServerSpec)) -> Bench {
        let fault: Arc<Mutex<Fault>> = Arc::new(Mutex::new(Box::new(|_| vec![Step::Close])));
        let told = fault.clone();
        let server = Server::start(move |asked| (asked.tool() == "bad").then(|| told.lock().unwrap()(asked))).await;
        let mut spec = http("web", &server.url());
        // What each fault is told as is seen here; what many of them lead to is seen in the scenarios.
        spec.policy.breaker.on = false;
        change(&mut spec);
        let rig = Rig::start(vec![spec]);
        rig.ready("web").await;
        Bench { rig, server, fault }
    }

    async fn call(&self, fault: impl Fn(&Asked) -> Answer + Send + 'static) -> (CallId, Arc<Settled>) {
        *self.fault.lock().unwrap() = Box::new(fault);
        self.rig.call("web", "bad", "{}").await
    }

    /// Calls `bad`, which must fail without being repeated and must leave the connection in order.
    async fn fails(&self, what: &str, fault: impl Fn(&Asked) -> Answer + Send + 'static) -> Failure {
        let before = self.server.calls_of("bad");
        let (_, settled) = self.call(fault).await;
        let Outcome::Failed { failure } = &settled.outcome else { panic!("{what}: {:?}", settled.outcome) };
        assert_eq!(self.server.calls_of("bad"), before + 1, "{what}: sent once");
        assert_eq!(text_of(&self.rig.call("web", "echo", "{}").await.1), "hello", "the connection lives on after {what}");
        assert!(self.rig.server("web").phase.usable(), "{what}");
        Failure::clone(failure)
    }

    async fn stop(self) {
        self.rig.stop().await;
    }
}

fn header<'a>(failure: &'a Failure, name: &str) -> Option<&'a str> {
    failure.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_cannot_be_reached_say_which_kind_of_unreachable() {
    let mut gone = Server::start(|_| None).await;
    let refused = gone.url();
    gone.die().await;
    let plain = Server::start(|_| None).await;
    let nowhere = format!("http://{}.invalid/mcp", "a".repeat(70));
    let specs = [
        http("refused", &refused),
        http("nowhere", &nowhere),
        http("tls", &plain.url().replace("http:", "https:")),
        http("scheme", "ftp://127.0.0.1/mcp"),
    ]
    .map(|spec| ServerSpec { policy: one_failure_opens(), ..spec });
    let rig = Rig::start(specs.to_vec());
    for (id, word, hint) in [
        ("refused", "refused", "nothing listens there"),
        ("nowhere", "", "host name cannot be resolved"),
        ("tls", "", "http and https are not mixed up"),
        ("scheme", "no scheme", "http or https"),
    ] {
        let world = rig.until(id, |w| w.server(&id.into()).is_some_and(|s| s.phase.failure().is_some())).await;
        let why = world.server(&id.into()).unwrap().phase.failure().cloned().unwrap();
        assert_eq!(why.step, At::Dial, "{why:#?}");
        let all = format!("{} {}", why.summary, why.causes.join(" ")).to_ascii_lowercase();
        assert!(all.contains(word), "{why:#?}");
        assert!(why.hints.iter().any(|h| h.contains(hint)), "{why:#?}");
        assert!(why.target.contains("/mcp"), "{why:#?}");
        let breaker = rig.server(id).breaker;
        assert!(breaker.state == Breaking::Open && breaker.reason.contains(&why.summary), "no call was needed: {breaker:?}");
    }
    rig.stop().await;
}

fn one_failure_opens() -> Policy {
    Policy { breaker: BreakerPolicy { consecutive: 1, ..BreakerPolicy::default() }, ..Policy::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_keep_status_and_headers_and_are_not_repeated() {
    let bench = Bench::start(|_| {}).await;
    let html = [("Content-Type", "text/html")];
    let challenge = r#"Bearer realm="mcp", resource_metadata="https://auth.example/.well-known""#;
    let refuse = |status: &'static str, headers: Vec<(&'static str, &'static str)>, body: &'static str| {
        move |_: &Asked| page(status, &headers, body)
    };

    let failure = bench.fails("401", refuse("401 Unauthorized", vec![("WWW-Authenticate", challenge)], "")).await;
    assert_eq!((failure.kind, failure.status, failure.may_have_run), (FailureKind::Unauthorized, Some(401), false));
    assert_eq!(header(&failure, "www-authenticate"), Some(challenge));
    assert!(failure.hint.unwrap().contains("Authorization"));

    let failure = bench.fails("403", refuse("403 Forbidden", html.to_vec(), "<h1>no</h1>")).await;
    assert_eq!((failure.kind, failure.status), (FailureKind::Unauthorized, Some(403)));
    assert!(failure.message.contains("<h1>no</h1>"), "{failure:?}");

    let failure = bench.fails("405", refuse("405 Method Not Allowed", vec![], "")).await;
    assert_eq!((failure.kind, failure.status), (FailureKind::Transport, Some(405)));

    for (status, code, may_have_run) in [("429 Too Many Requests", 429, false), ("503 Service Unavailable", 503, true)] {
        for wait in ["7", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            let failure = bench.fails(status, refuse(status, vec![("Retry-After", wait)], "busy")).await;
            assert_eq!((failure.kind, failure.status, failure.may_have_run), (FailureKind::Transport, Some(code), may_have_run));
            assert_eq!(header(&failure, "retry-after"), Some(wait));
        }
    }

    let failure = bench.fails("500", refuse("500 Internal Server Error", vec![], "")).await;
    assert_eq!((failure.kind, failure.status, failure.may_have_run), (FailureKind::Transport, Some(500), true));

    let told = |asked: &Asked| {
        let error = json!({"jsonrpc": "2.0", "id": asked.id(), "error": {"code": -32602, "message": "no such thing", "data": [1]}});
        page("400 Bad Request", &[("Content-Type", "application/json")], error.to_string())
    };
    let failure = bench.fails("400 with an error", told).await;
    assert_eq!((failure.kind, failure.status, failure.rpc.unwrap().code), (FailureKind::Protocol, Some(400), -32602));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_fail_their_call_at_once() {
    let bench = Bench::start(|_| {}).await;
    let as_json = [("Content-Type", "application/json")];
    let protocol = |failure: Failure, word: &str| {
        assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Protocol, true), "{failure:?}");
        assert!(failure.message.contains(word), "{failure:?}");
    };
    let login = |_: &Asked| page("200 OK", &[("Content-Type", "text/html")], "<html>Please log in</html>");
    protocol(bench.fails("a login page", login).await, "Please log in");
    protocol(bench.fails("nothing", |_| page("200 OK", &[], "")).await, "instead of JSON");
    protocol(bench.fails("nothing as JSON", move |_| page("200 OK", &as_json, "")).await, "");
    protocol(bench.fails("an acknowledgement", |_| page("202 Accepted", &[], "")).await, "");
    protocol(bench.fails("another id", move |_| json_page(r#"{"jsonrpc":"2.0","id":987654,"result":{}}"#)).await, "987654");
    protocol(bench.fails("a batch", |asked| json_page(format!("[{}]", asked.text("hello")))).await, "batch");
    let nan = |asked: &Asked| json_page(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"x":NaN}}}}"#, asked.id()));
    protocol(bench.fails("NaN", nan).await, "");
    protocol(bench.fails("half an answer", |asked| json_page(&asked.text("hello")[..20])).await, "");
    let note = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
    protocol(bench.fails("a notification", move |_| json_page(note)).await, "no answer to this request");
    protocol(
        bench
            .fails("packed", |asked| {
                page("200 OK", &[("Content-Type", "application/json"), ("Content-Encoding", "gzip")], gzip(asked.text("hello").as_bytes()))
            })
            .await,
        "",
    );
    assert!(bench.server.log().requests.iter().all(|r| r.header("accept-encoding").is_none()), "nothing packed was asked for");
    let counts = bench.rig.server("web").anomaly_counts;
    for kind in [AnomalyKind::BadHttp, AnomalyKind::UnknownId, AnomalyKind::Batch, AnomalyKind::BadJson] {
        assert!(counts.contains_key(&kind), "{kind:?} is counted: {counts:?}");
    }
    bench.stop().await;
}

/// RFC 1952, one stored block: a client that unpacks it finds a right answer.
fn gzip(data: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let length = u16::try_from(data.len()).unwrap();
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    packed.extend_from_slice(&length.to_le_bytes());
    packed.extend_from_slice(&(!length).to_le_bytes());
    packed.extend_from_slice(data);
    packed.extend_from_slice(&(!crc).to_le_bytes());
    packed.extend_from_slice(&u32::from(length).to_le_bytes());
    packed
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_are_told_apart_from_dead_servers() {
    let bench = Bench::start(|_| {}).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let short = format!("{head}Content-Length: 500\r\n\r\n{{\"jsonrpc\"");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n40\r\n{{\"jsonrpc\"");
    let cuts: Vec<(&str, Answer)> = vec![
        ("closed without a word", vec![Step::Close]),
        ("reset without a word", vec![Step::Reset]),
        ("cut off", vec![send(&short), Step::Close]),
        ("reset within", vec![send(&short), Step::Reset]),
        ("cut off within a chunk", vec![send(&chunked), Step::Close]),
        ("no HTTP at all", vec![send("220 mail.example ESMTP\r\n"), Step::Close]),
    ];
    for (what, answer) in cuts {
        let failure = bench.fails(what, move |_| answer.clone()).await;
        assert_eq!((failure.kind, failure.may_have_run, failure.status), (FailureKind::Transport, true, None), "{what}: {failure:?}");
        assert!(!failure.causes.is_empty(), "{what}: {failure:?}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_over_the_limit_are_refused_while_they_come() {
    let bench = Bench::start(|spec| spec.limits.message_bytes = 64 << 10).await;
    let front = |asked: &Asked| format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[{{"type":"text","text":""#, asked.id());
    let lots = || Step::Repeat(vec![b'x'; 64 << 10], 1 << 20);
    let told = move |asked: &Asked| {
        vec![
            send(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999999999\r\n\r\n{}", front(asked))),
            lots(),
        ]
    };
    let untold = move |asked: &Asked| {
        vec![send(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{}", front(asked))), lots()]
    };
    let streamed = move |asked: &Asked| vec![stream(format!("id: 1\ndata: {}", front(asked))), lots()];
    let refused = move |_: &Asked| vec![send("HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\r\n"), lots()];
    for (what, fault) in [("a told length", Box::new(told) as Fault), ("no length", Box::new(untold)), ("an event", Box::new(streamed))] {
        let before = bench.rig.server("web").anomaly_counts.get(&AnomalyKind::TooLarge).copied().unwrap_or(0);
        let failure = bench.fails(what, move |asked| fault(asked)).await;
        assert_eq!((failure.kind, failure.may_have_run), (FailureKind::TooLarge, true), "{what}: {failure:?}");
        assert!(failure.message.contains("64 kB") || failure.message.contains("66 kB"), "the limit is named: {failure:?}");
        assert_eq!(bench.rig.server("web").anomaly_counts[&AnomalyKind::TooLarge], before + 1, "{what}");
    }
    let failure = bench.fails("an error page", refused).await;
    assert_eq!(failure.status, Some(500), "{failure:?}");
    let held = bench.rig.world().frames.iter().map(|f| f.body.len()).max();
    assert!(held < Some(70 << 10), "no more is kept than allowed: {held:?}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_within_the_origin_only() {
    let elsewhere = Server::start(|_| None).await;
    let bench = Bench::start(|spec| {
        let Launch::Http { headers, .. } = &mut spec.launch else { unreachable!() };
        headers.push(("Authorization".into(), Secret::literal("Bearer canary")));
    })
    .await;
    let target = elsewhere.url();
    let away = move |status: &'static str| {
        let target = target.clone();
        move |_: &Asked| page(status, &[("Location", &target)], "")
    };
    for status in ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let failure = bench.fails(status, away(status)).await;
        assert_eq!(failure.status, status[..3].parse().ok(), "{failure:?}");
        assert_eq!(header(&failure, "location"), Some(elsewhere.url().as_str()));
        assert!(failure.hint.unwrap().contains("redirects elsewhere"));
    }
    // A 302 turns a POST into a GET for old clients, so it is not followed at home either.
    assert_eq!(bench.fails("302 at home", |_| page("302 Found", &[("Location", "/mcp")], "")).await.status, Some(302));
    assert!(elsewhere.log().requests.is_empty(), "no request, and no credential, went elsewhere");

    for status in ["307 Temporary Redirect", "308 Permanent Redirect"] {
        let (_, settled) = bench
            .call(
                move |asked| {
                    if asked.path == "/mcp" { page(status, &[("Location", "/moved")], "") } else { json_page(asked.text("moved")) }
                },
            )
            .await;
        assert_eq!(text_of(&settled), "moved");
        let last = bench.server.log().requests.into_iter().rfind(|r| r.tool() == "bad").unwrap();
        assert_eq!((last.path.as_str(), last.header("authorization")), ("/moved", Some("Bearer canary")));
    }
    let before = bench.server.calls_of("bad");
    let (_, settled) = bench.call(|_| page("307 Temporary Redirect", &[("Location", "/mcp")], "")).await;
    assert!(failure_of(&settled).message.contains("redirected more than 5 times"), "{settled:?}");
    assert!(bench.server.calls_of("bad") - before <= 6);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_404_without_a_session_is_a_wrong_address() {
    let server = Server::start(|asked| match asked.method() {
        "initialize" => Some(json_page(asked.result(hello()))),
        "tools/call" => Some(page("404 Not Found", &[], "no such page")),
        _ => None,
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let (_, settled) = rig.call("web", "bad", "{}").await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.status), (FailureKind::Transport, Some(404)));
    assert!(failure.hint.as_ref().unwrap().contains("path of url"));
    assert_eq!((server.calls_of("bad"), server.count("initialize")), (1, 1));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_credentials_at_the_door_is_not_asked_again_and_again() {
    let server = Server::start(|_| Some(page("401 Unauthorized", &[("WWW-Authenticate", "Bearer")], "who are you"))).await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    let world = rig.until("refused", |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    let why = world.servers[0].phase.failure().unwrap();
    assert_eq!((why.status, why.retryable), (Some(401), false), "{why:#?}");
    assert!(why.hints.iter().any(|h| h.contains("Authorization")), "{why:#?}");
    assert_eq!(server.log().requests.len(), 1, "asked once");
    let (_, settled) = rig.call("web", "echo", "{}").await;
    assert_eq!(failure_of(&settled).kind, FailureKind::NotReady);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_event_stream_without_ids_is_an_interruption() {
    let bench = Bench::start(|_| {}).await;
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "working"}}).to_string();
    let cases: Vec<(&str, Answer, &str)> = vec![
        ("ended", vec![stream(""), Step::Close], "ended before the answer"),
        ("ended after a message", vec![stream(event(None, &progress)), Step::Close], "ended before the answer"),
        ("cut within an event", vec![stream("data: {\"jsonrpc\":"), Step::Close], "within an event"),
        ("reset within an event", vec![stream("data: {\"jsonrpc\":"), Step::Reset], "broke"),
        ("an answer without its end", vec![stream("data: {}\n"), Step::Close], "within an event"),
    ];
    for (what, answer, word) in cases {
        let failure = bench.fails(what, move |_| answer.clone()).await;
        assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Transport, true), "{what}: {failure:?}");
        assert!(failure.message.contains(word), "{what}: {failure:?}");
    }
    let odd = "retry: soon\n: comment\nunknown: x\ndata: not json\n\ndata\n\n";
    let (_, settled) = bench.call(move |asked| vec![stream(format!("{odd}{}", event(None, &asked.text("at last")))), Step::Close]).await;
    assert_eq!(text_of(&settled), "at last", "what is odd on the way is only counted");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_event_stream_with_ids_is_resumed_when_the_server_says() {
    let question = Arc::new(Mutex::new(None::<String>));
    let asked_for = question.clone();
    let server = Server::start(move |asked| match (asked.verb.as_str(), asked.header("last-event-id")) {
        ("GET", Some("e-1")) => Some(vec![stream("id: e-2\nretry: 1\ndata: \n\ndata: {\"jso"), Step::Close]),
        ("GET", Some("e-2")) => Some(vec![stream(event(Some("e-3"), &asked_for.lock().unwrap().clone().unwrap())), Step::Close]),
        ("POST", _) if asked.tool() == "bad" => {
            *asked_for.lock().unwrap() = Some(asked.text("resumed"));
            Some(vec![stream("id: e-1\nretry: 700\ndata: \n\ndata: {\"jsonrpc\":\"2."), Step::Close])
        }
        _ => None,
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let (call, settled) = rig.call("web", "bad", "{}").await;
    assert_eq!(text_of(&settled), "resumed");
    let log = server.log();
    let first = log.requests.iter().find(|r| r.tool() == "bad").unwrap();
    let resumes: Vec<_> = log.requests.iter().filter(|r| r.header("last-event-id").is_some()).collect();
    assert_eq!(resumes.len(), 2);
    assert!(resumes[0].at - first.at >= Duration::from_millis(690), "not before the time that the server asked for");
    for resume in resumes {
        assert_eq!((resume.header("accept"), resume.header("mcp-session-id")), (Some("text/event-stream"), Some("session-1")));
    }
    assert_eq!(server.calls_of("bad"), 1, "a call is never sent again");
    assert!(rig.world().frames_of(call).any(|f| f.http.as_ref().is_some_and(|h| h.event_id.as_deref() == Some("e-3"))));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resuming_has_an_end() {
    let answers_get = Arc::new(AtomicBool::new(true));
    let open = answers_get.clone();
    let server = Server::start(move |asked| {
        let cut = || vec![stream("id: e-1\nretry: 1\ndata: \n\n"), Step::Close];
        match asked.verb.as_str() {
            "GET" if asked.header("last-event-id").is_some() && open.load(Ordering::SeqCst) => Some(cut()),
            "POST" if asked.tool() == "bad" => Some(cut()),
            _ => None,
        }
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let (_, settled) = rig.call("web", "bad", "{}").await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Transport, true), "{failure:?}");
    let resumes = server.log().requests.iter().filter(|r| r.header("last-event-id").is_some()).count();
    assert_eq!(resumes, 5);
    answers_get.store(false, Ordering::SeqCst);
    let (_, settled) = rig.call("web", "bad", "{}").await;
    assert!(failure_of(&settled).message.contains("405"), "{settled:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_brings_something_each_time_is_resumed_as_often_as_it_takes() {
    const POLLS: usize = 12;
    let (polls, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
    let (count, kept) = (polls.clone(), answer.clone());
    let server = Server::start(move |asked| {
        if asked.tool() == "bad" {
            *kept.lock().unwrap() = asked.text("at last");
            return Some(vec![stream("id: e-0\nretry: 1\ndata: \n\n"), Step::Close]);
        }
        asked.header("last-event-id")?;
        // A new id, or a message without one: both are progress.
        let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}).to_string();
        let text = match count.fetch_add(1, Ordering::SeqCst) + 1 {
            POLLS => event(None, &kept.lock().unwrap()),
            n if n % 2 == 0 => event(None, &note),
            n => format!("id: e-{n}\ndata: \n\n"),
        };
        Some(vec![stream(text), Step::Close])
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    assert_eq!(text_of(&rig.call("web", "bad", "{}").await.1), "at last");
    assert_eq!(polls.load(Ordering::SeqCst), POLLS);
    let log = server.log();
    let last = log.requests.iter().rfind(|r| r.header("last-event-id").is_some()).unwrap();
    assert_eq!(last.header("last-event-id"), Some("e-11"), "kept over streams that bring no id");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_stream_is_asked_for_where_it_moved_and_when_there_is_time() {
    let asked_before = AtomicUsize::new(0);
    let changed = event(None, &json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}).to_string());
    let server = Server::start(move |asked| match (asked.verb.as_str(), asked.path.as_str()) {
        ("GET" | "DELETE", "/mcp") => Some(page("307 Temporary Redirect", &[("Location", "/moved")], "")),
        ("GET", _) => Some(match asked_before.fetch_add(1, Ordering::SeqCst) {
            0 => page("429 Too Many Requests", &[("Retry-After", "0")], ""),
            1 => page("408 Request Timeout", &[], ""),
            2 => vec![stream(&changed), Step::Close],
            _ => page("405 Method Not Allowed", &[], ""),
        }),
        _ => None,
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    rig.until("the lists read again", |w| w.servers[0].catalog.revision >= 2).await;
    server.saw("the last try", |log| log.requests.iter().filter(|r| r.verb == "GET" && r.path == "/moved").count() == 4).await;
    rig.stop().await;
    let log = server.log();
    let last = log.requests.last().unwrap();
    assert_eq!((last.verb.as_str(), last.path.as_str(), last.header("mcp-session-id")), ("DELETE", "/moved", Some("session-1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_again_after_a_gap_between_subscriptions() {
    let listened = AtomicUsize::new(0);
    let server = Server::start(move |asked| match asked.method() {
        "subscriptions/listen" if listened.fetch_add(1, Ordering::SeqCst) == 0 => Some(vec![stream(""), Step::Close]),
        _ => modern(asked),
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    rig.until("the lists read again", |w| w.servers[0].catalog.revision >= 2).await;
    assert_eq!(server.count("subscriptions/listen"), 2);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_at_the_deadline_and_is_cancelled_by_a_notification() {
    let bench = Bench::start(|_| {}).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    let silences: Vec<(&str, Answer)> = vec![
        ("no answer", vec![Step::Hold]),
        ("a silent stream", vec![stream(""), Step::Hold]),
        ("a stream of comments", vec![stream(":"), Step::Drip(b':')]),
        ("a slow drip", vec![send(head), Step::Drip(b' ')]),
        ("half a head", vec![send("HTTP/1.1 200 OK\r\nX: "), Step::Drip(b'x')]),
    ];
    for (n, (what, answer)) in silences.into_iter().enumerate() {
        *bench.fault.lock().unwrap() = Box::new(move |_| answer.clone());
        let settled = bench.rig.call_within("web", "bad", SHORT).await;
        let failure = failure_of(&settled);
        assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Timeout, true), "{what}: {failure:?}");
        let log = bench
            .server
            .saw("the cancellation", |log| log.requests.iter().filter(|r| r.method() == "notifications/cancelled").count() == n + 1)
            .await;
        let call = log.requests.iter().rfind(|r| r.tool() == "bad").unwrap().clone();
        let cancelled = log.requests.iter().rfind(|r| r.method() == "notifications/cancelled").unwrap();
        assert_eq!(&cancelled.rpc["params"]["requestId"], call.id(), "{what}");
        assert!(cancelled.rpc["params"]["reason"].as_str().unwrap().contains("no answer within"), "{what}: {cancelled:?}");
        bench.server.saw("the hang-up", |log| log.hung_up.contains(&call.number)).await;
        assert_eq!(text_of(&bench.rig.call("web", "echo", "{}").await.1), "hello", "after {what}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_is_noticed_without_a_call_and_found_again() {
    let mut server = Server::start(|_| None).await;
    let mut spec = http("web", &server.url());
    spec.timeouts.health = Duration::from_millis(50);
    let rig = Rig::start(vec![spec]);
    rig.ready("web").await;
    server.saw("a health check", |log| log.requests.iter().any(|r| r.method() == "ping")).await;
    server.die().await;
    let world = rig.until("the loss", |w| matches!(&*w.servers[0].phase, Phase::Reconnecting { .. })).await;
    assert!(world.calls.is_empty(), "nobody called");
    let why = world.servers[0].phase.failure().cloned().unwrap();
    assert!(why.target.contains("/mcp") && !why.summary.is_empty(), "{why:#?}");
    server.listen().await;
    rig.ready("web").await;
    assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_finds_nobody_waits_for_the_server_and_is_sent_once() {
    let mut server = Server::single().await;
    let mut spec = http("web", &server.url());
    spec.timeouts.health = Duration::ZERO;
    let rig = Rig::start(vec![spec]);
    rig.ready("web").await;
    server.die().await;
    let call = rig.submit("web", "echo", "{}");
    rig.until("the loss", |w| w.servers[0].phase.failure().is_some()).await;
    server.listen().await;
    assert_eq!(text_of(&*rig.settled(call).await), "hello");
    assert_eq!(server.calls_of("echo"), 1);
    server.die().await;
    let call = rig.submit("web", "echo", "{}");
    rig.until("the loss", |w| w.servers[0].phase.failure().is_some()).await;
    rig.command(Command::Disable { server: "web".into() });
    let settled = rig.settled(call).await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::NotReady, false), "given up with the server: {failure:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_is_given_back_at_the_end() {
    let server = Server::start(|_| None).await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    rig.stop().await;
    let log = server.log();
    let last = log.requests.last().unwrap();
    assert_eq!((last.verb.as_str(), last.header("mcp-session-id")), ("DELETE", Some("session-1")));
    assert_eq!(last.header("mcp-protocol-version"), Some("2025-11-25"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_take_its_session_back_delays_nothing() {
    let server = Server::start(|asked| (asked.verb == "DELETE").then(|| vec![Step::Hold])).await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    rig.stop().await;
    assert_eq!(server.log().requests.last().unwrap().verb, "DELETE");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_stream_brings_questions_and_changes() {
    let gate = Arc::new(Semaphore::new(0));
    let (through, streams) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let question = json!({"jsonrpc": "2.0", "id": "q-1", "method": "elicitation/create", "params": {
        "message": "Who?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}});
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    let (question, changed) = (event(Some("s-1"), &question.to_string()), event(Some("s-2"), &changed.to_string()));
    let server = Server::start(move |asked| {
        let gated = |text: &str| vec![Step::Gate(through.clone()), send(text)];
        (asked.verb == "GET").then(|| match streams.fetch_add(1, Ordering::SeqCst) {
            0 => [vec![stream("retry: 1\n\n")], gated(&question), gated(&changed), vec![Step::Close]].concat(),
            _ => vec![stream(""), Step::Hold],
        })
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let log = server.saw("the stream", |log| log.requests.iter().any(|r| r.verb == "GET")).await;
    let get = log.requests.iter().find(|r| r.verb == "GET").unwrap();
    assert_eq!((get.header("accept"), get.header("mcp-session-id")), (Some("text/event-stream"), Some("session-1")));

    gate.add_permits(1);
    let world = rig.until("the question", |w| !w.asks.is_empty()).await;
    rig.command(Command::Answer { ask: world.asks[0].id, answer: Reply::Accept { content: Body::from(r#"{"name":"Ada"}"#) } });
    let log = server.saw("the answer", |log| log.requests.iter().any(|r| r.id() == "q-1")).await;
    let answer = log.requests.iter().find(|r| r.id() == "q-1").unwrap();
    assert_eq!(answer.rpc["result"], json!({"action": "accept", "content": {"name": "Ada"}}));
    assert_eq!(answer.header("mcp-session-id"), Some("session-1"));

    gate.add_permits(1);
    rig.until("the lists read again", |w| w.servers[0].catalog.revision >= 2).await;
    let log = server.saw("the stream again", |log| log.requests.iter().filter(|r| r.verb == "GET").count() == 2).await;
    assert_eq!(log.requests.iter().rfind(|r| r.verb == "GET").unwrap().header("last-event-id"), Some("s-2"));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_the_probe_is_reached_the_old_way() {
    for step in [Step::Hold, Step::Reset, Step::Close] {
        let server = Server::start(move |asked| (asked.method() == "server/discover").then(|| vec![step.clone()])).await;
        let mut spec = http("web", &server.url());
        spec.timeouts.probe = SHORT;
        let rig = Rig::start(vec![spec]);
        let world = rig.ready("web").await;
        assert_eq!(world.servers[0].info.as_ref().unwrap().era, Era::Legacy);
        assert_eq!((server.count("server/discover"), server.count("notifications/cancelled")), (1, 0));
        assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_probe_lead_to_the_old_way() {
    for status in ["400 Bad Request", "404 Not Found", "405 Method Not Allowed", "500 Internal Server Error"] {
        let server = Server::start(move |asked| (asked.method() == "server/discover").then(|| page(status, &[], "what?"))).await;
        let rig = Rig::start(vec![http("web", &server.url())]);
        let world = rig.ready("web").await;
        assert_eq!(world.servers[0].info.as_ref().unwrap().era, Era::Legacy, "{status}");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_modern_era_has_headers_rounds_and_no_sessions() {
    let server = Server::start(|asked| match asked.tool() {
        "bad" if asked.rpc["params"]["inputResponses"].is_null() => Some(json_page(asked.result(json!({
            "resultType": "input_required", "requestState": "state-1",
            "inputRequests": {"who": {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {"type": "object"}}}}
        })))),
        "worse" => Some(vec![stream(""), Step::Hold]),
        _ => modern(asked),
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    let world = rig.ready("web").await;
    let info = world.servers[0].info.clone().unwrap();
    assert_eq!((info.era, info.protocol.as_str(), info.name.as_deref()), (Era::Modern, "2026-07-28", Some("scripted")));

    assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello");
    let asking = rig.submit("web", "bad", r#"{"x":1}"#);
    let world = rig.until("the question", |w| !w.asks.is_empty()).await;
    assert_eq!(world.asks[0].call, Some(asking));
    rig.command(Command::Answer { ask: world.asks[0].id, answer: Reply::Accept { content: Body::from(r#"{"name":"Ada"}"#) } });
    let settled = rig.settled(asking).await;
    assert_eq!((text_of(&settled).as_str(), settled.rounds), ("hello", 2));
    let log = server.log();
    let rounds: Vec<_> = log.requests.iter().filter(|r| r.tool() == "bad").collect();
    assert_eq!(rounds.len(), 2);
    assert_ne!(rounds[0].id(), rounds[1].id());
    let second = &rounds[1].rpc["params"];
    assert_eq!((&second["requestState"], &second["arguments"]), (&json!("state-1"), &json!({"x": 1})));
    assert_eq!(second["inputResponses"]["who"], json!({"action": "accept", "content": {"name": "Ada"}}));
    for request in log.requests.iter().filter(|r| r.verb == "POST") {
        assert_eq!(request.header("mcp-protocol-version"), Some("2026-07-28"), "{request:?}");
        assert_eq!(request.header("mcp-method"), Some(request.method()));
        assert_eq!(request.header("mcp-session-id"), None);
        assert_eq!(request.rpc["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(request.header("mcp-name").unwrap_or_default(), request.tool());
    }
    assert_eq!(world.calls.iter().filter(|c| c.id == asking).count(), 1, "one call, whatever its rounds");

    let hanging = rig.submit("web", "worse", "{}");
    server.saw("the call", |log| log.requests.iter().any(|r| r.tool() == "worse")).await;
    rig.command(Command::Cancel { call: hanging, reason: "enough".into() });
    assert!(matches!(rig.settled(hanging).await.outcome, Outcome::Cancelled { .. }));
    let number = server.log().requests.iter().find(|r| r.tool() == "worse").unwrap().number;
    server.saw("the stream closed", |log| log.hung_up.contains(&number)).await;
    rig.call("web", "echo", "{}").await;
    rig.stop().await;
    assert_eq!(server.count("notifications/cancelled"), 0, "closing the stream says it");
    assert!(server.log().requests.iter().all(|r| r.verb == "POST"), "no GET and no DELETE in this era");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_stream_that_is_cut_is_not_resumed() {
    let server = Server::start(|asked| match asked.tool() {
        "bad" => Some(vec![stream("id: 1\nretry: 1\ndata: \n\n"), Step::Close]),
        _ => modern(asked),
    })
    .await;
    let mut spec = http("web", &server.url());
    spec.era = EraChoice::Modern;
    let rig = Rig::start(vec![spec]);
    rig.ready("web").await;
    let (_, settled) = rig.call("web", "bad", "{}").await;
    assert_eq!((failure_of(&settled).kind, failure_of(&settled).may_have_run), (FailureKind::Transport, true));
    assert_eq!((server.calls_of("bad"), server.log().requests.iter().filter(|r| r.verb == "GET").count()), (1, 0));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_have_an_end_and_refused_questions_end_the_call() {
    let server = Server::start(|asked| match asked.tool() {
        "bad" => Some(json_page(asked.result(json!({"resultType": "input_required", "inputRequests": {"r": {"method": "roots/list"}}})))),
        "worse" => Some(json_page(asked.result(json!({"resultType": "input_required", "inputRequests": {"r": {"method": "no/such"}}})))),
        _ => modern(asked),
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let (_, settled) = rig.call("web", "bad", "{}").await;
    assert_eq!((failure_of(&settled).kind, server.calls_of("bad")), (FailureKind::Protocol, 10), "{settled:?}");
    let (_, settled) = rig.call("web", "worse", "{}").await;
    assert!(failure_of(&settled).message.contains("no/such"), "{settled:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_carries_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.sock");
    let server = Server::on_socket(&path, |_| None);
    let mut spec = http("web", "http://localhost/mcp");
    spec.launch = Launch::Http { url: "http://localhost/mcp".into(), headers: vec![], socket: Some(path.clone()) };
    let mut missing = spec.clone();
    missing.id = "missing".into();
    missing.launch = Launch::Http { url: "http://localhost/mcp".into(), headers: vec![], socket: Some(folder.path().join("none.sock")) };
    let rig = Rig::start(vec![spec, missing]);
    rig.ready("web").await;
    assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello");
    assert_eq!(server.calls_of("echo"), 1);
    let world = rig.until("the missing socket", |w| w.servers[1].phase.failure().is_some()).await;
    let why = world.servers[1].phase.failure().unwrap();
    assert!(why.step == At::Dial && why.target.contains("none.sock"), "{why:#?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_headers_are_sent_and_never_shown() {
    const TOKEN: &str = "canary-5f3a91-token";
    const KEY: &str = "canary-77be02-key";
    let server = Server::start(|asked| match asked.tool() {
        // Careless servers quote what they were sent.
        "bad" => {
            Some(page("401 Unauthorized", &[("WWW-Authenticate", &format!("Bearer error=\"{TOKEN}\""))], format!("{TOKEN} is not valid")))
        }
        _ => None,
    })
    .await;
    let mut spec = http("web", &server.url());
    let headers =
        vec![("Authorization".into(), Secret::new(format!("Bearer {TOKEN}"), "Bearer ${TOKEN}")), ("X-Key".into(), Secret::literal(KEY))];
    spec.launch = Launch::Http { url: server.url(), headers, socket: None };
    spec.origin.variables.push(Secret::new(TOKEN, "${TOKEN}"));
    let rig = Rig::start(vec![]);
    let (_, mut tail) = rig.engine.watch();
    rig.engine.apply(vec![spec]);
    rig.ready("web").await;
    rig.call("web", "echo", "{}").await;
    let (_, refused) = rig.call("web", "bad", "{}").await;
    assert_eq!(failure_of(&refused).kind, FailureKind::Unauthorized);
    assert!(failure_of(&refused).message.contains(MASK), "{refused:?}");
    let world = rig.world();
    rig.stop().await;
    for request in &server.log().requests {
        let sent = (request.header("authorization"), request.header("x-key"));
        assert_eq!(sent, (Some(&*format!("Bearer {TOKEN}")), Some(KEY)), "{request:?}");
    }
    let shown = world.frames.iter().flat_map(|f| f.http.iter().flat_map(|h| h.headers.clone())).collect::<Vec<_>>();
    assert!(
        shown.contains(&("Authorization".into(), "Bearer ${TOKEN}".into())) && shown.contains(&("X-Key".into(), MASK.into())),
        "{shown:?}"
    );
    let mut events = 0;
    while let Ok(Some(event)) = tail.try_next() {
        let text = serde_json::to_string(&*event).unwrap();
        assert!(!text.contains("canary-"), "{text}");
        events += 1;
    }
    assert!(events > 20, "{events} events were looked at");
    let text = format!("{world:?}");
    assert!(!text.contains("canary-") && text.len() > 1000);
    let values: Vec<Value> = world.calls.iter().map(|c| serde_json::to_value(c.settled.as_ref().unwrap()).unwrap()).collect();
    assert!(!Value::from(values).to_string().contains("canary-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_refused_is_told_and_taken_back() {
    // One resource is refused by an error, one by leaving it out of what is agreed to; the third is kept.
    let server = Server::start(|asked| {
        let wanted = asked.rpc["params"]["notifications"]["resourceSubscriptions"].to_string();
        match asked.method() {
            "server/discover" => Some(json_page(asked.result(json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true}},
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "scripted", "version": "2"}}
            })))),
            "subscriptions/listen" if wanted.contains("bad") => Some(json_page(
                json!({"jsonrpc": "2.0", "id": asked.id(), "error": {"code": -32602, "message": "no such resource"}}).to_string(),
            )),
            "subscriptions/listen" => {
                let kept = if wanted.contains("kept") { json!(["r://kept"]) } else { json!([]) };
                let params = json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": kept}});
                let told = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params});
                Some(vec![stream(event(None, &told.to_string())), Step::Hold])
            }
            "resources/list" | "resources/templates/list" => {
                Some(json_page(asked.result(json!({"resources": [], "resourceTemplates": []}))))
            }
            _ => modern(asked),
        }
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let subscribe = |uri: &str| rig.engine.command(Command::Subscribe { server: "web".into(), uri: uri.into(), on: true });
    let told = |uri: &'static str, why: &'static str| {
        rig.until("a notice", move |world| world.notices.iter().any(|(_, n)| n.text.contains(uri) && n.text.contains(why)))
    };
    subscribe("r://bad");
    told("r://bad", "no such resource").await;
    subscribe("r://quiet");
    told("r://quiet", "left it out").await;
    subscribe("r://kept");
    let world = rig.until("the one that is kept", |world| world.servers[0].subscriptions.contains_key("r://kept")).await;
    assert_eq!(world.servers[0].subscriptions.keys().collect::<Vec<_>>(), ["r://kept"]);
    assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello", "the connection lives on");
    rig.stop().await;
}
