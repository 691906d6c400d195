//! What an agent stands on changes under it: its disk fills up, its certificates are renewed.

use ballast_proto::v1::{EndingKind, Outcome};
use ballast_tests::{
    drill::Phase,
    lab::Lab,
    lab_place::There,
    small_disk::SmallDisk,
    trial::{COPY, ENDLESS, Move, Trial, UNBOUNDED},
};

use super::{ended, hosts, trial};

/// Room for the agent's journal and spool, KiB.
const DISK_KIB: u32 = 512;

#[tokio::test]
async fn an_agent_whose_disk_fills_up_tells_how_the_move_ended_and_begins_none_until_there_is_room() {
    let test = "agent::an_agent_whose_disk_fills_up_tells_how_the_move_ended_and_begins_none_until_there_is_room";
    let Some(mut trial) = trial(test, 2, &[("web", 1), ("db", 1)]).await else { return };
    let (source, destination) = hosts();
    trial.fleet.agents[0].crash().unwrap();
    let disk = SmallDisk::over(&trial.fleet.data_dir(&source), DISK_KIB).unwrap();
    trial.fleet.restart_agent(1).unwrap();
    trial.fleet.trusted(&trial.operator, 2).await.unwrap();

    let under_way = trial.order("web", &source, &destination, COPY).await.unwrap();
    trial.reached(&under_way, Phase::Copy).await.unwrap();
    disk.fill().unwrap();
    ended(&trial.outcome(&under_way).await.unwrap(), EndingKind::Completed);

    // The last page of the journal may still take a record or two.
    let mut denied = None;
    for _ in 0..10 {
        let order = trial.order("db", &source, &destination, ENDLESS).await.unwrap();
        denied = denied_or_begun(&trial, &order).await;
        if denied.is_some() {
            break;
        }
        trial.fleet.lab.virsh(&source, &["domjobabort", "db"]).unwrap();
        ended(&trial.outcome(&order).await.unwrap(), EndingKind::Failed);
    }
    let denied = denied.expect("an order that is denied");
    ended(&denied, EndingKind::Abandoned);
    assert!(denied.reason.contains("the journal cannot be written"), "{denied:?}");
    assert_eq!(trial.places("db"), [There::Runs, There::IsNot]);

    disk.free().unwrap();
    let order = trial.order("db", &source, &destination, UNBOUNDED).await.unwrap();
    ended(&trial.outcome(&order).await.unwrap(), EndingKind::Completed);
    for vm in ["web", "db"] {
        trial.lives_on(vm, &destination).await.unwrap();
    }
}

/// The outcome of an order that was denied; `None` once it is seen to be carried out.
async fn denied_or_begun(trial: &Trial, order: &Move) -> Option<Outcome> {
    let copying = |lab: &Lab| lab.is_copied_from(&order.source).unwrap_or(false);
    let answered = async |trial: &Trial| {
        let known = trial.known(order).await.unwrap_or_default();
        copying(&trial.fleet.lab) || known.is_some_and(|known| known.outcome.is_some())
    };
    trial.until_told("the order is answered", answered).await.unwrap();
    trial.known(order).await.unwrap()?.outcome
}

/// How often the certificates are renewed in the course of one move.
const RENEWALS: usize = 3;

#[tokio::test]
async fn certificates_renewed_in_the_course_of_a_move_drop_no_link_and_serve_the_next_one() {
    let test = "agent::certificates_renewed_in_the_course_of_a_move_drop_no_link_and_serve_the_next_one";
    let Some(mut trial) = trial(test, 2, &[("web", 1)]).await else { return };
    let (source, destination) = hosts();
    let order = trial.order("web", &source, &destination, ENDLESS).await.unwrap();
    trial.reached(&order, Phase::Copy).await.unwrap();
    let lost_before = said(&trial, "No link to the scheduler");
    for renewal in 1..=RENEWALS {
        trial.fleet.renew_certificates().unwrap();
        let all_have = async |trial: &Trial| said(trial, "Certificates renewed").iter().all(|times| *times >= renewal);
        trial.until("every daemon has the new certificates", all_have).await.unwrap();
    }
    trial.fleet.lab.virsh(&source, &["migrate-setspeed", "web", UNBOUNDED]).unwrap();
    ended(&trial.outcome(&order).await.unwrap(), EndingKind::Completed);
    trial.lives_on("web", &destination).await.unwrap();
    assert_eq!(said(&trial, "No link to the scheduler"), lost_before, "a link was dropped");

    // Every link is made anew, with what was renewed.
    trial.fleet.restart_scheduler().unwrap();
    let back = trial.order("web", &destination, &source, UNBOUNDED).await.unwrap();
    ended(&trial.outcome(&back).await.unwrap(), EndingKind::Completed);
    trial.lives_on("web", &source).await.unwrap();
}

/// How often each daemon has said so.
fn said(trial: &Trial, words: &str) -> Vec<usize> {
    let daemons = trial.fleet.agents.iter().chain([&trial.fleet.scheduler]);
    daemons.map(|daemon| daemon.log().matches(words).count()).collect()
}
