//! Calls of clients: what a passage brings to the server, and what it brings back.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use switchboard::{
    cache::Memory,
    control::Control,
    domain::{
        ask::AskEnd,
        body::Body,
        call::{CallSpec, FailureKind, InterimKind, Origin, Outcome, RpcError},
        client::{Face, Principal},
        event::{EventKind, LogLevel, Settled},
        id::{Attribution, ClientId, ToolId},
        policy::{CacheMode, Hedge},
        server::ServerSpec,
    },
    engine::{
        passage::{Desk, Passage, Rounds},
        ports::{ClientHandler, ProgressRequest, Reply, Request, RequestObserver},
    },
};
use tokio::sync::Semaphore;

use crate::{
    fake::{Behaviour, Fake, Plan, reply, spec},
    support::{Rig, failure_of},
};

const ELICITS: &str = r#"{"elicitation":{"form":{}},"vendor/x":1.50}"#;
const ASKS: &str = r#"{"resultType":"input_required","vendor/n":1.00,"inputRequests":{"k":{"method":"elicitation/create","params":{"message":"who?","requestedSchema":{"n":1.50}}}},"requestState":"a\u2028b"}"#;

/// A desk that records what it gets and gives one answer.
#[derive(Default)]
struct Recorder {
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
    let requests = requests.lock().unwrap();
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
async fn cached_responses_of_one_principal_never_reach_another() {
    let (behaviour, requests) = recording(|_| r#"{"content":[]}"#);
    let mut spec = spec("web");
    (spec.policy.cache.mode, spec.policy.cache.ttl) = (CacheMode::Always, Duration::from_secs(60));
    let rig = rig(behaviour, spec);
    rig.engine.set_store(Some(Arc::new(Memory::new(1 << 20))));
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
