//! Validates the arguments and attaches errors to the fields.

use std::collections::HashMap;

use serde_json::Value;

use super::{Form, Formats, Json, Kind, Node, Path, State, json};
use crate::domain::schema::{Checker, Rule, Violation};

/// Maximum length of a displayed message: a checker may quote the whole value.
const LONG: usize = 160;

impl Form {
    /// Validates the whole form. Fast enough for every key: checks that are too slow are skipped.
    pub(super) fn check(&mut self) {
        self.problems.clear();
        check_field(&mut self.root, true, self.formats);
        let text = self.json();
        let value: Value = match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(error) => return self.problems.push(format!("cannot be validated: {error}")),
        };
        let glance = self.checker.glance_unions(&value);
        self.unchecked = glance.is_err();
        let mut found = glance.unwrap_or_default();
        refine(&self.root, self.maker.schema(), &mut self.alternatives, &mut found);
        for violation in found {
            self.attach(&violation);
        }
    }

    fn attach(&mut self, violation: &Violation) {
        let path = nearest(&self.root, &violation.path);
        let on_root = path.is_empty() && matches!(self.root.kind, Kind::Object { .. });
        let Some(node) = self.node_mut(&path) else { return };
        if reported_by_fields(node, &violation.rule) {
            return;
        }
        let message = shorten(&violation.message);
        if on_root {
            self.problems.push(message);
        } else if node.error.is_none() && !node.missing {
            node.error = Some(message);
        }
    }
}

/// Returns the field for a JSON pointer, or the nearest one around it: raw JSON has no fields inside. If an
/// alternative has its own row, returns that instead of the choice.
pub(super) fn nearest(root: &Node, pointer: &str) -> Path {
    let (mut node, mut path) = (root, vec![]);
    for token in pointer.split('/').skip(1) {
        while let Kind::Union { inner, .. } = &node.kind {
            (node, _) = (inner, path.push(0));
        }
        let Some((index, child)) = child(node, token) else { return path };
        (node, _) = (child, path.push(index));
    }
    while let Kind::Union { inner, .. } = &node.kind {
        if matches!(inner.kind, Kind::Object { .. } | Kind::Const(_)) {
            break;
        }
        (node, _) = (inner, path.push(0));
    }
    path
}

fn child<'a>(node: &'a Node, token: &str) -> Option<(usize, &'a Node)> {
    let token = token.replace("~1", "/").replace("~0", "~");
    match &node.kind {
        Kind::Object { fields, .. } => fields.iter().enumerate().find(|(_, field)| field.key == token),
        Kind::Array { items, .. } => token.parse().ok().and_then(|index: usize| Some((index, items.get(index)?))),
        _ => None,
    }
}

/// Returns whether the violation only reports a missing field that is already marked.
fn reported_by_fields(node: &Node, rule: &Rule) -> bool {
    let Rule::Required(key) = rule else { return false };
    let fields = match &node.kind {
        Kind::Object { fields, .. } => fields,
        Kind::Union { inner, .. } => inner.children(),
        _ => return false,
    };
    fields.iter().any(|field| field.missing && field.key == *key)
}

fn shorten(message: &str) -> String {
    match message.char_indices().nth(LONG) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

/// Validates a field without its context.
fn check_field(node: &mut Node, sent: bool, formats: Formats) {
    (node.error, node.note, node.missing) = (None, None, false);
    let set = matches!(node.state, State::Set | State::Default);
    match &node.kind {
        Kind::Number { text, .. } if set && !json::is_number(text) => node.error = Some(format!("{text:?} is not a number")),
        Kind::Raw(text) if set => {
            node.error = Json::parse(text).err().map(|error| format!("not valid JSON: {}", error.message));
            node.note = (!node.any).then(|| format!("JSON instead of {}", node.hint));
        }
        Kind::Text(text) if set => {
            let mismatch = node.format.as_ref().is_some_and(|format| !format.is_valid(&Value::from(text.as_str())));
            let format = node.schema.get("format").and_then(Json::str).unwrap_or_default();
            match formats {
                Formats::Required if mismatch => node.error = Some(mismatch_message(format)),
                Formats::Advisory if mismatch => node.note = Some(format!("does not look like {format}")),
                _ => {}
            }
        }
        _ => {}
    }
    let item = node.key.is_empty();
    let empty = node.value().is_none();
    node.missing = sent && node.required && empty && !matches!(node.kind, Kind::Union { .. });
    if item && matches!(node.kind, Kind::Text(_)) {
        node.missing = false;
    }
    // Until something is checked, "required" is the whole message.
    if matches!(node.kind, Kind::CheckList { .. }) && node.state != State::Null && node.checked().is_empty() {
        node.missing |= sent && node.required && node.needs_items();
    }
    // Nothing inside a `null` value is sent, so nothing is missing.
    let sent = sent && node.state != State::Null;
    let inside = sent && !empty;
    let union = matches!(node.kind, Kind::Union { .. });
    for child in node.children_mut() {
        check_field(child, inside || (union && sent), formats);
    }
}

/// Returns the message for a text that does not match its format, with an example of one that does.
fn mismatch_message(format: &str) -> String {
    match format {
        "email" => "not an email address, such as name@example.com".into(),
        "uri" => "not a URI with a scheme, such as https://example.com/page".into(),
        "date" => "not a date, such as 2026-11-30".into(),
        "date-time" => "not a date and time with a time zone, such as 2026-11-30T18:00:00Z".into(),
        other => format!("does not match the format {other}"),
    }
}

/// Replaces "matches no alternative" by the errors of the selected alternative.
fn refine(root: &Node, schema: &Json, checkers: &mut HashMap<String, Checker>, found: &mut Vec<Violation>) {
    let mut details = vec![];
    found.retain(|violation| {
        let Some(node) = union_at(root, &violation.path) else { return true };
        let Kind::Union { variants, picked, inner } = &node.kind else { return true };
        let about_choice = violation.rule == Rule::Alternatives;
        let (Some((_, variant)), Some(value), true) = (variants.get(*picked), inner.value(), about_choice) else { return true };
        let compile = || Checker::quick(&super::Body::from(with_definitions(variant, schema).text()));
        let checker = checkers.entry(variant.text()).or_insert_with(compile);
        let (None, Ok(value)) = (&checker.problem, serde_json::from_str(&value.text())) else { return true };
        let inside = checker.glance(&value).unwrap_or_default();
        let replaced = !inside.is_empty();
        details.extend(inside.into_iter().map(|v| Violation { path: format!("{}{}", violation.path, v.path), ..v }));
        !replaced
    });
    found.extend(details);
}

fn union_at<'a>(root: &'a Node, pointer: &str) -> Option<&'a Node> {
    let mut node = root;
    for token in pointer.split('/').skip(1) {
        while let Kind::Union { inner, .. } = &node.kind {
            node = inner;
        }
        node = child(node, token)?.1;
    }
    matches!(node.kind, Kind::Union { .. }).then_some(node)
}

fn with_definitions(variant: &Json, root: &Json) -> Json {
    let mut members = variant.members().to_vec();
    for key in ["$schema", "$defs", "definitions"] {
        if let (Some(value), None) = (root.get(key), variant.get(key)) {
            members.push((key.into(), value.clone()));
        }
    }
    Json::Object(members)
}
