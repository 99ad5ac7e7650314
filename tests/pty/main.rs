//! The real program in a real terminal: keys, signals, sizes, and the state it leaves behind.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where it cannot continue")]

#[path = "../cli/authorization.rs"]
#[allow(dead_code, reason = "shared with the tests of the commands")]
mod authorization;
mod commands;
mod exits;
mod hostile;
mod logins;
mod panics;
mod recorded;
mod repository;
mod secrets;
mod serve;
mod session;
mod stream;
mod welcome;
mod work;
