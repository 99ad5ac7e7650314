//! Parses server-sent events (WHATWG HTML, section 9.2) incrementally and within a size limit. Pure.

use std::sync::Arc;

use crate::domain::{bounds, time::Stamp};

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// The last id seen so far, this event's included. Shared by the events after it.
    pub id: Option<Arc<str>>,
    /// Its type (`event`); `None` is a message.
    pub kind: Option<String>,
    /// Its `data`, lines joined by `\n`. Empty for an event that only carries an id or a retry time.
    pub data: Vec<u8>,
    /// When its first byte arrived.
    pub first: Stamp,
    /// Bytes on the wire.
    pub size: u64,
}

/// Data lines of at least this length are moved into the event.
const MOVED: usize = 64 << 10;

/// The event exceeded the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// The parser's state.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    line: Vec<u8>,
    after_cr: bool,
    started: bool,
    current: Event,
    has_data: bool,
    touched: bool,
    id: Option<Arc<str>>,
    /// The length of the first id that is longer than [`bounds::ID`]. Such an id counts as none.
    pub long_id: Option<usize>,
    /// The reconnection time that the server last asked for, in milliseconds.
    pub retry_ms: Option<u64>,
}

impl Parser {
    /// Creates a parser for one stream, for events of up to `limit` bytes.
    pub fn new(limit: usize) -> Parser {
        Parser {
            limit,
            line: Vec::new(),
            after_cr: false,
            started: false,
            current: Event::default(),
            has_data: false,
            touched: false,
            id: None,
            long_id: None,
            retry_ms: None,
        }
    }

    /// Returns the last event id.
    pub fn last_id(&self) -> Option<&Arc<str>> {
        self.id.as_ref()
    }

    /// Returns whether the stream is within an event.
    pub fn within_event(&self) -> bool {
        self.has_data || !self.line.is_empty()
    }

    /// Parses a chunk that arrived at `now`.
    pub fn feed(&mut self, mut chunk: &[u8], now: Stamp, mut out: impl FnMut(Event)) -> Result<(), TooLong> {
        while !chunk.is_empty() {
            if std::mem::take(&mut self.after_cr) && chunk[0] == b'\n' {
                chunk = &chunk[1..];
                continue;
            }
            if !self.touched {
                self.touched = true;
                self.current.first = now;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', chunk) else {
                self.line.extend_from_slice(chunk);
                return if self.line.len() + self.current.data.len() > self.limit { Err(TooLong) } else { Ok(()) };
            };
            self.line.extend_from_slice(&chunk[..end]);
            self.after_cr = chunk[end] == b'\r';
            chunk = &chunk[end + 1..];
            if self.line.len() + self.current.data.len() > self.limit {
                return Err(TooLong);
            }
            let mut line = std::mem::take(&mut self.line);
            self.current.size += line.len() as u64 + 1;
            if line.len() >= MOVED && !self.has_data && line.starts_with(b"data:") {
                // Moved rather than copied, so that a large event is held once.
                line.drain(..if line.get(5) == Some(&b' ') { 6 } else { 5 });
                (self.current.data, self.has_data, self.started) = (line, true, true);
                continue;
            }
            self.take_line(&line, &mut out);
            if self.line.capacity() == 0 && line.capacity() < 64 << 10 {
                self.line = line;
                self.line.clear();
            }
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], out: &mut impl FnMut(Event)) {
        let line = if self.started { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) };
        self.started = true;
        if line.is_empty() {
            let mut event = std::mem::take(&mut self.current);
            self.touched = false;
            if std::mem::take(&mut self.has_data) {
                event.id = self.id.clone();
                out(event);
            }
            return;
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (field, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.current.data.push(b'\n');
                }
                self.current.data.extend_from_slice(value);
            }
            b"event" => self.current.kind = Some(bounds::cut(&String::from_utf8_lossy(value), bounds::LINE).into_owned()),
            b"id" if value.len() > bounds::ID => {
                self.long_id.get_or_insert(value.len());
                self.id = None;
            }
            b"id" if !value.contains(&0) => self.id = Some(String::from_utf8_lossy(value).into()),
            b"retry" => self.retry_ms = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()).or(self.retry_ms),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(chunks: &[&[u8]], limit: usize) -> (Vec<(Option<String>, String)>, Parser) {
        let (mut parser, mut got) = (Parser::new(limit), vec![]);
        for chunk in chunks {
            let _ = parser.feed(chunk, Stamp(1), |e| got.push((e.id.map(|id| id.to_string()), String::from_utf8(e.data).unwrap())));
        }
        (got, parser)
    }

    #[test]
    fn fields_ids_comments_and_line_ends() {
        let (got, parser) =
            parse(&[b"\xef\xbb\xbf: hi\r\nid: 7\r", b"\nretry: 500\rdata: a\ndata:b\n\n: x\ndata\n\nid\ndata: c\n\nda"], 100);
        assert_eq!(got, [(Some("7".into()), "a\nb".into()), (Some("7".into()), String::new()), (Some(String::new()), "c".into())]);
        assert_eq!(parser.retry_ms, Some(500));
        assert!(parser.within_event());
    }

    #[test]
    fn an_event_has_a_type() {
        let (mut parser, mut kinds) = (Parser::new(1000), vec![]);
        let text = b"event: endpoint\ndata: /x\n\nevent: none\n\ndata: {}\n\nevent:message\ndata: {}\n\n";
        parser.feed(text, Stamp(1), |event| kinds.push(event.kind)).unwrap();
        assert_eq!(kinds, [Some("endpoint".to_owned()), None, Some("message".to_owned())]);
    }

    #[test]
    fn an_id_that_is_too_long_counts_as_none_and_an_id_is_shared_by_the_events_after_it() {
        let mut parser = Parser::new(16 << 20);
        let mut ids = vec![];
        let long = "x".repeat(bounds::ID + 1);
        let text = format!("id: a\ndata: 1\n\ndata: 2\n\nid: {long}\ndata: 3\n\ndata: 4\n\n");
        parser.feed(text.as_bytes(), Stamp(1), |event| ids.push(event.id)).unwrap();
        assert_eq!(ids.iter().map(|id| id.as_deref()).collect::<Vec<_>>(), [Some("a"), Some("a"), None, None]);
        assert!(Arc::ptr_eq(ids[0].as_ref().unwrap(), ids[1].as_ref().unwrap()));
        assert_eq!((parser.long_id, parser.last_id()), (Some(bounds::ID + 1), None));
    }

    #[test]
    fn a_long_event_is_held_once() {
        let mut parser = Parser::new(16 << 20);
        let mut data = vec![];
        parser.feed(b"data: ", Stamp(1), |_| {}).unwrap();
        for _ in 0..1000 {
            parser.feed(&[b'x'; 1000], Stamp(1), |_| {}).unwrap();
        }
        parser.feed(b"\n", Stamp(1), |_| {}).unwrap();
        assert_eq!((parser.line.capacity(), parser.current.data.len()), (0, 1_000_000));
        parser.feed(b"\n", Stamp(1), |event| data = event.data).unwrap();
        assert!(data.len() == 1_000_000 && data.iter().all(|b| *b == b'x'));
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::new(10);
        assert_eq!(parser.feed(b"data: 12345678901", Stamp(1), |_| {}), Err(TooLong));
        let mut parser = Parser::new(20);
        assert_eq!(parser.feed(b"data: 12345678\ndata: 12345678\ndata: 12345678\n", Stamp(1), |_| {}), Err(TooLong));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_events_are_the_same(text in "(data: ?[a-c]{0,5}|id: [0-9]|:x|retry: 5|)(\r\n|\n|\r){1,2}", more in "(data: ?[a-c]{0,5}(\n|\r\n|\r){1,2}){0,6}", at in 0usize..60) {
            let all = format!("{text}{more}");
            let at = at.min(all.len());
            let (whole, _) = parse(&[all.as_bytes()], 1000);
            let (cut, _) = parse(&[&all.as_bytes()[..at], &all.as_bytes()[at..]], 1000);
            prop_assert_eq!(whole, cut);
        }
    }
}
