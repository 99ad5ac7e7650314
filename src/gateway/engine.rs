//! The engine of this process as [`Upstream`].

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::upstream::{ServerNotice, Upstream};
use crate::{
    domain::{
        call::CallSpec,
        command::Command,
        directory::DirectorySnapshot,
        event::{Event, EventKind, LogLevel, LogSource, Settled},
        id::{CallId, ServerId},
        time::Stamp,
    },
    engine::{
        Engine,
        passage::Passage,
        ports::CallExecutor,
        tail::{Filter, Interest, Tail},
    },
};

/// Maximum number of notices that wait; further ones are lost.
const NOTICES: usize = 1024;

/// The engine behind the gateway.
pub struct EngineUpstream(pub Arc<Engine>);

impl Upstream for EngineUpstream {
    fn now(&self) -> Stamp {
        self.0.now()
    }

    fn directory(&self) -> DirectorySnapshot {
        self.0.directory()
    }

    fn directory_changes(&self) -> watch::Receiver<u64> {
        self.0.directory_changes()
    }

    fn pass(&self, spec: CallSpec, passage: Passage) -> (CallId, BoxFuture<'static, Option<Arc<Settled>>>) {
        self.0.pass(spec, Arc::new(passage))
    }

    fn cancel(&self, call: CallId, reason: &str) {
        CallExecutor::cancel(&*self.0, call, reason);
    }

    fn subscribe(&self, server: &ServerId, uri: &str, on: bool) {
        // Runs to its end without the reply. A server that refuses reports no updates.
        drop(self.0.command(Command::Subscribe { server: server.clone(), uri: uri.to_owned(), on }));
    }

    fn set_log_level(&self, server: &ServerId, level: &LogLevel) {
        drop(self.0.command(Command::LogLevel { server: server.clone(), level: level.clone() }));
    }

    fn notices(&self) -> mpsc::Receiver<ServerNotice> {
        let (sender, receiver) = mpsc::channel(NOTICES);
        tokio::spawn(follow(self.0.tail(Filter { interest: Interest::Events, client: None }), sender));
        receiver
    }
}

/// Passes notices on until the engine ends or nobody reads them.
async fn follow(mut tail: Tail, sender: mpsc::Sender<ServerNotice>) {
    loop {
        let notice = match tail.next().await {
            Ok(Some(event)) => match notice(&event) {
                Some(notice) => notice,
                None if sender.is_closed() => return,
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
