//! What the textbook rules do with small fleets, and that they keep to what every policy has to.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    decide::decide,
    decision::{Decision, Step, Trigger},
    fixture::{Fleet, host_id, vm_id},
    guard::Guard,
    id::HostId,
    power::PowerCurve,
    proposal::{Motive, Move},
    sample::Reading,
    snapshot::{HostMode, HostPower},
    units::{Bytes, Cores},
};

const ROUND: Duration = Duration::from_secs(300);

fn policy(name: &str) -> Textbook {
    by_name(name).unwrap()
}

fn advise(fleet: &Fleet, name: &str) -> Advice {
    policy(name).propose(fleet.view())
}

fn round(fleet: &Fleet, policy: &mut Textbook) -> Decision {
    decide(&fleet.input(Trigger::Round), policy)
}

fn moves(advice: &Advice) -> Vec<Move> {
    advice.proposals.iter().flat_map(|one| one.action.moves().to_vec()).collect()
}

/// A move as an action, for comparison.
fn relocation(vm: u32, from: &str, to: &str) -> Action {
    Action::Relocate(Move { vm: vm_id(vm), from: host_id(from), to: host_id(to) })
}

fn actions(advice: &Advice) -> Vec<&Action> {
    advice.proposals.iter().map(|one| &one.action).collect()
}

#[test]
fn every_rule_is_a_policy_of_its_name() {
    for detector in Detector::DEFAULTS {
        for selector in Selector::ALL {
            let name = format!("{}-{}-{}+fix", detector.word(), selector.word(), detector.parameter());
            assert_eq!(policy(&name).name(), name);
        }
    }
    assert!(std::ptr::eq(policy("lr-mmt").name(), policy("lr-mmt-1.2").name()), "a name is kept once");
    assert!(by_name("greedy").unwrap_err().to_string().contains("dvfs, npa"));
}

#[test]
fn the_rules_that_move_nothing_say_so() {
    let fleet = Fleet::new(&[("a", &[3.5, 3.5, 3.5, 3.5]), ("b", &[0.1])]);
    for name in ["npa", "dvfs"] {
        let advice = advise(&fleet, name);
        assert_eq!(
            (advice.proposals, advice.notes),
            (vec![], vec![format!("policy {name} leaves the fleet as it is")])
        );
    }
}

#[test]
fn an_overloaded_host_gives_the_vm_with_least_memory_to_where_it_adds_least_power() {
    let mut fleet = Fleet::new(&[("a", &[3.5, 3.5, 3.5, 3.5]), ("b", &[3.0]), ("c", &[3.0])]);
    fleet.record(3).memory_max = Bytes::from_gib(2);
    fleet.inventory("b").power = PowerCurve::xeon_platinum_8180();
    let advice = advise(&fleet, "thr-mmt");
    assert_eq!(actions(&advice)[0], &relocation(3, "a", "c"));
    let motive = &advice.proposals[0].motive;
    assert_eq!(motive, &Motive::Overload { host: host_id("a"), load: 0.875, limit: 0.8 });
}

#[test]
fn vms_leave_until_the_rule_is_content() {
    let fleet = Fleet::new(&[("a", &[3.5, 3.5, 3.5, 3.5]), ("b", &[1.0]), ("c", &[1.0])]);
    let relief = |name: &str| {
        let advice = advise(&fleet, name);
        advice.proposals.iter().filter(|one| matches!(one.motive, Motive::Overload { .. })).count()
    };
    assert_eq!((relief("thr-mmt-0.9"), relief("thr-mmt-0.8"), relief("thr-mmt-0.6")), (0, 1, 2));
}

#[test]
fn a_regression_sees_it_coming_where_a_threshold_does_not() {
    let mut fleet = Fleet::new(&[("a", &[0.0, 0.0, 0.0, 0.0]), ("b", &[1.0])]);
    let (mut regression, mut threshold) = (policy("lr-mmt-1.2"), policy("thr-mmt-0.8"));
    let is_relief = |advice: &Advice| advice.proposals.iter().any(|one| matches!(one.motive, Motive::Overload { .. }));
    for view in 0..10 {
        for vm in 1..=4 {
            let cpu = (0.05 + 0.08 * f64::from(view)) * 4.0;
            fleet.vm(vm).sample.as_mut().unwrap().cpu_used = Reading::Measured(Cores(cpu));
        }
        fleet.measure();
        fleet.snapshot.taken_at = fleet.snapshot.taken_at.after(ROUND);
        assert!(!is_relief(&threshold.propose(fleet.view())), "view {view}");
        assert_eq!(is_relief(&regression.propose(fleet.view())), view == 9, "view {view}");
    }
}

#[test]
fn a_sleeping_host_is_woken_first_and_takes_the_vm_when_it_is_awake() {
    let mut fleet = Fleet::new(&[("a", &[3.5, 3.5, 3.5, 3.5]), ("b", &[4.0, 4.0, 4.0]), ("c", &[])]);
    fleet.host("c").power = HostPower::Asleep;
    let mut policy = policy("thr-mmt-0.8+fix");
    let chosen = |decision: &Decision| decision.chosen.steps.iter().map(|one| one.step.clone()).collect::<Vec<_>>();
    let woken = round(&fleet, &mut policy);
    assert_eq!(chosen(&woken), [Step::Wake { host: host_id("c"), by: host_id("a") }]);
    fleet.host("c").power = HostPower::Waking;
    fleet.snapshot.taken_at = fleet.snapshot.taken_at.after(ROUND);
    let waiting = round(&fleet, &mut policy);
    assert_eq!(chosen(&waiting), [], "it is waited for");
    assert!(waiting.notes[0].contains("waits for c"), "{:?}", waiting.notes);
    fleet.host("c").power = HostPower::Awake;
    let moved = chosen(&round(&fleet, &mut policy));
    assert_eq!(moved, [Step::Migrate(Move { vm: vm_id(1), from: host_id("a"), to: host_id("c") })]);
}

#[test]
fn waking_looks_free_to_the_original_and_not_to_the_fixed_rule() {
    let mut fleet = Fleet::new(&[("a", &[3.5, 3.5, 3.5, 3.5]), ("b", &[1.0, 1.0, 1.0]), ("c", &[])]);
    for name in ["a", "b", "c"] {
        fleet.inventory(name).power = PowerCurve::ml110_g5();
    }
    fleet.host("c").power = HostPower::Asleep;
    assert_eq!(actions(&advise(&fleet, "thr-mmt"))[0], &Action::Wake { host: host_id("c") });
    assert_eq!(actions(&advise(&fleet, "thr-mmt+fix"))[0], &relocation(1, "a", "b"));
}

#[test]
fn the_least_used_host_is_emptied_and_an_empty_one_sleeps() {
    let fleet = Fleet::new(&[("a", &[2.0, 3.0]), ("b", &[1.0, 2.0]), ("c", &[])]);
    let advice = advise(&fleet, "lr-mmt");
    let moves = [2, 1].map(|index| Move { vm: vm_id(index + 2), from: host_id("b"), to: host_id("a") }).to_vec();
    let evacuation = Action::Evacuate { host: host_id("b"), moves };
    assert_eq!(actions(&advice), [&evacuation, &Action::Sleep { host: host_id("c") }]);
    assert_eq!(advice.proposals[0].motive, Motive::Consolidation { host: host_id("b") });
    assert!(matches!(advice.proposals[1].motive, Motive::Idle { .. }));
}

#[test]
fn a_host_is_emptied_all_or_not_at_all() {
    let mut fleet = Fleet::new(&[("a", &[1.0, 1.0]), ("b", &[1.0, 1.0, 1.0])]);
    for vm in 1..=5 {
        fleet.record(vm).memory_max = Bytes::from_gib(20);
    }
    assert_eq!(moves(&advise(&fleet, "lr-mmt+fix")), []);
}

#[test]
fn a_drained_host_is_emptied_under_these_rules_too() {
    let mut fleet = Fleet::new(&[("a", &[2.0]), ("b", &[2.0])]);
    fleet.host("a").mode = HostMode::Draining;
    assert_eq!(actions(&advise(&fleet, "iqr-mc"))[0], &relocation(1, "a", "b"));
}

#[test]
fn a_fleet_under_constant_load_comes_to_rest_on_few_hosts() {
    let vms: &[f64] = &[0.5, 1.0];
    let mut fleet = Fleet::new(&[("a", vms), ("b", vms), ("c", vms), ("d", vms), ("e", vms), ("f", vms)]);
    let mut policy = policy("lr-mmt-1.2+fix");
    for _ in 0..100 {
        let decision = round(&fleet, &mut policy);
        fleet.obey(&decision, ROUND);
    }
    assert_eq!(fleet.awake(), 1, "9 cores fit on one host of 16");
    assert_eq!(round(&fleet, &mut policy).chosen.steps, vec![]);
}

fn fleets() -> impl Strategy<Value = Fleet> {
    let vms = proptest::collection::vec((0.0..4.0f64, 1..24u64), 0..9);
    proptest::collection::vec((vms, any::<bool>()), 1..7).prop_map(|hosts| {
        let mut fleet = Fleet::new(&[]);
        let mut number = 0;
        for (name, (vms, sleeps)) in ["a", "b", "c", "d", "e", "f"].iter().zip(&hosts) {
            fleet.snapshot.hosts.extend(Fleet::new(&[(name, &[])]).snapshot.hosts);
            fleet.host(name).power = if vms.is_empty() && *sleeps { HostPower::Asleep } else { HostPower::Awake };
            for (cpu, gib) in vms {
                number += 1;
                fleet.add_vm(number, name, *cpu);
                fleet.record(number).memory_max = Bytes::from_gib(*gib);
            }
        }
        fleet.measure();
        fleet
    })
}

fn rules() -> impl Strategy<Value = String> {
    let detectors = prop::sample::select(Detector::DEFAULTS.map(Detector::word).to_vec());
    let selectors = prop::sample::select(Selector::ALL.map(Selector::word).to_vec());
    let variants = prop::sample::select(vec!["", "+fix", "+v301", "+excl"]);
    (detectors, selectors, variants).prop_map(|(detector, selector, variant)| format!("{detector}-{selector}{variant}"))
}

/// Memory of every host when all that was proposed has been done, a vm counting at both ends of its move.
fn memory_after(fleet: &Fleet, moves: &[Move]) -> BTreeMap<HostId, Bytes> {
    let mut memory: BTreeMap<HostId, Bytes> = BTreeMap::new();
    let placed = fleet.snapshot.vms.values().map(|vm| (vm.host.clone(), vm.memory_reserved()));
    let moved = moves.iter().map(|one| (one.to.clone(), fleet.snapshot.vms[&one.vm].memory_reserved()));
    for (host, bytes) in placed.chain(moved) {
        let at = memory.entry(host).or_default();
        *at = *at + bytes;
    }
    memory
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_vm_is_sent_to_its_own_host_twice_or_to_where_its_memory_does_not_fit(fleet in fleets(), name in rules()) {
        let moves = moves(&advise(&fleet, &name));
        let mut vms: Vec<_> = moves.iter().map(|one| one.vm).collect();
        vms.sort_unstable();
        prop_assert!(vms.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", moves);
        let memory = memory_after(&fleet, &moves);
        for one in &moves {
            prop_assert_ne!(&one.from, &one.to);
            prop_assert_eq!(&one.from, &fleet.snapshot.vms[&one.vm].host);
            prop_assert!(memory[&one.to] <= fleet.snapshot.hosts[&one.to].inventory.memory_capacity, "{:?}", moves);
        }
    }

    #[test]
    fn every_step_of_a_plan_passes_the_guard_after_those_before_it(fleet in fleets(), name in rules()) {
        let decision = round(&fleet, &mut policy(&name));
        let mut guard = Guard::new(&fleet.snapshot, &fleet.forecasts, &fleet.tuning);
        for planned in &decision.chosen.steps {
            prop_assert_eq!(guard.check_step(&planned.step, &planned.motive), vec![]);
            guard.accept(planned.step.clone());
        }
    }

    #[test]
    fn the_same_views_give_the_same_bytes(fleet in fleets(), name in rules()) {
        let play = || {
            let (mut fleet, mut policy, mut bytes) = (fleet.clone(), policy(&name), Vec::new());
            for _ in 0..3 {
                let decision = round(&fleet, &mut policy);
                bytes.extend(serde_json::to_vec(&decision).unwrap());
                fleet.obey(&decision, ROUND);
            }
            bytes
        };
        prop_assert_eq!(play(), play());
    }
}
