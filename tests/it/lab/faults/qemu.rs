//! QEMU itself dies, at either end.

use ballast_proto::v1::EndingKind;
use ballast_tests::{
    drill::Phase,
    trial::{COPY, ENDLESS},
};

use super::{ended, hosts, trial};

#[tokio::test]
async fn a_qemu_killed_at_the_destination_leaves_the_vm_at_its_source() {
    let test = "qemu::a_qemu_killed_at_the_destination_leaves_the_vm_at_its_source";
    let Some(mut trial) = trial(test, 2, &[("web", 1)]).await else { return };
    let (source, destination) = hosts();
    for moment in [Phase::Before, Phase::Copy, Phase::Switch] {
        let order = trial.order("web", &source, &destination, COPY).await.unwrap();
        match moment {
            Phase::Before => trial
                .until("the destination makes ready", async |trial| trial.fleet.lab.is_made_ready(&destination, "web"))
                .await
                .unwrap(),
            Phase::Switch => trial.hold_before_it_runs_there(&order).await.unwrap(),
            other => trial.reached(&order, other).await.unwrap(),
        }
        trial.say(&format!("killed {moment}"));
        trial.fleet.lab.kill_vm(&destination, "web").unwrap();
        trial.fleet.lab.thaw_libvirtd(&destination).unwrap();
        ended(&trial.outcome(&order).await.unwrap(), EndingKind::Failed);
        trial.lives_on("web", &source).await.unwrap();
    }
}

#[tokio::test]
async fn a_vm_whose_qemu_is_killed_while_it_is_copied_is_told_gone_and_stays_defined() {
    let test = "qemu::a_vm_whose_qemu_is_killed_while_it_is_copied_is_told_gone_and_stays_defined";
    let Some(mut trial) = trial(test, 2, &[("early", 1), ("late", 1)]).await else { return };
    let (source, destination) = hosts();
    let early = trial.order("early", &source, &destination, ENDLESS).await.unwrap();
    let ready = async |trial: &ballast_tests::trial::Trial| trial.fleet.lab.is_made_ready(&destination, "early");
    trial.until("the destination makes ready", ready).await.unwrap();
    trial.fleet.lab.kill_vm(&source, "early").unwrap();
    let late = trial.order("late", &source, &destination, ENDLESS).await.unwrap();
    trial.reached(&late, Phase::Copy).await.unwrap();
    trial.fleet.lab.kill_vm(&source, "late").unwrap();
    for order in [&early, &late] {
        ended(&trial.outcome(order).await.unwrap(), EndingKind::VmGone);
    }
    for order in [early, late] {
        trial.ended_on(&order.vm, &source).await.unwrap();
    }
}

#[tokio::test]
async fn a_qemu_killed_at_the_source_once_all_is_copied_leaves_the_vm_at_its_destination() {
    let test = "qemu::a_qemu_killed_at_the_source_once_all_is_copied_leaves_the_vm_at_its_destination";
    let Some(mut trial) = trial(test, 2, &[("web", 1)]).await else { return };
    let (source, destination) = hosts();
    let order = trial.order("web", &source, &destination, COPY).await.unwrap();
    trial.hold_before_it_runs_there(&order).await.unwrap();
    trial.fleet.lab.kill_vm(&source, "web").unwrap();
    trial.fleet.lab.thaw_libvirtd(&destination).unwrap();
    ended(&trial.outcome(&order).await.unwrap(), EndingKind::Completed);
    trial.lives_on("web", &destination).await.unwrap();
}
