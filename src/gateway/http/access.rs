//! Who may use the listener: the checks of host, origin, token, content type and path, before anything of a body is read. Pure.
//!
//! Any page in a browser can send requests to a loopback address. The `Host` header tells a name that was rebound to it (DNS
//! rebinding), and `Origin` the page (MCP 2025-11-25, transports, "Security Warning").

use std::{fmt, net::SocketAddr, sync::Arc};

use hyper::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN},
};

use crate::domain::{client::Principal, profile::DEFAULT, secret::Secret};

/// The path of the endpoint.
const ENDPOINT: &str = "/mcp";
/// The path of the health check.
const HEALTH: &str = "/healthz";
/// The path of the metrics.
const METRICS: &str = "/metrics";
/// Names of the loopback interface in `Host` and `Origin`.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Who may use a listener.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The address of the listener; `None` for a Unix socket.
    pub address: Option<SocketAddr>,
    /// Further names of this machine that clients may use, with or without a port.
    pub hosts: Vec<String>,
    /// Origins of pages that may send requests, such as `https://example.com`.
    pub origins: Vec<String>,
    /// The bearer token that requests need.
    pub token: Option<Secret>,
    /// The tokens that requests of these profiles need instead.
    pub profile_tokens: Vec<(Arc<str>, Secret)>,
    /// Tokens that were issued by name. They are accepted in addition to `token`.
    pub issued: Option<Arc<dyn TokenLookup>>,
}

/// Looks tokens up that were issued by name. The answers may change at any time.
pub trait TokenLookup: fmt::Debug + Send + Sync {
    /// Returns whether requests need a token because of these.
    fn required(&self) -> bool;

    /// Returns the name of a token; `None` if it is unknown or was revoked.
    fn principal(&self, token: &[u8]) -> Option<Arc<str>>;
}

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// On whose behalf.
    pub principal: Principal,
    /// The token, if it was issued by name: it can be revoked at any time.
    pub issued: Option<Secret>,
}

/// A listener that would be open to everybody on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a loopback address, so the listener needs a token")]
pub struct Exposed(SocketAddr);

/// What a request that passed the checks is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The metrics.
    Metrics,
    /// `POST`: a message.
    Message,
    /// `GET`: the event stream of a session.
    Stream,
    /// `DELETE`: the end of a session.
    End,
    /// The health check.
    Health,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The `Host` header is missing, or names another machine.
    Host,
    /// A page of this origin may not send requests.
    Origin,
    /// The token is missing or wrong.
    Token,
    /// Nothing is at this path.
    Path,
    /// The path has no such method.
    Method,
    /// The body is not JSON.
    ContentType,
}

/// Returns the name of the profile at a path: the default one at `/mcp`, NAME at `/mcp/NAME`.
pub fn profile(path: &str) -> Option<&str> {
    match path.strip_prefix(ENDPOINT)? {
        "" => Some(DEFAULT),
        rest => rest.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/')),
    }
}

impl Refusal {
    /// Returns the HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::Host | Refusal::Origin => StatusCode::FORBIDDEN,
            Refusal::Token => StatusCode::UNAUTHORIZED,
            Refusal::Path => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    /// Returns the message for the client.
    pub fn message(self) -> &'static str {
        match self {
            Refusal::Host => "the Host header does not name this server",
            Refusal::Origin => "this origin may not use the server",
            Refusal::Token => "a valid bearer token is required",
            Refusal::Path => "nothing is at this path; the endpoint is /mcp",
            Refusal::Method => "the method is not allowed",
            Refusal::ContentType => "the content type should be application/json",
        }
    }
}

impl Access {
    /// Checks that the listener may be opened: off the loopback interface it needs a token.
    pub fn check_exposure(&self) -> Result<(), Exposed> {
        match self.address {
            Some(address) if !address.ip().is_loopback() && self.token.is_none() && self.required_issued().is_none() => {
                Err(Exposed(address))
            }
            _ => Ok(()),
        }
    }

    /// Checks the head of a request, in this order: host, origin, token, path, method, content type.
    pub fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Target, Refusal> {
        if !self.is_host_allowed(headers) {
            return Err(Refusal::Host);
        }
        if !self.is_origin_allowed(headers) {
            return Err(Refusal::Origin);
        }
        if self.identify(path, headers).is_none() {
            return Err(Refusal::Token);
        }
        match (path, method) {
            (HEALTH, &Method::GET) => Ok(Target::Health),
            (HEALTH, _) => Err(Refusal::Method),
            (METRICS, &Method::GET) => Ok(Target::Metrics),
            (METRICS, _) => Err(Refusal::Method),
            (path, _) if profile(path).is_none() => Err(Refusal::Path),
            (_, &Method::GET) => Ok(Target::Stream),
            (_, &Method::DELETE) => Ok(Target::End),
            (_, &Method::POST) if is_json(headers) => Ok(Target::Message),
            (_, &Method::POST) => Err(Refusal::ContentType),
            _ => Err(Refusal::Method),
        }
    }

    fn is_host_allowed(&self, headers: &HeaderMap) -> bool {
        // Only one: a proxy in front may read the first and the server the last.
        let mut given = headers.get_all(HOST).iter();
        let (host, None) = (given.next().and_then(|host| host.to_str().ok()), given.next()) else { return false };
        match (host, self.address) {
            // The permissions of the socket decide; nobody reaches it by a name.
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(host), Some(address)) => self.names_this(host, address),
        }
    }

    /// Returns whether an authority (`host` or `host:port`) is this listener's.
    fn names_this(&self, authority: &str, address: SocketAddr) -> bool {
        let (host, port) = split_port(authority);
        let is_named = |name: &str| host.eq_ignore_ascii_case(name);
        let own_port = port.is_none_or(|port| port == address.port().to_string());
        let loopback = LOOPBACK.into_iter().any(is_named) && own_port;
        let bound = !address.ip().is_unspecified() && own_port && is_named(split_port(&address.to_string()).0);
        loopback || bound || self.hosts.iter().any(|allowed| authority.eq_ignore_ascii_case(allowed) || is_named(allowed))
    }

    fn is_origin_allowed(&self, headers: &HeaderMap) -> bool {
        headers.get_all(ORIGIN).iter().all(|origin| {
            let Ok(origin) = origin.to_str() else { return false };
            if self.origins.iter().any(|allowed| origin.eq_ignore_ascii_case(allowed)) {
                return true;
            }
            // A page of this machine, on any port: the tools of developers.
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            authority.is_some_and(|authority| LOOPBACK.into_iter().any(|name| split_port(authority).0.eq_ignore_ascii_case(name)))
        })
    }

    /// Returns the token of a profile that has one of its own.
    pub fn token_of(&self, profile: &str) -> Option<&Secret> {
        self.profile_tokens.iter().find(|(name, _)| &**name == profile).map(|(_, token)| token)
    }

    /// Returns the issued tokens, if requests need one because of them.
    fn required_issued(&self) -> Option<&dyn TokenLookup> {
        self.issued.as_deref().filter(|issued| issued.required())
    }

    /// Returns whether a token that was issued by name is valid.
    pub fn is_issued(&self, token: &[u8]) -> bool {
        self.issued.as_deref().is_some_and(|issued| issued.principal(token).is_some())
    }

    /// Returns who sends a request; `None` if its token is missing or wrong. A profile with a token of its own, and a token that was issued
    /// by name, are principals: they share neither cached responses nor states with others.
    pub fn identify(&self, path: &str, headers: &HeaderMap) -> Option<Identity> {
        let not_issued = |principal| Identity { principal, issued: None };
        let own = profile(path).and_then(|profile| Some((profile, self.token_of(profile)?)));
        let issued = self.required_issued();
        if own.is_none() && self.token.is_none() && issued.is_none() {
            return Some(not_issued(Principal::local()));
        }
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return None };
        let given = bearer(value)?;
        let is = |token: &Secret| equal(given, token.expose().as_bytes());
        match own {
            Some((profile, token)) => is(token).then(|| not_issued(Principal::new(profile))),
            None if self.token.as_ref().is_some_and(is) => Some(not_issued(Principal::local())),
            None => {
                let principal = issued?.principal(given).map(Principal::new)?;
                Some(Identity { principal, issued: Some(Secret::literal(std::str::from_utf8(given).ok()?)) })
            }
        }
    }
}

/// Returns the token of `Authorization: Bearer …`; the scheme may have any case (RFC 9110, section 11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Compares in a time that depends on the lengths only.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b));
    // The optimiser must not end the loop early.
    std::hint::black_box(differences) == 0 && a.len() == b.len()
}

/// Splits `host:port`; an IPv6 address is in brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_address = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_address..].rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => (&authority[..after_address + host.len()], Some(port)),
        _ => (authority, None),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else { return false };
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
