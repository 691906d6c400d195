//! What passes between the engine and an operator, in core's words: `rpc` converts it to and from the wire.

use ballast_core::{
    command::Progress,
    decision::{Decision, Mode},
    finding::Finding,
    forecast::VmForecast,
    hindsight::Settled,
    id::{CommandId, DecisionId, HostId, InvalidId, VmId},
    migration_cost::{Reckoned, Rest},
    outcome::Outcome,
    oversight::DemandStep,
    units::Timestamp,
};
use serde::{Deserialize, Serialize};

/// A migration as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MigrationRecord {
    /// Its id: that of the command that ordered it.
    pub id: CommandId,
    /// The decision it belongs to.
    pub decision: DecisionId,
    /// Which vm.
    pub vm: VmId,
    /// The vm's name, for people.
    pub name: String,
    /// Where from.
    pub source: HostId,
    /// Where to.
    pub destination: HostId,
    /// Why, in words.
    pub motive: String,
    /// When it was ordered, by the scheduler's clock.
    pub ordered_at: Timestamp,
    /// How far it is.
    pub progress: Progress,
    /// What it was reckoned with when it was ordered; `None` of one that an older version ordered.
    pub copy: Option<Box<Reckoned>>,
    /// What was left of its copy when its agent last told of it; `None` before the first byte.
    #[serde(default)]
    pub rest: Option<Rest>,
    /// Why it was ordered to stop, in words, where it was.
    #[serde(default)]
    pub stop: Option<String>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
}

/// A decision with what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionRecord {
    /// The decision.
    pub decision: Decision,
    /// Whether orders were given for it.
    pub executed: bool,
    /// What its moves have gained within their horizon, proposal by proposal, once that is over.
    pub came: Vec<Settled>,
}

/// A decision with all its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The same in words.
    pub text: String,
    /// Its migrations.
    pub migrations: Vec<MigrationRecord>,
    /// What its moves have gained, where that is known.
    pub came: Vec<Settled>,
}

/// What a vm is expected to want.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// Which vm.
    pub vm: VmId,
    /// Its name, for people.
    pub name: String,
    /// The moment the forecast is for.
    pub at: Timestamp,
    /// Which forecaster is in use and, where that is not the one that should be, why.
    pub method: String,
    /// Who made this vm's forecast.
    pub source: String,
    /// The forecast; `None` while too little is known of the vm.
    pub forecast: Option<VmForecast>,
    /// What it used in the last two hours, oldest first.
    pub history: Vec<DemandStep>,
}

/// A migration an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManualMove {
    /// The vm's uuid or its name.
    pub vm: String,
    /// Where to.
    pub host: HostId,
    /// Check only.
    pub dry_run: bool,
    /// Set aside findings that are matters of comfort.
    pub set_aside: bool,
    /// Why, for the record.
    pub reason: String,
    /// Who asks.
    pub who: String,
}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq)]
pub struct ManualResult {
    /// The migration; `None` in a dry run.
    pub migration: Option<CommandId>,
    /// The decision; `None` in a dry run.
    pub decision: Option<DecisionId>,
    /// What was set aside; in a dry run all that speaks against it.
    pub findings: Vec<Finding>,
}

/// What came of an approval.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// The orders given.
    pub commands: Vec<CommandId>,
    /// What the guard no longer allows.
    pub findings: Vec<Finding>,
}

/// The mode and how it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeChange {
    /// The mode before.
    pub previous: Mode,
}

/// Why an operator's request is not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OperatorError {
    /// No such host.
    #[error("host {host} is not known")]
    UnknownHost {
        /// What was named.
        host: HostId,
    },
    /// No such vm.
    #[error("vm {vm:?} is not known: a uuid or the exact name is needed")]
    UnknownVm {
        /// What was named.
        vm: String,
    },
    /// A name that several vms bear.
    #[error("{} vms are named {name:?}; name one by its uuid: {}", .vms.len(), list(.vms))]
    AmbiguousVm {
        /// The name.
        name: String,
        /// Who bears it.
        vms: Vec<VmId>,
    },
    /// No such decision is kept.
    #[error("decision {id} is not known; the newest ones are in ListDecisions")]
    UnknownDecision {
        /// Which was named.
        id: DecisionId,
    },
    /// No such migration is kept.
    #[error("migration {id} is not known; the newest ones are in ListMigrations")]
    UnknownMigration {
        /// Which was named.
        id: CommandId,
    },
    /// Neither a decision nor a migration.
    #[error("neither a decision nor a migration {id} is known")]
    UnknownId {
        /// What was named.
        id: String,
    },
    /// A text that is no id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The migration is over.
    #[error("migration {id} is over: {how}")]
    AlreadyOver {
        /// Which.
        id: CommandId,
        /// How it ended, in words.
        how: String,
    },
    /// The decision was carried out already.
    #[error("decision {id} was carried out already")]
    AlreadyExecuted {
        /// Which.
        id: DecisionId,
    },
    /// The guard refuses.
    #[error("{}", list(.findings))]
    Denied {
        /// Why.
        findings: Vec<Finding>,
    },
    /// The protocol does not allow it now: the vm or the host is held by another command.
    #[error("not ordered: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// The host that would have to act is not connected.
    #[error("host {host} is not connected; the order would not reach it")]
    HostAway {
        /// Which.
        host: HostId,
    },
    /// The journal cannot be written, and without a record nothing is ordered.
    #[error("nothing is ordered: the journal cannot be written ({why})")]
    NotDurable {
        /// What the system said.
        why: String,
    },
    /// Another scheduler has taken over.
    #[error("nothing is ordered: {why}")]
    SteppedDown {
        /// What was seen.
        why: String,
    },
    /// The scheduler stops.
    #[error("the scheduler is stopping")]
    Stopping,
}

/// Several things on one line.
fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
