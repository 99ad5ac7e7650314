//! What kind of result a request brought. Pure.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::domain::{
    body::{self, Body},
    bounds,
    time::size,
};

/// What kind of result came, looked at without decoding the rest of it.
#[derive(Debug, PartialEq)]
pub enum Shape {
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

impl Shape {
    /// Looks at a result.
    pub fn of(result: &Body) -> Shape {
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
        }
        let Ok(peek) = serde_json::from_slice::<Peek>(result.bytes()) else { return Shape::Answer { error: false } };
        if let (Some(task), None) = (peek.task, peek.content)
            && let Some(task) = read_task(task)
        {
            return task;
        }
        if peek.result_type.is_none_or(|t| t.get() != "\"input_required\"") {
            return Shape::Answer { error: peek.is_error.is_some_and(|e| e.get() == "true") };
        }
        if let Some(requests) = peek.input_requests.filter(|requests| requests.get().len() > bounds::QUESTIONS) {
            // Never decoded. No question has this method, so the call fails and names it.
            let method = format!("input by {} of requests", size(requests.get().len() as u64));
            return Shape::NeedsInput { requests: vec![(String::new(), method, Body::default())], state: None };
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
        Shape::NeedsInput { requests, state: peek.request_state.and_then(|s| serde_json::from_str(s.get()).ok()) }
    }
}

fn read_task(raw: &RawValue) -> Option<Shape> {
    let [id, poll] = body::fields(raw.get().as_bytes(), ["taskId", "pollInterval"])?;
    let poll = poll.and_then(|poll| poll.get().parse().ok()).unwrap_or(1000).clamp(100, 60_000);
    // An id over the limit would be sent with each request about the task.
    let id = id.filter(|id| id.get().len() <= bounds::ID).and_then(|id| bounds::json_text(id.get(), bounds::ID))?;
    Some(Shape::Task { id, poll: Duration::from_millis(poll) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_told_apart_without_decoding_them() {
        assert_eq!(Shape::of(&Body::from(r#"{"content":[{"text":"\ud800"}],"isError":true}"#)), Shape::Answer { error: true });
        assert_eq!(Shape::of(&Body::from(r#"{"content":[],"isError":"yes"}"#)), Shape::Answer { error: false });
        assert_eq!(Shape::of(&Body::from("[1]")), Shape::Answer { error: false });
        let asked =
            Shape::of(&Body::from(r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list"}},"requestState":"s"}"#));
        let task = Shape::of(&Body::from(r#"{"task":{"taskId":"t","status":"working","pollInterval":500}}"#));
        assert_eq!(task, Shape::Task { id: "t".into(), poll: Duration::from_millis(500) });
        assert_eq!(
            asked,
            Shape::NeedsInput { requests: vec![("k".into(), "roots/list".into(), Body::default())], state: Some("s".into()) }
        );
    }
}
