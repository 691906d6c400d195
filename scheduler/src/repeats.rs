//! Tells whether a decision says what the one before said: a wish nobody granted is not made anew every round.
//!
//! Used by the control loop, which would otherwise journal it each time, and by replay, which would print it.

use ballast_core::decision::{Decision, Mode, Step, Trigger};

/// The newest steps of regular rounds, and those of looks at overloaded hosts: the two see different things.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    round: Option<(Mode, Vec<Step>)>,
    relief: Option<(Mode, Vec<Step>)>,
}

impl Repeats {
    /// Whether `decision` wants exactly what the newest of its kind wanted, in the same mode; it is the
    /// newest from now on.
    pub(crate) fn note(&mut self, decision: &Decision) -> bool {
        let steps = decision.chosen.steps.iter().map(|planned| planned.step.clone()).collect();
        let current = Some((decision.mode, steps));
        let last = if decision.trigger == Trigger::Relief { &mut self.relief } else { &mut self.round };
        let repeats = *last == current;
        *last = current;
        repeats
    }

    /// The next decision repeats nothing: the newest one has come to nothing, or was carried out.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}
