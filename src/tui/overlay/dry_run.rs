//! The dry run dialog: the calls that a workflow would make, as far as they are known without calling anything.

use super::text_dialog::DialogText;
use crate::{
    domain::workflow::{
        dry_run_view::{Block, DryRunView, Field, Heading, Label, NO_CALL, UNKNOWN_VALUES},
        problem::Problem,
    },
    tui::{
        pane::{text_view::TextView, workflows::chart::problem_rows},
        theme::Theme,
    },
};

/// Cells of the label column. The longest label is `fallback value`.
const LABEL: u16 = 18;

/// A dry run.
pub struct DryRun {
    name: String,
    view: DryRunView,
    mismatches: Vec<Problem>,
}

impl DryRun {
    /// Creates the text of a dry run. `mismatches` lists what does not fit the current catalogues of the servers.
    pub fn new(name: &str, view: DryRunView, mismatches: Vec<Problem>) -> DryRun {
        DryRun { name: name.to_owned(), view, mismatches }
    }
}

impl DialogText for DryRun {
    const MARGIN: u16 = 2;
    const LOWEST: u16 = 2;

    fn title(&self) -> String {
        format!("Dry run: {}", self.name)
    }

    fn note(&self) -> Option<&'static str> {
        Some(NO_CALL)
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
