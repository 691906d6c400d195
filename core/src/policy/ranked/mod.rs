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

use crate::{
    id::HostId,
    policy::{
        Advice, Policy, View,
        board::Board,
        bundle, capacity,
        consolidate::{self, Evacuation, Judge},
        drain, misplaced, relieve,
    },
    units::{Joules, Timestamp},
};

/// Caution of the plans that are offered, in multiples of the risk that the tuning asks for: the operator's knob is the least.
pub const LEVELS: [f64; 3] = [1.0, 1.5, 2.0];

/// Whether a host is to be emptied, and by which of several plans.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The moment of the round.
    pub at: Timestamp,
    /// The host.
    pub host: HostId,
    /// What is the same for all plans, and for leaving the host alone: the host and the fleet.
    pub shared: [f32; SHARED],
    /// What each plan comes to.
    pub plans: Vec<[f32; OWN]>,
    /// What the model says that each gains over the horizon.
    pub gains: Vec<Joules>,
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
        let mut board = Board::new(view);
        let mut advice = Advice::default();
        let unhelped = relieve::relieve(&mut board, &mut advice);
        let short = capacity::wake_ahead(&mut board, &mut advice);
        bundle::mend(&mut board, &mut advice);
        misplaced::mend(&mut board, &mut advice);
        let homeless = drain::drain(&mut board, &mut advice);
        if unhelped || short || homeless {
            advice.notes.push("no host is emptied while capacity is short".into());
            return advice;
        }
        let mut asking = Asking { fleet: features::Fleet::of(&board), chooser: &mut *self.chooser };
        consolidate::consolidate(&mut board, &mut advice, &mut asking);
        capacity::sleep_idle(&mut board, &mut advice);
        advice
    }

    fn relieve(&mut self, view: View<'_>) -> Advice {
        let mut advice = Advice::default();
        relieve::relieve(&mut Board::new(view), &mut advice);
        advice
    }
}

/// Asks a chooser what the greedy asks the model.
struct Asking<'c> {
    fleet: features::Fleet,
    chooser: &'c mut dyn Chooser,
}

impl Judge for Asking<'_> {
    fn levels(&self) -> &[f64] {
        &LEVELS
    }

    fn choose(&mut self, board: &Board<'_>, slot: usize, plans: &[Evacuation]) -> Option<usize> {
        let question = Question {
            at: board.view.snapshot.taken_at,
            host: board.slots[slot].host.id().clone(),
            shared: self.fleet.shared(board, slot),
            plans: plans.iter().map(|plan| features::own(board, slot, plan)).collect(),
            gains: plans.iter().map(|plan| plan.expected.gain).collect(),
            greedy: consolidate::Gain.choose(board, slot, plans),
        };
        self.chooser.choose(&question)
    }
}
