//! The console's own copy of the world, kept up to date by events, and what they mean for the screen.

use std::{collections::HashSet, sync::Arc};

use crate::domain::{
    ask::Ask,
    event::{Event, EventKind, Notice},
    frame::Frame,
    id::{AskId, CallId, ServerId},
    time::Stamp,
    world::World,
};

/// What a batch of events changed beyond figures.
#[derive(Debug, Default)]
pub struct Changes {
    /// Servers or their lists: the tree's rows have to be made anew.
    pub lists: bool,
    /// Calls that went on or ended.
    pub calls: HashSet<CallId>,
    /// Frames of calls, in order.
    pub frames: Vec<Arc<Frame>>,
    /// New questions.
    pub asked: Vec<Arc<Ask>>,
    /// Questions that were answered or withdrawn, and how.
    pub closed: Vec<(AskId, String)>,
    /// Resources that changed.
    pub updated: Vec<(ServerId, String)>,
    /// News for the user.
    pub notices: Vec<Arc<Notice>>,
}

/// The world and how far it has been taken in.
pub struct Feed {
    /// What is known.
    pub world: World,
    /// The time of the last event.
    pub last: Stamp,
}

impl Feed {
    /// A feed that goes on from a snapshot.
    pub fn new(world: World) -> Feed {
        Feed { world, last: Stamp::default() }
    }

    /// Takes in events in order; those that the snapshot already held change nothing.
    pub fn apply(&mut self, events: &[Arc<Event>]) -> Changes {
        let mut changes = Changes::default();
        for event in events.iter().filter(|e| e.seq > self.world.seq).collect::<Vec<_>>() {
            self.world.apply(event);
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
            EventKind::AskClosed { ask, how } => self.closed.push((*ask, how.clone())),
            EventKind::ResourceUpdated { server, uri } => self.updated.push((server.clone(), uri.clone())),
            EventKind::Notice { notice } => self.notices.push(notice.clone()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fake;

    #[test]
    fn known_events_change_nothing() {
        let (world, events) = fake::shop();
        let mut feed = Feed::new(world.clone());
        let changes = feed.apply(&events);
        assert!(changes.lists && feed.world.servers.len() == 5);
        let again = feed.apply(&events);
        assert!(!again.lists && again.calls.is_empty());
        assert_eq!(feed.world.seq, events.last().unwrap().seq);
    }
}
