//! The state mirror: the console's copy of the read model, updated by events, and which parts of the screen each event changes.

use std::{collections::HashSet, sync::Arc};

use crate::{
    domain::{
        ask::{Ask, AskEnd},
        event::{Event, EventKind, Notice},
        frame::Frame,
        id::{AskId, CallId, ServerId},
        time::Stamp,
    },
    state::ConsoleState,
};

/// What a batch of events changed, apart from figures.
#[derive(Debug, Default)]
pub struct Changes {
    /// Servers or their lists: the tree's rows must be rebuilt.
    pub lists: bool,
    /// Calls that progressed or ended.
    pub calls: HashSet<CallId>,
    /// Frames of calls, in order.
    pub frames: Vec<Arc<Frame>>,
    /// New questions.
    pub asked: Vec<Arc<Ask>>,
    /// Questions that were answered or withdrawn, and how.
    pub closed: Vec<(AskId, AskEnd)>,
    /// Resources that changed.
    pub updated: Vec<(ServerId, String)>,
    /// Notices for the user.
    pub notices: Vec<Arc<Notice>>,
}

/// The read model and the number of the last event in it.
pub struct StateMirror {
    /// The read model.
    pub read_model: ConsoleState,
    /// The time of the last event.
    pub last: Stamp,
}

impl StateMirror {
    /// Creates a mirror that starts from a snapshot.
    pub fn new(read_model: ConsoleState) -> StateMirror {
        StateMirror { read_model, last: Stamp::default() }
    }

    /// Applies events in order; those that the snapshot contains already change nothing.
    pub fn apply(&mut self, events: &[Arc<Event>]) -> Changes {
        let mut changes = Changes::default();
        for event in events.iter().filter(|e| e.seq > self.read_model.seq).collect::<Vec<_>>() {
            self.read_model.apply(event);
            self.last = self.last.max(event.at);
            changes.note(&event.kind);
        }
        changes
    }
}

impl Changes {
    fn note(&mut self, kind: &EventKind) {
        match kind {
            EventKind::ServerAdded { .. } | EventKind::ServerRemoved { .. } | EventKind::ServerListed { .. } | EventKind::Rules { .. } => {
                self.lists = true
            }
            EventKind::CallQueued { call, .. }
            | EventKind::CallSent { call, .. }
            | EventKind::CallStage { call, .. }
            | EventKind::CallProgress { call, .. }
            | EventKind::CallSettled { call, .. } => {
                self.calls.insert(*call);
            }
            EventKind::Frame { frame } if frame.call.is_some() => self.frames.push(frame.clone()),
            EventKind::AskOpened { ask } => self.asked.push(ask.clone()),
            EventKind::AskClosed { ask, how } => self.closed.push((*ask, *how)),
            EventKind::ResourceUpdated { server, uri } => self.updated.push((server.clone(), uri.clone())),
            EventKind::Notice { notice } => self.notices.push(notice.clone()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::test_support;

    #[test]
    fn known_events_change_nothing() {
        let (read_model, events) = test_support::shop();
        let mut mirror = StateMirror::new(read_model.clone());
        let changes = mirror.apply(&events);
        assert!(changes.lists && mirror.read_model.servers.len() == 5);
        let repeated = mirror.apply(&events);
        assert!(!repeated.lists && repeated.calls.is_empty());
        assert_eq!(mirror.read_model.seq, events.last().unwrap().seq);
    }
}
