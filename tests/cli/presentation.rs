//! Formats, colours, quiet output, manual pages, versions and reports.

use super::Home;

#[test]
fn results_have_the_format_that_was_asked_for() {
    let home = Home::new();
    let demo = |line: &[&str]| home.demo(&["database"], line).ends(0);
    let json = demo(&["servers", "-o", "json"]).json();
    assert_eq!(json["servers"][0]["server"], "database");
    let yaml = demo(&["servers", "-o", "yaml"]).out;
    assert!(yaml.starts_with("servers:\n  - type: server\n    server: database\n"), "{yaml}");
    let lines = demo(&["servers", "-o", "jsonl"]).out;
    assert!(lines.lines().all(|line| line.starts_with('{')) && lines.lines().last().unwrap().contains("\"type\":\"server\""), "{lines}");
    assert!(demo(&["servers", "-o", "table"]).out.starts_with("NAME"));
    home.run(&["servers", "--demo", "-o", "json", "--jsonl"]).ends(2);
}

#[test]
fn colours_are_forced_by_the_flag_and_by_the_environment() {
    let home = Home::new();
    let line = ["servers", "--demo", "--server", "database"];
    assert!(!home.run(&line).ends(0).out.contains('\u{1b}'));
    assert!(home.run(&[&line[..], &["--color", "always"]].concat()).ends(0).out.contains("\u{1b}[32m"));
    let forced = home.command(&line).env("FORCE_COLOR", "1").output().unwrap();
    assert!(String::from_utf8_lossy(&forced.stdout).contains("\u{1b}[32m"));
    let failed = home.run(&["call", "--demo", "--server", "database", "none", "--color", "always"]).ends(2);
    assert!(failed.err.starts_with("\u{1b}[31mfailed\u{1b}[0m"), "{:?}", failed.err);
}

#[test]
fn quiet_leaves_failures_only() {
    let home = Home::new();
    let config = home.path().join("c.toml");
    std::fs::write(&config, "sepparator = 1\n[servers.a]\ncommand = \"true\"\n").unwrap();
    let config = config.to_str().unwrap();
    assert!(home.run(&["list", "--config", config]).ends(7).err.contains("warning"));
    assert_eq!(home.run(&["list", "--config", config, "-q"]).ends(7).err, "");
    assert!(home.run(&["call", "--demo", "-q", "none"]).ends(2).err.starts_with("failed"));
}

#[test]
fn each_command_has_a_manual_page() {
    let home = Home::new();
    home.run(&["man", "--dir", "man1"]).ends(0);
    let pages: Vec<String> =
        std::fs::read_dir(home.path().join("man1")).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    for page in ["switchboard.1", "switchboard-call.1", "switchboard-workflow-check.1", "switchboard-config-schema.1"] {
        assert!(pages.iter().any(|name| name == page), "{page}: {pages:?}");
    }
    assert!(!pages.iter().any(|name| name.contains("reaper")), "{pages:?}");
    assert!(home.run(&["man", "workflow", "check"]).ends(0).out.contains("SWITCHBOARD"));
    assert!(home.run(&["man", "cal"]).ends(2).err.contains("did you mean call"));
}

#[test]
fn the_version_names_commit_and_target_and_the_short_help_is_short() {
    let home = Home::new();
    assert_eq!(home.run(&["-V"]).ends(0).out, format!("switchboard {}\n", env!("CARGO_PKG_VERSION")));
    let long = home.run(&["--version"]).ends(0).out;
    assert!(long.contains("\ncommit ") && long.contains(std::env::consts::ARCH), "{long}");
    let (short, long) = (home.run(&["call", "-h"]).ends(0).out, home.run(&["call", "--help"]).ends(0).out);
    assert!(short.contains("Global options:") && !short.contains("--allow-unsandboxed") && !short.contains("Examples:"), "{short}");
    assert!(long.contains("--allow-unsandboxed") && long.contains("Examples:"), "{long}");
    assert!(short.lines().count() * 2 < long.lines().count());
}

#[test]
fn a_report_has_what_a_bug_report_needs_and_no_secret() {
    let home = Home::new();
    let config = home.path().join("cfg");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("config.toml"), "[servers.a]\ncommand = \"false\"\nenv = { TOKEN = \"s3cret-token\" }\n").unwrap();
    let run = |line: &[&str]| {
        let mut command = home.command(line);
        command.env("SWITCHBOARD_CONFIG_DIR", &config).env("SWITCHBOARD_STATE_DIR", home.path().join("state")).output().unwrap()
    };
    let ran = run(&["doctor", "--report", "report.txt"]);
    assert_eq!(ran.status.code(), Some(3), "{ran:?}");
    let report = std::fs::read_to_string(home.path().join("report.txt")).unwrap();
    for part in ["commit ", "## System", "~/cfg/config.toml", "TOKEN = \"•••\"", "## Servers", "\"server\": \"a\"", "## End of the log"]
    {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(!report.contains("s3cret") && !report.contains(home.path().to_str().unwrap()), "{report}");
    // Without a server there is a report too.
    std::fs::write(config.join("config.toml"), "").unwrap();
    let ran = run(&["doctor", "--report", "-"]);
    assert!(String::from_utf8_lossy(&ran.stdout).contains("# Report of Switchboard"), "{ran:?}");
}

#[test]
fn checks_print_findings_for_other_programs() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("w")).unwrap();
    std::fs::write(home.path().join("w/bad.toml"), "name = \"bad\"\n[[step]]\nid = \"x\"\n").unwrap();
    std::fs::write(home.path().join("c.toml"), "workflows = [\"w\"]\n[servers.a]\ncommand = \"false\"\n").unwrap();
    let check = |line: &[&str]| home.run(&[&["--config", "c.toml"][..], line].concat());
    let gcc = check(&["workflow", "check", "--format", "gcc"]).ends(2).out;
    assert!(gcc.contains("w/bad.toml:") && gcc.contains(": error: "), "{gcc}");
    let github = check(&["workflow", "check", "--format", "github"]).ends(2).out;
    assert!(github.starts_with("::error file="), "{github}");
    let sarif = check(&["doctor", "--format", "sarif", "--step-summary", "summary.md"]).ends(3).json();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "server");
    let summary = std::fs::read_to_string(home.path().join("summary.md")).unwrap();
    assert!(summary.contains("### Servers") && summary.contains("| ✗ | `a` |"), "{summary}");
    let tested = home.run(&["workflow", "test", "--demo", "--format", "sarif"]).ends(0).json();
    assert_eq!(tested["runs"][0]["results"], serde_json::json!([]));
}

#[test]
fn the_examples_for_other_programs_are_valid() {
    let home = Home::new();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for file in ["compose/config/config.toml", "clients/cursor.json", "clients/vscode.json", "clients/codex.toml", "config.toml"] {
        let path = root.join(file);
        let ran = home.run(&["config", "check", "--config", path.to_str().unwrap()]);
        assert!(ran.code == 0, "{file}: {} {}", ran.out, ran.err);
    }
}
