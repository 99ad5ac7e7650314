//! The server of a tapped connection in the engine: it is observed only, so that nothing can be sent to it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind},
        catalog::RawLists,
        client::Behalf,
        server::{ConnectFailure, Era, Exit, ServerSpec, SessionInfo, Step},
    },
    engine::ports::{ClientHandler, Connector, Reply, Request, RequestObserver, Session, SubscriptionChange},
};

/// Where observations go: the handler of the current connection of the engine.
pub type Handlers = watch::Receiver<Option<Arc<dyn ClientHandler>>>;

/// Connects the engine to the tap.
pub struct TapConnector(watch::Sender<Option<Arc<dyn ClientHandler>>>);

impl TapConnector {
    /// Creates the connector, and the receiver of its handlers.
    pub fn new() -> (TapConnector, Handlers) {
        let (sender, receiver) = watch::channel(None);
        (TapConnector(sender), receiver)
    }
}

#[async_trait]
impl Connector for TapConnector {
    async fn connect(
        &self,
        _: Arc<ServerSpec>,
        _: Option<Era>,
        behalf: Option<Behalf>,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, ConnectFailure> {
        if behalf.is_some() {
            return Err(ConnectFailure::new(Step::Run, "a tapped connection has one session, that of its client"));
        }
        let info = Arc::new(SessionInfo::bare(handler.now()));
        self.0.send_replace(Some(handler));
        Ok(Arc::new(TapSession(info)))
    }
}

struct TapSession(Arc<SessionInfo>);

fn refused() -> Failure {
    Failure::new(FailureKind::Refused, "a tapped connection is observed only: nothing is sent to its server")
}

#[async_trait]
impl Session for TapSession {
    fn info(&self) -> Arc<SessionInfo> {
        self.0.clone()
    }

    fn era_certain(&self) -> bool {
        false
    }

    async fn request(&self, _: Request, _: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        Err(refused())
    }

    async fn notify(&self, _: &str, _: Body) -> Result<(), Failure> {
        Err(refused())
    }

    async fn lists(&self) -> Result<RawLists, Failure> {
        Ok(RawLists::default())
    }

    async fn subscribe(&self, _: &str, _: SubscriptionChange) -> Result<(), Failure> {
        Err(refused())
    }

    async fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        // The tap ends with the connection.
        std::future::pending().await
    }

    async fn close(&self) -> Exit {
        Exit::Unknown
    }
}
