//! The answer to a refused request: another token, a login, or nothing that helps. The adapter of the engine's port.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    Auth, Key,
    credential::Credential,
    failure::AuthFailure,
    flow::{self, Challenge, unique},
    http::Url,
    key_of,
    tokens::{NotRenewed, Target},
};
use crate::{
    domain::{
        client::Principal,
        login::{Grant, LoginWanted},
        secret::Secret,
        server::{ServerSpec, quote},
    },
    engine::ports::{Bearer, CredentialVerdict, Credentials, Refusal},
};

const UNAUTHORIZED: u16 = 401;

/// How long a token counts as new, in seconds. If it is refused in this time, another one would be too.
const FRESH: u64 = 30;

#[async_trait]
impl Credentials for Auth {
    async fn bearer(&self, spec: &ServerSpec, who: &Principal) -> Option<Bearer> {
        let key = key_of(spec, who)?;
        let current = self.current(&key, Target::of(spec, None)).await?;
        Some(Bearer { value: Secret::literal(&current.token.access), generation: current.generation })
    }

    async fn refused(&self, spec: &ServerSpec, who: &Principal, refusal: Refusal, sent: Option<u64>) -> CredentialVerdict {
        let Some(key) = key_of(spec, who) else { return CredentialVerdict::Denied("auth is off for this server".into()) };
        let Ok(parsed) = Url::parse(&key.0) else { return CredentialVerdict::Denied("the address of the server is invalid".into()) };
        let challenge = Challenge::read(&refusal.challenges, &parsed);
        // Another task or process may have got one meanwhile.
        let stored = self.reread(&key);
        if let Some(stored) = &stored
            && stored.usable()
            && sent != Some(stored.generation)
        {
            return CredentialVerdict::Again;
        }
        let case = Case { spec, key, challenge, target: Target::of(spec, refusal.peer), sent };
        if refusal.status == UNAUTHORIZED {
            self.unauthorized(&case, stored).await
        } else if case.challenge.insufficient_scope {
            self.step_up(&case, stored).await
        } else {
            CredentialVerdict::Denied("the server refuses this request for the account that is logged in".into())
        }
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }
}

/// A refused request.
struct Case<'a> {
    spec: &'a ServerSpec,
    key: Key,
    challenge: Challenge,
    target: Target,
    sent: Option<u64>,
}

impl Auth {
    async fn unauthorized(&self, case: &Case<'_>, stored: Option<Arc<Credential>>) -> CredentialVerdict {
        let Some(stored) = stored else {
            return self.log_in(case, &[], "the server requires a login").await;
        };
        if let Some(why) = &stored.rejected {
            return self.log_in(case, &stored.requested, &format!("the last login is not valid any more: {why}")).await;
        }
        let marked = (case.key.clone(), stored.generation);
        let fresh = self.now().saturating_sub(stored.token.received) < FRESH;
        if fresh && self.0.state.lock().refused_fresh.contains(&marked) {
            return self.log_in(case, &stored.requested, "the server refuses a new token").await;
        }
        // The tokens of one issuer are not for another one (MCP 2026-07-28, authorization, "Authorization Server Binding").
        if let Some(issuer) = self.issuer_of(case).await
            && stored.issuer.as_deref().is_some_and(|known| known != issuer)
        {
            let why = format!("the server has another authorization server now: {issuer}");
            if let Ok(_locked) = self.0.store.lock(&case.key.0, &case.key.1).await {
                self.reject(&case.key, &stored, &why);
            }
            return self.log_in(case, &[], &why).await;
        }
        match self.renew(&case.key, stored.generation, case.target.clone()).await {
            Ok(renewed) => {
                self.0.state.lock().refused_fresh.insert((case.key.clone(), renewed.generation));
                CredentialVerdict::Again
            }
            Err(NotRenewed::Rejected(why)) => self.log_in(case, &stored.requested, &format!("the token cannot be refreshed: {why}")).await,
            Err(NotRenewed::Failed(failure)) => CredentialVerdict::Denied(format!("the token could not be refreshed: {failure}")),
        }
    }

    /// Asks for more scopes: those of before and those that the server demands (SEP-2350).
    async fn step_up(&self, case: &Case<'_>, stored: Option<Arc<Credential>>) -> CredentialVerdict {
        let demanded = &case.challenge.scopes;
        let had: Vec<String> = stored.iter().flat_map(|stored| stored.scopes().cloned()).collect();
        if stored.is_some() && demanded.iter().all(|scope| had.contains(scope)) {
            let scopes = demanded.join(" ");
            return CredentialVerdict::Denied(format!("the server demands scopes that a login does not grant: {scopes}"));
        }
        let why = format!("the server demands more scopes: {}", demanded.join(" "));
        self.log_in(case, &had, &why).await
    }

    /// Returns the issuer that the server names now; `None` if it cannot be found out.
    async fn issuer_of(&self, case: &Case<'_>) -> Option<String> {
        let http = self.http(&case.key.0, &case.target).ok()?;
        let found = flow::discover(&case.key.0, http, &case.challenge).await.ok()?;
        found.issuer().map(str::to_owned)
    }

    /// Logs in without a user if the configuration allows it, or with the one that waits; else says that a login is needed.
    async fn log_in(&self, case: &Case<'_>, had: &[String], why: &str) -> CredentialVerdict {
        let scopes = unique(had.iter().chain(&case.challenge.scopes).chain(&case.spec.auth.scopes).cloned());
        let done = if case.spec.auth.grant == Grant::ClientCredentials {
            self.log_in_as_client(case, &scopes).await
        } else if let Some(prompt) = &self.0.prompt {
            let shown = |address: &str| prompt(case.spec, address);
            self.log_in_waiting(&case.key, case.target.clone(), &scopes, &case.challenge, case.sent, &shown).await
        } else {
            self.0.state.lock().wanting.insert(case.key.clone(), case.sent.unwrap_or_default());
            self.watch();
            // What a 401 demands, a login asks for without them.
            let named = if case.challenge.insufficient_scope { &scopes[..] } else { &[] };
            let command = match case.key.1.is_local() {
                true => case.spec.login_command(named),
                false => format!("{} --principal {}", case.spec.login_command(named), quote(case.key.1.as_str())),
            };
            return CredentialVerdict::NeedsLogin(LoginWanted { scopes, why: why.to_owned(), command });
        };
        match done {
            Ok(()) => CredentialVerdict::Again,
            Err(failure) => CredentialVerdict::Denied(format!("the login failed: {failure}")),
        }
    }

    async fn log_in_as_client(&self, case: &Case<'_>, scopes: &[String]) -> Result<(), AuthFailure> {
        let flight = self.login_flight(&case.key);
        let _one = flight.lock().await;
        if self.reread(&case.key).is_some_and(|stored| stored.usable() && case.sent.is_none_or(|sent| stored.generation > sent)) {
            return Ok(());
        }
        let http = self.http(&case.key.0, &case.target)?;
        let found = flow::discover(&case.key.0, http, &case.challenge).await?;
        let credential = found.client_credentials(&case.key.0, &case.key.1, &case.spec.auth, scopes, self.now()).await?;
        self.replace(&case.key, credential).await?;
        Ok(())
    }
}
