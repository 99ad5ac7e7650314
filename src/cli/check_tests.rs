//! Tests of `--no-check`: arguments and answers that violate their schema, refused by default and sent with it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    exit,
    test_support::{Fake, db, id, ran},
};
use crate::{
    control::Command,
    domain::{
        ask::{Answer, Ask, Question},
        body::Body,
        call::{ArgumentCheck, Operation, Outcome},
        catalog::RawLists,
        event::EventKind,
        id::{AskId, ClientId},
        time::Stamp,
    },
};

fn with_db(fake: Arc<Fake>) -> Arc<Fake> {
    fake.starting("db");
    fake.ready("db", db());
    fake
}

fn sent(fake: &Fake) -> Vec<(String, ArgumentCheck)> {
    let calls = fake.calls.lock().unwrap();
    calls
        .iter()
        .map(|call| match &call.operation {
            Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => (arguments.text().into_owned(), call.check),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn arguments_that_violate_the_schema_are_sent_with_no_check() {
    for (line, arguments) in [
        (&["call", "db_query", "--args", r#"{"sql":null}"#][..], r#"{"sql":null}"#),
        (&["call", "db_query", "limit=many"], r#"{"limit":"many"}"#),
        (&["call", "db_query", "limit:=1000", "sql=x"], r#"{"limit":1000,"sql":"x"}"#),
        (&["prompt", "explain", "colour=y"], r#"{"colour":"y"}"#),
    ] {
        let fake = with_db(Fake::giving(json!({"content": []})));
        let refused = ran(&fake, line).await;
        assert_eq!(refused.code, exit::USAGE, "{line:?}");
        assert!(refused.err.contains("--no-check") && sent(&fake).is_empty(), "{}", refused.err);
        let forced = ran(&fake, &[line, &["--no-check"]].concat()).await;
        assert_eq!(forced.code, exit::OK, "{line:?}: {}", forced.err);
        assert!(forced.err.contains("are invalid and are sent anyway (--no-check):"), "{}", forced.err);
        assert_eq!(sent(&fake), [(arguments.to_owned(), ArgumentCheck::Skipped)]);
        let json = ran(&fake, &[line, &["--no-check", "--json"]].concat()).await;
        let document: Value = serde_json::from_str(&json.out).unwrap();
        assert!(!document["argument_errors"].as_array().unwrap().is_empty(), "{document}");
    }
    let fake = with_db(Fake::giving(json!({"content": []})));
    let valid = ran(&fake, &["call", "db_query", "sql=x", "--no-check", "--json"]).await;
    assert!(!valid.out.contains("argument_errors") && valid.err.is_empty(), "{}{}", valid.out, valid.err);
    // What is not a JSON object cannot be sent as arguments.
    for wrong in [&["--args", "[]"][..], &["sql"], &["sql:=oops"]] {
        assert_eq!(ran(&fake, &[&["call", "db_query", "--no-check"], wrong].concat()).await.code, exit::USAGE, "{wrong:?}");
    }
}

fn with_output(schema: &Value) -> RawLists {
    let read = json!({"readOnlyHint": true});
    let tool = json!({"name": "t", "inputSchema": {"type": "object"}, "outputSchema": schema, "annotations": read});
    RawLists { tools: vec![Body::json(&tool)], ..RawLists::default() }
}

#[tokio::test]
async fn a_result_that_violates_its_output_schema_is_reported_and_fails_only_with_strict() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let error = json!({"content": [], "isError": true});
    for (result, wrong) in [
        (json!({"content": [], "structuredContent": {"n": 1}}), None),
        (json!({"content": [], "structuredContent": {"n": "x"}}), Some("/n: expected an integer, got \"x\"")),
        (
            json!({"content": [{"type": "text", "text": "x"}]}),
            Some("structuredContent is missing, although the tool declares an output schema"),
        ),
    ] {
        let fake = Fake::giving(result);
        fake.starting("db");
        fake.ready("db", with_output(&schema));
        for strict in [false, true] {
            let flags: &[&str] = if strict { &["--strict"] } else { &[] };
            let code = if strict && wrong.is_some() { exit::FAILED } else { exit::OK };
            let human = ran(&fake, &[&["call", "db_t"], flags].concat()).await;
            assert_eq!(human.code, code, "{}", human.err);
            assert_eq!(human.err.contains(wrong.unwrap_or("output schema")), wrong.is_some(), "{}", human.err);
            let json = ran(&fake, &[&["call", "db_t", "--json"], flags].concat()).await;
            let document: Value = serde_json::from_str(&json.out).unwrap();
            assert_eq!((json.code, &document["exit_code"]), (code, &json!(code)));
            assert_eq!(document.get("schema_errors"), wrong.map(|wrong| json!([wrong])).as_ref());
            assert!(document["result"].is_object());
        }
    }
    let fake = Fake::ending(Outcome::ToolError { result: Body::json(&error) });
    fake.starting("db");
    fake.ready("db", with_output(&schema));
    let failed = ran(&fake, &["call", "db_t", "--strict"]).await;
    assert!(failed.code == exit::TOOL_ERROR && !failed.err.contains("output schema"), "{}", failed.err);
}

#[tokio::test]
async fn a_schema_with_a_bad_keyword_is_reported_and_refused_only_with_strict() {
    let input = json!({"type": "object", "properties": {"v": {"type": "str", "pattern": "(["}}, "required": ["v"]});
    let read = json!({"readOnlyHint": true});
    let tool = json!({"name": "t", "inputSchema": input, "outputSchema": {"type": "frob"}, "annotations": read});
    let fake = Fake::giving(json!({"content": [], "structuredContent": {}}));
    fake.starting("db");
    fake.ready("db", RawLists { tools: vec![Body::json(&tool)], ..RawLists::default() });
    let sent = ran(&fake, &["call", "db_t", "v=x"]).await;
    assert_eq!(sent.code, exit::OK, "{}", sent.err);
    for warning in [
        "/properties/v/type: \"str\" is read as string",
        "/properties/v/pattern is not checked",
        "output schema of db_t: /type is not checked",
    ] {
        assert!(sent.err.contains(warning), "{}", sent.err);
    }
    assert_eq!(ran(&fake, &["call", "db_t"]).await.code, exit::USAGE, "the rest of the schema is checked");
    let strict = ran(&fake, &["call", "db_t", "v=x", "--strict"]).await;
    assert!(strict.code == exit::USAGE && strict.err.contains("cannot be fully validated; nothing was sent"), "{}", strict.err);
    let json = ran(&fake, &["call", "db_t", "v=x", "--json"]).await;
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(document["unchecked"].as_array().map(Vec::len), Some(2), "{document}");
    let doctor = ran(&fake, &["doctor"]).await;
    assert!(doctor.out.contains("the schema of the arguments of t: /properties/v/pattern is not checked"), "{}", doctor.out);
    assert!(doctor.out.contains("the schema of the result of t: /type is not checked"), "{}", doctor.out);
}

#[tokio::test]
async fn a_file_of_arguments_may_begin_with_a_byte_order_mark() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.json");
    std::fs::write(&path, "\u{feff}{\"sql\":\"x\"}\r\n").unwrap();
    let fake = with_db(Fake::giving(json!({"content": []})));
    let ran = ran(&fake, &["call", "db_query", "--args", &format!("@{}", path.display())]).await;
    assert_eq!(ran.code, exit::OK, "{}", ran.err);
    assert_eq!(sent(&fake)[0].0, r#"{"sql":"x"}"#);
}

#[tokio::test]
async fn an_answer_that_violates_the_requested_schema_ends_the_command() {
    let asking = || {
        with_db(Fake::scripted(1000, |fake, call, _| {
            let schema = Body::from(r#"{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"]}"#);
            let question = Question::Form { message: "sure?".into(), schema };
            let ask = Ask { id: AskId(7), server: id("db"), call: Some(call), question, at: Stamp(0), run: None, client: ClientId::LOCAL };
            fake.publish(EventKind::AskOpened { ask: Arc::new(ask) });
        }))
    };
    let line = |answer: &'static str| ["call", "db_query", "sql=x", "--elicit", answer];
    let fake = asking();
    let refused = ran(&fake, &[&line(r#"{"ok":"no"}"#)[..], &["--json"]].concat()).await;
    let document: Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!((refused.code, &document["failure"]["may_have_run"]), (exit::USAGE, &json!(true)), "{document}");
    assert!(document["failure"]["causes"][0].as_str().unwrap().starts_with("/ok: "), "{document}");
    let commands = fake.commands.lock().unwrap();
    assert!(
        matches!(&commands[..], [Command::Answer { answer: Answer::Cancel, .. }, Command::Cancel { .. }]),
        "the question is cancelled, then the call: {commands:?}"
    );
}

#[tokio::test]
async fn an_answer_that_violates_the_requested_schema_is_sent_with_no_check() {
    for (answer, flags, warned) in [(r#"{"ok":"no"}"#, &["--no-check"][..], true), (r#"{"ok":true}"#, &[], false)] {
        let fake = with_db(Fake::scripted(1000, |fake, call, _| {
            let schema = Body::from(r#"{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"]}"#);
            let question = Question::Form { message: "sure?".into(), schema };
            let ask = Ask { id: AskId(7), server: id("db"), call: None, question, at: Stamp(0), run: None, client: ClientId::LOCAL };
            fake.publish(EventKind::AskOpened { ask: Arc::new(ask) });
            fake.settle(call, Outcome::Ok { result: Body::from("{}") });
        }));
        let ran = ran(&fake, &[&["call", "db_query", "sql=x", "--elicit", answer], flags].concat()).await;
        assert_eq!(ran.code, exit::OK, "{}", ran.err);
        assert_eq!(ran.err.contains("warning: the answer to db: invalid, sent anyway (--no-check): /ok: "), warned, "{}", ran.err);
        let commands = fake.commands.lock().unwrap();
        assert!(matches!(&commands[..], [Command::Answer { answer: Answer::Accept { content }, .. }] if content.text() == answer));
    }
}
