//! Headless commands: loads the configuration, starts the engine, runs the command and shuts down.

use std::{sync::Arc, time::Duration};

use super::{
    engine::{Followers, engine, shutdown},
    login,
    preparation::{Prepared, warn},
    via::{self, Via},
    workspace,
};
use crate::{
    cache,
    cli::{
        self, Options,
        args::{CacheAction, Headless, WorkflowCmd},
        exit,
        history::History,
        print::Io,
    },
    control::{Control, Workspace},
    demo::Demo,
    domain::{
        call::{Failure, FailureKind},
        capabilities::Answerable,
        policy::{cache::CacheSettings, pattern::Pattern},
        program_session::SessionKind,
        retention::Retention,
        secret::SecretRegistry,
        server::ServerSpec,
    },
    mcp::Connections,
    process::{self, Watch},
    telemetry::Log,
    workspace::{Selection, WorkspaceService},
};

/// Runs a headless command; returns the exit code.
pub async fn run(selection: Selection, command: Headless, mut options: Options, log: Log, watch: Arc<Watch>) -> u8 {
    if options.via.is_some() {
        let workspace = match workspace(selection.clone(), &options) {
            Ok(workspace) => workspace,
            Err(code) => return code,
        };
        match via::choose(&workspace, &options).await {
            Ok(Some(via)) => return through(via, &workspace, command, options, &watch).await,
            Ok(None) => options.via = Some(None),
            Err(failure) => return cli::fail(failure, &options, Io::real()),
        }
    }
    let Prepared { workspace, demo, io } = match Prepared::new(selection, &options, command.lists_servers()) {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let (loaded, lists) = (workspace.loaded(), command.lists_servers());
    // Servers of the command line are not those of a running engine.
    let names_servers = workspace.selection().demo || workspace.selection().load.servers_given;
    if let Some(via) = loaded.settings.via.clone().filter(|_| options.via.is_none() && !names_servers) {
        options.via = Some(Some(via));
        match via::choose(&workspace, &options).await {
            Ok(Some(via)) => return through(via, &workspace, command, options, &watch).await,
            Ok(None) => options.via = Some(None),
            Err(failure) => return cli::fail(failure, &options, io),
        }
    }
    let code = serve(&workspace, demo, command, &options, &log, (io, &watch)).await;
    let code = code.map(|code| if lists && code == exit::OK && loaded.lost_entries().next().is_some() { exit::PARTIAL } else { code });
    workspace.set_aside().iter().for_each(|moved| warn(&mut Io::real(), moved));
    code.unwrap_or_else(|why| cli::fail(Failure::new(FailureKind::NotReady, why), &options, Io::real()))
}

/// Runs a headless command on a running engine; returns the exit code.
async fn through(via: Via, workspace: &WorkspaceService, command: Headless, options: Options, watch: &Watch) -> u8 {
    let mut io = Io::real();
    let mut options = Options { via: Some(Some(via.name)), journaled: true, ..options };
    if matches!(command, Headless::Run(_) | Headless::CheckLive(_)) {
        workspace.read_library();
        let state = workspace.state().borrow().clone();
        cli::workflow::library_warnings(&state).iter().for_each(|warning| warn(&mut io, warning));
        options.library = (*state.library).clone();
    }
    if let Headless::Run(args) = &command
        && let Some(part) = args.recorded()
    {
        match cli::run::recorded(&*via.control.workspace(), part, args).await {
            Ok(found) => options.recorded = Some(found),
            Err(failure) => return cli::fail(failure, &options, io),
        }
    }
    let code = cli::run(via.control, &command, &options, io, watch.command(options.timeout)).await;
    watch.ending(code, Duration::ZERO);
    code
}

/// Retention of headless commands: a loop may make many calls, and they are printed as they happen.
const HEADLESS_RETENTION: Retention = Retention { calls: 500, result_bytes: 4 << 20, frames: 500, frame_bytes: 4 << 20, logs: 100 };

async fn serve(
    workspace: &Arc<WorkspaceService>,
    mut demo: Option<Demo>,
    command: Headless,
    options: &Options,
    log: &Log,
    (mut io, watch): (Io, &Watch),
) -> Result<u8, String> {
    let (loaded, of_demo) = (workspace.loaded(), workspace.selection().demo);
    let runs = matches!(command, Headless::Run(_) | Headless::CheckLive(_));
    // Do not open a store that is not needed.
    let records = matches!(command, Headless::Run(_)) || (loaded.settings.history.calls > 0 && !of_demo && command.calls());
    // The last known catalogs and the state of breakers are in the store.
    let wanted = records || (!of_demo && !workspace.selection().servers(&loaded, None).is_empty());
    let store = wanted.then(|| workspace.store()).transpose().unwrap_or_else(|why| {
        if records {
            let what =
                if runs { "the run is not stored in the journal and cannot be resumed" } else { "the call is not stored in the history" };
            warn(&mut io, &format!("{what}: {why}"));
        }
        None
    });
    workspace.set_aside().iter().for_each(|moved| warn(&mut io, moved));
    let mut options = options.clone();
    if runs {
        workspace.read_library();
        let state = workspace.state().borrow().clone();
        cli::workflow::library_warnings(&state).iter().for_each(|warning| warn(&mut io, warning));
        options.library = (*state.library).clone();
    }
    options.journaled = store.is_some();
    if let Headless::Run(args) = &command
        && let Some(part) = args.recorded()
    {
        match cli::run::recorded(&**workspace, part, args).await {
            Ok(found) => options.recorded = Some(found),
            Err(failure) => return Ok(cli::fail(failure, &options, io)),
        }
    }
    if let Some(demo) = &mut demo {
        demo.launch().map_err(|e| format!("the demo could not be started: {e}"))?;
    }
    let mut retention = loaded.settings.retention;
    if matches!(command, Headless::Run(_)) {
        retention = retention.at_most(&HEADLESS_RETENTION);
    }
    let answerable = Answerable { forms: workspace.selection().elicit, pages: false, sampling: workspace.selection().sample };
    let connections = Connections::new(process::own_program()).answering(answerable);
    let secrets = SecretRegistry::default();
    let auth = match login::credentials(workspace, &secrets) {
        Some(auth) if options.login => {
            let servers = workspace.selection().servers(&loaded, demo.as_ref());
            Some(login::with_logins(auth, &servers, &mut io).await)
        }
        auth => auth,
    };
    let (engine, measures) =
        engine(connections, auth.map(|auth| (auth, secrets)), workspace, retention, store.as_ref(), SessionKind::Headless);
    options.secrets = engine.secrets().clone();
    let written = store.clone();
    let followers = Followers::start(&engine, log, store.filter(|_| !of_demo), measures);
    engine.start_on_demand();
    if let Err(why) = workspace.start(&engine, demo.as_ref(), cache::open) {
        warn(&mut io, &why);
    }
    engine.catalogs_loaded().await;
    let patience = ending(&engine.watch().0.servers.iter().map(|server| (*server.spec).clone()).collect::<Vec<_>>());
    let code = cli::run(engine.clone(), &command, &options, io, watch.command(options.timeout)).await;
    watch.ending(code, patience);
    shutdown(&engine, Some(code), followers, demo).await;
    if let Some(store) = written {
        // What this command learned about the servers; a failure is logged.
        let _ = store.flush().await;
    }
    Ok(code)
}

/// `workflow`, except for `check --live`: needs no servers.
pub async fn workflow(selection: Selection, command: WorkflowCmd, options: Options) -> u8 {
    let workspace = match workspace(selection, &options) {
        Ok(workspace) => workspace,
        Err(code) => return code,
    };
    workspace.read_library();
    let code = cli::workflow::run(&*workspace, &command, &options, Io::real()).await;
    workspace.set_aside().iter().for_each(|moved| warn(&mut Io::real(), moved));
    code
}

/// `runs list`, `runs show`, `calls`, `history`, `drift` and `pins`: need no servers.
pub async fn history(selection: Selection, command: History, options: Options) -> u8 {
    let workspace = match workspace(selection, &options) {
        Ok(workspace) => workspace,
        Err(code) => return code,
    };
    if matches!(command, History::Drift(_)) {
        workspace.read_library();
    }
    let code = cli::history::run(&*workspace, &command, &options, Io::real()).await;
    workspace.set_aside().iter().for_each(|moved| warn(&mut Io::real(), moved));
    code
}

/// `cache`: opens the configured store and runs the subcommand without an engine.
pub async fn cache(selection: Selection, action: CacheAction, options: Options) -> u8 {
    let refuse = |text: String| cli::fail(Failure::new(FailureKind::InvalidArguments, text), &options, Io::real());
    let workspace = match workspace(selection, &options) {
        Ok(workspace) => workspace,
        Err(code) => return code,
    };
    let settings = workspace.loaded().rules.cache.clone();
    let store = if cli::cache::is_persistent(&settings) {
        // No call waits here, so Redis gets more time.
        let patient = CacheSettings { timeout: settings.timeout.max(PATIENCE), ..settings.clone() };
        match cache::open(&patient) {
            Ok(store) => Some(store),
            Err(why) => return refuse(why),
        }
    } else {
        None
    };
    match action {
        CacheAction::Purge { pattern } => {
            let wanted = match Pattern::parse(&pattern) {
                Ok(wanted) => wanted,
                Err(why) => return refuse(format!("the pattern {pattern:?} {why}")),
            };
            let outcome = match &store {
                Some(store) => Some(store.purge(&wanted).await),
                None => None,
            };
            cli::cache::purged(&pattern, outcome, &options, Io::real())
        }
        CacheAction::Stats => {
            let mut trouble = None;
            if let Some(store) = &store {
                // A request shows whether the store responds.
                let _ = store.get("stats").await;
                trouble = store.trouble();
            }
            cli::cache::stats(&settings, trouble, &options, Io::real())
        }
    }
}

/// How long `cache` waits for Redis.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns the longest shutdown of these servers: closing stdin, SIGTERM and SIGKILL each have their own timeout.
pub fn ending(servers: &[ServerSpec]) -> Duration {
    servers.iter().map(|server| server.timeouts.stop).max().unwrap_or_default() * 3
}
