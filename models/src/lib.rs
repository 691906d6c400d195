//! The learned parts of ballast, for serving: the forecaster with its own kernel, its state per vm and its bundle.

pub mod kernel;
