//! The frame pacer: frames are drawn by deadline, never per event. Pure; the loop passes the time.
//!
//! Every change is on the screen within its deadline, including the last change of a burst (the trailing
//! frame); without a change there is no deadline, so an idle console does not wake up.

use std::time::Duration;

/// Longest time from an input to its frame.
pub const INPUT_GAP: Duration = Duration::from_millis(8);
/// Longest time from an event of the engine to its frame.
pub const FEED_GAP: Duration = Duration::from_millis(33);
/// Time between two steps of an animation.
pub const BEAT: Duration = Duration::from_millis(100);
/// Time without input and events after which the console is idle.
pub const QUIET: Duration = Duration::from_millis(500);

/// Why the screen is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Input of the user.
    Input,
    /// An event of the engine.
    Engine,
}

/// The deadlines of the next frame and of the next tick. Times are relative to any fixed moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pacer {
    due: Option<Duration>,
    drawn: Option<Duration>,
    tick: Option<Duration>,
    step: Option<Duration>,
    rest: Option<Duration>,
}

impl Pacer {
    /// Notes activity other than a tick at `now`.
    pub fn stir(&mut self, now: Duration) {
        self.rest = Some(now + QUIET);
    }

    /// Returns whether the console becomes idle: once after each activity, and not while something runs.
    pub fn take_rest(&mut self, moving: bool, now: Duration) -> bool {
        if moving && self.rest.is_some() {
            self.stir(now);
        }
        self.rest.take_if(|rest| *rest <= now).is_some()
    }

    /// Notes that the screen is out of date since `now`. The earliest deadline wins.
    pub fn mark(&mut self, cause: Cause, now: Duration) {
        let gap = match cause {
            Cause::Input => INPUT_GAP,
            Cause::Engine => FEED_GAP,
        };
        let due = self.drawn.map_or(now, |drawn| (drawn + gap).max(now));
        self.due = Some(self.due.map_or(due, |old| old.min(due)));
    }

    /// Sets whether something on the screen is animated; only then are there ticks.
    pub fn animate(&mut self, moving: bool, now: Duration) {
        self.tick = moving.then(|| self.tick.unwrap_or(now + BEAT));
    }

    /// Sets the time until something moves by a step of its own, when there is a tick. `None`: nothing does.
    pub fn step(&mut self, after: Option<Duration>, now: Duration) {
        self.step = after.map(|after| now + after);
    }

    /// Returns whether a tick is due; if so, plans the next one.
    pub fn take_tick(&mut self, now: Duration) -> bool {
        let (due, stepped) = (self.tick.is_some_and(|tick| tick <= now), self.step.is_some_and(|step| step <= now));
        if due {
            self.tick = Some(now + BEAT);
        }
        if stepped {
            self.step = None;
        }
        due || stepped
    }

    /// Returns whether a frame is due.
    pub fn frame_due(&self, now: Duration) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Notes that a frame was drawn at `now`.
    pub fn drawn(&mut self, now: Duration) {
        self.due = None;
        self.drawn = Some(now);
    }

    /// Returns the longest time to sleep; `None` to sleep until something happens.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        let next = [self.due, self.tick, self.step, self.rest].into_iter().flatten().min()?;
        Some(next.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn idle_has_no_deadline() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.wait(ms(5)), None);
        pacer.mark(Cause::Input, ms(5));
        assert!(pacer.frame_due(ms(5)), "the first frame comes immediately");
        pacer.drawn(ms(5));
        assert_eq!(pacer.wait(ms(6)), None);
    }

    #[test]
    fn input_is_quicker_than_the_feed_and_the_earliest_wins() {
        let mut pacer = Pacer::default();
        pacer.drawn(ms(100));
        pacer.mark(Cause::Engine, ms(101));
        assert_eq!(pacer.wait(ms(101)), Some(ms(32)));
        pacer.mark(Cause::Input, ms(103));
        assert_eq!(pacer.wait(ms(103)), Some(ms(5)));
        pacer.mark(Cause::Engine, ms(104));
        assert_eq!(pacer.wait(ms(104)), Some(ms(4)), "a later cause never pushes the frame back");
    }

    #[test]
    fn rest_begins_once_after_the_last_thing_that_happened_and_not_while_something_runs() {
        let mut pacer = Pacer::default();
        assert!(!pacer.take_rest(false, ms(5000)), "nothing happened yet");
        pacer.stir(ms(100));
        pacer.stir(ms(300));
        assert_eq!(pacer.wait(ms(300)), Some(QUIET));
        assert!(!pacer.take_rest(false, ms(799)));
        assert!(!pacer.take_rest(true, ms(800)), "a call runs");
        assert!(!pacer.take_rest(false, ms(1299)));
        assert!(pacer.take_rest(false, ms(1300)));
        assert!(!pacer.take_rest(false, ms(9000)));
        assert_eq!(pacer.wait(ms(9000)), None, "and then nothing wakes it");
    }

    #[test]
    fn beats_exist_only_while_something_moves() {
        let mut pacer = Pacer::default();
        pacer.animate(true, ms(0));
        pacer.animate(true, ms(50));
        assert_eq!(pacer.wait(ms(50)), Some(ms(50)));
        assert!(!pacer.take_tick(ms(99)) && pacer.take_tick(ms(100)));
        assert_eq!(pacer.wait(ms(100)), Some(BEAT));
        pacer.animate(false, ms(120));
        assert_eq!(pacer.wait(ms(120)), None);
    }

    #[test]
    fn steps_are_waited_for_and_taken_once() {
        let mut pacer = Pacer::default();
        pacer.step(Some(ms(700)), ms(100));
        assert_eq!(pacer.wait(ms(100)), Some(ms(700)));
        assert!(!pacer.take_tick(ms(799)) && pacer.take_tick(ms(800)) && !pacer.take_tick(ms(801)));
        assert_eq!(pacer.wait(ms(801)), None, "nothing moves any more: no wake-up");
    }

    proptest! {
        #[test]
        fn every_change_is_drawn_within_its_gap(steps in proptest::collection::vec((0u64..40, any::<bool>()), 1..200)) {
            let (mut pacer, mut now, mut oldest) = (Pacer::default(), ms(0), None::<(Duration, Duration)>);
            for (pause, input) in steps {
                let next = now + ms(pause);
                while let Some(wait) = pacer.wait(now).filter(|w| now + *w <= next) {
                    now += wait;
                    prop_assert!(pacer.frame_due(now));
                    if let Some((since, gap)) = oldest.take() {
                        prop_assert!(now - since <= gap);
                    }
                    pacer.drawn(now);
                }
                now = next;
                let (cause, gap) = if input { (Cause::Input, INPUT_GAP) } else { (Cause::Engine, FEED_GAP) };
                pacer.mark(cause, now);
                oldest = Some(oldest.map_or((now, gap), |(since, old)| if since + old <= now + gap { (since, old) } else { (now, gap) }));
            }
            prop_assert!(pacer.wait(now).is_some(), "the trailing frame always comes");
        }
    }
}
