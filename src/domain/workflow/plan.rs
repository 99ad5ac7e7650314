//! The plan of a workflow: the validated, immutable result of parsing its file.
//!
//! Only the parser creates a [`Plan`]. Its guarantees: step ids are unique, needs exist and have no cycles, and every
//! expression compiles and refers only to steps that have settled before it is evaluated.
//!
//! `settings` has the limits, loops, retries and concurrency groups.

mod settings;

use std::{collections::HashMap, ops::Deref, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::settings::{Concurrency, Count, IfBusy, MAX_COUNT, MAX_DURATION, MAX_ROUNDS, Repeat, Retry, RetryOn, TimeLimit};
use super::{
    expression::{Expr, Template, Unevaluated},
    parse::Source,
    problem::{Place, Problem},
    source::Page,
};
use crate::domain::{body::Body, run::WorkflowText};

/// How many steps of a run execute concurrently by default.
pub const MAX_PARALLEL: usize = 8;
/// How many items of a `for_each` execute concurrently by default.
pub const MAX_PARALLEL_ITEMS: usize = 10;
/// Maximum nesting depth of workflows.
pub const MAX_DEPTH: usize = 5;

/// A validated workflow. Its parts are read-only.
#[derive(Clone, Debug)]
pub struct Plan(Parts);

/// The parts of a [`Plan`].
#[derive(Clone, Debug)]
pub struct Parts {
    /// Unique name within a folder, used to run the workflow: `[a-z0-9_-]`.
    pub name: String,
    /// A title for users.
    pub title: Option<String>,
    /// A description.
    pub description: Option<String>,
    /// The author's version.
    pub version: Option<String>,
    /// Whether the gateway offers the workflow as a tool.
    pub expose: bool,
    /// The file as named to the parser.
    pub file: String,
    /// The text of the file. The journal stores it, so that the identical plan can be parsed again.
    pub text: Arc<str>,
    /// JSON Schema (2020-12) of the input; always an object.
    pub input: Body,
    /// The outputs of a run, in file order. If empty, the output is the result of the last step in the file.
    pub output: Vec<(String, Template)>,
    /// The environment variables that expressions may read.
    pub env: Vec<String>,
    /// Deadline of the whole run.
    pub timeout: Option<TimeLimit>,
    /// Maximum number of concurrent steps, at least 1.
    pub max_parallel: Count,
    /// The group of runs of which one is active.
    pub concurrency: Option<Concurrency>,
    /// Default for the steps' `on_error`.
    pub on_error: OnError,
    /// The steps in file order.
    pub steps: Vec<PlanStep>,
    /// Step indices in topological order; ties are in file order.
    pub order: Vec<usize>,
    /// For each step, the steps that need it directly, ascending.
    pub dependents: Vec<Vec<usize>>,
    /// Maps ids to step indices.
    pub names: Arc<HashMap<Arc<str>, usize>>,
}

impl Deref for Plan {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Plan {
    /// Creates a plan from parts that the parser has validated.
    pub(super) fn seal(parts: Parts) -> Plan {
        Plan(parts)
    }

    /// Returns the step with this id.
    pub fn step(&self, id: &str) -> Option<&PlanStep> {
        self.index(id).and_then(|index| self.steps.get(index))
    }

    /// Returns the index of the step with this id.
    pub fn index(&self, id: &str) -> Option<usize> {
        self.names.get(id).copied()
    }

    /// Returns the key of a step's array in the file, and the step's index in it.
    pub fn table_of(&self, step: usize) -> (&'static str, usize) {
        let phase = self.steps.get(step).map_or(Phase::Main, |step| step.phase);
        let before = self.steps.iter().take_while(|other| other.phase != phase).count();
        (phase.key(), step.saturating_sub(before))
    }

    /// Returns for each step the steps that are drawn before it: those that it needs. A step of a later phase that needs none
    /// of its own phase also follows the last steps of the phase before.
    pub fn drawn_needs(&self) -> Vec<Vec<usize>> {
        let mut drawn: Vec<Vec<usize>> = self.steps.iter().map(|step| step.needs.clone()).collect();
        let mut before: Vec<usize> = vec![];
        for phase in Phase::ALL {
            let own: Vec<usize> = (0..self.steps.len()).filter(|step| self.steps[*step].phase == phase).collect();
            let is_own = |step: &usize| self.steps[*step].phase == phase;
            for step in own.iter().filter(|step| !drawn[**step].iter().any(is_own)).copied().collect::<Vec<_>>() {
                drawn[step].extend(&before);
                drawn[step].sort_unstable();
                drawn[step].dedup();
            }
            let is_last = |step: &usize| !self.dependents[*step].iter().any(is_own);
            let last: Vec<usize> = own.into_iter().filter(is_last).collect();
            before = if last.is_empty() { before } else { last };
        }
        drawn
    }

    /// Returns an evaluation error of a run as a problem with its position in the file.
    pub fn problem(&self, step: Option<&str>, error: &Unevaluated) -> Problem {
        let source = Source { file: self.file.clone(), text: self.text.to_string() };
        let page = Page::new(&source);
        let width = self.text.get(error.at..).filter(|rest| rest.starts_with(&error.expression)).map_or(1, |_| error.expression.len());
        page.problem((error.at, error.at + width), step, &error.key, error.message.clone())
    }

    /// Returns the nested workflows, direct and indirect, each once, for storage with the plan.
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

    /// Returns the texts of the workflow and of its nested workflows, its own first.
    pub fn texts(&self) -> Vec<WorkflowText> {
        let text = |plan: &Plan| WorkflowText { name: plan.name.clone(), file: plan.file.clone(), text: plan.text.to_string() };
        let children = self.children();
        std::iter::once(text(self)).chain(children.iter().map(|child| text(child))).collect()
    }
}

/// The part of a run to which a step belongs. The parts run one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The steps of the workflow: `[[step]]`.
    #[default]
    Main,
    /// The steps after a failure and its compensation: `[[on_failure]]`.
    OnFailure,
    /// The steps at the end of every run: `[[finally]]`.
    Finally,
}

impl Phase {
    /// All phases, in the order of a run.
    pub const ALL: [Phase; 3] = [Phase::Main, Phase::OnFailure, Phase::Finally];

    /// Returns the key of the steps in a file.
    pub fn key(self) -> &'static str {
        match self {
            Phase::Main => "step",
            Phase::OnFailure => "on_failure",
            Phase::Finally => "finally",
        }
    }
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// Unique id within the plan: `[A-Za-z_][A-Za-z0-9_]*`.
    pub id: Arc<str>,
    /// A title for users.
    pub title: Option<String>,
    /// The part of the run to which the step belongs.
    pub phase: Phase,
    /// What the step does.
    pub action: Action,
    /// The steps that must have settled before (indices, ascending, no duplicates): those named in `needs` and those
    /// whose results the expressions use.
    pub needs: Vec<usize>,
    /// The step runs only if this is true; otherwise it is skipped.
    pub when: Option<Expr>,
    /// The step runs only if this step was skipped because its `when` is false.
    pub else_of: Option<usize>,
    /// Whether the step is skipped when a step that it needs was skipped.
    pub if_skipped: IfSkipped,
    /// The step runs once per item.
    pub for_each: Option<ForEach>,
    /// The step runs again until a condition is met.
    pub repeat: Option<Repeat>,
    /// Deadline of the whole step including retries; of one item for a `for_each`.
    pub timeout: Option<TimeLimit>,
    /// Retry policy.
    pub retry: Option<Retry>,
    /// Whether the retry policy is that of `[defaults]`: it applies to what is safe to repeat.
    pub retry_by_default: bool,
    /// Whether the author declares that running the step twice does no harm.
    pub idempotent: bool,
    /// The fallbacks, in order, once all attempts have failed.
    pub fallback: Vec<Fallback>,
    /// How long a cached response for the same arguments may be used instead of a call.
    pub cache: Option<Duration>,
    /// Effect of a failure on the run.
    pub on_error: OnError,
    /// The compensating call. Its arguments may use the step's own `result` and `text`.
    pub compensate: Option<Compensate>,
    /// Conditions on the result; if one is false, the step fails. They may use the step's own `result` and `text`.
    pub expect: Vec<Expectation>,
    /// How the response is read.
    pub read_as: ReadAs,
    /// Position in the file.
    pub place: Place,
}

impl PlanStep {
    /// Returns whether the step runs several times, as items: of a `for_each`, or as the rounds of a `repeat`.
    pub fn has_items(&self) -> bool {
        self.for_each.is_some() || self.repeat.is_some()
    }

    /// Returns whether something of the step can be undone: it has a compensating call, or its workflow has such steps.
    pub fn is_undoable(&self) -> bool {
        match &self.action {
            _ if self.compensate.is_some() => true,
            _ if self.fallback.iter().any(|fallback| matches!(fallback, Fallback::Tool { compensate: Some(_), .. })) => true,
            Action::Workflow { plan, .. } => plan.steps.iter().any(PlanStep::is_undoable),
            _ => false,
        }
    }
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Calls a tool.
    Tool(ToolCall),
    /// Computes a value without a call.
    Let {
        /// The value.
        value: Template,
    },
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
    /// Asks the user for approval; a rejection is a failure.
    Approve {
        /// The question, text.
        message: Template,
    },
    /// Asks the user to fill in a form; the entered values are the result.
    Elicit {
        /// The question, text.
        message: Template,
        /// JSON Schema (2020-12) of the form; an object.
        schema: Body,
    },
}

/// The kind of an [`Action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// [`Action::Tool`].
    Tool,
    /// [`Action::Let`].
    Let,
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
    /// Returns the name for users: `tool`, `let`, `workflow`, `prompt`, `resource`, `approve`, `elicit`.
    pub fn word(self) -> &'static str {
        match self {
            ActionKind::Tool => "tool",
            ActionKind::Let => "let",
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
            Action::Let { .. } => ActionKind::Let,
            Action::Workflow { .. } => ActionKind::Workflow,
            Action::Prompt { .. } => ActionKind::Prompt,
            Action::Resource { .. } => ActionKind::Resource,
            Action::Approve { .. } => ActionKind::Approve,
            Action::Elicit { .. } => ActionKind::Elicit,
        }
    }

    /// Returns the subject for users: exposed name of the tool, name of the workflow or prompt, or the value, resource
    /// URI or question as written.
    pub fn subject(&self) -> String {
        match self {
            Action::Tool(call) => call.tool.to_string(),
            Action::Workflow { plan, .. } => plan.name.clone(),
            Action::Prompt { name, .. } => name.clone(),
            Action::Let { value: text }
            | Action::Resource { uri: text, .. }
            | Action::Approve { message: text }
            | Action::Elicit { message: text, .. } => text.written(),
        }
    }
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The tool's exposed name, as in the catalog.
    pub tool: Arc<str>,
    /// Its arguments, an object.
    pub arguments: Template,
    /// Position of the tool's name in the file.
    pub place: Place,
}

/// A call that undoes a step.
#[derive(Clone, Debug)]
pub struct Compensate {
    /// The call.
    pub call: ToolCall,
    /// Retry policy. Default: three attempts for failures other than those of the tool itself.
    pub retry: Option<Retry>,
    /// Deadline of each attempt. Default: that of the step.
    pub timeout: Option<TimeLimit>,
    /// Whether the author declares that making the call twice does no harm.
    pub idempotent: bool,
    /// What is done if the step failed or was cancelled and may have taken effect.
    pub when_in_doubt: WhenInDoubt,
}

impl Deref for Compensate {
    type Target = ToolCall;

    fn deref(&self) -> &ToolCall {
        &self.call
    }
}

/// What is done about a step that did not succeed and may have taken effect, when the run compensates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenInDoubt {
    /// The step is reported as not compensated.
    #[default]
    Report,
    /// The step is compensated. The call has to be harmless if the step had no effect.
    Compensate,
}

impl WhenInDoubt {
    /// All values, with their names in the file.
    pub const ALL: [(WhenInDoubt, &'static str); 2] = [(WhenInDoubt::Report, "report"), (WhenInDoubt::Compensate, "compensate")];
}

/// A loop over items.
#[derive(Clone, Debug)]
pub struct ForEach {
    /// The items; the expression evaluates to a list.
    pub items: Template,
    /// Maximum number of concurrent items. Default: [`MAX_PARALLEL_ITEMS`] for what only reads, else 1.
    pub max_parallel: Option<Count>,
    /// Effect of a failed item: `Fail` starts no further item and fails the step; `Continue` sets its result to
    /// `null`. Never `Compensate`.
    pub on_error: OnError,
}

/// The alternative for a failed step.
#[derive(Clone, Debug)]
pub enum Fallback {
    /// Calls another tool.
    Tool {
        /// The call.
        call: ToolCall,
        /// The call that undoes it. Its arguments may use the step's own `result` and `text`.
        compensate: Option<Compensate>,
    },
    /// Uses a value as the result.
    Value(Template),
}

impl Fallback {
    /// Returns the calls that the fallback may make: its own, then the one that undoes it.
    pub fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        let (call, compensate) = match self {
            Fallback::Tool { call, compensate } => (Some(call), compensate.as_deref()),
            Fallback::Value(_) => (None, None),
        };
        call.into_iter().chain(compensate)
    }
}

/// A condition on the result of a step.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The condition.
    pub that: Expr,
    /// The message if it is false; the expression itself by default.
    pub message: Option<Template>,
}

/// The effect of a failure on the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run fails: no further step is started.
    #[default]
    Fail,
    /// The run continues; dependent steps run and see the outcome.
    Continue,
    /// The run fails, and completed steps are compensated in reverse order.
    Compensate,
}

impl OnError {
    /// All values, with their names in the file.
    pub const ALL: [(OnError, &'static str); 3] =
        [(OnError::Fail, "fail"), (OnError::Continue, "continue"), (OnError::Compensate, "compensate")];

    /// Returns the effect in a workflow whose failure makes the enclosing run compensate (`compensates`).
    pub fn inherited(self, compensates: bool) -> OnError {
        if compensates && self == OnError::Fail { OnError::Compensate } else { self }
    }
}

/// The effect of a skipped step on the steps that need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfSkipped {
    /// They are skipped too.
    #[default]
    Skip,
    /// They run.
    Run,
}

/// How a response is read into `result`. `text` is always the text of its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadAs {
    /// `structuredContent` if present, else the text parsed as JSON, else the text itself.
    #[default]
    Auto,
    /// The text parsed as JSON; other text is a failure.
    Json,
    /// The text.
    Text,
    /// `structuredContent`; a response without it is a failure.
    Structured,
}

impl ReadAs {
    /// All values, with their names in the file.
    pub const ALL: [(ReadAs, &'static str); 4] =
        [(ReadAs::Auto, "auto"), (ReadAs::Json, "json"), (ReadAs::Text, "text"), (ReadAs::Structured, "structured")];
}
