//! Who a peer is by its certificate: one URI among its subject alternative names, `spiffe://ballast/<role>/<name>`. An
//! agent's name is its host id.

use std::{fmt, str::FromStr};

use thiserror::Error;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// What a peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The agent of a host.
    Agent,
    /// A person or tool that may change things.
    Operator,
    /// A person or tool that may look.
    Viewer,
    /// The scheduler.
    Scheduler,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Operator, Self::Viewer, Self::Scheduler];

    /// Its word in certificates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::Scheduler => "scheduler",
        }
    }
}

/// Why a certificate does not say who it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// It cannot be parsed.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// No identity in it, or more than one.
    #[error("the certificate has {0} names of the form spiffe://ballast/<role>/<name>, one is needed")]
    Count(usize),
    /// The role is not one of ours.
    #[error("role {0:?} is none of agent, operator, viewer, scheduler")]
    Role(String),
}

/// Who a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// What it may be.
    pub role: Role,
    /// Its name: an agent's is its host id.
    pub name: String,
}

impl PeerIdentity {
    /// Reads the identity of a DER certificate.
    ///
    /// # Errors
    /// [`IdentityError`] when there is none, more than one, or an unknown role.
    pub fn of_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let unreadable = |error: &dyn fmt::Display| IdentityError::Unreadable(error.to_string());
        let (_, certificate) = parse_x509_certificate(der).map_err(|error| unreadable(&error))?;
        let names = certificate.subject_alternative_name().map_err(|error| unreadable(&error))?;
        let names = names.iter().flat_map(|extension| &extension.value.general_names);
        let identities: Vec<&str> = names
            .filter_map(|name| match name {
                GeneralName::URI(uri) => uri.strip_prefix(PREFIX),
                _ => None,
            })
            .collect();
        match identities.as_slice() {
            [one] => one.parse(),
            several => Err(IdentityError::Count(several.len())),
        }
    }

    /// The URI that a certificate of this identity carries.
    pub fn uri(&self) -> String {
        format!("{PREFIX}{}/{}", self.role.name(), self.name)
    }
}

const PREFIX: &str = "spiffe://ballast/";

impl FromStr for PeerIdentity {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let (role, name) = text.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or(IdentityError::Count(0))?;
        let known = Role::ALL.into_iter().find(|known| known.name() == role);
        let role = known.ok_or_else(|| IdentityError::Role(role.into()))?;
        Ok(Self { role, name: name.into() })
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role.name(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["host.example".into()]).unwrap();
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_identity_is_what_the_certificate_says() {
        let der = certificate(&["spiffe://ballast/agent/kvm1"]);
        let identity = PeerIdentity::of_certificate(&der).unwrap();
        assert_eq!(identity, PeerIdentity { role: Role::Agent, name: "kvm1".into() });
        assert_eq!(identity.uri(), "spiffe://ballast/agent/kvm1");
    }

    #[test]
    fn a_certificate_without_one_clear_identity_is_nobody() {
        let two = ["spiffe://ballast/agent/a", "spiffe://ballast/operator/b"];
        assert_eq!(PeerIdentity::of_certificate(&certificate(&[])), Err(IdentityError::Count(0)));
        assert_eq!(PeerIdentity::of_certificate(&certificate(&two)), Err(IdentityError::Count(2)));
        let root = certificate(&["spiffe://ballast/root/x"]);
        assert_eq!(PeerIdentity::of_certificate(&root), Err(IdentityError::Role("root".into())));
        assert!(matches!(PeerIdentity::of_certificate(b"no"), Err(IdentityError::Unreadable(_))));
    }
}
