//! What the engine counts about itself: the source of `/metrics` and of the status line.

use std::{collections::BTreeMap, time::Duration};

use ballast_core::{decision::Mode, hindsight::Gains, id::Epoch, oversight::Report, risk::RiskReport, shadow::Tally};

/// Why the engine does less than it should; each is shown until it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Impairment {
    /// The journal cannot be written: nothing is ordered.
    JournalUnwritable {
        /// What the system said.
        why: String,
    },
    /// The telemetry log cannot be written: nothing recent can be replayed.
    TelemetryLogUnwritable {
        /// What the system said.
        why: String,
    },
    /// The store cannot be used: a restart begins without history.
    StoreUnusable {
        /// What it said.
        why: String,
    },
    /// A newer scheduler was seen: nothing is ordered.
    SteppedDown {
        /// What was seen.
        why: String,
    },
}

/// What is counted about forecasting.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForecastStats {
    /// How the model stands, and its scores.
    pub report: Report,
    /// Answers of the model.
    pub answered: u64,
    /// Answers that were too late, or given up.
    pub late: u64,
    /// Time of the newest answer.
    pub time_last: Duration,
    /// Batches the model was not given because it was too slow to take them.
    pub dropped: u64,
    /// States of vms that were taken up at a start or by a newer model.
    pub states_restored: u64,
    /// States of vms that were damaged or refused: these vms began anew.
    pub states_refused: u64,
    /// Bundles that were refused.
    pub models_refused: u64,
}

/// Everything metrics need, at one moment. Counters count from the start of the process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineStats {
    /// The scheduler's epoch.
    pub epoch: Epoch,
    /// The mode it is in.
    pub mode: Mode,
    /// Why it does less than it should; empty where all is well.
    pub impairments: Vec<Impairment>,
    /// Agents connected.
    pub sessions: u64,
    /// Sessions opened.
    pub sessions_opened: u64,
    /// Links refused.
    pub sessions_refused: u64,
    /// Batches taken.
    pub batches: u64,
    /// Vm samples in them.
    pub vm_samples: u64,
    /// Batches that had come before.
    pub batches_duplicate: u64,
    /// Batches that came after newer ones, or from an earlier boot; dropped.
    pub batches_late: u64,
    /// Batches that never came, seen as gaps in the sequence.
    pub batches_missing: u64,
    /// Messages that could not be understood.
    pub malformed: u64,
    /// Readings made missing because they were absurd.
    pub readings_absurd: u64,
    /// Batches that could not be written to the telemetry log.
    pub log_dropped: u64,
    /// Bytes written to the telemetry log before compression.
    pub log_bytes: u64,
    /// Windows that could not be written to the store.
    pub store_dropped: u64,
    /// How forecasting stands.
    pub forecast: ForecastStats,
    /// How measuring risk stands, where it is measured.
    pub risk: Option<RiskReport>,
    /// How the policy in the shadow does, where there is one.
    pub shadow: Option<Tally>,
    /// Times the store was found damaged and rebuilt.
    pub store_quarantined: u64,
    /// Records journalled.
    pub journal_records: u64,
    /// Journal writes that failed.
    pub journal_failures: u64,
    /// Longest time from the receipt of a batch to its acknowledgement since the last call.
    pub ack_delay_max: Duration,
    /// Regular rounds held.
    pub rounds: u64,
    /// Rounds held early, for what the one before waited for had happened.
    pub early_rounds: u64,
    /// Looks at overloaded hosts.
    pub relief_rounds: u64,
    /// Decisions that chose something.
    pub decisions: u64,
    /// Decisions that chose nothing.
    pub decisions_empty: u64,
    /// Recommendations not repeated because nothing had changed.
    pub decisions_repeated: u64,
    /// Proposals the guard refused.
    pub denied: u64,
    /// Migrations that both agents were asked about beforehand, by answer (`clear`, `refused`, `unasked`).
    pub preflights: BTreeMap<&'static str, u64>,
    /// What they had against it, by check.
    pub preflight_refusals: BTreeMap<&'static str, u64>,
    /// Time the newest round took, from snapshot to plan.
    pub decision_time_last: Duration,
    /// Commands given, by kind.
    pub commands: BTreeMap<&'static str, u64>,
    /// Commands repeated because they were not answered.
    pub commands_resent: u64,
    /// Commands without an outcome.
    pub commands_open: u64,
    /// Outcomes, by kind of command and ending (`completed`, `failed`, `cancelled`, `vm_gone`, `abandoned`, `unresolved`,
    /// `denied`).
    pub outcomes: BTreeMap<(&'static str, &'static str), u64>,
    /// Moves ordered to stop because what was left of them was not worth it, by reason (`cost`, `not_converging`).
    pub given_up: BTreeMap<&'static str, u64>,
    /// What moves for gain have gained by the demand that came, by kind (`relief`, `round`).
    pub gains: BTreeMap<&'static str, Gains>,
    /// Reports of commands that are not in the journal.
    pub reports_unknown: u64,
    /// Bytes copied by ended migrations.
    pub copied_bytes: u64,
    /// Pause of vms in ended migrations, summed.
    pub downtime_total: Duration,
}
