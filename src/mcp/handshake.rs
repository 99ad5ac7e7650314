//! The handshake of both eras: finds out the era of a server, agrees on a version, and reads what the server says of itself.
//!
//! Used by [`super::session`]. The rules are those of MCP 2026-07-28 (basic/versioning and both transports, "Backward
//! Compatibility"): a server that answers the probe with a recognised modern error is modern, another answer means a legacy
//! server, and an answer that decides nothing leads to `initialize` without being remembered.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json, value::RawValue};
use tokio::time::timeout;

use super::link::{Link, Quiet};
use crate::{
    domain::{
        advice::Advice,
        body::{self, Body},
        bounds,
        call::{Failure, FailureKind, RpcError},
        capabilities::{self, ClientCapabilities},
        client::Face,
        raw_object::RawObject,
        server::{ConnectFailure, Era, EraChoice, ServerSpec, Step, Timeouts, Transport},
        time::short,
    },
    engine::ports::{ClientHandler, Request},
    protocol::meta::{self, Meta},
};

/// The newest supported version of the modern era.
pub const MODERN: &str = "2026-07-28";
/// The newest version of the legacy era, offered in `initialize`.
pub const LEGACY: &str = "2025-11-25";
/// Every supported version of the legacy era, the newest first.
pub const LEGACY_VERSIONS: [&str; 4] = [LEGACY, "2025-06-18", "2025-03-26", "2024-11-05"];
/// The error codes of MCP 2026-07-28 that only modern servers use (basic, "Error Codes").
pub const HEADER_MISMATCH: i64 = -32020;
/// A capability is missing that the request needs.
pub const MISSING_CAPABILITY: i64 = -32021;
/// The version is not supported.
pub const UNSUPPORTED_VERSION: i64 = -32022;

/// The headers of a refused connection that say what to do.
const TELLING: [&str; 3] = ["www-authenticate", "retry-after", "location"];
/// Number of supported versions that are read from a server.
const VERSIONS: usize = 64;
/// How long the probe waits for a program that has written nothing to stdout: most servers that ignore unknown requests stay
/// silent.
const SILENT: Duration = Duration::from_secs(2);

/// What is known of a server before the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: the era is probed for.
    Nothing,
    /// It spoke this era before.
    Era(Era),
}

/// The result of a handshake.
pub struct Agreement {
    /// The era.
    pub era: Era,
    /// The version.
    pub version: String,
    /// Whether the era is a property of the server. An era that was used because the probe decided nothing is not.
    pub certain: bool,
    /// How long the probe was waited for, if it was not answered.
    pub unanswered: Option<Duration>,
    /// `serverInfo.name`.
    pub name: Option<String>,
    /// `serverInfo.title`.
    pub title: Option<String>,
    /// `serverInfo.version`.
    pub server_version: Option<String>,
    /// `instructions`.
    pub instructions: Option<String>,
    /// The capabilities of the server.
    pub capabilities: Body,
}

impl Agreement {
    /// Reads the members of a result, each within its limit.
    fn read(
        era: Era,
        version: String,
        server: Option<&RawValue>,
        instructions: Option<&RawValue>,
        capabilities: Option<&RawValue>,
    ) -> Agreement {
        let text = |field: Option<&RawValue>, limit| field.and_then(|raw| bounds::json_text(raw.get(), limit));
        let [name, title, own] =
            server.and_then(|server| body::fields(server.get().as_bytes(), ["name", "title", "version"])).unwrap_or_default();
        Agreement {
            era,
            version,
            certain: true,
            unanswered: None,
            name: text(name, bounds::LINE),
            title: text(title, bounds::LINE),
            server_version: text(own, bounds::LINE),
            instructions: text(instructions, bounds::DESCRIPTION),
            capabilities: capabilities.map_or_else(|| Body::from("null"), bounded_capabilities),
        }
    }
}

/// Returns the capabilities as received. If the object is over the limit, returns only those that this client uses.
fn bounded_capabilities(raw: &RawValue) -> Body {
    if raw.get().len() <= bounds::DESCRIPTION {
        return Body::from(raw.get());
    }
    const USED: [&str; 7] = ["tools", "resources", "prompts", "logging", "completions", "tasks", "extensions"];
    let used = body::fields(raw.get().as_bytes(), USED).unwrap_or_default();
    let fits = |raw: &&RawValue| raw.get().len() <= bounds::LINE;
    let used = USED.iter().zip(used).filter_map(|(name, raw)| raw.filter(fits).map(|raw| format!("{name:?}:{}", raw.get())));
    Body::from(format!("{{{}}}", used.collect::<Vec<_>>().join(",")))
}

/// Our `clientInfo`.
fn client_info() -> Value {
    json!({"name": "switchboard", "title": "Switchboard", "version": env!("CARGO_PKG_VERSION")})
}

/// Returns `_meta` of every request of the modern era.
pub fn modern_meta(version: &str, declared: &Declared, log_level: Option<&str>) -> Meta {
    let meta = Meta::default()
        .with(meta::VERSION, Body::json(version))
        .with(meta::CLIENT_INFO, declared.client_info.clone())
        .with(meta::CLIENT_CAPABILITIES, declared.capabilities.declared(Era::Modern));
    match log_level {
        Some(level) => meta.with(meta::LOG_LEVEL, Body::json(level)),
        None => meta,
    }
}

/// Why `server/discover` did not lead to a session.
enum Refusal {
    /// The server is a legacy one: `initialize` is tried with this version.
    Legacy(Box<ConnectFailure>, &'static str),
    /// The answer says nothing about the era: `initialize` is tried.
    Inconclusive(Box<ConnectFailure>),
    /// Another attempt is useless.
    Fatal(Box<ConnectFailure>),
}

impl Refusal {
    fn into_failure(self) -> ConnectFailure {
        match self {
            Refusal::Legacy(failure, _) | Refusal::Inconclusive(failure) | Refusal::Fatal(failure) => *failure,
        }
    }
}

/// The refusal of `initialize`.
struct Rejected {
    report: Box<ConnectFailure>,
    /// The versions that the server supports, if it says so.
    supported: Vec<String>,
}

/// What a session declares of its client.
#[derive(Clone)]
pub struct Declared {
    /// The capabilities.
    pub capabilities: Arc<ClientCapabilities>,
    /// Name and version of the client, a JSON object.
    pub client_info: Body,
}

impl Declared {
    /// Declares Switchboard with these capabilities.
    pub fn own(capabilities: ClientCapabilities) -> Declared {
        Declared { capabilities: Arc::new(capabilities), client_info: Body::json(&client_info()) }
    }

    /// Declares a client of ours.
    pub fn by(face: &Face) -> Declared {
        let own = Declared::own(ClientCapabilities::parse(&face.capabilities).unwrap_or_else(ClientCapabilities::none));
        if face.client_info.is_empty() { own } else { Declared { client_info: face.client_info.clone(), ..own } }
    }
}

/// One handshake over a link.
pub struct Handshake<'a> {
    /// The link.
    pub link: &'a dyn Link,
    /// The server.
    pub spec: &'a ServerSpec,
    /// The observer of the steps.
    pub handler: &'a dyn ClientHandler,
    /// What to declare.
    pub declared: &'a Declared,
}

impl Handshake<'_> {
    /// Agrees on an era and a version. The caller limits the time.
    pub async fn agree(&self, known: Known) -> Result<Agreement, ConnectFailure> {
        match (self.spec.era, known) {
            (EraChoice::Legacy, _) => self.initialize_best(LEGACY).await.map_err(|rejected| {
                let mut report = *rejected.report;
                if rejected.supported.iter().any(|version| version == MODERN) {
                    report.hints.push("remove era = \"legacy\" from the configuration of this server".into());
                }
                report
            }),
            (EraChoice::Modern, _) => self.discover().await.map_err(|refusal| {
                let mut report = refusal.into_failure();
                if report.step == Step::Discover {
                    report.hints.push("remove era = \"modern\" from the configuration of this server if it speaks an older version".into());
                }
                report
            }),
            (EraChoice::Auto, Known::Era(Era::Legacy)) => self.legacy(LEGACY, true).await,
            (EraChoice::Auto, _) => self.probe().await,
        }
    }

    /// Returns whether the server of a session still supports our modern version.
    pub async fn still_modern(&self) -> bool {
        self.ask_discovery().await.is_ok()
    }

    fn over_stdio(&self) -> bool {
        matches!(self.spec.launch, Transport::Stdio { .. })
    }

    /// Probes for the era.
    async fn probe(&self) -> Result<Agreement, ConnectFailure> {
        let limit = self.spec.timeouts.probe;
        // A limit above the default is set for a server that starts slowly.
        let first = if self.over_stdio() && limit <= Timeouts::default().probe { limit.min(SILENT) } else { limit };
        let probe = self.discover();
        tokio::pin!(probe);
        let mut outcome = timeout(first, &mut probe).await.ok();
        if outcome.is_none() && self.link.heard() {
            outcome = timeout(limit - first, &mut probe).await.ok();
        }
        match outcome {
            Some(Ok(agreement)) => return Ok(agreement),
            Some(Err(Refusal::Fatal(report))) => return Err(*report),
            Some(Err(Refusal::Legacy(_, version))) => return self.legacy(version, true).await,
            Some(Err(Refusal::Inconclusive(_))) => return self.legacy(LEGACY, false).await,
            None => {}
        }
        // The probe is not cancelled: a slow server of the modern era answers it yet, and a legacy one knows no cancellation
        // before `initialize`.
        let waited = if self.link.heard() { limit } else { first };
        if !self.over_stdio() {
            // Some servers of the old transport hold a POST to their event stream open.
            self.link.older_transport().await;
        }
        let opening = self.legacy(LEGACY, self.over_stdio());
        tokio::pin!(opening);
        let mut late = None;
        let opened = loop {
            tokio::select! {
                biased;
                opened = &mut opening => break opened,
                outcome = &mut probe, if late.is_none() => late = Some(outcome),
            }
        };
        let report = match opened {
            Ok(agreement) => {
                // Servers answer in order: one that knows the probe has answered it by now, and started slowly.
                let knows = late.is_some() || timeout(Duration::ZERO, &mut probe).await.is_ok();
                let unanswered = (!knows).then_some(waited);
                return Ok(Agreement { unanswered, certain: agreement.certain && !knows, ..agreement });
            }
            Err(report) => report,
        };
        if late.is_none() && report.rpc_code.is_some() {
            // It answers by now, so the answer to the probe is on its way.
            late = timeout(limit, &mut probe).await.ok();
        }
        match late {
            Some(Ok(agreement)) => Ok(agreement),
            _ => Err(report),
        }
    }

    /// Opens a session of the legacy era. A server that names the modern version in its refusal is asked again in the modern
    /// way.
    async fn legacy(&self, version: &'static str, certain: bool) -> Result<Agreement, ConnectFailure> {
        match self.initialize_best(version).await {
            Ok(agreement) => Ok(Agreement { certain, ..agreement }),
            Err(rejected) if rejected.supported.iter().any(|version| version == MODERN) => {
                self.discover().await.map_err(Refusal::into_failure)
            }
            Err(rejected) => Err(*rejected.report),
        }
    }

    /// Sends `initialize`: once more with the best version that the server names in its refusal, and once more over the
    /// HTTP+SSE transport if the server speaks only that.
    async fn initialize_best(&self, version: &'static str) -> Result<Agreement, Rejected> {
        let (mut version, mut named, mut switched) = (version, false, false);
        loop {
            let rejected = match self.initialize(version).await {
                Ok(agreement) => return Ok(agreement),
                Err(rejected) => rejected,
            };
            if let Some(other) = best_legacy(&rejected.supported).filter(|other| *other != version && !named) {
                (version, named) = (other, true);
                continue;
            }
            if !switched && rejected.supported.is_empty() && wrong_transport(&rejected.report) && self.link.older_transport().await {
                switched = true;
                continue;
            }
            return Err(rejected);
        }
    }

    async fn discover(&self) -> Result<Agreement, Refusal> {
        self.handler.step(Step::Discover);
        self.ask_discovery().await
    }

    async fn ask_discovery(&self) -> Result<Agreement, Refusal> {
        let mut repeated = false;
        loop {
            let request = Request { method: "server/discover".into(), repeatable: true, ..Request::default() };
            let meta = modern_meta(MODERN, self.declared, None);
            let failure = match self.link.request(request, &meta, Arc::new(Quiet("no answer to server/discover"))).await {
                Ok(reply) => return read_discovery(&reply.result),
                Err(failure) => failure,
            };
            let supported = failure.rpc.as_ref().map(supported_versions).unwrap_or_default();
            if code_of(&failure) == Some(UNSUPPORTED_VERSION) && supported.iter().any(|version| version == MODERN) && !repeated {
                // It supports what it refused; the specification asks for a request with a version of its list.
                repeated = true;
                continue;
            }
            return Err(self.refusal(&failure, &supported));
        }
    }

    /// Classifies a failed probe.
    fn refusal(&self, failure: &Failure, supported: &[String]) -> Refusal {
        let mut report = failed(Step::Discover, failure);
        match code_of(failure) {
            // Without a list of versions it is another error with that code.
            Some(UNSUPPORTED_VERSION) if !supported.is_empty() => return no_common_version(supported, report),
            Some(MISSING_CAPABILITY) => {
                report.hints.splice(0..0, missing_capability_hint(failure.rpc.as_ref()));
                return Refusal::Fatal(Box::new(report));
            }
            Some(HEADER_MISMATCH) => {
                report.hints.insert(0, "check that no proxy changes the Mcp- headers; if there is none, report this as a bug".into());
                return Refusal::Fatal(Box::new(report));
            }
            _ => {}
        }
        let unsent = !failure.may_have_run && failure.status.is_none();
        let temporary = matches!(failure.status, Some(408 | 425 | 429 | 500..));
        let gone = self.over_stdio() && matches!(failure.kind, FailureKind::Transport | FailureKind::Exited);
        if unsent || gone || failure.kind == FailureKind::Unauthorized {
            Refusal::Fatal(Box::new(report))
        } else if !temporary && (failure.rpc.is_some() || failure.status.is_some_and(|status| status >= 400)) {
            Refusal::Legacy(Box::new(report), LEGACY)
        } else {
            Refusal::Inconclusive(Box::new(report))
        }
    }

    async fn initialize(&self, version: &str) -> Result<Agreement, Rejected> {
        self.handler.step(Step::Initialize);
        let params = RawObject::default()
            .with("protocolVersion", Body::json(version))
            .with("capabilities", self.declared.capabilities.declared(Era::Legacy))
            .with("clientInfo", self.declared.client_info.clone())
            .to_body();
        let request = Request { method: "initialize".into(), params, repeatable: true, ..Request::default() };
        let reply = self.link.request(request, &Meta::default(), Arc::new(Quiet("no answer to initialize"))).await.map_err(|failure| {
            let supported = failure.rpc.as_ref().map(supported_versions).unwrap_or_default();
            let mut report = failed(Step::Initialize, &failure);
            if !supported.is_empty() {
                report.summary = format!("{} · the server supports {}", report.summary, supported.join(", "));
            }
            Rejected { report: Box::new(report), supported }
        })?;
        let [version, server, instructions, capabilities] =
            reply.result.fields(["protocolVersion", "serverInfo", "instructions", "capabilities"]).unwrap_or_default();
        let version = version.and_then(|version| bounds::json_text(version.get(), 64)).unwrap_or_default();
        if version.is_empty() {
            let mut report = ConnectFailure::new(Step::Initialize, "the answer to initialize names no protocol version");
            report.hints.push("report it to the maintainer of the server: an InitializeResult has a protocolVersion".into());
            report.retryable = false;
            return Err(Rejected { report: Box::new(report), supported: vec![] });
        }
        if !LEGACY_VERSIONS.contains(&version.as_str()) {
            let mut report = ConnectFailure::new(
                Step::Initialize,
                format!("no protocol version in common: the server answered {version:?}, we speak {}", LEGACY_VERSIONS.join(", ")),
            );
            report.hints = Advice::UpdateForVersion.lines();
            report.retryable = false;
            return Err(Rejected { report: Box::new(report), supported: vec![] });
        }
        Ok(Agreement::read(Era::Legacy, version, server, instructions, capabilities))
    }
}

fn read_discovery(result: &Body) -> Result<Agreement, Refusal> {
    let [versions, meta, instructions, capabilities, kind] =
        result.fields(["supportedVersions", "_meta", "instructions", "capabilities", "resultType"]).unwrap_or_default();
    let report = |text: String| {
        let mut report = ConnectFailure::new(Step::Discover, text);
        report.retryable = false;
        report
    };
    let Some(versions) = versions.filter(|_| kind.is_none_or(|kind| kind.get() == "\"complete\"")) else {
        return Err(Refusal::Legacy(Box::new(report("the answer to server/discover is not a DiscoverResult".into())), LEGACY));
    };
    let versions = texts(versions);
    if !versions.iter().any(|version| version == MODERN) {
        return Err(no_common_version(&versions, report(String::new())));
    }
    let [server] = meta.and_then(|meta| body::fields(meta.get().as_bytes(), [meta::SERVER_INFO])).unwrap_or_default();
    Ok(Agreement::read(Era::Modern, MODERN.into(), server, instructions, capabilities))
}

/// Returns the refusal of a modern server that does not support our modern version.
fn no_common_version(supported: &[String], mut report: ConnectFailure) -> Refusal {
    report.summary = format!(
        "no protocol version in common: the server supports {}, we speak {MODERN} and {}",
        if supported.is_empty() { "none".to_owned() } else { supported.join(", ") },
        LEGACY_VERSIONS.join(", ")
    );
    report.retryable = false;
    match best_legacy(supported) {
        Some(version) => Refusal::Legacy(Box::new(report), version),
        None => {
            report.hints = Advice::UpdateForVersion.lines();
            Refusal::Fatal(Box::new(report.bounded()))
        }
    }
}

fn best_legacy(supported: &[String]) -> Option<&'static str> {
    LEGACY_VERSIONS.into_iter().find(|version| supported.iter().any(|named| named == version))
}

/// Returns `data.supported` of an error (MCP 2026-07-28, basic/versioning; 2025-11-25, lifecycle, "Error Handling").
pub fn supported_versions(rpc: &RpcError) -> Vec<String> {
    let [supported] = rpc.data.as_ref().and_then(|data| data.fields(["supported"])).unwrap_or_default();
    supported.map(texts).unwrap_or_default()
}

/// Returns the texts of a JSON array.
fn texts(list: &RawValue) -> Vec<String> {
    let (members, _) = body::members(list.get().as_bytes(), VERSIONS).unwrap_or_default();
    members.into_iter().filter_map(|member| bounds::json_text(member.get(), 64)).collect()
}

/// Returns the code of the JSON-RPC error that failed a request.
pub fn code_of(failure: &Failure) -> Option<i64> {
    failure.rpc.as_ref().map(|rpc| rpc.code)
}

/// Returns what to do about the error -32021.
pub fn missing_capability_hint(rpc: Option<&RpcError>) -> Option<String> {
    let data = rpc?.data.as_ref()?;
    let [required] = data.fields(["requiredCapabilities"])?;
    let required = RawObject::parse(&Body::from(required?.get()))?;
    Some(capabilities::hint(&required))
}

/// Returns whether a server that refuses `initialize` like this may speak the HTTP+SSE transport (MCP 2026-07-28, Streamable
/// HTTP, "HTTP+SSE Transport"). The specification names 400, 404 and 405; frameworks answer an unexpected POST with others.
fn wrong_transport(report: &ConnectFailure) -> bool {
    report.step == Step::Initialize
        && match report.status {
            Some(401 | 403 | 407 | 408 | 425 | 429) => false,
            Some(status) => (400..500).contains(&status) || matches!(status, 500 | 501),
            None => false,
        }
}

/// Returns a failed request as a failed step of connecting.
pub fn failed(step: Step, failure: &Failure) -> ConnectFailure {
    let unsent = failure.kind == FailureKind::Transport && !failure.may_have_run && failure.status.is_none();
    let step = if unsent { Step::Dial } else { step };
    let mut report = ConnectFailure::new(step, failure.message.clone());
    report.causes = failure.causes.clone();
    report.status = failure.status;
    report.headers = failure.headers.iter().filter(|(name, _)| TELLING.contains(&name.as_str())).cloned().collect();
    report.tls = failure.tls;
    report.login = failure.login.clone();
    report.exit = failure.exit;
    report.stderr = failure.stderr.clone();
    report.hints.extend(failure.hint.clone());
    if let Some(rpc) = &failure.rpc {
        report.summary = match rpc.message.trim() {
            "" => format!("the server answered error {} without a message", rpc.code),
            message => format!("the server answered error {}: {message}", rpc.code),
        };
        report.rpc_code = Some(rpc.code);
        report.causes.extend(rpc.data.as_ref().map(|d| format!("data: {}", d.text())));
        // A refusal with a temporary status may be another one later.
        report.retryable = matches!(failure.status, Some(408 | 425 | 429 | 500..));
    }
    // A certificate, a redirect and the credentials for a proxy need a change of the configuration.
    let configured = failure.tls.is_some() || failure.status.is_some_and(|status| status == 407 || (300..400).contains(&status));
    if failure.kind == FailureKind::Unauthorized || configured {
        report.retryable = false;
    }
    report.bounded()
}

/// Returns the failure of a connection that did not open within its limit.
pub fn not_in_time(step: Step, spec: &ServerSpec) -> ConnectFailure {
    let mut failure = ConnectFailure::new(step, format!("no answer within {}", short(spec.timeouts.connect)));
    let hint = match &spec.launch {
        Transport::Stdio { .. } => {
            "raise timeouts.connect of this server if it is slow to start (a first npx or uvx downloads the package)"
        }
        Transport::Http { .. } => "check the server's log and that url is its MCP endpoint; raise timeouts.connect if it is slow",
    };
    failure.hints.push(hint.into());
    failure
}
