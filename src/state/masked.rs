//! Masks the secrets in a read model before it leaves the process.
//!
//! Events are masked before they are published. A snapshot can contain more: secrets that became known after their event, and
//! the arguments of calls as the user typed them.

use std::sync::Arc;

use super::{CallView, ConsoleState, ServerView, SnapshotPart};
use crate::domain::{event::EventKind, masked, secret::Redactor};

impl SnapshotPart {
    /// Masks every known secret in its texts. Bodies are masked where they are encoded.
    pub fn mask(&mut self, redactor: &Redactor) {
        match self {
            SnapshotPart::Base { state } => state.mask(redactor),
            SnapshotPart::Calls { calls } => calls.iter_mut().for_each(|call| call.mask(redactor)),
            SnapshotPart::Frames { frames } => frames.iter_mut().for_each(|frame| masked::frame(redactor, frame)),
            SnapshotPart::End => {}
        }
    }
}

/// Masks a value as part of the event that carried it.
macro_rules! mask_as {
    ($redactor:expr, $event:ident { $field:ident: $value:expr $(, $other:ident: $other_value:expr)* }) => {{
        let mut event = EventKind::$event { $field: $value.clone() $(, $other: $other_value.clone())* };
        masked::crossing($redactor, &mut event);
        if let EventKind::$event { $field: masked, .. } = event {
            $value = masked;
        }
    }};
}

impl CallView {
    fn mask(&mut self, redactor: &Redactor) {
        let call = self.id;
        mask_as!(redactor, CallQueued { spec: self.spec, call: call });
        if let Some(progress) = &mut self.progress {
            mask_as!(redactor, CallProgress { progress: *progress, call: call });
        }
        if let Some(settled) = &mut self.settled {
            mask_as!(redactor, CallSettled { settled: *settled, call: call });
        }
        for (_, stage) in self.track.iter_mut().flat_map(|track| &mut track.stages) {
            mask_as!(redactor, CallStage { stage: *stage, call: call });
        }
    }
}

impl ServerView {
    fn mask(&mut self, redactor: &Redactor) {
        let server = self.id().clone();
        mask_as!(redactor, ServerPhase { phase: self.phase, server: server });
        for (_, phase) in &mut self.history {
            mask_as!(redactor, ServerPhase { phase: *phase, server: server });
        }
        if let Some(info) = &mut self.info {
            mask_as!(redactor, ServerInfo { info: *info, server: server });
        }
        mask_as!(redactor, ServerListed { catalog: self.catalog, server: server });
        for (_, line) in &mut self.stderr {
            mask_as!(redactor, ServerStderr { line: *line, server: server });
        }
        for (_, log) in &mut self.logs {
            mask_as!(redactor, ServerLog { log: *log, server: server });
        }
        for (_, anomaly) in &mut self.anomalies {
            mask_as!(redactor, ServerAnomaly { anomaly: *anomaly, server: server });
        }
        self.stats.mask(redactor);
        self.tools.values_mut().for_each(|stats| stats.mask(redactor));
    }
}

impl ConsoleState {
    fn mask(&mut self, redactor: &Redactor) {
        self.servers.iter_mut().for_each(|server| server.mask(redactor));
        self.stats.mask(redactor);
        for ask in &mut self.asks {
            mask_as!(redactor, AskOpened { ask: *ask });
        }
        for run in self.runs.iter_mut() {
            let id = run.id;
            let steps = run.steps.iter_mut().chain(run.inner.iter_mut().map(|(_, view)| view));
            for view in steps {
                let step: Arc<str> = Arc::from("");
                mask_as!(redactor, RunStep { view: *view, run: id, step: step });
            }
            if let Some(report) = &mut run.report {
                mask_as!(redactor, RunSettled { report: *report, run: id });
            }
        }
        for client in self.clients.iter_mut() {
            let id = client.id;
            mask_as!(redactor, ClientConnected { info: client.info, client: id });
        }
        for (_, notice) in &mut self.notices {
            mask_as!(redactor, Notice { notice: *notice });
        }
        mask_as!(redactor, Cache { view: self.cache });
    }
}
