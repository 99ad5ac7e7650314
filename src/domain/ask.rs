//! Questions from servers: elicitation, sampling and roots, in either protocol era.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    body::Body,
    bounds,
    id::{AskId, CallId, ServerId},
    run::RunStep,
    time::Stamp,
};

/// A question of a server that needs an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Its id in the inbox.
    pub id: AskId,
    /// The server that asks.
    pub server: ServerId,
    /// The call that the question belongs to, if known.
    pub call: Option<CallId>,
    /// The question.
    pub question: Question,
    /// Time of receipt.
    pub at: Stamp,
    /// The workflow step that asks, if any; then `server` holds the name of the workflow.
    #[serde(default)]
    pub run: Option<RunStep>,
}

/// The content of a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Question {
    /// `elicitation/create` in form mode.
    Form {
        /// The text for the user.
        message: String,
        /// The requested schema, as received.
        schema: Body,
    },
    /// `elicitation/create` in URL mode. The URL is only displayed, never fetched.
    Url {
        /// The text for the user.
        message: String,
        /// The URL that the user is asked to open.
        url: String,
    },
    /// `sampling/createMessage`.
    Sampling {
        /// `params` of the request.
        params: Body,
    },
    /// `roots/list`.
    Roots,
}

impl Question {
    /// Returns the name for users.
    pub fn word(&self) -> &'static str {
        match self {
            Question::Form { .. } => "form",
            Question::Url { .. } => "open a page",
            Question::Sampling { .. } => "sampling",
            Question::Roots => "roots",
        }
    }

    /// Parses a request by its method and parameters; `None` for methods that are not questions.
    ///
    /// Keeps no reference to the message. The text for the user is cut to its limit.
    pub fn from_request(method: &str, params: &Body) -> Option<Question> {
        let [mode, message, url, schema] = params.fields(["mode", "message", "url", "requestedSchema"]).unwrap_or_default();
        let text = |field: Option<&RawValue>, limit| field.and_then(|raw| bounds::json_text(raw.get(), limit)).unwrap_or_default();
        let message = || text(message, bounds::DESCRIPTION);
        match method {
            "elicitation/create" if text(mode, bounds::LINE) == "url" => {
                Some(Question::Url { message: message(), url: text(url, bounds::QUESTION) })
            }
            "elicitation/create" => {
                let schema = schema.map_or_else(|| Body::from("{}"), |schema| Body::from(schema.get()));
                Some(Question::Form { message: message(), schema })
            }
            "sampling/createMessage" => Some(Question::Sampling { params: params.detached() }),
            "roots/list" => Some(Question::Roots),
            _ => None,
        }
    }

    /// Returns the approximate size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Ask>()
            + match self {
                Question::Form { message, schema } => message.len() + schema.len(),
                Question::Url { message, url } => message.len() + url.len(),
                Question::Sampling { params } => params.len(),
                Question::Roots => 0,
            }
    }

    /// Returns whether the question is too large to be asked ([`bounds::QUESTION`]).
    pub fn oversize(&self) -> bool {
        match self {
            Question::Form { schema, .. } => schema.len() > bounds::QUESTION,
            Question::Url { url, .. } => url.len() > bounds::NAME,
            Question::Sampling { params } => params.len() > bounds::QUESTION,
            Question::Roots => false,
        }
    }
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Answer {
    /// Accepted, with the form's content, the sampled message (a `CreateMessageResult`) or the roots (a
    /// `ListRootsResult`); empty for an opened page.
    Accept {
        /// JSON.
        content: Body,
    },
    /// Declined by the user.
    Decline,
    /// Cancelled: the user did not choose, or the call ended meanwhile.
    Cancel,
}

impl Answer {
    /// Converts the answer to the `result` of the response to `question`, or to a JSON-RPC error `(code, message)`.
    ///
    /// Declined sampling is the error -1 (MCP 2025-11-25, client/sampling, "Error Handling").
    pub fn to_result(&self, question: &Question) -> Result<serde_json::Value, (i64, String)> {
        use serde_json::json;
        match (question, self) {
            (Question::Form { .. }, Answer::Accept { content }) => {
                Ok(json!({"action": "accept", "content": content.value().unwrap_or_else(|| json!({}))}))
            }
            (Question::Url { .. }, Answer::Accept { .. }) => Ok(json!({"action": "accept"})),
            (Question::Form { .. } | Question::Url { .. }, Answer::Decline) => Ok(json!({"action": "decline"})),
            (Question::Form { .. } | Question::Url { .. }, Answer::Cancel) => Ok(json!({"action": "cancel"})),
            (Question::Sampling { .. }, Answer::Accept { content }) => {
                content.parse().map_err(|e| (-32603, format!("the configured sampling answer is not valid JSON: {e}")))
            }
            (Question::Roots, Answer::Accept { content }) => Ok(content.value().unwrap_or_else(|| json!({"roots": []}))),
            (Question::Sampling { .. }, _) => Err((-1, "User rejected sampling request".into())),
            (Question::Roots, _) => Err((-32603, "Roots are not shared with this server".into())),
        }
    }
}

/// How a question left the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskEnd {
    /// The user answered it.
    Answered,
    /// The user declined it.
    Declined,
    /// The user did not choose.
    Cancelled,
    /// The call ended first, or the connection of the server closed.
    CallEnded,
    /// The server's policy answered it.
    AnsweredByPolicy,
    /// The server's policy declined it.
    DeclinedByPolicy,
    /// The configured roots were the answer.
    ConfiguredRoots,
}

impl fmt::Display for AskEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AskEnd::Answered => "answered",
            AskEnd::Declined => "declined",
            AskEnd::Cancelled => "cancelled",
            AskEnd::CallEnded => "withdrawn: the call ended",
            AskEnd::AnsweredByPolicy => "answered by policy",
            AskEnd::DeclinedByPolicy => "declined by policy",
            AskEnd::ConfiguredRoots => "answered with the configured roots",
        })
    }
}

/// How a server's questions of one kind are answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskPolicy {
    /// By the user, in the inbox.
    #[default]
    Ask,
    /// Declined immediately.
    Decline,
    /// Answered immediately with this JSON (form content, a `CreateMessageResult`, …). For roots: the configured
    /// list.
    Fixed(Body),
}
