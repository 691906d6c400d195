//! The textbook's rules for moving vms, as everybody who works on consolidation compares with them.
//!
//! [`rule`] says what a name means, [`detect`] and [`select`] are the arithmetic: used by the policy here and by the
//! faithful benchmark of the simulation, so that both mean the same. The policy plays the rules on ballast's fleet, where
//! memory exists, migrations take time, hosts have to be woken, and the guard checks every move. It differs from the
//! original only where that has to be:
//! - a vm goes only where the guard would let it (memory, labels, `cpu_limit`; `cpu_fill_limit` when a host is emptied);
//! - a vm rests after a move, and a host that is to take vms is not emptied (so `+excl` changes nothing here);
//! - a host sleeps after `sleep_after` without vms, and only if the rest carries the fleet;
//! - a host that its operator drains is emptied as under every policy.

mod correlation;
pub mod detect;
mod emptying;
mod history;
mod relief;
mod round;
pub mod rule;
pub mod select;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

pub use detect::{HISTORY, Verdict};
pub use rule::{Consolidation, Detector, Rule, Selector, UnknownRule, Variant};
pub use select::Candidate;

use crate::{
    policy::{Advice, Policy, View, board::Board, drain},
    proposal::Action,
};
use history::Histories;
use round::Round;

/// A rule of the textbook on ballast's fleet. It remembers what each vm used at the last [`HISTORY`] views.
#[derive(Debug, Clone)]
pub struct Textbook {
    rule: Rule,
    name: &'static str,
    histories: Histories,
}

impl Textbook {
    /// The policy of a rule, with nothing remembered.
    pub fn new(rule: Rule) -> Self {
        Self { rule, name: interned(rule.to_string()), histories: Histories::default() }
    }

    /// The rule it goes by.
    pub fn rule(&self) -> Rule {
        self.rule
    }
}

/// The policy of that name.
///
/// # Errors
/// [`UnknownRule`] says what is wrong with the name and which are accepted.
pub fn by_name(name: &str) -> Result<Textbook, UnknownRule> {
    name.parse().map(Textbook::new)
}

/// The name for as long as the program runs: policies' names are static, and these have parameters. Each different name is
/// kept once.
fn interned(name: String) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name.as_str()) {
        return known;
    }
    let kept: &'static str = Box::leak(name.into_boxed_str());
    names.insert(kept);
    kept
}

impl Policy for Textbook {
    fn name(&self) -> &'static str {
        self.name
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut advice = Advice::default();
        let Rule::Consolidate(rule) = self.rule else {
            advice.notes.push(format!("policy {} leaves the fleet as it is", self.name));
            return advice;
        };
        let board = Board::new(view);
        self.histories.observe(view.snapshot, board.fleet);
        let mut round = Round::new(rule, board, &self.histories);
        relief::relieve(&mut round, &mut advice);
        drain(&mut round, &mut advice);
        emptying::empty(&mut round, &mut advice);
        emptying::sleep(&mut round, &mut advice);
        advice
    }
}

/// Empties the hosts that their operators drain, and counts the vms where they go.
fn drain(round: &mut Round<'_, '_>, advice: &mut Advice) {
    let before = advice.proposals.len();
    drain::drain(&mut round.board, advice);
    for proposal in &advice.proposals[before..] {
        let Action::Relocate(one) = &proposal.action else { continue };
        if let Some(slot) = round.board.slot_of(&one.to) {
            round.assign(slot, one.vm);
        }
    }
}
