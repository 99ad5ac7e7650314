//! A result of 20 MB of JSON: opened, folded, unfolded, searched, walked through and filtered, as the loop of the
//! console would. What counts is the worst single frame: a message or a key taken in, and the screen drawn after it.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use crossterm::event::KeyCode;
use ratatui::{buffer::Buffer, layout::Rect};
use switchboard::{
    domain::{
        body::Body,
        call::{Outcome, Timings},
        event::{Event, EventKind, Settled},
        id::CallId,
        time::Stamp,
    },
    tui::{background::Worked, draw, input::Input, model::Model, msg::Cmd, msg::Msg},
};

use super::{SIZE, key_of};

/// What is shown as soon as the tree is there.
const FIRST: &str = "user 0";

pub struct Desk {
    pub model: Model,
    calls: Vec<(u64, switchboard::domain::call::CallSpec)>,
    working: usize,
    done: (mpsc::Sender<Option<Worked>>, mpsc::Receiver<Option<Worked>>),
    frames: Vec<Duration>,
}

impl Desk {
    pub fn new(model: Model) -> Desk {
        Desk { model, calls: vec![], working: 0, done: mpsc::channel(), frames: vec![] }
    }

    /// Sends a message and draws; background jobs run on other threads, as in the console.
    fn give(&mut self, msg: Msg) -> Buffer {
        let start = Instant::now();
        let commands = self.model.update(msg);
        let mut buf = Buffer::empty(Rect::new(0, 0, SIZE.0, SIZE.1));
        draw::draw(&mut self.model, &mut buf);
        self.frames.push(start.elapsed());
        for command in commands {
            match command {
                Cmd::Submit { token, spec } => self.calls.push((token, spec)),
                Cmd::Work(task) => {
                    let done = self.done.0.clone();
                    self.working += 1;
                    thread::spawn(move || done.send(task.run()));
                }
                _ => {}
            }
        }
        buf
    }

    pub fn key(&mut self, code: KeyCode) -> Buffer {
        self.give(Msg::Input(Input::Key(key_of(code))))
    }

    pub fn text(&mut self, text: &str) -> Buffer {
        text.chars().for_each(|c| drop(self.key(KeyCode::Char(c))));
        self.tick()
    }

    fn tick(&mut self) -> Buffer {
        self.give(Msg::Tick(Stamp(0)))
    }

    /// Frame after frame, until nothing is being worked on or searched any more.
    fn rest(&mut self) -> Buffer {
        loop {
            let frame = match self.done.1.recv_timeout(Duration::from_millis(5)) {
                Ok(worked) => {
                    self.working -= 1;
                    match worked {
                        Some(worked) => self.give(Msg::Worked(Box::new(worked))),
                        None => self.tick(),
                    }
                }
                Err(_) => self.tick(),
            };
            if self.working == 0 && !self.model.moving() {
                return frame;
            }
        }
    }

    /// The frames since the last time this was asked.
    fn taken(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.frames)
    }

    /// Answers the call that was fired, 3 ms later.
    fn answer(&mut self, seq: u64, result: Body) {
        let (token, spec) = self.calls.pop().expect("the form fires");
        let call = CallId(7_000_000);
        let (queued, settled) = (Stamp(0), Stamp(3_000_000));
        let timings = Timings { queued, sent: Some(queued), first_byte: Some(settled), last_byte: Some(settled), settled };
        let received_bytes = result.len() as u64;
        let settled = Settled {
            outcome: Outcome::Ok { result },
            timings,
            rounds: 1,
            sent_bytes: 120,
            received_bytes,
            attempts: 1,
            by: None,
            cached: None,
        };
        self.give(Msg::Submitted { token, call });
        let kinds = [EventKind::CallQueued { call, spec: Arc::new(spec) }, EventKind::CallSettled { call, settled: Arc::new(settled) }];
        let events = kinds.into_iter().zip(seq..).map(|(kind, seq)| Arc::new(Event { seq, at: timings.settled, kind })).collect();
        self.give(Msg::Events(events));
    }
}

/// A console with a form open and its tool fired.
fn fired(model: Model) -> Desk {
    let mut desk = Desk::new(model);
    desk.key(KeyCode::Char('/'));
    desk.text("tool_3_of_3");
    desk.key(KeyCode::Enter);
    desk.rest();
    desk.key(KeyCode::Enter);
    desk.taken();
    desk
}

/// Frames of all six panes, among them a form and the result of its call.
pub fn small_result(model: Model, seq: u64) -> Vec<Duration> {
    let mut desk = fired(model);
    desk.answer(seq, result(4_000));
    assert!(shows(&desk.rest(), FIRST), "the result is on the screen");
    desk.taken();
    (0..200).for_each(|_| drop(desk.tick()));
    desk.taken()
}

/// Names of what was done, and the times of its frames.
pub fn play(model: Model, seq: u64, result: Body) -> Vec<(&'static str, Vec<Duration>)> {
    let mut desk = fired(model);
    let mut all = vec![];
    desk.answer(seq, result);
    let frame = desk.rest();
    assert!(shows(&frame, FIRST), "the result is on the screen");
    all.push(("opened, a frame", desk.taken()));

    // To the result; everything folded but the outermost, and level by level open again.
    desk.key(KeyCode::F(6));
    for code in ['-', '-', '-', '-', '+', '+', '+', '+', '-', '+'] {
        desk.key(KeyCode::Char(code));
        desk.rest();
    }
    assert!(shows(&desk.rest(), FIRST), "unfolded again");
    all.push(("folded and unfolded, a frame", desk.taken()));

    for code in [KeyCode::End, KeyCode::Home, KeyCode::PageDown, KeyCode::PageDown, KeyCode::Down, KeyCode::Left, KeyCode::Left] {
        desk.key(code);
    }
    desk.key(KeyCode::Char('g'));
    all.push(("walked through, a frame", desk.taken()));

    desk.key(KeyCode::Char('/'));
    desk.text("user 19");
    let frame = desk.rest();
    assert!(shows(&frame, "user 19"), "found");
    desk.key(KeyCode::Enter);
    for _ in 0..20 {
        desk.key(KeyCode::Char('n'));
    }
    desk.key(KeyCode::Char('N'));
    assert!(shows(&desk.rest(), " of "), "matches are counted");
    // One that is found everywhere, and one that is nowhere.
    for needle in ["a", "no match"] {
        desk.key(KeyCode::Char('/'));
        desk.text(needle);
        desk.rest();
        desk.key(KeyCode::Enter);
        desk.key(KeyCode::Char('n'));
    }
    desk.key(KeyCode::Esc);
    all.push(("searched, a frame", desk.taken()));

    desk.key(KeyCode::Char('|'));
    let clear = crossterm::event::KeyEvent::new(KeyCode::Char('u'), crossterm::event::KeyModifiers::CONTROL);
    desk.give(Msg::Input(Input::Key(clear)));
    desk.text("$..name");
    desk.key(KeyCode::Enter);
    assert!(shows(&desk.rest(), " found"), "the path selects");
    desk.key(KeyCode::Esc);
    desk.rest();
    all.push(("filtered by a path, a frame", desk.taken()));

    // Its frames, its text, and back.
    for _ in 0..4 {
        desk.key(KeyCode::Char(']'));
        desk.rest();
    }
    all.push(("its other tabs, a frame", desk.taken()));
    all
}

fn shows(buf: &Buffer, text: &str) -> bool {
    let all: String = buf.content().iter().map(ratatui::buffer::Cell::symbol).collect();
    all.contains(text)
}

/// `structuredContent` of about `bytes` bytes.
pub fn result(bytes: usize) -> Body {
    let mut rows = String::from(r#"{"content":[],"structuredContent":{"rows":["#);
    for n in 0.. {
        if rows.len() >= bytes {
            break;
        }
        let comma = if n == 0 { "" } else { "," };
        let score = n % 97;
        rows.push_str(&format!(r#"{comma}{{"id":{n},"name":"user {n}","email":"u{n}@example.com","tags":["a","b"],"score":{score}.5}}"#));
    }
    rows.push_str("]}}");
    Body::from(rows)
}
