//! YAML files of other clients, parsed into [`crate::domain::document`] with the place of every value.
//!
//! The first document of a file counts. Scalars are typed by the core schema of YAML 1.2. Aliases and merge keys (`<<`) are
//! expanded. Nesting and the number of values are limited, so that a small file cannot expand without bound.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::{error::ConfigError, source::Source};
use crate::domain::{
    document::{Field, Kind, Node},
    nesting,
};

/// Most values of a file, after the expansion of aliases.
const MOST_VALUES: usize = 1_000_000;

/// Parses the text of a file. Fails with the first error.
pub(super) fn parse(source: &Source) -> Result<Node, ConfigError> {
    let broken = |mark: &Marker, message: &str| {
        let at = source.byte_of_char(mark.index());
        source.error(at, message).hint("this is not valid YAML")
    };
    let mut builder = Builder { source, open: vec![], anchors: HashMap::new(), values: 0, root: None };
    for event in Parser::new_from_str(&source.text) {
        let (event, span) = event.map_err(|error| broken(error.marker(), error.info()))?;
        let (at, end) = (source.byte_of_char(span.start.index()), source.byte_of_char(span.end.index()));
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let typed = style == ScalarStyle::Plain && tag.is_none();
                let kind = if typed { plain(&text) } else { Kind::Text(text.into_owned()) };
                builder.value(Node { kind, at, end }, anchor)?;
            }
            Event::Alias(anchor) => match builder.anchors.get(&anchor).cloned() {
                Some((node, values)) => {
                    builder.count(values, at)?;
                    builder.place(Node { at, end, ..node })?;
                }
                None => return Err(broken(&span.start, "an alias refers to a value that is not complete")),
            },
            Event::SequenceStart(anchor, _) => builder.begin(at, anchor, Content::Items(vec![]))?,
            Event::MappingStart(anchor, _) => builder.begin(at, anchor, Content::Fields(vec![], None))?,
            Event::SequenceEnd | Event::MappingEnd => builder.finish(end)?,
            Event::DocumentEnd => break,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
    }
    match builder.root {
        Some(root @ Node { kind: Kind::Table(_), .. }) => Ok(root),
        _ => Err(source.error(0, "has no YAML mapping").hint("the file should look like mcpServers: {…}")),
    }
}

/// Content of a sequence or mapping that is not complete.
enum Content {
    Items(Vec<Node>),
    /// The fields, and the key that waits for its value.
    Fields(Vec<Field>, Option<Node>),
}

struct Open {
    at: usize,
    anchor: usize,
    content: Content,
    /// The number of values before it.
    before: usize,
}

struct Builder<'s> {
    source: &'s Source,
    open: Vec<Open>,
    /// Complete values by anchor, with the number of values in them.
    anchors: HashMap<usize, (Node, usize)>,
    values: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn count(&mut self, values: usize, at: usize) -> Result<(), ConfigError> {
        self.values = self.values.saturating_add(values);
        if self.values > MOST_VALUES {
            let message = format!("has more than {MOST_VALUES} values, aliases included");
            return Err(self.source.error(at, message).hint("check that this is the file you meant"));
        }
        Ok(())
    }

    fn begin(&mut self, at: usize, anchor: usize, content: Content) -> Result<(), ConfigError> {
        self.count(1, at)?;
        if self.open.len() >= nesting::TOML {
            let message = format!("mappings and sequences are nested more than {} deep", nesting::TOML);
            return Err(self.source.error(at, message).hint("reduce the nesting"));
        }
        self.open.push(Open { at, anchor, content, before: self.values - 1 });
        Ok(())
    }

    fn finish(&mut self, end: usize) -> Result<(), ConfigError> {
        let Some(Open { at, anchor, content, before }) = self.open.pop() else { return Ok(()) };
        let kind = match content {
            Content::Items(items) => Kind::Array(items),
            Content::Fields(fields, _) => Kind::Table(merged(fields)),
        };
        let node = Node { kind, at, end };
        self.remember(&node, anchor, self.values - before);
        self.place(node)
    }

    fn value(&mut self, node: Node, anchor: usize) -> Result<(), ConfigError> {
        self.count(1, node.at)?;
        self.remember(&node, anchor, 1);
        self.place(node)
    }

    fn remember(&mut self, node: &Node, anchor: usize, values: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), values));
        }
    }

    /// Adds a complete value to what encloses it.
    fn place(&mut self, node: Node) -> Result<(), ConfigError> {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = self.root.take().or(Some(node)),
            Some(Content::Items(items)) => items.push(node),
            Some(Content::Fields(_, key @ None)) => *key = Some(node),
            Some(Content::Fields(fields, key)) => {
                let Some(key) = key.take() else { return Ok(()) };
                let text = match key.kind {
                    Kind::Text(text) | Kind::Integer(text) | Kind::Float(text) | Kind::Date(text) => text,
                    Kind::Bool(value) => value.to_string(),
                    Kind::Null => String::new(),
                    Kind::Array(_) | Kind::Table(_) => {
                        return Err(self.source.error(key.at, "a key is not text").hint("write the key as text"));
                    }
                };
                fields.push(Field { key: text, at: key.at, end: key.end, value: node });
            }
        }
        Ok(())
    }
}

/// Expands merge keys: fields of `<<` are added unless the mapping has them.
fn merged(fields: Vec<Field>) -> Vec<Field> {
    if !fields.iter().any(|field| field.key == "<<") {
        return fields;
    }
    let (merges, mut own): (Vec<Field>, Vec<Field>) = fields.into_iter().partition(|field| field.key == "<<");
    let tables = merges.iter().flat_map(|merge| merge.value.items().unwrap_or(std::slice::from_ref(&merge.value)));
    for field in tables.filter_map(Node::fields).flatten() {
        if !own.iter().any(|other| other.key == field.key) {
            own.push(field.clone());
        }
    }
    own
}

/// Types a plain scalar by the core schema (YAML 1.2.2, section 10.3.2).
fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        // Integers beyond 64 bits keep their digits.
        return text.parse::<i64>().map_or_else(|_| Kind::Text(text.to_owned()), |n| Kind::Integer(n.to_string()));
    }
    let radix = [("0x", 16), ("0o", 8)].into_iter().find_map(|(prefix, radix)| Some((text.strip_prefix(prefix)?, radix)));
    if let Some(number) = radix.and_then(|(digits, radix)| i64::from_str_radix(digits, radix).ok()) {
        return Kind::Integer(number.to_string());
    }
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.contains(['.', 'e', 'E']);
    match text.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => Kind::Float(text.trim_start_matches('+').to_owned()),
        _ => Kind::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        parse(&Source::new("f.yaml", text)).unwrap().json().to_string()
    }

    #[test]
    fn scalars_have_their_types_and_aliases_their_values() {
        let text = "a: 1\nb: [x, 'y', \"z\", 1.5, true, ~]\nc: {d: 0x10, e: '7', f: 007}\n\"q\": |\n  line\n";
        assert_eq!(json(text), r#"{"a":1,"b":["x","y","z",1.5,true,null],"c":{"d":16,"e":"7","f":7},"q":"line\n"}"#);
        let text = "base: &b {command: x, args: [1]}\none:\n  <<: *b\n  command: y\ntwo: *b\n";
        assert_eq!(json(text), r#"{"base":{"command":"x","args":[1]},"one":{"command":"y","args":[1]},"two":{"command":"x","args":[1]}}"#);
        assert_eq!(json("---\na: 1\n---\nb: 2\n"), r#"{"a":1}"#, "the first document counts");
    }

    #[test]
    fn values_have_places_in_lines_and_columns() {
        let source = Source::new("f.yaml", "\u{feff}# ü\nmcpServers:\n  ü: {url: x}\n");
        let tree = parse(&source).unwrap();
        let entry = &tree.get("mcpServers").unwrap().fields().unwrap()[0];
        assert_eq!((source.place(entry.at), source.place(entry.value.get("url").unwrap().at)), ((3, 3), (3, 12)));
    }

    #[test]
    fn bombs_and_broken_files_are_refused_with_a_place() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let before = format!("*a{}, ", n - 1).repeat(10);
            bomb.push_str(&format!("a{n}: &a{n} [{}]\n", before.trim_end_matches(", ")));
        }
        let deep = format!("a: {}", "[".repeat(100_000));
        for text in [&bomb, &deep, "a: [", "a: b: c", "- x", "just text", "", "a: *none", "? [x]\n: y"] {
            let error = parse(&Source::new("f.yaml", text)).unwrap_err();
            assert!(error.line.is_some() && error.hint.is_some(), "{text:.40}: {error:?}");
        }
    }
}
