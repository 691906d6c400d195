//! What a host is and which vms it holds: slow-changing facts, sent whole when the link opens and after each change.
//!
//! `complete` is the field that keeps vms safe: an inventory taken while the hypervisor did not answer lists nothing
//! and proves nothing.

use std::{collections::BTreeSet, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    command::MigrationLimits,
    convergence::Convergence,
    id::{BootId, HostId, VmId},
    power::PowerCurve,
    sample::VmState,
    units::{Bytes, BytesPerSec, Cores, Timestamp},
};

/// How a host can be put to sleep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SleepSupport {
    /// It stays awake.
    #[default]
    None,
    /// Suspend to RAM, wake by network packet or command.
    Suspend,
    /// Power off, wake by network packet, BMC or command.
    PowerOff,
}

/// What a vm's virtual CPU demands of a host's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuNeed {
    /// Runs anywhere (an emulated CPU).
    Any,
    /// A named model, which the host must be able to provide.
    Model(String),
    /// The host's own CPU passed through: an equal CPU only.
    SameAs(String),
}

/// Why a vm cannot be moved at all, found by the agent in the vm's definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// A device of the host is passed through.
    HostDevice(String),
    /// A disk lies on storage that other hosts do not see.
    LocalDisk(String),
    /// A filesystem of the host is shared into the vm.
    SharedFilesystem(String),
    /// The hypervisor names another reason.
    Other(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostDevice(what) => write!(f, "uses the host's device {what}"),
            Self::LocalDisk(what) => write!(f, "has its disk {what} on storage that other hosts do not see"),
            Self::SharedFilesystem(what) => write!(f, "shares the host's filesystem {what}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// The operator's wishes for a vm, from its libvirt metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmLabels {
    /// Hosts it may run on; empty means all.
    pub pinned_to: BTreeSet<HostId>,
    /// Groups whose members must not share a host.
    pub anti_affinity: BTreeSet<String>,
    /// Bundles: their members stay on one host and move as one.
    #[serde(default)]
    pub affinity: BTreeSet<String>,
    /// Groups whose members must not share a fault domain.
    #[serde(default)]
    pub spread: BTreeSet<String>,
    /// Whose requests it serves, by the operator's name for them, where it is anybody's in particular.
    #[serde(default)]
    pub users: Option<String>,
    /// True where ballast must leave it alone.
    pub immovable: bool,
    /// How its copies are to go.
    #[serde(default, skip_serializing_if = "Convergence::is_plain")]
    pub convergence: Convergence,
}

/// One vm as its host knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmRecord {
    /// Its uuid.
    pub vm: VmId,
    /// Its name, for people.
    pub name: String,
    /// What it is doing.
    pub state: VmState,
    /// Number of virtual CPUs.
    pub vcpus: u32,
    /// Memory it may grow to.
    pub memory_max: Bytes,
    /// What its CPU demands.
    pub cpu: CpuNeed,
    /// Bridges or libvirt networks it is attached to.
    pub networks: BTreeSet<String>,
    /// Shared storages its disks lie on (network disks need none of the host's).
    pub storages: BTreeSet<String>,
    /// The operator's wishes.
    pub labels: VmLabels,
    /// Why it cannot be moved; empty where it can.
    pub obstacles: Vec<Obstacle>,
    /// True while libvirt runs a job on it, a migration for instance.
    pub busy: bool,
}

impl VmRecord {
    /// A vm that runs, of that size, which needs nothing of its host and of which nobody wishes anything.
    pub fn running(vm: VmId, name: impl Into<String>, vcpus: u32, memory_max: Bytes) -> Self {
        Self {
            vm,
            name: name.into(),
            state: VmState::Running,
            vcpus,
            memory_max,
            cpu: CpuNeed::Any,
            networks: BTreeSet::new(),
            storages: BTreeSet::new(),
            labels: VmLabels::default(),
            obstacles: Vec::new(),
            busy: false,
        }
    }

    /// The limits of its copies, by its operator's wish where he has one.
    pub fn limits(&self) -> MigrationLimits {
        self.labels.convergence.limits(self.memory_max)
    }
}

/// Everything slow-changing about one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// Which host.
    pub host: HostId,
    /// Which boot of it.
    pub boot: BootId,
    /// When it was taken, by the agent's clock.
    pub taken_at: Timestamp,
    /// How long the host had been up by then, sleeps in between included; zero where that is not known.
    #[serde(default)]
    pub up_for: Duration,
    /// True only where the hypervisor answered everything: only then does a missing vm mean "not here".
    pub complete: bool,
    /// Hypervisor and version, for people and for compatibility.
    pub hypervisor: String,
    /// CPU that vms may use.
    pub cpu_capacity: Cores,
    /// Memory that vms may use.
    pub memory_capacity: Bytes,
    /// The host's CPU model.
    pub cpu_model: String,
    /// CPU models it can provide to vms.
    pub cpu_models: BTreeSet<String>,
    /// Bridges and libvirt networks present.
    pub networks: BTreeSet<String>,
    /// Shared storages reachable.
    pub storages: BTreeSet<String>,
    /// Where other hosts reach it for migrations, as a libvirt URI.
    pub migration_uri: String,
    /// Bandwidth migrations may use.
    pub migration_bandwidth: BytesPerSec,
    /// Power model.
    pub power: PowerCurve,
    /// Whether and how it sleeps.
    pub sleep: SleepSupport,
    /// What wakes it, where anything does: text that only whoever wakes it reads, a hardware address or where its BMC is.
    pub wake_address: Option<String>,
    /// What fails together with it, by its operator's name for it: a rack, a power feed.
    #[serde(default)]
    pub fault_domain: Option<String>,
    /// Where it is, by its operator's name for it: what the way to users is measured from.
    #[serde(default)]
    pub site: Option<String>,
    /// The vms on it, running or not.
    pub vms: Vec<VmRecord>,
}

impl Inventory {
    /// The fault domain; a host without one is a domain by itself, under its own name.
    pub fn fails_with(&self) -> &str {
        self.fault_domain.as_deref().unwrap_or(self.host.as_str())
    }
}
