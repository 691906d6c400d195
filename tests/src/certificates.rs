//! A certificate authority for one test: agents, operators and a scheduler that trust each other and nobody else, and hosts whose
//! libvirt and QEMU do.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use ballast_daemon::tls::{PeerIdentity, Role, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

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
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
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

    /// Writes what the QEMU and the libvirtd of a host at `address` want into `folder`, by the names that QEMU looks for.
    ///
    /// # Errors
    /// Where keys cannot be made or files not be written.
    pub fn issue_for_migrations(&self, folder: &Path, address: IpAddr) -> Result<()> {
        fs::copy(self.folder.join("ca.pem"), folder.join("ca-cert.pem"))?;
        for kind in ["server", "client"] {
            self.issue_plain(
                &address.to_string(),
                Some(address),
                &folder.join(format!("{kind}-cert.pem")),
                &folder.join(format!("{kind}-key.pem")),
            )?;
        }
        Ok(())
    }

    /// Writes what libvirt's clients look for into `folder`.
    ///
    /// # Errors
    /// Where keys cannot be made or files not be written.
    pub fn issue_for_clients(&self, folder: &Path) -> Result<()> {
        fs::copy(self.folder.join("ca.pem"), folder.join("cacert.pem"))?;
        self.issue_plain("client", None, &folder.join("clientcert.pem"), &folder.join("clientkey.pem"))
    }

    fn issue_plain(&self, name: &str, address: Option<IpAddr>, cert: &Path, key_file: &Path) -> Result<()> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.subject_alt_names.extend(address.map(SanType::IpAddress));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        write(cert, &params.signed_by(&key, &self.issuer)?.pem())?;
        write(key_file, &key.serialize_pem())
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
