//! The wire protocol of MCP: JSON-RPC messages, lines, event streams and headers.
//!
//! The client side ([`crate::mcp`]) and the gateway ([`crate::gateway`]) are built on it. Nothing else names it, and it names only the
//! domain.

pub mod connection;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod headers;
pub mod lines;
pub mod meta;
pub mod pace;
pub mod salvage;
pub mod splice;
pub mod sse;
pub mod wire;
