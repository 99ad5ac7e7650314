//! Grants: the issued tokens that requests, streams and sessions in progress were admitted with. A token that is revoked ends them.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::secret::Secret;

/// The grants of a listener, by token.
#[derive(Default)]
pub struct Grants(Mutex<HashMap<String, CancellationToken>>);

impl Grants {
    /// Returns what is cancelled when a token is revoked.
    pub fn of(&self, token: &Secret) -> CancellationToken {
        self.0.lock().entry(token.expose().to_owned()).or_default().clone()
    }

    /// Cancels the grants whose tokens are not valid any more. Returns whether there were any.
    pub fn revoke(&self, is_valid: impl Fn(&[u8]) -> bool) -> bool {
        let revoked: Vec<_> = self.0.lock().extract_if(|token, _| !is_valid(token.as_bytes())).collect();
        revoked.iter().for_each(|(_, grant)| grant.cancel());
        !revoked.is_empty()
    }
}
