//! A case of a workflow's test file, made from what the journal has of a run: its input, what its calls were answered,
//! and what came of it.
//!
//! The journal keeps what steps made of their answers, not the answers; each is put so that the step makes the same of
//! it again. [`crate::domain::workflow::case`] reads what is written here.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    sync::Arc,
};

use serde_json::json;

use super::{
    body::Body,
    journal::{Place, RunEntry, RunRecord, StepOutcome, StepRecord},
    run::{Purpose, RunOutcome, StepError, StepErrorKind, StepState},
    workflow::{
        answer,
        case::STATES,
        expression::Data,
        history::{key, quoted},
        name,
        plan::{Action, Plan, ReadAs, RetryOn},
    },
};

/// What the journal has when somebody says of a step in doubt that it was done.
pub const COUNTED: &str = "counted as done";

/// A case before it is written down.
#[derive(Clone, Debug)]
pub struct Recorded {
    workflow: String,
    name: String,
    input: Option<String>,
    answers: Vec<(String, Vec<String>)>,
    expect: Vec<Line>,
}

/// Something that must come of the run.
#[derive(Clone, Debug)]
struct Line {
    /// The table within `expect`; empty for one of its own keys.
    table: &'static str,
    key: String,
    value: String,
}

/// A call, or something else that was answered.
struct Made {
    /// What answers go by: the step's id, or the tool's name.
    key: String,
    /// The step's id.
    id: String,
    /// Its answer as TOML; `None` when it never ended.
    answer: Option<String>,
    arguments: Option<Data>,
}

/// The case of a run that ended. An error says why there can be none.
pub fn recorded(plan: &Plan, record: &RunRecord, name: Option<&str>) -> Result<Recorded, String> {
    let spec = record.spec().ok_or("the journal of the run has no beginning")?;
    let report = record.report().ok_or("the run has not ended")?;
    if matches!(report.outcome, RunOutcome::Cancelled | RunOutcome::InDoubt | RunOutcome::Invalid) {
        return Err(format!("the run ended as {}, which no test file can bring about", report.outcome.words()));
    }
    let mut reel = Reel { plan, made: vec![], open: HashMap::new(), spent: HashSet::new() };
    record.entries.iter().for_each(|entry| reel.take(entry));
    let made: Vec<Made> = reel.made.into_iter().filter(|made| made.answer.is_some()).collect();
    let mut answers: Vec<(String, Vec<String>)> = vec![];
    for made in &made {
        let answer = made.answer.clone().unwrap_or_default();
        match answers.iter_mut().find(|(key, _)| *key == made.key) {
            Some((_, all)) => all.push(answer),
            None => answers.push((made.key.clone(), vec![answer])),
        }
    }
    for (_, all) in &mut answers {
        // The last answer stays.
        while all.len() > 1 && all[all.len() - 1] == all[all.len() - 2] {
            all.pop();
        }
    }
    let mut expect = vec![Line { table: "", key: "outcome".into(), value: quoted(report.outcome.key()) }];
    if !report.compensated.is_empty() {
        let names: Vec<String> = report.compensated.iter().map(|name| quoted(name)).collect();
        expect.push(Line { table: "", key: "compensated".into(), value: format!("[{}]", names.join(", ")) });
    }
    for (step, view) in &report.steps {
        let word = match view.state {
            StepState::CompensationFailed { .. } => "compensation_failed",
            _ => view.state.word(),
        };
        if STATES.contains(&word) {
            expect.push(Line { table: "steps", key: step.to_string(), value: quoted(word) });
        }
    }
    let mut seen = HashSet::new();
    for step in made.iter().filter(|made| made.arguments.is_some()).map(|made| &made.id) {
        if seen.insert(step.clone()) {
            let calls: Vec<&Made> = made.iter().filter(|made| made.id == *step).collect();
            expect.push(Line { table: "calls", key: step.clone(), value: calls.len().to_string() });
            let last = calls.last().and_then(|made| toml(made.arguments.as_ref()?));
            expect.extend(last.map(|value| Line { table: "arguments", key: step.clone(), value }));
        }
    }
    let output = report.output.as_ref().and_then(|output| Data::parse(&output.text()).ok()).unwrap_or_default();
    for name in output.keys() {
        let value = output.member(&name).and_then(|value| toml(&value));
        expect.extend(value.map(|value| Line { table: "output", key: name, value }));
    }
    let input = Data::parse(&spec.input.text()).unwrap_or_default();
    let input =
        (!input.keys().is_empty()).then(|| toml(&input).ok_or("the input has null in it, which TOML has no word for")).transpose()?;
    let name = name.map_or_else(|| format!("as the run {} went", record.run.short()), str::to_owned);
    Ok(Recorded { workflow: plan.name.clone(), name, input, answers, expect })
}

impl Recorded {
    /// The workflow's name.
    pub fn workflow(&self) -> &str {
        &self.workflow
    }

    /// What stands at the beginning of a test file.
    pub fn head(&self) -> String {
        format!("workflow = {}\n", quoted(&self.workflow))
    }

    /// The case, to be put behind others.
    pub fn case(&self) -> String {
        let mut out = format!("\n[[case]]\nname = {}\n", quoted(&self.name));
        if let Some(input) = &self.input {
            let _ = writeln!(out, "input = {input}");
        }
        if !self.answers.is_empty() {
            out.push_str("\n[case.answers]\n");
        }
        for (name, all) in &self.answers {
            let _ = match all.as_slice() {
                [one] => writeln!(out, "{} = {one}", key(name)),
                many => writeln!(out, "{} = [\n    {},\n]", key(name), many.join(",\n    ")),
            };
        }
        for table in ["", "steps", "calls", "arguments", "output"] {
            let lines: Vec<&Line> = self.expect.iter().filter(|line| line.table == table).collect();
            if !lines.is_empty() {
                let dot = if table.is_empty() { "" } else { "." };
                let _ = writeln!(out, "\n[case.expect{dot}{table}]");
            }
            for line in lines {
                let _ = writeln!(out, "{} = {}", key(&line.key), line.value);
            }
        }
        out
    }

    /// Expects no more what a trial found to be different each time: outputs and arguments that hold the id or the
    /// time of a run. `wrong` are the words of the trial; gives those that are about anything else.
    pub fn forget(&mut self, wrong: Vec<String>) -> (Vec<String>, Vec<String>) {
        let (mut varied, mut rest) = (vec![], vec![]);
        for words in wrong {
            let is =
                |line: &Line| matches!(line.table, "output" | "arguments") && words.starts_with(&format!("{}.{}: ", line.table, line.key));
            match self.expect.iter().position(is) {
                Some(at) => {
                    let line = self.expect.remove(at);
                    varied.push(format!("{}.{}", line.table, line.key));
                }
                None => rest.push(words),
            }
        }
        (varied, rest)
    }
}

/// What was made of a run so far.
struct Reel<'p> {
    plan: &'p Plan,
    made: Vec<Made>,
    /// Calls that have not ended.
    open: HashMap<Place, usize>,
    /// Steps and items that failed for good and go on with what is done instead.
    spent: HashSet<(Arc<str>, Option<u32>)>,
}

impl Reel<'_> {
    fn take(&mut self, entry: &RunEntry) {
        match entry {
            RunEntry::Sending { place, what, arguments, .. } => {
                let arguments = Data::parse(&arguments.text()).ok().filter(Data::is_object);
                let id = id_of(&place.step);
                let key = if place.purpose == Purpose::Step { id.clone() } else { what.clone() };
                self.open.insert(place.clone(), self.made.len());
                self.made.push(Made { key, id, answer: None, arguments });
            }
            RunEntry::Attempted { place, exhausted, .. } => {
                let answer = exhausted.as_ref().map_or_else(|| self.passing(&place.step), failed);
                if exhausted.is_some() {
                    self.spent.insert((place.step.clone(), place.item));
                }
                self.answer(place, answer, place.purpose == Purpose::Step);
            }
            RunEntry::ItemEnded { step, item, end } => self.ended(step, Some(*item), end),
            RunEntry::StepEnded { step, end } if end.items.is_none() => self.ended(step, None, end),
            RunEntry::Undone { step, item, error } => {
                let place = Place { step: step.clone(), item: *item, purpose: Purpose::Compensation };
                let answer = error.as_ref().map_or_else(|| "{ text = \"undone\" }".to_owned(), failed);
                self.answer(&place, answer, false);
            }
            RunEntry::StepEnded { .. }
            | RunEntry::Began { .. }
            | RunEntry::Resumed { .. }
            | RunEntry::GivenUp { .. }
            | RunEntry::Ended { .. } => {}
        }
    }

    /// Answers the call of a place; one that was never sent if `new`.
    fn answer(&mut self, place: &Place, answer: String, new: bool) {
        match self.open.remove(place).and_then(|at| self.made.get_mut(at)) {
            Some(made) => made.answer = Some(answer),
            None if new => {
                let id = id_of(&place.step);
                self.made.push(Made { key: id.clone(), id, answer: Some(answer), arguments: None });
            }
            None => {}
        }
    }

    fn ended(&mut self, path: &Arc<str>, item: Option<u32>, end: &StepRecord) {
        let Some(step) = name::find(self.plan, path) else { return };
        let place = |purpose| Place { step: path.clone(), item, purpose };
        let fallback = place(Purpose::Fallback);
        if self.open.contains_key(&fallback) {
            let answer = match &end.error {
                Some(error) => failed(error),
                None => done(None, ReadAs::Auto, end),
            };
            return self.answer(&fallback, answer, false);
        }
        let own = place(Purpose::Step);
        let spent = self.spent.contains(&(path.clone(), item));
        let leaf = !matches!(step.action, Action::Workflow { .. });
        let counted = end.fallback.as_deref() == Some(COUNTED);
        match (end.outcome, &end.error) {
            (StepOutcome::Ok, _) if leaf && (end.fallback.is_none() || counted) => {
                self.answer(&own, done(Some(&step.action), step.read_as, end), true);
            }
            (StepOutcome::Failed, Some(error)) if leaf && !spent => {
                let sent = error.kind.class().is_some() || matches!(error.kind, StepErrorKind::Call { .. });
                self.answer(&own, failed(error), sent);
            }
            _ => {}
        }
    }

    /// A failure that was tried again, of which the journal has no more than that.
    fn passing(&self, path: &str) -> String {
        let causes =
            name::find(self.plan, path).and_then(|step| step.retry.as_ref()).map_or(RetryOn::default_set(), |retry| retry.causes());
        // Nothing ran then, so that another attempt is always made.
        let cause = causes.iter().find(|cause| **cause == RetryOn::NotReady).or(causes.first()).copied().unwrap_or(RetryOn::NotReady);
        failure("failed, and was tried again", Some(cause))
    }
}

fn id_of(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn failed(error: &StepError) -> String {
    // What the class of a call's failure is called stands before its words.
    let words = match error.kind {
        StepErrorKind::Call { failure } => error.message.strip_prefix(&format!("{}: ", failure.words())).unwrap_or(&error.message),
        _ => &error.message,
    };
    failure(words, error.kind.class().or(matches!(error.kind, StepErrorKind::Call { .. }).then_some(RetryOn::Protocol)))
}

fn failure(words: &str, class: Option<RetryOn>) -> String {
    let word = RetryOn::ALL.iter().find(|(known, _)| Some(*known) == class && *known != RetryOn::ToolError).map(|(_, word)| word);
    let kind = word.map(|word| format!(", kind = \"{word}\"")).unwrap_or_default();
    format!("{{ error = {}{kind} }}", quoted(words))
}

/// An answer of which a step makes what it made; `None` is a call that is not the step's own.
fn done(action: Option<&Action>, read_as: ReadAs, end: &StepRecord) -> String {
    let result = end.result.as_ref().and_then(|json| Data::parse(&json.text()).ok()).unwrap_or_default();
    let text = end.text.clone().unwrap_or_default();
    let whole = |answer: serde_json::Value| {
        let answer = toml(&Data::from(&answer)).unwrap_or_default();
        format!("{{ answer = {answer} }}")
    };
    match action {
        Some(Action::Approve { .. }) => return "{ result = true }".into(),
        Some(Action::Prompt { .. }) => return whole(json!({"messages": [{"role": "user", "content": {"type": "text", "text": text}}]})),
        Some(Action::Resource { .. }) => return whole(json!({"contents": [{"uri": "recorded:", "text": text}]})),
        _ => {}
    }
    let content = json!({"type": "text", "text": text});
    let structured = |result: &Data| Body::from(format!("{{\"content\":[{content}],\"structuredContent\":{}}}", result.json()));
    let short = match result.is_object() {
        true => Body::from(format!(
            "{{\"content\":[{}],\"structuredContent\":{}}}",
            json!({"type": "text", "text": result.display()}),
            result.json()
        )),
        false => Body::json(&json!({"content": [{"type": "text", "text": result.display()}]})),
    };
    let said = toml(&result);
    let ways = [
        (Some(short), said.as_ref().map(|said| format!("{{ result = {said} }}"))),
        (Some(Body::json(&json!({"content": [content]}))), Some(format!("{{ text = {} }}", quoted(&text)))),
        (
            said.is_some().then(|| structured(&result)),
            said.as_ref().map(|said| {
                let text = quoted(&text);
                format!("{{ answer = {{ content = [{{ type = \"text\", text = {text} }}], structuredContent = {said} }} }}")
            }),
        ),
        // Nothing has the same text: the result at least is the same.
        (
            Some(Body::json(&json!({"content": [{"type": "text", "text": result.json()}]}))),
            Some(format!("{{ text = {} }}", quoted(&result.json()))),
        ),
    ];
    let reads = |body: &Option<Body>| body.as_ref().and_then(|body| answer::read(read_as, body).ok());
    // A result that somebody gave for a step in doubt has no text of its own.
    let exact = |(body, _): &&(Option<Body>, Option<String>)| {
        reads(body).is_some_and(|read| read.result.json() == result.json() && read.text == text)
    };
    let near = |(body, _): &&(Option<Body>, Option<String>)| reads(body).is_some_and(|read| read.result.json() == result.json());
    let sayable = || ways.iter().filter(|(_, said)| said.is_some());
    let way = sayable().find(exact).or_else(|| sayable().find(near)).or_else(|| sayable().next());
    way.and_then(|(_, said)| said.clone()).unwrap_or_default()
}

/// A value as TOML; `None` where it holds null, for which TOML has no word.
fn toml(value: &Data) -> Option<String> {
    if value.is_object() {
        let members = value.keys().into_iter().map(|name| Some(format!("{} = {}", key(&name), toml(&value.member(&name)?)?)));
        let members: Vec<String> = members.collect::<Option<_>>()?;
        return Some(if members.is_empty() { "{}".into() } else { format!("{{ {} }}", members.join(", ")) });
    }
    if let Some(text) = value.as_str() {
        return Some(quoted(text));
    }
    if value.is_null() {
        return None;
    }
    match value.len() {
        Some(count) => {
            let items = (0..count).map(|at| toml(&value.item(at)?));
            Some(format!("[{}]", items.collect::<Option<Vec<_>>>()?.join(", ")))
        }
        None => Some(value.json()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        call::{FailureKind, Origin},
        run::{RunId, RunReport, RunSpec, StepView, WorkflowText},
        time::Stamp,
        workflow::{
            case,
            parse::{Source, parse},
        },
    };

    const TEXT: &str = r#"
        name = "w"
        [input]
        to = "string[]"
        [[step]]
        id = "make"
        tool = "db_make"
        compensate = { tool = "db_unmake" }
        [[step]]
        id = "send"
        tool = "mail"
        for_each = "{{ input.to }}"
        retry = { attempts = 3 }
        [[step]]
        id = "pay"
        tool = "pay"
        fallback = { tool = "note" }
        [[step]]
        id = "sure"
        approve = "?"
    "#;

    fn end(outcome: StepOutcome, result: &str, text: &str) -> StepRecord {
        StepRecord {
            outcome,
            result: (!result.is_empty()).then(|| Body::from(result)),
            text: Some(text.into()),
            duration_ms: 1,
            error: None,
            fallback: None,
            nothing_done: false,
            in_doubt: false,
            items: None,
        }
    }

    fn sending(step: &str, item: Option<u32>, purpose: Purpose, what: &str) -> RunEntry {
        let place = Place { step: step.into(), item, purpose };
        RunEntry::Sending { place, attempt: 1, what: what.into(), arguments: Body::from(r#"{"a":1}"#) }
    }

    #[test]
    fn a_case_answers_every_call_as_it_was_answered() {
        let source = WorkflowText { name: "w".into(), file: "w.toml".into(), text: TEXT.into() };
        let plan = parse(&Source { file: "w.toml".into(), text: TEXT.into() }, &|_| None).unwrap();
        let spec = RunSpec {
            workflow: "w".into(),
            sources: Arc::new([source]),
            input: Body::from(r#"{"to":["a","b"]}"#),
            origin: Origin::Cli,
            timeout: None,
            set: vec![],
            answers: vec![],
            ask: false,
            from: None,
            env: Default::default(),
        };
        let place = |step: &str, item, purpose| Place { step: step.into(), item, purpose };
        let timeout =
            StepError { message: "timeout: late".into(), ..StepError::new(StepErrorKind::Call { failure: FailureKind::Timeout }, "") };
        let view = StepView { state: StepState::Ok, ..StepView::default() };
        let report = RunReport {
            outcome: RunOutcome::Compensated,
            why: Some("step `sure`: not approved".into()),
            detail: vec![],
            steps: vec![
                ("make".into(), Arc::new(StepView { state: StepState::Compensated, ..view.clone() })),
                ("send".into(), Arc::new(view)),
            ],
            output: None,
            compensated: vec!["make".into()],
            not_compensated: vec![],
            started: Stamp::default(),
            ended: Stamp::default(),
        };
        let entries = vec![
            RunEntry::Began { spec: Arc::new(spec), unix_ms: 1 },
            sending("make", None, Purpose::Step, "db_make"),
            RunEntry::StepEnded { step: "make".into(), end: end(StepOutcome::Ok, r#"{"id":"u_1","n":2.50}"#, "made u_1") },
            sending("send", Some(0), Purpose::Step, "mail"),
            sending("send", Some(1), Purpose::Step, "mail"),
            RunEntry::ItemEnded { step: "send".into(), item: 1, end: end(StepOutcome::Ok, r#""to b""#, "to b") },
            RunEntry::Attempted { place: place("send", Some(0), Purpose::Step), attempt: 1, exhausted: None },
            sending("send", Some(0), Purpose::Step, "mail"),
            RunEntry::ItemEnded { step: "send".into(), item: 0, end: end(StepOutcome::Ok, r#"{"x":null}"#, r#"{"x":null}"#) },
            RunEntry::StepEnded { step: "send".into(), end: StepRecord { items: Some(2), ..end(StepOutcome::Ok, "", "") } },
            sending("pay", None, Purpose::Step, "pay"),
            RunEntry::Attempted { place: place("pay", None, Purpose::Step), attempt: 1, exhausted: Some(timeout) },
            sending("pay", None, Purpose::Fallback, "note"),
            RunEntry::StepEnded {
                step: "pay".into(),
                end: StepRecord { fallback: Some("note, after: late".into()), ..end(StepOutcome::Ok, "7", "7") },
            },
            sending("make", None, Purpose::Compensation, "db_unmake"),
            RunEntry::Undone { step: "make".into(), item: None, error: None },
            RunEntry::Ended { report: Arc::new(report) },
        ];
        let record = RunRecord { run: RunId::new(1, 1), entries };
        let mut made = recorded(&plan, &record, Some("it \"went\"")).unwrap();
        let text = made.head() + &made.case();
        for line in [
            "name = \"it \\\"went\\\"\"",
            "input = { to = [\"a\", \"b\"] }",
            "make = { answer = { content = [{ type = \"text\", text = \"made u_1\" }], structuredContent = { id = \"u_1\", n = 2.5 } } }",
            "    { error = \"failed, and was tried again\", kind = \"not_ready\" },\n    { result = \"to b\" },\n    { text = \"{\\\"x\\\":null}\" },",
            "pay = { error = \"late\", kind = \"timeout\" }",
            "note = { result = 7 }",
            "db_unmake = { text = \"undone\" }",
            "outcome = \"compensated\"\ncompensated = [\"make\"]",
            "[case.expect.steps]\nmake = \"compensated\"\nsend = \"ok\"",
            "[case.expect.calls]\nmake = 2\nsend = 3\npay = 2",
            "[case.expect.arguments]\nmake = { a = 1 }",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
        let source = Source { file: "w.test.toml".into(), text };
        let parsed = case::parse(&source).unwrap();
        assert_eq!(case::check(&parsed, &source, &plan), []);
        let wrong = ["arguments.make: expected 1, got 2".to_owned(), "outcome: expected ok, got failed".to_owned()];
        let (varied, rest) = made.forget(wrong.to_vec());
        assert_eq!((varied, rest), (vec!["arguments.make".to_owned()], vec!["outcome: expected ok, got failed".to_owned()]));
        assert!(!made.case().contains("make = { a = 1 }"));
    }
}
