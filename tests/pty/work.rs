//! A user at the console: finding, filling, sending, cancelling, answering, and resizing the window.

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

/// Goes to the form of a tool: two keys and its name.
fn find(session: &mut Session, words: &str, title: &str) {
    session.press("/", "find a tool");
    session.keys(&format!("{words}\r"));
    session.until(title, |screen| screen.contains(&format!("━ {title} ━")));
}

/// Leaves the fields of a form, so that letters are keys.
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
    session.press(":", "━ Commands ━");
    session.press("get_inbox\r", "━ email_get_inbox ━");
    to_keys(&mut session);
    leave(session);
}

#[test]
fn pasted_lines_go_out_with_line_feeds() {
    let mut session = demo(&[]);
    find(&mut session, "send_email", "email_send_email");
    session.keys("ada@example.com\tHello\t");
    // A terminal sends a carriage return for each line end of a paste.
    session.keys("\x1b[200~first\rsecond \"q\"\r\n\tthird\x1b[201~");
    session.see(r#"first\nsecond "q"\n\tthird"#);
    session.keys("\r");
    session.until("the call answered", |screen| screen.contains("✓ ok"));
    to_keys(&mut session);
    session.keys("\x1b[17~");
    session.until("the result in focus", |screen| screen.contains("┏━ Result"));
    session.press("[", "no other events");
    session.press("[", "tools/call");
    // The arguments as sent.
    session.keys("[");
    session.until("the arguments sent", |screen| screen.contains(r#"first\nsecond \"q\"\n\tthird"#));
    leave(session);
}

#[test]
fn pasted_json_is_taken_whatever_its_line_ends() {
    let mut session = demo(&[]);
    find(&mut session, "create_u", "database_create_user");
    to_keys(&mut session);
    session.press("e", "\"email\"");
    session.keys("\x01\x0b");
    // Every line of the editor's initial text is deleted.
    session.keys(&"\x1b[3~".repeat(400));
    session.keys("\x1b[200~{\r  \"email\": \"mary@example.com\",\r  \"name\": \"Mary\"\r}\r\x1b[201~");
    session.see("✓ valid");
    session.press("\x1b\r", "✓ ok");
    session.keys("\x1b");
    session.until("out of the editor", |screen| screen.contains("q quit"));
    leave(session);
}

#[test]
fn a_paste_never_freezes_the_console() {
    let mut session = demo(&[]);
    find(&mut session, "send_email", "email_send_email");
    session.keys("ada@example.com\tHello\t");
    let paste = |session: &mut Session, size: usize| {
        let text = "0123456789abcde\r".repeat(size / 16);
        session.keys(&format!("\x1b[200~{text}\x1b[201~"));
    };
    paste(&mut session, 10 << 20);
    session.see("Nothing was pasted: the text has 10");
    paste(&mut session, 3 << 20);
    session.see("abcde\\n");
    // In a prompt of one line.
    to_keys(&mut session);
    session.press(":", "━ Commands ━");
    paste(&mut session, 3 << 20);
    session.keys("\x1b");
    session.see("Nothing was pasted: the text has 3");
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
    // For half a second after it opened unrequested it ignores keys.
    session.until("the question, a second old", |screen| {
        screen.split("waiting for ").nth(1).and_then(|rest| rest.split_whitespace().nth(1)) == Some("s")
    });
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
fn a_call_is_saved_and_opened_by_its_name() {
    let mut session = demo(&[]);
    find(&mut session, "get_inbox", "email_get_inbox");
    session.press("ada@example.com", "ada@example.com");
    session.press("\x1bk", "━ Save call ━");
    // The cursor moves to it.
    session.press("Inbox of Ada\r", "━ Inbox of Ada · email_get_inbox ━");
    to_keys(&mut session);
    find(&mut session, "query_u", "database_query_users");
    to_keys(&mut session);
    session.press("/", "find a tool");
    session.press("of ada\r", "━ Inbox of Ada · email_get_inbox ━");
    session.press("\r", "✓ ok");
    let screen = session.see("ada@example.com");
    assert!(screen.contains("━ Inbox of Ada"), "{screen}");
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
    // Not the frame of the size before, of which parts may be on the screen.
    session.until("the frame of the last size", |screen| {
        let header = screen.lines().next().is_some_and(|line| line.contains("switchboard"));
        header && screen.contains("Traffic") && screen.contains("demo ") && screen.lines().any(|line| line.chars().count() > 250)
    });
    session.signal(rustix::process::Signal::TERM);
    session.ended().code(143).restored().nothing_left().no_files();
}

#[test]
fn a_whole_session_by_keys_alone() {
    let mut session = demo(&[]);
    // A nested form, sent, to its result.
    find(&mut session, "create_u", "database_create_user");
    session.press("mary@example.com\t", "mary@example.com");
    session.press("Mary\t\t\t", "› address");
    session.press(" ", "▾");
    session.press("\tHigh Street\tBerlin", "Berlin");
    session.press("\r", "✓ ok");
    session.keys("\x1b[17~");
    session.until("the result in focus", |screen| screen.contains("┏━ Result"));
    // Searched, filtered, its frames opened.
    session.press("/berlin\r", "/berlin 1 of 1");
    // Escape directly followed by a letter would be Alt and the letter.
    session.keys("\x1b");
    session.until("the search gone", |screen| !screen.contains("/berlin"));
    session.press("|", "Filter by JSONPath");
    session.press("\x15$.address.city\r", "1 match");
    session.keys("\x1b");
    session.until("the filter gone", |screen| !screen.contains("1 match"));
    session.press("[", "no other events");
    let screen = session.press("[", "tools/call");
    assert!(screen.contains("→ request"), "{screen}");
    // The same call once more, changed.
    session.press("e", "━ database_create_user ━");
    session.press("\x15anne@example.com\r", "anne@example.com");
    session.until("both calls answered", |screen| screen.matches("console  ✓ ok").count() == 2);
    // All of it in traffic and timeline.
    to_keys(&mut session);
    session.press("2", "━ Traffic ━");
    session.press("/tool:create_user origin:console\r", "2 of ");
    session.press("\x1b[H\r", "\"mary@example.com\"");
    session.press("3", "━ Timeline ━");
    session.press("/server:email\r", "Latest calls");
    session.until("only what passes", |screen| !screen.contains("create_user"));
    session.press("\x1b", "create_user");
    leave(session);
}

#[test]
fn a_whole_session_by_mouse_alone() {
    let mut session = demo(&[]);
    // A second click on a tool opens its form; the footer's keys are buttons.
    session.click("query_users");
    session.click("query_users");
    session.until("the form", |screen| screen.contains("━ database_query_users ━"));
    session.click("⏎ send");
    session.see("✓ ok");
    session.click("frames");
    session.see("tools/call");
    session.click("2 Traffic");
    session.until("the traffic", |screen| screen.contains("━ Traffic ━"));
    session.click("query_users");
    session.click("query_users");
    session.until("the call", |screen| screen.contains("┏━ database_query_users ──"));
    session.click("3 Timeline");
    session.until("the timeline", |screen| screen.contains("━ Timeline ━") && screen.contains("query_users"));
    session.click("1 Console");
    session.until("the console", |screen| screen.contains("─ Servers ─"));
    session.click("? help");
    session.until("the help", |screen| screen.contains("━ Keys ━"));
    session.click("Esc back");
    session.until("the help gone", |screen| !screen.contains("━ Keys ━"));
    session.click("q quit");
    session.ended().code(0).restored().nothing_left().no_files();
}

#[test]
fn colours_and_keys_are_taken_in_while_it_runs() {
    let mut session = console(&["--config", "own.toml"]).file("own.toml", "[servers.a]\ncommand = \"x\"\ndisabled = true\n").start();
    session.see("q quit");
    session.write(
        "own.toml",
        "[console]\ntheme = \"mine.toml\"\n[keys.global]\nf10 = \"quit\"\nq = \"none\"\n[servers.a]\ncommand = \"x\"\ndisabled = true\n",
    );
    session.see("theme");
    session.write("mine.toml", "ok = \"green\"\n");
    session.see("F10 quit");
    session.keys("\x1b[21~");
    session.ended().code(0).restored().no_files();
}
