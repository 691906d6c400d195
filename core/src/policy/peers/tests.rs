//! What all peers have in common: the catalogue, and that none proposes what nobody may do.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    fixture::{Fleet, forecast_of, host_id, vm_id},
    guard::Guard,
    planner::{self, Planning},
    policy::{Advice, Policy},
    proposal::Action,
    sample::Reading,
    snapshot::{Doubt, HostMode, HostPower},
    units::{Bytes, Ratio},
};

mod balancing;
mod saving;

/// A peer and a fleet on its terms.
struct Trial {
    policy: Box<dyn Policy>,
    fleet: Fleet,
}

impl Trial {
    fn new(name: &str, hosts: &[(&str, &[f64])]) -> Self {
        let mut fleet = Fleet::new(hosts);
        fleet.tuning = terms(name);
        Self { policy: by_name(name).unwrap(), fleet }
    }

    fn ask(&mut self) -> Advice {
        self.policy.propose(self.fleet.view())
    }

    fn wait(&mut self, secs: u64) -> &mut Self {
        self.fleet.snapshot.taken_at = self.fleet.snapshot.taken_at.after(Duration::from_secs(secs));
        self
    }

    /// Asks every `step` seconds for `secs`; the last answer.
    fn watch(&mut self, secs: u64, step: u64) -> Advice {
        let mut advice = self.ask();
        for _ in 0..secs / step {
            advice = self.wait(step).ask();
        }
        advice
    }

    /// Carries out whatever the guard lets pass, `rounds` times; the steps taken.
    fn run(&mut self, rounds: usize, step: Duration) -> usize {
        let mut steps = 0;
        for _ in 0..rounds {
            let input = self.fleet.input(crate::decision::Trigger::Round);
            let decision = crate::decide::decide(&input, self.policy.as_mut());
            steps += decision.chosen.steps.len();
            self.fleet.obey(&decision, step);
        }
        steps
    }
}

/// Who goes where, in the order proposed.
fn moves(advice: &Advice) -> Vec<(u32, String, String)> {
    let moves = advice.proposals.iter().flat_map(|one| one.action.moves());
    let number = |vm: crate::id::VmId| u32::try_from(vm.0.as_u128()).unwrap();
    moves.map(|one| (number(one.vm), one.from.to_string(), one.to.to_string())).collect()
}

fn slept(advice: &Advice) -> Vec<String> {
    let host = |action: &Action| if let Action::Sleep { host } = action { Some(host.to_string()) } else { None };
    advice.proposals.iter().filter_map(|one| host(&one.action)).collect()
}

fn woken(advice: &Advice) -> Vec<String> {
    let host = |action: &Action| if let Action::Wake { host } = action { Some(host.to_string()) } else { None };
    advice.proposals.iter().filter_map(|one| host(&one.action)).collect()
}

#[test]
fn every_name_is_a_policy_of_that_name_with_an_entry_and_sound_terms() {
    for (name, peer) in NAMES.iter().zip(&PEERS) {
        assert_eq!((by_name(name).unwrap().name(), peer.name), (*name, *name));
        assert_eq!(terms(name).problems(), vec![], "{name}");
        assert!(!peer.source.is_empty() && !peer.defaults.is_empty() && !peer.period.is_zero());
        assert_eq!(Paced::by_name(name).unwrap().name(), *name);
    }
    assert!(by_name("nonsense").is_none() && Paced::by_name("nonsense").is_none());
    assert_eq!(terms("nonsense").problems(), vec![]);
}

#[test]
fn the_robust_rule_has_a_name_for_each_gamma() {
    for gamma in 1..=8 {
        let name = format!("gamma-robust-{gamma}");
        assert_eq!(by_name(&name).unwrap().name(), name);
        assert_eq!(peer(&name).unwrap().name, "gamma-robust");
    }
    for wrong in ["gamma-robust-0", "gamma-robust-9", "gamma-robust-", "gamma-robust-x"] {
        assert!(by_name(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn an_empty_fleet_and_one_without_vms_are_no_trouble() {
    for name in NAMES {
        let mut none = Trial::new(name, &[]);
        assert_eq!(none.watch(7200, 600).proposals, vec![], "{name}");
        let mut bare = Trial::new(name, &[("a", &[])]);
        assert!(moves(&bare.watch(7200, 600)).is_empty(), "{name}");
    }
}

#[test]
fn a_vm_alone_on_its_host_with_nowhere_to_go_stays() {
    for name in NAMES {
        let mut alone = Trial::new(name, &[("a", &[4.0])]);
        assert!(moves(&alone.watch(7200, 600)).is_empty(), "{name}");
    }
}

#[test]
fn only_those_that_manage_power_put_hosts_to_sleep() {
    let saving = [
        VmwareDpm::NAME,
        Ovirt::POWER_SAVING,
        WatcherConsolidation::NAME,
        GanetiHsqueeze::NAME,
        Packing::GAMMA_ROBUST,
        Packing::BEST_FIT,
        Packing::FIRST_FIT,
        RlDc::NAME,
    ];
    for name in NAMES {
        let mut trial = Trial::new(name, &[("a", &[1.0, 1.0]), ("b", &[1.0]), ("c", &[]), ("d", &[])]);
        trial.run(120, Duration::from_secs(300));
        assert_eq!(trial.fleet.awake() < 4, saving.contains(&name), "{name}: {} awake", trial.fleet.awake());
    }
}

#[test]
fn a_plan_that_could_not_begin_at_once_is_carried_on_before_the_next_is_asked_for() {
    let mut fleet = Fleet::new(&[("a", &[0.5; 8]), ("b", &[])]);
    fleet.tuning = terms(ProxlbUsage::NAME);
    let policy: Box<dyn Policy> = Box::new(Paced::by_name(ProxlbUsage::NAME).unwrap());
    let mut trial = Trial { policy, fleet };
    let planned = moves(&trial.policy.propose(trial.fleet.view())).len();
    assert!(planned > 1, "{planned}");
    assert_eq!(trial.run(10, Duration::from_secs(60)), planned);
    assert!(trial.ask().notes[0].starts_with("proxlb-usage is asked every 43200 s"));
}

/// Fleets with all that can stand in a move's way.
fn fleets() -> impl Strategy<Value = Fleet> {
    let vm = (0.0..4.0f64, 1.0..2.0f64, 0..24u32, 1..16u64, 0.0..0.1f64);
    let host = (proptest::collection::vec(vm, 0..9), 0..10u32);
    proptest::collection::vec(host, 1..8).prop_map(|hosts| {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let mut fleet = Fleet::new(&[]);
        let mut number = 0;
        for (name, (vms, kind)) in names.iter().zip(&hosts) {
            fleet.snapshot.hosts.extend(Fleet::new(&[(name, &[])]).snapshot.hosts);
            odd_host(&mut fleet, name, *kind, vms.is_empty());
            for (cpu, q95, trait_, gib, steal) in vms {
                number += 1;
                fleet.add_vm(number, name, *cpu);
                fleet.forecasts.vms.insert(vm_id(number), forecast_of(*cpu, *q95));
                fleet.record(number).memory_max = Bytes::from_gib(*gib);
                fleet.vm(number).sample.as_mut().unwrap().steal = Reading::Measured(Ratio(*steal));
                odd_vm(&mut fleet, number, *trait_);
            }
        }
        fleet.measure();
        fleet
    })
}

fn odd_host(fleet: &mut Fleet, name: &str, kind: u32, is_empty: bool) {
    match kind {
        0 | 1 if is_empty => fleet.host(name).power = HostPower::Asleep,
        2 if is_empty => fleet.host(name).power = HostPower::Waking,
        3 => fleet.host(name).mode = HostMode::Draining,
        4 => fleet.host(name).doubts = vec![Doubt::HypervisorAway],
        5 => fleet.inventory(name).cpu_capacity = crate::units::Cores(8.0),
        6 => fleet.inventory(name).sleep = crate::inventory::SleepSupport::None,
        _ => {}
    }
}

fn odd_vm(fleet: &mut Fleet, number: u32, kind: u32) {
    match kind {
        0 => fleet.record(number).labels.immovable = true,
        1 => fleet.vm(number).frozen = Some("claimed twice".into()),
        2 => fleet.record(number).busy = true,
        3 => fleet.record(number).state = crate::sample::VmState::Paused,
        4..=7 => drop(fleet.record(number).labels.anti_affinity.insert("group".into())),
        8 => drop(fleet.record(number).labels.pinned_to.insert(host_id("b"))),
        9 => fleet.record(number).obstacles.push(crate::inventory::Obstacle::HostDevice("gpu".into())),
        10 if fleet.snapshot.hosts.contains_key(&host_id("a")) => fleet.fly(number, "a"),
        11 => fleet.vm(number).sample = None,
        _ => {}
    }
}

/// Everything the peer says of the fleet as time passes.
fn said(name: &str, fleet: &Fleet) -> Vec<Advice> {
    let mut trial = Trial { policy: by_name(name).unwrap(), fleet: fleet.clone() };
    trial.fleet.tuning = terms(name);
    let mut said = vec![trial.ask()];
    said.extend([60, 60, 300, 600, 1800, 300].map(|secs| trial.wait(secs).ask()));
    said
}

fn planned(name: &str, fleet: &Fleet, advice: Advice) -> Planning {
    let tuning = terms(name);
    let mut guard = Guard::new(&fleet.snapshot, &fleet.forecasts, &tuning);
    planner::plan(&mut guard, advice.proposals)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_peer_moves_a_vm_twice_or_to_where_it_is(fleet in fleets()) {
        for name in NAMES {
            for advice in said(name, &fleet) {
                let moves = moves(&advice);
                let vms: BTreeSet<u32> = moves.iter().map(|(vm, ..)| *vm).collect();
                prop_assert_eq!(vms.len(), moves.len(), "{}: {:?}", name, moves);
                prop_assert!(moves.iter().all(|(_, from, to)| from != to), "{}: {:?}", name, moves);
            }
        }
    }

    #[test]
    fn what_a_peer_proposes_is_denied_for_comfort_only(fleet in fleets()) {
        for name in NAMES {
            for advice in said(name, &fleet) {
                let denied = planned(name, &fleet, advice).denied;
                // That nobody is awake to send the order is for the guard to see.
                let asleep = |finding: &crate::finding::Finding| {
                    matches!(finding, crate::finding::Finding::NobodyToWakeIt { .. })
                };
                let comfort = |finding: &crate::finding::Finding| finding.can_be_overridden() || asleep(finding);
                let fine = denied.iter().all(|denial| denial.findings.iter().all(comfort));
                prop_assert!(fine, "{}: {:?}", name, denied);
            }
        }
    }

    #[test]
    fn the_same_views_and_seed_give_the_same_bytes(fleet in fleets()) {
        let bytes = |advice: &Advice| serde_json::to_vec(&(&advice.proposals, &advice.notes)).unwrap();
        for name in NAMES {
            let (once, again) = (said(name, &fleet), said(name, &fleet));
            prop_assert!(once.iter().zip(&again).all(|(a, b)| bytes(a) == bytes(b)), "{}", name);
        }
    }
}
