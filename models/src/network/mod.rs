//! The forecaster's network: a recurrent cell whose state is carried from slot to slot, and a head that answers from that
//! state and the summary of the vm's own windows.

mod answer;
mod serve;
mod weights;

pub use answer::{MAXIMA, MEDIAN, OUTPUTS, PER_TARGET, REACH_AT_FIRST, TARGETS, back, quantiles};
pub use serve::{Network, answer};
pub use weights::{HeadWeights, Sizes, TENSORS, Weights, tensor_name};
