//! The forecast without a model: what a vm used lately, how much that varied, and the highest it went.
//!
//! Two exponentially weighted means over uneven steps of time, a fast and a slow one, blended by how well each has done
//! lately: a vm that moves is followed, one that only flickers is not. With them the variance of what the blend got wrong,
//! and a peak that decays towards the mean. It is what the scheduler decides with until a model is loaded, and whenever that
//! model is in doubt. It keeps 9 numbers (72 bytes) per resource and vm, whatever the length of the history, and nothing of a
//! vm once it is forgotten.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    forecast::{Ahead, Forecaster, LEVELS, NORMAL, Quantiles, ResourceForecast, STEP, STEPS, VmForecast},
    id::VmId,
    sample::{Reading, VmSample},
    units::{Bytes, BytesPerSec, Cores, Timestamp},
};

/// Time after which an old value counts half in the fast mean.
const FAST_HALF_LIFE: Duration = Duration::from_secs(5 * 60);

/// Time after which an old value counts half in the slow mean. On PlanetLab, where five-minute values are nearly white noise
/// around a level, an hour halved the moves that noise set off.
const SLOW_HALF_LIFE: Duration = Duration::from_secs(60 * 60);

/// Time after which an old error counts half in the judgement of the two means.
const ERROR_HALF_LIFE: Duration = Duration::from_secs(15 * 60);

/// Time after which an old deviation counts half in the variance.
const VARIANCE_HALF_LIFE: Duration = Duration::from_secs(2 * 60 * 60);

/// Time after which a peak has come halfway back to the mean.
const PEAK_HALF_LIFE: Duration = Duration::from_secs(60 * 60);

/// Time ahead at which the variance of the forecast is twice that of the past.
const SPREAD_DOUBLES: Duration = Duration::from_secs(60 * 60);

/// Time for which a vm must be known before anything is forecast for it: twelve samples every five seconds, or two rarer
/// ones.
const KNOWN_FOR: Duration = Duration::from_secs(55);

/// Values up to which the variance leans on an assumption: of a few values nobody knows the spread.
const VALUES_FEW: u32 = 12;

/// That assumption: standard deviation as a share of the mean.
const SPREAD_ASSUMED: f64 = 0.5;

/// [`NORMAL`] for the largest of 6 independent values (levels to the power of 1/6): 30 minutes in steps of 5.
const Z_MAX_OF_6: [f64; LEVELS.len()] =
    [0.471_314_921_032_217, 1.231_321_714_074_395, 2.110_519_744_666_185, 2.386_169_781_535_702, 2.933_901_171_925_719];

/// The same for the largest of 12 independent values: 60 minutes in steps of 5.
const Z_MAX_OF_12: [f64; LEVELS.len()] =
    [0.936_158_417_028_083, 1.588_154_642_966_267, 2.376_384_753_496_688, 2.630_312_646_175_006, 3.142_633_271_391_088];

/// Forecasts every vm from its own recent past.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EwmaForecaster {
    vms: BTreeMap<VmId, Tracks>,
}

/// What is kept of one vm.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Tracks {
    cpu: Track,
    memory: Track,
    storage: Track,
    network: Track,
}

/// What is kept of one resource of one vm.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Track {
    fast: f64,
    slow: f64,
    /// Mean squared errors of the two.
    fast_error: f64,
    slow_error: f64,
    variance: f64,
    peak: f64,
    values: u32,
    oldest: Timestamp,
    newest: Timestamp,
}

impl Track {
    /// Takes a value. A time that goes back is another clock (the vm came from another host, the clock was set): the
    /// value only begins the new count of time. The same time again is the same value again.
    fn observe(&mut self, at: Timestamp, value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) else { return };
        if self.values > 0 && at <= self.newest {
            // What is known stays known for as long as it was.
            let known = self.newest.since(self.oldest);
            (self.newest, self.oldest) = (at, at.before(known));
            return;
        }
        let span = at.since(self.newest);
        self.newest = at;
        self.values = self.values.saturating_add(1);
        if self.values == 1 {
            (self.fast, self.slow, self.peak, self.oldest) = (value, value, value, at);
        } else {
            self.learn(span, value);
        }
    }

    /// While little is known, each value counts as much as any before it.
    fn learn(&mut self, span: Duration, value: f64) {
        let even = 1.0 / f64::from(self.values);
        let weight = |half_life| (1.0 - kept(span, half_life)).max(even);
        let error = value - self.mean();
        self.variance += weight(VARIANCE_HALF_LIFE) * (error * error - self.variance);
        self.fast_error += weight(ERROR_HALF_LIFE) * ((value - self.fast).powi(2) - self.fast_error);
        self.slow_error += weight(ERROR_HALF_LIFE) * ((value - self.slow).powi(2) - self.slow_error);
        self.fast += weight(FAST_HALF_LIFE) * (value - self.fast);
        self.slow += weight(SLOW_HALF_LIFE) * (value - self.slow);
        let mean = self.mean();
        let faded = mean + (self.peak - mean) * kept(span, PEAK_HALF_LIFE);
        self.peak = value.max(faded);
    }

    /// The two means, each weighing as the sixth power of the other's error: the better one soon counts alone.
    fn mean(&self) -> f64 {
        let (fast, slow) = (self.slow_error.powi(3), self.fast_error.powi(3));
        let whole = fast + slow;
        if whole > 0.0 && whole.is_finite() { (self.fast * fast + self.slow * slow) / whole } else { self.fast }
    }

    fn spread(&self) -> f64 {
        let missing = f64::from(VALUES_FEW.saturating_sub(self.values)) / f64::from(VALUES_FEW);
        let assumed = (SPREAD_ASSUMED * self.mean()).powi(2);
        (self.variance * (1.0 - missing) + assumed * missing).sqrt()
    }

    fn is_known(&self) -> bool {
        self.values > 1 && self.newest.since(self.oldest) >= KNOWN_FOR
    }

    fn steps(&self) -> [Quantiles; STEPS.len()] {
        let (mean, now) = (self.mean(), self.spread());
        STEPS.map(|step| {
            let ahead = STEP.as_secs_f64() * crate::units::count(step);
            let spread = now * (1.0 + ahead / SPREAD_DOUBLES.as_secs_f64()).sqrt();
            // Below zero too: cut off, they would no longer be those of a normal distribution with this mean.
            Quantiles(NORMAL.map(|z| mean + z * spread))
        })
    }

    fn forecast(&self) -> ResourceForecast {
        let steps = self.steps();
        let (max_30_min, max_60_min) = (self.highest(&Z_MAX_OF_6), self.highest(&Z_MAX_OF_12));
        ResourceForecast { steps, max_30_min, max_60_min, sums: None }
    }

    /// The maximum to come: what that many independent steps would reach, or the recent peak again, give or take half
    /// the spread, whichever is higher.
    fn highest(&self, z_max: &[f64; LEVELS.len()]) -> Quantiles {
        let spread = self.spread();
        quantiles(|level| {
            let by_chance = self.mean() + z_max[level] * spread;
            let once_more = self.peak + NORMAL[level] * spread / 2.0;
            by_chance.max(once_more)
        })
    }
}

/// Share of an old value that is left after `span`.
fn kept(span: Duration, half_life: Duration) -> f64 {
    (-span.as_secs_f64() / half_life.as_secs_f64()).exp2()
}

/// One value per level, never below zero; levels rise and so do the values, by construction of every caller.
fn quantiles(at: impl Fn(usize) -> f64) -> Quantiles {
    Quantiles(std::array::from_fn(|level| at(level).max(0.0)))
}

/// Both together; unknown where either is.
fn sum(one: Reading<BytesPerSec>, other: Reading<BytesPerSec>) -> Option<f64> {
    Some(one.value()?.get() + other.value()?.get())
}

impl Forecaster for EwmaForecaster {
    fn name(&self) -> &'static str {
        "ewma"
    }

    fn observe(&mut self, sample: &VmSample) {
        let tracks = self.vms.entry(sample.vm).or_default();
        let at = sample.taken_at;
        tracks.cpu.observe(at, sample.cpu_used.value().map(Cores::get));
        tracks.memory.observe(at, sample.memory_used.value().map(Bytes::as_f64));
        tracks.storage.observe(at, sum(sample.disk_read, sample.disk_write));
        tracks.network.observe(at, sum(sample.net_rx, sample.net_tx));
    }

    fn forget(&mut self, vm: VmId) {
        self.vms.remove(&vm);
    }

    /// `now` plays no part: samples carry their agents' clocks, which are not to be compared with the scheduler's, and
    /// how old they are is a matter of doubts.
    fn forecast(&self, vm: VmId, _now: Timestamp) -> Option<VmForecast> {
        let tracks = self.vms.get(&vm).filter(|tracks| tracks.cpu.is_known())?;
        Some(VmForecast {
            cpu: tracks.cpu.forecast(),
            memory: tracks.memory.forecast(),
            storage: tracks.storage.forecast(),
            network: tracks.network.forecast(),
        })
    }

    fn ahead(&self, vm: VmId, _now: Timestamp) -> Option<Ahead> {
        let tracks = self.vms.get(&vm).filter(|tracks| tracks.cpu.is_known())?;
        Some(Ahead { steps: tracks.cpu.steps(), sums: None })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(seconds: u64, cpu: f64) -> VmSample {
        VmSample {
            taken_at: Timestamp::from_secs(seconds),
            cpu_used: Reading::Measured(Cores(cpu)),
            ..VmSample::default()
        }
    }

    fn after(values: impl IntoIterator<Item = f64>) -> EwmaForecaster {
        let mut forecaster = EwmaForecaster::default();
        for (index, value) in (0..).zip(values) {
            forecaster.observe(&sample(index * 5, value));
        }
        forecaster
    }

    fn cpu(forecaster: &EwmaForecaster) -> Option<ResourceForecast> {
        forecaster.forecast(VmId::default(), Timestamp::EPOCH).map(|forecast| forecast.cpu)
    }

    #[test]
    fn nothing_is_forecast_from_little() {
        assert_eq!(cpu(&after([1.0; 11])), None);
        assert!(cpu(&after([1.0; 12])).is_some());
    }

    #[test]
    fn two_values_five_minutes_apart_are_enough_and_their_spread_is_assumed() {
        let mut forecaster = EwmaForecaster::default();
        forecaster.observe(&sample(0, 2.0));
        assert_eq!(cpu(&forecaster), None);
        forecaster.observe(&sample(300, 2.0));
        let forecast = cpu(&forecaster).unwrap().steps[0];
        assert!(forecast.median() == 2.0 && forecast.q95() > 3.0, "{forecast:?}");
    }

    #[test]
    fn flicker_around_a_level_is_not_followed() {
        let flicker = |index: u32| if index * 7919 % 100 < 50 { 0.5 } else { 1.5 };
        let mut forecaster = EwmaForecaster::default();
        let mut medians = Vec::new();
        for index in 0..288 {
            forecaster.observe(&sample(u64::from(index) * 300, flicker(index)));
            medians.extend(cpu(&forecaster).map(|forecast| forecast.steps[0].median()));
        }
        let late = &medians[100..];
        let (low, high) = late.iter().fold((f64::MAX, 0.0_f64), |(low, high), v| (low.min(*v), high.max(*v)));
        assert!(low > 0.7 && high < 1.3, "{low} {high}");
    }

    #[test]
    fn a_steady_vm_is_forecast_as_it_is() {
        let forecast = cpu(&after([2.0; 200])).unwrap();
        assert!(forecast.steps.iter().chain([&forecast.max_60_min]).flat_map(|q| q.0).all(|v| (v - 2.0).abs() < 1e-9));
    }

    #[test]
    fn a_changed_level_is_followed_within_minutes() {
        let values = std::iter::repeat_n(0.5, 720).chain(std::iter::repeat_n(3.0, 180));
        let median = cpu(&after(values)).unwrap().steps[0].median();
        assert!((2.6..=3.0).contains(&median), "three half-lives later: {median}");
    }

    #[test]
    fn the_95_percent_quantile_covers_what_varies() {
        let noise = |index: u32| 1.0 + f64::from(index * 7919 % 100) / 100.0;
        let forecast = cpu(&after((0..1000).map(noise))).unwrap();
        let covered = (0..1000).filter(|index| noise(*index) <= forecast.steps[0].q95()).count();
        assert!((900..=1000).contains(&covered), "{covered} of 1000 lie below");
    }

    #[test]
    fn a_peak_is_remembered_for_the_maximum_to_come() {
        let mut values = vec![0.2; 360];
        values[300] = 4.0;
        let forecast = cpu(&after(values)).unwrap();
        assert!(forecast.max_30_min.median() > 3.0);
        assert!(forecast.steps[0].median() < 0.6);
    }

    #[test]
    fn a_missing_value_teaches_nothing() {
        let mut forecaster = after([1.0; 20]);
        let before = forecaster.clone();
        forecaster.observe(&VmSample { taken_at: Timestamp::from_secs(500), ..VmSample::default() });
        forecaster.observe(&sample(505, f64::NAN));
        assert_eq!(forecaster, before);
    }

    #[test]
    fn a_clock_set_back_does_not_blind_it() {
        let mut forecaster = after([1.0; 800]);
        for index in 0..200 {
            forecaster.observe(&sample(index * 5, 2.0));
        }
        assert!(cpu(&forecaster).unwrap().steps[0].median() > 1.8);
    }

    #[test]
    fn a_forgotten_vm_leaves_nothing() {
        let mut forecaster = after([1.0; 20]);
        forecaster.forget(VmId::default());
        assert_eq!(forecaster, EwmaForecaster::default());
    }

    proptest! {
        #[test]
        fn quantiles_never_cross_and_the_median_is_never_negative(
            values in prop::collection::vec((0..2000u64, 0.0..1e13f64), 12..80),
        ) {
            let mut forecaster = EwmaForecaster::default();
            let mut at = 0;
            for (wait, value) in values {
                at += wait + 1;
                forecaster.observe(&sample(at, value));
            }
            let forecast = cpu(&forecaster).unwrap();
            for q in forecast.steps.iter().chain([&forecast.max_30_min, &forecast.max_60_min]) {
                prop_assert!(q.median() >= 0.0 && q.0.is_sorted() && q.0.iter().all(|value| value.is_finite()));
            }
            let longer = forecast.max_30_min.0.iter().zip(forecast.max_60_min.0).all(|(m30, m60)| *m30 <= m60);
            prop_assert!(longer, "the maximum over the longer time is not lower");
        }
    }
}
