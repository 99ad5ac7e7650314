//! History recorder: writes settled calls from the engine's events to the store.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    control::{Control, Interest, Lagged, LocalControl},
    domain::{
        call::{CallSpec, Origin},
        call_summary::CallSummary,
        directory::Directory,
        event::{Event, EventKind, Notice, NoticeLevel, Settled},
        id::{CallId, InstanceId},
        journal::CallRecord,
        masked,
        secret::SecretRegistry,
        time::Stamp,
    },
    state::ConsoleState,
    store::Store,
};

/// Largest result passed to the store, in bytes; the store has a lower limit.
const LONGEST: usize = 1 << 20;

/// Recorder of the calls in the engine's events.
pub struct Recorder {
    task: AbortOnDropHandle<()>,
    /// Reports that calls are not stored.
    _reports: AbortOnDropHandle<()>,
    over: CancellationToken,
    store: Store,
}

impl Recorder {
    /// Starts recording. Must be called within a runtime.
    pub fn start(engine: &Arc<LocalControl>, store: Store) -> Recorder {
        let over = CancellationToken::new();
        let following = follow(engine.clone(), store.clone(), over.clone());
        let reports = report(engine.clone(), store.path().display().to_string(), store.trouble());
        let _reports = AbortOnDropHandle::new(tokio::spawn(reports));
        Recorder { task: AbortOnDropHandle::new(tokio::spawn(following)), _reports, over, store }
    }

    /// Records all events so far, and returns when they are written.
    pub async fn finish(self) {
        self.over.cancel();
        // An error of the recorder does not prevent the shutdown.
        let _ = self.task.await;
        let _ = self.store.flush().await;
    }
}

/// Calls in flight: specification, name and start.
type Open = HashMap<CallId, (Arc<CallSpec>, String, Stamp)>;

/// The store, and the secrets masked in stored calls.
struct Notes {
    instance: InstanceId,
    store: Store,
    secrets: SecretRegistry,
}

impl Notes {
    /// Passes a call to the store with known secrets masked. The call is dropped if the store is too far behind.
    fn note(&self, mut record: CallRecord) {
        masked::record(&self.secrets.redactor(), &mut record);
        self.store.note_call(record);
    }
}

/// Publishes a notice when calls cannot be stored any more, and when they can again.
async fn report(engine: Arc<LocalControl>, file: String, mut trouble: watch::Receiver<Option<String>>) {
    while trouble.changed().await.is_ok() {
        let why = trouble.borrow_and_update().clone();
        engine.notice(match why {
            Some(why) => Notice::new(NoticeLevel::Warn, format!("calls are not stored in the history: {file}: {why}")),
            None => Notice::new(NoticeLevel::Info, "calls are stored in the history again"),
        });
    }
}

async fn follow(engine: Arc<LocalControl>, store: Store, over: CancellationToken) {
    let notes = Notes { instance: engine.instance(), store, secrets: engine.secrets().clone() };
    let (mut read_model, mut tail) = engine.observe(Interest::Events);
    let mut open = Open::new();
    loop {
        match tail.next_until(&over).await {
            Ok(Some(event)) => apply(&mut read_model, &mut open, &notes, &event),
            Ok(None) => return,
            Err(Lagged { .. }) => {
                (read_model, tail) = engine.observe(Interest::Events);
                // Calls that were settled meanwhile are in the snapshot, within its retention.
                let ended: Vec<_> =
                    open.keys().copied().filter(|id| read_model.call(*id).is_none_or(|call| call.settled.is_some())).collect();
                for id in ended {
                    let settled = read_model.call(id).and_then(|call| call.settled.clone());
                    if let (Some(asked), Some(settled)) = (open.remove(&id), settled) {
                        notes.note(record(&notes, &read_model, id, asked, &settled));
                    }
                }
            }
        }
    }
}

fn apply(read_model: &mut Arc<ConsoleState>, open: &mut Open, notes: &Notes, event: &Event) {
    match &event.kind {
        EventKind::CallQueued { call, spec } if spec.origin != Origin::Demo => {
            open.insert(*call, (spec.clone(), read_model.call_name(&spec.operation), event.at));
        }
        EventKind::CallSettled { call, settled } => {
            if let Some(asked) = open.remove(call) {
                notes.note(record(notes, read_model, *call, asked, settled));
            }
        }
        // The snapshot is used for names only.
        EventKind::ServerAdded { .. } | EventKind::ServerRemoved { .. } | EventKind::ServerListed { .. } => {
            Arc::make_mut(read_model).apply(event)
        }
        _ => {}
    }
}

fn record(
    notes: &Notes,
    read_model: &ConsoleState,
    call: CallId,
    (spec, name, queued): (Arc<CallSpec>, String, Stamp),
    settled: &Settled,
) -> CallRecord {
    CallRecord {
        summary: CallSummary::new((notes.instance, call), (read_model.epoch.unix_ms(queued), name), &spec, settled),
        spec,
        result: settled.outcome.result().filter(|result| result.len() <= LONGEST).cloned(),
    }
}
