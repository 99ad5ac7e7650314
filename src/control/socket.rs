//! The control socket: accepts the connections of consoles and commands of the same user.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Dial, LocalControl, Role, Stream,
    instances::{InstanceError, Instances, Registration, is_own_peer},
    serve,
};

/// Maximum number of connections. Further ones wait until one is closed.
const CONNECTIONS: usize = 64;
/// Pause after a connection could not be accepted, as when no descriptor is free.
const PAUSE: Duration = Duration::from_millis(100);
/// How often an instance checks that it can be found.
const CHECK: Duration = Duration::from_secs(5);

/// What the clients of a control socket may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whatever they ask for.
    Full,
    /// They observe.
    ReadOnly,
}

impl Access {
    fn grant(self, wanted: Role) -> Role {
        match self {
            Access::Full => wanted,
            Access::ReadOnly => Role::Observer,
        }
    }
}

/// Accepts connections until the future is dropped or the instance cannot be found any more, because its files were removed.
/// Connections end with it. `open` is the number of connections.
pub async fn accept(
    registration: &Registration,
    listener: UnixListener,
    engine: &Arc<LocalControl>,
    access: Access,
    open: &watch::Sender<usize>,
) {
    let connections = Connections::default();
    tokio::select! {
        () = accept_all(listener, engine, access, &connections, open) => {}
        () = removed(registration) => {
            tracing::warn!(target: "switchboard::control", "the files of this instance were removed");
        }
    }
}

async fn accept_all(
    listener: UnixListener,
    engine: &Arc<LocalControl>,
    access: Access,
    connections: &Connections,
    open: &watch::Sender<usize>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(permit) = permits.clone().acquire_owned().await {
        let stream = next_connection(&listener).await;
        let (engine, ended) = (engine.clone(), connections.ended.clone());
        let counted = Counted::new(open.clone());
        connections.tasks.spawn(async move {
            let _held = (permit, counted);
            let served = serve(|wanted| engine.open(access.grant(wanted)).served(), stream);
            if let Some(Err(error)) = ended.run_until_cancelled(served).await {
                tracing::info!(target: "switchboard::control", %error, "a connection ended");
            }
        });
    }
}

/// Returns the next connection of a process of this user.
async fn next_connection(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_own_peer(&stream) => return stream,
            // The folder lets in nobody else but the superuser.
            Ok(_) => tracing::warn!(target: "switchboard::control", "refused a connection of another user"),
            Err(error) => {
                tracing::warn!(target: "switchboard::control", %error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Resolves when the files of the instance were removed.
async fn removed(registration: &Registration) {
    let mut check = tokio::time::interval(CHECK);
    while registration.can_be_found() {
        check.tick().await;
    }
}

/// A connection in the number of connections.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(open: watch::Sender<usize>) -> Counted {
        open.send_modify(|open| *open += 1);
        Counted(open)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// The open connections, which end when this is dropped.
#[derive(Default)]
struct Connections {
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// Connects to the instance with a name, also to a later one.
pub struct InstanceDial {
    instances: Instances,
    name: String,
}

impl InstanceDial {
    /// Connects to the instance with this name.
    pub fn new(instances: Instances, name: &str) -> InstanceDial {
        InstanceDial { instances, name: name.to_owned() }
    }

    /// Returns the socket of the running instance.
    fn socket(&self) -> Result<PathBuf, InstanceError> {
        Ok(self.instances.find(Some(&self.name))?.socket)
    }
}

#[async_trait]
impl Dial for InstanceDial {
    async fn dial(&self) -> io::Result<Box<dyn Stream>> {
        let socket = self.socket().map_err(io::Error::other)?;
        let stream = UnixStream::connect(&socket).await?;
        if !is_own_peer(&stream) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the socket belongs to a process of another user"));
        }
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use tokio_util::task::AbortOnDropHandle;

    use super::{super::*, *};
    use crate::{
        control::{instances::InstanceInfo, test_support::OPERATOR, wire::PROTOCOL},
        domain::{
            body::Body,
            call::Origin,
            event::{Notice, NoticeLevel},
            id::ToolId,
            retention::Retention,
            server::{Phase, ServerSpec, Transport},
            time::Epoch,
        },
        engine::EngineOptions,
        mcp::Connections as Servers,
    };

    /// Longer than any wait needs; only a hang reaches it.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn engine() -> Arc<LocalControl> {
        let options = EngineOptions { epoch: Epoch::default(), separator: "_".into(), seed: None };
        LocalControl::new(options, Retention::default(), Arc::new(Servers::new(None)))
    }

    /// An instance named `work`, and the number of its connections. It ends when this is dropped.
    struct Up {
        engine: Arc<LocalControl>,
        open: watch::Sender<usize>,
        _accepting: AbortOnDropHandle<()>,
    }

    async fn up(instances: &Instances, access: Access) -> Up {
        let info = InstanceInfo { pid: 7, version: "1".into(), protocol: PROTOCOL, started_ms: 0, faces: vec![], read_only: false };
        let registration = instances.register("work", &info).await.unwrap();
        let (listener, engine, open) = (registration.listen().unwrap(), engine(), watch::Sender::new(0));
        let (served, counted) = (engine.clone(), open.clone());
        let accepting = tokio::spawn(async move { accept(&registration, listener, &served, access, &counted).await });
        Up { engine, open, _accepting: AbortOnDropHandle::new(accepting) }
    }

    async fn attach(instances: &Instances, role: Role) -> Arc<RemoteControl> {
        RemoteControl::attach(Arc::new(InstanceDial::new(instances.clone(), "work")), Wanted { role, ..OPERATOR }).await.unwrap()
    }

    fn call() -> CallSpec {
        CallSpec::tool(ToolId::new("none".into(), "t"), Body::from("{}"), Origin::Cli)
    }

    #[tokio::test]
    async fn clients_get_the_role_that_they_want_unless_the_socket_is_read_only() {
        for (access, granted) in [(Access::Full, Role::Operator), (Access::ReadOnly, Role::Observer)] {
            let dir = tempfile::tempdir().unwrap();
            let instances = Instances::new(dir.path().join("run"), vec![]);
            let up = up(&instances, access).await;
            let control = attach(&instances, Role::Operator).await;
            assert_eq!((control.role(), control.instance()), (granted, up.engine.instance()));
            let submitted = control.submit(call()).await;
            let commanded = control.command(Command::Restart { server: "x".into() }).await;
            match access {
                Access::Full => {
                    assert!(submitted.is_ok() && commanded == Err(CommandError::UnknownServer { server: "x".into() }));
                }
                Access::ReadOnly => {
                    assert_eq!((submitted, commanded), (Err(SubmitError::ReadOnly), Err(CommandError::ReadOnly)));
                }
            }
            // It sees what others do.
            let (_, mut tail) = control.watch();
            up.engine.notice(Notice::new(NoticeLevel::Info, "seen"));
            let seen = async {
                while let Ok(Some(event)) = tail.next().await {
                    if matches!(&event.kind, EventKind::Notice { notice } if notice.text == "seen") {
                        return true;
                    }
                }
                false
            };
            assert!(timeout(PATIENCE, seen).await.unwrap());
            assert_eq!(*up.open.borrow(), 1);
            drop(control);
            timeout(PATIENCE, up.open.subscribe().wait_for(|open| *open == 0)).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_client_whose_engine_ends_shows_its_last_state_and_connects_to_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let instances = Instances::new(dir.path().join("run"), vec![]);
        let first = up(&instances, Access::Full).await;
        first.engine.notice(Notice::new(NoticeLevel::Info, "of the first"));
        let control = attach(&instances, Role::Operator).await;
        let (before, mut tail) = control.watch();
        assert_eq!(before.seq, 1);
        let instance = control.instance();
        drop(first);
        let lost = timeout(PATIENCE, tail.next()).await.unwrap().unwrap().unwrap();
        assert!(matches!(&lost.kind, EventKind::Notice { notice } if notice.text.contains("was lost")), "{lost:?}");
        assert_eq!(control.submit(call()).await, Err(SubmitError::NotConnected));
        assert_eq!(control.command(Command::Restart { server: "x".into() }).await, Err(CommandError::EngineLost));

        let second = up(&instances, Access::Full).await;
        assert_eq!(timeout(PATIENCE, tail.next()).await.unwrap().err(), Some(Lagged { missed: 0 }), "nothing was missed");
        let (after, _) = control.watch();
        assert_eq!(after.seq, 0);
        assert_ne!(control.instance(), instance);
        assert_eq!(control.instance(), second.engine.instance());
        assert!(control.submit(call()).await.is_ok());
    }

    #[tokio::test]
    async fn the_servers_of_a_lost_engine_are_not_shown_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let instances = Instances::new(dir.path().join("run"), vec![]);
        let first = up(&instances, Access::Full).await;
        first.engine.apply(vec![ServerSpec::new("s", Transport::unknown())]);
        let control = attach(&instances, Role::Operator).await;
        let (_, mut tail) = control.watch();
        drop(first);
        let unknown = async {
            while let Ok(Some(event)) = tail.next().await {
                if let EventKind::ServerPhase { phase, .. } = &event.kind
                    && matches!(&**phase, Phase::Failed { why } if why.summary.contains("engine is not connected"))
                {
                    return true;
                }
            }
            false
        };
        assert!(timeout(PATIENCE, unknown).await.unwrap());
    }
}
