//! The first start: nothing is configured, and a few keys later a server of another program has responded.

use crate::session::{bad_server, console};

#[test]
fn from_nothing_to_the_first_answer() {
    // As configured for another program on this machine.
    let cursor = format!(r#"{{"mcpServers": {{"bad": {{"command": {:?}, "args": ["hostile"]}}}}}}"#, bad_server());
    let mut session = console(&[]).file(".cursor/mcp.json", &cursor).start();
    let screen = session.see("Welcome to Switchboard");
    assert!(screen.contains("Cursor") && screen.contains("~/.cursor/mcp.json") && screen.contains("The demo"), "{screen}");
    // The servers are shown before they start, and Enter alone starts nothing.
    let screen = session.press("\r", "Start these servers?");
    assert!(screen.contains("badserver hostile") && screen.contains("config.toml"), "{screen}");
    session.press("y", "● bad");
    session.until("the server", |screen| screen.contains("● 1 ") && screen.contains("1 tool"));
    session.note_processes();
    // The message names the next keys: two keys and a name find its tool, Enter sends.
    session.see("to find a tool");
    session.press("/", "find a tool");
    session.press("echo\r", "━ bad_echo ━");
    session.press("\r", "Call bad_echo?");
    let screen = session.press("y", "hello");
    assert!(screen.contains("✓ ok"), "{screen}");
    // While servers run it opens again, and marks those in use.
    session.press("\x1b", "┏━ Servers");
    let screen = session.press("W", "Add servers");
    assert!(screen.contains("✓ in use"), "{screen}");
    session.press("\r", "are configured already");
    session.press("\x1b", "Add servers");
    session.keys("\x1b");
    session.until("the dialog gone", |screen| !screen.contains("Add servers"));
    session.keys("q");
    session.ended().code(0).restored().nothing_left();
}
