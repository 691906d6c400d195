//! The one writer of the journal: a task that groups what waits into one synced write, which is done aside.
//!
//! It decides nothing. A write that failed is forgotten and its writer told, so that nothing is on the disk that somebody
//! believes is not.

use std::{path::Path, sync::Arc};

use ballast_core::{
    journal::PAYLOAD_BYTES_MAX,
    units::{Bytes, Timestamp},
};
use ballast_daemon::{
    clock::Clock,
    segments::{self, Options, SegmentError, SegmentWriter},
};
use tokio::sync::{mpsc, oneshot};

use super::{Entry, Ledger, Record, SEGMENT_KIND};
use crate::counters::Counters;

/// Requests that may wait; writers wait beyond.
const QUEUE: usize = 1024;

/// Records between two checkpoints: at some kilobytes each, far less than the journal's smallest bound.
const CHECKPOINT_EVERY: u64 = 2000;

/// Name of the segment that a journal begins with.
const FIRST_SEGMENT: &str = "0000000000000001";

/// Why a journal cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file or directory cannot be read or written, or is damaged.
    #[error(transparent)]
    Segments(#[from] SegmentError),
    /// A record that is whole but not ours.
    #[error("{path}: the record at byte {offset} is not a journal record of this version: {why}")]
    Record {
        /// Which file.
        path: String,
        /// Where.
        offset: usize,
        /// What is wrong.
        why: String,
    },
    /// The oldest segments are gone, and what is left does not stand without them.
    #[error("{path}: the journal begins here and no checkpoint follows: segments before it are gone")]
    Beginning {
        /// The oldest file that is left.
        path: String,
    },
}

/// A record is not on the disk: whoever wanted it must not act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotDurable {
    /// What the system said.
    pub why: String,
}

/// A handle to the journal.
#[derive(Debug, Clone)]
pub struct Journal {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    records: Vec<Record>,
    done: oneshot::Sender<Result<(), NotDurable>>,
}

impl Journal {
    /// Writes records; they are on the disk, together, when this returns.
    ///
    /// # Errors
    /// [`NotDurable`] when they are not, none of them.
    pub async fn write(&self, records: Vec<Record>) -> Result<(), NotDurable> {
        let (done, answer) = oneshot::channel();
        let stopped = || NotDurable { why: "the journal is closed".into() };
        self.requests.send(Request { records, done }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Reads the journal below `dir`, cuts a torn tail, and starts its writer on the runtime this is called in. Returns what
/// all records come to.
///
/// # Errors
/// [`JournalError`] with file and offset when it is damaged or cannot be used.
pub fn open(
    dir: &Path,
    segment: Bytes,
    total: Bytes,
    kept_max: usize,
    clock: Clock,
    counters: Arc<Counters>,
) -> Result<(Journal, Ledger), JournalError> {
    let options = Options {
        kind: SEGMENT_KIND,
        compress: false,
        sync: true,
        segment_bytes_max: segment.get(),
        total_bytes_max: Some(total.get()),
    };
    let (writer, recovery) = SegmentWriter::open_on(clock.disk(), dir, options)?;
    if let Some((path, bytes)) = recovery.torn {
        tracing::warn!(file = %path.display(), bytes, "cut the journal's torn last record, which a stop had interrupted");
    }
    let ledger = read(dir, kept_max)?;
    let (requests, queue) = mpsc::channel(QUEUE);
    let scribe = Scribe { writer, ledger: ledger.clone(), clock, counters, since_checkpoint: 0 };
    // It ends with the last handle, and what was acknowledged is on the disk: nobody has to wait for it.
    drop(tokio::spawn(scribe.run(queue)));
    Ok((Journal { requests }, ledger))
}

/// Folds every record of the journal below `dir`. Where the oldest segments are gone, as beyond the journal's bound, a checkpoint
/// must stand in for them.
fn read(dir: &Path, kept_max: usize) -> Result<Ledger, JournalError> {
    let mut ledger = Ledger::new(kept_max);
    let mut wrong = None;
    let oldest = segments::segment_files(dir)?.into_iter().next();
    let mut stands = oldest.as_ref().is_none_or(|path| path.file_stem().is_some_and(|name| name == FIRST_SEGMENT));
    segments::read_dir(dir, SEGMENT_KIND, |raw| match Entry::decode(&raw.bytes) {
        Ok(entry) => {
            stands |= matches!(entry.record, Record::Checkpoint { .. });
            ledger.apply(&entry);
        }
        Err(why) => {
            let path = raw.path.display().to_string();
            wrong.get_or_insert(JournalError::Record { path, offset: raw.offset, why });
        }
    })?;
    match (wrong, oldest) {
        (Some(wrong), _) => Err(wrong),
        (None, Some(path)) if !stands => Err(JournalError::Beginning { path: path.display().to_string() }),
        _ => Ok(ledger),
    }
}

/// The writing end.
struct Scribe {
    writer: SegmentWriter,
    ledger: Ledger,
    clock: Clock,
    counters: Arc<Counters>,
    since_checkpoint: u64,
}

impl Scribe {
    /// Writes until the last handle is gone. Where a write panics, the journal is closed: whoever waits is told that
    /// nothing is durable.
    async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let clock = self.clock.clone();
        while let Some(first) = queue.recv().await {
            let mut group = vec![first];
            while let Ok(more) = queue.try_recv() {
                group.push(more);
            }
            let written = clock.aside(move || {
                let answers = self.write_group(group);
                (self, answers)
            });
            match written.await {
                Ok((scribe, answers)) => {
                    self = scribe;
                    answers.into_iter().for_each(Answer::give);
                }
                Err(error) => {
                    tracing::error!(%error, "the journal's writer has failed; nothing more is ordered");
                    return;
                }
            }
        }
    }

    /// Writes a group with one sync, and says what each request is to be answered. What cannot be encoded fails alone;
    /// what cannot be written fails together.
    fn write_group(&mut self, group: Vec<Request>) -> Vec<Answer> {
        let now = self.clock.now();
        let (mut waiting, mut entries, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for request in group {
            match self.push_all(&request.records, now) {
                Ok(encoded) => {
                    entries.extend(encoded);
                    waiting.push(request.done);
                }
                Err(why) => answers.push(Answer { done: request.done, result: Err(NotDurable { why }) }),
            }
        }
        let result = self.commit(now, &entries);
        answers.extend(waiting.into_iter().map(|done| Answer { done, result: result.clone() }));
        if result.is_ok() && self.since_checkpoint >= CHECKPOINT_EVERY {
            self.checkpoint(now);
        }
        answers
    }

    /// Encodes all records before the first is pushed, so that a request is written whole or not at all.
    fn push_all(&mut self, records: &[Record], now: Timestamp) -> Result<Vec<Entry>, String> {
        let entries: Vec<Entry> = records.iter().map(|record| Entry { at: now, record: record.clone() }).collect();
        let encoded = entries.iter().map(Entry::encode).collect::<Result<Vec<_>, _>>()?;
        let bytes: usize = encoded.iter().map(|bytes| bytes.len() + 16).sum();
        if self.writer.pending_bytes() + bytes > PAYLOAD_BYTES_MAX {
            return Err(format!("{bytes} bytes of records do not fit into one write"));
        }
        for bytes in &encoded {
            self.writer.push(bytes).map_err(|error| error.to_string())?;
        }
        Ok(entries)
    }

    fn commit(&mut self, now: Timestamp, entries: &[Entry]) -> Result<(), NotDurable> {
        match self.writer.commit(now) {
            Ok(()) => {
                entries.iter().for_each(|entry| self.ledger.apply(entry));
                self.since_checkpoint += entries.len() as u64;
                self.counters.journal_written(entries.len() as u64);
                Ok(())
            }
            Err(error) => {
                self.writer.discard_pending();
                let why = chain(&error);
                self.counters.journal_failed(&why);
                Err(NotDurable { why })
            }
        }
    }

    fn checkpoint(&mut self, now: Timestamp) {
        let record = Record::Checkpoint { ledger: Box::new(self.ledger.without_history()) };
        if let Ok(entries) = self.push_all(&[record], now)
            && self.commit(now, &entries).is_ok()
        {
            self.since_checkpoint = 0;
        }
    }
}

/// What a request is told once its group has been written, or not.
struct Answer {
    done: oneshot::Sender<Result<(), NotDurable>>,
    result: Result<(), NotDurable>,
}

impl Answer {
    /// Whoever asked may have gone meanwhile; then nobody needs it.
    fn give(self) {
        drop(self.done.send(self.result));
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
