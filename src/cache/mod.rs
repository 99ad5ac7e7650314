//! The stores of the response cache: in this process, or shared in Redis.
//!
//! Owns the stores behind [`ResponseCache`]; the only place that names `moka` and `redis`. The composition root
//! chooses one by the configuration ([`open`]).

mod memory;
mod redis;

use std::sync::Arc;

pub use self::{memory::Memory, redis::Redis};
use crate::{domain::policy::cache::CacheSettings, engine::ports::ResponseCache};

/// Opens the store that is configured, within a runtime. Waits for nothing: a Redis that is not there is a trouble of the
/// store. Fails only on addresses that mean nothing.
pub fn open(settings: &CacheSettings) -> Result<Arc<dyn ResponseCache>, String> {
    Ok(match settings.redis.as_slice() {
        [] => Arc::new(Memory::new(settings.bytes)),
        _ => Arc::new(Redis::open(settings)?),
    })
}
