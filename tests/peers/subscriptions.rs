//! Resource subscriptions in both eras, and completions that servers suggest for arguments.

use serde_json::{Value, json};
use switchboard::{
    control::Command,
    domain::{
        body::Body,
        call::{CallSpec, Operation, Origin},
        frame::Direction,
        server::{Era, EraChoice},
    },
    state::ConsoleState,
};

use crate::{
    packages::{self, HttpServer},
    support::{Rig, text_of},
};

const SCORE: &str = "board://score";

/// How often the resource changed since it was subscribed to; `None` when it is not.
fn changes(read_model: &ConsoleState, server: &str, uri: &str) -> Option<u64> {
    read_model.server(&server.into())?.subscriptions.get(uri).map(|(count, _)| *count)
}

fn frames(read_model: &ConsoleState, server: &str, method: &str) -> Vec<Value> {
    let of = read_model
        .frames
        .iter()
        .filter(|f| f.server.as_str() == server && f.direction == Direction::In && f.method.as_deref() == Some(method));
    of.map(|frame| frame.body.value().unwrap()).collect()
}

async fn run(rig: &Rig, operation: Operation) -> Value {
    let settled = rig.run(CallSpec::new(operation, Origin::Cli), |_| {}).await.1;
    settled.outcome.result().unwrap_or_else(|| panic!("not ok: {:?}", settled.outcome)).value().unwrap()
}

async fn suggested(rig: &Rig, server: &str, reference: Value, name: &str, typed: &str, known: Value) -> Value {
    let params = json!({"ref": reference, "argument": {"name": name, "value": typed}, "context": {"arguments": known}});
    let operation = Operation::Complete { server: server.into(), params: Body::json(&params) };
    run(rig, operation).await["completion"]["values"].clone()
}

/// What the server acknowledged last that it will tell about.
fn acknowledged(read_model: &ConsoleState) -> Option<Value> {
    let last = frames(read_model, "board", "notifications/subscriptions/acknowledged").pop()?;
    Some(last["params"]["notifications"]["resourceSubscriptions"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_server_tells_of_a_resource_as_long_as_it_is_wanted() {
    let rig = Rig::start(vec![packages::board()]);
    let read_model = rig.ready("board").await;
    assert_eq!(read_model.servers[0].info.as_ref().unwrap().era, Era::Modern);
    rig.command(Command::Subscribe { server: "board".into(), uri: SCORE.into(), on: true });
    rig.until("the subscription", |w| changes(w, "board", SCORE) == Some(0) && acknowledged(w) == Some(json!([SCORE]))).await;
    for expected in 1..=2 {
        let (_, settled) = rig.call("board", "add", r#"{"by":3}"#).await;
        assert_eq!(text_of(&settled), format!("{} points", expected * 3));
        rig.until("the change", |w| changes(w, "board", SCORE) == Some(expected)).await;
    }
    let read = run(&rig, Operation::Resource { server: "board".into(), uri: SCORE.into() }).await;
    assert_eq!(read["contents"][0]["text"], "6 points");

    rig.command(Command::Subscribe { server: "board".into(), uri: SCORE.into(), on: false });
    let gone = |w: &ConsoleState| {
        changes(w, "board", SCORE).is_none() && acknowledged(w).is_some_and(|uris| uris.as_array().is_none_or(Vec::is_empty))
    };
    rig.until("no subscription", gone).await;
    rig.call("board", "add", r#"{"by":1}"#).await;
    // The server sends the notification, if any, before the response to this call.
    rig.call("board", "add", r#"{"by":1}"#).await;
    assert_eq!(frames(&rig.read_model(), "board", "notifications/resources/updated").len(), 2);
    assert_eq!(rig.read_model().servers[0].anomaly_total(), 0, "{:?}", rig.read_model().servers[0].anomalies);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_server_tells_of_a_resource_over_both_transports_and_again_after_a_restart() {
    let server = HttpServer::start().await;
    let rig = Rig::start(vec![packages::everything(), packages::remote(&server.url())]);
    let uri = "demo://resource/dynamic/text/1";
    for id in ["everything", "remote"] {
        let read_model = rig.ready(id).await;
        assert_eq!(read_model.server(&id.into()).and_then(|s| s.info.as_ref()).unwrap().era, Era::Legacy, "{id}");
        rig.command(Command::Subscribe { server: id.into(), uri: uri.into(), on: true });
        rig.until("the subscription", |w| changes(w, id, uri) == Some(0)).await;
        let (_, settled) = rig.call(id, "toggle-subscriber-updates", "{}").await;
        assert!(text_of(&settled).starts_with("Started"), "{id}");
        // It tells every five seconds.
        rig.until("two changes", |w| changes(w, id, uri).is_some_and(|count| count >= 2)).await;
        let updates = frames(&rig.read_model(), id, "notifications/resources/updated");
        assert!(updates.iter().all(|frame| frame["params"]["uri"] == uri), "{updates:?}");
    }

    // The new session knows nothing of it, so it is asked again.
    let before = changes(&rig.read_model(), "everything", uri).unwrap();
    rig.command(Command::Restart { server: "everything".into() });
    rig.until("the second session", |w| w.server(&"everything".into()).is_some_and(|s| s.history.len() > 3 && s.phase.usable())).await;
    let (_, settled) = rig.call("everything", "toggle-subscriber-updates", "{}").await;
    assert!(text_of(&settled).starts_with("Started"));
    rig.until("a change in the second session", |w| changes(w, "everything", uri).is_some_and(|count| count > before)).await;

    rig.command(Command::Subscribe { server: "remote".into(), uri: uri.into(), on: false });
    rig.until("no subscription", |w| changes(w, "remote", uri).is_none()).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_without_support_is_reported() {
    let rig = Rig::start(vec![packages::thinking()]);
    rig.ready("thinking").await;
    let notice = rig.notice_of(Command::Subscribe { server: "thinking".into(), uri: "x://y".into(), on: true }).await;
    assert!(notice.as_ref().is_some_and(|notice| notice.contains("does not support subscriptions")), "{notice:?}");
    assert_eq!(changes(&rig.read_model(), "thinking", "x://y"), None);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_suggested_in_both_eras() {
    let mut old = packages::board();
    (old.id, old.era) = ("old".into(), EraChoice::Legacy);
    let rig = Rig::start(vec![packages::board(), old]);
    for (id, era) in [("board", Era::Modern), ("old", Era::Legacy)] {
        let read_model = rig.ready(id).await;
        let info = read_model.server(&id.into()).and_then(|s| s.info.clone()).unwrap();
        assert_eq!((info.era, info.declares(&["completions"])), (era, true));
        let prompt = json!({"type": "ref/prompt", "name": "cheer"});
        assert_eq!(suggested(&rig, id, prompt.clone(), "team", "", json!({})).await, json!(["red", "blue"]));
        assert_eq!(suggested(&rig, id, prompt.clone(), "player", "B", json!({"team": "blue"})).await, json!(["Bela", "Bob"]));
        assert_eq!(suggested(&rig, id, prompt, "player", "B", json!({"team": "red"})).await, json!([]));
        let template = json!({"type": "ref/resource", "uri": "board://team/{team}"});
        assert_eq!(suggested(&rig, id, template, "team", "b", json!({})).await, json!(["blue"]));
        let read = run(&rig, Operation::Resource { server: id.into(), uri: "board://team/blue".into() }).await;
        assert_eq!(read["contents"][0]["text"], "Bela, Bob");
    }
    rig.stop().await;
}
