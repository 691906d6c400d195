//! What a fleet has cost so far: the figures by which two runs are compared.

use std::{collections::BTreeMap, time::Duration};

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
    /// Host-seconds awake with at least one vm.
    pub loaded_host_seconds: f64,
    /// Core-seconds the vms lost to migrations: slowdown while copied, and pauses.
    pub migration_core_seconds: f64,
    /// Core-seconds that vms wanted while they were not running: before their start found room, or after their host died.
    pub waiting_core_seconds: f64,
    /// Storage and network traffic the vms wanted, bytes.
    pub io_demand_bytes: f64,
    /// Storage and network traffic they wanted and did not get.
    pub io_unserved_bytes: f64,
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
    /// Vm-seconds in which a vm shared a fault domain with one it must not share it with.
    pub breach_seconds: f64,
    /// Core-seconds of vms with users, and the same weighted by the round-trip time to them in seconds.
    pub users_core_seconds: f64,
    /// See `users_core_seconds`.
    pub users_rtt_core_seconds: f64,
    /// Requests that came to services.
    pub requests: f64,
    /// Requests that were answered before those who asked gave up.
    pub answered: f64,
}

/// A count of lengths, from which any percentile is read: exact for lengths that repeat, as those of a simulation do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lengths(BTreeMap<u64, f64>);

impl Lengths {
    /// Counts one length.
    pub fn add(&mut self, length: Duration) {
        self.add_weighted(length, 1.0);
    }

    /// Counts a length `weight` times.
    pub fn add_weighted(&mut self, length: Duration, weight: f64) {
        if weight > 0.0 {
            *self.0.entry(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)).or_default() += weight;
        }
    }

    /// The length that a share `level` (0 to 1) of all that was counted does not exceed; `None` where nothing was.
    pub fn percentile(&self, level: f64) -> Option<Duration> {
        let whole: f64 = self.0.values().sum();
        let mut so_far = 0.0;
        for (millis, weight) in &self.0 {
            so_far += weight;
            if so_far >= level * whole * (1.0 - 1e-12) {
                return Some(Duration::from_millis(*millis));
            }
        }
        None
    }

    /// How much was counted.
    pub fn total(&self) -> f64 {
        self.0.values().sum()
    }

    /// Mean of what was counted; zero where nothing was.
    pub fn mean(&self) -> Duration {
        let sum: f64 =
            self.0.iter().map(|(millis, weight)| ballast_core::units::Bytes(*millis).as_f64() * weight).sum();
        ballast_core::units::seconds(sum / 1000.0 / self.total().max(f64::MIN_POSITIVE))
    }
}

/// What is counted by its length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Overloads of hosts that are over.
    pub overloads: Lengths,
    /// Times between the arrival of a vm and its start.
    pub start_waits: Lengths,
    /// Times that answers of services took, by requests.
    pub latencies: Lengths,
}

impl Ledger {
    /// Core-seconds of demand that went unserved, to overload, copies, pauses and waiting.
    pub fn unserved_core_seconds(&self) -> f64 {
        self.overload_core_seconds + self.migration_core_seconds + self.waiting_core_seconds
    }

    /// What it comes to in joules where a core-second that goes unserved costs `price`.
    pub fn cost(&self, price: f64) -> f64 {
        self.energy.get() + self.unserved_core_seconds() * price
    }

    /// Share of the demand that went unserved, to overload, copies, pauses and waiting.
    pub fn unserved_share(&self) -> f64 {
        self.unserved_core_seconds() / (self.demand_core_seconds + self.waiting_core_seconds).max(f64::MIN_POSITIVE)
    }

    /// Hosts awake on average.
    pub fn mean_awake(&self) -> f64 {
        self.awake_host_seconds / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_length_that_so_many_do_not_exceed() {
        let mut lengths = Lengths::default();
        assert_eq!(lengths.percentile(0.5), None);
        for seconds in 1..=100 {
            lengths.add(Duration::from_secs(seconds));
        }
        assert_eq!(lengths.percentile(0.95), Some(Duration::from_secs(95)));
        assert_eq!(lengths.percentile(1.0), Some(Duration::from_secs(100)));
        assert_eq!((lengths.total(), lengths.mean()), (100.0, Duration::from_millis(50_500)));
    }
}
