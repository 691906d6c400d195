//! The habits of one resource of one vm: what it does at which minute of the hour and at which hour of the day.
//!
//! Jumps cluster just after the hour (`docs/forecaster.md`): what is started by a clock comes again by the clock.

use ballast_core::history::SLOTS_PER_DAY;
use serde::{Deserialize, Serialize};

/// Slots of an hour.
pub const MINUTES: usize = 12;

/// The same, as slots are counted.
const HOUR_SLOTS: u32 = 12;

/// Hours of a day.
pub const HOURS: usize = 24;

/// Share by which a new value counts at its minute of the hour: about the last eight hours.
const MINUTE_WEIGHT: f32 = 1.0 / 8.0;

/// Share by which a new value counts at its hour: about the last two days, of twelve values each.
const HOUR_WEIGHT: f32 = 1.0 / 24.0;

/// Share by which a new maximum counts at its half hour: about the last three days, of six maxima each.
const PEAK_WEIGHT: f32 = 1.0 / 18.0;

/// Habits, as deviations from the vm's level of the last hours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    minutes: [f32; MINUTES],
    hours: [f32; HOURS],
    /// Maximum of the hour that follows, by the half and the hour of the day it follows.
    peaks: [[f32; HOURS]; 2],
    /// Values taken, up to the number at which all are settled.
    values: u16,
}

impl Default for Profile {
    fn default() -> Self {
        Self { minutes: [0.0; MINUTES], hours: [0.0; HOURS], peaks: [[0.0; HOURS]; 2], values: 0 }
    }
}

impl Profile {
    /// Takes the value of `slot`; `level` is the vm's level of the last hours, `highest` its maximum of the last one. A missing
    /// value changes nothing.
    pub(super) fn step(&mut self, slot: u32, value: f32, level: f32, highest: f32) {
        if value.is_nan() {
            return;
        }
        let minute = &mut self.minutes[minute_of(slot)];
        *minute += MINUTE_WEIGHT * (value - level - *minute);
        let hour = hour_of(slot);
        if self.values == 0 {
            (self.hours, self.peaks) = ([value; HOURS], [[value; HOURS]; 2]);
        }
        self.values = self.values.saturating_add(1);
        self.hours[hour] += HOUR_WEIGHT * (value - self.hours[hour]);
        let (half, hour) = half_of(slot.wrapping_sub(HOUR_SLOTS));
        let peak = &mut self.peaks[half][hour];
        *peak += PEAK_WEIGHT * (highest - *peak);
    }

    pub(super) fn is_sound(&self) -> bool {
        self.minutes.iter().chain(&self.hours).chain(self.peaks.as_flattened()).all(|value| value.is_finite())
    }

    /// Deviation from the level at the minute of `slot`.
    pub fn minute(&self, slot: u32) -> f32 {
        self.minutes[minute_of(slot)]
    }

    /// The largest deviation at any minute of the hour.
    pub fn minute_max(&self) -> f32 {
        self.minutes.iter().copied().fold(f32::MIN, f32::max)
    }

    /// Mean at the hour of `slot`.
    pub fn hour(&self, slot: u32) -> f32 {
        self.hours[hour_of(slot)]
    }

    /// Usual maximum of the hour that follows `slot`.
    pub fn peak(&self, slot: u32) -> f32 {
        let (half, hour) = half_of(slot);
        self.peaks[half][hour]
    }
}

fn minute_of(slot: u32) -> usize {
    slot as usize % MINUTES
}

fn hour_of(slot: u32) -> usize {
    (slot % SLOTS_PER_DAY) as usize / MINUTES
}

/// Which half of which hour.
fn half_of(slot: u32) -> (usize, usize) {
    (minute_of(slot) * 2 / MINUTES, hour_of(slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_at_five_past_every_hour_becomes_a_habit_of_that_minute() {
        let mut profile = Profile::default();
        for slot in 0..48 * 12 {
            profile.step(slot, if slot % 12 == 1 { 3.0 } else { 1.0 }, 1.0, 3.0);
        }
        assert!(profile.minute(1) > 1.9 && profile.minute(2).abs() < 0.1);
        assert_eq!(profile.minute_max(), profile.minute(13));
    }

    #[test]
    fn the_maximum_of_an_hour_is_expected_again_a_day_later() {
        let mut profile = Profile::default();
        for slot in 0..4 * SLOTS_PER_DAY {
            let highest = if (36..48).contains(&(slot % SLOTS_PER_DAY)) { 4.0 } else { 1.0 };
            profile.step(slot, 1.0, 1.0, highest);
        }
        assert!(profile.peak(24) > 2.0 && profile.peak(48) < 1.1, "{profile:?}");
    }

    #[test]
    fn a_missing_value_changes_no_habit() {
        let mut profile = Profile::default();
        profile.step(0, f32::NAN, 1.0, 1.0);
        assert_eq!(profile, Profile::default());
    }
}
