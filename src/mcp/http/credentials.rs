//! Credentials of requests: adds the token of the [`Credentials`] port, and asks the port what follows when the server refuses it.

use std::sync::Arc;

use reqwest::{Response, StatusCode, Url, header};

use super::{HttpLink, handshake_over};
use crate::{
    domain::{
        call::{Failure, FailureKind},
        client::Principal,
        login::LoginWanted,
        secret::MASK,
        server::{Step, Transport},
    },
    engine::ports::{Bearer, CredentialVerdict, Credentials, Refusal},
    mcp::handshake,
};

/// The credentials of one connection.
pub(super) struct Access {
    port: Arc<dyn Credentials>,
    /// On whose behalf the requests of the connection itself are made.
    principal: Principal,
}

/// Why a refused request is not sent again. Part of the response.
#[derive(Clone)]
pub(super) enum Rejection {
    NeedsLogin(LoginWanted),
    Denied(String),
}

impl Rejection {
    /// Returns what was decided about the refusal that a response is.
    pub(super) fn of(response: &Response) -> Option<Rejection> {
        response.extensions().get().cloned()
    }
}

impl Access {
    /// Returns the access of a connection; `None` if its configuration sets `Authorization` itself.
    pub(super) fn of(launch: &Transport, credentials: Option<(Arc<dyn Credentials>, Principal)>) -> Option<Access> {
        let (port, principal) = credentials?;
        let configured = match launch {
            Transport::Http { headers, .. } => headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")),
            Transport::Stdio { .. } => true,
        };
        (!configured).then_some(Access { port, principal })
    }
}

/// A header with the form to show.
type ShownHeader = (String, String, String);

impl HttpLink {
    /// Returns the token for a request of `who`, or of the connection itself. It is masked from now on.
    pub(super) async fn bearer(&self, who: Option<&Principal>) -> Option<Bearer> {
        let access = self.access.as_ref()?;
        let bearer = access.port.bearer(&self.spec, who.unwrap_or(&access.principal)).await?;
        self.handler.secret(&bearer.value);
        Some(bearer)
    }

    /// Returns whether the same request is to be sent once more, with another token. If not, the response
    /// says so to [`HttpLink::explain_refusal`].
    pub(super) async fn refused_token(&self, response: &mut Response, url: &Url, who: Option<&Principal>, sent: Option<&Bearer>) -> bool {
        let Some(access) = self.access.as_ref().filter(|_| is_refusal(response)) else { return false };
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
        let challenges = challenges.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        // The address of a proxy says nothing about the server.
        let peer = if self.proxy.is_none() { response.remote_addr().map(|address| address.ip()) } else { None };
        let refusal = Refusal { status: response.status().as_u16(), challenges, url: url.to_string(), peer };
        let who = who.unwrap_or(&access.principal);
        let rejection = match access.port.refused(&self.spec, who, refusal, sent.map(|bearer| bearer.generation)).await {
            CredentialVerdict::Again => return true,
            CredentialVerdict::NeedsLogin(wanted) => Rejection::NeedsLogin(wanted),
            CredentialVerdict::Denied(why) => Rejection::Denied(why),
        };
        response.extensions_mut().insert(rejection);
        false
    }

    /// Adds the decision of the credentials port to the failure of a refused request. Ends a connection that needs a login, unless
    /// other requests are under way or the request was one of another principal.
    pub(super) fn explain_refusal(&self, failure: &mut Failure, rejection: Option<Rejection>, who: Option<&Principal>) {
        match rejection {
            Some(Rejection::NeedsLogin(wanted)) => {
                failure.kind = FailureKind::Unauthorized;
                // The server did not grant access (RFC 6750, section 3.1).
                failure.may_have_run = false;
                failure.hint = Some(format!("run: {}; or set the header Authorization in its configuration", wanted.command));
                failure.login = Some(wanted);
                let own = self.access.as_ref().is_some_and(|access| who.is_none_or(|who| *who == access.principal));
                let refused = failure.status == Some(StatusCode::UNAUTHORIZED.as_u16());
                if own && refused && self.connection.alone() && handshake_over(self) {
                    self.ending.end(handshake::failed(Step::Run, failure));
                }
            }
            Some(Rejection::Denied(why)) => failure.causes.push(why),
            None => {}
        }
    }
}

/// Returns the header that carries a token.
pub(super) fn authorization(bearer: Option<&Bearer>) -> Option<ShownHeader> {
    let bearer = bearer?;
    Some(("authorization".to_owned(), format!("Bearer {}", bearer.value.expose()), format!("Bearer {MASK}")))
}

/// Returns whether a response refuses the credentials of its request (RFC 6750, section 3.1).
fn is_refusal(response: &Response) -> bool {
    match response.status() {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::FORBIDDEN => response.headers().contains_key(header::WWW_AUTHENTICATE),
        _ => false,
    }
}
