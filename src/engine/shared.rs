//! State that all calls share: the registry, the response cache and random numbers.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use parking_lot::Mutex;

use super::{bus::Bus, checkers::Checkers, dispatch::CacheFront, inbox::Inbox, ports::History, registry::Registry};
use crate::domain::{
    id::{InstanceId, ServerId},
    trace::Propagation,
};

/// Where and how calls are recorded.
pub struct Recording {
    /// The run of the engine.
    pub instance: InstanceId,
    /// The history of calls.
    pub history: Arc<dyn History>,
    /// How the trace context gets to servers.
    pub propagation: Propagation,
}

/// State that all calls share.
pub struct Shared {
    /// The event bus.
    pub bus: Arc<Bus>,
    /// The servers, their catalogs and the rules.
    pub registry: Arc<Registry>,
    /// The inbox for questions.
    pub inbox: Arc<Inbox>,
    /// The compiled input schemas of tools.
    pub checkers: Checkers,
    /// The response cache, with the single flights in progress.
    pub cache: Arc<CacheFront>,
    /// Where calls are recorded.
    pub recording: Recording,
    random: Mutex<fastrand::Rng>,
    choices: Mutex<HashMap<ServerId, u64>>,
    in_progress: AtomicU32,
}

/// Counts a call as in progress until it is dropped.
pub struct InProgress<'a>(&'a AtomicU32);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Creates state without servers and rules. The same `seed` makes the same choices.
    pub fn new(
        bus: Arc<Bus>,
        registry: Arc<Registry>,
        inbox: Arc<Inbox>,
        cache: Arc<CacheFront>,
        recording: Recording,
        seed: Option<u64>,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            bus,
            registry,
            inbox,
            checkers: Checkers::default(),
            cache,
            recording,
            random: Mutex::new(seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)),
            choices: Mutex::default(),
            in_progress: AtomicU32::new(0),
        })
    }

    /// Returns a random number generator of its own for a component.
    pub fn fork_random(&self) -> fastrand::Rng {
        self.random.lock().fork()
    }

    /// Counts a call as in progress.
    pub fn begin_call(&self) -> InProgress<'_> {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        InProgress(&self.in_progress)
    }

    /// Returns the number of calls in progress on all servers.
    pub fn calls_in_progress(&self) -> u32 {
        self.in_progress.load(Ordering::Relaxed)
    }

    /// Returns a random number in [0, 1).
    pub fn random(&self) -> f64 {
        self.random.lock().f64()
    }

    /// Returns 128 random bits in hexadecimal.
    pub fn random_key(&self) -> String {
        format!("{:032x}", self.random.lock().u128(..))
    }

    /// Returns the number of this choice among those of a group. The first one is random: otherwise the first call of
    /// every process would go to the same member.
    pub fn next_choice(&self, group: &ServerId) -> u64 {
        let mut choices = self.choices.lock();
        let next = choices.entry(group.clone()).or_insert_with(|| u64::from(self.random.lock().u32(..)));
        let choice = *next;
        *next += 1;
        choice
    }
}
