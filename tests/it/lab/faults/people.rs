//! People who do something with a vm while it is on its way.

use ballast_proto::v1::{self, EndingKind};
use ballast_tests::{
    drill::Phase,
    lab_place::There,
    trial::{COPY, ENDLESS, Trial, UNBOUNDED},
};

use super::{ended, hosts, trial};

#[tokio::test]
async fn a_vm_that_is_paused_in_flight_runs_at_its_destination() {
    let test = "people::a_vm_that_is_paused_in_flight_runs_at_its_destination";
    let Some(mut trial) = trial(test, 2, &[("web", 1)]).await else { return };
    let (source, destination) = hosts();
    let order = trial.order("web", &source, &destination, ENDLESS).await.unwrap();
    trial.reached(&order, Phase::Copy).await.unwrap();
    trial.fleet.lab.virsh(&source, &["suspend", "web"]).unwrap();
    let as_such = async |trial: &Trial| trial.agent_log(1).contains("stage=switching");
    trial.until("libvirt tells of it as of a switch-over", as_such).await.unwrap();
    trial.fleet.lab.virsh(&source, &["migrate-setspeed", "web", UNBOUNDED]).unwrap();
    ended(&trial.outcome(&order).await.unwrap(), EndingKind::Completed);
    trial.lives_on("web", &destination).await.unwrap();
}

#[tokio::test]
async fn a_vm_on_its_way_cannot_be_undefined_or_renamed() {
    let test = "people::a_vm_on_its_way_cannot_be_undefined_or_renamed";
    let Some(mut trial) = trial(test, 2, &[("web", 1), ("db", 1)]).await else { return };
    let (source, destination) = hosts();
    let mut orders = Vec::new();
    for vm in ["web", "db"] {
        orders.push(trial.order(vm, &source, &destination, COPY).await.unwrap());
    }
    for order in &orders {
        trial.reached(order, Phase::Copy).await.unwrap();
    }
    // libvirt has them wait for the end of the copy, and then refuses.
    let (undefined, renamed) = std::thread::scope(|scope| {
        let lab = &trial.fleet.lab;
        let undefined = scope.spawn(|| lab.virsh(&source, &["undefine", "web"]));
        let renamed = scope.spawn(|| lab.virsh(&source, &["domrename", "db", "other"]));
        (undefined.join().unwrap(), renamed.join().unwrap())
    });
    println!("  undefine: {undefined:?}\n  rename: {renamed:?}");
    assert!(undefined.is_err() && renamed.is_err(), "{undefined:?} {renamed:?}");
    for order in &orders {
        ended(&trial.outcome(order).await.unwrap(), EndingKind::Completed);
    }
    for order in &orders {
        trial.lives_on(&order.vm, &destination).await.unwrap();
    }
}

#[tokio::test]
async fn a_vm_that_powers_itself_off_in_flight_is_told_gone_and_stays_defined() {
    let test = "people::a_vm_that_powers_itself_off_in_flight_is_told_gone_and_stays_defined";
    let Some(mut trial) = trial(test, 2, &[("web", 1)]).await else { return };
    let (source, destination) = hosts();
    let order = trial.order("web", &source, &destination, ENDLESS).await.unwrap();
    trial.reached(&order, Phase::Copy).await.unwrap();
    trial.fleet.lab.power_off("web").unwrap();
    ended(&trial.outcome(&order).await.unwrap(), EndingKind::VmGone);
    trial.ended_on("web", &source).await.unwrap();
}

#[tokio::test]
async fn a_vm_that_is_deleted_in_flight_is_told_gone_and_forgotten() {
    let test = "people::a_vm_that_is_deleted_in_flight_is_told_gone_and_forgotten";
    let Some(mut trial) = trial(test, 2, &[("web", 1)]).await else { return };
    let (source, destination) = hosts();
    let order = trial.order("web", &source, &destination, ENDLESS).await.unwrap();
    trial.reached(&order, Phase::Copy).await.unwrap();
    trial.fleet.lab.virsh(&source, &["destroy", "web"]).unwrap();
    trial.fleet.lab.virsh(&source, &["undefine", "web"]).unwrap();
    ended(&trial.outcome(&order).await.unwrap(), EndingKind::VmGone);
    trial.all_tell_anew().unwrap();
    trial.until_told("nobody lists it any more", is_forgotten).await.unwrap();
    assert_eq!(trial.places("web"), [There::IsNot, There::IsNot]);
    trial.nothing_is_open().await.unwrap();
}

async fn is_forgotten(trial: &Trial) -> bool {
    let vms = trial.operator.clone().list_vms(v1::ListVmsRequest::default()).await;
    vms.is_ok_and(|reply| reply.into_inner().vms.is_empty())
}
