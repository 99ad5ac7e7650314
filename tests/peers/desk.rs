//! Whole sessions at the console on real servers, as a person has them: by keyboard alone and by mouse alone.

use crate::{
    packages,
    session::{Session, console},
    support::PATIENCE,
};

/// What a session is started with, and has to outlive it.
struct Desk {
    session: Session,
    _folders: [tempfile::TempDir; 2],
}

/// The console on six servers: four from npm, two in Python.
fn start() -> Desk {
    let (folder, repository) = (tempfile::tempdir().unwrap(), packages::repository());
    let root = folder.path().canonicalize().unwrap();
    let shown = |path: &std::path::Path| path.display().to_string();
    std::fs::write(root.join("note.txt"), "written by the test").unwrap();
    let limits = format!("timeouts = {{ connect = \"{0}s\", probe = \"{0}s\", list = \"{0}s\" }}", PATIENCE.as_secs());
    let server = |name: &str, command: &str, arguments: &[String]| {
        format!(
            "[servers.{name}]\ncommand = {command:?}\nargs = {arguments:?}\nenv = {{ MEMORY_FILE_PATH = {:?} }}\n{limits}\n",
            shown(&root.join("memory.jsonl"))
        )
    };
    let npm = |name: &str, package: &str, arguments: &[&str]| {
        let words = [packages::script(package)].into_iter().chain(arguments.iter().map(|&word| word.to_owned()));
        server(name, "node", &words.collect::<Vec<_>>())
    };
    let config = [
        npm("everything", "server-everything", &["stdio"]),
        npm("files", "server-filesystem", &[&shown(&root)]),
        npm("memory", "server-memory", &[]),
        npm("thinking", "server-sequential-thinking", &[]),
        server("time", &packages::installed("py/bin/mcp-server-time"), &["--local-timezone".into(), "Europe/Rome".into()]),
        server("git", &packages::installed("py/bin/mcp-server-git"), &["--repository".into(), shown(repository.path())]),
    ];
    let file = root.join("config.toml");
    std::fs::write(&file, config.concat()).unwrap();
    let mut session = console(&["--config", &shown(&file)]).start();
    session.resize(140, 48);
    session.until("six servers ready", |screen| screen.lines().next().is_some_and(|line| line.contains("● 6")));
    session.note_processes();
    Desk { session, _folders: [folder, repository] }
}

/// The result pane's title, and that of its call when it has ended well.
const DONE: &str = "Result ── ✓ ok";
const ENTITIES: &str = "memory_create_entities";
const LONG: &str = "everything_trigger-long-running-operation";

/// Whether the line of this field holds this text.
fn holds(screen: &str, field: &str, text: &str) -> bool {
    screen.lines().any(|line| line.contains(field) && line.contains(text))
}

impl Desk {
    /// Finds a tool of any server: a key, some of its letters, and Enter.
    fn find(&mut self, letters: &str, tool: &str) {
        self.session.keys("/");
        self.session.press(letters, tool.split_once('_').expect("a server's tool").1);
        self.session.press("\r", &format!("━ {tool} ━"));
    }

    /// Whether the call that the result pane shows is under way, seen by the animation that says so.
    fn running(&mut self) {
        self.session.until("the call under way", |screen| holds(screen, "─ Result ──", "running"));
    }

    /// Types into a field of the question that is open.
    fn answer(&mut self, field: &str, text: &str) {
        self.session.see(field);
        self.session.keys(text);
        self.session.until("the answer", |screen| holds(screen, field, text));
    }

    /// Clicks on the last occurrence of a text on the screen.
    fn click_last(&mut self, words: &str) {
        self.session.see(words);
        let (_, cols) = self.session.screen().size();
        let rows: Vec<String> = self.session.screen().rows(0, cols).collect();
        let (y, row) = rows.iter().enumerate().rfind(|(_, row)| row.contains(words)).expect("it is in one row");
        let x = row[..row.rfind(words).expect("it is in this row")].chars().count();
        self.session.click_at(x, y);
    }

    /// Calls appear in the traffic, newest last, and as bars in the timeline.
    fn watched(&mut self, outcomes: &[(&str, &str)]) {
        let screen = self.session.until("the traffic", |screen| {
            screen.contains("━ Traffic ━") && outcomes.iter().all(|(tool, outcome)| holds(screen, tool, outcome))
        });
        let at = |tool: &str, outcome: &str| screen.lines().position(|line| line.contains(tool) && line.contains(outcome));
        let places: Vec<_> = outcomes.iter().map(|(tool, outcome)| at(tool, outcome)).collect();
        assert!(places.is_sorted(), "in the order of their times: {places:?}\n{screen}");
    }

    fn leave(mut self) {
        self.session.keys("q");
        self.session.ended().code(0).restored().nothing_left();
    }
}

#[test]
fn a_session_by_keyboard_alone() {
    let mut desk = start();
    // Two keys and text: `/`, letters, Enter.
    desk.find("createent", ENTITIES);
    // A form in a form: an array of objects, in which there is an array of texts.
    let s = &mut desk.session;
    s.press("a", "name *");
    s.press("Ada\tperson\t", "person");
    s.keys("a");
    s.press("counts", "counts");
    s.press("\r", "Call memory_create_entities?");
    s.press("y", DONE);
    // The result: searched, folded and shown as it went over the wire.
    s.press("\x1b[17~", "━ Result");
    s.press("/Ada\r", "/Ada 1 of 1");
    s.keys("\x1b");
    s.until("the search gone", |screen| !screen.contains("/Ada"));
    s.press("---", "▸ entities");
    s.press("+", "▾ entities");
    // The frames are some tabs away.
    for _ in 0..6 {
        if s.text().contains("tools/call") {
            break;
        }
        s.keys("]");
        s.next_frame();
    }
    s.see("tools/call");
    // Again from the traffic, with another name. Servers may still send lists.
    s.press("2", "━ Traffic ━");
    s.keys("/kind:call\r");
    s.until("the calls alone", |screen| screen.contains("create_entities") && !screen.contains("tools/list"));
    s.press("e", &format!("━ {ENTITIES} ━"));
    s.keys("\x1b[B\x1b[B\x15Bob");
    s.until("the name changed", |screen| holds(screen, "name *", "Bob"));
    s.press("\r", "Call memory_create_entities?");
    s.keys("y");
    s.until("the second answer", |screen| holds(screen, "name ", "\"Bob\"") || screen.contains("2 calls"));
    s.until("both answered", |screen| screen.contains("2 calls") && screen.contains(DONE));
    s.press("\x1b", "E $EDITOR");
    // A long call, cancelled while it tells how far it is.
    desk.find("longrun", LONG);
    desk.session.press("\r", "Call everything_trigger-long");
    desk.session.keys("t");
    desk.running();
    desk.session.see("notifications/progress");
    desk.session.press("\x1b", "E $EDITOR");
    desk.session.press("x", "– cancelled");
    // A question of the server, answered.
    desk.find("elicitreq", "everything_trigger-elicitation-request");
    desk.session.press("\r", "━ Question");
    desk.answer("name *", "Ada");
    desk.session.press("\r", DONE);
    // All of it in Traffic and Timeline.
    desk.session.keys("2");
    desk.watched(&[
        ("create_entities", "✓ ok"),
        ("trigger-long-running-operation", "– cancelled"),
        ("trigger-elicitation-request", "✓ ok"),
    ]);
    desk.session.press("3", "━ Timeline ━");
    desk.session.until("bars and the last calls", |screen| screen.contains('▓') && holds(screen, "trigger-long", "– cancelled"));
    desk.leave();
}

#[test]
fn a_session_by_mouse_alone() {
    let mut desk = start();
    // A tool of another server, chosen and opened.
    let s = &mut desk.session;
    s.click("create_entities");
    s.see(&format!("─ {ENTITIES} ─"));
    s.click("create_entities");
    s.see(&format!("━ {ENTITIES} ━"));
    // Fields are chosen by clicks; only letters are typed.
    s.click("a add");
    s.see("name *");
    s.click("name *");
    s.keys("Bob");
    s.click("entityType *");
    s.keys("cat");
    s.click("observations *");
    s.click("a add");
    s.until("all entered", |screen| holds(screen, "name *", "Bob") && holds(screen, "entityType *", "cat"));
    desk.click_last("⏎ send");
    desk.session.see("Call memory_create_entities?");
    desk.session.click("call once");
    desk.session.see(DONE);
    // Folded by its mark; its frames by the tab.
    desk.session.click("▾ entities");
    desk.session.see("▸ entities");
    desk.session.click("frames");
    desk.session.see("tools/call");
    // The traffic's row, opened by clicking it twice: its request and response.
    desk.session.click("2 Traffic");
    desk.session.see("━ Traffic ━");
    desk.session.click("create_entities");
    desk.session.click("create_entities");
    desk.session.see("\"Bob\"");
    desk.session.click("3 Timeline");
    desk.session.see("━ Timeline ━");
    desk.session.click("1 Console");
    // A long call is cancelled.
    desk.session.click("▸ ● everything");
    desk.session.click("trigger-long-running");
    desk.session.click("trigger-long-running");
    desk.session.see(&format!("━ {LONG} ━"));
    desk.click_last("⏎ send");
    desk.session.click("call, and trust");
    desk.running();
    desk.session.see("notifications/progress");
    desk.click_last("Ctrl-c cancel");
    desk.session.see("– cancelled");
    // A question of the server: a model's answer in its place.
    desk.session.click("trigger-sampling-request");
    desk.session.click("trigger-sampling-request");
    desk.session.see("━ everything_trigger-sampling-request ━");
    desk.session.click("prompt *");
    desk.session.keys("tell me");
    desk.session.until("the prompt", |screen| holds(screen, "prompt *", "tell me"));
    desk.click_last("⏎ send");
    desk.session.see("question");
    desk.click_last("1 question");
    desk.session.see("━ Question");
    desk.answer("answer *", "forty-two");
    desk.click_last("⏎ answer");
    desk.session.see(DONE);
    desk.click_last("text │");
    desk.session.see("forty-two");
    desk.session.click("2 Traffic");
    desk.watched(&[("create_entities", "✓ ok"), ("trigger-long-running-operation", "– cancelled"), ("trigger-sampling-request", "✓ ok")]);
    desk.leave();
}
