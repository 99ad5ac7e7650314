//! The gateway: offers the servers to other programs, over standard streams, HTTP or a Unix socket.

use std::{future::pending, net::SocketAddr, path::Path, sync::Arc};

use tokio::{
    net::TcpListener,
    sync::watch::{self as value, Receiver},
};

use super::{
    engine::{Followers, engine, prepare_demo, shutdown},
    headless::{ending, warn},
    workspace,
};
use crate::{
    cache,
    cli::{
        self, Options,
        args::ServeArgs,
        exit, overrides,
        print::Io,
        session::{self, Signal},
    },
    config::GatewaySettings,
    control::Control,
    demo::Demo,
    domain::{
        call::{Failure, FailureKind},
        capabilities::ClientCapabilities,
        profile::{self, Profile},
        secret::Secret,
        server::ServerSpec,
    },
    files::{self, Allowed},
    gateway::{
        EngineUpstream, Gateway, Settings,
        http::{Access, Listener, Service, SessionLimits},
        stdio,
    },
    mcp::Connections,
    process::{self, Watch},
    telemetry::Log,
    workspace::{Selection, WorkspaceService},
};

/// Largest token file, in bytes.
const TOKEN: u64 = 4 << 10;

/// Where clients connect.
enum Face {
    /// The standard streams of this process: one client, of a profile.
    Stdio(String),
    /// Listeners.
    Http(Vec<(Listener, Access)>),
}

/// Runs `serve`; returns the exit code.
pub async fn run(selection: Selection, args: ServeArgs, options: Options, log: Log, watch: Arc<Watch>) -> u8 {
    let workspace = match workspace(selection, &options) {
        Ok(workspace) => workspace,
        Err(code) => return code,
    };
    let loaded = workspace.loaded();
    let fail = |kind, why: String| cli::fail(Failure::new(kind, why), &options, Io::real());
    if loaded.pending.as_ref().is_some_and(|pending| !pending.servers.is_empty()) {
        return cli::approve::required(&*workspace, &options, Io::real());
    }
    if options.elicit.is_some() || options.sample.is_some() {
        return fail(FailureKind::InvalidArguments, "--elicit and --sample do not apply to serve: its clients answer".into());
    }
    let mut io = Io::real();
    for problem in workspace.selection().warnings(&loaded, false) {
        warn(&mut io, &problem.to_string());
    }
    if loaded.settings.gateway.faulty {
        let why = "the settings of the gateway have errors, so a profile or an access rule may be missing";
        return cli::fail(Failure::new(FailureKind::InvalidArguments, why).hint("correct [gateway] in the configuration"), &options, io);
    }
    let demo = match prepare_demo(&workspace, &options) {
        Ok(demo) => demo,
        Err(code) => return code,
    };
    let servers = workspace.selection().servers(&loaded, demo.as_ref());
    if let Some(name) = workspace.selection().unknown(&servers).first() {
        let known: Vec<&str> = servers.iter().map(|server| server.id.as_str()).collect();
        return cli::fail(session::no_server(name, &known), &options, Io::real());
    }
    let face = match face(&args, &loaded.settings.gateway, &mut io).await {
        Ok(face) => face,
        Err(why) => return fail(FailureKind::InvalidArguments, why),
    };
    match serve(&workspace, demo, face, &options, &log, (io, &watch)).await {
        Ok(code) => code,
        Err(failure) => cli::fail(failure, &options, Io::real()),
    }
}

/// Opens the listeners of the command line, or those of the configuration if it has none. Standard streams without any.
async fn face(args: &ServeArgs, settings: &GatewaySettings, io: &mut Io) -> Result<Face, String> {
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
    let token = match args.token_file.as_ref().or(settings.token_file.as_ref()) {
        Some(file) => Some(token(file)?),
        None => None,
    };
    let access = |address: Option<SocketAddr>| Access {
        address,
        hosts: [settings.hosts.as_slice(), &args.allow_host].concat(),
        origins: [settings.origins.as_slice(), &args.allow_origin].concat(),
        token: token.clone(),
    };
    let mut listeners = vec![];
    if let Some(address) = address {
        access(Some(address)).check_exposure().map_err(|why| format!("{why}: give --token-file FILE"))?;
        let listener = TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        // Port 0 was replaced by a free one.
        let address = listener.local_addr().map_err(|error| format!("cannot listen on {address}: {error}"))?;
        note(io, &format!("listening on http://{address}/mcp"));
        listeners.push((Listener::Tcp(listener), access(Some(address))));
    }
    if let Some(path) = socket {
        let listener = Listener::unix(path).map_err(|error| format!("cannot listen on {}: {error}", path.display()))?;
        note(io, &format!("listening on {}", path.display()));
        listeners.push((listener, access(None)));
    }
    Ok(Face::Http(listeners))
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

/// Prints a line on stderr.
fn note(io: &mut Io, text: &str) {
    // A closed stderr does not stop the gateway.
    let _ = writeln!(io.stderr, "{text}");
}

async fn serve(
    workspace: &Arc<WorkspaceService>,
    mut demo: Option<Demo>,
    face: Face,
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
    // Servers are asked to expect answers from the clients of the gateway only.
    let connections = Arc::new(Connections::new(process::own_program()).declaring(ClientCapabilities::none()));
    let control = engine(connections, workspace, loaded.settings.retention, store.as_ref());
    let recorded = store.filter(|_| !of_demo && loaded.settings.history_calls > 0);
    let followers = Followers::start(&control, log, recorded);
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
    let gateway = Gateway::new(Arc::new(EngineUpstream(control.engine())), settings(&loaded.settings.separator, &loaded.settings.gateway));
    let mut signals = watch.command(options.timeout);
    let limit = async {
        match options.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => pending().await,
        }
    };
    let (stop, stopped) = value::channel(false);
    let mut served = tokio::spawn(serve_face(gateway, face, stopped));
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
    shutdown(&control, Some(code), followers, demo).await;
    Ok(code)
}

/// Serves clients until they are gone or `stopped` is true; returns the exit code.
async fn serve_face(gateway: Arc<Gateway>, face: Face, mut stopped: Receiver<bool>) -> u8 {
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
            for (listener, access) in listeners {
                // Checked before the listener was opened.
                let Ok(service) = Service::new(gateway.clone(), access, SessionLimits::default()) else { return exit::FAILED };
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

/// Returns the settings of the gateway.
fn settings(separator: &str, gateway: &GatewaySettings) -> Settings {
    Settings {
        separator: separator.to_owned(),
        transparent: gateway.transparent,
        list_wait: gateway.list_wait,
        list_grace: gateway.list_grace,
        instructions: gateway.instructions.clone(),
        profiles: gateway.profiles.clone(),
        ..Settings::default()
    }
}
