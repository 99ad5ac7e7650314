//! The engine on servers that behave, and on servers that do not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it cannot continue")]

mod bounds;
mod catalogs;
mod chaos;
mod clients;
mod credentials;
mod demo_runs;
mod executions;
mod fake;
mod groups;
mod http_faults;
mod http_sessions;
mod lifecycle;
mod lists;
mod passages;
mod processes;
mod protocol;
mod puppet;
mod redis;
mod redis_server;
mod runs;
mod scenarios;
mod scripted;
mod simulation;
mod stdio_faults;
mod support;
