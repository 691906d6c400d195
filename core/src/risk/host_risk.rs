//! Measures a fleet's risk while it runs: makes promises, judges them a step later, learns from what came.
//!
//! Whoever decides owns one, feeds it every batch, and has it [`HostRisk::inform`] the forecasts before each decision, or
//! [`HostRisk::tell`] what it knows where no time has passed; what was learned is kept across restarts, open promises are not. Where the
//! operator fixed the risk ([`Tuning::measures_risk`]) it does nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    forecast::Forecasts,
    risk::{
        Calibration, Correlations, Kept, MeasuredRisk,
        correlation::bundles,
        priced::Priced,
        promise::{Ended, Promises},
    },
    sample::Batch,
    snapshot::Snapshot,
    tuning::Tuning,
    units::Timestamp,
};

/// How measuring stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RiskReport {
    /// All promises so far.
    pub kept: Kept,
    /// What the newest promises were made by.
    pub measured: Arc<MeasuredRisk>,
}

/// What is known of a fleet's risk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostRisk {
    calibration: Calibration,
    correlations: Correlations,
    priced: Priced,
    /// All promises so far.
    kept: Kept,
    #[serde(skip)]
    open: Option<Promises>,
    #[serde(skip)]
    measured: Option<Arc<MeasuredRisk>>,
}

impl HostRisk {
    /// Takes what one host reports, in the time of the snapshots.
    pub fn observe(&mut self, batch: &Batch) {
        if let Some(promises) = &mut self.open {
            promises.observe(batch);
        }
    }

    /// True where promises are to be judged, or made for the first time, at `now`.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.open.as_ref().is_none_or(|promises| promises.is_over(now))
    }

    /// Tells `forecasts` what is measured. Promises that are over at the moment of `snapshot` are judged first, and
    /// new ones are made; what came of the old is returned then.
    pub fn inform(&mut self, snapshot: &Snapshot, forecasts: &mut Forecasts, tuning: &Tuning) -> Option<Kept> {
        if !tuning.measures_risk() {
            return None;
        }
        if !self.is_due(snapshot.taken_at) {
            self.tell(forecasts);
            return None;
        }
        let ended = self.open.take().map(|promises| promises.end(tuning.overload_joules_per_core_second));
        let kept = ended.map(|ended| self.learn(&ended, snapshot, tuning));
        self.measured = Some(Arc::new(self.measure(tuning)));
        self.tell(forecasts);
        self.open = Some(Promises::begin(snapshot, forecasts, tuning));
        kept
    }

    /// Tells `forecasts` what is measured, and nothing else: nothing where nothing is.
    pub fn tell(&self, forecasts: &mut Forecasts) {
        forecasts.risk.clone_from(&self.measured);
    }

    fn learn(&mut self, ended: &Ended, snapshot: &Snapshot, tuning: &Tuning) -> Kept {
        if let Some(allowed) = tuning.overload_share_max {
            self.calibration.observe(&ended.kept, allowed, tuning.risk_z);
            self.correlations.observe(&ended.errors, &bundles(snapshot));
            self.correlations.retain(snapshot);
        }
        if let Some(costs) = &ended.costs {
            self.priced.observe(costs);
        }
        let mut kept = Kept::default();
        ended.kept.values().for_each(|of_class| kept.add(*of_class));
        self.kept.add(kept);
        kept
    }

    fn measure(&self, tuning: &Tuning) -> MeasuredRisk {
        match tuning.overload_share_max {
            Some(_) => self.calibrated(tuning),
            None => self.cheapest(tuning),
        }
    }

    /// The caution that keeps as many promises as the operator asks for, and the correlations that were measured.
    fn calibrated(&self, tuning: &Tuning) -> MeasuredRisk {
        let classes = self.calibration.classes();
        let assumed = tuning.correlation;
        MeasuredRisk {
            fleet_z: self.calibration.fleet_z(tuning.risk_z),
            z: classes.map(|class| (class.clone(), self.calibration.z(class, tuning.risk_z))).collect(),
            loading: self.correlations.mean_loading(assumed),
            loadings: self.correlations.loadings(assumed),
            bundles: self.correlations.bundles(assumed),
        }
    }

    /// The caution that would have cost least; correlations are as assumed, for what they are worth is in what it cost.
    fn cheapest(&self, tuning: &Tuning) -> MeasuredRisk {
        let (fleet_z, loading) = (self.priced.z(tuning.risk_z), tuning.correlation.sqrt());
        MeasuredRisk { fleet_z, loading, ..MeasuredRisk::default() }
    }

    /// How measuring stands; `None` where nothing is measured.
    pub fn report(&self) -> Option<RiskReport> {
        let measured = self.measured.as_ref()?;
        Some(RiskReport { kept: self.kept, measured: Arc::clone(measured) })
    }

    /// What was measured when the newest promises were made.
    pub fn measured(&self) -> Option<&MeasuredRisk> {
        self.measured.as_deref()
    }

    /// All promises so far.
    pub fn kept(&self) -> Kept {
        self.kept
    }
}
