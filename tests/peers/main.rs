//! Switchboard against the real servers that people run: the reference servers from npm and PyPI.
//!
//! `tests/peers/install` puts them into `.cache`; without them these tests fail and say so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it cannot continue")]

mod asks;
mod conformance;
mod console;
mod desk;
mod everything;
mod examples;
mod gateway;
mod gateway_conformance;
mod headless;
mod http;
mod lists;
mod loss;
mod packages;
mod relay;
#[path = "../pty/session.rs"]
#[allow(dead_code, reason = "shared with tests/pty, which uses the rest of it")]
mod session;
#[path = "../pty/stream.rs"]
#[allow(dead_code, reason = "shared with tests/pty, which uses the rest of it")]
mod stream;
mod subscriptions;
#[path = "../engine/support.rs"]
#[allow(dead_code, reason = "shared with tests/engine, which uses the rest of it")]
mod support;
mod telemetry;
mod together;
mod workflow;
