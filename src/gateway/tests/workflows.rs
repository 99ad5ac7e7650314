//! Workflows as tools, without an engine: what profiles see, and tasks.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::test_support::{FakeUpstream, PipeClient, with_tools};
use crate::{
    domain::{
        body::Body,
        policy::{pattern::Pattern, tool_filter::ToolFilter},
        profile::Profile,
        run::{RunOutcome, RunReport, WorkflowText},
        time::Stamp,
        workflow::library::{WorkflowEntry, WorkflowLibrary},
    },
    gateway::{Gateway, Settings, upstream::RunInProgress},
};

const META: &str = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;

fn meta() -> Value {
    serde_json::from_str(META).expect("JSON")
}

fn library(files: &[(&str, &str)]) -> Arc<[WorkflowEntry]> {
    let text = |(name, text): &(&str, &str)| WorkflowText { name: (*name).into(), file: format!("{name}.toml"), text: (*text).into() };
    let library = WorkflowLibrary { files: files.iter().map(text).collect(), ..WorkflowLibrary::default() };
    library.entries().into()
}

const SHOWN: &str = "name = \"shown\"\nexpose = true\n[[step]]\nid = \"a\"\nlet = \"1\"\n";
const OTHER: &str = "name = \"other\"\nexpose = true\n[[step]]\nid = \"a\"\ntool = \"a_t\"\n";

fn names(list: &Value) -> Vec<&str> {
    list["result"]["tools"].as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str()).collect()
}

#[tokio::test]
async fn profiles_apply_to_workflows_and_one_server_with_workflows_is_not_transparent() {
    let upstream = FakeUpstream::echoing(vec![with_tools("a", &["t"])]);
    upstream.workflows.send_replace(library(&[("shown", SHOWN), ("other", OTHER)]));
    let careful = Profile { name: "careful".into(), destructive: false, ..Profile::default() };
    let servers = ToolFilter { enabled: Some(vec![Pattern::parse("a").expect("a pattern")]), disabled: vec![] };
    let only_a = Profile { name: "only_a".into(), servers, ..Profile::default() };
    let gateway = Gateway::new(upstream, Settings { profiles: vec![careful, only_a], ..Settings::default() });
    for (profile, expected) in [
        ("default", &["a_t", "workflow_shown", "workflow_other"][..]),
        // Whatever calls an unknown tool may destroy something.
        ("careful", &["workflow_shown"]),
        ("only_a", &["t"]),
    ] {
        let mut client = PipeClient::of_profile(&gateway, profile);
        client.initialize(json!({})).await;
        assert_eq!(names(&client.ask("tools/list", json!({})).await), expected, "{profile}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_lasts_becomes_a_task_of_a_client_that_takes_tasks() {
    let upstream = FakeUpstream::echoing(vec![with_tools("a", &["t"])]);
    upstream.workflows.send_replace(library(&[("shown", SHOWN)]));
    let lasting = |limit: u64| {
        let (_, steps) = mpsc::channel(1);
        let end = async move {
            tokio::time::sleep(Duration::from_secs(limit)).await;
            Some(Arc::new(RunReport {
                outcome: RunOutcome::Ok,
                why: None,
                detail: vec![],
                steps: vec![],
                output: Some(Body::from("1")),
                compensated: vec![],
                not_compensated: vec![],
                questions: vec![],
                started: Stamp(0),
                ended: Stamp(0),
            }))
        };
        RunInProgress { steps, end: Box::pin(end) }
    };
    let mut client = PipeClient::of(&upstream);
    let found = client.ask("server/discover", json!({"_meta": meta()})).await;
    assert!(found["result"]["capabilities"]["extensions"]["io.modelcontextprotocol/tasks"].is_object(), "{found}");
    let call = json!({"name": "workflow_shown", "_meta": meta()});
    *upstream.run.lock() = Some(lasting(9));
    let done = client.ask("tools/call", call.clone()).await["result"].clone();
    assert_eq!((&done["resultType"], &done["structuredContent"]["result"]), (&json!("complete"), &json!(1)), "{done}");

    *upstream.run.lock() = Some(lasting(60));
    let task = client.ask("tools/call", call.clone()).await["result"].clone();
    assert_eq!((&task["resultType"], &task["status"]), (&json!("task"), &json!("working")), "{task}");
    let of_task = json!({"taskId": task["taskId"], "_meta": meta()});
    let state = client.ask("tasks/get", of_task.clone()).await["result"].clone();
    assert_eq!((&state["resultType"], &state["status"], state.get("result")), (&json!("complete"), &json!("working"), None), "{state}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let state = client.ask("tasks/get", of_task).await["result"].clone();
    assert_eq!((&state["status"], &state["result"]["structuredContent"]["result"]), (&json!("completed"), &json!(1)), "{state}");
    assert_eq!(client.ask("tasks/get", json!({"taskId": "x", "_meta": meta()})).await["error"]["code"], -32602);

    *upstream.run.lock() = Some(lasting(600));
    let task = client.ask("tools/call", call).await["result"].clone();
    let of_task = json!({"taskId": task["taskId"], "_meta": meta()});
    client.ask("tasks/cancel", of_task.clone()).await;
    assert_eq!(upstream.logged(1).await, ["cancel run"]);
    assert_eq!(client.ask("tasks/get", of_task).await["result"]["status"], "cancelled");
}
