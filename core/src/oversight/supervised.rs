//! A model under oversight where it stands: asked in every cycle, waited for, and so the same each time. For replay, for the
//! demo, whose clock outruns any machine, and for simulations; without a model it is the oversight alone.

use super::{GuardedModel, Oversight, Restored, asked};
use crate::{
    forecast::{Forecaster, Forecasts},
    sample::VmSample,
    snapshot::Snapshot,
    units::Timestamp,
};

/// The oversight and, where it runs here, its model.
#[derive(Debug)]
pub struct Supervised {
    /// Who judges.
    pub oversight: Oversight,
    /// The model, where it runs here.
    pub model: Option<GuardedModel>,
}

impl Supervised {
    /// The oversight alone.
    pub fn new(oversight: Oversight) -> Self {
        Self { oversight, model: None }
    }

    /// Takes a model in, in the place of any before it.
    pub fn load(&mut self, model: Box<dyn Forecaster>, identity: &str, now: Timestamp) -> Restored {
        self.oversight.model_loaded(model.name(), identity);
        match self.model.as_mut() {
            Some(before) => before.replace(model, now),
            None => {
                self.model = Some(GuardedModel::new(model));
                Restored::default()
            }
        }
    }

    /// Takes a sample.
    pub fn observe(&mut self, sample: &VmSample) {
        self.oversight.observe(sample);
        if let Some(model) = self.model.as_mut() {
            model.observe(sample);
        }
    }

    /// One cycle: the model is asked where it runs here, and judged.
    pub fn cycle(&mut self, snapshot: &Snapshot) {
        if let Some(model) = self.model.as_mut() {
            let answer = model.answer(&asked(snapshot), snapshot.taken_at);
            self.oversight.heard(answer, snapshot);
        }
        self.oversight.cycle(snapshot);
    }

    /// What the vms of `snapshot` are expected to want.
    pub fn forecasts(&self, snapshot: &Snapshot) -> Forecasts {
        self.oversight.forecasts(snapshot)
    }
}
