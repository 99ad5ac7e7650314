//! Cache invalidation by server notifications: owns the resource changes that servers reported.
//!
//! `notifications/resources/updated` invalidates cached reads of that resource and of resources that contain it (MCP
//! 2025-11-25, server/resources: the URI may be a sub-resource of the subscribed one), `…/resources/list_changed` invalidates
//! all reads of the server. Responses of tools need no invalidation: the tool's schema is part of their cache key.

use std::collections::HashMap;

use crate::domain::id::ServerId;

/// Changed resources remembered per server. If a server reports more, all its resources count as changed.
const MAX_URIS: usize = 1000;

/// A reported change of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The number of the change, from 1.
    pub number: u64,
    /// Its time in milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// All changes that still matter.
#[derive(Debug, Default)]
pub struct Invalidations {
    number: u64,
    /// The time of the last change. No two changes have the same time, so that a read between them has its own.
    last_ms: u64,
    servers: HashMap<ServerId, ServerChanges>,
}

#[derive(Debug, Default)]
struct ServerChanges {
    /// The last change of all resources.
    all: Option<Change>,
    uris: HashMap<String, Change>,
}

impl Invalidations {
    /// Returns the number of the last change.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Records a change of a resource, or (`None`) of all resources of the server.
    pub fn changed(&mut self, server: &ServerId, uri: Option<&str>, unix_ms: u64) {
        self.number += 1;
        self.last_ms = unix_ms.max(self.last_ms + 1);
        let change = Change { number: self.number, unix_ms: self.last_ms };
        let changes = self.servers.entry(server.clone()).or_default();
        match uri {
            Some(uri) if changes.uris.len() < MAX_URIS || changes.uris.contains_key(uri) => {
                changes.uris.insert(uri.to_owned(), change);
            }
            _ => {
                changes.uris.clear();
                changes.all = Some(change);
            }
        }
    }

    /// Returns the last reported change of a resource.
    pub fn last(&self, server: &ServerId, uri: &str) -> Option<Change> {
        let changes = self.servers.get(server)?;
        let uri_changes = changes.uris.iter().filter(|(changed, _)| is_same_or_below(changed, uri)).map(|(_, change)| *change);
        uri_changes.chain(changes.all).max()
    }
}

/// Returns whether `changed` is `uri` or a sub-resource of it.
fn is_same_or_below(changed: &str, uri: &str) -> bool {
    changed.strip_prefix(uri).is_some_and(|rest| rest.is_empty() || uri.ends_with('/') || rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_invalidates_the_resource_and_those_that_contain_it() {
        let (a, b) = (ServerId::from("a"), ServerId::from("b"));
        let mut invalidations = Invalidations::default();
        invalidations.changed(&a, Some("file:///x/y"), 7);
        let number = |uri: &str| invalidations.last(&a, uri).map(|change| change.number);
        assert_eq!((number("file:///x/y"), number("file:///x"), number("file:///x/")), (Some(1), Some(1), Some(1)));
        assert_eq!((number("file:///x/y/z"), number("file:///x/yy"), number("file:///x/")), (None, None, Some(1)));
        assert_eq!((number("file://"), invalidations.last(&b, "file:///x/y")), (Some(1), None));
        invalidations.changed(&a, None, 9);
        assert_eq!(invalidations.last(&a, "other:"), Some(Change { number: 2, unix_ms: 9 }));
        invalidations.changed(&a, None, 9);
        assert_eq!(invalidations.last(&a, "other:"), Some(Change { number: 3, unix_ms: 10 }));
    }

    #[test]
    fn many_changes_are_bounded_and_none_is_lost() {
        let a = ServerId::from("a");
        let mut invalidations = Invalidations::default();
        for n in 0..=MAX_URIS as u64 {
            invalidations.changed(&a, Some(&format!("r:{n}")), n);
        }
        assert!(invalidations.servers[&a].uris.is_empty());
        assert_eq!(invalidations.last(&a, "r:0").map(|change| change.unix_ms), Some(MAX_URIS as u64 + 1));
    }
}
