//! What a call was answered, as a test file says it.

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

/// A failure. `sent` is whether the request may have reached its server.
pub fn failed(error: &StepError, sent: bool) -> String {
    // The message starts with the name of the failure kind.
    let words = match error.kind {
        StepErrorKind::Call { failure } => error.message.strip_prefix(&format!("{}: ", failure.words())).unwrap_or(&error.message),
        _ => &error.message,
    };
    failure(words, error.kind.class().or(matches!(error.kind, StepErrorKind::Call { .. }).then_some(RetryOn::Protocol)), sent)
}

/// A failure of a class.
pub fn failure(words: &str, class: Option<RetryOn>, sent: bool) -> String {
    // Of a server that is not ready nothing is sent; a tool's own error it has sent itself.
    let says = matches!(class, Some(RetryOn::Transport | RetryOn::Timeout | RetryOn::Protocol | RetryOn::Exited));
    let sent = if sent || !says { "" } else { ", sent = false" };
    let word = RetryOn::ALL.iter().find(|(known, _)| Some(*known) == class && *known != RetryOn::ToolError).map(|(_, word)| word);
    let kind = word.map(|word| format!(", kind = \"{word}\"")).unwrap_or_default();
    format!("{{ error = {}{kind}{sent} }}", quoted(words))
}

/// A call that is never answered, and what is cancelled while it is under way: once these steps have ended, and a moment
/// later if `pause`.
pub fn unanswered(cancels: Option<Cancels>, after: &[String], pause: bool) -> String {
    let Some(cancels) = cancels else { return "{ silent = true }".into() };
    let word = Cancels::ALL.iter().find(|(known, _)| *known == cancels).map_or("", |(_, word)| word);
    let names: Vec<String> = after.iter().map(|name| quoted(name)).collect();
    let after = if names.is_empty() { String::new() } else { format!(", after = [{}]", names.join(", ")) };
    let pause = if pause { ", delay = \"200ms\"" } else { "" };
    format!("{{ cancel = \"{word}\"{after}{pause} }}")
}

/// An answer of which a step makes what it made; `None` is a call that is not the step's own.
pub fn done(action: Option<&Action>, read_as: ReadAs, end: &StepRecord) -> String {
    let result = end.result.as_ref().and_then(|json| Data::parse(&json.text()).ok()).unwrap_or_default();
    let text = end.text.clone().unwrap_or_default();
    let whole = |answer: serde_json::Value| {
        let answer = toml(&Data::from(&answer)).unwrap_or_default();
        format!("{{ answer = {answer} }}")
    };
    match action {
        Some(Action::Approve { .. }) => return "{ result = true }".into(),
        Some(Action::Prompt { .. }) => return whole(json!({"messages": [{"role": "user", "content": {"type": "text", "text": text}}]})),
        Some(Action::Resource { .. }) => return whole(json!({"contents": [{"uri": "recorded:", "text": text}]})),
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
    let said = toml(&result);
    let ways = [
        (Some(short), said.as_ref().map(|said| format!("{{ result = {said} }}"))),
        (Some(Body::json(&json!({"content": [content]}))), Some(format!("{{ text = {} }}", quoted(&text)))),
        (
            said.is_some().then(|| structured(&result)),
            said.as_ref().map(|said| {
                let text = quoted(&text);
                format!("{{ answer = {{ content = [{{ type = \"text\", text = {text} }}], structuredContent = {said} }} }}")
            }),
        ),
        // Nothing has the same text: the result at least is the same.
        (
            Some(Body::json(&json!({"content": [{"type": "text", "text": result.json()}]}))),
            Some(format!("{{ text = {} }}", quoted(&result.json()))),
        ),
    ];
    let reads = |body: &Option<Body>| body.as_ref().and_then(|body| answer::read(read_as, body).ok());
    // A result that somebody gave for a step in doubt has no text of its own.
    let exact = |(body, _): &&(Option<Body>, Option<String>)| {
        reads(body).is_some_and(|read| read.result.json() == result.json() && read.text == text)
    };
    let near = |(body, _): &&(Option<Body>, Option<String>)| reads(body).is_some_and(|read| read.result.json() == result.json());
    let sayable = || ways.iter().filter(|(_, said)| said.is_some());
    let way = sayable().find(exact).or_else(|| sayable().find(near)).or_else(|| sayable().next());
    way.and_then(|(_, said)| said.clone()).unwrap_or_default()
}

/// A value as TOML; `None` where it holds null, for which TOML has no word.
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
