//! Clients of a gateway: over its pipes, and over HTTP.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use futures_util::FutureExt;
use serde_json::{Value, json, value::RawValue};
use switchboard::{
    domain::profile::DEFAULT,
    gateway::{
        EngineUpstream, Gateway, Settings,
        http::{Access, Listener, Service, SessionLimits},
        stdio,
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use crate::support::{PATIENCE, Rig};

/// A gateway in front of the servers of a rig.
pub fn gateway(rig: &Rig) -> Arc<Gateway> {
    with(rig, Settings::default())
}

/// A gateway with these settings.
pub fn with(rig: &Rig, settings: Settings) -> Arc<Gateway> {
    Gateway::new(Arc::new(EngineUpstream::new(rig.engine.engine())), settings)
}

/// The part of a response that the server made, byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// `result`.
    Result(String),
    /// `error`.
    Error(String),
}

impl Part {
    /// Reads a response with this id.
    pub fn of(text: &str, id: u64) -> Part {
        let members: std::collections::BTreeMap<String, &RawValue> =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(members["id"].get(), id.to_string(), "{text}");
        match members.get("result") {
            Some(result) => Part::Result(result.get().to_owned()),
            None => Part::Error(members["error"].get().to_owned()),
        }
    }

    /// Returns the value of the result or error.
    pub fn value(&self) -> Value {
        let (Part::Result(text) | Part::Error(text)) = self;
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// A client on the pipes of the gateway.
pub struct Pipe {
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    output: WriteHalf<DuplexStream>,
    next_id: u64,
    /// Messages that came while a response was waited for.
    pub passed: VecDeque<Value>,
    /// The face, and what ends it.
    _served: JoinHandle<()>,
}

impl Pipe {
    /// Connects a client.
    pub fn connect(gateway: &Arc<Gateway>) -> Pipe {
        let profile = gateway.profile(DEFAULT).unwrap();
        let (near, far) = tokio::io::duplex(1 << 22);
        let (input, output) = tokio::io::split(near);
        let (far_input, far_output) = tokio::io::split(far);
        let gateway = gateway.clone();
        let served = tokio::spawn(async move { stdio::serve(&gateway, profile, far_input, far_output).await });
        Pipe { lines: BufReader::new(input).lines(), output, next_id: 1, passed: VecDeque::new(), _served: served }
    }

    /// Connects and initialises a client with these capabilities.
    pub async fn initialized(gateway: &Arc<Gateway>, capabilities: Value) -> Pipe {
        let mut pipe = Pipe::connect(gateway);
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "c", "version": "1"}});
        pipe.ask("initialize", &params.to_string()).await;
        pipe.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        pipe
    }

    /// Sends a line.
    pub async fn send(&mut self, text: &str) {
        self.output.write_all(text.as_bytes()).await.unwrap();
        self.output.write_all(b"\n").await.unwrap();
    }

    /// Returns the next line.
    pub async fn line(&mut self) -> String {
        timeout(PATIENCE, self.lines.next_line()).await.expect("a message in time").unwrap().expect("the face is there")
    }

    /// Sends a request with raw params. Returns the part of its response that the server made.
    pub async fn ask(&mut self, method: &str, params: &str) -> Part {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)).await;
        let answered = async {
            loop {
                let line = self.line().await;
                let message: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
                if message.is_null() || message.get("method").is_none() {
                    return Part::of(&line, id);
                }
                self.passed.push_back(message);
            }
        };
        timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("a response to {method} in time"))
    }

    /// Calls a tool with raw arguments.
    pub async fn call(&mut self, tool: &str, arguments: &str) -> Part {
        self.ask("tools/call", &format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#)).await
    }
}

/// The HTTP face of a gateway on a free port.
pub struct Web {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Web {
    /// Listens.
    pub async fn start(gateway: &Arc<Gateway>) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let access = Access { address: Some(address), ..Access::default() };
        let service = Service::new(gateway.clone(), access, SessionLimits::default()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(service.serve(Listener::Tcp(listener), stopped.map(drop)));
        Web { address, stop: Some(stop), served }
    }

    /// Ends it.
    pub async fn end(mut self) {
        drop(self.stop.take());
        timeout(PATIENCE, self.served).await.expect("the listener ends in time").unwrap();
    }
}

/// A reply over HTTP.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the messages of the reply: a document, or the events of a stream.
    pub fn messages(&self) -> Vec<&str> {
        match self.header("content-type") {
            Some("text/event-stream") => {
                self.body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| !data.is_empty()).collect()
            }
            _ => vec![self.body.as_str()],
        }
    }

    /// Returns the response to the request with this id.
    pub fn part(&self, id: u64) -> Part {
        Part::of(self.messages().last().unwrap_or_else(|| panic!("no message: {self:?}")), id)
    }
}

/// A connection to the HTTP face that is used again and again.
pub struct Caller {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Caller {
    pub async fn connect(address: SocketAddr) -> Caller {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Caller { address, stream: BufReader::new(stream) }
    }

    /// Opens a session of a legacy client.
    pub async fn session(&mut self, capabilities: Value) -> String {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "c", "version": "1"}});
        let request = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let reply = self.post(&[], &request.to_string()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let session = reply.header("mcp-session-id").expect("a session").to_owned();
        let done = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(self.post(&[("mcp-session-id", &session)], done).await.status, 202);
        session
    }

    /// Posts a message and reads the whole reply.
    pub async fn post(&mut self, headers: &[(&str, &str)], body: &str) -> Reply {
        timeout(PATIENCE, self.exchange(headers, body)).await.expect("a reply in time")
    }

    async fn exchange(&mut self, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut head = format!("POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n", self.address);
        head.push_str("accept: application/json, text/event-stream\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        self.stream.write_all(head.as_bytes()).await.unwrap();
        let status = self.line().await.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut headers = vec![];
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply { status, headers, body: String::new() };
        let mut bytes = vec![];
        if let Some(length) = reply.header("content-length") {
            bytes.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut bytes).await.unwrap();
        } else if reply.header("transfer-encoding") == Some("chunked") {
            loop {
                let length = usize::from_str_radix(&self.line().await, 16).expect("a chunk");
                let from = bytes.len();
                bytes.resize(from + length, 0);
                self.stream.read_exact(&mut bytes[from..]).await.unwrap();
                assert_eq!(self.line().await, "");
                if length == 0 {
                    break;
                }
            }
        }
        reply.body = String::from_utf8(bytes).unwrap();
        reply
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end_matches(['\r', '\n']).to_owned()
    }
}
