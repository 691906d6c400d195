//! What a vm adds to a sum: mean and deviation of its CPU as its own errors tell them.
//!
//! A host's vms are added up by their means and variances, to which rare bursts matter that no quantile up to 99 % knows of, and
//! pinball loss teaches quantiles, not means. On PlanetLab the mean of the network's quantiles is 8 to 9 % too low half an hour
//! ahead, and their deviation a third too small (`cargo bench -p ballast --bench sums`). Each vm's means are therefore
//! corrected by the mean of what was wrong with them lately, and what was wrong beyond that is their variance.

use ballast_core::forecast::{Moments, STEPS};
use serde::{Deserialize, Serialize};

/// Slots after which an old error counts half. With an hour sums err as little as those of exponential means; with two and
/// with six they err up to 2 and 6 % more an hour ahead.
const HALF_LIFE: f32 = 12.0;

/// Errors that weigh as much as what the quantiles say.
const FEW: f64 = 6.0;

/// So many times the variance that the quantiles say was found (1.6 to 2.3).
const UNDERSTATED: f64 = 2.0;

/// Where each step's means of the slots to come begin, and how many there are.
const WAITING: usize = STEPS[0] + STEPS[1] + STEPS[2];

/// What is kept of one vm, in shares of its vCPUs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Residuals {
    newest: u32,
    /// Means that were said of slots to come, by step and slot modulo the step; NaN where none was.
    said: [f32; WAITING],
    error: [f32; STEPS.len()],
    variance: [f32; STEPS.len()],
    errors: [u16; STEPS.len()],
}

impl Residuals {
    /// Of a vm of which nothing was said yet.
    pub(super) fn new() -> Self {
        Self {
            newest: 0,
            said: [f32::NAN; WAITING],
            error: [0.0; STEPS.len()],
            variance: [0.0; STEPS.len()],
            errors: [0; STEPS.len()],
        }
    }

    /// False for numbers that no errors lead to.
    pub(super) fn is_sound(&self) -> bool {
        self.error.iter().all(|error| error.is_finite())
            && self.variance.iter().all(|one| one.is_finite() && *one >= 0.0)
    }

    /// A slot is over in which `share` of the vCPUs was used, NaN where that is not known.
    pub(super) fn came(&mut self, slot: u32, share: f32) {
        if slot != self.newest.wrapping_add(1) {
            self.said.fill(f32::NAN);
        }
        self.newest = slot;
        for step in 0..STEPS.len() {
            // What was said is set against what came once, whatever is said of the slots after it.
            let mean = std::mem::replace(&mut self.said[place(step, slot)], f32::NAN);
            let wrong = share - mean;
            if wrong.is_finite() {
                self.learn(step, wrong);
            }
        }
    }

    /// While little is known, each error counts as much as any before it.
    fn learn(&mut self, step: usize, wrong: f32) {
        self.errors[step] = self.errors[step].saturating_add(1);
        let weight = (1.0 - (-HALF_LIFE.recip()).exp2()).max(1.0 / f32::from(self.errors[step]));
        self.error[step] += weight * (wrong - self.error[step]);
        self.variance[step] += weight * ((wrong - self.error[step]).powi(2) - self.variance[step]);
    }

    /// After the newest slot these means were said, by step.
    #[expect(clippy::cast_possible_truncation, reason = "a share")]
    pub(super) fn said(&mut self, means: [f64; STEPS.len()]) {
        for (step, mean) in means.into_iter().enumerate() {
            self.said[place(step, self.newest)] = mean as f32;
        }
    }

    /// Mean and deviation by step, in cores, where the quantiles alone say `said` of a vm of so many vCPUs.
    pub(super) fn corrected(&self, said: [Moments; STEPS.len()], vcpus: f64) -> [Moments; STEPS.len()] {
        std::array::from_fn(|step| {
            let errors = f64::from(self.errors[step]);
            let known = errors / (errors + FEW);
            let Moments { mean, deviation } = said[step];
            let assumed = UNDERSTATED * deviation * deviation;
            let variance = known * f64::from(self.variance[step]) * vcpus * vcpus + (1.0 - known) * assumed;
            // A burst that is foreseen is not made smaller by a quiet hour before it.
            let variance = variance.max(deviation * deviation);
            Moments { mean: (mean + known * f64::from(self.error[step]) * vcpus).max(0.0), deviation: variance.sqrt() }
        })
    }
}

/// Where the mean for `slot` stands that is said so many slots before it: a slot of the same remainder is due only once the
/// one before it has come.
fn place(step: usize, slot: u32) -> usize {
    let begin: usize = STEPS[..step].iter().sum();
    begin + slot as usize % STEPS[step]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: [Moments; STEPS.len()] = [Moments { mean: 0.2, deviation: 0.01 }; STEPS.len()];

    fn after(slots: u32, share: impl Fn(u32) -> f32) -> [Moments; STEPS.len()] {
        let mut residuals = Residuals::new();
        for slot in 1..=slots {
            residuals.came(slot, share(slot));
            residuals.said(SAID.map(|one| one.mean));
        }
        residuals.corrected(SAID, 1.0)
    }

    #[test]
    fn a_mean_that_is_always_too_low_is_raised_at_every_step() {
        for (index, one) in after(200, |_| 0.3).iter().enumerate() {
            assert!((one.mean - 0.3).abs() < 0.005 && one.deviation < 0.02, "step {index}: {one:?}");
        }
    }

    #[test]
    fn bursts_that_no_quantile_tells_of_widen_the_deviation() {
        let moments = after(400, |slot| if slot % 20 == 0 { 1.0 } else { 0.16 });
        assert!(moments[0].deviation > 0.1, "{moments:?}");
    }

    #[test]
    fn before_anything_came_the_quantiles_are_believed_but_for_their_narrowness() {
        let [first, ..] = after(1, |_| 0.9);
        assert!((first.mean - 0.2).abs() < 1e-12);
        assert!((first.deviation - 0.01 * UNDERSTATED.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_step_is_judged_by_the_slot_it_spoke_of_and_not_over_a_break() {
        let mut residuals = Residuals::new();
        residuals.came(1, 0.2);
        residuals.said([0.5, 0.6, 0.7]);
        residuals.came(2, 0.2);
        assert_eq!((residuals.errors, residuals.error[0]), ([1, 0, 0], 0.2 - 0.5));
        for slot in 3..=7 {
            residuals.came(slot, 0.2);
        }
        assert_eq!((residuals.errors, residuals.error[1]), ([1, 1, 0], 0.2 - 0.6));
        residuals.came(20, 0.2);
        residuals.came(21, f32::NAN);
        assert_eq!(residuals.errors, [1, 1, 0], "what was said before the break is void");
    }
}
