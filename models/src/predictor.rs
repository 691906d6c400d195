//! What every forecasting method answers to: the LSTM and all it is compared with, in training, judging and serving alike.

use ballast_core::forecast::LEVELS;

use crate::{
    features::Encoded,
    network::{MAXIMA, TARGETS},
    past::Past,
    scale::RESOURCES,
};

/// Quantiles on the scale of one vm: resources × targets × levels, rising with the level.
pub type Answer = [[[f32; LEVELS.len()]; TARGETS]; RESOURCES];

/// What a method knows of one vm at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its past.
    pub past: &'a Past,
    /// The same, encoded.
    pub encoded: &'a Encoded,
}

/// A forecasting method with whatever it has learnt. Vms are handled many at a time; no result depends on how many.
pub trait Predictor: Send + Sync {
    /// Its name, as decisions and tables show it.
    fn name(&self) -> &'static str;

    /// Numbers of recurrent state per vm, zero at a vm's beginning; none for a method that looks at the past alone.
    fn state_len(&self) -> usize {
        0
    }

    /// Advances the states by one slot: `states` has [`Predictor::state_len`] numbers per vm.
    fn advance(&self, _encoded: &[Encoded], _states: &mut [f32]) {}

    /// One answer per vm, after [`Predictor::advance`] with the same slot.
    fn predict(&self, known: &[Known<'_>], states: &[f32], answers: &mut [Answer]);
}

/// Makes an answer keep what is true of any future: nothing is negative, quantiles rise, and a maximum is at least the value
/// at every step of its time. An answer with a number that is none becomes [`UNKNOWN`].
pub fn consistent(answer: &mut Answer) {
    if answer.as_flattened().as_flattened().iter().any(|value| !value.is_finite()) {
        *answer = UNKNOWN;
        return;
    }
    for targets in answer {
        for quantiles in targets.iter_mut() {
            let mut least = 0.0_f32;
            for value in quantiles {
                least = least.max(*value);
                *value = least;
            }
        }
        let [one, six, twelve, half, hour] = targets;
        raise(half, one);
        raise(half, six);
        raise(hour, half);
        raise(hour, twelve);
    }
}

fn raise(quantiles: &mut [f32; LEVELS.len()], least: &[f32; LEVELS.len()]) {
    for (value, least) in quantiles.iter_mut().zip(least) {
        *value = value.max(*least);
    }
}

/// The answer of a method that has none.
pub const UNKNOWN: Answer = [[[f32::NAN; LEVELS.len()]; TARGETS]; RESOURCES];

/// Whether it is an answer at all.
pub fn is_known(answer: &Answer) -> bool {
    !answer[0][0][0].is_nan()
}

/// Slots ahead that each target looks: for methods that treat a value and a maximum alike.
pub const REACH: [usize; TARGETS] = [1, 6, 12, MAXIMA[0], MAXIMA[1]];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_with_a_number_that_is_none_is_no_answer() {
        let mut answer = Answer::default();
        answer[2][1][3] = f32::NAN;
        consistent(&mut answer);
        assert!(!is_known(&answer));
    }

    proptest! {
        #[test]
        fn an_answer_is_made_consistent(values in prop::collection::vec(-1.0..9.0f32, 25)) {
            let mut answer: Answer = Default::default();
            for (index, value) in values.iter().enumerate() {
                answer[0][index / 5][index % 5] = *value;
            }
            consistent(&mut answer);
            let [one, six, twelve, half, hour] = answer[0];
            prop_assert!(answer[0].iter().all(|q| q[0] >= 0.0 && q.is_sorted()));
            for level in 0..5 {
                prop_assert!(half[level] >= one[level].max(six[level]));
                prop_assert!(hour[level] >= half[level].max(twelve[level]));
            }
        }
    }
}
