//! Problems of workflow files (diagnostics): message, position, source line and hint.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthStr;

use crate::domain::text::visible;

/// A position in a file: line and column in characters, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// A problem in a workflow file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file as named to the parser.
    pub file: String,
    /// Position of the problem.
    pub place: Place,
    /// Number of characters to mark in the line, at least 1.
    pub width: u32,
    /// The step, if the problem belongs to one.
    pub step: Option<String>,
    /// The key with its parents: `arguments.user.id`. Empty for the whole file.
    pub key: String,
    /// The message, one line.
    pub message: String,
    /// How to fix it.
    pub hint: Option<String>,
    /// The source line, or an excerpt of a long one.
    pub snippet: String,
    /// The column in the snippet where the problem starts, in characters from 1.
    pub caret: u32,
}

/// Maximum length of the snippet, in characters.
const SNIPPET: usize = 120;

impl Problem {
    /// Creates a problem in a line.
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

    /// Adds a hint.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// Renders the problem in a few lines: message, position, marked source line, hint.
    ///
    /// The text contains no terminal control sequences.
    pub fn render(&self) -> String {
        self.render_as("error")
    }

    /// Renders the problem as a warning.
    pub fn render_warning(&self) -> String {
        self.render_as("warning")
    }

    fn render_as(&self, severity: &str) -> String {
        let lines: Vec<String> = self.lines(severity).into_iter().map(|(_, line)| line).collect();
        lines.join("\n")
    }

    /// Returns the lines of [`Problem::render`] with what each is. `severity` is the first word.
    pub fn lines(&self, severity: &str) -> Vec<(ProblemLine, String)> {
        let mut message = format!("{severity}: ");
        if let Some(step) = &self.step {
            message.push_str(&format!("step `{}`: ", visible(step)));
        }
        if !self.key.is_empty() {
            message.push_str(&format!("`{}`: ", visible(&self.key)));
        }
        message.push_str(&visible(&self.message));
        let number = self.place.line.to_string();
        let margin = " ".repeat(number.len());
        let place = format!("{margin}--> {}:{}:{}", visible(&self.file), self.place.line, self.place.column);
        let mut lines = vec![(ProblemLine::Message, message), (ProblemLine::Source, place)];
        if !self.snippet.trim().is_empty() {
            let caret = self.caret.max(1) as usize - 1;
            let before: String = self.snippet.chars().take(caret).collect();
            let under: String = self.snippet.chars().skip(caret).take(self.width.max(1) as usize).collect();
            let (before, under) = (visible(&before).width(), visible(&under).width().max(1));
            lines.push((ProblemLine::Source, format!("{margin} |")));
            lines.push((ProblemLine::Source, format!("{number} | {}", visible(&self.snippet))));
            lines.push((ProblemLine::Caret, format!("{margin} | {}{}", " ".repeat(before), "^".repeat(under))));
        }
        lines.extend(self.hint.iter().map(|hint| (ProblemLine::Hint, format!("{margin} = try: {}", visible(hint)))));
        lines
    }
}

/// What a line of a rendered problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemLine {
    /// The message, with step and key.
    Message,
    /// The position, the source line, or the margin above it.
    Source,
    /// The mark below the place.
    Caret,
    /// How to fix it.
    Hint,
}

/// Renders all problems, separated by empty lines.
pub fn render_all(problems: &[Problem]) -> String {
    problems.iter().map(Problem::render).collect::<Vec<_>>().join("\n\n")
}

impl fmt::Display for Problem {
    /// Formats one line: position, step, key, message.
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
