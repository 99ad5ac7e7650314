//! Silence, servers that are gone, sessions that are given back.

use super::*;

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
    let read_model = rig.until("the loss", |w| matches!(&*w.servers[0].phase, Phase::Reconnecting { .. })).await;
    assert!(read_model.calls.is_empty(), "no request");
    let why = read_model.servers[0].phase.failure().cloned().unwrap();
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
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::NotReady, false), "cancelled with the server: {failure:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_is_given_back_at_the_end() {
    let server = Server::start(|_| None).await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    rig.stop().await;
    let log = server.log();
    // The request for the stream may arrive after it, on a connection of its own.
    let last = log.requests.iter().rfind(|request| request.verb != "GET").unwrap();
    assert_eq!((last.verb.as_str(), last.header("mcp-session-id")), ("DELETE", Some("session-1")));
    assert_eq!(last.header("mcp-protocol-version"), Some("2025-11-25"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_take_its_session_back_delays_nothing() {
    let server = Server::start(|asked| (asked.verb == "DELETE").then(|| vec![Step::Hold])).await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    rig.stop().await;
    assert_eq!(server.log().requests.iter().rfind(|request| request.verb != "GET").unwrap().verb, "DELETE");
}
