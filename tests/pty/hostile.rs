//! Text of a server reaches the terminal as text only.

use crate::{
    session::{bad_server, console},
    stream::{Piece, pieces},
};

#[test]
fn a_hostile_description_is_text() {
    let mut session = console(&["--", &bad_server(), "hostile"]).start();
    session.until("the tools of the server", |screen| screen.contains(" ready") && screen.contains("echo"));
    session.note_processes();
    session.press("/", "find a tool");
    let screen = session.press("echo\r", r"\x1b]0;owned\x07");
    assert!(screen.contains(r"\x1b[2J\u{202e}evil"), "{screen}");
    session.press("\r", "Call badserver_echo?");
    session.press("y", "hello");
    // Escape directly followed by a letter would be Alt and the letter.
    session.keys("\x1b");
    session.until("the tree in focus", |screen| screen.contains("┏━ Servers"));
    session.keys("q");
    let ended = session.ended().code(0).restored().nothing_left().no_files();
    assert!(!String::from_utf8_lossy(&ended.stream).contains('\u{202e}'));
    for piece in pieces(&ended.stream) {
        match &piece {
            Piece::Text(_) | Piece::Control('\r' | '\n') => {}
            Piece::Osc(title) => {
                let ours = title.strip_prefix("0;").is_some_and(|t| t.starts_with("switchboard") && !t.contains("evil"));
                assert!(ours, "{piece:?}");
            }
            Piece::Csi(parameters, last) => {
                let plain = parameters.chars().all(|c| c.is_ascii_digit() || c == ';' || c == ':');
                let ours = match last {
                    'm' | 'H' | 'J' | 'K' => plain,
                    'h' | 'l' => {
                        ["?25", "?1000", "?1002", "?1003", "?1006", "?1015", "?1049", "?2004", "?2026"].contains(&parameters.as_str())
                    }
                    't' => ["22;0", "23;0"].contains(&parameters.as_str()),
                    _ => false,
                };
                assert!(ours, "{piece:?}");
            }
            _ => panic!("{piece:?}"),
        }
    }
}

/// Schemas that a validator would follow forever: of a tool, and of an unrequested question.
#[test]
fn a_hostile_schema_freezes_neither_the_form_nor_the_inbox() {
    let mut session = console(&["--", &bad_server(), "schemas"]).start();
    session.until("the question", |screen| screen.contains("fill in") && screen.contains("the schema expands to more than"));
    session.note_processes();
    session.press("abc", "abc");
    // For half a second after it opened it ignores keys.
    session.until("the question, a second old", |screen| {
        screen.split("waiting for ").nth(1).and_then(|rest| rest.split_whitespace().nth(1)) == Some("s")
    });
    session.keys("\x1b");
    session.until("the field left", |screen| !screen.contains("Alt-u undo"));
    session.keys("\x1b");
    session.until("the question gone", |screen| !screen.contains("fill in"));
    for tool in ["bomb_expand", "bomb_chain", "bomb_twice"] {
        session.press("/", "find a tool");
        session.keys(&format!("{tool}\r"));
        session.until(tool, |screen| screen.contains(&format!("━ badserver_{tool} ━")));
        // An object takes the name of a member.
        session.press("abc", "bc");
        if tool == "bomb_twice" {
            session.keys("\x1b");
            session.until("the name cancelled", |screen| !screen.contains("name: bc"));
        }
        session.press("\x1b", "E $EDITOR");
        session.keys("\x1b");
        session.until("the tree in focus", |screen| screen.contains("┏━ Servers"));
    }
    session.press("i", "fill in");
    session.signal(rustix::process::Signal::TERM);
    session.ended().code(143).restored().nothing_left().no_files();
}
