//! Streams that break off, and are taken up again.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_event_stream_without_ids_is_an_interruption() {
    let bench = Bench::start(|_| {}).await;
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "working"}}).to_string();
    let cases: Vec<(&str, Answer, &str)> = vec![
        ("ended", vec![stream(""), Step::Close], "ended before the answer"),
        ("ended after a message", vec![stream(event(None, &progress)), Step::Close], "ended before the answer"),
        ("cut within an event", vec![stream("data: {\"jsonrpc\":"), Step::Close], "within an event"),
        ("reset within an event", vec![stream("data: {\"jsonrpc\":"), Step::Reset], "broke"),
        ("an answer without its end", vec![stream("data: {}\n"), Step::Close], "within an event"),
    ];
    for (what, answer, word) in cases {
        let failure = bench.fails(what, move |_| answer.clone()).await;
        assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Transport, true), "{what}: {failure:?}");
        assert!(failure.message.contains(word), "{what}: {failure:?}");
    }
    let odd = "retry: soon\n: comment\nunknown: x\ndata: not json\n\ndata\n\n";
    let (_, settled) = bench.call(move |asked| vec![stream(format!("{odd}{}", event(None, &asked.text("at last")))), Step::Close]).await;
    assert_eq!(text_of(&settled), "at last", "what is odd on the way is only counted");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_event_stream_with_ids_is_resumed_when_the_server_says() {
    let question = Arc::new(Mutex::new(None::<String>));
    let asked_for = question.clone();
    let server = Server::start(move |asked| match (asked.verb.as_str(), asked.header("last-event-id")) {
        ("GET", Some("e-1")) => Some(vec![stream("id: e-2\nretry: 1\ndata: \n\ndata: {\"jso"), Step::Close]),
        ("GET", Some("e-2")) => Some(vec![stream(event(Some("e-3"), &asked_for.lock().unwrap().clone().unwrap())), Step::Close]),
        ("POST", _) if asked.tool() == "bad" => {
            *asked_for.lock().unwrap() = Some(asked.text("resumed"));
            Some(vec![stream("id: e-1\nretry: 700\ndata: \n\ndata: {\"jsonrpc\":\"2."), Step::Close])
        }
        _ => None,
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let (call, settled) = rig.call("web", "bad", "{}").await;
    assert_eq!(text_of(&settled), "resumed");
    let log = server.log();
    let first = log.requests.iter().find(|r| r.tool() == "bad").unwrap();
    let resumes: Vec<_> = log.requests.iter().filter(|r| r.header("last-event-id").is_some()).collect();
    assert_eq!(resumes.len(), 2);
    assert!(resumes[0].at - first.at >= Duration::from_millis(690), "not before the time that the server asked for");
    for resume in resumes {
        assert_eq!((resume.header("accept"), resume.header("mcp-session-id")), (Some("text/event-stream"), Some("session-1")));
    }
    assert_eq!(server.calls_of("bad"), 1, "a call is never sent again");
    assert!(rig.read_model().frames_of(call).any(|f| f.http.as_ref().is_some_and(|h| h.event_id.as_deref() == Some("e-3"))));
    rig.stop().await;
}

/// An id that a header cannot hold, or that is over its limit, is never sent back.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_an_event_id_that_cannot_be_sent_back_is_not_resumed() {
    let bench = Bench::start(|_| {}).await;
    for (id, word) in [("a\u{1}b".to_owned(), "control characters"), ("i".repeat(2 << 20), "an id of")] {
        let before = bench.rig.server("web").anomaly_counts.get(&AnomalyKind::Oversize).copied().unwrap_or(0);
        let failure = bench.fails(word, move |_| vec![stream(format!("id: {id}\nretry: 1\ndata: \n\n")), Step::Close]).await;
        assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Transport, true), "{word}: {failure:?}");
        let counted = bench.rig.server("web").anomaly_counts.get(&AnomalyKind::Oversize).copied().unwrap_or(0);
        // Reported for the first of them only.
        assert_eq!(counted - before, u64::from(before == 0), "{word}");
    }
    assert!(bench.server.log().requests.iter().all(|asked| asked.header("last-event-id").is_none()));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resuming_has_an_end() {
    let answers_get = Arc::new(AtomicBool::new(true));
    let open = answers_get.clone();
    let server = Server::start(move |asked| {
        let cut = || vec![stream("id: e-1\nretry: 1\ndata: \n\n"), Step::Close];
        match asked.verb.as_str() {
            "GET" if asked.header("last-event-id").is_some() && open.load(Ordering::SeqCst) => Some(cut()),
            "POST" if asked.tool() == "bad" => Some(cut()),
            _ => None,
        }
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let (_, settled) = rig.call("web", "bad", "{}").await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Transport, true), "{failure:?}");
    let resumes = server.log().requests.iter().filter(|r| r.header("last-event-id").is_some()).count();
    assert_eq!(resumes, 5);
    answers_get.store(false, Ordering::SeqCst);
    let (_, settled) = rig.call("web", "bad", "{}").await;
    assert!(failure_of(&settled).message.contains("405"), "{settled:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_brings_something_each_time_is_resumed_as_often_as_it_takes() {
    const POLLS: usize = 12;
    let (polls, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
    let (count, kept) = (polls.clone(), answer.clone());
    let server = Server::start(move |asked| {
        if asked.tool() == "bad" {
            *kept.lock().unwrap() = asked.text("at last");
            return Some(vec![stream("id: e-0\nretry: 1\ndata: \n\n"), Step::Close]);
        }
        asked.header("last-event-id")?;
        // A new id, or a message without one: both are progress.
        let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}).to_string();
        let text = match count.fetch_add(1, Ordering::SeqCst) + 1 {
            POLLS => event(None, &kept.lock().unwrap()),
            n if n % 2 == 0 => event(None, &note),
            n => format!("id: e-{n}\ndata: \n\n"),
        };
        Some(vec![stream(text), Step::Close])
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    assert_eq!(text_of(&rig.call("web", "bad", "{}").await.1), "at last");
    assert_eq!(polls.load(Ordering::SeqCst), POLLS);
    let log = server.log();
    let last = log.requests.iter().rfind(|r| r.header("last-event-id").is_some()).unwrap();
    assert_eq!(last.header("last-event-id"), Some("e-11"), "retained over streams without an id");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_stream_is_asked_for_where_it_moved_and_when_there_is_time() {
    let asked_before = AtomicUsize::new(0);
    let changed = event(None, &json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}).to_string());
    let server = Server::start(move |asked| match (asked.verb.as_str(), asked.path.as_str()) {
        ("GET" | "DELETE", "/mcp") => Some(page("307 Temporary Redirect", &[("Location", "/moved")], "")),
        ("GET", _) => Some(match asked_before.fetch_add(1, Ordering::SeqCst) {
            0 => page("429 Too Many Requests", &[("Retry-After", "0")], ""),
            1 => page("408 Request Timeout", &[], ""),
            2 => vec![stream(&changed), Step::Close],
            _ => page("405 Method Not Allowed", &[], ""),
        }),
        _ => None,
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    rig.until("the lists read again", |w| w.servers[0].catalog.revision >= 2).await;
    server.saw("the last try", |log| log.requests.iter().filter(|r| r.verb == "GET" && r.path == "/moved").count() == 4).await;
    rig.stop().await;
    let log = server.log();
    let last = log.requests.last().unwrap();
    assert_eq!((last.verb.as_str(), last.path.as_str(), last.header("mcp-session-id")), ("DELETE", "/moved", Some("session-1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_again_after_a_gap_between_subscriptions() {
    let listened = AtomicUsize::new(0);
    let server = Server::start(move |asked| match asked.method() {
        "subscriptions/listen" if listened.fetch_add(1, Ordering::SeqCst) == 0 => Some(vec![stream(""), Step::Close]),
        _ => modern(asked),
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    rig.until("the lists read again", |w| w.servers[0].catalog.revision >= 2).await;
    assert_eq!(server.count("subscriptions/listen"), 2);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_the_servers_own_stream_for_a_limited_time() {
    let busy = Duration::from_millis(50);
    let server = Server::start(move |asked| (asked.verb == "GET").then(|| vec![Step::Work(busy), stream(""), Step::Hold])).await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let (_, settled) = rig.call("web", "echo", "{}").await;
    assert!(matches!(settled.outcome, Outcome::Ok { .. }), "{:?}", settled.outcome);
    let log = server.log();
    let at = |what: &dyn Fn(&Asked) -> bool| log.requests.iter().find(|asked| what(asked)).unwrap().at;
    let call = at(&|asked| asked.method() == "tools/call");
    let (opened, asked) = (at(&|asked| asked.method() == "notifications/initialized"), at(&|asked| asked.verb == "GET"));
    assert!(call - asked >= busy || call - opened >= Duration::from_millis(450), "{:?} {:?}", call - asked, call - opened);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_stream_brings_questions_and_changes() {
    let gate = Arc::new(Semaphore::new(0));
    let (through, streams) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let question = json!({"jsonrpc": "2.0", "id": "q-1", "method": "elicitation/create", "params": {
        "message": "Who?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}});
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    let (question, changed) = (event(Some("s-1"), &question.to_string()), event(Some("s-2"), &changed.to_string()));
    let server = Server::start(move |asked| {
        let gated = |text: &str| vec![Step::Limiter(through.clone()), send(text)];
        (asked.verb == "GET").then(|| match streams.fetch_add(1, Ordering::SeqCst) {
            0 => [vec![stream("retry: 1\n\n")], gated(&question), gated(&changed), vec![Step::Close]].concat(),
            _ => vec![stream(""), Step::Hold],
        })
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let log = server.saw("the stream", |log| log.requests.iter().any(|r| r.verb == "GET")).await;
    let get = log.requests.iter().find(|r| r.verb == "GET").unwrap();
    assert_eq!((get.header("accept"), get.header("mcp-session-id")), (Some("text/event-stream"), Some("session-1")));

    gate.add_permits(1);
    let read_model = rig.until("the question", |w| !w.asks.is_empty()).await;
    rig.command(Command::Answer { ask: read_model.asks[0].id, answer: Reply::Accept { content: Body::from(r#"{"name":"Ada"}"#) } });
    let log = server.saw("the answer", |log| log.requests.iter().any(|r| r.id() == "q-1")).await;
    let answer = log.requests.iter().find(|r| r.id() == "q-1").unwrap();
    assert_eq!(answer.rpc["result"], json!({"action": "accept", "content": {"name": "Ada"}}));
    assert_eq!(answer.header("mcp-session-id"), Some("session-1"));

    gate.add_permits(1);
    rig.until("the lists read again", |w| w.servers[0].catalog.revision >= 2).await;
    let log = server.saw("the stream again", |log| log.requests.iter().filter(|r| r.verb == "GET").count() == 2).await;
    assert_eq!(log.requests.iter().rfind(|r| r.verb == "GET").unwrap().header("last-event-id"), Some("s-2"));
    rig.stop().await;
}
