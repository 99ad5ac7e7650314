//! Exit codes: the table shared by the help, the manual page and the code.

use crate::domain::{
    call::{Failure, FailureKind, Outcome},
    run::RunOutcome,
};

/// Success.
pub const OK: u8 = 0;
/// The tool returned an error.
pub const TOOL_ERROR: u8 = 1;
/// The command line, the arguments or the configuration are invalid. The same code as clap's.
pub const USAGE: u8 = 2;
/// The server cannot be used.
pub const NOT_READY: u8 = 3;
/// The call or the output failed.
pub const FAILED: u8 = 4;
/// A time limit expired.
pub const TIMEOUT: u8 = 5;
/// Refused on this side.
pub const REFUSED: u8 = 6;
/// Some servers failed, others did not.
pub const PARTIAL: u8 = 7;
/// A workflow failed and was compensated.
pub const COMPENSATED: u8 = 8;
/// A workflow failed, and its compensation failed.
pub const COMPENSATION_FAILED: u8 = 9;
/// An interrupted run has in-doubt steps.
pub const IN_DOUBT: u8 = 10;
/// Steps of a run wait for an answer.
pub const WAITING: u8 = 11;
/// Definitions of servers changed.
pub const DRIFT: u8 = 12;
/// Its terminal went away (128 + SIGHUP).
pub const HUNG_UP: u8 = 129;
/// Ended by Ctrl-C (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM (128 + SIGTERM).
pub const TERMINATED: u8 = 143;

/// Every code with its meaning, in ascending order.
pub const TABLE: &[(u8, &str)] = &[
    (OK, "success, or the reader closed the output"),
    (TOOL_ERROR, "the tool returned an error (isError), or a step or test of the workflow failed"),
    (USAGE, "invalid usage: command line, configuration, unknown tool or invalid arguments"),
    (NOT_READY, "the server could not be started, reached or used, wants a login, or its breaker is open; for lists: no server is usable"),
    (FAILED, "the call failed (connection, protocol, JSON-RPC error, server exited), or the output could not be written"),
    (TIMEOUT, "a time limit expired"),
    (
        REFUSED,
        "refused: a destructive tool or a raw request needs --yes, a project needs an approval, or a concurrency or rate limit was exceeded",
    ),
    (
        PARTIAL,
        "partial success: some servers, or steps with on_error = \"continue\", failed, tools of a workflow could not be checked, or entries of the configuration are lost",
    ),
    (COMPENSATED, "the workflow failed and was compensated"),
    (COMPENSATION_FAILED, "the workflow failed, and its compensation failed"),
    (IN_DOUBT, "the run was interrupted with in-doubt steps: resolve each with --repeat or --skip"),
    (WAITING, "the run waits for an answer: give it with `runs resume`"),
    (DRIFT, "servers changed their definitions (drift --fail-on)"),
    (HUNG_UP, "the console's terminal was closed"),
    (INTERRUPTED, "cancelled by Ctrl-C"),
    (TERMINATED, "ended by SIGTERM"),
];

/// Returns the table as text, for the long help.
pub fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (code, meaning) in TABLE {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    text
}

/// Returns the code for a kind of failure.
pub fn of_failure(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::NotReady | FailureKind::BreakerOpen => NOT_READY,
        FailureKind::UnknownServer | FailureKind::UnknownTool | FailureKind::InvalidArguments => USAGE,
        FailureKind::Transport | FailureKind::Protocol | FailureKind::Exited | FailureKind::TooLarge | FailureKind::Unauthorized => FAILED,
        FailureKind::Timeout => TIMEOUT,
        FailureKind::Refused | FailureKind::Overloaded => REFUSED,
    }
}

/// Returns the code for a failure: a server that wants a login cannot be used before it.
pub fn of(failure: &Failure) -> u8 {
    if failure.login.is_some() { NOT_READY } else { of_failure(failure.kind) }
}

/// Returns the code for the outcome of a run.
pub fn of_run(outcome: RunOutcome) -> u8 {
    match outcome {
        RunOutcome::Ok => OK,
        RunOutcome::Partial => PARTIAL,
        RunOutcome::Failed => TOOL_ERROR,
        RunOutcome::Compensated => COMPENSATED,
        RunOutcome::CompensationFailed => COMPENSATION_FAILED,
        RunOutcome::TimedOut => TIMEOUT,
        RunOutcome::Cancelled => INTERRUPTED,
        RunOutcome::Refused => REFUSED,
        RunOutcome::InDoubt => IN_DOUBT,
        RunOutcome::Waiting => WAITING,
        RunOutcome::Invalid => USAGE,
    }
}

/// Returns the code for the outcome of a call.
pub fn of_outcome(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Ok { .. } | Outcome::Interim { .. } => OK,
        Outcome::ToolError { .. } => TOOL_ERROR,
        Outcome::Failed { failure } => of(failure),
        Outcome::Cancelled { .. } => INTERRUPTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_code_once_in_order() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let text = help();
        for (code, meaning) in TABLE {
            assert!(text.contains(&format!("{code}  {meaning}")), "{code}");
        }
    }
}
