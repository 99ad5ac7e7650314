//! The router: answers the requests of clients, in either era.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{
    Gateway,
    desk::RequestDesk,
    era::{self, Kind, Method},
    failure::{self, invalid, no_method},
    park::Question,
    request::Request,
    table::Table,
};
use crate::{
    domain::{
        body::Body,
        call::RpcError,
        event::LogLevel,
        id::ServerId,
        policy::tool_filter::ToolFilter,
        profile::Profile,
        raw_object::RawObject,
        server::{Era, SessionInfo},
    },
    protocol::{meta::SERVER_INFO, splice},
};

/// The capabilities of a client on which requests of servers depend, and often what servers list.
const REVERSE: [&str; 3] = ["elicitation", "sampling", "roots"];
/// The empty result.
const EMPTY: &str = "{}";
/// Members of results that only the modern era has (MCP 2026-07-28, `Result` and `CacheableResult`).
const MODERN_MEMBERS: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];
/// The members for a complete result.
const COMPLETE: [(&str, &str); 1] = [("resultType", "\"complete\"")];
/// The members of lists that may change any time, and that another client may not see.
const UNCACHED: [(&str, &str); 2] = [("ttlMs", "0"), ("cacheScope", "\"private\"")];

impl Gateway {
    /// Answers a request. Dropping the future cancels it.
    pub(super) async fn answer(self: Arc<Self>, request: Request) -> Result<Body, RpcError> {
        let method = Method::of(request.era, &request.method);
        let answer = match method {
            Some(Method::Ping) => Ok(Body::from(EMPTY)),
            Some(Method::Initialize) => self.initialize(&request).await,
            Some(Method::Discover) => self.discover(&request).await,
            Some(Method::Listen) => self.listen(&request).await,
            _ => {
                self.offer.ready().await;
                self.offered(method, &request).await
            }
        };
        let answer = answer.map_err(|error| of_era(error, request.era));
        answer.map(|result| self.result_of_era(result, method, request.era))
    }

    /// Answers a request for what servers offer.
    async fn offered(&self, method: Option<Method>, request: &Request) -> Result<Body, RpcError> {
        let table = self.offer.table(&request.client.profile);
        let Some(method) = method.filter(|method| method.capability().is_none_or(|capability| table.declares(capability))) else {
            // A transparent server may have methods that the gateway does not know, and answer more than it declares.
            return match &table.transparent {
                Some(server) => self.forward(&table, server, request).await,
                None => Err(no_method(&request.method)),
            };
        };
        // A transparent server has its own extensions, and its own tasks.
        let of_server = matches!(method, Method::GetTask | Method::UpdateTask | Method::CancelTask);
        if let Some(server) = table.transparent.as_ref().filter(|_| of_server) {
            return self.forward(&table, server, request).await;
        }
        match method {
            Method::List(kind) => match self.owner_of_lists(&table, kind, request) {
                Some(server) => self.forward(&table, server, request).await,
                None => self.list(&table, kind, request),
            },
            Method::Call => self.call_tool(&table, request).await,
            Method::Read => self.read_resource(&table, request).await,
            Method::Prompt => self.get_prompt(&table, request).await,
            Method::Complete => self.complete(&table, request).await,
            Method::SetLevel => self.set_level(&table, request),
            Method::Subscribe => self.subscribe(&table, request, true),
            Method::Unsubscribe => self.subscribe(&table, request, false),
            Method::GetTask => self.get_task(request),
            Method::UpdateTask => self.update_task(request),
            Method::CancelTask => self.cancel_task(request),
            Method::Initialize | Method::Discover | Method::Ping | Method::Listen => Err(no_method(&request.method)),
        }
    }

    async fn initialize(&self, request: &Request) -> Result<Body, RpcError> {
        let requested = request.text("protocolVersion")?;
        let [capabilities, client_info] = request.members(["capabilities", "clientInfo"]);
        // Known before the wait: notifications may come as soon as the client has the response.
        let version = era::negotiate(&requested);
        let client_info = client_info.unwrap_or_default();
        self.describe_client(&request.client, Era::Legacy, version, &client_info);
        request.client.declare(version, capabilities.unwrap_or_default(), client_info);
        self.offer.ready().await;
        let table = self.offer.table(&request.client.profile);
        let mut result = RawObject::default()
            .with("protocolVersion", Body::json(version))
            .with("capabilities", table.capabilities.clone())
            .with("serverInfo", server_info(&table));
        if let Some(instructions) = self.instructions(&table, &request.client.profile) {
            result.set("instructions", Body::json(&instructions));
        }
        Ok(result.to_body())
    }

    async fn discover(&self, request: &Request) -> Result<Body, RpcError> {
        self.offer.ready().await;
        let table = self.offer.table(&request.client.profile);
        let versions: Vec<&str> = era::versions().collect();
        let mut result =
            RawObject::default().with("supportedVersions", Body::json(&versions)).with("capabilities", table.capabilities.clone());
        if let Some(instructions) = self.instructions(&table, &request.client.profile) {
            result.set("instructions", Body::json(&instructions));
        }
        Ok(result.with("_meta", RawObject::default().with(SERVER_INFO, server_info(&table)).to_body()).to_body())
    }

    fn instructions(&self, table: &Table, profile: &Profile) -> Option<String> {
        let own = self.settings.instructions.iter().chain(&profile.instructions).map(String::as_str);
        let parts: Vec<&str> = own.chain([table.instructions.as_str()]).filter(|part| !part.is_empty()).collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }

    fn list(&self, table: &Table, kind: Kind, request: &Request) -> Result<Body, RpcError> {
        request.client.note_read(kind, table.list(kind).digest);
        let [cursor] = request.members(["cursor"]);
        let cursor = cursor.filter(|cursor| cursor.bytes() != "null").map(|cursor| cursor.parse::<String>());
        self.offer.page(table, kind, cursor.transpose().map_err(|_| invalid("cursor should be a string"))?.as_deref())
    }

    /// Returns the server that lists for this client itself: a transparent one that may list more for what the client declares.
    fn owner_of_lists<'t>(&self, table: &'t Table, kind: Kind, request: &Request) -> Option<&'t ServerId> {
        let id = table.transparent.as_ref()?;
        let server = table.directory.server(id).filter(|server| server.phase.usable())?;
        let declares = || REVERSE.iter().any(|name| matches!(request.face.capabilities.fields([*name]), Some([Some(_)])));
        let own = server.spec.tools == ToolFilter::default() && server.catalog.refused.is_empty() && declares();
        if own {
            request.client.note_read(kind, table.list(kind).digest);
        }
        own.then_some(id)
    }

    fn set_level(&self, table: &Table, request: &Request) -> Result<Body, RpcError> {
        let level = LogLevel::from(request.text("level")?);
        if level.severity().is_none() {
            return Err(invalid(format!("unknown level {:?}", level.word())));
        }
        request.client.set_level(level);
        // Servers send what the most verbose client wants; each client gets its own part.
        let levels = self.clients().into_iter().filter_map(|client| client.level());
        if let Some(level) = levels.min_by_key(|level| level.severity()) {
            for server in table.offered().filter(|server| declares(server.info.as_deref(), "logging")) {
                self.upstream.set_log_level(&server.spec.id, &level);
            }
        }
        Ok(Body::from(EMPTY))
    }

    /// Returns a result in the form of an era. Everything that both eras have stays.
    fn result_of_era(&self, result: Body, method: Option<Method>, era: Era) -> Body {
        match era {
            Era::Modern => {
                let result = splice::add(&result, &COMPLETE);
                if method.is_some_and(Method::is_cacheable) { splice::add(&result, &UNCACHED) } else { result }
            }
            // A modern server's result; the results of legacy servers were never looked into.
            Era::Legacy => match result.fields(["resultType"]) {
                Some([Some(_)]) => splice::remove(&result, &MODERN_MEMBERS),
                _ => result,
            },
        }
    }

    /// Returns the desk of a request. A modern client takes no requests, so that what its server asks goes to `asked`.
    pub(super) fn desk(&self, request: &Request, asked: mpsc::Sender<Question>) -> Arc<RequestDesk> {
        let asked = (request.era == Era::Modern).then_some(asked);
        let (client, outbox) = (request.client.clone(), request.outbox.clone());
        let level = match request.era {
            Era::Legacy => Some(client.least_level()),
            Era::Modern => request.face.log_level.clone(),
        };
        Arc::new(RequestDesk::new(client, outbox, asked, request.token.clone(), level))
    }
}

/// Returns the error of a request in the form of an era: a missing resource has another code in each.
fn of_era(error: RpcError, era: Era) -> RpcError {
    match (era, error.code) {
        (Era::Modern, failure::RESOURCE_NOT_FOUND) => RpcError { code: failure::INVALID_PARAMS, ..error },
        _ => error,
    }
}

fn declares(info: Option<&SessionInfo>, capability: &str) -> bool {
    info.is_some_and(|info| info.declares(&[capability]))
}

/// Returns name and version: those of a transparent server, else those of the gateway.
fn server_info(table: &Table) -> Body {
    let only = table.transparent.as_ref().and_then(|id| table.directory.server(id)?.info.clone());
    let mut info = RawObject::default();
    match only.as_deref() {
        Some(SessionInfo { name: Some(name), title, version, .. }) => {
            info.set("name", Body::json(name));
            if let Some(title) = title {
                info.set("title", Body::json(title));
            }
            info.set("version", Body::json(version.as_deref().unwrap_or_default()));
        }
        _ => {
            info.set("name", Body::json("switchboard"));
            info.set("version", Body::json(env!("CARGO_PKG_VERSION")));
        }
    }
    info.to_body()
}
