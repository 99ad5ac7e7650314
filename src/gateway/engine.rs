//! The engine of this process as [`Upstream`].

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::{
    upstream::{RunInProgress, ServerNotice, Upstream},
    workflows::STEPS,
};
use crate::{
    domain::{
        call::CallSpec,
        client::ClientInfo,
        command::Command,
        directory::DirectorySnapshot,
        event::{Event, EventKind, LogLevel, LogSource, Settled},
        id::{CallId, ClientId, ServerId},
        run::{RunId, RunReport, RunSpec, StepAnswer, StepView},
        time::Stamp,
        workflow::library::WorkflowEntry,
    },
    engine::{
        Engine,
        passage::Passage,
        ports::CallExecutor,
        tail::{Filter, Interest, Tail, Topic},
    },
};

/// Maximum number of notices that wait; further ones are lost.
const NOTICES: usize = 1024;

/// The engine behind the gateway, and the workflows that it offers.
pub struct EngineUpstream {
    engine: Arc<Engine>,
    workflows: watch::Receiver<Arc<[WorkflowEntry]>>,
}

impl EngineUpstream {
    /// Creates an upstream without workflows.
    pub fn new(engine: Arc<Engine>) -> EngineUpstream {
        EngineUpstream::with_workflows(engine, watch::Sender::new(Arc::from([])).subscribe())
    }

    /// Creates an upstream with these workflows, of which it offers the exposed ones.
    pub fn with_workflows(engine: Arc<Engine>, workflows: watch::Receiver<Arc<[WorkflowEntry]>>) -> EngineUpstream {
        EngineUpstream { engine, workflows }
    }

    /// Returns a tail of the events from now on.
    fn events(&self, topic: Topic) -> Tail {
        self.engine.tail(Filter { interest: Interest::Events, topic, client: None })
    }
}

impl Upstream for EngineUpstream {
    fn now(&self) -> Stamp {
        self.engine.now()
    }

    fn directory(&self) -> DirectorySnapshot {
        self.engine.directory()
    }

    fn directory_changes(&self) -> watch::Receiver<u64> {
        self.engine.directory_changes()
    }

    fn next_client(&self) -> ClientId {
        self.engine.next_client()
    }

    fn client_connected(&self, client: ClientId, info: Arc<ClientInfo>) {
        self.engine.client_connected(client, info);
    }

    fn client_disconnected(&self, client: ClientId) {
        self.engine.client_disconnected(client);
    }

    fn pass(&self, spec: CallSpec, passage: Passage) -> (CallId, BoxFuture<'static, Option<Arc<Settled>>>) {
        self.engine.pass(spec, Arc::new(passage))
    }

    fn cancel(&self, call: CallId, reason: &str) {
        CallExecutor::cancel(&*self.engine, call, reason);
    }

    fn subscribe(&self, server: &ServerId, uri: &str, on: bool) {
        // Runs to its end without the reply. A server that refuses reports no updates.
        drop(self.engine.command(Command::Subscribe { server: server.clone(), uri: uri.to_owned(), on }));
    }

    fn set_log_level(&self, server: &ServerId, level: &LogLevel) {
        drop(self.engine.command(Command::LogLevel { server: server.clone(), level: level.clone() }));
    }

    fn unix_ms(&self) -> u64 {
        self.engine.unix_ms()
    }

    fn workflows(&self) -> watch::Receiver<Arc<[WorkflowEntry]>> {
        self.workflows.clone()
    }

    fn start_run(&self, run: RunId, spec: RunSpec, passage: Passage) -> Result<RunInProgress, String> {
        let tail = self.events(Topic::Runs);
        let end = self.engine.pass_run(run, Arc::new(spec), passage).map_err(|why| why.to_string())?;
        Ok(in_progress(tail, run, end))
    }

    fn resume_run(&self, run: RunId, answers: Vec<(String, StepAnswer)>, passage: Passage) -> Result<RunInProgress, String> {
        let tail = self.events(Topic::Runs);
        let end = self.engine.pass_resumption(run, answers, passage).map_err(|why| why.to_string())?;
        Ok(in_progress(tail, run, end))
    }

    fn cancel_run(&self, run: RunId, reason: &str) {
        drop(self.engine.command(Command::CancelRun { run, reason: reason.to_owned() }));
    }

    fn notices(&self) -> mpsc::Receiver<ServerNotice> {
        let (sender, receiver) = mpsc::channel(NOTICES);
        tokio::spawn(follow(self.events(Topic::ServerMessages), sender));
        receiver
    }
}

/// Passes notices on until the engine ends or nobody reads them.
async fn follow(mut tail: Tail, sender: mpsc::Sender<ServerNotice>) {
    loop {
        let next = tokio::select! {
            biased;
            () = sender.closed() => return,
            next = tail.next() => next,
        };
        let notice = match next {
            Ok(Some(event)) => match notice(&event) {
                Some(notice) => notice,
                None => continue,
            },
            Ok(None) => return,
            Err(_) => ServerNotice::Lost,
        };
        if sender.send(notice).await.is_err() {
            return;
        }
    }
}

/// Follows the steps of a run until nobody reads them.
fn in_progress(tail: Tail, run: RunId, end: BoxFuture<'static, Option<Arc<RunReport>>>) -> RunInProgress {
    let (sender, steps) = mpsc::channel(STEPS);
    tokio::spawn(follow_steps(tail, run, sender));
    RunInProgress { steps, end }
}

async fn follow_steps(mut tail: Tail, run: RunId, sender: mpsc::Sender<(Arc<str>, Arc<StepView>)>) {
    loop {
        let event = tokio::select! {
            biased;
            () = sender.closed() => return,
            event = tail.next() => event,
        };
        match event {
            Ok(Some(event)) => match &event.kind {
                EventKind::RunStep { run: of, step, view } if *of == run => {
                    // A client that reads slowly misses progress.
                    let _ = sender.try_send((step.clone(), view.clone()));
                }
                EventKind::RunSettled { run: of, .. } if *of == run => return,
                _ => {}
            },
            Ok(None) => return,
            // Steps were missed; the report has them all.
            Err(_) => {}
        }
    }
}

/// Returns what an event is to clients, if anything.
fn notice(event: &Event) -> Option<ServerNotice> {
    match &event.kind {
        EventKind::ResourceUpdated { server, uri } => Some(ServerNotice::Updated { server: server.clone(), uri: uri.clone() }),
        // What belongs to a call goes through its desk.
        EventKind::ServerLog { server, log } if log.source == LogSource::Message && log.call.is_none() => {
            Some(ServerNotice::Log { server: server.clone(), level: log.level.clone(), logger: log.logger.clone(), text: log.text.clone() })
        }
        _ => None,
    }
}
