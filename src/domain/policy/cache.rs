//! The response cache's rules: which responses are cached, for how long, and under which key.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CacheMode, CachePolicy, pattern::Pattern};
use crate::domain::{
    body::Body,
    catalog::Hints,
    id::ServerId,
    json::Json,
    secret::Secret,
    server::{ServerSpec, Transport},
};

/// The settings of the response cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheSettings {
    /// Redis that is shared with other processes (`redis://`, `rediss://`, `redis+sentinel://`; several addresses for
    /// a cluster). In this process if empty.
    pub redis: Vec<Secret>,
    /// Prefix of keys in Redis.
    pub prefix: String,
    /// Capacity of the cache in this process, in bytes.
    pub bytes: u64,
    /// Longest wait for Redis; a slower response counts as a miss.
    pub timeout: Duration,
    /// How long Redis is not asked after it failed.
    pub retry_interval: Duration,
}

/// The state of the response cache for display.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheView {
    /// `memory` or `redis`.
    pub store: String,
    /// The current problem, for users; responses come from the servers meanwhile.
    pub trouble: Option<String>,
    /// Number of responses served from the cache.
    pub hits: u64,
    /// Number of these that were stale.
    pub stale: u64,
    /// Number of calls without a cached response.
    pub misses: u64,
    /// Number of calls that shared the response of an equal call in flight (single flight).
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

/// A cached response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CachedResponse {
    /// The `result` as received.
    pub result: Body,
    /// Time of receipt, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// How long the response is served instead of sending the call.
    pub ttl: Duration,
    /// How long past the TTL the response may be served when the call fails (stale-if-error).
    pub stale: Duration,
    /// How long past `stale` the response is retained for callers that accept any age.
    pub hold: Duration,
    /// The exposed name of the tool, or the resource that was read.
    pub name: String,
}

/// How far the writer's clock may be ahead of ours before the age counts as unknown.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

impl CachedResponse {
    /// Returns the age; `None` if the timestamp is further in the future than clocks may differ.
    fn age(&self, unix_ms: u64) -> Option<Duration> {
        let ahead = Duration::from_millis(self.at_unix_ms.saturating_sub(unix_ms));
        (ahead <= MAX_CLOCK_SKEW).then(|| Duration::from_millis(unix_ms.saturating_sub(self.at_unix_ms)))
    }

    /// Returns whether the response is served instead of sending the call.
    pub fn fresh(&self, unix_ms: u64) -> bool {
        self.age(unix_ms).is_some_and(|age| age < self.ttl)
    }

    /// Returns whether the response may be served when the call failed.
    pub fn usable_on_error(&self, unix_ms: u64) -> bool {
        self.age(unix_ms).is_some_and(|age| age < self.ttl + self.stale)
    }

    /// Returns how long the response is retained in the store.
    pub fn total_lifetime(&self) -> Duration {
        self.ttl + self.stale + self.hold
    }
}

/// Returns the TTL that the server set for a result, and whether the result is private to this client (`ttlMs`,
/// `cacheScope`; MCP 2026-07-28).
pub fn response_ttl(result: &Body) -> Option<(Duration, bool)> {
    #[derive(Deserialize)]
    struct CacheHints {
        #[serde(rename = "ttlMs")]
        ttl_ms: Option<u64>,
        #[serde(rename = "cacheScope")]
        scope: Option<String>,
    }
    // Most results declare no TTL, and a result may be large. A name could be written with escapes.
    let has = |text: &[u8]| memchr::memmem::find(result.bytes(), text).is_some();
    if !has(b"ttlMs") && !has(b"\\u00") {
        return None;
    }
    let hints: CacheHints = serde_json::from_slice(result.bytes()).ok()?;
    Some((Duration::from_millis(hints.ttl_ms?), hints.scope.as_deref() != Some("public")))
}

/// Longest name in a key, in bytes. The hash covers the rest.
const MAX_NAME_BYTES: usize = 120;

/// Returns the cache key of a call: `server/tool/hash`. Names are percent-encoded; the hash covers everything.
///
/// Arguments are compared as [`canonical`] JSON text. See [`scoped_key`] for shared stores.
pub fn key(server: &ServerId, tool: &str, arguments: &Body) -> String {
    scoped_key("", server, tool, arguments)
}

/// Returns the cache key within a `scope` (see [`scope`]), so that another account, or a server of the same name on
/// another machine, never gets the response.
pub fn scoped_key(scope: &str, server: &ServerId, tool: &str, arguments: &Body) -> String {
    let mut hash = Sha256::new();
    for part in [scope, server.as_str(), tool] {
        hash_part(&mut hash, part.as_bytes());
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

/// Returns the SHA-256 of a text in hexadecimal.
pub fn digest(text: &str) -> String {
    let mut out = String::new();
    hex(&Sha256::digest(text), &mut out);
    out
}

/// Returns a digest of the endpoint or command of a server and the credentials that are sent. It distinguishes
/// accounts in keys and goes into a key only together with the arguments.
pub fn scope(spec: &ServerSpec) -> String {
    let mut hash = Sha256::new();
    let mut pairs = |pairs: &[(String, Secret)]| {
        for (name, value) in pairs {
            hash_part(&mut hash, name.as_bytes());
            hash_part(&mut hash, value.expose().as_bytes());
        }
    };
    match &spec.launch {
        Transport::Stdio { command, args, env, cwd, .. } => {
            pairs(env);
            hash_part(&mut hash, command.as_bytes());
            for arg in args {
                hash_part(&mut hash, arg.expose().as_bytes());
            }
            if let Some(cwd) = cwd {
                hash_part(&mut hash, cwd.to_string_lossy().as_bytes());
            }
        }
        Transport::Http { url, headers, socket } => {
            pairs(headers);
            hash_part(&mut hash, url.as_bytes());
            if let Some(socket) = socket {
                hash_part(&mut hash, socket.to_string_lossy().as_bytes());
            }
        }
    }
    // A response of another computer that poses as the server must not outlive the setting.
    if spec.tls.insecure {
        hash_part(&mut hash, b"insecure");
    }
    let mut text = String::new();
    hex(&hash.finalize(), &mut text);
    text
}

/// Returns the canonical JSON text by which arguments are compared: no spaces, members sorted by name in UTF-16 order
/// as in RFC 8785, one string notation; of duplicate members the last counts. Empty text becomes `{}`.
///
/// Unlike RFC 8785, numbers stay as written: `1`, `1.0` and `1e0` differ, because a server may distinguish them and
/// an extra call is better than a wrong response. Invalid JSON stays as it is.
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
            let mut unique: Vec<(String, Json)> = Vec::with_capacity(members.len());
            for (name, value) in members {
                match unique.last_mut() {
                    Some(last) if last.0 == name => last.1 = sorted(value),
                    _ => unique.push((name, sorted(value))),
                }
            }
            Json::Object(unique)
        }
        json => json,
    }
}

/// Returns whether the policy allows to cache responses of a tool with these `hints` of a server.
pub fn allowed(policy: &CachePolicy, hints: Hints, trusted: bool) -> bool {
    match policy.mode {
        CacheMode::Never => false,
        CacheMode::ReadOnly => trusted && hints.read_only == Some(true),
        CacheMode::Always => true,
    }
}

/// Returns whether a `cache purge` pattern matches a key: by `server/tool` or by the server alone.
pub fn purged(pattern: &Pattern, key: &str) -> bool {
    let mut parts = key.split('/');
    let (Some(server), Some(tool), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return false };
    let (server, tool) = (unescape(server), unescape(tool));
    pattern.matches(&server) || pattern.matches(&format!("{server}/{tool}"))
}

/// Hashes a part with its length, so that different splits of the same bytes have different hashes.
fn hash_part(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

fn hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 0xf)]));
    }
}

fn escape(name: &str, out: &mut String) {
    use std::fmt::Write;
    for byte in name.bytes().take(MAX_NAME_BYTES) {
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

    fn key_of(arguments: &str) -> String {
        key(&"db".into(), "query", &arguments.into())
    }

    #[test]
    fn equal_arguments_have_one_key_however_they_are_written() {
        assert_eq!(key_of(r#"{"b":[1,{"y":2,"x":"\u00e9"}],"a":null}"#), key_of(" {\"a\" : null, \"b\": [1, {\"x\":\"é\",\"y\":2}]}"));
        assert_eq!(key_of(""), key_of("{}"));
        assert_eq!(key_of(r#"{"a":1,"a":2}"#), key_of(r#"{"a":2}"#));
        let different = [r#"{"a":1}"#, r#"{"a":1.0}"#, r#"{"a":"1"}"#, r#"{"a":[1]}"#, r#"{"A":1}"#, "{", "[]"];
        let keys: std::collections::BTreeSet<String> = different.iter().map(|a| key_of(a)).collect();
        assert_eq!(keys.len(), different.len());
        assert_ne!(key_of(r#"{"n":90071992547409921}"#), key_of(r#"{"n":90071992547409920}"#), "no digit is lost");
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
    fn a_response_ages_and_one_from_the_future_is_not_used() {
        let (ttl, stale) = (Duration::from_secs(10), Duration::from_secs(5));
        let cached = CachedResponse { result: Body::default(), at_unix_ms: 100_000, ttl, stale, hold: Duration::ZERO, name: String::new() };
        for (now, fresh, usable_on_error) in [
            (100_000, true, true),
            (109_999, true, true),
            (110_000, false, true),
            (115_000, false, false),
            // Clocks differ a little. The age of a response from further in the future is unknown.
            (40_000, true, true),
            (39_999, false, false),
        ] {
            assert_eq!((cached.fresh(now), cached.usable_on_error(now)), (fresh, usable_on_error), "{now}");
        }
    }

    #[test]
    fn a_purge_matches_servers_or_tools() {
        let key = key(&"my db".into(), "get é", &"{}".into());
        assert!(key.starts_with("my%20db/get%20%C3%A9/"));
        for (pattern, matches) in [("my db", true), ("my db/get *", true), ("*", true), ("*é", true), ("other*", false), ("my", false)] {
            assert_eq!(purged(&Pattern::parse(pattern).unwrap(), &key), matches, "{pattern}");
        }
        assert!(!purged(&Pattern::parse("*").unwrap(), "something else"), "foreign keys stay");
    }

    #[test]
    fn responses_are_cached_by_policy_and_by_trusted_hints() {
        let reads = Hints { read_only: Some(true), ..Hints::default() };
        let with_mode = |mode| CachePolicy { mode, ..CachePolicy::default() };
        assert!(!allowed(&CachePolicy::default(), reads, true));
        assert!(allowed(&with_mode(CacheMode::ReadOnly), reads, true) && !allowed(&with_mode(CacheMode::ReadOnly), reads, false));
        assert!(!allowed(&with_mode(CacheMode::ReadOnly), Hints { idempotent: Some(true), ..Hints::default() }, true));
        assert!(allowed(&with_mode(CacheMode::Always), Hints::default(), false));
    }
}
