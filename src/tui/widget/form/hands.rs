//! Every schema of the corpus, entered with nothing but keys: what a person can do at the form is enough for every
//! valid instance, and Enter sends nothing that is wrong.
//!
//! The form's own methods are tried in the domain (`domain::form::entering`); these hands see rows, move the cursor and
//! press keys. Only characters that no keyboard has are pasted.

use serde_json::Value;

use super::*;
use crate::domain::form::{
    Json, Node,
    test_instances::{Dice, Instances, mutated},
    tests::corpus,
};

/// Instances of each schema that are entered.
const EACH: usize = 4;

/// How many there are in all. Dice fall alike each time, so only another corpus, or what is left out, changes it.
const IN_ALL: usize = 2_175;

/// A text longer than this is pasted after its beginning: every letter has the whole form judged again.
const TYPED: usize = 12;

/// Schemas with places whose type the form can only guess: other values are entered as JSON, in place of the form.
const GUESSED: [&str; 4] = ["untyped_text", "untyped_number", "untyped_object", "untyped_array"];

/// The schema that nothing fits: each value of it has another one of its kind inside.
const NOTHING_FITS: &str = "recursive_required";

struct Hands<'v> {
    view: &'v mut FormView,
    /// Arguments that the schema neither declares nor forbids, which no row adds.
    in_json: Vec<String>,
}

type Entered = Result<(), String>;

impl Hands<'_> {
    fn press(&mut self, code: KeyCode) -> FormEvent {
        self.view.handle(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn letter(&mut self, c: char) -> FormEvent {
        self.press(KeyCode::Char(c))
    }

    /// Types a text, or what of it a keyboard has.
    fn write(&mut self, text: &str) {
        let mut rest = text;
        for (count, c) in text.chars().enumerate() {
            if count == TYPED || c.is_control() && c != '\n' {
                break;
            }
            match c {
                // In a list, Alt-Enter is the next item: a line end is pasted there, or written in many lines.
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

    /// The row that stands for a field: its own, or that of the choice whose alternative it is.
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

    /// Moves the cursor to the row of a field by the shorter way, letters being keys.
    fn to(&mut self, path: &[usize]) -> Entered {
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

    fn enter(&mut self, path: &[usize], value: &Value) -> Entered {
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
            (Kind::Object { .. }, Value::Object(members)) => self.members(path, members),
            (kind, _) => Err(format!("{value} for {kind:?}")),
        }
    }

    fn text(&mut self, path: &[usize], text: &str) -> Entered {
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

    /// Takes the choice of this number out of the list that Space opens.
    fn take(&mut self, index: usize) {
        self.letter(' ');
        self.press(KeyCode::Home);
        for _ in 0..index {
            self.press(KeyCode::Down);
        }
        self.press(KeyCode::Enter);
    }

    fn pick(&mut self, path: &[usize], wanted: &Json) -> Entered {
        self.to(path)?;
        let there = |hands: &Self| hands.has(path, wanted) && hands.node(path).is_ok_and(|node| node.state != State::Default);
        let options = match &self.node(path)?.kind {
            Kind::Choice { options, .. } => options.iter().map(|(_, value)| value.clone()).collect(),
            _ => vec![],
        };
        if options.len() > 3 {
            if let Some(index) = options.iter().position(|value| value.same(wanted)) {
                self.take(index);
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

    /// Tries the alternatives until one takes the value.
    fn choose(&mut self, path: &[usize], value: &Value, count: usize) -> Entered {
        let wanted = Json::parse(&value.to_string()).map_err(|e| e.to_string())?;
        let inner = [path, &[0]].concat();
        let before = self.view.form.root().clone();
        let mut why: Vec<String> = vec![];
        for index in 0..count {
            self.view.form.restore(before.clone());
            self.to(path)?;
            let picked = |hands: &Self| matches!(hands.node(path).map(|n| &n.kind), Ok(Kind::Union { picked, .. }) if *picked == index);
            if count > 3 {
                self.take(index);
            } else {
                // Also where it is chosen already: what was in it before is not what is wanted.
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

    fn items(&mut self, path: &[usize], items: &[Value]) -> Entered {
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

    fn unfold(&mut self, path: &[usize]) -> Entered {
        if self.row(path).as_deref() == Some(path) {
            self.to(path)?;
            if self.node(path)?.folded {
                self.press(KeyCode::Right);
            }
        }
        Ok(())
    }

    fn members(&mut self, path: &[usize], members: &serde_json::Map<String, Value>) -> Entered {
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
                // A default that is not wanted is left out.
                None if self.node(&field)?.value().is_some() => {
                    self.to(&field)?;
                    self.press(KeyCode::Backspace);
                }
                None => {}
            }
        }
        for (key, value) in members.iter().filter(|(key, _)| !fields.contains(key)) {
            // A tool that does not ask for further arguments is given them in JSON only.
            if path.is_empty() && !self.view.form.open() {
                self.in_json.push(key.clone());
                continue;
            }
            self.name(path, key)?;
            let at =
                self.node(path)?.children().iter().position(|node| node.key == *key).ok_or_else(|| format!("{key} cannot be added"))?;
            self.enter(&[path, &[at]].concat(), value).map_err(|why| format!("{key}: {why}"))?;
        }
        Ok(())
    }

    /// Adds a member that is not declared: from a row whose key adds one to this object.
    fn name(&mut self, path: &[usize], key: &str) -> Entered {
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
        Err(format!("{key}: there is no row from which a member is added to {path:?}"))
    }
}

/// Enters a value by keys from a fresh form; whether Enter then sends it.
fn entered(schema: &str, value: &Value) -> (Entered, FormView, FormEvent) {
    let mut view = FormView::new(&Body::from(schema));
    let mut hands = Hands { view: &mut view, in_json: vec![] };
    let done = hands.enter(&[], value);
    let in_json = std::mem::take(&mut hands.in_json);
    if done.is_ok() && !in_json.is_empty() {
        // The arguments as JSON, as Ctrl-E shows them, with the others written into it.
        let mut all: serde_json::Map<String, Value> = serde_json::from_str(&view.json()).unwrap();
        all.extend(in_json.into_iter().map(|key| (key.clone(), value[&key].clone())));
        view.set_json(&Value::Object(all).to_string()).unwrap();
    }
    let sent = view.handle(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
    (done, view, sent)
}

/// The same with nothing but JSON.
fn in_json(schema: &str, value: &Value) -> (Entered, FormView, FormEvent) {
    let mut view = FormView::new(&Body::from(schema));
    let done = view.set_json(&value.to_string()).map_err(|error| error.to_string());
    let sent = view.handle(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
    (done, view, sent)
}

fn whole(view: &FormView) -> Value {
    serde_json::from_str(&view.json()).unwrap()
}

/// What goes wrong with one schema of the corpus, and the sizes of its instances that were entered and sent, in bytes.
fn look((name, schema): &(String, String)) -> (Vec<String>, Vec<usize>) {
    let value: Value = serde_json::from_str(schema).unwrap();
    let judge = jsonschema::options().build(&value).unwrap();
    let instances = Instances::of(&value);
    let (mut wrong, mut seen, mut sizes) = (vec![], vec![], vec![]);
    for seed in 0..EACH as u64 * 3 {
        let mut dice = Dice::new(seed);
        let found = (0..60).find_map(|_| {
            let made = instances.make(&mut dice)?;
            (made.is_object() && judge.is_valid(&made)).then_some(made)
        });
        let Some(instance) = found.filter(|found| !seen.contains(found)) else { continue };
        let (done, view, sent) = match entered(schema, &instance) {
            (Err(_), ..) if GUESSED.contains(&name.as_str()) => in_json(schema, &instance),
            made => made,
        };
        match done {
            Err(why) => wrong.push(format!("{name}: {instance} is not entered: {why}")),
            Ok(()) if whole(&view) != instance => wrong.push(format!("{name}: {instance} was entered, {} is there", view.json())),
            Ok(()) if sent != FormEvent::Submit => {
                wrong.push(format!("{name}: {instance} is valid and was not sent: {:?}", view.form.problems))
            }
            Ok(()) => sizes.push(instance.to_string().len()),
        }
        let odd = mutated(&instance, &mut dice);
        if !judge.is_valid(&odd) {
            let (done, view, sent) = entered(schema, &odd);
            if done.is_ok() && whole(&view) == odd && sent == FormEvent::Submit {
                wrong.push(format!("{name}: {odd} is wrong and was sent"));
            }
        }
        seen.push(instance);
        if seen.len() == EACH {
            break;
        }
    }
    if sizes.is_empty() && name != NOTHING_FITS {
        wrong.push(format!("{name}: nothing was entered"));
    }
    (wrong, sizes)
}

#[test]
fn every_schema_of_the_corpus_is_entered_by_keys() {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let (mut wrong, mut sizes) = (vec![], vec![]);
        while let Some(line) = corpus().get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            let (found, entered) = look(line);
            wrong.extend(found);
            sizes.extend(entered);
        }
        (wrong, sizes)
    };
    let done: Vec<(Vec<String>, Vec<usize>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (wrong, sizes): (Vec<Vec<String>>, Vec<Vec<usize>>) = done.into_iter().unzip();
    let (wrong, sizes) = (wrong.concat(), sizes.concat());
    assert!(wrong.is_empty(), "{} of {} schemas wrong:\n{}", wrong.len(), corpus().len(), wrong.join("\n"));
    assert_eq!(sizes.len(), IN_ALL, "instances of {} schemas, the longest of {:?} bytes", corpus().len(), sizes.iter().max());
}
