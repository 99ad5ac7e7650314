use std::{collections::HashMap, sync::Arc};

use proptest::prelude::*;

use super::*;

fn scope() -> Scope {
    let names: HashMap<Arc<str>, usize> = [("create", 0), ("loop", 1), ("later", 2)].map(|(name, index)| (Arc::from(name), index)).into();
    let input = Data::parse(r#"{"n":3,"big":123456789012345678901234567890,"money":19.90,"name":"Ann \"A\"","list":[3,1,2],"null":null,"nested":{"z":1,"a":{"b":[{"c":true}]}}}"#).unwrap();
    let run = RunFacts { id: "run-1".into(), started_ms: 1_795_424_700_120, attempt: 1 };
    let scope = Scope::new(&Arc::new(names), input, &run, [("HOME".to_owned(), "/home/x".to_owned())]);
    let result =
        Data::parse(r#"{"userId":"u_1","email":"a@x","count":18446744073709551615,"f":1.0,"pi":3.14159265358979323846264338327950288}"#)
            .unwrap();
    scope.settle(0, StepEnd { outcome: "ok", result: Some(result), text: Some("made".into()), duration_ms: 12, ..StepEnd::default() });
    let fault = StepFault { kind: "timeout".into(), message: "too late".into() };
    scope.settle(1, StepEnd { outcome: "failed", error: Some(fault), ..StepEnd::default() });
    scope
}

fn eval(text: &str) -> Result<String, String> {
    let template = Template::compile("arguments.x", text, &|offset| offset).map_err(|faults| faults[0].fault.message.clone())?;
    template.eval(&scope()).map(|data| data.json()).map_err(|error| error.message)
}

#[test]
fn an_expression_alone_keeps_its_type_and_inside_text_becomes_text() {
    for (text, json) in [
        ("{{ input.n }}", "3"),
        (" {{ input.n }}", r#"" 3""#),
        ("{{ input.n }}{{ input.n }}", r#""33""#),
        ("{{ input.big }}", "123456789012345678901234567890"),
        ("{{ steps.create.result.count }}", "18446744073709551615"),
        ("{{ steps.create.result.pi }}", "3.14159265358979323846264338327950288"),
        ("{{ steps.create.result.f }}", "1.0"),
        ("n={{ steps.create.result.pi }}", r#""n=3.14159265358979323846264338327950288""#),
        ("{{ input.money }}", "19.9"),
        ("{{ input.null }}", "null"),
        ("{{ input.nested }}", r#"{"z":1,"a":{"b":[{"c":true}]}}"#),
        ("x: {{ input.nested }} {{ true }} {{ input.null }}", r#""x: {\"z\":1,\"a\":{\"b\":[{\"c\":true}]}} true null""#),
        ("{{ input.nested.a.b[0].c }}", "true"),
        ("{{ input['nested']['a'].b[-1].c }}", "true"),
        ("{{ input.name }}", r#""Ann \"A\"""#),
        ("{{ {'a': {'b': 1}} }}", r#"{"a":{"b":1}}"#),
        ("{{ '}}' }} and {{ \"{{\" }}", r#""}} and {{""#),
        ("{{ input.list | sort | map('string') | join('-') }}", r#""1-2-3""#),
        ("{{ input.list | select('gt', 1) }}", "[3,2]"),
        ("{{ range(3) }}", "[0,1,2]"),
        ("{{ input.n + 1 }}", "4"),
        ("{{ input.n / 2 }}", "1.5"),
        ("{{ (input.n + 1) * 2 * -input.n }}", "-24"),
        ("{{ 'ab' * 2 }}", r#""abab""#),
        ("{{ 'yes' if input.n > 2 else 'no' }}", r#""yes""#),
        ("{{ env.HOME }}", r#""/home/x""#),
        ("{{ run.id }} {{ run.started }}", r#""run-1 2026-11-23T09:05:00.120Z""#),
        ("{{ run.started | date('%d.%m.%Y') }}", r#""23.11.2026""#),
        ("{{ run.started_ms | date }}", r#""2026-11-23T09:05:00.120Z""#),
        ("{{ '2026-11-23' | timestamp }}", "1795392000000"),
        ("{{ steps.create.outcome }} {{ steps.create.duration_ms }} {{ steps.create.text }}", r#""ok 12 made""#),
        ("{{ steps.loop.error.kind }}", r#""timeout""#),
        ("plain { text } }}", r#""plain { text } }}""#),
        ("", r#""""#),
    ] {
        assert_eq!(eval(text).as_deref(), Ok(json), "{text}");
    }
}

#[test]
fn filters_for_json_base64_and_hashes_work() {
    for (text, json) in [
        (r#"{{ input.nested | tojson }}"#, r#""{\"z\":1,\"a\":{\"b\":[{\"c\":true}]}}""#),
        (r#"{{ (('[1,{"a":' ~ input.big ~ '}]') | fromjson)[1].a }}"#, "123456789012345678901234567890"),
        ("{{ 'grün' | b64encode }}", r#""Z3LDvG4=""#),
        ("{{ 'Z3LDvG4=' | b64decode }}", r#""grün""#),
        ("{{ 'abc' | sha256 }}", r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#),
        ("{{ input.nested | keys }}", r#"["z","a"]"#),
        ("{{ input.nested | values | first }}", "1"),
        ("{{ {'a': 1} | merge({'b': 2, 'a': 3}) }}", r#"{"a":3,"b":2}"#),
        ("{{ [[1], 2, [3, [4]]] | flatten }}", "[1,2,3,[4]]"),
        ("{{ 'a b/c' | urlencode }}", r#""a%20b%2Fc""#),
        ("{{ input.list | length }}", "3"),
        ("{{ input.list | sum }}", "6"),
    ] {
        assert_eq!(eval(text).as_deref(), Ok(json), "{text}");
    }
    for bad in ["{{ '!' | b64decode }}", "{{ '{' | fromjson }}", "{{ 'soon' | date }}", "{{ 1 | keys }}", "{{ '//8=' | b64decode }}"] {
        assert!(eval(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_missing_value_is_an_error_at_any_depth_and_in_any_use() {
    for (text, message) in [
        ("{{ input.nope }}", "`input.nope` is missing: `input` has n, big, money, name, list, null, nested"),
        ("{{ input.nam }}", "`input.nam` is missing: `input` has `name`, did you mean that?"),
        ("x {{ input.nope }}", "`input.nope` is missing"),
        (
            "{{ steps.create.result.userid.x }}",
            "`steps.create.result.userid` is missing: `steps.create.result` has `userId`, did you mean that?",
        ),
        ("{{ steps.create.result.userid == 'x' }}", "`steps.create.result.userid` is missing"),
        ("{{ steps.create.result.nope in ['x'] }}", "`steps.create.result.nope` is missing"),
        ("{{ {'a': input.nope} }}", "`input.nope` is missing"),
        ("{{ [input.nope] }}", "`input.nope` is missing"),
        ("{{ input.nope | tojson }}", "`input.nope` is missing"),
        ("{{ input.nope | length }}", "`input.nope` is missing"),
        ("{{ not input.nope }}", "`input.nope` is missing"),
        ("{{ input.nope and true }}", "`input.nope` is missing"),
        ("{{ input.nope is none }}", "`input.nope` is missing"),
        ("{{ input.nope[1:] }}", "`input.nope` is missing"),
        ("{{ input.list[7] }}", "`input.list[7]` is missing: `input.list` is a list of 3"),
        ("{{ input['nope'] == 1 }}", "`input.nope` is missing"),
        ("{{ input.n.x }}", "`input.n.x` is missing: `input.n` is a number"),
        ("{{ (input.nope if true else 1) }}", "`input.nope` is missing"),
        ("{{ steps.later.result }}", "`steps.later` is missing"),
        ("{{ steps.loop.result }}", "`steps.loop.result` is missing: `steps.loop` has outcome, duration_ms, error"),
        ("{{ item }}", "`item` is missing"),
        ("{{ 'x' if false }}", "has no value: the condition is false and `else` is missing"),
        ("{{ ('x' if false) == 1 }}", "has no value: the condition is false"),
        ("{{ [1 if input.n > 5] }}", "has no value: the condition is false"),
        ("{{ ('x' if input.nope) ~ 'y' }}", "`input.nope` is missing"),
        ("{{ ([] | first) }}", "`[] | first` is missing"),
        ("{{ [{'a': 1}, {}] | map(attribute='a') | list }}", "`a` is missing in item 1 of `[{'a': 1}, {}]`: it is empty"),
    ] {
        let found = eval(text).expect_err(text);
        assert!(found.starts_with(message), "{text}: {found}");
    }
}

#[test]
fn optional_values_may_be_missing() {
    for (text, json) in [
        ("{{ input.nope | default('x') }}", r#""x""#),
        ("{{ input.nope | d }}", r#""""#),
        ("{{ input.nope is defined }}", "false"),
        ("{{ input.nope is undefined or input.nope == 1 }}", "true"),
        ("{{ input.nope is defined and input.nope == 1 }}", "false"),
        ("{{ input.n is not defined }}", "false"),
        ("{{ (input.nope | default(input.list))[0] }}", "3"),
        ("{{ [{'a': 1}, {}] | map(attribute='a', default=0) | list }}", "[1,0]"),
    ] {
        assert_eq!(eval(text).as_deref(), Ok(json), "{text}");
    }
    for (text, json) in [
        ("{{ input.nope.x[0].y | default('x') }}", r#""x""#),
        ("{{ steps.loop.result.total | default(0) + 1 }}", "1"),
        ("{{ steps.later.result['a b'] is defined }}", "false"),
        ("{{ steps.create.result.userId | default('x') }}", r#""u_1""#),
        ("{{ input.list[-1] | default('x') }}", "2"),
        ("{{ input.n.x.y is undefined }}", "true"),
        ("{{ [input.nested.a.b[0].c | d, input.nested.a.x[0].c | d('none')] }}", r#"[true,"none"]"#),
    ] {
        assert_eq!(eval(text).as_deref(), Ok(json), "{text}");
    }
    let computed = eval("{{ input.nope[input.name].x | default('x') }}").unwrap_err();
    assert!(computed.starts_with("`input.nope"), "{computed}");
}

#[test]
fn missing_filter_results_are_errors_unless_the_author_asks() {
    for (text, told) in [
        ("{{ [] | first }}", "`[] | first` is missing"),
        ("{{ ([] | first) == 1 }}", "`[] | first` is missing"),
        ("{{ 1 if (input.list | select('gt', 9) | first) == 3 else 2 }}", "`input.list | select('gt', 9) | first` is missing"),
        ("{{ [] | last ~ 'x' }}", "`[] | last` is missing"),
        ("{{ [] | min in [1] }}", "`[] | min` is missing"),
        ("{{ not ([]|max) }}", "`[]|max` is missing"),
        ("{{ input.nested | attr('y') == 1 }}", "`input.nested | attr('y')` is missing"),
        ("{{ input.nested.a.b | selectattr('d') | list | length }}", "`d` is missing in item 0 of `input.nested.a.b`: it has c"),
        (
            "{{ [{'done': true}, {'doone': true}] | selectattr('done') | list }}",
            "`done` is missing in item 1 of `[{'done': true}, {'doone': true}]`: it has `doone`, did you mean that?",
        ),
        ("{{ input.nested.a.b | rejectattr('x.y', 'eq', 1) | list }}", "`x.y` is missing in item 0 of `input.nested.a.b`: it has c"),
        ("{{ input.nested.a.b | map(attribute='d') | list | length }}", "`d` is missing in item 0 of `input.nested.a.b`: it has c"),
        ("{{ input.nested.a.b | list | sort(attribute='c,d') }}", "`d` is missing in item 0 of `input.nested.a.b | list`: it has c"),
        ("{{ input.nested.a.b | groupby('d') | length }}", "`d` is missing in item 0 of `input.nested.a.b`: it has c"),
    ] {
        assert_eq!(eval(text), Err(told.to_owned()), "{text}");
    }
    for (text, json) in [
        ("{{ [] | first | default(7) }}", "7"),
        ("{{ ('x' if false) | default('y') }}", r#""y""#),
        ("{{ 'x' if input.n }}", r#""x""#),
        ("{{ ('x' if input.list | first) }}", r#""x""#),
        ("{{ [] | first is defined }}", "false"),
        ("{{ [2] | first == 2 }}", "true"),
        ("{{ input.list | max - 1 }}", "2"),
        ("{{ input.nested.a.b | selectattr('c') | map(attribute='c') | first }}", "true"),
        ("{{ input.nested.a.b | selectattr('d', 'defined') | list }}", "[]"),
        ("{{ input.nested.a.b | map(attribute='d', default=0) | list }}", "[0]"),
        ("{{ [[3, 1], [2, 5]] | map(attribute='1') | list }}", "[1,5]"),
        ("{{ [] | selectattr('x') | list }}", "[]"),
    ] {
        assert_eq!(eval(text).as_deref(), Ok(json), "{text}");
    }
}

#[test]
fn runaway_expressions_are_stopped_and_the_outside_is_unreachable() {
    for text in [
        "{{ range(99999) | map('string') | join | length }}{{ range(99999) | list }}{{ range(99999) | list }}{{ range(99999) | sort | length }}",
        "{{ 'x' * 1000000000 }}",
        "{{ 10 ** 10000000 }}",
        "{{ range(100000000) }}",
    ] {
        let outcome = eval(text);
        assert!(outcome.is_err() || outcome.is_ok_and(|text| text.len() < 10_000_000), "{text}");
    }
    // The engine would make 27 million numbers of the first, in seconds and gigabytes.
    for text in [
        "{{ 9*range(051106)*59 }}",
        "{{ (input.list + [1]) * 2 }}",
        "{{ 2 * (input.list if input.n else 1) }}",
        "{{ ('[1]' | fromjson) * 2 }}",
        "{{ input.list[1:] * 2 | length }}",
        "{{ input.nested.a.b * 2 }}",
    ] {
        assert!(eval(text).is_err_and(|error| error.contains("a list cannot be multiplied")), "{text}: {:?}", eval(text));
    }
    for text in
        ["{{ debug() }}", "{{ namespace() }}", "{{ 'x' | safe }}", "{{ 'x' | pprint }}", "{{ x is safe }}", "{{ self.x() }}", "{{ now() }}"]
    {
        assert!(eval(text).is_err(), "{text}");
    }
    for text in ["{% include 'x' %}", "a {% for x in y %}", "{# note #}", "{{ a", "{{ }}", "{{ a b }}", "{{ 'x | upper }}", "{{ (1 }}"] {
        assert!(Template::compile("k", text, &|offset| offset).is_err(), "{text}");
    }
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(Template::compile("k", &deep, &|offset| offset).is_err());
}

/// On a thread with the small stack of the runtime's workers: accepted expressions can be compiled, evaluated and
/// dropped, and deeper ones are rejected with their position.
#[test]
fn chains_of_every_kind_end_in_a_value_or_an_error() {
    type Grow = fn(usize) -> String;
    let grow: [(&str, Grow); 16] = [
        ("or", |n| format!("input.no{}", " or input.no".repeat(n))),
        ("and", |n| format!("true{}", " and true".repeat(n))),
        ("not", |n| format!("{}input.no", "not ".repeat(n))),
        ("-", |n| format!("{}1", "-".repeat(n))),
        ("- a", |n| format!("{}input.n", "- ".repeat(n))),
        ("+", |n| format!("1{}", " + 1".repeat(n))),
        ("~", |n| format!("'a'{}", " ~ 'a'".repeat(n))),
        ("**", |n| format!("1{}", " ** 1".repeat(n))),
        ("filters", |n| format!("input.list{}", "|list".repeat(n))),
        ("first", |n| format!("input.list{}", "|first".repeat(n))),
        ("keys", |n| format!("input{}", ".a".repeat(n))),
        ("items", |n| format!("input.list{}", "[0]".repeat(n))),
        ("calls", |n| format!("range{}", "(1)".repeat(n))),
        ("if", |n| format!("1{}", " if input.no else 1".repeat(n))),
        ("lists", |n| format!("{}1{}", "[".repeat(n), "]".repeat(n))),
        ("maps", |n| format!("{}1{}", "{'a':".repeat(n), "}".repeat(n))),
    ];
    let work = move || {
        for (kind, text) in grow {
            for count in [10, 70, 140, 299, 1_000, 20_000, 60_000] {
                let text = format!("{{{{ {} }}}}", text(count));
                match Template::compile("k", &text, &|offset| offset) {
                    Ok(template) => {
                        assert!(count < 1_000, "{kind} {count}");
                        let _ = template.eval(&scope()).map(|data| data.json());
                        drop(template);
                    }
                    Err(faults) => {
                        assert!(count > 10, "{kind}: {}", faults[0].fault.message);
                        assert!(faults[0].offset < text.len(), "{kind}");
                    }
                }
            }
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn every_listed_filter_and_test_exists() {
    for name in engine::filters() {
        let error = engine::compile(&format!("1|{name}")).map(|program| engine::run(&program, &scope()));
        if let Ok(Err(error)) = error {
            assert_ne!(error.kind(), minijinja::ErrorKind::UnknownFilter, "{name}");
        }
    }
    for name in engine::tests() {
        let source = if ["true", "false", "none"].contains(&name) { format!("1 is {name}") } else { format!("1 is {name}(1)") };
        if let Ok(Err(error)) = engine::compile(&source).map(|program| engine::run(&program, &scope())) {
            assert_ne!(error.kind(), minijinja::ErrorKind::UnknownTest, "{name}");
        }
    }
    assert!(
        engine::has_filter("tojson")
            && !engine::has_filter(engine::REJECT_MISSING)
            && !engine::has_filter(engine::REQUIRE_MEMBER)
            && !engine::has_filter("nope")
    );
}

#[test]
fn references_are_found_with_their_positions() {
    let expr = Expr::compile("k", 100, true, "steps.a.result['x y'][0] + input[steps.b.text] + (env.HOME | default(run.id))").unwrap();
    let found: Vec<(String, bool, bool)> = expr.references().iter().map(|r| (r.text(), r.complete, r.optional)).collect();
    let expected = [
        (r#"steps.a.result["x y"][0]"#, true, false),
        ("steps.b.text", true, false),
        ("input[…]", false, false),
        ("env.HOME", true, true),
        ("run.id", true, false),
    ];
    assert_eq!(found, expected.map(|(text, complete, optional)| (text.to_owned(), complete, optional)));
    assert_eq!(expr.span_of(&expr.references()[1]).0, 100 + expr.source().find("steps.b").unwrap());
    assert_eq!(Expr::compile("k", 0, true, "1 + 1").unwrap().constant().map(Data::json).as_deref(), Some("2"));
    assert!(Expr::compile("k", 0, true, "input.n").unwrap().constant().is_none());
}

#[test]
fn a_condition_must_be_true_or_false() {
    let test = |source: &str| Expr::compile("when", 0, true, source).unwrap().test(&scope());
    assert_eq!(test("input.n > 2"), Ok(true));
    assert_eq!(test("not (input.n > 2)"), Ok(false));
    assert_eq!(test("input.name").unwrap_err().message, "is a string, not true or false");
    assert_eq!(test("input.null").unwrap_err().message, "is null, not true or false");
}

#[test]
fn items_and_own_results_are_visible_only_where_they_exist() {
    let scope = scope();
    let see = |text: &str, scope: &Scope| Template::compile("k", text, &|o| o).ok().unwrap().eval(scope).map(|data| data.json());
    let item = scope.with_item(Data::parse(r#"{"a":1}"#).unwrap(), 4);
    assert_eq!(see("{{ item.a }}/{{ index }}", &item).as_deref(), Ok(r#""1/4""#));
    assert!(see("{{ item }}", &scope).is_err());
    let own = item.with_result(Data::from("done"), "text");
    assert_eq!(see("{{ result }} {{ text }} {{ item.a }}", &own).as_deref(), Ok(r#""done text 1""#));
    assert!(scope.settle(2, StepEnd { outcome: "skipped", ..StepEnd::default() }));
    assert!(!scope.settle(2, StepEnd::default()), "a step settles once");
    assert_eq!(see("{{ steps.later.outcome }}", &own).as_deref(), Ok(r#""skipped""#));
}

#[test]
fn a_list_of_texts_behaves_like_any_list() {
    let mut results = Results::default();
    results.grow_to(4);
    // In the order in which they ended.
    for (item, json) in [(2, "\"x\""), (0, "{\"id\":1,\"big\":18446744073709551615}"), (1, "[2]")] {
        results.record(item, json);
    }
    let whole = results.json();
    let list = Data::results(Arc::new(results));
    assert_eq!(whole, list.json());
    let json = r#"[{"id":1,"big":18446744073709551615},[2],"x",null]"#;
    assert_eq!((list.json().as_str(), list.len(), list.kind()), (json, Some(4), "a list"));
    let scope = Scope::new(&Arc::default(), Data::object([("x", list)]), &RunFacts::default(), []);
    let see = |text: &str| Template::compile("k", text, &|o| o).ok().unwrap().eval(&scope).map(|data| data.json()).map_err(|e| e.message);
    for (text, found) in [
        ("{{ input.x }}", json),
        ("{{ input.x | length }}", "4"),
        ("{{ input.x[0].big }}", "18446744073709551615"),
        ("{{ input.x[-2] }}", r#""x""#),
        ("{{ input.x | first }}", r#"{"id":1,"big":18446744073709551615}"#),
        ("{{ input.x[1:3] }}", r#"[[2],"x"]"#),
        ("{{ 'x' in input.x }}", "true"),
        ("{{ input.x | reject('none') | list | length }}", "3"),
        ("{{ input.x | tojson | fromjson | last }}", "null"),
        ("{{ input.x == input.x | list }}", "true"),
    ] {
        assert_eq!(see(text).as_deref(), Ok(found), "{text}");
    }
    assert_eq!(see("{{ input.x[4] }}").unwrap_err(), "`input.x[4]` is missing: `input.x` is a list of 4");
}

#[test]
fn the_ends_of_items_are_a_list_of_objects() {
    let mut ends = Ends::default();
    ends.record(2, "failed", Some(StepFault { kind: "timeout".into(), message: "late".into() }));
    ends.record(0, "ok", None);
    ends.grow_to(4);
    let names: Arc<HashMap<Arc<str>, usize>> = Arc::new(HashMap::from([("s".into(), 0)]));
    let scope = Scope::new(&names, Data::null(), &RunFacts::default(), []);
    scope.settle(0, StepEnd { outcome: "failed", items: Some(Arc::new(ends)), ..StepEnd::default() });
    let see = |text: &str| Template::compile("k", text, &|o| o).ok().unwrap().eval(&scope).map(|data| data.json()).map_err(|e| e.message);
    for (text, found) in [
        ("{{ steps.s.items | map(attribute='outcome') | list }}", r#"["ok","cancelled","failed","cancelled"]"#),
        ("{{ steps.s.items[2].error.kind }}", r#""timeout""#),
        ("{{ steps.s.items | length }}", "4"),
        (
            "{{ steps.s.items | selectattr('outcome', 'eq', 'failed') | list }}",
            r#"[{"outcome":"failed","error":{"kind":"timeout","message":"late"}}]"#,
        ),
    ] {
        assert_eq!(see(text).as_deref(), Ok(found), "{text}");
    }
    assert!(see("{{ steps.s.items[0].error }}").unwrap_err().contains("is missing"), "{:?}", see("{{ steps.s.items[0].error }}"));
}

#[test]
fn a_preview_keeps_unknown_parts_as_written() {
    let later = Template::compile("k", "{{ steps.later.result.id }}", &|o| o).ok().unwrap();
    let now = Template::compile("k", "{{ input.n }}", &|o| o).ok().unwrap();
    let both = Template::object(vec![("a".into(), later), ("b".into(), now)]);
    let (data, known) = both.preview(&scope(), &|_| true);
    assert_eq!((data.json().as_str(), known), (r#"{"a":"{{ steps.later.result.id }}","b":3}"#, false));
}

proptest! {
    #[test]
    fn arbitrary_text_compiles_or_not_and_never_panics(text in "(\\{\\{|\\}\\}|[a-z.| ()\\[\\]'\"~+*/<>=%{}0-9-]|steps|input|item|not|if|else|is|in|\\PC){0,40}") {
        if let Ok(template) = Template::compile("k", &text, &|offset| offset) {
            let _ = template.eval(&scope());
            let _ = template.preview(&scope(), &|_| true);
        }
    }

    #[test]
    fn json_passes_through_an_expression_unchanged(value in json_value()) {
        let data = Data::from(&value);
        prop_assert_eq!(&data.value(), &value);
        let scope = Scope::new(&Arc::default(), Data::object([("x", data.clone())]), &RunFacts::default(), []);
        for text in ["{{ input.x }}", "{{ [input.x][0] }}", "{{ input.x | tojson | fromjson }}"] {
            let template = Template::compile("k", text, &|offset| offset).ok().unwrap();
            prop_assert_eq!(template.eval(&scope).unwrap().json(), data.json());
        }
    }

    #[test]
    fn numbers_keep_their_value(digits in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?") {
        let data = Data::parse(&digits).unwrap();
        let reparsed = Data::parse(&data.json()).unwrap();
        prop_assert_eq!(data.json(), reparsed.json());
        if !digits.contains(['.', 'e', 'E']) && digits != "-0" {
            prop_assert_eq!(data.json(), digits);
        }
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e15f64..1e15).prop_map(Into::into),
        "\\PC{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::vec(("[a-z ]{0,5}", inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}
