//! The way of one sample, whole: simulated hosts, real agents, real scheduler, real gRPC, driven time.

use ballast_core::{decision::Mode, outcome::Ending};
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
