//! Composition root: configuration → engine → face, and the order of shutdown.
//!
//! The only module that may use all others. Called by `main.rs` only.

mod completion;
mod console;
mod console_logins;
mod engine;
mod gateway_logins;
mod headless;
mod install;
mod instances;
mod login;
mod mock;
mod open;
mod preparation;
mod serve;
mod session;
mod setup;
mod tap;
mod token;
mod via;

use std::{process::ExitCode, sync::Arc};

use crate::{
    cli::{
        self, Options,
        args::{CallsCmd, Cli, Cmd, CompleteWordsArgs, Headless, InputValue, Target},
        exit,
        history::History,
        print::Io,
    },
    config::{self, ConfigError, EnvironmentChoice, LoadOptions, Loaded, Variables},
    demo,
    domain::{
        call::{Failure, FailureKind},
        server::ServerSpec,
        text::visible_lines,
        workspace::ServerEdit,
    },
    mcp,
    process::{self, Watch},
    telemetry::{self, Log, LogRequest},
    tui,
    workspace::{ProjectErrors, Selection, WorkspaceService},
};

/// The variable with the filter of the log.
const LOG_FILTER: &str = "SWITCHBOARD_LOG";

/// Runs the program.
pub fn run(cli: Cli) -> ExitCode {
    process::note_file_size_signal();
    cli::style::Presentation::from(&cli.global).set();
    // Helpers, and commands that print a text, write no log.
    let log = match &cli.command {
        Some(Cmd::Reaper(_) | Cmd::DemoServer(_) | Cmd::Completions(_) | Cmd::CompleteWords(_) | Cmd::Man(_)) => Log::default(),
        _ => start_log(&cli),
    };
    let code = match &cli.command {
        Some(Cmd::CompleteWords(args)) => complete(&cli, args),
        _ => dispatch(&cli, &log),
    };
    tracing::info!(target: "switchboard::process", code, "ended");
    log.flush();
    ExitCode::from(code)
}

/// Prints the values that a word of another command line can be; returns the exit code.
fn complete(cli: &Cli, args: &CompleteWordsArgs) -> u8 {
    let Some(wanted) = cli::completion::wanted(args) else { return exit::FAILED };
    let mut cli = cli.clone();
    wanted.add_to(&mut cli.global);
    let options = Options::from(&cli.global);
    match selection(&cli, wanted.demo) {
        Ok(selection) => blocking(completion::run(selection, wanted, options.clone()), &options),
        Err(_) => exit::FAILED,
    }
}

/// Runs the command; returns the exit code.
fn dispatch(cli: &Cli, log: &Log) -> u8 {
    let options = Options { log: log.path(), ..Options::from(&cli.global) };
    log.mask(&options.secrets);
    match &cli.command {
        // These two are separate processes: no configuration, no shared runtime.
        Some(Cmd::Reaper(args)) => {
            mcp::reaper::run(&args.mark, tui::terminal::restore);
            return exit::OK;
        }
        Some(Cmd::DemoServer(args)) => {
            let Err(error) = demo::run_server(&args.name, &args.dir) else { return exit::OK };
            cli::fail(Failure::new(FailureKind::Refused, format!("demo server {}: {error}", args.name)), &options, Io::real());
            return error.exit_code();
        }
        Some(Cmd::Completions(args)) => return cli::manual::completions(args.shell, Io::real()),
        Some(Cmd::Man(args)) => return cli::manual::man(args, &options, Io::real()),
        _ => {}
    }
    let demo = cli.global.demo || matches!(cli.command, Some(Cmd::Demo(_)));
    let selection = match selection(cli, demo) {
        Ok(selection) => selection,
        Err(problem) => return cli::fail(Failure::new(FailureKind::InvalidArguments, problem), &options, Io::real()),
    };
    let (log, within) = (log.clone(), options.clone());
    // Commands about the configuration are about its files, whatever servers the command line selects.
    let files = LoadOptions { servers_given: false, extra: vec![], ..selection.load.clone() };
    match &cli.command {
        Some(command) if cli.serve.is_some() && !matches!(command, Cmd::Demo(_)) => {
            let why = "--serve belongs to the console: use `switchboard serve --http ADDRESS` without one";
            cli::fail(Failure::new(FailureKind::InvalidArguments, why), &options, Io::real())
        }
        Some(Cmd::Import(args)) => {
            // The user's configuration may be broken.
            let workspace = WorkspaceService::new(selection, options.secrets.clone(), Loaded::default());
            blocking(cli::import::run(&*workspace, args, &options, Io::real()), &options)
        }
        Some(Cmd::Install(args)) => install::run(&selection.load, args, &options),
        Some(Cmd::Login(args)) => blocking(login::login(selection, args.clone(), within), &options),
        Some(Cmd::Logout(args)) => blocking(login::logout(selection, args.clone(), within), &options),
        Some(Cmd::Auth) => match workspace(selection, &options) {
            Ok(workspace) => login::list(&workspace, &options),
            Err(code) => code,
        },
        Some(Cmd::Token(args)) => token::run(&files, &args.command, &options),
        Some(Cmd::Add(args)) => setup::add(&files, args, cli, &options),
        Some(Cmd::Remove(args)) => setup::edit(&files, args, &ServerEdit::Remove, &options),
        Some(Cmd::Enable(args)) => setup::edit(&files, args, &ServerEdit::Enable, &options),
        Some(Cmd::Disable(args)) => setup::edit(&files, args, &ServerEdit::Disable, &options),
        Some(Cmd::List) => setup::list(&files, &options),
        Some(Cmd::Config(args)) => setup::config(&files, &args.command, &options),
        Some(Cmd::Approve(args)) => {
            // Servers on the command line do not matter here.
            let load = LoadOptions { servers_given: false, ..selection.load };
            match workspace(Selection { load, ..selection }, &options) {
                Ok(workspace) => blocking(cli::approve::run(&*workspace, args.hash.as_deref(), &options, Io::real()), &options),
                Err(code) => code,
            }
        }
        Some(Cmd::Cache(args)) => {
            let action = args.action.clone();
            within_runtime(move |_| headless::cache(selection, action, within))
        }
        Some(Cmd::Demo(args)) => {
            let with = console::With { traffic: args.traffic, tour: args.tour, ..with(cli) };
            within_runtime(move |watch| console::run(selection, within, log, with, watch))
        }
        Some(Cmd::Serve(args)) => {
            let args = args.clone();
            within_runtime(move |watch| serve::run(selection, args, within, log, watch))
        }
        Some(Cmd::Mock(args)) => {
            let args = args.clone();
            within_runtime(move |watch| mock::run(selection, args, within, log, watch))
        }
        Some(Cmd::Open(args)) => {
            let args = args.clone();
            within_runtime(move |watch| open::run(selection, args, within, watch))
        }
        Some(Cmd::Up(args)) => {
            let args = args.clone();
            within_runtime(move |watch| instances::up(selection, args, within, log, watch))
        }
        Some(Cmd::Down(args)) => blocking(instances::down(selection.load, args.clone(), within), &options),
        Some(Cmd::Tap(args)) => tap::run(&selection, args, &options),
        Some(Cmd::Ps) => blocking(instances::ps(selection.load, within), &options),
        Some(Cmd::Attach(args)) => {
            let args = args.clone();
            within_runtime(move |watch| console::attach(selection, args, within, watch))
        }
        None => {
            let with = with(cli);
            within_runtime(move |watch| console::run(selection, within, log, with, watch))
        }
        Some(command) => match (command.headless(), command) {
            (Some(mut command), _) => {
                if let Headless::Run(run) = &mut command {
                    run.input = cli.global.inputs.iter().map(InputValue::assignment).collect();
                }
                let reports = matches!(&command, Headless::Doctor(args) if args.report.is_some());
                let within = if reports { Options { report: setup::report_context(&files), ..within } } else { within };
                within_runtime(move |watch| headless::run(selection, command, within, log, watch))
            }
            (None, Cmd::Workflow(args)) => {
                let command = args.command.clone();
                within_runtime(move |_| headless::workflow(selection, command, within))
            }
            (None, Cmd::Runs(args)) => {
                let command = History::runs(args.command.clone());
                within_runtime(move |_| headless::history(selection, command, within))
            }
            (None, Cmd::Calls(args)) => {
                let command = History::Calls(args.command.clone().unwrap_or(CallsCmd::List { last: cli::history::LAST }));
                within_runtime(move |_| headless::history(selection, command, within))
            }
            (None, Cmd::History(args)) => {
                let command = History::Search(args.command.clone());
                within_runtime(move |_| headless::history(selection, command, within))
            }
            (None, Cmd::Drift(args)) => {
                let command = History::Drift(args.clone());
                within_runtime(move |_| headless::history(selection, command, within))
            }
            (None, Cmd::Pins(args)) => {
                let command = History::Pins(args.command.clone());
                within_runtime(move |_| headless::history(selection, command, within))
            }
            (None, _) => exit::USAGE,
        },
    }
}

/// Returns what the command line runs with the console.
fn with(cli: &Cli) -> console::With {
    let (control, name) = (cli.control.unwrap_or_default(), cli.name.clone());
    console::With { serve: cli.serve, control, name, ..console::With::default() }
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

/// Runs a command about files, without servers and without the watchdog: a signal ends it.
fn blocking(command: impl Future<Output = u8>, options: &Options) -> u8 {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            let failure = Failure::new(FailureKind::Transport, format!("no threads could be started: {error}"));
            cli::fail(failure, options, Io::real())
        }
    }
}

/// Returns the workspace that a command without servers uses, or prints the errors of the configuration.
fn workspace(selection: Selection, options: &Options) -> Result<Arc<WorkspaceService>, u8> {
    WorkspaceService::open(selection, options.secrets.clone(), ProjectErrors::Fail).map_err(|errors| refuse(&errors, options))
}

/// Prints the errors of a configuration; returns the exit code.
fn refuse(errors: &[ConfigError], options: &Options) -> u8 {
    let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    cli::fail(Failure::new(FailureKind::InvalidArguments, text), options, Io::real())
}

/// Returns what the command line selects. `demo` selects the demo servers. Fails with the error of the command line.
fn selection(cli: &Cli, demo: bool) -> Result<Selection, String> {
    let global = &cli.global;
    let process = LoadOptions::process();
    let inputs = global.inputs.iter().map(|input| (input.id.clone(), input.value.clone()));
    let mut load = LoadOptions {
        config_files: global.config.clone(),
        no_project: global.no_project_config,
        trust_hash: global.trust.clone(),
        unsandboxed: global.allow_unsandboxed,
        env: process.env.clone().with_inputs(inputs),
        environment: EnvironmentChoice::new(global.environment.clone().filter(|name| !name.is_empty())),
        ..process
    };
    match cli.target()? {
        Some(target) => load.extra.push(given(&target, cli, &load.env).map_err(|error| error.to_string())?),
        // They belong to the server that is added.
        None if matches!(cli.command, Some(Cmd::Add(_))) => {}
        None if !(global.header.is_empty() && global.env.is_empty()) => {
            let error = ConfigError::new("--header and --env apply to a server on the command line");
            let hint = "add a URL, or a command after --; for configured servers set `headers` or `env` in the file";
            return Err(error.hint(hint).to_string());
        }
        None => {}
    }
    let files = (load.extra.is_empty() && !demo) || !load.config_files.is_empty();
    load.servers_given = !files;
    let (elicit, sample) = (global.elicit.is_some(), global.sample.is_some());
    Ok(Selection { load, demo, files, only: global.servers.clone(), elicit, sample })
}

/// Returns the server of the command line.
fn given(target: &Target, cli: &Cli, env: &config::Env) -> Result<ServerSpec, ConfigError> {
    let (mut spec, after) = match target {
        Target::Command(argv) => (config::server_from_command(argv), &[][..]),
        Target::Url(url, headers) => (config::server_from_url(url)?, headers.as_slice()),
    };
    config::add_headers(&mut spec, &cli.global.header, Variables::Expanded)?;
    config::add_headers(&mut spec, after, Variables::Expanded)?;
    config::add_variables(&mut spec, &cli.global.env, env, Variables::Expanded)?;
    Ok(spec)
}
