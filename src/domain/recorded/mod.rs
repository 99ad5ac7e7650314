//! Recorded test cases: generates a case of a workflow's test file from the journal of a run, with its input, the
//! responses to its calls, and its result.
//!
//! The journal stores what steps derived from their responses, not the responses. Each response is written so that
//! the step derives the same value from it again. [`crate::domain::workflow::case`] reads the generated text.

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
        plan::{Plan, TimeLimit},
    },
};

/// A recorded case, before it is written.
#[derive(Clone, Debug)]
pub struct Recorded {
    workflow: String,
    name: String,
    /// Parts of the run that the case leaves out.
    comments: Vec<String>,
    input: Option<String>,
    repeatable: Vec<String>,
    answers: Vec<(String, Vec<String>)>,
    expect: Vec<Line>,
    /// Minimum duration of the case.
    takes: Option<Duration>,
}

/// An expected result of the run.
#[derive(Clone, Debug)]
struct Line {
    /// The table within `expect`; empty for a top-level key.
    table: &'static str,
    key: String,
    value: String,
}

fn line(table: &'static str, key: impl Into<String>, value: String) -> Line {
    Line { table, key: key.into(), value }
}

/// Generates the case of a run; of an unfinished one, up to its last entry. The error says why no case can be
/// generated.
pub fn recorded(plan: &Plan, record: &RunRecord, name: Option<&str>) -> Result<Recorded, String> {
    let spec = record.spec().ok_or("the journal of the run has no start entry")?;
    let report = record.report();
    let outcome = report.map(|report| report.outcome);
    if outcome == Some(RunOutcome::Invalid) {
        return Err(format!("the run ended as {}, which a test file cannot reproduce", RunOutcome::Invalid.words()));
    }
    let trace = TraceReader::read(plan, record, spec.timeout.is_some());
    let foreign_limit = spec.timeout.is_some() && outcome == Some(RunOutcome::TimedOut);
    let comments = comments(record, &trace, foreign_limit, !spec.set.is_empty());
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
                let known = STATES.contains(&word) && !trace.instead.iter().any(|id| **id == **step);
                expect.extend(known.then(|| line("steps", &**step, quoted(word))));
            }
            expect
        }
    };
    let RunTrace { made, repeatable, instead, waits, .. } = trace;
    expect.extend(calls(&made, &instead));
    let output = report.and_then(|report| report.output.as_ref());
    let output = output.and_then(|output| Data::parse(&output.text()).ok()).unwrap_or_default();
    for name in output.keys() {
        let value = output.member(&name).and_then(|value| toml(&value));
        expect.extend(value.map(|value| line("output", name, value)));
    }
    let input = Data::parse(&spec.input.text()).unwrap_or_default();
    let input =
        (!input.keys().is_empty()).then(|| toml(&input).ok_or("the input contains null, which TOML cannot represent")).transpose()?;
    let name = name.map_or_else(|| format!("run {}", record.run.short()), str::to_owned);
    let takes = plan.timeout.as_ref().and_then(TimeLimit::fixed).filter(|_| waits);
    Ok(Recorded { workflow: plan.name.clone(), name, comments, input, repeatable, answers: grouped_responses(made), expect, takes })
}

/// Describes what the case leaves out.
fn comments(record: &RunRecord, trace: &RunTrace, foreign_limit: bool, set: bool) -> Vec<String> {
    let mut comments = vec![];
    if record.report().is_none() {
        comments.push("The run was interrupted and has not ended: its later steps are left out.".to_owned());
    }
    if !trace.instead.is_empty() {
        let names = trace.instead.join(", ");
        comments.push(format!("The run was cancelled while no call was in flight. The case cancels it at the next call: {names}."));
    }
    if trace.lost {
        comments.push("The run was cancelled while no call was in flight. The case does not reproduce that.".to_owned());
    }
    if foreign_limit {
        comments.push("The run exceeded --timeout, which a test cannot express: the case cancels it at that point.".to_owned());
    }
    if set {
        comments.push("The run used --set, which a test cannot express: the steps run as in the file.".to_owned());
    }
    comments
}

/// Groups the responses by key, in call order. Items with one call each are sorted by item, because a test starts
/// them in that order.
fn grouped_responses(made: Vec<Made>) -> Vec<(String, Vec<String>)> {
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
        // The last response repeats.
        while all.len() > 1 && all[all.len() - 1] == all[all.len() - 2] {
            all.pop();
        }
    }
    answers
}

/// Returns the number of calls per step, and their arguments if they were equal: concurrent items call in any order.
fn calls(made: &[Made], excluded: &[String]) -> Vec<Line> {
    let (mut expect, mut done) = (vec![], HashSet::new());
    for step in made.iter().filter(|made| made.arguments.is_some() && !excluded.contains(&made.id)).map(|made| &made.id) {
        if done.insert(step) {
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

/// Returns the known results of an unfinished run: the steps that ended.
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
                // The state of a step with items is uncertain during compensation.
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
    /// Returns the name of the workflow.
    pub fn workflow(&self) -> &str {
        &self.workflow
    }

    /// Returns the minimum duration of the case, if it waits for a time limit.
    pub fn takes(&self) -> Option<Duration> {
        self.takes
    }

    /// Masks known secrets in responses and expectations: a server may have quoted them.
    pub fn mask(&mut self, redactor: &Redactor) {
        let values = self.answers.iter_mut().flat_map(|(_, all)| all).chain(self.expect.iter_mut().map(|line| &mut line.value));
        for value in values.chain(&mut self.input) {
            // Values are TOML, whose strings use JSON notation here.
            *value = redactor.redact_json(value);
        }
    }

    /// Returns the head of a test file.
    pub fn head(&self) -> String {
        format!("workflow = {}\n", quoted(&self.workflow))
    }

    /// Returns the case, to be appended to a test file.
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

    /// Removes expectations that differed in a trial run: outputs and arguments that contain the id or time of a run.
    /// `wrong` are the trial's mismatches; returns the removed ones and all others.
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
