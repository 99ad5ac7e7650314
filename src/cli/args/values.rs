//! Values of arguments: URLs, durations, settings of steps, targets, replies.

use std::{path::PathBuf, time::Duration};

use super::{Cli, ForTarget, InputValue, ReplySource};
use crate::{
    cli::names::similar,
    domain::{
        policy::{breaker::BreakerOverride, fault::Fault},
        run::{Change, Setting},
        secret::Secret,
    },
};

pub(super) fn is_url(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    ["http://", "https://", "unix://"].iter().any(|scheme| word.starts_with(scheme))
}

pub(super) fn parse_url(word: &str) -> Result<String, String> {
    if is_url(word) {
        return Ok(word.to_owned());
    }
    let host = word.split(['/', ':']).next().unwrap_or_default();
    if (host.contains('.') || host == "localhost") && !host.starts_with('.') {
        return Err("a URL needs its scheme: put https:// in front of it, or http:// for a server on this machine".into());
    }
    let commands = <Cli as clap::CommandFactory>::command();
    let known: Vec<String> = commands.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name().to_owned()).collect();
    Err(match similar(word, known.iter().map(String::as_str), 1).first() {
        Some(close) => format!("unknown command, did you mean {close:?}?"),
        None => "this is neither a command nor a URL; write a program after --".into(),
    })
}

/// Parses the name of a configured server.
pub(super) fn parse_server_name(word: &str) -> Result<String, String> {
    match is_url(word) {
        true => Err("this is a URL, not the name of a server: write it after --".into()),
        false => Ok(word.to_owned()),
    }
}

/// Takes any text as a secret. What is wrong with it is reported later: an error of clap would print the value.
pub(super) fn parse_secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::literal(text))
}

/// Returns the headers in the words after `-- URL`. The error holds none of the words.
pub(super) fn headers_after_url(words: &[String]) -> Result<Vec<Secret>, String> {
    let mut headers = vec![];
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = match word.as_str() {
            "--header" | "-H" => words.next().map(String::as_str),
            word => word.strip_prefix("--header="),
        };
        headers.push(Secret::literal(value.ok_or("only --header 'NAME: VALUE' can follow a URL after --; write other options before --")?));
    }
    Ok(headers)
}

/// Parses `500ms`, `5s`, `2m`, `1h`; a plain number is seconds. Never zero.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a number with ms, s, m or h, as in 5s".into()),
    };
    let seconds = number.parse::<f64>().map_err(|_| "expected a number with ms, s, m or h, as in 5s".to_owned())? * scale;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be more than zero and not too large".into()),
    }
}

/// Parses an age: as [`parse_duration`], and days.
pub(super) fn parse_age(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d') {
        Some(days) => {
            let days: u32 = days.parse().map_err(|_| "expected a number with s, m, h or d, as in 7d".to_owned())?;
            Ok(Duration::from_secs(u64::from(days) * 24 * 3600))
        }
        None => parse_duration(text),
    }
}

/// Parses `ID=VALUE`.
pub(super) fn parse_input(text: &str) -> Result<InputValue, String> {
    let (id, value) = text.split_once('=').filter(|(id, _)| !id.is_empty()).ok_or("expected ID=VALUE")?;
    Ok(InputValue { id: id.to_owned(), value: value.to_owned() })
}

/// Parses `STEP.timeout=20s` and `STEP.retry=3`.
pub(super) fn parse_setting(text: &str) -> Result<Setting, String> {
    let wrong = || "expected STEP.timeout=20s or STEP.retry=3".to_owned();
    let (left, value) = text.split_once('=').ok_or_else(wrong)?;
    let (step, key) = left.rsplit_once('.').filter(|(step, _)| !step.is_empty()).ok_or_else(wrong)?;
    let change = match key {
        "timeout" => Change::Timeout { limit: parse_duration(value)? },
        "retry" => match value.parse() {
            Ok(attempts @ 1..=100) => Change::Attempts { attempts },
            _ => return Err("retry is the number of attempts, from 1 to 100".into()),
        },
        _ => return Err(wrong()),
    };
    Ok(Setting { step: step.to_owned(), change })
}

/// Parses `STEP=JSON`.
pub(super) fn parse_answer(text: &str) -> Result<(String, String), String> {
    let (step, json) = text.split_once('=').ok_or("expected STEP=JSON")?;
    match serde_json::from_str::<serde::de::IgnoredAny>(json) {
        Ok(_) => Ok((step.to_owned(), json.to_owned())),
        Err(error) => Err(format!("the value after = is not JSON: {error}")),
    }
}

/// Parses `server=…` or `server/tool=…`.
pub(super) fn parse_for_target<T>(text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<ForTarget<T>, String> {
    match text.split_once('=') {
        Some((target, value)) if !target.trim().is_empty() => {
            Ok(ForTarget { target: target.trim().to_owned(), value: read(value.trim())? })
        }
        _ => Err("expected SERVER=VALUE or SERVER/TOOL=VALUE".into()),
    }
}

pub(super) fn parse_override(text: &str) -> Result<ForTarget<BreakerOverride>, String> {
    parse_for_target(text, |order| match order {
        "trip" => Ok(BreakerOverride::Trip),
        "hold-open" => Ok(BreakerOverride::HoldOpen),
        "hold-closed" => Ok(BreakerOverride::HoldClosed),
        "reset" => Ok(BreakerOverride::Reset),
        other => Err(format!("unknown override {other:?}; expected trip, hold-open, hold-closed or reset")),
    })
}

pub(super) fn parse_fault(text: &str) -> Result<ForTarget<Fault>, String> {
    parse_for_target(text, Fault::parse)
}

pub(super) fn parse_elicit(text: &str) -> Result<ReplySource, String> {
    if text == "defaults" { Ok(ReplySource::Defaults) } else { parse_reply(text, "decline, defaults") }
}

pub(super) fn parse_sample(text: &str) -> Result<ReplySource, String> {
    parse_reply(text, "decline")
}

/// Parses a reply. `words` are the words that are accepted in addition to a file and JSON, for the error message.
pub(super) fn parse_reply(text: &str, words: &str) -> Result<ReplySource, String> {
    match text {
        "decline" => Ok(ReplySource::Decline),
        _ if text.starts_with('@') && text.len() > 1 => Ok(ReplySource::File(PathBuf::from(&text[1..]))),
        _ => match crate::cli::json::fields(text) {
            Ok(_) => Ok(ReplySource::Json(text.to_owned())),
            Err(error) => Err(format!("expected {words}, @FILE or a JSON object: {error}")),
        },
    }
}
