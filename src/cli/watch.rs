//! `watch`: subscribes to a resource and prints its updates.

use serde::Serialize;

use super::{
    args::WatchArgs,
    exit,
    lookup::{Subject, choose_settled},
    print::Format,
    session::{Problem, Session, Signal, Stop, Wake},
};
use crate::{
    control::Command,
    domain::{
        call::{Failure, FailureKind},
        catalog::template_fits,
        event::EventKind,
        id::ServerId,
        time::Stamp,
    },
    state::ServerView,
};

/// Most updates in the document of `--json`; later ones are counted.
const LISTED: usize = 10_000;

/// Prints the updates of a resource until a signal, `--count` or `--timeout`.
///
/// A server may report updates of parts of the resource, so all its updates count (MCP 2025-11-25, server/resources,
/// "Subscriptions").
pub async fn watch(session: &mut Session<'_>, args: &WatchArgs) -> Result<u8, Stop> {
    let uri = args.uri.as_str();
    let lists = |server: &ServerView| server.catalog.resources.iter().any(|resource| resource.uri == uri);
    let may = |server: &ServerView| server.catalog.templates.iter().any(|template| template_fits(&template.uri, uri));
    let server = choose_settled(session, uri, Subject::Resource, &[&lists, &may]).await?;
    let mut watched = Watched { server: &server, uri, updates: vec![], count: 0 };
    let mut reply = session.control.command(Command::Subscribe { server: server.clone(), uri: uri.to_owned(), on: true });
    let mut subscribed = false;
    let end = loop {
        if args.count.is_some_and(|count| watched.count >= count) {
            break End::Count;
        }
        let deadline = session.deadline;
        let woke = tokio::select! {
            biased;
            answer = &mut reply, if !subscribed => {
                if let Err(error) = answer {
                    let failure = Failure::new(FailureKind::Protocol, format!("{server} does not report updates of {uri}: {error}"));
                    return Err(Problem::new(failure.hint("read the resource repeatedly with `switchboard read`")).about(Some(&server), uri).into());
                }
                subscribed = true;
                session.printer.note(&format!("watching {uri} of {server}"));
                continue;
            }
            woke = session.step(deadline) => woke?,
        };
        match woke {
            Wake::Event(event) => match &event.kind {
                EventKind::ResourceUpdated { server: of, uri } if *of == server => watched.update(session, event.at, uri)?,
                // Reported by the engine when a new connection cannot subscribe.
                EventKind::ResourceSubscribed { server: of, uri: lost, on: false } if *of == server && lost == uri && subscribed => {
                    let failure = Failure::new(FailureKind::Transport, format!("{server} ended the subscription to {uri}"));
                    return Err(Problem::new(failure).about(Some(&server), uri).into());
                }
                EventKind::ServerPhase { server: of, phase } if *of == server && !phase.usable() && !phase.pending() => {
                    return Err(session.unusable(&server).map_or_else(|| Stop::Quit(exit::NOT_READY), Stop::from));
                }
                _ => {}
            },
            Wake::Resynced => session.printer.note("warning: events were lost, perhaps updates too"),
            Wake::Signal(Signal::Interrupt) => break End::Interrupted,
            Wake::Signal(Signal::Terminate) => break End::Terminated,
            Wake::Late => break End::Timeout,
            Wake::Replied | Wake::NotStarted(_) => {}
        }
    };
    watched.finish(session, &end)?;
    Ok(match end {
        End::Count => exit::OK,
        // Without --count the time limit is the end that the user asked for.
        End::Timeout if args.count.is_none() && subscribed => exit::OK,
        End::Timeout => exit::TIMEOUT,
        End::Interrupted => exit::INTERRUPTED,
        End::Terminated => exit::TERMINATED,
    })
}

/// Why the watch ended.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Count,
    Timeout,
    Interrupted,
    Terminated,
}

/// What was seen.
struct Watched<'a> {
    server: &'a ServerId,
    uri: &'a str,
    updates: Vec<Update>,
    count: u64,
}

/// An update.
#[derive(Serialize)]
struct Update {
    /// Milliseconds since the Unix epoch.
    at: u64,
    uri: String,
}

/// A line of `--jsonl`.
#[derive(Serialize)]
struct UpdateLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a ServerId,
    #[serde(flatten)]
    update: &'a Update,
}

/// The document of `--json`, and the last line of `--jsonl`.
#[derive(Serialize)]
struct Summary<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a ServerId,
    uri: &'a str,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    updates: Option<&'a [Update]>,
    ended_by: &'a End,
}

impl Watched<'_> {
    fn update(&mut self, session: &mut Session<'_>, at: Stamp, uri: &str) -> Result<(), Stop> {
        let epoch = session.read_model.epoch;
        let update = Update { at: epoch.unix_ms(at), uri: uri.to_owned() };
        self.count += 1;
        match session.printer.format() {
            Format::Human => {
                session.printer.line(&format!("{}  {uri}", epoch.time_of_day(at)))?;
                session.printer.flush()?;
            }
            Format::Jsonl => session.printer.document(&UpdateLine { kind: "update", server: self.server, update: &update })?,
            Format::Json if self.updates.len() < LISTED => self.updates.push(update),
            Format::Json => {}
        }
        Ok(())
    }

    fn finish(&self, session: &mut Session<'_>, end: &End) -> Result<(), Stop> {
        let updates = match session.printer.format() {
            Format::Human => return Ok(()),
            Format::Json => Some(&self.updates[..]),
            Format::Jsonl => None,
        };
        let Watched { server, uri, count, .. } = self;
        Ok(session.printer.document(&Summary { kind: "watched", server, uri, count: *count, updates, ended_by: end })?)
    }
}
