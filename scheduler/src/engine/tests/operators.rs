//! What operators ask, and what they are told; decisions on the engine's own account.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ballast_core::{
    command::{CommandStatus, DenyReason},
    decision::{Mode, Step, Trigger},
    finding::Finding,
    snapshot::{HostMode, HostPower},
};

use super::harness::{Agent, World, wish};
use crate::{
    engine::{Engine, ManualMove, OperatorError, ToAgent},
    testing::{host, vm},
};

/// A busy host with six vms and an idle one; each is heard of for `span`.
async fn overloaded(world: &World, span: u64) -> (Agent, Agent) {
    let (mut a, mut b) = (world.agent("a", &[1, 2, 3, 4, 5, 6]).await, world.agent("b", &[]).await);
    beat(world, &mut a, &mut b, span).await;
    (a, b)
}

async fn beat(world: &World, a: &mut Agent, b: &mut Agent, span: u64) {
    for _ in 0..span / 5 {
        a.beat(7.6).await;
        b.beat(0.1).await;
        world.pass(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn in_auto_an_overloaded_host_is_relieved_unasked() {
    let world = World::new(Mode::Auto).await;
    let (mut a, _b) = overloaded(&world, 60).await;
    let command = a.command().await;
    assert!(command.order.vm().is_some());
    let decision = &world.engine().decisions(10, false)[0];
    assert!(decision.executed);
    assert!(matches!(decision.decision.trigger, Trigger::Relief | Trigger::Round));
    assert!(world.engine().explain(&command.id.to_string()).unwrap().text.contains("chosen"));
}

#[tokio::test]
async fn in_recommend_nothing_moves_until_somebody_approves() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = overloaded(&world, 60).await;
    assert!(a.waiting().iter().all(|message| matches!(message, ToAgent::Ack(_))));
    let decision = world.engine().decisions(10, false)[0].clone();
    assert!(!decision.executed);
    let approval = world.engine().approve(decision.decision.id, "ann").await.unwrap();
    assert_eq!(a.command().await.id, approval.commands[0]);
    let again = world.engine().approve(decision.decision.id, "ann").await;
    assert!(matches!(again, Err(OperatorError::AlreadyExecuted { .. })), "{again:?}");
}

#[tokio::test]
async fn an_unanswered_recommendation_is_not_repeated() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, mut b) = overloaded(&world, 60).await;
    let before = world.engine().decisions(100, false).len();
    beat(&world, &mut a, &mut b, 30).await;
    assert!(world.engine().decisions(100, false).len() <= before + 1);
    assert!(world.engine().stats().await.unwrap().decisions_repeated >= 1);
}

#[tokio::test]
async fn in_off_nothing_is_decided() {
    let world = World::new(Mode::Off).await;
    overloaded(&world, 90).await;
    let stats = world.engine().stats().await.unwrap();
    assert_eq!((stats.rounds, stats.relief_rounds, stats.decisions), (0, 0, 0));
}

#[tokio::test]
async fn an_approval_is_checked_against_the_fleet_as_it_is_now() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, b) = overloaded(&world, 60).await;
    let decision = world.engine().decisions(10, false)[0].decision.clone();
    b.leave().await;
    let approval = world.engine().approve(decision.id, "ann").await.unwrap();
    assert!(approval.commands.is_empty());
    assert!(approval.findings.iter().any(|finding| matches!(finding, Finding::Doubtful { .. })), "{approval:?}");
    assert!(a.waiting().iter().all(|message| matches!(message, ToAgent::Ack(_))));
}

#[tokio::test]
async fn a_dry_run_tells_and_does_nothing() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    let result = world.engine().migrate(ManualMove { dry_run: true, ..wish() }).await.unwrap();
    assert_eq!((result.migration, result.findings), (None, Vec::new()));
    let nowhere = ManualMove { dry_run: true, host: host("a"), ..wish() };
    let findings = world.engine().migrate(nowhere).await.unwrap().findings;
    assert!(findings.contains(&Finding::SameHost { host: host("a") }), "{findings:?}");
    world.settle().await;
    assert!(a.waiting().iter().all(|message| matches!(message, ToAgent::Ack(_))));
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let world = World::new(Mode::Recommend).await;
    let (_a, _b) = world.pair().await;
    let engine = world.engine();
    let vm = engine.migrate(ManualMove { vm: "nobody".into(), ..wish() }).await.unwrap_err();
    assert_eq!(vm, OperatorError::UnknownVm { vm: "nobody".into() });
    let host_error = engine.migrate(ManualMove { host: host("z"), ..wish() }).await.unwrap_err();
    assert_eq!(host_error, OperatorError::UnknownHost { host: host("z") });
    assert!(matches!(engine.cancel(crate::testing::id(99), "ann").await, Err(OperatorError::UnknownMigration { .. })));
    assert!(matches!(engine.explain("no id"), Err(OperatorError::InvalidId(_))));
    assert!(matches!(engine.explain("1-99"), Err(OperatorError::UnknownId { .. })));
}

#[tokio::test]
async fn a_name_that_two_vms_bear_is_not_guessed() {
    let world = World::new(Mode::Recommend).await;
    let mut a = world.agent("a", &[7, 8]).await;
    a.inventory.vms[1].name = "vm7".into();
    world.engine().inventory(a.id, a.inventory.clone()).await.unwrap();
    world.agent("b", &[]).await;
    let error = world.engine().migrate(wish()).await.unwrap_err();
    assert_eq!(error, OperatorError::AmbiguousVm { name: "vm7".into(), vms: vec![vm(7), vm(8)] });
}

#[tokio::test]
async fn a_cancel_goes_to_the_source_and_a_second_says_it_is_over() {
    let world = World::new(Mode::Recommend).await;
    let (mut a, _b) = world.pair().await;
    let migration = world.engine().migrate(wish()).await.unwrap().migration.unwrap();
    let command = a.command().await;
    let cancel = world.engine().cancel(migration, "ann").await.unwrap();
    let order = a.command().await;
    assert_eq!((order.id, order.order.kind()), (cancel, "cancel"));
    a.finish(&order, ballast_core::outcome::Ending::Completed).await;
    a.finish(&command, ballast_core::outcome::Ending::Cancelled { reason: "asked".into() }).await;
    world.until("over", async |engine| engine.migrations(9, true).is_empty()).await;
    assert!(matches!(world.engine().cancel(migration, "ann").await, Err(OperatorError::AlreadyOver { .. })));
}

#[tokio::test]
async fn a_drained_host_is_emptied_and_takes_nothing() {
    let world = World::new(Mode::Auto).await;
    let (mut a, mut b) = (world.agent("a", &[7]).await, world.agent("b", &[8]).await);
    assert_eq!(world.engine().set_host_mode(&host("a"), HostMode::Draining, "ann").await, Ok(1));
    for _ in 0..14 {
        a.beat(1.0).await;
        b.beat(1.0).await;
        world.pass(Duration::from_secs(5)).await;
    }
    assert_eq!(a.command().await.order.vm(), Some(vm(7)));
    let denied = world.engine().migrate(ManualMove { vm: "vm8".into(), host: host("a"), ..wish() }).await;
    assert!(matches!(denied, Err(OperatorError::Denied { .. })), "{denied:?}");
}

#[tokio::test]
async fn no_decision_is_made_before_the_fleet_has_had_time_to_appear() {
    let world = World::new(Mode::Auto).await;
    let (mut a, mut b) = (world.agent("a", &[1, 2, 3, 4, 5, 6]).await, world.agent("b", &[]).await);
    for _ in 0..14 {
        a.beat(7.6).await;
        b.beat(0.1).await;
        world.pass(Duration::from_secs(1)).await;
    }
    let stats = world.engine().stats().await.unwrap();
    assert_eq!((stats.rounds, stats.relief_rounds), (0, 0));
}

/// Time enough for an empty host `b` to be ordered to sleep.
async fn calm(world: &World, a: &mut Agent, b: &mut Agent) {
    for _ in 0..40 {
        a.beat(1.0).await;
        b.beat(0.0).await;
        world.pass(Duration::from_secs(5)).await;
    }
}

/// Host `b` empty for so long that it is ordered to sleep; its order.
async fn falling_asleep(world: &mut World) -> (Agent, Agent, ballast_core::command::Command) {
    world.settings.tuning.sleep_after = Duration::from_secs(30);
    world.settings.tuning.power_dwell = Duration::ZERO;
    world.start().await.unwrap();
    let (mut a, mut b) = (world.agent("a", &[7]).await, world.agent("b", &[]).await);
    calm(world, &mut a, &mut b).await;
    let order = b.command().await;
    assert_eq!(order.order.kind(), "sleep");
    // It was repeated while nobody answered.
    b.waiting();
    (a, b, order)
}

/// Whether `b` is thought asleep, by an engine that has lost its store.
async fn sleeps_after_a_restart(world: &mut World) -> bool {
    world.lose_store().await;
    world.start().await.unwrap();
    let snapshot = world.snapshot().await;
    snapshot.hosts.get(&host("b")).is_some_and(|host| host.power == HostPower::Asleep && host.doubts.is_empty())
}

#[tokio::test]
async fn an_empty_host_is_put_to_sleep_and_its_silence_is_expected() {
    let mut world = World::stopped(Mode::Auto);
    let (_a, mut b, order) = falling_asleep(&mut world).await;
    world.engine().goodbye(b.id).await.unwrap();
    assert_eq!(b.next().await, ToAgent::GoodbyeHeard);
    b.finish(&order, ballast_core::outcome::Ending::Completed).await;
    assert_eq!(b.next().await, ToAgent::ReportAck(order.id));
    b.leave().await;
    let slept = world.snapshot().await;
    assert_eq!(slept.hosts[&host("b")].power, HostPower::Asleep);
    assert!(slept.hosts[&host("b")].doubts.is_empty());
    assert!(sleeps_after_a_restart(&mut world).await, "the journal alone knows whom to wake");
    let journalled = async |engine: &Engine| engine.stats().await.unwrap().journal_records;
    let before = journalled(world.engine()).await;
    let _b = world.agent("b", &[]).await;
    assert_eq!(world.snapshot().await.hosts[&host("b")].power, HostPower::Awake);
    // What was not on the disk when it was killed it does not know.
    world.until("its return is journalled", async |engine| journalled(engine).await > before).await;
    assert!(!sleeps_after_a_restart(&mut world).await, "it has come back");
}

/// Seeds 4099, 4493 and 8611 of the simulation: who heard the goodbye was lost, and the order stayed open until the host woke.
#[tokio::test]
async fn an_order_to_sleep_whose_goodbye_was_heard_ends_without_its_host_also_after_a_restart() {
    let mut world = World::stopped(Mode::Auto);
    let (_a, mut b, _order) = falling_asleep(&mut world).await;
    world.engine().goodbye(b.id).await.unwrap();
    assert_eq!(b.next().await, ToAgent::GoodbyeHeard);
    b.leave().await;
    world.restart().await;
    let _a = world.agent("a", &[7]).await;
    let open = async |engine: &Engine| engine.stats().await.unwrap().commands_open;
    world.until("its order is taken over", async |engine| open(engine).await == 1).await;
    world.pass(Duration::from_secs(40)).await;
    assert_eq!(open(world.engine()).await, 0);
}

/// Seed 3623 of the simulation: what became of an order would be told only once the host is woken.
#[tokio::test]
async fn a_host_that_owes_an_outcome_is_not_put_to_sleep() {
    let mut world = World::stopped(Mode::Auto);
    world.settings.tuning.sleep_after = Duration::from_secs(30);
    world.settings.tuning.power_dwell = Duration::ZERO;
    world.start().await.unwrap();
    let (mut a, mut b) = (world.agent("a", &[7]).await, world.agent("b", &[8]).await);
    a.beat(1.0).await;
    b.beat(0.1).await;
    let wish = ManualMove { vm: "vm8".into(), host: host("a"), ..wish() };
    let migration = world.engine().migrate(wish).await.unwrap().migration.unwrap();
    let command = b.command().await;
    world.engine().cancel(migration, "ann").await.unwrap();
    let cancel = b.command().await;
    b.finish(&command, ballast_core::outcome::Ending::Completed).await;
    a.now_holds(&[7, 8]).await;
    b.now_holds(&[]).await;
    let is_sleep = |message: &ToAgent| matches!(message, ToAgent::Command(command) if command.order.kind() == "sleep");
    calm(&world, &mut a, &mut b).await;
    assert!(!b.waiting().iter().any(is_sleep));
    let reason = "it was over before".to_owned();
    b.finish(&cancel, ballast_core::outcome::Ending::Failed { reason }).await;
    calm(&world, &mut a, &mut b).await;
    assert!(b.waiting().iter().any(is_sleep));
}

#[tokio::test]
async fn a_host_that_sleeps_before_it_can_say_so_is_not_forgotten_and_can_be_woken() {
    let mut world = World::stopped(Mode::Auto);
    let (_a, b, _order) = falling_asleep(&mut world).await;
    b.leave().await;
    assert_eq!(world.snapshot().await.hosts[&host("b")].power, HostPower::Asleep);
    assert!(sleeps_after_a_restart(&mut world).await);
    let mut a = world.agent("a", &[1, 2, 3, 4, 5, 6]).await;
    for _ in 0..24 {
        a.beat(7.6).await;
        world.pass(Duration::from_secs(5)).await;
    }
    assert_eq!(a.command().await.order.kind(), "wake");
}

#[tokio::test]
async fn the_mode_is_kept_over_a_restart() {
    let mut world = World::new(Mode::Recommend).await;
    assert_eq!(world.engine().set_mode(Mode::Auto, "ann").await.unwrap().previous, Mode::Recommend);
    world.restart().await;
    assert_eq!(world.engine().mode(), Mode::Auto);
}

#[tokio::test]
async fn decisions_and_migrations_are_listed_after_a_restart() {
    let mut world = World::new(Mode::Auto).await;
    let (mut a, _b) = overloaded(&world, 60).await;
    let command = a.command().await;
    world.restart().await;
    let decisions = world.engine().decisions(10, false);
    assert!(decisions[0].executed);
    assert!(matches!(decisions[0].decision.chosen.steps[0].step, Step::Migrate(_)));
    assert_eq!(world.engine().migrations(10, true)[0].id, command.id);
    assert_eq!(world.engine().explain(&command.id.to_string()).unwrap().decision.id, decisions[0].decision.id);
}

#[tokio::test]
async fn a_relief_that_is_denied_at_once_is_not_ordered_again_at_once() {
    let world = World::new(Mode::Auto).await;
    let (mut a, mut b) = (world.agent("a", &[1, 2, 3, 4, 5, 6]).await, world.agent("b", &[]).await);
    let mut ordered = BTreeMap::new();
    for _ in 0..24 {
        a.beat(7.6).await;
        b.beat(0.1).await;
        world.pass(Duration::from_secs(2)).await;
        for message in a.waiting() {
            let ToAgent::Command(command) = message else { continue };
            let reason = DenyReason::Unsupported { what: "moving".into() };
            a.say(command.id, CommandStatus::Denied(reason)).await;
            // By id: while it is not answered, the same command comes again.
            ordered.insert(command.id, command.order.vm());
        }
        a.now_holds(&[1, 2, 3, 4, 5, 6]).await;
    }
    let vms: BTreeSet<_> = ordered.values().collect();
    assert!(vms.len() >= 2 && vms.len() == ordered.len(), "each vm is tried once within its least rest: {ordered:?}");
}
