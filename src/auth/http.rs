//! HTTP client of OAuth requests: limits of size and time, no redirect of a POST, and the address filter. Every request of a login
//! or a refresh passes it.

use std::{error::Error, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use reqwest::{Client, header};
pub(super) use reqwest::{
    Url,
    dns::{Name, Resolve, Resolving},
};
use rmcp::transport::auth::{OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRedirectPolicy, OAuthHttpRequest};
use serde_json::Value;
pub(super) use url::Host;

use super::{
    addresses::{Addresses, Resolver, is_loopback},
    failure::AuthFailure,
};
use crate::{
    domain::{login::AuthSettings, secret::Secret, secret::SecretRegistry, tls::TlsSettings},
    mcp::trusted,
};

/// Limit of one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a response.
const BODY: usize = 1 << 20;
/// Most redirects of one request.
const REDIRECTS: usize = 3;

/// Members of requests and responses that are secrets.
const SECRETS: [&str; 6] = ["access_token", "refresh_token", "id_token", "client_secret", "registration_access_token", "code"];

type Fault = Box<dyn Error + Send + Sync>;

/// The client of one server.
pub(super) struct Http {
    client: Client,
    addresses: Arc<Addresses>,
    /// The MCP server.
    server: Url,
    secrets: SecretRegistry,
    noted: Mutex<Noted>,
    /// The resource indicator that replaces the one in requests to the token endpoint.
    resource: Mutex<Option<String>>,
}

/// The last response with each purpose, which the OAuth library does not pass on.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    /// The response of a dynamic registration (RFC 7591, section 3.2.1).
    pub(super) registration: Option<Value>,
    /// The error of the last POST (RFC 6749, section 5.2).
    pub(super) error: Option<OAuthError>,
    /// Why the last request had no response.
    pub(super) lost: Option<String>,
}

/// An error response of an authorization server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OAuthError {
    /// The HTTP status.
    pub(super) status: u16,
    /// The error code.
    pub(super) code: Option<String>,
    /// Its description.
    pub(super) description: Option<String>,
}

impl std::fmt::Display for OAuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.code, &self.description) {
            (Some(code), Some(description)) => write!(f, "{code}: {description}"),
            (Some(code), None) => f.write_str(code),
            _ => write!(f, "HTTP {}", self.status),
        }
    }
}

/// The response of a server to a request without credentials.
pub(super) struct Probe {
    /// The HTTP status.
    pub(super) status: u16,
    /// The values of `WWW-Authenticate`.
    pub(super) challenges: Vec<String>,
    /// The address that answered.
    pub(super) peer: Option<IpAddr>,
}

/// Sends a request without credentials to a server and returns how it refuses it. `server/discover` opens no session.
pub(super) async fn probe(url: &Url, headers: &[(String, Secret)], tls: &TlsSettings) -> Result<Probe, AuthFailure> {
    let client = builder(url, tls)?.build().map_err(|error| AuthFailure::Local(chain(&error)))?;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"switchboard","version":"0"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let mut request = client
        .post(url.clone())
        .timeout(TIMEOUT)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "server/discover");
    for (name, value) in headers {
        request = request.header(name, value.expose());
    }
    let response = request.body(body).send().await.map_err(|error| AuthFailure::Transient(chain(&error)))?;
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Probe {
        status: response.status().as_u16(),
        challenges: response.headers().get_all(header::WWW_AUTHENTICATE).iter().map(text).collect(),
        peer: response.remote_addr().map(|address| address.ip()),
    })
}

fn builder(server: &Url, tls: &TlsSettings) -> Result<reqwest::ClientBuilder, AuthFailure> {
    let tls = trusted(tls).map_err(AuthFailure::Local)?;
    let builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(TIMEOUT)
        .pool_max_idle_per_host(1)
        .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls);
    // As for requests to the server itself.
    Ok(if is_loopback(server) { builder.no_proxy() } else { builder })
}

impl Http {
    /// Creates the client for the server at `server`. `peer` is the address from which it answered.
    pub(super) fn new(
        server: &Url,
        settings: &AuthSettings,
        ca: &TlsSettings,
        peer: Option<IpAddr>,
        secrets: SecretRegistry,
    ) -> Result<Http, AuthFailure> {
        let addresses = Arc::new(Addresses::of(server, peer, &settings.allow_hosts));
        // An unchecked certificate of the MCP server says nothing about the authorization server.
        let tls = TlsSettings { ca: ca.ca.clone(), insecure: false };
        let client = builder(server, &tls)?.dns_resolver(Arc::new(Resolver(addresses.clone()))).timeout(TIMEOUT).build();
        let client = client.map_err(|error| AuthFailure::Local(chain(&error)))?;
        Ok(Http { client, addresses, server: server.clone(), secrets, noted: Mutex::default(), resource: Mutex::default() })
    }

    /// Sends this resource indicator as written in further token requests.
    pub(super) fn set_resource(&self, resource: &str) {
        *self.resource.lock() = Some(resource.to_owned());
    }

    /// Returns and forgets what was noted of the last responses.
    pub(super) fn take_noted(&self) -> Noted {
        std::mem::take(&mut *self.noted.lock())
    }

    /// Sends a form to an endpoint of the authorization server; returns the status and the JSON body.
    pub(super) async fn post_form(&self, url: &str, form: &[(&str, &str)]) -> Result<(u16, Value), AuthFailure> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = http::Request::post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.into_bytes());
        let request = request.map_err(|error| AuthFailure::Local(error.to_string()))?;
        let response =
            self.send(request, OAuthHttpRedirectPolicy::Stop).await.map_err(|error| AuthFailure::Transient(error.to_string()))?;
        Ok((response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default()))
    }

    /// Refuses plain HTTP outside of this machine, and addresses that the filter excludes.
    fn check(&self, url: &Url, sends: bool) -> Result<(), String> {
        let own = url.origin() == self.server.origin();
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(url) || (own && !sends) => {}
            _ => return Err(format!("{}: only https is used for logins, or http on this machine", shown(url))),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("{}: the address contains credentials", shown(url)));
        }
        self.addresses.check(url)
    }

    async fn send(&self, request: http::Request<Vec<u8>>, policy: OAuthHttpRedirectPolicy) -> Result<http::Response<Vec<u8>>, Fault> {
        let (parts, body) = request.into_parts();
        let mut url = Url::parse(&parts.uri.to_string())?;
        let sends = parts.method != http::Method::GET;
        let body = if sends { self.outgoing(&parts.headers, body) } else { body };
        let mut redirects = 0;
        loop {
            self.check(&url, sends)?;
            let request = self.client.request(parts.method.clone(), url.clone()).headers(parts.headers.clone()).body(body.clone());
            let mut response = request.send().await.map_err(|error| chain(&error))?;
            let target = response.headers().get(header::LOCATION).and_then(|location| url.join(location.to_str().ok()?).ok());
            // A redirected POST would send its secrets to the target.
            if let Some(target) = target.filter(|target| {
                response.status().is_redirection()
                    && !sends
                    && policy == OAuthHttpRedirectPolicy::Follow
                    && redirects < REDIRECTS
                    && target.origin() == url.origin()
            }) {
                (url, redirects) = (target, redirects + 1);
                continue;
            }
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
                if bytes.len() + chunk.len() > BODY {
                    return Err(format!("the response of {} is larger than 1 MiB", shown(&url)).into());
                }
                bytes.extend_from_slice(&chunk);
            }
            self.learn(&bytes);
            if sends {
                self.note(response.status().as_u16(), &parts.headers, &bytes);
            }
            let mut built = http::Response::builder().status(response.status());
            if let Some(headers) = built.headers_mut() {
                *headers = response.headers().clone();
            }
            return Ok(built.body(bytes)?);
        }
    }

    /// Returns the body as it is sent: with the resource indicator as written. Learns its secrets.
    fn outgoing(&self, headers: &header::HeaderMap, body: Vec<u8>) -> Vec<u8> {
        let form = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        if !form {
            return body;
        }
        let resource = self.resource.lock().clone();
        let mut out = url::form_urlencoded::Serializer::new(String::new());
        for (key, value) in url::form_urlencoded::parse(&body) {
            if SECRETS.contains(&&*key) || key == "code_verifier" {
                self.secrets.learn([Secret::literal(&*value)]);
            }
            match (&*key, &resource) {
                ("resource", Some(resource)) => out.append_pair("resource", resource),
                _ => out.append_pair(&key, &value),
            };
        }
        out.finish().into_bytes()
    }

    /// Learns the secrets of a response.
    fn learn(&self, body: &[u8]) {
        let Ok(Value::Object(members)) = serde_json::from_slice(body) else { return };
        let secrets = members.iter().filter(|(key, _)| SECRETS.contains(&key.as_str()));
        self.secrets.learn(secrets.filter_map(|(_, value)| value.as_str()).filter(|value| !value.is_empty()).map(Secret::literal));
    }

    fn note(&self, status: u16, headers: &header::HeaderMap, body: &[u8]) {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut noted = self.noted.lock();
        noted.lost = None;
        if !(200..300).contains(&status) {
            let text = |key: &str| json[key].as_str().map(|text| text.chars().take(300).collect());
            noted.error = Some(OAuthError { status, code: text("error"), description: text("error_description") });
        } else if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json") {
            noted.registration = Some(json);
        }
    }
}

impl OAuthHttpClient for Http {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move {
            let result = self.send(request.request, request.redirect_policy).await;
            if let Err(error) = &result {
                self.noted.lock().lost = Some(error.to_string());
            }
            result
        })
    }
}

/// Returns an address without its query, for messages.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// Returns an error with its causes on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers every request with `answer`; returns its origin and the number of connections.
    async fn server(answer: String) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (origin, connections)
    }

    fn client(server: &str, peer: Option<&str>) -> Http {
        let peer = peer.map(|peer| peer.parse().unwrap());
        let settings = AuthSettings::default();
        Http::new(&Url::parse(server).unwrap(), &settings, &TlsSettings::default(), peer, SecretRegistry::default()).unwrap()
    }

    fn post(url: &str) -> http::Request<Vec<u8>> {
        http::Request::post(url).header("content-type", "application/x-www-form-urlencoded").body(b"code=canary-1".to_vec()).unwrap()
    }

    #[tokio::test]
    async fn trap_30_metadata_leads_to_no_private_address() {
        let (origin, connections) = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}".into()).await;
        let public = client("https://mcp.example.com/mcp", Some("93.184.216.34"));
        let port = origin.rsplit(':').next().unwrap().to_owned();
        for bad in [
            format!("{origin}/x"),
            format!("https://127.0.0.1:{port}/x"),
            format!("https://localhost:{port}/x"),
            format!("https://[::ffff:127.0.0.1]:{port}/x"),
            format!("https://user:secret@93.184.216.34:{port}/x"),
            "http://93.184.216.34/x".to_owned(),
        ] {
            let get = http::Request::get(&bad).body(vec![]).unwrap();
            assert!(public.send(get, OAuthHttpRedirectPolicy::Stop).await.is_err(), "{bad}");
            assert!(public.send(post(&bad), OAuthHttpRedirectPolicy::Stop).await.is_err(), "{bad}");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 0);
        // A server of this machine may name others of this machine.
        let local = client(&format!("{origin}/mcp"), None);
        let get = http::Request::get(format!("{origin}/x")).body(vec![]).unwrap();
        assert_eq!(local.send(get, OAuthHttpRedirectPolicy::Stop).await.unwrap().body(), b"{}");
    }

    #[tokio::test]
    async fn trap_30_a_redirected_post_sends_its_secret_nowhere_else() {
        let (target, reached) = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}".into()).await;
        let redirect = format!("HTTP/1.1 307 X\r\nLocation: {target}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let (origin, _) = server(redirect).await;
        let local = client(&format!("{origin}/mcp"), None);
        for policy in [OAuthHttpRedirectPolicy::Stop, OAuthHttpRedirectPolicy::Follow] {
            assert_eq!(local.send(post(&format!("{origin}/token")), policy).await.unwrap().status(), 307);
            // Nor does a GET leave its origin.
            let get = http::Request::get(format!("{origin}/metadata")).body(vec![]).unwrap();
            assert_eq!(local.send(get, policy).await.unwrap().status(), 307);
        }
        assert_eq!(reached.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_response_is_limited() {
        let (origin, _) = server(format!("HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n{}", "x".repeat(2_000_000))).await;
        let get = http::Request::get(format!("{origin}/x")).body(vec![]).unwrap();
        let error = client(&format!("{origin}/mcp"), None).send(get, OAuthHttpRedirectPolicy::Stop).await.unwrap_err();
        assert!(error.to_string().contains("larger than 1 MiB"), "{error}");
    }

    #[tokio::test]
    async fn the_resource_is_replaced_and_secrets_are_learned() {
        let (origin, _) = server("HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{\"access_token\":\"tok-abc\"}".into()).await;
        let http = client(&format!("{origin}/mcp"), None);
        http.set_resource("https://a.example");
        let headers = post("https://a.example").headers().clone();
        let body = http.outgoing(&headers, b"code=canary-1&resource=https%3A%2F%2Fa.example%2F&code_verifier=canary-2".to_vec());
        assert_eq!(body, b"code=canary-1&resource=https%3A%2F%2Fa.example&code_verifier=canary-2");
        http.learn(br#"{"access_token": "canary-3", "token_type": "bearer"}"#);
        assert_eq!(http.secrets.redactor().redact("canary-1 canary-2 canary-3 bearer"), "••• ••• ••• bearer");
    }
}
