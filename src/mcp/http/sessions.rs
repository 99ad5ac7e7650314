//! Sessions (MCP 2025-11-25, transports, "Session management"): noted, opened again when lost, given back.

use std::{sync::Arc, time::Duration};

use reqwest::{Response, Url};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    HttpLink, SESSION,
    post::{Post, REDIRECTS, Under},
};
use crate::{
    domain::{
        body::Body,
        bounds,
        call::{Failure, FailureKind},
        frame::{Anomaly, AnomalyKind, FrameKind},
        id::CallId,
        policy::call_event::Resend,
        time::size,
    },
    engine::ports::Request,
    mcp::link::Quiet,
    protocol::{meta::Meta, wire},
};

/// How long a ping may take that shows whether a call was refused unread.
const PROOF: Duration = Duration::from_secs(5);

/// What a ping in a session showed.
#[derive(PartialEq, Eq)]
enum Pinged {
    /// It was accepted: the session is there.
    Accepted,
    /// It was refused as one of a lost session.
    Lost,
    /// Anything else.
    Unclear,
}

/// The failure of a call that was refused like a call of a lost session, while the session may still be there.
pub(super) fn unproven(refused: Failure) -> Failure {
    let hint = "it was refused like a call of a lost session, but the old session is not proven gone, so it may have run: check \
                before you repeat it";
    Failure { may_have_run: true, ..refused }.hint(hint)
}

impl HttpLink {
    pub(super) fn note_session(&self, response: &Response, post: &Post) {
        if post.opens() {
            let mut agreed = self.agreed.lock();
            let session = response.headers().get(SESSION).and_then(|s| s.to_str().ok()).map(Arc::<str>::from);
            if let Some(long) = session.as_ref().map(|session| session.len()).filter(|length| *length > bounds::ID) {
                let detail = format!("a session id of {}: every request would carry it", size(long as u64));
                self.handler.anomaly(Anomaly { kind: AnomalyKind::Oversize, detail, call: None, frame: None });
            }
            let session = session.filter(|session| session.len() <= bounds::ID);
            match agreed.era {
                // One in place of another.
                Some(_) => agreed.next = Some(session),
                None => (agreed.session, agreed.generation) = (session, agreed.generation + 1),
            }
        }
    }

    /// Opens a session in place of `old`, which `post` was refused with. Says why `post` may be sent again in it, or `None`
    /// where it may not: it must not be repeated, and `old` may still be there, so that the call may have run in it.
    pub(super) async fn replace_lost(self: &Arc<Self>, lost: u64, old: Arc<str>, post: &Post) -> Result<Option<Resend>, Failure> {
        self.reopen(lost).await.map_err(|failure| Failure { may_have_run: true, ..failure })?;
        Ok(match post.repeatable {
            true => Some(Resend::Repeatable),
            false if self.proven_gone(lost, old, post.call).await => Some(Resend::ProvenGone),
            false => None,
        })
    }

    /// Whether the server refuses a ping with the id of a lost session as lost, and accepts one in the session that was
    /// opened in its place. Two requests that differ in the session only show that nothing but the session was refused.
    /// Asked once for all calls that lost it.
    async fn proven_gone(&self, lost: u64, old: Arc<str>, call: Option<CallId>) -> bool {
        let mut proof = self.proof.lock().await;
        if let Some((generation, gone)) = *proof
            && generation == lost
        {
            return gone;
        }
        let new = self.agreed.lock().session.clone();
        let gone = self.pinged(Some(old), call).await == Pinged::Lost && self.pinged(new, call).await == Pinged::Accepted;
        *proof = Some((lost, gone));
        gone
    }

    /// A ping in `session`. It goes past the matching of requests and answers: only the head of its answer counts.
    fn ping(&self, under: Under, call: Option<CallId>) -> Post {
        let id = self.connection.fresh_id();
        Post {
            body: wire::request(id, "ping", &Body::default(), &Meta::default()),
            kind: FrameKind::Request,
            method: Some("ping".into()),
            rpc_id: Some(id.to_string().into()),
            call,
            routing: vec![],
            observer: None,
            under,
            principal: None,
            repeatable: true,
        }
    }

    /// Sends a ping in `session`.
    async fn pinged(&self, session: Option<Arc<str>>, call: Option<CallId>) -> Pinged {
        let post = self.ping(Under::This(session), call);
        let pinged = async {
            match self.post(&post).await {
                Ok(response) if response.status().is_success() => {
                    self.record_head(&response, None, call);
                    Pinged::Accepted
                }
                Ok(response) => match self.refusal(response, call, &post).await.session_lost {
                    Some(_) => Pinged::Lost,
                    None => Pinged::Unclear,
                },
                Err(_) => Pinged::Unclear,
            }
        };
        timeout(PROOF, pinged).await.unwrap_or(Pinged::Unclear)
    }

    /// Whether a ping to `url` is redirected to `target` as well, which is at another path: the redirect is the endpoint's
    /// then, and the call that met it did not run.
    pub(super) async fn redirects_ping(&self, url: &Url, target: &Url, call: Option<CallId>) -> bool {
        let post = self.ping(Under::Agreed, call);
        let pinged = async {
            let response = self.post_to(url.clone(), &post).await.ok()?;
            self.record_head(&response, None, call);
            self.moved(url, &response)
        };
        target.path() != url.path() && timeout(PROOF, pinged).await.ok().flatten().as_ref() == Some(target)
    }

    /// Opens a new session in place of a lost one; of several callers one does it, the others wait.
    ///
    /// Runs in a task of its own: the call that started it may be cancelled while others still need the session.
    pub(super) fn reopen(self: &Arc<Self>, lost: u64) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let link = self.clone();
        let opening: JoinHandle<Result<(), Failure>> = tokio::spawn(async move { link.open_again(lost).await });
        async {
            let broken = |_| Err(Failure::new(FailureKind::Transport, "the session was lost and opening a new one broke down"));
            opening.await.unwrap_or_else(broken)
        }
    }

    /// The lost session stays in use until the new one is there: the server refuses what comes with it,
    /// and so those calls come here and wait too.
    pub(super) async fn open_again(self: &Arc<Self>, lost: u64) -> Result<(), Failure> {
        let _one = self.reopening.lock().await;
        let opening = {
            let agreed = self.agreed.lock();
            if agreed.generation != lost {
                return Ok(());
            }
            agreed.opening.clone()
        };
        let Some(params) = opening else { return Err(Failure::new(FailureKind::Transport, "the session was lost")) };
        let request = Request { method: "initialize".into(), params, repeatable: true, ..Request::default() };
        let opened =
            timeout(self.spec.timeouts.connect, Box::pin(self.send(request, &Meta::default(), Arc::new(Quiet("no answer to initialize")))))
                .await;
        match opened {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => {
                return Err(Failure {
                    message: format!("the session was lost and no new one could be opened: {}", failure.message),
                    ..failure
                });
            }
            Err(_) => return Err(Failure::new(FailureKind::Timeout, "the session was lost and initialize was not answered")),
        }
        let method = "notifications/initialized";
        let told = wire::notification(method, &Body::default(), &Meta::default());
        self.tell(told, FrameKind::Notification, Some(method.into()), Under::Next).await?;
        {
            let mut agreed = self.agreed.lock();
            (agreed.session, agreed.generation) = (agreed.next.take().flatten(), agreed.generation + 1);
        }
        self.listen();
        // The new session knows nothing of what the old one was asked to tell.
        self.handler.renewed();
        Ok(())
    }

    /// Asks the server to forget the session, following redirects like [`HttpLink::post`].
    pub(super) async fn forget_session(&self) {
        let mut url = self.url.clone();
        let bearer = self.bearer(None).await;
        for _ in 0..REDIRECTS {
            let mut request = self.client.delete(url.clone());
            for (name, value, _) in self.request_headers(&[], "application/json", &Under::Agreed, bearer.as_ref()) {
                request = request.header(name, value);
            }
            let Ok(response) = request.send().await else { return };
            match self.moved(&url, &response) {
                Some(target) => url = target,
                None => return,
            }
        }
    }
}
