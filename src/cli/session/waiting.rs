//! Waiting for servers: starts those that a command needs, and waits until it can go on.

use std::time::Duration;

use tokio::time::Instant;

use super::{Session, Signal, Stop, Wake};
use crate::{
    cli::{
        exit,
        readiness::{self, Needs, Waits},
    },
    control::Command,
    domain::{id::ServerId, server::Phase},
    state::{ConsoleState, ServerView},
};

/// Extra time beyond a server's own limits, in which the engine reports its failure.
const GRACE: Duration = Duration::from_secs(1);

/// How long the other members of a group may take to connect after one is usable.
const GROUP_GRACE: Duration = Duration::from_millis(50);

impl Session<'_> {
    /// Starts the servers that `needed` selects and waits until none of them is still connecting, but not longer than the
    /// servers' own limits (connect and list) or `--timeout`.
    pub async fn settle(&mut self, needed: impl Fn(&ConsoleState, &ServerView) -> bool) -> Result<(), Stop> {
        self.settle_until(None, |read_model| required(read_model, &needed)).await
    }

    /// Waits like [`Session::settle`], but not longer than `limit` from now.
    pub async fn settle_within(&mut self, limit: Duration, needed: impl Fn(&ConsoleState, &ServerView) -> bool) -> Result<(), Stop> {
        self.settle_until(Some(Instant::now() + limit), |read_model| required(read_model, &needed)).await
    }

    /// Starts the servers that a command needs, and waits until it can go on.
    pub async fn settle_needs(&mut self, needs: &Needs) -> Result<(), Stop> {
        self.settle_until(None, |read_model| needs.waits(read_model)).await
    }

    async fn settle_until(&mut self, last: Option<Instant>, waits: impl Fn(&ConsoleState) -> Waits) -> Result<(), Stop> {
        let mut grace_ends: Option<Instant> = None;
        loop {
            let now = Instant::now();
            let Waits { required, optional } = waits(&self.read_model);
            required.iter().chain(&optional).for_each(|server| self.start_server(server, now));
            let waiting: Vec<(String, Instant)> = required
                .iter()
                .filter_map(|id| self.read_model.server(id))
                .map(|s| (wait_words(s), last.map_or_else(|| self.patience(s), |last| last.min(self.patience(s)))))
                .filter(|(_, until)| *until > now)
                .collect();
            let until = match waiting.iter().map(|(_, until)| *until).max() {
                Some(until) => until,
                None if optional.is_empty() => break,
                None => *grace_ends.get_or_insert(now + GROUP_GRACE),
            };
            if until <= now {
                break;
            }
            let words: Vec<&str> = waiting.iter().map(|(words, _)| words.as_str()).collect();
            if !words.is_empty() {
                self.printer.status(&format!("waiting for {}", words.join(", ")));
            }
            if let Wake::Signal(signal) = self.step(Some(until)).await? {
                return Err(Stop::Quit(match signal {
                    Signal::Interrupt => exit::INTERRUPTED,
                    Signal::Terminate => exit::TERMINATED,
                }));
            }
        }
        self.printer.end_progress();
        Ok(())
    }

    /// Starts a server that was not started yet.
    fn start_server(&mut self, id: &ServerId, now: Instant) {
        let idle = self.read_model.server(id).is_some_and(|server| *server.phase == Phase::Idle);
        if idle && self.servers_started.insert(id.clone(), now).is_none() {
            self.command(Command::Start { server: id.clone() });
        }
    }

    /// Waits until no selected server is still connecting.
    pub async fn settle_selected(&mut self) -> Result<(), Stop> {
        let wanted = self.options.servers.clone();
        self.settle(|_, server| wanted.is_empty() || wanted.iter().any(|name| name == server.id().as_str())).await
    }

    /// Returns the deadline for a server. Its lists get extra time only after the handshake: a silent server costs the time
    /// of one connection attempt and of ending its process.
    fn patience(&self, server: &ServerView) -> Instant {
        let limits = &server.spec.timeouts;
        let more = if server.info.is_some() { limits.list } else { limits.stop * 3 };
        let started = self.servers_started.get(server.id()).copied().unwrap_or(self.started);
        let own = started + limits.connect + more + GRACE;
        self.deadline.map_or(own, |deadline| own.min(deadline))
    }
}

/// Returns the waits for the servers that `needed` selects.
fn required(read_model: &ConsoleState, needed: impl Fn(&ConsoleState, &ServerView) -> bool) -> Waits {
    let servers = read_model.servers.iter().filter(|server| readiness::waiting(server) && needed(read_model, server));
    Waits { required: servers.map(|server| server.id().clone()).collect(), optional: vec![] }
}

fn wait_words(server: &ServerView) -> String {
    match &*server.phase {
        Phase::Starting { step } => format!("{} ({})", server.id(), step.doing()),
        phase => format!("{} ({})", server.id(), phase.word()),
    }
}
