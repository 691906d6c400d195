//! What the fleet must always keep to, whatever is ordered.

use ballast_core::{outcome::Stage, sample::VmState, units::Bytes};
use proptest::prelude::*;

use std::time::Duration;

use ballast_core::{
    command::MigrationLimits, migration_cost::Help, power::PowerCurve, snapshot::HostPower, units::BytesPerSec,
};

use super::*;
use crate::FlightEvent;
use crate::{
    observe::Location,
    scenario::{Fault, FaultKind, FleetSize, HostSpec, Service, VmSpec, Writes},
    trace::{Series, Slot},
};

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
    let other = (vm.host().unwrap() + 1) % world.hosts.len();
    (vm.spec.vm, world.hosts[vm.host().unwrap()].spec.host.clone(), world.hosts[other].spec.host.clone())
}

/// Moves every vm of the first host to the second.
fn empty_first_host(world: &mut World) -> HostId {
    let hosts = world.host_ids();
    let vms: Vec<VmId> = world.vms.iter().filter(|vm| vm.host() == Some(0)).map(|vm| vm.spec.vm).collect();
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
    let busy = world.hosts[world.vms[0].host().unwrap()].spec.host.clone();
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
    world.refresh(busiest);
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
        (vm.spec.vm, hosts[vm.host().unwrap()].clone())
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
                let (id, host) = (world.vms[index].spec.vm, world.vms[index].host().unwrap());
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

/// A scenario of equal hosts of 8 cores and 32 GiB, and vms of 4 vCPUs and 8 GiB that want all they have.
fn plain(hosts: usize, vms: Vec<VmSpec>, terms: Terms) -> World {
    let spec = |index: usize| {
        let host = HostId::new(&format!("host-{index}")).unwrap();
        HostSpec::new(host, Cores(8.0), Bytes::from_gib(32), PowerCurve::epyc_7742())
    };
    let slot = Slot { cpu: 1.0, memory: 0.5, ..Slot::default() };
    let series = vec![std::sync::Arc::new(Series::new("one".into(), vec![slot]))];
    let (start, day) = (Timestamp::from_secs(0), Duration::from_secs(86_400));
    let scenario = Scenario::new(start, day, (0..hosts).map(spec).collect(), vms, series).unwrap();
    World::new(&scenario.with_terms(terms).unwrap(), 1)
}

fn vm(number: u128, home: Option<usize>) -> VmSpec {
    let id = VmId(uuid::Uuid::from_u128(number));
    VmSpec::new(id, format!("vm-{number}"), 4, Bytes::from_gib(8), 0, home)
}

fn calm(faults: Vec<Fault>) -> Terms {
    Terms { jitter: 0.0, own_cores: Cores::ZERO, step: Duration::from_secs(300), faults, ..Terms::default() }
}

#[test]
fn energy_of_a_constant_day_is_what_the_curve_says() {
    let mut world = plain(1, vec![vm(1, Some(0))], calm(vec![]));
    after(&mut world, 86_400);
    let expected = PowerCurve::epyc_7742().at(0.5).get() * 86_400.0;
    assert!((world.ledger().energy.get() - expected).abs() < 1e-3, "{:?}", world.ledger());
    assert_eq!(world.ledger().unserved_share(), 0.0);
}

#[test]
fn a_vm_that_arrives_waits_for_a_host_to_wake_and_is_gone_when_its_time_is_over() {
    let new = VmSpec { arrives: Duration::from_secs(600), departs: Some(Duration::from_secs(1200)), ..vm(9, None) };
    let full: Vec<VmSpec> = (1..=4).map(|number| vm(number, Some(0))).collect();
    let mut world = plain(2, full.into_iter().chain([new]).collect(), calm(vec![]));
    let hosts = world.host_ids();
    world.sleep(&hosts[1]).unwrap();
    after(&mut world, 700);
    let waited = world.tally().start_waits.percentile(1.0);
    assert_eq!(waited, Some(PowerCurve::epyc_7742().wake_time()));
    assert_eq!(world.running_on(VmId(uuid::Uuid::from_u128(9))), BTreeSet::from([hosts[1].clone()]));
    assert!(world.ledger().waiting_core_seconds >= 0.0 && world.ledger().wakes == 1);
    after(&mut world, 600);
    assert_eq!(world.running_on(VmId(uuid::Uuid::from_u128(9))), BTreeSet::new());
    assert_eq!(world.memory_reserved(1), Bytes::ZERO);
}

#[test]
fn the_vms_of_a_host_that_dies_are_started_elsewhere_and_the_host_comes_back() {
    let minute = Duration::from_secs(60);
    let fault = Fault { at: minute * 5, until: Some(minute * 30), host: 0, what: FaultKind::Lost };
    let mut world = plain(2, vec![vm(1, Some(0)), vm(2, Some(1))], calm(vec![fault]));
    let hosts = world.host_ids();
    let other = VmId(uuid::Uuid::from_u128(2));
    world.begin_migration(&hosts[1], other, &hosts[0], MigrationLimits { ..limits() }).unwrap();
    after(&mut world, 299);
    assert_eq!(world.running_on(other), BTreeSet::from([hosts[0].clone()]));
    after(&mut world, 2);
    assert_eq!(world.running_on(other), BTreeSet::new());
    assert_eq!(world.facts(&hosts[0]), Err(SimError::Unreachable(hosts[0].clone())));
    after(&mut world, 60);
    assert_eq!(world.running_on(other), BTreeSet::from([hosts[1].clone()]));
    after(&mut world, 1800);
    assert!(world.facts(&hosts[0]).unwrap().vms.is_empty());
}

#[test]
fn storage_and_network_are_shared_out_like_cpu() {
    let mut spec = vm(1, Some(0));
    spec.vcpus = 4;
    let mut world = plain(1, vec![spec], calm(vec![]));
    world.hosts[0].spec.storage_bandwidth = Some(BytesPerSec(50.0));
    world.vms[0].demand.disk_read = 100.0;
    world.vms[0].demand.net_tx = 100.0;
    world.refresh(0);
    after(&mut world, 10);
    let counters = world.counters(&world.host_ids()[0]).unwrap();
    assert_eq!((counters[0].disk_read_bytes, counters[0].net_tx_bytes), (Some(500), Some(1000)));
    assert_eq!((world.ledger().io_demand_bytes, world.ledger().io_unserved_bytes), (2000.0, 500.0));
}

#[test]
fn a_vm_that_may_be_slowed_down_arrives_where_another_never_does() {
    let writes = Writes { idle: BytesPerSec::ZERO, per_core: BytesPerSec(5e9), working_set: 1.0 };
    let arrives = |auto_converge| {
        let stubborn = VmSpec { writes: Some(writes), ..vm(1, Some(0)) };
        let mut world = plain(2, vec![stubborn], calm(vec![]));
        let (hosts, id) = (world.host_ids(), world.vms[0].id());
        let limits = MigrationLimits { auto_converge, ..limits() };
        world.begin_migration(&hosts[0], id, &hosts[1], limits).unwrap();
        after(&mut world, 280);
        world.running_on(id) == BTreeSet::from([hosts[1].clone()])
    };
    assert!(arrives(true) && !arrives(false));
}

#[test]
fn post_copy_runs_the_vm_at_its_destination_before_its_memory_is_all_there() {
    let writes = Writes { idle: BytesPerSec(5e9), per_core: BytesPerSec::ZERO, working_set: 1.0 };
    let stubborn = VmSpec { writes: Some(writes), ..vm(1, Some(0)) };
    let convergence = Help { auto_converge: false, post_copy_after: Some(2) };
    let mut world = plain(2, vec![stubborn], Terms { convergence, ..calm(vec![]) });
    let (hosts, id) = (world.host_ids(), world.vms[0].id());
    world.begin_migration(&hosts[0], id, &hosts[1], limits()).unwrap();
    after(&mut world, 9);
    assert_eq!(world.running_on(id), BTreeSet::from([hosts[1].clone()]));
    assert!(world.active(id).is_some() && matches!(world.sleep(&hosts[0]), Err(SimError::NotEmpty { .. })));
    after(&mut world, 60);
    assert!(world.active(id).is_none());
    assert_eq!((world.ledger().migrations, world.ledger().downtime), (1, ballast_core::migration_cost::SWITCH_OVER));
    assert_eq!((world.memory_reserved(0), world.memory_reserved(1)), (Bytes::ZERO, Bytes::from_gib(8)));
}

#[test]
fn two_copies_of_one_link_take_twice_as_long_and_both_arrive() {
    let time = |vms: u128| {
        let mut world = plain(3, (1..=vms).map(|number| vm(number, Some(0))).collect(), calm(vec![]));
        let hosts = world.host_ids();
        for index in 0..world.vms.len() {
            let id = world.vms[index].id();
            world.begin_migration(&hosts[0], id, &hosts[1 + index], limits()).unwrap();
        }
        let mut seconds = 0;
        while world.is_anything_moving() {
            after(&mut world, 1);
            seconds += 1;
        }
        assert_eq!(u128::from(world.ledger().migrations), vms);
        seconds
    };
    let (one, two) = (time(1), time(2));
    assert!((one * 2 - 3..=one * 2 + 3).contains(&two), "{one} {two}");
}

#[test]
fn vms_that_share_a_rack_they_must_not_share_are_counted() {
    let spread = |number, home| {
        let mut spec = vm(number, Some(home));
        spec.labels.spread.insert("web".to_owned());
        spec
    };
    let mut world = plain(2, vec![spread(1, 0), spread(2, 1)], calm(vec![]));
    for host in &mut world.hosts {
        host.spec.fault_domain = Some("rack".into());
    }
    world.place_in_domain(0, 0, true);
    world.place_in_domain(1, 1, true);
    after(&mut world, 10);
    assert_eq!(world.ledger().breach_seconds, 10.0);
}

#[test]
fn services_answer_and_users_are_far() {
    let service = Service { requests: vec![2.0], work: vec![0.5], patience: Duration::from_secs(10) };
    let mut vm = VmSpec { service: Some(0), ..vm(1, Some(0)) };
    vm.labels.users = Some("eu".into());
    let mut host =
        HostSpec::new(HostId::new("host-1").unwrap(), Cores(8.0), Bytes::from_gib(32), PowerCurve::epyc_7742());
    host.rtt.insert("eu".into(), Duration::from_millis(20));
    let series = vec![std::sync::Arc::new(Series::new("flat".into(), vec![Slot::default()]))];
    let scenario =
        Scenario::new(Timestamp::from_secs(0), Duration::from_secs(600), vec![host], vec![vm], series).unwrap();
    let scenario =
        scenario.with_services(vec![std::sync::Arc::new(service)]).unwrap().with_terms(calm(vec![])).unwrap();
    let mut world = World::new(&scenario, 1);
    after(&mut world, 600);
    let ledger = world.ledger();
    assert!((ledger.demand_core_seconds - 600.0).abs() < 1e-6, "{ledger:?}");
    assert!((ledger.users_rtt_core_seconds / ledger.users_core_seconds - 0.02).abs() < 1e-12);
    after(&mut world, 1);
    assert!(world.ledger().requests > 599.0 && world.ledger().answered == world.ledger().requests);
}

#[test]
fn a_host_that_lost_power_comes_back_empty_under_another_boot_and_its_vms_start_elsewhere() {
    let mut world = fleet(2, 6);
    let (vm, source, _) = some_move(&world);
    let before = world.boot(&source);
    world.lose_power(&source, Some(Duration::from_secs(20))).unwrap();
    assert!(world.facts(&source).is_err());
    assert!(world.running_on(vm).is_empty());
    after(&mut world, 10);
    world.boot_up(&source).unwrap();
    let facts = world.facts(&source).unwrap();
    assert!(facts.vms.is_empty() && facts.boot != before);
    after(&mut world, 20);
    assert_eq!(world.running_on(vm).len(), 1);
}

#[test]
fn vms_that_nobody_starts_again_stay_off() {
    let mut world = fleet(2, 6);
    let (vm, source, _) = some_move(&world);
    world.lose_power(&source, None).unwrap();
    world.boot_up(&source).unwrap();
    after(&mut world, 600);
    assert!(world.running_on(vm).is_empty());
}
