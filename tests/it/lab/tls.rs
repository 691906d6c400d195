//! Migrations that are encrypted, as they are by default: nobody on the wire reads a vm's memory, and where a host lacks the
//! certificates for that, nothing is begun.

use std::{ffi::OsStr, fs, path::Path, time::Duration};

use ballast_proto::v1::{self, EndingKind, operator_client::OperatorClient};
use ballast_tests::{
    lab::{self, Daemon, Lab, NETWORK},
    lab_fleet::{LabFleet, Terms, eventually},
    skip::skipped,
    sources,
};
use tonic::transport::Channel;

use super::address;

/// What a vm's memory holds many times over, and what no daemon ever sends.
const IN_MEMORY: &str = "WRITER-BAD page %llu";

/// Counts bytes and finds of [`IN_MEMORY`] on the cable of a host.
struct Tap(Daemon);

impl Tap {
    fn on(lab: &Lab, host: &str, name: &str) -> Self {
        let program = sources::root().join("tests/lab/wiretap.py");
        let address = format!("{NETWORK}.1");
        let arguments = ["eth0", &address, IN_MEMORY].map(OsStr::new);
        let arguments: Vec<_> = [program.as_os_str()].into_iter().chain(arguments).collect();
        Self(lab.daemon_in(host, name, Path::new("python3"), &arguments).unwrap())
    }

    /// Bytes and finds so far, once so many bytes went by.
    async fn heard(&self, least: u64) -> (u64, u64) {
        let mut heard = (0, 0);
        let enough = eventually(Duration::from_secs(20), async || {
            let log = self.0.log();
            let mut numbers = log.lines().last()?.split_whitespace().filter_map(|word| word.parse().ok());
            heard = (numbers.next()?, numbers.next()?);
            (heard.0 >= least).then_some(())
        });
        assert!(enough.await.is_some(), "the tap heard too little to tell: {heard:?} of {least} bytes");
        heard
    }
}

async fn moved(operator: &OperatorClient<Channel>, vm: &str, host: &str) -> v1::Outcome {
    let wish =
        v1::MigrateRequest { vm: vm.into(), host: host.into(), r#override: true, ..v1::MigrateRequest::default() };
    let ordered = eventually(Duration::from_secs(60), async || operator.clone().migrate(wish.clone()).await.ok());
    let id = ordered.await.expect("an order that is taken").into_inner().migration_id;
    let ended = eventually(Duration::from_secs(90), async || {
        let request = v1::ListMigrationsRequest::default();
        let listed = operator.clone().list_migrations(request).await.ok()?.into_inner().migrations;
        listed.into_iter().find(|one| one.migration_id == id)?.outcome
    });
    ended.await.expect("an outcome")
}

/// Orders a move until it is refused in these words; what else was said where it is not.
async fn refused(operator: &OperatorClient<Channel>, vm: &str, host: &str, words: &str) -> Result<(), String> {
    let wish =
        v1::MigrateRequest { vm: vm.into(), host: host.into(), r#override: true, ..v1::MigrateRequest::default() };
    let mut said = String::new();
    let refused = eventually(Duration::from_secs(30), async || {
        match operator.clone().migrate(wish.clone()).await {
            Ok(ordered) => said = format!("{ordered:?}"),
            Err(status) => status.message().clone_into(&mut said),
        }
        said.contains(words).then_some(())
    });
    println!("{:?}: {said}", refused.await);
    if said.contains(words) { Ok(()) } else { Err(said) }
}

#[tokio::test]
async fn an_encrypted_copy_cannot_be_read_on_the_wire_and_needs_certificates_at_both_ends() {
    let test = "lab::tls::an_encrypted_copy_cannot_be_read_on_the_wire_and_needs_certificates_at_both_ends";
    if let Some(why) = lab::lacks() {
        return skipped(test, &why);
    }
    let lab = Lab::up_with_certificates(2).unwrap();
    let (source, destination) = (Lab::host(1), Lab::host(2));
    lab.vms(&source, &[("secret", address(171))], 96, 5).unwrap();
    lab.writes("secret", 4, 8).unwrap();
    let fleet = LabFleet::start_on(lab, 2, &Terms { migration_tls: true, ..Terms::plain("recommend") }).unwrap();
    let operator = fleet.operator().await.unwrap();
    fleet.trusted(&operator, 2).await.unwrap();

    // Who lacks what is named, and nothing is begun.
    for (host, file) in [(&destination, "server-cert.pem"), (&source, "client-key.pem")] {
        let (there, away) = (fleet.lab.pki(host).join(file), fleet.lab.pki(host).join("away"));
        fs::rename(&there, &away).unwrap();
        let expected = format!("says {host}: tls: {} is not there", there.display());
        assert_eq!(refused(&operator, "secret", &destination, &expected).await, Ok(()));
        fs::rename(&away, &there).unwrap();
    }
    assert_eq!(fleet.lab.running_on("secret", 2), std::slice::from_ref(&source));

    let tap = Tap::on(&fleet.lab, &source, "tap-encrypted");
    let outcome = moved(&operator, "secret", &destination).await;
    assert_eq!(outcome.ending(), EndingKind::Completed, "{outcome:?}");
    assert_eq!(fleet.lab.running_on("secret", 2), std::slice::from_ref(&destination));
    let (bytes, finds) = tap.heard(outcome.copied_bytes / 10 * 9).await;
    println!("encrypted: {} copied, {bytes} bytes on the wire, {finds} finds", outcome.copied_bytes);
    assert_eq!(finds, 0, "the vm's memory can be read");

    // The same tap finds it where a copy is plain: back by hand, without encryption.
    let tap = Tap::on(&fleet.lab, &source, "tap-plain");
    let (_, uri) = fleet.lab.uris(&source).unwrap();
    fleet.lab.virsh(&destination, &["migrate", "--live", "--p2p", "secret", &uri]).unwrap();
    let (bytes, finds) = tap.heard(outcome.copied_bytes / 2).await;
    println!("plain: {bytes} bytes on the wire, {finds} finds");
    assert!(finds > 0, "the tap finds nothing in {bytes} plain bytes");
    let before = fleet.lab.looks("secret");
    let looked = eventually(Duration::from_secs(30), async || (fleet.lab.looks("secret") > before).then_some(())).await;
    assert_eq!(looked, Some(()), "it stands still, or has lost some of its memory");
    fleet.lab.is_whole("secret").unwrap();
}
