//! Servers that come and go, calls that wait, questions that are asked: with paused time over connections in memory where time is what
//! matters, over real processes where they are.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use switchboard::{
    control::{Command, CommandError, Control, Lagged},
    domain::{
        ask::{Answer, AskPolicy, Question},
        body::Body,
        call::{CallSpec, FailureKind, Operation, Origin, Outcome},
        config_fault::ConfigFault,
        event::{EventKind, Settled},
        frame::{AnomalyKind, Direction, FrameKind},
        id::{Attribution, CallId, ServerId, ToolId},
        policy::{
            PolicyPatch, PolicySetting, Rules, ToolRule,
            breaker::{BreakerOverride, State as Breaking},
            pattern::Pattern,
        },
        secret::Secret,
        server::{ConnectFailure, Era, Phase, ServerSpec, Step, Transport},
    },
    engine::ports::{ClientHandler, Reply, Request, RequestObserver},
    state::ConsoleState,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{
    fake::{Behaviour, Fake, Plan, Sign, reply, spec},
    scripted::{Server, page},
    support::{Rig, bad, bad_server, failure_of, http, stdio, text_of},
};

mod breakers;
mod calls;
mod changes;
mod connections;
mod deadlines;
mod orders;
mod questions;

const MINUTE: Duration = Duration::from_secs(60);

/// Calls `echo` and waits without a limit: under paused time a limit would expire.
async fn echo(rig: &Rig, limit: Option<Duration>) -> Arc<Settled> {
    let call = CallSpec::tool(ToolId::new(ServerId::from("web"), "echo"), Body::from("{}"), Origin::Cli);
    switchboard::control::run(&*rig.engine, CallSpec { timeout: limit, ..call }, |_| {}).await.unwrap().1
}

/// Waits until the read model looks as wanted, however long that takes.
async fn until(rig: &Rig, wanted: impl Fn(&ConsoleState) -> bool) -> ConsoleState {
    let (mut read_model, mut tail) = rig.engine.watch();
    while !wanted(&read_model) {
        match tail.next().await {
            Ok(event) => Arc::make_mut(&mut read_model).apply(&event.unwrap()),
            Err(Lagged { .. }) => (read_model, tail) = rig.engine.watch(),
        }
    }
    Arc::unwrap_or_clone(read_model)
}

fn step(n: u32) -> Body {
    Body::from(format!("{{\"progress\":{n}}}"))
}

/// What a connection without a transport of its own says of the call of a request: that it is on the stream of the response.
fn of_call(request: &Request) -> Attribution {
    request.call.map_or(Attribution::None, Attribution::Stream)
}

/// A server whose connections behave like this one, so that the test can look at it.
fn serving(behaviour: Behaviour) -> (Arc<Fake>, Arc<Behaviour>) {
    let behaviour = Arc::new(behaviour);
    let plan = behaviour.clone();
    (Fake::new(move |_| Plan::Serve(Duration::ZERO, plan.clone())), behaviour)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Answers every call after a while.
fn slow(after: Duration) -> Behaviour {
    Behaviour::new(move |_, observer: Arc<dyn RequestObserver>, handler| async move {
        observer.sent(handler.now(), 1);
        sleep(after).await;
        Ok(reply(&handler))
    })
}

fn named(id: &str, args: &[&str]) -> ServerSpec {
    stdio(id, &bad_server(), args)
}
