use std::{fs, path::Path, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::domain::workflow::{
    DEMO,
    expression::{Data, RunFacts, Scope},
    plan::{Action, ReadAs},
    problem::{Problem, render_all},
};

fn source(text: &str) -> Source {
    Source { file: "flow.toml".into(), text: text.into() }
}

fn good(text: &str) -> Plan {
    parse(&source(text), &|_| None).unwrap_or_else(|problems| panic!("{}", render_all(&problems)))
}

fn data(folder: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/workflows").join(folder)
}

fn library(name: &str) -> Option<Source> {
    ["library", "bad"].iter().find_map(|folder| {
        let text = fs::read_to_string(data(folder).join(format!("{name}.toml"))).ok()?;
        Some(Source { file: format!("{name}.toml"), text })
    })
}

fn fixed(limit: &Option<TimeLimit>) -> Option<Duration> {
    limit.as_ref().and_then(TimeLimit::fixed)
}

/// Formats a problem as in the files of `bad/`.
fn expected(problem: &Problem) -> String {
    let hint = problem.hint.as_ref().map(|hint| format!(" | {hint}")).unwrap_or_default();
    format!("# expect: {problem}{hint}")
}

#[test]
fn demo_workflows_parse() {
    for (name, text) in DEMO {
        let plan = parse(&Source { file: format!("{name}.toml"), text: text.into() }, &|_| None);
        let plan = plan.unwrap_or_else(|problems| panic!("{}", render_all(&problems)));
        assert_eq!(plan.name, name);
    }
}

/// Each file of `bad/` ends in the problems that it must be rejected with.
#[test]
fn bad_files_are_rejected_with_the_expected_problems() {
    let mut files: Vec<_> = fs::read_dir(data("bad")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 40, "{}", files.len());
    let mut wrong = vec![];
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&file).unwrap();
        let wanted: Vec<&str> = text.lines().filter(|line| line.starts_with("# expect: ")).collect();
        let found: Vec<String> = match parse(&Source { file: name.clone(), text: text.clone() }, &library) {
            Ok(_) => vec!["it parses".into()],
            Err(problems) => problems.iter().map(expected).collect(),
        };
        if found != wanted || wanted.is_empty() {
            wrong.push(format!("## {name}\n{}", found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_complete_step_is_read() {
    let plan = good(
        r#"
name = "all"
title = "All of it"
version = 2
timeout = "1m30s"
max_parallel = 3
on_error = "continue"
env = ["HOME"]

[input]
who = "string"
limit = { type = "integer", default = 20 }
tags = "string[]?"

[[step]]
id = "one"
title = "The first"
tool = "demo_list"
arguments = { limit = "{{ input.limit }}", deep = { list = [1, "{{ env.HOME }}"], plain = 1.50 } }
timeout = "2s"
retry = { attempts = 3, backoff = "100ms", factor = 3, max_backoff = "1s", jitter = false, on = ["timeout"] }
idempotent = true
fallback = [{ tool = "demo_other", arguments = { x = 1 } }, { value = [] }]
cache = "1m"
on_error = "compensate"
compensate = { tool = "demo_undo", arguments = { id = "{{ result.id }}" } }
expect = ["result.total >= 0", { that = "text != ''", message = "{{ text }} is empty" }]
result = "structured"

[[step]]
id = "each"
needs = ["one"]
tool = "demo_work"
when = "{{ input.who != '' }}"
if_skipped = "run"
for_each = "steps.one.result.items"
max_parallel = 2
on_item_error = "continue"
arguments = { item = "{{ item.id }}", n = "{{ index }}" }

[[step]]
id = "read"
resource = "demo://users/{{ input.who }}"
server = "database"

[[step]]
id = "prompted"
prompt = "welcome_email"
server = "email"
arguments = { name = "{{ input.who }}" }

[[step]]
id = "sure"
approve = "Send {{ steps.each.result | length }}?"

[[step]]
id = "form"
elicit = "Who signs?"
schema = { name = "string", copy = "boolean?" }
needs = ["sure", "each"]

[output]
all = "{{ steps.each.result }}"
"#,
    );
    let one = plan.step("one").unwrap();
    assert!(matches!(plan.max_parallel, Count::Fixed(3)), "{:?}", plan.max_parallel);
    assert_eq!((fixed(&plan.timeout), plan.on_error), (Some(Duration::from_secs(90)), OnError::Continue));
    assert_eq!(plan.version.as_deref(), Some("2"));
    assert_eq!(
        plan.input.text(),
        r#"{"type":"object","properties":{"who":{"type":"string"},"limit":{"type":"integer","default":20},"tags":{"type":"array","items":{"type":"string"}}},"required":["who"],"additionalProperties":false}"#
    );
    assert_eq!(one.on_error, OnError::Compensate);
    assert_eq!((one.cache, fixed(&one.timeout), one.idempotent), (Some(Duration::from_secs(60)), Some(Duration::from_secs(2)), true));
    let retry = one.retry.as_ref().unwrap();
    let delays: Vec<u128> = (1..5).map(|attempt| retry.delay(attempt, 0.0).as_millis()).collect();
    assert_eq!((retry.attempts, delays), (3, vec![100, 300, 900, 1000]));
    assert_eq!((one.fallback.len(), one.expect.len(), one.read_as), (2, 2, ReadAs::Structured));
    let Action::Tool(call) = &one.action else { panic!() };
    assert_eq!(call.arguments.with_sources().json(), r#"{"limit":"{{ input.limit }}","deep":{"list":[1,"{{ env.HOME }}"],"plain":1.5}}"#);
    let needs = |id: &str| plan.step(id).unwrap().needs.iter().map(|need| plan.steps[*need].id.to_string()).collect::<Vec<_>>();
    assert_eq!(needs("each"), ["one"]);
    assert_eq!(needs("sure"), ["each"]);
    assert_eq!(needs("form"), ["each", "sure"]);
    assert!(needs("read").is_empty() && needs("prompted").is_empty());
    assert_eq!(plan.order, [0, 1, 2, 3, 4, 5]);
    assert_eq!(plan.dependents[1], [4, 5]);
    assert_eq!(plan.step("each").unwrap().on_error, OnError::Continue, "that of the workflow");
    let words: Vec<_> = plan.steps.iter().map(|step| step.action.kind().word()).collect();
    assert_eq!(words, ["tool", "tool", "resource", "prompt", "approve", "elicit"]);
}

#[test]
fn steps_may_be_written_in_any_order_and_run_in_the_order_of_their_needs() {
    let plan = good(
        "[[step]]\nid = \"c\"\ntool = \"t\"\narguments = { x = \"{{ steps.b.result }}\" }\n[[step]]\nid = \"a\"\ntool = \"t\"\n[[step]]\nid = \"b\"\ntool = \"t\"\nneeds = \"a\"\n",
    );
    assert_eq!(plan.name, "flow");
    assert_eq!(plan.order, [1, 2, 0]);
}

#[test]
fn a_compensation_may_refer_to_other_steps_and_then_needs_them() {
    let plan = good(
        "[[step]]\nid = \"a\"\ntool = \"t\"\n[[step]]\nid = \"b\"\ntool = \"t\"\ncompensate = { tool = \"u\", arguments = { x = \"{{ steps.a.result.id }}\", y = \"{{ result }}\" } }\n",
    );
    assert_eq!(plan.steps[1].needs, [0]);
}

#[test]
fn nested_workflows_are_parsed_once_and_reused() {
    let asked = std::cell::Cell::new(0);
    let library = |name: &str| {
        asked.set(asked.get() + 1);
        let text = match name {
            "leaf" => "[input]\nx = \"string\"\n[[step]]\nid = \"a\"\ntool = \"t\"\n[output]\nx = \"{{ input.x }}\"\n".to_owned(),
            "middle" => "[[step]]\nid = \"a\"\nworkflow = \"leaf\"\narguments = { x = \"1\" }\n".to_owned(),
            _ => return None,
        };
        Some(Source { file: format!("{name}.toml"), text })
    };
    let text = "[[step]]\nid = \"a\"\nworkflow = \"middle\"\n[[step]]\nid = \"b\"\nworkflow = \"leaf\"\narguments = { x = \"{{ steps.a.result.x }}\" }\n";
    let plan = parse(&source(text), &library).unwrap();
    assert_eq!(asked.get(), 2);
    assert_eq!(plan.children().iter().map(|child| child.name.clone()).collect::<Vec<_>>(), ["leaf", "middle"]);
    let deep = |name: &str| {
        let number: u32 = name.strip_prefix('w')?.parse().ok()?;
        let next = if number < 20 { format!("workflow = \"w{}\"", number + 1) } else { "tool = \"t\"".into() };
        Some(Source { file: format!("{name}.toml"), text: format!("[[step]]\nid = \"a\"\n{next}\n") })
    };
    let problems = parse(&source("[[step]]\nid = \"a\"\nworkflow = \"w1\"\n"), &deep).unwrap_err();
    assert!(problems.iter().any(|problem| problem.message.contains("more than 5 deep")), "{}", render_all(&problems));
}

#[test]
fn problems_are_rendered_with_the_line_marked() {
    let problems =
        parse(&source("[[step]]\nid = \"a\"\ntool = \"t\"\narguments = { x = \"日本 {{ inputs.a }}\" }\n"), &|_| None).unwrap_err();
    let shown = "error: step `a`: `arguments.x`: unknown name `inputs`\n --> flow.toml:4:26\n  |\n4 | arguments = { x = \"日本 {{ inputs.a }}\" }\n  |                            ^^^^^^^^\n  = try: did you mean `input`?";
    assert_eq!(problems[0].render(), shown);
    let long = format!(
        "[[step]]\nid = \"a\"\ntool = \"t\"\narguments = {{ x = \"{}{{{{ inputs.a }}}}\x07{}\" }}\n",
        "y".repeat(5000),
        "z".repeat(5000)
    );
    let problems = parse(&source(&long.replace('\x07', "\\u001b")), &|_| None).unwrap_err();
    let shown = problems[0].render();
    assert!(shown.lines().all(|line| line.chars().count() < 160), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    let caret = lines[4].chars().position(|c| c == '^').unwrap();
    // The escape makes the position inexact: the whole value is marked.
    assert_eq!(lines[3].chars().nth(caret), Some('"'), "{shown}");
}

#[test]
fn an_expression_that_fails_in_a_run_names_file_step_and_key() {
    let plan =
        good("[input]\nx = \"object\"\n[[step]]\nid = \"a\"\ntool = \"t\"\narguments = { deep = { y = \"at {{ input.x.yes }}\" } }\n");
    let Action::Tool(call) = &plan.steps[0].action else { panic!() };
    let input = Data::parse(r#"{"x":{"yep":1}}"#).unwrap();
    let scope = Scope::new(&plan.names, input, &RunFacts::default(), []);
    let error = call.arguments.eval(&scope).unwrap_err();
    let problem = plan.problem(Some("a"), &error);
    assert_eq!(
        problem.to_string(),
        "flow.toml:6:35: step `a`: `arguments.deep.y`: `input.x.yes` is missing: `input.x` has `yep`, did you mean that?"
    );
    assert_eq!(problem.width, "input.x.yes".len() as u32);
}

#[test]
fn oversized_files_are_rejected() {
    let huge = "x".repeat(MAX_BYTES + 1);
    assert!(parse(&source(&huge), &|_| None).unwrap_err()[0].message.contains("4 MB"));
    let nested = format!("a = {}", "[".repeat(100_000));
    assert!(parse(&source(&nested), &|_| None).is_err());
    let many: String = (0..400).map(|n| format!("[[step]]\nid = \"s{n}\"\ntool = \"t\"\nbad = {n}\n")).collect();
    assert_eq!(parse(&source(&many), &|_| None).unwrap_err().len(), 200);
}

/// Cuts, duplicates and replaces parts of a valid file.
fn mutated() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{{".to_owned()),
        Just("}}".to_owned()),
        Just("\"".to_owned()),
        Just("\n".to_owned()),
        Just("= ".to_owned()),
        Just("[[step]]\n".to_owned()),
        Just("steps.".to_owned()),
        Just("nan".to_owned()),
        Just("\"\"\"".to_owned()),
        Just("[".to_owned()),
        "\\PC{0,4}",
    ];
    let edit = (any::<prop::sample::Index>(), 0usize..30, piece);
    (0..DEMO.len(), proptest::collection::vec(edit, 1..6)).prop_map(|(which, edits)| {
        let mut chars: Vec<char> = DEMO[which].1.chars().collect();
        for (at, cut, piece) in edits {
            let at = at.index(chars.len().max(1)).min(chars.len());
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, piece.chars());
        }
        chars.into_iter().collect()
    })
}

fn assert_valid(outcome: Result<Plan, Vec<Problem>>, text: &str) {
    match outcome {
        Ok(plan) => {
            assert!(!plan.steps.is_empty());
            let mut settled = HashSet::new();
            for index in &plan.order {
                assert!(plan.steps[*index].needs.iter().all(|need| settled.contains(need)));
                settled.insert(*index);
            }
            assert_eq!(settled.len(), plan.steps.len());
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in &problems {
                assert!(problem.place.line >= 1 && problem.place.line as usize <= text.lines().count().max(1) + 1, "{problem}");
                assert!(!problem.message.is_empty() && !problem.render().contains('\x1b'));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_text_gives_a_plan_or_problems(text in "(\\[\\[step\\]\\]\n|id = \"|tool = |\\{\\{ |\\}\\}|\n|\\PC){0,60}") {
        assert_valid(parse(&source(&text), &|_| None), &text);
    }

    #[test]
    fn a_damaged_file_gives_a_plan_or_problems(text in mutated()) {
        assert_valid(parse(&source(&text), &library), &text);
    }
}

/// Files made as costly as possible: each results in a few problems, in time linear in its length.
#[test]
fn costly_files_are_rejected_or_parsed_in_linear_time() {
    let head = "name = \"x\"\n[[step]]\nid = \"a\"\ntool = \"t\"\n";
    let text = |inner: &str| format!("{head}arguments = {{ x = {inner} }}\n");
    let n = 100_000;
    let files = [
        text(&format!("\"{}\"", "{{ input.a }}".repeat(n))),
        text(&format!("\"{}\"", "{% x %}".repeat(n))),
        text(&format!("'{}'", "{{ a ".repeat(n))),
        text(&format!("\"{{{{ {} }}}}\"", "a or ".repeat(n))),
        text(&format!("[{}]", "'{{ steps.b.result }}',".repeat(n))),
        format!("{head}{}", (0..n).map(|n| format!("unknown{n} = 1\n")).collect::<String>()),
        format!("{head}needs = [{}]\n", (0..n).map(|n| format!("\"a{n}\",")).collect::<String>()),
        format!("{head}arguments.{} = 1\n", vec!["a"; n].join(".")),
        format!("{}\n", "[[step]]\nid = \"a\"\ntool = \"t\"\n".repeat(9_000)),
    ];
    for text in files {
        let began = std::time::Instant::now();
        let problems = parse(&source(&text), &|_| None).err().unwrap_or_default();
        assert!((1..=200).contains(&problems.len()), "{}: {}", &text[..90], problems.len());
        assert!(problems.iter().all(|problem| problem.place.line > 0 && problem.render().len() < 20_000), "{}", &text[..90]);
        // With a quadratic cost this would take hours; the time itself is not measured.
        assert!(began.elapsed() < Duration::from_secs(60), "{}", &text[..90]);
    }
}
