//! `approve`: shows what a project's file would start, asks, and has the approval kept. The composition root reads the
//! file and keeps the approval; this shows and asks.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
};

use serde::Serialize;

use super::{
    Options, exit,
    print::{Format, Io, Printer},
    session::Stop,
};
use crate::domain::call::{Failure, FailureKind};

/// What waits for an approval.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The project's file.
    pub file: PathBuf,
    /// What an approval is given for.
    pub hash: String,
    /// What would be started or contacted, a line each.
    pub lines: Vec<String>,
}

impl Waiting {
    /// The lines one under another, as part of a message.
    pub fn block(&self) -> String {
        self.lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    /// How to approve exactly this without a terminal.
    pub fn command(&self) -> String {
        format!("switchboard approve --hash {}", self.hash)
    }
}

/// Keeps the approval if the file still says what was shown.
pub type Keep<'a> = &'a mut dyn FnMut() -> Result<(), Failure>;

/// Shows what is `waiting` and has it approved when the hash of it was given, `--yes` was, or a person at the terminal
/// agrees.
pub fn run(waiting: &Waiting, hash: Option<&str>, keep: Keep<'_>, options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        approve(printer, waiting, hash, keep, options.yes)
    })
}

fn approve(printer: &mut Printer, waiting: &Waiting, hash: Option<&str>, keep: Keep<'_>, yes: bool) -> Result<u8, Stop> {
    let human = printer.format() == Format::Human;
    let file = waiting.file.display();
    if human {
        printer.line(&format!("{file} would start or contact"))?;
        for line in &waiting.lines {
            printer.line(&format!("  {line}"))?;
        }
        printer.line(&format!("sha-256 {}", waiting.hash))?;
    }
    let refused = |how: &str| {
        // Whoever reads documents has not seen the lines yet.
        let block = if human { String::new() } else { format!(" It would start or contact:\n{}", waiting.block()) };
        Failure::new(FailureKind::Refused, format!("{file} {how}, so nothing was approved.{block}"))
    };
    match hash {
        Some(given) if !given.eq_ignore_ascii_case(&waiting.hash) => {
            let way = format!("read the lines again, then `{}`", waiting.command());
            return Err(refused("has another hash than the given one").hint(way).into());
        }
        None if !yes => {
            let stdin = if printer.can_ask() { printer.take_stdin() } else { None };
            let Some(stdin) = stdin else {
                let way = format!("`{}` after reading the lines, or --yes", waiting.command());
                return Err(refused("needs a yes and nobody can be asked").hint(way).into());
            };
            printer.question("Approve exactly this? [y/N]");
            let mut answer = String::new();
            // What cannot be read is no yes.
            let _ = BufReader::new(stdin.take(1000)).read_line(&mut answer);
            if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
                return Err(refused("was not agreed to").into());
            }
        }
        _ => {}
    }
    keep()?;
    if human {
        printer.line("approved, until any of it changes")?;
    } else {
        #[derive(Serialize)]
        struct Approved<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            file: String,
            sha256: &'a str,
            lines: &'a [String],
        }
        printer.document(&Approved { kind: "approved", file: file.to_string(), sha256: &waiting.hash, lines: &waiting.lines })?;
    }
    Ok(exit::OK)
}
