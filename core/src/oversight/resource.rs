//! The four resources of a forecast and the two targets that it is scored on, so that code can go over them.

use serde::{Deserialize, Serialize};

use crate::{
    forecast::{Quantiles, ResourceForecast, VmForecast},
    sample::VmSample,
    units::{Bytes, Cores},
};

/// A resource that is forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// CPU, cores.
    Cpu,
    /// Memory used, bytes.
    Memory,
    /// Storage read and written, bytes per second.
    Storage,
    /// Network received and sent, bytes per second.
    Network,
}

impl Resource {
    /// Every resource, in the order of arrays by resource.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Storage, Self::Network];

    /// Those that decisions rest on: a model is judged by them, the others are only shown.
    pub const JUDGED: [Self; 2] = [Self::Cpu, Self::Memory];

    /// Its word in metrics and reasons.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Network => "network",
        }
    }

    /// Its forecast.
    pub fn of(self, forecast: &VmForecast) -> &ResourceForecast {
        match self {
            Self::Cpu => &forecast.cpu,
            Self::Memory => &forecast.memory,
            Self::Storage => &forecast.storage,
            Self::Network => &forecast.network,
        }
    }

    /// Its value in a sample, where that was read and is a number of at least zero.
    pub fn value(self, sample: &VmSample) -> Option<f64> {
        let value = match self {
            Self::Cpu => sample.cpu_used.value().map(Cores::get),
            Self::Memory => sample.memory_used.value().map(Bytes::as_f64),
            Self::Storage => Some(sample.disk_read.value()?.get() + sample.disk_write.value()?.get()),
            Self::Network => Some(sample.net_rx.value()?.get() + sample.net_tx.value()?.get()),
        };
        value.filter(|value| value.is_finite() && *value >= 0.0)
    }
}

/// What of a forecast is scored: the next step and the maximum of the next hour are the near and the far end of what
/// decisions use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The mean of the next step.
    Step,
    /// The largest mean of the twelve steps of the next hour.
    Hour,
}

impl Target {
    /// Both, in the order of arrays by target.
    pub const ALL: [Self; 2] = [Self::Step, Self::Hour];

    /// Its word in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step_5m",
            Self::Hour => "max_60m",
        }
    }

    /// Its words in a reason.
    pub fn words(self) -> &'static str {
        match self {
            Self::Step => "in 5 min",
            Self::Hour => "at most in 60 min",
        }
    }

    /// The quantiles of it.
    pub fn of(self, forecast: &ResourceForecast) -> &Quantiles {
        match self {
            Self::Step => &forecast.steps[0],
            Self::Hour => &forecast.max_60_min,
        }
    }
}
