//! What bounds a command: lists that a limit cut are said to be cut, and a silent server is waited for once.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    exit,
    test_support::{Fake, db, ran},
};
use crate::domain::catalog::RawLists;

#[tokio::test]
async fn a_list_that_is_cut_says_so_on_stderr_and_in_documents() {
    let fake = Fake::giving(json!({"content": []}));
    fake.starting("db");
    fake.ready("db", RawLists { cut: vec!["tools", "prompts"], ..db() });
    fake.starting("whole");
    fake.ready("whole", db());
    let hint = "is truncated at";
    for (what, notes) in [("tools", 1), ("servers", 2)] {
        for format in ["--json", "--jsonl", "-v"] {
            let ran = ran(&fake, &[what, format]).await;
            assert_eq!((ran.code, ran.err.matches(hint).count()), (exit::OK, notes), "{what} {format}: {}", ran.err);
            assert!(ran.err.contains("raise limits.items") && !ran.err.contains("whole: "), "{}", ran.err);
        }
    }
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let tools = read(&ran(&fake, &["tools", "--json"]).await.out);
    let entries = tools["tools"].as_array().unwrap().iter().filter(|tool| tool["server"] == "db").count();
    assert_eq!(tools["truncated"], json!([{"type": "truncated_list", "server": "db", "list": "tools", "entries": entries}]));
    let lines = ran(&fake, &["tools", "--jsonl"]).await.out;
    assert_eq!(lines.lines().map(read).filter(|line| line["type"] == "truncated_list").count(), 1);
    let servers = read(&ran(&fake, &["servers", "--json"]).await.out);
    assert_eq!((&servers["servers"][0]["truncated"], &servers["servers"][1]["truncated"]), (&json!(["tools", "prompts"]), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_the_time_of_one_attempt() {
    let fake = Fake::giving(json!({"content": []}));
    fake.starting("db");
    for line in [&["call", "db_query"][..], &["tools"]] {
        let began = Instant::now();
        assert_eq!(ran(&fake, line).await.code, exit::NOT_READY);
        let (took, connect, stop) = (began.elapsed(), Duration::from_secs(30), Duration::from_secs(2));
        assert!(took >= connect && took < connect + 3 * stop + Duration::from_secs(2), "{line:?}: {took:?}");
    }
}
