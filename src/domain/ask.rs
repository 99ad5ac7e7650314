//! Questions from servers: elicitation, sampling and roots, whichever era brought them.

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

/// A question of a server that somebody or something has to answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Its place in the inbox.
    pub id: AskId,
    /// The server that asks.
    pub server: ServerId,
    /// The call in whose course it asks, as far as that is known.
    pub call: Option<CallId>,
    /// What it asks.
    pub question: Question,
    /// When it came.
    pub at: Stamp,
    /// The step of a run that asks, if it is one; `server` is then the workflow's name and no server.
    #[serde(default)]
    pub run: Option<RunStep>,
}

/// What a server asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Question {
    /// `elicitation/create` in form mode.
    Form {
        /// The text for the user.
        message: String,
        /// The requested schema, as it came.
        schema: Body,
    },
    /// `elicitation/create` in URL mode. The URL is only shown, never fetched.
    Url {
        /// The text for the user.
        message: String,
        /// The address that the user is asked to open.
        url: String,
    },
    /// `sampling/createMessage`; the whole parameters, as they came.
    Sampling {
        /// `params` of the request.
        params: Body,
    },
    /// `roots/list`.
    Roots,
}

impl Question {
    /// The word for people.
    pub fn word(&self) -> &'static str {
        match self {
            Question::Form { .. } => "form",
            Question::Url { .. } => "open a page",
            Question::Sampling { .. } => "sampling",
            Question::Roots => "roots",
        }
    }

    /// Understands a request by its method and parameters; `None` for methods that are not a question.
    ///
    /// Keeps no reference to the message that the parameters are a part of. The text for the user is cut to what can be shown.
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

    /// About how many bytes its texts take.
    pub fn weight(&self) -> usize {
        size_of::<Ask>()
            + match self {
                Question::Form { message, schema } => message.len() + schema.len(),
                Question::Url { message, url } => message.len() + url.len(),
                Question::Sampling { params } => params.len(),
                Question::Roots => 0,
            }
    }

    /// Whether it is too large to be asked ([`bounds::QUESTION`]).
    pub fn oversize(&self) -> bool {
        match self {
            Question::Form { schema, .. } => schema.len() > bounds::QUESTION,
            Question::Url { url, .. } => url.len() > bounds::NAME,
            Question::Sampling { params } => params.len() > bounds::QUESTION,
            Question::Roots => false,
        }
    }
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Answer {
    /// Agreed: the form's content, the sampled message (a `CreateMessageResult`), the roots
    /// (a `ListRootsResult`); empty for a page that was opened.
    Accept {
        /// JSON.
        content: Body,
    },
    /// The user said no.
    Decline,
    /// The user did not choose, or the call ended meanwhile.
    Cancel,
}

impl Answer {
    /// The `result` of the answer to `question`, or the JSON-RPC error `(code, message)`.
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
                content.parse().map_err(|e| (-32603, format!("the configured sampling answer is no JSON: {e}")))
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
    /// The call ended first, or whoever asked went away.
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

/// What answers a server's questions of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskPolicy {
    /// The user, in the inbox.
    #[default]
    Ask,
    /// Nobody: declined at once.
    Decline,
    /// This JSON, at once (form content, a `CreateMessageResult`, …). For roots: the configured list.
    Fixed(Body),
}
