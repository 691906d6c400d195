//! The fleet as data, and every decision as a pure function of it.
//!
//! Nothing here reads a clock, a file or a random source, writes a log line or fails silently: time and seeds are
//! arguments, reasons are return values. Agent, scheduler, simulation and training share what is in here, so that a
//! watt, a migration's cost and an overload mean the same to all of them.

#![forbid(unsafe_code)]

pub mod aftercare;
pub mod command;
pub mod convergence;
pub mod counters;
pub mod decide;
pub mod decision;
pub mod early;
pub mod ewma;
pub mod explain;
pub mod finding;
#[cfg(test)]
mod fixture;
pub mod fleet;
pub mod forecast;
pub mod guard;
pub mod hindsight;
pub mod history;
pub mod id;
pub mod inventory;
pub mod journal;
pub mod migration;
pub mod migration_cost;
pub mod newcomers;
pub mod objective;
pub mod outcome;
pub mod oversight;
pub mod plan;
pub mod planner;
pub mod plausibility;
pub mod policy;
pub mod power;
pub mod preflight;
pub mod proposal;
pub mod proximity;
pub mod queue;
pub mod quiet;
pub mod rates;
pub mod restless;
pub mod risk;
pub mod sample;
pub mod shadow;
pub mod snapshot;
pub mod stake;
pub mod standby;
pub mod tuning;
pub mod units;
pub mod window;
