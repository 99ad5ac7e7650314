//! Results: of a step or item, and of one of its attempts.

use crate::domain::{
    body::Body,
    journal::Substitute,
    run::{StepError, StepErrorKind},
    workflow::expression::Data,
};

/// The result of a step or item.
#[derive(Debug)]
pub enum StepResult {
    /// It succeeded.
    Done(Answered),
    /// It failed finally.
    Failed(StepError),
    /// It was cancelled, with the reason and whether it may have run.
    Cancelled(StepError),
}

/// Returns the error of a cancellation for the reason `why`; `ran` says whether the request may have run.
pub fn cancelled(why: impl Into<String>, ran: bool) -> StepError {
    StepError { may_have_run: ran, ..StepError::new(StepErrorKind::Refused, why) }
}

/// The response of a step.
#[derive(Clone, Debug)]
pub struct Answered {
    /// `result`.
    pub result: Data,
    /// `result` as JSON text.
    pub json: Body,
    /// `text`.
    pub text: String,
    /// The fallback that answered, if one did.
    pub fallback: Option<Substitute>,
    /// Whether a fallback value answered, so that nothing ran.
    pub nothing_done: bool,
    /// Whether a failed attempt before the fallback may have run.
    pub in_doubt: bool,
    /// Index of the fallback whose call answered.
    pub answered_by: Option<u32>,
    /// Whether the request may be sent again.
    pub repeatable: bool,
}

impl Answered {
    /// Creates the response of the step itself.
    pub fn new(result: Data, text: String) -> Answered {
        Answered {
            json: result.body(),
            result,
            text,
            fallback: None,
            nothing_done: false,
            in_doubt: false,
            answered_by: None,
            repeatable: false,
        }
    }
}

/// The result of one attempt.
#[derive(Debug)]
pub enum Try {
    /// It succeeded.
    Done(Answered),
    /// It failed; the flag says whether the request may be sent again.
    Failed(StepError, bool),
    /// It was cancelled.
    Cancelled(StepError),
}

impl Try {
    pub(super) fn repeatable(self, repeatable: bool) -> Try {
        match self {
            Try::Failed(error, _) => Try::Failed(error, repeatable),
            other => other,
        }
    }
}
