//! Input values of a workflow: fills in defaults and validates against the input schema.

use serde_json::Value;

use super::expression::Data;
use crate::domain::{body::Body, schema::Checker};

/// How many violations are reported.
const MAX_VIOLATIONS: usize = 20;

/// Returns the input with the schema's defaults, or all violations of the schema.
pub fn prepare(schema: &Body, input: &Data) -> Result<Data, Vec<String>> {
    if !input.is_object() {
        return Err(vec![format!("the input is {}, not an object", input.kind())]);
    }
    let parsed: Value = schema.value().unwrap_or_default();
    let filled = fill(&parsed, input, 0);
    let violations = Checker::new(schema).judge(&filled.value()).map_err(|error| vec![format!("the input cannot be checked: {error}")])?;
    if violations.is_empty() { Ok(filled) } else { Err(violations.iter().take(MAX_VIOLATIONS).map(ToString::to_string).collect()) }
}

/// Returns the input with the schema's defaults, without validation.
pub fn defaults(schema: &Body, input: &Data) -> Data {
    fill(&schema.value().unwrap_or_default(), input, 0)
}

fn fill(schema: &Value, input: &Data, depth: usize) -> Data {
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|_| depth < 16 && input.is_object()) else {
        return input.clone();
    };
    let mut members: Vec<(String, Data)> = vec![];
    for key in input.keys() {
        let value = input.member(&key).unwrap_or_default();
        let value = properties.get(&key).map_or_else(|| value.clone(), |inner| fill(inner, &value, depth + 1));
        members.push((key, value));
    }
    for (key, inner) in properties {
        if let (None, Some(default)) = (input.member(key), inner.get("default")) {
            members.push((key.clone(), Data::from(default)));
        }
    }
    Data::object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_filled_in_and_violations_are_reported() {
        let schema = Body::from(
            r#"{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"n":{"type":"integer","default":3},
               "deep":{"type":"object","properties":{"x":{"default":[1]}}}}}"#,
        );
        let input = Data::parse(r#"{"deep":{},"name":"a"}"#).unwrap();
        assert_eq!(prepare(&schema, &input).unwrap().json(), r#"{"deep":{"x":[1]},"name":"a","n":3}"#);
        let violations = prepare(&schema, &Data::parse(r#"{"n":"x"}"#).unwrap()).unwrap_err();
        assert_eq!(violations.len(), 2, "{violations:?}");
        assert!(prepare(&schema, &Data::parse("[]").unwrap()).unwrap_err()[0].contains("not an object"));
    }
}
