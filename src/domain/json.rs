//! JSON as text: tokens, values that keep their text, and formatting.
//!
//! `serde_json` reads messages and typed values. This module serves code that needs the text itself: offsets in a large
//! document, the digits of a number, the spelling of an escape. Used by forms, the editor, workflow expressions, the JSON
//! viewer, printers and the repair of broken messages.

mod format;
pub mod token;
mod value;

pub use self::{
    format::{compact, indent, pretty},
    value::{Json, SyntaxError, escape, is_number, quote},
};
