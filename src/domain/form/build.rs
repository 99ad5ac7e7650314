//! Makes fields from schemas, and anew when a choice changes them.

use std::{cell::Cell, collections::HashSet, sync::Arc};

use super::{
    Json, Kind, Node, State,
    fill::FIELDS,
    shape::{self, Shape},
};

/// How deep fields are made at once; deeper ones are made when they are opened.
const DEPTH: usize = 4;
/// How many fields are made at once.
const NODES: usize = 2_000;
/// How many values of JSON may be read and copied for that.
const COPIED: usize = 400_000;

/// Makes fields for places in one schema.
#[derive(Clone)]
pub(super) struct Maker {
    root: Arc<Json>,
}

/// Limits of one round of making.
struct Round {
    defaults: bool,
    left: Cell<usize>,
    values: Cell<usize>,
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

    /// The field of the whole. With `defaults`, prefilled from the schema.
    pub fn root(&self, defaults: bool) -> Node {
        let mut node = self.node("", &self.root, true, 0, &round(defaults));
        self.make_with(&mut node, 0, &round(defaults));
        (node.folded, node.nullable) = (false, false);
        if let (true, Some(default @ Json::Object(_))) = (defaults, node.default.clone()) {
            self.fill(&mut node, &default, State::Default);
        }
        node
    }

    /// An item of an array.
    pub fn item(&self, schema: &Json) -> Node {
        let mut node = self.node("", schema, true, 0, &round(true));
        self.make(&mut node);
        node.folded = false;
        node
    }

    /// A blank item, to be filled.
    pub fn blank(&self, schema: &Json) -> Node {
        self.node("", schema, true, DEPTH, &round(false))
    }

    /// A member that the schema does not declare.
    pub fn member(&self, key: &str, schema: &Json) -> Node {
        Node { extra: true, ..self.node(key, schema, false, 0, &round(false)) }
    }

    /// The same field, empty.
    pub fn blank_like(&self, node: &Node) -> Node {
        let fresh = self.node(&node.key, &node.schema, node.required, DEPTH, &round(false));
        Node { label: node.label.clone(), extra: node.extra, folded: node.folded, ..fresh }
    }

    /// Empties a field.
    pub fn clear(&self, node: &mut Node) {
        let mut fresh = self.blank_like(node);
        if node.required && matches!(fresh.kind, Kind::Array { .. } | Kind::Object { .. }) {
            fresh.state = State::Default;
        }
        if !fresh.folded {
            self.make_with(&mut fresh, 0, &round(false));
        }
        *node = fresh;
    }

    /// Makes the fields of an object that has not got them yet.
    pub fn make(&self, node: &mut Node) {
        self.make_with(node, 0, &round(true));
    }

    /// Makes the fields of an object, without the schema's defaults.
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
        // Once too much was read, the fields left are JSON.
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
        // A merged schema has no `$ref` left, so that making from it again gives the same.
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

    /// The field for an alternative.
    fn variant(&self, schema: &Json, required: bool, depth: usize, round: &Round) -> Node {
        let mut inner = self.node("", schema, required, depth, round);
        if depth < DEPTH {
            self.make_with(&mut inner, depth, round);
        }
        (inner.folded, inner.label) = (false, "value".into());
        inner
    }

    /// Puts in the schema's default. A default of `null` is what leaving out means.
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
            // `true` comes first: that is what one wants to switch on.
            Kind::Bool(value) => isize::from(!value),
            Kind::Choice { picked, .. } => *picked as isize,
            _ => 0,
        };
        // An optional field passes through empty, which is place -1.
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
                let kept = inner.value();
                *picked = index;
                **inner = self.variant(schema, node.required, 0, &round(true));
                if let Some(value) = kept {
                    self.carry(inner, &value);
                }
                // An alternative that is one value has no row of its own: choosing it is choosing that value.
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

    /// Takes over from another alternative what fits.
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

/// A required constant, array or object has only one way to begin.
fn preset(node: &Node, round: &Round) -> State {
    if node.required && round.defaults { State::Default } else { State::Unset }
}

fn round(defaults: bool) -> Round {
    Round { defaults, left: Cell::new(NODES), values: Cell::new(COPIED), fields: Cell::new(FIELDS) }
}

fn text<'a>(schema: &'a Json, key: &str) -> &'a str {
    schema.get(key).and_then(Json::str).unwrap_or_default()
}

/// The description, with the limits that the type does not tell.
fn description(schema: &Json, key: &str) -> String {
    let mut parts = vec![];
    let (title, about) = (text(schema, "title"), text(schema, "description"));
    let plain = |s: &str| s.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    if !title.is_empty() && plain(title) != plain(key) {
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
        parts.push("No item twice".into());
    }
    if schema.get("deprecated") == Some(&Json::Bool(true)) {
        parts.insert(0, "Deprecated.".into());
    }
    let mut whole = String::new();
    for part in parts {
        if !whole.is_empty() {
            // What ends like a sentence goes on like one.
            whole.push_str(if whole.trim_end().ends_with(['.', ':', '!', '?']) { " " } else { " · " });
        }
        whole.push_str(&part);
    }
    whole
}

/// The type in few words, with its limits.
fn hint(place: &shape::Place) -> String {
    let schema = &place.schema;
    let with = |word: &str, limits: String| if limits.is_empty() { word.to_owned() } else { format!("{word} {limits}") };
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

/// A number of the schema. Bounds that only say "safe integer" are noise.
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

/// A validator of the format alone: JSON Schema leaves open whether formats are binding, so what
/// does not fit is remarked upon, not refused.
fn format(schema: &Json) -> Option<Arc<jsonschema::Validator>> {
    let format = text(schema, "format");
    if format.is_empty() {
        return None;
    }
    let alone = serde_json::json!({"type": "string", "format": format});
    jsonschema::options().should_validate_formats(true).build(&alone).ok().map(Arc::new)
}
