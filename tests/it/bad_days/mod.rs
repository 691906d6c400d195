//! Every bad day the project promises to survive, one test each: a clear message, nothing lost, the vm running once.
//!
//! `scheduler`: what reaches a scheduler from agents that a script plays. `agent`: what reaches an agent from a
//! scheduler that a script plays. `disk`: full, read-only and torn. `files`: what people write wrongly. The bad day
//! that needs a real libvirtd is in `lab`.

mod agent;
mod disk;
mod files;
mod scheduler;
