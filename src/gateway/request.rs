//! A request of a client, read from raw JSON in one pass over its params and one over `_meta`.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{
    client::Client,
    era::{self, MODERN},
    failure::{self, UNSUPPORTED_VERSION, invalid},
};
use crate::{
    domain::{
        body::{self, Body},
        call::RpcError,
        client::Face,
        event::LogLevel,
        server::Era,
    },
    protocol::{
        connection::{Incoming, Outbox},
        meta::{CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, PROGRESS_TOKEN, VERSION},
    },
};

/// A request of a client.
pub struct Request {
    /// The client.
    pub client: Arc<Client>,
    /// The id, JSON text.
    pub id: Arc<str>,
    /// The method.
    pub method: Arc<str>,
    /// `params` as received, empty when absent.
    pub params: Body,
    /// The era of the request.
    pub era: Era,
    /// `_meta`, empty when absent.
    pub meta: Body,
    /// `_meta.progressToken`, JSON text.
    pub token: Option<Body>,
    /// What servers are to see of the client.
    pub face: Arc<Face>,
    /// Where messages that belong to the request go.
    pub outbox: Arc<dyn Outbox>,
}

impl Request {
    /// Reads a request. Fails if its params do not name a version and capabilities that the era demands.
    pub fn read(client: &Arc<Client>, incoming: &Incoming<'_>) -> Result<Request, RpcError> {
        // Detached: a large message is not held by its small parts, and results may take minutes.
        let params = incoming.params.clone();
        let raw = |value: &RawValue| params.slice_of(value.get().as_bytes());
        let [meta] = match params.is_empty() {
            true => [None],
            false => params.fields(["_meta"]).ok_or_else(|| invalid("params should be an object"))?,
        };
        let [token, version, client_info, capabilities, level] = meta
            .and_then(|meta| body::fields(meta.get().as_bytes(), [PROGRESS_TOKEN, VERSION, CLIENT_INFO, CLIENT_CAPABILITIES, LOG_LEVEL]))
            .unwrap_or_default();
        let version = version.map(text);
        let named_modern = version.as_ref().is_some_and(|version| version.as_deref().is_none_or(era::is_modern));
        let is_modern = named_modern || matches!(incoming.method, "server/discover" | "subscriptions/listen");
        let (era, face) = match is_modern {
            false => (Era::Legacy, client.face()),
            true => (Era::Modern, Arc::new(modern_face(version, client_info, capabilities, level, raw)?)),
        };
        Ok(Request {
            client: client.clone(),
            id: incoming.id.clone(),
            method: incoming.method.into(),
            era,
            meta: meta.map(raw).unwrap_or_default(),
            // A token is a string or an integer.
            token: token.filter(|token| token.get().starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())).map(raw),
            face,
            outbox: incoming.outbox.clone(),
            params,
        })
    }

    /// Returns members of the params, undecoded.
    pub fn members<const N: usize>(&self, names: [&str; N]) -> [Option<Body>; N] {
        let found = self.params.fields(names).unwrap_or([None; N]);
        found.map(|value| value.map(|value| self.params.slice_of(value.get().as_bytes())))
    }

    /// Returns a member of the params that is a text, or the error that it is missing.
    pub fn text(&self, name: &str) -> Result<String, RpcError> {
        let [value] = self.params.fields([name]).unwrap_or([None]);
        value.and_then(text).ok_or_else(|| invalid(format!("{name} should be a string")))
    }
}

/// Checks that the params of a modern request have the metadata that the era demands.
pub fn check_meta(params: &Body) -> Result<(), RpcError> {
    let [meta] = params.fields(["_meta"]).unwrap_or_default();
    let found = meta.and_then(|meta| body::fields(meta.get().as_bytes(), [VERSION, CLIENT_CAPABILITIES]));
    let [version, capabilities] = found.unwrap_or_default();
    version.and_then(text).ok_or_else(no_version)?;
    capabilities.filter(|capabilities| capabilities.get().starts_with('{')).ok_or_else(no_capabilities)?;
    Ok(())
}

fn no_version() -> RpcError {
    invalid(format!("_meta should have {VERSION}"))
}

fn no_capabilities() -> RpcError {
    invalid(format!("_meta should have {CLIENT_CAPABILITIES}, an object"))
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// Returns what servers are to see of a modern client, which declares it with each request (MCP 2026-07-28, basic, "Request
/// metadata").
fn modern_face(
    version: Option<Option<String>>,
    client_info: Option<&RawValue>,
    capabilities: Option<&RawValue>,
    level: Option<&RawValue>,
    raw: impl Fn(&RawValue) -> Body,
) -> Result<Face, RpcError> {
    let version = version.flatten().ok_or_else(no_version)?;
    if version != MODERN {
        return Err(unsupported(&version));
    }
    let capabilities = capabilities.filter(|capabilities| capabilities.get().starts_with('{'));
    let capabilities = capabilities.ok_or_else(no_capabilities)?;
    Ok(Face {
        capabilities: raw(capabilities),
        client_info: client_info.map(raw).unwrap_or_default(),
        log_level: level.and_then(text).map(LogLevel::from),
    })
}

/// Returns the error for a version that the gateway does not speak (MCP 2026-07-28, basic/versioning).
pub fn unsupported(requested: &str) -> RpcError {
    let supported: Vec<&str> = era::versions().collect();
    let data = Body::json(&serde_json::json!({"supported": supported, "requested": requested}));
    RpcError { data: Some(data), ..failure::error(UNSUPPORTED_VERSION, format!("protocol version {requested:?} is not supported")) }
}
