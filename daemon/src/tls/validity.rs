//! When a certificate ends: read in one place for who holds one, who is shown one, and who signs.

use ballast_core::units::Timestamp;
use x509_parser::{certificate::X509Certificate, parse_x509_certificate};

/// When a certificate ends; one that ends before 1970 has ended.
pub fn ends(certificate: &X509Certificate<'_>) -> Timestamp {
    Timestamp::from_secs(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0))
}

/// When a DER certificate ends; `None` where it is none.
pub fn ends_of_der(der: &[u8]) -> Option<Timestamp> {
    parse_x509_certificate(der).ok().map(|(_, certificate)| ends(&certificate))
}
