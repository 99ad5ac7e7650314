//! Entries of the configuration that cannot be used: each is listed with its reason, and costs no other entry.

use super::*;

/// A home with a file in which one server works and the others have errors.
fn home() -> Home {
    let home = Home::new();
    std::fs::create_dir(home.path().join("db")).unwrap();
    let program = assert_cmd::cargo::cargo_bin!("switchboard");
    let file = json!({"mcpServers": {
        "good": {"command": program, "args": ["demo-server", "database", "--dir", home.path().join("db")]},
        "asks": {"command": "npx", "args": ["-y", "x"], "env": {"API_KEY": "${input:key}"}},
        "unset": {"command": "npx", "env": {"TOKEN": "${TOKEN_SERVER_2}"}},
        "nothing": {},
        "text": "npx -y x",
        "off": {"command": "x", "args": "y", "disabled": true},
    }});
    std::fs::write(home.path().join("mcp.json"), serde_json::to_string_pretty(&file).unwrap()).unwrap();
    home
}

fn run(home: &Home, line: &[&str]) -> Ran {
    home.run(&[&["--config", "mcp.json", "--timeout", "60s"], line].concat())
}

#[test]
fn unusable_entries_are_rows_of_every_list_with_exit_code_7() {
    let home = home();
    let servers = run(&home, &["servers"]).ends(7);
    for name in ["good", "asks", "unset", "nothing", "text", "off"] {
        assert!(servers.out.lines().any(|line| line.starts_with(name)), "{name}: {}", servers.out);
    }
    assert!(servers.err.contains("`TOKEN_SERVER_2` is not set") && servers.err.contains("mcp.json:"), "{}", servers.err);
    // The row has the error, so no warning repeats it. A disabled row has none.
    let warned: Vec<&str> = servers.err.lines().filter(|line| line.starts_with("warning:")).collect();
    assert!(warned.len() == 1 && warned[0].contains("server `off`"), "{warned:?}");

    let json: Value = serde_json::from_str(&run(&home, &["servers", "--json"]).ends(7).out).unwrap();
    let rows = json["servers"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["server"] == name).unwrap_or_else(|| panic!("{name}: {json}"));
    assert_eq!((&row("good")["state"], &row("off")["state"]), (&json!("ready"), &json!("disabled")));
    assert_eq!((&row("asks")["state"], &row("asks")["failure"]["step"]), (&json!("failed"), &json!("configure")));
    assert!(row("unset")["failure"]["place"].as_str().unwrap().contains("mcp.json:"), "{json}");
    assert_eq!((&row("text")["transport"], &row("asks")["transport"]), (&json!("-"), &json!("stdio")));

    let doctor = run(&home, &["doctor"]).ends(7);
    assert!(doctor.out.contains("6 servers: 1 ready, 4 failed, 1 disabled"), "{}", doctor.out);
    assert!(doctor.out.contains("should be a table, not a string"), "{}", doctor.out);
    let json: Value = serde_json::from_str(&run(&home, &["doctor", "--json"]).ends(7).out).unwrap();
    assert_eq!(json["servers"].as_array().unwrap().len(), 6);

    let tools: Value = serde_json::from_str(&run(&home, &["tools", "--json"]).ends(7).out).unwrap();
    assert_eq!(tools["failed"].as_array().unwrap().len(), 4, "{tools}");
    assert!(!tools["tools"].as_array().unwrap().is_empty());
    // The selected server alone decides.
    let good = run(&home, &["--server", "good", "servers"]).ends(0);
    assert_eq!(good.err, "");
    run(&home, &["--server", "asks", "servers"]).ends(3);
}

#[test]
fn a_call_to_an_unusable_entry_says_why_and_suggests_no_other_server() {
    let home = home();
    for name in ["asks/query_users", "asks_query_users"] {
        let ran = run(&home, &["call", name]).ends(3);
        let said = ran.err.lines().skip_while(|line| !line.starts_with("failed")).collect::<Vec<_>>().join("\n");
        assert!(said.contains("asks cannot be used") && said.contains("${input:") && said.contains("mcp.json:"), "{said}");
        assert!(!ran.err.contains("did you mean") && !ran.err.contains("good"), "{}", ran.err);
    }
    let other = run(&home, &["call", "good/query_user"]).ends(2);
    assert!(other.err.contains("did you mean good_query_users"), "{}", other.err);
    let unknown = run(&home, &["--server", "god", "servers"]).ends(2);
    assert!(unknown.err.contains("did you mean good?") && unknown.err.contains("asks"), "{}", unknown.err);
}

#[test]
fn a_misspelt_key_of_our_own_file_costs_its_entry() {
    let home = home();
    let program = assert_cmd::cargo::cargo_bin!("switchboard");
    let text = format!(
        "[servers.good]\ncommand = {program:?}\nargs = [\"demo-server\", \"database\", \"--dir\", \"db\"]\n[servers.typo]\ncomand = \"x\"\n"
    );
    std::fs::write(home.path().join("c.toml"), text).unwrap();
    let ran = home.run(&["--config", "c.toml", "servers"]).ends(7);
    assert!(ran.out.contains("good") && ran.out.contains("typo"), "{}", ran.out);
    assert!(ran.err.contains("c.toml:5:1") && ran.err.contains("did you mean `command`?"), "{}", ran.err);
}
