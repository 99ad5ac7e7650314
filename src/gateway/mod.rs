//! The gateway: one MCP server in front of all configured servers. It owns its clients, the merged lists that it offers them, and
//! the translation between clients and calls of the engine.
//!
//! A face ([`stdio`], [`http`]) accepts clients and gives each a [`Front`], the handler of its connection. Requests go through one
//! [router](Gateway) on raw JSON to the [`Upstream`]; results and errors of servers pass as they are. Everything offered comes from
//! one `table`, so that capabilities, lists and calls agree.

mod calls;
mod changes;
mod client;
mod desk;
mod edits;
mod engine;
pub mod era;
mod failure;
mod front;
pub mod http;
mod logins;
mod offer;
mod park;
mod random;
mod request;
mod router;
mod sealed;
pub mod stdio;
mod table;
mod tasks;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;
pub mod upstream;
mod uris;
mod workflows;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::{
    changes::Subscribers, edits::Rates, logins::PendingLogins, offer::Offer, park::Parking, sealed::Seal, tasks::Tasks, upstream::Upstream,
};
pub use self::{
    client::Client,
    engine::EngineUpstream,
    front::Front,
    logins::{ClientLogins, StartedLogin},
    random::bytes as random_bytes,
    sealed::SealKey,
};
use crate::domain::{
    body::Body,
    client::{ClientTransport, Principal},
    id::ClientId,
    profile::{self, Profile},
    server::Era,
};

/// Settings of the gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The separator between namespace and name in exposed names.
    pub separator: String,
    /// Whether a single server is offered under its own names, with its own capabilities and instructions.
    pub transparent: bool,
    /// How long the first list waits for starting servers, counted from the start.
    pub list_wait: Duration,
    /// How long the entries of an unreachable server stay listed.
    pub list_grace: Duration,
    /// Maximum number of entries on a page of a list.
    pub page_entries: usize,
    /// Maximum size of a page of a list, in bytes, unless one entry is larger.
    pub page_bytes: usize,
    /// How long changes of lists are collected before clients are notified.
    pub quiet: Duration,
    /// The instructions before those of the servers and of the profile.
    pub instructions: Option<String>,
    /// The profiles. Without a default one, clients of the default profile see everything.
    pub profiles: Vec<Profile>,
    /// The key of the states that clients return, so that they are valid after a restart; without one it is random.
    pub seal_key: Option<SealKey>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            separator: "_".into(),
            transparent: true,
            list_wait: Duration::from_secs(5),
            list_grace: Duration::from_secs(600),
            page_entries: 500,
            page_bytes: 1 << 20,
            quiet: Duration::from_millis(100),
            instructions: None,
            profiles: vec![],
            seal_key: None,
        }
    }
}

/// The gateway.
pub struct Gateway {
    upstream: Arc<dyn Upstream>,
    settings: Settings,
    profiles: HashMap<Arc<str>, Arc<Profile>>,
    offer: Arc<Offer>,
    clients: Mutex<HashMap<ClientId, Arc<Client>>>,
    subscribers: Subscribers,
    parking: Parking,
    tasks: Tasks,
    seal: Arc<Seal>,
    rates: Rates,
    /// Starts logins on behalf of clients, if they may.
    logins: Option<Arc<dyn ClientLogins>>,
    pending_logins: PendingLogins,
    /// Itself, for tasks that must not hold it.
    me: Weak<Gateway>,
    /// Cancelled when the gateway stops accepting requests.
    stopping: CancellationToken,
}

impl Gateway {
    /// Creates a gateway and follows the changes of the servers until it is dropped. Must be called within a runtime.
    pub fn new(upstream: Arc<dyn Upstream>, settings: Settings) -> Arc<Gateway> {
        Gateway::with_logins(upstream, settings, None)
    }

    /// The same; clients that open addresses for their users are asked for logins.
    pub fn with_logins(upstream: Arc<dyn Upstream>, settings: Settings, logins: Option<Arc<dyn ClientLogins>>) -> Arc<Gateway> {
        let gateway = Arc::new_cyclic(|me: &Weak<Gateway>| Gateway {
            me: me.clone(),
            parking: Parking::default(),
            tasks: Tasks::default(),
            seal: Arc::new(Seal::new(settings.seal_key.clone())),
            rates: Rates::default(),
            logins,
            pending_logins: PendingLogins::default(),
            offer: Arc::new(Offer::new(upstream.clone(), settings.clone())),
            profiles: profiles(&settings),
            upstream,
            settings,
            clients: Mutex::default(),
            subscribers: Subscribers::default(),
            stopping: CancellationToken::new(),
        });
        let stopping = gateway.stopping.clone();
        tokio::spawn(stopping.clone().run_until_cancelled_owned(changes::follow_lists(gateway.offer.clone(), Arc::downgrade(&gateway))));
        let notices = gateway.upstream.notices();
        tokio::spawn(stopping.run_until_cancelled_owned(changes::follow_notices(notices, Arc::downgrade(&gateway))));
        gateway
    }

    /// Returns a profile by its name.
    pub fn profile(&self, name: &str) -> Option<Arc<Profile>> {
        self.profiles.get(name).cloned()
    }

    /// Adds a client. It is reported when it has described itself, unless `transport` is `None`: it lives for one request only.
    pub fn add_client(&self, principal: Principal, profile: Arc<Profile>, transport: Option<ClientTransport>) -> Arc<Client> {
        let id = self.upstream.next_client();
        let client = Arc::new(Client::new(id, principal, profile, transport));
        self.clients.lock().insert(id, client.clone());
        client
    }

    /// Reports a client that described itself for the first time, or in another way than before.
    fn describe_client(&self, client: &Client, era: Era, protocol: &str, client_info: &Body) {
        if let Some(info) = client.describe(era, protocol, client_info) {
            self.upstream.client_connected(client.id, info);
        }
    }

    /// Removes a client and ends its subscriptions.
    pub fn remove_client(&self, id: ClientId) {
        let removed = self.clients.lock().remove(&id);
        if let Some(client) = removed {
            self.subscribers.remove_client(id, &*self.upstream);
            if client.is_described() {
                self.upstream.client_disconnected(id);
            }
        }
    }

    /// Returns the connected clients.
    fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.lock().values().cloned().collect()
    }

    /// Ends subscriptions with their results: the gateway stops.
    pub fn stop(&self) {
        self.stopping.cancel();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Ends the tasks that follow the servers.
        self.stopping.cancel();
    }
}

/// Returns the profiles by name, with the default one.
fn profiles(settings: &Settings) -> HashMap<Arc<str>, Arc<Profile>> {
    let default = (profile::DEFAULT.into(), Arc::default());
    let configured = settings.profiles.iter().map(|profile| (profile.name.clone(), Arc::new(profile.clone())));
    std::iter::once(default).chain(configured).collect()
}
