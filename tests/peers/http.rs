//! Streamable HTTP servers that lose their sessions, or go away and come back.

use switchboard::{
    domain::{
        call::{FailureKind, Outcome},
        frame::{Direction, Frame},
        server::Phase,
    },
    engine::control::Command,
    state::ConsoleState,
};

use crate::{
    packages::{self, HttpServer},
    relay::Relay,
    support::{Rig, failure_of, text_of},
};

const ECHO: &str = r#"{"message":"hi"}"#;

fn sent<'a>(read_model: &'a ConsoleState, method: &'a str) -> impl Iterator<Item = &'a Frame> {
    read_model.frames.iter().map(|f| &**f).filter(move |f| f.direction == Direction::Out && f.method.as_deref() == Some(method))
}

/// Waits until the server has said all that it says after the handshake, and was heard: its last tools
/// come with `list_changed`, and then it asks for the roots.
async fn quiet(rig: &Rig) {
    rig.until("the conditional tools", |w| {
        w.servers.iter().all(|s| s.phase.usable() && s.catalog.tool("trigger-url-elicitation").is_some())
    })
    .await;
    rig.call("remote", "get-roots-list", "{}").await;
    rig.until("the lists read after their last change", |w| {
        let last = |direction: Direction, method: &str| {
            w.frames.iter().rev().find(|f| f.direction == direction && f.method.as_deref() == Some(method)).map(|f| f.seq)
        };
        // The lists are read one after another, the prompts last.
        let (begun, done) = (last(Direction::Out, "tools/list"), last(Direction::In, "prompts/list"));
        done > begun && begun > last(Direction::In, "notifications/tools/list_changed")
    })
    .await;
}

/// A rig on a server behind a relay; the server was replaced by one that knows none of its sessions,
/// and the old connections are known to be gone.
async fn restarted() -> (Rig, Relay, HttpServer) {
    let first = HttpServer::start().await;
    let relay = Relay::to(first.port).await;
    let rig = Rig::start(vec![packages::remote(&packages::url(relay.port))]);
    rig.ready("remote").await;
    quiet(&rig).await;
    assert_eq!(sent(&rig.read_model(), "initialize").count(), 1);
    let second = HttpServer::start().await;
    relay.switch(second.port);
    first.kill().await;
    // The stream of the server broke; asking the new one for it is refused.
    rig.until("the refused stream", |w| {
        let heads = w.frames.iter().filter_map(|f| Some(f.http.as_ref()?.line.as_str()));
        heads
            .skip_while(|line| !line.starts_with("GET"))
            .skip(1)
            .skip_while(|line| !line.starts_with("GET"))
            .any(|line| line.starts_with("400"))
    })
    .await;
    (rig, relay, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_is_opened_again_once_and_the_call_is_answered() {
    let (rig, _relay, _server) = restarted().await;
    let (call, settled) = rig.call("remote", "echo", ECHO).await;
    assert_eq!(text_of(&settled), "Echo: hi");
    let read_model = rig.read_model();
    assert_eq!(sent(&read_model, "initialize").count(), 2);
    let statuses: Vec<&str> = read_model.frames_of(call).filter_map(|f| Some(f.http.as_ref()?.line.as_str())).collect();
    // The call, a ping in the old session, one in the new, and the call again: the tool is not known to be safe.
    let (refused, accepted) = (["POST /mcp", "400 Bad Request"], ["POST /mcp", "200 OK"]);
    assert_eq!(statuses, [refused, refused, accepted, accepted].concat());
    assert_eq!(*rig.server("remote").phase, Phase::Ready, "the connection was never lost");
    let (_, settled) = rig.call("remote", "get-sum", r#"{"a":1,"b":2}"#).await;
    assert_eq!(text_of(&settled), "The sum of 1 and 2 is 3.");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_calls_that_lose_their_session_at_once_open_one_new_one() {
    let (rig, _relay, _server) = restarted().await;
    let calls: Vec<_> = (0..16).map(|n| rig.submit("remote", "echo", &format!("{{\"message\":\"{n}\"}}"))).collect();
    for (n, call) in calls.into_iter().enumerate() {
        let settled = rig.settled(call).await;
        assert!(matches!(settled.outcome, Outcome::Ok { .. }), "call {n}: {:?}", settled.outcome);
        assert_eq!(text_of(&settled), format!("Echo: {n}"));
    }
    assert_eq!(sent(&rig.read_model(), "initialize").count(), 2);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_went_away_is_missed_without_a_call_and_found_again() {
    let (first, second) = (HttpServer::start().await, HttpServer::start().await);
    let mut relay = Relay::to(first.port).await;
    let rig = Rig::start(vec![packages::remote(&packages::url(relay.port))]);
    rig.ready("remote").await;
    relay.close().await;
    first.kill().await;
    let read_model = rig.until("the loss", |w| matches!(&*w.servers[0].phase, Phase::Reconnecting { .. })).await;
    let why = read_model.servers[0].phase.failure().unwrap();
    assert!(why.causes.iter().any(|c| c.contains("refused")), "{why:#?}");
    assert!(read_model.calls.is_empty(), "no request");
    relay.open(second.port).await;
    rig.until("it comes back", |w| w.servers[0].phase.usable()).await;
    let (_, settled) = rig.call("remote", "echo", ECHO).await;
    assert_eq!(text_of(&settled), "Echo: hi");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_is_given_up_until_somebody_restarts_it() {
    let server = HttpServer::start().await;
    let mut relay = Relay::to(server.port).await;
    let rig = Rig::start(vec![packages::remote(&packages::url(relay.port))]);
    rig.ready("remote").await;
    relay.close().await;
    rig.until("cancelled", |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    let (_, settled) = rig.call("remote", "echo", ECHO).await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::NotReady, false), "{failure:?}");
    relay.open(server.port).await;
    rig.command(Command::Restart { server: "remote".into() });
    rig.until("it comes back", |w| w.servers[0].phase.usable()).await;
    let (_, settled) = rig.call("remote", "echo", ECHO).await;
    assert_eq!(text_of(&settled), "Echo: hi");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_when_the_server_dies_fails_and_may_have_run() {
    let server = HttpServer::start().await;
    let rig = Rig::start(vec![packages::remote(&server.url())]);
    rig.ready("remote").await;
    let call = rig.submit("remote", "trigger-long-running-operation", r#"{"duration":600,"steps":6000}"#);
    rig.until("progress", |w| w.call(call).is_some_and(|c| c.progress.is_some())).await;
    server.kill().await;
    let settled = rig.settled(call).await;
    let failure = failure_of(&settled);
    assert_eq!(failure.kind, FailureKind::Transport, "{failure:?}");
    assert!(failure.may_have_run);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_ends_the_session_on_the_server() {
    let server = HttpServer::start().await;
    let rig = Rig::start(vec![packages::remote(&server.url())]);
    rig.ready("remote").await;
    let read_model = rig.read_model();
    let session = sent(&read_model, "tools/list")
        .find_map(|f| f.http.as_ref()?.headers.iter().find(|(name, _)| name == "mcp-session-id").map(|(_, value)| value.clone()))
        .expect("the frames contain the session's id");
    rig.stop().await;
    // Another connection asks with the old id.
    let mut spec = packages::remote(&server.url());
    let switchboard::domain::server::Transport::Http { headers, .. } = &mut spec.launch else { unreachable!("made for HTTP") };
    headers.push(("mcp-session-id".into(), switchboard::domain::secret::Secret::literal(&*session)));
    let rig = Rig::start(vec![spec]);
    let read_model = rig.until("refused", |w| w.servers[0].phase.failure().is_some()).await;
    let why = read_model.servers[0].phase.failure().unwrap();
    assert!(why.summary.contains("No valid session ID provided"), "{why:#?}");
    rig.stop().await;
}
