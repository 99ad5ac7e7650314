//! One message as a POST: redirects, credentials, and the classification of a refusal.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use reqwest::{Response, StatusCode, Url, header};

use super::{
    HttpLink, VERSION,
    answer::{note_of, refused, shown_url, transport},
    credentials::Rejection,
    loss::session_loss,
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind},
        client::Principal,
        frame::{Direction, FrameKind},
        id::CallId,
        policy::call_event::Resend,
        server::{Era, looks_secret},
        time::Stamp,
    },
    engine::ports::{Bearer, FrameDraft, RequestObserver},
    mcp::handshake::MODERN,
};

/// Maximum size of a stored error page.
pub(super) const ERROR_PAGE: usize = 64 << 10;

/// Most requests that one message may take over redirects, the first included.
pub(super) const REDIRECTS: usize = 5;

/// The same for a message that must not be repeated: a server may run a call and then redirect it.
const REDIRECTS_UNREPEATABLE: usize = 2;

/// The session that a message belongs to.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Under {
    /// None, not even a lost one: it opens one.
    None,
    /// The one that was agreed on.
    Agreed,
    /// The one that is being opened.
    Next,
    /// This one, or none where the server gave no id: it stays the same if another is opened meanwhile.
    This(Option<Arc<str>>),
}

/// One message on its way out.
pub(super) struct Post {
    pub(super) body: Body,
    pub(super) kind: FrameKind,
    pub(super) method: Option<Arc<str>>,
    pub(super) rpc_id: Option<Arc<str>>,
    pub(super) call: Option<CallId>,
    pub(super) routing: Vec<(String, String)>,
    pub(super) observer: Option<Arc<dyn RequestObserver>>,
    pub(super) under: Under,
    /// Whether it may be sent again although it may have run.
    pub(super) repeatable: bool,
    /// On whose behalf it is sent; `None` for the connection itself.
    pub(super) principal: Option<Principal>,
}

impl Post {
    /// Whether this opens a session.
    pub(super) fn opens(&self) -> bool {
        self.method.as_deref() == Some("initialize")
    }

    /// Whether it carries a session id.
    pub(super) fn in_session(&self) -> bool {
        matches!(&self.under, Under::This(Some(_)))
    }
}

/// A request body that notes when the connection has taken its last byte.
struct Stamped {
    data: Option<Bytes>,
    taken: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl http_body::Body for Stamped {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let data = self.data.take();
        if data.is_some()
            && let Some(taken) = self.taken.take()
        {
            taken();
        }
        Poll::Ready(data.map(|data| Ok(http_body::Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.data.as_ref().map_or(0, |d| d.len() as u64))
    }
}

impl HttpLink {
    /// Sends one message and returns the head of the answer. Follows redirects of the same origin that keep the method
    /// (307, 308). A message that must not be repeated follows one redirect, and only if a ping is redirected to the same
    /// place: a server may run a call and then redirect it. Returns the redirect that is not followed.
    pub(super) async fn post(&self, post: &Post) -> Result<Response, Failure> {
        let mut url = self.sse_endpoint.get().unwrap_or(&self.url).clone();
        let most = if post.repeatable { REDIRECTS } else { REDIRECTS_UNREPEATABLE };
        for sent in 1..=most {
            // A server may have run what it redirected.
            let redirected = |failure: Failure| Failure { may_have_run: failure.may_have_run || sent > 1, ..failure };
            let response = self.post_to(url.clone(), post).await.map_err(redirected)?;
            match self.moved(&url, &response) {
                Some(target) if post.repeatable || (sent < most && self.redirects_ping(&url, &target, post.call).await) => url = target,
                _ => return Ok(response),
            }
        }
        let status = Some(StatusCode::TEMPORARY_REDIRECT.as_u16());
        let message = format!("redirected more than {REDIRECTS} times, at last to {}", shown_url(url));
        let failure = Failure::after_send(FailureKind::Transport, message)
            .hint("set url to the final address, or correct the redirects of the server");
        Err(Failure { status, ..failure })
    }

    /// Makes a failure of an error of the HTTP client.
    pub(super) fn transport(&self, error: &reqwest::Error) -> Failure {
        transport(error, &self.url, self.proxy.as_ref())
    }

    /// Returns the target of a redirect of `url` that may be followed.
    pub(super) fn moved(&self, url: &Url, response: &Response) -> Option<Url> {
        if !matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
            return None;
        }
        let target = url.join(response.headers().get(header::LOCATION)?.to_str().ok()?).ok()?;
        (target.origin() == self.url.origin()).then_some(target)
    }

    /// Sends one message to `url`, and once more with another token if the server refuses the first one unread.
    pub(super) async fn post_to(&self, url: Url, post: &Post) -> Result<Response, Failure> {
        let who = post.principal.as_ref();
        let bearer = self.bearer(who).await;
        let mut response = self.post_with(&url, post, bearer.as_ref()).await?;
        if !self.refused_token(&mut response, &url, who, bearer.as_ref()).await {
            return Ok(response);
        }
        self.record_head(&response, None, post.call);
        if let Some(observer) = &post.observer {
            observer.resent(Resend::NewCredentials);
        }
        let bearer = self.bearer(who).await;
        let mut response = self.post_with(&url, post, bearer.as_ref()).await?;
        // Not again: the answer to a second refusal is that the server refuses it.
        self.refused_token(&mut response, &url, who, bearer.as_ref()).await;
        Ok(response)
    }

    pub(super) async fn post_with(&self, url: &Url, post: &Post, bearer: Option<&Bearer>) -> Result<Response, Failure> {
        let fields = self.request_headers(&post.routing, "application/json, text/event-stream", &post.under, bearer);
        let mut request = self.client.post(url.clone()).header(header::CONTENT_TYPE, "application/json");
        for (name, value, _) in &fields {
            request = request.header(name, value);
        }
        let (handler, bytes) = (self.handler.clone(), post.body.bytes().clone());
        let note = self.note(format!("POST {}", url.path()), &fields);
        let taken = {
            let observer = post.observer.clone();
            let draft = FrameDraft {
                at: Stamp::default(),
                direction: Direction::Out,
                kind: post.kind,
                size: bytes.len() as u64,
                body: post.body.clone(),
                call: post.call,
                method: post.method.clone(),
                rpc_id: post.rpc_id.clone(),
                http: Some(note),
            };
            move || {
                let at = handler.now();
                if let Some(observer) = &observer {
                    observer.sent(at, draft.size);
                }
                handler.frame(FrameDraft { at, ..draft });
            }
        };
        let body = Stamped { data: Some(bytes), taken: Some(Box::new(taken)) };
        request.body(reqwest::Body::wrap(body)).send().await.map_err(|error| self.transport(&error))
    }

    /// Sends a message that expects no answer but an acknowledgement.
    pub(super) async fn tell(&self, body: Body, kind: FrameKind, method: Option<Arc<str>>, under: Under) -> Result<(), Failure> {
        let routing = match (&method, self.agreed.lock().era) {
            (Some(method), Some(Era::Modern)) => {
                vec![("Mcp-Method".to_owned(), method.to_string()), (VERSION.to_owned(), MODERN.to_owned())]
            }
            _ => vec![],
        };
        let post = Post { body, kind, method, rpc_id: None, call: None, routing, observer: None, under, repeatable: true, principal: None };
        let response = self.post(&post).await?;
        let status = response.status();
        self.record_head(&response, None, None);
        if status.is_success() { Ok(()) } else { Err(self.refusal(response, None, &post).await) }
    }

    /// Records an answer without a message.
    pub(super) fn record_head(&self, response: &Response, body: Option<&Body>, call: Option<CallId>) {
        let body = body.cloned().unwrap_or_default();
        self.handler.frame(FrameDraft {
            at: self.handler.now(),
            direction: Direction::In,
            kind: FrameKind::Http,
            size: body.len() as u64,
            body,
            call,
            method: None,
            rpc_id: None,
            http: Some(note_of(response)),
        });
    }

    /// Reads an error answer to `post` to the end (within reason), makes a failure of it and classifies it.
    pub(super) async fn refusal(&self, mut response: Response, call: Option<CallId>, post: &Post) -> Failure {
        let status = response.status();
        let mut page = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            page.extend_from_slice(&chunk[..chunk.len().min(ERROR_PAGE - page.len())]);
            if page.len() >= ERROR_PAGE {
                break;
            }
        }
        let body = Body::new(page);
        self.record_head(&response, Some(&body), call);
        let credentials = self.configured_headers().iter().any(|(name, _)| looks_secret(name));
        let mut failure = refused(status, &response, &body, credentials);
        self.explain_refusal(&mut failure, Rejection::of(&response), post.principal.as_ref());
        if status.is_redirection() && !post.repeatable && self.moved(&self.url, &response).is_some() {
            failure.hint = Some("a call that must not be repeated follows one redirect; give the final address as url".into());
        }
        if let Some(proxy) = &self.proxy
            && (status == StatusCode::PROXY_AUTHENTICATION_REQUIRED || (status.is_server_error() && self.url.scheme() == "http"))
        {
            failure.causes.push(format!("the connection goes through {proxy}"));
            failure.hint = Some(match status {
                StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                    "give the proxy's credentials in its address: http://user:password@host:port".into()
                }
                _ => proxy.hint(),
            });
        }
        failure.session_lost = if post.in_session() { session_loss(status, failure.rpc.as_ref()) } else { None };
        failure
    }
}
