//! Runs of workflows: their ids, the states of their steps, their reports.
//!
//! Plain data that the runner makes and that events, the journal and the faces share.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    body::Body,
    call::{Failure, FailureKind, Origin},
    id::CallId,
    time::Stamp,
    workflow::plan::RetryOn,
};

/// Bytes of arguments and of a result that an event or a report carries of each step.
pub const SHOWN_BYTES: usize = 64 << 10;

/// Calls that are remembered of each step.
pub const SHOWN_CALLS: usize = 16;

/// One run of a workflow, ordered by time: a UUID of version 7 (RFC 9562, section 5.7), which serves as a trace id too.
///
/// Written as 32 hexadecimal digits; read with or without hyphens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(u128);

impl RunId {
    /// The id of a run that begins at `unix_ms`; `random` makes it unique.
    pub fn new(unix_ms: u64, random: u128) -> RunId {
        let time = (u128::from(unix_ms) & 0xffff_ffff_ffff) << 80;
        let first = (random >> 62 & 0xfff) << 64;
        let second = random & 0x3fff_ffff_ffff_ffff;
        RunId(time | 0x7 << 76 | first | 0b10 << 62 | second)
    }

    /// When it began, in milliseconds since the Unix epoch.
    pub fn unix_ms(self) -> u64 {
        u64::try_from(self.0 >> 80).unwrap_or_default()
    }

    /// The first digits, to tell the runs of a screen apart. They are those of the random part: the
    /// ones before are the time.
    pub fn short(self) -> String {
        format!("{:08x}", self.0 & 0xffff_ffff)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<RunId, String> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let wrong = || format!("{text:?} is no run: expected 32 hexadecimal digits");
        if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(&digits, 16).map(RunId).map_err(|_| wrong())
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RunId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The place of a call within a run, so that views can group calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStep {
    /// The run.
    pub run: RunId,
    /// The step's path: its id, behind those of the steps around it (`outer/inner`, `each[3]/inner`).
    pub step: Arc<str>,
    /// Which item of `for_each`, from 0.
    pub item: Option<u32>,
    /// What the call is for.
    pub purpose: Purpose,
}

/// What a call of a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The step itself.
    Step,
    /// To answer in its place after it failed.
    Fallback,
    /// To undo it.
    Compensation,
}

impl Purpose {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Step => "step",
            Purpose::Fallback => "fallback",
            Purpose::Compensation => "compensation",
        }
    }
}

/// What a run is asked to do. Everything that it needs is in it: it can be journaled and sent over a wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The workflow's name.
    pub workflow: Arc<str>,
    /// Its text, and those of the workflows that it runs; the first is its own.
    pub sources: Arc<[WorkflowText]>,
    /// The input: a JSON object.
    pub input: Body,
    /// Who asks.
    pub origin: Origin,
    /// Deadline of the whole run instead of the workflow's.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// Settings of steps changed for this run (`--set`).
    #[serde(default)]
    pub set: Vec<Setting>,
    /// Answers given beforehand to `approve` and `elicit` steps, and to steps in doubt.
    #[serde(default)]
    pub answers: Vec<(String, StepAnswer)>,
    /// Whether what is not answered beforehand is put to the user; otherwise it is refused.
    #[serde(default)]
    pub ask: bool,
    /// Take over what earlier runs gave, up to a step.
    #[serde(default)]
    pub from: Option<RunFrom>,
    /// Values for environment variables that go over the process's own. For tests of workflows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// The text of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowText {
    /// Its name.
    pub name: String,
    /// Where it stands, for errors.
    pub file: String,
    /// The text.
    pub text: String,
}

/// A setting of one step changed for one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The step's path.
    pub step: String,
    /// What is changed.
    #[serde(flatten)]
    pub change: Change,
}

/// What is changed of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Its `timeout`.
    Timeout {
        /// The new one.
        limit: Duration,
    },
    /// Its `retry.attempts`.
    Attempts {
        /// How often it is tried, from 1.
        attempts: u32,
    },
}

/// What was said beforehand about a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum StepAnswer {
    /// An `approve` step is approved.
    Approve,
    /// The content for an `elicit` step.
    Content {
        /// A JSON object.
        content: Body,
    },
    /// A step in doubt is done again.
    Repeat,
    /// A step in doubt counts as done.
    Skip {
        /// With this result, JSON.
        result: Body,
    },
}

/// A run that takes over the results of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFrom {
    /// The earlier run.
    pub run: RunId,
    /// The first step that runs again; those that need it do so too.
    pub step: String,
}

/// The shape of a plan, for views.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// The workflow's name.
    pub name: Arc<str>,
    /// Its steps in the order of the file.
    pub steps: Vec<StepSummary>,
    /// Which step needs which: (needed, needing), as positions in `steps`.
    pub edges: Vec<(u32, u32)>,
}

/// A step of a plan, for views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSummary {
    /// Its id.
    pub id: Arc<str>,
    /// What it does: the tool's exposed name, `workflow NAME`, `prompt NAME`, `read URI`, `approve`, `elicit`.
    pub what: String,
    /// Whether it runs once for each of several items.
    pub for_each: bool,
    /// Whether it can be undone.
    pub compensates: bool,
}

/// Where a step stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StepState {
    /// What it needs is not there yet.
    #[default]
    Pending,
    /// Begun, and waiting for somebody's answer or for its next attempt.
    Waiting {
        /// What for.
        what: String,
    },
    /// Under way.
    Running,
    /// Done.
    Ok,
    /// Not to be done.
    Skipped {
        /// Why.
        why: String,
    },
    /// Failed for good.
    Failed {
        /// Why.
        error: Arc<StepError>,
    },
    /// Given up on request.
    Cancelled {
        /// By whom and why.
        why: String,
    },
    /// Was done and is being undone.
    Compensating,
    /// Was done and then undone.
    Compensated,
    /// Was done and could not be undone.
    CompensationFailed {
        /// Why.
        error: Arc<StepError>,
    },
}

impl StepState {
    /// The words for people and programs.
    pub fn word(&self) -> &'static str {
        match self {
            StepState::Pending => "pending",
            StepState::Waiting { .. } => "waiting",
            StepState::Running => "running",
            StepState::Ok => "ok",
            StepState::Skipped { .. } => "skipped",
            StepState::Failed { .. } => "failed",
            StepState::Cancelled { .. } => "cancelled",
            StepState::Compensating => "compensating",
            StepState::Compensated => "compensated",
            StepState::CompensationFailed { .. } => "compensation failed",
        }
    }

    /// Whether something of it is under way.
    pub fn active(&self) -> bool {
        matches!(self, StepState::Waiting { .. } | StepState::Running | StepState::Compensating)
    }

    /// Why it stands as it does, where there is a reason to tell.
    pub fn why(&self) -> Option<&str> {
        match self {
            StepState::Waiting { what } => Some(what),
            StepState::Skipped { why } | StepState::Cancelled { why } => Some(why),
            StepState::Failed { error } | StepState::CompensationFailed { error } => Some(&error.message),
            _ => None,
        }
    }
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepError {
    /// The class, for programs.
    pub kind: StepErrorKind,
    /// What happened, in one line.
    pub message: String,
    /// Further lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<StepDetail>,
    /// Whether it may have had an effect all the same.
    #[serde(default)]
    pub may_have_run: bool,
}

impl StepError {
    /// An error of a step that had no effect.
    pub fn new(kind: StepErrorKind, message: impl Into<String>) -> StepError {
        StepError { kind, message: message.into(), detail: vec![], may_have_run: false }
    }

    /// The error of a call that was not answered.
    pub fn of_failure(failure: &Failure) -> StepError {
        let detail = failure.report().into_iter().skip(1).map(|(label, text)| format!("{}: {text}", label.word()).into()).collect();
        StepError {
            kind: StepErrorKind::Call { failure: failure.kind },
            message: format!("{}: {}", failure.kind.words(), failure.message),
            detail,
            may_have_run: failure.may_have_run,
        }
    }
}

/// A line of a step's error. The journal has it as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum StepDetail {
    /// What a workflow within left as it was.
    NotUndone {
        /// The step, and why it was not undone.
        step_and_why: String,
    },
    /// Anything else.
    Text(String),
}

/// How a journal marks [`StepDetail::NotUndone`].
const NOT_UNDONE: &str = "not undone: ";

impl StepDetail {
    /// The text behind the mark, to be changed.
    pub fn text_mut(&mut self) -> &mut String {
        match self {
            StepDetail::NotUndone { step_and_why } => step_and_why,
            StepDetail::Text(text) => text,
        }
    }
}

impl fmt::Display for StepDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepDetail::NotUndone { step_and_why } => write!(f, "{NOT_UNDONE}{step_and_why}"),
            StepDetail::Text(text) => f.write_str(text),
        }
    }
}

impl From<String> for StepDetail {
    fn from(line: String) -> StepDetail {
        match line.strip_prefix(NOT_UNDONE) {
            Some(step_and_why) => StepDetail::NotUndone { step_and_why: step_and_why.to_owned() },
            None => StepDetail::Text(line),
        }
    }
}

impl From<&str> for StepDetail {
    fn from(line: &str) -> StepDetail {
        line.to_owned().into()
    }
}

impl From<StepDetail> for String {
    fn from(detail: StepDetail) -> String {
        detail.to_string()
    }
}

/// Classes of a step's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepErrorKind {
    /// A call was not answered.
    Call {
        /// The class of the call's failure.
        failure: FailureKind,
    },
    /// The tool answered an error of its own.
    ToolError,
    /// The answer is not what `expect` or `result` asks for.
    Expectation,
    /// An expression could not be evaluated.
    Expression,
    /// The step's or the run's time was up.
    Timeout,
    /// A person said no, or nobody could be asked.
    Refused,
    /// A workflow within failed.
    Workflow,
    /// Something is larger or deeper than allowed.
    Limit,
    /// What it did before is not known, and nobody said what to do.
    InDoubt,
    /// The journal could not be written.
    Journal,
}

impl StepErrorKind {
    /// The class of it in the words of workflow files; `None` where they have none.
    pub fn class(self) -> Option<RetryOn> {
        Some(match self {
            StepErrorKind::Call { failure } => match failure {
                FailureKind::NotReady | FailureKind::BreakerOpen | FailureKind::Overloaded => RetryOn::NotReady,
                FailureKind::Transport => RetryOn::Transport,
                FailureKind::Timeout => RetryOn::Timeout,
                FailureKind::Protocol => RetryOn::Protocol,
                FailureKind::Exited => RetryOn::Exited,
                _ => return None,
            },
            StepErrorKind::Timeout => RetryOn::Timeout,
            StepErrorKind::ToolError => RetryOn::ToolError,
            StepErrorKind::Expectation => RetryOn::Expect,
            _ => return None,
        })
    }
}

/// How far the items of a `for_each` step are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// All.
    pub total: u32,
    /// Those that ended, well or not.
    pub done: u32,
    /// Those of them that failed.
    pub failed: u32,
}

/// A step as it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// Its state.
    #[serde(flatten)]
    pub state: StepState,
    /// When it began.
    pub started: Option<Stamp>,
    /// When it ended.
    pub ended: Option<Stamp>,
    /// Attempts so far, over all items.
    pub attempts: u32,
    /// Its items, for `for_each`.
    pub items: Option<Items>,
    /// The resolved arguments (the last item's), at most [`SHOWN_BYTES`]; JSON unless cut.
    pub arguments: Option<Body>,
    /// The result, at most [`SHOWN_BYTES`]; JSON unless cut.
    pub result: Option<Body>,
    /// Whether arguments or result were cut.
    pub cut: bool,
    /// What answered in its place after it failed.
    pub fallback: Option<String>,
    /// Its last calls, at most [`SHOWN_CALLS`].
    pub calls: Vec<CallId>,
}

impl StepView {
    /// How long it took, or has taken until `now`.
    pub fn took(&self, now: Stamp) -> Option<Duration> {
        Some(self.ended.unwrap_or(now).since(self.started?))
    }

    /// About how many bytes its texts take.
    pub fn weight(&self) -> usize {
        size_of::<StepView>() + [&self.arguments, &self.result].into_iter().flatten().map(Body::len).sum::<usize>()
    }

    /// Whether its result was taken from the journal and it was not run this time.
    pub fn from_before(&self) -> bool {
        matches!(self.state, StepState::Ok) && self.started.is_none()
    }
}

/// The first bytes of `body`, and whether there are more.
pub fn shown(body: &Body) -> (Body, bool) {
    if body.len() <= SHOWN_BYTES {
        return (body.clone(), false);
    }
    let text = body.text();
    let mut end = SHOWN_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (Body::from(&text[..end]), true)
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Every step was done or rightly skipped.
    Ok,
    /// It went to its end; steps with `on_error = "continue"` failed.
    Partial,
    /// It failed; nothing was to be undone.
    Failed,
    /// It failed, and everything that was to be undone was.
    Compensated,
    /// It failed, and something that was to be undone was not.
    CompensationFailed,
    /// Its deadline passed.
    TimedOut,
    /// Given up on request.
    Cancelled,
    /// A person said no, or nobody could be asked.
    Refused,
    /// It cannot go on before somebody says what to do with steps in doubt. Not the end: it can be resumed.
    InDoubt,
    /// The workflow or its input is wrong; nothing was done.
    Invalid,
}

impl RunOutcome {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            RunOutcome::Ok => "ok",
            RunOutcome::Partial => "ok, with failures",
            RunOutcome::Failed => "failed",
            RunOutcome::Compensated => "failed and undone",
            RunOutcome::CompensationFailed => "failed and not all undone",
            RunOutcome::TimedOut => "timed out",
            RunOutcome::Cancelled => "cancelled",
            RunOutcome::Refused => "refused",
            RunOutcome::InDoubt => "in doubt",
            RunOutcome::Invalid => "invalid",
        }
    }

    /// The word for programs, as in JSON.
    pub fn key(self) -> &'static str {
        match self {
            RunOutcome::Ok => "ok",
            RunOutcome::Partial => "partial",
            RunOutcome::Failed => "failed",
            RunOutcome::Compensated => "compensated",
            RunOutcome::CompensationFailed => "compensation_failed",
            RunOutcome::TimedOut => "timed_out",
            RunOutcome::Cancelled => "cancelled",
            RunOutcome::Refused => "refused",
            RunOutcome::InDoubt => "in_doubt",
            RunOutcome::Invalid => "invalid",
        }
    }

    /// The outcome of this [`RunOutcome::key`].
    pub fn from_key(key: &str) -> Option<RunOutcome> {
        RunOutcome::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(key)).ok()
    }
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why, unless it went well.
    pub why: Option<String>,
    /// Further lines: what is wrong with the workflow, which steps are in doubt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    /// Every step of the workflow in the order of the file, and how it ended.
    pub steps: Vec<(Arc<str>, Arc<StepView>)>,
    /// The outputs: a JSON object, when the run went to its end. At most what the runner allows, never cut.
    pub output: Option<Body>,
    /// Steps that were undone, in the order in which that was done.
    pub compensated: Vec<String>,
    /// Steps that were to be undone or could have been and were not, and why.
    pub not_compensated: Vec<(String, String)>,
    /// When it began.
    pub started: Stamp,
    /// When it ended.
    pub ended: Stamp,
}

impl RunReport {
    /// How long it took.
    pub fn took(&self) -> Duration {
        self.ended.since(self.started)
    }

    /// The step of this id.
    pub fn step(&self, id: &str) -> Option<&StepView> {
        self.steps.iter().find(|(name, _)| &**name == id).map(|(_, view)| &**view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_sort_by_time_and_are_read_back() {
        let id = RunId::new(0x0190_1234_5678, u128::MAX);
        assert_eq!(id.to_string(), "0190123456787fffbfffffffffffffff");
        assert_eq!(id.unix_ms(), 0x0190_1234_5678);
        assert!(RunId::new(1, u128::MAX) < RunId::new(2, 0));
        assert_ne!(RunId::new(1, 1), RunId::new(1, 2));
        assert_eq!("01901234-5678-7fff-bfff-ffffffffffff".parse(), Ok(id));
        assert_eq!(serde_json::from_str::<RunId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        for wrong in ["", "x", "0190123456787fffbffffffffffffff", "+190123456787fffbfffffffffffffff", "é".repeat(16).as_str()] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn long_bodies_are_cut_between_characters() {
        let long = Body::from("é".repeat(SHOWN_BYTES));
        let (cut, more) = shown(&long);
        assert!(more && cut.len() <= SHOWN_BYTES && cut.text().chars().all(|c| c == 'é'));
        assert!(!shown(&Body::from("{}")).1);
    }
}
