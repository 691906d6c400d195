//! The fold over the journal, its checkpoints, and what it refuses to write.

use std::{sync::Arc, time::Duration};

use ballast_core::{
    aftercare::Faring,
    command::{Command, MigrationLimits, Order},
    decision::Decision,
    id::{DecisionId, Epoch, VmId},
    migration_cost::{CopyFactors, CopyJob, Writes},
    outcome::{Ending, StageTimes},
    proposal::{Expectation, Motive, Move},
    snapshot::Event,
    units::{Bytes, BytesPerSec, Cores, Joules},
};
use ballast_daemon::clock::Clock;
use proptest::prelude::*;

use super::*;
use crate::testing::{host, id, intent, inventory, migrate, outcome, vm};

fn entry(record: Record) -> Entry {
    Entry { at: Timestamp::from_secs(1), record }
}

fn fold(records: impl IntoIterator<Item = Record>) -> Ledger {
    let mut ledger = Ledger::new(100);
    records.into_iter().for_each(|record| ledger.apply(&entry(record)));
    ledger
}

fn intended(number: u64) -> Record {
    Record::Intent { intent: Box::new(intent(migrate(number))) }
}

#[test]
fn an_intent_is_open_until_its_outcome() {
    let open = fold([intended(1), Record::Accepted { id: id(1) }]);
    assert!(open.open[&id(1)].accepted);
    let ended = fold([intended(1), Record::Outcome { outcome: outcome(1, Ending::Completed) }]);
    assert!(ended.open.is_empty());
    assert_eq!(ended.migrations[0].outcome.as_ref().unwrap().ending, Ending::Completed);
}

#[test]
fn an_unresolved_end_is_remembered_until_a_better_one_comes() {
    let unresolved = Record::Outcome { outcome: outcome(1, Ending::Unresolved { reason: "dark".into() }) };
    let ledger = fold([intended(1), unresolved.clone()]);
    assert_eq!((ledger.open.len(), ledger.unresolved.len()), (0, 1));
    assert_eq!(ledger.events().len(), 3, "the fleet is told of the order, of its end and of the rest after it");
    let resolved = fold([intended(1), unresolved, Record::Outcome { outcome: outcome(1, Ending::Completed) }]);
    assert!(resolved.unresolved.is_empty());
}

#[test]
fn what_copies_took_is_known_after_a_checkpoint() {
    let reckoned = CopyFactors::default().reckon(CopyJob::of_vm(
        Bytes::from_gib(1),
        Cores(0.5),
        Writes::default(),
        BytesPerSec(1.25e9),
        &MigrationLimits::for_memory(Bytes::from_gib(1)),
    ));
    let copies = (1..=12).flat_map(|number| {
        let intent = OpenIntent { copy: Some(Box::new(reckoned)), ..intent(migrate(number)) };
        let migration = Duration::from_secs(5);
        let stages = StageTimes { migration, ..StageTimes::default() };
        let outcome = Outcome { stages, ..outcome(number, Ending::Completed) };
        [Record::Intent { intent: Box::new(intent) }, Record::Outcome { outcome }]
    });
    let ledger = fold(copies);
    let again = fold([Record::Checkpoint { ledger: Box::new(ledger.without_history()) }]);
    let Some(Event::Copying { factors }) = again.events().into_iter().next() else { panic!("nothing is known") };
    assert_eq!(factors, ledger.copies.factors());
    assert_eq!(factors.copies, 12);
    assert!((factors.speed - Bytes::from_gib(1).as_f64() / 5.0 / 1.25e9).abs() < 1e-12, "{factors:?}");
}

/// The end of a migration of vm 7, at this second, that was ordered with `back`.
fn arrival(number: u64, back: bool, second: u64) -> [Entry; 2] {
    let before = Faring { vm: Some(0.02), ..Faring::default() };
    let intent = OpenIntent { departure: Some(Box::new(Departure { before, back })), ..intent(migrate(number)) };
    let outcome = outcome(number, Ending::Completed);
    let at = Timestamp::from_secs(second);
    [Record::Intent { intent: Box::new(intent) }, Record::Outcome { outcome }].map(|record| Entry { at, record })
}

/// What a start after these entries tells the fleet of vms that have moved: when each had arrived, and whether that was back.
fn arrivals(entries: impl IntoIterator<Item = Entry>) -> Vec<(u64, bool)> {
    let mut ledger = Ledger::new(100);
    entries.into_iter().for_each(|entry| ledger.apply(&entry));
    let again = fold([Record::Checkpoint { ledger: Box::new(ledger.without_history()) }]);
    let moved = |event| match event {
        Event::Arrived { moved } => Some((moved.at.nanos() / 1_000_000_000, moved.back)),
        _ => None,
    };
    again.events().into_iter().filter_map(moved).collect()
}

#[test]
fn who_is_watched_and_who_is_left_alone_outlives_the_scheduler() {
    assert_eq!(arrivals(arrival(1, false, 10)), [(10, false)]);
    assert_eq!(arrivals(arrival(1, false, 10).into_iter().chain(arrival(2, true, 60))), [(60, true)]);
}

#[test]
fn a_vm_that_is_left_alone_stays_so_when_it_is_ordered_elsewhere_and_until_it_has_rested() {
    let back_and_away = || arrival(1, true, 10).into_iter().chain(arrival(2, false, 60));
    assert_eq!(arrivals(back_and_away()), [(10, true)]);
    assert_eq!(arrivals(back_and_away().chain(arrival(3, false, 4000))), [(4000, false)]);
}

#[test]
fn a_move_that_failed_leaves_nobody_to_be_watched() {
    let [intended, _] = arrival(1, false, 10);
    let failed = Record::Outcome { outcome: outcome(1, Ending::Failed { reason: "no room".into() }) };
    assert!(arrivals([intended, entry(failed)]).is_empty());
}

#[test]
fn sleeping_hosts_are_known_until_they_are_back() {
    let asleep = Record::Asleep { inventory: Box::new(inventory("a", &[])) };
    assert_eq!(fold([asleep.clone()]).asleep.len(), 1);
    assert!(fold([asleep, Record::Awake { host: host("a") }]).asleep.is_empty());
}

#[test]
fn every_record_survives_its_bytes() {
    let ledger = fold([intended(1), Record::Asleep { inventory: Box::new(inventory("a", &[1])) }]).without_history();
    let records = [
        Record::EpochStart { epoch: Epoch(3) },
        Record::Checkpoint { ledger: Box::new(ledger) },
        Record::Decision { decision: Box::new(decision(1.5)) },
        Record::Executed { decision: DecisionId { epoch: Epoch(1), number: 4 }, who: Some("ann".into()) },
        intended(1),
        Record::Accepted { id: id(1) },
        Record::Goodbye { id: id(1) },
        Record::Outcome { outcome: outcome(1, Ending::VmGone) },
        Record::Mode { mode: Mode::Auto, who: "ann".into() },
        Record::HostMode { host: host("a"), mode: HostMode::Draining, who: "ann".into() },
        Record::CancelRequested { migration: id(1), by: id(2), who: "ann".into() },
        Record::SteppedDown { seen: Epoch(9) },
    ];
    for record in records {
        let written = entry(record);
        assert_eq!(Entry::decode(&written.encode().unwrap()).unwrap(), written);
    }
}

#[test]
fn an_intent_of_a_version_that_knew_no_stakes_is_read() {
    let stake = ballast_core::stake::Stake { worth: Some(Joules(5.0)), ..Default::default() };
    let intent = OpenIntent { stake: Some(Box::new(stake)), ..intent(migrate(1)) };
    let written = entry(Record::Intent { intent: Box::new(intent) });
    assert_eq!(Entry::decode(&written.encode().unwrap()).unwrap(), written);
    let mut json: serde_json::Value = serde_json::from_slice(&written.encode().unwrap()).unwrap();
    json["record"]["intent"]["intent"].as_object_mut().unwrap().remove("stake").unwrap();
    let older = Entry::decode(json.to_string().as_bytes()).unwrap();
    assert_eq!(older, entry(intended(1)));
}

#[test]
fn why_a_migration_was_ordered_to_stop_is_known_after_a_restart() {
    let order = Order::Cancel { migration: id(1) };
    let stop = OpenIntent { motive: "given up: dear".into(), ..intent(Command { id: id(2), order, ..migrate(2) }) };
    let ledger = fold([intended(1), Record::Intent { intent: Box::new(stop) }]);
    assert_eq!(ledger.migrations[0].stop.as_deref(), Some("given up: dear"));
}

#[test]
fn a_record_that_would_not_read_back_is_not_written() {
    let error = entry(Record::Decision { decision: Box::new(decision(f64::NAN)) }).encode().unwrap_err();
    assert!(error.contains("would not read back"), "{error}");
}

/// A decision to move vm 7 with this gain.
fn decision(gain: f64) -> Decision {
    use ballast_core::decision::{Plan, Planned, Step, Trigger};

    let step = Step::Migrate(Move { vm: vm(7), from: host("a"), to: host("b") });
    let expected = Expectation { gain: Joules(gain), ..Expectation::default() };
    let planned = Planned { step, motive: Motive::Consolidation { host: host("a") }, expected, part_of: None };
    Decision {
        id: DecisionId { epoch: Epoch(1), number: 4 },
        at: Timestamp::from_secs(1),
        trigger: Trigger::Round,
        mode: Mode::Auto,
        policy: "test".into(),
        forecast: "test".into(),
        chosen: Plan { steps: vec![planned] },
        waiting: 0,
        considered: Vec::new(),
        denied: Vec::new(),
        notes: Vec::new(),
    }
}

/// Any record of a small world.
fn any_record() -> impl Strategy<Value = Record> {
    let number = 1_u64..6;
    let ending = prop_oneof![
        Just(Ending::Completed),
        Just(Ending::Failed { reason: "no".into() }),
        Just(Ending::Unresolved { reason: "dark".into() })
    ];
    prop_oneof![
        number.clone().prop_map(intended),
        number.clone().prop_map(|number| Record::Accepted { id: id(number) }),
        number.clone().prop_map(|number| Record::Goodbye { id: id(number) }),
        (number, ending).prop_map(|(number, ending)| Record::Outcome { outcome: outcome(number, ending) }),
        Just(Record::Mode { mode: Mode::Auto, who: "ann".into() }),
        Just(Record::HostMode { host: host("a"), mode: HostMode::Draining, who: "ann".into() }),
        Just(Record::HostMode { host: host("a"), mode: HostMode::Active, who: "ann".into() }),
        Just(Record::Asleep { inventory: Box::new(inventory("a", &[])) }),
        Just(Record::Awake { host: host("a") }),
        (1_u64..9).prop_map(|epoch| Record::EpochStart { epoch: Epoch(epoch) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_checkpoint_says_what_all_before_it_said(
        before in prop::collection::vec(any_record(), 0..20),
        after in prop::collection::vec(any_record(), 0..20),
    ) {
        let whole = fold(before.iter().chain(&after).cloned());
        let checkpoint = Record::Checkpoint { ledger: Box::new(fold(before).without_history()) };
        let short = fold([checkpoint].into_iter().chain(after));
        prop_assert_eq!(short.without_history(), whole.without_history());
    }

    #[test]
    fn no_command_is_both_open_and_unresolved(records in prop::collection::vec(any_record(), 0..40)) {
        let ledger = fold(records);
        prop_assert!(ledger.open.keys().all(|id| !ledger.unresolved.contains_key(id)));
    }
}

#[tokio::test]
async fn what_was_written_together_is_read_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = ballast_core::units::Bytes::from_mib(1);
    let clock = Clock::driven(Timestamp::from_secs(5)).0;
    let open = || writer::open(dir.path(), bytes, bytes, 10, clock.clone(), Arc::default()).unwrap();
    let (journal, ledger) = open();
    assert_eq!(ledger.epoch, Epoch(0));
    let writes = (1..=20).map(|epoch| journal.write(vec![Record::EpochStart { epoch: Epoch(epoch) }]));
    for result in futures::future::join_all(writes).await {
        result.unwrap();
    }
    drop(journal);
    let (_, ledger) = open();
    assert_eq!(ledger.epoch, Epoch(20));
}

#[test]
fn the_vm_of_an_intent_is_locked_after_a_restart() {
    let events = fold([intended(1)]).events();
    let locked: Vec<Option<VmId>> = events
        .iter()
        .map(|event| match event {
            ballast_core::snapshot::Event::Ordered { command } => command.order.vm(),
            _ => None,
        })
        .collect();
    assert_eq!(locked, [Some(vm(7))]);
    assert_eq!(migrate(1).ttl, Duration::from_secs(60));
}
