//! Tests of validated schemas, and of hostile ones that are not compiled.

use super::*;
use serde_json::json;

#[test]
fn violations_name_the_place() {
    let checker = Checker::new(&Body::json(
        &json!({"type": "object", "properties": {"level": {"enum": ["a", "b"]}, "n": {"type": "integer"}}, "required": ["level"]}),
    ));
    assert!(checker.check(&json!({"level": "a", "n": 3})).is_empty());
    let found = checker.check(&json!({"level": "zzz", "n": "x"}));
    assert_eq!(found.iter().map(|v| v.path.as_str()).collect::<Vec<_>>(), ["/level", "/n"]);
    assert_eq!(checker.check(&json!({})).len(), 1);
}

#[test]
fn a_schema_that_refers_to_itself_is_rejected_and_a_tree_is_not() {
    for schema in [
        r##"{"$defs":{"e":{"anyOf":[{"$ref":"#/$defs/e"},{"type":"string"}]}},"properties":{"x":{"$ref":"#/$defs/e"}}}"##,
        r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"properties":{"x":{"$ref":"#/$defs/a"}}}"##,
        r##"{"$defs":{"n":{"$anchor":"n","not":{"$ref":"#n"}}},"properties":{"x":{"$ref":"#n"}}}"##,
        r##"{"$ref":"#"}"##,
    ] {
        let checker = Checker::new(&Body::from(schema));
        assert!(checker.problem.is_some(), "{schema}");
        assert!(checker.check(&json!({"x": 1})).is_empty());
    }
    let tree = r##"{"type":"object","properties":{"v":{"type":"string"},"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}}}"##;
    let checker = Checker::new(&Body::from(tree));
    assert_eq!(checker.problem, None);
    assert_eq!(checker.check(&json!({"next": {"next": {"v": 1}}})).len(), 1);
}

#[test]
fn unusable_schemas_are_reported_and_fetch_nothing() {
    for schema in ["{", r#"{"type": 7}"#, r#"{"$ref": "http://127.0.0.1:1/x.json"}"#] {
        let checker = Checker::new(&Body::from(schema));
        assert!(!checker.warnings().is_empty() && checker.reason().is_some(), "{schema}");
        assert!(checker.check(&json!({})).is_empty());
    }
}

/// Creates `count` definitions, each made by `link` from a reference to the next; `last` is the last one.
fn chained(count: usize, last: Value, link: impl Fn(Value) -> Value) -> Value {
    let mut definitions: serde_json::Map<String, Value> =
        (0..count).map(|at| (format!("a{at}"), link(json!({"$ref": format!("#/$defs/a{}", at + 1)})))).collect();
    definitions.insert(format!("a{count}"), last);
    json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/a0"}}, "$defs": definitions})
}

fn doubled(keyword: &str, count: usize, last: Value) -> Value {
    chained(count, last, |next| json!({keyword: [next, next]}))
}

fn checker(schema: &Value) -> Checker {
    Checker::new(&Body::json(schema))
}

fn problem(schema: &Value) -> String {
    checker(schema).warnings().into_iter().next().unwrap_or_default()
}

#[test]
fn exponentially_expanding_schemas_are_not_compiled() {
    let text = json!({"type": "string"});
    for schema in [
        doubled("allOf", 40, text.clone()),
        doubled("anyOf", 40, json!({"type": "integer"})),
        doubled("oneOf", 40, text.clone()),
        chained(40, json!({"type": "integer"}), |next| json!({"not": {"allOf": [next, next]}})),
        chained(40, text.clone(), |next| json!({"if": next, "then": next, "else": next})),
        chained(40, text.clone(), |next| json!({"dependentSchemas": {"a": next, "b": next}})),
        chained(40, text.clone(), |next| json!({"allOf": [next], "anyOf": [next]})),
        chained(40, text.clone(), |next| json!({"$ref": next["$ref"], "allOf": [next]})),
        chained(40, text.clone(), |next| json!({"allOf": [{"allOf": [next]}, {"anyOf": [next]}]})),
        // The references are to names, and to members of arrays.
        json!({"$defs": (0..40).map(|at| {
            let next = json!({"$ref": format!("#n{}", at + 1)});
            (format!("d{at}"), json!({"$anchor": format!("n{at}"), "allOf": [next, next]}))
        }).chain([("last".to_owned(), json!({"$anchor": "n40"}))]).collect::<serde_json::Map<_, _>>(), "$ref": "#n0"}),
        json!({"prefixItems": (0..40).map(|at| {
            let next = json!({"$ref": format!("#/prefixItems/{}", at + 1)});
            json!({"oneOf": [next, next]})
        }).chain([json!({})]).collect::<Vec<_>>()}),
        // Each visits the in-place subschemas once more.
        chained(30, json!({"properties": {"x": {}}}), |next| json!({"anyOf": [next], "unevaluatedProperties": false})),
        chained(30, json!({"items": {}}), |next| json!({"allOf": [next], "unevaluatedItems": false})),
        // Items and names.
        json!({"contains": {"$ref": "#/$defs/a0"}, "$defs": doubled("anyOf", 18, json!({"type": "null"}))["$defs"]}),
        json!({"propertyNames": {"$ref": "#/$defs/a0"}, "$defs": doubled("allOf", 20, json!({}))["$defs"]}),
    ] {
        let found = problem(&schema);
        assert!(found.contains("expands to more than"), "{found:?}: {schema}");
        assert!(checker(&schema).check(&json!({"x": "a"})).is_empty());
    }
}

#[test]
fn chains_of_references_are_followed_up_to_the_limit() {
    for (count, wrong) in [(3_000, true), (499, true), (400, false)] {
        for keyword in ["$ref", "not", "if"] {
            let link = |next: Value| if keyword == "$ref" { next } else { json!({keyword: next}) };
            let found = problem(&chained(count, json!({"type": "string"}), link));
            let deep = if keyword == "$ref" { wrong } else { count > 250 };
            assert_eq!(found.contains("references in a row"), deep, "{count} {keyword}: {found}");
        }
    }
    let named: serde_json::Map<String, Value> =
        (0..3_000).map(|at| (format!("d{at}"), json!({"$anchor": format!("n{at}"), "$ref": format!("#n{}", at + 1)}))).collect();
    assert!(problem(&json!({"$defs": named, "properties": {"x": {"$ref": "#n0"}}})).contains("references in a row"));
    assert!(problem(&chained(3_200, json!({}), |next| json!({"items": next}))).contains("too many references"));
    // Through members, a chain is as long as the value is deep.
    for keyword in ["properties", "items", "additionalProperties"] {
        let schema = chained(3_000, json!({"type": "string"}), |next| {
            if keyword == "properties" { json!({"properties": {"a": next}}) } else { json!({keyword: next}) }
        });
        let checker = checker(&schema);
        assert_eq!(checker.problem, None, "{keyword}");
        assert!(checker.judge(&json!({"x": {"a": {"a": []}}})).is_ok());
    }
}

#[test]
fn nesting_without_references_has_a_limit() {
    let nested = |count: usize, open: &str, close: &str| format!("{}{{}}{}", open.repeat(count), close.repeat(count));
    for (open, close) in [("{\"not\":", "}"), ("{\"properties\":{\"a\":", "}}"), ("{\"allOf\":[", "]}"), ("[", "]")] {
        for count in [150, 5_000] {
            assert!(Checker::new(&Body::from(nested(count, open, close))).problem.is_some(), "{count} {open}");
        }
    }
    // As deep as the JSON parser allows.
    for (open, close) in [("{\"items\":", "}"), ("{\"properties\":{\"a\":", "}}"), ("{\"allOf\":[", "]}")] {
        let count = 120 / open.matches(['{', '[']).count();
        assert_eq!(Checker::new(&Body::from(nested(count, open, close))).problem, None, "{open}");
    }
    assert!(Checker::new(&Body::from("[".repeat(3 << 20))).problem.is_some());
    assert!(Checker::new(&Body::from("x".repeat(5 << 20))).problem.unwrap().contains("larger than"));
}

#[test]
fn documents_within_the_document_hide_no_cycle() {
    for schema in [
        json!({"$id": "http://a/b", "properties": {"x": {"$id": "x", "$ref": "y"}}, "$defs": {"y": {"$id": "y", "$ref": "x"}}}),
        // A pointer is resolved in the document that contains it.
        json!({"properties": {"x": {"$ref": "#/$defs/b"}}, "$defs": {
            "a": {}, "b": {"$id": "http://a/b", "$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/c"}, "c": {"$ref": "#/$defs/a"}}}
        }}),
        json!({"$dynamicAnchor": "T", "$defs": {"a": {"$dynamicAnchor": "T", "$dynamicRef": "#T"}}, "$dynamicRef": "#T"}),
    ] {
        assert!(problem(&schema).contains("without end"), "{schema}");
    }
    let tree = json!({"$id": "http://x/r", "$dynamicAnchor": "T", "type": "object", "properties": {"x": {"$dynamicRef": "#T"}}});
    assert_eq!(checker(&tree).check(&json!({"x": {"x": 1}})).len(), 1);
    let ids: Vec<Value> = (0..2_000).map(|at| json!({"$id": format!("http://a/{at}"), "$ref": "http://b/none"})).collect();
    assert_ne!(problem(&json!({"allOf": ids})), "");
}

#[test]
fn large_regular_expressions_are_not_compiled() {
    let with_pattern = |pattern: &str| json!({"properties": {"x": {"type": "string", "pattern": pattern}}});
    for pattern in ["((((a{1000}){1000}){1000}){1000})".to_owned(), "a|".repeat(500_000) + "b"] {
        assert!(problem(&with_pattern(&pattern)).contains("regular expressions"), "{}", &pattern[..20]);
    }
    let many: serde_json::Map<String, Value> = (0..6_000).map(|at| (format!("^a{at}(a?){{200}}"), json!({}))).collect();
    assert!(problem(&json!({"patternProperties": many})).contains("regular expressions"));
    assert!(problem(&with_pattern(&"(".repeat(100_000))).chars().count() < 400, "a message does not quote the whole pattern");
    for (open, close) in [("(", ")"), ("(?=", ")"), ("*", ""), ("(?>", ")"), ("(?(1)", ")")] {
        let pattern = format!("{}a{}", open.repeat(20_000), close.repeat(20_000));
        assert!(!problem(&with_pattern(&pattern)).is_empty(), "{open}");
    }
    for pattern in ["^[a-z0-9-]{1,63}$", r"^\p{L}{1,100}$", r"^(?!.*\.\.)[\w.-]+$", r"^\d{4}-\d{2}-\d{2}$"] {
        assert_eq!(problem(&with_pattern(pattern)), "", "{pattern}");
    }
    for pattern in [r"^(?=(a+)+b)(a+)+$", r"^((a|a)*)*\1b$", r"(a*)*(\1\1)*(?!b)"] {
        // Matching ends; excessive backtracking does not count as a violation.
        let found = checker(&with_pattern(pattern)).judge(&json!({"x": "a".repeat(40)}));
        assert!(
            found.is_err() || found.as_ref().is_ok_and(|found| found.iter().all(|wrong| wrong.message.contains("must match"))),
            "{found:?}"
        );
        assert_eq!(checker(&with_pattern(pattern)).judge(&json!({"x": "a".repeat(1 << 20)})), Err(TooDear));
    }
}

#[test]
fn large_but_simple_schemas_are_validated() {
    let names = |count: usize| (0..count).map(|at| format!("p{at}")).collect::<Vec<_>>();
    let each = |names: Vec<String>, schema: Value| names.into_iter().map(|name| (name, schema.clone())).collect::<serde_json::Map<_, _>>();
    for (schema, instance, wrong) in [
        (json!({"properties": {"x": {"enum": names(30_000)}}}), json!({"x": "p29999"}), 0),
        (json!({"properties": each(names(6_000), json!({"type": "string"})), "required": names(6_000)}), json!({}), 50),
        (json!({"items": {"type": "integer"}, "uniqueItems": true}), json!((0..100_000).collect::<Vec<_>>()), 0),
        (json!({"properties": {"x": {"multipleOf": 1e-308}}}), json!({"x": 1e308}), 0),
        (json!({"properties": {"x": {"minLength": 1e18, "minItems": 1_000_000_000}}}), json!({"x": "a"}), 1),
        (json!({"properties": {"n".repeat(1 << 20): {"type": "string"}}}), json!({"n".repeat(1 << 20): 1}), 1),
        (json!({"dependentRequired": each(names(5_000), json!(["x"]))}), json!(each(names(5_000), json!(1))), 50),
        (json!({"contains": {"type": "null"}}), json!(vec![1; 100_000]), 1),
        (json!({"propertyNames": {"maxLength": 3}}), json!(each(names(5_000), json!(1))), 50),
        (json!({"properties": {"x": {"$ref": "#"}, "y": {"$ref": "#"}}, "required": ["x"]}), json!({"x": {"x": {}}}), 1),
    ] {
        let checker = checker(&schema);
        assert_eq!(checker.problem, None);
        assert_eq!(checker.judge(&instance).map(|found| found.len()), Ok(wrong), "{}", &schema.to_string()[..60]);
    }
    let wide: Vec<Value> =
        (0..250).map(|at| json!({"properties": each(names(20), json!({"type": "string"})), "required": [format!("q{at}")]})).collect();
    for keyword in ["allOf", "anyOf", "oneOf"] {
        assert_eq!(
            checker(&json!({"properties": {"x": {keyword: wide}}})).judge(&json!({"x": {}})).map(|found| found.is_empty()),
            Ok(false)
        );
    }
    let too_many = json!({"properties": each(names(20_000), json!({}))});
    assert_eq!(problem(&too_many), "the schema has more than 3818 subschemas");
}

#[test]
fn values_that_cost_too_much_are_not_validated() {
    // A tree that a value of this depth visits 2^100 times.
    let twice = json!({"$defs": {"t": {"type": ["object", "null"], "allOf": [
        {"properties": {"c": {"$ref": "#/$defs/t"}}}, {"properties": {"c": {"$ref": "#/$defs/t"}}}
    ]}}, "$ref": "#/$defs/t"});
    let any = json!({"$defs": {"t": {"anyOf": [
        {"properties": {"c": {"$ref": "#/$defs/t"}}, "required": ["c"]}, {"properties": {"c": {"$ref": "#/$defs/t"}}, "required": ["d"]}, {"const": 1}
    ]}}, "$ref": "#/$defs/t"});
    let unevaluated = json!({"$defs": {"t": {"anyOf": [{"properties": {"c": {"$ref": "#/$defs/t"}}}, {"properties": {"c": {"$ref": "#/$defs/t"}}}],
        "unevaluatedProperties": false}}, "$ref": "#/$defs/t"});
    let deep = |count: usize| (0..count).fold(json!(null), |inner, _| json!({"c": inner}));
    for schema in [twice, any, unevaluated] {
        let checker = checker(&schema);
        assert_eq!(checker.problem, None);
        assert!(checker.judge(&deep(3)).is_ok());
        assert_eq!(checker.judge(&deep(100)), Err(TooDear));
        assert!(checker.check(&deep(100)).is_empty());
        assert_eq!(checker.glance(&deep(20)), Err(TooDear));
    }
    // Every level of the value takes a long chain of references, hence stack.
    let steep = json!({"$defs": doubled("allOf", 0, json!({}))["$defs"], "$ref": "#/$defs/r0", "x": 1});
    let mut steep = steep;
    for at in 0..200 {
        steep["$defs"][format!("r{at}")] = json!({"$ref": format!("#/$defs/r{}", at + 1)});
    }
    steep["$defs"]["r200"] = json!({"properties": {"c": {"$ref": "#/$defs/r0"}}});
    let checker = checker(&steep);
    assert_eq!(checker.problem, None);
    assert!(checker.judge(&deep(2)).is_ok());
    assert_eq!(checker.judge(&deep(100)), Err(TooDear));
    // Large arguments for an ordinary schema are validated.
    let items =
        json!({"properties": {"x": {"items": {"properties": {"a": {"type": "string", "maxLength": 9}}, "additionalProperties": false}}}});
    let many = json!({"x": (0..20_000).map(|at| json!({"a": at})).collect::<Vec<_>>()});
    assert_eq!(Checker::new(&Body::json(&items)).judge(&many).map(|found| found.len()), Ok(50));
}

/// A schema of a few bytes for each part compiles to a hundred times its size.
#[test]
fn the_memory_of_a_compiled_schema_is_bounded_by_its_size() {
    let wide = |count: usize| json!({"properties": (0..count).map(|at| (format!("p{at}"), json!({}))).collect::<serde_json::Map<_, _>>()});
    let listed = |count: usize| json!({"enum": (0..count).collect::<Vec<_>>()});
    let nested = |count: usize| json!({"allOf": vec![json!({"items": {}}); count]});
    for make in [&wide as &dyn Fn(usize) -> Value, &listed, &nested] {
        for count in [10, 1_000, 6_000, 20_000, 200_000] {
            let schema = Body::json(&make(count));
            let checker = Checker::new(&schema);
            assert!(checker.weight() <= (schema.len() * 5).max(MEMORY.0), "{count}: {} for {}", checker.weight(), schema.len());
            assert!(checker.compiled.is_none() == checker.problem.is_some() && (checker.weight() > 0) == checker.compiled.is_some());
            assert_eq!(checker.compiled.is_some(), count <= 1_000 || checker.problem.is_none(), "{count}");
        }
        assert!(problem(&make(200_000)).contains("more than"), "{}", problem(&make(200_000)));
    }
    assert_eq!(values(br#"{"a":[1,2,"x,{\"[\\"],"b":{}}"#), 6);
}

#[test]
fn heavy_schemas_are_left_to_a_background_thread() {
    let names: Vec<String> = (0..30_000).map(|at| format!("value {at}")).collect();
    let schema = Body::json(&json!({"enum": names}));
    let quick = Checker::quick(&schema);
    assert!(quick.heavy() && quick.problem.is_none());
    assert_eq!(quick.glance(&json!("value 1")), Err(TooDear));
    let slow = Checker::new(&schema);
    assert!(!slow.heavy() && slow.check(&json!("value 1")).is_empty() && slow.check(&json!("x")).len() == 1);
    assert!(!Checker::quick(&Body::from(r#"{"type":"object"}"#)).heavy());
}

/// The compiler reports one of them, a different one each time; found by the fuzz target `schema`.
#[test]
fn the_first_of_several_references_to_other_documents_is_reported() {
    let schema =
        Body::from(r##"{"properties":{"a":{"$ref":"#/$defs/a"},"b":{"$ref":"other#/b"},"c":{"$ref":"more#/c"}},"$defs":{"a":{}}}"##);
    for _ in 0..20 {
        assert_eq!(
            Checker::new(&schema).warnings(),
            [
                "/properties/b/$ref is not checked: $ref \"other#/b\" is not defined in it, and references to other documents are not followed",
                "/properties/c/$ref is not checked: $ref \"more#/c\" is not defined in it, and references to other documents are not followed"
            ]
        );
    }
}
