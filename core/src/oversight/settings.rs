//! What a model may do, and what it is held to: every number with its reason.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// What a model may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelMode {
    /// It is not asked.
    Off,
    /// It is asked and judged, and nothing rests on it until it has proved better than the fallback.
    #[default]
    Shadow,
    /// Its forecasts are used, for as long as it stays as good as the fallback.
    Active,
}

impl ModelMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Off, Self::Shadow, Self::Active];

    /// Its word in configuration and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Shadow => "shadow",
            Self::Active => "active",
        }
    }
}

impl fmt::Display for ModelMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a model is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OversightSettings {
    /// What it may do at first.
    pub mode: ModelMode,
    /// Time for which it must have been better than the fallback before it is used.
    pub promote_after: Duration,
    /// How many times the pinball loss of the fallback, or of persistence, a model in use may have.
    pub tolerance: f64,
    /// Least share of values that must stay below the 95 % quantile.
    pub coverage_min: f64,
    /// Forecasts that must have come due before anything is concluded from them.
    pub scores_min: u64,
    /// Late answers in a row after which the model is set aside.
    pub late_max: u32,
}

impl Default for OversightSettings {
    fn default() -> Self {
        Self {
            mode: ModelMode::Shadow,
            // A day holds a working day's rise and a night: a model that only knows one of them does not get through.
            promote_after: Duration::from_secs(24 * 3600),
            // Losses of a few vms vary by some per cent from hour to hour; beyond a quarter it is no chance.
            tolerance: 1.25,
            // Far off: five times as often above the quantile as it says, on which the risk of overload rests.
            coverage_min: 0.75,
            // Eight hours of a single vm, one five-minute step of a hundred.
            scores_min: 100,
            // The first may be a machine that was busy; three in a row is a model that is too slow for it.
            late_max: 3,
        }
    }
}
