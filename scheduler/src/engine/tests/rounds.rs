//! When rounds are held.

use std::time::Duration;

use ballast_core::{
    command::{Command, CommandStatus},
    decision::Mode,
    outcome::Ending,
};

use super::harness::{Agent, World};
use crate::engine::ToAgent;

/// An idle host `a` with two vms and a host `b` that has room for them; time passes until `a` is told to move the first.
pub(super) async fn first_of_two_moves(world: &World) -> (Agent, Agent, Command) {
    let (mut a, mut b) = (world.agent("a", &[7, 8]).await, world.agent("b", &[1, 2, 3]).await);
    for _ in 0..14 {
        a.beat(0.4).await;
        b.beat(1.5).await;
        world.pass(Duration::from_secs(5)).await;
    }
    let command = a.command().await;
    a.say(command.id, CommandStatus::Accepted).await;
    (a, b, command)
}

#[tokio::test]
async fn a_move_that_waited_for_another_is_ordered_when_that_has_ended_and_not_a_round_later() {
    let world = World::new(Mode::Auto).await;
    let (mut a, mut b, first) = first_of_two_moves(&world).await;
    let moved = first.order.vm().unwrap();
    a.finish(&first, Ending::Completed).await;
    let (stays, goes): (&[u128], &[u128]) =
        if moved == crate::testing::vm(7) { (&[8], &[1, 2, 3, 7]) } else { (&[7], &[1, 2, 3, 8]) };
    b.now_holds(goes).await;
    a.now_holds(stays).await;
    let rounds = world.engine().stats().await.unwrap().rounds;
    world.until("the other", async |engine| engine.migrations(9, false).len() == 2).await;
    let stats = world.engine().stats().await.unwrap();
    assert_eq!((stats.rounds, stats.early_rounds), (rounds, 1));
}

#[tokio::test]
async fn where_nothing_has_ended_no_round_comes_early() {
    let world = World::new(Mode::Auto).await;
    let (_a, _b, _first) = first_of_two_moves(&world).await;
    world.pass(Duration::from_secs(40)).await;
    assert_eq!(world.engine().stats().await.unwrap().early_rounds, 0);
}

#[tokio::test]
async fn where_people_act_no_round_comes_early() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, mut b) = (world.agent("a", &[7, 8]).await, world.agent("b", &[1, 2, 3]).await);
    for _ in 0..24 {
        a.beat(0.4).await;
        b.beat(1.5).await;
        world.pass(Duration::from_secs(5)).await;
    }
    let stats = world.engine().stats().await.unwrap();
    assert!(stats.decisions > 0, "{stats:?}");
    assert_eq!(stats.early_rounds, 0);
}

#[tokio::test]
async fn a_policy_in_the_shadow_is_asked_and_compared_and_nothing_comes_of_it() {
    let mut world = World::stopped(Mode::Auto);
    world.settings.policy = "none".to_owned();
    world.settings.policy_shadow = Some("risk-greedy".to_owned());
    world.start().await.unwrap();
    let (mut a, mut b) = (world.agent("a", &[7, 8]).await, world.agent("b", &[1, 2, 3]).await);
    for _ in 0..14 {
        a.beat(0.4).await;
        b.beat(1.5).await;
        world.pass(Duration::from_secs(5)).await;
    }
    let shadow = world.engine().stats().await.unwrap().shadow.unwrap();
    assert_eq!((shadow.policy.as_str(), shadow.rounds, shadow.failures), ("risk-greedy", 1, 0));
    assert!(shadow.only_shadow > 0 && shadow.both == 0 && shadow.gain_shadow.get() > 0.0, "{shadow:?}");
    assert!(a.waiting().iter().all(|message| !matches!(message, ToAgent::Command(_))));
    let decision = world.engine().decisions(1, true).pop().unwrap().decision;
    assert!(
        decision.notes.iter().any(|note| note.starts_with("in the shadow, risk-greedy would also")),
        "{decision:?}"
    );
}

#[tokio::test]
async fn what_a_decision_gained_is_explained_counted_and_remembered_over_a_restart() {
    let mut world = World::stopped(Mode::Auto);
    world.settings.tuning.horizon = Duration::from_secs(600);
    world.start().await.unwrap();
    let (mut a, mut b, first) = first_of_two_moves(&world).await;
    a.finish(&first, Ending::Completed).await;
    b.now_holds(&[1, 2, 3, 7]).await;
    a.now_holds(&[8]).await;
    for _ in 0..130 {
        a.beat(0.2).await;
        b.beat(1.7).await;
        world.pass(Duration::from_secs(5)).await;
    }
    let gains = world.engine().stats().await.unwrap().gains["round"];
    assert_eq!(gains.settled, 1, "{gains:?}");
    let gained = |world: &World| {
        let text = world.engine().explain(&first.id.to_string()).unwrap().text;
        text.split_once("what it gained by the demand that came:\n  - gained ").map(|(_, gained)| gained.to_owned())
    };
    let told = gained(&world).unwrap();
    assert!(told.contains(" by 1 vm: "), "{told}");
    assert_eq!(world.engine().explain(&first.id.to_string()).unwrap().came.len(), 1);
    world.restart().await;
    assert_eq!(gained(&world), Some(told));
}
