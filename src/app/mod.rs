//! Composition root: configuration → engine → face, and the order of shutdown.
//!
//! The only module that may use all others. Called by `main.rs` only.

mod console;
mod headless;
mod history;
mod import;
mod library_watcher;
mod preferences;
mod setup;
mod welcome;
mod workflow_library;
mod workflows;

use std::{process::ExitCode, sync::Arc};

use self::setup::Setup;
use crate::{
    cli::{
        self, Options,
        approve::Waiting,
        args::{Cli, Cmd, Headless, InputValue},
        exit,
        print::Io,
    },
    config::{self, LoadOptions, PendingApproval},
    demo,
    domain::{
        call::{Failure, FailureKind},
        text::visible_lines,
    },
    mcp,
    process::{self, Watch},
    telemetry::{self, Log, LogRequest},
    tui,
};

/// The variable with the filter of the log.
const LOG_FILTER: &str = "SWITCHBOARD_LOG";

/// Runs the program.
pub fn run(cli: Cli) -> ExitCode {
    process::note_file_size_signal();
    // Helpers, and commands that print a text, write no log.
    let log = match &cli.command {
        Some(Cmd::Reaper(_) | Cmd::DemoServer(_) | Cmd::Completions(_) | Cmd::Man) => Log::default(),
        _ => start_log(&cli),
    };
    let code = dispatch(&cli, &log);
    tracing::info!(target: "switchboard::process", code, "ended");
    log.flush();
    ExitCode::from(code)
}

/// Runs the command; returns the exit code.
fn dispatch(cli: &Cli, log: &Log) -> u8 {
    let options = Options { log: log.path(), ..Options::from(&cli.global) };
    log.mask(&options.secrets);
    let setup = |demo: bool| Setup { log: log.clone(), ..Setup::new(cli, demo) };
    match &cli.command {
        // These two are separate processes: no configuration, no shared runtime.
        Some(Cmd::Reaper(args)) => {
            mcp::reaper::run(&args.mark, tui::terminal::restore);
            exit::OK
        }
        Some(Cmd::DemoServer(args)) => match demo::run_server(&args.name, &args.dir) {
            Ok(()) => exit::OK,
            Err(error) => {
                cli::fail(Failure::new(FailureKind::Refused, format!("demo server {}: {error}", args.name)), &options, Io::real());
                error.exit_code()
            }
        },
        Some(Cmd::Completions(args)) => cli::manual::completions(args.shell, Io::real()),
        Some(Cmd::Man) => cli::manual::man(Io::real()),
        Some(Cmd::Import(args)) => import::run(args, &setup(false).load, &options),
        Some(Cmd::Approve(args)) => approve(cli, args.hash.as_deref(), &options),
        Some(Cmd::Cache(args)) => {
            let (setup, action) = (setup(false), args.action.clone());
            within_runtime(move |_| headless::cache(setup, action, options))
        }
        Some(Cmd::Demo(args)) => {
            let (setup, traffic) = (setup(true), args.traffic);
            within_runtime(move |watch| console::run(setup, options, traffic, watch))
        }
        None => {
            let setup = setup(cli.global.demo);
            within_runtime(move |watch| console::run(setup, options, false, watch))
        }
        Some(command) => match command.headless() {
            Some(mut command) => {
                if let Headless::Run(run) = &mut command {
                    run.input = cli.global.inputs.iter().map(InputValue::assignment).collect();
                }
                let setup = setup(cli.global.demo);
                within_runtime(move |watch| headless::run(setup, command, options, watch))
            }
            None => match command {
                Cmd::Workflow(args) => {
                    let (setup, command) = (setup(cli.global.demo), args.command.clone());
                    within_runtime(move |_| workflows::run(setup, command, options))
                }
                _ => exit::USAGE,
            },
        },
    }
}

/// Starts the log of this process.
fn start_log(cli: &Cli) -> Log {
    let filter = std::env::var_os(LOG_FILTER).map(|value| value.to_string_lossy().into_owned());
    let load = LoadOptions::process();
    let file = || match (&cli.global.log_file, &load.state_dir) {
        (Some(file), _) => Ok(load.cwd.join(file)),
        (None, Some(state_dir)) => config::log_file(state_dir).map_err(|error| format!("{}: {error}", state_dir.display())),
        (None, None) => Err("the state folder is unknown".into()),
    };
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let requested = cli.global.log_file.is_some() || filter.is_some();
    let (log, warnings) = telemetry::start(&LogRequest { filter, requested, arguments: cli::logged::arguments(words) }, file);
    for warning in warnings {
        // A closed stderr does not stop the program.
        let _ = writeln!(Io::real().stderr, "warning: {}", visible_lines(&warning));
    }
    log
}

/// Runs a face in its own runtime, next to the watchdog.
fn within_runtime<F: Future<Output = u8>>(face: impl FnOnce(Arc<Watch>) -> F + Send + 'static) -> u8 {
    process::run(face, tui::give_terminal_back)
}

/// `approve`: shows what the project would start, and stores the approval.
fn approve(cli: &Cli, hash: Option<&str>, options: &Options) -> u8 {
    let wrong = |text: String| Failure::new(FailureKind::InvalidArguments, text);
    let refuse = |text: String| cli::fail(wrong(text), options, Io::real());
    // Servers on the command line do not matter here.
    let load = LoadOptions { servers_given: false, ..Setup::new(cli, false).load };
    let loaded = match config::load(&load) {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(setup::all(&errors)),
    };
    let Some(pending) = loaded.pending else { return cli::say("Nothing to approve.", Io::real()) };
    let Some(state_dir) = &load.state_dir else { return refuse("there is no state folder for the approval".into()) };
    // Read again: the project may have changed while the question was open.
    let mut keep = || match config::load(&load).map_err(|errors| wrong(setup::all(&errors)))?.pending {
        Some(now) if (&now.path, &now.hash) == (&pending.path, &pending.hash) => {
            config::approve(&now, state_dir).map_err(|error| wrong(error.to_string()))
        }
        Some(_) => {
            let text = format!("{} has changed, so nothing was approved", pending.file.display());
            Err(Failure::new(FailureKind::Refused, text).hint("run the command again and review the project"))
        }
        None => Ok(()),
    };
    cli::approve::run(&waiting(&pending), hash, &mut keep, options, Io::real())
}

/// Returns the hint for a project that needs an approval.
fn approval_hint(pending: &PendingApproval) -> String {
    let approve = waiting(pending).command();
    format!("review these lines, then run `{approve}`, or use --trust {} once, or --no-project-config", pending.hash)
}

/// Returns the project to approve.
fn waiting(pending: &PendingApproval) -> Waiting {
    Waiting { file: pending.file.clone(), hash: pending.hash.clone(), lines: pending.lines.clone() }
}
