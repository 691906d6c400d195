//! From cumulative counters to a sample: called by the agent at every tick with what it read now and the time before.
//!
//! A rate is given only where two readings belong together; everything else is missing, and nothing is ever negative.

use crate::{
    counters::VmCounters,
    sample::{Reading, VmSample},
    units::{Bytes, BytesPerSec, Cores, OpsPerSec, PacketsPerSec, Ratio, Seconds},
};

/// One of the counters.
type Counter = fn(&VmCounters) -> Option<u64>;

/// The sample that `now` makes with the reading `before` it. Rates are missing where there is none, where the vm was
/// started or moved in between, or where time did not pass; a single counter that went back (a device was unplugged, a
/// counter wrapped) makes its own rate missing.
pub fn vm_sample(before: Option<&VmCounters>, now: &VmCounters) -> VmSample {
    let pair = before.and_then(|before| Pair::of(before, now));
    let rate = |counter: Counter| Reading::measured(pair.as_ref().and_then(|p| p.rate(counter)));
    let latency = |nanos: Counter, operations: Counter| {
        Reading::measured(pair.as_ref().and_then(|pair| pair.latency(nanos, operations)))
    };
    VmSample {
        vm: now.vm,
        taken_at: now.taken_at,
        state: now.state,
        cpu_used: rate(|c| c.cpu_time_nanos).map(|nanos| Cores(nanos / 1e9)),
        steal: Reading::measured(pair.as_ref().and_then(Pair::steal)),
        memory_used: Reading::measured(now.memory_used),
        memory_balloon: Reading::measured(now.memory_balloon),
        memory_resident: Reading::measured(now.memory_resident),
        disk_read: rate(|c| c.disk_read_bytes).map(BytesPerSec),
        disk_write: rate(|c| c.disk_write_bytes).map(BytesPerSec),
        disk_read_ops: rate(|c| c.disk_read_ops).map(OpsPerSec),
        disk_write_ops: rate(|c| c.disk_write_ops).map(OpsPerSec),
        net_rx: rate(|c| c.net_rx_bytes).map(BytesPerSec),
        net_tx: rate(|c| c.net_tx_bytes).map(BytesPerSec),
        dirty_rate: Reading::measured(now.dirty_rate),
        working_set: Reading::measured(now.working_set),
        disk_read_latency: latency(|c| c.disk_read_nanos, |c| c.disk_read_ops),
        disk_write_latency: latency(|c| c.disk_write_nanos, |c| c.disk_write_ops),
        net_rx_packets: rate(|c| c.net_rx_packets).map(PacketsPerSec),
        net_tx_packets: rate(|c| c.net_tx_packets).map(PacketsPerSec),
        net_rx_lost: rate(|c| c.net_rx_lost).map(PacketsPerSec),
        net_tx_lost: rate(|c| c.net_tx_lost).map(PacketsPerSec),
    }
}

/// Two readings of one life of a vm, some time apart.
#[derive(Debug, Clone, Copy)]
struct Pair<'a> {
    before: &'a VmCounters,
    now: &'a VmCounters,
    seconds: f64,
}

impl<'a> Pair<'a> {
    /// `None` where the two do not belong together. CPU time that falls is a new life, whatever the driver says.
    fn of(before: &'a VmCounters, now: &'a VmCounters) -> Option<Self> {
        let same_life = before.vm == now.vm && before.incarnation == now.incarnation;
        let restarted = matches!((before.cpu_time_nanos, now.cpu_time_nanos), (Some(b), Some(n)) if n < b);
        let span = now.taken_at.since(before.taken_at);
        (same_life && !restarted && !span.is_zero()).then_some(Self { before, now, seconds: span.as_secs_f64() })
    }

    /// How much a counter rose; `None` where it fell or was not read.
    fn rise(&self, counter: Counter) -> Option<f64> {
        let rise = counter(self.now)?.checked_sub(counter(self.before)?)?;
        Some(Bytes(rise).as_f64())
    }

    fn rate(&self, counter: Counter) -> Option<f64> {
        Some(self.rise(counter)? / self.seconds)
    }

    /// Time waited for a CPU over time a CPU was wanted; a vm that wanted none did not wait.
    fn steal(&self) -> Option<Ratio> {
        let waited = self.rise(|c| c.vcpu_delay_nanos)?;
        let ran = self.rise(|c| c.vcpu_time_nanos)?;
        let wanted = waited + ran;
        Some(Ratio(if wanted > 0.0 { waited / wanted } else { 0.0 }))
    }

    /// Mean time of an operation; who asked for none did not wait.
    fn latency(&self, nanos: Counter, operations: Counter) -> Option<Seconds> {
        let (took, count) = (self.rise(nanos)?, self.rise(operations)?);
        Some(Seconds(if count > 0.0 { took / count / 1e9 } else { 0.0 }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Timestamp;

    fn counters(seconds: u64, cpu: u64) -> VmCounters {
        VmCounters {
            incarnation: 1,
            taken_at: Timestamp::from_secs(seconds),
            cpu_time_nanos: Some(cpu),
            vcpu_time_nanos: Some(cpu),
            vcpu_delay_nanos: Some(cpu / 3),
            net_rx_bytes: Some(cpu),
            memory_used: Some(Bytes(7)),
            ..VmCounters::default()
        }
    }

    #[test]
    fn rates_are_means_over_the_time_between() {
        let sample = vm_sample(Some(&counters(10, 0)), &counters(15, 7_500_000_000));
        assert_eq!(sample.cpu_used, Reading::Measured(Cores(1.5)));
        assert_eq!(sample.steal, Reading::Measured(Ratio(0.25)));
        assert_eq!(sample.net_rx, Reading::Measured(BytesPerSec(1.5e9)));
        assert_eq!(sample.disk_read, Reading::Missing, "it was not read");
        assert_eq!(sample.memory_used, Reading::Measured(Bytes(7)));
    }

    fn assert_no_rates(before: Option<&VmCounters>, now: &VmCounters) {
        let sample = vm_sample(before, now);
        assert!(sample.cpu_used.is_missing() && sample.steal.is_missing() && sample.net_rx.is_missing());
        assert_eq!(sample.memory_used, Reading::Measured(Bytes(7)), "what is no rate needs no reading before");
    }

    #[test]
    fn there_are_no_rates_without_a_reading_before() {
        assert_no_rates(None, &counters(15, 10));
    }

    #[test]
    fn there_are_no_rates_across_a_new_incarnation() {
        let now = VmCounters { incarnation: 2, ..counters(15, 10) };
        assert_no_rates(Some(&counters(10, 5)), &now);
    }

    #[test]
    fn there_are_no_rates_where_the_clock_stands_or_goes_back() {
        assert_no_rates(Some(&counters(15, 5)), &counters(15, 10));
        assert_no_rates(Some(&counters(16, 5)), &counters(15, 10));
    }

    #[test]
    fn cpu_time_that_falls_is_a_new_life() {
        let now = VmCounters { net_rx_bytes: Some(50), ..counters(15, 4) };
        assert_no_rates(Some(&counters(10, 5)), &now);
    }

    #[test]
    fn an_operation_of_storage_took_its_mean_and_who_asked_for_none_did_not_wait() {
        let after = |seconds, reads, nanos| VmCounters {
            disk_read_ops: Some(reads),
            disk_read_nanos: Some(nanos),
            disk_write_ops: Some(7),
            disk_write_nanos: Some(100),
            ..counters(seconds, 10)
        };
        let sample = vm_sample(Some(&after(10, 100, 5)), &after(15, 110, 20_000_005));
        assert_eq!(sample.disk_read_latency, Reading::Measured(Seconds(0.002)));
        assert_eq!(sample.disk_write_latency, Reading::Measured(Seconds::ZERO));
    }

    #[test]
    fn a_counter_that_falls_alone_costs_only_its_own_rate() {
        let now = VmCounters { net_rx_bytes: Some(1), ..counters(15, 5_000_000_000) };
        let sample = vm_sample(Some(&counters(10, 5)), &now);
        assert_eq!(sample.net_rx, Reading::Missing);
        assert!(!sample.cpu_used.is_missing());
    }

    #[test]
    fn an_idle_vm_is_not_slowed_down() {
        assert_eq!(vm_sample(Some(&counters(10, 5)), &counters(15, 5)).steal, Reading::Measured(Ratio(0.0)));
    }

    proptest! {
        #[test]
        fn no_rate_is_ever_negative_or_not_a_number(
            times in any::<(u64, u64)>(), cpu in any::<(u64, u64)>(), delay in any::<(u64, u64)>(),
            net in any::<(u64, u64)>(), lives in (0..2u64, 0..2u64),
        ) {
            let reading = |at, life, cpu, delay, net| VmCounters {
                incarnation: life, taken_at: Timestamp(at), cpu_time_nanos: Some(cpu), vcpu_time_nanos: Some(cpu),
                vcpu_delay_nanos: Some(delay), net_tx_bytes: Some(net), ..VmCounters::default()
            };
            let before = reading(times.0, lives.0, cpu.0, delay.0, net.0);
            let sample = vm_sample(Some(&before), &reading(times.1, lives.1, cpu.1, delay.1, net.1));
            prop_assert!(sample.cpu_used.value().is_none_or(Cores::is_sane));
            prop_assert!(sample.net_tx.value().is_none_or(BytesPerSec::is_sane));
            prop_assert!(sample.steal.value().is_none_or(|share| (0.0..=1.0).contains(&share.get())));
        }
    }
}
