//! Recurrent cells: the long short-term memory and the gated recurrent unit.
//!
//! LSTM, the paper's equations (1) to (6), with σ the logistic sigmoid and ∘ the product by elements:
//!
//! ```text
//! f = σ(W_f·[h₋₁, x] + b_f)     i = σ(W_i·[h₋₁, x] + b_i)     o = σ(W_o·[h₋₁, x] + b_o)
//! C̃ = tanh(W_C·[h₋₁, x] + b_C)     C = f∘C₋₁ + i∘C̃     h = o∘tanh(C)
//! ```
//!
//! GRU, in the form that resets after the product, as cuDNN's and burn's default:
//!
//! ```text
//! r = σ(W_r·[h₋₁, x] + b_r)     z = σ(W_z·[h₋₁, x] + b_z)
//! n = tanh(W_nx·x + b_n + r∘(W_nh·h₋₁ + b_nh))     h = (1 - z)∘n + z∘h₋₁
//! ```

mod backward;
mod expanded;
mod forward;
mod prepared;
mod sequence;
mod state;
mod tape;
mod unit;
mod weights;

pub use backward::HiddenGradient;
pub use prepared::Cell;
pub use state::State;
pub use tape::Tape;
pub use weights::{CellGradients, CellKind, CellWeights};

/// Gates in the computation of both cells. The GRU has three, but its candidate's two halves are summed separately.
const GATES: usize = 4;
