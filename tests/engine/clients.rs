//! Many clients of one engine, each over its own stream.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use switchboard::{
    control::{Command, CommandError, Control, RemoteControl, Role, Wanted, serve},
    domain::{
        ask::{Answer, Question},
        body::Body,
        call::{CallSpec, Origin, Outcome, Reply},
        event::EventKind,
        frame::{Direction, FrameDraft, FrameKind},
        id::{AskId, Attribution, CallId, ServerId, ToolId},
        server::ServerSpec,
    },
    engine::ports::{ClientHandler, Request, RequestObserver},
};
use tokio::sync::Semaphore;

use crate::{
    fake::{Behaviour, Fake, Plan, spec},
    support::{PATIENCE, Rig, text_of},
};

const CLIENTS: usize = 100;
const CALLS: usize = 100;
/// Less than the number of questions that may be open for one server.
const QUESTIONS: usize = 50;

/// Answers with the arguments, after a question for `ask`; never for `hang`.
fn behaviour() -> Behaviour {
    Behaviour::new(|request: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| async move {
        observer.sent(handler.now(), 1);
        let [arguments] = request.params.fields(["arguments"]).unwrap();
        let arguments: serde_json::Value = serde_json::from_str(arguments.unwrap().get()).unwrap();
        let mut text = arguments["token"].as_str().unwrap().to_owned();
        match arguments["act"].as_str().unwrap() {
            "hang" => std::future::pending().await,
            "ask" => {
                let params = Body::json(&serde_json::json!({"message": text, "requestedSchema": {}}));
                let call = Attribution::Stream(request.call.expect("a request of a call"));
                let answer = handler.ask("elicitation/create", params, call).await.unwrap();
                text = format!("{text} {}", answer.text());
            }
            _ => {}
        }
        let result = Body::json(&serde_json::json!({"content": [{"type": "text", "text": text}]}));
        let now = handler.now();
        Ok(Reply { result, first_byte: now, last_byte: now, sent_bytes: 1, received_bytes: 1 })
    })
}

fn rig(behaviour: Behaviour) -> Rig {
    let behaviour = Arc::new(behaviour);
    let mut spec = ServerSpec { trusted: true, ..spec("web") };
    spec.policy.breaker.enabled = false;
    spec.policy.concurrency.in_flight = 10_000;
    Rig::over(Fake::new(move |_| Plan::Serve(std::time::Duration::ZERO, behaviour.clone())), vec![spec])
}

/// Opens a connection over a stream in memory.
async fn connect(rig: &Rig, role: Role) -> Arc<RemoteControl> {
    let (ours, theirs) = tokio::io::duplex(16 << 10);
    let served = rig.engine.open(role).served();
    tokio::spawn(serve(|_| served, theirs));
    RemoteControl::connect(ours, Wanted { frames: true, role }).await.expect("the engine serves")
}

/// What clients know of each other: the last call and the last question of any of them.
#[derive(Default)]
struct Others {
    last: Mutex<Option<(CallId, AskId)>>,
    refused: AtomicU64,
}

/// Makes calls and returns their ids.
async fn client(number: usize, control: Arc<RemoteControl>, others: Arc<Others>, questions: Arc<Semaphore>) -> Vec<CallId> {
    let (_, mut tail) = control.watch();
    let mut ids = vec![];
    for n in 0..CALLS {
        let act = ["echo", "hang", "ask", "echo"][n % 4];
        let token = format!("client {number} call {n}");
        let _permit = match act {
            "ask" => Some(questions.acquire().await.unwrap()),
            _ => None,
        };
        let arguments = Body::json(&serde_json::json!({"token": token, "act": act}));
        let id = control.submit(CallSpec::tool(ToolId::new(ServerId::from("web"), "echo"), arguments, Origin::Cli)).await.unwrap();
        if act == "hang" {
            let cancelled = control.command(Command::Cancel { call: id, reason: token.clone() }).await;
            assert_eq!(cancelled, Ok(switchboard::control::Reply::Done));
        }
        let settled = loop {
            let event = tail.next().await.expect("a client that reads does not lag").expect("the engine lives");
            match &event.kind {
                EventKind::CallQueued { call, spec } => assert_eq!((*call, spec.client), (id, control.client())),
                EventKind::CallSent { call, .. } | EventKind::CallStage { call, .. } => assert_eq!(*call, id),
                EventKind::AskOpened { ask } => {
                    assert_eq!((ask.call, ask.client), (Some(id), control.client()));
                    assert!(matches!(&ask.question, Question::Form { message, .. } if *message == token), "{ask:?}");
                    let before = others.last.lock().unwrap().replace((id, ask.id));
                    if let Some((call, other)) = before {
                        meddle(&control, &others, call, other).await;
                    }
                    let content = Body::json(&format!("answer to {token}"));
                    let answered = control.command(Command::Answer { ask: ask.id, answer: Answer::Accept { content } }).await;
                    assert_eq!(answered, Ok(switchboard::control::Reply::Done));
                }
                EventKind::CallSettled { call, settled } => {
                    assert_eq!(*call, id);
                    break settled.clone();
                }
                _ => {}
            }
        };
        match act {
            "hang" => assert!(matches!(&settled.outcome, Outcome::Cancelled { reason } if reason.contains(&token)), "{settled:?}"),
            "ask" => assert_eq!(text_of(&settled), format!(r#"{token} {{"action":"accept","content":"answer to {token}"}}"#)),
            _ => assert_eq!(text_of(&settled), token),
        }
        ids.push(id);
    }
    // The mirror of a client holds its calls and no others.
    let state = control.watch().0;
    assert!(state.calls.iter().all(|call| call.spec.client == control.client()) && state.asks.is_empty());
    assert_eq!(state.calls.iter().map(|call| call.id).collect::<Vec<_>>(), ids);
    ids
}

/// Tries to cancel a call of another client, and to answer its question.
async fn meddle(control: &RemoteControl, others: &Others, call: CallId, ask: AskId) {
    let cancelled = control.command(Command::Cancel { call, reason: "not mine".into() }).await;
    let answered = control.command(Command::Answer { ask, answer: Answer::Decline }).await;
    for result in [cancelled, answered] {
        match result {
            Err(CommandError::NotPermitted) => others.refused.fetch_add(1, Ordering::Relaxed),
            // It ended meanwhile, or it is this client's own earlier one.
            Err(CommandError::CallNotInFlight { .. } | CommandError::QuestionClosed) => 0,
            other => panic!("{other:?}"),
        };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reply_reaches_its_client_only() {
    let rig = rig(behaviour());
    rig.ready("web").await;
    let operator = connect(&rig, Role::Operator).await;
    let (others, questions) = (Arc::new(Others::default()), Arc::new(Semaphore::new(QUESTIONS)));
    let mut clients = tokio::task::JoinSet::new();
    let mut names = HashSet::new();
    for number in 0..CLIENTS {
        let control = connect(&rig, Role::Client).await;
        assert!(names.insert(control.client()), "two clients have the same id");
        clients.spawn(client(number, control, others.clone(), questions.clone()));
    }
    let ended = tokio::time::timeout(PATIENCE, clients.join_all()).await.expect("every call settles");
    let ids: Vec<CallId> = ended.into_iter().flatten().collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), CLIENTS * CALLS);
    assert!(others.refused.load(Ordering::Relaxed) > 0, "no client met a call or question of another one in flight");
    // An operator sees the calls of all clients.
    let (mut state, mut tail) = operator.watch();
    let waiting = async {
        while state.settled_total < (CLIENTS * CALLS) as u64 {
            match tail.next().await {
                Ok(event) => Arc::make_mut(&mut state).apply(&event.expect("the engine lives")),
                Err(_) => (state, tail) = operator.watch(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the operator sees every call settle");
    assert_eq!((state.running, state.asks.len()), (0, 0));
    assert_eq!(state.calls.iter().map(|call| call.spec.client).collect::<HashSet<_>>(), names);
    rig.stop().await;
}

#[tokio::test]
async fn a_flood_of_frames_costs_frames_only_and_they_are_counted() {
    const FRAMES: u64 = 30_000;
    let flood = Behaviour::new(|request: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| async move {
        observer.sent(handler.now(), 1);
        for n in 0..FRAMES {
            handler.frame(FrameDraft {
                at: handler.now(),
                direction: Direction::In,
                kind: FrameKind::Notification,
                body: Body::json(&n),
                size: 5,
                call: request.call,
                method: None,
                rpc_id: None,
                http: None,
            });
        }
        Ok(crate::fake::reply(&handler))
    });
    let rig = rig(flood);
    rig.ready("web").await;
    for frames in [true, false] {
        let (ours, theirs) = tokio::io::duplex(16 << 10);
        let served = rig.engine.open(Role::Operator).served();
        tokio::spawn(serve(|_| served, theirs));
        let control = RemoteControl::connect(ours, Wanted { frames, role: Role::Operator }).await.unwrap();
        let (_, mut tail) = control.watch();
        let spec = CallSpec::tool(ToolId::new(ServerId::from("web"), "echo"), Body::from("{}"), Origin::Cli);
        let id = control.submit(spec).await.unwrap();
        let (mut seen, mut last, mut events) = (0, 0, vec![]);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let next = tokio::time::timeout_at(deadline, tail.next()).await.expect("the call settles");
            let event = next.expect("frames push out no event").expect("the engine lives");
            assert!(event.seq > last, "{} after {last}", event.seq);
            last = event.seq;
            match &event.kind {
                EventKind::Frame { frame } => {
                    assert_eq!(frame.call, Some(id));
                    seen += 1;
                }
                EventKind::CallSettled { call, .. } if *call == id => break,
                kind => events.push(kind.clone()),
            }
        }
        assert!(matches!(&events[0], EventKind::CallQueued { call, .. } if *call == id), "{events:?}");
        let dropped = tail.take_dropped_frames();
        match frames {
            true => assert!(dropped > 0 && seen > 0 && seen + dropped == FRAMES, "{seen} seen, {dropped} dropped"),
            false => assert_eq!((seen, dropped), (0, 0)),
        }
    }
    rig.stop().await;
}
