//! Every valid instance can be entered by hand, none that is invalid passes.
//!
//! A generator makes valid instances from the schemas of the corpus; a pair of hands enters each
//! through the form's own methods, as keys do; what is sent must be the instance.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{
    tests::{any_json, corpus},
    *,
};
use crate::domain::schema::Checker;

/// What chance decides, one number after the other.
struct Dice<'a>(&'a [u32], usize);

impl Dice<'_> {
    fn roll(&mut self, sides: usize) -> usize {
        let face = self.0.get(self.1).copied().unwrap_or(0);
        self.1 += 1;
        face as usize % sides.max(1)
    }
}

/// An instance of a schema; `None` where the generator knows none.
fn make(schema: &Value, root: &Value, dice: &mut Dice, depth: usize) -> Option<Value> {
    if depth > 8 {
        return None;
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return make(root.pointer(reference.strip_prefix('#')?)?, root, dice, depth + 1);
    }
    if let Some(value) = schema.get("const") {
        return Some(value.clone());
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return Some(values[dice.roll(values.len())].clone());
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(list) = schema.get(key).and_then(Value::as_array) {
            let made = make(&list[dice.roll(list.len())], root, dice, depth + 1)?;
            return merged(schema, root, made, dice, depth);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[dice.roll(kinds.len())].as_str()?.to_owned(),
        Value::String(kind) => kind.clone(),
        _ if schema.get("properties").is_some() => "object".into(),
        _ => return None,
    };
    let bound = |key: &str| schema.get(key).and_then(Value::as_u64).map(|n| n as usize);
    Some(match kind.as_str() {
        "null" => Value::Null,
        "boolean" => (dice.roll(2) == 1).into(),
        "integer" | "number" => {
            let low = schema.get("minimum").and_then(Value::as_f64).unwrap_or(0.0).ceil() as i64;
            let high = schema.get("maximum").and_then(Value::as_f64).map_or(low + 50, |m| m as i64);
            (low + dice.roll((high - low + 1).clamp(1, 1000) as usize) as i64).into()
        }
        "string" if schema.get("pattern").is_some() => return None,
        "string" => {
            let least = bound("minLength").unwrap_or(0);
            let most = bound("maxLength").unwrap_or(least + 12).max(least);
            let words = ["", "a", "two words", "line\nbreak", "Ünï 日本", "\"quoted\"", "-1.50", "null", "true", "{"];
            let mut text: String = words[dice.roll(words.len())].chars().take(most).collect();
            while text.chars().count() < least {
                text.push('x');
            }
            text.into()
        }
        "array" => {
            let least = bound("minItems").unwrap_or(0);
            let count = (least + dice.roll(3)).min(bound("maxItems").unwrap_or(usize::MAX));
            let items = schema.get("items")?;
            Value::Array((0..count).map(|_| make(items, root, dice, depth + 1)).collect::<Option<_>>()?)
        }
        "object" => merged(schema, root, Value::Object(Map::new()), dice, depth)?,
        _ => return None,
    })
}

/// The declared members of an object schema, on top of what is there.
fn merged(schema: &Value, root: &Value, made: Value, dice: &mut Dice, depth: usize) -> Option<Value> {
    let Value::Object(mut object) = made else { return Some(made) };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if object.contains_key(key) || (!required.contains(&key.as_str()) && dice.roll(2) == 0) {
            continue;
        }
        match make(inner, root, dice, depth + 1) {
            Some(value) => drop(object.insert(key.clone(), value)),
            None if required.contains(&key.as_str()) => return None,
            None => {}
        }
    }
    Some(Value::Object(object))
}

/// Enters a value into the field at `path`, by the methods that keys call. Says why it cannot.
fn enter(form: &mut Form, path: &Path, value: &Value) -> Result<(), String> {
    let here = |form: &Form| form.node(path).map(|node| node.label.clone()).unwrap_or_default();
    let node = form.node(path).ok_or("no such field")?;
    if value.is_null() && !matches!(node.kind, Kind::Raw(_) | Kind::Union { .. } | Kind::Choice { .. } | Kind::Const(_)) {
        return if form.set_null(path) { Ok(()) } else { Err(format!("{}: no null", here(form))) };
    }
    let wanted = Json::parse(&value.to_string()).map_err(|e| e.to_string())?;
    match &node.kind {
        Kind::Text(_) => match value {
            Value::String(text) if text.is_empty() => form.set_empty(path),
            Value::String(text) => form.set_text(path, text),
            _ => return Err(format!("{}: a text field for {value}", here(form))),
        },
        Kind::Number { .. } | Kind::Raw(_) => form.set_text(path, &value.to_string()),
        Kind::Bool(_) | Kind::Const(_) | Kind::Choice { .. } => {
            let most = if let Kind::Choice { options, .. } = &node.kind { options.len() + 2 } else { 4 };
            for _ in 0..most {
                if form.node(path).and_then(Node::value).is_some_and(|v| v.same(&wanted))
                    && form.node(path).is_some_and(|n| n.state != State::Default)
                {
                    return Ok(());
                }
                form.cycle(path, 1);
            }
            let picked = form.node(path).and_then(Node::value).is_some_and(|v| v.same(&wanted));
            if !(picked || value.is_null() && form.set_null(path)) {
                return Err(format!("{}: {value} cannot be picked", here(form)));
            }
        }
        Kind::Union { variants, .. } => {
            let count = variants.len();
            let inner = [path.as_slice(), &[0]].concat();
            let before = form.root.clone();
            for index in 0..count {
                form.root = before.clone();
                form.pick(path, index);
                let fits = enter(form, &inner, value).is_ok();
                if fits
                    && form.node(path).and_then(Node::value).is_some_and(|v| v.same(&wanted))
                    && form.node(&inner).is_some_and(Node::sound)
                {
                    return Ok(());
                }
            }
            // `null` may be what the whole may be rather than an alternative.
            form.root = before;
            return if value.is_null() && form.set_null(path) {
                Ok(())
            } else {
                Err(format!("{}: no alternative for {value}", here(form)))
            };
        }
        Kind::Array { .. } => {
            let Value::Array(items) = value else { return Err(format!("{}: an array for {value}", here(form))) };
            while form.node(path).is_some_and(|n| !n.children().is_empty()) {
                if !form.remove(&[path.as_slice(), &[0]].concat()) {
                    return Err(format!("{}: an item stays", here(form)));
                }
            }
            for item in items {
                let added = form.add_item(path).ok_or_else(|| format!("{}: no more items", here(form)))?;
                enter(form, &added, item)?;
            }
            if items.is_empty() {
                form.set_empty(path);
            }
        }
        Kind::Object { .. } => {
            let Value::Object(members) = value else { return Err(format!("{}: an object for {value}", here(form))) };
            form.fold(path, false);
            if members.is_empty() {
                form.set_empty(path);
            }
            let fields: Vec<(usize, String)> =
                form.node(path).into_iter().flat_map(Node::children).enumerate().map(|(i, n)| (i, n.key.clone())).collect();
            for (index, key) in &fields {
                let field = [path.as_slice(), &[*index]].concat();
                match members.get(key) {
                    Some(inner) => enter(form, &field, inner)?,
                    // A default that is not wanted is cleared.
                    None => form.clear(&field),
                }
            }
            for (key, inner) in members.iter().filter(|(key, _)| !fields.iter().any(|(_, k)| k == *key)) {
                let added = form.add_member(path, key).ok_or_else(|| format!("{key} cannot be added"))?;
                enter(form, &added, inner)?;
            }
        }
    }
    Ok(())
}

fn tried(name: &str, schema: &str, rolls: &[u32]) -> Result<bool, String> {
    let root: Value = serde_json::from_str(schema).map_err(|e| e.to_string())?;
    let checker = Checker::new(&Body::from(schema));
    let Some(value) = make(&root, &root, &mut Dice(rolls, 0), 0) else { return Ok(false) };
    if !checker.check(&value).is_empty() {
        return Ok(false);
    }
    let mut form = Form::new(&Body::from(schema));
    enter(&mut form, &vec![], &value).map_err(|why| format!("{name}: {value} cannot be entered: {why}"))?;
    let sent: Value = serde_json::from_str(&form.json()).map_err(|e| e.to_string())?;
    if sent != value {
        return Err(format!("{name}: {value} was entered, {sent} would be sent"));
    }
    if !form.valid() {
        return Err(format!("{name}: {value} is valid, but refused: {:?}", form.problems));
    }
    form.set_json(&sent.to_string()).map_err(|e| e.to_string())?;
    let again: Value = serde_json::from_str(&form.json()).map_err(|e| e.to_string())?;
    if again == sent { Ok(true) } else { Err(format!("{name}: {sent} became {again}")) }
}

#[test]
fn the_corpus_is_large_and_nearly_all_of_it_is_entered() {
    let corpus = corpus();
    assert!(corpus.len() >= 100, "{}", corpus.len());
    let mut never = vec![];
    for (name, schema) in &corpus {
        let mut entered = false;
        for seed in 0..12u32 {
            let rolls: Vec<u32> =
                (1..80u32).map(|n| n.wrapping_mul(2_654_435_761u32.wrapping_add(seed * 40_503)).rotate_left(seed) >> 7).collect();
            entered |= tried(name, schema, &rolls).unwrap_or_else(|why| panic!("{why}"));
        }
        if !entered {
            never.push(name.as_str());
        }
    }
    // Patterns, tuples and conditions are beyond the generator; other tests have them.
    assert!(never.len() <= 10, "{never:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_valid_instance_can_be_entered(pick in any::<prop::sample::Index>(), rolls in prop::collection::vec(any::<u32>(), 60)) {
        let corpus = corpus();
        let (name, schema) = &corpus[pick.index(corpus.len())];
        if let Err(why) = tried(name, schema, &rolls) {
            prop_assert!(false, "{}", why);
        }
    }

    #[test]
    fn nothing_invalid_passes_silently(value in any_json(), pick in any::<prop::sample::Index>()) {
        let corpus = corpus();
        let (name, schema) = &corpus[pick.index(corpus.len())];
        let Ok(plain) = serde_json::from_str::<Value>(&value.text()) else { return Ok(()) };
        let mut form = Form::new(&Body::from(schema.as_str()));
        form.set_json(&value.text()).unwrap();
        let wrong = !Checker::new(&Body::from(schema.as_str())).check(&plain).is_empty();
        prop_assert!(!(wrong && form.valid()), "{}: {} passes", name, plain);
    }
}
