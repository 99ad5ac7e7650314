//! Replicas over HTTP that are restarted one after the other, and one that is killed, under load, for each strategy of their group.
//! `benches/chaos.rs` makes more calls.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use switchboard::domain::{
    body::Body,
    call::{CallSpec, Origin, Outcome},
    event::Settled,
    id::{ServerId, ToolId},
    policy::{
        Rules,
        route::{Group, Member, Routing, Strategy},
    },
    server::ServerSpec,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    scripted::{Server, Step, json_page},
    support::{PATIENCE, Rig, http},
};

/// Concurrent calls.
const WORKERS: usize = 16;
/// One call in this many must not be repeated.
const UNSAFE: usize = 8;
/// How long a replica works on a call.
const WORK: Duration = Duration::from_millis(2);
/// Parts of the load: before each restart and the kill, while each replica is down, and after the kill.
const PARTS: u64 = 8;
/// A replica that is ready again has to be used within this time.
pub const USED: Duration = Duration::from_secs(1);

const NAMES: [&str; 3] = ["r1", "r2", "r3"];

/// What the replicas have seen.
#[derive(Default)]
struct Seen {
    /// How often each unsafe call was executed.
    writes: Mutex<HashMap<u64, u32>>,
    /// Calls by replica.
    calls: watch::Sender<[u64; 3]>,
}

async fn replica(number: usize, seen: Arc<Seen>) -> Server {
    Server::start(move |asked| match asked.method() {
        "tools/list" => {
            let tool = |name: &str, safe: bool| {
                let hints = json!({"readOnlyHint": safe, "destructiveHint": !safe});
                json!({"name": name, "inputSchema": {"type": "object"}, "annotations": hints})
            };
            Some(json_page(asked.result(json!({"tools": [tool("read", true), tool("write", false)]}))))
        }
        "tools/call" => {
            seen.calls.send_modify(|calls| calls[number] += 1);
            if asked.tool() == "write" {
                let n = asked.rpc["params"]["arguments"]["n"].as_u64().unwrap();
                *seen.writes.lock().unwrap().entry(n).or_default() += 1;
            }
            Some([vec![Step::Work(WORK)], json_page(asked.text("done"))].concat())
        }
        _ => None,
    })
    .await
}

pub fn strategies() -> [Strategy; 7] {
    [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::LeastInFlight,
        Strategy::LeastLatency,
        Strategy::Primary,
        Strategy::Weighted,
        Strategy::Sticky { argument: "n".into() },
    ]
}

/// The result of the load.
#[derive(Debug)]
pub struct Losses {
    /// Safe calls.
    pub safe: usize,
    /// Those that failed.
    pub lost: Vec<Arc<Settled>>,
    /// Unsafe calls.
    pub written: usize,
    /// Those that were sent more than once.
    pub twice: Vec<u64>,
    /// How long each restarted replica that the strategy uses waited for a call, from ready on.
    pub unused: Vec<Duration>,
}

/// What the callers share.
struct Load {
    engine: Rig,
    next: AtomicUsize,
    /// Whether all is restarted and killed.
    over: AtomicBool,
    lost: Mutex<Vec<Arc<Settled>>>,
    safe: AtomicUsize,
}

impl Load {
    /// Makes calls until there were enough and the chaos is over.
    async fn work(&self, calls: usize) {
        while !(self.over.load(Ordering::Relaxed) && self.safe.load(Ordering::Relaxed) >= calls) {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let safe = !n.is_multiple_of(UNSAFE);
            let tool = ToolId::new(ServerId::from("replicas"), if safe { "read" } else { "write" });
            let spec = CallSpec::tool(tool, Body::from(format!("{{\"n\":{n}}}")), Origin::Cli);
            let settled = self.engine.run(spec, |_| {}).await.1;
            if safe {
                self.safe.fetch_add(1, Ordering::Relaxed);
                if !matches!(settled.outcome, Outcome::Ok { .. }) {
                    self.lost.lock().unwrap().push(settled);
                }
            }
        }
    }
}

impl Seen {
    /// Waits for this number of further calls.
    async fn further(&self, strategy: &Strategy, calls: u64) {
        let sum = |calls: &[u64; 3]| calls.iter().sum::<u64>();
        let wanted = sum(&self.calls.borrow()) + calls;
        let came = timeout(PATIENCE, self.calls.subscribe().wait_for(|calls| sum(calls) >= wanted)).await.map(|came| came.is_ok());
        assert_eq!(came.ok(), Some(true), "{strategy:?}: the load stopped");
    }
}

/// Makes at least this many safe calls while each replica is restarted and one is killed.
pub async fn chaos(strategy: Strategy, calls: usize) -> Losses {
    let seen = Arc::new(Seen::default());
    let mut servers = vec![];
    for number in 0..NAMES.len() {
        servers.push(replica(number, seen.clone()).await);
    }
    let engine = Rig::start(vec![]);
    let members = NAMES.iter().map(|name| Member { server: (*name).into(), weight: 1 }).collect();
    let group = Group { id: "replicas".into(), namespace: None, members, strategy: strategy.clone(), members_listed: false };
    engine.engine.set_rules(Rules { routing: Routing { groups: vec![group], routes: vec![] }, ..Rules::default() });
    let specs = NAMES.iter().zip(&servers).map(|(name, server)| ServerSpec { trusted: true, ..http(name, &server.url()) });
    engine.engine.apply(specs.collect());
    for name in NAMES {
        engine.ready(name).await;
    }
    let load = Arc::new(Load {
        engine,
        next: AtomicUsize::default(),
        over: AtomicBool::default(),
        lost: Mutex::default(),
        safe: AtomicUsize::default(),
    });
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        let load = load.clone();
        workers.spawn(async move { load.work(calls).await });
    }
    let (mut unused, part) = (vec![], calls as u64 / PARTS);
    for (number, server) in servers.iter_mut().enumerate() {
        seen.further(&strategy, part).await;
        server.die().await;
        seen.further(&strategy, part).await;
        let before = seen.calls.borrow()[number];
        server.listen().await;
        load.engine.ready(NAMES[number]).await;
        let ready = Instant::now();
        // A primary is used if it is the first of those that are up.
        if strategy != Strategy::Primary || number == 0 {
            let mut calls = seen.calls.subscribe();
            let used = timeout(PATIENCE, calls.wait_for(|calls| calls[number] > before)).await;
            used.unwrap_or_else(|_| panic!("{strategy:?} never used {}", NAMES[number])).unwrap();
            unused.push(ready.elapsed());
        }
    }
    seen.further(&strategy, part).await;
    servers[1].die().await;
    seen.further(&strategy, part).await;
    load.over.store(true, Ordering::Relaxed);
    timeout(PATIENCE * 3, workers.join_all()).await.expect("the calls settle");
    let load = Arc::into_inner(load).expect("the workers have ended");
    let twice = seen.writes.lock().unwrap().iter().filter(|(_, count)| **count > 1).map(|(n, _)| *n).collect();
    let written = load.next.load(Ordering::Relaxed) - load.safe.load(Ordering::Relaxed);
    let losses = Losses { safe: load.safe.into_inner(), lost: load.lost.into_inner().unwrap(), written, twice, unused };
    load.engine.stop().await;
    losses
}

#[cfg(test)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_and_killed_replicas_over_http_lose_no_safe_call() {
    for strategy in strategies() {
        let losses = chaos(strategy.clone(), 800).await;
        assert!(losses.lost.is_empty(), "{strategy:?} lost {} of {}: {:#?}", losses.lost.len(), losses.safe, losses.lost.first());
        assert!(losses.twice.is_empty() && losses.written > 10, "{strategy:?} sent twice: {:?} of {}", losses.twice, losses.written);
        assert!(losses.unused.iter().all(|unused| *unused <= USED), "{strategy:?}: {:?}", losses.unused);
    }
}
