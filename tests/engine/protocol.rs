//! What the protocol requires of a client, as seen on the wire. The tests are named after the deviations that were measured
//! once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use switchboard::{
    control::{Command, LocalControl},
    domain::{
        call::{FailureKind, Outcome},
        event::LogLevel,
        frame::AnomalyKind,
        retention::Retention,
        server::{ConnectFailure, Era, Phase, ServerSpec, Step as At},
        time::Epoch,
    },
    engine::{
        Adapters, EngineOptions,
        ports::{CatalogStore, MemoryCatalogs},
    },
    mcp::Connections,
};
use tokio::sync::mpsc;

use crate::{
    scripted::{Answer, Asked, Server, Step, event, json_page, modern, page, stream},
    support::{Rig, bad, failure_of, http, text_of},
};

mod calls;
mod negotiation;
mod older;
mod stdio;
mod tasks;

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// An error as a server of 2026-07-28 answers it.
fn refused(asked: &Asked, code: i64, data: Value) -> Answer {
    let error = json!({"jsonrpc": "2.0", "id": asked.id(), "error": {"code": code, "message": "no", "data": data}});
    page("400 Bad Request", &JSON, error.to_string())
}

/// Starts an engine with one server and waits until that is ready.
async fn ready(spec: ServerSpec) -> Rig {
    let rig = Rig::start(vec![spec]);
    rig.ready("web").await;
    rig
}

/// Starts an engine with one server and returns why that failed for good.
async fn failed(spec: ServerSpec) -> ConnectFailure {
    let rig = Rig::start(vec![spec]);
    let read_model = rig.until("it failed", |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    let why = read_model.servers[0].phase.failure().cloned().unwrap();
    rig.stop().await;
    ConnectFailure::clone(&why)
}

fn era_of(rig: &Rig) -> Era {
    rig.server("web").info.unwrap().era
}

/// The JSON-RPC methods of the requests that came.
fn methods(server: &Server) -> Vec<String> {
    server.log().requests.iter().map(|asked| asked.method().to_owned()).collect()
}
