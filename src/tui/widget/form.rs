//! A form for the arguments of a tool, on the screen: where the cursor is and what keys do.
//!
//! What is in the form is [`crate::domain::form`]'s. Two modes: *typing*, where keys go into the
//! field under the cursor and stay in it from field to field; and *keys*, after Escape, where they
//! move, fold, add and remove. Enter fires in both.

mod click;
mod draw;
mod past;
mod pick;

#[cfg(test)]
mod hands;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;

use self::{past::Before, pick::Picker};
use super::field::{FieldEvent, TextField};
use crate::{
    domain::{
        body::Body,
        form::{Form, Kind, Path, State, SyntaxError},
        text::{line_ends, one_line},
    },
    tui::{
        action::Action,
        keymap::{Context, Keymap},
    },
};

/// Where the cursor wants to go when it leaves a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// To what is before the form: from its first field.
    Before,
    /// To what is after the form: from its last field.
    After,
    /// Out of the form: Escape.
    Out,
}

/// What came of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormEvent {
    /// Nothing that matters outside, or the key is not for the form.
    None,
    /// The arguments changed.
    Changed,
    /// The arguments are complete and shall be sent.
    Submit,
    /// The arguments shall be sent but do not fit; the cursor stands on the first place that is wrong.
    Refused,
    /// The cursor leaves.
    Leave(Leave),
}

/// A form with its cursor, scroll and the field being typed into.
pub struct FormView {
    form: Form,
    at: Path,
    field: TextField,
    typing: bool,
    /// The name of a member being added to the object under the cursor.
    naming: Option<TextField>,
    /// What was typed to find a choice.
    ahead: String,
    /// The list of choices, while it is open.
    picker: Option<Picker>,
    /// What the form was before its last changes.
    past: Vec<Before>,
    /// Whether letters go into a field of which that is noted.
    entered: bool,
    /// Fields whose text the user wrote. A text that was put into another field is selected when the cursor comes to it.
    written: HashSet<Path>,
    /// Whether sending was tried, so that what is missing is told.
    tried: bool,
    top: usize,
    page: usize,
    /// Where the rows were drawn last.
    place: Rect,
    keys: InlineKeys,
}

/// The keys that are shown in the row of the cursor.
struct InlineKeys {
    add: String,
    remove: String,
    shift: String,
}

impl Default for InlineKeys {
    fn default() -> Self {
        InlineKeys { add: "a".into(), remove: "d".into(), shift: "K J".into() }
    }
}

impl FormView {
    /// A form for a schema, the cursor in the first required field that is empty, ready for typing.
    pub fn new(schema: &Body) -> FormView {
        let form = Form::new(schema);
        let mut view = FormView {
            form,
            at: vec![],
            field: TextField::default(),
            typing: true,
            naming: None,
            ahead: String::new(),
            picker: None,
            past: vec![],
            entered: false,
            written: HashSet::new(),
            tried: false,
            top: 0,
            page: 10,
            place: Rect::default(),
            keys: InlineKeys::default(),
        };
        view.rewind();
        view
    }

    /// The form itself.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The arguments as compact JSON text, complete or not.
    pub fn json(&self) -> String {
        self.form.json()
    }

    /// Fills the form from JSON text. On a syntax error nothing changes.
    pub fn set_json(&mut self, text: &str) -> Result<(), SyntaxError> {
        self.changing(|form, _| form.set_json(text))?;
        self.written.clear();
        self.rewind();
        Ok(())
    }

    /// Empties the form.
    pub fn reset(&mut self) {
        self.changing(|form, _| form.reset());
        self.written.clear();
        self.tried = false;
        self.rewind();
    }

    /// Whether letters go into a field, so that they must come here before any other use.
    pub fn wants_text(&self) -> bool {
        self.naming.is_some()
            || self.picker.is_some()
            || self.typing && (self.is_text() || matches!(self.kind(), Some(Kind::Choice { .. })))
    }

    /// The path of the field under the cursor.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Whether letters are typed, rather than being keys.
    pub fn typing(&self) -> bool {
        self.typing && self.naming.is_none()
    }

    /// Sets the text of a field, wherever the cursor is.
    pub fn set_text(&mut self, path: &[usize], text: &str) {
        self.changing(|form, _| form.set_text(path, text));
        self.written.insert(path.to_vec());
        self.sync();
    }

    fn rewind(&mut self) {
        let rows = self.form.rows();
        let wanted = rows.iter().find(|row| {
            let node = self.form.node(&row.path);
            node.is_some_and(|n| {
                n.required && n.state == State::Unset && matches!(n.kind, Kind::Text(_) | Kind::Number { .. } | Kind::Raw(_))
            })
        });
        self.at = wanted.or(rows.first()).map(|row| row.path.clone()).unwrap_or_default();
        (self.top, self.typing, self.picker) = (0, true, None);
        self.sync();
        self.select();
    }

    /// Selects the text under the cursor unless the user wrote it.
    fn select(&mut self) {
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

    /// Takes the text under the cursor into the field.
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
        self.select();
    }

    /// Takes a key.
    pub fn handle(&mut self, key: KeyEvent) -> FormEvent {
        if key.kind == KeyEventKind::Release {
            return FormEvent::None;
        }
        if self.naming.is_some() {
            return self.name_key(key);
        }
        if self.picker.is_some() {
            return self.pick_key(key);
        }
        let (control, alt) = (key.modifiers.contains(KeyModifiers::CONTROL), key.modifiers.contains(KeyModifiers::ALT));
        match key.code {
            KeyCode::Enter if alt && self.in_array() => return self.add(true),
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

    /// The key by which a form knows an action of its own, whatever key it is bound to.
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

    /// Whether a key is one of [`FormView::command_of`].
    pub fn is_command(key: KeyEvent) -> bool {
        matches!(key.code, KeyCode::Char('i' | 'a' | 'd' | 'K' | 'J' | 'x' | 'n' | '"') | KeyCode::Delete | KeyCode::Backspace)
            && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
    }

    /// Shows the keys of `keys` beside what can be added, removed and moved.
    pub fn show_keys(&mut self, keys: &Keymap) {
        let key = |action| keys.key(&[Context::Form], action).unwrap_or_default();
        self.keys = InlineKeys {
            add: key(Action::AddItem),
            remove: key(Action::RemoveItem),
            shift: format!("{} {}", key(Action::MoveItemUp), key(Action::MoveItemDown)).trim().to_owned(),
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

    /// Inserts pasted text into the field under the cursor. A number is one line.
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
        self.typing_in(&text);
        FormEvent::Changed
    }

    fn type_ahead(&mut self, c: char) -> FormEvent {
        let Some(Kind::Choice { options, .. }) = self.kind() else { return FormEvent::None };
        let options: Vec<String> = options.iter().map(|(label, _)| label.to_lowercase()).collect();
        let one: String = c.to_lowercase().collect();
        let longer = format!("{}{one}", self.ahead);
        let found = [longer, one].into_iter().find_map(|start| options.iter().position(|o| o.starts_with(&start)).map(|at| (start, at)));
        let Some((start, index)) = found else { return FormEvent::None };
        self.changing(|form, at| form.pick(at, index));
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
                if let Some(path) = self.changing(|form, _| form.add_member(&object, &key)) {
                    self.go(path);
                    self.edit();
                }
            }
            _ => drop(name.handle(key)),
        }
        FormEvent::None
    }

    /// Sends the arguments if they fit, else goes to the first place that is wrong.
    pub fn submit(&mut self) -> FormEvent {
        self.tried = true;
        if self.form.valid() {
            return FormEvent::Submit;
        }
        let wrong = |path: &Path| self.form.node(path).is_some_and(|node| node.error.is_some() || node.missing);
        let rows = self.form.rows();
        // Where one is already counts as the first when it is wrong itself.
        if !wrong(&self.at) || rows.is_empty() {
            let first = rows.iter().map(|row| &row.path).find(|path| wrong(path)).cloned().or_else(|| self.hidden_wrong());
            if let Some(path) = first {
                self.go(path);
                self.typing = true;
            }
        }
        FormEvent::Refused
    }

    /// Unfolds the row that hides something wrong; gives its path.
    fn hidden_wrong(&mut self) -> Option<Path> {
        let rows = self.form.rows();
        let row = rows.into_iter().find(|row| self.form.node(&row.path).is_some_and(|node| node.folded && !node.sound()))?;
        self.form.fold(&row.path, false);
        Some(row.path)
    }

    /// To the next row; from the last one out.
    pub fn next_field(&mut self) -> FormEvent {
        self.step(1)
    }

    /// To the row before; from the first one out.
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

    /// Begins typing into the field under the cursor.
    pub fn edit(&mut self) {
        self.typing = true;
        self.sync();
    }

    /// Ends typing: letters are keys again.
    pub fn stop_editing(&mut self) {
        (self.typing, self.naming, self.picker) = (false, None, None);
    }

    /// Switches a boolean, takes the next of few choices or lists many, folds or unfolds.
    pub fn toggle(&mut self) -> FormEvent {
        if self.open_list() {
            return FormEvent::None;
        }
        let Some(node) = self.form.node(&self.at) else { return FormEvent::None };
        match node.kind {
            Kind::Bool(_) | Kind::Choice { .. } | Kind::Const(_) | Kind::Union { .. } => self.cycle(1),
            Kind::Object { .. } | Kind::Array { .. } if node.state != State::Null => {
                let folded = node.folded;
                self.form.fold(&self.at, !folded);
                FormEvent::None
            }
            _ => FormEvent::None,
        }
    }

    /// The next (or with a negative `step` previous) value of a boolean, a choice or an alternative.
    pub fn cycle(&mut self, step: isize) -> FormEvent {
        self.changing(|form, at| form.cycle(at, step));
        self.ahead.clear();
        FormEvent::Changed
    }

    fn sideways(&mut self, step: isize) -> FormEvent {
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

    /// Adds an item to the array under the cursor or after the item under it; asks for the name of a
    /// new member of the object under it.
    pub fn add_item(&mut self) -> FormEvent {
        self.add(false)
    }

    /// The place of the object that takes members of any name and that the cursor is on: a row of its own, the alternative
    /// that was chosen of a union, or the whole when it is nothing but that.
    fn open_object(&self) -> Option<Path> {
        let mut path = self.at.clone();
        loop {
            match &self.form.node(&path)?.kind {
                Kind::Object { extra: Some(_), .. } => return Some(path),
                Kind::Union { .. } => path.push(0),
                // Where the whole is open, its members are added from any row that adds nothing itself.
                kind => return (path.len() == 1 && self.form.open() && !matches!(kind, Kind::Array { .. })).then(Vec::new),
            }
        }
    }

    fn add(&mut self, next_item: bool) -> FormEvent {
        // An item that is an open object takes a member; the list is added to from its own row, and by Alt-Enter.
        if self.open_object().is_some() && !next_item {
            self.naming = Some(TextField::default());
            return FormEvent::None;
        }
        let Some(path) = self.changing(|form, at| form.add_item(at)) else { return FormEvent::None };
        // An item of fields is entered at its first field.
        let inner = self.form.rows().into_iter().find(|row| row.path.len() > path.len() && row.path.starts_with(&path));
        self.go(inner.map_or(path, |row| row.path));
        self.typing = true;
        FormEvent::Changed
    }

    /// Removes the item, or the undeclared member, that the cursor is in.
    pub fn remove_item(&mut self) -> FormEvent {
        for depth in (1..=self.at.len()).rev() {
            let path = self.at[..depth].to_vec();
            if !self.changing(|form, _| form.remove(&path)) {
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

    /// Moves the item that the cursor is in.
    pub fn move_item(&mut self, step: isize) -> FormEvent {
        for depth in (1..=self.at.len()).rev() {
            let path = self.at[..depth].to_vec();
            let Some(parent) = self.form.node(&path[..depth - 1]) else { continue };
            if !matches!(parent.kind, Kind::Array { .. }) {
                continue;
            }
            let Some(moved) = self.changing(|form, _| form.shift(&path, step)) else { return FormEvent::None };
            let rest = self.at[depth..].to_vec();
            self.go([moved, rest].concat());
            return FormEvent::Changed;
        }
        FormEvent::None
    }

    /// Empties the field under the cursor, so that it is left out.
    pub fn clear(&mut self) -> FormEvent {
        self.changing(|form, at| form.clear(at));
        self.go(self.at.clone());
        FormEvent::Changed
    }

    /// Sets the field under the cursor to `null` where it may be.
    pub fn set_null(&mut self) -> FormEvent {
        if !self.changing(|form, at| form.set_null(at)) {
            return FormEvent::None;
        }
        self.go(self.at.clone());
        FormEvent::Changed
    }

    /// Sets the text under the cursor to an empty one that is sent, and so an object or a list without anything in it.
    pub fn set_empty(&mut self) -> FormEvent {
        let mut path = self.at.clone();
        // The fields of an alternative stand right under the choice: its row is the choice's.
        if let Some(Kind::Union { inner, .. }) = self.kind()
            && matches!(inner.kind, Kind::Object { .. })
        {
            path.push(0);
        }
        self.changing(|form, _| form.set_empty(&path));
        self.go(self.at.clone());
        FormEvent::Changed
    }
}
