//! The search texts of calls: the first bytes of their arguments and errors, in lower case, for the newest calls that
//! fit into memory. Used by the free words of a filter. Pure. Used by the rows.

use std::collections::VecDeque;

use crate::{
    domain::{
        body::Body,
        call::{Failure, Operation, Outcome},
    },
    tui::result_view,
};

/// Bytes of all texts including their overhead: some hundred thousand calls of the usual length.
pub const ROOM: usize = 64 << 20;
/// Bytes stored per call: half for the arguments, half for the error.
pub const MOST: usize = 400;
/// Overhead per text in bytes.
const COST: usize = 32;
/// Longer results are not parsed for a tool error, in bytes.
const READ: usize = 16 << 10;

/// One text per row, for the newest rows.
#[derive(Default)]
pub struct Texts {
    /// The row of the first text.
    first: u64,
    texts: VecDeque<Box<str>>,
    bytes: usize,
}

impl Texts {
    /// Adds the text of the row `id`, which follows the last one; an empty one costs almost nothing.
    pub fn push(&mut self, id: u64, text: &str) {
        if self.texts.is_empty() {
            self.first = id;
        }
        self.bytes += size_of::<Box<str>>();
        self.texts.push_back("".into());
        self.set(id, text.into());
    }

    /// Appends to the text of a row, if that is still stored.
    pub fn add(&mut self, id: u64, text: &str) {
        let Some(old) = self.of(id).filter(|_| !text.is_empty()) else { return };
        let both = if old.is_empty() { text.to_owned() } else { format!("{old}\n{text}") };
        self.set(id, both.into());
    }

    /// Returns the text of a row, in lower case; empty if there is none, `None` if it was dropped.
    pub fn of(&self, id: u64) -> Option<&str> {
        self.texts.get(usize::try_from(id.checked_sub(self.first)?).ok()?).map(|text| &**text)
    }

    /// Drops the texts of rows before this one.
    pub fn forget_before(&mut self, id: u64) {
        while self.first < id && self.pop() {}
    }

    fn set(&mut self, id: u64, text: Box<str>) {
        let Some(slot) = id.checked_sub(self.first).and_then(|at| self.texts.get_mut(usize::try_from(at).ok()?)) else { return };
        let cost = |text: &str| if text.is_empty() { 0 } else { text.len() + COST };
        self.bytes += cost(&text);
        self.bytes -= cost(slot);
        *slot = text;
        while self.bytes > ROOM && self.pop() {}
    }

    fn pop(&mut self) -> bool {
        let Some(text) = self.texts.pop_front() else { return false };
        self.bytes -= size_of::<Box<str>>() + if text.is_empty() { 0 } else { text.len() + COST };
        self.first += 1;
        true
    }
}

/// Returns the start of the bytes as text in lower case.
fn lower_case(bytes: &[u8]) -> String {
    let mut start = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST / 2)]).to_lowercase();
    // A character that was cut in two is dropped.
    if start.ends_with('\u{fffd}') {
        start.pop();
    }
    start
}

/// Returns the arguments of a call as sent.
pub fn arguments_text(operation: &Operation) -> String {
    let given: &Body = match operation {
        Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => arguments,
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => params,
        Operation::Resource { .. } => return String::new(),
    };
    if given.bytes().as_ref() == b"{}" { String::new() } else { lower_case(given.bytes()) }
}

/// Returns the error of a call: the failure's message, causes and last lines of stderr, or the text of a tool error.
pub fn error_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed { failure } => {
            let Failure { message, causes, stderr, rpc, .. } = &**failure;
            let code = rpc.as_ref().map(|rpc| format!("{} {}", rpc.code, rpc.message)).unwrap_or_default();
            let lines = [message, &code].into_iter().chain(causes).chain(stderr.iter().rev());
            let mut all = String::new();
            for line in lines.filter(|line| !line.is_empty()) {
                all.push_str(line);
                all.push('\n');
                if all.len() > MOST {
                    break;
                }
            }
            lower_case(all.trim_end().as_bytes())
        }
        Outcome::ToolError { result } if result.bytes().len() <= READ => lower_case(result_view::text(result).bytes()),
        Outcome::ToolError { result } => lower_case(result.bytes()),
        Outcome::Cancelled { reason } => lower_case(reason.as_bytes()),
        Outcome::Ok { .. } | Outcome::Interim { .. } => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_within_their_limit_and_the_newest_are_stored() {
        let mut texts = Texts::default();
        let long = "x".repeat(MOST);
        for id in 10..200_010u64 {
            texts.push(id, &long);
        }
        assert!(texts.bytes <= ROOM && texts.of(10).is_none(), "{}", texts.bytes);
        assert_eq!(texts.of(200_009), Some(long.as_str()));
        texts.add(200_009, "no room left");
        texts.add(10, "gone");
        assert!(texts.of(200_009).is_some_and(|text| text.ends_with("\nno room left")));
        texts.forget_before(200_010);
        assert_eq!((texts.texts.len(), texts.bytes), (0, 0));
        texts.push(200_010, "");
        assert_eq!((texts.of(200_010), texts.of(200_009), texts.of(200_011)), (Some(""), None, None));
    }

    #[test]
    fn a_cut_character_is_dropped() {
        let text = "é".repeat(MOST);
        assert!(!lower_case(format!("a{text}").as_bytes()).contains('\u{fffd}'));
    }
}
