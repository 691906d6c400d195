//! Raw cumulative counters of a vm, as a hypervisor gives them: two of them make a [`crate::sample::VmSample`].

use crate::{
    id::VmId,
    sample::VmState,
    units::{Bytes, BytesPerSec, Timestamp},
};

/// What a hypervisor says of one vm at one moment. `None` is a value that could not be read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VmCounters {
    /// Which vm.
    pub vm: VmId,
    /// Changes whenever the counters start anew: the vm was started, or arrived by migration.
    pub incarnation: u64,
    /// When it was read.
    pub taken_at: Timestamp,
    /// What the vm was doing.
    pub state: VmState,
    /// CPU time used, hypervisor overhead included, nanoseconds.
    pub cpu_time_nanos: Option<u64>,
    /// CPU time used by the vCPUs alone, nanoseconds.
    pub vcpu_time_nanos: Option<u64>,
    /// Time the vCPUs were runnable and waited for a host CPU, nanoseconds.
    pub vcpu_delay_nanos: Option<u64>,
    /// Memory the guest uses; already checked for staleness of the balloon's account.
    pub memory_used: Option<Bytes>,
    /// Memory the balloon leaves to the guest.
    pub memory_balloon: Option<Bytes>,
    /// Memory of the host held by the vm's process.
    pub memory_resident: Option<Bytes>,
    /// Bytes read from storage.
    pub disk_read_bytes: Option<u64>,
    /// Bytes written to storage.
    pub disk_write_bytes: Option<u64>,
    /// Read operations.
    pub disk_read_ops: Option<u64>,
    /// Write operations.
    pub disk_write_ops: Option<u64>,
    /// Time that reads took, all of them, nanoseconds.
    pub disk_read_nanos: Option<u64>,
    /// Time that writes took, all of them, nanoseconds.
    pub disk_write_nanos: Option<u64>,
    /// Bytes received from the network.
    pub net_rx_bytes: Option<u64>,
    /// Bytes sent to the network.
    pub net_tx_bytes: Option<u64>,
    /// Packets received.
    pub net_rx_packets: Option<u64>,
    /// Packets sent.
    pub net_tx_packets: Option<u64>,
    /// Packets for it that were dropped or damaged.
    pub net_rx_lost: Option<u64>,
    /// Packets of it that were dropped or damaged.
    pub net_tx_lost: Option<u64>,
    /// Memory written per second, where it was measured lately.
    pub dirty_rate: Option<BytesPerSec>,
    /// Memory it writes again and again, where that was measured lately.
    pub working_set: Option<Bytes>,
}
