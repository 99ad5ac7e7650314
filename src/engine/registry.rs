//! The registry: what the engine knows of its servers, apart from any display. Its owner is the engine; dispatch, the runner
//! and the supervisors read it.
//!
//! A change replaces the whole state and publishes the event that tells of it, in the same order. Reading never waits.

use std::{collections::BTreeSet, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{bus::Bus, supervisor::ServerHandle};
use crate::domain::{
    catalog::ServerCatalog,
    directory::{Directory, DirectorySnapshot, ServerEntry, ServerSnapshot},
    event::EventKind,
    id::ServerId,
    name_table::NameTable,
    policy::Rules,
    server::{Phase, ServerSpec, SessionInfo},
};

/// A configured server.
#[derive(Clone)]
struct KnownServer {
    spec: Arc<ServerSpec>,
    phase: Arc<Phase>,
    info: Option<Arc<SessionInfo>>,
    catalog: Arc<ServerCatalog>,
    /// The subscribed resources.
    subscriptions: BTreeSet<String>,
}

impl KnownServer {
    fn entry(&self) -> ServerEntry<'_> {
        ServerEntry { spec: &self.spec, phase: &self.phase, catalog: &self.catalog }
    }
}

/// The state of the registry at one time.
#[derive(Clone, Default)]
pub struct Known {
    servers: imbl::Vector<Arc<KnownServer>>,
    /// Where each server is in `servers`.
    positions: imbl::HashMap<ServerId, usize>,
    handles: imbl::HashMap<ServerId, ServerHandle>,
    names: Arc<NameTable>,
    rules: Arc<Rules>,
}

impl Known {
    /// Returns the handle of a server.
    pub fn handle(&self, id: &ServerId) -> Option<&ServerHandle> {
        self.handles.get(id)
    }

    /// Returns the handles of all servers, in no order.
    pub fn handles(&self) -> impl Iterator<Item = &ServerHandle> {
        self.handles.values()
    }

    /// Returns the server with this id, or the members of the group with this id.
    pub fn target_servers(&self, id: &ServerId) -> Vec<ServerHandle> {
        match self.group(id) {
            Some(group) => group.members.iter().filter_map(|member| self.handle(&member.server).cloned()).collect(),
            None => self.handle(id).cloned().into_iter().collect(),
        }
    }

    /// Returns the lists of a server.
    pub fn server_catalog(&self, id: &ServerId) -> Option<Arc<ServerCatalog>> {
        self.servers.iter().find(|server| server.spec.id == *id).map(|server| server.catalog.clone())
    }

    /// Returns what faces may know of the servers.
    pub fn snapshot(&self) -> DirectorySnapshot {
        let server = |server: &Arc<KnownServer>| ServerSnapshot {
            spec: server.spec.clone(),
            phase: server.phase.clone(),
            info: server.info.clone(),
            catalog: server.catalog.clone(),
        };
        DirectorySnapshot { servers: self.servers.iter().map(server).collect(), names: self.names.clone(), rules: self.rules.clone() }
    }

    /// Changes a server, if there is one.
    fn server_mut(&mut self, id: &ServerId) -> Option<&mut KnownServer> {
        self.servers.get_mut(*self.positions.get(id)?).map(Arc::make_mut)
    }

    fn server(&self, id: &ServerId) -> Option<&KnownServer> {
        self.servers.get(*self.positions.get(id)?).map(|server| &**server)
    }
}

impl Directory for Known {
    fn entries(&self) -> impl Iterator<Item = ServerEntry<'_>> {
        self.servers.iter().map(|server| server.entry())
    }

    fn entry(&self, id: &ServerId) -> Option<ServerEntry<'_>> {
        self.server(id).map(KnownServer::entry)
    }

    fn names(&self) -> &NameTable {
        &self.names
    }

    fn rules(&self) -> &Rules {
        &self.rules
    }
}

/// Returns whether a server of these may still list its tools. Starts those that were not needed yet.
pub fn may_follow(known: &Known, offers: impl Fn(&ServerEntry<'_>) -> bool) -> bool {
    let mut waiting = false;
    for server in known.entries().filter(&offers) {
        let idle = *server.phase == Phase::Idle;
        if let Some(handle) = known.handle(server.id()).filter(|_| idle) {
            handle.start();
        }
        waiting |= idle || server.phase.pending();
    }
    waiting
}

/// The servers of an engine.
pub struct Registry {
    bus: Arc<Bus>,
    separator: String,
    known: ArcSwap<Known>,
    /// Held during a change, until its event is published.
    writer: Mutex<()>,
    /// Counts changes.
    changes: watch::Sender<u64>,
}

impl Registry {
    /// Creates a registry without servers. `separator` joins namespace and tool in exposed names.
    pub fn new(bus: Arc<Bus>, separator: &str) -> Registry {
        Registry {
            bus,
            separator: separator.to_owned(),
            known: ArcSwap::from_pointee(Known { names: Arc::new(NameTable::without_names(separator)), ..Known::default() }),
            writer: Mutex::default(),
            changes: watch::Sender::default(),
        }
    }

    /// Returns the current state. It does not change any more.
    pub fn read(&self) -> Arc<Known> {
        self.known.load_full()
    }

    /// Returns a receiver that is notified after every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Adds a server, or replaces its configuration.
    pub fn add(&self, spec: &Arc<ServerSpec>) {
        self.change(EventKind::ServerAdded { spec: spec.clone() }, |known| {
            if let Some(server) = known.server_mut(&spec.id) {
                server.spec = spec.clone();
                return Names::Changed;
            }
            known.positions.insert(spec.id.clone(), known.servers.len());
            known.servers.push_back(Arc::new(KnownServer {
                spec: spec.clone(),
                phase: Arc::new(Phase::initial(spec)),
                info: None,
                catalog: Arc::default(),
                subscriptions: BTreeSet::new(),
            }));
            // A server without lists adds no name. With names, its namespace may be one that they imitate.
            if known.names.is_empty() { Names::Same } else { Names::Changed }
        });
    }

    /// Removes a server.
    pub fn remove(&self, id: &ServerId) {
        self.change(EventKind::ServerRemoved { server: id.clone() }, |known| {
            known.servers.retain(|server| server.spec.id != *id);
            known.positions = known.servers.iter().enumerate().map(|(at, server)| (server.spec.id.clone(), at)).collect();
            known.handles.remove(id);
            Names::Changed
        });
    }

    /// Sets the handle of a server. Replaces an earlier one.
    pub fn set_handle(&self, handle: ServerHandle) {
        let _writer = self.writer.lock();
        let mut known = Known::clone(&self.known.load());
        known.handles.insert(handle.spec.id.clone(), handle);
        self.store(known);
    }

    /// Removes the handle of a server and returns it. The server stays known.
    pub fn take_handle(&self, id: &ServerId) -> Option<ServerHandle> {
        let _writer = self.writer.lock();
        let mut known = Known::clone(&self.known.load());
        let handle = known.handles.remove(id);
        self.store(known);
        handle
    }

    /// Sets the connection state of a server.
    pub fn set_phase(&self, id: &ServerId, phase: Arc<Phase>) {
        self.change(EventKind::ServerPhase { server: id.clone(), phase: phase.clone() }, |known| {
            if let Some(server) = known.server_mut(id) {
                server.phase = phase;
            }
            Names::Same
        });
    }

    /// Sets the self-description of a server: a handshake completed.
    pub fn set_info(&self, id: &ServerId, info: Arc<SessionInfo>) {
        self.change(EventKind::ServerInfo { server: id.clone(), info: info.clone() }, |known| {
            if let Some(server) = known.server_mut(id) {
                server.info = Some(info);
            }
            Names::Same
        });
    }

    /// Sets the lists of a server.
    pub fn set_catalog(&self, id: &ServerId, catalog: Arc<ServerCatalog>) {
        self.change(EventKind::ServerListed { server: id.clone(), catalog: catalog.clone() }, |known| {
            if let Some(server) = known.server_mut(id) {
                server.catalog = catalog;
            }
            Names::Changed
        });
    }

    /// Sets the last known lists of a server, unless its lists were read already.
    pub fn set_stored_catalog(&self, id: &ServerId, catalog: Arc<ServerCatalog>) {
        // A supervisor sets the lists that it reads under the same lock.
        let _writer = self.writer.lock();
        if self.known.load().server(id).is_some_and(|server| server.catalog.revision == 0) {
            self.change_locked(EventKind::ServerListed { server: id.clone(), catalog: catalog.clone() }, |known| {
                if let Some(server) = known.server_mut(id) {
                    server.catalog = catalog;
                }
                Names::Changed
            });
        }
    }

    /// Records that a resource of a server is subscribed, or not any more.
    pub fn set_subscribed(&self, id: &ServerId, uri: &str, on: bool) {
        self.change(EventKind::ResourceSubscribed { server: id.clone(), uri: uri.to_owned(), on }, |known| {
            if let Some(server) = known.server_mut(id) {
                match on {
                    true => server.subscriptions.insert(uri.to_owned()),
                    false => server.subscriptions.remove(uri),
                };
            }
            Names::Same
        });
    }

    /// Returns the subscribed resources of a server.
    pub fn subscriptions(&self, id: &ServerId) -> Vec<String> {
        let known = self.known.load();
        known.server(id).map(|server| server.subscriptions.iter().cloned().collect()).unwrap_or_default()
    }

    /// Replaces the rules for tools, groups and routes.
    pub fn set_rules(&self, rules: Arc<Rules>) {
        self.change(EventKind::Rules { rules: rules.clone() }, |known| {
            known.rules = rules;
            Names::Changed
        });
    }

    /// Changes the state, then publishes the event of the change.
    fn change(&self, event: EventKind, change: impl FnOnce(&mut Known) -> Names) {
        let _writer = self.writer.lock();
        self.change_locked(event, change);
    }

    /// Does so while the caller holds the writer's lock.
    fn change_locked(&self, event: EventKind, change: impl FnOnce(&mut Known) -> Names) {
        let mut known = Known::clone(&self.known.load());
        if change(&mut known) == Names::Changed {
            known.names = Arc::new(known.build_names(&self.separator));
        }
        self.store(known);
        self.bus.publish(event);
    }

    fn store(&self, known: Known) {
        self.known.store(Arc::new(known));
        self.changes.send_modify(|changes| *changes += 1);
    }
}

/// Whether a change affects the exposed names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Changed,
    Same,
}
