//! The real program in a real terminal: keys, signals, sizes, and the state it leaves behind.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where it cannot continue")]

mod commands;
mod exits;
mod hostile;
mod panics;
mod recorded;
mod repository;
mod secrets;
mod serve;
mod session;
mod stream;
mod welcome;
mod work;
