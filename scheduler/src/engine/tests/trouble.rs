//! Disks that are full, files that are damaged, directories that are gone: the scheduler says so and goes on as it can.

use std::{fs, time::Duration};

use ballast_core::{decision::Mode, outcome::Ending};

use super::harness::{World, wish};
use crate::{
    engine::{Impairment, OperatorError, ToAgent},
    testing::vm,
};

/// Makes a directory of segments unwritable for whoever runs this, root too: a file stands in its place. It works once
/// the writer needs a new segment.
fn block(dir: &std::path::Path) {
    fs::remove_dir_all(dir).unwrap();
    fs::write(dir, "in the way").unwrap();
}

fn unblock(dir: &std::path::Path) {
    fs::remove_file(dir).unwrap();
    fs::create_dir(dir).unwrap();
}

#[tokio::test]
async fn a_telemetry_log_that_cannot_be_written_is_counted_and_the_fleet_is_still_seen() {
    let mut world = World::stopped(Mode::Recommend);
    fs::create_dir_all(world.dir.path()).unwrap();
    fs::write(world.settings.telemetry_dir(), "in the way").unwrap();
    world.start().await.unwrap();
    let (mut a, _b) = world.pair().await;
    world.until("counted", async |engine| engine.stats().await.unwrap().log_dropped >= 4).await;
    let stats = world.engine().stats().await.unwrap();
    assert!(matches!(stats.impairments[..], [Impairment::TelemetryLogUnwritable { .. }]), "{:?}", stats.impairments);
    world.settle().await;
    assert!(a.waiting().iter().any(|message| matches!(message, ToAgent::Ack(_))), "what was observed is acknowledged");
    assert!(world.engine().migrate(wish()).await.is_ok(), "orders do not depend on it");
}

#[tokio::test]
async fn without_a_journal_nothing_is_ordered_and_orders_come_back_with_it() {
    let mut world = World::stopped(Mode::Recommend);
    // Every record begins a new segment, so that an obstacle works at once.
    world.settings.keep.journal_segment = ballast_core::units::Bytes(1);
    world.start().await.unwrap();
    let (mut a, _b) = world.pair().await;
    block(&world.settings.journal_dir());
    let error = world.engine().migrate(wish()).await.unwrap_err();
    assert!(matches!(error, OperatorError::NotDurable { .. }), "{error}");
    assert!(world.engine().set_mode(Mode::Auto, "ann").await.is_err());
    assert_eq!(world.engine().mode(), Mode::Recommend);
    world.settle().await;
    assert!(a.waiting().iter().all(|message| matches!(message, ToAgent::Ack(_))), "no command without its record");
    assert_eq!(world.snapshot().await.vms[&vm(7)].locked_by, None);
    let stats = world.engine().stats().await.unwrap();
    assert!(matches!(stats.impairments[..], [Impairment::JournalUnwritable { .. }]), "{:?}", stats.impairments);
    unblock(&world.settings.journal_dir());
    world.engine().migrate(wish()).await.unwrap();
    a.command().await;
    assert!(world.engine().stats().await.unwrap().impairments.is_empty());
}

#[tokio::test]
async fn an_outcome_that_cannot_be_journalled_is_not_acknowledged_until_it_is() {
    let mut world = World::stopped(Mode::Recommend);
    world.settings.keep.journal_segment = ballast_core::units::Bytes(1);
    world.start().await.unwrap();
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    block(&world.settings.journal_dir());
    a.finish(&command, Ending::Completed).await;
    world.pass(Duration::from_secs(10)).await;
    assert!(a.waiting().iter().all(|message| matches!(message, ToAgent::Ack(_))));
    assert_eq!(world.engine().migrations(1, true).len(), 1);
    unblock(&world.settings.journal_dir());
    world.pass(Duration::from_secs(5)).await;
    assert_eq!(a.next().await, ToAgent::ReportAck(command.id));
    assert!(world.engine().migrations(1, true).is_empty());
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_and_costs_only_warm_up() {
    let mut world = World::new(Mode::Recommend).await;
    let (mut a, b) = world.pair().await;
    for _ in 0..50 {
        a.beat(1.0).await;
        world.pass(Duration::from_secs(5)).await;
    }
    drop((a, b));
    world.engine().stop().await;
    world.kill().await;
    let db = world.settings.store_dir().join("db");
    let size = fs::metadata(&db).unwrap().len();
    fs::write(&db, vec![0xA5; usize::try_from(size).unwrap()]).unwrap();
    fs::write(world.settings.store_dir().join("conf"), "nonsense").unwrap();
    world.start().await.unwrap();
    let stats = world.engine().stats().await.unwrap();
    assert_eq!((stats.store_quarantined, stats.impairments.len()), (1, 0), "{:?}", stats.impairments);
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    a.command().await;
}

#[tokio::test]
async fn a_store_that_is_deleted_loses_nothing_but_warm_up() {
    let mut world = World::new(Mode::Recommend).await;
    let (mut a, b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    drop((a, b));
    world.engine().stop().await;
    world.lose_store().await;
    world.start().await.unwrap();
    world.pair().await;
    assert_eq!(world.snapshot().await.vms[&vm(7)].locked_by, Some(command.id));
    assert_eq!(world.engine().migrations(1, true)[0].id, command.id);
}

#[tokio::test]
async fn a_store_that_cannot_be_made_is_done_without() {
    let mut world = World::stopped(Mode::Recommend);
    fs::write(world.settings.store_dir(), "in the way").unwrap();
    world.start().await.unwrap();
    let (mut a, _b) = world.pair().await;
    world.pass(Duration::from_secs(20)).await;
    a.beat(1.0).await;
    world.engine().migrate(wish()).await.unwrap_err();
    let stats = world.engine().stats().await.unwrap();
    let is_said = stats.impairments.iter().any(|one| matches!(one, Impairment::StoreUnusable { .. }));
    assert!(is_said || stats.store_quarantined == 1, "{:?}", stats.impairments);
}

#[tokio::test]
async fn a_stopped_engine_takes_nothing_and_its_files_can_be_opened_again() {
    let mut world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().stop().await;
    assert!(matches!(a.next().await, ToAgent::Close { .. }));
    assert_eq!(world.engine().migrate(wish()).await.unwrap_err(), OperatorError::Stopping);
    world.kill().await;
    world.start().await.unwrap();
    assert_eq!(world.engine().stats().await.unwrap().impairments, Vec::new());
}
