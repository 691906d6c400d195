//! A vm that fares worse where it was moved to goes back, once, and a restart forgets neither.

use std::time::Duration;

use ballast_core::{
    command::{Command, Order},
    decision::Mode,
    outcome::Ending,
    sample::Reading,
    units::Ratio,
};

use super::harness::{Agent, World, wish};
use crate::testing::{host, vm};

/// Vm 7 was moved from `a` to `b`, as ordered.
async fn moved_to_b(world: &World) -> (Agent, Agent) {
    let (mut a, mut b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    a.finish(&command, Ending::Completed).await;
    b.now_holds(&[7]).await;
    a.now_holds(&[]).await;
    world.settle().await;
    (a, b)
}

/// Lets `seconds` pass, in which whatever runs on `slow` waits for `steal` of its time.
async fn live(world: &World, quick: &mut Agent, slow: &mut Agent, steal: f64, seconds: u64) {
    for _ in 0..seconds / 5 {
        quick.beat(0.5).await;
        slow.beat_with(1.5, |vm| vm.steal = Reading::Measured(Ratio(steal))).await;
        world.pass(Duration::from_secs(5)).await;
    }
}

fn to(command: &Command) -> Option<String> {
    match &command.order {
        Order::Migrate { destination, .. } => Some(destination.to_string()),
        _ => None,
    }
}

fn moves(world: &World) -> usize {
    world.engine().migrations(99, false).len()
}

#[tokio::test]
async fn a_vm_that_waits_where_it_was_moved_to_goes_back_once_and_then_stays() {
    let mut world = World::stopped(Mode::Auto);
    world.settings.round_interval = Duration::from_secs(20);
    world.settings.tuning.min_awake = 2;
    world.start().await.unwrap();
    let (mut a, mut b) = moved_to_b(&world).await;
    live(&world, &mut a, &mut b, 0.5, 240).await;
    let back = b.command().await;
    assert_eq!((back.order.vm(), to(&back)), (Some(vm(7)), Some("a".to_owned())));
    let migration = world.engine().migrations(1, false).remove(0);
    let why = "since it was moved to b it waits for a processor 50 % of the time, 0 % were expected";
    assert_eq!(migration.motive, why);
    let explained = world.engine().explain(&migration.id.to_string()).unwrap().text;
    assert!(explained.contains(why), "{explained}");

    b.finish(&back, Ending::Completed).await;
    a.now_holds(&[7]).await;
    b.now_holds(&[]).await;
    assert_eq!(moves(&world), 2);
    live(&world, &mut b, &mut a, 0.5, 900).await;
    assert_eq!(moves(&world), 2, "moved once more");
}

#[tokio::test]
async fn a_restart_forgets_neither_who_is_watched_nor_how_it_fared_before() {
    let mut world = World::stopped(Mode::Auto);
    world.settings.round_interval = Duration::from_secs(20);
    world.settings.tuning.min_awake = 2;
    world.start().await.unwrap();
    drop(moved_to_b(&world).await);
    world.restart().await;
    let (mut a, mut b) = (world.agent("a", &[]).await, world.agent("b", &[7]).await);
    live(&world, &mut a, &mut b, 0.5, 240).await;
    let back = b.command().await;
    assert_eq!((back.order.vm(), to(&back)), (Some(vm(7)), Some(host("a").to_string())));
}

#[tokio::test]
async fn a_vm_that_fares_as_before_stays_where_it_was_moved_to() {
    let mut world = World::stopped(Mode::Auto);
    world.settings.round_interval = Duration::from_secs(20);
    world.settings.tuning.min_awake = 2;
    world.start().await.unwrap();
    let (mut a, mut b) = moved_to_b(&world).await;
    live(&world, &mut a, &mut b, 0.05, 400).await;
    assert_eq!(moves(&world), 1);
}
