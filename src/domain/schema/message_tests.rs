//! Tests of messages: plain words, built from the schema, and never those of the validator.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn messages(schema: &Value, value: &Value) -> Vec<String> {
    let checker = Checker::new(&Body::json(schema));
    assert_eq!(checker.problem, None, "{schema}");
    checker.check(value).iter().map(ToString::to_string).collect()
}

fn message(schema: Value, value: Value) -> String {
    messages(&schema, &value).join(" | ")
}

/// Parts of every message of the validator, and the names of keywords that users do not know.
const PHRASES: &[&str] = &[
    "not valid under",
    "under any of",
    "schemas listed",
    "is valid under",
    "under the given",
    "False schema",
    "is not of type",
    "is not one of",
    "Additional ",
    "Unevaluated ",
    "required property",
    "does not match",
    "non-unique",
    "is greater than",
    "is less than",
    "is longer than",
    "is shorter than",
    "has more than",
    "has less than",
    "was expected",
    "is not a multiple",
    "is not compliant",
    "is not allowed for",
    "is not a \"",
    "keyword",
    "anyOf",
    "oneOf",
    "allOf",
    "maxLength",
    "additionalProperties",
];

#[test]
fn every_keyword_has_a_message_in_plain_words() {
    for (schema, value, wanted) in [
        (json!({"type": "string"}), json!(5), "expected a string, got 5"),
        (json!({"type": ["integer", "null"]}), json!("x"), "expected an integer or null, got \"x\""),
        (json!({"enum": ["a", 1, null]}), json!("b"), "expected \"a\", 1 or null, got \"b\""),
        (json!({"const": "a"}), json!({"b": 1}), "expected \"a\", got an object"),
        (json!({"required": ["a"]}), json!({}), "\"a\" is required"),
        (json!({"minimum": 1}), json!(0), "must be at least 1, got 0"),
        (json!({"maximum": 100}), json!(1000), "must be at most 100, got 1000"),
        (json!({"exclusiveMinimum": 1}), json!(1), "must be more than 1, got 1"),
        (json!({"exclusiveMaximum": 1.5}), json!(2), "must be less than 1.5, got 2"),
        (json!({"multipleOf": 5}), json!(7), "must be a multiple of 5, got 7"),
        (json!({"minLength": 1}), json!(""), "must have at least 1 character, has 0"),
        (json!({"maxLength": 2}), json!("abc"), "must have at most 2 characters, has 3"),
        (json!({"minItems": 2}), json!([1]), "must have at least 2 items, has 1"),
        (json!({"maxItems": 1}), json!([1, 2]), "must have at most 1 item, has 2"),
        (json!({"items": [true], "additionalItems": false}), json!([1, 2]), "/1: no value is allowed here"),
        (json!({"minProperties": 1}), json!({}), "must have at least 1 member, has 0"),
        (json!({"maxProperties": 0}), json!({"a": 1}), "must have at most 0 members, has 1"),
        (json!({"uniqueItems": true}), json!([1, 1]), "contains the same item more than once"),
        (json!({"pattern": "^a$"}), json!("b"), "must match the pattern ^a$, got \"b\""),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "format": "date"}),
            json!("tomorrow"),
            "must be a date (YYYY-MM-DD), got \"tomorrow\"",
        ),
        (json!({"contains": {"type": "null"}}), json!([1]), "contains too few items of the kind that the schema requires"),
        (
            json!({"contains": {"type": "integer"}, "maxContains": 1}),
            json!([1, 2]),
            "contains too many items of the kind that the schema limits",
        ),
        (json!({"not": {"const": 5}}), json!(5), "must not be 5, got 5"),
        (json!({"not": {"required": ["a"]}}), json!({"a": 1}), "must not be an object with \"a\", got an object"),
        (json!({"not": {"type": "string"}}), json!("x"), "must not be what the schema excludes, got \"x\""),
        (
            json!({"properties": {"a": {}, "b": {}}, "additionalProperties": false}),
            json!({"c": 1}),
            "\"c\" is not allowed; allowed: a and b",
        ),
        (json!({"unevaluatedProperties": false}), json!({"c": 1, "d": 2}), "\"c\" and \"d\" are not allowed"),
        (json!({"prefixItems": [true], "unevaluatedItems": false}), json!([1, 2]), "1 item more than the schema allows"),
        (
            json!({"propertyNames": {"maxLength": 1}}),
            json!({"ab": 1}),
            "the name \"ab\" is not allowed: must have at most 1 character, has 2",
        ),
        (json!({"properties": {"old": false}}), json!({"old": 1}), "/old: no value is allowed here"),
        (json!({"dependentRequired": {"a": ["b"]}}), json!({"a": 1}), "\"b\" is required"),
        (json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}}), json!({"a": 1}), "\"b\" is required"),
        (json!({"oneOf": [{"type": "integer"}, {"minimum": 3}]}), json!(5), "matches 2 of 2 alternatives, but exactly one is allowed"),
    ] {
        let found = message(schema.clone(), value);
        assert_eq!(found, wanted, "{schema}");
        assert!(!PHRASES.iter().any(|phrase| found.contains(phrase)), "{found}");
    }
}

#[test]
fn a_union_reports_the_allowed_values_or_its_nearest_alternative() {
    let optional = |schema: Value| json!({"properties": {"x": {"anyOf": [schema, {"type": "null"}], "default": null}}});
    let shape = json!({"properties": {"shape": {"oneOf": [
        {"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}}, "required": ["kind", "r"],
            "additionalProperties": false},
        {"type": "object", "properties": {"kind": {"const": "box"}, "w": {"type": "number"}, "h": {"type": "number"}},
            "required": ["kind", "w", "h"], "additionalProperties": false},
    ]}}});
    let colors = json!({"oneOf": [{"const": "#f00", "title": "Red"}, {"const": "#0f0", "title": "Green"}]});
    let many = json!({"anyOf": [{"enum": (0..30).collect::<Vec<_>>()}, {"type": "null"}]});
    for (schema, value, wanted) in [
        (
            optional(json!({"type": "string", "enum": ["low", "high"]})),
            json!({"x": "mid"}),
            "/x: expected \"low\", \"high\" or null, got \"mid\"",
        ),
        (optional(json!({"type": "integer", "minimum": 1, "maximum": 50})), json!({"x": 99}), "/x: must be at most 50, got 99, or null"),
        (optional(json!({"type": "integer"})), json!({"x": "a"}), "/x: expected an integer or null, got \"a\""),
        (colors.clone(), json!("Red"), "expected \"#f00\" (Red) or \"#0f0\" (Green), got \"Red\""),
        (many, json!(77), "expected 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 or 21 more, got 77"),
        // The member with a constant decides which alternative is meant.
        (
            shape.clone(),
            json!({"shape": {"kind": "circle", "w": 2}}),
            "/shape: \"r\" is required | /shape: \"w\" is not allowed; allowed: kind and r",
        ),
        (shape.clone(), json!({"shape": {"kind": "box", "w": 2}}), "/shape: \"h\" is required"),
        (shape.clone(), json!({"shape": {"kind": "tri"}}), "/shape/kind: expected \"circle\" or \"box\", got \"tri\""),
        (shape, json!({"shape": 5}), "/shape: expected an object, got 5"),
        // Unions in unions.
        (
            json!({"anyOf": [{"anyOf": [{"const": 1}, {"const": 2}]}, {"oneOf": [{"const": 3}, {"type": "string"}]}]}),
            json!(9),
            "expected 1, 2, 3 or a string, got 9",
        ),
        (
            json!({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({}),
            "matches no alternative: \"a\" is required or \"b\" is required",
        ),
        (
            json!({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
            json!(["a", 1]),
            "/1: expected a string, got 1",
        ),
    ] {
        assert_eq!(message(schema.clone(), value), wanted, "{schema}");
    }
}

#[test]
fn messages_are_short_whatever_the_value() {
    let long = "x".repeat(10_000);
    let names: serde_json::Map<String, Value> = (0..200).map(|at| (format!("name{at}"), json!(1))).collect();
    for (schema, value) in [
        (json!({"type": "integer"}), json!(long)),
        (json!({"const": long}), json!(long.clone() + "y")),
        (json!({"pattern": format!("^{}$", "a".repeat(5_000))}), json!(long)),
        (json!({"additionalProperties": false}), Value::Object(names.clone())),
        (
            json!({"properties": names.keys().map(|name| (name.clone(), json!({}))).collect::<serde_json::Map<_, _>>(), "additionalProperties": false}),
            json!({"y": 1}),
        ),
        (json!({"enum": names.keys().collect::<Vec<_>>()}), json!({"a": [1, 2, 3]})),
        (json!({"anyOf": names.keys().map(|name| json!({"required": [name]})).collect::<Vec<_>>()}), json!({})),
    ] {
        let found = message(schema, value);
        assert!(!found.is_empty() && found.chars().count() < 1_000, "{found}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3i64..12).prop_map(Value::from),
        Just(json!(1.5)),
        "[a-c]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-c]", inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Schemas with every keyword that checks something.
fn any_schema() -> impl Strategy<Value = Value> {
    let types = prop::sample::select(vec!["string", "integer", "number", "boolean", "object", "array", "null"]);
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        types.clone().prop_map(|name| json!({"type": name})),
        prop::collection::vec(types, 1..3).prop_map(|names| json!({"type": names})),
        any_value().prop_map(|value| json!({"const": value})),
        prop::collection::vec(any_value(), 1..14).prop_map(|values| json!({"enum": values})),
        (0u64..3, 0u64..3).prop_map(|(low, high)| json!({"minLength": low, "maxLength": high, "minItems": low, "maxItems": high})),
        (0u64..3, 0u64..3).prop_map(|(low, high)| json!({"minProperties": low, "maxProperties": high, "uniqueItems": true})),
        (0i64..5, 0i64..5).prop_map(|(low, high)| json!({"minimum": low, "maximum": high, "multipleOf": 2})),
        (0i64..5, 0i64..5).prop_map(|(low, high)| json!({"exclusiveMinimum": low, "exclusiveMaximum": high})),
        "[a-c]".prop_map(|text| json!({"pattern": format!("^{text}")})),
        prop::collection::vec("[a-c]", 1..3).prop_map(|names| json!({"required": names})),
        ("[a-c]", "[a-c]").prop_map(|(one, other)| json!({"dependentRequired": {one: [other]}})),
        prop::sample::select(vec!["date", "email", "uuid", "ipv4", "uri"])
            .prop_map(|format| json!({"$schema": "http://json-schema.org/draft-07/schema#", "format": format})),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let one = inner.clone();
        let several = prop::collection::vec(inner.clone(), 1..5);
        let members =
            prop::collection::vec(("[a-c]", inner), 0..3).prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>());
        prop_oneof![
            several.clone().prop_map(|list| json!({"anyOf": list})),
            several.clone().prop_map(|list| json!({"oneOf": list})),
            several.clone().prop_map(|list| json!({"allOf": list})),
            several.prop_map(|list| json!({"prefixItems": list, "items": false})),
            one.clone().prop_map(|schema| json!({"items": schema})),
            one.clone().prop_map(|schema| json!({"contains": schema, "maxContains": 1})),
            one.clone().prop_map(|schema| json!({"not": schema})),
            one.clone().prop_map(|schema| json!({"propertyNames": schema})),
            (one.clone(), one.clone(), one.clone()).prop_map(|(a, b, c)| json!({"if": a, "then": b, "else": c})),
            one.clone().prop_map(|schema| json!({"patternProperties": {"^a": schema}, "unevaluatedProperties": false})),
            one.prop_map(|schema| json!({"dependentSchemas": {"a": schema}, "unevaluatedItems": false})),
            (members, any::<bool>()).prop_map(|(members, open)| json!({"properties": members, "additionalProperties": open})),
        ]
    })
}

/// Returns the own text of the validator for an error and those within it.
fn own_texts(error: &jsonschema::ValidationError<'_>, out: &mut Vec<String>) {
    out.push(error.to_string());
    match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            context.iter().flatten().for_each(|inner| own_texts(inner, out));
        }
        ValidationErrorKind::PropertyNames { error } => own_texts(error, out),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_message_holds_words_of_the_validator(schema in any_schema(), value in any_value()) {
        let checker = Checker::new(&Body::json(&schema));
        let Some(compiled) = &checker.compiled else { return Ok(()) };
        let mut texts = vec![];
        let errors: Vec<_> = compiled.validator.iter_errors(&value).collect();
        errors.iter().for_each(|error| own_texts(error, &mut texts));
        let Ok(found) = checker.judge(&value) else { return Ok(()) };
        prop_assert_eq!(found.is_empty(), errors.is_empty(), "{} {}", schema, value);
        for violation in found.iter().chain(&checker.glance_unions(&value).unwrap_or_default()) {
            let message = &violation.message;
            prop_assert!(!message.is_empty());
            prop_assert!(!PHRASES.iter().any(|phrase| message.contains(phrase)), "{} for {}", message, schema);
            prop_assert!(!texts.iter().any(|text| message.contains(text)), "{} for {}", message, schema);
        }
    }
}
