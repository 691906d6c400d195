//! Between a cell's weights as they are kept and those of the four gates that are computed.
//!
//! The LSTM's are the same. The GRU computes n's part of x and its part of h₋₁ as two gates, the third and the fourth, of
//! which each has no connection to what feeds the other.

use crate::kernel::cell::{CellGradients, CellKind, CellWeights, GATES};

/// The column block of the weights that feeds computed gate `gate` from a row that is recurrent or not; `None` where
/// there is no connection.
fn column(kind: CellKind, recurrent: bool, gate: usize) -> Option<usize> {
    match (kind, gate) {
        (CellKind::Lstm, gate) | (CellKind::Gru, gate @ (0 | 1)) => Some(gate),
        (CellKind::Gru, 2) => (!recurrent).then_some(2),
        (CellKind::Gru, _) => recurrent.then_some(2),
    }
}

/// Writes the weights of the computed gates, `[hidden + inputs][4 · hidden]`. What has no connection is left as it is,
/// which is zero.
pub(super) fn expand(weights: &CellWeights, expanded: &mut [f32]) {
    let (kind, hidden) = (weights.kind(), weights.hidden());
    let rows = weights.weights().chunks_exact(kind.gates() * hidden);
    for (row, (to, from)) in expanded.chunks_exact_mut(GATES * hidden).zip(rows).enumerate() {
        for (gate, to) in to.chunks_exact_mut(hidden).enumerate() {
            if let Some(gate) = column(kind, row < hidden, gate) {
                to.copy_from_slice(&from[gate * hidden..][..hidden]);
            }
        }
    }
}

/// Adds gradients of the computed gates, `[hidden + inputs + 1 …][4 · hidden]`, of which row `hidden + inputs` is the
/// biases', to `sum`.
pub(super) fn fold(kind: CellKind, hidden: usize, expanded: &[f32], sum: &mut CellGradients) {
    let columns = kind.gates() * hidden;
    let mut rows = expanded.chunks_exact(GATES * hidden);
    // The shorter side first: what it does not take, the other must not lose.
    for (row, (to, from)) in sum.weights.chunks_exact_mut(columns).zip(rows.by_ref()).enumerate() {
        for (gate, from) in from.chunks_exact(hidden).enumerate() {
            if let Some(gate) = column(kind, row < hidden, gate) {
                add(&mut to[gate * hidden..][..hidden], from);
            }
        }
    }
    add(&mut sum.bias, rows.next().unwrap_or_default());
}

fn add(sum: &mut [f32], other: &[f32]) {
    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
}
