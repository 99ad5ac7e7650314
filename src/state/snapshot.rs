//! Serialisation of the read model: what is computed again, and the parts of a large state.

use std::{collections::BTreeMap, sync::Arc};

use imbl::Vector;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CallView, ConsoleState};
use crate::domain::{
    body::Body,
    call::Outcome,
    frame::Frame,
    id::{CallId, ClientId},
    time::Stamp,
};

/// The approximate size of a part, in bytes of bodies and entries.
const PART: usize = 1 << 20;

/// A part of a serialised read model. Parts come in this order; there may be many of calls and frames.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum SnapshotPart {
    /// The state without calls and frames.
    Base {
        /// The state.
        state: Box<ConsoleState>,
    },
    /// The next calls.
    Calls {
        /// The calls, oldest first.
        calls: Vec<CallView>,
    },
    /// The next frames.
    Frames {
        /// The frames, oldest first.
        frames: Vec<Arc<Frame>>,
    },
    /// The state is complete.
    End,
}

impl ConsoleState {
    /// Splits the state into parts of bounded size, lazily: what is not yet encoded is shared with this state.
    pub fn parts(&self, with_frames: bool) -> impl Iterator<Item = SnapshotPart> + Send + use<> {
        let base = ConsoleState { calls: Vector::new(), frames: Vector::new(), ..self.clone() };
        let mut calls = self.calls.clone();
        let mut frames = if with_frames { self.frames.clone() } else { Vector::new() };
        let calls = std::iter::from_fn(move || {
            let part = take_part(&mut calls, CallView::weight);
            (!part.is_empty()).then_some(SnapshotPart::Calls { calls: part })
        });
        let frames = std::iter::from_fn(move || {
            let part = take_part(&mut frames, |frame| frame.weight(None));
            (!part.is_empty()).then_some(SnapshotPart::Frames { frames: part })
        });
        let base = SnapshotPart::Base { state: Box::new(base) };
        std::iter::once(base).chain(calls).chain(frames).chain([SnapshotPart::End])
    }

    /// Adds a part to a state that is being put together; `None` before the first part. Returns whether it is complete.
    pub fn add(state: &mut Option<ConsoleState>, part: SnapshotPart) -> bool {
        match (part, state) {
            (SnapshotPart::Base { state: base }, state) => *state = Some(*base),
            (SnapshotPart::Calls { calls }, Some(state)) => state.calls.extend(calls),
            (SnapshotPart::Frames { frames }, Some(state)) => state.frames.extend(frames),
            (SnapshotPart::End, Some(state)) => {
                state.restore();
                return true;
            }
            (_, None) => {}
        }
        false
    }

    /// Returns the state as a client sees it that is not an operator: without the calls, frames and questions of others, and
    /// without runs, clients and notices.
    pub fn of_client(&self, client: ClientId) -> ConsoleState {
        let mut state = self.clone();
        state.calls.retain(|call| call.spec.client == client);
        state.asks.retain(|ask| ask.client == client);
        state.runs = Default::default();
        state.clients = Default::default();
        state.notices.clear();
        let calls = state.calls.clone();
        let own = |id: CallId| calls.binary_search_by_key(&id, |call| call.id).is_ok();
        let visible = |call: Option<CallId>| call.is_none_or(own);
        state.frames.retain(|frame| visible(frame.call));
        state.routed.retain(|(_, call, _)| own(*call));
        for server in &mut state.servers {
            server.client_sessions = Arc::from([]);
            server.logs.retain(|(_, log)| visible(log.call));
            server.anomalies.retain(|(_, anomaly)| visible(anomaly.call));
            server.log_bytes = server.logs.iter().map(|(_, log)| log.weight()).sum();
            server.anomaly_bytes = server.anomalies.iter().map(|(_, anomaly)| anomaly.weight()).sum();
        }
        state.running = calls.iter().filter(|call| call.settled.is_none()).count();
        state.restore();
        state
    }

    /// Computes what is not serialised: positions, names, sizes, and the order in which results and failures are dropped.
    fn restore(&mut self) {
        self.index_servers();
        self.rename();
        self.runs.restore();
        let mut before: Option<&Frame> = None;
        self.frame_weights = Vector::new();
        for frame in &self.frames {
            self.frame_weights.push_back(frame.weight(before));
            before = Some(frame);
        }
        self.frame_bytes = self.frame_weights.iter().sum();
        let mut results: Vec<(Stamp, CallId, usize)> = vec![];
        let mut failed: Vec<(Stamp, CallId, usize)> = vec![];
        for call in &self.calls {
            let Some(settled) = &call.settled else { continue };
            if let Some(size) = settled.outcome.result().map(Body::len).filter(|size| *size > 0) {
                results.push((settled.timings.settled, call.id, size));
            }
            if let Outcome::Failed { failure } = &settled.outcome {
                failed.push((settled.timings.settled, call.id, failure.weight()));
            }
        }
        let in_order = |mut all: Vec<(Stamp, CallId, usize)>| -> Vector<(CallId, usize)> {
            all.sort();
            all.into_iter().map(|(_, id, size)| (id, size)).collect()
        };
        (self.results, self.failed) = (in_order(results), in_order(failed));
        self.result_bytes = self.results.iter().map(|(_, size)| size).sum();
        self.failure_bytes = self.failed.iter().map(|(_, size)| size).sum();
    }
}

impl CallView {
    /// Returns the approximate size of its texts, in bytes.
    fn weight(&self) -> usize {
        let stages: usize = self.stages().iter().map(|(_, stage)| 256 + stage.weight()).sum();
        let settled = self.settled.as_ref().map_or(0, |settled| settled.weight());
        size_of::<CallView>() + self.spec.operation.weight() + Body::len(&self.spec.meta) + stages + settled
    }
}

/// Removes the first items up to about [`PART`] bytes, at least one.
fn take_part<T: Clone>(items: &mut Vector<T>, weight: impl Fn(&T) -> usize) -> Vec<T> {
    let mut part = vec![];
    let mut size = 0;
    while size < PART
        && let Some(item) = items.pop_front()
    {
        size += weight(&item);
        part.push(item);
    }
    part
}

impl Serialize for ConsoleState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ConsoleState::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ConsoleState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut state = ConsoleState::deserialize(deserializer)?;
        state.restore();
        Ok(state)
    }
}

/// Maps whose keys are not strings, as lists of pairs.
pub(super) mod pairs {
    use super::*;

    pub fn serialize<S: Serializer, K: Serialize, V: Serialize>(map: &BTreeMap<K, V>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, D: Deserializer<'de>, K: Deserialize<'de> + Ord, V: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
