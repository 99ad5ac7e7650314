//! The outbox of an HTTP connection: each message is a POST of its own, and cancellations wait for each other.

use std::{sync::Weak, time::Duration};

use async_trait::async_trait;
use tokio::time::timeout;

use super::{HttpLink, post::Under};
use crate::{
    domain::{
        call::{Failure, FailureKind},
        frame::{Anomaly, AnomalyKind},
    },
    protocol::connection::{Outbox, Outgoing},
};

/// Cancellations that may wait to be sent, and how many of them are sent simultaneously: each takes a connection.
pub(super) const CANCELS: usize = 64;

pub(super) const CANCELS_AT_ONCE: usize = 4;

/// Sends each message as a POST of its own.
pub(super) struct Poster {
    pub(super) link: Weak<HttpLink>,
    pub(super) runtime: tokio::runtime::Handle,
}

#[async_trait]
impl Outbox for Poster {
    async fn send(&self, message: Outgoing) -> Result<(), Failure> {
        match self.link.upgrade() {
            Some(link) => link.tell(message.body, message.kind, message.method, Under::Agreed).await,
            None => Err(Failure::new(FailureKind::Transport, "the connection was closed")),
        }
    }

    fn cancel(&self, notification: Outgoing) {
        let Some(link) = self.link.upgrade() else { return };
        let Ok(place) = link.cancels.clone().try_acquire_owned() else {
            let detail = format!("{CANCELS} cancellations wait for the server to take them; one more was not sent");
            return link.handler.anomaly(Anomaly { kind: AnomalyKind::Unread, detail, call: None, frame: None });
        };
        self.runtime.spawn(async move {
            let _place = place;
            let _ = timeout(Duration::from_secs(5), async {
                let _turn = link.cancelling.acquire().await;
                link.tell(notification.body, notification.kind, notification.method, Under::Agreed).await
            })
            .await;
        });
    }
}
