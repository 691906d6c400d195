//! The figures of one policy on one day with one seed: a row of every table, plot and comparison.

use serde::Serialize;

/// What one policy made of one day. Shares are 0 to 1; what does not apply to a scenario is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Score {
    /// Which policy, as it was named.
    pub policy: String,
    /// Which day of recorded demand, where the scenario has several.
    pub day: Option<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Energy of all hosts: awake, asleep and between.
    pub energy_kwh: f64,
    /// Least energy that any placement could have needed for the same demand, by the fluid bound.
    pub bound_kwh: Option<f64>,
    /// Energy beyond the bound, as a share of the bound.
    pub gap: Option<f64>,
    /// The objective: energy, and unserved demand at its price.
    pub cost_joules: f64,
    /// Share of the CPU demand that went unserved, to overload, to copies and to pauses.
    pub unserved_cpu_share: f64,
    /// Share of the storage and network demand that went unserved.
    pub unserved_io_share: f64,
    /// Share of the hosts' time awake with vms in which demand was above capacity.
    pub overload_time_share: f64,
    /// 95th percentile of the lengths of overloads, seconds.
    pub overload_p95_s: f64,
    /// SLA violation time per active host (Beloglazov and Buyya 2012), here the same as `overload_time_share` unless the
    /// benchmark's own accounting is asked for.
    pub slatah: f64,
    /// Performance degradation by migrations (same source): CPU demand lost to copies and pauses, as a share.
    pub pdm: f64,
    /// `slatah * pdm`.
    pub slav: f64,
    /// `energy_kwh * slav`.
    pub esv: f64,
    /// Migrations that ended at their destination.
    pub migrations: u64,
    /// Migrations that did not.
    pub migrations_failed: u64,
    /// Data copied by migrations.
    pub moved_bytes: u64,
    /// Pauses of all vms together, seconds.
    pub downtime_s: f64,
    /// Hosts woken.
    pub wakes: u64,
    /// Hosts put to sleep or switched off.
    pub shutdowns: u64,
    /// Hosts awake, on average over time.
    pub mean_awake_hosts: f64,
    /// Time in which two vms that must not share a fault domain did, vm-hours.
    pub fault_domain_breach_h: f64,
    /// Mean round-trip time between vms and their users, weighted by CPU demand, milliseconds.
    pub mean_user_rtt_ms: Option<f64>,
    /// 95th percentile of the time between a vm's arrival and its start, seconds.
    pub start_wait_p95_s: Option<f64>,
    /// Share of the requests to services that were answered in time.
    pub answered_share: Option<f64>,
    /// 95th percentile of the time a service's answer took, milliseconds.
    pub latency_p95_ms: Option<f64>,
    /// What the policy proposed and the guard denied.
    pub denied: u64,
}
