//! State that all calls share: servers with their guards, rules, the response cache and random numbers.

use std::{collections::HashMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard, RwLock};

use super::{bus::Bus, checkers::Checkers, dispatch::CacheFront, inbox::Inbox, supervisor::ServerHandle};
use crate::domain::{id::ServerId, policy::Rules};

/// State that all calls share.
pub struct Shared {
    /// The event bus.
    pub bus: Arc<Bus>,
    /// The inbox for questions.
    pub inbox: Arc<Inbox>,
    /// The compiled input schemas of tools.
    pub checkers: Checkers,
    /// The response cache, with the single flights in progress.
    pub cache: Arc<CacheFront>,
    servers: Mutex<HashMap<ServerId, ServerHandle>>,
    rules: RwLock<Arc<Rules>>,
    random: Mutex<fastrand::Rng>,
    choices: Mutex<HashMap<ServerId, u64>>,
}

impl Shared {
    /// Creates state without servers and rules. The same `seed` makes the same choices.
    pub fn new(bus: Arc<Bus>, inbox: Arc<Inbox>, seed: Option<u64>) -> Arc<Shared> {
        Arc::new(Shared {
            bus,
            inbox,
            checkers: Checkers::default(),
            cache: Arc::default(),
            servers: Mutex::default(),
            rules: RwLock::default(),
            random: Mutex::new(seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)),
            choices: Mutex::default(),
        })
    }

    /// Locks and returns the servers.
    pub fn servers(&self) -> MutexGuard<'_, HashMap<ServerId, ServerHandle>> {
        self.servers.lock()
    }

    /// Returns the server with this id.
    pub fn server(&self, id: &ServerId) -> Option<ServerHandle> {
        self.servers().get(id).cloned()
    }

    /// Returns the server with this id, or the members of the group with this id.
    pub fn target_servers(&self, id: &ServerId) -> Vec<ServerHandle> {
        let rules = self.rules();
        let servers = self.servers();
        match rules.routing.groups.iter().find(|group| group.id == *id) {
            Some(group) => group.members.iter().filter_map(|member| servers.get(&member.server).cloned()).collect(),
            None => servers.get(id).cloned().into_iter().collect(),
        }
    }

    /// Returns the current rules.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.read().clone()
    }

    /// Replaces the rules.
    pub fn set_rules(&self, rules: Arc<Rules>) {
        *self.rules.write() = rules;
    }

    /// Returns a random number generator of its own for a component.
    pub fn fork_random(&self) -> fastrand::Rng {
        self.random.lock().fork()
    }

    /// Returns a random number in [0, 1).
    pub fn random(&self) -> f64 {
        self.random.lock().f64()
    }

    /// Returns 128 random bits in hexadecimal.
    pub fn random_key(&self) -> String {
        format!("{:032x}", self.random.lock().u128(..))
    }

    /// Returns the number of this choice among those of a group, from 0.
    pub fn next_choice(&self, group: &ServerId) -> u64 {
        let mut choices = self.choices.lock();
        let count = choices.entry(group.clone()).or_default();
        *count += 1;
        *count - 1
    }
}
