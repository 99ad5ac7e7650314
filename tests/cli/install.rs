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
