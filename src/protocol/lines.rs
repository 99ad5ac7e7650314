//! Cuts a byte stream into lines, whatever a server does to it. Pure.

use bytes::BytesMut;

use crate::domain::{body::Body, time::Stamp};

/// Size of the beginning and of the end that are stored of an oversized line.
const HEAD: usize = 64 << 10;
const TAIL: usize = 256;
/// Lines shorter than this are copied out, so that they do not keep a read buffer alive.
const COPY_BELOW: usize = 32 << 10;

/// A read buffer larger than this is given back once it is empty.
const LARGE: usize = 256 << 10;

/// Something that came out of the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// A whole line without its end (`\n` or `\r\n`) and without a byte order mark.
    Line {
        /// Its bytes.
        body: Body,
        /// When its first byte came.
        first: Stamp,
        /// Bytes on the wire, line end included.
        size: u64,
    },
    /// A line has just outgrown the limit; the rest of it is being thrown away.
    TooLong {
        /// Its front.
        head: Body,
    },
    /// That line has ended.
    TooLongEnd {
        /// Its last bytes.
        tail: Body,
        /// Its whole size.
        size: u64,
    },
}

/// The reader's state.
pub struct Lines {
    limit: usize,
    buffer: BytesMut,
    searched: usize,
    first: Option<Stamp>,
    skipping: Option<Skip>,
    started: bool,
}

struct Skip {
    size: u64,
    tail: Vec<u8>,
}

impl Lines {
    /// A reader that keeps lines of up to `limit` bytes.
    pub fn new(limit: usize) -> Lines {
        Lines { limit, buffer: BytesMut::new(), searched: 0, first: None, skipping: None, started: false }
    }

    /// Room to read into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < 8 << 10 {
            let more = self.buffer.len().clamp(16 << 10, 1 << 20);
            self.buffer.reserve(more);
        }
        &mut self.buffer
    }

    /// Takes in what was read into [`Lines::buffer`] at `now`.
    pub fn read(&mut self, now: Stamp, mut out: impl FnMut(Piece)) {
        loop {
            if self.skipping.is_some() {
                if !self.skip(&mut out) {
                    return;
                }
                continue;
            }
            if !self.buffer.is_empty() {
                self.first.get_or_insert(now);
            }
            match memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                Some(at) if self.searched + at > self.limit => self.outgrown(&mut out),
                Some(at) => {
                    let end = self.searched + at;
                    let first = self.first.take().unwrap_or(now);
                    self.searched = 0;
                    let line = self.buffer.split_to(end + 1);
                    let text = self.trim(&line);
                    if !line[text.clone()].is_empty() {
                        let body =
                            if text.len() < COPY_BELOW { Body::new(line[text].to_vec()) } else { Body::new(line.freeze().slice(text)) };
                        out(Piece::Line { body, first, size: end as u64 + 1 });
                    }
                    // A line that was not copied keeps the buffer's memory to itself: what follows it begins in another.
                    if end >= COPY_BELOW || (self.buffer.is_empty() && self.buffer.capacity() > LARGE) {
                        self.buffer = BytesMut::from(&self.buffer[..]);
                    }
                }
                None if self.buffer.len() > self.limit => self.outgrown(&mut out),
                None => {
                    self.searched = self.buffer.len();
                    return;
                }
            }
        }
    }

    fn trim(&mut self, line: &[u8]) -> std::ops::Range<usize> {
        let end = line.len() - if line.ends_with(b"\r\n") { 2 } else { 1 };
        let start = if !self.started && line.starts_with(b"\xef\xbb\xbf") { 3.min(end) } else { 0 };
        self.started = true;
        start..end
    }

    fn outgrown(&mut self, out: &mut impl FnMut(Piece)) {
        let head = &self.buffer[..self.buffer.len().min(HEAD).min(self.limit)];
        out(Piece::TooLong { head: Body::new(head.to_vec()) });
        self.skipping = Some(Skip { size: 0, tail: Vec::new() });
        self.searched = 0;
        self.first = None;
    }

    /// Throws away up to the line's end. Returns whether it was found.
    fn skip(&mut self, out: &mut impl FnMut(Piece)) -> bool {
        let Some(skip) = &mut self.skipping else { return true };
        let end = memchr::memchr(b'\n', &self.buffer);
        let taken = self.buffer.split_to(end.unwrap_or(self.buffer.len()));
        skip.size += taken.len() as u64;
        skip.tail.extend_from_slice(&taken[taken.len().saturating_sub(TAIL)..]);
        let surplus = skip.tail.len().saturating_sub(TAIL);
        skip.tail.drain(..surplus);
        self.buffer = BytesMut::from(&self.buffer[..]);
        if end.is_none() {
            return false;
        }
        let size = skip.size;
        let tail = Body::new(std::mem::take(&mut skip.tail));
        let _ = self.buffer.split_to(1);
        self.skipping = None;
        out(Piece::TooLongEnd { tail, size });
        true
    }

    /// Returns whether the stream is within a line.
    pub fn within_line(&self) -> bool {
        self.skipping.is_some() || !self.buffer.is_empty()
    }

    /// What is left when the stream ends: the start of a line that was never finished, and its size.
    pub fn unfinished(&self) -> Option<(Body, u64)> {
        if let Some(skip) = &self.skipping {
            return Some((Body::new(skip.tail.clone()), skip.size));
        }
        (!self.buffer.is_empty()).then(|| (Body::new(self.buffer[..self.buffer.len().min(HEAD)].to_vec()), self.buffer.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(lines: &mut Lines, chunk: &[u8]) -> Vec<Piece> {
        let mut out = vec![];
        lines.buffer().extend_from_slice(chunk);
        lines.read(Stamp(1), |p| out.push(p));
        out
    }

    #[test]
    fn marks_and_line_ends_are_taken_off() {
        let mut lines = Lines::new(100);
        let got = feed(&mut lines, b"\xef\xbb\xbf{}\r\n\n\r\nabc\nde");
        let texts: Vec<String> =
            got.iter().map(|p| if let Piece::Line { body, .. } = p { body.text().into_owned() } else { panic!() }).collect();
        assert_eq!(texts, ["{}", "abc"]);
        assert_eq!(lines.unfinished().unwrap().0.text(), "de");
        assert!(lines.within_line());
        feed(&mut lines, b"\n");
        assert!(!lines.within_line());
    }

    #[test]
    fn a_large_line_keeps_no_more_memory_alive_than_its_own() {
        let mut lines = Lines::new(16 << 20);
        let mut chunk = vec![b'x'; 1 << 20];
        chunk.push(b'\n');
        chunk.extend_from_slice(b"{\"next\":");
        let got = feed(&mut lines, &chunk);
        let Piece::Line { body, .. } = &got[0] else { panic!("{got:?}") };
        assert!(!body.bytes().as_ptr_range().contains(&lines.buffer.as_ptr()) && lines.buffer.capacity() < 64 << 10);
        assert_eq!(lines.unfinished().unwrap().0.text(), "{\"next\":");
    }

    #[test]
    fn an_endless_line_is_told_at_once_and_memory_stays_flat() {
        let mut lines = Lines::new(1000);
        let got = feed(&mut lines, &[b'x'; 1001]);
        assert!(matches!(&got[..], [Piece::TooLong { head }] if head.len() == 1000));
        for _ in 0..1000 {
            assert!(feed(&mut lines, &[b'y'; 10_000]).is_empty());
            assert!(lines.buffer.capacity() < 64 << 10);
        }
        let got = feed(&mut lines, b"...\"id\":7}\n{}\n");
        assert!(matches!(&got[0], Piece::TooLongEnd { tail, size: 10_001_011 } if tail.text().ends_with("\"id\":7}")), "{got:?}");
        assert!(matches!(&got[1], Piece::Line { .. }));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_lines_are_the_same(text in "[a-c\\n]{0,200}", cuts in proptest::collection::vec(1usize..20, 0..40)) {
            let expected: Vec<String> = text.split_inclusive('\n').filter(|l| l.ends_with('\n') && l.len() > 1).map(|l| l.trim_end_matches('\n').to_owned()).collect();
            let mut lines = Lines::new(1000);
            let (mut rest, mut got, mut cuts) = (text.as_bytes(), vec![], cuts.into_iter());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap_or(usize::MAX).min(rest.len()));
                got.extend(feed(&mut lines, now));
                rest = later;
            }
            let texts: Vec<String> = got.iter().map(|p| if let Piece::Line { body, .. } = p { body.text().into_owned() } else { String::new() }).collect();
            prop_assert_eq!(texts, expected);
        }
    }
}
