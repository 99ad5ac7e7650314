//! How often servers execute a call, whatever goes wrong with its answer: at most once, over all of them, unless the call is
//! safe to repeat; and a failure never denies an execution that took place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use switchboard::{
    domain::{
        ask::AskPolicy,
        call::{Failure, FailureKind, Outcome},
        event::Settled,
        policy::{
            Fallback, Hedge, Policy, Retry, Rules, ToolRule,
            pattern::Pattern,
            route::{Group, Member, Routing, Strategy},
        },
        server::ServerSpec,
    },
    engine::ports::{ClientHandler, RequestObserver},
};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    fake::{self, Behaviour, Fake},
    support::{Rig, failure_of},
};

mod http;
mod lost_sessions;
mod stdio;

/// The servers of one rig: one called directly, two in a group, one with another as its fallback.
const SERVERS: [&str; 5] = ["plain", "one", "two", "first", "second"];
/// What a call is sent to, and the servers that it may come to.
const SET_UPS: [(&str, &[&str]); 3] = [("plain", &["plain"]), ("group", &["one", "two"]), ("first", &["first", "second"])];
/// The deadline of calls that are not answered, and of those that are.
const LIMITS: [Duration; 2] = [Duration::from_millis(400), Duration::from_secs(60)];
/// Rigs at the same time.
const RIGS: usize = 6;

/// The deadline of a call that stays without an answer, or is answered.
fn limit(silent: bool) -> Duration {
    if silent { LIMITS[0] } else { LIMITS[1] }
}

/// Does `work` for each of these, a few at a time. Returns what it found, sorted.
async fn each<T: Send + 'static, F: Future<Output = Vec<String>> + Send>(
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> F + Copy + Send + 'static,
) -> Vec<String> {
    let (mut all, permits) = (JoinSet::new(), Arc::new(Semaphore::new(RIGS)));
    for item in items {
        let permits = permits.clone();
        all.spawn(async move {
            let _permit = permits.acquire().await.unwrap();
            work(item).await
        });
    }
    let mut found: Vec<String> = all.join_all().await.into_iter().flatten().collect();
    found.sort();
    found
}

/// A group, and a fallback for the tools of one server.
fn rules() -> Rules {
    let member = |id: &str| Member { server: id.into(), weight: 1 };
    let group = Group {
        id: "group".into(),
        namespace: None,
        members: vec![member("one"), member("two")],
        strategy: Strategy::Primary,
        members_listed: true,
    };
    let elsewhere = ToolRule {
        matches: Pattern::parse("first_*").unwrap(),
        fallback: vec![Fallback::Server { server: "second".into() }],
        ..ToolRule::default()
    };
    Rules { tools: vec![elsewhere], routing: Routing { groups: vec![group], routes: vec![] }, ..Rules::default() }
}

/// The default policy, and one that repeats everything that may be repeated.
fn policies() -> [Policy; 2] {
    let retry = Retry { attempts: 5, backoff: Duration::from_millis(1), budget_min: 100.0, ..Retry::default() };
    let hedge = Hedge { enabled: true, after: Some(Duration::from_millis(20)), samples: 1 };
    [Policy::default(), Policy { retry, hedge, ..Policy::default() }]
}

async fn rig(specs: Vec<ServerSpec>, policy: &Policy) -> Rig {
    let rig = Rig::start(vec![]);
    rig.engine.set_rules(rules());
    let change = |spec| ServerSpec { policy: policy.clone(), elicitation: AskPolicy::Decline, ..spec };
    let ids: Vec<_> = specs.iter().map(|spec| spec.id.clone()).collect();
    rig.engine.apply(specs.into_iter().map(change).collect());
    rig.until("all ready", |w| ids.iter().all(|id| w.server(id).is_some_and(|s| s.phase.usable()))).await;
    rig
}

/// What is wrong with a call that was executed so often, if anything.
fn wrong(executions: usize, settled: &Arc<Settled>) -> Option<String> {
    let denied = match &settled.outcome {
        Outcome::Failed { failure } => executions > 0 && !failure.may_have_run,
        _ => false,
    };
    let twice = (executions > 1).then(|| format!("{executions} executions"));
    let denied = denied.then(|| "said not to have run".to_owned());
    let found: Vec<String> = [twice, denied].into_iter().flatten().collect();
    (!found.is_empty()).then(|| found.join(", "))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_not_sent_does_not_undo_one_that_may_have_run() {
    let fake = Fake::new(|_| {
        let tries = AtomicUsize::new(0);
        let answer = move |_, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| {
            let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if !first {
                    return Err(Failure::new(FailureKind::Transport, "no connection"));
                }
                observer.sent(handler.now(), 1);
                Err(Failure::after_send(FailureKind::Transport, "the connection broke"))
            }
        };
        Behaviour::new(answer).plan()
    });
    let mut spec = fake::spec("web");
    spec.policy = policies()[1].clone();
    let rig = Rig::over(fake, vec![spec]);
    let rule = ToolRule { matches: Pattern::parse("web_echo").unwrap(), safe: Some(true), ..ToolRule::default() };
    rig.engine.set_rules(Rules { tools: vec![rule], ..Rules::default() });
    rig.ready("web").await;
    let (_, settled) = rig.call("web", "echo", "{}").await;
    assert!(settled.attempts > 1 && failure_of(&settled).may_have_run, "{settled:?}");
    rig.stop().await;
}
