//! Requests of the engine itself to a connected server.

use std::sync::Arc;

use tokio::time::timeout;

use super::health::HEALTH_TIMEOUT;
use crate::{
    domain::event::LogLevel,
    engine::ports::{Session, SubscriptionChange},
};

/// Subscribes to updates of a resource, or unsubscribes.
pub async fn subscribe(session: Arc<dyn Session>, uri: &str, change: SubscriptionChange) -> Result<(), String> {
    if !session.info().declares(&["resources", "subscribe"]) {
        return Err("the server does not support subscriptions".into());
    }
    match timeout(HEALTH_TIMEOUT, session.subscribe(uri, change)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(failure.message),
        Err(_) => Err("no response".into()),
    }
}

/// Requests log messages of `level` and above.
pub async fn set_log_level(session: Arc<dyn Session>, level: &LogLevel) -> Result<(), String> {
    match timeout(HEALTH_TIMEOUT, session.set_log_level(level)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(failure.message),
        Err(_) => Err("no response".into()),
    }
}
