//! What the gateway offers at this time: the table of the current lists, its pages, and the wait for starting servers.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    Settings,
    era::Kind,
    failure,
    table::{List, Naming, Table},
    upstream::Upstream,
};
use crate::domain::{
    body::Body,
    bounds,
    call::RpcError,
    directory::{DirectorySnapshot, ServerSnapshot},
    id::ServerId,
    profile::Profile,
    server::Phase,
    workflow::library::WorkflowEntry,
};

/// Maximum number of lists that are remembered for clients that read them page by page.
const PAGED: usize = 16;

/// The table of what is offered, built again when a server changes.
pub struct Offer {
    upstream: Arc<dyn Upstream>,
    settings: Settings,
    changes: Changes,
    built: Mutex<Built>,
    /// The lists that clients read page by page, so that a change does not skip or repeat entries.
    paged: Mutex<VecDeque<(Kind, List)>>,
    /// Until when the first list waits for starting servers.
    wait_until: Instant,
    /// Whether no list waits any more.
    waited: AtomicBool,
}

struct Built {
    /// The change that the tables were built after; `None` to build them again.
    change: Option<u64>,
    /// The workflows that they were built from.
    workflows: Arc<[WorkflowEntry]>,
    /// The tables by profile, as they are needed.
    tables: HashMap<Arc<str>, Arc<Table>>,
    directory: DirectorySnapshot,
    hidden: HashSet<ServerId>,
    /// Since when servers have been unreachable.
    unreachable: HashMap<ServerId, Instant>,
}

/// The position after an entry of a list. Not secret: a client that changes it only skips or repeats entries.
#[derive(Serialize, Deserialize)]
struct Cursor {
    /// The list.
    list: String,
    /// Its digest.
    digest: u64,
    /// The last entry of the page.
    after: String,
    /// Its position plus one, in case that it is not listed any more.
    place: usize,
}

impl Offer {
    /// Offers the servers behind `upstream`. The wait for starting servers begins now.
    pub fn new(upstream: Arc<dyn Upstream>, settings: Settings) -> Offer {
        let built = Built {
            change: None,
            workflows: Arc::from([]),
            tables: HashMap::new(),
            directory: DirectorySnapshot::default(),
            hidden: HashSet::new(),
            unreachable: HashMap::new(),
        };
        let wait_until = Instant::now() + settings.list_wait;
        Offer {
            changes: Changes { directory: upstream.directory_changes(), workflows: upstream.workflows() },
            built: Mutex::new(built),
            paged: Mutex::default(),
            wait_until,
            waited: AtomicBool::new(false),
            upstream,
            settings,
        }
    }

    /// Returns the current table of a profile.
    pub fn table(&self, profile: &Profile) -> Arc<Table> {
        // Read before the directory, so that a change in between builds the table again.
        let (change, workflows) = (*self.changes.directory.borrow(), self.changes.workflows.borrow().clone());
        let mut built = self.built.lock();
        if built.change != Some(change) || !Arc::ptr_eq(&built.workflows, &workflows) {
            built.directory = self.upstream.directory();
            built.note_unreachable();
            built.hidden = built.hidden(&self.settings);
            built.workflows = workflows;
            built.tables.clear();
            built.change = Some(change);
        }
        if let Some(table) = built.tables.get(&profile.name) {
            return table.clone();
        }
        let naming = Naming { separator: self.settings.separator.clone(), transparent: self.settings.transparent };
        let table = Arc::new(Table::build(built.directory.clone(), &naming, &built.hidden, profile, &built.workflows));
        built.tables.insert(profile.name.clone(), table.clone());
        table
    }

    /// Waits until every server has connected or failed once, at most until [`Settings::list_wait`] after the start.
    pub async fn ready(&self) {
        if self.waited.load(Ordering::Relaxed) {
            return;
        }
        let mut changes = self.changes.directory.clone();
        let all_settled = async {
            while self.upstream.directory().servers.iter().any(is_starting) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // After the limit the last known lists are used.
        let _ = timeout_at(self.wait_until, all_settled).await;
        self.waited.store(true, Ordering::Relaxed);
    }

    /// Returns a page of a list, as the result of its request.
    pub fn page(&self, table: &Table, kind: Kind, cursor: Option<&str>) -> Result<Body, RpcError> {
        let (list, start) = match cursor {
            Some(cursor) => self.position(table, kind, cursor).ok_or_else(|| failure::invalid("the cursor is unknown"))?,
            None => (table.list(kind).clone(), 0),
        };
        let entries = &list.entries;
        let mut text = format!("{{\"{}\":[", kind.member()).into_bytes();
        let mut next = start;
        while let Some(entry) = entries.get(next) {
            let on_page = next - start;
            if on_page >= self.settings.page_entries || (on_page > 0 && text.len() + entry.body.len() > self.settings.page_bytes) {
                break;
            }
            if on_page > 0 {
                text.push(b',');
            }
            text.extend_from_slice(entry.body.bytes());
            next += 1;
        }
        text.push(b']');
        if next < entries.len()
            && let Some(last) = next.checked_sub(1).and_then(|last| entries.get(last))
        {
            let cursor = Cursor { list: kind.member().into(), digest: list.digest, after: last.key.to_string(), place: next };
            self.remember(kind, &list);
            let cursor = URL_SAFE_NO_PAD.encode(Body::json(&cursor).bytes());
            text.extend_from_slice(format!(",\"nextCursor\":\"{cursor}\"").as_bytes());
        }
        text.push(b'}');
        Ok(Body::new(text))
    }

    /// Remembers a list that is read page by page.
    fn remember(&self, kind: Kind, list: &List) {
        let mut paged = self.paged.lock();
        if !paged.iter().any(|(known, of)| *known == kind && of.digest == list.digest) {
            paged.truncate(PAGED - 1);
            paged.push_front((kind, list.clone()));
        }
    }

    /// Returns the list that a cursor belongs to and the position in it. If the list is not remembered any more, that is the current
    /// one, after the entry of the cursor or where that was.
    fn position(&self, table: &Table, kind: Kind, cursor: &str) -> Option<(List, usize)> {
        if cursor.len() > 2 * bounds::CURSOR {
            return None;
        }
        let cursor: Cursor = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        if cursor.list != kind.member() {
            return None;
        }
        let paged = self.paged.lock();
        if let Some((_, list)) = paged.iter().find(|(known, list)| *known == kind && list.digest == cursor.digest) {
            return Some((list.clone(), cursor.place.min(list.entries.len())));
        }
        let list = table.list(kind).clone();
        let place = table.place(kind, &cursor.after).map_or(cursor.place.min(list.entries.len()), |place| place + 1);
        Some((list, place))
    }

    /// Resolves when the table may have changed: after a change of a server, or when entries of an unreachable server expire.
    pub async fn changed(&self, changes: &mut Changes) -> Result<(), watch::error::RecvError> {
        let expiry = self.built.lock().next_expiry(&self.settings);
        let Some(expiry) = expiry else { return changes.changed().await };
        match timeout_at(expiry, changes.changed()).await {
            Ok(changed) => changed,
            Err(_) => {
                self.built.lock().change = None;
                Ok(())
            }
        }
    }

    /// Returns a receiver for [`Offer::changed`].
    pub fn changes(&self) -> Changes {
        self.changes.clone()
    }
}

/// The changes of what the table is built from.
#[derive(Clone)]
pub struct Changes {
    directory: watch::Receiver<u64>,
    workflows: watch::Receiver<Arc<[WorkflowEntry]>>,
}

impl Changes {
    /// Resolves after a change. Fails when the engine has ended.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        // Workflows whose source has ended do not change any more.
        let workflows = async {
            if self.workflows.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            changed = self.directory.changed() => changed,
            () = workflows => Ok(()),
        }
    }
}

impl Built {
    fn note_unreachable(&mut self) {
        let (now, directory) = (Instant::now(), &self.directory);
        self.unreachable.retain(|id, _| directory.server(id).is_some_and(|server| !server.phase.usable()));
        for server in directory.servers.iter() {
            if matches!(*server.phase, Phase::Reconnecting { .. } | Phase::Failed { .. }) {
                self.unreachable.entry(server.spec.id.clone()).or_insert(now);
            }
        }
    }

    /// Returns the servers whose entries are not listed any more.
    fn hidden(&self, settings: &Settings) -> HashSet<ServerId> {
        let expired = self.unreachable.iter().filter(|(_, since)| since.elapsed() >= settings.list_grace);
        expired.map(|(id, _)| id.clone()).collect()
    }

    /// Returns when the next entries expire.
    fn next_expiry(&self, settings: &Settings) -> Option<Instant> {
        let expiries = self.unreachable.values().map(|since| *since + settings.list_grace);
        expiries.filter(|expiry| *expiry > Instant::now()).min()
    }
}

/// Returns whether a server has neither connected nor failed.
fn is_starting(server: &ServerSnapshot) -> bool {
    matches!(*server.phase, Phase::Starting { .. })
}
