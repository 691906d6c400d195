//! Whether one method is better than another, or was only lucky with its vms: paired bootstrap (Efron and Tibshirani 1993).
//!
//! Whole vms are drawn with replacement, each with what both methods were off by on it; where vms are clones of one another,
//! whole blocks of them.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use crate::split::BLOCK;

/// Draws of all vms.
const RESAMPLES: usize = 1000;

/// Ends of the interval: nineteen draws of twenty lie in it.
const ENDS: [f64; 2] = [0.025, 0.975];

/// Errors of a method and of its reference, summed over one vm.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pair {
    /// Of the method.
    pub own: f64,
    /// Of the reference.
    pub reference: f64,
}

/// How a method's error differs from the reference's, as a share of that; less than zero where it is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Over all vms.
    pub relative: f64,
    /// 95 % interval, drawing vms.
    pub by_vm: [f64; 2],
    /// 95 % interval, drawing blocks of neighbouring vms; none where names are no numbers.
    pub by_block: Option<[f64; 2]>,
}

/// What is drawn, 1000 times: for each unit which ones take its place. The same for every method, so that all are compared on
/// the same draws.
#[derive(Debug, Clone)]
pub struct Resampling {
    /// Index of the unit of each vm.
    units: Vec<usize>,
    number: usize,
    draws: Vec<u32>,
}

impl Resampling {
    /// Draws the vms that have the same label together.
    pub fn new<L: Ord>(labels: &[L], seed: u64) -> Self {
        let mut known: BTreeMap<&L, usize> = BTreeMap::new();
        let units = labels.iter().map(|label| {
            let next = known.len();
            *known.entry(label).or_insert(next)
        });
        let units: Vec<usize> = units.collect();
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let number = known.len();
        let top = u32::try_from(number).unwrap_or(u32::MAX);
        let draws = if number == 0 {
            Vec::new()
        } else {
            (0..RESAMPLES * number).map(|_| random.random_range(0..top)).collect()
        };
        Self { units, number, draws }
    }

    /// How many units there are.
    pub fn units(&self) -> usize {
        self.number
    }

    /// The interval of the relative difference; the pairs are the vms' in the order of the labels.
    pub fn interval(&self, pairs: &[Pair]) -> [f64; 2] {
        let mut sums = vec![Pair::default(); self.number];
        for (unit, pair) in self.units.iter().zip(pairs) {
            sums[*unit].own += pair.own;
            sums[*unit].reference += pair.reference;
        }
        let draws = self.draws.chunks_exact(self.number.max(1));
        let drawn = draws.map(|drawn| relative(drawn.iter().filter_map(|unit| sums.get(usize::try_from(*unit).ok()?))));
        let mut drawn: Vec<f64> = drawn.collect();
        drawn.sort_by(f64::total_cmp);
        ENDS.map(|end| at(&drawn, end))
    }
}

/// The difference of the sums as a share of the reference's; 0 where both are 0.
pub(super) fn relative<'a>(pairs: impl Iterator<Item = &'a Pair>) -> f64 {
    let (own, reference) =
        pairs.fold((0.0, 0.0), |(own, reference), pair| (own + pair.own, reference + pair.reference));
    if own == reference { 0.0 } else { own / reference - 1.0 }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a thousand")]
fn at(sorted: &[f64], level: f64) -> f64 {
    let place = level * sorted.len().saturating_sub(1) as f64;
    sorted.get(place.round() as usize).copied().unwrap_or(f64::NAN)
}

/// The block of each vm, of ten ids from 1 on; `None` where a name is no number.
pub fn blocks(names: &[&str]) -> Option<Vec<u32>> {
    names.iter().map(|name| Some(name.parse::<u32>().ok()?.checked_sub(1)? / BLOCK)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(number: u32, own: impl Fn(u32) -> f64) -> Vec<Pair> {
        (0..number).map(|vm| Pair { own: own(vm), reference: 1.0 }).collect()
    }

    #[test]
    fn a_method_that_is_better_on_every_vm_is_surely_better() {
        let labels: Vec<u32> = (0..50).collect();
        let pairs = pairs(50, |vm| 0.8 + f64::from(vm % 5) * 0.01);
        let [low, high] = Resampling::new(&labels, 1).interval(&pairs);
        assert!(-0.2 < low && low < relative(pairs.iter()) && relative(pairs.iter()) < high && high < -0.15);
    }

    #[test]
    fn a_method_that_is_better_on_half_the_vms_may_be_no_better() {
        let labels: Vec<u32> = (0..50).collect();
        let [low, high] = Resampling::new(&labels, 1).interval(&pairs(50, |vm| if vm % 2 == 0 { 0.5 } else { 1.5 }));
        assert!(low < 0.0 && high > 0.0 && high - low > 0.15, "{low} {high}");
    }

    #[test]
    fn clones_drawn_together_make_the_interval_wider() {
        let names: Vec<String> = (1..=100).map(|id: u32| id.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let blocks = blocks(&names).unwrap();
        assert_eq!((blocks[0], blocks[9], blocks[10], blocks[99]), (0, 0, 1, 9));
        let pairs = pairs(100, |vm| if vm / 10 % 2 == 0 { 0.5 } else { 1.5 });
        let width = |[low, high]: [f64; 2]| high - low;
        let (by_vm, by_block) = (Resampling::new(&names, 1), Resampling::new(&blocks, 1));
        assert_eq!((by_vm.units(), by_block.units()), (100, 10));
        assert!(width(by_block.interval(&pairs)) > 2.0 * width(by_vm.interval(&pairs)));
    }

    #[test]
    fn names_that_are_no_numbers_have_no_blocks() {
        assert_eq!(blocks(&["1", "host.example"]), None);
    }
}
