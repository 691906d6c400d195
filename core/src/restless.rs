//! Whether a policy moves vms more often than any sound one would: then it has gone wrong, whatever it says of its gains.
//!
//! The guard lets each move pass that breaks no rule, and a policy that shuffles vms to and fro breaks none. What that costs
//! nobody sees in a single round.

use std::{collections::VecDeque, time::Duration};

use crate::{
    decision::{Decision, Mode, Step},
    units::{Timestamp, count},
};

/// Time over which moves are counted.
const SPAN: Duration = Duration::from_secs(3600);

/// Moves per vm of the fleet in that time that are too many. The first hour of a fleet that was spread over all its hosts takes
/// up to one, any other hour of the scenarios that come with ballast 0.2 at most.
const PER_VM: f64 = 1.5;

/// Moves in that time that are never too many: in a small fleet a few vms may have reason to move twice.
const ALWAYS: f64 = 32.0;

/// The moves of the last hour.
#[derive(Debug, Clone, Default)]
pub struct Restless {
    moves: VecDeque<(Timestamp, usize)>,
    sum: usize,
}

impl Restless {
    /// Takes a decision on a fleet of `vms`, made at its own time; says in words where the moves of the last hour are too many. What
    /// nobody carries out counts for nothing. Once it was said, counting begins anew.
    pub fn took(&mut self, decision: &Decision, vms: usize) -> Option<String> {
        if decision.mode != Mode::Auto {
            return None;
        }
        self.forget(decision.at);
        let moves = decision.chosen.steps.iter().filter(|planned| matches!(planned.step, Step::Migrate(_))).count();
        if moves > 0 {
            self.moves.push_back((decision.at, moves));
            self.sum += moves;
        }
        let most = (PER_VM * count(vms)).max(ALWAYS);
        if count(self.sum) <= most {
            return None;
        }
        let made = std::mem::take(self).sum;
        Some(format!("{made} moves of {vms} vms within an hour are more than the {most:.0} that may be"))
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((_, moves)) = self.moves.pop_front_if(|(at, _)| now.since(*at) >= SPAN) {
            self.sum -= moves;
        }
    }
}
