//! Calls of the modern era: results, headers, rounds, and what servers must not do.

use super::*;

/// A modern server with these tools.
fn with_tools(asked: &Asked, tools: Value) -> Option<Answer> {
    match asked.method() {
        "tools/list" => Some(json_page(asked.result(json!({"resultType": "complete", "tools": tools})))),
        _ => modern(asked),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v03_a_result_of_an_unknown_type_is_a_failure() {
    let server = Server::start(|asked| match asked.tool() {
        "bad" => {
            Some(json_page(asked.result(json!({"resultType": "com.example/weird", "content": [{"type": "text", "text": "looks fine"}]}))))
        }
        _ => modern(asked),
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    let (call, settled) = rig.call("web", "bad", "{}").await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Protocol, true), "{failure:?}");
    assert!(
        failure.message.contains("com.example/weird") && failure.causes.iter().any(|cause| cause.contains("looks fine")),
        "{failure:?}"
    );
    let anomalies = rig.server("web").anomalies;
    assert!(anomalies.iter().any(|(_, anomaly)| anomaly.kind == AnomalyKind::BadResult && anomaly.call == Some(call)));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v05_tools_with_invalid_headers_are_refused_with_the_reason() {
    let annotated = |kind: &str, header: &str| json!({"type": "object", "properties": {"x": {"type": kind, "x-mcp-header": header}}});
    let tools = json!([
        {"name": "good", "inputSchema": annotated("string", "X")},
        {"name": "number", "inputSchema": annotated("number", "X")},
        {"name": "blank", "inputSchema": annotated("string", "a b")},
    ]);
    let server = Server::start(move |asked| with_tools(asked, tools.clone())).await;
    let rig = ready(http("web", &server.url())).await;
    let state = rig.server("web");
    assert!(matches!(*state.phase, Phase::Ready), "{:?}", state.phase);
    assert_eq!(state.catalog.tools.iter().map(|tool| &*tool.name).collect::<Vec<_>>(), ["good"]);
    let refused: Vec<(&str, bool)> =
        state.catalog.refused.iter().map(|tool| (tool.name.as_str(), tool.why.contains("x-mcp-header"))).collect();
    assert_eq!(refused, [("number", true), ("blank", true)]);
    assert_eq!(state.anomaly_counts[&AnomalyKind::BadListing], 2);
    let failure = failure_of(&rig.call("web", "number", "{}").await.1).clone();
    assert_eq!((failure.kind, server.calls_of("number")), (FailureKind::UnknownTool, 0));
    assert!(failure.message.contains("only string, integer and boolean"), "{failure:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_large_integers_are_mirrored_exactly() {
    let schema = json!({"type": "object", "properties": {"o": {"type": "object", "properties": {"deep": {"type": "integer", "x-mcp-header": "Deep"}}}}});
    let tools = json!([{"name": "hdr", "inputSchema": schema}]);
    let server = Server::start(move |asked| with_tools(asked, tools.clone())).await;
    let rig = ready(http("web", &server.url())).await;
    assert_eq!(text_of(&rig.call("web", "hdr", r#"{"o":{"deep":12345678901234567890123}}"#).await.1), "hello");
    let log = server.log();
    let call = log.requests.iter().find(|asked| asked.tool() == "hdr").unwrap();
    assert_eq!(call.header("mcp-param-deep"), Some("12345678901234567890123"));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v07_a_call_refused_for_its_headers_is_repeated_after_the_list_was_read_again() {
    let (lists, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (listed, called) = (lists.clone(), calls.clone());
    let server = Server::start(move |asked| match (asked.method(), asked.tool()) {
        // The annotation appears after the first list was read.
        ("tools/list", _) => {
            let property = match listed.fetch_add(1, Ordering::SeqCst) {
                0 => json!({"type": "string"}),
                _ => json!({"type": "string", "x-mcp-header": "Region"}),
            };
            let tools = json!([{"name": "bad", "inputSchema": {"type": "object", "properties": {"region": property}}}]);
            with_tools(asked, tools)
        }
        (_, "bad") if asked.header("mcp-param-region").is_none() => Some(refused(asked, -32020, json!(null))),
        (_, "bad") => {
            called.fetch_add(1, Ordering::SeqCst);
            None
        }
        _ => modern(asked),
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    assert_eq!(text_of(&rig.call("web", "bad", r#"{"region":"eu"}"#).await.1), "hello", "although it may be destructive");
    assert_eq!((calls.load(Ordering::SeqCst), server.calls_of("bad")), (1, 2));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v07_a_call_refused_for_its_version_is_repeated_if_the_server_still_supports_it() {
    let (versions, refusals) = (Arc::new(Mutex::new(vec!["2026-07-28"])), Arc::new(AtomicUsize::new(1)));
    let (supported, left) = (versions.clone(), refusals.clone());
    let server = Server::start(move |asked| match (asked.method(), asked.tool()) {
        ("server/discover", _) => {
            let result = json!({"resultType": "complete", "supportedVersions": *supported.lock().unwrap(), "capabilities": {"tools": {}}});
            Some(json_page(asked.result(result)))
        }
        (_, "bad") if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() => {
            Some(refused(asked, -32022, json!({"supported": *supported.lock().unwrap()})))
        }
        _ => modern(asked),
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    assert_eq!(text_of(&rig.call("web", "bad", "{}").await.1), "hello");
    assert_eq!((server.calls_of("bad"), server.count("server/discover")), (2, 2));
    // A server that has been replaced by an older one is connected to again.
    *versions.lock().unwrap() = vec!["2025-11-25"];
    refusals.store(1, Ordering::SeqCst);
    let failure = failure_of(&rig.call("web", "bad", "{}").await.1).clone();
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Protocol, false), "{failure:?}");
    rig.until("the legacy era", |w| w.servers[0].phase.usable() && w.servers[0].info.as_ref().is_some_and(|i| i.era == Era::Legacy)).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v08_requests_on_a_stream_of_the_modern_era_get_no_answer() {
    let server = Server::start(|asked| match asked.tool() {
        "bad" => {
            let ask = |method: &str| event(None, &json!({"jsonrpc": "2.0", "id": method, "method": method, "params": {}}).to_string());
            let text = format!("{}{}{}", ask("ping"), ask("elicitation/create"), event(None, &asked.text("hello")));
            Some(vec![stream(text), Step::Close])
        }
        _ => modern(asked),
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    assert_eq!(text_of(&rig.call("web", "bad", "{}").await.1), "hello");
    rig.call("web", "echo", "{}").await;
    let anomalies = rig.server("web").anomaly_counts;
    rig.stop().await;
    assert_eq!(anomalies[&AnomalyKind::ForbiddenRequest], 2);
    assert!(server.log().requests.iter().all(|asked| !asked.method().is_empty()), "no response was posted");
}

#[tokio::test(flavor = "multi_thread")]
async fn v13_numbers_of_answers_stay_as_they_are_written() {
    let server = Server::start(|asked| match asked.tool() {
        "bad" if asked.rpc["params"]["inputResponses"].is_null() => {
            let form = json!({"method": "elicitation/create", "params": {"message": "n?", "requestedSchema": {"type": "object"}}});
            Some(json_page(asked.result(json!({"resultType": "input_required", "inputRequests": {"n": form}}))))
        }
        _ => modern(asked),
    })
    .await;
    let mut spec = http("web", &server.url());
    spec.elicitation = switchboard::domain::ask::AskPolicy::Fixed(r#"{"big":12345678901234567890123,"n":1.50}"#.into());
    let rig = ready(spec).await;
    let (call, settled) = rig.call("web", "bad", "{}").await;
    assert_eq!(text_of(&settled), "hello");
    let sent = r#""inputResponses":{"n":{"action":"accept","content":{"big":12345678901234567890123,"n":1.50}}}"#;
    let read_model = rig.read_model();
    assert!(read_model.frames_of(call).any(|frame| frame.body.text().contains(sent)));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v24_the_log_level_is_a_member_of_each_request() {
    let server = Server::start(modern).await;
    let rig = ready(http("web", &server.url())).await;
    let set = Command::LogLevel { server: "web".into(), level: LogLevel::Debug };
    assert!(rig.notice_of(set).await.is_some_and(|notice| notice.contains("debug")));
    rig.call("web", "echo", "{}").await;
    let log = server.log();
    let call = log.requests.iter().find(|asked| asked.tool() == "echo").unwrap();
    assert_eq!(call.rpc["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "debug");
    assert_eq!(server.count("logging/setLevel"), 0);
    rig.stop().await;
    let server = Server::start(|_| None).await;
    let rig = ready(http("web", &server.url())).await;
    rig.notice_of(Command::LogLevel { server: "web".into(), level: LogLevel::Debug }).await;
    assert_eq!(server.count("logging/setLevel"), 1, "a request in the legacy era");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v28_a_round_without_questions_sends_the_state_alone() {
    let rounds = Arc::new(AtomicUsize::new(0));
    let count = rounds.clone();
    let server = Server::start(move |asked| match asked.tool() {
        "bad" if count.fetch_add(1, Ordering::SeqCst) < 2 => {
            Some(json_page(asked.result(json!({"resultType": "input_required", "requestState": "s\"\u{2028}"}))))
        }
        _ => modern(asked),
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    let (_, settled) = rig.call("web", "bad", "{}").await;
    assert_eq!((text_of(&settled).as_str(), settled.rounds), ("hello", 3));
    let log = server.log();
    let calls: Vec<&Value> = log.requests.iter().filter(|asked| asked.tool() == "bad").map(|asked| &asked.rpc["params"]).collect();
    for params in &calls[1..] {
        assert_eq!((&params["requestState"], params.get("inputResponses")), (&json!("s\"\u{2028}"), None));
    }
    assert!(calls[0].get("requestState").is_none());
    rig.stop().await;
}
