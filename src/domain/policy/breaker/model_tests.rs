//! The breaker beside a second one, written without looking for speed: it keeps every call and counts anew each time.

use std::sync::{Arc, Barrier, Mutex};

use super::*;
use crate::domain::policy::verdict::Verdict;

/// What the model calls a period: from one change of state to the next.
#[derive(Default)]
struct Model {
    policy: BreakerPolicy,
    period: u64,
    state: State,
    since: u64,
    held: Option<BreakerOverride>,
    /// Every call counted since it was last closed.
    calls: Vec<Call>,
    /// It is open for want of a connection alone.
    no_way: bool,
    open_until: Option<u64>,
    openings: u32,
    refused: u64,
    /// Every probe of this period: number, when it was let out, and how it came back, if it did.
    probes: Vec<(u64, u64, Option<Verdict>)>,
    counted: u64,
}

/// A call that counted, or a connection that could not be made.
#[derive(Clone, Copy)]
struct Call {
    at: u64,
    failed: bool,
    slow: bool,
    connection: bool,
}

/// What the model gives for an admission: the period and the number of the probe.
type Ticket = (u64, Option<u64>);

impl Model {
    fn enter(&mut self, state: State, now: u64) {
        self.period += 1;
        (self.state, self.since) = (state, now);
        self.probes.clear();
        self.no_way = false;
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

    fn good(&self) -> usize {
        self.probes.iter().filter(|(.., end)| *end == Some(Verdict::Success)).count()
    }

    fn out(&self, now: u64) -> usize {
        let probe_timeout = self.policy.probe_timeout.as_nanos() as u64;
        self.probes.iter().filter(|(_, given, end)| end.is_none() && now - given < probe_timeout).count()
    }

    fn admit(&mut self, now: u64) -> Result<Ticket, Option<u64>> {
        if self.state == State::Open && self.open_until.is_some_and(|until| until <= now) {
            self.enter(State::HalfOpen, now);
        }
        match self.state {
            State::Closed => Ok((self.period, None)),
            State::HalfOpen if self.good() + self.out(now) < self.policy.half_open_calls as usize => {
                self.counted += 1;
                self.probes.push((self.counted, now, None));
                Ok((self.period, Some(self.counted)))
            }
            state => {
                self.refused += 1;
                Err(self.open_until.filter(|_| state == State::Open))
            }
        }
    }

    /// The calls in the window at `now`, oldest first.
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

    fn rows(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().rev().take_while(|call| call.failed)
    }

    fn in_a_row(&self) -> u32 {
        self.rows().count() as u32
    }

    /// A call counts, or a connection that could not be made.
    fn count(&mut self, call: Call, now: u64) {
        self.calls.push(call);
        let (_, failed, slow) = self.rates(now);
        let over = |rate: Option<f64>, limit: f64| limit > 0.0 && rate.is_some_and(|rate| rate >= limit);
        let row = self.policy.consecutive > 0 && self.in_a_row() >= self.policy.consecutive;
        if self.held.is_none() && (row || over(failed, self.policy.failure_rate) || over(slow, self.policy.slow_rate)) {
            let failures = self.window(now).iter().filter(|call| call.failed).count();
            let no_way = call.connection && self.rows().all(|call| call.connection) && failures <= self.rows().count();
            self.open(now);
            self.no_way = no_way;
        }
    }

    fn unreachable(&mut self, now: u64) {
        match self.state {
            State::Closed => self.count(Call { at: now, failed: true, slow: false, connection: true }, now),
            State::Open if self.open_until.is_some_and(|until| until <= now) => {
                let no_way = self.no_way;
                self.enter(State::HalfOpen, now);
                self.open(now);
                self.no_way = no_way;
            }
            _ => {}
        }
    }

    fn reachable(&mut self, now: u64) {
        if self.state == State::Closed && self.rows().all(|call| call.connection) {
            let row = self.rows().count();
            self.calls = self.window(now);
            self.calls.truncate(self.calls.len().saturating_sub(row));
        }
        if self.state == State::Open && self.no_way && self.held.is_none() {
            self.enter(State::Closed, now);
        }
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
                let probe =
                    self.probes.iter_mut().find(|(probe, given, end)| *probe == number && end.is_none() && now - given < probe_timeout)?;
                let slow = slow && self.policy.slow_rate > 0.0 && verdict == Verdict::Success;
                let verdict = if slow { Verdict::Failure } else { verdict };
                probe.2 = Some(verdict);
                if verdict == Verdict::Failure {
                    self.open(now);
                } else if self.good() >= self.policy.half_open_calls as usize {
                    self.enter(State::Closed, now);
                }
            }
            _ => {}
        }
        (before != self.state).then_some((before, self.state))
    }

    fn order(&mut self, order: BreakerOverride, now: u64) -> bool {
        let again = self.held == Some(order);
        if again {
            return false;
        }
        self.held = [BreakerOverride::HoldOpen, BreakerOverride::HoldClosed].contains(&order).then_some(order);
        match order {
            BreakerOverride::Trip | BreakerOverride::HoldOpen => self.open(now),
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
        assert_eq!((view.held, view.openings, view.refused, view.consecutive), (self.held, self.openings, self.refused, self.in_a_row()));
        assert_eq!((view.since, view.probing as usize), (Stamp(self.since), self.out(now)));
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

/// One breaker and its model through `steps` random steps.
fn side_by_side(seed: u64, steps: u32) {
    let mut random = fastrand::Rng::with_seed(seed);
    let policy = any_policy(&mut random);
    let mut model = Model { policy: policy.clone(), ..Model::default() };
    let mut breaker = Breaker::new(policy);
    let mut out: Vec<(Admission, Ticket)> = vec![];
    let mut now = 0;
    for step in 0..steps {
        now += random.u64(0..20_000_000);
        let stamp = Stamp(now);
        match random.u32(0..100) {
            0..47 => match (breaker.admit(stamp), model.admit(now)) {
                (Ok(admission), Ok(ticket)) => {
                    assert_eq!(admission.probe.is_some(), ticket.1.is_some(), "seed {seed} step {step}");
                    out.push((admission, ticket));
                }
                (Err(refusal), Err(next)) => {
                    assert_eq!((refusal.since, refusal.next_probe), (Stamp(model.since), next.map(Stamp)), "seed {seed} step {step}");
                }
                other => panic!("seed {seed} step {step}: {other:?}"),
            },
            // A server that cannot be reached cannot be reached for a while.
            47 if random.bool() => {
                for n in 0..random.u32(1..6) {
                    let change = breaker.unreachable("refused", stamp).map(|change| change.to);
                    let before = model.state;
                    model.unreachable(now);
                    let reopened = before == State::Open && model.since == now;
                    let wanted = (before != model.state || reopened).then_some(model.state);
                    // Opened twice at the same moment is not told apart by the model.
                    assert!(change == wanted || n > 0, "seed {seed} step {step}: {change:?}");
                }
            }
            48 => {
                let before = model.state;
                model.reachable(now);
                let change = breaker.reachable(stamp).map(|change| (change.from, change.to));
                assert_eq!(change, (before != model.state).then_some((before, model.state)), "seed {seed} step {step}");
            }
            49..97 if !out.is_empty() => {
                // Late answers come about by themselves: which one is taken is left to chance.
                let (admission, ticket) = out.swap_remove(random.usize(0..out.len()));
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
            97..99 => drop((!out.is_empty()).then(|| out.swap_remove(random.usize(0..out.len())))),
            99 if random.u32(0..4) == 0 => {
                let order = [
                    BreakerOverride::Trip,
                    BreakerOverride::HoldOpen,
                    BreakerOverride::HoldClosed,
                    BreakerOverride::Reset,
                    BreakerOverride::Reset,
                ][random.usize(0..5)];
                assert_eq!(breaker.order(order, stamp).is_some(), model.order(order, now), "seed {seed} step {step}");
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
fn half_open_admits_exactly_its_number_under_concurrency_and_leaks_no_place() {
    let places = 3;
    let mut breaker = Breaker::new(BreakerPolicy { half_open_calls: places, ..BreakerPolicy::default() });
    assert_eq!(fail(&mut breaker, 5, at(0)).map(|change| change.to), Some(State::Open));
    let breaker = Arc::new(Mutex::new(breaker));
    // Several rounds, since all that were let through are taken back each time.
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
        let let_through: Vec<Admission> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(let_through.len(), places as usize);
        for admission in let_through {
            breaker.lock().unwrap().release(admission, at(30_000 + round));
        }
        assert_eq!(breaker.lock().unwrap().view(at(30_000 + round)).probing, 0);
    }
}

#[test]
fn opens_backs_off_and_closes_with_reasons() {
    let mut breaker = Breaker::new(BreakerPolicy::default());
    let opened = fail(&mut breaker, 5, at(1000)).unwrap();
    assert_eq!((opened.from, opened.to, &*opened.reason), (State::Closed, State::Open, "5 failures in a row, the last: gone"));
    let refusal = breaker.admit(at(2000)).unwrap_err();
    assert_eq!((refusal.since, refusal.next_probe), (at(1000), Some(at(31_000))));
    // The probe fails: twice as long. Then it is well.
    fail(&mut breaker, 1, at(31_000)).unwrap();
    assert_eq!(breaker.next_probe(), Some(at(91_000)));
    let probe = breaker.admit(at(91_000)).unwrap();
    assert!(breaker.admit(at(91_001)).unwrap_err().next_probe.is_none(), "one probe at a time");
    let closed = breaker.record(probe, Verdict::Success, Duration::ZERO, "", at(91_100)).unwrap();
    assert_eq!((closed.to, &*closed.reason), (State::Closed, "the probe succeeded"));
    // From the beginning again.
    fail(&mut breaker, 5, at(92_000)).unwrap();
    assert_eq!(breaker.next_probe(), Some(at(122_000)));
    let reasons: Vec<String> = breaker.view(at(92_000)).transitions.into_iter().map(|change| change.reason).collect();
    assert_eq!(reasons.len(), 6);
    assert_eq!(reasons[3], "open for 1 m 00 s, asking again");
}

#[test]
fn a_late_answer_moves_nothing_and_a_lost_probe_gives_its_place_free() {
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
fn a_policy_that_changes_meanwhile_wedges_nothing() {
    let mut breaker = Breaker::new(BreakerPolicy { half_open_calls: 3, ..BreakerPolicy::default() });
    fail(&mut breaker, 5, at(0)).unwrap();
    let probe = breaker.admit(at(30_000)).unwrap();
    assert_eq!(breaker.record(probe, Verdict::Success, Duration::ZERO, "", at(30_001)), None);
    assert_eq!(breaker.set_policy(BreakerPolicy::default(), at(0)), None);
    assert!(breaker.admit(at(30_002)).is_ok(), "one success is enough now");
    assert_eq!(breaker.state(), State::Closed);
    breaker.order(BreakerOverride::HoldOpen, at(30_003)).unwrap();
    assert_eq!((breaker.next_probe(), breaker.admit(at(9_000_000)).is_err()), (None, true));
    let off = BreakerPolicy { enabled: false, ..BreakerPolicy::default() };
    let closed = breaker.set_policy(off.clone(), at(9_000_000)).unwrap();
    assert_eq!((closed.from, closed.to, &*closed.reason), (State::Open, State::Closed, "switched off"));
    let view = breaker.view(at(9_000_000));
    assert_eq!(
        (view.state, view.held, view.reason.as_str(), view.transitions.last()),
        (State::Closed, None, "switched off", Some(&closed))
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
fn a_server_that_cannot_be_reached_opens_it_and_a_connection_closes_it() {
    let mut breaker = Breaker::new(BreakerPolicy::default());
    for n in 0..4 {
        assert_eq!(breaker.unreachable("refused", at(n)), None);
    }
    let opened = breaker.unreachable("refused", at(4)).unwrap();
    assert_eq!((opened.to, &*opened.reason), (State::Open, "5 failures in a row, the last: refused"));
    assert_eq!(breaker.unreachable("refused", at(1000)), None, "it is open");
    // When its time is over, a connection is what a probe would be.
    let again = breaker.unreachable("refused", at(30_004)).unwrap();
    assert_eq!((again.to, &*again.reason, breaker.next_probe()), (State::Open, "no connection: refused", Some(at(90_004))));
    let closed = breaker.reachable(at(31_000)).unwrap();
    assert_eq!((closed.to, &*closed.reason), (State::Closed, "it is connected again"));
    // What it came back from adds up to nothing.
    for n in 0..100 {
        assert_eq!(breaker.unreachable("refused", at(32_000 + n)), None);
        assert_eq!(breaker.reachable(at(32_000 + n)), None);
    }
    assert_eq!((breaker.view(at(33_000)).calls, breaker.view(at(33_000)).consecutive), (0, 0));
}

#[test]
fn a_connection_mends_nothing_that_calls_failed_or_a_person_holds() {
    let mut breaker = Breaker::new(BreakerPolicy::default());
    // A program that dies of every call and is started again each time.
    for n in 0..4 {
        fail(&mut breaker, 1, at(n));
        assert_eq!(breaker.reachable(at(n)), None);
    }
    assert!(breaker.unreachable("refused", at(5)).is_some_and(|change| change.to == State::Open));
    assert_eq!((breaker.reachable(at(6)), breaker.state()), (None, State::Open));
    breaker.order(BreakerOverride::HoldOpen, at(7));
    assert_eq!((breaker.unreachable("refused", at(90_000)), breaker.reachable(at(90_001))), (None, None));
    let off = BreakerPolicy { enabled: false, ..BreakerPolicy::default() };
    assert!((0..9).all(|n| Breaker::new(off.clone()).unreachable("refused", at(n)).is_none()));
}
