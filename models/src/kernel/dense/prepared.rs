//! A dense layer ready to run: its weights in the order in which the products read them.

use crate::kernel::{
    dense::{Activation, DenseWeights},
    error::{ShapeError, expect_size},
    matmul::Packed,
    panel::Machine,
};

/// A dense layer ready to run. It holds a copy of the weights it was made from; [`Self::load`] takes newer ones.
#[derive(Debug, Clone)]
pub struct Dense {
    pub(super) activation: Activation,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) machine: Machine,
    /// `[outputs][inputs]`.
    pub(super) forward: Packed,
    /// `[outputs]`, filled up to whole blocks.
    pub(super) bias: Vec<f32>,
    /// `[inputs][outputs]`, the outputs filled up as the gradient's panels are.
    pub(super) backward: Packed,
}

impl Dense {
    /// Prepares `weights` for this processor.
    pub fn new(weights: &DenseWeights) -> Self {
        Self::on(Machine::detect(), weights)
    }

    pub(in crate::kernel) fn on(machine: Machine, weights: &DenseWeights) -> Self {
        let (inputs, outputs) = (weights.inputs(), weights.outputs());
        let rows = outputs.next_multiple_of(machine.block);
        let mut dense = Self {
            activation: weights.activation(),
            inputs,
            outputs,
            machine,
            forward: Packed::zeros(machine, outputs, inputs),
            bias: vec![0.0; rows],
            backward: Packed::zeros(machine, inputs, rows),
        };
        dense.pack(weights);
        dense
    }

    /// Takes new weights of the same size, without allocating: what training does after each update.
    pub fn load(&mut self, weights: &DenseWeights) -> Result<(), ShapeError> {
        expect_size("weights.inputs", weights.inputs(), self.inputs)?;
        expect_size("weights.outputs", weights.outputs(), self.outputs)?;
        self.activation = weights.activation();
        self.pack(weights);
        Ok(())
    }

    fn pack(&mut self, weights: &DenseWeights) {
        let outputs = self.outputs;
        self.forward.fill(outputs, |output, input| weights.at(input, output));
        self.backward.fill(self.inputs, |input, output| if output < outputs { weights.at(input, output) } else { 0.0 });
        self.bias.iter_mut().zip(weights.bias()).for_each(|(to, bias)| *to = *bias);
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

    /// Rows of a panel of outputs, filled up to whole blocks.
    pub(super) fn output_rows(&self) -> usize {
        self.bias.len()
    }
}
