//! What the tap adds to a message on standard streams, and what it holds while 1 GB passes with a stopped observer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    reason = "a benchmark prints, panics on errors, and uses a part of what benchmarks share"
)]

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use switchboard::tap::{
    queue::{Lane, Queue, Stream},
    stdio::pump,
};

/// Round trips of each variant; they alternate.
const ROUNDS: usize = 2_000;
/// Bytes that pass with a stopped observer.
const TOTAL: u64 = 1 << 30;

/// Returns the median round trip of a line through a command that sends back what it gets.
fn round_trips(mut command: Command) -> Duration {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let line = format!("{}\n", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{}}}"#);
    let mut times = vec![];
    for _ in 0..ROUNDS {
        let started = Instant::now();
        stdin.write_all(line.as_bytes()).unwrap();
        let mut back = String::new();
        stdout.read_line(&mut back).unwrap();
        times.push(started.elapsed());
    }
    drop(stdin);
    child.wait().unwrap();
    times.sort();
    times[ROUNDS / 2]
}

/// Returns the resident memory of this process in bytes, as Linux reports it.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
}

struct Zeros(u64);

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (buffer.len() as u64).min(self.0);
        self.0 -= count;
        Ok(usize::try_from(count).unwrap())
    }
}

fn main() {
    let program = env!("CARGO_BIN_EXE_switchboard");
    for round in 0..3 {
        let direct = round_trips(Command::new("cat"));
        let mut tap = Command::new(program);
        tap.args(["tap", "--control", "off", "--", "cat"]);
        let tapped = round_trips(tap);
        // As many pipes and wake-ups as the tap, without any work.
        let mut pipeline = Command::new("sh");
        pipeline.args(["-c", "cat | cat | cat"]);
        let pipeline = round_trips(pipeline);
        let added = [tapped, pipeline].map(|time| time.saturating_sub(direct));
        println!("round {round}: direct {direct:?}, tapped {tapped:?}, added {:?}, by two cats {:?}", added[0], added[1]);
    }
    let (before, queue, started) = (resident(), Queue::default(), Instant::now());
    pump(Zeros(TOTAL), io::sink(), &queue, Lane { connection: 0, stream: Stream::ToClient });
    let (took, grown) = (started.elapsed(), resident().saturating_sub(before));
    println!("1 GB with a stopped observer: {took:?}, {} MB more, {} of {TOTAL} bytes not observed", grown >> 20, queue.lost());
    assert!(grown < 32 << 20, "{grown} bytes");
}
