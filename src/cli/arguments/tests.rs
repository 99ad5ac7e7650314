//! Tests of arguments of the command line.

use super::*;
use serde_json::json;

fn schema() -> Body {
    Body::json(&json!({
        "type": "object",
        "properties": {
            "sql": {"type": "string"}, "limit": {"type": "integer"}, "ratio": {"type": "number"},
            "dry": {"type": "boolean"}, "tags": {"type": "array"}, "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "either": {"type": ["string", "integer"]}, "nothing": {"type": "null"}, "size": {"enum": [1, 2]},
            "filter": {"$ref": "#/$defs/Filter"}, "a.b": {"type": "integer"}, "free": {}
        },
        "$defs": {"Filter": {"type": "object", "properties": {"min": {"type": "number"}, "next": {"$ref": "#/$defs/Filter"}}}}
    }))
}

fn made(base: Option<&str>, given: &[&str]) -> Result<String, Vec<String>> {
    let given: Vec<String> = given.iter().map(|s| s.to_string()).collect();
    build(base, &given, &schema(), ArgumentCheck::Enforced).map(|body| body.text().into_owned())
}

#[test]
fn the_schema_decides_the_type_of_a_value() {
    for (given, expected) in [
        ("sql=42", r#"{"sql":"42"}"#),
        ("sql=", r#"{"sql":""}"#),
        ("sql=a=b:=c", r#"{"sql":"a=b:=c"}"#),
        ("limit=12345678901234567890123", r#"{"limit":12345678901234567890123}"#),
        ("ratio=1.00", r#"{"ratio":1.00}"#),
        ("ratio=-1e3", r#"{"ratio":-1e3}"#),
        ("dry=true", r#"{"dry":true}"#),
        ("tags=[1, \"a b\"]", r#"{"tags":[1,"a b"]}"#),
        ("maybe=null", r#"{"maybe":null}"#),
        ("maybe=3", r#"{"maybe":3}"#),
        ("either=3", r#"{"either":"3"}"#),
        ("nothing=null", r#"{"nothing":null}"#),
        ("size=2", r#"{"size":2}"#),
        ("filter.min=3", r#"{"filter":{"min":3}}"#),
        ("filter.next.next.min=3", r#"{"filter":{"next":{"next":{"min":3}}}}"#),
        ("a.b=1", r#"{"a.b":1}"#),
        (r"c\.d.e=1", r#"{"c.d":{"e":"1"}}"#),
        ("free=1", r#"{"free":"1"}"#),
        ("free:=1.0", r#"{"free":1.0}"#),
        ("sql:={\"x\": [1 ,2]}", r#"{"sql":{"x":[1,2]}}"#),
    ] {
        assert_eq!(made(None, &[given]).as_deref(), Ok(expected), "{given}");
    }
}

fn read(schema: Value, given: &[&str]) -> Result<String, String> {
    let given: Vec<String> = given.iter().map(|s| s.to_string()).collect();
    build(None, &given, &Body::json(&schema), ArgumentCheck::Enforced).map(|body| body.text().into_owned()).map_err(|all| all.join(" | "))
}

#[test]
fn lists_are_repeated_keys_or_texts_with_one_reading() {
    let schema = json!({"properties": {
        "to": {"type": "array", "items": {"type": "string"}}, "at": {"type": "array", "items": {"type": "number"}},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
        "tags": {"type": "array", "items": {"enum": ["red", "blue"]}}, "any": {"type": "array"},
        "either": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "boxes": {"type": "array", "items": {"type": "object", "properties": {"w": {"type": "integer"}}}},
        "maybe": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]}
    }});
    for (given, made) in [
        (&["to=a"][..], r#"{"to":["a"]}"#),
        (&["to=a", "to=b,c"], r#"{"to":["a","b,c"]}"#),
        (&["to=[\"a\"]"], r#"{"to":["a"]}"#),
        (&["at=1.5,2.50"], r#"{"at":[1.5,2.50]}"#),
        (&["at=1", "at=2"], r#"{"at":[1,2]}"#),
        (&["pair=a", "pair=2"], r#"{"pair":["a",2]}"#),
        (&["tags=red,blue"], r#"{"tags":["red","blue"]}"#),
        (&["any=x"], r#"{"any":["x"]}"#),
        (&["either=a"], r#"{"either":"a"}"#),
        (&["either=a", "either=b"], r#"{"either":["a","b"]}"#),
        (&["maybe=1,2"], r#"{"maybe":[1,2]}"#),
        (&["maybe=null"], r#"{"maybe":null}"#),
        (&["to:=[]"], r#"{"to":[]}"#),
    ] {
        assert_eq!(read(schema.clone(), given).as_deref(), Ok(made), "{given:?}");
    }
    for (given, wanted) in [
        (&["to=a,b"][..], r#"to: "a,b" may be one item or 2: write to=a to=b or to:='["a,b"]'"#),
        (&["to="], r#"to: expected a list, got ""; write to:=[] for an empty list"#),
        (&["at=x"], r#"at: expected a list, got "x"; write at=1 for each item, or at:='[1]'"#),
        (&["at=1", "at=x"], r#"at: expected a number, got "x"; write at=1"#),
        (&["boxes=x"], "boxes: expected a list, got \"x\"; write boxes:='[{…}]'"),
    ] {
        assert_eq!(read(schema.clone(), given), Err(wanted.to_owned()), "{given:?}");
    }
}

#[test]
fn a_refusal_shows_a_form_that_works() {
    let schema = json!({"properties": {
        "n": {"type": "integer", "minimum": 5}, "flag": {"type": "boolean"}, "nil": {"type": "null"},
        "filter": {"type": "object", "properties": {"min": {"type": "number"}}}, "free": {"type": "object"}
    }});
    for (given, wanted) in [
        ("n=x", r#"n: expected an integer, got "x"; write n=5"#),
        ("flag=False", r#"flag: expected true or false, got "False"; write flag=false"#),
        ("flag=x", r#"flag: expected true or false, got "x"; write flag=true or flag=false"#),
        ("nil=x", r#"nil: expected null, got "x"; write nil:=null"#),
        ("filter=x", r#"filter: expected an object, got "x"; write filter.min=1, or filter:='{…}'"#),
        ("free=x", r#"free: expected an object, got "x"; write free:='{"name":"value"}'"#),
    ] {
        assert_eq!(read(schema.clone(), &[given]), Err(wanted.to_owned()));
    }
}

#[test]
fn types_come_from_patterns_conditions_and_foreign_names() {
    let patterns =
        json!({"patternProperties": {"^n_": {"type": "integer"}, "^s_": {"type": "string"}}, "additionalProperties": {"type": "boolean"}});
    assert_eq!(read(patterns, &["n_a=1", "s_b=2", "x=true"]).as_deref(), Ok(r#"{"n_a":1,"s_b":"2","x":true}"#));
    let condition = json!({"properties": {"kind": {"enum": ["a", "b"]}},
        "if": {"properties": {"kind": {"const": "a"}}}, "then": {"properties": {"v": {"type": "integer"}}},
        "else": {"properties": {"v": {"type": "string"}}}});
    assert_eq!(read(condition.clone(), &["kind=a", "v=5"]).as_deref(), Ok(r#"{"kind":"a","v":5}"#));
    assert_eq!(read(condition, &["kind=b", "v=5"]).as_deref(), Ok(r#"{"kind":"b","v":"5"}"#));
    let foreign = json!({"type": "OBJECT", "properties": {"q": {"type": "STRING"}, "n": {"type": "int"}, "b": {"type": "bool"},
        "l": {"type": "list"}, "x": {"type": "any"}, "o": {"type": "string", "nullable": true}}});
    assert_eq!(
        read(foreign, &["q=1", "n=2", "b=true", "l=a", "x=3", "o=4"]).as_deref(),
        Ok(r#"{"q":"1","n":2,"b":true,"l":["a"],"x":"3","o":"4"}"#)
    );
}

#[test]
fn assignments_lie_over_the_base_which_keeps_its_numbers() {
    let base = "{\n \"limit\": 1.0,\n \"filter\": {\"min\": 5, \"max\": 1e400},\n \"x\": \"a\\nb\"}";
    assert_eq!(
        made(Some(base), &["filter.min=7", "sql=s"]).unwrap(),
        r#"{"limit":1.0,"filter":{"min":7,"max":1e400},"x":"a\nb","sql":"s"}"#
    );
}

#[test]
fn reports_all_errors_together() {
    let wrong = made(None, &["limit=abc", "dry=yes", "plain", "=x", "tags=a,b", "a..b=1", "sql=1", "sql=2"]).unwrap_err();
    assert_eq!(
        wrong,
        [
            "\"plain\": expected key=value or key:=json",
            "\"=x\": expected key=value or key:=json",
            "\"a..b=1\": the path has an empty part; write a dot in a name as \\.",
            "limit: expected an integer, got \"abc\"; write limit=1",
            "dry: expected true or false, got \"yes\"; write dry=true",
            "tags: \"a,b\" may be one item or 2: write tags=a tags=b or tags:='[\"a,b\"]'",
            "sql: is set twice, and the schema expects no list",
        ]
    );
    let json = made(None, &["sql:=oops"]).unwrap_err();
    assert!(json[0].starts_with("sql: \"oops\" is not JSON: ") && json[0].ends_with("; write text as sql=oops"), "{json:?}");
    assert!(made(Some("[1]"), &[]).unwrap_err()[0].contains("not a JSON object"));
    assert!(made(Some("{\"sql\":1}"), &["sql.x=1"]).unwrap_err()[0].contains("is not an object"));
    assert!(made(None, &["filter={}", "filter.min=1"]).unwrap_err()[0].contains("contradicts filter"));
}

#[test]
fn reports_violations_and_unreadable_numbers() {
    let (wrong, problem) = check(&schema(), &Body::from(r#"{"limit":"x","dry":1}"#));
    assert_eq!((wrong.len(), problem), (2, vec![]));
    assert!(check(&schema(), &Body::from(r#"{"ratio":1e999}"#)).0[0].contains("cannot be read"));
    assert_eq!(check(&Body::from(r#"{"type":7}"#), &Body::from("{}")).1, ["/type is not checked: 7 is not a type"]);
}

#[test]
fn without_the_check_a_value_of_another_type_is_a_string() {
    let given = ["limit=abc", "dry=yes", "tags=a,b", "ratio=2", "maybe:=[]"].map(String::from);
    let made = build(None, &given, &schema(), ArgumentCheck::Skipped).unwrap();
    assert_eq!(made.text(), r#"{"limit":"abc","dry":"yes","tags":"a,b","ratio":2,"maybe":[]}"#);
    let wrong = ["plain", "sql:=oops"].map(String::from);
    assert_eq!(build(None, &wrong, &schema(), ArgumentCheck::Skipped).unwrap_err().len(), 2, "neither can be sent");
}

#[test]
fn circular_references_end() {
    let schema = Body::from(r##"{"$ref":"#","properties":{"a":{"$ref":"#/properties/a"}},"allOf":[{"$ref":"#"}]}"##);
    assert_eq!(
        build(None, &["a.b=1".into(), "z=2".into()], &schema, ArgumentCheck::Enforced).unwrap().text(),
        r#"{"a":{"b":"1"},"z":"2"}"#
    );
}
