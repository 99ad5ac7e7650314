//! The headless face: one file a subcommand, one printer.
//!
//! Owns the definition of the command line, the exit codes and everything that is printed. Called by
//! the composition root only, which hands in the door to the engine, the ways in and out, and what
//! it knows of configurations as plain data.

pub mod answers;
pub mod approve;
pub mod args;
pub mod arguments;
#[cfg(test)]
mod bounds_tests;
pub mod by_hand;
pub mod cache;
pub mod call;
pub mod content;
pub mod doctor;
mod dry;
pub mod exit;
#[cfg(test)]
mod fake;
pub mod hints;
pub mod import;
pub mod json;
pub mod junit;
pub mod manual;
pub mod names;
#[cfg(test)]
mod policy_tests;
pub mod print;
pub mod route;
pub mod run;
pub mod servers;
pub mod session;
pub mod shelf;
#[cfg(test)]
mod tests;
pub mod tools;
pub mod workflow;

use std::{io, sync::Arc, time::Duration};

use self::{
    answers::Answers,
    args::{AnswerFrom, Global, Headless, Placed},
    call::Document,
    print::{Format, Io, Printer},
    session::{Problem, Session, Signals, Stop},
};
use crate::{
    domain::{
        call::{Failure, FailureKind},
        policy::{breaker::BreakerOverride, fault::Fault},
        secret::SecretRegistry,
    },
    engine::control::Control,
};

/// The flags that headless commands follow.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How results are printed.
    pub format: Format,
    /// Whether text is printed as it came.
    pub raw: bool,
    /// Whether more is told on stderr.
    pub verbose: bool,
    /// Longest time for the whole command.
    pub timeout: Option<Duration>,
    /// Whether destructive calls are agreed to.
    pub yes: bool,
    /// The only servers wanted; all when empty.
    pub servers: Vec<String>,
    /// What is done to breakers first.
    pub breaker: Vec<Placed<BreakerOverride>>,
    /// Faults made on purpose.
    pub inject: Vec<Placed<Fault>>,
    /// What answers elicitation.
    pub elicit: Option<AnswerFrom>,
    /// What answers sampling.
    pub sample: Option<AnswerFrom>,
    /// The workflows.
    pub shelf: shelf::Shelf,
    /// The secrets that are masked in everything that is printed.
    pub secrets: SecretRegistry,
}

impl From<&Global> for Options {
    fn from(global: &Global) -> Options {
        Options {
            format: match (global.json, global.jsonl) {
                (true, _) => Format::Json,
                (_, true) => Format::Jsonl,
                _ => Format::Human,
            },
            raw: global.raw,
            verbose: global.verbose,
            timeout: global.timeout,
            yes: global.yes,
            servers: global.servers.clone(),
            breaker: global.breaker.clone(),
            inject: global.inject.clone(),
            elicit: global.elicit.clone(),
            sample: global.sample.clone(),
            shelf: shelf::Shelf::default(),
            secrets: SecretRegistry::default(),
        }
    }
}

/// Runs a headless command to its end; gives the exit code (see [`exit`]).
///
/// Dropping the future leaves a call under way to the engine. Stdin may be read by a thread that is
/// left behind.
pub async fn run(control: Arc<dyn Control>, command: &Headless, options: &Options, io: Io, signals: Signals) -> u8 {
    let mut printer = Printer::new(io, options.format, options.raw).masking(&options.secrets);
    let answers = match Answers::load(options.elicit.as_ref(), options.sample.as_ref()) {
        Ok(answers) => answers,
        Err(why) => {
            let problem = Problem::new(Failure::new(FailureKind::InvalidArguments, why));
            let outcome = Err(problem.into());
            return conclude(&mut printer, outcome);
        }
    };
    let mut session = Session::new(control, options, printer, signals, answers);
    match by_hand::commands(&session.read_model, options) {
        Ok(commands) => commands.into_iter().for_each(|command| session.control.command(command)),
        Err(failure) => return conclude(&mut session.printer, Err(failure.into())),
    }
    let outcome = match command {
        Headless::Tools(args) => tools::run(&mut session, args).await,
        Headless::Call(args) => call::call(&mut session, args).await,
        Headless::Read(args) => call::read(&mut session, args).await,
        Headless::Prompt(args) => call::prompt(&mut session, args).await,
        Headless::Route(args) => route::run(&mut session, args).await,
        Headless::Servers => servers::run(&mut session).await,
        Headless::Doctor => doctor::run(&mut session).await,
        Headless::Run(args) => run::run(&mut session, args).await,
        Headless::CheckLive(args) => workflow::check_live(&mut session, args).await,
    };
    conclude(&mut session.printer, outcome)
}

/// Tells of something that went wrong outside of the headless commands, by the rules of `options`;
/// gives the exit code. For the composition root: configuration, approval.
pub fn fail(failure: Failure, options: &Options, io: Io) -> u8 {
    finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |_| Err(failure.into()))
}

/// Prints `text`, our own words, to stdout; gives the exit code. For the composition root.
pub fn say(text: &str, io: Io) -> u8 {
    finish(Printer::new(io, Format::Human, false), |printer| {
        printer.text(text)?;
        Ok(exit::OK)
    })
}

/// Runs `work` with a printer and makes an exit code of its end.
fn finish(mut printer: Printer, work: impl FnOnce(&mut Printer) -> Result<u8, Stop>) -> u8 {
    let outcome = work(&mut printer);
    conclude(&mut printer, outcome)
}

fn conclude(printer: &mut Printer, outcome: Result<u8, Stop>) -> u8 {
    let said = match outcome {
        Ok(code) => Ok(code),
        Err(Stop::Quit(code)) => Ok(code),
        Err(Stop::Output(error)) => Err(error),
        Err(Stop::Problem(problem)) => tell(printer, &problem).map(|()| exit::of_failure(problem.failure.kind)),
    };
    match said.and_then(|code| printer.flush().map(|()| code)) {
        Ok(code) => code,
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
        Err(error) => {
            printer.note(&format!("the output cannot be written: {error}"));
            exit::FAILED
        }
    }
}

fn tell(printer: &mut Printer, problem: &Problem) -> io::Result<()> {
    if printer.format() != Format::Human {
        return printer.document(&Document::of_problem(problem));
    }
    printer.failure_report(&problem.failure.report());
    if let Some(connect) = &problem.connect {
        printer.failure_report(&connect.report());
    }
    Ok(())
}
