//! Tokens: the one for a request, and its replacement before it expires. One refresh at a time for a server and a principal, over all
//! processes: authorization servers take the reuse of a refresh token for theft (RFC 9700, section 4.14.2).

use std::{net::IpAddr, sync::Arc};

use tokio::sync::Mutex;

use super::{
    Auth, Key,
    credential::{Credential, Freshness},
    failure::AuthFailure,
    flow,
    http::{Http, Url},
};
use crate::domain::{login::AuthSettings, server::ServerSpec, tls::TlsSettings};

/// How long the failure of a refresh is the answer to other requests, in seconds.
const FAILURE: u64 = 3;

/// The refreshes of a key in this process.
#[derive(Default)]
pub(super) struct Flight(Mutex<Option<(u64, AuthFailure)>>);

/// Why a new token is missing.
#[derive(Clone, Debug)]
pub(super) enum NotRenewed {
    /// The authorization server refused: a login is needed.
    Rejected(String),
    /// It may work later.
    Failed(AuthFailure),
}

/// What requests of a server need, without the rest of its configuration.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) settings: AuthSettings,
    pub(super) tls: TlsSettings,
    pub(super) peer: Option<IpAddr>,
}

impl Target {
    pub(super) fn of(spec: &ServerSpec, peer: Option<IpAddr>) -> Target {
        Target { settings: spec.auth.clone(), tls: spec.tls.clone(), peer }
    }
}

impl Auth {
    /// Returns a client for the requests of a server.
    pub(super) fn http(&self, server: &str, target: &Target) -> Result<Arc<Http>, AuthFailure> {
        let url = Url::parse(server).map_err(|error| AuthFailure::Local(format!("the address of the server: {error}")))?;
        Ok(Arc::new(Http::new(&url, &target.settings, &target.tls, target.peer, self.0.secrets.clone())?))
    }

    /// Returns a credential whose token can be sent, refreshed if it is about to expire.
    pub(super) async fn current(&self, key: &Key, target: Target) -> Option<Arc<Credential>> {
        let known = self.known(key).filter(|known| known.usable())?;
        match known.token.freshness(self.now(), self.0.jitter) {
            Freshness::Valid => Some(known),
            Freshness::Aging | Freshness::Expired => match self.renew(key, known.generation, target).await {
                Ok(renewed) => Some(renewed),
                // The server decides whether the old one is still good.
                Err(NotRenewed::Failed(_)) => Some(known),
                Err(NotRenewed::Rejected(_)) => None,
            },
        }
    }

    fn flight(&self, key: &Key) -> Arc<Flight> {
        self.0.state.lock().flights.entry(key.clone()).or_default().clone()
    }

    /// Replaces the token of generation `seen`, unless that happened already. Dropping the future does not end a refresh: its answer
    /// has the only valid refresh token.
    pub(super) async fn renew(&self, key: &Key, seen: u64, target: Target) -> Result<Arc<Credential>, NotRenewed> {
        let (auth, key) = (self.clone(), key.clone());
        let work = tokio::spawn(async move {
            let flight = auth.flight(&key);
            let mut last = flight.0.lock().await;
            if let Some(known) = auth.newer(&key, seen) {
                return Ok(known);
            }
            let now = auth.now();
            if let Some((at, failure)) = &*last
                && now.saturating_sub(*at) < FAILURE
            {
                return Err(NotRenewed::Failed(failure.clone()));
            }
            let renewed = auth.renew_locked(&key, seen, &target).await;
            *last = match &renewed {
                Err(NotRenewed::Failed(failure)) => Some((auth.now(), failure.clone())),
                _ => None,
            };
            renewed
        });
        work.await.unwrap_or_else(|error| Err(NotRenewed::Failed(AuthFailure::Transient(error.to_string()))))
    }

    /// Returns the usable credential of a later generation than `seen`, from memory.
    fn newer(&self, key: &Key, seen: u64) -> Option<Arc<Credential>> {
        self.known(key).filter(|known| known.generation > seen && known.usable())
    }

    async fn renew_locked(&self, key: &Key, seen: u64, target: &Target) -> Result<Arc<Credential>, NotRenewed> {
        let _locked = self.0.store.lock(&key.0, &key.1).await.map_err(NotRenewed::Failed)?;
        let Some(stored) = self.reread(key) else { return Err(NotRenewed::Rejected("logged out".into())) };
        if let Some(why) = &stored.rejected {
            return Err(NotRenewed::Rejected(why.clone()));
        }
        if stored.generation > seen {
            return Ok(stored);
        }
        let http = self.http(&key.0, target).map_err(NotRenewed::Failed)?;
        let mut result = flow::refresh(&stored, http.clone(), self.now()).await;
        if let Err(AuthFailure::Transient(why)) = &result {
            // The answer may be lost, and with it the new refresh token: most servers accept the old one once more.
            tracing::info!(target: "switchboard::auth", "a refresh failed, once more: {why}");
            result = flow::refresh(&stored, http, self.now()).await;
        }
        match result {
            Ok(Ok(renewed)) => {
                let renewed = Credential { generation: stored.generation + 1, ..renewed };
                self.0.store.save(&renewed).map_err(NotRenewed::Failed)?;
                let renewed = Arc::new(renewed);
                self.remember(key, Some(renewed.clone()));
                tracing::info!(target: "switchboard::auth", server = %key.0, generation = renewed.generation, "token refreshed");
                Ok(renewed)
            }
            Ok(Err(why)) => {
                self.reject(key, &stored, &why);
                Err(NotRenewed::Rejected(why))
            }
            Err(failure) => {
                tracing::warn!(target: "switchboard::auth", server = %key.0, "the token was not refreshed: {failure}");
                Err(NotRenewed::Failed(failure))
            }
        }
    }

    /// Marks the token of a credential as useless. The caller holds the lock. Its registration is used again.
    pub(super) fn reject(&self, key: &Key, stored: &Credential, why: &str) {
        tracing::info!(target: "switchboard::auth", server = %key.0, "the login is not valid any more: {why}");
        let rejected = Credential { rejected: Some(why.to_owned()), ..stored.clone() };
        if let Err(failure) = self.0.store.save(&rejected) {
            tracing::warn!(target: "switchboard::auth", "{failure}");
        }
        self.remember(key, Some(Arc::new(rejected)));
    }

    /// Saves the credential of a login in place of those before it.
    pub(super) async fn replace(&self, key: &Key, credential: Credential) -> Result<Arc<Credential>, AuthFailure> {
        let _locked = self.0.store.lock(&key.0, &key.1).await?;
        let before = self.0.store.listed(&key.0, &key.1);
        let generation = before.iter().map(|before| before.generation).max().unwrap_or_default() + 1;
        let in_keyring = before.iter().any(|old| old.key() == credential.key() && old.in_keyring);
        let credential = Arc::new(Credential { generation, in_keyring, ..credential });
        self.0.store.save(&credential)?;
        for old in before.iter().filter(|old| old.key() != credential.key()) {
            self.0.store.remove(old)?;
        }
        self.remember(key, Some(credential.clone()));
        self.0.state.lock().wanting.remove(key);
        self.0.changes.send_replace(());
        Ok(credential)
    }
}
