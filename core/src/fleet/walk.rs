//! Random histories of a small fleet: whatever happens, in whatever order, the invariants hold.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{FleetState, fixtures::*};
use crate::{
    command::Order,
    id::Epoch,
    inventory::Inventory,
    outcome::Ending,
    sample::VmState,
    snapshot::{Event, Snapshot},
    units::Timestamp,
};

const HOSTS: [&str; 3] = ["a", "b", "c"];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(HOSTS.to_vec())
}

fn vms() -> impl Strategy<Value = Vec<(u128, VmState)>> {
    let states = [VmState::Running, VmState::Running, VmState::Paused, VmState::Incoming, VmState::ShutOff];
    let one = (1..4u128, prop::sample::select(states.to_vec()));
    prop::collection::vec(one, 0..4).prop_map(|vms| vms.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
}

fn an_inventory() -> impl Strategy<Value = Box<Inventory>> {
    (name(), vms(), prop::bool::weighted(0.8), 1..3u128).prop_map(|(name, vms, complete, number)| {
        Box::new(Inventory { complete, boot: boot(number), ..inventory(name, &vms) })
    })
}

fn an_ending() -> impl Strategy<Value = Ending> {
    prop::sample::select(vec![
        Ending::Completed,
        Ending::VmGone,
        failed(),
        unresolved(),
        Ending::Abandoned { reason: "never begun".into() },
    ])
}

fn an_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => an_inventory().prop_map(|inventory| Event::Connected { inventory }),
        6 => an_inventory().prop_map(|inventory| Event::Inventory { inventory }),
        2 => (name(), 0.0..12.0, 1..4u128).prop_map(|(name, cpu, vm)| {
            Event::Batch { batch: Box::new(batch(name, cpu, &[(vm, 1.0)])), absurd: vec![] }
        }),
        1 => (name(), 1..3u128).prop_map(|(name, number)| {
            Event::Disconnected { host: host(name), boot: boot(number) }
        }),
        3 => (1..9u64, 1..4u128, name(), name()).prop_map(|(number, vm, from, to)| migrate(number, vm, from, to)),
        1 => (9..12u64, name()).prop_map(|(number, name)| ordered(number, name, Order::Sleep)),
        1 => (12..15u64, name(), name()).prop_map(|(number, name, target)| {
            ordered(number, name, Order::Wake { target: host(target), address: None })
        }),
        4 => (1..15u64, an_ending()).prop_map(|(number, ending)| ended(number, ending)),
    ]
}

/// What must hold in every snapshot.
fn check(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    for (id, vm) in &snapshot.vms {
        let flight = snapshot.in_flight.iter().find(|flight| flight.vm == *id);
        prop_assert_eq!(vm.locked_by, flight.map(|flight| flight.command), "locked if and only if in flight");
        let listed = snapshot
            .hosts
            .values()
            .filter(|host| host.inventory.vms.iter().any(|claim| claim.vm == *id && claim.state == VmState::Running));
        prop_assert!(listed.count() < 2 || flight.is_some() || vm.frozen.is_some(), "two copies and nobody minds");
    }
    for host in snapshot.hosts.values() {
        let holds = snapshot.vms.values().any(|vm| vm.host == *host.id() && vm.record.state == VmState::Running);
        prop_assert!(!holds || host.empty_for.is_zero(), "{} holds a vm and counts as empty", host.id());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_history_keeps_the_invariants(history in prop::collection::vec((an_event(), 0..40u64), 1..60)) {
        let mut stage = Stage::new();
        let mut lived = Vec::new();
        for (event, seconds) in history {
            stage.wait(seconds);
            stage.fleet.apply(&event, stage.now);
            prop_assert_eq!(stage.fleet.problems(), Vec::<String>::new());
            check(&stage.snapshot())?;
            lived.push((event, stage.now));
        }
        let events = lived.iter().map(|(event, at): &(Event, Timestamp)| (event, *at));
        prop_assert_eq!(FleetState::rebuild(Epoch(1), SETTINGS, events), stage.fleet);
    }
}
