//! A command from its order to its outcome, through every loss and repetition.

use std::time::Duration;

use ballast_core::{
    command::{CommandStatus, DenyReason, MigrationLimits, Order, Progress},
    convergence::Convergence,
    decision::Mode,
    id::Epoch,
    outcome::{Ending, Stage},
};

use super::harness::{Agent, World, wish};
use crate::{
    engine::{OperatorError, Refusal, ToAgent},
    testing::{host, inventory, vm},
};

#[tokio::test]
async fn a_vm_is_free_only_when_its_hosts_show_where_it_is() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, mut b) = world.pair().await;
    let result = world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    assert_eq!(Some(command.id), result.migration);
    assert_eq!(world.snapshot().await.vms[&vm(7)].locked_by, Some(command.id));
    a.say(command.id, CommandStatus::Accepted).await;
    a.finish(&command, Ending::Completed).await;
    assert_eq!(a.next().await, ToAgent::ReportAck(command.id), "the outcome is journalled, the agent may forget");
    assert!(world.snapshot().await.vms[&vm(7)].locked_by.is_some(), "no inventory has shown the move");
    b.now_holds(&[7]).await;
    a.now_holds(&[]).await;
    let snapshot = world.snapshot().await;
    assert_eq!((&snapshot.vms[&vm(7)].host, snapshot.vms[&vm(7)].locked_by), (&host("b"), None));
}

#[tokio::test]
async fn what_a_vms_operator_wishes_for_its_copies_travels_with_the_order() {
    let world = World::new(Mode::Recommend).await;
    let mut inventory = inventory("a", &[7]);
    let wish = Convergence { downtime_max_ms: Some(80), parallel: Some(4), auto_converge: true, ..Default::default() };
    inventory.vms[0].labels.convergence = wish;
    let mut a = world.connect(Agent::hello(inventory, &world.clock)).await.unwrap();
    let mut b = world.agent("b", &[]).await;
    a.beat(1.0).await;
    b.beat(0.1).await;
    world.engine().migrate(super::harness::wish()).await.unwrap();
    let Order::Migrate { limits, .. } = a.command().await.order else { panic!("no migration") };
    let plain = wish.limits(ballast_core::units::Bytes::from_gib(2));
    assert_eq!(limits, MigrationLimits { tls: limits.tls, ..plain });
    assert_eq!((limits.downtime_max, limits.parallel), (Duration::from_millis(80), Some(4)));
}

#[tokio::test]
async fn progress_reaches_watchers_and_the_list() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    let mut watch = world.engine().watch();
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    let progress = Progress { stage: Stage::Migration, iteration: 2, ..Progress::default() };
    a.say(command.id, CommandStatus::Running(progress)).await;
    assert_eq!(watch.recv().await.unwrap().progress.stage, Stage::Queued);
    assert_eq!(watch.recv().await.unwrap().progress, progress);
    a.finish(&command, Ending::Completed).await;
    assert_eq!(watch.recv().await.unwrap().outcome.unwrap().ending, Ending::Completed);
    assert!(world.engine().migrations(10, true).is_empty());
    assert_eq!(world.engine().migrations(10, false).len(), 1);
}

#[tokio::test]
async fn an_unanswered_command_is_sent_again_under_the_same_id_and_only_while_it_lives() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let first = a.command().await;
    world.pass(Duration::from_secs(90)).await;
    let rest: Vec<ToAgent> = a.waiting().into_iter().filter(|message| !matches!(message, ToAgent::Ack(_))).collect();
    let commands = rest.iter().filter(|message| matches!(message, ToAgent::Command(again) if *again == first)).count();
    assert!((3..10).contains(&commands), "{rest:?}");
    assert_eq!(rest.last(), Some(&ToAgent::Query(vec![first.id])), "after its time to live it is only asked for");
    a.say(first.id, CommandStatus::Unknown).await;
    world.until("abandoned", async |engine| engine.migrations(1, true).is_empty()).await;
    let ending = world.engine().migrations(1, false)[0].outcome.clone().unwrap().ending;
    assert!(matches!(ending, Ending::Abandoned { .. }), "{ending:?}");
}

#[tokio::test]
async fn a_report_that_comes_twice_ends_a_command_once() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    for _ in 0..3 {
        a.finish(&command, Ending::Failed { reason: "no".into() }).await;
        assert_eq!(a.next().await, ToAgent::ReportAck(command.id));
    }
    let stats = world.engine().stats().await.unwrap();
    assert_eq!(stats.outcomes[&("migrate", "failed")], 1);
}

#[tokio::test]
async fn a_denial_frees_the_vm_and_is_told_in_words() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    a.say(command.id, CommandStatus::Denied(DenyReason::VmNotHere { vm: vm(7) })).await;
    assert_eq!(a.next().await, ToAgent::ReportAck(command.id));
    let ending = world.engine().migrations(1, false)[0].outcome.clone().unwrap().ending.to_string();
    assert!(ending.contains("denied by a") && ending.contains("is not on this host"), "{ending}");
    a.now_holds(&[7]).await;
    assert_eq!(world.snapshot().await.vms[&vm(7)].locked_by, None);
}

#[tokio::test]
async fn an_outcome_lost_with_its_link_is_told_at_the_next() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    a.leave().await;
    world.pass(Duration::from_secs(20)).await;
    let mut hello = Agent::hello(a.inventory.clone(), &world.clock);
    let outcome = super::harness::outcome_of(&command, Ending::Completed);
    hello.reports.push(ballast_core::command::Report { id: command.id, status: CommandStatus::Finished(outcome) });
    let mut again = world.connect(hello).await.unwrap();
    assert_eq!(again.next().await, ToAgent::ReportAck(command.id));
    assert!(world.engine().migrations(1, true).is_empty());
}

#[tokio::test]
async fn an_unreachable_source_keeps_its_vm_locked_and_is_asked_when_it_is_back() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    a.leave().await;
    world.pass(Duration::from_secs(600)).await;
    assert_eq!(world.snapshot().await.vms[&vm(7)].locked_by, Some(command.id));
    let mut again = world.connect(Agent::hello(a.inventory.clone(), &world.clock)).await.unwrap();
    assert_eq!(again.next().await, ToAgent::Query(vec![command.id]));
    again.say(command.id, CommandStatus::Unknown).await;
    assert_eq!(again.next().await, ToAgent::ReportAck(command.id));
    assert_eq!(world.snapshot().await.vms[&vm(7)].locked_by, None, "its inventory shows the vm where it was");
}

#[tokio::test]
async fn an_agent_that_lost_its_record_of_an_accepted_command_leaves_it_unresolved() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    a.say(command.id, CommandStatus::Accepted).await;
    a.leave().await;
    let mut again = world.connect(Agent::hello(a.inventory.clone(), &world.clock)).await.unwrap();
    assert_eq!(again.next().await, ToAgent::Query(vec![command.id]));
    again.say(command.id, CommandStatus::Unknown).await;
    again.next().await;
    let ending = world.engine().migrations(1, false)[0].outcome.clone().unwrap().ending;
    assert!(matches!(ending, Ending::Unresolved { .. }), "{ending:?}");
}

#[tokio::test]
async fn a_newer_epoch_seen_anywhere_ends_all_orders() {
    let world = World::new(Mode::Auto).await;
    let (_a, _b) = world.pair().await;
    let mut hello = Agent::hello(crate::testing::inventory("c", &[]), &world.clock);
    hello.highest_epoch = Epoch(9);
    let refusal = world.connect(hello).await.err();
    assert_eq!(refusal, Some(Refusal::SteppedDown { own: Epoch(1), seen: Epoch(9) }));
    let error = world.engine().migrate(wish()).await.unwrap_err();
    assert!(matches!(error, OperatorError::SteppedDown { .. }), "{error}");
    assert_eq!(world.engine().stats().await.unwrap().impairments.len(), 1);
}

#[tokio::test]
async fn a_denial_for_a_newer_epoch_steps_down_too() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    let command = a.command().await;
    let reason = DenyReason::StaleEpoch { given: Epoch(1), current: Epoch(5) };
    a.say(command.id, CommandStatus::Denied(reason)).await;
    a.next().await;
    assert!(matches!(world.engine().migrate(wish()).await, Err(OperatorError::SteppedDown { .. })));
}

#[tokio::test]
async fn no_order_is_given_to_a_host_that_is_away() {
    let world = World::new(Mode::Recommend).await;
    let (a, _b) = world.pair().await;
    a.leave().await;
    let error = world.engine().migrate(wish()).await.unwrap_err();
    assert!(matches!(error, OperatorError::Denied { .. } | OperatorError::HostAway { .. }), "{error}");
    assert!(world.engine().migrations(1, false).is_empty());
}

#[tokio::test]
async fn a_second_order_for_a_vm_on_its_way_is_denied() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    world.engine().migrate(wish()).await.unwrap();
    a.command().await;
    let error = world.engine().migrate(wish()).await.unwrap_err();
    assert!(matches!(error, OperatorError::Denied { .. }), "{error}");
}
