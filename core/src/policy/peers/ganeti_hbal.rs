//! `ganeti-hbal`: Ganeti's cluster balancer, steepest descent one step at a time on the weighted score.
//!
//! Source: ganeti `HTools/Cluster.hs`, `Cluster/MetricsComponents.hs` and the hbal manual: the score is the weighted sum of
//! the deviations of free memory (0.5), vCPU ratio (0.5) and dynamic CPU load (1.0), here fed with measured use as by
//! `-U`. The best single move is taken until none lowers the score, the score is below 1e-9, or, once it is below 0.1, a
//! move gains less than 0.01. It looks one step ahead and may get stuck, as the manual says.
//!
//! Our reading: shared storage, so disks, secondaries and failure reserves weigh nothing; the loads of memory, disk and
//! network are left at Ganeti's own default, equal; a vm moves at most once a round; at most [`STEPS`] moves a round, the
//! next goes on. Growth: [`super::spread`] for each move.

use crate::{
    policy::{
        Advice, Policy, View,
        peers::{
            spread::{Point, Spread, Yardstick, climb},
            table::{Ask, Mover, Row, Table},
        },
    },
    units::count,
};

/// Moves worked out in one round.
const STEPS: usize = 1000;
/// Gain below which a move is not worth it, where the score is small already.
const MIN_GAIN: f64 = 0.01;
/// Score below which [`MIN_GAIN`] is asked for.
const MIN_GAIN_LIMIT: f64 = 0.1;
/// Score that is good enough.
const MIN_SCORE: f64 = 1e-9;
/// Weight of free memory and of the vCPU ratio; that of dynamic load is 1.
const HALF: f64 = 0.5;

/// Steepest descent on Ganeti's score.
#[derive(Debug, Clone, Copy, Default)]
pub struct GanetiHbal;

impl GanetiHbal {
    /// Its name.
    pub const NAME: &'static str = "ganeti-hbal";
}

/// Ganeti's score.
pub(super) struct Score {
    /// vCPUs a core may carry at most.
    pub(super) vcpu_ratio: f64,
}

/// The vCPU ratio of a cluster's default policy.
pub(super) const VCPU_RATIO: f64 = 4.0;

impl Yardstick for Score {
    fn host(&self, row: &Row<'_>) -> Point {
        [row.cpu_share(), row.memory_share(), row.stand.vcpus / row.cores]
    }
    fn vm(&self, mover: &Mover<'_>, row: &Row<'_>) -> Point {
        [mover.ask.cores / row.cores, mover.memory() / row.bytes, mover.vcpus() / row.cores]
    }
    fn score(&self, spread: &Spread) -> f64 {
        spread.deviation(0) + HALF * (spread.deviation(1) + spread.deviation(2))
    }
    fn takes(&self, table: &Table<'_>, row: usize, mover: &Mover<'_>) -> bool {
        let at = &table.rows[row];
        at.stand.vcpus + mover.vcpus() <= at.cores * self.vcpu_ratio && table.fits(row, mover, f64::INFINITY)
    }
}

impl Policy for GanetiHbal {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut table = Table::new(view, Ask::used);
        let by = Score { vcpu_ratio: VCPU_RATIO };
        let goes_on = |spread: &Spread| by.score(spread) > MIN_SCORE;
        let taken = climb(&mut table, &by, STEPS, goes_on, |before, after| {
            let (before, after) = (by.score(before), by.score(after));
            after < before && (before > MIN_GAIN_LIMIT || before - after > MIN_GAIN)
        });
        if taken == STEPS {
            table
                .advice
                .notes
                .push(format!("the first {:.0} moves are proposed, the next round goes on", count(STEPS)));
        }
        table.advice
    }
}
