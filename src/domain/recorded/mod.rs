//! A case of a workflow's test file, made from what the journal has of a run: its input, what its calls were answered,
//! and what came of it.
//!
//! The journal keeps what steps made of their answers, not the answers; each is put so that the step makes the same of
//! it again. [`crate::domain::workflow::case`] reads what is written here.

mod answers;
mod trace;

use std::{collections::HashSet, fmt::Write, time::Duration};

use self::{
    answers::toml,
    trace::{Made, RunTrace, TraceReader},
};
use super::{
    journal::{RunEntry, RunRecord},
    run::{RunOutcome, StepState},
    secret::Redactor,
    workflow::{
        case::{Expected, Mismatch, STATES},
        expression::Data,
        history::{key, quoted},
        plan::Plan,
    },
};

/// A case before it is written down.
#[derive(Clone, Debug)]
pub struct Recorded {
    workflow: String,
    name: String,
    /// What the case leaves out of the run.
    comments: Vec<String>,
    input: Option<String>,
    repeatable: Vec<String>,
    answers: Vec<(String, Vec<String>)>,
    expect: Vec<Line>,
    /// How long it goes at least.
    takes: Option<Duration>,
}

/// Something that must come of the run.
#[derive(Clone, Debug)]
struct Line {
    /// The table within `expect`; empty for one of its own keys.
    table: &'static str,
    key: String,
    value: String,
}

fn line(table: &'static str, key: impl Into<String>, value: String) -> Line {
    Line { table, key: key.into(), value }
}

/// The case of a run: of one that did not end, as far as it came. An error says why there can be none.
pub fn recorded(plan: &Plan, record: &RunRecord, name: Option<&str>) -> Result<Recorded, String> {
    let spec = record.spec().ok_or("the journal of the run has no beginning")?;
    let report = record.report();
    let outcome = report.map(|report| report.outcome);
    if outcome == Some(RunOutcome::Invalid) {
        return Err(format!("the run ended as {}, which no test file can bring about", RunOutcome::Invalid.words()));
    }
    let film = TraceReader::film(plan, record, spec.timeout.is_some());
    let foreign_limit = spec.timeout.is_some() && outcome == Some(RunOutcome::TimedOut);
    let comments = comments(record, &film, foreign_limit, !spec.set.is_empty());
    let mut expect = match report {
        None => interrupted(record),
        Some(report) => {
            let outcome = if foreign_limit { RunOutcome::Cancelled } else { report.outcome };
            let mut expect = vec![line("", "outcome", quoted(outcome.key()))];
            expect.extend(compensated(&report.compensated));
            for (step, view) in &report.steps {
                let word = match view.state {
                    StepState::CompensationFailed { .. } => "compensation_failed",
                    _ => view.state.word(),
                };
                let known = STATES.contains(&word) && !film.instead.iter().any(|id| **id == **step);
                expect.extend(known.then(|| line("steps", &**step, quoted(word))));
            }
            expect
        }
    };
    let RunTrace { made, repeatable, instead, waits, .. } = film;
    expect.extend(calls(&made, &instead));
    let output = report.and_then(|report| report.output.as_ref());
    let output = output.and_then(|output| Data::parse(&output.text()).ok()).unwrap_or_default();
    for name in output.keys() {
        let value = output.member(&name).and_then(|value| toml(&value));
        expect.extend(value.map(|value| line("output", name, value)));
    }
    let input = Data::parse(&spec.input.text()).unwrap_or_default();
    let input =
        (!input.keys().is_empty()).then(|| toml(&input).ok_or("the input has null in it, which TOML has no word for")).transpose()?;
    let name = name.map_or_else(|| format!("as the run {} went", record.run.short()), str::to_owned);
    let takes = plan.timeout.filter(|_| waits);
    Ok(Recorded { workflow: plan.name.clone(), name, comments, input, repeatable, answers: in_turn(made), expect, takes })
}

/// What the case has to leave out, in words for people.
fn comments(record: &RunRecord, film: &RunTrace, foreign_limit: bool, set: bool) -> Vec<String> {
    let mut comments = vec![];
    if record.report().is_none() {
        comments.push("The run was interrupted and has not ended: what would have come after that is left out.".to_owned());
    }
    if !film.instead.is_empty() {
        let names = film.instead.join(", ");
        comments.push(format!("That came while no call was under way. The case brings it about at the next call: {names}."));
    }
    if film.lost {
        comments.push("That came while no call was under way, and nothing in this case brings it about.".to_owned());
    }
    if foreign_limit {
        comments.push("Its time was up by --timeout, for which a test has no word: the case cancels it then.".to_owned());
    }
    if set {
        comments.push("The run had --set, for which a test has no word: the steps go as the file has them.".to_owned());
    }
    comments
}

/// The answers in the order of the calls, by what they go by. Items that called once each are in their own order, since a
/// test starts them in that.
fn in_turn(made: Vec<Made>) -> Vec<(String, Vec<String>)> {
    let mut calls: Vec<(String, Vec<Made>)> = vec![];
    for made in made {
        match calls.iter_mut().find(|(key, _)| *key == made.key) {
            Some((_, all)) => all.push(made),
            None => calls.push((made.key.clone(), vec![made])),
        }
    }
    for (_, all) in &mut calls {
        let items: HashSet<u32> = all.iter().filter_map(|made| made.item).collect();
        if items.len() == all.len() {
            all.sort_by_key(|made| made.item);
        }
    }
    let answer = |made: Made| made.answer.unwrap_or_default();
    let mut answers: Vec<(String, Vec<String>)> =
        calls.into_iter().map(|(key, all)| (key, all.into_iter().map(answer).collect())).collect();
    for (_, all) in &mut answers {
        // The last answer stays.
        while all.len() > 1 && all[all.len() - 1] == all[all.len() - 2] {
            all.pop();
        }
    }
    answers
}

/// How often each step called, and with what if that was the same each time: items that run simultaneously call in any order.
fn calls(made: &[Made], but: &[String]) -> Vec<Line> {
    let (mut expect, mut seen) = (vec![], HashSet::new());
    for step in made.iter().filter(|made| made.arguments.is_some() && !but.contains(&made.id)).map(|made| &made.id) {
        if seen.insert(step) {
            let calls: Vec<&Made> = made.iter().filter(|made| made.id == *step).collect();
            expect.push(line("calls", step, calls.len().to_string()));
            let same = calls.iter().all(|made| made.arguments == calls[0].arguments);
            let only = calls.first().filter(|_| same).and_then(|made| toml(made.arguments.as_ref()?));
            expect.extend(only.map(|value| line("arguments", step, value)));
        }
    }
    expect
}

fn compensated(names: &[String]) -> Option<Line> {
    let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    (!names.is_empty()).then(|| line("", "compensated", format!("[{}]", quoted.join(", "))))
}

/// What is known of a run that did not end: the steps that did.
fn interrupted(record: &RunRecord) -> Vec<Line> {
    let mut states: Vec<(&str, &'static str)> = vec![];
    let mut undone = vec![];
    for entry in &record.entries {
        match entry {
            RunEntry::StepEnded { step, end } if !step.contains('/') => states.push((step, end.outcome.word())),
            RunEntry::Undone { step, item, error } if !step.contains('/') => {
                let word = if error.is_some() { "compensation_failed" } else { "compensated" };
                if error.is_none() {
                    undone.push(item.map_or_else(|| step.to_string(), |item| format!("{step}[{item}]")));
                }
                // Of a step with items that are still being undone nothing is sure.
                states.retain(|(known, _)| **known != **step);
                if item.is_none() {
                    states.push((step, word));
                }
            }
            _ => {}
        }
    }
    let mut expect = vec![line("", "outcome", quoted(RunOutcome::InDoubt.key()))];
    expect.extend(compensated(&undone));
    expect.extend(states.into_iter().map(|(step, word)| line("steps", step, quoted(word))));
    expect
}

impl Recorded {
    /// The workflow's name.
    pub fn workflow(&self) -> &str {
        &self.workflow
    }

    /// How long the case goes at least, where it waits for a limit of time.
    pub fn takes(&self) -> Option<Duration> {
        self.takes
    }

    /// Masks known secrets in what was answered and what is expected: a server may have quoted them.
    pub fn mask(&mut self, redactor: &Redactor) {
        let values = self.answers.iter_mut().flat_map(|(_, all)| all).chain(self.expect.iter_mut().map(|line| &mut line.value));
        for value in values.chain(&mut self.input) {
            // Values are TOML, whose strings are those of JSON here.
            *value = redactor.redact_json(value);
        }
    }

    /// What stands at the beginning of a test file.
    pub fn head(&self) -> String {
        format!("workflow = {}\n", quoted(&self.workflow))
    }

    /// The case, to be put behind others.
    pub fn case(&self) -> String {
        let comments: String = self.comments.iter().map(|comment| format!("# {comment}\n")).collect();
        let mut out = format!("\n[[case]]\n{comments}name = {}\n", quoted(&self.name));
        if let Some(input) = &self.input {
            let _ = writeln!(out, "input = {input}");
        }
        if !self.repeatable.is_empty() {
            let names: Vec<String> = self.repeatable.iter().map(|name| quoted(name)).collect();
            let _ = writeln!(out, "repeatable = [{}]", names.join(", "));
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
    /// time of a run. `wrong` is what the trial found; gives the words of what is about anything else.
    pub fn forget(&mut self, wrong: Vec<Mismatch>) -> (Vec<String>, Vec<String>) {
        let (mut varied, mut rest) = (vec![], vec![]);
        for mismatch in wrong {
            let is = |line: &Line| match &mismatch.place {
                Expected::Output(name) => line.table == "output" && line.key == *name,
                Expected::Arguments(name) => line.table == "arguments" && line.key == *name,
                Expected::Other => false,
            };
            match self.expect.iter().position(is) {
                Some(at) => {
                    let line = self.expect.remove(at);
                    varied.push(format!("{}.{}", line.table, line.key));
                }
                None => rest.push(mismatch.words),
            }
        }
        (varied, rest)
    }
}

#[cfg(test)]
mod tests;
