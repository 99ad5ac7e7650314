//! Workflows that the demo ships with, over connections in memory.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use switchboard::{
    control::Command,
    domain::{
        body::Body,
        run::{RunOutcome, RunSpec, WorkflowText},
        workflow::DEMO,
    },
    engine::ports::Reply,
};

use crate::{
    fake::{Behaviour, Fake, Plan, spec},
    runs::{finished, id, output, spans, wanted},
    support::Rig,
};

/// How long each call takes.
const CALL: Duration = Duration::from_millis(200);

/// What the demo's servers answer to the tools of `enrich_user_data`.
fn answer(tool: &str) -> Value {
    match tool {
        "get_user_profile" => json!({"name": "Ann", "role": "developer"}),
        "get_user_activity" => json!({"total": 12, "counts": {"login": 12}}),
        "get_preferences" => json!({"theme": "dark", "language": "de"}),
        other => panic!("unexpected request for {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn enrich_user_data_takes_as_long_as_its_longest_call_and_not_their_sum() {
    let behaviour = Behaviour::new(|request, observer, handler| async move {
        observer.sent(handler.now(), 1);
        let name = request.params.value().unwrap()["name"].as_str().unwrap().to_owned();
        tokio::time::sleep(CALL).await;
        let result = Body::json(&json!({"content": [], "structuredContent": answer(&name)}));
        Ok(Reply { result, first_byte: handler.now(), last_byte: handler.now(), sent_bytes: 1, received_bytes: 1 })
    });
    let names = ["get_user_profile", "get_user_activity", "get_preferences"];
    let tools = names.map(|name| Body::json(&json!({"name": name, "inputSchema": {"type": "object"}}))).to_vec();
    let behaviour = Arc::new(Behaviour { tools, ..behaviour });
    let servers = ["database", "analytics", "preferences"].map(spec).to_vec();
    let rig = Rig::over(Fake::new(move |_| Plan::Serve(Duration::ZERO, behaviour.clone())), servers);
    for server in ["database", "analytics", "preferences"] {
        rig.ready(server).await;
    }
    let (name, text) = DEMO.into_iter().find(|(name, _)| *name == "enrich_user_data").unwrap();
    let source = WorkflowText { name: name.into(), file: format!("{name}.toml"), text: text.into() };
    let spec = RunSpec { workflow: name.into(), sources: Arc::new([source]), input: Body::from(r#"{"userId":"u_1001"}"#), ..wanted("") };
    let (report, events) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(spec) }).await;
    assert_eq!(report.outcome, RunOutcome::Ok, "{report:#?}");
    let output = output(&report);
    assert_eq!((&output["name"], &output["events"], &output["theme"]), (&json!("Ann"), &json!(12), &json!("dark")), "{output}");
    let spans = spans(&events);
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["activity", "preferences", "profile"]);
    let (first, last) = (spans.values().map(|s| s.0).min().unwrap(), spans.values().map(|s| s.1).max().unwrap());
    assert_eq!(last.since(first), CALL, "the longest of three, not their sum");
    rig.stop().await;
}
