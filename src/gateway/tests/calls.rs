//! Calls: results and errors byte by byte, progress, cancellation, and requests of servers.

use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::json;
use tokio::sync::Notify;

use super::super::test_support::{FakeUpstream, PipeClient, arguments, ok, ready, with_tools};
use crate::domain::{
    body::Body,
    call::{ArgumentCheck, Failure, FailureKind, Operation, Origin, Outcome, RpcError},
    id::ClientId,
};

#[tokio::test]
async fn arguments_results_and_errors_pass_byte_by_byte() {
    const RESULT: &str = r#"{"content":[],"isError":true,"n":12345678901234567890123,"f":1.50,"s":"\ud800","dup":1,"dup":2}"#;
    let upstream = FakeUpstream::new(vec![with_tools("a", &["t", "e"]), with_tools("b", &[])], |spec, passage| {
        assert_eq!((spec.origin, spec.check), (Origin::Client(ClientId(1)), ArgumentCheck::Skipped));
        assert_eq!(passage.extra.text(), r#"{"vendor":{"z":1.0}}"#);
        let outcome = match spec.operation.subject() {
            "t" => {
                assert_eq!(arguments(&spec).text(), r#"{"b": 1.50,"a":12345678901234567890123}"#);
                Outcome::ToolError { result: Body::from(RESULT) }
            }
            _ => {
                let rpc = RpcError { code: -32042, message: "open \"it\"".into(), data: Some(Body::from(r#"{"n":1.0}"#)) };
                Outcome::Failed { failure: Arc::new(Failure { rpc: Some(rpc), ..Failure::after_send(FailureKind::Protocol, "x") }) }
            }
        };
        async move { outcome }.boxed()
    });
    let mut client = PipeClient::of(&upstream);
    client.initialize(json!({})).await;
    let call = |id: &str, name: &str| {
        let params = format!(r#"{{"name":"{name}","arguments":{{"b": 1.50,"a":12345678901234567890123}},"vendor":{{"z":1.0}}}}"#);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#)
    };
    client.send(&call("\"1\"", "a_t")).await;
    assert_eq!(client.line().await, format!(r#"{{"jsonrpc":"2.0","id":"1","result":{RESULT}}}"#));
    client.send(&call("1.0", "a_e")).await;
    let error = r#"{"code":-32042,"message":"open \"it\"","data":{"n":1.0}}"#;
    assert_eq!(client.line().await, format!(r#"{{"jsonrpc":"2.0","id":1.0,"error":{error}}}"#));
}

#[tokio::test]
async fn an_unknown_tool_says_what_is_similar_and_an_unavailable_server_its_state() {
    let upstream = FakeUpstream::new(vec![with_tools("db", &["query"]), with_tools("b", &[])], |_, _| {
        let failure = Arc::new(Failure::after_send(FailureKind::Timeout, "no answer from http://canary"));
        async move { Outcome::Failed { failure } }.boxed()
    });
    let mut client = PipeClient::of(&upstream);
    client.initialize(json!({})).await;
    let error = client.ask("tools/call", json!({"name": "db_qery"})).await["error"].clone();
    assert_eq!(error, json!({"code": -32602, "message": "unknown tool \"db_qery\"; similar: db_query"}));
    let error = client.ask("tools/call", json!({"name": "db_query"})).await["error"].clone();
    assert_eq!(error["data"]["switchboard"]["class"], "timeout");
    assert_eq!(error["data"]["switchboard"]["may_have_run"], true);
    assert!(!error.to_string().contains("canary"), "{error}");
    assert_eq!(client.ask("tools/call", json!({"name": 7})).await["error"]["code"], -32602);
    assert_eq!(client.ask("tools/call", json!([])).await["error"]["code"], -32602);
}

#[tokio::test]
async fn trap_14_progress_has_the_token_of_the_client_increases_and_never_follows_the_answer() {
    let (finish, late) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (finished, was_late) = (finish.clone(), late.clone());
    let upstream = FakeUpstream::new(vec![with_tools("a", &["t"]), with_tools("b", &[])], move |_, passage| {
        let (finish, late) = (finished.clone(), was_late.clone());
        async move {
            for (progress, vendor) in [("1", "1.0"), ("0.5", "2"), ("1", "3"), ("2.5", "1e400")] {
                let params = format!(r#"{{"progressToken":99,"progress":{progress},"message":"m","vendor":{vendor}}}"#);
                passage.desk.progress(&Body::from(params));
            }
            finish.notified().await;
            tokio::spawn(async move {
                late.notified().await;
                passage.desk.progress(&Body::from(r#"{"progressToken":99,"progress":9}"#));
                late.notify_one();
            });
            ok("{}")
        }
        .boxed()
    });
    let mut client = PipeClient::of(&upstream);
    client.initialize(json!({})).await;
    client.send(r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"a_t","_meta":{"progressToken":"p\u0041"}}}"#).await;
    let expected = |progress: &str, vendor: &str| {
        let params = format!(r#"{{"progressToken":"p\u0041","progress":{progress},"message":"m","vendor":{vendor}}}"#);
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#)
    };
    assert_eq!(client.line().await, expected("1", "1.0"));
    assert_eq!(client.line().await, expected("2.5", "1e400"));
    finish.notify_one();
    assert_eq!(client.line().await, r#"{"jsonrpc":"2.0","id":5,"result":{}}"#);
    late.notify_one();
    late.notified().await;
    assert_eq!(client.ask("ping", json!({})).await["result"], json!({}));
    // A client without a token gets no progress.
    finish.notify_one();
    client.ask("tools/call", json!({"name": "a_t"})).await;
    assert!(client.passed.is_empty(), "{:?}", client.passed);
}

#[tokio::test]
async fn a_cancelled_request_cancels_its_call_and_no_other_and_gets_no_response() {
    let begun = Arc::new(Notify::new());
    let started = begun.clone();
    let upstream = FakeUpstream::new(vec![with_tools("a", &["t"]), with_tools("b", &[])], move |_, _| {
        started.notify_one();
        std::future::pending().boxed()
    });
    let mut client = PipeClient::of(&upstream);
    client.initialize(json!({})).await;
    for id in ["1", "\"1\""] {
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"a_t"}}}}"#)).await;
        begun.notified().await;
    }
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"1"}}"#).await;
    // The second request with an open id is refused; the first continues.
    client.send(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
    let refused = client.message("error").await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(1), &json!(-32600)));
    assert_eq!(upstream.logged(1).await, ["cancel 2"]);
    client.end().await;
    (&mut client.served).await.unwrap();
    assert_eq!(upstream.log(), ["cancel 2", "cancel 1"]);
}

#[tokio::test]
async fn requests_of_a_server_reach_the_client_whose_call_caused_them_and_their_answers_return() {
    let upstream = FakeUpstream::new(vec![with_tools("a", &["t"]), with_tools("b", &[])], |_, passage| {
        async move {
            let asked = passage.desk.ask("elicitation/create", Body::from(r#"{"message":"m","n":1.0}"#)).await;
            match asked {
                Ok(answer) => ok(format!(r#"{{"answer":{}}}"#, answer.text())),
                Err(error) => Outcome::Failed {
                    failure: Arc::new(Failure { rpc: Some(error), ..Failure::after_send(FailureKind::Protocol, "declined") }),
                },
            }
        }
        .boxed()
    });
    let (mut one, mut two) = {
        let gateway = super::super::Gateway::new(upstream, super::super::Settings::default());
        (PipeClient::connect(&gateway), PipeClient::connect(&gateway))
    };
    for client in [&mut one, &mut two] {
        client.initialize(json!({"elicitation": {}})).await;
        client.send(r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"a_t"}}"#).await;
    }
    for (client, answer) in [(&mut one, "1.50"), (&mut two, "2.50")] {
        let line = client.line().await;
        assert!(line.ends_with(r#""method":"elicitation/create","params":{"message":"m","n":1.0}}"#), "{line}");
        let asked: serde_json::Value = serde_json::from_str(&line).unwrap();
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept","n":{answer}}}}}"#, asked["id"])).await;
        assert_eq!(client.line().await, format!(r#"{{"jsonrpc":"2.0","id":9,"result":{{"answer":{{"action":"accept","n":{answer}}}}}}}"#));
    }
    one.send(r#"{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{"name":"a_t"}}"#).await;
    let asked = one.message("method").await;
    one.send(&format!(r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-1,"message":"no","data":[1.0]}}}}"#, asked["id"])).await;
    assert_eq!(one.line().await, r#"{"jsonrpc":"2.0","id":10,"error":{"code":-1,"message":"no","data":[1.0]}}"#);
}

#[tokio::test]
async fn a_request_of_a_server_ends_with_the_call_that_caused_it() {
    let upstream = FakeUpstream::new(vec![with_tools("a", &["t"]), with_tools("b", &[])], |_, passage| {
        async move {
            let _ = passage.desk.ask("sampling/createMessage", Body::from("{}")).now_or_never();
            ok("{}")
        }
        .boxed()
    });
    let mut client = PipeClient::of(&upstream);
    client.initialize(json!({"sampling": {}})).await;
    client.send(r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"a_t"}}"#).await;
    // The request may be withdrawn before it is written; then the client sees neither it nor its cancellation.
    let response = client.message("result").await;
    assert_eq!(response["id"], 9);
    let asked = client.passed.iter().any(|message| message["method"] == "sampling/createMessage");
    let withdrawn = client.passed.iter().any(|message| message["method"] == "notifications/cancelled");
    if asked && !withdrawn {
        client.passed.clear();
        assert_eq!(client.message("method").await["method"], "notifications/cancelled");
    }
}

#[tokio::test]
async fn resources_prompts_and_completions_reach_their_owners_under_their_own_names() {
    let lists = json!({"resources": [{"uri": "file:///x", "name": "x"}], "prompts": [{"name": "p"}]});
    let capabilities = r#"{"resources":{},"prompts":{},"completions":{}}"#;
    let upstream = FakeUpstream::new(vec![ready("a", capabilities, lists.clone()), ready("b", capabilities, lists)], |spec, _| {
        let seen = match &spec.operation {
            Operation::Resource { server, uri } => format!(r#"{{"contents":[{{"uri":"{uri}"}}],"by":"{server}"}}"#),
            Operation::Prompt { server, name, .. } => format!(r#"{{"by":"{server}","name":"{name}"}}"#),
            Operation::Complete { server, params } => format!(r#"{{"by":"{server}","params":{}}}"#, params.text()),
            other => panic!("{other:?}"),
        };
        async move { ok(seen) }.boxed()
    });
    let mut client = PipeClient::of(&upstream);
    client.initialize(json!({})).await;
    let read = client.ask("resources/read", json!({"uri": "b+file:///x"})).await;
    assert_eq!(read["result"], json!({"contents": [{"uri": "b+file:///x"}], "by": "b"}));
    let error = client.ask("resources/read", json!({"uri": "file:///y"})).await["error"].clone();
    assert_eq!((&error["code"], &error["data"]["uri"]), (&json!(-32002), &json!("file:///y")));
    assert!(error["message"].as_str().unwrap().contains("a, b"), "{error}");
    assert_eq!(client.ask("prompts/get", json!({"name": "b_p"})).await["result"], json!({"by": "b", "name": "p"}));
    let params = json!({"ref": {"type": "ref/prompt", "name": "a_p"}, "argument": {"name": "n", "value": ""}, "_meta": {"x": 1}});
    let completed = client.ask("completion/complete", params).await;
    let expected = json!({"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "n", "value": ""}});
    assert_eq!(completed["result"], json!({"by": "a", "params": expected}));
}

#[tokio::test]
async fn input_that_is_not_a_message_gets_an_error_and_the_next_request_an_answer() {
    let upstream = FakeUpstream::echoing(vec![with_tools("a", &["t"])]);
    let mut client = PipeClient::of(&upstream);
    for (line, code, id) in [
        ("nonsense", -32700, json!(null)),
        (r#"{"jsonrpc":"2.0","id":3,"method":"ping","params":{"x":NaN}}"#, -32700, json!(3)),
        (r#"{"id":4,"method":"ping"}"#, -32600, json!(null)),
    ] {
        client.send(line).await;
        let response = client.message("error").await;
        assert_eq!((&response["error"]["code"], &response["id"]), (&json!(code), &id), "{line}");
    }
    assert_eq!(client.ask("ping", json!({})).await["result"], json!({}));
    let huge =
        format!(r#"{{"jsonrpc":"2.0","id":5,"method":"ping","params":{{"x":"{}"}}}}"#, "x".repeat(super::super::front::MESSAGE_BYTES));
    client.send(&huge).await;
    assert_eq!(client.message("error").await["error"]["code"], -32600);
    assert_eq!(client.ask("ping", json!({})).await["result"], json!({}));
}

/// Calls of each client in flight together.
const TOGETHER: u64 = 200;
/// Rounds of them.
const ROUNDS: u64 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn traps_9_and_13_clients_with_equal_ids_and_tokens_never_get_what_belongs_to_the_other() {
    let upstream = FakeUpstream::new(vec![with_tools("a", &["t"]), with_tools("b", &[])], |spec, passage| {
        let tag = format!(r#""client":{},"arguments":{}"#, passage.client.0, arguments(&spec).text());
        async move {
            for progress in 1..=2 {
                passage.desk.progress(&Body::from(format!(r#"{{"progressToken":0,"progress":{progress},{tag}}}"#)));
            }
            let answer = passage.desk.ask("elicitation/create", Body::from(format!("{{{tag}}}"))).await.expect("an answer");
            ok(format!(r#"{{{tag},"answer":{}}}"#, answer.text()))
        }
        .boxed()
    });
    let gateway = super::super::Gateway::new(upstream, super::super::Settings::default());
    let mut clients = vec![];
    for number in [1u32, 2] {
        let mut client = PipeClient::connect(&gateway);
        // Before the next one connects: clients are numbered in the order in which they are served.
        client.initialize(json!({"elicitation": {}})).await;
        clients.push(tokio::spawn(async move {
            for _ in 0..ROUNDS {
                for id in 0..TOGETHER {
                    let params = json!({"name": "a_t", "arguments": {"x": id}, "_meta": {"progressToken": id}});
                    client.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()).await;
                }
                let mut left = TOGETHER;
                while left > 0 {
                    let message: serde_json::Value = serde_json::from_str(&client.line().await).expect("JSON");
                    let (params, result) = (&message["params"], &message["result"]);
                    let part = if params.is_null() { result } else { params };
                    assert_eq!(part["client"], number, "{message}");
                    match message["method"].as_str() {
                        Some("notifications/progress") => assert_eq!(params["progressToken"], params["arguments"]["x"], "{message}"),
                        Some("elicitation/create") => {
                            let answer = json!({"client": number, "x": params["arguments"]["x"]});
                            client.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": answer}).to_string()).await;
                        }
                        _ => {
                            assert_eq!(message["id"], result["arguments"]["x"], "{message}");
                            assert_eq!(result["answer"], json!({"client": number, "x": message["id"]}), "{message}");
                            left -= 1;
                        }
                    }
                }
            }
        }));
    }
    for client in clients {
        client.await.expect("no crossing");
    }
}
