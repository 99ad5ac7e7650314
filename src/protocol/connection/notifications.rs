//! Notifications of the other end: progress, cancellation, and those of subscriptions.

use std::sync::{Arc, atomic::Ordering};

use super::{Arrival, CANCELLED, Connection, LISTEN, Observer, PROGRESS, Pending, Slot, TaskRequest};
use crate::{
    domain::{
        body::{self, Body},
        bounds,
        call::{Failure, FailureKind, RpcError},
        frame::AnomalyKind,
    },
    protocol::{meta, wire},
};

/// Largest result, in bytes, that is looked into for a task.
const TASK: usize = 64 << 10;
/// Number of such requests after which those of ended calls are forgotten.
const TASKS: usize = 64;
/// The notifications that belong to a subscription.
const SUBSCRIBED: [&str; 5] = [
    "notifications/subscriptions/acknowledged",
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
];

impl Connection {
    pub(super) fn notification(&self, method: &str, params: &Body, arrival: &Arrival, frame: u64) {
        match method {
            PROGRESS => {
                if let Some(observer) = progress_token(params).and_then(|id| self.observer_of(id)) {
                    observer.progress(params);
                }
            }
            CANCELLED => {
                let [id] = params.fields(["requestId"]).unwrap_or_default();
                if let Some(id) = id {
                    self.incoming.cancelled(id.get());
                    self.end_subscription(id.get());
                }
            }
            _ => {
                self.correlate(method, params, frame);
                self.handler.notification(method, params, self.attribution(arrival));
            }
        }
    }

    /// Returns the observer of the progress of request `id`. The token of a request that was answered with a task stays valid
    /// until the task ends (MCP 2025-11-25, basic/utilities/tasks, "Progress"): as long as its call has another request pending.
    fn observer_of(&self, id: u64) -> Option<Arc<dyn Observer>> {
        let pending = self.pending.lock();
        if let Some(slot) = pending.slots.get(&id) {
            return Some(slot.observer.clone());
        }
        let task = pending.tasks.iter().find(|task| task.request == id)?;
        pending.slots.values().any(|slot| slot.call == Some(task.call)).then(|| task.observer.clone())
    }

    /// Remembers the observer of a request that was answered with a task, for its progress.
    pub(super) fn note_task(&self, id: u64, slot: &Slot, answer: &Result<Body, RpcError>) {
        let (Some(call), Ok(result)) = (slot.call, answer) else { return };
        // The result of a task's creation is short.
        if result.len() > TASK || !matches!(result.fields(["task"]), Some([Some(_)])) {
            return;
        }
        let mut pending = self.pending.lock();
        let Pending { tasks, slots, .. } = &mut *pending;
        if tasks.len() >= TASKS {
            tasks.retain(|task| slots.values().any(|slot| slot.call == Some(task.call)));
        }
        tasks.push(TaskRequest { request: id, call, observer: slot.observer.clone() });
    }

    /// Ends a subscription of this end that the other end cancels; `id` is JSON text.
    fn end_subscription(&self, id: &str) {
        let id = wire::our_id(id).filter(|id| self.pending.lock().slots.get(id).is_some_and(|slot| &*slot.method == LISTEN));
        if let Some(id) = id {
            self.fail(id, Failure::after_send(FailureKind::Transport, "the server ended the subscription"));
        }
    }

    /// Reports a notification of a subscription that does not name one of ours (MCP 2026-07-28, basic/patterns/subscriptions,
    /// "Receiving Notifications"). It is handled nevertheless: it says what changed.
    fn correlate(&self, method: &str, params: &Body, frame: u64) {
        if !self.modern.load(Ordering::Relaxed) || !SUBSCRIBED.contains(&method) {
            return;
        }
        let [meta] = params.fields(["_meta"]).unwrap_or_default();
        let [id] = meta.and_then(|meta| body::fields(meta.get().as_bytes(), [meta::SUBSCRIPTION])).unwrap_or_default();
        let detail = match id {
            None => format!("{method} without {}", meta::SUBSCRIPTION),
            Some(id) => match wire::our_id(id.get()).and_then(|id| self.known(id)) {
                Some(known) if &*known.method == LISTEN => return,
                _ => format!("{method} of the subscription {}, which does not exist", bounds::cut(id.get(), 100)),
            },
        };
        self.anomaly(AnomalyKind::Uncorrelated, detail, None, Some(frame));
    }
}

/// Returns the request that a notification of progress belongs to.
pub(super) fn progress_token(params: &Body) -> Option<u64> {
    let [token] = params.fields([meta::PROGRESS_TOKEN])?;
    wire::our_id(token?.get())
}
