//! Profiles that change tools: names, descriptions, arguments, confirmations and rates.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::{
    Gateway, Settings,
    test_support::{FakeUpstream, PipeClient, ready, with_tools},
};
use crate::domain::{
    body::Body,
    profile::{Profile, ToolEdit},
};

fn tool() -> Value {
    let properties = json!({"sql": {"type": "string"}, "database": {"type": "string"}, "timeout": {"type": "number"}});
    json!({"name": "query", "inputSchema": {"type": "object", "properties": properties, "required": ["sql", "database"]}})
}

fn edited(edit: ToolEdit) -> Arc<Gateway> {
    let servers = vec![
        ready("db", r#"{"tools":{}}"#, json!({"tools": [tool(), {"name": "sql", "inputSchema": {"type": "object"}}]})),
        with_tools("b", &["t"]),
    ];
    let edit = ToolEdit { tool: "db_query".into(), ..edit };
    let profile = Profile { name: "p".into(), edits: vec![Arc::new(edit)], ..Profile::default() };
    Gateway::new(FakeUpstream::echoing(servers), Settings { profiles: vec![profile], ..Settings::default() })
}

async fn client(gateway: &Arc<Gateway>, capabilities: Value) -> PipeClient {
    let mut client = PipeClient::of_profile(gateway, "p");
    client.initialize(capabilities).await;
    client
}

fn called(response: &Value) -> &str {
    response["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{response}"))
}

#[tokio::test]
async fn a_renamed_tool_has_its_arguments_concealed_and_fixed() {
    let gateway = edited(ToolEdit {
        rename: Some("ask".into()),
        description: Some("Asks the staging database.".into()),
        fixed: vec![("database".into(), Body::from("\"staging\""))],
        hidden: vec!["timeout".into()],
        ..ToolEdit::default()
    });
    let mut client = client(&gateway, json!({})).await;
    let listed = client.ask("tools/list", json!({})).await["result"]["tools"].clone();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ask", "db_sql", "b_t"]);
    assert_eq!(listed[0]["description"], "Asks the staging database.");
    assert_eq!(listed[0]["inputSchema"], json!({"type": "object", "properties": {"sql": {"type": "string"}}, "required": ["sql"]}));
    let response = client.ask("tools/call", json!({"name": "ask", "arguments": {"sql": "x"}})).await;
    assert_eq!(called(&response), r#"db query {"sql":"x","database":"staging"}"#);
    for arguments in [json!({"database": "live"}), json!({"timeout": 1})] {
        let error = client.ask("tools/call", json!({"name": "ask", "arguments": arguments})).await["error"].clone();
        assert_eq!(error["code"], -32602, "{arguments}");
    }
    // The tool has no other name for this client, and its own for others.
    assert_eq!(client.ask("tools/call", json!({"name": "db_query"})).await["error"]["code"], -32602);
    let mut other = PipeClient::connect(&gateway);
    other.initialize(json!({})).await;
    let response = other.ask("tools/call", json!({"name": "db_query", "arguments": {"database": "live"}})).await;
    assert_eq!(called(&response), r#"db query {"database":"live"}"#);
}

#[tokio::test]
async fn a_name_of_another_tool_is_not_taken_and_what_cannot_be_concealed_is_not_offered() {
    let gateway = edited(ToolEdit { rename: Some("db_sql".into()), ..ToolEdit::default() });
    let mut named = client(&gateway, json!({})).await;
    let listed = named.ask("tools/list", json!({})).await["result"]["tools"].clone();
    assert_eq!((&listed[0]["name"], &listed[1]["name"]), (&json!("db_query"), &json!("db_sql")));
    let gateway = edited(ToolEdit { hidden: vec!["absent".into()], ..ToolEdit::default() });
    let mut client = client(&gateway, json!({})).await;
    assert_eq!(client.ask("tools/list", json!({})).await["result"]["tools"][0]["name"], "db_sql");
}

#[tokio::test]
async fn a_call_is_made_only_if_the_user_of_a_legacy_client_confirms_it() {
    let gateway = edited(ToolEdit { confirm: true, ..ToolEdit::default() });
    let mut asked = client(&gateway, json!({"elicitation": {}})).await;
    for (answer, made) in [
        (json!({"action": "accept", "content": {"confirm": true}}), true),
        (json!({"action": "accept", "content": {"confirm": false}}), false),
        (json!({"action": "decline"}), false),
    ] {
        asked.send(r#"{"jsonrpc":"2.0","id":50,"method":"tools/call","params":{"name":"db_query","arguments":{"sql":"x"}}}"#).await;
        let question = asked.message("method").await;
        assert_eq!(question["method"], "elicitation/create");
        assert!(question["params"]["message"].as_str().unwrap().contains(r#"{"sql":"x"}"#), "{question}");
        asked.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": answer}).to_string()).await;
        let response = asked.message("result").await;
        assert_eq!(response["result"]["isError"] != true, made, "{response}");
    }
    let mut silent = client(&gateway, json!({})).await;
    let response = silent.ask("tools/call", json!({"name": "db_query"})).await;
    assert_eq!(response["result"]["isError"], true, "{response}");
}

#[tokio::test]
async fn a_modern_client_confirms_with_its_next_request() {
    let gateway = edited(ToolEdit { confirm: true, ..ToolEdit::default() });
    let mut client = PipeClient::of_profile(&gateway, "p");
    let meta =
        json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}});
    let call = |sql: &str, more: Value| {
        let mut params = json!({"name": "db_query", "arguments": {"sql": sql}, "_meta": meta});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let first = client.ask("tools/call", call("x", json!({}))).await["result"].clone();
    assert_eq!(first["resultType"], "input_required", "{first}");
    let yes = json!({"confirm": {"action": "accept", "content": {"confirm": true}}});
    let confirmed = json!({"requestState": first["requestState"], "inputResponses": yes});
    // What was confirmed is this call, and no other one.
    assert_eq!(client.ask("tools/call", call("y", confirmed.clone())).await["error"]["code"], -32602);
    assert_eq!(client.ask("tools/call", call("x", json!({"requestState": "x", "inputResponses": yes}))).await["error"]["code"], -32602);
    let declined = json!({"requestState": first["requestState"], "inputResponses": {"confirm": {"action": "decline"}}});
    assert_eq!(client.ask("tools/call", call("x", declined)).await["result"]["isError"], true);
    assert_eq!(called(&client.ask("tools/call", call("x", confirmed)).await), r#"db query {"sql":"x"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_tool_has_a_rate() {
    let gateway = edited(ToolEdit { per_minute: Some(2), ..ToolEdit::default() });
    let mut client = client(&gateway, json!({})).await;
    for made in [true, true, false] {
        let response = client.ask("tools/call", json!({"name": "db_query"})).await;
        assert_eq!(response.get("result").is_some(), made, "{response}");
        if !made {
            assert_eq!(response["error"]["data"]["switchboard"]["retry_after_ms"], 30_000, "{response}");
        }
    }
    tokio::time::advance(std::time::Duration::from_secs(30)).await;
    assert!(client.ask("tools/call", json!({"name": "db_query"})).await.get("result").is_some());
}
