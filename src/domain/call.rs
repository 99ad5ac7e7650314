//! Calls: request, progress and outcome.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    body::Body,
    bounds,
    id::{CallId, ClientId, ServerId, ToolId},
    login::LoginWanted,
    run::RunStep,
    secret::Redactor,
    server::Exit,
    time::Stamp,
    tls::TlsProblem,
};

/// The operation that a call requests from a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Operation {
    /// `tools/call`.
    Tool {
        /// The tool.
        tool: ToolId,
        /// The arguments object: JSON text exactly as sent.
        arguments: Body,
    },
    /// `resources/read`.
    Resource {
        /// The server.
        server: ServerId,
        /// The resource.
        uri: String,
    },
    /// `prompts/get`.
    Prompt {
        /// The server.
        server: ServerId,
        /// The prompt's name.
        name: String,
        /// Its arguments: a JSON object of strings.
        arguments: Body,
    },
    /// `completion/complete`.
    Complete {
        /// The server.
        server: ServerId,
        /// The complete `params`, JSON.
        params: Body,
    },
    /// Any other request, sent as is.
    Raw {
        /// The server.
        server: ServerId,
        /// The method.
        method: String,
        /// `params`, JSON; absent if empty.
        params: Body,
    },
}

impl Operation {
    /// Returns the server that receives the request.
    pub fn server(&self) -> &ServerId {
        match self {
            Operation::Tool { tool, .. } => &tool.server,
            Operation::Resource { server, .. }
            | Operation::Prompt { server, .. }
            | Operation::Complete { server, .. }
            | Operation::Raw { server, .. } => server,
        }
    }

    /// Returns the JSON-RPC method.
    pub fn method(&self) -> &str {
        match self {
            Operation::Tool { .. } => "tools/call",
            Operation::Resource { .. } => "resources/read",
            Operation::Prompt { .. } => "prompts/get",
            Operation::Complete { .. } => "completion/complete",
            Operation::Raw { method, .. } => method,
        }
    }

    /// Returns whether the request may change something at the server. By the protocol, reads, lists, prompts and completions
    /// do not; a request that is unknown here may.
    pub fn has_effects(&self) -> bool {
        const READS: [&str; 12] = [
            "completion/complete",
            "ping",
            "prompts/get",
            "prompts/list",
            "resources/list",
            "resources/read",
            "resources/templates/list",
            "server/discover",
            "tasks/get",
            "tasks/list",
            "tasks/result",
            "tools/list",
        ];
        !READS.contains(&self.method())
    }

    /// Returns an argument of a tool call as text: strings as they are, other values as JSON.
    pub fn argument(&self, name: &str) -> Option<String> {
        let Operation::Tool { arguments, .. } = self else { return None };
        match arguments.value()?.get(name)? {
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Returns the approximate size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        match self {
            Operation::Tool { arguments, .. } => arguments.len(),
            Operation::Resource { uri, .. } => uri.len(),
            Operation::Prompt { name, arguments, .. } => name.len() + arguments.len(),
            Operation::Complete { params, .. } => params.len(),
            Operation::Raw { method, params, .. } => method.len() + params.len(),
        }
    }

    /// Returns the subject for users: the tool's own name, URI, prompt name or method.
    pub fn subject(&self) -> &str {
        match self {
            Operation::Tool { tool, .. } => &tool.name,
            Operation::Resource { uri, .. } => uri,
            Operation::Prompt { name, .. } => name,
            Operation::Complete { .. } => "completion/complete",
            Operation::Raw { method, .. } => method,
        }
    }
}

/// A requested call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallSpec {
    /// The operation.
    pub operation: Operation,
    /// The origin of the request.
    pub origin: Origin,
    /// Overall deadline, overriding the server's.
    pub timeout: Option<Duration>,
    /// The workflow step that the call belongs to.
    #[serde(default)]
    pub run: Option<RunStep>,
    /// Whether arguments that violate the tool's schema are sent.
    #[serde(default, skip_serializing_if = "ArgumentCheck::is_enforced")]
    pub check: ArgumentCheck,
    /// Members to add to `_meta` of the request: a JSON object ([`super::request_meta::parse`]), or empty.
    #[serde(default, skip_serializing_if = "Body::is_empty")]
    pub meta: Body,
    /// The call that this one continues: it ended with an interim result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<CallId>,
    /// The client that requested the call. The engine sets it; a client cannot choose it.
    #[serde(default, skip_serializing_if = "ClientId::is_local")]
    pub client: ClientId,
}

impl CallSpec {
    /// Creates a call with the server's deadline, outside of a workflow.
    pub fn new(operation: Operation, origin: Origin) -> Self {
        Self {
            operation,
            origin,
            timeout: None,
            run: None,
            check: ArgumentCheck::Enforced,
            meta: Body::default(),
            follows: None,
            client: ClientId::LOCAL,
        }
    }

    /// Creates a call of `tool` with `arguments` (JSON text) and the server's deadline.
    pub fn tool(tool: ToolId, arguments: impl Into<Body>, origin: Origin) -> Self {
        Self::new(Operation::Tool { tool, arguments: arguments.into() }, origin)
    }
}

/// Whether the engine checks the arguments of a call against the tool's schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentCheck {
    /// Arguments that violate the schema are not sent.
    #[default]
    Enforced,
    /// Any JSON object is sent. The face has shown the violations to the user.
    Skipped,
}

impl ArgumentCheck {
    /// Returns whether arguments that violate the schema are refused.
    pub fn is_enforced(&self) -> bool {
        *self == ArgumentCheck::Enforced
    }
}

/// The origin of a call. Serialised as text: `console`, `client:7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Origin {
    /// A user of the console.
    Console,
    /// The command line.
    Cli,
    /// The demo's background traffic.
    Demo,
    /// A step of a workflow.
    Workflow,
    /// A client of the gateway.
    Client(ClientId),
}

impl Origin {
    /// Returns the kind.
    pub fn kind(self) -> OriginKind {
        match self {
            Origin::Console => OriginKind::Console,
            Origin::Cli => OriginKind::Cli,
            Origin::Demo => OriginKind::Demo,
            Origin::Workflow => OriginKind::Workflow,
            Origin::Client(_) => OriginKind::Client,
        }
    }

    /// Returns the name for users, without the number of a client.
    pub fn word(self) -> &'static str {
        self.kind().word()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Client(client) => write!(f, "{}:{client}", self.word()),
            other => f.write_str(other.word()),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Origin, String> {
        let unknown = || format!("unknown origin {text:?}");
        Ok(match text {
            "console" => Origin::Console,
            "cli" => Origin::Cli,
            "demo" => Origin::Demo,
            "workflow" => Origin::Workflow,
            other => {
                let number = other.strip_prefix("client:").filter(|number| number.bytes().all(|digit| digit.is_ascii_digit()));
                Origin::Client(ClientId(number.and_then(|number| number.parse().ok()).ok_or_else(unknown)?))
            }
        })
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Origin, String> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> String {
        origin.to_string()
    }
}

/// The kind of an [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OriginKind {
    /// A user of the console.
    Console,
    /// The command line.
    Cli,
    /// The demo's background traffic.
    Demo,
    /// A step of a workflow.
    Workflow,
    /// A client of the gateway.
    Client,
}

impl OriginKind {
    /// All kinds.
    pub const ALL: [OriginKind; 5] = [OriginKind::Console, OriginKind::Cli, OriginKind::Demo, OriginKind::Workflow, OriginKind::Client];

    /// Returns the name for users.
    pub fn word(self) -> &'static str {
        match self {
            OriginKind::Console => "console",
            OriginKind::Cli => "cli",
            OriginKind::Demo => "demo",
            OriginKind::Workflow => "workflow",
            OriginKind::Client => "client",
        }
    }
}

/// Progress of a call reported by the server (`notifications/progress`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The progress in the server's unit.
    pub progress: f64,
    /// The total, if the server knows it.
    pub total: Option<f64>,
    /// The server's message.
    pub message: Option<String>,
}

impl Progress {
    /// Reads the `params` of `notifications/progress`; `None` without a finite number.
    pub fn read(params: &Body) -> Option<Progress> {
        let [progress, total, message] = params.fields(["progress", "total", "message"])?;
        let number = |raw: &RawValue| raw.get().parse().ok().filter(|number: &f64| number.is_finite());
        Some(Progress {
            progress: number(progress?)?,
            total: total.and_then(number),
            message: message.and_then(|message| bounds::json_text(message.get(), bounds::LINE)),
        })
    }
}

/// Timestamps of a call, taken where its bytes are sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// The call was requested.
    pub queued: Stamp,
    /// The last byte of the (first) request was handed to the system.
    pub sent: Option<Stamp>,
    /// The first byte of the (last) response was read.
    pub first_byte: Option<Stamp>,
    /// The last byte of the (last) response was read.
    pub last_byte: Option<Stamp>,
    /// The outcome was known.
    pub settled: Stamp,
}

impl Timings {
    /// Returns the time from request to outcome.
    pub fn total(&self) -> Duration {
        self.settled.since(self.queued)
    }

    /// Returns the time until the last byte of the request was sent; the total if nothing was sent.
    pub fn wait(&self) -> Duration {
        self.sent.unwrap_or(self.settled).since(self.queued)
    }

    /// Returns the time from the last byte of the request to the last byte of the response; `None` without a
    /// response.
    pub fn wire(&self) -> Option<Duration> {
        Some(self.last_byte?.since(self.sent?))
    }
}

/// The outcome of a call. Every call has exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A response.
    Ok {
        /// The `result` as received.
        result: Body,
    },
    /// A response with `isError: true`: the tool failed, but the server is up.
    ToolError {
        /// The `result` as received.
        result: Body,
    },
    /// No usable response.
    Failed {
        /// The failure.
        failure: Arc<Failure>,
    },
    /// Cancelled by the caller.
    Cancelled {
        /// By whom and why.
        reason: String,
    },
    /// A response that is not the final result, for a client that continues the call itself.
    Interim {
        /// The `result` as received.
        result: Body,
        /// What the server waits for.
        kind: InterimKind,
    },
}

/// What a server waits for that answered with an interim result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterimKind {
    /// Input (MCP 2026-07-28, `input_required`).
    InputRequired,
    /// Requests for the state and the result of a task.
    Task,
}

impl InterimKind {
    /// Returns the name for users.
    pub fn words(self) -> &'static str {
        match self {
            InterimKind::InputRequired => "input required",
            InterimKind::Task => "task",
        }
    }
}

impl Outcome {
    /// Returns the name for users: `ok`, `tool error`, the kind of failure, `cancelled`.
    pub fn words(&self) -> &'static str {
        match self {
            Outcome::Ok { .. } => "ok",
            Outcome::ToolError { .. } => "tool error",
            Outcome::Failed { failure } => failure.kind.words(),
            Outcome::Cancelled { .. } => "cancelled",
            Outcome::Interim { kind, .. } => kind.words(),
        }
    }

    /// Returns the result body, if there is one.
    pub fn result(&self) -> Option<&Body> {
        match self {
            Outcome::Ok { result } | Outcome::ToolError { result } | Outcome::Interim { result, .. } => Some(result),
            _ => None,
        }
    }
}

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
    /// operation [has no effects](Operation::has_effects).
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

/// The label of a line in a failure report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Kind and message of the failure of a call.
    Failed,
    /// The error of a connection.
    Error,
    /// The step of connecting that failed.
    Step,
    /// The place in a configuration file.
    Place,
    /// The code of the JSON-RPC error.
    Code,
    /// The data of the JSON-RPC error.
    Data,
    /// A cause.
    Cause,
    /// The command of a server.
    Command,
    /// The endpoint of a server.
    Target,
    /// The working directory of a program.
    Cwd,
    /// The result of the `PATH` lookup of a command.
    Path,
    /// An HTTP status.
    Status,
    /// An HTTP header.
    Header,
    /// How a process ended.
    Exit,
    /// A line of stderr.
    Stderr,
    /// A note.
    Note,
    /// What the user can try.
    Try,
}

impl Label {
    /// Returns the label for users.
    pub fn word(self) -> &'static str {
        match self {
            Label::Failed => "failed",
            Label::Error => "error",
            Label::Step => "step",
            Label::Place => "place",
            Label::Code => "code",
            Label::Data => "data",
            Label::Cause => "cause",
            Label::Command => "command",
            Label::Target => "target",
            Label::Cwd => "cwd",
            Label::Path => "PATH",
            Label::Status => "status",
            Label::Header => "header",
            Label::Exit => "exit",
            Label::Stderr => "stderr",
            Label::Note => "note",
            Label::Try => "try",
        }
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

/// The response to a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The `result`, as received.
    pub result: Body,
    /// When its first byte was read.
    pub first_byte: Stamp,
    /// When its last byte was read.
    pub last_byte: Stamp,
    /// Bytes of the request.
    pub sent_bytes: u64,
    /// Bytes of the response.
    pub received_bytes: u64,
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

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The server is not connected and will not be in time.
    NotReady,
    /// The server does not exist.
    UnknownServer,
    /// The server does not list the tool.
    UnknownTool,
    /// The arguments do not match the tool's schema; nothing was sent.
    InvalidArguments,
    /// The connection failed or broke.
    Transport,
    /// The deadline was exceeded.
    Timeout,
    /// The server responded with an error or a malformed response.
    Protocol,
    /// The server's process exited during the call.
    Exited,
    /// The response exceeds the size limit.
    TooLarge,
    /// The server requires credentials (401) or rejects them (403).
    Unauthorized,
    /// Refused locally.
    Refused,
    /// The circuit breaker of the server or tool is open.
    BreakerOpen,
    /// The concurrency or rate limit of the server is exhausted.
    Overloaded,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [FailureKind; 13] = [
        FailureKind::NotReady,
        FailureKind::UnknownServer,
        FailureKind::UnknownTool,
        FailureKind::InvalidArguments,
        FailureKind::Transport,
        FailureKind::Timeout,
        FailureKind::Protocol,
        FailureKind::Exited,
        FailureKind::TooLarge,
        FailureKind::Unauthorized,
        FailureKind::Refused,
        FailureKind::BreakerOpen,
        FailureKind::Overloaded,
    ];

    /// Returns the name for users.
    pub fn words(self) -> &'static str {
        match self {
            FailureKind::NotReady => "not ready",
            FailureKind::UnknownServer => "unknown server",
            FailureKind::UnknownTool => "unknown tool",
            FailureKind::InvalidArguments => "invalid arguments",
            FailureKind::Transport => "transport",
            FailureKind::Timeout => "timeout",
            FailureKind::Protocol => "protocol",
            FailureKind::Exited => "server exited",
            FailureKind::TooLarge => "too large",
            FailureKind::Unauthorized => "unauthorized",
            FailureKind::Refused => "refused",
            FailureKind::BreakerOpen => "breaker open",
            FailureKind::Overloaded => "overloaded",
        }
    }

    /// The word for programs, as in JSON.
    pub fn key(self) -> &'static str {
        match self {
            FailureKind::NotReady => "not_ready",
            FailureKind::UnknownServer => "unknown_server",
            FailureKind::UnknownTool => "unknown_tool",
            FailureKind::InvalidArguments => "invalid_arguments",
            FailureKind::Transport => "transport",
            FailureKind::Timeout => "timeout",
            FailureKind::Protocol => "protocol",
            FailureKind::Exited => "exited",
            FailureKind::TooLarge => "too_large",
            FailureKind::Unauthorized => "unauthorized",
            FailureKind::Refused => "refused",
            FailureKind::BreakerOpen => "breaker_open",
            FailureKind::Overloaded => "overloaded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_stored_as_text() {
        let all =
            [Origin::Console, Origin::Cli, Origin::Demo, Origin::Workflow, Origin::Client(ClientId(7)), Origin::Client(ClientId(u32::MAX))];
        for (origin, text) in all.into_iter().zip(["console", "cli", "demo", "workflow", "client:7", "client:4294967295"]) {
            assert_eq!(serde_json::to_string(&origin).unwrap(), format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Origin>(&format!("{text:?}")).unwrap(), origin);
        }
        for text in ["client", "client:", "client:+7", "client:4294967296", "Console", ""] {
            assert!(text.parse::<Origin>().is_err(), "{text:?}");
        }
        assert_eq!(OriginKind::ALL.map(OriginKind::word), ["console", "cli", "demo", "workflow", "client"]);
    }

    #[test]
    fn progress_without_a_finite_number_is_none() {
        let read = |params: &str| Progress::read(&Body::from(params));
        assert_eq!(read(r#"{"progress":1.50,"total":3}"#), Some(Progress { progress: 1.5, total: Some(3.0), message: None }));
        for params in ["{}", r#"{"progress":"1"}"#, r#"{"progress":1e400}"#, "[1]"] {
            assert_eq!(read(params), None, "{params}");
        }
    }
}
