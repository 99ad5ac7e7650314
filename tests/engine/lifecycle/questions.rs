//! Questions of servers.

use super::*;

const DECLINED: &str = r#"{"action":"decline"}"#;

/// Reports progress every 50 s, then asks a form question and continues for a while, or for ever.
fn asking(progress: u32, after: Option<Duration>) -> Behaviour {
    Behaviour::new(move |request: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| async move {
        observer.sent(handler.now(), 1);
        for n in 1..=progress {
            sleep(seconds(50)).await;
            observer.progress(&step(n));
        }
        let asked = handler.ask("elicitation/create", Body::from(r#"{"message":"who?","requestedSchema":{}}"#), of_call(&request)).await;
        assert!(asked.is_ok(), "{asked:?}");
        match after {
            Some(after) => sleep(after).await,
            None => std::future::pending().await,
        }
        Ok(reply(&handler))
    })
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_stands_still_while_a_person_thinks() {
    // A call may take 60 s without a sign of life, and 600 s in all.
    for (progress, thinks, after, attempt, ends) in [
        (0, Some(300), Some(seconds(0)), None, (true, 300)),
        (0, Some(300), Some(seconds(59)), None, (true, 359)),
        (0, Some(300), None, None, (false, 360)),
        // The question is not answered.
        (0, None, None, None, (false, 660)),
        (0, Some(300), Some(seconds(10)), Some(20), (true, 310)),
        (0, Some(300), None, Some(20), (false, 320)),
        (11, Some(300), Some(seconds(49)), None, (true, 899)),
        (11, Some(300), None, None, (false, 900)),
    ] {
        let mut spec = spec("web");
        spec.policy.attempt = attempt.map(seconds);
        let rig = Rig::over(serving(asking(progress, after)).0, vec![spec]);
        until(&rig, |w| w.servers[0].phase.usable()).await;
        let person = async {
            let ask = until(&rig, |w| !w.asks.is_empty()).await.asks[0].id;
            let Some(thinks) = thinks else { return };
            sleep(seconds(thinks)).await;
            rig.command(Command::Answer { ask, answer: Answer::Decline });
        };
        let (settled, ()) = tokio::join!(echo(&rig, None), person);
        let ok = matches!(settled.outcome, Outcome::Ok { .. });
        assert_eq!((ok, settled.timings.total().as_secs()), ends, "{settled:?}");
        assert!(ok || failure_of(&settled).kind == FailureKind::Timeout);
        until(&rig, |w| w.asks.is_empty()).await;
        rig.engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fixed_answer_fills_in_forms_and_opens_no_page() {
    let fixed = Body::from(r#"{"name":"Ada"}"#);
    for (policy, asked, form) in
        [(AskPolicy::Fixed(fixed), true, r#"{"action":"accept","content":{"name":"Ada"}}"#), (AskPolicy::Decline, false, DECLINED)]
    {
        let answers = Arc::new(std::sync::Mutex::new(vec![]));
        let told = answers.clone();
        let behaviour = Behaviour::new(move |request: Request, _: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| {
            let told = told.clone();
            async move {
                for params in
                    [r#"{"message":"who?","requestedSchema":{}}"#, r#"{"mode":"url","message":"log in","url":"https://example.com"}"#]
                {
                    let answer = handler.ask("elicitation/create", Body::from(params), of_call(&request)).await.unwrap();
                    told.lock().unwrap().push(answer.text().into_owned());
                }
                Ok(reply(&handler))
            }
        });
        let rig = Rig::over(serving(behaviour).0, vec![ServerSpec { elicitation: policy, ..spec("web") }]);
        until(&rig, |w| w.servers[0].phase.usable()).await;
        let call = rig.submit("web", "echo", "{}");
        if asked {
            // What a policy answers is there for a moment only.
            let page = |w: &ConsoleState| w.asks.iter().find(|ask| matches!(&ask.question, Question::Url { .. })).map(|ask| ask.id);
            let ask = page(&until(&rig, |w| page(w).is_some()).await).unwrap();
            rig.command(Command::Answer { ask, answer: Answer::Decline });
        }
        until(&rig, |w| w.call(call).is_some_and(|c| c.settled.is_some())).await;
        assert_eq!(*answers.lock().unwrap(), [form, DECLINED]);
        rig.engine.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_answered_and_attributed() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    for (answer, words) in [
        (Answer::Accept { content: Body::from(r#"{"name":"Ada"}"#) }, "'action':'accept','content':{'name':'Ada'}"),
        (Answer::Decline, "'action':'decline'"),
        (Answer::Cancel, "'action':'cancel'"),
    ] {
        let call = rig.submit("bad", "question", "{}");
        let read_model = rig.until("the question", |w| !w.asks.is_empty()).await;
        assert_eq!((read_model.asks.len(), read_model.asks[0].call, read_model.asks[0].server.as_str()), (1, Some(call), "bad"));
        rig.command(Command::Answer { ask: read_model.asks[0].id, answer: answer.clone() });
        let settled = rig.settled(call).await;
        assert!(text_of(&settled).contains(words), "{}", text_of(&settled));
        assert!(rig.read_model().asks.is_empty());
        // A second answer comes too late, and says so.
        let late = rig.engine.command(Command::Answer { ask: read_model.asks[0].id, answer }).await;
        assert_eq!(late, Err(CommandError::QuestionClosed));
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_answer_by_themselves() {
    for (policy, words, asked) in [
        // What is always declined is not declared.
        (AskPolicy::Decline, "'code':-32601", (0, 0)),
        (AskPolicy::Fixed(Body::from(r#"{"name":"Bob"}"#)), "'content':{'name':'Bob'}", (1, 1)),
    ] {
        let mut spec = bad("plain");
        spec.elicitation = policy;
        let rig = Rig::start(vec![spec]);
        rig.ready("bad").await;
        let mut seen = (0, 0);
        let (_, settled) = rig
            .call_seeing("bad", "question", "{}", |event| match &event.kind {
                EventKind::AskOpened { .. } => seen.0 += 1,
                EventKind::AskClosed { how, .. } if how.to_string().contains("policy") => seen.1 += 1,
                _ => {}
            })
            .await;
        assert!(text_of(&settled).contains(words), "{}", text_of(&settled));
        assert_eq!(seen, asked, "what was answered for the user is shown");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_questions_is_bounded_and_goes_with_its_call() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let (mut read_model, mut tail) = rig.engine.watch();
    let call = rig.submit("bad", "question_flood", "{}");
    let mut most = 0;
    while read_model.call(call).is_none_or(|c| c.settled.is_none()) {
        match tail.next().await {
            Ok(event) => Arc::make_mut(&mut read_model).apply(&event.unwrap()),
            Err(Lagged { .. }) => (read_model, tail) = rig.engine.watch(),
        }
        most = most.max(read_model.asks.len());
    }
    assert!(most <= 100, "{most} concurrent questions");
    // Of the thousand that came before the answer. A watcher that falls behind may see none of the others; they were opened.
    let refused = read_model.servers[0].anomaly_counts[&AnomalyKind::Flood];
    assert!((900..1000).contains(&refused), "{refused} refused");
    rig.until("the rest withdrawn", |w| w.asks.is_empty()).await;
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_goes_when_its_call_ends() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let call = rig.submit("bad", "question", "{}");
    rig.until("the question", |w| !w.asks.is_empty()).await;
    rig.command(Command::Cancel { call, reason: "enough".into() });
    assert!(matches!(rig.settled(call).await.outcome, Outcome::Cancelled { .. }));
    rig.until("the question withdrawn", |w| w.asks.is_empty()).await;
    // The server gets a response, so that it does not wait for ever.
    rig.until("the answer", |w| w.frames.iter().any(|f| f.direction == Direction::Out && f.body.text().contains("\"action\":\"cancel\"")))
        .await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_can_take_its_question_back() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let call = rig.submit("bad", "question_withdrawn", "{}");
    rig.until("the question", |w| !w.asks.is_empty()).await;
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    assert_eq!(text_of(&*rig.settled(call).await), "never mind");
    let read_model = rig.until("the question gone", |w| w.asks.is_empty()).await;
    let answers = read_model.frames.iter().filter(|f| f.direction == Direction::Out && f.kind == FrameKind::Response).count();
    assert_eq!(answers, 0, "what was taken back is not answered");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_go_with_their_connection() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let call = rig.submit("bad", "question", "{}");
    rig.until("the question", |w| !w.asks.is_empty()).await;
    rig.command(Command::Restart { server: "bad".into() });
    rig.until("the question gone", |w| w.asks.is_empty()).await;
    // The server may still answer at the end of its input.
    rig.settled(call).await;
    rig.stop().await;
}
