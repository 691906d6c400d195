//! The bounds against what can be found by trying everything.

use std::{sync::Arc, time::Duration};

use ballast_core::{
    id::{HostId, VmId},
    power::{POINTS, PowerCurve},
    units::{Bytes, Cores, Timestamp},
};
use proptest::prelude::*;

use super::*;
use crate::{
    scenario::{Between, Fault, FaultKind, FleetSize, HostSpec, Terms, VmSpec, uuid},
    trace::{Series, Slot},
};

/// A host: cores, memory in GiB, rises of its power curve, share of idle power drawn asleep.
type Made = (f64, u64, Vec<f64>, f64);

/// A vm: cores wanted, memory in GiB.
type Asked = (f64, u64);

const GIB: f64 = 1_073_741_824.0;

/// Five minutes of a fleet whose vms want the same all the time.
fn still(hosts: &[Made], vms: &[Asked], own: f64) -> Scenario {
    let specs = hosts.iter().enumerate().map(|(index, (cores, memory, rises, asleep))| {
        let mut watts = 0.0;
        let points: Vec<Watts> = rises
            .iter()
            .map(|rise| {
                Watts({
                    watts += rise;
                    watts
                })
            })
            .collect();
        let asleep = points[0] * *asleep;
        let curve = PowerCurve::new(points.try_into().unwrap(), asleep, Duration::ZERO, Duration::ZERO).unwrap();
        HostSpec::new(HostId::new(&format!("host-{index}")).unwrap(), Cores(*cores), Bytes::from_gib(*memory), curve)
    });
    let full = Series::new("full".into(), vec![Slot { cpu: 1.0, ..Slot::default() }]);
    let asked = vms.iter().enumerate().map(|(index, (cores, memory))| VmSpec {
        cpu_full: Cores(*cores),
        ..VmSpec::new(VmId(uuid(1, 1, index as u64)), format!("vm-{index}"), 64, Bytes::from_gib(*memory), 0, None)
    });
    let span = Duration::from_secs(300);
    let scenario = Scenario::new(Timestamp::EPOCH, span, specs.collect(), asked.collect(), vec![Arc::new(full)]);
    let terms = Terms { step: span, between: Between::Hold, jitter: 0.0, own_cores: Cores(own), ..Terms::default() };
    scenario.unwrap().with_terms(terms).unwrap()
}

/// Least energy over every way to put every vm somewhere, by the true curves; `None` where no way fits.
fn by_trying(scenario: &Scenario, own: f64) -> Option<f64> {
    let (hosts, vms) = (scenario.hosts(), scenario.vms());
    let ways = hosts.len().pow(u32::try_from(vms.len()).unwrap());
    let watts = (0..ways).filter_map(|way| {
        let (mut rest, mut cores, mut memory) = (way, vec![0.0; hosts.len()], vec![0.0; hosts.len()]);
        let mut used = vec![false; hosts.len()];
        for vm in vms {
            let host = rest % hosts.len();
            rest /= hosts.len();
            cores[host] += vm.cpu_full.get();
            memory[host] += vm.memory_max.as_f64();
            used[host] = true;
        }
        let watts = hosts.iter().enumerate().map(|(index, spec)| {
            if !used[index] {
                return Some(spec.power.asleep().get());
            }
            let capacity = spec.cpu_capacity.get();
            let fits = cores[index] + own <= capacity && memory[index] <= spec.memory_capacity.as_f64();
            fits.then(|| spec.power.at((cores[index] + own) / capacity).get())
        });
        watts.sum::<Option<f64>>()
    });
    watts.min_by(f64::total_cmp).map(|watts| watts * 300.0 / 3.6e6)
}

fn hosts() -> impl Strategy<Value = Vec<Made>> {
    let rises = prop::collection::vec(0.0..60.0f64, POINTS);
    let kinds = prop::collection::vec((2.0..16.0f64, 4..64u64, rises, 0.0..1.0f64), 1..3);
    (kinds, prop::collection::vec(0..2usize, 1..4))
        .prop_map(|(kinds, which)| which.into_iter().map(|index| kinds[index % kinds.len()].clone()).collect())
}

fn vms() -> impl Strategy<Value = Vec<Asked>> {
    prop::collection::vec((0.0..9.0f64, 1..33u64), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// The claim of this module.
    #[test]
    fn no_placement_needs_less_than_a_bound(hosts in hosts(), vms in vms(), own in 0.0..1.0f64) {
        let scenario = still(&hosts, &vms, own);
        let bounds = bounds(&scenario, 1);
        prop_assert!(bounds.fluid_kwh <= bounds.integer_kwh + 1e-12, "{bounds:?}");
        if let Some(least) = by_trying(&scenario, own) {
            prop_assert!(bounds.integer_kwh <= least * (1.0 + 1e-9) + 1e-12, "{bounds:?} against {least}");
            if bounds.clairvoyant_unplaced_h == 0.0 {
                prop_assert!(bounds.clairvoyant_kwh >= least * (1.0 - 1e-9), "{bounds:?} against {least}");
            }
        }
    }

    /// The hosts that come with the fluid bound carry the load at exactly that power: the bound is the optimum of its problem.
    #[test]
    fn the_fluid_bound_is_attained(hosts in hosts(), vms in vms()) {
        let scenario = still(&hosts, &vms, 0.0);
        let classes = Classes::of(&scenario);
        let period = looks::periods(&scenario, 1).next().unwrap();
        let step = Step::of(&scenario, &classes, &period);
        let fluid = step.fluid();
        prop_assert!(dot(&step.memory.supply, &fluid.awake) >= step.memory.needed - 1e-3 * GIB);
        let awake = Problem {
            classes: step.classes, low: &fluid.awake, high: &fluid.awake, cores: step.cores * (1.0 - 1e-9), row: &Row {
                needed: 0.0, ..step.memory.clone()
            },
        };
        let power = awake.solve().unwrap().watts;
        prop_assert!((power - fluid.watts).abs() <= 1e-6 * fluid.watts.max(1.0), "{power} against {fluid:?}");
    }
}

/// A host of ten cores: 50 W idle, 5 W more per tenth of load.
fn plain(memory: u64) -> Made {
    (10.0, memory, [50.0].into_iter().chain([5.0; POINTS - 1]).collect(), 0.0)
}

fn watts(kwh: f64) -> f64 {
    kwh * 3.6e6 / 300.0
}

#[test]
fn cpu_alone_costs_full_hosts_and_a_fraction_of_one() {
    let bounds = bounds(&still(&[plain(64), plain(64), plain(64)], &[(5.0, 1), (5.0, 1), (5.0, 1)], 0.0), 1);
    assert!((watts(bounds.fluid_kwh) - 150.0).abs() < 1e-9, "{bounds:?}");
    assert!((watts(bounds.integer_kwh) - 175.0).abs() < 1e-9, "{bounds:?}");
    assert!((watts(bounds.clairvoyant_kwh) - 175.0).abs() < 1e-9, "{bounds:?}");
    assert!((bounds.fluid_mean_awake_hosts - 1.5).abs() < 1e-9);
}

#[test]
fn memory_keeps_hosts_awake_that_cpu_does_not_need() {
    let bounds = bounds(&still(&[plain(8), plain(8), plain(8)], &[(1.0, 4); 5], 0.0), 1);
    assert!((watts(bounds.fluid_kwh) - (2.5 * 50.0 + 25.0)).abs() < 1e-9, "{bounds:?}");
    assert!((watts(bounds.integer_kwh) - (3.0 * 50.0 + 25.0)).abs() < 1e-9, "{bounds:?}");
}

#[test]
fn vms_of_more_than_half_a_host_need_one_each() {
    let bounds = bounds(&still(&[plain(8), plain(8), plain(8)], &[(1.0, 5); 3], 0.0), 1);
    assert!((watts(bounds.integer_kwh) - (3.0 * 50.0 + 15.0)).abs() < 1e-9, "{bounds:?}");
    assert!(watts(bounds.fluid_kwh) < 2.0 * 50.0 + 15.0);
}

#[test]
fn demand_beyond_the_fleet_is_left_out_and_told() {
    let bounds = bounds(&still(&[plain(64)], &[(9.0, 1), (9.0, 1)], 0.0), 1);
    assert!((watts(bounds.fluid_kwh) - 100.0).abs() < 1e-9, "{bounds:?}");
    assert!((bounds.beyond_fleet_core_h - 8.0 / 12.0).abs() < 1e-9, "{bounds:?}");
    assert!(bounds.clairvoyant_unplaced_h > 0.0);
}

#[test]
fn what_has_not_arrived_or_is_lost_does_not_count() {
    let scenario = still(&[plain(64), plain(64)], &[(5.0, 1), (5.0, 1)], 0.0);
    let mut vms = scenario.vms().to_vec();
    vms[0].arrives = Duration::from_secs(300);
    vms[1].departs = Some(Duration::ZERO);
    let series = vec![Arc::clone(scenario.series(0))];
    let span = Duration::from_secs(300);
    let empty = Scenario::new(Timestamp::EPOCH, span, scenario.hosts().to_vec(), vms, series).unwrap();
    assert_eq!(bounds(&empty.with_terms(scenario.terms().clone()).unwrap(), 1), Bounds::default());
    let lost = Fault { at: Duration::ZERO, until: None, host: 0, what: FaultKind::Lost };
    let dark = scenario.clone().with_terms(Terms { faults: vec![lost], ..scenario.terms().clone() }).unwrap();
    assert!((watts(bounds(&dark, 1).integer_kwh) - 100.0).abs() < 1e-9);
}

#[test]
fn demand_that_bends_within_a_minute_is_met_at_its_mean() {
    let scenario =
        Scenario::fleet(FleetSize { duration: Duration::from_secs(3600), ..FleetSize::default() }, 4).unwrap();
    let periods: Vec<Period> = looks::periods(&scenario, 4).collect();
    assert_eq!(periods.len(), 60);
    let read: f64 = periods.iter().flat_map(|period| &period.wishes).map(|wish| wish.cores).sum::<f64>() * 60.0;
    let seconds = (0..3600).map(|second| f64::from(second) + 0.5);
    let every: f64 =
        seconds.map(|at| (0..scenario.vms().len()).map(|vm| scenario.demand(vm, at, 4).cpu).sum::<f64>()).sum();
    assert!((0.999..1.0001).contains(&(read / every)), "{read} against {every}");
}

#[test]
fn the_bounds_of_a_fleet_stand_in_their_order() {
    let size = FleetSize { duration: Duration::from_secs(2 * 3600), ..FleetSize::default() };
    let scenario = Scenario::fleet(size, 1).unwrap();
    let bounds = bounds(&scenario, 1);
    assert!(0.0 < bounds.fluid_kwh && bounds.fluid_kwh < bounds.integer_kwh, "{bounds:?}");
    assert!(bounds.integer_kwh < bounds.clairvoyant_kwh, "{bounds:?}");
    assert!(bounds.clairvoyant_kwh < crate::score::baseline(&scenario, 1).energy.kwh(), "{bounds:?}");
    assert!((fluid_kwh(&scenario, 1) - bounds.fluid_kwh).abs() < 1e-9);
    assert_eq!(bounds, super::bounds(&scenario, 1));
}
