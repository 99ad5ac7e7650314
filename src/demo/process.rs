//! One demo server as a process: its runtime, its transport, its end.

use std::{
    io::{Read, Write},
    net::TcpListener,
    os::fd::AsFd,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rmcp::{
    ServiceExt,
    transport::{
        stdio_pipes,
        streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager},
    },
};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::{
    DemoError, analytics::Analytics, catalog::Catalog, database::Database, email::Email, flaky::Flaky, handler::Backend, handler::Handler,
    launch, preferences::Preferences, store::Store,
};

/// Set to `stdout` for the analytics server when its stdout is a socket that listens already.
pub(super) const LISTENER_VARIABLE: &str = "SWITCHBOARD_DEMO_LISTENER";
/// How long calls under way may still take when stdin has ended.
const GRACE: Duration = Duration::from_secs(1);

/// Runs the demo server `name` with its state in the folder `dir`, to its end.
///
/// All but `analytics` speak over stdin and stdout. `analytics` listens on a free port of 127.0.0.1 and writes
/// `{"url":"http://127.0.0.1:PORT/mcp"}` as the first line to stdout. Every server exits when its stdin
/// ends. Builds its own runtime, so it must not be called from within one.
///
/// # Errors
/// [`DemoError::Crashed`] when the server crashed on request: the process must then exit with [`DemoError::exit_code`]. The
/// reason is already on stderr.
pub fn run_server(name: &str, dir: &Path) -> Result<(), DemoError> {
    if !dir.is_dir() {
        return Err(DemoError::NoFolder { path: dir.to_owned() });
    }
    let crash = CancellationToken::new();
    let server = Server::build(name, dir, Box::new(std::io::stdout()), &crash)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DemoError::io("start a runtime for a demo server"))?;
    complain(&format!(
        "demo server {name} {} started, process {}, state in {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        dir.display()
    ));
    let ended = runtime.block_on(async {
        if name == "analytics" { server.over_http(http_listener()?, stdin_end()).await } else { server.over_stdio(crash).await }
    });
    // Calls under way, and a blocked read of stdin, must not keep the process.
    runtime.shutdown_background();
    if handed_over() {
        // The demo that started this server has ended. If it was killed, its folder remains.
        launch::remove_orphan(dir);
    }
    if matches!(ended, Err(DemoError::Crashed)) {
        complain("fatal: payment gateway: assertion failed: ledger.is_balanced() (on purpose: mode crash)");
    }
    ended
}

/// A line on stderr, which for a stdio server is the place for words to people.
fn complain(line: &str) {
    // A closed stderr does not stop the server.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// A demo server that is ready for clients.
#[derive(Clone)]
pub(super) struct Server {
    catalog: Arc<Catalog>,
    backend: Arc<dyn Backend>,
}

impl Server {
    /// Builds the server `name`. `stdout` and `crash` are for `flaky`, which misuses both.
    pub fn build(name: &str, dir: &Path, stdout: Box<dyn Write + Send>, crash: &CancellationToken) -> Result<Server, DemoError> {
        let store = Store::new(dir);
        let (catalog, backend): (_, Arc<dyn Backend>) = match name {
            "database" => (Catalog::parse("database", include_str!("../../assets/demo/database.json")), Arc::new(Database { store })),
            "email" => (Catalog::parse("email", include_str!("../../assets/demo/email.json")), Arc::new(Email { store })),
            "analytics" => (Catalog::parse("analytics", include_str!("../../assets/demo/analytics.json")), Arc::new(Analytics { store })),
            "preferences" => {
                (Catalog::parse("preferences", include_str!("../../assets/demo/preferences.json")), Arc::new(Preferences { store }))
            }
            "flaky" => {
                (Catalog::parse("flaky", include_str!("../../assets/demo/flaky.json")), Arc::new(Flaky::new(store, stdout, crash.clone())))
            }
            _ => return Err(DemoError::UnknownServer { name: name.to_owned() }),
        };
        Ok(Server { catalog: Arc::new(catalog?), backend })
    }

    /// The MCP side for one client.
    pub fn handler(&self) -> Handler {
        Handler::new(self.catalog.clone(), self.backend.clone())
    }

    #[cfg(test)]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    async fn over_stdio(self, crash: CancellationToken) -> Result<(), DemoError> {
        let (stdin, stdout) = stdio_pipes();
        self.serve(stdin, stdout, crash).await
    }

    /// Serves one client until `input` ends or `crash` is cancelled.
    pub async fn serve(
        self,
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
        crash: CancellationToken,
    ) -> Result<(), DemoError> {
        let ended = CancellationToken::new();
        let input = EndOfInput { inner: input, ended: ended.clone() };
        let serve = async {
            match self.handler().serve((input, output)).await {
                Ok(running) => running.waiting().await.map(|_| ()).map_err(|error| DemoError::Handshake(error.to_string())),
                // A client that disconnects before the handshake is not an error.
                Err(_) if ended.is_cancelled() => Ok(()),
                Err(error) => Err(DemoError::Handshake(error.to_string())),
            }
        };
        tokio::select! {
            biased;
            () = crash.cancelled() => Err(DemoError::Crashed),
            done = serve => done,
            () = async { ended.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
        }
    }

    /// Serves clients over HTTP until `end` is cancelled.
    ///
    /// `Host` must name a loopback address and no browser page may call (any `Origin` is refused), as the
    /// transport's security warning asks of local servers (MCP 2025-11-25, basic/transports).
    pub async fn over_http(self, listener: TcpListener, end: CancellationToken) -> Result<(), DemoError> {
        listener.set_nonblocking(true).map_err(DemoError::io("use the listening socket"))?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(DemoError::io("use the listening socket"))?;
        let config = StreamableHttpServerConfig::default().enforce_origin_validation().with_cancellation_token(end.child_token());
        let sessions = Arc::new(LocalSessionManager::default());
        let service = StreamableHttpService::new(move || Ok(self.handler()), sessions, config);
        let router = axum::Router::new().nest_service("/mcp", service);
        tokio::select! {
            done = async { axum::serve(listener, router).await } => done.map_err(DemoError::io("serve HTTP")),
            () = end.cancelled() => Ok(()),
        }
    }
}

/// Tells when a stream has ended, while `rmcp` reads from it: it waits five seconds for calls under way then,
/// and a server that hangs on purpose must be gone sooner.
struct EndOfInput<R> {
    inner: R,
    ended: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for EndOfInput<R> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(context, buffer);
        if matches!(polled, Poll::Ready(Err(_))) || polled.is_ready() && buffer.filled().len() == before {
            this.ended.cancel();
        }
        polled
    }
}

/// Whether we were started by a [`super::Demo`], which made the socket on stdout and the folder.
fn handed_over() -> bool {
    std::env::var_os(LISTENER_VARIABLE).is_some_and(|value| value == "stdout")
}

/// Returns the socket from the parent, or a new one whose address is written to stdout.
fn http_listener() -> Result<TcpListener, DemoError> {
    if handed_over() {
        let socket = std::io::stdout().as_fd().try_clone_to_owned().map_err(DemoError::io("take over the listening socket"))?;
        return Ok(TcpListener::from(socket));
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(DemoError::io("listen on 127.0.0.1"))?;
    let address = listener.local_addr().map_err(DemoError::io("listen on 127.0.0.1"))?;
    let line = format!("{}\n", json!({"url": format!("http://{address}/mcp")}));
    let mut stdout = std::io::stdout();
    stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).map_err(DemoError::io("tell its address on stdout"))?;
    Ok(listener)
}

/// Is cancelled when stdin ends, which is how a server without stdio learns that its parent is gone.
fn stdin_end() -> CancellationToken {
    let end = CancellationToken::new();
    let ended = end.clone();
    // A separate thread: a blocked read cannot be cancelled, and this thread is never joined.
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut waste = [0; 512];
        while stdin.read(&mut waste).is_ok_and(|count| count > 0) {}
        ended.cancel();
    });
    end
}
