//! How sure a comparison is: paired differences over days and seeds, and bootstrap intervals for them.
//!
//! The scoreboard calls it; it knows no policy and no figure. Two policies are compared on the same days with the same
//! seeds, so that what a day or a seed does to both cancels out. Days are what a claim must generalise over and seeds of one
//! day are not independent of each other, so days are drawn first, and then seeds within each drawn day (the hierarchical
//! bootstrap, as in Davison and Hinkley 1997, 3.8). With one day and one seed there is nothing to draw, and no interval.

use std::collections::BTreeMap;

use ballast_core::units::count;
use serde::Serialize;

use crate::noise;

/// Resamples behind every interval: the ends of a 95 % interval then rest on fifty resamples each.
pub const RESAMPLES: usize = 2000;

/// Share of the resamples that lies outside an interval, half of it on each side.
const OUTSIDE: f64 = 0.05;

/// One measurement of a pair: what `one` and `other` scored under the same circumstances.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// The day, or whatever else groups measurements that are not independent.
    pub day: String,
    /// The figure of the policy that is compared.
    pub one: f64,
    /// The figure of the policy it is compared with.
    pub other: f64,
}

/// A figure with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The figure over all measurements.
    pub value: f64,
    /// 95 % percentile interval; `None` where there are fewer than two measurements.
    pub interval: Option<[f64; 2]>,
}

/// How two policies compare in one figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Contrast {
    /// Mean of one.
    pub mean: f64,
    /// Mean of the other.
    pub mean_other: f64,
    /// Median over the pairs of one less the other.
    pub median_difference: f64,
    /// Mean of one less mean of the other.
    pub difference: Estimate,
    /// Mean of one over mean of the other; `None` where the latter is zero.
    pub ratio: Option<Estimate>,
    /// Pairs behind it.
    pub pairs: usize,
}

/// Compares pair by pair; `None` where there is none, or a figure is not a finite number.
pub fn contrast(pairs: &[Paired], seed: u64) -> Option<Contrast> {
    if pairs.is_empty() || !pairs.iter().all(|pair| pair.one.is_finite() && pair.other.is_finite()) {
        return None;
    }
    let (mean_one, mean_other) = means(pairs.iter());
    let drawn: Vec<(f64, f64)> = resampled(pairs, seed);
    let differences: Vec<f64> = drawn.iter().map(|(one, other)| one - other).collect();
    let ratios: Vec<f64> = drawn.iter().filter(|(_, other)| *other != 0.0).map(|(one, other)| one / other).collect();
    let ratio = Estimate { value: mean_one / mean_other, interval: interval(ratios) };
    Some(Contrast {
        mean: mean_one,
        mean_other,
        median_difference: median(pairs.iter().map(|pair| pair.one - pair.other).collect()),
        difference: Estimate { value: mean_one - mean_other, interval: interval(differences) },
        ratio: (mean_other != 0.0).then_some(ratio),
        pairs: pairs.len(),
    })
}

/// The mean of one policy's figure with its interval; `values` are days and figures. `None` as in [`contrast`].
pub fn estimate(values: &[(String, f64)], seed: u64) -> Option<Estimate> {
    let alone = |(day, value): &(String, f64)| Paired { day: day.clone(), one: *value, other: 0.0 };
    let pairs: Vec<Paired> = values.iter().map(alone).collect();
    contrast(&pairs, seed).map(|contrast| contrast.difference)
}

/// The middle value, or the mean of the two middle ones; zero of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

/// The value below which `share` of the values lie, straight between neighbours (type 7 of Hyndman and Fan 1996); zero of
/// nothing.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A position within the values, not negative.
pub fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return 0.0 };
    let position = share.clamp(0.0, 1.0) * count(last);
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    values[below] + (values[above] - values[below]) * (position - position.floor())
}

fn means<'a>(pairs: impl Iterator<Item = &'a Paired>) -> (f64, f64) {
    let (mut one, mut other, mut number) = (0.0, 0.0, 0.0);
    for pair in pairs {
        one += pair.one;
        other += pair.other;
        number += 1.0;
    }
    (one / number, other / number)
}

fn interval(values: Vec<f64>) -> Option<[f64; 2]> {
    let ends = [OUTSIDE / 2.0, 1.0 - OUTSIDE / 2.0];
    (!values.is_empty()).then(|| ends.map(|share| percentile(values.clone(), share)))
}

/// Both means of every resample; none where a single pair leaves nothing to draw.
fn resampled(pairs: &[Paired], seed: u64) -> Vec<(f64, f64)> {
    let mut by_day: BTreeMap<&str, Vec<&Paired>> = BTreeMap::new();
    pairs.iter().for_each(|pair| by_day.entry(&pair.day).or_default().push(pair));
    let days: Vec<Vec<&Paired>> = by_day.into_values().collect();
    let resamples = if pairs.len() < 2 { 0 } else { RESAMPLES };
    (0..resamples).map(|number| means(draw(&days, noise::hash(seed, 41, number as u64)).into_iter())).collect()
}

/// As many days as there are, with replacement, and as many of its measurements of each.
fn draw<'a>(days: &[Vec<&'a Paired>], seed: u64) -> Vec<&'a Paired> {
    let mut drawn = Vec::new();
    for place in 0..days.len() {
        let day = &days[noise::index(seed, 1, place as u64, days.len())];
        let within = noise::hash(seed, 2, place as u64);
        drawn.extend((0..day.len()).map(|number| day[noise::index(within, 3, number as u64, day.len())]));
    }
    drawn
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(values: &[(usize, f64, f64)]) -> Vec<Paired> {
        values.iter().map(|(day, one, other)| Paired { day: format!("d{day}"), one: *one, other: *other }).collect()
    }

    proptest! {
        #[test]
        fn intervals_hold_the_extremes_and_a_swap_mirrors_them(
            values in prop::collection::vec((0..4usize, 1.0..100.0f64, 1.0..100.0f64), 2..20), seed in 0..1000u64,
        ) {
            let made = pairs(&values);
            let result = contrast(&made, seed).unwrap();
            let [low, high] = result.difference.interval.unwrap();
            let differences: Vec<f64> = made.iter().map(|pair| pair.one - pair.other).collect();
            let (least, most) = (percentile(differences.clone(), 0.0), percentile(differences, 1.0));
            prop_assert!(least - 1e-9 <= low && low <= high && high <= most + 1e-9);
            let swapped = made.iter().map(|pair| Paired { one: pair.other, other: pair.one, ..pair.clone() });
            let [mirrored_low, mirrored_high] =
                contrast(&swapped.collect::<Vec<_>>(), seed).unwrap().difference.interval.unwrap();
            prop_assert!((mirrored_low + high).abs() < 1e-9 && (mirrored_high + low).abs() < 1e-9);
        }

        #[test]
        fn what_moves_both_alike_moves_no_difference(
            values in prop::collection::vec((0..4usize, 1.0..100.0f64), 2..20), shift in -5.0..5.0f64,
        ) {
            let made: Vec<_> = values.iter().map(|(day, other)| (*day, other + shift, *other)).collect();
            let result = contrast(&pairs(&made), 1).unwrap().difference;
            let [low, high] = result.interval.unwrap();
            prop_assert!((low - shift).abs() < 1e-9 && (high - shift).abs() < 1e-9 && (result.value - shift).abs() < 1e-9);
        }

        #[test]
        fn the_order_of_measurements_within_days_changes_no_mean(
            mut values in prop::collection::vec((0..4usize, 1.0..100.0f64, 1.0..100.0f64), 1..20),
        ) {
            let before = contrast(&pairs(&values), 1).unwrap();
            values.reverse();
            let after = contrast(&pairs(&values), 1).unwrap();
            prop_assert!((before.mean - after.mean).abs() < 1e-9);
            prop_assert!((before.median_difference - after.median_difference).abs() < 1e-9);
        }
    }

    #[test]
    fn an_interval_covers_the_true_mean_about_as_often_as_it_says() {
        let covered = (0..300u64).filter(|trial| {
            let value = |number: u64| noise::bump(*trial, 5, number);
            let values: Vec<(String, f64)> = (0..20).map(|day| (day.to_string(), value(day))).collect();
            let [low, high] = estimate(&values, *trial).unwrap().interval.unwrap();
            (low..=high).contains(&0.0)
        });
        let share = count(covered.count()) / 300.0;
        assert!((0.88..0.99).contains(&share), "{share}");
    }

    #[test]
    fn days_that_differ_widen_the_interval_and_more_seeds_of_them_do_not_narrow_it() {
        let of = |seeds: usize| {
            let values: Vec<_> = (0..4).flat_map(|day| vec![(day, 10.0 * count(day), 0.0); seeds]).collect();
            let [low, high] = contrast(&pairs(&values), 1).unwrap().difference.interval.unwrap();
            high - low
        };
        assert!((of(1) - of(50)).abs() < 1e-9 && of(1) > 10.0);
    }

    #[test]
    fn one_pair_has_no_interval_and_none_no_contrast() {
        let one = contrast(&pairs(&[(1, 3.0, 2.0)]), 1).unwrap();
        assert_eq!((one.difference, one.pairs), (Estimate { value: 1.0, interval: None }, 1));
        assert_eq!(one.ratio, Some(Estimate { value: 1.5, interval: None }));
        assert_eq!(contrast(&[], 1), None);
        assert_eq!(contrast(&pairs(&[(1, f64::NAN, 2.0)]), 1), None);
        assert_eq!(contrast(&pairs(&[(1, 1.0, 0.0)]), 1).unwrap().ratio, None);
    }

    #[test]
    fn medians_and_percentiles_are_the_usual_ones() {
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0, 2.0, 3.0]), median(vec![])), (2.0, 2.5, 0.0));
        assert_eq!(percentile(vec![1.0, 2.0, 3.0, 4.0, 5.0], 0.95), 4.8);
        assert_eq!(percentile(vec![], 0.5), 0.0);
    }
}
