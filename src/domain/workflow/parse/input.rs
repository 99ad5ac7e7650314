//! `[input]` and the `schema` of an elicit step: the short form, or a complete JSON Schema.

use serde_json::{Map, Value, json};

use super::reader::Table;
use crate::domain::{body::Body, document::Field, schema::Checker, workflow::closest_match};

/// The type names of the short form.
const TYPES: [&str; 7] = ["string", "integer", "number", "boolean", "array", "object", "any"];

/// Type names of other languages, with those of the short form.
const FOREIGN_TYPES: [(&str, &str); 13] = [
    ("int", "integer"),
    ("long", "integer"),
    ("str", "string"),
    ("text", "string"),
    ("bool", "boolean"),
    ("float", "number"),
    ("double", "number"),
    ("list", "array"),
    ("dict", "object"),
    ("map", "object"),
    ("record", "object"),
    ("json", "any"),
    ("unknown", "any"),
];

/// Reads a table as the schema of an object.
pub(super) fn schema(table: &mut Table<'_, '_, '_>) -> Body {
    let full = table.node("type").and_then(|node| node.text()) == Some("object")
        && table.node("properties").is_some_and(|node| node.fields().is_some());
    let schema = if full { full_schema(table) } else { short_schema(table) };
    let body = Body::json(&schema);
    if let Some(reason) = Checker::new(&body).reason() {
        table.report_problem(table.span, "", format!("is not a valid JSON Schema: {reason}"), None);
    }
    body
}

fn full_schema(table: &mut Table<'_, '_, '_>) -> Value {
    let mut schema = Map::new();
    for field in table.fields {
        schema.insert(field.key.clone(), value(table, field));
    }
    Value::Object(schema)
}

fn value(table: &mut Table<'_, '_, '_>, field: &Field) -> Value {
    match field.value.data() {
        Ok(data) => data.value(),
        Err(at) => {
            table.report_problem((at, field.value.end), &field.key, "is not a valid JSON number", None);
            Value::Null
        }
    }
}

fn short_schema(table: &mut Table<'_, '_, '_>) -> Value {
    let (mut properties, mut required) = (Map::new(), vec![]);
    for field in table.fields {
        let (property, optional) = match field.value.text() {
            Some(word) => match shorthand(word) {
                Some(found) => found,
                None => {
                    let name = word.trim_end_matches('?').trim_end_matches("[]");
                    let hint = FOREIGN_TYPES
                        .iter()
                        .find(|(foreign, _)| *foreign == name.to_ascii_lowercase())
                        .map(|(_, own)| *own)
                        .or_else(|| closest_match(name, TYPES))
                        .map_or_else(|| format!("must be one of {}", TYPES.join(", ")), |candidate| format!("did you mean `{candidate}`?"));
                    table.report_problem((field.value.at, field.value.end), &field.key, format!("unknown type {word:?}"), Some(hint));
                    continue;
                }
            },
            None if field.value.fields().is_some() => table_property(table, field),
            None => {
                let message = format!("is {}, not a type", field.value.kind_name());
                table.report_problem(
                    (field.value.at, field.value.end),
                    &field.key,
                    message,
                    Some("write \"string\" or { type = \"integer\", default = 20 }".into()),
                );
                continue;
            }
        };
        if !optional {
            required.push(Value::from(field.key.as_str()));
        }
        properties.insert(field.key.clone(), property);
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// Parses a short form: `string`, `string?` (optional), `string[]` (a list).
fn shorthand(word: &str) -> Option<(Value, bool)> {
    let (word, optional) = word.strip_suffix('?').map_or((word, false), |word| (word, true));
    let (word, list) = word.strip_suffix("[]").map_or((word, false), |word| (word, true));
    let one = match word {
        "any" => json!({}),
        word if TYPES.contains(&word) => json!({"type": word}),
        _ => return None,
    };
    Some((if list { json!({"type": "array", "items": one}) } else { one }, optional))
}

/// Reads a property in table form, `{ type = "integer", default = 20 }`: a schema, and `optional`.
fn table_property(table: &mut Table<'_, '_, '_>, field: &Field) -> (Value, bool) {
    let mut schema = value(table, field);
    let fields = schema.as_object_mut();
    let mut optional = false;
    if let Some(fields) = fields {
        optional = fields.shift_remove("optional").is_some_and(|value| value == true);
        let word = fields.get("type").and_then(Value::as_str).filter(|word| *word == "any" || !TYPES.contains(word));
        if let Some((one, list_is_optional)) = word.and_then(shorthand) {
            optional |= list_is_optional;
            fields.shift_remove("type");
            for (key, value) in one.as_object().into_iter().flatten() {
                fields.entry(key.clone()).or_insert(value.clone());
            }
        }
        optional |= fields.contains_key("default");
    }
    let checker = Checker::new(&Body::json(&schema));
    if let (None, Some(default)) = (&checker.problem, schema.get("default"))
        && let Some(violation) = checker.check(default).first()
    {
        let at = field.value.field("default").map_or((field.at, field.end), |found| (found.value.at, found.value.end));
        table.report_problem(at, &format!("{}.default", field.key), violation.message.clone(), None);
    }
    if let Some(reason) = checker.reason() {
        table.report_problem((field.at, field.end), &field.key, format!("is not a valid JSON Schema: {reason}"), None);
        return (json!({}), optional);
    }
    (schema, optional)
}
