//! The dry run dialog: the calls that a workflow would make, as far as they are known without calling anything.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::workflow::{
        dry_run_view::{Block, DryRunView, Field, Heading, Label, NO_CALL, UNKNOWN_VALUES},
        problem::Problem,
    },
    tui::{
        dialog::Dialog,
        keymap::Context,
        pane::{DrawContext, text_view::TextView, workflows::chart::problem_rows},
        theme::Theme,
        widget::{
            paint::{dialog, padded},
            window::{Move, Window},
        },
    },
};

use super::LastSize;

/// Cells of the label column. The longest label is `fallback value`.
const LABEL: u16 = 18;

/// The dialog.
pub struct DryRun {
    name: String,
    view: DryRunView,
    mismatches: Vec<Problem>,
    window: Window,
    last_size: LastSize,
}

impl DryRun {
    /// Creates the dialog for a dry run. `mismatches` lists what does not fit the current catalogues of the servers.
    pub fn new(name: &str, view: DryRunView, mismatches: Vec<Problem>) -> DryRun {
        DryRun { name: name.to_owned(), view, mismatches, window: Window::default(), last_size: LastSize::default() }
    }

    fn text_view<'t>(&self, theme: &'t Theme, width: u16) -> TextView<'t> {
        let mut out = TextView::new(theme, width);
        for problem in &self.mismatches {
            problem_rows(problem, theme, &mut out);
        }
        let mut number = 0;
        for block in &self.view.blocks {
            number += usize::from(block.heading.path().is_some());
            block_rows(block, number, theme, &mut out);
        }
        if self.view.unknown {
            out.gap();
            out.text(UNKNOWN_VALUES, theme.muted);
        }
        out
    }
}

impl Dialog for DryRun {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Notices]
    }

    fn go(&mut self, to: Move, ctx: DrawContext) {
        let rows = self.text_view(ctx.theme, self.last_size.width()).len();
        self.window.scroll(to, rows, self.last_size.rows());
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let width = area.width.min(110);
        let rows = u16::try_from(self.text_view(theme, width.saturating_sub(4)).len()).unwrap_or(u16::MAX);
        let height = rows.saturating_add(2).min(area.height.saturating_sub(2));
        let title = format!("Dry run: {}", self.name);
        let inner = dialog(buf, area, (width, height), &[(&title, theme.focus)], &[(NO_CALL, theme.muted)], theme);
        let room = padded(inner);
        self.last_size.note(room);
        self.text_view(theme, room.width).draw(buf, room, self.window);
    }
}

/// Adds a block: its numbered heading, its notes and its fields.
fn block_rows(block: &Block, number: usize, theme: &Theme, out: &mut TextView) {
    out.gap();
    let indent = "  ".repeat(block.level.min(8));
    let Some(path) = block.heading.path() else {
        out.row(vec![(format!("   {indent}{}", block.heading.text()), theme.muted)]);
        return;
    };
    out.row(vec![
        (format!("{number:>2} {indent}"), theme.muted),
        (path.to_owned(), theme.accent),
        (format!("  {}", block.heading.text()), theme.text),
    ]);
    let mut field = |label: Label, text: &str| {
        let style = if label == Label::Arguments { theme.text } else { theme.muted };
        out.field_at(LABEL, &format!("   {}", label.word()), text, style);
    };
    if let Heading::Step { needs, notes, .. } = &block.heading {
        if !needs.is_empty() {
            field(Label::Needs, &needs.join(", "));
        }
        notes.iter().for_each(|Field { label, text }| field(*label, text));
    }
    block.fields.iter().for_each(|Field { label, text }| field(*label, text));
}
