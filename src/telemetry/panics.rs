//! Panics in the log.

use std::panic;

use super::Log;

/// Writes panics to the log before the current hook reports them.
pub fn hook_panics(log: &Log) {
    let log = log.clone();
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        tracing::error!(target: "switchboard::panic", thread = std::thread::current().name().unwrap_or_default(), "{info}");
        log.flush();
        previous(info);
    }));
}
