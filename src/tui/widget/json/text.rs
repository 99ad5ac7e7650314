//! Long text as wrapped lines that can be drawn from any position, and the decoder of JSON strings.
//!
//! Line starts are indexed once. A line of more than [`PIECE`] bytes is split into pieces, so that drawing and scrolling never
//! read more than one piece per row.

use std::{cell::RefCell, ops::Range, sync::Arc};

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::domain::{
    body::Body,
    json::token::{Escape, unescape},
    text::visible,
};

/// The longest piece of a line, in bytes.
const PIECE: usize = 4096;

/// Text with the offsets of its lines.
#[derive(Clone, Debug)]
pub(super) struct WrappedText {
    body: Body,
    starts: Vec<u32>,
    /// The rows of the line that was wrapped last. A screen often shows many rows of one line.
    last: RefCell<Option<LastWrapped>>,
}

/// A line, the width it was wrapped for, and its rows.
type LastWrapped = (u32, usize, Arc<[Wrapped]>);

/// A wrapped row: escaped text and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrapped {
    /// The escaped text.
    pub text: String,
    /// The byte offset in the whole text.
    pub start: usize,
}

impl WrappedText {
    /// Indexes the lines. Text of 4 GiB and more is cut.
    pub fn new(body: Body) -> WrappedText {
        let len = body.len().min(u32::MAX as usize - 1);
        let bytes = &body.bytes()[..len];
        let mut starts = vec![0u32];
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes).map(|n| n + 1).chain([len]) {
            while end - start > PIECE {
                start += piece_len(&bytes[start..start + PIECE]);
                starts.push(start as u32);
            }
            if end < len {
                starts.push(end as u32);
            }
            start = end;
        }
        starts.shrink_to_fit();
        WrappedText { body, starts, last: RefCell::default() }
    }

    /// Returns the number of lines, at least one.
    pub fn lines(&self) -> u32 {
        self.starts.len() as u32
    }

    /// Returns the line that contains a byte.
    pub fn line_at(&self, byte: usize) -> u32 {
        self.starts.partition_point(|start| *start as usize <= byte) as u32 - 1
    }

    /// Returns the byte offset of a line.
    pub fn start(&self, line: u32) -> usize {
        self.starts.get(line as usize).map_or(self.body.len(), |start| *start as usize)
    }

    fn range(&self, line: u32) -> Range<usize> {
        let start = self.start(line);
        let mut end = self.starts.get(line as usize + 1).map_or(self.body.len().min(u32::MAX as usize - 1), |end| *end as usize);
        let bytes = self.body.bytes();
        if end > start && bytes.get(end - 1) == Some(&b'\n') {
            end -= 1;
            end -= usize::from(end > start && bytes[end - 1] == b'\r');
        }
        start..end
    }

    /// Returns how many rows a line takes.
    pub fn rows(&self, line: u32, cells: usize) -> u16 {
        self.wrap(line, cells).len() as u16
    }

    /// Returns the rows of a line, at least one, each at most `cells` wide unless a single character is wider.
    pub fn wrap(&self, line: u32, cells: usize) -> Arc<[Wrapped]> {
        let mut last = self.last.borrow_mut();
        match &*last {
            Some((for_line, for_cells, rows)) if (*for_line, *for_cells) == (line, cells) => rows.clone(),
            _ => {
                let rows: Arc<[Wrapped]> = self.wrap_line(line, cells).into();
                *last = Some((line, cells, rows.clone()));
                rows
            }
        }
    }

    fn wrap_line(&self, line: u32, cells: usize) -> Vec<Wrapped> {
        let range = self.range(line);
        let (mut rows, mut row, mut used) = (vec![], Wrapped { text: String::new(), start: range.start }, 0);
        let mut at = range.start;
        for chunk in self.body.bytes()[range].utf8_chunks() {
            for grapheme in chunk.valid().graphemes(true) {
                let shown = if grapheme == "\t" { "    ".into() } else { visible(grapheme) };
                push(&mut rows, &mut row, &mut used, &shown, at, cells);
                at += grapheme.len();
            }
            for byte in chunk.invalid() {
                push(&mut rows, &mut row, &mut used, &format!("\\x{byte:02x}"), at, cells);
                at += 1;
            }
        }
        rows.push(row);
        rows
    }
}

fn push(rows: &mut Vec<Wrapped>, row: &mut Wrapped, used: &mut usize, shown: &str, at: usize, cells: usize) {
    let wide = shown.width();
    if wide > cells && shown.chars().nth(1).is_some() {
        // An escaped character, or one with many combining marks.
        return shown.chars().for_each(|c| push(rows, row, used, c.encode_utf8(&mut [0; 4]), at, cells));
    }
    if *used + wide > cells && !row.text.is_empty() {
        rows.push(std::mem::replace(row, Wrapped { text: String::new(), start: at }));
        *used = 0;
    }
    row.text.push_str(shown);
    *used += wide;
}

/// Returns the length of a piece of a long line: up to the last space, else up to the last whole character.
fn piece_len(bytes: &[u8]) -> usize {
    if let Some(space) = memchr::memrchr(b' ', bytes).filter(|at| *at > bytes.len() / 2) {
        return space + 1;
    }
    let back = bytes.iter().rev().take(3).position(|b| b & 0xc0 != 0x80).unwrap_or(0);
    // A character may start in the last bytes and end after them.
    let lead = bytes.len() - 1 - back;
    if bytes[lead] < 0x80 { bytes.len() } else { lead.max(1) }
}

/// Decodes a JSON string. Lone surrogates and invalid UTF-8 become visible as `\ud800` and `\xff`. Also returns the length of
/// the decoded text up to byte `until` of the token.
pub(super) fn decode(token: &[u8], until: usize) -> (String, usize) {
    let inner = token.strip_prefix(b"\"").unwrap_or(token);
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    let until = until.saturating_sub(1);
    let (mut out, mut at, mut mark) = (String::with_capacity(inner.len()), 0, None);
    while at < inner.len() {
        if mark.is_none() && at >= until {
            mark = Some(out.len());
        }
        let unescaped = memchr::memchr(b'\\', &inner[at..]).map_or(inner.len(), |next| at + next);
        if unescaped > at {
            if mark.is_none() && until < unescaped {
                mark = Some(out.len() + (until - at));
            }
            push_lossless(&mut out, &inner[at..unescaped]);
            at = unescaped;
            continue;
        }
        at += escape(&inner[at..], &mut out);
    }
    let mark = mark.unwrap_or(out.len());
    (out, mark)
}

fn push_lossless(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
}

/// Decodes one escape. Returns how many bytes it takes.
fn escape(bytes: &[u8], out: &mut String) -> usize {
    match unescape(bytes) {
        Some((Escape::Char(c), length)) => {
            out.push(c);
            length
        }
        Some((Escape::Surrogate(lone), length)) => {
            out.push_str(&format!("\\u{lone:04x}"));
            length
        }
        // A token that was cut may end within an escape.
        None => match bytes.get(1) {
            Some(b'u') => 2,
            Some(other) => {
                out.push(char::from(*other));
                2
            }
            None => 1,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_are_decoded_and_nothing_disappears() {
        assert_eq!(decode(br#""a\n\u00e9\ud83d\ude00\ud800x\"""#, 0).0, "a\né😀\\ud800x\"");
        assert_eq!(decode(b"\"a\xffb\"", 0).0, "a\\xffb");
        assert_eq!(decode(br#""a\nbcd""#, 5).1, 3);
    }

    proptest! {
        #[test]
        fn valid_strings_decode_as_serde_json_does(text in any::<String>()) {
            let token = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(decode(token.as_bytes(), 0).0, text);
        }

        #[test]
        fn pieces_and_rows_hold_the_whole_text(parts in prop::collection::vec("[a日\u{301}é \n]{0,40}", 0..200), cells in 1usize..30) {
            let source = parts.concat();
            let text = WrappedText::new(Body::from(source.as_str()));
            let mut all = String::new();
            for line in 0..text.lines() {
                let range = text.range(line);
                prop_assert!(range.len() <= PIECE);
                prop_assert_eq!(text.line_at(range.start), line);
                let rows = text.wrap(line, cells);
                prop_assert!(rows.iter().all(|row| row.text.width() <= cells.max(2)));
                all.extend(rows.iter().map(|row| row.text.clone()));
            }
            prop_assert_eq!(all.replace("\\u{301}", "\u{301}"), source.replace('\n', ""));
        }
    }
}
