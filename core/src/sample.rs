//! One telemetry reading of one host and of the vms on it, as the agent took it.
//!
//! A value that could not be read is [`Reading::Missing`], never zero: a host whose load is unknown must not look idle.

use serde::{Deserialize, Serialize};

use crate::{
    id::{BootId, HostId, Seq, VmId},
    units::{Bytes, BytesPerSec, Cores, OpsPerSec, PacketsPerSec, Ratio, Seconds, Timestamp, Watts},
};

/// A value and how it came to be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum Reading<T> {
    /// Read from a counter or a meter.
    Measured(T),
    /// Computed by a model from something that was measured.
    Estimated(T),
    /// Could not be read, or made no sense.
    #[default]
    Missing,
}

impl<T: Copy> Reading<T> {
    /// The value, measured or estimated.
    pub fn value(&self) -> Option<T> {
        match *self {
            Self::Measured(value) | Self::Estimated(value) => Some(value),
            Self::Missing => None,
        }
    }

    /// The same quality with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Measured(value) => Reading::Measured(f(value)),
            Self::Estimated(value) => Reading::Estimated(f(value)),
            Self::Missing => Reading::Missing,
        }
    }

    /// `Measured` where there is a value, `Missing` where there is none.
    pub fn measured(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Self::Measured)
    }

    /// True where nothing is known.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

/// Where a power figure comes from; figures of different sources are not comparable without calibration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerSource {
    /// The host's configured power curve at its CPU utilisation: an estimate.
    #[default]
    Curve,
    /// Wall power by IPMI DCMI.
    Dcmi,
    /// Wall power by the BMC's Redfish interface.
    Redfish,
    /// A hwmon power meter.
    Hwmon,
    /// The processor's RAPL counters: less than the whole host.
    Rapl,
}

/// Pressure stall information of a host: share of the last ten seconds in which some (or all) tasks waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// Some task waited for a CPU.
    pub cpu_some: Reading<Ratio>,
    /// Some task waited for memory.
    pub memory_some: Reading<Ratio>,
    /// All tasks waited for memory.
    pub memory_full: Reading<Ratio>,
    /// Some task waited for I/O.
    pub io_some: Reading<Ratio>,
    /// All tasks waited for I/O.
    pub io_full: Reading<Ratio>,
}

/// How the agent itself is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentHealth {
    /// Resident memory of the agent.
    pub resident: Bytes,
    /// CPU the agent used since the last sample.
    pub cpu_used: Cores,
    /// Samples waiting in the spool.
    pub spooled: u64,
    /// Samples dropped since the agent started because the spool was full.
    pub dropped: u64,
    /// Ticks since the agent started at which the hypervisor did not answer in time.
    pub late_ticks: u64,
    /// Whether the hypervisor is reachable; while it is not, an empty list of vms means nothing.
    pub hypervisor_connected: bool,
}

/// The host's own figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSample {
    /// CPU that vms may use.
    pub cpu_capacity: Cores,
    /// CPU in use by everything on the host.
    pub cpu_used: Reading<Cores>,
    /// Memory that vms may use.
    pub memory_capacity: Bytes,
    /// Memory in use: what is not available to a new process.
    pub memory_used: Reading<Bytes>,
    /// Power draw.
    pub power: Reading<Watts>,
    /// Where the power figure comes from.
    pub power_source: PowerSource,
    /// Pressure stall information.
    pub pressure: Pressure,
    /// The agent's own state.
    pub agent: AgentHealth,
}

impl HostSample {
    /// CPU that is left, as in the paper's feature table.
    pub fn cpu_remaining(&self) -> Reading<Cores> {
        self.cpu_used.map(|used| self.cpu_capacity.saturating_sub(used))
    }

    /// Memory that is left, as in the paper's feature table.
    pub fn memory_remaining(&self) -> Reading<Bytes> {
        self.memory_used.map(|used| self.memory_capacity.saturating_sub(used))
    }
}

/// What a vm is doing, as the hypervisor says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmState {
    /// Its vCPUs run (or wait for work).
    Running,
    /// Stopped in memory by an operator or by a migration's switch-over.
    Paused,
    /// Arriving by live migration; its vCPUs do not run yet.
    Incoming,
    /// Defined but not running.
    ShutOff,
    /// Crashed.
    Crashed,
    /// The hypervisor did not say.
    #[default]
    Unknown,
}

impl VmState {
    /// In a word, as tables and JSON name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Incoming => "incoming",
            Self::ShutOff => "shut_off",
            Self::Crashed => "crashed",
            Self::Unknown => "unknown",
        }
    }

    /// True where it takes memory of its host: all but shut off. Such a vm keeps its host awake.
    pub fn holds_memory(self) -> bool {
        self != Self::ShutOff
    }
}

/// One vm's figures; rates are means since the sample before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct VmSample {
    /// Which vm.
    pub vm: VmId,
    /// When it was read: a slow vm's sample may be older than the batch it travels in.
    pub taken_at: Timestamp,
    /// What it was doing.
    pub state: VmState,
    /// CPU used, hypervisor overhead included.
    pub cpu_used: Reading<Cores>,
    /// Share of the time its runnable vCPUs had to wait for a host CPU: the slowdown ballast exists to avoid.
    pub steal: Reading<Ratio>,
    /// Memory the guest uses: available less usable by the balloon's account.
    pub memory_used: Reading<Bytes>,
    /// Memory the balloon leaves to the guest.
    pub memory_balloon: Reading<Bytes>,
    /// Memory of the host held by the vm's process.
    pub memory_resident: Reading<Bytes>,
    /// Storage read.
    pub disk_read: Reading<BytesPerSec>,
    /// Storage written.
    pub disk_write: Reading<BytesPerSec>,
    /// Storage read operations.
    pub disk_read_ops: Reading<OpsPerSec>,
    /// Storage write operations.
    pub disk_write_ops: Reading<OpsPerSec>,
    /// Network received.
    pub net_rx: Reading<BytesPerSec>,
    /// Network sent.
    pub net_tx: Reading<BytesPerSec>,
    /// Memory written, where it was measured lately.
    pub dirty_rate: Reading<BytesPerSec>,
    /// Memory that it writes again and again, where that was measured lately.
    #[serde(default)]
    pub working_set: Reading<Bytes>,
    /// Mean time that a read from storage took; nothing of it where none was made.
    #[serde(default)]
    pub disk_read_latency: Reading<Seconds>,
    /// Mean time that a write to storage took; nothing of it where none was made.
    #[serde(default)]
    pub disk_write_latency: Reading<Seconds>,
    /// Packets received.
    #[serde(default)]
    pub net_rx_packets: Reading<PacketsPerSec>,
    /// Packets sent.
    #[serde(default)]
    pub net_tx_packets: Reading<PacketsPerSec>,
    /// Packets for it that were dropped or damaged.
    #[serde(default)]
    pub net_rx_lost: Reading<PacketsPerSec>,
    /// Packets of it that were dropped or damaged.
    #[serde(default)]
    pub net_tx_lost: Reading<PacketsPerSec>,
}

/// All that one host reported at one tick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Who reports.
    pub host: HostId,
    /// Which boot of it.
    pub boot: BootId,
    /// Position in that boot's stream, from 1.
    pub seq: Seq,
    /// When the tick was, by the agent's clock.
    pub taken_at: Timestamp,
    /// The host's own figures.
    pub sample: HostSample,
    /// Its vms' figures.
    pub vms: Vec<VmSample>,
}

impl Batch {
    /// CPU used by what is not a vm, where it can be told: not while what some running vm uses is unknown, as right after
    /// its arrival.
    pub fn beside_vms(&self) -> Option<Cores> {
        let used = self.sample.cpu_used.value().filter(|used| used.is_sane())?;
        let mut by_vms = Cores::ZERO;
        for vm in &self.vms {
            match vm.cpu_used.value().filter(|used| used.is_sane()) {
                Some(used) => by_vms += used,
                None if vm.state == VmState::Running => return None,
                None => {}
            }
        }
        Some(used.saturating_sub(by_vms))
    }
}
