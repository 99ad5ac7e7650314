//! Credentials from a port: tokens on requests, refusals, logins; and secrets that are masked as soon as they are known.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use serde_json::json;
use switchboard::{
    control::{Command, Control},
    domain::{
        call::{CallSpec, FailureKind, Origin, Outcome},
        client::{Face, Principal},
        event::EventKind,
        id::{ClientId, ToolId},
        login::LoginWanted,
        policy::call_event::{CallEvent, Resend},
        secret::Secret,
        server::{Phase, ServerSpec, Transport},
    },
    engine::{
        passage::{Passage, Rounds},
        ports::{Bearer, CredentialVerdict, Credentials, Refusal},
    },
    mcp::Connections,
};
use tokio::sync::watch;

use crate::{
    passages::Recorder,
    scripted::{Asked, Server, json_page, page},
    support::{Rig, failure_of, http, text_of},
};

/// A store of tokens by principal, which counts them.
struct Tokens {
    tokens: Mutex<HashMap<String, (String, u64)>>,
    /// The token that a refresh brings.
    next: Mutex<Option<String>>,
    refusals: Mutex<Vec<(Refusal, Option<u64>)>>,
    asked: AtomicU64,
    changed: watch::Sender<()>,
}

impl Tokens {
    fn new(token: Option<&str>) -> Arc<Tokens> {
        let tokens = token.map(|token| ("local".to_owned(), (token.to_owned(), 1)));
        Arc::new(Tokens {
            tokens: Mutex::new(tokens.into_iter().collect()),
            next: Mutex::default(),
            refusals: Mutex::default(),
            asked: AtomicU64::new(0),
            changed: watch::channel(()).0,
        })
    }

    fn set(&self, principal: &str, token: &str) {
        let mut tokens = self.tokens.lock().unwrap();
        let generation = tokens.get(principal).map_or(0, |(_, generation)| *generation) + 1;
        tokens.insert(principal.to_owned(), (token.to_owned(), generation));
        self.changed.send_replace(());
    }
}

#[async_trait]
impl Credentials for Tokens {
    async fn bearer(&self, _: &ServerSpec, who: &Principal) -> Option<Bearer> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let tokens = self.tokens.lock().unwrap();
        tokens.get(who.as_str()).map(|(token, generation)| Bearer { value: Secret::literal(token), generation: *generation })
    }

    async fn refused(&self, _: &ServerSpec, who: &Principal, refusal: Refusal, sent: Option<u64>) -> CredentialVerdict {
        self.refusals.lock().unwrap().push((refusal, sent));
        let next = self.next.lock().unwrap().take();
        if let Some(next) = next {
            self.set(who.as_str(), &next);
        }
        let newest = self.tokens.lock().unwrap().get(who.as_str()).map(|(_, generation)| *generation);
        match newest > sent {
            true => CredentialVerdict::Again,
            false => CredentialVerdict::NeedsLogin(LoginWanted {
                scopes: vec!["read".into()],
                why: "no token is valid".into(),
                command: "switchboard login web".into(),
            }),
        }
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

const CANARY: &str = "canary-2f9a41c07be3";
const SECOND: &str = "canary-77d0e6b1a952";

/// A server that accepts one token, and quotes every token that it gets.
async fn guarded(valid: Arc<Mutex<&'static str>>) -> Server {
    Server::start(move |asked: &Asked| {
        let given = asked.header("authorization").unwrap_or("none").to_owned();
        if given != format!("Bearer {}", valid.lock().unwrap()) {
            let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{given}\"");
            let body = json!({"error": format!("{given} is not valid")}).to_string();
            return Some(page("401 Unauthorized", &[("WWW-Authenticate", &challenge)], body));
        }
        (asked.tool() == "echo").then(|| json_page(asked.text(&format!("you sent {given}"))))
    })
    .await
}

fn rig(tokens: &Arc<Tokens>, spec: ServerSpec) -> Rig {
    Rig::over(Arc::new(Connections::new(None).with_credentials(tokens.clone())), vec![spec])
}

fn phase(rig: &Rig) -> Phase {
    Phase::clone(&rig.server("web").phase)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_sent_once_more_with_the_new_token_and_no_token_is_ever_shown() {
    let valid = Arc::new(Mutex::new(CANARY));
    let server = guarded(valid.clone()).await;
    let tokens = Tokens::new(Some(CANARY));
    let rig = rig(&tokens, http("web", &server.url()));
    let (_, mut tail) = rig.engine.watch();
    rig.ready("web").await;
    let calls = |server: &Server| server.count("tools/call");
    let (_, settled) = rig.call("web", "echo", "{}").await;
    assert_eq!((text_of(&settled).as_str(), calls(&server)), ("you sent Bearer •••", 1));
    *valid.lock().unwrap() = SECOND;
    *tokens.next.lock().unwrap() = Some(SECOND.to_owned());
    let mut resent = vec![];
    let (_, settled) = rig
        .call_seeing("web", "echo", "{}", |event| {
            if let EventKind::CallStage { stage, .. } = &event.kind
                && let CallEvent::Resent { cause, .. } = &**stage
            {
                resent.push(*cause);
            }
        })
        .await;
    assert_eq!((text_of(&settled).as_str(), calls(&server)), ("you sent Bearer •••", 3));
    assert_eq!((resent, settled.attempts), (vec![Resend::NewCredentials], 1));
    let refusals = std::mem::take(&mut *tokens.refusals.lock().unwrap());
    assert_eq!(refusals.len(), 1);
    assert_eq!((refusals[0].0.status, refusals[0].1, refusals[0].0.url.as_str()), (401, Some(1), server.url().as_str()));
    assert!(refusals[0].0.challenges[0].contains("invalid_token"));
    // No valid token: the call fails with what the server said, and without the token that it quotes.
    *valid.lock().unwrap() = "another";
    let (_, settled) = rig.call("web", "echo", "{}").await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.status), (FailureKind::Unauthorized, Some(401)));
    assert_eq!(failure.login.as_ref().map(|login| login.scopes.clone()), Some(vec!["read".to_owned()]));
    assert!(failure.headers.iter().any(|(name, _)| name == "www-authenticate"), "{failure:?}");
    rig.until("the login", |state| matches!(*state.servers[0].phase, Phase::NeedsLogin { .. })).await;
    rig.stop().await;
    let mut events = String::new();
    while let Ok(Some(event)) = tail.try_next() {
        events.push_str(&serde_json::to_string(&*event).unwrap());
    }
    assert!(events.contains("invalid_token") && events.contains("•••"));
    for token in [CANARY, SECOND] {
        assert!(!events.contains(token), "{}", &events[events.find(token).unwrap() - 200..][..400]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_needs_login_is_left_alone_until_there_is_another_token() {
    let valid = Arc::new(Mutex::new(CANARY));
    let server = guarded(valid).await;
    let tokens = Tokens::new(None);
    let rig = rig(&tokens, http("web", &server.url()));
    let needs = |state: &switchboard::state::ConsoleState| matches!(*state.servers[0].phase, Phase::NeedsLogin { .. });
    let state = rig.until("needs login", needs).await;
    let failure = state.servers[0].phase.failure().unwrap();
    assert_eq!((failure.status, failure.login.as_ref().map(|login| login.why.as_str())), (Some(401), Some("no token is valid")));
    assert!(failure.hints.iter().any(|hint| hint.contains("Authorization")), "{failure:?}");
    assert_eq!(state.servers[0].phase.word(), "needs login");
    let before = server.log().requests.len();
    let (_, settled) = rig.call("web", "echo", "{}").await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, settled.attempts), (FailureKind::Unauthorized, 0), "{failure:?}");
    assert!(failure.login.is_some() && failure.message.contains("needs login"), "{failure:?}");
    // The breaker is closed, and nothing was sent.
    assert_eq!((server.log().requests.len(), rig.server("web").breaker.consecutive), (before, 0));
    tokens.set("local", CANARY);
    rig.ready("web").await;
    assert!(matches!(rig.call("web", "echo", "{}").await.1.outcome, Outcome::Ok { .. }));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_leaves_the_login_and_a_configured_header_turns_the_port_off() {
    let server = guarded(Arc::new(Mutex::new(CANARY))).await;
    let tokens = Tokens::new(None);
    let rig_of_port = rig(&tokens, http("web", &server.url()));
    rig_of_port.until("needs login", |state| matches!(*state.servers[0].phase, Phase::NeedsLogin { .. })).await;
    let before = server.log().requests.len();
    rig_of_port.command(Command::Restart { server: "web".into() });
    server.saw("another attempt", |log| log.requests.len() > before).await;
    rig_of_port.until("needs login again", |state| matches!(*state.servers[0].phase, Phase::NeedsLogin { .. })).await;
    rig_of_port.stop().await;
    let asked = tokens.asked.load(Ordering::SeqCst);
    let headers = vec![("Authorization".to_owned(), Secret::literal("Bearer wrong"))];
    let spec = ServerSpec::new("web", Transport::Http { url: server.url(), headers, socket: None });
    let configured = rig(&tokens, spec);
    configured.until("failed", |state| matches!(*state.servers[0].phase, Phase::Failed { .. })).await;
    assert_eq!(tokens.asked.load(Ordering::SeqCst), asked);
    assert!(matches!(phase(&configured), Phase::Failed { .. }));
    configured.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_that_of_the_principal() {
    let server = Server::start(|asked: &Asked| {
        let given = asked.header("authorization").unwrap_or("none").to_owned();
        (asked.tool() == "echo").then(|| json_page(asked.text(&given)))
    })
    .await;
    let tokens = Tokens::new(Some("token-of-local"));
    tokens.set("ann", "token-of-ann-1");
    let rig = rig(&tokens, http("web", &server.url()));
    rig.ready("web").await;
    // A client gets the result as it is.
    for (principal, token) in [("local", "token-of-local"), ("ann", "token-of-ann-1"), ("bob", "none")] {
        let passage = Passage {
            client: ClientId(1),
            principal: Principal::new(principal),
            face: Arc::new(Face::default()),
            meta: Default::default(),
            extra: Default::default(),
            wants_progress: false,
            rounds: Rounds::Drive,
            desk: Arc::<Recorder>::default(),
            relays_tasks: true,
            connection_desk: None,
        };
        let spec = CallSpec::tool(ToolId::new("web".into(), "echo"), "{}", Origin::Client(ClientId(1)));
        let settled = rig.engine.pass(spec, Arc::new(passage)).1.await.unwrap();
        assert_eq!(text_of(&settled).trim_start_matches("Bearer "), token);
    }
    rig.stop().await;
}
