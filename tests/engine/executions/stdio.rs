//! Executions over stdio.

use std::{path::Path, time::Duration};

use switchboard::domain::server::ServerSpec;

use super::{SERVERS, SET_UPS, each, limit, policies, rig, wrong};
use crate::support::{bad_server, stdio};

/// Tools of the bad server whose calls fail, or are answered by something odd, after they were executed.
const FAULTS: [&str; 35] = [
    "hang",
    "exit",
    "killed",
    "partial_exit",
    "partial_stall",
    "close_stdout",
    "close_stdin",
    "noise",
    "duplicate",
    "nan",
    "too_large",
    "pretty",
    "batch",
    "bad_member",
    "wrong_id",
    "endless",
    "grandchild",
    "late",
    "rpc_error",
    "tool_error",
    "no_result",
    "null_result",
    "null_error",
    "parse_error",
    "result_number",
    "result_text",
    "result_array",
    "result_null",
    "result_empty",
    "input_required",
    "input_required_form",
    "input_required_state",
    "foreign_task",
    "pages",
    "session_lost",
];

fn specs(tally: &Path) -> Vec<ServerSpec> {
    let spec = |id: &&str| {
        let mut spec = stdio(id, &bad_server(), &["plain", &tally.join(id).display().to_string()]);
        spec.limits.message_bytes = 64 << 10;
        spec.timeouts.stop = Duration::from_millis(50);
        spec
    };
    SERVERS.iter().map(spec).collect()
}

/// How often these servers executed a call.
fn total(tally: &Path, servers: &[&str]) -> usize {
    servers.iter().map(|server| std::fs::read_to_string(tally.join(server)).map_or(0, |text| text.lines().count())).sum()
}

/// Those of them whose calls stay without an answer.
const SILENT: [&str; 3] = ["hang", "partial_stall", "late"];

async fn unsafe_calls(fault: &'static str) -> Vec<String> {
    let (mut found, silent) = (vec![], SILENT.contains(&fault));
    for (n, policy) in policies().iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let rig = rig(specs(folder.path()), policy).await;
        for (target, servers) in SET_UPS {
            let settled = rig.call_within(target, fault, limit(silent)).await;
            let executions = total(folder.path(), servers);
            found.extend(wrong(executions, &settled).map(|what| format!("{fault} {target} policy {n}: {what}")));
            assert!(executions > 0 || silent, "{fault} {target}: the call reached the server: {settled:?}");
        }
        rig.stop().await;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_call_is_executed_once_whatever_the_process_does() {
    let count = FAULTS.len() * SET_UPS.len() * policies().len();
    let found = each(FAULTS, unsafe_calls).await;
    assert!(found.is_empty(), "{} of {count} calls:\n{}", found.len(), found.join("\n"));
}
