//! The lines of `--jsonl` before the last: what happens during a command.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Session, Stop, raw};
use crate::domain::{
    event::{Event, EventKind},
    frame::Direction,
    id::ServerId,
};

impl Session<'_> {
    /// Prints the line of an event, if it has one.
    pub(super) fn show_line(&mut self, event: &Event) -> Result<(), Stop> {
        let at = self.read_model.epoch.unix_ms(event.at);
        let line = match &event.kind {
            EventKind::CallProgress { call, progress } if Some(*call) == self.call => Line::Progress {
                at,
                call: call.to_string(),
                progress: progress.progress,
                total: progress.total,
                message: progress.message.as_deref(),
            },
            EventKind::CallSent { call, round } if Some(*call) == self.call => Line::Sent { at, call: call.to_string(), round: *round },
            EventKind::CallStage { call, stage } if Some(*call) == self.call => {
                Line::CallEvent { at, call: call.to_string(), event: stage.tag(), text: stage.words() }
            }
            EventKind::ServerLog { server, log } => Line::Log {
                at,
                server,
                level: log.level.word(),
                logger: log.logger.as_deref(),
                text: &log.text,
                call: log.call.map(|c| c.to_string()),
            },
            EventKind::ServerPhase { server, phase } => Line::Phase { at, server, state: phase.word() },
            EventKind::ServerAnomaly { server, anomaly } => {
                Line::Anomaly { at, server, kind: anomaly.kind.words(), detail: &anomaly.detail }
            }
            EventKind::ServerStderr { server, line } if self.options.verbose => Line::Stderr { at, server, text: line },
            EventKind::Frame { frame } if self.options.verbose => Line::Frame {
                at,
                server: &frame.server,
                direction: match frame.direction {
                    Direction::Out => "out",
                    Direction::In => "in",
                },
                call: frame.call.map(|c| c.to_string()),
                size: frame.size,
                cut: frame.cut,
                message: raw(&frame.body),
                text: raw(&frame.body).is_none().then(|| frame.body.text().into_owned()),
            },
            _ => return Ok(()),
        };
        Ok(self.printer.document(&line)?)
    }
}

/// A line of `--jsonl` before the last. `at` is in milliseconds since the Unix epoch. The id of a call is a string, because
/// JSON parsers round 64-bit numbers.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    Phase {
        at: u64,
        server: &'a ServerId,
        state: &'a str,
    },
    Sent {
        at: u64,
        call: String,
        round: u32,
    },
    CallEvent {
        at: u64,
        call: String,
        event: &'a str,
        text: String,
    },
    Progress {
        at: u64,
        call: String,
        progress: f64,
        total: Option<f64>,
        message: Option<&'a str>,
    },
    Log {
        at: u64,
        server: &'a ServerId,
        level: &'a str,
        logger: Option<&'a str>,
        text: &'a str,
        call: Option<String>,
    },
    Ask {
        server: &'a ServerId,
        call: Option<String>,
        kind: &'a str,
        message: &'a str,
        answer: &'a str,
    },
    Anomaly {
        at: u64,
        server: &'a ServerId,
        kind: &'a str,
        detail: &'a str,
    },
    Stderr {
        at: u64,
        server: &'a ServerId,
        text: &'a str,
    },
    Frame {
        at: u64,
        server: &'a ServerId,
        direction: &'a str,
        call: Option<String>,
        size: u64,
        /// Size of the whole message in bytes, if it is truncated here.
        #[serde(skip_serializing_if = "Option::is_none")]
        cut: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
}
