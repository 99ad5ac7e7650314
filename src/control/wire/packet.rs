//! Packets: one message as JSON text and its bodies as raw bytes.
//!
//! ```text
//! length u32 | length of the text u32 | number of bodies u32 | lengths of the bodies u32 … | text | bodies …
//! ```
//!
//! All numbers are little-endian. The first length counts what follows it. In the text a body is its number, from 1; 0 is the
//! empty body ([`crate::domain::body::without_bodies`]).

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::domain::body::{Body, with_bodies, without_bodies};

/// The largest packet, in bytes.
pub const MAX: usize = u32::MAX as usize;

/// Bytes of a number.
const NUMBER: usize = size_of::<u32>();

/// Why a packet cannot be encoded or decoded.
#[derive(Debug, Error)]
pub enum PacketError {
    /// The packet is larger than allowed.
    #[error("a message of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The lengths in the packet contradict its size.
    #[error("a message is malformed: its lengths exceed its size")]
    Malformed,
    /// The text is not a message, or a message cannot be written as text.
    #[error("a message cannot be converted: {0}")]
    Json(#[from] serde_json::Error),
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An encoded packet.
#[derive(Clone, Debug)]
pub struct Encoded {
    bytes: Bytes,
    head: std::ops::Range<usize>,
}

impl Encoded {
    /// Returns the bytes of the packet.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the JSON text.
    pub fn head(&self) -> &[u8] {
        &self.bytes[self.head.clone()]
    }
}

/// Encodes a message in at most `limit` bytes.
pub fn encode(message: &impl Serialize, limit: usize) -> Result<Encoded, PacketError> {
    encode_bodies(message, limit, Body::clone)
}

/// Encodes a message with changed bodies.
pub fn encode_bodies(message: &impl Serialize, limit: usize, change: impl Fn(&Body) -> Body) -> Result<Encoded, PacketError> {
    let (head, bodies) = without_bodies(|| serde_json::to_vec(message));
    let head = head?;
    let bodies: Vec<Body> = bodies.iter().map(change).collect();
    let table = NUMBER * (2 + bodies.len());
    let size = table + head.len() + bodies.iter().map(Body::len).sum::<usize>();
    let number = |n: usize| u32::try_from(n).map_err(|_| PacketError::TooLarge { size, limit });
    if size > limit {
        return Err(PacketError::TooLarge { size, limit });
    }
    let mut packet = BytesMut::with_capacity(NUMBER + size);
    packet.put_u32_le(number(size)?);
    packet.put_u32_le(number(head.len())?);
    packet.put_u32_le(number(bodies.len())?);
    for body in &bodies {
        packet.put_u32_le(number(body.len())?);
    }
    let start = packet.len();
    packet.put_slice(&head);
    bodies.iter().for_each(|body| packet.put_slice(body.bytes()));
    Ok(Encoded { bytes: packet.freeze(), head: start..start + head.len() })
}

/// Decodes what follows the first length of a packet.
pub fn decode<T: DeserializeOwned>(packet: &Bytes) -> Result<T, PacketError> {
    let mut rest = packet.clone();
    let mut number = || -> Result<usize, PacketError> { rest.try_get_u32_le().map(|n| n as usize).map_err(|_| PacketError::Malformed) };
    let (head, count) = (number()?, number()?);
    if count > packet.len() / NUMBER {
        return Err(PacketError::Malformed);
    }
    let lengths = (0..count).map(|_| number()).collect::<Result<Vec<usize>, PacketError>>()?;
    let mut part = |length: usize| (length <= rest.len()).then(|| rest.split_to(length)).ok_or(PacketError::Malformed);
    let head = part(head)?;
    let bodies = lengths.into_iter().map(|length| Ok(owned(part(length)?, packet))).collect::<Result<Vec<Body>, PacketError>>()?;
    if !rest.is_empty() {
        return Err(PacketError::Malformed);
    }
    Ok(with_bodies(bodies, || serde_json::from_slice(&head))?)
}

/// Returns a body in separate memory, so that it does not keep a much larger packet alive.
fn owned(body: Bytes, packet: &Bytes) -> Body {
    if body.len() * 2 > packet.len() { Body::new(body) } else { Body::new(Bytes::copy_from_slice(&body)) }
}

/// Reads the next packet without its first length; `None` at the end of the stream. Not cancel-safe.
///
/// Memory grows with the bytes that arrive, whatever length is announced.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<Option<Bytes>, PacketError> {
    let mut length = [0; NUMBER];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..]).await?;
    let size = u32::from_le_bytes(length) as usize;
    if size > limit {
        return Err(PacketError::TooLarge { size, limit });
    }
    let mut packet = Vec::with_capacity(size.min(64 << 10));
    stream.take(size as u64).read_to_end(&mut packet).await?;
    if packet.len() < size {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(packet.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Message = Vec<(String, Body)>;

    proptest! {
        #[test]
        fn messages_are_the_same_after_a_round_trip(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..5)) {
            let message: Message = bodies.into_iter().map(|bytes| ("x".repeat(bytes.len()), Body::new(bytes))).collect();
            let packet = encode(&message, MAX).unwrap();
            prop_assert_eq!(decode::<Message>(&packet.bytes().slice(4..)).unwrap(), message);
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode::<Message>(&bytes.into());
        }

        #[test]
        fn a_changed_packet_is_a_message_or_an_error(at in 4usize..40, byte in any::<u8>()) {
            let message: Message = vec![("a".into(), Body::from("first")), ("b".into(), Body::from("second"))];
            let mut packet = encode(&message, MAX).unwrap().bytes()[4..].to_vec();
            let at = at % packet.len();
            packet[at] = byte;
            let _ = decode::<Message>(&packet.into());
        }
    }

    #[tokio::test]
    async fn a_packet_over_the_limit_is_refused_and_a_cut_one_is_an_error() {
        let message: Message = vec![("a".into(), Body::from("first"))];
        assert!(matches!(encode(&message, 10), Err(PacketError::TooLarge { limit: 10, .. })));
        let packet = encode(&message, MAX).unwrap();
        let bytes = packet.bytes();
        assert_eq!(read(&mut &bytes[..], MAX).await.unwrap().unwrap(), bytes.slice(4..));
        assert!(matches!(read(&mut &bytes[..], 10).await, Err(PacketError::TooLarge { limit: 10, .. })));
        assert!(matches!(read(&mut &bytes[..bytes.len() - 1], MAX).await, Err(PacketError::Io(_))));
        assert!(read(&mut &bytes[..0], MAX).await.unwrap().is_none());
        // A length that is never fulfilled costs no memory.
        assert!(matches!(read(&mut &[0xff; 8][..], MAX).await, Err(PacketError::Io(_))));
    }
}
