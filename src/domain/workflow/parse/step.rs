//! Reads one `[[step]]`.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    Context, input,
    reader::{Span, Table, is_list},
};
use crate::domain::{
    document::{Kind, Node},
    workflow::{
        check::check_arguments,
        expression::{Data, Template},
        keys::{CALL_KEYS, EXPECT_KEYS, FALLBACK_KEYS, Key, RETRY_KEYS, STEP_KEYS},
        plan::{
            Action, Expectation, Fallback, ForEach, IfSkipped, MAX_PARALLEL_ITEMS, OnError, PlanStep, ReadAs, Retry, RetryOn, ToolCall,
        },
    },
};

/// The keys that define a step's action.
const ACTIONS: [&str; 6] = ["tool", "workflow", "prompt", "resource", "approve", "elicit"];

/// A step as read, before its needs are resolved.
pub(super) struct Draft {
    pub step: PlanStep,
    /// The steps in `needs`.
    pub needs: Vec<(String, Span)>,
    /// The span of the id.
    pub span: Span,
}

/// Reads a step and reports its problems. Returns `None` without a valid id or action.
pub(super) fn read(table: &mut Table<'_, '_, '_>, context: &mut Context<'_>, on_error: OnError) -> Option<Draft> {
    table.check_keys(&STEP_KEYS);
    let id = id(table);
    let action = action(table, context);
    let place = table.report.page.place(table.span.0);
    let for_each = for_each(table);
    let step = PlanStep {
        id: Arc::from(id.clone().unwrap_or_default()),
        title: table.text("title").or_else(|| table.text("description")),
        action: action.clone().unwrap_or(Action::Approve { message: Template::Literal(Data::null()) }),
        needs: vec![],
        when: table.node("when").and_then(|node| table.condition("when", node)),
        if_skipped: table.choice("if_skipped", &[(IfSkipped::Skip, "skip"), (IfSkipped::Run, "run")]).unwrap_or_default(),
        for_each,
        timeout: table.duration("timeout"),
        retry: retry(table),
        idempotent: table.boolean("idempotent").unwrap_or(false),
        fallback: fallback(table),
        cache: table.duration("cache"),
        on_error: table.choice("on_error", &OnError::ALL).unwrap_or(on_error),
        compensate: table.inner("compensate").and_then(|mut inner| tool_call(&mut inner)),
        expect: expect(table),
        read_as: table.choice("result", &ReadAs::ALL).unwrap_or_default(),
        place,
    };
    if let Some(action) = &action {
        check_keys_for_action(table, action);
    }
    let needs = table.strings("needs");
    let span = table.field("id").map_or(table.span, |field| (field.value.at, field.value.end));
    (id.is_some() && action.is_some()).then_some(Draft { step, needs, span })
}

fn id(table: &mut Table<'_, '_, '_>) -> Option<String> {
    if table.field("id").is_none() {
        let span = table.span;
        table.report_problem(span, "id", "is missing", Some("give the step a name: id = \"create_user\"".into()));
        return None;
    }
    let id = table.text("id")?;
    let node = table.node("id")?;
    let valid = id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        let hint = "a letter or `_`, then letters, digits and `_`, because expressions refer to it as `steps.ID.result`".to_owned();
        table.report_problem((node.at, node.end), "id", format!("{id:?} is not a valid id"), Some(hint));
        return None;
    }
    if id.len() > 64 {
        table.report_problem((node.at, node.end), "id", "is longer than 64 characters", None);
        return None;
    }
    Some(id)
}

fn action(table: &mut Table<'_, '_, '_>, context: &mut Context<'_>) -> Option<Action> {
    let mut found = table.fields.iter().filter(|field| ACTIONS.contains(&field.key.as_str()));
    let (first, second) = (found.next(), found.next());
    let Some(first) = first else {
        let span = table.span;
        table.report_problem(span, "", "has no action", Some(format!("add one of {}", ACTIONS.join(", "))));
        return None;
    };
    if let Some(second) = second {
        let hint = format!("`{}` already is the action of this step; add a separate step", first.key);
        table.report_problem((second.at, second.end), &second.key, format!("cannot be combined with `{}`", first.key), Some(hint));
        return None;
    }
    match first.key.as_str() {
        "tool" => {
            let place = table.report.page.place(first.value.at);
            let tool = table.literal_text("tool")?;
            Some(Action::Tool(ToolCall { tool: tool.into(), arguments: table.object_template("arguments"), place }))
        }
        "workflow" => workflow(table, context),
        "prompt" => {
            let (server, name) = (server(table), table.literal_text("prompt")?);
            Some(Action::Prompt { server: server?, name, arguments: table.object_template("arguments") })
        }
        "resource" => {
            let (server, uri) = (server(table), table.text_template("resource")?);
            Some(Action::Resource { server: server?, uri })
        }
        "approve" => Some(Action::Approve { message: table.text_template("approve")? }),
        _ => {
            let message = table.text_template("elicit")?;
            if table.field("schema").is_none() {
                let span = (first.at, first.end);
                table.report_problem(span, "schema", "is missing", Some("describe the form: schema = { name = \"string\" }".into()));
                return None;
            }
            let mut inner = table.inner("schema")?;
            Some(Action::Elicit { message, schema: input::schema(&mut inner) })
        }
    }
}

fn server(table: &mut Table<'_, '_, '_>) -> Option<String> {
    if table.field("server").is_none() {
        let span = table.span;
        table.report_problem(span, "server", "is missing", Some("set it to the server's key in the configuration".into()));
    }
    table.literal_text("server")
}

fn workflow(table: &mut Table<'_, '_, '_>, context: &mut Context<'_>) -> Option<Action> {
    let name = table.literal_text("workflow")?;
    let node = table.node("workflow")?;
    let input = table.object_template("arguments");
    let plan = match context.child(&name) {
        Ok(plan) => plan,
        Err((message, hint)) => {
            table.report_problem((node.at, node.end), "workflow", message, hint);
            return None;
        }
    };
    let schema: Value = plan.input.parse().unwrap_or_default();
    for misfit in check_arguments(&input, &schema) {
        let arguments = table.field("arguments");
        let span = arguments.map_or((node.at, node.end), |field| {
            let path = misfit.path.as_slice();
            if path.is_empty() { (field.at, field.end) } else { field.value.locate(path) }
        });
        let key = misfit.path.iter().fold("arguments".to_owned(), |key, step| format!("{key}.{step}"));
        table.report_problem(span, &key, misfit.message, misfit.hint);
    }
    Some(Action::Workflow { plan, input })
}

fn tool_call(table: &mut Table<'_, '_, '_>) -> Option<ToolCall> {
    table.check_keys(&CALL_KEYS);
    call_of(table)
}

/// Reads `tool` and `arguments` of a table whose keys were checked.
fn call_of(table: &mut Table<'_, '_, '_>) -> Option<ToolCall> {
    let Some(field) = table.field("tool") else {
        let span = table.span;
        table.report_problem(span, "tool", "is missing", None);
        return None;
    };
    let place = table.report.page.place(field.value.at);
    let tool = table.literal_text("tool")?;
    Some(ToolCall { tool: tool.into(), arguments: table.object_template("arguments"), place })
}

fn for_each(table: &mut Table<'_, '_, '_>) -> Option<ForEach> {
    let Some(node) = table.node("for_each") else {
        for key in ["max_parallel", "on_item_error"] {
            if let Some(field) = table.field(key) {
                table.report_problem((field.at, field.end), key, "is allowed only with `for_each`", None);
            }
        }
        return None;
    };
    let max_parallel = table.count("max_parallel", 1000).map_or(MAX_PARALLEL_ITEMS, |count| count as usize);
    let on_error = table.choice("on_item_error", &[(OnError::Fail, "fail"), (OnError::Continue, "continue")]).unwrap_or(OnError::Fail);
    let items = match &node.kind {
        Kind::Text(text) if !text.contains("{{") => Template::Whole(table.expression("for_each", node)?),
        _ => table.template("for_each", node),
    };
    if let Err(kind) = is_list(&items) {
        let hint = "write an array, or an expression that evaluates to a list: \"{{ input.users }}\"".to_owned();
        table.report_problem((node.at, node.end), "for_each", format!("is {kind}, not a list"), Some(hint));
        return None;
    }
    Some(ForEach { items, max_parallel, on_error })
}

fn retry(table: &mut Table<'_, '_, '_>) -> Option<Retry> {
    let with_attempts = |attempts| Retry {
        attempts,
        backoff: Duration::from_millis(500),
        factor: 2.0,
        max_backoff: Duration::from_secs(30),
        jitter: true,
        on: vec![],
    };
    if matches!(table.node("retry")?.kind, Kind::Integer(_)) {
        return table.count("retry", 100).map(with_attempts);
    }
    let mut inner = table.inner("retry")?;
    inner.check_keys(&RETRY_KEYS);
    if inner.field("attempts").is_none() {
        let span = inner.span;
        inner.report_problem(span, "attempts", "is missing", Some("set the number of attempts: attempts = 3".into()));
    }
    let mut retry = with_attempts(inner.count("attempts", 100)?);
    retry.backoff = inner.duration("backoff").unwrap_or(retry.backoff);
    retry.factor = inner.number("factor", 1.0, 100.0).unwrap_or(retry.factor);
    retry.max_backoff = inner.duration("max_backoff").unwrap_or(retry.max_backoff.max(retry.backoff));
    retry.jitter = inner.boolean("jitter").unwrap_or(true);
    for (word, span) in inner.strings("on") {
        retry.on.extend(inner.word(span, "on", &word, &RetryOn::ALL));
    }
    Some(retry)
}

fn fallback(table: &mut Table<'_, '_, '_>) -> Vec<Fallback> {
    let Some(field) = table.field("fallback") else { return vec![] };
    let (items, many): (&[Node], bool) = match &field.value.kind {
        Kind::Array(items) => (items, true),
        _ => (std::slice::from_ref(&field.value), false),
    };
    let mut found = vec![];
    for (index, item) in items.iter().enumerate() {
        let key = if many { format!("fallback[{index}]") } else { "fallback".to_owned() };
        let span = if many { (item.at, item.end) } else { (field.at, field.end) };
        let Some(mut inner) = table.table_of(item, &key, span) else { continue };
        match (inner.field("value"), inner.field("tool")) {
            (Some(value), None) => {
                inner.check_keys(&[Key { name: "value", about: "", shape: || Value::Null }]);
                found.push(Fallback::Value(inner.template("value", &value.value)));
            }
            (None, Some(_)) => {
                inner.check_keys(&FALLBACK_KEYS);
                let compensate = inner.inner("compensate").and_then(|mut inner| tool_call(&mut inner));
                found.extend(call_of(&mut inner).map(|call| Fallback::Tool { call, compensate }));
            }
            (Some(value), Some(_)) => inner.report_problem((value.at, value.end), "value", "cannot be combined with `tool`", None),
            (None, None) => inner.report_problem(span, "", "has no action", Some("add a `tool` or a `value`".into())),
        }
    }
    found
}

fn expect(table: &mut Table<'_, '_, '_>) -> Vec<Expectation> {
    let Some(field) = table.field("expect") else { return vec![] };
    let (items, many): (&[Node], bool) = match &field.value.kind {
        Kind::Array(items) => (items, true),
        _ => (std::slice::from_ref(&field.value), false),
    };
    let mut found = vec![];
    for (index, item) in items.iter().enumerate() {
        let key = if many { format!("expect[{index}]") } else { "expect".to_owned() };
        if item.fields().is_none() {
            found.extend(table.condition(&key, item).map(|that| Expectation { that, message: None }));
            continue;
        }
        let span = if many { (item.at, item.end) } else { (field.at, field.end) };
        let Some(mut inner) = table.table_of(item, &key, span) else { continue };
        inner.check_keys(&EXPECT_KEYS);
        let message = inner.text_template("message");
        match inner.node("that") {
            Some(node) => found.extend(inner.condition("that", node).map(|that| Expectation { that, message })),
            None => inner.report_problem(span, "that", "is missing", None),
        }
    }
    found
}

/// Reports keys that do not apply to the step's action.
fn check_keys_for_action(table: &mut Table<'_, '_, '_>, action: &Action) {
    let asks_user = matches!(action, Action::Approve { .. } | Action::Elicit { .. });
    let word = action.kind().word();
    let misplaced: &[(&str, bool)] = &[
        ("server", !matches!(action, Action::Prompt { .. } | Action::Resource { .. })),
        ("schema", !matches!(action, Action::Elicit { .. })),
        ("arguments", asks_user || matches!(action, Action::Resource { .. })),
        ("for_each", asks_user),
        ("retry", asks_user),
        ("cache", asks_user || matches!(action, Action::Workflow { .. })),
        ("idempotent", asks_user),
        ("compensate", asks_user || matches!(action, Action::Prompt { .. } | Action::Resource { .. })),
        ("result", asks_user || matches!(action, Action::Workflow { .. })),
    ];
    for (key, _) in misplaced.iter().filter(|(_, misplaced)| *misplaced) {
        if let Some(field) = table.field(key) {
            table.report_problem((field.at, field.end), key, format!("is not allowed with `{word}`"), Some("remove it".into()));
        }
    }
}
