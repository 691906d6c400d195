//! `cloudstack-balanced` and `cloudstack-condensed`: the two algorithms of Apache CloudStack's DRS.
//!
//! Source: apache/cloudstack, `ClusterDrsServiceImpl`, `ClusterDrsAlgorithm`, `Balanced`, `Condensed`. The imbalance is the
//! deviation over the mean of the memory allocated on each host (metric memory, type used, no ratio). Balanced acts while
//! it is above 1 - 0.4 and takes the move that lowers it most; condensed acts while it is below 0.4 and takes the move
//! that raises it most. Both at most 50 moves a run. Nothing is ever powered off.
//!
//! Our reading: of balanced and condensed as they are, not of the pull requests for blended metrics; affinity is kept
//! inside a plan, as the repair of issue 12473 does. Growth: [`super::spread`] for each of the moves; condensed passes
//! over full hosts one by one.

use crate::policy::{
    Advice, Policy, View,
    peers::{
        spread::{Point, Spread, Yardstick, climb},
        table::{Ask, Mover, Row, Table},
    },
};

/// `drs.imbalance`.
const IMBALANCE: f64 = 0.4;
/// `drs.max.migrations`.
const MOVES: usize = 50;
/// Memory is counted in this many bytes, so that squares stay small.
const GIB: f64 = 1_073_741_824.0;

/// One of the two algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudStack {
    /// Spreads what is allocated.
    Balanced,
    /// Gathers it.
    Condensed,
}

impl CloudStack {
    /// Name of the algorithm that spreads.
    pub const BALANCED: &'static str = "cloudstack-balanced";
    /// Name of the algorithm that gathers.
    pub const CONDENSED: &'static str = "cloudstack-condensed";
}

impl Yardstick for CloudStack {
    fn host(&self, row: &Row<'_>) -> Point {
        [row.stand.memory / GIB, 0.0, 0.0]
    }
    fn vm(&self, mover: &Mover<'_>, _row: &Row<'_>) -> Point {
        [mover.memory() / GIB, 0.0, 0.0]
    }
    fn score(&self, spread: &Spread) -> f64 {
        match self {
            Self::Balanced => spread.imbalance(0),
            Self::Condensed => -spread.imbalance(0),
        }
    }
    fn gathers(&self) -> bool {
        *self == Self::Condensed
    }
}

impl Policy for CloudStack {
    fn name(&self) -> &'static str {
        match self {
            Self::Balanced => Self::BALANCED,
            Self::Condensed => Self::CONDENSED,
        }
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut table = Table::new(view, Ask::used);
        let needed = |spread: &Spread| match self {
            Self::Balanced => spread.imbalance(0) > 1.0 - IMBALANCE,
            Self::Condensed => spread.imbalance(0) < IMBALANCE,
        };
        climb(&mut table, self, MOVES, needed, |_, _| true);
        table.advice
    }
}
