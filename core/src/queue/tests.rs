//! The queue's rules one by one, then against random streams of commands.

use proptest::prelude::*;

use super::*;
use crate::{
    command::MigrationLimits,
    outcome::StageTimes,
    units::{Bytes, Timestamp},
};

const NOW: Duration = Duration::from_secs(100);
const TTL: Duration = Duration::from_secs(10);

fn host() -> HostId {
    HostId::new("a").unwrap()
}

fn vm(number: u128) -> VmId {
    VmId(uuid::Uuid::from_u128(number))
}

fn id(epoch: u64, number: u64) -> CommandId {
    CommandId { epoch: Epoch(epoch), number }
}

fn command(id: CommandId, order: Order) -> Command {
    Command { id, host: host(), ttl: TTL, order }
}

fn migrate(id: CommandId, number: u128, generation: u64) -> Command {
    let order = Order::Migrate {
        vm: vm(number),
        generation: Generation(generation),
        destination: HostId::new("b").unwrap(),
        destination_uri: "qemu+tcp://b/system".to_owned(),
        limits: MigrationLimits::for_memory(Bytes::from_gib(1)),
    };
    command(id, order)
}

fn outcome(id: CommandId, vm: VmId, ending: Ending) -> Outcome {
    Outcome {
        id,
        vm: Some(vm),
        source: host(),
        destination: None,
        ending,
        began_at: Timestamp::EPOCH,
        ended_at: Timestamp::EPOCH,
        stages: StageTimes::default(),
        downtime: None,
        copied: Bytes::ZERO,
        iterations: 0,
    }
}

fn queue() -> Queue {
    Queue::new(host(), 2)
}

#[track_caller]
fn denied(queue: &mut Queue, command: Command) -> DenyReason {
    match queue.offer(command, NOW, NOW) {
        Admission::Denied(reason) => reason,
        other => panic!("expected a denial, got {other:?}"),
    }
}

#[test]
fn a_duplicate_is_answered_from_the_record_at_every_stage() {
    let mut queue = queue();
    let order = migrate(id(1, 1), 7, 0);
    assert_eq!(queue.offer(order.clone(), NOW, NOW), Admission::Accepted);
    assert_eq!(queue.offer(order.clone(), NOW, NOW), Admission::Known(CommandStatus::Accepted));
    let end = outcome(id(1, 1), vm(7), Ending::VmGone);
    queue.finish(end.clone());
    assert_eq!(queue.offer(order.clone(), NOW, NOW), Admission::Known(CommandStatus::Finished(end.clone())));
    assert!(queue.acknowledge(id(1, 1)));
    assert!(queue.reports().is_empty());
    assert_eq!(queue.offer(order, NOW, NOW), Admission::Known(CommandStatus::Finished(end)));
}

#[test]
fn a_denied_command_stays_denied_when_the_reason_has_passed() {
    let mut queue = queue();
    queue.offer(migrate(id(1, 1), 7, 0), NOW, NOW);
    let late = migrate(id(1, 2), 7, 0);
    assert_eq!(denied(&mut queue, late.clone()), DenyReason::Busy { with: id(1, 1) });
    queue.finish(outcome(id(1, 1), vm(7), Ending::VmGone));
    assert!(matches!(queue.offer(late, NOW, NOW), Admission::Known(CommandStatus::Denied(_))));
}

#[test]
fn an_older_epoch_is_denied_and_a_newer_one_raises_the_fence() {
    let mut queue = queue();
    assert_eq!(queue.offer(migrate(id(5, 1), 1, 0), NOW, NOW), Admission::Accepted);
    assert_eq!(queue.fence(), Epoch(5));
    let reason = denied(&mut queue, migrate(id(4, 9), 2, 0));
    assert_eq!(reason, DenyReason::StaleEpoch { given: Epoch(4), current: Epoch(5) });
}

#[test]
fn a_fence_raised_after_acceptance_stops_what_has_not_begun() {
    let mut queue = queue();
    queue.offer(migrate(id(5, 1), 1, 0), NOW, NOW);
    assert_eq!(queue.may_begin(id(5, 1), NOW), Ok(()));
    assert!(queue.raise_fence(Epoch(6)));
    assert!(matches!(queue.may_begin(id(5, 1), NOW), Err(DenyReason::StaleEpoch { .. })));
}

#[test]
fn a_command_past_its_time_is_denied_by_the_time_since_receipt() {
    let mut queue = queue();
    let late = NOW + TTL + Duration::from_millis(1);
    let admission = queue.offer(migrate(id(1, 1), 1, 0), NOW, late);
    assert_eq!(admission, Admission::Denied(DenyReason::Expired { waited_ms: 10_001, ttl_ms: 10_000 }));
    queue.offer(migrate(id(1, 2), 1, 0), NOW, NOW);
    assert!(matches!(queue.may_begin(id(1, 2), late), Err(DenyReason::Expired { .. })));
}

#[test]
fn a_command_for_another_host_is_denied() {
    let mut other = migrate(id(1, 1), 1, 0);
    other.host = HostId::new("z").unwrap();
    assert!(matches!(denied(&mut queue(), other), DenyReason::WrongHost { .. }));
}

#[test]
fn denies_second_migration_of_same_vm() {
    let mut queue = queue();
    queue.offer(migrate(id(1, 1), 7, 0), NOW, NOW);
    assert_eq!(denied(&mut queue, migrate(id(1, 2), 7, 0)), DenyReason::Busy { with: id(1, 1) });
}

#[test]
fn denies_more_migrations_than_may_leave_at_once() {
    let mut queue = queue();
    queue.offer(migrate(id(1, 1), 1, 0), NOW, NOW);
    assert_eq!(queue.offer(migrate(id(1, 2), 2, 0), NOW, NOW), Admission::Accepted);
    assert!(matches!(denied(&mut queue, migrate(id(1, 3), 3, 0)), DenyReason::Busy { .. }));
}

#[test]
fn a_placement_that_has_changed_makes_older_decisions_stale() {
    let mut queue = queue();
    queue.offer(migrate(id(1, 1), 7, 4), NOW, NOW);
    queue.finish(outcome(id(1, 1), vm(7), Ending::Completed));
    let reason = denied(&mut queue, migrate(id(1, 2), 7, 4));
    assert_eq!(reason, DenyReason::StaleGeneration { given: Generation(4), current: Generation(5) });
    assert_eq!(queue.offer(migrate(id(1, 3), 7, 6), NOW, NOW), Admission::Accepted);
}

#[test]
fn a_new_scheduler_may_count_generations_anew() {
    let mut queue = queue();
    queue.offer(migrate(id(1, 1), 7, 9), NOW, NOW);
    queue.finish(outcome(id(1, 1), vm(7), Ending::VmGone));
    assert_eq!(queue.offer(migrate(id(2, 1), 7, 0), NOW, NOW), Admission::Accepted);
}

#[test]
fn a_host_with_a_move_under_way_does_not_sleep_and_one_about_to_sleep_starts_no_move() {
    let mut queue = queue();
    queue.offer(migrate(id(1, 1), 7, 0), NOW, NOW);
    assert_eq!(denied(&mut queue, command(id(1, 2), Order::Sleep)), DenyReason::Busy { with: id(1, 1) });
    queue.finish(outcome(id(1, 1), vm(7), Ending::VmGone));
    assert_eq!(queue.offer(command(id(1, 3), Order::Sleep), NOW, NOW), Admission::Accepted);
    assert_eq!(denied(&mut queue, migrate(id(1, 4), 8, 0)), DenyReason::Busy { with: id(1, 3) });
}

#[test]
fn only_a_migration_under_way_can_be_cancelled() {
    let mut queue = queue();
    let cancel = |number, migration| command(id(1, number), Order::Cancel { migration });
    let reason = denied(&mut queue, cancel(1, id(1, 9)));
    assert_eq!(reason, DenyReason::NothingToCancel { migration: id(1, 9) });
    queue.offer(migrate(id(1, 2), 7, 0), NOW, NOW);
    assert_eq!(queue.offer(cancel(3, id(1, 2)), NOW, NOW), Admission::Accepted);
}

#[test]
fn an_unknown_command_is_reported_as_unknown() {
    assert_eq!(queue().answer(id(1, 1)).status, CommandStatus::Unknown);
}

#[test]
fn ends_that_nobody_acknowledges_are_bounded_and_counted() {
    let mut queue = queue();
    for number in 0..3000 {
        queue.restore_settled(id(1, number), CommandStatus::Denied(DenyReason::NotEmpty { vms: 1 }));
    }
    assert_eq!((queue.reports().len(), queue.dropped()), (1024, 1976));
    assert!(queue.status(id(1, 0)).is_some(), "dropped from the reports, not from the record");
}

#[derive(Debug, Clone)]
enum Step {
    Offer { epoch: u64, number: u64, vm: u128, generation: u64 },
    Sleep { epoch: u64, number: u64 },
    Finish { pick: usize, completed: bool },
    Acknowledge { epoch: u64, number: u64 },
    Fence(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..4u64, 0..12u64, 0..4u128, 0..4u64)
            .prop_map(|(epoch, number, vm, generation)| Step::Offer { epoch, number, vm, generation }),
        1 => (1..4u64, 12..15u64).prop_map(|(epoch, number)| Step::Sleep { epoch, number }),
        4 => (0..4usize, any::<bool>()).prop_map(|(pick, completed)| Step::Finish { pick, completed }),
        2 => (1..4u64, 0..15u64).prop_map(|(epoch, number)| Step::Acknowledge { epoch, number }),
        1 => (0..4u64).prop_map(Step::Fence),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Each id is accepted at most once, never below the fence, at most one move per vm and `moves_out` in all, no move
    /// beside a sleep, and what was once answered finally is answered the same for ever.
    #[test]
    fn any_stream_of_commands_keeps_the_rules(stream in prop::collection::vec(steps(), 0..80)) {
        let mut queue = queue();
        let mut accepted = std::collections::BTreeSet::new();
        let mut finals: BTreeMap<CommandId, CommandStatus> = BTreeMap::new();
        for step in stream {
            let fence = queue.fence();
            let offered = match step {
                Step::Offer { epoch, number, vm, generation } => Some(migrate(id(epoch, number), vm, generation)),
                Step::Sleep { epoch, number } => Some(command(id(epoch, number), Order::Sleep)),
                Step::Finish { pick, completed } => {
                    let open = queue.open().nth(pick).map(|open| (open.command.id, open.command.order.vm()));
                    if let Some((id, Some(vm))) = open {
                        let ending = if completed { Ending::Completed } else { Ending::VmGone };
                        queue.finish(outcome(id, vm, ending));
                    }
                    None
                }
                Step::Acknowledge { epoch, number } => { queue.acknowledge(id(epoch, number)); None }
                Step::Fence(epoch) => { queue.raise_fence(Epoch(epoch)); None }
            };
            if let Some(command) = offered {
                let given = command.id;
                if queue.offer(command, NOW, NOW) == Admission::Accepted {
                    prop_assert!(accepted.insert(given), "{} accepted twice", given);
                    prop_assert!(given.epoch >= fence);
                }
            }
            let moving: Vec<_> = queue.open().filter_map(|open| open.command.order.vm()).collect();
            let distinct: std::collections::BTreeSet<_> = moving.iter().collect();
            let sleeping = queue.open().any(|open| open.command.order == Order::Sleep);
            prop_assert!(moving.len() <= 2 && distinct.len() == moving.len());
            prop_assert!(!sleeping || moving.is_empty());
            for (known, status) in &finals {
                let now_says = queue.status(*known);
                prop_assert_eq!(now_says.as_ref(), Some(status));
            }
            for report in queue.reports().into_iter().filter(|report| report.status.is_final()) {
                finals.insert(report.id, report.status);
            }
        }
    }
}
