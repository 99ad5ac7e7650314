//! The MCP side of every demo server, for both protocol eras: lists from the catalog, arguments checked
//! against the schema, and the answer of a [`Backend`] put on the wire.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult, CompletionInfo, ContentBlock,
        CustomNotification, GetPromptRequestParams, GetPromptResponse, GetPromptResult, InputRequest, InputRequests, InputRequiredResult,
        InputResponses, JsonObject, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
        PaginatedRequestParams, ProgressNotificationParam, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
        ReadResourceResult, ResourceContents, ServerConfig, ServerNotification, ServerRequest,
    },
    service::{RequestContext, ServiceError},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::catalog::Catalog;

/// Names of the log levels (RFC 5424), least important first.
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
/// What a client gets that never chose a level.
const INFO: usize = 1;

/// What a demo server does. The handler has checked that the tool exists and the arguments fit.
#[async_trait]
pub(super) trait Backend: Send + Sync {
    /// Calls a tool.
    async fn call(&self, tool: &str, arguments: Value, call: &Call<'_>) -> Result<Done, Fault>;

    /// The MIME type and text of a resource; `None` when there is no such one.
    fn read(&self, _uri: &str) -> Result<Option<(String, String)>, Fault> {
        Ok(None)
    }

    /// A prompt with its arguments filled in.
    fn prompt(&self, name: &str, _arguments: &JsonObject) -> Result<GetPromptResult, ErrorData> {
        Err(ErrorData::invalid_params(format!("unknown prompt `{name}`"), None))
    }

    /// Values that complete an argument.
    fn complete(&self, _params: &CompleteRequestParams) -> Result<Vec<String>, Fault> {
        Ok(vec![])
    }
}

/// What a tool answers.
#[derive(Debug)]
pub(super) enum Done {
    /// A value that fits the tool's output schema; sent as `structuredContent` and as text.
    Data(Value),
    /// A sentence.
    Text(String),
}

impl Done {
    /// A value that fits the tool's output schema.
    pub fn data(value: impl Serialize) -> Result<Done, Fault> {
        Ok(Done::Data(serde_json::to_value(value)?))
    }
}

/// Why a tool has no answer yet, or none at all.
#[derive(Debug)]
pub(super) enum Fault {
    /// The tool's own error, for the caller to read (`isError: true`).
    Refused(String),
    /// A question that the client has to answer first (2026-07-28, SEP-2322).
    Ask(Box<InputRequiredResult>),
    /// A JSON-RPC error.
    Rpc(ErrorData),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Rpc(ErrorData::internal_error(format!("the demo's database: {error}"), None))
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Fault::Rpc(ErrorData::internal_error(format!("the demo's data: {error}"), None))
    }
}

impl Fault {
    /// A fault outside of a tool, where there is nothing but JSON-RPC errors.
    fn into_rpc(self) -> ErrorData {
        match self {
            Fault::Rpc(error) => error,
            Fault::Refused(text) => ErrorData::invalid_params(text, None),
            Fault::Ask(_) => ErrorData::internal_error("questions are asked in tool calls only", None),
        }
    }
}

/// Unknown users are the tool's own error everywhere.
pub(super) fn no_user(id: &str) -> Fault {
    Fault::Refused(format!("There is no user {id}. query_users of the database server lists those that exist."))
}

/// A call under way: how its tool talks to the client meanwhile.
pub(super) struct Call<'a> {
    context: &'a RequestContext<RoleServer>,
    answers: Option<InputResponses>,
    level: usize,
}

impl Call<'_> {
    /// Reports progress, if the client asked for it.
    pub async fn progress(&self, done: f64, total: f64, message: impl Into<String>) {
        if let Some(token) = self.context.meta.get_progress_token() {
            let note = ProgressNotificationParam::new(token, done).with_total(total).with_message(message);
            // A client that is gone needs no progress; the end of the connection ends the call.
            let _ = self.context.peer.notify_progress(note).await;
        }
    }

    /// Writes a log message (`notifications/message`), if the client wants that level.
    ///
    /// Since 2026-07-28 only a request that names a level gets any; before, `logging/setLevel` counts.
    pub async fn log(&self, level: &str, logger: &str, data: Value) {
        let wanted = match self.context.meta.log_level() {
            Some(level) => rank(&level),
            None if self.modern() => return,
            None => self.level,
        };
        if LEVELS.iter().position(|name| *name == level).is_some_and(|rank| rank >= wanted) {
            let params = json!({"level": level, "logger": logger, "data": data});
            let note = ServerNotification::CustomNotification(CustomNotification::new("notifications/message", Some(params)));
            let _ = self.context.peer.send_notification(note).await;
        }
    }

    /// Resolves when the client cancels the call.
    pub async fn cancelled(&self) {
        self.context.ct.cancelled().await;
    }

    /// Whether the client declared that it can answer `elicitation/create` forms.
    pub fn can_ask_form(&self) -> bool {
        self.context
            .client_capabilities()
            .and_then(|client| client.elicitation)
            .is_some_and(|modes| modes.form.is_some() || modes.url.is_none())
    }

    /// Whether the client declared that it can answer `sampling/createMessage`.
    pub fn can_sample(&self) -> bool {
        self.context.client_capabilities().is_some_and(|client| client.sampling.is_some())
    }

    /// Asks the client and gives its `result`. A refusal of the client is the tool's own error.
    ///
    /// A client of 2026-07-28 gets the question as the answer to its call and calls again with the reply under `key`.
    pub async fn ask(&self, key: &str, method: &str, params: Value) -> Result<Value, Fault> {
        if let Some(answer) = self.answers.as_ref().and_then(|answers| answers.get(key)) {
            return Ok(answer.clone());
        }
        let request = json!({"method": method, "params": params});
        if self.modern() {
            let request: InputRequest = serde_json::from_value(request)?;
            let requests = InputRequests::from([(key.to_owned(), request)]);
            return Err(Fault::Ask(Box::new(InputRequiredResult::from_input_requests(requests))));
        }
        let request: ServerRequest = serde_json::from_value(request)?;
        tokio::select! {
            answer = self.context.peer.send_request(request) => match answer {
                Ok(result) => Ok(serde_json::to_value(result)?),
                Err(ServiceError::McpError(error)) => Err(Fault::Refused(format!("The client refused {method}: {}", error.message))),
                Err(error) => Err(Fault::Refused(format!("The client did not answer {method}: {error}"))),
            },
            () = self.cancelled() => Err(Fault::Refused("The call was cancelled while the question was open.".into())),
        }
    }

    fn modern(&self) -> bool {
        self.context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
    }
}

/// The place of a level in [`LEVELS`].
fn rank(level: &impl Serialize) -> usize {
    let name = serde_json::to_value(level).ok();
    LEVELS.iter().position(|known| name.as_ref().and_then(Value::as_str) == Some(known)).unwrap_or(INFO)
}

/// Speaks MCP for one client of one demo server.
pub(super) struct Handler {
    catalog: Arc<Catalog>,
    backend: Arc<dyn Backend>,
    level: AtomicUsize,
}

impl Handler {
    /// A handler for a new client.
    pub fn new(catalog: Arc<Catalog>, backend: Arc<dyn Backend>) -> Handler {
        Handler { catalog, backend, level: AtomicUsize::new(INFO) }
    }

    async fn run(&self, request: CallToolRequestParams, context: &RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let Some(entry) = self.catalog.tool(&request.name) else {
            return Err(ErrorData::invalid_params(format!("unknown tool `{}`", request.name), None));
        };
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let wrong = entry.check(&arguments);
        if !wrong.is_empty() {
            // Wrong arguments are the tool's own error, so that a model can correct them (SEP-1303).
            return Ok(refused(format!("The arguments do not fit:\n{}", wrong.join("\n"))));
        }
        let call = Call { context, answers: request.input_responses, level: self.level.load(Ordering::Relaxed) };
        match self.backend.call(&request.name, arguments, &call).await {
            Ok(Done::Data(value)) => Ok(CallToolResult::structured(value).into()),
            Ok(Done::Text(text)) => Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into()),
            Err(Fault::Refused(text)) => {
                call.log("warning", &request.name, json!(text)).await;
                Ok(refused(text))
            }
            Err(Fault::Ask(question)) => Ok((*question).into()),
            Err(Fault::Rpc(error)) => {
                call.log("error", &request.name, json!(error.message)).await;
                Err(error)
            }
        }
    }
}

fn refused(text: String) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(text)]).into()
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.catalog.info.clone()
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        self.run(request, &context).await
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.catalog.tools.iter().map(|entry| entry.tool.clone()).collect()))
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        self.catalog.tool(name).map(|entry| entry.tool.clone())
    }

    async fn list_prompts(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(self.catalog.prompts.clone()))
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, _: RequestContext<RoleServer>) -> Result<GetPromptResponse, ErrorData> {
        Ok(self.backend.prompt(&request.name, &request.arguments.unwrap_or_default())?.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(self.catalog.resources.clone()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(self.catalog.templates.clone()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        match self.backend.read(&request.uri).map_err(Fault::into_rpc)? {
            Some((mime, text)) => {
                let contents = ResourceContents::TextResourceContents { uri: request.uri, mime_type: Some(mime), text, meta: None };
                Ok(ReadResourceResult::new(vec![contents]).into())
            }
            None => Err(ErrorData::resource_not_found(format!("unknown resource {}", request.uri), Some(json!({"uri": request.uri})))),
        }
    }

    async fn complete(&self, request: CompleteRequestParams, _: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        let mut values = self.backend.complete(&request).map_err(Fault::into_rpc)?;
        let total = values.len();
        values.truncate(CompletionInfo::MAX_VALUES);
        let mut info = CompletionInfo::default();
        info.has_more = Some(total > values.len());
        info.total = u32::try_from(total).ok();
        info.values = values;
        Ok(CompleteResult::new(info))
    }

    #[expect(deprecated, reason = "logging left the protocol in 2026-07-28; clients of older revisions still set a level")]
    async fn set_level(&self, request: rmcp::model::SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.level.store(rank(&request.level), Ordering::Relaxed);
        Ok(())
    }
}
