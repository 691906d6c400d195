//! Sigmoid and hyperbolic tangent on whole registers, within 1e-6 of the exact values; NaN stays NaN.

use pulp::Simd;

/// Beyond this the tangent is one to the last bit of an `f32`.
const TANH_LIMIT: f32 = 7.905_311;
/// Numerator of the rational approximation, odd powers from the thirteenth down to the first.
const TANH_ODD: [f32; 7] =
    [-2.760_768_5e-16, 2.000_188e-13, -8.604_672e-11, 5.122_297_1e-8, 1.485_722_4e-5, 6.372_619_3e-4, 4.893_524_6e-3];
/// Its denominator, even powers from the sixth down to the zeroth. Both as in Eigen and burn's accelerator kernels.
const TANH_EVEN: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];

/// Hyperbolic tangent.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = clamp(simd, x, TANH_LIMIT);
    let square = simd.mul_f32s(x, x);
    let odd = simd.mul_f32s(x, polynomial(simd, &TANH_ODD, square));
    simd.div_f32s(odd, polynomial(simd, &TANH_EVEN, square))
}

/// Logistic sigmoid, by way of the tangent of half its argument.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let half = simd.splat_f32s(0.5);
    simd.mul_add_e_f32s(tanh(simd, simd.mul_f32s(x, half)), half, half)
}

/// `x`, or the limit that it lies beyond. Of a NaN and a number, vector units' minima take the number or the second; a
/// comparison with a NaN is false on all of them.
#[inline(always)]
fn clamp<S: Simd>(simd: S, x: S::f32s, limit: f32) -> S::f32s {
    let (low, high) = (simd.splat_f32s(-limit), simd.splat_f32s(limit));
    let x = simd.select_f32s(simd.greater_than_f32s(x, high), high, x);
    simd.select_f32s(simd.less_than_f32s(x, low), low, x)
}

/// Horner's scheme, highest power first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, coefficients: &[f32; N], x: S::f32s) -> S::f32s {
    let mut sum = simd.splat_f32s(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = simd.mul_add_e_f32s(sum, x, simd.splat_f32s(*coefficient));
    }
    sum
}

/// `a · (1 - a)`: the derivative of a sigmoid whose value is `a`.
#[inline(always)]
pub(super) fn sigmoid_slope<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    simd.mul_f32s(a, simd.sub_f32s(simd.splat_f32s(1.0), a))
}

/// `1 - a²`: the derivative of a tangent whose value is `a`.
#[inline(always)]
pub(super) fn tanh_slope<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    simd.sub_f32s(simd.splat_f32s(1.0), simd.mul_f32s(a, a))
}
