//! The dry run dialog: the calls that a workflow would make, as far as they are known without calling anything.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::workflow::problem::Problem,
    tui::{
        flows::Preview,
        pane::{text_view::TextView, workflows::chart::problem_rows},
        theme::Theme,
        widget::{paint::dialog, window::Window},
    },
};

/// Cells of the label column. The longest label is `for each of`.
const LABEL: u16 = 15;

/// The dialog.
pub struct DryRun {
    name: String,
    steps: Vec<Preview>,
    mismatches: Vec<Problem>,
    /// Scroll.
    pub window: Window,
}

impl DryRun {
    /// Creates the dialog for a dry run. `mismatches` lists what does not fit the current catalogues of the servers.
    pub fn new(name: &str, steps: Vec<Preview>, mismatches: Vec<Problem>) -> DryRun {
        DryRun { name: name.to_owned(), steps, mismatches, window: Window::default() }
    }

    /// Returns how many rows the text takes at a width.
    pub fn len(&self, theme: &Theme, width: u16) -> usize {
        self.text_view(theme, width).len()
    }

    fn text_view<'t>(&self, theme: &'t Theme, width: u16) -> TextView<'t> {
        let mut out = TextView::new(theme, width);
        for problem in &self.mismatches {
            problem_rows(problem, theme, &mut out);
        }
        for (index, step) in self.steps.iter().enumerate() {
            out.gap();
            let indent = "  ".repeat(step.depth.min(8));
            out.row(vec![
                (format!("{:>2} {indent}", index + 1), theme.muted),
                (step.step.clone(), theme.accent),
                (format!("  {}", step.what), theme.text),
            ]);
            // The arguments come before the fallbacks and the compensation.
            let fields = |lines: &[(&str, String)], out: &mut TextView<'t>| {
                for (label, text) in lines {
                    out.field_at(LABEL, &format!("   {label}"), text, theme.muted);
                }
            };
            fields(&step.more, &mut out);
            if let Some(arguments) = &step.arguments {
                out.field_at(LABEL, if step.known { "   with" } else { "   with (…)" }, arguments, theme.text);
            }
            fields(&step.later, &mut out);
        }
        if self.steps.iter().any(|step| step.open) {
            out.gap();
            out.text("Values in {{ }} are filled in when the run reaches that step.", theme.muted);
        }
        out
    }

    /// Draws the dialog.
    pub fn draw(&self, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let width = area.width.min(110);
        let rows = u16::try_from(self.len(theme, width.saturating_sub(4))).unwrap_or(u16::MAX);
        let height = rows.saturating_add(2).min(area.height.saturating_sub(2));
        let title = format!("Dry run: {}", self.name);
        let inner = dialog(buf, area, (width, height), &[(&title, theme.focus)], &[("no calls made", theme.muted)], theme);
        let room = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        self.text_view(theme, room.width).draw(buf, room, self.window);
    }
}
