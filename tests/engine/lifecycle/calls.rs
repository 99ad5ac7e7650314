//! Calls: many concurrent ones, unsent ones, secrets.

use super::*;

/// Tools whose calls end without the user, and some that end their server.
const ANYTHING: &[&str] = &[
    "echo",
    "hang",
    "noise",
    "crlf",
    "string_id",
    "duplicate",
    "bad_utf8",
    "surrogate",
    "nan",
    "pretty",
    "batch",
    "wrong_id",
    "rpc_error",
    "tool_error",
    "progress",
    "no_result",
    "question",
    "no_such_tool",
    "late",
    "exit",
    "partial_exit",
    "killed",
];

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_calls_of_every_kind_end_once_each() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let servers: Vec<String> = (0..4).map(|n| format!("s{n}")).collect();
    let specs = servers.iter().map(|id| ServerSpec { elicitation: AskPolicy::Decline, ..named(id, &["plain"]) }).collect();
    let rig = Rig::start(specs);
    let watcher = {
        let engine = rig.engine.clone();
        let (_, mut tail) = engine.watch();
        tokio::spawn(async move {
            let mut ends: HashMap<CallId, usize> = HashMap::new();
            let mut told = Vec::new();
            while ends.len() < 500 {
                let event = tail.next().await.expect("the watcher keeps up").unwrap();
                match &event.kind {
                    EventKind::CallSettled { call, .. } => *ends.entry(*call).or_default() += 1,
                    EventKind::CallSent { call, .. } | EventKind::CallProgress { call, .. } if ends.contains_key(call) => told.push(*call),
                    EventKind::CallQueued { call, .. } => assert!(!ends.contains_key(call)),
                    _ => {}
                }
            }
            (ends, told)
        })
    };
    let mut calls = Vec::new();
    for _ in 0..500 {
        let tool = ToolId::new(ServerId::from(random.choice(&servers).unwrap().as_str()), *random.choice(ANYTHING).unwrap());
        let limit = Duration::from_millis(random.u64(50..1500));
        calls.push(rig.start_call(CallSpec { timeout: Some(limit), ..CallSpec::tool(tool, Body::from("{}"), Origin::Cli) }));
        if random.u8(..) < 30 {
            rig.command(Command::Cancel { call: *random.choice(&calls).unwrap(), reason: "at random".into() });
        }
        if random.u8(..) < 60 {
            tokio::task::yield_now().await;
        }
    }
    let (ends, told) = tokio::time::timeout(crate::support::PATIENCE, watcher).await.unwrap_or_else(|_| panic!("seed {seed}")).unwrap();
    assert_eq!(told, [], "seed {seed}: nothing follows the end");
    let read_model = rig.read_model();
    for call in &calls {
        assert_eq!(ends.get(call), Some(&1), "seed {seed}: {:?}", read_model.call(*call));
        let of_call: Vec<_> = read_model.frames_of(*call).filter(|f| matches!(f.kind, FrameKind::Request | FrameKind::Response)).collect();
        let (first, sent) = (of_call.first(), read_model.call(*call).unwrap().sent.is_some());
        assert!(first.is_none_or(|f| (f.kind, f.direction) == (FrameKind::Request, Direction::Out)), "seed {seed}: {of_call:?}");
        assert_eq!(first.is_some(), sent, "seed {seed}: what is said to be sent was sent: {:?}", read_model.call(*call));
        assert!(of_call.windows(2).all(|pair| pair[0].seq < pair[1].seq && pair[0].at <= pair[1].at), "seed {seed}: {of_call:?}");
    }
    assert_eq!((read_model.running, read_model.settled_total), (0, 500), "seed {seed}");
    assert!(read_model.servers.iter().all(|s| s.stats.in_flight == 0));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_in_time_is_never_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wake");
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let nap = rig.submit("bad", "nap", &serde_json::json!({"until": file}).to_string());
    rig.until("the nap", |w| w.call(nap).is_some_and(|c| c.sent.is_some())).await;
    // More than a pipe takes: the second is stuck half-way, and what comes behind it stays in our queue.
    let filling: Vec<CallId> = (0..4).map(|_| rig.submit("bad", "echo", &format!(r#"{{"x":"{}"}}"#, "x".repeat(50_000)))).collect();
    rig.until("the second under way", |w| filling.iter().filter(|id| w.call(**id).is_some_and(|c| c.sent.is_some())).count() == 2).await;
    let settled = rig.call_within("bad", "echo", Duration::from_millis(300)).await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Timeout, false), "{failure:?}");
    let unsent = rig.read_model().calls.back().unwrap().id;
    std::fs::write(&file, "").unwrap();
    for call in filling.iter().chain([&nap]) {
        assert!(matches!(rig.settled(*call).await.outcome, Outcome::Ok { .. }));
    }
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    assert_eq!(rig.read_model().frames_of(unsent).count(), 0, "neither the request nor its cancellation");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_and_variables_that_are_secret_are_shown_nowhere() {
    let Transport::Stdio { command, .. } = bad("plain").launch else { unreachable!() };
    let secret = |value: &str| Secret::new(value, "${TOKEN}");
    let mut spec = bad("plain");
    spec.launch = Transport::Stdio {
        command,
        args: vec![Secret::literal("exit_at_start"), secret("canary-argument")],
        env: vec![("API_TOKEN".into(), Secret::literal("canary-variable"))],
        inherit_env: false,
        cwd: None,
    };
    let rig = Rig::start(vec![]);
    let (_, mut tail) = rig.engine.watch();
    rig.engine.apply(vec![spec]);
    let read_model = rig.until("the failure", |w| w.servers.first().is_some_and(|s| s.phase.failure().is_some())).await;
    assert!(!format!("{read_model:?}").contains("canary-"));
    while let Ok(Some(event)) = tail.try_next() {
        let text = serde_json::to_string(&*event).unwrap();
        assert!(!text.contains("canary-"), "{text}");
    }
    rig.stop().await;
}
