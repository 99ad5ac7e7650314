//! The own sessions of clients at one server, in addition to the session of the supervisor, which all others share.
//!
//! A legacy server sees the capabilities of its client once, in `initialize`, and may then ask for what they allow. So a client
//! that declares any such capability gets a session of its own, which declares exactly that: no request of the server can reach
//! another client. Sessions open with the first call, one at a time for each client, end after a time without calls, and are
//! bounded in number. Breaker, limits and budget belong to the server, not to a session.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection_handler::{ConnectionHandler, HandlerParts},
    passage::{Desk, PreparedPassage},
    ports::{Connector, Session},
    question_routing::permits,
    supervisor::not_connected,
};
use crate::domain::{
    body::Body,
    call::{Failure, FailureKind},
    capabilities::ClientCapabilities,
    client::{Behalf, ClientSession},
    event::EventKind,
    id::{CallId, ClientId},
    server::{ConnectFailure, Era, ServerSpec, Transport},
    time::Stamp,
};

/// The client that a session belongs to, and its calls over the session.
pub struct SessionOwner {
    client: ClientId,
    /// What the session declares.
    declared: Arc<ClientCapabilities>,
    /// Answers for the client outside of calls.
    connection_desk: Option<Arc<dyn Desk>>,
    /// Whether one call has the session at a time.
    exclusive: bool,
    /// Set when the session is open.
    opened: AtomicBool,
    /// The calls that hold the session; the first one opened it, if it is not open yet.
    calls: Mutex<Vec<(CallId, Arc<PreparedPassage>)>>,
}

impl SessionOwner {
    /// Returns whether the session declares the capability that a request needs.
    pub fn allows(&self, method: &str, params: &Body) -> bool {
        permits(&self.declared, method, params)
    }

    /// Returns the client.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// Returns the call that every request of the server belongs to: the one that leases the session, or opens it.
    pub fn leased_to(&self) -> Option<(CallId, Arc<PreparedPassage>)> {
        let alone = self.exclusive || !self.opened.load(Ordering::Acquire);
        self.calls.lock().first().filter(|_| alone).cloned()
    }

    /// Returns the desk that answers for the client outside of calls.
    pub fn connection_desk(&self) -> Option<&Arc<dyn Desk>> {
        self.connection_desk.as_ref()
    }
}

/// The state of a connection attempt: pending, or its result.
type Opening = Option<Result<Arc<dyn Session>, Arc<ConnectFailure>>>;

/// One session, or the attempt to open it.
struct Slot {
    id: u64,
    owner: Arc<SessionOwner>,
    ready: watch::Receiver<Opening>,
    /// Calls that hold it.
    calls: usize,
    /// When the session was opened; `None` before.
    opened: Option<Stamp>,
    /// When the last call released it.
    idle_since: Instant,
    /// Ends it.
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    next: u64,
    closed: bool,
}

/// The own sessions of clients at one server.
pub struct SessionPool {
    spec: Arc<ServerSpec>,
    connector: Arc<dyn Connector>,
    parts: HandlerParts,
    state: Mutex<State>,
    /// The sessions of the last event.
    published: Mutex<Arc<[ClientSession]>>,
    /// Notified when a call releases a session, or a session ends.
    freed: Notify,
    tasks: TaskTracker,
}

/// Why a call gets no session now.
enum Unavailable {
    /// Calls of the same client hold sessions that it could use.
    Busy(Failure),
    /// Waiting does not help.
    Refused(Failure),
}

/// A session that a call holds. Released on drop.
pub struct SessionLease {
    pool: Arc<SessionPool>,
    slot: u64,
    call: CallId,
    session: Arc<dyn Session>,
}

impl SessionLease {
    /// Returns the session.
    pub fn session(&self) -> &Arc<dyn Session> {
        &self.session
    }
}

/// A place in a slot, before the session is open. Released on drop.
struct Reservation {
    pool: Arc<SessionPool>,
    slot: u64,
    call: CallId,
    held: bool,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.held {
            self.pool.release(self.slot, self.call);
        }
    }
}

impl Drop for SessionLease {
    fn drop(&mut self) {
        self.pool.release(self.slot, self.call);
    }
}

impl SessionPool {
    /// Creates an empty pool.
    pub fn new(spec: Arc<ServerSpec>, connector: Arc<dyn Connector>, parts: HandlerParts) -> Arc<SessionPool> {
        Arc::new(SessionPool {
            spec,
            connector,
            parts,
            state: Mutex::default(),
            published: Mutex::new(Arc::from([])),
            freed: Notify::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Returns a session of the client of `passage` for a call, and opens it if needed. Dropping the future gives it back.
    pub async fn acquire(self: &Arc<Self>, call: CallId, passage: &Arc<PreparedPassage>) -> Result<SessionLease, Failure> {
        let (mut reservation, mut ready) = self.place(call, passage).await?;
        let opened = ready.wait_for(Option::is_some).await.ok().and_then(|opened| opened.clone());
        match opened {
            Some(Ok(session)) => {
                reservation.held = false;
                Ok(SessionLease { pool: self.clone(), slot: reservation.slot, call, session })
            }
            Some(Err(why)) => Err(not_connected(&self.spec.id, Some(&why))),
            None => Err(Failure::new(FailureKind::NotReady, format!("the session of the client at {} was closed", self.spec.id))),
        }
    }

    /// Takes a place in a session of the client. Waits for one if the calls of the client hold all sessions that it may have, as
    /// long as a call may wait for a permit.
    async fn place(
        self: &Arc<Self>,
        call: CallId,
        passage: &Arc<PreparedPassage>,
    ) -> Result<(Reservation, watch::Receiver<Opening>), Failure> {
        let until = Instant::now() + self.spec.policy.concurrency.wait;
        loop {
            // Created before the attempt, so that no release after it is missed.
            let freed = self.freed.notified();
            let failure = match self.reserve(call, passage) {
                Ok(reserved) => return Ok(reserved),
                Err(Unavailable::Refused(failure)) => return Err(failure),
                Err(Unavailable::Busy(failure)) => failure,
            };
            if timeout_at(until, freed).await.is_err() {
                return Err(failure);
            }
        }
    }

    /// Takes a place in a session of the client, in a new one if it has none that is free.
    fn reserve(
        self: &Arc<Self>,
        call: CallId,
        passage: &Arc<PreparedPassage>,
    ) -> Result<(Reservation, watch::Receiver<Opening>), Unavailable> {
        // A program says nothing about the call that it asks for, and this client can be asked only as the answer to a call.
        let exclusive = passage.connection_desk().is_none() && matches!(self.spec.launch, Transport::Stdio { .. });
        let mut state = self.state.lock();
        if state.closed {
            return Err(Unavailable::Refused(Failure::new(FailureKind::NotReady, format!("{} is stopping", self.spec.id))));
        }
        let own = |slot: &&mut Slot| slot.owner.client == passage.client() && (!exclusive || slot.calls == 0) && !slot.stop.is_cancelled();
        if let Some(slot) = state.slots.iter_mut().find(own) {
            slot.calls += 1;
            slot.owner.calls.lock().push((call, passage.clone()));
            let reservation = Reservation { pool: self.clone(), slot: slot.id, call, held: true };
            return Ok((reservation, slot.ready.clone()));
        }
        let max = self.spec.sessions.max;
        if state.slots.len() >= max {
            let idle = state.slots.iter().enumerate().filter(|(_, slot)| slot.calls == 0).min_by_key(|(_, slot)| slot.idle_since);
            let Some((oldest, _)) = idle else {
                let message = format!("server {}: {} of {max} client sessions busy", self.spec.id, state.slots.len());
                let failure = Failure::new(FailureKind::Overloaded, message).hint("nothing was sent: raise sessions.max of this server");
                let queues = exclusive && state.slots.iter().any(|slot| slot.owner.client == passage.client());
                return Err(if queues { Unavailable::Busy(failure) } else { Unavailable::Refused(failure) });
            };
            state.slots.remove(oldest).stop.cancel();
            self.publish(&state);
        }
        state.next += 1;
        let (id, stop) = (state.next, CancellationToken::new());
        let owner = Arc::new(SessionOwner {
            client: passage.client(),
            declared: passage.declared().clone(),
            connection_desk: passage.connection_desk().cloned(),
            exclusive,
            opened: AtomicBool::new(false),
            calls: Mutex::new(vec![(call, passage.clone())]),
        });
        let (opening, ready) = watch::channel(None);
        state.slots.push(Slot {
            id,
            owner: owner.clone(),
            ready: ready.clone(),
            calls: 1,
            opened: None,
            idle_since: Instant::now(),
            stop: stop.clone(),
        });
        drop(state);
        let slot = SlotGuard { pool: Arc::downgrade(self), id };
        let behalf = Behalf { face: passage.client_face().clone(), principal: passage.principal().clone() };
        let handler = Arc::new(ConnectionHandler::of_client(self.parts.clone(), self.spec.clone(), owner.clone()));
        let connecting = self.connector.clone();
        let spec = self.spec.clone();
        self.tasks.spawn(async move {
            let connected = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                connected = connecting.connect(spec, Some(Era::Legacy), Some(behalf), handler) => connected,
            };
            match connected {
                Ok(session) => {
                    owner.opened.store(true, Ordering::Release);
                    slot.note_opened();
                    opening.send_replace(Some(Ok(session.clone())));
                    slot.serve(&session, &stop).await;
                    drop(slot);
                    session.close().await;
                }
                Err(why) => {
                    // Before the waiting calls learn of it, so that the next one opens another.
                    drop(slot);
                    opening.send_replace(Some(Err(Arc::new(why.bounded()))));
                }
            }
        });
        Ok((Reservation { pool: self.clone(), slot: id, call, held: true }, ready))
    }

    fn release(&self, slot: u64, call: CallId) {
        if let Some(slot) = self.state.lock().slots.iter_mut().find(|known| known.id == slot) {
            slot.calls -= 1;
            slot.idle_since = Instant::now();
            let mut calls = slot.owner.calls.lock();
            if let Some(at) = calls.iter().position(|(holder, _)| *holder == call) {
                calls.remove(at);
            }
        }
        self.freed.notify_waiters();
    }

    /// Returns how long a session is open without calls.
    fn idle_time(&self) -> Duration {
        self.spec.sessions.idle_time(&self.spec.launch)
    }

    /// Ends the session of a slot if it has been idle for long enough. Returns when to look again, or `None` when it ended.
    fn expire(&self, id: u64) -> Option<Instant> {
        let mut state = self.state.lock();
        let at = state.slots.iter().position(|slot| slot.id == id)?;
        let (now, slot) = (Instant::now(), &state.slots[at]);
        let since = if slot.calls == 0 { slot.idle_since } else { now };
        let until = since + self.idle_time();
        if until > now {
            return Some(until);
        }
        state.slots.remove(at);
        self.publish(&state);
        None
    }

    /// Returns the number of sessions, including those that are being opened.
    pub fn count(&self) -> usize {
        self.state.lock().slots.len()
    }

    /// Ends all sessions; the next call of a client opens another.
    pub fn end_all(&self) {
        let mut state = self.state.lock();
        for slot in state.slots.drain(..) {
            slot.stop.cancel();
        }
        self.publish(&state);
    }

    /// Publishes the open sessions, under the lock of the state, so that events are in the order of the changes.
    fn publish(&self, state: &State) {
        let open = state.slots.iter().filter_map(|slot| Some(ClientSession { client: slot.owner.client, since: slot.opened? }));
        let sessions: Arc<[ClientSession]> = open.collect();
        let mut published = self.published.lock();
        if *published != sessions {
            *published = sessions.clone();
            self.parts.bus.publish(EventKind::ClientSessions { server: self.spec.id.clone(), sessions });
        }
    }

    /// Ends all sessions and returns when they are closed. No other opens.
    pub async fn close(&self) {
        self.state.lock().closed = true;
        self.end_all();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Removes a slot when its task ends, in whatever way.
struct SlotGuard {
    pool: Weak<SessionPool>,
    id: u64,
}

impl SlotGuard {
    /// Records that the session of the slot is open.
    fn note_opened(&self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut state = pool.state.lock();
        if let Some(slot) = state.slots.iter_mut().find(|slot| slot.id == self.id) {
            slot.opened = Some(pool.parts.bus.now());
        }
        pool.publish(&state);
    }

    /// Resolves when the session must be closed: it was lost, has been idle for long enough, or the slot ended.
    async fn serve(&self, session: &Arc<dyn Session>, stop: &CancellationToken) {
        loop {
            let Some(look) = self.pool.upgrade().and_then(|pool| pool.expire(self.id)) else { return };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = session.closed() => return,
                () = sleep_until(look) => {}
            }
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            let mut state = pool.state.lock();
            state.slots.retain(|slot| slot.id != self.id);
            pool.publish(&state);
            drop(state);
            pool.freed.notify_waiters();
        }
    }
}
