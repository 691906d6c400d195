//! The way of one sample, whole: simulated hosts, real agents, real scheduler, real gRPC, driven time.

use ballast_core::{decision::Mode, id::CommandId, outcome::Ending, units::BytesPerSec};
use ballast_scheduler::engine::MigrationRecord;
use ballast_tests::fleet::{SimFleet, id, vm};

#[tokio::test]
async fn an_overloaded_host_is_relieved_by_a_live_migration() {
    let vms = [vm("busy-1", 0, 3.9), vm("busy-2", 0, 3.9), vm("calm", 1, 0.5)];
    let fleet = SimFleet::start(Mode::Auto, 3, &vms).await.unwrap();
    fleet.trusted().await.unwrap();
    assert!(fleet.until(300, |fleet| fleet.moves() > 0).await, "nothing was moved\n{}", fleet.logs.text());
    assert!(fleet.until(60, |fleet| fleet.scheduler.engine.migrations(10, true).is_empty()).await, "it never ended");
    let migrations = fleet.scheduler.engine.migrations(10, false);
    let first = migrations.last().unwrap();
    assert_eq!(first.source.as_str(), "kvm1");
    let outcome = first.outcome.as_ref().unwrap();
    assert_eq!(outcome.ending, Ending::Completed);
    assert!(!outcome.stages.migration.is_zero() && outcome.copied.get() > 0, "{outcome:?}");
    assert_eq!(fleet.runs_on(&first.name), [first.destination.to_string()]);
    let explanation = fleet.scheduler.engine.explain(&first.id.to_string()).unwrap();
    assert!(explanation.text.contains("kvm1"), "{}", explanation.text);
    let came = format!("what came of it:\n  - {} to {}: completed: copied ", first.name, first.destination);
    assert!(explanation.text.contains(&came) && explanation.text.contains(" s reckoned)"), "{}", explanation.text);
}

#[tokio::test]
async fn an_idle_host_is_emptied_and_put_to_sleep() {
    let vms = [vm("calm-1", 0, 0.3), vm("calm-2", 1, 0.3)];
    let fleet = SimFleet::start_with(Mode::Auto, 2, &vms, |config| {
        config.engine.tuning.sleep_after = std::time::Duration::from_secs(30);
        config.engine.tuning.power_dwell = std::time::Duration::from_secs(30);
    })
    .await
    .unwrap();
    fleet.trusted().await.unwrap();
    // A look at the vms that was under way when the host fell asleep gets no answer.
    fleet.logs.expect("The hypervisor does not answer");
    let asleep = |fleet: &SimFleet| fleet.world.with(|world| world.ledger().sleeps) == 1;
    assert!(fleet.until(1800, asleep).await, "nobody sleeps\n{}", fleet.logs.text());
    let together = [fleet.runs_on("calm-1"), fleet.runs_on("calm-2")];
    assert_eq!(together[0], together[1], "the vms share a host");
}

/// Two calm hosts, of which one is being emptied; the migration that does it, just begun.
async fn being_emptied() -> (SimFleet, MigrationRecord) {
    let vms = [vm("calm-1", 0, 0.3), vm("calm-2", 1, 0.3)];
    let fleet = SimFleet::start(Mode::Auto, 2, &vms).await.unwrap();
    fleet.trusted().await.unwrap();
    let flying = |fleet: &SimFleet| fleet.world.with(|world| !world.flights().is_empty());
    assert!(fleet.until(900, flying).await, "nothing was begun\n{}", fleet.logs.text());
    let running = fleet.scheduler.engine.migrations(1, true).remove(0);
    (fleet, running)
}

/// Lets the migration end; how it did.
async fn ended(fleet: &SimFleet, id: CommandId) -> MigrationRecord {
    let one = |fleet: &SimFleet| {
        let all = fleet.scheduler.engine.migrations(10, false);
        all.into_iter().find(|one| one.id == id && one.outcome.is_some())
    };
    assert!(fleet.until(300, |fleet| one(fleet).is_some()).await, "it never ended\n{}", fleet.logs.text());
    one(fleet).unwrap()
}

#[tokio::test]
async fn a_move_whose_vm_begins_to_write_faster_than_the_link_is_given_up_and_the_vm_stays_whole() {
    let (fleet, running) = being_emptied().await;
    fleet.writes(&running.name, BytesPerSec(600e6), 1.0).unwrap();
    let over = ended(&fleet, running.id).await;
    let outcome = over.outcome.unwrap();
    assert!(matches!(outcome.ending, Ending::Cancelled { .. }), "{outcome:?}");
    // Longer than one pass over memory, shorter than any limit of the source.
    let took = outcome.stages.migration.as_secs();
    assert!((20..40).contains(&took), "after {took} s");
    assert_eq!(fleet.runs_on(&running.name), [running.source.to_string()]);
    assert_eq!(fleet.moves(), 0);
    assert!(over.stop.as_ref().is_some_and(|why| why.starts_with("given up: it writes ")), "{:?}", over.stop);
    let text = fleet.scheduler.engine.explain(&running.id.to_string()).unwrap().text;
    assert!(text.contains("given up: it writes "), "{text}");
    assert_eq!(fleet.scheduler.engine.stats().await.unwrap().given_up.get("not_converging"), Some(&1));
    let snapshot = fleet.scheduler.engine.snapshot().await.unwrap();
    assert!(snapshot.vms[&running.vm].last_moved_at.is_some(), "it does not rest");
}

#[tokio::test]
async fn a_move_that_comes_to_cost_more_and_is_still_worth_it_goes_through() {
    let (fleet, running) = being_emptied().await;
    fleet.writes(&running.name, BytesPerSec(100e6), 1.0).unwrap();
    let over = ended(&fleet, running.id).await;
    let (outcome, reckoned) = (over.outcome.unwrap(), over.copy.unwrap().expected);
    assert_eq!(outcome.ending, Ending::Completed);
    assert!(outcome.copied > reckoned.copied.scale(1.5), "copied {}, {} reckoned", outcome.copied, reckoned.copied);
    let rest = over.rest.unwrap();
    assert!(rest.converges && over.stop.is_none(), "{rest:?}");
    assert_eq!(fleet.runs_on(&running.name), [running.destination.to_string()]);
    assert!(fleet.scheduler.engine.stats().await.unwrap().given_up.is_empty());
}

#[tokio::test]
async fn recommend_shows_and_moves_nothing() {
    let vms = [vm("busy-1", 0, 3.9), vm("busy-2", 0, 3.9)];
    let fleet = SimFleet::start(Mode::Recommend, 2, &vms).await.unwrap();
    fleet.trusted().await.unwrap();
    let recommended = |fleet: &SimFleet| !fleet.scheduler.engine.decisions(10, false).is_empty();
    assert!(fleet.until(120, recommended).await, "nothing was recommended\n{}", fleet.logs.text());
    fleet.until(60, |_| false).await;
    assert_eq!(fleet.moves(), 0);
    assert!(fleet.scheduler.engine.decisions(10, false).iter().all(|record| !record.executed));
}

#[tokio::test]
async fn the_scheduler_lost_and_found_in_the_middle_moves_the_vm_once() {
    let vms = [vm("busy-1", 0, 3.9), vm("busy-2", 0, 3.9)];
    let mut fleet = SimFleet::start(Mode::Auto, 2, &vms).await.unwrap();
    fleet.trusted().await.unwrap();
    let flying = |fleet: &SimFleet| fleet.world.with(|world| !world.flights().is_empty());
    assert!(fleet.until(300, flying).await, "nothing was begun\n{}", fleet.logs.text());
    let running = fleet.scheduler.engine.migrations(1, true).remove(0);
    fleet.logs.expect("No link to the scheduler");
    fleet.crash_scheduler().await.unwrap();
    fleet.until(5, |_| false).await;
    fleet.restart_scheduler().await.unwrap();
    let over = |fleet: &SimFleet| {
        let all = fleet.scheduler.engine.migrations(10, false);
        all.iter().any(|one| one.id == running.id && one.outcome.is_some())
    };
    assert!(fleet.until(300, over).await, "no outcome\n{}", fleet.logs.text());
    let all = fleet.scheduler.engine.migrations(10, false);
    let one = all.iter().find(|one| one.id == running.id).unwrap();
    assert_eq!(one.outcome.as_ref().unwrap().ending, Ending::Completed);
    assert_eq!(fleet.runs_on(&running.name), [running.destination.to_string()]);
    let moved: Vec<_> = all.iter().filter(|one| one.vm == id(&running.name)).collect();
    assert_eq!(moved.len(), 1, "moved again: {moved:?}");
}

#[tokio::test]
async fn both_daemons_lost_in_the_middle_still_end_with_one_running_vm() {
    let vms = [vm("busy-1", 0, 3.9), vm("busy-2", 0, 3.9)];
    let mut fleet = SimFleet::start(Mode::Auto, 2, &vms).await.unwrap();
    fleet.trusted().await.unwrap();
    let flying = |fleet: &SimFleet| fleet.world.with(|world| !world.flights().is_empty());
    assert!(fleet.until(300, flying).await, "nothing was begun\n{}", fleet.logs.text());
    let running = fleet.scheduler.engine.migrations(1, true).remove(0);
    fleet.logs.expect("No link to the scheduler").expect("Link ended");
    fleet.crash_agent("kvm1").await.unwrap();
    fleet.crash_scheduler().await.unwrap();
    fleet.until(20, |_| false).await;
    fleet.start_agent("kvm1").unwrap();
    fleet.restart_scheduler().await.unwrap();
    let over = |fleet: &SimFleet| {
        let all = fleet.scheduler.engine.migrations(10, false);
        all.iter().any(|one| one.id == running.id && one.outcome.is_some())
    };
    assert!(fleet.until(600, over).await, "no outcome\n{}", fleet.logs.text());
    assert_eq!(fleet.runs_on(&running.name).len(), 1);
    assert_eq!(fleet.moves(), 1);
}
