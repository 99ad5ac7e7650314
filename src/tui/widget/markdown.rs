//! Markdown as rich text: headings, emphasis, code, lists, quotes, links and tables of CommonMark and GFM, line by line.
//!
//! Line ends of the source stay, because descriptions of tools rely on them. Whatever is not understood is shown as written.

use unicode_width::UnicodeWidthStr;

use super::rich_text::{Line, Role};

/// The cells of a horizontal rule.
const RULE: usize = 24;
/// The longest line that is read as Markdown, in bytes. Longer ones are shown in pieces, so that a frame never wraps more.
const LONGEST: usize = 4096;
/// The bytes in which [`is_markdown`] looks for marks.
const LOOKED_AT: usize = 64 << 10;

/// Returns whether a text has at least two kinds of Markdown marks: one alone is also frequent in code and logs.
pub fn is_markdown(text: &str) -> bool {
    let mut end = LOOKED_AT.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (mut kinds, mut bullets) = ([false; 6], 0);
    for line in text[..end].lines() {
        let bare = line.trim_start();
        kinds[0] |= heading(bare).is_some();
        kinds[1] |= bare.starts_with("```");
        bullets += usize::from(bullet(bare).is_some());
        kinds[2] |= bullets >= 2;
        kinds[3] |= is_separator(bare);
        kinds[4] |= bare.find("](").is_some_and(|at| bare[..at].contains('[') && bare[at..].contains(')'));
        kinds[5] |= bare.matches("**").count() >= 2;
    }
    kinds.iter().filter(|kind| **kind).count() >= 2
}

/// Returns the lines of a Markdown text.
pub fn lines(source: &str) -> Vec<Line> {
    let all: Vec<&str> = source.lines().collect();
    let (mut out, mut at) = (Vec::with_capacity(all.len()), 0);
    while let Some(line) = all.get(at) {
        let bare = line.trim_start();
        at += 1;
        if line.len() > LONGEST {
            out.extend(pieces(line).map(|piece| Line::new(piece, Role::Text)));
            continue;
        }
        if let Some(fence) = fence(bare) {
            let closed = |line: &&str| line.trim() == fence;
            let code = all[at..].iter().take_while(|line| !closed(line));
            let mut taken = 0;
            for line in code {
                taken += 1;
                out.extend(pieces(line).map(|piece| Line::new("  ", Role::Muted).with(piece, Role::Code).hanging(4)));
            }
            at += taken + 1;
            continue;
        }
        let table =
            if bare.contains('|') && all.get(at).is_some_and(|next| is_separator(next.trim())) { table(&all[at - 1..]) } else { None };
        if let Some((rows, used)) = table {
            out.extend(rows);
            at += used - 1;
            continue;
        }
        if let Some(underline) = all.get(at).map(|next| next.trim_end())
            && !bare.is_empty()
            && !bare.starts_with('>')
            && underline.len() >= 3
            && (underline.bytes().all(|b| b == b'=') || underline.bytes().all(|b| b == b'-'))
            && heading(bare).is_none()
            && bullet(bare).is_none()
        {
            out.push(Line::default().with_all(inline(bare, Role::Heading)));
            at += 1;
            continue;
        }
        out.push(block(line));
    }
    out
}

/// Splits a line into pieces of at most [`LONGEST`] bytes; an empty line is one piece.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let mut end = LONGEST.min(line.len());
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        rest = Some(&line[end..]).filter(|rest| !rest.is_empty());
        Some(&line[..end])
    })
}

/// Returns the line of a block that is one line.
fn block(line: &str) -> Line {
    let bare = line.trim_start();
    let indent = line.len() - bare.len();
    let margin = " ".repeat(indent.min(24));
    if let Some(text) = heading(bare) {
        return Line::default().with_all(inline(text, Role::Heading));
    }
    if is_rule(bare) {
        return Line::new("─".repeat(RULE), Role::Muted);
    }
    if let Some(text) = bare.strip_prefix('>') {
        return Line::new(format!("{margin}│ "), Role::Muted)
            .with_all(inline(text.trim_start(), Role::Emphasis))
            .hanging(indent as u16 + 2);
    }
    if let Some((mark, text)) = bullet(bare) {
        let hang = (margin.width() + mark.width()) as u16;
        return Line::new(format!("{margin}{mark}"), Role::Muted).with_all(inline(text, Role::Text)).hanging(hang);
    }
    Line::new(margin.clone(), Role::Text).with_all(inline(bare, Role::Text)).hanging(margin.len() as u16)
}

/// Returns the text of an ATX heading.
fn heading(line: &str) -> Option<&str> {
    let level = line.bytes().take_while(|b| *b == b'#').count();
    let text = line.get(level..).filter(|_| (1..=6).contains(&level))?;
    text.strip_prefix(' ').map(|text| text.trim_end_matches('#').trim())
}

/// Returns the closing line of the fenced code that this line opens.
fn fence(line: &str) -> Option<&str> {
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.chars().take_while(|c| *c == mark).count();
    (length >= 3 && !line[length..].contains('`')).then(|| &line[..length])
}

/// Returns the mark of a list item as it is shown, and its text.
fn bullet(line: &str) -> Option<(String, &str)> {
    let after = |mark: char| line.strip_prefix(mark).and_then(|rest| rest.strip_prefix(' '));
    if let Some(text) = ['-', '*', '+'].into_iter().find_map(after) {
        return Some(match text.get(..4) {
            Some("[ ] ") => ("☐ ".to_owned(), &text[4..]),
            Some("[x] " | "[X] ") => ("☑ ".to_owned(), &text[4..]),
            _ => ("• ".to_owned(), text.trim_start()),
        });
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let text = line.get(digits..).filter(|_| (1..=9).contains(&digits))?.strip_prefix(['.', ')'])?.strip_prefix(' ')?;
    Some((line[..digits + 2].to_owned(), text.trim_start()))
}

fn is_rule(line: &str) -> bool {
    let marks: Vec<char> = line.chars().filter(|c| *c != ' ').collect();
    marks.len() >= 3 && ['-', '*', '_'].iter().any(|mark| marks.iter().all(|c| c == mark))
}

/// Returns whether a line separates the head of a table from its rows.
fn is_separator(line: &str) -> bool {
    line.contains('|') && line.contains('-') && line.bytes().all(|b| matches!(b, b'|' | b'-' | b':' | b' '))
}

/// Returns the cells of a row of a table.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim();
    let line = line.strip_prefix('|').unwrap_or(line);
    let line = line.strip_suffix('|').filter(|rest| !rest.ends_with('\\')).unwrap_or(line);
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for c in line.chars() {
        match c {
            '|' if !escaped => cells.push(String::new()),
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            _ => {
                if let Some(cell) = cells.last_mut() {
                    if escaped && c != '|' {
                        cell.push('\\');
                    }
                    cell.push(c);
                }
            }
        }
        escaped = false;
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

/// Returns the rows of a table at the start of these lines, in aligned columns, and the number of lines that it has.
fn table(all: &[&str]) -> Option<(Vec<Line>, usize)> {
    let head = cells(all.first()?);
    let used = 2 + all[2..].iter().take_while(|line| line.contains('|') && line.len() <= LONGEST).count();
    let body = all[2..used].iter().map(|line| cells(line));
    let rows: Vec<Vec<Vec<(String, Role)>>> = std::iter::once(head)
        .chain(body)
        .enumerate()
        .map(|(row, cells)| cells.iter().map(|cell| inline(cell, if row == 0 { Role::Strong } else { Role::Text })).collect())
        .collect();
    let wide = |cell: &Vec<(String, Role)>| cell.iter().map(|(text, _)| text.width()).sum::<usize>();
    let columns = rows.iter().map(Vec::len).max()?;
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().filter_map(|row| row.get(column)).map(wide).max().unwrap_or(0)).collect();
    let mut lines = Vec::with_capacity(rows.len() + 1);
    for (number, row) in rows.into_iter().enumerate() {
        let mut line = Line::default();
        for (column, cell) in row.into_iter().enumerate() {
            if column > 0 {
                line = line.with(" │ ", Role::Muted);
            }
            let pad = widths[column] - wide(&cell);
            line = line.with_all(cell).with(" ".repeat(pad), Role::Text);
        }
        lines.push(line.hanging(2));
        if number == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
            lines.push(Line::new(rule.join("─┼─"), Role::Muted));
        }
    }
    Some((lines, used))
}

/// Returns the spans of a text with code, emphasis and links.
fn inline(text: &str, base: Role) -> Vec<(String, Role)> {
    let mut spans: Vec<(String, Role)> = vec![];
    let mut plain = String::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let before = text[..at].chars().next_back();
        match span(rest, before, base) {
            Some((found, used)) => {
                if !plain.is_empty() {
                    spans.push((std::mem::take(&mut plain), base));
                }
                spans.extend(found);
                at += used;
            }
            None => {
                let c = rest.chars().next().unwrap_or_default();
                let next = rest[c.len_utf8()..].chars().next();
                match next {
                    Some(next) if c == '\\' && next.is_ascii_punctuation() => {
                        plain.push(next);
                        at += 1 + next.len_utf8();
                    }
                    _ => {
                        plain.push(c);
                        at += c.len_utf8();
                    }
                }
            }
        }
    }
    if !plain.is_empty() {
        spans.push((plain, base));
    }
    spans
}

/// Returns the spans of the mark at the start of a text, and the bytes that it takes.
fn span(rest: &str, before: Option<char>, base: Role) -> Option<(Vec<(String, Role)>, usize)> {
    match rest.as_bytes()[0] {
        b'`' => {
            let ticks = rest.bytes().take_while(|b| *b == b'`').count();
            let end = rest[ticks..].find(&rest[..ticks])?;
            Some((vec![(rest[ticks..ticks + end].to_owned(), Role::Code)], end + 2 * ticks))
        }
        mark @ (b'*' | b'_') => {
            // An underscore within a word is part of a name.
            if mark == b'_' && before.is_some_and(char::is_alphanumeric) {
                return None;
            }
            let length = rest.bytes().take_while(|b| *b == mark).count().min(2);
            let (marks, inner) = rest.split_at(length);
            let end = inner.find(marks).filter(|end| *end > 0)?;
            let after = inner[end + length..].chars().next();
            let word = inner.starts_with(char::is_whitespace) || inner[..end].ends_with(char::is_whitespace);
            if word || mark == b'_' && after.is_some_and(char::is_alphanumeric) {
                return None;
            }
            let role = match (base, length) {
                (Role::Heading, _) => base,
                (_, 2) => Role::Strong,
                _ => Role::Emphasis,
            };
            Some((inline(&inner[..end], role), end + 2 * length))
        }
        b'!' if rest.starts_with("![") => {
            let (spans, used) = link(&rest[1..])?;
            Some(([("image: ".to_owned(), Role::Muted)].into_iter().chain(spans).collect(), used + 1))
        }
        b'[' => link(rest),
        b'<' if rest.starts_with("<http") => {
            let end = rest.find('>')?;
            Some((vec![(rest[1..end].to_owned(), Role::Link)], end + 1))
        }
        _ => None,
    }
}

/// Returns the spans of `[text](url)`.
fn link(rest: &str) -> Option<(Vec<(String, Role)>, usize)> {
    let middle = rest.find("](")?;
    let text = &rest[1..middle];
    let end = rest[middle..].find(')')? + middle;
    if text.contains('[') || text.contains('\n') {
        return None;
    }
    let url = &rest[middle + 2..end];
    let mut spans = vec![(text.to_owned(), Role::Link)];
    if url != text && !url.is_empty() {
        spans.push((format!(" ({url})"), Role::Muted));
    }
    Some((spans, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(source: &str) -> Vec<String> {
        lines(source).iter().map(Line::text).collect()
    }

    #[test]
    fn blocks_are_shown_without_their_marks() {
        let shown =
            texts("# Title #\n\nSome *markdown* and `code`.\n- one\n  * two\n1. three\n- [x] done\n> quote\n---\nUnder\n=====\nlast");
        assert_eq!(
            shown,
            ["Title", "", "Some markdown and code.", "• one", "  • two", "1. three", "☑ done", "│ quote", &"─".repeat(24), "Under", "last"]
        );
    }

    #[test]
    fn code_and_names_stay_as_written() {
        assert_eq!(
            texts("```rust\n# not a heading\n  *x*\n```\nsnake_case_name and 2 * 3 * 4"),
            ["  # not a heading", "    *x*", "snake_case_name and 2 * 3 * 4"]
        );
        assert_eq!(texts("~~~\nnever closed"), ["  never closed"]);
        assert_eq!(texts(r"a \*b\* [text](http://a) ![pic](p.png) <https://b>"), ["a *b* text (http://a) image: pic (p.png) https://b"]);
    }

    #[test]
    fn tables_have_aligned_columns() {
        assert_eq!(
            texts("| a | long |\n|---|:-:|\n| one | `2` |\n| x \\| y |\nend"),
            ["a     │ long", "──────┼─────", "one   │ 2   ", "x | y", "end"]
        );
    }

    #[test]
    fn long_lines_are_shown_in_pieces() {
        let long = "é".repeat(5000);
        let shown = texts(&format!("{long}\n```\n{long}\n\n```\nend"));
        assert_eq!(shown.len(), 3 + 3 + 1 + 1);
        assert_eq!(shown[..3].concat(), long);
        assert!(shown.iter().all(|line| line.len() <= LONGEST + 2) && shown[7] == "end");
    }

    #[test]
    fn one_kind_of_mark_is_not_enough() {
        assert!(is_markdown("# Title\n\nText with **bold** words"));
        assert!(is_markdown("| a | b |\n|---|---|\n\nsee [x](y)"));
        for code in ["# comment\nx = 1\n# another", "- a\n- b", "plain text", "def f(**a, **b): pass", ""] {
            assert!(!is_markdown(code), "{code}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_shown(source in "[-a日*_`#|\\[\\]()!<>~ \\n0-9.\\\\]{0,80}") {
            let shown = texts(&source);
            prop_assert!(shown.len() <= source.lines().count() + 40);
            let letters = |text: &str| text.matches('日').count();
            if !source.contains("](") && !source.contains("```") && !source.contains("~~~") {
                prop_assert_eq!(letters(&shown.concat()), letters(&source));
            }
        }
    }
}
