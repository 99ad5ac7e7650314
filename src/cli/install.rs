//! `install`: shows the change of a client's file and asks for a confirmation. The composition root plans and makes the change.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
};

use serde::Serialize;
use similar::TextDiff;

use super::{
    Options, exit,
    print::{Format, Io, Printer},
    session::Stop,
};
use crate::domain::call::{Failure, FailureKind};

/// A planned change of a client's file.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The client.
    pub client: &'a str,
    /// Its file.
    pub file: &'a Path,
    /// The keys that lead to the entry.
    pub key: &'a str,
    /// The entry as it is written; empty if it is removed.
    pub entry: &'a str,
    /// The outcome for the file, as a sentence.
    pub effect: &'a str,
    /// Whether there is something to do.
    pub changes: bool,
    /// The changes of all files, if servers are moved between them: file, text before, text afterwards.
    pub files: &'a [(&'a Path, &'a str, &'a str)],
    /// The names of the servers that are moved.
    pub moved: &'a [&'a str],
    /// The servers that stay in the client's file, each with the reason.
    pub staying: &'a [(&'a str, &'a str)],
}

/// Shows a change, asks for a confirmation, and makes it with `apply`, whose error is a text. With `print`, only shows the entry.
pub fn run(change: &Change<'_>, print: bool, options: &Options, io: Io, apply: impl FnOnce() -> Result<(), String>) -> u8 {
    let mut printer = Printer::new(io, options.format, options.raw).masking(&options.secrets);
    let outcome = steps(&mut printer, change, print, options.yes, apply);
    super::conclude(&mut printer, outcome)
}

fn steps(
    printer: &mut Printer,
    change: &Change<'_>,
    print: bool,
    yes: bool,
    apply: impl FnOnce() -> Result<(), String>,
) -> Result<u8, Stop> {
    let human = printer.format() == Format::Human;
    if print {
        if human {
            printer.note(&format!("{} of {}: {}", change.key, change.client, change.file.display()));
        }
        printer.file(&format!("{}\n", change.entry.trim_end()))?;
        return Ok(exit::OK);
    }
    if human {
        printer.line(change.effect)?;
        let shown = if change.files.is_empty() { change.entry } else { "" };
        for line in shown.lines() {
            printer.line(&format!("  {line}"))?;
        }
        for (file, before, after) in change.files {
            printer.file(&difference(file, before, after))?;
        }
        for (name, why) in change.staying {
            printer.note_text(&format!("{name} stays in the client's file: {why}"));
        }
    }
    if change.changes {
        if !yes {
            confirm(printer, change)?;
        }
        apply().map_err(|why| Failure::new(FailureKind::Refused, why))?;
    }
    if human {
        printer.line(if change.changes { "written; restart the client" } else { "nothing to do" })?;
    } else {
        #[derive(Serialize)]
        struct Installed<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            client: &'a str,
            file: &'a Path,
            key: &'a str,
            changed: bool,
            moved: &'a [&'a str],
            staying: Vec<&'a str>,
        }
        printer.document(&Installed {
            kind: "installed",
            client: change.client,
            file: change.file,
            key: change.key,
            changed: change.changes,
            moved: change.moved,
            staying: change.staying.iter().map(|(name, _)| *name).collect(),
        })?;
    }
    Ok(exit::OK)
}

/// Returns the changed lines only: the others may hold secrets of other servers.
fn difference(file: &Path, before: &str, after: &str) -> String {
    let file = file.display().to_string();
    TextDiff::from_lines(before, after).unified_diff().context_radius(0).header(&file, &file).to_string()
}

fn confirm(printer: &mut Printer, change: &Change<'_>) -> Result<(), Stop> {
    let refused = |how: &str| Failure::new(FailureKind::Refused, format!("the change of {} {how}", change.file.display()));
    let stdin = if printer.can_ask() { printer.take_stdin() } else { None };
    let Some(stdin) = stdin else {
        return Err(refused("needs a confirmation, and no terminal is attached").hint("use --yes, or --print and edit the file").into());
    };
    printer.question("Write this? [y/N]");
    let mut answer = String::new();
    // Unreadable input is not a yes.
    let _ = BufReader::new(stdin.take(1000)).read_line(&mut answer);
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(refused("was not confirmed, so nothing was written").into()),
    }
}
