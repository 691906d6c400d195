//! The policy in the shadow: asked in every round what it would do, on the same view and under the same guard.
//!
//! It runs where the policy in force runs, after it. That it panics is counted and told once; it is begun anew.

use ballast_core::{
    decide::DecideInput,
    decision::{Decision, Trigger},
    shadow::{Comparison, Tally},
    standby::Caught,
};

/// The policy, with what it remembers of earlier rounds and how it has done.
pub(crate) struct Shadow {
    policy: Caught,
    tally: Tally,
}

impl Shadow {
    /// Asks that policy.
    pub(crate) fn new(policy: Caught) -> Self {
        let tally = Tally { policy: policy.name().to_owned(), ..Tally::default() };
        Self { policy, tally }
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
        let Some(asked) = self.policy.decide(input) else { return };
        let comparison = asked.as_ref().ok().map(|shadow| Comparison::of(decision, shadow));
        self.tally.count(comparison.as_ref());
        match comparison {
            Some(comparison) => decision.notes.push(comparison.note(&self.tally.policy)),
            None if self.tally.failures == 1 => {
                tracing::error!(policy = self.tally.policy, "the policy in the shadow panicked; please report it");
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use ballast_core::{
        decide::decide,
        decision::Mode,
        forecast::Forecasts,
        id::{DecisionId, Epoch},
        policy::{Advice, LeaveAlone, Policy, View},
        risk::FleetLoad,
        snapshot::Snapshot,
        tuning::Tuning,
    };

    use super::*;
    use crate::testing::logs::Logs;

    struct Panics;

    impl Policy for Panics {
        fn name(&self) -> &'static str {
            "panics"
        }

        fn propose(&mut self, _view: View<'_>) -> Advice {
            panic!("as it always does")
        }
    }

    #[test]
    fn a_policy_that_panics_in_the_shadow_is_counted_told_once_and_harms_nobody() {
        let mut logs = Logs::watch();
        logs.expect("the policy in the shadow panicked");
        let mut shadow = Shadow::new(Caught::new("panics".to_owned(), Box::new(|| Some(Box::new(Panics)))));
        let (snapshot, forecasts, tuning) = (Snapshot::default(), Forecasts::default(), Tuning::default());
        let load = FleetLoad::of(&snapshot, &forecasts);
        let view = View { snapshot: &snapshot, forecasts: &forecasts, load: &load, tuning: &tuning, seed: 1 };
        let id = DecisionId { epoch: Epoch(1), number: 1 };
        let input = DecideInput { view, id, trigger: Trigger::Round, mode: Mode::Auto };
        let mut decision = decide(&input, &mut LeaveAlone);
        let before = decision.clone();
        shadow.compare(&input, &mut decision);
        shadow.compare(&input, &mut decision);
        assert_eq!((shadow.tally().rounds, shadow.tally().failures), (2, 2));
        assert_eq!((decision, logs.count("the policy in the shadow panicked")), (before, 1));
    }
}
