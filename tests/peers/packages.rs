//! Where the installed packages are, and how each is started.

use std::{path::PathBuf, process::Stdio, time::Duration};

use switchboard::domain::{
    secret::Secret,
    server::{ServerSpec, Timeouts, Transport},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::support::{PATIENCE, stdio};

/// A file that `tests/peers/install` made.
pub fn installed(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers/.cache").join(path);
    assert!(path.exists(), "{} is missing: run tests/peers/install", path.display());
    path.display().to_string()
}

/// The program of a package from npm, to be run by node.
pub fn script(package: &str) -> String {
    installed(&format!("node_modules/@modelcontextprotocol/{package}/dist/index.js"))
}

/// Limits that hold on a machine with much else to do; what a test waits for is seen long before.
pub fn patient(spec: ServerSpec) -> ServerSpec {
    let timeouts = Timeouts { connect: PATIENCE, probe: PATIENCE, list: PATIENCE, ..spec.timeouts };
    ServerSpec { timeouts, ..spec }
}

fn npm(id: &str, package: &str, args: &[&str]) -> ServerSpec {
    let script = script(package);
    let args: Vec<&str> = std::iter::once(script.as_str()).chain(args.iter().copied()).collect();
    patient(stdio(id, "node", &args))
}

/// The reference server that has everything, over stdio.
pub fn everything() -> ServerSpec {
    npm("everything", "server-everything", &["stdio"])
}

/// Files below `folder`.
pub fn filesystem(folder: &str) -> ServerSpec {
    npm("filesystem", "server-filesystem", &[folder])
}

/// A knowledge graph stored in `file`.
pub fn memory(file: &str) -> ServerSpec {
    let mut spec = npm("memory", "server-memory", &[]);
    let Transport::Stdio { env, .. } = &mut spec.launch else { unreachable!("made for stdio") };
    env.push(("MEMORY_FILE_PATH".into(), Secret::literal(file)));
    spec
}

/// One tool, for thinking in steps.
pub fn thinking() -> ServerSpec {
    npm("thinking", "server-sequential-thinking", &[])
}

/// The clock, in Python.
pub fn time() -> ServerSpec {
    patient(stdio("time", &installed("py/bin/mcp-server-time"), &["--local-timezone", "Europe/Rome"]))
}

/// Git on `repository`, in Python.
pub fn git(repository: &str) -> ServerSpec {
    patient(stdio("git", &installed("py/bin/mcp-server-git"), &["--repository", repository]))
}

/// A file in the folder of this one.
pub fn test_file(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name).display().to_string()
}

/// The score board in the folder of this file, on the Python SDK: MCP 2026-07-28.
pub fn board() -> ServerSpec {
    patient(stdio("board", &installed("py/bin/python"), &[&test_file("board.py")]))
}

/// A fresh repository with one commit.
pub fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "one\n").unwrap();
    for args in [&["init", "--quiet"][..], &["add", "."], &["commit", "--quiet", "--message", "Begin"]] {
        let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"];
        let done = std::process::Command::new("git").current_dir(folder.path()).args(identity).args(args).output().unwrap();
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    folder
}

/// server-everything over Streamable HTTP, as a process that the test owns. Dropping it kills it.
pub struct HttpServer {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl HttpServer {
    /// Starts one on a port that is free.
    pub async fn start() -> HttpServer {
        loop {
            let port = free_port();
            if let Some(server) = HttpServer::launch(port).await {
                return server;
            }
        }
    }

    /// `None` when the port is taken.
    async fn launch(port: u16) -> Option<HttpServer> {
        let mut command = Command::new("node");
        command.arg(script("server-everything")).arg("streamableHttp").env("PORT", port.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("node can be started");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let up = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(&format!("listening on port {port}")) {
                    return true;
                }
                said.push_str(&line);
            }
            false
        };
        let up = tokio::time::timeout(PATIENCE, up).await.expect("the server says that it listens, or ends");
        if up {
            // Whatever else it says must not fill the pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some(HttpServer { child, port });
        }
        assert!(said.contains("already in use"), "the server did not start: {said}");
        None
    }

    /// Where its endpoint is.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Ends it without a goodbye.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The endpoint of a server-everything on `port`.
pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/mcp")
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// server-everything over HTTP at `url`, without health checks, so that frames are the test's own.
pub fn remote(url: &str) -> ServerSpec {
    let mut spec = patient(crate::support::http("remote", url));
    spec.timeouts.health = Duration::ZERO;
    spec
}
