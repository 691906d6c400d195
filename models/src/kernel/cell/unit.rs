//! What happens to the gates of one unit, on registers: from their sums to the new state, and back.

use pulp::Simd;

use crate::kernel::{
    activation::{
        divide_four, divide_two, half_tanh_fraction, sigmoid_of, sigmoid_slope, tanh, tanh_fraction, tanh_slope,
    },
    cell::GATES,
};

/// What a unit's gates and its old state give.
pub(super) struct Outcome<V> {
    /// What going backward needs of the gates.
    pub(super) gates: [V; GATES],
    /// New cell value; of the GRU, which has none, anything.
    pub(super) c: V,
    /// New output.
    pub(super) h: V,
}

/// A step of one unit as it was, and the gradients that have come back to its end.
pub(super) struct Past<V> {
    /// As [`Outcome::gates`].
    pub(super) gates: [V; GATES],
    /// Cell value and output before the step.
    pub(super) c_before: V,
    pub(super) h_before: V,
    /// Cell value after the step.
    pub(super) c: V,
    /// Gradients with respect to output and cell value after the step.
    pub(super) dh: V,
    pub(super) dc: V,
}

/// Gradients with respect to what went into a step.
pub(super) struct Back<V> {
    /// The sums of the gates.
    pub(super) gates: [V; GATES],
    /// The cell value before.
    pub(super) dc: V,
    /// The output before, as far as it does not go through the gates.
    pub(super) dh: V,
}

/// A kind of cell, as the arithmetic of one unit.
pub(super) trait Unit {
    /// From the sums of the gates and the state before, to the state after.
    fn forward<S: Simd>(simd: S, sums: [S::f32s; GATES], c: S::f32s, h: S::f32s) -> Outcome<S::f32s>;
    /// From gradients after a step to gradients before it.
    fn backward<S: Simd>(simd: S, past: Past<S::f32s>) -> Back<S::f32s>;
}

/// Long short-term memory: gates f, i, o, C̃.
pub(super) struct Lstm;

impl Unit for Lstm {
    #[inline(always)]
    fn forward<S: Simd>(simd: S, [f, i, o, n]: [S::f32s; GATES], c: S::f32s, _: S::f32s) -> Outcome<S::f32s> {
        let half = |sum| half_tanh_fraction(simd, sum);
        let [f, i, o, n] = divide_four(simd, [half(f), half(i), half(o), tanh_fraction(simd, n)]);
        let [f, i, o] = [f, i, o].map(|gate| sigmoid_of(simd, gate));
        let c = simd.mul_add_e_f32s(f, c, simd.mul_f32s(i, n));
        let h = simd.mul_f32s(o, tanh(simd, c));
        Outcome { gates: [f, i, o, n], c, h }
    }

    #[inline(always)]
    fn backward<S: Simd>(simd: S, past: Past<S::f32s>) -> Back<S::f32s> {
        let [f, i, o, n] = past.gates;
        let squashed = tanh(simd, past.c);
        let through_output = simd.mul_f32s(simd.mul_f32s(past.dh, o), tanh_slope(simd, squashed));
        let dc = simd.add_f32s(past.dc, through_output);
        let through = |other, slope| simd.mul_f32s(simd.mul_f32s(dc, other), slope);
        Back {
            gates: [
                through(past.c_before, sigmoid_slope(simd, f)),
                through(n, sigmoid_slope(simd, i)),
                simd.mul_f32s(simd.mul_f32s(past.dh, squashed), sigmoid_slope(simd, o)),
                through(i, tanh_slope(simd, n)),
            ],
            dc: simd.mul_f32s(dc, f),
            dh: simd.splat_f32s(0.0),
        }
    }
}

/// Gated recurrent unit: gates r, z and n's parts of x and of h. Backward it needs n itself in the third place.
pub(super) struct Gru;

impl Unit for Gru {
    #[inline(always)]
    fn forward<S: Simd>(simd: S, [r, z, nx, nh]: [S::f32s; GATES], c: S::f32s, h: S::f32s) -> Outcome<S::f32s> {
        let halves = divide_two(simd, [half_tanh_fraction(simd, r), half_tanh_fraction(simd, z)]);
        let [r, z] = halves.map(|gate| sigmoid_of(simd, gate));
        let n = tanh(simd, simd.mul_add_e_f32s(r, nh, nx));
        let h = simd.mul_add_e_f32s(z, simd.sub_f32s(h, n), n);
        Outcome { gates: [r, z, n, nh], c, h }
    }

    #[inline(always)]
    fn backward<S: Simd>(simd: S, past: Past<S::f32s>) -> Back<S::f32s> {
        let [r, z, n, nh] = past.gates;
        let fresh = simd.sub_f32s(simd.splat_f32s(1.0), z);
        let dn = simd.mul_f32s(simd.mul_f32s(past.dh, fresh), tanh_slope(simd, n));
        let dz = simd.mul_f32s(simd.mul_f32s(past.dh, simd.sub_f32s(past.h_before, n)), sigmoid_slope(simd, z));
        let dr = simd.mul_f32s(simd.mul_f32s(dn, nh), sigmoid_slope(simd, r));
        Back { gates: [dr, dz, dn, simd.mul_f32s(dn, r)], dc: past.dc, dh: simd.mul_f32s(past.dh, z) }
    }
}
