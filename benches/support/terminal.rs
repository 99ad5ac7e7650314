//! The real program in a terminal, with the moment at which each of its bytes came.

use std::{
    io::{Read, Write},
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
/// What ends a frame.
pub const FRAME_END: &str = "\x1b[?2026l";

/// A program in a terminal of 120 by 36 cells.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    writer: Box<dyn Write + Send>,
    bytes: Receiver<(Instant, Vec<u8>)>,
    stream: Vec<u8>,
    /// Where each piece of the stream begins, and when it came.
    arrivals: Vec<(usize, Instant)>,
    began: Instant,
    _master: Box<dyn MasterPty + Send>,
    _slave: Box<dyn SlavePty + Send>,
    _home: TempDir,
}

/// The program as it is shipped.
pub fn switchboard() -> String {
    env!("CARGO_BIN_EXE_switchboard").to_owned()
}

impl Terminal {
    /// Starts a program in an environment that holds nothing of the user's.
    pub fn start(words: &[String]) -> Terminal {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut command = CommandBuilder::new(&words[0]);
        command.args(&words[1..]);
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("TERM", "xterm-256color");
        command.env("HOME", home.path());
        command.env("TMPDIR", home.path());
        command.cwd(home.path());
        let size = PtySize { rows: 36, cols: 120, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let (send, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if send.send((Instant::now(), buffer[..count].to_vec())).is_err() {
                    break;
                }
            }
        });
        let writer = pair.master.take_writer().expect("a writer");
        let began = Instant::now();
        let child = pair.slave.spawn_command(command).expect("the program starts");
        Terminal { child, writer, bytes, stream: vec![], arrivals: vec![], began, _master: pair.master, _slave: pair.slave, _home: home }
    }

    pub fn pid(&self) -> u32 {
        self.child.process_id().expect("it runs")
    }

    /// How much was written so far.
    pub fn written(&mut self) -> usize {
        while let Ok(piece) = self.bytes.try_recv() {
            self.took(piece);
        }
        self.stream.len()
    }

    fn took(&mut self, (at, bytes): (Instant, Vec<u8>)) {
        self.arrivals.push((self.stream.len(), at));
        self.stream.extend(bytes);
    }

    pub fn began(&self) -> Instant {
        self.began
    }

    /// When these bytes came, after the first `from` bytes of the stream.
    pub fn when(&mut self, text: &str, from: usize) -> Instant {
        let end = Instant::now() + PATIENCE;
        let mut searched = from;
        loop {
            let at = memchr::memmem::find(&self.stream[searched.min(self.stream.len())..], text.as_bytes());
            if let Some(at) = at.map(|at| at + searched + text.len() - 1) {
                let piece = self.arrivals.partition_point(|(begin, _)| *begin <= at);
                return self.arrivals[piece - 1].1;
            }
            searched = self.stream.len().saturating_sub(text.len()).max(from);
            match self.bytes.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.took(piece),
                Err(RecvTimeoutError::Timeout) => panic!("never saw {text:?}; the stream ends {:?}", self.end_of_stream()),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended before {text:?}; the stream ends {:?}", self.end_of_stream()),
            }
        }
    }

    fn end_of_stream(&self) -> String {
        String::from_utf8_lossy(&self.stream[self.stream.len().saturating_sub(2000)..]).into_owned()
    }

    /// Types keys; when that was.
    pub fn keys(&mut self, keys: &str) -> Instant {
        let now = Instant::now();
        self.writer.write_all(keys.as_bytes()).and_then(|()| self.writer.flush()).expect("it reads");
        now
    }

    /// Leaves the console and waits for its end.
    pub fn quit(mut self) {
        self.keys("q");
        let _ = self.child.wait();
    }

    /// Waits for the end of a program that exits on its own.
    pub fn wait(mut self) {
        let _ = self.child.wait();
    }
}

/// A configuration file with servers that run these words, trusted, and quick to be stopped.
pub fn configuration(servers: &[(String, Vec<String>)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut text = "[defaults.timeouts]\nstop = \"200ms\"\n[defaults.limits]\nmessage_bytes = 67108864\n".to_owned();
    for (name, words) in servers {
        text.push_str(&format!("[servers.{name}]\ncommand = {:?}\nargs = {:?}\ntrusted = true\n", words[0], &words[1..]));
    }
    let file = folder.path().join("bench.toml");
    std::fs::write(&file, text).expect("a file");
    (folder, file)
}

/// The words that open the console on a configuration.
pub fn console(file: &std::path::Path) -> Vec<String> {
    vec![switchboard(), "--config".into(), file.display().to_string(), "--no-project-config".into()]
}
