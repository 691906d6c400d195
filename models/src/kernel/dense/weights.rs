//! A dense layer's weights as they are trained, stored and compared.

use pulp::Simd;

use crate::kernel::{
    activation::{tanh, tanh_slope},
    error::{ShapeError, expect_size, expect_some},
};

/// What a dense layer does to its sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// The larger of the sum and zero.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// The activation of `x`.
    #[inline(always)]
    pub(super) fn apply<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        match self {
            Self::Identity => x,
            // Not a maximum, which may take zero for a NaN.
            Self::Relu => {
                let zero = simd.splat_f32s(0.0);
                simd.select_f32s(simd.less_than_f32s(x, zero), zero, x)
            }
            Self::Tanh => tanh(simd, x),
        }
    }

    /// `gradient` times the slope where the activation's value is `y`.
    #[inline(always)]
    pub(super) fn back<S: Simd>(self, simd: S, gradient: S::f32s, y: S::f32s) -> S::f32s {
        match self {
            Self::Identity => gradient,
            Self::Relu => {
                let zero = simd.splat_f32s(0.0);
                simd.select_f32s(simd.less_than_or_equal_f32s(y, zero), zero, gradient)
            }
            Self::Tanh => simd.mul_f32s(gradient, tanh_slope(simd, y)),
        }
    }
}

/// A dense layer's weights: `weights` is `[inputs][outputs]`, row-major, and `bias` is `[outputs]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseWeights {
    activation: Activation,
    inputs: usize,
    outputs: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl DenseWeights {
    /// Takes weights as they are.
    pub fn new(
        activation: Activation,
        inputs: usize,
        outputs: usize,
        weights: Vec<f32>,
        bias: Vec<f32>,
    ) -> Result<Self, ShapeError> {
        expect_some("inputs", inputs)?;
        expect_some("outputs", outputs)?;
        expect_size("weights", weights.len(), inputs * outputs)?;
        expect_size("bias", bias.len(), outputs)?;
        Ok(Self { activation, inputs, outputs, weights, bias })
    }

    /// All weights and biases zero.
    pub fn zeros(activation: Activation, inputs: usize, outputs: usize) -> Result<Self, ShapeError> {
        Self::new(activation, inputs, outputs, vec![0.0; inputs * outputs], vec![0.0; outputs])
    }

    /// What is done to the sums.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Features of an input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Features of an output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The weights, `[inputs][outputs]`.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The weights, to be changed in place.
    pub fn weights_mut(&mut self) -> &mut [f32] {
        &mut self.weights
    }

    /// The biases, `[outputs]`.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// The biases, to be changed in place.
    pub fn bias_mut(&mut self) -> &mut [f32] {
        &mut self.bias
    }

    pub(super) fn at(&self, input: usize, output: usize) -> f32 {
        self.weights.get(input * self.outputs + output).copied().unwrap_or_default()
    }
}

/// Gradients with respect to a dense layer's weights, in the layout of [`DenseWeights`].
#[derive(Debug, Clone, PartialEq)]
pub struct DenseGradients {
    /// As [`DenseWeights::weights`].
    pub weights: Vec<f32>,
    /// As [`DenseWeights::bias`].
    pub bias: Vec<f32>,
}

impl DenseGradients {
    /// Zero gradients for `weights`.
    pub fn zeros(weights: &DenseWeights) -> Self {
        Self { weights: vec![0.0; weights.weights.len()], bias: vec![0.0; weights.bias.len()] }
    }

    /// Sets all to zero: going backward adds.
    pub fn clear(&mut self) {
        self.weights.fill(0.0);
        self.bias.fill(0.0);
    }
}
