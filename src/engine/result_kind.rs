//! What kind of result a request brought. Pure.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::domain::{
    body::{self, Body},
    bounds,
    call::Operation,
    server::SessionInfo,
    time::size,
};

/// What kind of result came, looked at without decoding the rest of it.
#[derive(Debug, PartialEq)]
pub enum ResultKind {
    /// The answer.
    Answer {
        /// Whether `isError` is true.
        error: bool,
    },
    /// The server wants something first (MCP 2026-07-28, `input_required`).
    NeedsInput {
        /// Key, method and parameters of each request.
        requests: Vec<(String, String, Body)>,
        /// What is to be sent back unread.
        state: Option<String>,
    },
    /// The server works on it as a task (MCP 2025-11-25, tasks).
    Task {
        /// The task's id.
        id: String,
        /// How often its state may be asked for.
        poll: Duration,
    },
}

/// The members of a result that decide what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Peek<'a> {
    #[serde(borrow, default)]
    is_error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_requests: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_state: Option<&'a RawValue>,
    #[serde(borrow, default)]
    task: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    contents: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    completion: Option<&'a RawValue>,
}

impl Peek<'_> {
    fn asks_for_input(&self) -> bool {
        self.result_type.is_some_and(|kind| kind.get() == "\"input_required\"")
    }
}

impl ResultKind {
    /// Classifies a result by the constructs of the negotiated version. What another version means something by is an answer.
    pub fn of(result: &Body, info: &SessionInfo) -> ResultKind {
        let Ok(peek) = serde_json::from_slice::<Peek>(result.bytes()) else { return ResultKind::Answer { error: false } };
        if let (Some(task), None, true) = (peek.task, peek.content, info.has_tasks())
            && let Some(task) = read_task(task)
        {
            return task;
        }
        if !(peek.asks_for_input() && info.has_input_rounds()) {
            return ResultKind::Answer { error: peek.is_error.is_some_and(|e| e.get() == "true") };
        }
        if let Some(requests) = peek.input_requests.filter(|requests| requests.get().len() > bounds::QUESTIONS) {
            // Never decoded. No question has this method, so the call fails and names it.
            let method = format!("input by {} of requests", size(requests.get().len() as u64));
            return ResultKind::NeedsInput { requests: vec![(String::new(), method, Body::default())], state: None };
        }
        let requests: serde_json::Map<String, Value> =
            peek.input_requests.and_then(|r| serde_json::from_str(r.get()).ok()).unwrap_or_default();
        let requests = requests
            .into_iter()
            .map(|(key, request)| {
                let method = request.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
                (key, method, request.get("params").map(Body::json).unwrap_or_default())
            })
            .collect();
        ResultKind::NeedsInput { requests, state: peek.request_state.and_then(|s| serde_json::from_str(s.get()).ok()) }
    }
}

/// What does not fit in a result that is taken as the answer.
#[derive(Debug, PartialEq)]
pub enum Oddity {
    /// It is not a JSON object, as every result is (MCP, basic, "Responses"). Holds what it is.
    NotObject(&'static str),
    /// It lacks the member with what was asked for.
    Lacks(&'static str),
    /// It asks for input, which the negotiated version does not have.
    ForeignInput,
    /// It is a task, which the negotiated version does not have.
    ForeignTask,
}

impl Oddity {
    /// Finds what does not fit in the answer to `operation`.
    pub fn of(operation: &Operation, result: &Body, info: &SessionInfo) -> Vec<Oddity> {
        if let Some(what) = not_object(result) {
            return vec![Oddity::NotObject(what)];
        }
        let Ok(peek) = serde_json::from_slice::<Peek>(result.bytes()) else { return vec![] };
        let lacks = match operation {
            Operation::Tool { .. } if peek.content.is_none() => Some(Oddity::Lacks("content")),
            Operation::Resource { .. } if peek.contents.is_none() => Some(Oddity::Lacks("contents")),
            Operation::Prompt { .. } if peek.messages.is_none() => Some(Oddity::Lacks("messages")),
            Operation::Complete { .. } if peek.completion.is_none() => Some(Oddity::Lacks("completion")),
            _ => None,
        };
        let input = (peek.asks_for_input() && !info.has_input_rounds()).then_some(Oddity::ForeignInput);
        let task = (peek.task.is_some() && peek.content.is_none() && !info.has_tasks()).then_some(Oddity::ForeignTask);
        [input, task, lacks].into_iter().flatten().collect()
    }

    /// The words for people; `version` is the negotiated protocol version.
    pub fn words(&self, version: &str) -> String {
        match self {
            Oddity::NotObject(what) => format!("the result is {what}, not a JSON object"),
            Oddity::Lacks(member) => format!("the result has no {member:?}"),
            Oddity::ForeignInput => format!("the result asks for input (input_required), which protocol version {version} does not have"),
            Oddity::ForeignTask => format!("the result is a task, which protocol version {version} does not have"),
        }
    }
}

/// What a result is that is not a JSON object.
fn not_object(result: &Body) -> Option<&'static str> {
    Some(match result.bytes().trim_ascii_start().first()? {
        b'{' => return None,
        b'[' => "an array",
        b'"' => "a string",
        b'n' => "null",
        b't' | b'f' => "a boolean",
        b'-' | b'0'..=b'9' => "a number",
        // No link lets through what is not JSON; a workflow test answers it for an expectation that fails.
        _ => return None,
    })
}

fn read_task(raw: &RawValue) -> Option<ResultKind> {
    let [id, poll] = body::fields(raw.get().as_bytes(), ["taskId", "pollInterval"])?;
    let poll = poll.and_then(|poll| poll.get().parse().ok()).unwrap_or(1000).clamp(100, 60_000);
    // An id over the limit would be sent with each request about the task.
    let id = id.filter(|id| id.get().len() <= bounds::ID).and_then(|id| bounds::json_text(id.get(), bounds::ID))?;
    Some(ResultKind::Task { id, poll: Duration::from_millis(poll) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        id::{ServerId, ToolId},
        server::Era,
        time::Stamp,
    };

    fn spoken(era: Era, protocol: &str) -> SessionInfo {
        SessionInfo { era, protocol: protocol.into(), ..SessionInfo::bare(Stamp(0)) }
    }

    const ASKS: &str = r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list"}},"requestState":"s"}"#;
    const TASK: &str = r#"{"task":{"taskId":"t","status":"working","pollInterval":500}}"#;

    #[test]
    fn results_are_told_apart_without_decoding_them() {
        let legacy = spoken(Era::Legacy, "2025-11-25");
        let of = |text: &'static str| ResultKind::of(&Body::from(text), &legacy);
        assert_eq!(of(r#"{"content":[{"text":"\ud800"}],"isError":true}"#), ResultKind::Answer { error: true });
        assert_eq!(of(r#"{"content":[],"isError":"yes"}"#), ResultKind::Answer { error: false });
        assert_eq!(of("[1]"), ResultKind::Answer { error: false });
        assert_eq!(of(TASK), ResultKind::Task { id: "t".into(), poll: Duration::from_millis(500) });
        let asked = ResultKind::of(&Body::from(ASKS), &spoken(Era::Modern, "2026-07-28"));
        assert_eq!(
            asked,
            ResultKind::NeedsInput { requests: vec![("k".into(), "roots/list".into(), Body::default())], state: Some("s".into()) }
        );
    }

    #[test]
    fn constructs_of_another_version_are_odd_answers() {
        let tool = Operation::Tool { tool: ToolId::new(ServerId::new("s"), "t"), arguments: Body::default() };
        let odd = |text: &str, info: &SessionInfo| {
            assert_eq!(ResultKind::of(&Body::from(text.to_owned()), info), ResultKind::Answer { error: false }, "{text}");
            Oddity::of(&tool, &Body::from(text.to_owned()), info)
        };
        let (modern, legacy, old) =
            (spoken(Era::Modern, "2026-07-28"), spoken(Era::Legacy, "2025-11-25"), spoken(Era::Legacy, "2025-06-18"));
        assert_eq!(odd(ASKS, &legacy), [Oddity::ForeignInput, Oddity::Lacks("content")]);
        assert_eq!(odd(TASK, &old), [Oddity::ForeignTask, Oddity::Lacks("content")]);
        assert_eq!(odd(TASK, &modern), [Oddity::ForeignTask, Oddity::Lacks("content")]);
        assert_eq!(odd(r#"{"content":[]}"#, &legacy), []);
        for (text, what) in [("3", "a number"), ("\"x\"", "a string"), (" [1,2]", "an array"), ("null", "null"), ("true", "a boolean")] {
            assert_eq!(odd(text, &legacy), [Oddity::NotObject(what)]);
        }
    }
}
