//! Compares `docs/workflows.md` and the JSON Schema with what the parser knows. `UPDATE_DOCS=1` writes the tables again.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{
    DEMO, case,
    expression::offered,
    keys::{COMPENSATE_KEYS, CONCURRENCY_KEYS, DEFAULT_KEYS, EXPECT_KEYS, Key, REPEAT_KEYS, RETRY_KEYS, STEP_KEYS, TOP_KEYS, schema},
    parse::{Source, parse},
    problem::render_all,
};
use crate::generated_docs::compare_or_update;

const PAGE: &str = "docs/workflows.md";

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap()
}

/// Returns the kind of a value in a word or two.
fn kind(shape: &Value) -> String {
    match (&shape["type"], shape["enum"].as_array(), shape["anyOf"].as_array()) {
        (Value::String(kind), ..) if shape["pattern"].as_str().is_some_and(|pattern| pattern.contains("ms|s|m|h")) => {
            format!("duration ({kind})")
        }
        (Value::String(kind), ..) if kind == "object" => "table".into(),
        (Value::String(kind), ..) => kind.clone(),
        (Value::Array(kinds), ..) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        (_, Some(_), _) => "word".into(),
        (.., Some(any)) => {
            let mut kinds: Vec<String> = any.iter().map(kind).collect();
            kinds.dedup();
            kinds.join(" or ")
        }
        _ => "any".into(),
    }
}

fn table(keys: &[Key]) -> String {
    let row = |key: &Key| format!("| `{}` | {} | {} |\n", key.name, kind(&(key.shape)()), key.about);
    format!("| key | value | meaning |\n|---|---|---|\n{}", keys.iter().map(row).collect::<String>())
}

#[test]
fn the_documentation_has_every_key_with_the_words_of_the_schema() {
    let mut page = page();
    for (name, keys) in [
        ("top", &TOP_KEYS[..]),
        ("defaults", &DEFAULT_KEYS),
        ("concurrency", &CONCURRENCY_KEYS),
        ("step", &STEP_KEYS),
        ("repeat", &REPEAT_KEYS),
        ("retry", &RETRY_KEYS),
        ("compensate", &COMPENSATE_KEYS),
        ("expect", &EXPECT_KEYS),
    ] {
        let (before, rest) = page.split_once(&format!("<!-- keys: {name} -->\n")).unwrap_or_else(|| panic!("{PAGE} lacks {name}"));
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        page = format!("{before}<!-- keys: {name} -->\n\n{}\n<!-- end -->{after}", table(keys));
    }
    compare_or_update(PAGE, &page);
}

#[test]
fn the_documentation_has_every_filter_test_function_and_key_of_test_files() {
    let page = page();
    let words = offered().into_iter().chain(case::documented().into_iter().flat_map(|(_, keys)| keys));
    for word in words.chain(case::OUTCOMES) {
        assert!(page.contains(&format!("`{word}`")) || page.contains(&format!("`{word}(")), "{PAGE} does not mention `{word}`");
    }
}

#[test]
fn the_examples_of_the_documentation_parse() {
    let page = page();
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(blocks.len() >= 10);
    for block in blocks {
        let source = Source { file: "example.toml".into(), text: format!("{block}\n") };
        if block.contains("[[case]]") {
            case::parse(&source).unwrap_or_else(|problems| panic!("{}", render_all(&problems)));
        } else {
            parse(&source, &|_| None).unwrap_or_else(|problems| panic!("{}", render_all(&problems)));
        }
    }
}

fn instance(text: &str) -> Value {
    toml::from_str(text).unwrap()
}

#[test]
fn the_schema_takes_what_the_parser_takes_and_refuses_unknown_keys() {
    let schema = schema();
    assert!(jsonschema::meta::validate(&schema).is_ok());
    let validator = jsonschema::options().build(&schema).unwrap();
    for (name, text) in DEMO {
        let errors: Vec<String> = validator.iter_errors(&instance(text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/workflows/bad");
    for name in [
        "unknown_top_key",
        "unknown_step_key",
        "two_actions",
        "no_action",
        "id_bad",
        "retry_zero",
        "resource_without_server",
        "duration_bad",
        "on_error_unknown",
        "fallback_both",
    ] {
        let text = fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
        assert!(!validator.is_valid(&instance(&text)), "{name}");
    }
    for key in schema["properties"].as_object().unwrap().values().chain(schema["$defs"]["step"]["properties"].as_object().unwrap().values())
    {
        assert!(key["description"].as_str().is_some_and(|about| about.len() > 10), "{key}");
    }
    assert_eq!(schema["$defs"]["step"]["additionalProperties"], json!(false));
}
