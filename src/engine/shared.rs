//! What all calls share: the servers with their lanes, the rules, the kept answers, chance.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use super::{bus::Bus, checkers::Checkers, dispatch::CacheFront, inbox::Inbox, supervisor::ServerHandle};
use crate::domain::{id::ServerId, policy::Rules};

/// What all calls share.
pub struct Shared {
    /// Where events go.
    pub bus: Arc<Bus>,
    /// Where questions go.
    pub inbox: Arc<Inbox>,
    /// The compiled schemas.
    pub checkers: Checkers,
    /// Answers kept, and equal calls under way.
    pub answers: Arc<CacheFront>,
    servers: Mutex<HashMap<ServerId, ServerHandle>>,
    rules: RwLock<Arc<Rules>>,
    random: Mutex<fastrand::Rng>,
    turns: Mutex<HashMap<ServerId, u64>>,
}

impl Shared {
    /// Nothing configured yet. The same `seed` gives the same choices.
    pub fn new(bus: Arc<Bus>, inbox: Arc<Inbox>, seed: Option<u64>) -> Arc<Shared> {
        Arc::new(Shared {
            bus,
            inbox,
            checkers: Checkers::default(),
            answers: Arc::default(),
            servers: Mutex::default(),
            rules: RwLock::default(),
            random: Mutex::new(seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)),
            turns: Mutex::default(),
        })
    }

    /// The servers, locked.
    pub fn servers(&self) -> MutexGuard<'_, HashMap<ServerId, ServerHandle>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server of this id.
    pub fn server(&self, id: &ServerId) -> Option<ServerHandle> {
        self.servers().get(id).cloned()
    }

    /// The server of this id, or the members of the group of this id.
    pub fn involved(&self, id: &ServerId) -> Vec<ServerHandle> {
        let rules = self.rules();
        let servers = self.servers();
        match rules.routing.groups.iter().find(|group| group.id == *id) {
            Some(group) => group.members.iter().filter_map(|member| servers.get(&member.server).cloned()).collect(),
            None => servers.get(id).cloned().into_iter().collect(),
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts rules in force.
    pub fn set_rules(&self, rules: Arc<Rules>) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Chance of its own for somebody, from this one.
    pub fn fork(&self) -> fastrand::Rng {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// A number from 0 to 1, 1 excluded.
    pub fn random(&self) -> f64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).f64()
    }

    /// 128 random bits in hexadecimal.
    pub fn key(&self) -> String {
        format!("{:032x}", self.random.lock().unwrap_or_else(PoisonError::into_inner).u128(..))
    }

    /// The number of this choice among those of a group, from 0.
    pub fn turn(&self, group: &ServerId) -> u64 {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(group.clone()).or_default();
        *turn += 1;
        *turn - 1
    }
}
