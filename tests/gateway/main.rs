//! The gateway over an engine with servers that behave, and servers that do not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it cannot continue")]

mod client;
mod crowd;
mod differential;
#[path = "../engine/fake.rs"]
#[allow(dead_code, reason = "shared with tests/engine, which uses the rest of it")]
mod fake;
mod faults;
#[path = "../engine/scripted.rs"]
#[allow(dead_code, reason = "shared with tests/engine, which uses the rest of it")]
mod scripted;
#[path = "../engine/support.rs"]
#[allow(dead_code, reason = "shared with tests/engine, which uses the rest of it")]
mod support;
mod traps;
