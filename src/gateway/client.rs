//! A client of the gateway: what it declared, what it is subscribed to, and where messages outside of its requests go.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock, Weak},
};

use parking_lot::Mutex;

use super::era::Kind;
use crate::{
    domain::{
        body::Body,
        client::{self, ClientInfo, ClientTransport, Face, Principal},
        event::LogLevel,
        id::ClientId,
        profile::Profile,
        server::Era,
    },
    protocol::connection::{Connection, Outbox, Outgoing},
};

/// The level that modern servers are asked for on behalf of a legacy client that has set none. Legacy servers choose one themselves
/// (MCP 2025-11-25, server/utilities/logging).
const DEFAULT_LEVEL: LogLevel = LogLevel::Info;
/// Maximum number of open subscriptions (`subscriptions/listen`) of a client.
pub const LISTENS: usize = 8;
/// Maximum number of subscribed resources of a client.
pub const SUBSCRIPTIONS: usize = 1000;

/// The id of the request of a call in progress, and where its messages go.
type OpenCall = (Arc<str>, Arc<dyn Outbox>);

/// A connected client.
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// On whose behalf it calls.
    pub principal: Principal,
    /// What it sees.
    pub profile: Arc<Profile>,
    /// Where messages that belong to its calls in progress go, by the ids of the requests.
    calls: Mutex<Vec<OpenCall>>,
    declared: Mutex<Declared>,
    /// How it is connected; `None` for a client that lives for one request.
    transport: Option<ClientTransport>,
    /// How it described itself last.
    described: Mutex<Option<(Era, Body)>>,
    /// Where messages outside of requests go.
    stream: Mutex<Option<Arc<dyn Outbox>>>,
    listens: Mutex<Vec<Listen>>,
    subscriptions: Mutex<HashSet<String>>,
    /// The digests of the lists that the client read last.
    read: Mutex<HashMap<Kind, u64>>,
    connection: OnceLock<Weak<Connection>>,
}

/// What a legacy client declared in `initialize`.
#[derive(Clone, Default)]
struct Declared {
    /// The negotiated version; `None` before `initialize`.
    version: Option<&'static str>,
    face: Arc<Face>,
    level: Option<LogLevel>,
    /// Whether it sent `notifications/initialized`.
    initialized: bool,
}

/// An open subscription of a modern client (`subscriptions/listen`).
#[derive(Clone)]
pub struct Listen {
    /// The id of its request, JSON text.
    pub id: Arc<str>,
    /// The lists whose changes are reported.
    pub lists: HashSet<&'static str>,
    /// The exposed URIs of the resources whose updates are reported.
    pub uris: HashSet<String>,
    /// Where its notifications go.
    pub outbox: Arc<dyn Outbox>,
    /// The digests of the lists that the client knows: those at the beginning, then those of the last notification.
    pub known: Arc<Mutex<HashMap<Kind, u64>>>,
}

impl Listen {
    /// Records the digest of a list. Returns whether it is another one than the client knows.
    pub fn note_change(&self, kind: Kind, digest: u64) -> bool {
        self.known.lock().insert(kind, digest).is_some_and(|known| known != digest)
    }
}

impl Client {
    /// Creates a client that has declared nothing yet.
    pub fn new(id: ClientId, principal: Principal, profile: Arc<Profile>, transport: Option<ClientTransport>) -> Client {
        Client {
            id,
            principal,
            profile,
            calls: Mutex::default(),
            declared: Mutex::default(),
            transport,
            described: Mutex::default(),
            stream: Mutex::default(),
            listens: Mutex::default(),
            subscriptions: Mutex::default(),
            read: Mutex::default(),
            connection: OnceLock::new(),
        }
    }

    /// Sets the connection over which requests are sent to the client. Has an effect once.
    pub fn connect(&self, connection: &Arc<Connection>) {
        let _ = self.connection.set(Arc::downgrade(connection));
    }

    /// Returns the connection over which requests are sent to the client.
    pub fn connection(&self) -> Option<Arc<Connection>> {
        self.connection.get()?.upgrade()
    }

    /// Records how the client describes itself. Returns the description if it is another one than before.
    pub fn describe(&self, era: Era, protocol: &str, client_info: &Body) -> Option<Arc<ClientInfo>> {
        let transport = self.transport?;
        let mut described = self.described.lock();
        if described.as_ref().is_some_and(|(known_era, known)| *known_era == era && known.bytes() == client_info.bytes()) {
            return None;
        }
        // Detached: the message that the description came in is not held.
        *described = Some((era, Body::new(client_info.bytes().to_vec())));
        Some(Arc::new(ClientInfo {
            name: client::info_text(client_info, "name"),
            version: client::info_text(client_info, "version"),
            era,
            protocol: protocol.into(),
            transport,
            principal: self.principal.clone(),
            profile: self.profile.name.clone(),
        }))
    }

    /// Returns whether the client has described itself.
    pub fn is_described(&self) -> bool {
        self.described.lock().is_some()
    }

    /// Records what the client declared in `initialize`.
    pub fn declare(&self, version: &'static str, capabilities: Body, client_info: Body) {
        let face = Arc::new(Face { capabilities, client_info, log_level: Some(DEFAULT_LEVEL) });
        *self.declared.lock() = Declared { version: Some(version), face, level: None, initialized: false };
    }

    /// Returns the version that was negotiated in `initialize`.
    pub fn version(&self) -> Option<&'static str> {
        self.declared.lock().version
    }

    /// Returns what servers are to see of a legacy client.
    pub fn face(&self) -> Arc<Face> {
        self.declared.lock().face.clone()
    }

    /// Records that the initialisation is complete: from now on the client gets notifications.
    pub fn set_initialized(&self) {
        self.declared.lock().initialized = true;
    }

    /// Sets the least severe level of log messages that the client wants (`logging/setLevel`).
    pub fn set_level(&self, level: LogLevel) {
        let mut declared = self.declared.lock();
        declared.face = Arc::new(Face { log_level: Some(level.clone()), ..Face::clone(&declared.face) });
        declared.level = Some(level);
    }

    /// Returns the level that the client set.
    pub fn level(&self) -> Option<LogLevel> {
        self.declared.lock().level.clone()
    }

    /// Returns the least severe level of the log messages of its calls that a legacy client gets: all, until it sets one.
    pub fn least_level(&self) -> LogLevel {
        self.level().unwrap_or(LogLevel::Debug)
    }

    /// Sets where messages outside of requests go; `None` if they cannot be sent now.
    pub fn set_stream(&self, stream: Option<Arc<dyn Outbox>>) {
        *self.stream.lock() = stream;
    }

    /// Returns where messages outside of requests go.
    pub fn stream(&self) -> Option<Arc<dyn Outbox>> {
        self.stream.lock().clone()
    }

    /// Records that a call is in progress until the returned value is dropped.
    pub fn begin_call(self: &Arc<Self>, id: &Arc<str>, outbox: &Arc<dyn Outbox>) -> CallInProgress {
        self.calls.lock().push((id.clone(), outbox.clone()));
        CallInProgress { client: self.clone(), id: id.clone() }
    }

    /// Returns where a request of a server goes that names no call: to the stream of the newest call in progress, which the client
    /// reads, else to the stream for messages outside of requests, which not every client opens.
    pub fn asking_stream(&self) -> Option<Arc<dyn Outbox>> {
        let newest = self.calls.lock().last().map(|(_, outbox)| outbox.clone());
        newest.or_else(|| self.stream())
    }

    /// Sends a notification outside of requests, if the client is ready for it and its stream has room.
    pub fn notify(&self, method: &str, params: &Body) {
        let initialized = self.declared.lock().initialized;
        if let Some(stream) = self.stream().filter(|_| initialized) {
            stream.offer(Outgoing::notification(method, params, None));
        }
    }

    /// Records that the client reads a list with this digest.
    pub fn note_read(&self, kind: Kind, digest: u64) {
        self.read.lock().insert(kind, digest);
    }

    /// Records the digest of a list. Returns whether the client read another one before.
    pub fn note_change(&self, kind: Kind, digest: u64) -> bool {
        self.read.lock().get_mut(&kind).is_some_and(|read| std::mem::replace(read, digest) != digest)
    }

    /// Opens a subscription. Returns whether the limit allows it.
    pub fn open_listen(&self, listen: Listen) -> bool {
        let mut listens = self.listens.lock();
        let allowed = listens.len() < LISTENS;
        if allowed {
            listens.push(listen);
        }
        allowed
    }

    /// Closes the subscription of a request.
    pub fn close_listen(&self, id: &str) {
        self.listens.lock().retain(|listen| &*listen.id != id);
    }

    /// Returns the open subscriptions.
    pub fn listens(&self) -> Vec<Listen> {
        self.listens.lock().clone()
    }

    /// Subscribes to a resource by its exposed URI. Returns whether the limit allows it.
    pub fn subscribe(&self, uri: &str) -> bool {
        let mut subscriptions = self.subscriptions.lock();
        let allowed = subscriptions.len() < SUBSCRIPTIONS || subscriptions.contains(uri);
        if allowed {
            subscriptions.insert(uri.to_owned());
        }
        allowed
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, uri: &str) {
        self.subscriptions.lock().remove(uri);
    }

    /// Returns the exposed URIs that this client gets updates of, by `resources/subscribe` and by `subscriptions/listen`.
    pub fn watched(&self) -> HashSet<String> {
        let mut watched = self.subscriptions.lock().clone();
        watched.extend(self.listens.lock().iter().flat_map(|listen| listen.uris.iter().cloned()));
        watched
    }

    /// Returns whether the client subscribed to a resource with `resources/subscribe`.
    pub fn is_subscribed(&self, uri: &str) -> bool {
        self.subscriptions.lock().contains(uri)
    }
}

/// A call in progress of a client; over when it is dropped.
pub struct CallInProgress {
    client: Arc<Client>,
    id: Arc<str>,
}

impl Drop for CallInProgress {
    fn drop(&mut self) {
        self.client.calls.lock().retain(|(id, _)| *id != self.id);
    }
}

/// Returns the member of the filter of `subscriptions/listen` for the changes of a list.
pub fn listen_flag(kind: Kind) -> &'static str {
    match kind {
        Kind::Tools => "toolsListChanged",
        Kind::Prompts => "promptsListChanged",
        Kind::Resources | Kind::Templates => "resourcesListChanged",
    }
}
