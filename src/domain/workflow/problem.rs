//! What is wrong with a workflow file, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// The line that it stands in.
    pub snippet: String,
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
