//! Moves that are stopped under way because what is left of them costs more than they are worth, and those that are not.

use std::time::Duration;

use ballast_core::{
    command::{Command, CommandStatus, Order, Progress},
    decision::Mode,
    id::CommandId,
    outcome::{Ending, Stage},
    units::{Bytes, BytesPerSec},
};

use super::{
    harness::{Agent, World, wish},
    rounds::first_of_two_moves,
};
use crate::engine::ToAgent;

/// A scheduler in mode auto for which a vm's CPU is dear: a second of copying the vms of these tests costs about 4 kJ, and
/// that `a` sleeps for an hour is worth about 300 kJ.
async fn dear() -> World {
    let mut world = World::stopped(Mode::Auto);
    world.settings.tuning.overload_joules_per_core_second = 200_000.0;
    world.start().await.unwrap();
    world
}

/// A copy of which a GiB is left in its second pass, at a tenth of the rate that was reckoned with.
fn slow(second: u64) -> CommandStatus {
    CommandStatus::Running(Progress {
        stage: Stage::Migration,
        elapsed: Duration::from_secs(second),
        total: Bytes::from_gib(1),
        copied: Bytes::from_gib(1),
        remaining: Bytes::from_gib(1),
        rate: BytesPerSec(1.1e7),
        dirty_rate: BytesPerSec(1e6),
        iteration: 2,
    })
}

/// A move that is to empty host `a`, accepted there.
async fn begun(world: &World) -> (Agent, Agent, Command) {
    let (mut a, b, first) = first_of_two_moves(world).await;
    // It was repeated while nobody answered.
    a.waiting();
    (a, b, first)
}

/// Reports once a second of the copy's time, and waits until the last but one has been dealt with.
async fn report(world: &World, agent: &Agent, id: CommandId, seconds: std::ops::Range<u64>) {
    let last = Duration::from_secs(seconds.end - 1);
    for second in seconds {
        agent.say(id, slow(second)).await;
    }
    world.until("heard of", async |engine| engine.migrations(1, false)[0].progress.elapsed == last).await;
}

fn commands(agent: &mut Agent) -> Vec<Command> {
    let command = |message| if let ToAgent::Command(command) = message { Some(command) } else { None };
    agent.waiting().into_iter().filter_map(command).collect()
}

#[tokio::test]
async fn a_move_whose_rest_costs_more_than_it_is_worth_is_stopped_and_everybody_is_told_why() {
    let world = dear().await;
    let (mut a, _b, first) = begun(&world).await;
    report(&world, &a, first.id, 100..105).await;
    assert_eq!(commands(&mut a), [], "reports of four seconds");
    report(&world, &a, first.id, 105..130).await;
    let ordered = commands(&mut a);
    let [stop] = &ordered[..] else { panic!("{ordered:?}") };
    assert_eq!(stop.order, Order::Cancel { migration: first.id });
    let running = world.engine().migrations(1, true).remove(0);
    let why = running.stop.unwrap();
    assert!(why.starts_with("given up: what is left of its copy costs "), "{why}");
    assert!(running.rest.is_some_and(|rest| rest.converges), "{:?}", running.rest);
    let text = world.engine().explain(&first.id.to_string()).unwrap().text;
    assert!(text.contains(" s left, ") && text.contains(&format!("is to stop: {why}")), "{text}");

    a.finish(&first, Ending::Cancelled { reason: format!("cancelled by command {}", stop.id) }).await;
    a.finish(stop, Ending::Completed).await;
    world.until("over", async |engine| engine.migrations(9, true).is_empty()).await;
    let text = world.engine().explain(&first.id.to_string()).unwrap().text;
    assert!(text.contains(&format!("cancelled by command {} ({why})", stop.id)), "{text}");
    let stats = world.engine().stats().await.unwrap();
    assert_eq!(stats.given_up.get("cost"), Some(&1));
}

#[tokio::test]
async fn the_same_rest_is_paid_for_where_the_move_is_worth_it() {
    let world = World::new(Mode::Auto).await;
    let (mut a, _b, first) = begun(&world).await;
    report(&world, &a, first.id, 100..200).await;
    assert_eq!(commands(&mut a), []);
    assert!(world.engine().migrations(1, true)[0].rest.is_some_and(|rest| rest.time > Duration::from_secs(60)));
}

#[tokio::test]
async fn what_an_operator_orders_is_not_stopped_for_its_price() {
    let world = dear().await;
    let (mut a, _b) = world.pair().await;
    let ordered = world.engine().migrate(wish()).await.unwrap().migration.unwrap();
    commands(&mut a);
    report(&world, &a, ordered, 100..200).await;
    assert_eq!(commands(&mut a), []);
}

#[tokio::test]
async fn where_people_act_nothing_is_stopped() {
    let world = dear().await;
    let (mut a, _b, first) = begun(&world).await;
    world.engine().set_mode(Mode::Recommend, "ann").await.unwrap();
    report(&world, &a, first.id, 100..200).await;
    assert_eq!(commands(&mut a), []);
}

#[tokio::test]
async fn a_restart_forgets_neither_what_a_move_is_worth_nor_that_it_was_stopped() {
    let mut world = dear().await;
    let (_a, _b, first) = begun(&world).await;
    world.restart().await;
    let mut a = world.agent("a", &[7, 8]).await;
    report(&world, &a, first.id, 100..130).await;
    let ordered = commands(&mut a);
    assert_eq!(ordered.iter().map(|one| &one.order).collect::<Vec<_>>(), [&Order::Cancel { migration: first.id }]);
    a.say(ordered[0].id, CommandStatus::Accepted).await;
    world.restart().await;
    let mut a = world.agent("a", &[7, 8]).await;
    report(&world, &a, first.id, 130..160).await;
    assert_eq!(commands(&mut a), [], "it is stopping already");
    assert!(world.engine().migrations(1, true)[0].stop.as_ref().is_some_and(|why| why.starts_with("given up")));
}
