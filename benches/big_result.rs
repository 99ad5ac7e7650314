//! Large results: time from Enter to the screen, and the memory that remains allocated.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and panics on errors"
)]

mod support;

use std::time::Duration;

use support::{
    pipe::Pipe,
    process,
    report::{self, Line, Of, Series},
    server,
    terminal::{FRAME_END, Terminal, configuration, console},
};

const ROUNDS: usize = 7;

struct Scene {
    name: &'static str,
    tool: &'static str,
    /// Promises in milliseconds and megabytes.
    promises: Option<(f64, f64)>,
}

fn main() {
    if server::ran() {
        return;
    }
    let (_folder, file) = configuration(&[("big".into(), server::words("plain"))]);
    for scene in [
        Scene { name: "2 MB of text", tool: "text2", promises: Some((200.0, 20.0)) },
        Scene { name: "2 MB of JSON", tool: "json2", promises: Some((200.0, 20.0)) },
        Scene { name: "20 MB of JSON", tool: "json20", promises: None },
    ] {
        scene.play(&console(&file));
    }
}

impl Scene {
    fn play(&self, words: &[String]) {
        let (mut bare, mut shown, mut scrolled, mut raw, mut private, mut anonymous, mut before) =
            (vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
        let (mut pipe, _) = Pipe::start(&server::words("plain"));
        for _ in 0..ROUNDS {
            bare.push(pipe.call(self.tool));
            let mut terminal = Terminal::start(words);
            terminal.when("parrot", 0);
            // The activity of the last minute moves for a minute after every call, and then nothing is ever at rest.
            terminal.keys("L");
            process::idle(terminal.pid());
            for keys in ["/", self.tool, "\r"] {
                terminal.keys(keys);
                process::idle(terminal.pid());
            }
            before.push(process::memory(terminal.pid()).private);

            let from = terminal.written();
            let enter = terminal.keys("\r");
            shown.push(terminal.when(server::BEGIN, from) - enter);
            process::idle(terminal.pid());
            let memory = process::memory(terminal.pid());
            private.push(memory.private);
            anonymous.push(memory.anonymous);

            // To the result, and a page on: a frame from somewhere else in it.
            terminal.keys("\x1b[17~");
            process::idle(terminal.pid());
            scrolled.push(key(&mut terminal, "\x1b[6~"));
            raw.push(key(&mut terminal, "\x1b[F"));
            terminal.quit();
        }
        report::heading(&format!("a result of {}", self.name));
        let (bare, shown, private) = (Series::of(&bare), Series::of(&shown), Series::new(private));
        report::line("the same call by a raw pipe", "ms", &bare).print();
        let line = report::line("from Enter to the result on the screen", "ms", &shown).against("the pipe", bare.median());
        promise(line, self.promises.map(|(time, _)| time)).print();
        report::line("a page on in it, to the frame", "ms", &Series::of(&scrolled)).print();
        report::line("to its end, to the frame", "ms", &Series::of(&raw)).print();
        let line = report::line("private memory (USS) after it", "MB", &private).against("before it", Series::new(before).median());
        promise(line, self.promises.map(|(_, memory)| memory)).print();
        report::line("of it anonymous", "MB", &Series::new(anonymous)).print();
    }
}

fn promise(line: Line<'_>, below: Option<f64>) -> Line<'_> {
    match below {
        Some(below) => line.promise(Of::Median, below),
        None => line,
    }
}

/// From a key to the end of the frame that it brought.
fn key(terminal: &mut Terminal, key: &str) -> Duration {
    let from = terminal.written();
    let pressed = terminal.keys(key);
    terminal.when(FRAME_END, from) - pressed
}
