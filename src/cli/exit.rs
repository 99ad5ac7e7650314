//! The exit codes: the one table that the help, the manual page and the code share.

use crate::domain::{
    call::{FailureKind, Outcome},
    run::RunOutcome,
};

/// Everything went well.
pub const OK: u8 = 0;
/// The tool itself answered an error.
pub const TOOL_ERROR: u8 = 1;
/// The command line, the arguments or the configuration are wrong. The same code that clap uses.
pub const USAGE: u8 = 2;
/// The server cannot be used.
pub const NOT_READY: u8 = 3;
/// The call or the output failed.
pub const FAILED: u8 = 4;
/// A time limit passed.
pub const TIMEOUT: u8 = 5;
/// Refused on this side.
pub const REFUSED: u8 = 6;
/// Some servers failed, others did not.
pub const PARTIAL: u8 = 7;
/// A workflow failed, and what it had done was undone.
pub const UNDONE: u8 = 8;
/// A workflow failed, and not all that it had done could be undone.
pub const NOT_UNDONE: u8 = 9;
/// A workflow that was interrupted waits for a word about steps in doubt.
pub const IN_DOUBT: u8 = 10;
/// Its terminal went away (128 + SIGHUP).
pub const HUNG_UP: u8 = 129;
/// Ended by Ctrl-C (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM (128 + SIGTERM).
pub const TERMINATED: u8 = 143;

/// Every code with its meaning, in order.
pub const TABLE: &[(u8, &str)] = &[
    (OK, "everything went well, or the reader of the output went away"),
    (TOOL_ERROR, "the tool answered an error of its own (isError); a step of the workflow, or a test of one, failed"),
    (USAGE, "wrong usage: command line, configuration, unknown tool, arguments that do not fit its schema"),
    (NOT_READY, "the server could not be started, reached or used, or its breaker is open; for lists: no server could"),
    (FAILED, "the call failed: connection, protocol, JSON-RPC error, server exited; or the output could not be written"),
    (TIMEOUT, "a time limit passed"),
    (REFUSED, "refused here: a tool that may destroy needs --yes, a project file needs approval, more calls than the server is given"),
    (PARTIAL, "partial: some servers, or steps with on_error = \"continue\", failed; what the others gave was printed"),
    (UNDONE, "the workflow failed, and what it had done was undone"),
    (NOT_UNDONE, "the workflow failed, and not all that it had done could be undone"),
    (IN_DOUBT, "the workflow was interrupted and waits for a word about steps in doubt: --repeat, --skip"),
    (HUNG_UP, "the console's terminal went away"),
    (INTERRUPTED, "cancelled by Ctrl-C"),
    (TERMINATED, "ended by SIGTERM"),
];

/// The table as text, for the long help.
pub fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (code, meaning) in TABLE {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    text
}

/// The code of a kind of failure.
pub fn of_failure(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::NotReady | FailureKind::BreakerOpen => NOT_READY,
        FailureKind::UnknownServer | FailureKind::UnknownTool | FailureKind::InvalidArguments => USAGE,
        FailureKind::Transport | FailureKind::Protocol | FailureKind::Exited | FailureKind::TooLarge | FailureKind::Unauthorized => FAILED,
        FailureKind::Timeout => TIMEOUT,
        FailureKind::Refused | FailureKind::Overloaded => REFUSED,
    }
}

/// The code of a run's end.
pub fn of_run(outcome: RunOutcome) -> u8 {
    match outcome {
        RunOutcome::Ok => OK,
        RunOutcome::Partial => PARTIAL,
        RunOutcome::Failed => TOOL_ERROR,
        RunOutcome::Compensated => UNDONE,
        RunOutcome::CompensationFailed => NOT_UNDONE,
        RunOutcome::TimedOut => TIMEOUT,
        RunOutcome::Cancelled => INTERRUPTED,
        RunOutcome::Refused => REFUSED,
        RunOutcome::InDoubt => IN_DOUBT,
        RunOutcome::Invalid => USAGE,
    }
}

/// The code of a call's end.
pub fn of_outcome(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Ok { .. } => OK,
        Outcome::ToolError { .. } => TOOL_ERROR,
        Outcome::Failed { failure } => of_failure(failure.kind),
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
