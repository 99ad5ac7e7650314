//! Reads configuration files and parses them, TOML and JSON with comments, into [`crate::domain::document`].

use std::{
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use jsonc_parser::{ParseOptions, ast, common::Ranged};

use super::{error::ConfigError, places::Places, yaml};
use crate::{
    domain::document::{self, Field, Kind, Node},
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
    /// Made when the first place is asked for.
    places: OnceLock<Places>,
}

/// Language of a file, detected by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Toml,
    Json,
    Yaml,
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
        Source { path: path.into(), text, places: OnceLock::new() }
    }

    fn places(&self) -> &Places {
        self.places.get_or_init(|| Places::of(&self.text))
    }

    /// Returns line and column (in characters) of a byte offset, both counted from 1.
    pub fn place(&self, at: usize) -> (u32, u32) {
        self.places().place(&self.text, at)
    }

    /// Returns the byte offset of a character.
    pub fn byte_of_char(&self, index: usize) -> usize {
        self.places().byte_of_char(&self.text, index)
    }

    /// Returns an error at a byte offset.
    pub fn error(&self, at: usize, message: impl Into<String>) -> ConfigError {
        let (line, column) = self.place(at);
        ConfigError { line: Some(line), column: Some(column), ..ConfigError::new(message).in_file(&self.path) }
    }

    /// Detects the language: JSON begins with a brace or a `/` comment, TOML never does. YAML and TOML are distinguished by the
    /// name of the file, else by the first line that is not a comment.
    pub fn language(&self) -> Language {
        let text = self.text.trim_start();
        let extension = self.path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match (text.as_bytes().first(), extension) {
            (Some(b'{' | b'/'), _) => Language::Json,
            (_, "json" | "jsonc" | "json5" | "code-workspace") => Language::Json,
            (Some(b'['), _) if text[1..].trim_start().starts_with(['{', ']']) => Language::Json,
            (_, "yaml" | "yml") => Language::Yaml,
            (_, "toml") => Language::Toml,
            _ => {
                let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
                if line.is_some_and(is_yaml) { Language::Yaml } else { Language::Toml }
            }
        }
    }

    /// Parses the text. Fails with all errors that the parser finds.
    pub fn parse(&self) -> Result<Node, Vec<ConfigError>> {
        match self.language() {
            Language::Toml => self.parse_toml(),
            Language::Json => self.parse_json().map_err(|e| vec![e]),
            Language::Yaml => yaml::parse(self).map_err(|e| vec![e]),
        }
    }

    fn parse_toml(&self) -> Result<Node, Vec<ConfigError>> {
        document::parse_toml(&self.text).map_err(|errors| errors.into_iter().map(|e| self.error(e.at, e.message).hint(e.hint)).collect())
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

/// Returns whether the first line of a file is YAML's: a document mark, an item, or a key with a colon.
fn is_yaml(line: &str) -> bool {
    let key =
        line.split_once(':').filter(|(key, rest)| !key.contains(['=', '[', '{']) && (rest.is_empty() || rest.starts_with([' ', '\t'])));
    line.starts_with("---") || line.starts_with("%YAML") || line.starts_with("- ") || key.is_some()
}

fn json_value(value: ast::Value<'_>) -> Node {
    let (at, end) = (value.start(), value.end());
    let kind = match value {
        ast::Value::StringLit(s) => Kind::Text(s.value.into_owned()),
        ast::Value::BooleanLit(b) => Kind::Bool(b.value),
        ast::Value::NullKeyword(_) => Kind::Null,
        ast::Value::NumberLit(n) => {
            let is_integer = n.value.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit());
            if is_integer { Kind::Integer(n.value.to_owned()) } else { Kind::Float(n.value.to_owned()) }
        }
        ast::Value::Array(array) => Kind::Array(array.elements.into_iter().map(json_value).collect()),
        ast::Value::Object(object) => {
            let field = |p: ast::ObjectProp<'_>| {
                let (at, end) = (p.name.start(), p.name.end());
                Field { at, end, key: p.name.into_string(), value: json_value(p.value) }
            };
            Kind::Table(object.properties.into_iter().map(field).collect())
        }
    };
    Node { kind, at, end }
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
        assert_eq!(json.place(json_node.fields().unwrap()[1].at).0, 2);
    }

    #[test]
    fn the_language_is_found_by_name_and_content() {
        for (name, text, language) in [
            ("a", "x: 1\n", Language::Yaml),
            ("a", "# note\n\nservers:\n  a: b\n", Language::Yaml),
            ("a", "---\nx: 1\n", Language::Yaml),
            ("a", "x = \"a: b\"\n", Language::Toml),
            ("a", "[servers.x]\n", Language::Toml),
            ("a", "[[x]]\n", Language::Toml),
            ("a", "[{\"a\": 1}]", Language::Json),
            ("a.yaml", "{a: 1}", Language::Json),
            ("a.yml", "- x\n", Language::Yaml),
            ("a.toml", "x: 1\n", Language::Toml),
            ("a.json", "", Language::Json),
            ("a", "", Language::Toml),
        ] {
            assert_eq!(Source::new(name, text).language(), language, "{name} {text}");
        }
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
