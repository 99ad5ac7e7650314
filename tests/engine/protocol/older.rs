//! The HTTP+SSE transport of 2024-11-05.

use super::*;

/// Starts a server of the old transport under `/sse`, which posts its answers to the event stream.
async fn older(endpoint: &'static str, status: &'static str) -> (Server, mpsc::Sender<String>) {
    let (send, feed) = mpsc::channel::<String>(256);
    let (feed, answers) = (Arc::new(tokio::sync::Mutex::new(feed)), send.clone());
    let server = Server::start(move |asked| match (asked.verb.as_str(), asked.path.split('?').next().unwrap()) {
        ("GET", "/sse") => {
            Some(vec![stream(format!(": hello\n\nevent: endpoint\ndata: {endpoint}\n\n")), Step::Feed(feed.clone()), Step::Close])
        }
        ("POST", "/messages") => {
            let answer = match asked.method() {
                "initialize" => {
                    let result = json!({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": {"name": "old"}});
                    Some(asked.result(result))
                }
                "tools/list" => Some(asked.result(crate::scripted::tools())),
                "tools/call" if asked.tool() == "bad" => None,
                "tools/call" => Some(asked.text("hello")),
                "ping" => Some(asked.result(json!({}))),
                _ => None,
            };
            if let Some(answer) = answer {
                // Keep-alives of any type come between messages.
                answers.try_send(format!("event: ping\ndata: 2026-01-01\n\nevent: message\ndata: {answer}\n\n")).unwrap();
            }
            Some(page("202 Accepted", &[], "Accepted"))
        }
        _ => Some(page(status, &[], "no")),
    })
    .await;
    (server, send)
}

fn at_sse(server: &Server) -> ServerSpec {
    let mut spec = http("web", &format!("http://127.0.0.1:{}/sse", server.port));
    spec.policy.breaker.enabled = false;
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn v29_a_server_of_the_old_transport_is_found_and_spoken_to() {
    for status in ["404 Not Found", "405 Method Not Allowed", "400 Bad Request", "501 Not Implemented"] {
        let (server, send) = older("/messages?session=1", status).await;
        let rig = ready(at_sse(&server)).await;
        let info = rig.server("web").info.unwrap();
        assert_eq!((info.era, info.protocol.as_str(), info.http_sse, info.name.as_deref()), (Era::Legacy, "2024-11-05", true, Some("old")));
        assert_eq!(text_of(&rig.call("web", "echo", r#"{"n":1.50}"#).await.1), "hello");
        let counts = rig.server("web").anomaly_counts;
        assert!(counts.is_empty(), "{counts:?}");
        let call = rig.submit("web", "bad", "{}");
        server.saw("the call", |log| log.requests.iter().any(|asked| asked.tool() == "bad")).await;
        rig.command(Command::Cancel { call, reason: "enough".into() });
        server.saw("the cancellation", |log| log.requests.iter().any(|asked| asked.method() == "notifications/cancelled")).await;
        drop(send);
        rig.stop().await;
        let log = server.log();
        assert!(
            log.requests
                .iter()
                .filter(|asked| asked.verb == "POST" && asked.path != "/sse")
                .all(|asked| asked.path == "/messages?session=1")
        );
        assert_eq!(log.requests.iter().filter(|asked| asked.verb == "GET").count(), 1, "one stream for everything");
        assert!(log.requests.iter().all(|asked| asked.verb != "DELETE"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v29_configured_headers_go_with_every_request() {
    let (server, _send) = older("/messages", "405 Method Not Allowed").await;
    let mut spec = at_sse(&server);
    if let switchboard::domain::server::Transport::Http { headers, .. } = &mut spec.launch {
        headers.push(("Authorization".into(), switchboard::domain::secret::Secret::literal("Bearer k3y")));
    }
    let rig = ready(spec).await;
    rig.call("web", "echo", "{}").await;
    assert!(server.log().requests.iter().all(|asked| asked.header("authorization") == Some("Bearer k3y")));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v29_the_end_of_the_stream_is_the_end_of_the_connection() {
    let (server, send) = older("/messages", "405 Method Not Allowed").await;
    let rig = ready(at_sse(&server)).await;
    let call = rig.submit("web", "bad", "{}");
    server.saw("the call", |log| log.requests.iter().any(|asked| asked.tool() == "bad")).await;
    drop(send);
    // The script holds a sender as well, so the stream ends with the listener.
    let mut server = server;
    server.die().await;
    let settled = rig.settled(call).await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Transport, true), "{failure:?}");
    rig.until("the loss", |w| !w.servers[0].phase.usable()).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v29_an_endpoint_at_another_origin_is_not_used() {
    let (server, _send) = older("http://localhost:1/messages", "405 Method Not Allowed").await;
    let mut spec = at_sse(&server);
    spec.timeouts.connect = Duration::from_secs(20);
    let rig = Rig::start(vec![spec]);
    let read_model = rig.until("it failed", |w| w.servers[0].phase.failure().is_some()).await;
    assert_eq!(read_model.servers[0].phase.failure().unwrap().status, Some(405));
    assert!(read_model.servers[0].anomalies.iter().any(|(_, anomaly)| anomaly.detail.contains("http://localhost:1")));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v29_a_server_of_neither_transport_fails_with_its_first_answer() {
    for get in [
        page("404 Not Found", &[], ""),
        page("200 OK", &[("Content-Type", "text/html")], "<html>"),
        vec![stream("data: {}\n\n"), Step::Close],
    ] {
        let server = Server::start(move |asked| Some(if asked.verb == "GET" { get.clone() } else { page("404 Not Found", &[], "") })).await;
        let rig = Rig::start(vec![http("web", &server.url())]);
        let read_model = rig.until("it failed", |w| w.servers[0].phase.failure().is_some()).await;
        let why = read_model.servers[0].phase.failure().unwrap();
        assert_eq!((why.step, why.status), (At::Initialize, Some(404)), "{why:?}");
        rig.stop().await;
    }
}
