//! `complete`, `watch`, `request` and `--meta` against a scripted engine.

use std::{io, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    exit,
    session::{Signal, Signals},
    test_support::{Fake, Ran, db, id, ran, ran_with},
};
use crate::{
    control::{Command, CommandError},
    domain::{
        body::Body,
        call::{Operation, Outcome},
        catalog::RawLists,
        event::EventKind,
    },
};

fn with_db(fake: Arc<Fake>) -> Arc<Fake> {
    fake.starting("db");
    fake.ready("db", db());
    fake
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

fn exactly(result: &'static str) -> Arc<Fake> {
    with_db(Fake::ending(Outcome::Ok { result: Body::from(result) }))
}

fn params(fake: &Fake) -> Value {
    let calls = fake.calls.lock().unwrap();
    let Some(Operation::Complete { params, .. }) = calls.last().map(|call| &call.operation) else { panic!("{calls:?}") };
    params.value().unwrap()
}

#[tokio::test]
async fn arguments_of_prompts_and_templates_are_completed() {
    let values = json!({"completion": {"values": ["one", "two\u{1b}[2J"], "total": 12, "hasMore": true}});
    let fake = with_db(Fake::giving(values.clone()));
    let prompt = ran(&fake, &["complete", "explain", "style=t", "sql=select 1"]).await;
    assert_eq!((prompt.code, prompt.out.as_str()), (exit::OK, "one\ntwo\\x1b[2J\n"));
    assert!(prompt.err.contains("2 of 12 values") && prompt.err.contains("db does not declare completions"), "{}", prompt.err);
    assert_eq!(
        params(&fake),
        json!({"ref": {"type": "ref/prompt", "name": "explain"}, "argument": {"name": "style", "value": "t"}, "context": {"arguments": {"sql": "select 1"}}})
    );
    let template = ran(&fake, &["complete", "db://table/{name}", "name", "--json"]).await;
    assert_eq!((template.code, &document(&template)["result"]), (exit::OK, &values));
    assert_eq!(
        params(&fake),
        json!({"ref": {"type": "ref/resource", "uri": "db://table/{name}"}, "argument": {"name": "name", "value": ""}})
    );
    assert_eq!(ran(&fake, &["complete", "db/explain", "sql=a=b"]).await.code, exit::OK);
    assert_eq!(params(&fake)["argument"], json!({"name": "sql", "value": "a=b"}));
}

#[tokio::test]
async fn what_cannot_be_completed_is_refused_with_the_names_that_exist() {
    let fake = exactly("{}");
    for (line, words) in [
        (&["complete", "explain", "stile=x"][..], "stile: unknown argument; it has sql, style"),
        (&["complete", "explain", "style=x", "nosuch=1"], "nosuch: unknown argument"),
        (&["complete", "explain", "style=x", "sql"], "expected key=value"),
        (&["complete", "db://table/{name}", "table=x"], "it has name"),
        (&["complete", "explan", "x=", "--server", "db"], "did you mean explain?"),
        (&["complete", "nothing", "x="], "no server offers the prompt or template \"nothing\""),
    ] {
        let refused = ran(&fake, line).await;
        assert!(refused.code == exit::USAGE && refused.err.contains(words), "{line:?}: {}", refused.err);
    }
    assert!(fake.calls.lock().unwrap().is_empty());
    let odd = ran(&fake, &["complete", "explain", "style="]).await;
    assert_eq!((odd.code, odd.out.as_str()), (exit::OK, "{}\n"), "a result of another form is shown");
}

const EXACT: &str = "{\"n\": 1.00,  \"big\":12345678901234567890123, \"s\":\"\\u00e9\"}";

#[tokio::test]
async fn a_request_prints_the_bytes_of_its_result() {
    let fake = exactly(EXACT);
    let line = ["request", "db", "vendor/method", "--params", r#"{"a": 1.50}"#, "--yes"];
    let plain = ran(&fake, &line).await;
    assert_eq!((plain.code, plain.out), (exit::OK, format!("{EXACT}\n")));
    let raw = ran(&fake, &[&line[..], &["--raw"]].concat()).await;
    assert_eq!(raw.out, EXACT);
    let json = ran(&fake, &[&line[..], &["--json"]].concat()).await;
    assert!(json.out.contains(EXACT) && document(&json)["subject"] == "vendor/method", "{}", json.out);
    let terminal = ran_with(&fake, &line, |io| io.stdout_tty = true, None, Signals::none()).await;
    assert!(terminal.out.starts_with("{\n  \"n\": 1.00,\n"), "{}", terminal.out);
    let calls = fake.calls.lock().unwrap();
    let Operation::Raw { server, method, params } = &calls[0].operation else { panic!() };
    assert_eq!((server, method.as_str(), &*params.text()), (&id("db"), "vendor/method", r#"{"a": 1.50}"#));
}

#[tokio::test]
async fn an_error_result_of_a_request_is_printed_whole() {
    let fake = with_db(Fake::ending(Outcome::ToolError { result: Body::from(r#"{"isError":true,"content":[]}"#) }));
    let ran = ran(&fake, &["request", "tools/call", "--yes"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (exit::TOOL_ERROR, "{\"isError\":true,\"content\":[]}\n"));
}

#[tokio::test]
async fn a_request_is_confirmed_or_refused() {
    let fake = exactly("{}");
    let line = ["request", "tools/list"];
    let refused = ran(&fake, &line).await;
    assert!(refused.code == exit::REFUSED && refused.err.contains("confirm with --yes"), "{}", refused.err);
    let tty = |io: &mut super::print::Io| (io.stdin_tty, io.stderr_tty) = (true, true);
    let no = ran_with(&fake, &line, tty, Some("n\n"), Signals::none()).await;
    assert!(no.code == exit::REFUSED && no.err.contains("tools/list would be sent to db with"), "{}", no.err);
    assert!(fake.calls.lock().unwrap().is_empty());
    assert_eq!(ran_with(&fake, &line, tty, Some("y\n"), Signals::none()).await.code, exit::OK);
}

#[tokio::test]
async fn requests_that_cannot_be_sent_are_refused_before_anything_is_sent() {
    let fake = exactly("{}");
    for (line, words) in [
        (&["request", "initialize"][..], "opens a connection"),
        (&["request", "notifications/cancelled"], "is a notification"),
        (&["request", ""], "the method is empty"),
        (&["request", "m", "--params", "5"], "neither a JSON object nor an array"),
        (&["request", "m", "--params", "{"], "--params is not JSON"),
        (&["request", "m", "--params", "@/nonexistent"], "--params: /nonexistent cannot be read"),
        (&["request", "m", "--params", r#"{"_meta":{"progressToken":1}}"#], "_meta of --params sets \"progressToken\""),
        (&["request", "nosuch", "m"], "\"nosuch\" is not configured"),
        (&["call", "db_query", "sql=x", "--meta", "[]"], "--meta is not a JSON object"),
        (&["read", "db://schema", "--meta", r#"{"io.modelcontextprotocol/clientInfo":{}}"#], "which Switchboard sets itself"),
    ] {
        let refused = ran(&fake, &[line, &["--yes"]].concat()).await;
        assert!(refused.code == exit::USAGE && refused.err.contains(words), "{line:?}: {}", refused.err);
    }
    fake.starting("other");
    fake.ready("other", RawLists::default());
    let several = ran(&fake, &["request", "m", "--yes"]).await;
    assert!(several.code == exit::USAGE && several.err.contains("the request needs a server: db, other"), "{}", several.err);
    assert!(fake.calls.lock().unwrap().is_empty());
    assert_eq!(ran(&fake, &["request", "m", "--yes", "--server", "db"]).await.code, exit::OK);
}

#[tokio::test]
async fn members_of_meta_go_with_calls_and_requests() {
    let fake = exactly(r#"{"content":[],"contents":[],"messages":[],"completion":{"values":[]}}"#);
    let meta = r#"{"com.example/n": 1.00}"#;
    for line in [
        &["call", "db_query", "sql=x"][..],
        &["read", "db://schema"],
        &["prompt", "explain", "sql=x"],
        &["complete", "explain", "sql="],
        &["request", "m", "--yes"],
    ] {
        let ran = ran(&fake, &[line, &["--meta", meta]].concat()).await;
        assert_eq!(ran.code, exit::OK, "{line:?}: {}", ran.err);
    }
    let sent: Vec<String> = fake.calls.lock().unwrap().iter().map(|call| call.meta.text().into_owned()).collect();
    assert_eq!(sent, [meta; 5]);
    let typed = ran_with(&fake, &["request", "m", "--yes", "--meta", "-"], |_| {}, Some(" {\"a\":2}\n"), Signals::none()).await;
    assert_eq!((typed.code, &*fake.calls.lock().unwrap().last().unwrap().meta.text()), (exit::OK, "{\"a\":2}"));
}

fn updated(fake: &Fake, server: &str, uri: &str) {
    fake.publish(EventKind::ResourceUpdated { server: id(server), uri: uri.into() });
}

/// Runs `watch` while `act` publishes events after the subscription.
async fn watched(fake: &Arc<Fake>, line: &[&str], act: impl FnOnce(&Fake, mpsc::Sender<Option<Signal>>)) -> Ran {
    let (signals, received) = mpsc::channel(4);
    let line = [&["watch", "db://schema"], line].concat();
    let running = ran_with(fake, &line, |_| {}, None, Signals::with_signs_of_life(received));
    let acting = async {
        while !fake.commands.lock().unwrap().iter().any(|command| matches!(command, Command::Subscribe { on: true, .. })) {
            tokio::task::yield_now().await;
        }
        act(fake, signals.clone());
        // The sender lives as long as the command.
        signals
    };
    let (ran, _signals) = tokio::join!(running, acting);
    ran
}

#[tokio::test]
async fn updates_are_printed_until_the_count_is_reached() {
    let fake = exactly("{}");
    let two = |fake: &Fake, _| {
        updated(fake, "db", "db://schema");
        updated(fake, "other", "db://schema");
        updated(fake, "db", "db://schema/part");
    };
    let human = watched(&fake, &["--count", "2"], two).await;
    let lines: Vec<&str> = human.out.lines().filter_map(|line| line.split_once("  ")).map(|(_, uri)| uri).collect();
    assert_eq!((human.code, lines), (exit::OK, vec!["db://schema", "db://schema/part"]));
    assert!(human.err.contains("watching db://schema of db"), "{}", human.err);
    fake.commands.lock().unwrap().clear();
    let json = document(&watched(&fake, &["--count", "2", "--json"], two).await);
    assert_eq!((&json["count"], &json["ended_by"], &json["updates"][1]["uri"]), (&json!(2), &json!("count"), &json!("db://schema/part")));
    fake.commands.lock().unwrap().clear();
    let lines = watched(&fake, &["--count", "1", "--jsonl"], two).await;
    let lines: Vec<Value> = lines.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["type"], &lines[0]["uri"], &lines[1]["type"]), (&json!("update"), &json!("db://schema"), &json!("watched")));
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_at_its_time_limit_or_by_a_signal() {
    let one = |fake: &Fake, _| updated(fake, "db", "db://schema");
    assert_eq!(watched(&exactly("{}"), &["--timeout", "5s"], one).await.code, exit::OK);
    let short = watched(&exactly("{}"), &["--timeout", "5s", "--count", "2", "--json"], one).await;
    assert_eq!((short.code, &document(&short)["ended_by"]), (exit::TIMEOUT, &json!("timeout")));
    for (signal, code) in [(Signal::Interrupt, exit::INTERRUPTED), (Signal::Terminate, exit::TERMINATED)] {
        let ended = watched(&exactly("{}"), &["--json"], |_, signals| signals.try_send(Some(signal)).unwrap()).await;
        assert_eq!((ended.code, &document(&ended)["count"]), (code, &json!(0)));
    }
}

#[tokio::test]
async fn a_subscription_that_is_refused_or_lost_is_a_failure() {
    let fake = exactly("{}");
    *fake.refusal.lock().unwrap() = Some(CommandError::Refused { why: "the server does not support subscriptions".into() });
    let refused = ran(&fake, &["watch", "db://schema"]).await;
    assert!(refused.code == exit::FAILED && refused.err.contains("does not support subscriptions"), "{}", refused.err);
    let fake = exactly("{}");
    let lost = watched(&fake, &["--timeout", "60s"], |fake, _| {
        updated(fake, "db", "db://schema");
        fake.publish(EventKind::ResourceSubscribed { server: id("db"), uri: "db://schema".into(), on: false });
    });
    let lost = tokio::time::timeout(Duration::from_secs(30), lost).await.unwrap();
    assert!(lost.code == exit::FAILED && lost.err.contains("ended the subscription"), "{}", lost.err);
    let gone = watched(&exactly("{}"), &[], |fake, _| fake.failed("db")).await;
    assert_eq!(gone.code, exit::NOT_READY);
}

#[tokio::test]
async fn a_closed_pipe_ends_the_watch() {
    struct Closed;
    impl io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let fake = exactly("{}");
    let running = ran_with(&fake, &["watch", "db://schema"], |io| io.stdout = Box::new(Closed), None, Signals::none());
    let acting = async {
        while fake.commands.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        updated(&fake, "db", "db://schema");
    };
    assert_eq!(tokio::join!(running, acting).0.code, exit::OK);
}
