//! Sessions (MCP 2025-11-25, transports, "Session management"): noted, opened again when lost, given back.

use std::sync::Arc;

use reqwest::Response;
use tokio::{task::JoinHandle, time::timeout};

use super::{HttpLink, Post, REDIRECTS, SESSION, Under, lock};
use crate::{
    domain::{
        body::Body,
        bounds,
        call::{Failure, FailureKind},
        frame::{Anomaly, AnomalyKind, FrameKind},
        time::size,
    },
    engine::ports::Request,
    mcp::{session::Quiet, wire},
};

impl HttpLink {
    pub(super) fn note_session(&self, response: &Response, post: &Post) {
        if post.opens() {
            let mut agreed = lock(&self.agreed);
            let session = response.headers().get(SESSION).and_then(|s| s.to_str().ok()).map(str::to_owned);
            if let Some(long) = session.as_ref().map(String::len).filter(|length| *length > bounds::ID) {
                let detail = format!("a session id of {}: every request would carry it", size(long as u64));
                self.host().anomaly(Anomaly { kind: AnomalyKind::Oversize, detail, call: None, frame: None });
            }
            let session = session.filter(|session| session.len() <= bounds::ID);
            match agreed.era {
                // One in place of another.
                Some(_) => agreed.next = Some(session),
                None => (agreed.session, agreed.generation) = (session, agreed.generation + 1),
            }
        }
    }

    /// Opens a new session in place of a lost one; of several callers one does it, the others wait.
    ///
    /// A task of its own: whoever began it may give its call up, and the others still want the session.
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
            let agreed = lock(&self.agreed);
            if agreed.generation != lost {
                return Ok(());
            }
            agreed.opening.clone()
        };
        let Some(params) = opening else { return Err(Failure::new(FailureKind::Transport, "the session was lost")) };
        let request = Request { method: "initialize".into(), params, call: None };
        let opened =
            timeout(self.peer.spec().timeouts.connect, Box::pin(self.send(request, "", Arc::new(Quiet("no answer to initialize"))))).await;
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
        let told = wire::notification(method, &Body::default(), "");
        self.tell(told, FrameKind::Notification, Some(method.into()), Under::Next).await?;
        {
            let mut agreed = lock(&self.agreed);
            (agreed.session, agreed.generation) = (agreed.next.take().flatten(), agreed.generation + 1);
        }
        self.listen();
        // The new session knows nothing of what the old one was asked to tell.
        self.host().renewed();
        Ok(())
    }

    /// Asks the server to forget the session, following redirects like [`HttpLink::post`].
    pub(super) async fn forget_session(&self) {
        let mut url = self.url.clone();
        for _ in 0..REDIRECTS {
            let mut request = self.client.delete(url.clone());
            for (name, value, _) in self.request_headers(&[], "application/json", Under::Agreed) {
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
