//! One vm as it is followed: the slot being filled, its past, its recurrent state and what was last said of it.

use std::collections::VecDeque;

use ballast_core::{
    forecast::{Ahead, LEVELS, Moments, Quantiles, ResourceForecast, STEPS, VmForecast},
    history::Observed,
    sample::VmSample,
};
use serde::{Deserialize, Serialize};

use super::{
    slot::{Means, OpenSlot, Size, slot_of_sample},
    sums::Residuals,
};
use crate::{
    network::TARGETS,
    past::{GAP_MAX, Past},
    predictor::{Answer, is_known},
    scale::Resource,
};

/// Closed slots that may wait to be worked off: an hour's, far more than one cycle brings. Beyond, the oldest go and are a
/// gap.
const WAITING_MAX: usize = 12;

/// What is kept of one vm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Followed {
    open: OpenSlot,
    waiting: VecDeque<(u32, Means)>,
    pub(super) past: Past,
    pub(super) state: Vec<f32>,
    pub(super) answer: Option<Answer>,
    residuals: Residuals,
}

impl Followed {
    /// A vm that is first seen in `slot`.
    pub(super) fn new(slot: u32, state_len: usize) -> Self {
        Self {
            open: OpenSlot::new(slot),
            waiting: VecDeque::new(),
            past: Past::new(slot),
            state: vec![0.0; state_len],
            answer: None,
            residuals: Residuals::new(),
        }
    }

    pub(super) fn observe(&mut self, sample: &VmSample) {
        let slot = slot_of_sample(sample);
        if slot != self.open.slot {
            self.close();
            self.open = OpenSlot::new(slot);
        }
        self.open.take(sample);
    }

    /// False for a state that no following leads to.
    pub(super) fn is_sound(&self, state_len: usize) -> bool {
        self.state.len() == state_len && self.past.is_sound() && self.residuals.is_sound()
    }

    /// Closes the slot that is being filled where its time is over.
    pub(super) fn close_before(&mut self, slot: u32) {
        if self.open.slot < slot {
            self.close();
            self.open = OpenSlot::new(slot);
        }
    }

    fn close(&mut self) {
        let Some(means) = self.open.close() else { return };
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((self.open.slot, means));
    }

    /// The next slot to be worked off: its time and what was seen, missing in a gap.
    pub(super) fn next(&mut self, size: Size) -> Option<Observed> {
        let (slot, means) = *self.waiting.front()?;
        let observed = means.of(size);
        let due = self.past.slot().wrapping_add(1);
        let gap = slot.wrapping_sub(due);
        if gap == 0 {
            self.waiting.pop_front();
            return Some(observed);
        }
        if slot < due {
            // A clock was set back: what is known stays, the time of the day is the new one.
            self.past.set_slot(slot.wrapping_sub(1));
        } else if gap > GAP_MAX {
            self.past = Past::new(slot);
            self.state.fill(0.0);
            (self.answer, self.residuals) = (None, Residuals::new());
        } else {
            return Some(Observed::MISSING);
        }
        self.waiting.pop_front();
        Some(observed)
    }

    /// A slot is worked off.
    pub(super) fn step(&mut self, observed: &Observed) {
        self.past.step(observed);
        self.residuals.came(self.past.slot(), observed.cpu);
    }

    /// What is said of it after the newest slot.
    pub(super) fn say(&mut self, answer: Answer) {
        if is_known(&answer) {
            let shares = resource_forecast(Resource::Cpu, &answer[Resource::Cpu as usize], 1.0);
            self.residuals.said(moments(&shares).map(|one| one.mean));
        }
        self.answer = Some(answer);
    }

    /// Whether a slot waits to be worked off.
    pub(super) fn is_due(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What was last said, in the units of a vm of that size.
    pub(super) fn forecast(&self, size: Size) -> Option<VmForecast> {
        let answer = self.answer.as_ref().filter(|answer| is_known(answer))?;
        let of = |resource: Resource, scale: f64| resource_forecast(resource, &answer[resource as usize], scale);
        Some(VmForecast {
            cpu: self.cpu(answer, size),
            memory: of(Resource::Memory, size.memory),
            storage: of(Resource::Storage, 1.0),
            network: of(Resource::Network, 1.0),
        })
    }

    /// The part of it that decisions read.
    pub(super) fn ahead(&self, size: Size) -> Option<Ahead> {
        let answer = self.answer.as_ref().filter(|answer| is_known(answer))?;
        Some(self.cpu(answer, size).ahead())
    }

    fn cpu(&self, answer: &Answer, size: Size) -> ResourceForecast {
        let cpu = resource_forecast(Resource::Cpu, &answer[Resource::Cpu as usize], size.vcpus);
        let sums = Some(self.residuals.corrected(moments(&cpu), size.vcpus));
        ResourceForecast { sums, ..cpu }
    }
}

fn moments(forecast: &ResourceForecast) -> [Moments; STEPS.len()] {
    let ahead = forecast.ahead();
    std::array::from_fn(|step| ahead.moments(step))
}

fn resource_forecast(resource: Resource, targets: &[[f32; LEVELS.len()]; TARGETS], scale: f64) -> ResourceForecast {
    let quantiles = |target: usize| Quantiles(targets[target].map(|value| f64::from(resource.raw(value)) * scale));
    ResourceForecast {
        steps: std::array::from_fn(quantiles),
        max_30_min: quantiles(STEPS.len()),
        max_60_min: quantiles(STEPS.len() + 1),
        sums: None,
    }
}
