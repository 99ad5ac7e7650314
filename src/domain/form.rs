//! A form for the arguments of a tool, made from its JSON Schema.
//!
//! Owns the tree of fields, what the user entered, and the way between it and JSON text, on which
//! nothing is lost: numbers keep their digits, and what a field cannot express becomes a field of
//! raw JSON at that place. Pure; `tui::widget::form` draws it and moves about in it.
//!
//! What is sent: a field that is set; a required object or array in any case; a default of the
//! schema, since the specification has forms prefilled with it. Never an optional field left empty.

mod build;
mod check;
mod fill;
pub mod json;
mod shape;

#[cfg(test)]
mod entering;
#[cfg(test)]
pub(crate) mod instances;
#[cfg(test)]
pub(crate) mod tests;

use std::{collections::HashMap, sync::Arc};

use self::build::Maker;
pub use self::{
    json::{Json, SyntaxError},
    shape::Others,
};
use super::{body::Body, schema::Checker};

/// The largest schema that a form is made for, in bytes.
const LARGEST: usize = 256 << 10;

/// Where a field stands: the index of the child at each level, from the root.
pub type Path = Vec<usize>;

/// Whether a field has a value, and from whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Empty: not sent.
    #[default]
    Unset,
    /// Prefilled from the schema and not touched.
    Default,
    /// Entered.
    Set,
    /// Explicitly `null`.
    Null,
}

/// What stands in a field. What comes from the schema is shared: forms are kept as they were before each change.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Text.
    Text(String),
    /// The digits of a number as typed.
    Number {
        /// The text, valid or not.
        text: String,
        /// Whether it should be whole.
        integer: bool,
    },
    /// Yes or no.
    Bool(bool),
    /// One of several values.
    Choice {
        /// Label and value of each.
        options: Arc<[(String, Json)]>,
        /// The chosen one.
        picked: usize,
    },
    /// This value only; set or not.
    Const(Json),
    /// Fields. Made when first needed, so that schemas may refer to themselves.
    Object {
        /// The fields, in the order of the schema, others after them.
        fields: Vec<Node>,
        /// Whether the fields have been made.
        made: bool,
        /// The schemas of members that are not declared; `None` when there may be none.
        extra: Option<Arc<Others>>,
    },
    /// Items.
    Array {
        /// The items.
        items: Vec<Node>,
        /// Schemas of the first ones.
        prefix: Arc<[Json]>,
        /// Schema of the others; `None` when there may be none.
        rest: Option<Arc<Json>>,
    },
    /// One of several alternatives.
    Union {
        /// Label and schema of each.
        variants: Arc<[(String, Json)]>,
        /// The chosen one.
        picked: usize,
        /// The field for it.
        inner: Box<Node>,
    },
    /// JSON text: anything goes that is JSON.
    Raw(String),
}

/// A field.
#[derive(Clone, Debug)]
pub struct Node {
    /// The member's name; empty for the root, items and alternatives.
    pub key: String,
    /// The name to be shown.
    pub label: String,
    /// What the schema says about it.
    pub description: String,
    /// The type in few words: `integer 1…10`.
    pub hint: String,
    /// Whether the schema allows any JSON.
    pub any: bool,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it may be `null`.
    pub nullable: bool,
    /// Whether it is not declared by the schema and can be taken away.
    pub extra: bool,
    /// Whether it has a value.
    pub state: State,
    /// What it holds.
    pub kind: Kind,
    /// Whether its children are hidden.
    pub folded: bool,
    /// The schema's default.
    pub default: Option<Json>,
    /// What is wrong with it.
    pub error: Option<String>,
    /// What looks odd about it but can be sent: a format that does not fit.
    pub note: Option<String>,
    /// Whether it is required and empty.
    pub missing: bool,
    /// What finding out what it is took, in values of JSON.
    cost: usize,
    schema: Arc<Json>,
    format: Option<Arc<jsonschema::Validator>>,
}

/// A row of a form as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The field.
    pub path: Path,
    /// How deep it stands, from 0.
    pub depth: usize,
}

/// A form.
pub struct Form {
    maker: Maker,
    root: Node,
    checker: Checker,
    /// Whether checking takes too long to be done with every key.
    unchecked: bool,
    /// Checkers of alternatives, by their schemas: made once, not at every key.
    alternatives: HashMap<String, Checker>,
    /// What is wrong with the whole, or cannot be told of one field.
    pub problems: Vec<String>,
}

impl Form {
    /// Makes the form for a schema. One that is not JSON or not an object schema gives a field of raw JSON, and so does one larger
    /// than `LARGEST`. Quick whatever the schema is: forms are made and judged by the thread that draws.
    pub fn new(schema: &Body) -> Form {
        let small = Some(schema).filter(|schema| schema.len() <= LARGEST);
        let root_schema = small.and_then(|schema| Json::parse(&schema.text()).ok()).unwrap_or(Json::Bool(true));
        let maker = Maker::new(root_schema.clone());
        let root = maker.root(true);
        let mut form =
            Form { maker, root, checker: Checker::quick(schema), unchecked: false, alternatives: HashMap::new(), problems: vec![] };
        form.check();
        form
    }

    /// Why the schema is not used to check what is entered, if it is not.
    pub fn schema_problem(&self) -> Option<&str> {
        self.checker.problem.as_deref().or(self.unchecked.then_some("this is too large to be checked while you type"))
    }

    /// The field of the whole.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The field at `path`.
    pub fn node(&self, path: &[usize]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, index| node.children().get(*index))
    }

    fn node_mut(&mut self, path: &[usize]) -> Option<&mut Node> {
        path.iter().try_fold(&mut self.root, |node, index| node.children_mut().get_mut(*index))
    }

    /// Whether the whole says in so many words that it takes members that it does not declare.
    pub fn open(&self) -> bool {
        let said = |key| self.root.schema.get(key).is_some_and(|schema| *schema != Json::Bool(false));
        matches!(self.root.kind, Kind::Object { extra: Some(_), .. }) && (said("additionalProperties") || said("patternProperties"))
    }

    /// The rows to be shown, folded ones left out. The root has a row only when it is no plain object.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = vec![];
        match &self.root.kind {
            // Nothing but members of any name: there must be a row from which the first one is added.
            Kind::Object { .. } if self.open() && self.root.declared().is_empty() => visit(&self.root, &mut vec![], 0, &mut rows),
            Kind::Object { .. } => visit_children(&self.root, &mut vec![], 0, &mut rows),
            _ => visit(&self.root, &mut vec![], 0, &mut rows),
        }
        rows
    }

    /// The arguments as compact JSON text.
    pub fn json(&self) -> String {
        self.root.value().unwrap_or(Json::Object(vec![])).text()
    }

    /// The arguments as a body, ready to be sent.
    pub fn body(&self) -> Body {
        Body::from(self.json())
    }

    /// Fills the form from JSON text; what was in it is gone. On a syntax error nothing changes.
    pub fn set_json(&mut self, text: &str) -> Result<(), SyntaxError> {
        let value = if text.trim().is_empty() { Json::Object(vec![]) } else { Json::parse(text)? };
        let mut root = self.maker.root(false);
        self.maker.fill(&mut root, &value, State::Set);
        self.root = root;
        self.check();
        Ok(())
    }

    /// Puts back what [`Form::root`] was of this form before.
    pub fn restore(&mut self, root: Node) {
        self.root = root;
        self.check();
    }

    /// Empties the form; defaults stand again.
    pub fn reset(&mut self) {
        self.root = self.maker.root(true);
        self.check();
    }

    /// Whether the arguments fit the schema, as far as it can be used.
    pub fn valid(&self) -> bool {
        self.problems.is_empty() && self.root.sound()
    }

    /// The text that is edited at `path`: of text, a number, raw JSON.
    pub fn text(&self, path: &[usize]) -> Option<&str> {
        match &self.node(path)?.kind {
            Kind::Text(text) | Kind::Raw(text) | Kind::Number { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Sets the text at `path`. An empty one unsets the field.
    pub fn set_text(&mut self, path: &[usize], new: &str) {
        self.edit(path, |_, node| {
            let (Kind::Text(text) | Kind::Raw(text) | Kind::Number { text, .. }) = &mut node.kind else { return };
            new.clone_into(text);
            node.state = if new.is_empty() { State::Unset } else { State::Set };
        });
    }

    /// Sends an empty string, which [`Form::set_text`] would leave out; an object or a list is sent as
    /// it stands, however empty.
    pub fn set_empty(&mut self, path: &[usize]) {
        self.edit(path, |_, node| match &mut node.kind {
            Kind::Text(text) => {
                text.clear();
                node.state = State::Set;
            }
            Kind::Object { .. } | Kind::Array { .. } => node.state = State::Set,
            _ => {}
        });
    }

    /// Sets the field to `null` where the schema allows that. Says whether it does.
    pub fn set_null(&mut self, path: &[usize]) -> bool {
        let allowed = self.node(path).is_some_and(|node| node.nullable);
        if allowed {
            self.edit(path, |_, node| node.state = State::Null);
        }
        allowed
    }

    /// Empties the field; raw JSON that stood for a typed field gives way to it.
    pub fn clear(&mut self, path: &[usize]) {
        self.edit(path, |maker, node| maker.clear(node));
    }

    /// The next (or for a negative `step` previous) value of a boolean, choice, constant or
    /// alternative; an optional one passes through empty.
    pub fn cycle(&mut self, path: &[usize], step: isize) {
        self.edit(path, |maker, node| maker.cycle(node, step));
    }

    /// Chooses the option or alternative of that number.
    pub fn pick(&mut self, path: &[usize], index: usize) {
        self.edit(path, |maker, node| maker.pick(node, index));
    }

    /// Adds an item to the array at `path`, or after the item at `path`. Gives the new item's path.
    pub fn add_item(&mut self, path: &[usize]) -> Option<Path> {
        let (array, at) = match &self.node(path)?.kind {
            Kind::Array { items, .. } => (path.to_vec(), items.len()),
            _ => {
                let (last, parent) = path.split_last()?;
                (parent.to_vec(), last + 1)
            }
        };
        let mut added = None;
        self.edit(&array, |maker, node| {
            let Kind::Array { items, prefix, rest } = &mut node.kind else { return };
            if at < prefix.len().max(items.len()) && at != items.len() {
                // Items with their own schemas keep their places.
                if at < prefix.len() {
                    return;
                }
            }
            let Some(schema) = prefix.get(at).or(rest.as_deref()) else { return };
            items.insert(at, maker.item(schema));
            relabel(items);
            (node.state, node.folded) = (State::Set, false);
            added = Some([array.as_slice(), &[at]].concat());
        });
        added
    }

    /// Adds a member that the schema does not declare to the object at `path`. Gives its path; the
    /// path of the one of that name if there is one; `None` when the schema allows no other member of that name.
    pub fn add_member(&mut self, path: &[usize], key: &str) -> Option<Path> {
        let mut added = None;
        self.edit(path, |maker, node| {
            maker.make(node);
            let Kind::Object { fields, extra, .. } = &mut node.kind else { return };
            let index = fields.iter().position(|field| field.key == key);
            let schema = extra.as_ref().and_then(|others| others.of(key));
            let index = match (index, schema) {
                (Some(index), _) => index,
                (None, Some(schema)) => {
                    fields.push(maker.member(key, &schema));
                    fields.len() - 1
                }
                (None, None) => return,
            };
            node.folded = false;
            added = Some([path, &[index]].concat());
        });
        added
    }

    /// Takes away the array item or undeclared member at `path`. Says whether there was one.
    pub fn remove(&mut self, path: &[usize]) -> bool {
        let Some((last, parent)) = path.split_last() else { return false };
        let mut gone = false;
        self.edit(parent, |_, node| match &mut node.kind {
            Kind::Array { items, .. } if *last < items.len() => {
                items.remove(*last);
                relabel(items);
                let left = match (items.is_empty(), node.required) {
                    (false, _) => State::Set,
                    (true, true) => State::Default,
                    (true, false) => State::Unset,
                };
                (node.state, gone) = (left, true);
            }
            Kind::Object { fields, .. } if fields.get(*last).is_some_and(|field| field.extra) => {
                fields.remove(*last);
                gone = true;
            }
            _ => {}
        });
        gone
    }

    /// Moves the array item at `path` by `step` places. Gives its new path.
    pub fn shift(&mut self, path: &[usize], step: isize) -> Option<Path> {
        let (last, parent) = path.split_last()?;
        let mut moved = None;
        self.edit(parent, |_, node| {
            let Kind::Array { items, prefix, .. } = &mut node.kind else { return };
            let Some(to) = last.checked_add_signed(step).filter(|to| *to < items.len()) else { return };
            if *last < prefix.len() || to < prefix.len() {
                return;
            }
            items.swap(*last, to);
            relabel(items);
            node.state = State::Set;
            moved = Some([parent, &[to]].concat());
        });
        moved
    }

    /// Hides or shows the children of the field at `path`.
    pub fn fold(&mut self, path: &[usize], folded: bool) {
        let maker = self.maker.clone();
        if let Some(node) = self.node_mut(path) {
            if !folded {
                maker.make(node);
            }
            node.folded = folded;
        }
        self.check();
    }

    /// Changes a field, then judges the whole again.
    fn edit(&mut self, path: &[usize], change: impl FnOnce(&Maker, &mut Node)) {
        let maker = self.maker.clone();
        if let Some(node) = self.node_mut(path) {
            change(&maker, node);
        }
        self.check();
    }
}

fn relabel(items: &mut [Node]) {
    for (index, item) in items.iter_mut().enumerate() {
        item.label = (index + 1).to_string();
    }
}

fn visit(node: &Node, path: &mut Path, depth: usize, rows: &mut Vec<Row>) {
    rows.push(Row { path: path.clone(), depth });
    if !node.folded && node.state != State::Null {
        visit_children(node, path, depth + 1, rows);
    }
}

fn visit_children(node: &Node, path: &mut Path, depth: usize, rows: &mut Vec<Row>) {
    if let Kind::Union { inner, .. } = &node.kind {
        path.push(0);
        match inner.kind {
            // The alternative's fields stand right under the choice.
            Kind::Object { .. } => visit_children(inner, path, depth, rows),
            Kind::Const(_) => {}
            _ => visit(inner, path, depth, rows),
        }
        path.pop();
        return;
    }
    for (index, child) in node.children().iter().enumerate() {
        path.push(index);
        visit(child, path, depth, rows);
        path.pop();
    }
}

impl Node {
    /// The fields inside of it.
    pub fn children(&self) -> &[Node] {
        match &self.kind {
            Kind::Object { fields, .. } => fields,
            Kind::Array { items, .. } => items,
            Kind::Union { inner, .. } => std::slice::from_ref(inner),
            _ => &[],
        }
    }

    fn children_mut(&mut self) -> &mut [Node] {
        match &mut self.kind {
            Kind::Object { fields, .. } => fields,
            Kind::Array { items, .. } => items,
            Kind::Union { inner, .. } => std::slice::from_mut(inner),
            _ => &mut [],
        }
    }

    /// Whether it can be folded.
    pub fn foldable(&self) -> bool {
        self.state != State::Null && matches!(self.kind, Kind::Object { .. } | Kind::Array { .. } | Kind::Union { .. })
    }

    /// Whether something in it was entered, so that what is around it is sent too.
    pub fn active(&self) -> bool {
        matches!(self.state, State::Set | State::Null) || self.children().iter().any(Node::active)
    }

    /// Whether nothing in it or under it is wrong.
    pub fn sound(&self) -> bool {
        self.error.is_none() && !self.missing && (!self.sent() || self.state == State::Null || self.children().iter().all(Node::sound))
    }

    fn sent(&self) -> bool {
        self.required || self.state != State::Unset || self.active()
    }

    /// The names of the members that the schema declares, made or not.
    pub fn declared(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Object { fields, made: true, .. } => fields.iter().map(|field| field.key.as_str()).collect(),
            _ => self.schema.get("properties").map(Json::members).unwrap_or_default().iter().map(|(key, _)| key.as_str()).collect(),
        }
    }

    /// Its value, `None` when it is left out.
    pub fn value(&self) -> Option<Json> {
        if self.state == State::Null {
            return Some(Json::Null);
        }
        let set = self.state != State::Unset;
        match &self.kind {
            Kind::Text(text) => set.then(|| Json::String(text.clone())),
            Kind::Number { text, .. } => {
                set.then(|| if json::is_number(text) { Json::Number(text.clone()) } else { Json::String(text.clone()) })
            }
            Kind::Raw(text) => set.then(|| Json::parse(text).unwrap_or_else(|_| Json::String(text.clone()))),
            Kind::Bool(value) => set.then_some(Json::Bool(*value)),
            Kind::Choice { options, picked } => options.get(*picked).filter(|_| set).map(|(_, value)| value.clone()),
            Kind::Const(value) => set.then(|| value.clone()),
            Kind::Object { fields, .. } => (set || self.active())
                .then(|| Json::Object(fields.iter().filter_map(|field| Some((field.key.clone(), field.value()?))).collect())),
            Kind::Array { items, .. } => (set || !items.is_empty()).then(|| Json::Array(items.iter().map(Node::item_value).collect())),
            Kind::Union { inner, .. } => inner.value(),
        }
    }

    /// The value of an array's item, which cannot be left out.
    fn item_value(&self) -> Json {
        self.value().unwrap_or_else(|| match self.kind {
            Kind::Text(_) => Json::String(String::new()),
            Kind::Object { .. } => Json::Object(vec![]),
            Kind::Array { .. } => Json::Array(vec![]),
            _ => Json::Null,
        })
    }
}
