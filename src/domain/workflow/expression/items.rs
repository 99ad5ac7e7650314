//! What is known of the items of a `for_each`, of which there may be very many: results and ends as few bytes, made
//! into values where somebody looks at them.

use std::{collections::BTreeMap, sync::Arc};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};

use super::{data::Data, scope::StepFault};

/// The results of items, JSON texts in one piece. As values of their own they would take many times their bytes.
#[derive(Clone, Debug, Default)]
pub struct Results {
    text: String,
    /// Where each result begins and ends in the text; the same twice for one that is not there.
    places: Vec<(u32, u32)>,
}

impl Results {
    /// Takes in the result of an item, JSON. Those of all items are at most 4 GiB long together; what goes beyond is
    /// left out.
    pub fn put(&mut self, item: usize, json: &str) {
        self.grow(item + 1);
        let from = self.text.len();
        if let (Ok(begin), Ok(end)) = (u32::try_from(from), u32::try_from(from + json.len())) {
            self.text.push_str(json);
            self.places[item] = (begin, end);
        }
    }

    /// The result of an item, JSON.
    pub fn get(&self, item: usize) -> Option<&str> {
        let (begin, end) = *self.places.get(item)?;
        self.text.get(usize::try_from(begin).ok()?..usize::try_from(end).ok()?).filter(|json| !json.is_empty())
    }

    /// Makes room for so many items.
    pub fn grow(&mut self, items: usize) {
        self.places.resize(items.max(self.places.len()), (0, 0));
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The list of them as JSON, `null` for one that is not there.
    pub fn json(&self) -> String {
        let mut out = String::with_capacity(self.text.len() + self.places.len() + 2);
        out.push('[');
        for item in 0..self.places.len() {
            if item > 0 {
                out.push(',');
            }
            out.push_str(self.get(item).unwrap_or("null"));
        }
        out.push(']');
        out
    }
}

impl Object for Results {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let item = key.as_usize().filter(|item| *item < self.len())?;
        Some(self.get(item).and_then(|json| Data::parse(json).ok()).unwrap_or_else(Data::null).0)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.len())
    }
}

/// How the items ended.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The outcome of each, by its place in `words`.
    each: Vec<u8>,
    words: Vec<&'static str>,
    /// Why those failed that did.
    faults: BTreeMap<usize, StepFault>,
}

impl Default for Ends {
    fn default() -> Ends {
        Ends { each: vec![], words: vec!["cancelled"], faults: BTreeMap::new() }
    }
}

impl Ends {
    /// Makes room for so many items. Those that are new count as cancelled until something else is known of them.
    pub fn grow(&mut self, items: usize) {
        self.each.resize(items.max(self.each.len()), 0);
    }

    /// The place of a word, of which there are four.
    fn word(&mut self, outcome: &'static str) -> u8 {
        let word = self.words.iter().position(|known| *known == outcome).unwrap_or_else(|| {
            self.words.push(outcome);
            self.words.len() - 1
        });
        u8::try_from(word).unwrap_or(0)
    }

    /// Takes in how an item ended: `outcome` as of a step, and the error of one that failed.
    pub fn put(&mut self, item: usize, outcome: &'static str, fault: Option<StepFault>) {
        let word = self.word(outcome);
        self.grow(item + 1);
        self.each[item] = word;
        if let Some(fault) = fault {
            self.faults.insert(item, fault);
        }
    }
}

impl Object for Ends {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let item = key.as_usize()?;
        let outcome = *self.words.get(usize::from(*self.each.get(item)?))?;
        let fault = self.faults.get(&item).map(|fault| ("error", fault.clone().into_value()));
        Some(Value::from_pairs([("outcome", Value::from(outcome))].into_iter().chain(fault)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.each.len())
    }
}
