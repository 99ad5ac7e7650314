//! The HTTP client of one server.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, Url, header};

use super::{answer::causes, proxy::Proxy, tls::TrustSources};
use crate::domain::server::{ConnectFailure, ServerSpec, Step, Transport};

/// Idle connections that are held open to one server.
const IDLE: usize = 32;

/// Where to connect to, what with, and through which proxy; nothing is sent yet.
pub(super) fn client_of(spec: &ServerSpec) -> Result<(Url, Client, Option<Proxy>), ConnectFailure> {
    let refuse = |why: String, hint: &str| {
        let mut failure = ConnectFailure::new(Step::Dial, why);
        failure.hints.push(hint.to_owned());
        failure.retryable = false;
        failure
    };
    let Transport::Http { url, headers, socket } = &spec.launch else { return Err(refuse("not an HTTP server".into(), "give a url")) };
    let parsed =
        Url::parse(url).map_err(|e| refuse(format!("the url cannot be read: {e}"), "give it as http://host:port/mcp or https://…"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(refuse(format!("{}: not a scheme for Streamable HTTP", parsed.scheme()), "give an http or https url"));
    }
    for (name, value) in headers {
        if header::HeaderName::from_bytes(name.as_bytes()).is_err() || header::HeaderValue::from_str(value.expose()).is_err() {
            return Err(refuse(format!("the header {name:?} cannot be sent"), "header names are tokens, values are one line of text"));
        }
    }
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(IDLE)
        .connect_timeout(spec.timeouts.connect.min(Duration::from_secs(10)))
        .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")));
    let local = matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let direct = local || socket.is_some();
    if direct {
        builder = builder.no_proxy();
    }
    let proxy = if direct { None } else { Proxy::of(&parsed) };
    if let Some(path) = socket {
        builder = builder.unix_socket(path.clone());
    }
    if parsed.scheme() == "http" {
        // Loading the system's certificates takes time and memory that plain HTTP has no use for.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| refuse(format!("TLS cannot be set up: {e}"), "this is a fault of the program; please report it"))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        builder = builder.tls_backend_preconfigured(tls);
    } else {
        if spec.tls.insecure {
            tracing::warn!(target: "switchboard::tls", server = %spec.id, "insecure = true: the certificate of the server is not checked");
        }
        let mut tls = TrustSources::of_environment().config(&spec.tls)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        builder = builder.tls_backend_preconfigured(tls);
    }
    let client = builder
        .build()
        .map_err(|e| refuse(format!("the HTTP client cannot be set up: {}", causes(&e).join(": ")), "check the system's certificates"))?;
    Ok((parsed, client, proxy))
}
