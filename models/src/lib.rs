//! The learned parts of ballast, for serving: the forecaster with its own kernel, its state per vm and its bundle.

#![forbid(unsafe_code)]

pub mod bundle;
pub mod features;
pub mod kernel;
pub mod network;
pub mod offline;
pub mod past;
pub mod policy;
pub mod predictor;
pub mod recording;
#[cfg(feature = "burn")]
pub mod reference;
pub mod scale;
pub mod simple;
pub mod stream;
