//! Check lists in a form: the cursor among their options, and how a row of one is drawn.

use ratatui::style::Style;

use super::{FormEvent, FormView};
use crate::{
    domain::{
        form::{Node, Path, State},
        text::visible,
    },
    tui::{
        theme::Theme,
        widget::paint::{Pen, width},
    },
};

impl FormView {
    /// Returns whether the cursor is on an option of a check list.
    pub(super) fn on_option(&self) -> bool {
        self.form.is_option(&self.at)
    }

    /// Returns where the cursor starts instead of the row of an unfolded check list: its first option.
    pub(super) fn first_option(&self, path: &Path) -> Option<Path> {
        let list = self.form.check_list(path).filter(|list| list == path)?;
        let option = [list.as_slice(), &[0]].concat();
        (!self.form.node(&list)?.folded && self.form.node(&option).is_some()).then_some(option)
    }

    /// Goes from an option to the row of its check list.
    pub(super) fn leave_options(&mut self) {
        if let Some(list) = self.form.check_list(&self.at) {
            self.go(list);
        }
    }

    /// Goes to the option that begins with the typed letters.
    pub(super) fn find_option(&mut self, c: char) -> FormEvent {
        let Some(list) = self.form.check_list(&self.at) else { return FormEvent::None };
        let labels: Vec<String> =
            self.form.node(&list).into_iter().flat_map(Node::children).map(|option| option.label.to_lowercase()).collect();
        let one: String = c.to_lowercase().collect();
        let longer = format!("{}{one}", self.ahead);
        let found = [longer, one].into_iter().find_map(|start| labels.iter().position(|l| l.starts_with(&start)).map(|at| (start, at)));
        if let Some((start, index)) = found {
            self.go([list.as_slice(), &[index]].concat());
            self.ahead = start;
        }
        FormEvent::None
    }
}

/// Draws an option with its box. The cursor's row shows the key that checks it.
pub(super) fn draw_option(option: &Node, style: Style, active: bool, pen: &mut Pen, theme: &Theme) {
    let checked = option.state != State::Unset;
    pen.put(if checked { "[x] " } else { "[ ] " }, if checked { theme.accent } else { theme.muted });
    let label = visible(&option.label);
    let (key, word) = ("Space", if checked { " uncheck" } else { " check" });
    let keys = usize::from(width(key) + width(word)) + 3;
    let shows_keys = active && pen.room() > usize::from(width(&label)) + keys;
    pen.cut(&label, style);
    if shows_keys {
        pen.pass(3);
        pen.put(key, theme.key);
        pen.put(word, theme.muted);
    }
}

/// Draws how many options are checked, and which.
pub(super) fn draw_summary(list: &Node, pen: &mut Pen, theme: &Theme) {
    let checked = list.checked();
    pen.put(if list.folded { "▸ " } else { "▾ " }, theme.muted);
    let count = format!("{} of {}", checked.len(), list.children().len());
    pen.cut(&count, if list.state == State::Set { theme.text } else { theme.muted });
    if list.folded && !checked.is_empty() && pen.room() > 8 {
        pen.pass(3);
        pen.cut(&visible(&checked.join(", ")), theme.muted);
    }
}
