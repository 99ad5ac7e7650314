//! Headless commands: loads the configuration, starts the engine, runs the command and shuts down.

use std::{sync::Arc, time::Duration};

use super::{
    approval_hint,
    history::Recorder,
    setup::{self, Setup},
    waiting,
    workflow_library::{headless_library, warnings},
    workflows,
};
use crate::{
    cache,
    cli::{
        self, Options,
        args::{CacheAction, Headless, RunArgs},
        print::Io,
        session,
    },
    demo::Demo,
    domain::{
        call::{Failure, FailureKind},
        capabilities::Answerable,
        policy::{cache::CacheSettings, pattern::Pattern},
        retention::Retention,
        run::{RunId, RunSpec},
        server::ServerSpec,
        text::visible_lines,
    },
    mcp::Connections,
    process::{Watch, own_program},
    store::Store,
    telemetry::events,
};

/// Runs a headless command; returns the exit code.
pub async fn run(setup: Setup, command: Headless, options: Options, watch: Arc<Watch>) -> u8 {
    let refuse = |kind: FailureKind, text: String| cli::fail(Failure::new(kind, text), &options, Io::real());
    if let Some(problem) = &setup.problem {
        return refuse(FailureKind::InvalidArguments, problem.clone());
    }
    let loaded = match setup.read() {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(FailureKind::InvalidArguments, setup::all(&errors)),
    };
    // A project with workflows only does not block: a command that names one of them is refused below.
    if let Some(pending) = loaded.pending.as_ref().filter(|pending| !pending.servers.is_empty()) {
        let waiting = waiting(pending);
        let text = format!("{} was not approved, so nothing was started. It would start:\n{}", pending.file.display(), waiting.block());
        return cli::fail(Failure::new(FailureKind::Refused, text).hint(approval_hint(pending)), &options, Io::real());
    }
    options.secrets.learn(setup::secrets(&loaded));
    let mut io = Io::real();
    for problem in setup.warnings(&loaded, &command) {
        // A closed stderr does not stop the command.
        let _ = writeln!(io.stderr, "warning: {}", visible_lines(&problem.to_string()));
    }
    let demo = match setup.demo.then(Demo::prepare).transpose() {
        Ok(demo) => demo,
        Err(error) => return refuse(FailureKind::NotReady, format!("the demo could not be set up: {error}")),
    };
    let servers = setup.servers(&loaded, demo.as_ref());
    if let Some(name) = setup.unknown(&servers).first() {
        let all = Setup { only: vec![], ..setup.clone() }.servers(&loaded, demo.as_ref());
        let known: Vec<&str> = all.iter().map(|s| s.id.as_str()).collect();
        return cli::fail(session::no_server(name, &known), &options, Io::real());
    }
    let code = serve(setup, loaded, servers, demo, command, &options, (io, &watch)).await;
    code.unwrap_or_else(|why| refuse(FailureKind::NotReady, why))
}

/// Retention of headless commands: a loop may make many calls, and they are printed as they happen.
const HEADLESS_RETENTION: Retention = Retention { calls: 500, result_bytes: 4 << 20, frames: 500, frame_bytes: 4 << 20, logs: 100 };

async fn serve(
    setup: Setup,
    loaded: crate::config::Loaded,
    servers: Vec<ServerSpec>,
    mut demo: Option<Demo>,
    command: Headless,
    options: &Options,
    (mut io, watch): (Io, &Watch),
) -> Result<u8, String> {
    let runs = matches!(command, Headless::Run(_) | Headless::CheckLive(_));
    // Do not open a store that is not needed.
    let records = matches!(command, Headless::Run(_)) || (loaded.settings.history_calls > 0 && !setup.demo && command.calls());
    let wanted = records || (!setup.demo && servers.iter().any(ServerSpec::probed_over_stdio));
    let store = match wanted.then(|| setup::store(&setup, &loaded)).transpose() {
        Ok(store) => store,
        // Without the store a program that does not answer the probe is waited for.
        Err(_) if !records => None,
        Err(why) => {
            let what =
                if runs { "the run is not stored in the journal and cannot be resumed" } else { "the call is not stored in the history" };
            // A closed stderr does not stop the command.
            let _ = writeln!(io.stderr, "warning: {what}: {}", visible_lines(&why));
            None
        }
    };
    report_set_aside(store.as_ref(), &mut io);
    let later = store.clone();
    let mut options = options.clone();
    if runs {
        options.library = headless_library(&setup, &loaded);
        for warning in warnings(&options.library, &loaded) {
            let _ = writeln!(io.stderr, "warning: {}", visible_lines(&warning));
        }
    }
    if let Headless::Run(args) = &command
        && let Some(part) = &args.resume
    {
        match resumed(store.as_ref(), part, args).await {
            Ok(found) => options.resume = Some(found),
            Err(failure) => return Ok(cli::fail(failure, &options, io)),
        }
    }
    if let Some(demo) = &mut demo {
        demo.launch().map_err(|e| format!("the demo could not be started: {e}"))?;
    }
    let mut loaded = loaded;
    if matches!(command, Headless::Run(_)) {
        loaded.settings.retention = loaded.settings.retention.at_most(&HEADLESS_RETENTION);
    }
    let answerable = Answerable { forms: setup.elicit, pages: false, sampling: setup.sample };
    let connections = Arc::new(Connections::new(own_program()).answering(answerable));
    let engine = setup::engine_over(connections, &loaded, setup.demo, store.as_ref());
    options.secrets = engine.secrets().clone();
    setup.log.mask(engine.secrets());
    let events = events::follow(&*engine);
    let recorder = store.filter(|_| !setup.demo).map(|store| Recorder::start(&engine, store));
    if let Err(why) = setup::put_in_force(&engine, Setup::rules(&loaded, demo.is_some()), None) {
        let _ = writeln!(io.stderr, "warning: {}", visible_lines(&why));
    }
    let patience = ending(&servers);
    engine.apply(servers);
    let code = cli::run(engine.clone(), &command, &options, io, watch.command(options.timeout)).await;
    watch.ending(code, patience);
    tracing::info!(target: "switchboard::process", code, "stopping the servers");
    engine.shutdown().await;
    events.finish().await;
    if let Some(recorder) = recorder {
        recorder.finish().await;
    }
    if let Some(demo) = demo {
        demo.stop().await;
    }
    tracing::info!(target: "switchboard::process", "stopped");
    report_set_aside(later.as_ref(), &mut Io::real());
    Ok(code)
}

/// Reports the databases that were moved aside, because the user may want to recover them.
pub fn report_set_aside(store: Option<&Store>, io: &mut Io) {
    for moved in store.map(Store::take_set_aside).unwrap_or_default() {
        tracing::warn!(target: "switchboard::store", "{moved}");
        // A closed stderr does not stop the command.
        let _ = writeln!(io.stderr, "warning: {}", visible_lines(&moved.to_string()));
    }
}

/// Returns the run to resume and its specification.
async fn resumed(store: Option<&Store>, part: &str, args: &RunArgs) -> Result<(RunId, Arc<RunSpec>), Failure> {
    let Some(store) = store else {
        return Err(Failure::new(FailureKind::InvalidArguments, "there is no journal to resume from"));
    };
    let record = workflows::recorded_run(store, part).await?;
    let none = || Failure::new(FailureKind::InvalidArguments, format!("the journal of the run {} has no beginning", record.run));
    let spec = record.spec().cloned().ok_or_else(none)?;
    cli::run::check_resumed(args, &record)?;
    Ok((record.run, spec))
}

/// `cache`: opens the configured store and runs the subcommand without an engine.
pub async fn cache(setup: Setup, action: CacheAction, options: Options) -> u8 {
    let refuse = |text: String| cli::fail(Failure::new(FailureKind::InvalidArguments, text), &options, Io::real());
    let loaded = match setup.read() {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(setup::all(&errors)),
    };
    options.secrets.learn(setup::secrets(&loaded));
    let settings = loaded.rules.cache;
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
