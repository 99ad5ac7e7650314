//! The list of a field with many choices: opened over the form, narrowed by typing.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{buffer::Buffer, layout::Rect, widgets::Clear, widgets::Widget};

use super::{FormEvent, FormView};
use crate::{
    domain::{
        form::{Kind, State},
        text::visible,
    },
    tui::{
        theme::Theme,
        widget::{
            paint::{Pen, pane, width},
            window::{Move, Window},
        },
    },
};

/// A field with more choices than this opens a list of them; with so many at most, they are stepped through.
const STEPPED: usize = 3;
/// Rows of the list that are shown at once.
const ROWS: u16 = 10;

/// The list as it is open.
#[derive(Default)]
pub(super) struct Picker {
    filter: String,
    /// Cursor and scroll among what passes the filter.
    window: Window,
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
        picker.window.go(to, found.len());
        FormEvent::None
    }

    /// Draws the list under the row `y` of the field, or over it where there is more room.
    pub(super) fn draw_list(&mut self, y: u16, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let (Some((labels, picked)), Some(picker)) = (self.choices(), &mut self.picker) else { return };
        let found = passing(&labels, &picker.filter);
        let (over, under) = (y.saturating_sub(area.y), area.bottom().saturating_sub(y + 1));
        let wish = (found.len() as u16).clamp(1, ROWS) + 2;
        let height = wish.min(over.max(under));
        let top = if under >= height { y + 1 } else { y.saturating_sub(height) };
        let long = labels.iter().map(|label| width(label)).max().unwrap_or(0).saturating_add(6);
        let wide = long.max(32).min(area.width);
        let place = Rect { x: area.x + 2.min(area.width - wide), y: top, width: wide, height }.intersection(buf.area);
        Clear.render(place, buf);
        let filter = if picker.filter.is_empty() { "type to find".to_owned() } else { format!("{}▏", picker.filter) };
        let count = format!("{} of {}", found.len(), labels.len());
        let inner = pane(buf, place, &[(&filter, theme.focus)], &[(&count, theme.muted)], true, theme);
        picker.window.fit(found.len(), usize::from(inner.height));
        for (row, index) in picker.window.rows(found.len(), usize::from(inner.height)).enumerate() {
            let line = Rect { y: inner.y + row as u16, height: 1, ..inner };
            let mut pen = Pen::new(buf, line, 0);
            pen.put(if Some(found[index]) == picked { " ● " } else { "   " }, theme.accent).cut(&labels[found[index]], theme.text);
            if index == picker.window.cursor {
                buf.set_style(line.intersection(buf.area), theme.selection);
            }
        }
        if found.is_empty() {
            Pen::new(buf, inner, 0).put(" Nothing is called like this.", theme.muted);
        }
    }
}
