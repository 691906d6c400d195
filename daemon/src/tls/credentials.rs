//! What the certificate files hold, kept at hand and followed as the files change.
//!
//! Certificates are only used while a connection is made: one that stands goes on with those it was made with, so nothing
//! is dropped when they are renewed. The files are compared by content and not by date, for a file is as often replaced
//! as rewritten; what does not go together (a new certificate beside the old key, a file half-written) is refused and
//! said once, and the old is used until the files make sense again.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use ballast_core::units::Timestamp;
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    client::WebPkiServerVerifier,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tonic::transport::{ClientTlsConfig, Endpoint, Identity};

use super::{PeerIdentity, Role, TlsError, TlsFiles, validity, verify::SchedulerOnly};
use crate::clock::Clock;

/// Time between two looks at the files: three short reads, and a renewal is in use before the next person looks.
const LOOK: Duration = Duration::from_secs(1);

/// Days before the end of a certificate at which somebody is told.
const DAYS_LEFT: [u64; 3] = [14, 7, 1];

const DAY: Duration = Duration::from_secs(86_400);

/// Whose certificate it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// The agent of this host.
    Agent(String),
    /// A scheduler of any name.
    Scheduler,
    /// Whoever it is: the other side decides.
    Anyone,
}

impl Holder {
    fn admits(&self, peer: &PeerIdentity) -> bool {
        match self {
            Self::Agent(host) => peer.role == Role::Agent && peer.name == *host,
            Self::Scheduler => peer.role == Role::Scheduler,
            Self::Anyone => true,
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::Agent(host) => format!("agent {host}"),
            Self::Scheduler => "a scheduler".to_owned(),
            Self::Anyone => "anyone".to_owned(),
        }
    }
}

/// The contents of the three files.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// What goes together and is in use.
struct Loaded {
    server: Arc<ServerConfig>,
    verifier: Arc<SchedulerOnly>,
    identity: Identity,
    valid_until: Timestamp,
}

/// What came of a look at the files.
#[derive(Debug)]
pub enum Refreshed {
    /// They are as they were, or as wrong as they were.
    Unchanged,
    /// New ones are in use.
    Renewed {
        /// When the certificate ends.
        valid_until: Timestamp,
    },
    /// They cannot be used, and those before stay in use.
    Refused(TlsError),
}

struct Inner {
    files: TlsFiles,
    holder: Holder,
    current: RwLock<Arc<Loaded>>,
    /// The newest contents that were judged; `None` where not even reading worked.
    judged: Mutex<Option<Contents>>,
}

/// Certificates in use; cheap to clone, the same for all clones.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

impl std::fmt::Debug for Credentials {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("files", &self.0.files).field("holder", &self.0.holder).finish()
    }
}

impl Credentials {
    /// Reads the files and checks that they go together and are `holder`'s.
    ///
    /// # Errors
    /// [`TlsError`] naming the file that cannot be used.
    pub fn load(files: TlsFiles, holder: Holder) -> Result<Self, TlsError> {
        let contents = read_all(&files)?;
        let current = RwLock::new(Arc::new(judge(&files, &holder, &contents)?));
        Ok(Self(Arc::new(Inner { files, holder, current, judged: Mutex::new(Some(contents)) })))
    }

    /// Looks at the files again.
    pub fn refresh(&self) -> Refreshed {
        let inner = &self.0;
        let mut judged = inner.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = match read_all(&inner.files) {
            Ok(contents) => contents,
            Err(error) => {
                return if judged.take().is_some() { Refreshed::Refused(error) } else { Refreshed::Unchanged };
            }
        };
        if judged.as_ref() == Some(&contents) {
            return Refreshed::Unchanged;
        }
        let outcome = judge(&inner.files, &inner.holder, &contents);
        *judged = Some(contents);
        match outcome {
            Ok(loaded) => {
                let valid_until = loaded.valid_until;
                *inner.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                Refreshed::Renewed { valid_until }
            }
            Err(error) => Refreshed::Refused(error),
        }
    }

    /// When the certificate in use ends.
    pub fn valid_until(&self) -> Timestamp {
        self.current().valid_until
    }

    /// For the side that listens: every client must show a certificate of the same authority.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current().server)
    }

    /// For the side that dials; `name` is what the scheduler's certificate must carry as a DNS name or address.
    ///
    /// # Errors
    /// [`TlsError::Name`] where the name is none, or the address not one for TLS.
    pub fn secure(&self, endpoint: Endpoint, name: &str) -> Result<Endpoint, TlsError> {
        let current = self.current();
        let bare = name.trim_matches(['[', ']']);
        let refused = |reason: String| TlsError::Name { name: name.to_owned(), reason };
        ServerName::try_from(bare).map_err(|error| refused(error.to_string()))?;
        let config = ClientTlsConfig::new().identity(current.identity.clone()).domain_name(bare);
        let secured = endpoint.tls_config_with_verifier(config, Arc::clone(&current.verifier) as _);
        secured.map_err(|error| refused(error.to_string()))
    }

    fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows the files for ever, and says so in the log when they change, cannot be used, or are about to end.
    pub async fn watch(self, clock: Clock) {
        let mut warned = self.warn_of_end(&clock, None);
        let mut beat = clock.interval(LOOK);
        loop {
            beat.tick().await;
            let at_hand = self.clone();
            // A look that panicked changed nothing.
            match clock.aside(move || at_hand.refresh()).await {
                Ok(Refreshed::Renewed { valid_until }) => {
                    tracing::info!(cert = %self.0.files.cert.display(), until_unix = secs(valid_until), "Certificates renewed");
                    warned = None;
                }
                Ok(Refreshed::Refused(error)) => {
                    let reason = in_words(&error);
                    tracing::warn!(reason, "Changed certificates cannot be used; those before stay in use");
                }
                Ok(Refreshed::Unchanged) => {}
                Err(error) => tracing::warn!(%error, "A look at the certificates failed"),
            }
            warned = self.warn_of_end(&clock, warned);
        }
    }

    /// Warns once for each of [`DAYS_LEFT`], and once when the certificate has ended; returns what was warned of.
    fn warn_of_end(&self, clock: &Clock, warned: Option<u64>) -> Option<u64> {
        let due = due(self.valid_until().since(clock.now()), warned)?;
        let cert = self.0.files.cert.display();
        match due {
            0 => tracing::error!(%cert, "The certificate has ended: no new connection is made with it"),
            days => tracing::warn!(%cert, days, "The certificate ends soon"),
        }
        Some(due)
    }
}

/// Days left that somebody is to be told of now; 0 once it is over. What was told stays told.
fn due(left: Duration, warned: Option<u64>) -> Option<u64> {
    let reached = |days: &u64| left <= DAY * u32::try_from(*days).unwrap_or(u32::MAX);
    let newest = DAYS_LEFT.into_iter().filter(reached).min()?;
    let newest = if left.is_zero() { 0 } else { newest };
    warned.is_none_or(|warned| newest < warned).then_some(newest)
}

fn secs(at: Timestamp) -> u64 {
    at.nanos() / 1_000_000_000
}

fn in_words(error: &TlsError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn read_all(files: &TlsFiles) -> Result<Contents, TlsError> {
    Ok(Contents {
        ca: read("the authority's certificate", &files.ca)?,
        cert: read("the certificate", &files.cert)?,
        key: read("the key", &files.key)?,
    })
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { what, path: path.into(), source })
}

/// Checks that contents go together, and makes of them what connections are made with.
fn judge(files: &TlsFiles, holder: &Holder, contents: &Contents) -> Result<Loaded, TlsError> {
    let authorities = certificates("certificate", &files.ca, &contents.ca)?;
    let chain = certificates("certificate", &files.cert, &contents.cert)?;
    let valid_until = belongs(files, holder, &chain[0])?;
    let pem = |error: tokio_rustls::rustls::pki_types::pem::Error| error.to_string();
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(pem);
    let key = key.map_err(|reason| TlsError::Pem { what: "key", path: files.key.clone(), reason })?;
    let unfit = |reason: String| TlsError::Pair { cert: files.cert.clone(), key: files.key.clone(), reason };
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| TlsError::Pem {
            what: "certificate of an authority",
            path: files.ca.clone(),
            reason: error.to_string(),
        })?;
    }
    let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
    let server = server(&roots, &provider, chain, key).map_err(unfit)?;
    let usual = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    let usual = usual.map_err(|error| unfit(error.to_string()))?;
    let identity = Identity::from_pem(&contents.cert, &contents.key);
    Ok(Loaded { server: Arc::new(server), verifier: Arc::new(SchedulerOnly { usual }), identity, valid_until })
}

/// One certificate at least, and all of them whole.
fn certificates(what: &'static str, path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let broken = |reason: String| TlsError::Pem { what, path: path.into(), reason };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| broken(error.to_string()))?;
    // The reader passes over what is cut off, which would shorten a chain in silence.
    let begun = pem.windows(BEGIN.len()).filter(|window| *window == BEGIN).count();
    if read.is_empty() || read.len() != begun {
        return Err(broken(format!("{begun} begin in it and {} are whole", read.len())));
    }
    Ok(read)
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// When the holder's certificate ends.
fn belongs(files: &TlsFiles, holder: &Holder, leaf: &CertificateDer<'_>) -> Result<Timestamp, TlsError> {
    let strange = |reason: String| TlsError::Holder { path: files.cert.clone(), wanted: holder.in_words(), reason };
    let peer = PeerIdentity::of_certificate(leaf).map_err(|error| strange(error.to_string()))?;
    if !holder.admits(&peer) {
        return Err(strange(format!("it is of {peer}")));
    }
    // What has an identity has been read as a certificate already.
    validity::ends_of_der(leaf).ok_or_else(|| strange("it cannot be read".to_owned()))
}

fn server(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider));
    let clients = clients.build().map_err(|error| words(&error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| words(&error))?.with_client_cert_verifier(clients);
    let mut config = builder.with_single_cert(chain, key).map_err(|error| words(&error))?;
    config.alpn_protocols.push(b"h2".to_vec());
    Ok(config)
}

#[cfg(test)]
pub(super) mod tests;
