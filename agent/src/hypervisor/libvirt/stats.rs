//! A vm's bulk statistics as they stream by: what they say of its counters is kept, the rest is passed over.
//!
//! Pure; `ffi` calls it with each parameter as it lies in libvirt's memory, because a host's vms have a thousand of them at every
//! beat. Names are libvirt's own, as `virsh domstats` prints them.

use std::time::Duration;

use ballast_core::{
    counters::VmCounters,
    id::VmId,
    migration_cost::Changed,
    units::{Bytes, Timestamp},
};

use super::params::state;

/// What was told of one domain; `None` where nothing was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stats {
    state: Option<u64>,
    reason: Option<u64>,
    cpu_time: Option<u64>,
    balloon: Balloon,
    vcpus: Vcpus,
    disks: Disks,
    nets: Nets,
    dirty: Dirty,
}

/// Memory, in KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Balloon {
    current: Option<u64>,
    resident: Option<u64>,
    available: Option<u64>,
    usable: Option<u64>,
    unused: Option<u64>,
    updated: Option<u64>,
}

/// Sums over all vCPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Vcpus {
    time: Option<u64>,
    delay: Option<u64>,
}

/// Sums over all disks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Disks {
    read: Io,
    write: Io,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Io {
    bytes: Option<u64>,
    ops: Option<u64>,
    nanos: Option<u64>,
}

/// Sums over all interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Nets {
    rx: Packets,
    tx: Packets,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Packets {
    bytes: Option<u64>,
    packets: Option<u64>,
    lost: Option<u64>,
}

/// The newest measurement of how memory is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Dirty {
    status: Option<u64>,
    period: Option<u64>,
    rate: Option<u64>,
}

impl Stats {
    /// Takes one parameter with a number that is not negative.
    pub(super) fn take(&mut self, name: &[u8], value: u64) {
        let Some((group, field)) = split(name) else { return };
        match group {
            b"state" => self.take_state(field, value),
            b"cpu" if field == b"time" => self.cpu_time = Some(value),
            b"balloon" => self.balloon.take(field, value),
            b"vcpu" => self.vcpus.take(numbered(field), value),
            b"block" => self.disks.take(numbered(field), value),
            b"net" => self.nets.take(numbered(field), value),
            b"dirtyrate" => self.dirty.take(field, value),
            _ => {}
        }
    }

    fn take_state(&mut self, field: &[u8], value: u64) {
        match field {
            b"state" => self.state = Some(value),
            b"reason" => self.reason = Some(value),
            _ => {}
        }
    }
}

impl Balloon {
    fn take(&mut self, field: &[u8], value: u64) {
        let place = match field {
            b"current" => &mut self.current,
            b"rss" => &mut self.resident,
            b"available" => &mut self.available,
            b"usable" => &mut self.usable,
            b"unused" => &mut self.unused,
            b"last-update" => &mut self.updated,
            _ => return,
        };
        *place = Some(value);
    }

    /// What the guest uses: what it was given less what it could still hand out, by its own fresh account. Without one,
    /// nothing is said: resident memory never shrinks and is no measure of use.
    fn used(&self, now: Timestamp, age_max: Duration) -> Option<Bytes> {
        let updated = Timestamp::from_secs(self.updated.filter(|update| *update > 0)?);
        if now.since(updated) > age_max {
            return None;
        }
        let free = self.usable.or(self.unused)?;
        Some(Bytes::from_kib(self.available?).saturating_sub(Bytes::from_kib(free)))
    }
}

impl Vcpus {
    fn take(&mut self, field: &[u8], value: u64) {
        match field {
            b"time" => add(&mut self.time, value),
            b"delay" => add(&mut self.delay, value),
            _ => {}
        }
    }
}

impl Disks {
    fn take(&mut self, field: &[u8], value: u64) {
        let place = match field {
            b"rd.bytes" => &mut self.read.bytes,
            b"rd.reqs" => &mut self.read.ops,
            b"rd.times" => &mut self.read.nanos,
            b"wr.bytes" => &mut self.write.bytes,
            b"wr.reqs" => &mut self.write.ops,
            b"wr.times" => &mut self.write.nanos,
            _ => return,
        };
        add(place, value);
    }
}

impl Nets {
    fn take(&mut self, field: &[u8], value: u64) {
        let place = match field {
            b"rx.bytes" => &mut self.rx.bytes,
            b"rx.pkts" => &mut self.rx.packets,
            b"rx.errs" | b"rx.drop" => &mut self.rx.lost,
            b"tx.bytes" => &mut self.tx.bytes,
            b"tx.pkts" => &mut self.tx.packets,
            b"tx.errs" | b"tx.drop" => &mut self.tx.lost,
            _ => return,
        };
        add(place, value);
    }
}

impl Dirty {
    fn take(&mut self, field: &[u8], value: u64) {
        match field {
            b"calc_status" => self.status = Some(value),
            b"calc_period" => self.period = Some(value),
            b"megabytes_per_second" => self.rate = Some(value),
            _ => {}
        }
    }
}

/// `<group>.<the rest>`.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = name.iter().position(|byte| *byte == b'.')?;
    Some((&name[..dot], &name[dot + 1..]))
}

/// The rest of `<number>.<the rest>`, nothing of anything else: a group has fields of its own beside those of its members, whose
/// numbers may have gaps (vCPUs are hot-plugged anywhere).
fn numbered(field: &[u8]) -> &[u8] {
    match split(field) {
        Some((number, rest)) if number.iter().all(u8::is_ascii_digit) => rest,
        _ => b"",
    }
}

fn add(sum: &mut Option<u64>, value: u64) {
    *sum = Some(sum.unwrap_or(0).saturating_add(value));
}

/// What one domain's statistics say, read at `taken_at`. `balloon_age_max` is how old the guest's own account of its memory may be
/// before it no longer counts: it freezes when the guest's driver stops.
pub(super) fn counters(
    vm: VmId,
    run: u32,
    stats: &Stats,
    taken_at: Timestamp,
    balloon_age_max: Duration,
) -> VmCounters {
    let Stats { balloon, vcpus, disks, nets, .. } = stats;
    VmCounters {
        vm,
        incarnation: run.into(),
        taken_at,
        state: state(stats.state, stats.reason),
        cpu_time_nanos: stats.cpu_time,
        vcpu_time_nanos: vcpus.time,
        vcpu_delay_nanos: vcpus.delay,
        memory_used: balloon.used(taken_at, balloon_age_max),
        memory_balloon: balloon.current.map(Bytes::from_kib),
        memory_resident: balloon.resident.map(Bytes::from_kib),
        disk_read_bytes: disks.read.bytes,
        disk_write_bytes: disks.write.bytes,
        disk_read_ops: disks.read.ops,
        disk_write_ops: disks.write.ops,
        disk_read_nanos: disks.read.nanos,
        disk_write_nanos: disks.write.nanos,
        net_rx_bytes: nets.rx.bytes,
        net_tx_bytes: nets.tx.bytes,
        net_rx_packets: nets.rx.packets,
        net_tx_packets: nets.tx.packets,
        net_rx_lost: nets.rx.lost,
        net_tx_lost: nets.tx.lost,
        // Two measurements tell: `survey` puts them together.
        dirty_rate: None,
        working_set: None,
    }
}

/// How much memory had changed when the newest measurement ended (status 2); libvirt gives MiB per second of its span.
pub(super) fn changed(stats: &Stats) -> Option<Changed> {
    const MEASURED: u64 = 2;
    let dirty = &stats.dirty;
    dirty.status.filter(|status| *status == MEASURED)?;
    let seconds = dirty.period.filter(|seconds| *seconds > 0)?;
    let amount = Bytes::from_mib(dirty.rate?.saturating_mul(seconds));
    Some(Changed { after: Duration::from_secs(seconds), amount })
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
