//! The input of a run: what was given, with the defaults of the schema, checked.

use serde_json::{Map, Value};

use super::{expression::Data, plan::Plan};
use crate::domain::schema::{Checker, Violation};

/// The input as a run begins with it: `given` (an object) with the schema's defaults for what is not in it.
/// An error is everything that does not fit the schema.
pub fn fill(plan: &Plan, given: &Data) -> Result<Data, Vec<Violation>> {
    let schema: Value = plan.input.parse().unwrap_or_default();
    let filled = defaults(given, &schema, 0);
    let violations = Checker::new(&plan.input).check(&filled.value());
    if violations.is_empty() { Ok(filled) } else { Err(violations) }
}

/// A value for the input `name` from text, as a command line gives it: text where the schema wants a string,
/// else JSON if it is some, else text after all.
pub fn from_text(plan: &Plan, name: &str, text: &str) -> Data {
    let schema: Value = plan.input.parse().unwrap_or_default();
    let property = schema.get("properties").and_then(|properties| properties.get(name));
    let wanted = property.and_then(|property| property.get("type"));
    let string = match wanted {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        _ => property
            .is_some_and(|property| property.get("enum").and_then(Value::as_array).is_some_and(|all| all.iter().all(Value::is_string))),
    };
    if string { Data::from(text) } else { Data::parse(text).unwrap_or_else(|_| Data::from(text)) }
}

fn defaults(given: &Data, schema: &Value, depth: usize) -> Data {
    let properties = schema.get("properties").and_then(Value::as_object);
    let (Some(properties), true, true) = (properties, given.is_object(), depth < 20) else { return given.clone() };
    let mut members: Vec<(String, Data)> = given
        .keys()
        .into_iter()
        .map(|key| {
            let value = given.member(&key).unwrap_or_default();
            let inner = properties.get(&key).unwrap_or(&Value::Null);
            let value = defaults(&value, inner, depth + 1);
            (key, value)
        })
        .collect();
    let missing = |(key, _): &(&String, &Value)| given.member(key).is_none();
    let added = properties.iter().filter(missing).filter_map(|(key, property)| Some((key.clone(), Data::from(property.get("default")?))));
    members.extend(added.collect::<Vec<_>>());
    Data::object(members)
}

/// An example of the input: defaults, examples, first choices, else an empty value of the type. For forms and
/// for `switchboard workflow new`.
pub fn example(plan: &Plan) -> Value {
    let schema: Value = plan.input.parse().unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    let members = properties.into_iter().flatten().map(|(key, property)| (key.clone(), example_of(property)));
    Value::Object(members.collect::<Map<_, _>>())
}

fn example_of(schema: &Value) -> Value {
    let first = |key: &str| schema.get(key).and_then(Value::as_array).and_then(|all| all.first()).cloned();
    if let Some(value) =
        schema.get("default").cloned().or_else(|| schema.get("const").cloned()).or_else(|| first("examples")).or_else(|| first("enum"))
    {
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

    fn plan(input: &str) -> Plan {
        let text = format!("name = \"x\"\n[input]\n{input}\n[[step]]\nid = \"a\"\ntool = \"t\"\n");
        parse(&Source { file: "x.toml".into(), text }, &|_| None).unwrap()
    }

    #[test]
    fn defaults_come_in_and_what_is_given_stays() {
        let plan = plan(
            "a = \"string\"\nn = { type = \"integer\", default = 20 }\no = { type = \"object\", properties = { x = { default = true } }, default = {} }\nr = \"string?\"",
        );
        let filled = fill(&plan, &Data::parse(r#"{"a":"x","o":{}}"#).unwrap()).unwrap();
        assert_eq!(filled.json(), r#"{"a":"x","o":{"x":true},"n":20}"#);
        let wrong = fill(&plan, &Data::parse(r#"{"n":"x","z":1}"#).unwrap()).unwrap_err();
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(fill(&plan, &Data::from("text")).is_err());
    }

    #[test]
    fn text_from_a_command_line_takes_the_type_that_is_wanted() {
        let plan = plan("s = \"string\"\nn = \"integer\"\nl = \"string[]\"\nany = \"any\"");
        let read = |name: &str, text: &str| from_text(&plan, name, text).json();
        assert_eq!(read("s", "12"), r#""12""#);
        assert_eq!(read("n", "12"), "12");
        assert_eq!(read("n", "12345678901234567890123"), "12345678901234567890123");
        assert_eq!(read("l", r#"["a"]"#), r#"["a"]"#);
        assert_eq!(read("any", "a b"), r#""a b""#);
        assert_eq!(example(&plan).to_string(), r#"{"s":"","n":0,"l":[],"any":null}"#);
    }
}
