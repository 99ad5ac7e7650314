//! An authorization server and the MCP server that it protects, for tests. It compares redirect URIs, resources and verifiers
//! exactly, rotates refresh tokens, and takes the reuse of one for theft: the whole login is revoked then (RFC 9700, section 4.14.2).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A request to either server.
struct Asked {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// The next answers of the token endpoint to refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// HTTP 500 before anything happens.
    Error,
    /// The connection is closed after the refresh.
    Lost,
}

/// What the servers do, and what they saw.
pub struct State {
    /// The origin of the authorization server.
    pub issuer: String,
    /// The origin of the MCP server.
    pub origin: String,
    /// The issuer that the metadata of the MCP server names.
    pub named: String,
    /// The resource that the metadata of the MCP server names.
    pub resource: String,
    /// The resource that the authorization server accepts, if not that of the metadata.
    pub accepted: Option<String>,
    /// Lifetime of new access tokens in seconds.
    pub lifetime: u64,
    /// Whether dynamic registration is offered.
    pub registers: bool,
    /// Whether registered clients get a secret.
    pub secrets: bool,
    /// Whether a refresh token that was replaced is accepted once more.
    pub grace: bool,
    /// Scopes that the tool `write` needs.
    pub write_scope: Option<String>,
    /// The scope in the first challenge.
    pub scope: Option<String>,
    /// The next answers to refreshes.
    pub faults: Vec<Fault>,
    /// The clients: redirect URIs and secret.
    pub clients: HashMap<String, (Vec<String>, Option<String>)>,
    /// Forms of the token endpoint.
    pub token_requests: Vec<BTreeMap<String, String>>,
    /// Queries of the authorization endpoint.
    pub authorizations: Vec<BTreeMap<String, String>>,
    /// Paths of all requests to the authorization server.
    pub paths: Vec<String>,
    /// The tools that ran.
    pub ran: Vec<String>,
    /// Every secret that was issued or sent.
    pub issued: HashSet<String>,
    /// Access tokens: login, scopes.
    access: HashMap<String, (u64, Vec<String>)>,
    /// Refresh tokens: login, scopes, whether it was used.
    refresh: HashMap<String, (u64, Vec<String>, bool)>,
    codes: HashMap<String, BTreeMap<String, String>>,
    revoked: HashSet<u64>,
    count: u64,
}

impl State {
    fn secret(&mut self, kind: &str) -> String {
        self.count += 1;
        let secret = format!("{kind}-canary-{:08x}{:08x}", fastrand::u32(..), self.count);
        self.issued.insert(secret.clone());
        secret
    }

    fn tokens(&mut self, login: u64, scopes: &[String], refreshable: bool) -> Value {
        let access = self.secret("access");
        self.access.insert(access.clone(), (login, scopes.to_vec()));
        let mut tokens = json!({"access_token": access, "token_type": "Bearer", "expires_in": self.lifetime, "scope": scopes.join(" ")});
        if refreshable {
            let refresh = self.secret("refresh");
            self.refresh.insert(refresh.clone(), (login, scopes.to_vec(), false));
            tokens["refresh_token"] = refresh.into();
        }
        tokens
    }

    fn accepted(&self) -> &str {
        self.accepted.as_ref().unwrap_or(&self.resource)
    }

    /// Makes every access token invalid.
    pub fn expire(&mut self) {
        self.access.clear();
    }

    /// Makes every login invalid.
    pub fn revoke_all(&mut self) {
        self.access.clear();
        let logins: Vec<u64> = self.refresh.values().map(|(login, ..)| *login).collect();
        self.revoked.extend(logins);
    }

    /// Registers a client.
    pub fn add_client(&mut self, id: &str, redirect: &str, secret: Option<&str>) {
        self.issued.extend(secret.map(str::to_owned));
        self.clients.insert(id.to_owned(), (vec![redirect.to_owned()], secret.map(str::to_owned)));
    }

    /// How many refreshes were asked for.
    pub fn refreshes(&self) -> usize {
        self.token_requests.iter().filter(|form| form["grant_type"] == "refresh_token").count()
    }
}

/// The running servers.
pub struct Servers {
    state: Arc<Mutex<State>>,
}

impl Servers {
    pub fn start() -> Servers {
        let (authorization, mcp) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let origin = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (issuer, server) = (origin(&authorization), origin(&mcp));
        let state = Arc::new(Mutex::new(State {
            named: issuer.clone(),
            resource: format!("{server}/mcp"),
            issuer,
            origin: server,
            accepted: None,
            lifetime: 3600,
            registers: true,
            secrets: false,
            grace: false,
            write_scope: None,
            scope: None,
            faults: vec![],
            clients: HashMap::new(),
            token_requests: vec![],
            authorizations: vec![],
            paths: vec![],
            ran: vec![],
            issued: HashSet::new(),
            access: HashMap::new(),
            refresh: HashMap::new(),
            codes: HashMap::new(),
            revoked: HashSet::new(),
            count: 0,
        }));
        listen(authorization, state.clone(), authorize);
        listen(mcp, state.clone(), protect);
        Servers { state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The URL of the MCP server.
    pub fn url(&self) -> String {
        format!("{}/mcp", self.state().origin)
    }
}

type Answer = Option<(u16, Vec<(String, String)>, String)>;

fn listen(listener: TcpListener, state: Arc<Mutex<State>>, answer: fn(&mut State, &Asked) -> Answer) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = state.clone();
            std::thread::spawn(move || {
                let mut stream = stream;
                while let Some(asked) = read(&mut stream) {
                    let Some((status, headers, body)) = answer(&mut state.lock().unwrap(), &asked) else { return };
                    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
                    for (name, value) in headers {
                        head.push_str(&format!("{name}: {value}\r\n"));
                    }
                    if stream.write_all(format!("{head}\r\n{body}").as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let headers: HashMap<String, String> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some(Asked { method, path: path.to_owned(), query: form(query.as_bytes()), headers, body })
}

fn form(text: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

fn page(status: u16, body: Value) -> Answer {
    Some((status, vec![("Content-Type".into(), "application/json".into())], body.to_string()))
}

fn refuse(error: &str) -> Answer {
    page(if error == "invalid_client" { 401 } else { 400 }, json!({"error": error, "error_description": format!("this is {error}")}))
}

/// The authorization server.
fn authorize(state: &mut State, asked: &Asked) -> Answer {
    state.paths.push(asked.path.clone());
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/.well-known/oauth-authorization-server") => {
            let at = |path: &str| format!("{}{path}", state.issuer);
            let mut metadata = json!({
                "issuer": state.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
                "revocation_endpoint": at("/revoke"), "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": true,
                "token_endpoint_auth_methods_supported": ["none", "client_secret_post"],
            });
            if state.registers {
                metadata["registration_endpoint"] = at("/register").into();
            }
            page(200, metadata)
        }
        ("POST", "/register") if state.registers => {
            let wanted: Value = serde_json::from_slice(&asked.body).unwrap();
            let redirects = wanted["redirect_uris"].as_array().unwrap().iter().map(|uri| uri.as_str().unwrap().to_owned()).collect();
            let secret = state.secrets.then(|| state.secret("client"));
            let id = format!("client-{}", state.clients.len());
            state.clients.insert(id.clone(), (redirects, secret.clone()));
            let mut response = json!({"client_id": id, "redirect_uris": wanted["redirect_uris"]});
            if let Some(secret) = secret {
                response["client_secret"] = secret.into();
                response["client_secret_expires_at"] = 0.into();
            }
            page(201, response)
        }
        ("GET", "/authorize") => {
            let query = asked.query.clone();
            state.authorizations.push(query.clone());
            let known = state.clients.get(&query["client_id"]).is_some_and(|(redirects, _)| redirects.contains(&query["redirect_uri"]));
            if !known || query["resource"] != state.accepted() || query["code_challenge_method"] != "S256" {
                return page(400, json!({"refused": query}));
            }
            let code = state.secret("code");
            state.codes.insert(code.clone(), query.clone());
            let mut target = url::Url::parse(&query["redirect_uri"]).unwrap();
            target.query_pairs_mut().append_pair("code", &code).append_pair("state", &query["state"]).append_pair("iss", &state.issuer);
            Some((302, vec![("Location".into(), target.into())], String::new()))
        }
        ("POST", "/token") => token(state, form(&asked.body)),
        ("POST", "/revoke") => {
            let token = &form(&asked.body)["token"];
            let login = state.refresh.get(token).map(|(login, ..)| *login).or_else(|| state.access.get(token).map(|(login, _)| *login));
            state.revoked.extend(login);
            page(200, json!({}))
        }
        _ => page(404, json!({})),
    }
}

fn token(state: &mut State, form: BTreeMap<String, String>) -> Answer {
    state.token_requests.push(form.clone());
    state.issued.extend(form.get("code_verifier").cloned());
    let get = |key: &str| form.get(key).map(String::as_str).unwrap_or_default();
    let Some((_, secret)) = state.clients.get(get("client_id")) else { return refuse("invalid_client") };
    if secret.as_deref() != form.get("client_secret").map(String::as_str) {
        return refuse("invalid_client");
    }
    if get("resource") != state.accepted() {
        return refuse("invalid_target");
    }
    let scopes = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match get("grant_type") {
        "authorization_code" => {
            let Some(query) = state.codes.remove(get("code")) else { return refuse("invalid_grant") };
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(get("code_verifier")));
            if query["code_challenge"] != challenge
                || query["redirect_uri"] != get("redirect_uri")
                || query["client_id"] != get("client_id")
            {
                return refuse("invalid_grant");
            }
            state.count += 1;
            let (login, scopes) = (state.count, scopes(query.get("scope").map(String::as_str).unwrap_or_default()));
            page(200, state.tokens(login, &scopes, true))
        }
        "client_credentials" => {
            state.count += 1;
            page(200, state.tokens(state.count, &scopes(get("scope")), false))
        }
        "refresh_token" => {
            let fault = if state.faults.is_empty() { None } else { Some(state.faults.remove(0)) };
            if fault == Some(Fault::Error) {
                return page(500, json!({"error": "server_error"}));
            }
            let (grace, used) = (state.grace, get("refresh_token").to_owned());
            let Some((login, scopes, reused)) = state.refresh.get_mut(&used) else { return refuse("invalid_grant") };
            let (login, scopes, again) = (*login, scopes.clone(), std::mem::replace(reused, true));
            if again && !grace {
                state.revoked.insert(login);
            }
            if state.revoked.contains(&login) {
                return refuse("invalid_grant");
            }
            let tokens = state.tokens(login, &scopes, true);
            if fault == Some(Fault::Lost) { None } else { page(200, tokens) }
        }
        _ => refuse("unsupported_grant_type"),
    }
}

/// The MCP server.
fn protect(state: &mut State, asked: &Asked) -> Answer {
    if asked.path.starts_with("/.well-known/oauth-protected-resource") {
        return page(200, json!({"resource": state.resource, "authorization_servers": [state.named]}));
    }
    if asked.method != "POST" {
        return page(405, json!({}));
    }
    let rpc: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let given = asked.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let metadata = format!("resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"", state.origin);
    let valid = state.access.get(given).filter(|(login, _)| !state.revoked.contains(login));
    let Some((_, scopes)) = valid.cloned() else {
        let scope = state.scope.as_ref().map(|scope| format!(", scope=\"{scope}\"")).unwrap_or_default();
        let challenge = format!("Bearer error=\"invalid_token\"{scope}, {metadata}");
        return Some((401, vec![("WWW-Authenticate".into(), challenge)], String::new()));
    };
    let (method, tool) = (rpc["method"].as_str().unwrap_or_default(), rpc["params"]["name"].as_str().unwrap_or_default());
    if let Some(scope) = state.write_scope.clone().filter(|scope| tool == "write" && !scopes.contains(scope)) {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\", {metadata}");
        return Some((403, vec![("WWW-Authenticate".into(), challenge)], String::new()));
    }
    let schema = json!({"type": "object"});
    let result = match method {
        "initialize" => {
            json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "guarded", "version": "1"}})
        }
        "tools/list" => json!({"tools": [
            {"name": "read", "inputSchema": schema, "annotations": {"readOnlyHint": true}},
            {"name": "write", "inputSchema": schema, "annotations": {"destructiveHint": true}},
        ]}),
        "tools/call" => {
            state.ran.push(tool.to_owned());
            json!({"content": [{"type": "text", "text": format!("{tool} ran")}]})
        }
        _ if rpc["id"].is_null() => return Some((202, vec![], String::new())),
        _ => return page(200, json!({"jsonrpc": "2.0", "id": rpc["id"], "error": {"code": -32601, "message": "unknown method"}})),
    };
    page(200, json!({"jsonrpc": "2.0", "id": rpc["id"], "result": result}))
}

/// Opens an address like a browser, without following its redirect. Returns where it leads.
pub fn open(address: &str) -> Result<String, String> {
    let url = url::Url::parse(address).unwrap();
    let answer = get(&url);
    let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
    location.map(str::to_owned).ok_or(answer)
}

/// Sends a GET to an address of this machine; returns the whole response.
pub fn get(url: &url::Url) -> String {
    let host = url.host_str().unwrap().trim_matches(['[', ']']);
    let mut stream = TcpStream::connect((host, url.port().unwrap())).unwrap();
    let target = &url[url::Position::BeforePath..];
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    let mut chunk = [0; 4096];
    // The fixture keeps connections open: the head and a short body arrive together.
    while !answer.contains("\r\n\r\n") {
        let read = stream.read(&mut chunk).unwrap();
        if read == 0 {
            break;
        }
        answer.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    answer
}
