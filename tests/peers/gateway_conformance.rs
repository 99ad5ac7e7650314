//! The conformance suite of MCP on a server of both eras (`conformance/fixture.py`), directly and through the gateway: every check
//! that the server passes, the gateway passes.

use std::{
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex, PoisonError},
};

use serde_json::json;

use crate::{
    conformance::{self, Required},
    gateway::{GATEWAY, Listening, configuration, first_line},
    packages::test_file,
};

/// The scored server scenarios of 2025-11-25 (`conformance list --requirements 2025-11-25`).
const LEGACY: [&str; 30] = [
    "server-initialize",
    "logging-set-level",
    "ping",
    "completion-complete",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-with-logging",
    "tools-call-error",
    "tools-call-with-progress",
    "tools-call-sampling",
    "tools-call-elicitation",
    "elicitation-sep1034-defaults",
    "server-sse-multiple-streams",
    "elicitation-sep1330-enums",
    "resources-list",
    "resources-read-text",
    "resources-read-binary",
    "resources-templates-read",
    "resources-subscribe",
    "resources-unsubscribe",
    "prompts-list",
    "prompts-get-simple",
    "prompts-get-with-args",
    "prompts-get-embedded-resource",
    "prompts-get-with-image",
    "dns-rebinding-protection",
];

/// The scored server scenarios of 2026-07-28.
const MODERN: [&str; 37] = [
    "server-stateless",
    "completion-complete",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-error",
    "tools-call-with-progress",
    "server-sse-multiple-streams",
    "resources-list",
    "resources-read-text",
    "resources-read-binary",
    "resources-templates-read",
    "sep-2164-resource-not-found",
    "prompts-list",
    "prompts-get-simple",
    "prompts-get-with-args",
    "prompts-get-embedded-resource",
    "prompts-get-with-image",
    "dns-rebinding-protection",
    "caching",
    "input-required-result-basic-elicitation",
    "input-required-result-basic-sampling",
    "input-required-result-basic-list-roots",
    "input-required-result-request-state",
    "input-required-result-multiple-input-requests",
    "input-required-result-multi-round",
    "input-required-result-missing-input-response",
    "input-required-result-non-tool-request",
    "input-required-result-result-type",
    "input-required-result-unsupported-methods",
    "input-required-result-tampered-state",
    "input-required-result-capability-check",
    "input-required-result-ignore-extra-params",
    "input-required-result-validate-input",
];

const REVISIONS: [(&str, &[&str]); 2] = [("2025-11-25", &LEGACY), ("2026-07-28", &MODERN)];

/// The fixture over HTTP. Dropping it ends it.
struct Fixture {
    child: Child,
    url: String,
}

impl Fixture {
    fn start(args: &[&str]) -> Fixture {
        let mut command = Command::new("python3");
        command.arg(test_file("conformance/fixture.py")).args(args).arg("http");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let url = first_line(child.stdout.take().unwrap());
        Fixture { child, url }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A scenario that fails over a program: a log message on its stdout names no call, so it could be meant for another client of the
/// gateway, and no client gets it.
const NOT_OVER_STDIO: &str = "tools-call-with-logging";

/// Runs what a revision requires, and returns the scored scenarios without `except`. Every check of them has passed.
fn passed(url: &str, (revision, scenarios): (&str, &[&str]), except: Option<&str>) -> Required {
    // The suite waits 0.8 s for a change of a list, which a machine with much else to do does not keep.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = conformance::required(url, revision);
    found.retain(|scenario, _| scenarios.contains(&scenario.as_str()));
    let names: Vec<&String> = found.keys().collect();
    assert_eq!(names.len(), scenarios.len(), "{revision} has run {names:?}");
    found.retain(|scenario, _| except != Some(scenario.as_str()));
    for (scenario, checks) in &found {
        let failed: Vec<_> = checks.iter().filter(|(_, status)| !["SUCCESS", "INFO", "SKIPPED"].contains(&status.as_str())).collect();
        assert!(failed.is_empty(), "{scenario} of {revision} at {url}: {failed:?}");
        assert!(checks.iter().any(|(_, status)| status == "SUCCESS"), "{scenario} of {revision} has checked nothing: {checks:?}");
    }
    found
}

/// What the fixture passes directly, for each revision.
static DIRECT: LazyLock<Vec<Required>> = LazyLock::new(|| {
    let fixture = Fixture::start(&[]);
    REVISIONS.map(|revision| passed(&fixture.url, revision, None)).into()
});

/// Returns what the fixture passes directly of a revision, without a scenario.
fn direct(at: usize, except: Option<&str>) -> Required {
    let mut direct = DIRECT[at].clone();
    direct.retain(|scenario, _| except != Some(scenario.as_str()));
    direct
}

/// Checks that the gateway passes exactly what the fixture passes, but for a scenario.
fn same_as_direct(gateway: &Listening, except: Option<&str>) {
    for (at, revision) in REVISIONS.into_iter().enumerate() {
        assert_eq!(passed(&gateway.url, revision, except), direct(at, except), "{}", revision.0);
    }
}

#[test]
fn the_fixture_passes_every_scored_scenario() {
    let checks: Vec<usize> = DIRECT.iter().map(|scenarios| scenarios.values().map(Vec::len).sum()).collect();
    assert!(checks.iter().all(|checks| *checks > 60), "{checks:?}");
}

#[test]
fn the_gateway_passes_the_same_checks_over_a_server_on_stdio() {
    same_as_direct(&Listening::start(&["--", "python3", &test_file("conformance/fixture.py"), "stdio"]), Some(NOT_OVER_STDIO));
}

#[test]
fn the_gateway_passes_the_same_checks_over_a_server_on_http() {
    let fixture = Fixture::start(&[]);
    same_as_direct(&Listening::start(&["--", &fixture.url]), None);
}

#[test]
fn the_gateway_passes_the_same_checks_over_a_server_of_one_era() {
    for era in ["legacy", "modern"] {
        let gateway = Listening::start(&["--", "python3", &test_file("conformance/fixture.py"), "--era", era, "stdio"]);
        let (at, revision) = if era == "legacy" { (0, REVISIONS[0]) } else { (1, REVISIONS[1]) };
        let except = Some(NOT_OVER_STDIO);
        assert_eq!(passed(&gateway.url, revision, except), direct(at, except), "{era}");
    }
}

#[test]
fn the_gateway_passes_the_same_checks_over_a_server_in_two_halves() {
    let fixture = Fixture::start(&["--part", "b"]);
    let script = test_file("conformance/fixture.py");
    let config = json!({"servers": {
        "a": {"command": "python3", "args": [script, "--part", "a", "stdio"], "namespace": ""},
        "b": {"url": fixture.url, "namespace": ""},
    }});
    let config = toml::to_string(&config).unwrap();
    same_as_direct(&Listening::configured(&config, &[]), Some(NOT_OVER_STDIO));
}

/// Runs `matrix_client.py` for an era on a server.
fn use_everything(era: &str, server: &[&str], cell: &str) {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.arg(test_file("matrix_client.py")).arg(era).args(server).stdin(Stdio::null());
    command.env("HOME", home.path()).env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME").env("NO_PROXY", "*");
    let done = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && out.trim() == "ok", "{cell}: {out} {err}");
}

#[test]
fn trap_15_every_pair_of_eras_and_transports_has_questions_progress_and_cancellation() {
    let script = test_file("conformance/fixture.py");
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path(), "");
    let mut cells = 0;
    for server_era in ["legacy", "modern"] {
        let fixture = Fixture::start(&["--era", server_era]);
        // The gateway gives each call of a modern client a process of its own.
        let notes = folder.path().join(server_era);
        let program = ["python3", &script, "--era", server_era, "--notes", notes.to_str().unwrap(), "stdio"];
        for (server_transport, server) in [("stdio", &program[..]), ("http", &[fixture.url.as_str()])] {
            let listening = Listening::start(&[&["--"], server].concat());
            let own = [&[GATEWAY, "--config", &config, "serve", "--"], server].concat();
            for client_era in ["legacy", "modern"] {
                for (client_transport, target) in [("stdio", &own[..]), ("http", &[listening.url.as_str()])] {
                    let cell = format!("{client_era} client over {client_transport}, {server_era} server over {server_transport}");
                    use_everything(client_era, target, &cell);
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 16);
}
