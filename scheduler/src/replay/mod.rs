//! Recorded telemetry through the real ingest, state, forecaster and decision: what would have been decided, when, why.
//!
//! Called by `ballast replay`; [`records`] serves whoever else reads a log. It goes as fast as it can, reads time from the
//! records and nothing else, and orders nothing: the fleet moves as it was recorded, whatever is decided here. The same
//! log, settings and seed give the same bytes.

mod feed;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use ballast_core::{decision::Decision, explain::explain, snapshot::Snapshot, tuning::Tuning, units::Timestamp};
use ballast_daemon::segments::{self, SegmentError};
use serde::Serialize;

use crate::{
    engine::{EngineSettings, ForecastSettings},
    model::Models,
    telemetry_log::{LogRecord, SEGMENT_KIND},
};
use feed::Feed;

/// What to replay with.
#[derive(Debug, Clone)]
pub struct ReplaySettings {
    /// Name of the policy that proposes.
    pub policy: String,
    /// The file with the networks of a learned one; `None` for those that ship.
    pub policy_bundle: Option<PathBuf>,
    /// The numbers of the decision core.
    pub tuning: Tuning,
    /// Seed of every random choice.
    pub seed: u64,
    /// Time between two samples, as it was when they were recorded.
    pub period: Duration,
    /// Time between two regular rounds.
    pub round_interval: Duration,
    /// Shortest time between two looks at overloaded hosts.
    pub relief_interval: Duration,
    /// Who forecasts.
    pub forecast: ForecastSettings,
    /// Where the model comes from.
    pub models: Models,
}

impl ReplaySettings {
    /// What a scheduler with these settings decides by.
    pub fn of_engine(engine: &EngineSettings) -> Self {
        Self {
            policy: engine.policy.clone(),
            policy_bundle: engine.policy_bundle.clone(),
            tuning: engine.tuning.clone(),
            seed: engine.seed,
            period: engine.period,
            round_interval: engine.round_interval,
            relief_interval: engine.relief_interval,
            forecast: engine.forecast.clone(),
            models: Models::built_in(),
        }
    }

    /// `policy` with everything else as the scheduler's defaults.
    pub fn new(policy: &str) -> Self {
        Self { policy: policy.to_owned(), ..Self::default() }
    }
}

impl Default for ReplaySettings {
    fn default() -> Self {
        Self::of_engine(&EngineSettings::new(PathBuf::new()))
    }
}

/// Why a log cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file cannot be read, is none of ours, or is damaged.
    #[error(transparent)]
    Segments(#[from] SegmentError),
    /// A record that is whole but says nothing that can be understood.
    #[error("{}: the record at byte {offset} cannot be understood: {why}", path.display())]
    Record {
        /// Which file.
        path: PathBuf,
        /// Where its block begins.
        offset: usize,
        /// What is wrong.
        why: String,
    },
    /// Nothing to replay.
    #[error("{}: no telemetry log segments (*.seg) are there", path.display())]
    Empty {
        /// Where they were looked for.
        path: PathBuf,
    },
    /// No policy of that name.
    #[error("policy {name:?} is not known: one of {} is needed", ballast_models::policy::known())]
    UnknownPolicy {
        /// What was given.
        name: String,
    },
    /// The policy's networks cannot be used.
    #[error("the policy's bundle cannot be used: {why}")]
    PolicyBundle {
        /// Why.
        why: String,
    },
    /// The model cannot be used; a replay without it would not be what was asked for.
    #[error("the forecaster's model cannot be used: {why}")]
    Model {
        /// Why.
        why: String,
    },
    /// The result cannot be written.
    #[error("write the result")]
    Output(#[from] io::Error),
}

/// How decisions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// In words, one paragraph each.
    Text,
    /// One JSON object per line: the decisions, then `{"summary": …}`.
    JsonLines,
}

/// What a replay came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Moment of the first record, nanoseconds since 1970.
    pub from: Timestamp,
    /// Moment of the last.
    pub to: Timestamp,
    /// Records read.
    pub records: u64,
    /// Batches taken.
    pub batches: u64,
    /// Batches that had come before, came too late, or belonged to no open link.
    pub batches_dropped: u64,
    /// Readings made missing because they were absurd.
    pub readings_absurd: u64,
    /// Bytes at the ends of files that could not be read: an interrupted write, or damage nobody vouches against.
    pub unreadable_bytes: u64,
    /// Regular rounds.
    pub rounds: u64,
    /// Looks at overloaded hosts that led to a decision.
    pub relief_rounds: u64,
    /// Decisions that chose something new.
    pub decisions: u64,
    /// Decisions that wanted what the one before wanted.
    pub decisions_repeated: u64,
    /// Decisions that chose nothing.
    pub decisions_empty: u64,
    /// Moves of vms chosen.
    pub moves: u64,
    /// Hosts to be put to sleep.
    pub sleeps: u64,
    /// Hosts to be woken.
    pub wakes: u64,
    /// Proposals the guard refused.
    pub denied: u64,
}

/// Replays files, or directories of them, in the order given, and writes every new decision and a summary to `out`.
///
/// # Errors
/// [`ReplayError`] with file and offset where the log is at fault. What was decided before that has been written.
pub fn replay(
    files: &[PathBuf],
    settings: &ReplaySettings,
    format: Format,
    out: &mut dyn Write,
) -> Result<Summary, ReplayError> {
    let mut failed: Option<io::Error> = None;
    let summary = decisions(files, settings, |decision, snapshot| {
        if failed.is_none() {
            failed = write_decision(decision, snapshot, format, out).err();
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    write_summary(&summary, format, out)?;
    Ok(summary)
}

/// Replays files and hands every new decision to `each`, with the fleet it was made for.
///
/// # Errors
/// As [`replay`].
pub fn decisions(
    files: &[PathBuf],
    settings: &ReplaySettings,
    mut each: impl FnMut(&Decision, &Snapshot),
) -> Result<Summary, ReplayError> {
    let mut feed = Feed::new(settings)?;
    let unreadable = records(files, |record| feed.take(record, &mut each))?;
    feed.left_out(unreadable);
    Ok(feed.finish(&mut each))
}

/// Reads files, or directories of them, in the order given, and hands every record to `each`; returns how many bytes at
/// the ends of files could not be read.
///
/// # Errors
/// [`ReplayError`] with file and offset where the log is at fault. What was read before that has been handed over.
pub fn records(files: &[PathBuf], mut each: impl FnMut(LogRecord)) -> Result<usize, ReplayError> {
    let mut unreadable = 0;
    for path in segment_paths(files)? {
        let mut wrong: Option<ReplayError> = None;
        unreadable += segments::read_file(&path, SEGMENT_KIND, |entry| {
            if wrong.is_some() {
                return;
            }
            match LogRecord::decode(&entry.bytes) {
                Ok(record) => each(record),
                Err(why) => wrong = Some(ReplayError::Record { path: path.clone(), offset: entry.offset, why }),
            }
        })?;
        if let Some(error) = wrong {
            return Err(error);
        }
    }
    Ok(unreadable)
}

/// Files as they are; of a directory its segments, oldest first.
fn segment_paths(files: &[PathBuf]) -> Result<Vec<PathBuf>, ReplayError> {
    let mut paths = Vec::new();
    for path in files {
        if !path.is_dir() {
            paths.push(path.clone());
            continue;
        }
        let found = segments::segment_files(path)?;
        if found.is_empty() {
            return Err(ReplayError::Empty { path: path.clone() });
        }
        paths.extend(found);
    }
    if paths.is_empty() {
        return Err(ReplayError::Empty { path: Path::new(".").into() });
    }
    Ok(paths)
}

fn write_decision(decision: &Decision, snapshot: &Snapshot, format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Text => {
            let name = |vm| snapshot.vms.get(&vm).map(|view| view.record.name.clone());
            writeln!(out, "{}", explain(decision, &name))
        }
        Format::JsonLines => {
            serde_json::to_writer(&mut *out, decision)?;
            writeln!(out)
        }
    }
}

fn write_summary(summary: &Summary, format: Format, out: &mut dyn Write) -> io::Result<()> {
    if format == Format::JsonLines {
        serde_json::to_writer(&mut *out, &serde_json::json!({ "summary": summary }))?;
        return writeln!(out);
    }
    let Summary { from, to, records, batches, rounds, relief_rounds, .. } = summary;
    writeln!(
        out,
        "{records} records from {from} to {to}: {batches} batches, {rounds} rounds, {relief_rounds} relief looks"
    )?;
    let Summary { decisions, decisions_repeated, decisions_empty, moves, sleeps, wakes, denied, .. } = summary;
    writeln!(
        out,
        "{decisions} decisions ({decisions_repeated} repeated, {decisions_empty} empty): {moves} moves, {sleeps} to sleep, {wakes} to wake; {denied} proposals denied"
    )?;
    let Summary { batches_dropped, readings_absurd, unreadable_bytes, .. } = summary;
    writeln!(out, "{batches_dropped} batches dropped, {readings_absurd} absurd readings set aside")?;
    if *unreadable_bytes > 0 {
        writeln!(
            out,
            "{unreadable_bytes} bytes at the end of a file could not be read: what they held is missing here"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
