//! The keys of the format in one table: the parser knows no others, the JSON Schema is made from it, and a
//! test holds the documentation equal to it.

use serde_json::{Value, json};

use super::plan::{MAX_PARALLEL, MAX_PARALLEL_ITEMS, OnError, ReadAs, RetryOn};

/// A key of a table.
pub(super) struct Key {
    pub name: &'static str,
    /// What it means, in one or two sentences.
    pub about: &'static str,
    /// JSON Schema of its value.
    pub shape: fn() -> Value,
}

const fn key(name: &'static str, about: &'static str, shape: fn() -> Value) -> Key {
    Key { name, about, shape }
}

fn text() -> Value {
    json!({"type": "string"})
}

fn template() -> Value {
    json!({"type": "string", "description": "May hold {{ expressions }}."})
}

fn expression() -> Value {
    json!({"type": ["string", "boolean"], "description": "A minijinja expression, with or without {{ }}."})
}

fn duration() -> Value {
    json!({"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+$", "examples": ["500ms", "20s", "1m30s"]})
}

fn words(words: impl Iterator<Item = &'static str>) -> Value {
    json!({"enum": words.collect::<Vec<_>>()})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 1000})
}

fn arguments() -> Value {
    json!({"type": "object", "description": "Strings may hold {{ expressions }}; one that is nothing else keeps its type."})
}

fn on_error() -> Value {
    words(OnError::ALL.into_iter().map(|(_, word)| word))
}

fn tool_call() -> Value {
    table(&CALL_KEYS, &["tool"])
}

fn expectation() -> Value {
    json!({"anyOf": [expression(), table(&EXPECT_KEYS, &["that"])]})
}

/// The schema of a table with these keys and no others.
fn table(keys: &[Key], required: &[&str]) -> Value {
    let properties: serde_json::Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut shape = (key.shape)();
            shape["description"] = match shape.get("description").and_then(Value::as_str) {
                Some(more) => format!("{} {more}", key.about).into(),
                None => key.about.into(),
            };
            (key.name.to_owned(), shape)
        })
        .collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The keys at the top of a file.
pub(super) const TOP_KEYS: [Key; 11] = [
    key(
        "name",
        "The name by which the workflow is run: small letters, digits, `-` and `_`. That of the file without its ending if left out.",
        || json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$", "maxLength": 64}),
    ),
    key("title", "A title for people.", text),
    key("description", "What it does, for people and for agents that are offered it.", text),
    key("version", "The author's version of the file.", || json!({"type": ["string", "number"]})),
    key(
        "env",
        "Names of the environment variables that expressions may read as `env.NAME`; no others can be.",
        || json!({"type": "array", "items": {"type": "string"}}),
    ),
    key("timeout", "Deadline of a whole run. None if left out.", duration),
    key("max_parallel", "How many steps may be under way at once; 8 if left out.", || {
        let mut shape = count();
        shape["default"] = MAX_PARALLEL.into();
        shape
    }),
    key("on_error", "What a failed step means, unless the step says so itself: `fail` (the default), `continue` or `compensate`.", || {
        let mut shape = on_error();
        shape["default"] = "fail".into();
        shape
    }),
    key("input", "The input: `name = \"string\"` for each value, or a whole JSON Schema of an object.", || json!({"type": "object"})),
    key(
        "output",
        "What a run gives back: a value for each name, from expressions. The last step's result if left out.",
        || json!({"type": "object"}),
    ),
    key(
        "step",
        "The steps. Those without a path between them run at the same time.",
        || json!({"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}}),
    ),
];

/// The keys of a step.
pub(super) const STEP_KEYS: [Key; 27] = [
    key(
        "id",
        "The name by which expressions and `needs` mean the step: a letter or `_`, then letters, digits and `_`.",
        || json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 64}),
    ),
    key("title", "A title for people.", text),
    key("tool", "Calls the tool of this exposed name, as `switchboard tools` lists it.", text),
    key("workflow", "Runs the workflow of this name; its outputs are the result. At most five deep.", text),
    key("prompt", "Reads the prompt of this name from `server`.", text),
    key("resource", "Reads the resource of this URI from `server`.", template),
    key("approve", "Asks the person for a yes or no with this question; a no is a failure.", template),
    key("elicit", "Asks the person, with this text, to fill the form of `schema`; what was entered is the result.", template),
    key("server", "The server of a `prompt` or `resource`, by its key in the configuration.", text),
    key("arguments", "The arguments of a `tool`, `prompt` or `workflow`.", arguments),
    key("schema", "What `elicit` asks for: written like `[input]`.", || json!({"type": "object"})),
    key(
        "needs",
        "Steps that must have settled before, beside those that the expressions refer to.",
        || json!({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
    ),
    key("when", "Runs the step only if this is true; otherwise it is skipped.", expression),
    key(
        "if_skipped",
        "What becomes of the step when one that it needs was skipped: `skip` (the default) or `run`.",
        || json!({"enum": ["skip", "run"], "default": "skip"}),
    ),
    key(
        "for_each",
        "Runs the step once for each item of this list; expressions see `item` and `index`, the result is the list of results.",
        || json!({"type": ["string", "array"]}),
    ),
    key(
        "max_parallel",
        "How many items of `for_each` may be under way at once; 10 if left out. Never more than the workflow's own `max_parallel`, which counts items as steps.",
        || {
            let mut shape = count();
            shape["default"] = MAX_PARALLEL_ITEMS.into();
            shape
        },
    ),
    key(
        "on_item_error",
        "What a failed item of `for_each` means: `fail` (the default) or `continue`, with `null` for its result.",
        || json!({"enum": ["fail", "continue"], "default": "fail"}),
    ),
    key("timeout", "Deadline of the step with all its attempts; of each item for a `for_each`.", duration),
    key(
        "retry",
        "How often the step is tried, the first time included, or a table with more to say.",
        || json!({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 100}, table(&RETRY_KEYS, &["attempts"])]}),
    ),
    key(
        "idempotent",
        "Vouches that running the step twice does no harm, so that it may be retried and repeated after a crash.",
        || json!({"type": "boolean", "default": false}),
    ),
    key(
        "fallback",
        "What is done when the step has failed for good: another tool, or a value; or a list of these, tried in order.",
        || {
            let one = json!({"anyOf": [tool_call(), {
                "type": "object", "required": ["value"], "additionalProperties": false,
                "properties": {"value": {"description": "Taken for the result."}}
            }]});
            json!({"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]})
        },
    ),
    key("cache", "How long an earlier answer to the same arguments may be used instead of a call.", duration),
    key("on_error", "What the step's failure means: `fail`, `continue` or `compensate`; that of the workflow if left out.", on_error),
    key("compensate", "The call that undoes the step. Its expressions see the step's own `result` and `text`.", tool_call),
    key(
        "expect",
        "What must hold of the step's `result` or `text`, else it has failed: one condition or a list.",
        || json!({"anyOf": [expectation(), {"type": "array", "items": expectation()}]}),
    ),
    key(
        "result",
        "How the answer is read: `json`, `text`, `structured` or `auto` (the default: structured, else JSON in text, else text).",
        || {
            let mut shape = words(ReadAs::ALL.into_iter().map(|(_, word)| word));
            shape["default"] = "auto".into();
            shape
        },
    ),
    key("description", "What the step is for.", text),
];

/// The keys of `retry`.
pub(super) const RETRY_KEYS: [Key; 6] = [
    key(
        "attempts",
        "How often the step is tried at most, the first time included.",
        || json!({"type": "integer", "minimum": 1, "maximum": 100}),
    ),
    key("backoff", "The wait before the second attempt; 500ms if left out.", duration),
    key(
        "factor",
        "What each further wait is longer by; 2 if left out.",
        || json!({"type": "number", "minimum": 1, "maximum": 100, "default": 2}),
    ),
    key("max_backoff", "The longest wait; 30s if left out.", duration),
    key(
        "jitter",
        "Whether a wait is drawn at random between its half and its whole; yes if left out.",
        || json!({"type": "boolean", "default": true}),
    ),
    key(
        "on",
        "Which failures are worth another attempt; all but `tool_error` and `expect` if left out.",
        || json!({"type": "array", "items": words(RetryOn::ALL.into_iter().map(|(_, word)| word))}),
    ),
];

/// The keys of a call in `compensate` and `fallback`.
pub(super) const CALL_KEYS: [Key; 2] = [key("tool", "The exposed name of the tool.", text), key("arguments", "Its arguments.", arguments)];

/// The keys of a condition in `expect`.
pub(super) const EXPECT_KEYS: [Key; 2] =
    [key("that", "What must be true.", expression), key("message", "What is said when it is not.", template)];

/// The names of a table's keys.
pub(super) fn names(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

/// JSON Schema (2020-12) of a workflow file, for editors.
pub fn schema() -> Value {
    let mut schema = table(&TOP_KEYS, &["step"]);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Switchboard workflow".into();
    let mut step = table(&STEP_KEYS, &["id"]);
    let one_of = ["tool", "workflow", "prompt", "resource", "approve", "elicit"].map(|action| json!({"required": [action]}));
    step["oneOf"] = json!(one_of);
    step["dependentRequired"] = json!({"prompt": ["server"], "resource": ["server"], "elicit": ["schema"]});
    schema["$defs"] = json!({"step": step});
    schema
}
