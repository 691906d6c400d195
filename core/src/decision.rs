//! One decision: what was chosen, what lost, what was denied, each with its reasons.
//!
//! The same value feeds the log line, the `Explain` RPC, the CLI, the journal and the golden transcripts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    finding::Finding,
    id::{DecisionId, HostId},
    proposal::{Action, Expectation, Motive, Move, Proposal},
    units::Timestamp,
};

/// What set a decision off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A host is over its limit: the fast loop.
    Relief,
    /// The regular round.
    Round,
    /// A round that comes early, for what the one before waited for has happened.
    Early,
    /// An operator.
    Operator {
        /// Who.
        who: String,
        /// Whether overridable findings were set aside.
        overridden: bool,
    },
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relief => f.write_str("relief of an overloaded host"),
            Self::Round => f.write_str("regular round"),
            Self::Early => f.write_str("early round"),
            Self::Operator { who, overridden: false } => write!(f, "ordered by {who}"),
            Self::Operator { who, overridden: true } => write!(f, "ordered by {who}, comfort set aside"),
        }
    }
}

/// Whether plans are carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Observe only.
    Off,
    /// Decide and show; act only on what an operator approves.
    #[default]
    Recommend,
    /// Decide and act.
    Auto,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Off => "off",
            Self::Recommend => "recommend",
            Self::Auto => "auto",
        })
    }
}

/// One thing to do now, as the dispatcher takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Move a vm.
    Migrate(Move),
    /// Put an empty host to sleep.
    Sleep {
        /// Which.
        host: HostId,
    },
    /// Wake a host.
    Wake {
        /// Which.
        host: HostId,
        /// The awake host that carries out the order.
        by: HostId,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Migrate(one) => write!(f, "move {} from {} to {}", one.vm, one.from, one.to),
            Self::Sleep { host } => write!(f, "put {host} to sleep"),
            Self::Wake { host, by } => write!(f, "wake {host} through {by}"),
        }
    }
}

/// A step of the plan, with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// What to do.
    pub step: Step,
    /// Why.
    pub motive: Motive,
    /// What the whole proposal it belongs to is expected to change.
    pub expected: Expectation,
    /// The bundle or the exchange without whose other moves it must not begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<Action>,
}

/// Ordered, budgeted steps; each may begin at once, whatever becomes of the others but those it is part of a bundle with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// In order of urgency.
    pub steps: Vec<Planned>,
}

impl Plan {
    /// What the steps carry out: each proposal's motive and expectation once, with its steps.
    pub fn proposals(&self) -> Vec<(&Motive, &Expectation, Vec<&Step>)> {
        let mut found: Vec<(&Motive, &Expectation, Vec<&Step>)> = Vec::new();
        for Planned { step, motive, expected, .. } in &self.steps {
            match found.iter_mut().find(|known| (known.0, known.1) == (motive, expected)) {
                Some((_, _, steps)) => steps.push(step),
                None => found.push((motive, expected, vec![step])),
            }
        }
        found
    }
}

/// A proposal that the guard refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Denial {
    /// What was wished.
    pub proposal: Proposal,
    /// What stands against it.
    pub findings: Vec<Finding>,
}

/// A proposal that was possible and is not carried out now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    /// What was wished.
    pub proposal: Proposal,
    /// Why it is not done now, in words.
    pub why: String,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its id.
    pub id: DecisionId,
    /// The moment of the snapshot it rests on.
    pub at: Timestamp,
    /// What set it off.
    pub trigger: Trigger,
    /// The mode it was made in.
    pub mode: Mode,
    /// Which policy proposed.
    pub policy: String,
    /// Which forecaster was used.
    pub forecast: String,
    /// What is to be done.
    pub chosen: Plan,
    /// Moves that are to follow once others have ended: no more of them may run at a time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting: usize,
    /// What was possible and lost.
    pub considered: Vec<Passed>,
    /// What the guard refused.
    pub denied: Vec<Denial>,
    /// Why nothing (more) was proposed, in words.
    pub notes: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
