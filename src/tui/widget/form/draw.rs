//! Draws a [`FormView`].

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use super::{FormView, RowKeys, check_list};
use crate::{
    domain::{
        form::{Kind, Node, Row, State},
        plural::counted,
        text::{middle, visible},
    },
    tui::{
        action::Action,
        hits::{Hit, HitMap},
        theme::Theme,
        widget::paint::{Pen, width, wrap_some},
    },
};

/// The minimum width of a form with a type column.
const WITH_HINTS: u16 = 48;

/// The widths of the columns.
struct Columns {
    label: usize,
    hint: usize,
}

/// How a row is drawn.
#[derive(Clone, Copy)]
struct RowState<'a> {
    columns: &'a Columns,
    /// Whether the cursor is on the row.
    current: bool,
    /// Whether the cursor is on the row and the form has focus.
    active: bool,
}

impl FormView {
    /// Draws the form, scrolled so that the row of the cursor is visible with its messages. [`FormView::draw_list`] draws an
    /// open list after everything that the list may cover.
    pub fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme, focused: bool, hits: &HitMap) {
        let area = area.intersection(buf.area);
        let list_row = |y| focused.then_some(Rect { y, height: 1, ..area });
        self.note_list_row(list_row(area.y));
        if area.is_empty() {
            return;
        }
        let rows = self.form.rows();
        if rows.is_empty() {
            Pen::new(buf, area, 0).cut("  No arguments", theme.muted);
            return;
        }
        let (body, foot) = split(area, u16::try_from(rows.len()).unwrap_or(u16::MAX));
        self.page = usize::from(body.height).saturating_sub(1).max(1);
        let columns = self.columns(&rows, body.width);
        let messages: Vec<Vec<(String, Style)>> = rows.iter().map(|row| self.messages(row, body, theme)).collect();
        self.scroll(&rows, &messages, body.height);
        let mut line = 0;
        for (index, (row, messages)) in rows.iter().zip(&messages).enumerate() {
            let current = row.path == self.at;
            if let Some(y) = on_screen(line, self.top, body) {
                let state = RowState { columns: &columns, current, active: focused && current };
                let place = Rect { y, height: 1, ..body };
                hits.add(place, Hit::Row(index));
                self.draw_row(row, state, place, buf, theme, hits);
            }
            line += 1;
            for (text, style) in messages {
                if let Some(y) = on_screen(line, self.top, body) {
                    hits.add(Rect { y, height: 1, ..body }, Hit::Message(index));
                    let mut pen = Pen::new(buf, Rect { y, height: 1, ..body }, 0);
                    pen.pass(self.message_column(body));
                    pen.cut(text, *style);
                }
                line += 1;
            }
        }
        self.draw_foot(foot, buf, theme);
        let before = rows.iter().zip(&messages).take_while(|(row, _)| row.path != self.at).map(|(_, messages)| 1 + messages.len()).sum();
        if let Some(y) = on_screen(before, self.top, body) {
            self.note_list_row(list_row(y));
        }
    }

    fn columns(&self, rows: &[Row], room: u16) -> Columns {
        let (mut label, mut hint) = (4, 0);
        for row in rows {
            let Some(node) = self.form.node(&row.path).filter(|_| !self.form.is_option(&row.path)) else { continue };
            label = label.max(row.depth * 2 + usize::from(width(&visible(&node.label))) + if node.required { 2 } else { 0 });
            hint = hint.max(usize::from(width(&visible(&node.hint))));
        }
        let room = usize::from(room);
        Columns { label: label.min(room * 2 / 5).min(32), hint: if room >= usize::from(WITH_HINTS) { hint.min(18) } else { 0 } }
    }

    fn message_column(&self, area: Rect) -> usize {
        if area.width < 40 { 2 } else { 4 }
    }

    /// Returns the messages below a row.
    pub(super) fn messages(&self, row: &Row, area: Rect, theme: &Theme) -> Vec<(String, Style)> {
        let Some(node) = self.form.node(&row.path) else { return vec![] };
        let (text, style) = match (&node.error, &node.note) {
            (Some(error), _) => (format!("✕ {}", visible(error)), theme.fail),
            _ if node.missing && self.tried => ("✕ required".to_owned(), theme.fail),
            (None, Some(note)) => (format!("! {}", visible(note)), theme.warn),
            _ => return vec![],
        };
        let room = usize::from(area.width).saturating_sub(self.message_column(area) + 1).max(1);
        wrap_some(&text, room, if row.path == self.at { 3 } else { 1 }).into_iter().map(|line| (line, style)).collect()
    }

    fn scroll(&mut self, rows: &[Row], messages: &[Vec<(String, Style)>], height: u16) {
        let height = usize::from(height);
        let (mut start, mut end, mut line) = (0, 1, 0);
        for (row, messages) in rows.iter().zip(messages) {
            if row.path == self.at {
                (start, end) = (line, line + 1 + messages.len());
            }
            line += 1 + messages.len();
        }
        self.top = self.top.max(end.saturating_sub(height)).min(start).min(line.saturating_sub(height));
    }

    fn draw_row(&mut self, row: &Row, state: RowState, area: Rect, buf: &mut Buffer, theme: &Theme, hits: &HitMap) {
        let RowState { columns, current, active } = state;
        let Some(node) = self.form.node(&row.path) else { return };
        let typing = active && self.typing && matches!(node.kind, Kind::Text(_) | Kind::Number { .. } | Kind::Raw(_));
        let mut pen = Pen::new(buf, area, 0);
        pen.put(if current { "› " } else { "  " }, if active { theme.focus } else { theme.muted });
        pen.pass(row.depth * 2);
        let room = columns.label.saturating_sub(row.depth * 2 + if node.required { 2 } else { 0 }).max(3);
        let label = middle(&visible(&node.label), room).into_owned();
        let style = match (active, current) {
            (true, _) if self.typing => theme.accent.add_modifier(Modifier::BOLD),
            (true, _) => theme.selection,
            (false, true) => theme.selection_idle,
            _ if node.extra || is_number(&node.label) => theme.muted,
            _ => theme.text,
        };
        if self.form.is_option(&row.path) {
            return check_list::draw_option(node, style, active, &mut pen, theme);
        }
        let used = usize::from(width(&label));
        pen.put(&label, style);
        if node.required && !node.key.is_empty() {
            pen.put(" *", if node.missing { theme.warn } else { theme.muted });
        }
        let stars = if node.required && !node.key.is_empty() { 2 } else { 0 };
        pen.pass((columns.label + 2).saturating_sub(row.depth * 2 + used + stars).max(1));
        self.draw_hint(node, &mut pen, columns, area, theme);
        if active && self.naming.is_some() {
            pen.put("name: ", theme.muted);
            let place = pen.rest();
            if let Some(name) = &mut self.naming {
                name.draw(place, buf, theme.text, theme, true);
            }
        } else if typing {
            let style = if node.state == State::Default { theme.muted } else { theme.text };
            let place = pen.rest();
            self.field.draw(place, buf, style, theme, true);
        } else {
            draw_value(node, &mut pen, theme, active, &InlineKeys { keys: &self.keys, hits });
        }
    }

    /// Draws the type at the right edge and reserves its column.
    fn draw_hint(&self, node: &Node, pen: &mut Pen, columns: &Columns, area: Rect, theme: &Theme) {
        if columns.hint == 0 {
            return;
        }
        let hint = middle(&visible(&node.hint), columns.hint).into_owned();
        pen.at_end(area, usize::from(width(&hint)) + 1, &hint, theme.muted);
        pen.reserve(columns.hint + 3);
    }

    fn draw_foot(&self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        if area.is_empty() {
            return;
        }
        let mut row = u16::from(area.height > 2);
        let problems = if self.tried { self.form.problems.as_slice() } else { &[] };
        let problem = self.form.schema_problem().map(str::to_owned).into_iter().chain(problems.iter().cloned()).next();
        if let Some(problem) = problem {
            let mut pen = Pen::new(buf, area, row);
            pen.put("  ✕ ", theme.fail);
            pen.cut(&visible(&problem), theme.fail);
            row += 1;
        }
        let Some(node) = self.form.node(&self.at) else { return };
        let lines = wrap_some(
            &visible(prefix(&node.description, 1024)),
            usize::from(area.width).saturating_sub(3).max(1),
            usize::from(area.height) + 1,
        );
        let last = area.height.saturating_sub(row) as usize;
        let more = lines.len() > last;
        for (index, text) in lines.into_iter().take(last).enumerate() {
            let mut pen = Pen::new(buf, area, row + index as u16);
            pen.pass(2);
            let text = if more && index + 1 == last { format!("{text} …") } else { text };
            pen.cut(&text, theme.muted);
        }
    }
}

/// Splits the area into the form's `rows` and the foot, which describes the field under the cursor and takes the rest.
fn split(area: Rect, rows: u16) -> (Rect, Rect) {
    let foot = match area.height {
        0..5 => 0,
        5..9 => 1,
        9..16 => 2,
        _ => 3,
    };
    let foot = if foot > 0 { foot + u16::from(area.height > 9) } else { 0 };
    let spare = area.height.saturating_sub(rows.saturating_add(foot + 1));
    let foot = if foot > 0 { foot + spare.min(3) } else { 0 };
    let body = Rect { height: area.height - foot, ..area };
    (body, Rect { y: body.bottom(), height: foot, ..area })
}

/// Returns the start of a possibly very long text, enough for `cells` cells.
fn prefix(text: &str, cells: usize) -> &str {
    let mut end = text.len().min(cells * 4 + 64);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn is_number(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_digit())
}

fn on_screen(line: usize, top: usize, area: Rect) -> Option<u16> {
    let row = u16::try_from(line.checked_sub(top)?).ok()?;
    (row < area.height).then_some(area.y + row)
}

fn draw_value(node: &Node, pen: &mut Pen, theme: &Theme, active: bool, inline: &InlineKeys) {
    if node.state == State::Null {
        return pen.cut("null", theme.json_word);
    }
    let set = if node.state == State::Default { theme.muted } else { theme.text };
    match &node.kind {
        Kind::Text(text) if text.is_empty() && node.state == State::Set => pen.cut("\"\"", theme.muted),
        Kind::Text(text) | Kind::Number { text, .. } | Kind::Raw(text) => {
            pen.cut(&visible(prefix(text, pen.room())), set);
        }
        Kind::Bool(value) => choice(pen, node, if *value { "true" } else { "false" }, theme, active),
        Kind::Choice { options, picked } => {
            let label = options.get(*picked).map_or("", |(label, _)| label);
            choice(pen, node, label, theme, active);
            others(pen, options.iter().map(|(label, _)| label.as_str()), theme);
        }
        Kind::Const(value) => {
            let text = if node.state == State::Unset { "–".into() } else { visible(&value.text()).into_owned() };
            pen.cut(&text, theme.muted);
        }
        Kind::Union { variants, picked, .. } => {
            let label = variants.get(*picked).map_or("", |(label, _)| label);
            arrows(pen, label, if node.value().is_none() { theme.muted } else { theme.text }, theme, active);
            others(pen, variants.iter().map(|(label, _)| label.as_str()), theme);
        }
        Kind::Array { items, .. } => {
            let count = match items.len() {
                0 => "none".to_owned(),
                many => counted(many, "item"),
            };
            pen.put(if node.folded && !items.is_empty() { "▸ " } else { "" }, theme.muted);
            pen.cut(&count, if items.is_empty() { theme.muted } else { theme.text });
            inline.show(pen, active, &[(Action::AddItem, "add")], theme);
        }
        Kind::CheckList { .. } => {
            check_list::draw_summary(node, pen, theme);
            inline.show(pen, active, &[(Action::AddItem, "as a list")], theme);
        }
        Kind::Object { extra, .. } if node.folded => {
            pen.put("▸ ", theme.muted);
            let names = node.declared().join(", ");
            pen.cut(if names.is_empty() && extra.is_some() { "…".into() } else { visible(&names) }.as_ref(), theme.muted);
        }
        Kind::Object { fields, extra, .. } => {
            pen.put("▾", theme.muted);
            if fields.is_empty() && extra.is_some() {
                inline.show(pen, active, &[(Action::AddItem, "add")], theme);
            }
        }
    }
    if node.key.is_empty() && is_number(&node.label) {
        let all = [(Action::AddItem, "add"), (Action::RemoveItem, "remove"), (Action::MoveItemUp, ""), (Action::MoveItemDown, "move")];
        // In an item that is an open object, the key adds members, not items.
        let takes_members = matches!(node.kind, Kind::Object { extra: Some(_), .. });
        inline.show(pen, active, if takes_members { &all[1..] } else { &all }, theme);
    }
}

fn choice(pen: &mut Pen, node: &Node, label: &str, theme: &Theme, active: bool) {
    let style = if node.state == State::Default { theme.muted } else { theme.text };
    if node.state == State::Unset { arrows(pen, "–", theme.muted, theme, active) } else { arrows(pen, label, style, theme, active) }
}

fn arrows(pen: &mut Pen, label: &str, style: Style, theme: &Theme, active: bool) {
    let arrow = if active { theme.key } else { theme.muted };
    pen.put("‹ ", arrow);
    pen.reserve(2);
    pen.cut(&visible(label), style);
    pen.widen(2);
    pen.put(" ›", arrow);
}

/// Lists all choices where there is room.
fn others<'a>(pen: &mut Pen, labels: impl Iterator<Item = &'a str>, theme: &Theme) {
    if pen.room() < 16 {
        return;
    }
    pen.pass(3);
    let all: Vec<String> = labels.take(40).map(|label| visible(label).into_owned()).collect();
    pen.cut(&all.join(" · "), theme.muted);
}

/// Draws the keys of the row under the cursor.
struct InlineKeys<'a> {
    keys: &'a RowKeys,
    hits: &'a HitMap,
}

impl InlineKeys<'_> {
    /// Shows keys in the row of the cursor where there is room. A key without a word shares the word of the next one.
    fn show(&self, pen: &mut Pen, active: bool, actions: &[(Action, &str)], theme: &Theme) {
        let cells = |(key, word): (&str, &str)| usize::from(width(key)) + usize::from(width(word));
        let needed: usize =
            actions.iter().map(|(action, word)| cells((self.keys.key(*action), word)) + if word.is_empty() { 1 } else { 4 }).sum();
        if !active || pen.room() < needed {
            return;
        }
        let mut joined = false;
        for (action, word) in actions {
            let key = self.keys.key(*action);
            if key.is_empty() {
                continue;
            }
            pen.pass(if joined { 0 } else { 3 });
            let start = pen.x();
            pen.put(key, theme.key);
            joined = word.is_empty();
            pen.put(" ", if joined { theme.key } else { theme.muted });
            pen.put(word, theme.muted);
            self.hits.add(pen.since(start), Hit::FormKey(*action));
        }
    }
}
