//! The work of a supervisor while its server is connected: lists, health checks and subscriptions.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    Next, Supervisor, SupervisorCommand,
    health::{AWAY_CHECK, FAILED_CHECKS, HEALTH_TIMEOUT, Health, HealthCheck},
    requests::subscribe,
};
use crate::{
    domain::{
        call::Failure,
        catalog::{RawLists, ServerCatalog},
        event::NoticeLevel,
        pins::{PinMode, Pins},
        server::{ConnectFailure, DegradedReason, ListingError, Phase, ServerSpec, Step, Transport},
        stored_catalog::launch_fingerprint,
    },
    engine::{
        connection_handler::ConnectionHandler,
        ports::{CatalogStore, ConnectionObserver, Session, SubscriptionChange},
    },
};

/// Minimum time between two refreshes of the lists, however often a server reports changes.
const REFRESH_GAP: Duration = Duration::from_secs(1);
/// Bounds for the TTL of lists, after which they are read again.
const LIST_TTL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(24 * 3600));
/// Extra time for a session that enforces `timeouts.list` itself to return what it has read so far.
const LIST_GRACE: Duration = Duration::from_millis(500);

impl Supervisor {
    /// Renews the subscriptions of the previous session in a new one.
    pub(super) fn renew_subscriptions(&self, session: &Arc<dyn Session>) {
        let id = self.spec.id.clone();
        let wanted = self.registry.subscriptions(&id);
        if wanted.is_empty() {
            return;
        }
        let (bus, registry, session) = (self.bus.clone(), self.registry.clone(), session.clone());
        tokio::spawn(async move {
            for uri in wanted {
                if let Err(why) = subscribe(session.clone(), &uri, SubscriptionChange::Subscribe).await {
                    bus.notice(NoticeLevel::Warn, format!("subscription to {uri} of {id} lost: {why}"));
                    registry.set_subscribed(&id, &uri, false);
                }
            }
        });
    }

    /// Publishes listed items and returns the resulting phase of the server.
    pub(super) fn listed(&mut self, result: Listed) -> Phase {
        match result {
            Ok((raw, pins)) => {
                self.store_catalog(&raw);
                self.list_ttl = raw.ttl.map(|ttl| ttl.clamp(LIST_TTL.0, LIST_TTL.1));
                let previous = (self.catalog.revision > 0).then_some(&*self.catalog);
                let mut catalog = ServerCatalog::read(raw, previous);
                catalog.pin_changes = pins.changed(&catalog, self.spec.pins, &self.bus.secrets().redactor());
                self.catalog = Arc::new(catalog);
                self.registry.set_catalog(&self.spec.id, self.catalog.clone());
                match self.catalog.warnings.as_slice() {
                    [] => Phase::Ready,
                    [first, rest @ ..] => {
                        let (first, timed_out) = (first.clone(), self.catalog.timed_out);
                        Phase::Degraded { reason: DegradedReason::Lists { first, more: rest.len(), timed_out } }
                    }
                }
            }
            // Keep the previous lists.
            Err(error) => Phase::Degraded { reason: DegradedReason::Unlisted { error, kept: self.catalog.revision > 0 } },
        }
    }

    /// Serves a connection until it ends. Commands are handled at any time; a command cancels listing or a health check that it
    /// makes obsolete.
    pub(super) async fn serve(&mut self, session: &Arc<dyn Session>, phase: Phase) -> Next {
        let health = self.spec.timeouts.health;
        let remote = matches!(self.spec.launch, Transport::Http { .. });
        // A check that is due by the interval counts for the connection; others find out when a server that is away is back.
        let mut due_at = Instant::now() + health;
        let (mut check_at, mut counts) = (due_at, false);
        let mut listed_at = Instant::now();
        let mut refresh = false;
        let mut listing: Option<BoxFuture<'static, Listed>> = None;
        let mut check: Option<BoxFuture<'static, HealthCheck>> = None;
        let (mut seen_permits, mut failed, mut accepted, mut away) = (0, 0, false, false);
        let mut display = DisplayState { by_lists: phase, complaint: None };
        self.guard.limiter.idle_since(&mut seen_permits);
        loop {
            tokio::select! {
                why = session.closed() => return Next::Failed(with_target(why, &self.spec)),
                command = self.commands.recv() => {
                    if let Some(SupervisorCommand::Refresh) = command {
                        refresh = true;
                        listed_at = Instant::now() - REFRESH_GAP;
                    } else if let Some(next) = self.handle_command(command) {
                        return next;
                    }
                }
                () = self.handler.changed.notified(), if !refresh => refresh = true,
                () = self.handler.renewed.notified() => self.renew_subscriptions(session),
                () = sleep_until(listed_at + self.list_ttl.unwrap_or_default()), if self.list_ttl.is_some() && !refresh && listing.is_none() => refresh = true,
                () = sleep_until(listed_at + REFRESH_GAP), if refresh && listing.is_none() => {
                    refresh = false;
                    listing = Some(Box::pin(list(session.clone(), self.spec.clone(), self.handler.clone(), self.catalogs.clone())));
                }
                result = output(&mut listing) => {
                    listing = None;
                    listed_at = Instant::now();
                    display = DisplayState { by_lists: self.listed(result), complaint: None };
                    self.phase(display.by_lists.clone());
                }
                // Calls failed: a check finds out whether the server is away.
                () = self.guard.opened.notified(), if remote && !health.is_zero() => check_at = Instant::now(),
                () = sleep_until(check_at), if remote && !health.is_zero() && check.is_none() => {
                    counts = Instant::now() >= due_at;
                    if counts {
                        due_at = Instant::now() + health;
                    }
                    check_at = due_at;
                    // A server may process one request at a time: while it handles a call, it does not answer a health check.
                    let idle = self.guard.limiter.idle_since(&mut seen_permits);
                    if (idle || self.guard.is_open()) && listing.is_none() {
                        let session = session.clone();
                        check = Some(Box::pin(async move { timeout(HEALTH_TIMEOUT, session.check()).await }));
                    } else {
                        failed = 0;
                    }
                }
                checked = output(&mut check) => {
                    check = None;
                    if counts {
                        due_at = Instant::now() + health;
                    }
                    check_at = due_at;
                    // A call that started during the check may keep the server from answering.
                    let idle = self.guard.limiter.idle_since(&mut seen_permits) && listing.is_none();
                    // A server that lost the session, or does not know the request, is back.
                    let answered = checked.as_ref().is_ok_and(|answer| match answer {
                        Ok(()) => true,
                        Err(failure) => failure.status.is_some_and(|status| status < 500),
                    });
                    if answered && std::mem::take(&mut away) {
                        // The breaker need not stay open for the rest of its time.
                        self.guard.reachable();
                    }
                    let accepted_before = accepted;
                    accepted |= matches!(checked, Ok(Ok(())));
                    let complaint = match Health::of(checked, &self.bus.secrets().redactor(), accepted_before) {
                        Health::Up => None,
                        Health::Degraded(message) => Some(DegradedReason::HealthCheck { message }),
                        Health::Lost(why) => {
                            away |= !answered && self.guard.is_open();
                            if counts {
                                failed = if idle { failed + 1 } else { 0 };
                                due_at = Instant::now() + health.min(HEALTH_TIMEOUT);
                            }
                            if failed >= FAILED_CHECKS {
                                let why = ConnectFailure::new(Step::Run, format!("the health check failed: {why}"));
                                return Next::Failed(with_target(Arc::new(why), &self.spec));
                            }
                            check_at = if away { Instant::now() + AWAY_CHECK } else { due_at };
                            continue;
                        }
                    };
                    failed = 0;
                    if display.complaint != complaint {
                        let by_lists = display.by_lists.clone();
                        self.phase(complaint.clone().map_or(by_lists, |reason| Phase::Degraded { reason }));
                        display.complaint = complaint;
                    }
                }
            }
        }
    }
}

/// The lists of a server and its pins, or why it was not listed.
pub(super) type Listed = Result<(RawLists, Pins), ListingError>;

/// The displayed state of a connected server.
struct DisplayState {
    /// The phase by its lists.
    by_lists: Phase,
    /// The problem found by the last health check, which overrides `by_lists`.
    complaint: Option<DegradedReason>,
}

/// Resolves with the output of `work`; never resolves without one. Cancel-safe.
async fn output<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

fn with_target(why: Arc<ConnectFailure>, spec: &ServerSpec) -> Arc<ConnectFailure> {
    if !why.target.is_empty() {
        return why;
    }
    let mut why = ConnectFailure::clone(&why).bounded();
    why.target = spec.summary();
    Arc::new(why)
}

/// Lists a server. Its pins are read at the same time, before its tools can be called.
pub(super) async fn list(
    session: Arc<dyn Session>,
    spec: Arc<ServerSpec>,
    handler: Arc<ConnectionHandler>,
    catalogs: Arc<dyn CatalogStore>,
) -> Listed {
    handler.step(Step::Run);
    match timeout(spec.timeouts.list + LIST_GRACE, session.lists()).await {
        Ok(Ok(raw)) => Ok(match spec.pins {
            PinMode::Off => (raw, Pins::FirstContact),
            PinMode::Warn | PinMode::Hold => (raw, catalogs.pins(&spec.id, &launch_fingerprint(&spec.launch)).await),
        }),
        Ok(Err(failure)) => {
            let Failure { kind, message, hint, .. } = failure.redacted(&handler.redactor()).bounded();
            Err(ListingError::Failed { kind, message, hint })
        }
        Err(_) => Err(ListingError::Timeout { limit: spec.timeouts.list }),
    }
}
