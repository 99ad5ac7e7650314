//! Checks that every valid instance can be entered, and that no invalid one passes.
//!
//! Instances come from the schemas of the corpus ([`super::test_instances`]). Each is entered through the form's own
//! methods, as keys do; the form must then send exactly the instance. A part that a field cannot express is entered
//! as JSON, and the form must indicate that at the field.

use proptest::prelude::*;
use serde_json::Value;

use super::{
    test_instances::{Dice, Instances, mutated},
    tests::{any_json, corpus},
    *,
};
use crate::domain::schema::Checker;

/// Number of different instances entered per schema.
const EACH: usize = 5;

/// Our own schemas with fields whose type the form can only guess, because values of any type match. A value of
/// another type is entered as JSON in that field only.
const GUESSED: [&str; 4] = ["untyped_text", "untyped_number", "untyped_object", "untyped_array"];

/// A schema without finite instances: each of its objects requires another one.
const ENDLESS: &str = "recursive_required";

/// Enters values into a form.
struct Typist<'a> {
    form: &'a mut Form,
    /// Pointers to the parts that a field did not accept, with reasons.
    rejected: Vec<(String, String)>,
}

impl Typist<'_> {
    fn node(&self, path: &[usize]) -> Option<&Node> {
        self.form.node(path)
    }

    fn has(&self, path: &[usize], wanted: &Json) -> bool {
        self.node(path).and_then(Node::value).is_some_and(|value| value.same(wanted))
    }

    /// Enters a part, or records that it must be entered as JSON.
    fn enter_part(&mut self, path: &[usize], pointer: &str, value: &Value) {
        if let Err(why) = self.enter(path, pointer, value) {
            self.rejected.push((pointer.to_owned(), why));
        }
    }

    /// Enters a value into the field at `path`, with the methods that keys call. The error says why that is
    /// impossible.
    fn enter(&mut self, path: &[usize], pointer: &str, value: &Value) -> Result<(), String> {
        let kind = self.node(path).ok_or("no such field")?.kind.clone();
        let wanted = Json::parse(&value.to_string()).map_err(|e| e.to_string())?;
        match (kind, value) {
            (Kind::Raw(_), _) | (Kind::Number { .. }, Value::Number(_)) => self.form.set_text(path, &value.to_string()),
            (Kind::Bool(_) | Kind::Const(_) | Kind::Choice { .. }, _) => return self.pick(path, &wanted),
            (Kind::Union { variants, .. }, _) => return self.choose(path, pointer, value, variants.len()),
            (_, Value::Null) => return if self.form.set_null(path) { Ok(()) } else { Err("no null".into()) },
            (Kind::Text(_), Value::String(text)) if text.is_empty() => self.form.set_empty(path),
            (Kind::Text(_), Value::String(text)) => self.form.set_text(path, text),
            (Kind::Array { .. }, Value::Array(items)) => return self.items(path, pointer, items),
            (Kind::CheckList { options, .. }, Value::Array(items)) => return self.check(path, pointer, items, &options),
            (Kind::Object { .. }, Value::Object(members)) => return self.members(path, pointer, members),
            (kind, _) => return Err(format!("{value} for {kind:?}")),
        }
        Ok(())
    }

    /// Steps through the values until the wanted one is selected.
    fn pick(&mut self, path: &[usize], wanted: &Json) -> Result<(), String> {
        let most = if let Some(Kind::Choice { options, .. }) = self.node(path).map(|node| &node.kind) { options.len() + 2 } else { 4 };
        for _ in 0..most {
            if self.has(path, wanted) && self.node(path).is_some_and(|node| node.state != State::Default) {
                return Ok(());
            }
            self.form.cycle(path, 1);
        }
        let picked = self.has(path, wanted) || *wanted == Json::Null && self.form.set_null(path);
        if picked { Ok(()) } else { Err(format!("{} cannot be picked", wanted.text())) }
    }

    /// Tries the alternatives: uses the first that accepts the value, else the one that accepts most of it.
    fn choose(&mut self, path: &[usize], pointer: &str, value: &Value, count: usize) -> Result<(), String> {
        let wanted = Json::parse(&value.to_string()).map_err(|e| e.to_string())?;
        let inner = [path, &[0]].concat();
        let (root, told) = (self.form.root.clone(), self.rejected.clone());
        let mut best: Option<(Node, Vec<(String, String)>)> = None;
        for index in 0..count {
            (self.form.root, self.rejected) = (root.clone(), told.clone());
            self.form.pick(path, index);
            if self.enter(&inner, pointer, value).is_err() {
                continue;
            }
            if self.rejected.len() == told.len() {
                if self.has(path, &wanted) && self.node(&inner).is_some_and(Node::is_valid) {
                    return Ok(());
                }
            } else if best.as_ref().is_none_or(|(_, rejected)| self.rejected.len() < rejected.len()) {
                best = Some((self.form.root.clone(), self.rejected.clone()));
            }
        }
        (self.form.root, self.rejected) = (root, told);
        // `null` may belong to the field itself rather than to an alternative.
        if value.is_null() && self.form.set_null(path) {
            return Ok(());
        }
        (self.form.root, self.rejected) = best.ok_or_else(|| format!("no alternative for {value}"))?;
        Ok(())
    }

    /// Checks the options of a check list. Items that are not a set in its order are added one by one.
    fn check(&mut self, path: &[usize], pointer: &str, items: &[Value], options: &[Node]) -> Result<(), String> {
        let value = |option: &Node| match &option.kind {
            Kind::Const(value) => serde_json::from_str::<Value>(&value.text()).unwrap(),
            other => panic!("{other:?}"),
        };
        let wanted: Vec<bool> = options.iter().map(|option| items.contains(&value(option))).collect();
        let set: Vec<Value> = options.iter().zip(&wanted).filter(|(_, wanted)| **wanted).map(|(option, _)| value(option)).collect();
        if set != items || items.is_empty() {
            self.form.add_item(path).ok_or("no more items")?;
            return self.items(path, pointer, items);
        }
        for (index, (option, wanted)) in options.iter().zip(wanted).enumerate() {
            if (option.state != State::Unset) != wanted {
                self.form.cycle(&[path, &[index]].concat(), 1);
            }
        }
        Ok(())
    }

    fn items(&mut self, path: &[usize], pointer: &str, items: &[Value]) -> Result<(), String> {
        while self.node(path).is_some_and(|node| !node.children().is_empty()) {
            if !self.form.remove(&[path, &[0]].concat()) {
                return Err("an item stays".into());
            }
        }
        for (index, item) in items.iter().enumerate() {
            let added = self.form.add_item(path).ok_or("no more items")?;
            self.enter_part(&added, &format!("{pointer}/{index}"), item);
        }
        if items.is_empty() {
            self.form.set_empty(path);
        }
        Ok(())
    }

    fn members(&mut self, path: &[usize], pointer: &str, members: &serde_json::Map<String, Value>) -> Result<(), String> {
        self.form.fold(path, false);
        if members.is_empty() {
            self.form.set_empty(path);
        }
        let below = |key: &str| format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        let fields: Vec<String> = self.node(path).into_iter().flat_map(Node::children).map(|node| node.key.clone()).collect();
        for (index, key) in fields.iter().enumerate() {
            let field = [path, &[index]].concat();
            match members.get(key) {
                Some(inner) => self.enter_part(&field, &below(key), inner),
                // An unwanted default is cleared.
                None => self.form.clear(&field),
            }
        }
        for (key, inner) in members.iter().filter(|(key, _)| !fields.contains(key)) {
            let added = self.form.add_member(path, key).ok_or_else(|| format!("{key} cannot be added"))?;
            self.enter_part(&added, &below(key), inner);
        }
        Ok(())
    }
}

/// A schema of the corpus, an independent validator for it, and its form.
struct Case {
    name: &'static str,
    schema: Value,
    judge: jsonschema::Validator,
    form: Form,
}

impl Case {
    fn of((name, schema): &'static (String, String)) -> Case {
        let value: Value = serde_json::from_str(schema).unwrap();
        let judge = jsonschema::options().build(&value).unwrap();
        Case { name, schema: value, judge, form: Form::new(&Body::from(schema.as_str())) }
    }

    /// Returns a valid instance, if one is found within 60 attempts.
    fn instance(&self, seed: u64) -> Option<Value> {
        let instances = Instances::of(&self.schema);
        let mut dice = Dice::new(seed);
        (0..60).find_map(|_| instances.make(&mut dice).filter(|value| value.is_object() && self.judge.is_valid(value)))
    }

    /// Returns the errors that the form displays.
    fn displayed_errors(&self) -> Vec<String> {
        fn below(node: &Node, found: &mut Vec<String>) {
            found.extend(node.error.iter().map(|error| format!("{}: {error}", node.label)));
            if node.missing {
                found.push(format!("{} is missing", node.label));
            }
            node.children().iter().for_each(|child| below(child, found));
        }
        let mut found = self.form.problems.clone();
        below(&self.form.root, &mut found);
        found
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.form.json()).unwrap()
    }

    /// Enters a valid instance into the fields.
    fn enter(&mut self, value: &Value) -> Result<(), String> {
        let name = self.name;
        self.form.reset();
        let mut typist = Typist { form: &mut self.form, rejected: vec![] };
        typist.enter_part(&[], "", value);
        let rejected = typist.rejected;
        if !rejected.is_empty() {
            // The arguments as JSON including those parts; the form indicates at each that it is JSON.
            self.form.set_json(&value.to_string()).map_err(|e| e.to_string())?;
            for (pointer, why) in &rejected {
                let field = self.form.node(&check::nearest(&self.form.root, pointer));
                let indicated = field.is_some_and(|n| matches!(n.kind, Kind::Raw(_)) && (n.note.is_some() || n.any));
                if !indicated || !GUESSED.contains(&name) {
                    return Err(format!("{name}: {value} cannot be entered at {pointer:?} (indicated: {indicated}): {why}"));
                }
            }
        }
        let sent = self.json();
        if sent != *value {
            return Err(format!("{name}: {value} was entered, {sent} would be sent"));
        }
        if !self.form.valid() || !self.displayed_errors().is_empty() {
            return Err(format!("{name}: {value} is valid, but refused: {:?}", self.displayed_errors()));
        }
        let text = self.form.json();
        self.form.set_json(&text).map_err(|e| e.to_string())?;
        if self.form.json() == text && self.form.valid() { Ok(()) } else { Err(format!("{name}: {text} became {}", self.form.json())) }
    }

    /// Puts a possibly invalid value into the form in both ways, and compares the form's validation.
    fn judge(&mut self, value: &Value) -> Result<(), String> {
        let (name, fits) = (self.name, self.judge.is_valid(value));
        self.form.set_json(&value.to_string()).map_err(|e| e.to_string())?;
        if self.json() != *value {
            return Err(format!("{name}: {value} became {}", self.form.json()));
        }
        if self.form.valid() != fits || self.displayed_errors().is_empty() != fits {
            return Err(format!("{name}: {value} is valid: {fits}; the form says {:?}", self.displayed_errors()));
        }
        self.form.reset();
        let mut typist = Typist { form: &mut self.form, rejected: vec![] };
        typist.enter_part(&[], "", value);
        if typist.rejected.is_empty() && self.json() == *value && self.form.valid() && !fits {
            return Err(format!("{name}: {value} is wrong, but was entered and passes"));
        }
        Ok(())
    }
}

/// Runs `check` for every schema on several threads. Returns the failures.
fn for_all_schemas(check: impl Fn(&mut Case) -> Result<(), String> + Sync) -> Vec<String> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut failures = vec![];
        while let Some(line) = corpus().get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            failures.extend(check(&mut Case::of(line)).err());
        }
        failures
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn every_schema_of_the_corpus_is_entered_and_validated() {
    assert!(corpus().len() >= 400, "{}", corpus().len());
    let failures = for_all_schemas(|case| {
        let mut entered: Vec<Value> = vec![];
        for seed in 0..EACH as u64 * 3 {
            let Some(value) = case.instance(seed).filter(|value| !entered.contains(value)) else { continue };
            case.enter(&value)?;
            case.judge(&mutated(&value, &mut Dice::new(seed)))?;
            entered.push(value);
            if entered.len() == EACH {
                break;
            }
        }
        if entered.is_empty() != (case.name == ENDLESS) { Err(format!("{}: never entered", case.name)) } else { Ok(()) }
    });
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_keyword_is_in_the_corpus() {
    let all = "$anchor $comment $defs $dynamicAnchor $dynamicRef $id $ref $schema additionalProperties allOf anyOf const contains \
               contentEncoding contentMediaType contentSchema default dependentRequired dependentSchemas deprecated description else enum \
               examples exclusiveMaximum exclusiveMinimum format if items maxContains maxItems maxLength maxProperties maximum minContains \
               minItems minLength minProperties minimum multipleOf not oneOf pattern patternProperties prefixItems properties propertyNames \
               readOnly required then title type unevaluatedItems unevaluatedProperties uniqueItems writeOnly";
    for keyword in all.split_whitespace() {
        assert!(corpus().iter().any(|(_, schema)| schema.contains(&format!("\"{keyword}\":"))), "{keyword}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_valid_instance_can_be_entered(pick in any::<prop::sample::Index>(), seed in any::<u64>()) {
        let mut case = Case::of(&corpus()[pick.index(corpus().len())]);
        let Some(value) = case.instance(seed) else { return Ok(()) };
        let entered = case.enter(&value).and_then(|()| {
            let mut dice = Dice::new(seed);
            (0..3).try_for_each(|_| case.judge(&mutated(&value, &mut dice)))
        });
        if let Err(why) = entered {
            prop_assert!(false, "{}", why);
        }
    }

    #[test]
    fn no_invalid_value_passes_silently(value in any_json(), pick in any::<prop::sample::Index>()) {
        let (name, schema) = &corpus()[pick.index(corpus().len())];
        let Ok(plain) = serde_json::from_str::<Value>(&value.text()) else { return Ok(()) };
        let mut form = Form::new(&Body::from(schema.as_str()));
        form.set_json(&value.text()).unwrap();
        let invalid = !Checker::new(&Body::from(schema.as_str())).check(&plain).is_empty();
        prop_assert!(!(invalid && form.valid()), "{}: {} passes", name, plain);
    }
}
