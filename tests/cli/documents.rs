//! The JSON of every command is described by `docs/json.schema.json`. Every other test of the command line validates its output too.

use std::{path::PathBuf, sync::LazyLock};

use switchboard::domain::{body::Body, schema::Checker};

use super::*;

/// The published schema.
static SCHEMA: LazyLock<Checker> = LazyLock::new(|| {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/json.schema.json");
    Checker::new(&Body::from(std::fs::read_to_string(path).unwrap()))
});

/// Fails unless each document of a command with `--json` or `--jsonl` is documented.
pub fn check(line: &[&str], out: &str) {
    if !line.iter().any(|word| ["--json", "--jsonl"].contains(word)) {
        return;
    }
    for document in serde_json::Deserializer::from_str(out).into_iter::<Value>().map_while(Result::ok) {
        let violations = SCHEMA.check(&document);
        assert!(violations.is_empty(), "{line:?}: {violations:#?}\n{document:#}");
    }
}

#[test]
fn the_json_of_every_command_is_documented() {
    let home = Home::new();
    home.configured();
    let ran = |line: &[&str], name: &str| {
        for format in ["--json", "--jsonl"] {
            let ran = home.own(&[line, &[format]].concat());
            // Without changes there are no lines.
            let none = name == "drift" && *format == *"--jsonl" && ran.out.is_empty();
            assert!(none || ran.out.starts_with('{'), "{name} {format} printed no document: {}\n{}", ran.out, ran.err);
        }
    };
    home.workflow("one.toml", "name = \"one\"\n[[step]]\nid = \"find\"\ntool = \"database_query_users\"\n");
    home.workflow("bad.toml", "name = \"bad\"\n[[step]]\nid = \"x\"\n");
    home.workflow("one.test.toml", "[[case]]\nname = \"c\"\nanswers.find = { result = {} }\n");
    let run = home.own(&["run", "one", "--json"]).ends(0).json()["run"].as_str().unwrap().to_owned();
    let call = home.own(&["calls", "--json"]).ends(0).json()["calls"][0]["call"].as_str().unwrap().to_owned();
    let session = home.path().join("session.jsonl").display().to_string();
    home.own(&["history", "export", "--output", &session]).ends(0);
    std::fs::create_dir(home.path().join(".cursor")).unwrap();
    std::fs::write(home.path().join(".cursor/mcp.json"), r#"{"mcpServers": {"x": {"command": "true"}}}"#).unwrap();
    let lines: &[(&str, &[&str])] = &[
        ("tools", &["tools"]),
        ("resources", &["resources"]),
        ("templates", &["templates"]),
        ("prompts", &["prompts"]),
        ("call", &["call", "database_query_users", "limit:=1", "--verbose"]),
        ("read", &["read", "demo://nothing"]),
        ("prompt", &["prompt", "nothing"]),
        ("complete", &["complete", "nothing", "a=b"]),
        ("request", &["request", "database", "ping", "--yes"]),
        ("watch", &["watch", "demo://nothing", "--timeout", "1s"]),
        ("route", &["route", "database_query_users"]),
        ("cache purge", &["cache", "purge", "*"]),
        ("cache stats", &["cache", "stats"]),
        ("breaker", &["breaker"]),
        ("fault", &["fault", "--via", "work", "database", "latency=1ms"]),
        ("servers", &["servers"]),
        ("doctor", &["doctor"]),
        ("run", &["run", "one"]),
        ("run --dry-run", &["run", "one", "--dry-run"]),
        ("runs list", &["runs", "list"]),
        ("runs show", &["runs", "show", &run]),
        ("runs resume", &["runs", "resume", &run]),
        ("runs undo", &["runs", "undo", &run]),
        ("runs from", &["runs", "from", &run, "find"]),
        ("calls list", &["calls", "list"]),
        ("calls show", &["calls", "show", &call]),
        ("history list", &["history", "list"]),
        ("history search", &["history", "search", "limit"]),
        ("history sessions", &["history", "sessions"]),
        ("history show", &["history", "show", &call]),
        ("history stats", &["history", "stats", "--compare"]),
        ("history prune", &["history", "prune", "--older-than", "365d"]),
        ("check", &["check", &session]),
        ("drift", &["drift", "--all"]),
        ("pins list", &["pins", "list"]),
        ("pins accept", &["pins", "accept", "database"]),
        ("import", &["import"]),
        ("ps", &["ps"]),
        ("install", &["install", "cursor", "--yes"]),
        // No server of this home has a url.
        ("login", &["login"]),
        ("login --start", &["login", "--start"]),
        ("logout", &["logout"]),
        ("auth", &["auth"]),
        ("token new", &["token", "new", "one"]),
        ("token list", &["token", "list"]),
        ("token revoke", &["token", "revoke", "one"]),
        ("add", &["add", "extra", "https://x.example/mcp", "--dry-run"]),
        ("disable", &["disable", "database", "--dry-run"]),
        ("enable", &["enable", "database", "--dry-run"]),
        ("remove", &["remove", "database", "--dry-run"]),
        ("list", &["list"]),
        ("config path", &["config", "path"]),
        ("config show", &["config", "show"]),
        ("config check", &["config", "check"]),
    ];
    home.own(&["up", "work", "-d"]).ends(0);
    lines.iter().for_each(|(name, line)| ran(line, name));
    home.own(&["down", "work"]).ends(0);
    let workflows: [(&str, &[&str]); 3] =
        [("workflow check", &["workflow", "check"]), ("workflow list", &["workflow", "list"]), ("workflow test", &["workflow", "test"])];
    workflows.iter().for_each(|(name, line)| ran(line, name));
    ran(&["approve"], "approve");
    // Every command of the page is here.
    let page = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/json.md")).unwrap();
    let commands = page.lines().take_while(|line| !line.starts_with("### "));
    let listed: Vec<&str> = commands.filter_map(|line| line.strip_prefix("| `")?.split_once("` | [").map(|(name, _)| name)).collect();
    let tried: Vec<&str> = lines.iter().chain(&workflows).map(|(name, _)| *name).chain(["approve"]).collect();
    let missing: Vec<&&str> = listed.iter().filter(|name| !tried.contains(name)).collect();
    assert!(missing.is_empty() && listed.len() >= tried.len(), "{missing:?}");
}
