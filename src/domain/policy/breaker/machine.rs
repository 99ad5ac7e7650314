//! The state machine of a breaker.

use std::{collections::VecDeque, time::Duration};

use super::{Admission, BreakerOverride, BreakerPolicy, BreakerView, Cell, Refusal, State, Transition, Window};
use crate::domain::{
    policy::verdict::Verdict,
    time::{Stamp, short},
};

/// The most calls that a window holds, whatever its policy says.
pub const MOST_CALLS: usize = 4096;
/// Calls of the window that a view shows.
const SHOWN_CALLS: usize = 64;
/// Changes of state that are remembered.
const SHOWN_CHANGES: usize = 20;

/// A circuit breaker. Pure: whoever asks passes the time, which never goes back.
///
/// Every admission is given back by [`Breaker::record`] or [`Breaker::release`]; one that is lost takes a place in
/// half-open for no longer than [`BreakerPolicy::probe_timeout`]. Constant time per call, on average.
#[derive(Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    /// Goes up with every change of state and every order: what was admitted before moves nothing.
    generation: u64,
    state: State,
    since: Stamp,
    reason: String,
    held: Option<BreakerOverride>,
    window: VecDeque<(Stamp, Cell)>,
    failures: u32,
    slow: u32,
    consecutive: u32,
    /// How many of those were connections that could not be made.
    unreached: u32,
    /// It is open because of such alone.
    no_way: bool,
    /// When an open breaker lets a probe through; `None` while it is held open.
    until: Option<Stamp>,
    openings: u32,
    refused: u64,
    /// The places taken in half-open, oldest first, with when each was given.
    probes: VecDeque<(u64, Stamp)>,
    /// Number of the last place given in half-open.
    numbered: u64,
    /// Probes that came back well since it became half-open.
    successes: u32,
    transitions: VecDeque<Transition>,
}

impl Breaker {
    /// A closed breaker that has counted nothing.
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
            unreached: 0,
            no_way: false,
            until: None,
            openings: 0,
            refused: 0,
            probes: VecDeque::new(),
            numbered: 0,
            successes: 0,
            transitions: VecDeque::new(),
        }
    }

    /// The policy.
    pub fn policy(&self) -> &BreakerPolicy {
        &self.policy
    }

    /// Changes the policy; state and window stay. One that is switched off closes and forgets everything but its changes,
    /// holds included; that is a change, if it was not closed. A time that it is already open for stays as it was set.
    pub fn set_policy(&mut self, policy: BreakerPolicy, now: Stamp) -> Option<Transition> {
        if !self.policy.enabled || policy.enabled {
            self.policy = policy;
            return None;
        }
        self.held = None;
        let change = (self.state != State::Closed).then(|| self.close("switched off".into(), now));
        let (generation, since, reason) = (self.generation + 1, self.since, std::mem::take(&mut self.reason));
        let transitions = std::mem::take(&mut self.transitions);
        *self = Breaker { generation, numbered: self.numbered, since, reason, transitions, ..Breaker::new(policy) };
        change
    }

    /// Lets a call through, or says why not. An open breaker whose time is over becomes half-open by being asked.
    ///
    /// Half-open lets [`BreakerPolicy::half_open_calls`] through in all until they decide; one that came back
    /// neutral, or that is out for longer than the probe timeout, gives its place to another.
    pub fn admit(&mut self, now: Stamp) -> Result<Admission, Refusal> {
        if !self.policy.enabled {
            return Ok(Admission { generation: self.generation, probe: None });
        }
        if self.state == State::Open && self.until.is_some_and(|until| now >= until) {
            let after = format!("open for {}, asking again", short(now.since(self.since)));
            self.turn(State::HalfOpen, after, now);
        }
        self.settle_half_open(now);
        match self.state {
            State::Closed => Ok(Admission { generation: self.generation, probe: None }),
            State::HalfOpen if self.places_taken() < self.places() => {
                self.numbered += 1;
                self.probes.push_back((self.numbered, now));
                Ok(Admission { generation: self.generation, probe: Some(self.numbered) })
            }
            State::HalfOpen | State::Open => {
                self.refused += 1;
                Err(self.refusal())
            }
        }
    }

    fn refusal(&self) -> Refusal {
        Refusal { state: self.state, since: self.since, reason: self.reason.clone(), next_probe: self.next_probe() }
    }

    /// Says what [`Breaker::admit`] would, and changes nothing.
    pub fn peek(&self, now: Stamp) -> Result<(), Refusal> {
        let passes = match self.state {
            _ if !self.policy.enabled => true,
            State::Closed => true,
            State::Open => self.until.is_some_and(|until| now >= until),
            State::HalfOpen => {
                let out = self.probes.iter().filter(|(_, given)| !self.overdue(*given, now)).count() as u32;
                out + self.successes < self.places()
            }
        };
        if passes { Ok(()) } else { Err(self.refusal()) }
    }

    /// Takes in how an admitted call went. `why` is the failure in words, `took` how long it took.
    ///
    /// Neutral gives the place back and counts nothing. What was admitted before the last change of state, or is out
    /// for longer than the probe timeout in half-open, moves nothing.
    pub fn record(&mut self, admission: Admission, verdict: Verdict, took: Duration, why: &str, now: Stamp) -> Option<Transition> {
        if !self.policy.enabled || admission.generation != self.generation {
            return None;
        }
        self.settle_half_open(now);
        match (self.state, admission.probe) {
            (State::Closed, _) => self.record_closed(verdict, took, why, now),
            (State::HalfOpen, Some(number)) if self.give_back(number) => self.record_probe(verdict, took, why, now),
            _ => None,
        }
    }

    /// A connection could not be made, which no call asked for. Counts like a failed call while closed; while open, and its
    /// time over, like a failed probe; else nothing.
    pub fn unreachable(&mut self, why: &str, now: Stamp) -> Option<Transition> {
        if !self.policy.enabled {
            return None;
        }
        match self.state {
            State::Closed => {
                self.unreached = self.unreached.saturating_add(1);
                let opened = self.record_closed(Verdict::Failure, Duration::ZERO, why, now);
                // Every failure that counts, in a row or in the window, was one of these.
                self.no_way = opened.is_some() && self.unreached == self.consecutive && self.failures <= self.unreached;
                opened
            }
            State::Open if self.until.is_some_and(|until| now >= until) => {
                let no_way = self.no_way;
                self.turn(State::HalfOpen, format!("open for {}, connecting again", short(now.since(self.since))), now);
                let opened = self.open(format!("no connection: {why}"), now);
                self.no_way = no_way;
                Some(opened)
            }
            State::Open | State::HalfOpen => None,
        }
    }

    /// A connection was made. It takes back a row of failures that were connections alone, and closes a breaker that is
    /// open because of such alone: the handshake was its probe. What calls failed, calls have to mend.
    pub fn reachable(&mut self, now: Stamp) -> Option<Transition> {
        if self.state == State::Closed && self.unreached == self.consecutive {
            // They are the last of the window, as far as it still holds them.
            for _ in 0..self.unreached {
                let Some((_, cell)) = self.window.pop_back() else { break };
                self.failures -= u32::from(cell.failed());
                self.slow -= u32::from(cell.slow());
            }
            (self.unreached, self.consecutive) = (0, 0);
        }
        let mended = self.state == State::Open && self.no_way && self.held.is_none();
        mended.then(|| self.close("it is connected again".into(), now))
    }

    /// Takes an admission back whose call never came to anything: the place is free, nothing is counted.
    pub fn release(&mut self, admission: Admission, now: Stamp) {
        let _ = self.record(admission, Verdict::Neutral, Duration::ZERO, "", now);
    }

    /// Does what a person says. `None` when that changes nothing, as with a breaker that is switched off.
    pub fn order(&mut self, order: BreakerOverride, now: Stamp) -> Option<Transition> {
        if !self.policy.enabled {
            return None;
        }
        let held = matches!(order, BreakerOverride::HoldOpen | BreakerOverride::HoldClosed).then_some(order);
        let to = if matches!(order, BreakerOverride::Trip | BreakerOverride::HoldOpen) { State::Open } else { State::Closed };
        let nothing = self.state == to && self.held == held && matches!(order, BreakerOverride::HoldOpen | BreakerOverride::HoldClosed);
        if nothing {
            return None;
        }
        self.held = held;
        let reason = match order {
            BreakerOverride::Trip => "tripped by hand",
            BreakerOverride::HoldOpen => "held open by hand",
            BreakerOverride::HoldClosed => "held closed by hand",
            BreakerOverride::Reset => "reset by hand",
        };
        let change = match to {
            State::Open => self.open(reason.into(), now),
            _ => self.close(reason.into(), now),
        };
        Some(change)
    }

    /// When an open breaker lets the next probe through; `None` while it does not wait for that.
    pub fn next_probe(&self) -> Option<Stamp> {
        self.until.filter(|_| self.state == State::Open)
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The breaker as shown.
    pub fn view(&self, now: Stamp) -> BreakerView {
        let gone = self.aged(now);
        let (mut failures, mut slow) = (self.failures, self.slow);
        for (_, cell) in self.window.iter().take(gone) {
            failures -= u32::from(cell.failed());
            slow -= u32::from(cell.slow());
        }
        let calls = (self.window.len() - gone) as u32;
        let enough = calls >= self.minimum();
        let shown = self.window.len().saturating_sub(SHOWN_CALLS).max(gone);
        BreakerView {
            state: self.state,
            since: self.since,
            reason: self.reason.clone(),
            held: self.held,
            cells: self.window.iter().skip(shown).map(|(_, cell)| *cell).collect(),
            calls,
            failure_rate: enough.then(|| share(failures, calls)),
            slow_rate: enough.then(|| share(slow, calls)),
            consecutive: self.consecutive,
            next_probe: self.next_probe(),
            probing: self.probes.iter().filter(|(_, given)| !self.overdue(*given, now)).count() as u32,
            openings: self.openings,
            refused: self.refused,
            transitions: self.transitions.iter().cloned().collect(),
        }
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
        self.unreached = self.unreached.min(self.consecutive);
        self.window.push_back((now, cell));
        self.failures += u32::from(cell.failed());
        self.slow += u32::from(cell.slow());
        self.forget_old(now);
        if self.held.is_some() {
            return None;
        }
        // A call that went well may be the one that makes enough for a share.
        let reason = self.too_much(if cell.failed() { why } else { "" })?;
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
                self.healed(now)
            }
        }
    }

    /// Why what is counted is too much; `None` when it is not.
    fn too_much(&self, why: &str) -> Option<String> {
        let policy = &self.policy;
        let last = if why.is_empty() { String::new() } else { format!(", the last: {why}") };
        if policy.consecutive > 0 && self.consecutive >= policy.consecutive {
            return Some(if self.consecutive == 1 {
                format!("a failure: {why}")
            } else {
                format!("{} failures in a row{last}", self.consecutive)
            });
        }
        let calls = self.window.len() as u32;
        if calls < self.minimum() {
            return None;
        }
        let over = |count: u32, limit: f64| limit > 0.0 && share(count, calls) >= limit;
        if over(self.failures, policy.failure_rate) {
            return Some(format!("{} of {calls} calls failed{last}", self.failures));
        }
        if over(self.slow, policy.slow_rate) {
            return Some(format!("{} of {calls} calls took {} or longer", self.slow, short(policy.slow_call)));
        }
        None
    }

    fn open(&mut self, reason: String, now: Stamp) -> Transition {
        match self.state {
            State::Closed => (self.openings, self.refused) = (1, 0),
            State::HalfOpen => self.openings = self.openings.saturating_add(1),
            State::Open => {}
        }
        let change = self.turn(State::Open, reason, now);
        self.until = if self.held.is_some() { None } else { Some(now.plus(self.open_for())) };
        change
    }

    fn close(&mut self, reason: String, now: Stamp) -> Transition {
        (self.openings, self.refused, self.until) = (0, 0, None);
        self.turn(State::Closed, reason, now)
    }

    /// Closes when enough probes came back well.
    fn healed(&mut self, now: Stamp) -> Option<Transition> {
        let enough = self.state == State::HalfOpen && self.successes >= self.places();
        let reason = match self.successes {
            1 => "the probe succeeded".to_owned(),
            n => format!("{n} probes succeeded"),
        };
        enough.then(|| self.close(reason, now))
    }

    /// Changes the state; what was admitted before no longer counts. What opened it stays in the window to be seen
    /// until it closes.
    fn turn(&mut self, to: State, reason: String, now: Stamp) -> Transition {
        let change = Transition { at: now, from: self.state, to, reason: reason.clone() };
        self.generation += 1;
        (self.state, self.since, self.reason) = (to, now, reason);
        self.probes.clear();
        self.successes = 0;
        self.no_way = false;
        if to == State::Closed {
            self.window.clear();
            (self.failures, self.slow, self.consecutive, self.unreached) = (0, 0, 0, 0);
        }
        if self.transitions.len() == SHOWN_CHANGES {
            self.transitions.pop_front();
        }
        self.transitions.push_back(change.clone());
        change
    }

    /// Takes back the places of probes that are out for too long. Fewer places may also be asked for than probes
    /// have come back well by now, when the policy changed.
    fn settle_half_open(&mut self, now: Stamp) {
        if self.state != State::HalfOpen {
            return;
        }
        while self.probes.front().is_some_and(|(_, given)| self.overdue(*given, now)) {
            self.probes.pop_front();
        }
        let _ = self.healed(now);
    }

    fn overdue(&self, given: Stamp, now: Stamp) -> bool {
        now.since(given) >= self.policy.probe_timeout
    }

    /// Frees the place of this number; whether it was taken.
    fn give_back(&mut self, number: u64) -> bool {
        let place = self.probes.iter().position(|(probe, _)| *probe == number);
        place.and_then(|place| self.probes.remove(place)).is_some()
    }

    fn places(&self) -> u32 {
        self.policy.half_open_calls.max(1)
    }

    fn places_taken(&self) -> u32 {
        self.successes + self.probes.len() as u32
    }

    /// How long this opening lasts.
    fn open_for(&self) -> Duration {
        let policy = &self.policy;
        let longest = policy.open_for_max.max(policy.open_for);
        let times = policy.open_factor.max(1.0).powi(self.openings.saturating_sub(1).min(1000) as i32);
        Duration::try_from_secs_f64(policy.open_for.as_secs_f64() * times).unwrap_or(longest).min(longest)
    }

    /// Calls at the front of the window that are no longer in it.
    fn aged(&self, now: Stamp) -> usize {
        let surplus = |most: usize| self.window.len().saturating_sub(most.clamp(1, MOST_CALLS));
        match self.policy.window {
            Window::Calls(calls) => surplus(calls as usize),
            Window::Time(time) => {
                let old = self.window.iter().take_while(|(at, _)| now.since(*at) >= time).count();
                old.max(surplus(MOST_CALLS))
            }
        }
    }

    fn forget_old(&mut self, now: Stamp) {
        for (_, cell) in self.window.drain(..self.aged(now)) {
            self.failures -= u32::from(cell.failed());
            self.slow -= u32::from(cell.slow());
        }
    }

    /// Fewest calls before a rate counts; no more than the window holds.
    fn minimum(&self) -> u32 {
        let holds = match self.policy.window {
            Window::Calls(calls) => calls.clamp(1, MOST_CALLS as u32),
            Window::Time(_) => MOST_CALLS as u32,
        };
        self.policy.minimum_calls.clamp(1, holds)
    }
}

impl Cell {
    /// Whether the call failed.
    pub fn failed(self) -> bool {
        matches!(self, Cell::Failure | Cell::SlowFailure)
    }

    /// Whether the call was slow.
    pub fn slow(self) -> bool {
        matches!(self, Cell::Slow | Cell::SlowFailure)
    }
}

fn share(count: u32, of: u32) -> f64 {
    if of == 0 { 0.0 } else { f64::from(count) / f64::from(of) }
}
