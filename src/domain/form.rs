//! The argument form of a tool, generated from its JSON Schema.
//!
//! Owns the tree of fields, the entered values, and the lossless conversion to and from JSON text: numbers keep their
//! digits, and whatever a field cannot express becomes a raw JSON field in its place. Pure; `tui::widget::form` draws
//! the form and navigates it.
//!
//! A form sends every field that is set, every required object or array, and the defaults of the schema, since the
//! specification prefills forms with them. An optional field left empty is never sent.

mod build;
mod check;
mod check_list;
mod fill;
mod shape;

#[cfg(test)]
mod input_tests;
#[cfg(test)]
pub(crate) mod test_instances;
#[cfg(test)]
pub(crate) mod tests;

use std::{collections::HashMap, sync::Arc};

use self::build::Maker;
pub use self::shape::Others;
use super::{
    body::Body,
    json::{self, Json, SyntaxError},
    schema::Checker,
};

/// Maximum size of a schema that gets a form, in bytes.
const LARGEST: usize = 256 << 10;

/// The position of a field: the child index at each level, from the root.
pub type Path = Vec<usize>;

/// Whether a field has a value, and its origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Empty: not sent.
    #[default]
    Unset,
    /// Prefilled from the schema and unchanged.
    Default,
    /// Entered by the user.
    Set,
    /// Explicitly `null`.
    Null,
}

/// The content of a field. Parts of the schema are shared, because forms are cloned before each change.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Text.
    Text(String),
    /// The digits of a number as typed.
    Number {
        /// The text, valid or not.
        text: String,
        /// Whether it must be an integer.
        integer: bool,
    },
    /// A boolean.
    Bool(bool),
    /// One of several values.
    Choice {
        /// Label and value of each option.
        options: Arc<[(String, Json)]>,
        /// Index of the selected option.
        picked: usize,
    },
    /// A fixed value; set or not.
    Const(Json),
    /// Fields. Created on demand, so that schemas may be recursive.
    Object {
        /// The fields in schema order, undeclared ones last.
        fields: Vec<Node>,
        /// Whether the fields have been created.
        made: bool,
        /// The schemas of undeclared members; `None` if there may be none.
        extra: Option<Arc<Others>>,
    },
    /// Items.
    Array {
        /// The items.
        items: Vec<Node>,
        /// Schemas of the first items.
        prefix: Arc<[Json]>,
        /// Schema of the other items; `None` if there may be none.
        rest: Option<Arc<Json>>,
    },
    /// Any of several values: an array whose items are an enumeration.
    CheckList {
        /// The options, constants that are set if they are checked.
        options: Vec<Node>,
        /// Schema of the items.
        rest: Arc<Json>,
    },
    /// One of several alternatives.
    Union {
        /// Label and schema of each alternative.
        variants: Arc<[(String, Json)]>,
        /// Index of the selected alternative.
        picked: usize,
        /// The field of the selected alternative.
        inner: Box<Node>,
    },
    /// Raw JSON text: any JSON value.
    Raw(String),
}

/// A field.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name of the member; empty for the root, items and alternatives.
    pub key: String,
    /// Display name.
    pub label: String,
    /// Description from the schema.
    pub description: String,
    /// Short type description: `integer 1…10`.
    pub hint: String,
    /// Whether the schema allows any JSON.
    pub any: bool,
    /// Whether the value is required.
    pub required: bool,
    /// Whether `null` is allowed.
    pub nullable: bool,
    /// Whether the schema does not declare the field, so that it can be removed.
    pub extra: bool,
    /// Whether the field has a value.
    pub state: State,
    /// The content.
    pub kind: Kind,
    /// Whether the children are hidden.
    pub folded: bool,
    /// The default from the schema.
    pub default: Option<Json>,
    /// The validation error.
    pub error: Option<String>,
    /// A warning about a value that can be sent: an unmatched format.
    pub note: Option<String>,
    /// Whether the field is required and empty.
    pub missing: bool,
    /// Cost of deriving the field from the schema, in JSON values.
    cost: usize,
    schema: Arc<Json>,
    format: Option<Arc<jsonschema::Validator>>,
}

/// A visible row of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The field.
    pub path: Path,
    /// Indentation level, from 0.
    pub depth: usize,
}

/// Whether a text that does not match the format of its schema may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Formats {
    /// It may: JSON Schema leaves open whether formats are binding. The field has a warning.
    #[default]
    Advisory,
    /// It is an error, as in the answer to a question of a server (MCP, elicitation).
    Required,
}

/// A form.
pub struct Form {
    maker: Maker,
    root: Node,
    checker: Checker,
    formats: Formats,
    /// Why the schema, or a part of it, is not checked.
    schema_problem: Option<String>,
    /// Whether validation is too slow to run on every key.
    unchecked: bool,
    /// Cached checkers of alternatives, by schema.
    alternatives: HashMap<String, Checker>,
    /// Problems of the whole form, or without a field of their own.
    pub problems: Vec<String>,
}

impl Form {
    /// Creates the form for a schema. A schema that is invalid, not an object schema, or larger than `LARGEST`
    /// becomes a single raw JSON field. Fast for any schema: forms are created and validated on the render thread.
    pub fn new(schema: &Body) -> Form {
        Form::with_formats(schema, Formats::Advisory)
    }

    /// Creates a form, as [`Form::new`], with this rule for formats.
    pub fn with_formats(schema: &Body, formats: Formats) -> Form {
        let small = Some(schema).filter(|schema| schema.len() <= LARGEST);
        let root_schema = small.and_then(|schema| Json::parse(&schema.text()).ok()).unwrap_or(Json::Bool(true));
        let maker = Maker::new(root_schema.clone());
        let root = maker.root(true);
        let checker = Checker::quick(schema);
        let schema_problem = checker.unchecked();
        let mut form =
            Form { maker, root, checker, formats, schema_problem, unchecked: false, alternatives: HashMap::new(), problems: vec![] };
        form.check();
        form
    }

    /// Returns why the input is not validated against the schema, if it is not.
    pub fn schema_problem(&self) -> Option<&str> {
        self.schema_problem.as_deref().or(self.unchecked.then_some("too large to validate while you type"))
    }

    /// Returns the root field.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Returns the field at `path`.
    pub fn node(&self, path: &[usize]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, index| node.children().get(*index))
    }

    fn node_mut(&mut self, path: &[usize]) -> Option<&mut Node> {
        path.iter().try_fold(&mut self.root, |node, index| node.children_mut().get_mut(*index))
    }

    /// Returns whether the schema explicitly allows undeclared members at the root.
    pub fn open(&self) -> bool {
        let allows = |key| self.root.schema.get(key).is_some_and(|schema| *schema != Json::Bool(false));
        matches!(self.root.kind, Kind::Object { extra: Some(_), .. }) && (allows("additionalProperties") || allows("patternProperties"))
    }

    /// Returns the visible rows. The root has a row only if it is not a plain object.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = vec![];
        match &self.root.kind {
            // Only undeclared members are possible: the root needs a row from which the first one is added.
            Kind::Object { .. } if self.open() && self.root.declared().is_empty() => visit(&self.root, &mut vec![], 0, &mut rows),
            Kind::Object { .. } => visit_children(&self.root, &mut vec![], 0, &mut rows),
            _ => visit(&self.root, &mut vec![], 0, &mut rows),
        }
        rows
    }

    /// Returns the arguments as compact JSON text.
    pub fn json(&self) -> String {
        self.root.value().unwrap_or(Json::Object(vec![])).text()
    }

    /// Returns the arguments as a body, ready to send.
    pub fn body(&self) -> Body {
        Body::from(self.json())
    }

    /// Replaces the content by JSON text. On a syntax error, nothing changes.
    pub fn set_json(&mut self, text: &str) -> Result<(), SyntaxError> {
        let value = if text.trim().is_empty() { Json::Object(vec![]) } else { Json::parse(text)? };
        let mut root = self.maker.root(false);
        self.maker.fill(&mut root, &value, State::Set);
        self.root = root;
        self.check();
        Ok(())
    }

    /// Restores an earlier [`Form::root`] of this form.
    pub fn restore(&mut self, root: Node) {
        self.root = root;
        self.check();
    }

    /// Resets the form to the schema's defaults.
    pub fn reset(&mut self) {
        self.root = self.maker.root(true);
        self.check();
    }

    /// Returns whether the arguments match the schema, as far as it can be used.
    pub fn valid(&self) -> bool {
        self.problems.is_empty() && self.root.is_valid()
    }

    /// Returns why [`Form::valid`] is false, each with the name of its field.
    pub fn violations(&self) -> Vec<String> {
        let mut found = self.problems.clone();
        collect_violations(&self.root, "", &mut found);
        found
    }

    /// Returns the editable text at `path`: of a text, number or raw JSON field.
    pub fn text(&self, path: &[usize]) -> Option<&str> {
        match &self.node(path)?.kind {
            Kind::Text(text) | Kind::Raw(text) | Kind::Number { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Sets the text at `path`. Empty text unsets the field.
    pub fn set_text(&mut self, path: &[usize], new: &str) {
        self.edit(path, |_, node| {
            let (Kind::Text(text) | Kind::Raw(text) | Kind::Number { text, .. }) = &mut node.kind else { return };
            new.clone_into(text);
            node.state = if new.is_empty() { State::Unset } else { State::Set };
        });
    }

    /// Sets the field to an empty string, which [`Form::set_text`] would unset; an object or list is sent as is, even
    /// if empty.
    pub fn set_empty(&mut self, path: &[usize]) {
        self.edit(path, |_, node| match &mut node.kind {
            Kind::Text(text) => {
                text.clear();
                node.state = State::Set;
            }
            Kind::Object { .. } | Kind::Array { .. } => node.state = State::Set,
            Kind::CheckList { options, .. } => {
                options.iter_mut().for_each(|option| option.state = State::Unset);
                node.state = State::Set;
            }
            _ => {}
        });
    }

    /// Sets the field to `null` if the schema allows it. Returns whether it does.
    pub fn set_null(&mut self, path: &[usize]) -> bool {
        let allowed = self.node(path).is_some_and(|node| node.nullable);
        if allowed {
            self.edit(path, |_, node| node.state = State::Null);
        }
        allowed
    }

    /// Clears the field; raw JSON in place of a typed field is replaced by that field.
    pub fn clear(&mut self, path: &[usize]) {
        let option = self.is_option(path);
        self.edit(path, |maker, node| if option { node.state = State::Unset } else { maker.clear(node) });
    }

    /// Selects the next (for a negative `step`, previous) value of a boolean, choice, constant or alternative. An
    /// optional field also passes through the unset state.
    pub fn cycle(&mut self, path: &[usize], step: isize) {
        self.edit(path, |maker, node| maker.cycle(node, step));
    }

    /// Selects the option or alternative with this index.
    pub fn pick(&mut self, path: &[usize], index: usize) {
        self.edit(path, |maker, node| maker.pick(node, index));
    }

    /// Adds an item to the array at `path`, or after the item at `path`. Returns the path of the new item. A check list
    /// becomes a list of items.
    pub fn add_item(&mut self, path: &[usize]) -> Option<Path> {
        let list = self.check_list(path);
        if let Some(list) = &list {
            self.edit(list, |maker, node| maker.list_items(node));
        }
        let path = list.as_deref().unwrap_or(path);
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
                // Items with their own schemas keep their positions.
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

    /// Adds an undeclared member to the object at `path`. Returns its path, or that of an existing member of this
    /// name; `None` if the schema does not allow the name.
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

    /// Removes the array item or undeclared member at `path`. Returns whether there was one.
    pub fn remove(&mut self, path: &[usize]) -> bool {
        let Some((last, parent)) = path.split_last() else { return false };
        let mut removed = false;
        self.edit(parent, |_, node| match &mut node.kind {
            Kind::Array { items, .. } if *last < items.len() => {
                items.remove(*last);
                relabel(items);
                let left = match (items.is_empty(), node.required) {
                    (false, _) => State::Set,
                    (true, true) => State::Default,
                    (true, false) => State::Unset,
                };
                (node.state, removed) = (left, true);
            }
            Kind::Object { fields, .. } if fields.get(*last).is_some_and(|field| field.extra) => {
                fields.remove(*last);
                removed = true;
            }
            _ => {}
        });
        removed
    }

    /// Moves the array item at `path` by `step` positions. Returns its new path.
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

    /// Changes a field and validates the form.
    fn edit(&mut self, path: &[usize], change: impl FnOnce(&Maker, &mut Node)) {
        let maker = self.maker.clone();
        if let Some(node) = self.node_mut(path) {
            change(&maker, node);
        }
        if self.is_option(path)
            && let Some(list) = path.split_last().and_then(|(_, list)| self.node_mut(list))
        {
            check_list::settle(list);
        }
        self.check();
    }
}

fn collect_violations(node: &Node, path: &str, found: &mut Vec<String>) {
    if node.is_valid() {
        return;
    }
    let path = match (path.is_empty(), node.label.as_str()) {
        _ if node.key.is_empty() && !matches!(node.label.bytes().next(), Some(b'0'..=b'9')) => path.to_owned(),
        (true, label) => label.to_owned(),
        (false, label) => format!("{path}.{label}"),
    };
    let message = node.error.as_deref().or(node.missing.then_some("required"));
    found.extend(message.map(|message| if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") }));
    node.children().iter().for_each(|child| collect_violations(child, &path, found));
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
            // The fields of the alternative are shown directly below the choice.
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
    /// Returns the child fields.
    pub fn children(&self) -> &[Node] {
        match &self.kind {
            Kind::Object { fields, .. } => fields,
            Kind::Array { items, .. } => items,
            Kind::CheckList { options, .. } => options,
            Kind::Union { inner, .. } => std::slice::from_ref(inner),
            _ => &[],
        }
    }

    fn children_mut(&mut self) -> &mut [Node] {
        match &mut self.kind {
            Kind::Object { fields, .. } => fields,
            Kind::Array { items, .. } => items,
            Kind::CheckList { options, .. } => options,
            Kind::Union { inner, .. } => std::slice::from_mut(inner),
            _ => &mut [],
        }
    }

    /// Returns whether the field can be folded.
    pub fn foldable(&self) -> bool {
        self.state != State::Null
            && matches!(self.kind, Kind::Object { .. } | Kind::Array { .. } | Kind::CheckList { .. } | Kind::Union { .. })
    }

    /// Returns whether the field or a descendant was entered, so that its parents are sent.
    pub fn active(&self) -> bool {
        matches!(self.state, State::Set | State::Null) || self.children().iter().any(Node::active)
    }

    /// Returns whether the field and its descendants have no errors.
    pub fn is_valid(&self) -> bool {
        self.error.is_none() && !self.missing && (!self.sent() || self.state == State::Null || self.children().iter().all(Node::is_valid))
    }

    fn sent(&self) -> bool {
        self.required || self.state != State::Unset || self.active()
    }

    /// Returns the names of the declared members, whether their fields are created or not.
    pub fn declared(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Object { fields, made: true, .. } => fields.iter().map(|field| field.key.as_str()).collect(),
            _ => self.schema.get("properties").map(Json::members).unwrap_or_default().iter().map(|(key, _)| key.as_str()).collect(),
        }
    }

    /// Returns the value; `None` if it is not sent.
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
            Kind::CheckList { options, .. } => {
                let checked: Vec<Json> = options.iter().filter_map(Node::value).collect();
                (set || !checked.is_empty()).then_some(Json::Array(checked))
            }
            Kind::Union { inner, .. } => inner.value(),
        }
    }

    /// Returns the value of an array item, which is always sent.
    fn item_value(&self) -> Json {
        self.value().unwrap_or_else(|| match self.kind {
            Kind::Text(_) => Json::String(String::new()),
            Kind::Object { .. } => Json::Object(vec![]),
            Kind::Array { .. } | Kind::CheckList { .. } => Json::Array(vec![]),
            _ => Json::Null,
        })
    }
}
