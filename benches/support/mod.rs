//! What the benchmarks share: a report, a server to measure against, a raw pipe as the bare minimum,
//! a terminal for the real program, and a look at its process.
#![allow(dead_code, reason = "each benchmark is a crate of its own and uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and panics on errors"
)]

pub mod pipe;
pub mod process;
pub mod report;
pub mod server;
pub mod terminal;
