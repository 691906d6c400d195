//! Harness of the end-to-end tests: sources to look through, fleets to run, machines to find.
//!
//! Nothing outside this crate's own tests calls it, and no shipped binary contains it.

#![forbid(unsafe_code)]

pub mod bmc;
pub mod certificates;
pub mod damage;
pub mod drill;
pub mod fleet;
pub mod fuzz;
pub mod grpc;
pub mod lab;
pub mod lab_fleet;
pub mod lab_place;
pub mod logs;
pub mod process;
pub mod python;
pub mod scheduler;
pub mod scripted;
pub mod scripted_scheduler;
pub mod simulation;
pub mod skip;
pub mod small_disk;
pub mod sources;
pub mod trial;
