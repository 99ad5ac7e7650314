//! Unix sockets, headers, subscriptions.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_carries_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.sock");
    let server = Server::on_socket(&path, |_| None);
    let mut spec = http("web", "http://localhost/mcp");
    spec.launch = Transport::Http { url: "http://localhost/mcp".into(), headers: vec![], socket: Some(path.clone()) };
    let mut missing = spec.clone();
    missing.id = "missing".into();
    missing.launch = Transport::Http { url: "http://localhost/mcp".into(), headers: vec![], socket: Some(folder.path().join("none.sock")) };
    let rig = Rig::start(vec![spec, missing]);
    rig.ready("web").await;
    assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello");
    assert_eq!(server.calls_of("echo"), 1);
    let read_model = rig.until("the missing socket", |w| w.servers[1].phase.failure().is_some()).await;
    let why = read_model.servers[1].phase.failure().unwrap();
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
    spec.launch = Transport::Http { url: server.url(), headers, socket: None };
    spec.origin.variables.push(Secret::new(TOKEN, "${TOKEN}"));
    let rig = Rig::start(vec![]);
    let (_, mut tail) = rig.engine.watch();
    rig.engine.apply(vec![spec]);
    rig.ready("web").await;
    rig.call("web", "echo", "{}").await;
    let (_, refused) = rig.call("web", "bad", "{}").await;
    assert_eq!(failure_of(&refused).kind, FailureKind::Unauthorized);
    assert!(failure_of(&refused).message.contains(MASK), "{refused:?}");
    let read_model = rig.read_model();
    rig.stop().await;
    for request in &server.log().requests {
        let sent = (request.header("authorization"), request.header("x-key"));
        assert_eq!(sent, (Some(&*format!("Bearer {TOKEN}")), Some(KEY)), "{request:?}");
    }
    let shown = read_model.frames.iter().flat_map(|f| f.http.iter().flat_map(|h| h.headers.iter().cloned())).collect::<Vec<_>>();
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
    let text = format!("{read_model:?}");
    assert!(!text.contains("canary-") && text.len() > 1000);
    let values: Vec<Value> = read_model.calls.iter().map(|c| serde_json::to_value(c.settled.as_ref().unwrap()).unwrap()).collect();
    assert!(!Value::from(values).to_string().contains("canary-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_refused_is_told_and_taken_back() {
    // One resource is refused with an error, one is missing in the acknowledgement, the third is accepted.
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
                let acknowledged = if wanted.contains("accepted") { json!(["r://accepted"]) } else { json!([]) };
                let params = json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": acknowledged}});
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
    let subscribe = |uri: &str| rig.notice_of(Command::Subscribe { server: "web".into(), uri: uri.into(), on: true });
    let told = |uri: &'static str, why: &'static str| {
        rig.until("a notice", move |read_model| read_model.notices.iter().any(|(_, n)| n.text.contains(uri) && n.text.contains(why)))
    };
    assert_eq!(subscribe("r://bad").await, None);
    told("r://bad", "no such resource").await;
    assert_eq!(subscribe("r://quiet").await, None);
    told("r://quiet", "did not acknowledge it").await;
    assert_eq!(subscribe("r://accepted").await, None);
    let read_model = rig.until("the accepted one", |read_model| read_model.servers[0].subscriptions.contains_key("r://accepted")).await;
    assert_eq!(read_model.servers[0].subscriptions.keys().collect::<Vec<_>>(), ["r://accepted"]);
    assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello", "the connection lives on");
    rig.stop().await;
}
