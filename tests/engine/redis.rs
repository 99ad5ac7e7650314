//! Answers in a real Redis: shared between engines and processes, and no call worse off for a Redis that is ill.

use std::{
    collections::HashMap,
    path::Path,
    process::{Command, Output},
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::future::join_all;
use rustix::process::Signal;
use switchboard::{
    cache::{self, Redis},
    control::{self, Control},
    domain::{
        body::Body,
        call::{FailureKind, Outcome},
        event::{EventKind, Settled},
        policy::{
            CacheMode,
            breaker::State,
            cache::{CacheSettings, CachedResponse},
            call_event::CallEvent,
            pattern::Pattern,
        },
        secret::Secret,
        server::ServerSpec,
    },
    engine::ports::ResponseCache,
};

use crate::{
    fake::{self, Behaviour, Fake},
    puppet::{Act, Puppet, Puppets, tool},
    redis_server::{RedisServer, free_port},
    support::{Rig, bad_server},
};

/// Never reached by a Redis that is well.
const LONG: Duration = Duration::from_secs(60);
/// A pause after which a test sees Redis tried again.
const SHORT: Duration = Duration::from_millis(20);

fn settings(urls: &[&str], timeout: Duration, retry_interval: Duration) -> CacheSettings {
    CacheSettings { redis: urls.iter().map(|url| Secret::literal(*url)).collect(), timeout, retry_interval, ..CacheSettings::default() }
}

fn well(url: &str) -> CacheSettings {
    settings(&[url], LONG, SHORT)
}

/// A server `db` whose responses are all cached.
fn db() -> ServerSpec {
    let mut spec = fake::spec("db");
    spec.policy.cache.mode = CacheMode::Always;
    spec
}

/// An engine with a server `db` of its own, and a store.
struct Place {
    rig: Rig,
    server: Arc<Puppet>,
    store: Arc<Redis>,
}

fn assert_ok(settled: &Settled) {
    assert!(matches!(settled.outcome, Outcome::Ok { .. }), "no call fails for the sake of a cache: {:?}", settled.outcome);
}

impl Place {
    async fn new(settings: &CacheSettings) -> Place {
        let act = Act::Ok(Duration::from_millis(5));
        let server = Arc::new(Puppet::new(vec![tool("query", &[]), tool("drop", &[])], move |_, _| act.clone()));
        let rig = Rig::over(Arc::new(Puppets(HashMap::from([("db".into(), server.clone())]))), vec![db()]);
        let store = Arc::new(Redis::open(settings).unwrap());
        rig.engine.set_store(Some(store.clone()));
        rig.ready("db").await;
        Place { rig, server, store }
    }

    /// Calls, and returns whether the response was cached.
    async fn hit(&self, tool: &str, arguments: &str) -> bool {
        let before = self.server.requests();
        let (_, settled) = self.rig.call("db", tool, arguments).await;
        assert_ok(&settled);
        let asked = self.server.requests() > before;
        assert_ne!(asked, settled.cached.is_some());
        !asked
    }

    async fn trouble(&self) -> String {
        let read_model = self.rig.until("trouble", |w| w.cache.trouble.is_some()).await;
        read_model.cache.trouble.clone().unwrap_or_else(|| self.store.trouble().expect("still in trouble"))
    }

    async fn no_trouble(&self) {
        self.rig.until("no trouble", |w| w.cache.trouble.is_none()).await;
    }

    /// Calls until a response comes from the cache.
    async fn until_hit(&self, arguments: &str) {
        while !self.hit("query", arguments).await {}
    }
}

#[tokio::test]
async fn engines_share_what_one_of_them_was_answered() {
    let redis = RedisServer::on_socket();
    let (one, two) = (Place::new(&well(&redis.url)).await, Place::new(&well(&redis.url)).await);
    assert!(!one.hit("query", r#"{"a":1,"b":2}"#).await);
    assert!(two.hit("query", r#"{"b":2,"a":1}"#).await);
    assert!(!two.hit("query", r#"{"a":1}"#).await && !two.hit("drop", r#"{"a":1,"b":2}"#).await);
    let elsewhere = Place::new(&CacheSettings { prefix: "other".into(), ..well(&redis.url) }).await;
    assert!(!elsewhere.hit("query", r#"{"a":1,"b":2}"#).await);
    let cache = &two.rig.read_model().cache;
    assert_eq!((cache.store.as_str(), cache.hits, cache.misses, &cache.trouble), ("redis", 1, 2, &None));
}

#[tokio::test]
async fn equal_calls_at_once_ask_the_server_once() {
    let redis = RedisServer::on_socket();
    let place = Place::new(&well(&redis.url)).await;
    let calls = join_all((0..16).map(|_| place.rig.call("db", "query", "{}"))).await;
    calls.iter().for_each(|(_, settled)| assert_ok(settled));
    assert_eq!(place.server.requests(), 1);
}

#[tokio::test]
async fn answers_go_when_their_time_is_over() {
    let redis = RedisServer::on_socket();
    let place = Place::new(&well(&redis.url)).await;
    let kept = |ttl| CachedResponse {
        result: Body::from("{}"),
        at_unix_ms: 0,
        ttl: Duration::from_secs(ttl),
        stale: Duration::from_secs(1000),
        hold: Duration::from_secs(10_000),
        name: "db_query".into(),
    };
    place.store.put("long", kept(100)).await;
    let left: u64 = redis.ask("PTTL switchboard:long");
    assert!((10_000_000..=11_100_000).contains(&left), "as long as it is of use to anybody: {left}");
    let brief = CachedResponse { ttl: Duration::from_millis(50), stale: Duration::ZERO, hold: Duration::ZERO, ..kept(0) };
    place.store.put("brief", brief).await;
    while redis.ask::<bool>("EXISTS switchboard:brief") {}
    assert_eq!(place.store.get("brief").await, None);
    assert_eq!(place.store.get("long").await, Some(kept(100)));
}

#[tokio::test]
async fn what_is_private_stays_here() {
    let redis = RedisServer::on_socket();
    let rig = Rig::over(
        Fake::new(|_| {
            Behaviour::new(|request, observer, handler| async move {
                observer.sent(handler.now(), 1);
                let scope = if request.params.text().contains("mine") { "private" } else { "public" };
                let result = Body::json(&serde_json::json!({"content": [], "ttlMs": 60_000, "cacheScope": scope}));
                Ok(switchboard::engine::ports::Reply { result, ..fake::reply(&handler) })
            })
            .plan()
        }),
        vec![db()],
    );
    rig.engine.set_store(Some(cache::open(&well(&redis.url)).unwrap()));
    rig.ready("db").await;
    let keys = || redis.ask::<Vec<String>>("KEYS switchboard:db/*").len();
    rig.call("db", "echo", r#"{"x":"mine"}"#).await;
    assert_eq!(keys(), 0);
    rig.call("db", "echo", r#"{"x":"everybody's"}"#).await;
    assert_eq!(keys(), 1);
}

#[tokio::test]
async fn redis_killed_in_the_middle_of_a_run_costs_no_call_and_returns_by_itself() {
    let mut redis = RedisServer::on_socket();
    let place = Place::new(&well(&redis.url)).await;
    assert!(!place.hit("query", "{}").await && place.hit("query", "{}").await);
    let work = |lane: usize| {
        let place = &place;
        async move {
            for n in 0..40 {
                assert_ok(&place.rig.call("db", "query", &format!("{{\"n\":\"{lane}.{n}\"}}")).await.1);
            }
        }
    };
    let crash = async {
        place.rig.until("a part of the calls", |_| place.server.requests() > 20).await;
        redis.kill();
    };
    tokio::join!(join_all((0..4).map(work)), crash);
    let why = place.trouble().await;
    assert!(why.contains("redis.sock cannot be reached") && why.contains("every 20 ms"), "{why}");
    assert!(!place.hit("query", "{}").await);
    assert_eq!(place.server.requests(), 1 + 160 + 1, "what Redis had no part in went to the server");
    redis.start();
    place.no_trouble().await;
    place.until_hit("{}").await;
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_nobodys_trouble() {
    let redis = RedisServer::on_socket();
    let place = Place::new(&settings(&[&redis.url], LONG, LONG)).await;
    assert!(!place.hit("query", "{}").await);
    let (_, mut tail) = place.rig.engine.watch();
    for _ in 0..3 {
        redis.ask::<u64>("CLIENT KILL TYPE normal SKIPME yes");
        assert!(place.hit("query", "{}").await);
    }
    while let Ok(Some(event)) = tail.try_next() {
        assert!(!matches!(&event.kind, EventKind::Cache { view } if view.trouble.is_some()), "{event:?}");
    }
}

#[tokio::test]
async fn a_redis_that_hangs_is_asked_once_and_then_left_alone() {
    let redis = RedisServer::on_socket();
    let place = Place::new(&settings(&[&redis.url], Duration::from_secs(2), Duration::from_secs(3600))).await;
    assert!(!place.hit("query", "{}").await && place.hit("query", "{}").await);
    let asked = redis.reads();
    redis.signal(Signal::STOP);
    for n in 0..20 {
        assert!(!place.hit("query", &format!("{{\"n\":{n}}}")).await);
        assert!(place.trouble().await.contains("does not answer within 2"));
    }
    let notice = place.rig.notice_of(control::Command::Purge { pattern: "*".into() }).await;
    assert!(notice.as_ref().is_some_and(|notice| notice.contains("failed: Redis at")), "{notice:?}");
    redis.signal(Signal::CONT);
    // The cancelled request is answered now; there was no other one.
    let mut seen = redis.reads();
    while seen == asked {
        seen = redis.reads();
    }
    assert_eq!(seen, asked + 1);
}

#[tokio::test]
async fn while_redis_hangs_every_call_misses_within_its_wait() {
    let redis = RedisServer::on_socket();
    let place = Place::new(&settings(&[&redis.url], Duration::from_millis(50), LONG)).await;
    place.until_hit("{}").await;
    redis.signal(Signal::STOP);
    // From here on time passes only where something is waited for.
    tokio::time::pause();
    let together: Vec<_> = (0..8).map(|n| place.rig.submit("db", "query", &format!("{{\"n\":{n}}}"))).collect();
    let missed = async |call| {
        assert_ok(&*place.rig.settled(call).await);
        let read_model = place.rig.read_model();
        let view = read_model.call(call).unwrap().clone();
        let miss = view.stages().iter().find(|(_, stage)| matches!(**stage, CallEvent::CacheMiss { .. })).expect("a miss").0;
        (miss.since(view.queued).as_millis(), view.settled.unwrap().timings.total().as_millis())
    };
    for call in together {
        let (miss, total) = missed(call).await;
        assert!((50..=51).contains(&miss), "{miss} ms: the whole wait, and a tick of the timer");
        assert!((55..=57).contains(&total), "{total} ms: then the 5 ms of the server, and nothing for keeping the answer");
    }
    for n in 8..16 {
        let (miss, total) = missed(place.rig.submit("db", "query", &format!("{{\"n\":{n}}}"))).await;
        assert!(miss == 0 && (5..=6).contains(&total), "{miss} ms, {total} ms: it is left alone now");
    }
    assert!(place.trouble().await.contains("does not answer within 50 ms"));
}

#[tokio::test]
async fn a_redis_that_wakes_up_is_used_again() {
    let redis = RedisServer::on_socket();
    let place = Place::new(&settings(&[&redis.url], Duration::from_millis(200), SHORT)).await;
    place.until_hit("{}").await;
    redis.signal(Signal::STOP);
    assert!(!place.hit("query", "{}").await);
    place.trouble().await;
    redis.signal(Signal::CONT);
    place.no_trouble().await;
    place.until_hit("{}").await;
}

#[tokio::test]
async fn a_dead_port_from_the_start_costs_nothing_but_the_cache() {
    // Bound but not listening: the port is taken, and connections are refused.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = taken.local_addr().unwrap();
    let place = Place::new(&settings(&[&format!("redis://:hunter2@{address}")], LONG, SHORT)).await;
    for n in 0..5 {
        assert!(!place.hit("query", &format!("{{\"n\":{n}}}")).await);
    }
    let why = place.trouble().await;
    assert!(why.contains(&format!("Redis at {address} cannot be reached")) && !why.contains("hunter2"), "{why}");
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let redis =
        RedisServer::on_port("redis", |port, _| ["--port", &port.to_string(), "--requirepass", "right"].map(str::to_owned).to_vec());
    let with = |password: &str| format!("redis://:{password}@127.0.0.1:{}", redis.port);
    let place = Place::new(&well(&with("hunter2"))).await;
    assert!(!place.hit("query", "{}").await);
    let why = place.trouble().await;
    assert!(why.contains("password") && !why.contains("hunter2"), "{why}");
    let mut admin = redis::Client::open(with("right")).unwrap().get_connection().unwrap();
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("hunter2").exec(&mut admin).unwrap();
    place.no_trouble().await;
    place.until_hit("{}").await;
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_trouble() {
    let (master, replica) = (RedisServer::plain(), RedisServer::plain());
    replica.ask::<String>(&format!("REPLICAOF 127.0.0.1 {}", master.port));
    let place = Place::new(&well(&replica.url)).await;
    assert!(!place.hit("query", "{}").await);
    assert!(place.trouble().await.to_lowercase().contains("read only replica"), "{}", place.trouble().await);
    replica.ask::<String>("REPLICAOF NO ONE");
    place.no_trouble().await;
    place.until_hit("{}").await;
}

#[tokio::test]
async fn what_others_wrote_under_our_keys_is_a_miss_and_no_trouble() {
    let redis = RedisServer::on_socket();
    let place = Place::new(&well(&redis.url)).await;
    assert!(!place.hit("query", "{}").await);
    let keys: Vec<String> = redis.ask("KEYS switchboard:db/*");
    let [key] = keys.as_slice() else { panic!("one answer, one key: {keys:?}") };
    let spoilt = ["SET KEY garbage", "APPEND KEY x", "DEL KEY; RPUSH KEY a"];
    for (n, commands) in spoilt.iter().enumerate() {
        for command in commands.replace("KEY", key).split("; ") {
            redis.ask::<redis::Value>(command);
        }
        assert!(!place.hit("query", "{}").await);
        assert_eq!(place.store.foreign(), n as u64 + 1);
        assert!(place.hit("query", "{}").await, "the next answer takes its place");
    }
    assert_eq!(place.store.trouble(), None);
}

#[tokio::test]
async fn a_purge_takes_what_the_pattern_means_and_nothing_else() {
    let redis = RedisServer::on_socket();
    let place = Place::new(&well(&redis.url)).await;
    let strangers = ["SET other:db/query/1 x", "SET switchboardx x", "RPUSH switchboard:list a", "SET switchboard:plain x"];
    strangers.iter().for_each(|command| {
        redis.ask::<redis::Value>(command);
    });
    let purge = async |pattern: &str, count: u64| {
        let notice = place.rig.notice_of(control::Command::Purge { pattern: pattern.into() }).await;
        assert_eq!(notice, Some(format!("{count} cached responses of {pattern} purged")));
    };
    let fill = async || {
        // More than one SCAN has in its answer.
        let call = async |n: u32| {
            let tool = if n.is_multiple_of(3) { "drop" } else { "query" };
            assert_ok(&place.rig.call("db", tool, &format!("{{\"n\":{n}}}")).await.1);
        };
        for hundred in 0..15 {
            join_all((100 * hundred..100 * (hundred + 1)).map(call)).await;
        }
    };
    fill().await;
    purge("nothing*", 0).await;
    // By the exposed name, by server and tool, and by the server.
    purge("db_dr*", 500).await;
    purge("db/query", 1000).await;
    assert!(!place.hit("query", r#"{"n":1}"#).await);
    purge("db", 1).await;
    let mut left: Vec<String> = redis.ask("KEYS *");
    left.sort();
    assert_eq!(left.iter().filter(|key| *key != "switchboard:alive").count(), strangers.len(), "{left:?}");
}

#[tokio::test]
async fn a_cluster_keeps_answers_on_all_its_nodes() {
    let bus = || free_port().to_string();
    let node = || {
        RedisServer::on_port("redis", |port, _| {
            ["--port", &port.to_string(), "--cluster-enabled", "yes", "--cluster-port", &bus()].map(str::to_owned).to_vec()
        })
    };
    let (one, two) = (node(), node());
    for (node, epoch, slots) in [(&one, 1, "0 8191"), (&two, 2, "8192 16383")] {
        node.ask::<String>(&format!("CLUSTER SET-CONFIG-EPOCH {epoch}"));
        node.ask::<String>(&format!("CLUSTER ADDSLOTSRANGE {slots}"));
    }
    let own: String = two.ask("CLUSTER NODES");
    let own_bus = own.split(['@', ' ']).nth(2).unwrap().split(',').next().unwrap().to_owned();
    one.ask::<String>(&format!("CLUSTER MEET 127.0.0.1 {} {own_bus}", two.port));
    let complete = |node: &RedisServer| {
        let info: String = node.ask("CLUSTER INFO");
        info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
    };
    while !(complete(&one) && complete(&two)) {}
    let settings = settings(&[&one.url, &two.url], LONG, SHORT);
    let (here, there) = (Place::new(&settings).await, Place::new(&settings).await);
    let arguments = |n: u32| format!("{{\"n\":{n}}}");
    for n in 0..40 {
        assert!(!here.hit("query", &arguments(n)).await);
        assert!(there.hit("query", &arguments(n)).await);
    }
    let keys = |node: &RedisServer| node.ask::<Vec<String>>("KEYS switchboard:db/*").len();
    assert!(keys(&one) > 0 && keys(&two) > 0 && keys(&one) + keys(&two) == 40);
    assert_eq!(here.store.purge(&switchboard::domain::policy::pattern::Pattern::parse("db").unwrap()).await, Ok(40));
    assert_eq!((keys(&one), keys(&two)), (0, 0));
}

#[tokio::test]
async fn sentinels_say_where_redis_is() {
    let master = RedisServer::plain();
    let sentinel = RedisServer::sentinel(master.port);
    let place = Place::new(&well(&sentinel.url)).await;
    place.until_hit("{}").await;
    assert_eq!(master.ask::<Vec<String>>("KEYS switchboard:db/*").len(), 1);
}

/// Runs `switchboard call` in a process of its own, with a server that writes down what it is sent.
fn call(home: &Path, cache: &str, env: &[(&str, &str)]) -> Output {
    let config = format!(
        "[redis]\n{cache}\ntimeout = \"60s\"\n[servers.db]\ncommand = \"sh\"\nargs = [\"-c\", 'tee -a \"$0\" | exec \"$1\" plain', '{}', '{}']\ncache = {{ mode = \"always\" }}\n",
        home.join("sent").display(),
        bad_server(),
    );
    std::fs::write(home.join("config.toml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["--config", "config.toml", "--no-project-config", "call", "db_echo", "--yes", "--json"]).current_dir(home);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", home).envs(env.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output
}

fn calls_sent(home: &Path) -> usize {
    std::fs::read_to_string(home.join("sent")).unwrap().matches("\"tools/call\"").count()
}

#[test]
fn processes_share_what_one_of_them_was_answered() {
    let (redis, home) = (RedisServer::on_socket(), tempfile::tempdir().unwrap());
    let cache = format!("url = \"{}\"", redis.url);
    let answers: Vec<serde_json::Value> = [(), ()]
        .iter()
        .map(|()| serde_json::from_slice::<serde_json::Value>(&call(home.path(), &cache, &[]).stdout).unwrap()["result"].clone())
        .collect();
    assert_eq!(answers[0], answers[1]);
    assert_eq!(calls_sent(home.path()), 1);
}

/// A certificate for this machine, and its key.
static CERTIFICATE: LazyLock<(String, String)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
});

#[test]
fn redis_is_reached_over_tls_by_the_certificates_of_the_system() {
    let home = tempfile::tempdir().unwrap();
    let (cert, key) = (home.path().join("cert.pem").display().to_string(), home.path().join("key.pem").display().to_string());
    std::fs::write(&cert, &CERTIFICATE.0).unwrap();
    std::fs::write(&key, &CERTIFICATE.1).unwrap();
    let redis = RedisServer::on_port("rediss", |port, _| {
        let port = port.to_string();
        let tls = ["--port", "0", "--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-auth-clients", "no"];
        tls.into_iter().chain(["--requirepass", "s3cret"]).map(str::to_owned).collect()
    });
    let cache = "url = \"rediss://:${PASSWORD}@127.0.0.1:PORT\"".replace("PORT", &redis.port.to_string());
    for _ in 0..2 {
        call(home.path(), &cache, &[("SSL_CERT_FILE", &cert), ("PASSWORD", "s3cret")]);
    }
    assert_eq!(calls_sent(home.path()), 1);
    // Without the certificate nothing is said to it, and nothing is lost but the cache.
    call(home.path(), &cache, &[("PASSWORD", "s3cret")]);
    assert_eq!(calls_sent(home.path()), 2);
}

/// An engine with a server at this address that fails every call, and a store that is set first.
async fn failing(settings: &CacheSettings, spec: ServerSpec) -> (Rig, Arc<Puppet>) {
    let server = Arc::new(Puppet::new(vec![tool("query", &[])], |_, _| Act::Http(500, Duration::ZERO, None)));
    let rig = Rig::over(Arc::new(Puppets(HashMap::from([("db".into(), server.clone())]))), vec![]);
    rig.engine.set_store(Some(Arc::new(Redis::open(settings).unwrap())));
    rig.engine.apply(vec![spec]);
    rig.engine.catalogs_loaded().await;
    rig.ready("db").await;
    (rig, server)
}

#[tokio::test]
async fn processes_share_what_they_learned_about_a_remote_server() {
    let remote = || crate::support::http("db", "http://db.example/mcp");
    let local = || crate::support::stdio("db", "started-by-each-process", &[]);
    let shared = RedisServer::on_socket();
    let elsewhere = CacheSettings { prefix: "other".into(), ..well(&shared.url) };
    for spec in [remote(), local()] {
        let (rig, _) = failing(&well(&shared.url), spec).await;
        for _ in 0..20 {
            rig.call("db", "query", "{}").await;
        }
        assert_eq!(rig.server("db").breaker.state, State::Open);
        // What was learned is shared when the engine ends.
        rig.stop().await;
    }
    for (settings, spec, open) in [(well(&shared.url), remote(), true), (elsewhere, remote(), false), (well(&shared.url), local(), false)] {
        let (rig, server) = failing(&settings, spec).await;
        let (_, settled) = rig.call("db", "query", "{}").await;
        let refused = matches!(&settled.outcome, Outcome::Failed { failure } if failure.kind == FailureKind::BreakerOpen);
        assert_eq!((refused, server.requests() == 0), (open, open), "{settled:?}");
        // A purge is about responses.
        assert_eq!(Redis::open(&settings).unwrap().purge(&Pattern::parse("*").unwrap()).await, Ok(0));
        rig.stop().await;
    }
}
