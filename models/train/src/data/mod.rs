//! Histories made ready for training: every step's features, worked out once.

pub mod folder;
mod set;
mod truth;

pub use set::{NO_ANCHORS, Series, Set};
pub use truth::Futures;
