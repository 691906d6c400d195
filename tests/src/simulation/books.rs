//! The journals of a run as they lie on the disk: read by the witness when something takes effect, and by the judge at the
//! end. Never by a daemon's own code for it, except the framing.

use std::path::Path;

use anyhow::Result;
use ballast_core::{
    command::{Command, CommandStatus},
    id::{CommandId, Epoch},
    units::Timestamp,
};
use ballast_daemon::segments::read_dir;
use ballast_scheduler::journal::{Entry, Ledger, SEGMENT_KIND};
use serde::Deserialize;

/// What marks the segments of an agent's journal.
pub(super) const AGENT_KIND: u16 = 10;

/// A record of an agent's journal, as its file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Note {
    /// An agent began.
    Started {
        /// Its boot.
        #[serde(rename = "boot")]
        _boot: serde_json::Value,
    },
    /// The newest epoch seen.
    Fence(Epoch),
    /// A command that is about to be carried out.
    Accepted {
        /// Which.
        command: Box<Command>,
        /// When.
        #[serde(rename = "at")]
        _at: Timestamp,
    },
    /// A command that is over.
    Settled {
        /// Which.
        id: CommandId,
        /// How.
        #[serde(rename = "status")]
        _status: CommandStatus,
    },
    /// The scheduler knows of its end.
    Acknowledged(#[allow(dead_code)] CommandId),
}

/// An agent's journal.
pub(super) fn of_agent(dir: &Path) -> Result<Vec<Note>> {
    let mut notes = Vec::new();
    let mut wrong = None;
    read_dir(&dir.join("journal"), AGENT_KIND, |raw| match serde_json::from_slice(&raw.bytes) {
        Ok(note) => notes.push(note),
        Err(error) => wrong = Some(error),
    })?;
    wrong.map_or(Ok(notes), |error| Err(error.into()))
}

/// The commands an agent has accepted and not ended.
pub(super) fn open_at_agent(notes: &[Note]) -> Vec<&Command> {
    let mut open: Vec<&Command> = Vec::new();
    for note in notes {
        match note {
            Note::Accepted { command, .. } => open.push(command),
            Note::Settled { id, .. } => open.retain(|command| command.id != *id),
            Note::Started { .. } | Note::Fence(_) | Note::Acknowledged(_) => {}
        }
    }
    open
}

/// The newest epoch an agent has seen.
pub(super) fn fence(notes: &[Note]) -> Epoch {
    let epoch = |note: &Note| match note {
        Note::Fence(epoch) => *epoch,
        Note::Accepted { command, .. } => command.id.epoch,
        Note::Started { .. } | Note::Settled { .. } | Note::Acknowledged(_) => Epoch::default(),
    };
    notes.iter().map(epoch).max().unwrap_or_default()
}

/// The scheduler's journal, entry by entry.
pub(super) fn of_scheduler(dir: &Path) -> Result<Vec<Entry>> {
    let (mut entries, mut wrong) = (Vec::new(), None);
    read_dir(&dir.join("journal"), SEGMENT_KIND, |raw| match Entry::decode(&raw.bytes) {
        Ok(entry) => entries.push(entry),
        Err(why) => wrong = Some(why),
    })?;
    wrong.map_or(Ok(entries), |why| Err(anyhow::Error::msg(why)))
}

/// What the scheduler's journal comes to.
pub(super) fn ledger(dir: &Path) -> Result<Ledger> {
    let mut ledger = Ledger::new(0);
    of_scheduler(dir)?.iter().for_each(|entry| ledger.apply(entry));
    Ok(ledger)
}
