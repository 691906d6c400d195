//! Whether a host is overloaded, by the history of its load: numbers in, yes or no out.
//!
//! Histories are shares of the host's capacity, one per step, oldest first, at most [`HISTORY`] of them. Called by the
//! textbook policy on the fleet's samples and by the simulation's faithful benchmark, whose figures depend on the order
//! of every addition here.

use super::rule::Detector;

/// Steps of history that are looked at.
pub const HISTORY: usize = 30;

/// Share of capacity above which a host counts as overloaded while its history is too short for its rule.
pub const FALLBACK_LIMIT: f64 = 0.7;

/// Values that the regressions go through: few enough to follow a change.
const REGRESSED: usize = 10;

/// Values below which a spread means nothing.
const LEAST_FOR_SPREAD: usize = 12;

/// Position of the next step beyond the line's last value, which is the step by which a migration has ended.
const NEXT: f64 = 11.0;

/// What a rule of detection makes of a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// What it looks at, as a share of capacity: the load asked for, or for the regressions the load at the next step
    /// times the safety factor.
    pub load: f64,
    /// Where being overloaded begins.
    pub limit: f64,
    /// Whether the host is overloaded.
    pub is_over: bool,
}

impl Detector {
    /// Judges a host with this history, oldest first, whose vms ask for `requested` (a share of its capacity, above one
    /// where they ask for more). `weighted` has the regressions weigh recent values more.
    pub fn judge(self, history: &[f64], requested: f64, weighted: bool) -> Verdict {
        let known = known(history);
        if let Some(ahead) = self.ahead(known, weighted) {
            return Verdict { load: ahead, limit: 1.0, is_over: ahead >= 1.0 };
        }
        let limit = self.limit(known);
        Verdict { load: requested, limit, is_over: requested > limit }
    }

    /// The load at the next step times the safety factor; only the regressions say so, and only with history enough.
    fn ahead(self, known: &[f64], weighted: bool) -> Option<f64> {
        let (Self::Regression(safety) | Self::RobustRegression(safety)) = self else { return None };
        let last = known.last_chunk::<REGRESSED>()?;
        let line = match (weighted, self) {
            (false, _) => line(last),
            (true, Self::RobustRegression(_)) => robust_line(last),
            (true, _) => weighted_line(last, &tricube()),
        };
        Some(line.at(NEXT) * safety)
    }

    /// The share of capacity above which a host with this history is overloaded; for the regressions, the one they fall
    /// back on.
    pub fn limit(self, history: &[f64]) -> f64 {
        let known = known(history);
        let has_spread = known.len() >= LEAST_FOR_SPREAD;
        match self {
            Self::Threshold(limit) => limit,
            Self::InterQuartile(safety) if has_spread => 1.0 - safety * interquartile_range(known),
            Self::Deviation(safety) if has_spread => 1.0 - safety * median_deviation(known),
            _ => FALLBACK_LIMIT,
        }
    }
}

/// The history without the zeros it begins with, which stand for times before there was anything to record.
fn known(history: &[f64]) -> &[f64] {
    let newest = &history[history.len().saturating_sub(HISTORY)..];
    let first = newest.iter().position(|value| *value != 0.0).unwrap_or(newest.len());
    &newest[first..]
}

/// A straight line over positions 1, 2, 3 …
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Its value at position 0.
    pub intercept: f64,
    /// What it rises by per position.
    pub slope: f64,
}

impl Line {
    /// Its value at a position.
    pub fn at(self, position: f64) -> f64 {
        self.intercept + self.slope * position
    }
}

/// The least-squares line through `values` at positions 1, 2, 3 …, by Welford's running sums.
pub fn line(values: &[f64; REGRESSED]) -> Line {
    let (mut x_mean, mut y_mean, mut xx, mut xy, mut x_sum, mut y_sum) = (1.0, values[0], 0.0, 0.0, 1.0, values[0]);
    let mut before = 1.0;
    for value in &values[1..] {
        let now = before + 1.0;
        let (dx, dy, share) = (now - x_mean, value - y_mean, before / now);
        xx += dx * dx * share;
        xy += dx * dy * share;
        x_mean += dx / now;
        y_mean += dy / now;
        x_sum += now;
        y_sum += value;
        before = now;
    }
    let slope = xy / xx;
    Line { intercept: (y_sum - slope * x_sum) / before, slope }
}

/// Cleveland's tricube weights for the last of the positions, squared, as the fit before release 3.0.3 took them: with a
/// deviation of `1/k` each value weighs `k²`. The first two positions, whose weight would be next to nothing, count as
/// the third.
fn tricube() -> [f64; REGRESSED] {
    let top = crate::units::count(REGRESSED - 1);
    std::array::from_fn(|index| {
        let distance = (top - crate::units::count(index.max(2))) / top;
        (1.0 - distance.powi(3)).powi(3).powi(2)
    })
}

/// The weighted least-squares line through `values` at positions 1, 2, 3 …
pub fn weighted_line(values: &[f64; REGRESSED], weights: &[f64; REGRESSED]) -> Line {
    let points =
        || values.iter().zip(weights).enumerate().map(|(index, (y, w))| (crate::units::count(index + 1), *y, *w));
    let total: f64 = points().map(|(_, _, w)| w).sum();
    let x_mean = points().map(|(x, _, w)| w * x).sum::<f64>() / total;
    let y_mean = points().map(|(_, y, w)| w * y).sum::<f64>() / total;
    let xx: f64 = points().map(|(x, _, w)| w * (x - x_mean).powi(2)).sum();
    let xy: f64 = points().map(|(x, y, w)| w * (x - x_mean) * (y - y_mean)).sum();
    let slope = xy / xx;
    Line { intercept: y_mean - slope * x_mean, slope }
}

/// The weighted line, fitted again with what lies far from it counting less (bisquare weights, Cleveland 1979); the first
/// fit where nothing is left to weigh.
fn robust_line(values: &[f64; REGRESSED]) -> Line {
    let first = weighted_line(values, &tricube());
    let residuals: [f64; REGRESSED] =
        std::array::from_fn(|index| values[index] - first.at(crate::units::count(index + 1)));
    let mut sizes = residuals.map(f64::abs);
    sizes.sort_unstable_by(f64::total_cmp);
    let scale = median(&sizes) * 6.0;
    let bisquare = |index: usize| (1.0 - (residuals[index.max(2)] / scale).powi(2)).max(0.0).powi(2);
    let tricube = tricube();
    let weights: [f64; REGRESSED] = std::array::from_fn(|index| tricube[index] * bisquare(index).powi(2));
    let second = weighted_line(values, &weights);
    if second.intercept.is_finite() && second.slope.is_finite() { second } else { first }
}

/// Distance between the quartiles, each the nearest value of the sorted history.
pub fn interquartile_range(values: &[f64]) -> f64 {
    let sorted = Sorted::of(values);
    let place = |share: f64| {
        let place = crate::units::Bytes::from_f64((share * crate::units::count(sorted.len + 1) + 0.5).floor()).get();
        usize::try_from(place).unwrap_or(usize::MAX).saturating_sub(1).min(sorted.len.saturating_sub(1))
    };
    sorted.values[place(0.75)] - sorted.values[place(0.25)]
}

/// Median distance from the median.
pub fn median_deviation(values: &[f64]) -> f64 {
    let mut sorted = Sorted::of(values);
    let middle = median(sorted.get());
    sorted.values[..sorted.len].iter_mut().for_each(|value| *value = (middle - *value).abs());
    sorted.values[..sorted.len].sort_unstable_by(f64::total_cmp);
    median(sorted.get())
}

/// The newest [`HISTORY`] values in rising order.
struct Sorted {
    values: [f64; HISTORY],
    len: usize,
}

impl Sorted {
    fn of(values: &[f64]) -> Self {
        let newest = &values[values.len().saturating_sub(HISTORY)..];
        let mut sorted = Self { values: [0.0; HISTORY], len: newest.len() };
        sorted.values[..newest.len()].copy_from_slice(newest);
        sorted.values[..newest.len()].sort_unstable_by(f64::total_cmp);
        sorted
    }

    fn get(&self) -> &[f64] {
        &self.values[..self.len]
    }
}

/// The median of sorted values: the middle one, or half-way between the two; 0 of none.
fn median(sorted: &[f64]) -> f64 {
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low_value), Some(_)) if low == high => *low_value,
        (Some(low), Some(high)) => low + 0.5 * (high - low),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RISING: [f64; 10] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

    fn is_over(detector: Detector, history: &[f64], requested: f64) -> bool {
        detector.judge(history, requested, false).is_over
    }

    fn is_near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn the_line_is_the_one_worked_out_by_hand() {
        let straight = line(&RISING);
        is_near(straight.slope, 0.1);
        is_near(straight.intercept, -0.1);
        // 1 at position 10, else 0: slope Σ(x-5.5)(y-0.1)/82.5 = 4.5/82.5, mean 0.1.
        let mut spike = [0.0; 10];
        spike[9] = 1.0;
        let spike = line(&spike);
        is_near(spike.slope, 4.5 / 82.5);
        is_near(spike.intercept, 0.1 - 5.5 * 4.5 / 82.5);
    }

    #[test]
    fn weights_change_the_line_only_where_values_do_not_lie_on_one() {
        let straight = weighted_line(&RISING, &tricube());
        is_near(straight.slope, 0.1);
        is_near(straight.at(NEXT), 1.0);
        let level = weighted_line(&[0.5; 10], &[1.0; 10]);
        is_near(level.slope, 0.0);
        // Equal weights give the unweighted line.
        let values = [0.3, 0.1, 0.4, 0.1, 0.5, 0.9, 0.2, 0.6, 0.5, 0.3];
        is_near(weighted_line(&values, &[2.0; 10]).at(NEXT), line(&values).at(NEXT));
        assert!((weighted_line(&values, &tricube()).at(NEXT) - line(&values).at(NEXT)).abs() > 0.01);
    }

    #[test]
    fn the_newest_value_weighs_most_and_the_first_three_alike() {
        let weights = tricube();
        is_near(weights[9], 1.0);
        assert_eq!((weights[0], weights[1]), (weights[2], weights[2]));
        assert!(weights[2..].is_sorted());
        // Position 6 of 10: k = (1 - (4/9)³)³.
        is_near(weights[5], (1.0f64 - (4.0f64 / 9.0).powi(3)).powi(6));
    }

    #[test]
    fn the_robust_line_forgives_one_value() {
        let mut values = [0.5; 10];
        values[2..].copy_from_slice(&[0.51, 0.5, 0.49, 0.5, 0.51, 0.5, 0.5, 0.5]);
        let calm = robust_line(&values).at(NEXT);
        values[8] = 1.0;
        let plain = weighted_line(&values, &tricube()).at(NEXT);
        let robust = robust_line(&values).at(NEXT);
        assert!((robust - calm).abs() < (plain - calm).abs() / 2.0, "{calm} {plain} {robust}");
        assert_eq!(robust_line(&[0.5; 10]), weighted_line(&[0.5; 10], &tricube()), "nothing to weigh by");
    }

    #[test]
    fn quartiles_are_the_nearest_values() {
        // 1 to 12: positions round(3.25) = 3 and round(9.75) = 10.
        let values: Vec<f64> = (1..=12).rev().map(f64::from).collect();
        is_near(interquartile_range(&values), 7.0);
        // 1 to 13: positions round(3.5) = 4 and round(10.5) = 11.
        let values: Vec<f64> = (1..=13).map(f64::from).collect();
        is_near(interquartile_range(&values), 7.0);
    }

    #[test]
    fn the_median_deviation_is_the_one_worked_out_by_hand() {
        // Median 2; distances 1 1 0 0 2 4 7 sorted 0 0 1 1 2 4 7.
        is_near(median_deviation(&[1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 9.0]), 1.0);
        // Median 2.5; distances 1.5 0.5 0.5 1.5.
        is_near(median_deviation(&[1.0, 2.0, 3.0, 4.0]), 1.0);
    }

    #[test]
    fn a_short_history_falls_back_on_a_fixed_limit() {
        for detector in &Detector::DEFAULTS[1..] {
            assert!(!is_over(*detector, &[0.9; 9], 0.7));
            assert!(is_over(*detector, &[0.9; 9], 0.71));
        }
        // Zeros at the old end are no history.
        let mut history = [0.0; 30];
        history[21..].fill(0.9);
        assert!(!is_over(Detector::Regression(1.2), &history, 0.5));
        history[20] = 0.9;
        assert!(is_over(Detector::Regression(1.2), &history, 0.5));
    }

    #[test]
    fn each_rule_detects_what_it_says() {
        assert!(is_over(Detector::Threshold(0.8), &[], 0.81));
        assert!(!is_over(Detector::Threshold(0.8), &[1.0; 30], 0.8));
        // A level history: no spread, limit 1.
        for detector in [Detector::InterQuartile(1.5), Detector::Deviation(2.5)] {
            is_near(detector.limit(&[0.5; 12]), 1.0);
        }
        // Half at 0.4, half at 0.6: quartiles 0.2 apart, deviation 0.1.
        let mut halves = [0.4; 12];
        halves[6..].fill(0.6);
        is_near(Detector::InterQuartile(1.5).limit(&halves), 0.7);
        is_near(Detector::Deviation(2.5).limit(&halves), 0.75);
        // The line reaches 1.0 at the next step.
        assert!(is_over(Detector::Regression(1.01), &[[0.1; 1].as_slice(), &RISING].concat(), 0.0));
        assert!(!is_over(Detector::Regression(0.99), &[[0.1; 1].as_slice(), &RISING].concat(), 1.0));
    }
}
