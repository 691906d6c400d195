//! The scheduler dies and comes back: nothing is forgotten, nothing runs twice.

use std::{fs, time::Duration};

use ballast_core::{
    command::{CommandStatus, Report},
    decision::Mode,
    id::Epoch,
    outcome::Ending,
};
use ballast_daemon::{clock::Clock, segments::segment_files};

use super::harness::{Agent, World, outcome_of, wish};
use crate::{
    engine::{EngineError, ToAgent},
    journal::{self, Record},
    testing::{host, inventory, vm},
};

#[tokio::test]
async fn every_start_has_a_newer_epoch() {
    let mut world = World::new(Mode::Recommend).await;
    for epoch in 1..4 {
        assert_eq!(world.engine().epoch(), Epoch(epoch));
        world.restart().await;
    }
    world.settings.epoch_min = 40;
    world.restart().await;
    assert_eq!(world.engine().epoch(), Epoch(40));
}

/// Writes an intent into the journal as a scheduler does that dies before it sends the command.
async fn intent_without_command(world: &World) -> ballast_core::command::Command {
    let clock = Clock::system();
    let bytes = ballast_core::units::Bytes::from_mib(16);
    let (journal, _) =
        journal::open(&world.settings.journal_dir(), bytes, bytes, 10, clock, Default::default()).unwrap();
    let command = crate::testing::migrate(1);
    let intent = Box::new(crate::testing::intent(command.clone()));
    journal.write(vec![Record::EpochStart { epoch: Epoch(1) }, Record::Intent { intent }]).await.unwrap();
    command
}

#[tokio::test]
async fn a_kill_between_intent_and_send_ends_in_an_abandoned_command() {
    let mut world = World::stopped(Mode::Recommend);
    let command = intent_without_command(&world).await;
    world.start().await.unwrap();
    assert_eq!(world.engine().epoch(), Epoch(2));
    let mut a = world.agent("a", &[7]).await;
    assert_eq!(world.snapshot().await.vms[&vm(7)].locked_by, Some(command.id), "locked before anybody is asked");
    assert_eq!(a.welcome.epoch, Epoch(2), "the welcome raises the fence before the question");
    assert_eq!(a.next().await, ToAgent::Query(vec![command.id]));
    a.say(command.id, CommandStatus::Unknown).await;
    assert_eq!(a.next().await, ToAgent::ReportAck(command.id));
    let ending = world.engine().migrations(1, false)[0].outcome.clone().unwrap().ending;
    assert!(matches!(ending, Ending::Abandoned { .. }), "{ending:?}");
    assert_eq!(world.snapshot().await.vms[&vm(7)].locked_by, None);
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_migration_adopts_it_and_closes_it() {
    let mut world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    a.say(command.id, CommandStatus::Accepted).await;
    world.settle().await;
    let inventory = a.inventory.clone();
    drop(a);
    world.kill().await;
    world.start().await.unwrap();
    let mut hello = Agent::hello(inventory, &world.clock);
    let status = CommandStatus::Running(Default::default());
    hello.reports.push(Report { id: command.id, status });
    let mut a = world.connect(hello).await.unwrap();
    let mut b = world.agent("b", &[]).await;
    assert_eq!(world.engine().migrations(1, true)[0].id, command.id);
    assert_eq!(world.snapshot().await.vms[&vm(7)].locked_by, Some(command.id));
    a.finish(&command, Ending::Completed).await;
    assert_eq!(a.next().await, ToAgent::ReportAck(command.id));
    b.now_holds(&[7]).await;
    a.now_holds(&[]).await;
    assert_eq!(world.snapshot().await.vms[&vm(7)].host, host("b"));
    assert!(world.engine().migrations(1, true).is_empty());
}

#[tokio::test]
async fn an_outcome_that_was_journalled_before_the_kill_is_only_acknowledged_again() {
    let mut world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    a.finish(&command, Ending::Failed { reason: "no".into() }).await;
    assert_eq!(a.next().await, ToAgent::ReportAck(command.id));
    let inventory = a.inventory.clone();
    drop(a);
    world.kill().await;
    world.start().await.unwrap();
    let mut hello = Agent::hello(inventory, &world.clock);
    let status = CommandStatus::Finished(outcome_of(&command, Ending::Failed { reason: "no".into() }));
    hello.reports.push(Report { id: command.id, status });
    let mut a = world.connect(hello).await.unwrap();
    assert_eq!(a.next().await, ToAgent::ReportAck(command.id));
    assert!(world.engine().stats().await.unwrap().outcomes.is_empty());
}

#[tokio::test]
async fn a_vm_that_was_moved_rests_on_after_a_restart() {
    let mut world = World::new(Mode::Recommend).await;
    let (mut a, b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    a.finish(&command, Ending::Failed { reason: "no".into() }).await;
    assert_eq!(a.next().await, ToAgent::ReportAck(command.id));
    let inventory = a.inventory.clone();
    drop((a, b));
    world.kill().await;
    world.start().await.unwrap();
    let (hello, before) = (Agent::hello(inventory, &world.clock), world.clock.now());
    let _a = world.connect(hello).await.unwrap();
    let moved = world.snapshot().await.vms[&vm(7)].last_moved_at;
    assert!(moved.is_some_and(|at| at <= before), "{moved:?}");
}

/// A scheduler whose mode was set twice, lost; and the newest segment of its journal.
async fn lost_after_two_modes() -> (World, std::path::PathBuf, Vec<u8>) {
    let mut world = World::new(Mode::Recommend).await;
    world.engine().set_mode(Mode::Auto, "ann").await.unwrap();
    world.engine().set_mode(Mode::Off, "ann").await.unwrap();
    world.kill().await;
    let last = segment_files(&world.settings.journal_dir()).unwrap().pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    (world, last, bytes)
}

#[tokio::test]
async fn a_torn_last_record_is_cut_and_the_rest_stands() {
    let (mut world, last, bytes) = lost_after_two_modes().await;
    // The crash came before the record was noted as synced.
    fs::remove_file(world.settings.journal_dir().join("head")).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 5]).unwrap();
    world.start().await.unwrap();
    assert_eq!(world.engine().mode(), Mode::Auto, "the change that was torn did not happen");
    assert_eq!(world.engine().epoch(), Epoch(2));
}

#[tokio::test]
async fn a_synced_last_record_that_is_cut_stops_the_start_and_says_what_to_do() {
    let (mut world, last, bytes) = lost_after_two_modes().await;
    fs::write(&last, &bytes[..bytes.len() - 5]).unwrap();
    let text = world.start().await.unwrap_err().to_string();
    assert!(text.contains(&last.display().to_string()), "{text}");
    assert!(text.contains("backup") && text.contains("epoch_min"), "{text}");
}

#[tokio::test]
async fn a_journal_whose_beginning_is_gone_stops_the_start_unless_a_checkpoint_stands_in() {
    let mut world = World::stopped(Mode::Recommend);
    world.settings.keep.journal_segment = ballast_core::units::Bytes(1);
    world.start().await.unwrap();
    world.engine().set_mode(Mode::Off, "ann").await.unwrap();
    world.kill().await;
    let files = segment_files(&world.settings.journal_dir()).unwrap();
    let [begun, mode] = &files[..] else { panic!("{files:?}") };
    fs::remove_file(begun).unwrap();
    let text = world.start().await.unwrap_err().to_string();
    assert!(text.contains(&mode.display().to_string()) && text.contains("checkpoint"), "{text}");
}

#[tokio::test]
async fn a_damaged_journal_stops_the_start_with_file_and_offset() {
    let mut world = World::new(Mode::Recommend).await;
    world.engine().set_mode(Mode::Auto, "ann").await.unwrap();
    world.engine().set_mode(Mode::Off, "ann").await.unwrap();
    world.kill().await;
    let last = segment_files(&world.settings.journal_dir()).unwrap().pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    bytes[60 + 45] ^= 1;
    fs::write(&last, &bytes).unwrap();
    let error = world.start().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, EngineError::Journal { .. }));
    assert!(text.contains(&last.display().to_string()) && text.contains("byte 60"), "{text}");
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_stops_the_start_and_says_why() {
    let mut world = World::stopped(Mode::Recommend);
    fs::write(world.settings.journal_dir(), "a file where the directory should be").unwrap();
    let text = world.start().await.unwrap_err().to_string();
    assert!(text.contains("the journal cannot be used") && text.contains("journal"), "{text}");
}

#[tokio::test]
async fn hosts_of_before_are_waited_for_before_the_first_decision() {
    let mut world = World::new(Mode::Auto).await;
    let (mut a, mut b) = world.pair().await;
    for _ in 0..4 {
        a.beat(1.0).await;
        b.beat(0.1).await;
        world.pass(Duration::from_secs(5)).await;
    }
    drop((a, b));
    world.restart().await;
    let snapshot = world.snapshot().await;
    assert_eq!(snapshot.hosts.len(), 2, "both are known from the store");
    assert!(snapshot.hosts.values().all(|host| !host.is_trusted()), "and not believed before they are back");
    world.connect(Agent::hello(inventory("a", &[7]), &world.clock)).await.unwrap();
}
