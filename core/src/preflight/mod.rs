//! What two agents say before a vm is ordered to move: the source tells what the vm needs, the destination what it has.
//!
//! ```text
//!   scheduler ── may this vm leave? ──▶ source        Passport, or refusals
//!   scheduler ── may this one arrive? ─▶ destination   Premises + nonces ─▶ judge ─▶ refusals
//! ```
//!
//! Both agents look at that moment, and at what an inventory does not show; nothing is reserved and nothing is changed.
//! What was refused is remembered (`memory`), so that the same move is not asked for again in every round.

mod judge;
mod memory;

use std::{collections::BTreeSet, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    finding::Finding,
    id::{HostId, VmId},
    inventory::{CpuNeed, Obstacle},
    units::{Bytes, Timestamp},
};

pub use judge::{NonceSeen, Premises, judge, leave};
pub(crate) use memory::Memory;

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Whether the vm runs here, and nobody else works on it.
    State,
    /// What keeps it from moving at all: devices of the host, disks that only the host has.
    Obstacle,
    /// The CPU it was started with.
    Cpu,
    /// Its machine type, and the program that emulates it.
    Machine,
    /// Memory that is free now.
    Memory,
    /// Number of virtual CPUs.
    Vcpus,
    /// Networks and bridges it is attached to.
    Network,
    /// The storage of its disks.
    Storage,
    /// Processors of the host that it is pinned to.
    Pinning,
    /// NUMA nodes of the host that its memory is bound to.
    Numa,
    /// Certificates for an encrypted copy.
    Tls,
    /// Versions of hypervisor and libvirt.
    Version,
    /// Clocks of the two hosts.
    Clock,
    /// Whether there was an answer.
    Answer,
    /// Something that a newer agent looks at and this version does not know.
    #[serde(other)]
    Other,
}

impl Check {
    /// Every check, in the order in which they are made.
    pub const ALL: [Self; 15] = [
        Self::State,
        Self::Obstacle,
        Self::Cpu,
        Self::Machine,
        Self::Memory,
        Self::Vcpus,
        Self::Network,
        Self::Storage,
        Self::Pinning,
        Self::Numa,
        Self::Tls,
        Self::Version,
        Self::Clock,
        Self::Answer,
        Self::Other,
    ];

    /// In a word, as metrics and JSON name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Obstacle => "obstacle",
            Self::Cpu => "cpu",
            Self::Machine => "machine",
            Self::Memory => "memory",
            Self::Vcpus => "vcpus",
            Self::Network => "network",
            Self::Storage => "storage",
            Self::Pinning => "pinning",
            Self::Numa => "numa",
            Self::Tls => "tls",
            Self::Version => "version",
            Self::Clock => "clock",
            Self::Answer => "answer",
            Self::Other => "other",
        }
    }

    /// The check of that name; [`Check::Other`] for one that this version does not know.
    pub fn by_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|check| check.name() == name).unwrap_or(Self::Other)
    }

    /// How long a refusal counts where no inventory changes before: what passes by itself is asked for again soon.
    pub fn counts_for(self) -> Duration {
        match self {
            Self::State | Self::Answer => Duration::from_secs(60),
            Self::Memory | Self::Clock => Duration::from_secs(5 * 60),
            _ => Duration::from_secs(60 * 60),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One reason against a move, with its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What was looked at.
    pub check: Check,
    /// What was found.
    pub value: String,
    /// What would be needed.
    pub needed: String,
}

impl Refusal {
    /// A reason from its data.
    pub fn new(check: Check, value: impl Into<String>, needed: impl Into<String>) -> Self {
        Self { check, value: value.into(), needed: needed.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, but {} is needed", self.check, self.value, self.needed)
    }
}

/// A refusal, with who found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Whose agent.
    pub by: HostId,
    /// What it found.
    pub refusal: Refusal,
}

impl Said {
    /// The same as the guard says it of a move of `vm` to `host`.
    pub fn finding(&self, vm: VmId, host: &HostId) -> Finding {
        Finding::Preflight { vm, host: host.clone(), by: self.by.clone(), refusal: self.refusal.clone() }
    }
}

/// A move that was refused and is not proposed again for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Where it was to go.
    pub to: HostId,
    /// Why not.
    pub said: Vec<Said>,
    /// Until when that counts.
    pub until: Timestamp,
}

/// What an agent is asked of a vm that may be ordered to move.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Named in the answer.
    pub number: u64,
    /// Which vm.
    pub vm: VmId,
    /// Whether the copy would be encrypted.
    pub tls: bool,
    /// What it needs, for its destination to judge; its source is asked without.
    pub passport: Option<Box<Passport>>,
    /// How long ago the passport was made, as far as the scheduler knows.
    pub age: Duration,
}

/// What an agent answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The question's number.
    pub number: u64,
    /// Everything that stands against the move.
    pub refusals: Vec<Refusal>,
    /// From the source, where nothing does: a [`Passport`] as JSON.
    pub passport: Option<String>,
}

/// A disk that lies on the host's own filesystem or among its devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where, as the vm's definition names it.
    pub path: String,
    /// The shared storage it lies on, by the source's knowledge.
    pub storage: Option<String>,
}

/// A file that the source wrote beside the vm's disks: who can read it sees the same storage at the same path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonce {
    /// The folder it is in.
    pub folder: String,
    /// Its whole path.
    pub path: String,
    /// What is in it.
    pub content: String,
}

/// What a vm needs of its next host, as its source knows it now. It travels as JSON through a scheduler that does not look
/// into it, so that agents of different versions understand one another: what is absent was not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Passport {
    /// Which vm.
    pub vm: VmId,
    /// What keeps it from moving at all.
    pub obstacles: Vec<Obstacle>,
    /// The source's clock when it was made.
    pub taken_at: Timestamp,
    /// Version of the source's hypervisor, as libvirt packs it (million, thousand, one).
    pub hypervisor: Option<u32>,
    /// Version of the source's libvirt, packed likewise.
    pub libvirt: Option<u32>,
    /// libvirt's domain type: `kvm`, `qemu`.
    pub domain_type: String,
    /// Architecture of its processor.
    pub arch: String,
    /// Its machine type, empty where that is not known.
    pub machine: String,
    /// The program that emulates it, empty where that is not known.
    pub emulator: String,
    /// What its CPU demands.
    pub cpu: Option<CpuNeed>,
    /// The definition of its CPU, for the destination's hypervisor to compare; empty for an emulated one.
    pub cpu_xml: String,
    /// Memory it holds now.
    pub memory: Bytes,
    /// Size of the pages its memory must be made of, where it must.
    pub hugepage: Option<Bytes>,
    /// Number of virtual CPUs it may have.
    pub vcpus: u32,
    /// Networks and bridges it is attached to.
    pub networks: BTreeSet<String>,
    /// Its disks, those that are reached over the network left out: QEMU itself reaches these.
    pub disks: Vec<Disk>,
    /// Files written beside them, where that was allowed.
    pub nonces: Vec<Nonce>,
    /// Processors of the host it is pinned to.
    pub pinned_cpus: BTreeSet<u32>,
    /// NUMA nodes its memory is bound to.
    pub numa_nodes: BTreeSet<u32>,
    /// Whether the copy is to be encrypted.
    pub tls: bool,
    /// What the source lacks for an encrypted copy, where it lacks something.
    pub tls_lacking: Option<String>,
    /// Whether the copy is to go over parallel connections.
    pub parallel: bool,
    /// Whether its stream is to be made smaller by zstd.
    pub zstd: bool,
}
