//! Telemetry in: acknowledged once it is written, ordered, doubted, and never acted on when it is stale.

use std::time::Duration;

use ballast_core::{
    decision::Mode,
    id::Seq,
    sample::Reading,
    snapshot::{Doubt, Event},
    units::Cores,
};

use super::harness::{Agent, World, logged_events, wish};
use crate::{
    engine::{OperatorError, SessionError, ToAgent},
    testing::{batch, host, inventory, vm},
};

#[tokio::test]
async fn a_batch_is_acknowledged_once_it_is_written() {
    let world = World::new(Mode::Off).await;
    let mut a = world.agent("a", &[7]).await;
    a.beat(1.0).await;
    a.beat(1.0).await;
    let mut acked = Vec::new();
    while acked.last() != Some(&ToAgent::Ack(Seq(2))) {
        world.driver.advance(Duration::from_millis(100));
        world.settle().await;
        acked.extend(a.waiting());
    }
    let stats = world.engine().stats().await.unwrap();
    assert_eq!((stats.batches, stats.vm_samples, stats.log_dropped), (2, 2, 0));
    assert!(stats.log_bytes > 0);
}

#[tokio::test]
async fn duplicates_late_ones_and_gaps_are_counted() {
    let world = World::new(Mode::Off).await;
    let a = world.agent("a", &[7]).await;
    for seq in [1, 2, 2, 5, 3] {
        let batch = batch(&a.inventory, seq, world.clock.now(), 1.0);
        world.engine().batch(a.id, batch).await.unwrap();
    }
    world.snapshot().await;
    let stats = world.engine().stats().await.unwrap();
    let counts = (stats.batches, stats.batches_duplicate, stats.batches_late, stats.batches_missing);
    assert_eq!(counts, (3, 1, 1, 2));
}

#[tokio::test]
async fn a_link_speaks_for_its_own_host_only() {
    let world = World::new(Mode::Off).await;
    let a = world.agent("a", &[7]).await;
    let foreign = batch(&inventory("b", &[]), 1, world.clock.now(), 1.0);
    let error = world.engine().batch(a.id, foreign).await.unwrap_err();
    assert_eq!(error, SessionError::WrongHost { own: host("a"), named: host("b") });
}

#[tokio::test]
async fn a_second_link_of_a_host_ends_the_first_without_a_doubt() {
    let world = World::new(Mode::Off).await;
    let mut first = world.agent("a", &[7]).await;
    let mut second = world.agent("a", &[7]).await;
    assert!(matches!(first.next().await, ToAgent::Close { .. }));
    first.leave().await;
    second.beat(1.0).await;
    assert!(world.snapshot().await.hosts[&host("a")].is_trusted());
    let late = batch(&first.inventory, 9, world.clock.now(), 1.0);
    assert_eq!(world.engine().batch(first.id, late).await, Err(SessionError::Ended));
}

#[tokio::test]
async fn a_link_resumes_where_it_was() {
    let world = World::new(Mode::Off).await;
    let mut a = world.agent("a", &[7]).await;
    for _ in 0..3 {
        a.beat(1.0).await;
    }
    a.leave().await;
    let again = world.connect(Agent::hello(a.inventory.clone(), &world.clock)).await.unwrap();
    assert_eq!(again.welcome.resume_from, Seq(4));
}

#[tokio::test]
async fn a_host_silent_for_ten_periods_is_neither_source_nor_target() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.pass(Duration::from_secs(50)).await;
    a.beat(1.0).await;
    let snapshot = world.snapshot().await;
    let silent = &snapshot.hosts[&host("b")].doubts;
    assert!(silent.iter().any(|doubt| matches!(doubt, Doubt::Silent { .. })), "{silent:?}");
    let towards = world.engine().migrate(wish()).await.unwrap_err();
    assert!(matches!(towards, OperatorError::Denied { .. }), "{towards}");
}

#[tokio::test]
async fn absurd_figures_are_set_aside_named_and_make_the_host_doubtful() {
    let absurd = [f64::NAN, f64::INFINITY, -3.0, 8000.0];
    for cores in absurd {
        let world = World::new(Mode::Recommend).await;
        let (mut a, b) = world.pair().await;
        let mut wrong = batch(&b.inventory, b.seq, world.clock.now(), 1.0);
        wrong.sample.cpu_used = Reading::Measured(Cores(cores));
        world.engine().batch(b.id, wrong).await.unwrap();
        a.beat(1.0).await;
        let snapshot = world.snapshot().await;
        let view = &snapshot.hosts[&host("b")];
        assert!(view.doubts.iter().any(|doubt| matches!(doubt, Doubt::Absurd { .. })), "{cores}: {:?}", view.doubts);
        assert_eq!(view.sample.unwrap().cpu_used, Reading::Missing, "{cores}");
        assert!(world.engine().migrate(wish()).await.is_err(), "{cores}");
        assert!(world.engine().stats().await.unwrap().readings_absurd > 0);
    }
}

#[tokio::test]
async fn a_spooled_backlog_does_not_make_old_figures_look_fresh() {
    let world = World::new(Mode::Off).await;
    let a = world.agent("a", &[7]).await;
    let old = batch(&a.inventory, 1, world.clock.now().before(Duration::from_secs(300)), 1.0);
    world.engine().batch(a.id, old).await.unwrap();
    let doubts = world.snapshot().await.hosts[&host("a")].doubts.clone();
    assert!(doubts.iter().any(|doubt| matches!(doubt, Doubt::Silent { .. })), "{doubts:?}");
}

#[tokio::test]
async fn orders_and_outcomes_are_in_the_telemetry_log_too() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    a.finish(&command, ballast_core::outcome::Ending::Completed).await;
    a.next().await;
    world.engine().stop().await;
    let events = logged_events(&world.settings);
    assert!(matches!(events[0], Event::Ordered { .. }) && matches!(events[1], Event::Ended { .. }), "{events:?}");
}

#[tokio::test]
async fn what_was_recorded_can_be_replayed_segment_by_segment() {
    let mut world = World::stopped(Mode::Off);
    world.settings.keep.telemetry_segment_age = Duration::from_secs(60);
    world.start().await.unwrap();
    let mut a = world.agent("a", &[7]).await;
    for _ in 0..40 {
        a.beat(1.0).await;
        world.pass(Duration::from_secs(5)).await;
    }
    world.engine().stop().await;
    let files = ballast_daemon::segments::segment_files(&world.settings.telemetry_dir()).unwrap();
    assert!(files.len() >= 3, "{files:?}");
    let settings = crate::replay::ReplaySettings::new("risk-greedy");
    for file in &files {
        let summary = crate::replay::decisions(std::slice::from_ref(file), &settings, |_, _| {}).unwrap();
        assert_eq!(summary.batches_dropped, 0, "{} stands alone", file.display());
        assert!(summary.batches > 0);
    }
    let all = crate::replay::decisions(&[world.settings.telemetry_dir()], &settings, |_, _| {}).unwrap();
    assert_eq!((all.batches, all.batches_dropped), (40, 0));
}

#[tokio::test]
async fn the_forecast_is_warm_after_a_restart_and_cold_without_the_store() {
    let mut world = World::new(Mode::Off).await;
    let mut a = world.agent("a", &[7]).await;
    for _ in 0..170 {
        a.beat(1.0).await;
        world.pass(Duration::from_secs(5)).await;
    }
    assert!(world.engine().forecasts().await.unwrap().vms.contains_key(&vm(7)), "known after 14 minutes");
    drop(a);
    world.restart().await;
    world.agent("a", &[7]).await;
    assert!(world.engine().forecasts().await.unwrap().vms.contains_key(&vm(7)), "known from the store");
    world.engine().stop().await;
    world.lose_store().await;
    world.start().await.unwrap();
    world.agent("a", &[7]).await;
    assert!(!world.engine().forecasts().await.unwrap().vms.contains_key(&vm(7)));
}
