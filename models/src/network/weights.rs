//! The network's weights, as they are trained, kept in a bundle and loaded.

use crate::{
    features::{CONTEXT, INPUTS},
    kernel::{
        cell::{CellKind, CellWeights},
        dense::{Activation, DenseWeights},
        error::ShapeError,
    },
    network::OUTPUTS,
};

/// Sizes of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Which recurrent cell.
    pub kind: CellKind,
    /// Its units.
    pub hidden: usize,
    /// Units of the head's hidden layer.
    pub width: usize,
}

/// All weights: cell, the head's hidden layer over `[h | context]`, and its output layer over `[hidden | context]`, so that
/// what is linear need not be learnt through the hidden layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The recurrent cell.
    pub cell: CellWeights,
    /// The head's hidden layer.
    pub hidden: DenseWeights,
    /// The head's output layer.
    pub output: DenseWeights,
}

/// Names of the tensors, in the order of [`Weights::tensors`].
pub const TENSORS: [&str; 6] =
    ["cell.weight", "cell.bias", "hidden.weight", "hidden.bias", "output.weight", "output.bias"];

impl Weights {
    /// All zero.
    ///
    /// # Errors
    /// Where a size is 0.
    pub fn zeros(sizes: Sizes) -> Result<Self, ShapeError> {
        let Sizes { kind, hidden, width } = sizes;
        Ok(Self {
            cell: CellWeights::zeros(kind, INPUTS, hidden)?,
            hidden: DenseWeights::zeros(Activation::Tanh, hidden + CONTEXT, width)?,
            output: DenseWeights::zeros(Activation::Identity, width + CONTEXT, OUTPUTS)?,
        })
    }

    /// The sizes they are of.
    pub fn sizes(&self) -> Sizes {
        Sizes { kind: self.cell.kind(), hidden: self.cell.hidden(), width: self.hidden.outputs() }
    }

    /// Shape of each tensor; a bias has one dimension.
    pub fn shapes(&self) -> [Vec<usize>; TENSORS.len()] {
        let matrix = |len: usize, rows: usize| vec![rows, len / rows];
        let rows = self.cell.hidden() + self.cell.inputs();
        [
            matrix(self.cell.weights().len(), rows),
            vec![self.cell.bias().len()],
            matrix(self.hidden.weights().len(), self.hidden.inputs()),
            vec![self.hidden.bias().len()],
            matrix(self.output.weights().len(), self.output.inputs()),
            vec![self.output.bias().len()],
        ]
    }

    /// All tensors, row-major.
    pub fn tensors(&self) -> [&[f32]; TENSORS.len()] {
        [
            self.cell.weights(),
            self.cell.bias(),
            self.hidden.weights(),
            self.hidden.bias(),
            self.output.weights(),
            self.output.bias(),
        ]
    }

    /// Calls `change` with the index of each tensor and the tensor itself, to be changed in place.
    pub fn change(&mut self, mut change: impl FnMut(usize, &mut [f32])) {
        change(0, self.cell.weights_mut());
        change(1, self.cell.bias_mut());
        change(2, self.hidden.weights_mut());
        change(3, self.hidden.bias_mut());
        change(4, self.output.weights_mut());
        change(5, self.output.bias_mut());
    }

    /// How many numbers they are.
    pub fn len(&self) -> usize {
        self.tensors().iter().map(|tensor| tensor.len()).sum()
    }

    /// Whether there are none; never so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
