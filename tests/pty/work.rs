//! A person at the console: finding, filling, firing, cancelling, answering, and a window that changes its size.

use std::os::unix::fs::PermissionsExt;

use crate::session::{Session, console};

fn demo(arguments: &[&str]) -> Session {
    let words: Vec<&str> = ["demo"].into_iter().chain(arguments.iter().copied()).collect();
    let mut session = console(&words).start();
    session.ready();
    session
}

fn leave(mut session: Session) {
    session.keys("q");
    session.ended().code(0).restored().nothing_left().no_files();
}

/// From anywhere to the form of a tool: two keys and its name.
fn find(session: &mut Session, words: &str, title: &str) {
    session.press("/", "find a tool");
    session.keys(&format!("{words}\r"));
    session.until(title, |screen| screen.contains(&format!("━ {title} ━")));
}

/// Out of the fields of a form, where letters are keys.
fn to_keys(session: &mut Session) {
    session.press("\x1b", "E $EDITOR");
}

#[test]
fn a_tool_is_found_filled_fired_and_its_result_seen() {
    let mut session = demo(&[]);
    find(&mut session, "create_u", "database_create_user");
    session.press("mary@example.com\t", "mary@example.com");
    session.press("Mary Shelley", "Mary Shelley");
    let screen = session.press("\r", "✓ ok");
    assert!(screen.contains("\"Mary Shelley\"") && screen.contains("\"u_"), "{screen}");
    to_keys(&mut session);

    session.press("?", "━ Keys ━");
    session.keys("\x1b");
    session.until("the help gone", |screen| !screen.contains("━ Keys ━"));
    session.press(":", "━ Do ━");
    session.press("get_inbox\r", "━ email_get_inbox ━");
    to_keys(&mut session);
    leave(session);
}

#[test]
fn a_long_call_is_cancelled() {
    let mut session = demo(&[]);
    find(&mut session, "report", "analytics_report");
    session.press("\x1530\r", "1 running");
    session.see(" of 30 s");
    to_keys(&mut session);
    session.keys("x");
    let screen = session.until("the end of it", |screen| screen.contains("cancelled") && !screen.contains("1 running"));
    assert!(screen.contains("cancelled"));
    leave(session);
}

#[test]
fn a_form_of_the_server_is_answered() {
    let mut session = demo(&[]);
    find(&mut session, "send_email", "email_send_email");
    session.keys("ada@example.com\tHello\t\t\t");
    session.until("the cursor on it", |screen| screen.contains("› confirm"));
    session.press(" ", "‹ – ›");
    session.press(" ", "‹ true ›");
    session.keys("\r");
    session.until("the question", |screen| screen.contains("Inbox"));
    session.keys("\r");
    let screen = session.see("confirmed  true");
    assert!(screen.contains("✓ ok") && !screen.contains("1 running"), "{screen}");
    leave(session);
}

#[test]
fn arguments_go_through_the_editor_and_back() {
    let mut session = {
        let folder = tempfile::tempdir().unwrap().keep();
        let editor = folder.join("an editor");
        std::fs::write(&editor, "#!/bin/sh\nstty -a >\"$0.modes\"\nprintf '{\"address\":\"edited@example.com\"}' >\"$2\"\n").unwrap();
        std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut session = console(&["demo"]).env("EDITOR", format!("'{}' --wait", editor.display())).start();
        session.ready();
        find(&mut session, "get_inbox", "email_get_inbox");
        session.press("first@example.com", "first@example.com");
        session.press("\x0f", "edited@example.com");
        let modes = std::fs::read_to_string(folder.join("an editor.modes")).unwrap();
        assert!(modes.contains(" icanon") && modes.contains(" echo "), "the editor got an ordinary terminal: {modes}");
        std::fs::remove_dir_all(folder).unwrap();
        session
    };
    assert!(session.screen().alternate_screen());
    session.press("\r", "✓ ok");
    to_keys(&mut session);
    leave(session);
}

#[test]
fn any_size_is_fine_while_traffic_runs() {
    let mut session = demo(&["--traffic"]);
    for (cols, rows) in [(20, 5), (1, 1), (300, 100), (3, 2), (80, 24), (1, 200), (500, 1), (96, 20)] {
        session.resize(cols, rows);
        session.next_frame();
        // Every pane and every dialog at this size.
        session.keys("\t\t\t?");
        session.keys("\x1b[B\x1b");
        session.next_frame();
    }
    session.resize(300, 100);
    let screen = session.see("Traffic");
    assert!(screen.lines().next().unwrap().contains("switchboard"), "{screen}");
    session.see("demo ");
    session.signal(rustix::process::Signal::TERM);
    session.ended().code(0).restored().nothing_left().no_files();
}
