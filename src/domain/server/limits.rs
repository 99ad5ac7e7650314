//! Limits of a server: of time, of size, and of the sessions of clients.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Transport;

/// Time limits of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// From the start to the end of the handshake.
    pub connect: Duration,
    /// How long to wait for `server/discover` before trying `initialize` (era `auto`); at most 2 s for a program that has
    /// written nothing to stdout, unless this is more than the default.
    pub probe: Duration,
    /// Overall deadline of a call; progress restarts it.
    pub call: Duration,
    /// Hard limit of a call, regardless of progress.
    pub call_max: Duration,
    /// For one list, including all pages.
    pub list: Duration,
    /// Interval between health checks of an idle HTTP server; zero disables them.
    pub health: Duration,
    /// From closing stdin to SIGTERM, and from there to SIGKILL. When the program itself ends it is at most 300 ms, unless it
    /// is set to more than the default.
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            probe: Duration::from_secs(5),
            call: Duration::from_secs(60),
            call_max: Duration::from_secs(600),
            list: Duration::from_secs(15),
            health: Duration::from_secs(15),
            stop: Duration::from_secs(2),
        }
    }
}

/// Size limits of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Maximum size of a received message, in bytes.
    pub message_bytes: usize,
    /// Maximum number of pages read per list.
    pub pages: usize,
    /// Maximum number of items stored per list.
    pub items: usize,
    /// Bytes of stderr stored.
    pub stderr_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: 16 << 20, pages: 1000, items: 10_000, stderr_bytes: 256 << 10 }
    }
}

/// Limits of the own sessions of clients at one server. A client that declares capabilities gets its own session at a legacy
/// server, in addition to the one that all others share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLimits {
    /// Most own sessions; zero lets all clients share one, in which the server can ask them nothing.
    pub max: usize,
    /// How long one is open without calls; [`SessionLimits::idle_time`] has the default.
    pub idle: Option<Duration>,
}

impl SessionLimits {
    /// Returns how long a session is open without calls: by default 5 minutes for a program, 10 for an address.
    pub fn idle_time(&self, launch: &Transport) -> Duration {
        let minutes = if matches!(launch, Transport::Stdio { .. }) { 5 } else { 10 };
        self.idle.unwrap_or(Duration::from_secs(60 * minutes))
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { max: 8, idle: None }
    }
}
