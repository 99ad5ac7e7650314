//! Two servers side by side.

use super::*;

/// Puts the cursor on a server.
fn on(harness: &mut Harness, server: &str) {
    harness.keys("esc").model.console.focus = Focus::Servers;
    for _ in 0..200 {
        if matches!(harness.model.console.tree.selected(), Some(Node::Server(id)) if id.as_str() == server) {
            return;
        }
        harness.keys("down");
    }
    panic!("{server} is not in the tree");
}

#[test]
fn two_marked_servers_are_compared_side_by_side() {
    let mut harness = Harness::new(120, 40);
    harness.keys("home -");
    on(&mut harness, "database");
    assert!(!harness.model.is_enabled(Action::Compare));
    harness.keys("=");
    assert!(harness.model.dialogs.is_empty() && harness.frame().contains("mark two servers"), "{}", harness.frame());
    harness.keys("m");
    assert!(harness.frame().contains("◆"), "{}", harness.frame());
    harness.keys("home");
    on(&mut harness, "email");
    assert!(harness.model.is_enabled(Action::Compare));
    harness.keys("m =");
    let frame = harness.frame();
    for text in ["Compare two servers", "- database", "+ email", "- tool query_users", "+ tool send_email", "breaking"] {
        assert!(frame.contains(text), "{text}: {frame}");
    }
    assert!(harness.keys("2").frame().contains("capabilities"));
    // A second mark takes the first one away.
    harness.keys("esc m m m");
    assert_eq!(harness.model.console.tree.marked().len(), 2 - 1);
}

#[test]
fn only_the_last_two_marked_servers_are_compared() {
    let mut harness = Harness::new(120, 40);
    harness.keys("home -");
    for server in ["database", "email", "analytics"] {
        harness.keys("home");
        on(&mut harness, server);
        harness.keys("m");
    }
    let marked: Vec<&str> = harness.model.console.tree.marked().iter().map(|id| id.as_str()).collect();
    assert_eq!(marked, ["email", "analytics"]);
    harness.keys("=");
    assert!(harness.frame().contains("- email"), "{}", harness.frame());
}
