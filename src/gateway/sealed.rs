//! Sealed states: `requestState` of a server as its client gets it. Only this gateway can read a sealed state, and only together with what it
//! was given for: the same client, operation and arguments.
//!
//! A client returns `requestState` with its next request (MCP 2026-07-28, basic/patterns/mrtr). Without the seal it could return that of
//! another client, or send the state of one server to another.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::random;
use crate::domain::{call::Operation, client::Principal, policy::cache::canonical};

/// The beginning of a sealed state, with the version of its format.
const PREFIX: &str = "sb1.";
/// How long the sealed state of a server is accepted. The server may forget it sooner.
pub const LIFETIME: Duration = Duration::from_secs(3600);
/// The size of the expiry in front of the state, in bytes.
const EXPIRY: usize = 8;

/// The key that seals states.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(pub [u8; 32]);

impl SealKey {
    /// Returns a random key; `None` without random numbers.
    pub fn random() -> Option<SealKey> {
        random::bytes().ok().map(SealKey)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

/// Seals and opens states.
pub struct Seal {
    /// Absent if the system has no random numbers.
    key: Option<LessSafeKey>,
}

impl Seal {
    /// Creates a seal with this key, or with a random one that lives as long as the seal.
    pub fn new(key: Option<SealKey>) -> Seal {
        let key = key.or_else(SealKey::random);
        let key = key.and_then(|key| UnboundKey::new(&AES_256_GCM, &key.0).ok());
        Seal { key: key.map(LessSafeKey::new) }
    }

    /// Seals a state for a principal and an operation, at `now_ms` since the Unix epoch and for this time. Fails without random
    /// numbers.
    pub fn close(&self, principal: &Principal, operation: &Operation, state: &str, now_ms: u64, lifetime: Duration) -> Option<String> {
        let nonce = random::bytes::<NONCE_LEN>().ok()?;
        let expiry = now_ms.checked_add(u64::try_from(lifetime.as_millis()).ok()?)?;
        let mut sealed = expiry.to_le_bytes().to_vec();
        sealed.extend_from_slice(state.as_bytes());
        let bound = Aad::from(bound(principal, operation));
        self.key.as_ref()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed).ok()?;
        Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())))
    }

    /// Returns the state, if it was sealed here for this principal and operation, and has not expired.
    pub fn open(&self, principal: &Principal, operation: &Operation, sealed: &str, now_ms: u64) -> Option<String> {
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed.strip_prefix(PREFIX)?).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.as_ref()?.open_in_place(nonce, Aad::from(bound(principal, operation)), sealed).ok()?;
        let (expiry, state) = opened.split_at_checked(EXPIRY)?;
        let expiry = u64::from_le_bytes(expiry.try_into().ok()?);
        (now_ms < expiry).then(|| String::from_utf8(state.to_vec()).ok())?
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

    #[test]
    fn a_state_opens_only_for_what_it_was_sealed_for_and_for_an_hour() {
        let (seal, ann, state) = (Seal::new(None), Principal::new("ann"), r#""a\u2028b""#);
        let operation = call("s", "t", r#"{"a":1,"b":[1.0]}"#);
        let sealed = seal.close(&ann, &operation, state, 1_000, LIFETIME).expect("random numbers");
        assert!(!sealed.contains("2028"));
        assert_eq!(seal.open(&ann, &call("s", "t", r#"{ "b":[1.0], "a":1}"#), &sealed, 2_000).as_deref(), Some(state));
        for (principal, operation) in [
            (Principal::local(), operation.clone()),
            (ann.clone(), call("s", "t", r#"{"a":2,"b":[1.0]}"#)),
            (ann.clone(), call("s", "u", r#"{"a":1,"b":[1.0]}"#)),
            (ann.clone(), call("r", "t", r#"{"a":1,"b":[1.0]}"#)),
        ] {
            assert_eq!(seal.open(&principal, &operation, &sealed, 2_000), None, "{principal} {operation:?}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(seal.open(&ann, &operation, &changed, 2_000), None, "changed at {at}");
        }
        assert_eq!(Seal::new(None).open(&ann, &operation, &sealed, 2_000), None, "a state of another gateway");
        assert_eq!(seal.open(&ann, &operation, &sealed, 3_601_000), None, "expired");
        let (one, other) = (Seal::new(Some(SealKey([7; 32]))), Seal::new(Some(SealKey([7; 32]))));
        let sealed = one.close(&ann, &operation, state, 1_000, LIFETIME).expect("random numbers");
        assert_eq!(other.open(&ann, &operation, &sealed, 2_000).as_deref(), Some(state), "the same key, as after a restart");
    }
}
