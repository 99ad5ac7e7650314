//! What the gateway adds to a call over HTTP: a server that responds immediately, called directly and through the gateway in the same run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    reason = "a benchmark prints, panics on errors, and uses a part of what benchmarks share"
)]

mod support;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use support::report::{self, Of, Series};
use switchboard::{
    control::LocalControl,
    domain::{
        capabilities::Answerable,
        retention::Retention,
        server::{ServerSpec, Transport},
        time::Epoch,
    },
    engine::EngineOptions,
    gateway::{
        EngineUpstream, Gateway, Settings,
        http::{Access, Listener, Service, SessionLimits},
    },
    mcp::Connections,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// Calls of a batch; direct ones and those through the gateway alternate.
const BATCH: usize = 100;
const BATCHES: usize = 30;
const WARM: usize = 300;
/// Calls in flight together, and calls of each of them.
const TOGETHER: usize = 64;
const EACH: usize = 150;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"n":1}}}"#;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    // On a worker, as every caller is.
    runtime.block_on(async { tokio::spawn(measure()).await.expect("no panic") });
}

/// A message of HTTP with a length.
async fn read(stream: &mut BufReader<TcpStream>, line: &mut String, body: &mut Vec<u8>) -> Option<String> {
    let (mut length, mut session) = (0, String::new());
    loop {
        line.clear();
        if stream.read_line(line).await.ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        } else if name.eq_ignore_ascii_case("mcp-session-id") {
            session = value.trim().to_owned();
        }
    }
    body.resize(length, 0);
    stream.read_exact(body).await.ok()?;
    Some(session)
}

#[derive(Deserialize)]
struct Request<'m> {
    #[serde(borrow)]
    id: Option<&'m RawValue>,
    #[serde(default)]
    method: &'m str,
}

/// Responds to every request immediately.
async fn echo(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a socket");
        tokio::spawn(async move {
            let (mut stream, mut line, mut body) = (BufReader::new(stream), String::new(), vec![]);
            while read(&mut stream, &mut line, &mut body).await.is_some() {
                let request: Request<'_> = serde_json::from_slice(&body).unwrap_or(Request { id: None, method: "" });
                let result = match request.method {
                    "initialize" => {
                        r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}"#
                    }
                    "tools/list" => r#"{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}"#,
                    "tools/call" => r#"{"content":[{"type":"text","text":"hello"}]}"#,
                    _ => "{}",
                };
                let response = match (request.id, request.method) {
                    (None, _) => "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned(),
                    (Some(id), "server/discover") => {
                        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no"}}}}"#);
                        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                    }
                    (Some(id), _) => {
                        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
                        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                    }
                };
                if stream.write_all(response.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// A client that uses one connection.
struct Client {
    stream: BufReader<TcpStream>,
    head: String,
    line: String,
    body: Vec<u8>,
}

impl Client {
    /// Connects, and opens a session.
    async fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n"
        );
        let mut client = Client { stream: BufReader::new(stream), head, line: String::new(), body: vec![] };
        let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
        let session = client.post(initialize).await;
        client.head.push_str(&format!("mcp-session-id: {session}\r\n"));
        client.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        client
    }

    async fn post(&mut self, body: &str) -> String {
        let message = format!("{}content-length: {}\r\n\r\n{body}", self.head, body.len());
        self.stream.write_all(message.as_bytes()).await.expect("written");
        read(&mut self.stream, &mut self.line, &mut self.body).await.expect("a response")
    }

    async fn call(&mut self) -> Duration {
        let begun = Instant::now();
        self.post(CALL).await;
        let took = begun.elapsed();
        assert!(self.body.windows(5).any(|part| part == b"hello"), "{}", String::from_utf8_lossy(&self.body));
        took
    }
}

/// Calls a second with many calls in flight.
async fn throughput(address: SocketAddr) -> f64 {
    let mut clients = vec![];
    for _ in 0..TOGETHER {
        clients.push(Client::connect(address).await);
    }
    let begun = Instant::now();
    let calls = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            for _ in 0..EACH {
                client.call().await;
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("no panic");
    }
    (TOGETHER * EACH) as f64 / begun.elapsed().as_secs_f64()
}

async fn measure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = listener.local_addr().expect("an address");
    tokio::spawn(echo(listener));
    let options = EngineOptions { epoch: Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 }, separator: "_".into(), seed: Some(1) };
    let connections = Arc::new(Connections::new(None).answering(Answerable::NONE));
    let control = LocalControl::new(options, Retention::default(), connections);
    let url = format!("http://{server}/mcp");
    control.apply(vec![ServerSpec::new("echo", Transport::Http { url, headers: vec![], socket: None })]);
    let gateway = Gateway::new(Arc::new(EngineUpstream::new(control.engine())), Settings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let access = Access { address: Some(address), ..Access::default() };
    let service = Service::new(gateway, access, SessionLimits::default()).expect("a loopback address");
    let (_stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(service.serve(Listener::Tcp(listener), stopped.map(drop)));

    let (mut direct, mut through) = (Client::connect(server).await, Client::connect(address).await);
    for _ in 0..WARM {
        direct.call().await;
        through.call().await;
    }
    let (mut of_direct, mut of_gateway) = (vec![], vec![]);
    for _ in 0..BATCHES {
        for _ in 0..BATCH {
            of_direct.push(direct.call().await);
        }
        for _ in 0..BATCH {
            of_gateway.push(through.call().await);
        }
    }
    let (of_direct, of_gateway) = (Series::of(&of_direct), Series::of(&of_gateway));
    report::heading("gateway: a call of a fast server over HTTP");
    report::line("direct", "ms", &of_direct).print();
    report::line("through the gateway", "ms", &of_gateway).against("direct", of_direct.median()).print();
    let added = Series::new([of_gateway.median() - of_direct.median()]);
    report::line("added to the median", "ms", &added).promise(Of::Median, 0.25).print();

    let (mut direct, mut through) = (vec![], vec![]);
    for _ in 0..3 {
        direct.push(throughput(server).await);
        through.push(throughput(address).await);
    }
    let (direct, through) = (Series::new(direct), Series::new(through));
    report::heading(&format!("gateway: {TOGETHER} calls in flight"));
    report::line("direct", "calls/s", &direct).print();
    report::line("through the gateway", "calls/s", &through).print();
    // At least 60 per cent.
    let times = Series::new([direct.median() / through.median()]);
    report::line("direct, in multiples of the gateway", "x", &times).promise(Of::Median, 1.0 / 0.6).print();
}
