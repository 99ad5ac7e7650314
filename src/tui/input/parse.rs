//! Parses the bytes of a terminal into keys, mouse events and pastes. Pure.
//!
//! Follows the xterm control sequences (ctlseqs), with SGR mouse reports (mode 1006) and bracketed
//! paste (mode 2004), and the replies to the query for graphics. Unknown sequences are skipped, never shown as text.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use memchr::memmem;

use super::Input;
use crate::{domain::text::line_ends, tui::graphics::TerminalReply};

/// The longest accepted paste, in bytes. A longer one is refused completely: half of a text is wrong data.
pub const PASTE_LIMIT: usize = 4 << 20;
/// The most bytes that are held back after the end of a paste.
const HELD_LIMIT: usize = 256 << 10;
/// The longest control sequence that is waited for.
const SEQUENCE_LIMIT: usize = 64;
/// The longest string of the terminal that is waited for: names of versions and messages of errors are longer than keys.
const STRING_LIMIT: usize = 1024;
const PASTE_START: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// A parser that keeps unfinished input between two reads.
#[derive(Debug, Default)]
pub struct Parser {
    pending: Vec<u8>,
    paste: Option<Paste>,
}

/// A paste in progress.
///
/// Some terminals do not remove the end mark from what they paste, so a copied text can contain it, followed by
/// keys. Bytes right after an end mark are therefore held back until the terminal is silent for a moment: a
/// second end mark shows that the first one was text.
#[derive(Debug, Default)]
struct Paste {
    text: Vec<u8>,
    /// Its length so far, including bytes over the limit.
    size: usize,
    /// Whether an end mark was read.
    ended: bool,
}

impl Paste {
    fn extend(&mut self, bytes: &[u8]) {
        self.size += bytes.len();
        let room = PASTE_LIMIT.saturating_sub(self.text.len());
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn input(self) -> Input {
        match self.size {
            ..=PASTE_LIMIT => Input::Paste(line_ends(&String::from_utf8_lossy(&self.text)).into_owned()),
            bytes => Input::PasteRefused { bytes },
        }
    }
}

enum Step {
    /// This many bytes were parsed into this input.
    Used(usize, Option<Input>),
    /// More bytes are needed to decide.
    More,
}

impl Parser {
    /// Parses bytes and appends the input to `out`.
    pub fn advance(&mut self, bytes: &[u8], out: &mut Vec<Input>) {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        while at < self.pending.len() {
            if let Some(paste) = &mut self.paste {
                let used = if paste.ended { after_end(paste, &self.pending[at..]) } else { within(paste, &self.pending[at..]) };
                at += match used {
                    Taken::Bytes(used) => used,
                    Taken::Whole => {
                        out.extend(self.paste.take().map(Paste::input));
                        0
                    }
                    Taken::More => break,
                };
                continue;
            }
            if self.pending[at..].starts_with(PASTE_START) {
                self.paste = Some(Paste::default());
                at += PASTE_START.len();
                continue;
            }
            match step(&self.pending[at..]) {
                Step::Used(used, input) => {
                    at += used;
                    out.extend(input);
                }
                Step::More if self.pending.len() - at > limit(&self.pending[at..]) => at += 1,
                Step::More => break,
            }
        }
        self.pending.drain(..at);
    }

    /// Returns whether a single escape, an unfinished sequence or the end of a paste waits for more bytes.
    pub fn waiting(&self) -> bool {
        self.paste.as_ref().map_or(!self.pending.is_empty(), |paste| paste.ended)
    }

    /// Handles the timeout: a paste is complete; a single escape is the Esc key; other unfinished input is dropped.
    pub fn settle(&mut self, out: &mut Vec<Input>) {
        if let Some(paste) = self.paste.take_if(|paste| paste.ended) {
            out.push(paste.input());
            self.advance(&[], out);
        }
        if self.paste.is_none() {
            match self.pending.as_slice() {
                [0x1b] => out.push(key(KeyCode::Esc, KeyModifiers::NONE)),
                [0x1b, 0x1b] => out.extend([key(KeyCode::Esc, KeyModifiers::NONE), key(KeyCode::Esc, KeyModifiers::NONE)]),
                [0x1b, c] => out.push(key(KeyCode::Char(char::from(*c)), KeyModifiers::ALT)),
                _ => {}
            }
            self.pending.clear();
        }
    }
}

/// What happened to the bytes of a paste.
enum Taken {
    /// This many were consumed.
    Bytes(usize),
    /// The paste is complete, and these bytes follow it.
    Whole,
    /// More bytes are needed.
    More,
}

/// Moves bytes into a paste up to its end mark.
fn within(paste: &mut Paste, rest: &[u8]) -> Taken {
    if let Some(end) = memmem::find(rest, PASTE_END) {
        paste.extend(&rest[..end]);
        paste.ended = true;
        return Taken::Bytes(end + PASTE_END.len());
    }
    // A beginning of the end mark stays for the next read.
    let kept = (1..PASTE_END.len()).rev().find(|n| rest.ends_with(&PASTE_END[..*n])).unwrap_or(0);
    let used = rest.len() - kept;
    paste.extend(&rest[..used]);
    if used > 0 { Taken::Bytes(used) } else { Taken::More }
}

/// Examines the bytes after an end mark: up to another end mark, all of them are text.
fn after_end(paste: &mut Paste, rest: &[u8]) -> Taken {
    match (memmem::find(rest, PASTE_END), memmem::find(rest, PASTE_START)) {
        (Some(end), start) if start.is_none_or(|start| end < start) => {
            paste.extend(PASTE_END);
            paste.extend(&rest[..end]);
            Taken::Bytes(end + PASTE_END.len())
        }
        (_, Some(_)) => Taken::Whole,
        _ if rest.len() > HELD_LIMIT => Taken::Whole,
        _ => Taken::More,
    }
}

/// Returns how many bytes of an unfinished sequence are waited for.
fn limit(pending: &[u8]) -> usize {
    if matches!(pending, [0x1b, b']' | b'P' | b'_' | b'^', ..]) { STRING_LIMIT } else { SEQUENCE_LIMIT }
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Input {
    Input::Key(KeyEvent::new(code, modifiers))
}

fn step(bytes: &[u8]) -> Step {
    match bytes[0] {
        0x1b => escape(bytes),
        _ => character(bytes, KeyModifiers::NONE),
    }
}

/// Parses one character or control byte.
fn character(bytes: &[u8], modifiers: KeyModifiers) -> Step {
    let plain = |code| Step::Used(1, Some(key(code, modifiers)));
    match bytes[0] {
        b'\r' | b'\n' => plain(KeyCode::Enter),
        b'\t' => plain(KeyCode::Tab),
        0x7f | 0x08 => plain(KeyCode::Backspace),
        0x00 => Step::Used(1, Some(key(KeyCode::Char(' '), modifiers | KeyModifiers::CONTROL))),
        c @ 0x01..=0x1a => Step::Used(1, Some(key(KeyCode::Char(char::from(c - 1 + b'a')), modifiers | KeyModifiers::CONTROL))),
        c @ 0x1c..=0x1f => Step::Used(1, Some(key(KeyCode::Char(char::from(c - 0x1c + b'4')), modifiers | KeyModifiers::CONTROL))),
        c if c < 0x80 => letter(char::from(c), 1, modifiers),
        c => {
            let len = match c {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => return Step::Used(1, None),
            };
            match bytes.get(..len).map(std::str::from_utf8) {
                Some(Ok(text)) => text.chars().next().map_or(Step::Used(1, None), |c| letter(c, len, modifiers)),
                Some(Err(_)) => Step::Used(1, None),
                None => Step::More,
            }
        }
    }
}

fn letter(c: char, len: usize, modifiers: KeyModifiers) -> Step {
    let shift = if c.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
    Step::Used(len, Some(key(KeyCode::Char(c), modifiers | shift)))
}

fn escape(bytes: &[u8]) -> Step {
    match bytes.get(1) {
        None => Step::More,
        Some(b'[') => control_sequence(bytes),
        Some(b'O') => match bytes.get(2) {
            None => Step::More,
            Some(c) => Step::Used(3, ss3(*c).map(|code| key(code, KeyModifiers::NONE))),
        },
        // Strings of the terminal: replies to queries.
        Some(b']' | b'P' | b'_' | b'^') => terminal_string(bytes),
        Some(0x1b) => match bytes.get(2) {
            // Alt with a key that is itself a sequence.
            Some(b'[' | b'O') => match escape(&bytes[1..]) {
                Step::Used(used, Some(Input::Key(k))) => {
                    Step::Used(used + 1, Some(Input::Key(KeyEvent::new(k.code, k.modifiers | KeyModifiers::ALT))))
                }
                Step::Used(used, other) => Step::Used(used + 1, other),
                Step::More => Step::More,
            },
            None => Step::More,
            Some(_) => Step::Used(1, Some(key(KeyCode::Esc, KeyModifiers::NONE))),
        },
        Some(_) => match character(&bytes[1..], KeyModifiers::ALT) {
            Step::Used(used, input) => Step::Used(used + 1, input),
            Step::More => Step::More,
        },
    }
}

fn ss3(c: u8) -> Option<KeyCode> {
    Some(match c {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'H' => KeyCode::Home,
        b'F' => KeyCode::End,
        b'M' => KeyCode::Enter,
        b'P'..=b'S' => KeyCode::F(c - b'P' + 1),
        _ => return None,
    })
}

fn terminal_string(bytes: &[u8]) -> Step {
    let bell = memchr::memchr(0x07, bytes);
    let end = memmem::find(&bytes[2..], b"\x1b\\").map(|end| end + 2);
    match (bell, end) {
        (Some(bell), end) if end.is_none_or(|end| bell < end) => Step::Used(bell + 1, string_reply(bytes[1], &bytes[2..bell])),
        (_, Some(end)) => Step::Used(end + 2, string_reply(bytes[1], &bytes[2..end])),
        (_, None) => Step::More,
    }
}

/// Returns the reply in a string: `_Gi=…;OK` of kitty graphics, `P>|…` of XTVERSION.
fn string_reply(kind: u8, text: &[u8]) -> Option<Input> {
    match kind {
        b'_' if text.starts_with(b"G") && text.ends_with(b";OK") => Some(Input::Reply(TerminalReply::Kitty)),
        b'P' => Some(Input::Reply(TerminalReply::Version(String::from_utf8_lossy(text.strip_prefix(b">|")?).into_owned()))),
        _ => None,
    }
}

/// Returns the reply in a control sequence: `CSI ? … c` of DA1, `CSI 6 ; height ; width t` of XTWINOPS.
fn sequence_reply(parameters: &[u8], last: u8) -> Option<TerminalReply> {
    match (last, parameters.strip_prefix(b"?")) {
        (b'c', Some(attributes)) => Some(TerminalReply::Attributes { sixel: numbers(attributes).contains(&4) }),
        (b't', None) => match numbers(parameters).as_slice() {
            [6, height, width] => Some(TerminalReply::CellSize(u16::try_from(*width).ok()?, u16::try_from(*height).ok()?)),
            _ => None,
        },
        _ => None,
    }
}

fn control_sequence(bytes: &[u8]) -> Step {
    if bytes.get(2) == Some(&b'[') {
        // The Linux console's function keys.
        return match bytes.get(3) {
            None => Step::More,
            Some(c @ b'A'..=b'E') => Step::Used(4, Some(key(KeyCode::F(c - b'A' + 1), KeyModifiers::NONE))),
            Some(_) => Step::Used(4, None),
        };
    }
    let Some(end) = bytes[2..].iter().position(|b| (0x40..=0x7e).contains(b)).map(|p| p + 2) else {
        return match bytes[2..].iter().position(|b| !(0x20..=0x3f).contains(b)) {
            Some(bad) => Step::Used(bad + 2, None),
            None => Step::More,
        };
    };
    let (parameters, last, used) = (&bytes[2..end], bytes[end], end + 1);
    if parameters.first() == Some(&b'<') {
        return Step::Used(used, mouse(&parameters[1..], last));
    }
    match sequence_reply(parameters, last) {
        Some(reply) => Step::Used(used, Some(Input::Reply(reply))),
        None => Step::Used(used, sequence_key(parameters, last)),
    }
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.split(|b| *b == b';').map(|part| std::str::from_utf8(part).ok().and_then(|t| t.parse().ok()).unwrap_or(0)).collect()
}

fn modifiers(code: u32) -> KeyModifiers {
    let bits = code.saturating_sub(1);
    let mut modifiers = KeyModifiers::NONE;
    for (bit, modifier) in [(1, KeyModifiers::SHIFT), (2, KeyModifiers::ALT), (4, KeyModifiers::CONTROL)] {
        if bits & bit != 0 {
            modifiers |= modifier;
        }
    }
    modifiers
}

fn sequence_key(parameters: &[u8], last: u8) -> Option<Input> {
    let numbers = numbers(parameters);
    let held = modifiers(numbers.get(1).copied().unwrap_or(1));
    let code = match last {
        b'Z' => return Some(key(KeyCode::BackTab, KeyModifiers::SHIFT)),
        b'~' => match numbers.first()? {
            1 | 7 => KeyCode::Home,
            2 => KeyCode::Insert,
            3 => KeyCode::Delete,
            4 | 8 => KeyCode::End,
            5 => KeyCode::PageUp,
            6 => KeyCode::PageDown,
            n @ 11..=15 => KeyCode::F((n - 10) as u8),
            n @ 17..=21 => KeyCode::F((n - 11) as u8),
            n @ 23..=24 => KeyCode::F((n - 12) as u8),
            _ => return None,
        },
        b'u' => match char::from_u32(*numbers.first()?)? {
            '\r' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\x1b' => KeyCode::Esc,
            '\x7f' => KeyCode::Backspace,
            c => KeyCode::Char(c),
        },
        c => ss3(c)?,
    };
    Some(key(code, held))
}

fn mouse(parameters: &[u8], last: u8) -> Option<Input> {
    let numbers = numbers(parameters);
    let [code, column, row] = numbers.as_slice() else { return None };
    let button = match code & 3 {
        0 => MouseButton::Left,
        1 => MouseButton::Middle,
        _ => MouseButton::Right,
    };
    let kind = match (code & 0b1110_0000, code & 3, last) {
        (64, 0, _) => MouseEventKind::ScrollUp,
        (64, 1, _) => MouseEventKind::ScrollDown,
        (64, 2, _) => MouseEventKind::ScrollLeft,
        (64, _, _) => MouseEventKind::ScrollRight,
        (32, 3, _) => MouseEventKind::Moved,
        (32, _, _) => MouseEventKind::Drag(button),
        (0, _, b'm') => MouseEventKind::Up(button),
        (0, _, _) => MouseEventKind::Down(button),
        _ => return None,
    };
    let place = |n: u32| u16::try_from(n.saturating_sub(1)).unwrap_or(u16::MAX);
    Some(Input::Mouse(MouseEvent { kind, column: place(*column), row: place(*row), modifiers: KeyModifiers::NONE }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Vec<Input> {
        let (mut parser, mut out) = (Parser::default(), vec![]);
        parser.advance(bytes, &mut out);
        parser.settle(&mut out);
        out
    }

    fn keys(bytes: &[u8]) -> Vec<(KeyCode, KeyModifiers)> {
        parse(bytes)
            .into_iter()
            .filter_map(|input| match input {
                Input::Key(k) => Some((k.code, k.modifiers)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn ordinary_keys_are_understood() {
        use KeyCode::*;
        let (no, ctrl, alt, shift) = (KeyModifiers::NONE, KeyModifiers::CONTROL, KeyModifiers::ALT, KeyModifiers::SHIFT);
        for (bytes, code, modifiers) in [
            (&b"a"[..], Char('a'), no),
            (b"G", Char('G'), shift),
            ("é".as_bytes(), Char('é'), no),
            (b"\x1b", Esc, no),
            (b"\r", Enter, no),
            (b"\t", Tab, no),
            (b"\x1b[Z", BackTab, shift),
            (b"\x7f", Backspace, no),
            (b"\x03", Char('c'), ctrl),
            (b"\x1bx", Char('x'), alt),
            (b"\x1b[A", Up, no),
            (b"\x1bOA", Up, no),
            (b"\x1b[1;5C", Right, ctrl),
            (b"\x1b[5~", PageUp, no),
            (b"\x1bOP", F(1), no),
            (b"\x1b[24~", F(12), no),
            (b"\x1b\x1b[D", Left, alt),
            (b"\x1b[27u", Esc, no),
        ] {
            assert_eq!(keys(bytes), [(code, modifiers)], "{bytes:?}");
        }
    }

    #[test]
    fn escape_then_a_key_are_two() {
        assert_eq!(keys(b"\x1b\x1bj").len(), 2);
        assert_eq!(parse(b"\x1b]11;rgb:00/00/00\x07q").len(), 1, "a reply of the terminal is not typing");
    }

    #[test]
    fn replies_to_the_query_for_graphics_are_understood_wherever_they_are_split() {
        let bytes = b"\x1b_Gi=4211;OK\x1b\\\x1bP>|kitty(0.36.1)\x1b\\\x1b[6;18;9t\x1b[?62;4;22cq";
        let replies = [
            TerminalReply::Kitty,
            TerminalReply::Version("kitty(0.36.1)".into()),
            TerminalReply::CellSize(9, 18),
            TerminalReply::Attributes { sixel: true },
        ];
        let wanted: Vec<Input> = replies.into_iter().map(Input::Reply).chain([key(KeyCode::Char('q'), KeyModifiers::NONE)]).collect();
        for cut in 0..bytes.len() {
            let (mut parser, mut out) = (Parser::default(), vec![]);
            parser.advance(&bytes[..cut], &mut out);
            parser.advance(&bytes[cut..], &mut out);
            assert_eq!(out, wanted, "cut at {cut}");
        }
        assert_eq!(parse(b"\x1b[?1;2c"), [Input::Reply(TerminalReply::Attributes { sixel: false })]);
        let refused = [&b"\x1b_Gi=4211;ENOTSUPPORTED:"[..], &[b'x'; 200], b"\x1b\\"].concat();
        assert_eq!(parse(&refused), [], "a long error is not typing");
        assert_eq!(parse(b"\x1b[6;1t\x1b[8;24;80t\x1b[6;99999;9t"), []);
    }

    #[test]
    fn pastes_arrive_whole_wherever_they_are_split() {
        let bytes = "\x1b[200~one\ntwo \x1b[A日本\x1b[201~x".as_bytes();
        for cut in 0..bytes.len() {
            let (mut parser, mut out) = (Parser::default(), vec![]);
            parser.advance(&bytes[..cut], &mut out);
            parser.advance(&bytes[cut..], &mut out);
            parser.settle(&mut out);
            assert_eq!(out, [Input::Paste("one\ntwo \x1b[A日本".into()), key(KeyCode::Char('x'), KeyModifiers::NONE)], "cut at {cut}");
        }
    }

    #[test]
    fn line_ends_of_a_paste_are_line_feeds() {
        for (bytes, text) in [
            (&b"\x1b[200~one\rtwo\r\nthree\n\r\r\nfour\r\x1b[201~"[..], "one\ntwo\nthree\n\n\nfour\n"),
            (b"\x1b[200~{\r  \"a\": \"\\r\"\r}\x1b[201~", "{\n  \"a\": \"\\r\"\n}"),
            (b"\x1b[200~a\0b\x07\x1b[201~", "a\0b\x07"),
        ] {
            assert_eq!(parse(bytes), [Input::Paste(text.into())], "{bytes:?}");
            let whole = |cut: usize| {
                let (mut parser, mut out) = (Parser::default(), vec![]);
                parser.advance(&bytes[..cut], &mut out);
                parser.advance(&bytes[cut..], &mut out);
                parser.settle(&mut out);
                out
            };
            assert!((0..bytes.len()).all(|cut| whole(cut) == [Input::Paste(text.into())]), "cut anywhere: {bytes:?}");
        }
    }

    #[test]
    fn an_end_mark_within_a_paste_does_not_end_it() {
        let evil = b"\x1b[200~harmless\x1b[201~q\ry\x1b[201~";
        let text = "harmless\x1b[201~q\ny";
        for cut in 0..evil.len() {
            let (mut parser, mut out) = (Parser::default(), vec![]);
            parser.advance(&evil[..cut], &mut out);
            assert_eq!(out, [], "none of it is a key, cut at {cut}");
            parser.advance(&evil[cut..], &mut out);
            parser.settle(&mut out);
            assert_eq!(out, [Input::Paste(text.into())], "cut at {cut}");
        }
        let two = parse(b"\x1b[200~one\x1b[201~x\x1b[200~two\x1b[201~");
        assert_eq!(two, [Input::Paste("one".into()), key(KeyCode::Char('x'), KeyModifiers::NONE), Input::Paste("two".into())]);
    }

    #[test]
    fn keys_after_a_paste_come_when_the_terminal_is_silent() {
        let (mut parser, mut out) = (Parser::default(), vec![]);
        parser.advance(b"\x1b[200~text\x1b[201~x\x1b", &mut out);
        assert!(out.is_empty() && parser.waiting());
        parser.settle(&mut out);
        let (x, esc) = (key(KeyCode::Char('x'), KeyModifiers::NONE), key(KeyCode::Esc, KeyModifiers::NONE));
        assert_eq!(out, [Input::Paste("text".into()), x, esc]);
        assert!(!parser.waiting());
    }

    #[test]
    fn a_paste_over_the_limit_is_refused_as_a_whole() {
        for (size, refused) in [(PASTE_LIMIT, false), (PASTE_LIMIT + 1, true), (10 << 20, true)] {
            let (mut parser, mut out) = (Parser::default(), vec![]);
            parser.advance(b"\x1b[200~", &mut out);
            for piece in vec![b'a'; size].chunks(4096) {
                parser.advance(piece, &mut out);
            }
            parser.advance(b"\x1b[201~", &mut out);
            parser.settle(&mut out);
            match out.as_slice() {
                [Input::Paste(text)] => assert!(!refused && text.len() == size),
                [Input::PasteRefused { bytes }] => assert!(refused && *bytes == size),
                other => panic!("{} inputs", other.len()),
            }
        }
    }

    #[test]
    fn mouse_reports_have_coordinates_from_zero() {
        let Some(Input::Mouse(event)) = parse(b"\x1b[<0;10;5M").pop() else { panic!("no mouse event") };
        assert_eq!((event.kind, event.column, event.row), (MouseEventKind::Down(MouseButton::Left), 9, 4));
        let Some(Input::Mouse(event)) = parse(b"\x1b[<65;1;1M").pop() else { panic!("no mouse event") };
        assert_eq!(event.kind, MouseEventKind::ScrollDown);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_parsed_with_bounded_memory(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..60)) {
            let (mut parser, mut out) = (Parser::default(), vec![]);
            for piece in &pieces {
                parser.advance(piece, &mut out);
                prop_assert!(parser.paste.is_some() || parser.pending.len() <= STRING_LIMIT + 40);
            }
            parser.settle(&mut out);
        }
    }
}
