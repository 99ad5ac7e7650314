//! The form widget: shows a [`crate::domain::form`] and owns its cursor, scroll and undo history.
//!
//! There are two modes. While *typing*, keys go into the field under the cursor, and the mode stays when the cursor moves to
//! another field. After Escape, letters are commands: move, fold, add, remove. Enter submits in both modes.

mod check_list;
mod click;
mod draw;
mod picker;
mod undo;

#[cfg(test)]
mod keyboard_tests;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use self::{picker::Picker, undo::UndoStep};
use super::field::{FieldEvent, TextField};
use crate::{
    domain::{
        body::Body,
        form::{Form, Formats, Kind, Path, State},
        json::SyntaxError,
        text::{line_ends, one_line},
    },
    tui::{
        action::Action,
        keymap::{Context, Keymap},
    },
};

/// Where the cursor goes when it leaves a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Before the form, from its first field.
    Before,
    /// After the form, from its last field.
    After,
    /// Out of the form: Escape.
    Out,
}

/// The outcome of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormEvent {
    /// Nothing for the caller, or the key is not one of the form's.
    None,
    /// The arguments changed.
    Changed,
    /// Send the arguments, which are valid.
    Submit,
    /// The arguments cannot be sent because they are invalid. The cursor is on the first invalid field.
    Refused,
    /// The cursor leaves the form.
    Leave(Leave),
}

/// A form with its cursor, scroll and the text field that is edited.
pub struct FormView {
    form: Form,
    at: Path,
    field: TextField,
    typing: bool,
    /// The name of a member being added to the object under the cursor.
    naming: Option<TextField>,
    /// The letters typed so far to find a choice.
    ahead: String,
    /// The list of choices, while it is open.
    picker: Option<Picker>,
    /// The undo history.
    undo_steps: Vec<UndoStep>,
    /// Whether the undo history already has a step for the field that is being typed into.
    entered: bool,
    /// Fields whose text the user typed. The text of any other field is selected when the cursor enters it.
    written: HashSet<Path>,
    /// Whether the user tried to send. From then on, missing fields are marked.
    tried: bool,
    top: usize,
    page: usize,
    keys: RowKeys,
}

/// The keys that the cursor's row shows.
struct RowKeys {
    add: String,
    remove: String,
    move_up: String,
    move_down: String,
}

impl RowKeys {
    fn key(&self, action: Action) -> &str {
        match action {
            Action::AddItem => &self.add,
            Action::RemoveItem => &self.remove,
            Action::MoveItemUp => &self.move_up,
            Action::MoveItemDown => &self.move_down,
            _ => "",
        }
    }
}

impl FormView {
    /// Creates a form for a schema, with the cursor in the first empty required field, in typing mode.
    pub fn new(schema: &Body) -> FormView {
        FormView::of(Form::new(schema))
    }

    /// Creates the form of a question of a server, whose formats are binding.
    pub fn for_question(schema: &Body) -> FormView {
        FormView::of(Form::with_formats(schema, Formats::Required))
    }

    fn of(form: Form) -> FormView {
        let mut view = FormView {
            form,
            at: vec![],
            field: TextField::default(),
            typing: true,
            naming: None,
            ahead: String::new(),
            picker: None,
            undo_steps: vec![],
            entered: false,
            written: HashSet::new(),
            tried: false,
            top: 0,
            page: 10,
            keys: RowKeys { add: "a".into(), remove: "d".into(), move_up: "K".into(), move_down: "J".into() },
        };
        view.rewind();
        view
    }

    /// Returns the domain form.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Returns the arguments as compact JSON, valid or not.
    pub fn json(&self) -> String {
        self.form.json()
    }

    /// Fills the form from JSON. A syntax error changes nothing.
    pub fn set_json(&mut self, text: &str) -> Result<(), SyntaxError> {
        self.change(|form, _| form.set_json(text))?;
        self.written.clear();
        self.rewind();
        Ok(())
    }

    /// Resets the form to the defaults.
    pub fn reset(&mut self) {
        self.change(|form, _| form.reset());
        self.written.clear();
        self.tried = false;
        self.rewind();
    }

    /// Returns whether letters go into a field, so that they must not be used as commands.
    pub fn wants_text(&self) -> bool {
        self.naming.is_some()
            || self.picker.is_some()
            || self.typing && (self.is_text() || self.on_option() || matches!(self.kind(), Some(Kind::Choice { .. })))
    }

    /// Returns the path of the field under the cursor.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Returns whether the form is in typing mode.
    pub fn typing(&self) -> bool {
        self.typing && self.naming.is_none()
    }

    /// Sets the text of any field.
    pub fn set_text(&mut self, path: &[usize], text: &str) {
        self.change(|form, _| form.set_text(path, text));
        self.written.insert(path.to_vec());
        self.sync();
    }

    fn rewind(&mut self) {
        let rows = self.form.rows();
        let wanted = rows.iter().find(|row| {
            let node = self.form.node(&row.path);
            node.is_some_and(|n| match n.kind {
                Kind::Text(_) | Kind::Number { .. } | Kind::Raw(_) => n.required && n.state == State::Unset,
                Kind::CheckList { .. } => n.missing,
                _ => false,
            })
        });
        let start = wanted.or(rows.first()).map(|row| row.path.clone()).unwrap_or_default();
        self.at = self.first_option(&start).unwrap_or(start);
        (self.top, self.typing, self.picker) = (0, true, None);
        self.sync();
        self.select_proposed_text();
    }

    /// Selects the text under the cursor unless the user typed it.
    fn select_proposed_text(&mut self) {
        if self.written.contains(&self.at) {
            self.field.deselect();
        } else {
            self.field.select_all();
        }
    }

    fn kind(&self) -> Option<&Kind> {
        self.form.node(&self.at).map(|node| &node.kind)
    }

    fn is_text(&self) -> bool {
        !self.form.rows().is_empty() && matches!(self.kind(), Some(Kind::Text(_) | Kind::Number { .. } | Kind::Raw(_)))
    }

    /// Loads the text under the cursor into the text field.
    fn sync(&mut self) {
        let node = self.form.node(&self.at);
        let text = self.form.text(&self.at).filter(|_| node.is_some_and(|n| n.state != State::Null)).unwrap_or_default();
        if self.field.text() != text {
            self.field.set(text);
        }
        self.ahead.clear();
    }

    fn go(&mut self, path: Path) {
        (self.at, self.entered, self.picker) = (path, false, None);
        self.field.set("");
        self.sync();
        self.select_proposed_text();
    }

    /// Handles a key.
    pub fn handle(&mut self, key: KeyEvent) -> FormEvent {
        if key.kind == KeyEventKind::Release {
            return FormEvent::None;
        }
        if self.naming.is_some() {
            return self.name_key(key);
        }
        if self.picker.is_some() {
            return self.picker_key(key);
        }
        let (control, alt) = (key.modifiers.contains(KeyModifiers::CONTROL), key.modifiers.contains(KeyModifiers::ALT));
        match key.code {
            KeyCode::Enter if alt && self.in_array() => return self.add_next_item(),
            KeyCode::Enter if !alt => return self.submit(),
            KeyCode::Tab | KeyCode::Down => return self.next_field(),
            KeyCode::BackTab | KeyCode::Up => return self.prev_field(),
            KeyCode::PageDown => return self.jump(self.page as isize),
            KeyCode::PageUp => return self.jump(-(self.page as isize)),
            KeyCode::Esc if self.typing => {
                self.typing = false;
                return FormEvent::None;
            }
            KeyCode::Esc => return FormEvent::Leave(Leave::Out),
            _ => {}
        }
        if self.typing && self.is_text() {
            let event = self.field.handle(key);
            return self.typed(event);
        }
        match key.code {
            KeyCode::Char(c) if self.typing && !control && !alt && c != ' ' && self.wants_text() => self.type_ahead(c),
            _ if control || alt => FormEvent::None,
            code => self.command(code),
        }
    }

    /// Returns the form's internal key of an action, independent of the keymap.
    pub fn command_of(action: Action) -> Option<KeyCode> {
        Some(match action {
            Action::EditField => KeyCode::Char('i'),
            Action::AddItem => KeyCode::Char('a'),
            Action::RemoveItem => KeyCode::Char('d'),
            Action::MoveItemUp => KeyCode::Char('K'),
            Action::MoveItemDown => KeyCode::Char('J'),
            Action::UnsetField => KeyCode::Char('x'),
            Action::SetNull => KeyCode::Char('n'),
            Action::SetEmpty => KeyCode::Char('"'),
            _ => return None,
        })
    }

    /// Returns whether a key is one of [`FormView::command_of`].
    pub fn is_command(key: KeyEvent) -> bool {
        matches!(key.code, KeyCode::Char('i' | 'a' | 'd' | 'K' | 'J' | 'x' | 'n' | '"') | KeyCode::Delete | KeyCode::Backspace)
            && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
    }

    /// Sets the keys that rows show for adding, removing and moving items.
    pub fn show_keys(&mut self, keys: &Keymap) {
        let key = |action| keys.key(&[Context::Form], action).unwrap_or_default();
        self.keys = RowKeys {
            add: key(Action::AddItem),
            remove: key(Action::RemoveItem),
            move_up: key(Action::MoveItemUp),
            move_down: key(Action::MoveItemDown),
        };
    }

    fn command(&mut self, code: KeyCode) -> FormEvent {
        match code {
            KeyCode::Char('j') => self.next_field(),
            KeyCode::Char('k') => self.prev_field(),
            KeyCode::Char('g') | KeyCode::Home => self.jump(isize::MIN / 2),
            KeyCode::Char('G') | KeyCode::End => self.jump(isize::MAX / 2),
            KeyCode::Char(' ') => self.toggle(),
            KeyCode::Left | KeyCode::Char('h') => self.sideways(-1),
            KeyCode::Right | KeyCode::Char('l') => self.sideways(1),
            KeyCode::Char('i') => {
                self.edit();
                FormEvent::None
            }
            KeyCode::Char('a') => self.add_item(),
            KeyCode::Char('d') | KeyCode::Delete => self.remove_item(),
            KeyCode::Char('J') => self.move_item(1),
            KeyCode::Char('K') => self.move_item(-1),
            KeyCode::Char('x') | KeyCode::Backspace => self.clear(),
            KeyCode::Char('n') => self.set_null(),
            KeyCode::Char('"') => self.set_empty(),
            _ => FormEvent::None,
        }
    }

    /// Inserts pasted text into the field under the cursor. A number takes only one line.
    pub fn paste(&mut self, text: &str) -> FormEvent {
        if let Some(name) = &mut self.naming {
            name.paste(&line_ends(text));
            return FormEvent::None;
        }
        if !self.is_text() || self.picker.is_some() {
            return FormEvent::None;
        }
        self.typing = true;
        let number = matches!(self.kind(), Some(Kind::Number { .. }));
        let event = if number { self.field.paste(one_line(text).0.trim()) } else { self.field.paste(&line_ends(text)) };
        self.typed(event)
    }

    fn typed(&mut self, event: FieldEvent) -> FormEvent {
        if event != FieldEvent::Changed {
            return FormEvent::None;
        }
        let text = self.field.text().to_owned();
        self.written.insert(self.at.clone());
        self.change_text(&text);
        FormEvent::Changed
    }

    fn type_ahead(&mut self, c: char) -> FormEvent {
        if self.on_option() {
            return self.find_option(c);
        }
        let Some(Kind::Choice { options, .. }) = self.kind() else { return FormEvent::None };
        let options: Vec<String> = options.iter().map(|(label, _)| label.to_lowercase()).collect();
        let one: String = c.to_lowercase().collect();
        let longer = format!("{}{one}", self.ahead);
        let found = [longer, one].into_iter().find_map(|start| options.iter().position(|o| o.starts_with(&start)).map(|at| (start, at)));
        let Some((start, index)) = found else { return FormEvent::None };
        self.change(|form, at| form.pick(at, index));
        self.ahead = start;
        FormEvent::Changed
    }

    fn name_key(&mut self, key: KeyEvent) -> FormEvent {
        let Some(name) = &mut self.naming else { return FormEvent::None };
        match key.code {
            KeyCode::Esc => self.naming = None,
            KeyCode::Enter | KeyCode::Tab => {
                let key = name.text().to_owned();
                self.naming = None;
                let object = self.open_object().unwrap_or_else(|| self.at.clone());
                if let Some(path) = self.change(|form, _| form.add_member(&object, &key)) {
                    self.go(path);
                    self.edit();
                }
            }
            _ => drop(name.handle(key)),
        }
        FormEvent::None
    }

    /// Returns whether the user tried to submit and the arguments are invalid.
    pub fn refused(&self) -> bool {
        self.tried && !self.form.valid()
    }

    /// Submits the arguments if they are valid, else goes to the first invalid field.
    pub fn submit(&mut self) -> FormEvent {
        self.tried = true;
        if self.form.valid() {
            return FormEvent::Submit;
        }
        let invalid = |path: &Path| self.form.node(path).is_some_and(|node| node.error.is_some() || node.missing);
        let rows = self.form.rows();
        // The cursor stays when its own field is invalid.
        let here = self.form.check_list(&self.at).unwrap_or_else(|| self.at.clone());
        if !invalid(&here) || rows.is_empty() {
            let first = rows.iter().map(|row| &row.path).find(|path| invalid(path)).cloned().or_else(|| self.unfold_invalid());
            if let Some(path) = first {
                self.go(self.first_option(&path).unwrap_or(path));
                self.typing = true;
            }
        }
        FormEvent::Refused
    }

    /// Unfolds the row that hides an invalid field. Returns its path.
    fn unfold_invalid(&mut self) -> Option<Path> {
        let rows = self.form.rows();
        let row = rows.into_iter().find(|row| self.form.node(&row.path).is_some_and(|node| node.folded && !node.is_valid()))?;
        self.form.fold(&row.path, false);
        Some(row.path)
    }

    /// Goes to the next row, or out of the form from the last one.
    pub fn next_field(&mut self) -> FormEvent {
        self.step(1)
    }

    /// Goes to the previous row, or out of the form from the first one.
    pub fn prev_field(&mut self) -> FormEvent {
        self.step(-1)
    }

    fn step(&mut self, step: isize) -> FormEvent {
        let rows = self.form.rows();
        let index = rows.iter().position(|row| row.path == self.at).unwrap_or(0);
        match index.checked_add_signed(step).and_then(|index| rows.get(index)) {
            Some(row) => {
                self.go(row.path.clone());
                FormEvent::None
            }
            None => FormEvent::Leave(if step < 0 { Leave::Before } else { Leave::After }),
        }
    }

    fn jump(&mut self, step: isize) -> FormEvent {
        let rows = self.form.rows();
        let index = rows.iter().position(|row| row.path == self.at).unwrap_or(0) as isize;
        let index = index.saturating_add(step).clamp(0, rows.len().saturating_sub(1) as isize) as usize;
        if let Some(row) = rows.get(index) {
            self.go(row.path.clone());
        }
        FormEvent::None
    }

    /// Starts typing into the field under the cursor.
    pub fn edit(&mut self) {
        self.typing = true;
        self.sync();
    }

    /// Ends typing mode.
    pub fn stop_editing(&mut self) {
        (self.typing, self.naming, self.picker) = (false, None, None);
    }

    /// Switches a boolean, steps through few choices, opens the list of many choices, or folds.
    pub fn toggle(&mut self) -> FormEvent {
        if self.open_list() {
            return FormEvent::None;
        }
        let Some(node) = self.form.node(&self.at) else { return FormEvent::None };
        match node.kind {
            Kind::Bool(_) | Kind::Choice { .. } | Kind::Const(_) | Kind::Union { .. } => self.cycle(1),
            Kind::Object { .. } | Kind::Array { .. } | Kind::CheckList { .. } if node.state != State::Null => {
                let folded = node.folded;
                self.form.fold(&self.at, !folded);
                FormEvent::None
            }
            _ => FormEvent::None,
        }
    }

    /// Sets the next value, or with a negative `step` the previous one, of a boolean, a choice or a union.
    pub fn cycle(&mut self, step: isize) -> FormEvent {
        self.change(|form, at| form.cycle(at, step));
        self.ahead.clear();
        FormEvent::Changed
    }

    fn sideways(&mut self, step: isize) -> FormEvent {
        if self.on_option() {
            if step < 0 {
                self.leave_options();
            }
            return FormEvent::None;
        }
        let Some(node) = self.form.node(&self.at) else { return FormEvent::None };
        match node.kind {
            Kind::Bool(_) | Kind::Choice { .. } | Kind::Const(_) | Kind::Union { .. } => return self.cycle(step),
            _ if node.foldable() && node.folded == (step > 0) => self.form.fold(&self.at, step < 0),
            _ if step < 0 => {
                let parent = self.at[..self.at.len().saturating_sub(1)].to_vec();
                if let Some(row) = self.form.rows().into_iter().find(|row| row.path == parent) {
                    self.go(row.path);
                }
            }
            _ => {}
        }
        FormEvent::None
    }

    fn in_array(&self) -> bool {
        let parent = self.at.split_last().and_then(|(_, parent)| self.form.node(parent));
        parent.is_some_and(|node| matches!(node.kind, Kind::Array { .. }))
    }

    /// Adds an item to the array under the cursor or after the item under it. On an object with additional members, asks for
    /// the name of a new member instead.
    pub fn add_item(&mut self) -> FormEvent {
        // An item that is an open object takes a member. The list takes items from its own row and by Alt+Enter.
        if self.open_object().is_some() {
            self.naming = Some(TextField::default());
            return FormEvent::None;
        }
        self.add_next_item()
    }

    /// Returns the path of the object under the cursor that takes additional members: a row, the chosen alternative of a
    /// union, or the root.
    fn open_object(&self) -> Option<Path> {
        let mut path = self.at.clone();
        loop {
            match &self.form.node(&path)?.kind {
                Kind::Object { extra: Some(_), .. } => return Some(path),
                Kind::Union { .. } => path.push(0),
                // Members of an open root are added from any row that adds nothing itself.
                kind => {
                    return (path.len() == 1 && self.form.open() && !matches!(kind, Kind::Array { .. } | Kind::CheckList { .. }))
                        .then(Vec::new);
                }
            }
        }
    }

    fn add_next_item(&mut self) -> FormEvent {
        let Some(path) = self.change(|form, at| form.add_item(at)) else { return FormEvent::None };
        // The cursor goes to the first field of an object.
        let inner = self.form.rows().into_iter().find(|row| row.path.len() > path.len() && row.path.starts_with(&path));
        self.go(inner.map_or(path, |row| row.path));
        self.typing = true;
        FormEvent::Changed
    }

    /// Removes the item or the additional member under the cursor.
    pub fn remove_item(&mut self) -> FormEvent {
        for depth in (1..=self.at.len()).rev() {
            let path = self.at[..depth].to_vec();
            if !self.change(|form, _| form.remove(&path)) {
                continue;
            }
            let (last, parent) = (path[depth - 1], path[..depth - 1].to_vec());
            let sibling = [parent.as_slice(), &[last]].concat();
            let before = last.checked_sub(1).map(|last| [parent.as_slice(), &[last]].concat());
            let target = Some(sibling).filter(|p| self.form.node(p).is_some()).or(before).unwrap_or(parent);
            let rows = self.form.rows();
            let row = rows.iter().find(|row| row.path == target).or(rows.first());
            self.go(row.map(|row| row.path.clone()).unwrap_or_default());
            return FormEvent::Changed;
        }
        FormEvent::None
    }

    /// Moves the item under the cursor.
    pub fn move_item(&mut self, step: isize) -> FormEvent {
        for depth in (1..=self.at.len()).rev() {
            let path = self.at[..depth].to_vec();
            let Some(parent) = self.form.node(&path[..depth - 1]) else { continue };
            if !matches!(parent.kind, Kind::Array { .. }) {
                continue;
            }
            let Some(moved) = self.change(|form, _| form.shift(&path, step)) else { return FormEvent::None };
            let rest = self.at[depth..].to_vec();
            self.go([moved, rest].concat());
            return FormEvent::Changed;
        }
        FormEvent::None
    }

    /// Unsets the field under the cursor, so that it is not sent.
    pub fn clear(&mut self) -> FormEvent {
        self.change(|form, at| form.clear(at));
        self.go(self.at.clone());
        FormEvent::Changed
    }

    /// Sets the field under the cursor to `null` if its schema allows it.
    pub fn set_null(&mut self) -> FormEvent {
        if !self.change(|form, at| form.set_null(at)) {
            return FormEvent::None;
        }
        self.go(self.at.clone());
        FormEvent::Changed
    }

    /// Sets the field under the cursor to an empty text, object or list that is sent.
    pub fn set_empty(&mut self) -> FormEvent {
        let mut path = self.at.clone();
        // An object alternative has no row of its own: its fields follow the union's row.
        if let Some(Kind::Union { inner, .. }) = self.kind()
            && matches!(inner.kind, Kind::Object { .. })
        {
            path.push(0);
        }
        self.change(|form, _| form.set_empty(&path));
        self.go(self.at.clone());
        FormEvent::Changed
    }
}
