//! The fleet at one instant: immutable, complete, and all that a policy, the guard or the planner may look at.
//!
//! A vm in flight counts on its source and on its destination until telemetry confirms where it is.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    aftercare::{Cares, Moved},
    id::{BootId, CommandId, Epoch, Generation, HostId, VmId},
    inventory::{Inventory, VmRecord},
    migration_cost::CopyFactors,
    newcomers::Newcomers,
    preflight::{Refused, Said},
    quiet::QuietHours,
    sample::{HostSample, VmSample},
    units::{Bytes, Cores, Timestamp},
};

/// Whether a host is awake, by the scheduler's knowledge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostPower {
    /// Up and carrying load.
    #[default]
    Awake,
    /// Ordered to sleep; its agent has not yet said good-bye.
    FallingAsleep,
    /// Asleep on our order: silent, and rightly so.
    Asleep,
    /// Ordered to wake; its agent has not yet come back.
    Waking,
}

/// What the operator wants of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostMode {
    /// In use.
    #[default]
    Active,
    /// To be emptied and left empty.
    Draining,
}

/// Why a host's figures are not to be acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// No link to its agent.
    Disconnected,
    /// No sample for longer than allowed.
    Silent {
        /// Age of the newest sample.
        age: Duration,
    },
    /// Its agent cannot reach the hypervisor.
    HypervisorAway,
    /// Its newest inventory is not complete: what it does not list may still be there.
    InventoryIncomplete,
    /// A reading was absurd: not a number, negative, or beyond what the host can do.
    Absurd {
        /// Which field and value.
        what: String,
    },
    /// It claims a vm that another host claims too.
    DuplicateVm {
        /// Which.
        vm: VmId,
        /// Who else claims it.
        other: HostId,
    },
    /// It was ordered to wake and did not come back in time; it may be tried again.
    WakeFailed {
        /// How long it was waited for.
        waited: Duration,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("no link to its agent"),
            Self::Silent { age } => write!(f, "silent for {} s", age.as_secs()),
            Self::HypervisorAway => f.write_str("its agent cannot reach the hypervisor"),
            Self::InventoryIncomplete => f.write_str("its newest inventory is not complete"),
            Self::Absurd { what } => write!(f, "absurd reading: {what}"),
            Self::DuplicateVm { vm, other } => write!(f, "it claims vm {vm}, which {other} claims too"),
            Self::WakeFailed { waited } => {
                write!(f, "did not come back {} s after the order to wake", waited.as_secs())
            }
        }
    }
}

/// One host in a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostView {
    /// Its slow-changing facts; `vms` there is the raw claim, the fleet's view is [`Snapshot::vms`].
    pub inventory: Arc<Inventory>,
    /// Its newest sample, where there is one.
    pub sample: Option<HostSample>,
    /// CPU used by what is not a vm, as last measured; none until it was.
    pub base: Cores,
    /// When the newest sample came in, by the scheduler's clock.
    pub heard_at: Option<Timestamp>,
    /// Whether it is awake.
    pub power: HostPower,
    /// When `power` last changed.
    pub power_since: Timestamp,
    /// What the operator wants of it.
    pub mode: HostMode,
    /// Why its figures are not to be acted on; empty where they are.
    pub doubts: Vec<Doubt>,
    /// How long CPU use has been above the limit without a break, zero where it is not.
    pub overloaded_for: Duration,
    /// How long it has held no vm without a break, zero where it does.
    pub empty_for: Duration,
}

impl HostView {
    /// Which host.
    pub fn id(&self) -> &HostId {
        &self.inventory.host
    }

    /// True where its figures may be acted on.
    pub fn is_trusted(&self) -> bool {
        self.doubts.is_empty()
    }

    /// True where it has held no vm for `span` or longer.
    pub fn has_been_empty_for(&self, span: Duration) -> bool {
        self.empty_for >= span && !self.empty_for.is_zero()
    }

    /// True where it could take a vm now: awake, trusted, not being drained.
    pub fn is_eligible_target(&self) -> bool {
        self.power == HostPower::Awake && self.mode == HostMode::Active && self.is_trusted()
    }
}

/// One vm in a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmView {
    /// Its slow-changing facts.
    pub record: Arc<VmRecord>,
    /// Where it runs; for a vm in flight, its source.
    pub host: HostId,
    /// Its newest sample, where there is one.
    pub sample: Option<VmSample>,
    /// How often its placement has been confirmed anew.
    pub generation: Generation,
    /// When it last ended a move, whatever came of it.
    pub last_moved_at: Option<Timestamp>,
    /// The command that holds it: in flight, or waiting to be resolved.
    pub locked_by: Option<CommandId>,
    /// Set where the vm is left alone for safety, in words (claimed by two hosts, outcome unresolved).
    pub frozen: Option<String>,
}

impl VmView {
    /// Which vm.
    pub fn id(&self) -> VmId {
        self.record.vm
    }

    /// CPU it used at its newest sample.
    pub fn cpu_used(&self) -> Option<Cores> {
        self.sample.as_ref().and_then(|sample| sample.cpu_used.value())
    }

    /// Memory a placement must set aside for it: what it may grow to, never just what it uses now.
    pub fn memory_reserved(&self) -> Bytes {
        self.record.memory_max
    }
}

/// A migration under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// The command that ordered it.
    pub command: CommandId,
    /// Which vm.
    pub vm: VmId,
    /// Where from.
    pub source: HostId,
    /// Where to.
    pub destination: HostId,
    /// When it was ordered.
    pub since: Timestamp,
}

/// The fleet at one instant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The instant, by the scheduler's clock.
    pub taken_at: Timestamp,
    /// The scheduler's epoch.
    pub epoch: Epoch,
    /// By host.
    pub hosts: BTreeMap<HostId, HostView>,
    /// By vm; those shut off are included, those unknown to every host are not.
    pub vms: BTreeMap<VmId, VmView>,
    /// Migrations under way.
    pub in_flight: Vec<InFlight>,
    /// How copies on this fleet differ from what the model says.
    #[serde(default)]
    pub copying: CopyFactors,
    /// Moves that agents refused lately, by vm.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<VmId, Vec<Refused>>,
    /// Vms that are watched since they moved, or left alone since they were moved back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aftercare: Cares,
    /// Vms that came lately.
    #[serde(default)]
    pub newcomers: Arc<Newcomers>,
    /// When vms that write much write how much.
    #[serde(default)]
    pub quiet: Arc<QuietHours>,
}

impl Snapshot {
    /// Why agents refused lately to have `vm` moved to `host`; `None` where they did not.
    pub fn refused_move(&self, vm: VmId, host: &HostId) -> Option<&Refused> {
        self.refused.get(&vm)?.iter().find(|one| one.to == *host)
    }
}

/// What happened to the fleet: the only way its state changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An agent opened its link. The agent's record of commands comes after it, as reports.
    Connected {
        /// Its inventory.
        inventory: Box<Inventory>,
    },
    /// An agent's inventory changed.
    Inventory {
        /// The whole new inventory.
        inventory: Box<Inventory>,
    },
    /// A batch of samples, ordered and without duplicates.
    Batch {
        /// The batch.
        batch: Box<crate::sample::Batch>,
        /// What ingest doubts about it; doubted values were made missing.
        absurd: Vec<String>,
    },
    /// A link closed.
    Disconnected {
        /// Whose.
        host: HostId,
        /// Which boot.
        boot: BootId,
    },
    /// A command was journalled and will be sent.
    Ordered {
        /// Which.
        command: crate::command::Command,
    },
    /// A command ended.
    Ended {
        /// How.
        outcome: crate::outcome::Outcome,
    },
    /// More is known of how copies go on this fleet.
    Copying {
        /// What is known now.
        factors: CopyFactors,
    },
    /// Agents that were asked beforehand refused to have a vm moved.
    Refused {
        /// Which.
        vm: VmId,
        /// Where it was to go.
        to: HostId,
        /// Why not; nothing takes an earlier refusal back.
        said: Vec<Said>,
    },
    /// A vm has moved: it is watched from now on, or left alone where that was its way back.
    Arrived {
        /// Which, and how it fared before.
        moved: Box<Moved>,
    },
    /// An earlier life of the scheduler moved a vm: its rest began then.
    Moved {
        /// Which.
        vm: VmId,
        /// When the move ended.
        at: Timestamp,
    },
    /// The operator changed what is wanted of a host.
    HostMode {
        /// Which.
        host: HostId,
        /// What is wanted.
        mode: HostMode,
    },
}
