//! Sends batches to a collector: OTLP over HTTP with Protocol Buffers, or over gRPC.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, StatusCode, header};

use super::{
    grpc,
    settings::{Protocol, Target},
};

/// Attempts to send a batch.
const ATTEMPTS: u32 = 5;
/// The pause before the second attempt; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// The connection to a collector.
pub struct Collector {
    client: Client,
    target: Target,
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
    /// It answered with an error of gRPC.
    #[error("the collector answered with gRPC status {0}")]
    Grpc(u32),
    /// Its answer is not one of gRPC.
    #[error("the collector does not speak gRPC: its answer has no status")]
    NotGrpc,
}

impl Collector {
    /// Sets the client up. Fails with the reason.
    pub fn new(target: Target) -> Result<Collector, String> {
        let mut roots = rustls::RootCertStore::empty();
        if target.endpoint.starts_with("https:") {
            let (_, unusable) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if unusable > 0 {
                tracing::debug!(target: "switchboard::otlp", unusable, "certificates of the system cannot be used");
            }
        }
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut builder = Client::builder();
        if target.protocol == Protocol::Grpc {
            tls.alpn_protocols = vec![b"h2".to_vec()];
            builder = builder.http2_prior_knowledge();
        }
        let client = builder
            .redirect(reqwest::redirect::Policy::none())
            .timeout(target.timeout)
            .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Collector { client, target })
    }

    /// Returns the collector's address and settings.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sends a batch, again after a pause if the collector is down or busy.
    pub async fn send(&self, batch: Vec<u8>) -> Result<(), Refused> {
        let body = bytes::Bytes::from(match self.target.protocol {
            Protocol::Http => batch,
            Protocol::Grpc => grpc::framed(&batch),
        });
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
        let mut request = self.client.post(&self.target.endpoint).body(body);
        request = match self.target.protocol {
            Protocol::Http => request.header(header::CONTENT_TYPE, "application/x-protobuf"),
            Protocol::Grpc => request.header(header::CONTENT_TYPE, "application/grpc").header(header::TE, "trailers"),
        };
        for (name, value) in &self.target.headers {
            request = request.header(name, value.expose());
        }
        // The error names the URL, which may have credentials.
        let response = request.send().await.map_err(|_| Refused::Unreachable)?;
        if !response.status().is_success() {
            return Err(Refused::Status(response.status()));
        }
        if self.target.protocol == Protocol::Http {
            return Ok(());
        }
        match grpc::status(response.into()).await.map_err(|_| Refused::Unreachable)? {
            Some(grpc::OK) => Ok(()),
            Some(status) => Err(Refused::Grpc(status)),
            None => Err(Refused::NotGrpc),
        }
    }
}

impl Refused {
    /// Whether another attempt may succeed (OTLP specification, "Retryable Response Codes").
    fn may_be_over(&self) -> bool {
        match self {
            Refused::Unreachable => true,
            Refused::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            // CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
            Refused::Grpc(status) => matches!(status, 1 | 4 | 8 | 10 | 11 | 14 | 15),
            Refused::NotGrpc => false,
        }
    }
}
