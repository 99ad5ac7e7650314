//! Workflow runs: ids, step states and reports.
//!
//! Plain data created by the runner and shared by events, journal, console and CLI.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use super::{
    body::Body,
    call::{Failure, FailureKind, Origin},
    id::CallId,
    time::Stamp,
    workflow::plan::{Plan, RetryOn},
};

/// Bytes of arguments and of the result per step in an event or report.
pub const SHOWN_BYTES: usize = 64 << 10;

/// Number of recorded calls per step.
pub const SHOWN_CALLS: usize = 16;

/// Number of failed items per step in an event or report.
pub const SHOWN_ITEMS: usize = 100;

/// The id of a run, ordered by time: a UUID of version 7 (RFC 9562, section 5.7), also used as trace id.
///
/// Written as 32 hexadecimal digits; parsed with or without hyphens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(u128);

impl RunId {
    /// Creates the id of a run that starts at `unix_ms`; `random` makes it unique.
    pub fn new(unix_ms: u64, random: u128) -> RunId {
        let time = (u128::from(unix_ms) & 0xffff_ffff_ffff) << 80;
        let first = (random >> 62 & 0xfff) << 64;
        let second = random & 0x3fff_ffff_ffff_ffff;
        RunId(time | 0x7 << 76 | first | 0b10 << 62 | second)
    }

    /// Returns the start time in milliseconds since the Unix epoch.
    pub fn unix_ms(self) -> u64 {
        u64::try_from(self.0 >> 80).unwrap_or_default()
    }

    /// Returns a short form that distinguishes the runs on a screen: the last eight digits, which are random; the
    /// first ones encode the time.
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
        let invalid = || format!("{text:?} is not a run id: expected 32 hexadecimal digits");
        if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        u128::from_str_radix(&digits, 16).map(RunId).map_err(|_| invalid())
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

/// The position of a call within a run, so that views can group calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStep {
    /// The run.
    pub run: RunId,
    /// The step's path: its id after those of the enclosing steps (`outer/inner`, `each[3]/inner`).
    pub step: Arc<str>,
    /// Index of the `for_each` item, from 0.
    pub item: Option<u32>,
    /// The purpose of the call.
    pub purpose: Purpose,
    /// Whether the step repeats a failed call by its own `retry`. The engine then makes one attempt, so that `retry = 3` means
    /// three attempts in all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retries: bool,
}

impl RunStep {
    /// Returns the idempotency key of the step's calls, 32 hexadecimal digits: the first half of a SHA-256 hash over run, step,
    /// item and purpose. It is the same for every attempt, also after the process was killed and the run resumed, so that a
    /// server that knows the key does the work once.
    pub fn idempotency_key(&self) -> String {
        let mut hash = Sha256::new();
        let item = self.item.map(|item| item.to_string()).unwrap_or_default();
        // No part contains a line feed, so different parts are different texts.
        hash.update(format!("{}\n{}\n{item}\n{}", self.run, self.step, self.purpose.word()));
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The purpose of a step's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The step itself.
    Step,
    /// A fallback after the step failed.
    Fallback,
    /// Compensation of the step.
    Compensation,
}

impl Purpose {
    /// Returns the name for users.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Step => "step",
            Purpose::Fallback => "fallback",
            Purpose::Compensation => "compensation",
        }
    }
}

/// The request for a run. Self-contained, so that it can be journaled and sent over a wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The workflow's name.
    pub workflow: Arc<str>,
    /// The texts of the workflow and its nested workflows; the workflow's own is the first.
    pub sources: Arc<[WorkflowText]>,
    /// The input: a JSON object.
    pub input: Body,
    /// The origin of the request.
    pub origin: Origin,
    /// Deadline of the whole run, overriding the workflow's.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// Step settings changed for this run (`--set`).
    #[serde(default)]
    pub set: Vec<Setting>,
    /// Predefined answers to `approve` and `elicit` steps, and resolutions of in-doubt steps.
    #[serde(default)]
    pub answers: Vec<(String, StepAnswer)>,
    /// Whether questions without a predefined answer are put to the user; otherwise they are refused.
    #[serde(default)]
    pub ask: bool,
    /// Whether a question that is neither answered nor put to the user suspends the run; otherwise it is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
    /// Results of an earlier run to reuse, up to a step.
    #[serde(default)]
    pub from: Option<RunFrom>,
    /// Environment variables that override those of the process. For workflow tests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

impl RunSpec {
    /// Creates the request for a run without overrides: no deadline, settings or answers of its own, nothing asked and
    /// nothing reused. Callers change single fields with the struct update syntax.
    pub fn new(workflow: &str, sources: impl Into<Arc<[WorkflowText]>>, input: Body, origin: Origin) -> RunSpec {
        RunSpec {
            workflow: workflow.into(),
            sources: sources.into(),
            input,
            origin,
            timeout: None,
            set: vec![],
            answers: vec![],
            ask: false,
            wait: false,
            from: None,
            env: BTreeMap::new(),
        }
    }

    /// Creates the request for a run of a plan, with all its sources, so that a journal can store it. `name` is the
    /// workflow name of the run.
    pub fn of_plan(name: &str, plan: &Plan, input: Body, origin: Origin) -> RunSpec {
        RunSpec::new(name, plan.texts(), input, origin)
    }
}

/// The text of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowText {
    /// Its name.
    pub name: String,
    /// File name, for errors.
    pub file: String,
    /// The text.
    pub text: String,
}

/// A step setting changed for one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The step's path.
    pub step: String,
    /// The change.
    #[serde(flatten)]
    pub change: Change,
}

/// A change of a step setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Its `timeout`.
    Timeout {
        /// The new timeout.
        limit: Duration,
    },
    /// Its `retry.attempts`.
    Attempts {
        /// Maximum number of attempts, from 1.
        attempts: u32,
    },
}

/// A predefined answer or resolution for a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum StepAnswer {
    /// An `approve` step is approved.
    Approve,
    /// An `approve` or `elicit` step is declined.
    Decline,
    /// The content for an `elicit` step.
    Content {
        /// A JSON object.
        content: Body,
    },
    /// Repeats an in-doubt step.
    Repeat,
    /// Counts an in-doubt step as done.
    Skip {
        /// The result of the step, JSON.
        result: Body,
    },
}

/// A run that reuses results of an earlier run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFrom {
    /// The earlier run.
    pub run: RunId,
    /// The first step that runs again; the steps that need it run again too.
    pub step: String,
}

/// The structure of a plan, for views.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// The workflow's name.
    pub name: Arc<str>,
    /// Its steps, in file order.
    pub steps: Vec<StepSummary>,
    /// Edges (needed, needing), as indices into `steps`.
    pub edges: Vec<(u32, u32)>,
}

/// A step of a plan, for views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSummary {
    /// Its id.
    pub id: Arc<str>,
    /// The action: the tool's exposed name, `workflow NAME`, `prompt NAME`, `read URI`, `approve`, `elicit`.
    pub what: String,
    /// Whether it runs once per item.
    pub for_each: bool,
    /// Whether it has a compensating call.
    pub compensates: bool,
}

/// The state of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StepState {
    /// A step that it needs has not ended.
    #[default]
    Pending,
    /// Started, and waiting for a user's answer or its next attempt.
    Waiting {
        /// What it waits for.
        what: String,
    },
    /// Running.
    Running,
    /// Succeeded.
    Ok,
    /// Skipped.
    Skipped {
        /// The reason.
        why: String,
    },
    /// Failed, after all attempts.
    Failed {
        /// The reason.
        error: Arc<StepError>,
    },
    /// Cancelled on request.
    Cancelled {
        /// By whom and why.
        why: String,
    },
    /// Succeeded and is being compensated.
    Compensating,
    /// Succeeded and was compensated.
    Compensated,
    /// Succeeded, but its compensation failed.
    CompensationFailed {
        /// The reason.
        error: Arc<StepError>,
    },
}

impl StepState {
    /// Returns the name for users and programs.
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

    /// Returns whether any part of the step is active.
    pub fn active(&self) -> bool {
        matches!(self, StepState::Waiting { .. } | StepState::Running | StepState::Compensating)
    }

    /// Returns the reason for the state, if there is one.
    pub fn why(&self) -> Option<&str> {
        match self {
            StepState::Waiting { what } => Some(what),
            StepState::Skipped { why } | StepState::Cancelled { why } => Some(why),
            StepState::Failed { error } | StepState::CompensationFailed { error } => Some(&error.message),
            _ => None,
        }
    }
}

/// The error of a failed step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepError {
    /// The kind, for programs.
    pub kind: StepErrorKind,
    /// The message, one line.
    pub message: String,
    /// Further lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<StepDetail>,
    /// Whether the step may still have taken effect.
    #[serde(default)]
    pub may_have_run: bool,
}

impl StepError {
    /// Creates an error of a step that had no effect.
    pub fn new(kind: StepErrorKind, message: impl Into<String>) -> StepError {
        StepError { kind, message: message.into(), detail: vec![], may_have_run: false }
    }

    /// Creates the error of a failed call.
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

/// A line of a step error. Stored as text in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum StepDetail {
    /// A step of a nested workflow that was not compensated.
    NotUndone {
        /// The step, and why it was not compensated.
        step_and_why: String,
    },
    /// Anything else.
    Text(String),
}

/// The journal prefix of [`StepDetail::NotUndone`].
const NOT_UNDONE: &str = "not undone: ";

impl StepDetail {
    /// Returns the text without the prefix, for redaction.
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

/// The kinds of step errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepErrorKind {
    /// A call failed.
    Call {
        /// The kind of the call's failure.
        failure: FailureKind,
    },
    /// The tool responded with an error.
    ToolError,
    /// The response does not meet `expect` or `result`.
    Expectation,
    /// An expression could not be evaluated.
    Expression,
    /// The step or the run exceeded its deadline.
    Timeout,
    /// A user rejected the request, or no user could be asked.
    Refused,
    /// A nested workflow failed.
    Workflow,
    /// A value is larger or nested deeper than allowed.
    Limit,
    /// The step is in doubt and has no resolution.
    InDoubt,
    /// The journal could not be written.
    Journal,
}

impl StepErrorKind {
    /// Returns the name of the kind for expressions and programs.
    pub fn key(self) -> &'static str {
        match (self.class(), self) {
            (Some(class), _) => RetryOn::ALL.iter().find(|(known, _)| *known == class).map_or("", |(_, word)| word),
            (None, StepErrorKind::Call { failure }) => failure.key(),
            (None, StepErrorKind::Expression) => "expression",
            (None, StepErrorKind::Refused) => "refused",
            (None, StepErrorKind::Workflow) => "workflow",
            (None, StepErrorKind::Limit) => "limit",
            (None, StepErrorKind::InDoubt) => "in_doubt",
            (None, _) => "journal",
        }
    }

    /// Returns the retry class used in workflow files; `None` if there is none.
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

/// Progress of the items of a `for_each` step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// Total number.
    pub total: u32,
    /// Ended items, successful or not.
    pub done: u32,
    /// Failed items among them.
    pub failed: u32,
}

/// The current state of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// Its state.
    #[serde(flatten)]
    pub state: StepState,
    /// Start time.
    pub started: Option<Stamp>,
    /// End time.
    pub ended: Option<Stamp>,
    /// Number of attempts so far, over all items.
    pub attempts: u32,
    /// Progress of its items, for `for_each`.
    pub items: Option<Items>,
    /// The evaluated arguments (of the last item), at most [`SHOWN_BYTES`]; JSON unless cut.
    pub arguments: Option<Body>,
    /// The result, at most [`SHOWN_BYTES`]; JSON unless cut.
    pub result: Option<Body>,
    /// Whether arguments or result were cut.
    pub cut: bool,
    /// The fallback that provided the result after the step failed.
    pub fallback: Option<String>,
    /// Its last calls, at most [`SHOWN_CALLS`].
    pub calls: Vec<CallId>,
    /// The first items that failed, at most [`SHOWN_ITEMS`]. Set when the step has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_items: Vec<FailedItem>,
}

/// An item of a `for_each` step that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedItem {
    /// Its index, from 0.
    pub item: u32,
    /// Why it failed.
    pub error: Arc<StepError>,
}

impl StepView {
    /// Returns the duration, up to `now` if the step has not ended.
    pub fn took(&self, now: Stamp) -> Option<Duration> {
        Some(self.ended.unwrap_or(now).since(self.started?))
    }

    /// Returns the approximate size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<StepView>() + [&self.arguments, &self.result].into_iter().flatten().map(Body::len).sum::<usize>()
    }

    /// Returns whether the result was restored from the journal instead of running the step.
    pub fn from_before(&self) -> bool {
        matches!(self.state, StepState::Ok) && self.started.is_none()
    }
}

/// Returns the first bytes of `body`, and whether there are more.
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

/// The outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Every step succeeded or was skipped by its condition.
    Ok,
    /// The run completed; steps with `on_error = "continue"` failed.
    Partial,
    /// The run failed; nothing had to be compensated.
    Failed,
    /// The run failed, and everything that had to be compensated was.
    Compensated,
    /// The run failed, and some compensation failed.
    CompensationFailed,
    /// The run exceeded its deadline.
    TimedOut,
    /// Cancelled on request.
    Cancelled,
    /// A user rejected a request, or no user could be asked.
    Refused,
    /// In-doubt steps need a resolution before the run can continue. Not final: the run can be resumed.
    InDoubt,
    /// Steps wait for an answer. Not final: the run is resumed with the answers.
    Waiting,
    /// The workflow or its input is invalid; nothing was done.
    Invalid,
}

impl RunOutcome {
    /// Returns the name for users.
    pub fn words(self) -> &'static str {
        match self {
            RunOutcome::Ok => "ok",
            RunOutcome::Partial => "ok, with failures",
            RunOutcome::Failed => "failed",
            RunOutcome::Compensated => "failed and compensated",
            RunOutcome::CompensationFailed => "failed, compensation incomplete",
            RunOutcome::TimedOut => "timed out",
            RunOutcome::Cancelled => "cancelled",
            RunOutcome::Refused => "refused",
            RunOutcome::InDoubt => "in doubt",
            RunOutcome::Waiting => "waiting for an answer",
            RunOutcome::Invalid => "invalid",
        }
    }

    /// Returns the key for programs, as in JSON.
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
            RunOutcome::Waiting => "waiting",
            RunOutcome::Invalid => "invalid",
        }
    }

    /// Returns the outcome with this [`RunOutcome::key`].
    pub fn from_key(key: &str) -> Option<RunOutcome> {
        RunOutcome::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(key)).ok()
    }
}

/// The report of an ended run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The outcome.
    pub outcome: RunOutcome,
    /// The reason, unless the run succeeded.
    pub why: Option<String>,
    /// Further lines: problems of the workflow, in-doubt steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    /// Every step of the workflow with its final state, in file order.
    pub steps: Vec<(Arc<str>, Arc<StepView>)>,
    /// The outputs, a JSON object, if the run completed. Limited by the runner, never cut.
    pub output: Option<Body>,
    /// Compensated steps, in order of their compensation.
    pub compensated: Vec<String>,
    /// Steps that were not compensated although they had to be or could have been, and why.
    pub not_compensated: Vec<(String, String)>,
    /// The questions that a waiting run asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<RunQuestion>,
    /// Start time.
    pub started: Stamp,
    /// End time.
    pub ended: Stamp,
}

/// A question of a step that has no answer yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunQuestion {
    /// The step's path.
    pub step: Arc<str>,
    /// Index of the item, from 0.
    pub item: Option<u32>,
    /// The text for the user.
    pub message: String,
    /// The schema of the form; `None` for an approval.
    pub schema: Option<Body>,
}

impl RunReport {
    /// Returns the duration.
    pub fn took(&self) -> Duration {
        self.ended.since(self.started)
    }

    /// Returns the step with this id.
    pub fn step(&self, id: &str) -> Option<&StepView> {
        self.steps.iter().find(|(name, _)| &**name == id).map(|(_, view)| &**view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotency_keys_differ_by_run_step_item_and_purpose() {
        let step = |run: u128, step: &str, item, purpose| RunStep {
            run: RunId::new(1_700_000_000_000, run),
            step: step.into(),
            item,
            purpose,
            retries: false,
        };
        let first = step(1, "a/b", Some(1), Purpose::Step);
        let others = [
            step(2, "a/b", Some(1), Purpose::Step),
            step(1, "a/c", Some(1), Purpose::Step),
            step(1, "a/b", Some(11), Purpose::Step),
            step(1, "a/b", None, Purpose::Step),
            step(1, "a/b", Some(1), Purpose::Compensation),
        ];
        assert_eq!(first.idempotency_key(), first.clone().idempotency_key());
        assert_eq!(first.idempotency_key().len(), 32);
        assert!(others.iter().all(|other| other.idempotency_key() != first.idempotency_key()));
    }

    #[test]
    fn ids_are_version_7_sort_by_time_and_round_trip() {
        let id = RunId::new(0x0190_1234_5678, u128::MAX);
        assert_eq!(id.to_string(), "0190123456787fffbfffffffffffffff");
        assert_eq!(id.unix_ms(), 0x0190_1234_5678);
        assert!(RunId::new(1, u128::MAX) < RunId::new(2, 0));
        assert_ne!(RunId::new(1, 1), RunId::new(1, 2));
        assert_eq!("01901234-5678-7fff-bfff-ffffffffffff".parse(), Ok(id));
        assert_eq!(serde_json::from_str::<RunId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        for invalid in ["", "x", "0190123456787fffbffffffffffffff", "+190123456787fffbfffffffffffffff", "é".repeat(16).as_str()] {
            assert!(invalid.parse::<RunId>().is_err(), "{invalid}");
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
