//! Workflows as tools of the gateway: the real program, the demo's servers, its journal.

use serde_json::{Value, json};

use super::{
    Home,
    serve::{CAPABILITIES, Client, VERSION, names},
};

/// A workflow that reads, asks, and returns what it read.
const ASKING: &str = r#"
name = "report"
description = "Reports the admins."
expose = true
[input]
role = { type = "string", default = "admin" }
[[step]]
id = "users"
title = "Users"
tool = "database_query_users"
arguments = { role = "{{ input.role }}" }
[[step]]
id = "send"
approve = "Send the report on {{ steps.users.result.users | length }} users?"
[output]
role = "{{ input.role }}"
approved = "{{ steps.send }}"
"#;

/// A workflow whose second step fails.
const FAILING: &str = r#"
name = "broken"
expose = true
[[step]]
id = "users"
tool = "database_query_users"
[[step]]
id = "check"
let = "{{ steps.users.result.users | length }}"
expect = ["{{ result > 1000 }}"]
needs = ["users"]
"#;

impl Home {
    fn gateway(&self) -> Client {
        Client::of(self.at_home(&["serve"]))
    }
}

fn modern(name: &str, arguments: Value) -> Value {
    let meta = json!({VERSION: "2026-07-28", CAPABILITIES: {"elicitation": {"form": {}}}});
    json!({"name": name, "arguments": arguments, "_meta": meta})
}

#[test]
fn an_exposed_workflow_is_a_tool_that_reports_steps_and_asks_its_client() {
    let home = Home::new();
    home.configured();
    home.workflow("report.toml", ASKING);
    home.workflow("private.toml", "name = \"private\"\n[[step]]\nid = \"a\"\nlet = \"1\"\n");
    let mut client = home.gateway();
    client.initialize(json!({"elicitation": {}}));
    let (_, listed) = client.ask("tools/list", json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap();
    let tool = tools.iter().find(|tool| tool["name"] == "workflow_report").unwrap_or_else(|| panic!("{listed}"));
    assert_eq!(tool["description"], "Reports the admins.");
    assert_eq!(tool["inputSchema"]["properties"]["role"]["default"], "admin");
    assert_eq!(tool["outputSchema"]["required"], json!(["role", "approved"]));
    // The server is not trusted, so that its annotations count for nothing.
    assert_eq!((&tool["annotations"]["readOnlyHint"], &tool["annotations"]["destructiveHint"]), (&json!(false), &json!(true)));
    assert!(!names(&listed).contains(&"workflow_private".to_owned()), "{listed}");

    client.approves = true;
    let call = json!({"name": "workflow_report", "arguments": {}, "_meta": {"progressToken": "p"}});
    let (before, done) = client.ask("tools/call", call.clone());
    let asked: Vec<&Value> = before.iter().filter(|message| message["method"] == "elicitation/create").collect();
    assert_eq!(asked.len(), 1, "{before:?}");
    assert!(asked[0]["params"]["message"].as_str().unwrap().starts_with("Send the report on "), "{asked:?}");
    let progress: Vec<(f64, &str)> = before
        .iter()
        .filter(|message| message["method"] == "notifications/progress")
        .map(|message| (message["params"]["progress"].as_f64().unwrap(), message["params"]["message"].as_str().unwrap()))
        .collect();
    assert_eq!(progress[0], (1.0, "Users: ok"), "{before:?}");
    let content = &done["result"]["structuredContent"];
    assert_eq!((&content["role"], &done["result"]["isError"]), (&json!("admin"), &Value::Null), "{done}");
    let run = content["_run"].as_str().unwrap();
    home.own(&["runs", "show", run]).ends(0).prints("report");

    client.approves = false;
    let (_, refused) = client.ask("tools/call", call);
    let result = &refused["result"];
    assert_eq!((&result["isError"], &result["structuredContent"]["outcome"]), (&json!(true), &json!("refused")), "{refused}");
    assert_eq!(result["structuredContent"]["done"], json!(["users"]), "{refused}");
    let (_, wrong) = client.ask("tools/call", json!({"name": "workflow_report", "arguments": {"role": 7}}));
    assert!(wrong["result"]["isError"] == true && wrong.to_string().contains("role"), "{wrong}");
    assert_eq!(client.end().0, Some(0));
}

#[test]
fn a_run_that_waits_for_a_modern_client_survives_a_restart_of_the_gateway() {
    let home = Home::new();
    home.configured();
    home.workflow("report.toml", ASKING);
    let mut client = home.gateway();
    let (_, asked) = client.ask("tools/call", modern("workflow_report", json!({"role": "admin"})));
    let asked = asked["result"].clone();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    assert_eq!(client.end().0, Some(0));

    let mut client = home.gateway();
    let answers = json!({"q1": {"action": "accept", "content": {"approve": true}}});
    let mut again = modern("workflow_report", json!({"role": "admin"}));
    (again["inputResponses"], again["requestState"]) = (answers, asked["requestState"].clone());
    // The state belongs to the arguments.
    let mut other = again.clone();
    other["arguments"] = json!({"role": "viewer"});
    assert_eq!(client.ask("tools/call", other).1["error"]["code"], -32602);
    let (_, done) = client.ask("tools/call", again.clone());
    assert_eq!(
        (&done["result"]["resultType"], &done["result"]["structuredContent"]["role"]),
        (&json!("complete"), &json!("admin")),
        "{done}"
    );
    // A repeated answer gets the same end, and runs nothing.
    let (_, repeated) = client.ask("tools/call", again);
    assert_eq!(repeated["result"]["structuredContent"], done["result"]["structuredContent"], "{repeated}");
    assert_eq!(client.end().0, Some(0));
}

#[test]
fn a_failed_run_says_what_was_done_and_changed_files_change_the_list() {
    let home = Home::new();
    home.configured();
    home.workflow("broken.toml", FAILING);
    let mut client = home.gateway();
    client.initialize(json!({}));
    let (_, listed) = client.ask("tools/list", json!({}));
    assert!(names(&listed).contains(&"workflow_broken".to_owned()), "{listed}");
    let (_, failed) = client.ask("tools/call", json!({"name": "workflow_broken"}));
    let content = &failed["result"]["structuredContent"];
    assert_eq!((&failed["result"]["isError"], &content["outcome"], &content["done"]), (&json!(true), &json!("failed"), &json!(["users"])));
    assert_eq!(content["failed"][0]["step"], "check", "{failed}");
    home.workflow("report.toml", ASKING);
    client.notified("notifications/tools/list_changed");
    let (_, listed) = client.ask("tools/list", json!({}));
    assert!(names(&listed).contains(&"workflow_report".to_owned()), "{listed}");
    // A client that cannot ask its user: the question is refused.
    let (_, refused) = client.ask("tools/call", json!({"name": "workflow_report"}));
    assert_eq!(refused["result"]["structuredContent"]["outcome"], "refused", "{refused}");
    assert_eq!(client.end().0, Some(0));
}

#[test]
fn workflows_of_a_project_are_offered_after_its_approval() {
    let home = Home::new();
    home.configured();
    let project = home.path().join("project");
    std::fs::create_dir_all(project.join("workflows")).unwrap();
    std::fs::write(project.join("switchboard.toml"), "workflows = [\"workflows\"]\n").unwrap();
    std::fs::write(project.join("workflows/broken.toml"), FAILING).unwrap();
    let listed = || {
        let mut command = home.at_home(&["serve"]);
        command.current_dir(&project);
        let mut client = Client::of(command);
        client.initialize(json!({}));
        let listed = names(&client.ask("tools/list", json!({})).1);
        client.end();
        listed
    };
    assert!(!listed().contains(&"workflow_project_broken".to_owned()));
    let approved = home.at_home(&["approve", "--yes"]).current_dir(&project).output().unwrap();
    assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    assert!(listed().contains(&"workflow_project_broken".to_owned()), "{:?}", listed());
}
