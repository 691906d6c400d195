//! Recurrent cells and dense layers on the CPU: forward, one step, and back through time.
//!
//! A batch is cut into tiles of one panel ([`panel`]: a few dozen samples). A tile runs through all its steps before the
//! next one starts, so its states stay in the innermost caches; tiles are spread over threads and share nothing. Sums
//! over tiles are taken in the order of the tiles: every result is the same to the last bit on any number of threads.

mod activation;
pub mod cell;
pub mod dense;
pub mod error;
mod matmul;
mod panel;
#[cfg(test)]
mod tests;
pub mod threads;
