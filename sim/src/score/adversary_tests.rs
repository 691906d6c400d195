//! Networks and whole policies that mean ill, or nothing: whatever they answer, the guard's promises to the vms hold.
//!
//! `BALLAST_ADVERSARY_STEPS=1000000 cargo test --release -p ballast-sim adversary` plays as many steps of each kind as it says;
//! without it each is played for a few thousand.

use std::time::Duration;

use ballast_core::{
    ewma::EwmaForecaster,
    id::{HostId, VmId},
    policy::{
        Advice, Policy, Ranked, View,
        ranked::{Chooser, Question},
    },
    proposal::{Action, Expectation, Motive, Move, Proposal},
    tuning::Tuning,
    units::{Bytes, Joules},
};

use super::{Pace, play::Play};
use crate::{
    Ledger, noise,
    scenario::{FleetSize, Scenario},
    world::World,
};

/// Steps of a play: a quarter of a day.
const STEPS: u64 = 720;

/// Answers that no trained network would give.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Always the least cautious plan.
    Bold,
    /// A plan that is not there.
    Beyond,
    /// By chance, plans that are not there among them.
    Drunk,
}

struct Adversary {
    manner: Manner,
    asked: u64,
}

impl Chooser for Adversary {
    fn name(&self) -> &'static str {
        "adversary"
    }

    fn choose(&mut self, question: &Question) -> Option<usize> {
        self.asked += 1;
        match self.manner {
            Manner::Bold => Some(0),
            Manner::Beyond => Some(usize::MAX),
            Manner::Drunk => usize::try_from(noise::hash(1, 2, self.asked)).ok()?.checked_rem(question.plans.len() + 2),
        }
    }
}

/// Policies that nobody would write.
#[derive(Debug, Clone, Copy)]
enum Madness {
    /// Whatever comes: moves of vms that are there and that are not, sleeps, wakes, exchanges, in any number.
    Random,
    /// Every vm goes to the next host, every time.
    AlwaysMove,
    /// All to one host, and the others to sleep at once.
    AllToOne,
    /// What it promises is no number.
    NoNumber,
}

struct Mad {
    madness: Madness,
    seed: u64,
    drawn: u64,
}

impl Mad {
    fn below(&mut self, limit: usize) -> usize {
        self.drawn += 1;
        noise::index(self.seed, 7, self.drawn, limit)
    }

    fn any_move(&mut self, vms: &[(VmId, HostId)], hosts: &[HostId]) -> Move {
        let (vm, from) = vms[self.below(vms.len())].clone();
        // One in eight names a host that the vm is not on.
        let from = if self.below(8) == 0 { hosts[self.below(hosts.len())].clone() } else { from };
        Move { vm, from, to: hosts[self.below(hosts.len())].clone() }
    }

    fn any_action(&mut self, vms: &[(VmId, HostId)], hosts: &[HostId]) -> Action {
        let host = hosts[self.below(hosts.len())].clone();
        match self.below(6) {
            0 => Action::Sleep { host },
            1 => Action::Wake { host },
            2 => Action::Evacuate { host, moves: (0..4).map(|_| self.any_move(vms, hosts)).collect() },
            3 => Action::Together { moves: (0..3).map(|_| self.any_move(vms, hosts)).collect() },
            4 => Action::Swap([self.any_move(vms, hosts), self.any_move(vms, hosts)]),
            _ => Action::Relocate(self.any_move(vms, hosts)),
        }
    }

    fn actions(&mut self, vms: &[(VmId, HostId)], hosts: &[HostId]) -> Vec<Action> {
        let next = |host: &HostId| {
            let at = hosts.iter().position(|other| other == host).unwrap_or_default();
            hosts[(at + 1) % hosts.len()].clone()
        };
        let send = |to: &dyn Fn(&HostId) -> HostId| -> Vec<Action> {
            let one = |(vm, from): &(VmId, HostId)| Move { vm: *vm, from: from.clone(), to: to(from) };
            vms.iter().map(|at| Action::Relocate(one(at))).collect()
        };
        match self.madness {
            Madness::Random | Madness::NoNumber => (0..16).map(|_| self.any_action(vms, hosts)).collect(),
            Madness::AlwaysMove => send(&next),
            Madness::AllToOne => {
                let sleeps = hosts[1..].iter().map(|host| Action::Sleep { host: host.clone() });
                sleeps.chain(send(&|_| hosts[0].clone())).collect()
            }
        }
    }
}

impl Policy for Mad {
    fn name(&self) -> &'static str {
        "mad"
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let hosts: Vec<HostId> = view.snapshot.hosts.keys().cloned().collect();
        let vms: Vec<(VmId, HostId)> = view.snapshot.vms.iter().map(|(id, vm)| (*id, vm.host.clone())).collect();
        let gain = Joules(if matches!(self.madness, Madness::NoNumber) { f64::NAN } else { 1e9 });
        let expected = Expectation { gain, ..Expectation::default() };
        // Overload is the motive that the guard and the planner put up with most for.
        let motive = |host: &HostId| Motive::Overload { host: host.clone(), load: 9.0, limit: 0.1 };
        let actions = self.actions(&vms, &hosts);
        let proposals = actions.into_iter().map(|action| Proposal { action, motive: motive(&hosts[0]), expected });
        Advice { proposals: proposals.collect(), notes: Vec::new() }
    }
}

/// Plays a made-up fleet with `policy`; what every host holds is looked at whenever it is read.
fn played(policy: &mut dyn Policy, seed: u64) -> Ledger {
    let period = Duration::from_secs(30);
    let size = FleetSize { hosts: 8, vms: 60, duration: period * u32::try_from(STEPS).unwrap() };
    let scenario = Scenario::fleet(size, seed).unwrap();
    let tuning = Tuning { moves_in_fleet: 8, moves_out_per_host: 4, moves_in_per_host: 4, ..Tuning::default() };
    let pace = Pace { period, tuning, ..Pace::default() };
    let mut forecaster = EwmaForecaster::default();
    let (world, stopwatch) = (World::new(&scenario, seed), || Duration::ZERO);
    let mut play = Play::new(world, seed, &pace, (&mut forecaster, policy), &stopwatch);
    let mut now = scenario.start();
    play.look(now);
    while now < scenario.end() {
        now = now.after(pace.period);
        play.step(now);
        let mut awake = 0;
        for host in scenario.hosts() {
            // A host that sleeps holds none.
            let Ok(facts) = play.world().facts(&host.host) else { continue };
            awake += 1;
            let promised: Bytes = facts.vms.iter().map(|vm| vm.memory_max).sum();
            assert!(promised <= host.memory_capacity, "{}: {promised} of {}", host.host, host.memory_capacity);
        }
        assert!(awake >= pace.tuning.min_awake, "all are asleep at {now:?}");
    }
    play.end().0.ledger()
}

/// Plays enough seeds for the steps that are asked for.
fn hold_out(name: &str, mut policy: impl FnMut(u64) -> Box<dyn Policy>) -> f64 {
    #[allow(clippy::disallowed_methods, reason = "a test is not called by anyone who could say it")]
    let asked = std::env::var("BALLAST_ADVERSARY_STEPS").ok().and_then(|steps| steps.parse().ok());
    let seeds = asked.unwrap_or(3 * STEPS).div_ceil(STEPS);
    let mut moved = 0.0;
    for seed in 1..=seeds {
        let ledger = played(&mut *policy(seed), seed);
        assert_eq!((ledger.aborted, ledger.breach_seconds), (0, 0.0), "{name}, seed {seed}");
        assert_eq!(ledger.waiting_core_seconds, 0.0, "no vm ever stood still: {name}, seed {seed}");
        moved += f64::from(u32::try_from(ledger.migrations).unwrap());
    }
    moved
}

#[test]
fn no_answer_of_a_network_makes_the_guard_break_its_word() {
    for manner in [Manner::Bold, Manner::Beyond, Manner::Drunk] {
        let policy = |_| Box::new(Ranked::new(Box::new(Adversary { manner, asked: 0 }))) as Box<dyn Policy>;
        let moved = hold_out(&format!("{manner:?}"), policy);
        assert!(moved > 0.0 || matches!(manner, Manner::Beyond), "nothing was tried: {manner:?}");
    }
}

#[test]
fn no_policy_however_mad_makes_the_guard_break_its_word() {
    for madness in [Madness::Random, Madness::AlwaysMove, Madness::AllToOne, Madness::NoNumber] {
        let policy = |seed| Box::new(Mad { madness, seed, drawn: 0 }) as Box<dyn Policy>;
        assert!(hold_out(&format!("{madness:?}"), policy) > 0.0, "nothing was tried: {madness:?}");
    }
}
