//! TLS settings of a server, and what can be wrong with its certificate.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lossy_path;

/// How the certificate of a server is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSettings {
    /// A file of certificates (PEM or DER) to trust in addition to the system's: authorities, or the server's own
    /// certificate.
    #[serde(default, with = "lossy_path::optional")]
    pub ca: Option<PathBuf>,
    /// Whether any certificate is accepted.
    pub insecure: bool,
}

/// What is wrong with the certificate of a server, or with its TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsProblem {
    /// Its issuer is not trusted.
    UnknownIssuer,
    /// It is self-signed, and it is not trusted.
    SelfSigned,
    /// It is for other host names.
    WrongName,
    /// Its validity has ended.
    Expired,
    /// Its validity has not begun.
    NotYetValid,
    /// It is revoked.
    Revoked,
    /// It cannot be used for another reason.
    InvalidCertificate,
    /// The certificates to trust cannot be read.
    TrustFile,
    /// The server requires a certificate of the client.
    ClientCertificate,
    /// The server does not speak TLS.
    NotTls,
    /// The handshake failed for another reason.
    Handshake,
}
