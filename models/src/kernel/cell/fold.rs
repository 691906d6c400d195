//! From a tile's gradients of the four computed gates to those of the weights as they are kept.

use crate::kernel::cell::{Cell, CellGradients, GATES, weights::column};

/// Adds a tile's gradients, `[joined rows][4 · hidden]`, to `sum`. Row `hidden + inputs` is the biases'.
pub(super) fn fold(cell: &Cell, tile: &[f32], sum: &mut CellGradients) {
    let hidden = cell.hidden;
    let depth = hidden + cell.inputs;
    let mut tile_rows = tile.chunks_exact(GATES * hidden);
    let columns = cell.kind.gates() * hidden;
    for (row, (to, from)) in sum.weights.chunks_exact_mut(columns).zip(tile_rows.by_ref().take(depth)).enumerate() {
        for (gate, from) in from.chunks_exact(hidden).enumerate() {
            if let Some(gate) = column(cell.kind, row < hidden, gate) {
                add(&mut to[gate * hidden..][..hidden], from);
            }
        }
    }
    if let Some(from) = tile_rows.next() {
        add(&mut sum.bias, from);
    }
}

fn add(sum: &mut [f32], other: &[f32]) {
    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
}
