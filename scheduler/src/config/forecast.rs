//! The section `[forecast]`: which model, what it may do, and what it is held to.

use std::{path::PathBuf, time::Duration};

use ballast_core::{
    oversight::{ModelMode, OversightSettings},
    units::seconds,
};
use ballast_daemon::config::Problems;
use serde::{Deserialize, Serialize};

use super::sections::{between, quoted, within};
use crate::engine::ForecastSettings;

/// `[forecast]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Forecast {
    /// The model's bundle; empty for the one that is built in.
    pub(super) model: PathBuf,
    /// What the model may do.
    pub(super) mode: ModelMode,
    /// Time in which it must answer.
    pub(super) deadline_ms: u64,
    /// Time, in seconds, for which it must have been better before it is used.
    pub(super) promote_after: f64,
    /// How many times the loss of the fallback or of the last value it may have.
    pub(super) tolerance: f64,
    /// Least share of values below its 95 % quantile.
    pub(super) coverage_min: f64,
    /// Forecasts that must have come due before anything is concluded.
    pub(super) scores_min: u64,
    /// Late answers in a row after which it is set aside.
    pub(super) late_max: u32,
}

impl Default for Forecast {
    fn default() -> Self {
        // The engine's and the oversight's own, where their reasons stand.
        let ForecastSettings { deadline, oversight, .. } = ForecastSettings::default();
        Self {
            model: PathBuf::new(),
            mode: oversight.mode,
            deadline_ms: deadline.map_or(0, |deadline| ballast_core::units::nanos_of(deadline) / 1_000_000),
            promote_after: oversight.promote_after.as_secs_f64(),
            tolerance: oversight.tolerance,
            coverage_min: oversight.coverage_min,
            scores_min: oversight.scores_min,
            late_max: oversight.late_max,
        }
    }
}

impl From<Forecast> for ForecastSettings {
    fn from(forecast: Forecast) -> Self {
        let oversight = OversightSettings {
            mode: forecast.mode,
            promote_after: seconds(forecast.promote_after),
            tolerance: forecast.tolerance,
            coverage_min: forecast.coverage_min,
            scores_min: forecast.scores_min,
            late_max: forecast.late_max,
        };
        let model = Some(forecast.model).filter(|path| !path.as_os_str().is_empty());
        let deadline = Some(Duration::from_millis(forecast.deadline_ms));
        Self { model, deadline, oversight, ..Self::default() }
    }
}

impl Forecast {
    pub(super) fn check(&self, problems: &mut Problems) {
        // Whether the bundle can be used is seen at the start: a scheduler without its model still does its work.
        if !self.model.as_os_str().is_empty() && !self.model.is_absolute() {
            let shown = quoted(&self.model.to_string_lossy());
            problems.push("forecast.model", shown, "an absolute path is needed, or nothing for the built-in model");
        }
        // A cycle takes 15 s: an answer that comes later than the next question is none.
        between(problems, "forecast.deadline_ms", self.deadline_ms, 10, 10_000);
        within(problems, "forecast.promote_after", self.promote_after, 0.0, 30.0 * 86_400.0);
        within(problems, "forecast.tolerance", self.tolerance, 1.0, 10.0);
        within(problems, "forecast.coverage_min", self.coverage_min, 0.0, 0.95);
        between(problems, "forecast.scores_min", self.scores_min, 10, 100_000);
        between(problems, "forecast.late_max", self.late_max, 1, 1000);
    }
}
