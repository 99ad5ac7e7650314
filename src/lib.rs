//! Switchboard: a console for many MCP servers at once.

pub mod domain;
pub mod engine;
