//! A session: the program in a pseudo terminal, keys in, screen text out.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use portable_pty::{CommandBuilder, ExitStatus, MasterPty, PtySize, SlavePty, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::stream;

/// Longer than any wait needs; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long processes started by a session may outlive it.
const AFTERLIFE: Duration = Duration::from_secs(10);
/// The poll interval of the process table, which has no notifications.
const LOOK: Duration = Duration::from_millis(20);
/// The variable that marks the processes of a server (see `mcp::spawn`).
const MARK: &str = "SWITCHBOARD_INSTANCE=";
/// vt100 0.16 may panic below this many columns or rows.
const LEAST: (u16, u16) = (8, 4);

pub fn switchboard() -> &'static str {
    env!("CARGO_BIN_EXE_switchboard")
}

/// Returns the path of the test server that misbehaves on request.
pub fn bad_server() -> String {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("examples/badserver");
    assert!(path.exists(), "{} is not built: run `cargo build --examples`", path.display());
    path.display().to_string()
}

enum Told {
    Bytes(Vec<u8>),
    Silent,
    Ended(ExitStatus),
}

/// A program in a terminal.
pub struct Session {
    master: Box<dyn MasterPty + Send>,
    slave: Option<Box<dyn SlavePty + Send>>,
    writer: Box<dyn Write + Send>,
    told: Receiver<Told>,
    hang_up: Arc<AtomicBool>,
    home: TempDir,
    modes: String,
    pub pid: u32,
    running: Running,
    screen: Option<vt100::Parser>,
    stream: Vec<u8>,
    marks: BTreeSet<String>,
    ended: Option<ExitStatus>,
}

/// The remains of a session after its program ended.
pub struct Ended {
    pub code: u32,
    /// Everything that was written to the terminal.
    pub stream: Vec<u8>,
    modes_before: String,
    modes_after: String,
    home: TempDir,
    marks: BTreeSet<String>,
}

pub struct Setup {
    command: CommandBuilder,
    size: (u16, u16),
    files: Vec<(String, String)>,
}

/// Sets up a program: its words, in an environment without any of the user's variables.
pub fn program(words: &[&str]) -> Setup {
    let mut command = CommandBuilder::new(words[0]);
    command.args(&words[1..]);
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("TERM", "xterm-256color");
    command.env("LANG", "C.UTF-8");
    Setup { command, size: (120, 36), files: vec![] }
}

/// Sets up the console with these arguments.
pub fn console(arguments: &[&str]) -> Setup {
    let words: Vec<&str> = [switchboard()].into_iter().chain(arguments.iter().copied()).collect();
    program(&words)
}

impl Setup {
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Setup {
        self.command.env(name, value);
        self
    }

    /// Adds a file in the folder that the program starts in.
    pub fn file(mut self, name: &str, text: &str) -> Setup {
        self.files.push((name.into(), text.into()));
        self
    }

    pub fn start(self) -> Session {
        self.start_in(|_| (), &[])
    }

    /// Starts the program after `prepare` changed the folder; `folders` are variables that hold paths in it.
    pub fn start_in(mut self, prepare: impl FnOnce(&std::path::Path), folders: &[(&str, &str)]) -> Session {
        let home = tempfile::Builder::new().prefix("switchboard-pty-").tempdir().unwrap();
        for (name, text) in &self.files {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        prepare(home.path());
        for (name, folder) in folders {
            self.command.env(name, home.path().join(folder));
        }
        let temporary = home.path().join("tmp");
        std::fs::create_dir(&temporary).unwrap();
        self.command.env("HOME", home.path());
        self.command.env("TMPDIR", &temporary);
        self.command.cwd(home.path());
        let pair = native_pty_system().openpty(size(self.size)).unwrap();
        let modes = format!("{:?}", pair.master.get_termios().unwrap());
        let mut child = pair.slave.spawn_command(self.command).unwrap();
        let pid = child.process_id().unwrap();
        let (tell, told) = channel();
        let hang_up = Arc::new(AtomicBool::new(false));
        read(pair.master.try_clone_reader().unwrap(), tell.clone(), hang_up.clone());
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                let _ = tell.send(Told::Ended(status));
            }
        });
        Session {
            writer: pair.master.take_writer().unwrap(),
            master: pair.master,
            slave: Some(pair.slave),
            told,
            hang_up,
            home,
            modes,
            pid,
            running: Running(Some(pid)),
            screen: Some(vt100::Parser::new(self.size.1, self.size.0, 0)),
            stream: vec![],
            marks: BTreeSet::new(),
            ended: None,
        }
    }
}

fn size((cols, rows): (u16, u16)) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

fn read(mut reader: Box<dyn Read + Send>, tell: Sender<Told>, hang_up: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if tell.send(Told::Bytes(buffer[..count].to_vec())).is_err() || hang_up.load(Ordering::SeqCst) {
                break;
            }
        }
        drop(reader);
        let _ = tell.send(Told::Silent);
    });
}

impl Session {
    /// Returns everything that was written to the terminal so far.
    pub fn stream(&self) -> &[u8] {
        &self.stream
    }

    /// Returns the text on the screen.
    pub fn text(&self) -> String {
        self.screen.as_ref().map(|s| s.screen().contents()).unwrap_or_default()
    }

    pub fn screen(&self) -> &vt100::Screen {
        self.screen.as_ref().expect("the terminal is large enough").screen()
    }

    /// Returns the folder that the program started in, its home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Sends keys as the terminal would.
    pub fn keys(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).unwrap();
        self.writer.flush().unwrap();
    }

    /// Waits until the screen matches.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.until_session(what, |session| wanted(&session.text()));
        self.text()
    }

    /// Waits until these words are on the screen.
    pub fn see(&mut self, words: &str) -> String {
        self.until(words, |screen| screen.contains(words))
    }

    /// Waits until the demo is up. Returns how many processes there are.
    pub fn ready(&mut self) -> usize {
        let up = |screen: &str| screen.contains("● 6 ") && screen.contains(" 25 tools ");
        self.until("six servers that are ready", up);
        self.note_processes()
    }

    /// Returns whether the program is in the middle of a frame.
    fn drawing(&self) -> bool {
        let begun = self.stream.windows(8).rposition(|w| w.starts_with(b"\x1b[?2026"));
        begun.is_some_and(|at| self.stream[at + 7] == b'h')
    }

    /// Sends keys and waits until these words are on the screen.
    pub fn press(&mut self, keys: &str, words: &str) -> String {
        self.keys(keys);
        self.see(words)
    }

    pub fn until_session(&mut self, what: &str, wanted: impl Fn(&Session) -> bool) {
        let end = Instant::now() + PATIENCE;
        while self.drawing() || !wanted(self) {
            match self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(told) => self.take(told),
                Err(RecvTimeoutError::Timeout) => panic!("never saw: {what}; the screen:\n{}", self.text()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the program ended ({:?}) before: {what}; the screen:\n{}", self.ended, self.text())
                }
            }
        }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Bytes(bytes) => {
                if let Some(screen) = &mut self.screen {
                    screen.process(&bytes);
                }
                self.stream.extend(bytes);
            }
            Told::Silent => {}
            Told::Ended(status) => {
                self.ended = Some(status);
                // With our side of it closed, the reader ends when all is read.
                self.slave = None;
            }
        }
    }

    /// Writes a file in the folder that the program was started in.
    pub fn write(&self, name: &str, text: &str) {
        // Atomically: seeing an empty file first would be two changes.
        let written = self.home.path().join("being-written");
        std::fs::write(&written, text).unwrap();
        std::fs::rename(written, self.home.path().join(name)).unwrap();
    }

    /// Presses and releases the left button on the first cell of these words.
    pub fn click(&mut self, words: &str) {
        self.see(words);
        let (_, cols) = self.screen().size();
        let rows: Vec<String> = self.screen().rows(0, cols).collect();
        let (y, row) = rows.iter().enumerate().find(|(_, row)| row.contains(words)).expect("it is in one row");
        let x = row[..row.find(words).expect("it is in this row")].chars().count();
        self.click_at(x, y);
    }

    /// Presses and releases the left button on this cell, from 0.
    pub fn click_at(&mut self, x: usize, y: usize) {
        let at = format!("{};{}", x + 1, y + 1);
        self.keys(&format!("\x1b[<0;{at}M\x1b[<0;{at}m"));
        self.next_frame();
    }

    /// Changes the size. The program redraws everything, so the screen is parsed from the start.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        let fits = cols >= LEAST.0 && rows >= LEAST.1;
        self.screen = fits.then(|| vt100::Parser::new(rows, cols, 0));
        self.master.resize(size((cols, rows))).unwrap();
    }

    /// Waits until the program has started a frame after everything that was read so far.
    pub fn next_frame(&mut self) {
        let before = self.stream.len();
        self.until_session("another frame", |s| s.stream[before..].windows(8).any(|w| w == b"\x1b[?2026l"));
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        signal_to(self.pid, signal);
    }

    /// Records the marks of this session's server processes, so that none is missed later. Returns their number.
    pub fn note_processes(&mut self) -> usize {
        let folder = self.home.path().display().to_string();
        let all = processes();
        for process in all.iter().filter(|p| p.environment.contains(&folder)) {
            let marks = process.environment.split('\0').filter_map(|var| var.strip_prefix(MARK));
            self.marks.extend(marks.filter_map(|mark| mark.split(':').next()).map(str::to_owned));
        }
        alive(&folder, &self.marks).len()
    }

    /// Waits for the program's end and for its remaining output.
    pub fn ended(mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        let mut silent = false;
        while self.ended.is_none() || !silent {
            match self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Told::Silent) => silent = true,
                Ok(told) => self.take(told),
                Err(_) => panic!("it does not end; the screen:\n{}", self.text()),
            }
        }
        self.running.0 = None;
        let modes_after = format!("{:?}", self.master.get_termios().unwrap());
        let code = self.ended.as_ref().map_or(u32::MAX, ExitStatus::exit_code);
        Ended { code, stream: self.stream, modes_before: self.modes, modes_after, home: self.home, marks: self.marks }
    }

    /// Closes the terminal, like a window that is closed, and waits for the program's end.
    pub fn hang_up(mut self) -> Ended {
        self.hang_up.store(true, Ordering::SeqCst);
        // The reader checks that when it receives something.
        self.keys("?");
        let Session { master, slave, writer, told, home, modes, marks, mut stream, mut running, .. } = self;
        drop((writer, slave));
        let mut master = Some(master);
        let code = loop {
            match told.recv_timeout(PATIENCE) {
                Ok(Told::Bytes(bytes)) => stream.extend(bytes),
                Ok(Told::Silent) => drop(master.take()),
                Ok(Told::Ended(status)) => break status.exit_code(),
                Err(_) => panic!("it does not end without its terminal"),
            }
        };
        running.0 = None;
        Ended { code, stream, modes_before: modes.clone(), modes_after: modes, home, marks }
    }
}

/// Kills the program if a test fails; its helper ends the servers.
struct Running(Option<u32>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            signal_to(pid, Signal::KILL);
        }
    }
}

impl Ended {
    /// Asserts that the terminal is as it was before.
    pub fn restored(self) -> Ended {
        assert_eq!(stream::left_behind(&self.stream), Vec::<String>::new(), "the terminal's modes");
        assert_eq!(self.modes_after, self.modes_before, "the line discipline's modes");
        self
    }

    /// Asserts that no process of the session is alive, and that its temporary files are gone.
    pub fn nothing_left(self) -> Ended {
        let folder = self.home.path().display().to_string();
        assert!(!self.marks.is_empty(), "no server process was recorded");
        let end = Instant::now() + AFTERLIFE;
        loop {
            let left = alive(&folder, &self.marks);
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < end, "still there: {left:#?}");
            thread::park_timeout(LOOK);
        }
        self
    }

    /// Returns the folder that the program was started in, its home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn no_files(self) -> Ended {
        let left: Vec<PathBuf> = std::fs::read_dir(self.home.path().join("tmp")).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(left.is_empty(), "left in the temporary folder: {left:?}");
        self
    }

    pub fn code(self, code: u32) -> Ended {
        assert_eq!(self.code, code, "the exit code; the end of the stream: {}", self.last_words());
        self
    }

    /// Returns the text after the alternate screen was left for the last time.
    pub fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.stream).into_owned();
        text.rsplit("\x1b[?1049l").next().unwrap_or_default().to_owned()
    }
}

pub fn signal_to(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// A process of this machine.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    pub words: String,
    pub environment: String,
}

fn processes() -> Vec<Process> {
    let read = |pid: u32, what: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let ids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|pid| *pid != std::process::id())
        .map(|pid| Process { pid, words: read(pid, "cmdline").replace('\0', " "), environment: read(pid, "environ") })
        .collect()
}

/// Returns processes with the session's folder or a mark of it. Zombies have neither.
fn alive(folder: &str, marks: &BTreeSet<String>) -> Vec<String> {
    let ours = |p: &Process| {
        let all = [&p.words, &p.environment];
        all.iter().any(|text| text.contains(folder) || marks.iter().any(|mark| text.contains(mark)))
    };
    processes().into_iter().filter(ours).map(|p| format!("{} {}", p.pid, p.words)).collect()
}
