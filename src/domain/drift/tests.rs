use super::*;
use crate::domain::stored_catalog::StoredServer;

fn tool(input: &str, rest: &str) -> Body {
    Body::from(format!(r#"{{"name":"t","inputSchema":{input}{rest}}}"#))
}

fn kinds(before: &Body, after: &Body) -> Vec<(DifferenceKind, String)> {
    compare(DefinitionKind::Tool, before, after).into_iter().map(|found| (found.kind, found.path)).collect()
}

#[test]
fn changes_of_arguments_are_breaking_if_an_old_call_may_fail() {
    use DifferenceKind::*;
    let base = r#"{"type":"object","properties":{"a":{"type":"string"},"n":{"type":"integer","maximum":10},"e":{"enum":["x","y"]}},"required":["a"]}"#;
    let changed = |from: &str, to: &str| base.replace(from, to);
    let cases = [
        (changed(r#""a":{"type":"string"},"#, ""), ArgumentRemoved, "inputSchema.a"),
        (changed(r#""n":{"#, r#""new":{},"n":{"#), ArgumentAdded, "inputSchema.new"),
        (changed(r#"["a"]"#, r#"["a","n"]"#), RequiredAdded, "inputSchema.n"),
        (changed(r#","required":["a"]"#, ""), RequiredRemoved, "inputSchema.a"),
        (changed(r#""type":"string""#, r#""type":["string","null"]"#), Widened, "inputSchema.a.type"),
        (changed(r#""type":"integer""#, r#""type":"number""#), Widened, "inputSchema.n.type"),
        (changed(r#""type":"integer""#, r#""type":"string""#), Narrowed, "inputSchema.n.type"),
        (changed(r#""maximum":10"#, r#""maximum":9"#), Narrowed, "inputSchema.n.maximum"),
        (changed(r#""maximum":10"#, r#""maximum":11"#), Widened, "inputSchema.n.maximum"),
        (changed(r#","maximum":10"#, ""), Widened, "inputSchema.n.maximum"),
        (changed(r#"["x","y"]"#, r#"["x"]"#), Narrowed, "inputSchema.e.enum"),
        (changed(r#"["x","y"]"#, r#"["x","y","z"]"#), Widened, "inputSchema.e.enum"),
        (changed(r#""properties""#, r#""additionalProperties":false,"properties""#), Narrowed, "inputSchema.additionalProperties"),
        (changed(r#""maximum":10"#, r#""maximum":10,"description":"d""#), Changed, "inputSchema.n.description"),
        (changed(r#""maximum":10"#, r#""maximum":10,"multipleOf":2"#), Narrowed, "inputSchema.n.multipleOf"),
    ];
    for (after, kind, path) in cases {
        let found = kinds(&tool(base, ""), &tool(&after, ""));
        assert!(found.contains(&(kind, path.to_owned())), "{after}: {found:?}");
    }
    assert_eq!(kinds(&tool(base, ""), &tool(base, "")), []);
}

#[test]
fn results_and_annotations_have_the_opposite_direction() {
    use DifferenceKind::*;
    let of = |rest: &str| tool("{}", rest);
    let output = |schema: &str| of(&format!(r#","outputSchema":{schema}"#));
    let full = r#"{"type":"object","properties":{"a":{"type":"string"},"b":{}},"required":["a"]}"#;
    let cases = [
        (output(full), output(r#"{"type":"object","properties":{"b":{}}}"#), ResultRemoved),
        (output(full), output(&full.replace(r#"["a"]"#, r#"[]"#)), ResultRemoved),
        (output(full), output(&full.replace(r#""type":"string""#, r#""type":["string","null"]"#)), ResultChanged),
        (output(full), output(&full.replace(r#""b":{}"#, r#""b":{},"c":{}"#)), ResultAdded),
        (output(full), of(""), ResultRemoved),
        (of(""), output(full), ResultAdded),
        (of(r#","annotations":{"readOnlyHint":true}"#), of(""), AnnotationWeakened),
        (of(r#","annotations":{"destructiveHint":false}"#), of(r#","annotations":{}"#), AnnotationWeakened),
        (of(""), of(r#","annotations":{"idempotentHint":true}"#), AnnotationStrengthened),
        (of(""), of(r#","annotations":{"readOnlyHint":false}"#), Changed),
        (of(r#","description":"a""#), of(r#","description":"a\u200b""#), Changed),
    ];
    for (before, after, kind) in cases {
        let found = kinds(&before, &after);
        assert!(found.iter().any(|(found, _)| *found == kind), "{} {}: {found:?}", before.text(), after.text());
    }
}

#[test]
fn arguments_of_prompts_are_compared_by_name() {
    let prompt = |arguments: &str| Body::from(format!(r#"{{"name":"p","arguments":{arguments}}}"#));
    let of = |before: &str, after: &str| {
        let found = compare(DefinitionKind::Prompt, &prompt(before), &prompt(after));
        found.into_iter().map(|one| (one.kind, one.path)).collect::<Vec<_>>()
    };
    let (a, b) = (r#"{"name":"a"}"#, r#"{"name":"b","required":true}"#);
    assert_eq!(of(&format!("[{a}]"), &format!("[{a},{b}]")), [(DifferenceKind::RequiredAdded, "arguments.b".to_owned())]);
    assert_eq!(of(&format!("[{a},{b}]"), &format!("[{b}]")), [(DifferenceKind::ArgumentRemoved, "arguments.a".to_owned())]);
    assert_eq!(of(&format!("[{a},{b}]"), &format!("[{b},{a}]")), []);
}

#[test]
fn definitions_hash_equal_whatever_the_order_of_their_keys() {
    let of = |tool: &str| {
        let server = StoredServer { instructions: Some("i".into()), version: Some("1".into()), ..StoredServer::default() };
        let catalog = StoredCatalog { tools: vec![Body::from(tool)], server, ..StoredCatalog::default() };
        definitions(&catalog)
    };
    let (one, two) = (of(r#"{"name":"a","x":{"b":1.50,"a":2}}"#), of(r#"{"x":{"a":2,"b":1.50},"name":"a"}"#));
    assert_eq!(one, two);
    assert_eq!(one[0].hash(), two[0].hash());
    assert_ne!(one[0].hash(), of(r#"{"name":"a","x":{"b":1.5,"a":2}}"#)[0].hash(), "numbers as written");
    assert_eq!(one.iter().map(|one| one.kind.word()).collect::<Vec<_>>(), ["tool", "instructions", "server"]);
    assert!(one[0].text.contains("1.50"));
    assert!(DefinitionKind::ALL.into_iter().all(|kind| DefinitionKind::from_word(kind.word()) == Some(kind)));
}

fn version(name: &str, definition: &str, (first_ms, last_ms): (u64, u64), accepted: bool) -> DefinitionVersion {
    DefinitionVersion {
        server: "db".into(),
        kind: DefinitionKind::Tool,
        name: name.into(),
        definition: Body::from(definition),
        first_ms,
        last_ms,
        listed_ms: 9,
        accepted,
    }
}

#[test]
fn changes_are_reported_against_the_accepted_or_the_previous_version() {
    let versions = [
        version("a", r#"{"description":"1"}"#, (1, 3), true),
        version("b", "{}", (1, 4), true),
        version("a", r#"{"description":"2"}"#, (4, 6), false),
        version("a", r#"{"description":"1"}"#, (7, 9), false),
        version("c", "{}", (5, 9), false),
        version("d", "{}", (6, 7), false),
    ];
    let shown = |baseline| {
        let found = changes(&versions, baseline);
        found.iter().map(|one| (one.name.clone(), one.at_ms, one.differences[0].kind.words(), one.impact().word())).collect::<Vec<_>>()
    };
    let row = |name: &str, at, what, impact| (name.to_owned(), at, what, impact);
    let accepted = [row("b", 4, "removed", "breaking"), row("c", 5, "added", "compatible")];
    assert_eq!(shown(Baseline::Accepted), accepted, "a is as accepted again, d came and went");
    assert_eq!(
        shown(Baseline::Previous),
        [
            row("a", 4, "changed", "compatible"),
            row("b", 4, "removed", "breaking"),
            row("c", 5, "added", "compatible"),
            row("d", 6, "added", "compatible"),
            row("a", 7, "changed", "compatible"),
            row("d", 7, "removed", "breaking"),
        ]
    );
}

#[test]
fn a_long_definition_is_stored_as_its_size_and_hash() {
    let text = |tool: Body| {
        let mut definitions = definitions(&StoredCatalog { tools: vec![tool], ..StoredCatalog::default() });
        definitions.retain(|found| found.kind == DefinitionKind::Tool);
        let [Definition { name, text, .. }] = &definitions[..] else { panic!("{definitions:?}") };
        assert_eq!(name, "t");
        text.clone()
    };
    let long = |last: usize| tool(&format!(r#"{{"enum":[{}{last}]}}"#, "1,".repeat(bounds::DEFINITION / 2)), "");
    let (first, second) = (text(long(1)), text(long(2)));
    assert!(first.len() < 200 && first.contains(r#""name":"t""#) && first != second, "{first} {second}");
    assert!(text(tool(r#"{"b":1,"a":2}"#, "")).contains(r#"{"a":2,"b":1}"#));
}
