//! burn's Adam with decoupled weight decay (Loshchilov and Hutter 2019), fed with the kernel's gradients.

use anyhow::Context as _;
use ballast_models::{network::Weights, reference::Reference};
use burn::{
    optim::{AdamWConfig, GradientsParams, ModuleOptimizer},
    tensor::{Bytes, Device, Tensor, TensorData},
};

/// The optimiser with the parameters it changes.
pub struct Optimizer {
    adam: ModuleOptimizer,
    module: Reference,
    shapes: Vec<Vec<usize>>,
}

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Optimizer").field("shapes", &self.shapes).finish_non_exhaustive()
    }
}

impl Optimizer {
    /// Begins with `weights`.
    pub fn new(weights: &Weights, weight_decay: f32) -> Self {
        let config = AdamWConfig::new().with_beta_2(0.99).with_epsilon(1e-8).with_weight_decay(weight_decay);
        let module = Reference::new(weights, &Device::flex().autodiff());
        Self { adam: config.init(), module, shapes: weights.shapes() }
    }

    /// One step down the `gradients`, which come as [`Weights::tensors`] do; `weights` take the new values. Tensors that
    /// `is_frozen` stay as they are.
    ///
    /// # Errors
    /// Where burn hands back something that is no f32 tensor.
    pub fn step(
        &mut self,
        rate: f64,
        gradients: Vec<Vec<f32>>,
        is_frozen: impl Fn(usize) -> bool,
        weights: &mut Weights,
    ) -> anyhow::Result<()> {
        let mut handed = GradientsParams::new();
        let plain = Device::flex();
        for (index, (gradient, id)) in gradients.into_iter().zip(self.module.ids()).enumerate() {
            if is_frozen(index) {
                continue;
            }
            let data = TensorData::new(gradient, self.shapes[index].clone());
            match self.shapes[index].len() {
                1 => handed.register::<1>(id, Tensor::from_data(data, &plain)),
                _ => handed.register::<2>(id, Tensor::from_data(data, &plain)),
            }
        }
        self.module = self.adam.step(rate, self.module.clone(), handed);
        let data = self.module.data();
        let mut outcome = Ok(());
        weights.change(|index, tensor| match data[index].as_slice::<f32>() {
            Ok(values) => tensor.copy_from_slice(values),
            Err(error) => outcome = Err(anyhow::anyhow!("tensor {index} of burn's: {error:?}")),
        });
        outcome
    }

    /// Its state, to be taken up again.
    ///
    /// # Errors
    /// Where burn cannot write it.
    pub fn to_bytes(&self) -> anyhow::Result<Vec<u8>> {
        state(&self.adam)
    }

    /// Takes a state up again.
    ///
    /// # Errors
    /// Where it is none of burn's.
    pub fn restore(mut self, state: Vec<u8>) -> anyhow::Result<Self> {
        self.adam = restored(self.adam, state)?;
        Ok(self)
    }
}

/// State of an optimiser of burn's.
pub(crate) fn state(adam: &ModuleOptimizer) -> anyhow::Result<Vec<u8>> {
    let bytes = adam.into_bytes().map_err(|error| anyhow::anyhow!("the optimiser's state: {error:?}"))?;
    Ok(bytes.to_vec())
}

/// An optimiser of burn's with such a state.
pub(crate) fn restored(adam: ModuleOptimizer, state: Vec<u8>) -> anyhow::Result<ModuleOptimizer> {
    let restored = adam.from_bytes(Bytes::from_bytes_vec(state));
    restored.map_err(|error| anyhow::anyhow!("{error:?}")).context("the optimiser's state")
}
