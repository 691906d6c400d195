//! The network's weights, as they are trained, kept in a bundle and loaded.

use crate::{
    features::{CONTEXT, INPUTS},
    kernel::{
        cell::{CellKind, CellWeights},
        dense::{Activation, DenseWeights},
        error::ShapeError,
    },
    network::OUTPUTS,
    scale::RESOURCES,
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

/// The head of one resource: a hidden layer over `[h | context]`, and an output layer over `[hidden | context]`, so that what is
/// linear need not be learnt through the hidden layer.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadWeights {
    /// The hidden layer.
    pub hidden: DenseWeights,
    /// The output layer.
    pub output: DenseWeights,
}

/// All weights: the cell, and a head for each resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The recurrent cell.
    pub cell: CellWeights,
    /// The heads, in the order of [`crate::scale::Resource::ALL`].
    pub heads: [HeadWeights; RESOURCES],
}

/// How many tensors there are: two of the cell, four of each head.
pub const TENSORS: usize = 2 + 4 * RESOURCES;

/// Name of a tensor, by its index in [`Weights::tensors`].
pub fn tensor_name(index: usize) -> String {
    let kind = if index.is_multiple_of(2) { "weight" } else { "bias" };
    match index.checked_sub(2) {
        None => format!("cell.{kind}"),
        Some(of_heads) => {
            let layer = if of_heads % 4 < 2 { "hidden" } else { "output" };
            let resource = ["cpu", "memory", "storage", "network"].get(of_heads / 4).copied().unwrap_or("-");
            format!("{resource}.{layer}.{kind}")
        }
    }
}

impl Weights {
    /// All zero.
    ///
    /// # Errors
    /// Where a size is 0.
    pub fn zeros(sizes: Sizes) -> Result<Self, ShapeError> {
        let Sizes { kind, hidden, width } = sizes;
        let head = HeadWeights {
            hidden: DenseWeights::zeros(Activation::Tanh, hidden + CONTEXT, width)?,
            output: DenseWeights::zeros(Activation::Identity, width + CONTEXT, OUTPUTS)?,
        };
        Ok(Self { cell: CellWeights::zeros(kind, INPUTS, hidden)?, heads: std::array::from_fn(|_| head.clone()) })
    }

    /// The sizes they are of.
    pub fn sizes(&self) -> Sizes {
        let width = self.heads[0].hidden.outputs();
        Sizes { kind: self.cell.kind(), hidden: self.cell.hidden(), width }
    }

    /// Shape of each tensor; a bias has one dimension.
    pub fn shapes(&self) -> Vec<Vec<usize>> {
        let mut shapes = Vec::with_capacity(TENSORS);
        let mut layer = |weights: &[f32], rows: usize, bias: &[f32]| {
            shapes.push(vec![rows, weights.len() / rows]);
            shapes.push(vec![bias.len()]);
        };
        layer(self.cell.weights(), self.cell.hidden() + self.cell.inputs(), self.cell.bias());
        for dense in self.heads.iter().flat_map(|head| [&head.hidden, &head.output]) {
            layer(dense.weights(), dense.inputs(), dense.bias());
        }
        shapes
    }

    /// All tensors, row-major, [`TENSORS`] of them.
    pub fn tensors(&self) -> Vec<&[f32]> {
        let dense = self.heads.iter().flat_map(|head| [&head.hidden, &head.output]);
        let cell = [self.cell.weights(), self.cell.bias()];
        cell.into_iter().chain(dense.flat_map(|dense| [dense.weights(), dense.bias()])).collect()
    }

    /// Calls `change` with the index of each tensor and the tensor itself, to be changed in place.
    pub fn change(&mut self, mut change: impl FnMut(usize, &mut [f32])) {
        change(0, self.cell.weights_mut());
        change(1, self.cell.bias_mut());
        let dense = self.heads.iter_mut().flat_map(|head| [&mut head.hidden, &mut head.output]);
        for (index, dense) in dense.enumerate() {
            change(2 + 2 * index, dense.weights_mut());
            change(3 + 2 * index, dense.bias_mut());
        }
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
