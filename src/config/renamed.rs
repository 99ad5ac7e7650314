//! Renamed keys: an old name is refused with an error that names the new one.

/// The table of a key, its old name, and the keys that replace it.
///
/// The table is where `[defaults]` or the root has the key; servers and rules for tools have the same tables. A new key with a dot
/// is in another table.
pub(super) const RENAMED: [(&str, &str, &[&str]); 18] = [
    ("", "keep", &["retention"]),
    ("defaults", "load", &["concurrency", "rate_limit"]),
    ("defaults.retry", "repeat", &["mode"]),
    ("defaults.retry", "reserve", &["budget_min"]),
    ("defaults.breaker", "on", &["enabled"]),
    ("defaults.breaker", "open", &["open_for"]),
    ("defaults.breaker", "open_max", &["open_for_max"]),
    ("defaults.breaker", "lease", &["probe_timeout"]),
    ("defaults.breaker", "counts", &["record"]),
    ("defaults.hedge", "on", &["enabled"]),
    ("defaults.cache", "keep", &["mode"]),
    ("defaults.cache", "stale", &["stale_if_error"]),
    ("cache", "pause", &["redis.retry_interval"]),
    ("cache", "wait", &["redis.timeout"]),
    ("cache", "redis", &["redis.url"]),
    ("cache", "prefix", &["redis.prefix"]),
    ("cache", "timeout", &["redis.timeout"]),
    ("cache", "retry_interval", &["redis.retry_interval"]),
];

/// Returns `did you mean …?` for the old name of a key in `path`. `known` are the keys of the table that holds it: `keep` was
/// a key of two tables.
pub(super) fn renamed_hint(path: &str, old: &str, known: &[&str]) -> Option<String> {
    let (.., new) = RENAMED.iter().find(|(table, key, new)| {
        let here = |name: &&str| if name.contains('.') { path == format!("{table}.{old}") } else { known.contains(name) };
        *key == old && new.iter().all(here)
    })?;
    let name = |key: &&str| match key.split_once('.') {
        Some((table, key)) => format!("`{key}` in `[{table}]`"),
        None => format!("`{key}`"),
    };
    let names: Vec<String> = new.iter().map(name).collect();
    Some(format!("did you mean {}?", names.join(" or ")))
}
