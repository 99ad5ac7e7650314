//! An HTTP server that does with the bytes of its answers exactly what a test says, and a right handshake where it says nothing.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::support::PATIENCE;

/// One thing done with a connection.
#[derive(Clone)]
pub enum Step {
    /// Write these bytes.
    Send(Vec<u8>),
    /// Write these bytes this many times, or until the other side closes.
    Repeat(Vec<u8>, usize),
    /// Write a byte every few milliseconds until the other side goes away.
    Drip(u8),
    /// Write what the test sends, until the other side goes away or the test ends the feed.
    Feed(Feed),
    /// Wait until the test lets one through.
    Limiter(Arc<Semaphore>),
    /// Work on the request for this time.
    Work(Duration),
    /// Do nothing until the other side goes away.
    Hold,
    /// Close the connection in order.
    Close,
    /// Reset the connection.
    Reset,
}

pub type Answer = Vec<Step>;

/// What a connection writes while it is open.
pub type Feed = Arc<tokio::sync::Mutex<mpsc::Receiver<String>>>;

/// What is seen from outside.
#[derive(Clone, Default)]
pub struct Log {
    /// Every request, in the order in which they came.
    pub requests: Vec<Arc<Asked>>,
    /// Requests (by number) whose connection the other side closed while it was held open.
    pub hung_up: Vec<usize>,
}

/// A request as it was read.
#[derive(Debug)]
pub struct Asked {
    /// Its place in the log.
    pub number: usize,
    /// The HTTP method.
    pub verb: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub rpc: Value,
    pub at: Instant,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The JSON-RPC method.
    pub fn method(&self) -> &str {
        self.rpc["method"].as_str().unwrap_or_default()
    }

    /// The tool that is called.
    pub fn tool(&self) -> &str {
        if self.method() == "tools/call" { self.rpc["params"]["name"].as_str().unwrap_or_default() } else { "" }
    }

    pub fn id(&self) -> &Value {
        &self.rpc["id"]
    }

    /// The message that answers this request with `result`.
    pub fn result(&self, result: Value) -> String {
        json!({"jsonrpc": "2.0", "id": self.id(), "result": result}).to_string()
    }

    /// The message that answers this call with a text.
    pub fn text(&self, text: &str) -> String {
        self.result(json!({"content": [{"type": "text", "text": text}]}))
    }
}

/// A whole answer with a body.
pub fn page(status: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.as_ref().len()).into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.as_ref());
    vec![Step::Send(bytes)]
}

pub fn json_page(body: impl AsRef<[u8]>) -> Answer {
    page("200 OK", &[("Content-Type", "application/json")], body)
}

/// The head of an event stream that ends with its connection, and the first of it.
pub fn stream(text: impl AsRef<str>) -> Step {
    Step::Send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{}", text.as_ref()).into_bytes())
}

/// One event with a message.
pub fn event(id: Option<&str>, data: &str) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: message\ndata: {data}\n\n")
}

pub fn send(text: impl AsRef<[u8]>) -> Step {
    Step::Send(text.as_ref().to_vec())
}

/// The tools that every scripted server lists; the script says what they do.
const TOOLS: &[&str] = &["echo", "bad", "worse"];

type Script = dyn Fn(&Asked) -> Option<Answer> + Send + Sync;

pub struct Server {
    pub port: u16,
    inner: Arc<Inner>,
    listening: Option<AbortOnDropHandle<()>>,
}

struct Inner {
    script: Box<Script>,
    log: watch::Sender<Log>,
    sessions: Mutex<u32>,
    single: bool,
    /// Its connections.
    open: TaskTracker,
}

impl Server {
    /// Starts a server that asks `script` first.
    pub async fn start(script: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Server {
        let mut server = Server::prepared(script, false);
        server.listen().await;
        server
    }

    /// A server that takes one request a connection, so that no connection idles when it dies.
    pub async fn single() -> Server {
        let mut server = Server::prepared(|_| None, true);
        server.listen().await;
        server
    }

    /// A server that listens on a Unix socket only.
    pub fn on_socket(path: &Path, script: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Server {
        let mut server = Server::prepared(script, false);
        let listener = UnixListener::bind(path).unwrap();
        let inner = server.inner.clone();
        server.listening = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(inner.open.track_future(serve(inner.clone(), Wire::Unix(stream))));
            }
        })));
        server
    }

    fn prepared(script: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static, single: bool) -> Server {
        let inner = Inner {
            script: Box::new(script),
            log: watch::channel(Log::default()).0,
            sessions: Mutex::new(0),
            single,
            open: TaskTracker::new(),
        };
        Server { port: 0, inner: Arc::new(inner), listening: None }
    }

    /// Listens, on the same port as before if there was one.
    pub async fn listen(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let inner = self.inner.clone();
        self.listening = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(inner.open.track_future(serve(inner.clone(), Wire::Tcp(stream))));
            }
        })));
    }

    /// Dies: the listener and every connection are gone.
    pub async fn die(&mut self) {
        if let Some(task) = self.listening.take() {
            task.abort();
            let _ = task.await;
            // The tasks of the connections are only aborted so far: a socket closes when its task is dropped.
            self.inner.open.close();
            self.inner.open.wait().await;
            self.inner.open.reopen();
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    pub fn log(&self) -> Log {
        self.inner.log.borrow().clone()
    }

    /// Waits until the log looks as wanted.
    pub async fn saw(&self, what: &str, wanted: impl FnMut(&Log) -> bool) -> Log {
        let mut log = self.inner.log.subscribe();
        match tokio::time::timeout(PATIENCE, log.wait_for(wanted)).await {
            Ok(found) => found.unwrap().clone(),
            Err(_) => panic!("the server never saw: {what}; it saw {:#?}", self.log().requests),
        }
    }

    /// How many requests of this JSON-RPC method came so far.
    pub fn count(&self, method: &str) -> usize {
        self.log().requests.iter().filter(|r| r.method() == method).count()
    }

    /// How often a tool was called.
    pub fn calls_of(&self, tool: &str) -> usize {
        self.log().requests.iter().filter(|r| r.tool() == tool).count()
    }
}

enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    fn stream(&mut self) -> &mut dyn Stream {
        match self {
            Wire::Tcp(stream) => stream,
            Wire::Unix(stream) => stream,
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn serve(inner: Arc<Inner>, mut wire: Wire) {
    let mut buffer = Vec::new();
    loop {
        let Some(mut asked) = read(wire.stream(), &mut buffer).await else { return };
        let mut logged = None;
        inner.log.send_modify(|log| {
            asked.number = log.requests.len();
            let asked = Arc::new(asked);
            log.requests.push(asked.clone());
            logged = Some(asked);
        });
        let asked = logged.unwrap();
        let mut steps = (inner.script)(&asked).unwrap_or_else(|| inner.usual(&asked));
        if inner.single {
            close_after(&mut steps);
        }
        for step in steps {
            match step {
                Step::Reset => {
                    if let Wire::Tcp(stream) = &wire {
                        stream.set_zero_linger().unwrap();
                    }
                    return;
                }
                Step::Close => return,
                step => {
                    if !perform(wire.stream(), step).await {
                        inner.log.send_modify(|log| log.hung_up.push(asked.number));
                        return;
                    }
                }
            }
        }
    }
}

/// Says in the head of an answer that its connection ends with it, and ends it.
fn close_after(steps: &mut Answer) {
    if let Some(Step::Send(bytes)) = steps.first_mut() {
        let line = bytes.windows(2).position(|w| w == b"\r\n").unwrap() + 2;
        bytes.splice(line..line, *b"Connection: close\r\n");
    }
    steps.push(Step::Close);
}

/// Gives whether the other side is still there.
async fn perform(stream: &mut dyn Stream, step: Step) -> bool {
    let mut byte = [0; 1];
    match step {
        Step::Send(bytes) => stream.write_all(&bytes).await.is_ok(),
        Step::Repeat(bytes, times) => {
            for _ in 0..times {
                if stream.write_all(&bytes).await.is_err() {
                    return false;
                }
            }
            true
        }
        Step::Drip(byte) => loop {
            if stream.write_all(&[byte]).await.is_err() {
                return false;
            }
            sleep(Duration::from_millis(5)).await;
        },
        Step::Feed(feed) => {
            let mut feed = feed.lock().await;
            while let Some(text) = feed.recv().await {
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return false;
                }
            }
            true
        }
        Step::Limiter(gate) => {
            gate.acquire().await.unwrap().forget();
            true
        }
        Step::Work(time) => {
            sleep(time).await;
            true
        }
        Step::Hold => {
            let _ = stream.read(&mut byte).await;
            false
        }
        Step::Close | Step::Reset => unreachable!("done by the caller"),
    }
}

async fn read(stream: &mut dyn Stream, buffer: &mut Vec<u8>) -> Option<Asked> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        more(stream, buffer).await?;
        if buffer[0] == 0x16 {
            // A TLS handshake; web servers that speak none answer it like this.
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok()?;
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (verb, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<String, String> =
        lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
    let length: usize = headers.get("content-length").map_or(0, |l| l.parse().unwrap());
    while buffer.len() < head_end + 4 + length {
        more(stream, buffer).await?;
    }
    let body: Vec<u8> = buffer.drain(..head_end + 4 + length).skip(head_end + 4).collect();
    let rpc = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    Some(Asked { number: 0, verb, path, headers, rpc, at: Instant::now() })
}

async fn more(stream: &mut dyn Stream, buffer: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}

impl Inner {
    /// What a well-behaved server of 2025-11-25 with sessions answers.
    fn usual(&self, asked: &Asked) -> Answer {
        match (asked.verb.as_str(), asked.method()) {
            ("GET", _) => page("405 Method Not Allowed", &[], ""),
            ("DELETE", _) => page("200 OK", &[], ""),
            (_, "initialize") => {
                let mut sessions = self.sessions.lock().unwrap();
                *sessions += 1;
                let name = format!("session-{sessions}");
                page("200 OK", &[("Content-Type", "application/json"), ("Mcp-Session-Id", &name)], asked.result(hello()))
            }
            (_, "server/discover") => {
                json_page(json!({"jsonrpc": "2.0", "id": asked.id(), "error": {"code": -32601, "message": "Method not found"}}).to_string())
            }
            (_, "tools/list") => json_page(asked.result(tools())),
            (_, "tools/call") => json_page(asked.text("hello")),
            (_, "ping") => json_page(asked.result(json!({}))),
            _ => page("202 Accepted", &[], ""),
        }
    }
}

/// The result of `initialize`.
pub fn hello() -> Value {
    json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": true}}, "serverInfo": {"name": "scripted", "version": "1"}})
}

/// The result of `tools/list`.
pub fn tools() -> Value {
    let tools: Vec<Value> = TOOLS.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
    json!({"tools": tools})
}

/// What a well-behaved server of 2026-07-28 answers, where it differs.
pub fn modern(asked: &Asked) -> Option<Answer> {
    match asked.method() {
        "server/discover" => Some(json_page(asked.result(json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}},
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "scripted", "version": "2"}}
        })))),
        "subscriptions/listen" => Some(vec![stream(""), Step::Hold]),
        _ => None,
    }
}
