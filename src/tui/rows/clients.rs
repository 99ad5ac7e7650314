//! The clients of the rows: two bytes for each row, and the names of the clients.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::domain::{call::CallSpec, id::ClientId};

/// A client in rows: a place in the table of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(u16);

impl ClientKey {
    /// Calls of this process, and rows that belong to no call.
    pub const NONE: ClientKey = ClientKey(0);
}

/// The client of a row, and the name by which it is found.
#[derive(Clone, Debug, PartialEq)]
pub struct RowClient {
    /// Its id.
    pub id: ClientId,
    /// Its name, as it described itself.
    pub name: Option<Arc<str>>,
}

impl RowClient {
    /// Returns its display name: that by which it described itself, else its number.
    pub fn label(&self) -> Arc<str> {
        self.name.clone().unwrap_or_else(|| format!("client {}", self.id).into())
    }
}

/// The clients of all rows in the ring, in the order of the rows.
#[derive(Default)]
pub(super) struct RowClients {
    of_rows: VecDeque<ClientKey>,
    table: Vec<RowClient>,
    keys: HashMap<ClientId, ClientKey>,
}

impl RowClients {
    /// Adds the newest row.
    pub fn push(&mut self, key: ClientKey) {
        self.of_rows.push_back(key);
    }

    /// Removes the oldest row.
    pub fn pop(&mut self) {
        self.of_rows.pop_front();
    }

    /// Returns the client of a row, counted from the oldest.
    pub fn of(&self, place: usize) -> ClientKey {
        self.of_rows.get(place).copied().unwrap_or_default()
    }

    /// Returns the clients of all rows so far, with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (ClientKey, &RowClient)> {
        (1..).map(ClientKey).zip(&self.table)
    }

    /// Returns the client of a key; `None` for [`ClientKey::NONE`].
    pub fn get(&self, key: ClientKey) -> Option<&RowClient> {
        self.table.get(usize::from(key.0).checked_sub(1)?)
    }

    /// Returns the key of the client of a call.
    pub fn key(&mut self, spec: &CallSpec) -> ClientKey {
        if spec.client.is_local() {
            return ClientKey::NONE;
        }
        if let Some(key) = self.keys.get(&spec.client) {
            return *key;
        }
        // Further clients are not distinguished.
        let Ok(key) = u16::try_from(self.table.len() + 1).map(ClientKey) else { return ClientKey::NONE };
        self.table.push(RowClient { id: spec.client, name: spec.client_name.clone() });
        self.keys.insert(spec.client, key);
        key
    }
}
