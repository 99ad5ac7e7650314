//! The fold of the events of calls: their states, their statistics, and the memory of results and failures.

use std::{sync::Arc, time::Duration};

use super::{CallView, ConsoleState, push_bounded};
use crate::domain::{
    body::Body,
    bounds,
    call::{CallSpec, Failure, Operation, Outcome},
    event::Settled,
    id::{CallId, ServerId},
    policy::call_event::{CallEvent, Cause},
    stats::Stats,
    time::Stamp,
};

impl ConsoleState {
    pub(super) fn queued(&mut self, id: CallId, spec: &Arc<CallSpec>, at: Stamp) {
        self.running += 1;
        self.stats.in_flight += 1;
        self.clients.queued(spec.client, at);
        if let Some(server) = self.server_mut(spec.operation.server()) {
            server.stats.in_flight += 1;
            if let Operation::Tool { tool, .. } = &spec.operation {
                server.tools.entry(tool.name.clone()).or_default().in_flight += 1;
            }
        }
        self.calls.push_back(CallView {
            id,
            spec: spec.clone(),
            queued: at,
            sent: None,
            round: 0,
            progress: None,
            settled: None,
            result_dropped: false,
            track: None,
        });
        while self.calls.len() > self.retention.calls {
            let Some(first) = self.calls.pop_front() else { break };
            if let Some(result) = first.settled.as_ref().filter(|_| !first.result_dropped).and_then(|s| s.outcome.result()) {
                self.result_bytes -= result.len();
            }
        }
        // Calls settle out of order, so that entries of dropped calls can remain behind one that is retained.
        while self.results.front().is_some_and(|(id, _)| self.calls.front().is_none_or(|first| *id < first.id)) {
            self.results.pop_front();
        }
    }

    pub(super) fn settled(&mut self, id: CallId, settled: &Arc<Settled>) {
        self.running = self.running.saturating_sub(1);
        self.settled_total += 1;
        self.failed_total += u64::from(matches!(settled.outcome, Outcome::Failed { .. }));
        count(&mut self.stats, settled);
        let Some(call) = self.call_mut(id) else { return };
        call.settled = Some(settled.clone());
        let spec = call.spec.clone();
        let place = call.track.as_ref().and_then(|track| track.place());
        let (at, subject) = place.unwrap_or_else(|| (spec.operation.server().clone(), spec.operation.subject().into()));
        let of_tool = matches!(spec.operation, Operation::Tool { .. });
        let plain = settled.by.is_none() && settled.cached.is_none() && call.track.as_ref().is_none_or(|track| track.plain());
        let track = if plain { call.track.take() } else { call.track.clone() };
        // A call with one attempt counts as it ended. With several, each attempt counts where it was made.
        let attempts: Vec<_> = track.iter().filter(|_| !plain).flat_map(|track| track.ended()).collect();
        if attempts.is_empty() {
            if let Some(server) = self.server_mut(&at) {
                count(&mut server.stats, settled);
                if of_tool {
                    count(server.tools.entry(subject).or_default(), settled);
                }
            }
        } else {
            self.change_in_flight(&at, of_tool.then_some(&*subject), InFlight::Ended);
            for (server, subject, took, failure) in attempts {
                let Some(server) = self.server_mut(server) else { continue };
                count_attempt(&mut server.stats, settled.timings.settled, took, failure);
                if of_tool {
                    count_attempt(server.tools.entry(subject.clone()).or_default(), settled.timings.settled, took, failure);
                }
            }
        }
        self.clients.settled(spec.client, settled);
        if let Some(size) = settled.outcome.result().map(Body::len).filter(|size| *size > 0) {
            self.result_bytes += size;
            self.results.push_back((id, size));
            self.drop_old_results();
        }
        if let Outcome::Failed { failure } = &settled.outcome {
            self.reduce_old_failures(id, failure.weight());
        }
    }

    /// Reduces the oldest failures to kind and beginning of the message while all of them exceed
    /// [`bounds::FAILURES`].
    fn reduce_old_failures(&mut self, newest: CallId, weight: usize) {
        self.failed.push_back((newest, weight));
        self.failure_bytes += weight;
        while self.failure_bytes > bounds::FAILURES && self.failed.len() > 1 {
            let Some((id, weight)) = self.failed.pop_front() else { break };
            self.failure_bytes -= weight;
            let Some(call) = self.call_mut(id) else { continue };
            let Some(settled) = &call.settled else { continue };
            let Outcome::Failed { failure } = &settled.outcome else { continue };
            let outcome = Outcome::Failed { failure: Arc::new(failure.thinned()) };
            call.settled = Some(Arc::new(Settled { outcome, ..Settled::clone(settled) }));
        }
    }

    /// Drops the oldest results while they exceed the limit; never the newest one.
    fn drop_old_results(&mut self) {
        while self.result_bytes > self.retention.result_bytes && self.results.len() > 1 {
            let Some((id, size)) = self.results.pop_front() else { break };
            let Some(call) = self.call_mut(id) else { continue };
            let Some(settled) = &call.settled else { continue };
            let mut emptied = Settled::clone(settled);
            match &mut emptied.outcome {
                Outcome::Ok { result } | Outcome::ToolError { result } | Outcome::Interim { result, .. } => *result = Body::default(),
                _ => {}
            }
            call.settled = Some(Arc::new(emptied));
            call.result_dropped = true;
            self.result_bytes -= size;
        }
    }

    pub(super) fn record_event(&mut self, id: CallId, stage: &Arc<CallEvent>, at: Stamp) {
        if let CallEvent::Routed { decision } = &**stage {
            push_bounded(&mut self.routed, (at, id, decision.clone()), 200);
        }
        // A settled call gets no more events, except for a late response.
        let late = matches!(**stage, CallEvent::Late { .. });
        let Some(call) = self.call_mut(id).filter(|call| late || call.settled.is_none()) else { return };
        call.track.get_or_insert_default().push(at, stage);
        let CallEvent::Attempt { server, subject, cause, .. } = &**stage else { return };
        let before = call.server().clone();
        if let Some(track) = &mut call.track {
            track.at = Some(server.clone());
        }
        let (server, subject, spec) = (server.clone(), subject.clone(), call.spec.clone());
        let extra = u64::from(*cause != Cause::First);
        let of_tool = matches!(spec.operation, Operation::Tool { .. });
        if before != server {
            self.change_in_flight(&before, of_tool.then_some(spec.operation.subject()), InFlight::Ended);
            self.change_in_flight(&server, of_tool.then_some(&*subject), InFlight::Started);
        }
        if let Some(view) = self.server_mut(&server) {
            view.stats.extra += extra;
        }
    }

    /// Changes the calls in flight at a server, and at one of its tools.
    fn change_in_flight(&mut self, server: &ServerId, tool: Option<&str>, change: InFlight) {
        let apply = |stats: &mut Stats| match change {
            InFlight::Started => stats.in_flight += 1,
            InFlight::Ended => stats.in_flight = stats.in_flight.saturating_sub(1),
        };
        let Some(view) = self.server_mut(server) else { return };
        apply(&mut view.stats);
        if let Some(tool) = tool {
            apply(view.tools.entry(tool.into()).or_default());
        }
    }
}

/// Whether a call starts or ends at a server.
#[derive(Clone, Copy)]
enum InFlight {
    Started,
    Ended,
}

fn count(stats: &mut Stats, settled: &Settled) {
    stats.in_flight = stats.in_flight.saturating_sub(1);
    stats.settled += 1;
    stats.note_end(settled.timings.settled);
    match &settled.outcome {
        Outcome::Ok { .. } | Outcome::ToolError { .. } | Outcome::Interim { .. } => {
            stats.answered += 1;
            stats.tool_errors += u64::from(matches!(settled.outcome, Outcome::ToolError { .. }));
            if settled.cached.is_some() {
                // A cached response says nothing about the server.
                return;
            }
            stats.record(settled.timings.wire().unwrap_or_else(|| settled.timings.total()));
        }
        Outcome::Failed { failure } => {
            stats.failed += 1;
            stats.note_failure(settled.timings.settled, failure);
            stats.record_failure(settled.timings.total());
        }
        Outcome::Cancelled { .. } => stats.cancelled += 1,
    }
}

/// Counts one attempt of a call with several attempts, or with a response from elsewhere.
fn count_attempt(stats: &mut Stats, at: Stamp, took: Duration, failure: Option<&Arc<Failure>>) {
    stats.settled += 1;
    stats.note_end(at);
    match failure {
        None => {
            stats.answered += 1;
            stats.record(took);
        }
        Some(failure) => {
            stats.failed += 1;
            stats.note_failure(at, failure);
            stats.record_failure(took);
        }
    }
}
