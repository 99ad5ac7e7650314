//! Spellings, units, placeholders, lists and filters of clients: each file, and all that is read of it or reported.

use std::path::Path;

use super::tests::{options, shown};
use crate::config::{load, load_tests::Place};

/// The path, the text, and each line of the result: a server as a whole, or a part of a problem after `!`.
type Sample = (&'static str, &'static str, &'static [&'static str]);

const SAMPLES: &[Sample] = &[
    // Switched off.
    (
        "a.json",
        r#"{"mcpServers": {"a": {"command": "x", "disabled": true}, "b": {"command": "x", "disabled": false}}}"#,
        &["a: x | OFF", "b: x"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"command": "x", "enabled": false}, "b": {"command": "x", "isActive": false}}}"#,
        &["a: x | OFF", "b: x | OFF"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"command": "x", "active": false}, "b": {"command": "x", "enable": false}, "c": {"command": "x", "disable": true}}}"#,
        &["a: x | OFF", "b: x | OFF", "c: x | OFF"],
    ),
    ("a.json", r#"{"mcpServers": {"a": {"command": "x", "disabled": "true"}}}"#, &["!`disabled`: should be true or false, not a string"]),
    (
        "anythingllm_mcp_servers.json",
        r#"{"mcpServers": {"a": {"command": "x", "anythingllm": {"autoStart": false}}, "b": {"command": "x", "anythingllm": {"autoStart": true}}}}"#,
        &["a: x | OFF", "b: x"],
    ),
    ("w/.warp/.mcp.json", r#"{"mcpServers": {"a": {"command": "x", "start_on_launch": false}}}"#, &["a: x | in ~/w/w | OFF"]),
    (
        ".gemini/settings.json",
        r#"{"mcp": {"excluded": ["a"]}, "mcpServers": {"a": {"command": "x"}, "b": {"command": "x"}}}"#,
        &["a: x | in ~/w | all variables | OFF", "b: x | in ~/w | all variables"],
    ),
    (
        ".gemini/settings.json",
        r#"{"mcp": {"allowed": ["b"]}, "mcpServers": {"a": {"command": "x"}, "b": {"command": "x"}}}"#,
        &["a: x | in ~/w | all variables | OFF", "b: x | in ~/w | all variables"],
    ),
    (
        ".qwen/settings.json",
        r#"{"mcp": {"excluded": ["a"], "allowed": []}, "mcpServers": {"a": {"command": "x"}, "b": {"command": "x"}}}"#,
        &["a: x | in ~/w | all variables | OFF", "b: x | in ~/w | all variables | OFF"],
    ),
    (
        "opencode.json",
        r#"{"mcp": {"a": {"type": "local", "command": ["x"], "enabled": false}, "b": {"type": "remote", "url": "https://h/mcp", "enabled": true}}}"#,
        &["a: x | in ~/w | all variables | OFF", "b: https://h/mcp"],
    ),
    (
        ".zed/settings.json",
        r#"{"context_servers": {"a": {"source": "custom", "command": "x", "enabled": false}}}"#,
        &["a: x | in ~/w | OFF"],
    ),
    (".codex/config.toml", "[mcp_servers.a]\ncommand = \"x\"\nenabled = false\n", &["a: x | in ~/w | OFF"]),
    ("goose/config.yaml", "extensions:\n  a:\n    type: stdio\n    cmd: x\n    enabled: false\n", &["a: x | all variables | OFF"]),
    // Filters of tools.
    (
        "a.json",
        r#"{"mcpServers": {"a": {"command": "x", "hiddenTools": ["rm"], "exposedTools": ["ls", {"original": "cat", "exposed": "show"}]}}}"#,
        &["a: x | only ls,cat | without rm"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"command": "x", "options": {"toolFilter": {"mode": "block", "list": ["rm"]}, "logEnabled": true}}}}"#,
        &["a: x | without rm", "!`options.logEnabled`: is not used"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"command": "x", "options": {"toolFilter": {"mode": "allow", "list": ["ls"]}}}}}"#,
        &["a: x | only ls"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"command": "x", "toolFilter": {"mode": "sometimes", "list": ["ls"]}}}}"#,
        &["!has a mode that is not known"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"command": "x", "allowedTools": ["read_*"], "disabledTools": ["read_secret"]}}}"#,
        &["a: x | only read_* | without read_secret"],
    ),
    (
        ".copilot/mcp-config.json",
        r#"{"mcpServers": {"a": {"type": "local", "command": "x", "tools": []}, "b": {"type": "local", "command": "x", "tools": ["*"]}}}"#,
        &["a: x | in ~/w | only ", "b: x | in ~/w"],
    ),
    (
        "hermes.yaml",
        "mcp_servers:\n  a:\n    command: x\n    tools:\n      include: [ls, cat]\n      exclude: [cat, rm]\n      resources: false\n      prompts: true\n",
        &["a: x | only ls,cat", "!`tools.resources`: is not used: it limits the resources"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"command": "x", "tools": {"rm": "ask", "ls": true, "cat": false}}, "b": {"command": "x", "tools": {"odd": ["rm"]}}}}"#,
        &["a: x | without cat", "!`tools.rm`: is not used", "!`tools.odd`: is not a list that is known"],
    ),
    ("hermes.yaml", "mcp_servers:\n  a:\n    command: x\n    tools:\n      exclude: rm\n", &["a: x | without rm"]),
    (
        ".gemini/settings.json",
        r#"{"mcpServers": {"a": {"command": "x", "includeTools": ["run(rm)", "ls"], "excludeTools": ["ls"]}}}"#,
        &["a: x | in ~/w | all variables | only run,ls | without ls"],
    ),
    (
        "mcp_settings.json",
        r#"{"mcpServers": {"a": {"command": "x", "tools": {"rm": {"enabled": false}, "ls": {"enabled": true, "description": "d"}}}}}"#,
        &["a: x | without rm"],
    ),
    (
        "opencode.json",
        r#"{"mcp": {"a": {"type": "local", "command": ["x"]}}, "tools": {"a_rm": false, "a_ls": true, "bash": false}}"#,
        &["a: x | in ~/w | all variables | without rm"],
    ),
    (
        "goose/config.yaml",
        "extensions:\n  a:\n    type: stdio\n    cmd: x\n    enabled: true\n    available_tools: []\n",
        &["a: x | all variables"],
    ),
    // Units of time.
    ("cline_mcp_settings.json", r#"{"mcpServers": {"a": {"command": "x", "timeout": 90}}}"#, &["a: x | call 90s"]),
    (".kiro/settings/mcp.json", r#"{"mcpServers": {"a": {"command": "x", "timeout": 90000}}}"#, &["a: x | in ~/w | call 90s"]),
    (
        "opencode.json",
        r#"{"mcp": {"a": {"type": "local", "command": ["x"], "timeout": 5000}}}"#,
        &["a: x | in ~/w | all variables | connect 5s"],
    ),
    (
        ".codex/config.toml",
        "[mcp_servers.a]\ncommand = \"x\"\nstartup_timeout_ms = 2500\ntool_timeout_sec = 1.5\n",
        &["a: x | in ~/w | call 1.5s | connect 2.5s"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"command": "x", "timeoutMs": 1500}, "b": {"command": "x", "timeoutSeconds": 7}, "c": {"command": "x", "timeout": 5}}}"#,
        &["a: x | call 1.5s", "b: x | call 7s", "c: x", "!`timeout`: is not used (server c): it limits a call, in a unit that differs"],
    ),
    (
        ".gemini/settings.json",
        r#"{"mcpServers": {"a": {"command": "x", "timeout": -1}}}"#,
        &["a: x | in ~/w | all variables", "!`timeout`: is not a valid number of milliseconds"],
    ),
    (
        "fastagent.config.yaml",
        "mcp:\n  servers:\n    a:\n      command: x\n      args: [\"-y\"]\n      read_timeout_seconds: 20\n      load_on_start: false\n",
        &["a: x -y | in ~/w | call 20s", "!`load_on_start`: is not used (server a): it decides when"],
    ),
    // Working folders, environment and credentials.
    (
        ".junie/mcp/mcp.json",
        r#"{"mcpServers": {"a": {"command": "x", "workingDirectory": "sub", "env": {"K": "${TEAM_TOKEN}"}}}}"#,
        &["a: x | in ~/w/sub | K=s3cret-token"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"command": "x", "envVars": [{"name": "K", "value": "v"}]}}}"#,
        &["!`envVars`: should be a table, not an array"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"url": "https://h/mcp", "bearerTokenEnvVar": "TEAM_TOKEN", "envHeaders": {"X-Key": "TEAM_TOKEN"}}}}"#,
        &["a: https://h/mcp | X-Key=s3cret-token | Authorization=Bearer s3cret-token"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"url": "https://h/mcp", "bearerTokenEnv": "NOT_SET"}}}"#,
        &["!the environment variable `NOT_SET` is not set"],
    ),
    (
        ".codex/config.toml",
        "[mcp_servers.a]\nurl = \"https://h/mcp\"\nbearer_token_env_var = \"TEAM_TOKEN\"\nenv_http_headers = { X = \"TEAM_HOST\" }\n",
        &["a: https://h/mcp | X=h.example | Authorization=Bearer s3cret-token"],
    ),
    (
        ".mcp.json",
        r#"{"mcpServers": {"a": {"type": "http", "url": "https://${TEAM_HOST}/mcp", "headers": {"A": "${NONE:-d}"}, "headersHelper": "./token.sh"}}}"#,
        &["a: https://h.example/mcp | A=d", "!`headersHelper`: is not used"],
    ),
    // Placeholders are replaced, or cost the server; never sent.
    (
        "a.json",
        r#"{"mcpServers": {"a": {"url": "https://h/mcp", "headers": {"A": "Bearer $TEAM_TOKEN"}}}}"#,
        &["!`$TEAM_TOKEN` is not a placeholder"],
    ),
    ("a.json", r#"{"mcpServers": {"a": {"url": "https://h/{env:TEAM_TOKEN}/mcp"}}}"#, &["!`{env:…}` is not a placeholder"]),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"url": "https://h/mcp", "headers": {"A": "${input:key}"}}}}"#,
        &["!`${input:…}` is not a placeholder"],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"url": "https://h/mcp", "headers": {"A": "{{USER_TOKEN}}"}}}}"#,
        &["!`{{USER_TOKEN}}` is not a placeholder"],
    ),
    (
        ".zed/settings.json",
        r#"{"context_servers": {"a": {"url": "https://h/mcp", "headers": {"A": "Bearer ${TEAM_TOKEN}"}}}}"#,
        &["!`${TEAM_TOKEN}` is not a placeholder of Zed"],
    ),
    (
        ".cursor/mcp.json",
        r#"{"mcpServers": {"a": {"url": "https://h/mcp", "headers": {"A": "${TEAM_TOKEN}"}}, "b": {"command": "x", "args": ["${TEAM_TOKEN}"]}}}"#,
        &["b: x ${TEAM_TOKEN} | in ~/w", "!`${TEAM_TOKEN}` is not a placeholder of Cursor"],
    ),
    ("crush.json", r#"{"mcp": {"a": {"type": "stdio", "command": "x", "args": ["$(cat key)"]}}}"#, &["!is a command that Crush runs"]),
    (
        ".vscode/mcp.json",
        r#"{"inputs": [{"id": "k", "type": "pickString", "options": ["a", "b"], "default": "b"}], "servers": {"a": {"command": "x", "args": ["${input:k}", "${input:undeclared}"]}}}"#,
        &["!the input `undeclared` has no value"],
    ),
    (".vscode/mcp.json", r#"{"servers": {"a": {"command": "${execPath}"}}}"#, &["!`${execPath}` is a variable of the editor"]),
    (
        "agent.json",
        r#"{"model": "m", "inputs": [{"type": "promptString", "id": "TEAM_TOKEN", "password": true}], "servers": [{"type": "stdio", "config": {"command": "x", "args": ["-y"], "env": {"K": "${input:TEAM_TOKEN}"}}}, {"type": "http", "config": {"url": "https://h/mcp"}}]}"#,
        &["x: x -y | K=s3cret-token", "server-2: https://h/mcp"],
    ),
    // Kinds that have another form.
    (
        "mcp-config.json",
        r#"{"servers": [{"name": "fs", "enabled": false, "tool_prefix": "f", "source": {"type": "Process", "command": "x", "args": ["a"]}}, {"name": "web", "bearer_token": "b-s3cret", "source": {"type": "Http", "url": "https://h/mcp", "timeout_secs": 9}}]}"#,
        &[
            "fs: x a | OFF",
            "web: https://h/mcp | Authorization=Bearer b-s3cret",
            "!`timeout_secs`: is not used",
            "!`tool_prefix`: is not used",
        ],
    ),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"type": "ws", "url": "wss://h/mcp"}, "b": {"type": "stdio", "url": "https://h/mcp"}, "c": {"transport": "streamable-http", "url": "https://h/mcp", "command": "x"}}}"#,
        &[
            "c: https://h/mcp",
            "!uses the `websocket` transport",
            "!has no `command` although its type is stdio",
            "!`command`: is not used: it starts a program",
        ],
    ),
    ("a.json", r#"{"mcpServers": {"a": {"command": "x", "args": "-y one"}}}"#, &["!`args`: should be an array, not a string"]),
    (
        "a.json",
        r#"{"mcpServers": {"a": {"comand": "x"}, "b": {"command": "x", "argz": ["1"], "_note": "mine", "// why": "c"}}}"#,
        &["b: x", "!has neither `command` nor `url`", "!`argz`: is not used (server b): it has no meaning"],
    ),
];

#[test]
fn every_spelling_is_honoured_or_reported() {
    let mut failed = vec![];
    for (path, text, wanted) in SAMPLES {
        let place = Place::new();
        place.write(&format!("w/{path}"), text);
        let result = shown(&place, load(&options(&place, Path::new(path))));
        let hints = |line: &&str| !line.starts_with("  try:");
        let lines: Vec<&str> = result.lines().filter(hints).collect();
        let fits = |line: &str, wanted: &str| match wanted.strip_prefix('!') {
            Some(part) => line.starts_with("! ") && line.contains(part),
            None => line == wanted,
        };
        let all = lines.len() == wanted.len() && wanted.iter().all(|wanted| lines.iter().any(|line| fits(line, wanted)));
        if !all {
            failed.push(format!("{path}: {text}\n  wanted {wanted:#?}\n  read {lines:#?}"));
        }
    }
    assert!(failed.is_empty(), "{} of {} samples:\n{}", failed.len(), SAMPLES.len(), failed.join("\n"));
}

#[test]
fn lists_in_other_files_switch_servers_off() {
    let place = Place::new();
    place.write(".gemini/mcp-server-enablement.json", r#"{"a b": {"enabled": false}, "c": {"enabled": true}}"#);
    place.write("w/.gemini/settings.json", r#"{"mcpServers": {"A b": {"command": "x"}, "c": {"command": "x"}}}"#);
    place.write(".claude/settings.json", r#"{"deniedMcpServers": [{"serverName": "d"}, {"serverUrl": "https://*"}]}"#);
    place.write("w/.mcp.json", r#"{"mcpServers": {"d": {"command": "x"}, "e": {"command": "x"}}}"#);
    place.write(".claude.json", r#"{"numStartups": 1, "mcpServers": {"d": {"command": "x"}, "f": {"command": "x"}}}"#);
    let off = |file: &str| -> Vec<String> {
        let loaded = load(&options(&place, Path::new(file))).unwrap();
        loaded.servers.iter().filter(|spec| spec.disabled).map(|spec| spec.id.to_string()).collect()
    };
    assert_eq!(off(".gemini/settings.json"), ["A b"]);
    assert_eq!(off(".mcp.json"), ["d"]);
    assert_eq!(off("../.claude.json"), ["d"]);
    place.write(".gemini/mcp-server-enablement.json", "{");
    let loaded = load(&options(&place, Path::new(".gemini/settings.json"))).unwrap();
    assert!(loaded.problems.iter().any(|problem| problem.to_string().contains("mcp-server-enablement.json")), "{:?}", loaded.problems);
}
