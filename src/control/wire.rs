//! The messages between a client and an engine in another process: plain data, encoded as [`packet`]s.
//!
//! The client sends [`ClientMessage::Hello`] first. The engine replies with [`EngineMessage::Hello`], the state of the workspace
//! and a snapshot in parts; events follow without gap or duplicate. After [`EngineMessage::Lagged`] a new snapshot follows.
//! Replies come in any order, with the number of their request, and go to the client that made the request only.
//!
//! Secrets do not cross: events are masked before they are published, and [`EngineMessage::encode`] masks what became known
//! since, and what users typed. Names by which servers, tools and steps are found stay, as in the events.

pub mod packet;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::packet::{Encoded, PacketError};
use super::{Command, CommandError, Reply, Role, SubmitError, WorkspaceError, WorkspaceReply, WorkspaceRequest, WorkspaceState};
use crate::{
    domain::{
        call::CallSpec,
        event::{Event, EventKind},
        frame::Frame,
        id::{CallId, ClientId, InstanceId, ServerId},
        masked,
        secret::Redactor,
        stored_catalog::Hash,
    },
    state::SnapshotPart,
};

/// The version of the messages. Both ends must have the same.
pub const PROTOCOL: u32 = 1;

/// The largest message of a client, in bytes.
pub const MAX_REQUEST: usize = 64 << 20;

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientMessage {
    /// The first message. Any two versions of it can be decoded by each other, so that the version is compared.
    Hello {
        /// The version of the client's messages.
        protocol: u32,
        /// The version of the client.
        version: String,
        /// Whether the client wants frames.
        #[serde(default)]
        frames: bool,
        /// The role that the client wants. The engine may grant a lesser one.
        #[serde(default)]
        role: Role,
    },
    /// Compares specifications of servers with those of the engine. Reply: [`EngineMessage::Compared`].
    Compare {
        /// The number of the request.
        request: u64,
        /// The servers, with the hashes of what they are in the client's configuration ([`spec_hash`](crate::domain::spec_hash::spec_hash)).
        servers: Vec<(ServerId, Hash)>,
    },
    /// Starts a call. Reply: [`EngineMessage::Submitted`].
    Submit {
        /// The number of the request.
        request: u64,
        /// The call.
        spec: Box<CallSpec>,
    },
    /// Gives a command. Reply: [`EngineMessage::CommandReply`].
    Command {
        /// The number of the request.
        request: u64,
        /// The command.
        command: Box<Command>,
    },
    /// Makes a request to the workspace. Reply: [`EngineMessage::WorkspaceReply`].
    Workspace {
        /// The number of the request.
        request: u64,
        /// The request to the workspace.
        content: Box<WorkspaceRequest>,
    },
}

/// A message of an engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineMessage {
    /// The reply to [`ClientMessage::Hello`].
    Hello(Hello),
    /// The client has another version of the messages. The engine closes the connection.
    Refused {
        /// The version of the engine's messages.
        protocol: u32,
        /// The version of the engine.
        version: String,
    },
    /// A part of the read model.
    Snapshot(SnapshotPart),
    /// Events in order, without frames.
    Events(Vec<Arc<Event>>),
    /// Frames in order.
    Frames {
        /// The frames.
        frames: Vec<SequencedFrame>,
        /// How many earlier frames were dropped because the client reads too slowly.
        dropped: u64,
    },
    /// Events were lost because the client reads too slowly. A snapshot follows.
    Lagged {
        /// How many events were lost.
        missed: u64,
    },
    /// The reply to [`ClientMessage::Compare`].
    Compared {
        /// The number of the request.
        request: u64,
        /// The servers that the engine does not have, or has with another specification.
        different: Vec<ServerId>,
    },
    /// The reply to a submitted call.
    Submitted {
        /// The number of the request.
        request: u64,
        /// The id of the call, or why it was not started.
        result: Result<CallId, SubmitError>,
    },
    /// The reply to a command.
    CommandReply {
        /// The number of the request.
        request: u64,
        /// The reply, or why the command was not carried out.
        result: Result<Reply, CommandError>,
    },
    /// The reply to a request to the workspace.
    WorkspaceReply {
        /// The number of the request.
        request: u64,
        /// The reply, or why the request was not carried out.
        result: Box<Result<WorkspaceReply, WorkspaceError>>,
    },
    /// The current state of the workspace.
    WorkspaceState(Box<WorkspaceState>),
}

/// The first message of an engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the messages.
    pub protocol: u32,
    /// The version of the engine.
    pub version: String,
    /// The run of the engine. All ids are unique within it only.
    pub instance: InstanceId,
    /// The id of the client.
    pub client: ClientId,
    /// The role of the client.
    pub role: Role,
}

/// A frame with its place among the events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequencedFrame {
    /// The number of its event.
    pub seq: u64,
    /// The frame.
    pub frame: Arc<Frame>,
}

impl From<SequencedFrame> for Event {
    fn from(SequencedFrame { seq, frame }: SequencedFrame) -> Event {
        Event { seq, at: frame.at, kind: EventKind::Frame { frame } }
    }
}

impl ClientMessage {
    /// Encodes the message.
    ///
    /// Errors: the message is larger than [`MAX_REQUEST`].
    pub fn encode(&self) -> Result<Encoded, PacketError> {
        packet::encode(self, MAX_REQUEST)
    }
}

impl EngineMessage {
    /// Encodes the message with every known secret masked.
    ///
    /// Errors: the message is larger than 4 GiB.
    pub fn encode(mut self, redactor: &Redactor) -> Result<Encoded, PacketError> {
        self.display_specs();
        let encoded = packet::encode_bodies(&self, packet::MAX, |body| body.redacted(redactor))?;
        if !redactor.finds(encoded.head()) {
            return Ok(encoded);
        }
        self.mask(redactor);
        packet::encode_bodies(&self, packet::MAX, |body| body.redacted(redactor))
    }

    /// Replaces the specifications of servers by what another process may see of them.
    fn display_specs(&mut self) {
        match self {
            EngineMessage::Snapshot(SnapshotPart::Base { state }) => {
                for server in &mut state.servers {
                    server.spec = Arc::new(server.spec.displayed());
                }
            }
            EngineMessage::Events(events) => {
                for event in events {
                    if let EventKind::ServerAdded { spec } = &event.kind {
                        let kind = EventKind::ServerAdded { spec: Arc::new(spec.displayed()) };
                        *event = Arc::new(Event { kind, ..Event::clone(event) });
                    }
                }
            }
            _ => {}
        }
    }

    fn mask(&mut self, redactor: &Redactor) {
        match self {
            EngineMessage::Snapshot(part) => part.mask(redactor),
            EngineMessage::Events(events) => {
                events.iter_mut().for_each(|event| masked::crossing(redactor, &mut Arc::make_mut(event).kind));
            }
            EngineMessage::Frames { frames, .. } => {
                for SequencedFrame { frame, .. } in frames {
                    masked::frame(redactor, frame);
                }
            }
            // Replies hold no text of a server that is not masked where they are made. The workspace masks its own texts.
            EngineMessage::Hello(_)
            | EngineMessage::Refused { .. }
            | EngineMessage::Lagged { .. }
            | EngineMessage::Compared { .. }
            | EngineMessage::Submitted { .. }
            | EngineMessage::CommandReply { .. }
            | EngineMessage::WorkspaceReply { .. }
            | EngineMessage::WorkspaceState(_) => {}
        }
    }
}
