//! One row of the traffic: a call or a message in 32 bytes.

use std::sync::Arc;

pub use crate::domain::filter::{CallState, RowKind};
use crate::domain::{
    call::{Origin, OriginKind},
    id::CallId,
    time::{Epoch, Stamp},
};

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The call's id, or the number of the text.
    pub link: u64,
    /// When it began; since the Unix epoch for a row of the history ([`Row::past`]).
    pub at: Stamp,
    /// Its duration in microseconds; 0 while it is in progress.
    pub took_us: u32,
    /// Bytes sent.
    pub sent: u32,
    /// Bytes received.
    pub got: u32,
    /// Server and tool: an index for [`super::Rows::name`].
    pub key: u16,
    /// Kind and origin.
    pub(super) kind: KindAndOrigin,
    /// The state of the call.
    pub state: CallState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KindAndOrigin(pub(super) u8);

impl Row {
    /// Returns the kind of the row.
    pub fn kind(&self) -> RowKind {
        let kind = usize::from(self.kind.0 & KIND);
        if kind >= RowKind::ALL.len() { RowKind::Call } else { RowKind::ALL[kind] }
    }

    /// Returns whether it is a row of the history.
    pub fn past(&self) -> bool {
        self.kind.0 & PAST != 0
    }

    /// Returns the local time of day at which it began.
    pub fn time_of_day(&self, epoch: &Epoch) -> String {
        self.epoch(epoch).time_of_day(self.at)
    }

    /// Returns when it began, in milliseconds since the Unix epoch.
    pub fn unix_ms(&self, epoch: &Epoch) -> u64 {
        self.epoch(epoch).unix_ms(self.at)
    }

    fn epoch(&self, epoch: &Epoch) -> Epoch {
        if self.past() { Epoch { unix_ms: 0, ..*epoch } } else { *epoch }
    }

    /// Returns the kind of the call's origin; `None` for other rows.
    pub fn origin(&self) -> Option<OriginKind> {
        let place = usize::from(self.kind.0 & KIND).checked_sub(RowKind::ALL.len())?;
        OriginKind::ALL.get(place).copied()
    }

    /// Returns whether there was more than one attempt, a cached response, or a response of another server.
    pub fn marks(&self) -> Marks {
        let has = |bit: u8| self.kind.0 & bit != 0;
        Marks { attempts: has(ATTEMPTS), cached: has(CACHED), elsewhere: has(ELSEWHERE) }
    }

    /// Returns the call id, if it is a call.
    pub fn call(&self) -> Option<CallId> {
        (self.kind() == RowKind::Call).then_some(CallId(self.link))
    }

    /// Returns when it ended, or `now` while it is in progress.
    pub fn end(&self, now: Stamp) -> Stamp {
        if self.state.pending() { now.max(self.at) } else { Stamp(self.at.0 + u64::from(self.took_us) * 1000) }
    }
}

/// Bits of the kind; a call with a known origin has a number after all kinds, in the order of [`OriginKind::ALL`].
const KIND: u8 = 15;
/// The bit of rows of the history.
pub(super) const PAST: u8 = 1 << 4;
/// Bits above kind and origin: marks of the response.
pub(super) const ATTEMPTS: u8 = 1 << 5;
pub(super) const CACHED: u8 = 1 << 6;
pub(super) const ELSEWHERE: u8 = 1 << 7;

/// What is unusual about the response to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// More than one attempt was made.
    pub attempts: bool,
    /// The response came from the cache, or is that of an equal call.
    pub cached: bool,
    /// Another server responded than the one that was called.
    pub elsewhere: bool,
}

pub(super) fn kind_of(kind: RowKind, origin: Option<Origin>) -> KindAndOrigin {
    let place = origin.and_then(|origin| OriginKind::ALL.iter().position(|known| *known == origin.kind()));
    KindAndOrigin(place.map_or(kind as u8, |place| (RowKind::ALL.len() + place) as u8))
}

/// The server and tool of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The server.
    pub server: Arc<str>,
    /// The tool, the URI, the method, the logger.
    pub tool: Arc<str>,
}
