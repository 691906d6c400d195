//! What the guard says of a proposal: which rule, about whom, with the figures that broke it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    id::{CommandId, HostId, VmId},
    inventory::Obstacle,
    preflight::Refusal,
    snapshot::Doubt,
    units::{Bytes, BytesPerSec, Cores, Timestamp},
};

/// One reason against a proposal. Every variant names its data, so that a person can check it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// No such host is known.
    UnknownHost {
        /// Which was named.
        host: HostId,
    },
    /// No such vm is known.
    UnknownVm {
        /// Which was named.
        vm: VmId,
    },
    /// The vm is not where the proposal takes it from.
    NotThere {
        /// Which vm.
        vm: VmId,
        /// Where the proposal has it.
        claimed: HostId,
        /// Where it is.
        actual: HostId,
    },
    /// Source and destination are the same.
    SameHost {
        /// The host.
        host: HostId,
    },
    /// The vm is not running.
    NotRunning {
        /// Which vm.
        vm: VmId,
    },
    /// The host's figures are not to be acted on.
    Doubtful {
        /// Which host.
        host: HostId,
        /// Why.
        doubts: Vec<Doubt>,
    },
    /// The destination is not awake.
    NotAwake {
        /// Which host.
        host: HostId,
    },
    /// The destination is being drained.
    BeingDrained {
        /// Which host.
        host: HostId,
    },
    /// The destination's CPU would be over the limit now.
    CpuNow {
        /// Which host.
        host: HostId,
        /// Load it would have.
        would_be: Cores,
        /// What is allowed.
        limit: Cores,
    },
    /// The destination's CPU would be over the limit within the horizon, at the risk quantile.
    CpuAhead {
        /// Which host.
        host: HostId,
        /// Load it would have.
        would_be: Cores,
        /// What is allowed.
        limit: Cores,
    },
    /// The destination's memory would be promised more than once beyond the configured ratio.
    Memory {
        /// Which host.
        host: HostId,
        /// Memory that would be reserved.
        would_be: Bytes,
        /// What is allowed.
        limit: Bytes,
    },
    /// The vm is pinned to other hosts.
    Pinned {
        /// Which vm.
        vm: VmId,
        /// Where it was to go.
        host: HostId,
    },
    /// Its owner wants it left alone.
    Immovable {
        /// Which vm.
        vm: VmId,
    },
    /// A member of the same anti-affinity group is or will be there.
    AntiAffinity {
        /// Which vm.
        vm: VmId,
        /// Who is there.
        other: VmId,
        /// The group they share.
        group: String,
        /// Where.
        host: HostId,
    },
    /// A member of the same bundle is elsewhere, and stays there.
    TornApart {
        /// Which vm.
        vm: VmId,
        /// Who would be left behind.
        other: VmId,
        /// The bundle.
        group: String,
        /// Where the other will be.
        at: HostId,
    },
    /// A member of the same group is or will be in the destination's fault domain.
    FaultDomain {
        /// Which vm.
        vm: VmId,
        /// Who is there.
        other: VmId,
        /// The group they share.
        group: String,
        /// The fault domain they would share.
        domain: String,
    },
    /// The destination cannot provide the CPU the vm was started with.
    CpuModel {
        /// Which vm.
        vm: VmId,
        /// What it needs.
        needs: String,
        /// Where it was to go.
        host: HostId,
    },
    /// The destination lacks a network the vm is attached to.
    Network {
        /// Which vm.
        vm: VmId,
        /// Which network.
        network: String,
        /// Where it was to go.
        host: HostId,
    },
    /// The destination does not reach the storage of the vm.
    Storage {
        /// Which vm.
        vm: VmId,
        /// Which storage.
        storage: String,
        /// Where it was to go.
        host: HostId,
    },
    /// An agent that was asked beforehand says that the vm cannot move there.
    Preflight {
        /// Which vm.
        vm: VmId,
        /// Where it was to go.
        host: HostId,
        /// Whose agent says so.
        by: HostId,
        /// What it found.
        refusal: Refusal,
    },
    /// The vm cannot be moved by live migration.
    Obstructed {
        /// Which vm.
        vm: VmId,
        /// Why.
        obstacles: Vec<Obstacle>,
    },
    /// Another command holds the vm.
    Locked {
        /// Which vm.
        vm: VmId,
        /// Which command.
        by: CommandId,
    },
    /// What was accepted before moves the vm already.
    MovedTwice {
        /// Which vm.
        vm: VmId,
    },
    /// libvirt runs a job on the vm.
    HypervisorBusy {
        /// Which vm.
        vm: VmId,
    },
    /// The vm is left alone for safety.
    Frozen {
        /// Which vm.
        vm: VmId,
        /// Why.
        why: String,
    },
    /// The vm moved too short a time ago.
    CoolDown {
        /// Which vm.
        vm: VmId,
        /// Time left.
        left: Duration,
    },
    /// The vm was moved back for it fared worse than expected, and is left alone.
    LeftAlone {
        /// Which vm.
        vm: VmId,
        /// Time left.
        left: Duration,
    },
    /// It writes its memory faster than it can be copied.
    WritesTooMuch {
        /// Which vm.
        vm: VmId,
        /// How fast it writes, as it was measured.
        writes: BytesPerSec,
        /// From when on it has written little enough on the last days; `None` where no such hour is known.
        calm_at: Option<Timestamp>,
    },
    /// As many migrations as allowed leave or enter the host already.
    Concurrency {
        /// Which host, or none where the whole fleet's bound is meant.
        host: Option<HostId>,
        /// The bound.
        limit: usize,
    },
    /// The host holds vms, or one is on its way to it.
    NotEmpty {
        /// Which host.
        host: HostId,
        /// How many.
        vms: usize,
    },
    /// The host has no way to sleep.
    CannotSleep {
        /// Which host.
        host: HostId,
    },
    /// Too few hosts would stay awake.
    Reserve {
        /// How many would stay awake.
        awake: usize,
        /// How many must.
        needed: usize,
    },
    /// With one awake host less, the rest could not carry the fleet.
    Loss {
        /// Whose loss would not be borne: the largest that would be left awake.
        host: HostId,
        /// Cores wanted at the risk quantile.
        cores_wanted: Cores,
        /// Cores that would be left to use.
        cores_left: Cores,
        /// Memory promised to vms.
        memory_wanted: Bytes,
        /// Memory that would be left to promise.
        memory_left: Bytes,
    },
    /// The host changed between sleeping and waking too short a time ago.
    PowerDwell {
        /// Which host.
        host: HostId,
        /// Time left.
        left: Duration,
    },
    /// The host is not asleep.
    NotAsleep {
        /// Which host.
        host: HostId,
    },
    /// No awake host can send the wake order.
    NobodyToWakeIt {
        /// Which host.
        host: HostId,
    },
    /// More of the fleet is silent than a failure of its own would explain: the fault may be ours.
    FleetSilent {
        /// Hosts that are silent and should not be.
        silent: usize,
        /// Hosts that should be heard.
        of: usize,
    },
    /// Neither vm of an exchange has room to go first, and no third host has room for one of them for a time.
    NoSafeOrder {
        /// The one vm.
        vm: VmId,
        /// The other.
        other: VmId,
        /// Memory that is missing at least, on any way to begin.
        short: Bytes,
    },
    /// The two moves of an exchange do not mirror each other.
    NoExchange {
        /// The one vm.
        vm: VmId,
        /// The other.
        other: VmId,
    },
}

impl Finding {
    /// True where an operator's explicit override may set it aside: comfort, not safety or possibility.
    pub fn can_be_overridden(&self) -> bool {
        matches!(
            self,
            Self::CpuNow { .. }
                | Self::CpuAhead { .. }
                | Self::Pinned { .. }
                | Self::Immovable { .. }
                | Self::AntiAffinity { .. }
                | Self::TornApart { .. }
                | Self::FaultDomain { .. }
                | Self::Loss { .. }
                | Self::CoolDown { .. }
                | Self::LeftAlone { .. }
                | Self::WritesTooMuch { .. }
                | Self::Concurrency { .. }
                | Self::BeingDrained { .. }
                | Self::Reserve { .. }
                | Self::PowerDwell { .. }
                | Self::FleetSilent { .. }
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost { host } => write!(f, "host {host} is not known"),
            Self::UnknownVm { vm } => write!(f, "vm {vm} is not known"),
            Self::NotThere { vm, claimed, actual } => write!(f, "vm {vm} is on {actual}, not on {claimed}"),
            Self::SameHost { host } => write!(f, "{host} is both source and destination"),
            Self::NotRunning { vm } => write!(f, "vm {vm} is not running"),
            Self::Doubtful { host, doubts } => write!(f, "{host} is in doubt: {}", listed(doubts)),
            Self::NotAwake { host } => write!(f, "{host} is not awake"),
            Self::BeingDrained { host } => write!(f, "{host} is being drained"),
            Self::CpuNow { host, would_be, limit } => {
                write!(f, "{host} would need {would_be} now, {limit} are allowed")
            }
            Self::CpuAhead { host, would_be, limit } => {
                write!(f, "{host} would need {would_be} within the horizon, {limit} are allowed")
            }
            Self::Memory { host, would_be, limit } => {
                write!(f, "{host} would promise {would_be} of memory, {limit} are allowed")
            }
            Self::Pinned { vm, host } => write!(f, "vm {vm} is not allowed on {host} by its pins"),
            Self::Immovable { vm } => write!(f, "vm {vm} is marked immovable"),
            Self::AntiAffinity { vm, other, group, host } => {
                write!(f, "vm {vm} must not share {host} with {other} (group {group})")
            }
            Self::TornApart { vm, other, group, at } => {
                write!(f, "vm {vm} must stay with {other}, which will be on {at} (bundle {group})")
            }
            Self::FaultDomain { vm, other, group, domain } => {
                write!(f, "vm {vm} must not share fault domain {domain} with {other} (group {group})")
            }
            Self::CpuModel { vm, needs, host } => write!(f, "{host} cannot provide the CPU {needs} of vm {vm}"),
            Self::Network { vm, network, host } => write!(f, "{host} lacks network {network} of vm {vm}"),
            Self::Storage { vm, storage, host } => write!(f, "{host} does not reach storage {storage} of vm {vm}"),
            Self::Preflight { vm, host, by, refusal } => {
                write!(f, "vm {vm} cannot move to {host}, says {by}: {refusal}")
            }
            Self::Obstructed { vm, obstacles } => write!(f, "vm {vm} cannot be moved: it {}", listed(obstacles)),
            Self::Locked { vm, by } => write!(f, "vm {vm} is held by command {by}"),
            Self::MovedTwice { vm } => write!(f, "vm {vm} is to be moved already"),
            Self::HypervisorBusy { vm } => write!(f, "libvirt runs a job on vm {vm}"),
            Self::Frozen { vm, why } => write!(f, "vm {vm} is left alone: {why}"),
            Self::CoolDown { vm, left } => write!(f, "vm {vm} moved lately, {} s of rest left", left.as_secs()),
            Self::LeftAlone { vm, left } => {
                write!(f, "vm {vm} was moved back and is left alone for {} s more", left.as_secs())
            }
            Self::WritesTooMuch { vm, writes, calm_at } => {
                write!(
                    f,
                    "vm {vm} writes {}/s, its copy would not end within its limits; ",
                    Bytes::from_f64(writes.get())
                )?;
                match calm_at {
                    Some(at) => write!(f, "by what it did on the last days it is calm enough from {at} on"),
                    None => f.write_str("no hour is known in which it is calm enough"),
                }
            }
            Self::Concurrency { host: Some(host), limit } => {
                write!(f, "{host} takes part in {limit} migrations already")
            }
            Self::Concurrency { host: None, limit } => write!(f, "{limit} migrations run in the fleet already"),
            Self::NotEmpty { host, vms } => write!(f, "{host} holds or awaits {vms} vms"),
            Self::CannotSleep { host } => write!(f, "{host} has no way to sleep"),
            Self::Reserve { awake, needed } => write!(f, "{awake} hosts would stay awake, {needed} must"),
            Self::Loss { host, cores_wanted, cores_left, memory_wanted, memory_left } => write!(
                f,
                "if {host} failed too, {cores_wanted} and {memory_wanted} would be wanted of {cores_left} and \
                 {memory_left}"
            ),
            Self::PowerDwell { host, left } => {
                write!(f, "{host} slept or woke lately, {} s to wait", left.as_secs())
            }
            Self::NotAsleep { host } => write!(f, "{host} is not asleep"),
            Self::NobodyToWakeIt { host } => write!(f, "no awake host can wake {host}"),
            Self::FleetSilent { silent, of } => {
                write!(f, "{silent} of {of} hosts are silent: the fault may be the scheduler's own")
            }
            Self::NoSafeOrder { vm, other, short } => write!(
                f,
                "vms {vm} and {other} cannot change places: {short} of memory are short for either to go first, and no \
                 third host has room for one of them"
            ),
            Self::NoExchange { vm, other } => write!(f, "the moves of {vm} and {other} are no exchange"),
        }
    }
}

/// One after the other, as a person would say them.
fn listed<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
