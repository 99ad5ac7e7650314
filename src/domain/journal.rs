//! Journal entries of runs, from which an interrupted run resumes, and records of calls, from which workflows are
//! generated.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    body::Body,
    call::{CallSpec, FailureKind, InterimKind, Operation, Outcome},
    call_summary::CallSummary,
    run::{Purpose, RunId, RunReport, RunSpec, StepAnswer, StepError},
    workflow::{answer, expression::Data, history::PastCall, plan::ReadAs},
};

/// One entry of a run's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum RunEntry {
    /// The run began.
    Began {
        /// The request for the run.
        spec: Arc<RunSpec>,
        /// Time, in milliseconds since the Unix epoch.
        unix_ms: u64,
        /// The deadline of the run, in milliseconds since the Unix epoch. Absent in journals of older versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline_ms: Option<u64>,
    },
    /// The run resumed after an interruption.
    Resumed {
        /// Time, in milliseconds since the Unix epoch.
        unix_ms: u64,
        /// The deadline that replaces the earlier one, in milliseconds since the Unix epoch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline_ms: Option<u64>,
    },
    /// A request is about to be sent. It is in doubt until another entry for the same place is written.
    Sending {
        /// The place in the run.
        place: Place,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// The called tool, prompt or resource, for users.
        what: String,
        /// The displayed part of the arguments; JSON unless very long.
        arguments: Body,
    },
    /// A step asks a question that has no answer yet. A run that is resumed asks it again.
    Asked {
        /// The place in the run.
        place: Place,
        /// The text for the user.
        message: String,
        /// The schema of the form; `None` for an approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<Body>,
        /// Time, in milliseconds since the Unix epoch.
        unix_ms: u64,
    },
    /// The question of a step was answered.
    Answered {
        /// The place in the run.
        place: Place,
        /// The answer.
        answer: StepAnswer,
        /// Time, in milliseconds since the Unix epoch.
        unix_ms: u64,
    },
    /// An attempt failed and the step continues: the attempt is settled and not in doubt.
    Attempted {
        /// The place in the run.
        place: Place,
        /// Number of the attempt, from 1; for a fallback its number.
        attempt: u32,
        /// The error, if a fallback follows instead of another attempt.
        exhausted: Option<StepError>,
        /// The error, if another attempt follows: kind and message, secrets masked. Absent in journals of older
        /// versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<StepError>,
    },
    /// An item of a step ended.
    ItemEnded {
        /// The step's path.
        step: Arc<str>,
        /// Index of the item, from 0.
        item: u32,
        /// The end.
        end: StepRecord,
    },
    /// A step ended. The results of its items have their own entries.
    StepEnded {
        /// The step's path.
        step: Arc<str>,
        /// The end.
        end: StepRecord,
    },
    /// A workflow was cancelled or exceeded its deadline: it does not continue, even after an interruption.
    GivenUp {
        /// Path prefix of its steps; empty for the run itself.
        prefix: String,
        /// Whether it exceeded its deadline; otherwise it was cancelled on request.
        time_up: bool,
        /// Whether its completed steps are compensated.
        undo: bool,
        /// The reason.
        why: String,
    },
    /// A step was compensated, or its compensation failed.
    Undone {
        /// The step's path.
        step: Arc<str>,
        /// Index of the item, from 0.
        item: Option<u32>,
        /// The error, if the compensation failed.
        error: Option<StepError>,
    },
    /// The run ended.
    Ended {
        /// The report.
        report: Arc<RunReport>,
    },
}

/// The number of a run's last entry: 1 for the first one, 0 before it. A writer names the number that it expects, so that two
/// owners of one run cannot both write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seq(pub u64);

impl Seq {
    /// Returns the number of the last entry after `count` more entries.
    pub fn plus(self, count: usize) -> Seq {
        Seq(self.0.saturating_add(count as u64))
    }
}

/// The place of a request in a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The step's path.
    pub step: Arc<str>,
    /// Index of the item, from 0.
    pub item: Option<u32>,
    /// The purpose of the request.
    pub purpose: Purpose,
}

impl Place {
    /// Creates a place.
    pub fn new(step: impl Into<Arc<str>>, item: Option<u32>, purpose: Purpose) -> Place {
        Place { step: step.into(), item, purpose }
    }
}

/// The end of a step or item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The outcome.
    pub outcome: StepOutcome,
    /// The result, JSON.
    pub result: Option<Body>,
    /// The text of the response.
    pub text: Option<String>,
    /// Duration.
    pub duration_ms: u64,
    /// The error of a failed step, or the reason why it was skipped.
    pub error: Option<StepError>,
    /// The fallback or resolution that provided the result.
    pub fallback: Option<Substitute>,
    /// Whether a fallback value provided the result, so that there is nothing to compensate.
    #[serde(default)]
    pub nothing_done: bool,
    /// Whether an earlier, failed attempt may still have taken effect.
    #[serde(default)]
    pub in_doubt: bool,
    /// Index of the fallback whose call provided the result, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<u32>,
    /// Number of items.
    pub items: Option<u32>,
}

impl StepRecord {
    /// Creates the record of an end without a result and an error, with no duration.
    pub fn new(outcome: StepOutcome) -> StepRecord {
        StepRecord {
            outcome,
            result: None,
            text: None,
            duration_ms: 0,
            error: None,
            fallback: None,
            nothing_done: false,
            in_doubt: false,
            answered_by: None,
            items: None,
        }
    }
}

/// The source of a step result that is not the response of the step's own request. Stored as text in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Substitute {
    /// The in-doubt step was resolved as done.
    CountedAsDone,
    /// The fallback, and the failure that it followed.
    Fallback(String),
}

/// The journal text of [`Substitute::CountedAsDone`].
const COUNTED: &str = "counted as done";

impl Substitute {
    /// Returns the text of a fallback for redaction.
    pub fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Substitute::CountedAsDone => None,
            Substitute::Fallback(text) => Some(text),
        }
    }
}

impl fmt::Display for Substitute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Substitute::CountedAsDone => f.write_str(COUNTED),
            Substitute::Fallback(text) => f.write_str(text),
        }
    }
}

impl From<String> for Substitute {
    fn from(text: String) -> Substitute {
        if text == COUNTED { Substitute::CountedAsDone } else { Substitute::Fallback(text) }
    }
}

impl From<Substitute> for String {
    fn from(substitute: Substitute) -> String {
        substitute.to_string()
    }
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// Succeeded.
    Ok,
    /// Failed, after all attempts.
    Failed,
    /// Skipped.
    Skipped,
    /// Cancelled on request.
    Cancelled,
}

impl StepOutcome {
    /// Returns the name that expressions see.
    pub fn word(self) -> &'static str {
        match self {
            StepOutcome::Ok => "ok",
            StepOutcome::Failed => "failed",
            StepOutcome::Skipped => "skipped",
            StepOutcome::Cancelled => "cancelled",
        }
    }
}

/// The journal of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// All entries, oldest first. The first is [`RunEntry::Began`].
    pub entries: Vec<RunEntry>,
}

impl RunRecord {
    /// Returns the number of the last entry.
    pub fn last(&self) -> Seq {
        Seq::default().plus(self.entries.len())
    }

    /// Returns the request for the run; `None` if the journal is damaged.
    pub fn spec(&self) -> Option<&Arc<RunSpec>> {
        self.entries.iter().find_map(|entry| match entry {
            RunEntry::Began { spec, .. } => Some(spec),
            _ => None,
        })
    }

    /// Returns when the run began, in milliseconds since the Unix epoch; zero if the journal is damaged.
    pub fn started_ms(&self) -> u64 {
        let began = self.entries.iter().find_map(|entry| match entry {
            RunEntry::Began { unix_ms, .. } => Some(*unix_ms),
            _ => None,
        });
        began.unwrap_or_default()
    }

    /// Returns the deadline of the run, in milliseconds since the Unix epoch: it also holds for a process that resumes the run.
    /// `None` if the run has none, or none that counts any more: no step starts after a run was cancelled.
    pub fn deadline_ms(&self) -> Option<u64> {
        let mut deadline = None;
        for entry in &self.entries {
            match entry {
                RunEntry::Began { deadline_ms, .. } | RunEntry::Resumed { deadline_ms, .. } => deadline = deadline_ms.or(deadline),
                RunEntry::GivenUp { prefix, .. } if prefix.is_empty() => return None,
                _ => {}
            }
        }
        deadline
    }

    /// Returns the report, if the run has ended.
    pub fn report(&self) -> Option<&Arc<RunReport>> {
        self.entries.iter().rev().find_map(|entry| match entry {
            RunEntry::Ended { report } => Some(report),
            _ => None,
        })
    }

    /// Returns the in-doubt requests: sent, but without a recorded outcome.
    pub fn in_doubt(&self) -> Vec<(Place, String, Body)> {
        let mut open: Vec<(Place, String, Body)> = vec![];
        for entry in &self.entries {
            match entry {
                RunEntry::Sending { place, what, arguments, .. } => {
                    open.retain(|(old, ..)| old != place);
                    open.push((place.clone(), what.clone(), arguments.clone()));
                }
                RunEntry::Attempted { place, .. } => open.retain(|(old, ..)| old != place),
                RunEntry::ItemEnded { step, item, .. } => {
                    open.retain(|(old, ..)| old.purpose == Purpose::Compensation || old.step != *step || old.item != Some(*item));
                }
                RunEntry::StepEnded { step, .. } => {
                    open.retain(|(old, ..)| old.purpose == Purpose::Compensation || old.step != *step);
                }
                RunEntry::Undone { step, item, .. } => {
                    open.retain(|(old, ..)| old.purpose != Purpose::Compensation || old.step != *step || old.item != *item);
                }
                RunEntry::Began { .. }
                | RunEntry::Resumed { .. }
                | RunEntry::Asked { .. }
                | RunEntry::Answered { .. }
                | RunEntry::GivenUp { .. }
                | RunEntry::Ended { .. } => {}
            }
        }
        open
    }

    /// Returns the open questions of steps, in the order in which they were asked.
    pub fn questions(&self) -> Vec<OpenQuestion<'_>> {
        let mut open: Vec<OpenQuestion<'_>> = vec![];
        for entry in &self.entries {
            match entry {
                RunEntry::Asked { place, message, schema, unix_ms } if open.iter().all(|question| question.place != place) => {
                    open.push(OpenQuestion { place, message, schema: schema.as_ref(), unix_ms: *unix_ms });
                }
                RunEntry::Answered { place, .. } => open.retain(|question| question.place != place),
                RunEntry::ItemEnded { step, item, .. } => {
                    open.retain(|question| question.place.step != *step || question.place.item != Some(*item));
                }
                RunEntry::StepEnded { step, .. } => open.retain(|question| question.place.step != *step),
                RunEntry::Ended { .. } => open.clear(),
                _ => {}
            }
        }
        open
    }
}

/// A question of a step that has no answer yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenQuestion<'r> {
    /// The place in the run.
    pub place: &'r Place,
    /// The text for the user.
    pub message: &'r str,
    /// The schema of the form; `None` for an approval.
    pub schema: Option<&'r Body>,
    /// When it was asked first, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// The run.
    pub run: RunId,
    /// The name of the workflow.
    pub workflow: String,
    /// Start time, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Duration; `None` while the run has not ended.
    pub took_ms: Option<u64>,
    /// The outcome as [`super::run::RunOutcome::key`].
    pub outcome: Option<String>,
}

/// The outcome of a call in the history. Stored as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum CallOutcome {
    /// The server answered.
    Ok,
    /// The tool answered with `isError: true`.
    ToolError,
    /// The call failed.
    Failed(FailureKind),
    /// The call was cancelled.
    Cancelled,
    /// The server answered with an interim result.
    Interim(InterimKind),
    /// The text of an outcome of another version.
    Unknown(String),
}

impl CallOutcome {
    /// Returns the stored text, that of [`Outcome::words`].
    pub fn words(&self) -> &str {
        match self {
            CallOutcome::Ok => "ok",
            CallOutcome::ToolError => "tool error",
            CallOutcome::Failed(kind) => kind.words(),
            CallOutcome::Cancelled => "cancelled",
            CallOutcome::Interim(kind) => kind.words(),
            CallOutcome::Unknown(words) => words,
        }
    }
}

impl From<&Outcome> for CallOutcome {
    fn from(outcome: &Outcome) -> CallOutcome {
        match outcome {
            Outcome::Ok { .. } => CallOutcome::Ok,
            Outcome::ToolError { .. } => CallOutcome::ToolError,
            Outcome::Failed { failure } => CallOutcome::Failed(failure.kind),
            Outcome::Cancelled { .. } => CallOutcome::Cancelled,
            Outcome::Interim { kind, .. } => CallOutcome::Interim(*kind),
        }
    }
}

impl From<String> for CallOutcome {
    fn from(words: String) -> CallOutcome {
        let failed = FailureKind::ALL.into_iter().map(CallOutcome::Failed);
        let interim = [InterimKind::InputRequired, InterimKind::Task].map(CallOutcome::Interim);
        let known = [CallOutcome::Ok, CallOutcome::ToolError, CallOutcome::Cancelled].into_iter().chain(interim).chain(failed);
        known.into_iter().find(|known| known.words() == words).unwrap_or(CallOutcome::Unknown(words))
    }
}

impl From<CallOutcome> for String {
    fn from(outcome: CallOutcome) -> String {
        outcome.words().to_owned()
    }
}

/// A settled call, for the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Everything but its bodies.
    pub summary: CallSummary,
    /// The request.
    pub spec: Arc<CallSpec>,
    /// The result, unless it is too long.
    pub result: Option<Body>,
}

impl CallRecord {
    /// Returns the call for generating a workflow; `None` unless it called a tool.
    pub fn past(&self) -> Option<PastCall> {
        past_call(&self.summary.name, &self.spec, self.result.as_ref().filter(|_| self.summary.outcome == CallOutcome::Ok))
    }
}

/// Returns a call for generating a workflow: exposed tool name, arguments and result. `None` unless it calls a tool
/// with an object.
pub fn past_call(name: &str, spec: &CallSpec, result: Option<&Body>) -> Option<PastCall> {
    let Operation::Tool { arguments, .. } = &spec.operation else { return None };
    let text = if arguments.is_empty() { "{}".into() } else { arguments.text() };
    let arguments = Data::parse(&text).ok().filter(Data::is_object)?;
    let result = result.and_then(|result| answer::read(ReadAs::Auto, result).ok()).map(|reading| reading.result);
    Some(PastCall { tool: name.to_owned(), arguments, result })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        call::Failure,
        run::StepDetail,
        test_entries::{end, item_ended, run_record, sending, step_ended, undone},
    };

    #[test]
    fn outcomes_of_calls_are_stored_as_the_words_of_version_0_1_0() {
        let words = [
            "ok",
            "tool error",
            "cancelled",
            "not ready",
            "unknown server",
            "unknown tool",
            "invalid arguments",
            "transport",
            "timeout",
            "protocol",
            "server exited",
            "too large",
            "unauthorized",
            "refused",
            "breaker open",
            "overloaded",
        ];
        let read = words.map(|words| CallOutcome::from(words.to_owned()));
        assert!(!read.iter().any(|outcome| matches!(outcome, CallOutcome::Unknown(_))), "{read:?}");
        assert_eq!(read.clone().map(String::from), words.map(str::to_owned));
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(json, serde_json::to_string(&words).unwrap());
        assert_eq!(serde_json::from_str::<Vec<CallOutcome>>(&json).unwrap(), read);
        assert_eq!(CallOutcome::from("from a later version".to_owned()).words(), "from a later version");
        let end = |outcome: Outcome| CallOutcome::from(&outcome).words() == outcome.words();
        assert!(FailureKind::ALL.into_iter().all(|kind| end(Outcome::Failed { failure: Arc::new(Failure::new(kind, "")) })));
    }

    #[test]
    fn typed_texts_are_journaled_as_in_version_0_1_0() {
        let old = r#"{"outcome":"failed","result":null,"text":null,"duration_ms":1,"error":{"kind":{"kind":"workflow"},"message":"m","detail":["not undone: a: why","try: b"],"may_have_run":true},"fallback":"counted as done","nothing_done":false,"in_doubt":false,"items":null}"#;
        let read: StepRecord = serde_json::from_str(old).unwrap();
        let detail = &read.error.as_ref().unwrap().detail;
        assert_eq!(*detail, [StepDetail::NotUndone { step_and_why: "a: why".into() }, StepDetail::Text("try: b".into())]);
        assert_eq!(read.fallback, Some(Substitute::CountedAsDone));
        assert_eq!(serde_json::to_string(&read).unwrap(), old);
        let fallback = Substitute::from("note, after: late".to_owned());
        assert_eq!((fallback.to_string().as_str(), fallback), ("note, after: late", Substitute::Fallback("note, after: late".into())));
    }

    #[test]
    fn a_sent_request_is_in_doubt_until_its_end_is_recorded() {
        let (a, b, c) =
            (Place::new("a", None, Purpose::Step), Place::new("b", Some(1), Purpose::Step), Place::new("a", None, Purpose::Compensation));
        let sent = |place: &Place| sending(&place.step, place.item, place.purpose, "t");
        let ok = || end(StepOutcome::Ok);
        let open = |entries| run_record(entries).in_doubt().into_iter().map(|(place, ..)| place).collect::<Vec<_>>();
        assert_eq!(open(vec![sent(&a), sent(&b)]), [a.clone(), b.clone()]);
        assert_eq!(open(vec![sent(&a), RunEntry::Attempted { place: a.clone(), attempt: 1, exhausted: None, error: None }]), []);
        assert_eq!(open(vec![sent(&b), item_ended("b", 2, ok())]), std::slice::from_ref(&b));
        assert_eq!(open(vec![sent(&b), item_ended("b", 1, ok())]), []);
        let undoing = vec![sent(&a), step_ended("a", ok()), sent(&c)];
        assert_eq!(open(undoing.clone()), [c]);
        assert_eq!(open(undoing.into_iter().chain([undone("a")]).collect()), []);
    }
}
