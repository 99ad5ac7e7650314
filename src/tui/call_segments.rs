//! A call cut into stretches of time: waiting, probing, attempts, pauses, what stood in for it. Pure.
//!
//! Made from the stages that the engine tells ([`CallView::stages`]); a call that had none is cut by its stations. The
//! detail draws them as a waterfall, the timeline as shades of a bar.

use std::sync::Arc;

use crate::domain::{
    call::Outcome,
    id::ServerId,
    policy::{
        call_event::{AttemptEnd, CallEvent, Cause, Wait},
        verdict::Verdict,
    },
    read_model::CallView,
    time::Stamp,
};

/// A stretch of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// When it began.
    pub from: Stamp,
    /// When it ended, or now.
    pub to: Stamp,
    /// What went on.
    pub kind: Kind,
    /// Whether it still goes on.
    pub open: bool,
}

/// What goes on in a stretch of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// It was asked for and not begun.
    Queued,
    /// It waits for something of a server.
    Waiting(Wait, ServerId),
    /// A breaker has it ask for a sign of life.
    Probe(ServerId),
    /// An attempt.
    Attempt {
        /// Its number, from 1.
        number: u32,
        /// Whose tool.
        server: ServerId,
        /// The tool, or what is read.
        subject: Arc<str>,
        /// Why there is it.
        cause: Cause,
        /// How it ended; `None` while it runs, and when another answer made it needless.
        ended: Option<(AttemptEnd, Verdict)>,
    },
    /// A pause before the next attempt.
    BackOff,
    /// An equal call's answer is waited for.
    Shared,
    /// An answer was taken from the cache.
    Hit {
        /// Whether it was past its time.
        stale: bool,
    },
}

impl Kind {
    /// The glyph that fills its room.
    pub fn glyph(&self) -> char {
        match self {
            Kind::Queued | Kind::Waiting(..) | Kind::Shared => '░',
            Kind::Probe(_) => '◇',
            Kind::Attempt { cause: Cause::Hedge, .. } => '▒',
            Kind::Attempt { cause: Cause::Fallback, .. } => '▞',
            Kind::Attempt { .. } => '▓',
            Kind::BackOff => '·',
            Kind::Hit { .. } => '◆',
        }
    }

    /// Whether it is an attempt that the server failed.
    pub fn failed(&self) -> bool {
        matches!(self, Kind::Attempt { ended: Some((AttemptEnd::Failed { .. }, _)), .. })
    }
}

/// The word for why there is an attempt.
pub fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::First => "first",
        Cause::Retry => "retry",
        Cause::Hedge => "hedge",
        Cause::Failover => "next replica",
        Cause::Fallback => "fallback",
    }
}

/// The stretches of a call, by when they began.
pub fn segments(call: &CallView, now: Stamp) -> Vec<Segment> {
    let end = call.settled.as_ref().map_or(now.max(call.queued), |settled| settled.timings.settled);
    if !call.has_trace() {
        return by_stations(call, end);
    }
    let mut cut = Cut { segments: vec![], waits: Some((call.queued, Kind::Queued)), usable_on_error: false };
    for (at, stage) in call.stages() {
        cut.take(*at, stage);
    }
    let running = call.settled.is_none();
    cut.close(end, running);
    for segment in cut.segments.iter_mut().filter(|segment| segment.open) {
        (segment.to, segment.open) = (end.max(segment.from), running);
    }
    cut.segments.sort_by_key(|segment| segment.from);
    cut.segments
}

struct Cut {
    segments: Vec<Segment>,
    /// What goes on beside attempts, since when.
    waits: Option<(Stamp, Kind)>,
    /// Whether attempts from here on stand in for the call.
    usable_on_error: bool,
}

impl Cut {
    fn take(&mut self, at: Stamp, stage: &CallEvent) {
        // What is only told takes no time.
        if matches!(
            stage,
            CallEvent::Routed { .. }
                | CallEvent::Injected { .. }
                | CallEvent::Late { .. }
                | CallEvent::CacheMiss { .. }
                | CallEvent::NotRepeated { .. }
                | CallEvent::Resent { .. }
        ) {
            return;
        }
        if let CallEvent::Ended { attempt, end, verdict, .. } = stage {
            return self.ended(at, *attempt, end, *verdict);
        }
        self.close(at, false);
        match stage {
            CallEvent::Waiting { on, server } => self.waits = Some((at, Kind::Waiting(*on, server.clone()))),
            CallEvent::Probing { server } => self.waits = Some((at, Kind::Probe(server.clone()))),
            CallEvent::BackOff { .. } => self.waits = Some((at, Kind::BackOff)),
            CallEvent::Shared { .. } => self.waits = Some((at, Kind::Shared)),
            CallEvent::Fallback { .. } => self.usable_on_error = true,
            CallEvent::CacheHit { stale, .. } => {
                self.segments.push(Segment { from: at, to: at, kind: Kind::Hit { stale: *stale }, open: false });
            }
            CallEvent::Attempt { attempt, server, subject, cause } => {
                let cause = if self.usable_on_error && *cause == Cause::First { Cause::Fallback } else { *cause };
                let kind = Kind::Attempt { number: *attempt, server: server.clone(), subject: subject.clone(), cause, ended: None };
                self.segments.push(Segment { from: at, to: at, kind, open: true });
            }
            _ => {}
        }
    }

    fn ended(&mut self, at: Stamp, attempt: u32, end: &AttemptEnd, verdict: Verdict) {
        let mine = |segment: &&mut Segment| matches!(segment.kind, Kind::Attempt { number, .. } if number == attempt);
        let Some(segment) = self.segments.iter_mut().rev().find(mine) else { return };
        (segment.to, segment.open) = (at.max(segment.from), false);
        if let Kind::Attempt { ended, .. } = &mut segment.kind {
            *ended = Some((end.clone(), verdict));
        }
    }

    /// Ends what goes on beside attempts.
    fn close(&mut self, at: Stamp, open: bool) {
        if let Some((from, kind)) = self.waits.take()
            && (at > from || open || !matches!(kind, Kind::Queued))
        {
            self.segments.push(Segment { from, to: at.max(from), kind, open });
        }
    }
}

/// A call of which nothing is told but its stations: waiting, then one attempt.
fn by_stations(call: &CallView, end: Stamp) -> Vec<Segment> {
    let running = call.settled.is_none();
    let sent = call.settled.as_ref().map_or(call.sent, |settled| settled.timings.sent);
    let mut segments = vec![];
    let begun = sent.unwrap_or(end);
    if begun > call.queued || sent.is_none() {
        segments.push(Segment { from: call.queued, to: begun, kind: Kind::Queued, open: running && sent.is_none() });
    }
    if let Some(sent) = sent {
        let ended = call.settled.as_ref().map(|settled| match &settled.outcome {
            Outcome::Failed { failure } => (AttemptEnd::Failed { failure: failure.clone() }, Verdict::Neutral),
            // The reason is shown with the call.
            Outcome::Cancelled { .. } => (AttemptEnd::Cancelled { reason: String::new() }, Verdict::Success),
            Outcome::Ok { .. } => (AttemptEnd::Ok, Verdict::Success),
            Outcome::ToolError { .. } => (AttemptEnd::ToolError, Verdict::Success),
        });
        let operation = &call.spec.operation;
        let kind = Kind::Attempt {
            number: 1,
            server: call.server().clone(),
            subject: operation.subject().into(),
            cause: Cause::First,
            ended: ended.clone(),
        };
        segments.push(Segment { from: sent, to: end.max(sent), kind, open: running });
    }
    segments
}
