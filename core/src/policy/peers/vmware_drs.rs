//! `vmware-drs`: VMware DRS as it was up to vSphere 6.7: greedy hill climbing on the deviation of host load.
//!
//! Source: A. Gulati et al., VMware Distributed Resource Management: Design, Implementation, and Lessons Learned (VMware
//! Technical Journal, 2012), and the knowledge base's formula for the priority of a recommendation, `6 - ceil(deviation /
//! 0.1 * sqrt(hosts))`: at the default level 3 moves are made while the deviation exceeds `0.2 / sqrt(hosts)`. Each step
//! takes the single move that lowers the deviation most, as long as it is good enough.
//!
//! Our reading: CPU and memory are weighed by how much of each is in use, as the paper says; the figure of the minimum
//! goodness is not published, here the move must take [`MIN_GOODNESS`] of one host's share at the target off the summed
//! squares; the cost-benefit filter over the stable time is left out (no figure is published); since 7.0 DRS scores vms
//! one by one by an unpublished model. Growth: [`super::spread`] for each move, of which
//! there are at most [`MOVES_PER_HOST`] a host and [`MOVES`] in a round; the next goes on.

use crate::policy::{
    Advice, Policy, View,
    peers::{
        spread::{Point, Spread, Yardstick, climb, shares, shares_of},
        table::{Ask, Mover, Row, Table},
    },
};

/// Target deviation of a cluster of one host, at migration threshold 3.
const TARGET: f64 = 0.2;

/// Hosts of the largest cluster up to 6.7: the target falls no further.
const CLUSTER: f64 = 64.0;

/// Share of the target's square that a move must take off the summed squares.
const MIN_GOODNESS: f64 = 0.1;

/// Moves of one invocation, in the mean of the hosts.
const MOVES_PER_HOST: usize = 8;

/// Moves of one invocation.
const MOVES: usize = 1000;

/// Greedy hill climbing on the deviation of host load.
#[derive(Debug, Clone, Copy, Default)]
pub struct VmwareDrs;

impl VmwareDrs {
    /// Its name.
    pub const NAME: &'static str = "vmware-drs";
}

/// CPU and memory, the scarcer weighing more.
struct Weighed {
    weights: [f64; 2],
}

impl Weighed {
    fn of(table: &Table<'_>) -> Self {
        let spread = Spread::of(table.members().iter().map(|row| shares(&table.rows[*row])));
        let (cpu, memory) = (spread.mean(0).max(0.01), spread.mean(1).max(0.01));
        Self { weights: [cpu / (cpu + memory), memory / (cpu + memory)] }
    }
}

impl Yardstick for Weighed {
    fn host(&self, row: &Row<'_>) -> Point {
        shares(row)
    }
    fn vm(&self, mover: &Mover<'_>, row: &Row<'_>) -> Point {
        shares_of(mover, row)
    }
    fn score(&self, spread: &Spread) -> f64 {
        self.weights[0] * spread.deviation(0) + self.weights[1] * spread.deviation(1)
    }
}

impl Policy for VmwareDrs {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut table = Table::new(view, Ask::wanted(view));
        let by = Weighed::of(&table);
        let steps = table.members().len().saturating_mul(MOVES_PER_HOST).min(MOVES);
        let target = |spread: &Spread| TARGET / spread.hosts().clamp(1.0, CLUSTER).sqrt();
        let squares = |spread: &Spread| by.score(spread).powi(2) * spread.hosts();
        climb(
            &mut table,
            &by,
            steps,
            |spread| by.score(spread) > target(spread),
            |before, after| squares(before) - squares(after) >= MIN_GOODNESS * target(before).powi(2),
        );
        table.advice
    }
}
