//! The engine: minijinja with what workflows offer and nothing else.

use std::{collections::HashMap, sync::Arc, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minijinja::{Environment, Error, ErrorKind, Expression, UndefinedBehavior, Value, value::ValueKind};
use sha2::{Digest, Sha256};

use super::{Data, Reference, RunFacts, Scope, SyntaxFault, date, reference::Key, scope::Root};

/// A compiled expression.
pub(super) enum Program {
    /// Names with dots between them, looked up without the engine.
    Path(Vec<Value>),
    /// Anything else.
    Code(Expression<'static, 'static>),
}

/// The filter that refuses what is not there; put in by `reference`, not offered.
pub(super) const GUARD: &str = "_there";

/// The function that looks up what may be missing; put in by `reference`, not offered.
pub(super) const FIND: &str = "_find";

/// The filter that refuses a list of which an item lacks what a filter after it looks at; put in by `reference`, not offered.
pub(super) const EACH: &str = "_each";

/// The function that stands for the `else` that an `if` lacks; put in by `reference`, not offered.
pub(super) const NOTHING: &str = "_nothing";

/// Instructions that one evaluation may take; larger results cost more.
const FUEL: u64 = 500_000;

/// The filters that are offered.
#[rustfmt::skip]
const FILTERS: [&str; 55] = [
    "abs", "attr", "b64decode", "b64encode", "batch", "bool", "capitalize", "chain", "count", "d", "date", "default", "dictsort", "first",
    "flatten", "float", "format", "fromjson", "groupby", "indent", "int", "items", "join", "keys", "last", "length", "lines", "list",
    "lower", "map", "max", "merge", "min", "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr", "sha256",
    "slice", "sort", "split", "string", "sum", "timestamp", "title", "tojson", "trim", "unique",
    "upper", "urlencode", "values", "zip",
];
/// The tests that are offered.
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
/// The functions that are offered.
const FUNCTIONS: [&str; 2] = ["dict", "range"];

/// An environment never changes after it is made, so that all expressions share one.
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
    engine.add_filter(GUARD, there);
    engine.add_filter(EACH, each);
    engine.add_function(FIND, find);
    engine.add_function(NOTHING, || Err::<Value, _>(refuse("gives nothing: the condition is false, and there is no `else`")));
    engine.add_filter("tojson", |value: Value| json(&value));
    engine.add_filter("fromjson", |text: String| {
        Data::parse(&text).map(|data| data.0).map_err(|error| refuse(format!("fromjson: the text is no JSON: {error}")))
    });
    engine.add_filter("string", |value: Value| json_or_text(&value));
    engine.add_filter("b64encode", |value: Value| json_or_text(&value).map(|text| STANDARD.encode(text)));
    engine.add_filter("b64decode", b64decode);
    engine.add_filter("sha256", |value: Value| json_or_text(&value).map(|text| hex(&Sha256::digest(text))));
    engine.add_filter("urlencode", |value: Value| json_or_text(&value).map(|text| percent(&text)));
    engine.add_filter("date", |value: Value, format: Option<String>| match format {
        Some(format) => date::strftime(moment(&value)?, &format).map_err(refuse),
        None => moment(&value).map(date::rfc3339),
    });
    engine.add_filter("timestamp", |value: Value| moment(&value));
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

/// The program of a reference that has names only.
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
        // What is not there stays so; the caller names it.
        at = if at.is_undefined() { at } else { at.get_item(key)? };
    }
    Ok(at)
}

/// The value of an expression that refers to nothing, if it has one.
pub(super) fn constant(source: &str) -> Option<Data> {
    let scope = Scope::new(&Arc::new(HashMap::new()), Data::null(), &RunFacts::default(), []);
    let value = run(&compile(source).ok()?, &scope).ok()?;
    Data::of(value).whole().ok()
}

/// What minijinja says about a broken expression.
pub(super) fn syntax_fault(error: &Error) -> SyntaxFault {
    let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    SyntaxFault { message, hint: None, offset: error.range().map_or(0, |range| range.start) }
}

/// Why an evaluation failed, in words of the file.
pub(super) fn explain(error: &Error, references: &[Reference], scope: &Scope) -> String {
    let root = error_root(error);
    match root.kind() {
        ErrorKind::UndefinedError => missing(root, references, scope),
        ErrorKind::OutOfFuel => "takes too long: it is given up after half a million steps".into(),
        kind => root.detail().map_or_else(|| kind.to_string(), str::to_owned),
    }
}

/// The innermost error of the engine: filters wrap what they were told.
fn error_root(error: &Error) -> &Error {
    let mut root = error;
    while let Some(inner) = std::error::Error::source(root).and_then(|source| source.downcast_ref::<Error>()) {
        root = inner;
    }
    root
}

/// Names the value that is not there, and what is there instead.
fn missing(error: &Error, references: &[Reference], scope: &Scope) -> String {
    let guarded = error.detail().unwrap_or_default();
    let mut first: Vec<&Reference> = references.iter().filter(|reference| reference.text() == guarded).collect();
    first.extend(references.iter().filter(|reference| !reference.optional));
    first.extend(references.iter().filter(|reference| reference.optional && !reference.complete));
    match first.into_iter().find_map(|reference| broken(reference, scope)) {
        Some(message) => message,
        None if guarded.is_empty() => "something in it is not there".into(),
        None => format!("`{guarded}` is not there"),
    }
}

/// Names what is not there when an expression came to nothing without an error.
pub(super) fn absent(references: &[Reference], scope: &Scope) -> String {
    let found = references.iter().filter(|reference| !reference.optional).find_map(|reference| broken(reference, scope));
    found.unwrap_or_else(|| "gives something that is not there".into())
}

/// Where a reference leads nowhere.
fn broken(reference: &Reference, scope: &Scope) -> Option<String> {
    let part = |count: usize| Reference { path: reference.path[..count].to_vec(), complete: true, optional: false, offset: 0 }.text();
    let mut at = scope.top(reference.root());
    for (level, key) in reference.path.iter().enumerate().skip(1) {
        let Some(value) = &at else { return Some(format!("`{}` is not there", part(level))) };
        let next = match key {
            Key::Name(name) => value.get_attr(name).ok(),
            Key::Index(index) => value.get_item(&Value::from(*index)).ok(),
        };
        let next = next.filter(|next| !next.is_undefined());
        if next.is_none() {
            return Some(format!("`{}` is not there: `{}` {}", part(level + 1), part(level), holds(value, key)));
        }
        at = next;
    }
    at.is_none().then(|| format!("`{}` is not there", reference.text()))
}

/// What a value holds, for whoever asked it for a key in vain.
fn holds(value: &Value, key: &Key) -> String {
    const SHOWN: usize = 8;
    let data = Data::of(value.clone());
    if let Some(count) = data.len() {
        return format!("is a list of {count}");
    }
    if !data.is_object() {
        return format!("is {}", data.kind());
    }
    let keys = data.keys();
    if let Key::Name(name) = key
        && let Some(near) = super::super::near(name, keys.iter().map(String::as_str))
    {
        return format!("has `{near}`, did you mean that?");
    }
    match keys.len() {
        0 => "is empty".into(),
        count if count > SHOWN => format!("has {} and {} more", keys[..SHOWN].join(", "), count - SHOWN),
        _ => format!("has {}", keys.join(", ")),
    }
}

fn refuse(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn there(value: Value, path: String) -> Result<Value, Error> {
    if value.is_undefined() { Err(Error::new(ErrorKind::UndefinedError, path)) } else { Ok(value) }
}

/// Every item of `list` has a member at `path` (names with dots between them); `text`: the list as it is written. Lists that
/// are none, or are not there, are left to the filter.
fn each(list: Value, path: String, text: String) -> Result<Value, Error> {
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
                let holds = holds(&at, &Key::Name(name.to_owned()));
                return Err(refuse(format!("`{path}` is not there in item {index} of `{text}`: it {holds}")));
            };
            at = next;
        }
    }
    Ok(list)
}

fn find(root: Value, keys: minijinja::value::Rest<Value>) -> Result<Value, Error> {
    let mut at = root;
    for key in keys.iter() {
        // What has no members has none of that name either.
        at = if at.is_undefined() { at } else { at.get_item(key).unwrap_or(Value::UNDEFINED) };
    }
    Ok(at)
}

fn json(value: &Value) -> Result<String, Error> {
    Data::of(value.clone()).whole().map(|data| data.json()).map_err(refuse)
}

fn json_or_text(value: &Value) -> Result<String, Error> {
    value.as_str().map_or_else(|| json(value), |text| Ok(text.to_owned()))
}

fn b64decode(text: String) -> Result<String, Error> {
    let bytes = STANDARD.decode(text.trim()).map_err(|error| refuse(format!("b64decode: {error}")))?;
    String::from_utf8(bytes).map_err(|_| refuse("b64decode: what it holds is no text"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 3986: everything but unreserved characters.
fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Milliseconds since the Unix epoch: a number as it is, text as RFC 3339.
fn moment(value: &Value) -> Result<i64, Error> {
    match value.as_str() {
        Some(text) => date::parse(text).ok_or_else(|| refuse(format!("{text:?} is no date like 2026-11-23T09:05:00Z"))),
        None => value.as_i64().ok_or_else(|| refuse("a date is text (RFC 3339) or milliseconds since 1970")),
    }
}

fn pairs(value: &Value) -> Result<Vec<(Value, Value)>, Error> {
    if value.kind() != ValueKind::Map {
        return Err(refuse(format!("needs an object, not {}", Data::of(value.clone()).kind())));
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
