//! The state machine of a breaker.

use std::{collections::VecDeque, time::Duration};

use super::{Admission, BreakerOverride, BreakerPolicy, BreakerView, Cell, Refusal, State, Transition, Window, pooled::OpenedBy};
use crate::domain::{
    plural::counted,
    policy::verdict::Verdict,
    time::{Stamp, short},
};

/// Maximum number of calls in a window, whatever its policy says.
pub const MOST_CALLS: usize = 4096;
/// Calls of the window in a view.
const VIEW_CALLS: usize = 64;
/// State changes in a view.
const VIEW_TRANSITIONS: usize = 20;

/// A circuit breaker. Callers pass the current time, which never goes backwards.
///
/// Callers return each admission by [`Breaker::record`] or [`Breaker::release`]; a lost one occupies a half-open
/// permit until [`BreakerPolicy::probe_timeout`] ends. Amortised constant time per call.
#[derive(Debug)]
pub struct Breaker {
    pub(super) policy: BreakerPolicy,
    /// Incremented by every state change and override: admissions of earlier generations change nothing.
    pub(super) generation: u64,
    pub(super) state: State,
    pub(super) since: Stamp,
    pub(super) reason: String,
    pub(super) held: Option<BreakerOverride>,
    pub(super) window: VecDeque<(Stamp, Cell)>,
    pub(super) failures: u32,
    pub(super) slow: u32,
    pub(super) consecutive: u32,
    /// How many of the consecutive failures were failed connections.
    pub(super) failed_connections: u32,
    /// The breaker opened because of failed connections only.
    pub(super) connections_only: bool,
    /// The breaker was opened by an earlier process, and the first connection of this one is to the same server.
    pub(super) outlived: bool,
    /// A user opened the breaker.
    pub(super) manual: bool,
    /// Time from which an open breaker admits a probe; `None` while held open.
    pub(super) until: Option<Stamp>,
    pub(super) openings: u32,
    /// Whose calls opened the breaker.
    pub(super) opened_by: OpenedBy,
    refused: u64,
    /// The half-open permits in use, oldest first: number and time of the grant.
    probes: VecDeque<(u64, Stamp)>,
    /// Number of the last half-open permit.
    last_probe: u64,
    /// Successful probes in this half-open period.
    successes: u32,
    transitions: VecDeque<Transition>,
}

impl Breaker {
    /// Creates a closed breaker with an empty window.
    pub fn new(policy: BreakerPolicy) -> Breaker {
        Breaker {
            policy,
            generation: 0,
            state: State::Closed,
            since: Stamp::default(),
            reason: String::new(),
            held: None,
            window: VecDeque::new(),
            failures: 0,
            slow: 0,
            consecutive: 0,
            failed_connections: 0,
            connections_only: false,
            outlived: false,
            manual: false,
            until: None,
            openings: 0,
            opened_by: OpenedBy::Own,
            refused: 0,
            probes: VecDeque::new(),
            last_probe: 0,
            successes: 0,
            transitions: VecDeque::new(),
        }
    }

    /// Returns the policy.
    pub fn policy(&self) -> &BreakerPolicy {
        &self.policy
    }

    /// Replaces the policy; state and window stay. Switching the breaker off closes it, ends a hold and clears
    /// everything but the recorded transitions; that is a transition unless it was closed. An open period that
    /// already began keeps its length.
    pub fn set_policy(&mut self, policy: BreakerPolicy, now: Stamp) -> Option<Transition> {
        if !self.policy.enabled || policy.enabled {
            self.policy = policy;
            return None;
        }
        self.held = None;
        let change = (self.state != State::Closed).then(|| self.close("breaker disabled".into(), now));
        let (generation, since, reason) = (self.generation + 1, self.since, std::mem::take(&mut self.reason));
        let transitions = std::mem::take(&mut self.transitions);
        *self = Breaker { generation, last_probe: self.last_probe, since, reason, transitions, ..Breaker::new(policy) };
        change
    }

    /// Admits or refuses a call. An open breaker whose open period is over becomes half-open.
    ///
    /// Half-open admits at most [`BreakerPolicy::half_open_calls`] calls until they decide. A neutral result, or an
    /// expired lease, frees the permit.
    pub fn admit(&mut self, now: Stamp) -> Result<Admission, Refusal> {
        if !self.policy.enabled {
            return Ok(Admission { generation: self.generation, probe: None });
        }
        if self.state == State::Open && self.until.is_some_and(|until| now >= until) {
            let after = format!("open for {}, probing", short(now.since(self.since)));
            self.transition(State::HalfOpen, after, now);
        }
        self.settle_half_open(now);
        match self.state {
            State::Closed => Ok(Admission { generation: self.generation, probe: None }),
            State::HalfOpen if self.permits_taken() < self.permits() => {
                self.last_probe += 1;
                self.probes.push_back((self.last_probe, now));
                Ok(Admission { generation: self.generation, probe: Some(self.last_probe) })
            }
            State::HalfOpen | State::Open => {
                self.refused += 1;
                Err(self.refusal())
            }
        }
    }

    /// Admits a call although the breaker refuses it, for a caller that has no other server left. Returns `None` while
    /// the breaker is held open manually.
    ///
    /// A success counts like that of a probe. A failure changes nothing: the breaker stays open as long as it would
    /// have.
    pub fn admit_bypassing(&mut self, now: Stamp) -> Option<Admission> {
        if self.peek(now).is_ok() {
            return self.admit(now).ok();
        }
        (self.held != Some(BreakerOverride::HoldOpen)).then_some(Admission { generation: self.generation, probe: None })
    }

    fn refusal(&self) -> Refusal {
        Refusal { state: self.state, since: self.since, reason: self.reason.clone(), next_probe: self.next_probe() }
    }

    /// Returns the result that [`Breaker::admit`] would have, without changing anything.
    pub fn peek(&self, now: Stamp) -> Result<(), Refusal> {
        let passes = match self.state {
            _ if !self.policy.enabled => true,
            State::Closed => true,
            State::Open => self.until.is_some_and(|until| now >= until),
            State::HalfOpen => {
                let out = self.probes.iter().filter(|(_, granted)| !self.lease_expired(*granted, now)).count() as u32;
                out + self.successes < self.permits()
            }
        };
        if passes { Ok(()) } else { Err(self.refusal()) }
    }

    /// Records the result of an admitted call. `why` describes a failure, `took` is the duration.
    ///
    /// A neutral result frees the permit and counts nothing. Admissions from before the last state change, or past
    /// their half-open lease, change nothing.
    pub fn record(&mut self, admission: Admission, verdict: Verdict, took: Duration, why: &str, now: Stamp) -> Option<Transition> {
        if !self.policy.enabled || admission.generation != self.generation {
            return None;
        }
        self.settle_half_open(now);
        match (self.state, admission.probe) {
            (State::Closed, _) => self.record_closed(verdict, took, why, now),
            (State::HalfOpen, Some(number)) if self.free_permit(number) => self.record_probe(verdict, took, why, now),
            // Admissions of a closed breaker belong to an earlier generation.
            (State::Open | State::HalfOpen, None) => self.record_bypassing(verdict, took, now),
            _ => None,
        }
    }

    /// Records a failed connection attempt that belongs to no call. It counts like a failed call while closed, like a
    /// failed probe once the open period is over, and is ignored otherwise.
    pub fn unreachable(&mut self, why: &str, now: Stamp) -> Option<Transition> {
        if !self.policy.enabled {
            return None;
        }
        match self.state {
            State::Closed => {
                self.failed_connections = self.failed_connections.saturating_add(1);
                let opened = self.record_closed(Verdict::Failure, Duration::ZERO, why, now);
                // Every counted failure, consecutive or in the window, was a failed connection.
                self.connections_only =
                    opened.is_some() && self.failed_connections == self.consecutive && self.failures <= self.failed_connections;
                opened
            }
            State::Open if self.until.is_some_and(|until| now >= until) => {
                let connections_only = self.connections_only;
                self.transition(State::HalfOpen, format!("open for {}, reconnecting", short(now.since(self.since))), now);
                let opened = self.open(format!("no connection: {why}"), now);
                self.connections_only = connections_only;
                Some(opened)
            }
            State::Open | State::HalfOpen => None,
        }
    }

    /// Records a successful connection. It clears consecutive failures that were failed connections only, and closes
    /// a breaker that opened because of these only: the handshake was its probe. After failures of calls the breaker
    /// becomes half-open instead of waiting for the rest of the open period: the server that failed them is gone. It changes
    /// nothing about a breaker that a user opened.
    pub fn reachable(&mut self, now: Stamp) -> Option<Transition> {
        if self.state == State::Closed && self.failed_connections == self.consecutive {
            // They are the last entries of the window, as far as it still holds them.
            for _ in 0..self.failed_connections {
                let Some((_, cell)) = self.window.pop_back() else { break };
                self.failures -= u32::from(cell.failed());
                self.slow -= u32::from(cell.slow());
            }
            (self.failed_connections, self.consecutive) = (0, 0);
        }
        // The connection is new, but not the server.
        let outlived = std::mem::take(&mut self.outlived) && !self.connections_only;
        if self.state != State::Open || self.held.is_some() || self.manual || outlived {
            return None;
        }
        Some(match self.connections_only {
            true => self.close("reconnected".into(), now),
            false => self.transition(State::HalfOpen, "reconnected, probing".into(), now),
        })
    }

    /// Returns an admission whose call was not made: frees the permit, counts nothing.
    pub fn release(&mut self, admission: Admission, now: Stamp) {
        let _ = self.record(admission, Verdict::Neutral, Duration::ZERO, "", now);
    }

    /// Applies a manual override. Returns `None` if it changes nothing, as on a breaker that is switched off.
    pub fn apply_override(&mut self, action: BreakerOverride, now: Stamp) -> Option<Transition> {
        if !self.policy.enabled {
            return None;
        }
        let held = matches!(action, BreakerOverride::HoldOpen | BreakerOverride::HoldClosed).then_some(action);
        let to = if matches!(action, BreakerOverride::Trip | BreakerOverride::HoldOpen) { State::Open } else { State::Closed };
        let nothing = self.state == to && self.held == held && matches!(action, BreakerOverride::HoldOpen | BreakerOverride::HoldClosed);
        if nothing {
            return None;
        }
        self.held = held;
        let reason = match action {
            BreakerOverride::Trip => "opened manually",
            BreakerOverride::HoldOpen => "held open manually",
            BreakerOverride::HoldClosed => "held closed manually",
            BreakerOverride::Reset => "reset manually",
        };
        let change = match to {
            State::Open => self.open(reason.into(), now),
            _ => self.close(reason.into(), now),
        };
        self.manual = to == State::Open;
        Some(change)
    }

    /// Returns the time from which an open breaker admits the next probe; `None` in other states and while held open.
    pub fn next_probe(&self) -> Option<Stamp> {
        self.until.filter(|_| self.state == State::Open)
    }

    /// Returns the state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns a snapshot for display.
    pub fn view(&self, now: Stamp) -> BreakerView {
        let (calls, failures, slow) = self.counts(now);
        let gone = self.window.len() - calls as usize;
        let enough = calls >= self.minimum_calls_in_window();
        let first_shown = self.window.len().saturating_sub(VIEW_CALLS).max(gone);
        BreakerView {
            state: self.state,
            since: self.since,
            reason: self.reason.clone(),
            held: self.held,
            cells: self.window.iter().skip(first_shown).map(|(_, cell)| *cell).collect(),
            calls,
            failure_rate: enough.then(|| share(failures, calls)),
            slow_rate: enough.then(|| share(slow, calls)),
            consecutive: self.consecutive,
            next_probe: self.next_probe(),
            probing: self.probes.iter().filter(|(_, granted)| !self.lease_expired(*granted, now)).count() as u32,
            openings: self.openings,
            refused: self.refused,
            transitions: self.transitions.iter().cloned().collect(),
        }
    }

    /// Returns the numbers of calls, failures and slow calls in the window.
    pub(super) fn counts(&self, now: Stamp) -> (u32, u32, u32) {
        let gone = self.expired(now);
        let (mut failures, mut slow) = (self.failures, self.slow);
        for (_, cell) in self.window.iter().take(gone) {
            failures -= u32::from(cell.failed());
            slow -= u32::from(cell.slow());
        }
        ((self.window.len() - gone) as u32, failures, slow)
    }

    fn record_closed(&mut self, verdict: Verdict, took: Duration, why: &str, now: Stamp) -> Option<Transition> {
        let cell = match (verdict, took >= self.policy.slow_call) {
            (Verdict::Neutral, _) => return None,
            (Verdict::Success, false) => Cell::Success,
            (Verdict::Success, true) => Cell::Slow,
            (Verdict::Failure, false) => Cell::Failure,
            (Verdict::Failure, true) => Cell::SlowFailure,
        };
        self.consecutive = if cell.failed() { self.consecutive.saturating_add(1) } else { 0 };
        self.failed_connections = self.failed_connections.min(self.consecutive);
        self.window.push_back((now, cell));
        self.failures += u32::from(cell.failed());
        self.slow += u32::from(cell.slow());
        self.drop_expired(now);
        if self.held.is_some() {
            return None;
        }
        // A successful call can complete the minimum_calls_in_window number of calls for a rate.
        let reason = self.open_reason(if cell.failed() { why } else { "" })?;
        Some(self.open(reason, now))
    }

    fn record_probe(&mut self, verdict: Verdict, took: Duration, why: &str, now: Stamp) -> Option<Transition> {
        let still_slow = self.policy.slow_rate > 0.0 && took >= self.policy.slow_call;
        match verdict {
            Verdict::Neutral => None,
            Verdict::Failure => Some(self.open(format!("the probe failed: {why}"), now)),
            Verdict::Success if still_slow => Some(self.open(format!("the probe was slow: {}", short(took)), now)),
            Verdict::Success => {
                self.successes += 1;
                self.close_if_healthy(now)
            }
        }
    }

    fn record_bypassing(&mut self, verdict: Verdict, took: Duration, now: Stamp) -> Option<Transition> {
        let slow = self.policy.slow_rate > 0.0 && took >= self.policy.slow_call;
        if verdict != Verdict::Success || slow {
            return None;
        }
        let half_open = (self.state == State::Open).then(|| self.transition(State::HalfOpen, "a call succeeded".into(), now));
        self.successes += 1;
        self.close_if_healthy(now).or(half_open)
    }

    /// Returns why the counts open the breaker; `None` if they do not.
    fn open_reason(&self, why: &str) -> Option<String> {
        let policy = &self.policy;
        let last = if why.is_empty() { String::new() } else { format!(", last: {why}") };
        if policy.consecutive > 0 && self.consecutive >= policy.consecutive {
            return Some(if self.consecutive == 1 {
                format!("failed: {why}")
            } else {
                format!("{} consecutive failures{last}", self.consecutive)
            });
        }
        let calls = self.window.len() as u32;
        if calls < self.minimum_calls_in_window() {
            return None;
        }
        let reaches = |count: u32, limit: f64| limit > 0.0 && share(count, calls) >= limit;
        if reaches(self.failures, policy.failure_rate) {
            return Some(format!("{} of {} failed{last}", self.failures, counted(calls, "call")));
        }
        if reaches(self.slow, policy.slow_rate) {
            return Some(format!("{} of {} took {} or longer", self.slow, counted(calls, "call"), short(policy.slow_call)));
        }
        None
    }

    pub(super) fn open(&mut self, reason: String, now: Stamp) -> Transition {
        self.opened_by = OpenedBy::Own;
        match self.state {
            State::Closed => (self.openings, self.refused) = (1, 0),
            State::HalfOpen => self.openings = self.openings.saturating_add(1),
            State::Open => {}
        }
        let change = self.transition(State::Open, reason, now);
        self.until = if self.held.is_some() { None } else { Some(now.plus(self.open_for())) };
        change
    }

    pub(super) fn close(&mut self, reason: String, now: Stamp) -> Transition {
        (self.openings, self.refused, self.until) = (0, 0, None);
        self.transition(State::Closed, reason, now)
    }

    /// Closes the breaker once enough probes succeeded.
    fn close_if_healthy(&mut self, now: Stamp) -> Option<Transition> {
        let enough = self.state == State::HalfOpen && self.successes >= self.permits();
        let reason = match self.successes {
            1 => "the probe succeeded".to_owned(),
            n => format!("{n} probes succeeded"),
        };
        enough.then(|| self.close(reason, now))
    }

    /// Changes the state and starts a new generation. The window keeps the calls that opened the breaker, for
    /// display, until it closes.
    fn transition(&mut self, to: State, reason: String, now: Stamp) -> Transition {
        let change = Transition { at: now, from: self.state, to, reason: reason.clone() };
        self.generation += 1;
        (self.state, self.since, self.reason) = (to, now, reason);
        self.probes.clear();
        self.successes = 0;
        (self.connections_only, self.manual) = (false, false);
        if to == State::Closed {
            self.window.clear();
            (self.failures, self.slow, self.consecutive, self.failed_connections) = (0, 0, 0, 0);
        }
        if self.transitions.len() == VIEW_TRANSITIONS {
            self.transitions.pop_front();
        }
        self.transitions.push_back(change.clone());
        change
    }

    /// Frees the permits of probes whose lease expired. May also close the breaker: a changed policy can need fewer
    /// successes than there were.
    fn settle_half_open(&mut self, now: Stamp) {
        if self.state != State::HalfOpen {
            return;
        }
        while self.probes.front().is_some_and(|(_, granted)| self.lease_expired(*granted, now)) {
            self.probes.pop_front();
        }
        let _ = self.close_if_healthy(now);
    }

    fn lease_expired(&self, granted: Stamp, now: Stamp) -> bool {
        now.since(granted) >= self.policy.probe_timeout
    }

    /// Frees the permit of this number. Returns whether it was in use.
    fn free_permit(&mut self, number: u64) -> bool {
        let place = self.probes.iter().position(|(probe, _)| *probe == number);
        place.and_then(|place| self.probes.remove(place)).is_some()
    }

    fn permits(&self) -> u32 {
        self.policy.half_open_calls.max(1)
    }

    fn permits_taken(&self) -> u32 {
        self.successes + self.probes.len() as u32
    }

    /// Returns the length of this open period.
    fn open_for(&self) -> Duration {
        let policy = &self.policy;
        let longest = policy.open_for_max.max(policy.open_for);
        let times = policy.open_factor.max(1.0).powi(self.openings.saturating_sub(1).min(1000) as i32);
        Duration::try_from_secs_f64(policy.open_for.as_secs_f64() * times).unwrap_or(longest).min(longest)
    }

    /// Returns how many calls at the front of the window have expired.
    fn expired(&self, now: Stamp) -> usize {
        let surplus = |most: usize| self.window.len().saturating_sub(most.clamp(1, MOST_CALLS));
        match self.policy.window {
            Window::Calls(calls) => surplus(calls as usize),
            Window::Time(time) => {
                let old = self.window.iter().take_while(|(at, _)| now.since(*at) >= time).count();
                old.max(surplus(MOST_CALLS))
            }
        }
    }

    pub(super) fn drop_expired(&mut self, now: Stamp) {
        for (_, cell) in self.window.drain(..self.expired(now)) {
            self.failures -= u32::from(cell.failed());
            self.slow -= u32::from(cell.slow());
        }
    }

    /// Returns the minimum_calls_in_window number of calls before a rate counts, at most the capacity of the window.
    fn minimum_calls_in_window(&self) -> u32 {
        let holds = match self.policy.window {
            Window::Calls(calls) => calls.clamp(1, MOST_CALLS as u32),
            Window::Time(_) => MOST_CALLS as u32,
        };
        self.policy.minimum_calls.clamp(1, holds)
    }
}

impl Cell {
    /// Returns whether the call failed.
    pub fn failed(self) -> bool {
        matches!(self, Cell::Failure | Cell::SlowFailure)
    }

    /// Returns whether the call was slow.
    pub fn slow(self) -> bool {
        matches!(self, Cell::Slow | Cell::SlowFailure)
    }
}

pub(super) fn share(count: u32, of: u32) -> f64 {
    if of == 0 { 0.0 } else { f64::from(count) / f64::from(of) }
}
