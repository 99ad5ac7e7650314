//! `approve`: shows what a project would start and asks for the approval. The workspace reads the project's file and stores the
//! approval.

use std::io::{BufRead, BufReader, Read};

use serde::Serialize;

use super::{
    Options, exit,
    print::{Format, Io, Printer},
    replies_of_workspace::failed,
    session::Stop,
};
use crate::{
    control::{Workspace, WorkspaceError, WorkspaceRequest},
    domain::{
        call::{Failure, FailureKind},
        workspace::ApprovalPrompt,
    },
};

/// Shows the project that needs an approval, if there is one, and approves it if its hash or `--yes` was given, or if the user
/// confirms at the terminal.
pub async fn run(workspace: &dyn Workspace, hash: Option<&str>, options: &Options, io: Io) -> u8 {
    let mut printer = Printer::new(io, options.format, options.raw).masking(&options.secrets);
    let Some(prompt) = workspace.state().borrow().approval.clone() else {
        let outcome = nothing(&mut printer);
        return super::conclude(&mut printer, outcome);
    };
    let outcome = approve(&mut printer, workspace, &prompt, hash, options.yes).await;
    super::conclude(&mut printer, outcome)
}

/// JSON document of an approval.
#[derive(Serialize)]
struct Approved<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    file: Option<&'a str>,
    sha256: Option<&'a str>,
    lines: &'a [String],
}

/// Reports that no project needs an approval.
fn nothing(printer: &mut Printer) -> Result<u8, Stop> {
    match printer.format() {
        Format::Human => printer.line("Nothing to approve.")?,
        Format::Json | Format::Jsonl => printer.document(&Approved { kind: "approved", file: None, sha256: None, lines: &[] })?,
    }
    Ok(exit::OK)
}

/// Refuses a command because the project needs an approval first; returns the exit code.
pub fn required(workspace: &dyn Workspace, options: &Options, io: Io) -> u8 {
    let Some(prompt) = workspace.state().borrow().approval.clone() else { return exit::OK };
    let text = format!("{} was not approved, so nothing was started. It would start:\n{}", prompt.path, prompt.block());
    super::fail(Failure::new(FailureKind::Refused, text).hint(prompt.hint()), options, io)
}

async fn approve(
    printer: &mut Printer,
    workspace: &dyn Workspace,
    waiting: &ApprovalPrompt,
    hash: Option<&str>,
    yes: bool,
) -> Result<u8, Stop> {
    let human = printer.format() == Format::Human;
    let file = &waiting.path;
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
                return Err(refused("needs a confirmation, and no terminal is attached").hint(way).into());
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
    // The workspace reads the project again: it may have changed while the question was open.
    workspace.request(WorkspaceRequest::Approve(waiting.hash.clone())).await.map_err(|error| match error {
        WorkspaceError::ProjectChanged => {
            let text = format!("{file} has changed, so nothing was approved");
            Failure::new(FailureKind::Refused, text).hint("run the command again and review the project")
        }
        error => failed(error),
    })?;
    if human {
        printer.line("approved until it changes")?;
    } else {
        let (file, sha256) = (Some(file.as_str()), Some(waiting.hash.as_str()));
        printer.document(&Approved { kind: "approved", file, sha256, lines: &waiting.lines })?;
    }
    Ok(exit::OK)
}
