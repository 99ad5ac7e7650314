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
