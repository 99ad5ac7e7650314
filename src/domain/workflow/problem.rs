//! What is wrong with a workflow file, and where.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthStr;

use crate::domain::text::visible;

/// A place in a file: line and column in characters, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// One thing that is wrong with a workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file as it was named to the parser.
    pub file: String,
    /// Where it stands.
    pub place: Place,
    /// How many characters it covers in its line, at least 1.
    pub width: u32,
    /// The step that it is about, if it is about one.
    pub step: Option<String>,
    /// The key, with those around it: `arguments.user.id`. Empty for the whole file.
    pub key: String,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line that it stands in, or the part of a long one around it.
    pub snippet: String,
    /// The column in the snippet at which it starts, in characters from 1.
    pub caret: u32,
}

/// How much of a line is kept.
const SNIPPET: usize = 120;

impl Problem {
    /// A problem in a line.
    pub(super) fn new(file: &str, place: Place, width: u32, line: &str, step: Option<&str>, key: &str, message: String) -> Problem {
        let column = place.column.max(1) as usize - 1;
        let skip = if line.chars().count() > SNIPPET { column.saturating_sub(SNIPPET / 3) } else { 0 };
        let mut snippet: String = line.chars().skip(skip).take(SNIPPET).collect();
        let mut caret = (column - skip + 1) as u32;
        if skip > 0 {
            snippet.insert(0, '…');
            caret += 1;
        }
        if line.chars().count() > skip + SNIPPET {
            snippet.push('…');
        }
        let (file, key, step) = (file.to_owned(), key.to_owned(), step.map(str::to_owned));
        Problem { file, place, width, step, key, message, hint: None, snippet, caret }
    }

    /// The same with a way out.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// The problem in a few lines: message, place, the line with what is meant marked, the way out.
    ///
    /// Nothing in it controls a terminal; the lines are for a printer or a pane as they are.
    pub fn render(&self) -> String {
        let mut out = String::from("error: ");
        if let Some(step) = &self.step {
            out.push_str(&format!("step `{}`: ", visible(step)));
        }
        if !self.key.is_empty() {
            out.push_str(&format!("`{}`: ", visible(&self.key)));
        }
        out.push_str(&visible(&self.message));
        let number = self.place.line.to_string();
        let margin = " ".repeat(number.len());
        out.push_str(&format!("\n{margin}--> {}:{}:{}", visible(&self.file), self.place.line, self.place.column));
        if !self.snippet.trim().is_empty() {
            let caret = self.caret.max(1) as usize - 1;
            let before: String = self.snippet.chars().take(caret).collect();
            let under: String = self.snippet.chars().skip(caret).take(self.width.max(1) as usize).collect();
            let (before, under) = (visible(&before).width(), visible(&under).width().max(1));
            out.push_str(&format!(
                "\n{margin} |\n{number} | {}\n{margin} | {}{}",
                visible(&self.snippet),
                " ".repeat(before),
                "^".repeat(under)
            ));
        }
        if let Some(hint) = &self.hint {
            out.push_str(&format!("\n{margin} = try: {}", visible(hint)));
        }
        out
    }
}

/// All problems, rendered one below the other with an empty line between.
pub fn render_all(problems: &[Problem]) -> String {
    problems.iter().map(Problem::render).collect::<Vec<_>>().join("\n\n")
}

impl fmt::Display for Problem {
    /// One line: place, step, key, message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", visible(&self.file), self.place.line, self.place.column)?;
        if let Some(step) = &self.step {
            write!(f, "step `{}`: ", visible(step))?;
        }
        if !self.key.is_empty() {
            write!(f, "`{}`: ", visible(&self.key))?;
        }
        f.write_str(&visible(&self.message))
    }
}

impl std::error::Error for Problem {}
