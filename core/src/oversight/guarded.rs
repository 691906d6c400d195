//! A model behind a fence: its panics are caught, what it learned of is known, and it can be replaced by a newer one.
//!
//! The scheduler runs one on a thread of its own, replay and the demo run one where they stand. It decides nothing:
//! [`super::Oversight`] judges what it answers.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::Asked;
use crate::{
    forecast::{Forecaster, StateRefused, VmForecast},
    id::VmId,
    sample::VmSample,
    units::Timestamp,
};

/// What a model answered when it was asked for the forecasts of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The moment it was asked about.
    pub at: Timestamp,
    /// Its forecasts, or the words it panicked with.
    pub said: Result<BTreeMap<VmId, VmForecast>, String>,
}

/// What is kept of a vm over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    /// Which vm.
    pub vm: VmId,
    /// Its newest sample that the state knows of.
    pub at: Timestamp,
    /// The model's own bytes.
    pub state: Vec<u8>,
}

/// What came of states that were given to a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// How many it took up.
    pub taken: u64,
    /// How many it refused.
    pub refused: u64,
    /// Why it refused the first of them.
    pub why: Option<String>,
}

/// A model whose panics end nothing but itself.
pub struct GuardedModel {
    model: Option<Box<dyn Forecaster>>,
    name: &'static str,
    panicked: Option<String>,
    newest: BTreeMap<VmId, Timestamp>,
    /// Vms taken up from a state: samples up to that moment are in it.
    resumed: BTreeMap<VmId, Timestamp>,
}

impl std::fmt::Debug for GuardedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, panicked, newest, .. } = self;
        f.debug_struct("GuardedModel")
            .field("name", name)
            .field("panicked", panicked)
            .field("vms", &newest.len())
            .finish()
    }
}

impl GuardedModel {
    /// A model that knows of no vm yet.
    pub fn new(model: Box<dyn Forecaster>) -> Self {
        let name = model.name();
        let (newest, resumed) = (BTreeMap::new(), BTreeMap::new());
        Self { model: Some(model), name, panicked: None, newest, resumed }
    }

    /// The model's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// One call. A model that panicked once is let go of: nobody knows what state that has left it in.
    fn fenced<T>(&mut self, call: impl FnOnce(&mut dyn Forecaster) -> T) -> Option<T> {
        let model = self.model.as_deref_mut()?;
        match catch_unwind(AssertUnwindSafe(|| call(model))) {
            Ok(done) => Some(done),
            Err(panic) => {
                self.panicked = Some(words(&*panic));
                // Letting go may panic too.
                let gone = self.model.take();
                drop(catch_unwind(AssertUnwindSafe(|| drop(gone))));
                None
            }
        }
    }

    /// Takes a sample; one that a state already knows of teaches nothing twice.
    pub fn observe(&mut self, sample: &VmSample) {
        if let Some(known) = self.resumed.get(&sample.vm) {
            if sample.taken_at <= *known {
                return;
            }
            self.resumed.remove(&sample.vm);
        }
        self.newest.insert(sample.vm, sample.taken_at);
        self.fenced(|model| model.observe(sample));
    }

    /// The forecasts of `vms` at `now`; every other vm is forgotten.
    pub fn answer(&mut self, vms: &Asked, now: Timestamp) -> Answer {
        let gone: Vec<VmId> = self.newest.keys().filter(|vm| !vms.contains_key(vm)).copied().collect();
        for vm in gone {
            self.newest.remove(&vm);
            self.resumed.remove(&vm);
            self.fenced(|model| model.forget(vm));
        }
        let known: Vec<VmId> = self.newest.keys().copied().collect();
        let said = self.fenced(|model| {
            vms.iter().for_each(|(vm, size)| model.resized(*vm, size.vcpus, size.memory));
            model.advance(now);
            known.into_iter().filter_map(|vm| Some((vm, model.forecast(vm, now)?))).collect()
        });
        Answer { at: now, said: said.ok_or_else(|| self.panicked.clone().unwrap_or_else(|| "before".to_owned())) }
    }

    /// What it would have to know again after a restart.
    pub fn states(&mut self) -> Vec<SavedState> {
        let vms = self.newest.clone();
        let states = self.fenced(|model| {
            let each = |(vm, at)| Some(SavedState { vm, at, state: model.state(vm)? });
            vms.into_iter().filter_map(each).collect()
        });
        states.unwrap_or_default()
    }

    /// Takes up what [`GuardedModel::states`] gave in an earlier life; a state of the future is none.
    pub fn restore(&mut self, states: Vec<SavedState>, now: Timestamp) -> Restored {
        let mut restored = Restored::default();
        for saved in states {
            match self.restore_one(&saved, now) {
                Ok(()) => restored.taken += 1,
                Err(refused) => {
                    restored.refused += 1;
                    restored.why.get_or_insert_with(|| format!("vm {}: {refused}", saved.vm));
                }
            }
        }
        restored
    }

    fn restore_one(&mut self, saved: &SavedState, now: Timestamp) -> Result<(), StateRefused> {
        let refused = |reason: String| Err(StateRefused { reason });
        if saved.at > now {
            return refused(format!("it is of {}, which is still to come", saved.at));
        }
        match self.fenced(|model| model.restore(saved.vm, &saved.state)) {
            Some(taken) => taken?,
            None => return refused("the model has panicked".to_owned()),
        }
        self.newest.insert(saved.vm, saved.at);
        self.resumed.insert(saved.vm, saved.at);
        Ok(())
    }

    /// Puts a newer model in this one's place. It takes up the states of the one before where it understands them.
    pub fn replace(&mut self, model: Box<dyn Forecaster>, now: Timestamp) -> Restored {
        let states = self.states();
        *self = Self::new(model);
        self.restore(states, now)
    }
}

/// The words of a panic.
pub(crate) fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}
