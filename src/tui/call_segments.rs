//! Splits a call into time segments: waiting, probing, attempts, pauses, fallbacks. Pure.
//!
//! Built from the call events that the engine reports ([`CallView::stages`]); a call without events is split by its
//! timestamps. The call detail draws the segments as a waterfall, the timeline as shades of a bar.

use std::sync::Arc;

use crate::{
    domain::{
        call::Outcome,
        id::ServerId,
        policy::{
            call_event::{AttemptEnd, CallEvent, Cause, Wait},
            verdict::Verdict,
        },
        time::Stamp,
    },
    state::CallView,
};

/// A time segment of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// When it began.
    pub from: Stamp,
    /// When it ended, or now.
    pub to: Stamp,
    /// What happened in it.
    pub kind: SegmentKind,
    /// Whether it is still open.
    pub open: bool,
}

/// What happens in a segment of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum SegmentKind {
    /// The call is queued and has not started.
    Queued,
    /// The call waits for a limit of a server.
    Waiting(Wait, ServerId),
    /// The breaker sends a probe.
    Probe(ServerId),
    /// An attempt.
    Attempt {
        /// Its number, from 1.
        number: u32,
        /// The server of the tool.
        server: ServerId,
        /// The tool name or the resource URI.
        subject: Arc<str>,
        /// Why the attempt was made.
        cause: Cause,
        /// How it ended; `None` while it runs, and if another response made it unnecessary.
        ended: Option<(AttemptEnd, Verdict)>,
    },
    /// A pause before the next attempt.
    BackOff,
    /// The call waits for the response to an equal call (single flight).
    Shared,
    /// A cached response was used.
    Hit {
        /// Whether it was stale.
        stale: bool,
    },
}

impl SegmentKind {
    /// Returns the glyph that fills it on a bar.
    pub fn glyph(&self) -> char {
        match self {
            SegmentKind::Queued | SegmentKind::Waiting(..) | SegmentKind::Shared => '░',
            SegmentKind::Probe(_) => '◇',
            SegmentKind::Attempt { cause: Cause::Hedge, .. } => '▒',
            SegmentKind::Attempt { cause: Cause::Fallback, .. } => '▞',
            SegmentKind::Attempt { .. } => '▓',
            SegmentKind::BackOff => '·',
            SegmentKind::Hit { .. } => '◆',
        }
    }

    /// Returns whether it is an attempt that failed on the server.
    pub fn failed(&self) -> bool {
        matches!(self, SegmentKind::Attempt { ended: Some((AttemptEnd::Failed { .. }, _)), .. })
    }
}

/// Returns the label of the cause of an attempt.
pub fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::First => "first",
        Cause::Retry => "retry",
        Cause::Hedge => "hedge",
        Cause::Failover => "next replica",
        Cause::Fallback => "fallback",
    }
}

/// Returns the segments of a call in the order of their start.
pub fn segments(call: &CallView, now: Stamp) -> Vec<Segment> {
    let end = call.settled.as_ref().map_or(now.max(call.queued), |settled| settled.timings.settled);
    if !call.has_trace() {
        return by_timestamps(call, end);
    }
    let mut cut = Cut { segments: vec![], waits: Some((call.queued, SegmentKind::Queued)), in_fallback: false };
    for (at, stage) in call.stages() {
        cut.record(*at, stage);
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
    /// The open segment that is not an attempt, and its start.
    waits: Option<(Stamp, SegmentKind)>,
    /// Whether attempts from here on are fallbacks.
    in_fallback: bool,
}

impl Cut {
    fn record(&mut self, at: Stamp, stage: &CallEvent) {
        // These events are instants: they have no duration.
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
            CallEvent::Waiting { on, server } => self.waits = Some((at, SegmentKind::Waiting(*on, server.clone()))),
            CallEvent::Probing { server } => self.waits = Some((at, SegmentKind::Probe(server.clone()))),
            CallEvent::BackOff { .. } => self.waits = Some((at, SegmentKind::BackOff)),
            CallEvent::Shared { .. } => self.waits = Some((at, SegmentKind::Shared)),
            CallEvent::Fallback { .. } => self.in_fallback = true,
            CallEvent::CacheHit { stale, .. } => {
                self.segments.push(Segment { from: at, to: at, kind: SegmentKind::Hit { stale: *stale }, open: false });
            }
            CallEvent::Attempt { attempt, server, subject, cause } => {
                let cause = if self.in_fallback && *cause == Cause::First { Cause::Fallback } else { *cause };
                let kind = SegmentKind::Attempt { number: *attempt, server: server.clone(), subject: subject.clone(), cause, ended: None };
                self.segments.push(Segment { from: at, to: at, kind, open: true });
            }
            _ => {}
        }
    }

    fn ended(&mut self, at: Stamp, attempt: u32, end: &AttemptEnd, verdict: Verdict) {
        let mine = |segment: &&mut Segment| matches!(segment.kind, SegmentKind::Attempt { number, .. } if number == attempt);
        let Some(segment) = self.segments.iter_mut().rev().find(mine) else { return };
        (segment.to, segment.open) = (at.max(segment.from), false);
        if let SegmentKind::Attempt { ended, .. } = &mut segment.kind {
            *ended = Some((end.clone(), verdict));
        }
    }

    /// Closes the open segment that is not an attempt.
    fn close(&mut self, at: Stamp, open: bool) {
        if let Some((from, kind)) = self.waits.take()
            && (at > from || open || !matches!(kind, SegmentKind::Queued))
        {
            self.segments.push(Segment { from, to: at.max(from), kind, open });
        }
    }
}

/// Splits a call of which only the timestamps are known: waiting, then one attempt.
fn by_timestamps(call: &CallView, end: Stamp) -> Vec<Segment> {
    let running = call.settled.is_none();
    let sent = call.settled.as_ref().map_or(call.sent, |settled| settled.timings.sent);
    let mut segments = vec![];
    let begun = sent.unwrap_or(end);
    if begun > call.queued || sent.is_none() {
        segments.push(Segment { from: call.queued, to: begun, kind: SegmentKind::Queued, open: running && sent.is_none() });
    }
    if let Some(sent) = sent {
        let ended = call.settled.as_ref().map(|settled| match &settled.outcome {
            Outcome::Failed { failure } => (AttemptEnd::Failed { failure: failure.clone() }, Verdict::Neutral),
            // The reason is shown with the call.
            Outcome::Cancelled { .. } => (AttemptEnd::Cancelled { reason: String::new() }, Verdict::Success),
            Outcome::Ok { .. } => (AttemptEnd::Ok, Verdict::Success),
            Outcome::ToolError { .. } => (AttemptEnd::ToolError, Verdict::Success),
            Outcome::Interim { kind, .. } => (AttemptEnd::Interim { kind: *kind }, Verdict::Success),
        });
        let operation = &call.spec.operation;
        let kind = SegmentKind::Attempt {
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
