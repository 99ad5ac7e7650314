//! Compares the breaker with a simple reference model that records every call and recomputes all counts each time.

use std::sync::{Arc, Barrier, Mutex};

use super::*;
use crate::domain::policy::verdict::Verdict;

/// The reference model. A period lasts from one state change to the next.
#[derive(Default)]
struct Model {
    policy: BreakerPolicy,
    period: u64,
    state: State,
    since: u64,
    held: Option<BreakerOverride>,
    /// Every call counted since the breaker last closed.
    calls: Vec<Call>,
    /// Whether the breaker opened because of failed connections only.
    connections_only: bool,
    /// Whether a user opened it.
    manual: bool,
    open_until: Option<u64>,
    openings: u32,
    refused: u64,
    /// Every probe of this period: number, time of the grant, and its result, if any.
    probes: Vec<(u64, u64, Option<Verdict>)>,
    last_probe: u64,
}

/// A counted call, or a failed connection.
#[derive(Clone, Copy)]
struct Call {
    at: u64,
    failed: bool,
    slow: bool,
    connection: bool,
}

/// An admission by the model: the period, and the number of the probe.
type Ticket = (u64, Option<u64>);

impl Model {
    fn enter(&mut self, state: State, now: u64) {
        self.period += 1;
        (self.state, self.since) = (state, now);
        self.probes.clear();
        (self.connections_only, self.manual) = (false, false);
        if state == State::Closed {
            self.calls.clear();
            (self.openings, self.refused, self.open_until) = (0, 0, None);
        }
    }

    fn open(&mut self, now: u64) {
        match self.state {
            State::Closed => (self.openings, self.refused) = (1, 0),
            State::HalfOpen => self.openings += 1,
            State::Open => {}
        }
        self.enter(State::Open, now);
        let mut open = self.policy.open_for.as_nanos() as f64;
        for _ in 1..self.openings {
            open *= self.policy.open_factor;
        }
        let open = open.min(self.policy.open_for_max.as_nanos() as f64).round() as u64;
        self.open_until = self.held.is_none().then(|| now + open);
    }

    fn successful_probes(&self) -> usize {
        self.probes.iter().filter(|(.., end)| *end == Some(Verdict::Success)).count()
    }

    fn in_flight(&self, now: u64) -> usize {
        let probe_timeout = self.policy.probe_timeout.as_nanos() as u64;
        self.probes.iter().filter(|(_, granted, end)| end.is_none() && now - granted < probe_timeout).count()
    }

    fn admit(&mut self, now: u64) -> Result<Ticket, Option<u64>> {
        if self.state == State::Open && self.open_until.is_some_and(|until| until <= now) {
            self.enter(State::HalfOpen, now);
        }
        match self.state {
            State::Closed => Ok((self.period, None)),
            State::HalfOpen if self.successful_probes() + self.in_flight(now) < self.policy.half_open_calls as usize => {
                self.last_probe += 1;
                self.probes.push((self.last_probe, now, None));
                Ok((self.period, Some(self.last_probe)))
            }
            state => {
                self.refused += 1;
                Err(self.open_until.filter(|_| state == State::Open))
            }
        }
    }

    /// Returns the calls in the window at `now`, oldest first.
    fn window(&self, now: u64) -> Vec<Call> {
        match self.policy.window {
            Window::Calls(calls) => self.calls.iter().rev().take(calls as usize).rev().copied().collect(),
            Window::Time(time) => self.calls.iter().filter(|call| now - call.at < time.as_nanos() as u64).copied().collect(),
        }
    }

    fn rates(&self, now: u64) -> (u32, Option<f64>, Option<f64>) {
        let window = self.window(now);
        let most = if let Window::Calls(calls) = self.policy.window { calls } else { u32::MAX };
        let enough = window.len() >= self.policy.minimum_calls.min(most).max(1) as usize;
        let rate = |count: usize| enough.then(|| count as f64 / window.len() as f64);
        let failed = rate(window.iter().filter(|call| call.failed).count());
        (window.len() as u32, failed, rate(window.iter().filter(|call| call.slow).count()))
    }

    fn trailing_failures(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().rev().take_while(|call| call.failed)
    }

    fn consecutive(&self) -> u32 {
        self.trailing_failures().count() as u32
    }

    /// Counts a call or a failed connection.
    fn count(&mut self, call: Call, now: u64) {
        self.calls.push(call);
        let (_, failed, slow) = self.rates(now);
        let reaches = |rate: Option<f64>, limit: f64| limit > 0.0 && rate.is_some_and(|rate| rate >= limit);
        let row = self.policy.consecutive > 0 && self.consecutive() >= self.policy.consecutive;
        if self.held.is_none() && (row || reaches(failed, self.policy.failure_rate) || reaches(slow, self.policy.slow_rate)) {
            let failures = self.window(now).iter().filter(|call| call.failed).count();
            let connections_only =
                call.connection && self.trailing_failures().all(|call| call.connection) && failures <= self.trailing_failures().count();
            self.open(now);
            self.connections_only = connections_only;
        }
    }

    fn unreachable(&mut self, now: u64) {
        match self.state {
            State::Closed => self.count(Call { at: now, failed: true, slow: false, connection: true }, now),
            State::Open if self.open_until.is_some_and(|until| until <= now) => {
                let connections_only = self.connections_only;
                self.enter(State::HalfOpen, now);
                self.open(now);
                self.connections_only = connections_only;
            }
            _ => {}
        }
    }

    fn reachable(&mut self, now: u64) {
        if self.state == State::Closed && self.trailing_failures().all(|call| call.connection) {
            let row = self.trailing_failures().count();
            self.calls = self.window(now);
            self.calls.truncate(self.calls.len().saturating_sub(row));
        }
        if self.state == State::Open && self.held.is_none() && !self.manual {
            self.enter(if self.connections_only { State::Closed } else { State::HalfOpen }, now);
        }
    }

    fn admit_bypassing(&mut self, now: u64) -> Option<Ticket> {
        let passes = match self.state {
            State::Closed => true,
            State::Open => self.open_until.is_some_and(|until| until <= now),
            State::HalfOpen => self.successful_probes() + self.in_flight(now) < self.policy.half_open_calls as usize,
        };
        if passes {
            return self.admit(now).ok();
        }
        (self.held != Some(BreakerOverride::HoldOpen)).then_some((self.period, None))
    }

    fn record(&mut self, (period, probe): Ticket, verdict: Verdict, took: Duration, now: u64) -> Option<(State, State)> {
        if period != self.period {
            return None;
        }
        let (before, slow) = (self.state, took >= self.policy.slow_call);
        match (before, probe) {
            (State::Closed, _) if verdict != Verdict::Neutral => {
                self.count(Call { at: now, failed: verdict == Verdict::Failure, slow, connection: false }, now);
            }
            (State::HalfOpen, Some(number)) => {
                let probe_timeout = self.policy.probe_timeout.as_nanos() as u64;
                let probe = self
                    .probes
                    .iter_mut()
                    .find(|(probe, granted, end)| *probe == number && end.is_none() && now - granted < probe_timeout)?;
                let slow = slow && self.policy.slow_rate > 0.0 && verdict == Verdict::Success;
                let verdict = if slow { Verdict::Failure } else { verdict };
                probe.2 = Some(verdict);
                if verdict == Verdict::Failure {
                    self.open(now);
                } else if self.successful_probes() >= self.policy.half_open_calls as usize {
                    self.enter(State::Closed, now);
                }
            }
            (State::Open | State::HalfOpen, None) if verdict == Verdict::Success && !(slow && self.policy.slow_rate > 0.0) => {
                if before == State::Open {
                    self.enter(State::HalfOpen, now);
                }
                // A success without a permit.
                self.probes.push((0, now, Some(Verdict::Success)));
                if self.successful_probes() >= self.policy.half_open_calls as usize {
                    self.enter(State::Closed, now);
                }
                let from = if before == State::Open && self.state == State::Closed { State::HalfOpen } else { before };
                return (from != self.state).then_some((from, self.state));
            }
            _ => {}
        }
        (before != self.state).then_some((before, self.state))
    }

    fn apply_override(&mut self, order: BreakerOverride, now: u64) -> bool {
        let unchanged = self.held == Some(order);
        if unchanged {
            return false;
        }
        self.held = [BreakerOverride::HoldOpen, BreakerOverride::HoldClosed].contains(&order).then_some(order);
        match order {
            BreakerOverride::Trip | BreakerOverride::HoldOpen => {
                self.open(now);
                self.manual = true;
            }
            BreakerOverride::HoldClosed | BreakerOverride::Reset => self.enter(State::Closed, now),
        }
        true
    }

    fn assert_shows(&self, view: &BreakerView, now: u64) {
        let (calls, failed, slow) = self.rates(now);
        let cells: Vec<(bool, bool)> = self.window(now).iter().map(|call| (call.failed, call.slow)).collect();
        let shown: Vec<(bool, bool)> = view.cells.iter().map(|cell| (cell.failed(), cell.slow())).collect();
        assert_eq!(shown, cells[cells.len().saturating_sub(64)..]);
        assert_eq!((view.calls, view.failure_rate, view.slow_rate), (calls, failed, slow));
        assert_eq!(
            (view.held, view.openings, view.refused, view.consecutive),
            (self.held, self.openings, self.refused, self.consecutive())
        );
        assert_eq!((view.since, view.probing as usize), (Stamp(self.since), self.in_flight(now)));
    }
}

fn any_policy(random: &mut fastrand::Rng) -> BreakerPolicy {
    let ms = Duration::from_millis;
    BreakerPolicy {
        enabled: true,
        consecutive: random.u32(0..6),
        failure_rate: [0.0, 0.25, 0.5, 1.0][random.usize(0..4)],
        slow_rate: [0.0, 0.0, 0.5, 1.0][random.usize(0..4)],
        slow_call: ms(50),
        window: if random.bool() { Window::Calls(random.u32(1..25)) } else { Window::Time(ms(random.u64(1..400))) },
        minimum_calls: random.u32(0..12),
        open_for: ms(random.u64(1..100)),
        open_factor: [1.0, 2.0, 3.0][random.usize(0..3)],
        open_for_max: ms(300),
        half_open_calls: random.u32(1..5),
        probe: Probe::Live,
        probe_timeout: ms(random.u64(5..200)),
    }
}

/// Runs a breaker and its model through `steps` random steps and compares them.
fn side_by_side(seed: u64, steps: u32) {
    let mut random = fastrand::Rng::with_seed(seed);
    let policy = any_policy(&mut random);
    let mut model = Model { policy: policy.clone(), ..Model::default() };
    let mut breaker = Breaker::new(policy);
    let mut in_flight: Vec<(Admission, Ticket)> = vec![];
    let mut now = 0;
    for step in 0..steps {
        now += random.u64(0..20_000_000);
        let stamp = Stamp(now);
        match random.u32(0..100) {
            0..4 => {
                let (admission, ticket) = (breaker.admit_bypassing(stamp), model.admit_bypassing(now));
                assert_eq!(admission.is_some(), ticket.is_some(), "seed {seed} step {step}");
                in_flight.extend(admission.zip(ticket));
            }
            4..47 => match (breaker.admit(stamp), model.admit(now)) {
                (Ok(admission), Ok(ticket)) => {
                    assert_eq!(admission.probe.is_some(), ticket.1.is_some(), "seed {seed} step {step}");
                    in_flight.push((admission, ticket));
                }
                (Err(refusal), Err(next)) => {
                    assert_eq!((refusal.since, refusal.next_probe), (Stamp(model.since), next.map(Stamp)), "seed {seed} step {step}");
                }
                other => panic!("seed {seed} step {step}: {other:?}"),
            },
            // An unreachable server stays unreachable for a while.
            47 if random.bool() => {
                for n in 0..random.u32(1..6) {
                    let change = breaker.unreachable("refused", stamp).map(|change| change.to);
                    let before = model.state;
                    model.unreachable(now);
                    let reopened = before == State::Open && model.since == now;
                    let wanted = (before != model.state || reopened).then_some(model.state);
                    // The model does not distinguish two openings at the same moment.
                    assert!(change == wanted || n > 0, "seed {seed} step {step}: {change:?}");
                }
            }
            48 => {
                let before = model.state;
                model.reachable(now);
                let change = breaker.reachable(stamp).map(|change| (change.from, change.to));
                assert_eq!(change, (before != model.state).then_some((before, model.state)), "seed {seed} step {step}");
            }
            49..97 if !in_flight.is_empty() => {
                // Late responses arise from the random choice of the admission to record.
                let (admission, ticket) = in_flight.swap_remove(random.usize(0..in_flight.len()));
                let verdict =
                    [Verdict::Success, Verdict::Failure, Verdict::Success, Verdict::Failure, Verdict::Neutral][random.usize(0..5)];
                let took = Duration::from_millis(random.u64(0..70));
                if verdict == Verdict::Neutral && random.bool() {
                    breaker.release(admission, stamp);
                    assert_eq!(model.record(ticket, verdict, took, now), None);
                } else {
                    let change = breaker.record(admission, verdict, took, "why", stamp).map(|change| (change.from, change.to));
                    assert_eq!(change, model.record(ticket, verdict, took, now), "seed {seed} step {step}");
                }
            }
            97..99 => drop((!in_flight.is_empty()).then(|| in_flight.swap_remove(random.usize(0..in_flight.len())))),
            99 if random.u32(0..4) == 0 => {
                let order = [
                    BreakerOverride::Trip,
                    BreakerOverride::HoldOpen,
                    BreakerOverride::HoldClosed,
                    BreakerOverride::Reset,
                    BreakerOverride::Reset,
                ][random.usize(0..5)];
                assert_eq!(breaker.apply_override(order, stamp).is_some(), model.apply_override(order, now), "seed {seed} step {step}");
            }
            _ => {}
        }
        assert_eq!(breaker.state(), model.state, "seed {seed} step {step}");
        if step % 8 == 0 {
            model.assert_shows(&breaker.view(stamp), now);
            model.calls.drain(..model.calls.len().saturating_sub(400));
        }
    }
}

#[test]
fn equal_to_the_model_over_a_million_random_steps() {
    for seed in 0..2000 {
        side_by_side(seed, 500);
    }
}

fn at(ms: u64) -> Stamp {
    Stamp(ms * 1_000_000)
}

fn fail(breaker: &mut Breaker, times: u32, now: Stamp) -> Option<Transition> {
    (0..times).filter_map(|_| breaker.admit(now).ok().and_then(|a| breaker.record(a, Verdict::Failure, Duration::ZERO, "gone", now))).last()
}

#[test]
fn half_open_admits_exactly_its_limit_under_concurrency_and_leaks_no_permit() {
    let permits = 3;
    let mut breaker = Breaker::new(BreakerPolicy { half_open_calls: permits, ..BreakerPolicy::default() });
    assert_eq!(fail(&mut breaker, 5, at(0)).map(|change| change.to), Some(State::Open));
    let breaker = Arc::new(Mutex::new(breaker));
    // Several rounds, since all admissions are returned each time.
    for round in 0..20 {
        let gate = Arc::new(Barrier::new(16));
        let asking = |_| {
            let (breaker, gate) = (breaker.clone(), gate.clone());
            std::thread::spawn(move || {
                gate.wait();
                breaker.lock().unwrap().admit(at(30_000 + round)).ok()
            })
        };
        let threads: Vec<_> = (0..16).map(asking).collect();
        let admitted: Vec<Admission> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(admitted.len(), permits as usize);
        for admission in admitted {
            breaker.lock().unwrap().release(admission, at(30_000 + round));
        }
        assert_eq!(breaker.lock().unwrap().view(at(30_000 + round)).probing, 0);
    }
}

#[test]
fn opens_backs_off_and_closes_with_reasons() {
    let mut breaker = Breaker::new(BreakerPolicy::default());
    let opened = fail(&mut breaker, 5, at(1000)).unwrap();
    assert_eq!((opened.from, opened.to, &*opened.reason), (State::Closed, State::Open, "5 consecutive failures, last: gone"));
    let refusal = breaker.admit(at(2000)).unwrap_err();
    assert_eq!((refusal.since, refusal.next_probe), (at(1000), Some(at(31_000))));
    // The probe fails: the open period doubles. Then the probe succeeds.
    fail(&mut breaker, 1, at(31_000)).unwrap();
    assert_eq!(breaker.next_probe(), Some(at(91_000)));
    let probe = breaker.admit(at(91_000)).unwrap();
    assert!(breaker.admit(at(91_001)).unwrap_err().next_probe.is_none(), "one probe at a time");
    let closed = breaker.record(probe, Verdict::Success, Duration::ZERO, "", at(91_100)).unwrap();
    assert_eq!((closed.to, &*closed.reason), (State::Closed, "the probe succeeded"));
    // Starts over.
    fail(&mut breaker, 5, at(92_000)).unwrap();
    assert_eq!(breaker.next_probe(), Some(at(122_000)));
    let reasons: Vec<String> = breaker.view(at(92_000)).transitions.into_iter().map(|change| change.reason).collect();
    assert_eq!(reasons.len(), 6);
    assert_eq!(reasons[3], "open for 1 m 00 s, probing");
}

#[test]
fn a_late_response_changes_nothing_and_a_lost_probe_frees_its_permit() {
    let mut breaker = Breaker::new(BreakerPolicy::default());
    let old = breaker.admit(at(0)).unwrap();
    fail(&mut breaker, 5, at(1)).unwrap();
    let lost = breaker.admit(at(30_001)).unwrap();
    assert_eq!(breaker.record(old, Verdict::Failure, Duration::ZERO, "late", at(30_002)), None);
    assert!(breaker.admit(at(30_003)).is_err());
    let next = breaker.admit(at(30_001 + 90_000)).unwrap();
    assert_eq!(breaker.record(lost, Verdict::Failure, Duration::ZERO, "late", at(120_002)), None);
    assert_eq!(breaker.record(next, Verdict::Success, Duration::ZERO, "", at(120_003)).unwrap().to, State::Closed);
}

#[test]
fn a_policy_change_wedges_nothing() {
    let mut breaker = Breaker::new(BreakerPolicy { half_open_calls: 3, ..BreakerPolicy::default() });
    fail(&mut breaker, 5, at(0)).unwrap();
    let probe = breaker.admit(at(30_000)).unwrap();
    assert_eq!(breaker.record(probe, Verdict::Success, Duration::ZERO, "", at(30_001)), None);
    assert_eq!(breaker.set_policy(BreakerPolicy::default(), at(0)), None);
    assert!(breaker.admit(at(30_002)).is_ok(), "one success is enough now");
    assert_eq!(breaker.state(), State::Closed);
    breaker.apply_override(BreakerOverride::HoldOpen, at(30_003)).unwrap();
    assert_eq!((breaker.next_probe(), breaker.admit(at(9_000_000)).is_err()), (None, true));
    let off = BreakerPolicy { enabled: false, ..BreakerPolicy::default() };
    let closed = breaker.set_policy(off.clone(), at(9_000_000)).unwrap();
    assert_eq!((closed.from, closed.to, &*closed.reason), (State::Open, State::Closed, "breaker disabled"));
    let view = breaker.view(at(9_000_000));
    assert_eq!(
        (view.state, view.held, view.reason.as_str(), view.transitions.last()),
        (State::Closed, None, "breaker disabled", Some(&closed))
    );
    assert_eq!(breaker.set_policy(off, at(9_000_001)), None, "it is off");
    assert!(breaker.admit(at(9_000_001)).is_ok());
    let huge = BreakerPolicy { open_factor: f64::MAX, failure_rate: f64::NAN, ..BreakerPolicy::default() };
    breaker.set_policy(huge, at(0));
    for round in 1..10_u64 {
        fail(&mut breaker, 5, at(9_000_002 + round * 400_000)).unwrap();
    }
    assert_eq!(breaker.next_probe(), Some(at(9_000_002 + 9 * 400_000 + 300_000)), "never longer than open_for_max");
}

#[test]
fn failed_connections_open_it_and_a_connection_closes_it() {
    let mut breaker = Breaker::new(BreakerPolicy::default());
    for n in 0..4 {
        assert_eq!(breaker.unreachable("refused", at(n)), None);
    }
    let opened = breaker.unreachable("refused", at(4)).unwrap();
    assert_eq!((opened.to, &*opened.reason), (State::Open, "5 consecutive failures, last: refused"));
    assert_eq!(breaker.unreachable("refused", at(1000)), None, "it is open");
    // Once the open period is over, a connection attempt counts as a probe.
    let unchanged = breaker.unreachable("refused", at(30_004)).unwrap();
    assert_eq!((unchanged.to, &*unchanged.reason, breaker.next_probe()), (State::Open, "no connection: refused", Some(at(90_004))));
    let closed = breaker.reachable(at(31_000)).unwrap();
    assert_eq!((closed.to, &*closed.reason), (State::Closed, "reconnected"));
    // Failed connections before a successful one do not add up.
    for n in 0..100 {
        assert_eq!(breaker.unreachable("refused", at(32_000 + n)), None);
        assert_eq!(breaker.reachable(at(32_000 + n)), None);
    }
    assert_eq!((breaker.view(at(33_000)).calls, breaker.view(at(33_000)).consecutive), (0, 0));
}

#[test]
fn a_connection_half_opens_it_after_failed_calls_and_changes_nothing_while_held() {
    let mut breaker = Breaker::new(BreakerPolicy::default());
    // A program that dies of every call and is restarted each time.
    for n in 0..4 {
        fail(&mut breaker, 1, at(n));
        assert_eq!(breaker.reachable(at(n)), None);
    }
    assert!(breaker.unreachable("refused", at(5)).is_some_and(|change| change.to == State::Open));
    let returned = breaker.reachable(at(6)).unwrap();
    assert_eq!((returned.from, returned.to, &*returned.reason), (State::Open, State::HalfOpen, "reconnected, probing"));
    assert!(fail(&mut breaker, 1, at(6)).is_some_and(|change| change.to == State::Open), "the probe decides");
    breaker.apply_override(BreakerOverride::Trip, at(7));
    assert_eq!((breaker.reachable(at(7)), breaker.state()), (None, State::Open), "opened manually");
    breaker.apply_override(BreakerOverride::HoldOpen, at(7));
    assert_eq!((breaker.unreachable("refused", at(90_000)), breaker.reachable(at(90_001))), (None, None));
    let off = BreakerPolicy { enabled: false, ..BreakerPolicy::default() };
    assert!((0..9).all(|n| Breaker::new(off.clone()).unreachable("refused", at(n)).is_none()));
}

#[test]
fn a_call_that_bypasses_it_counts_only_if_it_succeeds() {
    let mut breaker = Breaker::new(BreakerPolicy { half_open_calls: 2, ..BreakerPolicy::default() });
    fail(&mut breaker, 5, at(0));
    let until = breaker.next_probe();
    let [failed, first, late] = [1, 2, 2].map(|ms| breaker.admit_bypassing(at(ms)).unwrap());
    assert_eq!(breaker.record(failed, Verdict::Failure, Duration::ZERO, "gone", at(3)), None);
    assert_eq!((breaker.state(), breaker.next_probe()), (State::Open, until), "it stays open as long as it would have");
    assert_eq!(breaker.record(first, Verdict::Success, Duration::ZERO, "", at(4)).map(|change| change.to), Some(State::HalfOpen));
    assert_eq!(breaker.record(late, Verdict::Success, Duration::ZERO, "", at(4)), None, "sent before the state changed");
    let probe = breaker.admit_bypassing(at(5)).unwrap();
    assert!(probe.probe.is_some(), "a free permit is taken first");
    assert_eq!(breaker.record(probe, Verdict::Success, Duration::ZERO, "", at(5)).map(|change| change.to), Some(State::Closed));
    breaker.apply_override(BreakerOverride::HoldOpen, at(6));
    assert_eq!(breaker.admit_bypassing(at(99_000)), None);
}
