//! A test hook that kills the program within a write of the journal. Debug builds only.
//!
//! The tests of resumption need a program that dies in the middle of a transaction, at an entry that they choose.

use rustix::process::{Signal, getpid, kill_process};

/// The variable with the number of the entry, counted from 1 over the entries that the program writes.
const VARIABLE: &str = "SWITCHBOARD_KILL_AT_ENTRY";

/// The number of entries until the program is killed; `None` without a kill.
#[derive(Debug)]
pub struct KillPoint(Option<usize>);

impl KillPoint {
    /// Reads the variable.
    pub fn from_environment() -> KillPoint {
        let wanted = || std::env::var(VARIABLE).ok()?.parse().ok();
        KillPoint(if cfg!(debug_assertions) { wanted() } else { None })
    }

    /// Kills the program if the last of this many entries, which are not committed, is the chosen one.
    pub fn uncommitted(&self, entries: usize) {
        if self.0 == Some(entries) {
            // A process may always signal itself.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }

    /// Counts the entries of a transaction.
    pub fn committed(&mut self, entries: usize) {
        self.0 = self.0.and_then(|wanted| wanted.checked_sub(entries));
    }
}
