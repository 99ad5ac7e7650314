use serde_json::json;

use super::*;
use crate::domain::workflow::{DEMO, parse::parse};

fn plan(text: &str) -> Plan {
    parse(&Source { file: "x.toml".into(), text: text.into() }, &|_| None).unwrap()
}

fn problems_of(text: &str, schema: Value, repeatable: bool) -> Vec<String> {
    let facts = ToolFacts { schema: Body::json(&schema), output: None, repeatable, reads_only: repeatable };
    let lookup = |name: &str| match name {
        "tool" => Lookup::Found(facts.clone()),
        "unread" => Lookup::Unread,
        "filtered" => Lookup::Filtered { server: "db".into() },
        _ => Lookup::Unknown { names: vec!["tool".into(), "other".into()] },
    };
    let found = check_against(&plan(text), &lookup);
    found.iter().map(|p| format!("{}:{} {} {}", p.place.line, p.place.column, p.key, p.message)).collect()
}

fn schema() -> Value {
    json!({"type": "object", "required": ["to", "n"], "properties": {
        "to": {"type": "string", "maxLength": 5}, "n": {"type": "integer"}, "list": {"type": "array", "items": {"$ref": "#/$defs/e"}},
        "deep": {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}, "free": {"type": "object"}
    }, "$defs": {"e": {"type": "string"}}})
}

#[test]
fn a_filtered_tool_is_reported() {
    let text = "[[step]]\nid = \"a\"\ntool = \"filtered\"\n";
    assert_eq!(problems_of(text, schema(), true), ["3:1 tool the configuration of db filters the tool `filtered`"]);
}

#[test]
fn known_arguments_are_checked_against_the_schema() {
    let step = |arguments: &str| format!("[[step]]\nid = \"a\"\ntool = \"tool\"\narguments = {{ {arguments} }}\n");
    let ok =
        "to = \"a{{ run.id }}\", n = \"{{ run.started_ms }}\", list = [\"x\", \"{{ run.id }}\"], free = { any = 1 }, deep = { x = true }";
    assert_eq!(problems_of(&step(ok), schema(), true), Vec::<String>::new());
    let bad = "to = \"too long\", n = \"n{{ run.id }}\", list = [1, \"{{ 2 }}\"], deep = { y = 1 }, too = 1";
    assert_eq!(
        problems_of(&step(bad), schema(), true),
        [
            "4:15 arguments.to must have at most 5 characters, has 8",
            "4:32 arguments.n is text; the tool expects integer",
            "4:61 arguments.list.0 expected a string, got 1",
            "4:64 arguments.list.1 expected a string, got 2",
            "4:76 arguments.deep `x` is missing",
            "4:85 arguments.deep.y unknown argument `y`",
            "4:94 arguments.too unknown argument `too`",
        ]
    );
    assert_eq!(
        problems_of("[[step]]\nid = \"a\"\ntool = \"tool\"\n", schema(), true),
        ["1:1 arguments `to` is missing", "1:1 arguments `n` is missing"]
    );
    assert_eq!(problems_of(&step("any = 1"), json!({"type": "object"}), true), Vec::<String>::new());
    assert_eq!(problems_of(&step("any = 1"), json!(true), true), Vec::<String>::new());
}

#[test]
fn unknown_tools_are_reported_at_every_position() {
    let text = "[[step]]\nid = \"a\"\ntool = \"toool\"\nfallback = [{ value = 1 }, { tool = \"x\" }]\ncompensate = { tool = \"othr\" }\n[[step]]\nid = \"b\"\ntool = \"unread\"\nfallback = { tool = \"y\" }\n";
    assert_eq!(
        problems_of(text, schema(), true),
        [
            "3:1 tool no server offers the tool `toool`",
            "4:30 fallback.1.tool no server offers the tool `x`",
            "5:16 compensate.tool no server offers the tool `othr`",
            "9:14 fallback.tool no server offers the tool `y`",
        ]
    );
}

#[test]
fn only_tools_that_are_safe_to_retry_are_retried() {
    let text = "[[step]]\nid = \"a\"\ntool = \"tool\"\nretry = 3\n";
    let free = || json!({"type": "object"});
    assert_eq!(problems_of(text, free(), false), ["4:1 retry `tool` is not declared safe to retry"]);
    assert_eq!(problems_of(text, free(), true), Vec::<String>::new());
    assert_eq!(problems_of(&format!("{text}idempotent = true\n"), free(), false), Vec::<String>::new());
    assert_eq!(problems_of(&text.replace('3', "1"), free(), false), Vec::<String>::new());
}

#[test]
fn types_of_references_are_checked_against_the_schema() {
    struct Shop;
    impl Offered for Shop {
        fn tool(&self, name: &str) -> Lookup {
            let input = json!({"type": "object", "properties": {
                "n": {"type": "integer"}, "s": {"type": "string"}, "l": {"type": "array"}, "either": {"type": ["integer", "null"]}, "any": {}
            }});
            let output = json!({"type": "object", "properties": {"id": {"type": "string"}, "deep": {"type": "object", "properties": {"n": {"type": "number"}}}, "open": {"anyOf": [{}]}}});
            let output = (name == "make").then(|| Body::json(&output));
            Lookup::Found(ToolFacts { schema: Body::json(&input), output, repeatable: true, reads_only: true })
        }
        fn lists(&self, _: &str) -> Listed {
            Listed::Unread
        }
    }
    let problems_of = |arguments: &str, more: &str| {
        let text = format!(
            "env = [\"HOME\"]\n[input]\nname = \"string\"\ncount = \"integer\"\nusers = \"object[]\"\nmaybe = \"string?\"\n\
             [[step]]\nid = \"a\"\ntool = \"make\"\n[[step]]\nid = \"t\"\ntool = \"make\"\nresult = \"text\"\n\
             [[step]]\nid = \"f\"\ntool = \"make\"\nfallback = {{ value = 1 }}\n\
             [[step]]\nid = \"b\"\ntool = \"take\"\narguments = {{ {arguments} }}\n{more}"
        );
        check_against(&plan(&text), &Shop).iter().map(|p| format!("{} {}", p.key, p.message)).collect::<Vec<_>>()
    };
    for fits in [
        "n = \"{{ input.count }}\", s = \"{{ input.name }}\", l = \"{{ input.users }}\", either = \"{{ input.count }}\"",
        "s = \"{{ steps.a.result.id }}\", n = \"{{ steps.a.result.deep.n }}\", any = \"{{ steps.a.result }}\"",
        "n = \"{{ steps.a.result.open }}\", l = \"{{ steps.a.result.unknown }}\", s = \"{{ steps.t.result }}\"",
        "n = \"{{ steps.f.result.id }}\", s = \"{{ env.HOME }}\", l = \"{{ input.users | list }}\"",
        "n = \"{{ input.name | int }}\", s = \"{{ input.users | tojson }}\", l = \"{{ input.name | fromjson }}\"",
        "n = \"{{ input.users | length }}\", s = \"{{ input.count ~ 'x' }}\", l = \"{{ input.users + input.users }}\"",
        "n = \"{{ input.count * 2 }}\", s = \"{{ input.name + 'x' }}\", l = \"{{ input.users or 1 }}\", either = \"{{ 1 - input.count }}\"",
        "n = \"{{ input.name | int(default=none) }}\", s = \"a {{ input.count }}\", l = \"{{ input.users if input.count > 1 else 'x' }}\"",
        "n = \"{{ steps.a.duration_ms }}\", s = \"{{ input.maybe | default('x') }}\"",
    ] {
        assert_eq!(problems_of(fits, ""), Vec::<String>::new(), "{fits}");
    }
    for (invalid, message) in [
        ("n = \"{{ input.name }}\"", "arguments.n `input.name` is string; the tool expects integer"),
        ("s = \"{{ input.users }}\"", "arguments.s `input.users` is array; the tool expects string"),
        ("l = \"{{ input.count }}\"", "arguments.l `input.count` is integer; the tool expects array"),
        ("n = \"{{ steps.a.result.id }}\"", "arguments.n `steps.a.result.id` is string; the tool expects integer"),
        ("s = \"{{ steps.a.result.deep.n }}\"", "arguments.s `steps.a.result.deep.n` is number; the tool expects string"),
        ("s = \"{{ steps.a.result }}\"", "arguments.s `steps.a.result` is object; the tool expects string"),
        ("l = \"{{ steps.t.result }}\"", "arguments.l `steps.t.result` is string; the tool expects array"),
        ("either = \"{{ env.HOME }}\"", "arguments.either `env.HOME` is string; the tool expects integer or null"),
        ("n = \"{{ input.users | tojson }}\"", "arguments.n `input.users | tojson` is string; the tool expects integer"),
        ("s = \"{{ input.name | length }}\"", "arguments.s `input.name | length` is integer; the tool expects string"),
        ("l = \"{{ input.name | upper }}\"", "arguments.l `input.name | upper` is string; the tool expects array"),
        ("n = \"{{ not input.count }}\"", "arguments.n `not input.count` is boolean; the tool expects integer"),
        ("s = \"{{ input.count > 1 }}\"", "arguments.s `input.count > 1` is boolean; the tool expects string"),
        ("n = \"{{ input.count ~ 'x' }}\"", "arguments.n `input.count ~ 'x'` is string; the tool expects integer"),
        ("s = \"{{ input.count - 1 }}\"", "arguments.s `input.count - 1` is number; the tool expects string"),
        ("n = \"{{ 'a' if input.count else 'b' }}\"", "arguments.n `'a' if input.count else 'b'` is string; the tool expects integer"),
        ("s = \"{{ run.started_ms }}\"", "arguments.s `run.started_ms` is integer; the tool expects string"),
    ] {
        assert_eq!(problems_of(invalid, ""), [message], "{invalid}");
    }
    assert_eq!(
        problems_of("s = \"{{ index }}\"", "for_each = \"{{ input.users }}\"\n"),
        ["arguments.s `index` is integer; the tool expects string"]
    );
    assert_eq!(
        problems_of("s = \"{{ item }}\"", "for_each = \"{{ input.users }}\"\n"),
        ["arguments.s `item` is object; the tool expects string"]
    );
}

#[test]
fn prompts_and_resources_are_checked_against_the_lists_of_their_server() {
    struct Lists;
    impl Offered for Lists {
        fn tool(&self, _: &str) -> Lookup {
            Lookup::Unread
        }
        fn lists(&self, server: &str) -> Listed {
            match server {
                "docs" => Listed::Lists {
                    prompts: vec![("review".into(), vec![("code".into(), true), ("style".into(), false)])],
                    resources: vec!["docs://intro".into()],
                    templates: vec!["docs://page/{n}".into()],
                },
                "bare" => Listed::Lists { prompts: vec![], resources: vec![], templates: vec![] },
                "later" => Listed::Unread,
                _ => Listed::NoServer { names: vec!["docs".into(), "bare".into()] },
            }
        }
    }
    let problems_of = |step: &str| {
        let found = check_against(&plan(&format!("[[step]]\nid = \"a\"\n{step}\n")), &Lists);
        found
            .iter()
            .map(|p| format!("{}:{} {} {} {}", p.place.line, p.place.column, p.key, p.message, p.hint.clone().unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    for fits in [
        "server = \"docs\"\nprompt = \"review\"\narguments = { code = \"{{ run.id }}\" }",
        "server = \"docs\"\nresource = \"docs://intro\"",
        "server = \"docs\"\nresource = \"docs://page/7\"",
        "server = \"docs\"\nresource = \"file:///not/listed\"",
        "server = \"docs\"\nresource = \"docs://{{ run.id }}\"",
        "server = \"later\"\nprompt = \"x\"",
        "server = \"later\"\nresource = \"x://y\"",
    ] {
        assert_eq!(problems_of(fits), Vec::<String>::new(), "{fits}");
    }
    for (invalid, message) in [
        ("server = \"doc\"\nprompt = \"review\"", "3:1 server unknown server `doc` did you mean `docs`?"),
        ("server = \"docs\"\nprompt = \"revue\"", "4:1 prompt docs does not list the prompt `revue` did you mean `review`?"),
        ("server = \"bare\"\nprompt = \"review\"", "4:1 prompt bare does not list the prompt `review` it lists no prompts"),
        ("server = \"docs\"\nprompt = \"review\"\narguments = { style = \"x\" }", "5:1 arguments `code` is missing "),
        (
            "server = \"docs\"\nprompt = \"review\"\narguments = { code = \"x\", stile = \"x\" }",
            "5:27 arguments.stile unknown argument `stile` did you mean `style`?",
        ),
        (
            "server = \"docs\"\nresource = \"docs://intr\"",
            "4:1 resource docs does not list the resource `docs://intr` did you mean `docs://intro`?",
        ),
        ("server = \"bare\"\nresource = \"x://y\"", "4:1 resource bare lists no resources "),
    ] {
        assert_eq!(problems_of(invalid), [message], "{invalid}");
    }
}

/// The demo's workflows match the demo's servers.
#[test]
fn the_demo_matches_its_servers() {
    let catalogs = [
        ("database", include_str!("../../../../assets/demo/database.json")),
        ("email", include_str!("../../../../assets/demo/email.json")),
        ("analytics", include_str!("../../../../assets/demo/analytics.json")),
        ("preferences", include_str!("../../../../assets/demo/preferences.json")),
        ("flaky", include_str!("../../../../assets/demo/flaky.json")),
    ];
    let mut tools = HashMap::new();
    for (server, text) in catalogs {
        let catalog: Value = serde_json::from_str(text).unwrap();
        for tool in catalog["tools"].as_array().unwrap() {
            let hint = |name: &str| tool["annotations"][name] == json!(true);
            let facts = ToolFacts {
                schema: Body::json(&tool["inputSchema"]),
                output: tool.get("outputSchema").map(Body::json),
                repeatable: hint("readOnlyHint") || hint("idempotentHint"),
                reads_only: hint("readOnlyHint"),
            };
            tools.insert(format!("{server}_{}", tool["name"].as_str().unwrap()), facts);
        }
    }
    let lookup = |name: &str| tools.get(name).map_or(Lookup::Unknown { names: vec![] }, |facts| Lookup::Found(facts.clone()));
    for (name, text) in DEMO {
        let problems = check_against(&plan(text), &lookup);
        assert!(problems.is_empty(), "{name}: {}", crate::domain::workflow::problem::render_all(&problems));
    }
}

/// A catalog with a tool `make`, whose output schema is closed if `closed`, and a tool that only reads.
fn catalog(closed: bool) -> impl Fn(&str) -> Lookup {
    move |name| {
        let mut output = json!({"type": "object", "properties": {
            "datetime": {"type": "string"}, "zone": {"type": "object", "properties": {"name": {}}, "additionalProperties": false}
        }});
        if closed {
            output["additionalProperties"] = json!(false);
        }
        let schema = Body::json(&json!({"type": "object"}));
        match name {
            "make" => Lookup::Found(ToolFacts { schema, output: Some(Body::json(&output)), repeatable: true, reads_only: false }),
            "read" => Lookup::Found(ToolFacts { schema, output: None, repeatable: true, reads_only: true }),
            _ => Lookup::Unknown { names: vec!["every_make".into(), "every_read".into(), "other_read".into()] },
        }
    }
}

#[test]
fn members_of_results_are_checked_against_the_output_schema() {
    let text = "[[step]]\nid = \"a\"\ntool = \"make\"\nexpect = \"result.zone.nam != ''\"\n\
                [[step]]\nid = \"b\"\ntool = \"read\"\narguments = { x = \"{{ steps.a.result.date }} {{ steps.a.result.date | default(1) }}\" }\n\
                [output]\nx = \"{{ steps.a.result.zone.name }}\"\ny = \"{{ steps.a.result.qqq }}\"\n";
    let found = |problems: Vec<Problem>| {
        let line =
            |p: &Problem| format!("{}:{} {} {} {}", p.place.line, p.place.column, p.key, p.message, p.hint.clone().unwrap_or_default());
        problems.iter().map(line).collect::<Vec<_>>()
    };
    let certain = found(check_against(&plan(text), &catalog(true)));
    assert_eq!(
        certain,
        [
            "4:11 expect `result.zone` has no `nam`, as the output schema of the tool says did you mean `name`?",
            "8:23 arguments.x `steps.a.result` has no `date`, as the output schema of the tool says did you mean `datetime`?",
            "11:9 output.y `steps.a.result` has no `qqq`, as the output schema of the tool says it has datetime, zone",
        ]
    );
    assert_eq!(warnings(&plan(text), &catalog(true)), vec![]);
    // Where the schema allows other members, only a similar name is worth a warning.
    assert_eq!(found(check_against(&plan(text), &catalog(false))), [&*certain[0]]);
    assert_eq!(found(warnings(&plan(text), &catalog(false))), [&*certain[1]]);
}

#[test]
fn items_that_write_concurrently_are_worth_a_warning() {
    let text = |tool: &str, more: &str| format!("[[step]]\nid = \"a\"\ntool = \"{tool}\"\nfor_each = [1, 2]\n{more}\n");
    let found = |tool: &str, more: &str| warnings(&plan(&text(tool, more)), &catalog(true)).len();
    assert_eq!(found("make", "max_parallel = 2"), 1);
    assert_eq!(found("make", "max_parallel = \"{{ run.attempt }}\""), 1);
    assert_eq!((found("make", ""), found("make", "max_parallel = 1"), found("read", "max_parallel = 2")), (0, 0, 0));
    assert_eq!(found("read", "max_parallel = 2\nfallback = { tool = \"make\" }"), 1);
}

#[test]
fn a_tool_without_its_prefix_is_recognized() {
    let hint = |tool: &str| {
        let problems = check_against(&plan(&format!("[[step]]\nid = \"a\"\ntool = \"{tool}\"\n")), &catalog(true));
        problems[0].hint.clone().unwrap_or_default()
    };
    assert_eq!(hint("mk"), "`switchboard tools` lists the available tools");
    let names = vec!["every_make".to_owned(), "every_read".to_owned(), "other_read".to_owned()];
    assert_eq!((near_tool("make", &names), near_tool("read", &names)), (Some("every_make"), None));
}
