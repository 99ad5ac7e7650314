//! Every fault of an HTTP server ends in a typed error of the right call, and the connection lives on where it can.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use switchboard::{
    control::{Command, Control},
    domain::{
        ask::Answer as Reply,
        body::Body,
        call::{Failure, FailureKind, Outcome},
        event::Settled,
        frame::AnomalyKind,
        id::CallId,
        policy::{
            Policy, Rules, ToolRule,
            breaker::{BreakerPolicy, State as Breaking},
            pattern::Pattern,
        },
        secret::{MASK, Secret},
        server::{Era, EraChoice, Phase, ServerSpec, Step as At, Transport},
    },
};

use tokio::sync::Semaphore;

use crate::{
    scripted::{Answer, Asked, Server, Step, event, hello, json_page, modern, page, send, stream},
    support::{Rig, failure_of, http, text_of},
};

mod answers;
mod ends;
mod eras;
mod streams;
mod ways;

const SHORT: Duration = Duration::from_millis(300);

type Fault = Box<dyn Fn(&Asked) -> Answer + Send>;

/// A server whose tool `bad` does what was said last, and an engine that is connected to it.
struct Bench {
    rig: Rig,
    server: Server,
    fault: Arc<Mutex<Fault>>,
}

impl Bench {
    async fn start(change: impl FnOnce(&mut ServerSpec)) -> Bench {
        let fault: Arc<Mutex<Fault>> = Arc::new(Mutex::new(Box::new(|_| vec![Step::Close])));
        let told = fault.clone();
        let server = Server::start(move |asked| (asked.tool() == "bad").then(|| told.lock().unwrap()(asked))).await;
        let mut spec = http("web", &server.url());
        // Checks how each fault is reported; the scenarios check its consequences.
        spec.policy.breaker.enabled = false;
        change(&mut spec);
        let rig = Rig::start(vec![spec]);
        rig.ready("web").await;
        Bench { rig, server, fault }
    }

    async fn call(&self, fault: impl Fn(&Asked) -> Answer + Send + 'static) -> (CallId, Arc<Settled>) {
        *self.fault.lock().unwrap() = Box::new(fault);
        self.rig.call("web", "bad", "{}").await
    }

    /// Calls `bad`, which must fail without being repeated and must leave the connection in order.
    async fn fails(&self, what: &str, fault: impl Fn(&Asked) -> Answer + Send + 'static) -> Failure {
        let before = self.server.calls_of("bad");
        let (_, settled) = self.call(fault).await;
        let Outcome::Failed { failure } = &settled.outcome else { panic!("{what}: {:?}", settled.outcome) };
        assert_eq!(self.server.calls_of("bad"), before + 1, "{what}: sent once");
        assert_eq!(text_of(&self.rig.call("web", "echo", "{}").await.1), "hello", "the connection lives on after {what}");
        assert!(self.rig.server("web").phase.usable(), "{what}");
        Failure::clone(failure)
    }

    async fn stop(self) {
        self.rig.stop().await;
    }
}

fn header<'a>(failure: &'a Failure, name: &str) -> Option<&'a str> {
    failure.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}
