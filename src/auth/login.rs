//! Logins of a user: their start, their end, and what is stored of them.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    Auth, Key,
    callback::{self, Callback, Listener},
    credential::{Client, ClientKind, Credential},
    failure::AuthFailure,
    flow::{self, Attempt, Challenge, unique},
    http::{self, Url},
    key_of,
    store::ATTEMPT,
    tokens::Target,
    url_of,
};
use crate::domain::{
    client::Principal,
    login::{AuthSettings, Grant, LOGIN_LIMIT},
    secret::Secret,
    server::{ServerSpec, Transport},
};

/// Where the redirect of a login leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// To a listener of this process.
    Listen,
    /// To an address at which nothing listens: the user passes it on later.
    Later,
}

/// A login that waits for the user.
pub struct Login {
    auth: Auth,
    key: Key,
    target: Target,
    attempt: Attempt,
    address: String,
    listener: Option<Listener>,
}

/// What the user should know while a login waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginNote {
    /// The pasted text is not the address of this login, for this reason.
    NotThisLogin(&'static str),
}

/// A finished login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoggedIn {
    /// The issuer of the authorization server.
    pub issuer: Option<String>,
    /// The granted scopes.
    pub granted: Vec<String>,
    /// The scopes that were asked for and not granted.
    pub not_granted: Vec<String>,
    /// When the token expires, in seconds since the Unix epoch.
    pub expires: Option<u64>,
    /// Whether it is refreshed then without a login.
    pub refreshable: bool,
}

/// A finished logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// How many credentials were deleted.
    pub deleted: usize,
    /// How many of them the authorization servers revoked.
    pub revoked: usize,
}

/// A stored login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredLogin {
    /// The URL of the server.
    pub url: String,
    /// On whose behalf it is used.
    pub principal: String,
    /// The issuer of the authorization server.
    pub issuer: Option<String>,
    /// How the client was registered.
    pub client: ClientKind,
    /// The granted scopes.
    pub scopes: Vec<String>,
    /// When the token expires, in seconds since the Unix epoch.
    pub expires: Option<u64>,
    /// Whether it is refreshed then without a login.
    pub refreshable: bool,
    /// Why it cannot be used any more.
    pub rejected: Option<String>,
}

fn refreshable(credential: &Credential) -> bool {
    credential.token.refresh.is_some() || credential.grant == Grant::ClientCredentials
}

fn logged_in(credential: &Credential) -> LoggedIn {
    LoggedIn {
        issuer: credential.issuer.clone(),
        granted: credential.granted.clone(),
        not_granted: credential.requested.iter().filter(|scope| !credential.granted.contains(scope)).cloned().collect(),
        expires: credential.token.expires(),
        refreshable: refreshable(credential),
    }
}

impl Login {
    /// Returns the address that the user opens in a browser. It is complete, and never shortened.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the value of `state` in its redirect.
    pub fn state(&self) -> &str {
        self.attempt.state()
    }

    /// Checks whether `address` is that of the login with this `state`. Fails with the reason.
    pub fn check(address: &str, state: &str) -> Result<(), &'static str> {
        callback::pasted(address, state).map(drop)
    }

    /// Waits for the redirect, or for its address from `pasted`; the first one counts. Addresses that belong to another login are
    /// reported to `note`.
    pub async fn finish(
        mut self,
        pasted: &mut mpsc::Receiver<String>,
        note: &mut (dyn FnMut(LoginNote) + Send),
    ) -> Result<LoggedIn, AuthFailure> {
        let listener = self.listener.take();
        let state = self.attempt.state().to_owned();
        let redirected = async {
            match listener {
                Some(listener) => listener.wait(&state).await,
                None => std::future::pending().await,
            }
        };
        let typed = async {
            while let Some(text) = pasted.recv().await {
                match callback::pasted(&text, &state) {
                    Ok(callback) => return callback,
                    Err(_) if text.trim().is_empty() => {}
                    Err(why) => note(LoginNote::NotThisLogin(why)),
                }
            }
            // Nothing more comes from there: the listener remains.
            std::future::pending().await
        };
        let callback = tokio::time::timeout(LOGIN_LIMIT, async {
            tokio::select! {
                callback = redirected => callback,
                callback = typed => callback,
            }
        });
        let callback = callback.await.map_err(|_| AuthFailure::TimedOut)?;
        self.auth.complete(&self.key, &self.attempt, &self.target, &callback).await
    }

    /// Stores the login, so that [`Auth::finish`] of any process can end it.
    pub fn store(self) -> Result<String, AuthFailure> {
        self.auth.0.store.forget_attempts(self.auth.now());
        self.auth.0.store.save_attempt(&self.key.0, self.attempt.state(), &self.attempt)?;
        Ok(self.address)
    }
}

impl Auth {
    /// Starts a login at a server: asks it for its challenge, finds its authorization server and registers the client. The listener
    /// of the redirect is bound before the address is known. `scopes` are asked for in addition to what the server demands.
    pub async fn login(&self, spec: &ServerSpec, who: &Principal, scopes: &[String], redirect: Redirect) -> Result<Login, AuthFailure> {
        let (url, challenge, target) = self.ask(spec).await?;
        let key = key_of(spec, who).unwrap_or((url, who.clone()));
        let had = self.reread(&key).filter(|_| !scopes.is_empty());
        let had: Vec<String> = had.iter().flat_map(|stored| stored.scopes().cloned()).collect();
        let wanted = match scopes.is_empty() && spec.auth.scopes.is_empty() {
            true => vec![],
            false => unique(had.iter().chain(&challenge.scopes).chain(&spec.auth.scopes).chain(scopes).cloned()),
        };
        self.start(&key, target, &challenge, &wanted, redirect).await
    }

    /// Logs in without a user, with the client's own credentials.
    pub async fn login_as_client(&self, spec: &ServerSpec, who: &Principal, scopes: &[String]) -> Result<LoggedIn, AuthFailure> {
        let (url, challenge, target) = self.ask(spec).await?;
        let http = self.http(&url, &target)?;
        let found = flow::discover(&url, http, &challenge).await?;
        let wanted = unique(challenge.scopes.iter().chain(&spec.auth.scopes).chain(scopes).cloned());
        let key = key_of(spec, who).unwrap_or((url, who.clone()));
        let credential = found.client_credentials(&key.0, &key.1, &spec.auth, &wanted, self.now()).await?;
        Ok(logged_in(&*self.replace(&key, credential).await?))
    }

    /// Asks a server for its challenge.
    async fn ask(&self, spec: &ServerSpec) -> Result<(String, Challenge, Target), AuthFailure> {
        let unsupported = |why: &str| AuthFailure::Unsupported(why.to_owned());
        let Transport::Http { headers, .. } = &spec.launch else { return Err(unsupported("only servers with a url have logins")) };
        if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            return Err(unsupported("its configuration sets the header Authorization, which replaces a login"));
        }
        let Some(url) = url_of(spec) else {
            return Err(unsupported("its configuration has auth = \"off\", or it is reached over a socket"));
        };
        let parsed = Url::parse(url).map_err(|error| AuthFailure::Local(format!("the address of the server: {error}")))?;
        let probe = http::probe(&parsed, headers, &spec.tls).await?;
        tracing::debug!(target: "switchboard::auth", status = probe.status, "asked for the challenge");
        Ok((url.to_owned(), Challenge::read(&probe.challenges, &parsed), Target::of(spec, probe.peer)))
    }

    /// Ends a login that [`Login::store`] stored. `address` is the one to which the browser was sent, or its query.
    pub async fn finish(&self, spec: &ServerSpec, who: &Principal, address: &str) -> Result<LoggedIn, AuthFailure> {
        let key = key_of(spec, who).ok_or_else(|| AuthFailure::Unsupported("this server has no logins".into()))?;
        let callback = Callback::read(address).map_err(|why| AuthFailure::Local(format!("the address is not that of a login: {why}")))?;
        let attempt: Option<Attempt> = self.0.store.take_attempt(&key.0, &callback.state);
        let attempt =
            attempt.filter(|attempt| self.now().saturating_sub(attempt.started) <= ATTEMPT && attempt.principal == key.1.as_str());
        let missing = "no login of this server waits for this address: it may be older than 10 minutes, or finished";
        let attempt = attempt.ok_or_else(|| AuthFailure::Local(missing.into()))?;
        self.complete(&key, &attempt, &Target::of(spec, None), &callback).await
    }

    async fn start(
        &self,
        key: &Key,
        target: Target,
        challenge: &Challenge,
        wanted: &[String],
        redirect: Redirect,
    ) -> Result<Login, AuthFailure> {
        let http = self.http(&key.0, &target)?;
        let found = flow::discover(&key.0, http, challenge).await?;
        let stored = self.registration(key, found.issuer());
        let (listener, uri) = bind(&target.settings, stored.as_ref(), redirect).await?;
        // Authorization servers may compare the whole redirect URI, also its port.
        let stored = stored.filter(|stored| stored.redirect == uri);
        let (attempt, address) = found.authorize(&key.0, &key.1, &target.settings, wanted, (&uri, stored), self.now()).await?;
        let secrets = [Some(attempt.verifier()), attempt.client.secret.as_deref()];
        self.0.secrets.learn(secrets.into_iter().flatten().filter(|secret| !secret.is_empty()).map(Secret::literal));
        Ok(Login { auth: self.clone(), key: key.clone(), target, attempt, address: address.into(), listener })
    }

    /// Returns the dynamic registration with an issuer, if there is one whose secret has not expired.
    fn registration(&self, key: &Key, issuer: Option<&str>) -> Option<Client> {
        let now = self.now();
        let fits = |stored: &Credential| {
            let current = stored.client.secret_expires.is_none_or(|at| at > now);
            stored.client.kind == ClientKind::Dynamic && stored.issuer.as_deref() == issuer && current
        };
        let unknown = |stored: &Credential| stored.rejected.as_deref().is_some_and(|why| why.starts_with(INVALID_CLIENT));
        self.0.store.of(&key.0, &key.1).into_iter().rev().find(|stored| fits(stored) && !unknown(stored)).map(|stored| stored.client)
    }

    async fn complete(&self, key: &Key, attempt: &Attempt, target: &Target, callback: &Callback) -> Result<LoggedIn, AuthFailure> {
        let code = callback::code(callback)?;
        self.0.secrets.learn([Secret::literal(code), Secret::literal(attempt.verifier())]);
        let http = self.http(&key.0, target)?;
        let credential = flow::exchange(attempt, http, code, callback.issuer.as_deref(), self.now()).await?;
        Ok(logged_in(&*self.replace(key, credential).await?))
    }

    /// Logs in with a user to whom `shown` shows the address, for a request that waits.
    pub(super) async fn log_in_waiting(
        &self,
        key: &Key,
        target: Target,
        scopes: &[String],
        challenge: &Challenge,
        sent: Option<u64>,
        shown: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), AuthFailure> {
        let flight = self.login_flight(key);
        let _one = flight.lock().await;
        // One login is enough for all requests that were refused.
        if self.reread(key).is_some_and(|stored| stored.usable() && sent.is_none_or(|sent| stored.generation > sent)) {
            return Ok(());
        }
        if let Some(failure) = self.0.state.lock().failed.get(key) {
            return Err(failure.clone());
        }
        let wanted = if scopes == challenge.scopes { &[][..] } else { scopes };
        let done = async {
            let login = self.start(key, target, challenge, wanted, Redirect::Listen).await?;
            shown(login.address());
            let (_typed, mut pasted) = mpsc::channel(1);
            login.finish(&mut pasted, &mut |_| {}).await
        };
        match done.await {
            Ok(_) => Ok(()),
            Err(failure) => {
                self.0.state.lock().failed.insert(key.clone(), failure.clone());
                Err(failure)
            }
        }
    }

    /// Logs in to a server, if it refuses a request without credentials and no login is stored. `Auth::prompting` shows the address.
    pub async fn ensure(&self, spec: &ServerSpec, who: &Principal) -> Result<(), AuthFailure> {
        let Transport::Http { headers, .. } = &spec.launch else { return Ok(()) };
        let configured = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let (Some(key), Some(prompt), false) = (key_of(spec, who), &self.0.prompt, configured) else { return Ok(()) };
        if spec.auth.grant == Grant::ClientCredentials || self.current(&key, Target::of(spec, None)).await.is_some() {
            return Ok(());
        }
        let parsed = Url::parse(&key.0).map_err(|error| AuthFailure::Local(format!("the address of the server: {error}")))?;
        let probe = http::probe(&parsed, headers, &spec.tls).await?;
        if probe.status != 401 {
            return Ok(());
        }
        let challenge = Challenge::read(&probe.challenges, &parsed);
        let stored = self.known(&key);
        let had: Vec<String> = stored.iter().flat_map(|stored| stored.scopes().cloned()).collect();
        let scopes = unique(had.iter().chain(&challenge.scopes).chain(&spec.auth.scopes).cloned());
        let sent = stored.map(|stored| stored.generation);
        self.log_in_waiting(&key, Target::of(spec, probe.peer), &scopes, &challenge, sent, &|address| prompt(spec, address)).await
    }

    pub(super) fn login_flight(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        self.0.state.lock().logins.entry(key.clone()).or_default().clone()
    }

    /// Returns all stored logins, by server.
    pub fn stored(&self) -> Vec<StoredLogin> {
        let shown = |stored: Credential| StoredLogin {
            expires: stored.token.expires(),
            refreshable: refreshable(&stored),
            url: stored.server,
            principal: stored.principal,
            issuer: stored.issuer,
            client: stored.client.kind,
            scopes: stored.granted,
            rejected: stored.rejected,
        };
        self.0.store.all().into_iter().map(shown).collect()
    }

    /// Deletes the credentials of a server and a principal. With `revoke`, their authorization servers revoke the tokens first; if one
    /// fails, nothing is deleted.
    pub async fn logout(&self, spec: &ServerSpec, who: &Principal, revoke: bool) -> Result<LoggedOut, AuthFailure> {
        let Transport::Http { url, .. } = &spec.launch else {
            return Err(AuthFailure::Unsupported("only servers with a url have logins".into()));
        };
        let key = key_of(spec, who).unwrap_or((url.clone(), who.clone()));
        let _locked = self.0.store.lock(&key.0, &key.1).await?;
        // The entries in the keyring are needed only to revoke the tokens.
        let stored = if revoke { self.0.store.of(&key.0, &key.1) } else { self.0.store.listed(&key.0, &key.1) };
        let mut revoked = 0;
        for credential in stored.iter().filter(|_| revoke) {
            self.0.secrets.learn(credential.secrets());
            let http = self.http(&key.0, &Target::of(spec, None))?;
            revoked += usize::from(flow::revoke(credential, &http).await?);
        }
        for credential in &stored {
            self.0.store.remove(credential)?;
        }
        self.remember(&key, None);
        Ok(LoggedOut { deleted: stored.len(), revoked })
    }
}

/// How the reason of a refusal starts if the registration is not valid any more.
const INVALID_CLIENT: &str = "invalid_client";

/// Binds the listener of a redirect, at the port of a stored registration if possible. Returns the redirect URI.
async fn bind(settings: &AuthSettings, stored: Option<&Client>, redirect: Redirect) -> Result<(Option<Listener>, String), AuthFailure> {
    let host = settings.callback_host;
    let listener = match (settings.callback_port, stored.and_then(|stored| callback::port_of(&stored.redirect))) {
        (Some(port), _) => Listener::bind(host, port).await.map_err(|error| {
            AuthFailure::Local(format!("port {port} of callback_port cannot be used: {error}; another login may wait there"))
        })?,
        (None, Some(port)) => match Listener::bind(host, port).await {
            Ok(listener) => listener,
            Err(_) => any(settings).await?,
        },
        (None, None) => any(settings).await?,
    };
    let uri = listener.redirect().to_owned();
    Ok((Some(listener).filter(|_| redirect == Redirect::Listen), uri))
}

async fn any(settings: &AuthSettings) -> Result<Listener, AuthFailure> {
    Listener::bind(settings.callback_host, 0)
        .await
        .map_err(|error| AuthFailure::Local(format!("no port of this machine can be used: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::{net::TcpStream, time::Instant};

    use super::*;
    use crate::domain::{login::CallbackHost, secret::SecretRegistry, tls::TlsSettings};

    /// Returns a login whose user does nothing, and the port of its listener.
    async fn waiting(state: &std::path::Path) -> (Login, u16) {
        let listener = Listener::bind(CallbackHost::Literal, 0).await.unwrap();
        let port = callback::port_of(listener.redirect()).unwrap();
        let client = Client {
            id: "client".into(),
            secret: None,
            kind: ClientKind::Dynamic,
            redirect: listener.redirect().to_owned(),
            secret_expires: None,
        };
        let attempt = Attempt {
            server: "https://a.example/mcp".into(),
            principal: "local".into(),
            client,
            resource: String::new(),
            requested: vec![],
            metadata: json!({}),
            secrets: json!({"csrf_token": "s", "pkce_verifier": "v"}),
            started: 0,
        };
        let login = Login {
            auth: Auth::new(state, Arc::new(|| 0), SecretRegistry::default()),
            key: (attempt.server.clone(), Principal::local()),
            target: Target { settings: AuthSettings::default(), tls: TlsSettings::default(), peer: None },
            attempt,
            address: "https://as.example/authorize".into(),
            listener: Some(listener),
        };
        (login, port)
    }

    /// Returns whether nothing listens at a port, after the tasks of a listener have ended.
    async fn is_closed(port: u16) -> bool {
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_nobody_finishes_ends_after_five_minutes_and_its_listener_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let (login, port) = waiting(folder.path()).await;
        let (typed, mut pasted) = mpsc::channel(1);
        // An address of another login is not the end.
        typed.send("code=c&state=other".to_owned()).await.unwrap();
        let (begun, mut notes) = (Instant::now(), vec![]);
        let failed = login.finish(&mut pasted, &mut |note| notes.push(note)).await.unwrap_err();
        assert_eq!((&failed, notes.len(), begun.elapsed().as_secs()), (&AuthFailure::TimedOut, 1, 300));
        assert_eq!(failed.to_string(), "the login was not finished within 5 minutes; start it again");
        assert!(is_closed(port).await, "the listener is open");
    }

    #[tokio::test]
    async fn a_dropped_login_closes_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let (login, port) = waiting(folder.path()).await;
        drop(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        drop(login);
        assert!(is_closed(port).await, "the listener is open");
    }
}
