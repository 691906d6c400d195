//! How a batch lies in memory: as panels, in which a feature is a row and a sample is a lane of the vector registers.
//!
//! A panel holds as many samples as two registers have lanes. Gates, states and gradients of a panel all have this form,
//! so that a step's output is the next step's input as it stands, nothing is transposed between the products of a step,
//! and the activations work on whole registers, straight after the product, before anything is stored. Callers see
//! ordinary row-major slices; they are turned at the border, which costs a thousandth of the products.

use pulp::{Arch, Simd, WithSimd};

/// Registers side by side that make up one row of a panel.
pub(super) const VECTORS: usize = 2;

/// One row of a panel: one feature of all its samples.
pub(super) type Row<S> = [<S as Simd>::f32s; VECTORS];

/// The vector unit the code runs on, found out at run time, and the sizes that follow from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    arch: Arch,
    /// Samples in a panel.
    pub(super) width: usize,
    /// Rows of a packed matrix that are worked on at once: what the register file has room for.
    pub(super) block: usize,
}

impl Machine {
    /// The best this processor has.
    pub(super) fn detect() -> Self {
        Self::of(Arch::new())
    }

    /// As [`Self::detect`], for a given vector unit.
    pub(super) fn of(arch: Arch) -> Self {
        let (width, block) = arch.dispatch(Sizes);
        Self { arch, width, block }
    }

    /// Runs `work` with the vector unit's instructions.
    pub(super) fn run<W: WithSimd>(&self, work: W) -> W::Output {
        self.arch.dispatch(work)
    }

    /// How many panels hold `rows` samples.
    pub(super) fn panels(&self, rows: usize) -> usize {
        rows.div_ceil(self.width)
    }
}

/// Panel width and row block of a vector unit.
struct Sizes;

impl WithSimd for Sizes {
    type Output = (usize, usize);

    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        (VECTORS * S::F32_LANES, block::<S>())
    }
}

/// Eight rows take sixteen accumulators, which is half of 32 registers; with 16 registers there is room for four rows.
pub(super) const fn block<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 8 } else { 4 }
}

/// A panel's rows as registers.
#[inline(always)]
pub(super) fn rows<S: Simd>(panel: &[f32]) -> &[Row<S>] {
    S::as_simd_f32s(panel).0.as_chunks().0
}

/// A panel's rows as registers, to write to.
#[inline(always)]
pub(super) fn rows_mut<S: Simd>(panel: &mut [f32]) -> &mut [Row<S>] {
    S::as_mut_simd_f32s(panel).0.as_chunks_mut().0
}

/// Turns row-major samples `[n][features]` into a panel `[features][width]`; lanes without a sample become zero.
#[inline(always)]
pub(super) fn load(samples: &[f32], features: usize, panel: &mut [f32], width: usize) {
    let live = samples.len() / features;
    for (feature, row) in panel.chunks_exact_mut(width).take(features).enumerate() {
        let column = samples.iter().skip(feature).step_by(features);
        row.iter_mut().zip(column).for_each(|(lane, sample)| *lane = *sample);
        row.iter_mut().skip(live).for_each(|lane| *lane = 0.0);
    }
}

/// Turns a panel `[features][width]` into row-major samples `[n][features]`, as many as `samples` has room for.
#[inline(always)]
pub(super) fn store(panel: &[f32], width: usize, samples: &mut [f32], features: usize) {
    for (feature, row) in panel.chunks_exact(width).take(features).enumerate() {
        let column = samples.iter_mut().skip(feature).step_by(features);
        column.zip(row).for_each(|(sample, lane)| *sample = *lane);
    }
}
