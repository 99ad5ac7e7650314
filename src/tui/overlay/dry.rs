//! What a workflow would call, as far as it can be known without calling anything.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::workflow::problem::Problem,
    tui::{
        flows::Preview,
        pane::{text_view::Sheet, workflows::chart::problem_rows},
        theme::Theme,
        widget::{paint::dialog, window::Window},
    },
};

/// Cells of the labels: the longest is `for each of`.
const LABEL: u16 = 15;

/// The dialog.
pub struct DryRun {
    name: String,
    steps: Vec<Preview>,
    unfit: Vec<Problem>,
    /// Scroll.
    pub window: Window,
}

impl DryRun {
    /// A dialog for what was found out; `unfit` is what does not fit the servers as they are now.
    pub fn new(name: &str, steps: Vec<Preview>, unfit: Vec<Problem>) -> DryRun {
        DryRun { name: name.to_owned(), steps, unfit, window: Window::default() }
    }

    /// How many rows there are at a width.
    pub fn len(&self, theme: &Theme, width: u16) -> usize {
        self.sheet(theme, width).len()
    }

    fn sheet<'t>(&self, theme: &'t Theme, width: u16) -> Sheet<'t> {
        let mut sheet = Sheet::new(theme, width);
        for problem in &self.unfit {
            problem_rows(problem, theme, &mut sheet);
        }
        for (index, step) in self.steps.iter().enumerate() {
            sheet.gap();
            let indent = "  ".repeat(step.depth.min(8));
            sheet.row(vec![
                (format!("{:>2} {indent}", index + 1), theme.muted),
                (step.step.clone(), theme.accent),
                (format!("  {}", step.what), theme.text),
            ]);
            // What it is called with stands before what is called in its place, or to undo it.
            let more = |lines: &[(&str, String)], sheet: &mut Sheet<'t>| {
                for (label, text) in lines {
                    sheet.field_at(LABEL, &format!("   {label}"), text, theme.muted);
                }
            };
            more(&step.more, &mut sheet);
            if let Some(arguments) = &step.arguments {
                sheet.field_at(LABEL, if step.known { "   with" } else { "   with (…)" }, arguments, theme.text);
            }
            more(&step.later, &mut sheet);
        }
        if self.steps.iter().any(|step| step.open) {
            sheet.gap();
            sheet.text("Values in {{ }} are filled in when the run reaches that step.", theme.muted);
        }
        sheet
    }

    /// Draws the dialog.
    pub fn draw(&self, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let width = area.width.min(110);
        let rows = u16::try_from(self.len(theme, width.saturating_sub(4))).unwrap_or(u16::MAX);
        let height = rows.saturating_add(2).min(area.height.saturating_sub(2));
        let title = format!("Dry run of {}", self.name);
        let inner = dialog(buf, area, (width, height), &[(&title, theme.focus)], &[("nothing was called", theme.muted)], theme);
        let room = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        self.sheet(theme, room.width).draw(buf, room, self.window);
    }
}
