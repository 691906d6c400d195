//! A fleet that moves in time: hosts, vms with demand replayed from recorded traces, contention, power, live migrations
//! round by round, sleep and wake, and faults on request.
//!
//! Deterministic: the same scenario, seed and orders give the same fleet to the last bit, in however many steps time is
//! advanced. It knows no task, no socket and no clock: whoever uses it says what time it is. The simulated drivers of the
//! agent, the demo and the scoreboard use it; the scheduler never does.

#![forbid(unsafe_code)]

pub mod bound;
pub mod cloudsim;
pub mod demand;
pub mod error;
mod flight;
pub mod generate;
mod host;
pub mod ledger;
pub mod measured;
mod noise;
pub mod observe;
pub mod placement;
pub mod power_class;
pub mod scenario;
pub mod score;
mod service;
pub mod trace;
mod vm;
pub mod world;

pub use error::SimError;
pub use flight::FlightEvent;
pub use ledger::Ledger;
pub use scenario::{FleetSize, Scenario};
pub use score::baseline;
pub use world::World;
