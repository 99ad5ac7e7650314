//! The request of a call: its operation, and how the engine treats it.

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::Origin;
use crate::domain::{
    body::Body,
    id::{CallId, ClientId, ServerId, ToolId},
    run::RunStep,
    trace::{TraceParent, TraceState},
};

/// The operation that a call requests from a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Operation {
    /// `tools/call`.
    Tool {
        /// The tool.
        tool: ToolId,
        /// The arguments object: JSON text exactly as sent.
        arguments: Body,
    },
    /// `resources/read`.
    Resource {
        /// The server.
        server: ServerId,
        /// The resource.
        uri: String,
    },
    /// `prompts/get`.
    Prompt {
        /// The server.
        server: ServerId,
        /// The prompt's name.
        name: String,
        /// Its arguments: a JSON object of strings.
        arguments: Body,
    },
    /// `completion/complete`.
    Complete {
        /// The server.
        server: ServerId,
        /// The complete `params`, JSON.
        params: Body,
    },
    /// Any other request, sent as is.
    Raw {
        /// The server.
        server: ServerId,
        /// The method.
        method: String,
        /// `params`, JSON; absent if empty.
        params: Body,
    },
}

impl Operation {
    /// Returns the server that receives the request.
    pub fn server(&self) -> &ServerId {
        match self {
            Operation::Tool { tool, .. } => &tool.server,
            Operation::Resource { server, .. }
            | Operation::Prompt { server, .. }
            | Operation::Complete { server, .. }
            | Operation::Raw { server, .. } => server,
        }
    }

    /// Returns the JSON-RPC method.
    pub fn method(&self) -> &str {
        match self {
            Operation::Tool { .. } => "tools/call",
            Operation::Resource { .. } => "resources/read",
            Operation::Prompt { .. } => "prompts/get",
            Operation::Complete { .. } => "completion/complete",
            Operation::Raw { method, .. } => method,
        }
    }

    /// Returns whether the request may change something at the server. By the protocol, reads, lists, prompts and completions
    /// do not; a request that is unknown here may.
    pub fn has_effects(&self) -> bool {
        const READS: [&str; 12] = [
            "completion/complete",
            "ping",
            "prompts/get",
            "prompts/list",
            "resources/list",
            "resources/read",
            "resources/templates/list",
            "server/discover",
            "tasks/get",
            "tasks/list",
            "tasks/result",
            "tools/list",
        ];
        !READS.contains(&self.method())
    }

    /// Returns an argument of a tool call as text: strings as they are, other values as JSON.
    pub fn argument(&self, name: &str) -> Option<String> {
        let Operation::Tool { arguments, .. } = self else { return None };
        match arguments.value()?.get(name)? {
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Returns the approximate size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        match self {
            Operation::Tool { arguments, .. } => arguments.len(),
            Operation::Resource { uri, .. } => uri.len(),
            Operation::Prompt { name, arguments, .. } => name.len() + arguments.len(),
            Operation::Complete { params, .. } => params.len(),
            Operation::Raw { method, params, .. } => method.len() + params.len(),
        }
    }

    /// Returns the subject for users: the tool's own name, URI, prompt name or method.
    pub fn subject(&self) -> &str {
        match self {
            Operation::Tool { tool, .. } => &tool.name,
            Operation::Resource { uri, .. } => uri,
            Operation::Prompt { name, .. } => name,
            Operation::Complete { .. } => "completion/complete",
            Operation::Raw { method, .. } => method,
        }
    }
}

/// A requested call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallSpec {
    /// The operation.
    pub operation: Operation,
    /// The origin of the request.
    pub origin: Origin,
    /// Overall deadline, overriding the server's.
    pub timeout: Option<Duration>,
    /// The workflow step that the call belongs to.
    #[serde(default)]
    pub run: Option<RunStep>,
    /// Whether arguments that violate the tool's schema are sent.
    #[serde(default, skip_serializing_if = "ArgumentCheck::is_enforced")]
    pub check: ArgumentCheck,
    /// Members to add to `_meta` of the request: a JSON object ([`crate::domain::request_meta::parse`]), or empty.
    #[serde(default, skip_serializing_if = "Body::is_empty")]
    pub meta: Body,
    /// The call that this one continues: it ended with an interim result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<CallId>,
    /// The client that requested the call. The engine sets it; a client cannot choose it.
    #[serde(default, skip_serializing_if = "ClientId::is_local")]
    pub client: ClientId,
    /// The name of the client, as it described itself. The engine sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<Arc<str>>,
    /// The position in a trace that the caller gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceParent>,
    /// `tracestate` of that trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_state: Option<TraceState>,
}

impl CallSpec {
    /// Creates a call with the server's deadline, outside of a workflow.
    pub fn new(operation: Operation, origin: Origin) -> Self {
        Self {
            operation,
            origin,
            timeout: None,
            run: None,
            check: ArgumentCheck::Enforced,
            meta: Body::default(),
            follows: None,
            client: ClientId::LOCAL,
            client_name: None,
            trace: None,
            trace_state: None,
        }
    }

    /// Returns the requester for users: a client by its name, else the origin.
    pub fn requester(&self) -> Cow<'_, str> {
        match (self.origin, &self.client_name) {
            (Origin::Client(_), Some(name)) => Cow::Borrowed(name),
            (origin, _) => origin.to_string().into(),
        }
    }

    /// Creates a call of `tool` with `arguments` (JSON text) and the server's deadline.
    pub fn tool(tool: ToolId, arguments: impl Into<Body>, origin: Origin) -> Self {
        Self::new(Operation::Tool { tool, arguments: arguments.into() }, origin)
    }
}

/// Whether the engine checks the arguments of a call against the tool's schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentCheck {
    /// Arguments that violate the schema are not sent.
    #[default]
    Enforced,
    /// Any JSON object is sent. The face has shown the violations to the user.
    Skipped,
}

impl ArgumentCheck {
    /// Returns whether arguments that violate the schema are refused.
    pub fn is_enforced(&self) -> bool {
        *self == ArgumentCheck::Enforced
    }
}
