//! What the head and the body of an HTTP answer say, and what failures they make.

use std::{sync::Arc, time::Duration};

use reqwest::{Response, StatusCode, Url, header};

use super::{EVENT_STREAM, proxy::Proxy, tls};
use crate::{
    domain::{
        body::Body,
        bounds,
        call::{Failure, FailureKind, RpcError},
        frame::HttpNote,
        policy::budget,
        secret::{MASK, rule},
        server::{ConnectFailure, Step, looks_secret},
        time::size,
    },
    mcp::handshake,
    protocol::wire,
};

pub(super) fn note_of(response: &Response) -> Arc<HttpNote> {
    let status = response.status();
    let line = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    Arc::new(HttpNote { line: line.trim_end().to_owned(), headers: Arc::new(shown_headers(response.headers())), event_id: None })
}

/// Returns the headers of a response as they may be displayed and stored: at most [`bounds::HEADERS`] bytes in total,
/// [`bounds::ERROR_TEXT`] of each.
fn shown_headers(headers: &header::HeaderMap) -> Vec<(String, String)> {
    let hidden = |name: &str| looks_secret(name) && !name.starts_with("mcp-") && name != "www-authenticate";
    let (mut shown, mut left, mut more) = (vec![], bounds::HEADERS, (0, 0));
    for (name, value) in headers {
        let size = name.as_str().len() + value.len();
        if left == 0 {
            more = (more.0 + 1, more.1 + size);
            continue;
        }
        left = left.saturating_sub(size.min(bounds::ERROR_TEXT));
        let text = match hidden(name.as_str()) {
            true => MASK.to_owned(),
            false if name == header::LOCATION => shown_location(&String::from_utf8_lossy(value.as_bytes())),
            false => bounds::cut(&String::from_utf8_lossy(value.as_bytes()), bounds::ERROR_TEXT).into_owned(),
        };
        shown.push((bounds::cut(name.as_str(), bounds::LINE).into_owned(), text));
    }
    if more.0 > 0 {
        shown.push(("…".to_owned(), format!("{} more headers, {}, are not stored", more.0, size(more.1 as u64))));
    }
    shown
}

/// Returns a URL as it may be shown: without user and password, other secrets masked.
pub(super) fn shown_url(mut url: Url) -> String {
    // These fail for URLs that cannot have any.
    let _ = (url.set_username(""), url.set_password(None));
    bounds::cut(&rule::masked_url(url.as_str(), MASK), bounds::ERROR_TEXT).into_owned()
}

/// Returns a `Location`, which may be relative (RFC 9110, section 10.2.2), as it may be shown.
fn shown_location(value: &str) -> String {
    if let Ok(url) = Url::parse(value) {
        return shown_url(url);
    }
    let base = Url::parse("relative://host/").ok();
    let absolute = base.and_then(|base| base.join(value).ok()).map(shown_url);
    let network_path = value.starts_with("//");
    let shown = absolute.as_deref().and_then(|url| url.strip_prefix(if network_path { "relative:" } else { "relative://host" }));
    shown.unwrap_or(MASK).to_owned()
}

/// Returns the target of a redirect as it may be shown.
fn redirect_target(response: &Response) -> Option<String> {
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    response.url().join(location).ok().map(shown_url)
}

pub(super) fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|c| c.to_str().ok()).unwrap_or_default();
    response.status().is_success() && kind.to_ascii_lowercase().starts_with(EVENT_STREAM)
}

/// Reads a body of at most `limit` bytes; says whether it was cut there.
pub(super) async fn read_body(mut response: Response, limit: usize) -> Result<(Body, bool), Failure> {
    let expected = response.content_length().and_then(|l| usize::try_from(l).ok()).unwrap_or(0);
    let mut buffer = Vec::with_capacity(expected.min(limit));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if buffer.len() + chunk.len() > limit => return Ok((Body::new(buffer), true)),
            Ok(Some(chunk)) => buffer.extend_from_slice(&chunk),
            Ok(None) => return Ok((Body::new(buffer), false)),
            Err(error) => {
                let mut failure =
                    Failure::after_send(FailureKind::Transport, format!("the answer was cut off after {}", size(buffer.len() as u64)));
                failure.causes = causes(&error);
                return Err(failure);
            }
        }
    }
}

/// Returns the host and port of a URL.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Makes a failure of an error of the HTTP client: what is wrong with the TLS of the server, or the whole chain of causes.
pub(super) fn transport(error: &reqwest::Error, url: &Url, proxy: Option<&Proxy>) -> Failure {
    let chain = causes(error);
    let unsent = error.is_connect() || error.is_builder();
    let deepest = chain.last().cloned().unwrap_or_default();
    let through = proxy.map(|proxy| format!(" through {proxy}")).unwrap_or_default();
    let broken_handshake =
        || (url.scheme() == "https" && error.is_connect() && proxy.is_none()).then(|| tls::ended_handshake(error, &host_of(url)));
    let tls = tls::failure_of(error, &host_of(url)).or_else(|| broken_handshake().flatten());
    let message = match (&tls, error.is_connect(), error.is_timeout()) {
        (Some(tls), ..) if proxy.is_some() => format!("{}; the connection goes{through}", tls.message),
        (Some(tls), ..) => tls.message.clone(),
        (None, true, true) => format!("no connection{through} in time"),
        (None, true, false) => format!("no connection{through}: {deepest}"),
        (None, false, _) => format!("the connection{through} broke: {deepest}"),
    };
    let mut failure =
        if unsent { Failure::new(FailureKind::Transport, message) } else { Failure::after_send(FailureKind::Transport, message) };
    if let Some(tls) = tls {
        failure.tls = Some(tls.problem);
        failure.hint = Some(tls.hint);
        return failure;
    }
    let all = chain.join(" ").to_ascii_lowercase();
    failure.hint = match (proxy, error.is_timeout()) {
        (Some(proxy), _) if error.is_connect() => Some(proxy.hint()),
        _ if all.contains("refused") => Some("nothing listens there; start the server, or check host and port of url".into()),
        _ if all.contains("dns") || all.contains("lookup") => Some("the host name cannot be resolved; check url and network".into()),
        _ if all.contains("parsed") => {
            Some("the response is not valid HTTP: check host and port of url, or whether another service listens there".into())
        }
        (_, false) if !error.is_connect() && url.scheme() == "http" => {
            Some("check the server's log; if it speaks TLS, use https:// in url".into())
        }
        (_, true) => Some("nothing answers there; check host and port of url, and whether it is http or https".into()),
        _ => None,
    };
    // The deepest one says what happened, whatever it is.
    failure.causes = chain.into_iter().filter(|cause| *cause == deepest || !names_layer(cause)).collect();
    failure
}

/// Returns whether a cause only names a layer of the HTTP client; the cause below it says what happened.
fn names_layer(cause: &str) -> bool {
    cause.starts_with("client error (") || cause == "tcp connect error"
}

pub(super) fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut chain = vec![];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if chain.last() != Some(&text) {
            chain.push(text);
        }
        cause = error.source();
    }
    if chain.is_empty() {
        chain.push(error.to_string());
    }
    chain
}

pub(super) fn unreachable(failure: &Failure) -> ConnectFailure {
    handshake::failed(Step::Dial, failure)
}

pub(super) fn excerpt(body: &Body) -> String {
    let text = body.text();
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[expect(clippy::disallowed_methods, reason = "compared with dates of HTTP headers")]
pub(super) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How long an answer asks to wait.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    budget::retry_after(response.headers().get(header::RETRY_AFTER)?.to_str().ok()?, unix_ms())
}

/// Whether a refusal may be another one later (RFC 9110, RFC 6585, RFC 8470).
pub(super) fn transient(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
}

/// Makes a failure of an error answer, with the JSON-RPC error in it where there is one.
///
/// `credentials`: whether the request carried any, for the hint.
///
/// Whatever the status, the request may have run: the body was sent, and no status proves what a server did before it
/// answered. Servers run a tool and answer 400, 401, 404, 409 or 429 afterwards, and so do proxies in front of them.
pub(super) fn refused(status: StatusCode, response: &Response, body: &Body, credentials: bool) -> Failure {
    let rpc = wire::value(body).and_then(|v| {
        let error = v.get("error")?;
        Some(RpcError {
            code: error.get("code")?.as_i64()?,
            message: error.get("message")?.as_str()?.to_owned(),
            data: error.get("data").map(Body::json),
        })
    });
    let words = format!("HTTP {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let target = redirect_target(response).filter(|_| status.is_redirection());
    let message = match (&rpc, &target) {
        (Some(rpc), _) => rpc.message.clone(),
        (None, Some(target)) => format!("{}: the server redirects to {target}", words.trim_end()),
        (None, None) if body.is_empty() => words.trim_end().to_owned(),
        (None, None) => format!("{}: {}", words.trim_end(), excerpt(body)),
    };
    let kind = match status.as_u16() {
        401 | 403 => FailureKind::Unauthorized,
        _ if rpc.is_some() => FailureKind::Protocol,
        _ => FailureKind::Transport,
    };
    let mut failure = Failure::after_send(kind, message);
    failure.status = Some(status.as_u16());
    failure.rpc = rpc;
    failure.retry_after = retry_after(response);
    let telling = ["www-authenticate", "retry-after", "content-type", "location", "server"];
    failure.headers = shown_headers(response.headers()).into_iter().filter(|(name, _)| telling.contains(&name.as_str())).collect();
    failure.hint = match status.as_u16() {
        401 if credentials => Some(
            "the server refuses the credentials that were sent; check the token in headers of its configuration, and its expiry".into(),
        ),
        401 => Some("the server wants credentials; set headers = { Authorization = \"Bearer ${TOKEN}\" } for it".into()),
        403 if credentials => Some("check the permissions (scopes) of the token in headers of its configuration".into()),
        403 => Some(
            "set headers = { Authorization = \"Bearer ${TOKEN}\" } for it if it wants credentials, or allow this client in its settings"
                .into(),
        ),
        404 | 405 => Some("check the path of url; it often ends in /mcp, or in /sse for the transport of 2024-11-05".into()),
        429 => Some("wait as retry-after says, and set rate_limit.per_second for this server to send fewer requests".into()),
        502..=504 => Some(
            "check that the server behind this address is running: a proxy or gateway responded, or the server is overloaded; then try again"
                .into(),
        ),
        500.. => Some("check the server's log or contact its operator: the error is in the server; then try again".into()),
        300..=399 => Some(match target {
            Some(target) => format!("if this is the address of the server, set url = \"{target}\""),
            None => "the server redirects without an address; check url".into(),
        }),
        _ => None,
    };
    failure.bounded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_targets_are_shown_without_credentials() {
        for (location, shown) in [
            ("https://ann:hunter22@other.example/mcp?token=s3cr3tvalue&page=2#x", "https://other.example/mcp?token=•••&page=2#x"),
            ("/mcp/?api_key=s3cr3tvalue", "/mcp/?api_key=•••"),
            ("//ann:hunter22@other.example/mcp", "//other.example/mcp"),
            ("mcp/", "/mcp/"),
            ("mailto:someone@example.com", "mailto:someone@example.com"),
        ] {
            assert_eq!(shown_location(location), shown, "{location}");
        }
    }
}
