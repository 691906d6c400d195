//! Mutual TLS: certificates from files, and who a peer is by its certificate.
//!
//! [`Credentials`] holds what the files hold and follows them; [`incoming`] puts them before a listener; [`PeerIdentity`] is
//! who somebody is by a certificate. Nothing a peer says of itself counts against that.

mod accept;
mod credentials;
mod identity;
mod validity;
mod verify;

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tonic::transport::Endpoint;

pub use accept::incoming;
pub use credentials::{Credentials, Holder, Refreshed};
pub use identity::{IdentityError, PeerIdentity, Role};
pub use validity::{ends, ends_of_der};

/// The three files of one side, PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificates of the authorities whose word on the other side counts: one, or two while one replaces the other.
    pub ca: PathBuf,
    /// Own certificate.
    pub cert: PathBuf,
    /// Key of the own certificate.
    pub key: PathBuf,
}

/// Why TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {what} {}", path.display())]
    Read {
        /// Which of the three.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// A file can be read and holds no PEM of that kind, or holds it broken off.
    #[error("{} holds no {what} in PEM: {reason}", path.display())]
    Pem {
        /// Which of the three.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The files can be read and do not go together: a key of another certificate, an authority that cannot be one.
    #[error("{} and {} do not go together: {reason}", cert.display(), key.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The certificate is somebody else's.
    #[error("{} is not of {wanted}: {reason}", path.display())]
    Holder {
        /// The certificate.
        path: PathBuf,
        /// Whose it should be.
        wanted: String,
        /// Whose it is, or why nobody's.
        reason: String,
    },
    /// The other side's name is none that a certificate can carry, or the address is not one for TLS.
    #[error("{name:?} cannot be dialled by TLS: {reason}")]
    Name {
        /// What was to be dialled.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl TlsFiles {
    /// For a side that dials a scheduler once, as `name`, which the scheduler's certificate must carry as a DNS name or
    /// address. The other side must be a scheduler by its certificate.
    ///
    /// # Errors
    /// [`TlsError`] naming the file that cannot be used.
    pub fn secure(&self, endpoint: Endpoint, name: &str) -> Result<Endpoint, TlsError> {
        Credentials::load(self.clone(), Holder::Anyone)?.secure(endpoint, name)
    }
}
