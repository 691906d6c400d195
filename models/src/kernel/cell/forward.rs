//! One step of one panel: product and activations in one pass, without a buffer for the gates between them.

use pulp::Simd;

use crate::kernel::{
    cell::{
        Cell, CellKind, GATES,
        unit::{Gru, Lstm, Outcome, Unit},
    },
    matmul::accumulate,
    panel::{Row, VECTORS, block},
};

/// What a step reads and writes, as panels.
pub(super) struct Step<'a, S: Simd> {
    /// `[h₋₁ | x]`.
    pub(super) joined: &'a [Row<S>],
    /// C₋₁, replaced by C; empty for the GRU.
    pub(super) c: &'a mut [Row<S>],
    /// The new h.
    pub(super) h: &'a mut [Row<S>],
    /// The gates, one block of rows per gate, for going backward later; empty if that is not wanted.
    pub(super) gates: &'a mut [Row<S>],
}

impl Cell {
    /// Does one step of one panel.
    #[inline(always)]
    pub(super) fn step_panel<S: Simd>(&self, simd: S, step: Step<'_, S>) {
        match (self.kind, block::<S>()) {
            (CellKind::Lstm, 8) => self.step_blocks::<S, Lstm, 8>(simd, step),
            (CellKind::Lstm, _) => self.step_blocks::<S, Lstm, 4>(simd, step),
            (CellKind::Gru, 8) => self.step_blocks::<S, Gru, 8>(simd, step),
            (CellKind::Gru, _) => self.step_blocks::<S, Gru, 4>(simd, step),
        }
    }

    #[inline(always)]
    fn step_blocks<S: Simd, U: Unit, const R: usize>(&self, simd: S, mut step: Step<'_, S>) {
        let units = R / GATES;
        let biases = self.bias.as_chunks::<R>().0;
        for (index, (matrix, bias)) in self.forward.blocks::<R>().zip(biases).enumerate() {
            let start = bias.map(|bias| [simd.splat_f32s(bias); VECTORS]);
            let sums = accumulate(simd, matrix, step.joined, start);
            for (unit, sums) in (index * units..self.hidden).zip(sums.as_chunks::<GATES>().0) {
                step.finish::<U>(simd, unit, sums);
            }
        }
    }
}

impl<S: Simd> Step<'_, S> {
    /// Works out and stores the new state of one unit.
    #[inline(always)]
    fn finish<U: Unit>(&mut self, simd: S, unit: usize, sums: &[Row<S>; GATES]) {
        let zero = [simd.splat_f32s(0.0); VECTORS];
        let (mut c, mut h, mut gates) = (self.c.get(unit).copied().unwrap_or(zero), zero, [zero; GATES]);
        let before = self.joined.get(unit).copied().unwrap_or(zero);
        for v in 0..VECTORS {
            let Outcome { gates: values, c: new_c, h: new_h } =
                U::forward(simd, sums.map(|row| row[v]), c[v], before[v]);
            (c[v], h[v]) = (new_c, new_h);
            (0..GATES).for_each(|gate| gates[gate][v] = values[gate]);
        }
        put::<S>(self.c, unit, c);
        put::<S>(self.h, unit, h);
        let hidden = self.gates.len() / GATES;
        (0..GATES).for_each(|gate| put::<S>(self.gates, gate * hidden + unit, gates[gate]));
    }
}

/// Stores a row if the panel has room for it, which an empty one has not.
#[inline(always)]
fn put<S: Simd>(panel: &mut [Row<S>], index: usize, row: Row<S>) {
    if let Some(slot) = panel.get_mut(index) {
        *slot = row;
    }
}
