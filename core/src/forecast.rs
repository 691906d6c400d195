//! What a vm will want: quantiles per resource, at steps ahead and as the maximum over the time ahead.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    id::VmId,
    risk::MeasuredRisk,
    sample::VmSample,
    units::{Bytes, Timestamp},
};

/// The quantile levels of every forecast.
pub const LEVELS: [f64; 5] = [0.1, 0.5, 0.9, 0.95, 0.99];

/// Steps ahead that are forecast, of [`STEP`] each.
pub const STEPS: [usize; 3] = [1, 6, 12];

/// Length of one forecast step.
pub const STEP: Duration = Duration::from_secs(300);

/// One value per level of [`LEVELS`], never falling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantiles(pub [f64; LEVELS.len()]);

impl Quantiles {
    /// The value at median.
    pub fn median(&self) -> f64 {
        self.0[1]
    }

    /// The 95 % quantile.
    pub fn q95(&self) -> f64 {
        self.0[3]
    }

    /// Mean and standard deviation of the normal distribution through the median and the 95 % quantile: what adding up
    /// vms on a host works with.
    pub fn normal(&self) -> (f64, f64) {
        /// Standard normal quantile at 0.95.
        const Z95: f64 = 1.644_853_626_951_472_2;
        (self.median(), ((self.q95() - self.median()) / Z95).max(0.0))
    }
}

/// The forecast of one resource of one vm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceForecast {
    /// The value at each of [`STEPS`].
    pub steps: [Quantiles; STEPS.len()],
    /// The maximum over the next 30 minutes.
    pub max_30_min: Quantiles,
    /// The maximum over the next 60 minutes.
    pub max_60_min: Quantiles,
}

/// The forecast of one vm: CPU in cores, memory in bytes, storage and network in bytes per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct VmForecast {
    /// CPU, cores.
    pub cpu: ResourceForecast,
    /// Memory used, bytes.
    pub memory: ResourceForecast,
    /// Storage read and written, bytes per second.
    pub storage: ResourceForecast,
    /// Network received and sent, bytes per second.
    pub network: ResourceForecast,
}

/// The forecasts of a fleet at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecasts {
    /// Which forecaster is in use and, where that is not the one that should be, why: as `ewma (lstm: late)`.
    pub method: String,
    /// By vm; a vm without history has none.
    pub vms: BTreeMap<VmId, VmForecast>,
    /// The vms that the forecaster in use knew too little of: who made their forecast instead.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<VmId, Arc<str>>,
    /// How vms stray together and how far hosts stray, where that is measured; `None` where the tuning's figures count.
    #[serde(default)]
    pub risk: Option<Arc<MeasuredRisk>>,
}

impl Forecasts {
    /// What `forecaster` says of each of `vms` at `now`.
    pub fn of(forecaster: &dyn Forecaster, vms: impl IntoIterator<Item = VmId>, now: Timestamp) -> Self {
        let vms = vms.into_iter().filter_map(|vm| Some((vm, forecaster.forecast(vm, now)?))).collect();
        Self { method: forecaster.name().to_owned(), vms, others: BTreeMap::new(), risk: None }
    }

    /// Who made the forecast of `vm`: the bare name of a forecaster.
    pub fn source(&self, vm: VmId) -> &str {
        match self.others.get(&vm) {
            Some(name) => name,
            None => self.method.split(" (").next().unwrap_or(&self.method),
        }
    }
}

/// Why a forecaster does not take up a state: it is of another model, version or length.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct StateRefused {
    /// What was found, and what is needed.
    pub reason: String,
}

/// Learns each vm's demand from its samples, one step at a time, and says what will come.
pub trait Forecaster: Send {
    /// Its name, as decisions show it.
    fn name(&self) -> &'static str;

    /// Says how large a vm is; said before its samples and again when it changes. A forecaster that needs no size lets it pass.
    fn resized(&mut self, _vm: VmId, _vcpus: u32, _memory: Bytes) {}

    /// Takes one sample; samples of one vm come in order of time, and a missing value teaches nothing.
    fn observe(&mut self, sample: &VmSample);

    /// Forgets a vm that is gone.
    fn forget(&mut self, vm: VmId);

    /// The forecast for one vm at `now`; `None` while too little is known.
    fn forecast(&self, vm: VmId, now: Timestamp) -> Option<VmForecast>;

    /// Works off, for all vms at once, what was observed up to `now`; called once per cycle before [`Self::forecast`].
    fn advance(&mut self, _now: Timestamp) {}

    /// What it would have to know of a vm again after a restart; `None` where it keeps nothing that is worth it.
    fn state(&self, _vm: VmId) -> Option<Vec<u8>> {
        None
    }

    /// Takes up what [`Self::state`] gave in an earlier life.
    ///
    /// # Errors
    /// [`StateRefused`] where it is of another model, version or length; the vm then begins anew.
    fn restore(&mut self, _vm: VmId, _state: &[u8]) -> Result<(), StateRefused> {
        Err(StateRefused { reason: format!("{} keeps no state of a vm", self.name()) })
    }
}
