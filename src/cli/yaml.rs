//! JSON documents as YAML 1.2.

use serde_json::Value;

/// Returns a document as YAML in block style. Strings are plain where no reader of YAML can take them for something else, and in
/// double quotes with JSON's escapes elsewhere.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0, Place::Start);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Where a value is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the beginning of a line, indented already.
    Start,
    /// After `key:`.
    Key,
}

fn write(out: &mut String, value: &Value, depth: usize, place: Place) {
    let separator = if place == Place::Key { " " } else { "" };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            if place == Place::Key {
                out.push('\n');
            }
            for (index, (key, value)) in fields.iter().enumerate() {
                if index > 0 || place == Place::Key {
                    indent(out, depth);
                }
                out.push_str(&scalar(key));
                out.push(':');
                write(out, value, depth + 1, Place::Key);
                end_line(out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            if place == Place::Key {
                out.push('\n');
            }
            for (index, item) in items.iter().enumerate() {
                if index > 0 || place == Place::Key {
                    indent(out, depth);
                }
                out.push_str("- ");
                write(out, item, depth + 1, Place::Start);
                end_line(out);
            }
        }
        Value::Object(_) => out.push_str(&format!("{separator}{{}}")),
        Value::Array(_) => out.push_str(&format!("{separator}[]")),
        Value::String(text) => out.push_str(&format!("{separator}{}", scalar(text))),
        other => out.push_str(&format!("{separator}{other}")),
    }
}

fn indent(out: &mut String, depth: usize) {
    out.push_str(&"  ".repeat(depth));
}

fn end_line(out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

/// Words that readers of YAML 1.1 or 1.2 take for a boolean or null.
const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"];

fn scalar(text: &str) -> String {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/');
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./ ".contains(c));
    let word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    if begins && plain && !word && !text.ends_with(' ') { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_are_blocks_and_doubtful_strings_are_quoted() {
        let value = json!({
            "type": "servers", "none": null, "empty": [], "table": {}, "count": 3, "ratio": 0.5, "on": true,
            "words": ["yes", "a b", "1.5", "x: y", "# z", "- a", "", "l\n2", "~"],
            "rows": [{ "a": 1, "b": { "c": [[1, 2], {}] } }],
        });
        let expected = "\
type: servers
none: null
empty: []
table: {}
count: 3
ratio: 0.5
\"on\": true
words:
  - \"yes\"
  - a b
  - \"1.5\"
  - \"x: y\"
  - \"# z\"
  - \"- a\"
  - \"\"
  - \"l\\n2\"
  - \"~\"
rows:
  - a: 1
    b:
      c:
        - - 1
          - 2
        - {}
";
        assert_eq!(to_yaml(&value), expected);
        assert_eq!(to_yaml(&json!("text")), "text\n");
    }

    #[test]
    fn a_reader_of_yaml_finds_the_same_document() {
        use saphyr_parser::{Event, Parser};
        let value = json!({ "a": ["x: 'y'", "\u{1b}[0m", "tab\t", "é", "12e3", "0x1F", "2026-11-30"], "b": { "null": "null" } });
        let mut strings = vec![];
        for event in Parser::new_from_str(&to_yaml(&value)) {
            if let (Event::Scalar(text, ..), _) = event.unwrap() {
                strings.push(text.into_owned());
            }
        }
        let expected = ["a", "x: 'y'", "\u{1b}[0m", "tab\t", "é", "12e3", "0x1F", "2026-11-30", "b", "null", "null"];
        assert_eq!(strings, expected);
    }
}
