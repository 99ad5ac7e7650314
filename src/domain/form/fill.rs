//! Fills the fields of a form from JSON values.

use std::cell::Cell;

use super::{Json, Kind, Node, State, build::Maker, relabel};
use crate::domain::json::is_number;

/// Penalty of a value of the wrong kind when alternatives are compared.
const WRONG: u32 = 100;
/// Maximum nesting of alternatives: a schema may list itself among its own.
const HOPS: u32 = 3;
/// Maximum number of fields tried per fill: nested alternatives multiply.
pub(super) const FIELDS: u32 = 60_000;
/// Number of JSON values in a field's schema from which it counts as several fields.
const PER_FIELD: usize = 64;

/// The state of one fill.
pub(super) struct Filling<'a> {
    state: State,
    left: &'a Cell<u32>,
    hops: u32,
}

impl Filling<'_> {
    /// Returns the state of the filled fields.
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Returns the state for the inside of the value.
    fn inside(&self) -> Filling<'_> {
        Filling { hops: 0, ..*self }
    }

    /// Returns the state for the same value in an alternative.
    fn alternative(&self) -> Filling<'_> {
        Filling { hops: self.hops + 1, ..*self }
    }
}

impl Maker {
    /// Fills an empty field with `value`. A value that the field cannot express becomes raw JSON. Returns the
    /// mismatch, 0 for a perfect match.
    pub fn fill(&self, node: &mut Node, value: &Json, state: State) -> u32 {
        self.fill_within(node, value, state, &Cell::new(FIELDS))
    }

    /// Fills within the remaining number of fields `left`.
    pub(super) fn fill_within(&self, node: &mut Node, value: &Json, state: State, left: &Cell<u32>) -> u32 {
        self.fill_node(node, value, &Filling { state, left, hops: 0 })
    }

    fn fill_node(&self, node: &mut Node, value: &Json, filling: &Filling) -> u32 {
        let state = filling.state;
        // Creating a field from a large schema costs accordingly.
        let cost = u32::try_from(1 + node.cost / PER_FIELD).unwrap_or(u32::MAX);
        let Some(left) = filling.left.get().checked_sub(cost).filter(|_| filling.hops <= HOPS) else {
            filling.left.set(if filling.hops <= HOPS { 0 } else { filling.left.get() });
            (node.kind, node.state) = (Kind::Raw(value.text()), state);
            return WRONG;
        };
        filling.left.set(left);
        if let Kind::Union { .. } = node.kind
            && !(*value == Json::Null && node.nullable)
        {
            return self.fill_union(node, value, filling);
        }
        let misfit = self.fill_kind(node, value, filling);
        if let Some(misfit) = misfit {
            return misfit;
        }
        if *value == Json::Null && node.nullable {
            node.state = State::Null;
            return 0;
        }
        let any = matches!(node.kind, Kind::Raw(_));
        (node.kind, node.state) = (Kind::Raw(value.text()), state);
        if any { 1 } else { WRONG }
    }

    /// Returns `None` if the value has another kind.
    fn fill_kind(&self, node: &mut Node, value: &Json, filling: &Filling) -> Option<u32> {
        let mut misfit = 0;
        match (&mut node.kind, value) {
            (Kind::Text(text), Json::String(new)) => new.clone_into(text),
            (Kind::Number { text, integer }, Json::Number(new)) => {
                misfit = u32::from(*integer && !is_whole(new)) * 10;
                new.clone_into(text);
            }
            (Kind::Bool(slot), Json::Bool(new)) => *slot = *new,
            (Kind::Choice { options, picked }, _) => *picked = position(options, value)?,
            (Kind::Const(only), _) if only.same(value) && only.text().len() == value.text().len() => {}
            (Kind::Array { .. }, Json::Array(values)) => misfit = self.fill_array(node, values, &filling.inside())?,
            (Kind::CheckList { .. }, Json::Array(values)) => misfit = self.fill_check_list(node, values, &filling.inside())?,
            (Kind::Object { .. }, Json::Object(members)) => {
                misfit = self.fill_object(node, members, &filling.inside())?;
                // A declared object shows its filled members.
                node.folded = false;
            }
            _ => return None,
        }
        node.state = filling.state;
        Some(misfit)
    }

    pub(super) fn fill_array(&self, node: &mut Node, values: &[Json], filling: &Filling) -> Option<u32> {
        let Kind::Array { items, prefix, rest } = &mut node.kind else { return None };
        let mut misfit = 0;
        let any = Json::Bool(true);
        items.clear();
        for (index, value) in values.iter().enumerate() {
            let declared = prefix.get(index).or(rest.as_deref());
            misfit += u32::from(declared.is_none());
            let mut item = self.blank(declared.filter(|_| filling.left.get() > 0).unwrap_or(&any));
            misfit += self.fill_node(&mut item, value, filling);
            items.push(item);
        }
        relabel(items);
        Some(misfit)
    }

    fn fill_object(&self, node: &mut Node, members: &[(String, Json)], filling: &Filling) -> Option<u32> {
        let mut seen = std::collections::HashSet::new();
        if !members.iter().all(|(key, _)| seen.insert(key)) {
            return None;
        }
        self.make_blank(node);
        let Kind::Object { fields, extra, .. } = &mut node.kind else { return None };
        // Created fields exist whether or not the value has them.
        let made = u32::try_from(fields.len()).unwrap_or(u32::MAX);
        filling.left.set(filling.left.get().saturating_sub(made));
        let mut misfit = 0;
        let any = Json::Bool(true);
        for field in fields.iter_mut().filter(|field| !seen.contains(&field.key)) {
            if field.required {
                misfit += 20;
            }
            // An absent member is unset, even if it has a default.
            if field.state != State::Unset || field.value().is_some() {
                *field = self.blank_like(field);
            }
        }
        let mut places: std::collections::HashMap<String, usize> =
            fields.iter().enumerate().map(|(index, field)| (field.key.clone(), index)).collect();
        for (key, value) in members {
            let index = *places.entry(key.clone()).or_insert_with(|| {
                let declared = extra.as_ref().and_then(|others| others.of(key));
                misfit += if declared.is_some() { 1 } else { 10 };
                fields.push(self.member(key, declared.as_ref().filter(|_| filling.left.get() > 0).unwrap_or(&any)));
                fields.len() - 1
            });
            misfit += self.fill_node(&mut fields[index], value, filling);
        }
        Some(misfit)
    }

    /// Selects the best matching alternative.
    fn fill_union(&self, node: &mut Node, value: &Json, filling: &Filling) -> u32 {
        let state = filling.state;
        let Kind::Union { variants, .. } = &node.kind else { return WRONG };
        let mut best: Option<(u32, usize, Node)> = None;
        for (index, (_, schema)) in variants.iter().enumerate() {
            let mut inner = Node { required: node.required, label: "value".into(), folded: false, ..self.blank(schema) };
            let misfit = self.fill_node(&mut inner, value, &filling.alternative());
            if best.as_ref().is_none_or(|(least, _, _)| misfit < *least) {
                best = Some((misfit, index, inner));
            }
            if misfit == 0 || filling.left.get() == 0 {
                break;
            }
        }
        let Some((misfit, index, filled)) = best else { return WRONG };
        if matches!(filled.kind, Kind::Raw(_)) && misfit >= WRONG {
            // No alternative matches.
            (node.kind, node.state) = (Kind::Raw(value.text()), state);
        } else if let Kind::Union { picked, inner, .. } = &mut node.kind {
            (*picked, **inner) = (index, filled);
            (node.state, node.folded) = (State::Unset, false);
        }
        misfit
    }
}

fn position(options: &[(String, Json)], value: &Json) -> Option<usize> {
    options.iter().position(|(_, option)| option == value)
}

fn is_whole(text: &str) -> bool {
    is_number(text) && (!text.contains(['.', 'e', 'E']) || text.parse::<f64>().is_ok_and(|n| n.fract() == 0.0))
}
