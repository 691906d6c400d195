//! A cell's weights as they are trained, stored and compared: plain numbers.

use crate::kernel::{
    cell::GATES,
    error::{ShapeError, expect_size, expect_some},
};

/// Which cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    /// Long short-term memory.
    Lstm,
    /// Gated recurrent unit, reset after the product.
    Gru,
}

impl CellKind {
    /// Gates, which is column blocks of the weights: LSTM f, i, o, C̃; GRU r, z, n.
    pub fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

/// A cell's weights.
///
/// `weights` is `[hidden + inputs][gates · hidden]`, row-major: the rows of h₋₁ come first, then those of x; the columns
/// are one block per gate, LSTM f, i, o, C̃ and GRU r, z, n. `bias` is `[4 · hidden]` for both: LSTM f, i, o, C̃; GRU r, z,
/// n and, last, the bias of n's recurrent part (b_nh).
#[derive(Debug, Clone, PartialEq)]
pub struct CellWeights {
    kind: CellKind,
    inputs: usize,
    hidden: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl CellWeights {
    /// Takes weights as they are.
    pub fn new(
        kind: CellKind,
        inputs: usize,
        hidden: usize,
        weights: Vec<f32>,
        bias: Vec<f32>,
    ) -> Result<Self, ShapeError> {
        expect_some("inputs", inputs)?;
        expect_some("hidden", hidden)?;
        expect_size("weights", weights.len(), (hidden + inputs) * kind.gates() * hidden)?;
        expect_size("bias", bias.len(), GATES * hidden)?;
        Ok(Self { kind, inputs, hidden, weights, bias })
    }

    /// All weights and biases zero.
    pub fn zeros(kind: CellKind, inputs: usize, hidden: usize) -> Result<Self, ShapeError> {
        let weights = vec![0.0; (hidden + inputs) * kind.gates() * hidden];
        Self::new(kind, inputs, hidden, weights, vec![0.0; GATES * hidden])
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

    /// The weights, `[hidden + inputs][gates · hidden]`.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The weights, to be changed in place.
    pub fn weights_mut(&mut self) -> &mut [f32] {
        &mut self.weights
    }

    /// The biases, `[4 · hidden]`.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// The biases, to be changed in place.
    pub fn bias_mut(&mut self) -> &mut [f32] {
        &mut self.bias
    }
}

/// Gradients with respect to a cell's weights, in the layout of [`CellWeights`].
#[derive(Debug, Clone, PartialEq)]
pub struct CellGradients {
    /// As [`CellWeights::weights`].
    pub weights: Vec<f32>,
    /// As [`CellWeights::bias`].
    pub bias: Vec<f32>,
}

impl CellGradients {
    /// Zero gradients for `weights`.
    pub fn zeros(weights: &CellWeights) -> Self {
        Self { weights: vec![0.0; weights.weights.len()], bias: vec![0.0; weights.bias.len()] }
    }

    /// Sets all to zero: going backward adds.
    pub fn clear(&mut self) {
        self.weights.fill(0.0);
        self.bias.fill(0.0);
    }
}
