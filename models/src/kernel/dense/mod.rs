//! A dense layer: y = activation(x·W + b), forward and backward.

mod backward;
mod forward;
mod prepared;
mod weights;

pub use backward::DenseTape;
pub use prepared::Dense;
pub use weights::{Activation, DenseGradients, DenseWeights};
