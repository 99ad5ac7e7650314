//! `cache`: reports purged responses and the state of the response cache.
//!
//! Needs no engine: the composition root opens the store and passes the outcome.

use serde::Serialize;

use super::{
    Options, exit, finish,
    print::{Format, Io},
};
use crate::domain::{
    call::{Failure, FailureKind},
    policy::cache::CacheSettings,
    secret::{MASK, Secret},
    time,
};

/// Returns whether cached responses outlive the process, so that another process can purge them.
pub fn is_persistent(settings: &CacheSettings) -> bool {
    !settings.redis.is_empty()
}

/// Returns an address without secrets: its text with variables, else without credentials and options.
fn without_secrets(address: &Secret) -> String {
    if address.interpolated() {
        return address.written().to_owned();
    }
    let plain = address.expose().split('?').next().unwrap_or_default();
    match (plain.find("://"), plain.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://{MASK}@{}", &plain[..scheme], &plain[at + 1..]),
        _ => plain.to_owned(),
    }
}

/// Prints the outcome of a purge: the number of purged responses, or an error. `None` when the store is in memory.
pub fn purged(pattern: &str, outcome: Option<Result<u64, String>>, options: &Options, io: Io) -> u8 {
    #[derive(Serialize)]
    struct Purged<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        store: &'static str,
        pattern: &'a str,
        responses: u64,
    }
    let human = options.format == Format::Human;
    finish(super::Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        let shared = outcome.is_some();
        let forgotten = match outcome {
            None => 0,
            Some(Ok(count)) => count,
            Some(Err(why)) => {
                let failure = Failure::new(FailureKind::Transport, format!("the responses of {pattern} could not be purged: {why}"));
                return Err(failure.hint("check Redis with `switchboard cache stats`").into());
            }
        };
        if !human {
            let store = if shared { "redis" } else { "memory" };
            printer.document(&Purged { kind: "purged", store, pattern, responses: forgotten })?;
        } else if !shared {
            printer.line("Responses are cached in memory and end with the process: there is nothing to purge.")?;
            printer.line("Set [redis] url in the configuration to keep them and to share them.")?;
        } else {
            let responses = if forgotten == 1 { "response" } else { "responses" };
            printer.line(&format!("{forgotten} {responses} of {pattern} purged."))?;
        }
        Ok(exit::OK)
    })
}

/// Prints the store of the response cache. `trouble` is the store's error, if any.
pub fn stats(settings: &CacheSettings, trouble: Option<String>, options: &Options, io: Io) -> u8 {
    #[derive(Serialize)]
    struct Stats<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        store: &'static str,
        addresses: &'a [String],
        prefix: &'a str,
        bytes: u64,
        timeout_ms: f64,
        error: Option<&'a str>,
    }
    let persistent = is_persistent(settings);
    let addresses: Vec<String> = settings.redis.iter().map(without_secrets).collect();
    finish(super::Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        if options.format == Format::Human {
            let lines = match persistent {
                false => vec![("store", "memory: responses end with the process".to_owned()), ("limit", time::size(settings.bytes))],
                true => vec![
                    ("store", format!("redis at {}", addresses.join(", "))),
                    ("prefix", settings.prefix.clone()),
                    ("timeout", format!("{}, then it is a miss", time::short(settings.timeout))),
                    ("state", trouble.clone().unwrap_or_else(|| "connected".into())),
                ],
            };
            printer.report_out(&lines)?;
        } else {
            printer.document(&Stats {
                kind: "cache",
                store: if persistent { "redis" } else { "memory" },
                addresses: &addresses,
                prefix: &settings.prefix,
                bytes: settings.bytes,
                timeout_ms: super::print::ms(settings.timeout),
                error: trouble.as_deref(),
            })?;
        }
        Ok(if trouble.is_some() { exit::FAILED } else { exit::OK })
    })
}
