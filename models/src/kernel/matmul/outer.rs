//! The sum over many panels of one panel times the transpose of another: the gradient of weights.
//!
//! The sum runs along the lanes, so both factors are read as they lie; the lanes are added up once, at the end.

use pulp::Simd;

use crate::kernel::panel::{Row, VECTORS};

/// The rows of the left factor must be a multiple of this.
pub(in crate::kernel) const OUTER_LEFT: usize = 6;
/// The rows of the right factor must be a multiple of this.
const OUTER_RIGHT: usize = 4;

/// `out[i][j] = Σ left[s][i] · right[s][j]` over all panels `s` and all lanes: `left` is `[s][left_rows]`, `right` is
/// `[s][right_rows]`, `out` is `[left_rows][right_rows]`.
#[inline(always)]
pub(in crate::kernel) fn outer<S: Simd>(
    simd: S,
    (left, left_rows): (&[Row<S>], usize),
    (right, right_rows): (&[Row<S>], usize),
    out: &mut [f32],
) {
    if S::REGISTER_COUNT >= 32 {
        outer_blocks::<S, OUTER_LEFT>(simd, (left, left_rows), (right, right_rows), out);
    } else {
        // Half as many sums are all that 16 registers hold.
        outer_blocks::<S, { OUTER_LEFT / 2 }>(simd, (left, left_rows), (right, right_rows), out);
    }
}

#[inline(always)]
fn outer_blocks<S: Simd, const L: usize>(
    simd: S,
    (left, left_rows): (&[Row<S>], usize),
    (right, right_rows): (&[Row<S>], usize),
    out: &mut [f32],
) {
    // The right block, the smaller of the two, stays in the first-level cache while the left factor passes by.
    for j in (0..right_rows).step_by(OUTER_RIGHT) {
        for (i, out) in (0..left_rows).step_by(L).zip(out.chunks_exact_mut(L * right_rows)) {
            let sums = dots::<S, L>(simd, (left, left_rows, i), (right, right_rows, j));
            for (sums, out) in sums.iter().zip(out.chunks_exact_mut(right_rows)) {
                sums.iter().zip(&mut out[j..]).for_each(|(sum, out)| *out = simd.reduce_sum_f32s(*sum));
            }
        }
    }
}

/// The sums, lane by lane, of `L` rows of the left factor from `i` on with four rows of the right from `j` on.
#[inline(always)]
fn dots<S: Simd, const L: usize>(
    simd: S,
    (left, left_rows, i): (&[Row<S>], usize, usize),
    (right, right_rows, j): (&[Row<S>], usize, usize),
) -> [[S::f32s; OUTER_RIGHT]; L] {
    let mut sums = [[simd.splat_f32s(0.0); OUTER_RIGHT]; L];
    for (left, right) in left.chunks_exact(left_rows).zip(right.chunks_exact(right_rows)) {
        let (Some(left), Some(right)) = (left[i..].first_chunk::<L>(), right[j..].first_chunk::<OUTER_RIGHT>()) else {
            continue;
        };
        for v in 0..VECTORS {
            for l in 0..L {
                for r in 0..OUTER_RIGHT {
                    sums[l][r] = simd.mul_add_e_f32s(left[l][v], right[r][v], sums[l][r]);
                }
            }
        }
    }
    sums
}
