//! A real Redis for a test: on a socket in a folder of its own, or on a free port; gone with the test.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A running `redis-server`.
pub struct RedisServer {
    child: Child,
    dir: TempDir,
    args: Vec<String>,
    /// How it is reached, without a password.
    pub url: String,
    pub port: u16,
}

/// What it writes when it can be reached, as a server or as a sentinel.
const READY: [&str; 2] = ["eady to accept connections", "+monitor master"];

impl RedisServer {
    /// On a socket: no other test can take its place while it is down.
    pub fn on_socket() -> RedisServer {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("redis.sock").display().to_string();
        let args = ["--port", "0", "--unixsocket", &socket].map(str::to_owned).to_vec();
        let child = launch(&dir, &args).expect("redis-server starts");
        RedisServer { child, dir, args, url: format!("unix://{socket}"), port: 0 }
    }

    /// On a free port, with these arguments for it.
    pub fn on_port(scheme: &str, args: impl Fn(u16, &Path) -> Vec<String>) -> RedisServer {
        // A port that was free a moment ago may be taken now.
        for _ in 0..20 {
            let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
            let args = args(port, dir.path());
            if let Some(child) = launch(&dir, &args) {
                return RedisServer { child, dir, args, url: format!("{scheme}://127.0.0.1:{port}"), port };
            }
        }
        panic!("redis-server does not start on any port");
    }

    /// On a free port, as it comes.
    pub fn plain() -> RedisServer {
        RedisServer::on_port("redis", |port, _| vec!["--port".into(), port.to_string()])
    }

    /// Looks after `master` under the name `main`.
    pub fn sentinel(master: u16) -> RedisServer {
        let mut server = RedisServer::on_port("redis+sentinel", |port, dir| {
            let file = dir.join("sentinel.conf");
            std::fs::write(&file, format!("port {port}\nsentinel monitor main 127.0.0.1 {master} 1\n")).unwrap();
            vec![file.display().to_string(), "--sentinel".into()]
        });
        server.url.push_str("/main");
        server
    }

    /// A connection in addition to those of the program.
    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url.as_str()).unwrap().get_connection().unwrap()
    }

    /// Asks it something.
    pub fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query(&mut self.connection()).unwrap()
    }

    /// How often it was asked for a value.
    pub fn reads(&self) -> u64 {
        let stats: String = self.ask("INFO commandstats");
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_getrange:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    /// Kills the server, as a crash does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same place.
    pub fn start(&mut self) {
        self.child = launch(&self.dir, &self.args).expect("redis-server starts again");
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts one and waits until it can be reached; `None` when it ends instead.
fn launch(dir: &TempDir, args: &[String]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    // A file with settings comes first.
    command.args(args).args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", "", "--bind", "127.0.0.1"]);
    command.arg("--dir").arg(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("redis-server cannot be started ({e}); on Debian, install redis-server"));
    let mut log = BufReader::new(child.stdout.take().unwrap());
    if ready(&mut log) {
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        return Some(child);
    }
    let _ = child.kill();
    child.wait().unwrap();
    None
}

fn ready(log: &mut BufReader<ChildStdout>) -> bool {
    log.lines().map_while(Result::ok).any(|line| READY.iter().any(|ready| line.contains(ready)))
}
