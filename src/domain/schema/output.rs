//! Checks the structured content of results against output schemas (MCP 2025-06-18, server/tools, "Output Schema": clients should
//! validate it).

use serde_json::Value;

use super::{Checker, TooDear, Violation};
use crate::domain::{body::Body, time::size};

/// Results longer than this, in bytes, are not checked: as values they take many times that.
pub const CHECKED: usize = 32 << 20;

/// Why structured content was not checked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotChecked {
    /// Longer than [`CHECKED`].
    #[error("not checked: longer than {}", size(CHECKED as u64))]
    Long,
    /// The schema cannot be used.
    #[error("not checked: {0}")]
    Schema(String),
    /// The check would take too long.
    #[error("not checked: {0}")]
    TooDear(TooDear),
}

/// How thoroughly a value is checked.
pub type Check = fn(&Checker, &Value) -> Result<Vec<Violation>, TooDear>;

/// Returns the violations in the structured content of a `CallToolResult`, each with its place.
pub fn violations(result: &Body, checker: &Checker, check: Check) -> Result<Vec<String>, NotChecked> {
    if result.len() > CHECKED {
        return Err(NotChecked::Long);
    }
    let value = result.value().unwrap_or_default();
    let Some(content) = value.get("structuredContent") else {
        return Ok(vec!["structuredContent is missing, although the tool declares an output schema".into()]);
    };
    match (&checker.problem, check(checker, content)) {
        (Some(problem), _) => Err(NotChecked::Schema(problem.clone())),
        (None, Err(dear)) => Err(NotChecked::TooDear(dear)),
        (None, Ok(wrong)) => Ok(wrong.iter().map(ToString::to_string).collect()),
    }
}
