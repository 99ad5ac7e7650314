//! Keeps the work on incoming messages off the runtime's workers, or short: no connection may hold up timers, signals or other connections.
//!
//! Transports use it where they read.

use std::sync::Arc;

use super::connection::{Arrival, Connection, Outbox};
use crate::domain::body::Body;

/// Messages of up to this size are read on the runtime's worker, in bytes: that takes about a millisecond.
const INLINE: usize = 256 << 10;
/// The same for input that may hold many messages.
const INLINE_MANY: usize = 16 << 10;

/// Shares the runtime's worker between a connection that sends without a pause and everything else.
#[derive(Debug, Default)]
pub struct Pace {
    spent: usize,
}

impl Pace {
    /// Counts a message of `bytes`; lets others run after as much work as takes about a millisecond.
    pub async fn spend(&mut self, bytes: usize) {
        // A tiny message costs as much as some hundred bytes.
        self.spent += bytes + 512;
        if self.spent > INLINE {
            self.spent = 0;
            tokio::task::yield_now().await;
        }
    }
}

impl Connection {
    /// Takes in one message of the other end like [`Connection::incoming`], without holding up the runtime: a large message is read
    /// on a blocking thread. The caller reads the next message after this one, so the order stays.
    pub async fn take_in(self: &Arc<Self>, body: Body, arrival: Arrival, outbox: &Arc<dyn Outbox>) {
        // A batch array or a broken line of this size can hold thousands of messages.
        let plain = body.bytes().first() == Some(&b'{') && body.bytes().trim_ascii_end().last() == Some(&b'}');
        if body.len() <= if plain { INLINE } else { INLINE_MANY } {
            return self.incoming(body, &arrival, outbox);
        }
        let (connection, outbox) = (self.clone(), outbox.clone());
        // A panic within is reported by the hook; the message is lost, the connection is not.
        let _ = tokio::task::spawn_blocking(move || connection.incoming(body, &arrival, &outbox)).await;
    }
}
