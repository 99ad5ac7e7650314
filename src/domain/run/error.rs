//! Errors of steps.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{
    call::{Failure, FailureKind},
    workflow::plan::RetryOn,
};

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
