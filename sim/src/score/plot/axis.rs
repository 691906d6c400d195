//! One axis: the range it shows, its ticks, and where a value lies.

use ballast_core::units::count;

/// Ticks aimed at.
const TICKS: f64 = 7.0;

/// Room left beyond the outermost values, as a share of the range.
const MARGIN: f64 = 0.06;

/// A straight scale from values to pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
    /// Pixels of both ends.
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis that shows all `values`, and nothing below zero unless they do.
    pub(super) fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let span = if high > low { high - low } else { low.abs().max(1.0) };
        let begin = if low >= 0.0 { (low - span * MARGIN).max(0.0) } else { low - span * MARGIN };
        let end = high + span * MARGIN;
        let step = round_step((end - begin) / TICKS);
        Self { low: (begin / step).floor() * step, high: (end / step).ceil() * step, step, from, to }
    }

    /// Where a value lies, pixels.
    pub(super) fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// The ticks with their texts: as many digits as the step needs.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // A step is a power of ten, or 2 or 5 of them.
        let digits = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        let values = (0usize..).map(|number| self.low + count(number) * self.step);
        let within = values.take_while(|value| *value <= self.high + self.step / 2.0);
        within
            .map(|value| (value, format!("{:.digits$}", if value.abs() < self.step / 2.0 { 0.0 } else { value })))
            .collect()
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let of = [1.0, 2.0, 5.0].into_iter().find(|of| rough <= of * power * (1.0 + 1e-9)).unwrap_or(10.0);
    of * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[f64]) -> Vec<String> {
        Axis::around(values.iter().copied(), 0.0, 100.0).ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_and_reach_around_all_values() {
        assert_eq!(texts(&[0.0, 8.3]), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(texts(&[114.5, 163.4]), ["110", "120", "130", "140", "150", "160", "170"]);
        assert_eq!(
            texts(&[0.001, 0.004]),
            ["0.0005", "0.0010", "0.0015", "0.0020", "0.0025", "0.0030", "0.0035", "0.0040", "0.0045"]
        );
        assert_eq!(texts(&[f64::NAN]).len(), 7);
        assert!(texts(&[5.0, 5.0]).len() > 2);
    }

    #[test]
    fn values_lie_between_their_ticks() {
        let axis = Axis::around([0.0, 10.0].into_iter(), 500.0, 100.0);
        assert_eq!(axis.at(0.0), 500.0);
        assert!(axis.at(10.0) > 100.0 && axis.at(10.0) < axis.at(5.0));
    }
}
