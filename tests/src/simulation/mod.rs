//! Deterministic simulation: the real scheduler and the real agents, with their real gRPC services, in simulated time on one
//! thread, with everything going wrong that a seed has in store.
//!
//! ```text
//!   chaos ──▶ run: at every step of 10 ms   wire delivers · scheduler lives · agents live · watch looks
//!                     │                        │ meddles        │ journals     │ effects
//!                     └──▶ trace (hash)        ▼                ▼              ▼
//!                                            planted bugs     judge ◀──────  witness
//! ```
//!
//! Each process is a tokio runtime of its own with paused time ([`life`]), so that losing it loses every task it had. What
//! would run on threads runs in place (`Clock::simulated`), and takes the simulated time that the seed says: a process
//! can be lost after a record was written and before anybody was told. Not turmoil, which has hosts of this kind too: here
//! single messages can be taken hold of, a disk has its own pace, and time jumps from event to event.
//!
//! `ballast-tests simulate` plays seeds; `tests/it/simulation.rs` plays a fixed set of them.

mod belief;
mod books;
mod chaos;
mod desk;
mod dice;
mod disk;
mod fate;
mod fleet;
mod judge;
mod life;
pub mod planted;
pub mod regressions;
mod run;
mod start;
mod trace;
mod wall;
mod watch;
mod wire;
mod witness;

pub use run::{Options, Report, play};
