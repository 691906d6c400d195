//! Why the simulated fleet did not do as asked.

use ballast_core::{
    id::{HostId, VmId},
    snapshot::HostPower,
};
use thiserror::Error;

/// Why the simulated fleet did not do as asked; nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SimError {
    /// No such host.
    #[error("host {0} is not part of the simulated fleet")]
    UnknownHost(HostId),
    /// No such vm.
    #[error("vm {0} is not part of the simulated fleet")]
    UnknownVm(VmId),
    /// The vm is on another host.
    #[error("vm {vm} is not on host {host}")]
    NotHere {
        /// Which vm.
        vm: VmId,
        /// Where it was looked for.
        host: HostId,
    },
    /// The vm is being moved already.
    #[error("a migration of vm {0} is already under way")]
    Busy(VmId),
    /// Source and destination are the same.
    #[error("vm {vm} is already on host {host}")]
    SameHost {
        /// Which vm.
        vm: VmId,
        /// Where it is and was to go.
        host: HostId,
    },
    /// No migration of the vm is under way.
    #[error("no migration of vm {0} is under way")]
    NoMigration(VmId),
    /// The switch-over has begun; it cannot be stopped any more.
    #[error("the migration of vm {0} is switching over and cannot be stopped")]
    TooLate(VmId),
    /// A host with vms on it, or on their way to it, does not sleep.
    #[error("host {host} holds {vms} vms")]
    NotEmpty {
        /// Which host.
        host: HostId,
        /// How many vms are on it or on their way.
        vms: usize,
    },
    /// The host is in another power state than the order needs.
    #[error("host {host} is {power:?}, {needed:?} is needed")]
    WrongPower {
        /// Which host.
        host: HostId,
        /// How it is.
        power: HostPower,
        /// How it would have to be.
        needed: HostPower,
    },
    /// The host's hypervisor does not answer.
    #[error("host {0} does not answer")]
    Unreachable(HostId),
}
