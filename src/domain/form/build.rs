//! Creates fields from schemas, and recreates them when a choice changes.

use std::{cell::Cell, collections::HashSet, sync::Arc};

use super::{
    Json, Kind, Node, State, check_list,
    fill::FIELDS,
    shape::{self, Shape},
};

/// Depth of fields created in one round; deeper ones are created when opened.
const DEPTH: usize = 4;
/// Maximum number of fields created in one round.
const NODES: usize = 2_000;
/// Maximum number of JSON values read and copied in one round.
const COPIED: usize = 400_000;

/// Creates fields for parts of one schema.
#[derive(Clone)]
pub(super) struct Maker {
    root: Arc<Json>,
}

/// Limits of one round.
pub(super) struct Round {
    defaults: bool,
    pub(super) left: Cell<usize>,
    pub(super) values: Cell<usize>,
    /// Fields that defaults may fill.
    fields: Cell<u32>,
}

impl Maker {
    pub fn new(root: Json) -> Maker {
        Maker { root: Arc::new(root) }
    }

    pub fn schema(&self) -> &Json {
        &self.root
    }

    /// Creates the root field; with `defaults`, prefilled from the schema.
    pub fn root(&self, defaults: bool) -> Node {
        let mut node = self.node("", &self.root, true, 0, &round(defaults));
        self.make_with(&mut node, 0, &round(defaults));
        (node.folded, node.nullable) = (false, false);
        if let (true, Some(default @ Json::Object(_))) = (defaults, node.default.clone()) {
            self.fill(&mut node, &default, State::Default);
        }
        node
    }

    /// Creates an item of an array.
    pub fn item(&self, schema: &Json) -> Node {
        let mut node = self.node("", schema, true, 0, &round(true));
        self.make(&mut node);
        node.folded = false;
        node
    }

    /// Creates a blank item, to be filled.
    pub fn blank(&self, schema: &Json) -> Node {
        self.node("", schema, true, DEPTH, &round(false))
    }

    /// Creates a field for an undeclared member.
    pub fn member(&self, key: &str, schema: &Json) -> Node {
        Node { extra: true, ..self.node(key, schema, false, 0, &round(false)) }
    }

    /// Creates an empty copy of a field.
    pub fn blank_like(&self, node: &Node) -> Node {
        let fresh = self.node(&node.key, &node.schema, node.required, DEPTH, &round(false));
        Node { label: node.label.clone(), extra: node.extra, folded: node.folded, ..fresh }
    }

    /// Clears a field.
    pub fn clear(&self, node: &mut Node) {
        let mut fresh = self.blank_like(node);
        if node.required && matches!(fresh.kind, Kind::Array { .. } | Kind::CheckList { .. } | Kind::Object { .. }) {
            fresh.state = State::Default;
        }
        if !fresh.folded {
            self.make_with(&mut fresh, 0, &round(false));
        }
        *node = fresh;
    }

    /// Creates the fields of an object if they do not exist yet.
    pub fn make(&self, node: &mut Node) {
        self.make_with(node, 0, &round(true));
    }

    /// Creates the fields of an object without the schema's defaults.
    pub fn make_blank(&self, node: &mut Node) {
        self.make_with(node, DEPTH, &round(false));
    }

    fn make_with(&self, node: &mut Node, depth: usize, round: &Round) {
        if let Kind::Union { inner, .. } = &mut node.kind {
            return self.make_with(inner, depth, round);
        }
        let Kind::Object { fields, made: made @ false, .. } = &mut node.kind else { return };
        let Shape::Object { properties, required, .. } = shape::place(&node.schema, &self.root).shape else { return };
        *made = true;
        let required: HashSet<&String> = required.iter().collect();
        fields.extend(properties.iter().map(|(key, schema)| self.node(key, schema, required.contains(key), depth + 1, round)));
    }

    fn node(&self, key: &str, schema: &Json, required: bool, depth: usize, round: &Round) -> Node {
        // Once the read limit is reached, the remaining fields are raw JSON.
        let place = if round.values.get() > 0 { shape::place(schema, &self.root) } else { shape::Place::any() };
        round.values.set(round.values.get().saturating_sub(1 + place.cost));
        let mut node = Node {
            key: key.to_owned(),
            label: key.to_owned(),
            description: description(&place.schema, key),
            hint: hint(&place),
            any: matches!(place.shape, Shape::Any),
            required,
            nullable: place.nullable,
            extra: false,
            state: State::Unset,
            kind: Kind::Raw(String::new()),
            folded: false,
            default: place.schema.get("default").cloned(),
            error: None,
            note: None,
            missing: false,
            format: format(&place.schema),
            cost: place.cost,
            schema: Arc::new(place.schema),
        };
        round.left.set(round.left.get().saturating_sub(1));
        // A merged schema has no `$ref`, so creating the field again gives the same result.
        if let Shape::Union(_) = place.shape
            && round.values.get() > 0
        {
            node.schema = Arc::new(schema.clone());
        }
        node.kind = self.kind(place.shape, &mut node, depth, round);
        if round.defaults {
            self.prefill(&mut node, round);
        }
        node
    }

    fn kind(&self, shape: Shape, node: &mut Node, depth: usize, round: &Round) -> Kind {
        match shape {
            Shape::Text => Kind::Text(String::new()),
            Shape::Number { integer } => Kind::Number { text: String::new(), integer },
            Shape::Bool => Kind::Bool(false),
            Shape::Choice(options) => Kind::Choice { options: options.into(), picked: 0 },
            Shape::Const(value) => {
                node.state = preset(node, round);
                Kind::Const(value)
            }
            Shape::Any => Kind::Raw(String::new()),
            Shape::Array { prefix, items } => {
                node.state = preset(node, round);
                if let Some(list) = items.as_ref().filter(|_| prefix.is_empty()).and_then(|items| self.check_list(items, round)) {
                    node.hint = with_limits("any of", &range(&node.schema, "minItems", "maxItems"), node.nullable);
                    node.folded = check_list::starts_folded(&list);
                    return list;
                }
                Kind::Array { items: vec![], prefix: prefix.into(), rest: items.map(Arc::new) }
            }
            Shape::Union(variants) => {
                let shallow = depth < DEPTH * 2 && round.left.get() > 0;
                match variants.first().filter(|_| shallow) {
                    Some((_, first)) => {
                        let inner = self.variant(first, node.required, depth + 1, round);
                        Kind::Union { inner: Box::new(inner), variants: variants.into(), picked: 0 }
                    }
                    None => Kind::Raw(String::new()),
                }
            }
            Shape::Object { others, .. } => {
                let extra = others.any().then(|| Arc::new(others));
                let mut made = Node { kind: Kind::Object { fields: vec![], made: false, extra }, ..node.clone() };
                let open = node.required && depth < DEPTH && round.left.get() > 0;
                if open {
                    self.make_with(&mut made, depth, round);
                    node.state = preset(node, round);
                }
                node.folded = !open;
                made.kind
            }
        }
    }

    /// Creates the field of an alternative.
    fn variant(&self, schema: &Json, required: bool, depth: usize, round: &Round) -> Node {
        let mut inner = self.node("", schema, required, depth, round);
        if depth < DEPTH {
            self.make_with(&mut inner, depth, round);
        }
        (inner.folded, inner.label) = (false, "value".into());
        inner
    }

    /// Sets the schema's default. A default of `null` means that the member is omitted.
    fn prefill(&self, node: &mut Node, round: &Round) {
        match node.default.clone() {
            None | Some(Json::Null) => {}
            Some(default) => {
                let blank = node.clone();
                if self.fill_within(node, &default, State::Default, &round.fields) > 0 {
                    *node = blank;
                }
            }
        }
    }

    pub fn cycle(&self, node: &mut Node, step: isize) {
        let count = match &node.kind {
            Kind::Bool(_) => 2,
            Kind::Choice { options, .. } => options.len(),
            Kind::Const(_) => 1,
            Kind::Union { variants, .. } => variants.len(),
            _ => return,
        } as isize;
        let current = match &node.kind {
            Kind::Union { picked, .. } => *picked as isize,
            _ if matches!(node.state, State::Unset | State::Null) => -1,
            // `true` comes first: it is the more likely choice.
            Kind::Bool(value) => isize::from(!value),
            Kind::Choice { picked, .. } => *picked as isize,
            _ => 0,
        };
        // An optional field also passes through the empty state, at index -1.
        let empty = isize::from(!node.required && !matches!(node.kind, Kind::Union { .. }));
        let next = if current < 0 && empty == 0 {
            if step > 0 { 0 } else { count - 1 }
        } else {
            (current + empty + step.signum()).rem_euclid(count + empty) - empty
        };
        match usize::try_from(next) {
            Ok(index) => self.pick(node, index),
            Err(_) => node.state = State::Unset,
        }
    }

    pub fn pick(&self, node: &mut Node, index: usize) {
        match &mut node.kind {
            Kind::Bool(value) => *value = index == 0,
            Kind::Choice { options, picked } if index < options.len() => *picked = index,
            Kind::Const(_) => {}
            Kind::Union { variants, picked, inner } => {
                let Some((_, schema)) = variants.get(index) else { return };
                let previous = inner.value();
                *picked = index;
                **inner = self.variant(schema, node.required, 0, &round(true));
                if let Some(value) = previous {
                    self.carry(inner, &value);
                }
                // An alternative with a single value has no row of its own: selecting it selects the value.
                if matches!(inner.kind, Kind::Const(_)) {
                    inner.state = State::Set;
                }
                (node.folded, node.state) = (false, State::Unset);
                return;
            }
            _ => return,
        }
        node.state = State::Set;
    }

    /// Carries over the members that fit from another alternative.
    fn carry(&self, node: &mut Node, value: &Json) {
        match &mut node.kind {
            Kind::Object { fields, .. } => {
                for field in fields.iter_mut().filter(|field| !matches!(field.kind, Kind::Const(_))) {
                    if let Some(value) = value.get(&field.key) {
                        self.carry(field, value);
                    }
                }
            }
            _ => {
                let blank = node.clone();
                if self.fill(node, value, State::Set) > 0 {
                    *node = blank;
                }
            }
        }
    }
}

/// A required constant, array or object has only one possible initial state.
fn preset(node: &Node, round: &Round) -> State {
    if node.required && round.defaults { State::Default } else { State::Unset }
}

fn round(defaults: bool) -> Round {
    Round { defaults, left: Cell::new(NODES), values: Cell::new(COPIED), fields: Cell::new(FIELDS) }
}

fn text<'a>(schema: &'a Json, key: &str) -> &'a str {
    schema.get(key).and_then(Json::str).unwrap_or_default()
}

/// Returns the description, with constraints that the type hint does not show.
fn description(schema: &Json, key: &str) -> String {
    let mut parts = vec![];
    let (title, about) = (text(schema, "title"), text(schema, "description"));
    let normalized = |s: &str| s.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    if !title.is_empty() && normalized(title) != normalized(key) {
        parts.push(if about.is_empty() { title.to_owned() } else { format!("{title}:") });
    }
    if !about.is_empty() {
        parts.push(about.to_owned());
    }
    if !text(schema, "pattern").is_empty() {
        parts.push(format!("Pattern {}", text(schema, "pattern")));
    }
    if let Some(Json::Number(step)) = schema.get("multipleOf") {
        parts.push(format!("Multiple of {step}"));
    }
    if schema.get("uniqueItems") == Some(&Json::Bool(true)) {
        parts.push("Items must be unique".into());
    }
    if schema.get("deprecated") == Some(&Json::Bool(true)) {
        parts.insert(0, "Deprecated.".into());
    }
    let mut description = String::new();
    for part in parts {
        if !description.is_empty() {
            // After sentence punctuation a space separates parts, otherwise a dot.
            description.push_str(if description.trim_end().ends_with(['.', ':', '!', '?']) { " " } else { " · " });
        }
        description.push_str(&part);
    }
    description
}

/// Returns a short type description with its limits.
fn hint(place: &shape::Place) -> String {
    let schema = &place.schema;
    let with = |word: &str, limits: String| with_limits(word, &limits, false);
    let word = match &place.shape {
        Shape::Text if !text(schema, "format").is_empty() => with(text(schema, "format"), range(schema, "minLength", "maxLength")),
        Shape::Text => with("string", range(schema, "minLength", "maxLength")),
        Shape::Number { integer } => {
            let open = |key, sign| bound(schema, key).map(|limit| format!("{sign} {limit}"));
            let closed = Some(range(schema, "minimum", "maximum")).filter(|limits| !limits.is_empty());
            let limits = [open("exclusiveMinimum", ">"), closed, open("exclusiveMaximum", "<")];
            let limits = limits.into_iter().flatten().collect::<Vec<_>>().join(" ");
            with(if *integer { "integer" } else { "number" }, limits)
        }
        Shape::Bool => "boolean".into(),
        Shape::Choice(_) => "enum".into(),
        Shape::Const(_) => "constant".into(),
        Shape::Object { .. } => "object".into(),
        Shape::Array { .. } => with("array", range(schema, "minItems", "maxItems")),
        Shape::Union(_) => "one of".into(),
        Shape::Any => "JSON".into(),
    };
    if place.nullable { format!("{word}?") } else { word }
}

fn with_limits(word: &str, limits: &str, nullable: bool) -> String {
    let space = if limits.is_empty() { "" } else { " " };
    format!("{word}{space}{limits}{}", if nullable { "?" } else { "" })
}

/// Returns a numeric bound of the schema. Bounds that only mean "safe integer" are omitted.
fn bound<'a>(schema: &'a Json, key: &str) -> Option<&'a str> {
    match schema.get(key) {
        Some(Json::Number(text)) if text.len() < 16 => Some(text.as_str()),
        _ => None,
    }
}

fn range(schema: &Json, low: &str, high: &str) -> String {
    match (bound(schema, low), bound(schema, high)) {
        (Some(low), Some(high)) => format!("{low}…{high}"),
        (Some(low), None) => format!("≥ {low}"),
        (None, Some(high)) => format!("≤ {high}"),
        (None, None) => String::new(),
    }
}

/// Returns a validator for the format alone. A mismatch is a warning or an error; see [`super::Formats`].
fn format(schema: &Json) -> Option<Arc<jsonschema::Validator>> {
    let format = text(schema, "format");
    if format.is_empty() {
        return None;
    }
    let alone = serde_json::json!({"type": "string", "format": format});
    jsonschema::options().should_validate_formats(true).build(&alone).ok().map(Arc::new)
}
