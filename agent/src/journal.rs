//! The journal of commands: what this host was told to do, on disk before it is done.
//!
//! The command task appends and is answered once the records are on the disk. At the start everything is read back:
//! that is how a restarted agent knows what it had begun. Where the disk cannot be written, the agent goes on without:
//! it then denies every command, for without a record it does nothing.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ballast_core::{
    command::{Command, CommandStatus},
    id::{BootId, CommandId, Epoch},
    units::Timestamp,
};
use ballast_daemon::{
    clock::Clock,
    segments::{Options, SegmentError, SegmentWriter, read_dir, segment_files},
};
use serde::{Deserialize, Serialize};

use crate::error::AgentError;

/// Marks the segments of this journal.
pub const KIND: u16 = 10;
/// A record is half a kilobyte: these keep the last sixty thousand commands, months of a busy host.
const OPTIONS: Options =
    Options { kind: KIND, compress: false, sync: true, segment_bytes_max: 4 << 20, total_bytes_max: Some(32 << 20) };

/// One thing worth remembering over a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// An agent began on this boot.
    Started {
        /// Which boot.
        boot: BootId,
    },
    /// The newest epoch seen.
    Fence(Epoch),
    /// A command that is about to be carried out.
    Accepted {
        /// What was ordered.
        command: Command,
        /// When, by the agent's clock.
        at: Timestamp,
    },
    /// A command that is over.
    Settled {
        /// Which.
        id: CommandId,
        /// How it ended.
        status: CommandStatus,
    },
    /// The scheduler knows how it ended.
    Acknowledged(CommandId),
}

/// The journal, shared with the threads that write it.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    dir: PathBuf,
    open: Arc<Mutex<Open>>,
    clock: Clock,
}

/// What is at hand of it.
#[derive(Debug)]
struct Open {
    writer: Option<SegmentWriter>,
    /// Why it could not be read at the start. What is there then must be read before anything may follow it.
    unread: Option<String>,
}

impl Journal {
    /// Opens the journal in `dir` and reads back what it holds. A disk that does not let itself be read or written is
    /// said once and lived with.
    ///
    /// # Errors
    /// [`AgentError`] when the journal is there and damaged.
    pub(crate) fn open(dir: &Path, clock: Clock) -> Result<(Self, Vec<Record>), AgentError> {
        // Opening first cuts a torn tail, so that the reading that follows sees whole records only.
        let writer = match SegmentWriter::open_on(clock.disk(), dir, OPTIONS) {
            Ok((writer, recovery)) => {
                if let Some((path, bytes)) = recovery.torn {
                    tracing::warn!(path = %path.display(), bytes, "Cut an interrupted write from the journal");
                }
                Some(writer)
            }
            Err(error) if error.is_io() => {
                tracing::error!(error = chain(&error), "The journal cannot be written: every command will be denied");
                None
            }
            Err(error) => return Err(AgentError::Journal(error)),
        };
        let (records, unread) = read(dir)?;
        let open = Arc::new(Mutex::new(Open { writer, unread }));
        Ok((Self { dir: dir.into(), open, clock }, records))
    }

    /// Appends records; they are on the disk when this returns. A journal that could not be written before is tried
    /// anew.
    ///
    /// # Errors
    /// What the system said, in words; none of the records counts then.
    pub(crate) async fn append(&self, records: Vec<Record>, now: Timestamp) -> Result<(), String> {
        let journal = self.clone();
        match self.clock.aside(move || journal.write(&records, now)).await {
            Ok(written) => written,
            Err(gone) => Err(format!("the writer of the journal ended: {gone}")),
        }
    }

    fn write(&self, records: &[Record], now: Timestamp) -> Result<(), String> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &open.unread {
            if segment_files(&self.dir).map_err(|error| chain(&error))?.is_empty() {
                open.unread = None;
            } else {
                return Err(format!("the journal was not to be read when the agent started; restart it now: {why}"));
            }
        }
        self.write_to(&mut open.writer, records, now).map_err(|error| chain(&error))
    }

    fn write_to(
        &self,
        writer: &mut Option<SegmentWriter>,
        records: &[Record],
        now: Timestamp,
    ) -> Result<(), SegmentError> {
        let writer = match writer {
            Some(writer) => writer,
            missing => missing.insert(SegmentWriter::open_on(self.clock.disk(), &self.dir, OPTIONS)?.0),
        };
        writer.discard_pending();
        for record in records {
            // Every record is plain data, which always has a JSON form.
            let bytes = serde_json::to_vec(record).unwrap_or_default();
            writer.push(&bytes)?;
        }
        writer.commit(now)
    }
}

/// What the journal holds, or why its disk does not let itself be read.
fn read(dir: &Path) -> Result<(Vec<Record>, Option<String>), AgentError> {
    let mut records = Vec::new();
    let mut wrong = None;
    let outcome = read_dir(dir, KIND, |entry| match serde_json::from_slice(&entry.bytes) {
        Ok(record) => records.push(record),
        Err(error) => wrong = wrong.take().or(Some((entry.path, error.to_string()))),
    });
    match (outcome, wrong) {
        (Err(error), _) if !error.is_io() => Err(AgentError::Journal(error)),
        (_, Some((path, reason))) => Err(AgentError::Record { file: path.display().to_string(), reason }),
        (Err(error), None) => {
            let why = chain(&error);
            tracing::error!(error = why, "The journal cannot be read: every command will be denied");
            Ok((Vec::new(), Some(why)))
        }
        (Ok(()), None) => Ok((records, None)),
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1);

    #[tokio::test]
    async fn what_was_appended_is_read_back_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, records) = Journal::open(dir.path(), Clock::system()).unwrap();
        assert!(records.is_empty());
        let written = vec![Record::Fence(Epoch(3)), Record::Started { boot: BootId::default() }];
        journal.append(written.clone(), NOW).await.unwrap();
        drop(journal);
        assert_eq!(Journal::open(dir.path(), Clock::system()).unwrap().1, written);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_is_lived_with_and_refuses_records() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("file");
        std::fs::write(&blocked, "").unwrap();
        let (journal, records) = Journal::open(&blocked.join("journal"), Clock::system()).unwrap();
        assert!(records.is_empty());
        assert!(journal.append(vec![Record::Fence(Epoch(1))], NOW).await.is_err());
    }

    #[tokio::test]
    async fn a_journal_that_could_not_be_read_takes_no_record_even_when_it_can_be_again() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, aside) = (dir.path().join("journal"), dir.path().join("aside"));
        let (before, _) = Journal::open(&journal, Clock::system()).unwrap();
        before.append(vec![Record::Fence(Epoch(3))], NOW).await.unwrap();
        std::fs::rename(&journal, &aside).unwrap();
        std::fs::write(&journal, "in the way").unwrap();
        let (unread, _) = Journal::open(&journal, Clock::system()).unwrap();
        std::fs::remove_file(&journal).unwrap();
        std::fs::rename(&aside, &journal).unwrap();
        let why = unread.append(vec![Record::Fence(Epoch(1))], NOW).await.unwrap_err();
        assert!(why.contains("restart"), "{why}");
    }

    #[test]
    fn a_record_that_is_none_stops_the_agent_with_the_files_name() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, _) = SegmentWriter::open(dir.path(), OPTIONS).unwrap();
        writer.push(b"{\"nonsense\":1}").unwrap();
        writer.commit(NOW).unwrap();
        let error = Journal::open(dir.path(), Clock::system()).unwrap_err().to_string();
        assert!(error.contains(".seg") && error.contains("nonsense"), "{error}");
    }
}
