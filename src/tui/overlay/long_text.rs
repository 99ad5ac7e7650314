//! The long text editor: edits a field's text in several lines.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    widgets::Widget,
};
use tui_textarea::TextArea;

use crate::{
    domain::{
        form::Path,
        plural::counted,
        text::{is_hidden, line_ends, visible},
    },
    tui::{
        action::Action,
        dialog::{Dialog, DialogOutcome},
        keymap::Context,
        pane::DrawContext,
        widget::paint::dialog,
    },
};

use super::{confirm::Confirm, key_row};

/// The editor over the form.
pub struct LongText {
    /// The field that is edited.
    path: Path,
    name: String,
    area: TextArea<'static>,
    /// The text when the editor opened.
    before: String,
}

impl LongText {
    /// Creates an editor for the text of a field, with the cursor at the end.
    pub fn new(path: Path, name: impl Into<String>, text: &str) -> LongText {
        let mut area = TextArea::new(text.split('\n').map(str::to_owned).collect());
        area.move_cursor(tui_textarea::CursorMove::Bottom);
        area.move_cursor(tui_textarea::CursorMove::End);
        area.set_hard_tab_indent(true);
        LongText { path, name: name.into(), area, before: text.to_owned() }
    }

    /// Returns the text.
    pub fn text(&self) -> String {
        self.area.lines().join("\n")
    }
}

impl Dialog for LongText {
    fn contexts(&self) -> &'static [Context] {
        &[Context::LongText]
    }

    fn typing(&self) -> bool {
        true
    }

    fn takes_lines(&self) -> bool {
        true
    }

    fn shows_keys(&self) -> bool {
        true
    }

    fn act(&mut self, action: Action, _ctx: DrawContext) -> DialogOutcome {
        match action {
            Action::Choose => {
                let (path, text) = (self.path.clone(), self.text());
                DialogOutcome::close_and(move |model| {
                    model.console.call.arguments_mut().set_field(&path, &text);
                    vec![]
                })
            }
            Action::Back if self.text() != self.before => DialogOutcome::run(|model| {
                let answers = [(Action::No, "keep editing"), (Action::Yes, "discard")];
                let confirm = Confirm::new("Discard the changes?", "The field keeps the text that it had before.", &answers);
                model.dialogs.push(confirm.then(|model| {
                    model.dialogs.close::<LongText>();
                    vec![]
                }));
                vec![]
            }),
            Action::Back => DialogOutcome::Close,
            _ => DialogOutcome::Open,
        }
    }

    fn key(&mut self, key: KeyEvent, _ctx: DrawContext) -> DialogOutcome {
        if key.code == KeyCode::Enter && key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::CONTROL) {
            self.area.insert_newline();
        } else {
            self.area.input(key);
        }
        DialogOutcome::Open
    }

    fn paste(&mut self, text: &str, _ctx: DrawContext) -> DialogOutcome {
        self.area.insert_str(line_ends(text));
        DialogOutcome::Open
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let hidden = self.area.lines().iter().flat_map(|l| l.chars()).filter(|c| is_hidden(*c) && *c != '\t').count();
        let status = match hidden {
            0 => counted(self.area.lines().len(), "line"),
            1 => "1 invisible character".into(),
            many => format!("{many} invisible characters"),
        };
        let style = if hidden > 0 { theme.warn } else { theme.muted };
        let wish = (100, (self.area.lines().len() as u16).saturating_add(6).max(12));
        let inner = dialog(buf, area, wish, &[(&self.name, theme.focus)], &[(&status, style)], theme);
        let body = Rect { height: inner.height.saturating_sub(1), ..inner }.intersection(buf.area);
        self.area.set_style(theme.text);
        self.area.set_cursor_line_style(Style::new());
        self.area.set_selection_style(theme.selection);
        self.area.set_cursor_style(Style::new().add_modifier(Modifier::REVERSED));
        (&self.area).render(body, buf);
        // Control and invisible characters stay in the text but are never written to the terminal.
        for y in body.top()..body.bottom() {
            for x in body.left()..body.right() {
                if let Some(cell) = buf.cell_mut((x, y)).filter(|cell| visible(cell.symbol()) != cell.symbol()) {
                    cell.set_symbol("·").set_style(theme.warn);
                }
            }
        }
        key_row(ctx, Context::LongText, |_| true, inner, buf);
    }
}
