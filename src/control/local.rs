//! The control of an engine in this process: the engine, and the read model that its events are projected into.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use super::{Command, Control, NoWorkspace, PendingReply, Tail, Workspace};
use crate::{
    domain::{call::CallSpec, id::CallId, retention::Retention},
    engine::{Adapters, Engine, EngineOptions, ports::Connector},
    state::{ConsoleState, projection::Projection},
};

/// An engine with its read model.
pub struct LocalControl {
    engine: Arc<Engine>,
    projection: Arc<Projection>,
    workspace: OnceLock<Arc<dyn Workspace>>,
}

impl LocalControl {
    /// Creates an engine without servers. Must be called within a tokio runtime.
    pub fn new(options: EngineOptions, retention: Retention, connector: Arc<dyn Connector>) -> Arc<LocalControl> {
        LocalControl::with(options, retention, Adapters::new(connector))
    }

    /// Creates an engine that works with these adapters.
    pub fn with(options: EngineOptions, retention: Retention, adapters: Adapters) -> Arc<LocalControl> {
        let projection = Arc::new(Projection::new(ConsoleState::new(options.epoch, &options.separator, retention)));
        let engine = Engine::new(options, adapters, projection.clone());
        Arc::new(LocalControl { engine, projection, workspace: OnceLock::new() })
    }
}

impl LocalControl {
    /// Sets the workspace that faces reach through this control. Has an effect once.
    pub fn attach(&self, workspace: Arc<dyn Workspace>) {
        let _ = self.workspace.set(workspace);
    }
}

impl LocalControl {
    /// Returns the engine, for parts of the program that use more than [`Control`].
    pub fn engine(&self) -> Arc<Engine> {
        self.engine.clone()
    }
}

impl Deref for LocalControl {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Control for LocalControl {
    fn watch(&self) -> (Arc<ConsoleState>, Tail) {
        // Subscribed before the snapshot is taken: no event is missing between them, and the tail skips those that the snapshot
        // includes.
        let mut tail = self.engine.tail();
        let state = self.projection.snapshot();
        tail.skip_to(state.seq);
        (state, tail)
    }

    fn submit(&self, spec: CallSpec) -> CallId {
        self.engine.submit(spec)
    }

    fn command(&self, command: Command) -> PendingReply {
        self.engine.command(command)
    }

    fn workspace(&self) -> Arc<dyn Workspace> {
        self.workspace.get().cloned().unwrap_or_else(|| Arc::new(NoWorkspace::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::Lagged,
        domain::{
            event::{Notice, NoticeLevel},
            time::Epoch,
        },
        engine::tail::MAX_EVENTS,
        mcp::Connections,
    };

    fn control() -> Arc<LocalControl> {
        let options = EngineOptions { epoch: Epoch::default(), separator: "_".into(), seed: None };
        LocalControl::new(options, Retention::default(), Arc::new(Connections::new(None)))
    }

    fn notice(control: &LocalControl, text: &str) {
        control.notice(Notice::new(NoticeLevel::Info, text));
    }

    #[tokio::test]
    async fn snapshot_and_tail_have_no_gap_and_no_duplicate() {
        let control = control();
        notice(&control, "one");
        let (state, mut tail) = control.watch();
        notice(&control, "two");
        assert_eq!(state.seq, 1);
        assert_eq!(tail.next().await.unwrap().unwrap().seq, 2);
        assert_eq!(tail.try_next(), Ok(None));
    }

    #[tokio::test]
    async fn a_slow_reader_gets_lagged_and_can_watch_again() {
        let control = control();
        let (_, mut tail) = control.watch();
        for _ in 0..MAX_EVENTS + 5 {
            notice(&control, "x");
        }
        assert_eq!(tail.next().await, Err(Lagged { missed: 5 }));
        assert_eq!(control.watch().0.seq, MAX_EVENTS as u64 + 5);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn snapshots_during_a_flood_of_events_continue_without_a_gap() {
        let control = control();
        let flood = {
            let control = control.clone();
            tokio::task::spawn_blocking(move || (0..20_000).for_each(|_| notice(&control, "x")))
        };
        let mut last = 0;
        while !flood.is_finished() {
            let (state, mut tail) = control.watch();
            assert!(state.seq >= last, "a snapshot goes back from {last} to {}", state.seq);
            last = state.seq;
            while let Ok(Some(event)) = tail.try_next() {
                assert_eq!(event.seq, last + 1);
                last = event.seq;
            }
            tokio::task::yield_now().await;
        }
        flood.await.unwrap();
        assert_eq!(control.watch().0.seq, 20_000);
    }
}
