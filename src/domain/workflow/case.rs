//! Test files of workflows: cases with scripted or recorded responses and the expected result of the run.
//!
//! ```toml
//! workflow = "onboard_new_user"
//!
//! [[case]]
//! name = "the e-mail fails"
//! input = { email = "a@x.org", name = "Ann" }
//! answers.create_user = { result = { userId = "u_1", email = "a@x.org" } }
//! answers.welcome = { error = "mailbox full" }
//! answers.database_delete_user = { text = "Deleted" }
//! expect = { outcome = "compensated", steps = { track = "skipped" }, compensated = ["create_user"] }
//! ```

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use super::{
    closest_match,
    expression::Data,
    keys::{self, Key},
    parse::{
        Source,
        reader::{Report, Table},
    },
    plan::{Plan, RetryOn},
    problem::{Place, Problem},
    source::Page,
};
use crate::domain::{
    body::Body,
    document::{Kind, Node},
};

/// A test file.
#[derive(Clone, Debug, PartialEq)]
pub struct TestFile {
    /// Name of the workflow; by default the file name without `.test.toml` or `_test.toml`.
    pub workflow: String,
    /// The cases, in file order.
    pub cases: Vec<Case>,
}

/// A test case: one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Name of the case.
    pub name: String,
    /// The input, an object.
    pub input: Data,
    /// The environment variables.
    pub env: BTreeMap<String, String>,
    /// The responses, by step id or exposed tool name; the step id takes precedence. Successive calls get successive
    /// responses; the last one repeats.
    pub answers: BTreeMap<String, Vec<Answer>>,
    /// Exposed names of tools that count as safe to repeat, like those of a trusted server that declares it.
    pub repeatable: Vec<String>,
    /// The expected result.
    pub expect: Expect,
    /// Position in the file.
    pub place: Place,
}

/// The response to a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The content of the response.
    pub say: Say,
    /// Delay before the response.
    pub delay: Duration,
}

/// The content of a response.
#[derive(Clone, Debug, PartialEq)]
pub enum Say {
    /// A complete `result` of `tools/call`, as JSON.
    Result(Body),
    /// A failure.
    Fail {
        /// The class of the failure.
        kind: RetryOn,
        /// The error message.
        message: String,
        /// Whether the request may have reached the server and run there.
        sent: bool,
    },
    /// No response: the call stays in flight until something else ends it.
    Never {
        /// What is cancelled meanwhile.
        cancels: Option<Cancels>,
        /// The steps of the workflow that must have ended before.
        after: Vec<String>,
    },
}

/// What is cancelled while a call is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancels {
    /// The step of the call.
    Step,
    /// The run; for a compensating call, the compensation.
    Run,
    /// The program, as by SIGTERM: the run could be resumed.
    Program,
}

impl Cancels {
    /// All values, with their names in the file.
    pub const ALL: [(Cancels, &'static str); 3] = [(Cancels::Step, "step"), (Cancels::Run, "run"), (Cancels::Program, "program")];
}

/// The expected result of a run. Fields that are absent are not checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// Outcome of the run, one of [`OUTCOMES`]; `ok` by default.
    pub outcome: Option<String>,
    /// Outputs that must have these values; others are allowed.
    pub output: Vec<(String, Data)>,
    /// Outcomes of steps, each one of [`STATES`].
    pub steps: Vec<(String, String)>,
    /// The compensated steps, in this order, and no others.
    pub compensated: Option<Vec<String>>,
    /// Number of calls per tool.
    pub calls: Vec<(String, u32)>,
    /// Arguments that the last call of a step or tool must contain; others are allowed.
    pub arguments: Vec<(String, Data)>,
    /// Text that the reason for the outcome must contain.
    pub error: Option<String>,
}

/// The outcomes of a run.
pub const OUTCOMES: [&str; 10] =
    ["ok", "partial", "failed", "compensated", "compensation_failed", "timed_out", "cancelled", "refused", "in_doubt", "invalid"];

/// The outcomes of a step.
pub const STATES: [&str; 7] = ["ok", "failed", "skipped", "cancelled", "pending", "compensated", "compensation_failed"];

const fn key(name: &'static str) -> Key {
    Key { name, about: "", shape: || json!({}) }
}

const TOP: [Key; 2] = [key("workflow"), key("case")];
const CASE: [Key; 6] = [key("name"), key("input"), key("env"), key("answers"), key("repeatable"), key("expect")];
const ANSWER: [Key; 10] = [
    key("result"),
    key("text"),
    key("answer"),
    key("error"),
    key("kind"),
    key("sent"),
    key("cancel"),
    key("after"),
    key("silent"),
    key("delay"),
];
const EXPECT: [Key; 7] = [key("outcome"), key("output"), key("steps"), key("compensated"), key("calls"), key("arguments"), key("error")];

/// A difference between a run and the expectations of its case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The expectation that is not met.
    pub place: Expected,
    /// The message for users.
    pub words: String,
}

impl Mismatch {
    /// Returns the mismatch of an expectation without a name.
    pub fn other(words: String) -> Mismatch {
        Mismatch { place: Expected::Other, words }
    }
}

/// An expectation of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The output of this name.
    Output(String),
    /// The arguments of the calls of this step or tool.
    Arguments(String),
    /// Any other expectation.
    Other,
}

/// Parses a test file. On failure, returns all its problems.
pub fn parse(source: &Source) -> Result<TestFile, Vec<Problem>> {
    let page = Page::new(source);
    let root = page.parse()?;
    let mut report = Report { page, problems: vec![] };
    let mut top = Table { report: &mut report, fields: root.fields().unwrap_or_default(), step: None, key: String::new(), span: (0, 0) };
    top.check_keys(&TOP);
    let workflow = top.literal_text("workflow").unwrap_or_else(|| stem(&source.file));
    let mut cases = vec![];
    match top.node("case").map(|node| (node, node.items())) {
        Some((_, Some(nodes))) => {
            for node in nodes {
                cases.extend(case(&mut top, node));
            }
        }
        Some((node, None)) => {
            top.report_problem((node.at, node.end), "case", "is not an array of tables", Some("write [[case]] with two brackets".into()))
        }
        None => top.report_problem(
            (0, 0),
            "case",
            "is missing: a test file needs at least one case",
            Some("add [[case]] with a name and an input".into()),
        ),
    }
    let mut problems = report.problems;
    problems.sort_by_key(|problem| problem.place);
    if problems.is_empty() { Ok(TestFile { workflow, cases }) } else { Err(problems) }
}

/// Returns the names in a test file that the plan does not have: steps and tools with responses or expectations.
pub fn check(file: &TestFile, source: &Source, plan: &Plan) -> Vec<Problem> {
    let page = Page::new(source);
    let Ok(root) = page.parse() else { return vec![] };
    let nodes = root.get("case").and_then(Node::items).unwrap_or_default();
    let tools = tools(plan);
    let mut problems = vec![];
    for (case, node) in file.cases.iter().zip(nodes) {
        let mut check_name = |path: [&str; 2], name: &str, with_tools: bool| {
            if plan.index(name).is_some() || (with_tools && tools.iter().any(|tool| tool == name)) {
                return;
            }
            let full: Vec<String> =
                path.iter().filter(|key| !key.is_empty()).map(|key| (*key).to_owned()).chain([name.to_owned()]).collect();
            let what = if with_tools { "step or tool" } else { "step" };
            let mut problem = page.problem(node.locate(&full), None, &full.join("."), format!("`{}` has no {what} `{name}`", plan.name));
            let all = plan.steps.iter().map(|step| &*step.id).chain(tools.iter().filter(|_| with_tools).map(String::as_str));
            problem.hint = closest_match(name, all).map(|candidate| format!("did you mean `{candidate}`?"));
            problems.push(problem);
        };
        case.answers.keys().for_each(|name| check_name(["answers", ""], name, true));
        case.repeatable.iter().for_each(|name| check_name(["repeatable", ""], name, true));
        for (key, say) in case.answers.iter().flat_map(|(key, all)| all.iter().map(move |answer| (key, &answer.say))) {
            if let Say::Never { after, .. } = say {
                after.iter().for_each(|name| check_name(["answers", key], name, false));
            }
        }
        case.expect.steps.iter().for_each(|(name, _)| check_name(["expect", "steps"], name, false));
        case.expect.calls.iter().for_each(|(name, _)| check_name(["expect", "calls"], name, true));
        case.expect.arguments.iter().for_each(|(name, _)| check_name(["expect", "arguments"], name, true));
        case.expect.compensated.iter().flatten().for_each(|name| {
            // The items of a step are compensated individually: `send[1]`.
            let step = name.strip_suffix(']').and_then(|name| name.split_once('[')).map_or(name.as_str(), |(step, _)| step);
            check_name(["expect", "compensated"], step, false);
        });
    }
    problems
}

/// Returns the tools that a plan and its nested workflows may call.
fn tools(plan: &Plan) -> Vec<String> {
    use super::plan::{Action, Fallback};
    let mut found = vec![];
    let children = plan.children();
    for plan in children.iter().map(|child| &**child).chain([plan]) {
        for step in &plan.steps {
            if let Action::Tool(call) = &step.action {
                found.push(call.tool.to_string());
            }
            found.extend(step.compensate.iter().map(|call| call.tool.to_string()));
            found.extend(step.fallback.iter().flat_map(Fallback::calls).map(|call| call.tool.to_string()));
        }
        found.extend(plan.steps.iter().map(|step| step.id.to_string()));
    }
    found
}

fn stem(file: &str) -> String {
    let name = file.rsplit(['/', '\\']).next().unwrap_or_default();
    [".test.toml", "_test.toml", ".toml"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
}

fn case(top: &mut Table<'_, '_, '_>, node: &Node) -> Option<Case> {
    let span = (node.at, node.end.min(node.at + "[[case]]".len()));
    let place = top.report.page.place(node.at);
    let Some(fields) = node.fields() else {
        top.report_problem(span, "case", "is not a table", None);
        return None;
    };
    let mut table = Table { report: top.report, fields, step: None, key: String::new(), span };
    table.check_keys(&CASE);
    if table.field("name").is_none() {
        table.report_problem(span, "name", "is missing", None);
    }
    let name = table.literal_text("name").unwrap_or_default();
    let input = data(&mut table, "input").unwrap_or_else(|| Data::object::<String>([]));
    let env = table.inner("env").map(|mut inner| {
        let keys: Vec<&str> = inner.fields.iter().map(|field| field.key.as_str()).collect();
        keys.into_iter().filter_map(|key| Some((key.to_owned(), inner.text(key)?))).collect()
    });
    let answers = table.inner("answers").map(|mut inner| answers(&mut inner));
    let expect = table.inner("expect").map(|mut inner| expect(&mut inner));
    Some(Case {
        name,
        input,
        env: env.unwrap_or_default(),
        answers: answers.unwrap_or_default(),
        repeatable: table.strings("repeatable").into_iter().map(|(name, _)| name).collect(),
        expect: expect.unwrap_or_default(),
        place,
    })
}

/// Reads a value of any kind; `input` must be an object.
fn data(table: &mut Table<'_, '_, '_>, key: &str) -> Option<Data> {
    let node = table.node(key)?;
    match node.data() {
        Ok(data) if key != "input" || data.is_object() => Some(data),
        Ok(data) => {
            table.report_problem((node.at, node.end), key, format!("is {}, not a table", data.kind()), None);
            None
        }
        Err(at) => {
            table.report_problem((at, node.end), key, "is not a valid JSON number", None);
            None
        }
    }
}

fn answers(table: &mut Table<'_, '_, '_>) -> BTreeMap<String, Vec<Answer>> {
    let mut found = BTreeMap::new();
    for field in table.fields {
        let nodes: &[Node] = match &field.value.kind {
            Kind::Array(items) => items,
            _ => std::slice::from_ref(&field.value),
        };
        let mut list = vec![];
        for node in nodes {
            if let Some(mut inner) = table.table_of(node, &field.key, (field.at, field.end)) {
                list.extend(answer(&mut inner));
            }
        }
        if nodes.is_empty() {
            table.report_problem((field.at, field.end), &field.key, "has no responses", None);
        }
        found.insert(field.key.clone(), list);
    }
    found
}

fn answer(table: &mut Table<'_, '_, '_>) -> Option<Answer> {
    table.check_keys(&ANSWER);
    let delay = table.duration("delay").unwrap_or_default();
    let responses: Vec<&str> =
        ["result", "text", "answer", "error", "cancel", "silent"].into_iter().filter(|key| table.field(key).is_some()).collect();
    if responses.len() != 1 {
        let span = table.span;
        let message = if responses.is_empty() {
            "has no response".to_owned()
        } else {
            format!("has more than one response: {}", responses.join(" and "))
        };
        table.report_problem(
            span,
            "",
            message,
            Some("use one of `result`, `text`, `answer` (a complete result, as recorded), `error`, `cancel` and `silent`".into()),
        );
        return None;
    }
    for (key, companion) in [("sent", "error"), ("after", "cancel")] {
        if let Some(node) = table.node(key).filter(|_| responses[0] != companion) {
            table.report_problem((node.at, node.end), key, format!("is allowed only with `{companion}`"), None);
        }
    }
    let text = |text: &str| json!({"content": [{"type": "text", "text": text}]});
    let say = match responses[0] {
        "text" => Say::Result(Body::json(&text(&table.text("text")?))),
        "error" => {
            let message = table.text("error")?;
            let kind = table.choice("kind", &RetryOn::ALL).unwrap_or(RetryOn::ToolError);
            Say::Fail { kind, message, sent: table.boolean("sent").unwrap_or(true) }
        }
        "cancel" => {
            let cancels = Some(table.choice("cancel", &Cancels::ALL)?);
            Say::Never { cancels, after: table.strings("after").into_iter().map(|(name, _)| name).collect() }
        }
        "silent" => {
            if table.boolean("silent")? {
                Say::Never { cancels: None, after: vec![] }
            } else {
                let node = table.node("silent")?;
                table.report_problem((node.at, node.end), "silent", "is false, which is not a response", Some("remove it".into()));
                return None;
            }
        }
        "answer" => Say::Result(data(table, "answer")?.body()),
        _ => {
            let result = data(table, "result")?;
            // Composed as text, so that numbers keep their digits.
            let block = Body::json(&json!({"type": "text", "text": result.display()}));
            let structured = if result.is_object() { format!(",\"structuredContent\":{}", result.json()) } else { String::new() };
            Say::Result(Body::from(format!("{{\"content\":[{}]{structured}}}", block.text())))
        }
    };
    Some(Answer { say, delay })
}

fn expect(table: &mut Table<'_, '_, '_>) -> Expect {
    table.check_keys(&EXPECT);
    let outcomes = OUTCOMES.map(|word| (word, word));
    let states = STATES.map(|word| (word, word));
    let outcome = table.choice("outcome", &outcomes).map(str::to_owned);
    let error = table.text("error");
    let compensated =
        table.field("compensated").is_some().then(|| table.strings("compensated").into_iter().map(|(name, _)| name).collect());
    let (mut steps, mut calls) = (vec![], vec![]);
    if let Some(mut inner) = table.inner("steps") {
        for field in inner.fields {
            steps.extend(inner.choice(&field.key, &states).map(|state| (field.key.clone(), state.to_owned())));
        }
    }
    if let Some(mut inner) = table.inner("calls") {
        for field in inner.fields {
            match &field.value.kind {
                Kind::Integer(digits) if digits.parse::<u32>().is_ok() => {
                    calls.push((field.key.clone(), digits.parse().unwrap_or_default()));
                }
                _ => inner.report_problem((field.value.at, field.value.end), &field.key, "is not a number of calls", None),
            }
        }
    }
    Expect { outcome, output: read_members(table, "output"), steps, compensated, calls, arguments: read_members(table, "arguments"), error }
}

fn read_members(table: &mut Table<'_, '_, '_>, key: &str) -> Vec<(String, Data)> {
    let Some(mut inner) = table.inner(key) else { return vec![] };
    inner.fields.iter().filter_map(|field| Some((field.key.clone(), data(&mut inner, &field.key)?))).collect()
}

/// Returns whether `found` contains everything in `wanted`: objects may have more members, all other values must be
/// equal.
pub fn covers(found: &Data, wanted: &Data) -> bool {
    match (wanted.is_object(), wanted.len()) {
        (true, _) => {
            let all = wanted.keys();
            found.is_object()
                && all.iter().all(|key| found.member(key).is_some_and(|inner| covers(&inner, &wanted.member(key).unwrap_or_default())))
        }
        (_, Some(count)) => {
            let pairs = (0..count).filter_map(|index| Some((found.item(index)?, wanted.item(index)?)));
            found.len() == Some(count) && pairs.into_iter().all(|(found, wanted)| covers(&found, &wanted))
        }
        _ => found.json() == wanted.json(),
    }
}

/// Returns the keys of a test file by table, for the documentation.
pub fn documented() -> [(&'static str, Vec<&'static str>); 4] {
    [("top", keys::names(&TOP)), ("case", keys::names(&CASE)), ("answer", keys::names(&ANSWER)), ("expect", keys::names(&EXPECT))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workflow::{DEMO, parse as flow, problem::render_all};

    fn source(text: &str) -> Source {
        Source { file: "tests/onboard_new_user.test.toml".into(), text: text.into() }
    }

    const GOOD: &str = r#"
[[case]]
name = "the e-mail fails"
input = { email = "a@x.org", name = "Ann" }
env = { HOME = "/x" }
answers.create_user = { result = { userId = "u_1", big = 12345678901234567890123 } }
answers.welcome = [{ error = "busy", kind = "timeout", delay = "2s" }, { error = "mailbox full" }]
answers.database_delete_user = { text = "Deleted" }
answers.track = { answer = { content = [], isError = true } }

[case.expect]
outcome = "compensated"
output = { userId = "u_1" }
steps = { track = "skipped" }
compensated = ["create_user"]
calls = { email_send_email = 2 }
arguments = { welcome = { to = "a@x.org" } }
error = "mailbox"
"#;

    #[test]
    fn a_test_file_is_read_and_fits_its_workflow() {
        let source = source(GOOD);
        let file = parse(&source).unwrap_or_else(|problems| panic!("{}", render_all(&problems)));
        assert_eq!(file.workflow, "onboard_new_user");
        let case = &file.cases[0];
        let Say::Result(body) = &case.answers["create_user"][0].say else { panic!() };
        assert!(body.text().ends_with(r#""structuredContent":{"userId":"u_1","big":12345678901234567890123}}"#), "{}", body.text());
        assert_eq!(case.answers["welcome"][0].delay, Duration::from_secs(2));
        assert_eq!(case.answers["welcome"][1].say, Say::Fail { kind: RetryOn::ToolError, message: "mailbox full".into(), sent: true });
        assert_eq!(case.expect.compensated.as_deref(), Some(["create_user".to_owned()].as_slice()));
        let plan = flow::parse(&Source { file: "x.toml".into(), text: DEMO[0].1.into() }, &|_| None).unwrap();
        assert_eq!(check(&file, &source, &plan), vec![]);
    }

    /// The test files of the demo's workflows match them.
    #[test]
    fn the_demo_has_test_files() {
        for (name, text) in DEMO {
            let file = format!("assets/workflows/{name}.test.toml");
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
            let source = Source { file, text: std::fs::read_to_string(path).unwrap() };
            let cases = parse(&source).unwrap_or_else(|problems| panic!("{}", render_all(&problems)));
            assert_eq!(cases.workflow, name);
            let plan = flow::parse(&Source { file: "x.toml".into(), text: text.into() }, &|_| None).unwrap();
            assert_eq!(check(&cases, &source, &plan), vec![]);
        }
    }

    #[test]
    fn problems_are_reported_with_their_positions() {
        let bad = "[[case]]\ninput = 3\nanswers.a = { result = 1, text = \"x\" }\nanswers.b = {}\nanswers.c = []\nexpect = { outcome = \"fine\", steps = { a = \"okay\" }, calls = { t = -1 } }\nexpct = 1\n";
        let problems = parse(&source(bad)).unwrap_err();
        let lines: Vec<String> = problems.iter().map(|p| format!("{} {} {}", p.place.line, p.key, p.message)).collect();
        let starts = [
            "1 name is missing",
            "2 input is a number",
            "3 answers.a has more than one response: result and text",
            "4 answers.b has no response",
            "5 answers.c has no",
            "6 expect.outcome must be one of",
            "6 expect.steps.a must be one of",
            "6 expect.calls.t is not a",
            "7 expct unknown",
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:#?}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
        let source = source(&GOOD.replace("answers.welcome", "answers.welcme").replace("track = \"skipped\"", "trak = \"ok\""));
        let plan = flow::parse(&Source { file: "x.toml".into(), text: DEMO[0].1.into() }, &|_| None).unwrap();
        let problems = check(&parse(&source).unwrap(), &source, &plan);
        let found: Vec<_> = problems.iter().map(|p| (p.place.line, p.hint.as_deref())).collect();
        assert_eq!(found, [(7, Some("did you mean `welcome`?")), (14, Some("did you mean `track`?"))]);
    }

    #[test]
    fn objects_may_have_more_and_lists_may_not() {
        let data = |text: &str| Data::parse(text).unwrap();
        assert!(covers(&data(r#"{"a":{"b":1,"c":2},"d":[{"e":1,"f":2}]}"#), &data(r#"{"a":{"b":1},"d":[{"e":1}]}"#)));
        assert!(!covers(&data(r#"{"a":[1,2]}"#), &data(r#"{"a":[1]}"#)));
        assert!(!covers(&data("1"), &data("{}")));
        assert!(!covers(&data("{}"), &data(r#"{"a":null}"#)));
    }
}
