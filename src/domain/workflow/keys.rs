//! The keys of the file format in one table. The parser accepts only these keys, the JSON Schema is generated from
//! the table, and a test compares the documentation with it.

use serde_json::{Value, json};

use super::plan::{IfBusy, MAX_PARALLEL, MAX_ROUNDS, OnError, ReadAs, RetryOn, WhenInDoubt};

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

/// A duration, or text with expressions for one.
fn time_limit() -> Value {
    json!({"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+$|\\{\\{", "examples": ["500ms", "20s", "{{ input.seconds }}s"]})
}

fn words(words: impl Iterator<Item = &'static str>) -> Value {
    json!({"enum": words.collect::<Vec<_>>()})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 1000})
}

/// An integer from 1, or an expression for one.
fn computed_count() -> Value {
    json!({"anyOf": [count(), {"type": "string", "pattern": "\\{\\{"}]})
}

fn arguments() -> Value {
    json!({"type": "object", "description": "Strings may contain {{ expressions }}; a string that is a single expression keeps the type of its value."})
}

fn on_error() -> Value {
    words(OnError::ALL.into_iter().map(|(_, word)| word))
}

fn retry() -> Value {
    json!({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 100}, table(&RETRY_KEYS, &["attempts"])]})
}

fn result() -> Value {
    let mut shape = words(ReadAs::ALL.into_iter().map(|(_, word)| word));
    shape["default"] = "auto".into();
    shape
}

fn compensate() -> Value {
    table(&COMPENSATE_KEYS, &["tool"])
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
pub(super) const TOP_KEYS: [Key; 16] = [
    key(
        "name",
        "Name used to run the workflow: lowercase letters, digits, `-` and `_`. Default: the file name without its ending.",
        || json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$", "maxLength": 64}),
    ),
    key("title", "A title for users.", text),
    key("description", "Description for users and for agents.", text),
    key("expose", "Whether the gateway offers the workflow as a tool. Default: false.", || json!({"type": "boolean", "default": false})),
    key("version", "The author's version of the file.", || json!({"type": ["string", "number"]})),
    key(
        "env",
        "Names of the environment variables that expressions may read as `env.NAME`. Others cannot be read.",
        || json!({"type": "array", "items": {"type": "string"}}),
    ),
    key("timeout", "Deadline of the whole run. Default: none.", time_limit),
    key("max_parallel", "Maximum number of concurrent steps. Default: 8.", || {
        let mut shape = computed_count();
        shape["default"] = MAX_PARALLEL.into();
        shape
    }),
    key(
        "concurrency",
        "Name of a group of which one run is active at a time, in all processes: the others wait. A table sets `if_busy`.",
        || json!({"anyOf": [template(), table(&CONCURRENCY_KEYS, &["group"])]}),
    ),
    key("defaults", "Settings of all steps that do not set their own.", || table(&DEFAULT_KEYS, &[])),
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
    key(
        "on_failure",
        "Steps that run after a failure and its compensation. Their expressions may use `failure` and `run.outcome`.",
        || json!({"type": "array", "items": {"$ref": "#/$defs/step"}}),
    ),
    key(
        "finally",
        "Steps that run at the end of every run, also of a cancelled one. Their expressions may use `run.outcome`.",
        || json!({"type": "array", "items": {"$ref": "#/$defs/step"}}),
    ),
];

/// The keys of a step.
pub(super) const STEP_KEYS: [Key; 30] = [
    key(
        "id",
        "Id of the step for expressions and `needs`: a letter or `_`, then letters, digits and `_`.",
        || json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 64}),
    ),
    key("title", "A title for users.", text),
    key(
        "tool",
        "Calls the tool of this exposed name, as `switchboard tools` lists it, or `server/tool`, which no other server can change.",
        text,
    ),
    key(
        "let",
        "Computes a value without a call: a table, list or text with expressions. The value is the result.",
        || json!({"description": "Strings may contain {{ expressions }}."}),
    ),
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
    key("else", "Runs the step only if the step of this id was skipped because its `when` is false.", text),
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
        "Maximum number of concurrent items of `for_each`. Default: 10 if the step only reads, as a `trusted` server declares, else 1. Never more than the workflow's `max_parallel`, which counts items as steps.",
        computed_count,
    ),
    key(
        "on_item_error",
        "Effect of a failed item of `for_each`: `fail` (default) or `continue`, with `null` as its result.",
        || json!({"enum": ["fail", "continue"], "default": "fail"}),
    ),
    key(
        "repeat",
        "Runs the step again until a condition is met: a table. Expressions may use `previous` and `index`; the result is the list of results.",
        || table(&REPEAT_KEYS, &[]),
    ),
    key("timeout", "Deadline of the step including all attempts; of each item for a `for_each`, of each round for a `repeat`.", time_limit),
    key("retry", "Maximum number of attempts including the first, or a table with more settings.", retry),
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
    key("compensate", "The call that compensates the step. Its expressions may use the step's own `result` and `text`.", compensate),
    key(
        "expect",
        "Conditions on the step's `result` or `text`: one or a list. The step fails if one is false.",
        || json!({"anyOf": [expectation(), {"type": "array", "items": expectation()}]}),
    ),
    key(
        "result",
        "How the response is read: `json`, `text`, `structured` or `auto` (default: structured content, else JSON in the text, else the text).",
        result,
    ),
    key("description", "Description of the step.", text),
];

/// The keys of `retry`.
pub(super) const RETRY_KEYS: [Key; 7] = [
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
    key("when", "Retries a failure only if this is true. May use `error.kind`, `error.message` and `attempt`.", expression),
];

/// The keys of `defaults`.
pub(super) const DEFAULT_KEYS: [Key; 6] = [
    key("timeout", "`timeout` of the steps.", time_limit),
    key("retry", "`retry` of the steps that call a tool or read a prompt or resource. It applies to what is safe to repeat.", retry),
    key("server", "`server` of the steps that read a prompt or resource.", text),
    key("result", "`result` of the steps.", result),
    key("max_parallel", "`max_parallel` of the steps with `for_each`.", computed_count),
    key("on_item_error", "`on_item_error` of the steps with `for_each`.", || json!({"enum": ["fail", "continue"]})),
];

/// The keys of `concurrency`.
pub(super) const CONCURRENCY_KEYS: [Key; 2] = [
    key("group", "Name of the group.", template),
    key("if_busy", "What a run does while another one of the group is active: `wait` (default) or `fail`.", || {
        let mut shape = words(IfBusy::ALL.into_iter().map(|(_, word)| word));
        shape["default"] = "wait".into();
        shape
    }),
];

/// The keys of `repeat`.
pub(super) const REPEAT_KEYS: [Key; 4] = [
    key("until", "Ends the loop if this is true after a round. May use the `result` and `text` of the round.", expression),
    key(
        "while",
        "Ends the loop if this is false before a round, also before the first. May use `previous`, the result of the round before.",
        expression,
    ),
    key("delay", "Pause before each round except the first. Default: none.", duration),
    key(
        "limit",
        "Maximum number of rounds. The step fails if more are needed. Default: 100.",
        || json!({"type": "integer", "minimum": 1, "maximum": 10_000, "default": MAX_ROUNDS}),
    ),
];

/// The keys of `compensate`.
pub(super) const COMPENSATE_KEYS: [Key; 6] = [
    key("tool", "The exposed name of the tool, or `server/tool`.", text),
    key("arguments", "Its arguments.", arguments),
    key(
        "retry",
        "Maximum number of attempts, or a table as `retry` of a step. Default: 3 attempts, except after errors of the tool.",
        retry,
    ),
    key("timeout", "Deadline of each attempt. Default: that of the step.", time_limit),
    key(
        "idempotent",
        "Declares that making the call twice does no harm, so that it may be retried, and repeated after a crash.",
        || json!({"type": "boolean", "default": false}),
    ),
    key(
        "when_in_doubt",
        "What is done if the step failed or was cancelled and may have taken effect: `report` (default), or `compensate` if the call does no harm then. The step has no `result` then.",
        || {
            let mut shape = words(WhenInDoubt::ALL.into_iter().map(|(_, word)| word));
            shape["default"] = "report".into();
            shape
        },
    ),
];

/// The keys of a fallback that calls a tool.
pub(super) const FALLBACK_KEYS: [Key; 3] = [
    COMPENSATE_KEYS[0],
    COMPENSATE_KEYS[1],
    key("compensate", "The call that undoes the fallback. Its expressions may use the step's own `result` and `text`.", compensate),
];

/// The keys of a condition in `expect`.
pub(super) const EXPECT_KEYS: [Key; 2] =
    [key("that", "The condition.", expression), key("message", "The message if it is false.", template)];

/// Keys of other workflow systems, in lowercase without `-` and `_`, with the key to use. The first one that a table has
/// counts.
const FOREIGN_KEYS: [(&str, &str); 58] = [
    ("if", "when"),
    ("condition", "when"),
    ("unless", "when"),
    ("with", "arguments"),
    ("args", "arguments"),
    ("params", "arguments"),
    ("parameters", "arguments"),
    ("inputs", "arguments"),
    ("input", "arguments"),
    ("inputs", "input"),
    ("params", "input"),
    ("arguments", "input"),
    ("outputs", "output"),
    ("dependson", "needs"),
    ("dependencies", "needs"),
    ("requires", "needs"),
    ("after", "needs"),
    ("foreach", "for_each"),
    ("loop", "for_each"),
    ("items", "for_each"),
    ("withitems", "for_each"),
    ("matrix", "for_each"),
    ("until", "repeat"),
    ("while", "repeat"),
    ("set", "let"),
    ("vars", "let"),
    ("variables", "let"),
    ("value", "let"),
    ("run", "tool"),
    ("uses", "tool"),
    ("call", "tool"),
    ("action", "tool"),
    ("name", "id"),
    ("steps", "step"),
    ("tasks", "step"),
    ("jobs", "step"),
    ("nodes", "step"),
    ("maxattempts", "attempts"),
    ("maxattempts", "retry"),
    ("maxretries", "attempts"),
    ("maxretries", "retry"),
    ("retries", "retry"),
    ("limit", "attempts"),
    ("interval", "backoff"),
    ("delay", "backoff"),
    ("interval", "delay"),
    ("maxinterval", "max_backoff"),
    ("maxdelay", "max_backoff"),
    ("multiplier", "factor"),
    ("maxrounds", "limit"),
    ("continueonerror", "on_error"),
    ("onfailure", "on_error"),
    ("catch", "on_failure"),
    ("rollback", "compensate"),
    ("undo", "compensate"),
    ("timeoutminutes", "timeout"),
    ("timeoutseconds", "timeout"),
    ("parallelism", "max_parallel"),
];

/// Returns the key of a table with the keys `names` that means what `key` means in other workflow systems.
pub(super) fn own_key(key: &str, names: &[&'static str]) -> Option<&'static str> {
    let folded: String = key.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect();
    let meant = FOREIGN_KEYS.iter().filter(|(foreign, _)| *foreign == folded).map(|(_, own)| *own);
    meant.into_iter().find(|own| names.contains(own))
}

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
    let one_of = ["tool", "let", "workflow", "prompt", "resource", "approve", "elicit"].map(|action| json!({"required": [action]}));
    step["oneOf"] = json!(one_of);
    step["dependentRequired"] = json!({"elicit": ["schema"]});
    // Without a default, each step that reads names its server.
    let own_server = json!({"items": {"dependentRequired": {"prompt": ["server"], "resource": ["server"]}}});
    schema["anyOf"] = json!([
        {"required": ["defaults"], "properties": {"defaults": {"required": ["server"]}}},
        {"properties": {"step": own_server, "on_failure": own_server, "finally": own_server}},
    ]);
    schema["$defs"] = json!({"step": step});
    schema
}
