//! What servers said has changed since it was read.
//!
//! `notifications/resources/updated` outdates the answers to reads of that resource and of those that it is a part of (MCP
//! 2025-11-25, server/resources: the URI may be a sub-resource of what was subscribed to), `…/resources/list_changed` all
//! reads of the server. Answers of tools hang on their schemas, which are part of their keys.

use std::collections::HashMap;

use crate::domain::id::ServerId;

/// Resources of one server of which it is remembered that they changed; of a server that tells of more, all count as changed.
const MOST: usize = 1000;

/// When something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Its number among all changes, from 1.
    pub number: u64,
    /// When, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// All changes that still matter.
#[derive(Debug, Default)]
pub struct Invalidations {
    number: u64,
    /// When the last change was: no two are at the same time, so that what is read between them has a time of its own.
    last_ms: u64,
    servers: HashMap<ServerId, OfServer>,
}

#[derive(Debug, Default)]
struct OfServer {
    /// Everything of it.
    all: Option<Change>,
    uris: HashMap<String, Change>,
}

impl Invalidations {
    /// The number of the last change.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A resource changed, or (`None`) any of the server's.
    pub fn changed(&mut self, server: &ServerId, uri: Option<&str>, unix_ms: u64) {
        self.number += 1;
        self.last_ms = unix_ms.max(self.last_ms + 1);
        let change = Change { number: self.number, unix_ms: self.last_ms };
        let of = self.servers.entry(server.clone()).or_default();
        match uri {
            Some(uri) if of.uris.len() < MOST || of.uris.contains_key(uri) => {
                of.uris.insert(uri.to_owned(), change);
            }
            _ => {
                of.uris.clear();
                of.all = Some(change);
            }
        }
    }

    /// The last change of a resource, by what was told.
    pub fn last(&self, server: &ServerId, uri: &str) -> Option<Change> {
        let of = self.servers.get(server)?;
        let part = of.uris.iter().filter(|(changed, _)| is_part(changed, uri)).map(|(_, change)| *change);
        part.chain(of.all).max()
    }
}

/// Whether `changed` is `uri` or something below it.
fn is_part(changed: &str, uri: &str) -> bool {
    changed.strip_prefix(uri).is_some_and(|rest| rest.is_empty() || uri.ends_with('/') || rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_outdates_the_resource_and_what_it_is_a_part_of() {
        let (a, b) = (ServerId::from("a"), ServerId::from("b"));
        let mut outdated = Invalidations::default();
        outdated.changed(&a, Some("file:///x/y"), 7);
        let number = |uri: &str| outdated.last(&a, uri).map(|change| change.number);
        assert_eq!((number("file:///x/y"), number("file:///x"), number("file:///x/")), (Some(1), Some(1), Some(1)));
        assert_eq!((number("file:///x/y/z"), number("file:///x/yy"), number("file:///x/")), (None, None, Some(1)));
        assert_eq!((number("file://"), outdated.last(&b, "file:///x/y")), (Some(1), None));
        outdated.changed(&a, None, 9);
        assert_eq!(outdated.last(&a, "other:"), Some(Change { number: 2, unix_ms: 9 }));
        outdated.changed(&a, None, 9);
        assert_eq!(outdated.last(&a, "other:"), Some(Change { number: 3, unix_ms: 10 }));
    }

    #[test]
    fn a_flood_is_bounded_and_forgets_no_change() {
        let a = ServerId::from("a");
        let mut outdated = Invalidations::default();
        for n in 0..=MOST as u64 {
            outdated.changed(&a, Some(&format!("r:{n}")), n);
        }
        assert!(outdated.servers[&a].uris.is_empty());
        assert_eq!(outdated.last(&a, "r:0").map(|change| change.unix_ms), Some(MOST as u64 + 1));
    }
}
