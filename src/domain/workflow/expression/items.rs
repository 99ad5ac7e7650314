//! Results and ends of the items of a `for_each`. There may be very many: both are stored compactly and turned into
//! values on access.

use std::{collections::BTreeMap, sync::Arc};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};

use super::{data::Data, scope::StepFault};

/// The results of items, as JSON texts in one string. Separate values would take many times their bytes.
#[derive(Clone, Debug, Default)]
pub struct Results {
    text: String,
    /// Start and end of each result in the text; equal for a missing one.
    ranges: Vec<(u32, u32)>,
}

impl Results {
    /// Records the result of an item as JSON. All results together are at most 4 GiB; results beyond that are
    /// dropped.
    pub fn record(&mut self, item: usize, json: &str) {
        self.grow_to(item + 1);
        let from = self.text.len();
        if let (Ok(begin), Ok(end)) = (u32::try_from(from), u32::try_from(from + json.len())) {
            self.text.push_str(json);
            self.ranges[item] = (begin, end);
        }
    }

    /// Returns the result of an item as JSON.
    pub fn get(&self, item: usize) -> Option<&str> {
        let (begin, end) = *self.ranges.get(item)?;
        self.text.get(usize::try_from(begin).ok()?..usize::try_from(end).ok()?).filter(|json| !json.is_empty())
    }

    /// Extends the list to at least `items` items.
    pub fn grow_to(&mut self, items: usize) {
        self.ranges.resize(items.max(self.ranges.len()), (0, 0));
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Returns whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns the list as JSON, `null` for missing results.
    pub fn json(&self) -> String {
        let mut out = String::with_capacity(self.text.len() + self.ranges.len() + 2);
        out.push('[');
        for item in 0..self.ranges.len() {
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

/// The ends of the items.
#[derive(Clone, Debug)]
pub struct Ends {
    /// Outcome of each item, as an index into `outcomes`.
    each: Vec<u8>,
    outcomes: Vec<&'static str>,
    /// Errors of the failed items.
    faults: BTreeMap<usize, StepFault>,
}

impl Default for Ends {
    fn default() -> Ends {
        Ends { each: vec![], outcomes: vec!["cancelled"], faults: BTreeMap::new() }
    }
}

impl Ends {
    /// Extends the list to at least `items` items. New items count as cancelled until their end is recorded.
    pub fn grow_to(&mut self, items: usize) {
        self.each.resize(items.max(self.each.len()), 0);
    }

    /// Returns the index of an outcome, of which there are four.
    fn outcome_index(&mut self, outcome: &'static str) -> u8 {
        let outcome_index = self.outcomes.iter().position(|known| *known == outcome).unwrap_or_else(|| {
            self.outcomes.push(outcome);
            self.outcomes.len() - 1
        });
        u8::try_from(outcome_index).unwrap_or(0)
    }

    /// Records the end of an item: its outcome as for a step, and the error of a failed one.
    pub fn record(&mut self, item: usize, outcome: &'static str, fault: Option<StepFault>) {
        let outcome_index = self.outcome_index(outcome);
        self.grow_to(item + 1);
        self.each[item] = outcome_index;
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
        let outcome = *self.outcomes.get(usize::from(*self.each.get(item)?))?;
        let fault = self.faults.get(&item).map(|fault| ("error", fault.clone().into_value()));
        Some(Value::from_pairs([("outcome", Value::from(outcome))].into_iter().chain(fault)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.each.len())
    }
}
