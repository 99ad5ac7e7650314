//! Sends batches of spans to a collector: OTLP over HTTP with Protocol Buffers.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, StatusCode, header};

use super::settings::Settings;

/// Attempts to send a batch.
const ATTEMPTS: u32 = 5;
/// The pause before the second attempt; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// The connection to a collector.
pub struct Collector {
    client: Client,
    settings: Settings,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The collector cannot be reached.
    #[error("the collector cannot be reached")]
    Unreachable,
    /// It answered with an error.
    #[error("the collector answered with HTTP status {0}")]
    Status(StatusCode),
}

impl Collector {
    /// Sets the client up. Fails with the reason.
    pub fn new(settings: Settings) -> Result<Collector, String> {
        let mut roots = rustls::RootCertStore::empty();
        if settings.endpoint.starts_with("https:") {
            let (_, unusable) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if unusable > 0 {
                tracing::debug!(target: "switchboard::otlp", unusable, "certificates of the system cannot be used");
            }
        }
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(settings.timeout)
            .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Collector { client, settings })
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends a batch, again after a pause if the collector is down or busy.
    pub async fn send(&self, batch: Vec<u8>) -> Result<(), Refused> {
        let body = bytes::Bytes::from(batch);
        let mut pause = PAUSE;
        for attempt in 1.. {
            match self.post(body.clone()).await {
                Err(refused) if attempt < ATTEMPTS && refused.may_be_over() => tokio::time::sleep(pause).await,
                end => return end,
            }
            pause *= 2;
        }
        Ok(())
    }

    async fn post(&self, body: bytes::Bytes) -> Result<(), Refused> {
        let mut request = self.client.post(&self.settings.endpoint).header(header::CONTENT_TYPE, "application/x-protobuf").body(body);
        for (name, value) in &self.settings.headers {
            request = request.header(name, value.expose());
        }
        // The error names the URL, which may have credentials.
        let response = request.send().await.map_err(|_| Refused::Unreachable)?;
        if response.status().is_success() { Ok(()) } else { Err(Refused::Status(response.status())) }
    }
}

impl Refused {
    /// Whether another attempt may succeed (OTLP specification, "Retryable Response Codes").
    fn may_be_over(&self) -> bool {
        match self {
            Refused::Unreachable => true,
            Refused::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}
