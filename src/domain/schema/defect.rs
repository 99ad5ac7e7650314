//! Defects: the parts of a schema that are not checked as they are written, and their texts. Found by [`super::dialect`], shown by
//! faces.

use std::fmt;

/// A part of a schema that is not checked as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// JSON pointer (RFC 6901) of the keyword in the schema.
    pub place: String,
    /// What is done about it.
    pub kind: DefectKind,
}

/// How a defective keyword is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefectKind {
    /// It is understood, although JSON Schema does not define it.
    ReadAs {
        /// As written, shortened.
        written: String,
        /// Its meaning.
        meaning: String,
    },
    /// It is not checked.
    Ignored(Cause),
    /// More defects, which are not listed.
    More(usize),
}

/// Why a keyword is not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It has a value of another kind; holds the value, shortened, and the expected kind.
    NotA(String, &'static str),
    /// An unknown type name.
    Type(String),
    /// An invalid regular expression.
    Pattern(String),
    /// A reference to something that the schema does not define.
    Undefined(String),
    /// A reference to another document.
    Elsewhere(String),
    /// An unknown `$schema`.
    Dialect(String),
    /// It depends on `patternProperties`, which are not all checked.
    Names,
}

impl Defect {
    /// Returns what is wrong and where, without what is done about it.
    pub fn fault(&self) -> String {
        match &self.kind {
            DefectKind::Ignored(cause) => format!("{}: {cause}", self.place),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::NotA(value, wanted) => write!(f, "{value} is not {wanted}"),
            Cause::Type(name) => write!(f, "{name} is not a type"),
            Cause::Pattern(pattern) => write!(f, "{pattern} is not a valid regular expression"),
            Cause::Undefined(reference) => write!(f, "$ref {reference} is not defined in the schema"),
            Cause::Elsewhere(reference) => {
                write!(f, "$ref {reference} is not defined in it, and references to other documents are not followed")
            }
            Cause::Dialect(name) => write!(f, "the dialect {name} is unknown; 2020-12 is used"),
            Cause::Names => f.write_str("it depends on a pattern that cannot be used"),
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { "the whole schema" } else { &self.place };
        match &self.kind {
            DefectKind::ReadAs { written, meaning } => write!(f, "{place}: {written} is read as {meaning}"),
            DefectKind::Ignored(cause @ Cause::Dialect(_)) => write!(f, "{place}: {cause}"),
            DefectKind::Ignored(cause) => write!(f, "{place} is not checked: {cause}"),
            DefectKind::More(count) => write!(f, "{count} more parts of the schema are not checked as written"),
        }
    }
}
