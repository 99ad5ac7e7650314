//! Writes the responses of recorded calls in the notation of test files.

use serde_json::json;

use crate::domain::{
    body::Body,
    journal::StepRecord,
    run::{StepError, StepErrorKind},
    workflow::{
        answer,
        case::Cancels,
        expression::Data,
        history::{key, quoted},
        plan::{Action, ReadAs, RetryOn},
    },
};

/// Returns the response for a step error. `sent`: the request may have reached its server.
pub fn failed(error: &StepError, sent: bool) -> String {
    // The message starts with the name of the failure kind.
    let words = match error.kind {
        StepErrorKind::Call { failure } => error.message.strip_prefix(&format!("{}: ", failure.words())).unwrap_or(&error.message),
        _ => &error.message,
    };
    failure(words, error.kind.class().or(matches!(error.kind, StepErrorKind::Call { .. }).then_some(RetryOn::Protocol)), sent)
}

/// Returns the response for a failure of a class.
pub fn failure(words: &str, class: Option<RetryOn>, sent: bool) -> String {
    // A server that is not ready received nothing; a tool error always came from the server.
    let from_server = matches!(class, Some(RetryOn::Transport | RetryOn::Timeout | RetryOn::Protocol | RetryOn::Exited));
    let sent = if sent || !from_server { "" } else { ", sent = false" };
    let word = RetryOn::ALL.iter().find(|(known, _)| Some(*known) == class && *known != RetryOn::ToolError).map(|(_, word)| word);
    let kind = word.map(|word| format!(", kind = \"{word}\"")).unwrap_or_default();
    format!("{{ error = {}{kind}{sent} }}", quoted(words))
}

/// Returns the response of a call that is never answered, and what is cancelled while it is in flight: once the steps
/// `after` have ended, and a moment later if `pause`.
pub fn unanswered(cancels: Option<Cancels>, after: &[String], pause: bool) -> String {
    let Some(cancels) = cancels else { return "{ silent = true }".into() };
    let word = Cancels::ALL.iter().find(|(known, _)| *known == cancels).map_or("", |(_, word)| word);
    let names: Vec<String> = after.iter().map(|name| quoted(name)).collect();
    let after = if names.is_empty() { String::new() } else { format!(", after = [{}]", names.join(", ")) };
    let pause = if pause { ", delay = \"200ms\"" } else { "" };
    format!("{{ cancel = \"{word}\"{after}{pause} }}")
}

/// Returns a response from which a step derives the recorded result; `action` is `None` for a call that is not the
/// step's own.
pub fn done(action: Option<&Action>, read_as: ReadAs, end: &StepRecord) -> String {
    let result = end.result.as_ref().and_then(|json| Data::parse(&json.text()).ok()).unwrap_or_default();
    let text = end.text.clone().unwrap_or_default();
    let full_result = |answer: serde_json::Value| {
        let answer = toml(&Data::from(&answer)).unwrap_or_default();
        format!("{{ answer = {answer} }}")
    };
    match action {
        Some(Action::Approve { .. }) => return "{ result = true }".into(),
        Some(Action::Prompt { .. }) => {
            return full_result(json!({"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}));
        }
        Some(Action::Resource { .. }) => return full_result(json!({"contents": [{"uri": "recorded:", "text": text}]})),
        _ => {}
    }
    let content = json!({"type": "text", "text": text});
    let structured = |result: &Data| Body::from(format!("{{\"content\":[{content}],\"structuredContent\":{}}}", result.json()));
    let short = match result.is_object() {
        true => Body::from(format!(
            "{{\"content\":[{}],\"structuredContent\":{}}}",
            json!({"type": "text", "text": result.display()}),
            result.json()
        )),
        false => Body::json(&json!({"content": [{"type": "text", "text": result.display()}]})),
    };
    let written = toml(&result);
    let candidates = [
        (Some(short), written.as_ref().map(|written| format!("{{ result = {written} }}"))),
        (Some(Body::json(&json!({"content": [content]}))), Some(format!("{{ text = {} }}", quoted(&text)))),
        (
            written.is_some().then(|| structured(&result)),
            written.as_ref().map(|written| {
                let text = quoted(&text);
                format!("{{ answer = {{ content = [{{ type = \"text\", text = {text} }}], structuredContent = {written} }} }}")
            }),
        ),
        // No response gives the same text: at least the result is the same.
        (
            Some(Body::json(&json!({"content": [{"type": "text", "text": result.json()}]}))),
            Some(format!("{{ text = {} }}", quoted(&result.json()))),
        ),
    ];
    let read_by_step = |body: &Option<Body>| body.as_ref().and_then(|body| answer::read(read_as, body).ok());
    // A result given by the resolution of an in-doubt step has no text of its own.
    let exact = |(body, _): &&(Option<Body>, Option<String>)| {
        read_by_step(body).is_some_and(|read| read.result.json() == result.json() && read.text == text)
    };
    let same_result =
        |(body, _): &&(Option<Body>, Option<String>)| read_by_step(body).is_some_and(|read| read.result.json() == result.json());
    let representable = || candidates.iter().filter(|(_, written)| written.is_some());
    let chosen = representable().find(exact).or_else(|| representable().find(same_result)).or_else(|| representable().next());
    chosen.and_then(|(_, written)| written.clone()).unwrap_or_default()
}

/// Returns a value as TOML; `None` if it contains null, which TOML cannot represent.
pub fn toml(value: &Data) -> Option<String> {
    if value.is_object() {
        let members = value.keys().into_iter().map(|name| Some(format!("{} = {}", key(&name), toml(&value.member(&name)?)?)));
        let members: Vec<String> = members.collect::<Option<_>>()?;
        return Some(if members.is_empty() { "{}".into() } else { format!("{{ {} }}", members.join(", ")) });
    }
    if let Some(text) = value.as_str() {
        return Some(quoted(text));
    }
    if value.is_null() {
        return None;
    }
    match value.len() {
        Some(count) => {
            let items = (0..count).map(|at| toml(&value.item(at)?));
            Some(format!("[{}]", items.collect::<Option<Vec<_>>>()?.join(", ")))
        }
        None => Some(value.json()),
    }
}
