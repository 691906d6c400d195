//! What is kept of a vm's past: a day of its own values and running summaries, one step per slot, at a fixed price per vm.
//!
//! On these traces a recurrent state alone loses to simple rules; the summaries of the vm's own window are what makes the
//! forecast good (`docs/forecaster.md` has the ablation). Everything is on the scale of [`crate::scale`].

mod histogram;
mod profile;
mod track;

pub use histogram::Histogram;
pub use profile::{HOURS, MINUTES, Profile};
pub use track::{Track, WINDOW, Window};

use ballast_core::history::{CHANNELS, Observed};
use serde::{Deserialize, Serialize};

use crate::scale::{RESOURCES, Resource};

/// Slots without a value after which a vm's past is over: a week. What comes then is another vm's life.
pub const GAP_MAX: u32 = 7 * ballast_core::history::SLOTS_PER_DAY;

/// What is kept of one vm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Slots since the first value, gaps included.
    age: u32,
    /// Slots since the last value; 0 where the newest slot has one.
    gap: u32,
    /// The newest slot, counted as in [`ballast_core::history`].
    slot: u32,
    /// The newest value of every channel on the scale, held over gaps.
    channels: [f32; CHANNELS],
    tracks: [Track; RESOURCES],
    profiles: [Profile; 2],
}

impl Past {
    /// A vm of which nothing is known before `slot`.
    pub fn new(slot: u32) -> Self {
        let days = [true, true, false, false];
        Self {
            age: 0,
            gap: 0,
            slot: slot.wrapping_sub(1),
            channels: [0.0; CHANNELS],
            tracks: days.map(Track::new),
            profiles: Default::default(),
        }
    }

    /// Takes the next slot.
    pub fn step(&mut self, observed: &Observed) {
        self.slot = self.slot.wrapping_add(1);
        let known = !observed.is_missing();
        self.gap = if known { 0 } else { self.gap.saturating_add(1) };
        self.age = self.age.saturating_add(u32::from(known || self.age > 0));
        for (held, value) in self.channels.iter_mut().zip(scaled_channels(observed)) {
            *held = if value.is_nan() { *held } else { value };
        }
        let values = scaled(observed);
        for (track, value) in self.tracks.iter_mut().zip(values) {
            track.step(value);
        }
        for ((profile, track), value) in self.profiles.iter_mut().zip(&self.tracks).zip(values) {
            let highest = track.span(MINUTES - 1, 0).map_or(value, |(_, highest)| highest);
            profile.step(self.slot, value, track.level(), highest);
        }
    }

    /// Makes `slot` the newest: a clock was set.
    pub fn set_slot(&mut self, slot: u32) {
        self.slot = slot;
    }

    /// Whether a past that was kept can be gone on with: its rings have their lengths and its numbers are numbers.
    pub fn is_sound(&self) -> bool {
        let days = [true, true, false, false];
        let rings = self.tracks.iter().zip(days).all(|(track, day)| track.is_sound(day));
        rings && self.channels.iter().all(|value| value.is_finite()) && self.profiles.iter().all(Profile::is_sound)
    }

    /// Slots since the first value; 0 where there was none yet.
    pub fn age(&self) -> u32 {
        self.age
    }

    /// Slots since the last value.
    pub fn gap(&self) -> u32 {
        self.gap
    }

    /// The newest slot.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// The newest values of all channels, on the scale.
    pub fn channels(&self) -> &[f32; CHANNELS] {
        &self.channels
    }

    /// What is kept of one resource.
    pub fn track(&self, resource: Resource) -> &Track {
        &self.tracks[resource as usize]
    }

    /// The habits of CPU and memory; the others have none.
    pub fn profile(&self, resource: Resource) -> Option<&Profile> {
        self.profiles.get(resource as usize)
    }
}

/// The resources of a slot on the scale, NaN where one is missing.
pub fn scaled(observed: &Observed) -> [f32; RESOURCES] {
    [
        Resource::Cpu.scaled(observed.cpu),
        Resource::Memory.scaled(observed.memory),
        Resource::Storage.scaled(observed.disk_read + observed.disk_write),
        Resource::Network.scaled(observed.net_rx + observed.net_tx),
    ]
}

fn scaled_channels(observed: &Observed) -> [f32; CHANNELS] {
    [
        Resource::Cpu.scaled(observed.cpu),
        Resource::Memory.scaled(observed.memory),
        Resource::Storage.scaled(observed.disk_read),
        Resource::Storage.scaled(observed.disk_write),
        Resource::Network.scaled(observed.net_rx),
        Resource::Network.scaled(observed.net_tx),
    ]
}
