//! Checks a breaker behind its lock under every interleaving of threads.

use std::time::Duration;

use loom::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use super::{Breaker, BreakerPolicy, State};
use crate::domain::{policy::verdict::Verdict, time::Stamp};

const LATER: Stamp = Stamp(2_000_000_000);

/// A breaker that opened and whose open period is over.
fn due(places: u32) -> Breaker {
    let policy = BreakerPolicy { consecutive: 1, open_for: Duration::from_secs(1), half_open_calls: places, ..BreakerPolicy::default() };
    let mut breaker = Breaker::new(policy);
    let admission = breaker.admit(Stamp(0)).expect("closed");
    breaker.record(admission, Verdict::Failure, Duration::ZERO, "gone", Stamp(0));
    assert_eq!(breaker.state(), State::Open);
    breaker
}

/// One caller more than there are permits arrives; each that is admitted stays a while and then does `after`.
fn meet(places: u32, after: fn(&mut Breaker, super::Admission), end: fn(&Breaker)) {
    let mut model = loom::model::Builder::new();
    // Bugs of this kind show with two preemptions.
    model.preemption_bound = Some(2);
    model.check(move || {
        let breaker = Arc::new(Mutex::new(due(places)));
        let inside = Arc::new(AtomicU32::new(0));
        let callers: Vec<_> = (0..=places)
            .map(|_| {
                let (breaker, inside) = (breaker.clone(), inside.clone());
                thread::spawn(move || {
                    let admitted = {
                        let mut breaker = breaker.lock().expect("no panic");
                        let admitted = breaker.admit(LATER).ok();
                        // Probes only: a closed breaker admits everyone.
                        let probing = admitted.as_ref().is_some_and(|admission| admission.probe.is_some());
                        if probing {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < places, "more than {places} simultaneously");
                        }
                        admitted
                    };
                    let Some(admission) = admitted else { return };
                    let mut breaker = breaker.lock().expect("no panic");
                    if admission.probe.is_some() {
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                    after(&mut breaker, admission);
                })
            })
            .collect();
        for caller in callers {
            caller.join().expect("no panic");
        }
        end(&breaker.lock().expect("no panic"));
    });
}

#[test]
fn half_open_admits_exactly_so_many_in_every_order() {
    let well = |breaker: &mut Breaker, admission| {
        breaker.record(admission, Verdict::Success, Duration::ZERO, "", LATER);
    };
    meet(1, well, |breaker| assert_eq!(breaker.state(), State::Closed));
    let fails = |breaker: &mut Breaker, admission| {
        breaker.record(admission, Verdict::Failure, Duration::ZERO, "still gone", LATER);
    };
    meet(2, fails, |breaker| assert_eq!(breaker.state(), State::Open));
}

#[test]
fn no_place_leaks_in_any_order() {
    let gives_up = |breaker: &mut Breaker, admission| breaker.release(admission, LATER);
    meet(1, gives_up, |breaker| {
        assert_eq!((breaker.state(), breaker.view(LATER).probing), (State::HalfOpen, 0));
        assert!(breaker.peek(LATER).is_ok(), "the place is free again");
    });
}
