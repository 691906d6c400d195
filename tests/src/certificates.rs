//! A certificate authority for one test: agents, operators and a scheduler that trust each other and nobody else.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use ballast_daemon::tls::{PeerIdentity, Role, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

/// An authority that writes what it issues into one folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority; its certificate lies as `ca.pem` in `folder`.
    ///
    /// # Errors
    /// Where keys cannot be made or files not be written.
    pub fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "ballast test authority");
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        write(&folder.join("ca.pem"), &certificate.pem())?;
        Ok(Self { folder: folder.into(), issuer: Issuer::new(params, key) })
    }

    /// Issues a certificate for `role` and `name`, valid for `address` where one is given.
    ///
    /// # Errors
    /// Where keys cannot be made or files not be written.
    pub fn issue(&self, role: Role, name: &str, address: Option<IpAddr>) -> Result<TlsFiles> {
        let identity = PeerIdentity { role, name: name.into() };
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.subject_alt_names.push(SanType::URI(identity.uri().as_str().try_into()?));
        params.subject_alt_names.extend(address.map(SanType::IpAddress));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let file = |kind: &str| self.folder.join(format!("{}-{name}.{kind}", role.name()));
        let files = TlsFiles { ca: self.folder.join("ca.pem"), cert: file("pem"), key: file("key") };
        write(&files.cert, &certificate.pem())?;
        write(&files.key, &key.serialize_pem())?;
        Ok(files)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
