//! A policy in the shadow: it decides from the same views as the one in force, and nothing comes of it but a comparison.
//!
//! So an operator sees what another policy, a newly trained one above all, would have done on this very fleet before it may do
//! anything. What it would have gained is the objective's figure for both: what was expected, not what came.

use crate::{
    decision::{Decision, Plan, Step},
    units::Joules,
};

/// What two policies wanted of one view.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Steps that both want.
    pub both: u64,
    /// Steps that only the policy in force wants.
    pub only_active: u64,
    /// What only the policy in the shadow wants.
    pub only_shadow: Vec<Step>,
    /// What the objective expects of the steps of the one in force.
    pub gain_active: Joules,
    /// What it expects of those of the one in the shadow.
    pub gain_shadow: Joules,
}

impl Comparison {
    /// Compares what is decided with what the policy in the shadow would have decided.
    pub fn of(active: &Decision, shadow: &Decision) -> Self {
        let steps = |decision: &'_ Decision| decision.chosen.steps.iter().map(|planned| planned.step.clone()).collect();
        let (of_active, mut only_shadow): (Vec<Step>, Vec<Step>) = (steps(active), steps(shadow));
        let both = of_active.iter().filter(|step| only_shadow.contains(step)).count();
        only_shadow.retain(|step| !of_active.contains(step));
        Self {
            both: both as u64,
            only_active: (of_active.len() - both) as u64,
            only_shadow,
            gain_active: gain(&active.chosen),
            gain_shadow: gain(&shadow.chosen),
        }
    }

    /// In words, for the decision's notes.
    pub fn note(&self, policy: &str) -> String {
        if self.only_active == 0 && self.only_shadow.is_empty() {
            return format!("in the shadow, {policy} wants the same");
        }
        let gains = format!("gain {:.0} J against {:.0} J", self.gain_shadow.get(), self.gain_active.get());
        let Some((first, more)) = self.only_shadow.split_first() else {
            return format!("in the shadow, {policy} wants {} of these steps and no other; {gains}", self.both);
        };
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        format!("in the shadow, {policy} would also {first}{more}, and shares {} steps; {gains}", self.both)
    }
}

/// What the objective expects of a plan: each proposal once, however many steps it has.
fn gain(plan: &Plan) -> Joules {
    plan.proposals().into_iter().map(|(_, expected, _)| expected.gain).sum()
}

/// How the policy in the shadow has done since the start. A wish that is not carried out counts in every round that has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Its name.
    pub policy: String,
    /// Rounds in which it was asked.
    pub rounds: u64,
    /// Rounds in which it panicked.
    pub failures: u64,
    /// Steps that both wanted.
    pub both: u64,
    /// Steps that only the policy in force wanted.
    pub only_active: u64,
    /// Steps that only the one in the shadow wanted.
    pub only_shadow: u64,
    /// What the objective expected of the steps of the one in force, summed.
    pub gain_active: Joules,
    /// What it expected of those of the one in the shadow.
    pub gain_shadow: Joules,
}

impl Tally {
    /// Counts a round; `None` where the policy in the shadow panicked.
    pub fn count(&mut self, comparison: Option<&Comparison>) {
        self.rounds += 1;
        let Some(one) = comparison else {
            self.failures += 1;
            return;
        };
        self.both += one.both;
        self.only_active += one.only_active;
        self.only_shadow += one.only_shadow.len() as u64;
        self.gain_active += one.gain_active;
        self.gain_shadow += one.gain_shadow;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decide::decide,
        decision::Trigger,
        fixture::Fleet,
        policy::{LeaveAlone, Policy, RiskGreedy},
    };

    /// A fleet of which one host is worth emptying.
    fn decided(policy: &mut dyn Policy) -> Decision {
        let mut fleet = Fleet::new(&[("a", &[1.0, 1.0]), ("b", &[2.0; 3])]);
        (fleet.tuning.moves_in_per_host, fleet.tuning.moves_out_per_host) = (2, 2);
        decide(&fleet.input(Trigger::Round), policy)
    }

    #[test]
    fn who_wants_the_same_agrees_in_all() {
        let one = Comparison::of(&decided(&mut RiskGreedy), &decided(&mut RiskGreedy));
        assert!(one.both > 0 && one.only_active == 0 && one.only_shadow.is_empty(), "{one:?}");
        assert!(one.gain_active.get() > 0.0 && one.gain_active == one.gain_shadow, "{one:?}");
        assert_eq!(one.note("other"), "in the shadow, other wants the same");
    }

    #[test]
    fn a_proposal_of_several_moves_is_gained_once() {
        let decision = decided(&mut RiskGreedy);
        let steps = &decision.chosen.steps;
        assert!(steps.len() > 1 && steps.iter().all(|step| step.expected == steps[0].expected), "{decision:?}");
        assert_eq!(gain(&decision.chosen), steps[0].expected.gain);
    }

    #[test]
    fn what_one_alone_wants_is_told_apart_and_summed() {
        let (acts, rests) = (decided(&mut RiskGreedy), decided(&mut LeaveAlone));
        let moves = acts.chosen.steps.len() as u64;
        let shadow_rests = Comparison::of(&acts, &rests);
        let shadow_acts = Comparison::of(&rests, &acts);
        assert_eq!((shadow_rests.only_active, shadow_acts.only_shadow.len() as u64), (moves, moves));
        assert!(shadow_acts.note("x").starts_with("in the shadow, x would also move "), "{}", shadow_acts.note("x"));
        assert!(shadow_rests.note("x").contains("0 of these steps and no other"), "{}", shadow_rests.note("x"));
        let mut tally = Tally::default();
        [Some(&shadow_rests), Some(&shadow_acts), None].into_iter().for_each(|one| tally.count(one));
        assert_eq!((tally.rounds, tally.failures, tally.both), (3, 1, 0));
        assert_eq!((tally.only_active, tally.only_shadow), (moves, moves));
        assert_eq!(tally.gain_active, tally.gain_shadow);
    }
}
