//! How copies go on real hosts: by the wish of a vm's operator, and not on and on where that stops to pay.

use std::time::Duration;

use ballast_proto::v1::{self, EndingKind, operator_client::OperatorClient};
use ballast_tests::{
    lab::{Lab, NETWORK},
    lab_fleet::{LabFleet, Terms, eventually},
};
use tonic::transport::Channel;

use super::{address, lab, moved};

/// What the cable lets out of a host: a copy of these vms takes some twenty seconds, long enough to be looked at.
const CABLE_MBIT: u32 = 60;
/// More than that carries, and as much over and over as does not fit into a pause.
const TOO_MUCH: (u32, u32) = (60, 48);

async fn migrations(operator: &OperatorClient<Channel>) -> Vec<v1::Migration> {
    let listed = operator.clone().list_migrations(v1::ListMigrationsRequest::default()).await;
    listed.map(|listed| listed.into_inner().migrations).unwrap_or_default()
}

async fn outcome(operator: &OperatorClient<Channel>, id: &str) -> v1::Outcome {
    let ended = eventually(Duration::from_secs(180), async || {
        migrations(operator).await.into_iter().find(|one| one.migration_id == id)?.outcome
    });
    ended.await.expect("an outcome within three minutes")
}

/// Two hosts with room for all, a vm on each, and a cable that takes its time.
fn two_hosts(test: &str, labels: &[&str]) -> Option<Lab> {
    let lab = lab(test)?;
    for number in [1, 2] {
        let (host, name) = (Lab::host(number), format!("vm-{number}"));
        let ip = format!("{NETWORK}.{}", 140 + number);
        lab.guest(&host, &name, &ip, 144, 5, labels).unwrap();
        lab.throttle(&host, CABLE_MBIT).unwrap();
    }
    (141..=142).for_each(|number| lab.answers(&address(number)).unwrap());
    Some(lab)
}

#[tokio::test]
async fn an_evacuation_whose_copy_would_not_end_is_given_up_and_the_vm_stays() {
    let test = "lab::copies::an_evacuation_whose_copy_would_not_end_is_given_up_and_the_vm_stays";
    let Some(lab) = two_hosts(test, &[]) else { return };
    // With a core for each vm, however young, one host is enough, and the other may sleep.
    let terms = Terms { cpu_cores: 8.0, may_sleep: true, ..Terms::plain("auto") };
    let fleet = LabFleet::start_on(lab, super::HOSTS, &terms).unwrap();
    let operator = fleet.operator().await.unwrap();
    fleet.trusted(&operator, super::HOSTS).await.unwrap();

    // Once some of it is there the vm begins to write: that could not be known beforehand.
    let copying = eventually(Duration::from_secs(120), async || {
        let begun = |one: &v1::Migration| one.progress.as_ref().is_some_and(|progress| progress.copied_bytes > 0);
        migrations(&operator).await.into_iter().find(begun)
    });
    let copying = copying.await.expect("a copy within two minutes");
    println!("{} from {} to {}: {}", copying.name, copying.source, copying.destination, copying.motive);
    fleet.lab.writes(&copying.name, TOO_MUCH.0, TOO_MUCH.1).unwrap();

    let ended = outcome(&operator, &copying.migration_id).await;
    assert_eq!(ended.ending(), EndingKind::Cancelled, "{ended:?}");
    let request = v1::ExplainRequest { id: copying.migration_id.clone() };
    let why = operator.clone().explain(request).await.unwrap().into_inner().text;
    println!("{why}");
    assert!(why.contains("given up: it writes"), "{why}");
    assert_eq!(fleet.lab.running_on(&copying.name, super::HOSTS), [copying.source]);
    fleet.lab.is_whole(&copying.name).unwrap();
}

/// Whether QEMU has a capability of migrations switched on for a vm.
fn has(lab: &Lab, host: &str, vm: &str, capability: &str) -> bool {
    let asked = lab.virsh(host, &["qemu-monitor-command", vm, "{\"execute\":\"query-migrate-capabilities\"}"]);
    let said = asked.unwrap_or_default().replace(' ', "");
    said.contains(&format!("{{\"state\":true,\"capability\":\"{capability}\"}}"))
}

#[tokio::test]
async fn a_copy_goes_as_its_vms_label_says() {
    let wish = "copies=parallel='2' auto-converge='yes'";
    let Some(lab) = two_hosts("lab::copies::a_copy_goes_as_its_vms_label_says", &[wish]) else { return };
    lab.writes("vm-1", 2, 16).unwrap();
    let fleet = LabFleet::start(lab, super::HOSTS, "recommend").unwrap();
    let mut operator = fleet.operator().await.unwrap();
    fleet.trusted(&operator, super::HOSTS).await.unwrap();
    let (source, destination) = (Lab::host(1), Lab::host(2));

    let id = operator.migrate(moved("vm-1", &destination)).await.unwrap().into_inner().migration_id;
    let seen = eventually(Duration::from_secs(60), async || {
        let both = ["multifd", "auto-converge"].iter().all(|one| has(&fleet.lab, &source, "vm-1", one));
        both.then_some(())
    });
    assert_eq!(seen.await, Some(()), "the copy went over one connection, or without help");
    let ended = outcome(&operator, &id).await;
    assert_eq!(ended.ending(), EndingKind::Completed, "{ended:?}");
    assert_eq!(fleet.lab.running_on("vm-1", super::HOSTS), std::slice::from_ref(&destination));
    fleet.lab.is_whole("vm-1").unwrap();
}
