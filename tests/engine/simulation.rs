//! Twenty servers that crash, hang, crawl and storm, with every policy on, over connections in memory and on paused time.
//!
//! The same seed gives the same run. Seeds that once failed are listed in `REGRESSIONS`.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use switchboard::{
    control::{Command, Control},
    domain::{
        body::Body,
        call::{CallSpec, Origin},
        event::{EventKind, Settled},
        id::{CallId, ServerId, ToolId},
        policy::{
            CacheMode, Concurrency, Fallback, Hedge, Policy, RateLimit, Retry, Rules, ToolRule,
            breaker::{BreakerOverride, BreakerPolicy, Window},
            call_event::{CallEvent, Cause},
            pattern::Pattern,
            route::{Group, Member, Routing, Strategy},
        },
        server::ServerSpec,
        time::Stamp,
    },
};

use tokio::time::Instant;

use crate::{
    fake::spec,
    puppet::{Act, Puppet, Puppets, tool},
    support::Rig,
};

/// Seeds that once failed.
const REGRESSIONS: [u64; 0] = [];
const SERVERS: usize = 20;
const CALLS: u32 = 60;
/// Beyond its deadline a call may take this long to end.
const GRACE: Duration = Duration::from_millis(250);
/// Timers go off at whole milliseconds.
const TICK: Duration = Duration::from_millis(1);

/// What is known of a call in progress.
struct Watched {
    /// Whom it is meant for: a server, or a group.
    target: ServerId,
    timeout: Option<Duration>,
    queued: Stamp,
    /// The server whose limits hold for it.
    first: Option<ServerId>,
    /// The last sign of life.
    alive: Stamp,
    /// The attempts that are out, by number, with whose they are.
    out: HashMap<u32, ServerId>,
    /// Whose failure an attempt from now on is charged to.
    failed: Option<ServerId>,
    hedged: bool,
}

impl Watched {
    /// When it has to be over.
    fn deadline(&self, specs: &[ServerSpec]) -> Stamp {
        let first = self.first.as_ref().unwrap_or(&self.target);
        let Some(spec) = specs.iter().find(|spec| spec.id == *first) else { return Stamp(u64::MAX) };
        let limit = self.timeout.unwrap_or(spec.timeouts.call);
        self.alive.plus(limit).min(self.queued.plus(spec.timeouts.call_max.max(limit)))
    }

    /// Takes in a stage; says whose budget it spends from, and whether it is a failover.
    fn stage(&mut self, stage: &CallEvent) -> Option<(ServerId, bool)> {
        match stage {
            CallEvent::Routed { decision } => self.first = self.first.take().or_else(|| decision.order.first().cloned()),
            CallEvent::Attempt { attempt, server, cause, .. } => {
                let before = self.out.values().next().cloned();
                self.out.insert(*attempt, server.clone());
                match cause {
                    Cause::Hedge => {
                        self.hedged = true;
                        return before.map(|server| (server, false));
                    }
                    // With two concurrent attempts, the failure that led here is not visible from outside.
                    Cause::Retry if !self.hedged => return self.failed.take().map(|server| (server, false)),
                    // Paid by the server that it goes to.
                    Cause::Failover if !self.hedged => return self.failed.take().map(|_| (server.clone(), true)),
                    _ => {}
                }
            }
            CallEvent::Ended { attempt, end, .. } => {
                let server = self.out.remove(attempt);
                // What the server cannot have seen costs it nothing.
                self.failed = server.filter(|_| !end.to_string().contains("connection refused"));
            }
            CallEvent::Fallback { .. } => self.failed = None,
            _ => {}
        }
        None
    }
}

fn id(n: usize) -> ServerId {
    ServerId::new(format!("s{n}"))
}

/// A fit of bad behaviour, or of good.
#[derive(Clone, Copy)]
enum Mood {
    Well,
    Slow,
    Failing,
    Hanging,
    Crashing,
    Refusing,
    Mixed,
}

fn act(mood: Mood, rng: &mut fastrand::Rng) -> Act {
    let quick = Duration::from_micros(rng.u64(100..5_000));
    match mood {
        Mood::Well => Act::Ok(quick),
        Mood::Slow => Act::Ok(Duration::from_millis(rng.u64(200..4_000))),
        Mood::Failing => match rng.u8(..5) {
            0 => Act::Error(-32603, quick),
            1 => Act::Error(-32602, quick),
            2 => Act::Http(*rng.choice(&[500, 502, 503, 429, 401]).unwrap_or(&500), quick, None),
            3 => Act::Http(503, quick, Some(Duration::from_millis(rng.u64(1..3_000)))),
            _ => Act::ToolError(quick),
        },
        Mood::Hanging => Act::Hang,
        Mood::Crashing => match rng.bool() {
            true => Act::Crash(quick),
            false => Act::Close(quick),
        },
        Mood::Refusing => Act::Refuse(quick),
        Mood::Mixed => {
            let moods = [Mood::Well, Mood::Slow, Mood::Failing, Mood::Hanging, Mood::Crashing, Mood::Refusing];
            let mood = moods[rng.usize(..moods.len())];
            match rng.u8(..8) {
                0 => Act::Progress(Duration::from_millis(rng.u64(1..900)), rng.u32(1..6)),
                _ => act(mood, rng),
            }
        }
    }
}

fn puppet(seed: u64) -> Puppet {
    let rng = Mutex::new((fastrand::Rng::with_seed(seed), Mood::Well, 0_u32));
    let tools = vec![tool("read", &["read"]), tool("key", &["destructive"]), tool("destroy", &["destructive"])];
    let mut puppet = Puppet::new(tools, move |_, _| {
        let (rng, mood, left) = &mut *rng.lock().unwrap();
        if *left == 0 {
            let moods = [Mood::Well, Mood::Well, Mood::Slow, Mood::Failing, Mood::Hanging, Mood::Crashing, Mood::Refusing, Mood::Mixed];
            *mood = moods[rng.usize(..moods.len())];
            *left = rng.u32(1..12);
        }
        *left -= 1;
        act(*mood, rng)
    });
    let checks = Mutex::new(fastrand::Rng::with_seed(seed ^ 0x5eed));
    puppet.alive = Box::new(move |_| checks.lock().unwrap().u8(..10) > 1);
    puppet.start = Duration::from_millis(seed % 50);
    puppet
}

fn policy(rng: &mut fastrand::Rng) -> Policy {
    let ms = |rng: &mut fastrand::Rng, range| Duration::from_millis(rng.u64(range));
    Policy {
        attempt: rng.bool().then(|| ms(rng, 50..2_000)),
        retry: Retry {
            attempts: rng.u32(1..5),
            backoff: ms(rng, 1..300),
            budget: 0.2,
            budget_min: f64::from(rng.u32(0..6)),
            ..Retry::default()
        },
        breaker: BreakerPolicy {
            enabled: rng.u8(..5) > 0,
            consecutive: rng.u32(0..6),
            failure_rate: if rng.bool() { 0.5 } else { 0.0 },
            slow_rate: if rng.bool() { 0.5 } else { 0.0 },
            slow_call: ms(rng, 100..2_000),
            window: if rng.bool() { Window::Calls(rng.u32(1..30)) } else { Window::Time(ms(rng, 100..5_000)) },
            minimum_calls: rng.u32(1..10),
            open_for: ms(rng, 50..2_000),
            half_open_calls: rng.u32(1..4),
            ..BreakerPolicy::default()
        },
        concurrency: Concurrency { in_flight: rng.u32(1..6), queue: rng.u32(0..8), wait: ms(rng, 10..3_000) },
        rate_limit: RateLimit { per_second: if rng.u8(..4) == 0 { 20.0 } else { 0.0 }, burst: rng.u32(1..5) },
        hedge: Hedge { enabled: rng.bool(), after: Some(ms(rng, 5..300)), samples: 1 },
        ..Policy::default()
    }
}

fn rules(rng: &mut fastrand::Rng) -> Rules {
    let strategies = [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::LeastInFlight,
        Strategy::LeastLatency,
        Strategy::Primary,
        Strategy::Weighted,
        Strategy::Sticky { argument: "id".into() },
    ];
    let groups = (0..3)
        .map(|g| Group {
            id: ServerId::new(format!("g{g}")),
            namespace: None,
            members: (0..4).map(|m| Member { server: id(g * 4 + m), weight: m as u32 }).collect(),
            strategy: strategies[rng.usize(..strategies.len())].clone(),
            members_listed: true,
        })
        .collect();
    let keyed = ToolRule {
        matches: Pattern::parse("*_key").unwrap(),
        idempotency_key: Some("idempotency".into()),
        own_breaker: Some(true),
        fallback: vec![Fallback::Server { server: id(rng.usize(..SERVERS)) }, Fallback::Value { value: Body::from(r#"{"instead":true}"#) }],
        ..ToolRule::default()
    };
    let read = ToolRule { matches: Pattern::parse("/_read$/").unwrap(), fallback: vec![Fallback::Stale], ..ToolRule::default() };
    Rules { tools: vec![keyed, read], routing: Routing { groups, routes: vec![] }, ..Rules::default() }
}

/// In no stretch of time more came than the rate and the burst allow.
fn rate_held(spec: &ServerSpec, came: &[Instant]) -> Result<(), String> {
    let RateLimit { per_second, burst } = spec.policy.rate_limit;
    if per_second <= 0.0 {
        return Ok(());
    }
    for (i, from) in came.iter().enumerate() {
        for (n, to) in came[i..].iter().enumerate() {
            let allowed = f64::from(burst) + (to.duration_since(*from) + TICK).as_secs_f64() * per_second;
            if (n + 1) as f64 > allowed + 1e-6 {
                return Err(format!("{} requests came to {} within {:?}, of {allowed} at most", n + 1, spec.id, to.duration_since(*from)));
            }
        }
    }
    Ok(())
}

/// Runs one seed and says what went wrong.
async fn run(seed: u64) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let puppets: HashMap<ServerId, Arc<Puppet>> =
        (0..SERVERS).map(|n| (id(n), Arc::new(puppet(seed.wrapping_mul(31).wrapping_add(n as u64))))).collect();
    let specs: Vec<ServerSpec> = (0..SERVERS)
        .map(|n| {
            let mut spec = spec(id(n).as_str());
            spec.policy = policy(&mut rng);
            spec.policy.cache.mode = if rng.bool() { CacheMode::ReadOnly } else { CacheMode::Never };
            spec.trusted = rng.bool();
            spec.timeouts.call = Duration::from_millis(rng.u64(200..3_000));
            spec.timeouts.call_max = Duration::from_secs(5);
            spec.timeouts.health = Duration::ZERO;
            spec
        })
        .collect();
    let rig = Rig::seeded(Arc::new(Puppets(puppets.clone())), specs.clone(), seed);
    rig.engine.set_rules(rules(&mut rng));
    rig.engine.set_store(Some(Arc::new(switchboard::cache::Memory::new(1 << 20))));
    let (mut read_model, mut tail) = rig.engine.watch();

    let mut watched: HashMap<CallId, Watched> = HashMap::new();
    let mut unsafe_calls = vec![];
    for n in 0..CALLS {
        let target = match rng.u8(..4) {
            0 => ServerId::new(format!("g{}", rng.u8(..3))),
            _ => id(rng.usize(..SERVERS)),
        };
        let name = *rng.choice(&["read", "key", "destroy"]).unwrap_or(&"read");
        let call = if name == "read" { format!("{{\"id\":{}}}", n % 7) } else { format!("{{\"id\":\"c{n}\"}}") };
        let timeout = rng.bool().then(|| Duration::from_millis(rng.u64(50..2_000)));
        let spec = CallSpec { timeout, ..CallSpec::tool(ToolId::new(target.clone(), name), call, Origin::Cli) };
        let call = rig.start_call(spec);
        let queued = rig.engine.now();
        let (out, failed) = (HashMap::new(), None);
        watched.insert(call, Watched { target, timeout, queued, first: None, alive: queued, out, failed, hedged: false });
        if name == "destroy" {
            unsafe_calls.push(format!("\"c{n}\""));
        }
        if rng.u8(..10) == 0 {
            rig.command(Command::Cancel { call, reason: "not needed any more".into() });
        }
        if rng.u8(..12) == 0 {
            let order = *rng
                .choice(&[BreakerOverride::Trip, BreakerOverride::HoldOpen, BreakerOverride::HoldClosed, BreakerOverride::Reset])
                .unwrap_or(&BreakerOverride::Reset);
            rig.command(Command::Breaker { server: id(rng.usize(..SERVERS)), tool: None, order });
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(0..60))).await;
    }

    let mut ends: HashMap<CallId, u32> = HashMap::new();
    let mut spent: HashMap<ServerId, u32> = HashMap::new();
    let mut failovers: HashMap<ServerId, u32> = HashMap::new();
    let mut most_running = 0;
    while ends.len() < watched.len() {
        let event = match tokio::time::timeout(Duration::from_secs(60), tail.next()).await {
            Ok(Ok(Some(event))) => event,
            Ok(other) => return Err(format!("the log ended: {other:?}")),
            Err(_) => {
                let open: Vec<String> =
                    watched.keys().filter(|call| !ends.contains_key(call)).map(|c| format!("{:?}", read_model.call(*c))).collect();
                return Err(format!("calls never ended: {open:#?}"));
            }
        };
        Arc::make_mut(&mut read_model).apply(&event);
        most_running = most_running.max(read_model.running);
        match &event.kind {
            EventKind::CallStage { call, stage } => {
                if let Some((server, failover)) = watched.get_mut(call).and_then(|call| call.stage(stage)) {
                    *if failover { &mut failovers } else { &mut spent }.entry(server).or_default() += 1;
                }
            }
            EventKind::CallProgress { call, .. } => {
                if let Some(call) = watched.get_mut(call) {
                    call.alive = event.at;
                }
            }
            EventKind::CallSettled { call, settled } => {
                *ends.entry(*call).or_default() += 1;
                let deadline = watched[call].deadline(&specs);
                if settled.timings.settled > deadline.plus(GRACE) {
                    return Err(format!(
                        "{call} ended {:?} after its deadline: {:?}",
                        settled.timings.settled.since(deadline),
                        read_model.call(*call)
                    ));
                }
            }
            _ => {}
        }
    }
    if let Some((call, n)) = ends.iter().find(|(_, n)| **n != 1) {
        return Err(format!("{call} ended {n} times"));
    }
    if read_model.running != 0 || read_model.stats.in_flight != 0 {
        return Err(format!("{} calls are still counted as running", read_model.running));
    }
    for server in &read_model.servers {
        if server.stats.in_flight != 0 {
            return Err(format!("{} is counted busy with {}", server.id(), server.stats.in_flight));
        }
    }
    for unsafe_call in &unsafe_calls {
        let times: usize =
            puppets.values().map(|p| p.executed.lock().unwrap().iter().filter(|b| b.text().contains(unsafe_call.as_str())).count()).sum();
        if times > 1 {
            return Err(format!("the call {unsafe_call}, which is not known to be safe, was sent {times} times"));
        }
    }
    for spec in &specs {
        let most = puppets[&spec.id].load.lock().unwrap().1;
        if most > spec.policy.concurrency.in_flight {
            return Err(format!("{} had {most} concurrent calls, of at most {}", spec.id, spec.policy.concurrency.in_flight));
        }
        // Every call that is aimed at it earns a share, and no other.
        let earned = watched.values().filter(|call| call.first.as_ref().unwrap_or(&call.target) == &spec.id).count();
        let budget = spec.policy.retry.budget_min + spec.policy.retry.budget * earned as f64;
        let spent = spent.get(&spec.id).copied().unwrap_or_default();
        if f64::from(spent) > budget + 1e-6 {
            return Err(format!("{spent} extra attempts were spent from the budget of {}, which is {budget}", spec.id));
        }
        // All calls that run can fail over at the same moment.
        let failovers = failovers.get(&spec.id).copied().unwrap_or_default();
        if f64::from(spent + failovers) > budget + most_running as f64 + 1e-6 {
            return Err(format!("{failovers} failovers to {} overdrew its budget, which is {budget}, with {most_running} calls", spec.id));
        }
        rate_held(spec, &puppets[&spec.id].came.lock().unwrap())?;
    }
    rig.stop().await;
    Ok(())
}

/// A server is none the worse for what was: all its places are free, and a reset breaker lets calls through.
async fn nothing_leaks(seed: u64) -> Result<(), String> {
    let storm = Arc::new(Mutex::new(true));
    let (on, rng) = (storm.clone(), Mutex::new(fastrand::Rng::with_seed(seed)));
    let mut puppet = Puppet::new(vec![tool("t", &["read"])], move |_, _| match *on.lock().unwrap() {
        true => act(Mood::Mixed, &mut rng.lock().unwrap()),
        false => Act::Ok(Duration::from_millis(10)),
    });
    puppet.alive = Box::new(|n| n % 3 != 0);
    let puppet = Arc::new(puppet);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut spec = spec("s");
    spec.trusted = true;
    spec.policy = policy(&mut rng);
    spec.policy.rate_limit.per_second = 0.0;
    spec.policy.breaker.open_for = Duration::from_millis(100);
    spec.policy.breaker.probe_timeout = Duration::from_secs(2);
    let rig = Rig::seeded(Arc::new(Puppets([("s".into(), puppet)].into())), vec![spec.clone()], seed);
    rig.ready("s").await;
    let mut calls = vec![];
    for _ in 0..40 {
        let call = rig.submit("s", "t", "{}");
        calls.push(call);
        if rng.bool() {
            tokio::time::sleep(Duration::from_millis(rng.u64(0..80))).await;
            rig.command(Command::Cancel { call, reason: "enough".into() });
        }
    }
    for call in calls {
        rig.settled(call).await;
    }
    *storm.lock().unwrap() = false;
    rig.command(Command::Restart { server: "s".into() });
    rig.command(Command::Breaker { server: "s".into(), tool: None, order: BreakerOverride::Reset });
    rig.until("s restarted", |w| w.server(&"s".into()).is_some_and(|s| s.phase.usable() && s.breaker.probing == 0)).await;
    let all: Vec<CallId> = (0..spec.policy.concurrency.in_flight).map(|_| rig.submit("s", "t", "{}")).collect();
    for call in all {
        let settled: Arc<Settled> = rig.settled(call).await;
        let took = settled.timings.total();
        if settled.outcome.words() != "ok" || took > Duration::from_millis(15) {
            return Err(format!("after the storm a call took {took:?} and ended as {:?}", settled.outcome));
        }
    }
    rig.stop().await;
    Ok(())
}

fn seeds(count: u64, run: impl AsyncFn(u64) -> Result<(), String> + Sync) {
    let all: Vec<u64> = REGRESSIONS.into_iter().chain(0..count).collect();
    let next = AtomicUsize::new(0);
    let failures = || {
        let seeds = std::iter::from_fn(|| all.get(next.fetch_add(1, Ordering::Relaxed)));
        let failed = seeds.filter_map(|&seed| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            runtime.block_on(run(seed)).err().map(|why| format!("seed {seed}: {why}"))
        });
        failed.take(3).collect::<Vec<_>>()
    };
    let wrong = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(failures)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_thousand_storms_end_every_call_once_in_time_and_send_nothing_twice() {
    seeds(1_000, run);
}

#[test]
fn no_place_and_no_probe_leaks() {
    seeds(300, nothing_leaks);
}
