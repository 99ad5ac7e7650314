//! Routes key input: fields first, then the keymap, then the pane's own keys.

use crokey::KeyCombination;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::tui::{
    action::Action,
    input::Input,
    keymap::{Context, Lookup},
    layout::Focus,
    msg::Cmd,
    overlay::edit_line,
    pane::call::KeyOutcome,
    tree::{FilterEnd, Folding},
    widget::{form::FormView, window::Move},
};

use super::Model;

impl Model {
    pub(super) fn input(&mut self, input: Input) -> Vec<Cmd> {
        match input {
            Input::Key(key) => self.key(key),
            Input::Mouse(event) => self.mouse_event(event),
            Input::Paste(text) => self.paste(&text),
            Input::PasteRefused { bytes } => self.paste_refused(bytes),
            Input::Gone => vec![Cmd::Quit],
        }
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Vec<Cmd> {
        self.sequence.push(KeyCombination::from(key));
        match self.session.keymap.lookup(self.contexts(), &self.sequence) {
            Lookup::Pending => vec![],
            Lookup::Action(action) => {
                self.sequence.clear();
                if self.is_the_forms(key, action) { self.raw_key(key) } else { self.act(action) }
            }
            Lookup::Nothing => {
                let broken = self.sequence.len() > 1;
                self.sequence.clear();
                // The key that ends a sequence may have a meaning of its own.
                match broken {
                    true => self.key(key),
                    // The letters of a form are in the keymap, as named actions; unbound, they have no meaning.
                    false if self.contexts().contains(&Context::Form) && FormView::is_command(key) => vec![],
                    false => self.raw_key(key),
                }
            }
        }
    }

    /// Performs the action in the form of the pane.
    pub(super) fn form_act(&mut self, action: Action) -> Vec<Cmd> {
        match FormView::command_of(action) {
            Some(code) if self.contexts().contains(&Context::Form) => self.raw_key(KeyEvent::new(code, KeyModifiers::NONE)),
            _ => vec![],
        }
    }

    /// Returns whether a form takes a key although it is bound: Enter may add the next item, Escape first ends
    /// typing, Tab goes from field to field; a key whose action is disabled may be the form's own.
    fn is_the_forms(&self, key: KeyEvent, action: Action) -> bool {
        let plain = key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        match self.dialogs.top() {
            Some(dialog) => dialog.takes_key(key),
            None if self.flow_typing() && self.views.flows.input.editing_json() => {
                plain && matches!(key.code, KeyCode::Enter | KeyCode::Tab | KeyCode::BackTab)
            }
            None if self.in_view() => {
                let typing = self.flow_typing();
                self.in_input()
                    && plain
                    && (matches!(key.code, KeyCode::Tab | KeyCode::BackTab) || typing && matches!(key.code, KeyCode::Enter | KeyCode::Esc))
            }
            None if self.console.tree.filter().is_some() || self.console.focus != Focus::Call || self.console.call.editing_json() => false,
            None => match key.code {
                KeyCode::Tab | KeyCode::BackTab => plain,
                KeyCode::Enter | KeyCode::Esc => plain && self.console.call.wants_text(),
                KeyCode::Char(_) => plain && !self.is_enabled(action),
                _ => false,
            },
        }
    }

    /// Handles a key that is not in the keymap.
    fn raw_key(&mut self, key: KeyEvent) -> Vec<Cmd> {
        if !self.dialogs.is_empty() {
            return self.in_dialog(|dialog, ctx| dialog.key(key, ctx));
        }
        if self.in_view() { self.view_key(key) } else { self.pane_key(key) }
    }

    fn pane_key(&mut self, key: KeyEvent) -> Vec<Cmd> {
        if let Some(filter) = self.console.tree.filter() {
            let mut filter = filter.to_owned();
            if edit_line(&mut filter, key) {
                self.console.tree.set_filter(filter, self.session.read_model());
            } else if key.code == KeyCode::Backspace {
                self.console.tree.end_filter(FilterEnd::Cancel, self.session.read_model());
            }
            return vec![];
        }
        match self.console.focus {
            Focus::Call => match self.console.call.key(key) {
                KeyOutcome::Stay => vec![],
                KeyOutcome::Send => self.send_call(),
                KeyOutcome::Leave => self.act(Action::Back),
                KeyOutcome::Next => self.act(Action::NextPane),
                KeyOutcome::Previous => self.act(Action::PreviousPane),
            },
            _ => vec![],
        }
    }

    /// Moves the cursor of a pane, whether it has the focus or not.
    pub(super) fn move_in(&mut self, pane: Focus, action: Action) {
        let page = self.layout.place(pane).map_or(1, |place| usize::from(place.height.saturating_sub(3)).max(1));
        if matches!(action, Action::Left | Action::Right) {
            return self.sideways(pane, action, page);
        }
        let Some(to) = Move::of(action, page) else { return };
        let read_model = self.session.read_model();
        match pane {
            Focus::Servers => {
                self.end_detail();
                self.console.tree.go(to);
            }
            Focus::Traffic => self.console.traffic.go(to, read_model),
            Focus::Result => self.console.result.act(action, read_model, page),
            Focus::Detail => {
                if let Some(detail) = &mut self.console.detail {
                    detail.act(action, read_model, page);
                }
            }
            Focus::Info => {
                let width = self.layout.place(pane).map_or(60, |p| p.width.saturating_sub(4));
                let rows = crate::tui::pane::info::text_view(self.console.tree.selected(), self.look(), width).len();
                self.console.info.window.scroll(to, rows, page + 1);
            }
            Focus::Call => {
                let code = if matches!(action, Action::Up) { KeyCode::Up } else { KeyCode::Down };
                self.console.call.key(KeyEvent::new(code, KeyModifiers::NONE));
            }
        }
    }

    fn sideways(&mut self, pane: Focus, action: Action, page: usize) {
        let read_model = self.session.read_model();
        match pane {
            Focus::Servers => self.console.tree.fold(if action == Action::Right { Folding::Unfold } else { Folding::Fold }, read_model),
            Focus::Result => self.console.result.act(action, read_model, page),
            Focus::Detail => {
                if let Some(detail) = &mut self.console.detail {
                    detail.act(action, read_model, page);
                }
            }
            _ => {}
        }
    }
}
