//! The link between two hosts is cut; each still reaches the scheduler.

use ballast_proto::v1::EndingKind;
use ballast_tests::{
    drill::Phase,
    lab::LEASE,
    lab_place::There,
    trial::{COPY, ENDLESS, Trial},
};

use super::{ended, hosts, labelled, trial};

#[tokio::test]
async fn a_link_cut_before_or_in_the_copy_leaves_the_vm_at_its_source() {
    let test = "link::a_link_cut_before_or_in_the_copy_leaves_the_vm_at_its_source";
    let Some(mut trial) = trial(test, 2, &[("web", 1)]).await else { return };
    let (source, destination) = hosts();
    trial.fleet.lab.cut(&source, &destination).unwrap();
    let before = trial.order("web", &source, &destination, COPY).await.unwrap();
    ended(&trial.outcome(&before).await.unwrap(), EndingKind::Failed);
    trial.fleet.lab.mend(&source).unwrap();
    trial.lives_on("web", &source).await.unwrap();

    let order = trial.order("web", &source, &destination, ENDLESS).await.unwrap();
    trial.reached(&order, Phase::Copy).await.unwrap();
    trial.fleet.lab.cut(&source, &destination).unwrap();
    ended(&trial.outcome(&order).await.unwrap(), EndingKind::Failed);
    // What waits there for the rest of the copy is libvirt's to remove, though nobody tells it that none comes.
    trial.lives_on("web", &source).await.unwrap();
}

#[tokio::test]
async fn a_link_cut_at_the_switch_over_ends_nothing_on_what_nobody_can_know() {
    let test = "link::a_link_cut_at_the_switch_over_ends_nothing_on_what_nobody_can_know";
    let Some(mut trial) = trial(test, 2, &[("web", 1)]).await else { return };
    let (source, destination) = hosts();
    let order = trial.order("web", &source, &destination, COPY).await.unwrap();
    trial.hold_before_it_is_handed_over(&order).await.unwrap();
    trial.fleet.lab.cut(&source, &destination).unwrap();
    trial.fleet.lab.thaw_libvirtd(&source).unwrap();
    // Where the two libvirtds had parted before the cut, the destination has said that it gave up: then the end is known.
    let unknown = |trial: &Trial| trial.agent_log(1).contains("its destination, which may run it too, cannot be asked");
    trial
        .until_told("the agent says what it cannot know, or the end is known", async |trial| {
            unknown(trial) || trial.known(&order).await.unwrap().unwrap().outcome.is_some()
        })
        .await
        .unwrap();
    assert_eq!(trial.fleet.lab.place(&source, "web"), There::Runs);
    let told = trial.known(&order).await.unwrap().unwrap().outcome;
    assert!(told.is_none() || !unknown(&trial), "nobody can know yet: {told:?}");
    trial.fleet.lab.mend(&source).unwrap();
    ended(&trial.outcome(&order).await.unwrap(), EndingKind::Failed);
    trial.lives_on("web", &source).await.unwrap();
}

/// libvirt 9.0 without a lock manager: the word that the vm runs at its destination is lost, and the source takes that for a
/// failure. What ballast can do is to tell nothing untrue, to touch neither, and to end the order once a person has chosen.
#[tokio::test]
async fn a_vm_that_libvirt_runs_at_both_ends_is_told_and_left_to_a_person() {
    let test = "link::a_vm_that_libvirt_runs_at_both_ends_is_told_and_left_to_a_person";
    let Some(mut trial) = trial(test, 2, &[("web", 1)]).await else { return };
    let (source, destination) = hosts();
    let order = trial.order("web", &source, &destination, COPY).await.unwrap();
    trial.hold_before_it_runs_there(&order).await.unwrap();
    trial.fleet.lab.cut(&source, &destination).unwrap();
    trial.fleet.lab.thaw_libvirtd(&destination).unwrap();
    trial.runs_twice("web").await.unwrap();
    trial.fleet.lab.mend(&source).unwrap();

    trial
        .until("the agent says so", async |trial| trial.agent_log(1).contains("the vm seems to run on both hosts"))
        .await
        .unwrap();
    let refused = trial.try_order("web", &destination).await.unwrap_err();
    trial.say(&format!("refused: {}", refused.message()));
    assert_eq!(trial.known(&order).await.unwrap().unwrap().outcome, None, "no outcome is true of a vm that runs twice");
    assert_eq!(trial.places("web"), [There::Runs, There::Runs], "it was touched");

    // What a person does.
    trial.fleet.lab.virsh(&destination, &["destroy", "web"]).unwrap();
    trial.fleet.lab.virsh(&destination, &["undefine", "web"]).unwrap();
    ended(&trial.outcome(&order).await.unwrap(), EndingKind::Failed);
    trial.lives_on("web", &source).await.unwrap();
}

/// The same with libvirt's lock manager: the lease has gone to the destination, so the source cannot let the vm go on.
#[tokio::test]
async fn a_vm_with_a_lease_runs_once_even_where_the_last_word_of_its_move_is_lost() {
    let test = "link::a_vm_with_a_lease_runs_once_even_where_the_last_word_of_its_move_is_lost";
    let Some(mut trial) = labelled(test, 2, &[("web", 1)], &[LEASE]).await else { return };
    let (source, destination) = hosts();
    let order = trial.order("web", &source, &destination, COPY).await.unwrap();
    trial.hold_before_it_runs_there(&order).await.unwrap();
    trial.fleet.lab.cut(&source, &destination).unwrap();
    trial.fleet.lab.thaw_libvirtd(&destination).unwrap();
    // By then its libvirtd has taken the lost word for a failure, and tried to let the vm go on.
    let paused = "the vm is paused at its source and its destination cannot be asked";
    trial.until("the source has given up", async |trial| trial.agent_log(1).contains(paused)).await.unwrap();
    assert_eq!(trial.places("web"), [There::StandsStill, There::Runs]);
    trial.fleet.lab.mend(&source).unwrap();
    ended(&trial.outcome(&order).await.unwrap(), EndingKind::Completed);

    // What stays behind at the source has no lease and cannot be let run; a person removes it.
    trial.fleet.lab.virsh(&source, &["resume", "web"]).unwrap_err();
    trial.fleet.lab.virsh(&source, &["destroy", "web"]).unwrap();
    trial.fleet.lab.virsh(&source, &["undefine", "web"]).unwrap();
    trial.lives_on("web", &destination).await.unwrap();
}
