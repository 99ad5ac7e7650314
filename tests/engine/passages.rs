//! Calls of clients: what a passage brings to the server, and what it brings back.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use switchboard::{
    cache::Memory,
    control::{Command, Control},
    domain::{
        ask::{Answer, AskEnd},
        body::Body,
        call::{CallSpec, FailureKind, InterimKind, Origin, Outcome, RpcError},
        client::{Face, Principal},
        event::{EventKind, LogLevel, Settled},
        frame::AnomalyKind,
        id::{Attribution, ClientId, ToolId},
        policy::{CacheMode, Hedge},
        run::{RunId, RunOutcome, RunSpec, WorkflowText},
        server::ServerSpec,
    },
    engine::{
        passage::{Desk, Passage, Rounds},
        ports::{ClientHandler, ProgressRequest, Reply, Request, RequestObserver},
    },
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    fake::{Behaviour, Fake, Plan, reply, spec},
    support::{Rig, failure_of, stdio, text_of},
};

/// Longer than any wait needs, in paused time; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(3600);

const ELICITS: &str = r#"{"elicitation":{"form":{}},"vendor/x":1.50}"#;
const ASKS: &str = r#"{"resultType":"input_required","vendor/n":1.00,"inputRequests":{"k":{"method":"elicitation/create","params":{"message":"who?","requestedSchema":{"n":1.50}}}},"requestState":"a\u2028b"}"#;

/// A desk that records what it gets and gives one answer.
#[derive(Default)]
pub struct Recorder {
    progress: Mutex<Vec<String>>,
    messages: Mutex<Vec<String>>,
    asked: Mutex<Vec<(String, String)>>,
    /// A permit for each answer; without any, the questions wait.
    answers: Option<Semaphore>,
}

#[async_trait]
impl Desk for Recorder {
    fn progress(&self, params: &Body) {
        self.progress.lock().unwrap().push(params.text().into_owned());
    }

    fn message(&self, params: &Body) {
        self.messages.lock().unwrap().push(params.text().into_owned());
    }

    async fn ask(&self, method: &str, params: Body) -> Result<Body, RpcError> {
        self.asked.lock().unwrap().push((method.to_owned(), params.text().into_owned()));
        if let Some(answers) = &self.answers {
            answers.acquire().await.unwrap().forget();
        }
        Ok(Body::from(r#"{"action":"accept","content":{"n":1.50},"vendor/a":2.0}"#))
    }
}

fn passage(client: u32, rounds: Rounds, desk: &Arc<Recorder>) -> Passage {
    Passage {
        client: ClientId(client),
        principal: Principal::local(),
        face: Arc::new(Face {
            capabilities: Body::from(ELICITS),
            client_info: Body::from(r#"{"name":"agent","version":"7"}"#),
            log_level: Some(LogLevel::Debug),
        }),
        meta: Body::default(),
        extra: Body::default(),
        wants_progress: false,
        rounds,
        relays_tasks: true,
        desk: desk.clone(),
        connection_desk: None,
    }
}

fn result(handler: &Arc<dyn ClientHandler>, text: &'static str) -> Reply {
    Reply { result: Body::from(text), ..reply(handler) }
}

/// A server that answers each request as `answer` says, and records it.
fn recording(answer: impl Fn(usize) -> &'static str + Send + Sync + 'static) -> (Behaviour, Arc<Mutex<Vec<Request>>>) {
    let requests = Arc::new(Mutex::new(Vec::<Request>::new()));
    let seen = requests.clone();
    let answer = Arc::new(answer);
    let behaviour = Behaviour::new(move |request: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| {
        let (seen, answer) = (seen.clone(), answer.clone());
        async move {
            observer.sent(handler.now(), 1);
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push(request);
                seen.len() - 1
            };
            Ok(result(&handler, answer(number)))
        }
    });
    (behaviour, requests)
}

fn rig(behaviour: Behaviour, spec: ServerSpec) -> Rig {
    let behaviour = Arc::new(behaviour);
    Rig::over(Fake::new(move |_| Plan::Serve(Duration::ZERO, behaviour.clone())), vec![spec])
}

async fn pass(rig: &Rig, passage: Passage) -> Arc<Settled> {
    let origin = Origin::Client(passage.client);
    let spec = CallSpec::tool(ToolId::new("web".into(), "echo"), r#"{"a":1.0}"#, origin);
    rig.engine.pass(spec, Arc::new(passage)).1.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_task_goes_to_a_client_that_may_get_it_and_is_polled_for_any_other() {
    const TASK: &str = r#"{"resultType":"task","taskId":"1","status":"working","ttlMs":60000,"pollIntervalMs":1}"#;
    const END: &str = r#"{"resultType":"complete","taskId":"1","status":"completed","result":{"content":[{"type":"text","text":"done"}]}}"#;
    let capabilities = Body::from(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#);
    for relays_tasks in [true, false] {
        let (behaviour, requests) = recording(|number| if number == 0 { TASK } else { END });
        let rig = rig(behaviour.modern(), spec("web"));
        let face = Arc::new(Face { capabilities: capabilities.clone(), ..Face::default() });
        let extra = Body::from(r#"{"task":{"ttl":1},"vendor":1.0}"#);
        let passage = Passage { relays_tasks, face, extra, ..passage(7, Rounds::Relay, &Arc::default()) };
        let settled = pass(&rig, passage).await;
        let sent = requests.lock().unwrap()[0].params.text().into_owned();
        assert_eq!((sent.contains(r#""task":"#), sent.contains("1.0")), (relays_tasks, true), "{sent}");
        match relays_tasks {
            true => assert!(matches!(&settled.outcome, Outcome::Interim { kind: InterimKind::Task, .. }), "{settled:?}"),
            false => assert_eq!(text_of(&settled), "done"),
        }
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_input_goes_to_the_client_that_relays_and_is_sent_once() {
    let (behaviour, requests) = recording(|number| if number == 0 { ASKS } else { r#"{"resultType":"complete","content":[]}"# });
    let mut spec = ServerSpec { trusted: true, ..spec("web") };
    (spec.policy.cache.mode, spec.policy.cache.ttl) = (CacheMode::Always, Duration::from_secs(60));
    spec.policy.hedge = Hedge { enabled: true, after: Some(Duration::ZERO), ..Hedge::default() };
    let rig = rig(behaviour.modern(), spec);
    rig.engine.set_store(Some(Arc::new(Memory::new(1 << 20))));
    let desk = Arc::<Recorder>::default();
    let first = pass(&rig, passage(7, Rounds::Relay, &desk)).await;
    let Outcome::Interim { result, kind: InterimKind::InputRequired } = &first.outcome else { panic!("{:?}", first.outcome) };
    assert_eq!((result.text().as_ref(), first.attempts, first.cached), (ASKS, 1, None));
    let extra = r#"{"inputResponses":{"k":{"action":"accept","n":1.50}},"requestState":"a\u2028b"}"#;
    let second = pass(&rig, Passage { extra: Body::from(extra), ..passage(7, Rounds::Relay, &desk) }).await;
    assert!(matches!(second.outcome, Outcome::Ok { .. }) && second.cached.is_none(), "{:?}", second.outcome);
    let requests = requests.lock().unwrap().clone();
    assert_eq!(requests.len(), 2, "nothing is cached, hedged or sent again");
    let face = requests[0].face.as_ref().unwrap();
    assert_eq!((face.capabilities.text().as_ref(), face.log_level.as_ref()), (ELICITS, Some(&LogLevel::Debug)));
    assert_eq!(requests[0].params.text(), r#"{"name":"echo","arguments":{"a":1.0}}"#);
    let continued =
        r#"{"name":"echo","arguments":{"a":1.0},"inputResponses":{"k":{"action":"accept","n":1.50}},"requestState":"a\u2028b"}"#;
    assert_eq!(requests[1].params.text(), continued);
    assert!(desk.asked.lock().unwrap().is_empty());
    let server = rig.server("web");
    assert_eq!((server.stats.answered, server.stats.failed), (2, 0));
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_engine_asks_the_desk_of_a_client_that_does_not_relay() {
    let (behaviour, requests) = recording(|number| if number == 0 { ASKS } else { r#"{"resultType":"complete","content":[]}"# });
    let rig = rig(behaviour.modern(), spec("web"));
    rig.ready("web").await;
    let (_, mut tail) = rig.engine.watch();
    let desk = Arc::<Recorder>::default();
    let settled = pass(&rig, Passage { extra: Body::from(r#"{"vendor":1.0}"#), ..passage(7, Rounds::Drive, &desk) }).await;
    assert!(matches!(settled.outcome, Outcome::Ok { .. }) && settled.rounds == 2, "{:?}", settled.outcome);
    let params = r#"{"message":"who?","requestedSchema":{"n":1.50}}"#;
    assert_eq!(*desk.asked.lock().unwrap(), [("elicitation/create".to_owned(), params.to_owned())]);
    let sent: Vec<String> = requests.lock().unwrap().iter().map(|request| request.params.text().into_owned()).collect();
    let answered = r#"{"name":"echo","arguments":{"a":1.0},"vendor":1.0,"inputResponses":{"k":{"action":"accept","content":{"n":1.50},"vendor/a":2.0}},"requestState":"a\u2028b"}"#;
    let answered = answered.replace("\\u2028", "\u{2028}");
    assert_eq!(sent, [r#"{"name":"echo","arguments":{"a":1.0},"vendor":1.0}"#, answered.as_str()]);
    // The question is published as one of that client, and the user of the console has none.
    let mut seen = vec![];
    while seen.len() < 2 {
        match &tail.next().await.unwrap().unwrap().kind {
            EventKind::AskOpened { ask } => seen.push((ask.client, None)),
            EventKind::AskClosed { how, .. } => seen.push((ClientId(7), Some(*how))),
            _ => {}
        }
    }
    assert_eq!(seen, [(ClientId(7), None), (ClientId(7), Some(AskEnd::AnsweredByClient))]);
    assert!(rig.read_model().asks.is_empty());
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn progress_reaches_the_desk_as_sent_and_only_if_it_is_wanted() {
    let behaviour = Behaviour::new(|request: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| async move {
        observer.sent(handler.now(), 1);
        if request.progress == ProgressRequest::Asked {
            observer.progress(&Body::from(r#"{"progressToken":3,"progress":1.50,"vendor/n":1.00}"#));
        }
        Ok(reply(&handler))
    });
    let rig = rig(behaviour, spec("web"));
    for (wants_progress, expected) in [(true, vec![r#"{"progressToken":3,"progress":1.50,"vendor/n":1.00}"#.to_owned()]), (false, vec![])] {
        let desk = Arc::<Recorder>::default();
        pass(&rig, Passage { wants_progress, ..passage(7, Rounds::Relay, &desk) }).await;
        assert_eq!(*desk.progress.lock().unwrap(), expected);
    }
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn trap_8_cached_responses_of_one_principal_never_reach_another() {
    let (behaviour, requests) = recording(|_| r#"{"content":[]}"#);
    let mut spec = spec("web");
    (spec.policy.cache.mode, spec.policy.cache.ttl) = (CacheMode::Always, Duration::from_secs(60));
    let rig = rig(behaviour, spec);
    rig.engine.set_store(Some(Arc::new(Memory::new(1 << 20))));
    // The first list invalidates what was cached before it.
    rig.ready("web").await;
    let desk = Arc::<Recorder>::default();
    let of = |name: &str, meta: &'static str| Passage {
        principal: Principal::new(name),
        meta: Body::from(meta),
        ..passage(7, Rounds::Relay, &desk)
    };
    let mut cached = vec![];
    for (name, meta) in [
        ("ann", ""),
        ("bob", ""),
        ("local", ""),
        ("ann", r#"{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#),
        ("bob", r#"{"tenant":2}"#),
    ] {
        cached.push(pass(&rig, of(name, meta)).await.cached.is_some());
    }
    assert_eq!(cached, [false, false, false, true, false]);
    assert_eq!(requests.lock().unwrap().len(), 4);
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_question_goes_to_the_client_on_whose_stream_it_came_and_to_nobody_else() {
    let answers = Arc::new(Mutex::new(vec![]));
    let got = answers.clone();
    let behaviour = Behaviour::new(move |request: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| {
        let got = got.clone();
        async move {
            observer.sent(handler.now(), 1);
            let call = request.call.unwrap();
            for (attribution, method) in [
                (Attribution::Stream(call), "elicitation/create"),
                // Only that call is in flight, but the server may have meant none.
                (Attribution::Likely(call), "elicitation/create"),
                // The client did not declare it.
                (Attribution::Stream(call), "sampling/createMessage"),
            ] {
                handler.notification("notifications/message", &Body::from(r#"{"level":"info","data":1.50}"#), attribution);
                let answer = handler.ask(method, Body::from(r#"{"message":"who?"}"#), attribution).await;
                got.lock().unwrap().push(answer.map(|body| body.text().into_owned()).map_err(|error| error.code));
            }
            Ok(reply(&handler))
        }
    });
    let rig = rig(behaviour, spec("web"));
    let desk = Arc::<Recorder>::default();
    pass(&rig, passage(7, Rounds::Drive, &desk)).await;
    let accepted = r#"{"action":"accept","content":{"n":1.50},"vendor/a":2.0}"#.to_owned();
    assert_eq!(*answers.lock().unwrap(), [Ok(accepted), Err(-32601), Err(-32601)]);
    assert_eq!(desk.asked.lock().unwrap().len(), 1);
    assert_eq!(*desk.messages.lock().unwrap(), [r#"{"level":"info","data":1.50}"#; 2]);
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_call_stands_still_while_its_client_is_asked() {
    let behaviour = Behaviour::new(|request: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| async move {
        observer.sent(handler.now(), 1);
        let asked =
            handler.ask("elicitation/create", Body::from(r#"{"message":"who?"}"#), Attribution::Stream(request.call.unwrap())).await;
        assert!(asked.is_ok());
        std::future::pending().await
    });
    let rig = rig(behaviour, spec("web"));
    rig.ready("web").await;
    let desk = Arc::new(Recorder { answers: Some(Semaphore::new(0)), ..Recorder::default() });
    let call = pass(&rig, passage(7, Rounds::Drive, &desk));
    let answered = async {
        tokio::time::sleep(Duration::from_secs(300)).await;
        desk.answers.as_ref().unwrap().add_permits(1);
    };
    let (settled, ()) = tokio::join!(call, answered);
    // A call may take 60 s.
    assert_eq!((failure_of(&settled).kind, settled.timings.total().as_secs()), (FailureKind::Timeout, 360));
    rig.engine.shutdown().await;
}

/// A legacy server that asks in each call, says nothing about the call that it asks for, and answers with what it got.
fn asking() -> Behaviour {
    Behaviour::new(|_: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| async move {
        observer.sent(handler.now(), 1);
        let answer = handler.ask("elicitation/create", Body::from(r#"{"message":"who?"}"#), Attribution::None).await;
        let text = answer.map_or_else(|error| error.code.to_string(), |body| body.text().into_owned());
        let result = Body::json(&serde_json::json!({"content": [{"type": "text", "text": text}]}));
        Ok(Reply { result, ..reply(&handler) })
    })
}

/// Answers with the name of its client, when it may.
struct Named(u32, Semaphore);

#[async_trait]
impl Desk for Named {
    fn progress(&self, _: &Body) {}
    fn message(&self, _: &Body) {}
    async fn ask(&self, _: &str, _: Body) -> Result<Body, RpcError> {
        self.1.acquire().await.unwrap().forget();
        Ok(Body::from(format!("{{\"action\":\"accept\",\"client\":{}}}", self.0)))
    }
}

fn connections(behaviour: impl Fn() -> Behaviour + Send + Sync + 'static) -> Arc<Fake> {
    Fake::new(move |_| behaviour().plan())
}

/// A call of a client that is asked over its connection, or as the answer to this call only.
fn call_of(rig: &Rig, desk: &Arc<Named>, connected: bool) -> impl Future<Output = Arc<Settled>> + use<> {
    let base = passage(desk.0, Rounds::Drive, &Arc::default());
    let connection_desk: Option<Arc<dyn Desk>> = if connected { Some(desk.clone()) } else { None };
    let passage = Passage { desk: desk.clone(), connection_desk, ..base };
    let spec = CallSpec::tool(ToolId::new("web".into(), "echo"), "{}", Origin::Client(passage.client));
    // A call runs while somebody awaits it.
    let settled = tokio::spawn(rig.engine.pass(spec, Arc::new(passage)).1);
    async move { settled.await.unwrap().unwrap() }
}

async fn text_after(call: impl Future<Output = Arc<Settled>>) -> String {
    let settled = call.await;
    text_of(&settled)
}

fn named(client: u32, permits: usize) -> Arc<Named> {
    Arc::new(Named(client, Semaphore::new(permits)))
}

fn answer(client: u32) -> String {
    format!("{{\"action\":\"accept\",\"client\":{client}}}")
}

#[tokio::test(start_paused = true)]
async fn each_client_that_can_be_asked_has_a_session_of_its_own_at_a_legacy_server() {
    let fake = connections(asking);
    let rig = Rig::over(fake.clone(), vec![spec("web")]);
    rig.ready("web").await;
    // Many calls of two clients at the same time: one session each.
    let desks = [named(1, 1000), named(2, 1000)];
    let calls = (0..200).map(|n| call_of(&rig, &desks[n % 2], true));
    let settled = futures_util::future::join_all(calls.collect::<Vec<_>>()).await;
    for (n, settled) in settled.iter().enumerate() {
        assert_eq!(text_of(settled), answer(desks[n % 2].0), "call {n}");
    }
    let declared: Vec<Option<String>> =
        fake.faces.lock().unwrap().iter().map(|face| face.as_ref().map(|face| face.capabilities.text().into_owned())).collect();
    assert_eq!(declared, [None, Some(ELICITS.to_owned()), Some(ELICITS.to_owned())]);
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_connection_is_asked_only_in_a_call_of_its_own() {
    // A program: each call leases a session. An address that does not say which call it asks for: nobody is asked.
    for (spec, expected, sessions) in [(stdio("web", "fake", &[]), answer(1), 3), (spec("web"), "-32601".to_owned(), 1)] {
        let fake = connections(asking);
        let rig = Rig::over(fake.clone(), vec![spec]);
        rig.ready("web").await;
        let desk = named(1, 1000);
        let settled = futures_util::future::join_all((0..3).map(|_| call_of(&rig, &desk, false)).collect::<Vec<_>>()).await;
        for settled in &settled {
            assert_eq!(text_of(settled), expected);
        }
        assert_eq!(fake.attempts(), 1 + sessions);
        let anomalies = rig.server("web").anomaly_counts.get(&AnomalyKind::Unattributed).copied();
        assert_eq!(anomalies.unwrap_or(0), if sessions == 1 { 3 } else { 0 });
        // The sessions are used again.
        call_of(&rig, &desk, false).await;
        assert_eq!(fake.attempts(), 1 + sessions);
        rig.engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_lease_a_session_wait_for_one() {
    let fake = connections(asking);
    let mut spec = stdio("web", "fake", &[]);
    spec.sessions.max = 2;
    spec.policy.concurrency.wait = Duration::from_secs(10);
    let rig = Rig::over(fake.clone(), vec![spec]);
    rig.ready("web").await;
    let desk = named(1, 1000);
    let settled = futures_util::future::join_all((0..20).map(|_| call_of(&rig, &desk, false)).collect::<Vec<_>>()).await;
    for settled in &settled {
        assert_eq!(text_of(settled), answer(1));
    }
    assert_eq!(fake.attempts(), 3);
    // Nothing is freed in time.
    let silent = named(1, 0);
    let held: Vec<_> = (0..2).map(|_| call_of(&rig, &silent, false)).collect();
    rig.until("both are sent", |state| state.calls.iter().filter(|call| call.settled.is_none() && call.sent.is_some()).count() == 2).await;
    let refused = call_of(&rig, &silent, false).await;
    assert_eq!((failure_of(&refused).kind, refused.timings.total().as_secs()), (FailureKind::Overloaded, 10));
    silent.1.add_permits(2);
    for call in held {
        assert_eq!(text_after(call).await, answer(1));
    }
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn own_sessions_are_bounded_and_end_after_a_time_without_calls() {
    let fake = connections(asking);
    let mut spec = spec("web");
    (spec.sessions.max, spec.sessions.idle) = (2, Some(Duration::from_secs(60)));
    let rig = Rig::over(fake.clone(), vec![spec]);
    rig.ready("web").await;
    let busy = [named(1, 0), named(2, 0)];
    let calls = [call_of(&rig, &busy[0], true), call_of(&rig, &busy[1], true)];
    rig.until("both are asked", |state| state.servers[0].stats.in_flight == 2).await;
    rig.until("both are sent", |state| state.calls.iter().filter(|call| call.sent.is_some()).count() == 2).await;
    let third = named(3, 100);
    let refused = call_of(&rig, &third, true).await;
    let failure = failure_of(&refused);
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Overloaded, "server web: 2 of 2 client sessions busy"));
    assert_eq!((refused.attempts, rig.server("web").breaker.state), (0, Default::default()));
    busy.iter().for_each(|desk| desk.1.add_permits(1));
    for (call, client) in calls.into_iter().zip([1, 2]) {
        assert_eq!(text_after(call).await, answer(client));
    }
    assert_eq!(fake.attempts(), 3);
    // Now one of them is idle and makes room: the one that is idle for longer.
    assert_eq!(text_after(call_of(&rig, &third, true)).await, answer(3));
    assert_eq!(fake.attempts(), 4);
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(text_after(call_of(&rig, &third, true)).await, answer(3));
    assert_eq!(fake.attempts(), 4, "still open");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(text_after(call_of(&rig, &third, true)).await, answer(3));
    assert_eq!(fake.attempts(), 5, "ended meanwhile");
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_lost_is_replaced_and_one_that_cannot_open_fails_its_calls() {
    let behaviours = Arc::new(Mutex::new(vec![]));
    let opened = behaviours.clone();
    let fake = Fake::new(move |attempt| match attempt {
        2 => Plan::Refuse,
        _ => {
            let behaviour = Arc::new(asking());
            opened.lock().unwrap().push(behaviour.clone());
            Plan::Serve(Duration::ZERO, behaviour)
        }
    });
    let rig = Rig::over(fake.clone(), vec![spec("web")]);
    rig.ready("web").await;
    let desk = named(1, 100);
    assert_eq!(text_after(call_of(&rig, &desk, true)).await, answer(1));
    behaviours.lock().unwrap()[1].lost.cancel();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let calls = futures_util::future::join_all((0..5).map(|_| call_of(&rig, &desk, true)).collect::<Vec<_>>()).await;
    for settled in &calls {
        let failure = failure_of(settled);
        assert_eq!((failure.kind, settled.attempts, failure.may_have_run), (FailureKind::NotReady, 0, false), "{failure:?}");
    }
    assert_eq!(fake.attempts(), 3, "one attempt for all of them");
    assert_eq!(text_after(call_of(&rig, &desk, true)).await, answer(1));
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn clients_share_the_session_if_they_cannot_be_asked_or_none_has_its_own() {
    for (capabilities, max) in [("{}", 8), (ELICITS, 0)] {
        let fake = connections(asking);
        let mut spec = spec("web");
        spec.sessions.max = max;
        let rig = Rig::over(fake.clone(), vec![spec]);
        let face = Face { capabilities: Body::from(capabilities), ..Face::default() };
        let settled = pass(&rig, Passage { face: Arc::new(face), ..passage(7, Rounds::Drive, &Arc::default()) });
        let declined = async {
            // The session declares what the user of the console answers.
            let ask = rig.until("the question", |state| !state.asks.is_empty()).await.asks[0].clone();
            assert_eq!((ask.client, ask.call), (ClientId::LOCAL, None));
            rig.command(Command::Answer { ask: ask.id, answer: Answer::Decline });
        };
        let (settled, ()) = tokio::join!(settled, declined);
        assert_eq!(text_of(&settled), r#"{"action":"decline"}"#);
        assert_eq!(fake.attempts(), 1);
        rig.engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_depends_on_an_answer_is_not_cached() {
    let fake = connections(asking);
    let mut spec = spec("web");
    (spec.policy.cache.mode, spec.policy.cache.ttl) = (CacheMode::Always, Duration::from_secs(60));
    let rig = Rig::over(fake, vec![spec]);
    rig.engine.set_store(Some(Arc::new(Memory::new(1 << 20))));
    rig.ready("web").await;
    for client in [1, 2, 1] {
        let settled = call_of(&rig, &named(client, 1), false).await;
        // The address says nothing of the call, so nobody is asked: that response may be shared.
        assert_eq!(text_of(&settled), "-32601");
    }
    let asked = Behaviour::new(|request: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| async move {
        observer.sent(handler.now(), 1);
        let answer = handler.ask("elicitation/create", Body::from(r#"{"message":"who?"}"#), Attribution::Stream(request.call.unwrap()));
        let text = answer.await.unwrap().text().into_owned();
        let result = Body::json(&serde_json::json!({"content": [{"type": "text", "text": text}]}));
        Ok(Reply { result, ..reply(&handler) })
    });
    let behaviour = Arc::new(asked);
    let fake = Fake::new(move |_| Plan::Serve(Duration::ZERO, behaviour.clone()));
    let mut spec = crate::fake::spec("web");
    (spec.policy.cache.mode, spec.policy.cache.ttl) = (CacheMode::Always, Duration::from_secs(60));
    let rig = Rig::over(fake, vec![spec]);
    rig.engine.set_store(Some(Arc::new(Memory::new(1 << 20))));
    for client in [1, 2, 1] {
        let settled = call_of(&rig, &named(client, 1), false).await;
        assert_eq!((text_of(&settled), settled.cached), (answer(client), None));
    }
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn servers_ask_the_client_of_a_run() {
    let fake = connections(asking);
    let rig = Rig::over(fake, vec![stdio("web", "fake", &[])]);
    rig.ready("web").await;
    let source = WorkflowText {
        name: "w".into(),
        file: "w.toml".into(),
        text: r#"
            name = "w"
            [[step]]
            id = "a"
            tool = "web_echo"
        "#
        .into(),
    };
    let spec = RunSpec::new("w", [source], Body::from("{}"), Origin::Client(ClientId(3)));
    let (_, mut tail) = rig.engine.watch();
    let run = RunId::new(1, 0);
    let desk = named(3, 10);
    let passage = Passage { desk: desk.clone(), ..passage(3, Rounds::Relay, &Arc::default()) };
    let end = rig.engine.pass_run(run, Arc::new(spec), passage).unwrap();
    let mut texts = vec![];
    let report = loop {
        // A run that fails before its call settles has no further events.
        match &timeout(PATIENCE, tail.next()).await.unwrap().unwrap().unwrap().kind {
            EventKind::CallSettled { settled, .. } => texts.push(text_of(settled)),
            EventKind::RunSettled { report, .. } => break report.clone(),
            _ => {}
        }
    };
    assert_eq!((texts, report.outcome), (vec![answer(3)], RunOutcome::Ok), "{report:?}");
    assert_eq!(end.await, Some(report));
    rig.engine.shutdown().await;
}
