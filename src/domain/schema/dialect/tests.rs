//! Tests of schemas of other drafts and dialects, and of schemas with mistakes.

use serde_json::{Value, json};

use crate::domain::{body::Body, schema::Checker};

/// Checks which values a schema allows, and what is reported about it.
fn assert_reads(schema: Value, valid: &[Value], invalid: &[Value], defects: &[&str]) {
    let checker = Checker::new(&Body::json(&schema));
    assert_eq!(checker.problem, None, "{schema}");
    for value in valid {
        assert_eq!(checker.check(value), [], "{schema} allows {value}");
    }
    for value in invalid {
        assert!(!checker.check(value).is_empty(), "{schema} refuses {value}");
    }
    let found: Vec<String> = checker.defects.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), defects.len(), "{schema}: {found:?}");
    for (found, wanted) in found.iter().zip(defects) {
        assert!(found.contains(wanted), "{found:?}, wanted {wanted:?}");
    }
}

#[test]
fn one_bad_keyword_turns_off_itself_only() {
    let with =
        |key: &str, value: Value| json!({"properties": {"v": {"type": "string", key: value}, "n": {"type": "integer"}}, "required": ["n"]});
    for (key, value, words) in [
        ("pattern", json!("([a-z"), "/properties/v/pattern is not checked: \"([a-z\" is not a valid regular expression"),
        ("pattern", json!(7), "/properties/v/pattern is not checked: 7 is not a regular expression"),
        ("minLength", json!(-1), "/properties/v/minLength is not checked: -1 is not a count"),
        ("maxLength", json!("many"), "\"many\" is not a number"),
        ("enum", json!("a"), "\"a\" is not a list of values"),
        ("enum", json!([]), "an empty list is not a list of values"),
        ("anyOf", json!([]), "is not a list of schemas"),
        ("allOf", json!(true), "true is not a list of schemas"),
        ("not", json!(3), "3 is not a schema"),
        ("required", json!(3), "3 is not a list of names"),
        ("properties", json!([]), "an empty list is not an object of schemas"),
        ("uniqueItems", json!("maybe"), "\"maybe\" is not true or false"),
        ("$ref", json!("#/$defs/none"), "/properties/v/$ref is not checked: $ref \"#/$defs/none\" is not defined in the schema"),
        ("$ref", json!("https://example.com/x.json"), "references to other documents are not followed"),
    ] {
        assert_reads(
            with(key, value),
            &[json!({"v": "x", "n": 1})],
            &[json!({"v": "x"}), json!({"v": 5, "n": 1}), json!({"n": "1"})],
            &[words],
        );
    }
    for key in ["description", "default", "title", "examples", "x-anything", "$comment", "readOnly"] {
        assert_reads(with(key, Value::Null), &[json!({"n": 1})], &[json!({})], &[]);
    }
    assert_reads(json!({"type": 7, "required": ["a"]}), &[json!({"a": 1})], &[json!({})], &["7 is not a type"]);
    assert_reads(json!({"type": "frob", "required": ["a"]}), &[json!({"a": 1})], &[json!({})], &["\"frob\" is not a type"]);
    // A name that only the unusable pattern would allow is not refused.
    let names = json!({"patternProperties": {"([": {}}, "additionalProperties": false, "properties": {"n": {"type": "integer"}}});
    assert_reads(names, &[json!({"x": 1})], &[json!({"n": "x"})], &["not a valid regular expression", "depends on a pattern"]);
    let named = json!({"properties": {"a": {"type": "integer"}, "required": ["a"]}, "additionalProperties": false});
    assert_reads(named, &[json!({"a": 1})], &[json!({"a": "x"})], &["/properties/required is not checked: a list is not a schema"]);
    let schemaless = json!({"$schema": "urn:mine", "required": ["a"]});
    assert_reads(schemaless, &[json!({"a": 1})], &[json!({})], &["the dialect \"urn:mine\" is unknown; 2020-12 is used"]);
    let many: serde_json::Map<String, Value> = (0..200).map(|at| (format!("p{at}"), json!({"type": 7}))).collect();
    let checker = Checker::new(&Body::json(&json!({"properties": many})));
    assert_eq!(
        (checker.defects.len(), checker.warnings().last().map(String::as_str)),
        (21, Some("180 more parts of the schema are not checked as written"))
    );
}

#[test]
fn keywords_of_older_drafts_are_checked() {
    let exclusive = json!({"properties": {"x": {"minimum": 0, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": false}}});
    assert_reads(exclusive, &[json!({"x": 9})], &[json!({"x": 0})], &[]);
    let tuple = json!({"items": [{"type": "string"}, {"type": "integer"}], "additionalItems": {"type": "boolean"}});
    assert_reads(tuple, &[json!(["a", 1, true])], &[json!([1]), json!(["a", 1, 2])], &[]);
    let dependencies = json!({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}});
    assert_reads(dependencies, &[json!({"a": 1, "b": 1})], &[json!({"a": 1}), json!({"c": 1})], &[]);
    let definitions = json!({"definitions": {"N": {"type": "integer"}}, "properties": {"x": {"$ref": "#/definitions/N"}}});
    assert_reads(definitions, &[json!({"x": 1})], &[json!({"x": "1"})], &[]);
    let named = json!({"id": "http://a/b", "definitions": {"N": {"id": "#n", "type": "integer"}}, "properties": {"x": {"$ref": "#n"}}});
    assert_reads(named, &[json!({"x": 1})], &[json!({"x": "1"})], &[]);
    let renamed = json!({"items": [{"type": "integer"}, {"$ref": "#/items/0"}]});
    assert_reads(renamed, &[json!([1, 2])], &[json!([1, "2"])], &[]);
    let deep = json!({"definitions": {"P": {"items": [{"type": "integer"}]}}, "properties": {"x": {"$ref": "#/definitions/P/items/0"}}});
    assert_reads(deep, &[json!({"x": 1})], &[json!({"x": "1"})], &[]);
    let required = json!({"properties": {"a": {"type": "string", "required": true}, "b": {"required": false}}});
    assert_reads(required, &[json!({"a": "x"})], &[json!({})], &["/properties/a/required: true is read as a required member"]);
    let recursive = json!({"properties": {"next": {"$recursiveRef": "#"}, "v": {"type": "integer"}}});
    assert_reads(recursive, &[json!({"next": {"v": 1}})], &[json!({"next": {"v": "1"}})], &[]);
    assert_reads(json!({"divisibleBy": 2}), &[json!(4)], &[json!(3)], &[]);
    // Next to `$ref`, other members are ignored up to draft-07.
    for (draft, refused) in [("http://json-schema.org/draft-07/schema#", false), ("https://json-schema.org/draft/2020-12/schema", true)] {
        let schema = json!({"$schema": draft, "definitions": {"S": {"type": "string"}}, "properties": {"x": {"$ref": "#/definitions/S", "maxLength": 1}}});
        let long = [json!({"x": "long"})];
        let (valid, invalid): (&[Value], &[Value]) = if refused { (&[], &long) } else { (&long, &[]) };
        assert_reads(schema, valid, invalid, &[]);
    }
    for odd in ["https://json-schema.org/draft-07/schema", "http://json-schema.org/schema#", "http://json-schema.org/draft-04/schema"] {
        assert_reads(json!({"$schema": odd, "required": ["a"]}), &[json!({"a": 1})], &[json!({})], &[]);
    }
    let components = json!({"properties": {"x": {"$ref": "#/components/schemas/X"}}, "components": {"schemas": {"X": {"type": "int"}}}});
    assert_reads(components, &[json!({"x": 1})], &[json!({"x": "a"})], &[]);
}

#[test]
fn foreign_type_names_and_nullable_are_read_as_meant() {
    let types = json!({"type": "OBJECT", "properties": {"q": {"type": "STRING"}, "n": {"type": "int"}, "x": {"type": "any"}, "s": "str"}});
    let defects = [
        "/type: \"OBJECT\" is read as object",
        "\"STRING\" is read as string",
        "integer",
        "any type",
        "/properties/s: \"str\" is read as string",
    ];
    let invalid = [json!([]), json!({"q": 1}), json!({"n": "x"}), json!({"s": 1})];
    assert_reads(types, &[json!({"q": "a", "n": 1, "x": [], "s": ""})], &invalid, &defects);
    assert_reads(json!({"type": ["str", null]}), &[json!("a"), json!(null)], &[json!(1)], &["is read as string or null"]);
    for inner in [
        json!({"type": "integer", "nullable": true}),
        json!({"type": "integer", "enum": [1, 2], "nullable": true}),
        json!({"$ref": "#/$defs/N", "nullable": true}),
        json!({"anyOf": [{"type": "integer"}], "x-nullable": true}),
    ] {
        let schema = json!({"$defs": {"N": {"type": "integer"}}, "properties": {"v": inner}});
        assert_reads(schema, &[json!({"v": null}), json!({"v": 1})], &[json!({"v": "a"})], &[]);
    }
    assert_reads(
        json!({"minimum": "3", "uniqueItems": "true"}),
        &[json!(3)],
        &[json!(2), json!([1, 1])],
        &["\"3\" is read as a number", "\"true\" is read as true"],
    );
}

#[test]
fn expressions_of_other_engines_are_checked() {
    for (pattern, valid, invalid) in [
        (r"^[a-z]+\Z", "abc", "ab1"),
        (r"\A\d{4}\z", "2024", "20245"),
        (r"^a++b$", "aab", "a"),
        (r"^(?P<id>[a-z])x$", "ax", "ab"),
        ("/^[a-z]+$/i", "ABC", "1"),
        (r"^[[:alpha:]]+$", "abc", "1"),
        (r"^(?!_)\w+$", "a", "_a"),
        (r"^\p{L}+$", "é", "1"),
    ] {
        assert_reads(json!({"pattern": pattern}), &[json!(valid)], &[json!(invalid)], &[]);
    }
    let checker = Checker::new(&Body::json(&json!({"pattern": r"^[a-z]+\Z"})));
    assert!(checker.check(&json!("1"))[0].message.contains(r"^[a-z]+\Z"), "the message shows the pattern as written");
}
