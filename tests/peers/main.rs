//! Switchboard against the real servers that people run: the reference servers from npm and PyPI.
//!
//! `tests/peers/install` puts them into `.cache`; without them these tests fail and say so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it cannot go on")]

mod asks;
mod everything;
mod headless;
mod http;
mod lists;
mod loss;
mod packages;
mod relay;
mod subscriptions;
#[path = "../engine/support.rs"]
#[allow(dead_code, reason = "shared with tests/engine, which uses the rest of it")]
mod support;
mod together;
mod workflow;
