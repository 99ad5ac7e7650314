//! The tap of an HTTP server: one connection to the server for each of a client. Only the value of `Host` changes, because the server
//! would refuse the address of the tap.
//!
//! Chunks, trailers, `Expect` and pipelining pass as they are. `Origin`, cookies and `Authorization` pass too; frames mask them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsConnector;

use super::{
    message::{Messages, Part, Sender, with_host},
    queue::{Lane, Queue, Stream},
};

/// The size of the buffer of a direction, in bytes.
const BUFFER: usize = 64 << 10;
/// Pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of connections; further ones wait.
const CONNECTIONS: usize = 256;

/// The tapped server.
#[derive(Clone)]
pub struct Target {
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of `Host`: with the port, unless that is the default of the scheme.
    pub authority: String,
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// Reads an address: `http` or `https`, without credentials. Fails with the reason.
    pub fn parse(url: &str) -> Result<Target, String> {
        let (rest, secure) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => return Err(format!("{url:?} is not an http or https URL")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err("the URL has credentials; the client sends them".into());
        }
        let default = if secure { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address are within its brackets.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| format!("{authority:?} has an invalid port"))?),
            _ => (authority, default),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(format!("{url:?} names no host"));
        }
        let tls = secure.then(config).transpose()?;
        Ok(Target { host: host.to_owned(), port, authority: authority.to_owned(), tls })
    }

    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(tls.clone()).connect(name, stream).await?))
    }
}

/// A stream in both directions.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Returns a configuration that trusts the certificates of the system, and those of `SSL_CERT_FILE`.
fn config() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    // Unreadable files are skipped; without any certificate the connection fails with that reason.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Accepts connections until the future is dropped.
pub async fn serve(listener: TcpListener, target: Target, queue: Queue) {
    let (permits, number) = (Arc::new(Semaphore::new(CONNECTIONS)), AtomicU64::new(0));
    let mut open = tokio::task::JoinSet::new();
    // The semaphore is never closed.
    while let Ok(permit) = permits.clone().acquire_owned().await {
        let Ok((client, _)) = listener.accept().await else {
            // As when no descriptor is free.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (target, queue, connection) = (target.clone(), queue.clone(), number.fetch_add(1, Ordering::Relaxed));
        open.spawn(async move {
            let _permit = permit;
            relay(client, &target, &queue, connection).await;
        });
        while open.try_join_next().is_some() {}
    }
}

/// Passes one connection on.
async fn relay(client: TcpStream, target: &Target, queue: &Queue, connection: u64) {
    let _ = client.set_nodelay(true);
    let (to_server, to_client) = (Lane { connection, stream: Stream::ToServer }, Lane { connection, stream: Stream::ToClient });
    let server = match target.connect().await {
        Ok(server) => server,
        Err(error) => {
            let response = unavailable(target, &error);
            refuse(client, response.as_bytes()).await;
            queue.offer(to_client, response.as_bytes());
            queue.end(to_client);
            return;
        }
    };
    let (from_client, mut client) = tokio::io::split(client);
    let (mut from_server, server) = tokio::io::split(server);
    let requests = async {
        let end = pass_requests(from_client, server, target, queue, to_server).await;
        queue.end(to_server);
        end
    };
    let responses = async {
        let end = pass(&mut from_server, &mut client, queue, to_client).await;
        let _ = client.shutdown().await;
        queue.end(to_client);
        end
    };
    // The server may answer after the client has sent everything; nothing follows its own end.
    tokio::pin!(requests, responses);
    tokio::select! {
        sent = &mut requests => if sent.is_ok() { _ = (&mut responses).await },
        _ = &mut responses => {}
    }
}

/// Answers a request that cannot be passed on.
async fn refuse(mut client: TcpStream, response: &[u8]) {
    let _ = client.write_all(response).await;
    let _ = client.shutdown().await;
    // Closing with unread bytes would reset the connection before the client has read the response.
    let mut buffer = [0; 4096];
    while matches!(client.read(&mut buffer).await, Ok(count) if count > 0) {}
}

fn unavailable(target: &Target, error: &io::Error) -> String {
    let text = format!("switchboard tap: {}:{} cannot be reached: {error}\n", target.host, target.port);
    let head = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{text}", text.len())
}

/// Passes bytes on until the end of the input.
async fn pass(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), queue: &Queue, lane: Lane) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        let Some(run) = buffer.get(..count).filter(|run| !run.is_empty()) else { return Ok(()) };
        to.write_all(run).await?;
        to.flush().await?;
        queue.offer(lane, run);
    }
}

/// Passes requests on with the `Host` of the server.
async fn pass_requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    target: &Target,
    queue: &Queue,
    lane: Lane,
) -> io::Result<()> {
    let (mut buffer, mut messages, mut changed) = (vec![0; BUFFER], Messages::new(Sender::Client), vec![]);
    loop {
        let count = from.read(&mut buffer).await?;
        let run = buffer.get(..count).unwrap_or_default();
        changed.clear();
        let mut out = |part: Part<'_>| match part {
            Part::Head(head) => changed.extend_from_slice(&with_host(head, &target.authority)),
            Part::Data(bytes) | Part::Framing(bytes) | Part::Raw(bytes) => changed.extend_from_slice(bytes),
            Part::End => {}
        };
        match run.is_empty() {
            true => messages.finish(&mut out),
            false => messages.feed(run, &mut out),
        }
        to.write_all(&changed).await?;
        to.flush().await?;
        queue.offer(lane, run);
        if run.is_empty() {
            return to.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn addresses_are_read_and_others_refused() {
        for (url, host, port, authority) in [
            ("http://localhost:3001/mcp", "localhost", 3001, "localhost:3001"),
            ("https://example.com/mcp?x", "example.com", 443, "example.com"),
            ("http://[::1]:8080", "::1", 8080, "[::1]:8080"),
            ("http://[::1]/", "::1", 80, "[::1]"),
        ] {
            let target = Target::parse(url).unwrap_or_else(|why| panic!("{url}: {why}"));
            assert_eq!((target.host.as_str(), target.port, target.authority.as_str()), (host, port, authority));
            assert_eq!(target.tls.is_some(), url.starts_with("https"));
        }
        for url in ["ftp://x", "http://", "http://u:p@h/", "http://h:x/"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    /// Starts a tap in front of an address.
    async fn tap(port: u16) -> (std::net::SocketAddr, Queue, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, queue) = (listener.local_addr().expect("an address"), Queue::default());
        let target = Target::parse(&format!("http://127.0.0.1:{port}")).expect("a target");
        (address, queue.clone(), tokio::spawn(serve(listener, target, queue)))
    }

    #[tokio::test]
    async fn pipelined_requests_and_responses_pass_and_only_the_host_changes() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = server.local_addr().expect("an address").port();
        let (address, queue, served) = tap(port).await;
        let mut random = fastrand::Rng::with_seed(11);
        for round in 0..100 {
            let body: Vec<u8> = (0..random.usize(0..5000)).map(|_| random.u8(..)).collect();
            let request = |host: &str| {
                let mut request =
                    format!("POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer t\r\nContent-Length: {}\r\n\r\n", body.len())
                        .into_bytes();
                request.extend_from_slice(&body);
                request
            };
            let sent = [request(&address.to_string()), request("other")].concat();
            let expected = [request(&format!("127.0.0.1:{port}")), request(&format!("127.0.0.1:{port}"))].concat();
            let answer: Vec<u8> = (0..random.usize(1..5000)).map(|_| random.u8(..)).collect();
            let (length, reply) = (expected.len(), answer.clone());
            let exchange = async {
                let (mut stream, _) = server.accept().await.expect("a connection");
                let mut received = vec![0; length];
                stream.read_exact(&mut received).await.expect("the requests");
                stream.write_all(&reply).await.expect("the tap reads");
                drop(stream);
                received
            };
            let client = async {
                let mut stream = TcpStream::connect(address).await.expect("the tap listens");
                let mut rest = sent.as_slice();
                while !rest.is_empty() {
                    let (run, after) = rest.split_at(random.usize(1..=700).min(rest.len()));
                    stream.write_all(run).await.expect("the tap reads");
                    rest = after;
                }
                let mut received = vec![];
                stream.read_to_end(&mut received).await.expect("the response");
                received
            };
            let (received, got) = timeout(PATIENCE, async { tokio::join!(exchange, client) }).await.expect("in time");
            assert_eq!(Sha256::digest(&received), Sha256::digest(&expected), "round {round}");
            assert_eq!(Sha256::digest(&got), Sha256::digest(&answer), "round {round}");
        }
        assert!(!queue.is_empty());
        served.abort();
    }

    #[tokio::test]
    async fn a_server_that_is_down_is_a_502_that_names_the_tap() {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let (address, _, served) = tap(port).await;
        let mut stream = TcpStream::connect(address).await.expect("the tap listens");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the tap reads");
        stream.shutdown().await.expect("the tap reads");
        let mut received = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut received)).await.expect("in time").expect("a response");
        assert!(received.starts_with("HTTP/1.1 502 ") && received.contains("switchboard tap: 127.0.0.1:"), "{received}");
        served.abort();
    }
}
