//! What could be moved: a policy looks at the fleet and proposes; it decides nothing.

mod aside;
#[cfg(test)]
mod aside_tests;
mod board;
mod bundle;
mod capacity;
mod consolidate;
mod drain;
mod evacuation;
mod greedy;
#[cfg(test)]
mod group_tests;
mod loss;
mod misplaced;
#[cfg(test)]
mod misplaced_tests;
mod nearer;
#[cfg(test)]
mod nearer_tests;
mod none;
mod offer;
pub mod peers;
pub mod ranked;
mod relieve;
mod replace;
#[cfg(test)]
mod replace_tests;
mod shelf;
mod slot;
mod swap;
#[cfg(test)]
mod tests;
pub mod textbook;
mod waiting;
#[cfg(test)]
mod waiting_tests;

pub use greedy::RiskGreedy;
pub use none::LeaveAlone;
pub use ranked::Ranked;

use crate::{forecast::Forecasts, proposal::Proposal, risk::FleetLoad, snapshot::Snapshot, tuning::Tuning};

/// All that a policy may look at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The fleet.
    pub snapshot: &'a Snapshot,
    /// What its vms will want.
    pub forecasts: &'a Forecasts,
    /// The same added up by host: everybody needs it, so it is added up once.
    pub load: &'a FleetLoad<'a>,
    /// The numbers to decide by.
    pub tuning: &'a Tuning,
    /// Seed of every random choice.
    pub seed: u64,
}

/// What a policy says of one view.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Advice {
    /// What it would like, best first.
    pub proposals: Vec<Proposal>,
    /// Why it proposes no more, in words.
    pub notes: Vec<String>,
}

/// A rule for moving vms.
pub trait Policy: Send {
    /// Its name, as configuration and decisions show it.
    fn name(&self) -> &'static str;

    /// What it would like to happen. It may be wrong: the guard checks every proposal.
    fn propose(&mut self, view: View<'_>) -> Advice;

    /// The same between rounds, when a host has been overloaded for too long. Only relief is taken of what it says; a policy
    /// that can say that alone saves the rest of its work.
    fn relieve(&mut self, view: View<'_>) -> Advice {
        self.propose(view)
    }
}

/// ballast's own policies: what a scheduler may be run with.
pub const NAMES: [&str; 2] = [RiskGreedy::NAME, LeaveAlone::NAME];

/// ballast's own policy of that name; `None` for a name that is not among [`NAMES`].
pub fn by_name(name: &str) -> Option<Box<dyn Policy>> {
    match name {
        RiskGreedy::NAME => Some(Box::new(RiskGreedy)),
        LeaveAlone::NAME => Some(Box::new(LeaveAlone)),
        _ => None,
    }
}

/// The policy of that name, another system's rule or the textbook's among them: for replay and planning, where nothing
/// comes of it. `None` for a name that nobody has; [`known`] tells those there are.
pub fn any_by_name(name: &str) -> Option<Box<dyn Policy>> {
    if let Some(own) = by_name(name) {
        return Some(own);
    }
    if let Some(peer) = peers::Paced::by_name(name) {
        return Some(Box::new(peer));
    }
    Some(Box::new(textbook::by_name(name).ok()?))
}

/// The names that [`any_by_name`] knows, for people.
pub fn known() -> String {
    let own = NAMES.iter().chain(&peers::NAMES).copied().collect::<Vec<_>>().join(", ");
    format!("{own}, or {}", textbook::rule::GRAMMAR)
}
