//! Whom user and password are told: a BMC whose certificate an authority of the site has signed, or is one the site holds itself.
//!
//! BMCs come with certificates of their own making, often without a name in them: such a one is believed where the very
//! same stands in the file, and nothing else about it counts then.

use std::{fs, path::Path, sync::Arc};

use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{self, CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

/// For connections to BMCs that one of the certificates in `ca` vouches for.
///
/// # Errors
/// A sentence naming the file.
pub(super) fn config(ca: &Path) -> Result<ClientConfig, String> {
    let pem = fs::read(ca).map_err(|error| format!("read bmc.ca {}: {error}", ca.display()))?;
    of_pem(&pem).map_err(|why| format!("bmc.ca {}: {why}", ca.display()))
}

/// Whether [`config`] can be made.
///
/// # Errors
/// Why not.
pub(in crate::host) fn check(ca: &Path) -> Result<(), String> {
    config(ca).map(drop)
}

fn of_pem(pem: &[u8]) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let known = Arc::new(Known::of_pem(pem, Arc::clone(&provider))?);
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.dangerous();
    Ok(config.with_custom_certificate_verifier(known).with_no_client_auth())
}

/// rustls' own checks, and the certificates that need none.
#[derive(Debug)]
struct Known {
    pinned: Vec<CertificateDer<'static>>,
    /// `None` where none of them can be an authority.
    usual: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Known {
    fn of_pem(pem: &[u8], provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let pinned: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let pinned = pinned.map_err(|error| error.to_string())?;
        if pinned.is_empty() {
            return Err("no certificate in PEM stands in it".to_owned());
        }
        let mut roots = RootCertStore::empty();
        let (authorities, _) = roots.add_parsable_certificates(pinned.iter().cloned());
        let usual = (authorities > 0)
            .then(|| WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build());
        let usual = usual.transpose().map_err(|error| error.to_string())?;
        Ok(Self { pinned, usual, provider })
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let usual = self.usual.as_ref().ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// Whether `cert` is believed to be `name`'s by what stands in `pem`.
    fn believed(pem: &str, cert: &CertificateDer<'_>, name: &str) -> bool {
        let known = Known::of_pem(pem.as_bytes(), Arc::new(ring::default_provider())).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
        known.verify_server_cert(cert, &[], &name, &[], now).is_ok()
    }

    #[test]
    fn what_an_authority_signed_is_believed_for_its_name_alone() {
        let authority = authority();
        let key = KeyPair::generate().unwrap();
        let cert =
            CertificateParams::new(["bmc7.example.org".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        assert!(believed(&authority.pem(), cert.der(), "bmc7.example.org"));
        assert!(!believed(&authority.pem(), cert.der(), "bmc8.example.org"));
        assert!(!believed(&self::authority().pem(), cert.der(), "bmc7.example.org"));
    }

    #[test]
    fn a_bmcs_own_certificate_is_believed_where_the_very_same_is_held() {
        // As BMCs make them: their own authority, no name of the machine.
        let (own, other) = (authority(), authority());
        assert!(believed(&format!("{}{}", other.pem(), own.pem()), own.der(), "192.0.2.7"));
        assert!(!believed(&other.pem(), own.der(), "192.0.2.7"));
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let why = config(Path::new("/nowhere/ca.pem")).unwrap_err();
        assert!(why.contains("/nowhere/ca.pem"), "{why}");
        assert!(of_pem(b"nothing").is_err());
    }
}
