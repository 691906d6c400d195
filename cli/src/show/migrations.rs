//! Migrations.

use ballast_proto::v1;
use serde::Serialize;

use super::{Row, words};

/// One migration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MigrationRow {
    pub(crate) migration_id: String,
    pub(crate) decision_id: String,
    pub(crate) vm: String,
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) motive: String,
    pub(crate) ordered_at: String,
    pub(crate) stage: &'static str,
    pub(crate) elapsed_millis: u64,
    pub(crate) total_bytes: u64,
    pub(crate) copied_bytes: u64,
    pub(crate) remaining_bytes: u64,
    pub(crate) rate_bytes_per_second: f64,
    pub(crate) iteration_count: u64,
    pub(crate) ending: Option<&'static str>,
    pub(crate) reason: Option<String>,
    pub(crate) downtime_millis: Option<u64>,
    pub(crate) preparation_millis: Option<u64>,
    pub(crate) migration_millis: Option<u64>,
    pub(crate) switching_millis: Option<u64>,
    pub(crate) reckoned: Option<ReckonedRow>,
}

/// What a copy was reckoned with when it was ordered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ReckonedRow {
    pub(crate) duration_millis: u64,
    pub(crate) downtime_millis: u64,
    pub(crate) copied_bytes: u64,
    pub(crate) duration_millis_at_most: Option<u64>,
    pub(crate) downtime_millis_at_most: Option<u64>,
    pub(crate) converges: bool,
}

impl From<&v1::ReckonedCopy> for ReckonedRow {
    fn from(copy: &v1::ReckonedCopy) -> Self {
        Self {
            duration_millis: copy.duration_millis,
            downtime_millis: copy.downtime_millis,
            copied_bytes: copy.copied_bytes,
            duration_millis_at_most: copy.duration_millis_at_most,
            downtime_millis_at_most: copy.downtime_millis_at_most,
            converges: copy.converges,
        }
    }
}

impl From<&v1::Migration> for MigrationRow {
    fn from(migration: &v1::Migration) -> Self {
        let outcome = migration.outcome.as_ref();
        let progress = migration.progress.unwrap_or_default();
        let (copied, iterations) = outcome.map_or((progress.copied_bytes, progress.iteration_count), |outcome| {
            (outcome.copied_bytes, outcome.iteration_count)
        });
        Self {
            migration_id: migration.migration_id.clone(),
            decision_id: migration.decision_id.clone(),
            vm: migration.vm.clone(),
            name: migration.name.clone(),
            source: migration.source.clone(),
            destination: migration.destination.clone(),
            motive: migration.motive.clone(),
            ordered_at: words::moment(migration.ordered_at_unix_nanos),
            stage: outcome.map_or_else(|| words::stage(progress.stage()), |_| "ended"),
            elapsed_millis: outcome.map_or(progress.elapsed_millis, elapsed),
            total_bytes: progress.total_bytes,
            copied_bytes: copied,
            remaining_bytes: progress.remaining_bytes,
            rate_bytes_per_second: progress.rate_bytes_per_second,
            iteration_count: iterations,
            ending: outcome.map(|outcome| words::ending(outcome.ending())),
            reason: outcome.and_then(|outcome| reason(migration, outcome)),
            downtime_millis: outcome.and_then(|outcome| outcome.downtime_millis),
            preparation_millis: outcome.map(|outcome| outcome.preparation_millis),
            migration_millis: outcome.map(|outcome| outcome.migration_millis),
            switching_millis: outcome.map(|outcome| outcome.switching_millis),
            reckoned: migration.reckoned.as_ref().map(Into::into),
        }
    }
}

/// Why it ended as it did; what was ordered to stop says by whose will rather than by which command.
fn reason(migration: &v1::Migration, outcome: &v1::Outcome) -> Option<String> {
    let stopped = words::some(&migration.stop_reason).filter(|_| outcome.ending() == v1::EndingKind::Cancelled);
    stopped.or_else(|| words::some(&outcome.reason))
}

fn elapsed(outcome: &v1::Outcome) -> u64 {
    outcome.ended_at_unix_nanos.saturating_sub(outcome.began_at_unix_nanos) / 1_000_000
}

impl MigrationRow {
    /// Share of the data that is over, 0 to 1; nothing where that is not known.
    pub(crate) fn share(&self) -> Option<f64> {
        match (self.ending, self.total_bytes) {
            (Some("completed"), _) => Some(1.0),
            (_, 0) => None,
            (_, total) => Some((1.0 - words::float(self.remaining_bytes) / words::float(total)).clamp(0.0, 1.0)),
        }
    }

    /// How it stands, in words.
    pub(crate) fn stands(&self) -> String {
        let elapsed = words::millis(self.elapsed_millis);
        let copied = words::bytes(words::float(self.copied_bytes));
        match (self.ending, &self.reason) {
            (Some("completed"), _) => {
                let pause = self.downtime_millis.map(|pause| format!(", pause {}", words::millis(pause)));
                let reckoned = self.reckoned.as_ref().map(|copy| {
                    let (time, pause) = (words::millis(copy.duration_millis), words::millis(copy.downtime_millis));
                    format!(" ({time} and {pause} reckoned)")
                });
                let (pause, reckoned) = (pause.unwrap_or_default(), reckoned.unwrap_or_default());
                format!("completed in {elapsed}, {copied} copied{pause}{reckoned}")
            }
            (Some(ending), Some(reason)) => format!("{} after {elapsed}: {reason}", ending.replace('_', " ")),
            (Some(ending), None) => format!("{} after {elapsed}", ending.replace('_', " ")),
            (None, _) if self.stage == "migration" => {
                let share = words::or_dash(self.share(), words::percent);
                format!(
                    "migration {share}, {copied} at {}, pass {}",
                    words::rate(self.rate_bytes_per_second),
                    self.iteration_count
                )
            }
            (None, _) => self.stage.to_owned(),
        }
    }
}

impl Row for MigrationRow {
    const HEAD: &'static [&'static str] = &["MIGRATION", "VM", "FROM", "TO", "ORDERED", "STANDS", "BECAUSE"];

    fn cells(&self) -> Vec<String> {
        let ordered = self.ordered_at.get(..19).unwrap_or_default().replace('T', " ");
        vec![
            self.migration_id.clone(),
            self.name.clone(),
            self.source.clone(),
            self.destination.clone(),
            ordered,
            self.stands(),
            self.motive.clone(),
        ]
    }
}
