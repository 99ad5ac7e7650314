//! Notifications outside of requests.

use std::time::Duration;

use serde_json::json;

use super::super::{
    Gateway, Settings,
    test_support::{FakeUpstream, PipeClient, ready, with_tools},
    upstream::ServerNotice,
};
use crate::domain::event::LogLevel;

#[tokio::test(start_paused = true)]
async fn many_changes_of_lists_are_one_notification_to_the_clients_that_read_them() {
    let upstream = FakeUpstream::echoing(vec![with_tools("a", &["t0"]), with_tools("b", &[])]);
    let gateway = Gateway::new(upstream.clone(), Settings::default());
    let (mut reader, mut other) = (PipeClient::connect(&gateway), PipeClient::connect(&gateway));
    for client in [&mut reader, &mut other] {
        client.initialize(json!({})).await;
    }
    reader.ask("tools/list", json!({})).await;
    for n in 1..50 {
        upstream.set(vec![with_tools("a", &[&format!("t{n}")]), with_tools("b", &[])]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(reader.message("method").await["method"], "notifications/tools/list_changed");
    tokio::time::sleep(Duration::from_secs(5)).await;
    reader.ask("ping", json!({})).await;
    other.ask("ping", json!({})).await;
    assert!(reader.passed.is_empty() && other.passed.is_empty(), "{:?} {:?}", reader.passed, other.passed);
    // A change back and forth is not a change.
    reader.ask("tools/list", json!({})).await;
    upstream.set(vec![with_tools("a", &["x"]), with_tools("b", &[])]);
    upstream.set(vec![with_tools("a", &["t49"]), with_tools("b", &[])]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    reader.ask("ping", json!({})).await;
    assert!(reader.passed.is_empty(), "{:?}", reader.passed);
}

#[tokio::test]
async fn one_subscription_upstream_serves_all_clients_of_a_resource() {
    let lists = json!({"resources": [{"uri": "x://1", "name": "1"}]});
    let server = || ready("a", r#"{"resources":{"subscribe":true}}"#, lists.clone());
    let upstream = FakeUpstream::echoing(vec![server(), with_tools("b", &[])]);
    let gateway = Gateway::new(upstream.clone(), Settings::default());
    let (mut one, mut two, mut three) = (PipeClient::connect(&gateway), PipeClient::connect(&gateway), PipeClient::connect(&gateway));
    for client in [&mut one, &mut two, &mut three] {
        client.initialize(json!({})).await;
    }
    for client in [&mut one, &mut two] {
        assert_eq!(client.ask("resources/subscribe", json!({"uri": "x://1"})).await["result"], json!({}));
    }
    assert_eq!(upstream.log(), ["subscribe a x://1"]);
    upstream.report(ServerNotice::Updated { server: "a".into(), uri: "x://1".into() }).await;
    for client in [&mut one, &mut two] {
        let updated = client.message("method").await;
        assert_eq!((&updated["method"], &updated["params"]), (&json!("notifications/resources/updated"), &json!({"uri": "x://1"})));
    }
    one.ask("resources/unsubscribe", json!({"uri": "x://1"})).await;
    assert_eq!(upstream.log().len(), 1);
    // The other one is gone without a word.
    two.end().await;
    (&mut two.served).await.unwrap();
    assert_eq!(upstream.log(), ["subscribe a x://1", "unsubscribe a x://1"]);
    three.ask("ping", json!({})).await;
    assert!(three.passed.is_empty(), "{:?}", three.passed);
}

#[tokio::test]
async fn a_client_gets_log_messages_of_its_level_and_servers_send_what_the_most_verbose_one_wants() {
    let logging = || ready("a", r#"{"tools":{},"logging":{}}"#, json!({}));
    let upstream = FakeUpstream::echoing(vec![logging(), with_tools("b", &[])]);
    let mut client = PipeClient::of(&upstream);
    client.initialize(json!({})).await;
    assert_eq!(client.ask("logging/setLevel", json!({"level": "error"})).await["result"], json!({}));
    assert_eq!(upstream.log(), ["level a error"]);
    let log = |level, text: &str| ServerNotice::Log { server: "a".into(), level, logger: Some("db".into()), text: text.into() };
    upstream.report(log(LogLevel::Info, "quiet")).await;
    upstream.report(log(LogLevel::Critical, "loud")).await;
    let message = client.message("method").await;
    assert_eq!(message["params"], json!({"level": "critical", "logger": "a/db", "data": "loud"}));
    assert_eq!(client.ask("logging/setLevel", json!({"level": "loud"})).await["error"]["code"], -32602);
}
