//! Tests of the interface, in this process and over a stream.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    test_support::{OPERATOR, Reached, STREAM, Way},
    wire::{ClientMessage, EngineMessage, packet},
    *,
};
use crate::{
    domain::{
        ask::Answer,
        body::Body,
        call::{FailureKind, Origin, Outcome},
        client::Behalf,
        event::{Notice, NoticeLevel},
        id::{AskId, ToolId},
        retention::Retention,
        secret::Secret,
        server::{ConnectFailure, Era, ServerSpec, Transport},
        time::Epoch,
    },
    engine::{
        EngineOptions,
        ports::{ClientHandler, Connector, Session},
        tail::MAX_EVENTS,
    },
    mcp::Connections,
};

/// Longer than any wait needs; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

fn engine() -> Arc<LocalControl> {
    let options = EngineOptions { epoch: Epoch::default(), separator: "_".into(), seed: None };
    LocalControl::new(options, Retention::default(), Arc::new(Connections::new(None)))
}

fn notice(engine: &LocalControl, text: &str) {
    engine.notice(Notice::new(NoticeLevel::Info, text));
}

/// A call that fails immediately: its server is not configured.
fn call() -> CallSpec {
    CallSpec::tool(ToolId::new("none".into(), "t"), Body::from("{}"), Origin::Cli)
}

/// Runs a test on an operator's control, in this process and over a stream.
async fn on_both(test: impl AsyncFn(&LocalControl, Reached)) {
    for way in Way::BOTH {
        let engine = engine();
        let reached = way.reach(engine.open(Role::Operator).served()).await;
        test(&engine, reached).await;
    }
}

/// Waits until the control has seen the event with this number.
async fn caught_up(control: &dyn Control, seq: u64) -> (Arc<ConsoleState>, Tail) {
    let caught_up = async {
        loop {
            let (state, mut tail) = control.watch();
            if state.seq >= seq {
                return (state, tail);
            }
            let _ = tail.next().await;
        }
    };
    timeout(PATIENCE, caught_up).await.expect("the event arrives")
}

#[tokio::test]
async fn snapshot_and_tail_have_no_gap_and_no_duplicate() {
    on_both(async |engine, Reached { control, serving: _serving }| {
        notice(engine, "one");
        let (state, mut tail) = caught_up(&*control, 1).await;
        notice(engine, "two");
        assert_eq!(state.seq, 1);
        assert_eq!(tail.next().await.unwrap().unwrap().seq, 2);
        assert_eq!(tail.try_next(), Ok(None));
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_gets_lagged_and_can_watch_again() {
    on_both(async |engine, Reached { control, serving: _serving }| {
        let (_, mut tail) = control.watch();
        for n in 0..MAX_EVENTS + 5 {
            notice(engine, "x");
            if n % 100 == 0 {
                caught_up(&*control, n as u64 + 1).await;
            }
        }
        caught_up(&*control, MAX_EVENTS as u64 + 5).await;
        assert_eq!(tail.next().await, Err(Lagged { missed: 5 }));
        assert_eq!(control.watch().0.seq, MAX_EVENTS as u64 + 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_during_a_flood_of_events_continue_without_a_gap() {
    for way in Way::BOTH {
        let engine = engine();
        let Reached { control, serving: _serving } = way.reach(engine.open(Role::Operator).served()).await;
        let flooding = engine.clone();
        let flood = tokio::task::spawn_blocking(move || (0..20_000).for_each(|_| notice(&flooding, "x")));
        let follow = async {
            let mut last = 0;
            while last < 20_000 {
                let (state, mut tail) = control.watch();
                assert!(state.seq >= last, "a snapshot goes back from {last} to {}", state.seq);
                last = state.seq;
                if last == 20_000 {
                    return;
                }
                // A reader that lags takes another snapshot.
                let mut next = tail.next().await;
                while let Ok(Some(event)) = next {
                    assert_eq!(event.seq, last + 1);
                    last = event.seq;
                    next = tail.try_next();
                }
            }
        };
        timeout(PATIENCE, follow).await.expect("the last event arrives");
        flood.await.unwrap();
        assert_eq!(control.watch().0.seq, 20_000);
    }
}

#[tokio::test]
async fn calls_and_commands_get_typed_replies() {
    on_both(async |engine, Reached { control, serving: _serving }| {
        let (id, settled) = run(&*control, call(), |_| {}).await.unwrap();
        assert!(matches!(&settled.outcome, Outcome::Failed { failure } if failure.kind == FailureKind::UnknownServer));
        let (state, _) = control.watch();
        assert_eq!(state.call(id).map(|call| call.spec.client), Some(control.client()));
        let cancel = Command::Cancel { call: id, reason: "late".into() };
        assert_eq!(control.command(cancel).await, Err(CommandError::CallNotInFlight { call: id }));
        assert_eq!(control.command(Command::Restart { server: "x".into() }).await, Err(CommandError::UnknownServer { server: "x".into() }));
        let answer = Command::Answer { ask: AskId(9), answer: Answer::Decline };
        assert_eq!(control.command(answer).await, Err(CommandError::QuestionClosed));
        assert_eq!(control.command(Command::Purge { pattern: "*".into() }).await, Ok(Reply::Purged { responses: 0 }));
        let request = control.workspace().request(WorkspaceRequest::Recall).await;
        assert_eq!(request, Err(WorkspaceError::Unavailable));
        engine.shutdown().await;
        assert_eq!(control.submit(call()).await, Err(SubmitError::Ended));
        assert_eq!(control.command(Command::Purge { pattern: "*".into() }).await, Err(CommandError::Ended));
    })
    .await;
}

#[tokio::test]
async fn a_client_sees_and_commands_its_own_calls_only() {
    for way in Way::BOTH {
        let engine = engine();
        let operator = engine.open(Role::Operator);
        let one = way.reach(engine.open(Role::Client).served()).await;
        let two = way.reach(engine.open(Role::Client).served()).await;
        assert_ne!(one.control.client(), two.control.client());
        notice(&engine, "for operators");
        let (_, mut of_two) = two.control.watch();
        let (id, _) = run(&*one.control, call(), |_| {}).await.unwrap();
        let (own, _) = run(&*two.control, CallSpec { client: one.control.client(), ..call() }, |_| {}).await.unwrap();
        let mut seen = vec![];
        loop {
            let event = timeout(PATIENCE, of_two.next()).await.expect("another event").unwrap().unwrap();
            match &event.kind {
                EventKind::CallQueued { call, spec } => {
                    assert_eq!(spec.client, two.control.client(), "a client cannot act for another one");
                    seen.push(*call);
                }
                EventKind::CallSettled { call, .. } => {
                    assert_eq!(*call, own);
                    break;
                }
                EventKind::Notice { .. } => panic!("a notice for operators"),
                _ => {}
            }
        }
        assert_eq!(seen, [own]);
        // A new connection of a client begins without the calls of others; an operator sees all.
        let three = way.reach(engine.open(Role::Client).served()).await;
        assert!(three.control.watch().0.calls.is_empty() && three.control.watch().0.notices.is_empty());
        assert!(operator.watch().0.call(id).is_some() && operator.watch().0.call(own).is_some());
        let purge = two.control.command(Command::Purge { pattern: "*".into() }).await;
        assert_eq!(purge, Err(CommandError::NotPermitted));
        let request = two.control.workspace().request(WorkspaceRequest::Recall).await;
        assert_eq!(request, Err(WorkspaceError::NotPermitted));
    }
}

#[tokio::test]
async fn the_end_of_the_connection_ends_everything_that_waits() {
    let engine = engine();
    let Reached { control, serving } = Way::Remote.reach(engine.open(Role::Operator).served()).await;
    let (_, mut tail) = control.watch();
    let mut workspace = control.workspace().state();
    let workspace_requests = control.workspace();
    drop(serving);
    assert_eq!(tail.next().await, Ok(None));
    assert!(workspace.changed().await.is_err());
    assert_eq!(control.submit(call()).await, Err(SubmitError::Ended));
    assert_eq!(control.command(Command::Restart { server: "x".into() }).await, Err(CommandError::Ended));
    assert_eq!(workspace_requests.request(WorkspaceRequest::Recall).await, Err(WorkspaceError::Ended));
    assert_eq!(control.watch().1.next().await, Ok(None));
}

#[tokio::test]
async fn a_reply_that_never_comes_is_reported_when_the_connection_is_lost() {
    let engine = engine();
    let (ours, theirs) = tokio::io::duplex(STREAM);
    // The requests of the client reach a stream that nothing reads.
    let (mut requests, relayed) = tokio::io::duplex(STREAM);
    let (mut from_engine, mut to_engine) = tokio::io::split(theirs);
    let served = engine.open(Role::Operator).served();
    let serving = tokio::spawn(serve(|_| served, relayed));
    let relay = tokio::spawn(async move {
        let introduction = packet::read(&mut from_engine, packet::MAX).await.unwrap().unwrap();
        requests.write_all(&(introduction.len() as u32).to_le_bytes()).await.unwrap();
        requests.write_all(&introduction).await.unwrap();
        tokio::io::copy(&mut requests, &mut to_engine).await
    });
    let control = RemoteControl::connect(ours, OPERATOR).await.unwrap();
    let (submitted, commanded) = (control.submit(call()), control.command(Command::Restart { server: "x".into() }));
    let requested = control.workspace().request(WorkspaceRequest::Recall);
    relay.abort();
    serving.abort();
    assert_eq!(submitted.await, Err(SubmitError::Disconnected));
    assert_eq!(commanded.await, Err(CommandError::Disconnected));
    assert_eq!(requested.await, Err(WorkspaceError::Disconnected));
}

/// Never connects.
struct Connecting;

#[async_trait::async_trait]
impl Connector for Connecting {
    async fn connect(
        &self,
        _: Arc<ServerSpec>,
        _: Option<Era>,
        _: Option<Behalf>,
        _: Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, ConnectFailure> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_dropped_connection_cancels_the_calls_of_a_client_and_not_those_of_an_operator() {
    let options = EngineOptions { epoch: Epoch::default(), separator: "_".into(), seed: None };
    let engine = LocalControl::new(options, Retention::default(), Arc::new(Connecting));
    engine.apply(vec![ServerSpec::new("none", Transport::Http { url: "http://none.invalid".into(), headers: vec![], socket: None })]);
    for (role, why) in [(Role::Client, "disconnected"), (Role::Operator, "by another operator")] {
        let client = engine.open(role);
        let (_, mut tail) = engine.watch();
        let id = client.submit(call()).await.unwrap();
        drop(client);
        drop(engine.command(Command::Cancel { call: id, reason: "by another operator".into() }));
        let settled = loop {
            match &timeout(PATIENCE, tail.next()).await.expect("another event").unwrap().unwrap().kind {
                EventKind::CallSettled { call, settled } if *call == id => break settled.clone(),
                _ => {}
            }
        };
        // The first reason counts.
        assert!(matches!(&settled.outcome, Outcome::Cancelled { reason } if reason.contains(why)), "{role:?}: {settled:?}");
    }
}

#[tokio::test]
async fn an_engine_never_waits_for_a_client_that_does_not_read() {
    let engine = engine();
    let (mut ours, theirs) = tokio::io::duplex(1024);
    let served = engine.open(Role::Operator).served();
    let serving = tokio::spawn(serve(|_| served, theirs));
    let introduction = ClientMessage::Hello { protocol: wire::PROTOCOL, version: "test".into(), frames: true, role: Role::Operator };
    ours.write_all(introduction.encode().unwrap().bytes()).await.unwrap();
    // The first message is complete; the others do not fit into the stream.
    let mut ours = tokio::io::BufReader::new(ours);
    let hello = packet::read(&mut ours, packet::MAX).await.unwrap().unwrap();
    assert!(matches!(packet::decode(&hello).unwrap(), EngineMessage::Hello(_)));
    let flood = 5 * MAX_EVENTS as u64;
    for n in 0..flood {
        notice(&engine, &format!("{n} {}", "x".repeat(100)));
        if n % 1000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    // Another client is up to date although the first one reads nothing.
    let other = Way::Remote.reach(engine.open(Role::Operator).served()).await;
    assert_eq!(other.control.watch().0.seq, flood);
    // The client reads again: it learns how much it missed, and gets a new snapshot.
    let (mut lost, mut snapshot, mut state, mut applied) = (0, None, None::<ConsoleState>, 0);
    while state.as_ref().is_none_or(|state| state.seq < flood) {
        let message = packet::read(&mut ours, packet::MAX).await.unwrap().unwrap();
        match packet::decode(&message).unwrap() {
            EngineMessage::Snapshot(part) => {
                let complete = ConsoleState::add(&mut snapshot, part);
                if complete {
                    state = snapshot.take();
                }
            }
            EngineMessage::Events(events) => {
                let state = state.as_mut().unwrap();
                for event in events {
                    assert_eq!(event.seq, state.seq + 1);
                    state.apply(&event);
                    applied += 1;
                }
            }
            EngineMessage::Lagged { missed } => lost += missed,
            _ => {}
        }
    }
    assert!(lost > 0 && applied < flood, "{lost} lost, {applied} applied");
    let text = |state: &ConsoleState| serde_json::to_string(state).unwrap();
    assert_eq!(text(&state.unwrap()), text(&engine.watch().0));
    drop(ours);
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn another_version_is_refused_with_both_versions() {
    let (mut ours, theirs) = tokio::io::duplex(STREAM);
    let serving = tokio::spawn(serve(|_| engine().open(Role::Operator).served(), theirs));
    let introduction = ClientMessage::Hello { protocol: 999, version: "9.9.9".into(), frames: true, role: Role::Operator };
    ours.write_all(introduction.encode().unwrap().bytes()).await.unwrap();
    let refusal = packet::read(&mut ours, packet::MAX).await.unwrap().unwrap();
    assert!(matches!(packet::decode(&refusal).unwrap(), EngineMessage::Refused { protocol: wire::PROTOCOL, .. }));
    assert!(matches!(serving.await.unwrap(), Err(ServeError::Version { theirs: 999 })));

    let (ours, mut theirs) = tokio::io::duplex(STREAM);
    let connecting = tokio::spawn(async move { RemoteControl::connect(ours, OPERATOR).await.map(drop) });
    let refusal = EngineMessage::Refused { protocol: 999, version: "9.9.9".into() };
    theirs.write_all(refusal.encode(&Default::default()).unwrap().bytes()).await.unwrap();
    let why = connecting.await.unwrap().unwrap_err().to_string();
    assert!(why.contains("9.9.9") && why.contains("999"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_or_engine_is_an_error_after_a_time() {
    let (ours, theirs) = tokio::io::duplex(STREAM);
    let silent = serve(|_| engine().open(Role::Operator).served(), theirs).await;
    assert!(matches!(silent, Err(ServeError::Silent)));
    assert!(matches!(RemoteControl::connect(ours, OPERATOR).await, Err(ConnectError::Packet(_) | ConnectError::Closed)));
    let (ours, _theirs) = tokio::io::duplex(STREAM);
    assert!(matches!(RemoteControl::connect(ours, OPERATOR).await, Err(ConnectError::Silent)));
}

#[tokio::test]
async fn malformed_messages_end_the_connection() {
    for bytes in [&b"\x05\0\0\0hello"[..], b"\xff\xff\xff\xff", b"\x0c\0\0\0\x04\0\0\0\0\0\0\0null"] {
        let (mut ours, theirs) = tokio::io::duplex(STREAM);
        let serving = tokio::spawn(serve(|_| engine().open(Role::Operator).served(), theirs));
        ours.write_all(bytes).await.unwrap();
        assert!(matches!(serving.await.unwrap(), Err(ServeError::Packet(_))), "{bytes:?}");
        let mut rest = vec![];
        ours.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn what_a_user_typed_crosses_masked_to_other_clients() {
    let engine = engine();
    let canary = "canary-0123456789";
    engine.secrets().learn([Secret::literal(canary)]);
    let watching = Way::Remote.reach(engine.open(Role::Operator).served()).await;
    let (_, mut tail) = watching.control.watch();
    let spec = CallSpec::tool(ToolId::new("none".into(), "t"), Body::json(&serde_json::json!({"token": canary})), Origin::Console);
    engine.open(Role::Operator).submit(spec).await.unwrap();
    let queued = tokio::time::timeout(Duration::from_secs(60), tail.next()).await.unwrap().unwrap().unwrap();
    let EventKind::CallQueued { spec, .. } = &queued.kind else { panic!("{queued:?}") };
    assert_eq!(spec.operation.argument("token").as_deref(), Some("•••"));
    assert!(!serde_json::to_string(&*watching.control.watch().0).unwrap().contains(canary));
}
