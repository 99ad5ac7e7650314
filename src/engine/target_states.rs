//! What a process learned about servers, for later and other processes: stored on this machine, and shared through the store of the
//! response cache where other processes read it. Of two states the newer one is restored.
//!
//! Only the state of remote servers is shared: a program is started by each process, on its own machine.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    dispatch::CacheFront,
    ports::{CatalogStore, ResponseCache},
};
use crate::domain::{
    policy::target_state::{self, MAX_AGE, TargetState},
    server::{ServerSpec, Transport},
    stored_catalog::Hash,
};

/// Largest shared state, in bytes of JSON.
const MAX_BYTES: usize = 64 << 10;

/// A shared state as JSON.
#[derive(Serialize, Deserialize)]
struct Shared {
    /// Milliseconds since the Unix epoch.
    stored_ms: u64,
    state: TargetState,
}

fn shared_key(key: &Hash) -> String {
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("state:{hex}")
}

/// Returns the store in which the state of a server is shared, if there is one.
fn store_of(spec: &ServerSpec, cache: &CacheFront) -> Option<Arc<dyn ResponseCache>> {
    cache.store().filter(|store| store.shared() && matches!(spec.launch, Transport::Http { .. }))
}

/// Returns the last state of a server and its age.
pub async fn load(spec: &ServerSpec, cache: &CacheFront, catalogs: &dyn CatalogStore, now_ms: u64) -> Option<(TargetState, Duration)> {
    let key = target_state::key(spec);
    let shared = async {
        let value = store_of(spec, cache)?.shared_value(&shared_key(&key)).await?;
        // Other programs can write to the store: a value that is not a state counts as missing.
        let Shared { stored_ms, state } = serde_json::from_slice(value.get(..MAX_BYTES).unwrap_or(&value)).ok()?;
        let age = Duration::from_millis(now_ms.saturating_sub(stored_ms));
        (age <= MAX_AGE).then_some((state, age))
    };
    let (shared, stored) = tokio::join!(shared, catalogs.target_state(&key, now_ms));
    [shared, stored].into_iter().flatten().min_by_key(|(_, age)| *age)
}

/// Stores and shares the state of a server.
pub async fn save(spec: &ServerSpec, state: TargetState, cache: &CacheFront, catalogs: &dyn CatalogStore, now_ms: u64) {
    let key = target_state::key(spec);
    if let Some(store) = store_of(spec, cache) {
        let shared = Shared { stored_ms: now_ms, state: state.clone() };
        if let Some(json) = serde_json::to_vec(&shared).ok().filter(|json| json.len() <= MAX_BYTES) {
            store.share_value(&shared_key(&key), &json, MAX_AGE).await;
        }
    }
    catalogs.save_target_state(&key, state, now_ms).await;
}
