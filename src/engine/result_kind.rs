//! Classifies the result of a request: final result, `input_required` or task. Pure.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::{
    body::{self, Body},
    bounds,
    call::Operation,
    server::{Era, SessionInfo},
    time::size,
};

/// The kind of a result, found without decoding the rest of it.
#[derive(Debug, PartialEq)]
pub enum ResultKind {
    /// The final result of the operation.
    Final {
        /// Whether `isError` is true.
        error: bool,
    },
    /// The server needs input first (MCP 2026-07-28, `input_required`).
    NeedsInput {
        /// Key, method and parameters of each request.
        requests: Vec<(String, String, Body)>,
        /// Opaque state to send back with the input.
        state: Option<String>,
    },
    /// The server runs the operation as a task (MCP 2025-11-25, tasks; or the tasks extension of 2026-07-28, SEP-2663).
    Task {
        /// The id of the task.
        id: String,
        /// The minimum interval between two state requests.
        poll: Duration,
    },
    /// The result has a type that is unknown here. It must not be used (MCP 2026-07-28, basic, "ResultType").
    Unknown {
        /// `resultType`, JSON text.
        kind: String,
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
    /// Returns `resultType`, if it is neither absent nor `complete`.
    fn special_type(&self) -> Option<&str> {
        self.result_type.map(RawValue::get).filter(|kind| *kind != "\"complete\"")
    }

    fn asks_for_input(&self) -> bool {
        self.result_type.is_some_and(|kind| kind.get() == "\"input_required\"")
    }
}

impl ResultKind {
    /// Classifies the result of `operation` by the negotiated protocol version, and finds its deviations from it. A construct of
    /// another version makes it a final result. Reads a result once, which may be large.
    pub fn examine(operation: &Operation, result: &Body, info: &SessionInfo) -> (ResultKind, Vec<Oddity>) {
        let peek = serde_json::from_slice::<Peek>(result.bytes()).ok();
        let kind = peek.as_ref().map_or(ResultKind::Final { error: false }, |peek| ResultKind::of(peek, result, info));
        let oddities = match (not_object(result), &peek) {
            (Some(what), _) => vec![Oddity::NotObject(what)],
            (None, Some(peek)) => Oddity::find(operation, peek, info),
            (None, None) => vec![],
        };
        (kind, oddities)
    }

    fn of(peek: &Peek<'_>, result: &Body, info: &SessionInfo) -> ResultKind {
        if let (Some(task), None, true) = (peek.task, peek.content, info.has_tasks())
            && let Some(task) = read_task(task)
        {
            return task;
        }
        if info.era == Era::Modern {
            match peek.special_type() {
                None | Some("\"input_required\"") => {}
                Some("\"task\"") => {
                    let unknown = || ResultKind::Unknown { kind: "\"task\" without a valid taskId".to_owned() };
                    return read_task_fields(result.bytes(), "pollIntervalMs").unwrap_or_else(unknown);
                }
                Some(other) => return ResultKind::Unknown { kind: bounds::cut(other, 100).into_owned() },
            }
        }
        if !(peek.asks_for_input() && info.has_input_rounds()) {
            return ResultKind::Final { error: peek.is_error.is_some_and(|e| e.get() == "true") };
        }
        if let Some(requests) = peek.input_requests.filter(|requests| requests.get().len() > bounds::QUESTIONS) {
            // Not decoded because of its size. No question has this method, so the call fails and names it.
            let method = format!("input by {} of requests", size(requests.get().len() as u64));
            return ResultKind::NeedsInput { requests: vec![(String::new(), method, Body::default())], state: None };
        }
        let requests = peek.input_requests.map(|requests| read_requests(&result.slice_of(requests.get().as_bytes()))).unwrap_or_default();
        ResultKind::NeedsInput { requests, state: peek.request_state.and_then(|s| serde_json::from_str(s.get()).ok()) }
    }
}

/// Reads `inputRequests`: key, method and parameters of each. The parameters stay raw text.
pub fn read_requests(requests: &Body) -> Vec<(String, String, Body)> {
    let members = body::object(requests.bytes()).unwrap_or_default();
    let one = |(key, request): (std::borrow::Cow<'_, str>, &RawValue)| {
        let [method, params] = body::fields(request.get().as_bytes(), ["method", "params"]).unwrap_or_default();
        let method = method.and_then(|method| bounds::json_text(method.get(), bounds::METHOD)).unwrap_or_default();
        (key.into_owned(), method, params.map(|params| Body::from(params.get())).unwrap_or_default())
    };
    members.into_iter().map(one).collect()
}

/// A deviation from the protocol in a result that is accepted as final.
#[derive(Debug, PartialEq)]
pub enum Oddity {
    /// The result is not a JSON object, as every result must be (MCP, basic, "Responses"). Holds its JSON type.
    NotObject(&'static str),
    /// The result lacks the required member.
    Lacks(&'static str),
    /// The result asks for input, which the negotiated version does not have.
    ForeignInput,
    /// The result is a task, which the negotiated version does not have.
    ForeignTask,
    /// The result is a task without an id, so that its result cannot be requested.
    BrokenTask,
}

impl Oddity {
    /// Returns the deviations in the result of `operation`.
    fn find(operation: &Operation, peek: &Peek<'_>, info: &SessionInfo) -> Vec<Oddity> {
        let lacks = match operation {
            Operation::Tool { .. } if peek.content.is_none() => Some(Oddity::Lacks("content")),
            Operation::Resource { .. } if peek.contents.is_none() => Some(Oddity::Lacks("contents")),
            Operation::Prompt { .. } if peek.messages.is_none() => Some(Oddity::Lacks("messages")),
            Operation::Complete { .. } if peek.completion.is_none() => Some(Oddity::Lacks("completion")),
            _ => None,
        };
        let input = (peek.asks_for_input() && !info.has_input_rounds()).then_some(Oddity::ForeignInput);
        let task = (peek.task.is_some() && peek.content.is_none()).then_some(if info.has_tasks() {
            Oddity::BrokenTask
        } else {
            Oddity::ForeignTask
        });
        [input, task, lacks].into_iter().flatten().collect()
    }

    /// Returns whether a result with these deviations says nothing about the outcome of the call: it is not an object, or the
    /// server has not finished.
    pub fn unusable(all: &[Oddity]) -> Option<&Oddity> {
        let lacks = all.iter().any(|oddity| matches!(oddity, Oddity::Lacks(_)));
        all.iter().find(|oddity| match oddity {
            Oddity::NotObject(_) => true,
            Oddity::ForeignInput | Oddity::ForeignTask | Oddity::BrokenTask => lacks,
            Oddity::Lacks(_) => false,
        })
    }

    /// Returns the text for the user; `version` is the negotiated protocol version.
    pub fn words(&self, version: &str) -> String {
        match self {
            Oddity::NotObject(what) => format!("the result is {what}, not a JSON object"),
            Oddity::Lacks(member) => format!("the result has no {member:?}"),
            Oddity::ForeignInput => format!("the result asks for input (input_required), which protocol version {version} does not have"),
            Oddity::BrokenTask => "the result is a task without an id, so its result cannot be requested".to_owned(),
            Oddity::ForeignTask => format!("the result is a task, which protocol version {version} does not have"),
        }
    }
}

/// Returns the JSON type of a result that is not an object.
fn not_object(result: &Body) -> Option<&'static str> {
    Some(match result.bytes().trim_ascii_start().first()? {
        b'{' => return None,
        b'[' => "an array",
        b'"' => "a string",
        b'n' => "null",
        b't' | b'f' => "a boolean",
        b'-' | b'0'..=b'9' => "a number",
        // Transports reject invalid JSON. A workflow test uses it for a result that fails an expectation.
        _ => return None,
    })
}

fn read_task(raw: &RawValue) -> Option<ResultKind> {
    read_task_fields(raw.get().as_bytes(), "pollInterval")
}

/// Reads a task; `interval` is the name of the member with the polling interval.
fn read_task_fields(task: &[u8], interval: &str) -> Option<ResultKind> {
    let [id, poll] = body::fields(task, ["taskId", interval])?;
    // An id over the limit would be repeated in each request about the task.
    let id = id.filter(|id| id.get().len() <= bounds::ID).and_then(|id| bounds::json_text(id.get(), bounds::ID))?;
    Some(ResultKind::Task { id, poll: poll_interval(poll) })
}

/// Returns a polling interval, within bounds; a second where the server sets none.
pub fn poll_interval(ms: Option<&RawValue>) -> Duration {
    let ms = ms.and_then(|ms| ms.get().parse().ok()).unwrap_or(1000u64);
    Duration::from_millis(ms.clamp(100, 60_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        id::{ServerId, ToolId},
        time::Stamp,
    };

    fn session_info(era: Era, protocol: &str) -> SessionInfo {
        SessionInfo { era, protocol: protocol.into(), ..SessionInfo::bare(Stamp(0)) }
    }

    fn classify_as(result: &Body, info: &SessionInfo) -> ResultKind {
        let raw = Operation::Raw { server: ServerId::new("s"), method: "m".into(), params: Body::default() };
        ResultKind::examine(&raw, result, info).0
    }

    const ASKS: &str = r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list"}},"requestState":"s"}"#;
    const TASK: &str = r#"{"task":{"taskId":"t","status":"working","pollInterval":500}}"#;

    #[test]
    fn results_are_classified_without_decoding_them() {
        let legacy = session_info(Era::Legacy, "2025-11-25");
        let classify = |text: &'static str| classify_as(&Body::from(text), &legacy);
        assert_eq!(classify(r#"{"content":[{"text":"\ud800"}],"isError":true}"#), ResultKind::Final { error: true });
        assert_eq!(classify(r#"{"content":[],"isError":"yes"}"#), ResultKind::Final { error: false });
        assert_eq!(classify("[1]"), ResultKind::Final { error: false });
        assert_eq!(classify(TASK), ResultKind::Task { id: "t".into(), poll: Duration::from_millis(500) });
        let asked = classify_as(&Body::from(ASKS), &session_info(Era::Modern, "2026-07-28"));
        assert_eq!(
            asked,
            ResultKind::NeedsInput { requests: vec![("k".into(), "roots/list".into(), Body::default())], state: Some("s".into()) }
        );
    }

    #[test]
    fn v03_v04_types_of_results_are_known_or_refused() {
        let modern = session_info(Era::Modern, "2026-07-28");
        let classify = |text: &'static str| classify_as(&Body::from(text), &modern);
        assert_eq!(classify(r#"{"content":[]}"#), ResultKind::Final { error: false });
        assert_eq!(classify(r#"{"resultType":"complete","content":[],"isError":true}"#), ResultKind::Final { error: true });
        let task = r#"{"resultType":"task","taskId":"t1","status":"working","pollIntervalMs":200}"#;
        assert_eq!(classify(task), ResultKind::Task { id: "t1".into(), poll: Duration::from_millis(200) });
        for odd in [
            r#"{"resultType":"com.example/weird","content":[]}"#,
            r#"{"resultType":7,"content":[]}"#,
            r#"{"resultType":"task","content":[]}"#,
            r#"{"resultType":"Complete","content":[]}"#,
        ] {
            assert!(matches!(classify(odd), ResultKind::Unknown { .. }), "{odd}");
            let legacy = session_info(Era::Legacy, "2025-11-25");
            assert_eq!(classify_as(&Body::from(odd), &legacy), ResultKind::Final { error: false }, "the member has no meaning there");
        }
    }

    #[test]
    fn v13_parameters_of_questions_stay_as_received() {
        let asked = r#"{"k":{"method":"elicitation/create","params":{"requestedSchema":{"default":12345678901234567890123,"n":1.50}}}}"#;
        let requests = read_requests(&Body::from(asked));
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].2.text(), r#"{"requestedSchema":{"default":12345678901234567890123,"n":1.50}}"#);
    }

    #[test]
    fn constructs_of_another_version_are_odd_answers() {
        let tool = Operation::Tool { tool: ToolId::new(ServerId::new("s"), "t"), arguments: Body::default() };
        let odd = |text: &str, info: &SessionInfo| {
            assert_eq!(classify_as(&Body::from(text.to_owned()), info), ResultKind::Final { error: false }, "{text}");
            ResultKind::examine(&tool, &Body::from(text.to_owned()), info).1
        };
        let (modern, legacy, old) =
            (session_info(Era::Modern, "2026-07-28"), session_info(Era::Legacy, "2025-11-25"), session_info(Era::Legacy, "2025-06-18"));
        assert_eq!(odd(ASKS, &legacy), [Oddity::ForeignInput, Oddity::Lacks("content")]);
        assert_eq!(odd(TASK, &old), [Oddity::ForeignTask, Oddity::Lacks("content")]);
        assert_eq!(odd(TASK, &modern), [Oddity::ForeignTask, Oddity::Lacks("content")]);
        assert_eq!(odd(r#"{"content":[]}"#, &legacy), []);
        for (text, what) in [("3", "a number"), ("\"x\"", "a string"), (" [1,2]", "an array"), ("null", "null"), ("true", "a boolean")] {
            assert_eq!(odd(text, &legacy), [Oddity::NotObject(what)]);
        }
    }
}
