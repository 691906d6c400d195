//! The learned judgement of evacuations: a Q-network's ensemble behind the policy `dqn`. And a table that steers the greedy policy.

pub mod bundle;
pub mod network;
pub mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ballast_core::policy::{
    LeaveAlone, Policy, Ranked, RiskGreedy,
    ranked::{Chooser, OWN, Question, SHARED},
};
use serde::{Deserialize, Serialize};

use crate::bundle::BundleError;
use network::Ensemble;

/// Name of the policy.
pub const NAME: &str = "dqn";

/// Names of ballast's own policies, the learned ones among them: what a scheduler may be run with.
pub const NAMES: [&str; 4] = [RiskGreedy::NAME, LeaveAlone::NAME, NAME, table::NAME];

/// The policy that comes with ballast.
///
/// # Errors
/// Where this program was built with another one than it asks questions of.
pub fn shipped() -> Result<bundle::Bundle, BundleError> {
    bundle::Bundle::from_bytes(include_bytes!("../../bundles/policy.safetensors"))
}

/// The policy of that name, other systems' rules among them, a learned one with the networks of `bundle` or else with those that
/// ship; `None` for a name that nobody has.
pub fn any_by_name(name: &str, bundle: Option<&bundle::Bundle>) -> Option<Box<dyn Policy>> {
    // Tests hold that those that ship can be read.
    if name == table::NAME {
        return Some(Box::new(table::QTable::new(Arc::new(table::shipped().ok()?))));
    }
    if name != NAME {
        return ballast_core::policy::any_by_name(name);
    }
    let policy =
        bundle.map_or_else(|| shipped().ok().map(|bundle| Dqn::policy(&bundle)), |bundle| Some(Dqn::policy(bundle)))?;
    Some(Box::new(policy))
}

/// The names that [`any_by_name`] knows, for people.
pub fn known() -> String {
    format!("{NAME}, {}, {}", table::NAME, ballast_core::policy::known())
}

/// Standard deviations by which a plan must be worth more than leaving the host alone: what the members differ by is no gain.
pub const CAUTION: f32 = 0.5;

/// How far beyond what was seen in training a feature may lie, in widths of what was seen.
const BEYOND: f32 = 0.5;

/// Features of a question that may lie beyond before it is one that the network was not trained for.
const STRANGE_MAX: usize = 2;

/// The range of every feature in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The least of each, shared features first.
    pub low: Vec<f32>,
    /// The most.
    pub high: Vec<f32>,
}

impl Seen {
    /// True where the network was trained for plans like this.
    pub fn is_familiar(&self, shared: &[f32; SHARED], own: &[f32; OWN]) -> bool {
        let ranges = self.low.iter().zip(&self.high);
        let is_beyond = |(value, (low, high)): &(&f32, (&f32, &f32))| {
            let reach = BEYOND * (**high - **low);
            **value < **low - reach || **value > **high + reach
        };
        shared.iter().chain(own).zip(ranges).filter(is_beyond).count() <= STRANGE_MAX
    }
}

/// Chooses by an ensemble's lower confidence bound; where the ensemble has no number, or was not trained for such a question, as
/// the greedy policy would.
#[derive(Debug, Clone)]
pub struct Dqn {
    ensemble: Arc<Ensemble>,
    seen: Arc<Seen>,
}

impl Dqn {
    /// Chooses by an ensemble that has seen so much.
    pub fn new(ensemble: Ensemble, seen: Seen) -> Self {
        Self { ensemble: Arc::new(ensemble), seen: Arc::new(seen) }
    }

    /// Chooses by what a bundle holds.
    pub fn of(bundle: &bundle::Bundle) -> Self {
        Self::new(bundle.ensemble.clone(), bundle.card.seen.clone())
    }

    /// The policy of a bundle.
    pub fn policy(bundle: &bundle::Bundle) -> Ranked {
        Ranked::new(Box::new(Self::of(bundle)))
    }

    /// What each plan is worth at least, over leaving the host alone; `None` where that cannot be said.
    fn bounds(&self, question: &Question) -> Option<Vec<f32>> {
        let bound = |own: &[f32; OWN]| {
            let judged = self.ensemble.judge(&question.shared, own);
            let bound = judged.mean - CAUTION * judged.deviation;
            (bound.is_finite() && self.seen.is_familiar(&question.shared, own)).then_some(bound)
        };
        question.plans.iter().map(bound).collect()
    }
}

impl Chooser for Dqn {
    fn name(&self) -> &'static str {
        NAME
    }

    fn choose(&mut self, question: &Question) -> Option<usize> {
        let Some(bounds) = self.bounds(question) else { return question.greedy };
        network::best(bounds.into_iter())
    }
}
