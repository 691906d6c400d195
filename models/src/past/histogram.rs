//! How often which value was seen within the last day: quantiles of a ring of any length, at a fixed price per value.

use serde::{Deserialize, Serialize};

/// Bins, of a tenth of the scale each: 10 % of a level. What is above the last one is in it.
const BINS: usize = 64;

/// Width of a bin on the scale.
const WIDTH: f32 = 0.1;

/// Numbers of values by bin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    bins: Vec<u16>,
    values: u16,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0; BINS], values: 0 }
    }
}

impl Histogram {
    /// A value came; NaN changes nothing.
    pub(super) fn add(&mut self, value: f32) {
        if let Some(bin) = bin_of(value) {
            self.bins[bin] = self.bins[bin].saturating_add(1);
            self.values = self.values.saturating_add(1);
        }
    }

    /// A value went that had come before.
    pub(super) fn remove(&mut self, value: f32) {
        if let Some(bin) = bin_of(value) {
            self.bins[bin] = self.bins[bin].saturating_sub(1);
            self.values = self.values.saturating_sub(1);
        }
    }

    /// The quantiles at `levels`, which rise from 0 to 1, within a bin as if its values were spread evenly; `otherwise` where
    /// there are no values.
    pub fn quantiles<const N: usize>(&self, levels: [f32; N], otherwise: f32) -> [f32; N] {
        if self.values == 0 {
            return [otherwise; N];
        }
        let all = f32::from(self.values);
        let (mut below, mut bin) = (0.0, 0);
        levels.map(|level| {
            let wanted = level * all;
            while bin + 1 < BINS && below + f32::from(self.bins[bin]) < wanted {
                below += f32::from(self.bins[bin]);
                bin += 1;
            }
            let within = (wanted - below) / f32::from(self.bins[bin]).max(1.0);
            (bin as f32 + within.clamp(0.0, 1.0)) * WIDTH
        })
    }

    pub(super) fn is_sound(&self) -> bool {
        self.bins.len() == BINS && self.bins.iter().map(|bin| u32::from(*bin)).sum::<u32>() == u32::from(self.values)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "values of the scale are not negative")]
fn bin_of(value: f32) -> Option<usize> {
    (!value.is_nan()).then(|| ((value.max(0.0) / WIDTH) as usize).min(BINS - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_values_it_says_what_it_is_told() {
        assert_eq!(Histogram::default().quantiles([0.5], 3.0), [3.0]);
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_values_within_a_bin(values in prop::collection::vec(0.0..6.3f32, 1..200)) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            let mut sorted = values;
            sorted.sort_by(f32::total_cmp);
            let levels = [0.1, 0.5, 0.9, 0.99];
            for (level, quantile) in levels.into_iter().zip(histogram.quantiles(levels, 0.0)) {
                let at = sorted.iter().enumerate().position(|(index, _)| (index + 1) as f32 >= level * sorted.len() as f32);
                let at = at.unwrap_or(sorted.len() - 1);
                prop_assert!((quantile - sorted[at]).abs() <= WIDTH + 1e-4, "{level}: {quantile} and {}", sorted[at]);
            }
        }

        #[test]
        fn what_went_is_forgotten(stay in prop::collection::vec(0.0..9.0f32, 0..50), go in prop::collection::vec(0.0..9.0f32, 0..50)) {
            let (mut both, mut one) = (Histogram::default(), Histogram::default());
            stay.iter().for_each(|value| one.add(*value));
            stay.iter().chain(&go).for_each(|value| both.add(*value));
            go.iter().for_each(|value| both.remove(*value));
            prop_assert_eq!(both, one);
        }
    }
}
