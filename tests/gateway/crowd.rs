//! Two clients that use the same ids and progress tokens for interleaved calls which are asked and report progress: nothing of one reaches
//! the other.

use std::sync::Arc;

use serde_json::{Value, json};
use switchboard::{
    domain::{body::Body, id::Attribution, server::ServerSpec},
    engine::ports::{ClientHandler, Reply, Request, RequestObserver},
    gateway::Gateway,
};

use crate::{
    client::{Pipe, gateway},
    fake::{Behaviour, Fake, reply, spec},
    support::{Rig, stdio},
};

/// Calls of a client that are in flight together.
const TOGETHER: u64 = 100;
/// Rounds of them: with two clients 10 000 calls.
const ROUNDS: u64 = 50;

/// A server that reports progress twice, asks the client, and returns what it was called with and what the client answered. It says
/// which call it asks for, as over HTTP, or not, as a program.
fn asking(attributed: bool) -> Behaviour {
    Behaviour::new(move |request: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| async move {
        observer.sent(handler.now(), 1);
        let params: Value = serde_json::from_slice(request.params.bytes()).unwrap();
        let called = &params["arguments"];
        for progress in 1..=2 {
            observer.progress(&Body::json(&json!({"progressToken": 0, "progress": progress, "called": called})));
        }
        let call = if attributed { request.call.map_or(Attribution::None, Attribution::Stream) } else { Attribution::None };
        let asked = Body::json(&json!({"message": "m", "called": called}));
        let answer = handler.ask("elicitation/create", asked, call).await.expect("the client is asked");
        let answer: Value = serde_json::from_slice(answer.bytes()).unwrap();
        Ok(Reply { result: Body::json(&json!({"content": [], "called": called, "answer": answer})), ..reply(&handler) })
    })
}

/// Makes the calls of a client: each message that it gets is its own.
async fn calls(gateway: Arc<Gateway>, client: &'static str) {
    let mut pipe = Pipe::initialized(&gateway, json!({"elicitation": {}})).await;
    for round in 0..ROUNDS {
        for id in 0..TOGETHER {
            let arguments = json!({"client": client, "round": round, "id": id});
            let params = json!({"name": "echo", "arguments": arguments, "_meta": {"progressToken": id}});
            pipe.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()).await;
        }
        let (mut left, mut asked) = (TOGETHER, 0);
        while left > 0 {
            let message: Value = serde_json::from_str(&pipe.line().await).unwrap();
            let (params, result) = (&message["params"], &message["result"]);
            let called = if params.is_null() { &result["called"] } else { &params["called"] };
            assert_eq!((&called["client"], &called["round"]), (&json!(client), &json!(round)), "a message of the other client: {message}");
            match message["method"].as_str() {
                Some("notifications/progress") => assert_eq!(params["progressToken"], called["id"], "{message}"),
                Some("elicitation/create") => {
                    asked += 1;
                    let answer = json!({"action": "accept", "content": called});
                    pipe.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": answer}).to_string()).await;
                }
                _ => {
                    assert_eq!(message["id"], called["id"], "{message}");
                    assert_eq!(&result["answer"]["content"], called, "an answer of another call: {message}");
                    left -= 1;
                }
            }
        }
        assert_eq!(asked, TOGETHER, "each call was asked once");
    }
}

async fn no_crossing(spec: ServerSpec, attributed: bool) {
    let fake = Fake::new(move |_| asking(attributed).plan());
    let rig = Rig::over(fake.clone(), vec![spec]);
    rig.ready("web").await;
    let gateway = gateway(&rig);
    let clients = ["one", "two"].map(|client| tokio::spawn(calls(gateway.clone(), client)));
    for client in clients {
        client.await.expect("no crossing");
    }
    assert_eq!(fake.attempts(), 3, "one session for each client, and the shared one");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_9_and_13_ten_thousand_calls_of_two_clients_at_an_address_never_cross() {
    no_crossing(spec("web"), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_9_and_13_two_clients_of_a_program_that_names_no_call_never_cross() {
    no_crossing(stdio("web", "fake", &[]), false).await;
}
