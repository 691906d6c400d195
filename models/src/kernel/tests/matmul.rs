//! Products beside the plain ones.

use proptest::prelude::*;
use pulp::{Simd, WithSimd};

use super::reference::{assert_close, machines, random, wide};
use crate::kernel::{
    matmul::{OUTER_LEFT, OUTER_RIGHT, Packed, Panels, multiply, outer, outer_scratch},
    panel::{rows, rows_mut},
};

struct Multiply<'a> {
    matrix: &'a Packed,
    bias: &'a [f32],
    panel: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        multiply(simd, self.matrix, self.bias, rows::<S>(self.panel), rows_mut::<S>(self.out));
    }
}

struct Outer<'a> {
    left: (&'a [f32], usize),
    right: (&'a [f32], usize),
    gathered: &'a mut [f32],
    out: &'a mut [f32],
}

impl WithSimd for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let left = Panels { data: rows::<S>(self.left.0), rows: self.left.1 };
        let right = Panels { data: rows::<S>(self.right.0), rows: self.right.1 };
        outer(simd, left, right, rows_mut::<S>(self.gathered), self.out);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn packed_product_equals_the_plain_one(height in 1_usize..40, depth in 1_usize..90, seed in 0_u64..1000) {
        for machine in machines() {
            let width = machine.width;
            let padded = height.next_multiple_of(machine.block);
            let (a, b) = (random(seed, height * depth, 1.0), random(seed + 1, depth * width, 1.0));
            let bias = random(seed + 2, padded, 1.0);
            let mut matrix = Packed::zeros(machine, height, depth);
            matrix.fill(height, |row, k| a[row * depth + k]);
            let mut out = vec![0.0; padded * width];
            machine.run(Multiply { matrix: &matrix, bias: &bias, panel: &b, out: &mut out });
            let (a, b, bias) = (wide(&a), wide(&b), wide(&bias));
            let expected: Vec<f64> = (0..height * width)
                .map(|at| (at / width, at % width))
                .map(|(i, j)| bias[i] + (0..depth).map(|k| a[i * depth + k] * b[k * width + j]).sum::<f64>())
                .collect();
            assert_close(&out[..height * width], &expected, 1e-5);
        }
    }

    #[test]
    fn outer_product_equals_the_plain_one(l in 1_usize..5, r in 1_usize..6, panels in 1_usize..20, seed in 0_u64..1000) {
        let (l, r) = (l * OUTER_LEFT, r * OUTER_RIGHT);
        for machine in machines() {
            let width = machine.width;
            let (a, b) = (random(seed, panels * l * width, 1.0), random(seed + 1, panels * r * width, 1.0));
            let mut out = vec![0.0; l * r];
            let mut gathered = vec![0.0; outer_scratch(panels, width)];
            machine.run(Outer { left: (&a, l), right: (&b, r), gathered: &mut gathered, out: &mut out });
            let (a, b) = (wide(&a), wide(&b));
            let dot = |i: usize, j: usize| (0..panels * width)
                .map(|at| (at / width, at % width))
                .map(|(s, lane)| a[(s * l + i) * width + lane] * b[(s * r + j) * width + lane])
                .sum::<f64>();
            let expected: Vec<f64> = (0..l * r).map(|at| dot(at / r, at % r)).collect();
            assert_close(&out, &expected, 1e-4);
        }
    }
}
