//! libvirt's typed parameters as plain data, and what they mean: counters of a vm, figures of a job.
//!
//! Pure; the driver calls it with what [`super::ffi`] read. Keys are libvirt's own, as `virsh domstats` prints them.

use std::{collections::BTreeMap, time::Duration};

use ballast_core::{
    counters::VmCounters,
    id::VmId,
    migration_cost::Changed,
    sample::VmState,
    units::{Bytes, BytesPerSec, Timestamp},
};

/// One typed value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// An unsigned number, or a truth value.
    Unsigned(u64),
    /// A signed number.
    Signed(i64),
    /// A fraction.
    Float(f64),
    /// A text.
    Text(String),
}

/// Parameters by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Params(BTreeMap<String, Value>);

impl FromIterator<(String, Value)> for Params {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Params {
    /// A number that is not negative.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::Unsigned(value) => Some(*value),
            Value::Signed(value) => u64::try_from(*value).ok(),
            Value::Float(_) | Value::Text(_) => None,
        }
    }

    /// The sum of `<group>.<any number>.<field>`, `None` where there is no such parameter. Numbers may be missing in
    /// between: vCPUs are hot-plugged anywhere.
    fn sum(&self, group: &str, field: &str) -> Option<u64> {
        let prefix = format!("{group}.");
        self.0
            .range(prefix.clone()..)
            .take_while(|(name, _)| name.starts_with(&prefix))
            .filter(|(name, _)| is_field(&name[prefix.len()..], field))
            .filter_map(|(name, _)| self.number(name))
            .fold(None, |sum, value| Some(sum.unwrap_or(0).saturating_add(value)))
    }

    fn kib(&self, name: &str) -> Option<Bytes> {
        self.number(name).map(Bytes::from_kib)
    }
}

/// True for `<number>.<field>`.
fn is_field(rest: &str, field: &str) -> bool {
    rest.split_once('.').is_some_and(|(index, name)| name == field && index.bytes().all(|b| b.is_ascii_digit()))
}

/// What one domain's bulk statistics say, read at `taken_at`. `balloon_age_max` is how old the guest's own account of
/// its memory may be before it no longer counts: it freezes when the guest's driver stops.
pub(super) fn counters(
    vm: VmId,
    run: u32,
    params: &Params,
    taken_at: Timestamp,
    balloon_age_max: Duration,
) -> VmCounters {
    VmCounters {
        vm,
        incarnation: run.into(),
        taken_at,
        state: state(params.number("state.state"), params.number("state.reason")),
        cpu_time_nanos: params.number("cpu.time"),
        vcpu_time_nanos: params.sum("vcpu", "time"),
        vcpu_delay_nanos: params.sum("vcpu", "delay"),
        memory_used: memory_used(params, taken_at, balloon_age_max),
        memory_balloon: params.kib("balloon.current"),
        memory_resident: params.kib("balloon.rss"),
        disk_read_bytes: params.sum("block", "rd.bytes"),
        disk_write_bytes: params.sum("block", "wr.bytes"),
        disk_read_ops: params.sum("block", "rd.reqs"),
        disk_write_ops: params.sum("block", "wr.reqs"),
        disk_read_nanos: params.sum("block", "rd.times"),
        disk_write_nanos: params.sum("block", "wr.times"),
        net_rx_bytes: params.sum("net", "rx.bytes"),
        net_tx_bytes: params.sum("net", "tx.bytes"),
        net_rx_packets: params.sum("net", "rx.pkts"),
        net_tx_packets: params.sum("net", "tx.pkts"),
        net_rx_lost: both(params.sum("net", "rx.errs"), params.sum("net", "rx.drop")),
        net_tx_lost: both(params.sum("net", "tx.errs"), params.sum("net", "tx.drop")),
        // Two measurements tell: `survey` puts them together.
        dirty_rate: None,
        working_set: None,
    }
}

/// The sum of two counters, of that one where one alone is told.
fn both(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.map_or(other, |one| Some(one.saturating_add(other.unwrap_or(0))))
}

/// What the guest uses: what it was given less what it could still hand out, by its own fresh account. Without one,
/// nothing is said: resident memory never shrinks and is no measure of use.
fn memory_used(params: &Params, now: Timestamp, age_max: Duration) -> Option<Bytes> {
    let updated = Timestamp::from_secs(params.number("balloon.last-update").filter(|update| *update > 0)?);
    if now.since(updated) > age_max {
        return None;
    }
    let free = params.kib("balloon.usable").or_else(|| params.kib("balloon.unused"))?;
    Some(params.kib("balloon.available")?.saturating_sub(free))
}

/// How much memory had changed when the newest measurement ended (status 2); libvirt gives MiB per second of its span.
pub(super) fn changed(params: &Params) -> Option<Changed> {
    const MEASURED: u64 = 2;
    let number = |name| params.number(name);
    number("dirtyrate.calc_status").filter(|status| *status == MEASURED)?;
    let seconds = number("dirtyrate.calc_period").filter(|seconds| *seconds > 0)?;
    let amount = Bytes::from_mib(number("dirtyrate.megabytes_per_second")?.saturating_mul(seconds));
    Some(Changed { after: Duration::from_secs(seconds), amount })
}

/// libvirt's `VIR_DOMAIN_*` state and reason as ours. A vm paused for a migration may be leaving or arriving; only its
/// job tells which, so it counts as paused here.
pub(super) fn state(state: Option<u64>, reason: Option<u64>) -> VmState {
    const STARTING_UP: u64 = 11;
    match state {
        Some(1 | 2 | 4) => VmState::Running,
        Some(3) if reason == Some(STARTING_UP) => VmState::Incoming,
        Some(3 | 7) => VmState::Paused,
        Some(5) => VmState::ShutOff,
        Some(6) => VmState::Crashed,
        _ => VmState::Unknown,
    }
}

/// What kind of job a domain runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobKind {
    /// It migrates away.
    Leaving,
    /// It migrates here.
    Arriving,
    /// Something else, a backup for instance.
    Other,
    /// libvirt does not say whether it runs one: so it answers for one that migrates here.
    Untold,
}

/// Figures of a running job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct JobFigures {
    /// Which kind.
    pub(super) kind: JobKind,
    /// Time since it began.
    pub(super) elapsed: Duration,
    /// Data to copy in all.
    pub(super) total: Bytes,
    /// Data copied.
    pub(super) copied: Bytes,
    /// Data left.
    pub(super) remaining: Bytes,
    /// Rate of the copy.
    pub(super) rate: BytesPerSec,
    /// Rate at which memory is dirtied.
    pub(super) dirty_rate: BytesPerSec,
    /// Pass over memory, from 1; 0 before the first.
    pub(super) iteration: u64,
    /// Pause of the vm, once known.
    pub(super) downtime: Option<Duration>,
}

/// What job statistics say; `None` where no job runs (type 0). A job that just began has hardly any figures.
pub(super) fn job(kind: u32, params: &Params) -> Option<JobFigures> {
    (kind != 0).then(|| figures(params))
}

/// The figures of a job that runs or has ended.
pub(super) fn figures(params: &Params) -> JobFigures {
    let bytes = |name| Bytes(params.number(name).unwrap_or(0));
    let rate = |bytes: Bytes| BytesPerSec(bytes.as_f64());
    let page = params.number("memory_page_size").unwrap_or(4096);
    let dirty_pages = params.number("memory_dirty_rate").unwrap_or(0);
    JobFigures {
        kind: match params.number("operation") {
            Some(5) => JobKind::Leaving,
            Some(4) => JobKind::Arriving,
            _ => JobKind::Other,
        },
        elapsed: Duration::from_millis(params.number("time_elapsed").unwrap_or(0)),
        total: bytes("data_total"),
        copied: bytes("data_processed"),
        remaining: bytes("data_remaining"),
        rate: rate(bytes("memory_bps")),
        dirty_rate: rate(Bytes(dirty_pages.saturating_mul(page))),
        iteration: params.number("memory_iteration").unwrap_or(0),
        downtime: params.number("downtime").map(Duration::from_millis),
    }
}

#[cfg(test)]
#[path = "params_tests.rs"]
mod tests;
