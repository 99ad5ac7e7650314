//! What clients are notified of outside of their requests: changed lists, updated resources, log messages. Changes of lists are
//! collected, so that one notification follows many; each client gets only what it may see.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Gateway,
    client::{Client, Listen, SUBSCRIPTIONS, listen_flag},
    desk::{MESSAGE, wanted},
    era::Kind,
    failure::{self, invalid},
    offer::Offer,
    request::Request,
    table::Table,
    upstream::{ServerNotice, Upstream},
    uris::Owner,
};
use crate::{
    domain::{
        body::{self, Body},
        call::RpcError,
        id::{ClientId, ServerId},
        raw_object::RawObject,
    },
    protocol::{
        connection::{Outbox, Outgoing},
        meta::SUBSCRIPTION,
    },
};

/// Changes of lists are reported after this time at the latest, however many follow.
const LONGEST_QUIET: Duration = Duration::from_secs(2);
/// The notification of a changed resource.
const UPDATED: &str = "notifications/resources/updated";
/// The first notification of a subscription.
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
/// Maximum number of URIs that a request for a subscription may name.
const URIS: usize = SUBSCRIPTIONS;

/// The clients that watch each resource. A server has one subscription to it, however many clients there are.
#[derive(Default)]
pub struct Subscribers(Mutex<HashMap<Watched, HashSet<ClientId>>>);

/// A resource: its server and its URI.
type Watched = (ServerId, Arc<str>);

impl Subscribers {
    /// Adds a client of a resource.
    pub fn add(&self, owner: &Owner, client: ClientId, upstream: &dyn Upstream) {
        let mut resources = self.0.lock();
        let clients = resources.entry((owner.server.clone(), owner.uri.clone())).or_default();
        if clients.is_empty() {
            upstream.subscribe(&owner.server, &owner.uri, true);
        }
        clients.insert(client);
    }

    /// Removes a client of a resource.
    pub fn remove(&self, owner: &Owner, client: ClientId, upstream: &dyn Upstream) {
        let mut resources = self.0.lock();
        let key = (owner.server.clone(), owner.uri.clone());
        let Some(clients) = resources.get_mut(&key) else { return };
        if clients.remove(&client) && clients.is_empty() {
            resources.remove(&key);
            upstream.subscribe(&owner.server, &owner.uri, false);
        }
    }

    /// Removes a client of all resources.
    pub fn remove_client(&self, client: ClientId, upstream: &dyn Upstream) {
        self.0.lock().retain(|(server, uri), clients| {
            let last = clients.remove(&client) && clients.is_empty();
            if last {
                upstream.subscribe(server, uri, false);
            }
            !last
        });
    }

    /// Returns the clients that watch a resource.
    fn of(&self, server: &ServerId, uri: &str) -> Vec<ClientId> {
        let clients = self.0.lock().get(&(server.clone(), uri.into())).cloned();
        clients.into_iter().flatten().collect()
    }

    /// Returns all watched resources.
    fn resources(&self) -> Vec<(ServerId, Arc<str>)> {
        self.0.lock().keys().cloned().collect()
    }
}

impl Gateway {
    /// `resources/subscribe` and `resources/unsubscribe`.
    pub(super) fn subscribe(&self, table: &Table, request: &Request, on: bool) -> Result<Body, RpcError> {
        let uri = request.text("uri")?;
        let not_found = || failure::error(failure::RESOURCE_NOT_FOUND, "no server lists this resource");
        let owner = table.uris.owner(&uri).ok_or_else(not_found)?;
        let (client, upstream) = (&request.client, &*self.upstream);
        if on {
            if !client.subscribe(&uri) {
                return Err(failure::error(failure::INTERNAL, format!("more than {SUBSCRIPTIONS} subscriptions")));
            }
            self.subscribers.add(&owner, client.id, upstream);
        } else {
            client.unsubscribe(&uri);
            if !client.watched().contains(&uri) {
                self.subscribers.remove(&owner, client.id, upstream);
            }
        }
        Ok(Body::from("{}"))
    }

    /// `subscriptions/listen`: acknowledges what is reported, then stays open until the client cancels it or the gateway stops (MCP
    /// 2026-07-28, basic/patterns/subscriptions).
    pub(super) async fn listen(&self, request: &Request) -> Result<Body, RpcError> {
        self.offer.ready().await;
        let table = self.offer.table(&request.client.profile);
        let [filter] = request.members(["notifications"]);
        let filter = filter.unwrap_or_else(|| Body::from("{}"));
        let wanted = filter.fields(["toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions"]);
        let [tools, prompts, resources, uris] = wanted.ok_or_else(|| invalid("notifications should be an object"))?;
        let flags = [(Kind::Tools, tools), (Kind::Prompts, prompts), (Kind::Resources, resources)];
        let flags =
            flags.into_iter().filter(|(kind, flag)| flag.is_some_and(|flag| flag.get() == "true") && table.declares(kind.capability()));
        let lists: HashSet<&'static str> = flags.map(|(kind, _)| listen_flag(kind)).collect();
        let named = uris.map(|uris| body::members(uris.get().as_bytes(), URIS)).transpose();
        let (named, _) = named.map_err(|_| invalid("resourceSubscriptions should be an array"))?.unwrap_or_default();
        let named = named.into_iter().filter_map(|uri| serde_json::from_str::<String>(uri.get()).ok());
        let owners: Vec<(String, Owner)> = named.filter_map(|uri| table.uris.owner(&uri).map(|owner| (uri, owner))).collect();
        let uris = owners.iter().map(|(uri, _)| uri.clone()).collect();
        let known = Kind::ALL.into_iter().map(|kind| (kind, table.list(kind).digest)).collect();
        let known = Arc::new(Mutex::new(known));
        let listen = Listen { id: request.id.clone(), lists, uris, outbox: request.outbox.clone(), known };
        let acknowledged = acknowledgement(&listen, !owners.is_empty());
        if !request.client.open_listen(listen.clone()) {
            return Err(failure::error(failure::INTERNAL, "too many open subscriptions"));
        }
        let _open = OpenListen { gateway: self, client: &request.client, id: request.id.clone(), owners: &owners };
        for (_, owner) in &owners {
            self.subscribers.add(owner, request.client.id, &*self.upstream);
        }
        let sent = request.outbox.send(Outgoing::notification(ACKNOWLEDGED, &of_listen(&listen, acknowledged), None));
        if sent.await.is_ok() {
            self.stopping.cancelled().await;
        }
        Ok(of_listen(&listen, RawObject::default()))
    }

    /// Returns the current table of each profile.
    fn tables(&self) -> HashMap<Arc<str>, Arc<Table>> {
        self.profiles.values().map(|profile| (profile.name.clone(), self.offer.table(profile))).collect()
    }

    /// Notifies clients of lists that are not any more as they know them.
    fn report_lists(&self, now: &HashMap<Arc<str>, Arc<Table>>) {
        for client in self.clients() {
            let Some(now) = now.get(&client.profile.name) else { continue };
            // A client that never read the list, or that read it after the change, has nothing to read again.
            let outdated = Kind::ALL.into_iter().filter(|kind| client.note_change(*kind, now.list(*kind).digest));
            for method in outdated.map(Kind::changed).collect::<HashSet<_>>() {
                client.notify(method, &Body::default());
            }
            for listen in client.listens() {
                // The client reads what changed before the subscription.
                let changed = Kind::ALL.into_iter().filter(|kind| listen.note_change(*kind, now.list(*kind).digest));
                let wanted: Vec<Kind> = changed.filter(|kind| listen.lists.contains(listen_flag(*kind))).collect();
                for method in wanted.into_iter().map(Kind::changed).collect::<HashSet<_>>() {
                    send(&listen.outbox, method, &of_listen(&listen, RawObject::default()));
                }
            }
        }
    }

    fn report(&self, notice: ServerNotice) {
        match notice {
            ServerNotice::Updated { server, uri } => self.report_update(&server, &uri),
            // Any of them may have changed.
            ServerNotice::Lost => self.subscribers.resources().iter().for_each(|(server, uri)| self.report_update(server, uri)),
            ServerNotice::Log { server, level, logger, text } => {
                let logger = logger.map_or_else(|| server.to_string(), |logger| format!("{server}/{logger}"));
                let params = Body::json(&json!({"level": level.word(), "logger": logger, "data": text}));
                // Messages outside of calls belong to no client: with several, those get them whose profile says so.
                let clients = self.clients();
                let alone = clients.len() == 1;
                for client in clients.iter().filter(|client| alone || client.profile.all_logs) {
                    if client.profile.servers.allows(server.as_str()) && wanted(client.face().log_level.as_ref(), &params) {
                        client.notify(MESSAGE, &params);
                    }
                }
            }
        }
    }

    fn report_update(&self, server: &ServerId, uri: &str) {
        let clients = self.clients.lock();
        let watching: Vec<Arc<Client>> = self.subscribers.of(server, uri).iter().filter_map(|id| clients.get(id).cloned()).collect();
        drop(clients);
        for client in watching {
            let exposed = self.offer.table(&client.profile).uris.expose(server, uri);
            let params = RawObject::default().with("uri", Body::json(&*exposed));
            if client.is_subscribed(&exposed) {
                client.notify(UPDATED, &params.to_body());
            }
            for listen in client.listens().iter().filter(|listen| listen.uris.contains(&*exposed)) {
                send(&listen.outbox, UPDATED, &of_listen(listen, params.clone()));
            }
        }
    }
}

/// An open subscription, which ends when it is dropped.
struct OpenListen<'g> {
    gateway: &'g Gateway,
    client: &'g Client,
    id: Arc<str>,
    owners: &'g [(String, Owner)],
}

impl Drop for OpenListen<'_> {
    fn drop(&mut self) {
        self.client.close_listen(&self.id);
        let watched = self.client.watched();
        for (_, owner) in self.owners.iter().filter(|(uri, _)| !watched.contains(uri)) {
            self.gateway.subscribers.remove(owner, self.client.id, &*self.gateway.upstream);
        }
    }
}

/// Returns what a subscription reports.
fn acknowledgement(listen: &Listen, with_uris: bool) -> RawObject {
    let mut filter = RawObject::default();
    for flag in [Kind::Tools, Kind::Prompts, Kind::Resources].map(listen_flag) {
        if listen.lists.contains(flag) {
            filter.set(flag, Body::from("true"));
        }
    }
    if with_uris {
        let mut uris: Vec<&String> = listen.uris.iter().collect();
        uris.sort();
        filter.set("resourceSubscriptions", Body::json(&uris));
    }
    RawObject::default().with("notifications", filter.to_body())
}

/// Returns params with the id of their subscription.
fn of_listen(listen: &Listen, params: RawObject) -> Body {
    params.with("_meta", RawObject::default().with(SUBSCRIPTION, Body::from(&*listen.id)).to_body()).to_body()
}

/// Sends a notification, if there is room for it. The client reads the list or the resource when it likes, so that one more is no
/// more than one.
fn send(outbox: &Arc<dyn Outbox>, method: &str, params: &Body) {
    outbox.offer(Outgoing::notification(method, params, None));
}

/// Notifies clients of changed lists, until the gateway is dropped.
pub async fn follow_lists(offer: Arc<Offer>, gateway: Weak<Gateway>) {
    let mut changes = offer.changes();
    let Some(quiet) = gateway.upgrade().map(|gateway| gateway.settings.quiet) else { return };
    while offer.changed(&mut changes).await.is_ok() {
        let latest = Instant::now() + LONGEST_QUIET;
        loop {
            let until = latest.min(Instant::now() + quiet);
            tokio::select! {
                biased;
                () = sleep_until(until) => break,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.report_lists(&gateway.tables());
    }
}

/// Passes what servers send outside of calls on to clients, until the engine ends or the gateway is dropped.
pub async fn follow_notices(mut notices: mpsc::Receiver<ServerNotice>, gateway: Weak<Gateway>) {
    while let Some(notice) = notices.recv().await {
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.report(notice);
    }
}
