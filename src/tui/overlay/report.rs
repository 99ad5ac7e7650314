//! A report: lines of text that scroll, such as a past call or statistics.

use super::text_dialog::DialogText;
use crate::{
    domain::text::visible,
    tui::{pane::text_view::TextView, theme::Theme},
};

/// The tone of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Ordinary text.
    Plain,
    /// Less important.
    Muted,
    /// Something failed, or breaks.
    Bad,
}

/// A line: a label, which may be empty, and a text.
pub type Line = (String, String, Tone);

/// A report.
pub struct Report {
    title: String,
    lines: Vec<Line>,
}

impl Report {
    /// Creates a report. Texts are sanitised when they are drawn.
    pub fn new(title: impl Into<String>, lines: Vec<Line>) -> Report {
        Report { title: title.into(), lines }
    }
}

impl DialogText for Report {
    const MARGIN: u16 = 4;
    const LOWEST: u16 = 4;

    fn title(&self) -> String {
        self.title.clone()
    }

    fn text_view<'t>(&self, theme: &'t Theme, width: u16) -> TextView<'t> {
        let mut out = TextView::new(theme, width);
        for (label, text, tone) in &self.lines {
            let style = match tone {
                Tone::Plain => theme.text,
                Tone::Muted => theme.muted,
                Tone::Bad => theme.fail,
            };
            for (index, line) in text.lines().enumerate() {
                if label.is_empty() && self.lines.len() == 1 {
                    out.text(&visible(line), style);
                    continue;
                }
                out.field(if index == 0 { label } else { "" }, &visible(line), style);
            }
        }
        out
    }
}
