//! Enters instances of every schema of the corpus with the keyboard only: every valid instance can be entered, and Enter sends
//! no invalid one.
//!
//! The methods of the form are tested in the domain. These tests read the rows, move the cursor and press keys. Only
//! characters that no keyboard has are pasted.

use serde_json::Value;

use super::*;
use crate::domain::{
    form::{
        Node,
        test_instances::{Dice, Instances, mutated},
        tests::corpus,
    },
    json::Json,
};

/// How many instances of each schema are entered.
const EACH: usize = 4;

/// How many instances are entered in total. The generator is seeded, so only the corpus and the exceptions change it.
const IN_ALL: usize = 2_175;

/// The most characters of a text that are typed; the rest is pasted, because every letter validates the whole form.
const TYPED: usize = 12;

/// Schemas with fields whose type the form can only guess. Their instances may be entered as JSON.
const GUESSED: [&str; 4] = ["untyped_text", "untyped_number", "untyped_object", "untyped_array"];

/// The schema without finite instances: each value contains another one.
const NOTHING_FITS: &str = "recursive_required";

struct Keyboard<'v> {
    view: &'v mut FormView,
    /// Additional arguments that no row of the form can add.
    in_json: Vec<String>,
}

type EntryResult = Result<(), String>;

impl Keyboard<'_> {
    fn press(&mut self, code: KeyCode) -> FormEvent {
        self.view.handle(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn letter(&mut self, c: char) -> FormEvent {
        self.press(KeyCode::Char(c))
    }

    /// Types a text, and pastes what a keyboard cannot type.
    fn write(&mut self, text: &str) {
        let mut rest = text;
        for (count, c) in text.chars().enumerate() {
            if count == TYPED || c.is_control() && c != '\n' {
                break;
            }
            match c {
                // In a list, Alt+Enter adds an item, so the line end is pasted.
                '\n' if self.view.naming.is_none() && !self.view.in_array() => {
                    self.view.handle(KeyEvent::new(KeyCode::Enter, KeyModifiers::ALT));
                }
                '\n' => break,
                c => {
                    self.letter(c);
                }
            }
            rest = &rest[c.len_utf8()..];
        }
        if !rest.is_empty() {
            self.view.paste(rest);
        }
    }

    fn node(&self, path: &[usize]) -> Result<&Node, String> {
        self.view.form.node(path).ok_or_else(|| format!("no field at {path:?}"))
    }

    fn has(&self, path: &[usize], wanted: &Json) -> bool {
        self.view.form.node(path).and_then(Node::value).is_some_and(|value| value.same(wanted))
    }

    /// Returns the row of a field: its own, or that of the union whose alternative it is.
    fn row(&self, path: &[usize]) -> Option<Path> {
        let rows = self.view.form.rows();
        let own = |path: &[usize]| rows.iter().any(|row| row.path == path);
        let mut path = path.to_vec();
        while !own(&path) {
            let last = path.pop()?;
            let union = self.view.form.node(&path).is_some_and(|node| matches!(node.kind, Kind::Union { .. }));
            if last != 0 || !union {
                return None;
            }
        }
        Some(path)
    }

    /// Moves the cursor to the row of a field, in command mode.
    fn to(&mut self, path: &[usize]) -> EntryResult {
        let row = self.row(path).ok_or_else(|| format!("no row for {path:?}"))?;
        if self.view.typing {
            self.press(KeyCode::Esc);
        }
        let rows = self.view.form.rows();
        let place = |path: &[usize]| rows.iter().position(|row| row.path == path);
        let (from, to) = (place(&self.view.at), place(&row).unwrap_or(0));
        if from.is_none() {
            self.press(KeyCode::Home);
        }
        let from = from.unwrap_or(0);
        let key = if to < from { KeyCode::Up } else { KeyCode::Down };
        for _ in 0..from.abs_diff(to) {
            self.press(key);
        }
        if self.view.at == row { Ok(()) } else { Err(format!("{row:?} is not reached")) }
    }

    fn enter(&mut self, path: &[usize], value: &Value) -> EntryResult {
        let kind = self.node(path)?.kind.clone();
        let wanted = Json::parse(&value.to_string()).map_err(|e| e.to_string())?;
        match (kind, value) {
            (Kind::Raw(_), _) | (Kind::Number { .. }, Value::Number(_)) => self.text(path, &value.to_string()),
            (Kind::Bool(_) | Kind::Const(_) | Kind::Choice { .. }, _) => self.pick(path, &wanted),
            (Kind::Union { variants, .. }, _) => self.choose(path, value, variants.len()),
            (_, Value::Null) => {
                self.to(path)?;
                self.letter('n');
                if self.has(path, &wanted) { Ok(()) } else { Err("no null".into()) }
            }
            (Kind::Text(_), Value::String(text)) if text.is_empty() => {
                self.to(path)?;
                self.letter('"');
                Ok(())
            }
            (Kind::Text(_), Value::String(text)) => self.text(path, text),
            (Kind::Array { .. }, Value::Array(items)) => self.items(path, items),
            (Kind::CheckList { options, .. }, Value::Array(items)) => self.check(path, items, &options),
            (Kind::Object { .. }, Value::Object(members)) => self.members(path, members),
            (kind, _) => Err(format!("{value} for {kind:?}")),
        }
    }

    fn text(&mut self, path: &[usize], text: &str) -> EntryResult {
        self.to(path)?;
        self.letter('i');
        self.press(KeyCode::End);
        self.view.handle(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        self.write(text);
        match self.view.form.text(path) {
            Some(there) if there == text => Ok(()),
            there => Err(format!("{text:?} became {there:?}")),
        }
    }

    /// Picks a choice from the list that Space opens.
    fn pick_from_list(&mut self, index: usize) {
        self.letter(' ');
        self.press(KeyCode::Home);
        for _ in 0..index {
            self.press(KeyCode::Down);
        }
        self.press(KeyCode::Enter);
    }

    fn pick(&mut self, path: &[usize], wanted: &Json) -> EntryResult {
        self.to(path)?;
        let there = |keyboard: &Self| keyboard.has(path, wanted) && keyboard.node(path).is_ok_and(|node| node.state != State::Default);
        let options = match &self.node(path)?.kind {
            Kind::Choice { options, .. } => options.iter().map(|(_, value)| value.clone()).collect(),
            _ => vec![],
        };
        if options.len() > 3 {
            if let Some(index) = options.iter().position(|value| value.same(wanted)) {
                self.pick_from_list(index);
            }
        } else {
            for _ in 0..options.len() + 4 {
                if there(self) {
                    break;
                }
                self.letter(' ');
            }
        }
        if !self.has(path, wanted) && *wanted == Json::Null {
            self.letter('n');
        }
        if self.has(path, wanted) { Ok(()) } else { Err(format!("{} cannot be picked", wanted.text())) }
    }

    /// Tries the alternatives until one accepts the value.
    fn choose(&mut self, path: &[usize], value: &Value, count: usize) -> EntryResult {
        let wanted = Json::parse(&value.to_string()).map_err(|e| e.to_string())?;
        let inner = [path, &[0]].concat();
        let before = self.view.form.root().clone();
        let mut why: Vec<String> = vec![];
        for index in 0..count {
            self.view.form.restore(before.clone());
            self.to(path)?;
            let picked =
                |keyboard: &Self| matches!(keyboard.node(path).map(|n| &n.kind), Ok(Kind::Union { picked, .. }) if *picked == index);
            if count > 3 {
                self.pick_from_list(index);
            } else {
                // Even if it is chosen already, to discard its old value.
                for _ in 0..count {
                    self.press(KeyCode::Right);
                    if picked(self) {
                        break;
                    }
                }
            }
            if !picked(self) {
                return Err(format!("alternative {index} of {count} is not reached"));
            }
            match self.enter(&inner, value) {
                Ok(()) if self.has(path, &wanted) && self.node(&inner).is_ok_and(Node::is_valid) => return Ok(()),
                Ok(()) => {
                    why.push(format!("alternative {index} holds {}", self.node(&inner)?.value().map_or_else(String::new, |v| v.text())))
                }
                Err(other) => why.push(other),
            }
        }
        self.view.form.restore(before);
        if value.is_null() {
            self.to(path)?;
            self.letter('n');
            if self.has(path, &wanted) {
                return Ok(());
            }
        }
        Err(format!("no alternative for {value}: [{}]", why.join("; ")))
    }

    /// Checks the options of a check list. Items that are not a set in its order are added one by one.
    fn check(&mut self, path: &[usize], items: &[Value], options: &[Node]) -> EntryResult {
        let value = |option: &Node| option.kind.clone();
        let wanted: Vec<bool> = options
            .iter()
            .map(|option| match value(option) {
                Kind::Const(value) => items.contains(&serde_json::from_str(&value.text()).unwrap()),
                other => panic!("{other:?}"),
            })
            .collect();
        self.unfold(path)?;
        for (index, wanted) in wanted.into_iter().enumerate() {
            let option = [path, &[index]].concat();
            if (self.node(&option)?.state != State::Unset) != wanted {
                self.to(&option)?;
                self.letter(' ');
            }
        }
        if self.has(path, &Json::parse(&Value::from(items).to_string()).map_err(|e| e.to_string())?) && !items.is_empty() {
            return Ok(());
        }
        self.to(path)?;
        self.letter('a');
        self.items(path, items)
    }

    fn items(&mut self, path: &[usize], items: &[Value]) -> EntryResult {
        self.unfold(path)?;
        while let Some(count) = Some(self.node(path)?.children().len()).filter(|count| *count > 0) {
            self.to(&[path, &[0]].concat())?;
            self.letter('d');
            if self.node(path)?.children().len() >= count {
                return Err("an item stays".into());
            }
        }
        for (index, item) in items.iter().enumerate() {
            self.to(path)?;
            self.letter('a');
            let added = [path, &[index]].concat();
            self.node(&added).map_err(|_| "no more items")?;
            self.enter(&added, item)?;
        }
        if items.is_empty() {
            self.to(path)?;
            self.letter('"');
        }
        Ok(())
    }

    fn unfold(&mut self, path: &[usize]) -> EntryResult {
        if self.row(path).as_deref() == Some(path) {
            self.to(path)?;
            if self.node(path)?.folded {
                self.press(KeyCode::Right);
            }
        }
        Ok(())
    }

    fn members(&mut self, path: &[usize], members: &serde_json::Map<String, Value>) -> EntryResult {
        self.unfold(path)?;
        if members.is_empty() && self.row(path).is_some() {
            self.to(path)?;
            self.letter('"');
        }
        let fields: Vec<String> = self.node(path)?.children().iter().map(|node| node.key.clone()).collect();
        for (index, key) in fields.iter().enumerate() {
            let field = [path, &[index]].concat();
            match members.get(key) {
                Some(value) => self.enter(&field, value).map_err(|why| format!("{key}: {why}"))?,
                // An unwanted default is removed.
                None if self.node(&field)?.value().is_some() => {
                    self.to(&field)?;
                    self.press(KeyCode::Backspace);
                }
                None => {}
            }
        }
        for (key, value) in members.iter().filter(|(key, _)| !fields.contains(key)) {
            // Additional arguments of a closed form can only be entered as JSON.
            if path.is_empty() && !self.view.form.open() {
                self.in_json.push(key.clone());
                continue;
            }
            self.add_member(path, key)?;
            let at =
                self.node(path)?.children().iter().position(|node| node.key == *key).ok_or_else(|| format!("{key} cannot be added"))?;
            self.enter(&[path, &[at]].concat(), value).map_err(|why| format!("{key}: {why}"))?;
        }
        Ok(())
    }

    /// Adds an additional member, from a row whose key adds one to this object.
    fn add_member(&mut self, path: &[usize], key: &str) -> EntryResult {
        let rows: Vec<Path> = self.view.form.rows().into_iter().map(|row| row.path).collect();
        let own = self.row(path);
        for row in own.into_iter().chain(rows) {
            self.to(&row)?;
            if self.view.open_object().as_deref() == Some(path) {
                self.letter('a');
                self.write(key);
                self.press(KeyCode::Enter);
                return Ok(());
            }
        }
        if self.view.form.rows().is_empty() && path.is_empty() {
            self.letter('a');
            self.write(key);
            self.press(KeyCode::Enter);
            return Ok(());
        }
        Err(format!("{key}: no row adds a member to {path:?}"))
    }
}

/// Enters a value by keys into a new form. Returns the outcome of Enter as well.
fn enter_by_keys(schema: &str, value: &Value) -> (EntryResult, FormView, FormEvent) {
    let mut view = FormView::new(&Body::from(schema));
    let mut keyboard = Keyboard { view: &mut view, in_json: vec![] };
    let done = keyboard.enter(&[], value);
    let in_json = std::mem::take(&mut keyboard.in_json);
    if done.is_ok() && !in_json.is_empty() {
        // Adds the additional arguments in the JSON of the form.
        let mut all: serde_json::Map<String, Value> = serde_json::from_str(&view.json()).unwrap();
        all.extend(in_json.into_iter().map(|key| (key.clone(), value[&key].clone())));
        view.set_json(&Value::Object(all).to_string()).unwrap();
    }
    let sent = view.handle(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
    (done, view, sent)
}

/// Enters a value as JSON. Returns the outcome of Enter as well.
fn enter_as_json(schema: &str, value: &Value) -> (EntryResult, FormView, FormEvent) {
    let mut view = FormView::new(&Body::from(schema));
    let done = view.set_json(&value.to_string()).map_err(|error| error.to_string());
    let sent = view.handle(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
    (done, view, sent)
}

fn value_of(view: &FormView) -> Value {
    serde_json::from_str(&view.json()).unwrap()
}

/// Enters instances of one schema of the corpus. Returns the failures, and the sizes in bytes of the instances that were sent.
fn enter_instances((name, schema): &(String, String)) -> (Vec<String>, Vec<usize>) {
    let value: Value = serde_json::from_str(schema).unwrap();
    let judge = jsonschema::options().build(&value).unwrap();
    let instances = Instances::of(&value);
    let (mut failures, mut seen, mut sizes) = (vec![], vec![], vec![]);
    for seed in 0..EACH as u64 * 3 {
        let mut dice = Dice::new(seed);
        let found = (0..60).find_map(|_| {
            let made = instances.make(&mut dice)?;
            (made.is_object() && judge.is_valid(&made)).then_some(made)
        });
        let Some(instance) = found.filter(|found| !seen.contains(found)) else { continue };
        let (done, view, sent) = match enter_by_keys(schema, &instance) {
            (Err(_), ..) if GUESSED.contains(&name.as_str()) => enter_as_json(schema, &instance),
            made => made,
        };
        match done {
            Err(why) => failures.push(format!("{name}: {instance} is not entered: {why}")),
            Ok(()) if value_of(&view) != instance => failures.push(format!("{name}: {instance} was entered, {} is there", view.json())),
            Ok(()) if sent != FormEvent::Submit => {
                failures.push(format!("{name}: {instance} is valid and was not sent: {:?}", view.form.problems))
            }
            Ok(()) => sizes.push(instance.to_string().len()),
        }
        let mutation = mutated(&instance, &mut dice);
        if !judge.is_valid(&mutation) {
            let (done, view, sent) = enter_by_keys(schema, &mutation);
            if done.is_ok() && value_of(&view) == mutation && sent == FormEvent::Submit {
                failures.push(format!("{name}: {mutation} is wrong and was sent"));
            }
        }
        seen.push(instance);
        if seen.len() == EACH {
            break;
        }
    }
    if sizes.is_empty() && name != NOTHING_FITS {
        failures.push(format!("{name}: nothing was entered"));
    }
    (failures, sizes)
}

#[test]
fn every_schema_of_the_corpus_is_entered_by_keys() {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let (mut failures, mut sizes) = (vec![], vec![]);
        while let Some(line) = corpus().get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            let (found, entered) = enter_instances(line);
            failures.extend(found);
            sizes.extend(entered);
        }
        (failures, sizes)
    };
    let done: Vec<(Vec<String>, Vec<usize>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (failures, sizes): (Vec<Vec<String>>, Vec<Vec<usize>>) = done.into_iter().unzip();
    let (failures, sizes) = (failures.concat(), sizes.concat());
    assert!(failures.is_empty(), "{} of {} schemas wrong:\n{}", failures.len(), corpus().len(), failures.join("\n"));
    assert_eq!(sizes.len(), IN_ALL, "instances of {} schemas, the longest of {:?} bytes", corpus().len(), sizes.iter().max());
}
