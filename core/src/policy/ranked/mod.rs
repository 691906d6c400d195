//! The greedy policy with a learned judgement of evacuations: which hosts are emptied, when, and how cautiously.
//!
//! Everything else is the greedy's own: who is relieved, woken and put to sleep, which hosts may be emptied and where their vms
//! would go. A [`Chooser`] is asked once per host, in the greedy's order, with one plan for each level of caution; what it takes
//! is played on the round's board before it is asked again. Asking host by host keeps the question the same size whatever the
//! fleet's, and the time linear. What no plan can be made for is never asked about: an action that is not possible is not offered.

mod features;
#[cfg(test)]
mod tests;

pub use features::{FEATURES, OWN, SHARED};

use crate::policy::{
    Advice, Policy, View,
    board::Board,
    consolidate::{Gain, Judge},
    evacuation::Evacuation,
    greedy,
};

/// Caution of the plans that are offered, in multiples of the risk that the tuning asks for: the operator's knob is the least.
pub const LEVELS: [f64; 3] = [1.0, 1.5, 2.0];

/// Whether a host is to be emptied, and by which of several plans.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What is the same for all plans, and for leaving the host alone: the host and the fleet.
    pub shared: [f32; SHARED],
    /// What each plan comes to.
    pub plans: Vec<[f32; OWN]>,
    /// What the greedy policy would do.
    pub greedy: Option<usize>,
}

/// Answers such questions.
pub trait Chooser: Send {
    /// Its name, as decisions show it.
    fn name(&self) -> &'static str;

    /// The plan to be followed; `None` leaves the host alone.
    fn choose(&mut self, question: &Question) -> Option<usize>;
}

/// The greedy policy with somebody else's judgement of evacuations.
pub struct Ranked {
    chooser: Box<dyn Chooser>,
}

impl std::fmt::Debug for Ranked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ranked").field("chooser", &self.chooser.name()).finish()
    }
}

impl Ranked {
    /// Evacuations as `chooser` says.
    pub fn new(chooser: Box<dyn Chooser>) -> Self {
        Self { chooser }
    }
}

impl Policy for Ranked {
    fn name(&self) -> &'static str {
        self.chooser.name()
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        greedy::round(view, &mut Asking { fleet: None, chooser: &mut *self.chooser })
    }

    fn relieve(&mut self, view: View<'_>) -> Advice {
        greedy::relief(view)
    }
}

/// Asks a chooser what the greedy asks the model.
struct Asking<'c> {
    /// As it is when the first host is asked about.
    fleet: Option<features::Fleet>,
    chooser: &'c mut dyn Chooser,
}

impl Judge for Asking<'_> {
    fn levels(&self) -> &'static [f64] {
        &LEVELS
    }

    fn choose(&mut self, board: &Board<'_>, slot: usize, plans: &[Evacuation]) -> Option<usize> {
        let fleet = self.fleet.get_or_insert_with(|| features::Fleet::of(board));
        let question = Question {
            shared: fleet.shared(board, slot),
            plans: plans.iter().map(|plan| features::own(board, slot, plan)).collect(),
            greedy: Gain.choose(board, slot, plans),
        };
        self.chooser.choose(&question)
    }
}
