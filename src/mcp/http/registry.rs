//! The client of an MCP registry: reads the description of a server by its name.
//!
//! The interface is that of the official registry, `GET /v0.1/servers/NAME/versions/latest`, which other registries offer too.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    answer::{read_body, transport},
    client::client_of,
};
use crate::domain::{
    call::{Failure, FailureKind},
    server::{ServerSpec, Transport},
};

/// Most bytes of a description.
const LARGEST: usize = 1 << 20;

/// Longest time for the response.
const WAIT: Duration = Duration::from_secs(30);

/// Why a registry has no description.
#[derive(Clone, Debug)]
pub enum RegistryError {
    /// The registry has no server of this name.
    Unknown,
    /// The registry cannot be reached, or its response cannot be used.
    Failed(Box<Failure>),
}

impl From<Failure> for RegistryError {
    fn from(failure: Failure) -> RegistryError {
        RegistryError::Failed(Box::new(failure))
    }
}

/// A response. The description is handed on as it was sent.
#[derive(Deserialize)]
struct Response {
    server: Box<RawValue>,
}

/// Returns the `server.json` of a server of the registry at `base`, an http or https address.
pub async fn server_json(base: &str, name: &str) -> Result<String, RegistryError> {
    match tokio::time::timeout(WAIT, request(base, name)).await {
        Ok(found) => found,
        Err(_) => Err(Failure::new(FailureKind::Timeout, format!("no response within {} s", WAIT.as_secs())).into()),
    }
}

async fn request(base: &str, name: &str) -> Result<String, RegistryError> {
    let url = format!("{}/v0.1/servers/{}/versions/latest", base.trim_end_matches('/'), name.replace('/', "%2F"));
    let spec = ServerSpec::new("registry", Transport::Http { url, headers: vec![], socket: None });
    let (url, client, proxy) = client_of(&spec).map_err(|failure| {
        let hint = failure.hints.first().cloned();
        let refused = Failure::new(FailureKind::InvalidArguments, failure.summary);
        RegistryError::from(hint.into_iter().fold(refused, Failure::hint))
    })?;
    let lost = |error: &reqwest::Error| transport(error, &url, proxy.as_ref());
    let response = client.get(url.clone()).header("accept", "application/json").send().await.map_err(|error| lost(&error))?;
    let status = response.status();
    if status == reqwest::StatusCode::NOT_FOUND {
        return Err(RegistryError::Unknown);
    }
    let protocol = |message: String| RegistryError::from(Failure::new(FailureKind::Protocol, message));
    if !status.is_success() {
        return Err(protocol(format!("HTTP {}", status.as_u16())));
    }
    let (body, cut) = read_body(response, LARGEST).await?;
    if cut {
        return Err(protocol("the description is larger than 1 MiB".into()));
    }
    match serde_json::from_str::<Response>(&body.text()) {
        Ok(response) => Ok(response.server.get().to_owned()),
        Err(_) => Err(protocol("the response has no member `server`".into())),
    }
}
