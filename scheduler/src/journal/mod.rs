//! The truth about commands, epochs, settings and decisions: what is in here happened, what is not did not.
//!
//! Records are JSON in framed, hash-chained, synced segments. `engine::start` reads it once; after that the dispatcher and
//! the control loop write to it and wait until the record is on the disk before they act on it.

mod ledger;
mod writer;

use ballast_core::{
    decision::{Decision, Mode},
    hindsight::Settled,
    id::{CommandId, DecisionId, Epoch, HostId},
    inventory::Inventory,
    outcome::Outcome,
    snapshot::HostMode,
    units::Timestamp,
};
use serde::{Deserialize, Serialize};

pub use ledger::{Departure, Ledger, OpenIntent};
pub(crate) use writer::chain as error_chain;
pub use writer::{Journal, JournalError, NotDurable, open};

/// Kind of the segments that hold the journal.
pub const SEGMENT_KIND: u16 = 1;

/// One record with the moment it was written, by the scheduler's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub record: Record,
}

/// What is journalled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A scheduler started.
    EpochStart {
        /// Its epoch: one more than the one before, at least.
        epoch: Epoch,
    },
    /// All that the records before come to: what is older may be deleted.
    Checkpoint {
        /// The sum.
        ledger: Box<Ledger>,
    },
    /// A decision that chose something.
    Decision {
        /// The decision.
        decision: Box<Decision>,
    },
    /// Orders are given for a decision.
    Executed {
        /// Which.
        decision: DecisionId,
        /// Who approved it; `None` where the mode says so.
        who: Option<String>,
    },
    /// A command will be sent.
    Intent {
        /// The command and what it belongs to.
        intent: Box<OpenIntent>,
    },
    /// The agent has journalled the command: from now on it may have an effect.
    Accepted {
        /// Which.
        id: CommandId,
    },
    /// The host goes to sleep by this command and has been heard.
    Goodbye {
        /// Which.
        id: CommandId,
    },
    /// What a decision's moves have gained within their horizon.
    Settled {
        /// Beside what was expected.
        came: Box<Settled>,
    },
    /// A command ended. A second one of the same command replaces an unresolved first.
    Outcome {
        /// How.
        outcome: Outcome,
    },
    /// A host is ordered to sleep, or does; with all that is needed to wake it.
    Asleep {
        /// What was known of it.
        inventory: Box<Inventory>,
    },
    /// A host that slept is back.
    Awake {
        /// Which.
        host: HostId,
    },
    /// The mode was set.
    Mode {
        /// To what.
        mode: Mode,
        /// By whom.
        who: String,
    },
    /// What is wanted of a host was set.
    HostMode {
        /// Which host.
        host: HostId,
        /// What is wanted.
        mode: HostMode,
        /// By whom.
        who: String,
    },
    /// An operator ordered a command to stop.
    CancelRequested {
        /// The command to stop.
        migration: CommandId,
        /// The order to stop it.
        by: CommandId,
        /// Who asked.
        who: String,
    },
    /// This scheduler saw a newer epoch and gives no more orders.
    SteppedDown {
        /// The newer one.
        seen: Epoch,
    },
}

impl Entry {
    /// The entry as bytes.
    ///
    /// # Errors
    /// In words, when the bytes would not read back as the same entry (a figure that is not a number): such a record
    /// would stop the next start.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let bytes = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        Self::decode(&bytes).map_err(|error| format!("the record would not read back: {error}"))?;
        Ok(bytes)
    }

    /// The entry of these bytes.
    ///
    /// # Errors
    /// In words, when it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
