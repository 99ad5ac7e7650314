//! Every fault of a stdio server ends in a typed error of the right call, immediately where that is possible.

use std::time::Duration;

use switchboard::{
    control::Command,
    domain::{
        call::{CallSpec, FailureKind, Origin, Outcome},
        event::EventKind,
        frame::AnomalyKind,
        id::ToolId,
        policy::breaker::State,
        server::{Exit, Phase, Step},
    },
    state::ConsoleState,
};

use crate::support::{Rig, bad, bad_server, failure_of, stdio, text_of};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_merely_odd_are_accepted_and_counted() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    for (tool, text) in [
        ("echo", "hello"),
        ("noise", "hello"),
        ("prompt", "hello"),
        ("crlf", "hello"),
        ("string_id", "hello"),
        ("duplicate", "first"),
        ("bad_utf8", "a\u{fffd}\u{fffd}b"),
        ("stderr_flood", "hello"),
    ] {
        let (_, settled) = rig.call("bad", tool, "{}").await;
        assert_eq!(text_of(&settled), text, "{tool}");
    }
    let (_, settled) = rig.call("bad", "nested", "{}").await;
    assert!(matches!(settled.outcome, Outcome::Ok { .. }));
    let (_, settled) = rig.call("bad", "surrogate", "{}").await;
    assert!(settled.outcome.result().unwrap().text().contains(r"a\ud800b"), "unchanged");
    let (_, settled) = rig.call("bad", "tool_error", "{}").await;
    assert!(matches!(settled.outcome, Outcome::ToolError { .. }));
    let counts = rig.until("the second answer", |w| w.servers[0].anomaly_counts.contains_key(&AnomalyKind::Duplicate)).await.servers[0]
        .anomaly_counts
        .clone();
    assert_eq!(counts[&AnomalyKind::Noise], 3);
    assert!(!counts.contains_key(&AnomalyKind::NotRpc));
    assert_eq!(counts[&AnomalyKind::BadUtf8], 2, "bytes that are none, and an escape that is half a pair");
    rig.until("the count of stderr lines held back", |w| w.servers[0].stderr.iter().any(|(_, l)| l.contains("more lines, not shown")))
        .await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_cannot_be_read_fail_their_call_at_once() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    for (tool, kind, anomaly) in [
        ("nan", FailureKind::Protocol, AnomalyKind::BadJson),
        ("pretty", FailureKind::Protocol, AnomalyKind::BadJson),
        ("batch", FailureKind::Protocol, AnomalyKind::Batch),
        ("wrong_id", FailureKind::Protocol, AnomalyKind::UnknownId),
        ("no_result", FailureKind::Protocol, AnomalyKind::NotRpc),
        ("null_result", FailureKind::Protocol, AnomalyKind::NotRpc),
        ("null_error", FailureKind::Protocol, AnomalyKind::NotRpc),
        ("parse_error", FailureKind::Protocol, AnomalyKind::NotRpc),
        ("too_large", FailureKind::TooLarge, AnomalyKind::TooLarge),
    ] {
        // Well below the deadline of 60 s, or the rig's patience would have run out.
        let (id, settled) = rig.call("bad", tool, "{}").await;
        assert_eq!(failure_of(&settled).kind, kind, "{tool}: {:?}", settled.outcome);
        assert!(failure_of(&settled).may_have_run);
        let read_model = rig.until(tool, |w| w.servers[0].anomaly_counts.contains_key(&anomaly)).await;
        assert!(
            read_model.servers[0].anomalies.iter().any(|(_, a)| a.kind == anomaly && a.call == Some(id)),
            "{tool} is pinned on its call"
        );
        assert!(read_model.frames_of(id).count() >= 2, "{tool}: the bytes can be seen");
        let (_, next) = rig.call("bad", "echo", "{}").await;
        assert_eq!(text_of(&next), "hello", "the connection lives on after {tool}");
    }
    let (_, settled) = rig.call("bad", "rpc_error", "{}").await;
    let rpc = failure_of(&settled).rpc.clone().unwrap();
    assert_eq!((rpc.code, rpc.message.as_str(), &*rpc.data.unwrap().text()), (-32000, "no luck", r#"{"why":"because"}"#));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_log_on_stdout_end_no_request() {
    let rig = Rig::start(vec![bad("chatty")]);
    let read_model = rig.ready("bad").await;
    assert!(matches!(&*read_model.servers[0].phase, Phase::Ready), "{:?}", read_model.servers[0].phase);
    let (call, settled) = rig.call("bad", "log_lines", "{}").await;
    assert_eq!(text_of(&settled), "hello", "{:?}", settled.outcome);
    let server = rig.server("bad");
    assert!(server.anomalies.iter().all(|(_, anomaly)| anomaly.kind == AnomalyKind::Noise && anomaly.call != Some(call)), "{server:?}");
    assert!(server.anomalies.iter().any(|(_, anomaly)| anomaly.detail.contains("[INFO] wrote 3 rows")), "the line is quoted");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_process_fails_its_calls_with_all_that_is_known_and_the_server_comes_back() {
    for (tool, exit, stderr) in [
        ("exit", Exit::Code(7), Some("fatal: out of cheese")),
        ("killed", Exit::Signal(9), None),
        ("partial_exit", Exit::Code(0), None),
        ("grandchild", Exit::Code(5), None),
    ] {
        let rig = Rig::start(vec![bad("plain")]);
        rig.ready("bad").await;
        let bystander = rig.submit("bad", "hang", "{}");
        rig.until("the bystander sent", |w| w.call(bystander).is_some_and(|c| c.sent.is_some())).await;
        let (_, settled) = rig.call("bad", tool, "{}").await;
        for settled in [settled, rig.settled(bystander).await] {
            let failure = failure_of(&settled);
            assert_eq!((failure.kind, failure.exit), (FailureKind::Exited, Some(exit)), "{tool}: {failure:?}");
            assert!(failure.may_have_run);
            if let Some(line) = stderr {
                assert!(failure.stderr.iter().any(|l| l == line), "{failure:?}");
            }
        }
        rig.until("it comes back", |w| w.servers[0].phase.usable()).await;
        assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
        let states: Vec<&str> = rig.server("bad").history.iter().map(|(_, p)| p.word()).collect();
        assert!(states.contains(&"reconnecting"), "{states:?}");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_lost_connections_in_a_row_open_the_breaker_and_twenty_errors_of_a_tool_do_not() {
    let rig = Rig::start(vec![stdio("bad", &bad_server(), &["plain"])]);
    rig.ready("bad").await;
    for _ in 0..20 {
        let (_, settled) = rig.call("bad", "tool_error", "{}").await;
        assert!(matches!(settled.outcome, Outcome::ToolError { .. }), "{:?}", settled.outcome);
    }
    for n in 1..=5 {
        // A call to a process that has ended already would be one more failure by the same loss.
        rig.until("the process of the call before is replaced", |w| {
            let server = &w.servers[0];
            server.phase.usable() && server.history.iter().filter(|(_, phase)| phase.word() == "ready").count() == n
        })
        .await;
        let server = rig.server("bad");
        assert_eq!(server.breaker.state, State::Closed, "before failure {n}: {:?} {:?}", server.breaker, server.history);
        let (_, settled) = rig.call("bad", "exit", "{}").await;
        assert_eq!(failure_of(&settled).kind, FailureKind::Exited, "{n}: {:?}", settled.outcome);
    }
    let breaker = rig.server("bad").breaker;
    assert!(breaker.state == State::Open && breaker.reason.starts_with("5 consecutive failures"), "{breaker:?}");
    let (_, settled) = rig.call("bad", "echo", "{}").await;
    assert!(!failure_of(&settled).may_have_run && settled.timings.sent.is_none(), "{:?}", settled.outcome);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_at_the_deadline_and_is_cancelled_on_the_wire() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    for tool in ["hang", "partial_stall"] {
        let settled = rig.call_within("bad", tool, SHORT).await;
        let failure = failure_of(&settled);
        assert_eq!(failure.kind, FailureKind::Timeout, "{tool}");
        assert!(failure.may_have_run);
    }
    let read_model = rig
        .until("the cancellations", |w| w.frames.iter().filter(|f| f.method.as_deref() == Some("notifications/cancelled")).count() == 2)
        .await;
    assert!(read_model.frames.iter().any(|f| f.body.text().contains("no answer within")));
    // The next answer is joined to the line that was begun and never ended; it is found there.
    let settled = rig.call_within("bad", "echo", SHORT).await;
    assert_eq!(text_of(&settled), "hello");
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    assert!(rig.server("bad").phase.usable());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_about_a_notification_fails_no_request() {
    let rig = Rig::start(vec![bad("answers_notifications")]);
    let read_model = rig.ready("bad").await;
    assert!(matches!(&*read_model.servers[0].phase, Phase::Ready), "the lists were read: {:?}", read_model.servers[0].phase);
    let told = |n: u64| move |w: &ConsoleState| w.servers[0].anomaly_counts.get(&AnomalyKind::NotRpc).copied() == Some(n);
    rig.until("the error about notifications/initialized", told(1)).await;
    let other = rig.submit("bad", "hang", "{}");
    rig.until("it sent", |w| w.call(other).is_some_and(|c| c.sent.is_some())).await;
    assert_eq!(failure_of(&*rig.call_within("bad", "hang", SHORT).await).kind, FailureKind::Timeout);
    let read_model = rig.until("the error about notifications/cancelled", told(2)).await;
    assert!(read_model.call(other).unwrap().settled.is_none(), "the only request under way is innocent");
    // Once it can be about a request again, it is.
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    rig.command(Command::Cancel { call: other, reason: "enough".into() });
    rig.until("the error about the second notifications/cancelled", told(3)).await;
    assert_eq!(failure_of(&rig.call("bad", "null_error", "{}").await.1).kind, FailureKind::Protocol);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_behind_an_unfinished_line_is_found_and_the_unfinished_call_fails_at_once() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let stalled = rig.submit("bad", "partial_stall", "{}");
    rig.until("it sent", |w| w.call(stalled).is_some_and(|c| c.sent.is_some())).await;
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    let settled = rig.settled(stalled).await;
    assert_eq!(failure_of(&settled).kind, FailureKind::Protocol, "{settled:?}");
    let read_model = rig.until("the fault", |w| w.servers[0].anomaly_counts.contains_key(&AnomalyKind::BadJson)).await;
    assert!(read_model.servers[0].anomalies.iter().any(|(_, a)| a.kind == AnomalyKind::BadJson && a.call == Some(stalled)));
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    assert!(!rig.server("bad").history.iter().any(|(_, p)| p.word() == "reconnecting"), "the connection lives on");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_never_finished_ends_the_connection_with_the_call_that_waited_for_it() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let bystander = rig.submit("bad", "hang", "{}");
    rig.until("the bystander sent", |w| w.call(bystander).is_some_and(|c| c.sent.is_some())).await;
    assert_eq!(failure_of(&*rig.call_within("bad", "partial_stall", SHORT).await).kind, FailureKind::Timeout);
    let settled = rig.settled(bystander).await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Transport, true), "{failure:?}");
    assert!(failure.message.contains("unfinished"), "{failure:?}");
    let read_model = rig.until("it comes back", |w| w.servers[0].phase.usable()).await;
    assert_eq!(read_model.servers[0].anomaly_counts[&AnomalyKind::Partial], 1);
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_line_is_too_large_at_once_and_costs_one_more_call_at_most() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let (_, settled) = rig.call("bad", "endless", "{}").await;
    assert_eq!(failure_of(&settled).kind, FailureKind::TooLarge);
    let behind = rig.submit("bad", "echo", "{}");
    rig.until("the next sent", |w| w.call(behind).is_some_and(|c| c.sent.is_some())).await;
    assert_eq!(failure_of(&*rig.call_within("bad", "echo", SHORT).await).kind, FailureKind::Timeout);
    let settled = rig.settled(behind).await;
    assert_eq!(failure_of(&settled).kind, FailureKind::Transport, "{settled:?}");
    rig.until("it comes back", |w| w.servers[0].phase.usable()).await;
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_stdin_is_a_lost_server() {
    let mut spec = bad("plain");
    spec.timeouts.stop = SHORT;
    let rig = Rig::start(vec![spec]);
    rig.ready("bad").await;
    let (_, settled) = rig.call("bad", "close_stdin", "{}").await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Transport, true), "{failure:?}");
    assert!(failure.message.contains("closed its stdin"), "{failure:?}");
    rig.until("it comes back", |w| w.servers[0].phase.usable()).await;
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_half_a_character_is_read_as_none_and_counted() {
    let rig = Rig::start(vec![bad("surrogate_start")]);
    let read_model = rig.ready("bad").await;
    assert_eq!(read_model.servers[0].info.as_ref().unwrap().instructions.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(read_model.servers[0].anomaly_counts[&AnomalyKind::BadUtf8], 1);
    let mut told = vec![];
    let (call, settled) = rig
        .call_seeing("bad", "surrogate_progress", "{}", |event| {
            if let EventKind::CallProgress { progress, .. } = &event.kind {
                told.push(progress.message.clone());
            }
        })
        .await;
    assert_eq!((text_of(&settled).as_str(), told), ("done", vec![Some("a\u{fffd}b".to_owned())]));
    let read_model = rig.read_model();
    assert_eq!(read_model.servers[0].anomaly_counts[&AnomalyKind::BadUtf8], 2);
    assert!(read_model.frames_of(call).any(|f| f.body.text().contains(r"a\udc00b")), "unchanged");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_stdout_is_a_lost_server() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let (_, settled) = rig.call("bad", "close_stdout", "{}").await;
    assert_eq!(failure_of(&settled).kind, FailureKind::Transport);
    rig.until("it comes back", |w| w.servers[0].phase.usable()).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_shown_as_late_and_moves_nothing() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let settled = rig.call_within("bad", "late", SHORT).await;
    assert_eq!(failure_of(&settled).kind, FailureKind::Timeout);
    let read_model = rig.until("the late answer", |w| w.servers[0].anomaly_counts.contains_key(&AnomalyKind::Late)).await;
    assert_eq!((read_model.settled_total, read_model.failed_total), (1, 1));
    let call = read_model.calls.front().unwrap();
    assert!(call.settled.is_some());
    let stages: Vec<&str> = call.stages().iter().map(|(_, stage)| stage.tag()).collect();
    assert_eq!(stages, ["late"], "recorded in the call's trace");
    assert!(!call.has_trace());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_list_changes_is_one_or_two_refreshes() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let (_, settled) = rig.call("bad", "storm", "{}").await;
    assert_eq!(text_of(&settled), "hello");
    let read_model = rig.until("a refresh", |w| w.servers[0].catalog.revision >= 2).await;
    assert!(read_model.servers[0].catalog.revision <= 3, "{}", read_model.servers[0].catalog.revision);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_without_end_are_cut_and_odd_entries_left_out() {
    for (mode, tools, kind) in [("endless_list", 1, AnomalyKind::Pagination), ("growing_list", 20, AnomalyKind::Pagination)] {
        let mut spec = bad(mode);
        spec.limits.pages = 20;
        let rig = Rig::start(vec![spec]);
        let read_model = rig.ready("bad").await;
        assert!(matches!(&*read_model.servers[0].phase, Phase::Degraded { .. }), "{mode}");
        assert_eq!(read_model.servers[0].catalog.tools.len(), tools, "{mode}");
        assert!(read_model.servers[0].anomaly_counts.contains_key(&kind));
        rig.stop().await;
    }
    // All of it on one page.
    let mut spec = bad("plain");
    spec.limits.items = 3;
    let rig = Rig::start(vec![spec]);
    let read_model = rig.ready("bad").await;
    assert!(matches!(&*read_model.servers[0].phase, Phase::Degraded { reason } if reason.to_string().contains("more than 3 entries")));
    assert_eq!(read_model.servers[0].catalog.tools.len(), 3);
    assert_eq!(read_model.servers[0].anomaly_counts[&AnomalyKind::Pagination], 1);
    rig.stop().await;
    // The second page never comes.
    let mut spec = bad("half_list");
    spec.timeouts.list = SHORT;
    let rig = Rig::start(vec![spec]);
    let read_model = rig.ready("bad").await;
    assert!(
        matches!(&*read_model.servers[0].phase, Phase::Degraded { reason } if reason.to_string().contains("page 2 failed (listing took longer")),
        "{:?}",
        read_model.servers[0].phase
    );
    assert_eq!(read_model.servers[0].catalog.tools.len(), 1);
    rig.stop().await;
    let rig = Rig::start(vec![bad("odd_list")]);
    let read_model = rig.ready("bad").await;
    assert_eq!(read_model.servers[0].catalog.tools.len(), 2);
    // Twice "echo" (once more with the repeated page), a nameless one, a number.
    assert!(read_model.servers[0].catalog.warnings.len() >= 3, "{:?}", read_model.servers[0].catalog.warnings);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_says_everything_that_is_known() {
    let rig = Rig::start(vec![bad("exit_at_start"), stdio("missing", "no-such-program-anywhere", &["--flag"]), {
        let mut spec = bad("silent_initialize");
        spec.id = "silent".into();
        spec.timeouts.connect = SHORT;
        spec
    }]);
    let failed = |w: &ConsoleState, n: usize| w.servers[n].phase.failure().is_some();
    let read_model = rig.until("all three failed", |w| (0..3).all(|n| failed(w, n))).await;
    let why = |n: usize| read_model.servers[n].phase.failure().cloned().unwrap();
    let exited = why(0);
    assert_eq!(exited.exit, Some(Exit::Code(3)), "{exited:#?}");
    assert!(exited.stderr.iter().any(|l| l == "fatal: DATABASE_URL is not set"));
    assert!(
        exited.target.ends_with("badserver exit_at_start") && exited.cwd.is_some() && exited.found.is_some() && !exited.hints.is_empty()
    );
    let missing = why(1);
    assert!(missing.found.as_ref().unwrap().contains("is in none of the"), "{missing:#?}");
    assert!(missing.hints[0].contains("no-such-program-anywhere") && matches!(&*read_model.servers[1].phase, Phase::Failed { .. }));
    assert_eq!((why(2).step, why(2).exit), (Step::Initialize, None), "we ended it, it did not exit: {:#?}", why(2));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_dislike_the_probe_are_reached_the_old_way() {
    let mut silent = bad("silent_discover");
    silent.id = "silent".into();
    silent.timeouts.probe = SHORT;
    let rig = Rig::start(vec![bad("exit_at_discover"), silent]);
    for id in ["bad", "silent"] {
        let read_model = rig.ready(id).await;
        let info = read_model.server(&id.into()).unwrap().info.clone().unwrap();
        assert_eq!(info.protocol, "2025-11-25");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_nobody_knows_is_refused_with_both_sides_named() {
    let rig = Rig::start(vec![bad("unknown_version")]);
    let read_model = rig.until("refused", |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    let why = read_model.servers[0].phase.failure().unwrap();
    assert!(why.summary.contains("1999-01-01") && why.summary.contains("2025-11-25"), "{why:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_read_where_the_version_has_them() {
    let rig = Rig::start(vec![bad("old_batches")]);
    rig.ready("bad").await;
    assert_eq!(text_of(&rig.call("bad", "batch", "{}").await.1), "hello");
    assert!(rig.server("bad").anomaly_counts.is_empty());
    let (call, settled) = rig.call("bad", "bad_member", "{}").await;
    assert_eq!(failure_of(&settled).kind, FailureKind::Protocol, "immediately: {settled:?}");
    let read_model = rig.until("the fault", |w| w.servers[0].anomaly_counts.contains_key(&AnomalyKind::NotRpc)).await;
    assert!(read_model.servers[0].anomalies.iter().any(|(_, a)| a.call == Some(call)));
    assert_eq!(text_of(&rig.call("bad", "empty_batch", "{}").await.1), "hello");
    assert_eq!(rig.server("bad").anomaly_counts[&AnomalyKind::Batch], 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_a_busy_server_takes_only_in_part_may_have_run() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    // It reads nothing while it naps, and the pipe holds less than this line.
    rig.submit("bad", "nap", "{}");
    rig.until("the nap", |read_model| read_model.calls.iter().any(|call| call.sent.is_some())).await;
    let arguments = format!("{{\"text\":\"{}\"}}", "x".repeat(300_000));
    let mut spec = CallSpec::tool(ToolId::new("bad".into(), "echo"), arguments, Origin::Cli);
    spec.timeout = Some(Duration::from_millis(150));
    let settled = rig.run(spec, |_| {}).await.1;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Timeout, true), "{failure:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_do_not_fit_are_counted_and_fail_where_nothing_can_be_read_from_them() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    for (tool, what) in [("result_number", "a number"), ("result_text", "a string"), ("result_array", "an array")] {
        let (call, settled) = rig.call("bad", tool, "{}").await;
        let failure = failure_of(&settled);
        assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Protocol, true), "{tool}: {failure:?}");
        assert!(failure.message.contains(what), "{tool}: {failure:?}");
        let anomalies = rig.server("bad").anomalies;
        assert!(anomalies.iter().any(|(_, a)| a.kind == AnomalyKind::BadResult && a.call == Some(call)), "{tool}: {anomalies:?}");
    }
    for (tool, words, usable) in [
        ("result_empty", "has no \"content\"", true),
        // The server has not finished: these say nothing about the outcome of the call.
        ("input_required", "version 2025-11-25 does not have", false),
        ("foreign_task", "a task without an id", false),
    ] {
        let (call, settled) = rig.call("bad", tool, "{}").await;
        assert_eq!(matches!(settled.outcome, Outcome::Ok { .. }), usable, "{tool}: {settled:?}");
        let anomalies = rig.server("bad").anomalies;
        assert!(anomalies.iter().any(|(_, a)| a.call == Some(call) && a.detail.contains(words)), "{tool}: {anomalies:?}");
    }
    rig.stop().await;
}
