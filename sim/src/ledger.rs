//! What a fleet has cost so far: the figures by which two runs are compared.

use std::time::Duration;

use ballast_core::units::{Bytes, Joules};
use serde::Serialize;

/// What a fleet has cost since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Ledger {
    /// Fleet time that has passed.
    pub elapsed: Duration,
    /// Energy drawn by all hosts, awake, asleep and between.
    pub energy: Joules,
    /// Core-seconds the vms wanted.
    pub demand_core_seconds: f64,
    /// Core-seconds the vms wanted and did not get because their host had no more.
    pub overload_core_seconds: f64,
    /// Host-seconds in which demand was above capacity.
    pub overload_seconds: f64,
    /// Core-seconds the vms lost to migrations: slowdown while copied, and pauses.
    pub migration_core_seconds: f64,
    /// Pauses of all migrations together.
    pub downtime: Duration,
    /// Migrations that ended at their destination.
    pub migrations: u64,
    /// Migrations that ended where they began.
    pub aborted: u64,
    /// Data copied by migrations.
    pub copied: Bytes,
    /// Hosts woken.
    pub wakes: u64,
    /// Hosts put to sleep.
    pub sleeps: u64,
    /// Host-seconds awake.
    pub awake_host_seconds: f64,
}
