//! What the fleet must always keep to, whatever is ordered.

use ballast_core::{outcome::Stage, sample::VmState, units::Bytes};
use proptest::prelude::*;

use super::*;
use crate::{observe::Location, scenario::FleetSize};

fn fleet(hosts: usize, vms: usize) -> World {
    let size = FleetSize { hosts, vms, duration: Duration::from_secs(3600) };
    World::new(&Scenario::fleet(size, 3).unwrap(), 3)
}

fn limits() -> MigrationLimits {
    MigrationLimits::for_memory(Bytes::from_gib(8))
}

fn after(world: &mut World, seconds: u64) {
    world.advance_to(world.now().after(Duration::from_secs(seconds)));
}

/// A vm, where it is and another host.
fn some_move(world: &World) -> (VmId, HostId, HostId) {
    let vm = &world.vms[0];
    let other = (vm.host + 1) % world.hosts.len();
    (vm.spec.vm, world.hosts[vm.host].spec.host.clone(), world.hosts[other].spec.host.clone())
}

/// Moves every vm of the first host to the second.
fn empty_first_host(world: &mut World) -> HostId {
    let hosts = world.host_ids();
    let vms: Vec<VmId> = world.vms.iter().filter(|vm| vm.host == 0).map(|vm| vm.spec.vm).collect();
    for vm in vms {
        world.begin_migration(&hosts[0], vm, &hosts[1], limits()).unwrap();
        after(world, 120);
        assert_eq!(world.locate(&hosts[0], vm), Ok(Location::NotHere));
    }
    hosts[0].clone()
}

#[test]
fn a_migration_moves_the_vm_and_restarts_its_counters() {
    let mut world = fleet(2, 6);
    let (vm, source, destination) = some_move(&world);
    after(&mut world, 60);
    let before = world.counters(&source).unwrap().into_iter().find(|counters| counters.vm == vm).unwrap();
    world.begin_migration(&source, vm, &destination, limits()).unwrap();
    assert_eq!(world.migration_progress(&source, vm).unwrap().stage, Stage::Preparation);
    let incoming = Location::Here { state: VmState::Incoming, migrating: false };
    assert_eq!(world.locate(&destination, vm), Ok(incoming));
    after(&mut world, 120);
    let events = world.migration_events(&source, vm);
    assert_eq!(events.first(), Some(&FlightEvent::Iteration(1)));
    assert_eq!(events.last(), Some(&FlightEvent::Returned(Ok(()))));
    assert!(events.contains(&FlightEvent::Suspended));
    assert_eq!(world.locate(&source, vm), Ok(Location::NotHere));
    let now = world.counters(&destination).unwrap().into_iter().find(|counters| counters.vm == vm).unwrap();
    assert!(now.incarnation > before.incarnation);
    assert!(world.ledger().downtime > Duration::ZERO && world.ledger().downtime < Duration::from_secs(1));
    assert_eq!(world.ledger().migrations, 1);
}

#[test]
fn an_aborted_migration_leaves_the_vm_at_its_source() {
    let mut world = fleet(2, 6);
    let (vm, source, destination) = some_move(&world);
    world.begin_migration(&source, vm, &destination, limits()).unwrap();
    assert_eq!(world.begin_migration(&source, vm, &destination, limits()), Err(SimError::Busy(vm)));
    after(&mut world, 2);
    world.abort(&source, vm).unwrap();
    after(&mut world, 2);
    assert_eq!(world.locate(&source, vm), Ok(Location::Here { state: VmState::Running, migrating: false }));
    assert!(matches!(world.migration_events(&source, vm).last(), Some(FlightEvent::Returned(Err(_)))));
    assert_eq!(world.abort(&source, vm), Err(SimError::NoMigration(vm)));
    assert_eq!((world.ledger().migrations, world.ledger().aborted), (0, 1));
}

#[test]
fn a_destination_that_dies_in_the_middle_fails_the_migration_only() {
    let mut world = fleet(2, 6);
    let (vm, source, destination) = some_move(&world);
    world.begin_migration(&source, vm, &destination, limits()).unwrap();
    after(&mut world, 2);
    world.set_host_unreachable(&destination, true).unwrap();
    after(&mut world, 1);
    let lost = format!("the connection to {destination} was lost");
    assert_eq!(world.migration_events(&source, vm).last(), Some(&FlightEvent::Returned(Err(lost))));
    assert_eq!(world.facts(&destination), Err(SimError::Unreachable(destination)));
    assert_eq!(world.locate(&source, vm), Ok(Location::Here { state: VmState::Running, migrating: false }));
}

#[test]
fn a_stalled_link_moves_nothing_and_a_doomed_copy_says_why() {
    let mut world = fleet(2, 6);
    let (vm, source, destination) = some_move(&world);
    world.stall_link(&destination, true).unwrap();
    world.fail_next_migration("disk full");
    world.begin_migration(&source, vm, &destination, limits()).unwrap();
    after(&mut world, 300);
    assert_eq!(world.migration_progress(&source, vm).unwrap().copied, Bytes::ZERO);
    world.stall_link(&destination, false).unwrap();
    after(&mut world, 300);
    assert_eq!(world.migration_events(&source, vm).last(), Some(&FlightEvent::Returned(Err("disk full".into()))));
}

#[test]
fn a_destination_without_memory_refuses_and_nothing_moves() {
    let mut world = fleet(2, 6);
    let (vm, source, destination) = some_move(&world);
    let index = world.host(&destination).unwrap();
    world.hosts[index].spec.memory_capacity = Bytes::from_gib(1);
    world.begin_migration(&source, vm, &destination, limits()).unwrap();
    let events = world.migration_events(&source, vm);
    assert!(matches!(events.last(), Some(FlightEvent::Returned(Err(why))) if why.contains("memory")), "{events:?}");
}

#[test]
fn a_host_with_vms_does_not_sleep_and_an_empty_one_saves_energy() {
    let mut world = fleet(3, 9);
    let busy = world.hosts[world.vms[0].host].spec.host.clone();
    assert!(matches!(world.sleep(&busy), Err(SimError::NotEmpty { .. })));
    let empty = empty_first_host(&mut world);
    world.sleep(&empty).unwrap();
    assert_eq!(world.host_power(&empty), Ok(HostPower::FallingAsleep));
    after(&mut world, 20);
    assert_eq!(world.host_power(&empty), Ok(HostPower::Asleep));
    assert_eq!(world.hosts[0].watts, world.hosts[0].spec.power.asleep());
    assert!(world.counters(&empty).is_err() && world.host_reading(&empty).is_err());
    world.wake(&empty).unwrap();
    assert!(matches!(world.wake(&empty), Err(SimError::WrongPower { .. })));
    after(&mut world, 31);
    assert_eq!(world.host_power(&empty), Ok(HostPower::Awake));
    assert_eq!((world.ledger().sleeps, world.ledger().wakes), (1, 1));
}

#[test]
fn demand_above_capacity_is_shared_and_shows_as_delay_and_pressure() {
    let mut world = fleet(2, 12);
    after(&mut world, 60);
    let busiest = usize::from(world.hosts[1].load.wanted > world.hosts[0].load.wanted);
    world.hosts[busiest].spec.cpu_capacity = Cores(1.0);
    let host = world.host_ids()[busiest].clone();
    world.host_reading(&host).unwrap();
    after(&mut world, 60);
    let reading = world.host_reading(&host).unwrap();
    assert!((reading.cpu_used.get() - 1.0).abs() < 1e-6);
    assert!(reading.pressure.cpu_some.value().unwrap().get() > 0.5);
    let delayed = world.counters(&host).unwrap().iter().filter(|vm| vm.vcpu_delay_nanos > Some(0)).count();
    assert_eq!(delayed, world.counters(&host).unwrap().len());
    assert!(world.ledger().overload_core_seconds > 0.0);
    assert_eq!(world.ledger().overload_seconds, 60.0);
}

#[test]
fn a_copy_costs_both_ends_cpu_and_the_vm_speed() {
    let mut world = fleet(2, 6);
    let (vm, source, destination) = some_move(&world);
    world.begin_migration(&source, vm, &destination, limits()).unwrap();
    after(&mut world, 3);
    let before: f64 = world.vms.iter().map(|vm| vm.demand.cpu).sum();
    let wanted: f64 = world.hosts.iter().map(|host| host.load.wanted).sum();
    assert!(wanted > before + 1.0, "{wanted} {before}");
    assert!(world.ledger().migration_core_seconds > 0.0);
}

/// One thing to do to a fleet, by small numbers that are taken modulo what there is.
#[derive(Debug, Clone)]
enum Deed {
    Move(usize, usize),
    Abort(usize),
    Sleep(usize),
    Wake(usize),
    Unreachable(usize, bool),
    Doom,
    Pass(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (any::<usize>(), any::<usize>()).prop_map(|(vm, to)| Deed::Move(vm, to)),
        1 => any::<usize>().prop_map(Deed::Abort),
        2 => any::<usize>().prop_map(Deed::Sleep),
        1 => any::<usize>().prop_map(Deed::Wake),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(host, down)| Deed::Unreachable(host, down)),
        1 => Just(Deed::Doom),
        6 => (0u64..40).prop_map(Deed::Pass),
    ];
    proptest::collection::vec(deed, 1..60)
}

fn perform(world: &mut World, deed: &Deed) {
    let hosts = world.host_ids();
    let host = |index: usize| &hosts[index % hosts.len()];
    let vm = |world: &World, index: usize| {
        let vm = &world.vms[index % world.vms.len()];
        (vm.spec.vm, hosts[vm.host].clone())
    };
    // Whether the fleet takes an order is not asked here; what must hold, holds either way.
    match deed {
        Deed::Move(index, to) => {
            let (id, source) = vm(world, *index);
            drop(world.begin_migration(&source, id, host(*to), limits()));
        }
        Deed::Abort(index) => {
            let (id, source) = vm(world, *index);
            drop(world.abort(&source, id));
        }
        Deed::Sleep(index) => drop(world.sleep(host(*index))),
        Deed::Wake(index) => drop(world.wake(host(*index))),
        Deed::Unreachable(index, down) => drop(world.set_host_unreachable(host(*index), *down)),
        Deed::Doom => world.fail_next_migration("fault"),
        Deed::Pass(seconds) => after(world, *seconds),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Never two running copies, never none; and no vm is ever on a host that sleeps.
    #[test]
    fn every_vm_runs_exactly_once_whatever_is_ordered(deeds in deeds()) {
        let mut world = fleet(4, 16);
        for deed in &deeds {
            perform(&mut world, deed);
            for index in 0..world.vms.len() {
                let (id, host) = (world.vms[index].spec.vm, world.vms[index].host);
                prop_assert_eq!(world.running_on(id).len(), 1);
                prop_assert_eq!(world.hosts[host].power, HostPower::Awake);
                let claims = world.host_ids().iter().filter(|host| {
                    let facts = world.facts(host).map(|facts| facts.vms).unwrap_or_default();
                    facts.iter().any(|record| record.vm == id && record.state != VmState::Incoming)
                }).count();
                prop_assert!(claims <= 1);
                let paused = world.vms[index].paused;
                prop_assert!(!paused || world.active(id).is_some_and(Flight::is_switching));
            }
        }
        let ledger = world.ledger();
        prop_assert!(ledger.energy.is_sane() && ledger.overload_core_seconds >= -1e-6);
    }

    #[test]
    fn the_same_orders_give_the_same_fleet_to_the_last_bit(deeds in deeds()) {
        let run = || {
            let mut world = fleet(3, 12);
            deeds.iter().for_each(|deed| perform(&mut world, deed));
            format!("{world:?}")
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn it_does_not_matter_in_how_many_steps_time_passes(cuts in proptest::collection::vec(0u64..30_000_000_000, 1..20)) {
        let (mut whole, mut cut) = (fleet(2, 8), fleet(2, 8));
        let (vm, source, destination) = some_move(&whole);
        for world in [&mut whole, &mut cut] {
            world.begin_migration(&source, vm, &destination, limits()).unwrap();
        }
        let mut now = cut.now();
        for step in cuts {
            now = now.after(Duration::from_nanos(step));
            cut.advance_to(now);
        }
        whole.advance_to(now);
        prop_assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
    }
}
