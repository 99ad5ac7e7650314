//! Secrets of a configuration reach neither the terminal, nor the clipboard, nor a file of the console.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    session::{Session, bad_server, console},
    stream::{Piece, pieces},
};

/// The configuration, in the home folder.
const FILE: &str = ".config/switchboard/config.toml";

/// A value that no other text contains.
fn canary() -> String {
    format!("cnry{:016x}", fastrand::u64(..))
}

/// Returns every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    memchr::memmem::find(bytes, needle.as_bytes()).is_some()
}

/// Asserts that no canary is on the screen. The server puts them into the name of a tool and into schemas, which are used as they are.
fn look(session: &Session, canaries: &[String], what: &str) {
    let screen: String = session.text().lines().filter(|line| !line.contains("named_")).map(|line| format!("{line}\n")).collect();
    for canary in canaries {
        // A line break may be in the middle.
        let random = &canary[4..];
        let halves = [&random[..8], &random[8..]];
        assert!(!halves.iter().any(|half| screen.contains(half)), "{what} shows {canary}:\n{screen}");
    }
}

#[test]
fn a_console_session_leaks_no_secret() {
    let canaries: Vec<String> = (0..10).map(|_| canary()).collect();
    let [env, token, variable, argument, flag, user, password, query, header, bearer] = &canaries[..] else { unreachable!() };
    let config = format!(
        "[servers.leaky]\ntrusted = true\ncommand = {:?}\nargs = [\"leaky\", \"--token={argument}\", \"--api-key\", {flag:?}]\n\
         env = {{ LEAK_LITERAL = {env:?}, LEAK_API_TOKEN = {token:?}, LEAK_VIA = \"${{CANARY}}\" }}\n\n\
         [servers.web]\nurl = \"http://{user}:{password}@127.0.0.1:1/mcp?key={query}\"\n\
         headers = {{ Authorization = \"Bearer {bearer}\", X-Plain = {header:?} }}\n",
        bad_server()
    );
    let mut session = console(&[]).env("CANARY", variable).env("SWITCHBOARD_LOG", "trace").file(FILE, &config).start();
    session.until("the tools", |screen| screen.contains("leaky") && screen.contains(" ready") && screen.contains("tool_error"));
    session.note_processes();
    look(&session, &canaries, "the first screen");
    for tool in ["leaky_result", "leaky_error", "leaky_log"] {
        session.press("/", "find a tool");
        session.keys(&format!("{tool}\r"));
        session.until(tool, |screen| screen.contains(&format!("━ {tool} ━")));
        session.press("\r", "· queued ");
        session.press("\x1b", "E $EDITOR");
        copy_all(&mut session);
        // The result.
        session.keys("\x1b[17~");
        session.until("the result in focus", |screen| screen.contains("┏━ Result"));
        copy_all(&mut session);
        session.keys("\x1b");
        session.until("the tree in focus", |screen| screen.contains("┏━ Servers"));
    }
    for (key, title) in [("2", "Traffic"), ("3", "Timeline"), ("4", "Health"), ("5", "Workflows")] {
        session.keys(key);
        session.until(title, |screen| screen.contains(title) && !screen.contains(" Servers ━"));
        look(&session, &canaries, title);
    }
    session.keys("q");
    let ended = session.ended().code(0).restored().nothing_left().no_files();
    let copies: Vec<Vec<u8>> = pieces(&ended.stream).iter().filter_map(copied).collect();
    assert!(copies.len() >= 20, "{} copies", copies.len());
    let mut found = vec![];
    for canary in &canaries {
        found.extend(
            copies.iter().filter(|copy| holds(copy, canary)).map(|copy| format!("{canary} in {:?}", String::from_utf8_lossy(copy))),
        );
        let kept = files(ended.home()).into_iter().filter(|file| !file.ends_with(FILE));
        found
            .extend(kept.filter(|file| holds(&std::fs::read(file).unwrap(), canary)).map(|file| format!("{canary} in {}", file.display())));
        found.extend(Some(ended.last_words()).filter(|words| words.contains(canary)));
    }
    assert_eq!(found, Vec::<String>::new(), "{canaries:?}");
}

/// Copies everything that the menu offers.
fn copy_all(session: &mut Session) {
    let menu = session.press("y", "━ Copy ━");
    session.keys("\x1b");
    session.until("the menu closed", |screen| !screen.contains("━ Copy ━"));
    for key in ["y", "j", "c", "u", "f", "m"] {
        if menu.contains(&format!("┃ {key}  ")) {
            session.press("y", "━ Copy ━");
            session.keys(key);
            session.until("the menu closed", |screen| !screen.contains("━ Copy ━"));
        }
    }
}

/// Returns the text that a control sequence puts into the clipboard (OSC 52).
fn copied(piece: &Piece) -> Option<Vec<u8>> {
    let Piece::Osc(text) = piece else { return None };
    STANDARD.decode(text.strip_prefix("52;c;")?).ok()
}
