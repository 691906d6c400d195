//! Sigmoid and hyperbolic tangent on whole registers, within 1e-6 of the exact values; NaN stays NaN.
//!
//! Both are fractions of two polynomials. Dividing is what costs most in them, so several fractions that are needed
//! together are divided at once: see [`Fraction`].

use pulp::Simd;

/// Beyond this the tangent is taken for one; it is off by less than 3e-7.
const TANH_LIMIT: f32 = 8.0;
/// tanh(x) = x·P(x²)/Q(x²) with the least greatest error up to the limit, 4.3e-7 in `f32`; found by reweighted least
/// squares. P, highest power first.
const TANH_ABOVE: [f32; 4] = [1.131_020_6e-5, 2.938_825_8e-3, 0.129_136_39, 0.999_999_36];
/// Q, highest power first. It is at least one, and at most 210 at the limit.
const TANH_BELOW: [f32; 5] = [2.423_836e-7, 2.370_282_2e-4, 2.376_382e-2, 0.462_467_38, 1.0];

/// A number as a fraction: as yet undivided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fraction<V> {
    above: V,
    below: V,
}

/// Hyperbolic tangent.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let Fraction { above, below } = tanh_fraction(simd, x);
    simd.div_f32s(above, below)
}

/// Hyperbolic tangent, undivided.
#[inline(always)]
pub(super) fn tanh_fraction<S: Simd>(simd: S, x: S::f32s) -> Fraction<S::f32s> {
    let x = clamp(simd, x, TANH_LIMIT);
    let square = simd.mul_f32s(x, x);
    Fraction {
        above: simd.mul_f32s(x, polynomial(simd, &TANH_ABOVE, square)),
        below: polynomial(simd, &TANH_BELOW, square),
    }
}

/// tanh(x/2), undivided: the sigmoid of x, but for [`sigmoid_of`].
#[inline(always)]
pub(super) fn half_tanh_fraction<S: Simd>(simd: S, x: S::f32s) -> Fraction<S::f32s> {
    tanh_fraction(simd, simd.mul_f32s(x, simd.splat_f32s(0.5)))
}

/// The logistic sigmoid of x, given tanh(x/2).
#[inline(always)]
pub(super) fn sigmoid_of<S: Simd>(simd: S, half_tanh: S::f32s) -> S::f32s {
    let half = simd.splat_f32s(0.5);
    simd.mul_add_e_f32s(half_tanh, half, half)
}

/// Two fractions by one division.
#[inline(always)]
pub(super) fn divide_two<S: Simd>(simd: S, [a, b]: [Fraction<S::f32s>; 2]) -> [S::f32s; 2] {
    let [below_a, below_b] = invert_two(simd, [a.below, b.below]);
    [simd.mul_f32s(a.above, below_a), simd.mul_f32s(b.above, below_b)]
}

/// Four fractions by one division. The product of four denominators is at most 2e9.
#[inline(always)]
pub(super) fn divide_four<S: Simd>(simd: S, [a, b, c, d]: [Fraction<S::f32s>; 4]) -> [S::f32s; 4] {
    let pairs = [simd.mul_f32s(a.below, b.below), simd.mul_f32s(c.below, d.below)];
    let [ab, cd] = invert_two(simd, pairs);
    let times = |above, other, inverse| simd.mul_f32s(simd.mul_f32s(above, other), inverse);
    [times(a.above, b.below, ab), times(b.above, a.below, ab), times(c.above, d.below, cd), times(d.above, c.below, cd)]
}

/// 1/a = b/(ab), and 1/b = a/(ab).
#[inline(always)]
fn invert_two<S: Simd>(simd: S, [a, b]: [S::f32s; 2]) -> [S::f32s; 2] {
    let inverse = simd.div_f32s(simd.splat_f32s(1.0), simd.mul_f32s(a, b));
    [simd.mul_f32s(b, inverse), simd.mul_f32s(a, inverse)]
}

/// `x`, or the limit that it lies beyond; NaN stays NaN.
#[inline(always)]
fn clamp<S: Simd>(simd: S, x: S::f32s, limit: f32) -> S::f32s {
    let (low, high) = (simd.splat_f32s(-limit), simd.splat_f32s(limit));
    if S::IS_SCALAR {
        // Rust's minimum of a NaN and a number is the number; a comparison with a NaN is false.
        let x = simd.select_f32s(simd.greater_than_f32s(x, high), high, x);
        return simd.select_f32s(simd.less_than_f32s(x, low), low, x);
    }
    // Of a NaN and a number, x86's minimum is the second, and NEON's is the NaN.
    simd.max_f32s(low, simd.min_f32s(high, x))
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
