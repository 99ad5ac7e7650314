//! The input of a workflow: defaults filled in, held against its schema.

use serde_json::Value;

use super::expression::Data;
use crate::domain::{body::Body, schema::Checker};

/// Violations that are told.
const TOLD: usize = 20;

/// The input with the schema's defaults, or everything that is wrong with it.
pub fn prepare(schema: &Body, given: &Data) -> Result<Data, Vec<String>> {
    if !given.is_object() {
        return Err(vec![format!("the input is {}, not an object", given.kind())]);
    }
    let parsed: Value = schema.value().unwrap_or_default();
    let filled = fill(&parsed, given, 0);
    let wrong = Checker::new(schema).judge(&filled.value()).map_err(|dear| vec![format!("the input cannot be checked: {dear}")])?;
    if wrong.is_empty() { Ok(filled) } else { Err(wrong.iter().take(TOLD).map(ToString::to_string).collect()) }
}

/// What is given with the schema's defaults, not held against it.
pub fn defaults(schema: &Body, given: &Data) -> Data {
    fill(&schema.value().unwrap_or_default(), given, 0)
}

fn fill(schema: &Value, given: &Data, depth: usize) -> Data {
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|_| depth < 16 && given.is_object()) else {
        return given.clone();
    };
    let mut members: Vec<(String, Data)> = vec![];
    for key in given.keys() {
        let value = given.member(&key).unwrap_or_default();
        let value = properties.get(&key).map_or_else(|| value.clone(), |inner| fill(inner, &value, depth + 1));
        members.push((key, value));
    }
    for (key, inner) in properties {
        if let (None, Some(default)) = (given.member(key), inner.get("default")) {
            members.push((key.clone(), Data::from(default)));
        }
    }
    Data::object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_filled_in_and_what_does_not_fit_is_told() {
        let schema = Body::from(
            r#"{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"n":{"type":"integer","default":3},
               "deep":{"type":"object","properties":{"x":{"default":[1]}}}}}"#,
        );
        let given = Data::parse(r#"{"deep":{},"name":"a"}"#).unwrap();
        assert_eq!(prepare(&schema, &given).unwrap().json(), r#"{"deep":{"x":[1]},"name":"a","n":3}"#);
        let wrong = prepare(&schema, &Data::parse(r#"{"n":"x"}"#).unwrap()).unwrap_err();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(prepare(&schema, &Data::parse("[]").unwrap()).unwrap_err()[0].contains("not an object"));
    }
}
