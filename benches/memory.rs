//! Memory under hostile servers: the peak above the base, and what is left ten seconds later.
//!
//! Promise: at most five times the largest message, and for servers with small messages at most the retention by design (`[retention]`
//! and `domain/bounds.rs`). `cargo bench --bench memory [-- WORD]`: only the rows whose names hold the word.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and panics on errors"
)]

#[path = "../tests/support/hostile.rs"]
mod hostile;
mod support;

use std::{
    fs,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use hostile::Attack;
use support::{
    process,
    report::{self, Of, Series},
    terminal::{Terminal, switchboard},
};

const MB: usize = 1_000_000;
/// Retention of servers with small messages by design, in megabytes: frames, a slow reader's tail, logs, failures.
const RETAINED: f64 = 40.0;
/// How long the program gets to return what it took.
const REST: Duration = Duration::from_secs(10);

struct Row {
    name: &'static str,
    mode: &'static str,
    count: usize,
    bytes: usize,
    http: bool,
    servers: usize,
    /// Bursts of a hundred calls; with none, one call is made.
    bursts: usize,
}

const fn row(name: &'static str, mode: &'static str, count: usize, bytes: usize) -> Row {
    Row { name, mode, count, bytes, http: false, servers: 1, bursts: 0 }
}

const fn over_http(row: Row) -> Row {
    Row { http: true, ..row }
}

const ROWS: &[Row] = &[
    over_http(row("one event id of 8 MB, 2,000 events", "event_id", 2_000, 8 * MB)),
    over_http(row("300 kB of headers, 20,000 events", "headers", 20_000, 300_000)),
    over_http(row("3,000 events with ids of 1 MB", "event_ids", 3_000, MB)),
    row("120 log messages of 10 MB", "log", 120, 10 * MB),
    row("120 unknown notifications of 10 MB", "unknown", 120, 10 * MB),
    row("120 resources/updated of 10 MB", "updated", 120, 10 * MB),
    row("120 progress messages of 10 MB", "progress", 120, 10 * MB),
    row("300 requests with ids of 10 MB", "request_id", 300, 10 * MB),
    row("300 methods of 10 MB", "request_method", 300, 10 * MB),
    row("300 elicitations of 10 MB", "ask", 300, 10 * MB),
    row("300 elicitations with schemas of 10 MB", "ask_schema", 300, 10 * MB),
    row("300 answers with ids of 10 MB", "answer_id", 300, 10 * MB),
    row("100 broken messages of 10 MB", "bad_json", 100, 10 * MB),
    Row { bursts: 1, ..row("100 failed calls with error texts of 10 MB", "error", 1, 10 * MB) },
    Row { bursts: 5, ..row("500 failed calls with error texts of 0.2 MB", "error", 1, MB / 5) },
    row("list pages of 10 MB", "pages", 1, 10 * MB),
    row("cursors of 10 MB", "cursor", 1, 10 * MB),
    over_http(row("9 MB of JSON in initialize", "initialize_tree", 1, 9 * MB)),
    over_http(row("9 MB of JSON in tools/list", "list_tree", 1, 9 * MB)),
    over_http(row("9 MB of entries in tools/list", "list_members", 1, 9 * MB)),
    row("a batch array of 9 MB", "batch", 1, 9 * MB),
    Row { servers: 4, ..row("4 x 100 noise lines of 10 MB", "noise", 100, 10 * MB) },
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if words.first().is_some_and(|word| word == "attack") {
        return hostile::stdio(&Attack::from_words(words.into_iter().skip(1)).expect("MODE COUNT BYTES"));
    }
    for row in ROWS.iter().filter(|row| words.is_empty() || words.iter().any(|word| row.name.contains(word.as_str()))) {
        report::heading(row.name);
        row.headless();
        row.console();
    }
}

impl Row {
    /// A configuration with the servers of this row.
    fn configuration(&self) -> tempfile::TempDir {
        let own = std::env::current_exe().expect("a benchmark knows its own file").display().to_string();
        let mut text = "[defaults.timeouts]\nstop = \"200ms\"\n".to_owned();
        for n in 0..self.servers {
            let attack = Attack { mode: self.mode.into(), count: self.count, bytes: self.bytes };
            let launch = if self.http {
                format!("url = \"http://127.0.0.1:{}/mcp\"\n", hostile::http(attack))
            } else {
                format!("command = {own:?}\nargs = [\"attack\", {:?}, \"{}\", \"{}\"]\n", self.mode, self.count, self.bytes)
            };
            text.push_str(&format!(
                "[servers.h{n}]\n{launch}trusted = true\nretry = {{ attempts = 1 }}\nbreaker = {{ enabled = false }}\n"
            ));
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("config.toml"), text).expect("a file");
        folder
    }

    /// `switchboard call`: the base is the same program with a server that does nothing.
    fn headless(&self) {
        let quiet = Row { mode: "quiet", count: 0, ..*self };
        let base = quiet.call().anonymous;
        let peak = self.call().peak;
        self.report("headless, peak above base", peak - base);
    }

    fn call(&self) -> Seen {
        let folder = self.configuration();
        let home = tempfile::tempdir().expect("a temporary folder");
        let tool = if self.mode == "pages" { "h0_p0" } else { "h0_t" };
        let mut child = Command::new(switchboard())
            .args(["--config", &folder.path().join("config.toml").display().to_string(), "--no-project-config", "call", tool, "--json"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let watch = Watch::start(child.id());
        let _ = child.wait();
        watch.end()
    }

    /// The console: the call is made from the call pane, or as a burst where the row needs many.
    fn console(&self) {
        let folder = self.configuration();
        let file = folder.path().join("config.toml").display().to_string();
        let words = [switchboard(), "--config".into(), file, "--no-project-config".into()];
        let quiet = Row { mode: "quiet", count: 0, ..*self };
        let quiet_folder = quiet.configuration();
        let quiet_words =
            [words[0].clone(), words[1].clone(), quiet_folder.path().join("config.toml").display().to_string(), words[3].clone()];
        let base = {
            let mut terminal = Terminal::start(&quiet_words);
            terminal.when("h0", 0);
            process::idle(terminal.pid());
            let base = process::memory(terminal.pid()).anonymous;
            terminal.quit();
            base
        };
        let mut terminal = Terminal::start(&words);
        let watch = Watch::start(terminal.pid());
        terminal.when("h0", 0);
        process::idle(terminal.pid());
        if !["pages", "cursor", "initialize_tree", "list_tree", "list_members"].contains(&self.mode) {
            for _ in 0..self.servers {
                terminal.keys("/");
                sleep(Duration::from_millis(200));
                terminal.keys("t\r");
                sleep(Duration::from_millis(200));
                if self.bursts == 0 {
                    terminal.keys("\r");
                }
                for _ in 0..self.bursts {
                    // A hundred calls, as the prompt offers.
                    for keys in ["F", "\r", "\x1b", "\x1b"] {
                        terminal.keys(keys);
                        sleep(Duration::from_millis(200));
                        process::idle(terminal.pid());
                    }
                }
                sleep(Duration::from_millis(500));
            }
        }
        process::idle(terminal.pid());
        let done = Instant::now();
        let pid = terminal.pid();
        sleep(REST.saturating_sub(done.elapsed()));
        let left = process::memory(pid).anonymous;
        let seen = watch.end();
        terminal.keys("\x1b");
        sleep(Duration::from_millis(200));
        terminal.quit();
        self.report("console, peak above base", seen.peak - base);
        self.report("console, left after ten seconds", left - base);
    }

    fn report(&self, what: &str, value: f64) {
        let message = self.bytes as f64 / MB as f64;
        let series = Series::new([value]);
        let allowed = (5.0 * message).max(RETAINED);
        report::line(what, "MB", &series).promise(Of::Max, allowed).against("the message", message).print();
    }
}

/// Memory without files in megabytes: the last seen and the most seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    anonymous: f64,
    peak: f64,
}

/// A thread that reads the memory of a process as often as it can.
struct Watch {
    thread: JoinHandle<()>,
    over: Arc<AtomicBool>,
    last: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

impl Watch {
    fn start(pid: u32) -> Watch {
        let (over, last, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (stop, now, peak) = (over.clone(), last.clone(), most.clone());
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let Ok(text) = fs::read_to_string(format!("/proc/{pid}/status")) else { return };
                let kib = text.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix("kB")?.trim().parse().ok());
                let Some(kib) = kib.filter(|kib: &u64| *kib > 0) else { return };
                now.store(kib, Ordering::Relaxed);
                peak.fetch_max(kib, Ordering::Relaxed);
                sleep(Duration::from_millis(1));
            }
        });
        Watch { thread, over, last, most }
    }

    fn end(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        let megabytes = |kib: &AtomicU64| kib.load(Ordering::Relaxed) as f64 * 1024.0 / 1e6;
        Seen { anonymous: megabytes(&self.last), peak: megabytes(&self.most) }
    }
}
