//! Salvage of whole messages from the end of a line that is not JSON. Pure.
//!
//! A server that leaves a line unfinished, or prints without a line end, has its next message end up
//! on the same line. The search reads each byte at most twice, whatever the line holds.
//!
//! Does not use [`crate::domain::json::token`], which reads from the front: the front of such a line is not JSON, so that
//! brackets and strings can only be matched from its end.

use super::wire::{Parsed, parse};
use crate::domain::body::Body;

/// How many messages one line may hold behind its broken front. The rest stay part of the front.
const MESSAGES: usize = 10_000;

/// Splits a line that is not a message but ends in whole messages into the broken front and those messages.
///
/// `None` when no message follows the front.
pub fn split_glued(line: &Body) -> Option<(Body, Vec<Body>)> {
    let bytes = line.bytes();
    let part = |from: usize, to: usize| line.slice_of(&bytes[from..to]);
    let (mut end, mut messages) = (bytes.len(), vec![]);
    while messages.len() < MESSAGES
        && let Some(start) = object_start(&bytes[..end]).filter(|start| *start > 0)
    {
        let message = part(start, end);
        if !matches!(parse(&message), Parsed::Message(_)) {
            break;
        }
        messages.push(message);
        end = start;
    }
    messages.reverse();
    (!messages.is_empty()).then(|| (part(0, end), messages))
}

/// Where the JSON object begins that ends at the end of `bytes`.
///
/// Reads from the back: outside of strings, a quote ends a string and its opening quote is the next one
/// to the left that is not escaped. Brackets then balance at exactly one place, so nothing is tried twice.
fn object_start(bytes: &[u8]) -> Option<usize> {
    let mut at = bytes.trim_ascii_end().len();
    if bytes[..at].last() != Some(&b'}') {
        return None;
    }
    let mut depth = 0usize;
    while let Some(found) = memchr::memrchr3(b'"', b'{', b'}', &bytes[..at]) {
        at = found;
        match bytes[at] {
            b'}' => depth += 1,
            b'{' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at = string_start(bytes, at)?,
        }
    }
    None
}

/// Where the string begins whose closing quote is at `end`.
fn string_start(bytes: &[u8], end: usize) -> Option<usize> {
    let mut at = end;
    // An escaped quote outside of a string is not JSON.
    let escaped = |at: usize| bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
    loop {
        at = memchr::memrchr(b'"', &bytes[..at])?;
        let backslashes = escaped(at);
        if backslashes % 2 == 0 {
            return Some(at);
        }
        at -= backslashes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_found_behind_what_was_never_finished() {
        let answer = |id: u64| format!(r#"{{"result":{{"content":[{{"id":7}}]}},"jsonrpc":"2.0","id":{id}}}"#);
        for (front, count) in
            [(r#"{"jsonrpc":"2.0","id":5,"result":{"#, 1), ("Loading...", 1), (r#"{"jsonrpc":"2.0","id":5,"result":{"t":"half"#, 3)]
        {
            let messages: Vec<String> = (0..count).map(answer).collect();
            let (rest, found) = split_glued(&Body::from(format!("{front}{}", messages.concat()))).unwrap();
            assert_eq!(rest.text(), front);
            assert_eq!(found.iter().map(|m| m.text().into_owned()).collect::<Vec<_>>(), messages);
        }
        for none in ["Loading", r#"{"jsonrpc":"2.0","id":3,"result":{"x":NaN}}"#, r#"{"a":NaN,"b":{"id":1}}"#, ""] {
            assert_eq!(split_glued(&Body::from(none)), None, "{none}");
        }
        let quoted = r#"{"jsonrpc":"2.0","id":3,"result":{"x":NaN,"t":"{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":{}}"#;
        assert_eq!(split_glued(&Body::from(quoted)), None);
    }

    #[test]
    fn brackets_and_quotes_within_strings_do_not_mislead() {
        for text in [r#"}{\"\\"#, r#"\\\\"#, r#"\\\""#, r#"a\\"#, "{\\u0022}"] {
            let message = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"t":"{text}","{text}":["{text}"]}}}}"#);
            for front in ["x", r#"{"a":"b"#, r#"{"a":"b\"#, "}}}", "\"", "\\"] {
                let (rest, found) = split_glued(&Body::from(format!("{front}{message} "))).unwrap();
                assert_eq!((rest.text().into_owned(), found.len()), (front.to_owned(), 1), "{front}{message}");
                assert_eq!(found[0].text().trim_end(), message);
            }
        }
    }

    /// The lines of the review's finding H3 and their neighbours: each made the search parse the rest of the line again
    /// for thousands of places. The test ends in seconds, or the suite does not end.
    #[test]
    fn a_large_line_is_searched_once() {
        const SIZE: usize = 4 << 20;
        let fill = |unit: &str| unit.repeat(SIZE / unit.len());
        let ones = fill("1,");
        for line in [
            format!("x{}[{ones}", "{\"id\":".repeat(10_000)),
            format!("x{}[{ones}1]{}", "{\"id\":".repeat(10_000), "}".repeat(10_000)),
            fill("{\"id\":"),
            fill("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\""),
            format!("x{}}}", fill("{\"id\":1,")),
            format!("x{}}}", fill("\\\"")),
            format!("x\"{}\"}}", fill("\\")),
            format!("{}\"}}", fill("\"\\\"")),
            fill("}"),
            fill("{\"id\":1}"),
            fill("["),
        ] {
            let body = Body::from(line);
            assert_eq!(split_glued(&body), None);
            assert!(matches!(parse(&body), Parsed::Bad(_)));
        }
        let message = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        let (front, messages) = split_glued(&Body::from(format!("x{}", fill(message)))).unwrap();
        assert_eq!(messages.len(), MESSAGES);
        assert_eq!((front.len() - 1) / message.len() + MESSAGES, SIZE / message.len(), "what is not split stays in the front");
    }

    proptest! {
        #[test]
        fn any_message_is_found_behind_any_front(front in "[^\u{0}]{1,40}", text in any::<String>(), count in 1..4usize) {
            let message = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"t":{}}}}}"#, serde_json::Value::from(text));
            // A front that is JSON, or ends in a message itself, is another case.
            prop_assume!(!front.trim_end().ends_with('}') && !front.trim().is_empty());
            let (rest, found) = split_glued(&Body::from(format!("{front}{}", message.repeat(count)))).unwrap();
            prop_assert_eq!((rest.text().into_owned(), found.len()), (front, count));
        }

        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(prop::sample::select(b"{}[]\"\\:,1 idx".to_vec()), 0..200)) {
            let _ = split_glued(&Body::new(bytes));
        }
    }
}
