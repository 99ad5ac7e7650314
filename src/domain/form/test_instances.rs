//! Generates instances of a schema, from every keyword of JSON Schema 2020-12 and the older ones of draft-07.
//!
//! The constraints at one position are a list of schemas that all apply: references, `allOf`, a chosen alternative
//! and a branch of a condition add to it. Constraints that cannot be targeted (`not`, the exclusivity of `oneOf`) are
//! left to the checker, which discards invalid instances.

use proptest::{strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Map, Number, Value, json};

/// Depth from which only required members are generated.
const DEEP: usize = 5;

/// A reproducible random source.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        (self.next() % sides.max(1) as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.roll(from.len()))
    }
}

/// Generates instances of one document.
pub struct Instances<'a> {
    root: &'a Value,
}

impl<'a> Instances<'a> {
    pub fn of(root: &'a Value) -> Instances<'a> {
        Instances { root }
    }

    /// Returns an instance that is probably valid; `None` if the random choices led nowhere.
    pub fn make(&self, dice: &mut Dice) -> Option<Value> {
        self.value(&[self.root], dice, 0)
    }

    /// Returns a value for which all `schemas` are likely valid.
    fn value(&self, schemas: &[&'a Value], dice: &mut Dice, depth: usize) -> Option<Value> {
        if depth > 24 {
            return None;
        }
        let mut all = vec![];
        for schema in schemas {
            self.collect(schema, dice, &mut all, 0)?;
        }
        if let Some(only) = all.iter().find_map(|s| s.get("const")) {
            return Some(only.clone());
        }
        if let Some(values) = all.iter().find_map(|s| s.get("enum")?.as_array()) {
            let fits = |value: &&Value| all.iter().filter_map(|s| s.get("enum")?.as_array()).all(|other| other.contains(value));
            return dice.pick(&values.iter().filter(fits).collect::<Vec<_>>()).map(|value| (*value).clone());
        }
        let kind = kind(&all, dice)?;
        match kind {
            "null" => Some(Value::Null),
            "boolean" => Some((dice.roll(2) == 1).into()),
            "integer" | "number" => number(&all, kind == "integer", dice),
            "string" => text(&all, dice),
            "array" => self.array(&all, dice, depth),
            _ => self.object(&all, dice, depth),
        }
    }

    /// Collects the schemas that apply to the same value. Returns `None` if no value fits.
    fn collect(&self, schema: &'a Value, dice: &mut Dice, all: &mut Vec<&'a Value>, hops: usize) -> Option<()> {
        if hops > 30 || *schema == Value::Bool(false) {
            return None;
        }
        all.push(schema);
        for key in ["$ref", "$dynamicRef"] {
            if let Some(reference) = schema.get(key).and_then(Value::as_str) {
                self.collect(self.target(reference)?, dice, all, hops + 1)?;
            }
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.collect(part, dice, all, hops + 1)?;
        }
        for key in ["anyOf", "oneOf"] {
            let Some(list) = schema.get(key).and_then(Value::as_array) else { continue };
            self.collect(dice.pick(list)?, dice, all, hops + 1)?;
        }
        if let Some(condition) = schema.get("if") {
            let branch = if dice.roll(2) == 0 {
                self.collect(condition, dice, all, hops + 1)?;
                schema.get("then")
            } else {
                schema.get("else")
            };
            if let Some(branch) = branch {
                self.collect(branch, dice, all, hops + 1)?;
            }
        }
        Some(())
    }

    /// Returns the target of a reference: a document by the end of its `$id`, then a pointer or an anchor in it.
    fn target(&self, reference: &str) -> Option<&'a Value> {
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let ends = |at: &Value| at.get("$id").and_then(Value::as_str).is_some_and(|id| id.ends_with(document));
        let base = if document.is_empty() || ends(self.root) { self.root } else { find(self.root, &ends)? };
        if fragment.is_empty() || fragment.starts_with('/') {
            return base.pointer(fragment);
        }
        find(base, &|at| ["$anchor", "$dynamicAnchor"].iter().any(|key| at.get(key).and_then(Value::as_str) == Some(fragment)))
    }

    fn array(&self, all: &[&'a Value], dice: &mut Dice, depth: usize) -> Option<Value> {
        let unique = all.iter().any(|s| s.get("uniqueItems") == Some(&Value::Bool(true)));
        let wanted: Vec<&Value> = all.iter().filter_map(|s| s.get("contains")).collect();
        let contained = most(all, "minContains").unwrap_or(usize::from(!wanted.is_empty()));
        let low = most(all, "minItems").unwrap_or(0).max(contained);
        let high = least(all, "maxItems").unwrap_or(usize::MAX).max(low);
        let count = (low + if depth > DEEP { 0 } else { dice.roll(4) }).min(high);
        let mut items: Vec<Value> = vec![];
        for index in 0..count {
            let mut schemas = vec![];
            for schema in all {
                schemas.extend(item_schema(schema, index));
            }
            if index >= count - contained.min(count) {
                schemas.extend(&wanted);
            }
            if schemas.contains(&&Value::Bool(false)) {
                break;
            }
            // The items of a tuple come from it; unevaluated items must be allowed.
            if schemas.is_empty() {
                match all.iter().find_map(|s| s.get("unevaluatedItems")) {
                    Some(Value::Bool(false)) => break,
                    other => schemas.extend(other),
                }
            }
            let item = (0..8).find_map(|_| self.value(&schemas, dice, depth + 1).filter(|item| !unique || !items.contains(item)));
            match item {
                Some(item) => items.push(item),
                None if items.len() >= low => break,
                None => return None,
            }
        }
        Some(Value::Array(items))
    }

    fn object(&self, all: &[&'a Value], dice: &mut Dice, depth: usize) -> Option<Value> {
        let mut all = all.to_vec();
        let mut object = Map::new();
        let eager = dice.roll(4);
        loop {
            let required = required(&all, &object);
            let mut names: Vec<&str> = vec![];
            for schema in &all {
                let declared = schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
                names.extend(declared.map(String::as_str));
            }
            names.extend(&required);
            for name in names {
                let wanted = required.contains(&name) || depth <= DEEP && dice.roll(3) < eager;
                if object.contains_key(name) || !wanted {
                    continue;
                }
                match self.value(&member_schemas(&all, name), dice, depth + 1) {
                    Some(value) => drop(object.insert(name.to_owned(), value)),
                    None if required.contains(&name) => return None,
                    None => {}
                }
            }
            // Members may add schemas for the whole object.
            let before = all.len();
            for schema in all.clone() {
                for (name, dependent) in ["dependentSchemas", "dependencies"].iter().filter_map(|k| schema.get(k)?.as_object()).flatten() {
                    if object.contains_key(name) && dependent.is_object() && !all.iter().any(|known| std::ptr::eq(*known, dependent)) {
                        self.collect(dependent, dice, &mut all, 0)?;
                    }
                }
            }
            if all.len() == before && required.iter().all(|name| object.contains_key(*name)) {
                break;
            }
        }
        let low = most(&all, "minProperties").unwrap_or(0);
        let more = if depth > DEEP { 0 } else { [0, 0, 1, 2][dice.roll(4)] };
        for _ in 0..more.max(low.saturating_sub(object.len())) * 4 {
            if object.len() >= low.max(more) || least(&all, "maxProperties").is_some_and(|high| object.len() >= high) {
                break;
            }
            let name = self.other_name(&all, dice)?;
            if object.contains_key(&name) {
                continue;
            }
            if let Some(value) = self.value(&member_schemas(&all, &name), dice, depth + 1) {
                object.insert(name, value);
            }
        }
        Some(Value::Object(object))
    }

    /// Returns a name for an undeclared member.
    fn other_name(&self, all: &[&'a Value], dice: &mut Dice) -> Option<String> {
        let names: Vec<&Value> = all.iter().filter_map(|s| s.get("propertyNames")).collect();
        if !names.is_empty() {
            let mut schemas = vec![string_schema()];
            schemas.extend(names);
            return self.value(&schemas, dice, 0)?.as_str().map(str::to_owned);
        }
        let patterns: Vec<&String> = all.iter().filter_map(|s| s.get("patternProperties")?.as_object()).flat_map(Map::keys).collect();
        match dice.pick(&patterns) {
            Some(pattern) if dice.roll(3) > 0 => fitting(pattern, dice),
            _ => dice.pick(&["other", "two words", "x-é", "", "a/b"]).map(|name| (*name).to_owned()),
        }
    }
}

fn string_schema() -> &'static Value {
    static STRING: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!({"type": "string"}));
    &STRING
}

fn find<'a>(at: &'a Value, wanted: &dyn Fn(&Value) -> bool) -> Option<&'a Value> {
    if wanted(at) {
        return Some(at);
    }
    match at {
        Value::Array(items) => items.iter().find_map(|inner| find(inner, wanted)),
        Value::Object(fields) => fields.values().find_map(|inner| find(inner, wanted)),
        _ => None,
    }
}

/// Returns the largest of the lower bounds.
fn most(all: &[&Value], key: &str) -> Option<usize> {
    all.iter().filter_map(|s| s.get(key)?.as_u64()).max().map(|n| n as usize)
}

/// Returns the smallest of the upper bounds.
fn least(all: &[&Value], key: &str) -> Option<usize> {
    all.iter().filter_map(|s| s.get(key)?.as_u64()).min().map(|n| n as usize)
}

/// Returns a type that all schemas allow.
fn kind(all: &[&Value], dice: &mut Dice) -> Option<&'static str> {
    let kinds = ["string", "integer", "number", "boolean", "array", "object", "null"];
    let takes = |schema: &Value, kind: &str| {
        let one = |name: &Value| name == kind || kind == "integer" && name == "number";
        match schema.get("type") {
            None => true,
            Some(Value::Array(names)) => names.iter().any(one),
            Some(name) => one(name),
        }
    };
    let fit: Vec<&'static str> = kinds.into_iter().filter(|kind| all.iter().all(|schema| takes(schema, kind))).collect();
    // Without a type, usually returns the type that the keywords apply to.
    let about = [
        ("object", &["properties", "required", "additionalProperties", "patternProperties", "minProperties"][..]),
        ("array", &["items", "prefixItems", "contains", "minItems", "uniqueItems"]),
        ("string", &["pattern", "minLength", "maxLength", "format"]),
        ("number", &["minimum", "maximum", "multipleOf", "exclusiveMinimum"]),
    ];
    let likely = about.into_iter().find(|(kind, keys)| fit.contains(kind) && all.iter().any(|s| keys.iter().any(|k| s.get(k).is_some())));
    match likely {
        Some((kind, _)) if dice.roll(4) > 0 => Some(kind),
        _ => dice.pick(&fit).copied(),
    }
}

fn item_schema(schema: &Value, index: usize) -> Option<&Value> {
    let old = schema.get("items").and_then(Value::as_array);
    let prefix = schema.get("prefixItems").and_then(Value::as_array).or(old);
    if let Some(own) = prefix.and_then(|prefix| prefix.get(index)) {
        return Some(own);
    }
    if old.is_some() { schema.get("additionalItems") } else { schema.get("items") }
}

fn required<'a>(all: &[&'a Value], object: &Map<String, Value>) -> Vec<&'a str> {
    let mut names: Vec<&str> = all.iter().filter_map(|s| s.get("required")?.as_array()).flatten().filter_map(Value::as_str).collect();
    for key in ["dependentRequired", "dependencies"] {
        for (name, needed) in all.iter().filter_map(|s| s.get(key)?.as_object()).flatten() {
            if object.contains_key(name) {
                names.extend(needed.as_array().into_iter().flatten().filter_map(Value::as_str));
            }
        }
    }
    names
}

/// Returns the schemas of the member `name`.
fn member_schemas<'a>(all: &[&'a Value], name: &str) -> Vec<&'a Value> {
    let mut found = vec![];
    for schema in all {
        let before = found.len();
        found.extend(schema.get("properties").and_then(|p| p.get(name)));
        for (pattern, inner) in schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten() {
            if jsonschema::is_valid(&json!({ "pattern": pattern }), &json!(name)) {
                found.push(inner);
            }
        }
        if found.len() == before {
            found.extend(schema.get("additionalProperties"));
        }
    }
    if found.is_empty() {
        found.extend(all.iter().find_map(|s| s.get("unevaluatedProperties")));
    }
    found
}

fn number(all: &[&Value], whole: bool, dice: &mut Dice) -> Option<Value> {
    let bound = |key: &str| all.iter().filter_map(|s| s.get(key)?.as_f64()).collect::<Vec<_>>();
    let lowest = bound("minimum").into_iter().chain(bound("exclusiveMinimum")).fold(f64::NEG_INFINITY, f64::max);
    let highest = bound("maximum").into_iter().chain(bound("exclusiveMaximum")).fold(f64::INFINITY, f64::min);
    let step = bound("multipleOf").first().copied();
    let unit = step.unwrap_or(if whole || dice.roll(2) == 0 { 1.0 } else { 0.25 });
    let from = if lowest.is_finite() && lowest > -1e15 { lowest } else { highest.clamp(-1e15, 0.0) };
    let first = (from / unit).ceil();
    let room = if highest.is_finite() { ((highest - first * unit) / unit).floor().clamp(0.0, 1e6) } else { 1000.0 };
    let made = match dice.roll(4) {
        0 => first * unit,
        1 => (first + room) * unit,
        _ => (first + dice.roll(room as usize + 1) as f64) * unit,
    };
    if made.fract() == 0.0 && made.abs() < 1e15 { Some((made as i64).into()) } else { Number::from_f64(made).map(Value::Number) }
}

fn text(all: &[&Value], dice: &mut Dice) -> Option<Value> {
    let low = most(all, "minLength").unwrap_or(0);
    let high = least(all, "maxLength").unwrap_or(usize::MAX);
    let fits = |text: &String| (low..=high).contains(&text.chars().count());
    if let Some(pattern) = all.iter().find_map(|s| s.get("pattern")?.as_str()) {
        return (0..20).find_map(|_| fitting(pattern, dice).filter(fits)).map(Value::String);
    }
    if let Some(example) = all.iter().find_map(|s| example(s.get("format")?.as_str()?, dice)).filter(fits) {
        return Some(example.into());
    }
    let words =
        ["", "a", "two words", "line\nbreak", "Ünï 日本 👩‍👩‍👧", "\"quoted\" \\ \u{1}", "-1.50", "null", "true", "{", "  ", "\u{202e}x"];
    let mut text: String = dice.pick(&words)?.chars().take(high).collect();
    while text.chars().count() < low {
        text.push('x');
    }
    Some(text.into())
}

/// Returns valid text of a format.
fn example(format: &str, dice: &mut Dice) -> Option<String> {
    let known: &[&str] = match format {
        "date-time" => &["2024-02-29T23:59:60Z", "2024-01-15T10:20:30.5+01:00"],
        "date" => &["2024-02-29", "1999-12-31"],
        "time" => &["10:20:30Z", "23:59:59.123-05:00"],
        "duration" => &["P1DT2H", "PT0S"],
        "email" | "idn-email" => &["ada@example.com", "a.b+c@example.org"],
        "hostname" | "idn-hostname" => &["example.com", "a-1.example"],
        "ipv4" => &["127.0.0.1", "203.0.113.9"],
        "ipv6" => &["::1", "2001:db8::a"],
        "uri" | "iri" => &["https://example.com/a?b=c#d", "urn:x:y"],
        "uri-reference" | "iri-reference" => &["/a/b", "https://example.com"],
        "uri-template" => &["https://example.com/{id}"],
        "uuid" => &["123e4567-e89b-12d3-a456-426614174000"],
        "json-pointer" => &["", "/a/0"],
        "relative-json-pointer" => &["0", "1/a"],
        "regex" => &["^a+$", "[0-9]"],
        _ => return None,
    };
    dice.pick(known).map(|text| (*text).to_owned())
}

/// Returns text that matches an ECMA-262 regular expression as far as it is regular: look-around is dropped, and the
/// checker decides.
fn fitting(pattern: &str, dice: &mut Dice) -> Option<String> {
    let mut plain = pattern.replace(r"\d", "[0-9]").replace(r"\w", "[A-Za-z0-9_]").replace(r"\s", "[ ]").replace(r"\/", "/");
    for look in ["(?=", "(?!", "(?<=", "(?<!"] {
        while let Some(start) = plain.find(look) {
            let mut level = 0;
            let end = plain[start..].char_indices().find(|(_, c)| {
                level += i32::from(*c == '(') - i32::from(*c == ')');
                level == 0
            })?;
            plain.replace_range(start..=start + end.0, "");
        }
    }
    // The generator does not support anchors; its text matches as a whole anyway.
    let mut bare = String::new();
    let (mut class, mut escaped) = (false, false);
    for c in plain.chars() {
        match c {
            '^' | '$' if !class && !escaped => {}
            _ => bare.push(c),
        }
        class = (class || c == '[' && !escaped) && (c != ']' || escaped);
        escaped = c == '\\' && !escaped;
    }
    let strategy = proptest::string::string_regex(&bare).ok()?;
    let seed: Vec<u8> = (0..4).flat_map(|_| dice.next().to_le_bytes()).collect();
    let rng = proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(proptest::test_runner::Config::default(), rng);
    proptest::strategy::Strategy::new_tree(&strategy, &mut runner).ok().map(|tree| tree.current())
}

/// Returns the value with one random change.
pub fn mutated(value: &Value, dice: &mut Dice) -> Value {
    let mut value = value.clone();
    let mut at = &mut value;
    // Descends to a random position and changes the value there.
    loop {
        let count = match &*at {
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            _ => 0,
        };
        if count == 0 || dice.roll(4) == 0 {
            break;
        }
        let index = dice.roll(count);
        at = match at {
            Value::Array(items) => &mut items[index],
            Value::Object(fields) => fields.values_mut().nth(index).unwrap(),
            _ => unreachable!("has parts"),
        };
    }
    let other =
        [json!(null), json!(true), json!(-1), json!(1.5), json!(1e300), json!(""), json!("other"), json!([]), json!({}), json!([1])];
    match (at, dice.roll(4)) {
        (Value::Object(fields), 0 | 1) if !fields.is_empty() => {
            let key = fields.keys().nth(dice.roll(fields.len())).unwrap().clone();
            fields.remove(&key);
        }
        (Value::Object(fields), 2) => drop(fields.insert("undeclared".into(), other[dice.roll(other.len())].clone())),
        (Value::Array(items), 0) if !items.is_empty() => drop(items.remove(dice.roll(items.len()))),
        (Value::Array(items), 1 | 2) if !items.is_empty() => items.push(items[dice.roll(items.len())].clone()),
        (Value::String(text), 0) => text.push_str("!?"),
        (Value::String(text), 1) => text.truncate(text.char_indices().nth(1).map_or(0, |(at, _)| at)),
        (slot @ Value::Number(_), 0) => *slot = json!(slot.as_f64().unwrap() + 0.5),
        (slot @ Value::Number(_), 1) => *slot = json!(slot.as_f64().unwrap() * -1e9 - 1.0),
        (slot, _) => *slot = other[dice.roll(other.len())].clone(),
    }
    value
}
