//! The numbers of formats and codecs in the store: what a reader must understand before it uses a run or a body. Every writer
//! stores the newest one, every reader refuses those that it does not know.

use std::borrow::Cow;

use super::{ConnectionError, bodies::LONGEST_BODY};

/// The newest format of runs: the texts of their workflows are in `plans`. In format 1 they are in the first entry.
pub const RUN_FORMAT: i64 = 2;

/// The codec of a body that is stored as it is.
pub const PLAIN: i64 = 0;

/// Refuses a run of a newer format.
pub fn check_format(format: i64) -> Result<(), ConnectionError> {
    match format {
        1..=RUN_FORMAT => Ok(()),
        _ => Err(ConnectionError::Newer(format!("the run has the format {format}, this version knows up to {RUN_FORMAT}"))),
    }
}

/// The codec of a body that is compressed: its length in four bytes, the lowest first, and an LZ4 block.
const LZ4: i64 = 1;

/// Bodies of this many bytes and more are compressed, if that makes them smaller.
const COMPRESSED: usize = 512;

/// Returns the codec and the stored form of a body.
pub fn pack(body: &[u8]) -> (i64, Cow<'_, [u8]>) {
    if body.len() >= COMPRESSED {
        let packed = lz4_flex::compress_prepend_size(body);
        if packed.len() < body.len() {
            return (LZ4, packed.into());
        }
    }
    (PLAIN, body.into())
}

/// Returns a body from its stored form.
pub fn unpack(codec: i64, stored: Vec<u8>) -> Result<Vec<u8>, ConnectionError> {
    match codec {
        PLAIN => Ok(stored),
        LZ4 => {
            // A damaged length must not reserve gigabytes.
            let length = stored.first_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length));
            if usize::try_from(length).is_ok_and(|length| length <= LONGEST_BODY) {
                lz4_flex::decompress_size_prepended(&stored).map_err(|error| ConnectionError::Damaged(error.to_string()))
            } else {
                Err(ConnectionError::Damaged(format!("a stored body claims {length} bytes")))
            }
        }
        _ => Err(unknown(codec)),
    }
}

/// Refuses a text of an unknown codec.
pub fn check_codec(codec: i64) -> Result<(), ConnectionError> {
    if codec == PLAIN { Ok(()) } else { Err(unknown(codec)) }
}

fn unknown(codec: i64) -> ConnectionError {
    ConnectionError::Newer(format!("a stored text has the codec {codec}, this version knows up to {LZ4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_stored_compressed_if_that_makes_them_smaller() {
        let (short, long) = (b"{}".to_vec(), "{\"a\":1}".repeat(1_000).into_bytes());
        for (body, codec) in [(short, PLAIN), (long, LZ4), (vec![], PLAIN)] {
            let (found, stored) = pack(&body);
            assert_eq!(found, codec);
            assert!(codec == PLAIN || stored.len() * 20 < body.len());
            assert_eq!(unpack(codec, stored.into_owned()).unwrap(), body);
        }
        for damaged in [vec![], vec![1, 2], vec![255; 9], vec![9, 0, 0, 0, 200, 1]] {
            assert!(matches!(unpack(LZ4, damaged), Err(ConnectionError::Damaged(_))));
        }
        assert!(matches!(unpack(7, vec![]), Err(ConnectionError::Newer(_))));
    }
}
