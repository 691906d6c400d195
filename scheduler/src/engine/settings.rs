//! What the engine is told at its start; `config.rs` fills it, tests and the demo write it by hand.

use std::{path::PathBuf, time::Duration};

use ballast_core::{
    decision::Mode,
    ewma::EwmaForecaster,
    oversight::{Oversight, OversightSettings, Supervised},
    tuning::Tuning,
    units::Bytes,
};

/// Everything the engine is told at its start.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Directory of the journal, the telemetry log and the store; made where it is missing.
    pub data_dir: PathBuf,
    /// Time between two samples of an agent; told to agents in Welcome.
    pub period: Duration,
    /// Batches an agent may have unacknowledged; told to agents in Welcome.
    pub window: u32,
    /// Time between two regular rounds.
    pub round_interval: Duration,
    /// Shortest time between two looks at overloaded hosts.
    pub relief_interval: Duration,
    /// The numbers of the decision core.
    pub tuning: Tuning,
    /// Name of the policy that proposes.
    pub policy: String,
    /// Name of the policy that is asked in every round and compared, and of which nothing comes.
    pub policy_shadow: Option<String>,
    /// The file with the networks of a learned policy; `None` for those that ship.
    pub policy_bundle: Option<PathBuf>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Mode of a first start; later ones take up the journalled mode.
    pub initial_mode: Mode,
    /// Least epoch of this start: what a person raises after the journal was lost, when agents have seen newer ones.
    pub epoch_min: u64,
    /// Encrypt migrations with the hypervisors' own TLS.
    pub migration_tls: bool,
    /// Bounds of commands.
    pub commands: CommandSettings,
    /// Who forecasts.
    pub forecast: ForecastSettings,
    /// Bounds of what is kept.
    pub keep: KeepSettings,
}

/// Who forecasts, and how long it may take.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastSettings {
    /// The model's bundle; `None` for the one that comes with the program.
    pub model: Option<PathBuf>,
    /// Time in which the model must answer. It then runs on a thread of its own; with `None` it runs where it is asked and
    /// is waited for, as a clock needs that outruns any machine.
    pub deadline: Option<Duration>,
    /// Time between two cycles of forecasting.
    pub cycle: Duration,
    /// What the model is held to.
    pub oversight: OversightSettings,
}

impl ForecastSettings {
    /// The forecaster of these settings, without its model.
    pub(crate) fn supervised(&self) -> Supervised {
        Supervised::new(Oversight::new(Box::new(EwmaForecaster::default()), self.oversight))
    }
}

impl Default for ForecastSettings {
    fn default() -> Self {
        Self {
            model: None,
            // A hundred times what ten thousand vms take; beyond, the machine or the model is in trouble.
            deadline: Some(Duration::from_secs(1)),
            // A forecast's step is five minutes: one that is fifteen seconds old is as good as new.
            cycle: Duration::from_secs(15),
            oversight: OversightSettings::default(),
        }
    }
}

/// Bounds of commands in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSettings {
    /// How long after receipt a command may still be begun.
    pub ttl: Duration,
    /// Time to the first repetition of a command that is not answered; doubles with each.
    pub accept_timeout: Duration,
    /// Time without news of an accepted command after which its agent is asked.
    pub silence_timeout: Duration,
    /// Time an open command of an unreachable host is waited for before a warning.
    pub alarm_after: Duration,
}

/// Bounds of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepSettings {
    /// Size of a telemetry log segment before the next is begun.
    pub telemetry_segment: Bytes,
    /// Age of a telemetry log segment before the next is begun.
    pub telemetry_segment_age: Duration,
    /// Size of the telemetry log; the oldest segments go first.
    pub telemetry_total: Bytes,
    /// Age of the oldest telemetry that is kept.
    pub telemetry_age: Duration,
    /// Size of a journal segment before the next is begun.
    pub journal_segment: Bytes,
    /// Size of the journal; only segments before the newest checkpoint are ever removed.
    pub journal_total: Bytes,
    /// Length of the windows in the store: what a restart warms up from.
    pub windows: Duration,
    /// Decisions kept in memory for `ListDecisions` and `Explain`.
    pub decisions: usize,
    /// Migrations kept in memory for `ListMigrations`.
    pub migrations: usize,
}

impl EngineSettings {
    /// Settings for `data_dir` with every default.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            period: Duration::from_secs(5),
            window: 64,
            round_interval: Duration::from_secs(60),
            relief_interval: Duration::from_secs(1),
            tuning: Tuning::default(),
            policy: ballast_core::policy::RiskGreedy::NAME.to_owned(),
            policy_shadow: None,
            policy_bundle: None,
            seed: 1,
            initial_mode: Mode::Recommend,
            epoch_min: 1,
            migration_tls: true,
            commands: CommandSettings::default(),
            forecast: ForecastSettings::default(),
            keep: KeepSettings::default(),
        }
    }
}

impl Default for CommandSettings {
    fn default() -> Self {
        Self {
            // A plan older than a minute rests on figures that have changed.
            ttl: Duration::from_secs(60),
            accept_timeout: Duration::from_secs(2),
            silence_timeout: Duration::from_secs(60),
            alarm_after: Duration::from_secs(300),
        }
    }
}

impl Default for KeepSettings {
    fn default() -> Self {
        Self {
            telemetry_segment: Bytes::from_mib(64),
            telemetry_segment_age: Duration::from_secs(3600),
            // A hundred hosts at 5 s write 1.5 GB a day before compression.
            telemetry_total: Bytes::from_gib(10),
            telemetry_age: Duration::from_secs(30 * 86_400),
            journal_segment: Bytes::from_mib(16),
            // A start reads all of it, in a few seconds.
            journal_total: Bytes::from_mib(256),
            windows: Duration::from_secs(900),
            decisions: 1000,
            migrations: 1000,
        }
    }
}
