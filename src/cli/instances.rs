//! `up`, `down`, `ps` and `attach`: what they print about running engines.

use std::time::Duration;

use serde::Serialize;

use super::{
    Options, exit,
    print::{Format, Io, Printer},
};
use crate::{
    control::{
        ConnectError,
        instances::{InstanceError, Running},
    },
    domain::{
        call::{Failure, FailureKind},
        plural::counted,
        time,
    },
    state::ConsoleState,
};

/// A running engine, and what was read over its socket.
pub struct Listed {
    /// The instance.
    pub running: Running,
    /// Its state, or why it could not be read.
    pub summary: Result<Summary, ConnectError>,
}

/// A summary of the state of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Its servers.
    pub servers: usize,
    /// Those that are connected.
    pub connected: usize,
    /// Its calls in flight.
    pub in_flight: usize,
}

impl Summary {
    /// Returns the summary of a state.
    pub fn of(state: &ConsoleState) -> Summary {
        Summary {
            servers: state.servers.len(),
            connected: state.servers.iter().filter(|server| server.phase.usable()).count(),
            in_flight: usize::try_from(state.stats.in_flight).unwrap_or(usize::MAX),
        }
    }
}

/// JSON document of a running engine.
#[derive(Serialize)]
struct InstanceDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    pid: Option<u32>,
    version: Option<&'a str>,
    started_unix_ms: Option<u64>,
    read_only: bool,
    faces: &'a [String],
    #[serde(flatten)]
    summary: Option<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl<'a> InstanceDocument<'a> {
    fn of(listed: &'a Listed) -> InstanceDocument<'a> {
        let info = listed.running.info.as_ref();
        InstanceDocument {
            kind: "instance",
            name: &listed.running.name,
            pid: info.map(|info| info.pid),
            version: info.map(|info| info.version.as_str()),
            started_unix_ms: info.map(|info| info.started_ms),
            read_only: info.is_some_and(|info| info.read_only),
            faces: info.map(|info| info.faces.as_slice()).unwrap_or_default(),
            summary: listed.summary.as_ref().ok().copied(),
            problem: listed.summary.as_ref().err().map(ToString::to_string),
        }
    }
}

#[derive(Serialize)]
struct InstancesDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    instances: Vec<InstanceDocument<'a>>,
}

/// Prints the running engines; returns the exit code. `now_ms` is the time since the Unix epoch in milliseconds.
pub fn ps(instances: &[Listed], now_ms: u64, options: &Options, io: Io) -> u8 {
    super::finish(printer(options, io), |printer| {
        match printer.format() {
            Format::Human if instances.is_empty() => printer.note("no engine is running; start one with: switchboard up -d"),
            Format::Human => {
                let head = ["NAME", "PID", "VERSION", "UPTIME", "SERVERS", "CALLS", "CLIENTS"].map(String::from).to_vec();
                let rows: Vec<Vec<String>> = std::iter::once(head).chain(instances.iter().map(|listed| row(listed, now_ms))).collect();
                printer.headed_table(&rows, |_, _| None)?;
            }
            Format::Json => {
                let instances = instances.iter().map(InstanceDocument::of).collect();
                printer.document(&InstancesDocument { kind: "instances", instances })?;
            }
            Format::Jsonl => printer.documents(instances.iter().map(InstanceDocument::of))?,
        }
        Ok(exit::OK)
    })
}

fn row(listed: &Listed, now_ms: u64) -> Vec<String> {
    let Listed { running, summary } = listed;
    let mut row = vec![running.name.clone()];
    match &running.info {
        Some(info) => {
            let uptime = Duration::from_millis(now_ms.saturating_sub(info.started_ms));
            row.extend([info.pid.to_string(), info.version.clone(), time::short(uptime)]);
        }
        None => row.extend(["", "", "starting"].map(String::from)),
    }
    match summary {
        Ok(summary) => {
            row.extend([format!("{} of {} connected", summary.connected, summary.servers), format!("{} in flight", summary.in_flight)])
        }
        Err(why) => row.extend([why.to_string(), String::new()]),
    }
    row.push(running.info.as_ref().map(|info| info.faces.join(", ")).unwrap_or_default());
    row
}

/// Reports that an engine runs now, on stderr.
pub fn is_up(name: &str, servers: usize, options: &Options, io: Io) -> u8 {
    super::finish(printer(options, io), |printer| {
        printer.note(&format!(
            "engine {name} is running with {}; open the console on it: switchboard attach {name}",
            counted(servers, "server")
        ));
        Ok(exit::OK)
    })
}

/// Reports that an engine has ended; returns the exit code.
pub fn is_down(name: &str, options: &Options, io: Io) -> u8 {
    super::finish(printer(options, io), |printer| {
        printer.note(&format!("engine {name} has ended"));
        Ok(exit::OK)
    })
}

/// Reports why an engine could not be found or registered; returns the exit code.
pub fn fail(error: &InstanceError, options: &Options, io: Io) -> u8 {
    let (kind, hint) = match error {
        InstanceError::Name { .. } => (FailureKind::InvalidArguments, None),
        InstanceError::Folder { .. } | InstanceError::File { .. } => (FailureKind::Refused, None),
        InstanceError::Taken { .. } => (FailureKind::NotReady, Some("choose another name, or end it with: switchboard down NAME")),
        InstanceError::Several { .. } => (FailureKind::InvalidArguments, Some("name one of them")),
        InstanceError::None | InstanceError::Unknown { .. } => (FailureKind::NotReady, Some("start one with: switchboard up -d")),
    };
    let failure = Failure::new(kind, error.to_string());
    super::fail(hint.into_iter().fold(failure, |failure, hint| failure.hint(hint)), options, io)
}

fn printer(options: &Options, io: Io) -> Printer {
    Printer::new(io, options.format, options.raw).masking(&options.secrets)
}
