//! The rule that decides which configured values count as secret.
//!
//! The rule applies to values of `env`, of an `envFile`, of headers, of `${VAR}`, of the `env` of workflows, and to
//! parts of them:
//! - Under a name that [`looks_secret`], every value of six bytes or more counts.
//! - Under any other name, a value of eight bytes or more counts, unless it is [`ordinary`]: a common word
//!   (`production`), a number, date or version of less than 16 characters, a path, a URL without credentials, a host
//!   name, a locale, a media type, or a cloud region.
//! - Common words (`true`, `disabled`) never count.
//! - The parts of a composed value count too: user and password of a URL, its query values under secret names, path
//!   segments that look random, strings in JSON, the token after `Bearer`, the pair in `Basic`, cookies, `NAME=value`
//!   pairs, and lines of a key.
//!
//! Literal arguments of a program count only under a secret name (`--token VALUE`, `--token=VALUE`, `Name: VALUE`).

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Secret, redactor::SHORTEST};
use crate::domain::server::looks_secret;

/// Minimum length, in bytes, of a secret value under an ordinary name.
const SHORTEST_PLAIN: usize = 8;

/// Numbers, dates and versions shorter than this do not count under an ordinary name.
const LONGEST_NUMBER: usize = 16;

/// Minimum length of a counted line of a multi-line key.
const SHORTEST_LINE: usize = 16;

/// Maximum depth to which composed values are split.
const DEEPEST: usize = 6;

/// Longer values are not split, in bytes.
const LONGEST: usize = 64 << 10;

/// Words that are settings, not secrets, in lower case.
const COMMON: &[&str] = &[
    "absolute",
    "admin",
    "always",
    "analytics",
    "anonymous",
    "automatic",
    "basic",
    "bearer",
    "chromium",
    "console",
    "critical",
    "custom",
    "database",
    "default",
    "develop",
    "development",
    "disabled",
    "enabled",
    "english",
    "error",
    "errors",
    "example",
    "external",
    "false",
    "firefox",
    "information",
    "integration",
    "internal",
    "json",
    "keep-alive",
    "localhost",
    "manual",
    "memory",
    "never",
    "no-cache",
    "none",
    "notice",
    "null",
    "optional",
    "password",
    "postgres",
    "postgresql",
    "preview",
    "private",
    "prod",
    "production",
    "public",
    "read-only",
    "readonly",
    "readwrite",
    "required",
    "sandbox",
    "secret",
    "server",
    "session",
    "sqlite",
    "stage",
    "staging",
    "standard",
    "stdout",
    "stderr",
    "streamable-http",
    "strict",
    "switchboard",
    "system",
    "template",
    "test",
    "testing",
    "token",
    "trace",
    "true",
    "undefined",
    "unlimited",
    "verbose",
    "warning",
    "websocket",
];

/// Returns the secrets in a value configured under `name`.
pub fn of_value(name: &str, value: &str) -> Vec<Secret> {
    let mut found = vec![];
    add(&mut found, name, value, 0);
    found
}

/// Returns the secrets in a URL. Its query values count under any name if `variable` is set, because they came from
/// one.
pub fn of_url(url: &str, variable: bool) -> Vec<Secret> {
    let mut found = vec![];
    add_url(&mut found, url, variable, 0);
    found
}

/// Returns the secrets in the arguments of a program.
pub fn of_arguments(arguments: &[Secret]) -> Vec<Secret> {
    let mut found = vec![];
    let mut flag = "";
    for argument in arguments {
        let text = argument.expose();
        if argument.interpolated() {
            add(&mut found, "", text, 0);
        }
        let (name, value) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or(("", text));
        let name = name.trim_start_matches('-');
        if sounds_secret(name) {
            add(&mut found, "secret", value, 0);
        } else if argument.interpolated() && !name.is_empty() {
            add(&mut found, name, value, 0);
        }
        if sounds_secret(flag.trim_start_matches('-')) && !text.starts_with('-') {
            add(&mut found, "secret", text, 0);
        }
        add_url(&mut found, text, argument.interpolated(), 0);
        flag = if text.starts_with('-') { text } else { "" };
    }
    found
}

/// Returns whether the whole value, written out under `name`, is masked where a configuration is displayed or copied.
pub fn masks(name: &str, value: &str) -> bool {
    let value = value.trim();
    !value.is_empty() && (looks_secret(name) || value.len() >= SHORTEST_PLAIN && !ordinary(value))
}

/// A secret part of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlSecret<'u> {
    /// User and password.
    Credentials,
    /// The value of the query parameter of this name; empty for one without a name.
    Query(&'u str),
    /// A path segment that looks random.
    Segment,
}

/// Replaces the secret parts of a URL by `mask`. Variables stay.
pub fn masked_url(url: &str, mask: &str) -> String {
    replaced_url(url, |_| mask.to_owned())
}

/// Replaces the secret parts of a URL by the results of `stand_in`; credentials are omitted if the result is empty.
/// Variables stay.
pub fn replaced_url(url: &str, stand_in: impl Fn(UrlSecret<'_>) -> String) -> String {
    let Some(parts) = UrlParts::of(url) else { return url.to_owned() };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if query_counts(name, value, false) && !value.contains("${") => {
            format!("{name}={}", stand_in(UrlSecret::Query(name)))
        }
        None if random(pair) => stand_in(UrlSecret::Query("")),
        _ => pair.to_owned(),
    };
    let segment = |segment: &str| if random(segment) { stand_in(UrlSecret::Segment) } else { segment.to_owned() };
    let path: Vec<String> = parts.path.split('/').map(segment).collect();
    let mut out = format!("{}://", parts.scheme);
    if let Some(user) = parts.user {
        let variables = user.split(':').all(|part| part.starts_with("${") && part.ends_with('}'));
        let user = if variables { user.to_owned() } else { stand_in(UrlSecret::Credentials) };
        if !user.is_empty() {
            out.push_str(&user);
            out.push('@');
        }
    }
    out.push_str(parts.host);
    out.push_str(&path.join("/"));
    for (mark, text) in [('?', parts.query), ('#', parts.fragment)] {
        if let Some(text) = text {
            out.push(mark);
            out.push_str(&text.split('&').map(pair).collect::<Vec<_>>().join("&"));
        }
    }
    out
}

/// Returns whether a flag, query parameter or key of this name holds a secret: [`looks_secret`], and short names used
/// in URLs.
fn sounds_secret(name: &str) -> bool {
    let short = ["key", "sig", "signature", "pass", "pwd", "jwt", "sas", "dsn", "bearer", "apitoken"];
    looks_secret(name) || short.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn query_counts(name: &str, value: &str, variable: bool) -> bool {
    sounds_secret(name) || random(value) || (variable && value.len() >= SHORTEST_PLAIN && !ordinary(value))
}

fn is_common(value: &str) -> bool {
    COMMON.iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn add(found: &mut Vec<Secret>, name: &str, value: &str, depth: usize) {
    let value = value.trim();
    if value.len() < SHORTEST || is_common(value) || depth > DEEPEST {
        return;
    }
    if sounds_secret(name) || (value.len() >= SHORTEST_PLAIN && !ordinary(value)) {
        found.push(Secret::literal(value));
    }
    if value.len() > LONGEST {
        return;
    }
    if value.contains('\n') {
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----"));
        found.extend(lines.map(Secret::literal));
    }
    add_url(found, value, true, depth);
    if value.starts_with(['{', '[']) {
        if let Ok(json) = serde_json::from_str(value) {
            add_json(found, name, &json, depth + 1);
        }
        return;
    }
    if let Some((scheme, token)) = value.split_once(' ')
        && scheme.len() <= SHORTEST_LINE
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !token.contains(' ')
    {
        add(found, name, token, depth + 1);
        let pair = STANDARD.decode(token).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"));
        if let Some((user, password)) = pair.and_then(|pair| String::from_utf8(pair).ok()).as_deref().and_then(|pair| pair.split_once(':'))
        {
            add(found, "", user, depth + 1);
            add(found, "password", password, depth + 1);
        }
    }
    if value.contains('=') {
        let cookie = name.to_ascii_lowercase().contains("cookie");
        for (key, inner) in value.split([';', ' ', '&', ',', '\n']).filter_map(|pair| pair.trim().split_once('=')) {
            if cookie || sounds_secret(key) {
                add(found, "secret", inner.trim_matches(['"', '\'']), depth + 1);
            }
        }
    }
}

fn add_json(found: &mut Vec<Secret>, name: &str, json: &Value, depth: usize) {
    match json {
        Value::String(text) => add(found, name, text, depth),
        Value::Number(number) => add(found, name, &number.to_string(), depth),
        Value::Array(items) if depth <= DEEPEST => items.iter().for_each(|item| add_json(found, name, item, depth + 1)),
        Value::Object(members) if depth <= DEEPEST => {
            members.iter().for_each(|(key, value)| add_json(found, key, value, depth + 1));
        }
        _ => {}
    }
}

fn add_url(found: &mut Vec<Secret>, url: &str, variable: bool, depth: usize) {
    let Some(parts) = UrlParts::of(url) else { return };
    let mut add_secret = |text: &str| {
        for text in [text.to_owned(), unescaped(text)] {
            if text.len() >= SHORTEST && !is_common(&text) {
                found.push(Secret::literal(text));
            }
        }
    };
    match parts.user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        Some((user, "")) => add_secret(user),
        Some((user, password)) => {
            add_secret(password);
            // A name such as `postgres` or `ann` is not a secret; an access key is.
            if user.len() >= SHORTEST_PLAIN && !ordinary(user) {
                add_secret(user);
            }
        }
        None => {}
    }
    let pairs = [parts.query, parts.fragment].into_iter().flatten().flat_map(|text| text.split('&'));
    for (name, value) in pairs.map(|pair| pair.split_once('=').unwrap_or(("", pair))) {
        if query_counts(name, value, variable) {
            add_secret(value);
        }
    }
    parts.path.split('/').filter(|segment| random(segment)).for_each(&mut add_secret);
    if depth < DEEPEST && url.matches("://").count() > 1 {
        // A URL within a query (`?redirect=https://user:password@…`).
        let inner = unescaped(parts.query.unwrap_or_default());
        for value in inner.split('&').filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())) {
            add_url(found, &value, variable, depth + 1);
        }
    }
}

fn unescaped(text: &str) -> String {
    let decoded = super::forms::decoded(text.as_bytes(), super::forms::PERCENT, super::forms::percent);
    decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| text.to_owned())
}

/// The parts of a URL, not decoded.
struct UrlParts<'u> {
    scheme: &'u str,
    user: Option<&'u str>,
    host: &'u str,
    path: &'u str,
    query: Option<&'u str>,
    fragment: Option<&'u str>,
}

impl UrlParts<'_> {
    fn of(url: &str) -> Option<UrlParts<'_>> {
        let (scheme, rest) = url.split_once("://")?;
        // Also after a prefix, as in `--url=https://…` or `jdbc:postgresql://…`.
        let name = scheme.rsplit(|c: char| !c.is_ascii_alphanumeric() && !"+.-".contains(c)).next()?;
        if name.is_empty() {
            return None;
        }
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, fragment)| (rest, Some(fragment)));
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        Some(UrlParts { scheme, user, host, path, query, fragment })
    }
}

/// Returns whether a word looks random: at least 16 characters, letters and digits mixed, as in tokens and
/// identifiers.
fn random(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~=+%".contains(&byte);
    let mixed = |pair: &&[u8]| {
        (pair[0].is_ascii_digit() && pair[1].is_ascii_alphabetic()) || (pair[0].is_ascii_alphabetic() && pair[1].is_ascii_digit())
    };
    word.len() >= 16 && word.bytes().all(plain) && word.as_bytes().windows(2).filter(mixed).count() >= 3
}

/// Returns whether a value under an ordinary name is a setting that results contain anyway.
pub fn ordinary(value: &str) -> bool {
    is_common(value) || is_number(value) || is_path(value) || is_plain_url(value) || is_host(value) || is_code(value)
}

/// Returns whether the value is a number, date, time, version, IP address or port.
fn is_number(value: &str) -> bool {
    value.len() < LONGEST_NUMBER && value.bytes().all(|byte| byte.is_ascii_digit() || b".,:+-_ /TZv".contains(&byte))
}

/// Returns whether the value is a path or a list of paths.
fn is_path(value: &str) -> bool {
    let begins = |text: &str| ["/", "~/", "./", "../", "file://"].iter().any(|start| text.starts_with(start)) || is_drive(text);
    let plain = |c: char| c.is_alphanumeric() || "/\\._-+@~ :,%()[]{}#&!".contains(c);
    value.split([':', ',', ';']).filter(|part| !part.is_empty()).all(|part| begins(part) || is_drive(value)) && value.chars().all(plain)
}

fn is_drive(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':') && matches!(chars.next(), Some('\\' | '/'))
}

/// Returns whether the value is a URL without secret parts.
fn is_plain_url(value: &str) -> bool {
    let Some(parts) = UrlParts::of(value) else { return false };
    parts.user.is_none() && parts.query.is_none() && parts.fragment.is_none() && !value.contains(char::is_whitespace)
}

/// Returns whether the value is a host name, with or without a port.
fn is_host(value: &str) -> bool {
    let (host, port) = value.split_once(':').unwrap_or((value, ""));
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 30 && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let top = host.rsplit('.').next().unwrap_or_default();
    let named = host.contains('.') && (2..=12).contains(&top.len()) && top.bytes().all(|b| b.is_ascii_lowercase());
    (named || host == "localhost") && host.split('.').all(label) && port.bytes().all(|b| b.is_ascii_digit()) && !host.split('.').any(random)
}

/// Returns whether the value is a locale (`en_US.UTF-8`), a media type (`application/json`) or a cloud region
/// (`eu-central-1`).
fn is_code(value: &str) -> bool {
    let lower = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
    let locale = value.split_once('_').is_some_and(|(language, rest)| {
        let country = rest.split('.').next().unwrap_or_default();
        language.len() == 2 && lower(language) && country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase())
    });
    let media = ["application/", "text/", "image/", "audio/", "video/", "*/*"].iter().any(|start| value.starts_with(start));
    let mut parts = value.split('-');
    let region = value.len() <= 20
        && parts.next_back().is_some_and(|last| last.len() <= 2 && last.bytes().all(|b| b.is_ascii_digit()))
        && parts.next().is_some_and(|first| first.len() == 2 && lower(first))
        && parts.clone().next().is_some()
        && parts.all(lower);
    (locale && value.len() <= 24) || (media && value.len() <= 64 && !value.contains(char::is_control)) || region
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(name: &str, value: &str) -> Vec<String> {
        of_value(name, value).iter().map(|secret| secret.expose().to_owned()).collect()
    }

    #[test]
    fn settings_are_not_secrets() {
        for value in [
            "1",
            "true",
            "production",
            "Verbose",
            "8080",
            "2025-11-25",
            "127.0.0.1:8080",
            "1.22.333",
            "/usr/local/bin",
            "~/notes/a b.md",
            "/usr/bin:/bin:/usr/sbin",
            "C:\\Users\\ann",
            "http://localhost:3000/mcp",
            "https://api.example.com",
            "db.example.com:5432",
            "localhost:6379",
            "en_US.UTF-8",
            "application/json",
            "text/event-stream, */*",
            "us-east-1",
            "ap-southeast-12",
            "short",
        ] {
            assert_eq!(values("LEVEL", value), Vec::<String>::new(), "{value}");
            assert!(!masks("LEVEL", value), "{value}");
        }
        for value in ["true", "disabled", "none", "12345"] {
            assert_eq!(values("AUTH_TOKEN", value), Vec::<String>::new(), "{value}");
        }
    }

    #[test]
    fn everything_else_counts() {
        for value in ["a1b2c3d4", "swordfish", "correct horse battery", "eyJhbGciOi.eyJzdWIi.c2ln", "/aB3+x9Qz==", "1234567890123456"] {
            assert_eq!(values("QV", value), [value], "{value}");
            assert!(masks("QV", value), "{value}");
        }
        assert_eq!(values("MY_TOKEN", "123456"), ["123456"]);
        assert!(masks("MY_TOKEN", "abc") && !masks("MY_TOKEN", ""));
    }

    #[test]
    fn parts_of_composed_values_count() {
        let has = |name: &str, value: &str, part: &str| {
            let found = values(name, value);
            assert!(found.iter().any(|known| known == part), "{name}={value}: no {part} in {found:?}");
        };
        has("Authorization", "Bearer tok-123", "tok-123");
        has("Authorization", "Basic dXNlcjpodW50ZXIy", "hunter2");
        has("Cookie", "sid=cookie-1; theme=darkest", "cookie-1");
        has("DATABASE_URL", "postgres://ann:p%40ssword@db/x?sslmode=require", "p@ssword");
        has("DATABASE_URL", "postgres://ann:p%40ssword@db/x", "p%40ssword");
        has("DSN", "host=db user=ann password=hunter2", "hunter2");
        has("HEADERS", r#"{"Authorization":"Bearer tok-123","a":["deep-s3cret"]}"#, "tok-123");
        has("HEADERS", r#"{"Authorization":"Bearer tok-123","a":["deep-s3cret"]}"#, "deep-s3cret");
        has("PEM", "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n-----END KEY-----\n", "MIIEvQIBADANBgkq");
        has("X", "  padded-value \n", "padded-value");
    }

    #[test]
    fn addresses_and_arguments_are_searched() {
        let url = "https://tok3n-user@h.example/s/0a1b2c3d4e5f6a7b8c9d/mcp?key=abcdef&page=overview#access_token=fragment";
        let found: Vec<String> = of_url(url, false).iter().map(|s| s.expose().to_owned()).collect();
        assert_eq!(
            found,
            ["tok3n-user", "tok3n-user", "abcdef", "abcdef", "fragment", "fragment", "0a1b2c3d4e5f6a7b8c9d", "0a1b2c3d4e5f6a7b8c9d"]
        );
        assert_eq!(masked_url(url, "X"), "https://X@h.example/s/X/mcp?key=X&page=overview#access_token=X");
        assert_eq!(masked_url("https://h.example/my-mcp-server-2024-v1?a=b", "X"), "https://h.example/my-mcp-server-2024-v1?a=b");
        assert!(of_url("https://h.example/a?page=overview12", true).iter().any(|s| s.expose() == "overview12"));
        let literal = |words: &[&str]| words.iter().map(|word| Secret::literal(*word)).collect::<Vec<_>>();
        let found = of_arguments(&literal(&[
            "--token",
            "abc-123",
            "--api-key=def-456",
            "-H",
            "Authorization: Bearer ghi-789",
            "/data/notes",
            "plain-words-1",
        ]));
        let found: Vec<&str> = found.iter().map(Secret::expose).collect();
        assert!(["abc-123", "def-456", "ghi-789"].iter().all(|part| found.contains(part)), "{found:?}");
        assert!(!found.contains(&"plain-words-1") && !found.contains(&"/data/notes"));
        assert!(of_arguments(&[Secret::new("--x=variable-1", "--x=${V}")]).iter().any(|s| s.expose() == "variable-1"));
    }
}
