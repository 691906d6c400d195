//! Claims about the kernel, against plain evaluations in `f64`.

mod activation;
#[cfg(feature = "flex")]
mod burn;
mod cell_backward;
mod cell_forward;
mod dense;
mod matmul;
mod reference;
mod shapes;
mod state;
