//! Answers that are wrong.

use super::*;

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
        ("tls", "does not speak tls", "use http://"),
        ("scheme", "not a scheme", "http or https"),
    ] {
        let read_model = rig.until(id, |w| w.server(&id.into()).is_some_and(|s| s.phase.failure().is_some())).await;
        let why = read_model.server(&id.into()).unwrap().phase.failure().cloned().unwrap();
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
    assert_eq!((failure.kind, failure.status, failure.may_have_run), (FailureKind::Unauthorized, Some(401), true));
    assert_eq!(header(&failure, "www-authenticate"), Some(challenge));
    assert!(failure.hint.unwrap().contains("Authorization"));

    let failure = bench.fails("403", refuse("403 Forbidden", html.to_vec(), "<h1>no</h1>")).await;
    assert_eq!((failure.kind, failure.status), (FailureKind::Unauthorized, Some(403)));
    assert!(
        failure.message.contains("<h1>no</h1>") && failure.hint.as_ref().is_some_and(|hint| hint.contains("Authorization")),
        "{failure:?}"
    );

    let failure = bench.fails("405", refuse("405 Method Not Allowed", vec![], "")).await;
    assert_eq!((failure.kind, failure.status), (FailureKind::Transport, Some(405)));

    for (status, code) in [("429 Too Many Requests", 429), ("503 Service Unavailable", 503)] {
        for wait in ["7", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            let failure = bench.fails(status, refuse(status, vec![("Retry-After", wait)], "busy")).await;
            assert_eq!((failure.kind, failure.status, failure.may_have_run), (FailureKind::Transport, Some(code), true));
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
    protocol(bench.fails("nothing as JSON", move |_| page("200 OK", &as_json, "")).await, "is empty (HTTP 200 OK)");
    protocol(bench.fails("an acknowledgement", |_| page("202 Accepted", &[], "")).await, "is empty (HTTP 202 Accepted)");
    protocol(bench.fails("a number", |_| json_page("7")).await, "not a JSON object: 7");
    protocol(bench.fails("UTF-16", |_| json_page(b"\xff\xfe{\0}\0")).await, "not a JSON object");
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
        "encoded",
    );
    let (_, marked) = bench.call(|asked| json_page(format!("\u{feff}{}", asked.text("marked")))).await;
    assert_eq!(text_of(&marked), "marked", "a byte order mark is passed over");
    assert!(bench.server.log().requests.iter().all(|r| r.header("accept-encoding").is_none()), "nothing packed was asked for");
    let counts = bench.rig.server("web").anomaly_counts;
    for kind in [AnomalyKind::BadHttp, AnomalyKind::UnknownId, AnomalyKind::Batch, AnomalyKind::BadJson] {
        assert!(counts.contains_key(&kind), "{kind:?} is counted: {counts:?}");
    }
    assert!(!counts.contains_key(&AnomalyKind::Noise), "a response has no stdout: {counts:?}");
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
    for (what, fault) in [("a declared length", Box::new(told) as Fault), ("no length", Box::new(untold)), ("an event", Box::new(streamed))]
    {
        let before = bench.rig.server("web").anomaly_counts.get(&AnomalyKind::TooLarge).copied().unwrap_or(0);
        let failure = bench.fails(what, move |asked| fault(asked)).await;
        assert_eq!((failure.kind, failure.may_have_run), (FailureKind::TooLarge, true), "{what}: {failure:?}");
        assert!(failure.message.contains("64 kB") || failure.message.contains("66 kB"), "the limit is named: {failure:?}");
        assert_eq!(bench.rig.server("web").anomaly_counts[&AnomalyKind::TooLarge], before + 1, "{what}");
    }
    let failure = bench.fails("an error page", refused).await;
    assert_eq!(failure.status, Some(500), "{failure:?}");
    let held = bench.rig.read_model().frames.iter().map(|f| f.body.len()).max();
    assert!(held < Some(70 << 10), "no more is stored than allowed: {held:?}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_within_the_origin_only() {
    let elsewhere = Server::start(|_| None).await;
    let bench = Bench::start(|spec| {
        let Transport::Http { headers, .. } = &mut spec.launch else { unreachable!() };
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
        let target = elsewhere.url();
        assert!(failure.message.contains(&target) && failure.hint.unwrap().contains(&format!("set url = \"{target}\"")));
    }
    // A 302 turns a POST into a GET for old clients, so it is not followed at home either.
    assert_eq!(bench.fails("302 at home", |_| page("302 Found", &[("Location", "/mcp")], "")).await.status, Some(302));
    assert!(elsewhere.log().requests.is_empty(), "no request, and no credential, went elsewhere");

    // A redirect of this call alone may come after it ran; it is not followed.
    let failure = bench.fails("307 at home", |_| page("307 Temporary Redirect", &[("Location", "/moved")], "")).await;
    assert_eq!((failure.status, failure.may_have_run), (Some(307), true));
    assert!(failure.hint.unwrap().contains("give the final address"));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_endpoint_is_followed_once_for_an_unsafe_call_and_five_times_for_a_safe_one() {
    for (status, turns) in [("307 Temporary Redirect", 1), ("308 Permanent Redirect", 1), ("308 Permanent Redirect", 2)] {
        let server = Server::start(move |asked| {
            let moved = matches!(asked.method(), "tools/call" | "ping");
            let at = asked.path.matches("/moved").count();
            match (asked.tool(), moved && at < turns) {
                ("worse", _) => Some(page(status, &[("Location", &asked.path)], "")),
                (_, true) => Some(page(status, &[("Location", &format!("{}/moved", asked.path))], "")),
                (_, false) => None,
            }
        })
        .await;
        let mut spec = http("web", &server.url());
        let Transport::Http { headers, .. } = &mut spec.launch else { unreachable!() };
        headers.push(("Authorization".into(), Secret::literal("Bearer canary")));
        let rig = Rig::start(vec![spec]);
        let rule = ToolRule { matches: Pattern::parse("web_worse").unwrap(), safe: Some(true), ..ToolRule::default() };
        rig.engine.set_rules(Rules { tools: vec![rule], ..Rules::default() });
        rig.ready("web").await;
        let (_, settled) = rig.call("web", "bad", "{}").await;
        let sent: Vec<String> = server.log().requests.iter().filter(|r| r.tool() == "bad").map(|r| r.path.clone()).collect();
        assert_eq!(sent, ["/mcp", "/mcp/moved"], "{status}");
        match turns {
            1 => assert_eq!(text_of(&settled), "hello"),
            _ => assert_eq!((failure_of(&settled).status, failure_of(&settled).may_have_run), (Some(308), true), "{settled:?}"),
        }
        let last = server.log().requests.into_iter().rfind(|r| r.tool() == "bad").unwrap();
        assert_eq!(last.header("authorization"), Some("Bearer canary"));
        let (_, settled) = rig.call("web", "worse", "{}").await;
        assert!(failure_of(&settled).message.contains("redirected more than 5 times"), "{settled:?}");
        assert!(failure_of(&settled).hint.as_ref().is_some_and(|hint| hint.contains("final address")), "{settled:?}");
        assert_eq!((server.calls_of("worse"), failure_of(&settled).may_have_run), (5, true));
        rig.stop().await;
    }
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
    let read_model = rig.until("refused", |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    let why = read_model.servers[0].phase.failure().unwrap();
    assert_eq!((why.status, why.retryable), (Some(401), false), "{why:#?}");
    assert!(why.hints.iter().any(|h| h.contains("Authorization")), "{why:#?}");
    assert_eq!(server.log().requests.len(), 1, "asked once");
    let (_, settled) = rig.call("web", "echo", "{}").await;
    assert_eq!(failure_of(&settled).kind, FailureKind::NotReady);
    rig.stop().await;
}
