//! Requests that become calls of the engine: tools, resources, prompts and completions.

use std::sync::Arc;

use tokio::{sync::mpsc, time::sleep};

use super::{
    Gateway,
    desk::{ConnectionDesk, RequestDesk},
    edits::Confirmed,
    era::Kind,
    failure::{self, INTERNAL, RESOURCE_NOT_FOUND, invalid},
    logins::{self, Offered},
    park::{Next, Running},
    request::Request,
    sealed::LIFETIME,
    table::Table,
    tasks::{TASK_AFTER, takes_tasks},
    workflows::ExposedWorkflow,
};
use crate::{
    domain::{
        body::{self, Body},
        call::{ArgumentCheck, CallSpec, Operation, Origin, Outcome, RpcError},
        directory::Directory,
        id::{ServerId, ToolId},
        server::Era,
    },
    engine::passage::{Desk, Passage, Rounds},
    protocol::splice,
};

/// Questions of a server that wait for the client; further ones wait at the server's connection.
pub const QUESTIONS: usize = 16;
/// The member of a result that asks the client for input, which it returns with its next request.
pub const STATE: &str = "requestState";
/// The member of `params` with metadata, which the engine writes.
const META: &str = "_meta";

impl Gateway {
    /// `tools/call`.
    pub(super) async fn call_tool(&self, table: &Table, request: &Request) -> Result<Body, RpcError> {
        let name = request.text("name")?;
        let Some(entry) = table.entry(Kind::Tools, &name) else {
            // A transparent server may have tools that it lists for this client only, and its own error.
            if let Some(server) = self.answers_itself(table, &name) {
                return self.forward(table, server, request).await;
            }
            let names = table.list(Kind::Tools).entries.iter().map(|entry| &*entry.key);
            return Err(failure::unknown("tool", &name, names, &table.directory, self.upstream.now()));
        };
        let [arguments] = request.members(["arguments"]);
        let tool = ToolId::new(entry.server.clone(), entry.own.clone());
        let mut arguments = arguments.unwrap_or_default();
        let mut extra = extra(request, &["name", "arguments"]);
        if let Some(edit) = &entry.edit {
            arguments = edit.arguments(&arguments).map_err(|name| invalid(format!("{:?} has no argument {name:?}", entry.key)))?;
            let operation = Operation::Tool { tool: tool.clone(), arguments: arguments.clone() };
            match self.confirmed(request, edit, &operation, extra).await? {
                Confirmed::Yes(rest) => extra = rest,
                Confirmed::No(result) => return Ok(result),
            }
            self.rates.take(&request.client.profile, edit)?;
        }
        let operation = Operation::Tool { tool, arguments };
        if let Some(workflow) = &entry.workflow {
            return self.call_workflow(table, request, workflow, operation, extra).await;
        }
        let (server, result) = self.call(table, request, operation, extra).await?;
        Ok(table.uris.exposed_ui(&server, &table.uris.exposed_in(&server, &result, "content")))
    }

    /// `resources/read`.
    pub(super) async fn read_resource(&self, table: &Table, request: &Request) -> Result<Body, RpcError> {
        let uri = request.text("uri")?;
        let owner = table.uris.owner(&uri).ok_or_else(|| self.no_resource(table, &uri))?;
        let operation = Operation::Resource { server: owner.server, uri: owner.uri.to_string() };
        let (server, result) = self.call(table, request, operation, extra(request, &["uri"])).await?;
        let result = table.uris.exposed_in(&server, &result, "contents");
        // A profile may hide the resource from another client.
        let is_shared = table.transparent.is_none() && matches!(result.fields(["cacheScope"]), Some([Some(_)]));
        Ok(if is_shared { splice::set(&result, "cacheScope", br#""private""#) } else { result })
    }

    /// `prompts/get`.
    pub(super) async fn get_prompt(&self, table: &Table, request: &Request) -> Result<Body, RpcError> {
        let name = request.text("name")?;
        let Some(entry) = table.entry(Kind::Prompts, &name) else {
            if let Some(server) = self.answers_itself(table, &name) {
                return self.forward(table, server, request).await;
            }
            let names = table.list(Kind::Prompts).entries.iter().map(|entry| &*entry.key);
            return Err(failure::unknown("prompt", &name, names, &table.directory, self.upstream.now()));
        };
        let [arguments] = request.members(["arguments"]);
        let arguments = arguments.unwrap_or_default();
        let operation = Operation::Prompt { server: entry.server.clone(), name: entry.own.to_string(), arguments };
        Ok(self.call(table, request, operation, extra(request, &["name", "arguments"])).await?.1)
    }

    /// `completion/complete`.
    pub(super) async fn complete(&self, table: &Table, request: &Request) -> Result<Body, RpcError> {
        let [reference] = request.members(["ref"]);
        let reference = reference.ok_or_else(|| invalid("ref should be an object"))?;
        let [name, uri] = body::fields(reference.bytes(), ["name", "uri"]).ok_or_else(|| invalid("ref should be an object"))?;
        let text = |value: &serde_json::value::RawValue| serde_json::from_str::<String>(value.get()).ok();
        let (server, member, exposed, own) = if let Some(name) = name.and_then(text) {
            let unknown = || {
                let names = table.list(Kind::Prompts).entries.iter().map(|entry| &*entry.key);
                failure::unknown("prompt", &name, names, &table.directory, self.upstream.now())
            };
            let entry = table.entry(Kind::Prompts, &name).ok_or_else(unknown)?;
            (entry.server.clone(), "name", name.clone(), entry.own.clone())
        } else {
            let uri = uri.and_then(text).ok_or_else(|| invalid("ref should name a prompt or a resource"))?;
            let owner = table.uris.template_owner(&uri).or_else(|| table.uris.owner(&uri)).ok_or_else(|| self.no_resource(table, &uri))?;
            (owner.server, "uri", uri, owner.uri)
        };
        let mut params = splice::remove(&request.params, &[META]);
        if *own != exposed {
            let reference = splice::set(&reference, member, Body::json(&*own).bytes());
            params = splice::set(&params, "ref", reference.bytes());
        }
        Ok(self.call(table, request, Operation::Complete { server, params }, Body::default()).await?.1)
    }

    /// Returns the transparent server that a request for something unlisted goes to, unless its configuration filters it.
    fn answers_itself<'t>(&self, table: &'t Table, name: &str) -> Option<&'t ServerId> {
        table.transparent.as_ref().filter(|id| !table.directory.is_filtered(&ToolId::new((*id).clone(), name)))
    }

    /// Passes a request of any method to a transparent server.
    pub(super) async fn forward(&self, table: &Table, server: &ServerId, request: &Request) -> Result<Body, RpcError> {
        let params = splice::remove(&request.params, &[META]);
        let operation = Operation::Raw { server: server.clone(), method: request.method.to_string(), params };
        Ok(self.call(table, request, operation, Body::default()).await?.1)
    }

    fn no_resource(&self, table: &Table, uri: &str) -> RpcError {
        let servers: Vec<&str> = table.uris.servers().iter().map(ServerId::as_str).collect();
        let servers = if servers.is_empty() { "none".to_owned() } else { servers.join(", ") };
        let data = Body::json(&serde_json::json!({"uri": uri}));
        let message = format!("no server lists this resource; servers with resources: {servers}");
        RpcError { data: Some(data), ..failure::error(RESOURCE_NOT_FOUND, message) }
    }

    /// Makes a call for a request, again after a login if its server wants one. Returns the server that responded, and its result.
    async fn call(&self, table: &Table, request: &Request, operation: Operation, extra: Body) -> Result<(ServerId, Body), RpcError> {
        let _in_progress = (request.era == Era::Legacy).then(|| request.client.begin_call(&request.id, &request.outbox));
        if let Some(mut running) = self.unpark(&request.client.principal, &operation, &extra)? {
            running.desk.move_to(request.outbox.clone(), request.token.clone());
            let next = running.next().await;
            return self.conclude(table, request, running, next);
        }
        let extra = self.continue_login(request, &operation, extra).await?;
        let extra = self.unsealed(table, request, &operation, extra)?;
        let mut running = self.start(table, request, operation.clone(), extra.clone());
        let next = running.next().await;
        // The state of another round would be lost.
        let is_first = extra.fields([STATE]).is_none_or(|[state]| state.is_none());
        let Some((server, login)) = logins::wanted(&running, &next).filter(|_| is_first) else {
            return self.conclude(table, request, running, next);
        };
        match self.offer_login(request, &operation, &server, &login).await {
            Offered::Complete => {
                let mut again = self.start(table, request, operation, extra);
                let next = again.next().await;
                self.conclude(table, request, again, next)
            }
            Offered::Asks(result) => Ok((server, result)),
            Offered::Failed(error) => Err(error),
            Offered::No => self.conclude(table, request, running, next),
        }
    }

    /// Returns the further params of a request with the state that its server made, instead of the sealed one.
    fn unsealed(&self, table: &Table, request: &Request, operation: &Operation, extra: Body) -> Result<Body, RpcError> {
        let [state] = extra.fields([STATE]).unwrap_or_default();
        // A client may write `null` for a state that it did not get.
        let Some(state) = state.filter(|state| table.transparent.is_none() && state.get() != "null") else { return Ok(extra) };
        let sealed = serde_json::from_str::<String>(state.get()).ok();
        let opened = sealed.and_then(|sealed| self.seal.open(&request.client.principal, operation, &sealed, self.upstream.unix_ms()));
        // Never started without its state: it may have run.
        let opened = opened.ok_or_else(|| invalid("requestState is not valid for this request; start the call again"))?;
        Ok(splice::set(&extra, STATE, opened.as_bytes()))
    }

    /// Returns a result that asks the client for input, with a state that only this gateway can read.
    fn sealed(&self, table: &Table, request: &Request, operation: &Operation, result: &Body) -> Result<Body, RpcError> {
        let [state] = result.fields([STATE]).unwrap_or_default();
        let Some(state) = state.filter(|_| table.transparent.is_none()) else { return Ok(result.clone()) };
        let sealed = self.seal.close(&request.client.principal, operation, state.get(), self.upstream.unix_ms(), LIFETIME);
        let sealed = sealed.ok_or_else(|| failure::error(INTERNAL, "no random numbers"))?;
        Ok(splice::set(result, STATE, Body::json(&sealed).bytes()))
    }

    /// Starts the call of a request.
    fn start(&self, table: &Table, request: &Request, operation: Operation, extra: Body) -> Running {
        let (asked, questions) = mpsc::channel(QUESTIONS);
        let desk = self.desk(request, asked);
        // Ids of tasks are unique within one server only, and `tasks/get` names no server.
        let passage = Passage { relays_tasks: table.transparent.is_some(), ..self.passage(request, extra, &desk) };
        // The server is the authority on its arguments: its errors pass, and it may accept more than its schema says.
        let spec = CallSpec { check: ArgumentCheck::Skipped, ..CallSpec::new(operation.clone(), Origin::Client(request.client.id)) };
        let (call, settled) = self.upstream.pass(spec, passage);
        let upstream = self.upstream.clone();
        let cancel = move || upstream.cancel(call, "the client cancelled the request");
        Running::new(Box::new(cancel), settled, operation, desk, questions)
    }

    /// Returns what the call of a request brings for the engine.
    pub(super) fn passage(&self, request: &Request, extra: Body, desk: &Arc<RequestDesk>) -> Passage {
        let connection_desk: Option<Arc<dyn Desk>> = match request.era {
            Era::Legacy => Some(Arc::new(ConnectionDesk(request.client.clone()))),
            Era::Modern => None,
        };
        Passage {
            client: request.client.id,
            principal: request.client.principal.clone(),
            face: request.face.clone(),
            meta: request.meta.clone(),
            extra,
            wants_progress: request.token.is_some(),
            rounds: if request.era == Era::Modern { Rounds::Relay } else { Rounds::Drive },
            relays_tasks: false,
            desk: desk.clone(),
            connection_desk,
        }
    }

    /// Runs an exposed workflow for a request. A client that takes tasks gets one for a run that lasts.
    async fn call_workflow(
        &self,
        table: &Table,
        request: &Request,
        workflow: &ExposedWorkflow,
        operation: Operation,
        extra: Body,
    ) -> Result<Body, RpcError> {
        let mut running = match self.unpark(&request.client.principal, &operation, &extra)? {
            Some(running) => {
                running.desk.move_to(request.outbox.clone(), request.token.clone());
                running
            }
            None => match self.run_workflow(request, workflow, operation, &extra)? {
                Ok(running) => running,
                Err(result) => return Ok(result),
            },
        };
        let _in_progress = (request.era == Era::Legacy).then(|| request.client.begin_call(&request.id, &request.outbox));
        let next = tokio::select! {
            biased;
            next = running.next() => next,
            () = sleep(TASK_AFTER), if takes_tasks(request) => return self.begin_task(running, request.client.principal.clone()),
        };
        self.conclude(table, request, running, next).map(|(_, result)| result)
    }

    /// Returns the result of a call that has settled, or parks it because its server asks.
    fn conclude(&self, table: &Table, request: &Request, running: Running, next: Next) -> Result<(ServerId, Body), RpcError> {
        let server = running.server.clone();
        let settled = match next {
            Next::Settled(settled) => settled,
            Next::Asks(questions) => return Ok((server, self.park(running, request.client.principal.clone(), questions)?)),
        };
        running.desk.close();
        let settled = settled.ok_or_else(|| failure::error(INTERNAL, "the gateway is stopping"))?;
        let server = settled.by.clone().unwrap_or(server);
        match &settled.outcome {
            Outcome::Ok { result } | Outcome::ToolError { result } => Ok((server, result.clone())),
            Outcome::Interim { result, .. } => Ok((server, self.sealed(table, request, &running.operation, result)?)),
            Outcome::Failed { failure } => {
                // Its state may have changed since the call began.
                let directory = self.upstream.directory();
                Err(failure::of_call(
                    failure,
                    &server,
                    if directory.servers.is_empty() { &table.directory } else { &directory },
                    self.upstream.now(),
                ))
            }
            Outcome::Cancelled { .. } => Err(failure::error(INTERNAL, format!("the call of server {server} was cancelled"))),
        }
    }
}

/// Returns the members of the params that the operation does not hold, without `_meta`; empty if there are none.
fn extra(request: &Request, held: &[&str]) -> Body {
    let without = splice::remove(&request.params, &[held, &[META]].concat());
    if without.bytes().trim_ascii() == b"{}" { Body::default() } else { without }
}
