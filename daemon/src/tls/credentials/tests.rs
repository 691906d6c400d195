//! Files that change: what goes together is taken up, what does not is refused once.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

use super::*;

/// An authority, and the three files of one certificate of it.
pub(in crate::tls) struct Folder {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Folder {
    pub(in crate::tls) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = Self { issuer, dir: tempfile::tempdir().unwrap() };
        fs::write(folder.files().ca, folder.issuer.pem()).unwrap();
        folder
    }

    fn files(&self) -> TlsFiles {
        let at = |name: &str| self.dir.path().join(name);
        TlsFiles { ca: at("ca.pem"), cert: at("own.pem"), key: at("own.key") }
    }

    /// A certificate and its key, PEM.
    fn issue(&self, uri: &str) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn write(&self, (cert, key): &(String, String)) {
        fs::write(self.files().cert, cert).unwrap();
        fs::write(self.files().key, key).unwrap();
    }

    pub(in crate::tls) fn of_kvm1(&self) -> Credentials {
        self.write(&self.issue("spiffe://ballast/agent/kvm1"));
        Credentials::load(self.files(), Holder::Agent("kvm1".into())).unwrap()
    }
}

fn identity(credentials: &Credentials) -> String {
    format!("{:?}", Arc::as_ptr(&credentials.server()))
}

#[test]
fn a_renewed_pair_is_taken_up() {
    let folder = Folder::new();
    let credentials = folder.of_kvm1();
    let before = identity(&credentials);
    assert!(matches!(credentials.refresh(), Refreshed::Unchanged));
    folder.write(&folder.issue("spiffe://ballast/agent/kvm1"));
    assert!(matches!(credentials.refresh(), Refreshed::Renewed { .. }));
    assert_ne!(identity(&credentials), before);
}

#[test]
fn a_new_certificate_beside_the_old_key_is_refused_once_and_the_old_pair_kept() {
    let folder = Folder::new();
    let credentials = folder.of_kvm1();
    let before = identity(&credentials);
    let (cert, key) = folder.issue("spiffe://ballast/agent/kvm1");
    fs::write(folder.files().cert, cert).unwrap();
    let Refreshed::Refused(error) = credentials.refresh() else { panic!("half a pair was taken") };
    assert!(error.to_string().contains("do not go together"), "{error}");
    assert!(matches!(credentials.refresh(), Refreshed::Unchanged), "said twice");
    assert_eq!(identity(&credentials), before);
    fs::write(folder.files().key, key).unwrap();
    assert!(matches!(credentials.refresh(), Refreshed::Renewed { .. }));
}

#[test]
fn a_file_that_is_cut_off_or_gone_is_refused_by_its_name() {
    let folder = Folder::new();
    let credentials = folder.of_kvm1();
    let files = folder.files();
    for path in [&files.ca, &files.cert, &files.key] {
        let whole = fs::read(path).unwrap();
        fs::write(path, &whole[..whole.len() / 2]).unwrap();
        let Refreshed::Refused(error) = credentials.refresh() else { panic!("half of {path:?} was taken") };
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        fs::remove_file(path).unwrap();
        assert!(matches!(credentials.refresh(), Refreshed::Refused(TlsError::Read { .. })));
        assert!(matches!(credentials.refresh(), Refreshed::Unchanged));
        fs::write(path, &whole).unwrap();
        assert!(matches!(credentials.refresh(), Refreshed::Renewed { .. }));
    }
}

#[test]
fn a_second_authority_that_is_cut_off_is_not_passed_over() {
    let folder = Folder::new();
    let credentials = folder.of_kvm1();
    let mut two = fs::read(folder.files().ca).unwrap();
    let half = two[..two.len() / 2].to_vec();
    two.extend(half);
    fs::write(folder.files().ca, two).unwrap();
    assert!(matches!(credentials.refresh(), Refreshed::Refused(TlsError::Pem { .. })));
}

#[test]
fn the_certificate_of_somebody_else_is_refused() {
    let folder = Folder::new();
    folder.write(&folder.issue("spiffe://ballast/agent/kvm2"));
    let error = Credentials::load(folder.files(), Holder::Agent("kvm1".into())).unwrap_err().to_string();
    assert!(error.ends_with("own.pem is not of agent kvm1: it is of agent kvm2"), "{error}");
    assert!(Credentials::load(folder.files(), Holder::Scheduler).is_err());
    assert!(Credentials::load(folder.files(), Holder::Anyone).is_ok());
}

#[test]
fn a_missing_file_is_named() {
    let files = TlsFiles { ca: "/nonexistent/ca.pem".into(), ..TlsFiles::default() };
    let error = Credentials::load(files, Holder::Anyone).unwrap_err().to_string();
    assert_eq!(error, "read the authority's certificate /nonexistent/ca.pem");
}

#[test]
fn the_key_is_never_shown() {
    let folder = Folder::new();
    let shown = format!("{:?}", folder.of_kvm1());
    assert!(!shown.contains("BEGIN") && shown.contains("own.key"), "{shown}");
}

#[test]
fn the_end_is_warned_of_at_14_7_and_1_days_and_at_the_end_once_each() {
    let mut warned = None;
    let mut told = Vec::new();
    for hours in (0..24 * 20).rev() {
        if let Some(days) = due(Duration::from_secs(hours * 3600), warned) {
            told.push(days);
            warned = Some(days);
        }
    }
    assert_eq!(told, [14, 7, 1, 0]);
}
