//! A cell ready to run: its weights in the order in which the products read them.

use crate::kernel::{
    cell::{CellKind, CellWeights, GATES, State, expanded::expand},
    error::{ShapeError, expect_size},
    matmul::Packed,
    panel::Machine,
};

/// A cell ready to run. It holds a copy of the weights it was made from; [`Self::load`] takes newer ones.
#[derive(Debug, Clone)]
pub struct Cell {
    pub(super) kind: CellKind,
    pub(super) inputs: usize,
    pub(super) hidden: usize,
    pub(super) machine: Machine,
    /// `[hidden + inputs][4 · hidden]`: the weights of the computed gates, from which the others are packed.
    expanded: Vec<f32>,
    /// `[hidden · 4][hidden + inputs]`: the four gates of a unit are adjacent rows, so that a block of rows is whole units
    /// and their new states can be worked out before anything is stored.
    pub(super) forward: Packed,
    /// `[hidden][4]`, filled up to whole blocks.
    pub(super) bias: Vec<f32>,
    /// `[hidden + inputs][4 · hidden]`.
    pub(super) backward: Packed,
}

impl Cell {
    /// Prepares `weights` for this processor.
    pub fn new(weights: &CellWeights) -> Self {
        Self::on(Machine::detect(), weights)
    }

    pub(in crate::kernel) fn on(machine: Machine, weights: &CellWeights) -> Self {
        let (inputs, hidden) = (weights.inputs(), weights.hidden());
        let (depth, gates) = (hidden + inputs, GATES * hidden);
        let mut cell = Self {
            kind: weights.kind(),
            inputs,
            hidden,
            machine,
            expanded: vec![0.0; depth * gates],
            forward: Packed::zeros(machine, gates, depth),
            bias: vec![0.0; gates.next_multiple_of(machine.block)],
            backward: Packed::zeros(machine, depth, gates),
        };
        cell.pack(weights);
        cell
    }

    /// Takes new weights of the same kind and size, without allocating: what training does after each update.
    pub fn load(&mut self, weights: &CellWeights) -> Result<(), ShapeError> {
        expect_size("weights.kind's gates", weights.kind().gates(), self.kind.gates())?;
        expect_size("weights.inputs", weights.inputs(), self.inputs)?;
        expect_size("weights.hidden", weights.hidden(), self.hidden)?;
        self.pack(weights);
        Ok(())
    }

    fn pack(&mut self, weights: &CellWeights) {
        let (hidden, gates) = (self.hidden, GATES * self.hidden);
        expand(weights, &mut self.expanded);
        let expanded = &self.expanded;
        self.forward.fill(gates, |row, depth| expanded[depth * gates + row % GATES * hidden + row / GATES]);
        self.backward.fill(hidden + self.inputs, |row, depth| expanded[row * gates + depth]);
        for (unit, biases) in self.bias.chunks_exact_mut(GATES).take(hidden).enumerate() {
            let column = weights.bias().iter().skip(unit).step_by(hidden);
            biases.iter_mut().zip(column).for_each(|(to, bias)| *to = *bias);
        }
    }

    /// Which cell.
    pub fn kind(&self) -> CellKind {
        self.kind
    }

    /// Features of an input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Units, which is features of an output.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Zero states for `rows` samples.
    pub fn state(&self, rows: usize) -> State {
        State::zeros(self.kind, self.hidden, self.machine.width, rows)
    }

    /// Floats in a panel of `[h₋₁ | x]`.
    pub(super) fn joined(&self) -> usize {
        (self.hidden + self.inputs) * self.machine.width
    }

    /// Floats in a panel of h.
    pub(super) fn panel(&self) -> usize {
        self.hidden * self.machine.width
    }

    /// Checks that `state` was made for a cell like this one.
    pub(super) fn expect_state(&self, state: &State) -> Result<(), ShapeError> {
        expect_size("state.hidden", state.hidden(), self.hidden)?;
        expect_size("state's lanes", state.width(), self.machine.width)?;
        expect_size("state's cell values", usize::from(state.has_cells()), usize::from(self.kind == CellKind::Lstm))
    }
}
