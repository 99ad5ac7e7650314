//! The framing of HTTP/1.1 messages on a stream (RFC 9112): finds heads and bodies without changing a byte. Pure.

/// Largest head of a message, in bytes. A larger one ends the framing.
const HEAD: usize = 64 << 10;
/// Longest line of a chunk's size or of a trailer, in bytes.
const LINE: usize = 8 << 10;

/// A part of a stream. All parts but [`Part::End`], one after the other, are the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A whole head with its empty line.
    Head(&'a [u8]),
    /// Bytes of a body.
    Data(&'a [u8]),
    /// The framing of a chunked body.
    Framing(&'a [u8]),
    /// A message has ended.
    End,
    /// Bytes that are not an HTTP message, or of another protocol after an upgrade.
    Raw(&'a [u8]),
}

/// The sender of the messages of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client: requests.
    Client,
    /// A server: responses.
    Server,
}

#[derive(Debug)]
enum State {
    Head,
    /// A body of a known length.
    Sized(u64),
    /// A body up to the end of the stream.
    UntilEnd,
    ChunkSize,
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    Trailers,
    Raw,
}

/// The reader of a stream.
pub struct Messages {
    sender: Sender,
    state: State,
    /// The beginning of a head or line that is not complete.
    begun: Vec<u8>,
}

impl Messages {
    /// Creates a reader of what `sender` sends.
    pub fn new(sender: Sender) -> Messages {
        Messages { sender, state: State::Head, begun: vec![] }
    }

    /// Reads a run of bytes.
    pub fn feed(&mut self, mut run: &[u8], out: &mut impl FnMut(Part<'_>)) {
        while !run.is_empty() {
            run = match self.state {
                State::Head => self.head(run, out),
                State::Sized(left) => self.sized(run, left, out),
                State::Chunk(left) => self.chunk(run, left, out),
                State::UntilEnd => {
                    out(Part::Data(run));
                    &[]
                }
                State::Raw => {
                    out(Part::Raw(run));
                    &[]
                }
                State::ChunkSize | State::ChunkEnd | State::Trailers => self.line(run, out),
            };
        }
    }

    /// Ends the stream: what is incomplete comes out as it is.
    pub fn finish(&mut self, out: &mut impl FnMut(Part<'_>)) {
        let begun = std::mem::take(&mut self.begun);
        if !begun.is_empty() {
            out(Part::Raw(&begun));
        }
        if matches!(self.state, State::UntilEnd) {
            out(Part::End);
        }
        self.state = State::Raw;
    }

    fn head<'r>(&mut self, run: &'r [u8], out: &mut impl FnMut(Part<'_>)) -> &'r [u8] {
        let before = self.begun.len();
        self.begun.extend_from_slice(run);
        // The end may have begun in an earlier run.
        let from = before.saturating_sub(3);
        let end = find(&self.begun[from..], b"\r\n\r\n").map(|at| from + at + 4);
        let Some(end) = end else {
            if self.begun.len() > HEAD {
                self.end_framing(out);
            }
            return &[];
        };
        let used = end.saturating_sub(before);
        self.begun.truncate(end);
        let head = std::mem::take(&mut self.begun);
        self.state = self.after(&head);
        out(if matches!(self.state, State::Raw) { Part::Raw(&head) } else { Part::Head(&head) });
        if matches!(self.state, State::Head) {
            out(Part::End);
        }
        run.get(used..).unwrap_or_default()
    }

    /// Returns what follows a head (RFC 9112, section 6.3).
    fn after(&self, head: &[u8]) -> State {
        let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let first = lines.next().unwrap_or_default();
        let version = |words: &[u8]| words.starts_with(b"HTTP/1.");
        let known = match self.sender {
            Sender::Client => first.rsplit(|byte| *byte == b' ').next().is_some_and(version),
            Sender::Server => version(first),
        };
        if !known {
            return State::Raw;
        }
        let (mut length, mut chunked) = (None, false);
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
            match name.as_slice() {
                b"content-length" => length = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok()),
                b"transfer-encoding" => chunked = value.to_ascii_lowercase().ends_with(b"chunked"),
                _ => {}
            }
        }
        let status = (self.sender == Sender::Server).then(|| first.split(|byte| *byte == b' ').nth(1).unwrap_or_default());
        match status {
            Some(b"101") => return State::Raw,
            Some(status) if status.starts_with(b"1") || status == b"204" || status == b"304" => return State::Head,
            _ => {}
        }
        match (chunked, length, status) {
            (true, ..) => State::ChunkSize,
            (false, Some(0), _) => State::Head,
            (false, Some(length), _) => State::Sized(length),
            (false, None, Some(_)) => State::UntilEnd,
            (false, None, None) => State::Head,
        }
    }

    fn sized<'r>(&mut self, run: &'r [u8], left: u64, out: &mut impl FnMut(Part<'_>)) -> &'r [u8] {
        let (data, rest) = split(run, left);
        out(Part::Data(data));
        let left = left - data.len() as u64;
        self.state = State::Sized(left);
        if left == 0 {
            self.state = State::Head;
            out(Part::End);
        }
        rest
    }

    fn chunk<'r>(&mut self, run: &'r [u8], left: u64, out: &mut impl FnMut(Part<'_>)) -> &'r [u8] {
        let (data, rest) = split(run, left);
        out(Part::Data(data));
        let left = left - data.len() as u64;
        self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
        rest
    }

    fn line<'r>(&mut self, run: &'r [u8], out: &mut impl FnMut(Part<'_>)) -> &'r [u8] {
        let Some(at) = run.iter().position(|byte| *byte == b'\n') else {
            self.begun.extend_from_slice(run);
            if self.begun.len() > LINE {
                self.end_framing(out);
            }
            return &[];
        };
        let (line, rest) = run.split_at(at + 1);
        self.begun.extend_from_slice(line);
        let line = std::mem::take(&mut self.begun);
        let text = line.trim_ascii();
        let next = match self.state {
            State::ChunkSize => {
                let size = text.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                match std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok()) {
                    Some(0) => Some(State::Trailers),
                    Some(size) => Some(State::Chunk(size)),
                    None => None,
                }
            }
            State::ChunkEnd => text.is_empty().then_some(State::ChunkSize),
            _ if text.is_empty() => Some(State::Head),
            _ => Some(State::Trailers),
        };
        let Some(next) = next else {
            self.state = State::Raw;
            out(Part::Raw(&line));
            return rest;
        };
        self.state = next;
        out(Part::Framing(&line));
        if matches!(self.state, State::Head) {
            out(Part::End);
        }
        rest
    }

    fn end_framing(&mut self, out: &mut impl FnMut(Part<'_>)) {
        self.state = State::Raw;
        out(Part::Raw(&std::mem::take(&mut self.begun)));
    }
}

fn split(run: &[u8], left: u64) -> (&[u8], &[u8]) {
    run.split_at(usize::try_from(left).unwrap_or(usize::MAX).min(run.len()))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Returns a head of a request with another value of `Host`. Everything else stays, byte for byte.
pub fn with_host(head: &[u8], host: &str) -> Vec<u8> {
    let mut changed = Vec::with_capacity(head.len() + host.len());
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let name = line.get(..5).unwrap_or_default();
        if !name.eq_ignore_ascii_case(b"host:") {
            changed.extend_from_slice(line);
            continue;
        }
        let value = line.get(5..).unwrap_or_default();
        let space = value.iter().take_while(|byte| **byte == b' ' || **byte == b'\t').count();
        let end = line.len() - line.iter().rev().take_while(|byte| **byte == b'\n' || **byte == b'\r').count();
        changed.extend_from_slice(&line[..5 + space]);
        changed.extend_from_slice(host.as_bytes());
        changed.extend_from_slice(&line[end.max(5 + space)..]);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: &[u8] = b"POST /mcp HTTP/1.1\r\nHOST:  tap:1\r\nContent-Length: 5\r\n\r\nhelloGET /x HTTP/1.1\r\nx: y\r\n\r\n\
        POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n";
    const RESPONSES: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\
        transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nup to the end";

    /// Feeds a stream in runs of this size. Returns it as passed on, its bodies, and the number of heads.
    fn read(sender: Sender, text: &[u8], size: usize) -> (Vec<u8>, Vec<String>, usize) {
        let (mut messages, mut passed, mut bodies, mut body, mut heads) = (Messages::new(sender), vec![], vec![], vec![], 0);
        let mut take = |part: Part<'_>| match part {
            Part::Head(bytes) => {
                heads += 1;
                passed.extend_from_slice(bytes);
            }
            Part::Data(bytes) => {
                body.extend_from_slice(bytes);
                passed.extend_from_slice(bytes);
            }
            Part::Framing(bytes) | Part::Raw(bytes) => passed.extend_from_slice(bytes),
            Part::End => bodies.push(String::from_utf8_lossy(&std::mem::take(&mut body)).into_owned()),
        };
        text.chunks(size).for_each(|run| messages.feed(run, &mut take));
        messages.finish(&mut take);
        (passed, bodies, heads)
    }

    #[test]
    fn messages_are_found_in_any_chunking_and_no_byte_changes() {
        for size in (1..80).chain([1000]) {
            let (passed, bodies, heads) = read(Sender::Client, REQUESTS, size);
            assert_eq!((passed.as_slice(), heads), (REQUESTS, 3), "size {size}");
            assert_eq!(bodies, ["hello", "", "abc"], "size {size}");
            let (passed, bodies, heads) = read(Sender::Server, RESPONSES, size);
            assert_eq!((passed.as_slice(), heads), (RESPONSES, 4), "size {size}");
            assert_eq!(bodies, ["", "", "hello!", "up to the end"], "size {size}");
        }
    }

    #[test]
    fn what_is_not_http_passes() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let mut text: Vec<u8> = (0..random.usize(0..400)).map(|_| random.u8(..)).collect();
            if random.bool() {
                let at = random.usize(0..REQUESTS.len());
                text.splice(0..0, REQUESTS[..at].iter().copied());
            }
            for sender in [Sender::Client, Sender::Server] {
                assert_eq!(read(sender, &text, random.usize(1..50)).0, text);
            }
        }
        let endless = vec![b'a'; HEAD + 100];
        assert_eq!(read(Sender::Client, &endless, 1000).0, endless);
    }

    #[test]
    fn only_the_value_of_host_changes() {
        let head = b"GET /host:1 HTTP/1.1\r\nhOsT: \t127.0.0.1:7\r\nX-Host: a\r\nAccept-Encoding: gzip\r\n\r\n";
        let changed = with_host(head, "example.com");
        assert_eq!(changed, b"GET /host:1 HTTP/1.1\r\nhOsT: \texample.com\r\nX-Host: a\r\nAccept-Encoding: gzip\r\n\r\n");
        assert_eq!(with_host(b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "h"), b"GET / HTTP/1.1\r\nHost:h\r\n\r\n");
    }
}
