//! Every tool of server-everything, over both transports.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use switchboard::{
    domain::{
        ask::{Answer, AskPolicy, Question},
        body::Body,
        call::Outcome,
        event::{EventKind, Settled},
        server::{Root, ServerSpec},
    },
    engine::control::Command,
    state::ConsoleState,
};

use crate::{
    packages::{self, HttpServer},
    support::{Rig, failure_of, text_of},
};

/// The tools that a client with roots, sampling and both kinds of elicitation is offered.
const TOOLS: [&str; 17] = [
    "echo",
    "get-annotated-message",
    "get-env",
    "get-resource-links",
    "get-resource-reference",
    "get-roots-list",
    "get-structured-content",
    "get-sum",
    "get-tiny-image",
    "gzip-file-as-resource",
    "simulate-research-query",
    "toggle-simulated-logging",
    "toggle-subscriber-updates",
    "trigger-elicitation-request",
    "trigger-long-running-operation",
    "trigger-sampling-request",
    "trigger-url-elicitation",
];

/// A policy answers every question that it can, so that tools end without a user.
fn answering(mut spec: ServerSpec) -> ServerSpec {
    spec.elicitation = AskPolicy::Fixed(Body::from(r#"{"name":"Ada","interpretation":"snake"}"#));
    spec.sampling = AskPolicy::Fixed(Body::from(
        r#"{"role":"assistant","model":"test","stopReason":"endTurn","content":{"type":"text","text":"a poem"}}"#,
    ));
    spec.roots = vec![Root { uri: "file:///srv/data".into(), name: Some("data".into()) }];
    spec
}

/// Waits until the tools that depend on what the client can do are listed too.
async fn offered(rig: &Rig, id: &str) -> ConsoleState {
    rig.until("the conditional tools", |w| {
        let server = w.server(&id.into());
        server.is_some_and(|s| s.phase.usable() && s.catalog.tool("trigger-url-elicitation").is_some())
    })
    .await
}

fn result(settled: &Settled) -> Value {
    let Outcome::Ok { result } = &settled.outcome else { panic!("not ok: {:?}", settled.outcome) };
    result.value().unwrap()
}

/// Calls every tool once and looks at what it gave.
async fn every_tool(spec: ServerSpec) {
    let id = spec.id.as_str().to_owned();
    let rig = Rig::start(vec![answering(spec)]);
    let read_model = offered(&rig, &id).await;
    let listed: BTreeSet<&str> = read_model.servers[0].catalog.tools.iter().map(|t| &*t.name).collect();
    assert_eq!(listed, BTreeSet::from(TOOLS));
    type Look = fn(&Value) -> bool;
    let text = |value: &Value| value["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    let looks: [(&str, Value, Look); 14] = [
        ("echo", json!({"message": "grüße \u{1f600}"}), |v| v["content"][0]["text"] == "Echo: grüße \u{1f600}"),
        ("get-annotated-message", json!({"messageType": "error", "includeImage": true}), |v| {
            v["content"][0]["annotations"]["priority"] == 1 && v["content"][1]["type"] == "image"
        }),
        ("get-env", json!({}), |v| v["content"][0]["text"].as_str().is_some_and(|t| t.contains("\"PATH\""))),
        ("get-resource-links", json!({"count": 3}), |v| {
            v["content"].as_array().is_some_and(|c| c.iter().filter(|c| c["type"] == "resource_link").count() == 3)
        }),
        ("get-resource-reference", json!({"resourceType": "Blob", "resourceId": 4}), |v| {
            v["content"][1]["resource"]["uri"] == "demo://resource/dynamic/blob/4" && v["content"][1]["resource"]["blob"].is_string()
        }),
        ("get-roots-list", json!({}), |v| v["content"][0]["text"].as_str().is_some_and(|t| t.contains("URI: file:///srv/data"))),
        ("get-structured-content", json!({"location": "Chicago"}), |v| v["structuredContent"]["temperature"] == 36),
        ("get-sum", json!({"a": 1.5, "b": 2}), |v| v["content"][0]["text"] == "The sum of 1.5 and 2 is 3.5."),
        ("get-tiny-image", json!({}), |v| v["content"][1]["mimeType"] == "image/png"),
        ("gzip-file-as-resource", json!({"name": "a.gz", "data": "data:text/plain,hello", "outputType": "resource"}), |v| {
            v["content"][0]["resource"]["blob"].as_str().is_some_and(|b| b.starts_with("H4sI"))
        }),
        ("toggle-simulated-logging", json!({}), |v| v["content"][0]["text"].as_str().is_some_and(|t| t.starts_with("Started"))),
        ("toggle-subscriber-updates", json!({}), |v| v["content"][0]["text"].as_str().is_some_and(|t| t.starts_with("Started"))),
        ("trigger-elicitation-request", json!({}), |v| v["content"][1]["text"].as_str().is_some_and(|t| t.contains("Name: Ada"))),
        ("trigger-sampling-request", json!({"prompt": "a poem"}), |v| {
            v["content"][0]["text"].as_str().is_some_and(|t| t.contains("\"text\": \"a poem\""))
        }),
    ];
    let mut called: BTreeSet<&str> = looks.iter().map(|(tool, ..)| *tool).collect();
    for (tool, arguments, look) in looks {
        let (_, settled) = rig.call(&id, tool, &arguments.to_string()).await;
        assert!(look(&result(&settled)), "{tool}: {}", result(&settled));
    }
    for (tool, arguments, expected) in [
        ("trigger-long-running-operation", json!({"duration": 0.2, "steps": 2}), "Long running operation completed"),
        // Runs as a task (MCP 2025-11-25): called, polled, its result fetched; still one call.
        ("simulate-research-query", json!({"topic": "python", "ambiguous": true}), "python (snake)"),
    ] {
        called.insert(tool);
        let (_, settled) = rig.call(&id, tool, &arguments.to_string()).await;
        assert!(text(&result(&settled)).contains(expected), "{tool}: {}", result(&settled));
    }
    // No fixed answer opens a page that no user saw.
    called.insert("trigger-url-elicitation");
    let call = rig.submit(&id, "trigger-url-elicitation", r#"{"url":"https://example.com/login"}"#);
    let page = |w: &ConsoleState| w.asks.iter().find(|ask| matches!(&ask.question, Question::Url { .. })).cloned();
    let ask = page(&rig.until("the page", |w| page(w).is_some()).await).unwrap();
    assert!(matches!(&ask.question, Question::Url { url, .. } if url == "https://example.com/login"), "{ask:?}");
    rig.command(Command::Answer { ask: ask.id, answer: Answer::Accept { content: Body::default() } });
    let settled = rig.settled(call).await;
    assert!(text_of(&settled).contains("User completed the URL elicitation"), "{}", text_of(&settled));
    assert_eq!(called, BTreeSet::from(TOOLS), "every tool was called");
    let read_model = rig.read_model();
    assert_eq!((read_model.servers[0].anomaly_total(), read_model.running), (0, 0), "{:?}", read_model.servers[0].anomalies);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_can_be_called_over_stdio() {
    every_tool(packages::everything()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_can_be_called_over_http() {
    let server = HttpServer::start().await;
    every_tool(packages::remote(&server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_tells_its_state_and_asks_its_question_in_the_course_of_its_one_call() {
    let rig = Rig::start(vec![packages::everything()]);
    offered(&rig, "everything").await;
    let call = rig.submit("everything", "simulate-research-query", r#"{"topic":"python","ambiguous":true}"#);
    let form = |w: &ConsoleState| w.asks.iter().find(|a| a.question != Question::Roots).cloned();
    let read_model = rig.until("the question", |w| form(w).is_some()).await;
    let ask = form(&read_model).unwrap();
    assert_eq!(ask.call, Some(call));
    let Question::Form { message, schema } = &ask.question else { panic!("{:?}", ask.question) };
    assert!(message.contains("\"python\" could have multiple interpretations"), "{message}");
    assert!(schema.text().contains("Monty Python"));
    let content = Body::from(r#"{"interpretation":"comedy"}"#);
    rig.command(Command::Answer { ask: ask.id, answer: Answer::Accept { content } });
    let settled = rig.settled(call).await;
    assert!(text_of(&settled).contains("Research Report: python (comedy)"), "{}", text_of(&settled));
    let read_model = rig.read_model();
    assert_eq!((read_model.settled_total, read_model.calls.len()), (1, 1), "one logical call");
    let progress = read_model.call(call).unwrap().progress.clone().expect("its states were reported");
    assert!(progress.message.is_some(), "{progress:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_step_by_step() {
    let server = HttpServer::start().await;
    let rig = Rig::start(vec![packages::everything(), packages::remote(&server.url())]);
    for id in ["everything", "remote"] {
        rig.ready(id).await;
        let mut seen = vec![];
        let (call, settled) = rig
            .call_seeing(id, "trigger-long-running-operation", r#"{"duration":0.4,"steps":4}"#, |event| {
                if let EventKind::CallProgress { progress, .. } = &event.kind {
                    seen.push((progress.progress, progress.total));
                }
            })
            .await;
        assert_eq!(text_of(&settled), "Long running operation completed. Duration: 0.4 seconds, Steps: 4.");
        assert_eq!(seen, [1.0, 2.0, 3.0, 4.0].map(|n| (n, Some(4.0))), "{id}");
        let frames = rig.read_model().frames_of(call).filter(|f| f.method.as_deref() == Some("notifications/progress")).count();
        assert_eq!(frames, 4, "{id}: the frames of the progress belong to the call");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_moves_the_deadline() {
    let mut spec = packages::everything();
    // Several times shorter than the call, and much longer than one of its steps.
    spec.timeouts.call = Duration::from_secs(3);
    let rig = Rig::start(vec![spec]);
    rig.ready("everything").await;
    let (_, settled) = rig.call("everything", "trigger-long-running-operation", r#"{"duration":6,"steps":60}"#).await;
    assert!(matches!(settled.outcome, Outcome::Ok { .. }), "{:?}", settled.outcome);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_is_cancelled_on_the_wire() {
    let server = HttpServer::start().await;
    let rig = Rig::start(vec![packages::everything(), packages::remote(&server.url())]);
    for id in ["everything", "remote"] {
        rig.ready(id).await;
        let call = rig.submit(id, "trigger-long-running-operation", r#"{"duration":600,"steps":6000}"#);
        rig.until("progress", |w| w.call(call).is_some_and(|c| c.progress.is_some())).await;
        let reason = format!("changed my mind about {id}");
        rig.command(Command::Cancel { call, reason: reason.clone() });
        let settled = rig.settled(call).await;
        assert_eq!(settled.outcome, Outcome::Cancelled { reason: reason.clone() }, "{id}");
        let cancelled = |w: &ConsoleState| {
            w.frames.iter().any(|f| f.method.as_deref() == Some("notifications/cancelled") && f.body.text().contains(&reason))
        };
        rig.until("the cancellation", cancelled).await;
        let (_, next) = rig.call(id, "echo", r#"{"message":"still there"}"#).await;
        assert_eq!(text_of(&next), "Echo: still there", "{id}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_itself_refuses_is_told_as_it_said_it() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(vec![packages::everything(), packages::filesystem(&folder.path().display().to_string()), packages::time()]);
    for id in ["everything", "filesystem", "time"] {
        rig.ready(id).await;
    }
    // An answer of the tool: the server is well.
    let (_, settled) = rig.call("filesystem", "read_text_file", r#"{"path":"/etc/passwd"}"#).await;
    assert!(matches!(settled.outcome, Outcome::ToolError { .. }) && text_of(&settled).contains("Access denied"), "{:?}", settled.outcome);
    let (_, settled) = rig.call("time", "get_current_time", r#"{"timezone":"Mars/Olympus"}"#).await;
    assert!(matches!(settled.outcome, Outcome::ToolError { .. }) && text_of(&settled).contains("Mars/Olympus"), "{:?}", settled.outcome);
    // Nothing is sent that the schema refuses.
    let (call, settled) = rig.call("everything", "get-sum", r#"{"a":"x","b":1}"#).await;
    assert_eq!(failure_of(&settled).kind, switchboard::domain::call::FailureKind::InvalidArguments);
    assert_eq!(rig.read_model().frames_of(call).count(), 0);
    rig.stop().await;
}
