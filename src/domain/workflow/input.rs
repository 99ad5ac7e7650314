//! Workflow input from command line text, and example input.

use serde_json::{Map, Value};

use super::expression::Data;
use crate::domain::body::Body;

/// Returns the value of the input `name` from command line text: a string where the schema wants one, otherwise
/// parsed as JSON, otherwise a string after all.
pub fn from_text(schema: &Body, name: &str, text: &str) -> Data {
    let schema: Value = schema.parse().unwrap_or_default();
    let property = schema.get("properties").and_then(|properties| properties.get(name));
    let wanted = property.and_then(|property| property.get("type"));
    let strings = |all: &Value| all.as_array().is_some_and(|all| all.iter().all(Value::is_string));
    let string = match wanted {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        _ => property.and_then(|property| property.get("enum")).is_some_and(strings),
    };
    if string { Data::from(text) } else { Data::parse(text).unwrap_or_else(|_| Data::from(text)) }
}

/// Returns an example input: defaults, examples, first choices, or an empty value of the type.
pub fn example(schema: &Body) -> Value {
    let schema: Value = schema.parse().unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    let members = properties.into_iter().flatten().map(|(key, property)| (key.clone(), example_of(property)));
    Value::Object(members.collect::<Map<_, _>>())
}

fn example_of(schema: &Value) -> Value {
    let first = |key: &str| schema.get(key).and_then(Value::as_array).and_then(|all| all.first()).cloned();
    let fixed = schema.get("default").cloned().or_else(|| schema.get("const").cloned());
    if let Some(value) = fixed.or_else(|| first("examples")).or_else(|| first("enum")) {
        return value;
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => "".into(),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 0.into()),
        Some("boolean") => false.into(),
        Some("array") => Value::Array(vec![]),
        Some("object") => Value::Object(Map::new()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workflow::parse::{Source, parse};

    #[test]
    fn command_line_text_takes_the_type_of_the_schema() {
        let text = "name = \"x\"\n[input]\ns = \"string\"\nn = \"integer\"\nl = \"string[]\"\nany = \"any\"\ne = { enum = [\"1\", \"2\"] }\n[[step]]\nid = \"a\"\ntool = \"t\"\n";
        let plan = parse(&Source { file: "x.toml".into(), text: text.into() }, &|_| None).unwrap();
        let read = |name: &str, text: &str| from_text(&plan.input, name, text).json();
        assert_eq!(read("s", "12"), r#""12""#);
        assert_eq!(read("n", "12"), "12");
        assert_eq!(read("n", "12345678901234567890123"), "12345678901234567890123");
        assert_eq!(read("l", r#"["a"]"#), r#"["a"]"#);
        assert_eq!(read("any", "a b"), r#""a b""#);
        assert_eq!(read("e", "2"), r#""2""#);
        assert_eq!(example(&plan.input).to_string(), r#"{"s":"","n":0,"l":[],"any":null,"e":"1"}"#);
    }
}
