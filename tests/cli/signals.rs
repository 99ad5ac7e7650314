//! Signals during each phase of connecting to a server that accepts and says nothing more.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// A server on stdin and stdout that is silent from the request `$0` on, and creates the file `$1` when that came.
const STDIO: &str = r#"while read -r line; do
case "$line" in *"\"$0\""*) : > "$1"; continue;; esac
id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
case "$line" in
*server/discover*) echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"no\"}}";;
*'"initialize"'*) echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"s\"}}}";;
esac
done"#;

const INITIALIZED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s"}}"#;

/// How long a phase may take to come.
const SOON: Duration = Duration::from_secs(20);
/// How long the program may take to end.
const ENDS: Duration = Duration::from_secs(3);

/// An HTTP server that is silent from a phase on. It never answers the request to forget a session.
#[derive(Clone)]
struct Silent {
    /// The transport: HTTP+SSE of 2024-11-05, or Streamable HTTP.
    older: bool,
    phase: &'static str,
    reached: mpsc::Sender<()>,
    /// The event stream of the older transport.
    events: mpsc::Sender<String>,
}

impl Silent {
    /// Starts a server. Returns its URL, and the receiver that gets a message when the phase is reached.
    fn start(older: bool, phase: &'static str) -> (String, mpsc::Receiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/sse", listener.local_addr().unwrap());
        let (reached, wait) = mpsc::channel();
        let (events, feed) = mpsc::channel();
        let server = Silent { older, phase, reached, events };
        let feed = Arc::new(Mutex::new(feed));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (server, feed) = (server.clone(), feed.clone());
                thread::spawn(move || server.serve(&stream, &feed));
            }
        });
        (url, wait)
    }

    /// Says nothing until the client closes the connection.
    fn silent(&self, mut stream: &TcpStream) {
        let _ = self.reached.send(());
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }

    fn serve(&self, stream: &TcpStream, feed: &Mutex<mpsc::Receiver<String>>) {
        if self.phase == "accept" {
            return self.silent(stream);
        }
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((head, body)) = request(&mut reader) {
            let method = body.split_once(r#""method":""#).and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default().to_owned();
            let id: String =
                body.split_once(r#""id":"#).map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect()).unwrap_or_default();
            let answer = match method.as_str() {
                "server/discover" => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no"}}}}"#),
                "initialize" => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{INITIALIZED}}}"#),
                _ => String::new(),
            };
            let mut out = stream;
            let sent = match (self.older, head.as_str()) {
                _ if self.phase == method && !self.older => return self.silent(stream),
                (_, verb) if verb.starts_with("DELETE") => return self.silent(stream),
                (true, verb) if verb.starts_with("GET") => {
                    if self.phase == "GET" {
                        return self.silent(stream);
                    }
                    let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
                    if self.phase == "endpoint" {
                        return self.silent(stream);
                    }
                    let mut sent = out.write_all(b"event: endpoint\ndata: /messages\n\n");
                    while let (Ok(()), Ok(event)) = (&sent, feed.lock().unwrap().recv()) {
                        sent = out.write_all(format!("data: {event}\n\n").as_bytes());
                    }
                    return;
                }
                (true, verb) if verb.starts_with("POST /messages") => {
                    if self.phase == "message" {
                        return self.silent(stream);
                    }
                    if self.phase == method {
                        let _ = self.reached.send(());
                    } else if !answer.is_empty() {
                        let _ = self.events.send(answer);
                    }
                    out.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                }
                (true, _) | (_, "GET /sse HTTP/1.1") => out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
                (false, _) if answer.is_empty() => out.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"),
                (false, _) => {
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMcp-Session-Id: s1";
                    out.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).as_bytes())
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }
}

/// Reads a request: its first line and its body. `None` at the end of the connection.
pub(super) fn request(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut line = || {
        let mut line = String::new();
        let read = reader.read_line(&mut line).ok().filter(|read| *read > 0);
        read.map(|_| line.trim_end().to_owned())
    };
    let (first, mut length) = (line()?, 0);
    loop {
        let header = line()?;
        match header.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            None => break,
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, String::from_utf8(body).ok()?))
}

/// Starts a command and sends it signals when `reached` returns. The command must end in order.
fn ends(home: &Home, what: &str, config: &str, signals: &[Signal], reached: impl FnOnce()) {
    std::fs::write(home.path().join("c.toml"), config).unwrap();
    let line = ["--config", "c.toml", "--no-project-config", "servers"];
    let mut child = home.command(&line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    reached();
    let (pid, begun) = (Pid::from_child(&child), Instant::now());
    signals.iter().for_each(|signal| kill_process(pid, *signal).unwrap());
    let mut err = child.stderr.take().unwrap();
    let status = wait_for(child, ENDS);
    let took = begun.elapsed();
    let mut text = String::new();
    err.read_to_string(&mut text).unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(143), "{what}: {signals:?} after {took:?}: {text}");
    assert!(!text.contains("did not react") && !text.contains("ended by"), "{what}: {signals:?}: {text}");
}

/// One signal, and two in a row as `timeout` sends them.
const WAYS: [&[Signal]; 2] = [&[Signal::TERM], &[Signal::TERM, Signal::TERM]];

#[test]
fn a_signal_ends_a_command_in_each_phase_of_connecting_over_stdio() {
    for phase in ["server/discover", "initialize", "tools/list"] {
        for signals in WAYS {
            let home = Home::new();
            let mark = home.path().join("reached");
            let args = ["-c", STDIO, phase, mark.to_str().unwrap()];
            let config = format!("[servers.s]\ncommand = \"sh\"\nargs = {args:?}\n");
            ends(&home, phase, &config, signals, || {
                let limit = Instant::now() + SOON;
                while !mark.exists() {
                    assert!(Instant::now() < limit, "{phase} was not reached");
                    thread::park_timeout(Duration::from_millis(5));
                }
            });
        }
    }
}

#[test]
fn a_signal_ends_a_command_in_each_phase_of_connecting_over_http() {
    const NEWER: [&str; 5] = ["accept", "server/discover", "initialize", "notifications/initialized", "tools/list"];
    const OLDER: [&str; 5] = ["GET", "endpoint", "message", "initialize", "tools/list"];
    let phases = NEWER.map(|phase| (false, phase)).into_iter().chain(OLDER.map(|phase| (true, phase)));
    for (older, phase) in phases {
        for signals in WAYS {
            let (url, reached) = Silent::start(older, phase);
            let what = format!("{phase} (older transport: {older})");
            let wait = || reached.recv_timeout(SOON).unwrap_or_else(|_| panic!("{what} was not reached"));
            ends(&Home::new(), &what, &format!("[servers.s]\nurl = {url:?}\n"), signals, wait);
        }
    }
}
