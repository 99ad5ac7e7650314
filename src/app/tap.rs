//! `tap`: passes one connection on unchanged, with an engine that observes it, for consoles that attach.

use std::{fs::OpenOptions, net::SocketAddr, os::unix::fs::OpenOptionsExt, process::ExitStatus, sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::{net::TcpListener, signal::unix::SignalKind, sync::oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{
    instances::{info, instances},
    serve::{ControlSocket, OpenSocket},
};
use crate::{
    cli::{
        self, Options,
        args::{ServeAccess, TapArgs},
        exit,
        print::Io,
    },
    config::{self, Loaded},
    control::LocalControl,
    domain::{
        call::{Failure, FailureKind},
        event::EventKind,
        retention::Retention,
        server::ServerSpec,
    },
    engine::{Adapters, observed::ObservedClient, tail::Filter},
    tap::{
        calls::Calls,
        connector::TapConnector,
        follow::{Protocol, follow},
        http::{self, Target},
        queue::Queue,
        record::Record,
        stdio::{Ends, Tapped},
    },
    workspace::{Selection, engine_options},
};

/// Largest size of the record of a session, in bytes.
const RECORD: u64 = 256 << 20;
/// How long the observer may take for what is queued when the connection has ended.
const REST: Duration = Duration::from_secs(5);
/// Where `tap --url` listens by default: a free port of the loopback interface.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// Signals that are passed on to a tapped process, in addition to those of a terminal.
const PASSED: [(SignalKind, Signal); 4] = [
    (SignalKind::terminate(), Signal::TERM),
    (SignalKind::hangup(), Signal::HUP),
    (SignalKind::user_defined1(), Signal::USR1),
    (SignalKind::user_defined2(), Signal::USR2),
];
/// Signals that wait to be passed on.
const SIGNALS: usize = 16;
/// Signals that a terminal sends to the tapped process too, because it is in the same process group.
const OF_TERMINAL: [(SignalKind, Signal); 2] = [(SignalKind::interrupt(), Signal::INT), (SignalKind::quit(), Signal::QUIT)];

/// Runs `tap`; returns the exit code.
pub fn run(selection: &Selection, args: &TapArgs, options: &Options) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(options, FailureKind::Transport, format!("no threads could be started: {error}")),
    };
    let code = runtime.block_on(async {
        match (&args.url, args.server.words.split_first()) {
            (Some(_), Some(_)) => fail(options, FailureKind::InvalidArguments, "give a command or --url, not both".into()),
            (Some(url), None) => tap_url(selection, args, url, options).await,
            (None, Some((command, rest))) => tap_command(selection, args, (command, rest), options).await,
            (None, None) => fail(options, FailureKind::InvalidArguments, "give the command of a server after --, or --url URL".into()),
        }
    });
    // The pump of stdin may be blocked in a read.
    runtime.shutdown_background();
    code
}

fn fail(options: &Options, kind: FailureKind, why: String) -> u8 {
    cli::fail(Failure::new(kind, why), options, Io::real())
}

/// The observing side: an engine with one server, its control socket, and the record.
struct Observer {
    queue: Queue,
    engine: Arc<LocalControl>,
    socket: Option<OpenSocket>,
    following: AbortOnDropHandle<()>,
    /// The writer of the record, and the channel that ends it.
    recording: Option<(AbortOnDropHandle<()>, oneshot::Sender<()>)>,
}

impl Observer {
    /// Starts the engine. Fails with the exit code.
    async fn start(selection: &Selection, args: &TapArgs, spec: ServerSpec, protocol: Protocol, options: &Options) -> Result<Observer, u8> {
        let recording = match &args.record {
            Some(path) => {
                let path = selection.load.cwd.join(path);
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
                let file = file.map_err(|error| {
                    fail(options, FailureKind::InvalidArguments, format!("the record {} cannot be created: {error}", path.display()))
                })?;
                Some(Record::new(file, RECORD))
            }
            None => None,
        };
        let (connector, handlers) = TapConnector::new();
        let engine =
            LocalControl::with(engine_options(&Loaded::default(), false), Retention::default(), Adapters::new(Arc::new(connector)));
        let recording = recording.map(|record| {
            let (end, ended) = oneshot::channel();
            (AbortOnDropHandle::new(tokio::spawn(write(engine.clone(), record, ended))), end)
        });
        let calls = Calls::new(spec.id.clone(), Arc::new(ObservedClient::new(engine.engine())));
        engine.apply(vec![spec]);
        let socket = match socket(selection, args, protocol).await {
            Ok(socket) => socket,
            Err(error) if args.name.is_some() => return Err(cli::instances::fail(&error, options, Io::real())),
            // The connection does not need it.
            Err(error) => {
                super::preparation::warn(&mut Io::real(), &format!("attach cannot show this tap: {error}"));
                None
            }
        };
        let queue = Queue::default();
        let following = AbortOnDropHandle::new(tokio::spawn(follow(queue.clone(), handlers, protocol, calls)));
        Ok(Observer { queue, socket: socket.map(|socket| socket.accept(&engine)), engine, following, recording })
    }

    /// Ends the engine after it has observed everything that was queued.
    async fn end(self) {
        self.queue.close();
        // The engine may not have connected to the tap yet.
        let _ = tokio::time::timeout(REST, self.following).await;
        self.engine.shutdown().await;
        if let Some((recording, end)) = self.recording {
            let _ = end.send(());
            let _ = recording.await;
        }
        if let Some(socket) = self.socket {
            socket.close().await;
        }
    }
}

async fn socket(
    selection: &Selection,
    args: &TapArgs,
    protocol: Protocol,
) -> Result<Option<ControlSocket>, crate::control::instances::InstanceError> {
    let face = match protocol {
        Protocol::Stdio => "tap of a command",
        Protocol::Http => "tap of a URL",
    };
    let own = format!("tap-{}", std::process::id());
    let Ok(instances) = instances(&selection.load) else { return Ok(None) };
    let access = if args.control == ServeAccess::Off { ServeAccess::Off } else { ServeAccess::ReadOnly };
    ControlSocket::register(&instances, access, args.name.as_deref().unwrap_or(&own), |read_only| info(vec![face.into()], read_only)).await
}

/// Writes the frames of an engine into a record, until `ended` and all frames are written.
async fn write(engine: Arc<LocalControl>, mut record: Record, mut ended: oneshot::Receiver<()>) {
    let mut tail = engine.tail(Filter::default());
    loop {
        let next = tokio::select! {
            biased;
            next = tail.next() => next,
            _ = &mut ended => break,
        };
        match next {
            Ok(Some(event)) => {
                if let EventKind::Frame { frame } = &event.kind
                    && let Err(error) = record.add(frame, engine.unix_ms())
                {
                    tracing::warn!(target: "switchboard::tap", %error, "the record cannot be written");
                    return;
                }
            }
            Ok(None) => break,
            // Frames were missed: the record is not complete.
            Err(_) => tracing::warn!(target: "switchboard::tap", "the record misses frames"),
        }
    }
    let _ = record.flush();
}

/// Taps a command; its end becomes that of this process.
async fn tap_command(selection: &Selection, args: &TapArgs, (command, rest): (&String, &[String]), options: &Options) -> u8 {
    let observer = match Observer::start(selection, args, config::server_from_command(&args.server.words), Protocol::Stdio, options).await {
        Ok(observer) => observer,
        Err(code) => return code,
    };
    // Before the process exists: no signal in between ends the tap only.
    let kinds = PASSED.iter().chain(OF_TERMINAL.iter().filter(|_| !Io::real().stdin_tty));
    let (signals, mut arrived) = tokio::sync::mpsc::channel(SIGNALS);
    for (kind, passed) in kinds.copied() {
        let Ok(mut stream) = tokio::signal::unix::signal(kind) else { continue };
        let signals = signals.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && signals.send(passed).await.is_ok() {} });
    }
    let started = Ends::of_process().and_then(|ends| Tapped::start(command, rest, ends, &observer.queue));
    let tapped = match started {
        Ok(tapped) => tapped,
        Err(error) => {
            let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
            fail(options, FailureKind::NotReady, format!("{command} cannot be started: {error}"));
            observer.end().await;
            return code;
        }
    };
    let pid = i32::try_from(tapped.pid()).ok().and_then(rustix::process::Pid::from_raw);
    let (sender, mut ended) = oneshot::channel();
    std::thread::spawn(move || {
        // The receiver waits for it.
        let _ = sender.send(tapped.wait());
    });
    let status = loop {
        tokio::select! {
            biased;
            status = &mut ended => break status,
            Some(passed) = arrived.recv() => {
                if let Some(pid) = pid {
                    // It may have ended.
                    let _ = rustix::process::kill_process(pid, passed);
                }
            }
        }
    };
    observer.end().await;
    match status {
        Ok(Ok(status)) => end_as(status),
        _ => exit::FAILED,
    }
}

/// Returns the exit code of a process, or ends this process by the signal that ended it.
fn end_as(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    if let Some(signal) = status.signal() {
        // Returns if the signal does not end a process by default.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
        return u8::try_from(128 + signal).unwrap_or(exit::FAILED);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILED)
}

/// Taps an HTTP server until a signal.
async fn tap_url(selection: &Selection, args: &TapArgs, url: &str, options: &Options) -> u8 {
    let target = match Target::parse(url) {
        Ok(target) => target,
        Err(why) => return fail(options, FailureKind::InvalidArguments, why),
    };
    let spec = match config::server_from_url(url) {
        Ok(spec) => spec,
        Err(error) => return fail(options, FailureKind::InvalidArguments, error.to_string()),
    };
    let address = args.listen.unwrap_or(LISTEN);
    if !address.ip().is_loopback() {
        let why = "tap listens on a loopback address only: it passes requests on without asking who sends them";
        return fail(options, FailureKind::InvalidArguments, why.into());
    }
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => return fail(options, FailureKind::InvalidArguments, format!("cannot listen on {address}: {error}")),
    };
    let place = listener.local_addr().unwrap_or(address);
    let observer = match Observer::start(selection, args, spec, Protocol::Http, options).await {
        Ok(observer) => observer,
        Err(code) => return code,
    };
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or("/");
    // A closed stderr does not stop the tap.
    let _ = writeln!(Io::real().stderr, "tapping {url} at http://{place}{path}");
    let serving = AbortOnDropHandle::new(tokio::spawn(http::serve(listener, target, observer.queue.clone())));
    let code = tokio::select! {
        () = signal(SignalKind::interrupt()) => exit::INTERRUPTED,
        () = signal(SignalKind::terminate()) => exit::TERMINATED,
    };
    drop(serving);
    observer.end().await;
    code
}

async fn signal(kind: SignalKind) {
    match tokio::signal::unix::signal(kind) {
        Ok(mut stream) => _ = stream.recv().await,
        Err(_) => std::future::pending().await,
    }
}
