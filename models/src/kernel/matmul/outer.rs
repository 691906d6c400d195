//! The sum over many panels of one panel times the transpose of another: the gradient of weights.
//!
//! The sum runs along the lanes, so both factors are read as they lie; the lanes are added up once, at the end.

use pulp::Simd;

use crate::kernel::panel::{Row, VECTORS};

/// The rows of the left factor must be a multiple of this.
pub(in crate::kernel) const OUTER_LEFT: usize = 6;
/// The rows of the right factor must be a multiple of this.
pub(in crate::kernel) const OUTER_RIGHT: usize = 4;

/// Groups of that many rows of the right factor that are gathered at once: adjacent rows are fetched faster together.
const GROUPS: usize = 4;

/// Floats of scratch that a product over so many panels needs.
pub(in crate::kernel) fn outer_scratch(panels: usize, width: usize) -> usize {
    GROUPS * OUTER_RIGHT * panels * width
}

/// Panels one after the other, and the rows of each.
pub(in crate::kernel) struct Panels<'a, S: Simd> {
    pub(in crate::kernel) data: &'a [Row<S>],
    pub(in crate::kernel) rows: usize,
}

/// `out[i][j] = Σ left[s][i] · right[s][j]` over all panels `s` and all lanes; `out` is `[left.rows][right.rows]`.
/// `gathered` is as long as [`outer_scratch`] says.
#[inline(always)]
pub(in crate::kernel) fn outer<S: Simd>(
    simd: S,
    left: Panels<'_, S>,
    right: Panels<'_, S>,
    gathered: &mut [Row<S>],
    out: &mut [f32],
) {
    if S::REGISTER_COUNT >= 32 {
        outer_blocks::<S, OUTER_LEFT>(simd, left, right, gathered, out);
    } else {
        // Half as many sums are all that 16 registers hold.
        outer_blocks::<S, { OUTER_LEFT / 2 }>(simd, left, right, gathered, out);
    }
}

#[inline(always)]
fn outer_blocks<S: Simd, const L: usize>(
    simd: S,
    left: Panels<'_, S>,
    right: Panels<'_, S>,
    gathered: &mut [Row<S>],
    out: &mut [f32],
) {
    let panels = right.data.len() / right.rows;
    let gathered = gathered.as_chunks_mut::<OUTER_RIGHT>().0;
    for first in (0..right.rows).step_by(GROUPS * OUTER_RIGHT) {
        gather(&right, first, gathered, panels);
        let groups = (first..right.rows).step_by(OUTER_RIGHT).zip(gathered.chunks_exact(panels));
        for (j, group) in groups {
            for (i, out) in (0..left.rows).step_by(L).zip(out.chunks_exact_mut(L * right.rows)) {
                let sums = dots::<S, L>(simd, &left, i, group);
                for (sums, out) in sums.iter().zip(out.chunks_exact_mut(right.rows)) {
                    sums.iter().zip(&mut out[j..]).for_each(|(sum, out)| *out = simd.reduce_sum_f32s(*sum));
                }
            }
        }
    }
}

/// Copies groups of rows from `first` on out of every panel, group by group. They are read again for each left block, and
/// where they lie they are a power of two apart, and so would push each other out of the cache.
#[inline(always)]
fn gather<S: Simd>(right: &Panels<'_, S>, first: usize, gathered: &mut [[Row<S>; OUTER_RIGHT]], panels: usize) {
    for (index, panel) in right.data.chunks_exact(right.rows).enumerate() {
        for (group, rows) in panel[first..].as_chunks::<OUTER_RIGHT>().0.iter().take(GROUPS).enumerate() {
            gathered[group * panels + index] = *rows;
        }
    }
}

/// The sums, lane by lane, of `L` rows of the left factor from `i` on with the gathered rows of the right.
#[inline(always)]
fn dots<S: Simd, const L: usize>(
    simd: S,
    left: &Panels<'_, S>,
    i: usize,
    right: &[[Row<S>; OUTER_RIGHT]],
) -> [[S::f32s; OUTER_RIGHT]; L] {
    let mut sums = [[simd.splat_f32s(0.0); OUTER_RIGHT]; L];
    for (left, right) in left.data.chunks_exact(left.rows).zip(right) {
        let Some(left) = left[i..].first_chunk::<L>() else { continue };
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
