//! `proxlb-usage`: ProxLB's balancing by used memory.
//!
//! Source: credativ/ProxLB 2.2, `calculations.py`, with its defaults: method memory, mode used, balanciness 10. While the
//! fullest and the emptiest host are more than 10 points apart, the vms are gone through from the least memory used to
//! the most; each one on the fullest host goes to the emptiest, if its memory fits there.
//!
//! Our reading: every vm is its own affinity group; a host's memory in use is what it measures, or what is promised where
//! it does not. Growth: `O(vms log vms)`.

use std::collections::BTreeSet;

use crate::{
    policy::{
        Advice, Policy, View,
        peers::table::{Ask, Key, Mover, Table},
    },
    proposal::Motive,
};

/// Points of memory use between the fullest and the emptiest host that are tolerated.
const BALANCINESS: f64 = 10.0;

/// Balancing by used memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProxlbUsage;

impl ProxlbUsage {
    /// Its name.
    pub const NAME: &'static str = "proxlb-usage";
}

/// Bytes the vm uses: the balloon's account, or what its process holds, or what is promised.
fn used(mover: &Mover<'_>) -> f64 {
    let sample = mover.vm.sample.as_ref();
    let known = sample.and_then(|sample| sample.memory_used.value().or(sample.memory_resident.value()));
    known.unwrap_or_else(|| mover.vm.memory_reserved()).as_f64()
}

/// The hosts by the share of memory in use, in percent.
struct Usage {
    percent: Vec<f64>,
    sorted: BTreeSet<(Key, usize)>,
}

impl Usage {
    fn of(table: &Table<'_>) -> Self {
        let percent = |row: usize| {
            let measured = table.board.slots[row].host.sample.and_then(|sample| sample.memory_used.value());
            let share = measured.map_or(table.rows[row].memory_share(), |used| used.as_f64() / table.rows[row].bytes);
            100.0 * share
        };
        let percent: Vec<f64> = (0..table.rows.len()).map(percent).collect();
        let sorted = table.members().into_iter().map(|row| (Key(percent[row]), row)).collect();
        Self { percent, sorted }
    }

    fn ends(&self) -> Option<(usize, usize)> {
        Some((self.sorted.first()?.1, self.sorted.last()?.1))
    }

    fn apart(&self, (low, high): (usize, usize)) -> f64 {
        self.percent[high] - self.percent[low]
    }

    fn add(&mut self, row: usize, percent: f64) {
        self.sorted.remove(&(Key(self.percent[row]), row));
        self.percent[row] += percent;
        self.sorted.insert((Key(self.percent[row]), row));
    }
}

impl Policy for ProxlbUsage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn propose(&mut self, view: View<'_>) -> Advice {
        let mut table = Table::new(view, Ask::used);
        let mut usage = Usage::of(&table);
        let movers = |row: usize| table.rows[row].movers.iter().map(move |mover| (row, *mover));
        let mut all: Vec<(usize, Mover<'_>)> = table.members().into_iter().flat_map(movers).collect();
        all.sort_by(|a, b| used(&a.1).total_cmp(&used(&b.1)).then(a.1.vm.id().cmp(&b.1.vm.id())));
        for (row, mover) in all {
            let Some(ends) = usage.ends().filter(|ends| usage.apart(*ends) > BALANCINESS) else { break };
            if ends.1 == row && table.fits(ends.0, &mover, f64::INFINITY) {
                shift(&mut table, &mut usage, mover, ends);
            }
        }
        table.advice
    }
}

fn shift<'a>(table: &mut Table<'a>, usage: &mut Usage, mover: Mover<'a>, (low, high): (usize, usize)) {
    let before = usage.apart((low, high));
    usage.add(high, -100.0 * used(&mover) / table.rows[high].bytes);
    usage.add(low, 100.0 * used(&mover) / table.rows[low].bytes);
    let after = usage.ends().map_or(before, |ends| usage.apart(ends));
    let motive = Motive::Balance { from_spread: before / 100.0, to_spread: after / 100.0 };
    table.relocate(high, mover, low, &motive);
}
