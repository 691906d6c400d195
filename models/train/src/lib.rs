//! Offline training and judging of ballast's models: from recordings to bundles, on the CPU or on accelerators.

#![forbid(unsafe_code)]

pub mod baselines;
pub mod batch;
pub mod burn_learner;
pub mod burn_rows;
pub mod checkpoint;
pub mod command;
pub mod data;
pub mod device;
pub mod engine;
pub mod head;
pub mod judge;
pub mod learner;
pub mod loss;
pub mod optimizer;
pub mod plots;
pub mod policy;
pub mod recipe;
pub mod score;
pub mod speed;
pub mod split;
pub mod training;
