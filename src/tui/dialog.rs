//! Dialogs: the trait of everything that opens over the panes, and the stack of open dialogs.
//!
//! A dialog owns its state, its keys and its drawing, in a file of `overlay`. What it does to the rest of the console is an
//! [`Effect`] on the model. The model opens dialogs and passes input to the one on top.

use std::{any::Any, time::Duration};

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{domain::time::Stamp, state::ConsoleState};

use super::{
    action::Action,
    hits::Hit,
    keymap::Context,
    model::Model,
    msg::Cmd,
    pane::DrawContext,
    widget::{form::FormView, window::Move},
};

/// How long a dialog that opened without a key press accepts no answer.
pub const GUARD: Duration = Duration::from_millis(500);

/// What a dialog does to the rest of the console.
pub type Effect = Box<dyn FnOnce(&mut Model) -> Vec<Cmd>>;

/// What follows from an input.
pub enum DialogOutcome {
    /// The dialog stays open.
    Open,
    /// The dialog closes.
    Close,
    /// The dialog stays open, and the effect happens.
    Run(Effect),
    /// The dialog closes, then the effect happens.
    CloseAnd(Effect),
}

impl DialogOutcome {
    /// Runs an effect; the dialog stays open.
    pub fn run(effect: impl FnOnce(&mut Model) -> Vec<Cmd> + 'static) -> DialogOutcome {
        DialogOutcome::Run(Box::new(effect))
    }

    /// Closes the dialog and runs an effect.
    pub fn close_and(effect: impl FnOnce(&mut Model) -> Vec<Cmd> + 'static) -> DialogOutcome {
        DialogOutcome::CloseAnd(Box::new(effect))
    }
}

/// A dialog on top of the panes.
pub trait Dialog: Any {
    /// Returns the contexts in which its keys are looked up, nearest first.
    fn contexts(&self) -> &'static [Context];

    /// Draws the dialog into the middle of `area`, and records its hit areas.
    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer);

    /// Handles an action of its contexts. Movements come to [`Dialog::go`], and quitting to no dialog.
    fn act(&mut self, action: Action, _ctx: DrawContext) -> DialogOutcome {
        if action == Action::Back { DialogOutcome::Close } else { DialogOutcome::Open }
    }

    /// Moves the cursor or scrolls.
    fn go(&mut self, _to: Move, _ctx: DrawContext) {}

    /// Handles a key that is not bound in its contexts.
    fn key(&mut self, _key: KeyEvent, _ctx: DrawContext) -> DialogOutcome {
        DialogOutcome::Open
    }

    /// Inserts pasted text: one line, unless the dialog [takes several](Dialog::takes_lines).
    fn paste(&mut self, _text: &str, _ctx: DrawContext) -> DialogOutcome {
        DialogOutcome::Open
    }

    /// Handles a click. The key of an action is pressed afterwards.
    fn click(&mut self, _hit: &Hit, _ctx: DrawContext) -> DialogOutcome {
        DialogOutcome::Open
    }

    /// Returns whether an action would have an effect now; `None` if the dialog does not decide.
    fn enabled(&self, _action: Action, _ctx: DrawContext) -> Option<bool> {
        None
    }

    /// Returns whether letters go into a field: by default, if it uses the keys of a field.
    fn typing(&self) -> bool {
        self.contexts().iter().any(|context| matches!(context, Context::Entry | Context::Palette))
    }

    /// Returns whether a form takes this key although it is bound.
    fn takes_key(&self, _key: KeyEvent) -> bool {
        false
    }

    /// Returns whether pasted text may have several lines.
    fn takes_lines(&self) -> bool {
        false
    }

    /// Shows why pasted text was refused. Returns whether the dialog has a place for it.
    fn refuse(&mut self, _why: &str) -> bool {
        false
    }

    /// Returns whether it shows its keys itself, so that the footer does not: by default, if it uses the keys of a prompt.
    fn shows_keys(&self) -> bool {
        self.contexts().contains(&Context::Entry)
    }

    /// Returns whether a question of a server may open over it without a key press.
    fn gives_way(&self) -> bool {
        false
    }

    /// Returns its form, whose drop-down list is drawn over everything.
    fn form_mut(&mut self) -> Option<&mut FormView> {
        None
    }

    /// Takes over changed lists of tools.
    fn refresh(&mut self, _read_model: &ConsoleState) {}

    /// Returns whether something in it moves without input.
    fn moving(&self) -> bool {
        false
    }

    /// Returns how long its answers are still locked.
    fn guard_left(&self, _now: Stamp) -> Option<Duration> {
        None
    }
}

/// Locks the answers of a dialog that opened without a key press: keys typed for something else must not answer it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard(Stamp);

impl Guard {
    /// Locks the answers from `now` on.
    pub fn new(now: Stamp) -> Guard {
        Guard(now.plus(GUARD))
    }

    /// Returns how long they are still locked.
    pub fn left(self, now: Stamp) -> Option<Duration> {
        Some(self.0.since(now)).filter(|left| !left.is_zero())
    }

    /// Returns whether an action is locked, and locks longer if it is: a key typed ahead may not be the last one.
    pub fn locks(&mut self, now: Stamp) -> bool {
        let locked = self.left(now).is_some();
        if locked {
            *self = Guard::new(now);
        }
        locked
    }
}

/// The open dialogs, the last one on top.
#[derive(Default)]
pub struct Dialogs(Vec<Box<dyn Dialog>>);

impl Dialogs {
    /// Opens a dialog on top of the others.
    pub fn push(&mut self, dialog: impl Dialog) {
        self.0.push(Box::new(dialog));
    }

    /// Closes the dialog on top.
    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// Returns the number of open dialogs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether no dialog is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the dialog on top.
    pub fn top(&self) -> Option<&(dyn Dialog + 'static)> {
        self.0.last().map(|dialog| &**dialog)
    }

    /// Returns the dialog on top for changes.
    pub fn top_mut(&mut self) -> Option<&mut (dyn Dialog + 'static)> {
        self.0.last_mut().map(|dialog| &mut **dialog)
    }

    /// Returns the dialog on top if it is one of this type.
    pub fn top_as<T: Dialog>(&self) -> Option<&T> {
        (self.top()? as &dyn Any).downcast_ref()
    }

    /// Returns the dialog on top for changes if it is one of this type.
    pub fn top_as_mut<T: Dialog>(&mut self) -> Option<&mut T> {
        (self.top_mut()? as &mut dyn Any).downcast_mut()
    }

    /// Closes the dialog on top if it is one of this type, and returns it.
    pub fn take_top<T: Dialog>(&mut self) -> Option<Box<T>> {
        self.top_as::<T>()?;
        (self.0.pop()? as Box<dyn Any>).downcast().ok()
    }

    /// Returns the first dialog of this type.
    pub fn find_mut<T: Dialog>(&mut self) -> Option<&mut T> {
        self.0.iter_mut().find_map(|dialog| (&mut **dialog as &mut dyn Any).downcast_mut())
    }

    /// Closes the dialogs of this type that do not pass the test.
    pub fn retain<T: Dialog>(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.0.retain_mut(|dialog| (&mut **dialog as &mut dyn Any).downcast_mut::<T>().is_none_or(&mut keep));
    }

    /// Closes the dialogs of this type.
    pub fn close<T: Dialog>(&mut self) {
        self.retain(|_: &mut T| false);
    }

    /// Closes all dialogs.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the dialogs, the one on top last.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Dialog> {
        self.0.iter().map(|dialog| &**dialog)
    }

    /// Returns the dialogs for changes, the one on top last.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn Dialog>> {
        self.0.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::overlay::{help::Help, notices::Notices};

    #[test]
    fn a_dialog_is_found_and_closed_by_its_type() {
        let mut dialogs = Dialogs::default();
        dialogs.push(Notices::default());
        dialogs.push(Help::default());
        assert!(dialogs.top_as::<Help>().is_some() && dialogs.top_as::<Notices>().is_none());
        assert!(dialogs.take_top::<Notices>().is_none() && dialogs.len() == 2, "only the one on top is taken");
        assert!(dialogs.find_mut::<Notices>().is_some());
        dialogs.retain(|_: &mut Notices| true);
        dialogs.close::<Notices>();
        assert!(dialogs.find_mut::<Notices>().is_none());
        assert!(dialogs.take_top::<Help>().is_some() && dialogs.is_empty());
    }

    #[test]
    fn a_locked_answer_locks_for_longer() {
        let at = |ms: u64| Stamp(ms * 1_000_000);
        let mut guard = Guard::new(at(1000));
        assert_eq!(guard.left(at(1200)), Some(Duration::from_millis(300)));
        assert!(guard.locks(at(1400)) && guard.locks(at(1800)), "each key typed ahead locks again");
        assert!(!guard.locks(at(2300)) && guard.left(at(2300)).is_none());
        assert!(!Guard::default().locks(at(0)));
    }
}
