//! What decisions have gained by the demand that came, beside what was expected of them.
//!
//! ```text
//!   ordered ─▶ wager: at each look, what its hosts would cost with the moved vms back at their sources, less what they do
//!                │                                              └─ the demand is the vms' own: it is the same in both
//!                └── its horizon is over, or its vms have gone elsewhere ─▶ settled: expected and came ─▶ track ─▶ verdict
//! ```
//!
//! A wager is one proposal that moves vms for gain; what an operator orders and what a rule wants need not gain. Each is judged
//! by itself, all else as it came to be: moves that help each other are each credited with it, and what they gained cannot be
//! added up to what the fleet saved. What a copy costs counts once its vm has arrived, as it was reckoned; how copies came is
//! said with the migration. An emptying that takes several rounds is one wager. Pure: [`crate::standby`] asks it in every round.

use std::{fmt, ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    decision::{Decision, Mode},
    id::DecisionId,
    policy::View,
    proposal::Expectation,
    units::{Joules, Timestamp},
};

#[cfg(test)]
mod tests;
mod track;
mod wager;

pub use track::Track;
use wager::Wager;

/// Time between two looks beyond which nobody knows what was between them.
const BLIND: Duration = Duration::from_secs(15 * 60);

/// Time between two looks: a busy fleet is decided on every few seconds, and an hour does not have to be added up so finely.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// What is gained, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// Energy saved.
    pub energy: Joules,
    /// Core-seconds of demand served that would have gone unserved.
    pub served: f64,
    /// What it is worth that users are nearer.
    pub distance: Joules,
}

impl Gain {
    /// What is expected.
    pub fn of(expected: &Expectation) -> Self {
        Self {
            energy: expected.energy_if_left - expected.energy_if_done,
            served: expected.overload_if_left - expected.overload_if_done,
            distance: expected.distance_if_left - expected.distance_if_done,
        }
    }

    /// So many times as much.
    fn times(self, factor: f64) -> Self {
        Self { energy: self.energy * factor, served: self.served * factor, distance: self.distance * factor }
    }

    /// All of it, at so many joules for a core-second.
    pub fn worth(&self, joules_per_core_second: f64) -> Joules {
        self.energy + self.distance + Joules(self.served * joules_per_core_second)
    }
}

impl Add for Gain {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            energy: self.energy + other.energy,
            served: self.served + other.served,
            distance: self.distance + other.distance,
        }
    }
}

/// What came of one proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// Whose it was.
    pub decision: DecisionId,
    /// Which policy proposed it.
    pub policy: String,
    /// It was the relief of an overloaded host.
    pub is_relief: bool,
    /// When it was settled.
    pub at: Timestamp,
    /// Vms that it moved.
    pub moved: usize,
    /// Joules that a core-second is worth.
    pub price: f64,
    /// What was expected of it.
    pub expected: Gain,
    /// What came.
    pub came: Gain,
}

impl Settled {
    /// What kind it is, for labels.
    pub fn kind(&self) -> &'static str {
        if self.is_relief { "relief" } else { "round" }
    }
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, came, price, moved, .. } = self;
        let vms = if *moved == 1 { "vm" } else { "vms" };
        let (worth, hoped) = (came.worth(*price).get(), expected.worth(*price).get());
        write!(f, "gained {worth:.0} J ({hoped:.0} J expected) by {moved} {vms}: ")?;
        write!(f, "{:.4} kWh ({:.4} expected) and ", came.energy.kwh(), expected.energy.kwh())?;
        write!(f, "{:.1} core-seconds served ({:.1} expected)", came.served, expected.served)
    }
}

/// What settled proposals of one kind come to. Each was judged by itself: this says how good the expectations are, and not what
/// the fleet has saved.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Gains {
    /// How many.
    pub settled: u64,
    /// What was expected of them.
    pub expected: Joules,
    /// What came.
    pub came: Joules,
}

impl Gains {
    /// Counts one more.
    pub fn add(&mut self, one: &Settled) {
        self.settled += 1;
        self.expected += one.expected.worth(one.price);
        self.came += one.came.worth(one.price);
    }

    /// What came as a share of what was expected; `None` where that was no gain.
    pub fn share(&self) -> Option<f64> {
        (self.expected > Joules::ZERO).then(|| self.came.get() / self.expected.get())
    }
}

/// Every proposal that is being carried out or was so within its horizon.
#[derive(Debug, Clone, Default)]
pub struct Hindsight {
    open: Vec<Wager>,
    looked_at: Option<Timestamp>,
}

impl Hindsight {
    /// Looks at the fleet, where the look before is long enough ago: adds what each proposal has gained since, and gives what is
    /// settled by it. One none of whose vms has arrived is forgotten, and so is all that was open where it is too long ago.
    pub fn look(&mut self, view: View<'_>) -> Vec<Settled> {
        let now = view.snapshot.taken_at;
        let before = *self.looked_at.get_or_insert(now);
        let span = now.since(before);
        if span < LOOK_INTERVAL {
            return Vec::new();
        }
        self.looked_at = Some(now);
        if span > BLIND {
            self.open.clear();
        }
        let mut settled = Vec::new();
        self.open.retain_mut(|wager| {
            wager.look(view, span);
            let over = wager.settled(view);
            let is_open = over.is_none();
            settled.extend(over.filter(|one| one.moved > 0));
            is_open
        });
        settled
    }

    /// Takes what was decided on this view; what nobody carries out counts for nothing.
    pub fn took(&mut self, decision: &Decision, view: View<'_>) {
        if decision.mode != Mode::Auto {
            return;
        }
        for mut wager in wager::of(decision, view) {
            // Also those of this very decision: the moves of a relief are a proposal each.
            if !self.open.iter_mut().any(|known| known.takes(&mut wager)) {
                self.open.push(wager);
            }
        }
    }
}
