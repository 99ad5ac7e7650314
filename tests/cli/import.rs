//! `import` of named files, of entries with errors, and of secret values as variables.

use super::*;

fn home() -> Home {
    let home = Home::new();
    let file = json!({"mcpServers": {
        "web": {"url": "https://h.example/mcp", "headers": {"Authorization": "Bearer s3cret-0123456789"}},
        "nothing": {},
    }});
    std::fs::write(home.path().join("team.json"), file.to_string()).unwrap();
    std::fs::write(home.path().join("ours.toml"), "[servers.mine]\ncommand = \"run\"\n").unwrap();
    home
}

#[test]
fn a_named_file_is_imported_whatever_the_entries_that_cannot_be() {
    let home = home();
    for line in [&["import", "team.json"][..], &["--config", "team.json", "import"]] {
        let ran = home.run(line).ends(0).says("1 entry cannot be imported");
        assert!(ran.out.contains("[servers.web]") && ran.out.contains("•••") && !ran.out.contains("s3cret"), "{}", ran.out);
        assert!(ran.err.contains("server `nothing`: has neither `command` nor `url` (line 1)\n    try: set `command`"), "{}", ran.err);
        assert!(!ran.err.contains("\\n") && !ran.err.contains("searched"), "{}", ran.err);
    }
    let both = home.run(&["import", "team.json", "ours.toml"]).ends(0);
    assert!(both.out.contains("[servers.web]") && both.out.contains("[servers.mine]"), "{}", both.out);
    let json: Value = serde_json::from_str(&home.run(&["import", "team.json", "--json"]).ends(0).out).unwrap();
    assert_eq!(json["sources"][0]["problems"][0]["server"], "nothing", "{json}");
    std::fs::write(home.path().join("empty.json"), "{}").unwrap();
    home.run(&["import", "empty.json"]).ends(2).says("has no MCP servers");
    home.run(&["import", "absent.json"]).ends(2).says("cannot be read");
    home.run(&["import"]).ends(0).says("no servers of other clients were found").says(".cursor/mcp.json");
    // A file that cannot be read may have servers.
    std::fs::create_dir(home.path().join(".cursor")).unwrap();
    std::fs::write(home.path().join(".cursor/mcp.json"), "{\"mcpServers\": {").unwrap();
    home.run(&["import"]).ends(7);
}

#[test]
fn secrets_stay_out_of_the_written_file_as_variables() {
    let home = home();
    let write = |more: &[&str]| {
        let line = [&["import", "--write", "team.json"], more].concat();
        let mut command = home.command(&line);
        let ran = Ran::of(&line, command.env("SWITCHBOARD_CONFIG_DIR", home.path().join("conf")).output().unwrap()).ends(0);
        (ran, std::fs::read_to_string(home.path().join("conf/config.toml")).unwrap())
    };
    let (ran, text) = write(&["--secrets", "env"]);
    assert!(text.contains("Authorization = \"Bearer ${WEB_AUTHORIZATION}\"") && !text.contains("s3cret"), "{text}");
    assert!(ran.err.contains("export WEB_AUTHORIZATION='•••'") && !ran.err.contains("s3cret"), "{}", ran.err);
    let (ran, again) = write(&[]);
    assert!(again == text && ran.err.contains("nothing was written, 1 already configured"), "{again}{}", ran.err);
    let shown = home.run(&["import", "team.json", "--secrets", "env", "--show-secrets"]).ends(0);
    assert!(shown.err.contains("export WEB_AUTHORIZATION=s3cret-0123456789") && !shown.out.contains("s3cret"), "{}", shown.err);
}

/// Files of clients in a home folder: the place, and the text with the entries `NAME` and `off-NAME`, which is switched off.
const CLIENTS: &[(&str, &str)] = &[
    (".config/Claude/claude_desktop_config.json", JSON),
    (".claude.json", JSON),
    (".cursor/mcp.json", JSON),
    (".codeium/windsurf/mcp_config.json", JSON),
    (".config/Code/User/mcp.json", r#"{"servers": {"NAME": {"command": "RUN", "args": ["NAME"]}}}"#),
    (".config/VSCodium/User/settings.json", r#"{"mcp": {"servers": {"NAME": {"command": "RUN", "args": ["NAME"]}}}}"#),
    (
        ".config/zed/settings.json",
        r#"{"context_servers": {"NAME": {"source": "custom", "command": "RUN", "args": ["NAME"]}, "off-NAME": {"source": "custom", "enabled": false, "command": "RUN", "args": ["off-NAME"]}}}"#,
    ),
    (
        ".codex/config.toml",
        "[mcp_servers.NAME]\ncommand = \"RUN\"\nargs = [\"NAME\"]\n[mcp_servers.off-NAME]\nenabled = false\ncommand = \"RUN\"\nargs = [\"off-NAME\"]\n",
    ),
    (
        ".gemini/settings.json",
        r#"{"mcpServers": {"NAME": {"command": "RUN", "args": ["NAME"]}, "off-NAME": {"command": "RUN", "args": ["off-NAME"]}}, "mcp": {"excluded": ["off-NAME"]}}"#,
    ),
    (".qwen/settings.json", r#"{"mcpServers": {"NAME": {"command": "RUN", "args": ["NAME"]}}}"#),
    (
        ".config/opencode/opencode.jsonc",
        r#"{ // a comment
            "mcp": {"NAME": {"type": "local", "command": ["RUN", "NAME"]}, "off-NAME": {"type": "local", "enabled": false, "command": ["RUN", "off-NAME"]}}}"#,
    ),
    (
        ".config/crush/crush.json",
        r#"{"mcp": {"NAME": {"type": "stdio", "command": "RUN", "args": ["NAME"]}, "off-NAME": {"type": "stdio", "disabled": true, "command": "RUN", "args": ["off-NAME"]}}}"#,
    ),
    (
        ".config/goose/config.yaml",
        "extensions:\n  NAME: {type: stdio, enabled: true, cmd: RUN, args: [NAME]}\n  off-NAME: {type: stdio, enabled: false, cmd: RUN, args: [off-NAME]}\n",
    ),
    (".continue/config.yaml", "mcpServers:\n  - name: NAME\n    command: RUN\n    args: [NAME]\n"),
    (".hermes/config.yaml", "mcp_servers:\n  NAME:\n    command: RUN\n    args: [NAME]\n"),
    (".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json", JSON),
    (".config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json", JSON),
    (".config/Code/User/globalStorage/kilocode.kilo-code/settings/mcp_settings.json", JSON),
    (".kiro/settings/mcp.json", JSON),
    (".aws/amazonq/mcp.json", JSON),
    (".gemini/antigravity/mcp_config.json", JSON),
    (".lmstudio/mcp.json", JSON),
    (".augment/settings.json", JSON),
    (".trae/mcp.json", JSON),
    (".factory/mcp.json", JSON),
    (".junie/mcp/mcp.json", JSON),
    (".warp/.mcp.json", JSON),
    (".copilot/mcp-config.json", r#"{"mcpServers": {"NAME": {"type": "local", "command": "RUN", "args": ["NAME"], "tools": ["*"]}}}"#),
    (".config/amp/settings.json", r#"{"amp.mcpServers": {"NAME": {"command": "RUN", "args": ["NAME"]}}}"#),
    (".mcporter/mcporter.json", r#"{"mcpServers": {"NAME": {"command": "RUN", "args": ["NAME"]}}}"#),
    (".config/mcphub/servers.json", JSON),
];

/// The shape that most clients have in common.
const JSON: &str = r#"{"mcpServers": {"NAME": {"command": "RUN", "args": ["NAME"]}, "off-NAME": {"command": "RUN", "args": ["off-NAME"], "disabled": true}}}"#;

#[test]
fn a_home_with_a_file_of_every_client_is_imported_and_only_what_is_switched_on_starts() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let (script, started) = (home.path().join("run.sh"), home.path().join("started"));
    let server = example("badserver").display().to_string();
    std::fs::write(&script, format!("#!/bin/sh\necho \"$1\" >> '{}'\nexec '{server}' plain\n", started.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut wanted = vec![];
    for (index, (path, text)) in CLIENTS.iter().enumerate() {
        let name = format!("s{index:02}");
        let file = home.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text.replace("RUN", &script.display().to_string()).replace("NAME", &name)).unwrap();
        wanted.push(name);
    }
    let run = |line: &[&str]| {
        let mut command = home.command(line);
        Ran::of(line, command.env("SWITCHBOARD_CONFIG_DIR", home.path().join("conf")).output().unwrap())
    };
    let shown = run(&["import"]).ends(0);
    for (name, (path, _)) in wanted.iter().zip(CLIENTS) {
        assert!(shown.out.contains(&format!("[servers.{name}]")), "{path}: {}{}", shown.out, shown.err);
    }
    assert!(!started.exists(), "import starts nothing");
    run(&["import", "--write"]).ends(0);
    let listed = run(&["servers", "--json", "--timeout", "60s"]);
    let document: Value = serde_json::from_str(&listed.out).unwrap_or_else(|error| panic!("{error}: {}{}", listed.out, listed.err));
    let state = |name: &str| {
        let row = document["servers"].as_array().unwrap().iter().find(|row| row["server"] == name);
        row.map(|row| row["state"].as_str().unwrap().to_owned())
    };
    for name in &wanted {
        assert_eq!(state(name).as_deref(), Some("ready"), "{name}: {}", listed.err);
        assert!([None, Some("disabled")].contains(&state(&format!("off-{name}")).as_deref()), "off-{name}");
    }
    let mut names: Vec<String> = std::fs::read_to_string(&started).unwrap().lines().map(str::to_owned).collect();
    names.sort();
    names.dedup();
    assert_eq!(names, wanted, "the servers that were started");
}
