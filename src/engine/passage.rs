//! Passages: what the call of a client brings in addition to its specification, and the desk that answers for the client.
//!
//! A face that serves clients of its own (the gateway) starts their calls with [`Engine::pass`]. Everything that crosses is raw
//! JSON, so that nothing of a message is lost.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::{
    Engine,
    commands::not_started,
    ports::CallExecutor,
    runner::{Resumption, RunEnd},
};
use crate::domain::{
    body::Body,
    call::{CallSpec, RpcError},
    capabilities::{ClientCapabilities, TASKS},
    client::{self, Face, Principal},
    command::CommandError,
    event::Settled,
    id::{CallId, ClientId},
    raw_object::RawObject,
    request_meta,
    run::{RunId, RunSpec, StepAnswer},
    trace::CARRIERS,
};

/// The members of `params` that continue a call (MCP 2026-07-28, basic/patterns/mrtr).
const INPUT_RESPONSES: &str = "inputResponses";
const REQUEST_STATE: &str = "requestState";
/// The member of `params` that requests a task (MCP 2025-11-25, basic/utilities/tasks).
const TASK: &str = "task";

/// What a call of a client brings in addition to its [`CallSpec`]. Not serialised, and not part of events.
#[derive(Clone)]
pub struct Passage {
    /// The client.
    pub client: ClientId,
    /// On whose behalf the call is made.
    pub principal: Principal,
    /// What the server is to see of the client.
    pub face: Arc<Face>,
    /// Members to pass on in `_meta`: a JSON object, or empty. Members that Switchboard sets itself are left out.
    pub meta: Body,
    /// Further members of `params`: a JSON object, or empty. Members that the operation sets itself are left out.
    pub extra: Body,
    /// Whether the client wants progress. Without it the server is not asked for any.
    pub wants_progress: bool,
    /// Who answers interim results.
    pub rounds: Rounds,
    /// Whether the client may get tasks of servers: it polls them with the ids of the servers, so that nothing may be between them.
    /// Otherwise the engine polls them, and the client cannot ask for one.
    pub relays_tasks: bool,
    /// Answers and observes for the client as long as the call runs.
    pub desk: Arc<dyn Desk>,
    /// Answers for the client outside of calls: the connection of a legacy client takes any request. `None` for clients that can
    /// be asked only as the answer to a call; then no two of their calls share a session on which a server may ask.
    pub connection_desk: Option<Arc<dyn Desk>>,
}

/// Who answers interim results: requests for input, and tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// The client: the call ends with [`Outcome::Interim`](crate::domain::call::Outcome::Interim). A continuation is another call
    /// with the answers among [`Passage::extra`]; it is sent to the server that it addresses, and only once.
    Relay,
    /// The engine: it asks the desk and polls tasks until the final result.
    Drive,
}

/// Observes a call for its client, and answers the requests of its server.
#[async_trait]
pub trait Desk: Send + Sync {
    /// The server reported progress: the raw `params` of the notification. Its token is that of the engine; progress of a task
    /// that the engine polls has none. Must not block.
    fn progress(&self, params: &Body);

    /// The server sent a log message in the course of the call: the raw `params` of `notifications/message`. Must not block.
    fn message(&self, params: &Body);

    /// Answers a request of the server (`elicitation/create`, `sampling/createMessage`, `roots/list`) that the client's
    /// capabilities allow. Dropping the future withdraws the request.
    async fn ask(&self, method: &str, params: Body) -> Result<Body, RpcError>;
}

/// A passage, prepared once for all attempts of its call.
pub struct PreparedPassage {
    passage: Passage,
    /// The capabilities that the client declared.
    declared: Arc<ClientCapabilities>,
    /// The capabilities to declare to modern servers.
    capabilities: Arc<ClientCapabilities>,
    /// The face with these capabilities.
    face: Arc<Face>,
    extra: RawObject,
    meta: Body,
    client_name: Option<Arc<str>>,
}

impl PreparedPassage {
    /// Prepares a passage.
    pub fn new(passage: Passage) -> PreparedPassage {
        let declared = Arc::new(ClientCapabilities::parse(&passage.face.capabilities).unwrap_or_else(ClientCapabilities::none));
        // The engine follows tasks of the extension for clients that drive nothing themselves.
        let (capabilities, face) = match passage.rounds {
            Rounds::Drive if !declared.declares_member("extensions", TASKS) => {
                let capabilities = ClientCapabilities::clone(&declared).with_extension(TASKS, Body::from("{}"));
                let face = Face { capabilities: capabilities.to_body(), ..Face::clone(&passage.face) };
                (Arc::new(capabilities), Arc::new(face))
            }
            _ => (declared.clone(), passage.face.clone()),
        };
        let extra = RawObject::parse(&passage.extra).unwrap_or_default().without("_meta");
        let extra = if passage.relays_tasks { extra } else { extra.without(TASK) };
        let meta = request_meta::without_own(&passage.meta);
        let client_name = client::info_text(&passage.face.client_info, "name");
        PreparedPassage { declared, capabilities, face, extra, meta, client_name, passage }
    }

    /// Returns the client.
    pub fn client(&self) -> ClientId {
        self.passage.client
    }

    /// Returns the name of the client, as it described itself.
    pub fn client_name(&self) -> Option<&Arc<str>> {
        self.client_name.as_ref()
    }

    /// Returns on whose behalf the call is made.
    pub fn principal(&self) -> &Principal {
        &self.passage.principal
    }

    /// Returns the desk of the call.
    pub fn desk(&self) -> &Arc<dyn Desk> {
        &self.passage.desk
    }

    /// Returns the desk of the client outside of calls.
    pub fn connection_desk(&self) -> Option<&Arc<dyn Desk>> {
        self.passage.connection_desk.as_ref()
    }

    /// Returns the capabilities that the client declared.
    pub fn declared(&self) -> &Arc<ClientCapabilities> {
        &self.declared
    }

    /// Returns what the client itself declared.
    pub fn client_face(&self) -> &Arc<Face> {
        &self.passage.face
    }

    /// Returns what a modern server is to see of the client.
    pub fn face(&self) -> &Arc<Face> {
        &self.face
    }

    /// Returns the capabilities that a modern server is to see.
    pub fn capabilities(&self) -> &Arc<ClientCapabilities> {
        &self.capabilities
    }

    /// Returns whether the client declared anything that a server may ask for.
    pub fn can_be_asked(&self) -> bool {
        ["elicitation", "sampling", "roots"].into_iter().any(|name| self.declared.declares(name))
    }

    /// Returns the members to pass on in `_meta`.
    pub fn meta(&self) -> &Body {
        &self.meta
    }

    /// Returns the further members of `params`.
    pub fn extra(&self) -> &RawObject {
        &self.extra
    }

    /// Returns the further members of `params` for a later round, which has other answers and another state.
    pub fn extra_of_round(&self) -> RawObject {
        self.extra.clone().without(INPUT_RESPONSES).without(REQUEST_STATE)
    }

    /// Returns whether the server is asked for progress.
    pub fn wants_progress(&self) -> bool {
        self.passage.wants_progress
    }

    /// Returns whether interim results go to the client.
    pub fn relays(&self) -> bool {
        self.passage.rounds == Rounds::Relay
    }

    /// Returns whether tasks go to the client, which may get some: it asked for one itself, or relays and declared the extension.
    pub fn relays_tasks(&self) -> bool {
        let takes_tasks = || self.relays() && self.capabilities.declares_member("extensions", TASKS);
        self.passage.relays_tasks && (self.requests_task() || takes_tasks())
    }

    /// Returns whether the client asked for a task.
    pub fn requests_task(&self) -> bool {
        self.extra.get(TASK).is_some()
    }

    /// Returns whether the call continues another one. The state in it belongs to the server that it addresses.
    pub fn continues(&self) -> bool {
        self.extra.get(INPUT_RESPONSES).is_some() || self.extra.get(REQUEST_STATE).is_some()
    }

    /// Returns whether the result may depend on what the client added to the request.
    pub fn changes_result(&self) -> bool {
        let meta = RawObject::parse(&self.meta).unwrap_or_default();
        let adds_meta = meta.names().any(|name| !CARRIERS.contains(&name));
        !self.extra.is_empty() || adds_meta
    }
}

impl Engine {
    /// Queues a call of a client and returns its id, and the future that runs it and resolves to its result. Dropping the
    /// future does not cancel the call ([`Command::Cancel`](crate::domain::command::Command::Cancel) does).
    pub fn pass(&self, spec: CallSpec, passage: Arc<Passage>) -> (CallId, BoxFuture<'static, Option<Arc<Settled>>>) {
        let prepared = Arc::new(PreparedPassage::new(Arc::unwrap_or_clone(passage)));
        self.start_call(spec, Some(prepared))
    }
}

/// Makes the calls of a client's run.
struct PassingExecutor {
    engine: Arc<Engine>,
    passage: Arc<PreparedPassage>,
}

impl CallExecutor for PassingExecutor {
    fn call(&self, spec: CallSpec) -> (CallId, BoxFuture<'static, Option<Arc<Settled>>>) {
        self.engine.start_call(spec, Some(self.passage.clone()))
    }

    fn cancel(&self, call: CallId, reason: &str) {
        self.engine.cancel(call, reason);
    }

    fn principal(&self) -> Principal {
        self.passage.principal().clone()
    }
}

impl Engine {
    /// Starts a run of a client: servers ask the desk of `passage` in the course of its steps. The engine drives all rounds, and
    /// the members for `params` and `_meta` are left out, since they belong to no step.
    pub fn pass_run(&self, run: RunId, spec: Arc<RunSpec>, passage: Passage) -> Result<RunEnd, CommandError> {
        let executor = self.executor_of(passage)?;
        self.runs.start_through(executor, run, spec).map_err(|why| not_started(run, why))
    }

    /// Resumes a waiting run of a client with the answers to its questions, as [`Engine::pass_run`] starts one.
    pub fn pass_resumption(&self, run: RunId, answers: Vec<(String, StepAnswer)>, passage: Passage) -> Result<RunEnd, CommandError> {
        let executor = self.executor_of(passage)?;
        let how = Resumption { answers, ask: false, wait: true, timeout: None };
        self.runs.resume_through(executor, run, how).map_err(|why| not_started(run, why))
    }

    fn executor_of(&self, passage: Passage) -> Result<Arc<dyn CallExecutor>, CommandError> {
        let engine = self.own.upgrade().ok_or(CommandError::Ended)?;
        let passage = Passage { meta: Body::default(), extra: Body::default(), rounds: Rounds::Drive, ..passage };
        Ok(Arc::new(PassingExecutor { engine, passage: Arc::new(PreparedPassage::new(passage)) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoDesk;

    #[async_trait]
    impl Desk for NoDesk {
        fn progress(&self, _: &Body) {}
        fn message(&self, _: &Body) {}
        async fn ask(&self, _: &str, _: Body) -> Result<Body, RpcError> {
            std::future::pending().await
        }
    }

    fn prepared(rounds: Rounds, capabilities: &'static str, meta: &'static str, extra: &'static str) -> PreparedPassage {
        PreparedPassage::new(Passage {
            client: ClientId(7),
            principal: Principal::local(),
            face: Arc::new(Face { capabilities: Body::from(capabilities), ..Face::default() }),
            meta: Body::from(meta),
            extra: Body::from(extra),
            wants_progress: false,
            rounds,
            relays_tasks: true,
            desk: Arc::new(NoDesk),
            connection_desk: None,
        })
    }

    #[test]
    fn the_engine_adds_only_the_extension_that_it_drives() {
        let elicits = r#"{"elicitation":{"form":{}},"vendor/x":{"n":1.50}}"#;
        assert_eq!(prepared(Rounds::Relay, elicits, "", "").face().capabilities.text(), elicits);
        let driven = prepared(Rounds::Drive, elicits, "", "");
        let expected = format!(r#"{{"elicitation":{{"form":{{}}}},"vendor/x":{{"n":1.50}},"extensions":{{"{TASKS}":{{}}}}}}"#);
        assert_eq!(driven.face().capabilities.text(), expected);
        assert!(driven.capabilities().declares_member("extensions", TASKS) && !driven.relays_tasks());
        let own = r#"{"extensions":{"com.example/x":{}}}"#;
        let expected = format!(r#"{{"extensions":{{"com.example/x":{{}},"{TASKS}":{{}}}}}}"#);
        assert_eq!(prepared(Rounds::Drive, own, "", "").face().capabilities.text(), expected);
        let tasks = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        assert!(prepared(Rounds::Relay, tasks, "", "").relays_tasks());
        // A legacy client asks for a task with each call.
        let asking = prepared(Rounds::Drive, "{}", "", r#"{"task":{"ttl":1}}"#);
        assert!(asking.relays_tasks() && asking.requests_task());
        let between = PreparedPassage::new(Passage { relays_tasks: false, ..asking.passage });
        assert!(!between.relays_tasks() && !between.requests_task() && between.extra().is_empty());
    }

    #[test]
    fn members_of_the_client_pass_and_those_of_switchboard_do_not() {
        let meta = r#"{"traceparent":"00-0af7","progressToken":3,"io.modelcontextprotocol/logLevel":"debug","vendor/n":1.00}"#;
        let passed = prepared(Rounds::Relay, "{}", meta, r#"{"requestState":"s\u2028","_meta":{"x":1},"vendor":2.0}"#);
        assert_eq!(passed.meta().text(), r#"{"traceparent":"00-0af7","vendor/n":1.00}"#);
        assert_eq!(passed.extra().to_body().text(), r#"{"requestState":"s\u2028","vendor":2.0}"#);
        assert_eq!(passed.extra_of_round().to_body().text(), r#"{"vendor":2.0}"#);
        assert!(passed.continues() && passed.changes_result());
        let traced = prepared(Rounds::Relay, "{}", r#"{"traceparent":"00-0af7","baggage":"a=b"}"#, "");
        assert!(!traced.continues() && !traced.changes_result());
        assert!(prepared(Rounds::Relay, "{}", r#"{"tenant":1}"#, "").changes_result());
    }
}
