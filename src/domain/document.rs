//! Documents: trees of values with their places in the text, and the only parser of TOML into them.
//!
//! `config` and [`super::workflow`] read their files from this tree, so that every error has a place. `config` also makes
//! it from JSON.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::nesting;

/// Most syntax errors that are reported for one text.
const MOST_ERRORS: usize = 10;

/// A value with its byte range.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its kind and content.
    pub kind: Kind,
    /// The byte offset of its start.
    pub at: usize,
    /// The byte offset of its end.
    pub end: usize,
}

/// The kind and content of a value.
#[derive(Clone, Debug)]
pub enum Kind {
    /// In JSON only.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// As decimal digits, of any size.
    Integer(String),
    /// In JSON notation; `inf`, `nan` and integers in another radix with more than 128 bits as TOML writes them.
    Float(String),
    /// As written.
    Date(String),
    /// A string.
    Text(String),
    /// The items.
    Array(Vec<Node>),
    /// The fields, in the order of the file.
    Table(Vec<Field>),
}

/// A key of a table with its byte range and its value.
#[derive(Clone, Debug)]
pub struct Field {
    /// The key.
    pub key: String,
    /// The byte offset of the start of the key.
    pub at: usize,
    /// The byte offset of the end of the key.
    pub end: usize,
    /// The value.
    pub value: Node,
}

/// A syntax error with its byte range.
#[derive(Clone, Debug)]
pub struct SyntaxError {
    /// The byte offset of its start.
    pub at: usize,
    /// The byte offset of its end.
    pub end: usize,
    /// The message, which may have several lines.
    pub message: String,
    /// The hint.
    pub hint: &'static str,
}

impl Node {
    /// Returns the name of the kind for users.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "null",
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

    /// Returns the integer; `None` if it has more than 64 bits.
    pub fn integer(&self) -> Option<i64> {
        match &self.kind {
            Kind::Integer(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// Returns the integer or float.
    pub fn number(&self) -> Option<f64> {
        match &self.kind {
            Kind::Integer(digits) | Kind::Float(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// Returns the digits of an integer or float; `None` if JSON cannot represent it.
    pub fn digits(&self) -> Option<&str> {
        match &self.kind {
            Kind::Integer(digits) => Some(digits),
            Kind::Float(digits) => digits.parse::<f64>().is_ok_and(f64::is_finite).then_some(digits),
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

    /// Returns the fields of a table, in the order of the file.
    pub fn fields(&self) -> Option<&[Field]> {
        match &self.kind {
            Kind::Table(fields) => Some(fields),
            _ => None,
        }
    }

    /// Returns the field of a table with this key; the last one if JSON repeats the key.
    pub fn field(&self, key: &str) -> Option<&Field> {
        self.fields()?.iter().rev().find(|field| field.key == key)
    }

    /// Returns the value of a key of a table.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.field(key).map(|field| &field.value)
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

    /// Converts the value to JSON. Dates, and numbers that JSON cannot represent, become strings.
    pub fn json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(b) => Value::Bool(*b),
            Kind::Integer(n) | Kind::Float(n) => n.parse::<serde_json::Number>().map_or_else(|_| Value::from(n.as_str()), Value::Number),
            Kind::Date(text) | Kind::Text(text) => Value::from(text.as_str()),
            Kind::Array(items) => Value::Array(items.iter().map(Node::json).collect()),
            Kind::Table(fields) => Value::Object(fields.iter().map(|f| (f.key.clone(), f.value.json())).collect()),
        }
    }
}

/// Parses TOML. Returns at most ten syntax errors.
pub fn parse_toml(text: &str) -> Result<Node, Vec<SyntaxError>> {
    if let Some(at) = nesting::deep_toml(text) {
        let message = format!("tables and arrays are nested more than {} deep", nesting::TOML);
        return Err(vec![SyntaxError { at, end: at + 1, message, hint: "reduce the nesting" }]);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table_node(table.get_ref(), 0, text.len()));
    }
    let found = errors.iter().take(MOST_ERRORS).map(|error| {
        let (at, end) = error.span().map_or((0, 0), |span| (span.start, span.end));
        SyntaxError { at, end, message: error.message().to_owned(), hint: "this is not valid TOML" }
    });
    Err(found.collect())
}

fn table_node(table: &DeTable<'_>, at: usize, end: usize) -> Node {
    let mut fields: Vec<Field> = table
        .iter()
        .map(|(key, value)| {
            let span = key.span();
            Field { key: key.get_ref().to_string(), at: span.start, end: span.end, value: node(value) }
        })
        .collect();
    fields.sort_by_key(|field| field.at);
    Node { kind: Kind::Table(fields), at, end }
}

fn node(value: &Spanned<DeValue<'_>>) -> Node {
    let (at, end) = (value.span().start, value.span().end);
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Boolean(value) => Kind::Bool(*value),
        DeValue::Integer(number) => integer(number.as_str(), number.radix()),
        DeValue::Float(number) => Kind::Float(plain(number.as_str())),
        DeValue::Datetime(date) => Kind::Date(date.to_string()),
        DeValue::Array(items) => Kind::Array(items.iter().map(node).collect()),
        DeValue::Table(table) => return table_node(table, at, end),
    };
    Node { kind, at, end }
}

/// Converts an integer to decimal. In another radix, one with more than 128 bits becomes a float that is not a number in
/// JSON.
fn integer(digits: &str, radix: u32) -> Kind {
    let digits = plain(digits);
    if radix == 10 {
        return Kind::Integer(digits);
    }
    let prefix = match radix {
        16 => "0x",
        8 => "0o",
        _ => "0b",
    };
    u128::from_str_radix(&digits, radix)
        .map_or_else(|_| Kind::Float(format!("{prefix}{digits}")), |number| Kind::Integer(number.to_string()))
}

/// Removes what JSON does not allow in a number: underscores and a plus.
fn plain(digits: &str) -> String {
    digits.trim_start_matches('+').replace('_', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let long = format!("0x{}", "1".repeat(40));
        for (written, digits, integer, json) in [
            ("1_000", Some("1000"), Some(1000), "1000"),
            ("+7", Some("7"), Some(7), "7"),
            ("0xff", Some("255"), Some(255), "255"),
            ("0o17", Some("15"), Some(15), "15"),
            ("-9223372036854775808", Some("-9223372036854775808"), Some(i64::MIN), "-9223372036854775808"),
            ("18446744073709551615", Some("18446744073709551615"), None, "18446744073709551615"),
            ("1_0.50", Some("10.50"), None, "10.5"),
            ("+1e3", Some("1e3"), None, "1000.0"),
            ("nan", None, None, "\"nan\""),
            (&long, None, None, &format!("{long:?}")),
        ] {
            let tree = parse_toml(&format!("a = {written}")).unwrap();
            let node = tree.get("a").unwrap();
            assert_eq!((node.digits(), node.integer(), node.json().to_string().as_str()), (digits, integer, json), "{written}");
        }
    }

    #[test]
    fn places_are_byte_ranges() {
        let text = "z = \"é\"\n[t]\nkey = [1, 2020-01-02]\n";
        let tree = parse_toml(text).unwrap();
        let path = |path: &[&str]| {
            let (at, end) = tree.locate(&path.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>());
            &text[at..end]
        };
        assert_eq!((path(&["z"]), path(&["t", "key"]), path(&["t", "key", "1"])), ("z", "key", "2020-01-02"));
        assert_eq!((path(&["t", "other"]), path(&[])), ("t", text));
        let errors = parse_toml("a = 1\nb = \n").unwrap_err();
        assert_eq!((errors[0].at, errors[0].hint), (10, "this is not valid TOML"));
    }
}
