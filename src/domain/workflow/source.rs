//! Parses a workflow file into a TOML tree with source positions.

use toml::de::{DeTable, DeValue};

use super::{
    expression::{Data, Template},
    parse::Source,
    problem::{Place, Problem},
};
use crate::domain::nesting;

/// A value with its byte range.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub at: usize,
    pub end: usize,
}

/// The kind of a value.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Bool(bool),
    /// As decimal digits.
    Integer(String),
    /// As JSON notation; `None` if JSON cannot represent it.
    Float(Option<String>),
    Date(String),
    Text(String),
    Array(Vec<Node>),
    Table(Vec<Field>),
}

/// A key of a table with its value.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub key: String,
    pub at: usize,
    pub end: usize,
    pub value: Node,
}

impl Node {
    /// Returns the name of the kind for users.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Bool(_) => "true or false",
            Kind::Integer(_) => "an integer",
            Kind::Float(_) => "a number",
            Kind::Date(_) => "a date",
            Kind::Text(_) => "a string",
            Kind::Array(_) => "an array",
            Kind::Table(_) => "a table",
        }
    }

    /// Returns the string.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the items of an array.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the fields of a table, in file order.
    pub fn fields(&self) -> Option<&[Field]> {
        match &self.kind {
            Kind::Table(fields) => Some(fields),
            _ => None,
        }
    }

    /// Returns the field of a table with this key.
    pub fn field(&self, key: &str) -> Option<&Field> {
        self.fields()?.iter().find(|field| field.key == key)
    }

    /// Returns the value of a key of a table.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.field(key).map(|field| &field.value)
    }

    /// Converts the value to JSON without interpreting expressions. Dates become strings. The error is the position
    /// of a number that JSON cannot represent.
    pub fn data(&self) -> Result<Data, usize> {
        Ok(match &self.kind {
            Kind::Bool(value) => Data::from(*value),
            Kind::Integer(digits) => Data::parse(digits).map_err(|_| self.at)?,
            Kind::Float(digits) => digits.as_deref().and_then(|digits| Data::parse(digits).ok()).ok_or(self.at)?,
            Kind::Date(text) | Kind::Text(text) => Data::from(text.as_str()),
            Kind::Array(items) => Data::list(items.iter().map(Node::data).collect::<Result<Vec<_>, _>>()?),
            Kind::Table(fields) => {
                let members = fields.iter().map(|field| field.value.data().map(|data| (field.key.as_str(), data)));
                Data::object(members.collect::<Result<Vec<_>, _>>()?)
            }
        })
    }

    /// Returns the span of the node at a path of keys and indices, or of the nearest enclosing node: of its key if it
    /// has one, else of its value.
    pub fn locate(&self, path: &[String]) -> (usize, usize) {
        let (mut node, mut span) = (self, (self.at, self.end));
        for step in path {
            match &node.kind {
                Kind::Table(_) => {
                    let Some(field) = node.field(step) else { break };
                    (node, span) = (&field.value, (field.at, field.end));
                }
                Kind::Array(items) => {
                    let Some(item) = step.parse::<usize>().ok().and_then(|index| items.get(index)) else { break };
                    (node, span) = (item, (item.at, item.end));
                }
                _ => break,
            }
        }
        span
    }
}

/// A file's text with the offsets of its lines.
pub(super) struct Page<'a> {
    pub source: &'a Source,
    /// Byte offset of the start of each line.
    lines: Vec<usize>,
}

impl<'a> Page<'a> {
    pub fn new(source: &'a Source) -> Page<'a> {
        let starts = source.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Page { source, lines: std::iter::once(0).chain(starts).collect() }
    }

    /// Returns the line and column of a byte offset.
    pub fn place(&self, at: usize) -> Place {
        let (number, start) = self.line(at);
        let before = self.source.text.get(start..at.min(self.source.text.len())).unwrap_or_default();
        Place { line: number as u32 + 1, column: before.chars().count() as u32 + 1 }
    }

    fn line(&self, at: usize) -> (usize, usize) {
        let number = self.lines.partition_point(|start| *start <= at).saturating_sub(1);
        (number, self.lines.get(number).copied().unwrap_or(0))
    }

    /// Creates a problem that covers the bytes `span`.
    pub fn problem(&self, span: (usize, usize), step: Option<&str>, key: &str, message: impl Into<String>) -> Problem {
        let place = self.place(span.0);
        let (_, start) = self.line(span.0);
        let line = self.source.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let covered = self.source.text.get(span.0..span.1.max(span.0)).unwrap_or_default();
        let width = covered.lines().next().unwrap_or_default().chars().count().max(1) as u32;
        Problem::new(&self.source.file, place, width, line, step, key, message.into())
    }

    /// Parses the text. Returns at most ten syntax errors.
    pub fn parse(&self) -> Result<Node, Vec<Problem>> {
        if let Some(at) = nesting::deep_toml(&self.source.text) {
            let message = format!("tables and arrays are nested more than {} deep", nesting::TOML);
            return Err(vec![self.problem((at, at + 1), None, "", message).hint("reduce the nesting")]);
        }
        let (table, errors) = DeTable::parse_recoverable(&self.source.text);
        if errors.is_empty() {
            return Ok(table_node(table.get_ref(), 0, self.source.text.len()));
        }
        let problems = errors.iter().take(10).map(|error| {
            let span = error.span().map_or((0, 0), |span| (span.start, span.end));
            let line = error.message().lines().collect::<Vec<_>>().join(", ");
            self.problem(span, None, "", line).hint("this is not valid TOML")
        });
        Err(problems.collect())
    }

    /// Returns the file offset of byte `offset` in a string's text. Exact if the string has no escapes; otherwise the
    /// start of the string.
    pub fn file_offset(&self, node: &Node, offset: usize) -> usize {
        self.text_start(node).map_or(node.at, |start| start + offset)
    }

    /// Returns where the text of a string starts in the file; `None` if the string has escapes, so that offsets
    /// differ.
    ///
    /// Compares the whole string: callers with many offsets should call it once.
    fn text_start(&self, node: &Node) -> Option<usize> {
        let (text, raw) = (node.text()?, self.source.text.get(node.at..node.end)?);
        let quotes = raw.bytes().take_while(|byte| matches!(byte, b'"' | b'\'')).count();
        let skip = match quotes {
            3.. => 3 + raw.get(3..).map_or(0, |rest| usize::from(rest.starts_with('\n')) + 2 * usize::from(rest.starts_with("\r\n"))),
            _ => 1,
        };
        raw.get(skip..).is_some_and(|rest| rest.starts_with(text)).then_some(node.at + skip)
    }

    /// Compiles the expressions in a value. Appends problems to `faults`.
    pub fn template(&self, node: &Node, key: &str, faults: &mut Vec<TemplateFault>) -> Template {
        match &node.kind {
            Kind::Text(text) => {
                let start = self.text_start(node);
                let inside = |offset: usize| start.map_or(node.at, |start| start + offset);
                match Template::compile(key, text, &inside) {
                    Ok(template) => template,
                    Err(found) => {
                        faults.extend(found.into_iter().map(|one| {
                            let at = inside(one.offset);
                            let end = if at == node.at { node.end } else { at + 1 };
                            TemplateFault { span: (at, end), key: key.to_owned(), message: one.fault.message, hint: one.fault.hint }
                        }));
                        Template::Literal(Data::null())
                    }
                }
            }
            Kind::Array(items) => Template::list(
                items.iter().enumerate().map(|(index, item)| self.template(item, &format!("{key}[{index}]"), faults)).collect(),
            ),
            Kind::Table(fields) => {
                let member = |field: &Field, faults: &mut Vec<TemplateFault>| {
                    (field.key.clone(), self.template(&field.value, &join_key(key, &field.key), faults))
                };
                Template::object(fields.iter().map(|field| member(field, faults)).collect())
            }
            _ => Template::Literal(node.data().unwrap_or_else(|at| {
                let message = "is not a valid JSON number".into();
                faults.push(TemplateFault { span: (at, node.end), key: key.to_owned(), message, hint: None });
                Data::null()
            })),
        }
    }
}

/// Joins a key and a key below it.
pub(super) fn join_key(key: &str, inner: &str) -> String {
    match (key, inner) {
        ("", one) | (one, "") => one.to_owned(),
        _ => format!("{key}.{inner}"),
    }
}

/// A problem of an expression in a value.
pub(super) struct TemplateFault {
    pub span: (usize, usize),
    pub key: String,
    pub message: String,
    pub hint: Option<String>,
}

fn table_node(table: &DeTable<'_>, at: usize, end: usize) -> Node {
    let field = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| -> Field {
        let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
        Field { key: key.get_ref().to_string(), at: key.span().start, end: key.span().end, value: node(value) }
    };
    let mut fields: Vec<Field> = table.iter().map(field).collect();
    fields.sort_by_key(|field| field.at);
    Node { kind: Kind::Table(fields), at, end }
}

fn node(value: &toml::Spanned<DeValue<'_>>) -> Node {
    let (at, end) = (value.span().start, value.span().end);
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Boolean(value) => Kind::Bool(*value),
        DeValue::Integer(number) => integer(number.as_str(), number.radix()),
        DeValue::Float(number) => Kind::Float(float(number.as_str())),
        DeValue::Datetime(date) => Kind::Date(date.to_string()),
        DeValue::Array(items) => Kind::Array(items.iter().map(node).collect()),
        DeValue::Table(table) => return table_node(table, at, end),
    };
    Node { kind, at, end }
}

/// Converts an integer of any size to decimal. In another radix, one beyond 128 bits is not representable.
fn integer(digits: &str, radix: u32) -> Kind {
    let digits = digits.replace('_', "");
    if radix == 10 {
        return Kind::Integer(digits.trim_start_matches('+').to_owned());
    }
    u128::from_str_radix(&digits, radix).map_or(Kind::Float(None), |number| Kind::Integer(number.to_string()))
}

/// Returns a float in JSON notation.
fn float(digits: &str) -> Option<String> {
    let digits = digits.replace('_', "");
    let digits = digits.trim_start_matches('+');
    digits.parse::<f64>().is_ok_and(f64::is_finite).then(|| digits.to_owned())
}
