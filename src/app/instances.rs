//! Engines for other processes: `up` runs one, `ps`, `down` and `attach` find it, and `--via` uses it for a command.

use std::{future::pending, io::Read, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use tokio::sync::watch as value;

use super::{
    console_logins::ConsoleLogins,
    engine::{Followers, engine, shutdown, wall_clock},
    headless::ending,
    login::credentials,
    preparation::{Prepared, recorded, warn},
};
use crate::{
    cache,
    cli::{
        self, Options,
        args::{DownArgs, UpAccess, UpArgs},
        exit,
        instances::{Listed, Summary},
        overrides,
        print::Io,
        session::Signal,
    },
    config::LoadOptions,
    control::{
        Control, Interest, LocalControl, PROTOCOL, RemoteControl, Role, Wanted,
        instances::{InstanceError, InstanceInfo, Instances, Running},
        socket::{self, InstanceDial},
    },
    demo::Demo,
    domain::{
        call::{Failure, FailureKind},
        program_session::SessionKind,
        secret::SecretRegistry,
        server::ServerSpec,
    },
    mcp::Connections,
    process::{self, Watch},
    telemetry::Log,
    workspace::{Selection, WorkspaceService},
};

/// The variable that marks the background process of `up --detach`: the id of the process that started it.
const DETACHED: &str = "SWITCHBOARD_DETACHED";
/// What the background process writes to its stdout when it accepts connections.
const READY: u8 = b'\n';
/// How long `down` waits for the end of an engine.
const DOWN: Duration = Duration::from_secs(60);
/// How long `ps` waits for the state of an engine.
const STATE: Duration = Duration::from_secs(2);
/// How often it is checked whether an engine has ended.
const CHECK: Duration = Duration::from_millis(20);

/// Returns the running engines of this user: in the runtime folder of the session if there is one, else in the state folder.
/// A state folder that was chosen has its own.
pub fn instances(load: &LoadOptions) -> Result<Instances, Failure> {
    let chosen = std::env::var_os("SWITCHBOARD_STATE_DIR").is_some_and(|folder| !folder.is_empty());
    let runtime =
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| !chosen && folder.is_absolute() && folder.is_dir());
    let state = load.state_dir.as_ref().map(|folder| folder.join("run"));
    let mut folders = runtime.map(|folder| folder.join("switchboard")).into_iter().chain(state);
    let Some(folder) = folders.next() else {
        return Err(Failure::new(FailureKind::Refused, "the state folder is unknown").hint("set SWITCHBOARD_STATE_DIR"));
    };
    Ok(Instances::new(folder, folders.collect()))
}

/// Returns the self-description of this process as an engine.
pub fn info(faces: Vec<String>, read_only: bool) -> InstanceInfo {
    InstanceInfo {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        started_ms: wall_clock(),
        faces,
        read_only,
    }
}

/// `up`: runs an engine until a signal; returns the exit code.
pub async fn up(selection: Selection, args: UpArgs, options: Options, log: Log, watch: Arc<Watch>) -> u8 {
    let detached = is_detached();
    if args.detach && !detached {
        return tokio::task::spawn_blocking(move || detach(&options)).await.unwrap_or(exit::FAILED);
    }
    if detached {
        // Away from the terminal and its signals. Fails only for the leader of a process group, which a started process is not.
        let _ = rustix::process::setsid();
    }
    let Prepared { workspace, demo, io } = match Prepared::new(selection, &options, true) {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    match serve(&workspace, demo, &args, detached, &options, &log, (io, &watch)).await {
        Ok(code) => code,
        Err(NotUp::Instance(error)) => cli::instances::fail(&error, &options, Io::real()),
        Err(NotUp::Failure(failure)) => cli::fail(failure, &options, Io::real()),
    }
}

/// Why an engine does not run.
enum NotUp {
    Instance(InstanceError),
    Failure(Failure),
}

impl From<InstanceError> for NotUp {
    fn from(error: InstanceError) -> NotUp {
        NotUp::Instance(error)
    }
}

impl From<Failure> for NotUp {
    fn from(failure: Failure) -> NotUp {
        NotUp::Failure(failure)
    }
}

async fn serve(
    workspace: &Arc<WorkspaceService>,
    mut demo: Option<Demo>,
    args: &UpArgs,
    detached: bool,
    options: &Options,
    log: &Log,
    (mut io, watch): (Io, &Watch),
) -> Result<u8, NotUp> {
    let (access, read_only) = match args.control {
        UpAccess::Full => (socket::Access::Full, false),
        UpAccess::ReadOnly => (socket::Access::ReadOnly, true),
    };
    // Before servers are started: another engine may have the name.
    let registration = instances(&workspace.selection().load)?.register(&args.name, &info(vec![], read_only)).await?;
    let listener = registration.listen()?;
    let (loaded, of_demo) = (workspace.loaded(), workspace.selection().demo);
    let store = match workspace.store() {
        Ok(store) => Some(store),
        Err(why) => {
            warn(&mut io, &format!("calls and runs are not stored: {why}"));
            None
        }
    };
    workspace.set_aside().iter().for_each(|moved| warn(&mut io, moved));
    if let Some(demo) = &mut demo {
        demo.launch().map_err(|error| Failure::new(FailureKind::NotReady, format!("the demo could not be started: {error}")))?;
    }
    let connections = Connections::new(process::own_program());
    let known = SecretRegistry::default();
    let auth = credentials(workspace, &known);
    let logins = auth.clone().map(|auth| (auth, known));
    let (control, measures) = engine(connections, logins, workspace, loaded.settings.retention, store.as_ref(), SessionKind::Engine);
    if let Some(auth) = auth {
        workspace.set_logins(Arc::new(ConsoleLogins::new(auth, &control)));
    }
    let followers = Followers::start(&control, log, recorded(&store, &loaded, of_demo), measures);
    let demo = crate::workspace::DemoSlot::new(demo.into());
    let following = workspace.follow(&control, demo.clone(), cache::open);
    match overrides::commands(&control.watch().0, options) {
        Ok(commands) => commands.into_iter().for_each(|command| drop(control.command(command))),
        Err(failure) => {
            drop(following);
            let demo = demo.lock().take();
            shutdown(&control, None, followers, demo).await;
            return Err(failure.into());
        }
    }
    let specs: Vec<ServerSpec> = control.watch().0.servers.iter().map(|server| (*server.spec).clone()).collect();
    // A closed stderr does not stop the engine.
    cli::instances::is_up(registration.name(), specs.len(), options, Io::real());
    if detached {
        leave_terminal();
    }
    let patience = ending(&specs);
    let mut signals = watch.command(options.timeout);
    let limit = async {
        match options.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => pending().await,
        }
    };
    let open = value::Sender::new(0);
    let code = tokio::select! {
        () = socket::accept(&registration, listener, &control, access, &open) => exit::OK,
        signal = signals.next() => match signal {
            Signal::Interrupt => exit::INTERRUPTED,
            Signal::Terminate => exit::TERMINATED,
        },
        () = limit => exit::TIMEOUT,
        () = idle(&control, open.subscribe(), args.idle) => exit::OK,
    };
    watch.ending(code, patience);
    drop(following);
    let demo = demo.lock().take();
    shutdown(&control, Some(code), followers, demo).await;
    // The name is free when everything has ended.
    drop(registration);
    Ok(code)
}

/// Resolves after `limit` without connections, calls and runs.
async fn idle(control: &LocalControl, mut open: value::Receiver<usize>, limit: Option<Duration>) {
    let Some(limit) = limit else { return pending().await };
    loop {
        // The sender lives as long as the engine.
        if open.wait_for(|open| *open == 0).await.is_err() {
            return pending().await;
        }
        tokio::select! {
            () = tokio::time::sleep(limit) => {
                let (state, _) = control.observe(Interest::Events);
                if state.stats.in_flight == 0 && state.runs.running == 0 {
                    return;
                }
            }
            _ = open.wait_for(|open| *open > 0) => {}
        }
    }
}

/// Returns whether this process is the background process of `up --detach`.
fn is_detached() -> bool {
    let starter = std::env::var(DETACHED).ok().and_then(|pid| pid.parse().ok());
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    starter.is_some() && starter == parent
}

/// Starts this command again in the background and waits until it accepts connections; returns the exit code.
fn detach(options: &Options) -> u8 {
    let fail = |why: String| cli::fail(Failure::new(FailureKind::NotReady, why), options, Io::real());
    let Some(program) = process::own_program() else { return fail("the path of this program is unknown".into()) };
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1)).env(DETACHED, std::process::id().to_string());
    // Its messages appear here until it is ready.
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return fail(format!("the engine could not be started: {error}")),
    };
    let mut ready = [0];
    let read = child.stdout.take().map_or(Ok(0), |mut stdout| stdout.read(&mut ready));
    if matches!(read, Ok(1)) {
        return exit::OK;
    }
    match child.wait() {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILED),
        Err(error) => fail(format!("the engine ended: {error}")),
    }
}

/// Reports that this process accepts connections, and closes its streams to the terminal.
fn leave_terminal() {
    let mut stdout = Io::real().stdout;
    // The process that started this one may have been killed.
    let _ = stdout.write_all(&[READY]).and_then(|()| stdout.flush());
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Connects to an engine.
pub async fn connect(instances: &Instances, name: &str, wanted: Wanted) -> Result<Arc<RemoteControl>, Failure> {
    let dial = Arc::new(InstanceDial::new(instances.clone(), name));
    let connected = RemoteControl::attach(dial, wanted).await;
    connected.map_err(|why| Failure::new(FailureKind::NotReady, format!("the engine {name} cannot be used: {why}")))
}

/// `ps`: prints the running engines; returns the exit code.
pub async fn ps(load: LoadOptions, options: Options) -> u8 {
    let instances = match instances(&load) {
        Ok(instances) => instances,
        Err(failure) => return cli::fail(failure, &options, Io::real()),
    };
    let running = match instances.list() {
        Ok(running) => running,
        Err(error) => return cli::instances::fail(&error, &options, Io::real()),
    };
    let listed = futures_util::future::join_all(running.into_iter().map(|running| listed(&instances, running))).await;
    let now = wall_clock();
    cli::instances::ps(&listed, now, &options, Io::real())
}

async fn listed(instances: &Instances, running: Running) -> Listed {
    let dial = Arc::new(InstanceDial::new(instances.clone(), &running.name));
    let connecting = RemoteControl::attach(dial, Wanted { frames: false, role: Role::Observer });
    let summary = match tokio::time::timeout(STATE, connecting).await {
        Ok(Ok(control)) => Ok(Summary::of(&control.observe(Interest::Events).0)),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(crate::control::ConnectError::Silent),
    };
    Listed { running, summary }
}

/// `down`: ends an engine and waits until it has ended; returns the exit code.
pub async fn down(load: LoadOptions, args: DownArgs, options: Options) -> u8 {
    let instances = match instances(&load) {
        Ok(instances) => instances,
        Err(failure) => return cli::fail(failure, &options, Io::real()),
    };
    let running = match instances.find(args.name.as_deref()) {
        Ok(running) => running,
        Err(error) => return cli::instances::fail(&error, &options, Io::real()),
    };
    let name = running.name;
    let fail = |why: String| cli::fail(Failure::new(FailureKind::NotReady, why), &options, Io::real());
    let Some(info) = running.info else { return fail(format!("engine {name} is starting; try again")) };
    // The lock of the process is held, so the id is still its own.
    let pid = i32::try_from(info.pid).ok().and_then(rustix::process::Pid::from_raw);
    let signalled = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
    if let Some(Err(error)) = signalled {
        return fail(format!("engine {name} (pid {}) cannot be ended: {error}", info.pid));
    }
    let ended = async {
        loop {
            match instances.find(Some(&name)) {
                Ok(running) if running.info.as_ref().is_some_and(|now| now.pid == info.pid) => tokio::time::sleep(CHECK).await,
                _ => return,
            }
        }
    };
    match tokio::time::timeout(options.timeout.unwrap_or(DOWN), ended).await {
        Ok(()) => cli::instances::is_down(&name, &options, Io::real()),
        Err(_) => fail(format!("engine {name} (pid {}) is still ending; its log says what it waits for", info.pid)),
    }
}
