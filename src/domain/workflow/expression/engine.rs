//! The expression engine: minijinja restricted to the features that workflows offer.

use std::{collections::HashMap, sync::Arc, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minijinja::{Environment, Error, ErrorKind, Expression, UndefinedBehavior, Value, value::ValueKind};
use sha2::{Digest, Sha256};

use super::{Data, Reference, RunFacts, Scope, SyntaxFault, date, reference::Key, scope::Root};

/// A compiled expression.
pub(super) enum Program {
    /// Names joined by dots, looked up without the engine.
    Path(Vec<Value>),
    /// Anything else.
    Code(Expression<'static, 'static>),
}

/// The filter that rejects a missing value. Inserted by `reference`, not available to authors.
pub(super) const REJECT_MISSING: &str = "_there";

/// The function that looks up a possibly missing value. Inserted by `reference`, not available to authors.
pub(super) const FIND_OPTIONAL: &str = "_find";

/// The filter that rejects a list if an item lacks the member that a later filter reads. Inserted by `reference`, not
/// available to authors.
pub(super) const REQUIRE_MEMBER: &str = "_each";

/// The filter that rejects a list as an operand of `*`. Inserted by `reference`, not available to authors.
pub(super) const REJECT_LIST: &str = "_factor";

/// The function that replaces a missing `else` of an `if`. Inserted by `reference`, not available to authors.
pub(super) const MISSING_ELSE: &str = "_nothing";

/// Maximum number of instructions of one evaluation; larger results cost more.
const FUEL: u64 = 500_000;

/// The available filters.
#[rustfmt::skip]
const FILTERS: [&str; 55] = [
    "abs", "attr", "b64decode", "b64encode", "batch", "bool", "capitalize", "chain", "count", "d", "date", "default", "dictsort", "first",
    "flatten", "float", "format", "fromjson", "groupby", "indent", "int", "items", "join", "keys", "last", "length", "lines", "list",
    "lower", "map", "max", "merge", "min", "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr", "sha256",
    "slice", "sort", "split", "string", "sum", "timestamp", "title", "tojson", "trim", "unique",
    "upper", "urlencode", "values", "zip",
];
/// The available tests.
const TESTS: [&str; 27] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
];
/// The available functions.
const FUNCTIONS: [&str; 2] = ["dict", "range"];

/// The environment is immutable, so all expressions share one.
static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    engine.set_fuel(Some(FUEL));
    engine.set_debug(false);
    for name in ["debug", "namespace"] {
        engine.remove_global(name);
    }
    for name in ["safe", "escape", "e", "html", "pprint"] {
        engine.remove_filter(name);
    }
    engine.add_filter(REJECT_MISSING, reject_missing);
    engine.add_filter(REQUIRE_MEMBER, require_member);
    engine.add_filter(REJECT_LIST, reject_list);
    engine.add_function(FIND_OPTIONAL, find_optional);
    engine.add_function(MISSING_ELSE, || Err::<Value, _>(invalid_operation("has no value: the condition is false and `else` is missing")));
    engine.add_filter("tojson", |value: Value| json(&value));
    engine.add_filter("fromjson", |text: String| {
        Data::parse(&text).map(|data| data.0).map_err(|error| invalid_operation(format!("fromjson: invalid JSON: {error}")))
    });
    engine.add_filter("string", |value: Value| json_or_text(&value));
    engine.add_filter("b64encode", |value: Value| json_or_text(&value).map(|text| STANDARD.encode(text)));
    engine.add_filter("b64decode", b64decode);
    engine.add_filter("sha256", |value: Value| json_or_text(&value).map(|text| hex(&Sha256::digest(text))));
    engine.add_filter("urlencode", |value: Value| json_or_text(&value).map(|text| percent_encode(&text)));
    engine.add_filter("date", |value: Value, format: Option<String>| match format {
        Some(format) => date::strftime(unix_ms(&value)?, &format).map_err(invalid_operation),
        None => unix_ms(&value).map(date::rfc3339),
    });
    engine.add_filter("timestamp", |value: Value| unix_ms(&value));
    engine
        .add_filter("keys", |value: Value| Ok::<_, Error>(Value::from(pairs(&value)?.into_iter().map(|(key, _)| key).collect::<Vec<_>>())));
    engine.add_filter("values", |value: Value| {
        Ok::<_, Error>(Value::from(pairs(&value)?.into_iter().map(|(_, inner)| inner).collect::<Vec<_>>()))
    });
    engine.add_filter("merge", |value: Value, other: Value| Ok::<_, Error>(Value::from_pairs([pairs(&value)?, pairs(&other)?].concat())));
    engine.add_filter("flatten", flatten);
    engine
});

/// Compiles an expression.
pub(super) fn compile(source: &str) -> Result<Program, SyntaxFault> {
    ENGINE.compile_expression_owned(source.to_owned()).map(Program::Code).map_err(|error| syntax_fault(&error))
}

/// Returns the program of a reference that consists of names only.
pub(super) fn path(reference: &Reference) -> Program {
    Program::Path((0..reference.path.len()).filter_map(|level| reference.name(level)).map(Value::from).collect())
}

/// Evaluates a compiled expression.
pub(super) fn run(program: &Program, scope: &Scope) -> Result<Value, Error> {
    let names = match program {
        Program::Code(code) => return code.eval(Value::from_object(Root(scope.clone()))),
        Program::Path(names) => names,
    };
    let Some((root, keys)) = names.split_first() else { return Ok(Value::UNDEFINED) };
    let mut at = scope.top(root.as_str().unwrap_or_default()).unwrap_or(Value::UNDEFINED);
    for key in keys {
        // A missing value stays undefined; the caller reports its name.
        at = if at.is_undefined() { at } else { at.get_item(key)? };
    }
    Ok(at)
}

/// Returns the value of an expression without references, if it has one.
pub(super) fn constant(source: &str) -> Option<Data> {
    let scope = Scope::new(&Arc::new(HashMap::new()), Data::null(), &RunFacts::default(), []);
    let value = run(&compile(source).ok()?, &scope).ok()?;
    Data::of(value).into_json().ok()
}

/// Converts minijinja's syntax error.
pub(super) fn syntax_fault(error: &Error) -> SyntaxFault {
    let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    SyntaxFault { message, hint: None, offset: error.range().map_or(0, |range| range.start) }
}

/// Describes an evaluation error in terms of the file.
pub(super) fn explain(error: &Error, references: &[Reference], scope: &Scope) -> String {
    let root = error_root(error);
    match root.kind() {
        ErrorKind::UndefinedError => describe_undefined(root, references, scope),
        ErrorKind::OutOfFuel => "takes too long: stopped after 500,000 instructions".into(),
        kind => root.detail().map_or_else(|| kind.to_string(), str::to_owned),
    }
}

/// Returns the innermost error of the engine; filters wrap errors.
fn error_root(error: &Error) -> &Error {
    let mut root = error;
    while let Some(inner) = std::error::Error::source(root).and_then(|source| source.downcast_ref::<Error>()) {
        root = inner;
    }
    root
}

/// Names the missing value, and what exists instead.
fn describe_undefined(error: &Error, references: &[Reference], scope: &Scope) -> String {
    let guarded = error.detail().unwrap_or_default();
    let mut first: Vec<&Reference> = references.iter().filter(|reference| reference.text() == guarded).collect();
    first.extend(references.iter().filter(|reference| !reference.optional));
    first.extend(references.iter().filter(|reference| reference.optional && !reference.complete));
    match first.into_iter().find_map(|reference| describe_broken(reference, scope)) {
        Some(message) => message,
        None if guarded.is_empty() => "a value in it is missing".into(),
        None => format!("`{guarded}` is missing"),
    }
}

/// Names the missing value when an expression evaluated to nothing without an error.
pub(super) fn describe_missing(references: &[Reference], scope: &Scope) -> String {
    let found = references.iter().filter(|reference| !reference.optional).find_map(|reference| describe_broken(reference, scope));
    found.unwrap_or_else(|| "evaluates to a missing value".into())
}

/// Describes where a reference leads nowhere.
fn describe_broken(reference: &Reference, scope: &Scope) -> Option<String> {
    let part = |count: usize| Reference { path: reference.path[..count].to_vec(), complete: true, optional: false, offset: 0 }.text();
    let mut at = scope.top(reference.root());
    for (level, key) in reference.path.iter().enumerate().skip(1) {
        let Some(value) = &at else { return Some(format!("`{}` is missing", part(level))) };
        let next = match key {
            Key::Name(name) => value.get_attr(name).ok(),
            Key::Index(index) => value.get_item(&Value::from(*index)).ok(),
        };
        let next = next.filter(|next| !next.is_undefined());
        if next.is_none() {
            return Some(format!("`{}` is missing: `{}` {}", part(level + 1), part(level), describe_contents(value, key)));
        }
        at = next;
    }
    at.is_none().then(|| format!("`{}` is missing", reference.text()))
}

/// Describes what a value contains, after a failed lookup of `key`.
fn describe_contents(value: &Value, key: &Key) -> String {
    const MAX_KEYS: usize = 8;
    let data = Data::of(value.clone());
    if let Some(count) = data.len() {
        return format!("is a list of {count}");
    }
    if !data.is_object() {
        return format!("is {}", data.kind());
    }
    let keys = data.keys();
    if let Key::Name(name) = key
        && let Some(candidate) = super::super::closest_match(name, keys.iter().map(String::as_str))
    {
        return format!("has `{candidate}`, did you mean that?");
    }
    match keys.len() {
        0 => "is empty".into(),
        count if count > MAX_KEYS => format!("has {} and {} more", keys[..MAX_KEYS].join(", "), count - MAX_KEYS),
        _ => format!("has {}", keys.join(", ")),
    }
}

fn invalid_operation(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn reject_missing(value: Value, path: String) -> Result<Value, Error> {
    if value.is_undefined() { Err(Error::new(ErrorKind::UndefinedError, path)) } else { Ok(value) }
}

/// The engine repeats a list up to 100,000,000 times, whatever fuel is left: one line would need gigabytes.
fn reject_list(value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => Err(invalid_operation("a list cannot be multiplied")),
        _ => Ok(value),
    }
}

/// Checks that every item of `list` has a member at `path` (names joined by dots). `text` is the list as written.
/// Values that are missing or not lists are left to the filter.
fn require_member(list: Value, path: String, text: String) -> Result<Value, Error> {
    if !matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Ok(list);
    }
    for (index, item) in list.try_iter()?.enumerate() {
        let mut at = item;
        for name in path.split('.') {
            let next = match name.parse::<usize>() {
                Ok(place) => at.get_item_by_index(place),
                Err(_) => at.get_attr(name),
            };
            let Some(next) = next.ok().filter(|next| !next.is_undefined()) else {
                let describe_contents = describe_contents(&at, &Key::Name(name.to_owned()));
                return Err(invalid_operation(format!("`{path}` is missing in item {index} of `{text}`: it {describe_contents}")));
            };
            at = next;
        }
    }
    Ok(list)
}

fn find_optional(root: Value, keys: minijinja::value::Rest<Value>) -> Result<Value, Error> {
    let mut at = root;
    for key in keys.iter() {
        // A value without members has no member of this name either.
        at = if at.is_undefined() { at } else { at.get_item(key).unwrap_or(Value::UNDEFINED) };
    }
    Ok(at)
}

fn json(value: &Value) -> Result<String, Error> {
    Data::of(value.clone()).into_json().map(|data| data.json()).map_err(invalid_operation)
}

fn json_or_text(value: &Value) -> Result<String, Error> {
    value.as_str().map_or_else(|| json(value), |text| Ok(text.to_owned()))
}

fn b64decode(text: String) -> Result<String, Error> {
    let bytes = STANDARD.decode(text.trim()).map_err(|error| invalid_operation(format!("b64decode: {error}")))?;
    String::from_utf8(bytes).map_err(|_| invalid_operation("b64decode: the decoded bytes are not valid UTF-8"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Percent-encodes everything but unreserved characters (RFC 3986).
fn percent_encode(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Converts a date to milliseconds since the Unix epoch: from a number as is, or from RFC 3339 text.
fn unix_ms(value: &Value) -> Result<i64, Error> {
    match value.as_str() {
        Some(text) => date::parse(text).ok_or_else(|| invalid_operation(format!("{text:?} is not a date such as 2026-11-23T09:05:00Z"))),
        None => value.as_i64().ok_or_else(|| invalid_operation("a date must be RFC 3339 text or milliseconds since 1970")),
    }
}

fn pairs(value: &Value) -> Result<Vec<(Value, Value)>, Error> {
    if value.kind() != ValueKind::Map {
        return Err(invalid_operation(format!("needs an object, not {}", Data::of(value.clone()).kind())));
    }
    value.try_iter()?.map(|key| value.get_item(&key).map(|inner| (key, inner))).collect()
}

fn flatten(value: Value) -> Result<Value, Error> {
    let mut flat = vec![];
    for item in value.try_iter()? {
        match item.kind() {
            ValueKind::Seq | ValueKind::Iterable => flat.extend(item.try_iter()?),
            _ => flat.push(item),
        }
    }
    Ok(Value::from(flat))
}

pub(super) fn filters() -> Vec<&'static str> {
    FILTERS.to_vec()
}

pub(super) fn tests() -> Vec<&'static str> {
    TESTS.to_vec()
}

pub(super) fn functions() -> Vec<&'static str> {
    FUNCTIONS.to_vec()
}

pub(super) fn has_filter(name: &str) -> bool {
    FILTERS.contains(&name)
}

pub(super) fn has_test(name: &str) -> bool {
    TESTS.contains(&name)
}

pub(super) fn has_function(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}
