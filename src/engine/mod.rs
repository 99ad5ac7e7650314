//! The engine: connections, calls and events. Knows no terminal, no HTTP listener and no SQL.

pub mod control;
pub mod ports;
