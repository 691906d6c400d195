//! Mutual TLS with certificates made for the occasion: who is let in, and as what.

use std::{fs, path::Path};

use ballast_daemon::tls::{PeerIdentity, Role, TlsFiles};
use ballast_proto::v1::{self, agent_message::Message as Up, operator_client::OperatorClient};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tempfile::TempDir;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::running::{Running, connect, hello, soon};

/// An authority and the directory its files are in.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    /// Where its own certificate is.
    pub(crate) fn ca(&self) -> std::path::PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Files of a certificate for `role` and `name`, to be used against this authority.
    pub(crate) fn files(&self, role: Role, name: &str) -> TlsFiles {
        let uri = PeerIdentity { role, name: name.into() }.uri();
        self.files_with(&[&uri], &format!("{}-{name}", role.name()))
    }

    /// Files of a certificate with these URIs; `stem` is what they are called.
    pub(crate) fn files_with(&self, uris: &[&str], stem: &str) -> TlsFiles {
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let write = |suffix: &str, text: String| {
            let path = self.dir.path().join(format!("{stem}.{suffix}"));
            fs::write(&path, text).unwrap();
            path
        };
        TlsFiles {
            ca: self.dir.path().join("ca.pem"),
            cert: write("pem", certificate.pem()),
            key: write("key", key.serialize_pem()),
        }
    }

    pub(crate) async fn scheduler(&self) -> Running {
        let files = self.files(Role::Scheduler, "scheduler");
        Running::start_with(|config| config.tls = Some(files)).await
    }
}

pub(crate) async fn dial(running: &Running, files: &TlsFiles) -> Result<Channel, tonic::transport::Error> {
    let address = format!("https://{}", running.address);
    files.secure(Endpoint::from_shared(address)?, "localhost").unwrap().connect().await
}

/// Whether a caller with these certificates gets an answer at all: a refusal may come while dialling or at the first call.
pub(crate) async fn gets_an_answer(running: &Running, files: &TlsFiles) -> bool {
    let Ok(channel) = dial(running, files).await else { return false };
    OperatorClient::new(channel).list_hosts(v1::ListHostsRequest {}).await.is_ok()
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_let_in() {
    let ours = Authority::new();
    let running = ours.scheduler().await;
    let theirs = Authority::new();
    let stranger = TlsFiles { ca: ours.dir.path().join("ca.pem"), ..theirs.files(Role::Operator, "mallory") };
    assert!(!soon(gets_an_answer(&running, &stranger)).await);
    assert!(soon(gets_an_answer(&running, &ours.files(Role::Operator, "alice"))).await);
}

#[tokio::test]
async fn without_a_certificate_nobody_is_let_in() {
    let ours = Authority::new();
    let running = ours.scheduler().await;
    let ca = fs::read(ours.dir.path().join("ca.pem")).unwrap();
    let tls = tonic::transport::ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(ca))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", running.address)).unwrap().tls_config(tls).unwrap();
    let refused = match soon(endpoint.connect()).await {
        Err(_) => true,
        Ok(channel) => soon(OperatorClient::new(channel).list_hosts(v1::ListHostsRequest {})).await.is_err(),
    };
    assert!(refused);
}

#[tokio::test]
async fn an_agent_may_speak_only_for_the_host_its_certificate_names() {
    let ours = Authority::new();
    let running = ours.scheduler().await;
    let channel = dial(&running, &ours.files(Role::Agent, "kvm1")).await.unwrap();
    let refusal = soon(connect(channel, Up::Hello(hello("kvm2")))).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
    assert!(refusal.message().contains("kvm1") && refusal.message().contains("kvm2"), "{}", refusal.message());
}

#[tokio::test]
async fn an_agent_is_no_operator() {
    let ours = Authority::new();
    let running = ours.scheduler().await;
    let channel = dial(&running, &ours.files(Role::Agent, "kvm1")).await.unwrap();
    let refusal = soon(OperatorClient::new(channel).list_hosts(v1::ListHostsRequest {})).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
    assert!(refusal.message().contains("agent kvm1"), "{}", refusal.message());
    assert!(running.metrics.render(ballast_core::units::Timestamp::EPOCH).unwrap().contains("PermissionDenied"));
}

#[tokio::test]
async fn an_operator_is_no_agent() {
    let ours = Authority::new();
    let running = ours.scheduler().await;
    let channel = dial(&running, &ours.files(Role::Operator, "alice")).await.unwrap();
    let refusal = soon(connect(channel, Up::Hello(hello("alice")))).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_viewer_looks_and_does_not_act() {
    let ours = Authority::new();
    let running = ours.scheduler().await;
    let channel = dial(&running, &ours.files(Role::Viewer, "bob")).await.unwrap();
    let mut client = OperatorClient::new(channel);
    soon(client.list_hosts(v1::ListHostsRequest {})).await.unwrap();
    let refusal = soon(client.set_mode(v1::SetModeRequest { mode: v1::Mode::Auto.into() })).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn the_scheduler_does_not_serve_others_without_certificates() {
    let data = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let config = ballast_scheduler::config::Config::for_embedding(data.path(), listener.local_addr().unwrap());
    let clock = ballast_daemon::clock::Clock::system();
    let outcome = soon(ballast_scheduler::run(config, listener, None, clock, std::future::pending())).await;
    assert!(outcome.unwrap_err().to_string().contains("not loopback"));
    assert!(Path::new(data.path()).exists());
}

#[tokio::test]
async fn the_ends_of_the_schedulers_and_of_each_agents_certificate_are_metrics() {
    let authority = Authority::new();
    let running = authority.scheduler().await;
    let files = authority.files(Role::Agent, "kvm1");
    let link = soon(connect(dial(&running, &files).await.unwrap(), Up::Hello(hello("kvm1")))).await.unwrap();
    let mut looks = running.metrics.looks();
    let known = |look: &Option<std::sync::Arc<ballast_scheduler::metrics::Look>>| {
        look.as_ref().is_some_and(|look| !look.snapshot.hosts.is_empty())
    };
    soon(looks.wait_for(known)).await.unwrap();
    let text = running.metrics.render(ballast_core::units::Timestamp::from_secs(1)).unwrap();
    // Unless told otherwise rcgen's end with the year 4095, and our own time in 2554.
    let end = u64::MAX as f64 / 1e9;
    for name in ["certificate", "host_certificate"] {
        let begin = format!("ballast_{name}_not_after_timestamp_seconds");
        let line = text.lines().find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("no {begin}:\n{text}"));
        let shown: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((shown - end).abs() < 1.0, "{line}");
        assert_eq!(line.contains("host=\"kvm1\""), name == "host_certificate", "{line}");
    }
    drop(link);
}
