//! Hashes of specifications of servers, to compare those of two processes without revealing them.

use sha2::{Digest, Sha256};

use super::{
    secret::Secret,
    server::{ServerSpec, Transport},
    stored_catalog::{Hash, launch_fingerprint},
};

/// Returns the SHA-256 of a specification: everything that starts or addresses the server, with the values of secrets, and all
/// its settings. Servers with the same hash behave alike, whichever process starts them.
pub fn spec_hash(spec: &ServerSpec) -> Hash {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(b"switchboard specification 1");
    part(&launch_fingerprint(&spec.launch));
    if let Transport::Http { headers, .. } = &spec.launch {
        let value = |secret: &Secret| secret.expose().as_bytes().to_vec();
        headers.iter().for_each(|(_, secret)| part(&value(secret)));
    }
    if let Some(secret) = &spec.auth.client_secret {
        part(secret.expose().as_bytes());
    }
    // The settings; secrets are masked in them.
    part(&serde_json::to_vec(spec).unwrap_or_default());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn http(token: &str) -> ServerSpec {
        let headers = vec![("Authorization".into(), Secret::new(token, "${TOKEN}"))];
        ServerSpec::new("web", Transport::Http { url: "https://example.com/mcp".into(), headers, socket: None })
    }

    #[test]
    fn every_difference_changes_the_hash() {
        let base = http("a");
        assert_eq!(spec_hash(&base), spec_hash(&base.clone()));
        let mut slower = base.clone();
        slower.timeouts.call += Duration::from_secs(1);
        let other = ServerSpec { trusted: true, ..base.clone() };
        for changed in [http("b"), slower, other] {
            assert_ne!(spec_hash(&base), spec_hash(&changed), "{changed:?}");
        }
    }
}
