//! Mouse input: hit areas are found in the drawn screen.
//!
//! A click draws the screen once more into a scratch buffer and reads the cells under the
//! pointer. A key that is shown anywhere (footer, dialogs, empty panes) is therefore a
//! button, and a row of any list is found by its distance from the row under the cursor. Everything that is
//! drawn can be clicked, and drawing maintains no list of hit areas.

use crokey::KeyCombination;
use crossterm::event::{KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use ratatui::{buffer::Buffer, layout::Rect, style::Modifier};

use crate::tui::{
    action::Action,
    draw,
    keymap::{self, Context},
    layout::Focus,
    msg::Cmd,
    pane::{activity, servers},
    tabs::{Part, View},
    tree::{FilterEnd, Node},
    widget::window::Move,
};

use super::{Modal, Model};

/// Rows that one notch of the wheel scrolls.
pub(super) const NOTCH: usize = 3;
/// The most views of a call: a click on one steps through all of them at most once.
const MOST_TABS: usize = 8;
/// Cells between a key and the next one in a row of keys.
const GAP: usize = 3;

impl Model {
    pub(super) fn mouse_event(&mut self, event: MouseEvent) -> Vec<Cmd> {
        match event.kind {
            MouseEventKind::ScrollUp => self.wheel(event, Action::Up),
            MouseEventKind::ScrollDown => self.wheel(event, Action::Down),
            MouseEventKind::Down(MouseButton::Left) => self.press(event),
            // The right button goes back, like Escape.
            MouseEventKind::Down(MouseButton::Right) => {
                if self.close_choices() {
                    vec![]
                } else {
                    self.act(Action::Back)
                }
            }
            MouseEventKind::Drag(MouseButton::Left) => {
                if let Some(divider) = self.drag {
                    self.room = self.layout.drag(divider, event.column, event.row, self.room);
                }
                vec![]
            }
            MouseEventKind::Up(_) => {
                self.drag = None;
                vec![]
            }
            _ => vec![],
        }
    }

    fn wheel(&mut self, event: MouseEvent, action: Action) -> Vec<Cmd> {
        if self.wheel_choices(event.column, event.row, action) {
            return vec![];
        }
        if !self.modals.is_empty() {
            return (0..NOTCH).flat_map(|_| self.act(action)).collect();
        }
        if self.in_view() {
            self.view_wheel(event, action);
            return vec![];
        }
        let Some((pane, _)) = self.layout.at(event.column, event.row) else { return vec![] };
        (0..NOTCH).for_each(|_| self.move_in(pane, action));
        vec![]
    }

    fn press(&mut self, event: MouseEvent) -> Vec<Cmd> {
        let (x, y) = (event.column, event.row);
        let picture = self.picture();
        if !picture.area.contains((x, y).into()) {
            return vec![];
        }
        if self.press_choices(x, y) {
            return vec![];
        }
        if !self.modals.is_empty() {
            return self.press_dialog(&picture, x, y);
        }
        if self.click_tab(event) {
            return vec![];
        }
        if y == self.layout.header.y && self.on_inbox_badge(&picture, x) {
            return self.act(Action::Inbox);
        }
        if y == self.layout.header.y || y == self.layout.footer.y {
            return self.press_key(&picture, x, y).unwrap_or_default();
        }
        if self.layout.activity.is_some_and(|place| place.contains((x, y).into())) {
            return self.press_activity(y);
        }
        if self.in_view() {
            return match self.views.at(x, y) {
                Some((Part::Entry, place)) if self.views.current != View::Workflows => self.press_entry(&picture, place, x, y),
                _ => self.view_click(event),
            };
        }
        self.drag = self.layout.divider(x, y);
        let Some((pane, place)) = self.layout.at(x, y) else { return vec![] };
        // Outside of the tree, a click accepts what the filter found.
        if pane != Focus::Servers && self.tree.filter().is_some() {
            let found = self.tree.selected().is_some();
            self.tree.end_filter(if found { FilterEnd::Accept } else { FilterEnd::Cancel }, &self.mirror.read_model);
        }
        if matches!(pane, Focus::Servers | Focus::Traffic) {
            return self.press_row(pane, place, y, &picture, x);
        }
        let was = std::mem::replace(&mut self.focus, pane);
        match pane {
            Focus::Call if self.inline_action(&picture, x, y).is_some() => self.press_inline(&picture, x, y),
            Focus::Call if self.call.click(y) => vec![],
            Focus::Result | Focus::Detail if y + 1 == place.bottom() => {
                self.press_tab(x, y);
                vec![]
            }
            // In mono a key looks like a name, and names can come from servers: there, only the footer is clickable.
            _ if !self.theme.mono && is_key(self, &picture, x, y) => self.press_key(&picture, x, y).unwrap_or_default(),
            Focus::Result | Focus::Detail => self.press_shown(&picture, place, x, y, was == pane, &|model, to| model.move_in(pane, to)),
            _ => vec![],
        }
    }

    /// Handles a click on the detail of a row of a view.
    fn press_entry(&mut self, picture: &Buffer, place: Rect, x: u16, y: u16) -> Vec<Cmd> {
        let was = std::mem::replace(&mut self.views.part, Part::Entry);
        if y + 1 == place.bottom() {
            self.press_tab(x, y);
            return vec![];
        }
        if !self.theme.mono && is_key(self, picture, x, y) {
            return self.press_key(picture, x, y).unwrap_or_default();
        }
        self.press_shown(picture, place, x, y, was == Part::Entry, &|model, to| model.view_move(Part::Entry, to))
    }

    /// Handles a click on a row of a result: a second one opens or folds it, like one on its fold sign.
    fn press_shown(&mut self, picture: &Buffer, place: Rect, x: u16, y: u16, focused: bool, go: &dyn Fn(&mut Model, Action)) -> Vec<Cmd> {
        let blank = |x| matches!(picture[(x, y)].symbol(), " " | "│" | "┃");
        let on_sign = matches!(picture[(x, y)].symbol(), "▾" | "▸") && (place.x..x).all(blank);
        let before = cursor_row(self, picture, place);
        self.go_to_row(place, y, go);
        if on_sign || focused && before == Some(y) { self.act(Action::Open) } else { vec![] }
    }

    fn press_row(&mut self, pane: Focus, place: Rect, y: u16, picture: &Buffer, x: u16) -> Vec<Cmd> {
        let was = self.focus;
        if pane == Focus::Servers {
            let Some(row) = servers::row_at(&self.tree, place, y) else {
                self.focus = pane;
                return if is_key(self, picture, x, y) { self.press_key(picture, x, y).unwrap_or_default() } else { vec![] };
            };
            self.focus = pane;
            let again = was == pane && row == self.tree.window.cursor;
            self.tree.move_to(row);
            self.end_detail();
            let folds = self.tree.row().is_some_and(|r| r.open.is_some());
            let on_sign = folds && matches!(picture[(x, y)].symbol(), "▾" | "▸");
            // A second click opens; it folds what can be folded, like a click on the fold sign.
            return match (again, folds) {
                _ if on_sign => self.act(Action::Fold),
                (true, true) => self.act(Action::Fold),
                (true, false) => self.act(Action::Open),
                _ => vec![],
            };
        }
        self.focus = pane;
        let before = self.traffic.selected(&self.mirror.read_model).map(|c| c.id);
        let hit = self.traffic.click(&self.mirror.read_model, place, y);
        let again = hit && was == pane && before == self.traffic.selected(&self.mirror.read_model).map(|c| c.id);
        if again { self.act(Action::Open) } else { vec![] }
    }

    /// Selects the server of the lane that was clicked.
    fn press_activity(&mut self, y: u16) -> Vec<Cmd> {
        let Some(place) = self.layout.activity else { return vec![] };
        if let Some(server) = activity::lane_at(&self.activity, self.look(), place, y) {
            if self.tree.filter().is_some() {
                self.tree.end_filter(FilterEnd::Cancel, &self.mirror.read_model);
            }
            self.end_detail();
            self.views.show(View::Console);
            self.tree.reveal(&Node::Server(server), &self.mirror.read_model);
            self.focus = Focus::Servers;
        }
        vec![]
    }

    /// Returns whether a cell of the header belongs to the badge for waiting questions.
    fn on_inbox_badge(&self, picture: &Buffer, x: u16) -> bool {
        let Some(badge) = draw::inbox_badge(self) else { return false };
        let (area, y) = (self.layout.header, self.layout.header.y);
        let row: Vec<&str> = (area.x..area.right()).map(|x| picture[(x, y)].symbol()).collect();
        let badge: Vec<String> = badge.chars().map(String::from).collect();
        let start = row.windows(badge.len()).position(|cells| cells == badge);
        start.is_some_and(|start| (start..start + badge.len()).contains(&usize::from(x - area.x)))
    }

    /// Returns the action of a form whose key and label are drawn at a cell: both, since a field may be named like a key.
    fn inline_action(&self, picture: &Buffer, x: u16, y: u16) -> Option<Action> {
        let area = picture.area;
        let row: Vec<&str> = (area.x..area.right()).map(|x| picture[(x, y)].symbol()).collect();
        let shown = |action, word: &str| {
            let key = self.keymap.key(&[Context::Form], action)?;
            let text: Vec<String> = format!("{key} {word}").chars().map(String::from).collect();
            let at = usize::from(x - area.x);
            let start =
                (0..=at).rev().take(text.len()).find(|start| row.get(*start..*start + text.len()).is_some_and(|cells| cells == text))?;
            let before = start.checked_sub(1).and_then(|before| row.get(before)).is_none_or(|cell| *cell == " ");
            (before && is_key(self, picture, area.x + start as u16, y)).then_some(action)
        };
        let down = self.keymap.key(&[Context::Form], Action::MoveItemDown).unwrap_or_default();
        shown(Action::AddItem, "add")
            .or_else(|| shown(Action::RemoveItem, "remove"))
            .or_else(|| shown(Action::MoveItemDown, "move"))
            .or_else(|| shown(Action::MoveItemUp, &format!("{down} move")))
    }

    fn press_inline(&mut self, picture: &Buffer, x: u16, y: u16) -> Vec<Cmd> {
        self.inline_action(picture, x, y).map(|action| self.form_act(action)).unwrap_or_default()
    }

    /// Switches to the view whose label is under the pointer.
    fn press_tab(&mut self, x: u16, y: u16) {
        if !self.picture()[(x, y)].symbol().chars().all(char::is_alphanumeric) {
            return;
        }
        for _ in 0..MOST_TABS {
            let picture = self.picture();
            let mut start = x;
            while start > 0 && picture[(start - 1, y)].symbol().chars().all(char::is_alphanumeric) {
                start -= 1;
            }
            let bracketed = start > 0 && picture[(start - 1, y)].symbol() == "[";
            let shown = picture[(x, y)].fg == self.theme.focus.fg.unwrap_or_default() && !self.theme.mono;
            if bracketed || shown {
                return;
            }
            self.act(Action::NextTab);
        }
    }

    fn press_dialog(&mut self, picture: &Buffer, x: u16, y: u16) -> Vec<Cmd> {
        if let Some(Modal::Inbox(inbox)) = self.modals.last_mut() {
            inbox.unguard();
        }
        if is_key(self, picture, x, y)
            && let Some(commands) = self.press_key(picture, x, y)
        {
            return commands;
        }
        if matches!(self.modals.last(), Some(Modal::Inbox(_))) {
            if self.inline_action(picture, x, y).is_some() {
                return self.press_inline(picture, x, y);
            }
            if let Some(Modal::Inbox(inbox)) = self.modals.last_mut()
                && inbox.click(y)
            {
                return vec![];
            }
        }
        let chooses = self.contexts().first().is_some_and(|c| self.keymap.key(&[*c], Action::Choose).is_some());
        if let (true, Some(row)) = (chooses, cursor_row(self, picture, picture.area))
            && is_selected(self, picture, x, row)
            && self.choose_row(row, y)
        {
            return self.act(Action::Choose);
        }
        self.press_key(picture, x, y).unwrap_or_default()
    }

    /// Moves the cursor of a list in a dialog from one row of the screen to another, which need not be as many
    /// steps; returns whether it arrived. Otherwise the cursor is back where it was.
    fn choose_row(&mut self, from: u16, to: u16) -> bool {
        let (on, back) = if to >= from { (Move::On(1), Move::Back(1)) } else { (Move::Back(1), Move::On(1)) };
        let (mut row, mut steps) = (from, 0);
        while row != to && (row < to) == (from < to) {
            self.modal_move(on);
            steps += 1;
            let picture = self.picture();
            match cursor_row(self, &picture, picture.area) {
                Some(next) if next != row => row = next,
                _ => break,
            }
        }
        if row != to {
            (0..steps).for_each(|_| self.modal_move(back));
        }
        row == to
    }

    /// Moves the cursor of a pane to a row of the screen, one step per row.
    fn go_to_row(&mut self, place: Rect, y: u16, go: &dyn Fn(&mut Model, Action)) {
        // Rows can grow when the cursor reaches them, so check again.
        for _ in 0..3 {
            let picture = self.picture();
            let Some(row) = cursor_row(self, &picture, place) else { return };
            if row == y {
                return;
            }
            let action = if y > row { Action::Down } else { Action::Up };
            (0..row.abs_diff(y)).for_each(|_| go(self, action));
        }
    }

    /// Presses the key that is shown at a cell, or whose label is; `None` if there is none.
    fn press_key(&mut self, picture: &Buffer, x: u16, y: u16) -> Option<Vec<Cmd>> {
        let text = key_at(self, picture, x, y)?;
        let keys: Vec<KeyCombination> = keymap::read_shown(&text)?;
        self.sequence.clear();
        Some(keys.into_iter().flat_map(|key| self.key(Into::<KeyEvent>::into(key))).collect())
    }

    /// Draws the current screen.
    fn picture(&mut self) -> Buffer {
        let mut picture = Buffer::empty(self.layout.screen);
        draw::draw(self, &mut picture);
        picture
    }
}

/// Returns whether a cell is drawn as a key.
fn is_key(model: &Model, picture: &Buffer, x: u16, y: u16) -> bool {
    let (cell, key) = (&picture[(x, y)], model.theme.key);
    cell.modifier.contains(key.add_modifier) && cell.fg == key.fg.unwrap_or(cell.fg) && cell.symbol() != " "
}

/// Returns the text of the key at a cell, or of the key whose label is there.
fn key_at(model: &Model, picture: &Buffer, x: u16, y: u16) -> Option<String> {
    let area = picture.area;
    let mut end = x;
    let mut blanks = usize::from(picture[(x, y)].symbol() == " ");
    while !is_key(model, picture, end, y) {
        end = end.checked_sub(1).filter(|x| *x >= area.left())?;
        blanks = if picture[(end, y)].symbol() == " " { blanks + 1 } else { 0 };
        if blanks >= GAP {
            return None;
        }
    }
    // A sequence is shown with single spaces between its keys.
    let part = |x: u16| is_key(model, picture, x, y);
    let mut start = end;
    while start > area.left()
        && (part(start - 1) || (picture[(start - 1, y)].symbol() == " " && start > area.left() + 1 && part(start - 2)))
    {
        start -= 1;
    }
    let mut last = end;
    while last + 1 < area.right() && part(last + 1) {
        last += 1;
    }
    Some((start..=last).map(|x| picture[(x, y)].symbol()).collect::<String>().trim().to_owned())
}

/// Returns the row of the screen with the cursor of a list in `area`.
fn cursor_row(model: &Model, picture: &Buffer, area: Rect) -> Option<u16> {
    let area = area.intersection(picture.area);
    (area.top()..area.bottom()).find(|y| {
        let lit = (area.left()..area.right()).filter(|x| is_selected(model, picture, *x, *y)).count();
        lit >= 3.min(usize::from(area.width))
    })
}

fn is_selected(model: &Model, picture: &Buffer, x: u16, y: u16) -> bool {
    let cell = &picture[(x, y)];
    // Under a dialog, panes draw their cursors as idle.
    let styles =
        if model.modals.is_empty() { vec![model.theme.selection, model.theme.selection_idle] } else { vec![model.theme.selection] };
    styles.iter().any(|style| match style.bg {
        Some(ground) => cell.bg == ground,
        None => style.add_modifier != Modifier::empty() && cell.modifier.contains(style.add_modifier),
    })
}
