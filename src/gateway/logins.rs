//! Logins that clients of the gateway complete: a call that its server refuses for lack of a login asks the user of its client to open
//! the address of one (URL elicitation, MCP 2025-11-25, client/elicitation), and is made again after it.
//!
//! Only clients that declare `elicitation.url` are asked; the others get the command in the error of the call. The login ends at a
//! listener of this machine, so the composition root offers [`ClientLogins`] only to clients of this machine.

use std::{collections::HashMap, future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::{Mutex, mpsc, watch},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Gateway,
    calls::STATE,
    edits::ELICIT,
    failure::{self, INTERNAL},
    park::{Next, Running},
    random,
    request::Request,
    sealed::LIFETIME,
};
use crate::{
    domain::{
        body::{self, Body},
        call::{Operation, Outcome, RpcError},
        client::Principal,
        id::ServerId,
        login::LoginWanted,
        raw_object::RawObject,
        server::{Era, Phase},
    },
    engine::passage::Desk,
    protocol::splice,
};

/// The key of the question in `inputRequests`.
const LOGIN: &str = "login";
/// The notification that a login has ended; the modern era has none.
const COMPLETE: &str = "notifications/elicitation/complete";
/// How long a server may take to notice its new credentials.
const RECONNECT: Duration = Duration::from_secs(10);

/// Starts logins on behalf of clients.
#[async_trait]
pub trait ClientLogins: Send + Sync {
    /// Starts a login at a server. Fails with the reason.
    async fn start(&self, server: &ServerId, who: &Principal, scopes: &[String]) -> Result<StartedLogin, String>;
}

/// A login that waits for its user.
pub struct StartedLogin {
    /// The address to open in a browser.
    pub address: String,
    /// Waits for the end of the login: fails with the reason. Dropping it cancels the login.
    pub end: BoxFuture<'static, Result<(), String>>,
}

/// The logins in progress by server and principal: calls that are refused meanwhile share them.
#[derive(Default)]
pub struct PendingLogins(Mutex<HashMap<(ServerId, Principal), Arc<Pending>>>);

/// A login in progress. It is cancelled when nobody refers to it.
pub struct Pending {
    /// The id of its elicitations.
    id: String,
    address: String,
    end: watch::Receiver<Option<Result<(), String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Pending {
    fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Waits for the end.
    async fn ended(&self) -> Result<(), String> {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await;
        ended.map_or_else(|_| Err("it was cancelled".to_owned()), |end| end.clone().unwrap_or(Ok(())))
    }

    /// Returns the params of the request that asks for the login.
    fn question(&self, server: &ServerId, era: Era) -> Body {
        let mut params = json!({"mode": "url", "message": format!("Log in to {server} to make this call"), "url": self.address});
        if era == Era::Legacy {
            params["elicitationId"] = self.id.as_str().into();
        }
        Body::json(&params)
    }
}

impl PendingLogins {
    /// Returns the login in progress of a server and a principal, or starts one.
    async fn join(&self, logins: &dyn ClientLogins, key: (ServerId, Principal), scopes: &[String]) -> Result<Arc<Pending>, String> {
        // Held while the login starts, so that calls that are refused together get one address.
        let mut pending = self.0.lock().await;
        if let Some(known) = pending.get(&key).filter(|known| !known.has_ended()) {
            return Ok(known.clone());
        }
        let StartedLogin { address, end } = logins.start(&key.0, &key.1, scopes).await?;
        let id = random::id().map_err(|error| format!("no random numbers: {error}"))?;
        let (ended, receiver) = watch::channel(None);
        let task = tokio::spawn(async move {
            let end = end.await;
            ended.send_replace(Some(end));
        });
        let started = Arc::new(Pending { id, address, end: receiver, _task: AbortOnDropHandle::new(task) });
        pending.insert(key, started.clone());
        Ok(started)
    }

    async fn get(&self, key: &(ServerId, Principal)) -> Option<Arc<Pending>> {
        self.0.lock().await.get(key).cloned()
    }

    /// Forgets a login: it is cancelled unless another call waits for it.
    async fn forget(&self, key: &(ServerId, Principal), login: &Arc<Pending>) {
        let mut pending = self.0.lock().await;
        if pending.get(key).is_some_and(|known| Arc::ptr_eq(known, login)) {
            pending.remove(key);
        }
    }
}

/// The state of a call that waits for a login, which a modern client returns.
#[derive(Serialize, Deserialize)]
struct Waiting {
    #[serde(rename = "switchboard:login")]
    server: ServerId,
}

/// The outcome of the offer to log in.
pub enum Offered {
    /// The login is complete: the call is made again.
    Complete,
    /// The result that asks a modern client.
    Asks(Body),
    /// The error of the call in place of the one that it has.
    Failed(RpcError),
    /// The client cannot be asked, or declined: the call ends with the error that it has.
    No,
}

/// Returns the server and the login that a call wants which was refused for lack of one. It did not run.
pub fn wanted(running: &Running, next: &Next) -> Option<(ServerId, LoginWanted)> {
    let Next::Settled(Some(settled)) = next else { return None };
    let Outcome::Failed { failure } = &settled.outcome else { return None };
    let login = failure.login.clone().filter(|_| !failure.may_have_run)?;
    Some((settled.by.clone().unwrap_or_else(|| running.server.clone()), login))
}

/// Returns whether a client opens addresses for its user.
fn takes_addresses(capabilities: &Body) -> bool {
    let Some([Some(elicitation)]) = capabilities.fields(["elicitation"]) else { return false };
    matches!(body::fields(elicitation.get().as_bytes(), ["url"]), Some([Some(url)]) if url.get().starts_with('{'))
}

fn failed(server: &ServerId, why: &str) -> RpcError {
    failure::error(INTERNAL, format!("the login at server {server} failed: {why}; {}", failure::login_command(server)))
}

impl Gateway {
    /// Asks the user of a client to log in. A legacy client is asked now, and the login is waited for; a modern one with the result.
    pub(super) async fn offer_login(&self, request: &Request, operation: &Operation, server: &ServerId, login: &LoginWanted) -> Offered {
        let Some(logins) = self.logins.as_deref().filter(|_| takes_addresses(&request.face.capabilities)) else { return Offered::No };
        let key = (server.clone(), request.client.principal.clone());
        let started = match self.pending_logins.join(logins, key.clone(), &login.scopes).await {
            Ok(started) => started,
            Err(why) => return Offered::Failed(failed(server, &why)),
        };
        let question = started.question(server, request.era);
        if request.era == Era::Modern {
            return self.login_required(request, operation, server, &question).map_or_else(Offered::Failed, Offered::Asks);
        }
        let (asked, _) = mpsc::channel(1);
        let desk = self.desk(request, asked);
        let declined = async {
            match desk.ask(ELICIT, question).await {
                Ok(answer) if is_accepted(&answer) => pending::<()>().await,
                _ => {}
            }
        };
        let ended = tokio::select! {
            ended = started.ended() => ended,
            () = declined => {
                self.pending_logins.forget(&key, &started).await;
                return Offered::No;
            }
        };
        request.client.notify(COMPLETE, &Body::json(&json!({"elicitationId": started.id})));
        match ended {
            Ok(()) => {
                self.reconnected(server).await;
                Offered::Complete
            }
            Err(why) => Offered::Failed(failed(server, &why)),
        }
    }

    /// Returns the result that asks a modern client (MCP 2026-07-28, basic/patterns/mrtr).
    fn login_required(&self, request: &Request, operation: &Operation, server: &ServerId, question: &Body) -> Result<Body, RpcError> {
        let state = serde_json::to_string(&Waiting { server: server.clone() }).unwrap_or_default();
        let sealed = self.seal.close(&request.client.principal, operation, &state, self.upstream.unix_ms(), LIFETIME);
        let sealed = sealed.ok_or_else(|| failure::error(INTERNAL, "no random numbers"))?;
        let asked = RawObject::default().with("method", Body::json(ELICIT)).with("params", question.clone());
        Ok(RawObject::default()
            .with("resultType", Body::from("\"input_required\""))
            .with("inputRequests", RawObject::default().with(LOGIN, asked.to_body()).to_body())
            .with(STATE, Body::json(&sealed))
            .to_body())
    }

    /// Waits for the login that a request of a modern client continues, if it does. Returns the further params of its call.
    pub(super) async fn continue_login(&self, request: &Request, operation: &Operation, extra: Body) -> Result<Body, RpcError> {
        let [state, responses] = extra.fields([STATE, "inputResponses"]).unwrap_or_default();
        let sealed = state.and_then(|state| serde_json::from_str::<String>(state.get()).ok());
        let opened = sealed.and_then(|sealed| self.seal.open(&request.client.principal, operation, &sealed, self.upstream.unix_ms()));
        let Some(Waiting { server }) = opened.and_then(|state| serde_json::from_str(&state).ok()) else { return Ok(extra) };
        let answer = responses.and_then(|responses| RawObject::parse(&Body::from(responses.get()))?.get(LOGIN).cloned());
        let key = (server.clone(), request.client.principal.clone());
        let started = self.pending_logins.get(&key).await;
        if !answer.is_some_and(|answer| is_accepted(&answer)) {
            if let Some(started) = started {
                self.pending_logins.forget(&key, &started).await;
            }
            return Err(failure::error(INTERNAL, failure::needs_login(&server)));
        }
        // A login that ended before this request may be replaced by that of another call already: the server decides.
        if let Some(started) = started {
            started.ended().await.map_err(|why| failed(&server, &why))?;
            self.reconnected(&server).await;
        }
        let rest = splice::remove(&extra, &[STATE, "inputResponses"]);
        Ok(if rest.bytes().trim_ascii() == b"{}" { Body::default() } else { rest })
    }

    /// Waits until a server has noticed that there is a login: a call before that would fail like the one before.
    async fn reconnected(&self, server: &ServerId) {
        let mut changes = self.upstream.directory_changes();
        let noticed = async {
            while self.upstream.directory().server(server).is_some_and(|found| matches!(*found.phase, Phase::NeedsLogin { .. })) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // A call to a server that did not notice fails with its state.
        let _ = timeout(RECONNECT, noticed).await;
    }
}

fn is_accepted(answer: &Body) -> bool {
    answer.value().is_some_and(|answer| answer["action"] == "accept")
}
