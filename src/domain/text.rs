//! Sanitises text from servers: control and hidden characters become visible escapes.
//!
//! Every output (pane, dialog, title, CLI output, log) passes server text through this module. ratatui's own
//! filtering is not a substitute, because it drops such characters silently.

use std::borrow::Cow;

use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Maximum number of combining marks per character. Further ones become escapes.
const MOST_MARKS: usize = 4;

/// Returns one line of sanitised text; line ends and tabs become visible too (`\n`, `\t`).
pub fn visible(text: &str) -> Cow<'_, str> {
    sanitise(text, Lines::One)
}

/// Returns sanitised text of several lines: `\n` stays, `\r\n` becomes `\n`, tabs become four spaces.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    sanitise(text, Lines::Several)
}

/// Converts `\r\n` and `\r` to `\n`. Terminals send a carriage return for each line end of a paste.
pub fn line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { Cow::Borrowed(text) }
}

/// Returns pasted text as one line, and the number of removed control characters.
///
/// Line ends at the end are removed: a copied line has one, and it must not confirm anything. Other line ends and
/// tabs become spaces.
pub fn one_line(text: &str) -> (String, usize) {
    let text = line_ends(text);
    let mut dropped = 0;
    let line = text.trim_end_matches('\n').chars().filter_map(|c| match c {
        '\n' | '\t' => Some(' '),
        c if c.is_control() => {
            dropped += 1;
            None
        }
        c => Some(c),
    });
    let line = line.collect();
    (line, dropped)
}

/// Whether sanitised text keeps its line ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    One,
    Several,
}

fn sanitise(text: &str, lines: Lines) -> Cow<'_, str> {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b) || (lines == Lines::Several && b == b'\n')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    // The base character of marks, and the number of marks on it.
    let (mut base, mut marks) = (None, 0);
    while let Some(c) = chars.next() {
        if is_mark(c) && !is_hidden(c) {
            marks += 1;
            // A mark without a base would combine with the text before.
            if base.is_some() && marks <= MOST_MARKS {
                out.push(c)
            } else {
                push_escape(&mut out, c)
            }
            continue;
        }
        let was = base;
        base = None;
        match c {
            '\n' if lines == Lines::Several => out.push('\n'),
            '\r' if lines == Lines::Several && chars.peek() == Some(&'\n') => {}
            '\t' if lines == Lines::Several => out.push_str("    "),
            // The emoji presentation selector is normal after a symbol.
            '\u{fe0f}' if was.is_some_and(is_symbol) => {
                out.push(c);
                // A mark can follow it, as in keycaps.
                base = Some(c);
            }
            _ if is_hidden(c) => push_escape(&mut out, c),
            _ => {
                out.push(c);
                base = Some(c);
            }
        }
        marks = 0;
    }
    Cow::Owned(out)
}

fn push_escape(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
        c => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
    }
}

/// Returns whether a character controls, reorders or hides text, or is displayed differently on each machine.
///
/// Decided by Unicode general category: controls, format characters (bidirectional marks and overrides, zero-width
/// characters, tags), line and paragraph separators, private use, unassigned; also blank or invisible characters of
/// other categories (`Default_Ignorable_Code_Point`: fillers, selectors; the object replacement character).
///
/// Spaces of any width and U+2800, the blank Braille pattern, are not hidden: they occupy a cell.
pub fn is_hidden(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned};
    match c {
        ' '..='~' => false,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' => {
            true
        }
        '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{16fe4}' | '\u{1bc9d}' | '\u{e0000}'..='\u{e0fff}' => true,
        c => matches!(get_general_category(c), Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned),
    }
}

/// Returns whether a character combines with the one before: a mark of any kind, or another character without a width
/// of its own, such as a vowel of a Hangul syllable.
fn is_mark(c: char) -> bool {
    use GeneralCategory::{EnclosingMark, NonspacingMark, SpacingMark};
    if c < '\u{300}' {
        return false;
    }
    matches!(get_general_category(c), NonspacingMark | EnclosingMark | SpacingMark) || c.width() == Some(0)
}

fn is_symbol(c: char) -> bool {
    matches!(c as u32, 0x203c..=0x3299 | 0x1f000..=0x1faff | 0x23 | 0x2a | 0x30..=0x39 | 0xa9 | 0xae)
}

/// Cuts `text` in the middle to at most `width` cells, since names often differ at the end.
pub fn middle(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    if width <= 1 {
        return Cow::Borrowed(if width == 1 { "…" } else { "" });
    }
    let (head, tail) = ((width - 1) / 2, width / 2);
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > head {
            break;
        }
        out.push(c);
    }
    out.push('…');
    let mut rest = Vec::new();
    used = 0;
    for c in text.chars().rev() {
        used += c.width().unwrap_or(0);
        if used > tail {
            break;
        }
        rest.push(c);
    }
    out.extend(rest.into_iter().rev());
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_hidden_characters_are_escaped() {
        for c in (0..=0x10ffffu32).filter_map(char::from_u32) {
            let text = String::from_iter(['a', c, 'b']);
            let shown = visible(&text);
            assert!(!shown.contains('\n'));
            for shown in [shown, visible_lines(&text)] {
                let bad = shown.chars().find(|c| is_hidden(*c) && *c != '\n');
                assert_eq!(bad, None, "{:x}", c as u32);
            }
        }
    }

    #[test]
    fn hidden_characters_become_readable() {
        assert_eq!(visible("\x1b[2J\u{9b}m\u{202e}x\r\n"), r"\x1b[2J\x9bm\u{202e}x\r\n");
        assert_eq!(visible_lines("a\r\nb\tc\rd"), "a\nb    c\\rd");
        assert_eq!(visible("grün 日本 ✔️"), "grün 日本 ✔️");
        assert_eq!(visible("x\u{fe0f}\u{e0041}"), r"x\u{fe0f}\u{e0041}");
        assert!(visible(&format!("e{}", "\u{301}".repeat(50))).contains("\\u{301}"));
    }

    #[test]
    fn a_paste_becomes_one_line() {
        for (text, line, dropped) in [
            ("a\n", "a", 0),
            ("a\r\n\r\n", "a", 0),
            ("a\rb\r\nc\td", "a b c d", 0),
            ("a\0b\x1b[A\u{9b}c\n", "ab[Ac", 3),
            ("\n", "", 0),
            ("  $.a ", "  $.a ", 0),
        ] {
            assert_eq!(one_line(text), (line.to_owned(), dropped), "{text:?}");
        }
        assert_eq!(line_ends("a\r\nb\rc\n\r"), "a\nb\nc\n\n");
    }

    #[test]
    fn invisible_characters_of_every_block_are_escaped() {
        // Prepended Arabic numbers, Duployan and Egyptian format characters, musical and annotation controls, tags, fillers,
        // selectors, private use, noncharacters, unassigned.
        for c in "\u{600}\u{605}\u{6dd}\u{70f}\u{8e2}\u{ad}\u{110bd}\u{1bca0}\u{1bca3}\u{13430}\u{13438}\u{1d173}\u{fff9}\u{fffc}\u{e0001}\u{e007f}\u{115f}\u{3164}\u{ffa0}\u{180b}\u{fe0e}\u{e0100}\u{e000}\u{f8ff}\u{10fffd}\u{ffff}\u{fdd0}\u{10ffff}\u{378}\u{2065}\u{2028}\u{2029}\u{200d}\u{202e}\u{2066}\u{feff}\u{16fe4}"
            .chars()
        {
            let shown = visible(&format!("a{c}b")).into_owned();
            assert!(!shown.contains(c) && shown.contains('\\'), "{:x}: {shown}", c as u32);
        }
        for text in ["a\u{a0}b\u{3000}c\u{2800}d", "ñ ﷽ ภาษาไทย עִבְרִית हिन्दी 한국어 ᄒ\u{1161}\u{11ab} 1\u{fe0f}\u{20e3}", "日本 👍🏽 🇩🇪"]
        {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn marks_do_not_pile_up_on_any_script() {
        for mark in "\u{301}\u{e31}\u{5b0}\u{64b}\u{1b6b}\u{a8e0}\u{20dd}\u{1e000}\u{93e}\u{1161}\u{11a8}".chars() {
            let shown = visible(&format!("x{}y", mark.to_string().repeat(3000))).into_owned();
            assert_eq!(shown.matches(mark).count(), MOST_MARKS, "{:x}", mark as u32);
            let escape = format!("\\u{{{:x}}}", mark as u32);
            assert_eq!(shown.matches(&escape).count(), 3000 - MOST_MARKS, "none is lost");
        }
        // On an escape, or at the beginning of the text, no mark is drawn.
        assert_eq!(visible("\u{301}a"), r"\u{301}a");
        assert_eq!(visible("\x1b\u{301}"), r"\x1b\u{301}");
        assert_eq!(visible_lines("a\n\u{301}"), "a\n\\u{301}");
    }

    #[test]
    fn names_are_cut_in_the_middle() {
        assert_eq!(middle("database_create_user", 11), "datab…_user");
        assert_eq!(middle("日本語日本語", 7), "日…語");
        assert_eq!(middle("abc", 0), "");
    }
}
