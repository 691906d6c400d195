//! The forecaster that decisions rest on: a fallback that is always there and, where there is one, a model that has to be
//! better.
//!
//! Both take in every sample. What they say is kept for a sample of the vms and scored against what then came
//! ([`score`]); the scores, the soundness of each forecast ([`sound`]) and the time it took are what the [`breaker`] goes
//! by. A model begins in the shadow, is used once it has been better for long enough, and is set aside the moment it is not;
//! [`crate::forecast::Forecasts::method`] says which and why.
//!
//! Nothing here runs the model: [`Oversight`] is told what it answered, or that it is late, and so the scheduler may run it
//! on a thread of its own and replay where it stands ([`Supervised`]). The same samples and answers give the same forecasts.
//! Memory: about 1 KiB per vm for its last two hours, and two thirds of a megabyte of forecasts that have not come due.

pub mod breaker;
mod demand;
mod guarded;
mod pending;
mod report;
pub mod resource;
pub mod score;
mod settings;
mod sound;
mod standing;
mod supervised;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    forecast::{Forecaster, Forecasts, VmForecast},
    id::VmId,
    inventory::VmRecord,
    sample::VmSample,
    snapshot::{Snapshot, VmView},
    units::{Bytes, Timestamp, count},
};
use breaker::{Breaker, Reason, Turn, is_ahead, is_told, verdict};
use demand::Demand;
use pending::{Pending, Said};
use resource::Resource;
use score::Scores;
use sound::Unsound;

pub use demand::DemandStep;
pub(crate) use guarded::words;
pub use guarded::{Answer, GuardedModel, Restored, SavedState};
pub use report::{Report, Sources};
pub use settings::{ModelMode, OversightSettings};
pub use standing::Standing;
pub use supervised::Supervised;

/// Share of a fleet's forecasts that may be beyond what their vms could do before the model is to blame: one vm whose
/// capacity is told wrong is not.
const ABSURD_SHARE_MAX: f64 = 0.01;

/// A change that is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether it was unexpected.
    pub is_warning: bool,
    /// In words.
    pub text: String,
}

/// What is known of a model over a restart, so that it need not prove itself anew each time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    identity: String,
    promoted: bool,
    ahead_since: Option<Timestamp>,
    breaker: Breaker,
    scores: Scores,
}

/// Judges a model, and says which forecasts are used.
pub struct Oversight {
    fallback: Box<dyn Forecaster>,
    settings: OversightSettings,
    demand: Demand,
    pending: Pending,
    scores: Scores,
    model: Option<Model>,
    refused: Option<String>,
    notes: Vec<Note>,
}

/// What is known of the model in force.
struct Model {
    name: Arc<str>,
    /// Which one of its name.
    identity: String,
    promoted: bool,
    ahead_since: Option<Timestamp>,
    breaker: Breaker,
    newest: Option<(Timestamp, BTreeMap<VmId, VmForecast>)>,
    late_in_a_row: u32,
}

impl std::fmt::Debug for Oversight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oversight").field("standing", &self.standing()).finish_non_exhaustive()
    }
}

impl Oversight {
    /// With the fallback alone.
    pub fn new(fallback: Box<dyn Forecaster>, settings: OversightSettings) -> Self {
        Self {
            fallback,
            settings,
            demand: Demand::default(),
            pending: Pending::default(),
            scores: Scores::default(),
            model: None,
            refused: None,
            notes: Vec::new(),
        }
    }

    /// A model is there from now on, in the place of any before it; it has to prove itself. `identity` tells it from
    /// others of its name.
    pub fn model_loaded(&mut self, name: &str, identity: &str) {
        if self.settings.mode == ModelMode::Off {
            return;
        }
        self.model = Some(Model {
            name: name.into(),
            identity: identity.to_owned(),
            promoted: false,
            ahead_since: None,
            breaker: Breaker::Closed,
            newest: None,
            late_in_a_row: 0,
        });
        self.refused = None;
        self.pending.clear();
        self.scores = Scores::default();
    }

    /// Whether this very model is in force and able to answer: loading it again would change nothing.
    pub fn has(&self, identity: &str) -> bool {
        let dead = |model: &Model| matches!(model.breaker.why(), Some(Reason::Panicked { .. }));
        self.model.as_ref().is_some_and(|model| model.identity == identity && !dead(model))
    }

    /// There should be a model, and there is none.
    pub fn model_refused(&mut self, why: &str) {
        self.refused = Some(why.to_owned());
    }

    /// Takes a sample.
    pub fn observe(&mut self, sample: &VmSample) {
        self.fallback.observe(sample);
        if let Some(closed) = self.demand.observe(sample) {
            self.pending.came(&closed, &mut self.scores);
        }
    }

    /// Forgets every vm that the snapshot does not have.
    fn forget_gone(&mut self, snapshot: &Snapshot) {
        let gone: Vec<VmId> = self.demand.vms().filter(|vm| !snapshot.vms.contains_key(vm)).collect();
        for vm in gone {
            self.demand.forget(vm);
            self.fallback.forget(vm);
        }
    }

    /// The model has answered, in time or not. Forecasts that cannot be are taken out; their vms get the fallback's.
    pub fn heard(&mut self, answer: Answer, snapshot: &Snapshot) {
        let Some(model) = self.model.as_mut() else { return };
        match answer.said {
            Ok(forecasts) => {
                let (sound, reason) = sift(forecasts, snapshot);
                model.newest = Some((answer.at, sound));
                reason.into_iter().for_each(|why| self.open(why, answer.at));
            }
            Err(what) => {
                model.newest = None;
                self.open(Reason::Panicked { what }, answer.at);
            }
        }
    }

    /// The model has answered in time again.
    pub fn on_time(&mut self) {
        self.model.iter_mut().for_each(|model| model.late_in_a_row = 0);
    }

    /// The model has not answered in time.
    pub fn late(&mut self, now: Timestamp) {
        let Some(model) = self.model.as_mut() else { return };
        model.late_in_a_row = model.late_in_a_row.saturating_add(1);
        let times = model.late_in_a_row;
        if times >= self.settings.late_max {
            self.open(Reason::Late { times }, now);
        }
    }

    fn open(&mut self, why: Reason, now: Timestamp) {
        let is_trusted = self.mode() == ModelMode::Active;
        let Some(model) = self.model.as_mut() else { return };
        let text = format!("{} is set aside: {why}; {} forecasts", model.name, self.fallback.name());
        // In the shadow a model may be worse: that is what the shadow is for. A defect is one everywhere.
        let is_warning = is_trusted || why.is_defect();
        if model.breaker.open(why, now) == Some(Turn::Opened) {
            model.ahead_since = None;
            // What it did before does not help it back in.
            self.scores = Scores::default();
            self.notes.push(Note { is_warning, text });
        }
    }

    /// One cycle: steps that are over are scored, forecasts of the step under way are taken down, and the model is judged.
    pub fn cycle(&mut self, snapshot: &Snapshot) {
        let now = snapshot.taken_at;
        self.forget_gone(snapshot);
        for closed in self.demand.close(now) {
            self.pending.came(&closed, &mut self.scores);
        }
        self.take_down(snapshot);
        if let Some(why) = self.model.as_ref().and_then(|_| verdict(&self.scores, &self.settings)) {
            self.open(why, now);
        }
        self.recover(now);
        self.promote(now);
    }

    fn take_down(&mut self, snapshot: &Snapshot) {
        let now = snapshot.taken_at;
        let slot = demand::under_way(now);
        if !pending::is_time(slot, now) {
            return;
        }
        let answer = self.model.as_ref().map(|model| model.newest.as_ref());
        // With a model only what both have said is compared, and the model must have spoken in this very step.
        let answer = match answer {
            None => None,
            Some(Some((at, vms))) if demand::under_way(*at) == slot => Some(vms),
            Some(_) => return,
        };
        let sample = pending::sample(self.demand.vms());
        self.pending.retain(&sample);
        for vm in sample {
            let (Some(view), Some(last)) = (snapshot.vms.get(&vm), self.demand.before(vm, slot)) else { continue };
            let model = answer.map(|vms| vms.get(&vm));
            if matches!(model, Some(None)) || !self.pending.wants(vm, slot) {
                continue;
            }
            let Some(fallback) = self.fallback.forecast(vm, now) else { continue };
            let ceilings = Resource::ALL.map(|resource| sound::ceiling(resource, view));
            self.pending.take(vm, slot, &Said { model: model.flatten(), fallback: &fallback, last, ceilings });
        }
    }

    fn recover(&mut self, now: Timestamp) {
        let Some(model) = self.model.as_mut() else { return };
        let recovered = is_told(&self.scores, &self.settings) && model.late_in_a_row == 0;
        let text = match model.breaker.pass(recovered, now) {
            Some(Turn::HalfOpened) => {
                format!("{} has done well since it was set aside and is on probation", model.name)
            }
            Some(Turn::Closed) => format!("{} is trusted again", model.name),
            Some(Turn::Opened) | None => return,
        };
        self.notes.push(Note { is_warning: false, text });
    }

    fn promote(&mut self, now: Timestamp) {
        let Some(model) = self.model.as_mut() else { return };
        if model.promoted || self.settings.mode == ModelMode::Active {
            return;
        }
        if model.breaker != Breaker::Closed || !is_ahead(&self.scores, &self.settings) {
            model.ahead_since = None;
            return;
        }
        let since = *model.ahead_since.get_or_insert(now);
        if now.since(since) >= self.settings.promote_after {
            model.promoted = true;
            let text =
                format!("{} has been better than {} long enough and is used now", model.name, self.fallback.name());
            self.notes.push(Note { is_warning: false, text });
        }
    }

    /// What the vms of `snapshot` are expected to want: by the model where it is in use and knows the vm, else by the
    /// fallback.
    pub fn forecasts(&self, snapshot: &Snapshot) -> Forecasts {
        let standing = self.standing();
        let answered = self.answered(&standing);
        let mut forecasts = Forecasts { method: self.method(&standing), ..Forecasts::default() };
        forecasts.vms.reserve(snapshot.vms.len());
        let fallback: Arc<str> = self.fallback.name().into();
        for vm in snapshot.vms.keys() {
            if let Some(said) = answered.and_then(|vms| vms.get(vm)) {
                forecasts.vms.insert(*vm, said.cpu.ahead());
            } else if let Some(said) = self.fallback.ahead(*vm, snapshot.taken_at) {
                forecasts.vms.insert(*vm, said);
                if standing.is_in_use() {
                    forecasts.others.insert(*vm, Arc::clone(&fallback));
                }
            }
        }
        forecasts
    }

    /// What one vm is expected to want, of all resources, by whom [`Self::forecasts`] goes.
    pub fn forecast(&self, vm: VmId, now: Timestamp) -> Option<VmForecast> {
        let said = self.answered(&self.standing()).and_then(|vms| vms.get(&vm)).copied();
        said.or_else(|| self.fallback.forecast(vm, now))
    }

    /// What the model says, where it is in use.
    fn answered(&self, standing: &Standing) -> Option<&BTreeMap<VmId, VmForecast>> {
        let model = self.model.as_ref().filter(|_| standing.is_in_use())?;
        model.newest.as_ref().map(|(_, vms)| vms)
    }

    /// The last two hours of a vm, oldest first.
    pub fn history(&self, vm: VmId) -> Vec<DemandStep> {
        self.demand.history(vm)
    }

    /// What has changed since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// What is known of the model, for the next start.
    pub fn memory(&self) -> Option<Memory> {
        let model = self.model.as_ref()?;
        Some(Memory {
            identity: model.identity.clone(),
            promoted: model.promoted,
            ahead_since: model.ahead_since,
            breaker: model.breaker.clone(),
            scores: self.scores,
        })
    }

    /// Takes up what was known of this very model; of another one nothing. A panic is over with the process it was in.
    pub fn recall(&mut self, memory: Memory) {
        let Some(model) = self.model.as_mut().filter(|model| model.identity == memory.identity) else { return };
        (model.promoted, model.ahead_since) = (memory.promoted, memory.ahead_since);
        if !matches!(memory.breaker.why(), Some(Reason::Panicked { .. })) {
            model.breaker = memory.breaker;
        }
        self.scores = memory.scores;
    }
}

/// The forecasts that can be, and what speaks against the model that made the others.
fn sift(forecasts: BTreeMap<VmId, VmForecast>, snapshot: &Snapshot) -> (BTreeMap<VmId, VmForecast>, Option<Reason>) {
    let (of, mut absurd, mut broken) = (forecasts.len(), 0, None);
    let is_sound = |forecast: &VmForecast, view: &VmView| match sound::check(forecast, view) {
        Ok(()) => true,
        Err(Unsound::Absurd) => {
            absurd += 1;
            false
        }
        Err(Unsound::NoNumber(resource)) => {
            broken.get_or_insert(Reason::NoNumber { resource });
            false
        }
        Err(Unsound::Crossing(resource)) => {
            broken.get_or_insert(Reason::Crossing { resource });
            false
        }
    };
    let mut is_sound = is_sound;
    let known =
        forecasts.into_iter().filter(|(vm, said)| snapshot.vms.get(vm).is_some_and(|view| is_sound(said, view)));
    let sound: BTreeMap<VmId, VmForecast> = known.collect();
    let too_many = count(absurd) > ABSURD_SHARE_MAX * count(of);
    let reason = broken.or_else(|| too_many.then_some(Reason::Absurd { count: absurd, of }));
    (sound, reason)
}

/// The vms that the model is asked about, and how large they are.
pub fn asked(snapshot: &Snapshot) -> Asked {
    let size = |record: &VmRecord| Size { vcpus: record.vcpus, memory: record.memory_max };
    snapshot.vms.iter().map(|(vm, view)| (*vm, size(&view.record))).collect()
}

/// Vms and how large they are.
pub type Asked = BTreeMap<VmId, Size>;

/// How large a vm is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Size {
    /// Its virtual CPUs; 0 where nobody says.
    pub vcpus: u32,
    /// Memory it may grow to; 0 where nobody says.
    pub memory: Bytes,
}
