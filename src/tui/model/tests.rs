//! Tests of the console without a terminal: messages in, frames out.

use std::{str::FromStr, sync::Arc};

use crossterm::event::{KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use proptest::prelude::*;
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    control::Command,
    domain::{
        argument_history::Recall,
        ask::{Answer, AskEnd, Question},
        body::Body,
        call::{CallSpec, Operation, Outcome},
        event::{EventKind, Notice},
        id::{AskId, CallId},
        server::Phase,
    },
    tui::{
        Startup,
        action::Action,
        draw,
        input::Input,
        keymap::Keymap,
        layout::Focus,
        overlay::{
            burst::Burst,
            help::Help,
            inbox::Inbox,
            long_text::LongText,
            notices::Notices,
            palette::{Choice as PaletteChoice, Palette},
            text_prompt::TextPrompt,
        },
        test_support,
        theme::Theme,
    },
};

use super::*;

/// The size of scenes in snapshots. At other sizes [`assert_boxes`] and the layout test hold what every size must.
pub(super) const SNAPSHOT: (u16, u16) = (120, 40);

/// Compares a scene with its snapshot at [`SNAPSHOT`], and checks its boxes at any other size.
macro_rules! assert_scene {
    ($name:expr, $size:expr, $frame:expr) => {{
        let (size, frame): ((u16, u16), String) = ($size, $frame);
        if size == $crate::tui::model::tests::SNAPSHOT {
            insta::assert_snapshot!(format!("{}_{}x{}", $name, size.0, size.1), frame);
        } else {
            $crate::tui::model::tests::assert_boxes(&frame);
        }
    }};
}
pub(super) use assert_scene;

/// Asserts that something is drawn, and that the box in focus has both of its corners in each row.
pub(super) fn assert_boxes(frame: &str) {
    assert!(frame.lines().any(|line| !line.trim().is_empty()), "nothing is drawn");
    for line in frame.lines() {
        let count = |corner: char| line.matches(corner).count();
        assert_eq!((count('┏'), count('┗')), (count('┓'), count('┛')), "{line}\n{frame}");
    }
}

/// The borders of a frame without its text.
fn outline(frame: &str) -> String {
    let border = |c: char| if ('\u{2500}'..='\u{257f}').contains(&c) { c } else { ' ' };
    frame.lines().map(|line| line.chars().map(border).collect::<String>().trim_end().to_owned() + "\n").collect()
}

#[test]
fn panes_of_every_view_are_laid_out_at_small_and_large_sizes() {
    for (width, height) in [(80, 24), (200, 60)] {
        let mut harness = Harness::busy(width, height);
        let views = ["1", "2", "3", "4", "5"].map(|view| format!("== {view}\n{}", outline(&harness.keys(view).frame())));
        insta::assert_snapshot!(format!("layout_{width}x{height}"), views.concat());
    }
}

pub(super) struct Harness {
    pub(super) model: Model,
    commands: Vec<Cmd>,
}

impl Harness {
    pub(super) fn new(width: u16, height: u16) -> Harness {
        Harness::with(width, height, test_support::shop_state(), Startup::Normal)
    }

    pub(super) fn with(width: u16, height: u16, read_model: ConsoleState, startup: Startup) -> Harness {
        Harness::set_up(width, height, read_model, Harness::setup(startup))
    }

    pub(super) fn setup(startup: Startup) -> Setup {
        Setup {
            theme: Theme::ansi(),
            keymap: Keymap::built_in(),
            mouse: true,
            title: "shop.toml".into(),
            startup,
            confirm: ConfirmPolicy::default(),
            recall: Recall::default(),
            layout: Default::default(),
            tour: false,
            opening: None,
            workflows: Default::default(),
            invocation: Invocation::default(),
            inputs: vec![],
        }
    }

    pub(super) fn set_up(width: u16, height: u16, read_model: ConsoleState, setup: Setup) -> Harness {
        let mut model = Model::new(setup, read_model, (width, height));
        model.at(test_support::at(8000));
        Harness { model, commands: vec![] }
    }

    pub(super) fn busy(width: u16, height: u16) -> Harness {
        let mut harness = Harness::new(width, height);
        let seq = harness.model.read_model().seq;
        harness.send(Msg::Events(test_support::busy(seq)));
        harness
    }

    pub(super) fn send(&mut self, msg: Msg) -> &mut Self {
        // As in the loop, the mouse meets the frame drawn last.
        if matches!(msg, Msg::Input(Input::Mouse(_))) {
            self.buffer();
        }
        let commands = self.model.update(msg);
        self.commands.extend(commands);
        self
    }

    /// Presses keys, written as in the keymap and separated by spaces.
    pub(super) fn keys(&mut self, keys: &str) -> &mut Self {
        for key in keys.split(' ') {
            let upper = key.len() == 1 && key.chars().all(|c| c.is_ascii_uppercase());
            let parsed = KeyCombination::from_str(&if upper { format!("shift-{key}") } else { key.to_owned() }).unwrap();
            let event: KeyEvent = parsed.normalized().into();
            self.send(Msg::Input(Input::Key(event)));
        }
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            self.send(Msg::Input(Input::Key(KeyEvent::new(crossterm::event::KeyCode::Char(c), crossterm::event::KeyModifiers::NONE))));
        }
        self
    }

    pub(super) fn event(&mut self, kind: EventKind) -> &mut Self {
        let mut script = test_support::Script::after(self.model.read_model().seq);
        script.push(7600, kind);
        self.send(Msg::Events(script.events))
    }

    pub(super) fn buffer(&mut self) -> Buffer {
        let screen = self.model.layout.screen;
        let mut buf = Buffer::empty(Rect::new(0, 0, screen.width, screen.height));
        draw::draw(&mut self.model, &mut buf);
        buf
    }

    pub(super) fn frame(&mut self) -> String {
        let buf = self.buffer();
        let width = usize::from(buf.area.width).max(1);
        let rows = buf.content.chunks(width);
        rows.map(|row| row.iter().map(|c| c.symbol()).collect::<String>().trim_end().to_owned() + "\n").collect()
    }

    pub(super) fn selected(&self) -> String {
        format!("{:?}", self.model.console.tree.selected())
    }

    /// Goes to a tool by the filter.
    pub(super) fn tool(&mut self, name: &str) -> &mut Self {
        self.keys("/").text(name).keys("enter")
    }

    pub(super) fn traffic(&mut self) -> &mut Self {
        while self.model.console.focus != Focus::Traffic {
            self.keys("tab");
        }
        self
    }

    pub(super) fn take(&mut self) -> Vec<Cmd> {
        std::mem::take(&mut self.commands)
    }

    pub(super) fn submitted_spec(&mut self) -> CallSpec {
        match self.take().pop() {
            Some(Cmd::Submit { spec, .. }) => spec,
            other => panic!("nothing was submitted: {other:?}"),
        }
    }
}

mod any;
mod calls;
mod choices;
mod clients;
mod control;
mod describe;
mod dialogs;
mod environments;
mod everyday;
mod frames;
mod history;
mod images;
mod inputs;
mod keys;
mod logins;
mod looks;
mod past;
mod prompts;
mod questions;
mod reading;
mod saved_calls;
mod servers;
