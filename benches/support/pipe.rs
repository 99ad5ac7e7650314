//! The bare minimum of a client: blocking writes and reads of whole lines, nothing stored, nothing shown.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

/// A server on a pipe.
pub struct Pipe {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    line: Vec<u8>,
    next: u64,
}

impl Pipe {
    /// Starts a server and reads its tools; also how long that took.
    pub fn start(words: &[String]) -> (Pipe, Duration) {
        let began = Instant::now();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the server starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::with_capacity(64 << 10, child.stdout.take().expect("piped"));
        let mut pipe = Pipe { child, input, output, line: vec![], next: 1 };
        pipe.ask("initialize", r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}"#);
        pipe.send("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n");
        pipe.ask("tools/list", "{}");
        (pipe, began.elapsed())
    }

    fn send(&mut self, line: &str) {
        self.input.write_all(line.as_bytes()).expect("the server reads");
    }

    /// Sends a request and waits for its answer; from the request's last byte to the answer's last.
    pub fn ask(&mut self, method: &str, params: &str) -> Duration {
        let id = self.next;
        self.next += 1;
        self.send(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n"));
        let sent = Instant::now();
        let wanted = format!("\"id\":{id},");
        loop {
            self.line.clear();
            let count = self.output.read_until(b'\n', &mut self.line).expect("the server writes");
            assert!(count > 0, "the server ended");
            let took = sent.elapsed();
            let front = &self.line[..self.line.len().min(200)];
            let back = &self.line[self.line.len().saturating_sub(200)..];
            // Notifications come between.
            if [front, back].iter().any(|part| {
                String::from_utf8_lossy(part).contains(&wanted) || String::from_utf8_lossy(part).contains(&format!("\"id\":{id}}}"))
            }) {
                return took;
            }
        }
    }

    /// Calls a tool without arguments.
    pub fn call(&mut self, tool: &str) -> Duration {
        self.ask("tools/call", &format!("{{\"name\":\"{tool}\",\"arguments\":{{}}}}"))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
