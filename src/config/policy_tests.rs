//! Knobs, rules, groups and routes, from files to what the engine is given.

use std::time::Duration;

use super::{
    load_tests::{Place, errors_of},
    *,
};
use crate::domain::{
    id::ToolId,
    policy::{
        CacheMode, Fallback, RetryMode, Rules,
        breaker::{Probe, Window},
        route::{Member, Strategy, decide},
    },
};

fn user(text: &str) -> Result<Loaded, Vec<ConfigError>> {
    let place = Place::new();
    place.write("conf/config.toml", text);
    load(&place.options())
}

const SERVERS: &str = "\n[servers.a]\ncommand = \"a\"\n[servers.b]\ncommand = \"b\"\n[servers.db]\ncommand = \"db\"\n";

#[test]
fn settings_merge_from_defaults_over_servers_to_tools() {
    let text = r#"
[defaults.timeouts]
attempt = "20s"
[defaults.retry]
attempts = 5
factor = 3
mode = "never"
[defaults.breaker]
window = "60s"
failure_rate = 1
record = { tool_error = true, codes = [-1] }
[servers.a]
command = "a"
[servers.a.retry]
attempts = 2
mode = "safe"
[servers.a.breaker]
window = 7
probe = "live"
record = { timeout = false }
[servers.a.concurrency]
in_flight = 3
[servers.a.rate_limit]
per_second = 0.5
[servers.a.hedge]
enabled = true
after = "50ms"
[servers.b]
command = "b"
[[tool]]
match = "a_*"
attempt = "1s"
breaker = { own = true, consecutive = 1 }
cache = { mode = "always", ttl = "1h", stale_if_error = "2h" }
[[tool]]
match = "a_get"
safe = true
timeout = "9s"
idempotency_key = "key"
retry.attempts = 9
breaker.own = false
"#;
    let loaded = user(text).unwrap();
    let (a, b) = (&loaded.servers[0].policy, &loaded.servers[1].policy);
    assert_eq!((a.retry.attempts, a.retry.mode, a.retry.factor), (2, RetryMode::Safe, 3.0));
    assert_eq!((b.retry.attempts, b.retry.mode, b.attempt), (5, RetryMode::Never, Some(Duration::from_secs(20))));
    assert_eq!((a.breaker.window, b.breaker.window), (Window::Calls(7), Window::Time(Duration::from_secs(60))));
    assert_eq!((a.breaker.failure_rate, a.breaker.probe), (1.0, Probe::Live));
    assert!(a.record.tool_error && !a.record.timeout && b.record.timeout && b.record.codes == [-1]);
    assert_eq!(
        (a.concurrency.in_flight, a.rate_limit.per_second, a.hedge.enabled, a.hedge.after),
        (3, 0.5, true, Some(Duration::from_millis(50)))
    );

    let get = loaded.rules.treatment("a_get", &"a".into(), a);
    assert_eq!(
        (get.policy.attempt, get.policy.retry.attempts, get.timeout),
        (Some(Duration::from_secs(1)), 9, Some(Duration::from_secs(9)))
    );
    assert_eq!((get.safe, get.idempotency_key.as_deref(), get.own_breaker), (Some(true), Some("key"), false));
    assert_eq!((get.policy.cache.mode, get.policy.breaker.consecutive), (CacheMode::Always, 1));
    let put = loaded.rules.treatment("a_put", &"a".into(), a);
    assert_eq!((put.safe, put.own_breaker, put.policy.retry.attempts), (None, true, 2));
    assert_eq!(loaded.rules.treatment("b_get", &"b".into(), b).policy, *b);
}

#[test]
fn groups_routes_fallbacks_and_the_cache_are_read() {
    let text = r#"
[groups.pool]
members = ["a", { server = "b", weight = 10 }]
strategy = "sticky"
argument = "user"
namespace = ""
members_listed = true
[groups.plain]
members = ["b"]
[[route]]
match = "/^db_(get|list)/"
to = "pool"
[[tool]]
match = "db_*"
fallback = [
  { server = "plain" },
  { tool = "a_query", arguments = { q = "{{ arguments.sql }}", n = 1 } },
  { stale = true },
  { value = [1, "x"] },
]
[redis]
url = "rediss://:${TOKEN}@cache.example/2"
prefix = "team:x"
timeout = "20ms"
retry_interval = "1s"
[cache]
bytes = 1000
"#;
    let rules = user(&format!("{text}{SERVERS}")).unwrap().rules;
    let [pool, plain] = rules.routing.groups.as_slice() else { panic!("{rules:?}") };
    assert_eq!(pool.members, [Member { server: "a".into(), weight: 1 }, Member { server: "b".into(), weight: 10 }]);
    assert_eq!((&pool.strategy, pool.namespace(), pool.members_listed), (&Strategy::Sticky { argument: "user".into() }, "", true));
    assert_eq!((&plain.strategy, plain.namespace(), plain.members_listed), (&Strategy::RoundRobin, "plain", false));
    assert_eq!(decide(&rules.routing, "db_get", &ToolId::new("db".into(), "get")).0, "pool".into());
    let wanted = [
        Fallback::Server { server: "plain".into() },
        Fallback::Tool { tool: "a_query".into(), arguments: Some(r#"{"q":"{{ arguments.sql }}","n":1}"#.into()) },
        Fallback::Stale,
        Fallback::Value { value: r#"[1,"x"]"#.into() },
    ];
    assert_eq!(rules.tools[0].fallback, wanted);
    assert_eq!(rules.cache.redis[0].expose(), "rediss://:s3cret-token@cache.example/2");
    assert!(!format!("{:?}", rules.cache).contains("s3cret"));
    assert_eq!(
        (rules.cache.prefix.as_str(), rules.cache.bytes, rules.cache.timeout.as_millis(), rules.cache.retry_interval.as_secs()),
        ("team:x", 1000, 20, 1)
    );
    assert_eq!(user(SERVERS).unwrap().rules, Rules::default());
}

#[test]
fn errors_in_rules_have_a_position_and_a_hint() {
    for (text, line, key, words) in [
        ("[defaults.retry]\nattempts = 0", 2, "defaults.retry.attempts", "from 1 to 100"),
        ("[defaults.retry]\natempts = 1", 2, "defaults.retry.atempts", "did you mean `attempts`?"),
        ("[defaults.retry]\nfactor = 0.5", 2, "defaults.retry.factor", "from 1 to 100"),
        ("[defaults.retry]\nfactor = nan", 2, "defaults.retry.factor", "from 1 to 100"),
        ("[defaults.retry]\nbackoff = 200", 2, "defaults.retry.backoff", "\"200s\" or \"200ms\""),
        ("[defaults.breaker]\nfailure_rate = 50", 2, "defaults.breaker.failure_rate", "from 0 to 1"),
        ("[defaults.breaker]\nwindow = 0", 2, "defaults.breaker.window", "from 1 to 4096"),
        ("[defaults.breaker]\nwindow = \"20\"", 2, "defaults.breaker.window", "not a duration"),
        ("[defaults.breaker]\nprobe = \"pong\"", 2, "defaults.breaker.probe", "did you mean `ping`?"),
        ("[defaults.breaker]\nown = true", 2, "defaults.breaker.own", "unknown key"),
        ("[defaults.breaker.record]\ncodes = [\"x\"]", 2, "defaults.breaker.record.codes", "error codes"),
        (
            "[defaults.rate_limit]
burst = 1.5",
            2,
            "defaults.rate_limit.burst",
            "integer",
        ),
        ("[defaults.concurrency]\nin_flight = -1", 2, "defaults.concurrency.in_flight", "from 0"),
        ("[servers.x]\ncommand = \"x\"\ncache = { mode = \"all\" }", 3, "cache.mode", "\"always\""),
        ("[[tool]]\nmatch = \"/(/\"", 2, "tool.match", "invalid regular expression"),
        ("[[tool]]\nsafe = true", 1, "tool", "has no `match`"),
        ("[[tool]]\nmatch = \"x\"\nsave = true", 3, "tool.save", "did you mean `safe`?"),
        ("[[tool]]\nmatch = \"x\"\nidempotency_key = \"\"", 3, "tool.idempotency_key", "is empty"),
        ("[[tool]]\nmatch = \"x\"\nfallback = [\n{ server = \"a\", stale = true }]", 4, "tool.fallback", "one fallback"),
        ("[[tool]]\nmatch = \"x\"\nfallback = [{ stale = false }]", 3, "tool.fallback", "one fallback"),
        ("[[tool]]\nmatch = \"x\"\nfallback = [\n{ server = \"dbb\" }]", 4, "tool.fallback.server", "did you mean `db`?"),
        ("[[tool]]\nmatch = \"x\"\nfallback = [{ server = \"a\", arguments = {} }]", 3, "tool.fallback.arguments", "needs `tool`"),
        ("[[tool]]\nmatch = \"x\"\nfallback = [{ tool = \"y\", arguments = 1 }]", 3, "tool.fallback.arguments", "a table"),
        (
            "[[tool]]\nmatch = \"x\"\nfallback = [{ tool = \"y\", arguments = { a = \"{{ x\" } }]",
            3,
            "tool.fallback.arguments",
            "{{ arguments.NAME }}",
        ),
        ("[[tool]]\nmatch = \"x\"\nretry = { budget = 1.0 }", 3, "tool.retry.budget", "share one budget"),
        ("[[tool]]\nmatch = \"x\"\nbreaker = { consecutive = 1 }", 3, "tool.breaker", "no tool has its own breaker"),
        ("[[tool]]\nmatch = \"x\"\nbreaker.enabled = false", 3, "tool.breaker", "own = true"),
        ("[[tool]]\nmatch = \"x\"\nfallback = [\"a\"]", 3, "tool.fallback", "{ server ="),
        ("tool = [1]", 1, "tool", "write [[tool]]"),
        ("[groups.g]\nmembers = [\n\"a\",\n\"bb\"]", 4, "groups.g.members", "unknown server \"bb\""),
        ("[groups.g]\nmembers = []", 1, "groups.g", "has no members"),
        ("[groups.g]\nmembers = [\"a\", \"a\"]", 2, "groups.g.members", "listed twice"),
        ("[groups.db]\nmembers = [\"a\"]", 1, "groups.db", "a server has this name too"),
        ("[groups.g]\nmembers = [\"h\"]\n[groups.h]\nmembers = [\"a\"]", 2, "groups.g.members", "is a group"),
        ("[groups.g]\nmembers = [\"a\"]\nstrategy = \"primry\"", 3, "groups.g.strategy", "did you mean `primary`?"),
        ("[groups.g]\nmembers = [\"a\"]\nstrategy = \"sticky\"", 3, "groups.g.strategy", "needs `argument`"),
        ("[groups.g]\nmembers = [\"a\"]\nargument = \"x\"", 3, "groups.g.argument", "strategy = \"sticky\""),
        ("[groups.g]\nmembers = [{ server = \"a\", weight = -1 }]", 2, "groups.g.members.weight", "from 0"),
        ("[groups.g]\nmembers = [{ weight = 1 }]", 2, "groups.g.members", "has no `server`"),
        ("[groups.g]\nmembers = [\"a\"]\nnamespace = \"a b\"", 3, "groups.g.namespace", "A-Z"),
        ("[[route]]\nmatch = \"x\"", 1, "route", "has no `to`"),
        ("[[route]]\nmatch = \"x\"\nto = \"nowhere\"", 3, "route.to", "unknown server \"nowhere\""),
        ("[redis]\nurl = [\n\"http://x\"]", 3, "redis.url", "not an address of a Redis"),
        ("[redis]\nurl = \"redis://${NONE}\"", 2, "redis.url", "`NONE` is not set"),
        ("[redis]\nprefix = \"a b\"", 2, "redis.prefix", "A-Z"),
    ] {
        let errors = errors_of(&format!("{text}{SERVERS}"));
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        let error = &errors[0];
        assert_eq!((error.line, error.key.as_deref().unwrap_or_default()), (Some(line), key), "{text}: {error}");
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}

#[test]
fn the_store_is_a_file_and_names_of_later_versions_are_refused() {
    let place = Place::new();
    place.write("conf/config.toml", "[store]\nurl = \"sqlite:state/own.db\"");
    assert_eq!(load(&place.options()).unwrap().settings.store, Some(place.path("conf/state/own.db")));
    assert_eq!(user("[store]").unwrap().settings.store, None);
    for (text, line, key, words) in [
        ("[store]\nurl = \"postgres://db/switchboard\"", 2, "store.url", "needs PostgreSQL"),
        ("[store]\nurl = \"store.db\"", 2, "store.url", "sqlite:PATH"),
        ("[store]\nurl = \"sqlite:\"", 2, "store.url", "sqlite:PATH"),
        ("[fleet]\nrealm = \"prod\"", 1, "fleet", "unknown key"),
    ] {
        let errors = errors_of(text);
        assert_eq!((errors.len(), errors[0].line, errors[0].key.as_deref()), (1, Some(line), Some(key)), "{text}: {errors:?}");
        assert!(errors[0].to_string().contains(words), "{text}: {errors:?}");
    }
}

#[test]
fn an_ignored_member_is_reported_once() {
    let text = format!("[groups.g]\nmembers = [\"a\", \"c\"]{SERVERS}[servers.c]\ncommand = \"${{NONE}}\"");
    let loaded = user(&text).unwrap();
    assert_eq!((loaded.problems.len(), loaded.rules.routing.groups[0].members.len()), (1, 2));
}

#[test]
fn higher_files_override_lower_ones() {
    let place = Place::new();
    place.write("conf/config.toml", &format!("include = [\"low.toml\"]\n[[tool]]\nmatch = \"a\"\nsafe = true\n[[route]]\nmatch = \"*\"\nto = \"a\"\n[groups.g]\nmembers = [\"a\"]\n[redis]\nprefix = \"high\"{SERVERS}"));
    place.write("conf/low.toml", "[[tool]]\nmatch = \"a\"\nsafe = false\ntimeout = \"3s\"\n[[route]]\nmatch = \"*\"\nto = \"b\"\n[groups.g]\nmembers = [\"b\"]\n[redis]\nprefix = \"low\"\n[cache]\nbytes = 7");
    let rules = load(&place.options()).unwrap().rules;
    let treatment = rules.treatment("a", &"a".into(), &Default::default());
    assert_eq!((treatment.safe, treatment.timeout), (Some(true), Some(Duration::from_secs(3))));
    assert_eq!(decide(&rules.routing, "x", &ToolId::new("b".into(), "x")).0, "a".into());
    assert_eq!((rules.routing.groups.len(), &rules.routing.groups[0].members[0].server), (1, &"a".into()));
    assert_eq!((rules.cache.prefix.as_str(), rules.cache.bytes), ("high", 7));
}

#[test]
fn a_projects_rules_apply_to_its_own_servers_only() {
    let place = Place::new();
    place.write(
        "conf/config.toml",
        "[servers.mine]\ncommand = \"mine\"\n[groups.pool]\nmembers = [\"mine\"]\n[defaults.retry]\nattempts = 2",
    );
    place.write(
        "project/switchboard.toml",
        r#"
[servers.theirs]
command = "theirs"
[servers.pool]
command = "hijack"
[defaults.retry]
attempts = 7
[[tool]]
match = "*"
safe = true
fallback = [{ tool = "mine_drop" }, { server = "mine" }, { value = 1 }, { server = "good" }]
[[route]]
match = "*"
to = "theirs"
[[route]]
match = "*"
to = "mine"
[groups.good]
members = ["theirs", "mine"]
[groups.mine]
members = ["theirs"]
[redis]
url = "redis://evil.example"
"#,
    );
    let mut options = place.options();
    let held = load(&options).unwrap();
    assert_eq!(held.rules.tools, []);
    assert_eq!((held.rules.routing.routes.len(), held.rules.routing.groups.len()), (0, 1), "nothing before it is approved");
    options.trust_hash = Some(held.pending.unwrap().hash);
    let loaded = load(&options).unwrap();
    assert_eq!(loaded.servers.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["mine", "theirs"]);
    assert_eq!((loaded.servers[0].policy.retry.attempts, loaded.servers[1].policy.retry.attempts), (2, 7));
    let rules = &loaded.rules;
    let (mine, theirs) = (ToolId::new("mine".into(), "x"), ToolId::new("theirs".into(), "x"));
    assert_eq!(rules.treatment("mine_x", &mine.server, &Default::default()).safe, None);
    let own = rules.treatment("theirs_x", &theirs.server, &Default::default());
    assert_eq!(
        (own.safe, own.fallback),
        (Some(true), vec![Fallback::Value { value: "1".into() }, Fallback::Server { server: "good".into() }])
    );
    assert_eq!(decide(&rules.routing, "mine_x", &mine).0, "mine".into());
    assert_eq!(rules.routing.routes.len(), 1);
    let groups: Vec<(&str, usize)> = rules.routing.groups.iter().map(|g| (g.id.as_str(), g.members.len())).collect();
    assert_eq!(groups, [("pool", 1), ("good", 1)]);
    assert_eq!(rules.cache, Default::default());
    // The server called as a group, the cache, the group called as a server, three names of the user's server, and a tool.
    assert_eq!(loaded.problems.len(), 7, "{:#?}", loaded.problems);
}

#[test]
fn a_project_without_servers_has_no_rules() {
    let place = Place::new();
    place.write("conf/config.toml", "[servers.mine]\ncommand = \"mine\"");
    place.write("project/switchboard.toml", "[[tool]]\nmatch = \"*\"\nsafe = true\n[[route]]\nmatch = \"*\"\nto = \"mine\"");
    let loaded = load(&place.options()).unwrap();
    assert_eq!(loaded.rules.treatment("mine_x", &"mine".into(), &Default::default()).safe, None);
    assert_eq!((loaded.rules.routing.routes.len(), loaded.problems.len()), (0, 1));
}
