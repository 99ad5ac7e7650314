//! Tests of forms from schemas of real servers, and from difficult ones.

use proptest::prelude::*;

use super::*;

const SERVERS: &str = include_str!("../../../tests/data/schemas/servers.jsonl");
const PUBLISHED: &str = include_str!("../../../tests/data/schemas/published.jsonl");
const CRAFTED: &str = include_str!("../../../tests/data/schemas/crafted.jsonl");
const KEYWORDS: &str = include_str!("../../../tests/data/schemas/keywords.jsonl");

/// Name and schema of each line of the corpus; the README in its folder describes the files.
pub(crate) fn corpus() -> &'static [(String, String)] {
    static CORPUS: std::sync::LazyLock<Vec<(String, String)>> = std::sync::LazyLock::new(|| {
        let line = |line: &str| line.split_once(' ').map(|(name, schema)| (name.to_owned(), schema.to_owned())).unwrap();
        let plain = [SERVERS, CRAFTED, KEYWORDS].into_iter().flat_map(str::lines).filter(|l| !l.is_empty()).map(line);
        plain.chain(PUBLISHED.lines().flat_map(published)).collect()
    });
    &CORPUS
}

/// Returns the schemas of a tool as its server listed them.
fn published(line: &str) -> Vec<(String, String)> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Tool<'a> {
        package: String,
        tool: String,
        #[serde(borrow)]
        input_schema: &'a serde_json::value::RawValue,
        output_schema: Option<&'a serde_json::value::RawValue>,
    }
    let tool: Tool = serde_json::from_str(line).unwrap();
    let name = format!("{}/{}", tool.package, tool.tool);
    let output = tool.output_schema.map(|schema| (format!("{name} (output)"), schema.get().to_owned()));
    std::iter::once((name, tool.input_schema.get().to_owned())).chain(output).collect()
}

fn form(schema: &str) -> Form {
    Form::new(&Body::from(schema))
}

fn named(name: &str) -> Form {
    form(&corpus().iter().find(|(n, _)| n == name).unwrap().1)
}

fn at(form: &Form, key: &str) -> Path {
    form.rows().into_iter().map(|row| row.path).find(|path| form.node(path).unwrap().label == key).unwrap_or_else(|| panic!("no {key}"))
}

fn rows(form: &Form) -> Vec<String> {
    let show = |row: &Row| {
        let node = form.node(&row.path).unwrap();
        format!("{}{}{} {}", "  ".repeat(row.depth), node.label, if node.required { "*" } else { "" }, node.hint)
    };
    form.rows().iter().map(show).collect()
}

#[test]
fn every_schema_of_the_corpus_makes_a_form_that_is_valid_or_reports_why_not() {
    for (name, schema) in corpus() {
        let mut form = form(schema);
        assert_eq!(form.schema_problem(), None, "{name}");
        let text = form.json();
        form.set_json(&text).unwrap();
        assert_eq!(form.json(), text, "{name}");
    }
}

#[test]
fn limits_appear_in_the_hint() {
    for (limits, hint) in [
        (r#""exclusiveMinimum":0"#, "number > 0"),
        (r#""exclusiveMaximum":5"#, "number < 5"),
        (r#""exclusiveMinimum":0,"exclusiveMaximum":1"#, "number > 0 < 1"),
        (r#""minimum":0,"exclusiveMaximum":1"#, "number ≥ 0 < 1"),
        (r#""minimum":1,"maximum":9"#, "number 1…9"),
        (r#""maximum":9007199254740991"#, "number"),
    ] {
        let form = form(&format!(r#"{{"type":"object","properties":{{"n":{{"type":"number",{limits}}}}}}}"#));
        assert_eq!(rows(&form), [format!("n {hint}")]);
    }
}

#[test]
fn a_plain_tool_keeps_the_order_and_sends_what_is_set() {
    let mut form = named("edit_file");
    assert_eq!(rows(&form), ["path* string", "edits* array", "dryRun boolean"]);
    assert!(!form.valid());
    form.set_text(&at(&form, "path"), "/a");
    let item = form.add_item(&at(&form, "edits")).unwrap();
    form.set_text(&[item.as_slice(), &[0]].concat(), "x\ny");
    form.set_text(&[item.as_slice(), &[1]].concat(), "");
    assert!(!form.valid(), "newText is missing");
    form.set_empty(&[item.as_slice(), &[1]].concat());
    assert!(form.valid());
    assert_eq!(form.json(), r#"{"path":"/a","edits":[{"oldText":"x\ny","newText":""}],"dryRun":false}"#);
}

#[test]
fn an_optional_field_left_empty_is_left_out() {
    let mut form = named("sequentialthinking");
    for (key, text) in [("thought", "hm"), ("thoughtNumber", "1"), ("totalThoughts", "2")] {
        form.set_text(&at(&form, key), text);
    }
    form.cycle(&[1, 0], 1);
    assert!(form.valid(), "{:?}", form.problems);
    assert_eq!(form.json(), r#"{"thought":"hm","nextThoughtNeeded":true,"thoughtNumber":1,"totalThoughts":2}"#);
}

#[test]
fn digits_stay_as_typed() {
    let mut form = named("get-sum");
    form.set_text(&[0], "12345678901234567890123");
    form.set_text(&[1], "1.0");
    assert_eq!(form.json(), r#"{"a":12345678901234567890123,"b":1.0}"#);
    form.set_text(&[1], "1.");
    assert!(form.node(&[1]).unwrap().error.as_ref().unwrap().contains("not a number"));
    assert!(!form.valid());
}

#[test]
fn violations_are_attached_to_their_field() {
    let mut form = named("everything_typed");
    form.set_text(&at(&form, "name"), "x");
    assert!(form.node(&at(&form, "name")).unwrap().error.as_ref().unwrap().contains("must have at least"));
    form.set_text(&at(&form, "age"), "200");
    assert!(form.node(&at(&form, "age")).unwrap().error.as_ref().unwrap().contains("must be at most"));
    form.set_text(&at(&form, "mail"), "no-mail");
    assert_eq!(form.node(&at(&form, "mail")).unwrap().note.as_deref(), Some("does not look like email"));
    form.set_text(&at(&form, "code"), "abc");
    assert!(form.node(&at(&form, "code")).unwrap().error.is_some());
    let tag = form.add_item(&at(&form, "tags")).unwrap();
    form.set_text(&tag, "a");
    let second_tag = form.add_item(&tag).unwrap();
    form.set_text(&second_tag, "a");
    assert!(form.node(&at(&form, "tags")).unwrap().error.as_ref().unwrap().contains("same item more than once"));
}

#[test]
fn integers_and_mixed_values_can_be_picked() {
    let mut form = named("everything_typed");
    let level = at(&form, "level");
    form.cycle(&level, 1);
    form.cycle(&level, 1);
    assert_eq!(form.node(&level).unwrap().value(), Some(Json::Number("2".into())));
    for _ in 0..2 {
        form.cycle(&level, 1);
    }
    assert_eq!(form.node(&level).unwrap().value(), None, "an optional one passes through empty");
}

#[test]
fn null_is_explicit_where_it_is_allowed() {
    let mut form = named("git_log");
    form.set_text(&[0], ".");
    assert_eq!(form.json(), r#"{"repo_path":".","max_count":10}"#);
    assert!(form.set_null(&[2]));
    assert!(!form.set_null(&[0]));
    assert_eq!(form.json(), r#"{"repo_path":".","max_count":10,"start_timestamp":null}"#);
    form.set_text(&[2], "2024-01-15");
    assert!(form.json().contains(r#""start_timestamp":"2024-01-15""#));
    form.clear(&[2]);
    assert!(!form.json().contains("start_timestamp"));
}

#[test]
fn a_nested_object_is_sent_once_a_member_is_set() {
    let mut form = named("everything_typed");
    let address = at(&form, "address");
    assert!(form.node(&address).unwrap().folded);
    assert_eq!(form.node(&address).unwrap().declared(), ["street", "city", "zip"]);
    form.fold(&address, false);
    assert!(!form.json().contains("address"));
    form.set_text(&at(&form, "zip"), "10");
    assert!(form.json().contains(r#""address":{"city":"Berlin","zip":"10"}"#), "{}", form.json());
    assert!(form.node(&at(&form, "street")).unwrap().missing);
}

#[test]
fn alternatives_at_the_root_are_chosen() {
    let mut form = named("root_one_of");
    assert_eq!(rows(&form), ["* one of", "  kind* constant", "  id* integer ≥ 1"]);
    form.set_text(&[0, 1], "7");
    assert_eq!(form.json(), r#"{"kind":"by_id","id":7}"#);
    assert!(form.valid());
    form.cycle(&[], 1);
    assert_eq!(rows(&form), ["* one of", "  kind* constant", "  name* string", "  exact boolean"]);
    assert!(!form.valid());
    form.set_json(r#"{"kind":"by_name","name":"x"}"#).unwrap();
    assert!(form.valid(), "{:?}", form.problems);
    assert_eq!(form.json(), r#"{"kind":"by_name","name":"x"}"#);
}

#[test]
fn errors_of_the_selected_alternative_are_attached_to_it() {
    let mut form = named("root_one_of");
    form.set_text(&[0, 1], "0");
    let error = form.node(&[0, 1]).unwrap().error.clone().unwrap();
    assert_eq!(error, "must be at least 1, got 0");
}

#[test]
fn a_schema_may_refer_to_itself() {
    let mut form = named("recursive");
    form.set_json(r#"{"value":"a","children":[{"value":"b","children":[{"value":"c"}]}],"left":{"value":"d"}}"#).unwrap();
    assert!(form.valid(), "{:?}", form.problems);
    assert!(rows(&form).iter().any(|row| row == "        value* string"), "{:?}", rows(&form));
    let mut greedy = named("recursive_required");
    assert!(greedy.json().len() < 100_000);
    greedy.set_json("{}").unwrap();
}

#[test]
fn undeclared_members_are_preserved_and_can_be_added() {
    let mut form = named("map");
    let path = form.add_member(&at(&form, "labels"), "team").unwrap();
    form.set_text(&path, "red");
    assert_eq!(form.json(), r#"{"labels":{"team":"red"}}"#);
    form.set_json(r#"{"labels":{"a":"1","b":2},"unknown":{"x":1.50}}"#).unwrap();
    assert_eq!(form.json(), r#"{"labels":{"a":"1","b":2},"unknown":{"x":1.50}}"#);
    assert!(form.node(&at(&form, "b")).unwrap().error.is_some(), "2 is not a string");
    assert!(form.remove(&at(&form, "b")));
    assert!(form.valid(), "{:?}", form.problems);
}

#[test]
fn the_name_of_a_member_selects_its_schema() {
    let mut form = named("pattern_properties");
    assert_eq!(form.add_member(&[], "y"), None, "fits neither pattern, and others are not allowed");
    let number = form.add_member(&[], "n1").unwrap();
    form.set_text(&number, "x");
    assert!(!form.valid());
    form.set_text(&number, "7");
    let text = form.add_member(&[], "x-a").unwrap();
    form.set_text(&text, "7");
    assert_eq!(form.json(), r#"{"n1":7,"x-a":"7"}"#);
    assert!(form.valid(), "{:?}", form.problems);
}

#[test]
fn conditional_members_are_shown_and_validated_by_the_active_branch() {
    let mut form = named("if_chain");
    assert_eq!(rows(&form), ["op* enum", "item string", "from integer", "to integer"]);
    form.pick(&at(&form, "op"), 1);
    assert!(form.problems.iter().any(|problem| problem.contains("\"from\"")), "{:?}", form.problems);
    form.set_text(&at(&form, "from"), "1");
    form.set_text(&at(&form, "to"), "2");
    assert!(form.valid(), "{:?}", form.problems);
    assert_eq!(form.json(), r#"{"op":"move","from":1,"to":2}"#);
    assert_eq!(rows(&named("dependent_schemas")), ["card integer", "billing string ≥ 1"]);
}

#[test]
fn json_instead_of_a_typed_field_is_indicated() {
    let mut form = named("untyped_number");
    form.set_json(r#"{"a":"three"}"#).unwrap();
    assert!(form.valid(), "{:?}", form.problems);
    assert_eq!(form.node(&[0]).unwrap().note.as_deref(), Some("JSON instead of number ≥ 3"));
    form.clear(&[0]);
    form.set_text(&[0], "4");
    assert_eq!((form.json().as_str(), form.node(&[0]).unwrap().note.as_deref()), (r#"{"a":4}"#, None));
}

#[test]
fn references_into_named_documents_are_followed_or_left_to_json() {
    assert_eq!(rows(&named("identified")), ["where JSON", "again integer"]);
    let mut tree = named("dynamic");
    let child = tree.add_item(&at(&tree, "children")).unwrap();
    tree.set_text(&[child.as_slice(), &[0]].concat(), "leaf");
    tree.set_text(&[0], "root");
    assert_eq!(tree.json(), r#"{"data":"root","children":[{"data":"leaf"}]}"#);
}

#[test]
fn items_can_be_moved_and_removed() {
    let mut form = named("add_observations_plain");
    form.set_json(r#"{"names":["a","b","c"]}"#).unwrap();
    assert_eq!(form.shift(&[0, 2], -1), Some(vec![0, 1]));
    assert!(form.remove(&[0, 0]));
    assert_eq!(form.shift(&[0, 1], 1), None);
    assert_eq!(form.json(), r#"{"names":["c","b"]}"#);
}

#[test]
fn unusable_schemas_give_a_field_of_raw_json() {
    for schema in ["{", "7", "true", "false", r##"{"$ref":"#/nowhere"}"##, r##"{"$ref":"#"}"##, r#"{"type":"frob"}"#, "[]"] {
        let mut form = form(schema);
        form.set_json(r#"{"a":[1,2.0]}"#).unwrap();
        assert_eq!(form.json(), r#"{"a":[1,2.0]}"#, "{schema}");
    }
}

#[test]
fn reference_bombs_terminate() {
    let mut defs = String::from(r#""d0":{"type":"string"}"#);
    for i in 1..40 {
        defs += &format!(r##","d{i}":{{"allOf":[{{"$ref":"#/$defs/d{0}"}},{{"$ref":"#/$defs/d{0}"}}]}}"##, i - 1);
    }
    let maker = Maker::new(Json::parse(&format!(r##"{{"$ref":"#/$defs/d39","$defs":{{{defs}}}}}"##)).unwrap());
    assert!(matches!(maker.root(true).kind, Kind::Raw(_)));
}

#[test]
fn self_references_terminate() {
    for schema in [
        r##"{"$defs":{"e":{"anyOf":[{"$ref":"#/$defs/e"},{"type":"string"}]}},"properties":{"x":{"$ref":"#/$defs/e"}}}"##,
        r##"{"$defs":{"e":{"allOf":[{"$ref":"#/$defs/e"}]}},"properties":{"x":{"$ref":"#/$defs/e"}}}"##,
        r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"properties":{"x":{"$ref":"#/$defs/a"}}}"##,
    ] {
        let mut form = form(schema);
        form.set_json(r#"{"x":1}"#).unwrap();
        assert_eq!(form.json(), r#"{"x":1}"#);
    }
}

#[test]
fn nested_alternatives_do_not_multiply_without_bound() {
    let variants: Vec<String> = (0..8)
        .map(|i| {
            format!(r##"{{"type":"object","properties":{{"a":{{"$ref":"#/$defs/e"}},"v{i}":{{"type":"string"}}}},"required":["v{i}"]}}"##)
        })
        .collect();
    let schema = format!(r##"{{"$defs":{{"e":{{"oneOf":[{}]}}}},"properties":{{"e":{{"$ref":"#/$defs/e"}}}}}}"##, variants.join(","));
    let value = format!(r#"{{"e":{}1{}}}"#, r#"{"a":"#.repeat(20), "}".repeat(20));
    let maker = Maker::new(Json::parse(&schema).unwrap());
    let mut root = maker.root(false);
    maker.fill(&mut root, &Json::parse(&value).unwrap(), State::Set);
    assert_eq!(root.value().unwrap().text(), value);
}

pub(crate) fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        prop_oneof!["[0-9]|[1-9][0-9]{1,25}", "-?[0-9]\\.[0-9]{1,3}", "[1-9]e[0-9]"].prop_map(Json::Number),
        "[a-c\\\\\"\u{1}é]{0,4}".prop_map(Json::String),
        prop::sample::select(vec!["by_id", "by_name", "name", "error", "circle"]).prop_map(|s| Json::String(s.into())),
        Just(Json::Raw(r#""\ud800""#.into())),
    ];
    let keys: Vec<String> = corpus()
        .iter()
        .flat_map(|(_, schema)| {
            let schema = Json::parse(schema).unwrap();
            schema.get("properties").map(|p| p.members().iter().map(|(k, _)| k.clone()).collect::<Vec<_>>()).unwrap_or_default()
        })
        .chain(["kind", "id", "zip", "street", "value", "oldText", "other"].map(String::from))
        .collect();
    leaf.prop_recursive(4, 40, 4, move |inner| {
        let keys = keys.clone();
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((prop::sample::select(keys), inner), 0..4).prop_map(Json::Object),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn json_through_the_form_means_the_same(value in any_json(), pick in any::<prop::sample::Index>()) {
        let (name, schema) = &corpus()[pick.index(corpus().len())];
        let mut form = form(schema);
        form.set_json(&value.text()).unwrap();
        let once = Json::parse(&form.json()).unwrap();
        prop_assert!(once.same(&value), "{}: {} became {}", name, value.text(), once.text());
        form.set_json(&once.text()).unwrap();
        prop_assert_eq!(form.json(), once.text(), "{}", name);
    }

    #[test]
    fn after_any_edits_the_form_round_trips_through_json(
        pick in any::<prop::sample::Index>(),
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0..12u8, "[a-z0-9.\\-]{0,3}"), 0..20),
    ) {
        let (name, schema) = &corpus()[pick.index(corpus().len())];
        let mut form = form(schema);
        for (row, action, text) in steps {
            let rows = form.rows();
            if rows.is_empty() { break }
            let path = rows[row.index(rows.len())].path.clone();
            match action {
                0 | 1 => form.set_text(&path, &text),
                2 => form.cycle(&path, 1),
                3 => form.cycle(&path, -1),
                4 => drop(form.add_item(&path)),
                5 => drop(form.remove(&path)),
                6 => drop(form.shift(&path, 1)),
                7 => form.fold(&path, false),
                8 => drop(form.set_null(&path)),
                9 => form.clear(&path),
                10 => drop(form.add_member(&path, &text)),
                _ => form.set_empty(&path),
            }
            prop_assert!(form.rows().iter().all(|row| form.node(&row.path).is_some()));
        }
        let json = form.json();
        let parsed = Json::parse(&json).unwrap();
        form.set_json(&json).unwrap();
        prop_assert!(Json::parse(&form.json()).unwrap().same(&parsed), "{}: {} became {}", name, json, form.json());
    }
}

/// Schemas for which creating a form, or one key in it, is expensive: each is built and filled within a limit, or the
/// test does not end.
#[test]
fn hostile_schemas_make_a_form_in_bounded_time() {
    let names = |count: usize, schema: &str| (0..count).map(|at| format!(r#""p{at}":{schema}"#)).collect::<Vec<_>>().join(",");
    let list = |count: usize, item: &str| vec![item; count].join(",");
    let doubled = |keyword: &str, count: usize| {
        let definition = |at: usize| format!(r##""a{at}":{{"{keyword}":[{{"$ref":"#/$defs/a{0}"}},{{"$ref":"#/$defs/a{0}"}}]}}"##, at + 1);
        let all: Vec<String> = (0..count).map(definition).collect();
        format!(
            r##"{{"type":"object","properties":{{"x":{{"$ref":"#/$defs/a0"}}}},"$defs":{{{},"a{count}":{{"type":"string"}}}}}}"##,
            all.join(",")
        )
    };
    let objects: Vec<String> = (0..25)
        .map(|at| format!(r##""a{at}":{{"type":"object","properties":{{"l":{{"$ref":"#/$defs/a{0}"}},"r":{{"$ref":"#/$defs/a{0}"}}}},"required":["l","r"]}}"##, at + 1))
        .collect();
    let large = names(4_000, r#"{"type":"string","description":"d"}"#);
    for schema in [
        doubled("allOf", 40),
        doubled("anyOf", 40),
        doubled("oneOf", 40),
        format!(r##"{{"properties":{{"x":{{"$ref":"#/$defs/a0"}}}},"required":["x"],"$defs":{{{},"a25":{{}}}}}}"##, objects.join(",")),
        // Many fields, each a copy of a large value.
        format!(
            r##"{{"properties":{{{}}},"$defs":{{"d":{{"type":"object","properties":{{{large}}}}}}}}}"##,
            names(1_000, r##"{"$ref":"#/$defs/d"}"##)
        ),
        format!(
            r##"{{"properties":{{{}}},"$defs":{{"d":{{"items":{{"properties":{{"a":{{}},"b":{{}}}}}},"default":[{}]}}}}}}"##,
            names(2_000, r##"{"$ref":"#/$defs/d"}"##),
            list(20_000, "{}")
        ),
        format!(r##"{{"properties":{{{}}},"$defs":{{"d":{{"$anchor":"d","type":"string"}}}}}}"##, names(8_000, r##"{"$ref":"#d"}"##)),
        format!(
            r##"{{"properties":{{"x":{{"default":[{}],"items":{{"$ref":"#/$defs/d"}}}}}},"$defs":{{"d":{{"properties":{{{large}}}}}}}}}"##,
            list(20_000, "{}")
        ),
        format!(r#"{{"properties":{{"x":{{"properties":{{{large}}},"oneOf":[{}]}}}}}}"#, list(20_000, "{}")),
        format!(r#"{{"allOf":[{{"properties":{{{}}}}},{{"properties":{{{}}}}}]}}"#, names(5_000, "{}"), names(5_000, "true")),
        format!(r#"{{"properties":{{"x":{{"enum":[{}]}}}}}}"#, (0..30_000).map(|at| at.to_string()).collect::<Vec<_>>().join(",")),
        format!(
            r#"{{"required":[{}],"properties":{{{}}}}}"#,
            (0..8_000).map(|at| format!("\"p{at}\"")).collect::<Vec<_>>().join(","),
            names(8_000, "{}")
        ),
        format!(r#"{{"properties":{{"x":{{"type":[{}]}}}}}}"#, list(30_000, "\"string\"")),
        format!(r#"{{"properties":{{"x":{{"anyOf":[{}]}}}}}}"#, list(30_000, "{}")),
        format!(r#"{{"allOf":[{}]}}"#, list(400, &format!(r#"{{"if":{{}},"then":{{"properties":{{"x":{{"maxLength":1}}{}}}}}}}"#, ""))),
        "[".repeat(200_000),
        format!(r#"{{"description":"{}"}}"#, "x".repeat(1 << 20)),
    ] {
        let mut form = form(&schema);
        form.set_json(r#"{"x":{"l":{"l":{}},"c":1},"p1":{}}"#).unwrap();
        let paths: Vec<Path> = form.rows().into_iter().map(|row| row.path).take(3).collect();
        for path in paths {
            form.fold(&path, false);
            form.set_text(&path, "a");
        }
        assert!(Json::parse(&form.json()).is_ok(), "{}", &schema[..60]);
    }
    let large = form(&format!(r#"{{"properties":{{"x":{{"enum":["{}"]}}}}}}"#, "x".repeat(1 << 20)));
    assert!(matches!(large.root().kind, Kind::Raw(_)) && large.schema_problem().unwrap().contains("too large"));
}
