//! Console: draws the first frame immediately, starts servers concurrently and reloads the configuration.

use std::{
    os::fd::BorrowedFd,
    sync::{Arc, Mutex},
};

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{
    headless,
    history::Recorder,
    library_watcher::LibraryWatcher,
    preferences,
    setup::{self, Setup},
    welcome,
};
use crate::{
    cli::{self, Options, exit, overrides, print::Io},
    config::{self, ConfigError, FoundImport, LoadOptions, Loaded, PendingApproval, Reload},
    control::{Control, LocalControl},
    demo::{self, Demo},
    domain::{
        call::{Failure, FailureKind},
        event::{Notice, NoticeLevel},
        server::ServerSpec,
    },
    mcp::{Connections, reaper::Reaper},
    process::{self, Watch},
    store::Store,
    telemetry::events,
    tui::{
        self, ApprovalPrompt, ConsoleOptions, ConsoleRequest, ConsoleUpdate, Left, Preferences, Startup,
        overlay::welcome::{Chosen, WelcomeState},
        terminal::TerminalGuard,
    },
};

/// Most runs of earlier sessions in the list of workflows.
const PAST: usize = 200;

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

/// Runs the console; returns the exit code.
pub async fn run(setup: Setup, options: Options, traffic: bool, watch: Arc<Watch>) -> u8 {
    let refuse = |kind: FailureKind, text: String| cli::fail(Failure::new(kind, text), &Options::default(), Io::real());
    if let Some(problem) = &setup.problem {
        return refuse(FailureKind::InvalidArguments, problem.clone());
    }
    let io = Io::real();
    if !io.stdin_tty || !io.stdout_tty {
        let failure = Failure::new(FailureKind::InvalidArguments, "the console needs a terminal");
        return cli::fail(failure.hint("use the commands for scripts: `switchboard --help`"), &Options::default(), Io::real());
    }
    let loaded = match setup.read() {
        Ok(loaded) => loaded,
        // Errors of a project do not prevent the start: the watcher reads it again and reports its errors as notices.
        Err(errors) => match config::load(&LoadOptions { no_project: true, ..setup.load.clone() }) {
            Ok(loaded) if !setup.load.no_project => {
                setup.log_configuration(&loaded);
                loaded
            }
            _ => return refuse(FailureKind::InvalidArguments, setup::all(&errors)),
        },
    };
    let mut demo = match setup.demo.then(Demo::prepare).transpose() {
        Ok(demo) => demo,
        Err(error) => return refuse(FailureKind::NotReady, format!("the demo could not be set up: {error}")),
    };
    let preferences = match preferences::preferences(&loaded) {
        Ok(preferences) => preferences,
        Err(errors) => return refuse(FailureKind::InvalidArguments, setup::all(&errors)),
    };
    let (store, trouble) = match setup::store(&setup, &loaded) {
        Ok(store) => (Some(store), None),
        Err(why) => (None, Some(why)),
    };
    let connections = Arc::new(Connections::new(process::own_program()));
    let guard = Arc::new(Guard(connections.reaper()));
    let engine = setup::engine_over(connections, &loaded, setup.demo, store.as_ref());
    setup.log.mask(engine.secrets());
    let events = events::follow(&*engine);
    let history = store.clone();
    if let Some(why) = trouble {
        engine.notice(Notice::new(NoticeLevel::Warn, format!("calls and runs are not stored: {why}")));
    }
    for moved in history.iter().flat_map(Store::take_set_aside) {
        engine.notice(Notice::new(NoticeLevel::Warn, moved.to_string()));
    }
    let recorder = store.filter(|_| !setup.demo && loaded.settings.history_calls > 0).map(|store| Recorder::start(&engine, store));
    if let Some(Err(error)) = demo.as_mut().map(Demo::launch) {
        engine.notice(Notice::new(NoticeLevel::Error, format!("the HTTP server of the demo could not be started: {error}")));
    }
    put_in_force(&engine, &loaded, demo.is_some(), None);
    engine.apply(setup.servers(&loaded, demo.as_ref()));
    match overrides::commands(&engine.watch().0, &options) {
        Ok(commands) => commands.into_iter().for_each(|command| drop(engine.command(command))),
        Err(failure) => {
            engine.shutdown().await;
            if let Some(demo) = demo {
                demo.stop().await;
            }
            return refuse(failure.kind, failure.message);
        }
    }
    publish_errors(&engine, &loaded.problems, NoticeLevel::Warn);
    let (requests, wanted) = mpsc::channel(64);
    let (found, offer) = if loaded.servers.is_empty() && setup.files { welcome::offer(&setup.load) } else { Default::default() };
    let (updates, news) = mpsc::channel(16);
    if let Some(store) = history {
        let updates = updates.clone();
        // The first frame does not wait for it.
        tokio::spawn(async move {
            if let Ok(runs) = store.runs(PAST, None).await {
                let _ = updates.send(ConsoleUpdate::Past(runs)).await;
            }
        });
    }
    let options =
        ConsoleOptions { guard: Some(guard), ..console_options(&setup, &loaded, demo.is_some(), preferences, offer, (requests, news)) };
    // The welcome dialog can start the demo later.
    let demo = Arc::new(Mutex::new(demo));
    // The first frame does not wait for workflow files.
    let library = LibraryWatcher::new(setup.load.clone(), demo.clone(), Default::default());
    let traffic = traffic.then(|| AbortOnDropHandle::new(tokio::spawn(make_traffic(engine.clone()))));
    let follower = AbortOnDropHandle::new(tokio::spawn(follow(
        setup,
        loaded,
        engine.clone(),
        Faces { wanted, updates, library },
        found,
        demo.clone(),
    )));
    watch.console();
    let took = watch.clone();
    let options = ConsoleOptions { heard: Arc::new(move || took.heard()), ..options };
    let shown = tui::run(engine.clone(), options).await;
    let servers: Vec<ServerSpec> = engine.watch().0.servers.iter().map(|server| (*server.spec).clone()).collect();
    watch.ending(shown.as_ref().map_or(exit::FAILED, |left| code_of(*left)), headless::ending(&servers));
    drop((traffic, follower));
    tracing::info!(target: "switchboard::process", "stopping the servers");
    engine.shutdown().await;
    events.finish().await;
    if let Some(recorder) = recorder {
        recorder.finish().await;
    }
    let demo = demo.lock().map(|mut demo| demo.take()).unwrap_or_default();
    if let Some(demo) = demo {
        demo.stop().await;
    }
    tracing::info!(target: "switchboard::process", "stopped");
    match shown {
        Ok(left) => code_of(left),
        Err(error) => refuse(FailureKind::Transport, format!("the console ended: {error}")),
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

fn console_options(
    setup: &Setup,
    loaded: &Loaded,
    demo: bool,
    preferences: Preferences,
    offer: WelcomeState,
    (requests, updates): (mpsc::Sender<ConsoleRequest>, mpsc::Receiver<ConsoleUpdate>),
) -> ConsoleOptions {
    let startup = match &loaded.pending {
        Some(pending) => Startup::Approval(prompt(pending)),
        None if loaded.servers.is_empty() && !demo && setup.files => Startup::Welcome(offer),
        None if loaded.servers.is_empty() && !demo => Startup::Empty,
        None => Startup::Normal,
    };
    let title = if demo { "demo".into() } else { title(setup, loaded, setup.load.extra.first()) };
    let state = setup.load.state_dir.as_deref().filter(|_| !setup.demo);
    ConsoleOptions {
        preferences,
        mouse: loaded.settings.console.mouse,
        title,
        startup,
        recall: state.map(config::load_recall).unwrap_or_default(),
        workflows: Default::default(),
        invocation: setup.invocation(),
        rest: process::trim,
        heard: Arc::new(|| {}),
        guard: None,
        exports: setup.load.state_dir.as_ref().map_or_else(|| setup.load.cwd.clone(), |state| state.join("exports")),
        requests,
        updates,
    }
}

/// Returns the approval prompt of a project.
fn prompt(pending: &PendingApproval) -> ApprovalPrompt {
    ApprovalPrompt { path: pending.file.display().to_string(), lines: pending.lines.clone(), hash: pending.hash.clone() }
}

/// Returns the title of the console: the name of the only server, else the configuration file.
fn title(setup: &Setup, loaded: &Loaded, only: Option<&ServerSpec>) -> String {
    let own = |file: &&std::path::PathBuf| setup.load.state_dir.as_ref().is_none_or(|state| !file.starts_with(state)) && file.exists();
    let file = loaded.files.iter().find(own).and_then(|f| f.file_name()).map(|f| f.to_string_lossy().into_owned());
    only.map(|spec| spec.id.to_string()).or(file).unwrap_or_else(|| "no configuration".into())
}

/// Channels to and from the console.
struct Faces {
    wanted: mpsc::Receiver<ConsoleRequest>,
    updates: mpsc::Sender<ConsoleUpdate>,
    library: LibraryWatcher,
}

/// Applies changes of files, and the user's decisions about the project.
async fn follow(
    setup: Setup,
    loaded: Loaded,
    engine: Arc<LocalControl>,
    Faces { mut wanted, updates, mut library }: Faces,
    mut found: Vec<FoundImport>,
    demo: Arc<Mutex<Option<Demo>>>,
) {
    let mut pending = loaded.pending.clone();
    // Servers of the welcome dialog that are in no file: the demo's and typed ones.
    let mut extra: Vec<ServerSpec> = vec![];
    let mut invocation = setup.invocation();
    let mut preferences = preferences::preferences(&loaded).ok();
    let mut last = loaded.clone();
    // Calls to demo servers are not stored.
    let memory = setup.load.state_dir.clone().filter(|_| !setup.demo);
    let mut recall = memory.as_deref().map(config::load_recall).unwrap_or_default();
    let mut storage_error_reported = false;
    let mut reloads = Some(config::watch(setup.load.clone(), Some(loaded)));
    loop {
        if let Some(library) = library.reload(&last).await {
            let _ = updates.send(ConsoleUpdate::Workflows(library)).await;
        }
        let reload = tokio::select! {
            () = library.changed() => continue,
            request = wanted.recv() => match (request, &pending) {
                (Some(ConsoleRequest::Approve(hash)), Some(waiting)) if hash == waiting.hash => {
                    let Some(state_dir) = &setup.load.state_dir else { continue };
                    if let Err(error) = config::approve(waiting, state_dir) {
                        publish_errors(&engine, &[error], NoticeLevel::Error);
                        continue;
                    }
                    // Read the project again and compare its hash, so that only approved content is started.
                    match config::load(&setup.load) {
                        Ok(loaded) => Reload::Loaded(Box::new(loaded)),
                        Err(errors) => Reload::Broken(errors),
                    }
                }
                (Some(ConsoleRequest::FindServers), _) => {
                    let load = setup.load.clone();
                    // May read many files of other clients.
                    let Ok((again, mut offer)) = tokio::task::spawn_blocking(move || welcome::offer(&load)).await else { continue };
                    if let Ok(demo) = demo.lock() {
                        welcome::mark(&mut offer, &again, &servers_now(&setup, &last, demo.as_ref(), &extra));
                        offer.demo = demo.is_some();
                    }
                    found = again;
                    let _ = updates.send(ConsoleUpdate::Welcome(offer)).await;
                    continue;
                }
                (Some(ConsoleRequest::Start(chosen)), _) => {
                    let loaded = match chosen {
                        Chosen::Import(at) => match found.get(at) {
                            Some(import) => welcome::take_over(import, &setup.load).inspect(|loaded| {
                                if let Ok(demo) = demo.lock() {
                                    let here = servers_now(&setup, loaded, demo.as_ref(), &extra);
                                    extra.extend(welcome::left_out(import, &here));
                                }
                            }),
                            None => continue,
                        },
                        Chosen::Demo => start_demo(&engine, &demo).map(|specs| {
                            extra.extend(specs);
                            invocation.flags.push("--demo".to_owned());
                            last.clone()
                        }),
                        Chosen::Open(text) => welcome::typed(&text, &setup.load).map(|specs| {
                            invocation.target = specs.first().map(|spec| spec.launch.summary());
                            extra.extend(specs);
                            let text = "This applies to this session; add it to a [servers.NAME] table of your configuration to keep it.";
                            engine.notice(Notice::new(NoticeLevel::Info, text));
                            last.clone()
                        }),
                    };
                    match loaded {
                        Ok(loaded) => {
                            let title = title(&setup, &loaded, extra.first());
                            let _ = updates.send(ConsoleUpdate::Servers(invocation.clone(), title)).await;
                            Reload::Loaded(Box::new(loaded))
                        }
                        Err(errors) => Reload::Broken(errors),
                    }
                }
                (Some(ConsoleRequest::Remember(mut entry)), _) => {
                    entry.arguments = entry.arguments.redacted(&engine.secrets().redactor());
                    recall.note(entry);
                    if let Some(Err(error)) = memory.as_deref().map(|state| config::save_recall(state, &recall))
                        && !std::mem::replace(&mut storage_error_reported, true)
                    {
                        engine.notice(Notice::new(NoticeLevel::Warn, format!("arguments could not be stored: {error}")));
                    }
                    continue;
                }
                (Some(ConsoleRequest::SaveWorkflow { name, text }), _) => {
                    let text = engine.secrets().redactor().redact_json(&text);
                    engine.notice(match library.save(&last, &name, &text) {
                        Ok(path) => Notice::new(NoticeLevel::Info, format!("workflow written: {}", path.display())),
                        Err(why) => Notice::new(NoticeLevel::Error, format!("the workflow could not be written: {why}")),
                    });
                    continue;
                }
                (Some(_), _) => continue,
                (None, _) => return,
            },
            reload = next(&mut reloads) => reload,
        };
        match reload {
            Reload::Loaded(loaded) => {
                setup.log_configuration(&loaded);
                let fresh = loaded.pending.as_ref().map(|fresh| &fresh.hash) != pending.as_ref().map(|old| &old.hash);
                if let Some(waiting) = loaded.pending.as_ref().filter(|_| fresh) {
                    // The dialog opens when the user stops typing.
                    let text = format!("{} has changed and needs your approval", waiting.file.display());
                    engine.notice(Notice { detail: waiting.lines.clone(), ..Notice::new(NoticeLevel::Warn, text) });
                }
                pending = loaded.pending.clone();
                publish_errors(&engine, &loaded.problems, NoticeLevel::Warn);
                match preferences::preferences(&loaded) {
                    Ok(now) if preferences.as_ref() != Some(&now) => {
                        preferences = Some(now.clone());
                        let _ = updates.send(ConsoleUpdate::Preferences(Box::new(now))).await;
                    }
                    Ok(_) => {}
                    Err(errors) => publish_errors(&engine, &errors, NoticeLevel::Error),
                }
                let (servers, demo_runs) = match demo.lock() {
                    Ok(demo) => (servers_now(&setup, &loaded, demo.as_ref(), &extra), demo.is_some()),
                    Err(_) => continue,
                };
                put_in_force(&engine, &loaded, demo_runs, Some(&last));
                engine.apply(servers);
                if fresh {
                    let _ = updates.send(ConsoleUpdate::Approval(pending.as_ref().map(prompt))).await;
                }
                last = *loaded;
            }
            Reload::Broken(errors) => publish_errors(&engine, &errors, NoticeLevel::Error),
        }
    }
}

/// Returns the servers to run after a reload: those selected by the command line, including the demo's, and `extra` from
/// the welcome dialog.
fn servers_now(setup: &Setup, loaded: &Loaded, demo: Option<&Demo>, extra: &[ServerSpec]) -> Vec<ServerSpec> {
    // A demo started by the welcome dialog is in `extra`, regardless of --server.
    let mut servers = setup.servers(loaded, demo.filter(|_| setup.demo));
    let missing: Vec<ServerSpec> = extra.iter().filter(|spec| servers.iter().all(|s| s.id != spec.id)).cloned().collect();
    servers.extend(missing);
    servers
}

/// Applies the configured rules and publishes the errors.
fn put_in_force(engine: &LocalControl, loaded: &Loaded, demo: bool, before: Option<&Loaded>) {
    if let Err(why) = setup::put_in_force(engine, Setup::rules(loaded, demo), before.map(|before| &before.rules.cache)) {
        engine.notice(Notice::new(NoticeLevel::Warn, why));
    }
}

/// Starts the demo's servers in addition to the running ones; returns their specifications.
fn start_demo(engine: &LocalControl, slot: &Mutex<Option<Demo>>) -> Result<Vec<ServerSpec>, Vec<ConfigError>> {
    let trouble = |error: &dyn std::fmt::Display| vec![ConfigError::new(format!("the demo could not be set up: {error}"))];
    let Ok(mut slot) = slot.lock() else { return Ok(vec![]) };
    if slot.is_some() {
        return Ok(vec![]);
    }
    let mut demo = Demo::prepare().map_err(|e| trouble(&e))?;
    if let Err(error) = demo.launch() {
        engine.notice(Notice::new(NoticeLevel::Error, format!("the HTTP server of the demo could not be started: {error}")));
    }
    let specs = demo.specs();
    *slot = Some(demo);
    Ok(specs)
}

async fn next(reloads: &mut Option<mpsc::Receiver<Reload>>) -> Reload {
    if let Some(receiver) = reloads {
        if let Some(reload) = receiver.recv().await {
            return reload;
        }
        *reloads = None;
    }
    std::future::pending().await
}

fn publish_errors(engine: &LocalControl, errors: &[ConfigError], level: NoticeLevel) {
    for error in errors {
        let text = error.to_string();
        let mut lines = text.lines().map(str::to_owned);
        let mut notice = Notice::new(level, lines.next().unwrap_or_default());
        notice.detail = lines.collect();
        if level == NoticeLevel::Error {
            notice.detail.push("the previous configuration remains active".into());
        }
        engine.notice(notice);
    }
}

/// Makes background calls to the demo's servers.
async fn make_traffic(engine: Arc<LocalControl>) {
    let mut traffic = demo::plan(fastrand::u64(..));
    loop {
        let (pause, spec) = traffic.next();
        tokio::time::sleep(pause).await;
        engine.submit(spec);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::Cli;

    fn setup(dir: &std::path::Path, line: &[&str]) -> Setup {
        let cli = Cli::try_parse_from(["switchboard"].iter().chain(line)).unwrap();
        let mut setup = Setup::new(&cli, cli.global.demo);
        setup.load = LoadOptions { cwd: dir.to_owned(), config_files: setup.load.config_files, ..LoadOptions::default() };
        setup
    }

    fn ids(servers: &[ServerSpec]) -> Vec<&str> {
        servers.iter().map(|spec| spec.id.as_str()).collect()
    }

    #[test]
    fn an_edited_file_takes_neither_the_demos_servers_nor_the_welcomes() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(dir.path().join("x.toml"), format!("[servers.{name}]\ncommand = \"x\"\n")).unwrap();
        let typed = [config::server_from_command(&["git".into()])];
        let demo = Demo::prepare().unwrap();
        let both = setup(dir.path(), &["--demo", "--config", "x.toml"]);
        for name in ["one", "two"] {
            write(name);
            let servers = servers_now(&both, &both.read().unwrap(), Some(&demo), &typed);
            assert_eq!(ids(&servers), [&demo::NAMES[..], &[name, "git"]].concat());
        }
        // Started from the welcome, it is among what came that way, and there once.
        let plain = setup(dir.path(), &["--config", "x.toml", "--server", "two"]);
        let servers = servers_now(&plain, &plain.read().unwrap(), Some(&demo), &demo.specs());
        assert_eq!(ids(&servers), [&["two"][..], &demo::NAMES[..]].concat());
    }
    #[tokio::test]
    async fn a_project_that_changes_asks_for_approval_in_the_console() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().canonicalize().unwrap();
        let write = |name: &str| {
            let text = format!("[servers.{name}]\ncommand = \"x\"\ndisabled = true\n");
            std::fs::write(project.join("switchboard.toml"), text).unwrap();
        };
        write("one");
        let mut setup = setup(&project, &[]);
        setup.load.state_dir = Some(project.join("state"));
        config::approve(&setup.read().unwrap().pending.unwrap(), &project.join("state")).unwrap();
        let loaded = setup.read().unwrap();
        assert_eq!((ids(&loaded.servers), &loaded.pending), (vec!["one"], &None));
        let engine = setup::engine(&loaded, false, None);
        let ((requests, wanted), (updates, mut news)) = (mpsc::channel(4), mpsc::channel(4));
        let library = LibraryWatcher::new(setup.load.clone(), Arc::default(), Default::default());
        let faces = Faces { wanted, updates, library };
        let follower = AbortOnDropHandle::new(tokio::spawn(follow(setup, loaded, engine.clone(), faces, vec![], Arc::default())));
        write("two");
        let mut approval = async || loop {
            // Only so that a failure ends.
            let update = tokio::time::timeout(std::time::Duration::from_secs(30), news.recv()).await;
            if let ConsoleUpdate::Approval(prompt) = update.expect("an update in time").expect("the follower lives") {
                return prompt;
            }
        };
        let prompt = approval().await.unwrap();
        assert!(prompt.lines[0].starts_with("two (disabled): x"), "{:?}", prompt.lines);
        assert!(engine.watch().0.servers.is_empty(), "the approved content differs from the current content");
        requests.send(ConsoleRequest::Approve(prompt.hash)).await.unwrap();
        assert_eq!(approval().await, None, "the dialog has nothing to ask any more");
        let servers: Vec<String> = engine.watch().0.servers.iter().map(|server| server.id().to_string()).collect();
        assert_eq!(servers, ["two"]);
        drop(follower);
        engine.shutdown().await;
    }
}
