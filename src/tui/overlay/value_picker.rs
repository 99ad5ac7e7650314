//! The picker of values: the values of the latest results, to be inserted into a field of a form.

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};
use serde_json::Value;

use crate::{
    domain::{
        call::{Operation, Outcome},
        directory::Directory,
        text::visible,
    },
    state::ConsoleState,
    tui::{
        action::Action,
        dialog::{Dialog, DialogOutcome},
        hits::Hit,
        keymap::Context,
        pane::DrawContext,
        result_view::present,
        widget::{
            paint::{Pen, dialog, scroll_bar, width},
            window::{Move, Window},
        },
    },
};

use super::edit_line;

/// How many results are read, the newest first.
const RESULTS: usize = 20;
/// The most values of all results.
const VALUES: usize = 2_000;
/// Larger results are not read, so that the dialog opens immediately.
const LARGEST: usize = 256 << 10;
/// Texts longer than this are not offered.
const LONGEST: usize = 4 << 10;

/// A value of a result.
#[derive(Clone, Debug, PartialEq)]
struct Picked {
    /// The call: its exposed name.
    call: String,
    /// Where the value is in the result: `users[0].id`.
    path: String,
    /// The last name of the path.
    key: String,
    text: String,
}

/// The picker.
pub struct ValuePicker {
    values: Vec<Picked>,
    typed: String,
    found: Vec<usize>,
    window: Window,
}

impl ValuePicker {
    /// Creates a picker of the values of the latest results; those whose name is that of the field come first. `None` without
    /// values.
    pub fn new(field: &str, read_model: &ConsoleState) -> Option<ValuePicker> {
        let mut values = vec![];
        let results = read_model.calls.iter().rev().filter_map(|call| match (&call.spec.operation, &call.settled.as_ref()?.outcome) {
            (Operation::Tool { .. }, Outcome::Ok { result }) if result.len() <= LARGEST => Some((call, result)),
            _ => None,
        });
        for (call, result) in results.take(RESULTS) {
            let name = read_model.call_name(&call.spec.operation);
            if let Some(value) = present(result).tree.value() {
                leaves(&value, &name, &mut String::new(), "", &mut values);
            }
        }
        values.dedup();
        values.truncate(VALUES);
        let alike = |key: &str| {
            !key.is_empty() && (key.eq_ignore_ascii_case(field) || field.to_ascii_lowercase().ends_with(&key.to_ascii_lowercase()))
        };
        values.sort_by_key(|value| !alike(&value.key));
        let found = (0..values.len()).collect();
        (!values.is_empty()).then_some(ValuePicker { values, typed: String::new(), found, window: Window::default() })
    }

    fn find(&mut self) {
        let words: Vec<String> = self.typed.split_whitespace().map(str::to_lowercase).collect();
        let matches = |value: &Picked| {
            let text = format!("{} {} {}", value.call, value.path, value.text).to_lowercase();
            words.iter().all(|word| text.contains(word))
        };
        self.found = (0..self.values.len()).filter(|at| matches(&self.values[*at])).collect();
        self.window = Window::default();
    }

    fn choose(&self) -> DialogOutcome {
        match self.found.get(self.window.cursor).and_then(|at| self.values.get(*at)) {
            Some(value) => {
                let text = value.text.clone();
                DialogOutcome::close_and(move |model| {
                    model.insert_value(&text);
                    vec![]
                })
            }
            None => DialogOutcome::Open,
        }
    }
}

/// Collects the texts, numbers and truth values of a document.
fn leaves(value: &Value, call: &str, path: &mut String, key: &str, into: &mut Vec<Picked>) {
    if into.len() >= VALUES {
        return;
    }
    let length = path.len();
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                leaves(inner, call, path, name, into);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (at, inner) in items.iter().enumerate() {
                path.push_str(&format!("[{at}]"));
                leaves(inner, call, path, key, into);
                path.truncate(length);
            }
        }
        Value::Null => {}
        scalar => {
            let text = scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned);
            if text.len() <= LONGEST {
                into.push(Picked { call: call.to_owned(), path: path.clone(), key: key.to_owned(), text });
            }
        }
    }
}

impl Dialog for ValuePicker {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Palette]
    }

    fn go(&mut self, to: Move, _ctx: DrawContext) {
        self.window.go(to, self.found.len());
    }

    fn act(&mut self, action: Action, _ctx: DrawContext) -> DialogOutcome {
        match action {
            Action::Choose => self.choose(),
            Action::Back => DialogOutcome::Close,
            _ => DialogOutcome::Open,
        }
    }

    fn key(&mut self, key: KeyEvent, _ctx: DrawContext) -> DialogOutcome {
        if edit_line(&mut self.typed, key) {
            self.find();
        }
        DialogOutcome::Open
    }

    fn paste(&mut self, text: &str, _ctx: DrawContext) -> DialogOutcome {
        self.typed.push_str(text);
        self.find();
        DialogOutcome::Open
    }

    fn click(&mut self, hit: &Hit, _ctx: DrawContext) -> DialogOutcome {
        let Hit::Row(row) = hit else { return DialogOutcome::Open };
        self.window.cursor = *row;
        self.choose()
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let wish = (92, area.height.saturating_sub(4).min(24));
        let count = self.found.len().to_string();
        let inner = dialog(buf, area, wish, &[("Insert a value of an earlier result", theme.focus)], &[(&count, theme.muted)], theme);
        Pen::new(buf, inner, 0).skip(1).put("/ ", theme.key).put(&self.typed, theme.text).put("▏", theme.focus);
        let list = Rect { y: inner.y.saturating_add(1), height: inner.height.saturating_sub(1), ..inner };
        let height = usize::from(list.height);
        self.window.fit(self.found.len(), height);
        let shown = self.window.rows(self.found.len(), height);
        let names = shown.clone().map(|at| width(&self.values[self.found[at]].path)).max().unwrap_or(0).min(list.width / 2).max(12);
        for (y, index) in shown.enumerate() {
            let value = &self.values[self.found[index]];
            let row = Rect { y: list.y + y as u16, height: 1, ..list };
            ctx.hits.add(row, Hit::Row(index));
            let mut pen = Pen::new(buf, row, 0);
            pen.skip(1).right(&[(" ", theme.muted), (&value.call, theme.muted), (" ", theme.muted)]);
            let start = pen.x();
            pen.put_middle(&visible(&value.path), names.min(pen.left()), theme.accent).skip(1).to(start + names + 1);
            pen.cut(&visible(&value.text), theme.text);
            if index == self.window.cursor {
                buf.set_style(row.intersection(buf.area), theme.selection);
            }
        }
        scroll_bar(buf, list, (self.window.top, height, self.found.len()), theme.muted);
        if self.found.is_empty() {
            Pen::new(buf, list, 0).skip(1).put("No matches", theme.muted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn leaves_have_their_paths_and_names() {
        let mut found = vec![];
        let value = json!({"users": [{"id": 7, "name": "Ann", "none": null}], "ok": true});
        leaves(&value, "db_find", &mut String::new(), "", &mut found);
        let found: Vec<(&str, &str, &str)> = found.iter().map(|v| (&*v.path, &*v.key, &*v.text)).collect();
        assert_eq!(found, [("users[0].id", "id", "7"), ("users[0].name", "name", "Ann"), ("ok", "ok", "true")]);
    }
}
