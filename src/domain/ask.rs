//! Questions from servers: elicitation, sampling and roots, in either protocol era.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    body::Body,
    bounds,
    call::RpcError,
    id::{AskId, CallId, ClientId, ServerId},
    raw_object::RawObject,
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
    /// The client that is asked: the one that requested the call. [`ClientId::LOCAL`] without a call.
    #[serde(default, skip_serializing_if = "ClientId::is_local")]
    pub client: ClientId,
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

    /// Parses a request by its method and parameters.
    ///
    /// Keeps no reference to the message. The text for the user is cut to its limit. An elicitation without a mode is a form
    /// (MCP 2025-11-25, client/elicitation, "Elicitation Requests").
    pub fn from_request(method: &str, params: &Body) -> Result<Question, NotAQuestion> {
        let [mode, message, url, schema] = params.fields(["mode", "message", "url", "requestedSchema"]).unwrap_or_default();
        let text = |field: Option<&RawValue>, limit| field.and_then(|raw| bounds::json_text(raw.get(), limit)).unwrap_or_default();
        let message = || text(message, bounds::DESCRIPTION);
        match method {
            "elicitation/create" => match mode.filter(|mode| mode.get() != "null").map(RawValue::get) {
                None | Some("\"form\"") => {
                    let schema = schema.map_or_else(|| Body::from("{}"), |schema| Body::from(schema.get()));
                    Ok(Question::Form { message: message(), schema })
                }
                Some("\"url\"") => Ok(Question::Url { message: message(), url: text(url, bounds::QUESTION) }),
                Some(other) => Err(NotAQuestion::Mode(bounds::cut(other, 100).into_owned())),
            },
            "sampling/createMessage" => Ok(Question::Sampling { params: params.detached() }),
            "roots/list" => Ok(Question::Roots),
            _ => Err(NotAQuestion::Method),
        }
    }

    /// Returns whether a sampling request offers tools to the model, which needs the capability `sampling.tools`.
    pub fn offers_tools(&self) -> bool {
        let Question::Sampling { params } = self else { return false };
        let members = params.fields(["tools", "toolChoice"]).unwrap_or_default();
        members.into_iter().flatten().any(|member| member.get() != "null")
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

/// Why a request of a server is not a question that this program can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAQuestion {
    /// Its method is another one.
    Method,
    /// An elicitation of an unknown mode, as JSON text.
    Mode(String),
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
    /// Returns the `result` of the response to `question`, or the error that answers it.
    ///
    /// Accepted content stays raw JSON text, so that numbers and members that this program does not know keep their form.
    /// Declined sampling is the error -1 (MCP 2025-11-25, client/sampling, "Error Handling").
    pub fn to_result(&self, question: &Question) -> Result<Body, RpcError> {
        let action = |action: &str| RawObject::default().with("action", Body::json(action));
        let error = |code, message: String| Err(RpcError { code, message, data: None });
        match (question, self) {
            (Question::Form { .. }, Answer::Accept { content }) => {
                let content = if content.is_json() { content.clone() } else { Body::from("{}") };
                Ok(action("accept").with("content", content).to_body())
            }
            (Question::Url { .. }, Answer::Accept { .. }) => Ok(action("accept").to_body()),
            (Question::Form { .. } | Question::Url { .. }, Answer::Decline) => Ok(action("decline").to_body()),
            (Question::Form { .. } | Question::Url { .. }, Answer::Cancel) => Ok(action("cancel").to_body()),
            (Question::Sampling { .. }, Answer::Accept { content }) if content.is_json() => Ok(content.clone()),
            (Question::Sampling { .. }, Answer::Accept { .. }) => error(-32603, "the configured sampling answer is not valid JSON".into()),
            (Question::Roots, Answer::Accept { content }) if content.is_json() => Ok(content.clone()),
            (Question::Roots, Answer::Accept { .. }) => Ok(Body::from(r#"{"roots":[]}"#)),
            (Question::Sampling { .. }, _) => error(-1, "User rejected sampling request".into()),
            (Question::Roots, _) => error(-32603, "Roots are not shared with this server".into()),
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
    /// The client of the call answered it.
    AnsweredByClient,
    /// The client of the call answered it with an error.
    RefusedByClient,
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
            AskEnd::AnsweredByClient => "answered by the client",
            AskEnd::RefusedByClient => "refused by the client",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v12_only_known_modes_are_questions() {
        let read = |params: &str| Question::from_request("elicitation/create", &Body::from(params));
        for form in [r#"{"message":"m"}"#, r#"{"message":"m","mode":"form"}"#, r#"{"message":"m","mode":null}"#] {
            assert!(matches!(read(form), Ok(Question::Form { .. })), "{form}");
        }
        assert!(matches!(read(r#"{"mode":"url","url":"u"}"#), Ok(Question::Url { .. })));
        assert_eq!(read(r#"{"mode":"vendor"}"#), Err(NotAQuestion::Mode("\"vendor\"".into())));
        assert_eq!(read(r#"{"mode":7}"#), Err(NotAQuestion::Mode("7".into())));
        assert_eq!(Question::from_request("custom/thing", &Body::default()), Err(NotAQuestion::Method));
    }

    #[test]
    fn v13_accepted_content_is_sent_as_written() {
        let accept = |content: &str| Answer::Accept { content: Body::from(content) };
        let form = Question::Form { message: String::new(), schema: Body::from("{}") };
        let sampling = Question::Sampling { params: Body::default() };
        for (question, content, result) in [
            (
                &form,
                r#"{"n":1.50,"big":12345678901234567890123,"e":1E400}"#,
                r#"{"action":"accept","content":{"n":1.50,"big":12345678901234567890123,"e":1E400}}"#,
            ),
            (&sampling, r#"{"role":"assistant","vendor":1.0}"#, r#"{"role":"assistant","vendor":1.0}"#),
            (&Question::Roots, r#"{"roots":[], "n":1.0}"#, r#"{"roots":[], "n":1.0}"#),
            (&form, "{", r#"{"action":"accept","content":{}}"#),
        ] {
            assert_eq!(accept(content).to_result(question).unwrap().text(), result);
        }
        assert!(accept("{").to_result(&sampling).is_err());
    }
}
