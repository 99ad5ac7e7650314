//! Tasks of both eras.

use super::*;

fn task(asked: &Asked) -> Option<Answer> {
    let task = json!({"resultType": "task", "taskId": "tä sk", "status": "working", "ttlMs": 60000, "pollIntervalMs": 1});
    Some(json_page(asked.result(task)))
}

/// Starts a modern server whose tool `bad` becomes a task, and whose task has these states, one after the other.
async fn with_task(states: Vec<Value>) -> (Server, Rig) {
    let polls = Arc::new(AtomicUsize::new(0));
    let server = Server::start(move |asked| match (asked.method(), asked.tool()) {
        (_, "bad") => task(asked),
        ("tasks/get", _) => {
            let state = &states[polls.fetch_add(1, Ordering::SeqCst).min(states.len() - 1)];
            let mut result = json!({"resultType": "complete", "taskId": "tä sk", "ttlMs": 60000, "pollIntervalMs": 1});
            result.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
            Some(json_page(asked.result(result)))
        }
        ("tasks/update" | "tasks/cancel", _) => Some(json_page(asked.result(json!({"resultType": "complete"})))),
        _ => modern(asked),
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    (server, rig)
}

#[tokio::test(flavor = "multi_thread")]
async fn v04_a_task_is_declared_and_polled_to_its_result() {
    let question = json!({"who": {"method": "roots/list"}});
    let (server, rig) = with_task(vec![
        json!({"status": "working"}),
        json!({"status": "input_required", "inputRequests": question}),
        json!({"status": "input_required", "inputRequests": question}),
        json!({"status": "completed", "result": {"content": [{"type": "text", "text": "done"}]}}),
    ])
    .await;
    let (_, settled) = rig.call("web", "bad", "{}").await;
    assert_eq!(text_of(&settled), "done");
    let log = server.log();
    let of = |method: &str| log.requests.iter().filter(|asked| asked.method() == method).collect::<Vec<_>>();
    let call = of("tools/call")[0];
    let declared = &call.rpc["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"];
    assert_eq!(declared["io.modelcontextprotocol/tasks"], json!({}));
    assert!(call.rpc["params"].get("task").is_none(), "the server decides");
    assert_eq!((of("tasks/get").len(), of("tasks/cancel").len()), (4, 0));
    for asked in of("tasks/get").into_iter().chain(of("tasks/update")) {
        assert_eq!(asked.rpc["params"]["taskId"], "tä sk");
        assert_eq!(asked.header("mcp-name"), Some("=?base64?dMOkIHNr?="));
    }
    let updates = of("tasks/update");
    assert_eq!(updates.len(), 1, "a question is answered once");
    assert_eq!(updates[0].rpc["params"]["inputResponses"], json!({"who": {"roots": []}}));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v04_a_task_that_does_not_complete_is_a_failure() {
    for (state, words) in [
        (json!({"status": "failed", "error": {"code": -32000, "message": "out of disk"}}), "out of disk"),
        (json!({"status": "failed", "statusMessage": "no reason"}), "no reason"),
        (json!({"status": "cancelled"}), "cancelled"),
        (json!({"status": "completed"}), "no result"),
        (json!({"status": "vendor"}), "vendor"),
        (json!({}), "no state"),
    ] {
        let (_server, rig) = with_task(vec![state.clone()]).await;
        let (_, settled) = rig.call("web", "bad", "{}").await;
        let failure = failure_of(&settled);
        assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Protocol, true), "{state}: {failure:?}");
        assert!(failure.message.contains(words), "{state}: {failure:?}");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v04_a_cancelled_call_cancels_its_task() {
    let (server, rig) = with_task(vec![json!({"status": "working"})]).await;
    let call = rig.submit("web", "bad", "{}");
    server.saw("a poll", |log| log.requests.iter().any(|asked| asked.method() == "tasks/get")).await;
    rig.command(Command::Cancel { call, reason: "enough".into() });
    assert!(matches!(rig.settled(call).await.outcome, Outcome::Cancelled { .. }));
    server.saw("the cancellation", |log| log.requests.iter().any(|asked| asked.method() == "tasks/cancel")).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v04_a_task_without_an_id_or_for_another_method_is_refused() {
    let server = Server::start(|asked| match (asked.method(), asked.tool()) {
        (_, "bad") => Some(json_page(asked.result(json!({"resultType": "task", "status": "working", "content": []})))),
        ("resources/read", _) => task(asked),
        _ => modern(asked),
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    let read = switchboard::domain::call::CallSpec {
        operation: switchboard::domain::call::Operation::Resource { server: "web".into(), uri: "x://a".into() },
        ..switchboard::domain::call::CallSpec::tool(
            switchboard::domain::id::ToolId::new("web".into(), "bad"),
            "{}",
            switchboard::domain::call::Origin::Cli,
        )
    };
    for settled in [rig.call("web", "bad", "{}").await.1, rig.run(read, |_| {}).await.1] {
        let failure = failure_of(&settled);
        assert!(failure.kind == FailureKind::Protocol && failure.message.contains("task"), "{failure:?}");
    }
    assert_eq!(server.count("tasks/get"), 0);
    rig.stop().await;
}

/// A legacy server whose tool `bad` must be called as a task.
fn task_only(asked: &Asked, capabilities: &Value) -> Option<Answer> {
    match asked.method() {
        "initialize" => Some(json_page(asked.result(json!({"protocolVersion": "2025-11-25", "capabilities": capabilities})))),
        "tools/list" => {
            let tool = json!({"name": "bad", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}});
            Some(json_page(asked.result(json!({"tools": [tool]}))))
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v16_a_task_is_asked_for_only_where_the_server_declares_tasks() {
    for (capabilities, asks) in [
        (json!({"tools": {}}), false),
        (json!({"tools": {}, "tasks": {"list": {}, "cancel": {}}}), false),
        (json!({"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}}), true),
    ] {
        let declared = capabilities.clone();
        let server = Server::start(move |asked| task_only(asked, &declared)).await;
        let rig = ready(http("web", &server.url())).await;
        assert_eq!(text_of(&rig.call("web", "bad", "{}").await.1), "hello");
        let log = server.log();
        let call = log.requests.iter().find(|asked| asked.tool() == "bad").unwrap();
        assert_eq!(call.rpc["params"].get("task").is_some(), asks, "{capabilities}");
        rig.stop().await;
    }
    // The modern era has tasks of another kind.
    let server = Server::start(|asked| match asked.method() {
        "tools/list" => task_only(asked, &json!({})),
        _ => modern(asked),
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    rig.call("web", "bad", "{}").await;
    assert!(server.log().requests.iter().all(|asked| asked.rpc["params"].get("task").is_none()));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v17_progress_with_the_token_of_the_call_is_shown_while_its_task_runs() {
    let token = Arc::new(Mutex::new(Value::Null));
    let of_call = token.clone();
    let server = Server::start(move |asked| match (asked.method(), asked.tool()) {
        (_, "bad") => {
            *of_call.lock().unwrap() = asked.rpc["params"]["_meta"]["progressToken"].clone();
            Some(json_page(asked.result(json!({"task": {"taskId": "t1", "status": "working", "pollInterval": 60000}}))))
        }
        ("tasks/result", _) => {
            let params = json!({"progressToken": *of_call.lock().unwrap(), "progress": 7, "message": "with the token of the call"});
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
            Some(vec![stream(event(None, &progress.to_string()) + &event(None, &asked.text("done"))), Step::Close])
        }
        _ => task_only(asked, &json!({"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}})),
    })
    .await;
    let rig = ready(http("web", &server.url())).await;
    let mut seen = vec![];
    let (_, settled) = rig
        .call_seeing("web", "bad", "{}", |event| {
            if let switchboard::domain::event::EventKind::CallProgress { progress, .. } = &event.kind {
                seen.push(progress.message.clone());
            }
        })
        .await;
    assert_eq!((text_of(&settled).as_str(), seen), ("done", vec![Some("with the token of the call".to_owned())]));
    rig.stop().await;
}
