//! Headless commands against a scripted engine: exit codes, output, signals, waiting.

use std::{io, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    exit,
    session::{Signal, Signals},
    test_support::{Fake, Ran, buffers, db, failing, id, parsed, ran, ran_with},
};
use crate::control::{Command, CommandError};
use crate::domain::{
    ask::{Answer, Ask, Question},
    body::Body,
    call::{Failure, FailureKind, Operation, Outcome, Progress, RpcError},
    catalog::RawLists,
    event::{EventKind, LogLevel, LogMessage, LogSource, Notice, NoticeLevel},
    frame::{Anomaly, AnomalyKind},
    id::{AskId, ClientId},
    run::WorkflowText,
    server::{ConnectFailure, DegradedReason, Exit, ListingError, Phase, ServerSpec, Step, Transport},
    time::Stamp,
    workflow::library::WorkflowLibrary,
};

const QUERY: [&str; 3] = ["call", "db_query", "sql=select 1"];

fn with_db(fake: Arc<Fake>) -> Arc<Fake> {
    fake.starting("db");
    fake.ready("db", db());
    fake
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

#[tokio::test]
async fn a_call_prints_its_text_and_sends_exact_arguments() {
    let fake = with_db(Fake::giving(text("one\ntwo")));
    let ran = ran(&fake, &["call", "db_query", "sql=select 1", "limit=7", "--timeout", "5s"]).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (exit::OK, "one\ntwo\n", ""));
    let calls = fake.calls.lock().unwrap();
    let Operation::Tool { tool, arguments } = &calls[0].operation else { panic!() };
    assert_eq!((tool.server.as_str(), &*tool.name), ("db", "query"));
    assert_eq!(arguments.text(), r#"{"sql":"select 1","limit":7}"#);
    assert!(calls[0].timeout.is_some_and(|left| left <= Duration::from_secs(5)));
}

#[tokio::test]
async fn tools_are_found_by_each_of_their_names() {
    let fake = with_db(Fake::giving(text("x")));
    for name in ["db_query", "db/query", "query"] {
        assert_eq!(ran(&fake, &["call", name, "sql=x"]).await.code, exit::OK, "{name}");
    }
    let close = ran(&fake, &["call", "qwery"]).await;
    assert!(close.err.contains("did you mean db_query?"), "{}", close.err);
    fake.starting("other");
    fake.ready("other", RawLists::default());
    let lone = ran(&fake, &["call", "query", "sql=x"]).await;
    assert_eq!(lone.code, exit::USAGE, "the bare name is for a single server only");
    assert!(lone.err.contains("did you mean db_query?"), "{}", lone.err);
}

#[tokio::test(start_paused = true)]
async fn the_own_name_of_several_tools_lists_the_candidates() {
    let fake = with_db(Fake::giving(text("x")));
    fake.starting("other");
    fake.ready("other", db());
    // A server that never answers is waited for, but not for its whole patience.
    fake.starting("slow");
    let ran = ran(&fake, &["call", "query", "sql=x"]).await;
    assert_eq!((ran.code, fake.calls.lock().unwrap().len()), (exit::USAGE, 0));
    assert!(ran.err.contains("several servers offer query: db/query, other/query"), "{}", ran.err);
    assert!(ran.err.contains("choose one, as in db/query"), "{}", ran.err);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_several_tools_claim_lists_them() {
    let tool = |name: &str| Body::json(&json!({"name": name, "inputSchema": {"type": "object"}}));
    let fake = Fake::giving(text("x"));
    for (server, own) in [("a", "b_c"), ("a_b", "c")] {
        fake.starting(server);
        fake.ready(server, RawLists { tools: vec![tool(own)], ..RawLists::default() });
    }
    let refused = ran(&fake, &["call", "a_b_c"]).await;
    assert_eq!((refused.code, fake.calls.lock().unwrap().len()), (exit::USAGE, 0));
    assert!(
        refused.err.contains("several tools claim the name a_b_c")
            && refused.err.contains("a/b_c (a_b_c_")
            && refused.err.contains("a_b/c (a_b_c_"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("choose one, as in a/b_c"), "{}", refused.err);
}

#[tokio::test]
async fn every_kind_of_end_has_its_exit_code() {
    let tool_error =
        Outcome::ToolError { result: Body::json(&json!({"isError": true, "content": [{"type": "text", "text": "no\u{1b}[1m"}]})) };
    let ran_error = ran(&with_db(Fake::ending(tool_error)), &QUERY).await;
    assert_eq!((ran_error.code, ran_error.out.as_str()), (exit::TOOL_ERROR, ""));
    assert!(ran_error.err.contains("no\\x1b[1m"), "{}", ran_error.err);
    for (kind, code) in [
        (FailureKind::NotReady, exit::NOT_READY),
        (FailureKind::UnknownTool, exit::USAGE),
        (FailureKind::Transport, exit::FAILED),
        (FailureKind::Protocol, exit::FAILED),
        (FailureKind::Exited, exit::FAILED),
        (FailureKind::Timeout, exit::TIMEOUT),
        (FailureKind::Refused, exit::REFUSED),
    ] {
        let failure = Failure::after_send(kind, "it broke");
        assert_eq!(ran(&with_db(failing(failure)), &QUERY).await.code, code, "{kind:?}");
    }
    let cancelled = Outcome::Cancelled { reason: "by somebody".into() };
    assert_eq!(ran(&with_db(Fake::ending(cancelled)), &QUERY).await.code, exit::INTERRUPTED);
}

#[tokio::test]
async fn a_timeout_of_the_command_says_so() {
    let fake = with_db(failing(Failure::after_send(FailureKind::Timeout, "no answer").hint("raise timeouts.call")));
    assert!(ran(&fake, &QUERY).await.err.contains("raise timeouts.call"));
    let own = ran(&fake, &[&QUERY[..], &["--timeout", "5s"]].concat()).await;
    assert!(own.code == exit::TIMEOUT && own.err.contains("--timeout 5.00 s limits the whole command"), "{}", own.err);
}

#[tokio::test(start_paused = true)]
async fn progress_does_not_move_the_limit_of_the_command() {
    let fake = with_db(Fake::scripted(1000, |_, _, _| {}));
    let ran = ran(&fake, &[&QUERY[..], &["--timeout", "5s", "--json"]].concat()).await;
    assert_eq!((ran.code, &document(&ran)["failure"]["kind"]), (exit::TIMEOUT, &json!("timeout")));
    assert_eq!((&document(&ran)["server"], &document(&ran)["failure"]["may_have_run"]), (&json!("db"), &json!(true)));
    assert!(matches!(fake.commands.lock().unwrap()[..], [Command::Cancel { .. }]));
}

#[tokio::test]
async fn failures_show_the_rpc_error_whole() {
    let rpc = RpcError { code: -32602, message: "bad".into(), data: Some(Body::from(r#"{"at":12345678901234567890123}"#)) };
    let failure = Failure { rpc: Some(rpc), ..Failure::after_send(FailureKind::Protocol, "bad\u{202e}") };
    let fake = with_db(failing(failure));
    let human = ran(&fake, &QUERY).await;
    insta::assert_snapshot!("call_failed", human.err);
    let json = ran(&fake, &[&QUERY[..], &["--json"]].concat()).await;
    assert!(json.out.contains(r#""data": {"at":12345678901234567890123}"#), "{}", json.out);
    assert_eq!(document(&json)["failure"]["rpc"]["code"], -32602);
    assert_eq!(document(&json)["exit_code"], 4);
}

#[tokio::test]
async fn json_keeps_the_result_as_it_came() {
    let result = Body::from("{\"structuredContent\":{\"n\":1.00,  \"big\":12345678901234567890123},\"content\":[]}");
    let fake = with_db(Fake::ending(Outcome::Ok { result: result.clone() }));
    let json = ran(&fake, &[&QUERY[..], &["--json"]].concat()).await;
    assert!(json.out.contains(&*result.text()), "{}", json.out);
    insta::assert_snapshot!("call_json", json.out);
    let human = ran(&fake, &QUERY).await;
    assert_eq!(human.out, "{\n  \"n\": 1.00,\n  \"big\": 12345678901234567890123\n}\n");
}

#[tokio::test]
async fn jsonl_prints_one_line_per_event_in_order() {
    let fake = with_db(Fake::scripted(1000, |fake, call, _| {
        let progress = Progress { progress: 1.0, total: Some(4.0), message: Some("reading".into()) };
        fake.publish(EventKind::CallProgress { call, progress });
        let log = LogMessage { level: LogLevel::Warning, source: LogSource::Message, logger: None, text: "slow".into(), call: Some(call) };
        fake.publish(EventKind::ServerLog { server: id("db"), log: Arc::new(log) });
        fake.publish(EventKind::AskOpened { ask: ask(7, Question::Form { message: "sure?".into(), schema: Body::from("{}") }) });
        fake.settle(call, Outcome::Ok { result: Body::from("{\n \"content\": [ ] }") });
    }));
    let ran = ran(&fake, &[&QUERY[..], &["--jsonl"]].concat()).await;
    assert_eq!(ran.code, exit::OK);
    insta::assert_snapshot!("call_jsonl", ran.out);
    assert!(ran.out.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

fn ask(number: u64, question: Question) -> Arc<Ask> {
    Arc::new(Ask { id: AskId(number), server: id("db"), call: None, question, at: Stamp(0), run: None, client: ClientId::LOCAL })
}

#[tokio::test]
async fn questions_are_answered_once_by_flags() {
    let asking = || {
        with_db(Fake::scripted(1000, |fake, call, _| {
            let schema = Body::from(r#"{"properties":{"n":{"default":1.0}},"required":["n"]}"#);
            fake.publish(EventKind::AskOpened { ask: ask(1, Question::Form { message: "n\u{7}?".into(), schema }) });
            fake.publish(EventKind::AskOpened { ask: ask(2, Question::Sampling { params: Body::from("{}") }) });
            fake.publish(EventKind::Notice { notice: Arc::new(Notice::new(NoticeLevel::Warn, "careful")) });
            fake.settle(call, Outcome::Ok { result: Body::from("{}") });
        }))
    };
    let answers = |fake: &Fake| {
        let commands = fake.commands.lock().unwrap();
        commands
            .iter()
            .filter_map(|c| match c {
                Command::Answer { ask, answer } => Some((ask.0, answer.clone())),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let fake = asking();
    let declined = ran(&fake, &QUERY).await;
    assert_eq!(answers(&fake), [(1, Answer::Decline), (2, Answer::Decline)]);
    assert!(declined.err.contains("db asks (form): n\\x07? - declined; respond with --elicit"), "{}", declined.err);
    assert!(declined.err.contains("careful"));
    let fake = asking();
    ran(&fake, &[&QUERY[..], &["--elicit", "defaults", "--sample", r#"{"role":"assistant"}"#]].concat()).await;
    let accept = |text: &str| Answer::Accept { content: Body::from(text) };
    assert_eq!(answers(&fake), [(1, accept(r#"{"n":1.0}"#)), (2, accept(r#"{"role":"assistant"}"#))]);
    assert_eq!(ran(&asking(), &[&QUERY[..], &["--elicit", "@/nonexistent"]].concat()).await.code, exit::USAGE);
}

#[tokio::test]
async fn invalid_arguments_are_listed_and_not_sent() {
    let fake = with_db(Fake::giving(text("x")));
    let ran_human = ran(&fake, &["call", "db_query", "limit:=1000", "sql:=5"]).await;
    assert_eq!(ran_human.code, exit::USAGE);
    insta::assert_snapshot!("call_invalid", ran_human.err);
    let json = ran(&fake, &["call", "db_query", "limit=many", "--json"]).await;
    assert_eq!((json.code, &document(&json)["failure"]["kind"]), (exit::USAGE, &json!("invalid_arguments")));
    for wrong in [vec!["--args", "[]"], vec!["--args", "@/nonexistent"], vec!["sql"]] {
        assert_eq!(ran(&fake, &[&["call", "db_query"], wrong.as_slice()].concat()).await.code, exit::USAGE, "{wrong:?}");
    }
    assert!(fake.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn arguments_come_from_stdin_and_files() {
    let fake = with_db(Fake::giving(text("x")));
    let typed = Some("{\"sql\": \"a\",\n \"limit\": 1}");
    let ran = ran_with(&fake, &["call", "db_query", "--args", "-", "limit=2"], |_| {}, typed, Signals::none()).await;
    assert_eq!(ran.code, exit::OK, "{}", ran.err);
    let Operation::Tool { arguments, .. } = &fake.calls.lock().unwrap()[0].operation.clone() else { panic!() };
    assert_eq!(arguments.text(), r#"{"sql":"a","limit":2}"#);
}

#[tokio::test]
async fn destructive_calls_need_a_confirmation() {
    let fake = with_db(Fake::giving(text("gone")));
    for (line, typed, code) in [
        (&["call", "db_drop"][..], None, exit::REFUSED),
        (&["call", "db_drop", "--yes"], None, exit::OK),
        (&["call", "db_insert"], None, exit::OK),
        (&["call", "db_drop", "x=\u{1b}\u{9b}"], Some("y\n"), exit::OK),
        (&["call", "db_drop"], Some("\n"), exit::REFUSED),
        (&["call", "db_drop"], Some(""), exit::REFUSED),
    ] {
        let before = fake.calls.lock().unwrap().len();
        let tty = |io: &mut super::print::Io| (io.stdin_tty, io.stderr_tty) = (typed.is_some(), typed.is_some());
        let ran = ran_with(&fake, line, tty, typed, Signals::none()).await;
        assert_eq!(ran.code, code, "{line:?} {typed:?}: {}", ran.err);
        assert_eq!(fake.calls.lock().unwrap().len() - before, usize::from(code == exit::OK));
        assert!(!ran.err.contains('\u{1b}'));
        assert_eq!(ran.err.contains("[y/N]"), typed.is_some());
    }
}

#[tokio::test]
async fn server_text_is_harmless_unless_raw_is_asked_for() {
    let hostile = "a\u{1b}]0;title\u{7}\u{202e}b";
    let fake = with_db(Fake::giving(text(hostile)));
    assert_eq!(ran(&fake, &QUERY).await.out, "a\\x1b]0;title\\x07\\u{202e}b\n");
    assert_eq!(ran(&fake, &[&QUERY[..], &["--raw"]].concat()).await.out, hostile);
    let line = [&QUERY[..], &["--json"]].concat();
    let piped = ran(&fake, &line).await;
    assert!(piped.out.contains('\u{202e}'), "documents stay exact in a pipe");
    let shown = ran_with(&fake, &line, |io| io.stdout_tty = true, None, Signals::none()).await;
    assert!(shown.out.contains("\\u202e") && !shown.out.contains('\u{202e}'));
    assert_eq!(document(&shown)["result"], document(&piped)["result"]);
}

#[tokio::test]
async fn documents_in_a_pipe_have_no_control_characters_and_the_same_value() {
    let hostile = "a\u{9b}2J\u{7f}\u{80}\u{9f}b";
    let fake = with_db(Fake::giving(text(hostile)));
    for format in ["--json", "--jsonl"] {
        let line = [&QUERY[..], &[format]].concat();
        let piped = ran(&fake, &line).await;
        assert!(!piped.out.chars().any(|c| ('\u{7f}'..='\u{9f}').contains(&c)), "{}", piped.out);
        assert!(piped.out.contains("\\u009b2J\\u007f"), "{}", piped.out);
        let exact = ran(&fake, &[&line[..], &["--raw"]].concat()).await;
        assert!(exact.out.contains(hostile), "{}", exact.out);
        let last = |out: &str| serde_json::from_str::<Value>(if format == "--json" { out } else { out.lines().last().unwrap() }).unwrap();
        assert_eq!(last(&piped.out)["result"], last(&exact.out)["result"]);
    }
}

#[tokio::test]
async fn resources_and_prompts_are_read() {
    let fake = with_db(Fake::giving(json!({"contents": [{"uri": "db://schema", "mimeType": "image/png", "blob": "AP8B"}]})));
    let shown = ran(&fake, &["read", "db://schema"]).await;
    assert_eq!((shown.code, shown.out.as_str()), (exit::OK, "[image/png 3 B db://schema]\n"));
    assert_eq!(ran(&fake, &["read", "db://schema", "--raw"]).await.bytes, [0, 255, 1]);
    let fake = with_db(Fake::giving(json!({"messages": [{"role": "user", "content": {"type": "text", "text": "why"}}]})));
    let prompt = ran(&fake, &["prompt", "explain", "sql=1"]).await;
    assert_eq!((prompt.code, prompt.out.as_str()), (exit::OK, "user: why\n"));
    let Operation::Prompt { arguments, .. } = fake.calls.lock().unwrap()[0].operation.clone() else { panic!() };
    assert_eq!(arguments.text(), r#"{"sql":"1"}"#);
    let wrong = ran(&fake, &["prompt", "explain", "style=x", "colour=y"]).await;
    assert_eq!(wrong.code, exit::USAGE);
    assert!(wrong.err.contains("sql: is required") && wrong.err.contains("colour: unknown argument"), "{}", wrong.err);
    assert_eq!(ran(&fake, &["prompt", "explian"]).await.code, exit::USAGE);
}

#[tokio::test]
async fn a_resource_is_looked_for_on_every_server() {
    let fake = with_db(Fake::giving(json!({"contents": []})));
    fake.starting("bad");
    fake.failed("bad");
    fake.starting("twin");
    fake.ready("twin", db());
    let both = ran(&fake, &["read", "db://schema"]).await;
    assert_eq!(both.code, exit::USAGE);
    assert!(both.err.contains("db, twin") && both.err.contains("--server db"), "{}", both.err);
    assert_eq!(ran(&fake, &["read", "db://schema", "--server", "twin"]).await.code, exit::OK);
    assert_eq!(fake.calls.lock().unwrap()[0].operation.server(), &id("twin"));
    assert_eq!(ran(&fake, &["read", "x://y"]).await.code, exit::NOT_READY, "the server that is unavailable may have it");
    assert_eq!(ran(&fake, &["read", "x://y", "--server", "anonymous"]).await.code, exit::USAGE);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_its_own_server_only() {
    let fake = Fake::giving(text("late"));
    fake.starting("slow");
    fake.starting("db");
    let line = ["call", "db_query", "sql=x"];
    let later = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        fake.ready("db", db());
    };
    let (ran, ()) = tokio::join!(ran(&fake, &line), later);
    assert_eq!((ran.code, ran.out.as_str()), (exit::OK, "late\n"), "{}", ran.err);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_the_server_fails_or_time_is_up() {
    let fake = Fake::giving(text("x"));
    fake.starting("db");
    let timed = ran(&fake, &["call", "db_query", "sql=x", "--timeout", "2s"]).await;
    assert_eq!(timed.code, exit::TIMEOUT, "{}", timed.err);
    let patient = ran(&fake, &["call", "db_query", "sql=x"]).await;
    assert_eq!(patient.code, exit::NOT_READY, "{}", patient.err);
    assert!(patient.err.contains("waiting for the answer to initialize"), "{}", patient.err);
    let failing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        fake.failed("db");
    };
    let line = ["call", "db_query"];
    let (failed, ()) = tokio::join!(ran(&fake, &line), failing);
    assert_eq!(failed.code, exit::NOT_READY);
    insta::assert_snapshot!("call_not_ready", failed.err);
    fake.phase("db", Phase::Disabled);
    let disabled = ran(&fake, &["call", "db_query"]).await;
    assert_eq!(disabled.code, exit::NOT_READY);
    assert!(disabled.err.contains("db is disabled"));
}

#[tokio::test(start_paused = true)]
async fn lists_are_partial_when_a_server_fails() {
    let fake = with_db(Fake::giving(text("x")));
    for (line, what) in [(&["tools"][..], "tools"), (&["servers"], "servers"), (&["doctor"], "doctor")] {
        assert_eq!(ran(&fake, line).await.code, exit::OK, "{what}");
    }
    fake.starting("bad");
    fake.failed("bad");
    fake.starting("stuck");
    fake.publish(EventKind::ServerAnomaly {
        server: id("db"),
        anomaly: Arc::new(Anomaly { kind: AnomalyKind::Noise, detail: "hello\u{1b}[0m".into(), call: None, frame: None }),
    });
    for what in ["tools", "servers", "doctor"] {
        let human = ran(&fake, &[what]).await;
        assert_eq!(human.code, exit::PARTIAL, "{what}");
        assert!(!human.out.contains('\u{1b}') && !human.err.contains('\u{1b}'));
        assert!(!human.out.contains("hunter22") && !human.err.contains("hunter22"));
        insta::assert_snapshot!(format!("{what}_human"), format!("{}----\n{}", human.out, human.err));
        let json = ran(&fake, &[what, "--json"]).await;
        assert_eq!(json.code, exit::PARTIAL);
        insta::assert_snapshot!(format!("{what}_json"), json.out);
        let lines = ran(&fake, &[what, "--jsonl"]).await;
        assert!(lines.out.lines().count() >= 3 && lines.out.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    }
}

#[tokio::test]
async fn lists_report_that_all_servers_failed() {
    let fake = Fake::giving(text("x"));
    assert_eq!(ran(&fake, &["tools"]).await.code, exit::USAGE, "no server at all");
    fake.starting("bad");
    fake.failed("bad");
    for what in ["tools", "servers", "doctor"] {
        assert_eq!(ran(&fake, &[what]).await.code, exit::NOT_READY, "{what}");
    }
    assert_eq!(ran(&fake, &["tools", "--server", "anonymous"]).await.code, exit::USAGE);
}

#[tokio::test]
async fn tools_are_chosen_by_pattern_and_shown_with_schema() {
    let fake = with_db(Fake::giving(text("x")));
    let shown = ran(&fake, &["tools", "*_query", "--schema"]).await;
    assert!(shown.out.contains("\"maximum\": 100") && !shown.out.contains("db_drop"), "{}", shown.out);
    let none = ran(&fake, &["tools", "zzz"]).await;
    assert_eq!((none.code, none.out.as_str()), (exit::OK, ""));
    assert!(none.err.contains("no tool matches \"zzz\""));
    let json = ran(&fake, &["tools", "query", "--schema", "--json"]).await;
    assert_eq!(document(&json)["tools"][0]["input_schema"]["required"], json!(["sql"]));
}

#[tokio::test]
async fn the_first_interrupt_cancels_and_the_second_quits() {
    for stubborn in [false, true] {
        let (send, receive) = mpsc::channel(4);
        // The call ends by being cancelled or never.
        let fake = with_db(Fake::scripted(1000, move |_, _, _| {
            send.try_send(Some(Signal::Interrupt)).unwrap();
            if stubborn {
                send.try_send(Some(Signal::Interrupt)).unwrap();
            }
        }));
        fake.stubborn.store(stubborn, std::sync::atomic::Ordering::Relaxed);
        let ran = ran_with(&fake, &QUERY, |_| {}, None, Signals::with_signs_of_life(receive)).await;
        assert_eq!(ran.code, exit::INTERRUPTED);
        assert!(ran.err.contains("Ctrl-C again to quit"), "{}", ran.err);
        assert_eq!(ran.err.contains("cancelled by the user"), !stubborn);
        assert_eq!(fake.commands.lock().unwrap().len(), if stubborn { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_run_that_the_engine_does_not_start_ends_the_command() {
    let fake = with_db(Fake::ending(Outcome::Cancelled { reason: "unused".into() }));
    *fake.refusal.lock().unwrap() = Some(CommandError::Ended);
    let (command, mut options) = parsed(&["run", "w"]);
    let text = "name = \"w\"\n[[step]]\nid = \"a\"\ntool = \"db_query\"\narguments = { sql = \"select 1\" }\n";
    let file = WorkflowText { name: "w".into(), file: "w.toml".into(), text: text.into() };
    options.library = WorkflowLibrary { files: vec![file], ..WorkflowLibrary::default() };
    let (io, _, err) = buffers(None);
    let code = super::run(fake.clone(), &command, &options, io, Signals::none()).await;
    assert_eq!(code, exit::FAILED, "{}", err.text());
    assert!(err.text().contains("the engine has ended"), "{}", err.text());
}

#[tokio::test]
async fn sigterm_ends_a_call_and_a_wait() {
    for (ready, signal, code) in [
        (true, Signal::Terminate, exit::TERMINATED),
        (false, Signal::Terminate, exit::TERMINATED),
        (false, Signal::Interrupt, exit::INTERRUPTED),
    ] {
        let (send, receive) = mpsc::channel(4);
        send.try_send(Some(signal)).unwrap();
        let fake = Fake::scripted(1000, |_, _, _| {});
        fake.starting("db");
        if ready {
            fake.ready("db", db());
        }
        assert_eq!(ran_with(&fake, &QUERY, |_| {}, None, Signals::with_signs_of_life(receive)).await.code, code);
    }
}

/// A reader that has gone unavailable, or a disk that is full.
struct Broken(io::ErrorKind);

impl io::Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_broken_pipe_is_quiet_and_a_full_disk_is_not() {
    let fake = with_db(Fake::giving(text("x")));
    for line in [&QUERY[..], &["tools"], &["servers", "--json"], &["doctor", "--jsonl"]] {
        let quiet = ran_with(&fake, line, |io| io.stdout = Box::new(Broken(io::ErrorKind::BrokenPipe)), None, Signals::none()).await;
        assert_eq!((quiet.code, quiet.err.as_str()), (exit::OK, ""), "{line:?}");
        let loud = ran_with(&fake, line, |io| io.stdout = Box::new(Broken(io::ErrorKind::StorageFull)), None, Signals::none()).await;
        assert_eq!(loud.code, exit::FAILED);
        assert!(loud.err.contains("the output cannot be written"), "{}", loud.err);
    }
    let endless = with_db(Fake::scripted(1000, |fake, call, _| {
        fake.publish(EventKind::CallProgress { call, progress: Progress { progress: 1.0, total: None, message: None } });
    }));
    let line = [&QUERY[..], &["--jsonl"]].concat();
    let gone = ran_with(&endless, &line, |io| io.stdout = Box::new(Broken(io::ErrorKind::BrokenPipe)), None, Signals::none()).await;
    assert_eq!(gone.code, exit::OK);
    assert!(matches!(endless.commands.lock().unwrap()[..], [Command::Cancel { .. }]), "the call is not left running");
}

#[tokio::test]
async fn falling_behind_loses_no_outcome() {
    let fake = with_db(Fake::scripted(2, |fake, call, _| {
        for n in 0..50 {
            fake.publish(EventKind::CallProgress { call, progress: Progress { progress: f64::from(n), total: None, message: None } });
        }
        fake.settle(call, Outcome::Ok { result: Body::json(&text("still here")) });
        for _ in 0..10 {
            fake.phase("db", Phase::Ready);
        }
    }));
    let ran = ran(&fake, &QUERY).await;
    assert_eq!((ran.code, ran.out.as_str()), (exit::OK, "still here\n"));
}

#[tokio::test]
async fn progress_of_a_quick_call_is_printed_only_when_verbose() {
    let fake = with_db(Fake::scripted(1000, |fake, call, _| {
        for n in [1.0, 2.0] {
            fake.publish(EventKind::CallProgress {
                call,
                progress: Progress { progress: n, total: Some(2.0), message: Some("go\u{1b}".into()) },
            });
        }
        fake.settle(call, Outcome::Ok { result: Body::json(&text("x")) });
    }));
    assert_eq!(ran(&fake, &QUERY).await.err, "");
    let verbose = ran(&fake, &[&QUERY[..], &["-v"]].concat()).await;
    assert!(verbose.err.starts_with(" 50 % (1 of 2)  go\\x1b\n100 % (2 of 2)  go\\x1b\n"), "{}", verbose.err);
    let watched = ran_with(&fake, &QUERY, |io| io.stderr_tty = true, None, Signals::none()).await;
    assert!(!watched.err.contains('%'), "a quick call shows no progress: {}", watched.err);
}

#[tokio::test]
async fn two_servers_with_one_prefix_are_both_waited_for() {
    let tool =
        |name: &str| RawLists { tools: vec![Body::json(&json!({"name": name, "inputSchema": {"type": "object"}}))], ..Default::default() };
    let fake = Fake::giving(text("x"));
    fake.starting("a");
    fake.starting("a_b");
    fake.ready("a", tool("b_x"));
    fake.ready("a_b", tool("x"));
    let ran = ran(&fake, &["call", "a_b_x", "--yes"]).await;
    assert_eq!(ran.code, exit::USAGE, "a name that two tools claim belongs to neither: {}", ran.err);
    assert!(ran.err.contains("a_b_x_"), "{}", ran.err);
}

#[tokio::test]
async fn configured_responses_take_precedence() {
    let fake = with_db(Fake::scripted(1000, |fake, call, _| {
        fake.publish(EventKind::AskOpened { ask: ask(1, Question::Roots) });
        fake.settle(call, Outcome::Ok { result: Body::from("{}") });
    }));
    let quiet = ran(&fake, &QUERY).await;
    assert_eq!((quiet.code, quiet.err.as_str()), (exit::OK, ""));
    assert!(fake.commands.lock().unwrap().is_empty());
}

fn degraded(error: ListingError) -> Phase {
    Phase::Degraded { reason: DegradedReason::Unlisted { error, kept: false } }
}

#[tokio::test]
async fn a_tool_of_a_server_that_could_not_be_listed_can_be_called() {
    let fake = Fake::giving(text("x"));
    fake.starting("db");
    fake.starting("other");
    fake.ready("other", RawLists::default());
    fake.phase(
        "db",
        degraded(ListingError::Failed { kind: FailureKind::Transport, message: "tools/list was not answered".into(), hint: None }),
    );
    assert_eq!(ran(&fake, &["call", "db/any", "a=1", "--yes"]).await.code, exit::OK);
    assert_eq!(ran(&fake, &["call", "db/any", "a=1"]).await.code, exit::REFUSED);
    assert_eq!(ran(&fake, &["call", "other/any", "--yes"]).await.code, exit::USAGE);
    let doctor = ran(&fake, &["doctor"]).await;
    assert!(doctor.code == exit::PARTIAL && doctor.out.contains("tools/list was not answered"), "{}", doctor.out);
    assert!(doctor.out.contains("  try       check the server's log messages"), "{}", doctor.out);
    assert!(ran(&fake, &["servers"]).await.err.contains("try"), "the same where servers are listed");
}

#[tokio::test(start_paused = true)]
async fn every_failure_of_a_server_has_a_hint() {
    let fake = Fake::giving(text("x"));
    let launch = Transport::Http { url: "http://localhost/mcp".into(), headers: vec![], socket: None };
    fake.publish(EventKind::ServerAdded { spec: Arc::new(ServerSpec::new("web", launch)) });
    fake.starting("db");
    let broken = |step, summary: &str, status, exit| {
        let why = ConnectFailure { status, exit, ..ConnectFailure::new(step, summary) };
        Phase::Failed { why: Arc::new(why) }
    };
    let answered = |code| {
        let why = ConnectFailure { rpc_code: Some(code), ..ConnectFailure::new(Step::Initialize, "the server answered an error") };
        Phase::Failed { why: Arc::new(why) }
    };
    for (server, phase, wanted) in [
        ("web", broken(Step::Initialize, "HTTP 500 Internal Server Error", Some(500), None), "the error is in the server"),
        ("web", broken(Step::Initialize, "HTTP 503 Service Unavailable", Some(503), None), "a proxy or gateway responded"),
        ("web", answered(-32603), "era = "),
        ("web", broken(Step::Run, "the connection was closed", None, None), "closes idle connections"),
        ("db", answered(-32600), "era = "),
        ("db", broken(Step::Run, "the program ended", None, Some(Exit::Signal(11))), "it ended while in use"),
        ("db", broken(Step::List, "the program ended", None, Some(Exit::Code(1))), "run the command in a shell"),
        ("db", degraded(ListingError::Timeout { limit: Duration::from_secs(15) }), "raise timeouts.list"),
        (
            "db",
            degraded(ListingError::Failed { kind: FailureKind::Protocol, message: "no".into(), hint: None }),
            "call its tools as server/tool",
        ),
        ("db", Phase::Ready, "raise --timeout"),
    ] {
        let crashed = matches!(&phase, Phase::Failed { why } if why.exit.is_some());
        fake.phase(server, phase.clone());
        let line = ["doctor", "--server", server];
        let human = ran(&fake, &line).await;
        let tries: Vec<&str> = human.out.lines().filter(|line| line.trim_start().starts_with("try ")).collect();
        assert!(tries.iter().any(|line| line.contains(wanted)), "{phase:?}: {}", human.out);
        assert!(!crashed || human.out.contains("\n  cwd "), "{}", human.out);
        let json = document(&ran(&fake, &[&line[..], &["--json"]].concat()).await).to_string();
        assert!(json.contains(wanted.trim_end()), "{json}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reconnecting_server_reports_its_last_failure() {
    let fake = Fake::giving(text("x"));
    fake.starting("db");
    fake.failed("db");
    fake.phase("db", Phase::Starting { step: Step::Spawn });
    let ran = ran(&fake, &["call", "db_query", "--json"]).await;
    assert_eq!((ran.code, &document(&ran)["connect"]["exit"]["code"]), (exit::NOT_READY, &json!(1)));
}
