//! The failure of a call: what happened, where, and what the user can try.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FailureKind, Label};
use crate::domain::{body::Body, bounds, login::LoginWanted, secret::Redactor, server::Exit, tls::TlsProblem};

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind, for programs.
    pub kind: FailureKind,
    /// The message, one line.
    pub message: String,
    /// The JSON-RPC error, if the server responded with one.
    pub rpc: Option<RpcError>,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
    /// HTTP headers of the failed response, secrets masked.
    pub headers: Vec<(String, String)>,
    /// The exit of the server's process.
    pub exit: Option<Exit>,
    /// Last lines of its stderr.
    pub stderr: Vec<String>,
    /// Causes, outermost first.
    pub causes: Vec<String>,
    /// Whether the request may have reached the server, so that it may have run. In the result of a call `false` if the
    /// operation [has no effects](super::Operation::has_effects).
    pub may_have_run: bool,
    /// What the user can try.
    pub hint: Option<String>,
    /// How long the server asked to wait (`Retry-After`).
    #[serde(default)]
    pub retry_after: Option<Duration>,
    /// Set when the server does not know the session of the request.
    #[serde(default)]
    pub session_lost: Option<SessionLoss>,
    /// What is wrong with the TLS of the server.
    #[serde(default)]
    pub tls: Option<TlsProblem>,
    /// The login that the server wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginWanted>,
}

/// How a server said that it does not know the session of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionLoss {
    /// HTTP 404 (MCP 2025-11-25, transports, "Session Management").
    NotFound,
    /// HTTP 400 with an SDK's own error.
    SdkError,
}

impl Failure {
    /// Creates a failure with kind and message of a request that was never sent.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            rpc: None,
            status: None,
            headers: vec![],
            exit: None,
            stderr: vec![],
            causes: vec![],
            may_have_run: false,
            hint: None,
            retry_after: None,
            session_lost: None,
            tls: None,
            login: None,
        }
    }

    /// Creates a failure of a request that may have reached the server.
    pub fn after_send(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { may_have_run: true, ..Self::new(kind, message) }
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Cuts every text to its limit ([`bounds`]). The result shares no memory with the received message.
    pub fn bounded(mut self) -> Self {
        bounds::shorten(&mut self.message, bounds::ERROR_TEXT);
        bound_lines(&mut self.causes);
        bound_lines(&mut self.stderr);
        for (_, value) in &mut self.headers {
            bounds::shorten(value, bounds::LINE);
        }
        if let Some(hint) = &mut self.hint {
            bounds::shorten(hint, bounds::LINE);
        }
        if let Some(rpc) = &mut self.rpc {
            bounds::shorten(&mut rpc.message, bounds::ERROR_TEXT);
            if let Some(data) = &mut rpc.data {
                *data = match data.len() {
                    len if len > bounds::ERROR_DATA => {
                        Body::from(bounds::cut_of(&data.front(bounds::ERROR_DATA).text(), bounds::ERROR_DATA, len).into_owned())
                    }
                    _ => data.detached(),
                };
            }
        }
        self
    }

    /// Reduces the failure to its kind and the beginning of its message, for old failures.
    pub fn thinned(&self) -> Self {
        let rpc =
            self.rpc.as_ref().map(|rpc| RpcError { code: rpc.code, message: bounds::cut(&rpc.message, THIN).into_owned(), data: None });
        Self {
            rpc,
            message: bounds::cut(&self.message, THIN).into_owned(),
            headers: vec![],
            stderr: vec![],
            causes: vec![],
            hint: None,
            ..self.clone()
        }
    }

    /// Returns the approximate size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        let lines = |lines: &[String]| lines.iter().map(|line| line.len() + size_of::<String>()).sum::<usize>();
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>()).sum();
        let rpc = self.rpc.as_ref().map_or(0, |rpc| rpc.message.len() + rpc.data.as_ref().map_or(0, Body::len));
        let hint = self.hint.as_ref().map_or(0, String::len);
        size_of::<Failure>() + self.message.len() + lines(&self.causes) + lines(&self.stderr) + headers + rpc + hint
    }

    /// Masks every known secret that the server quoted.
    pub fn redacted(mut self, redactor: &Redactor) -> Self {
        let texts = self.headers.iter_mut().map(|(_, value)| value).chain(&mut self.stderr).chain(&mut self.causes);
        let login = self.login.as_mut().map(|login| &mut login.why);
        for text in texts.chain([&mut self.message]).chain(self.rpc.as_mut().map(|rpc| &mut rpc.message)).chain(login) {
            *text = redactor.redact(text);
        }
        if let Some(data) = self.rpc.as_mut().and_then(|rpc| rpc.data.as_mut()) {
            *data = data.redacted(redactor);
        }
        self
    }

    /// Returns the complete report as labelled lines, for console and CLI.
    pub fn report(&self) -> Vec<(Label, String)> {
        let mut lines = vec![(Label::Failed, format!("{}: {}", self.kind.words(), self.message))];
        if let Some(rpc) = &self.rpc {
            lines.push((Label::Code, format!("{}{}", rpc.code, rpc_code_name(rpc.code).map(|n| format!(" ({n})")).unwrap_or_default())));
            if let Some(data) = &rpc.data {
                lines.push((Label::Data, data.text().into_owned()));
            }
        }
        lines.extend(self.causes.iter().map(|cause| (Label::Cause, cause.clone())));
        lines.extend(self.status.iter().map(|status| (Label::Status, status.to_string())));
        lines.extend(self.headers.iter().map(|(name, value)| (Label::Header, format!("{name}: {value}"))));
        lines.extend(self.exit.iter().map(|exit| (Label::Exit, exit.to_string())));
        lines.extend(self.stderr.iter().map(|line| (Label::Stderr, line.clone())));
        if self.may_have_run {
            lines.push((Label::Note, "the request was sent, so it may have run".into()));
        }
        lines.extend(self.hint.iter().map(|hint| (Label::Try, hint.clone())));
        lines
    }
}

/// Maximum message length of a [thinned](Failure::thinned) failure, in bytes.
const THIN: usize = 256;

/// Maximum number of causes, and of stderr lines, per failure.
const LINES: usize = 50;

/// Limits the number and length of lines.
pub fn bound_lines(lines: &mut Vec<String>) {
    if lines.len() > LINES {
        let more = lines.len() - LINES;
        lines.truncate(LINES);
        lines.push(format!("… and {more} more"));
    }
    for line in lines {
        bounds::shorten(line, bounds::LINE);
    }
}

/// The error object of a JSON-RPC response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RpcError {
    /// `code`.
    pub code: i64,
    /// `message`.
    pub message: String,
    /// `data` as received.
    pub data: Option<Body>,
}

/// Returns the name of a JSON-RPC or MCP error code, if it has one.
pub fn rpc_code_name(code: i64) -> Option<&'static str> {
    Some(match code {
        -32700 => "parse error",
        -32600 => "invalid request",
        -32601 => "method not found",
        -32602 => "invalid params",
        -32603 => "internal error",
        -32002 => "resource not found",
        -32020 => "header mismatch",
        -32021 => "missing client capability",
        -32022 => "unsupported protocol version",
        -32042 => "URL elicitation required",
        _ => return None,
    })
}
