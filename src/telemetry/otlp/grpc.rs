//! The frame of a gRPC request, and the status of its response (gRPC over HTTP/2).
//!
//! By hand: OTLP needs one kind of request with one message, over the HTTP client that is here already.

use std::{future::poll_fn, pin::Pin};

use http_body::Body as _;
use reqwest::{Body, header::HeaderMap};

/// The status of success.
pub const OK: u32 = 0;
/// The header, or the trailer, with the status.
const STATUS: &str = "grpc-status";

/// Returns a message with the prefix of gRPC: not compressed, and its length.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// Returns the status of a response, which is in the trailers, or in the headers of a response without a message; `None` without a status.
/// Fails if the response is cut off.
pub async fn status(response: http::Response<Body>) -> Result<Option<u32>, reqwest::Error> {
    let (head, mut body) = response.into_parts();
    let mut status = in_fields(&head.headers);
    // The message says which points were rejected; it is not needed.
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Some(trailers) = frame?.trailers_ref() {
            status = in_fields(trailers).or(status);
        }
    }
    Ok(status)
}

fn in_fields(fields: &HeaderMap) -> Option<u32> {
    fields.get(STATUS)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_has_a_frame_and_a_response_a_status() {
        assert_eq!(framed(b"abc"), [0, 0, 0, 0, 3, b'a', b'b', b'c']);
        let of = |fields: &[(&str, &str)]| {
            let response = fields.iter().fold(http::Response::builder(), |builder, (name, value)| builder.header(*name, *value));
            status(response.body(Body::from("x")).unwrap())
        };
        assert_eq!(of(&[(STATUS, "14")]).await.unwrap(), Some(14));
        assert_eq!(of(&[(STATUS, "0")]).await.unwrap(), Some(OK));
        assert_eq!(of(&[(STATUS, "x")]).await.unwrap(), None);
        assert_eq!(of(&[]).await.unwrap(), None);
    }
}
