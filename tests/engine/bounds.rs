//! What a server sends is bounded in bytes where it is stored, and what is left out is counted and shown.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use switchboard::{
    control::Control,
    domain::{bounds, call::Outcome, frame::AnomalyKind, server::Phase},
    state::ConsoleState,
};

use crate::{
    scripted::{Server, Step, event, json_page, stream},
    support::{Rig, bad_server, failure_of, http, stdio, text_of},
};

fn attack(mode: &str, count: usize, bytes: usize) -> switchboard::domain::server::ServerSpec {
    let mut spec = stdio("bad", &bad_server(), &["attack", mode, &count.to_string(), &bytes.to_string()]);
    spec.policy.breaker.enabled = false;
    spec
}

/// The bytes that the state holds of servers and their messages.
fn held(read_model: &ConsoleState) -> usize {
    let of_servers = read_model.servers.iter().map(|s| {
        let logs: usize = s.logs.iter().map(|(_, log)| log.weight()).sum();
        let anomalies: usize = s.anomalies.iter().map(|(_, anomaly)| anomaly.weight()).sum();
        let info = s.info.as_ref().map_or(0, |info| info.weight());
        logs + anomalies + info + s.catalog.weight() + s.stderr_bytes
    });
    let calls = read_model.calls.iter().filter_map(|c| c.settled.as_ref()).map(|settled| settled.weight());
    let asks = read_model.asks.iter().map(|ask| ask.question.weight());
    let notices = read_model.notices.iter().map(|(_, notice)| notice.text.len());
    read_model.frame_bytes + of_servers.chain(calls).chain(asks).chain(notices).sum::<usize>()
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_large_messages_leave_little_behind() {
    const LARGE: usize = 2_000_000;
    for (mode, kind) in [
        ("log", None),
        ("logger", None),
        ("unknown", None),
        ("progress", None),
        ("method", None),
        ("updated", Some(AnomalyKind::Oversize)),
        ("request_id", Some(AnomalyKind::Oversize)),
        ("request_method", Some(AnomalyKind::Oversize)),
        ("ask_schema", Some(AnomalyKind::Oversize)),
        ("sampling", Some(AnomalyKind::Oversize)),
        ("answer_id", Some(AnomalyKind::UnknownId)),
        ("bad_json", Some(AnomalyKind::Noise)),
        ("noise", Some(AnomalyKind::Noise)),
    ] {
        let rig = Rig::start(vec![attack(mode, 20, LARGE)]);
        rig.ready("bad").await;
        let (call, settled) = rig.call("bad", "t", "{}").await;
        assert!(mode == "answer_id" || text_of(&settled) == "survived", "{mode}: {settled:?}");
        let counted =
            |read_model: &ConsoleState| kind.map_or(20, |kind| read_model.servers[0].anomaly_counts.get(&kind).copied().unwrap_or(0));
        let read_model = rig.until("every message was counted", |read_model| counted(read_model) == 20).await;
        let held = held(&read_model);
        assert!(held < 2 * LARGE, "{mode}: {held} bytes");
        let cut = read_model.frames.iter().filter(|frame| frame.cut.is_some_and(|whole| whole >= LARGE as u64)).count();
        assert!(cut >= 20 && read_model.frames.iter().all(|frame| frame.body.len() <= bounds::CALL_FRAME), "{mode}: {cut} frames are cut");
        let long = |text: &str| text.len() > bounds::LOG_TEXT + 100;
        assert!(read_model.servers[0].logs.iter().all(|(_, log)| !long(&log.text) && log.logger.as_deref().is_none_or(|l| l.len() < 1100)));
        assert!(read_model.servers[0].anomalies.iter().all(|(_, anomaly)| anomaly.detail.len() < 1100), "{mode}");
        let progress = read_model.call(call).and_then(|call| call.progress.clone()).and_then(|progress| progress.message);
        assert_eq!(progress.is_some_and(|message| message.contains("(cut, 2.0 MB in all)")), mode == "progress");
        if mode == "log" {
            assert!(read_model.servers[0].logs.back().unwrap().1.text.ends_with("… (cut, 2.0 MB in all)"));
        }
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_an_error_is_kept_once_and_cut_elsewhere() {
    let rig = Rig::start(vec![attack("error", 1, 900_000)]);
    rig.ready("bad").await;
    let (call, settled) = rig.call("bad", "t", "{}").await;
    let failure = failure_of(&settled);
    assert!(
        failure.message.len() < bounds::ERROR_TEXT + 100 && failure.message.ends_with("… (cut, 900 kB in all)"),
        "{}",
        failure.message.len()
    );
    assert!(settled.weight() < 3 * bounds::ERROR_TEXT);
    let read_model = rig.read_model();
    let whole = read_model.frames_of(call).filter(|frame| frame.body.len() > 900_000).count();
    assert_eq!(whole, 1, "the whole text is in the frame of the answer");
    let stages: usize = read_model.call(call).unwrap().stages().iter().map(|(_, stage)| stage.words().len()).sum();
    assert!(stages < 2_000, "{stages}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_bounded_in_bytes_and_long_cursors_end_them() {
    for (mode, bytes, why) in
        [("pages", 6_000_000, "the lists of this server are over 17 MB"), ("cursor", 1_000_000, "the cursor after page 1 is 1.0 MB long")]
    {
        let rig = Rig::start(vec![attack(mode, 1, bytes)]);
        let read_model = rig.until("its lists were read", |w| matches!(&*w.servers[0].phase, Phase::Degraded { .. })).await;
        let server = &read_model.servers[0];
        assert!(server.catalog.warnings.iter().any(|warning| warning.contains(why)), "{:?}", server.catalog.warnings);
        assert_eq!((server.catalog.cut.as_slice(), server.anomaly_counts[&AnomalyKind::Pagination]), (&["tools".to_owned()][..], 1));
        assert!(!server.catalog.tools.is_empty() && server.catalog.weight() <= server.spec.limits.message_bytes + (1 << 20));
        let long = server.catalog.tools.iter().filter_map(|tool| tool.description.as_ref()).map(String::len).max();
        assert!(long.is_none_or(|long| long <= bounds::DESCRIPTION + 100), "{long:?}");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_of_itself_is_bounded() {
    let rig = Rig::start(vec![attack("initialize", 1, 3_000_000)]);
    let read_model = rig.ready("bad").await;
    let info = read_model.servers[0].info.clone().unwrap();
    let instructions = info.instructions.as_deref().unwrap();
    assert!(instructions.len() <= bounds::DESCRIPTION + 100 && instructions.ends_with("… (cut, 3.0 MB in all)"));
    assert_eq!((info.name.as_deref(), info.declares(&["tools", "listChanged"])), (Some("hostile"), true));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_ids_that_cannot_be_sent_back_are_reported_once_and_never_sent() {
    for id in ["x".repeat(2_000_000), "a\u{1}b".to_owned()] {
        let given = id.clone();
        let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "tick"}}).to_string();
        let server = Server::start(move |asked| {
            (asked.tool() == "bad").then(|| {
                let events: String = (0..200).map(|n| event((n % 50 == 0).then_some(given.as_str()), &note)).collect();
                vec![stream(events), Step::Close]
            })
        })
        .await;
        let rig = Rig::start(vec![http("web", &server.url())]);
        rig.ready("web").await;
        for _ in 0..2 {
            let failure = failure_of(&rig.call("web", "bad", "{}").await.1).clone();
            assert!(failure.message.contains("ended before the answer"), "{failure:?}");
        }
        assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello", "the connection lives on");
        let read_model = rig.read_model();
        assert_eq!(read_model.servers[0].anomaly_counts.get(&AnomalyKind::Oversize), Some(&1));
        assert!(server.log().requests.iter().all(|request| request.header("last-event-id").is_none()));
        assert!(read_model.frame_bytes < 1_000_000, "{}", read_model.frame_bytes);
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_headers_of_a_stream_are_held_once_and_only_so_far() {
    let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "tick"}}).to_string();
    let server = Server::start(move |asked| {
        (asked.tool() == "bad").then(|| {
            let pads: String = (0..60).map(|n| format!("x-pad-{n}: {}\r\n", "p".repeat(5_000))).collect();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n{pads}\r\n");
            let events = event(None, &note).repeat(500) + &event(None, &asked.text("hello"));
            vec![Step::Send(head.into_bytes()), Step::Send(events.into_bytes()), Step::Close]
        })
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let (call, settled) = rig.call("web", "bad", "{}").await;
    assert_eq!(text_of(&settled), "hello");
    let read_model = rig.read_model();
    let notes: Vec<_> =
        read_model.frames_of(call).filter_map(|frame| frame.http.clone()).filter(|note| note.line.starts_with("200")).collect();
    assert!(notes.len() > 500 && notes.iter().all(|note| Arc::ptr_eq(&note.headers, &notes[0].headers)), "{}", notes.len());
    let headers: usize = notes[0].headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(headers < bounds::HEADERS + 2 * bounds::ERROR_TEXT, "{headers}");
    assert!(notes[0].headers.last().is_some_and(|(_, text)| text.contains("more headers, ") && text.ends_with("are not stored")));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_acknowledges_no_answer_holds_few_connections() {
    // As many pings as the review sent, and every POST of an answer is left open.
    let open = Arc::new(Mutex::new(0_usize));
    let seen = open.clone();
    let server = Server::start(move |asked| {
        if asked.verb == "POST" && asked.method().is_empty() {
            *seen.lock().unwrap() += 1;
            return Some(vec![Step::Hold]);
        }
        (asked.tool() == "bad").then(|| {
            let pings: String =
                (0..5_000).map(|n| event(None, &json!({"jsonrpc": "2.0", "id": format!("p{n}"), "method": "ping"}).to_string())).collect();
            vec![stream(pings + &event(None, &asked.text("hello"))), Step::Close]
        })
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let (_, settled) = rig.call("web", "bad", "{}").await;
    assert_eq!(text_of(&settled), "hello");
    for _ in 0..10 {
        assert_eq!(text_of(&rig.call("web", "echo", "{}").await.1), "hello");
    }
    let flood = rig.read_model().servers[0].anomaly_counts[&AnomalyKind::Flood];
    assert!(flood >= 5_000 - 64 - 16, "{flood} of 5,000 requests were refused or dropped, and counted");
    // All were read before the call was answered; the answers are a few at a time, each for at most ten seconds.
    assert!(*open.lock().unwrap() <= 4 * 10, "{}", *open.lock().unwrap());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_too_many_members_is_one_anomaly() {
    let rig = Rig::start(vec![attack("batch", 1, 2_000_000)]);
    rig.ready("bad").await;
    let (_, settled) = rig.call("bad", "t", "{}").await;
    assert!(matches!(settled.outcome, Outcome::Ok { .. }), "{settled:?}");
    let read_model = rig.read_model();
    assert_eq!(read_model.servers[0].anomaly_counts.get(&AnomalyKind::Noise), Some(&1), "an array without a message is noise");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_without_number_are_not_all_held() {
    let server = Server::start(|asked| {
        (asked.method() == "tools/list").then(|| {
            let tools = format!(r#"[{{"name":"echo"}},{}1]"#, "1,".repeat(1_000_000));
            json_page(asked.result(json!({"tools": 0})).replace("\"tools\":0", &format!("\"tools\":{tools}")))
        })
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    let read_model = rig.until("its lists were read", |w| matches!(&*w.servers[0].phase, Phase::Degraded { .. })).await;
    let catalog = &read_model.servers[0].catalog;
    assert_eq!((catalog.tools.len(), catalog.cut.len()), (1, 1));
    assert!(catalog.warnings.len() < 60 && catalog.warnings.last().unwrap().ends_with("more entries cannot be used as listed"));
    let (_, mut tail) = rig.engine.watch();
    assert!(tail.try_next().is_ok());
    tokio::time::timeout(Duration::from_secs(60), rig.stop()).await.unwrap();
}
