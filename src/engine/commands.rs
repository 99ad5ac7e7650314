//! Carries out the commands of faces.

use std::sync::{Arc, atomic::Ordering};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::oneshot;

use super::{
    Engine,
    bus::Bus,
    guard::TargetGuard,
    ports::{Session, SubscriptionChange},
    runner::{NotStarted, Resumption},
    supervisor::{self, Readiness, SupervisorCommand},
};
use crate::domain::{
    bounds,
    command::{Command, CommandError, Reply},
    event::LogLevel,
    id::ServerId,
    policy::pattern::Pattern,
    run::RunId,
};

/// The reply to a command, when it is known.
pub type PendingReply = BoxFuture<'static, Result<Reply, CommandError>>;

fn replied(result: Result<(), CommandError>) -> PendingReply {
    std::future::ready(result.map(|()| Reply::Done)).boxed()
}

/// Returns the error for a run that was not started.
pub fn not_started(run: RunId, why: NotStarted) -> CommandError {
    match why {
        NotStarted::Active => CommandError::RunActive { run },
        NotStarted::Ended => CommandError::Ended,
    }
}

/// Returns a text that a server or a store sent, with secrets masked and bounded, since it crosses to a face.
fn for_reply(bus: &Bus, text: &str) -> String {
    bus.secrets().redactor().redact_cut(text, bounds::ERROR_TEXT)
}

impl Engine {
    /// Carries out a command. Commands take effect in the order of the calls, whether or not the reply is awaited.
    pub fn command(&self, command: Command) -> PendingReply {
        if self.ending.load(Ordering::Relaxed) {
            return replied(Err(CommandError::Ended));
        }
        replied(match command {
            Command::Cancel { call, reason } => {
                self.running.cancel(call, &reason).then_some(()).ok_or(CommandError::CallNotInFlight { call })
            }
            Command::Start { server } => self.send_command(server, SupervisorCommand::Start),
            Command::Restart { server } => self.send_command(server, SupervisorCommand::Restart),
            Command::Disable { server } => self.send_command(server, SupervisorCommand::Disable),
            Command::Refresh { server } => self.send_command(server, SupervisorCommand::Refresh),
            Command::Answer { ask, answer } => self.inbox.answer(ask, answer).then_some(()).ok_or(CommandError::QuestionClosed),
            Command::Subscribe { server, uri, on } => return self.subscribe(server, uri, on),
            Command::LogLevel { server, level } => return self.set_log_level(server, level),
            Command::StartRun { run, spec } => self.runs.start(run, spec).map_err(|why| not_started(run, why)),
            Command::ResumeRun { run, answers, ask, wait, timeout } => {
                self.runs.resume(run, Resumption { answers, ask, wait, timeout }).map_err(|why| not_started(run, why))
            }
            Command::UndoRun { run, answers, ask } => {
                let how = Resumption { answers, ask, wait: false, timeout: None };
                self.runs.undo(run, how).map_err(|why| not_started(run, why))
            }
            Command::CancelRun { run, reason } => self.runs.cancel(run, &reason).then_some(()).ok_or(CommandError::RunNotActive { run }),
            Command::CancelStep { run, step, reason } => {
                self.runs.cancel_step(run, &step, &reason).then_some(()).ok_or(CommandError::RunNotActive { run })
            }
            Command::Breaker { server, tool, order } => self.guard(server).map(|guard| guard.set_override(tool.map(Into::into), order)),
            Command::Inject { server, tool, fault } => self.guard(server).map(|guard| guard.inject(tool.map(Into::into), fault)),
            Command::Purge { pattern } => return self.purge(pattern),
        })
    }

    /// Runs the work of a command to its end, even if nothing awaits the reply.
    fn in_background(&self, work: impl Future<Output = Result<Reply, CommandError>> + Send + 'static) -> PendingReply {
        let (done, reply) = oneshot::channel();
        self.tasks.spawn(async move {
            // The caller may not wait for the reply.
            let _ = done.send(work.await);
        });
        async move { reply.await.unwrap_or(Err(CommandError::Ended)) }.boxed()
    }

    fn guard(&self, server: ServerId) -> Result<Arc<TargetGuard>, CommandError> {
        let guard = self.registry.read().handle(&server).map(|server| server.guard.clone());
        guard.ok_or(CommandError::UnknownServer { server })
    }

    fn send_command(&self, server: ServerId, command: SupervisorCommand) -> Result<(), CommandError> {
        let commands = self.registry.read().handle(&server).map(|server| server.commands.clone());
        let Some(commands) = commands else { return Err(CommandError::UnknownServer { server }) };
        commands.try_send(command).map_err(|_| CommandError::Busy { server })
    }

    /// Returns the session of a connected server.
    fn session(&self, server: &ServerId) -> Result<Arc<dyn Session>, CommandError> {
        let readiness = self.registry.read().handle(server).map(|server| server.readiness.borrow().clone());
        match readiness {
            Some(Readiness::Ready(session)) => Ok(session),
            Some(_) => Err(CommandError::NotConnected { server: server.clone() }),
            None => Err(CommandError::UnknownServer { server: server.clone() }),
        }
    }

    fn subscribe(&self, server: ServerId, uri: String, on: bool) -> PendingReply {
        let session = match self.session(&server) {
            Ok(session) => session,
            Err(error) => return replied(Err(error)),
        };
        let change = if on { SubscriptionChange::Subscribe } else { SubscriptionChange::Unsubscribe };
        let (registry, bus) = (self.registry.clone(), self.bus.clone());
        // Published before the request and reverted on refusal: the server's first notification may arrive before the reply is
        // handled.
        registry.set_subscribed(&server, &uri, on);
        self.in_background(async move {
            let result = supervisor::subscribe(session, &uri, change).await;
            if result.is_err() && on {
                registry.set_subscribed(&server, &uri, false);
            }
            result.map(|()| Reply::Done).map_err(|why| CommandError::Refused { why: for_reply(&bus, &why) })
        })
    }

    fn set_log_level(&self, server: ServerId, level: LogLevel) -> PendingReply {
        let session = match self.session(&server) {
            Ok(session) => session,
            Err(error) => return replied(Err(error)),
        };
        let bus = self.bus.clone();
        self.in_background(async move {
            let result = supervisor::set_log_level(session, &level).await;
            result.map(|()| Reply::Done).map_err(|why| CommandError::Refused { why: for_reply(&bus, &why) })
        })
    }

    fn purge(&self, pattern: String) -> PendingReply {
        let shared = self.shared.clone();
        self.in_background(async move {
            let purged = match Pattern::parse(&pattern) {
                Ok(pattern) => shared.cache.purge(&pattern).await,
                Err(why) => Err(why),
            };
            purged.map(|responses| Reply::Purged { responses }).map_err(|why| CommandError::Cache { why: for_reply(&shared.bus, &why) })
        })
    }
}
