//! TLS of one server: the certificates that are trusted, the check of the server's certificate, and what a refusal means.
//!
//! The check is that of webpki with one addition: a certificate that the user names is trusted as it is, even if it is its
//! own authority. `openssl req -x509` makes such certificates, and webpki refuses them as server certificates.

use std::{
    error::Error as StdError,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use crate::domain::{
    bounds,
    server::{ConnectFailure, Step},
    time::{date, size},
    tls::{TlsProblem, TlsSettings},
};

/// The variable with a file of authorities to trust instead of the system's (OpenSSL).
const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// The variable with folders of authorities to trust instead of the system's (OpenSSL).
const SSL_CERT_DIR: &str = "SSL_CERT_DIR";
/// The variable with a file of authorities to trust in addition (Node).
const NODE_EXTRA_CA_CERTS: &str = "NODE_EXTRA_CA_CERTS";
/// Largest file of certificates, in bytes.
const LARGEST: u64 = 16 << 20;
/// Most names of a certificate that a message lists.
const NAMES: usize = 5;

/// Where certificates to trust come from, in addition to the settings of the server.
#[derive(Clone, Debug, Default)]
pub(in crate::mcp) struct TrustSources {
    file: Option<PathBuf>,
    folders: Vec<PathBuf>,
    extra: Option<PathBuf>,
}

impl TrustSources {
    /// Reads the variables of this process.
    pub(in crate::mcp) fn of_environment() -> TrustSources {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folders = std::env::var_os(SSL_CERT_DIR).unwrap_or_default();
        TrustSources {
            file: path(SSL_CERT_FILE),
            folders: std::env::split_paths(&folders).filter(|path| !path.as_os_str().is_empty()).collect(),
            extra: path(NODE_EXTRA_CA_CERTS),
        }
    }

    /// Returns the TLS configuration of a server. Fails if the certificates to trust cannot be read.
    pub(in crate::mcp) fn config(&self, settings: &TlsSettings) -> Result<ClientConfig, ConnectFailure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trusted = match settings.insecure {
            true => None,
            false => Some(self.trusted(settings.ca.as_deref())?),
        };
        let verifier = Arc::new(Verifier::new(trusted, &provider));
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.map_err(|error| unusable(format!("TLS cannot be set up: {error}"), "report this bug"))?;
        Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }

    /// Returns the trusted certificates: the system's or those of the variables, and those of `ca`.
    fn trusted(&self, ca: Option<&Path>) -> Result<Trusted, ConnectFailure> {
        let mut trusted = Trusted::default();
        if let Some(file) = &self.file {
            let named = read(file).map_err(|why| {
                let message = format!("{SSL_CERT_FILE} names {}, which {why}", file.display());
                unusable(message, "correct SSL_CERT_FILE, or unset it to trust the authorities of the system")
            })?;
            trusted.add_named(named);
        }
        if self.file.is_none() && self.folders.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            report(found.errors);
            trusted.roots.add_parsable_certificates(found.certs);
        }
        for folder in &self.folders {
            let found = rustls_native_certs::load_certs_from_paths(None, Some(folder));
            report(found.errors);
            trusted.roots.add_parsable_certificates(found.certs);
        }
        if let Some(extra) = &self.extra {
            match read(extra) {
                Ok(named) => trusted.add_named(named),
                // Node warns and continues.
                Err(why) => {
                    let unread = format!("{NODE_EXTRA_CA_CERTS} names {}, which {why}", extra.display());
                    tracing::warn!(target: "switchboard::tls", "{unread}");
                    trusted.unread = Some(unread);
                }
            }
        }
        if let Some(ca) = ca {
            let named = read(ca).map_err(|why| {
                unusable(format!("ca names {}, which {why}", ca.display()), "set ca to a file of certificates in PEM or DER form")
            })?;
            trusted.add_named(named);
        }
        if trusted.roots.is_empty() {
            let hint = "install the certificates of the system (ca-certificates), or set ca for this server";
            return Err(unusable("no certificate authority is trusted: the system has none".to_owned(), hint));
        }
        Ok(trusted)
    }
}

fn report(errors: Vec<rustls_native_certs::Error>) {
    for error in errors {
        tracing::warn!(target: "switchboard::tls", "certificates of the system: {error}");
    }
}

fn unusable(message: String, hint: &str) -> ConnectFailure {
    let mut failure = ConnectFailure::new(Step::Dial, message);
    failure.hints.push(hint.to_owned());
    failure.tls = Some(TlsProblem::TrustFile);
    failure.retryable = false;
    failure
}

/// Reads the certificates of a file. The error completes the sentence "the file …".
fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = bytes_of(path).map_err(|error| format!("cannot be read: {error}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| format!("is not valid PEM: {error}"))?;
    // A DER certificate is a SEQUENCE.
    let found = if found.is_empty() && bytes.first() == Some(&0x30) { vec![CertificateDer::from(bytes)] } else { found };
    let usable = |certificate: &CertificateDer<'static>| RootCertStore::empty().add(certificate.clone()).is_ok();
    match found.iter().any(usable) {
        true => Ok(found),
        false if found.is_empty() => Err("holds no certificate".into()),
        false => Err("holds no certificate that can be used".into()),
    }
}

fn bytes_of(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    // Not a pipe or a device, which could block.
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(std::io::Error::other(format!("it is larger than {}", size(LARGEST)))),
        false => Ok(bytes),
    }
}

/// Trusted certificates.
#[derive(Debug)]
struct Trusted {
    roots: RootCertStore,
    /// The certificates that the user names.
    named: Vec<CertificateDer<'static>>,
    /// Why certificates that the environment names are not among them.
    unread: Option<String>,
}

impl Default for Trusted {
    fn default() -> Trusted {
        Trusted { roots: RootCertStore::empty(), named: vec![], unread: None }
    }
}

impl Trusted {
    fn add_named(&mut self, certificates: Vec<CertificateDer<'static>>) {
        self.roots.add_parsable_certificates(certificates.iter().cloned());
        self.named.extend(certificates);
    }
}

/// Checks the certificate of a server, and that the server has its key.
#[derive(Debug)]
struct Verifier {
    /// The trusted certificates; `None` accepts every certificate (`insecure = true`).
    trusted: Option<Trusted>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Why a certificate is refused, where the error of rustls says less.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("the issuer is not trusted")]
    UnknownIssuer { self_signed: bool, unread: Option<String> },
    #[error("the certificate is that of an authority")]
    Authority,
    #[error("the certificate is for other names")]
    WrongName { names: Vec<String> },
}

impl Verifier {
    fn new(trusted: Option<Trusted>, provider: &CryptoProvider) -> Verifier {
        Verifier { trusted, algorithms: provider.signature_verification_algorithms }
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let Some(trusted) = &self.trusted else { return Ok(()) };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let chain = verify_server_cert_signed_by_trust_anchor(&certificate, &trusted.roots, intermediates, now, self.algorithms.all);
        if let Err(error) = chain {
            // The validity was checked before the constraint that fails here.
            if !(is_own_authority(&error) && trusted.named.iter().any(|named| named == end_entity)) {
                return Err(refusal(error, end_entity, trusted.unread.clone()));
            }
        }
        verify_server_name(&certificate, name).map_err(|_| {
            let names = webpki::EndEntityCert::try_from(end_entity).map(|cert| cert.valid_dns_names().map(str::to_owned).collect());
            other(Refused::WrongName { names: names.unwrap_or_default() })
        })
    }
}

/// Returns the error for a certificate without a trusted issuer, with what is known of it; any other error as it is.
///
/// `unread`: why the system's authorities could not be read.
fn refusal(error: rustls::Error, end_entity: &CertificateDer<'_>, unread: Option<String>) -> rustls::Error {
    let self_signed = webpki::EndEntityCert::try_from(end_entity).is_ok_and(|cert| cert.issuer() == cert.subject());
    match &error {
        error if is_own_authority(error) && !self_signed => other(Refused::Authority),
        error if is_own_authority(error) => other(Refused::UnknownIssuer { self_signed, unread }),
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => other(Refused::UnknownIssuer { self_signed, unread }),
        // A certificate of the same name is trusted, such as the one that this one replaced.
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) if self_signed => {
            other(Refused::UnknownIssuer { self_signed, unread })
        }
        _ => error,
    }
}

fn other(refused: Refused) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(refused))).into()
}

/// Returns whether webpki refuses a certificate only because it is that of an authority.
fn is_own_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(error))) = error else { return false };
    matches!(error.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity, intermediates, server_name, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A failed TLS handshake, for the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TlsFailure {
    /// The kind, for programs.
    pub problem: TlsProblem,
    /// What happened.
    pub message: String,
    /// What the user can try.
    pub hint: String,
}

/// Returns what a failed connection to `host` means, if its TLS handshake failed.
pub(super) fn failure_of(error: &(dyn StdError + 'static), host: &str) -> Option<TlsFailure> {
    let error = tls_error(error)?;
    let failure = |problem, message: String, hint: &str| TlsFailure { problem, message, hint: hint.to_owned() };
    Some(match error {
        rustls::Error::InvalidCertificate(error) => certificate_failure(error, host),
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            failure(TlsProblem::NotTls, format!("{host} does not speak TLS"), "use http:// in url, or correct its port")
        }
        rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired) => failure(
            TlsProblem::ClientCertificate,
            format!("{host} requires a certificate of the client, which is not supported"),
            "use an address of the server that accepts other credentials, or a local proxy that has the certificate",
        ),
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion | rustls::AlertDescription::HandshakeFailure) => failure(
            TlsProblem::Handshake,
            format!("{host} and Switchboard have no TLS version or cipher in common"),
            "enable TLS 1.2 or 1.3 with current ciphers in the server",
        ),
        rustls::Error::AlertReceived(alert) => failure(
            TlsProblem::Handshake,
            format!("{host} ended the TLS handshake with the alert {alert:?}"),
            "check the log of the server, and that url has its host name",
        ),
        error => failure(TlsProblem::Handshake, format!("the TLS handshake with {host} failed: {error}"), "check the log of the server"),
    })
}

/// Returns the failure of a direct connection to `host` that the server ended during the TLS handshake, if that is what
/// happened.
pub(super) fn ended_handshake(error: &(dyn StdError + 'static), host: &str) -> Option<TlsFailure> {
    let ended = causes(error)
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof));
    ended.then(|| TlsFailure {
        problem: TlsProblem::Handshake,
        message: format!("{host} ended the connection during the TLS handshake"),
        hint: "check the log of the server; if it does not speak TLS, use http:// in url".into(),
    })
}

fn certificate_failure(error: &CertificateError, host: &str) -> TlsFailure {
    let refused = match error {
        CertificateError::Other(OtherError(error)) => error.downcast_ref::<Refused>(),
        _ => None,
    };
    let (problem, message, hint) = match (error, refused) {
        (_, Some(Refused::UnknownIssuer { self_signed, unread })) => {
            let unread = unread.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
            match self_signed {
                true => (
                    TlsProblem::SelfSigned,
                    format!("the certificate of {host} is self-signed and not trusted{unread}"),
                    "if it is the right one, save it and set ca = \"FILE\" for this server, or name the file in SSL_CERT_FILE or \
                     NODE_EXTRA_CA_CERTS; insecure = true turns the check off",
                ),
                false => (
                    TlsProblem::UnknownIssuer,
                    format!("the certificate of {host} is issued by an authority that is not trusted{unread}"),
                    "set ca = \"FILE\" to the certificate of that authority for this server, or name the file in SSL_CERT_FILE (instead \
                     of the authorities of the system) or NODE_EXTRA_CA_CERTS (in addition)",
                ),
            }
        }
        (_, Some(Refused::Authority)) => (
            TlsProblem::InvalidCertificate,
            format!("the certificate of {host} is that of a certificate authority"),
            "give the server a certificate of its own, or set ca = \"FILE\" to exactly this certificate",
        ),
        (_, Some(Refused::WrongName { names })) => (
            TlsProblem::WrongName,
            format!("the certificate is not valid for {host}: {}", names_text(names)),
            "use a name of the certificate in url, or give the server a certificate for this name",
        ),
        (CertificateError::ExpiredContext { not_after, .. }, _) => {
            (TlsProblem::Expired, format!("the certificate of {host} expired on {}", date(not_after.as_secs())), RENEW)
        }
        (CertificateError::Expired, _) => (TlsProblem::Expired, format!("the certificate of {host} has expired"), RENEW),
        (CertificateError::NotValidYetContext { not_before, .. }, _) => (
            TlsProblem::NotYetValid,
            format!("the certificate of {host} is not valid before {}", date(not_before.as_secs())),
            "check the clock of this computer, and the certificate of the server",
        ),
        (CertificateError::NotValidYet, _) => (
            TlsProblem::NotYetValid,
            format!("the certificate of {host} is not valid yet"),
            "check the clock of this computer, and the certificate of the server",
        ),
        (CertificateError::Revoked, _) => {
            (TlsProblem::Revoked, format!("the certificate of {host} is revoked"), "give the server a new certificate")
        }
        (CertificateError::BadSignature, _) => (
            TlsProblem::InvalidCertificate,
            format!("the certificate of {host} has a wrong signature"),
            "check that ca is the authority that issued it, and not another of the same name",
        ),
        (error, _) => (
            TlsProblem::InvalidCertificate,
            format!("the certificate of {host} cannot be used: {error}"),
            "give the server a certificate with a subject alternative name, for server authentication, with a current signature algorithm",
        ),
    };
    TlsFailure { problem, message, hint: hint.to_owned() }
}

const RENEW: &str = "renew the certificate of the server, or correct the clock of this computer";

fn names_text(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES).map(|name| bounds::cut(name, 100).into_owned()).collect();
    match names.len() {
        0 => "it names no other host either, or only addresses (a subject alternative name is needed)".into(),
        count if count > NAMES => format!("it is for {} and {} more", shown.join(", "), count - NAMES),
        _ => format!("it is for {}", shown.join(", ")),
    }
}

/// Finds the TLS error in a chain of causes.
fn tls_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>())
}

/// Returns an error and its causes. Errors of `std::io` do not name what they wrap as their source.
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'e (dyn StdError + 'static) = *error;
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &'e (dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn params(names: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        params
    }

    /// Returns a self-signed certificate.
    fn own(params: &CertificateParams) -> CertificateDer<'static> {
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn issued(by: &CertifiedIssuer<'static, KeyPair>, params: &CertificateParams) -> CertificateDer<'static> {
        params.signed_by(&KeyPair::generate().unwrap(), by).unwrap().der().clone()
    }

    /// Checks a certificate for `localhost` against the named ones.
    fn check(named: &[&CertificateDer<'static>], certificate: &CertificateDer<'_>) -> Result<(), TlsFailure> {
        let mut trusted = Trusted::default();
        trusted.add_named(named.iter().map(|named| (*named).clone()).collect());
        // An authority that issued nothing: a store is never empty.
        trusted.add_named(vec![authority("Another CA").as_ref().der().clone()]);
        let verifier = Verifier::new(Some(trusted), &rustls::crypto::ring::default_provider());
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW));
        let name = ServerName::try_from("localhost").unwrap();
        verifier.check(certificate, &[], &name, now).map_err(|error| failure_of(&std::io::Error::other(error), "localhost").unwrap())
    }

    fn problem(outcome: Result<(), TlsFailure>) -> TlsProblem {
        outcome.unwrap_err().problem
    }

    #[test]
    fn a_certificate_that_is_its_own_authority_can_be_trusted() {
        let mut made = params(&["localhost"]);
        made.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (certificate, other) = (own(&made), own(&made));
        assert_eq!(check(&[&certificate], &certificate), Ok(()));
        assert_eq!(problem(check(&[], &certificate)), TlsProblem::SelfSigned);
        assert_ne!(check(&[&other], &certificate), Ok(()), "another certificate of the same name and key usage");
        made.subject_alt_names = params(&["other.example"]).subject_alt_names;
        let elsewhere = own(&made);
        let wrong = check(&[&elsewhere], &elsewhere).unwrap_err();
        assert_eq!(
            (wrong.problem, wrong.message.as_str()),
            (TlsProblem::WrongName, "the certificate is not valid for localhost: it is for other.example")
        );
        made = params(&["localhost"]);
        made.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        made.not_after = date_time_ymd(2026, 2, 1);
        let old = own(&made);
        let expired = check(&[&old], &old).unwrap_err();
        assert_eq!(
            (expired.problem, expired.message.as_str()),
            (TlsProblem::Expired, "the certificate of localhost expired on 2026-02-01")
        );
        made.not_after = date_time_ymd(2099, 1, 1);
        made.not_before = date_time_ymd(2098, 1, 1);
        let early = own(&made);
        assert_eq!(problem(check(&[&early], &early)), TlsProblem::NotYetValid);
    }

    #[test]
    fn a_self_signed_certificate_without_authority_can_be_trusted() {
        let (certificate, other) = (own(&params(&["localhost"])), own(&params(&["localhost"])));
        assert_eq!(check(&[&certificate], &certificate), Ok(()));
        assert_eq!(problem(check(&[], &certificate)), TlsProblem::SelfSigned);
        assert_eq!(problem(check(&[&other], &certificate)), TlsProblem::SelfSigned, "the one that it replaced is trusted");
        let unnamed = own(&params(&[]));
        assert_eq!(problem(check(&[&unnamed], &unnamed)), TlsProblem::WrongName);
    }

    #[test]
    fn certificates_of_a_private_authority_are_checked() {
        let (authority, namesake) = (authority("Our CA"), authority("Our CA"));
        let ca = authority.as_ref().der().clone();
        let good = issued(&authority, &params(&["localhost"]));
        assert_eq!(check(&[&ca], &good), Ok(()));
        assert_eq!(problem(check(&[], &good)), TlsProblem::UnknownIssuer);
        let wrong = check(&[namesake.as_ref().der()], &good).unwrap_err();
        assert!(wrong.problem == TlsProblem::InvalidCertificate && wrong.message.contains("wrong signature"), "{wrong:?}");
        assert_eq!(problem(check(&[&ca], &issued(&authority, &params(&["other.example"])))), TlsProblem::WrongName);
        let mut old = params(&["localhost"]);
        old.not_after = date_time_ymd(2026, 2, 1);
        assert_eq!(problem(check(&[&ca], &issued(&authority, &old))), TlsProblem::Expired);
        // An intermediate authority that is used as a server certificate is not self-signed.
        let mut between = params(&["localhost"]);
        between.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let between = issued(&authority, &between);
        assert_eq!(problem(check(&[&ca], &between)), TlsProblem::InvalidCertificate);
        assert_eq!(check(&[&between], &between), Ok(()));
    }

    #[test]
    fn files_are_read_in_both_forms_or_explained() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let certificate = own(&params(&["localhost"]));
        let made = params(&["localhost"]).self_signed(&KeyPair::generate().unwrap()).unwrap();
        std::fs::write(path("one.der"), &certificate).unwrap();
        std::fs::write(path("two.pem"), format!("a comment\n{}{}", made.pem(), made.pem())).unwrap();
        std::fs::write(path("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        std::fs::write(path("text"), "no certificate").unwrap();
        assert_eq!(read(&path("one.der")), Ok(vec![certificate]));
        assert_eq!(read(&path("two.pem")).map(|found| found.len()), Ok(2));
        for (name, why) in
            [("key.pem", "holds no certificate"), ("text", "holds no certificate"), ("none", "cannot be read"), ("", "regular")]
        {
            let error = read(&path(name)).unwrap_err();
            assert!(error.contains(why), "{name}: {error}");
        }
        let missing = TrustSources { file: Some(path("none")), ..TrustSources::default() };
        let failure = missing.config(&TlsSettings::default()).unwrap_err();
        assert!(failure.summary.starts_with("SSL_CERT_FILE names") && !failure.retryable, "{failure:?}");
        assert_eq!(failure.tls, Some(TlsProblem::TrustFile));
        let named = TlsSettings { ca: Some(path("text")), insecure: false };
        let sources = TrustSources { file: Some(path("two.pem")), ..TrustSources::default() };
        assert!(sources.config(&named).unwrap_err().summary.starts_with("ca names"));
        let extra = TrustSources { extra: Some(path("none")), ..sources };
        assert!(extra.config(&TlsSettings::default()).is_ok(), "Node continues without the file too");
        assert!(extra.trusted(None).unwrap().unread.is_some());
    }

    #[test]
    fn other_failures_of_the_handshake_are_explained() {
        for (error, problem) in [
            (rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), TlsProblem::NotTls),
            (rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired), TlsProblem::ClientCertificate),
            (rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion), TlsProblem::Handshake),
            (rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName), TlsProblem::Handshake),
            (CertificateError::Revoked.into(), TlsProblem::Revoked),
            (CertificateError::BadEncoding.into(), TlsProblem::InvalidCertificate),
        ] {
            let failure = failure_of(&std::io::Error::other(error), "host:443").unwrap();
            assert!(failure.problem == problem && failure.message.contains("host:443"), "{failure:?}");
        }
        assert_eq!(failure_of(&std::io::Error::from(std::io::ErrorKind::ConnectionRefused), "host"), None);
    }
}
