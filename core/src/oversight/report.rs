//! How forecasting stands, as numbers: the source of metrics.

use super::{ModelMode, Oversight, Standing, breaker::Breaker, score::Scores};
use crate::forecast::Forecasts;

/// How forecasting stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The fallback's name.
    pub fallback: String,
    /// The model's name, where there is one.
    pub model: Option<String>,
    /// What the model may do now.
    pub mode: ModelMode,
    /// How it stands.
    pub standing: Standing,
    /// Whether it may be used.
    pub breaker: Breaker,
    /// The running scores.
    pub scores: Scores,
    /// Forecasts that have not come due.
    pub pending: usize,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            fallback: "ewma".to_owned(),
            model: None,
            mode: ModelMode::Off,
            standing: Standing::None,
            breaker: Breaker::Closed,
            scores: Scores::default(),
            pending: 0,
        }
    }
}

impl Report {
    /// The name of the forecaster in use.
    pub fn in_use(&self) -> &str {
        self.model.as_deref().filter(|_| self.standing.is_in_use()).unwrap_or(&self.fallback)
    }
}

/// Whose forecasts the vms of a fleet have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sources {
    /// The model's.
    pub model: usize,
    /// The fallback's.
    pub fallback: usize,
    /// Nobody's: too little is known of them.
    pub none: usize,
}

impl Sources {
    /// Of the `vms` vms for which `forecasts` were made.
    pub fn of(forecasts: &Forecasts, vms: usize, report: &Report) -> Self {
        let known = forecasts.vms.len();
        let model = if report.standing.is_in_use() { known - forecasts.others.len().min(known) } else { 0 };
        Self { model, fallback: known - model, none: vms.saturating_sub(known) }
    }
}

impl Oversight {
    /// How forecasting stands.
    pub fn report(&self) -> Report {
        Report {
            fallback: self.fallback.name().to_owned(),
            model: self.model.as_ref().map(|model| model.name.to_string()),
            mode: self.mode(),
            standing: self.standing(),
            breaker: self.model.as_ref().map_or(Breaker::Closed, |model| model.breaker.clone()),
            scores: self.scores,
            pending: self.pending.len(),
        }
    }
}
