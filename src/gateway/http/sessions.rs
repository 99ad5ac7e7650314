//! Sessions of legacy clients over HTTP (MCP 2025-11-25, transports, "Session Management"). Bounded in number and idle time.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Caller,
    stream::{Ring, Stream},
};
use crate::{
    domain::call::{Failure, FailureKind},
    gateway::{Client, Front, Gateway, random},
    protocol::connection::Connection,
};

/// The number of the stream for messages outside of requests.
pub const GENERAL: u64 = 0;
/// Streams that a session remembers, to resume them.
const STREAMS: usize = 64;

/// Limits of the sessions of a listener.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Maximum number of sessions. A new one replaces the one that was idle for longest.
    pub sessions: usize,
    /// How long a session may be idle.
    pub idle: Duration,
}

impl Default for SessionLimits {
    fn default() -> SessionLimits {
        SessionLimits { sessions: 1000, idle: Duration::from_secs(1800) }
    }
}

/// A session of a legacy client.
pub struct Session {
    /// The client.
    pub client: Arc<Client>,
    /// The gateway's end of its connection.
    pub connection: Arc<Connection>,
    /// The stream for messages outside of requests.
    pub general: Arc<Stream>,
    /// Cancelled when the token that opened it is revoked.
    grant: Option<CancellationToken>,
    gateway: Arc<Gateway>,
    ring: Arc<Ring>,
    next_stream: AtomicU64,
    streams: Mutex<Vec<(u64, Arc<Stream>)>>,
    used: Mutex<Instant>,
}

impl Session {
    fn new(gateway: &Arc<Gateway>, caller: &Caller) -> Session {
        let client = gateway.add_client(caller.principal.clone(), caller.profile.clone(), Some(caller.transport));
        let connection = Front::connect(gateway, &client);
        let ring = Arc::<Ring>::default();
        let general = Arc::new(Stream::new(GENERAL, Some(ring.clone()), &connection, None));
        client.set_stream(Some(general.clone()));
        Session {
            client,
            connection,
            general,
            grant: caller.grant.clone(),
            gateway: gateway.clone(),
            ring,
            next_stream: AtomicU64::new(GENERAL + 1),
            streams: Mutex::default(),
            used: Mutex::new(Instant::now()),
        }
    }

    /// Creates the stream of a request, or of a batch with this number of requests. Returns it with its number.
    pub fn stream(&self, responses: usize) -> (u64, Arc<Stream>) {
        let number = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::new(Stream::new(number, Some(self.ring.clone()), &self.connection, Some(responses)));
        let mut streams = self.streams.lock();
        if streams.len() >= STREAMS {
            streams.remove(0);
        }
        streams.push((number, stream.clone()));
        (number, stream)
    }

    /// Returns the stream with this number, if it is remembered.
    pub fn find(&self, number: u64) -> Option<Arc<Stream>> {
        if number == GENERAL {
            return Some(self.general.clone());
        }
        self.streams.lock().iter().find(|(known, _)| *known == number).map(|(_, stream)| stream.clone())
    }

    /// Forgets the stream of a request whose response was delivered whole.
    pub fn forget(&self, number: u64) {
        self.streams.lock().retain(|(known, _)| *known != number);
    }

    /// Returns whether a client reads a stream, or a request is in progress.
    fn is_busy(&self) -> bool {
        self.general.is_read() || self.streams.lock().iter().any(|(_, stream)| stream.is_open())
    }

    /// Returns whether the session was opened by this caller, at the same path.
    fn belongs_to(&self, caller: &Caller) -> bool {
        self.client.principal == caller.principal && self.client.profile.name == caller.profile.name
    }

    fn touch(&self) {
        *self.used.lock() = Instant::now();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.close(&Failure::new(FailureKind::Transport, "the session has ended"));
        self.gateway.remove_client(self.client.id);
    }
}

/// The sessions of a listener.
pub struct Sessions {
    gateway: Arc<Gateway>,
    limits: SessionLimits,
    open: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    /// Creates an empty set.
    pub fn new(gateway: Arc<Gateway>, limits: SessionLimits) -> Sessions {
        Sessions { gateway, limits, open: Mutex::default() }
    }

    /// Opens a session. Returns it with its id.
    pub fn open(&self, caller: &Caller) -> std::io::Result<(String, Arc<Session>)> {
        let id = random::id()?;
        let session = Arc::new(Session::new(&self.gateway, caller));
        let mut open = self.open.lock();
        while open.len() >= self.limits.sessions.max(1) {
            let Some(oldest) = open.iter().min_by_key(|(_, session)| *session.used.lock()).map(|(id, _)| id.clone()) else { break };
            open.remove(&oldest);
        }
        open.insert(id.clone(), session.clone());
        Ok((id, session))
    }

    /// Returns the session with this id, if it belongs to the caller.
    pub fn get(&self, id: &str, caller: &Caller) -> Option<Arc<Session>> {
        let session = self.open.lock().get(id).filter(|session| session.belongs_to(caller)).cloned()?;
        session.touch();
        Some(session)
    }

    /// Ends a session. Returns whether there was one.
    pub fn close(&self, id: &str, caller: &Caller) -> bool {
        let mut open = self.open.lock();
        let own = open.get(id).is_some_and(|session| session.belongs_to(caller));
        let closed = if own { open.remove(id) } else { None };
        drop(open);
        closed.is_some()
    }

    /// Returns how long a session may be idle.
    pub fn idle(&self) -> Duration {
        self.limits.idle
    }

    /// Ends the sessions that were idle for too long.
    pub fn expire(&self) {
        self.expire_after(self.limits.idle);
    }

    /// Ends the sessions that were idle for this time.
    pub fn expire_after(&self, limit: Duration) {
        let idle = |session: &Arc<Session>| session.used.lock().elapsed() >= limit && !session.is_busy();
        let ended: Vec<Arc<Session>> = self.open.lock().extract_if(|_, session| idle(session)).map(|(_, session)| session).collect();
        drop(ended);
    }

    /// Ends the sessions whose tokens were revoked, with their requests in progress and their streams.
    pub fn end_revoked(&self) {
        let is_revoked = |session: &Arc<Session>| session.grant.as_ref().is_some_and(CancellationToken::is_cancelled);
        let ended: Vec<Arc<Session>> = self.open.lock().extract_if(|_, session| is_revoked(session)).map(|(_, session)| session).collect();
        // A response that is written may hold the session.
        ended.iter().for_each(|session| session.connection.close(&Failure::new(FailureKind::Transport, "the token was revoked")));
    }

    /// Returns the number of sessions.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }
}
