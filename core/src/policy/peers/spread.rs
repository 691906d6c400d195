//! How unevenly hosts are loaded, and the single move that changes it most: what every balancing peer climbs by.
//!
//! A peer says where a host stands (up to three figures), what a vm adds to that, and how the deviations make a score.
//! The move is searched among the vms of the hosts that stand out at one end and the hosts that stand out at the other,
//! [`ENDS`] by each figure: with one figure and equal hosts the steepest move is there whenever one of these hosts takes
//! the vm, for `Δ Σx² = 2v (b - a + v)` falls with the source's `a` and rises with the target's `b`. A step costs
//! `O(ENDS² vms of a host)` and `O(log hosts)`, whatever the size of the fleet.

use std::collections::BTreeSet;

use crate::{
    policy::peers::table::{Key, Mover, Row, Table},
    proposal::Motive,
};

/// Figures that a host may be judged by.
pub(super) const FIGURES: usize = 3;

/// Hosts looked at from each end, by each figure.
const ENDS: usize = 8;

/// Where a host stands.
pub(super) type Point = [f64; FIGURES];

/// Sums over the hosts, from which means and deviations follow.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Spread {
    hosts: f64,
    sum: Point,
    squares: Point,
}

impl Spread {
    pub(super) fn of(points: impl Iterator<Item = Point>) -> Self {
        points.fold(Self::default(), |spread, point| Self { hosts: spread.hosts + 1.0, ..spread.with(&point, 1.0) })
    }

    fn with(mut self, point: &Point, times: f64) -> Self {
        for (figure, value) in point.iter().enumerate() {
            self.sum[figure] += times * value;
            self.squares[figure] += times * value * value;
        }
        self
    }

    fn moved(self, before: &Point, after: &Point) -> Self {
        self.with(before, -1.0).with(after, 1.0)
    }

    pub(super) fn mean(&self, figure: usize) -> f64 {
        self.sum[figure] / self.hosts.max(1.0)
    }

    /// Population standard deviation.
    pub(super) fn deviation(&self, figure: usize) -> f64 {
        (self.squares[figure] / self.hosts.max(1.0) - self.mean(figure).powi(2)).max(0.0).sqrt()
    }

    /// Deviation over mean; zero where the mean is.
    pub(super) fn imbalance(&self, figure: usize) -> f64 {
        let mean = self.mean(figure);
        if mean > 0.0 { self.deviation(figure) / mean } else { 0.0 }
    }

    /// How many hosts.
    pub(super) fn hosts(&self) -> f64 {
        self.hosts
    }
}

/// What a peer judges by.
pub(super) trait Yardstick {
    /// Where a host stands.
    fn host(&self, row: &Row<'_>) -> Point;
    /// What the vm adds to where `row` stands.
    fn vm(&self, mover: &Mover<'_>, row: &Row<'_>) -> Point;
    /// The score of a spread; less is better.
    fn score(&self, spread: &Spread) -> f64;
    /// Whether the row may take the vm.
    fn takes(&self, table: &Table<'_>, row: usize, mover: &Mover<'_>) -> bool {
        table.fits(row, mover, 1.0)
    }
    /// Whether load is to be gathered instead of spread.
    fn gathers(&self) -> bool {
        false
    }
}

/// A move that could be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    from: usize,
    mover: Mover<'a>,
    to: usize,
    /// The score after it.
    pub(super) score: f64,
    spread: Spread,
}

/// The members of the cluster by where they stand.
#[derive(Debug)]
pub(super) struct Scale {
    points: Vec<Option<Point>>,
    pub(super) spread: Spread,
    sorted: [BTreeSet<(Key, usize)>; FIGURES],
}

impl Scale {
    pub(super) fn new(table: &Table<'_>, by: &dyn Yardstick) -> Self {
        let mut scale =
            Self { points: vec![None; table.rows.len()], spread: Spread::default(), sorted: Default::default() };
        for row in table.members() {
            scale.put(row, by.host(&table.rows[row]));
        }
        scale.spread = Spread::of(scale.points.iter().flatten().copied());
        scale
    }

    fn put(&mut self, row: usize, point: Point) {
        for figure in 0..FIGURES {
            if let Some(before) = self.points[row] {
                self.sorted[figure].remove(&(Key(before[figure]), row));
            }
            self.sorted[figure].insert((Key(point[figure]), row));
        }
        self.points[row] = Some(point);
    }

    /// The move with the least score, where one lowers it.
    pub(super) fn best<'a>(&self, table: &Table<'a>, by: &dyn Yardstick) -> Option<Step<'a>> {
        let sources = self.ends(!by.gathers(), |row| !table.rows[row].movers.is_empty());
        let movers = || sources.iter().flat_map(|row| table.rows[*row].movers.iter().map(move |mover| (*row, mover)));
        let least = movers().map(|(_, mover)| mover.memory()).fold(f64::INFINITY, f64::min);
        let targets = self.ends(by.gathers(), |row| table.free(row, 1.0)[1] >= least - 1.0);
        let mut best: Option<Step<'a>> = None;
        for (from, mover) in movers() {
            let Some(left) = self.left(table, from, mover, by) else { continue };
            for to in targets.iter().copied().filter(|to| *to != from) {
                let Some((score, spread)) = self.after(table, (from, &left), mover, to, by) else { continue };
                let bound = best.map_or_else(|| by.score(&self.spread), |step| step.score);
                if score < bound && by.takes(table, to, mover) {
                    best = Some(Step { from, mover: *mover, to, score, spread });
                }
            }
        }
        best
    }

    fn left(&self, table: &Table<'_>, from: usize, mover: &Mover<'_>, by: &dyn Yardstick) -> Option<Point> {
        let (at, less) = (self.points[from]?, by.vm(mover, &table.rows[from]));
        Some(std::array::from_fn(|figure| at[figure] - less[figure]))
    }

    /// Score and spread after a move that leaves its source at `left`.
    fn after(
        &self,
        table: &Table<'_>,
        (from, left): (usize, &Point),
        mover: &Mover<'_>,
        to: usize,
        by: &dyn Yardstick,
    ) -> Option<(f64, Spread)> {
        let (source, target) = (self.points[from]?, self.points[to]?);
        let more = by.vm(mover, &table.rows[to]);
        let filled: Point = std::array::from_fn(|figure| target[figure] + more[figure]);
        let spread = self.spread.moved(&source, left).moved(&target, &filled);
        Some((by.score(&spread), spread))
    }

    /// What moving one given vm to one given row would come to.
    pub(super) fn would_be<'a>(
        &self,
        table: &Table<'a>,
        by: &dyn Yardstick,
        (from, mover, to): (usize, Mover<'a>, usize),
    ) -> Option<Step<'a>> {
        let left = self.left(table, from, &mover, by)?;
        let (score, spread) = self.after(table, (from, &left), &mover, to, by)?;
        Some(Step { from, mover, to, score, spread })
    }

    /// The rows that stand out at one end, by each figure that tells hosts apart at all.
    fn ends(&self, high: bool, may: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut rows = Vec::new();
        for (figure, sorted) in self.sorted.iter().enumerate() {
            if self.spread.sum[figure] <= 0.0 {
                continue;
            }
            let row = |(_, row): &(Key, usize)| *row;
            let found: Vec<usize> = if high {
                sorted.iter().rev().map(row).filter(|row| may(*row)).take(ENDS).collect()
            } else {
                sorted.iter().map(row).filter(|row| may(*row)).take(ENDS).collect()
            };
            rows.extend(found);
        }
        let mut seen = BTreeSet::new();
        rows.retain(|row| seen.insert(*row));
        rows
    }

    /// Proposes a move and goes on from there.
    pub(super) fn take<'a>(&mut self, table: &mut Table<'a>, step: Step<'a>, by: &dyn Yardstick) {
        let motive = Motive::Balance { from_spread: by.score(&self.spread).abs(), to_spread: step.score.abs() };
        table.relocate(step.from, step.mover, step.to, &motive);
        for row in [step.from, step.to] {
            self.put(row, by.host(&table.rows[row]));
        }
        self.spread = step.spread;
    }
}

/// Takes the best move again and again while `goes_on` of the score before it, at most `steps` times, as long as the
/// move is `good`. Says how many were taken.
pub(super) fn climb(
    table: &mut Table<'_>,
    by: &dyn Yardstick,
    steps: usize,
    goes_on: impl Fn(&Spread) -> bool,
    good: impl Fn(&Spread, &Spread) -> bool,
) -> usize {
    let mut scale = Scale::new(table, by);
    let mut taken = 0;
    while taken < steps && goes_on(&scale.spread) {
        let Some(step) = scale.best(table, by).filter(|step| good(&scale.spread, &step.spread)) else { break };
        scale.take(table, step, by);
        taken += 1;
    }
    taken
}

/// Shares of CPU and promised memory: what most peers balance.
pub(super) fn shares(row: &Row<'_>) -> Point {
    [row.cpu_share(), row.memory_share(), 0.0]
}

/// What a vm adds to [`shares`].
pub(super) fn shares_of(mover: &Mover<'_>, row: &Row<'_>) -> Point {
    [mover.ask.cores / row.cores, mover.memory() / row.bytes, 0.0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviation_and_imbalance_are_those_of_the_textbook() {
        let spread = Spread::of([[2.0, 0.0, 0.0], [4.0, 0.0, 0.0], [6.0, 0.0, 0.0]].into_iter());
        assert!((spread.deviation(0) - (8.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((spread.imbalance(0) - (8.0_f64 / 3.0).sqrt() / 4.0).abs() < 1e-12);
        assert_eq!(spread.imbalance(1), 0.0);
    }
}
