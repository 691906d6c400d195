//! libvirt's typed parameters as plain data, and what they mean: figures of a job, and its numbers for states.
//!
//! Pure; the driver calls it with what [`super::ffi`] read. Keys are libvirt's own. Counters of vms are read by [`super::stats`].

use std::{collections::BTreeMap, time::Duration};

use ballast_core::{
    sample::VmState,
    units::{Bytes, BytesPerSec},
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

impl Value {
    /// A number that is not negative.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            Self::Signed(value) => u64::try_from(*value).ok(),
            Self::Float(_) | Self::Text(_) => None,
        }
    }
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
        self.0.get(name)?.number()
    }
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
