//! Composition root: configuration → engine → face, and the order of shutdown.
//!
//! The only module that may use all others. Called by `main.rs` only.

mod allocator;
mod console;
mod headless;
mod history;
mod library_watcher;
mod preferences;
mod setup;
mod watchdog;
mod welcome;
mod workflow_library;
mod workflows;

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use self::{setup::Setup, watchdog::Watch};
use crate::{
    cli::{
        self, Options,
        approve::Waiting,
        args::{Cli, Cmd, ImportArgs},
        exit,
        import::{Found, ImportSource},
        print::Io,
    },
    config::{self, FoundImport, LoadOptions, PendingApproval},
    demo,
    domain::{
        call::{Failure, FailureKind},
        secret::MASK,
    },
    mcp, tui,
};

/// Stack size of the runtime's threads, the same as a main thread's. Only used pages take memory.
const STACK: usize = 8 << 20;

/// Runs the program.
pub fn run(cli: Cli) -> ExitCode {
    let options = Options::from(&cli.global);
    note_file_size_signal();
    let code = match &cli.command {
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
        Some(Cmd::Import(args)) => import(args, &options),
        Some(Cmd::Approve(args)) => approve(&cli, args.hash.as_deref(), &options),
        Some(Cmd::Cache(args)) => {
            let (setup, action) = (Setup::new(&cli, false), args.action.clone());
            within_runtime(move |_| headless::cache(setup, action, options))
        }
        Some(Cmd::Demo(args)) => {
            let (setup, traffic) = (Setup::new(&cli, true), args.traffic);
            within_runtime(move |watch| console::run(setup, options, traffic, watch))
        }
        None => {
            let setup = Setup::new(&cli, cli.global.demo);
            within_runtime(move |watch| console::run(setup, options, false, watch))
        }
        Some(command) => match command.headless() {
            Some(command) => {
                let setup = Setup::new(&cli, cli.global.demo);
                within_runtime(move |watch| headless::run(setup, command, options, watch))
            }
            None => match command {
                Cmd::Workflow(args) => {
                    let (setup, command) = (Setup::new(&cli, cli.global.demo), args.command.clone());
                    within_runtime(move |_| workflows::run(setup, command, options))
                }
                _ => exit::USAGE,
            },
        },
    };
    ExitCode::from(code)
}

/// Most worker threads of the engine.
const WORKERS: usize = 8;
/// Time for restoring the terminal and printing the reason when the watchdog ends the program.
const RESTORE_TIMEOUT: Duration = Duration::from_millis(500);
/// The exit code of Rust programs that panic.
const PANICKED: u8 = 101;

/// Runs a face in its own runtime, next to a watchdog. Remaining tasks are dropped at the end.
fn within_runtime<F: Future<Output = u8>>(face: impl FnOnce(Arc<Watch>) -> F + Send + 'static) -> u8 {
    allocator::map_large_allocations();
    let ended = watchdog::run(move |watch, handle| {
        // At least two workers: a busy one must not block timers and connections.
        let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, WORKERS);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(workers).enable_all().thread_name("switchboard").thread_stack_size(STACK).build();
        match runtime {
            Ok(runtime) => {
                // Fails only after the watchdog has ended.
                let _ = handle.send(runtime.handle().clone());
                let code = runtime.block_on(face(watch));
                runtime.shutdown_background();
                code
            }
            Err(error) => {
                let failure = Failure::new(FailureKind::Transport, format!("no threads could be started: {error}"));
                cli::fail(failure, &Options::default(), Io::real())
            }
        }
    });
    match ended {
        Ok(code) => code.unwrap_or(PANICKED),
        Err(verdict) => {
            let (done, said) = std::sync::mpsc::channel();
            // A stuck thread may hold the terminal, so restoring it happens on a thread that may block.
            let words = std::thread::Builder::new().spawn(move || {
                tui::give_terminal_back();
                // Not with the printer: a stuck thread may hold stdout.
                let _ = writeln!(Io::real().stderr, "failed  {}", verdict.why);
                let _ = done.send(());
            });
            if words.is_ok() {
                let _ = said.recv_timeout(RESTORE_TIMEOUT);
            }
            verdict.code
        }
    }
}

/// Handles SIGXFSZ, so that a write beyond the file size limit (`ulimit -f`) fails with an error. By default the signal ends
/// the program.
fn note_file_size_signal() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    let _within = runtime.enter();
    // The handler remains without the runtime. Started servers get the default handler again (execve(2)).
    let kind = tokio::signal::unix::SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    let _ = tokio::signal::unix::signal(kind);
}

/// Returns the path of this program, to start helpers and demo servers.
fn own_program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// `import`: prints the servers of other clients. Servers of a project's files are imported only with `--project`.
fn import(args: &ImportArgs, options: &Options) -> u8 {
    let ImportArgs { write, project, show_secrets } = *args;
    let load = LoadOptions::process();
    let Some(home) = load.home.clone() else {
        return cli::fail(Failure::new(FailureKind::InvalidArguments, "there is no home folder"), options, Io::real());
    };
    let imports = config::find_imports(&home, &load.cwd, &load.env);
    let target = load.user_file();
    let existing = match target.as_deref().map(config::user_text).transpose() {
        Ok(existing) => existing.flatten(),
        Err(error) => return cli::fail(Failure::new(FailureKind::InvalidArguments, error.to_string()), options, Io::real()),
    };
    // Printed output may be seen by others; only the file gets the values.
    let masks = !write && !show_secrets;
    let shown = |found: &FoundImport| if masks { found.masked() } else { found.clone() };
    let taken: Vec<FoundImport> = imports.iter().filter(|found| project || !found.project).map(shown).collect();
    let (toml, added) = match config::add_to_toml(&taken, if write { existing.as_deref() } else { None }) {
        Ok(added) => added,
        Err(error) => return cli::fail(Failure::new(FailureKind::InvalidArguments, error.to_string()), options, Io::real()),
    };
    let sources = imports
        .into_iter()
        .map(|found| ImportSource {
            // A project's servers are shown as they would be started, except for certain secrets.
            lines: config::launch_lines(&if found.project || show_secrets { found.servers.clone() } else { found.masked().servers }),
            client: found.client.to_owned(),
            path: found.path,
            project: found.project,
            servers: found.servers.into_iter().map(Arc::new).collect(),
            problems: found.problems.iter().map(ToString::to_string).collect(),
        })
        .collect();
    let found = Found { sources, masked: masks && toml.contains(MASK), toml, added, project };
    let mut writer = |found: &Found| {
        let file = target.clone().ok_or("there is no folder for the configuration")?;
        config::write_config(&file, &found.toml).map_err(|e| e.to_string())?;
        Ok(file)
    };
    cli::import::run(&found, if write { Some(&mut writer) } else { None }, options, Io::real())
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
