//! What came of a command: the record that the ledger, the operator and the learner all read.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    id::{CommandId, HostId, VmId},
    units::{Bytes, Timestamp},
};

/// The three stages of a live migration, with the moments before and after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Ordered, not begun.
    #[default]
    Queued,
    /// The destination gets ready: from the call until the first pass over memory begins.
    Preparation,
    /// Memory is copied while the vm runs.
    Migration,
    /// The vm is paused at the source until it runs at the destination.
    Switching,
    /// Over.
    Ended,
}

impl Stage {
    /// The stage in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparation => "preparation",
            Self::Migration => "migration",
            Self::Switching => "switching",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Done as ordered; for a migration: the vm runs at the destination and not at the source.
    Completed,
    /// Did not work; the vm runs where it was.
    Failed {
        /// Why, in the hypervisor's or the agent's words.
        reason: String,
    },
    /// Stopped on request or at a bound; the vm runs where it was.
    Cancelled {
        /// On whose request, or which bound.
        reason: String,
    },
    /// The vm is gone from both hosts: deleted or shut down while it moved.
    VmGone,
    /// It never began, and with the fence raised it never will.
    Abandoned {
        /// Why it is known not to have begun.
        reason: String,
    },
    /// Nobody can tell yet where the vm runs; it is left alone until its hosts can.
    Unresolved {
        /// What is known.
        reason: String,
    },
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
            Self::Cancelled { reason } => write!(f, "cancelled: {reason}"),
            Self::VmGone => f.write_str("the vm is gone"),
            Self::Abandoned { reason } => write!(f, "abandoned: {reason}"),
            Self::Unresolved { reason } => write!(f, "unresolved: {reason}"),
        }
    }
}

/// Time spent in each stage; zero for one that was not reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTimes {
    /// Preparation.
    pub preparation: Duration,
    /// Copy.
    pub migration: Duration,
    /// From the pause until the call returned.
    pub switching: Duration,
}

impl StageTimes {
    /// All of them together.
    pub fn total(&self) -> Duration {
        self.preparation.saturating_add(self.migration).saturating_add(self.switching)
    }
}

/// What came of one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which command.
    pub id: CommandId,
    /// The vm that was to move, where one was.
    pub vm: Option<VmId>,
    /// Where it was to leave from, or the host commanded.
    pub source: HostId,
    /// Where it was to go.
    pub destination: Option<HostId>,
    /// How it ended.
    pub ending: Ending,
    /// When the agent began, by its clock.
    pub began_at: Timestamp,
    /// When it ended, by the agent's clock.
    pub ended_at: Timestamp,
    /// Time in each stage.
    pub stages: StageTimes,
    /// Pause of the vm as the hypervisor measured it, where it did.
    pub downtime: Option<Duration>,
    /// Data copied.
    pub copied: Bytes,
    /// Passes over memory.
    pub iterations: u64,
}
