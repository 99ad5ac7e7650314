//! Keywords whose values are not schemas: types, lists, numbers, patterns and names.

use serde_json::{Number, Value};

use super::{Place, Walk, short};
use crate::domain::schema::{defect::Cause, pattern, shorten, type_names};

impl Walk<'_> {
    pub(super) fn types(&mut self, value: Value, place: &Place) -> Option<Value> {
        let names: Vec<&Value> = match &value {
            Value::Array(names) => names.iter().collect(),
            one => vec![one],
        };
        let mut types: Vec<&'static str> = vec![];
        let (mut any, mut foreign) = (names.is_empty(), false);
        for name in names {
            let meant = match name {
                Value::Null => Some(vec!["null"]),
                Value::String(name) => type_names::meaning(name),
                _ => None,
            };
            let Some(meant) = meant else {
                let cause = if name.is_string() { Cause::Type(short(name)) } else { Cause::NotA(short(name), "a type") };
                self.ignored(place, cause);
                return None;
            };
            foreign |= !name.as_str().is_some_and(|name| type_names::JSON_TYPES.contains(&name));
            any |= meant.is_empty();
            types.extend(meant.into_iter().filter(|one| !types.contains(one)).collect::<Vec<_>>());
        }
        if any {
            types.clear();
        }
        if foreign {
            self.read_as(place, &value, type_words(&types));
        }
        type_value(&types)
    }

    /// Returns the values of `enum`. An empty one would refuse every value.
    pub(super) fn list(&mut self, value: Value, place: &Place) -> Option<Value> {
        match &value {
            Value::Array(values) if !values.is_empty() => Some(value),
            other => {
                self.not_a(place, other, "a list of values");
                None
            }
        }
    }

    pub(super) fn number(&mut self, value: Value, place: &Place) -> Option<Value> {
        match &value {
            Value::Number(_) => Some(value),
            Value::String(text) if text.trim().parse::<Number>().is_ok() => {
                self.read_as(place, &value, "a number");
                text.trim().parse().ok().map(Value::Number)
            }
            other => {
                self.not_a(place, other, "a number");
                None
            }
        }
    }

    pub(super) fn count(&mut self, value: Value, place: &Place) -> Option<Value> {
        let number = match self.number(value, place)? {
            Value::Number(number) => number,
            _ => return None,
        };
        let whole = number.as_u64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n as u64));
        if whole.is_none() {
            self.not_a(place, &Value::Number(number), "a count");
        }
        whole.map(Value::from)
    }

    pub(super) fn boolean_text(&mut self, value: Value, place: &Place) -> Value {
        let meant = match value.as_str() {
            Some("true" | "True") => true,
            Some("false" | "False") => false,
            _ => return value,
        };
        self.read_as(place, &value, meant.to_string());
        Value::Bool(meant)
    }

    pub(super) fn boolean(&mut self, value: Value, place: &Place) -> Option<Value> {
        match self.boolean_text(value, place) {
            Value::Bool(value) => Some(value.into()),
            other => {
                self.not_a(place, &other, "true or false");
                None
            }
        }
    }

    /// Translates a regular expression; `None` if it cannot be used.
    pub(super) fn pattern(&mut self, written: &str, place: &Place) -> Option<String> {
        let own = pattern::translated(written);
        // These compile as written, with another meaning.
        let slashes = written.starts_with('/') && !own.starts_with('/');
        let foreign = own != written && (slashes || ["\\A", "\\Z", "\\z", "[:", "(?P="].iter().any(|part| written.contains(part)));
        if !foreign && (self.compiles)(written) {
            return Some(written.to_owned());
        }
        if own != written && (self.compiles)(&own) {
            self.patterns.insert(own.clone(), written.to_owned());
            return Some(own);
        }
        self.ignored(place, Cause::Pattern(shorten(&Value::from(written).to_string())));
        None
    }

    pub(super) fn names(&mut self, value: Value, place: &Place) -> Option<Value> {
        let mut names: Vec<Value> = match value {
            Value::Array(names) => names,
            Value::String(_) => {
                self.read_as(place, &value, "a list of one name");
                vec![value]
            }
            other => {
                self.not_a(place, &other, "a list of names");
                return None;
            }
        };
        if let Some(other) = names.iter().find(|name| !name.is_string()) {
            self.not_a(place, other, "a name");
        }
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| name.as_str().is_some_and(|name| seen.insert(name.to_owned())));
        Some(Value::Array(names))
    }
}

pub(super) fn type_value(types: &[&'static str]) -> Option<Value> {
    match types {
        [] => None,
        [one] => Some((*one).into()),
        several => Some(several.iter().map(|one| Value::from(*one)).collect()),
    }
}

pub(super) fn type_words(types: &[&'static str]) -> String {
    if types.is_empty() { "any type".into() } else { types.join(" or ") }
}
