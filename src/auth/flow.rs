//! Authorization flows over the OAuth part of the MCP SDK: discovery, registration, the authorization code with PKCE, refresh, and
//! client credentials. The only place that names the SDK's manager, next to the HTTP client.
//!
//! What the SDK does not do, and this module does (as of 3.11): the registration is stored with its secret, the resource indicator is
//! sent as written, a refresh works without discovery, and errors of the authorization server are preserved.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use rmcp::transport::auth::{
    AuthError, AuthorizationManager, AuthorizationMetadata, ClientCredentialsConfig, CredentialStore, InMemoryCredentialStore,
    OAuthClientConfig, OAuthHttpClient, StateStore, StoredAuthorizationState, StoredCredentials, WWWAuthenticateParams,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    addresses::is_loopback,
    credential::{Client, ClientKind, Credential, Token, VERSION},
    failure::AuthFailure,
    http::{Http, Url, shown},
};
use crate::domain::{
    client::Principal,
    login::{AuthSettings, Grant},
};

/// The name in dynamic registrations, which authorization servers show to users.
const CLIENT_NAME: &str = "Switchboard";

/// A login between its two requests: everything that its end needs, in this process or another one.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) server: String,
    pub(super) principal: String,
    pub(super) client: Client,
    pub(super) resource: String,
    pub(super) requested: Vec<String>,
    pub(super) metadata: Value,
    /// The verifier, the state and the issuer that the response must have, in the SDK's form.
    pub(super) secrets: Value,
    /// When it was started, in seconds since the Unix epoch.
    pub(super) started: u64,
}

impl Attempt {
    /// Returns the value of `state` in its redirect.
    pub(super) fn state(&self) -> &str {
        self.secrets["csrf_token"].as_str().unwrap_or_default()
    }

    /// Returns the code verifier.
    pub(super) fn verifier(&self) -> &str {
        self.secrets["pkce_verifier"].as_str().unwrap_or_default()
    }
}

/// What a challenge says (RFC 6750, section 3; RFC 9728, section 5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The header value that discovery starts with.
    pub(super) header: Option<String>,
    /// The demanded scopes.
    pub(super) scopes: Vec<String>,
    /// Whether the token lacks a scope.
    pub(super) insufficient_scope: bool,
}

impl Challenge {
    /// Reads the `Bearer` challenge of the values of `WWW-Authenticate`.
    pub(super) fn read(challenges: &[String], url: &Url) -> Challenge {
        let bearer = |value: &&String| value.to_ascii_lowercase().contains("bearer") || value.contains("resource_metadata");
        let Some(header) = challenges.iter().find(bearer) else { return Challenge::default() };
        let params = WWWAuthenticateParams::parse(header, url);
        let scopes = params.scope.as_deref().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        Challenge { header: Some(header.clone()), scopes, insufficient_scope: params.is_insufficient_scope() }
    }
}

/// A server whose authorization server is known.
pub(super) struct Discovered {
    manager: AuthorizationManager,
    http: Arc<Http>,
    metadata: AuthorizationMetadata,
    states: States,
}

/// A store of states that can be read.
#[derive(Clone, Default)]
struct States(Arc<Mutex<HashMap<String, StoredAuthorizationState>>>);

#[async_trait]
impl StateStore for States {
    async fn save(&self, state: &str, stored: StoredAuthorizationState) -> Result<(), AuthError> {
        self.0.lock().insert(state.to_owned(), stored);
        Ok(())
    }

    async fn load(&self, state: &str) -> Result<Option<StoredAuthorizationState>, AuthError> {
        Ok(self.0.lock().get(state).cloned())
    }

    async fn delete(&self, state: &str) -> Result<(), AuthError> {
        self.0.lock().remove(state);
        Ok(())
    }
}

async fn manager(server: &str, http: &Arc<Http>) -> Result<AuthorizationManager, AuthFailure> {
    let client: Arc<dyn OAuthHttpClient> = http.clone();
    AuthorizationManager::new_with_oauth_http_client(server, client).await.map_err(|error| explain(http, &error))
}

/// Makes a failure of an error of the SDK, with what the authorization server said.
fn explain(http: &Http, error: &AuthError) -> AuthFailure {
    let noted = http.take_noted();
    if let Some(lost) = noted.lost {
        return AuthFailure::Transient(lost);
    }
    if let Some(refusal) = noted.error {
        let client = matches!(refusal.code.as_deref(), Some("invalid_client" | "unauthorized_client"));
        return match refusal.status {
            429 | 500.. => AuthFailure::Transient(refusal.to_string()),
            _ if client => AuthFailure::ClientUnknown(refusal.to_string()),
            _ => AuthFailure::Refused(refusal.to_string()),
        };
    }
    match error {
        AuthError::DiscoveryRequestFailed { url, source } => AuthFailure::Transient(format!("{}: {source}", shown(url))),
        AuthError::TokenRefreshFailed(why) => AuthFailure::Transient(why.clone()),
        AuthError::PkceUnsupported => AuthFailure::Unsupported("the authorization server does not support PKCE with S256".into()),
        AuthError::RegistrationFailed(_) => AuthFailure::Unsupported(
            "the authorization server registers no clients: set auth = { client_id = \"…\" } of the server to one that you registered"
                .into(),
        ),
        AuthError::NoAuthorizationSupport => AuthFailure::Unsupported("the server publishes no metadata for logins".into()),
        other => AuthFailure::Refused(other.to_string()),
    }
}

/// Finds the authorization server of a server: by the challenge, then by the well-known addresses (RFC 9728, section 3).
pub(super) async fn discover(server: &str, http: Arc<Http>, challenge: &Challenge) -> Result<Discovered, AuthFailure> {
    let mut manager = manager(server, &http).await?;
    let found = manager.resolve_metadata_from_challenge(challenge.header.as_deref()).await.map_err(|error| explain(&http, &error))?;
    if !found.source.is_discovered() && challenge.header.is_none() {
        return Err(AuthFailure::Unsupported("the server does not ask for a login, and publishes no metadata for one".into()));
    }
    let states = States::default();
    manager.set_state_store(states.clone());
    manager.set_metadata(found.metadata.clone());
    Ok(Discovered { manager, http, metadata: found.metadata, states })
}

impl Discovered {
    /// Returns the issuer of the authorization server.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.metadata.issuer.as_deref()
    }

    fn flag(&self, name: &str) -> bool {
        self.metadata.additional_fields.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Returns the scopes to ask for: `wanted`, else those of the challenge or of the metadata.
    async fn scopes(&self, wanted: &[String]) -> Vec<String> {
        if wanted.is_empty() {
            return self.manager.select_initial_scopes(&[]).await;
        }
        let mut scopes = unique(wanted.iter().cloned());
        let offline = "offline_access".to_owned();
        // SEP-2207: without it some servers issue no refresh token.
        if self.metadata.scopes_supported.as_ref().is_some_and(|supported| supported.contains(&offline)) && !scopes.contains(&offline) {
            scopes.push(offline);
        }
        scopes
    }

    /// Returns the registration to use: the configured one, the metadata document, the stored one, or a new one.
    async fn register(
        &mut self,
        settings: &AuthSettings,
        stored: Option<Client>,
        redirect: &str,
        scopes: &[String],
    ) -> Result<Client, AuthFailure> {
        let client = |id: &str, secret: Option<String>, kind| Client {
            id: id.to_owned(),
            secret,
            kind,
            redirect: redirect.to_owned(),
            secret_expires: None,
        };
        if let Some(id) = &settings.client_id {
            let secret = settings.client_secret.as_ref().map(|secret| secret.expose().to_owned());
            return Ok(client(id, secret, ClientKind::PreRegistered));
        }
        if let Some(url) = &settings.client_metadata_url
            && self.flag("client_id_metadata_document_supported")
        {
            return Ok(client(url, None, ClientKind::MetadataDocument));
        }
        if let Some(stored) = stored {
            return Ok(stored);
        }
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let registered = self.manager.register_client(CLIENT_NAME, redirect, &scopes).await.map_err(|error| explain(&self.http, &error))?;
        let response = self.http.take_noted().registration.unwrap_or_default();
        // 0 means never (RFC 7591, section 3.2.1).
        let secret_expires = response["client_secret_expires_at"].as_u64().filter(|at| *at > 0);
        Ok(Client { secret_expires, ..client(&registered.client_id, registered.client_secret, ClientKind::Dynamic) })
    }

    /// Starts a login: registers the client and returns the attempt with the address that the user opens.
    pub(super) async fn authorize(
        mut self,
        server: &str,
        who: &Principal,
        settings: &AuthSettings,
        wanted: &[String],
        (redirect, stored): (&str, Option<Client>),
        now: u64,
    ) -> Result<(Attempt, Url), AuthFailure> {
        let requested = self.scopes(wanted).await;
        let client = self.register(settings, stored, redirect, &requested).await?;
        configure(&mut self.manager, &self.http, &client)?;
        let scopes: Vec<&str> = requested.iter().map(String::as_str).collect();
        let address = self.manager.get_authorization_url(&scopes).await.map_err(|error| explain(&self.http, &error))?;
        let mut address = Url::parse(&address).map_err(|error| AuthFailure::Refused(format!("the authorization endpoint: {error}")))?;
        if !(address.scheme() == "https" || is_loopback(&address)) || !address.username().is_empty() || address.password().is_some() {
            return Err(AuthFailure::Refused(format!("the authorization endpoint {} is not an https address", shown(&address))));
        }
        let pairs: Vec<(String, String)> = address.query_pairs().into_owned().collect();
        let found = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default();
        let resource = settings.resource.clone().unwrap_or_else(|| found("resource"));
        let replaced = pairs.iter().map(|(key, value)| (key.as_str(), if key == "resource" { resource.as_str() } else { value }));
        address.query_pairs_mut().clear().extend_pairs(replaced);
        let secrets = self.states.0.lock().remove(&found("state"));
        let secrets = serde_json::to_value(secrets).map_err(|error| AuthFailure::Local(error.to_string()))?;
        let metadata = serde_json::to_value(&self.metadata).map_err(|error| AuthFailure::Local(error.to_string()))?;
        let (server, principal) = (server.to_owned(), who.as_str().to_owned());
        Ok((Attempt { server, principal, client, resource, requested, metadata, secrets, started: now }, address))
    }

    /// Gets a token with the client's own credentials (RFC 6749, section 4.4).
    pub(super) async fn client_credentials(
        mut self,
        server: &str,
        who: &Principal,
        settings: &AuthSettings,
        wanted: &[String],
        now: u64,
    ) -> Result<Credential, AuthFailure> {
        let requested = self.scopes(wanted).await;
        let id = settings.client_id.clone().unwrap_or_default();
        let secret = settings.client_secret.as_ref().map(|secret| secret.expose().to_owned());
        let client = Client { id, secret, kind: ClientKind::PreRegistered, redirect: String::new(), secret_expires: None };
        let resource = match &settings.resource {
            Some(resource) => resource.clone(),
            None => self.resource(&client).await?,
        };
        let metadata = serde_json::to_value(&self.metadata).map_err(|error| AuthFailure::Local(error.to_string()))?;
        let response = exchange_client(&mut self.manager, &self.http, &client, &requested, &resource).await?;
        let token = Token::read(&response, now, None).ok_or_else(no_token)?;
        Ok(Credential {
            v: VERSION,
            server: server.to_owned(),
            principal: who.as_str().to_owned(),
            resource,
            issuer: self.metadata.issuer.clone(),
            client,
            grant: Grant::ClientCredentials,
            granted: granted(&response, &requested),
            token,
            requested,
            metadata,
            generation: 0,
            rejected: None,
            in_keyring: false,
        })
    }

    /// Returns the resource indicator that the metadata of the server names. The SDK reveals it in authorization requests only.
    async fn resource(&mut self, client: &Client) -> Result<String, AuthFailure> {
        let placeholder = Client { redirect: "http://127.0.0.1/callback".into(), ..client.clone() };
        configure(&mut self.manager, &self.http, &placeholder)?;
        let address = self.manager.get_authorization_url(&[]).await.map_err(|error| explain(&self.http, &error))?;
        let address = Url::parse(&address).map_err(|error| AuthFailure::Refused(error.to_string()))?;
        let found = address.query_pairs().find(|(key, _)| key == "resource").map(|(_, value)| value.into_owned());
        Ok(found.unwrap_or_default())
    }
}

fn configure(manager: &mut AuthorizationManager, http: &Http, client: &Client) -> Result<(), AuthFailure> {
    let mut config = OAuthClientConfig::new(&client.id, &client.redirect);
    if let Some(secret) = &client.secret {
        config = config.with_client_secret(secret);
    }
    manager.configure_client(config).map_err(|error| explain(http, &error))
}

async fn exchange_client(
    manager: &mut AuthorizationManager,
    http: &Http,
    client: &Client,
    scopes: &[String],
    resource: &str,
) -> Result<Value, AuthFailure> {
    let config = ClientCredentialsConfig::ClientSecret {
        client_id: client.id.clone(),
        client_secret: client.secret.clone().unwrap_or_default(),
        scopes: scopes.to_vec(),
        resource: Some(resource.to_owned()),
    };
    manager.validate_client_credentials_metadata(&config).map_err(|error| explain(http, &error))?;
    manager.configure_client_credentials(&config).map_err(|error| explain(http, &error))?;
    let token = manager.exchange_client_credentials(&config).await.map_err(|error| explain(http, &error))?;
    serde_json::to_value(token).map_err(|error| AuthFailure::Local(error.to_string()))
}

fn no_token() -> AuthFailure {
    AuthFailure::Refused("its response has no access token".into())
}

/// Returns the granted scopes: those of the response, else those that were asked for (RFC 6749, section 5.1).
fn granted(response: &Value, requested: &[String]) -> Vec<String> {
    match response["scope"].as_str() {
        Some(scope) => scope.split_whitespace().map(str::to_owned).collect(),
        None => requested.to_vec(),
    }
}

/// Returns the items without repetitions, in their order.
pub(super) fn unique(items: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut found: Vec<String> = vec![];
    for item in items {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

fn metadata_of(value: &Value) -> Result<AuthorizationMetadata, AuthFailure> {
    serde_json::from_value(value.clone()).map_err(|error| AuthFailure::Local(format!("the stored metadata: {error}")))
}

/// Ends a login: exchanges the code for tokens.
pub(super) async fn exchange(
    attempt: &Attempt,
    http: Arc<Http>,
    code: &str,
    issuer: Option<&str>,
    now: u64,
) -> Result<Credential, AuthFailure> {
    let mut manager = manager(&attempt.server, &http).await?;
    let stored: StoredAuthorizationState =
        serde_json::from_value(attempt.secrets.clone()).map_err(|error| AuthFailure::Local(format!("the stored login: {error}")))?;
    let states = States::default();
    states.0.lock().insert(attempt.state().to_owned(), stored);
    manager.set_state_store(states);
    let metadata = metadata_of(&attempt.metadata)?;
    let issuer_of = metadata.issuer.clone();
    manager.set_metadata(metadata);
    configure(&mut manager, &http, &attempt.client)?;
    http.set_resource(&attempt.resource);
    let response = manager.exchange_code_for_token_with_issuer(code, attempt.state(), issuer).await;
    let response = response.map_err(|error| explain(&http, &error))?;
    let response = serde_json::to_value(response).map_err(|error| AuthFailure::Local(error.to_string()))?;
    Ok(Credential {
        v: VERSION,
        server: attempt.server.clone(),
        principal: attempt.principal.clone(),
        resource: attempt.resource.clone(),
        issuer: issuer_of,
        client: attempt.client.clone(),
        grant: Grant::Code,
        token: Token::read(&response, now, None).ok_or_else(no_token)?,
        granted: granted(&response, &attempt.requested),
        requested: attempt.requested.clone(),
        metadata: attempt.metadata.clone(),
        generation: 0,
        rejected: None,
        in_keyring: false,
    })
}

/// Gets a new token for a credential at the authorization server that issued the old one, which is never looked up again: the
/// refresh token reaches no other server. `Ok(Err)` if it definitely refuses.
pub(super) async fn refresh(old: &Credential, http: Arc<Http>, now: u64) -> Result<Result<Credential, String>, AuthFailure> {
    let mut manager = manager(&old.server, &http).await?;
    manager.set_metadata(metadata_of(&old.metadata)?);
    http.set_resource(&old.resource);
    if old.grant == Grant::ClientCredentials {
        let response = exchange_client(&mut manager, &http, &old.client, &old.requested, &old.resource).await?;
        let token = Token::read(&response, now, None).ok_or_else(no_token)?;
        return Ok(Ok(Credential { granted: granted(&response, &old.requested), token, rejected: None, ..old.clone() }));
    }
    let Some(refresh) = &old.token.refresh else { return Ok(Err("it has expired and has no refresh token".into())) };
    configure(&mut manager, &http, &old.client)?;
    let token = json!({"access_token": old.token.access, "token_type": "bearer", "refresh_token": refresh});
    let token = serde_json::from_value(token).map_err(|error| AuthFailure::Local(error.to_string()))?;
    let store = InMemoryCredentialStore::new();
    let stored = StoredCredentials::new(old.client.id.clone(), Some(token), old.granted.clone(), None).with_issuer(old.issuer.clone());
    store.save(stored).await.map_err(|error| explain(&http, &error))?;
    manager.set_credential_store(store);
    match manager.refresh_token().await {
        Ok(response) => {
            let response = serde_json::to_value(response).map_err(|error| AuthFailure::Local(error.to_string()))?;
            let token = Token::read(&response, now, Some(refresh)).ok_or_else(no_token)?;
            Ok(Ok(Credential { granted: granted(&response, &old.granted), token, rejected: None, ..old.clone() }))
        }
        Err(AuthError::TokenRefreshRejected(_)) => {
            let why = http.take_noted().error.map(|error| error.to_string());
            Ok(Err(why.unwrap_or_else(|| "invalid_grant".into())))
        }
        Err(error) => match explain(&http, &error) {
            AuthFailure::ClientUnknown(why) => Ok(Err(why)),
            failure => Err(failure),
        },
    }
}

/// Revokes the tokens of a credential (RFC 7009). `Ok(false)` if the authorization server has no endpoint for it.
pub(super) async fn revoke(credential: &Credential, http: &Http) -> Result<bool, AuthFailure> {
    let Some(endpoint) = credential.metadata["revocation_endpoint"].as_str() else { return Ok(false) };
    let tokens = [("refresh_token", credential.token.refresh.as_deref()), ("access_token", Some(credential.token.access.as_str()))];
    for (hint, token) in tokens.into_iter().filter_map(|(hint, token)| Some((hint, token?))) {
        let mut form = vec![("token", token), ("token_type_hint", hint), ("client_id", credential.client.id.as_str())];
        form.extend(credential.client.secret.as_deref().map(|secret| ("client_secret", secret)));
        let (status, _) = http.post_form(endpoint, &form).await?;
        if !(200..300).contains(&status) {
            return Err(AuthFailure::Refused(format!("the revocation with HTTP {status}")));
        }
    }
    Ok(true)
}
