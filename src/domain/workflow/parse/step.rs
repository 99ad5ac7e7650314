//! Reads one `[[step]]`.

use std::sync::Arc;

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
        keys::{COMPENSATE_KEYS, DEFAULT_KEYS, EXPECT_KEYS, FALLBACK_KEYS, Key, REPEAT_KEYS, RETRY_KEYS, STEP_KEYS},
        plan::{
            Action, Compensate, Count, Expectation, Fallback, ForEach, IfSkipped, MAX_ROUNDS, OnError, Phase, PlanStep, ReadAs, Repeat,
            Retry, RetryOn, TimeLimit, ToolCall, WhenInDoubt,
        },
    },
};

/// The keys that define a step's action.
const ACTIONS: [&str; 7] = ["tool", "let", "workflow", "prompt", "resource", "approve", "elicit"];

/// A step as read, before its needs are resolved.
pub(super) struct Draft {
    pub step: PlanStep,
    /// The steps in `needs`.
    pub needs: Vec<(String, Span)>,
    /// The step in `else`.
    pub else_of: Option<(String, Span)>,
    /// The span of the id.
    pub span: Span,
}

/// The effects of a failed item that a file can name.
const ITEM_ERRORS: [(OnError, &str); 2] = [(OnError::Fail, "fail"), (OnError::Continue, "continue")];

/// The settings of `[defaults]`, for steps that do not set their own.
#[derive(Default)]
pub(super) struct Defaults {
    timeout: Option<TimeLimit>,
    retry: Option<Retry>,
    server: Option<String>,
    read_as: Option<ReadAs>,
    max_parallel: Option<Count>,
    on_item_error: Option<OnError>,
}

impl Defaults {
    /// Reads the table and reports its problems.
    pub fn read(table: &mut Table<'_, '_, '_>) -> Defaults {
        table.check_keys(&DEFAULT_KEYS);
        Defaults {
            timeout: table.time_limit("timeout"),
            retry: retry(table),
            server: table.literal_text("server"),
            read_as: table.choice("result", &ReadAs::ALL),
            max_parallel: table.computed_count("max_parallel"),
            on_item_error: table.choice("on_item_error", &ITEM_ERRORS),
        }
    }
}

/// Reads a step and reports its problems. Returns `None` without a valid id or action.
pub(super) fn read(
    table: &mut Table<'_, '_, '_>,
    context: &mut Context<'_>,
    (phase, on_error, defaults): (Phase, OnError, &Defaults),
) -> Option<Draft> {
    table.check_keys(&STEP_KEYS);
    check_keys_for_phase(table, phase);
    // The steps of the other phases run after the compensation.
    let on_error = if phase == Phase::Main { on_error } else { OnError::Fail };
    let id = id(table);
    let action = action(table, context, defaults);
    let calls = matches!(action, Some(Action::Tool(_) | Action::Prompt { .. } | Action::Resource { .. }));
    let limited = !matches!(action, Some(Action::Let { .. }));
    let own_retry = retry(table);
    let place = table.report.page.place(table.span.0);
    let for_each = for_each(table, defaults);
    let step = PlanStep {
        id: Arc::from(id.clone().unwrap_or_default()),
        title: table.text("title").or_else(|| table.text("description")),
        phase,
        action: action.clone().unwrap_or(Action::Approve { message: Template::Literal(Data::null()) }),
        needs: vec![],
        when: table.node("when").and_then(|node| table.condition("when", node)),
        else_of: None,
        if_skipped: table.choice("if_skipped", &[(IfSkipped::Skip, "skip"), (IfSkipped::Run, "run")]).unwrap_or_default(),
        for_each,
        repeat: repeat(table),
        timeout: table.time_limit("timeout").or_else(|| defaults.timeout.clone().filter(|_| limited)),
        retry_by_default: own_retry.is_none() && calls && defaults.retry.is_some(),
        retry: own_retry.or_else(|| defaults.retry.clone().filter(|_| calls)),
        idempotent: table.boolean("idempotent").unwrap_or(false),
        fallback: fallback(table),
        cache: table.duration("cache"),
        on_error: table.choice("on_error", &OnError::ALL).unwrap_or(on_error),
        compensate: table.inner("compensate").and_then(|mut inner| compensate(&mut inner)),
        expect: expect(table),
        read_as: table.choice("result", &ReadAs::ALL).or(defaults.read_as.filter(|_| calls)).unwrap_or_default(),
        place,
    };
    if let Some(action) = &action {
        check_keys_for_action(table, action);
    }
    let needs = table.strings("needs");
    let else_of = table.text("else").zip(table.node("else").map(|node| (node.at, node.end)));
    let span = table.field("id").map_or(table.span, |field| (field.value.at, field.value.end));
    (id.is_some() && action.is_some()).then_some(Draft { step, needs, else_of, span })
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

fn action(table: &mut Table<'_, '_, '_>, context: &mut Context<'_>, defaults: &Defaults) -> Option<Action> {
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
        "let" => Some(Action::Let { value: table.template("let", &first.value) }),
        "workflow" => workflow(table, context),
        "prompt" => {
            let (server, name) = (server(table, defaults), table.literal_text("prompt")?);
            Some(Action::Prompt { server: server?, name, arguments: table.object_template("arguments") })
        }
        "resource" => {
            let (server, uri) = (server(table, defaults), table.text_template("resource")?);
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

fn server(table: &mut Table<'_, '_, '_>, defaults: &Defaults) -> Option<String> {
    if table.field("server").is_none() {
        if let Some(server) = &defaults.server {
            return Some(server.clone());
        }
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

fn compensate(table: &mut Table<'_, '_, '_>) -> Option<Compensate> {
    table.check_keys(&COMPENSATE_KEYS);
    let (retry, timeout) = (retry(table), table.time_limit("timeout"));
    let when_in_doubt = table.choice("when_in_doubt", &WhenInDoubt::ALL).unwrap_or_default();
    let idempotent = table.boolean("idempotent").unwrap_or(false);
    Some(Compensate { call: call_of(table)?, retry, timeout, idempotent, when_in_doubt })
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

fn for_each(table: &mut Table<'_, '_, '_>, defaults: &Defaults) -> Option<ForEach> {
    let Some(node) = table.node("for_each") else {
        for key in ["max_parallel", "on_item_error"] {
            if let Some(field) = table.field(key) {
                table.report_problem((field.at, field.end), key, "is allowed only with `for_each`", None);
            }
        }
        return None;
    };
    let max_parallel = table.computed_count("max_parallel").or_else(|| defaults.max_parallel.clone());
    let on_error = table.choice("on_item_error", &ITEM_ERRORS).or(defaults.on_item_error).unwrap_or(OnError::Fail);
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

fn repeat(table: &mut Table<'_, '_, '_>) -> Option<Repeat> {
    let field = table.field("repeat")?;
    if table.field("for_each").is_some() {
        let hint = "put the inner loop into a workflow of its own".to_owned();
        table.report_problem((field.at, field.end), "repeat", "cannot be combined with `for_each`", Some(hint));
        return None;
    }
    let mut inner = table.inner("repeat")?;
    inner.check_keys(&REPEAT_KEYS);
    let until = inner.node("until").and_then(|node| inner.varying_condition("until", node));
    let r#while = inner.node("while").and_then(|node| inner.varying_condition("while", node));
    if inner.field("until").is_none() && inner.field("while").is_none() {
        let (span, hint) = (inner.span, "add `until` or `while`".to_owned());
        inner.report_problem(span, "", "has no condition", Some(hint));
    }
    let delay = inner.duration("delay").unwrap_or_default();
    let limit = inner.count("limit", 10_000).unwrap_or(MAX_ROUNDS);
    Some(Repeat { until, r#while, delay, limit })
}

fn retry(table: &mut Table<'_, '_, '_>) -> Option<Retry> {
    if matches!(table.node("retry")?.kind, Kind::Integer(_)) {
        return table.count("retry", 100).map(Retry::new);
    }
    let mut inner = table.inner("retry")?;
    inner.check_keys(&RETRY_KEYS);
    if inner.field("attempts").is_none() {
        let span = inner.span;
        inner.report_problem(span, "attempts", "is missing", Some("set the number of attempts: attempts = 3".into()));
    }
    let mut retry = Retry::new(inner.count("attempts", 100)?);
    retry.backoff = inner.duration("backoff").unwrap_or(retry.backoff);
    retry.factor = inner.number("factor", 1.0, 100.0).unwrap_or(retry.factor);
    retry.max_backoff = inner.duration("max_backoff").unwrap_or(retry.max_backoff.max(retry.backoff));
    retry.jitter = inner.boolean("jitter").unwrap_or(true);
    for (word, span) in inner.strings("on") {
        retry.on.extend(inner.word(span, "on", &word, &RetryOn::ALL));
    }
    retry.when = inner.node("when").and_then(|node| inner.varying_condition("when", node));
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
                let compensate = inner.inner("compensate").and_then(|mut inner| compensate(&mut inner));
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
            found.extend(table.varying_condition(&key, item).map(|that| Expectation { that, message: None }));
            continue;
        }
        let span = if many { (item.at, item.end) } else { (field.at, field.end) };
        let Some(mut inner) = table.table_of(item, &key, span) else { continue };
        inner.check_keys(&EXPECT_KEYS);
        let message = inner.text_template("message");
        match inner.node("that") {
            Some(node) => found.extend(inner.varying_condition("that", node).map(|that| Expectation { that, message })),
            None => inner.report_problem(span, "that", "is missing", None),
        }
    }
    found
}

/// Reports keys that do not apply to steps that run after the compensation.
fn check_keys_for_phase(table: &mut Table<'_, '_, '_>, phase: Phase) {
    if phase == Phase::Main {
        return;
    }
    let hint = || Some(format!("`{}` steps run after the compensation, so what they do is not undone", phase.key()));
    if let Some(field) = table.field("compensate") {
        table.report_problem((field.at, field.end), "compensate", format!("is not allowed in `{}`", phase.key()), hint());
    }
    if let Some(field) = table.field("on_error").filter(|field| field.value.text() == Some("compensate")) {
        table.report_problem((field.at, field.end), "on_error", format!("cannot be `compensate` in `{}`", phase.key()), hint());
    }
}

/// Reports keys that do not apply to the step's action.
fn check_keys_for_action(table: &mut Table<'_, '_, '_>, action: &Action) {
    let asks_user = matches!(action, Action::Approve { .. } | Action::Elicit { .. });
    let computes = matches!(action, Action::Let { .. });
    let word = action.kind().word();
    let misplaced: &[(&str, bool)] = &[
        ("server", !matches!(action, Action::Prompt { .. } | Action::Resource { .. })),
        ("schema", !matches!(action, Action::Elicit { .. })),
        ("arguments", asks_user || computes || matches!(action, Action::Resource { .. })),
        ("for_each", asks_user),
        ("repeat", asks_user),
        ("timeout", computes),
        ("retry", asks_user || computes),
        ("cache", asks_user || computes || matches!(action, Action::Workflow { .. })),
        ("idempotent", asks_user || computes),
        ("compensate", asks_user || computes || matches!(action, Action::Prompt { .. } | Action::Resource { .. })),
        ("result", asks_user || computes || matches!(action, Action::Workflow { .. })),
    ];
    for (key, _) in misplaced.iter().filter(|(_, misplaced)| *misplaced) {
        if let Some(field) = table.field(key) {
            table.report_problem((field.at, field.end), key, format!("is not allowed with `{word}`"), Some("remove it".into()));
        }
    }
}
