//! The real program in a real terminal: keys, signals, sizes, and the state it leaves behind.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it cannot go on")]

mod exits;
mod hostile;
mod panics;
mod repository;
mod session;
mod stream;
mod welcome;
mod work;
