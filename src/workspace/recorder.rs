//! History recorder: reports whether the store takes the calls of an engine, and flushes them at the end.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    control::LocalControl,
    domain::{
        event::{Notice, NoticeLevel},
        id::InstanceId,
        plural::counted,
    },
    store::Store,
};

/// Recorder of the calls of an engine, which passes them to the store itself.
pub struct Recorder {
    /// Reports that calls are not stored.
    _reports: AbortOnDropHandle<()>,
    store: Store,
    session: InstanceId,
}

impl Recorder {
    /// Starts reporting. Must be called within a runtime.
    pub fn start(engine: &Arc<LocalControl>, store: Store) -> Recorder {
        let reports = report(engine.clone(), store.clone(), store.trouble());
        Recorder { _reports: AbortOnDropHandle::new(tokio::spawn(reports)), store, session: engine.engine().instance() }
    }

    /// Returns when all calls so far and the end of the session are written.
    pub async fn finish(self) {
        self.store.end_session(self.session, super::history::now_ms());
        // An error of the recorder does not prevent the shutdown.
        let _ = self.store.flush().await;
    }
}

/// Publishes a notice when calls cannot be stored any more, and when they can again.
async fn report(engine: Arc<LocalControl>, store: Store, mut trouble: watch::Receiver<Option<String>>) {
    let file = store.path().display().to_string();
    while trouble.changed().await.is_ok() {
        let why = trouble.borrow_and_update().clone();
        for moved in store.take_set_aside() {
            engine.notice(Notice::new(NoticeLevel::Warn, moved.to_string()));
        }
        engine.notice(match (why, store.lost_calls()) {
            (Some(why), _) => Notice::new(NoticeLevel::Warn, format!("calls are not stored in the history: {file}: {why}")),
            (None, 0) => Notice::new(NoticeLevel::Info, "calls are stored in the history again"),
            (None, lost) => {
                let lost = counted(u32::try_from(lost).unwrap_or(u32::MAX), "call");
                Notice::new(NoticeLevel::Info, format!("calls are stored in the history again; {lost} lost so far"))
            }
        });
    }
}
