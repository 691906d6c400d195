//! The figures of one policy on one day with one seed: a row of every table, plot and comparison.

use ballast_core::units::Joules;
use serde::Serialize;

use super::Played;

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
    /// Mean time between a vm's arrival and its start, seconds.
    pub start_wait_mean_s: Option<f64>,
    /// Share of the requests to services that were answered in time.
    pub answered_share: Option<f64>,
    /// 95th percentile of the time a service's answer took, milliseconds.
    pub latency_p95_ms: Option<f64>,
    /// What the policy proposed and the guard denied.
    pub denied: u64,
    /// What moves for gain gained by the demand that came, as a share of what was expected of them.
    pub came_true: Option<f64>,
    /// Share of promises that were broken: five minutes of a host in which its vms asked for more than they were reckoned
    /// with; where risk is measured.
    pub broken_share: Option<f64>,
}

impl Score {
    /// The row of a day that was played; unserved core-seconds cost `price` joules each.
    pub fn of(policy: &str, day: Option<&str>, seed: u64, played: &Played, price: Joules) -> Self {
        let (ledger, tally) = (&played.ledger, &played.tally);
        let millis = |span: std::time::Duration| span.as_secs_f64() * 1000.0;
        let overload = ratio(ledger.overload_seconds, ledger.loaded_host_seconds);
        let pdm = ratio(ledger.migration_core_seconds, ledger.demand_core_seconds);
        let energy_kwh = ledger.energy.kwh();
        Self {
            policy: policy.into(),
            day: day.map(str::to_owned),
            seed,
            energy_kwh,
            bound_kwh: None,
            gap: None,
            cost_joules: ledger.cost(price.get()),
            unserved_cpu_share: ledger.unserved_share(),
            unserved_io_share: ratio(ledger.io_unserved_bytes, ledger.io_demand_bytes),
            overload_time_share: overload,
            overload_p95_s: tally.overloads.percentile(0.95).unwrap_or_default().as_secs_f64(),
            slatah: overload,
            pdm,
            slav: overload * pdm,
            esv: energy_kwh * overload * pdm,
            migrations: ledger.migrations,
            migrations_failed: ledger.aborted,
            moved_bytes: ledger.copied.get(),
            downtime_s: ledger.downtime.as_secs_f64(),
            wakes: ledger.wakes,
            shutdowns: ledger.sleeps,
            mean_awake_hosts: ledger.mean_awake(),
            fault_domain_breach_h: ledger.breach_seconds / 3600.0,
            mean_user_rtt_ms: some_ratio(ledger.users_rtt_core_seconds * 1000.0, ledger.users_core_seconds),
            start_wait_p95_s: tally.start_waits.percentile(0.95).map(|wait| wait.as_secs_f64()),
            start_wait_mean_s: (tally.start_waits.total() > 0.0).then(|| tally.start_waits.mean().as_secs_f64()),
            answered_share: some_ratio(ledger.answered, ledger.requests),
            latency_p95_ms: tally.latencies.percentile(0.95).map(millis),
            denied: played.denied,
            came_true: played.gains.share(),
            broken_share: played.kept.filter(|kept| kept.promises > 0).map(|kept| kept.share()),
        }
    }

    /// The same row with its distance to the least energy possible.
    #[must_use]
    pub fn beside(self, bound_kwh: f64) -> Self {
        Self { bound_kwh: Some(bound_kwh), gap: some_ratio(self.energy_kwh - bound_kwh, bound_kwh), ..self }
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    some_ratio(part, whole).unwrap_or(0.0)
}

fn some_ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}
