//! The picker of a field with many choices: a list over the other panes, filtered by typing.
//!
//! A form may have a single row on the screen, and a list needs more. So the form only records the row of its field, and the
//! screen draws the list after all panes. For the same reason the mouse asks the list first.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{FormEvent, FormView};
use crate::{
    domain::{
        form::{Kind, State},
        text::visible,
    },
    tui::{
        hits::{Hit, HitArea, HitMap, Owner},
        theme::Theme,
        widget::{
            paint::{Pen, clear, pane, width},
            window::{Move, Window},
        },
    },
};

/// Fields with at most this many choices are stepped through; others open a list.
const STEPPED: usize = 3;
/// The most visible rows of the list.
const ROWS: u16 = 10;
/// The height of a list with one choice, its border included.
const LEAST: u16 = 3;

/// The open list.
#[derive(Default)]
pub(super) struct Picker {
    filter: String,
    /// The cursor and scroll among the matches.
    window: Window,
    /// The row of the field, set when the form is drawn and taken when the list is drawn.
    field_row: Option<Rect>,
    /// The row of the field of the list that was drawn last.
    drawn: Option<Rect>,
}

/// Returns the indexes of the labels that contain every word of the filter.
fn matching(labels: &[String], filter: &str) -> Vec<usize> {
    let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
    let passes = |label: &String| words.iter().all(|word| label.to_lowercase().contains(word));
    (0..labels.len()).filter(|at| passes(&labels[*at])).collect()
}

impl FormView {
    /// Returns the choices of the field under the cursor, and which one is picked.
    fn choices(&self) -> Option<(Vec<String>, Option<usize>)> {
        let shown = |labels: Vec<&String>| labels.into_iter().map(|label| visible(label).into_owned()).collect();
        let set = self.form.node(&self.at).is_some_and(|node| !matches!(node.state, State::Unset | State::Null));
        match self.kind()? {
            Kind::Choice { options, picked } => Some((shown(options.iter().map(|(label, _)| label).collect()), set.then_some(*picked))),
            Kind::Union { variants, picked, .. } => Some((shown(variants.iter().map(|(label, _)| label).collect()), Some(*picked))),
            _ => None,
        }
    }

    /// Opens the list of a field with many choices. Returns whether it opened.
    pub(super) fn open_list(&mut self) -> bool {
        let Some((labels, picked)) = self.choices().filter(|(labels, _)| labels.len() > STEPPED) else { return false };
        let mut picker = Picker::default();
        picker.window.go(Move::On(picked.unwrap_or(0)), labels.len());
        self.picker = Some(picker);
        true
    }

    /// Handles a key in the list.
    pub(super) fn picker_key(&mut self, key: KeyEvent) -> FormEvent {
        let (Some((labels, _)), Some(picker)) = (self.choices(), &mut self.picker) else {
            self.picker = None;
            return FormEvent::None;
        };
        let found = matching(&labels, &picker.filter);
        let no_modifier = !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
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
                self.change(|form, at| form.pick(at, index));
                return FormEvent::Changed;
            }
            KeyCode::Backspace => {
                picker.filter.pop();
                picker.window = Window::default();
                return FormEvent::None;
            }
            KeyCode::Char(c) if no_modifier => {
                picker.filter.push(c);
                picker.window = Window::default();
                return FormEvent::None;
            }
            _ => return FormEvent::None,
        };
        self.move_list(to);
        FormEvent::None
    }

    /// Returns whether the list is open.
    pub fn listing(&self) -> bool {
        self.picker.is_some()
    }

    /// Closes the list without a choice.
    pub fn close_list(&mut self) {
        self.picker = None;
    }

    /// Handles a click while the list is open: picks the choice in the list, or closes the list on a click outside. Returns
    /// whether the click is consumed; a click outside of list and field is not.
    pub fn click_list(&mut self, cell: Position, found: &HitArea) -> bool {
        let Some((picker, field)) = self.picker.as_ref().and_then(|picker| Some((picker, picker.drawn?))) else { return false };
        if found.owner != Owner::DropDown {
            self.picker = None;
            return field.contains(cell);
        }
        if let (Hit::Row(row), Some((labels, _))) = (&found.hit, self.choices())
            && let Some(index) = matching(&labels, &picker.filter).get(*row).copied()
        {
            self.picker = None;
            self.change(|form, at| form.pick(at, index));
        }
        true
    }

    /// Moves the cursor of the list.
    pub fn move_list(&mut self, to: Move) {
        let (Some((labels, _)), Some(picker)) = (self.choices(), &mut self.picker) else { return };
        picker.window.go(to, matching(&labels, &picker.filter).len());
    }

    /// Records the row of the list's field; `None` hides the list.
    pub(super) fn note_list_row(&mut self, field: Option<Rect>) {
        if let Some(picker) = &mut self.picker {
            (picker.field_row, picker.drawn) = (field, None);
        }
    }

    /// Draws the open list over everything else on `screen` if the form was drawn with focus: below its field, or above it
    /// where there is no room.
    pub fn draw_list(&mut self, screen: Rect, buf: &mut Buffer, theme: &Theme, hits: &HitMap) {
        let (Some((labels, picked)), Some(picker)) = (self.choices(), &mut self.picker) else { return };
        let screen = screen.intersection(buf.area);
        let Some(field) = picker.field_row.take().filter(|_| !screen.is_empty()) else { return };
        let found = matching(&labels, &picker.filter);
        let long = labels.iter().map(|label| width(label)).max().unwrap_or(0).saturating_add(6);
        let frame = place(field, screen, (long.max(32), (found.len() as u16).clamp(1, ROWS) + 2));
        clear(buf, frame);
        let filter = if picker.filter.is_empty() { "type to filter".to_owned() } else { format!("{}▏", picker.filter) };
        let count = format!("{} of {}", found.len(), labels.len());
        let rows = pane(buf, frame, &[(&filter, theme.focus)], &[(&count, theme.muted)], true, theme);
        picker.drawn = Some(field);
        hits.enter(Owner::DropDown, frame);
        picker.window.fit(found.len(), usize::from(rows.height));
        for (row, index) in picker.window.rows(found.len(), usize::from(rows.height)).enumerate() {
            let line = Rect { y: rows.y + row as u16, height: 1, ..rows };
            hits.add(line, Hit::Row(picker.window.top + row));
            let mut pen = Pen::new(buf, line, 0);
            pen.put(if Some(found[index]) == picked { " ● " } else { "   " }, theme.accent);
            let room = pen.left();
            pen.put_middle(&labels[found[index]], room, theme.text);
            if index == picker.window.cursor {
                buf.set_style(line.intersection(buf.area), theme.selection);
            }
        }
        if found.is_empty() {
            Pen::new(buf, rows, 0).put(" No matches", theme.muted);
        }
    }
}

/// Returns the area of a list with this preferred size on a screen.
fn place(field: Rect, screen: Rect, wish: (u16, u16)) -> Rect {
    let y = field.y.clamp(screen.y, screen.bottom() - 1);
    let (over, under) = (y - screen.y, screen.bottom() - y - 1);
    let (width, mut height) = (wish.0.min(screen.width), wish.1.min(over.max(under)));
    let top = if height < LEAST {
        // Covers its field rather than having no row.
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
