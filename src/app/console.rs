//! Console: draws the first frame immediately, while servers start concurrently.

use std::{io, net::SocketAddr, os::fd::BorrowedFd, sync::Arc, time::Duration};

use tokio_util::task::AbortOnDropHandle;

use super::{
    console_logins::ConsoleLogins,
    engine::{Followers, engine, prepare_demo, shutdown},
    headless::ending,
    instances::{connect, instances},
    login::credentials,
    preparation::recorded,
    refuse,
    serve::{self, ControlSocket},
};
use crate::{
    cache,
    cli::{
        self, Options,
        args::{AttachArgs, ServeAccess},
        exit, overrides,
        print::Io,
    },
    control::{Control, LocalControl, Role, Wanted},
    demo,
    domain::{
        call::{Failure, FailureKind},
        event::{Notice, NoticeLevel},
        program_session::SessionKind,
        secret::SecretRegistry,
        server::ServerSpec,
    },
    mcp::{Connections, reaper::Reaper},
    process::{self, Watch},
    telemetry::Log,
    tui::{self, ConsoleOptions, Left, Preferences, terminal::TerminalGuard},
    workspace::{DemoSlot, ProjectErrors, Selection, WorkspaceService},
};

/// The helper process, which restores the terminal if this process ends without doing so.
pub(super) struct Guard(Arc<Reaper>);

impl TerminalGuard for Guard {
    fn taken(&self, terminal: BorrowedFd<'_>, modes: &str) {
        self.0.terminal_taken(terminal, modes);
    }

    fn given_back(&self) {
        self.0.terminal_back();
    }
}

/// What runs with the console in the same process.
#[derive(Clone, Debug, Default)]
pub struct With {
    /// Calls of the demo in the background.
    pub traffic: bool,
    /// The tour of the demo.
    pub tour: bool,
    /// The gateway at this address.
    pub serve: Option<SocketAddr>,
    /// What others may do with the engine of the gateway.
    pub control: ServeAccess,
    /// The name of the engine of the gateway.
    pub name: Option<String>,
}

/// Runs the console; returns the exit code.
pub async fn run(selection: Selection, options: Options, log: Log, with: With, watch: Arc<Watch>) -> u8 {
    // The console has no output of its own, so its failures are for people.
    let plain = Options::default();
    let fail = |failure: Failure| cli::fail(failure, &plain, Io::real());
    if let Err(code) = check_terminal() {
        return code;
    }
    // Errors of a project do not prevent the start: it is read again when it changes.
    let workspace = match WorkspaceService::open(selection, options.secrets.clone(), ProjectErrors::Ignore) {
        Ok(workspace) => workspace,
        Err(errors) => return refuse(&errors, &plain),
    };
    let mut demo = match prepare_demo(&workspace, &plain) {
        Ok(demo) => demo,
        Err(code) => return code,
    };
    let preferences = match tui::preferences(&workspace.settings()) {
        Ok(preferences) => preferences,
        Err(errors) => return refuse(&errors, &plain),
    };
    let loaded = workspace.loaded();
    let listening = match with.serve {
        Some(address) => match serve::Listening::open(address, &workspace).await {
            Ok(listening) => Some(listening),
            Err(why) => return fail(Failure::new(FailureKind::InvalidArguments, why)),
        },
        None => None,
    };
    let faces = listening.iter().map(|listening| listening.place().to_owned()).collect();
    let socket = match listening.is_some() {
        true => ControlSocket::open(&workspace, with.control, with.name.as_deref(), faces).await,
        false => Ok(None),
    };
    let (socket, no_socket) = match socket {
        Ok(socket) => (socket, None),
        Err(error) if with.name.is_none() => (None, Some(format!("attach and --via cannot use this engine: {error}"))),
        Err(error) => return cli::instances::fail(&error, &plain, Io::real()),
    };
    let (store, trouble) = match workspace.store() {
        Ok(store) => (Some(store), None),
        Err(why) => (None, Some(format!("calls and runs are not stored: {why}"))),
    };
    let connections = Connections::new(process::own_program());
    let guard = Arc::new(Guard(connections.reaper()));
    let known = SecretRegistry::default();
    let auth = credentials(&workspace, &known);
    let logins = auth.clone().map(|auth| (auth, known));
    let (engine, measures) = engine(connections, logins, &workspace, loaded.settings.retention, store.as_ref(), SessionKind::Console);
    if let Some(auth) = auth.clone() {
        workspace.set_logins(Arc::new(ConsoleLogins::new(auth, &engine)));
    }
    let followers = Followers::start(&engine, &log, recorded(&store, &loaded, workspace.selection().demo), measures);
    let warning = |text: String| engine.notice(Notice::new(NoticeLevel::Warn, text));
    trouble.into_iter().chain(no_socket).chain(workspace.set_aside()).for_each(warning);
    if let Some(Err(error)) = demo.as_mut().map(demo::Demo::launch) {
        engine.notice(Notice::new(NoticeLevel::Error, format!("the HTTP server of the demo could not be started: {error}")));
    }
    // The welcome dialog can start the demo later.
    let demo = DemoSlot::new(demo.into());
    let following = workspace.follow(&engine, demo.clone(), cache::open);
    match overrides::commands(&engine.watch().0, &options) {
        Ok(commands) => commands.into_iter().for_each(|command| drop(engine.command(command))),
        Err(failure) => {
            drop(following);
            let demo = demo.lock().take();
            shutdown(&engine, None, followers, demo).await;
            return fail(Failure::new(failure.kind, failure.message));
        }
    }
    let traffic = with.traffic.then(|| AbortOnDropHandle::new(tokio::spawn(make_traffic(engine.clone()))));
    let gateway = listening.map(|listening| {
        engine.notice(Notice::new(NoticeLevel::Info, format!("clients connect to {}", listening.place())));
        listening.serve(&engine, auth, &workspace, followers.metrics.clone())
    });
    let socket = socket.map(|socket| socket.accept(&engine));
    let opening = (with.traffic && !with.tour).then(demo::opening);
    let console = ConsoleOptions { tour: with.tour, opening, ..console_options(preferences, &workspace, guard, &watch) };
    let shown = tui::run(engine.clone(), console).await;
    let servers: Vec<ServerSpec> = engine.watch().0.servers.iter().map(|server| (*server.spec).clone()).collect();
    watch.ending(shown.as_ref().map_or(exit::FAILED, |left| code_of(*left)), ending(&servers));
    drop((traffic, following));
    if let Some(gateway) = gateway {
        gateway.end().await;
    }
    if let Some(socket) = socket {
        socket.close().await;
    }
    let demo = demo.lock().take();
    shutdown(&engine, None, followers, demo).await;
    exit_code(shown)
}

/// `attach`: opens the console on a running engine; returns the exit code.
pub async fn attach(selection: Selection, args: AttachArgs, options: Options, watch: Arc<Watch>) -> u8 {
    let plain = Options::default();
    let fail = |failure: Failure| cli::fail(failure, &plain, Io::real());
    let (workspace, preferences) = match open_preferences(selection, &options) {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    let found = instances(&workspace.selection().load).map_err(fail);
    let instances = match found {
        Ok(instances) => instances,
        Err(code) => return code,
    };
    let name = match instances.find(args.name.as_deref()) {
        Ok(running) => running.name,
        Err(error) => return cli::instances::fail(&error, &plain, Io::real()),
    };
    let role = if args.read_only { Role::Observer } else { Role::Operator };
    let control = match connect(&instances, &name, Wanted { frames: true, role }).await {
        Ok(control) => control,
        Err(failure) => return fail(failure),
    };
    ended(tui::run(control, console_options(preferences, &workspace, guard(), &watch)).await, &watch)
}

/// Checks the terminal and reads the preferences of this user, for a console that runs no servers. Errors of a project are ignored.
/// Fails with an exit code, after printing why.
pub(super) fn open_preferences(selection: Selection, options: &Options) -> Result<(Arc<WorkspaceService>, Preferences), u8> {
    check_terminal()?;
    let refuse = |errors: Vec<_>| refuse(&errors, &Options::default());
    let workspace = WorkspaceService::open(selection, options.secrets.clone(), ProjectErrors::Ignore).map_err(refuse)?;
    let preferences = tui::preferences(&workspace.settings()).map_err(refuse)?;
    Ok((workspace, preferences))
}

/// Reports the end of a console that runs no servers to the watchdog; returns the exit code.
pub(super) fn ended(left: io::Result<Left>, watch: &Watch) -> u8 {
    watch.ending(left.as_ref().map_or(exit::FAILED, |left| code_of(*left)), Duration::ZERO);
    exit_code(left)
}

/// Returns the exit code of a console. Prints the failure, if it failed.
fn exit_code(left: io::Result<Left>) -> u8 {
    let failure = |error| Failure::new(FailureKind::Transport, format!("the console ended: {error}"));
    left.map_or_else(|error| cli::fail(failure(error), &Options::default(), Io::real()), code_of)
}

/// Returns the helper process of a console without servers.
pub(super) fn guard() -> Arc<Guard> {
    Arc::new(Guard(Connections::new(process::own_program()).reaper()))
}

/// Fails with an exit code if the console has no terminal.
fn check_terminal() -> Result<(), u8> {
    let io = Io::real();
    if io.stdin_tty && io.stdout_tty {
        return Ok(());
    }
    let failure = Failure::new(FailureKind::InvalidArguments, "the console needs a terminal");
    Err(cli::fail(failure.hint("use the commands for scripts: `switchboard --help`"), &Options::default(), io))
}

/// Returns the options of a console, and makes the watchdog expect one.
pub(super) fn console_options(
    preferences: Preferences,
    workspace: &WorkspaceService,
    guard: Arc<Guard>,
    watch: &Arc<Watch>,
) -> ConsoleOptions {
    watch.console();
    let took = watch.clone();
    let heard = Arc::new(move || took.heard());
    ConsoleOptions {
        preferences,
        exports: workspace.exports(),
        rest: process::trim,
        heard,
        guard: Some(guard),
        tour: false,
        opening: None,
        begin: None,
    }
}

fn code_of(left: Left) -> u8 {
    match left {
        Left::Quit => exit::OK,
        Left::Interrupted => exit::INTERRUPTED,
        Left::Terminated => exit::TERMINATED,
        Left::HungUp => exit::HUNG_UP,
    }
}

/// Makes background calls to the demo's servers.
async fn make_traffic(engine: Arc<LocalControl>) {
    let mut traffic = demo::plan(fastrand::u64(..));
    loop {
        let (pause, spec) = traffic.next();
        tokio::time::sleep(pause).await;
        if engine.submit(spec).await.is_err() {
            return;
        }
    }
}
