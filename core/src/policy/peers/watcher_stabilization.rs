//! `watcher-stabilization`: OpenStack Watcher's workload stabilization.
//!
//! Source: openstack/watcher, `workload_stabilization.py`: where the standard deviation of the hosts' CPU or memory use
//! exceeds its threshold (0.1 in the code, 0.2 in the documentation; the code counts), every vm is tried on
//! `retry_count` = 1 host drawn at random (`host_choice` = retry); the cases are sorted by the weighted deviation (both
//! weights 1) they would give, and taken in that order as long as each lowers it further, until one deviation is below
//! its threshold. Means are over 720 s for vms.
//!
//! Our reading: the hosts are drawn from the view's seed and time, so the same view draws the same hosts; a case that
//! does not lower the deviation is dropped at once, as in later versions; a host's use is the sum of its vms' means and
//! its own use; memory is what is promised. Growth: `O(vms log vms)`.

use std::time::Duration;

use crate::{
    id::VmId,
    policy::{
        Advice, Policy, View,
        peers::{
            means::{Dice, Means},
            spread::{Point, Scale, Spread, Yardstick, shares, shares_of},
            table::{Ask, Mover, Row, Table},
        },
    },
};

/// Deviation of either resource above which the fleet is stabilised.
const THRESHOLD: f64 = 0.1;
/// Time over which a vm's use is averaged.
const PERIOD: Duration = Duration::from_secs(720);

/// Workload stabilization by random retry.
#[derive(Debug, Clone)]
pub struct WatcherStabilization {
    used: Means<VmId>,
}

impl WatcherStabilization {
    /// Its name.
    pub const NAME: &'static str = "watcher-stabilization";
}

impl Default for WatcherStabilization {
    fn default() -> Self {
        Self { used: Means::over(PERIOD) }
    }
}

struct Weighted;

impl Yardstick for Weighted {
    fn host(&self, row: &Row<'_>) -> Point {
        shares(row)
    }
    fn vm(&self, mover: &Mover<'_>, row: &Row<'_>) -> Point {
        shares_of(mover, row)
    }
    fn score(&self, spread: &Spread) -> f64 {
        spread.deviation(0) + spread.deviation(1)
    }
}

fn exceeds(spread: &Spread, figure: usize) -> bool {
    spread.deviation(figure) > THRESHOLD
}

impl Policy for WatcherStabilization {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut table = Table::new(view, averaged(&mut self.used, view));
        let mut scale = Scale::new(&table, &Weighted);
        if !(0..2).any(|figure| exceeds(&scale.spread, figure)) {
            return table.advice;
        }
        for (_, from, mover, to) in cases(&table, &scale) {
            let step = scale.would_be(&table, &Weighted, (from, mover, to));
            let better = |score: f64| score < Weighted.score(&scale.spread);
            if let Some(step) = step.filter(|step| better(step.score) && table.fits(to, &mover, 1.0)) {
                scale.take(&mut table, step, &Weighted);
            }
            if !(0..2).all(|figure| exceeds(&scale.spread, figure)) {
                break;
            }
        }
        table.advice
    }
}

/// Every vm on one host drawn for it, the least deviation first.
fn cases<'a>(table: &Table<'a>, scale: &Scale) -> Vec<(f64, usize, Mover<'a>, usize)> {
    let view = table.board.view;
    let members = table.members();
    let mut dice = Dice(view.seed ^ view.snapshot.taken_at.nanos());
    let mut cases = Vec::new();
    if members.len() < 2 {
        return cases;
    }
    for (place, from) in members.iter().enumerate() {
        for mover in &table.rows[*from].movers {
            // One of the others: drawn among one less, counted on from the source.
            let to = members[(place + 1 + dice.below(members.len() - 1)) % members.len()];
            let step = scale.would_be(table, &Weighted, (*from, *mover, to));
            let lowers = step.filter(|step| step.score < Weighted.score(&scale.spread));
            cases.extend(lowers.map(|step| (step.score, *from, *mover, to)));
        }
    }
    cases.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.vm.id().cmp(&b.2.vm.id())));
    cases
}

/// Each vm's mean use, with what it uses now taken in.
pub(super) fn averaged<'m>(
    means: &'m mut Means<VmId>,
    view: View<'_>,
) -> impl FnMut(&crate::snapshot::VmView) -> Ask + 'm {
    let now = view.snapshot.taken_at;
    means.keep(|vm| view.snapshot.vms.contains_key(vm));
    for (id, vm) in &view.snapshot.vms {
        if let Some(used) = vm.cpu_used().filter(|used| used.is_sane()) {
            means.observe(id, now, used.get());
        }
    }
    |vm| means.mean(&vm.id()).map_or_else(|| Ask::used(vm), |cores| Ask { cores, radius: 0.0 })
}
