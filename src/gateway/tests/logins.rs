//! Logins that calls need: who is asked for one, in both eras, and what happens to the call.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::super::{
    ClientLogins, Gateway, Settings, StartedLogin,
    test_support::{FakeUpstream, PipeClient, ok, snapshot, with_tools},
};
use crate::domain::{
    call::{Failure, FailureKind, Outcome},
    client::Principal,
    id::ServerId,
    login::LoginWanted,
    server::{ConnectFailure, Phase, ServerSpec, Step, Transport},
};

const ADDRESS: &str = "https://as.example/authorize?state=s";

/// Ends a login.
type End = oneshot::Sender<Result<(), String>>;

/// Logins whose ends a test decides.
#[derive(Default)]
struct FakeLogins {
    /// Server, principal and scopes of each login that was started, and its end.
    started: Mutex<Vec<(String, Option<End>)>>,
    refuses: Option<&'static str>,
}

#[async_trait]
impl ClientLogins for FakeLogins {
    async fn start(&self, server: &ServerId, who: &Principal, scopes: &[String]) -> Result<StartedLogin, String> {
        if let Some(why) = self.refuses {
            return Err(why.to_owned());
        }
        let (end, ended) = oneshot::channel();
        self.started.lock().push((format!("{server} {} {}", who.as_str(), scopes.join("+")), Some(end)));
        Ok(StartedLogin { address: ADDRESS.to_owned(), end: async { ended.await.unwrap_or_else(|_| Err("dropped".into())) }.boxed() })
    }
}

impl FakeLogins {
    fn end(&self, at: usize) -> End {
        self.started.lock()[at].1.take().expect("ended once")
    }

    fn count(&self) -> usize {
        self.started.lock().len()
    }
}

/// A server that refuses calls until there is a login.
struct Rig {
    upstream: Arc<FakeUpstream>,
    logins: Arc<FakeLogins>,
    gateway: Arc<Gateway>,
    /// Whether there is a login.
    logged_in: watch::Sender<bool>,
}

fn rig(logins: FakeLogins) -> Rig {
    let logged_in = watch::Sender::new(false);
    let receiver = logged_in.subscribe();
    let upstream = FakeUpstream::new(vec![with_tools("web", &["t"]), with_tools("b", &[])], move |_, passage| {
        let login = LoginWanted { scopes: vec!["basic".into()], why: "no token".into(), command: String::new() };
        let refused = Failure { login: Some(login), ..Failure::new(FailureKind::Unauthorized, "HTTP 401") };
        let outcome = match *receiver.borrow() {
            false => Outcome::Failed { failure: Arc::new(refused) },
            true => ok(json!({"content": [], "extra": passage.extra.text()}).to_string()),
        };
        async move { outcome }.boxed()
    });
    let logins = Arc::new(logins);
    let gateway = Gateway::with_logins(upstream.clone(), Settings::default(), Some(logins.clone()));
    Rig { upstream, logins, gateway, logged_in }
}

fn url() -> Value {
    json!({"elicitation": {"form": {}, "url": {}}})
}

fn call(id: u64) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "web_t", "arguments": {}}}).to_string()
}

fn answer(question: &Value, action: &str) -> String {
    json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": action}}).to_string()
}

/// Calls as a modern client with these further params.
async fn modern(client: &mut PipeClient, capabilities: Value, more: Value) -> Value {
    let mut params = json!({"name": "web_t", "arguments": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "m", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    }});
    for (key, value) in more.as_object().expect("an object") {
        params[key] = value.clone();
    }
    client.ask("tools/call", params).await
}

#[tokio::test]
async fn a_legacy_client_is_asked_and_its_call_is_made_again_after_the_login() {
    let rig = rig(FakeLogins::default());
    let mut client = PipeClient::connect(&rig.gateway);
    client.initialize(url()).await;
    client.send(&call(70)).await;
    let question = client.message("method").await;
    let id = question["params"]["elicitationId"].clone();
    let expected = json!({"mode": "url", "message": "Log in to web to make this call", "url": ADDRESS, "elicitationId": id});
    assert_eq!((&question["method"], &question["params"]), (&json!("elicitation/create"), &expected));
    assert!(id.as_str().is_some_and(|id| id.len() == 32), "{id}");
    assert_eq!(rig.logins.started.lock()[0].0, "web local basic");
    client.send(&answer(&question, "accept")).await;
    rig.logged_in.send_replace(true);
    rig.logins.end(0).send(Ok(())).expect("the login is waited for");
    let complete = client.message("method").await;
    assert_eq!((&complete["method"], &complete["params"]["elicitationId"]), (&json!("notifications/elicitation/complete"), &id));
    let done = client.message("id").await;
    assert_eq!((&done["id"], &done["result"]["content"]), (&json!(70), &json!([])), "{done}");
}

#[tokio::test]
async fn calls_that_are_refused_together_share_one_login() {
    let rig = rig(FakeLogins::default());
    let mut client = PipeClient::connect(&rig.gateway);
    client.initialize(url()).await;
    client.send(&call(71)).await;
    client.send(&call(72)).await;
    let (one, two) = (client.message("method").await, client.message("method").await);
    assert_eq!(one["params"]["elicitationId"], two["params"]["elicitationId"]);
    rig.logged_in.send_replace(true);
    // Completed before the client has answered: the user was faster.
    rig.logins.end(0).send(Ok(())).expect("the login is waited for");
    let mut ids = vec![];
    while ids.len() < 2 {
        let message = client.message("id").await;
        ids.extend(message.get("result").map(|_| message["id"].as_u64()));
    }
    ids.sort_unstable();
    assert_eq!((ids, rig.logins.count()), (vec![Some(71), Some(72)], 1));
}

#[tokio::test]
async fn a_client_that_declines_gets_the_command_and_the_login_is_cancelled() {
    let rig = rig(FakeLogins::default());
    let mut client = PipeClient::connect(&rig.gateway);
    client.initialize(url()).await;
    for (at, action) in ["decline", "cancel"].into_iter().enumerate() {
        client.send(&call(73)).await;
        let question = client.message("method").await;
        let mut end = rig.logins.end(at);
        client.send(&answer(&question, action)).await;
        let refused = client.message("id").await;
        let message = refused["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(message, "server web needs a login: run `switchboard login web` on the machine of the gateway", "{refused}");
        end.closed().await;
    }
    // A login that fails says why.
    client.send(&call(74)).await;
    let question = client.message("method").await;
    client.send(&answer(&question, "accept")).await;
    rig.logins.end(2).send(Err("access_denied".into())).expect("the login is waited for");
    let failed = client.message("error").await;
    assert!(failed["error"]["message"].as_str().is_some_and(|why| why.contains("failed: access_denied; run `switch")), "{failed}");
}

#[tokio::test]
async fn other_clients_get_the_command_in_the_error() {
    let rig = rig(FakeLogins::default());
    for capabilities in
        [json!({}), json!({"elicitation": {}}), json!({"elicitation": {"form": {}}}), json!({"elicitation": {"url": false}})]
    {
        let mut client = PipeClient::connect(&rig.gateway);
        client.initialize(capabilities.clone()).await;
        let refused = client.ask("tools/call", json!({"name": "web_t"})).await;
        assert!(refused["error"]["message"].as_str().is_some_and(|why| why.contains("switchboard login web")), "{refused}");
        let refused = modern(&mut client, capabilities, json!({})).await;
        assert_eq!(refused["error"]["data"]["switchboard"]["login"], json!({"scopes": ["basic"]}), "{refused}");
    }
    // Nor is anybody asked if logins are not offered, or cannot be started.
    let upstream = rig.upstream.clone();
    assert_eq!(rig.logins.count(), 0);
    drop(rig.gateway);
    let refusing = self::rig(FakeLogins { refuses: Some("no port"), ..FakeLogins::default() });
    let mut client = PipeClient::connect(&refusing.gateway);
    client.initialize(url()).await;
    let refused = client.ask("tools/call", json!({"name": "web_t"})).await;
    assert!(refused["error"]["message"].as_str().is_some_and(|why| why.contains("web failed: no port; run")), "{refused}");
    drop(upstream);
}

#[tokio::test]
async fn a_modern_client_is_asked_by_the_result_and_continues_the_call() {
    let rig = rig(FakeLogins::default());
    let mut client = PipeClient::connect(&rig.gateway);
    let asked = modern(&mut client, url(), json!({})).await["result"].clone();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let question = json!({"method": "elicitation/create", "params": {
        "mode": "url", "message": "Log in to web to make this call", "url": ADDRESS,
    }});
    assert_eq!(asked["inputRequests"], json!({"login": question}));
    let state = asked["requestState"].clone();
    // A state of another call is not valid.
    let foreign = modern(&mut client, url(), json!({"arguments": {"x": 1}, "requestState": state})).await;
    assert_eq!(foreign["error"]["code"], -32602, "{foreign}");
    let declined = json!({"requestState": state, "inputResponses": {"login": {"action": "decline"}}});
    let refused = modern(&mut client, url(), declined).await;
    assert!(refused["error"]["message"].as_str().is_some_and(|why| why.contains("switchboard login web")), "{refused}");
    rig.logins.end(0).closed().await;
    // Again, and this time the user logs in.
    let asked = modern(&mut client, url(), json!({})).await["result"].clone();
    rig.logged_in.send_replace(true);
    rig.logins.end(1).send(Ok(())).expect("the login is waited for");
    let accepted = json!({"requestState": asked["requestState"], "inputResponses": {"login": {"action": "accept"}}, "vendor": 1});
    let done = modern(&mut client, url(), accepted).await["result"].clone();
    // The server sees nothing of the question.
    assert_eq!((&done["content"], &done["extra"]), (&json!([]), &json!(r#"{"vendor":1}"#)), "{done}");
}

#[tokio::test]
async fn the_call_waits_until_the_server_has_noticed_the_login() {
    let rig = rig(FakeLogins::default());
    let mut client = PipeClient::connect(&rig.gateway);
    client.initialize(url()).await;
    client.send(&call(75)).await;
    let question = client.message("method").await;
    let why = Arc::new(ConnectFailure::new(Step::Run, "HTTP 401"));
    let waiting = snapshot(ServerSpec::new("web", Transport::unknown()), Phase::NeedsLogin { why }, Default::default());
    rig.upstream.set(vec![waiting, with_tools("b", &[])]);
    rig.logins.end(0).send(Ok(())).expect("the login is waited for");
    client.send(&answer(&question, "accept")).await;
    assert_eq!(client.message("method").await["method"], "notifications/elicitation/complete");
    // A call now would be refused again.
    rig.logged_in.send_replace(true);
    rig.upstream.set(vec![with_tools("web", &["t"]), with_tools("b", &[])]);
    let done = client.message("id").await;
    assert_eq!((&done["id"], &done["result"]["content"]), (&json!(75), &json!([])), "{done}");
}
