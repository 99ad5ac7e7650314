//! What a workflow file becomes: a plan that cannot be wrong.
//!
//! Only the parser makes a [`Plan`], and nobody can change one: its steps' ids are unique, what a step needs
//! exists and leads back to no circle, and every expression compiles and names only steps that have settled
//! before it is evaluated.

use std::{collections::HashMap, ops::Deref, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    expression::{Expr, Template, Unevaluated},
    parse::Source,
    problem::{Place, Problem},
    source::Page,
};
use crate::domain::body::Body;

/// How many steps of a run are under way at once when the file does not say.
pub const MAX_PARALLEL: usize = 8;
/// How many items of a `for_each` are under way at once when the file does not say.
pub const MAX_PARALLEL_ITEMS: usize = 10;
/// How deep workflows may call workflows.
pub const MAX_DEPTH: usize = 5;

/// A checked workflow. Its parts can be read and not changed.
#[derive(Clone, Debug)]
pub struct Plan(Parts);

/// The parts of a [`Plan`].
#[derive(Clone, Debug)]
pub struct Parts {
    /// Its name, by which it is run: `[a-z0-9_-]`, unique in a folder.
    pub name: String,
    /// A title for people.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// The author's version.
    pub version: Option<String>,
    /// The file as it was named to the parser.
    pub file: String,
    /// The file's text: what a journal keeps so that the very same plan can be parsed again.
    pub text: Arc<str>,
    /// JSON Schema (2020-12) of the input, always of an object.
    pub input: Body,
    /// What a run gives back, in the order of the file. Empty: the result of the last step of the file.
    pub output: Vec<(String, Template)>,
    /// The environment variables that expressions may read.
    pub env: Vec<String>,
    /// Deadline of a whole run.
    pub timeout: Option<Duration>,
    /// How many steps may be under way at once, from 1.
    pub max_parallel: usize,
    /// What a failed step means when it does not say so itself.
    pub on_error: OnError,
    /// The steps in the order of the file.
    pub steps: Vec<PlanStep>,
    /// Indices of the steps in an order in which each comes after all that it needs; that of the file where
    /// there is a choice.
    pub order: Vec<usize>,
    /// For each step the steps that need it directly, ascending.
    pub dependents: Vec<Vec<usize>>,
    /// The index of each id.
    pub names: Arc<HashMap<Arc<str>, usize>>,
}

impl Deref for Plan {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Plan {
    /// Seals what the parser has checked.
    pub(super) fn seal(parts: Parts) -> Plan {
        Plan(parts)
    }

    /// The step of that id.
    pub fn step(&self, id: &str) -> Option<&PlanStep> {
        self.index(id).and_then(|index| self.steps.get(index))
    }

    /// The index of the step of that id.
    pub fn index(&self, id: &str) -> Option<usize> {
        self.names.get(id).copied()
    }

    /// An expression that failed in a run as a problem with its place in the file.
    pub fn problem(&self, step: Option<&str>, error: &Unevaluated) -> Problem {
        let source = Source { file: self.file.clone(), text: self.text.to_string() };
        let page = Page::new(&source);
        let width = self.text.get(error.at..).filter(|rest| rest.starts_with(&error.expression)).map_or(1, |_| error.expression.len());
        page.problem((error.at, error.at + width), step, &error.key, error.message.clone())
    }

    /// The workflows that it calls, directly or through others, each once: to be kept with it.
    pub fn children(&self) -> Vec<Arc<Plan>> {
        let mut found: Vec<Arc<Plan>> = vec![];
        for step in &self.steps {
            let Action::Workflow { plan, .. } = &step.action else { continue };
            for child in plan.children().into_iter().chain([plan.clone()]) {
                if !found.iter().any(|known| known.name == child.name) {
                    found.push(child);
                }
            }
        }
        found
    }
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// Its id, unique in the plan: `[A-Za-z_][A-Za-z0-9_]*`.
    pub id: Arc<str>,
    /// A title for people.
    pub title: Option<String>,
    /// What it does.
    pub action: Action,
    /// The steps (indices, ascending, no duplicates) that must have settled before: those that the file
    /// names and those whose results the expressions use.
    pub needs: Vec<usize>,
    /// Runs only if this is true; otherwise it is skipped.
    pub when: Option<Expr>,
    /// What becomes of it when a step that it needs was skipped.
    pub if_skipped: IfSkipped,
    /// Runs once for each item.
    pub for_each: Option<ForEach>,
    /// Deadline of the step as a whole, its retries included; of one item for a `for_each`.
    pub timeout: Option<Duration>,
    /// Whether it is tried again.
    pub retry: Option<Retry>,
    /// Whether the author vouches that running it twice does no harm.
    pub idempotent: bool,
    /// What is tried, in order, when it has failed for good.
    pub fallback: Vec<Fallback>,
    /// How long an earlier answer to the same arguments may be used instead of a call.
    pub cache: Option<Duration>,
    /// What its failure means.
    pub on_error: OnError,
    /// The call that undoes it. Its arguments see the step's own `result` and `text`.
    pub compensate: Option<ToolCall>,
    /// What must hold of its result, else it has failed. They see the step's own `result` and `text`.
    pub expect: Vec<Expectation>,
    /// How the answer is read.
    pub read_as: ReadAs,
    /// Where it stands in the file.
    pub place: Place,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Calls a tool.
    Tool(ToolCall),
    /// Runs another workflow; its outputs are the result.
    Workflow {
        /// Its plan.
        plan: Arc<Plan>,
        /// Its input, an object.
        input: Template,
    },
    /// Reads a prompt.
    Prompt {
        /// The server's key in the configuration.
        server: String,
        /// The prompt's name.
        name: String,
        /// Its arguments, an object of strings.
        arguments: Template,
    },
    /// Reads a resource.
    Resource {
        /// The server's key in the configuration.
        server: String,
        /// The resource, text.
        uri: Template,
    },
    /// Asks the person for a yes or no; a no is a failure.
    Approve {
        /// The question, text.
        message: Template,
    },
    /// Asks the person to fill a form; what was entered is the result.
    Elicit {
        /// The question, text.
        message: Template,
        /// JSON Schema (2020-12) of what is asked for, an object.
        schema: Body,
    },
}

/// Which [`Action`] a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// [`Action::Tool`].
    Tool,
    /// [`Action::Workflow`].
    Workflow,
    /// [`Action::Prompt`].
    Prompt,
    /// [`Action::Resource`].
    Resource,
    /// [`Action::Approve`].
    Approve,
    /// [`Action::Elicit`].
    Elicit,
}

impl ActionKind {
    /// The word for people: `tool`, `workflow`, `prompt`, `resource`, `approve`, `elicit`.
    pub fn word(self) -> &'static str {
        match self {
            ActionKind::Tool => "tool",
            ActionKind::Workflow => "workflow",
            ActionKind::Prompt => "prompt",
            ActionKind::Resource => "resource",
            ActionKind::Approve => "approve",
            ActionKind::Elicit => "elicit",
        }
    }
}

impl Action {
    /// Which action it is.
    pub fn kind(&self) -> ActionKind {
        match self {
            Action::Tool(_) => ActionKind::Tool,
            Action::Workflow { .. } => ActionKind::Workflow,
            Action::Prompt { .. } => ActionKind::Prompt,
            Action::Resource { .. } => ActionKind::Resource,
            Action::Approve { .. } => ActionKind::Approve,
            Action::Elicit { .. } => ActionKind::Elicit,
        }
    }

    /// What is called, for people: the tool's exposed name, the workflow's or prompt's name, the address of a
    /// resource and the question as they stand in the file.
    pub fn subject(&self) -> String {
        match self {
            Action::Tool(call) => call.tool.to_string(),
            Action::Workflow { plan, .. } => plan.name.clone(),
            Action::Prompt { name, .. } => name.clone(),
            Action::Resource { uri: text, .. } | Action::Approve { message: text } | Action::Elicit { message: text, .. } => text.written(),
        }
    }
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The tool's exposed name, as the catalog has it.
    pub tool: Arc<str>,
    /// Its arguments, an object.
    pub arguments: Template,
    /// Where the tool's name stands in the file.
    pub place: Place,
}

/// A loop over items.
#[derive(Clone, Debug)]
pub struct ForEach {
    /// The items; evaluates to a list.
    pub items: Template,
    /// How many may be under way at once, from 1.
    pub max_parallel: usize,
    /// What a failed item means: `Fail` starts no further item and fails the step, `Continue` puts `null`
    /// in the place of its result. Never `Compensate`.
    pub on_error: OnError,
}

/// When a step is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// How often it is tried at most, the first time included; from 1.
    pub attempts: u32,
    /// The wait before the second attempt.
    pub backoff: Duration,
    /// What each further wait is longer by, at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max_backoff: Duration,
    /// Whether a wait is drawn between half and whole.
    pub jitter: bool,
    /// Which failures are worth another attempt. Empty: all but those that would fail again
    /// ([`RetryOn::default_set`]).
    pub on: Vec<RetryOn>,
}

impl Retry {
    /// The wait after the `attempt`th attempt (from 1) has failed. `draw` is a random number from 0 to 1.
    pub fn delay(&self, attempt: u32, draw: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = (self.backoff.as_secs_f64() * self.factor.powi(exponent)).min(self.max_backoff.as_secs_f64());
        let share = if self.jitter { 0.5 + draw.clamp(0.0, 1.0) / 2.0 } else { 1.0 };
        Duration::try_from_secs_f64(seconds * share).unwrap_or(self.max_backoff)
    }

    /// The failures that are worth another attempt.
    pub fn causes(&self) -> &[RetryOn] {
        if self.on.is_empty() { RetryOn::default_set() } else { &self.on }
    }
}

/// A class of failure that a step may be tried again after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// The server was not ready.
    NotReady,
    /// The connection broke or could not be made.
    Transport,
    /// The deadline of the attempt passed.
    Timeout,
    /// The server answered a JSON-RPC error.
    Protocol,
    /// The server's process ended.
    Exited,
    /// The tool answered `isError: true`.
    ToolError,
    /// An expectation of the step did not hold.
    Expect,
}

impl RetryOn {
    /// All, with the words that the file has for them.
    pub const ALL: [(RetryOn, &'static str); 7] = [
        (RetryOn::NotReady, "not_ready"),
        (RetryOn::Transport, "transport"),
        (RetryOn::Timeout, "timeout"),
        (RetryOn::Protocol, "protocol"),
        (RetryOn::Exited, "exited"),
        (RetryOn::ToolError, "tool_error"),
        (RetryOn::Expect, "expect"),
    ];

    /// Those that are retried when the file does not say: what another attempt may well mend.
    pub fn default_set() -> &'static [RetryOn] {
        &[RetryOn::NotReady, RetryOn::Transport, RetryOn::Timeout, RetryOn::Protocol, RetryOn::Exited]
    }
}

/// What is done instead of a step that has failed.
#[derive(Clone, Debug)]
pub enum Fallback {
    /// Calls another tool.
    Tool(ToolCall),
    /// Takes a value for the result.
    Value(Template),
}

/// Something that must hold of a step's result.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// What must be true.
    pub that: Expr,
    /// What is said when it is not; the expression itself when the file gives none.
    pub message: Option<Template>,
}

/// What a failure means for the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run has failed: nothing further is started.
    #[default]
    Fail,
    /// The run goes on; steps that need it run and see its outcome.
    Continue,
    /// The run has failed, and what was done is undone in reverse order.
    Compensate,
}

impl OnError {
    /// All, with the words that the file has for them.
    pub const ALL: [(OnError, &'static str); 3] =
        [(OnError::Fail, "fail"), (OnError::Continue, "continue"), (OnError::Compensate, "compensate")];
}

/// What becomes of a step when one that it needs was skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfSkipped {
    /// It is skipped too.
    #[default]
    Skip,
    /// It runs.
    Run,
}

/// How an answer is read into `result`. `text` is always the text of its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadAs {
    /// `structuredContent` if there is some, else the text parsed as JSON, else the text itself.
    #[default]
    Auto,
    /// The text parsed as JSON; text that is no JSON is a failure.
    Json,
    /// The text.
    Text,
    /// `structuredContent`; an answer without it is a failure.
    Structured,
}

impl ReadAs {
    /// All, with the words that the file has for them.
    pub const ALL: [(ReadAs, &'static str); 4] =
        [(ReadAs::Auto, "auto"), (ReadAs::Json, "json"), (ReadAs::Text, "text"), (ReadAs::Structured, "structured")];
}
