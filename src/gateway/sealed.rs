//! Sealed states: `requestState` of a server as its client gets it. Only this gateway can read a sealed state, and only together with what it
//! was given for: the same client, operation and arguments.
//!
//! A client returns `requestState` with its next request (MCP 2026-07-28, basic/patterns/mrtr). Without the seal it could return that of
//! another client, or send the state of one server to another.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use tokio::time::Instant;

use super::random;
use crate::domain::{call::Operation, client::Principal, policy::cache::canonical};

/// The beginning of a sealed state, with the version of its format.
const PREFIX: &str = "sb1.";
/// How long a sealed state is accepted. The server that made the state may forget it sooner.
const LIFETIME: Duration = Duration::from_secs(3600);
/// The size of the expiry in front of the state, in bytes.
const EXPIRY: usize = 8;

/// Seals and opens states with a key that lives as long as the gateway.
pub struct Seal {
    /// Absent if the system has no random numbers.
    key: Option<LessSafeKey>,
    started: Instant,
}

impl Seal {
    /// Creates a seal with a random key.
    pub fn new() -> Seal {
        let key = random::bytes::<32>().ok().and_then(|key| UnboundKey::new(&AES_256_GCM, &key).ok());
        Seal { key: key.map(LessSafeKey::new), started: Instant::now() }
    }

    /// Seals a state for a principal and an operation. Fails without random numbers.
    pub fn close(&self, principal: &Principal, operation: &Operation, state: &str) -> Option<String> {
        let nonce = random::bytes::<NONCE_LEN>().ok()?;
        let expiry = u64::try_from((self.started.elapsed() + LIFETIME).as_millis()).ok()?;
        let mut sealed = expiry.to_le_bytes().to_vec();
        sealed.extend_from_slice(state.as_bytes());
        let bound = Aad::from(bound(principal, operation));
        self.key.as_ref()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed).ok()?;
        Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())))
    }

    /// Returns the state, if it was sealed here for this principal and operation, and has not expired.
    pub fn open(&self, principal: &Principal, operation: &Operation, sealed: &str) -> Option<String> {
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed.strip_prefix(PREFIX)?).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.as_ref()?.open_in_place(nonce, Aad::from(bound(principal, operation)), sealed).ok()?;
        let (expiry, state) = opened.split_at_checked(EXPIRY)?;
        let expiry = Duration::from_millis(u64::from_le_bytes(expiry.try_into().ok()?));
        (self.started.elapsed() < expiry).then(|| String::from_utf8(state.to_vec()).ok())?
    }
}

/// Returns what a state is bound to. Of arguments, neither the order of members nor white space counts.
fn bound(principal: &Principal, operation: &Operation) -> String {
    let (kind, arguments) = match operation {
        Operation::Tool { arguments, .. } => ("tool", canonical(arguments)),
        Operation::Prompt { arguments, .. } => ("prompt", canonical(arguments)),
        Operation::Resource { .. } => ("resource", String::new()),
        Operation::Complete { params, .. } => ("completion", canonical(params)),
        Operation::Raw { params, .. } => ("raw", canonical(params)),
    };
    // Each part with its length, so that no two lists of parts have the same text.
    let parts = [principal.as_str(), kind, operation.server().as_str(), operation.subject(), &arguments];
    parts.map(|part| format!("{}:{part}", part.len())).concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{body::Body, id::ToolId};

    fn call(server: &str, tool: &str, arguments: &str) -> Operation {
        Operation::Tool { tool: ToolId::new(server.into(), tool), arguments: Body::from(arguments.to_owned()) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_opens_only_for_what_it_was_sealed_for_and_for_an_hour() {
        let (seal, ann, state) = (Seal::new(), Principal::new("ann"), r#""a\u2028b""#);
        let operation = call("s", "t", r#"{"a":1,"b":[1.0]}"#);
        let sealed = seal.close(&ann, &operation, state).expect("random numbers");
        assert!(!sealed.contains("2028"));
        assert_eq!(seal.open(&ann, &call("s", "t", r#"{ "b":[1.0], "a":1}"#), &sealed).as_deref(), Some(state));
        for (principal, operation) in [
            (Principal::local(), operation.clone()),
            (ann.clone(), call("s", "t", r#"{"a":2,"b":[1.0]}"#)),
            (ann.clone(), call("s", "u", r#"{"a":1,"b":[1.0]}"#)),
            (ann.clone(), call("r", "t", r#"{"a":1,"b":[1.0]}"#)),
        ] {
            assert_eq!(seal.open(&principal, &operation, &sealed), None, "{principal} {operation:?}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(seal.open(&ann, &operation, &changed), None, "changed at {at}");
        }
        assert_eq!(Seal::new().open(&ann, &operation, &sealed), None, "a state of another gateway");
        tokio::time::advance(LIFETIME).await;
        assert_eq!(seal.open(&ann, &operation, &sealed), None, "expired");
    }
}
