//! The gateway: offers the servers to other programs, over standard streams, HTTP or a Unix socket.

use std::{
    fs::DirBuilder,
    future::pending,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch::{self as value, Receiver},
    task::JoinHandle,
};

use super::{
    engine::{Followers, engine, shutdown},
    gateway_logins::GatewayLogins,
    headless::ending,
    instances::{info, instances},
    login::credentials,
    preparation::{Prepared, recorded, warn},
    token,
};
use crate::{
    auth::Auth,
    cache,
    cli::{
        self, Options,
        args::{ServeAccess, ServeArgs},
        exit, overrides,
        print::Io,
        session::Signal,
    },
    config::GatewaySettings,
    control::{
        Control, LocalControl,
        instances::{InstanceError, InstanceInfo, Instances, Registration},
        socket,
    },
    demo::Demo,
    domain::{
        call::{Failure, FailureKind},
        capabilities::Answerable,
        profile::{self, Profile},
        program_session::SessionKind,
        secret::{Secret, SecretRegistry},
        server::ServerSpec,
    },
    files::{self, Allowed},
    gateway::{
        ClientLogins, EngineUpstream, Gateway, SealKey, Settings,
        http::{Access, Listener, MetricsText, Service, SessionLimits, TokenLookup},
        stdio,
    },
    mcp::Connections,
    process::{self, Watch},
    telemetry::Log,
    workspace::{Selection, WorkspaceService},
};

/// The file with the key that seals what clients return, in the state folder.
const SEAL_KEY: &str = "gateway.key";
/// Largest token file, in bytes.
const TOKEN: u64 = 4 << 10;

/// Where clients connect.
enum Face {
    /// The standard streams of this process: one client, of a profile.
    Stdio(String),
    /// Listeners.
    Http(Vec<Opened>),
}

impl Face {
    /// Returns where clients connect.
    fn places(&self) -> Vec<String> {
        match self {
            Face::Stdio(_) => vec!["stdio".into()],
            Face::Http(opened) => opened.iter().map(|(.., place)| place.clone()).collect(),
        }
    }

    /// Returns whether all clients are on this machine, so that the redirect of a login reaches it.
    fn is_local(&self) -> bool {
        match self {
            Face::Stdio(_) => true,
            Face::Http(opened) => opened.iter().all(|(_, access, _)| access.address.is_none_or(|address| address.ip().is_loopback())),
        }
    }
}

/// Runs `serve`; returns the exit code.
pub async fn run(selection: Selection, args: ServeArgs, options: Options, log: Log, watch: Arc<Watch>) -> u8 {
    let fail = |kind, why: String| cli::fail(Failure::new(kind, why), &options, Io::real());
    if options.elicit.is_some() || options.sample.is_some() {
        return fail(FailureKind::InvalidArguments, "--elicit and --sample do not apply to serve: its clients answer".into());
    }
    let Prepared { workspace, demo, mut io } = match Prepared::new(selection, &options, false) {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let loaded = workspace.loaded();
    if loaded.settings.gateway.faulty {
        let why = "the settings of the gateway have errors, so a profile or an access rule may be missing";
        return cli::fail(Failure::new(FailureKind::InvalidArguments, why).hint("correct [gateway] in the configuration"), &options, io);
    }
    let issued = token::issued(&workspace.selection().load);
    let face = match face(&args, &loaded.settings.gateway, issued, &mut io).await {
        Ok(face) => face,
        Err(why) => return fail(FailureKind::InvalidArguments, why),
    };
    let socket = match ControlSocket::open(&workspace, args.control, args.name.as_deref(), face.places()).await {
        Ok(socket) => socket,
        // The gateway does not need it.
        Err(error) if args.name.is_none() => {
            warn(&mut io, &format!("attach and --via cannot use this engine: {error}"));
            None
        }
        Err(error) => return cli::instances::fail(&error, &options, io),
    };
    match serve(&workspace, demo, (face, socket), &options, &log, (io, &watch)).await {
        Ok(code) => code,
        Err(failure) => cli::fail(failure, &options, Io::real()),
    }
}

/// Opens the listeners of the command line, or those of the configuration if it has none. Standard streams without any.
async fn face(args: &ServeArgs, settings: &GatewaySettings, issued: Option<Arc<dyn TokenLookup>>, io: &mut Io) -> Result<Face, String> {
    let on_line = args.http.is_some() || args.socket.is_some();
    // A profile is named for the one client on the standard streams.
    let stdio = args.stdio || args.profile.is_some();
    let (address, socket) = match on_line || stdio {
        true => (args.http, args.socket.as_ref()),
        false => (settings.http, settings.socket.as_ref()),
    };
    if stdio || (address.is_none() && socket.is_none()) {
        let name = args.profile.clone().unwrap_or_else(|| profile::DEFAULT.to_owned());
        let known = |profile: &Profile| *profile.name == *name;
        if name != profile::DEFAULT && !settings.profiles.iter().any(known) {
            return Err(format!("the profile {name:?} is not in the configuration"));
        }
        return Ok(Face::Stdio(name));
    }
    let opened = open(address, socket, args, settings, issued).await?;
    for (_, _, place) in &opened {
        note(io, &format!("listening on {place}"));
    }
    Ok(Face::Http(opened))
}

/// A listener, who may use it, and where it is.
type Opened = (Listener, Access, String);

/// Opens listeners.
async fn open(
    address: Option<SocketAddr>,
    socket: Option<&PathBuf>,
    args: &ServeArgs,
    settings: &GatewaySettings,
    issued: Option<Arc<dyn TokenLookup>>,
) -> Result<Vec<Opened>, String> {
    let token = match args.token_file.as_ref().or(settings.token_file.as_ref()) {
        Some(file) => Some(token(file)?),
        None => None,
    };
    let of_profile = |(name, file): &(Arc<str>, PathBuf)| Ok::<_, String>((name.clone(), self::token(file)?));
    let profile_tokens: Vec<_> = settings.profile_tokens.iter().map(of_profile).collect::<Result<_, _>>()?;
    let access = |address: Option<SocketAddr>| Access {
        address,
        hosts: [settings.hosts.as_slice(), &args.allow_host].concat(),
        origins: [settings.origins.as_slice(), &args.allow_origin].concat(),
        token: token.clone(),
        profile_tokens: profile_tokens.clone(),
        issued: issued.clone(),
    };
    let mut listeners = vec![];
    if let Some(address) = address {
        access(Some(address))
            .check_exposure()
            .map_err(|why| format!("{why}: give --token-file FILE, or issue one: switchboard token new NAME"))?;
        let listener = TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        // Port 0 was replaced by a free one.
        let address = listener.local_addr().map_err(|error| format!("cannot listen on {address}: {error}"))?;
        listeners.push((Listener::Tcp(listener), access(Some(address)), format!("http://{address}/mcp")));
    }
    if let Some(path) = socket {
        let listener = Listener::unix(path).map_err(|error| format!("cannot listen on {}: {error}", path.display()))?;
        listeners.push((listener, access(None), path.display().to_string()));
    }
    Ok(listeners)
}

/// The gateway next to a console in the same process.
pub struct ConsoleGateway {
    stop: value::Sender<bool>,
    served: JoinHandle<u8>,
}

/// A listener of a console that was opened before the servers start.
pub struct Listening(Vec<Opened>);

impl Listening {
    /// Listens on an address with the token, hosts and origins of the configuration, and with the tokens of the state folder.
    pub async fn open(address: SocketAddr, workspace: &WorkspaceService) -> Result<Listening, String> {
        let issued = token::issued(&workspace.selection().load);
        open(Some(address), None, &ServeArgs::default(), &workspace.loaded().settings.gateway, issued).await.map(Listening)
    }

    /// Returns where it is.
    pub fn place(&self) -> &str {
        self.0.first().map_or("", |(.., place)| place)
    }

    /// Serves clients with the servers of an engine and its credentials.
    pub fn serve(
        self,
        engine: &Arc<LocalControl>,
        auth: Option<Auth>,
        workspace: &WorkspaceService,
        metrics: MetricsText,
    ) -> ConsoleGateway {
        let face = Face::Http(self.0);
        let gateway = gateway(engine, auth.filter(|_| face.is_local()), workspace);
        let (stop, stopped) = value::channel(false);
        ConsoleGateway { stop, served: tokio::spawn(serve_face(gateway, face, metrics, stopped)) }
    }
}

impl ConsoleGateway {
    /// Stops to accept requests and waits for those in progress.
    pub async fn end(self) {
        let _ = self.stop.send(true);
        let _ = self.served.await;
    }
}

/// The control socket of a gateway's engine, which is not open yet.
pub struct ControlSocket {
    registration: Registration,
    listener: UnixListener,
    access: socket::Access,
}

/// An open control socket.
pub struct OpenSocket(JoinHandle<()>);

impl ControlSocket {
    /// Registers the engine under a name. `None` if nobody may connect.
    pub async fn open(
        workspace: &WorkspaceService,
        access: ServeAccess,
        name: Option<&str>,
        faces: Vec<String>,
    ) -> Result<Option<ControlSocket>, InstanceError> {
        // Without a state folder there is nowhere to register.
        let Ok(instances) = instances(&workspace.selection().load) else { return Ok(None) };
        let own = format!("serve-{}", std::process::id());
        ControlSocket::register(&instances, access, name.unwrap_or(&own), |read_only| info(faces, read_only)).await
    }

    /// Registers an engine that describes itself so, depending on whether others only observe it. `None` if nobody may connect.
    pub async fn register(
        instances: &Instances,
        access: ServeAccess,
        name: &str,
        info: impl FnOnce(bool) -> InstanceInfo,
    ) -> Result<Option<ControlSocket>, InstanceError> {
        let access = match access {
            ServeAccess::Off => return Ok(None),
            ServeAccess::ReadOnly => socket::Access::ReadOnly,
            ServeAccess::Full => socket::Access::Full,
        };
        let registration = instances.register(name, &info(access == socket::Access::ReadOnly)).await?;
        let listener = registration.listen()?;
        Ok(Some(ControlSocket { registration, listener, access }))
    }

    /// Accepts consoles and commands. The gateway continues if the files of the engine are removed.
    pub fn accept(self, engine: &Arc<LocalControl>) -> OpenSocket {
        let (engine, open) = (engine.clone(), value::Sender::new(0));
        OpenSocket(tokio::spawn(async move {
            socket::accept(&self.registration, self.listener, &engine, self.access, &open).await;
        }))
    }
}

impl OpenSocket {
    /// Closes the connections and removes the files.
    pub async fn close(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

/// Reads the token from its file.
fn token(file: &Path) -> Result<Secret, String> {
    let text = files::read_text(file, Allowed { bytes: TOKEN, within: None });
    let text = text.map_err(|why| format!("the token file {} {why}", file.display()))?;
    let token = text.trim().to_owned();
    match token.is_empty() {
        true => Err(format!("the token file {} is empty", file.display())),
        false => Ok(Secret::literal(token)),
    }
}

/// Returns the key of this user that seals what clients return, from the state folder. It is created once. Without it, such states
/// end with the process.
fn seal_key(state: &Path) -> Option<SealKey> {
    let path = state.join(SEAL_KEY);
    let read = || {
        let bytes = files::read(&path, Allowed { bytes: 32, within: None }).ok()?;
        Some(SealKey(bytes.try_into().ok()?))
    };
    if let Some(key) = read() {
        return Some(key);
    }
    let key = SealKey::random()?;
    let created = DirBuilder::new().recursive(true).mode(0o700).create(state).and_then(|()| files::create(&path, &key.0));
    match created {
        Ok(()) => Some(key),
        // Another process was faster, or the folder cannot be written.
        Err(_) => read(),
    }
}

/// Prints a line on stderr.
fn note(io: &mut Io, text: &str) {
    // A closed stderr does not stop the gateway.
    let _ = writeln!(io.stderr, "{text}");
}

async fn serve(
    workspace: &Arc<WorkspaceService>,
    mut demo: Option<Demo>,
    (face, socket): (Face, Option<ControlSocket>),
    options: &Options,
    log: &Log,
    (mut io, watch): (Io, &Watch),
) -> Result<u8, Failure> {
    let (loaded, of_demo) = (workspace.loaded(), workspace.selection().demo);
    // The store has the last known lists, for clients that ask before the servers have started.
    let store = match workspace.store() {
        Ok(store) => Some(store),
        Err(why) => {
            warn(&mut io, &format!("calls are not stored, and lists are not remembered: {why}"));
            None
        }
    };
    workspace.set_aside().iter().for_each(|moved| warn(&mut io, moved));
    if let Some(demo) = &mut demo {
        demo.launch().map_err(|error| Failure::new(FailureKind::NotReady, format!("the demo could not be started: {error}")))?;
    }
    // Nobody answers questions in the gateway's own name; each client answers those of its calls.
    let connections = Connections::new(process::own_program()).answering(Answerable::NONE);
    let known = SecretRegistry::default();
    let auth = credentials(workspace, &known);
    let logins = auth.clone().map(|auth| (auth, known));
    let (control, measures) = engine(connections, logins, workspace, loaded.settings.retention, store.as_ref(), SessionKind::Gateway);
    let followers = Followers::start(&control, log, recorded(&store, &loaded, of_demo), measures);
    if let Err(why) = workspace.start(&control, demo.as_ref(), cache::open) {
        warn(&mut io, &why);
    }
    let commands = match overrides::commands(&control.watch().0, options) {
        Ok(commands) => commands,
        Err(failure) => {
            shutdown(&control, None, followers, demo).await;
            return Err(failure);
        }
    };
    commands.into_iter().for_each(|command| drop(control.command(command)));
    let specs: Vec<ServerSpec> = control.watch().0.servers.iter().map(|server| (*server.spec).clone()).collect();
    let patience = ending(&specs);
    let _following = workspace.follow_library();
    let gateway = gateway(&control, auth.filter(|_| face.is_local()), workspace);
    let socket = socket.map(|socket| socket.accept(&control));
    let mut signals = watch.command(options.timeout);
    let limit = async {
        match options.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => pending().await,
        }
    };
    let (stop, stopped) = value::channel(false);
    let mut served = tokio::spawn(serve_face(gateway, face, followers.metrics.clone(), stopped));
    let code = tokio::select! {
        served = &mut served => served.unwrap_or(exit::FAILED),
        signal = signals.next() => match signal {
            Signal::Interrupt => exit::INTERRUPTED,
            Signal::Terminate => exit::TERMINATED,
        },
        () = limit => exit::TIMEOUT,
    };
    watch.ending(code, patience + stdio::DRAIN.max(crate::gateway::http::GRACE));
    if !served.is_finished() {
        let _ = stop.send(true);
        // A second signal does not wait for requests in progress.
        tokio::select! {
            _ = &mut served => {}
            _ = signals.next() => served.abort(),
        }
    }
    if let Some(socket) = socket {
        socket.close().await;
    }
    shutdown(&control, Some(code), followers, demo).await;
    Ok(code)
}

/// Serves clients until they are gone or `stopped` is true; returns the exit code.
async fn serve_face(gateway: Arc<Gateway>, face: Face, metrics: MetricsText, mut stopped: Receiver<bool>) -> u8 {
    match face {
        Face::Stdio(name) => {
            // Checked before the servers were started.
            let Some(profile) = gateway.profile(&name) else { return exit::FAILED };
            tokio::select! {
                () = stdio::serve(&gateway, profile, tokio::io::stdin(), tokio::io::stdout()) => exit::OK,
                _ = stopped.wait_for(|stopped| *stopped) => exit::OK,
            }
        }
        Face::Http(listeners) => {
            let mut faces = tokio::task::JoinSet::new();
            for (listener, access, _) in listeners {
                // Checked before the listener was opened.
                let service = Service::with_metrics(gateway.clone(), access, SessionLimits::default(), Some(metrics.clone()));
                let Ok(service) = service else { return exit::FAILED };
                let mut stopped = stopped.clone();
                faces.spawn(service.serve(listener, async move {
                    // The sender is dropped with the command.
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                }));
            }
            while faces.join_next().await.is_some() {}
            exit::OK
        }
    }
}

/// Creates the gateway of an engine, with the settings and workflows of the workspace. With `auth`, clients can be asked for logins.
fn gateway(control: &Arc<LocalControl>, auth: Option<Auth>, workspace: &WorkspaceService) -> Arc<Gateway> {
    let upstream = EngineUpstream::with_workflows(control.engine(), workspace.workflows());
    let logins = auth.map(|auth| Arc::new(GatewayLogins::new(auth, control)) as Arc<dyn ClientLogins>);
    Gateway::with_logins(Arc::new(upstream), settings(workspace), logins)
}

/// Returns the settings of the gateway.
fn settings(workspace: &WorkspaceService) -> Settings {
    let loaded = workspace.loaded();
    let gateway = &loaded.settings.gateway;
    Settings {
        separator: loaded.settings.separator.clone(),
        seal_key: workspace.selection().load.state_dir.as_deref().and_then(seal_key),
        transparent: gateway.transparent,
        list_wait: gateway.list_wait,
        list_grace: gateway.list_grace,
        instructions: gateway.instructions.clone(),
        profiles: gateway.profiles.clone(),
        ..Settings::default()
    }
}
