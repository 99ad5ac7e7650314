//! Parses the output of a program to its terminal: text, and every control sequence.

use std::collections::BTreeMap;

/// A piece of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Characters to show.
    Text(String),
    /// A control character other than Escape.
    Control(char),
    /// `ESC [` with its parameters and its last character.
    Csi(String, char),
    /// `ESC ]` up to its end.
    Osc(String),
    /// `ESC P`, `ESC X`, `ESC ^` or `ESC _` up to its end.
    Blob(String),
    /// Any other escape.
    Escape(String),
}

/// Splits a stream into pieces. An unfinished sequence is dropped.
pub fn pieces(bytes: &[u8]) -> Vec<Piece> {
    let text = String::from_utf8_lossy(bytes);
    let mut chars = text.chars().peekable();
    let mut out = vec![];
    let mut plain = String::new();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' && !c.is_control() {
            plain.push(c);
            continue;
        }
        if !plain.is_empty() {
            out.push(Piece::Text(std::mem::take(&mut plain)));
        }
        if c != '\u{1b}' {
            out.push(Piece::Control(c));
            continue;
        }
        match chars.next() {
            None => return out,
            Some('[') => {
                let mut parameters = String::new();
                loop {
                    match chars.next() {
                        None => return out,
                        Some(last @ '\u{40}'..='\u{7e}') => break out.push(Piece::Csi(parameters, last)),
                        Some(c) => parameters.push(c),
                    }
                }
            }
            Some(kind @ (']' | 'P' | 'X' | '^' | '_')) => {
                let mut body = String::new();
                loop {
                    match chars.next() {
                        None => return out,
                        Some('\u{7}') => break,
                        Some('\u{1b}') if chars.next_if_eq(&'\\').is_some() => break,
                        Some(c) => body.push(c),
                    }
                }
                out.push(if kind == ']' { Piece::Osc(body) } else { Piece::Blob(body) });
            }
            Some(c @ (' '..='/')) => {
                let next = chars.next();
                out.push(Piece::Escape([c].into_iter().chain(next).collect()));
            }
            Some(c) => out.push(Piece::Escape(c.to_string())),
        }
    }
    if !plain.is_empty() {
        out.push(Piece::Text(plain));
    }
    out
}

/// Returns the modes that a stream leaves on that were off before it, or off that were on; empty if all are restored.
pub fn left_behind(bytes: &[u8]) -> Vec<String> {
    let mut modes: BTreeMap<String, bool> = BTreeMap::new();
    let (mut keyboard, mut titles, mut attributes) = (0i64, 0i64, false);
    for piece in pieces(bytes) {
        let Piece::Csi(parameters, last) = piece else { continue };
        match (parameters.as_str(), last) {
            (modes_of, 'h' | 'l') if modes_of.starts_with('?') => {
                for mode in modes_of[1..].split(';') {
                    modes.insert(mode.to_owned(), last == 'h');
                }
            }
            (flags, 'u') if flags.starts_with('>') => keyboard += 1,
            (count, 'u') if count.starts_with('<') => keyboard -= count[1..].parse::<i64>().unwrap_or(1),
            ("22;0", 't') => titles += 1,
            ("23;0", 't') => titles -= 1,
            ("" | "0", 'm') => attributes = false,
            (_, 'm') => attributes = true,
            _ => {}
        }
    }
    // On by default in a terminal: wrapping and the cursor.
    let odd = modes.into_iter().filter(|(mode, on)| *on != matches!(mode.as_str(), "7" | "25"));
    let mut left: Vec<String> = odd.map(|(mode, on)| format!("mode {mode} {}", if on { "on" } else { "off" })).collect();
    left.extend((keyboard != 0).then(|| format!("{keyboard} keyboard modes")));
    left.extend((titles != 0).then(|| format!("{titles} titles")));
    left.extend(attributes.then(|| "colours".to_owned()));
    left
}

#[test]
fn streams_are_parsed() {
    let text = |t: &str| Piece::Text(t.into());
    let got = pieces("ab\x1b[?25l\x1b]0;title\x07c\x1b]2;x\x1b\\\x1b(B\x1bPq\x1b\\\r\u{9b}é\x1b[1".as_bytes());
    let wanted = [
        text("ab"),
        Piece::Csi("?25".into(), 'l'),
        Piece::Osc("0;title".into()),
        text("c"),
        Piece::Osc("2;x".into()),
        Piece::Escape("(B".into()),
        Piece::Blob("q".into()),
        Piece::Control('\r'),
        Piece::Control('\u{9b}'),
        text("é"),
    ];
    assert_eq!(got, wanted);
}

#[test]
fn what_is_left_behind_is_found() {
    let whole = b"\x1b[22;0t\x1b[?1049h\x1b[?2004;25l\x1b[?2004h\x1b[>1u\x1b[1m";
    assert_eq!(left_behind(whole), ["mode 1049 on", "mode 2004 on", "mode 25 off", "1 keyboard modes", "1 titles", "colours"]);
    assert_eq!(left_behind(b"\x1b[?1049h\x1b[?25l\x1b[>1u\x1b[31mx\x1b[m\x1b[<1u\x1b[?25h\x1b[?1049l"), Vec::<String>::new());
}
