//! What a fleet costs under a rule: the figures every claim is compared by.
//!
//! [`run_policy`] plays a policy against a fleet without daemons, sockets or tasks, but through the same state, forecaster,
//! guard and planner as the scheduler; it is what a policy is developed and judged with.

pub mod board;
pub mod figure;
mod play;
pub mod plot;
mod result;
pub mod stats;
pub mod timed;

use std::time::Duration;

use ballast_core::{forecast::Forecaster, policy::Policy, tuning::Tuning};

pub use result::Score;

use crate::{ledger::Ledger, scenario::Scenario, world::World};

/// How often the fleet is read and decided on.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Time between two samples, and between two looks at overloaded hosts.
    pub period: Duration,
    /// Time between two regular rounds.
    pub round: Duration,
    /// The numbers to decide by.
    pub tuning: Tuning,
}

impl Default for Pace {
    fn default() -> Self {
        Self { period: Duration::from_secs(5), round: Duration::from_secs(60), tuning: Tuning::default() }
    }
}

/// The cost of the fleet when nobody moves anything.
pub fn baseline(scenario: &Scenario, seed: u64) -> Ledger {
    let mut world = World::new(scenario, seed);
    world.advance_to(scenario.end());
    world.ledger()
}

/// The cost of the fleet under `policy` with the forecasts of `forecaster`.
pub fn run_policy(
    scenario: &Scenario,
    seed: u64,
    pace: &Pace,
    forecaster: &mut dyn Forecaster,
    policy: &mut dyn Policy,
) -> Ledger {
    let mut play = play::Play::new(World::new(scenario, seed), seed, pace, forecaster, policy);
    let mut now = scenario.start();
    while now < scenario.end() {
        now = now.after(pace.period);
        play.step(now);
    }
    play.into_world().ledger()
}

#[cfg(test)]
mod tests;
