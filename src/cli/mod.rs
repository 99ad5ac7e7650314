//! Headless commands: one module for each subcommand, one printer.
//!
//! Owns the definition of the command line, the exit codes and the output. Called by the composition root only, which
//! passes the engine's [`Control`], input and output, and the configuration as plain data.

pub mod approve;
pub mod args;
pub mod arguments;
#[cfg(test)]
mod bounds_tests;
pub mod cache;
pub mod call;
pub mod check;
#[cfg(test)]
mod check_tests;
mod complete;
pub mod completion;
pub mod content;
#[cfg(test)]
mod control_tests;
pub mod doctor;
pub mod document;
mod drift;
mod dry_run;
pub mod exit;
mod export;
pub mod findings;
pub mod hints;
pub mod history;
pub mod import;
mod input;
pub mod install;
pub mod instances;
pub mod json;
pub mod junit;
pub mod lists;
pub mod logged;
pub mod login;
mod lookup;
pub mod manual;
pub mod names;
mod operate;
#[cfg(test)]
pub mod output_schema;
pub mod overrides;
mod pager;
#[cfg(test)]
mod policy_tests;
pub mod print;
mod questions;
mod readiness;
pub mod reference;
pub mod replies;
mod replies_of_workspace;
pub mod report;
pub mod request;
#[cfg(test)]
mod request_tests;
pub mod route;
pub mod run;
mod run_files;
pub mod servers;
pub mod session;
pub mod setup;
#[cfg(test)]
mod setup_tests;
pub mod style;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;
pub mod token;
pub mod tools;
pub mod version;
pub mod watch;
pub mod workflow;
mod yaml;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use self::{
    args::{ForTarget, Global, Headless, OutputFormat, ReplySource},
    document::Document,
    print::{Format, Io, Printer},
    replies::ElicitationReplies,
    session::{Problem, Session, Signals, Stop},
    style::Presentation,
};
use crate::{
    control::Control,
    domain::{
        call::{ArgumentCheck, Failure, FailureKind},
        policy::{breaker::BreakerOverride, fault::Fault},
        run::{RunId, RunSpec},
        secret::SecretRegistry,
        workflow::library::WorkflowLibrary,
    },
};

/// Flags of headless commands.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How results are printed.
    pub format: Format,
    /// Whether text is printed unchanged.
    pub raw: bool,
    /// Whether stderr has verbose output.
    pub verbose: bool,
    /// Time limit of the whole command.
    pub timeout: Option<Duration>,
    /// Whether destructive calls are allowed.
    pub yes: bool,
    /// Whether arguments and answers that violate their schema are refused.
    pub check: ArgumentCheck,
    /// Whether a result that violates its output schema is a failure.
    pub strict: bool,
    /// The selected servers; all when empty.
    pub servers: Vec<String>,
    /// Breaker overrides.
    pub breaker: Vec<ForTarget<BreakerOverride>>,
    /// Injected faults.
    pub inject: Vec<ForTarget<Fault>>,
    /// Response to elicitation requests.
    pub elicit: Option<ReplySource>,
    /// Response to sampling requests.
    pub sample: Option<ReplySource>,
    /// Whether the command logs in to servers that want it.
    pub login: bool,
    /// The running engine to use, and then its name. The inner value is `None` if the command has an engine of its own after
    /// all.
    pub via: Option<Option<String>>,
    /// The workflows.
    pub library: WorkflowLibrary,
    /// The recorded run that the command continues, undoes or reuses, and its specification.
    pub recorded: Option<(RunId, Arc<RunSpec>)>,
    /// Whether runs are journaled, so that they can be resumed.
    pub journaled: bool,
    /// The secrets masked in the output.
    pub secrets: SecretRegistry,
    /// The log file, if the program writes one.
    pub log: Option<PathBuf>,
    /// What a report says of the configuration.
    pub report: report::ReportContext,
}

impl From<&Global> for Presentation {
    fn from(global: &Global) -> Presentation {
        let pager = if global.no_pager { None } else { style::pager(|name| std::env::var(name).ok()) };
        let yaml = global.output_format == Some(OutputFormat::Yaml);
        Presentation { color: global.color, yaml, quiet: global.quiet, pager }
    }
}

impl From<&Global> for Options {
    fn from(global: &Global) -> Options {
        Options {
            format: match (global.json, global.jsonl, global.output_format) {
                (true, ..) | (_, _, Some(OutputFormat::Json | OutputFormat::Yaml)) => Format::Json,
                (_, true, _) | (_, _, Some(OutputFormat::Jsonl)) => Format::Jsonl,
                _ => Format::Human,
            },
            raw: global.raw,
            verbose: global.verbose,
            timeout: global.timeout,
            yes: global.yes,
            check: if global.no_check { ArgumentCheck::Skipped } else { ArgumentCheck::Enforced },
            strict: global.strict,
            servers: global.servers.clone(),
            breaker: global.breaker.clone(),
            inject: global.inject.clone(),
            elicit: global.elicit.clone(),
            sample: global.sample.clone(),
            login: global.login,
            via: global.via.clone().filter(|via| !via.is_empty()).map(Some),
            library: WorkflowLibrary::default(),
            recorded: None,
            journaled: false,
            secrets: SecretRegistry::default(),
            log: None,
            report: report::ReportContext::default(),
        }
    }
}

/// Runs a headless command and returns the exit code (see [`exit`]).
///
/// Dropping the future leaves a running call to the engine. A thread that reads stdin may be abandoned.
pub async fn run(control: Arc<dyn Control>, command: &Headless, options: &Options, io: Io, signals: Signals) -> u8 {
    let io = if matches!(command, Headless::Tools(args) if args.schema) { io.paged() } else { io };
    let mut printer = Printer::new(io, options.format, options.raw).masking(&options.secrets).via(options.via.clone());
    let answers = match ElicitationReplies::load(options.elicit.as_ref(), options.sample.as_ref()) {
        Ok(answers) => answers,
        Err(why) => {
            let problem = Problem::new(Failure::new(FailureKind::InvalidArguments, why));
            let outcome = Err(problem.into());
            return conclude(&mut printer, outcome);
        }
    };
    let mut session = Session::new(control, options, printer, signals, answers);
    match overrides::commands(&session.read_model, options) {
        Ok(commands) => commands.into_iter().for_each(|command| session.command(command)),
        Err(failure) => return conclude(&mut session.printer, Err(failure.into())),
    }
    let outcome = match command {
        Headless::Tools(args) => tools::run(&mut session, args).await,
        Headless::List(kind, args) => lists::run(&mut session, *kind, args).await,
        Headless::Call(args) => call::call(&mut session, args).await,
        Headless::Check(args) => check::check(&mut session, args).await,
        Headless::Read(args) => call::read(&mut session, args).await,
        Headless::Prompt(args) => call::prompt(&mut session, args).await,
        Headless::Complete(args) => complete::complete(&mut session, args).await,
        Headless::Watch(args) => watch::watch(&mut session, args).await,
        Headless::Request(args) => request::request(&mut session, args).await,
        Headless::Route(args) => route::run(&mut session, args).await,
        Headless::Breaker(args) => operate::breaker(&mut session, args).await,
        Headless::Fault(args) => operate::fault(&mut session, args).await,
        Headless::Servers => servers::run(&mut session).await,
        Headless::Doctor(args) => doctor::run(&mut session, args, options.log.as_deref()).await,
        Headless::Run(args) => run::run(&mut session, args).await,
        Headless::CheckLive(args) => workflow::check_live(&mut session, args).await,
    };
    conclude(&mut session.printer, outcome)
}

/// Reports a failure outside of the headless commands as `options` say; returns the exit code. For the composition root:
/// configuration, approval.
pub fn fail(failure: Failure, options: &Options, io: Io) -> u8 {
    finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |_| Err(failure.into()))
}

/// Prints a text of this program to stdout; returns the exit code. For the composition root.
pub fn say(text: &str, io: Io) -> u8 {
    finish(Printer::new(io, Format::Human, false), |printer| {
        printer.text(text)?;
        Ok(exit::OK)
    })
}

/// Runs `work` with a printer and returns the exit code.
fn finish(mut printer: Printer, work: impl FnOnce(&mut Printer) -> Result<u8, Stop>) -> u8 {
    let outcome = work(&mut printer);
    conclude(&mut printer, outcome)
}

fn conclude(printer: &mut Printer, outcome: Result<u8, Stop>) -> u8 {
    let printed = match outcome {
        Ok(code) => Ok(code),
        Err(Stop::Quit(code)) => Ok(code),
        Err(Stop::Output(error)) => Err(error),
        Err(Stop::Problem(problem)) => print_problem(printer, &problem).map(|()| exit::of(&problem.failure)),
    };
    match printed.and_then(|code| printer.flush().map(|()| code)) {
        Ok(code) => code,
        // The reader closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
        Err(error) => {
            printer.note(&format!("the output cannot be written: {error}"));
            exit::FAILED
        }
    }
}

fn print_problem(printer: &mut Printer, problem: &Problem) -> io::Result<()> {
    if printer.format() != Format::Human {
        return printer.document(&Document::of_problem(problem));
    }
    printer.failure_report(&problem.failure.report());
    if let (Some(server), Some(owner)) = (&problem.server, &problem.owner) {
        printer.report("", &[("owner", format!("{owner} (of {server})"))]);
    }
    if let Some(connect) = &problem.connect {
        printer.failure_report(&connect.report());
    }
    Ok(())
}
