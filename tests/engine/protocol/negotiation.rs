//! Finding out the era and the version.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn v01_a_refused_version_is_negotiated_without_initialize() {
    let asked_before = Arc::new(AtomicUsize::new(0));
    let count = asked_before.clone();
    let server = Server::start(move |asked| match asked.method() {
        "server/discover" if count.fetch_add(1, Ordering::SeqCst) == 0 => {
            Some(refused(asked, -32022, json!({"supported": ["2026-07-28"]})))
        }
        _ => modern(asked),
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    assert_eq!((era_of(&rig), server.count("server/discover"), server.count("initialize")), (Era::Modern, 2, 0));
    for asked in server.log().requests.iter().filter(|asked| asked.method() == "server/discover") {
        assert_eq!(asked.header("mcp-protocol-version"), Some("2026-07-28"));
        let meta = &asked.rpc["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "switchboard");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v01_a_version_of_the_legacy_era_in_the_list_is_offered_in_initialize() {
    let server = Server::start(|asked| match asked.method() {
        "server/discover" => Some(refused(asked, -32022, json!({"supported": ["1999-01-01", "2025-03-26", "2025-06-18"]}))),
        "initialize" => Some(json_page(asked.result(json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}})))),
        _ => None,
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    let log = server.log();
    let offered: Vec<&Value> =
        log.requests.iter().filter(|asked| asked.method() == "initialize").map(|asked| &asked.rpc["params"]["protocolVersion"]).collect();
    assert_eq!((era_of(&rig), offered), (Era::Legacy, vec![&json!("2025-06-18")]));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v01_recognised_errors_without_a_way_out_name_cause_and_action() {
    for (code, data, words, hint) in [
        (-32022, json!({"supported": ["2099-01-01"]}), "2099-01-01", "update"),
        (-32021, json!({"requiredCapabilities": {"elicitation": {}}}), "-32021", "--elicit"),
        (-32021, json!({"requiredCapabilities": {"vendor/x": {}}}), "-32021", "vendor/x"),
        (-32020, json!(null), "-32020", "proxy"),
    ] {
        let server = Server::start(move |asked| (asked.method() == "server/discover").then(|| refused(asked, code, data.clone()))).await;
        let why = failed(http("web", &server.url())).await;
        assert_eq!(why.step, At::Discover, "{why:?}");
        assert!(why.summary.contains(words) && why.hints.iter().any(|text| text.contains(hint)), "{why:?}");
        assert_eq!(server.count("initialize"), 0, "{code} is not a sign of a legacy server");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v01_other_errors_are_of_a_legacy_server() {
    for (code, data) in [(-32022, json!(null)), (-32601, json!(null)), (-32000, json!({"supported": "none"})), (7, json!(null))] {
        let server = Server::start(move |asked| (asked.method() == "server/discover").then(|| refused(asked, code, data.clone()))).await;
        let rig = ready(http("web", &server.url())).await;
        assert_eq!((era_of(&rig), server.count("server/discover")), (Era::Legacy, 1), "{code}");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_initialize_is_repeated_with_a_version_that_the_server_names() {
    let server = Server::start(|asked| match (asked.method(), asked.rpc["params"]["protocolVersion"].as_str()) {
        ("initialize", Some("2024-11-05")) => {
            Some(json_page(asked.result(json!({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}))))
        }
        ("initialize", _) => {
            let error = json!({"code": -32602, "message": "Unsupported protocol version", "data": {"supported": ["2024-11-05"]}});
            Some(json_page(json!({"jsonrpc": "2.0", "id": asked.id(), "error": error}).to_string()))
        }
        _ => None,
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    assert_eq!((rig.server("web").info.unwrap().protocol.as_str(), server.count("initialize")), ("2024-11-05", 2));
    rig.stop().await;
    // A version that is not supported here either is not tried.
    let server = Server::start(|asked| {
        let error = json!({"code": -32602, "message": "Unsupported protocol version", "data": {"supported": ["1999-01-01"]}});
        (asked.method() == "initialize").then(|| json_page(json!({"jsonrpc": "2.0", "id": asked.id(), "error": error}).to_string()))
    })
    .await;
    let why = failed(http("web", &server.url())).await;
    assert!(why.summary.contains("1999-01-01") && server.count("initialize") == 1, "{why:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn v02_a_status_that_decides_nothing_is_not_remembered() {
    for status in ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"] {
        let discovered = Arc::new(AtomicUsize::new(0));
        let count = discovered.clone();
        let mut server = Server::start(move |asked| match asked.method() {
            "server/discover" if count.fetch_add(1, Ordering::SeqCst) == 0 => Some(page(status, &[], "busy")),
            _ => modern(asked),
        })
        .await;
        let mut spec = http("web", &server.url());
        spec.timeouts.health = Duration::from_millis(50);
        let rig = ready(spec).await;
        assert_eq!(era_of(&rig), Era::Legacy, "{status}: initialize is tried");
        server.die().await;
        rig.until("the loss", |w| !w.servers[0].phase.usable()).await;
        server.listen().await;
        rig.until("the era of the next connection", |w| w.servers[0].info.as_ref().is_some_and(|info| info.era == Era::Modern)).await;
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v02_a_server_that_is_modern_after_all_says_so_in_its_refusal_of_initialize() {
    let discovered = Arc::new(AtomicUsize::new(0));
    let count = discovered.clone();
    let server = Server::start(move |asked| match asked.method() {
        "server/discover" if count.fetch_add(1, Ordering::SeqCst) == 0 => Some(page("502 Bad Gateway", &[], "")),
        "initialize" => Some(refused(asked, -32022, json!({"supported": ["2026-07-28"]}))),
        _ => modern(asked),
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    assert_eq!((era_of(&rig), server.count("initialize")), (Era::Modern, 1));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v18_the_stream_of_the_server_is_asked_for_after_initialized() {
    let server = Server::start(|asked| (asked.verb == "GET").then(|| vec![stream(""), Step::Hold])).await;
    let rig = ready(http("web", &server.url())).await;
    let log = server.saw("the stream", |log| log.requests.iter().any(|asked| asked.verb == "GET")).await;
    let place = |wanted: &dyn Fn(&Asked) -> bool| log.requests.iter().position(|asked| wanted(asked)).unwrap();
    let (get, initialized) = (place(&|asked| asked.verb == "GET"), place(&|asked| asked.method() == "notifications/initialized"));
    assert!(get > initialized, "{:?}", methods(&server));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v27_the_challenge_of_a_refused_connection_is_reported() {
    let challenge = r#"Bearer error="invalid_token", scope="read""#;
    let server = Server::start(move |asked| {
        let headers = [("WWW-Authenticate", challenge), ("Set-Cookie", "session=s3cret")];
        (asked.method() == "server/discover").then(|| page("401 Unauthorized", &headers, ""))
    })
    .await;
    let why = failed(http("web", &server.url())).await;
    assert_eq!((why.status, why.headers.as_slice()), (Some(401), &[("www-authenticate".to_owned(), challenge.to_owned())][..]));
    let json = serde_json::to_value(&why).unwrap();
    assert_eq!(json["headers"][0][1], challenge);
    assert_eq!(server.count("initialize"), 0, "it says nothing about the era");
}
