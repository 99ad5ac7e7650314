//! Switchboard: a console for many MCP servers at once.

pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod engine;
pub mod mcp;
pub mod tui;
