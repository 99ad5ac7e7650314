//! OAuth for servers over HTTP: tokens on requests, their refresh, logins, and the store of credentials.
//!
//! Owns everything between a refused request and the token of the next one. The composition root makes an [`Auth`] and gives it to
//! the connections as their [`Credentials`](crate::engine::ports::Credentials); the commands and the console log in through it.
//!
//! The protocol is that of the MCP SDK (`flow`), over an HTTP client with limits and an address filter of our own (`http`,
//! `addresses`). Ours are the store (`store`, `credential`), the single flight over all processes (`tokens`), the answer to a
//! refusal (`refusal`), the login of a user (`login`, `callback`, `browser`), and the tokens that the gateway's own clients send (`issued`).

mod addresses;
pub mod browser;
mod callback;
mod credential;
mod failure;
mod flow;
mod http;
mod issued;
mod login;
mod refusal;
mod store;
mod tokens;
mod watch;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch as channel;

pub use self::{
    credential::ClientKind,
    failure::AuthFailure,
    issued::{IssueError, IssuedToken, IssuedTokens},
    login::{LoggedIn, LoggedOut, Login, LoginNote, Redirect, StoredLogin},
};
use self::{credential::Credential, store::CredentialStore, tokens::Flight};
use crate::{
    domain::{
        client::Principal,
        login::{AuthMode, SecretPlace},
        secret::SecretRegistry,
        server::{ServerSpec, Transport},
    },
    keyring::Keyring,
};

/// Returns the wall-clock time in milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Shows a user the address of a login that a request needs; the request waits for its end.
pub type Prompt = Arc<dyn Fn(&ServerSpec, &str) + Send + Sync>;

/// The credentials of this process. Clones share them.
#[derive(Clone)]
pub struct Auth(Arc<Shared>);

struct Shared {
    store: CredentialStore,
    clock: Clock,
    prompt: Option<Prompt>,
    /// Spreads the refreshes of processes, 0 to 1.
    jitter: f64,
    secrets: SecretRegistry,
    state: Mutex<State>,
    changes: channel::Sender<()>,
}

impl Shared {
    /// Returns the same settings with an empty state.
    fn with_empty_state(&self) -> Shared {
        Shared {
            store: self.store.clone(),
            clock: self.clock.clone(),
            prompt: self.prompt.clone(),
            jitter: self.jitter,
            secrets: self.secrets.clone(),
            state: Mutex::default(),
            changes: channel::channel(()).0,
        }
    }
}

/// A server, by its URL, and a principal.
type Key = (String, Principal);

#[derive(Default)]
struct State {
    /// The newest credentials as read; `None` for a key without any.
    known: HashMap<Key, Option<Arc<Credential>>>,
    flights: HashMap<Key, Arc<Flight>>,
    /// The logins under way that requests wait for.
    logins: HashMap<Key, Arc<tokio::sync::Mutex<()>>>,
    /// Logins that requests waited for and that failed: they are not repeated for each request.
    failed: HashMap<Key, AuthFailure>,
    /// Keys that wait for a login, with the generation that was refused.
    wanting: HashMap<Key, u64>,
    /// Keys whose servers refused a token that had just been issued.
    refused_fresh: HashSet<(Key, u64)>,
    watcher: Option<watch::Watcher>,
}

impl Auth {
    /// Creates the credentials of a state folder. Nothing is read or created before a server needs it. Secrets are added to
    /// `secrets`.
    pub fn new(state: &Path, clock: Clock, secrets: SecretRegistry) -> Auth {
        Auth(Arc::new(Shared {
            store: CredentialStore::new(state),
            clock,
            prompt: None,
            jitter: fastrand::f64(),
            secrets,
            state: Mutex::default(),
            changes: channel::channel(()).0,
        }))
    }

    /// Uses a keyring for the secrets of credentials. Call it before clones are made.
    #[must_use]
    pub fn with_keyring(self, keyring: Keyring, place: SecretPlace) -> Auth {
        let store = self.0.store.clone().with_keyring(keyring, place);
        Auth(Arc::new(Shared { store, ..self.0.with_empty_state() }))
    }

    /// Lets requests wait for logins that `prompt` shows to a user. Call it before clones are made.
    #[must_use]
    pub fn prompting(self, prompt: Prompt) -> Auth {
        Auth(Arc::new(Shared { prompt: Some(prompt), ..self.0.with_empty_state() }))
    }

    /// Returns the time in seconds since the Unix epoch.
    fn now(&self) -> u64 {
        (self.0.clock)() / 1000
    }

    /// Returns the newest credential of a key, from memory if it was read before.
    fn known(&self, key: &Key) -> Option<Arc<Credential>> {
        if let Some(known) = self.0.state.lock().known.get(key) {
            return known.clone();
        }
        self.reread(key)
    }

    /// Reads the newest credential of a key from the store.
    fn reread(&self, key: &Key) -> Option<Arc<Credential>> {
        let found = self.0.store.of(&key.0, &key.1).pop().map(Arc::new);
        self.remember(key, found.clone());
        found
    }

    fn remember(&self, key: &Key, credential: Option<Arc<Credential>>) {
        if let Some(credential) = &credential {
            self.0.secrets.learn(credential.secrets());
        }
        self.0.state.lock().known.insert(key.clone(), credential);
    }
}

/// Returns the key of the credentials that requests of `who` to a server use: those of the user of this process, unless the
/// configuration wants one login for each principal. `None` as for [`url_of`].
fn key_of(spec: &ServerSpec, who: &Principal) -> Option<Key> {
    let who = if spec.auth.per_principal { who.clone() } else { Principal::local() };
    Some((url_of(spec)?.to_owned(), who))
}

/// Returns the URL under which the credentials of a server are stored; `None` if it has none: OAuth is off, or the server is not
/// reached over the network.
fn url_of(spec: &ServerSpec) -> Option<&str> {
    match &spec.launch {
        Transport::Http { url, socket: None, .. } if spec.auth.mode == AuthMode::Auto => Some(url),
        _ => None,
    }
}
