//! The composition root: configuration → engine → face, and the order of shutdown.
//!
//! The only place that sees everything. Only `main.rs` calls it.

mod console;
mod flows;
mod headless;
mod history;
mod resident;
mod setup;
mod taste;
mod welcome;
mod workflows;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use self::setup::Setup;
use crate::{
    cli::{
        self, Options,
        approve::Waiting,
        args::{Cli, Cmd},
        exit,
        import::{Found, ImportSource},
        print::Io,
    },
    config::{self, FoundImport, LoadOptions, PendingApproval},
    demo,
    domain::call::{Failure, FailureKind},
    mcp,
};

/// Runs the program to its end.
pub fn run(cli: Cli) -> ExitCode {
    let options = Options::from(&cli.global);
    let code = match &cli.command {
        // These two are processes of their own: no configuration, no runtime of ours.
        Some(Cmd::Reaper(args)) => {
            mcp::reaper::run(&args.mark);
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
        Some(Cmd::Import(args)) => import(args.write, args.project, &options),
        Some(Cmd::Approve(args)) => approve(&cli, args.hash.as_deref(), &options),
        Some(Cmd::Cache(args)) => within_runtime(headless::cache(Setup::new(&cli, false), args.action.clone(), options)),
        Some(Cmd::Demo(args)) => within_runtime(console::run(Setup::new(&cli, true), options, args.traffic)),
        None => within_runtime(console::run(Setup::new(&cli, cli.global.demo), options, false)),
        Some(command) => match command.headless() {
            Some(command) => within_runtime(headless::run(Setup::new(&cli, cli.global.demo), command, options)),
            None => match command {
                Cmd::Workflow(args) => within_runtime(workflows::run(Setup::new(&cli, cli.global.demo), args.command.clone(), options)),
                _ => exit::USAGE,
            },
        },
    };
    ExitCode::from(code)
}

/// Runs a face in a runtime of its own; what is still running then is dropped.
fn within_runtime(face: impl Future<Output = u8>) -> u8 {
    resident::return_large();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().thread_name("switchboard").build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(face);
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            let failure = Failure::new(FailureKind::Transport, format!("no threads could be started: {error}"));
            cli::fail(failure, &Options::default(), Io::real())
        }
    }
}

/// This program, to start helpers and demo servers.
fn own_program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// `import`: what other programs have configured. What came with a project is only shown, unless `project` asks for it.
fn import(write: bool, project: bool, options: &Options) -> u8 {
    let load = LoadOptions::process();
    let Some(home) = load.home.clone() else {
        return cli::fail(Failure::new(FailureKind::InvalidArguments, "there is no home folder to look in"), options, Io::real());
    };
    let imports = config::find_imports(&home, &load.cwd, &load.env);
    let target = load.user_file();
    let existing = target.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    let taken: Vec<FoundImport> = imports.iter().filter(|found| project || !found.project).cloned().collect();
    let (toml, added) = match config::add_to_toml(&taken, if write { existing.as_deref() } else { None }) {
        Ok(added) => added,
        Err(error) => return cli::fail(Failure::new(FailureKind::InvalidArguments, error.to_string()), options, Io::real()),
    };
    let sources = imports
        .into_iter()
        .map(|found| ImportSource {
            client: found.client.to_owned(),
            path: found.path,
            project: found.project,
            lines: config::launch_lines(&found.servers),
            servers: found.servers.into_iter().map(Arc::new).collect(),
            problems: found.problems.iter().map(ToString::to_string).collect(),
        })
        .collect();
    let found = Found { sources, toml, added, project };
    let mut writer = |found: &Found| {
        let file = target.clone().ok_or("there is no folder for the configuration")?;
        config::write_config(&file, &found.toml).map_err(|e| e.to_string())?;
        Ok(file)
    };
    cli::import::run(&found, if write { Some(&mut writer) } else { None }, options, Io::real())
}

/// `approve`: has what the project's file would start shown and agreed to, and keeps the approval.
fn approve(cli: &Cli, hash: Option<&str>, options: &Options) -> u8 {
    let wrong = |text: String| Failure::new(FailureKind::InvalidArguments, text);
    let refuse = |text: String| cli::fail(wrong(text), options, Io::real());
    // Whatever servers the command line names, this is about the project's.
    let load = LoadOptions { servers_given: false, ..Setup::new(cli, false).load };
    let loaded = match config::load(&load) {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(setup::all(&errors)),
    };
    let Some(pending) = loaded.pending else { return cli::say("There is nothing to approve here.", Io::real()) };
    let Some(state_dir) = &load.state_dir else { return refuse("there is no folder to keep the approval in".into()) };
    // Read once more: while the question waited, the file may have become another.
    let mut keep = || match config::load(&load).map_err(|errors| wrong(setup::all(&errors)))?.pending {
        Some(now) if (&now.path, &now.hash) == (&pending.path, &pending.hash) => {
            config::approve(&now, state_dir).map_err(|error| wrong(error.to_string()))
        }
        Some(_) => {
            let text = format!("{} has changed meanwhile, so nothing was approved", pending.file.display());
            Err(Failure::new(FailureKind::Refused, text).hint("start again and read what it says now"))
        }
        None => Ok(()),
    };
    cli::approve::run(&waiting(&pending), hash, &mut keep, options, Io::real())
}

/// What waits for an approval, for people.
fn waiting(pending: &PendingApproval) -> Waiting {
    Waiting { file: pending.file.clone(), hash: pending.hash.clone(), lines: pending.lines.clone() }
}
