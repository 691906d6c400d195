//! The field's benchmark, digit for digit: a day of `PlanetLab` on 800 hosts as `CloudSim` 3.0.3 plays it.
//!
//! Nearly every paper on consolidation compares itself there, so ballast can be placed among them only by a faithful
//! copy, faults included: vms die, memory does not exist, waking is free. Each fault is a switch of [`Quirks`], so that
//! what it is worth can be said. It has nothing to do with the fleet of [`crate::world`], which is the one to judge by.
//!
//! The rules are the textbook's of `ballast-core`, by name. Whoever holds the recording hands it in
//! ([`crate::trace::planetlab`]); nothing here reads a file. Vms are kinds of machines here, hosts are numbered, and the
//! measures are those of the benchmark's own report.

mod board;
mod decide;
mod demand;
mod facts;
mod fleet;
mod place;
mod quirks;
mod record;
mod report;
#[cfg(test)]
mod tests;

use ballast_core::policy::textbook::{Consolidation, Rule};

pub use quirks::Quirks;
pub use report::Report;

use crate::trace::planetlab::Day;
use demand::Demand;
use facts::{HOSTS, MIGRATED_MB_PER_SECOND, VM_KINDS};
use fleet::{Fleet, Move};

/// Plays a day under a rule. What the rule's name asks for is added to `quirks`; `seed` matters only to the selection by
/// lot, which in `CloudSim` differs from run to run.
pub fn run(day: &Day, rule: &Rule, quirks: &Quirks, seed: u64) -> Report {
    let (consolidation, quirks) = match rule {
        Rule::Consolidate(rule) => (Some(*rule), quirks.with(rule.variant)),
        Rule::Dvfs | Rule::Npa => (None, *quirks),
    };
    let mut fleet = Fleet::new(Demand::new(day), quirks);
    place::place(&mut fleet, consolidation.map(|rule| rule.detector));
    let mut migrations = 0;
    for moment in demand::moments() {
        fleet.advance(moment);
        fleet.remember();
        if let Some(rule) = consolidation {
            migrations += consolidate(&mut fleet, rule, moment, seed);
        }
    }
    if *rule == Rule::Npa {
        fleet.energy = demand::moments().map(peak_energy()).sum();
    }
    Report::of(rule.to_string(), fleet, migrations)
}

/// Decides, and plays the migrations until the last has ended; how many there were.
fn consolidate(fleet: &mut Fleet, rule: Consolidation, moment: f64, seed: u64) -> u64 {
    let moves = decide::decide(fleet, rule, seed);
    fleet.begin(&moves);
    let mut sizes = VM_KINDS.map(|kind| kind.ram).to_vec();
    sizes.sort_unstable();
    sizes.dedup();
    for ram in sizes {
        let ending: Vec<Move> = moves.iter().copied().filter(|one| fleet.demand.kinds[one.vm].ram == ram).collect();
        if !ending.is_empty() {
            fleet.advance(moment + f64::from(ram) / MIGRATED_MB_PER_SECOND);
            fleet.end(&ending);
        }
    }
    u64::try_from(moves.len()).unwrap_or(u64::MAX)
}

/// Joules that all hosts draw at their peak from one moment to the next.
fn peak_energy() -> impl FnMut(f64) -> f64 {
    let mut before = 0.0;
    move |moment| {
        let seconds = moment - before;
        before = moment;
        (0..HOSTS).fold(0.0, |joules, host| joules + facts::kind_of(host).peak() * seconds)
    }
}
