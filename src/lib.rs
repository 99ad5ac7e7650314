//! Switchboard: a console for many MCP (Model Context Protocol) servers at once.
//!
//! # The map of the house
//! Three faces over one engine. A face speaks to the engine through one trait,
//! [`engine::control::Control`]; adapters are reached through [`engine::ports`].
//!
//! ```text
//!    tui (console)        cli (headless)
//!          \                 /
//!       Control: submit, command, watch = snapshot + event tail
//!                   |
//!                engine   one supervisor a server; dispatch = the life of one call; bus = event log
//!                   |
//!     mcp      store      config      demo   (adapters)
//!        \        |          |        /
//!                  domain   (pure: no tokio, no I/O, no clock)
//! ```
//!
//! | folder | owns | may name |
//! |---|---|---|
//! | [`domain`] | the vocabulary (server, tool, call, frame, event), pure rules, the state that events add up to ([`domain::read_model`]), forms made from schemas | itself |
//! | [`engine`] | event log, supervisors, dispatch, runs of workflows, inbox of questions | `domain` |
//! | [`mcp`] | connections: processes, pipes, HTTP, the protocol of both eras | `domain`, `engine::ports` |
//! | [`answers`] | where answers are kept: this process, or Redis; the only place that names `moka` and `redis` | `domain`, `engine::ports` |
//! | [`config`] | files, other clients' formats, interpolation, approvals, live reload | `domain` |
//! | [`files`] | bounded reads of regular files, writes that follow no link | `domain` |
//! | [`store`] | the history and the journal of runs in SQLite; with `demo` the only place that names `rusqlite` | `domain`, `engine::ports` |
//! | [`demo`] | the built-in servers, which are programs of their own; the only place that names `rmcp` | `domain` |
//! | [`cli`] | the command line, headless commands, exit codes, the one printer | `domain`, `engine::control` |
//! | [`tui`] | the console: model, panes, keymap, pacing; the only place that names ratatui | `domain`, `engine::control` |
//! | [`app`] | the composition root: chooses a face and puts everything together | everything |
//!
//! `tests/architecture.rs` holds these rules.
//!
//! # Where this differs from the first design
//! - The client side of MCP is our own code, not an SDK under our transports: every byte has to be seen,
//!   every fault pinned on the call that it hit, results kept exact. The demo servers are built on the
//!   official Rust SDK, so that two independent implementations check each other. See [`mcp`].
//! - The state that events add up to lives in the domain, so that the engine's snapshot and every
//!   face's view are the same code.
//! - `unsafe` code is in two places, not one: the start of servers (`mcp/spawn.rs`), and the return of memory that
//!   nothing needs (`app/resident.rs`), which is most of what would be resident.

pub mod app;
pub mod cache;
pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod engine;
pub mod files;
#[cfg(test)]
mod generated_docs;
pub mod mcp;
pub mod store;
pub mod tui;
