//! The network as a module of burn: what its optimiser changes, and the same computation in burn's own operations, on any
//! device that burn has.

use burn::{
    module::{Module, Param, ParamId},
    tensor::{Device, Tensor, TensorData, activation::sigmoid},
};

use crate::{
    kernel::cell::CellKind,
    network::{TENSORS, Weights},
};

/// The network's weights as burn's parameters; names and order are those of [`Weights::tensors`].
#[derive(Module, Debug)]
pub struct Reference {
    cell: Param<Tensor<2>>,
    cell_bias: Param<Tensor<1>>,
    hidden: Param<Tensor<2>>,
    hidden_bias: Param<Tensor<1>>,
    output: Param<Tensor<2>>,
    output_bias: Param<Tensor<1>>,
    units: usize,
    is_gru: bool,
}

impl Reference {
    /// A copy of `weights` on `device`; one with gradients, where it is to be trained.
    ///
    /// Parameters have the same ids in every process, so that an optimiser's state can be taken up again.
    pub fn new(weights: &Weights, device: &Device) -> Self {
        let data = |index: usize| {
            let shapes = weights.shapes();
            TensorData::new(weights.tensors()[index].to_vec(), shapes[index].clone())
        };
        let id = |index: usize| ParamId::from(1 + index as u64);
        let matrix = |index| Param::initialized(id(index), Tensor::<2>::from_data(data(index), device).require_grad());
        let vector = |index| Param::initialized(id(index), Tensor::<1>::from_data(data(index), device).require_grad());
        Self {
            cell: matrix(0),
            cell_bias: vector(1),
            hidden: matrix(2),
            hidden_bias: vector(3),
            output: matrix(4),
            output_bias: vector(5),
            units: weights.sizes().hidden,
            is_gru: weights.sizes().kind == CellKind::Gru,
        }
    }

    /// Ids of the parameters, in the order of [`Weights::tensors`].
    pub fn ids(&self) -> [ParamId; TENSORS.len()] {
        [self.cell.id, self.cell_bias.id, self.hidden.id, self.hidden_bias.id, self.output.id, self.output_bias.id]
    }

    /// The parameters' values, in the order of [`Weights::tensors`].
    pub fn data(&self) -> [TensorData; TENSORS.len()] {
        [
            self.cell.val().into_data(),
            self.cell_bias.val().into_data(),
            self.hidden.val().into_data(),
            self.hidden_bias.val().into_data(),
            self.output.val().into_data(),
            self.output_bias.val().into_data(),
        ]
    }

    /// Bare outputs after every step, `[rows, steps, OUTPUTS]`, of `x`, `[rows, steps, INPUTS]`, with the head's context,
    /// `[rows, steps, CONTEXT]`, from the `state` on (`[rows, units]`, h and C; the GRU has no C); and the last state.
    pub fn forward(
        &self,
        x: &Tensor<3>,
        context: Tensor<3>,
        state: (Tensor<2>, Tensor<2>),
    ) -> (Tensor<3>, (Tensor<2>, Tensor<2>)) {
        let (mut h, mut c) = state;
        let mut all = Vec::new();
        // Of the untracked input: slicing a tracked tensor in a loop costs a gradient of its whole size at every step.
        for now in x.clone().iter_dim(1) {
            let now = now.squeeze_dim::<2>(1);
            (h, c) = if self.is_gru { (self.gru(now, h), c) } else { self.lstm(now, h, c) };
            all.push(h.clone());
        }
        let hidden = Tensor::stack::<3>(all, 1);
        (self.head(hidden, context), (h, c))
    }

    fn lstm(&self, x: Tensor<2>, h: Tensor<2>, c: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let sums = Tensor::cat(vec![h, x], 1).matmul(self.cell.val()) + self.cell_bias.val().unsqueeze();
        let [f, i, o, candidate] = gates(&sums, self.units);
        let c = sigmoid(f) * c + sigmoid(i) * candidate.tanh();
        (sigmoid(o) * c.clone().tanh(), c)
    }

    fn gru(&self, x: Tensor<2>, h: Tensor<2>) -> Tensor<2> {
        let units = self.units;
        let (weights, bias) = (self.cell.val(), self.cell_bias.val());
        let rows = weights.dims()[0];
        let of_h = h.clone().matmul(weights.clone().slice([0..units, 0..3 * units]));
        let of_x =
            x.matmul(weights.slice([units..rows, 0..3 * units])) + bias.clone().slice([0..3 * units]).unsqueeze();
        let part = |of: &Tensor<2>, gate: usize| {
            let all = of.dims()[0];
            of.clone().slice([0..all, gate * units..(gate + 1) * units])
        };
        let r = sigmoid(part(&of_h, 0) + part(&of_x, 0));
        let z = sigmoid(part(&of_h, 1) + part(&of_x, 1));
        let recurrent = part(&of_h, 2) + bias.slice([3 * units..4 * units]).unsqueeze();
        let candidate = (part(&of_x, 2) + r * recurrent).tanh();
        candidate.clone() + z * (h - candidate)
    }

    fn head(&self, hidden: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let joined = Tensor::cat(vec![hidden, context.clone()], 2);
        let wide = (joined.matmul(self.hidden.val().unsqueeze()) + self.hidden_bias.val().unsqueeze()).tanh();
        Tensor::cat(vec![wide, context], 2).matmul(self.output.val().unsqueeze()) + self.output_bias.val().unsqueeze()
    }
}

/// The four blocks of columns.
fn gates(sums: &Tensor<2>, units: usize) -> [Tensor<2>; 4] {
    let rows = sums.dims()[0];
    [0, 1, 2, 3].map(|gate| sums.clone().slice([0..rows, gate * units..(gate + 1) * units]))
}
