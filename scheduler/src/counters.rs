//! What the tasks count, shared and lock-free where it is hot; `engine::stats` reads it out.
//!
//! A trouble is logged once when it begins and once when it is over, here, so that nobody else has to remember.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ballast_core::{
    hindsight::{Gains, Settled},
    oversight::Report,
    risk::RiskReport,
    shadow::Tally,
    units::nanos_of,
};

use crate::engine::Impairment;

/// Counters of one engine.
#[derive(Debug, Default)]
pub struct Counters {
    /// Links opened.
    pub sessions_opened: AtomicU64,
    /// Links refused.
    pub sessions_refused: AtomicU64,
    /// Batches taken.
    pub batches: AtomicU64,
    /// Vm samples in them.
    pub vm_samples: AtomicU64,
    /// Batches that had come before.
    pub batches_duplicate: AtomicU64,
    /// Batches after newer ones, or of an earlier boot.
    pub batches_late: AtomicU64,
    /// Batches that never came.
    pub batches_missing: AtomicU64,
    /// Messages that could not be understood.
    pub malformed: AtomicU64,
    /// Readings made missing.
    pub readings_absurd: AtomicU64,
    /// Batches not written to the telemetry log.
    pub log_dropped: AtomicU64,
    /// Bytes written to the telemetry log before compression.
    pub log_bytes: AtomicU64,
    /// Windows not written to the store.
    pub store_dropped: AtomicU64,
    /// Times the store was rebuilt.
    pub store_quarantined: AtomicU64,
    /// Answers of the model that came too late, or were given up.
    pub forecasts_late: AtomicU64,
    /// Time of the model's newest answer, nanoseconds.
    pub forecast_nanos_last: AtomicU64,
    /// Answers of the model.
    pub forecasts_answered: AtomicU64,
    /// Batches the model was not given because its mailbox was full.
    pub model_dropped: AtomicU64,
    /// States of vms the model took up.
    pub states_restored: AtomicU64,
    /// States of vms that were damaged or that the model refused.
    pub states_refused: AtomicU64,
    /// Looks at the model's bundle.
    pub bundle_looks: AtomicU64,
    /// Bundles that were refused.
    pub models_refused: AtomicU64,
    /// Regular rounds.
    pub rounds: AtomicU64,
    /// Rounds held early.
    pub early_rounds: AtomicU64,
    /// Looks at overloaded hosts.
    pub relief_rounds: AtomicU64,
    /// Decisions that chose something.
    pub decisions: AtomicU64,
    /// Decisions that chose nothing.
    pub decisions_empty: AtomicU64,
    /// Recommendations not repeated.
    pub decisions_repeated: AtomicU64,
    /// Proposals refused by the guard.
    pub denied: AtomicU64,
    /// Length of the newest round in nanoseconds.
    pub decision_nanos_last: AtomicU64,
    /// Commands repeated.
    pub commands_resent: AtomicU64,
    /// Commands without an outcome.
    pub commands_open: AtomicU64,
    /// Reports of commands not in the journal.
    pub reports_unknown: AtomicU64,
    /// Bytes copied by ended migrations.
    pub copied_bytes: AtomicU64,
    /// Pause of vms in ended migrations, nanoseconds.
    pub downtime_nanos: AtomicU64,
    journal_records: AtomicU64,
    journal_failures: AtomicU64,
    ack_delay_nanos: AtomicU64,
    tables: Mutex<Tables>,
    forecasting: Mutex<Report>,
    risk: Mutex<Option<RiskReport>>,
    shadow: Mutex<Option<Tally>>,
}

#[derive(Debug, Default)]
struct Tables {
    commands: BTreeMap<&'static str, u64>,
    outcomes: BTreeMap<(&'static str, &'static str), u64>,
    preflights: BTreeMap<&'static str, u64>,
    preflight_refusals: BTreeMap<&'static str, u64>,
    given_up: BTreeMap<&'static str, u64>,
    gains: BTreeMap<&'static str, Gains>,
    journal: Option<String>,
    log: Option<String>,
    store: Option<String>,
    stepped_down: Option<String>,
}

impl Counters {
    /// Adds one.
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
    }

    /// Reads one.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // A counter that a panicking thread left half-way is still a counter.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records are on the disk.
    pub fn journal_written(&self, records: u64) {
        self.journal_records.fetch_add(records, Relaxed);
        if self.tables().journal.take().is_some() {
            tracing::info!("the journal can be written again; orders are given again");
        }
    }

    /// Records are not on the disk.
    pub fn journal_failed(&self, why: &str) {
        self.journal_failures.fetch_add(1, Relaxed);
        if self.tables().journal.replace(why.to_owned()).is_none() {
            tracing::error!(
                why,
                "the journal cannot be written: nothing is ordered until it can; make room or make it writable"
            );
        }
    }

    /// The telemetry log was written, `bytes` of it, or was not.
    pub fn log_written(&self, result: Result<u64, String>, entries: u64) {
        match result {
            Ok(bytes) => {
                self.log_bytes.fetch_add(bytes, Relaxed);
                if self.tables().log.take().is_some() {
                    tracing::info!("the telemetry log can be written again");
                }
            }
            Err(why) => {
                self.log_dropped.fetch_add(entries, Relaxed);
                if self.tables().log.replace(why.clone()).is_none() {
                    tracing::warn!(why, "the telemetry log cannot be written: what comes now cannot be replayed later");
                }
            }
        }
    }

    /// The store took what it was given, or did not.
    pub fn store_written(&self, result: Result<(), String>, windows: u64) {
        match result {
            Ok(()) => {
                if self.tables().store.take().is_some() {
                    tracing::info!("the store can be used again");
                }
            }
            Err(why) => {
                self.store_dropped.fetch_add(windows, Relaxed);
                self.store_unusable(&why);
            }
        }
    }

    /// The store cannot be used.
    pub fn store_unusable(&self, why: &str) {
        if self.tables().store.replace(why.to_owned()).is_none() {
            tracing::warn!(why, "the store cannot be used: a restart would begin without history");
        }
    }

    /// How forecasting stands.
    pub fn set_forecasting(&self, report: Report) {
        *self.forecasting.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// How forecasting stood at its newest cycle.
    pub fn forecasting(&self) -> Report {
        self.forecasting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How the policy in the shadow has done.
    pub fn set_shadow(&self, tally: Option<Tally>) {
        *self.shadow.lock().unwrap_or_else(PoisonError::into_inner) = tally;
    }

    /// How the policy in the shadow had done by the newest round; `None` where there is none, or no round was held.
    pub fn shadow(&self) -> Option<Tally> {
        self.shadow.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How measuring risk stands.
    pub fn set_risk(&self, report: Option<RiskReport>) {
        *self.risk.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// How measuring risk stood at the newest cycle; `None` where nothing is measured.
    pub fn risk(&self) -> Option<RiskReport> {
        self.risk.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A newer scheduler was seen; true the first time.
    pub fn step_down(&self, why: &str) -> bool {
        self.tables().stepped_down.replace(why.to_owned()).is_none()
    }

    /// A command was given.
    pub fn commanded(&self, kind: &'static str) {
        *self.tables().commands.entry(kind).or_default() += 1;
    }

    /// A command ended.
    pub fn ended(&self, kind: &'static str, ending: &'static str) {
        *self.tables().outcomes.entry((kind, ending)).or_default() += 1;
    }

    /// Both agents of a migration were asked, with this answer.
    pub fn preflight(&self, answer: &'static str) {
        *self.tables().preflights.entry(answer).or_default() += 1;
    }

    /// An agent refused a migration for this.
    pub fn preflight_refused(&self, check: &'static str) {
        *self.tables().preflight_refusals.entry(check).or_default() += 1;
    }

    /// A move was ordered to stop because it was not worth going on with, for this.
    pub fn gave_up(&self, reason: &'static str) {
        *self.tables().given_up.entry(reason).or_default() += 1;
    }

    /// Moves that were ordered to stop because they were not worth going on with, by reason.
    pub fn given_up(&self) -> BTreeMap<&'static str, u64> {
        self.tables().given_up.clone()
    }

    /// It is known what a proposal has gained.
    pub fn settled(&self, one: &Settled) {
        self.tables().gains.entry(one.kind()).or_default().add(one);
    }

    /// What proposals have gained, by kind.
    pub fn gains(&self) -> BTreeMap<&'static str, Gains> {
        self.tables().gains.clone()
    }

    /// Preflights by answer.
    pub fn preflights(&self) -> BTreeMap<&'static str, u64> {
        self.tables().preflights.clone()
    }

    /// Refusals by check.
    pub fn preflight_refusals(&self) -> BTreeMap<&'static str, u64> {
        self.tables().preflight_refusals.clone()
    }

    /// A batch was acknowledged `delay` after it came.
    pub fn acknowledged_after(&self, delay: Duration) {
        self.ack_delay_nanos.fetch_max(nanos_of(delay), Relaxed);
    }

    /// The longest delay since the last call.
    pub fn take_ack_delay(&self) -> Duration {
        Duration::from_nanos(self.ack_delay_nanos.swap(0, Relaxed))
    }

    /// Records written and writes failed.
    pub fn journal(&self) -> (u64, u64) {
        (self.journal_records.load(Relaxed), self.journal_failures.load(Relaxed))
    }

    /// Why the journal cannot be written, where it cannot.
    pub fn journal_trouble(&self) -> Option<String> {
        self.tables().journal.clone()
    }

    /// Commands by kind.
    pub fn commands(&self) -> BTreeMap<&'static str, u64> {
        self.tables().commands.clone()
    }

    /// Outcomes by kind of command and ending.
    pub fn outcomes(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.tables().outcomes.clone()
    }

    /// Why the engine does less than it should.
    pub fn impairments(&self) -> Vec<Impairment> {
        let tables = self.tables();
        let journal = tables.journal.clone().map(|why| Impairment::JournalUnwritable { why });
        let log = tables.log.clone().map(|why| Impairment::TelemetryLogUnwritable { why });
        let store = tables.store.clone().map(|why| Impairment::StoreUnusable { why });
        let stepped_down = tables.stepped_down.clone().map(|why| Impairment::SteppedDown { why });
        [journal, log, store, stepped_down].into_iter().flatten().collect()
    }
}
