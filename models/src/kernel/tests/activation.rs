use pulp::{Simd, WithSimd};

use super::reference::machines;
use crate::kernel::activation::{sigmoid, tanh};

/// Replaces values by their sigmoids and tangents; their number must be one of whole registers.
struct Apply<'a> {
    sigmoids: &'a mut [f32],
    tangents: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        S::as_mut_simd_f32s(self.sigmoids).0.iter_mut().for_each(|x| *x = sigmoid(simd, *x));
        S::as_mut_simd_f32s(self.tangents).0.iter_mut().for_each(|x| *x = tanh(simd, *x));
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
