//! Text from servers made harmless: what could control a terminal or hide is shown as visible text.
//!
//! Every sink (pane, dialog, title, headless output, log) passes server text through here; ratatui's
//! own filtering is no substitute, since it drops such characters silently.

use std::borrow::Cow;

/// How many combining characters may follow one another before the rest is shown as text.
const COMBINING_RUN: usize = 4;

/// One line of harmless text: line ends and tabs become visible too (`\n`, `\t`).
pub fn visible(text: &str) -> Cow<'_, str> {
    sanitise(text, false)
}

/// Harmless text of several lines: `\n` stays, `\r\n` becomes `\n`, tabs become four spaces.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    sanitise(text, true)
}

/// Text with `\r\n` and `\r` as `\n`. Terminals send a carriage return for each line end of a paste.
pub fn line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { Cow::Borrowed(text) }
}

/// Pasted text as one line, and how many control characters were left out of it.
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

fn sanitise(text: &str, lines: bool) -> Cow<'_, str> {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b) || (lines && b == b'\n')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    let mut combining = 0;
    let mut previous = ' ';
    while let Some(c) = chars.next() {
        match c {
            '\n' if lines => out.push('\n'),
            '\r' if lines && chars.peek() == Some(&'\n') => {}
            '\t' if lines => out.push_str("    "),
            _ if is_combining(c) => {
                combining += 1;
                if combining > COMBINING_RUN {
                    push_escape(&mut out, c)
                } else {
                    out.push(c)
                }
                continue;
            }
            // The emoji presentation selector is ordinary after a symbol.
            '\u{fe0f}' if is_symbol(previous) => out.push(c),
            _ if is_hidden(c) => push_escape(&mut out, c),
            _ => out.push(c),
        }
        combining = 0;
        previous = c;
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

/// Whether a character controls, reorders or hides: C0, C1, DEL, bidirectional marks and overrides,
/// zero-width characters, fillers, tags, selectors, line and paragraph separators, interlinear marks.
pub fn is_hidden(c: char) -> bool {
    matches!(c as u32,
        0x00..=0x1f | 0x7f..=0x9f
        | 0xad | 0x034f | 0x061c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f
        | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
        | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb
        | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
}

fn is_combining(c: char) -> bool {
    matches!(c as u32, 0x0300..=0x034e | 0x0350..=0x036f | 0x0483..=0x0489 | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe20..=0xfe2f)
}

fn is_symbol(c: char) -> bool {
    matches!(c as u32, 0x203c..=0x3299 | 0x1f000..=0x1faff | 0x23 | 0x2a | 0x30..=0x39 | 0xa9 | 0xae)
}

/// Cuts `text` in the middle so that it is at most `width` cells wide: names often differ at the end.
pub fn middle(text: &str, width: usize) -> Cow<'_, str> {
    use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
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
    fn nothing_that_controls_or_hides_gets_through() {
        for c in (0..=0x10ffffu32).filter_map(char::from_u32) {
            let text = format!("a{c}b");
            for shown in [visible(&text), visible_lines(&text)] {
                let bad = shown.chars().find(|c| is_hidden(*c) && *c != '\n');
                assert_eq!(bad, None, "{:x}", c as u32);
            }
            assert!(!visible(&text).contains('\n'));
        }
    }

    #[test]
    fn what_was_hidden_can_be_read() {
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
    fn names_are_cut_in_the_middle() {
        assert_eq!(middle("database_create_user", 11), "datab…_user");
        assert_eq!(middle("日本語日本語", 7), "日…語");
        assert_eq!(middle("abc", 0), "");
    }
}
