//! `install`: the gateway in the files of clients.

use serde_json::Value;

use super::Home;

#[test]
fn the_entry_starts_this_program_and_undoing_restores_the_file() {
    let home = Home::new();
    let file = home.path().join(".cursor/mcp.json");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let before = "{\n  // mine\n  \"mcpServers\": {\"db\": {\"command\": \"db-server\"}}\n}\n";
    std::fs::write(&file, before).unwrap();
    let ran = home.run(&["install", "cursor"]).ends(6);
    assert!(ran.err.contains("needs a confirmation") && ran.err.contains("--yes"), "{}", ran.err);
    let ran = home.run(&["install", "cursor", "--print"]).ends(0);
    assert!(ran.out.contains("\"serve\"") && ran.err.contains(".cursor/mcp.json"), "{} {}", ran.out, ran.err);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before, "nothing is written without a confirmation");
    let ran = home.run(&["install", "cursor", "--yes", "--profile", "careful", "--json"]).ends(0);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&document["type"], &document["changed"], &document["key"]),
        (&"installed".into(), &true.into(), &"mcpServers.switchboard".into())
    );
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("// mine") && written.contains("db-server"), "{written}");
    assert!(written.contains(env!("CARGO_BIN_EXE_switchboard")) && written.contains("\"careful\""), "{written}");
    home.run(&["install", "cursor", "--undo", "--yes"]).ends(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let ran = home.run(&["install", "emacs"]).ends(2);
    assert!(ran.err.contains("claude-code"), "{}", ran.err);
}

/// Returns the path of the user's configuration file.
fn own_file(home: &Home) -> std::path::PathBuf {
    std::path::PathBuf::from(home.run(&["config", "path"]).ends(0).out.trim())
}

#[test]
fn moved_servers_are_in_our_file_without_their_secrets_and_undoing_restores_both() {
    const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let home = Home::new();
    let file = home.path().join(".cursor/mcp.json");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let before = format!(
        "{{\n  // mine\n  \"mcpServers\": {{\n    \"db\": {{\"command\": \"db-server\", \"env\": {{\"GITHUB_TOKEN\": \"{TOKEN}\"}}}},\n    \
         \"broken\": {{\"nothing\": 1}}\n  }}\n}}\n"
    );
    std::fs::write(&file, &before).unwrap();
    let own = own_file(&home);
    let existing = "# my servers\n[servers.files]\ncommand = \"files-server\"\n";
    std::fs::create_dir_all(own.parent().unwrap()).unwrap();
    std::fs::write(&own, existing).unwrap();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();

    let shown = home.run(&["install", "cursor", "--move"]).ends(6);
    assert!(shown.out.contains("+[servers.db]") && shown.out.contains("-    \"db\""), "{}", shown.out);
    assert!(!shown.out.contains(TOKEN) && shown.err.contains("broken stays"), "{} {}", shown.out, shown.err);
    assert_eq!((read(&file), read(&own)), (before.clone(), existing.to_owned()), "nothing is written without a confirmation");

    let moved = home.run(&["install", "cursor", "--move", "--yes", "--json"]).ends(0).json();
    assert_eq!((&moved["moved"], &moved["staying"]), (&serde_json::json!(["db"]), &serde_json::json!(["broken"])), "{moved}");
    let (client, ours) = (read(&file), read(&own));
    assert!(ours.starts_with(existing) && ours.contains("[servers.db]") && ours.contains("${GITHUB_TOKEN}"), "{ours}");
    assert!(!ours.contains(TOKEN), "{ours}");
    let entries: Value = serde_json::from_str(&client.replace("// mine", "")).unwrap();
    let entries = entries["mcpServers"].as_object().unwrap();
    assert_eq!(entries.keys().collect::<Vec<_>>(), ["broken", "switchboard"], "{client}");
    assert_eq!(entries["switchboard"]["env"]["GITHUB_TOKEN"], TOKEN, "the gateway starts the server as the client did");

    // Another installation changes the line and nothing of what was moved.
    home.run(&["install", "cursor", "--yes", "--profile", "careful"]).ends(0);
    assert!(read(&file).contains(TOKEN) && read(&file).contains("careful"), "{}", read(&file));
    let undone = home.run(&["install", "cursor", "--undo", "--yes"]).ends(0);
    assert!(!undone.out.contains(TOKEN), "{}", undone.out);
    assert_eq!((read(&file), read(&own)), (before, existing.to_owned()));
}

#[test]
fn moved_servers_return_although_both_files_have_changed() {
    let home = Home::new();
    let file = home.path().join(".codex/config.toml");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "model = \"x\"\n\n[mcp_servers.db]\ncommand = \"db-server\"\nargs = [\"-v\"]\n").unwrap();
    let own = own_file(&home);
    home.run(&["install", "codex", "--move", "--yes"]).ends(0);
    let edit = |path: &std::path::Path, more: &str| {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, format!("{text}\n{more}")).unwrap();
    };
    edit(&file, "[edited]\nx = 1\n");
    edit(&own, "[servers.edited]\ncommand = \"other\"\n");
    home.run(&["install", "codex", "--undo", "--yes"]).ends(0);
    let (client, ours) = (std::fs::read_to_string(&file).unwrap(), std::fs::read_to_string(&own).unwrap());
    assert!(client.contains("[edited]") && client.contains("[mcp_servers.db]") && client.contains("args = [\"-v\"]"), "{client}");
    assert!(!client.contains("switchboard"), "{client}");
    assert!(ours.contains("[servers.edited]") && !ours.contains("db-server"), "{ours}");
}
