//! What a vm will want: quantiles per resource, at steps ahead and as the maximum over the time ahead.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    id::VmId,
    risk::MeasuredRisk,
    sample::VmSample,
    units::{Bytes, Cores, Timestamp},
};

/// The quantile levels of every forecast.
pub const LEVELS: [f64; 5] = [0.1, 0.5, 0.9, 0.95, 0.99];

/// Steps ahead that are forecast, of [`STEP`] each.
pub const STEPS: [usize; 3] = [1, 6, 12];

/// Length of one forecast step.
pub const STEP: Duration = Duration::from_secs(300);

/// One value per level of [`LEVELS`], never falling. The lowest may lie below zero where demand was taken for normal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantiles(pub [f64; LEVELS.len()]);

impl Quantiles {
    /// The value at median.
    pub fn median(&self) -> f64 {
        self.0[1]
    }

    /// One value at every level: what is certain.
    pub fn certain(value: f64) -> Self {
        Self([value; LEVELS.len()])
    }

    /// The 95 % quantile.
    pub fn q95(&self) -> f64 {
        self.0[3]
    }

    /// Mean and standard deviation: what adding up vms on a host works with.
    ///
    /// The value is taken to be a function of a standard normal, linear between the quantiles and going on as it goes at both
    /// ends. A normal distribution thus keeps its moments exactly; of a vm that is mostly idle and sometimes busy the mean is
    /// well above the median, and a sum of medians would promise a host too little.
    pub fn moments(&self) -> Moments {
        let median = self.median();
        let from_median = self.0.map(|value| value - median);
        let (mut mean, mut square) = (0.0, 0.0);
        for piece in &PIECES {
            let [(z_low, low), (z_high, high)] = piece.knots.map(|knot| (NORMAL[knot], from_median[knot]));
            let slope = (high - low) / (z_high - z_low);
            let start = low - slope * z_low;
            mean += start * piece.mass + slope * piece.first;
            square += start * start * piece.mass + 2.0 * start * slope * piece.first + slope * slope * piece.second;
        }
        Moments { mean: median + mean, deviation: (square - mean * mean).max(0.0).sqrt() }
    }
}

/// Standard normal quantiles at [`LEVELS`].
pub const NORMAL: [f64; LEVELS.len()] =
    [-1.281_551_565_544_600_4, 0.0, 1.281_551_565_544_600_4, 1.644_853_626_951_472_2, 2.326_347_874_040_840_8];

/// A stretch of the standard normal over which a value is linear.
struct Piece {
    /// The two quantiles it goes through.
    knots: [usize; 2],
    /// Its probability, and the integrals of z and z² over it.
    mass: f64,
    first: f64,
    second: f64,
}

/// Density of the standard normal at 0, at its 90 % and at its 95 % quantile.
const DENSITY: [f64; 3] = [0.398_942_280_401_432_7, 0.175_498_331_932_486_6, 0.103_135_640_375_113_9];

/// Below the median, up to 90 %, up to 95 %, and beyond.
const PIECES: [Piece; 4] = [
    Piece { knots: [0, 1], mass: 0.5, first: -DENSITY[0], second: 0.5 },
    Piece { knots: [1, 2], mass: 0.4, first: DENSITY[0] - DENSITY[1], second: 0.4 - NORMAL[2] * DENSITY[1] },
    Piece {
        knots: [2, 3],
        mass: 0.05,
        first: DENSITY[1] - DENSITY[2],
        second: 0.05 + NORMAL[2] * DENSITY[1] - NORMAL[3] * DENSITY[2],
    },
    Piece { knots: [3, 4], mass: 0.05, first: DENSITY[2], second: 0.05 + NORMAL[3] * DENSITY[2] },
];

/// What counts where forecasts are added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
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
    /// Mean and deviation at each of [`STEPS`], where the forecaster knows more of them than its quantiles tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sums: Option<[Moments; STEPS.len()]>,
}

impl ResourceForecast {
    /// The part that decisions read.
    pub fn ahead(&self) -> Ahead {
        Ahead { steps: self.steps, sums: self.sums }
    }
}

/// What decisions read of a vm's forecast: the CPU that it will want, in cores. A round takes one of every vm, and this is a fifth
/// of a [`VmForecast`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Ahead {
    /// The value at each of [`STEPS`].
    pub steps: [Quantiles; STEPS.len()],
    /// Mean and deviation at each of [`STEPS`], where the forecaster knows more of them than its quantiles tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sums: Option<[Moments; STEPS.len()]>,
}

impl Ahead {
    /// Of a vm that is known to go on using so much.
    pub fn steady(cpu: Cores) -> Self {
        Self { steps: [Quantiles::certain(cpu.get()); STEPS.len()], sums: None }
    }

    /// Mean and deviation at a step, by its place in [`STEPS`].
    pub fn moments(&self, step: usize) -> Moments {
        self.sums.map_or_else(|| self.steps[step].moments(), |sums| sums[step])
    }
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

impl VmForecast {
    /// Of a vm that is known to go on using so much CPU; of its other resources nothing is said.
    pub fn steady(cpu: Cores) -> Self {
        let sure = Quantiles::certain(cpu.get());
        let cpu = ResourceForecast { steps: [sure; STEPS.len()], max_30_min: sure, max_60_min: sure, sums: None };
        Self { cpu, ..Self::default() }
    }
}

/// The forecasts of a fleet at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecasts {
    /// Which forecaster is in use and, where that is not the one that should be, why: as `ewma (lstm: late)`.
    pub method: String,
    /// By vm, in the order in which they were asked about; a vm without history has none. They lie in one piece: a tree would copy
    /// each of a hundred thousand once more in every round.
    pub vms: IndexMap<VmId, Ahead>,
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
        let vms = vms.into_iter();
        let mut said = IndexMap::with_capacity(vms.size_hint().1.unwrap_or_default());
        said.extend(vms.filter_map(|vm| Some((vm, forecaster.ahead(vm, now)?))));
        Self { method: forecaster.name().to_owned(), vms: said, others: BTreeMap::new(), risk: None }
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

    /// The part of the forecast that decisions read: what [`Self::forecast`] says of CPU, for who can say that with less work.
    fn ahead(&self, vm: VmId, now: Timestamp) -> Option<Ahead> {
        self.forecast(vm, now).map(|said| said.cpu.ahead())
    }

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_vm_that_is_mostly_idle_wants_more_than_its_median_on_average() {
        // Idle nine times out of ten, else busy with a core.
        let Moments { mean, deviation } = Quantiles([0.0, 0.0, 0.1, 1.0, 1.0]).moments();
        assert!((0.05..0.15).contains(&mean) && (0.2..0.35).contains(&deviation), "{mean} {deviation}");
    }

    #[test]
    fn what_is_certain_has_no_deviation() {
        assert_eq!(Quantiles::certain(3.7e11).moments(), Moments { mean: 3.7e11, deviation: 0.0 });
    }

    proptest! {
        #[test]
        fn a_normal_distribution_keeps_its_moments(mean in -1e3..1e3f64, deviation in 0.0..1e3f64) {
            let Moments { mean: found, deviation: spread } = Quantiles(NORMAL.map(|z| mean + z * deviation)).moments();
            prop_assert!((found - mean).abs() < 1e-9 * (1.0 + deviation), "{found}");
            prop_assert!((spread - deviation).abs() < 1e-6 * (1.0 + deviation), "{spread}");
        }

        #[test]
        fn the_mean_lies_between_the_outer_quantiles(mut values in prop::array::uniform5(0.0..1e6f64)) {
            values.sort_by(f64::total_cmp);
            let Moments { mean, deviation } = Quantiles(values).moments();
            prop_assert!((values[0] - deviation..=values[4]).contains(&mean), "{mean} of {values:?}");
        }
    }
}
