//! The network as a module of burn: what its optimiser changes, and the same computation in burn's own operations, on any
//! device that burn has.

use burn::{
    module::{Module, Param, ParamId},
    optim::GradientsParams,
    tensor::{Device, Tensor, TensorData, activation::sigmoid},
};

use crate::{
    kernel::cell::CellKind,
    network::{TENSORS, Weights},
    scale::Resource,
};

/// The network's weights as burn's parameters; their order is that of [`Weights::tensors`].
#[derive(Module, Debug)]
pub struct Reference {
    cell: Layer,
    heads: Vec<Head>,
    units: usize,
    is_gru: bool,
}

/// A matrix and a bias.
#[derive(Module, Debug)]
struct Layer {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

/// The head of one resource.
#[derive(Module, Debug)]
struct Head {
    hidden: Layer,
    output: Layer,
}

impl Layer {
    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        x.matmul(self.weight.val().unsqueeze()) + self.bias.val().unsqueeze()
    }
}

impl Reference {
    /// A copy of `weights` on `device`; one with gradients, where it is to be trained.
    ///
    /// Parameters have the same ids in every process, so that an optimiser's state can be taken up again.
    pub fn new(weights: &Weights, device: &Device) -> Self {
        let (tensors, shapes) = (weights.tensors(), weights.shapes());
        let data = |index: usize| TensorData::new(tensors[index].to_vec(), shapes[index].clone());
        let id = |index: usize| ParamId::from(1 + index as u64);
        let layer = |index: usize| Layer {
            weight: Param::initialized(id(index), Tensor::<2>::from_data(data(index), device).require_grad()),
            bias: Param::initialized(id(index + 1), Tensor::<1>::from_data(data(index + 1), device).require_grad()),
        };
        let heads = (2..TENSORS).step_by(4).map(|first| Head { hidden: layer(first), output: layer(first + 2) });
        let is_gru = weights.sizes().kind == CellKind::Gru;
        Self { cell: layer(0), heads: heads.collect(), units: weights.sizes().hidden, is_gru }
    }

    fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.cell).chain(self.heads.iter().flat_map(|head| [&head.hidden, &head.output]))
    }

    /// Ids of the parameters, in the order of [`Weights::tensors`].
    pub fn ids(&self) -> Vec<ParamId> {
        self.layers().flat_map(|layer| [layer.weight.id, layer.bias.id]).collect()
    }

    /// The parameters' values, in the order of [`Weights::tensors`].
    pub fn data(&self) -> Vec<TensorData> {
        self.layers().flat_map(|layer| [layer.weight.val().into_data(), layer.bias.val().into_data()]).collect()
    }

    /// Gradients of the parameters, in the order of [`Weights::tensors`]; zeros for one that the loss does not depend on.
    ///
    /// # Errors
    /// Where a gradient is not of 32 bits.
    pub fn gradients(&self, of: &GradientsParams) -> Result<Vec<Vec<f32>>, String> {
        let mut parts = Vec::new();
        for layer in self.layers() {
            let (weight, bias) = (layer.weight.val().inner(), layer.bias.val().inner());
            let by_weight = of.get::<2>(layer.weight.id).unwrap_or_else(|| weight.zeros_like());
            parts.push(by_weight.flatten::<1>(0, 1));
            parts.push(of.get::<1>(layer.bias.id).unwrap_or_else(|| bias.zeros_like()));
        }
        let lengths: Vec<usize> = parts.iter().map(|part| part.dims()[0]).collect();
        // Read in one piece: a device is waited for once, not once per tensor.
        let all = Tensor::cat(parts, 0).into_data().try_into_vec::<f32>();
        let mut all = all.map_err(|error| format!("a gradient of burn's: {error:?}"))?.into_iter();
        Ok(lengths.into_iter().map(|length| all.by_ref().take(length).collect()).collect())
    }

    /// h after every step, `[rows, steps, units]`, of `x`, `[rows, steps, INPUTS]`, from the `state` on (`[rows, units]`, h and C;
    /// the GRU has no C); and the last state.
    pub fn cell(&self, x: &Tensor<3>, state: (Tensor<2>, Tensor<2>)) -> (Tensor<3>, (Tensor<2>, Tensor<2>)) {
        let (mut h, mut c) = state;
        let mut all = Vec::new();
        // Of the untracked input: slicing a tracked tensor in a loop costs a gradient of its whole size at every step.
        for now in x.clone().iter_dim(1) {
            let now = now.squeeze_dim::<2>(1);
            (h, c) = if self.is_gru { (self.gru(now, h), c) } else { self.lstm(now, h, c) };
            all.push(h.clone());
        }
        (Tensor::stack::<3>(all, 1), (h, c))
    }

    /// Units of a head's hidden layer.
    pub fn width(&self) -> usize {
        self.heads[0].hidden.bias.dims()[0]
    }

    /// Bare outputs, `[rows, OUTPUTS]`, of one resource for `h`, `[rows, units]`, and `context`, `[rows, CONTEXT]`; the hidden
    /// layer's values are multiplied with `kept`, `[rows, width]`.
    pub fn head(&self, resource: Resource, h: Tensor<2>, context: Tensor<2>, kept: Tensor<2>) -> Tensor<2> {
        let head = &self.heads[resource as usize];
        let hidden = head.hidden.forward(Tensor::cat(vec![h, context.clone()], 1)).tanh() * kept;
        head.output.forward(Tensor::cat(vec![hidden, context], 1))
    }

    fn lstm(&self, x: Tensor<2>, h: Tensor<2>, c: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let sums = self.cell.forward(Tensor::cat(vec![h, x], 1));
        let [f, i, o, candidate] = [0, 1, 2, 3].map(|gate| gate_of(&sums, gate, self.units));
        let c = sigmoid(f) * c + sigmoid(i) * candidate.tanh();
        (sigmoid(o) * c.clone().tanh(), c)
    }

    fn gru(&self, x: Tensor<2>, h: Tensor<2>) -> Tensor<2> {
        let units = self.units;
        let (weights, bias) = (self.cell.weight.val(), self.cell.bias.val());
        let inputs = weights.dims()[0] - units;
        let of_h = h.clone().matmul(weights.clone().narrow(0, 0, units));
        let of_x = x.matmul(weights.narrow(0, units, inputs)) + bias.clone().narrow(0, 0, 3 * units).unsqueeze();
        let gate = |gate: usize| sigmoid(gate_of(&of_h, gate, units) + gate_of(&of_x, gate, units));
        let (r, z) = (gate(0), gate(1));
        let recurrent = gate_of(&of_h, 2, units) + bias.narrow(0, 3 * units, units).unsqueeze();
        let candidate = (gate_of(&of_x, 2, units) + r * recurrent).tanh();
        candidate.clone() + z * (h - candidate)
    }
}

/// The block of columns of one gate.
fn gate_of(sums: &Tensor<2>, gate: usize, units: usize) -> Tensor<2> {
    sums.clone().narrow(1, gate * units, units)
}
