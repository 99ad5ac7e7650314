//! Prompts, resources, templates, completions, log messages and changes of the lists.

use serde_json::{Value, json};
use switchboard::{
    control::Command,
    domain::{
        body::Body,
        call::{CallSpec, FailureKind, Operation, Origin, Outcome},
    },
    state::ConsoleState,
};

use crate::{
    packages::{self, HttpServer},
    support::{Rig, failure_of, text_of},
};

const ID: &str = "everything";

async fn run(rig: &Rig, operation: Operation) -> Value {
    let settled = rig.run(CallSpec::new(operation, Origin::Cli), |_| {}).await.1;
    let Outcome::Ok { result } = &settled.outcome else { panic!("not ok: {:?}", settled.outcome) };
    result.value().unwrap()
}

fn resource(server: &str, uri: &str) -> Operation {
    Operation::Resource { server: server.into(), uri: uri.into() }
}

fn prompt(name: &str, arguments: Value) -> Operation {
    Operation::Prompt { server: ID.into(), name: name.into(), arguments: Body::json(&arguments) }
}

async fn completed(rig: &Rig, params: Value) -> Value {
    let operation = Operation::Complete { server: ID.into(), params: Body::json(&params) };
    run(rig, operation).await["completion"]["values"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_resources_and_templates_are_listed_and_read() {
    let rig = Rig::start(vec![packages::everything()]);
    let read_model = rig.ready(ID).await;
    let catalog = &read_model.servers[0].catalog;
    let prompts: Vec<&str> = catalog.prompts.iter().map(|p| &*p.name).collect();
    assert_eq!(prompts, ["simple-prompt", "args-prompt", "completable-prompt", "resource-prompt"]);
    let required: Vec<bool> = catalog.prompts[1].arguments.iter().map(|a| a.required).collect();
    assert_eq!(required, [true, false]);
    let templates: Vec<&str> = catalog.templates.iter().map(|t| &*t.uri).collect();
    assert_eq!(templates, ["demo://resource/dynamic/text/{resourceId}", "demo://resource/dynamic/blob/{resourceId}"]);
    let documents: Vec<String> = catalog.resources.iter().map(|r| r.uri.to_string()).collect();
    assert!(documents.len() >= 7, "{documents:?}");

    let result = run(&rig, prompt("simple-prompt", json!({}))).await;
    assert_eq!(result["messages"][0]["content"]["text"], "This is a simple prompt without arguments.");
    let result = run(&rig, prompt("args-prompt", json!({"city": "Paris", "state": "Texas"}))).await;
    assert_eq!(result["messages"][0]["content"]["text"], "What's weather in Paris, Texas?");
    let result = run(&rig, prompt("resource-prompt", json!({"resourceType": "Text", "resourceId": "3"}))).await;
    assert_eq!(result["messages"][1]["content"]["resource"]["uri"], "demo://resource/dynamic/text/3");

    for uri in &documents {
        let result = run(&rig, resource(ID, uri)).await;
        assert!(result["contents"][0]["text"].as_str().is_some_and(|t| t.len() > 100), "{uri}");
    }
    let result = run(&rig, resource(ID, "demo://resource/dynamic/text/42")).await;
    assert!(result["contents"][0]["text"].as_str().unwrap().starts_with("Resource 42:"));
    let result = run(&rig, resource(ID, "demo://resource/dynamic/blob/42")).await;
    assert!(result["contents"][0]["blob"].is_string());

    for operation in [resource(ID, "demo://resource/nowhere"), prompt("no-such-prompt", json!({})), prompt("args-prompt", json!({}))] {
        let what = format!("{operation:?}");
        let settled = rig.run(CallSpec::new(operation, Origin::Cli), |_| {}).await.1;
        let failure = failure_of(&settled);
        assert_eq!(failure.kind, FailureKind::Protocol, "{what}: {failure:?}");
        assert!(failure.rpc.is_some(), "{what}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_completed_with_what_is_known_already() {
    let rig = Rig::start(vec![packages::everything()]);
    rig.ready(ID).await;
    let prompt = json!({"type": "ref/prompt", "name": "completable-prompt"});
    let found = completed(&rig, json!({"ref": prompt, "argument": {"name": "department", "value": "S"}})).await;
    assert_eq!(found, json!(["Sales", "Support"]));
    let context = json!({"arguments": {"department": "Sales"}});
    let found = completed(&rig, json!({"ref": prompt, "argument": {"name": "name", "value": "E"}, "context": context})).await;
    assert_eq!(found, json!(["Eve"]));
    let template = json!({"type": "ref/resource", "uri": "demo://resource/dynamic/text/{resourceId}"});
    let found = completed(&rig, json!({"ref": template, "argument": {"name": "resourceId", "value": "7"}})).await;
    assert_eq!(found, json!(["7"]));
    rig.stop().await;
}

fn logged(read_model: &ConsoleState, text: &str) -> bool {
    read_model.servers[0].logs.iter().any(|(_, log)| log.text.contains(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn log_messages_come_from_the_level_that_was_asked_for() {
    let rig = Rig::start(vec![packages::everything()]);
    rig.ready(ID).await;
    let set = async |level: &str| {
        let notice = rig.notice_of(Command::LogLevel { server: ID.into(), level: level.to_owned().into() }).await;
        assert!(notice.as_ref().is_some_and(|notice| notice.contains(&format!("set to {level}"))), "{notice:?}");
    };
    let subscribe =
        |uri: &str| Operation::Raw { server: ID.into(), method: "resources/subscribe".into(), params: Body::json(&json!({ "uri": uri })) };
    set("debug").await;
    run(&rig, subscribe("demo://resource/dynamic/text/1")).await;
    let told = "Received Subscribe Resource request for URI: demo://resource/dynamic/text/1";
    let read_model = rig.until("the message", |w| logged(w, told)).await;
    assert!(read_model.servers[0].logs.iter().any(|(_, log)| log.level.word() == "info" && log.text.contains(told)));
    // The server logs before it answers, so the answer shows that no message came.
    set("error").await;
    run(&rig, subscribe("demo://resource/dynamic/text/2")).await;
    assert!(!logged(&rig.read_model(), "dynamic/text/2"));
    // Changes of a subscribed resource are reported too.
    let (_, settled) = rig.call(ID, "toggle-subscriber-updates", "{}").await;
    assert!(text_of(&settled).starts_with("Started"));
    rig.until("the updates", |w| {
        logged(w, "resource updated: demo://resource/dynamic/text/1") && logged(w, "resource updated: demo://resource/dynamic/text/2")
    })
    .await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_log_messages_arrive_over_http_on_the_stream_of_the_server() {
    let server = HttpServer::start().await;
    let rig = Rig::start(vec![packages::remote(&server.url())]);
    rig.ready("remote").await;
    let (_, settled) = rig.call("remote", "toggle-simulated-logging", "{}").await;
    assert!(text_of(&settled).starts_with("Started"));
    let read_model = rig.until("a message", |w| logged(w, "message - SessionId")).await;
    let log = read_model.servers[0].logs.iter().find(|(_, log)| log.text.contains("message - SessionId")).unwrap();
    assert!(!log.1.level.word().is_empty());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_changed_is_read_again() {
    let server = HttpServer::start().await;
    let rig = Rig::start(vec![packages::everything(), packages::remote(&server.url())]);
    for id in [ID, "remote"] {
        rig.ready(id).await;
        let uri = "demo://resource/session/hello.gz";
        let listed = |w: &ConsoleState| w.server(&id.into()).is_some_and(|s| s.catalog.resources.iter().any(|r| &*r.uri == uri));
        assert!(!listed(&rig.read_model()), "{id}");
        let arguments = r#"{"name":"hello.gz","data":"data:text/plain,hello"}"#;
        let (_, settled) = rig.call(id, "gzip-file-as-resource", arguments).await;
        assert!(settled.outcome.result().unwrap().text().contains(uri), "{:?}", settled.outcome);
        rig.until("the new resource", listed).await;
        let result = run(&rig, resource(id, uri)).await;
        assert!(result["contents"][0]["blob"].as_str().is_some_and(|b| b.starts_with("H4sI")), "{id}");
    }
    rig.stop().await;
}
