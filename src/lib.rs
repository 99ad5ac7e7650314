//! Switchboard: a terminal console for many MCP (Model Context Protocol) servers.
//!
//! # Architecture
//! Two faces (console and headless commands) over one engine. A face uses the engine through one trait,
//! [`control::Control`]; the engine uses adapters through [`engine::ports`]. The gateway offers the engine's servers to other
//! programs through [`engine::passage`].
//!
//! ```text
//!    tui (console)        cli (headless)
//!          \                 /
//!       Control: submit, command, watch = snapshot + event tail, workspace   (in process, or over a stream of bytes)
//!             |          \          \
//!             |           \          workspace   configuration, approvals, imports, workflow library, history
//!             |         state   read model: the projection of events that faces show
//!             |
//!           engine   registry of servers; one supervisor a server; dispatch = the life of one call; bus = event log
//!                   |
//!     mcp   auth   store   telemetry   config   demo   (adapters)
//!      |     |       |        |         |      |
//!   protocol |       |        |         |      |     (JSON-RPC, without transports)
//!        \   |       |        |         |      /
//!                  domain   (pure: no tokio, no I/O, no clock)
//! ```
//!
//! | folder | owns | may name |
//! |---|---|---|
//! | [`domain`] | the vocabulary (server, tool, call, frame, event), pure rules, JSON as text ([`domain::json`]), forms from schemas | itself |
//! | [`state`] | the read model: a projection of events, for faces | `domain` |
//! | [`engine`] | registry of servers, event log, supervisors, dispatch, runs of workflows, inbox of questions | `domain` |
//! | [`control`] | the interface between faces and engine, its clients, and its messages to other processes | `domain`, `engine`, `state` |
//! | [`rehearsal`] | workflow tests: runs without servers | `domain`, `engine`, `control` |
//! | [`mcp`] | the client side: processes, pipes, HTTP, sessions of both eras | `domain`, `engine::ports`, `executable`, `protocol` |
//! | [`gateway`] | one MCP server in front of all servers, for other programs: merged lists, router, stdio and HTTP faces; the only place that names `hyper` | `domain`, `engine`, `protocol` |
//! | [`protocol`] | JSON-RPC connections in both directions, lines, event streams, headers; only `mcp`, `gateway` and `tap` name it | `domain` |
//! | [`auth`] | OAuth: tokens, logins, store of credentials; with `demo` the only place that names `rmcp` | `domain`, `engine::ports`, `files`, `keyring`, `mcp::trusted` |
//! | [`tap`] | passes one connection on unchanged and observes a copy of it | `domain`, `engine::ports`, `protocol` |
//! | [`cache`] | response cache: in memory or in Redis; the only place that names `moka` and `redis` | `domain`, `engine::ports` |
//! | [`config`] | files, other clients' formats and the entry of the gateway in them, variables, approvals, live reload | `domain`, `files`, `keyring` |
//! | [`executable`] | the `PATH` lookup of the commands of servers, to explain failures | `domain` |
//! | [`keyring`] | entries of the desktop's keyring; the only place that names `keyring_core` | itself |
//! | [`files`] | bounded reads of regular files, writes that follow no link | `domain` |
//! | [`store`] | the history and the journal of runs in SQLite; with `demo` the only place that names `rusqlite` | `domain`, `engine::ports` |
//! | [`telemetry`] | the program's own log: its file, filter and redaction, the log lines of engine events; metrics and traces of calls; the only place that names `tracing_subscriber` | `domain`, `control`, `engine::ports`, `state`, `files` |
//! | [`demo`] | the built-in servers, which are separate processes, on `rmcp` | `domain` |
//! | [`workflow_lookup`] | finds the workflow that a command names | `domain`, `files` |
//! | [`workspace`] | the configuration in force and its reload, approvals, imports, workflow library, argument and call history | `domain`, `config`, `control`, `engine::ports`, `demo`, `files`, `keyring`, `rehearsal`, `state`, `store`, `workflow_lookup` |
//! | [`cli`] | the command line, headless commands, exit codes, the one printer | `domain`, `control`, `executable`, `files`, `workflow_lookup` |
//! | [`tui`] | the console: model, panes, keymap, pacing; the only place that names ratatui | `domain`, `control`, `files` |
//! | [`process`] | runtime, threads, watchdog and allocator of the program | `domain`, `cli` |
//! | [`app`] | the composition root: chooses a face and assembles the program | everything |
//!
//! `tests/architecture.rs` checks these rules.
//!
//! # Deviations from the first design
//! - The client side of MCP is our own code instead of an SDK over our transports: every byte must be visible, every
//!   fault attributed to the call that it affected, and results preserved exactly. The demo servers use the official Rust
//!   SDK, so that two independent implementations check each other. See [`mcp`].
//! - `unsafe` code is in two places: the start of servers (`mcp/spawn.rs`) and two settings of the allocator
//!   (`process/allocator.rs`).

pub mod app;
pub mod auth;
pub mod cache;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod domain;
pub mod engine;
pub mod executable;
pub mod files;
pub mod gateway;
#[cfg(test)]
mod generated_docs;
pub mod keyring;
pub mod mcp;
pub mod process;
pub mod protocol;
pub mod rehearsal;
pub mod state;
pub mod store;
pub mod tap;
pub mod telemetry;
pub mod tui;
pub mod workflow_lookup;
pub mod workspace;
