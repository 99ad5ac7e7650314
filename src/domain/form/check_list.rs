//! Check lists: the field of an array whose items are values of an enumeration.
//!
//! Each option is a child field, so that rows, cursor and clicks address it by its path. The value is a set: the checked
//! options in the order of the schema. Any other array, with a repeated item or in another order, turns the field into a
//! list of items.

use std::sync::Arc;

use super::{
    Form, Json, Kind, Node, Path, State,
    build::{Maker, Round},
    fill::Filling,
    shape::{self, Shape, label_of},
};

/// Maximum number of options of a check list. An array of an enumeration with more values is a list of items.
const MOST: usize = 64;
/// A check list with more options starts folded.
const UNFOLDED: usize = 16;

impl Maker {
    /// Returns the check list of an array with these items; `None` if they are not an enumeration.
    pub(super) fn check_list(&self, items: &Json, round: &Round) -> Option<Kind> {
        if round.values.get() == 0 || !shape::enumerates(items, self.schema()) {
            return None;
        }
        let place = shape::place(items, self.schema());
        round.values.set(round.values.get().saturating_sub(place.cost));
        let values = match place.shape {
            Shape::Choice(options) if !place.nullable && options.len() <= MOST => options,
            Shape::Const(value) if !place.nullable => vec![(label_of(&value), value)],
            _ => return None,
        };
        round.left.set(round.left.get().saturating_sub(values.len()));
        let options = values.into_iter().map(|(label, value)| option(label, value)).collect();
        Some(Kind::CheckList { options, rest: Arc::new(items.clone()) })
    }

    /// Turns a check list into a list of the checked items.
    pub(super) fn list_items(&self, node: &mut Node) {
        let Kind::CheckList { rest, .. } = &node.kind else { return };
        let (rest, checked) = (rest.clone(), node.value());
        node.kind = Kind::Array { items: vec![], prefix: Vec::new().into(), rest: Some(rest) };
        if let Some(checked @ Json::Array(_)) = checked {
            self.fill(node, &checked, State::Set);
        }
    }

    /// Checks the options with these values. Values that are not a set in the order of the schema become a list of items.
    pub(super) fn fill_check_list(&self, node: &mut Node, values: &[Json], filling: &Filling) -> Option<u32> {
        let Kind::CheckList { options, .. } = &mut node.kind else { return None };
        let index = |value: &Json| options.iter().position(|option| matches!(&option.kind, Kind::Const(own) if own == value));
        let checked: Option<Vec<usize>> = values.iter().map(index).collect();
        match checked.filter(|checked| checked.is_sorted_by(|one, next| one < next)) {
            Some(checked) => {
                for (at, option) in options.iter_mut().enumerate() {
                    option.state = if checked.contains(&at) { filling.state() } else { State::Unset };
                }
                Some(0)
            }
            None => {
                options.iter_mut().for_each(|option| option.state = State::Unset);
                self.list_items(node);
                self.fill_array(node, values, filling)
            }
        }
    }
}

/// Creates the field of an option.
fn option(label: String, value: Json) -> Node {
    Node {
        key: String::new(),
        label,
        description: String::new(),
        hint: String::new(),
        any: false,
        required: false,
        nullable: false,
        extra: false,
        state: State::Unset,
        schema: Arc::new(Json::Object(vec![("const".into(), value.clone())])),
        kind: Kind::Const(value),
        folded: false,
        default: None,
        error: None,
        note: None,
        missing: false,
        cost: 0,
        format: None,
    }
}

/// Returns whether a check list with this kind starts folded.
pub(super) fn starts_folded(kind: &Kind) -> bool {
    matches!(kind, Kind::CheckList { options, .. } if options.len() > UNFOLDED)
}

/// Sets the state of a check list after an option was checked or unchecked.
pub(super) fn settle(list: &mut Node) {
    let required = list.required;
    let Kind::CheckList { options, .. } = &mut list.kind else { return };
    let mut any = false;
    for option in options.iter_mut().filter(|option| option.state != State::Unset) {
        (option.state, any) = (State::Set, true);
    }
    list.state = match (any, required) {
        (true, _) => State::Set,
        (false, true) => State::Default,
        (false, false) => State::Unset,
    };
}

impl Form {
    /// Returns whether the field at `path` is an option of a check list.
    pub fn is_option(&self, path: &[usize]) -> bool {
        self.check_list(path).is_some_and(|list| list.len() < path.len())
    }

    /// Returns the path of the check list at `path`, or of the one whose option is there.
    pub fn check_list(&self, path: &[usize]) -> Option<Path> {
        let is_list = |path: &[usize]| self.node(path).is_some_and(|node| matches!(node.kind, Kind::CheckList { .. }));
        let parent = path.split_last().map(|(_, parent)| parent);
        [Some(path), parent].into_iter().flatten().find(|path| is_list(path)).map(<[usize]>::to_vec)
    }
}

impl Node {
    /// Returns the labels of the checked options of a check list.
    pub fn checked(&self) -> Vec<&str> {
        match &self.kind {
            Kind::CheckList { options, .. } => {
                options.iter().filter(|option| option.state != State::Unset).map(|option| option.label.as_str()).collect()
            }
            _ => vec![],
        }
    }

    /// Returns whether the schema requires at least one item.
    pub(super) fn needs_items(&self) -> bool {
        matches!(self.schema.get("minItems"), Some(Json::Number(least)) if least.parse::<f64>().is_ok_and(|least| least >= 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::body::Body;

    const COLOURS: &str = r##"{"type":"object","properties":{
        "colours":{"type":"array","items":{"type":"string","enum":["red","green","blue"]},"minItems":1,"maxItems":2},
        "sizes":{"type":"array","items":{"anyOf":[{"const":"s","title":"Small"},{"const":"l","title":"Large"}]},"default":["l"]},
        "codes":{"type":"array","items":{"$ref":"#/$defs/code"}}},
        "required":["colours"],"$defs":{"code":{"enum":[1,2]}}}"##;

    fn form(schema: &str) -> Form {
        Form::new(&Body::from(schema))
    }

    #[test]
    fn an_array_of_an_enumeration_is_a_check_list_in_the_order_of_the_schema() {
        let mut form = form(COLOURS);
        assert!(form.node(&[0]).unwrap().missing && !form.valid(), "one item is required");
        form.cycle(&[0, 2], 1);
        form.cycle(&[0, 0], 1);
        form.cycle(&[2, 1], 1);
        assert_eq!(form.json(), r#"{"colours":["red","blue"],"sizes":["l"],"codes":[2]}"#);
        assert!(form.valid(), "{:?}", form.violations());
        form.cycle(&[0, 1], 1);
        assert!(form.node(&[0]).unwrap().error.is_some(), "at most two");
        form.clear(&[0, 1]);
        assert!(form.valid() && form.node(&[0]).unwrap().checked() == ["red", "blue"]);
    }

    #[test]
    fn an_optional_check_list_without_checked_options_is_not_sent() {
        let mut form = form(COLOURS);
        form.pick(&[0, 1], 0);
        assert_eq!(form.node(&[1]).unwrap().checked(), ["Large"], "the default");
        form.cycle(&[1, 1], 1);
        assert_eq!(form.json(), r#"{"colours":["green"]}"#);
        form.set_empty(&[1]);
        assert_eq!(form.json(), r#"{"colours":["green"],"sizes":[]}"#);
    }

    #[test]
    fn an_array_that_is_not_a_set_in_order_is_a_list_of_items() {
        let mut form = form(COLOURS);
        for text in [r#"{"colours":["blue","red"]}"#, r#"{"colours":["red","red"]}"#, r#"{"colours":["red","pink"]}"#] {
            form.set_json(text).unwrap();
            assert_eq!(form.json(), text);
            assert!(matches!(form.node(&[0]).unwrap().kind, Kind::Array { .. }), "{text}");
        }
        form.set_json(r#"{"colours":["red"]}"#).unwrap();
        let added = form.add_item(&[0, 1]).unwrap();
        assert_eq!(added, [0, 1], "after the checked ones");
        form.pick(&added, 0);
        assert_eq!(form.json(), r#"{"colours":["red","red"]}"#);
        form.clear(&[0]);
        assert!(matches!(form.node(&[0]).unwrap().kind, Kind::CheckList { .. }));
    }

    #[test]
    fn items_that_are_not_a_short_enumeration_are_no_check_list() {
        let many: Vec<String> = (0..=MOST).map(|at| at.to_string()).collect();
        let large = format!(r#"{{"properties":{{"x":{{"type":"array","items":{{"enum":[{}]}}}}}}}}"#, many.join(","));
        let null = r#"{"properties":{"x":{"type":"array","items":{"enum":["a",null,"b"]}}}}"#;
        let text = r#"{"properties":{"x":{"type":"array","items":{"type":"string"}}}}"#;
        let tuple = r#"{"properties":{"x":{"type":"array","prefixItems":[{"type":"string"}],"items":{"enum":["a","b"]}}}}"#;
        for schema in [large.as_str(), null, text, tuple] {
            assert!(matches!(form(schema).node(&[0]).unwrap().kind, Kind::Array { .. }), "{schema}");
        }
    }
}
