//! Which answers are kept, where, and under which key.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CacheMode, CachePolicy, pattern::Pattern};
use crate::domain::{
    body::Body,
    catalog::Hints,
    form::Json,
    id::ServerId,
    secret::Secret,
    server::{ServerSpec, Transport},
};

/// Where answers are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheSettings {
    /// Redis that is shared with other processes (`redis://`, `rediss://`, `redis+sentinel://`,
    /// several addresses for a cluster); in this process when absent.
    pub redis: Vec<Secret>,
    /// Prefix of keys in Redis.
    pub prefix: String,
    /// Most bytes kept in this process.
    pub bytes: u64,
    /// Longest wait for Redis; then it is a miss.
    pub timeout: Duration,
    /// How long Redis is left alone after it did not answer.
    pub retry_interval: Duration,
}

/// The store of answers as shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheView {
    /// `memory` or `redis`.
    pub store: String,
    /// What is wrong with it, for people; answers come from the servers meanwhile.
    pub trouble: Option<String>,
    /// Answers given from it.
    pub hits: u64,
    /// Of these, past their time.
    pub stale: u64,
    /// Calls for which it had nothing.
    pub misses: u64,
    /// Calls that took the answer of an equal one under way.
    pub shared: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            redis: vec![],
            prefix: "switchboard".into(),
            bytes: 64 << 20,
            timeout: Duration::from_millis(50),
            retry_interval: Duration::from_secs(2),
        }
    }
}

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CachedResponse {
    /// The `result`, as it came.
    pub result: Body,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// How long it is given instead of a call.
    pub ttl: Duration,
    /// How long after that it may stand in for a call that failed.
    pub stale: Duration,
    /// How long after that it is held for whoever takes any answer.
    pub hold: Duration,
    /// The exposed name of the tool, or what was read.
    pub name: String,
}

/// How far the clock of whoever kept an answer may be ahead of ours, before nothing is believed of its age.
const MOST_AHEAD: Duration = Duration::from_secs(60);

impl CachedResponse {
    /// How old it is; `None` when it is from a future further off than clocks differ.
    fn age(&self, unix_ms: u64) -> Option<Duration> {
        let ahead = Duration::from_millis(self.at_unix_ms.saturating_sub(unix_ms));
        (ahead <= MOST_AHEAD).then(|| Duration::from_millis(unix_ms.saturating_sub(self.at_unix_ms)))
    }

    /// Whether it is given instead of a call.
    pub fn fresh(&self, unix_ms: u64) -> bool {
        self.age(unix_ms).is_some_and(|age| age < self.ttl)
    }

    /// Whether it may stand in for a call that failed.
    pub fn stands_in(&self, unix_ms: u64) -> bool {
        self.age(unix_ms).is_some_and(|age| age < self.ttl + self.stale)
    }

    /// How long it is of any use.
    pub fn useful(&self) -> Duration {
        self.ttl + self.stale + self.hold
    }
}

/// How long a result says that it holds, and whether it is for this client only (`ttlMs`, `cacheScope`; MCP 2026-07-28).
pub fn told_ttl(result: &Body) -> Option<(Duration, bool)> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(rename = "ttlMs")]
        ttl_ms: Option<u64>,
        #[serde(rename = "cacheScope")]
        scope: Option<String>,
    }
    let told: Told = serde_json::from_slice(result.bytes()).ok()?;
    Some((Duration::from_millis(told.ttl_ms?), told.scope.as_deref() != Some("public")))
}

/// Longest name in a key, in bytes; what is cut off still counts in the hash.
const NAME_MOST: usize = 120;

/// The key of an answer: `server/tool/hash`, the names with what is not plain in per cent, the hash of everything.
///
/// Arguments are compared as [`canonical`] JSON text. See [`scoped_key`] for stores that are shared.
pub fn key(server: &ServerId, tool: &str, arguments: &Body) -> String {
    scoped_key("", server, tool, arguments)
}

/// The same key for one way to reach the server ([`scope`]): another account, or another server of the same name on
/// another machine, never gets the answer.
pub fn scoped_key(scope: &str, server: &ServerId, tool: &str, arguments: &Body) -> String {
    let mut hash = Sha256::new();
    for part in [scope, server.as_str(), tool] {
        feed(&mut hash, part.as_bytes());
    }
    hash.update(canonical(arguments));
    let mut key = String::new();
    for name in [server.as_str(), tool] {
        escape(name, &mut key);
        key.push('/');
    }
    hex(&hash.finalize(), &mut key);
    key
}

/// SHA-256 of a text, in hexadecimal digits.
pub fn digest(text: &str) -> String {
    let mut out = String::new();
    hex(&Sha256::digest(text), &mut out);
    out
}

/// What tells one way to reach a server from another: endpoint or command, with the credentials that are sent. A digest
/// of them that goes into keys only together with the arguments.
pub fn scope(spec: &ServerSpec) -> String {
    let mut hash = Sha256::new();
    let mut pairs = |pairs: &[(String, Secret)]| {
        for (name, value) in pairs {
            feed(&mut hash, name.as_bytes());
            feed(&mut hash, value.expose().as_bytes());
        }
    };
    match &spec.launch {
        Transport::Stdio { command, args, env, cwd, .. } => {
            pairs(env);
            feed(&mut hash, command.as_bytes());
            for arg in args {
                feed(&mut hash, arg.expose().as_bytes());
            }
            if let Some(cwd) = cwd {
                feed(&mut hash, cwd.to_string_lossy().as_bytes());
            }
        }
        Transport::Http { url, headers, socket } => {
            pairs(headers);
            feed(&mut hash, url.as_bytes());
            if let Some(socket) = socket {
                feed(&mut hash, socket.to_string_lossy().as_bytes());
            }
        }
    }
    let mut text = String::new();
    hex(&hash.finalize(), &mut text);
    text
}

/// JSON text by which equal arguments are found: no spaces, members sorted by name in UTF-16 order as in RFC 8785, strings
/// written one way; of members of the same name the last counts. Empty is `{}`.
///
/// Other than there, numbers stay as they were written: `1`, `1.0` and `1e0` are three. A server may tell them apart, and a
/// call too many is better than a wrong answer. What is no JSON stays as it is.
pub fn canonical(arguments: &Body) -> String {
    let text = arguments.text();
    if text.trim().is_empty() {
        return "{}".into();
    }
    match Json::parse(&text) {
        Ok(json) => sorted(json).text(),
        Err(_) => text.into_owned(),
    }
}

fn sorted(json: Json) -> Json {
    match json {
        Json::Array(items) => Json::Array(items.into_iter().map(sorted).collect()),
        Json::Object(mut members) => {
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            let mut kept: Vec<(String, Json)> = Vec::with_capacity(members.len());
            for (name, value) in members {
                match kept.last_mut() {
                    Some(last) if last.0 == name => last.1 = sorted(value),
                    _ => kept.push((name, sorted(value))),
                }
            }
            Json::Object(kept)
        }
        json => json,
    }
}

/// Whether answers of a tool with these hints, of a server that is trusted or not, are kept.
pub fn allowed(policy: &CachePolicy, hints: Hints, trusted: bool) -> bool {
    match policy.mode {
        CacheMode::Never => false,
        CacheMode::ReadOnly => trusted && hints.read_only == Some(true),
        CacheMode::Always => true,
    }
}

/// Whether the answer of this key is meant by a pattern of `cache purge`: over `server/tool`, or the server alone.
pub fn purged(pattern: &Pattern, key: &str) -> bool {
    let mut parts = key.split('/');
    let (Some(server), Some(tool), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return false };
    let (server, tool) = (unescape(server), unescape(tool));
    pattern.matches(&server) || pattern.matches(&format!("{server}/{tool}"))
}

/// Takes in a part with its length, so that two parts never look like two others.
fn feed(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

fn hex(bytes: &[u8], out: &mut String) {
    use std::fmt::Write;
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

fn escape(name: &str, out: &mut String) {
    use std::fmt::Write;
    for byte in name.bytes().take(NAME_MOST) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &str) -> String {
        key(&"db".into(), "query", &arguments.into())
    }

    #[test]
    fn equal_arguments_have_one_key_however_they_are_written() {
        assert_eq!(of(r#"{"b":[1,{"y":2,"x":"\u00e9"}],"a":null}"#), of(" {\"a\" : null, \"b\": [1, {\"x\":\"é\",\"y\":2}]}"));
        assert_eq!(of(""), of("{}"));
        assert_eq!(of(r#"{"a":1,"a":2}"#), of(r#"{"a":2}"#));
        let different = [r#"{"a":1}"#, r#"{"a":1.0}"#, r#"{"a":"1"}"#, r#"{"a":[1]}"#, r#"{"A":1}"#, "{", "[]"];
        let keys: std::collections::BTreeSet<String> = different.iter().map(|a| of(a)).collect();
        assert_eq!(keys.len(), different.len());
        assert_ne!(of(r#"{"n":90071992547409921}"#), of(r#"{"n":90071992547409920}"#), "no digit is lost");
        assert_eq!(
            canonical(&r#"{"\ufb33":1,"\ud83d\ude00":2,"a":3}"#.into()),
            "{\"a\":3,\"😀\":2,\"\u{fb33}\":1}",
            "sorted as in RFC 8785"
        );
    }

    #[test]
    fn keys_tell_servers_tools_and_accounts_apart() {
        let body = Body::from("{}");
        assert_ne!(key(&"a".into(), "b/c", &body), key(&"a/b".into(), "c", &body));
        assert_ne!(key(&"a".into(), "b", &body), scoped_key("x", &"a".into(), "b", &body));
        let with = |token: &str| {
            let headers = vec![("Authorization".to_owned(), Secret::literal(token))];
            scope(&ServerSpec::new("a", Transport::Http { url: "http://h".into(), headers, socket: None }))
        };
        assert_eq!(with("one"), with("one"));
        assert_ne!(with("one"), with("two"));
        assert!(!with("one").contains("one"));
        let long = "x".repeat(10_000);
        assert!(key(&"a".into(), &long, &body).len() < 300);
        assert_ne!(key(&"a".into(), &long, &body), key(&"a".into(), &format!("{long}y"), &body));
    }

    #[test]
    fn an_answer_ages_and_one_from_the_future_is_not_believed() {
        let (ttl, stale) = (Duration::from_secs(10), Duration::from_secs(5));
        let kept = CachedResponse { result: Body::default(), at_unix_ms: 100_000, ttl, stale, hold: Duration::ZERO, name: String::new() };
        for (now, fresh, stands_in) in [
            (100_000, true, true),
            (109_999, true, true),
            (110_000, false, true),
            (115_000, false, false),
            // Clocks differ a little; one that was put back by more says nothing.
            (40_000, true, true),
            (39_999, false, false),
        ] {
            assert_eq!((kept.fresh(now), kept.stands_in(now)), (fresh, stands_in), "{now}");
        }
    }

    #[test]
    fn a_purge_means_servers_or_tools() {
        let key = key(&"my db".into(), "get é", &"{}".into());
        assert!(key.starts_with("my%20db/get%20%C3%A9/"));
        for (pattern, meant) in [("my db", true), ("my db/get *", true), ("*", true), ("*é", true), ("other*", false), ("my", false)] {
            assert_eq!(purged(&Pattern::parse(pattern).unwrap(), &key), meant, "{pattern}");
        }
        assert!(!purged(&Pattern::parse("*").unwrap(), "something else"), "what is not ours stays");
    }

    #[test]
    fn answers_are_kept_by_policy_and_by_trusted_hints() {
        let reads = Hints { read_only: Some(true), ..Hints::default() };
        let keeping = |mode| CachePolicy { mode, ..CachePolicy::default() };
        assert!(!allowed(&CachePolicy::default(), reads, true));
        assert!(allowed(&keeping(CacheMode::ReadOnly), reads, true) && !allowed(&keeping(CacheMode::ReadOnly), reads, false));
        assert!(!allowed(&keeping(CacheMode::ReadOnly), Hints { idempotent: Some(true), ..Hints::default() }, true));
        assert!(allowed(&keeping(CacheMode::Always), Hints::default(), false));
    }
}
