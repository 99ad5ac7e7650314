//! The keys of the file format in one table. The parser accepts only these keys, the JSON Schema is generated from
//! the table, and a test compares the documentation with it.

use serde_json::{Value, json};

use super::plan::{MAX_PARALLEL, MAX_PARALLEL_ITEMS, OnError, ReadAs, RetryOn};

/// A key of a table.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub name: &'static str,
    /// Its description, one or two sentences.
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
    json!({"type": "string", "description": "May contain {{ expressions }}."})
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
    json!({"type": "object", "description": "Strings may contain {{ expressions }}; a string that is a single expression keeps the type of its value."})
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

/// Returns the schema of a table with exactly these keys.
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
        "Name used to run the workflow: lowercase letters, digits, `-` and `_`. Default: the file name without its ending.",
        || json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$", "maxLength": 64}),
    ),
    key("title", "A title for users.", text),
    key("description", "Description for users and for agents.", text),
    key("version", "The author's version of the file.", || json!({"type": ["string", "number"]})),
    key(
        "env",
        "Names of the environment variables that expressions may read as `env.NAME`. Others cannot be read.",
        || json!({"type": "array", "items": {"type": "string"}}),
    ),
    key("timeout", "Deadline of the whole run. Default: none.", duration),
    key("max_parallel", "Maximum number of concurrent steps. Default: 8.", || {
        let mut shape = count();
        shape["default"] = MAX_PARALLEL.into();
        shape
    }),
    key(
        "on_error",
        "Effect of a failed step on the run, unless the step sets its own: `fail` (default), `continue` or `compensate`.",
        || {
            let mut shape = on_error();
            shape["default"] = "fail".into();
            shape
        },
    ),
    key("input", "The input: `name = \"string\"` for each value, or a complete JSON Schema of an object.", || json!({"type": "object"})),
    key(
        "output",
        "The outputs of a run: a value for each name, from expressions. Default: the result of the last step.",
        || json!({"type": "object"}),
    ),
    key(
        "step",
        "The steps. Steps that do not depend on each other run concurrently.",
        || json!({"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}}),
    ),
];

/// The keys of a step.
pub(super) const STEP_KEYS: [Key; 27] = [
    key(
        "id",
        "Id of the step for expressions and `needs`: a letter or `_`, then letters, digits and `_`.",
        || json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 64}),
    ),
    key("title", "A title for users.", text),
    key("tool", "Calls the tool of this exposed name, as `switchboard tools` lists it.", text),
    key("workflow", "Runs the workflow of this name; its outputs are the result. Nesting is limited to five levels.", text),
    key("prompt", "Reads the prompt of this name from `server`.", text),
    key("resource", "Reads the resource of this URI from `server`.", template),
    key("approve", "Asks the user for approval with this question; a rejection is a failure.", template),
    key("elicit", "Asks the user, with this text, to fill in the form of `schema`; the entered values are the result.", template),
    key("server", "The server of a `prompt` or `resource`, by its key in the configuration.", text),
    key("arguments", "The arguments of a `tool`, `prompt` or `workflow`.", arguments),
    key("schema", "The form of `elicit`, written like `[input]`.", || json!({"type": "object"})),
    key(
        "needs",
        "Steps that must have settled before, in addition to those that the expressions refer to.",
        || json!({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
    ),
    key("when", "Runs the step only if this is true; otherwise it is skipped.", expression),
    key(
        "if_skipped",
        "Whether the step is skipped or runs if a step that it needs was skipped: `skip` (default) or `run`.",
        || json!({"enum": ["skip", "run"], "default": "skip"}),
    ),
    key(
        "for_each",
        "Runs the step once per item of this list. Expressions may use `item` and `index`; the result is the list of results.",
        || json!({"type": ["string", "array"]}),
    ),
    key(
        "max_parallel",
        "Maximum number of concurrent items of `for_each`. Default: 10. Never more than the workflow's `max_parallel`, which counts items as steps.",
        || {
            let mut shape = count();
            shape["default"] = MAX_PARALLEL_ITEMS.into();
            shape
        },
    ),
    key(
        "on_item_error",
        "Effect of a failed item of `for_each`: `fail` (default) or `continue`, with `null` as its result.",
        || json!({"enum": ["fail", "continue"], "default": "fail"}),
    ),
    key("timeout", "Deadline of the step including all attempts; of each item for a `for_each`.", duration),
    key(
        "retry",
        "Maximum number of attempts including the first, or a table with more settings.",
        || json!({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 100}, table(&RETRY_KEYS, &["attempts"])]}),
    ),
    key(
        "idempotent",
        "Declares that running the step twice does no harm, so that it may be retried, and repeated after a crash.",
        || json!({"type": "boolean", "default": false}),
    ),
    key("fallback", "Alternative once all attempts have failed: another tool or a value, or a list of these, tried in order.", || {
        let one = json!({"anyOf": [table(&FALLBACK_KEYS, &["tool"]), {
            "type": "object", "required": ["value"], "additionalProperties": false,
            "properties": {"value": {"description": "Used as the result."}}
        }]});
        json!({"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]})
    }),
    key("cache", "How long a cached response for the same arguments may be used instead of a call.", duration),
    key(
        "on_error",
        "Effect of the step's failure on the run: `fail`, `continue` or `compensate`. Default: that of the workflow.",
        on_error,
    ),
    key("compensate", "The call that compensates the step. Its expressions may use the step's own `result` and `text`.", tool_call),
    key(
        "expect",
        "Conditions on the step's `result` or `text`: one or a list. The step fails if one is false.",
        || json!({"anyOf": [expectation(), {"type": "array", "items": expectation()}]}),
    ),
    key(
        "result",
        "How the response is read: `json`, `text`, `structured` or `auto` (default: structured content, else JSON in the text, else the text).",
        || {
            let mut shape = words(ReadAs::ALL.into_iter().map(|(_, word)| word));
            shape["default"] = "auto".into();
            shape
        },
    ),
    key("description", "Description of the step.", text),
];

/// The keys of `retry`.
pub(super) const RETRY_KEYS: [Key; 6] = [
    key("attempts", "Maximum number of attempts including the first.", || json!({"type": "integer", "minimum": 1, "maximum": 100})),
    key("backoff", "Backoff before the second attempt. Default: 500ms.", duration),
    key(
        "factor",
        "Factor from one backoff to the next. Default: 2.",
        || json!({"type": "number", "minimum": 1, "maximum": 100, "default": 2}),
    ),
    key("max_backoff", "Maximum backoff. Default: 30s.", duration),
    key(
        "jitter",
        "Whether each backoff is drawn randomly between half and the whole. Default: true.",
        || json!({"type": "boolean", "default": true}),
    ),
    key(
        "on",
        "The failures to retry. Default: all except `tool_error` and `expect`.",
        || json!({"type": "array", "items": words(RetryOn::ALL.into_iter().map(|(_, word)| word))}),
    ),
];

/// The keys of a call in `compensate`.
pub(super) const CALL_KEYS: [Key; 2] = [key("tool", "The exposed name of the tool.", text), key("arguments", "Its arguments.", arguments)];

/// The keys of a fallback that calls a tool.
pub(super) const FALLBACK_KEYS: [Key; 3] = [
    CALL_KEYS[0],
    CALL_KEYS[1],
    key("compensate", "The call that undoes the fallback. Its expressions may use the step's own `result` and `text`.", tool_call),
];

/// The keys of a condition in `expect`.
pub(super) const EXPECT_KEYS: [Key; 2] =
    [key("that", "The condition.", expression), key("message", "The message if it is false.", template)];

/// Returns the names of a table's keys.
pub(super) fn names(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

/// Returns the JSON Schema (2020-12) of a workflow file, for editors.
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
