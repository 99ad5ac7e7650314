//! Lists, capabilities and the description of the gateway.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, advance};

use super::super::{
    Gateway, Settings,
    test_support::{FakeUpstream, PipeClient, ready, snapshot, with_tools},
};
use crate::domain::{
    catalog::ServerCatalog,
    policy::tool_filter::ToolFilter,
    server::{ConnectFailure, Phase, ServerSpec, Step, Transport},
};

fn names(result: &Value, key: &str, member: &str) -> Vec<String> {
    result["result"][key].as_array().into_iter().flatten().map(|entry| entry[member].as_str().unwrap_or_default().to_owned()).collect()
}

fn paged(upstream: &Arc<FakeUpstream>, page_entries: usize) -> PipeClient {
    PipeClient::connect(&Gateway::new(upstream.clone(), Settings { page_entries, ..Settings::default() }))
}

fn starting(id: &str) -> crate::domain::directory::ServerSnapshot {
    snapshot(ServerSpec::new(id, Transport::unknown()), Phase::Starting { step: Step::Spawn }, ServerCatalog::default())
}

#[tokio::test]
async fn capabilities_are_those_of_the_servers_and_methods_agree_with_them() {
    let upstream = FakeUpstream::echoing(vec![
        ready("a", r#"{"tools":{},"logging":{}}"#, json!({})),
        ready("b", r#"{"prompts":{}}"#, json!({"prompts": [{"name": "p"}]})),
    ]);
    let mut client = PipeClient::of(&upstream);
    let result = client.initialize(json!({})).await;
    assert_eq!(result["capabilities"], json!({"logging": {}, "prompts": {"listChanged": true}, "tools": {"listChanged": true}}));
    assert_eq!(result["serverInfo"], json!({"name": "switchboard", "version": env!("CARGO_PKG_VERSION")}));
    assert_eq!(result["instructions"], "# a\n\nUse a.\n\n# b\n\nUse b.");
    assert_eq!(result["protocolVersion"], "2025-11-25");
    for (method, offered) in [("tools/list", true), ("prompts/list", true), ("resources/list", false), ("completion/complete", false)] {
        let response = client.ask(method, json!({})).await;
        assert_eq!(response["error"]["code"] != -32601, offered, "{method}: {response}");
    }
}

#[tokio::test]
async fn entries_come_under_exposed_names_in_the_order_of_the_configuration_and_otherwise_as_they_are() {
    let raw = r#"{"name":"t","inputSchema":{"type":"object","max":1E+30,"n":1.0},"x-vendor":[1,{"name":"t"}],"name":"get"}"#;
    let mut z = with_tools("z", &["b", "a"]);
    let catalog = Arc::make_mut(&mut z.catalog);
    let tool = Arc::make_mut(&mut catalog.tools[0]);
    tool.raw = crate::domain::body::Body::from(raw);
    let upstream = FakeUpstream::echoing(vec![z, with_tools("m", &["c"])]);
    let mut client = PipeClient::of(&upstream);
    client.initialize(json!({})).await;
    client.send(r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#).await;
    let line = client.line().await;
    let first = r#"{"name":"t","inputSchema":{"type":"object","max":1E+30,"n":1.0},"x-vendor":[1,{"name":"t"}],"name":"z_b"}"#;
    assert!(line.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":"l","result":{{"tools":[{first},"#)), "{line}");
    let listed: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(names(&listed, "tools", "name"), ["z_b", "z_a", "m_c"]);
}

#[tokio::test]
async fn trap_1_every_entry_comes_once_over_pages_also_when_the_list_changes_between_them() {
    let many: Vec<String> = (0..6).map(|n| format!("t{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let upstream = FakeUpstream::echoing(vec![with_tools("a", &many), with_tools("b", &["x", "y", "t0", "z", "u", "v", "w"])]);
    let mut client = paged(&upstream, 2);
    client.initialize(json!({})).await;
    let (mut seen, mut cursor, mut pages) = (vec![], json!({}), 0);
    loop {
        let page = client.ask("tools/list", cursor).await;
        seen.extend(names(&page, "tools", "name"));
        pages += 1;
        let Some(next) = page["result"].get("nextCursor") else { break };
        cursor = json!({"cursor": next});
        if pages == 2 {
            // The last entry of the page is not listed any more.
            upstream.set(vec![with_tools("a", &["t2", "t4", "t5"]), with_tools("b", &["x", "y", "t0", "z", "u", "v", "w"])]);
        }
    }
    let expected = ["a_t0", "a_t1", "a_t2", "a_t3", "a_t4", "a_t5", "b_x", "b_y", "b_t0", "b_z", "b_u", "b_v", "b_w"];
    assert_eq!((seen, pages), (expected.map(str::to_owned).to_vec(), 7));
    for wrong in ["x", "", "eyJsaXN0IjoicHJvbXB0cyIsImFmdGVyIjoiYSIsInBsYWNlIjoxfQ"] {
        assert_eq!(client.ask("tools/list", json!({"cursor": wrong})).await["error"]["code"], -32602, "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn trap_3_the_first_list_waits_for_starting_servers_and_not_for_ever() {
    let upstream = FakeUpstream::echoing(vec![with_tools("fast", &["t"]), starting("slow")]);
    let gateway = Gateway::new(upstream.clone(), Settings::default());
    let mut client = PipeClient::connect(&gateway);
    let began = Instant::now();
    let (result, ()) = tokio::join!(client.initialize(json!({})), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        upstream.set(vec![with_tools("fast", &["t"]), with_tools("slow", &["s"])]);
    });
    assert!(result["capabilities"]["tools"]["listChanged"] == true);
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(4), "{waited:?}");
    assert_eq!(names(&client.ask("tools/list", json!({})).await, "tools", "name"), ["fast_t", "slow_s"]);

    let upstream = FakeUpstream::echoing(vec![with_tools("fast", &["t"]), starting("stuck")]);
    let mut client = PipeClient::connect(&Gateway::new(upstream, Settings::default()));
    let began = Instant::now();
    let result = client.initialize(json!({})).await;
    assert_eq!(began.elapsed().as_secs(), 5);
    // A starting server may still have anything.
    assert_eq!(result["capabilities"]["resources"], json!({"listChanged": true, "subscribe": true}));
    let began = Instant::now();
    assert_eq!(names(&client.ask("tools/list", json!({})).await, "tools", "name"), ["fast_t"]);
    assert!(began.elapsed() < Duration::from_millis(50), "later lists do not wait");
}

#[tokio::test(start_paused = true)]
async fn traps_4_and_5_entries_of_an_unreachable_server_stay_for_the_grace_time() {
    let away = |names: &[&str]| {
        let why = Arc::new(ConnectFailure::new(Step::Run, "gone"));
        let phase = Arc::new(Phase::Reconnecting { attempt: 2, until: crate::domain::time::Stamp(0), why });
        crate::domain::directory::ServerSnapshot { phase, ..with_tools("b", names) }
    };
    let upstream = FakeUpstream::echoing(vec![with_tools("a", &["x"]), with_tools("b", &["y"])]);
    let mut client = PipeClient::of(&upstream);
    client.initialize(json!({})).await;
    assert_eq!(names(&client.ask("tools/list", json!({})).await, "tools", "name"), ["a_x", "b_y"]);
    upstream.set(vec![with_tools("a", &["x"]), away(&["y"])]);
    client.ask("tools/list", json!({})).await;
    advance(Duration::from_secs(590)).await;
    assert_eq!(names(&client.ask("tools/list", json!({})).await, "tools", "name"), ["a_x", "b_y"]);
    assert!(client.passed.is_empty(), "nothing changed: {:?}", client.passed);
    advance(Duration::from_secs(20)).await;
    assert_eq!(client.message("method").await["method"], "notifications/tools/list_changed");
    assert_eq!(names(&client.ask("tools/list", json!({})).await, "tools", "name"), ["a_x"]);
    upstream.set(vec![with_tools("a", &["x"]), with_tools("b", &["y"])]);
    assert_eq!(client.message("method").await["method"], "notifications/tools/list_changed");
    assert_eq!(names(&client.ask("tools/list", json!({})).await, "tools", "name"), ["a_x", "b_y"]);
}

#[tokio::test]
async fn a_single_server_is_transparent() {
    let capabilities = r#"{"tools":{"listChanged":false},"experimental":{"x":{"n":1.0}},"tasks":{}}"#;
    let upstream = FakeUpstream::echoing(vec![ready("a", capabilities, json!({"tools": [{"name": "get it"}]}))]);
    let mut client = PipeClient::of(&upstream);
    let result = client.initialize(json!({})).await;
    assert_eq!(result["capabilities"], json!({"tools": {"listChanged": false}, "experimental": {"x": {"n": 1.0}}}));
    assert_eq!(result["serverInfo"], json!({"name": "a-server", "version": "7"}));
    assert_eq!(result["instructions"], "Use a.");
    assert_eq!(names(&client.ask("tools/list", json!({})).await, "tools", "name"), ["get it"]);
    let response = client.ask("vendor/method", json!({"a": 1})).await;
    assert_eq!(response["result"]["content"][0]["text"], "a vendor/method ");
    let opaque = Gateway::new(
        FakeUpstream::echoing(vec![with_tools("a", &["t"])]),
        Settings { transparent: false, instructions: Some("Hello.".into()), ..Settings::default() },
    );
    let mut client = PipeClient::connect(&opaque);
    assert_eq!(client.initialize(json!({})).await["instructions"], "Hello.\n\n# a\n\nUse a.");
    assert_eq!(names(&client.ask("tools/list", json!({})).await, "tools", "name"), ["a_t"]);
    assert_eq!(client.ask("vendor/method", json!({})).await["error"]["code"], -32601);
}

#[tokio::test]
async fn colliding_prompts_and_templates_all_have_their_own_names() {
    let lists = json!({"prompts": [{"name": "p"}], "templates": [{"uriTemplate": "x://{n}", "name": "n"}]});
    let capabilities = r#"{"prompts":{},"resources":{},"completions":{}}"#;
    let upstream = FakeUpstream::echoing(vec![ready("a", capabilities, lists.clone()), ready("b", capabilities, lists)]);
    let mut client = PipeClient::of(&upstream);
    client.initialize(json!({})).await;
    assert_eq!(names(&client.ask("prompts/list", json!({})).await, "prompts", "name"), ["a_p", "b_p"]);
    let templates = client.ask("resources/templates/list", json!({})).await;
    assert_eq!(names(&templates, "resourceTemplates", "uriTemplate"), ["a+x://{n}", "b+x://{n}"]);
    let reference = json!({"ref": {"type": "ref/resource", "uri": "b+x://{n}"}, "argument": {"name": "n", "value": "1"}});
    assert_eq!(client.ask("completion/complete", reference).await["result"]["content"][0]["text"], "b completion/complete ");
}

#[tokio::test]
async fn a_profile_offers_its_servers_and_tools_and_refuses_the_others() {
    let pattern = |text: &str| crate::domain::policy::pattern::Pattern::parse(text).unwrap();
    let profile = crate::domain::profile::Profile {
        name: "careful".into(),
        servers: ToolFilter { enabled: None, disabled: vec![pattern("c*")] },
        tools: ToolFilter { enabled: None, disabled: vec![pattern("*_drop")] },
        instructions: Some("Careful.".into()),
        ..Default::default()
    };
    let upstream = FakeUpstream::echoing(vec![with_tools("a", &["x", "drop"]), with_tools("b", &["y"]), with_tools("c", &["z"])]);
    let gateway =
        Gateway::new(upstream.clone(), Settings { profiles: vec![profile], quiet: Duration::from_millis(1), ..Settings::default() });
    let (mut careful, mut other) = (PipeClient::of_profile(&gateway, "careful"), PipeClient::connect(&gateway));
    assert_eq!(careful.initialize(json!({})).await["instructions"], "Careful.\n\n# a\n\nUse a.\n\n# b\n\nUse b.");
    other.initialize(json!({})).await;
    assert_eq!(names(&careful.ask("tools/list", json!({})).await, "tools", "name"), ["a_x", "b_y"]);
    assert_eq!(names(&other.ask("tools/list", json!({})).await, "tools", "name"), ["a_x", "a_drop", "b_y", "c_z"]);
    for (tool, offered) in [("a_x", true), ("a_drop", false), ("c_z", false)] {
        assert_eq!(careful.ask("tools/call", json!({"name": tool})).await.get("error").is_none(), offered, "{tool}");
    }
    // A change of what a profile does not offer is not reported to its clients.
    upstream.set(vec![with_tools("a", &["x", "drop"]), with_tools("b", &["y"]), with_tools("c", &["z2"])]);
    assert_eq!(other.message("method").await["method"], "notifications/tools/list_changed");
    careful.ask("ping", json!({})).await;
    assert!(careful.passed.is_empty(), "{:?}", careful.passed);
}
