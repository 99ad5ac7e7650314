//! Encoding of values without their bodies: the JSON text names each body by a number, and the bodies are stored next to the text,
//! byte for byte.
//!
//! Serde passes no context to nested values, so the table of the bodies is a variable of the thread while a value is encoded or
//! decoded.

use std::cell::RefCell;

use super::Body;

/// The bodies by number, from 1; `None` while bodies are strings.
type Table = Option<Vec<Body>>;

thread_local! {
    static WRITTEN: RefCell<Table> = const { RefCell::new(None) };
    static READ: RefCell<Table> = const { RefCell::new(None) };
}

/// Replaces a table of the thread and restores the previous one, also after a panic.
struct Replaced(fn(Table) -> Table, Table);

impl Replaced {
    fn new(replace: fn(Table) -> Table, bodies: Vec<Body>) -> Replaced {
        Replaced(replace, replace(Some(bodies)))
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        (self.0)(self.1.take());
    }
}

/// Runs `encode`, in which every body is serialised as its number, and returns the bodies by number, from 1.
///
/// The number 0 is the empty body.
pub fn without_bodies<R>(encode: impl FnOnce() -> R) -> (R, Vec<Body>) {
    let _replaced = Replaced::new(|table| WRITTEN.replace(table), vec![]);
    let encoded = encode();
    let bodies = WRITTEN.with_borrow_mut(|bodies| bodies.as_mut().map(std::mem::take).unwrap_or_default());
    (encoded, bodies)
}

/// Runs `decode`, in which the numbers of [`without_bodies`] become these bodies again.
pub fn with_bodies<R>(bodies: Vec<Body>, decode: impl FnOnce() -> R) -> R {
    let _replaced = Replaced::new(|table| READ.replace(table), bodies);
    decode()
}

/// Stores a body that is being serialised and returns its number; `None` outside of [`without_bodies`].
pub(super) fn put(body: &Body) -> Option<u64> {
    WRITTEN.with_borrow_mut(|bodies| {
        let bodies = bodies.as_mut()?;
        if body.is_empty() {
            return Some(0);
        }
        bodies.push(body.clone());
        Some(bodies.len() as u64)
    })
}

/// Returns whether a value is being decoded within [`with_bodies`].
pub(super) fn reading() -> bool {
    READ.with_borrow(Option::is_some)
}

/// Returns the body with this number.
pub(super) fn get(number: u64) -> Option<Body> {
    READ.with_borrow(|bodies| match number {
        0 => Some(Body::default()),
        number => bodies.as_ref()?.get(usize::try_from(number - 1).ok()?).cloned(),
    })
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Value {
        One { body: Body, more: Vec<Body> },
    }

    #[test]
    fn bodies_cross_byte_for_byte_and_apart_from_the_text() {
        let value = Value::One { body: Body::new(vec![0xff, 0, b'x']), more: vec![Body::default(), Body::from("{}")] };
        let (text, bodies) = without_bodies(|| serde_json::to_string(&value).unwrap());
        assert_eq!(text, r#"{"kind":"One","body":1,"more":[0,2]}"#);
        assert_eq!(with_bodies(bodies, || serde_json::from_str::<Value>(&text).unwrap()), value);
    }

    #[test]
    fn a_number_without_a_body_is_an_error_and_a_panic_restores_the_thread() {
        assert!(with_bodies(vec![], || serde_json::from_str::<Body>("1")).is_err());
        assert!(with_bodies(vec![], || serde_json::from_str::<Body>("-1")).is_err());
        assert!(std::panic::catch_unwind(|| without_bodies(|| panic!("in the encoder"))).is_err());
        assert_eq!(serde_json::to_string(&Body::from("a")).unwrap(), "\"a\"");
    }
}
