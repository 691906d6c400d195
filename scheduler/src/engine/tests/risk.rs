//! Risk that is measured while the scheduler runs: promises to hosts are judged, what was learned moves decisions and survives.

use std::time::Duration;

use ballast_core::{decision::Mode, risk::RiskReport, tuning::Tuning};

use super::harness::{Agent, World};
use crate::testing::logs::Logs;

const CYCLE: Duration = Duration::from_secs(15);

/// A scheduler with such numbers to decide by.
async fn with(set: impl FnOnce(&mut Tuning)) -> World {
    let mut world = World::stopped(Mode::Recommend);
    set(&mut world.settings.tuning);
    world.start().await.unwrap();
    world
}

/// A scheduler whose promises may be broken once in a hundred times.
async fn with_share() -> World {
    with(|tuning| tuning.overload_share_max = Some(0.01)).await
}

/// Lets an agent report for `minutes`, its vm's use by `used`.
async fn live(world: &World, agent: &mut Agent, minutes: u32, used: impl Fn(u32) -> f64) {
    for beat in 0..minutes * 4 {
        agent.beat(used(beat)).await;
        world.pass(CYCLE).await;
    }
}

async fn report(world: &World) -> Option<RiskReport> {
    world.engine().stats().await.unwrap().risk
}

fn flickers(beat: u32) -> f64 {
    1.0 + f64::from(beat % 5) * 0.1
}

#[tokio::test]
async fn promises_to_hosts_are_judged_and_what_was_learned_reaches_decisions() {
    let _logs = Logs::watch();
    let world = with_share().await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 12, flickers).await;
    let before = report(&world).await.unwrap();
    assert!(before.kept.promises > 0, "{before:?}");
    live(&world, &mut a, 12, |beat| if beat < 16 { flickers(beat) } else { 7.5 }).await;
    let after = report(&world).await.unwrap();
    assert!(after.kept.broken > before.kept.broken, "{after:?}");
    assert!(after.measured.fleet_z > before.measured.fleet_z, "{after:?}");
    let forecasts = world.engine().forecasts().await.unwrap();
    assert_eq!(forecasts.risk.as_deref(), Some(&*after.measured));
}

#[tokio::test]
async fn what_was_measured_survives_a_restart() {
    let _logs = Logs::watch();
    let mut world = with_share().await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 24, |beat| if beat < 64 { flickers(beat) } else { 7.5 }).await;
    let before = report(&world).await.unwrap();
    drop(a);
    world.restart().await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 1, flickers).await;
    let after = report(&world).await.unwrap();
    assert!(before.kept.promises > 0);
    assert_eq!((after.kept, after.measured.fleet_z), (before.kept, before.measured.fleet_z));
}

#[tokio::test]
async fn unless_told_otherwise_it_finds_the_cheapest_caution_by_itself() {
    let _logs = Logs::watch();
    let world = with(|_| ()).await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 12, flickers).await;
    let report = report(&world).await.unwrap();
    assert!(report.kept.promises > 0, "{report:?}");
    let forecasts = world.engine().forecasts().await.unwrap();
    assert_eq!(forecasts.risk.as_deref(), Some(&*report.measured));
}

#[tokio::test]
async fn where_the_risk_is_fixed_nothing_is_measured() {
    let _logs = Logs::watch();
    let world = with(|tuning| tuning.risk_priced = false).await;
    let mut a = world.agent("a", &[7]).await;
    live(&world, &mut a, 12, flickers).await;
    assert_eq!(report(&world).await, None);
    assert_eq!(world.engine().forecasts().await.unwrap().risk, None);
}
