//! The other side of a dialled connection must be a scheduler: signed by our authority, named as dialled, and of that
//! role. Without the last, whoever holds the certificate of a host could give orders to the agents of others.

use std::{fmt, sync::Arc};

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{PeerIdentity, Role};

/// Why a listener is not believed to be a scheduler.
#[derive(thiserror::Error)]
#[error("the certificate of the other side is for {found}, and only a scheduler's will do")]
struct NoScheduler {
    found: String,
}

impl fmt::Debug for NoScheduler {
    /// As it is displayed: rustls shows the errors of others in this form only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// rustls' own checks, and the role.
#[derive(Debug)]
pub(super) struct SchedulerOnly {
    /// Signature, validity, name.
    pub(super) usual: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for SchedulerOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let found = match PeerIdentity::of_certificate(end_entity) {
            Ok(peer) if peer.role == Role::Scheduler => return Ok(verified),
            Ok(peer) => peer.to_string(),
            Err(error) => format!("nobody ({error})"),
        };
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NoScheduler { found })))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
