//! Choosers that mean ill, or nothing: whatever a network answers, the guard's promises to the vms hold.

use std::time::Duration;

use ballast_core::{
    ewma::EwmaForecaster,
    policy::{
        Ranked,
        ranked::{Chooser, Question},
    },
    tuning::Tuning,
    units::Bytes,
};

use super::{Pace, play::Play};
use crate::{
    noise,
    scenario::{FleetSize, Scenario},
    world::World,
};

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

/// Plays a made-up fleet for a quarter of a day; what every host holds is looked at whenever it is read.
fn played(manner: Manner, seed: u64) -> crate::Ledger {
    let size = FleetSize { hosts: 8, vms: 60, duration: Duration::from_secs(6 * 3600) };
    let scenario = Scenario::fleet(size, seed).unwrap();
    let tuning = Tuning { moves_in_fleet: 8, moves_out_per_host: 4, moves_in_per_host: 4, ..Tuning::default() };
    let pace = Pace { period: Duration::from_secs(30), tuning, ..Pace::default() };
    let (mut forecaster, mut policy) =
        (EwmaForecaster::default(), Ranked::new(Box::new(Adversary { manner, asked: 0 })));
    let (world, stopwatch) = (World::new(&scenario, seed), || Duration::ZERO);
    let mut play = Play::new(world, seed, &pace, (&mut forecaster, &mut policy), &stopwatch);
    let mut now = scenario.start();
    play.look(now);
    while now < scenario.end() {
        now = now.after(pace.period);
        play.step(now);
        for host in scenario.hosts() {
            // A host that sleeps holds none.
            let Ok(facts) = play.world().facts(&host.host) else { continue };
            let promised: Bytes = facts.vms.iter().map(|vm| vm.memory_max).sum();
            assert!(promised <= host.memory_capacity, "{}: {promised} of {}", host.host, host.memory_capacity);
        }
    }
    play.end().0.ledger()
}

#[test]
fn no_answer_of_a_network_makes_the_guard_break_its_word() {
    for manner in [Manner::Bold, Manner::Beyond, Manner::Drunk] {
        for seed in 1..=3 {
            let ledger = played(manner, seed);
            assert_eq!((ledger.aborted, ledger.breach_seconds), (0, 0.0), "{manner:?}, seed {seed}");
            assert_eq!(ledger.waiting_core_seconds, 0.0, "no vm ever stood still: {manner:?}, seed {seed}");
            assert!(ledger.migrations > 0 || matches!(manner, Manner::Beyond), "nothing was tried: {manner:?}");
        }
    }
}
