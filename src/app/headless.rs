//! The headless face: configuration, engine, command, and everything put away again.

use std::time::Duration;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    indent,
    setup::{self, Setup},
};
use crate::{
    answers,
    cli::{
        self, Options,
        args::{CacheAction, Headless},
        print::Io,
        session::{Signal, Signals},
    },
    demo::Demo,
    domain::{
        call::{Failure, FailureKind},
        policy::{cache::CacheSettings, pattern::Pattern},
        text::visible_lines,
    },
};

/// Runs a headless command; gives the exit code.
pub async fn run(setup: Setup, command: Headless, options: Options) -> u8 {
    let refuse = |kind: FailureKind, text: String| cli::fail(Failure::new(kind, text), &options, Io::real());
    if let Some(problem) = &setup.problem {
        return refuse(FailureKind::InvalidArguments, problem.clone());
    }
    let loaded = match setup.read() {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(FailureKind::InvalidArguments, setup::all(&errors)),
    };
    if let Some(pending) = &loaded.pending {
        let text =
            format!("{} was not approved, so nothing was started. It would start:\n{}", pending.file.display(), indent(&pending.lines));
        let hint = format!("`switchboard approve` after reading these lines, or --trust {}, or --no-project-config", pending.hash);
        return cli::fail(Failure::new(FailureKind::Refused, text).hint(hint), &options, Io::real());
    }
    let mut io = Io::real();
    for problem in &loaded.problems {
        // A closed stderr is no reason to stop.
        let _ = writeln!(io.stderr, "warning: {}", visible_lines(&problem.to_string()));
    }
    let demo = match setup.demo.then(Demo::prepare).transpose() {
        Ok(demo) => demo,
        Err(error) => return refuse(FailureKind::NotReady, format!("the demo could not be set up: {error}")),
    };
    let servers = setup.servers(&loaded, demo.as_ref());
    if let Some(name) = setup.unknown(&servers).first() {
        let known: Vec<&str> = servers.iter().map(|s| s.id.as_str()).collect();
        return refuse(FailureKind::UnknownServer, format!("there is no server {name:?}; configured: {}", known.join(", ")));
    }
    let code = serve(setup, loaded, servers, demo, command, &options, io).await;
    code.unwrap_or_else(|why| refuse(FailureKind::NotReady, why))
}

async fn serve(
    _setup: Setup,
    loaded: crate::config::Loaded,
    servers: Vec<crate::domain::server::ServerSpec>,
    mut demo: Option<Demo>,
    command: Headless,
    options: &Options,
    mut io: Io,
) -> Result<u8, String> {
    if let Some(demo) = &mut demo {
        demo.launch().map_err(|e| format!("the demo could not be started: {e}"))?;
    }
    let engine = setup::engine(&loaded);
    if let Err(why) = setup::put_in_force(&engine, Setup::rules(&loaded, demo.is_some()), None) {
        let _ = writeln!(io.stderr, "warning: {}", visible_lines(&why));
    }
    engine.apply(servers);
    let code = cli::run(engine.clone(), &command, options, io, signals()).await;
    engine.shutdown().await;
    if let Some(demo) = demo {
        demo.stop().await;
    }
    Ok(code)
}

/// `cache`: opens the store that is configured and does without an engine what is asked.
pub async fn cache(setup: Setup, action: CacheAction, options: Options) -> u8 {
    let refuse = |text: String| cli::fail(Failure::new(FailureKind::InvalidArguments, text), &options, Io::real());
    let loaded = match setup.read() {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(setup::all(&errors)),
    };
    let settings = loaded.rules.cache;
    let store = if cli::cache::lasts(&settings) {
        // Nobody waits for an answer here: Redis gets more time than a call gives it.
        let patient = CacheSettings { wait: settings.wait.max(PATIENCE), ..settings.clone() };
        match answers::open(&patient) {
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
                // Asking is what shows whether it answers.
                let _ = store.get("stats").await;
                trouble = store.trouble();
            }
            cli::cache::stats(&settings, trouble, &options, Io::real())
        }
    }
}

/// How long `cache` waits for Redis.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ctrl-C and SIGTERM as the commands want them.
fn signals() -> Signals {
    let (sender, receiver) = mpsc::channel(4);
    for (kind, meaning) in [
        (SignalKind::interrupt(), Signal::Interrupt),
        (SignalKind::terminate(), Signal::Terminate),
        (SignalKind::hangup(), Signal::Terminate),
    ] {
        let Ok(mut stream) = signal(kind) else { continue };
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(meaning).await.is_err() {
                    return;
                }
            }
        });
    }
    Signals::new(receiver)
}
