//! `approve`: shows what a project would start and asks for the approval. The composition root reads the project's file
//! and stores the approval.

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

/// A project that needs an approval.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The project's file.
    pub file: PathBuf,
    /// The hash that an approval covers.
    pub hash: String,
    /// Description of what would be started or contacted, by line.
    pub lines: Vec<String>,
}

impl Waiting {
    /// Returns the lines as an indented block for a message.
    pub fn block(&self) -> String {
        self.lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    /// Returns the command that approves exactly this without a terminal.
    pub fn command(&self) -> String {
        format!("switchboard approve --hash {}", self.hash)
    }
}

/// Stores the approval if the project has not changed since it was shown.
pub type Keep<'a> = &'a mut dyn FnMut() -> Result<(), Failure>;

/// Shows the project and approves it if its hash or `--yes` was given, or if the user confirms at the terminal.
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
        // JSON output has not shown the lines yet.
        let block = if human { String::new() } else { format!(" It would start or contact:\n{}", waiting.block()) };
        Failure::new(FailureKind::Refused, format!("{file} {how}, so nothing was approved.{block}"))
    };
    match hash {
        Some(given) if !given.eq_ignore_ascii_case(&waiting.hash) => {
            let way = format!("review the lines, then run `{}`", waiting.command());
            return Err(refused("has a different hash").hint(way).into());
        }
        None if !yes => {
            let stdin = if printer.can_ask() { printer.take_stdin() } else { None };
            let Some(stdin) = stdin else {
                let way = format!("review the lines, then run `{}` or use --yes", waiting.command());
                return Err(refused("needs a confirmation, and there is no terminal for it").hint(way).into());
            };
            printer.question("Approve exactly this? [y/N]");
            let mut answer = String::new();
            // Unreadable input is not a yes.
            let _ = BufReader::new(stdin.take(1000)).read_line(&mut answer);
            if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
                return Err(refused("was not confirmed").into());
            }
        }
        _ => {}
    }
    keep()?;
    if human {
        printer.line("approved until it changes")?;
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
