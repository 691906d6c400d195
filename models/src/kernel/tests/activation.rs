//! Activations beside the exact functions.

use pulp::{Simd, WithSimd};

use super::reference::{machines, random};
use crate::kernel::activation::{divide_four, divide_two, half_tanh_fraction, sigmoid_of, tanh, tanh_fraction};

/// Replaces values by their sigmoids and tangents; their number must be one of whole registers.
struct Apply<'a> {
    sigmoids: &'a mut [f32],
    tangents: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (sigmoids, tangents) = (S::as_mut_simd_f32s(self.sigmoids).0, S::as_mut_simd_f32s(self.tangents).0);
        sigmoids.iter_mut().for_each(|x| *x = sigmoid_of(simd, divide_two(simd, [half_tanh_fraction(simd, *x); 2])[1]));
        tangents.iter_mut().for_each(|x| *x = tanh(simd, *x));
    }
}

/// Replaces each register of `values` by the tangents of itself, found by one division with those of the three after.
struct ByFour<'a> {
    values: &'a mut [f32],
}

impl WithSimd for ByFour<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for four in S::as_mut_simd_f32s(self.values).0.as_chunks_mut::<4>().0 {
            *four = divide_four(simd, four.map(|x| tanh_fraction(simd, x)));
        }
    }
}

#[test]
fn sigmoid_and_tangent_are_within_a_millionth_of_the_exact_values() {
    // Every five-hundredth from -40 to 40, and the ends of the number line.
    let mut xs: Vec<f32> = (-20_000_i16..20_000).map(|step| f32::from(step) / 500.0).collect();
    xs.extend([0.0, -0.0, 1e-30, f32::MIN_POSITIVE, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY]);
    xs.resize(xs.len().next_multiple_of(16), 0.0);
    for machine in machines() {
        let (mut sigmoids, mut tangents) = (xs.clone(), xs.clone());
        machine.run(Apply { sigmoids: &mut sigmoids, tangents: &mut tangents });
        for ((x, sigmoid), tangent) in xs.iter().zip(&sigmoids).zip(&tangents) {
            let exact = f64::from(*x);
            assert!((f64::from(*sigmoid) - 1.0 / (1.0 + (-exact).exp())).abs() < 1e-6, "sigmoid({x}) = {sigmoid}");
            assert!((f64::from(*tangent) - exact.tanh()).abs() < 1e-6, "tanh({x}) = {tangent}");
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    for machine in machines() {
        let (mut sigmoids, mut tangents) = ([f32::NAN; 16], [f32::NAN; 16]);
        machine.run(Apply { sigmoids: &mut sigmoids, tangents: &mut tangents });
        assert!(sigmoids.iter().chain(&tangents).all(|value| value.is_nan()));
    }
}

#[test]
fn four_tangents_by_one_division_are_as_close_as_one() {
    let xs = random(1, 6400, 12.0);
    for machine in machines() {
        let mut values = xs.clone();
        machine.run(ByFour { values: &mut values });
        for (x, tangent) in xs.iter().zip(&values) {
            assert!((f64::from(*tangent) - f64::from(*x).tanh()).abs() < 1e-6, "tanh({x}) = {tangent}");
        }
    }
}
