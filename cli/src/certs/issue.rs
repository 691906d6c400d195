//! Keys and certificates in memory: an authority, and whom it signs. ECDSA on P-256, which every TLS library speaks.

use std::{fs, net::IpAddr, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use ballast_core::units::Timestamp;
use ballast_daemon::tls::{self, PeerIdentity, Role};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use x509_parser::{parse_x509_certificate, pem::parse_x509_pem};

/// Certificates begin before they are made: clocks of hosts are off.
const EARLIER: Duration = Duration::from_secs(3600);

/// A certificate and its key, PEM, and the day it ends.
pub(super) struct Made {
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) valid_until: String,
}

/// What is wanted of a certificate.
pub(super) struct Wish<'a> {
    pub(super) identity: &'a PeerIdentity,
    pub(super) sans: &'a [String],
    pub(super) from: Timestamp,
    pub(super) lasting: Duration,
}

/// A new authority, valid from `now` on for `lasting`. It signs for nobody who could sign in turn.
pub(super) fn authority(now: Timestamp, lasting: Duration) -> anyhow::Result<Made> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "ballast authority");
    let valid_until = span(&mut params, now, lasting);
    let key = KeyPair::generate()?;
    Ok(Made { cert: params.self_signed(&key)?.pem(), key: key.serialize_pem(), valid_until })
}

/// An authority that can sign.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ends: Timestamp,
}

impl Authority {
    /// Reads `ca.pem` and `ca.key` of `folder`.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            let missing = || format!("read {}: `ballast certs init --out DIR` makes an authority", path.display());
            fs::read_to_string(&path).with_context(missing)
        };
        let (cert, key) = (read("ca.pem")?, read("ca.key")?);
        let unfit = || format!("ca.pem and ca.key of {} are not those of an authority", folder.display());
        let key = KeyPair::from_pem(&key).with_context(unfit)?;
        let (ends, public) = about(&cert).with_context(unfit)?;
        ensure!(public == key.public_key_raw(), "{}: the key is not the certificate's", unfit());
        Ok(Self { issuer: Issuer::from_ca_cert_pem(&cert, key).with_context(unfit)?, ends })
    }

    /// A certificate as it is wished for.
    pub(super) fn issue(&self, wish: &Wish<'_>) -> anyhow::Result<Made> {
        let ends = wish.from.after(wish.lasting);
        let left = self.ends.since(wish.from).as_secs() / 86_400;
        ensure!(ends <= self.ends, "--days: the authority itself ends in {left} days; 1 to {left} is needed");
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, wish.identity.name.as_str());
        params.subject_alt_names = names(wish)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match wish.identity.role {
            // Only the scheduler listens, and it dials nobody.
            Role::Scheduler => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Agent | Role::Operator | Role::Viewer => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        let valid_until = span(&mut params, wish.from, wish.lasting);
        let key = KeyPair::generate()?;
        Ok(Made { cert: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem(), valid_until })
    }
}

/// When an authority ends, and its public key.
fn about(pem: &str) -> anyhow::Result<(Timestamp, Vec<u8>)> {
    let (_, pem) = parse_x509_pem(pem.as_bytes())?;
    let (_, certificate) = parse_x509_certificate(&pem.contents)?;
    ensure!(certificate.is_ca(), "it may not sign others");
    Ok((tls::ends(&certificate), certificate.public_key().subject_public_key.data.to_vec()))
}

/// Who it is, then the names it is dialled by; a scheduler is always dialled by its own.
fn names(wish: &Wish<'_>) -> anyhow::Result<Vec<SanType>> {
    let mut names = vec![SanType::URI(wish.identity.uri().as_str().try_into()?)];
    let own = Some(&wish.identity.name).filter(|_| wish.identity.role == Role::Scheduler);
    for san in own.into_iter().chain(wish.sans.iter().filter(|san| Some(*san) != own)) {
        let name = match san.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => {
                let is_dns = !san.is_empty() && san.chars().all(|c| c.is_ascii_alphanumeric() || ".-*".contains(c));
                ensure!(is_dns, "--san {san:?} is neither an IP address nor a DNS name");
                SanType::DnsName(san.as_str().try_into()?)
            }
        };
        names.push(name);
    }
    Ok(names)
}

/// Sets from when to when; returns the day of the end.
fn span(params: &mut CertificateParams, from: Timestamp, lasting: Duration) -> String {
    let at = |moment: Timestamp| date_time_ymd(1970, 1, 1) + Duration::from_secs(moment.nanos() / 1_000_000_000);
    params.not_before = at(from) - EARLIER;
    params.not_after = at(from.after(lasting));
    params.not_after.date().to_string()
}
