//! The agent as a whole, over a simulated fleet and a scheduler that does what the test says.

// Helpers of tests may fail like tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../contract/mod.rs"]
mod contract;

mod bad_days;
mod commands;
mod drivers;
mod link;
mod preflight;
mod rig;
mod scheduler;
