//! `cache`: forgets kept answers, and says where they are kept.
//!
//! Needs no engine: the composition root opens the store and hands in what it did.

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

/// Whether answers outlive the process that asked, so that another one can forget them.
pub fn lasts(settings: &CacheSettings) -> bool {
    !settings.redis.is_empty()
}

/// An address without what may be secret in it: the text with its variables, else without credentials and options.
fn shown(address: &Secret) -> String {
    if address.interpolated() {
        return address.written().to_owned();
    }
    let plain = address.expose().split('?').next().unwrap_or_default();
    match (plain.find("://"), plain.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://{MASK}@{}", &plain[..scheme], &plain[at + 1..]),
        _ => plain.to_owned(),
    }
}

/// Tells how a purge went: how many answers are forgotten, or why none is. `None` when no store outlives its process.
pub fn purged(pattern: &str, outcome: Option<Result<u64, String>>, options: &Options, io: Io) -> u8 {
    #[derive(Serialize)]
    struct Purged<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        store: &'static str,
        pattern: &'a str,
        forgotten: u64,
    }
    let human = options.format == Format::Human;
    finish(super::Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        let (store, forgotten) = match outcome {
            None => ("memory", 0),
            Some(Ok(count)) => ("redis", count),
            Some(Err(why)) => {
                let failure = Failure::new(FailureKind::Transport, format!("the answers of {pattern} could not be forgotten: {why}"));
                return Err(failure.hint("`switchboard cache stats` says whether Redis can be reached").into());
            }
        };
        if !human {
            printer.document(&Purged { kind: "purged", store, pattern, forgotten })?;
        } else if store == "memory" {
            printer.line("Answers are kept in the process that asked for them and end with it: there is nothing to forget.")?;
            printer.line("Set [cache] redis in the configuration to keep them longer and to share them.")?;
        } else {
            let answers = if forgotten == 1 { "answer" } else { "answers" };
            printer.line(&format!("{forgotten} {answers} of {pattern} forgotten."))?;
        }
        Ok(exit::OK)
    })
}

/// Tells where answers are kept. `trouble` is what is wrong with the store, if anything.
pub fn stats(settings: &CacheSettings, trouble: Option<String>, options: &Options, io: Io) -> u8 {
    #[derive(Serialize)]
    struct Stats<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        store: &'static str,
        addresses: &'a [String],
        prefix: &'a str,
        bytes: u64,
        wait_ms: f64,
        trouble: Option<&'a str>,
    }
    let lasts = lasts(settings);
    let addresses: Vec<String> = settings.redis.iter().map(shown).collect();
    finish(super::Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        if options.format == Format::Human {
            let lines = match lasts {
                false => vec![
                    ("store", "memory: answers end with the process that asked for them".to_owned()),
                    ("at most", time::size(settings.bytes)),
                ],
                true => vec![
                    ("store", format!("redis at {}", addresses.join(", "))),
                    ("prefix", settings.prefix.clone()),
                    ("waits", format!("at most {}, then it is a miss", time::short(settings.timeout))),
                    ("state", trouble.clone().unwrap_or_else(|| "answers".into())),
                ],
            };
            printer.report_out(&lines)?;
        } else {
            printer.document(&Stats {
                kind: "cache",
                store: if lasts { "redis" } else { "memory" },
                addresses: &addresses,
                prefix: &settings.prefix,
                bytes: settings.bytes,
                wait_ms: super::print::ms(settings.timeout),
                trouble: trouble.as_deref(),
            })?;
        }
        Ok(if trouble.is_some() { exit::FAILED } else { exit::OK })
    })
}
