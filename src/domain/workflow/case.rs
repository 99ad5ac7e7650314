//! Test files of workflows: recorded or written answers for the steps, and what must come of a run.
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
    expression::Data,
    keys::{self, Key},
    near,
    parse::{
        Source,
        reader::{Report, Table},
    },
    plan::{Plan, RetryOn},
    problem::{Place, Problem},
    source::{Kind, Node, Page},
};
use crate::domain::body::Body;

/// A test file.
#[derive(Clone, Debug, PartialEq)]
pub struct TestFile {
    /// The workflow's name; that of the test file before `.test.toml` or `_test.toml` if left out.
    pub workflow: String,
    /// The cases, in the order of the file.
    pub cases: Vec<Case>,
}

/// One run to be tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The input, an object.
    pub input: Data,
    /// The environment variables.
    pub env: BTreeMap<String, String>,
    /// The answers, by the id of a step or the exposed name of a tool; a step's go first. Successive calls
    /// take successive answers; the last one stays.
    pub answers: BTreeMap<String, Vec<Answer>>,
    /// Exposed names of tools that may be called again after a call that may have run, as a trusted server says of them.
    pub repeatable: Vec<String>,
    /// What must come of it.
    pub expect: Expect,
    /// Where it stands.
    pub place: Place,
}

/// What a call is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The answer itself.
    pub say: Say,
    /// How long it takes.
    pub delay: Duration,
}

/// The answer itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Say {
    /// The whole `result` of `tools/call`, JSON.
    Result(Body),
    /// A failure.
    Fail {
        /// Its class.
        kind: RetryOn,
        /// What is said of it.
        message: String,
        /// Whether the request may have reached its server and run there.
        sent: bool,
    },
    /// None: the call is under way until something else ends it.
    Never {
        /// What is cancelled meanwhile.
        cancels: Option<Cancels>,
        /// The steps of the workflow that have ended before that.
        after: Vec<String>,
    },
}

/// What is cancelled while a call is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancels {
    /// Its step.
    Step,
    /// The run; its undoing, when the call undoes something.
    Run,
    /// The program, as by SIGTERM: the run could be resumed.
    Program,
}

impl Cancels {
    /// All, with the words that the file has for them.
    pub const ALL: [(Cancels, &'static str); 3] = [(Cancels::Step, "step"), (Cancels::Run, "run"), (Cancels::Program, "program")];
}

/// What must come of a run. What is not named may be anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// The run's outcome, one of [`OUTCOMES`]; `ok` if left out.
    pub outcome: Option<String>,
    /// Outputs that must be there with these values; others may be.
    pub output: Vec<(String, Data)>,
    /// How steps must have ended; each one of [`STATES`].
    pub steps: Vec<(String, String)>,
    /// The steps that must have been undone, in this order, and no others.
    pub compensated: Option<Vec<String>>,
    /// How often tools must have been called.
    pub calls: Vec<(String, u32)>,
    /// The arguments that the last call of a step (or tool) must have had; others may be.
    pub arguments: Vec<(String, Data)>,
    /// What must stand in the reason for the outcome.
    pub error: Option<String>,
}

/// The outcomes of a run.
pub const OUTCOMES: [&str; 10] =
    ["ok", "partial", "failed", "compensated", "compensation_failed", "timed_out", "cancelled", "refused", "in_doubt", "invalid"];

/// How a step may end.
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

/// Something about a run that is not as its case expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which expectation does not hold.
    pub place: Expected,
    /// The words for people.
    pub words: String,
}

impl Mismatch {
    /// Of an expectation that has no name.
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
    /// Any other.
    Other,
}

/// Parses a test file. On failure everything that is wrong with it is given.
pub fn parse(source: &Source) -> Result<TestFile, Vec<Problem>> {
    let page = Page::new(source);
    let root = page.parse()?;
    let mut report = Report { page, problems: vec![] };
    let mut top = Table { report: &mut report, fields: root.fields().unwrap_or_default(), step: None, key: String::new(), span: (0, 0) };
    top.known(&TOP);
    let workflow = top.plain("workflow").unwrap_or_else(|| stem(&source.file));
    let mut cases = vec![];
    match top.node("case").map(|node| (node, node.items())) {
        Some((_, Some(nodes))) => {
            for node in nodes {
                cases.extend(case(&mut top, node));
            }
        }
        Some((node, None)) => {
            top.wrong((node.at, node.end), "case", "is no array of tables", Some("write [[case]] with two brackets".into()))
        }
        None => top.wrong((0, 0), "case", "is missing: there is nothing to try", Some("add [[case]] with a name and an input".into())),
    }
    let mut problems = report.problems;
    problems.sort_by_key(|problem| problem.place);
    if problems.is_empty() { Ok(TestFile { workflow, cases }) } else { Err(problems) }
}

/// Names in a test file that the plan does not have: steps and tools that are answered or expected.
pub fn check(file: &TestFile, source: &Source, plan: &Plan) -> Vec<Problem> {
    let page = Page::new(source);
    let Ok(root) = page.parse() else { return vec![] };
    let nodes = root.get("case").and_then(Node::items).unwrap_or_default();
    let tools = tools(plan);
    let mut problems = vec![];
    for (case, node) in file.cases.iter().zip(nodes) {
        let mut look = |path: [&str; 2], name: &str, with_tools: bool| {
            if plan.index(name).is_some() || (with_tools && tools.iter().any(|tool| tool == name)) {
                return;
            }
            let full: Vec<String> =
                path.iter().filter(|key| !key.is_empty()).map(|key| (*key).to_owned()).chain([name.to_owned()]).collect();
            let what = if with_tools { "step or tool" } else { "step" };
            let mut problem = page.problem(node.locate(&full), None, &full.join("."), format!("`{}` has no {what} `{name}`", plan.name));
            let all = plan.steps.iter().map(|step| &*step.id).chain(tools.iter().filter(|_| with_tools).map(String::as_str));
            problem.hint = near(name, all).map(|near| format!("did you mean `{near}`?"));
            problems.push(problem);
        };
        case.answers.keys().for_each(|name| look(["answers", ""], name, true));
        case.repeatable.iter().for_each(|name| look(["repeatable", ""], name, true));
        for (key, say) in case.answers.iter().flat_map(|(key, all)| all.iter().map(move |answer| (key, &answer.say))) {
            if let Say::Never { after, .. } = say {
                after.iter().for_each(|name| look(["answers", key], name, false));
            }
        }
        case.expect.steps.iter().for_each(|(name, _)| look(["expect", "steps"], name, false));
        case.expect.calls.iter().for_each(|(name, _)| look(["expect", "calls"], name, true));
        case.expect.arguments.iter().for_each(|(name, _)| look(["expect", "arguments"], name, true));
        case.expect.compensated.iter().flatten().for_each(|name| {
            // Of a step with items each is undone by itself: `send[1]`.
            let step = name.strip_suffix(']').and_then(|name| name.split_once('[')).map_or(name.as_str(), |(step, _)| step);
            look(["expect", "compensated"], step, false);
        });
    }
    problems
}

/// The tools that a plan and the workflows that it runs may call.
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
            found.extend(step.fallback.iter().filter_map(|fallback| match fallback {
                Fallback::Tool(call) => Some(call.tool.to_string()),
                Fallback::Value(_) => None,
            }));
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
        top.wrong(span, "case", "is no table", None);
        return None;
    };
    let mut table = Table { report: top.report, fields, step: None, key: String::new(), span };
    table.known(&CASE);
    if table.field("name").is_none() {
        table.wrong(span, "name", "is missing", None);
    }
    let name = table.plain("name").unwrap_or_default();
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

/// A value of any kind; of `input` an object.
fn data(table: &mut Table<'_, '_, '_>, key: &str) -> Option<Data> {
    let node = table.node(key)?;
    match node.data() {
        Ok(data) if key != "input" || data.is_object() => Some(data),
        Ok(data) => {
            table.wrong((node.at, node.end), key, format!("is {}, not a table", data.kind()), None);
            None
        }
        Err(at) => {
            table.wrong((at, node.end), key, "JSON has no such number", None);
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
            table.wrong((field.at, field.end), &field.key, "has no answers", None);
        }
        found.insert(field.key.clone(), list);
    }
    found
}

fn answer(table: &mut Table<'_, '_, '_>) -> Option<Answer> {
    table.known(&ANSWER);
    let delay = table.duration("delay").unwrap_or_default();
    let said: Vec<&str> =
        ["result", "text", "answer", "error", "cancel", "silent"].into_iter().filter(|key| table.field(key).is_some()).collect();
    if said.len() != 1 {
        let span = table.span;
        let message = if said.is_empty() { "says nothing".to_owned() } else { format!("says {} at once", said.join(" and ")) };
        table.wrong(
            span,
            "",
            message,
            Some("give it one of `result`, `text`, `answer` (a whole one, as recorded), `error`, `cancel` and `silent`".into()),
        );
        return None;
    }
    for (key, of) in [("sent", "error"), ("after", "cancel")] {
        if let Some(node) = table.node(key).filter(|_| said[0] != of) {
            table.wrong((node.at, node.end), key, format!("goes with `{of}` only"), None);
        }
    }
    let text = |text: &str| json!({"content": [{"type": "text", "text": text}]});
    let say = match said[0] {
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
                table.wrong((node.at, node.end), "silent", "is false, which says nothing", Some("leave it out".into()));
                return None;
            }
        }
        "answer" => Say::Result(data(table, "answer")?.body()),
        _ => {
            let result = data(table, "result")?;
            // Put together as text, so that numbers keep their digits.
            let block = Body::json(&json!({"type": "text", "text": result.display()}));
            let structured = if result.is_object() { format!(",\"structuredContent\":{}", result.json()) } else { String::new() };
            Say::Result(Body::from(format!("{{\"content\":[{}]{structured}}}", block.text())))
        }
    };
    Some(Answer { say, delay })
}

fn expect(table: &mut Table<'_, '_, '_>) -> Expect {
    table.known(&EXPECT);
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
                _ => inner.wrong((field.value.at, field.value.end), &field.key, "is no number of calls", None),
            }
        }
    }
    Expect { outcome, output: members(table, "output"), steps, compensated, calls, arguments: members(table, "arguments"), error }
}

fn members(table: &mut Table<'_, '_, '_>, key: &str) -> Vec<(String, Data)> {
    let Some(mut inner) = table.inner(key) else { return vec![] };
    inner.fields.iter().filter_map(|field| Some((field.key.clone(), data(&mut inner, &field.key)?))).collect()
}

/// Whether `found` has all that `wanted` has: an object's members (others may be there), everything else alike.
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

/// The keys of a test file by table, for the documentation.
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

    /// The test files beside the demo's workflows fit them.
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
    fn what_is_wrong_is_told_with_its_place() {
        let bad = "[[case]]\ninput = 3\nanswers.a = { result = 1, text = \"x\" }\nanswers.b = {}\nanswers.c = []\nexpect = { outcome = \"fine\", steps = { a = \"okay\" }, calls = { t = -1 } }\nexpct = 1\n";
        let problems = parse(&source(bad)).unwrap_err();
        let lines: Vec<String> = problems.iter().map(|p| format!("{} {} {}", p.place.line, p.key, p.message)).collect();
        let starts = [
            "1 name is missing",
            "2 input is a number",
            "3 answers.a says result and text",
            "4 answers.b says nothing",
            "5 answers.c has no",
            "6 expect.outcome \"fine\"",
            "6 expect.steps.a \"okay\"",
            "6 expect.calls.t is no",
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
