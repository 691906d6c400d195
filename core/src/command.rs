//! What the scheduler orders an agent to do, and what the agent answers.
//!
//! The protocol: the scheduler journals an intent before it sends a command; the agent journals `Accepted` before it
//! touches the hypervisor; the same id again gets the stored answer again; an older epoch is denied.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    convergence::Compression,
    id::{CommandId, Epoch, Generation, HostId, VmId},
    outcome::{Ending, Outcome, Stage, StageTimes},
    units::{Bytes, BytesPerSec, Timestamp},
};

/// Bounds within which a migration must stay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MigrationLimits {
    /// Bandwidth of the copy; `None` leaves it to the hypervisor.
    pub bandwidth: Option<BytesPerSec>,
    /// Longest pause at the switch-over that is tried first.
    pub downtime_start: Duration,
    /// Longest pause at the switch-over that is ever allowed.
    pub downtime_max: Duration,
    /// Time for the destination to get ready.
    pub prepare_timeout: Duration,
    /// Time for the copy, from its first byte.
    pub completion_timeout: Duration,
    /// Time without progress after which the copy is given up.
    pub stall_timeout: Duration,
    /// Encrypt the stream with the hypervisors' own TLS.
    pub tls: bool,
    /// Slow the vm down until its copy converges.
    #[serde(default, skip_serializing_if = "is_not")]
    pub auto_converge: bool,
    /// Connections that the copy is spread over; `None` for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// How the stream is made smaller.
    #[serde(default, skip_serializing_if = "is_none")]
    pub compression: Compression,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_not(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_none(compression: &Compression) -> bool {
    *compression == Compression::None
}

impl MigrationLimits {
    /// Bounds for a vm of `memory`: 300 to 500 ms pause, 60 s preparation, 150 s per GiB (at least two) for the copy,
    /// 150 s without progress, encrypted. The figures are KubeVirt's and nova's defaults, the stricter of each.
    pub fn for_memory(memory: Bytes) -> Self {
        let gib = (memory.as_f64() / Bytes::from_gib(1).as_f64()).max(2.0);
        Self {
            bandwidth: None,
            downtime_start: Duration::from_millis(300),
            downtime_max: Duration::from_millis(500),
            prepare_timeout: Duration::from_secs(60),
            completion_timeout: crate::units::seconds(150.0 * gib),
            stall_timeout: Duration::from_secs(150),
            tls: true,
            auto_converge: false,
            parallel: None,
            compression: Compression::None,
        }
    }
}

/// One order to one agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Its id; carries the epoch of the scheduler that gave it.
    pub id: CommandId,
    /// Whom it is for: a migration goes to its source.
    pub host: HostId,
    /// How long after receipt it may still be begun, by the agent's monotonic clock.
    pub ttl: Duration,
    /// What to do.
    pub order: Order,
}

impl Command {
    /// The outcome of it where nothing is known but how it ended, and when.
    pub fn ended(&self, ending: Ending, at: Timestamp) -> Outcome {
        let destination = match &self.order {
            Order::Migrate { destination, .. } => Some(destination.clone()),
            Order::Wake { target, .. } => Some(target.clone()),
            Order::Cancel { .. } | Order::Sleep => None,
        };
        Outcome {
            id: self.id,
            vm: self.order.vm(),
            source: self.host.clone(),
            destination,
            ending,
            began_at: at,
            ended_at: at,
            stages: StageTimes::default(),
            downtime: None,
            copied: Bytes::ZERO,
            iterations: 0,
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Move a vm away from the commanded host, live.
    Migrate {
        /// Which vm.
        vm: VmId,
        /// Placement generation the order was decided at.
        generation: Generation,
        /// Where to.
        destination: HostId,
        /// How the source's hypervisor reaches the destination's.
        destination_uri: String,
        /// Bounds to stay within.
        limits: MigrationLimits,
    },
    /// Stop a running migration; the vm stays at its source.
    Cancel {
        /// The command that began it.
        migration: CommandId,
    },
    /// Put the commanded host to sleep; denied while any vm is on it.
    Sleep,
    /// Wake another host: the commanded one sends the packet, tells the BMC, or runs the site's command.
    Wake {
        /// Whom to wake.
        target: HostId,
        /// What wakes it, as its inventory says, where that is known.
        address: Option<String>,
    },
}

impl Order {
    /// The vm whose placement it changes.
    pub fn vm(&self) -> Option<VmId> {
        match self {
            Self::Migrate { vm, .. } => Some(*vm),
            Self::Cancel { .. } | Self::Sleep | Self::Wake { .. } => None,
        }
    }

    /// One word for tables.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Migrate { .. } => "migrate",
            Self::Cancel { .. } => "cancel",
            Self::Sleep => "sleep",
            Self::Wake { .. } => "wake",
        }
    }
}

/// Why an agent will not do as ordered; nothing has happened to any vm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenyReason {
    /// The command's scheduler was replaced.
    StaleEpoch {
        /// Epoch of the command.
        given: Epoch,
        /// The newest epoch the agent has seen.
        current: Epoch,
    },
    /// It arrived or waited too long.
    Expired {
        /// How long it waited.
        waited_ms: u64,
        /// How long it was good for.
        ttl_ms: u64,
    },
    /// It is meant for another host.
    WrongHost {
        /// Whom it names.
        meant: HostId,
    },
    /// The vm is not on this host.
    VmNotHere {
        /// Which.
        vm: VmId,
    },
    /// The vm is here but not running.
    VmNotRunning {
        /// What it is doing, in words.
        state: String,
    },
    /// Its placement changed since the decision.
    StaleGeneration {
        /// Generation of the command.
        given: Generation,
        /// The newest generation the agent has seen.
        current: Generation,
    },
    /// Another command works on the same vm or takes the only slot.
    Busy {
        /// Which.
        with: CommandId,
    },
    /// The command to cancel is not running here.
    NothingToCancel {
        /// Which was named.
        migration: CommandId,
    },
    /// The host holds vms and must not sleep.
    NotEmpty {
        /// How many.
        vms: u64,
    },
    /// This host has no way to do it.
    Unsupported {
        /// What is missing.
        what: String,
    },
    /// The agent could not write its journal, and without a record it does nothing.
    NotDurable {
        /// What the system said.
        error: String,
    },
    /// Another reason, which a newer agent knows and this version does not.
    Other {
        /// The agent's words.
        reason: String,
    },
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleEpoch { given, current } => write!(f, "epoch {given} was replaced by {current}"),
            Self::Expired { waited_ms, ttl_ms } => write!(f, "waited {waited_ms} ms of at most {ttl_ms} ms"),
            Self::WrongHost { meant } => write!(f, "meant for host {meant}"),
            Self::VmNotHere { vm } => write!(f, "vm {vm} is not on this host"),
            Self::VmNotRunning { state } => write!(f, "the vm is {state}, not running"),
            Self::StaleGeneration { given, current } => {
                write!(f, "decided at placement {given}, which is now {current}")
            }
            Self::Busy { with } => write!(f, "busy with command {with}"),
            Self::NothingToCancel { migration } => write!(f, "migration {migration} is not running here"),
            Self::NotEmpty { vms } => write!(f, "{vms} vms are on the host"),
            Self::Unsupported { what } => write!(f, "this host cannot: {what}"),
            Self::NotDurable { error } => write!(f, "the journal cannot be written: {error}"),
            Self::Other { reason } => f.write_str(reason),
        }
    }
}

/// How far a migration has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Stage it is in.
    pub stage: Stage,
    /// Time since it began.
    pub elapsed: Duration,
    /// Data to copy in all, as far as known.
    pub total: Bytes,
    /// Data copied, repeats included.
    pub copied: Bytes,
    /// Data left to copy.
    pub remaining: Bytes,
    /// Rate of the copy.
    pub rate: BytesPerSec,
    /// Rate at which the guest dirties memory.
    pub dirty_rate: BytesPerSec,
    /// Pass over memory, from 1.
    pub iteration: u64,
}

/// Where a command stands, as its agent tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandStatus {
    /// Journalled, not begun.
    Accepted,
    /// Under way.
    Running(Progress),
    /// Over.
    Finished(Outcome),
    /// Refused; nothing has happened.
    Denied(DenyReason),
    /// The agent has no record of it: with the fence raised it can never run.
    Unknown,
}

impl CommandStatus {
    /// True where nothing more will come.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Finished(_) | Self::Denied(_) | Self::Unknown)
    }
}

/// What an agent says of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which command.
    pub id: CommandId,
    /// Where it stands.
    pub status: CommandStatus,
}
