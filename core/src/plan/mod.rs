//! One-shot planning: from a file that describes a fleet to the whole plan, what speaks against it, and the fleet after it.
//!
//! The plan is the scheduler's own decisions, round after round on a model: what must wait for a bound on concurrent moves,
//! or for a host to wake, comes in a later round. Called by `ballast plan`; it reads no file and carries nothing out.

mod build;
mod check;
pub mod file;
mod play;
mod refuse;
mod report;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

pub use build::vm_named;
pub use check::Problem;
use file::PlanFile;
pub use play::play;
pub use report::{After, Found, HostAfter, PlanStep, Report, StepData, Verdict};

use crate::{
    decide::{DecideInput, decide},
    decision::{Decision, Mode, Trigger},
    forecast::Forecasts,
    id::{DecisionId, HostId},
    policy::{self, Policy, RiskGreedy, View},
    risk::FleetLoad,
    snapshot::{HostMode, HostPower, Snapshot},
    tuning::{LEAST_REST, Tuning},
};

/// Length of a round whose moves take no longer: the scheduler's own.
pub const ROUND: Duration = Duration::from_secs(60);

/// Rounds after which a plan ends even if more would follow.
pub const ROUNDS_MAX: usize = 500;

/// A fleet to plan for.
#[derive(Debug, Clone)]
pub struct Model {
    /// The fleet.
    pub snapshot: Snapshot,
    /// What its vms will want.
    pub forecasts: Forecasts,
    /// The numbers to decide by.
    pub tuning: Tuning,
    /// Hosts that are to be emptied as a whole or not at all.
    pub drain: BTreeSet<HostId>,
    /// Policy that proposes.
    pub policy: String,
    /// Seed of every random choice.
    pub seed: u64,
}

/// One round of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Its number, from 1.
    pub number: usize,
    /// When it begins, after the moment of the file.
    pub begins: Duration,
    /// What was decided.
    pub decision: Decision,
}

impl Model {
    /// The fleet of a file; its seed is 1.
    ///
    /// # Errors
    /// Every value that cannot be taken.
    pub fn of(file: &PlanFile) -> Result<Self, Vec<Problem>> {
        let build::Built { mut snapshot, forecasts, drain, policy } = build::build(file)?;
        play::take_bases(&mut snapshot);
        play::measure(&mut snapshot);
        let policy = policy.unwrap_or_else(|| RiskGreedy::NAME.to_owned());
        Ok(Self { snapshot, forecasts, tuning: file.tuning.clone(), drain, policy, seed: 1 })
    }

    /// Has one more host emptied, as a whole or not at all.
    ///
    /// # Errors
    /// Where no such host is known.
    pub fn drain(&mut self, name: &str) -> Result<(), Problem> {
        let host = HostId::new(name).ok().filter(|host| self.snapshot.hosts.contains_key(host));
        let expected = || {
            let names: Vec<&str> = self.snapshot.hosts.keys().map(HostId::as_str).collect();
            format!("one of {} is needed", names.join(", "))
        };
        let host =
            host.ok_or_else(|| Problem { path: "drain".into(), value: format!("{name:?}"), expected: expected() })?;
        self.drain.insert(host);
        Ok(())
    }

    /// Has another policy propose.
    ///
    /// # Errors
    /// Where no such policy is known.
    pub fn propose_by(&mut self, name: &str) -> Result<(), Problem> {
        if policy::any_by_name(name).is_none() {
            let expected = format!("one of {} is needed", policy::known());
            return Err(Problem { path: "policy".into(), value: format!("{name:?}"), expected });
        }
        name.clone_into(&mut self.policy);
        Ok(())
    }

    /// The whole plan.
    pub fn plan(mut self) -> Report {
        for host in &self.drain {
            if let Some(host) = self.snapshot.hosts.get_mut(host) {
                host.mode = HostMode::Draining;
            }
        }
        let before = self.snapshot.clone();
        let rounds = self.rounds();
        let refusals = refuse::refusals(&self, &before, &rounds);
        report::report(self, before, rounds, refusals)
    }

    /// Decides round after round, each on the fleet as the one before leaves it, until for long enough nothing follows.
    fn rounds(&mut self) -> Vec<Round> {
        let Some(mut policy) = policy::any_by_name(&self.policy) else { return Vec::new() };
        let begin = self.snapshot.taken_at;
        let mut rounds = Vec::new();
        let mut quiet = Duration::ZERO;
        for number in 1..=ROUNDS_MAX {
            let decision = self.decide(number, &mut *policy);
            let span = self.length_of(&decision);
            let waits = self.snapshot.hosts.values().any(|host| host.power == HostPower::Waking);
            let still = decision.chosen.steps.is_empty() && self.snapshot.in_flight.is_empty() && !waits;
            quiet = if still { quiet + span } else { Duration::ZERO };
            let Tuning { cpu_limit, relief_after, .. } = self.tuning;
            let begins = self.snapshot.taken_at.since(begin);
            play(&mut self.snapshot, &decision.chosen.steps, span, cpu_limit, relief_after);
            rounds.push(Round { number, begins, decision });
            // Long enough for a host just emptied to sleep, and for a vm just moved to be moved again in need.
            if quiet > self.tuning.sleep_after.max(LEAST_REST) {
                break;
            }
        }
        rounds
    }

    fn decide(&self, number: usize, policy: &mut dyn Policy) -> Decision {
        let Self { snapshot, forecasts, tuning, seed, .. } = self;
        let load = &FleetLoad::of(snapshot, forecasts);
        let view = View { snapshot, forecasts, load, tuning, seed: seed.wrapping_add(number as u64) };
        let id = DecisionId { epoch: snapshot.epoch, number: number as u64 };
        decide(&DecideInput { view, id, trigger: Trigger::Round, mode: Mode::Recommend }, policy)
    }

    /// A round lasts until its moves have arrived.
    fn length_of(&self, decision: &Decision) -> Duration {
        let copies = decision.chosen.steps.iter().map(|planned| planned.expected.copy_time);
        copies.fold(ROUND, Duration::max)
    }
}
