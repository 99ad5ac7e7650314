//! Mouse input: the hit map of the last frame says what is under the pointer.
//!
//! A key that is shown anywhere (footer, dialogs, empty panes) is a button, and so is its label.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use crate::{
    domain::id::ServerId,
    tui::{
        action::Action,
        hits::{Hit, Owner},
        layout::Focus,
        msg::Cmd,
        tree::{FilterEnd, Node},
        view::{ViewId, ViewInput},
    },
};

use super::Model;

/// Rows that one notch of the wheel scrolls.
pub(super) const NOTCH: usize = 3;

impl Model {
    pub(super) fn mouse_event(&mut self, event: MouseEvent) -> Vec<Cmd> {
        match event.kind {
            MouseEventKind::ScrollUp => self.wheel(event, Action::Up),
            MouseEventKind::ScrollDown => self.wheel(event, Action::Down),
            MouseEventKind::Down(MouseButton::Left) => self.press(Position { x: event.column, y: event.row }),
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
        let found = self.session.hits.at(event.column, event.row).unwrap_or_default();
        if found.owner == Owner::DropDown {
            self.wheel_choices(action);
            return vec![];
        }
        if !self.dialogs.is_empty() {
            return (0..NOTCH).flat_map(|_| self.act(action)).collect();
        }
        self.wheel_view(&found, action);
        vec![]
    }

    fn press(&mut self, cell: Position) -> Vec<Cmd> {
        // A click is for what its user saw: not for a dialog that opened since the last frame.
        let found = self.session.hits.at(cell.x, cell.y).filter(|_| self.session.hits.dialogs() == self.dialogs.len());
        let Some(found) = found.filter(|found| !self.press_choices(cell, found)) else { return vec![] };
        match (found.owner, &found.hit) {
            (Owner::Dialog, hit) => self.press_dialog(hit),
            (Owner::Frame, Hit::View(view)) => {
                self.views.show(*view);
                vec![]
            }
            (Owner::Frame, Hit::Inbox) => self.act(Action::Inbox),
            (Owner::Frame, Hit::Key(action)) => self.press_key(*action),
            (Owner::Activity, Hit::Server(server)) => {
                self.press_lane(server.clone());
                vec![]
            }
            (Owner::Part(_) | Owner::Pane(_), hit) => {
                if !self.in_view() {
                    self.drag = self.layout.divider(cell.x, cell.y);
                }
                let commands = self.pass_to_view(ViewInput::Click(&found, cell)).unwrap_or_default();
                match hit {
                    Hit::Key(action) => self.press_key(*action),
                    Hit::FormKey(action) => self.form_act(*action),
                    _ => commands,
                }
            }
            _ => vec![],
        }
    }

    /// Selects the server of a lane of the activity pane.
    fn press_lane(&mut self, server: ServerId) {
        if self.console.tree.filter().is_some() {
            self.console.tree.end_filter(FilterEnd::Cancel, self.session.read_model());
        }
        self.console.end_detail();
        self.views.show(ViewId::Console);
        self.console.tree.reveal(&Node::Server(server), self.session.read_model());
        self.console.focus = Focus::Servers;
    }

    fn press_dialog(&mut self, hit: &Hit) -> Vec<Cmd> {
        let mut commands = self.in_dialog(|dialog, ctx| dialog.click(hit, ctx));
        commands.extend(match hit {
            Hit::Key(action) => self.press_key(*action),
            Hit::FormKey(action) => self.act(*action),
            _ => vec![],
        });
        commands
    }

    /// Presses the key of an action, which a form may take; performs the action where it has no key.
    pub(super) fn press_key(&mut self, action: Action) -> Vec<Cmd> {
        self.sequence.clear();
        match self.session.keymap.pressed(self.contexts(), action).map(<[_]>::to_vec) {
            Some(keys) => keys.into_iter().flat_map(|key| self.key(key.into())).collect(),
            None => self.act(action),
        }
    }
}
