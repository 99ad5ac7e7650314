//! The subscription to changes of lists and resources (MCP 2026-07-28, `subscriptions/listen`).

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::McpSession;
use crate::{
    domain::{body::Body, call::Failure, id::Attribution},
    engine::ports::Request,
    mcp::link::Quiet,
    protocol::connection::LISTEN,
};

/// How long a subscription must last to count as working.
const MIN_SUBSCRIPTION: Duration = Duration::from_secs(1);

/// The pause before a subscription is renewed: first and maximum.
const LISTEN_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

impl McpSession {
    /// Subscribes to changes of the lists (MCP 2026-07-28, `subscriptions/listen`); the notifications arrive like any other.
    /// Renews the subscription when the stream ends, after a pause that grows while subscriptions fail. Each renewal also reads
    /// the lists again, since changes in between were not reported.
    ///
    /// Called again with other resources to watch (`resourceSubscriptions`), it replaces the stream by another: the
    /// specification has no way to change one.
    pub(super) fn listen(&self) {
        let declares = |key: &str| self.info.declares(&[key, "listChanged"]);
        let watched: Vec<String> = self.watched.lock().iter().cloned().collect();
        let mut wanted = json!({"toolsListChanged": declares("tools"), "promptsListChanged": declares("prompts"), "resourcesListChanged": declares("resources")});
        if !watched.is_empty() {
            wanted["resourceSubscriptions"] = json!(watched);
        }
        let filter = json!({"notifications": wanted});
        if watched.is_empty() && !["tools", "prompts", "resources"].iter().any(|key| declares(key)) {
            self.listener.lock().take();
            return;
        }
        let (link, meta, handler, all) = (self.link.clone(), self.meta(), self.handler.clone(), self.watched.clone());
        let task = tokio::spawn(async move {
            let (mut filter, mut watched) = (filter, watched);
            let (mut pause, mut gap) = (LISTEN_PAUSE.0, false);
            loop {
                let request = Request { method: LISTEN.into(), params: Body::json(&filter), repeatable: true, ..Request::default() };
                let ended = link.request(request, &meta, Arc::new(Quiet("the console ended the subscription")));
                tokio::pin!(ended);
                let early = timeout(MIN_SUBSCRIPTION, &mut ended).await.ok();
                let lasted = early.is_none();
                if lasted && std::mem::take(&mut gap) {
                    handler.notification("notifications/tools/list_changed", &Body::default(), Attribution::None);
                }
                let ended = match early {
                    Some(ended) => ended,
                    None => ended.await,
                };
                match ended {
                    Err(failure) if refused(&failure) => {
                        if watched.is_empty() {
                            return;
                        }
                        // The server may still report changes of lists when it refuses those of resources.
                        let why = failure.rpc.as_ref().map_or(&failure.message, |rpc| &rpc.message);
                        all.lock().retain(|uri| !watched.contains(uri));
                        handler.unsubscribed(&watched, why);
                        watched.clear();
                        if let Some(notifications) = filter["notifications"].as_object_mut() {
                            notifications.remove("resourceSubscriptions");
                        }
                        continue;
                    }
                    // A server whose subscriptions all fail reports no changes: read its lists at each attempt.
                    Err(failure) if gap && !lasted && failure.may_have_run && failure.status.is_none_or(|status| status >= 500) => {
                        handler.notification("notifications/tools/list_changed", &Body::default(), Attribution::None);
                    }
                    _ => {}
                }
                if lasted {
                    pause = LISTEN_PAUSE.0;
                }
                gap = true;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LISTEN_PAUSE.1);
            }
        });
        *self.listener.lock() = Some(AbortOnDropHandle::new(task));
    }
}

/// Returns whether the same request would fail the same way again.
fn refused(failure: &Failure) -> bool {
    failure.rpc.is_some() || failure.status.is_some_and(|status| (400..500).contains(&status) && !matches!(status, 408 | 425 | 429))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use parking_lot::Mutex;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        domain::{
            call::{FailureKind, RpcError},
            capabilities::ClientCapabilities,
            frame::Anomaly,
            server::{ConnectFailure, Era, EraChoice, Exit, ServerSpec, Step, Transport},
            time::Stamp,
        },
        engine::ports::{ClientHandler, ConnectionObserver, FrameDraft, Reply, RequestObserver},
        mcp::{
            handshake::{Declared, Known},
            link::Link,
        },
        protocol::meta::Meta,
    };

    /// A modern server whose subscriptions last for the given times, one after the other.
    struct Streams {
        lives: Mutex<Vec<Duration>>,
        asked: Mutex<Vec<Duration>>,
        began: Instant,
    }

    #[async_trait]
    impl Link for Streams {
        async fn request(&self, request: Request, _: &Meta, _: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
            if request.method == "server/discover" {
                let result = Body::from(r#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}}}"#);
                return Ok(Reply { result, first_byte: Stamp(0), last_byte: Stamp(0), sent_bytes: 0, received_bytes: 0 });
            }
            self.asked.lock().push(self.began.elapsed());
            let life = self.lives.lock().pop();
            match life {
                Some(life) => tokio::time::sleep(life).await,
                None => std::future::pending().await,
            }
            Err(Failure::after_send(FailureKind::Transport, "the event stream ended"))
        }
        async fn notify(&self, _: &str, _: Body) -> Result<(), Failure> {
            Ok(())
        }
        fn agreed(self: Arc<Self>, _: Era, _: &str) {}
        fn pid(&self) -> Option<u32> {
            None
        }
        async fn closed(&self) -> Arc<ConnectFailure> {
            std::future::pending().await
        }
        async fn close(&self) -> Exit {
            Exit::Unknown
        }
    }

    /// Records when the lists must be read again.
    struct Listener {
        began: Instant,
        changed: Mutex<Vec<Duration>>,
    }

    impl ConnectionObserver for Listener {
        fn now(&self) -> Stamp {
            Stamp(0)
        }
        fn fresh_start(&self) {}
        fn step(&self, _: Step) {}
        fn at_step(&self) -> Step {
            Step::Run
        }
        fn frame(&self, _: FrameDraft) -> u64 {
            0
        }
        fn anomaly(&self, _: Anomaly) {}
        fn stderr(&self, _: &str) {}
        fn last_stderr(&self, _: usize) -> Vec<String> {
            vec![]
        }
        fn notification(&self, method: &str, _: &Body, _: Attribution) {
            assert_eq!(method, "notifications/tools/list_changed");
            self.changed.lock().push(self.began.elapsed());
        }
    }

    #[async_trait]
    impl ClientHandler for Listener {
        async fn ask(&self, _: &str, _: Body, _: Attribution) -> Result<Body, RpcError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_that_lasted_is_renewed_soon_and_the_lists_are_read_after_it() {
        let began = Instant::now();
        let (short, long) = (Duration::ZERO, Duration::from_secs(60));
        let link = Arc::new(Streams { lives: Mutex::new(vec![long, long, short, short, short, long]), asked: Mutex::default(), began });
        let handler = Arc::new(Listener { began, changed: Mutex::default() });
        let launch = Transport::Http { url: "http://x/mcp".into(), headers: vec![], socket: None };
        let spec = Arc::new(ServerSpec { era: EraChoice::Modern, ..ServerSpec::new("x", launch) });
        let _session =
            McpSession::open(link.clone(), spec, handler.clone(), Declared::own(ClientCapabilities::default()), Known::Nothing, Stamp(0))
                .await
                .unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let halves = |times: &Mutex<Vec<Duration>>| times.lock().iter().map(|at| at.as_millis() / 500).collect::<Vec<_>>();
        // Half a second after a subscription that worked; then twice as long each time while none does.
        assert_eq!(halves(&link.asked), [0, 121, 123, 127, 135, 256, 377]);
        // At each failed subscription, and a second into each working one except the first: before it no change was missed.
        assert_eq!(halves(&handler.changed), [121, 123, 127, 137, 258, 379]);
    }
}
