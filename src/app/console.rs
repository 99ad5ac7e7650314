//! Console: draws the first frame immediately, while servers start concurrently.

use std::{net::SocketAddr, os::fd::BorrowedFd, sync::Arc};

use tokio_util::task::AbortOnDropHandle;

use super::{
    engine::{Followers, engine, prepare_demo, shutdown},
    headless::ending,
    preparation::recorded,
    refuse, serve,
};
use crate::{
    cache,
    cli::{self, Options, exit, overrides, print::Io},
    control::{Control, LocalControl},
    demo,
    domain::{
        call::{Failure, FailureKind},
        event::{Notice, NoticeLevel},
        server::ServerSpec,
    },
    mcp::{Connections, reaper::Reaper},
    process::{self, Watch},
    telemetry::Log,
    tui::{self, ConsoleOptions, Left, terminal::TerminalGuard},
    workspace::{DemoSlot, ProjectErrors, Selection, WorkspaceService},
};

/// The helper process, which restores the terminal if this process ends without doing so.
struct Guard(Arc<Reaper>);

impl TerminalGuard for Guard {
    fn taken(&self, terminal: BorrowedFd<'_>, modes: &str) {
        self.0.terminal_taken(terminal, modes);
    }

    fn given_back(&self) {
        self.0.terminal_back();
    }
}

/// What runs with the console in the same process.
#[derive(Clone, Copy, Debug, Default)]
pub struct With {
    /// Calls of the demo in the background.
    pub traffic: bool,
    /// The tour of the demo.
    pub tour: bool,
    /// The gateway at this address.
    pub serve: Option<SocketAddr>,
}

/// Runs the console; returns the exit code.
pub async fn run(selection: Selection, options: Options, log: Log, with: With, watch: Arc<Watch>) -> u8 {
    // The console has no output of its own, so its failures are for people.
    let plain = Options::default();
    let fail = |failure: Failure| cli::fail(failure, &plain, Io::real());
    let io = Io::real();
    if !io.stdin_tty || !io.stdout_tty {
        let failure = Failure::new(FailureKind::InvalidArguments, "the console needs a terminal");
        return fail(failure.hint("use the commands for scripts: `switchboard --help`"));
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
        Some(address) => match serve::Listening::open(address, &loaded.settings.gateway).await {
            Ok(listening) => Some(listening),
            Err(why) => return fail(Failure::new(FailureKind::InvalidArguments, why)),
        },
        None => None,
    };
    let (store, trouble) = match workspace.store() {
        Ok(store) => (Some(store), None),
        Err(why) => (None, Some(format!("calls and runs are not stored: {why}"))),
    };
    let connections = Arc::new(Connections::new(process::own_program()));
    let guard = Arc::new(Guard(connections.reaper()));
    let engine = engine(connections, &workspace, loaded.settings.retention, store.as_ref());
    let followers = Followers::start(&engine, &log, recorded(&store, &loaded, workspace.selection().demo));
    let warning = |text: String| engine.notice(Notice::new(NoticeLevel::Warn, text));
    trouble.into_iter().chain(workspace.set_aside()).for_each(warning);
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
        listening.serve(&engine, &loaded.settings.separator, &loaded.settings.gateway)
    });
    watch.console();
    let took = watch.clone();
    let heard = Arc::new(move || took.heard());
    let (rest, guard) = (process::trim as fn(), Some(guard as Arc<dyn TerminalGuard>));
    let console = ConsoleOptions { preferences, exports: workspace.exports(), rest, heard, guard, tour: with.tour };
    let shown = tui::run(engine.clone(), console).await;
    let servers: Vec<ServerSpec> = engine.watch().0.servers.iter().map(|server| (*server.spec).clone()).collect();
    watch.ending(shown.as_ref().map_or(exit::FAILED, |left| code_of(*left)), ending(&servers));
    drop((traffic, following));
    if let Some(gateway) = gateway {
        gateway.end().await;
    }
    let demo = demo.lock().take();
    shutdown(&engine, None, followers, demo).await;
    match shown {
        Ok(left) => code_of(left),
        Err(error) => fail(Failure::new(FailureKind::Transport, format!("the console ended: {error}"))),
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
