//! What is written down of a run, so that it can go on after the program was killed, and of calls, so
//! that workflows can be made of them.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    body::Body,
    call::{CallSpec, FailureKind, Operation, Outcome},
    id::CallId,
    run::{Purpose, RunId, RunReport, RunSpec, StepError},
    workflow::{answer, expression::Data, history::PastCall, plan::ReadAs},
};

/// One line of a run's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum RunEntry {
    /// The run began.
    Began {
        /// What it was asked to do.
        spec: Arc<RunSpec>,
        /// When, in milliseconds since the Unix epoch.
        unix_ms: u64,
    },
    /// The run goes on after an interruption.
    Resumed {
        /// When, in milliseconds since the Unix epoch.
        unix_ms: u64,
    },
    /// A request is about to be sent. Until something of the same place is written, it is in doubt.
    Sending {
        /// Where.
        place: Place,
        /// Which attempt, from 1.
        attempt: u32,
        /// What is called, for people.
        what: String,
        /// The arguments as far as they are shown; JSON unless very long.
        arguments: Body,
    },
    /// An attempt failed, and the step goes on: nothing of the attempt is in doubt any more.
    Attempted {
        /// Where.
        place: Place,
        /// Which, from 1; of a fallback its number.
        attempt: u32,
        /// Why it failed, when the next is no further attempt but a fallback.
        exhausted: Option<StepError>,
        /// Why it failed, when the next is a further attempt: its class and words, secrets masked. Journals that were
        /// written before this was kept have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<StepError>,
    },
    /// An item of a step ended.
    ItemEnded {
        /// The step's path.
        step: Arc<str>,
        /// Which item, from 0.
        item: u32,
        /// How.
        end: StepRecord,
    },
    /// A step ended. The results of its items are in their own entries.
    StepEnded {
        /// The step's path.
        step: Arc<str>,
        /// How.
        end: StepRecord,
    },
    /// A flow was given up, or its time was up: nothing of it goes forward any more, also after an interruption.
    GivenUp {
        /// What stands before the paths of its steps; empty for the run itself.
        prefix: String,
        /// Whether its time was up; somebody wanted it otherwise.
        time_up: bool,
        /// Whether what it did is undone.
        undo: bool,
        /// Why.
        why: String,
    },
    /// A step was undone, or could not be.
    Undone {
        /// The step's path.
        step: Arc<str>,
        /// Which item, from 0.
        item: Option<u32>,
        /// Why not.
        error: Option<StepError>,
    },
    /// The run ended.
    Ended {
        /// How.
        report: Arc<RunReport>,
    },
}

/// What a request is sent for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The step's path.
    pub step: Arc<str>,
    /// Which item, from 0.
    pub item: Option<u32>,
    /// What for.
    pub purpose: Purpose,
}

/// How a step, or an item of one, ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The word for it.
    pub outcome: StepOutcome,
    /// The result, JSON.
    pub result: Option<Body>,
    /// The text of the answer.
    pub text: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
    /// Why it failed, or why it was skipped.
    pub error: Option<StepError>,
    /// What answered in its place.
    pub fallback: Option<Substitute>,
    /// Whether a value of the file answered, so that there is nothing to undo.
    #[serde(default)]
    pub nothing_done: bool,
    /// Whether what failed before that may have been done all the same.
    #[serde(default)]
    pub in_doubt: bool,
    /// How many items there were.
    pub items: Option<u32>,
}

/// What stands for the answer of a step. The journal has it as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Substitute {
    /// Somebody said of the in-doubt step that it was done.
    CountedAsDone,
    /// What was tried instead, and after which failure.
    Fallback(String),
}

/// How a journal marks [`Substitute::CountedAsDone`].
const COUNTED: &str = "counted as done";

impl Substitute {
    /// The text of a fallback, to be changed.
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

/// How a step ended, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// Done.
    Ok,
    /// Failed for good.
    Failed,
    /// Not to be done.
    Skipped,
    /// Given up on request.
    Cancelled,
}

impl StepOutcome {
    /// The word, as expressions see it.
    pub fn word(self) -> &'static str {
        match self {
            StepOutcome::Ok => "ok",
            StepOutcome::Failed => "failed",
            StepOutcome::Skipped => "skipped",
            StepOutcome::Cancelled => "cancelled",
        }
    }
}

/// What is known of a run from the journal.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// Everything written of it, oldest first. The first is [`RunEntry::Began`].
    pub entries: Vec<RunEntry>,
}

impl RunRecord {
    /// What it was asked to do; `None` when the journal is damaged.
    pub fn spec(&self) -> Option<&Arc<RunSpec>> {
        self.entries.iter().find_map(|entry| match entry {
            RunEntry::Began { spec, .. } => Some(spec),
            _ => None,
        })
    }

    /// How it ended, if it did.
    pub fn report(&self) -> Option<&Arc<RunReport>> {
        self.entries.iter().rev().find_map(|entry| match entry {
            RunEntry::Ended { report } => Some(report),
            _ => None,
        })
    }

    /// Requests that were sent and of whose end nothing is known.
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
                RunEntry::Began { .. } | RunEntry::Resumed { .. } | RunEntry::GivenUp { .. } | RunEntry::Ended { .. } => {}
            }
        }
        open
    }
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// The run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// How long it took; `None` while it has not ended.
    pub took_ms: Option<u64>,
    /// How it ended, as [`super::run::RunOutcome::key`] has it.
    pub outcome: Option<String>,
}

/// How a call of the history ended. Stored as its words.
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
    /// Words of another version.
    Unknown(String),
}

impl CallOutcome {
    /// The words that are stored, those of [`Outcome::words`].
    pub fn words(&self) -> &str {
        match self {
            CallOutcome::Ok => "ok",
            CallOutcome::ToolError => "tool error",
            CallOutcome::Failed(kind) => kind.words(),
            CallOutcome::Cancelled => "cancelled",
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
        }
    }
}

impl From<String> for CallOutcome {
    fn from(words: String) -> CallOutcome {
        let failed = FailureKind::ALL.into_iter().map(CallOutcome::Failed);
        let known = [CallOutcome::Ok, CallOutcome::ToolError, CallOutcome::Cancelled].into_iter().chain(failed);
        known.into_iter().find(|known| known.words() == words).unwrap_or(CallOutcome::Unknown(words))
    }
}

impl From<CallOutcome> for String {
    fn from(outcome: CallOutcome) -> String {
        outcome.words().to_owned()
    }
}

/// A call that ended, for the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Its id.
    pub call: CallId,
    /// When it was asked for, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// What was asked.
    pub spec: Arc<CallSpec>,
    /// The tool's exposed name, or what was read or asked.
    pub name: String,
    /// How it ended.
    pub outcome: CallOutcome,
    /// The result, unless it is long.
    pub result: Option<Body>,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

impl CallRecord {
    /// The call as a workflow can be made of it; `None` unless it called a tool.
    pub fn past(&self) -> Option<PastCall> {
        past_call(&self.name, &self.spec, self.result.as_ref().filter(|_| self.outcome == CallOutcome::Ok))
    }
}

/// A call as a workflow can be made of it: the tool's exposed name, what was asked, what was answered.
/// `None` unless it calls a tool with an object.
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
    use crate::domain::{call::Failure, run::StepDetail};

    fn place(step: &str, item: Option<u32>, purpose: Purpose) -> Place {
        Place { step: step.into(), item, purpose }
    }

    fn sending(place: &Place) -> RunEntry {
        RunEntry::Sending { place: place.clone(), attempt: 1, what: "t".into(), arguments: Body::from("{}") }
    }

    fn end() -> StepRecord {
        StepRecord {
            outcome: StepOutcome::Ok,
            result: None,
            text: None,
            duration_ms: 1,
            error: None,
            fallback: None,
            nothing_done: false,
            in_doubt: false,
            items: None,
        }
    }

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
    fn what_was_sent_is_in_doubt_until_its_end_is_written() {
        let (a, b, c) = (place("a", None, Purpose::Step), place("b", Some(1), Purpose::Step), place("a", None, Purpose::Compensation));
        let of = |entries: Vec<RunEntry>| RunRecord { run: RunId::new(1, 1), entries };
        let open = |entries| of(entries).in_doubt().into_iter().map(|(place, ..)| place).collect::<Vec<_>>();
        assert_eq!(open(vec![sending(&a), sending(&b)]), [a.clone(), b.clone()]);
        assert_eq!(open(vec![sending(&a), RunEntry::Attempted { place: a.clone(), attempt: 1, exhausted: None, error: None }]), []);
        assert_eq!(open(vec![sending(&b), RunEntry::ItemEnded { step: "b".into(), item: 2, end: end() }]), std::slice::from_ref(&b));
        assert_eq!(open(vec![sending(&b), RunEntry::ItemEnded { step: "b".into(), item: 1, end: end() }]), []);
        let undoing = vec![sending(&a), RunEntry::StepEnded { step: "a".into(), end: end() }, sending(&c)];
        assert_eq!(open(undoing.clone()), [c]);
        let undone = RunEntry::Undone { step: "a".into(), item: None, error: None };
        assert_eq!(open(undoing.into_iter().chain([undone]).collect()), []);
    }
}
