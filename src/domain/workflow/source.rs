//! Text of a workflow file: lines, problems with their places, and templates from the values of its
//! [`crate::domain::document`].

use super::{
    expression::{Data, Template},
    parse::Source,
    problem::{Place, Problem},
};
use crate::domain::document::{self, Field, Kind, Node, SyntaxError};

impl Node {
    /// Converts the value to JSON without interpreting expressions. Dates become strings. The error is the position
    /// of a number that JSON cannot represent.
    pub(super) fn data(&self) -> Result<Data, usize> {
        Ok(match &self.kind {
            Kind::Bool(value) => Data::from(*value),
            Kind::Null => Data::null(),
            Kind::Integer(_) | Kind::Float(_) => self.digits().and_then(|digits| Data::parse(digits).ok()).ok_or(self.at)?,
            Kind::Date(text) | Kind::Text(text) => Data::from(text.as_str()),
            Kind::Array(items) => Data::list(items.iter().map(Node::data).collect::<Result<Vec<_>, _>>()?),
            Kind::Table(fields) => {
                let members = fields.iter().map(|field| field.value.data().map(|data| (field.key.as_str(), data)));
                Data::object(members.collect::<Result<Vec<_>, _>>()?)
            }
        })
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
        document::parse_toml(&self.source.text).map_err(|errors| {
            let problem = |error: SyntaxError| {
                let line = error.message.lines().collect::<Vec<_>>().join(", ");
                self.problem((error.at, error.end), None, "", line).hint(error.hint)
            };
            errors.into_iter().map(problem).collect()
        })
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
