//! The policy in the shadow: asked in every round what it would do, on the same view and under the same guard.
//!
//! It runs where the policy in force runs, after it. That it panics is counted and told once; it is begun anew.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ballast_core::{
    decide::{DecideInput, decide},
    decision::{Decision, Trigger},
    policy::Policy,
    shadow::{Comparison, Tally},
};

use crate::proposer::Proposer;

/// The policy, with what it remembers of earlier rounds and how it has done.
pub(crate) struct Shadow {
    proposer: Proposer,
    policy: Option<Box<dyn Policy>>,
    tally: Tally,
}

impl Shadow {
    /// The policy that `proposer` makes.
    pub(crate) fn new(proposer: Proposer) -> Self {
        let tally = Tally { policy: proposer.name().to_owned(), ..Tally::default() };
        Self { proposer, policy: None, tally }
    }

    /// How it has done so far.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Compares `decision` with what it would have decided from the same input, and says so in the decision's notes. Looks at
    /// overloaded hosts are left out: relief is the same for all of ballast's own policies.
    pub(crate) fn compare(&mut self, input: &DecideInput<'_>, decision: &mut Decision) {
        if input.trigger == Trigger::Relief {
            return;
        }
        let Some(mut policy) = self.policy.take().or_else(|| self.proposer.make()) else { return };
        // What it leaves behind when it panics is thrown away with it.
        let asked = catch_unwind(AssertUnwindSafe(|| decide(input, &mut *policy)));
        let comparison = asked.as_ref().ok().map(|shadow| Comparison::of(decision, shadow));
        self.tally.count(comparison.as_ref());
        match comparison {
            Some(comparison) => {
                decision.notes.push(comparison.note(&self.tally.policy));
                self.policy = Some(policy);
            }
            None if self.tally.failures == 1 => {
                tracing::error!(policy = self.tally.policy, "the policy in the shadow panicked; please report it");
            }
            None => {}
        }
    }
}
