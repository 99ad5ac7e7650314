//! What the fuzz targets `lines` and `sse` do with an input. The seeds run through the same functions as a test.

use super::{
    lines::{Lines, Piece},
    salvage, sse,
    wire::{self, Parsed},
};
use crate::domain::{body::Body, time::Stamp};

/// The largest message, so that small inputs meet the limit too.
const LIMIT: usize = 64 << 10;

/// Reads a byte stream as lines, and each line as a message. The first byte says how the stream is cut into reads.
pub fn line_reader(input: &[u8]) {
    let Some((size, stream)) = input.split_first() else { return };
    let mut lines = Lines::new(LIMIT);
    for chunk in stream.chunks(usize::from(*size) + 1) {
        let mut pieces = vec![];
        lines.buffer().extend_from_slice(chunk);
        lines.read(Stamp(1), |piece| pieces.push(piece));
        for piece in pieces {
            match piece {
                Piece::Line { body, size, .. } => {
                    assert!(body.len() as u64 <= size && body.len() <= LIMIT);
                    line(body);
                }
                Piece::TooLong { head } => drop(wire::salvage_id(head.bytes())),
                Piece::TooLongEnd { tail, .. } => drop(wire::salvage_id(tail.bytes())),
            }
        }
    }
    if let Some((rest, _)) = lines.unfinished() {
        wire::salvage_id(rest.bytes());
    }
}

/// Reads one line as the connection does.
fn line(body: Body) {
    let (body, _) = wire::repair_utf8(body);
    match wire::parse_mended(&body).0 {
        Parsed::Message(_) => drop(wire::value(&body)),
        Parsed::Batch(members, _) => members.iter().for_each(|member| drop(wire::parse_mended(member))),
        Parsed::Bad(_) => {
            let Some((front, messages)) = salvage::split_glued(&body) else { return };
            assert!(messages.iter().all(|message| matches!(wire::parse(message), Parsed::Message(_))));
            let all: Vec<u8> = std::iter::once(&front).chain(&messages).flat_map(|part| part.bytes().to_vec()).collect();
            assert_eq!(&all, body.bytes(), "nothing is lost");
            wire::parse_mended(&front);
        }
    }
}

/// Reads an event stream. The first byte says how it is cut; however it is cut, the events are the same.
pub fn event_stream(input: &[u8]) {
    let Some((size, stream)) = input.split_first() else { return };
    let read = |size: usize| {
        let (mut parser, mut events) = (sse::Parser::new(LIMIT), vec![]);
        let whole = stream.chunks(size).all(|chunk| parser.feed(chunk, Stamp(1), |event| events.push((event.id, event.data))).is_ok());
        assert!(events.iter().all(|(_, data)| data.len() <= LIMIT));
        (whole, events)
    };
    let ((small, cut), (large, whole)) = (read(usize::from(*size) + 1), read(usize::MAX));
    if small && large {
        assert_eq!(cut, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_read() {
        for (target, run) in [("lines", line_reader as fn(&[u8])), ("sse", event_stream)] {
            crate::domain::fuzzing::tests::seeds(target, run);
        }
    }
}
