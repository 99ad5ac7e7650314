//! JSON values of expressions. They keep all digits and the order of keys.

use std::{fmt, fmt::Write, sync::Arc};

use minijinja::value::{Object, ObjectRepr, Value, ValueKind};

use super::items::Results;
use crate::domain::{
    body::Body,
    json::{Json, SyntaxError},
};

/// Maximum nesting depth of a value.
const MAX_DEPTH: usize = 120;

/// A JSON value. Cheap to clone.
///
/// Integers keep all digits: up to 128 bits they support arithmetic, larger ones are only passed through. Other
/// numbers keep their text if a double cannot represent it. Objects keep the order of their keys.
#[derive(Clone, Default)]
pub struct Data(pub(super) Value);

/// A number that no numeric type can represent, passed through as text.
#[derive(Debug)]
struct Exact(String);

impl Object for Exact {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of `omit`: a member or item with it is left out.
#[derive(Debug)]
struct Omit;

impl Object for Omit {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("omit")
    }
}

impl Data {
    /// Returns the value of `omit`.
    pub(super) fn omit() -> Data {
        Data(Value::from_object(Omit))
    }

    /// Returns whether the value is that of `omit`.
    pub(super) fn is_omit(&self) -> bool {
        self.0.downcast_object_ref::<Omit>().is_some()
    }

    pub(super) fn of(value: Value) -> Data {
        Data(value)
    }

    /// `null`.
    pub fn null() -> Data {
        Data(Value::from(()))
    }

    /// Parses JSON text.
    pub fn parse(text: &str) -> Result<Data, SyntaxError> {
        Json::parse(text).map(|json| Data::from(&json))
    }

    /// Creates an object with members in the given order.
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Data)>) -> Data {
        Data(Value::from_pairs(members.into_iter().map(|(key, data)| (key.into(), data.0))))
    }

    /// Creates a list.
    pub fn list(items: impl IntoIterator<Item = Data>) -> Data {
        Data(Value::from(items.into_iter().map(|data| data.0).collect::<Vec<_>>()))
    }

    /// Creates the list of item results; each is parsed on access, `null` if missing or not valid JSON.
    pub fn results(items: Arc<Results>) -> Data {
        Data(Value::from_dyn_object(items))
    }

    /// Returns compact JSON text.
    pub fn json(&self) -> String {
        let mut out = String::new();
        write(&self.0, &mut out, 0);
        out
    }

    /// Returns compact JSON text as a body.
    pub fn body(&self) -> Body {
        Body::from(self.json())
    }

    /// Converts to a serde value; numbers beyond its range lose digits.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_str(&self.json()).unwrap_or_default()
    }

    /// Returns the value for use inside text: strings as they are, other values as JSON.
    pub fn display(&self) -> String {
        self.0.as_str().map_or_else(|| self.json(), str::to_owned)
    }

    /// Returns the string.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }

    /// Returns the boolean.
    pub fn as_bool(&self) -> Option<bool> {
        matches!(self.0.kind(), ValueKind::Bool).then(|| self.0.is_true())
    }

    /// Returns whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the number of items of a list; `None` for other kinds.
    pub fn len(&self) -> Option<usize> {
        matches!(self.0.kind(), ValueKind::Seq).then(|| self.0.len().unwrap_or_default())
    }

    /// Returns whether the value is an empty list.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Returns an item of a list.
    pub fn item(&self, index: usize) -> Option<Data> {
        self.len().filter(|len| index < *len)?;
        self.0.get_item_by_index(index).ok().map(Data)
    }

    /// Returns a member of an object.
    pub fn member(&self, key: &str) -> Option<Data> {
        if !self.is_object() {
            return None;
        }
        self.0.get_attr(key).ok().filter(|value| !value.is_undefined()).map(Data)
    }

    /// Returns the keys of an object in order; empty for other kinds.
    pub fn keys(&self) -> Vec<String> {
        if !self.is_object() {
            return vec![];
        }
        self.0.try_iter().map(|keys| keys.map(|key| key.to_string()).collect()).unwrap_or_default()
    }

    /// Returns whether the value is a number.
    pub fn is_number(&self) -> bool {
        self.0.kind() == ValueKind::Number || self.0.downcast_object_ref::<Exact>().is_some()
    }

    /// Returns whether the value is an object.
    pub fn is_object(&self) -> bool {
        matches!(self.0.kind(), ValueKind::Map)
    }

    /// Returns the kind for users: `null`, `true or false`, `a number`, `a string`, `a list`, `an object`.
    pub fn kind(&self) -> &'static str {
        match self.0.kind() {
            _ if self.is_number() => "a number",
            ValueKind::None | ValueKind::Undefined => "null",
            ValueKind::Bool => "true or false",
            ValueKind::String | ValueKind::Bytes => "a string",
            ValueKind::Seq | ValueKind::Iterable => "a list",
            ValueKind::Map => "an object",
            _ => "something else",
        }
    }

    /// Returns the value with lazy lists evaluated. Fails if any part is not JSON: a missing value, a function, or a
    /// number that JSON cannot represent.
    pub(super) fn into_json(self) -> Result<Data, String> {
        if is_json(&self.0, 0)? { Ok(self) } else { evaluate_lazy(&self.0, 0).map(Data) }
    }
}

/// Returns whether a value is JSON as is. The error says why it cannot become JSON.
fn is_json(value: &Value, depth: usize) -> Result<bool, String> {
    if depth > MAX_DEPTH {
        return Err(format!("evaluates to a value nested more than {MAX_DEPTH} deep"));
    }
    let all = |values: &mut dyn Iterator<Item = Value>| {
        let mut into_json = true;
        for inner in values {
            into_json &= is_json(&inner, depth + 1)?;
        }
        Ok(into_json)
    };
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::String => Ok(true),
        ValueKind::Number => match f64::try_from(value.clone()) {
            Ok(number) if !number.is_finite() => Err("evaluates to a number that JSON cannot represent".into()),
            _ => Ok(true),
        },
        ValueKind::Undefined => Err("evaluates to a missing value".into()),
        ValueKind::Seq => all(&mut value.try_iter().map_err(|error| error.to_string())?),
        ValueKind::Map => all(&mut members(value)?.into_iter().map(|(_, inner)| inner)),
        ValueKind::Iterable | ValueKind::Bytes => Ok(false),
        _ if value.downcast_object_ref::<Exact>().is_some() => Ok(true),
        kind => Err(format!("evaluates to a {kind}, which JSON cannot represent")),
    }
}

fn members(value: &Value) -> Result<Vec<(Value, Value)>, String> {
    let keys = value.try_iter().map_err(|error| error.to_string())?;
    keys.map(|key| value.get_item(&key).map(|inner| (key, inner)).map_err(|error| error.to_string())).collect()
}

fn evaluate_lazy(value: &Value, depth: usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("evaluates to a value nested more than {MAX_DEPTH} deep"));
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| error.to_string())?;
            items.map(|item| evaluate_lazy(&item, depth + 1)).collect::<Result<Vec<_>, _>>().map(Value::from)
        }
        ValueKind::Map => {
            let settled = members(value)?.into_iter().map(|(key, inner)| evaluate_lazy(&inner, depth + 1).map(|inner| (key, inner)));
            settled.collect::<Result<Vec<_>, _>>().map(Value::from_pairs)
        }
        ValueKind::Bytes => Ok(Value::from(value.to_string())),
        _ => is_json(value, depth).map(|_| value.clone()),
    }
}

fn write(value: &Value, out: &mut String, depth: usize) {
    if depth > MAX_DEPTH {
        return out.push_str("null");
    }
    match value.kind() {
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => write_number(value, out),
        ValueKind::String => quote(value.as_str().unwrap_or_default(), out),
        ValueKind::Bytes => quote(&value.to_string(), out),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(&item, out, depth + 1);
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (index, (key, inner)) in members(value).unwrap_or_default().iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                quote(&key.to_string(), out);
                out.push(':');
                write(inner, out, depth + 1);
            }
            out.push('}');
        }
        _ => match value.downcast_object_ref::<Exact>() {
            Some(exact) => out.push_str(&exact.0),
            None => out.push_str("null"),
        },
    }
}

fn write_number(value: &Value, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = if value.is_integer() {
        write!(out, "{value}")
    } else {
        match f64::try_from(value.clone()) {
            Ok(number) if number.is_finite() => write!(out, "{number:?}"),
            _ => write!(out, "null"),
        }
    };
}

fn quote(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into()));
}

/// Parses a number without losing precision.
fn number(text: &str) -> Value {
    if let Ok(integer) = text.parse::<i64>() {
        return Value::from(integer);
    }
    if let Ok(integer) = text.parse::<i128>() {
        return Value::from(integer);
    }
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() && decimal(text) == decimal(&format!("{float:e}")) => Value::from(float),
        _ => Value::from_object(Exact(text.to_owned())),
    }
}

/// Returns sign, significant digits and exponent of a number, to compare different notations.
fn decimal(text: &str) -> (bool, String, i64) {
    let negative = text.starts_with('-');
    let (mantissa, exponent) = text.trim_start_matches('-').split_once(['e', 'E']).unwrap_or((text.trim_start_matches('-'), "0"));
    let (into_json, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.parse::<i64>().unwrap_or(i64::MAX).saturating_sub(fraction.len() as i64);
    let digits = format!("{into_json}{fraction}");
    let digits = digits.trim_start_matches('0');
    let short = digits.trim_end_matches('0');
    if short.is_empty() {
        return (negative, String::new(), 0);
    }
    (negative, short.to_owned(), exponent.saturating_add((digits.len() - short.len()) as i64))
}

impl From<&Json> for Data {
    fn from(json: &Json) -> Data {
        Data(match json {
            Json::Null => Value::from(()),
            Json::Bool(value) => Value::from(*value),
            Json::Number(text) => number(text),
            Json::String(text) => Value::from(text.as_str()),
            Json::Array(items) => Value::from(items.iter().map(|item| Data::from(item).0).collect::<Vec<_>>()),
            Json::Object(members) => Value::from_pairs(members.iter().map(|(key, inner)| (key.as_str(), Data::from(inner).0))),
            Json::Raw(text) => Value::from_object(Exact(text.clone())),
        })
    }
}

impl From<&serde_json::Value> for Data {
    fn from(value: &serde_json::Value) -> Data {
        use serde_json::Value as Serde;
        Data(match value {
            Serde::Null => Value::from(()),
            Serde::Bool(value) => Value::from(*value),
            Serde::Number(value) => number(&value.to_string()),
            Serde::String(text) => Value::from(text.as_str()),
            Serde::Array(items) => Value::from(items.iter().map(|item| Data::from(item).0).collect::<Vec<_>>()),
            Serde::Object(members) => Value::from_pairs(members.iter().map(|(key, inner)| (key.as_str(), Data::from(inner).0))),
        })
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Data {
        Data(Value::from(text))
    }
}

impl From<String> for Data {
    fn from(text: String) -> Data {
        Data(Value::from(text))
    }
}

impl From<bool> for Data {
    fn from(value: bool) -> Data {
        Data(Value::from(value))
    }
}

impl From<i64> for Data {
    fn from(value: i64) -> Data {
        Data(Value::from(value))
    }
}

impl From<u64> for Data {
    fn from(value: u64) -> Data {
        Data(Value::from(value))
    }
}

impl From<usize> for Data {
    fn from(value: usize) -> Data {
        Data(Value::from(value))
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Data) -> bool {
        self.json() == other.json()
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json())
    }
}
