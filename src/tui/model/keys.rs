//! Routes key input: fields first, then the keymap, then the pane's own keys.

use crokey::KeyCombination;
use crossterm::event::{KeyEvent, KeyModifiers};

use crate::tui::{
    action::Action,
    input::Input,
    keymap::{Context, Lookup},
    msg::Cmd,
    view::ViewInput,
    widget::form::FormView,
};

use super::Model;

impl Model {
    pub(super) fn input(&mut self, input: Input) -> Vec<Cmd> {
        match input {
            Input::Key(key) => self.key(key),
            Input::Mouse(event) => self.mouse_event(event),
            Input::Paste(text) => self.paste(&text),
            Input::PasteRefused { bytes } => self.paste_refused(bytes),
            Input::Reply(reply) => {
                self.session.graphics.reply(reply);
                vec![]
            }
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
        let (view, state) = self.view();
        match self.dialogs.top() {
            Some(dialog) => dialog.takes_key(key),
            None => view.takes_key(key, self.is_enabled(action), state),
        }
    }

    /// Handles a key that is not in the keymap.
    fn raw_key(&mut self, key: KeyEvent) -> Vec<Cmd> {
        if !self.dialogs.is_empty() {
            return self.in_dialog(|dialog, ctx| dialog.key(key, ctx));
        }
        self.pass_to_view(ViewInput::Key(key)).unwrap_or_default()
    }
}
