//! Syntax tree of a configuration file with positions, for TOML and JSON with comments.

use std::{
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use jsonc_parser::{ParseOptions, ast};
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use crate::{
    domain::nesting,
    files::{self, Allowed, Unreadable},
};

/// Largest file that is read, in bytes. `~/.claude.json` grows to some megabytes.
const LARGEST: u64 = 64 << 20;

/// Largest file of a project that is read, in bytes: its configuration, files that it includes or names, and files of
/// other clients in it.
const LARGEST_OF_PROJECT: u64 = 4 << 20;

/// Owner of a file, which decides how it may be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose<'r> {
    /// The command line names it, so it may be a pipe.
    Named,
    /// It belongs to the user: a regular file, or a link to one.
    User,
    /// It belongs to the project in this canonical folder: a regular file in that folder.
    Project(&'r Path),
}

/// Returns the error for an unreadable file.
pub(super) fn unreadable(path: &Path, why: &Unreadable) -> ConfigError {
    let hint = match why {
        Unreadable::Io(error) if error.kind() == ErrorKind::NotFound => "check the path",
        Unreadable::Io(error) if error.kind() == ErrorKind::PermissionDenied => "check the file's permissions",
        Unreadable::Io(_) => "check the file",
        Unreadable::NotRegular => "name the file itself",
        Unreadable::TooLarge(_) => "check that this is the file you meant",
        Unreadable::Outside => "replace the link with the file",
        Unreadable::NotText => "save it as UTF-8",
    };
    ConfigError::new(why.to_string()).in_file(path).hint(hint)
}

fn read_named(path: &Path) -> Result<String, Unreadable> {
    let meta = std::fs::metadata(path)?;
    if meta.is_dir() {
        return Err(Unreadable::NotRegular);
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Unreadable::TooLarge(LARGEST));
    }
    String::from_utf8(bytes).map_err(|_| Unreadable::NotText)
}

/// A file's text.
pub(super) struct Source {
    /// Its path.
    pub path: PathBuf,
    /// Its text, without a byte order mark.
    pub text: String,
}

/// Language of a file, detected by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Toml,
    Json,
}

/// A value and its position.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: Kind,
    /// Byte offset in the text.
    pub at: usize,
}

/// Type and content of a value.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Integer(i64),
    /// Any other number, as written.
    Number(String),
    Text(String),
    Array(Vec<Node>),
    Table(Vec<Field>),
}

/// A key of a table, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub key: String,
    /// Byte offset of the key.
    pub at: usize,
    pub value: Node,
}

impl Node {
    /// Returns the name of the type for messages.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "true or false",
            Kind::Integer(_) => "an integer",
            Kind::Number(_) => "a number or date",
            Kind::Text(_) => "a string",
            Kind::Array(_) => "an array",
            Kind::Table(_) => "a table",
        }
    }

    /// Returns the fields of a table.
    pub fn table(&self) -> Option<&[Field]> {
        match &self.kind {
            Kind::Table(fields) => Some(fields),
            _ => None,
        }
    }

    /// Returns the value of a key of a table; the last one if JSON repeats the key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.table()?.iter().rev().find(|f| f.key == key).map(|f| &f.value)
    }

    /// Returns the string.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Converts the value to JSON.
    pub fn json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(b) => Value::Bool(*b),
            Kind::Integer(n) => Value::from(*n),
            Kind::Number(n) => n.parse::<serde_json::Number>().map_or_else(|_| Value::from(n.as_str()), Value::Number),
            Kind::Text(text) => Value::from(text.as_str()),
            Kind::Array(items) => Value::Array(items.iter().map(Node::json).collect()),
            Kind::Table(fields) => Value::Object(fields.iter().map(|f| (f.key.clone(), f.value.json())).collect()),
        }
    }
}

impl Source {
    /// Reads a file under the rules for its owner. A pipe is read only when the user named it.
    pub fn read(path: &Path, whose: Whose<'_>) -> Result<Source, (ErrorKind, ConfigError)> {
        let text = match whose {
            Whose::Named => read_named(path),
            Whose::User => files::read_text(path, Allowed { bytes: LARGEST, within: None }),
            Whose::Project(root) => files::read_text(path, Allowed { bytes: LARGEST_OF_PROJECT, within: Some(root) }),
        };
        text.map(|text| Source::new(path, text)).map_err(|why| (why.kind(), unreadable(path, &why)))
    }

    /// Returns a source with the text of `path`.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Source {
        let text: String = text.into();
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Source { path: path.into(), text }
    }

    /// Returns line and column (in characters) of a byte offset, both counted from 1.
    pub fn place(&self, at: usize) -> (u32, u32) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line as u32, column as u32)
    }

    /// Returns an error at a byte offset.
    pub fn error(&self, at: usize, message: impl Into<String>) -> ConfigError {
        let (line, column) = self.place(at);
        ConfigError { line: Some(line), column: Some(column), ..ConfigError::new(message).in_file(&self.path) }
    }

    /// Detects the language. JSON objects begin with a brace or a `/` comment, TOML never does.
    pub fn language(&self) -> Language {
        match self.text.trim_start().as_bytes().first() {
            Some(b'{' | b'/') => Language::Json,
            _ => Language::Toml,
        }
    }

    /// Parses the text. Fails with all errors that the parser finds.
    pub fn parse(&self) -> Result<Node, Vec<ConfigError>> {
        match self.language() {
            Language::Toml => self.parse_toml(),
            Language::Json => self.parse_json().map_err(|e| vec![e]),
        }
    }

    fn parse_toml(&self) -> Result<Node, Vec<ConfigError>> {
        if let Some(at) = nesting::deep_toml(&self.text) {
            let message = format!("tables and arrays are nested more than {} deep", nesting::TOML);
            return Err(vec![self.error(at, message).hint("reduce the nesting")]);
        }
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        if errors.is_empty() {
            return Ok(toml_table(table.get_ref(), 0));
        }
        let hint = "this is not valid TOML";
        Err(errors.iter().take(10).map(|e| self.error(e.span().map_or(0, |s| s.start), e.message()).hint(hint)).collect())
    }

    fn parse_json(&self) -> Result<Node, ConfigError> {
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let parsed = jsonc_parser::parse_to_ast(&self.text, &Default::default(), &options)
            .map_err(|e| self.error(e.range().start, e.kind().to_string()).hint("this is not valid JSON"))?;
        match parsed.value {
            Some(ast::Value::Object(object)) => Ok(json_value(ast::Value::Object(object))),
            _ => Err(self.error(0, "has no JSON object").hint("the file should look like {\"mcpServers\": {…}}")),
        }
    }
}

fn toml_table(table: &DeTable<'_>, at: usize) -> Node {
    let mut fields: Vec<Field> = table
        .iter()
        .map(|(key, value)| Field {
            key: key.get_ref().to_string(),
            at: key.span().start,
            value: toml_value(value.get_ref(), value.span().start),
        })
        .collect();
    fields.sort_by_key(|f| f.at);
    Node { kind: Kind::Table(fields), at }
}

fn toml_value(value: &DeValue<'_>, at: usize) -> Node {
    let kind = match value {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Boolean(b) => Kind::Bool(*b),
        DeValue::Integer(n) => {
            i64::from_str_radix(n.as_str(), n.radix()).map_or_else(|_| Kind::Number(n.as_str().to_owned()), Kind::Integer)
        }
        DeValue::Float(n) => Kind::Number(n.as_str().to_owned()),
        DeValue::Datetime(date) => Kind::Number(date.to_string()),
        DeValue::Array(items) => Kind::Array(items.iter().map(|v| toml_value(v.get_ref(), v.span().start)).collect()),
        DeValue::Table(table) => return toml_table(table, at),
    };
    Node { kind, at }
}

fn json_value(value: ast::Value<'_>) -> Node {
    match value {
        ast::Value::StringLit(s) => Node { at: s.range.start, kind: Kind::Text(s.value.into_owned()) },
        ast::Value::BooleanLit(b) => Node { at: b.range.start, kind: Kind::Bool(b.value) },
        ast::Value::NullKeyword(n) => Node { at: n.range.start, kind: Kind::Null },
        ast::Value::NumberLit(n) => {
            let kind = n.value.parse().map_or_else(|_| Kind::Number(n.value.to_owned()), Kind::Integer);
            Node { at: n.range.start, kind }
        }
        ast::Value::Array(array) => Node { at: array.range.start, kind: Kind::Array(array.elements.into_iter().map(json_value).collect()) },
        ast::Value::Object(object) => {
            let fields = object.properties.into_iter();
            let fields = fields.map(|p| Field { at: p.range.start, key: p.name.into_string(), value: json_value(p.value) });
            Node { at: object.range.start, kind: Kind::Table(fields.collect()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_give_the_same_tree_in_the_order_of_the_file() {
        let toml = Source::new("a", "z = 1\n\n[t]\nb = [\"x\", true]\na = 2.5\n");
        let json = Source::new("a", "\u{feff}// note\n{\"z\": 1, \"t\": {\"b\": [\"x\", true], /* c */ \"a\": 2.5,},}");
        assert_eq!((toml.language(), json.language()), (Language::Toml, Language::Json));
        let (toml_node, json_node) = (toml.parse().unwrap(), json.parse().unwrap());
        assert_eq!(toml_node.json().to_string(), r#"{"z":1,"t":{"b":["x",true],"a":2.5}}"#);
        assert_eq!(toml_node.json(), json_node.json());
        assert_eq!(toml.place(toml_node.get("t").unwrap().get("a").unwrap().at), (5, 5));
        assert_eq!(json.place(json_node.table().unwrap()[1].at).0, 2);
    }

    #[test]
    fn broken_files_say_where() {
        for (text, line) in [
            ("a = 1\nb = \n", 2),
            ("a = 1\na = 2\n", 2),
            ("[x\n", 1),
            ("{\n \"a\": 1\n \"b\": 2}", 2),
            ("{\n\"a\": 'x'}", 2),
            ("{\"a\": 1", 1),
            ("// only a comment", 1),
        ] {
            let errors = Source::new("f", text).parse().unwrap_err();
            assert_eq!(errors[0].line, Some(line), "{text:?}: {errors:?}");
            assert!(!errors[0].message.is_empty());
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
        for text in [format!("{{\"a\":{}", "[".repeat(100_000)), format!("a = {}", "[".repeat(100_000)), "{\"a\":".repeat(100_000)] {
            assert!(Source::new("f", text).parse().is_err());
        }
    }

    #[test]
    fn folders_pipes_missing_files_and_other_encodings_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Source::read(dir.path(), Whose::Named).is_err());
        assert!(Source::read(&dir.path().join("none"), Whose::User).is_err_and(|(kind, _)| kind == std::io::ErrorKind::NotFound));
        let latin = dir.path().join("latin");
        std::fs::write(&latin, b"a = \"\xe4\"").unwrap();
        assert!(Source::read(&latin, Whose::User).is_err_and(|(_, e)| e.message.contains("UTF-8")));
        assert!(Source::read(Path::new("/dev/null"), Whose::User).is_err_and(|(_, e)| e.message.contains("not a file")));
    }
}
