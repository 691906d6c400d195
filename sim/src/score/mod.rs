//! What a fleet costs under a rule: the figures every claim is compared by.
//!
//! [`play()`] plays a policy against a fleet without daemons, sockets or tasks, but through the same state, forecaster,
//! guard and planner as the scheduler; it is what a policy is developed and judged with.

#[cfg(test)]
mod adversary_tests;
pub mod board;
pub mod contestant;
pub mod cycles;
pub mod figure;
mod play;
pub mod plot;
mod result;
#[cfg(test)]
mod risk_tests;
pub mod runner;
pub mod stats;

use std::time::Duration;

use ballast_core::{forecast::Forecaster, hindsight::Gains, policy::Policy, risk::Kept, tuning::Tuning};

pub use result::Score;

use cycles::Cycles;
use play::Deciding;

use crate::{
    ledger::{Ledger, Tally},
    scenario::Scenario,
    world::World,
};

/// Tells how much time has been spent so far: by the CPU's account, so that a busy machine changes nothing.
pub type Stopwatch<'a> = &'a (dyn Fn() -> Duration + Sync);

/// How often the fleet is read and decided on.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Time between two samples, and between two looks at overloaded hosts.
    pub period: Duration,
    /// Time between two regular rounds.
    pub round: Duration,
    /// Whether it acts between two rounds, on overloaded hosts and when what a round waited for has happened: ballast does,
    /// most peers do not.
    pub acts_between: bool,
    /// The numbers to decide by.
    pub tuning: Tuning,
}

impl Default for Pace {
    fn default() -> Self {
        let (period, round) = (Duration::from_secs(5), Duration::from_secs(60));
        Self { period, round, acts_between: true, tuning: Tuning::default() }
    }
}

/// The cost of the fleet when nobody moves anything.
pub fn baseline(scenario: &Scenario, seed: u64) -> Ledger {
    let mut world = World::new(scenario, seed);
    world.advance_to(scenario.end());
    world.ledger()
}

/// What a fleet came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Played {
    /// What it cost.
    pub ledger: Ledger,
    /// What is counted by its length.
    pub tally: Tally,
    /// Proposals that the guard denied.
    pub denied: u64,
    /// What moves for gain have gained by the demand that came, where that is settled.
    pub gains: Gains,
    /// Promises that were made and broken, where risk is measured.
    pub kept: Option<Kept>,
    /// Time that decisions took, each.
    pub deciding: Cycles,
}

/// Plays `scenario` under `policy` and tells `each` what the fleet has cost at the beginning of every round, before the policy is
/// asked, and at the end: what each of its decisions came to.
pub fn watch(
    scenario: &Scenario,
    seed: u64,
    pace: &Pace,
    (forecaster, policy): (&mut dyn Forecaster, &mut dyn Policy),
    each: &mut dyn FnMut(&Ledger),
) -> Ledger {
    let mut play = play::Play::new(World::new(scenario, seed), seed, pace, (forecaster, policy), &|| Duration::ZERO);
    let mut now = scenario.start();
    play.look(now);
    while now < scenario.end() {
        now = now.after(pace.period);
        play.look(now);
        if play.is_round(now) {
            each(&play.ledger());
        }
        play.act(now);
    }
    let ledger = play.end().0.ledger();
    each(&ledger);
    ledger
}

/// Plays `scenario` under `policy` with the forecasts of `forecaster`.
pub fn play(
    scenario: &Scenario,
    seed: u64,
    pace: &Pace,
    (forecaster, policy): (&mut dyn Forecaster, &mut dyn Policy),
    stopwatch: Stopwatch<'_>,
) -> Played {
    let mut play = play::Play::new(World::new(scenario, seed), seed, pace, (forecaster, policy), stopwatch);
    let mut now = scenario.start();
    // The first reading begins the counters: rates are known from the second on.
    play.look(now);
    while now < scenario.end() {
        now = now.after(pace.period);
        play.step(now);
    }
    let (world, deciding) = play.end();
    let (ledger, tally) = (world.ledger(), world.tally().clone());
    let Deciding { took, denied, gains, kept } = deciding;
    Played { ledger, tally, denied, gains, kept, deciding: took }
}

/// The cost of the fleet under `policy` with the forecasts of `forecaster`.
pub fn run_policy(
    scenario: &Scenario,
    seed: u64,
    pace: &Pace,
    forecaster: &mut dyn Forecaster,
    policy: &mut dyn Policy,
) -> Ledger {
    play(scenario, seed, pace, (forecaster, policy), &|| Duration::ZERO).ledger
}

#[cfg(test)]
mod tests;
