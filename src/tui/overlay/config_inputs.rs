//! The dialog for inputs of configuration files: asks for the values one after the other, and for how long to use each.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        config_input::{ConfigInput, InputOption, InputRetention, InputValue},
        time::Stamp,
    },
    tui::{
        WorkspaceRequest,
        action::Action,
        dialog::{Dialog, DialogOutcome, Guard},
        hits::Hit,
        keymap::Context,
        msg::Cmd,
        pane::DrawContext,
        widget::{
            field::{FieldEvent, TextField},
            paint::{Pen, dialog, padded, wrap},
        },
    },
};

use super::key_row;

/// Most options that are shown.
const OPTIONS: usize = 8;
/// The character in place of those of a password.
const MASKED: char = '•';

/// The part of the dialog that takes keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Value,
    Retention,
}

/// The dialog.
pub struct ConfigInputs {
    /// The inputs to ask for, the current one first.
    inputs: Vec<ConfigInput>,
    /// How many were asked for before the current one.
    asked: usize,
    field: TextField,
    /// The selected option.
    option: usize,
    retention: InputRetention,
    part: Part,
    guard: Guard,
}

impl ConfigInputs {
    /// Creates the dialog for these inputs; `None` if there are none. It may open without a key press.
    pub fn new(inputs: Vec<ConfigInput>, now: Stamp) -> Option<ConfigInputs> {
        let (field, option) = proposed(inputs.first()?);
        let retention = InputRetention::default();
        Some(ConfigInputs { inputs, asked: 0, field, option, retention, part: Part::Value, guard: Guard::new(now) })
    }

    fn input(&self) -> Option<&ConfigInput> {
        self.inputs.first()
    }

    fn options(&self) -> &[InputOption] {
        self.input().map_or(&[], |input| &input.options)
    }

    /// Returns the value as entered.
    fn value(&self) -> &str {
        self.options().get(self.option).map_or_else(|| self.field.text(), |option| &option.value)
    }

    /// Gives the value of the current input and goes to the next one.
    fn give(&mut self) -> DialogOutcome {
        let value = InputValue(self.value().to_owned());
        if self.inputs.is_empty() {
            return DialogOutcome::Close;
        }
        let input = self.inputs.remove(0);
        let request = WorkspaceRequest::GiveInput { file: input.file, id: input.id, value, retention: self.retention };
        self.asked += 1;
        match self.inputs.first() {
            Some(next) => {
                (self.field, self.option) = proposed(next);
                (self.retention, self.part) = (InputRetention::default(), Part::Value);
                DialogOutcome::run(|_| vec![Cmd::Request(request)])
            }
            None => DialogOutcome::close_and(|_| vec![Cmd::Request(request)]),
        }
    }

    fn switch_retention(&mut self) {
        self.retention = match self.retention {
            InputRetention::Session => InputRetention::Stored,
            InputRetention::Stored => InputRetention::Session,
        };
    }

    fn switch_part(&mut self) {
        self.part = match self.part {
            Part::Value => Part::Retention,
            Part::Retention => Part::Value,
        };
    }

    fn draw_options(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let first = self.option.saturating_sub(usize::from(area.height).saturating_sub(1));
        for (row, (index, option)) in self.options().iter().enumerate().skip(first).take(usize::from(area.height)).enumerate() {
            let current = index == self.option;
            let place = Rect { y: area.y + row as u16, height: 1, ..area };
            ctx.hits.add(place, Hit::Row(index));
            let mut pen = Pen::new(buf, place, 0);
            let style = if current && self.part == Part::Value { ctx.theme.accent } else { ctx.theme.text };
            pen.put(if current { "› " } else { "  " }, style);
            pen.put(option.label.as_deref().unwrap_or(&option.value), style);
            if option.label.as_ref().is_some_and(|label| *label != option.value) {
                pen.put(&format!("  {}", option.value), ctx.theme.muted);
            }
        }
    }
}

/// Returns the proposed value: the default, selected so that typing replaces it, and the index of its option.
fn proposed(input: &ConfigInput) -> (TextField, usize) {
    let default = input.default.as_deref().unwrap_or_default();
    let field = TextField::proposed(default);
    let option = input.options.iter().position(|option| option.value == default).unwrap_or_default();
    (if input.password { field.masked(MASKED) } else { field }, option)
}

impl Dialog for ConfigInputs {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Entry]
    }

    fn guard_left(&self, now: Stamp) -> Option<Duration> {
        self.guard.left(now)
    }

    fn act(&mut self, action: Action, ctx: DrawContext) -> DialogOutcome {
        match action {
            Action::Choose if self.guard.locks(ctx.now) => DialogOutcome::Open,
            Action::Choose => self.give(),
            Action::Back => DialogOutcome::close_and(|model| {
                model.postpone_inputs();
                vec![]
            }),
            _ => DialogOutcome::Open,
        }
    }

    fn key(&mut self, key: KeyEvent, ctx: DrawContext) -> DialogOutcome {
        if self.guard.locks(ctx.now) {
            return DialogOutcome::Open;
        }
        let last = self.options().len().saturating_sub(1);
        match (key.code, self.part) {
            (KeyCode::Tab | KeyCode::BackTab, _) => self.switch_part(),
            (KeyCode::Char(' ') | KeyCode::Left | KeyCode::Right, Part::Retention) => self.switch_retention(),
            (KeyCode::Up, Part::Retention) => self.switch_part(),
            (KeyCode::Up, Part::Value) => self.option = self.option.saturating_sub(1),
            (KeyCode::Down, Part::Value) if self.option < last => self.option += 1,
            (KeyCode::Down, Part::Value) => self.switch_part(),
            (_, Part::Value) if self.options().is_empty() => drop(self.field.handle(key)),
            _ => {}
        }
        DialogOutcome::Open
    }

    fn paste(&mut self, text: &str, ctx: DrawContext) -> DialogOutcome {
        if self.part == Part::Value && self.options().is_empty() && !self.guard.locks(ctx.now) {
            let _: FieldEvent = self.field.paste(text);
        }
        DialogOutcome::Open
    }

    fn click(&mut self, hit: &Hit, _ctx: DrawContext) -> DialogOutcome {
        if let Hit::Row(index) = hit
            && *index < self.options().len()
        {
            (self.option, self.part) = (*index, Part::Value);
        }
        DialogOutcome::Open
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let Some(input) = self.input() else { return };
        let wide = 76.min(area.width);
        let room = wide.saturating_sub(4);
        let mut notes = input.description.as_deref().map(|text| wrap(text, room)).unwrap_or_default();
        let described = notes.len();
        notes.extend(wrap(&format!("for {} · {}", input.servers.join(", "), input.file.display()), room));
        let title = format!("Value of the input {}", input.id);
        let count = format!("{} of {}", self.asked + 1, self.asked + self.inputs.len());
        let rows = self.options().len().clamp(1, OPTIONS) as u16;
        let height = notes.len() as u16 + rows + 6;
        let inner = dialog(buf, area, (wide, height), &[(&title, theme.focus), (&count, theme.muted)], &[], theme);
        let inner = padded(inner);
        // On a low screen the value takes precedence over the notes.
        let spare = inner.height.saturating_sub(rows + 3);
        let mut y = 0;
        for (index, note) in notes.iter().take(usize::from(spare)).enumerate() {
            Pen::new(buf, inner, y).put(note, if index < described { theme.text } else { theme.muted });
            y += 1;
        }
        y += u16::from(y < spare);
        const LABEL: u16 = 7;
        let label = |buf: &mut Buffer, y: u16, text: &str, part: Part| {
            Pen::new(buf, inner, y).put(text, if self.part == part { theme.accent } else { theme.muted });
        };
        label(buf, y, "value", Part::Value);
        let place = |y: u16, height: u16| Rect {
            x: inner.x + LABEL.min(inner.width),
            y: inner.y + y.min(inner.height),
            width: inner.width.saturating_sub(LABEL),
            height: height.min(inner.height.saturating_sub(y + 1)),
        };
        let options = !self.options().is_empty();
        if options {
            self.draw_options(ctx, place(y, rows), buf);
        }
        label(buf, y + rows, "use", Part::Retention);
        let retention = match self.retention {
            InputRetention::Session => "in this session   (Tab and Space change it)",
            InputRetention::Stored => "in later sessions too: stored in a file that only you can read",
        };
        Pen::new(buf, place(y + rows, 1), 0).put(retention, if self.part == Part::Retention { theme.accent } else { theme.text });
        if !options {
            let focused = self.part == Part::Value;
            self.field.draw(place(y, 1), buf, theme.text, theme, focused);
        }
        // The keys are shown when they work.
        key_row(ctx, Context::Entry, |action| action == Action::Back || self.guard.left(ctx.now).is_none(), inner, buf);
    }
}
