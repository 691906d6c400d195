//! Which vms stray together: of each, how much of its forecast's error it has in common with all others.
//!
//! One factor (Sharpe 1963, *A Simplified Model for Portfolio Analysis*): an error in deviations of its forecast is
//! `ρ F + sqrt(1 - ρ²) ε`, with an `F` that all vms share. The covariance of a vm with the mean of the others is `ρ` times
//! the root of the mean covariance of all pairs, and both means follow from two sums over the fleet: one pass, two numbers
//! per vm. Leaving the vm itself out is what keeps small fleets from finding a factor in noise.
//!
//! With few observations a vm counts as the average one, and the fleet as it was assumed to be: what is not known yet must not
//! look independent. Errors are cut off, so that one jump of the whole load does not glue the fleet together for a day.
//! A vm that moves against the others counts as a stranger to them: what it would take off is never relied upon.
//!
//! Of labelled groups only bundles can share a host (members of a spread or an anti-affinity group never do), and they share
//! it always: what their errors have in common beyond the fleet's is one number per bundle, counted as their own variance.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{id::VmId, snapshot::Snapshot};

/// Deviations at which an error is cut off.
const CUT: f64 = 4.0;

/// Steps after which the past counts as much as the present: a day.
const STEPS_KEPT: f64 = 288.0;

/// Steps that what was assumed is worth: four hours.
const STEPS_ASSUMED: f64 = 48.0;

/// Largest loading: some of every error is a vm's own.
const LOADING_MAX: f64 = 0.95;

/// A mean over steps; the first ones count alike, later ones fade.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Faded {
    mean: f64,
    steps: f64,
}

impl Faded {
    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.steps += 1.0;
            self.mean += (value - self.mean) / self.steps.min(STEPS_KEPT);
        }
    }

    /// The mean, leaning on `assumed` while there are few steps.
    fn leaning_on(&self, assumed: f64) -> f64 {
        (STEPS_ASSUMED * assumed + self.steps * self.mean) / (STEPS_ASSUMED + self.steps)
    }
}

/// What is known of a fleet's errors; kept across restarts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Correlations {
    /// Mean square of an error: above one where forecasts are too sure.
    square: Faded,
    /// Mean product of two errors.
    pairs: Faded,
    /// Of each vm, the mean product of its error and the mean error of the others.
    vms: BTreeMap<VmId, Faded>,
    /// Of each bundle, the mean product of two errors in it.
    bundles: BTreeMap<String, Faded>,
}

impl Correlations {
    /// Takes the errors of one moment, in deviations of their forecasts, each vm once. `bundles` says to which bundle a vm
    /// belongs.
    pub fn observe<'b>(&mut self, errors: &[(VmId, f64)], bundles: &BTreeMap<VmId, &'b str>) {
        let errors = || errors.iter().filter(|(_, error)| error.is_finite()).map(|(vm, error)| (*vm, cut(*error)));
        let all = errors().fold(Sums::default(), |sums, (_, error)| sums.with(error));
        let Some(pairs) = all.pairs() else { return };
        self.square.add(all.squares / all.count);
        self.pairs.add(pairs);
        let mut together: BTreeMap<&'b str, Sums> = BTreeMap::new();
        for (vm, error) in errors() {
            let others = (all.sum - error) / (all.count - 1.0);
            self.vms.entry(vm).or_default().add(error * others);
            if let Some(bundle) = bundles.get(&vm) {
                let sums = together.entry(bundle).or_default();
                *sums = sums.with(error);
            }
        }
        for (bundle, sums) in together {
            if let Some(pairs) = sums.pairs() {
                self.bundles.entry(bundle.to_owned()).or_default().add(pairs);
            }
        }
    }

    /// Forgets what is not in the fleet any more.
    pub fn retain(&mut self, snapshot: &Snapshot) {
        self.vms.retain(|vm, _| snapshot.vms.contains_key(vm));
        let there: BTreeSet<&str> = bundles(snapshot).into_values().collect();
        self.bundles.retain(|bundle, _| there.contains(bundle.as_str()));
    }

    /// Mean correlation of two vms, 0 to 1; `assumed` is what it is taken for while nothing is known.
    pub fn mean(&self, assumed: f64) -> f64 {
        let measured = Faded { mean: self.pairs.mean / self.scale(), ..self.pairs };
        measured.leaning_on(assumed).clamp(0.0, LOADING_MAX * LOADING_MAX)
    }

    /// The loading of a vm that is not known: the fleet's mean.
    pub fn mean_loading(&self, assumed: f64) -> f64 {
        self.mean(assumed).sqrt()
    }

    /// The loading `ρ` of every vm that is known, 0 to [`LOADING_MAX`].
    pub fn loadings(&self, assumed: f64) -> BTreeMap<VmId, f64> {
        let (mean, scale) = (self.mean(assumed), self.scale());
        let loading = |track: &Faded| {
            let covariance = Faded { mean: track.mean / scale, ..*track }.leaning_on(mean);
            (covariance / mean.sqrt().max(f64::MIN_POSITIVE)).clamp(0.0, LOADING_MAX)
        };
        self.vms.iter().map(|(vm, track)| (*vm, loading(track))).collect()
    }

    /// The correlation of two members of each bundle beyond that of any two vms, 0 to 1.
    pub fn bundles(&self, assumed: f64) -> BTreeMap<String, f64> {
        let (mean, scale) = (self.mean(assumed), self.scale());
        let beyond =
            |track: &Faded| (Faded { mean: track.mean / scale, ..*track }.leaning_on(mean) - mean).clamp(0.0, 1.0);
        self.bundles.iter().map(|(bundle, track)| (bundle.clone(), beyond(track))).collect()
    }

    fn scale(&self) -> f64 {
        if self.square.mean > 0.0 { self.square.mean } else { 1.0 }
    }
}

/// The bundle of every vm that is in one: the first of its affinity labels.
pub(super) fn bundles(snapshot: &Snapshot) -> BTreeMap<VmId, &str> {
    let labelled = snapshot.vms.iter().filter_map(|(id, vm)| Some((*id, vm.record.labels.affinity.first()?)));
    labelled.map(|(id, label)| (id, label.as_str())).collect()
}

/// Sums over errors, from which the mean over pairs follows.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn with(self, error: f64) -> Self {
        Self { count: self.count + 1.0, sum: self.sum + error, squares: self.squares + error * error }
    }

    /// Mean product of two different errors; `None` where there are no two.
    fn pairs(&self) -> Option<f64> {
        let pairs = self.count * (self.count - 1.0);
        (pairs > 0.0).then(|| (self.sum * self.sum - self.squares) / pairs)
    }
}

fn cut(error: f64) -> f64 {
    error.clamp(-CUT, CUT)
}
