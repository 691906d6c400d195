//! A packed matrix times a panel, with the sums held in registers.

use pulp::Simd;

use super::Packed;
use crate::kernel::panel::{Row, VECTORS, block};

/// Adds the product of a block of `R` matrix rows, `[depth][R]`, and a panel, `[depth]` rows, to `sums`. Each sum is
/// taken in order of depth by fused multiply-adds, so it is the same on every vector unit that has them.
#[inline(always)]
pub(in crate::kernel) fn accumulate<S: Simd, const R: usize>(
    simd: S,
    matrix: &[[f32; R]],
    panel: &[Row<S>],
    mut sums: [Row<S>; R],
) -> [Row<S>; R] {
    for (weights, row) in matrix.iter().zip(panel) {
        for r in 0..R {
            let weight = simd.splat_f32s(weights[r]);
            for v in 0..VECTORS {
                sums[r][v] = simd.mul_add_e_f32s(weight, row[v], sums[r][v]);
            }
        }
    }
    sums
}

/// `out = bias + matrix · panel`, as many row blocks as `out` has room for; an empty `bias` is zero, any other is as long
/// as `out`.
#[inline(always)]
pub(in crate::kernel) fn multiply<S: Simd>(
    simd: S,
    matrix: &Packed,
    bias: &[f32],
    panel: &[Row<S>],
    out: &mut [Row<S>],
) {
    if block::<S>() == 8 {
        multiply_blocks::<S, 8>(simd, matrix, bias, panel, out);
    } else {
        multiply_blocks::<S, 4>(simd, matrix, bias, panel, out);
    }
}

#[inline(always)]
fn multiply_blocks<S: Simd, const R: usize>(
    simd: S,
    matrix: &Packed,
    bias: &[f32],
    panel: &[Row<S>],
    out: &mut [Row<S>],
) {
    let mut biases = bias.as_chunks::<R>().0.iter();
    for (matrix, out) in matrix.blocks::<R>().zip(out.as_chunks_mut::<R>().0) {
        let start = biases.next().copied().unwrap_or([0.0; R]);
        *out = accumulate(simd, matrix, panel, start.map(|bias| [simd.splat_f32s(bias); VECTORS]));
    }
}
