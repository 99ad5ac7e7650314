//! Connections to servers over MCP: the adapter behind [`crate::engine::ports`].
//!
//! Owns processes, pipes, HTTP and the protocol of both eras. Only the composition root makes a
//! [`Connections`]; the engine sees the ports alone.
//!
//! The client side is our own, not an SDK's. The console shows every byte, attributes every fault to the call that it
//! affected, limits every wait and preserves results exactly. An SDK that decodes into types, drops what does not parse and
//! reopens sessions silently cannot do that. The demo servers use the official Rust SDK, so that the two implementations check
//! each other.

mod advice;
mod client_handler;
mod descent;
mod handshake;
mod http;
mod link;
mod pages;
pub mod reaper;
mod session;
mod spawn;
mod stderr;
mod stdio;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::http::registry;
use self::{
    handshake::{Declared, Known},
    http::{HttpLink, TrustSources},
    link::Link,
    reaper::Reaper,
    session::McpSession,
    stdio::StdioLink,
};
use crate::{
    domain::{
        advice::Advice,
        capabilities::{Answerable, ClientCapabilities},
        client::Behalf,
        secret::Redactor,
        server::{ConnectFailure, Era, EraChoice, ServerSpec, Step, Transport},
        tls::TlsSettings,
    },
    engine::ports::{ClientHandler, Connector, Credentials, Session},
    executable,
};

/// Makes connections of every kind.
pub struct Connections {
    reaper: Arc<Reaper>,
    /// What answers the questions of servers.
    answerable: Answerable,
    /// The capabilities to declare to every server, instead of those that can be answered.
    declared: Option<ClientCapabilities>,
    /// The credentials of servers that are reached over HTTP.
    credentials: Option<Arc<dyn Credentials>>,
    /// Set when the program is ending.
    quitting: CancellationToken,
    abandoned: TaskTracker,
}

/// An attempt under way. Dropped before its end, it ends what was started.
struct Attempt {
    link: Option<Arc<dyn Link>>,
    abandoned: TaskTracker,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            self.abandoned.spawn(async move { link.close().await });
        }
    }
}

impl Connections {
    /// `helper` is the program that is run as `helper reaper MARK` to start servers and to clean up after a SIGKILL: this
    /// program itself. Without one, stdio servers that ignore the end of their input survive that.
    pub fn new(helper: Option<PathBuf>) -> Connections {
        let mark = format!("{:x}-{:016x}", std::process::id(), fastrand::u64(..));
        Connections {
            reaper: Arc::new(Reaper::new(helper, mark)),
            answerable: Answerable::ALL,
            declared: None,
            credentials: None,
            abandoned: TaskTracker::new(),
            quitting: CancellationToken::new(),
        }
    }

    /// Declares to servers only questions that their policies or `answerable` can answer. By default a user answers everything.
    #[must_use]
    pub fn answering(self, answerable: Answerable) -> Connections {
        Connections { answerable, ..self }
    }

    /// Uses these credentials for servers over HTTP whose configuration sets no `Authorization`.
    #[must_use]
    pub fn with_credentials(self, credentials: Arc<dyn Credentials>) -> Connections {
        Connections { credentials: Some(credentials), ..self }
    }

    /// Declares these capabilities to every server, whatever can be answered.
    #[must_use]
    pub fn declaring(self, capabilities: ClientCapabilities) -> Connections {
        Connections { declared: Some(capabilities), ..self }
    }

    /// The helper, which can watch over the terminal too.
    pub fn reaper(&self) -> Arc<Reaper> {
        self.reaper.clone()
    }

    /// One attempt. Next to a failure it says whether the server was gone by then.
    async fn attempt(
        &self,
        spec: &Arc<ServerSpec>,
        known: Known,
        behalf: Option<&Behalf>,
        handler: &Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, (ConnectFailure, bool)> {
        let declared = behalf.map_or_else(|| Declared::own(self.capabilities(spec)), |behalf| Declared::by(&behalf.face));
        let capabilities = declared.capabilities.clone();
        let began = handler.now();
        handler.fresh_start();
        let link: Arc<dyn Link> = match &spec.launch {
            Transport::Stdio { .. } => {
                StdioLink::start(spec.clone(), handler.clone(), capabilities.clone(), self.reaper.clone(), self.quitting.clone())
                    .await
                    .map_err(|why| (why, false))?
            }
            Transport::Http { .. } => {
                let principal = behalf.map(|behalf| behalf.principal.clone()).unwrap_or_default();
                let credentials = self.credentials.clone().map(|credentials| (credentials, principal));
                HttpLink::new(spec.clone(), handler.clone(), capabilities.clone(), credentials).map_err(|why| (why, false))?
            }
        };
        let mut attempt = Attempt { link: Some(link.clone()), abandoned: self.abandoned.clone() };
        let opening = McpSession::open(link.clone(), spec.clone(), handler.clone(), declared, known, began);
        let mut failure = match tokio::time::timeout(spec.timeouts.connect, opening).await {
            Ok(Ok(session)) => {
                attempt.link = None;
                return Ok(session);
            }
            Ok(Err(failure)) => failure,
            Err(_) => handshake::not_in_time(handler.at_step(), spec),
        };
        // How it ends from here on is our doing.
        let gone = tokio::time::timeout(Duration::ZERO, link.closed()).await.ok();
        link.close().await;
        attempt.link = None;
        failure.exit = failure.exit.or_else(|| gone.as_ref()?.exit);
        failure.stderr = handler.last_stderr(20);
        Err((failure, gone.is_some()))
    }
}

#[async_trait]
impl Connector for Connections {
    async fn connect(
        &self,
        spec: Arc<ServerSpec>,
        known: Option<Era>,
        behalf: Option<Behalf>,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, ConnectFailure> {
        let first = known.map_or(Known::Nothing, Known::Era);
        let behalf = behalf.as_ref();
        let mut result = self.attempt(&spec, first, behalf, &handler).await;
        // Some servers end at the first request that they do not know.
        let died_at_probe = |(failure, gone): &(ConnectFailure, bool)| failure.step == Step::Discover && failure.retryable && *gone;
        if spec.era == EraChoice::Auto && known.is_none() && result.as_ref().is_err_and(died_at_probe) {
            result = self.attempt(&spec, Known::Era(Era::Legacy), behalf, &handler).await;
        }
        result.map_err(|(failure, _)| explain(failure, &spec))
    }

    fn capabilities(&self, spec: &ServerSpec) -> ClientCapabilities {
        self.declared.clone().unwrap_or_else(|| ClientCapabilities::of(spec, self.answerable))
    }

    fn credential_changes(&self) -> Option<watch::Receiver<()>> {
        self.credentials.as_ref().map(|credentials| credentials.changes())
    }

    fn quit(&self) {
        self.quitting.cancel();
    }

    async fn settled(&self) {
        self.abandoned.close();
        self.abandoned.wait().await;
        let reaper = self.reaper.clone();
        let _ = tokio::task::spawn_blocking(move || reaper.finish()).await;
    }
}

/// Returns the TLS configuration that trusts what `settings` and the system trust, for requests that belong to a server.
pub fn trusted(settings: &TlsSettings) -> Result<rustls::ClientConfig, String> {
    let mut config = TrustSources::of_environment().config(settings).map_err(|failure| failure.summary)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Adds what is known of the server's side of it, and what to try.
fn explain(mut failure: ConnectFailure, spec: &ServerSpec) -> ConnectFailure {
    failure.target = spec.summary();
    if let Transport::Stdio { command, cwd, .. } = &spec.launch {
        let here = std::env::current_dir().unwrap_or_default();
        failure.cwd = Some(cwd.as_ref().unwrap_or(&here).display().to_string());
        failure.found = Some(executable::explain(command, executable::path_of(&spec.launch).as_deref(), cwd.as_deref()));
        let advice = advice::of_failure(spec, &failure);
        // What is known comes before what may help.
        failure.hints.splice(0..0, advice.iter().flat_map(Advice::lines));
        if failure.exit.is_some() && failure.hints.is_empty() {
            failure.hints.push("run the command in that folder and compare its output with the stderr lines".into());
        } else if failure.hints.is_empty() {
            failure.hints.push("check that the program is an MCP server that speaks over stdio, and see its stderr".into());
        }
    }
    let redactor = Redactor::new(&spec.secrets());
    failure.summary = redactor.redact(&failure.summary);
    let headers = failure.headers.iter_mut().map(|(_, value)| value);
    for text in failure.causes.iter_mut().chain(&mut failure.stderr).chain(headers) {
        *text = redactor.redact(text);
    }
    failure
}
