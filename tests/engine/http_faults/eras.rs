//! Finding out the era; rounds of the modern one.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_the_probe_is_reached_the_old_way() {
    for step in [Step::Hold, Step::Reset, Step::Close] {
        let server = Server::start(move |asked| (asked.method() == "server/discover").then(|| vec![step.clone()])).await;
        let mut spec = http("web", &server.url());
        spec.timeouts.probe = SHORT;
        let rig = Rig::start(vec![spec]);
        let read_model = rig.ready("web").await;
        assert_eq!(read_model.servers[0].info.as_ref().unwrap().era, Era::Legacy);
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
        let read_model = rig.ready("web").await;
        assert_eq!(read_model.servers[0].info.as_ref().unwrap().era, Era::Legacy, "{status}");
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
    let read_model = rig.ready("web").await;
    let info = read_model.servers[0].info.clone().unwrap();
    assert_eq!((info.era, info.protocol.as_str(), info.name.as_deref()), (Era::Modern, "2026-07-28", Some("scripted")));

    assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello");
    let asking = rig.submit("web", "bad", r#"{"x":1}"#);
    let read_model = rig.until("the question", |w| !w.asks.is_empty()).await;
    assert_eq!(read_model.asks[0].call, Some(asking));
    rig.command(Command::Answer { ask: read_model.asks[0].id, answer: Reply::Accept { content: Body::from(r#"{"name":"Ada"}"#) } });
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
    assert_eq!(read_model.calls.iter().filter(|c| c.id == asking).count(), 1, "one call, whatever its rounds");

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
        "echo" => Some(json_page(asked.result(json!({"resultType": "input_required", "inputRequests": {}})))),
        _ => modern(asked),
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let (_, settled) = rig.call("web", "bad", "{}").await;
    assert_eq!((failure_of(&settled).kind, server.calls_of("bad")), (FailureKind::Protocol, 10), "{settled:?}");
    let (_, settled) = rig.call("web", "worse", "{}").await;
    assert!(failure_of(&settled).message.contains("no/such"), "{settled:?}");
    // Without a question and without a state there is nothing to send back.
    let (_, settled) = rig.call("web", "echo", "{}").await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run, server.calls_of("echo")), (FailureKind::Protocol, true, 1), "{failure:?}");
    assert_eq!(rig.server("web").anomaly_counts[&AnomalyKind::BadResult], 1);
    rig.stop().await;
}
