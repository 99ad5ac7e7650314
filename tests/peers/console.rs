//! The console itself, in a terminal, on real servers: suggestions while typing.

use crate::{
    packages,
    session::{Session, console},
    support::PATIENCE,
};

/// The console on the score board and on server-everything.
fn start() -> (tempfile::TempDir, Session) {
    let folder = tempfile::tempdir().unwrap();
    let limits = format!("timeouts = {{ connect = \"{0}s\", probe = \"{0}s\", list = \"{0}s\" }}", PATIENCE.as_secs());
    let server =
        |name: &str, command: &str, argument: &str| format!("[servers.{name}]\ncommand = {command:?}\nargs = [{argument:?}]\n{limits}\n");
    let board = server("board", &packages::installed("py/bin/python"), &packages::test_file("board.py"));
    let everything = server("everything", "node", &packages::script("server-everything"));
    let config = folder.path().join("config.toml");
    std::fs::write(&config, board + &everything).unwrap();
    let mut session = console(&["--config", config.to_str().unwrap()]).start();
    session.until("both servers ready", |screen| screen.lines().next().is_some_and(|line| line.contains("● 2")));
    session.note_processes();
    (folder, session)
}

/// From the top of the tree to its nth row, which is expanded, and what it contains.
fn open(session: &mut Session, row: usize, fold: &str, title: &str) {
    session.keys(&format!("g{}", "j".repeat(row)));
    session.press(" ", &format!("▾ {fold} 1"));
    session.keys("j\r");
    session.until(title, |screen| screen.contains(&format!("━ {title} ━")));
}

fn leave(mut session: Session) {
    session.press("\x1b", "E $EDITOR");
    session.keys("q");
    session.ended().code(0).restored().nothing_left();
}

#[test]
fn what_a_server_suggests_is_seen_while_typing_and_taken_with_a_key() {
    let (_folder, mut session) = start();
    open(&mut session, 4, "prompts", "cheer");
    session.press("b", "Ctrl-n  blue");
    session.press("\x0e", "team *    blue");
    // The next argument is completed with the value of the first.
    session.keys("\t");
    session.press("Bo", "Ctrl-n  Bob");
    session.press("\x0e", "player *  Bob");
    session.press("\r", "Cheer for Bob of team blue");
    leave(session);
}
