//! The list of a field with many choices: opened at its field over whatever lies there, narrowed by typing.
//!
//! A form may have a single row on the screen, and a list needs some. So the form only notes where the field stands, and
//! whoever draws the screen has the list drawn after all panes, anywhere on it; the pointer asks it first for the same reason.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{buffer::Buffer, layout::Rect};

use super::{FormEvent, FormView};
use crate::{
    domain::{
        form::{Kind, State},
        text::visible,
    },
    tui::{
        theme::Theme,
        widget::{
            paint::{Pen, clear, pane, width},
            window::{Move, Window},
        },
    },
};

/// A field with more choices than this opens a list of them; with so many at most, they are stepped through.
const STEPPED: usize = 3;
/// Rows of the list that are shown at once.
const ROWS: u16 = 10;
/// The rows of a list that shows one choice, its border included.
const LEAST: u16 = 3;

/// The list as it is open.
#[derive(Default)]
pub(super) struct Picker {
    filter: String,
    /// Cursor and scroll among what passes the filter.
    window: Window,
    /// The row of its field, from the drawing of the form to that of the list.
    pinned: Option<Rect>,
    /// Where it was drawn last, if it was.
    seen: Option<Seen>,
}

/// Where a list stands on the screen.
#[derive(Clone, Copy)]
struct Seen {
    /// The row of its field.
    field: Rect,
    /// The list with its border.
    frame: Rect,
    /// Its rows.
    rows: Rect,
}

/// The places of the labels that have every word of the filter in them.
fn passing(labels: &[String], filter: &str) -> Vec<usize> {
    let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
    let passes = |label: &String| words.iter().all(|word| label.to_lowercase().contains(word));
    (0..labels.len()).filter(|at| passes(&labels[*at])).collect()
}

impl FormView {
    /// What can be chosen in the field under the cursor, and which of it is.
    fn choices(&self) -> Option<(Vec<String>, Option<usize>)> {
        let shown = |labels: Vec<&String>| labels.into_iter().map(|label| visible(label).into_owned()).collect();
        let set = self.form.node(&self.at).is_some_and(|node| !matches!(node.state, State::Unset | State::Null));
        match self.kind()? {
            Kind::Choice { options, picked } => Some((shown(options.iter().map(|(label, _)| label).collect()), set.then_some(*picked))),
            Kind::Union { variants, picked, .. } => Some((shown(variants.iter().map(|(label, _)| label).collect()), Some(*picked))),
            _ => None,
        }
    }

    /// Opens the list of choices where there are many; whether it did.
    pub(super) fn open_list(&mut self) -> bool {
        let Some((labels, picked)) = self.choices().filter(|(labels, _)| labels.len() > STEPPED) else { return false };
        let mut picker = Picker::default();
        picker.window.go(Move::On(picked.unwrap_or(0)), labels.len());
        self.picker = Some(picker);
        true
    }

    /// Takes a key into the list.
    pub(super) fn pick_key(&mut self, key: KeyEvent) -> FormEvent {
        let (Some((labels, _)), Some(picker)) = (self.choices(), &mut self.picker) else {
            self.picker = None;
            return FormEvent::None;
        };
        let found = passing(&labels, &picker.filter);
        let plain = !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
        let to = match key.code {
            KeyCode::Up => Move::Back(1),
            KeyCode::Down => Move::On(1),
            KeyCode::PageUp => Move::Back(usize::from(ROWS)),
            KeyCode::PageDown => Move::On(usize::from(ROWS)),
            KeyCode::Home => Move::First,
            KeyCode::End => Move::Last,
            KeyCode::Esc => {
                self.picker = None;
                return FormEvent::None;
            }
            KeyCode::Enter | KeyCode::Tab => {
                let Some(index) = found.get(picker.window.cursor).copied() else { return FormEvent::None };
                self.picker = None;
                self.changing(|form, at| form.pick(at, index));
                return FormEvent::Changed;
            }
            KeyCode::Backspace => {
                picker.filter.pop();
                picker.window = Window::default();
                return FormEvent::None;
            }
            KeyCode::Char(c) if plain => {
                picker.filter.push(c);
                picker.window = Window::default();
                return FormEvent::None;
            }
            _ => return FormEvent::None,
        };
        self.move_list(to);
        FormEvent::None
    }

    /// Whether the list of choices is open.
    pub fn listing(&self) -> bool {
        self.picker.is_some()
    }

    /// Closes the list of choices; nothing is chosen.
    pub fn close_list(&mut self) {
        self.picker = None;
    }

    /// Whether the list of choices is drawn at a cell of the screen.
    pub fn list_at(&self, x: u16, y: u16) -> bool {
        self.seen().is_some_and(|seen| seen.frame.contains((x, y).into()))
    }

    /// Takes the choice at a cell of the screen. A click beside the list closes it, and only that when it is on its field;
    /// whether the click has done all that it means.
    pub fn click_list(&mut self, x: u16, y: u16) -> bool {
        let (Some(seen), Some((labels, _)), Some(picker)) = (self.seen(), self.choices(), &self.picker) else { return false };
        let cell = (x, y).into();
        if !seen.frame.contains(cell) {
            self.picker = None;
            return seen.field.contains(cell);
        }
        if seen.rows.contains(cell) {
            let row = picker.window.top + usize::from(y - seen.rows.y);
            if let Some(index) = passing(&labels, &picker.filter).get(row).copied() {
                self.picker = None;
                self.changing(|form, at| form.pick(at, index));
            }
        }
        true
    }

    /// Moves the cursor of the list.
    pub fn move_list(&mut self, to: Move) {
        let (Some((labels, _)), Some(picker)) = (self.choices(), &mut self.picker) else { return };
        picker.window.go(to, passing(&labels, &picker.filter).len());
    }

    fn seen(&self) -> Option<Seen> {
        self.picker.as_ref()?.seen
    }

    /// Notes the row of the field under the cursor for the list; none when the list is not to be drawn.
    pub(super) fn pin_list(&mut self, field: Option<Rect>) {
        if let Some(picker) = &mut self.picker {
            (picker.pinned, picker.seen) = (field, None);
        }
    }

    /// Draws the list that is open, after everything else on `screen`, if the form was drawn with the focus: under its
    /// field, or over it where there is no room.
    pub fn draw_list(&mut self, screen: Rect, buf: &mut Buffer, theme: &Theme) {
        let (Some((labels, picked)), Some(picker)) = (self.choices(), &mut self.picker) else { return };
        let screen = screen.intersection(buf.area);
        let Some(field) = picker.pinned.take().filter(|_| !screen.is_empty()) else { return };
        let found = passing(&labels, &picker.filter);
        let long = labels.iter().map(|label| width(label)).max().unwrap_or(0).saturating_add(6);
        let frame = place(field, screen, (long.max(32), (found.len() as u16).clamp(1, ROWS) + 2));
        clear(buf, frame);
        let filter = if picker.filter.is_empty() { "type to find".to_owned() } else { format!("{}▏", picker.filter) };
        let count = format!("{} of {}", found.len(), labels.len());
        let rows = pane(buf, frame, &[(&filter, theme.focus)], &[(&count, theme.muted)], true, theme);
        picker.seen = Some(Seen { field, frame, rows });
        picker.window.fit(found.len(), usize::from(rows.height));
        for (row, index) in picker.window.rows(found.len(), usize::from(rows.height)).enumerate() {
            let line = Rect { y: rows.y + row as u16, height: 1, ..rows };
            let mut pen = Pen::new(buf, line, 0);
            pen.put(if Some(found[index]) == picked { " ● " } else { "   " }, theme.accent);
            let room = pen.left();
            pen.put_middle(&labels[found[index]], room, theme.text);
            if index == picker.window.cursor {
                buf.set_style(line.intersection(buf.area), theme.selection);
            }
        }
        if found.is_empty() {
            Pen::new(buf, rows, 0).put(" Nothing is called like this.", theme.muted);
        }
    }
}

/// Where a list that would like to be so wide and high stands on a screen.
fn place(field: Rect, screen: Rect, wish: (u16, u16)) -> Rect {
    let y = field.y.clamp(screen.y, screen.bottom() - 1);
    let (over, under) = (y - screen.y, screen.bottom() - y - 1);
    let (width, mut height) = (wish.0.min(screen.width), wish.1.min(over.max(under)));
    let top = if height < LEAST {
        // Better over its field than without a row.
        height = wish.1.min(screen.height);
        y.min(screen.bottom() - height)
    } else if under >= height {
        y + 1
    } else {
        y - height
    };
    let x = field.x.saturating_add(2).clamp(screen.x, screen.right() - width);
    Rect { x, y: top, width, height }
}
